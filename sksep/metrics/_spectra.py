"""Distances and levels of spectra: multi-resolution STFT distance, bleedless and fullness."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from sksep.metrics._collections import average_over_tracks
from sksep.metrics._validation import check_pair
from sksep.utils._arrays import DoubleArray, FloatArray
from sksep.utils._validation import check_integer

# Window lengths in samples, as in the listening test that the docstring cites. Windows overlap by
# three quarters.
_WINDOWS = (256, 512, 1024, 2048, 4096)
# Power below which bins do not differ.
_LOWEST_POWER = 1e-8

# The spectrogram of bleedless and fullness.
_N_FFT = 4096
_HOP_LENGTH = 1024
_N_MELS = 512
_RANGE_DECIBELS = 80.0


def multi_resolution_stft_distance(reference: npt.ArrayLike, estimate: npt.ArrayLike) -> float:
    """Distance of magnitude spectra at several resolutions; 0 for equal tracks.

    For each window length there are two distances of the magnitudes of both spectrograms: the norm
    of the difference over that of the reference (spectral convergence), and the mean absolute
    difference of the natural logarithms. The result is the mean over window lengths of their sum,
    as in [1]_. Windows are Hann windows of 256, 512, 1024, 2048 and 4096 samples with a hop of a
    quarter. Phases do not count. In a listening test of separated singing it was among the best
    measures of generative separators [2]_, whose waveforms need not follow the reference sample by
    sample; it was applied there after an A-weighting, which is not part of it here.

    Parameters
    ----------
    reference : array-like of shape (n_samples,) or (n_channels, n_samples)
        The true source, full scale 1.0.
    estimate : array-like of the shape of `reference`
        The estimated source, at the same sample rate.

    Returns
    -------
    float
        Distance, lower is better. The mean over channels. For a silent reference it is large, but
        finite.

    Raises
    ------
    ValueError, TypeError
        As in `usdr`.

    References
    ----------
    .. [1] R. Yamamoto, E. Song and J.-M. Kim, "Parallel WaveGAN: A fast waveform generation model
       based on generative adversarial networks with multi-resolution spectrogram", ICASSP 2020.
    .. [2] P. A. Bereuter, B. Stahl, M. D. Plumbley and A. Sontacchi, "Towards Reliable Objective
       Evaluation Metrics for Generative Singing Voice Separation Models", WASPAA 2025.
       arXiv:2507.11427.

    Examples
    --------
    >>> import numpy as np
    >>> from sksep.metrics import multi_resolution_stft_distance
    >>> vocals = np.random.default_rng(0).standard_normal(8000)
    >>> multi_resolution_stft_distance(vocals, -vocals)
    0.0
    >>> print(f"{multi_resolution_stft_distance(vocals, 0.5 * vocals):.2f}")
    1.19
    """
    return spectral_distance(*check_pair(reference, estimate, same_channels=True))


def bleedless(reference: npt.ArrayLike, estimate: npt.ArrayLike, *, sample_rate: int) -> float:
    """How little an estimate holds that the true source does not, in (0, 100].

    It is ``100 / (1 + d)``, where `d` is the mean in dB of the positive differences between the
    levels of the estimate and of the reference in a mel spectrogram, as in public toolkits for
    training separators [1]_. For vocals it tells how much accompaniment is heard between and behind
    the words, where energy ratios hardly look. It says nothing about what is missing: silence has
    100. So report `fullness` beside it.

    Parameters
    ----------
    reference : array-like of shape (n_samples,) or (n_channels, n_samples)
        The true source, full scale 1.0.
    estimate : array-like of the shape of `reference`
        The estimated source.
    sample_rate : int
        Sample rate in Hz. Public tables are made at 44,100 Hz.

    Returns
    -------
    float
        Higher is better. 100 if no bin is louder than in the reference.

    Raises
    ------
    ValueError, TypeError
        As in `usdr`, or if `sample_rate` is below 1.

    Notes
    -----
    The spectrogram has Hann windows of 4096 samples every 1024, 512 mel bands, and a range of 80 dB
    below the loudest bin of the track.

    References
    ----------
    .. [1] R. Solovyev, "Music-Source-Separation-Training", function ``bleed_full`` of
       ``utils/metrics.py``, https://github.com/ZFTurbo/Music-Source-Separation-Training.

    Examples
    --------
    >>> import numpy as np
    >>> from sksep.metrics import bleedless
    >>> vocals, accompaniment = np.random.default_rng(0).standard_normal((2, 16000))
    >>> scores = [bleedless(vocals, vocals + share * accompaniment, sample_rate=16000)
    ...           for share in (0.01, 0.1, 1.0)]
    >>> scores == sorted(scores, reverse=True)
    True
    """
    check_integer("sample_rate", sample_rate, 1)
    return surplus(*check_pair(reference, estimate, same_channels=True), sample_rate)


def fullness(reference: npt.ArrayLike, estimate: npt.ArrayLike, *, sample_rate: int) -> float:
    """How little of the true source an estimate misses, in (0, 100].

    It is ``100 / (1 + d)``, where `d` is the mean in dB of the differences by which the estimate
    lies below the reference in the mel spectrogram of `bleedless` [1]_. For vocals it tells whether
    breath, consonants and reverberation are kept, which masks tend to cut off. It says nothing
    about what was added: a loud mixture can have 100. So report `bleedless` beside it.

    Parameters
    ----------
    reference : array-like of shape (n_samples,) or (n_channels, n_samples)
        The true source, full scale 1.0.
    estimate : array-like of the shape of `reference`
        The estimated source.
    sample_rate : int
        Sample rate in Hz. Public tables are made at 44,100 Hz.

    Returns
    -------
    float
        Higher is better. 100 if no bin is softer than in the reference.

    Raises
    ------
    ValueError, TypeError
        As in `bleedless`.

    References
    ----------
    .. [1] R. Solovyev, "Music-Source-Separation-Training", function ``bleed_full`` of
       ``utils/metrics.py``, https://github.com/ZFTurbo/Music-Source-Separation-Training.

    Examples
    --------
    >>> import numpy as np
    >>> from sksep.metrics import fullness
    >>> vocals = np.random.default_rng(0).standard_normal(16000)
    >>> print(f"{fullness(vocals, vocals / 10, sample_rate=16000):.2f}")  # 20 dB too soft
    4.76
    """
    check_integer("sample_rate", sample_rate, 1)
    return shortfall(*check_pair(reference, estimate, same_channels=True), sample_rate)


def multi_resolution_stft_score(
    y_true: Any,
    y_pred: Any,
    *,
    sample_weight: npt.ArrayLike | None = None,
    all_silent: str = "nan",
) -> float:
    """Mean multi-resolution STFT distance of a collection of tracks; lower is better.

    Parameters
    ----------
    y_true, y_pred : sequence of arrays, paths or AudioSource
        True and estimated sources, as in `usdr_score`.
    sample_weight : array-like of shape (n_tracks,), default=None
        Weights of the tracks in the mean.
    all_silent : {"nan", "raise"}, default="nan"
        As in `sdr_score`.

    Returns
    -------
    float
        Mean distance. Tracks with a silent reference are left out; NaN if none is left.

    Raises
    ------
    TypeError, ValueError
        As in `usdr_score`.

    Warns
    -----
    UserWarning
        If tracks are left out. One warning names all of them.

    See Also
    --------
    multi_resolution_stft_distance : The distance of one track, and its source.

    Examples
    --------
    >>> import numpy as np
    >>> from sksep.metrics import multi_resolution_stft_score
    >>> tracks = list(np.random.default_rng(0).standard_normal((2, 8000)))
    >>> print(f"{multi_resolution_stft_score(tracks, [tracks[0], tracks[1] / 2]):.2f}")
    0.60
    """
    return average_over_tracks(
        spectral_distance,
        "multi-resolution STFT distance",
        {"y_true": y_true, "y_pred": y_pred},
        sample_weight,
        all_silent,
        is_mono=False,
    )


def bleedless_score(
    y_true: Any,
    y_pred: Any,
    *,
    sample_rate: int = 16000,
    sample_weight: npt.ArrayLike | None = None,
    all_silent: str = "nan",
) -> float:
    """Mean bleedless score of a collection of tracks, in (0, 100].

    Parameters
    ----------
    y_true, y_pred : sequence of arrays, paths or AudioSource
        True and estimated sources, as in `usdr_score`.
    sample_rate : int, default=16000
        Sample rate of arrays in Hz, as in `csdr_score`.
    sample_weight : array-like of shape (n_tracks,), default=None
        Weights of the tracks in the mean.
    all_silent : {"nan", "raise"}, default="nan"
        As in `sdr_score`.

    Returns
    -------
    float
        Mean, higher is better. Tracks with a silent reference are left out; NaN if none is left.

    Raises
    ------
    TypeError, ValueError
        As in `csdr_score`.

    Warns
    -----
    UserWarning
        If tracks are left out. One warning names all of them.

    See Also
    --------
    bleedless : The score of one track, and its source.

    Examples
    --------
    >>> import numpy as np
    >>> from sksep.metrics import bleedless_score
    >>> tracks = list(np.random.default_rng(0).uniform(-1, 1, (2, 8000)))
    >>> print(f"{bleedless_score(tracks, [0.5 * tracks[0], 10 * tracks[1]]):.1f}")
    52.4
    """
    return _mean_over_levels(
        surplus, "bleedless", y_true, y_pred, sample_rate, sample_weight, all_silent
    )


def fullness_score(
    y_true: Any,
    y_pred: Any,
    *,
    sample_rate: int = 16000,
    sample_weight: npt.ArrayLike | None = None,
    all_silent: str = "nan",
) -> float:
    """Mean fullness of a collection of tracks, in (0, 100].

    Parameters
    ----------
    y_true, y_pred : sequence of arrays, paths or AudioSource
        True and estimated sources, as in `usdr_score`.
    sample_rate : int, default=16000
        Sample rate of arrays in Hz, as in `csdr_score`.
    sample_weight : array-like of shape (n_tracks,), default=None
        Weights of the tracks in the mean.
    all_silent : {"nan", "raise"}, default="nan"
        As in `sdr_score`.

    Returns
    -------
    float
        Mean, higher is better. Tracks with a silent reference are left out; NaN if none is left.

    Raises
    ------
    TypeError, ValueError
        As in `csdr_score`.

    Warns
    -----
    UserWarning
        If tracks are left out. One warning names all of them.

    See Also
    --------
    fullness : The score of one track, and its source.

    Examples
    --------
    >>> import numpy as np
    >>> from sksep.metrics import fullness_score
    >>> tracks = list(np.random.default_rng(0).uniform(-1, 1, (2, 8000)))
    >>> print(f"{fullness_score(tracks, [0.1 * tracks[0], 10 * tracks[1]]):.1f}")
    52.4
    """
    return _mean_over_levels(
        shortfall, "fullness", y_true, y_pred, sample_rate, sample_weight, all_silent
    )


def spectral_distance(reference: DoubleArray, estimate: DoubleArray) -> float:
    """The multi-resolution STFT distance of validated waveforms, channels first."""
    distances = []
    for window in _WINDOWS:
        # Channel by channel, which takes less memory.
        for true, estimated in zip(reference, estimate, strict=True):
            magnitudes = [
                np.sqrt(np.maximum(_magnitudes(part, window) ** 2, _LOWEST_POWER))
                for part in (true, estimated)
            ]
            difference = magnitudes[1] - magnitudes[0]
            convergence = np.linalg.norm(difference) / np.linalg.norm(magnitudes[0])
            logarithms = np.abs(np.log(magnitudes[1]) - np.log(magnitudes[0])).mean()
            distances.append(convergence + logarithms)
    return float(np.mean(distances))


def surplus(reference: DoubleArray, estimate: DoubleArray, sample_rate: int) -> float:
    """The bleedless score of validated waveforms, channels first."""
    differences = _level_differences(reference, estimate, sample_rate)
    return _score_of_levels(differences[differences > 0])


def shortfall(reference: DoubleArray, estimate: DoubleArray, sample_rate: int) -> float:
    """The fullness of validated waveforms, channels first."""
    differences = _level_differences(reference, estimate, sample_rate)
    return _score_of_levels(-differences[differences < 0])


def _mean_over_levels(
    ratio: Callable[..., float],
    name: str,
    y_true: Any,
    y_pred: Any,
    sample_rate: int,
    sample_weight: npt.ArrayLike | None,
    all_silent: str,
) -> float:
    check_integer("sample_rate", sample_rate, 1)
    return average_over_tracks(
        ratio,
        name,
        {"y_true": y_true, "y_pred": y_pred},
        sample_weight,
        all_silent,
        is_mono=False,
        sample_rate=sample_rate,
    )


def _score_of_levels(decibels: FloatArray) -> float:
    return float(100.0 / (1.0 + (decibels.mean(dtype=np.float64) if decibels.size else 0.0)))


def _level_differences(
    reference: DoubleArray, estimate: DoubleArray, sample_rate: int
) -> FloatArray:
    """Level of the estimate minus that of the reference in dB, (n_channels, n_mels, n_frames)."""
    import librosa

    bands = librosa.filters.mel(sr=sample_rate, n_fft=_N_FFT, n_mels=_N_MELS)

    def levels(waveform: DoubleArray) -> Any:
        magnitudes = [bands @ _magnitudes(channel, _N_FFT, "constant") for channel in waveform]
        return librosa.amplitude_to_db(np.stack(magnitudes), amin=1e-10, top_db=_RANGE_DECIBELS)

    difference: FloatArray = levels(estimate) - levels(reference)
    return difference


def _magnitudes(
    samples: DoubleArray, window: int, pad_mode: Literal["constant", "reflect"] = "reflect"
) -> Any:
    """Magnitude spectra, (n_bins, n_frames), in float32: half the memory, and precise enough."""
    import librosa

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "n_fft=.* is too large")  # short tracks are padded
        spectra = librosa.stft(
            samples.astype(np.float32), n_fft=window, hop_length=window // 4, pad_mode=pad_mode
        )
    return np.abs(spectra)
