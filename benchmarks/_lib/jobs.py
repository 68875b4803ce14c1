"""Parts of a comparison: jobs, the least work that they need, and music."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import torch

from sksep.datasets import make_songs

SAMPLE_RATE = 16000

Job = Callable[[], Any]


@dataclass(frozen=True)
class Work:
    """The least work that a result needs, to be compared with the rates of the machine.

    Parameters
    ----------
    n_bytes : float
        Inputs and results, each moved once.
    transforms : tuple of (n_fft, dtype, number)
        Real Fourier transforms.
    products : float or None
        Floating-point operations of matrix products and factorizations; None for a job whose own
        are to be counted.
    dtype : torch.dtype
        Type of the products.
    """

    n_bytes: float = 0.0
    transforms: tuple[tuple[int, torch.dtype, float], ...] = ()
    products: float | None = 0.0
    dtype: torch.dtype = torch.float32


@dataclass(frozen=True)
class Jobs:
    """Ways to the same result.

    Parameters
    ----------
    ours, references : dict of str to callable
        Functions by name. Each does the whole job once and returns its result.
    work : Work
        Work of one of our jobs.
    agreement : callable
        Function from results of ours and of a reference to figures of how well they agree. By
        default there are none.
    """

    ours: dict[str, Job]
    references: dict[str, Job]
    work: Work = Work()
    agreement: Callable[[Any, Any], dict[str, float]] = field(default=lambda ours, reference: {})


def music(seconds: float, sample_rate: int = SAMPLE_RATE, n_channels: int = 1) -> np.ndarray:
    """Synthetic music, the same half minute over and over."""
    song = _half_a_minute(sample_rate, n_channels)
    n_samples = round(seconds * sample_rate)
    repeated = np.tile(song, -(-n_samples // song.shape[-1]))[..., :n_samples]
    return np.ascontiguousarray(repeated, dtype=np.float32)


@cache
def _half_a_minute(sample_rate: int, n_channels: int) -> np.ndarray:
    songs = make_songs(1, 30.0, sample_rate=sample_rate, n_channels=n_channels, random_state=0)
    return songs.mixtures[0]
