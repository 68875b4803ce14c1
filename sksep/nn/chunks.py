"""Cutting spectrograms into overlapping chunks, and cross-fading chunks back together."""

from __future__ import annotations

import torch
from torch import Tensor


def chunk_step(n_frames: int, overlap: float) -> int:
    """Number of frames between the starts of neighboring chunks, at least one."""
    return max(1, round(n_frames * (1.0 - overlap)))


def count_chunks(n_total: int, n_frames: int, step: int) -> int:
    """Number of chunks that cover `n_total` frames; at least one."""
    return 1 + max(0, -(-(n_total - n_frames) // step))


def chunk(spectrogram: Tensor, n_frames: int, step: int, fill: float = 0.0) -> Tensor:
    """Cut (n_total, n_bands) into (n_chunks, n_frames, n_bands).

    The last chunk is filled up with `fill`. The result is a view if nothing was filled.
    """
    n_total = spectrogram.shape[0]
    covered = (count_chunks(n_total, n_frames, step) - 1) * step + n_frames
    if covered > n_total:
        spectrogram = torch.nn.functional.pad(spectrogram, (0, 0, 0, covered - n_total), value=fill)
    return spectrogram.unfold(0, n_frames, step).transpose(1, 2)


def cross_fade(n_frames: int, step: int) -> Tensor:
    """Positive trapezoid of length `n_frames` whose slopes span the overlap of two chunks."""
    slope = max(n_frames - step, 0) + 1
    rise = torch.arange(1, n_frames + 1, dtype=torch.float32)
    return torch.minimum(rise, rise.flip(0)).clamp_max(slope) / slope


def overlap_sum(chunks: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """Weighted sum of neighboring chunks where they overlap, and the sum of the weights.

    Parameters
    ----------
    chunks : Tensor of shape (n_chunks, n_frames, n_bands)
        Chunks that start `step` frames apart.

    Returns
    -------
    total : Tensor of shape ((n_chunks - 1) * step + n_frames, n_bands)
    weights : Tensor of shape ((n_chunks - 1) * step + n_frames, 1)
    """
    n_chunks, n_frames, n_bands = chunks.shape
    weight = cross_fade(n_frames, step).to(chunks)
    starts = torch.arange(n_chunks, device=chunks.device) * step
    frames = (starts[:, None] + torch.arange(n_frames, device=chunks.device)).reshape(-1)
    length = (n_chunks - 1) * step + n_frames
    total = chunks.new_zeros(length, n_bands)
    total.index_add_(0, frames, (chunks * weight[:, None]).reshape(-1, n_bands))
    weights = chunks.new_zeros(length).index_add_(0, frames, weight.repeat(n_chunks))
    return total, weights[:, None]


class CrossFader:
    """Joins chunks that come in batches. Each chunk starts `step` frames after the one before."""

    def __init__(self, step: int) -> None:
        self._step = step
        # Sums that the next chunk overlaps.
        self._total: Tensor | None = None
        self._weights: Tensor | None = None

    @property
    def n_waiting(self) -> int:
        """Number of rows that wait for the next chunk."""
        return 0 if self._total is None else len(self._total)

    def push(self, chunks: Tensor) -> Tensor:
        """Add chunks; return the rows that no further one overlaps, (n_chunks * step, n_bands)."""
        total, weights = overlap_sum(chunks, self._step)
        if self._total is not None and self._weights is not None:
            total[: len(self._total)] += self._total
            weights[: len(self._weights)] += self._weights
        n_complete = len(chunks) * self._step
        self._total, self._weights = total[n_complete:], weights[n_complete:]
        return total[:n_complete] / weights[:n_complete]

    def finish(self) -> Tensor:
        """The rows that are left after the last chunk."""
        assert self._total is not None and self._weights is not None
        return self._total / self._weights


def unchunk(chunks: Tensor, n_total: int, step: int) -> Tensor:
    """Join (n_chunks, n_frames, n_bands) into (n_total, n_bands), cross-fading overlaps.

    The weights are normalized, so that ``unchunk(chunk(x, ...), len(x), step)`` is ``x``.
    """
    total, weights = overlap_sum(chunks, step)
    return (total / weights)[:n_total]
