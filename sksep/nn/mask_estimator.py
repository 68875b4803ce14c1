"""From log-power chunks to masks: normalisation, a network, and whole-track estimation."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor, nn

from sksep.nn.chunks import chunk, overlap_sum
from sksep.nn.front_end import FLOOR_DECIBELS, FrontEnd


class MaskEstimator(nn.Module):
    """A network on log-power spectrograms normalised per band.

    Parameters
    ----------
    network : nn.Module
        From (batch, 1, n_frames, n_bands) to mask logits of the same shape.
    mean, scale : Tensor of shape (n_bands,)
        Mean and standard deviation of each band in dB.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, network: nn.Module, mean: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("mean", mean)
        self.register_buffer("scale", scale)

    def forward(self, features: Tensor) -> Tensor:
        """Mask logits (batch, n_frames, n_bands) of log-power features in dB."""
        normalised = ((features - self.mean) / self.scale).unsqueeze(1)
        # Convolutions over many channels run on whole pixels: channels-last saves transposes.
        normalised = normalised.contiguous(memory_format=torch.channels_last)
        return self.network(normalised).squeeze(1)


def band_statistics(spectrograms: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per band in dB, over all frames that are not silent."""
    frames = torch.cat([part[part.amax(dim=1) > FLOOR_DECIBELS] for part in spectrograms])
    if len(frames) < 2:
        n_bands = spectrograms[0].shape[1]
        return torch.full((n_bands,), FLOOR_DECIBELS), torch.ones(n_bands)
    deviation, mean = torch.std_mean(frames, dim=0)
    # A band without variation (nothing above its cut-off, say) must not be blown up.
    return mean, deviation.clamp_min(1.0)


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[None]:
    """Mixed precision where `precision` is not float32."""
    if precision == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype=precision)


def estimate_mask(
    module: nn.Module,
    spectrogram: Tensor,
    front_end: FrontEnd,
    *,
    batch_size: int,
    device: torch.device,
    precision: torch.dtype = torch.float32,
) -> Tensor:
    """Mask in [0, 1] of a whole track, cross-faded from its overlapping chunks.

    Parameters
    ----------
    module : nn.Module
        From features to mask logits, both (batch, n_frames, n_bands), in evaluation mode.
    spectrogram : Tensor of shape (n_total_frames, n_bands)
        Log power in dB.

    Returns
    -------
    Tensor of shape (n_total_frames, n_bands)
        float32, on the CPU.
    """
    step, n_frames = front_end.chunk_step, front_end.n_frames
    features = chunk(spectrogram, n_frames, step, FLOOR_DECIBELS)
    length = (len(features) - 1) * step + n_frames
    total = torch.zeros(length, spectrogram.shape[1])
    weights = torch.zeros(length, 1)
    # Chunks overlap: all of them at once would take several times the memory of the spectrogram.
    for index, part in enumerate(features.split(batch_size)):
        with torch.inference_mode(), autocast(device, precision):
            estimate = torch.sigmoid(module(part.to(device)).float()).cpu()
        part_total, part_weights = overlap_sum(estimate, step)
        first = index * batch_size * step
        total[first : first + len(part_total)] += part_total
        weights[first : first + len(part_total)] += part_weights
    return total.div_(weights)[: len(spectrogram)]
