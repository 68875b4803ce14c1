"""Input of the displays: models by name, and one track of a collection."""

from __future__ import annotations

import operator
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from sksep.audio._track import Track
from sksep.audio._validation import check_collection, check_pair, check_same_length, check_track
from sksep.base._separator import BaseSeparator
from sksep.base._streams import array_rate, resolve_model
from sksep.nn.front_end import FrontEnd
from sksep.transformers import MaskBuilder, MelChunker

Panel = TypeVar("Panel")

# Window of the default front end in s, like that of MelChunker at its default sample rate.
_WINDOW = 0.064


def named_estimators(estimator: Any, name: str | None = None) -> dict[str, Any]:
    """Fitted models by name; a single one is named like the class of its separator.

    A fitted search is replaced by its best model.

    Raises
    ------
    TypeError, ValueError, NotFittedError
        If a model does not fit. The message names it, and the remedy.
    """
    if isinstance(estimator, Mapping):
        if not estimator:
            raise ValueError("estimator is an empty dict; give at least one pipeline.")
        if name is not None:
            raise ValueError("name is for a single estimator; the keys of the dict are the names.")
        models = by_name(estimator)
    else:
        models = {name or _class_name(resolve_model(estimator)): estimator}
    models = {key: resolve_model(model) for key, model in models.items()}
    for model in models.values():
        _class_name(model)
        check_is_fitted(model)
    return models


def _class_name(model: Any) -> str:
    """Name of the class of the separator of a model."""
    if isinstance(model, Pipeline):
        return type(separator_of(model)).__name__
    try:
        array_rate(model)
    except TypeError:
        separator_of(model)  # raises the error of displays
        raise
    return type(model).__name__


def separator_of(pipeline: Any) -> BaseSeparator:
    """The separator among the steps of a pipeline."""
    return pipeline[_separator_index(pipeline)]


def mask_steps(pipeline: Pipeline) -> Pipeline:
    """The pipeline up to its separator, whose `transform` estimates masks."""
    return pipeline[: _separator_index(pipeline) + 1]


def front_end_of(model: Any) -> FrontEnd:
    """Settings of the spectrograms of a model. Without a `MelChunker`, windows have 64 ms."""
    if not isinstance(model, Pipeline):
        return default_front_end(array_rate(model))
    for _, step in model.steps:
        if isinstance(step, MelChunker):
            return clone(step).fit(None).front_end_
    raise TypeError("estimator must be a pipeline with a MelChunker, which none of its steps is.")


def default_front_end(sample_rate: int, **settings: Any) -> FrontEnd:
    """Front end with windows of about 64 ms, like those of MelChunker at its default rate."""
    defaults = {"n_fft": max(2, 2 ** round(np.log2(_WINDOW * sample_rate)))}
    if "n_fft" not in settings and "hop_length" not in settings:
        defaults["hop_length"] = max(1, defaults["n_fft"] // 8)
    return MelChunker(sample_rate=sample_rate, **(defaults | settings)).fit(None).front_end_


@dataclass(frozen=True)
class PickedTrack:
    """One track of a collection.

    Attributes
    ----------
    X, y : list of one track
        Input of models; `y` is None if the truth is not known.
    mixture, vocals : Track
        The same, checked, at the rate of their files or of the first model.
    """

    X: list[Any]
    y: list[Any] | None
    mixture: Track
    vocals: Track | None


def pick_track(models: Mapping[str, Any], X: Any, y: Any, track: int) -> PickedTrack:
    """One mixture and its vocals, checked; no other track is read."""
    rates = {name: array_rate(model) for name, model in models.items()}
    sample_rate = next(iter(rates.values()))
    mixtures = check_collection(X, "X")
    targets = None if y is None else check_collection(y, "y")
    if targets is not None:
        check_same_length(mixtures, targets, "X", "y")
    try:
        index = operator.index(track)
    except TypeError:
        raise TypeError(f"track must be an integer, got {track!r}.") from None
    if not -len(mixtures) <= index < len(mixtures):
        raise ValueError(f"track={track} is out of range: X holds {len(mixtures)} tracks.")
    index %= len(mixtures)
    mixture = check_track(mixtures[index], sample_rate, f"X[{index}]")
    if len(set(rates.values())) > 1 and not mixture.is_file:
        raise ValueError(
            f"{mixture.name} is an array, and each model takes arrays to be at a rate of its own "
            f"(Hz): {rates}. Give files, or draw these models one by one."
        )
    if targets is None:
        return PickedTrack([mixtures[index]], None, mixture, None)
    vocals = check_track(targets[index], sample_rate, f"y[{index}]")
    check_pair(mixture, vocals)
    return PickedTrack([mixtures[index]], [targets[index]], mixture, vocals)


def by_title(pairs: Iterable[tuple[str, Panel]]) -> dict[str, Panel]:
    """Panels or models by title; two of one title raise a ValueError."""
    panels: dict[str, Panel] = {}
    for title, panel in pairs:
        if title in panels:
            raise ValueError(f"Two panels are called {title!r}; give the models other names.")
        panels[title] = panel
    return panels


def by_name(named: Mapping[Any, Panel]) -> dict[str, Panel]:
    """The same with names turned into text; the names 1 and "1" together raise a ValueError."""
    return by_title((str(name), value) for name, value in named.items())


def named_estimates(y_pred: Any, name: str | None) -> dict[str, Any]:
    """Estimates by name, from a dict of them or a single one."""
    if not isinstance(y_pred, Mapping):
        return {name or "Estimate": y_pred}
    if not y_pred:
        raise ValueError("y_pred is an empty dict; give at least one estimate.")
    if name is not None:
        raise ValueError("name is for a single estimate; the keys of the dict are the names.")
    return by_name(y_pred)


def titled_tracks(
    mixture: Track | None, vocals: Track | None, estimates: Mapping[str, Any], sample_rate: int
) -> dict[str, Track]:
    """All waveforms by title, checked to be of one length."""
    checked = [
        (name, check_track(estimate, sample_rate, name)) for name, estimate in estimates.items()
    ]
    known = [("Mixture", mixture), ("True vocals", vocals)]
    tracks = by_title([*((title, part) for title, part in known if part is not None), *checked])
    first, *others = tracks.values()
    for other in others:
        if other.n_samples * first.sample_rate != first.n_samples * other.sample_rate:
            raise ValueError(
                f"{other.name} lasts {other.n_samples} samples at {other.sample_rate} Hz, but "
                f"{first.name} {first.n_samples} at {first.sample_rate} Hz; they must be as long."
            )
    return tracks


def true_masks(
    pipeline: Pipeline, batch: Any, y: list[Any]
) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    """Binary and proportion mask of a batch of one track, as the pipeline's own steps make them."""
    builder = next((step for _, step in pipeline.steps if isinstance(step, MaskBuilder)), None)
    targets = (builder or MaskBuilder()).fit_transform(batch, y)[0].targets
    assert targets is not None
    return targets.binary_mask, targets.proportion_mask


def _separator_index(pipeline: Any) -> int:
    if isinstance(pipeline, Pipeline):
        for index, (_, step) in enumerate(pipeline.steps):
            if isinstance(step, BaseSeparator):
                return index
    raise TypeError(
        "estimator must be a pipeline with a MelChunker and a separator, or a dict of such, got "
        f"{type(pipeline).__name__}."
    )
