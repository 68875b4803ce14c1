"""Levels of chunks: what makes masks independent of how loud a recording is."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from sksep.nn.front_end import FLOOR_DECIBELS, LOWEST_DECIBELS

__all__ = ["LevelNormalizer", "chunk_levels"]

_CHUNKS_AT_ONCE = 64
# Natural logarithm of a power of one decibel: exp is faster than powers of ten.
_NEPERS = math.log(10.0) / 10.0


def chunk_levels(chunks: Tensor) -> Tensor:
    """Level of chunks: the mean power of their bands in the frames that are not silent.

    Parameters
    ----------
    chunks : Tensor of shape (n_chunks, n_frames, n_bands)
        Log power in dB, at least -240, which is digital silence.

    Returns
    -------
    Tensor of shape (n_chunks,)
        Levels in dB, at least -240.

    Examples
    --------
    >>> import torch
    >>> from sksep.nn.levels import chunk_levels
    >>> chunk_levels(torch.full((2, 5, 3), -20.0))
    tensor([-20., -20.])
    """
    # Overlapping chunks are views until they are computed with: not all are at once.
    return torch.cat([_levels(part) for part in chunks.split(_CHUNKS_AT_ONCE)])


def _levels(chunks: Tensor) -> Tensor:
    # Frames before the beginning and behind the end of a recording do not count.
    n_sounding = (chunks.amax(dim=2) > LOWEST_DECIBELS).sum(dim=1)
    power = (chunks * _NEPERS).exp().mean(dim=2).sum(dim=1) / n_sounding
    return torch.where(n_sounding > 0, 10.0 * power.log10(), LOWEST_DECIBELS)


class LevelNormalizer:
    """Bring the chunks of a recording to one level, from its beginning to its end.

    Each chunk is raised or lowered as a whole so that the loudest chunk so far, itself included,
    has the given level. So the masks of a recording do not depend on its gain, blocks of a stream
    have those of the whole track, and softer passages stay softer than what came before. Chunks
    below -100 dB count as silence, which limits the gain.

    Parameters
    ----------
    level : float or None
        Level in dB that the loudest chunk is brought to. None leaves all levels as they are.

    Examples
    --------
    >>> import torch
    >>> from sksep.nn.levels import LevelNormalizer
    >>> chunks = torch.tensor([-80.0, -60.0, -70.0])[:, None, None].expand(3, 5, 4)
    >>> LevelNormalizer(10.0).push(chunks)[:, 0, 0]
    tensor([10., 10.,  0.])
    """

    def __init__(self, level: float | None) -> None:
        self._level = level
        self._loudest = torch.tensor(FLOOR_DECIBELS)

    def push(self, chunks: Tensor) -> Tensor:
        """Bring the next chunks to the level.

        Parameters
        ----------
        chunks : Tensor of shape (n_chunks, n_frames, n_bands)
            Log power in dB, at least -240.

        Returns
        -------
        Tensor of shape (n_chunks, n_frames, n_bands)
            Log power in dB, at least -100.
        """
        return amplified(chunks, self.gains(chunk_levels(chunks)))

    def gains(self, levels: Tensor) -> Tensor:
        """Gains that bring the next chunks to the level.

        Parameters
        ----------
        levels : Tensor of shape (n_chunks,)
            Levels in dB, see `chunk_levels`.

        Returns
        -------
        Tensor of shape (n_chunks,)
            Gains in dB.
        """
        if self._level is None:
            return torch.zeros_like(levels)
        loudest = torch.cat([self._loudest[None], levels]).cummax(dim=0).values[1:]
        self._loudest = loudest[-1]
        return self._level - loudest


def amplified(chunks: Tensor, gains: Tensor) -> Tensor:
    """Chunks in dB with a gain each, at least at the floor of the features."""
    return (chunks + gains[:, None, None]).clamp_min(FLOOR_DECIBELS)
