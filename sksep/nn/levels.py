"""Levels of chunks: what makes masks independent of how loud a recording is."""

from __future__ import annotations

import torch
from torch import Tensor

from sksep.nn.front_end import FLOOR_DECIBELS

__all__ = ["LevelNormalizer", "chunk_levels"]

# Level in dB below which a chunk is silence whatever the gain: below the noise of 24 bits.
_SILENCE = -150.0
_CHUNKS_AT_ONCE = 64


def chunk_levels(chunks: Tensor, mean: Tensor) -> Tensor:
    """Level of chunks over that of the recordings that a network was trained on.

    Parameters
    ----------
    chunks : Tensor of shape (n_chunks, n_frames, n_bands)
        Log power in dB.
    mean : Tensor of shape (n_bands,)
        Mean level of each band in training, in dB.

    Returns
    -------
    Tensor of shape (n_chunks,)
        Mean over the bands of the level in dB of the frames that are not silent, relative to
        `mean`; minus infinity for a silent chunk.

    Examples
    --------
    >>> import torch
    >>> from sksep.nn.levels import chunk_levels
    >>> chunk_levels(torch.full((2, 5, 3), -20.0), torch.full((3,), -30.0))
    tensor([10., 10.])
    """
    # Overlapping chunks are views until they are computed with: not all are at once.
    return torch.cat([_levels(part, mean) for part in chunks.split(_CHUNKS_AT_ONCE)])


def _levels(chunks: Tensor, mean: Tensor) -> Tensor:
    n_sounding = (chunks.amax(dim=2) > _SILENCE).sum(dim=1, keepdim=True)
    power = torch.pow(10.0, chunks / 10.0).sum(dim=1) / n_sounding.clamp_min(1)
    levels = (10.0 * torch.log10(power) - mean).mean(dim=1)
    return torch.where(n_sounding[:, 0] > 0, levels, -torch.inf)


class LevelNormalizer:
    """Bring the chunks of a track to one level, from its beginning to its end.

    Each chunk is raised or lowered as a whole so that the loudest chunk so far, itself included,
    has the given level. So the masks of a recording do not depend on its gain, blocks of a stream
    have those of the whole track, and softer passages stay softer than what came before.

    Parameters
    ----------
    mean : Tensor of shape (n_bands,)
        Mean level of each band in training, in dB.
    level : float
        Level in dB over `mean` that the loudest chunk is brought to.

    Examples
    --------
    >>> import torch
    >>> from sksep.nn.levels import LevelNormalizer
    >>> chunks = torch.tensor([-80.0, -60.0, -70.0])[:, None, None].expand(3, 5, 4)
    >>> LevelNormalizer(torch.full((4,), -30.0), level=10.0).push(chunks)[:, 0, 0]
    tensor([-20., -20., -30.])
    """

    def __init__(self, mean: Tensor, level: float) -> None:
        self._mean = mean
        self._level = level
        self._loudest = torch.tensor(-torch.inf)

    def push(self, chunks: Tensor) -> Tensor:
        """Bring the next chunks to the level of training.

        Parameters
        ----------
        chunks : Tensor of shape (n_chunks, n_frames, n_bands)
            Log power in dB.

        Returns
        -------
        Tensor of shape (n_chunks, n_frames, n_bands)
            Log power in dB, at least -100.
        """
        return shifted(chunks, self.offsets(chunks))

    def offsets(self, chunks: Tensor) -> Tensor:
        """Gains that bring the next chunks to the level of training.

        Parameters
        ----------
        chunks : Tensor of shape (n_chunks, n_frames, n_bands)
            Log power in dB.

        Returns
        -------
        Tensor of shape (n_chunks,)
            Gains in dB; 0 as long as all is silent.
        """
        levels = torch.cat([self._loudest[None], chunk_levels(chunks, self._mean)])
        loudest = levels.cummax(dim=0).values[1:]
        self._loudest = loudest[-1]
        return torch.where(loudest.isfinite(), self._level - loudest, 0.0)


def shifted(chunks: Tensor, offsets: Tensor) -> Tensor:
    """Chunks in dB with a gain each, at least at the floor of the features."""
    return (chunks + offsets[:, None, None]).clamp_min(FLOOR_DECIBELS)
