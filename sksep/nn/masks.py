"""Masks of the vocals on spectrograms, and lifting mel masks to linear frequency bins."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from sksep.nn.spectral import mel_frequencies, mel_triangles

__all__ = ["bin_weights", "binary_mask", "lift_matrix", "proportion_mask"]

RATIOS = ("power", "magnitude")
WEIGHTINGS = ("magnitude", "log_magnitude", "uniform")


def proportion_mask(vocals: Tensor, accompaniment: Tensor, ratio: str = "power") -> Tensor:
    """Share of the vocals in each bin, in [0, 1]; 0 where both are silent.

    Parameters
    ----------
    vocals, accompaniment : Tensor of shape (..., n_frames, n_bands)
        Power spectrograms, not negative.
    ratio : {"power", "magnitude"}, default="power"
        Whether powers or magnitudes are compared.

    Returns
    -------
    Tensor of shape (..., n_frames, n_bands)
        ``vocals / (vocals + accompaniment)``, of powers or of their roots.

    Raises
    ------
    ValueError
        If `ratio` is unknown.

    Examples
    --------
    >>> import torch
    >>> from sksep.nn.masks import proportion_mask
    >>> vocals, accompaniment = torch.tensor([[9.0, 0.0]]), torch.tensor([[1.0, 0.0]])
    >>> proportion_mask(vocals, accompaniment)
    tensor([[0.9000, 0.0000]])
    >>> proportion_mask(vocals, accompaniment, "magnitude")
    tensor([[0.7500, 0.0000]])
    """
    if ratio == "magnitude":
        vocals, accompaniment = vocals.sqrt(), accompaniment.sqrt()
    elif ratio != "power":
        raise ValueError(f"ratio must be one of {RATIOS}, got {ratio!r}.")
    total = vocals + accompaniment
    return vocals / total.clamp_min(torch.finfo(total.dtype).tiny)


def binary_mask(vocals: Tensor, accompaniment: Tensor) -> Tensor:
    """1 where the power of the vocals exceeds that of the accompaniment, else 0.

    Parameters
    ----------
    vocals, accompaniment : Tensor of shape (..., n_frames, n_bands)
        Power spectrograms, not negative.

    Returns
    -------
    Tensor of shape (..., n_frames, n_bands)
        Ones and zeros, of the same dtype as the vocals.

    Examples
    --------
    >>> import torch
    >>> from sksep.nn.masks import binary_mask
    >>> binary_mask(torch.tensor([[9.0, 0.0, 2.0]]), torch.tensor([[1.0, 0.0, 3.0]]))
    tensor([[1., 0., 0.]])
    """
    return (vocals > accompaniment).to(vocals.dtype)


def bin_weights(mixture: Tensor, weighting: str = "magnitude") -> Tensor:
    """Weight of each T-F bin with mean 1 over each spectrogram (all 1 if it is silent).

    Parameters
    ----------
    mixture : Tensor of shape (..., n_frames, n_bands)
        Power spectrograms, not negative.
    weighting : {"magnitude", "log_magnitude", "uniform"}, default="magnitude"
        Weights proportional to the magnitude; weights proportional to the level in dB above a
        threshold 60 dB below the loudest bin, or 0 below it; or weights of 1.

    Returns
    -------
    Tensor of shape (..., n_frames, n_bands)
        Weights, not negative.

    Raises
    ------
    ValueError
        If `weighting` is unknown.

    Examples
    --------
    >>> import torch
    >>> from sksep.nn.masks import bin_weights
    >>> mixture = torch.tensor([[1.0, 0.01, 0.0]])  # 0 dB, -20 dB, silence
    >>> bin_weights(mixture)
    tensor([[2.7273, 0.2727, 0.0000]])
    >>> bin_weights(mixture, "log_magnitude")
    tensor([[1.8000, 1.2000, 0.0000]])
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
    column-normalized filter bank, evaluated at the frequencies of the target bins; for linear
    bins it interpolates. Bins below the lowest band take its mask; bins above `f_max`, which
    the model does not cover, take the mean mask of the highest octave.

    Parameters
    ----------
    sample_rate, n_fft : int
        Sample rate in Hz and window in samples of the model's spectrogram.
    n_mels : int or None
        Number of mel bands; None for linear bins.
    f_min, f_max : float
        Range of the mel bands in Hz; for linear bins, `f_max` is half the sample rate.
    to_sample_rate, to_n_fft : int
        Sample rate in Hz and window in samples of the target spectrogram.

    Returns
    -------
    Tensor of shape (n_bands, to_n_fft // 2 + 1)
        float32, not negative. Calls with equal parameters share one tensor: do not write to it.

    Examples
    --------
    From 40 mel bands of a model at 16 kHz to the linear bins of a track at 44.1 kHz:

    >>> import torch
    >>> from sksep.nn.masks import lift_matrix
    >>> matrix = lift_matrix(16000, 1024, 40, 30.0, 8000.0, 44100, 2048)
    >>> masks = torch.full((126, 40), 0.25)
    >>> lifted = masks @ matrix
    >>> lifted.shape
    torch.Size([126, 1025])
    >>> torch.allclose(lifted, torch.tensor(0.25))
    True
    """
    frequencies = np.arange(to_n_fft // 2 + 1) * (to_sample_rate / to_n_fft)
    if n_mels is None:
        f_max = sample_rate / 2
        centers = np.arange(n_fft // 2 + 1) * (sample_rate / n_fft)
        weights = _interpolation_weights(centers, frequencies)
    else:
        edges = mel_frequencies(n_mels + 2, f_min, f_max)
        centers = edges[1:-1]
        # Slaney's area normalization, as in the filter bank.
        weights = mel_triangles(edges, frequencies) * (2.0 / (edges[2:] - edges[:-2]))[:, None]
    covered = weights.sum(axis=0) > 0
    weights[0, ~covered & (frequencies <= centers[0])] = 1.0
    weights[-1, ~covered & (frequencies > centers[0])] = 1.0
    above = frequencies > f_max
    highest_octave = centers >= f_max / 2
    highest_octave[-1] = True  # with few bands, the center of the highest may be below it
    weights[:, above] = highest_octave.astype(float)[:, None]
    # A tensor made within inference mode could not be used in training later.
    with torch.inference_mode(False):
        return torch.from_numpy((weights / weights.sum(axis=0)).astype(np.float32))


def _interpolation_weights(
    centers: npt.NDArray[Any], frequencies: npt.NDArray[Any]
) -> npt.NDArray[Any]:
    position = np.clip(frequencies / centers[1], 0, len(centers) - 1)
    distance = np.abs(np.arange(len(centers))[:, None] - position)
    return np.maximum(0.0, 1.0 - distance)
