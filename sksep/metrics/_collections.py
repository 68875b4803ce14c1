"""Averages of scores over collections of tracks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from sksep.audio._resampling import to_mono
from sksep.audio._track import Track
from sksep.audio._validation import check_same_length, check_tracks
from sksep.utils._arrays import BoolArray, DoubleArray
from sksep.utils._validation import check_choice

ALL_SILENT = ("nan", "raise")


def weighted_mean(values: DoubleArray, weights: DoubleArray) -> float:
    """Mean of values with positive weights."""
    return float(np.average(values, weights=weights))


def weighted_median(values: DoubleArray, weights: DoubleArray) -> float:
    """Median of values with positive weights; equal weights give the usual one. NaN gives NaN."""
    if np.isnan(values).any():
        return float("nan")
    order = np.argsort(values)
    shares = np.cumsum(weights[order]) / weights.sum()
    low, high = (np.searchsorted(shares, 0.5 + margin) for margin in (-1e-12, 1e-12))
    return float((values[order[low]] + values[order[high]]) / 2)


def average_over_tracks(
    ratio: Callable[..., float],
    ratio_name: str,
    collections: dict[str, Any],
    sample_weight: npt.ArrayLike | None,
    all_silent: str,
    *,
    is_mono: bool = True,
    sample_rate: int | None = None,
    average: Callable[[DoubleArray, DoubleArray], float] = weighted_mean,
) -> float:
    """Average over tracks of a score of waveforms, the first of which is the reference.

    `ratio` takes the waveforms, (n_channels, n_samples), of which `is_mono` leaves the mean over
    channels. If `sample_rate` is given, that of arrays, `ratio` also takes the rate of the track.
    """
    check_choice("all_silent", all_silent, ALL_SILENT)
    checked, weights = check_collections(collections, sample_weight, sample_rate or 0)
    values = np.empty(len(weights))
    silent = np.zeros(len(weights), dtype=bool)
    for index, versions in enumerate(zip(*checked.values(), strict=True)):
        waveforms = _waveforms(versions, is_mono=is_mono)
        rates = [track.sample_rate for track in versions if track.is_file] or [sample_rate]
        silent[index] = not waveforms[0].any()
        values[index] = ratio(*waveforms, *(rates[:1] if sample_rate else []))
    counted = ~silent & (weights > 0)
    if all_silent == "raise" and not counted.any():
        names = ", ".join(track.name for track in next(iter(checked.values())))
        raise ValueError(
            f"The mean {ratio_name} of {len(weights)} tracks is undefined, since all references "
            f"are silent: {names:.500}. Split the tracks so that each part has sound, for example "
            "by cv=list(StratifiedKFold().split(mixtures, has_vocals)), or use "
            "floored_snr_scorer, which is defined for silence."
        )
    _warn_of_undefined(values, silent, weights > 0, ratio_name, checked)
    if not counted.any():
        return float("nan")
    return average(values[counted], weights[counted])


def check_collections(
    collections: dict[str, Any], sample_weight: npt.ArrayLike | None, sample_rate: int = 0
) -> tuple[dict[str, tuple[Track, ...]], DoubleArray]:
    """Tracks of collections of equal lengths, and the weights of the tracks."""
    checked = {
        name: check_tracks(tracks, sample_rate, name) for name, tracks in collections.items()
    }
    first, *others = checked
    for other in others:
        check_same_length(checked[first], checked[other], first, other)
    return checked, _check_weights(sample_weight, len(checked[first]))


def mono_versions(checked: dict[str, tuple[Track, ...]]) -> Iterator[list[DoubleArray]]:
    """Mono waveforms of one track at a time: a collection of files need not fit into memory."""
    for versions in zip(*checked.values(), strict=True):
        yield _waveforms(versions, is_mono=True)


def _waveforms(versions: tuple[Track, ...], *, is_mono: bool) -> list[DoubleArray]:
    """Waveforms of the versions of one track, (n_channels, n_samples)."""
    _check_versions(versions, is_mono=is_mono)
    waveforms = [to_mono(track.read())[None] if is_mono else track.read() for track in versions]
    return [samples.reshape(-1, samples.shape[-1]).astype(np.float64) for samples in waveforms]


def _check_weights(sample_weight: npt.ArrayLike | None, n_tracks: int) -> DoubleArray:
    if sample_weight is None:
        return np.ones(n_tracks)
    weights = np.asarray(sample_weight, dtype=np.float64)
    if weights.shape != (n_tracks,):
        raise ValueError(
            f"sample_weight has shape {weights.shape}; give one weight for each of the {n_tracks} "
            "tracks."
        )
    if not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise ValueError("sample_weight must be finite and not negative, and not all zero.")
    return weights


def _check_versions(versions: tuple[Track, ...], *, is_mono: bool) -> None:
    """Raise an error if the versions of one track differ in length, sample rate or channels."""
    first, *others = versions
    for other in others:
        if first.is_file and other.is_file and first.sample_rate != other.sample_rate:
            raise ValueError(
                f"{other.name} has a sample rate of {other.sample_rate} Hz but {first.name} of "
                f"{first.sample_rate} Hz; resample one of them."
            )
        if first.n_samples != other.n_samples:
            raise ValueError(
                f"{other.name} has {other.n_samples} samples but {first.name} has "
                f"{first.n_samples}; bring both to one sample rate and one length."
            )
        if not is_mono and first.n_channels != other.n_channels:
            raise ValueError(
                f"{other.name} has {other.n_channels} channels but {first.name} has "
                f"{first.n_channels}; all channels are scored, so give both as many."
            )


def _warn_of_undefined(
    values: DoubleArray,
    silent: BoolArray,
    weighted: BoolArray,
    ratio_name: str,
    checked: dict[str, tuple[Track, ...]],
) -> None:
    references, estimates, *_ = checked.values()
    messages = []
    if (silent & weighted).any():
        names = ", ".join(references[index].name for index in np.flatnonzero(silent & weighted))
        messages.append(f"left out of the mean {ratio_name}, since it is silent: {names}")
    undefined = np.flatnonzero(np.isnan(values) & ~silent & weighted)
    if len(undefined):
        names = ", ".join(estimates[index].name for index in undefined)
        messages.append(
            f"without {ratio_name}, which makes the mean NaN, since a waveform is silent: {names}"
        )
    if messages:
        # The caller of the public function is above average_over_tracks and that function.
        warnings.warn("Tracks " + "; tracks ".join(messages) + ".", UserWarning, stacklevel=4)
