"""Where vocals sound in a song, from the levels of what was separated."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.special import expit

from sksep._activity_levels import FRAME_HOP, Levels

FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]

VOCAL, INSTRUMENTAL = "vocal", "instrumental"

# A song whose loudest frame is below this many dB is silent: dither of 16 bits is at -96 dB.
_SILENT_SONG = -80.0
# What is loud in a song: the level that one frame in twenty exceeds.
_LOUD_PERCENTILE = 95
# Levels further below than this say no more.
_LOWEST_LEVEL, _LOWEST_RATIO, _HIGHEST_RATIO = -50.0, -40.0, 10.0
# Features of a frame are the vocals' relative level and their ratio to the mixture: there, some
# frames away, and averaged or at their largest or smallest over so many frames around.
_OFFSETS = (-4, -2, -1, 0, 1, 2, 4)
_MEANS, _LARGEST, _SMALLEST = (15, 51), (5, 15), (5,)
N_FEATURES = 2 * len(_OFFSETS + _MEANS + _LARGEST + _SMALLEST)

# What `learn` chooses from. Durations in seconds.
_ON = np.arange(0.3, 0.801, 0.05)
_OFF_SHARES = (1.0, 0.85, 0.7, 0.5)
_DURATIONS = (0.0, 0.06, 0.1, 0.16)
_GAPS = (0.0, 0.06, 0.1, 0.16, 0.24)


@dataclass(frozen=True, eq=False)
class VocalActivity:
    """Where vocals sound in a song.

    Attributes
    ----------
    intervals : ndarray of shape (n_intervals, 2)
        Start and end of each stretch of singing in seconds, in order and apart; none where the
        song is instrumental.
    times : ndarray of shape (n_frames,)
        Centres of the frames in seconds, 20 ms apart.
    probabilities : ndarray of shape (n_frames,)
        That vocals sound in a frame, in [0, 1], from its levels and those around it.
    share : float
        Of the song that the intervals cover, in [0, 1].
    label : {"vocal", "instrumental"}
        Of the whole song.

    Examples
    --------
    >>> import numpy as np
    >>> from sksep._vocal_activity import VocalActivity
    >>> activity = VocalActivity(
    ...     np.array([[0.5, 2.0]]), np.arange(1, 200) * 0.02, np.zeros(199), 0.375, "vocal"
    ... )
    >>> activity.to_csv_rows("song.wav")
    [('song.wav', 'vocal', '0.500', '2.000')]
    >>> int(activity.active().sum())
    75
    """

    intervals: FloatArray
    times: FloatArray
    probabilities: FloatArray
    share: float
    label: str

    def active(self) -> BoolArray:
        """Whether the centre of each frame lies in an interval, shape (n_frames,)."""
        n_started = np.searchsorted(self.intervals[:, 0], self.times, side="right")
        n_ended = np.searchsorted(self.intervals[:, 1], self.times, side="right")
        return n_started > n_ended

    def to_csv_rows(self, track: str) -> list[tuple[str, str, str, str]]:
        """Rows of a table of track, label, start and end.

        Parameters
        ----------
        track : str
            What the first column calls the song.

        Returns
        -------
        list of tuple of str
            One row per interval, in seconds with milliseconds; where there is none, one row
            without start and end.
        """
        rows = [(track, self.label, f"{start:.3f}", f"{end:.3f}") for start, end in self.intervals]
        return rows or [(track, self.label, "", "")]


@dataclass(frozen=True)
class ActivityDetector:
    """Find vocals by the levels of vocals and mixture: a logistic regression with hysteresis.

    Levels count relative to the loud vocals of the song, so that its gain does not matter, and
    relative to the mixture, so that what leaks from the accompaniment is told from a voice.

    Parameters
    ----------
    weights : tuple of float
        Of the features of a frame (see `features`).
    bias : float
        Of the logistic regression.
    on, off : float
        Singing begins where the probability reaches `on`, and lasts while it is `off` at least;
        0 < off <= on < 1.
    min_duration, min_gap : float
        Seconds; shorter gaps are filled, then shorter stretches are dropped.
    min_share : float
        Share of a vocal song in which vocals sound, at least.
    min_ratio : float
        dB of the vocals over the mixture in those parts of a vocal song, at least.

    Raises
    ------
    ValueError
        If a number is out of its range.

    Examples
    --------
    Loud vocals in the middle of noise:

    >>> import numpy as np
    >>> from sksep._vocal_activity import ActivityDetector
    >>> levels = np.full((500, 2), (-60.0, -20.0))
    >>> levels[100:300] = (-21.0, -20.0)
    >>> labels = levels[:, 0] > -40
    >>> detector = ActivityDetector.learn([levels], [labels])
    >>> activity = detector.detect(levels)
    >>> activity.label, activity.intervals.round(2).tolist()
    ('vocal', [[2.01, 6.01]])
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
        if len(self.weights) != N_FEATURES:
            raise ValueError(
                f"weights has {len(self.weights)} values, but a frame has {N_FEATURES} features: "
                "the detector was learned by another version of sksep. Learn it again."
            )
        if not 0.0 < self.off <= self.on < 1.0:
            raise ValueError(
                f"off = {self.off} and on = {self.on} must be in (0, 1), off at most as large."
            )

    @classmethod
    def learn(cls, levels: Sequence[Levels], labels: Sequence[npt.NDArray]) -> ActivityDetector:
        """Learn from songs in which it is known where vocals sound.

        The weights are those of a logistic regression on the frames of all songs; thresholds and
        durations those with the highest F-measure on the same songs.

        Parameters
        ----------
        levels : sequence of ndarray of shape (n_frames, 2)
            Of each song, by `LevelMeter`.
        labels : sequence of ndarray of shape (n_frames,)
            True, or nonzero, where vocals sound.

        Returns
        -------
        ActivityDetector

        Raises
        ------
        ValueError
            Where lengths differ, or frames of one kind are missing.
        """
        from sklearn.linear_model import LogisticRegression
        from sklearn.preprocessing import StandardScaler

        truths = [np.asarray(label).astype(bool) for label in labels]
        for index, (song, truth) in enumerate(zip(levels, truths, strict=True)):
            if len(song) != len(truth):
                raise ValueError(
                    f"Song {index} has levels of {len(song)} frames but {len(truth)} labels."
                )
        of_frames = [features(song) for song in levels]
        sings = np.concatenate(truths)
        if sings.all() or not sings.any():
            raise ValueError("Frames with and without vocals are needed to tell them apart.")
        scaler = StandardScaler().fit(np.concatenate(of_frames))
        regression = LogisticRegression(C=0.01, max_iter=500).fit(
            scaler.transform(np.concatenate(of_frames)), sings
        )
        weights = regression.coef_[0] / scaler.scale_
        bias = float(regression.intercept_[0] - weights @ scaler.mean_)
        detector = cls(tuple(weights.tolist()), bias)
        # Songs are laid end to end, with pauses between them that no gap closes.
        pause = round(1.0 / FRAME_HOP)
        probabilities = np.concatenate(
            [np.pad(detector._probabilities(each), (0, pause)) for each in of_frames]
        )
        sings = np.concatenate([np.pad(truth, (0, pause)) for truth in truths])
        choices = [
            replace(detector, on=on, off=share * on, min_duration=duration, min_gap=gap)
            for on, share, duration, gap in product(_ON, _OFF_SHARES, _DURATIONS, _GAPS)
        ]
        return max(choices, key=lambda each: _f_measure(each._active(probabilities), sings))

    def detect(self, levels: Levels) -> VocalActivity:
        """Find the vocals of a song.

        Parameters
        ----------
        levels : ndarray of shape (n_frames, 2)
            dB of vocals and mixture, by `LevelMeter`; no frame at all for less than 40 ms.

        Returns
        -------
        VocalActivity
        """
        n_frames = len(levels)
        times: FloatArray = FRAME_HOP * np.arange(1.0, n_frames + 1.0)  # the centres of 40 ms
        probabilities = np.zeros(n_frames)
        if n_frames and levels[:, 1].max() > _SILENT_SONG:
            probabilities = self._probabilities(features(levels))
        active = self._active(probabilities)
        if not self._is_vocal(levels, active):
            active[:] = False
        # Half a hop around the centres of the first and last frame; the song itself at its ends.
        edges = np.flatnonzero(np.diff(active.astype(np.int8), prepend=0, append=0))
        intervals: FloatArray = FRAME_HOP * (edges.reshape(-1, 2).astype(np.float64) + 0.5)
        intervals[edges.reshape(-1, 2) == 0] = 0.0
        duration = (n_frames + 1) * FRAME_HOP
        intervals[edges.reshape(-1, 2) == n_frames] = duration
        return VocalActivity(
            intervals,
            times,
            probabilities,
            float(np.diff(intervals, axis=1).sum() / duration),
            VOCAL if active.any() else INSTRUMENTAL,
        )

    def as_dict(self) -> dict[str, Any]:
        """The numbers, as JSON takes them."""
        return {**asdict(self), "weights": list(self.weights)}

    @classmethod
    def from_dict(cls, numbers: Mapping[str, Any]) -> ActivityDetector:
        """The inverse of `as_dict`."""
        return cls(**numbers)

    def _probabilities(self, of_frames: FloatArray) -> FloatArray:
        scores = of_frames @ np.array(self.weights) + self.bias
        probabilities: FloatArray = expit(scores)
        return probabilities

    def _active(self, probabilities: FloatArray) -> BoolArray:
        """Frames in stretches that are `off` throughout and `on` somewhere, long enough."""
        stretches, _ = ndimage.label(probabilities >= self.off)
        begun = np.unique(stretches[probabilities >= self.on])
        active = np.isin(stretches, begun[begun > 0])
        active = _without_short(~active, self.min_gap, keep_ends=True)
        return _without_short(~active, self.min_duration, keep_ends=False)

    def _is_vocal(self, levels: Levels, active: BoolArray) -> bool:
        if not active.any() or active.mean() < self.min_share:
            return False
        vocals, mixture = (10.0 ** (levels[active] / 10.0)).mean(axis=0)
        return bool(10.0 * np.log10(vocals / mixture) >= self.min_ratio)


def features(levels: Levels) -> FloatArray:
    """What the logistic regression weighs, shape (n_frames, N_FEATURES), in dB.

    Parameters
    ----------
    levels : ndarray of shape (n_frames, 2)
        dB of vocals and mixture, of one frame at least.
    """
    vocals, mixture = levels.T.astype(float)
    loud = np.percentile(vocals, _LOUD_PERCENTILE)
    relative = np.clip(vocals - loud, _LOWEST_LEVEL, -_LOWEST_LEVEL)
    ratio = np.clip(vocals - mixture, _LOWEST_RATIO, _HIGHEST_RATIO)
    columns = []
    for values in (relative, ratio):
        padded = np.pad(values, max(_OFFSETS), mode="edge")
        columns += [padded[max(_OFFSETS) + offset :][: len(values)] for offset in _OFFSETS]
        columns += [ndimage.uniform_filter1d(values, size) for size in _MEANS]
        columns += [ndimage.maximum_filter1d(values, size) for size in _LARGEST]
        columns += [ndimage.minimum_filter1d(values, size) for size in _SMALLEST]
    return np.stack(columns, axis=1)


def _without_short(flags: BoolArray, duration: float, *, keep_ends: bool) -> BoolArray:
    """Flags without runs shorter than `duration` in seconds."""
    runs, n_runs = ndimage.label(flags)
    lengths = np.bincount(runs, minlength=n_runs + 1) * FRAME_HOP
    short = lengths < duration
    short[0] = False
    if keep_ends and len(flags):  # before and after the first and last singing is no gap
        short[[runs[0], runs[-1]]] = False
    kept: BoolArray = flags & ~short[runs]
    return kept


def _f_measure(estimate: BoolArray, truth: BoolArray) -> float:
    return float(2.0 * (estimate & truth).sum() / max(1, estimate.sum() + truth.sum()))
