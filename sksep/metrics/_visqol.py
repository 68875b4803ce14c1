"""ViSQOL, a predicted opinion of listeners, computed by the package visqol-python."""

from __future__ import annotations

import warnings
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from sksep.audio._resampling import resample
from sksep.metrics._collections import average_over_tracks
from sksep.metrics._validation import check_pair
from sksep.utils._arrays import DoubleArray
from sksep.utils._validation import check_integer

# Sample rate at which ViSQOL compares music.
_RATE = 48000
# Shorter tracks hold no patch of its spectrogram.
_SHORTEST_SECONDS = 1.0


def visqol(reference: npt.ArrayLike, estimate: npt.ArrayLike, *, sample_rate: int) -> float:
    """Opinion that listeners would have of an estimate, predicted by ViSQOL, from 1 to about 4.7.

    ViSQOL in its audio mode compares patches of gammatone spectrograms and maps their similarity
    to a mean opinion score [1]_. It was made for coded speech and music. For singing it tells
    whether an estimate *sounds* altered, which energy ratios do not; but it was not fitted to the
    artifacts of separators, so use it beside an SDR and not instead.

    Parameters
    ----------
    reference : array-like of shape (n_samples,) or (n_channels, n_samples)
        The true source, full scale 1.0, of at least one second. The mean over channels is scored.
    estimate : array-like of shape (n_samples,) or (n_channels, n_samples)
        The estimated source.
    sample_rate : int
        Sample rate in Hz. Tracks are resampled to 48 kHz.

    Returns
    -------
    float
        Mean opinion score, higher is better; NaN if the reference or the estimate is silent.

    Raises
    ------
    ImportError
        If visqol-python is not installed. It is the extra ``visqol``.
    ValueError, TypeError
        If a track is shorter than a second, empty or not finite, if the lengths differ, if
        `sample_rate` is below 1, or if the dtype is not real.

    Warns
    -----
    UserWarning
        If the result is NaN.

    References
    ----------
    .. [1] M. Chinen, F. S. C. Lim, J. Skoglund, N. Gureev, F. O'Gorman and A. Hines, "ViSQOL v3: An
       open source production ready objective speech and audio metric", QoMEX 2020.

    Examples
    --------
    >>> from sksep.datasets import make_songs
    >>> from sksep.metrics import visqol
    >>> song = make_songs(1, duration=2.0, random_state=0)
    >>> vocals, mixture = song.vocals[0], song.mixtures[0]
    >>> visqol(vocals, mixture, sample_rate=16000)  # doctest: +SKIP
    2.73
    """
    check_integer("sample_rate", sample_rate, 1)
    true, estimated = check_pair(reference, estimate)
    downmixes = [part.mean(axis=0, keepdims=True) for part in (true, estimated)]
    value = predicted_opinion(downmixes[0], downmixes[1], sample_rate)
    if np.isnan(value):
        name = "estimate" if downmixes[0].any() else "reference"
        warnings.warn(
            f"ViSQOL is undefined (NaN): the {name} is silent.", UserWarning, stacklevel=2
        )
    return value


def visqol_score(
    y_true: Any,
    y_pred: Any,
    *,
    sample_rate: int = 16000,
    sample_weight: npt.ArrayLike | None = None,
    all_silent: str = "nan",
) -> float:
    """Mean opinion score of a collection of tracks, predicted by ViSQOL.

    Parameters
    ----------
    y_true, y_pred : sequence of arrays, paths or AudioSource
        True and estimated sources, as in `sdr_score`; the mono downmix is scored.
    sample_rate : int, default=16000
        Sample rate of arrays in Hz, as in `csdr_score`.
    sample_weight : array-like of shape (n_tracks,), default=None
        Weights of the tracks in the mean.
    all_silent : {"nan", "raise"}, default="nan"
        As in `sdr_score`.

    Returns
    -------
    float
        Mean, higher is better. Tracks with a silent reference are left out; NaN if none is left, or
        if the estimate of an audible one is silent.

    Raises
    ------
    ImportError
        If visqol-python is not installed. It is the extra ``visqol``.
    TypeError, ValueError
        As in `csdr_score`, or if a track is shorter than a second.

    Warns
    -----
    UserWarning
        If tracks have no score. One warning names all of them.

    See Also
    --------
    visqol : The score of one track, and its source.

    Examples
    --------
    >>> from sksep.datasets import make_songs
    >>> from sksep.metrics import visqol_score
    >>> songs = make_songs(2, duration=2.0, random_state=0)
    >>> visqol_score(songs.vocals, songs.mixtures)  # doctest: +SKIP
    2.66
    """
    check_integer("sample_rate", sample_rate, 1)
    return average_over_tracks(
        predicted_opinion,
        "ViSQOL",
        {"y_true": y_true, "y_pred": y_pred},
        sample_weight,
        all_silent,
        sample_rate=sample_rate,
    )


def predicted_opinion(reference: DoubleArray, estimate: DoubleArray, sample_rate: int) -> float:
    """Mean opinion score of validated mono waveforms, (1, n_samples)."""
    predictor = _predictor()
    if not reference.any() or not estimate.any():
        return float("nan")
    seconds = reference.shape[1] / sample_rate
    if seconds < _SHORTEST_SECONDS:
        raise ValueError(
            f"A track has {seconds:.2f} s, but ViSQOL needs at least {_SHORTEST_SECONDS:.0f} s; "
            "leave it out, or check sample_rate."
        )
    waveforms = [
        resample(part.astype(np.float32), sample_rate, _RATE)[0].astype(np.float64)
        for part in (reference, estimate)
    ]
    return float(predictor.measure_from_arrays(*waveforms, _RATE).moslqo)


@cache
def _predictor() -> Any:
    try:
        from visqol import VisqolApi
    except ImportError as error:
        raise ImportError(
            "ViSQOL is computed by visqol-python, which is not installed: "
            "pip install 'sksep[visqol]'."
        ) from error
    predictor = VisqolApi()
    predictor.create(mode="audio")
    return predictor
