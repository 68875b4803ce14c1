"""Mean SDR of collections of tracks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from sksep.audio._resampling import to_mono
from sksep.audio._track import Track
from sksep.audio._validation import check_same_length, check_tracks
from sksep.metrics._sdr import (
    PROTOCOLS,
    floored_ratio,
    normalized_sdr,
    scale_invariant_sdr,
    sdr_of_estimates,
)
from sksep.utils._arrays import BoolArray, DoubleArray
from sksep.utils._validation import check_choice, check_number

ALL_SILENT = ("nan", "raise")


def sdr_score(
    y_true: Any,
    y_pred: Any,
    *,
    protocol: str = "bss_eval_v3",
    sample_weight: npt.ArrayLike | None = None,
    all_silent: str = "nan",
) -> float:
    """Mean SDR of a collection of tracks, in dB.

    Parameters
    ----------
    y_true, y_pred : sequence of arrays, paths or AudioSource
        True and estimated sources, one per track. Tracks may differ in length, but not the two
        versions of one track. The mean over channels (the mono downmix) is scored.
    protocol : {"bss_eval_v3", "snr"}, default="bss_eval_v3"
        As in `sdr`.
    sample_weight : array-like of shape (n_tracks,), default=None
        Weights of the tracks in the mean.
    all_silent : {"nan", "raise"}, default="nan"
        Whether the score is NaN, with a warning, or an error is raised if all references (those
        with a weight) are silent. Scorers raise the error: the score of a fold without vocals
        would make those of all candidates of a search NaN.

    Returns
    -------
    float
        SDR in dB. Tracks with a silent reference are left out; NaN if none is left. A silent
        estimate of an audible reference has no SDR by "bss_eval_v3" and makes the mean NaN, so that
        a separator cannot improve its score by giving up on a track.

    Raises
    ------
    TypeError, ValueError
        If a track cannot be read or has NaN or infinity, if the numbers or lengths of tracks or the
        rates of files differ, if a weight is negative or not finite, or if all references are
        silent and `all_silent` is "raise". The track is named.

    Warns
    -----
    UserWarning
        If tracks have no SDR. One warning names all of them.

    See Also
    --------
    sdr : The SDR of one track.

    Examples
    --------
    >>> import numpy as np
    >>> from sksep.metrics import sdr_score
    >>> tracks = [np.ones(4), np.ones(6)]
    >>> print(f"{sdr_score(tracks, [track / 2 for track in tracks], protocol='snr'):.2f}")
    6.02
    """
    check_choice("protocol", protocol, PROTOCOLS)
    return _weighted_mean(
        lambda true, estimated: float(sdr_of_estimates(true, [estimated], protocol)[0]),
        "SDR",
        {"y_true": y_true, "y_pred": y_pred},
        sample_weight,
        all_silent,
    )


def si_sdr_score(
    y_true: Any,
    y_pred: Any,
    *,
    sample_weight: npt.ArrayLike | None = None,
    all_silent: str = "nan",
) -> float:
    """Mean scale-invariant SDR of a collection of tracks, in dB.

    Parameters
    ----------
    y_true, y_pred : sequence of arrays, paths or AudioSource
        True and estimated sources, as in `sdr_score`; the mono downmix is scored.
    sample_weight : array-like of shape (n_tracks,), default=None
        Weights of the tracks in the mean.
    all_silent : {"nan", "raise"}, default="nan"
        As in `sdr_score`.

    Returns
    -------
    float
        SI-SDR in dB. Tracks with a silent reference are left out; NaN if none is left, or if the
        estimate of an audible reference is silent.

    Raises
    ------
    TypeError, ValueError
        As in `sdr_score`.

    Warns
    -----
    UserWarning
        If tracks have no SI-SDR. One warning names all of them.

    See Also
    --------
    si_sdr : The SI-SDR of one track.

    Examples
    --------
    >>> from sksep.metrics import si_sdr_score
    >>> print(f"{si_sdr_score([[1.0, 0.0], [0.0, 1.0]], [[1.0, 0.1], [1.0, 10.0]]):.2f}")
    20.00
    """
    return _weighted_mean(
        scale_invariant_sdr,
        "SI-SDR",
        {"y_true": y_true, "y_pred": y_pred},
        sample_weight,
        all_silent,
    )


def nsdr_score(
    y_true: Any,
    y_pred: Any,
    mixtures: Any,
    *,
    protocol: str = "bss_eval_v3",
    sample_weight: npt.ArrayLike | None = None,
    all_silent: str = "nan",
) -> float:
    """Mean normalized SDR of a collection of tracks, in dB.

    With the lengths of the tracks as weights this is the GNSDR of the MIR-1K literature [1]_.

    Parameters
    ----------
    y_true, y_pred : sequence of arrays, paths or AudioSource
        True and estimated sources, as in `sdr_score`; the mono downmix is scored.
    mixtures : sequence of arrays, paths or AudioSource
        Mixtures that the estimates were separated from.
    protocol : {"bss_eval_v3", "snr"}, default="bss_eval_v3"
        As in `sdr`.
    sample_weight : array-like of shape (n_tracks,), default=None
        Weights of the tracks in the mean.
    all_silent : {"nan", "raise"}, default="nan"
        As in `sdr_score`.

    Returns
    -------
    float
        dB. Tracks with a silent reference are left out, as in `sdr_score`.

    Raises
    ------
    TypeError, ValueError
        As in `sdr_score`.

    Warns
    -----
    UserWarning
        If tracks have no NSDR. One warning names all of them.

    See Also
    --------
    nsdr : The NSDR of one track.

    References
    ----------
    .. [1] C.-L. Hsu and J.-S. R. Jang, "On the improvement of singing voice separation for monaural
       recordings using the MIR-1K dataset", IEEE Trans. Audio, Speech and Language Processing
       18(2), 2010.

    Examples
    --------
    >>> from sksep.metrics import nsdr_score
    >>> vocals, mixtures = [[1.0, 0.0]], [[1.0, 1.0]]
    >>> print(f"{nsdr_score(vocals, [[1.0, 0.1]], mixtures, protocol='snr'):.2f}")
    20.00
    """
    check_choice("protocol", protocol, PROTOCOLS)
    return _weighted_mean(
        lambda true, estimated, mixture: normalized_sdr(true, estimated, mixture, protocol),
        "NSDR",
        {"y_true": y_true, "y_pred": y_pred, "mixtures": mixtures},
        sample_weight,
        all_silent,
    )


def floored_snr_score(
    y_true: Any,
    y_pred: Any,
    mixtures: Any,
    *,
    ceiling: float = 30.0,
    sample_weight: npt.ArrayLike | None = None,
) -> float:
    """Mean floored SNR of a collection of tracks, in dB, to which silent tracks contribute.

    Parameters
    ----------
    y_true, y_pred : sequence of arrays, paths or AudioSource
        True and estimated sources, as in `sdr_score`; the mono downmix is scored.
    mixtures : sequence of arrays, paths or AudioSource
        Mixtures that the estimates were separated from.
    ceiling : float, default=30.0
        As in `floored_snr`.
    sample_weight : array-like of shape (n_tracks,), default=None
        Weights of the tracks in the mean.

    Returns
    -------
    float
        Mean in dB.

    Raises
    ------
    TypeError, ValueError
        As in `sdr_score`, or if `ceiling` is not in (0, 200].

    See Also
    --------
    floored_snr : The ratio of one track, and its source.

    Examples
    --------
    >>> from sksep.metrics import floored_snr_score
    >>> vocals, estimates, mixtures = [[0.0, 0.0]], [[1.0, 0.0]], [[10.0, 0.0]]
    >>> print(f"{floored_snr_score(vocals, estimates, mixtures):.2f}")
    -10.41
    """
    check_number("ceiling", ceiling, 0.0, 200.0, include_low=False)
    checked, weights = _check_collections(
        {"y_true": y_true, "y_pred": y_pred, "mixtures": mixtures}, sample_weight
    )
    values = [
        floored_ratio(true, estimated, mixture, ceiling)
        for true, estimated, mixture in _mono_versions(checked)
    ]
    return float(np.average(values, weights=weights))


def _weighted_mean(
    ratio: Callable[..., float],
    ratio_name: str,
    collections: dict[str, Any],
    sample_weight: npt.ArrayLike | None,
    all_silent: str,
) -> float:
    """Mean over tracks of a ratio of mono waveforms, the first of which is the reference."""
    check_choice("all_silent", all_silent, ALL_SILENT)
    checked, weights = _check_collections(collections, sample_weight)
    values = np.empty(len(weights))
    silent = np.zeros(len(weights), dtype=bool)
    for index, waveforms in enumerate(_mono_versions(checked)):
        silent[index] = not waveforms[0].any()
        values[index] = ratio(*waveforms)
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
    return float(np.average(values[counted], weights=weights[counted]))


def _check_collections(
    collections: dict[str, Any], sample_weight: npt.ArrayLike | None
) -> tuple[dict[str, tuple[Track, ...]], DoubleArray]:
    checked = {name: check_tracks(tracks, 0, name) for name, tracks in collections.items()}
    first, *others = checked
    for other in others:
        check_same_length(checked[first], checked[other], first, other)
    return checked, _check_weights(sample_weight, len(checked[first]))


def _mono_versions(checked: dict[str, tuple[Track, ...]]) -> Iterator[list[DoubleArray]]:
    """Mono waveforms of one track at a time: a collection of files need not fit into memory."""
    for versions in zip(*checked.values(), strict=True):
        _check_versions(versions)
        yield [to_mono(track.read())[None].astype(np.float64) for track in versions]


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


def _check_versions(versions: tuple[Track, ...]) -> None:
    """Raise an error if the versions of one track differ in length or sample rate."""
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
        # The caller of the public function is above _weighted_mean and that function.
        warnings.warn("Tracks " + "; tracks ".join(messages) + ".", UserWarning, stacklevel=4)
