"""A detector that finds singing by the levels of separated vocals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from sksep.activity._levels import FRAME_HOP, FRAME_LENGTH, FRAMES_PER_SECOND, N_BANDS
from sksep.utils._arrays import BoolArray, DoubleArray, IntArray
from sksep.utils._validation import check_number

# A song is silent if its loudest frame is below this many dB. (Dither of 16 bits is at -96 dB, and
# in the bands of all levels at -97 dB.)
_SILENT_SONG = -90.0
# The loud level of a song is the one that one frame in twenty exceeds.
_LOUD_PERCENTILE = 95
# Loud vocals are at most this many dB below the loud mixture. Softer vocals are leakage, which must
# not become the reference of all levels.
_SOFTEST_VOCALS = 15.0
# dB; levels beyond these limits tell nothing more.
_LOWEST_LEVEL, _LOWEST_RATIO, _HIGHEST_RATIO = -50.0, -40.0, 10.0
# Frames over which features are averaged: 0.1, 0.3 and 1 s.
_AVERAGED_FRAMES = (5, 15, 51)
# All bands together and each alone, for vocals, vocals over mixture, and mixture.
N_FEATURES = 3 * (1 + N_BANDS) * (1 + len(_AVERAGED_FRAMES))

# Strong regularization of the logistic regression, since features are many and correlated.
_INVERSE_REGULARIZATION = 0.003
# Candidates of `learn`: probabilities, shares of them, and seconds.
_ON = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
_OFF_SHARES = (1.0, 0.85, 0.7, 0.5)
_MIN_DURATIONS = (0.0, 0.06, 0.1, 0.16, 0.24)
_MIN_GAPS = (0.0, 0.06, 0.1, 0.16)


@dataclass(frozen=True, eq=False)
class VocalActivity:
    """Intervals of a song in which vocals sound.

    Attributes
    ----------
    intervals : ndarray of shape (n_intervals, 2)
        Start and end of each interval in seconds, in order and disjoint. There are none if the song
        is instrumental.
    times : ndarray of shape (n_frames,)
        Centers of the frames in seconds, 20 ms apart.
    probabilities : ndarray of shape (n_frames,)
        Probability of vocals in each frame, in [0, 1], before any smoothing.
    share : float
        Share of the song that the intervals cover, in [0, 1].
    label : {"vocal", "instrumental"}
        Label of the whole song.

    Examples
    --------
    >>> import numpy as np
    >>> from sksep.activity import VocalActivity
    >>> times = np.arange(1, 200) * 0.02
    >>> activity = VocalActivity(np.array([[0.5, 2.0]]), times, np.zeros(199), 0.375, "vocal")
    >>> activity.to_csv_rows("song.wav")
    [('song.wav', 'vocal', '0.500', '2.000')]
    >>> int(activity.is_active().sum())
    75
    """

    intervals: DoubleArray
    times: DoubleArray
    probabilities: DoubleArray
    share: float
    label: str

    def is_active(self) -> BoolArray:
        """Whether the center of each frame lies in an interval, shape (n_frames,)."""
        n_started = np.searchsorted(self.intervals[:, 0], self.times, side="right")
        n_ended = np.searchsorted(self.intervals[:, 1], self.times, side="right")
        return n_started > n_ended

    def to_csv_rows(self, track: str) -> list[tuple[str, str, str, str]]:
        """Rows of a table of track, label, start and end.

        Parameters
        ----------
        track : str
            Name of the song in the first column.

        Returns
        -------
        list of tuple of str
            One row per interval, in seconds with three decimals. A song without intervals has one
            row without start and end.
        """
        rows = [(track, self.label, f"{start:.3f}", f"{end:.3f}") for start, end in self.intervals]
        return rows or [(track, self.label, "", "")]


@dataclass(frozen=True)
class ActivityDetector:
    """Find singing by the levels of separated vocals: logistic regression and hysteresis.

    Levels are relative to the loud parts of the song, so that its gain does not matter. They are
    also relative to the mixture, so that leakage of the accompaniment is told from a voice.

    Parameters
    ----------
    weights : tuple of float
        Weights of the features of a frame.
    bias : float
        Bias of the logistic regression.
    on, off : float
        Singing begins when the probability reaches `on`, and lasts while it is at least `off`;
        0 < off <= on < 1.
    min_duration, min_gap : float
        Seconds. Shorter gaps are filled first, then shorter intervals are dropped.
    min_share : float
        A song is instrumental if vocals sound in a smaller share of it.
    min_ratio : float
        A song is instrumental if the level of the vocals over that of the mixture, in the frames
        in which vocals sound, is lower. In dB.

    Raises
    ------
    ValueError
        If a value is out of its range.

    Examples
    --------
    Two seconds of singing, in which vocals are loud and make up most of the mixture:

    >>> import numpy as np
    >>> from sksep.activity import ActivityDetector
    >>> labels = np.arange(500) // 100 == 2
    >>> levels = np.where(labels[:, None, None], -20.0, [[-60.0], [-20.0]]) - np.zeros(6)
    >>> detector = ActivityDetector.learn([levels], [labels])
    >>> activity = detector.detect(levels)
    >>> activity.label, activity.intervals.round(2).tolist()
    ('vocal', [[4.01, 6.01]])
    """

    weights: tuple[float, ...]
    bias: float
    on: float = 0.5
    off: float = 0.5
    min_duration: float = 0.0
    min_gap: float = 0.0
    min_share: float = 0.02
    min_ratio: float = -12.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "weights", tuple(float(weight) for weight in self.weights))
        if len(self.weights) != N_FEATURES or not np.isfinite(self.weights).all():
            raise ValueError(
                f"weights must be {N_FEATURES} finite numbers, got {len(self.weights)}. A detector "
                "of another version of sksep has to be learned again."
            )
        check_number("bias", self.bias)
        check_number("on", self.on, 0.0, 1.0, include_low=False, include_high=False)
        check_number("off", self.off, 0.0, self.on, include_low=False)
        check_number("min_duration", self.min_duration, 0.0)
        check_number("min_gap", self.min_gap, 0.0)
        check_number("min_share", self.min_share, 0.0, 1.0)
        check_number("min_ratio", self.min_ratio)

    def detect(self, levels: npt.NDArray) -> VocalActivity:
        """Find the intervals of a song in which vocals sound.

        Parameters
        ----------
        levels : ndarray of shape (n_frames, 2, n_bands)
            Levels in dB, from a `LevelMeter`. Songs that are shorter than a frame (40 ms) have
            none. They are instrumental, as silent songs are.

        Returns
        -------
        VocalActivity

        Raises
        ------
        ValueError
            If the levels have another shape, or are not finite.
        """
        levels = _check_levels(levels)
        n_frames = len(levels)
        times: DoubleArray = FRAME_LENGTH / 2.0 + FRAME_HOP * np.arange(n_frames, dtype=float)
        probabilities = self.probabilities(levels)
        runs = _runs(probabilities, self)
        active = _inside(runs, n_frames)
        share = active.mean() if n_frames else 0.0
        if (
            not active.any()
            or share < self.min_share
            or _vocals_over_mixture(levels[active]) < self.min_ratio
        ):
            return VocalActivity(np.zeros((0, 2)), times, probabilities, 0.0, "instrumental")
        intervals = _seconds(runs, n_frames)
        duration = FRAME_LENGTH + FRAME_HOP * (n_frames - 1)
        share = float(np.diff(intervals).sum() / duration)
        return VocalActivity(intervals, times, probabilities, share, "vocal")

    def probabilities(self, levels: npt.NDArray) -> DoubleArray:
        """Probability of vocals in each frame, shape (n_frames,). It is 0 if they are inaudible."""
        from scipy.special import expit

        levels = _check_levels(levels)
        if _is_silent(levels):
            return np.zeros(len(levels))
        vocals, mixture = _total(levels).T
        # The regression has learned nothing about pauses in which everything is silent.
        audible = vocals > np.percentile(mixture, _LOUD_PERCENTILE) + _LOWEST_LEVEL
        return audible * expit(features(levels) @ np.array(self.weights) + self.bias)

    @classmethod
    def learn(
        cls, levels: Sequence[npt.NDArray], labels: Sequence[npt.NDArray]
    ) -> ActivityDetector:
        """Learn a detector from labeled songs.

        The weights are those of a logistic regression; hysteresis and shortest durations are
        chosen for the F-measure of the frames.

        Parameters
        ----------
        levels : sequence of ndarray of shape (n_frames, 2, n_bands)
            Levels of each song, see `detect`.
        labels : sequence of ndarray of shape (n_frames,)
            Whether vocals sound in each frame of each song.

        Returns
        -------
        ActivityDetector

        Raises
        ------
        ValueError
            If levels and labels do not match, or if all frames have the same label.
        """
        from sklearn.linear_model import LogisticRegression
        from sklearn.preprocessing import StandardScaler

        songs = [_check_levels(song) for song in levels]
        truths = [np.asarray(song, dtype=bool) for song in labels]
        if [len(song) for song in songs] != [len(truth) for truth in truths]:
            raise ValueError(
                "levels and labels differ in their numbers of songs or of frames; give one label "
                "for each frame of each song."
            )
        # Silent songs teach nothing, since `probabilities` treats them separately.
        songs, truths = (
            [part for part, song in zip(parts, songs, strict=True) if not _is_silent(song)]
            for parts in (songs, truths)
        )
        truth = np.concatenate([*truths, np.zeros(0, bool)])
        if truth.all() or not truth.any():
            raise ValueError("labels need audible frames with vocals, and some without.")
        scaler = StandardScaler()
        inputs = scaler.fit_transform(np.concatenate([features(song) for song in songs]))
        regression = LogisticRegression(C=_INVERSE_REGULARIZATION, max_iter=1000)
        regression.fit(inputs, truth)
        weights = regression.coef_[0] / scaler.scale_
        bias = float(regression.intercept_[0] - weights @ scaler.mean_)
        return _choose_hysteresis(cls(tuple(weights.tolist()), bias), songs, truths)

    def as_dict(self) -> dict[str, Any]:
        """The parameters as values that JSON can store. `from_dict` is the inverse."""
        return {**asdict(self), "weights": list(self.weights)}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> ActivityDetector:
        """A detector with the parameters that `as_dict` returned.

        Raises
        ------
        ValueError
            If a parameter is missing, unknown or out of its range.
        """
        names = {field.name for field in fields(cls)}
        if names != set(values):
            raise ValueError(
                f"A detector has the parameters {sorted(names)}, got {sorted(values)}. A "
                "detector of another version of sksep has to be learned again."
            )
        return cls(**values)


def features(levels: npt.NDArray) -> DoubleArray:
    """Features of the frames of a song.

    For all bands together (except the lowest, which holds the bass) and for each band, there are
    three levels: that of the vocals relative to their loud frames, that of the vocals over that of
    the mixture, and that of the mixture relative to its loud frames. Each is taken in the frame,
    and averaged over 0.1, 0.3 and 1 s around it.

    Parameters
    ----------
    levels : ndarray of shape (n_frames, 2, n_bands)
        Levels of vocals and mixture in dB, of at least one frame.

    Returns
    -------
    ndarray of shape (n_frames, n_features)
        Features in units of 10 dB.
    """
    from scipy import ndimage

    levels = np.concatenate([_total(levels)[..., None], levels], axis=2)
    vocals, mixture = levels[:, 0], levels[:, 1]
    loud_vocals, loud_mixture = np.percentile(levels[:, :, 0], _LOUD_PERCENTILE, axis=0)
    loud_vocals = max(loud_vocals, loud_mixture - _SOFTEST_VOCALS)
    # A silent mixture must not make silent vocals look loud.
    audible_mixture = np.maximum(mixture, loud_mixture + _LOWEST_LEVEL)
    now = np.concatenate(
        [
            np.maximum(vocals - loud_vocals, _LOWEST_LEVEL),
            np.clip(vocals - audible_mixture, _LOWEST_RATIO, _HIGHEST_RATIO),
            np.maximum(mixture - loud_mixture, _LOWEST_LEVEL),
        ],
        axis=1,
        dtype=float,
    )
    around = [
        ndimage.uniform_filter1d(now, size, axis=0, mode="nearest") for size in _AVERAGED_FRAMES
    ]
    return np.concatenate([now, *around], axis=1) / 10.0


def _check_levels(levels: npt.NDArray) -> npt.NDArray:
    levels = np.asarray(levels)
    if levels.ndim != 3 or levels.shape[1:] != (2, N_BANDS):
        raise ValueError(
            f"levels has shape {levels.shape}, but (n_frames, 2, {N_BANDS}) is needed; measure "
            "them with LevelMeter."
        )
    if not np.isfinite(levels).all():
        raise ValueError("levels has NaN or infinity; check the waveforms that it was measured on.")
    return levels


def _total(levels: npt.NDArray) -> DoubleArray:
    """Levels of all bands but the lowest together, shape (n_frames, 2)."""
    power: DoubleArray = np.power(10.0, levels[..., 1:].astype(np.float64) / 10.0).sum(axis=-1)
    return 10.0 * np.log10(power)


def _is_silent(levels: npt.NDArray) -> bool:
    return not len(levels) or float(_total(levels)[:, 1].max()) < _SILENT_SONG


def _vocals_over_mixture(levels: npt.NDArray) -> float:
    """Level of the vocals over that of the mixture in the same frames, in dB."""
    vocals, mixture = np.power(10.0, _total(levels) / 10.0).sum(axis=0)
    return float(10.0 * np.log10(vocals / mixture))


def _runs(probabilities: DoubleArray, detector: ActivityDetector) -> IntArray:
    """First frame of each interval of singing, and the first one after it, shape (n, 2)."""
    from scipy import ndimage

    candidates, n_candidates = ndimage.label(probabilities >= detector.off)
    begins = np.zeros(n_candidates + 1, bool)
    begins[candidates[probabilities >= detector.on]] = True
    changes = np.diff(begins[candidates].astype(np.int8), prepend=0, append=0)
    starts, ends = np.flatnonzero(changes > 0), np.flatnonzero(changes < 0)
    if len(starts):
        is_gap = starts[1:] - ends[:-1] >= _in_frames(detector.min_gap)
        starts, ends = starts[np.append(True, is_gap)], ends[np.append(is_gap, True)]
    runs = np.stack([starts, ends], axis=1)
    return runs[ends - starts >= _in_frames(detector.min_duration)]


def _in_frames(seconds: float) -> float:
    return round(seconds * FRAMES_PER_SECOND, 6)  # rounded, since 0.06 s are exactly 3 frames


def _inside(runs: IntArray, n_frames: int) -> BoolArray:
    changes = np.zeros(n_frames + 1, np.int64)
    changes[runs[:, 0]] += 1
    changes[runs[:, 1]] -= 1
    return np.cumsum(changes)[:n_frames] > 0


def _seconds(runs: IntArray, n_frames: int) -> DoubleArray:
    """Frames as seconds. Each stands for the 20 ms around its center, the outermost for more."""
    seconds: DoubleArray = FRAME_HOP * (runs.astype(np.float64) + 0.5)
    seconds[runs == 0] = 0.0
    seconds[runs == n_frames] = FRAME_LENGTH + FRAME_HOP * (n_frames - 1)
    return seconds


def _choose_hysteresis(
    detector: ActivityDetector, songs: Sequence[npt.NDArray], truths: Sequence[BoolArray]
) -> ActivityDetector:
    """The detector with the largest F-measure; the first one if several are equally good."""
    # Songs in a row, so far apart that the gap between two is never filled.
    apart = np.zeros(FRAMES_PER_SECOND)
    scores = np.concatenate(
        [part for song in songs for part in (detector.probabilities(song), apart)]
    )
    truth = np.concatenate([part for song in truths for part in (song, apart > 0.0)])
    best, best_f_measure = detector, -1.0
    for min_duration, min_gap, off_share, on in product(
        _MIN_DURATIONS, _MIN_GAPS, _OFF_SHARES, _ON
    ):
        candidate = replace(
            detector, on=on, off=on * off_share, min_duration=min_duration, min_gap=min_gap
        )
        active = _inside(_runs(scores, candidate), len(scores))
        f_measure = 2.0 * np.sum(active & truth) / (active.sum() + truth.sum())
        if f_measure > best_f_measure + 1e-12:
            best, best_f_measure = candidate, f_measure
    return best
