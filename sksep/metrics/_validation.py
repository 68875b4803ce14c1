"""Validation of the waveforms that a metric is given."""

from __future__ import annotations

from typing import Any

import numpy as np

from sksep.audio._samples import check_channels_first
from sksep.utils._arrays import BoolArray, DoubleArray


def check_sources(
    references: Any, estimates: Any, *, with_channels: bool = False
) -> tuple[DoubleArray, DoubleArray]:
    """Two stacks of waveforms of equal shapes as float64, which may share memory with the input.

    The shape is (n_sources, n_samples), or (n_sources, n_channels, n_samples) if `with_channels` is
    true. A missing axis of channels is then inserted.
    """
    checked = []
    for name, sources in (("references", references), ("estimates", estimates)):
        waveforms = _to_float64(sources, name)
        allowed = (2, 3) if with_channels else (2,)
        if waveforms.ndim not in allowed:
            shapes = "(n_sources, n_samples)"
            if with_channels:
                shapes += " or (n_sources, n_channels, n_samples)"
            raise ValueError(
                f"{name} has {waveforms.ndim} dimensions, but its shape must be {shapes}; one "
                "waveform is waveform[None]."
            )
        if with_channels and waveforms.ndim == 2:
            waveforms = waveforms[:, None]
        if any(axis_length > waveforms.shape[-1] for axis_length in waveforms.shape[:-1]):
            raise ValueError(
                f"{name} has shape {np.shape(sources)}, more sources or channels than samples; "
                "samples come last, so transpose it."
            )
        for index, waveform in enumerate(waveforms):
            _check_finite(waveform, f"{name}[{index}]")
        checked.append(waveforms)
    if checked[0].shape != checked[1].shape:
        raise ValueError(
            f"references and estimates must have equal shapes, got {np.shape(references)} and "
            f"{np.shape(estimates)}; cut or pad them to one length, source by source."
        )
    return checked[0], checked[1]


def check_waveform(waveform: Any, name: str) -> DoubleArray:
    """One track, (n_samples,) or (n_channels, n_samples), as float64 (n_channels, n_samples).

    It may share memory with the input.
    """
    array = _to_float64(waveform, name)
    if array.ndim not in (1, 2):
        raise ValueError(
            f"{name} has {array.ndim} dimensions; a track has shape (n_samples,) or "
            "(n_channels, n_samples)."
        )
    _check_finite(array, name)
    check_channels_first(array, name)
    return array.reshape(-1, array.shape[-1])


def check_pair(
    reference: Any, estimate: Any, *, same_channels: bool = False
) -> tuple[DoubleArray, DoubleArray]:
    """Two versions of one track of equal lengths, as `check_waveform` returns them."""
    true = check_waveform(reference, "reference")
    estimated = check_waveform(estimate, "estimate")
    check_same_samples(estimated, true, "estimate", "reference")
    if same_channels:
        check_same_channels(true, estimated, "reference", "estimate")
    return true, estimated


def check_same_samples(
    waveform: DoubleArray, other: DoubleArray, name: str, other_name: str
) -> None:
    """Raise an error if two waveforms differ in their number of samples."""
    if waveform.shape[-1] != other.shape[-1]:
        raise ValueError(
            f"{name} has {waveform.shape[-1]} samples but {other_name} has {other.shape[-1]}; "
            "bring both to one sample rate and one length."
        )


def check_same_channels(
    waveform: DoubleArray, other: DoubleArray, name: str, other_name: str
) -> None:
    """Raise an error if two waveforms differ in their number of channels."""
    if waveform.shape[0] != other.shape[0]:
        raise ValueError(
            f"{name} has {waveform.shape[0]} channels but {other_name} has {other.shape[0]}; "
            "downmix both to mono first."
        )


def is_silent(waveforms: DoubleArray) -> BoolArray:
    """Whether each entry of the first axis has zeros only."""
    return ~np.asarray(waveforms.reshape(len(waveforms), -1).any(axis=1))


def decibel_ratio(numerator: float, denominator: float) -> float:
    """10 log10(numerator / denominator); infinite if one of them is zero, NaN if both are."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(10 * np.log10(np.float64(numerator) / np.float64(denominator)))


def _to_float64(waveform: Any, name: str) -> DoubleArray:
    try:
        array = np.asarray(waveform)
    except ValueError as error:
        raise ValueError(f"The waveforms of {name} must have one length ({error}).") from error
    if array.dtype.kind not in "fiu":
        raise TypeError(f"{name} has dtype {array.dtype}; give real numbers.")
    if array.size == 0:
        raise ValueError(f"{name} is empty (shape {array.shape}); give at least one sample.")
    return array.astype(np.float64, copy=False)


def _check_finite(array: DoubleArray, name: str) -> None:
    # The sum is finite for all waveforms of finite samples. It needs no array of flags.
    if not np.isfinite(array.sum()):
        raise ValueError(
            f"{name} contains NaN or infinity; replace them (for example with numpy.nan_to_num) "
            "or leave it out."
        )
