"""Checking arrays of samples: what users give as waveforms in memory."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from sksep.utils._arrays import FloatArray

# Float waveforms are full scale at 1.0; a peak this far above it is an integer recording that
# was cast to float without being scaled.
_LARGEST_PLAUSIBLE_PEAK = 16.0
# Amplitude above which the power of a spectrum overflows float32.
LARGEST_AMPLITUDE = 1e12
_INTEGER_FULL_SCALE = {2: 2.0**15, 4: 2.0**31}


def check_samples(source: Any, name: str, *, is_block: bool = False) -> FloatArray:
    """Samples of one track as a new float32 array, full scale 1.0.

    Parameters
    ----------
    source : array of shape (n_samples,) or (n_channels, n_samples)
        Real floating point samples, or integers of 16 or 32 bits, which are divided by their full
        scale. A tensor of torch is copied to the CPU, without its gradient.
    name : str
        Name of the track in messages.
    is_block : bool, default=False
        Whether it is a part of a track, which may have fewer samples than channels, and is not
        warned of.

    Returns
    -------
    ndarray of shape (n_samples,) or (n_channels, n_samples)

    Raises
    ------
    TypeError, ValueError
        If it is no such array. The message names the track and the remedy.

    Warns
    -----
    UserWarning
        If floating point samples are so large that they seem to be unscaled integers.
    """
    array = _as_array(source, name)
    if array.ndim not in (1, 2):
        raise ValueError(
            f"{name} has {array.ndim} dimensions; a track has shape (n_samples,) or "
            "(n_channels, n_samples)."
        )
    if array.size == 0:
        raise ValueError(f"{name} is empty; leave it out.")
    if not is_block:
        check_channels_first(array, name)
    if array.dtype.kind == "i":
        return (array / _INTEGER_FULL_SCALE[array.dtype.itemsize]).astype(np.float32)
    # A copy: what travels in a batch must not change with the caller's memory.
    with np.errstate(over="ignore"):
        samples = np.array(array, dtype=np.float32, order="C")
    peak = check_amplitudes(samples, name)
    if peak > _LARGEST_PLAUSIBLE_PEAK and not is_block:
        warnings.warn(
            f"{name} reaches {peak:.0f}, but the full scale of floating point samples is 1.0; "
            "divide integer recordings by their full scale (32768 for 16 bits).",
            UserWarning,
            stacklevel=3,
        )
    return samples


def check_channels_first(array: npt.NDArray[Any], name: str) -> None:
    """Raise a ValueError if an array has more channels than samples."""
    if array.ndim == 2 and array.shape[0] > array.shape[1]:
        raise ValueError(
            f"{name} has {array.shape[0]} channels and {array.shape[1]} samples; channels come "
            "first, so transpose it if it is samples-first."
        )


def check_amplitudes(samples: npt.NDArray[Any], name: str) -> float:
    """The largest amplitude; a ValueError if it is not finite, or too large to compute with."""
    # The extremes are NaN if any sample is, without an array of flags in memory.
    peak = max(float(samples.max()), -float(samples.min())) if samples.size else 0.0
    if not np.isfinite(peak):
        raise ValueError(
            f"{name} contains NaN or infinity; replace them (for example with "
            "numpy.nan_to_num) or leave the track out."
        )
    if peak > LARGEST_AMPLITUDE:
        raise ValueError(
            f"{name} reaches {peak:.3g}, which is too large to compute with; full scale is 1.0. "
            "Repair or rescale the recording."
        )
    return peak


def _as_array(source: Any, name: str) -> npt.NDArray[Any]:
    if isinstance(source, np.ma.MaskedArray):
        raise TypeError(
            f"{name} is a masked array; say what the masked samples are, as in array.filled(0.0)."
        )
    if isinstance(source, Mapping) or hasattr(source, "columns"):
        raise TypeError(
            f"{name} is a {type(source).__name__}; pass its samples as an array of shape "
            "(n_samples,) or (n_channels, n_samples), such as frame.to_numpy().T."
        )
    if hasattr(source, "detach"):  # a tensor of torch
        source = source.detach().cpu()
        source = source.float() if source.is_floating_point() else source
    try:
        array = np.asarray(source)
    except ValueError as error:
        raise ValueError(
            f"{name} is not one array ({error}); a track has shape (n_samples,) or "
            "(n_channels, n_samples)."
        ) from error
    if array.dtype.kind == "f" or (
        array.dtype.kind == "i" and array.dtype.itemsize in _INTEGER_FULL_SCALE
    ):
        return array
    raise TypeError(
        f"{name} has dtype {array.dtype}; give real floating point samples (full scale 1.0), "
        "int16 or int32."
    )
