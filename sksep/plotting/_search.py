"""SearchDisplay: scores of a search for hyper-parameters."""

from __future__ import annotations

import itertools
import textwrap
from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from sksep.plotting._axes import make_panels
from sksep.utils._arrays import DoubleArray

# Largest numbers of rows or columns of a heat map with numbers, and of ticks of an axis.
_MAX_CELLS = 16
_MAX_TICKS = 8
# Largest number of characters in a line of a value beside its tick.
_MAX_LINE = 24


class SearchDisplay:
    """Cross-validated scores against the hyper-parameters that were searched.

    One parameter is drawn as the mean over the folds, with bars of one standard deviation. Its axis
    is logarithmic if all values are positive numbers that span a factor of ten or more, and has
    categories if not all values are numbers. Two parameters are drawn as a heat map of the means,
    with gaps where no candidate was fitted or a fit failed. Candidates whose numbers were drawn at
    random do not fill rows and columns; they are colored points instead.

    If other parameters vary too, name the one or two to draw: the scores of the candidates that
    share their values are then averaged, fold by fold; failed ones are left out. In a successive
    halving each candidate counts once, with the most resources that it received; scores with few
    resources are not those of a full training. Make one with `from_estimator` or `from_results`.

    Parameters
    ----------
    params : sequence of str
        One or two names of parameters.
    values : sequence of lists
        Values of each parameter, in the order of the axis.
    fold_scores : array of shape (n_values, [n_values of the second,] n_folds)
        Scores; NaN if there are none.
    label : str, default="Score"
        Label of the scores.

    Attributes
    ----------
    params_ : tuple of str
        Names of the parameters that are drawn.
    values_ : tuple of lists
        Values of each parameter.
    mean_, std_ : ndarray of shape (n_values,) or (n_values, n_values of the second)
        Mean and standard deviation over the folds.
    ax_ : Axes
        Axes of the drawing.
    figure_ : Figure
        The figure around it.

    Examples
    --------
    >>> from sksep.plotting import SearchDisplay
    >>> results = {
    ...     "params": [{"lr": 0.001}, {"lr": 0.1}],
    ...     "split0_test_score": [4.0, 1.0],
    ...     "split1_test_score": [6.0, 3.0],
    ... }
    >>> display = SearchDisplay.from_results(results)
    >>> display.mean_, display.ax_.get_xscale()
    (array([5., 2.]), 'log')
    """

    ax_: Any
    figure_: Any

    def __init__(
        self,
        params: Sequence[str],
        values: Sequence[list[Any]],
        fold_scores: npt.ArrayLike,
        *,
        label: str = "Score",
    ) -> None:
        self.params_ = tuple(params)
        self.values_ = tuple(values)
        scores = np.asarray(fold_scores, dtype=np.float64)
        shape = tuple(len(each) for each in self.values_)
        if len(shape) not in (1, 2) or len(self.params_) != len(shape):
            raise ValueError(f"One or two parameters can be drawn, got {list(self.params_)}.")
        if scores.ndim != len(shape) + 1 or scores.shape[:-1] != shape:
            raise ValueError(
                f"fold_scores has shape {scores.shape}; it must be {shape}, folds last."
            )
        self.mean_: DoubleArray = scores.mean(axis=-1)
        self.std_: DoubleArray = scores.std(axis=-1)
        if not np.isfinite(self.mean_).any():
            raise ValueError(
                "No candidate has a finite score on every fold, so there is nothing to draw."
            )
        self.label = label

    @classmethod
    def from_estimator(
        cls, search: Any, *, params: Any = None, metric: str | None = None, ax: Any = None
    ) -> SearchDisplay:
        """Draw the results of a fitted search.

        Parameters
        ----------
        search : GridSearchCV, RandomizedSearchCV or HalvingGridSearchCV
            Fitted search.
        params : str or sequence of str, default=None
            One or two parameters to draw, such as ``"separate__lr"``; None draws all that vary.
            The first is along the horizontal axis.
        metric : str, default=None
            Name of one of several metrics; None is the only one, or the one that `refit` names.
        ax : Axes, default=None
            Axes to empty and draw on; None makes a figure.

        Returns
        -------
        SearchDisplay

        Raises
        ------
        ValueError, TypeError, NotFittedError
            If more than two parameters vary, if none varies, if a name is unknown, or if the search
            is not fitted.

        Examples
        --------
        >>> from sklearn.model_selection import GridSearchCV
        >>> from sklearn.pipeline import make_pipeline
        >>> from sksep import HPSSSeparator, MelChunker
        >>> from sksep.datasets import make_songs
        >>> from sksep.plotting import SearchDisplay
        >>> songs = make_songs(2, duration=1.0, random_state=0)
        >>> model = make_pipeline(MelChunker(), HPSSSeparator())
        >>> search = GridSearchCV(model, {"hpssseparator__power": [1.0, 2.0]}, cv=2)
        >>> display = SearchDisplay.from_estimator(search.fit(songs.mixtures, songs.vocals))
        >>> display.params_, display.values_
        (('hpssseparator__power',), ([1.0, 2.0],))
        """
        if not hasattr(search, "fit"):
            raise TypeError(
                f"search must be a fitted GridSearchCV or the like, got {type(search).__name__}; "
                "results alone go to from_results."
            )
        check_is_fitted(search, "cv_results_")
        refit = getattr(search, "refit", None)
        if metric is None and isinstance(refit, str):
            metric = refit
        return cls.from_results(search.cv_results_, params=params, metric=metric, ax=ax)

    @classmethod
    def from_results(
        cls,
        cv_results: Mapping[str, Any],
        *,
        params: Any = None,
        metric: str | None = None,
        ax: Any = None,
    ) -> SearchDisplay:
        """Draw ``cv_results_`` of a search.

        Parameters
        ----------
        cv_results : dict of str to array
            Results with the columns ``params``, ``split0_test_score`` (or another metric), etc.
        params : str or sequence of str, default=None
            Parameters to draw, as in `from_estimator`.
        metric : str, default=None
            Name of one of several metrics; None is the only one.
        ax : Axes, default=None
            Axes to empty and draw on; None makes a figure.

        Returns
        -------
        SearchDisplay
        """
        candidates, scores, metric = _candidates(cv_results, metric)
        resource = _resource(candidates, cv_results)
        if "iter" in cv_results:
            last = _last_rows(candidates, cv_results["iter"], resource)
            candidates, scores = [candidates[row] for row in last], scores[last]
        names = _choose(candidates, params, resource)
        values = tuple(_distinct(candidates, name) for name in names)
        table = np.full((*map(len, values), scores.shape[1]), np.nan)
        for place in np.ndindex(*table.shape[:-1]):
            wanted = [repr(each[index]) for each, index in zip(values, place, strict=True)]
            rows = [
                row
                for row, candidate in enumerate(candidates)
                if [repr(candidate.get(name)) for name in names] == wanted
                and np.isfinite(scores[row]).all()
            ]
            if rows:
                table[place] = scores[rows].mean(axis=0)
        label = "Score" if metric == "score" else metric
        return cls(names, values, table, label=label).plot(ax)

    def plot(self, ax: Any = None) -> SearchDisplay:
        """Draw again.

        Parameters
        ----------
        ax : Axes, default=None
            Axes to empty and draw on; None makes a figure.

        Returns
        -------
        SearchDisplay
            The display itself.
        """
        self.figure_, (self.ax_,) = make_panels(ax, 1, panel_size=(6.0, 4.0))
        if len(self.params_) == 1:
            self._draw_line()
        elif self._is_grid():
            self._draw_heat_map()
        else:
            self._draw_points()
        return self

    def _draw_line(self) -> None:
        values = self.values_[0]
        numeric = _is_numeric(values)
        places = np.array(values, np.float64) if numeric else np.arange(len(values), dtype=float)
        self.ax_.errorbar(
            places, self.mean_, self.std_, fmt="o-" if numeric else "o", capsize=4, color="C0"
        )
        if numeric:
            _set_scale(self.ax_, "x", places)
        else:
            self.ax_.set_xticks(places, _texts(values))
            self.ax_.set_xlim(-0.5, len(values) - 0.5)
        self.ax_.set(
            xlabel=self.params_[0],
            ylabel=f"{self.label} (mean and standard deviation over folds)",
        )

    def _draw_heat_map(self) -> None:
        means = np.ma.masked_invalid(self.mean_.T)
        image = self.ax_.imshow(means, origin="lower", aspect="auto", cmap="viridis")
        for (row, column), value in np.ndenumerate(self.mean_.T):
            if not np.isfinite(value):
                continue
            dark = image.norm(value) < 0.6
            self.ax_.text(
                column,
                row,
                f"{value:.2f}",
                ha="center",
                va="center",
                color="white" if dark else "black",
            )
        for axis, values in zip((self.ax_.xaxis, self.ax_.yaxis), self.values_, strict=True):
            axis.set_ticks(np.arange(len(values)), _texts(values))
        self._finish_map(image)

    def _draw_points(self) -> None:
        columns, rows = np.nonzero(np.isfinite(self.mean_))
        x, y = (np.array(values, np.float64) for values in self.values_)
        points = self.ax_.scatter(
            x[columns], y[rows], c=self.mean_[columns, rows], s=60, edgecolor="0.3", cmap="viridis"
        )
        _set_scale(self.ax_, "x", x)
        _set_scale(self.ax_, "y", y)
        self._finish_map(points)

    def _finish_map(self, drawn: Any) -> None:
        self.figure_.colorbar(drawn, ax=self.ax_, label=f"{self.label} (mean over folds)")
        self.ax_.set(xlabel=self.params_[0], ylabel=self.params_[1])

    def _is_grid(self) -> bool:
        """Whether candidates fill rows and columns, rather than being drawn at random."""
        if not all(map(_is_numeric, self.values_)):
            return True
        shortest, longest = sorted(map(len, self.values_))
        n_scored = int(np.isfinite(self.mean_).sum())
        return longest <= _MAX_CELLS and (shortest <= 2 or n_scored > longest)


def _candidates(
    cv_results: Any, metric: str | None
) -> tuple[list[Mapping[str, Any]], DoubleArray, str]:
    """Candidates, their scores (n_candidates, n_folds), and the metric of these scores."""
    if not isinstance(cv_results, Mapping):
        raise TypeError(f"cv_results must be a dict, got {type(cv_results).__name__}.")
    prefix = "split0_test_"
    metrics = [key.removeprefix(prefix) for key in cv_results if key.startswith(prefix)]
    if "params" not in cv_results or not metrics:
        raise ValueError(
            "cv_results has no columns params and split0_test_score; give the cv_results_ of a "
            "fitted search."
        )
    if metric is None:
        if len(metrics) > 1:
            raise ValueError(f"The search has several metrics; choose metric= one of {metrics}.")
        metric = metrics[0]
    if metric not in metrics:
        raise ValueError(f"The search has no metric {metric!r}, but {metrics}.")
    columns = (f"split{fold}_test_{metric}" for fold in itertools.count())
    folds = [
        np.asarray(cv_results[column], dtype=np.float64)
        for column in itertools.takewhile(cv_results.__contains__, columns)
    ]
    candidates = list(cv_results["params"])
    if not candidates or not all(isinstance(each, Mapping) for each in candidates):
        raise ValueError("cv_results['params'] must hold a dict for each candidate.")
    if any(len(fold) != len(candidates) for fold in folds):
        raise ValueError(
            f"cv_results has {len(candidates)} params, but other numbers of scores: "
            f"{[len(fold) for fold in folds]}."
        )
    return candidates, np.stack(folds, axis=1), metric


def _resource(candidates: list[Mapping[str, Any]], cv_results: Mapping[str, Any]) -> str | None:
    """The parameter that is the resource of a successive halving, if there is one."""
    given = list(cv_results.get("n_resources", ()))
    for name in candidates[0]:
        if given and [candidate.get(name) for candidate in candidates] == given:
            return name
    return None


def _last_rows(candidates: list[Mapping[str, Any]], rounds: Any, resource: str | None) -> list[int]:
    """The row of the last round of each candidate of a successive halving."""
    last: dict[str, int] = {}
    for row in np.argsort(rounds, kind="stable"):
        settings = {key: value for key, value in candidates[row].items() if key != resource}
        last[repr(sorted(settings.items(), key=lambda item: item[0]))] = int(row)
    return sorted(last.values())


def _choose(candidates: list[Mapping[str, Any]], params: Any, resource: str | None) -> list[str]:
    known = list(dict.fromkeys(name for candidate in candidates for name in candidate))
    if params is not None:
        names = [params] if isinstance(params, str) else list(params)
        unknown = [name for name in names if name not in known]
        if unknown:
            raise ValueError(f"The search has no parameters {unknown}, but {known}.")
        if len(names) not in (1, 2) or len(set(names)) < len(names):
            raise ValueError(f"params must name one or two parameters, got {names}.")
        return names
    names = [name for name in known if len(_distinct(candidates, name)) > 1 and name != resource]
    if not names:
        raise ValueError(
            "No parameter varies in this search; name one in params to draw it nevertheless."
        )
    if len(names) > 2:
        raise ValueError(
            f"{len(names)} parameters vary, {names}. Choose one or two, such as "
            f"params={names[:2]}; scores are then averaged over the others."
        )
    return names


def _distinct(candidates: list[Mapping[str, Any]], name: str) -> list[Any]:
    """Values of a parameter: numbers in ascending order, others in their given order."""
    values = list(
        {repr(candidate.get(name)): candidate.get(name) for candidate in candidates}.values()
    )
    return sorted(values) if _is_numeric(values) else values


def _is_numeric(values: Sequence[Any]) -> bool:
    return all(
        isinstance(value, Real)
        and not isinstance(value, (bool, np.bool_))
        and np.isfinite(float(value))
        for value in values
    )


def _set_scale(ax: Any, axis: str, values: DoubleArray) -> None:
    is_log = values.min() > 0.0 and values.max() >= 10.0 * values.min()
    ax.set(**{f"{axis}scale": "log" if is_log else "linear"})
    if len(values) <= _MAX_TICKS:
        place = getattr(ax, f"{axis}axis")
        place.set_ticks(values, [f"{value:g}" for value in values])
        place.set_ticks([], minor=True)


def _texts(values: Sequence[Any]) -> list[str]:
    """Texts of ticks. Long values, such as estimators, are named by class if the classes differ."""
    texts = [
        f"{value:g}" if isinstance(value, Real) and not isinstance(value, bool) else str(value)
        for value in values
    ]
    short = [
        text if len(text) <= _MAX_LINE and "\n" not in text else type(value).__name__
        for text, value in zip(texts, values, strict=True)
    ]
    if len(set(short)) == len(short):
        return short
    return [textwrap.fill(text, _MAX_LINE) for text in texts]
