"""Mean SDR of collections of tracks."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from sksep.metrics._collections import average_over_tracks, check_collections, mono_versions
from sksep.metrics._sdr import (
    PROTOCOLS,
    floored_ratio,
    normalized_sdr,
    scale_invariant_sdr,
    sdr_of_estimates,
)
from sksep.utils._validation import check_choice, check_number


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
    return average_over_tracks(
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
    return average_over_tracks(
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
    return average_over_tracks(
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
    checked, weights = check_collections(
        {"y_true": y_true, "y_pred": y_pred, "mixtures": mixtures}, sample_weight
    )
    values = [
        floored_ratio(true, estimated, mixture, ceiling)
        for true, estimated, mixture in mono_versions(checked)
    ]
    return float(np.average(values, weights=weights))
