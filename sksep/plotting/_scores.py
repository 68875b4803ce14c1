"""ScoreDisplay: scores of each track, model beside model."""

from __future__ import annotations

import functools
import inspect
import textwrap
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from sksep.audio._resampling import to_mono
from sksep.audio._track import Track
from sksep.audio._validation import check_same_length, check_tracks
from sksep.metrics import sdr
from sksep.plotting._axes import make_panels
from sksep.plotting._models import by_name, by_title, named_estimates, named_estimators
from sksep.utils._arrays import DoubleArray
from sksep.utils._validation import check_choice

_KINDS = ("box", "paired")
_NAMES = {"sdr": "SDR", "si_sdr": "SI-SDR", "nsdr": "NSDR"}
# Points are spread by multiples of the golden ratio: evenly, and in the same way each time.
_GOLDEN = (5**0.5 - 1) / 2
_SPREAD = 0.3
# Largest number of characters in a line of a name below its box.
_MAX_LINE = 16


class ScoreDisplay:
    r"""Distribution over tracks of the scores of one or more models.

    ``kind="box"`` draws the quartiles of each model, with a point for each track. ``kind="paired"``
    draws the medians, and a line for each track from model to model, which shows whether a model is
    better on most tracks or much better on a few.

    Scores that are not finite are left out: there is no SDR if the true vocals or the estimate are
    silent. Below each name is the number of tracks that are drawn, and of all tracks. Paired lines
    show the tracks that have a score by all models. Do not compare medians of different tracks.
    Make one with `from_estimator`, `from_predictions` or `from_scores`.

    Parameters
    ----------
    scores : dict of str to array of shape (n_tracks,)
        Scores by the name of the model.
    label : str, default="Score"
        Label of the axis.
    unit : str or None, default="dB"
        Unit of the scores.

    Attributes
    ----------
    scores_ : dict of str to ndarray of shape (n_tracks,)
        Scores; NaN if a track has none.
    ax_ : Axes
        Axes of the drawing.
    figure_ : Figure
        The figure around it.

    See Also
    --------
    sksep.metrics.sdr_score : The mean over tracks.

    Examples
    --------
    >>> from sksep.plotting import ScoreDisplay
    >>> display = ScoreDisplay.from_scores({"U-Net": [5.0, 7.0, float("nan")]}, label="SDR")
    >>> display.ax_.get_xticklabels()[0].get_text(), display.ax_.get_ylabel()
    ('U-Net\n2 of 3 tracks', 'SDR (dB)')
    """

    ax_: Any
    figure_: Any

    def __init__(
        self, scores: Mapping[str, Any], *, label: str = "Score", unit: str | None = "dB"
    ) -> None:
        if not isinstance(scores, Mapping):
            raise TypeError(
                f"scores must be a dict of names to scores, got {type(scores).__name__}; those of "
                "one model are {'U-Net': scores}."
            )
        if not scores:
            raise ValueError("scores is empty; give the scores of at least one model.")
        self.scores_ = {
            name: _check_scores(values, name) for name, values in by_name(scores).items()
        }
        self.label = label
        self.unit = unit

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        score: Callable[..., float] = sdr,
        kind: str = "box",
        score_mixture: bool = False,
        ax: Any = None,
        name: str | None = None,
    ) -> ScoreDisplay:
        """Separate tracks, once with each model, and draw their scores.

        Parameters
        ----------
        estimator : estimator, or dict of str to estimator
            Fitted model, or several by name: pipelines or separators of waveforms.
        X : sequence of arrays, paths or AudioSource
            Mixtures.
        y : sequence of arrays, paths or AudioSource
            True vocals.
        score : callable, default=sksep.metrics.sdr
            ``score(reference, estimate)`` of one track, or with a third argument ``mixture`` like
            `sksep.metrics.nsdr`. It receives mono downmixes.
        kind : {"box", "paired"}, default="box"
            Kind of the drawing.
        score_mixture : bool, default=False
            Whether to score the mixture itself too. A model must be better than this floor.
        ax : Axes, default=None
            Axes to empty and draw on; None makes a figure.
        name : str, default=None
            Name of a single model; None is the class of its separator.

        Returns
        -------
        ScoreDisplay

        Raises
        ------
        TypeError, ValueError
            If a track or a model does not fit. The message names it.

        Examples
        --------
        >>> from sklearn.pipeline import make_pipeline
        >>> from sksep import HPSSSeparator, MelChunker
        >>> from sksep.datasets import make_songs
        >>> from sksep.plotting import ScoreDisplay
        >>> songs = make_songs(2, duration=2.0, random_state=0)
        >>> model = make_pipeline(MelChunker(), HPSSSeparator()).fit(songs.mixtures)
        >>> display = ScoreDisplay.from_estimator(
        ...     model, songs.mixtures, songs.vocals, score_mixture=True, kind="paired"
        ... )
        >>> list(display.scores_)
        ['Mixture', 'HPSSSeparator']
        """
        _check_kind(kind)
        if not isinstance(score_mixture, (bool, np.bool_)):
            raise TypeError(
                f"score_mixture must be True or False, got {type(score_mixture).__name__}; the "
                "mixtures are X."
            )
        models = named_estimators(estimator, name)
        mixtures, truth = check_tracks(X, 0, "X"), check_tracks(y, 0, "y")
        check_same_length(mixtures, truth, "X", "y")
        scores = [("Mixture", _score(score, truth, mixtures, mixtures))] if score_mixture else []
        for label, model in models.items():
            estimates = check_tracks(model.predict(X), 0, f"the estimates of {label}, ")
            scores.append((label, _score(score, truth, estimates, mixtures)))
        return cls(by_title(scores), **_label(score)).plot(ax, kind=kind)

    @classmethod
    def from_predictions(
        cls,
        y_true: Any,
        y_pred: Any,
        *,
        mixtures: Any = None,
        score: Callable[..., float] = sdr,
        kind: str = "box",
        ax: Any = None,
        name: str | None = None,
    ) -> ScoreDisplay:
        """Draw the scores of given estimates.

        Parameters
        ----------
        y_true : sequence of arrays, paths or AudioSource
            True vocals.
        y_pred : sequence of arrays, paths or AudioSource, or a dict of str to these
            Estimated vocals, of one model or of several by name.
        mixtures : sequence of arrays, paths or AudioSource, default=None
            Mixtures that they were separated from. They are scored too, as the floor.
        score : callable, default=sksep.metrics.sdr
            Score of one track, as in `from_estimator`.
        kind : {"box", "paired"}, default="box"
            Kind of the drawing.
        ax : Axes, default=None
            Axes to empty and draw on; None makes a figure.
        name : str, default=None
            Name of a single model; None is "Estimate".

        Returns
        -------
        ScoreDisplay

        Examples
        --------
        >>> import numpy as np
        >>> from sksep.metrics import si_sdr
        >>> from sksep.plotting import ScoreDisplay
        >>> display = ScoreDisplay.from_predictions(
        ...     [np.array([1.0, 0.0])], [np.array([1.0, 0.1])], score=si_sdr
        ... )
        >>> display.scores_["Estimate"].round(2), display.ax_.get_ylabel()
        (array([20.]), 'SI-SDR (dB)')
        """
        _check_kind(kind)
        truth = check_tracks(y_true, 0, "y_true")
        mixed = None
        scores = []
        if mixtures is not None:
            mixed = check_tracks(mixtures, 0, "mixtures")
            check_same_length(truth, mixed, "y_true", "mixtures")
            scores.append(("Mixture", _score(score, truth, mixed, mixed)))
        for label, collection in named_estimates(y_pred, name).items():
            estimates = check_tracks(collection, 0, f"the estimates of {label}, ")
            check_same_length(truth, estimates, "y_true", f"y_pred of {label}")
            scores.append((label, _score(score, truth, estimates, mixed)))
        return cls(by_title(scores), **_label(score)).plot(ax, kind=kind)

    @classmethod
    def from_scores(
        cls,
        scores: Mapping[str, Any],
        *,
        label: str = "Score",
        unit: str | None = "dB",
        kind: str = "box",
        ax: Any = None,
    ) -> ScoreDisplay:
        """Draw scores.

        Parameters
        ----------
        scores : dict of str to array of shape (n_tracks,)
            Scores by the name of the model; NaN if a track has none.
        label : str, default="Score"
            Label of the axis.
        unit : str or None, default="dB"
            Unit of the scores.
        kind : {"box", "paired"}, default="box"
            Kind of the drawing. "paired" needs the scores of all models in one order of tracks.
        ax : Axes, default=None
            Axes to empty and draw on; None makes a figure.

        Returns
        -------
        ScoreDisplay

        Examples
        --------
        >>> from sksep.plotting import ScoreDisplay
        >>> scores = {"HPSS": [1.0, 2.0], "U-Net": [3.0, 5.0]}
        >>> display = ScoreDisplay.from_scores(scores, kind="paired")
        >>> len(display.ax_.lines)  # two tracks, and the medians
        3
        """
        return cls(scores, label=label, unit=unit).plot(ax, kind=kind)

    def plot(self, ax: Any = None, *, kind: str = "box") -> ScoreDisplay:
        """Draw again.

        Parameters
        ----------
        ax : Axes, default=None
            Axes to empty and draw on; None makes a figure.
        kind : {"box", "paired"}, default="box"
            Kind of the drawing.

        Returns
        -------
        ScoreDisplay
            The display itself.
        """
        _check_kind(kind)
        if kind == "paired":
            self._check_pairs()
        names = [
            textwrap.fill(name, _MAX_LINE, break_long_words=False, break_on_hyphens=False)
            for name in self.scores_
        ]
        longest = max(len(line) for name in names for line in name.splitlines() or [""])
        width = max(4.0, 1.2 + max(1.3, 0.09 * longest) * len(names))
        self.figure_, (self.ax_,) = make_panels(ax, 1, panel_size=(width, 4.0))
        finite: dict[str, Any] = {
            name: np.isfinite(values) for name, values in self.scores_.items()
        }
        if kind == "paired":
            finite = dict.fromkeys(finite, np.logical_and.reduce(list(finite.values())))
        drawn = [values[finite[name]] for name, values in self.scores_.items()]
        (self._draw_boxes if kind == "box" else self._draw_pairs)(drawn)
        labels = [
            f"{name}\n{_n_tracks(len(values), len(usable))}"
            for name, values, usable in zip(names, drawn, finite.values(), strict=True)
        ]
        self.ax_.set_xticks(np.arange(len(labels)), labels)
        self.ax_.set(
            xlim=(-0.6, len(labels) - 0.4),
            ylabel=self.label if self.unit is None else f"{self.label} ({self.unit})",
        )
        return self

    def _draw_boxes(self, drawn: list[DoubleArray]) -> None:
        for index, values in enumerate(drawn):
            color = f"C{index}"
            if not len(values):
                continue
            boxes = self.ax_.boxplot(
                [values],
                positions=[index],
                widths=0.6,
                showfliers=False,  # each track is drawn as a point
                patch_artist=True,
                manage_ticks=False,
            )
            boxes["boxes"][0].set(facecolor=color, alpha=0.3)
            boxes["medians"][0].set(color="black", linewidth=2)
            steps = (np.arange(1, len(values) + 1) * _GOLDEN) % 1.0 - 0.5
            self.ax_.scatter(
                index + _SPREAD * steps, values, s=16, color=color, alpha=0.8, zorder=3
            )

    def _draw_pairs(self, drawn: list[DoubleArray]) -> None:
        positions = np.arange(len(drawn))
        for track in zip(*drawn, strict=True):
            self.ax_.plot(positions, track, "-", color="0.5", alpha=0.5, marker=".", linewidth=1)
        if len(drawn[0]):
            medians = [float(np.median(values)) for values in drawn]
            self.ax_.plot(
                positions, medians, "o-", color="C3", linewidth=2.5, label="Median", zorder=3
            )
            self.ax_.legend()

    def _check_pairs(self) -> None:
        if len(self.scores_) < 2:
            raise ValueError(
                'kind="paired" compares models; give two or more in a dict, or score_mixture=True '
                "(in from_predictions, mixtures)."
            )
        lengths = {name: len(values) for name, values in self.scores_.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"The models were scored on different numbers of tracks: {lengths}.")


def _score(
    score: Callable[..., float],
    truth: tuple[Track, ...],
    estimates: tuple[Track, ...],
    mixtures: tuple[Track, ...] | None,
) -> DoubleArray:
    """Score of each track from mono downmixes, as in the scorers."""
    needs_mixture = "mixture" in inspect.signature(score).parameters
    if needs_mixture and mixtures is None:
        raise ValueError("This score compares with the mixture; give the mixtures.")
    values = np.empty(len(truth))
    for index, (true, estimate) in enumerate(zip(truth, estimates, strict=True)):
        if true.n_samples != estimate.n_samples:
            raise ValueError(
                f"{estimate.name} has {estimate.n_samples} samples but {true.name} has "
                f"{true.n_samples}; bring both to one sample rate and one length."
            )
        further = {}
        if needs_mixture and mixtures is not None:
            further["mixture"] = to_mono(mixtures[index].read())
        with warnings.catch_warnings():
            # The picture shows which scores are NaN.
            warnings.filterwarnings("ignore", ".* is undefined", UserWarning)
            values[index] = score(to_mono(true.read()), to_mono(estimate.read()), **further)
    return values


def _check_scores(values: Any, name: Any) -> DoubleArray:
    try:
        scores = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise TypeError(f"The scores of {name} must be numbers ({error}).") from None
    if scores.ndim != 1 or not len(scores):
        raise ValueError(
            f"The scores of {name} have shape {scores.shape}; give one for each of its tracks."
        )
    return scores


def _check_kind(kind: Any) -> None:
    check_choice("kind", kind, _KINDS)


def _label(score: Callable[..., float]) -> dict[str, Any]:
    """Label and unit of the axis; scores with other names may have any unit."""
    inner: Any = score.func if isinstance(score, functools.partial) else score
    name = getattr(inner, "__name__", "Score")
    if name in _NAMES:
        return {"label": _NAMES[name], "unit": "dB"}
    return {"label": "Score" if name == "<lambda>" else name, "unit": None}


def _n_tracks(n_drawn: int, n_tracks: int) -> str:
    tracks = f"{n_tracks} track" + ("" if n_tracks == 1 else "s")
    return tracks if n_drawn == n_tracks else f"{n_drawn} of {tracks}"
