"""Signal to distortion ratios of one track."""

from __future__ import annotations

import warnings

import numpy as np
import numpy.typing as npt

from sksep.metrics._bss_eval import own_source_sdr
from sksep.metrics._validation import (
    check_pair,
    check_same_channels,
    check_same_samples,
    check_waveform,
    decibel_ratio,
)
from sksep.utils._arrays import DoubleArray
from sksep.utils._validation import check_choice, check_number

PROTOCOLS = ("bss_eval_v3", "snr")
_FILTER_LENGTH = 512


def sdr(
    reference: npt.ArrayLike, estimate: npt.ArrayLike, *, protocol: str = "bss_eval_v3"
) -> float:
    """Signal to distortion ratio of one track, in dB.

    Parameters
    ----------
    reference : array-like of shape (n_samples,) or (n_channels, n_samples)
        The true source.
    estimate : array-like of shape (n_samples,) or (n_channels, n_samples)
        The estimated source, at the same sample rate.
    protocol : {"bss_eval_v3", "snr"}, default="bss_eval_v3"
        Definition of distortion. Figures of different protocols must not be compared.

        - "bss_eval_v3": the part that no filter of 512 taps makes of the reference, in the mean
          over channels (the mono downmix). The SDR equals that of `bss_eval` [1]_ with any other
          sources.
        - "snr": the difference to the reference, with its energy summed over channels. It penalizes
          gain and delay, too.

    Returns
    -------
    float
        SDR in dB; NaN for a silent reference and, with "bss_eval_v3", for a silent estimate.

    Raises
    ------
    ValueError
        If a track is empty, has other than one or two dimensions or holds NaN or infinity, if the
        lengths differ, if with "snr" the channels differ, or if the protocol is unknown.
    TypeError
        If the dtype is not real.

    Warns
    -----
    UserWarning
        If the result is NaN.

    References
    ----------
    .. [1] E. Vincent, R. Gribonval and C. Févotte, "Performance measurement in blind audio source
       separation", IEEE Trans. Audio, Speech and Language Processing 14(4), 2006.

    Examples
    --------
    >>> import numpy as np
    >>> from sksep.metrics import sdr
    >>> reference = np.random.default_rng(0).standard_normal(8000)
    >>> print(f"{sdr(reference, 0.5 * reference, protocol='snr'):.2f}")
    6.02
    """
    true, estimated = check_pair(reference, estimate)
    check_choice("protocol", protocol, PROTOCOLS)
    if protocol == "snr":
        check_same_channels(true, estimated, "reference", "estimate")
    value = float(sdr_of_estimates(true, [estimated], protocol)[0])
    _warn_if_undefined(value, "SDR", true)
    return value


def si_sdr(reference: npt.ArrayLike, estimate: npt.ArrayLike) -> float:
    """Scale-invariant signal to distortion ratio of one track, in dB.

    The reference is scaled by the gain, the same for all channels, that brings it nearest to the
    estimate. The difference is the distortion [1]_. No mean is subtracted.

    Parameters
    ----------
    reference : array-like of shape (n_samples,) or (n_channels, n_samples)
        The true source.
    estimate : array-like of the shape of `reference`
        The estimated source, at the same sample rate.

    Returns
    -------
    float
        SI-SDR in dB; NaN if the reference or the estimate is silent.

    Raises
    ------
    ValueError
        If a track is empty, has other than one or two dimensions or holds NaN or infinity, or if
        lengths or channels differ.
    TypeError
        If the dtype is not real.

    Warns
    -----
    UserWarning
        If the result is NaN.

    References
    ----------
    .. [1] J. Le Roux, S. Wisdom, H. Erdogan and J. R. Hershey, "SDR - half-baked or well done?",
       ICASSP 2019.

    Examples
    --------
    >>> from sksep.metrics import si_sdr
    >>> si_sdr([1.0, 0.0, 0.0, 0.0], [10.0, 1.0, 0.0, 0.0])
    20.0
    """
    true, estimated = check_pair(reference, estimate)
    check_same_channels(true, estimated, "reference", "estimate")
    value = scale_invariant_sdr(true, estimated)
    _warn_if_undefined(value, "SI-SDR", true)
    return value


def nsdr(
    reference: npt.ArrayLike,
    estimate: npt.ArrayLike,
    mixture: npt.ArrayLike,
    *,
    protocol: str = "bss_eval_v3",
) -> float:
    """Normalized SDR of one track: its gain in SDR over the unprocessed mixture, in dB.

    The gain is the measure of [1]_, the SDR that of `protocol`.

    Parameters
    ----------
    reference : array-like of shape (n_samples,) or (n_channels, n_samples)
        The true source.
    estimate : array-like of shape (n_samples,) or (n_channels, n_samples)
        The estimated source.
    mixture : array-like of shape (n_samples,) or (n_channels, n_samples)
        Mixture that the estimate was separated from.
    protocol : {"bss_eval_v3", "snr"}, default="bss_eval_v3"
        As in `sdr`.

    Returns
    -------
    float
        ``sdr(reference, estimate) - sdr(reference, mixture)``; NaN if one of them is NaN.

    Raises
    ------
    ValueError, TypeError
        As in `sdr`.

    Warns
    -----
    UserWarning
        If the result is NaN.

    References
    ----------
    .. [1] A. Ozerov, P. Philippe, F. Bimbot and R. Gribonval, "Adaptation of Bayesian models for
       single-channel source separation and its application to voice/music separation in popular
       songs", IEEE Trans. Audio, Speech and Language Processing 15(5), 2007.

    Examples
    --------
    >>> import numpy as np
    >>> from sksep.metrics import nsdr
    >>> vocals, accompaniment = np.random.default_rng(0).standard_normal((2, 8000))
    >>> mixture = vocals + accompaniment
    >>> print(f"{nsdr(vocals, vocals + 0.1 * accompaniment, mixture, protocol='snr'):.2f}")
    20.00
    """
    true, estimated = check_pair(reference, estimate)
    mixed = check_waveform(mixture, "mixture")
    check_same_samples(mixed, true, "mixture", "reference")
    check_choice("protocol", protocol, PROTOCOLS)
    if protocol == "snr":
        check_same_channels(true, estimated, "reference", "estimate")
        check_same_channels(true, mixed, "reference", "mixture")
    value = normalized_sdr(true, estimated, mixed, protocol)
    _warn_if_undefined(value, "NSDR", true)
    return value


def floored_snr(
    reference: npt.ArrayLike,
    estimate: npt.ArrayLike,
    mixture: npt.ArrayLike,
    *,
    ceiling: float = 30.0,
) -> float:
    """Signal to noise ratio of one track with a floor, in dB, which is defined for silence.

    It is ``10 log10((|reference|² + floor) / (|reference - estimate|² + floor))``. The floor lies
    `ceiling` dB below the energy of the mixture, as in the thresholded loss of [1]_, with the
    mixture in the place of a silent reference as in [2]_. A silent estimate has 0 dB. For a silent
    reference the ratio is the negative level of what the estimate should not contain: 0 dB for
    silence, ``-ceiling`` for the mixture. For an audible one it is close to the plain SNR, but
    not above the level of the reference over the floor.

    Parameters
    ----------
    reference : array-like of shape (n_samples,) or (n_channels, n_samples)
        The true source; it may be silent.
    estimate : array-like of the shape of `reference`
        The estimated source; it may be silent.
    mixture : array-like of the shape of `reference`
        Mixture that the estimate was separated from.
    ceiling : float, default=30.0
        Level of the mixture over the floor in dB, in (0, 200].

    Returns
    -------
    float
        Ratio in dB; never NaN.

    Raises
    ------
    ValueError, TypeError
        As in `sdr` with the protocol "snr", or if `ceiling` is not in (0, 200].

    References
    ----------
    .. [1] S. Wisdom, E. Tzinis, H. Erdogan, R. Weiss, K. Wilson and J. Hershey, "Unsupervised sound
       separation using mixture invariant training", NeurIPS 2020.
    .. [2] S. Wisdom, H. Erdogan, D. Ellis, R. Serizel, N. Turpault, E. Fonseca, J. Salamon,
       P. Seetharaman and J. Hershey, "What's all the FUSS about free universal sound separation
       data?", ICASSP 2021.

    Examples
    --------
    >>> from sksep.metrics import floored_snr
    >>> mixture = [10.0, 0.0]
    >>> floored_snr([0.0, 0.0], [0.0, 0.0], mixture)
    0.0
    >>> round(floored_snr([0.0, 0.0], mixture, mixture), 2)
    -30.0
    """
    check_number("ceiling", ceiling, 0.0, 200.0, include_low=False)
    true, estimated = check_pair(reference, estimate)
    mixed = check_waveform(mixture, "mixture")
    check_same_samples(mixed, true, "mixture", "reference")
    check_same_channels(true, estimated, "reference", "estimate")
    check_same_channels(true, mixed, "reference", "mixture")
    return floored_ratio(true, estimated, mixed, ceiling)


def sdr_of_estimates(
    reference: DoubleArray, estimates: list[DoubleArray], protocol: str
) -> DoubleArray:
    """SDR of each estimate of one reference, all validated and channels first."""
    if not reference.any():
        return np.full(len(estimates), np.nan)
    if protocol == "snr":
        return np.array(
            [_ratio(reference, estimate - reference) for estimate in estimates], np.float64
        )
    downmix = reference.mean(axis=0)
    if not downmix.any():  # channels in opposite phase
        return np.full(len(estimates), np.nan)
    downmixes = np.stack([estimate.mean(axis=0) for estimate in estimates])
    return own_source_sdr(downmix, downmixes, _FILTER_LENGTH)


def normalized_sdr(
    reference: DoubleArray, estimate: DoubleArray, mixture: DoubleArray, protocol: str
) -> float:
    """NSDR of validated waveforms, channels first."""
    estimated, mixed = sdr_of_estimates(reference, [estimate, mixture], protocol)
    with np.errstate(invalid="ignore"):  # the mixture can be the reference: inf - inf
        return float(estimated - mixed)


def scale_invariant_sdr(reference: DoubleArray, estimate: DoubleArray) -> float:
    """SI-SDR of validated waveforms, channels first."""
    if not reference.any() or not estimate.any():
        return float("nan")
    # Unit peaks keep the energies in range.
    reference = reference / np.abs(reference).max()
    estimate = estimate / np.abs(estimate).max()
    gain = (reference * estimate).sum() / (reference**2).sum()
    return _ratio(gain * reference, estimate - gain * reference)


def floored_ratio(
    reference: DoubleArray, estimate: DoubleArray, mixture: DoubleArray, ceiling: float
) -> float:
    """Floored SNR of validated waveforms, channels first."""
    peak = max(np.abs(part).max() for part in (reference, estimate, mixture))
    if peak == 0.0:
        return 0.0
    # A peak of one keeps the energies in range.
    true, estimated, mixed = reference / peak, estimate / peak, mixture / peak
    floor = 10.0 ** (-ceiling / 10.0) * (mixed**2).sum()
    return decibel_ratio((true**2).sum() + floor, ((true - estimated) ** 2).sum() + floor)


def _ratio(target: DoubleArray, distortion: DoubleArray) -> float:
    return decibel_ratio((target**2).sum(), (distortion**2).sum())


def _warn_if_undefined(value: float, ratio: str, reference: DoubleArray) -> None:
    if np.isnan(value):
        name = "estimate" if reference.mean(axis=0).any() else "reference"
        warnings.warn(
            f"{ratio} is undefined (NaN): the {name} is silent.", UserWarning, stacklevel=3
        )
