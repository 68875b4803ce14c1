"""From log-power chunks to masks: normalisation, a network, and whole-track estimation."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from sksep.nn.chunks import CrossFader
from sksep.nn.front_end import FLOOR_DECIBELS
from sksep.nn.parallel import count_workers, in_turn, parallel_map


class NormalisedNetwork(nn.Module):
    """A network on log-power spectrograms normalised per band.

    Parameters
    ----------
    network : nn.Module
        On normalised spectrograms (batch, 1, n_frames, n_bands).
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

    def forward(self, features: Tensor) -> Any:
        """What the network makes of log-power features (batch, n_frames, n_bands) in dB."""
        return self.network(self.normalise(features))

    def normalise(self, features: Tensor) -> Tensor:
        """Features (batch, n_frames, n_bands) in dB as input of the network."""
        normalised = ((features - self.mean) / self.scale).unsqueeze(1)
        # Convolutions over many channels run on whole pixels: channels-last saves transposes.
        return normalised.contiguous(memory_format=torch.channels_last)


class MaskEstimator(NormalisedNetwork):
    """A normalised network whose output is one spectrogram of mask logits."""

    def forward(self, features: Tensor) -> Tensor:
        """Mask logits (batch, n_frames, n_bands) of log-power features in dB."""
        logits = super().forward(features)
        batch, n_frames, n_bands = features.shape
        # Anything else could pass through the losses by broadcasting.
        if not isinstance(logits, Tensor) or logits.shape != (batch, 1, n_frames, n_bands):
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ValueError(
                f"The network must return mask logits of shape {(batch, 1, n_frames, n_bands)}, as "
                f"its input is; {type(self.network).__name__} returned {got}."
            )
        return logits.squeeze(1)


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


def in_batches(
    function: Callable[[Tensor], Tensor],
    batches: Iterable[Tensor],
    *,
    device: torch.device,
    precision: torch.dtype = torch.float32,
) -> Iterator[Tensor]:
    """Results of a function of features, batch by batch, without gradients.

    Parameters
    ----------
    function : callable
        From (batch, n_frames, n_bands) on the device to a tensor.
    batches : iterable of Tensor of shape (batch, n_frames, n_bands)
        Log power in dB, on the CPU. Chunks overlap: all of them at once would take several times
        the memory of the spectrogram.

    Yields
    ------
    Tensor
        float32, on the CPU.
    """

    def work(part: Tensor) -> Tensor:
        with autocast(device, precision):
            return function(part.to(device)).float().cpu()

    n_workers = count_workers(device, torch.get_num_threads())
    remaining = iter(batches)
    while group := list(islice(remaining, n_workers)):
        # A group that is not full is for torch's own threads.
        in_parallel = parallel_map(n_workers) if len(group) == n_workers else in_turn
        yield from in_parallel(work, group)


def split_for_workers(chunks: Tensor, batch_size: int, device: torch.device) -> tuple[Tensor, ...]:
    """Batches of chunks (n_chunks, n_frames, n_bands) for `in_batches`, at most `batch_size` long.

    On a CPU each thread gets equally many chunks; those that are left come last, for all of them.
    """
    if device.type != "cpu":
        return chunks.split(batch_size)
    n_workers = count_workers(device, len(chunks))
    n_shared = len(chunks) // n_workers * n_workers
    n_rounds = -(-n_shared // (batch_size * n_workers))
    batches = chunks[:n_shared].tensor_split(n_rounds * n_workers)
    return (*batches, *chunks[n_shared:].split(batch_size)) if n_shared < len(chunks) else batches


def join_batches(parts: Iterable[Tensor], step: int, n_total_frames: int) -> Tensor:
    """Cross-fade consecutive batches of chunks into one spectrogram.

    Parameters
    ----------
    parts : iterable of Tensor of shape (batch, n_frames, n_bands)
        Chunks that start `step` frames apart.

    Returns
    -------
    Tensor of shape (n_total_frames, n_bands)
    """
    cross_fader = CrossFader(step)
    rows = [cross_fader.push(part) for part in parts]
    return torch.cat([*rows, cross_fader.finish()])[:n_total_frames]


def as_float(output: Any) -> Any:
    """The output of a network, a tensor or a (named) tuple of them, in single precision."""
    if isinstance(output, Tensor):
        return output.float()
    if isinstance(output, tuple):
        parts = [as_float(part) for part in output]
        return type(output)(*parts) if hasattr(output, "_fields") else tuple(parts)
    return output
