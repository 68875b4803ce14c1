"""From log-power chunks to masks: normalization, a network, and the estimate of whole tracks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from sksep.nn.chunks import CrossFader
from sksep.nn.front_end import FLOOR_DECIBELS


class NormalizedNetwork(nn.Module):
    """A network on log-power spectrograms normalized per band.

    Parameters
    ----------
    network : nn.Module
        Network on normalized spectrograms (batch, 1, n_frames, n_bands).
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
        """Output of the network for log-power features (batch, n_frames, n_bands) in dB."""
        return self.network(self.normalize(features))

    def normalize(self, features: Tensor) -> Tensor:
        """Normalize features (batch, n_frames, n_bands) in dB as the input of the network."""
        normalized = ((features - self.mean) / self.scale).unsqueeze(1)
        # Convolutions over many channels run on whole pixels, so channels-last saves transposes.
        return normalized.contiguous(memory_format=torch.channels_last)


class MaskEstimator(NormalizedNetwork):
    """A normalized network whose output is one spectrogram of mask logits."""

    def forward(self, features: Tensor) -> Tensor:
        """Mask logits (batch, n_frames, n_bands) of log-power features in dB."""
        logits = super().forward(features)
        batch, n_frames, n_bands = features.shape
        # Broadcasting could let other shapes pass through the losses.
        if not isinstance(logits, Tensor) or logits.shape != (batch, 1, n_frames, n_bands):
            got = tuple(logits.shape) if isinstance(logits, Tensor) else type(logits).__name__
            raise ValueError(
                f"The network must return mask logits of shape {(batch, 1, n_frames, n_bands)}, as "
                f"its input is; {type(self.network).__name__} returned {got}."
            )
        return logits.squeeze(1)


def band_statistics(spectrograms: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation per band in dB, over all frames that are not silent.

    Spectrograms (n_total_frames, n_bands) are taken one by one, so that all together they may
    exceed the memory.
    """
    count = 0
    total = squares = torch.zeros(1, dtype=torch.float64)
    for spectrogram in spectrograms:
        # Levels count from the floor, so that silence adds nothing to the sums.
        levels = spectrogram.double() - FLOOR_DECIBELS
        count += int((levels.amax(dim=1) > 0.0).sum())
        total = total + levels.sum(dim=0)
        squares = squares + levels.square().sum(dim=0)
    if count < 2:
        return torch.full((len(total),), FLOOR_DECIBELS), torch.ones(len(total))
    mean = total / count
    variance = (squares - count * mean.square()) / (count - 1)
    # A band without variation (such as one above a cut-off) must not be amplified.
    deviation = variance.clamp_min(1.0).sqrt()
    return (mean + FLOOR_DECIBELS).float(), deviation.float()


def autocast(device: torch.device, precision: torch.dtype) -> AbstractContextManager[None]:
    """Context of mixed precision, unless `precision` is float32."""
    if precision == torch.float32:
        return nullcontext()
    return torch.autocast(device.type, dtype=precision)


def in_batches(
    function: Callable[[Tensor], Tensor],
    batches: Iterable[Tensor],
    *,
    device: torch.device,
    precision: torch.dtype = torch.float32,
    on_cpu: Callable[[], Callable[[Tensor], Tensor]] | None = None,
) -> Iterator[Tensor]:
    """Results of a function of features, batch by batch, without gradients.

    A batch that does not fit into the memory of the device is halved, and later batches are as
    small.

    Parameters
    ----------
    function : callable
        Function from a tensor (batch, n_frames, n_bands) on the device to a tensor.
    batches : iterable of Tensor of shape (batch, n_frames, n_bands)
        Log power in dB, on the CPU. Chunks overlap: all of them at once would take several times
        the memory of the spectrogram.
    device : torch.device
        Device that computes.
    precision : torch.dtype
        Precision of the function.
    on_cpu : callable or None
        It makes the same function for the CPU if not even one chunk fits; None raises an error.

    Yields
    ------
    Tensor
        Results in float32, on the CPU.

    Warns
    -----
    UserWarning
        If the rest is computed on the CPU.
    """
    results = _results(function, batches, device, precision, on_cpu)
    return _overlapped(results) if device.type == "cuda" else (part.cpu() for part in results)


def _results(
    function: Callable[[Tensor], Tensor],
    batches: Iterable[Tensor],
    device: torch.device,
    precision: torch.dtype,
    on_cpu: Callable[[], Callable[[Tensor], Tensor]] | None,
) -> Iterator[Tensor]:
    """Results on the device, in batches that fit into its memory."""
    size = None  # as large as the batches are
    for batch in batches:
        while len(batch):
            part = batch[:size]
            try:
                with torch.inference_mode(), autocast(device, precision):
                    result = function(_on_device(part, device)).float()
            except torch.cuda.OutOfMemoryError:
                if len(part) > 1:
                    size = len(part) // 2
                elif on_cpu is None:
                    raise
                else:
                    warnings.warn(
                        f"Not one chunk fits into the memory of {device}: the rest of this track "
                        "is estimated on the CPU, which is slower. Free memory there, or set "
                        "device='cpu' and fit or load the separator again.",
                        UserWarning,
                        stacklevel=2,
                    )
                    function, device, precision = on_cpu(), torch.device("cpu"), torch.float32
                    size = on_cpu = None
                continue
            yield result
            batch = batch[len(part) :]


def _on_device(features: Tensor, device: torch.device) -> Tensor:
    if device.type == "cuda":  # a copy from pinned memory does not block
        return features.contiguous().pin_memory().to(device, non_blocking=True)
    return features.to(device)


def _overlapped(results: Iterable[Tensor]) -> Iterator[Tensor]:
    """Results on the CPU; each is copied while the next one is computed."""
    waiting: list[tuple[Tensor, Any]] = []
    for result in results:
        copied = None
        copy = result.to("cpu", non_blocking=True)
        if result.is_cuda:
            copied = torch.cuda.current_stream(result.device).record_event()
        waiting.append((copy, copied))
        if len(waiting) > 1:
            yield _complete(*waiting.pop(0))
    for part in waiting:
        yield _complete(*part)


def _complete(copy: Tensor, copied: Any) -> Tensor:
    if copied is not None:
        copied.synchronize()
    return copy


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
