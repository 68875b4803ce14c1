"""Masks of the vocals on spectrograms, and lifting mel masks to linear frequency bins."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

RATIOS = ("power", "magnitude")
WEIGHTINGS = ("magnitude", "log_magnitude", "uniform")


def proportion_mask(vocals: Tensor, accompaniment: Tensor, ratio: str = "power") -> Tensor:
    """Share of the vocals in each bin, in [0, 1]; 0 where both are silent.

    Parameters
    ----------
    vocals, accompaniment : Tensor of shape (..., n_frames, n_bands)
        Power spectrograms.
    ratio : {"power", "magnitude"}
        Whether powers or magnitudes are compared.
    """
    if ratio == "magnitude":
        vocals, accompaniment = vocals.sqrt(), accompaniment.sqrt()
    elif ratio != "power":
        raise ValueError(f"ratio must be one of {RATIOS}, got {ratio!r}.")
    total = vocals + accompaniment
    return vocals / total.clamp_min(torch.finfo(total.dtype).tiny)


def binary_mask(vocals: Tensor, accompaniment: Tensor) -> Tensor:
    """1 where the power of the vocals exceeds that of the accompaniment, else 0."""
    return (vocals > accompaniment).to(vocals.dtype)


def bin_weights(mixture: Tensor, weighting: str = "magnitude") -> Tensor:
    """Weight of each T-F bin with mean 1 over each spectrogram (all 1 where it is silent).

    Parameters
    ----------
    mixture : Tensor of shape (..., n_frames, n_bands)
        Power spectrogram.
    weighting : {"magnitude", "log_magnitude", "uniform"}
        Proportional to the magnitude; to the level above 60 dB below the loudest bin; or 1.
    """
    if weighting == "uniform":
        return torch.ones_like(mixture)
    if weighting == "magnitude":
        weights = mixture.sqrt()
    elif weighting == "log_magnitude":
        loudest = mixture.amax(dim=(-2, -1), keepdim=True).clamp_min(1e-20)
        weights = (60.0 + 10.0 * torch.log10((mixture / loudest).clamp_min(1e-6))).clamp_min(0)
    else:
        raise ValueError(f"weighting must be one of {WEIGHTINGS}, got {weighting!r}.")
    mean = weights.mean(dim=(-2, -1), keepdim=True)
    return torch.where(mean > 0, weights / mean.clamp_min(1e-20), torch.ones_like(weights))


@lru_cache(maxsize=32)
def lift_matrix(
    sample_rate: int,
    n_fft: int,
    n_mels: int | None,
    f_min: float,
    f_max: float,
    to_sample_rate: int,
    to_n_fft: int,
) -> Tensor:
    """Matrix that carries a mask from the bands of a model to linear bins at any sample rate.

    Each column sums to one, so that lifted masks stay in [0, 1]. For mel bands it is the
    column-normalised filter bank, evaluated at the frequencies of the target bins; for linear
    bins it interpolates. Bins below the lowest band take its mask; bins above `f_max`, of which the
    model hears nothing, take the mean mask of the highest octave.

    Parameters
    ----------
    sample_rate, n_fft : int
        Of the model's spectrogram, in Hz and samples.
    n_mels : int or None
        Number of mel bands; None for linear bins.
    f_min, f_max : float
        Range of the mel bands in Hz.
    to_sample_rate, to_n_fft : int
        Of the target spectrogram.

    Returns
    -------
    Tensor of shape (n_bands, to_n_fft // 2 + 1)
        Do not modify: it is shared by all callers.
    """
    frequencies = np.arange(to_n_fft // 2 + 1) * (to_sample_rate / to_n_fft)
    if n_mels is None:
        f_max = sample_rate / 2
        centres = np.arange(n_fft // 2 + 1) * (sample_rate / n_fft)
        weights = _interpolation_weights(centres, frequencies)
    else:
        edges = _mel_edges(n_mels, f_min, f_max)
        centres = edges[1:-1]
        weights = _triangles(edges, frequencies)
    covered = weights.sum(axis=0) > 0
    weights[0, ~covered & (frequencies <= centres[0])] = 1.0
    weights[-1, ~covered & (frequencies > centres[0])] = 1.0
    above = frequencies > f_max
    highest_octave = centres >= f_max / 2
    highest_octave[-1] = True  # with few bands, the highest may be centred below the octave
    weights[:, above] = highest_octave.astype(float)[:, None]
    # A tensor made within inference mode could not be used in training later.
    with torch.inference_mode(False):
        return torch.from_numpy((weights / weights.sum(axis=0)).astype(np.float32))


def _mel_edges(n_mels: int, f_min: float, f_max: float) -> npt.NDArray[Any]:
    from librosa import mel_frequencies

    return np.asarray(mel_frequencies(n_mels + 2, fmin=f_min, fmax=f_max), dtype=np.float64)


def _triangles(edges: npt.NDArray[Any], frequencies: npt.NDArray[Any]) -> npt.NDArray[Any]:
    # The filters of librosa.filters.mel (Slaney's area normalisation), at any frequencies.
    low, centre, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (frequencies - low) / (centre - low)
    falling = (high - frequencies) / (high - centre)
    return np.maximum(0.0, np.minimum(rising, falling)) * (2.0 / (high - low))


def _interpolation_weights(
    centres: npt.NDArray[Any], frequencies: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    position = np.clip(frequencies / centres[1], 0, len(centres) - 1)
    distance = np.abs(np.arange(len(centres))[:, None] - position)
    return np.maximum(0.0, 1.0 - distance)
