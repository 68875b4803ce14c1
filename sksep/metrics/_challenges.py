"""Energy ratios of evaluation campaigns: uSDR and cSDR."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from sksep.metrics._collections import average_over_tracks, weighted_median
from sksep.metrics._validation import check_pair, decibel_ratio
from sksep.utils._arrays import DoubleArray
from sksep.utils._validation import check_integer

# Energy that the organizers of the challenges add to both sides of the ratio.
_ADDED_ENERGY = 1e-7


def usdr(reference: npt.ArrayLike, estimate: npt.ArrayLike) -> float:
    """SDR of the Music Demixing challenges (uSDR) of one track, in dB.

    It is ``10 log10((sum(reference²) + 1e-7) / (sum((reference - estimate)²) + 1e-7))``, with sums
    over all samples and channels of the song [1]_. It forgives neither gain nor delay, and quiet
    passages hardly count. Listening tests find energy ratios of this kind the best measures of
    separated vocals [2]_.

    Parameters
    ----------
    reference : array-like of shape (n_samples,) or (n_channels, n_samples)
        The true source, full scale 1.0. The challenges took stereo at 44.1 kHz.
    estimate : array-like of the shape of `reference`
        The estimated source.

    Returns
    -------
    float
        Ratio in dB, higher is better. It is always finite, but for a silent reference it depends
        on the added energy: `floored_snr` is a better measure of silence.

    Raises
    ------
    ValueError
        If a track is empty, has other than one or two dimensions or holds NaN or infinity, or if
        the shapes differ.
    TypeError
        If the dtype is not real.

    See Also
    --------
    sdr : With ``protocol="snr"``, the same without the added energy.

    References
    ----------
    .. [1] Y. Mitsufuji et al., "Music Demixing Challenge 2021", Frontiers in Signal Processing 1,
       2022. arXiv:2108.13559.
    .. [2] N. Jaffe and J. A. Burgoyne, "Musical Source Separation Bake-Off: Comparing Objective
       Metrics with Human Perception", arXiv:2507.06917, 2025.

    Examples
    --------
    >>> import numpy as np
    >>> from sksep.metrics import usdr
    >>> vocals = np.random.default_rng(0).standard_normal((2, 8000))
    >>> print(f"{usdr(vocals, 0.9 * vocals):.2f}")
    20.00
    """
    return energy_ratio(*check_pair(reference, estimate, same_channels=True))


def csdr(reference: npt.ArrayLike, estimate: npt.ArrayLike, *, sample_rate: int) -> float:
    """SDR of one track as the median over its seconds (cSDR), in dB.

    It is the SDR of BSSEval version 4 as the SiSEC campaign and most tables on MUSDB18 report it
    [1]_: the ratio of the energies of the reference and of the difference, over all channels, in
    frames of one second; then the median over frames. It forgives neither gain nor delay. Passages
    with loud and with soft vocals count alike, which is closer to how long a listener hears each of
    them than `usdr` is.

    Parameters
    ----------
    reference : array-like of shape (n_samples,) or (n_channels, n_samples)
        The true source.
    estimate : array-like of the shape of `reference`
        The estimated source.
    sample_rate : int
        Sample rate in Hz, which is the length of a frame.

    Returns
    -------
    float
        Median in dB, higher is better. Frames in which one of both is silent are left out, also
        a last one that is not complete. A track of less than a second is one frame. NaN if no
        frame is left.

    Raises
    ------
    ValueError, TypeError
        As in `usdr`, or if `sample_rate` is below 1.

    Warns
    -----
    UserWarning
        If the result is NaN.

    See Also
    --------
    bss_eval_frames : All ratios of version 4, for several sources at once.

    Notes
    -----
    ``museval`` also leaves out the frames in which another source of the song is silent. For songs
    whose accompaniment never pauses, both medians are equal.

    References
    ----------
    .. [1] F.-R. Stöter, A. Liutkus and N. Ito, "The 2018 Signal Separation Evaluation Campaign",
       LVA/ICA 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from sksep.metrics import csdr
    >>> vocals = np.random.default_rng(0).standard_normal((2, 8000))
    >>> print(f"{csdr(vocals, 0.9 * vocals, sample_rate=2000):.2f}")
    20.00
    """
    check_integer("sample_rate", sample_rate, 1)
    value = median_over_frames(*check_pair(reference, estimate, same_channels=True), sample_rate)
    if np.isnan(value):
        warnings.warn(
            "cSDR is undefined (NaN): the reference or the estimate is silent in each second.",
            UserWarning,
            stacklevel=2,
        )
    return value


def usdr_score(
    y_true: Any,
    y_pred: Any,
    *,
    sample_weight: npt.ArrayLike | None = None,
    all_silent: str = "nan",
) -> float:
    """Mean uSDR of a collection of tracks, in dB.

    Parameters
    ----------
    y_true, y_pred : sequence of arrays, paths or AudioSource
        True and estimated sources, one per track. All channels are scored, so both versions of a
        track have as many.
    sample_weight : array-like of shape (n_tracks,), default=None
        Weights of the tracks in the mean.
    all_silent : {"nan", "raise"}, default="nan"
        As in `sdr_score`.

    Returns
    -------
    float
        uSDR in dB. Tracks with a silent reference are left out; NaN if none is left.

    Raises
    ------
    TypeError, ValueError
        As in `sdr_score`, or if the numbers of channels differ.

    Warns
    -----
    UserWarning
        If tracks are left out. One warning names all of them.

    See Also
    --------
    usdr : The uSDR of one track, and its source.

    Examples
    --------
    >>> import numpy as np
    >>> from sksep.metrics import usdr_score
    >>> tracks = [np.ones(4), np.ones(6)]
    >>> print(f"{usdr_score(tracks, [track / 2 for track in tracks]):.2f}")
    6.02
    """
    return average_over_tracks(
        energy_ratio,
        "uSDR",
        {"y_true": y_true, "y_pred": y_pred},
        sample_weight,
        all_silent,
        is_mono=False,
    )


def csdr_score(
    y_true: Any,
    y_pred: Any,
    *,
    sample_rate: int = 16000,
    sample_weight: npt.ArrayLike | None = None,
    all_silent: str = "nan",
) -> float:
    """Median over tracks of the cSDR, in dB, as tables on MUSDB18 report it.

    Parameters
    ----------
    y_true, y_pred : sequence of arrays, paths or AudioSource
        True and estimated sources, as in `usdr_score`.
    sample_rate : int, default=16000
        Sample rate of arrays in Hz; the default is that of `MelChunker`. Tracks of which one
        version is a file have the rate of the file.
    sample_weight : array-like of shape (n_tracks,), default=None
        Weights of the tracks in the median.
    all_silent : {"nan", "raise"}, default="nan"
        As in `sdr_score`.

    Returns
    -------
    float
        Median of medians in dB. Tracks with a silent reference are left out; NaN if none is left,
        or if a track with an audible one has no frame with a score.

    Raises
    ------
    TypeError, ValueError
        As in `usdr_score`, or if `sample_rate` is below 1.

    Warns
    -----
    UserWarning
        If tracks have no cSDR. One warning names all of them.

    See Also
    --------
    csdr : The cSDR of one track, and its source.

    Examples
    --------
    >>> import numpy as np
    >>> from sksep.metrics import csdr_score
    >>> tracks = list(np.random.default_rng(0).standard_normal((3, 8000)))
    >>> estimates = [0.9 * tracks[0], 0.5 * tracks[1], 0 * tracks[2] + 0.1]
    >>> print(f"{csdr_score(tracks, estimates, sample_rate=2000):.2f}")
    6.02
    """
    check_integer("sample_rate", sample_rate, 1)
    return average_over_tracks(
        median_over_frames,
        "cSDR",
        {"y_true": y_true, "y_pred": y_pred},
        sample_weight,
        all_silent,
        is_mono=False,
        sample_rate=sample_rate,
        average=weighted_median,
    )


def energy_ratio(reference: DoubleArray, estimate: DoubleArray) -> float:
    """The uSDR of validated waveforms, channels first."""
    energies = [(part**2).sum() + _ADDED_ENERGY for part in (reference, reference - estimate)]
    return decibel_ratio(*energies)


def median_over_frames(reference: DoubleArray, estimate: DoubleArray, sample_rate: int) -> float:
    """The cSDR of validated waveforms, channels first."""
    n_channels, n_samples = reference.shape
    length = min(sample_rate, n_samples)
    n_frames = n_samples // length

    def energies(samples: DoubleArray) -> DoubleArray:
        frames = samples[:, : n_frames * length].reshape(n_channels, n_frames, length)
        return np.einsum("cft,cft->f", frames, frames)

    true, estimated, error = map(energies, (reference, estimate, reference - estimate))
    scored = (true > 0) & (estimated > 0)
    if not scored.any():
        return float("nan")
    with np.errstate(divide="ignore"):  # a frame without error is infinitely good
        return float(np.median(10 * np.log10(true[scored] / error[scored])))
