"""Streams of vocals: how a fitted estimator separates one song block by block."""

from __future__ import annotations

from collections.abc import Iterator
from numbers import Integral
from typing import Any, Protocol

from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from sksep.utils._arrays import FloatArray


class VocalsStream(Protocol):
    """Separation of one track that arrives in blocks, in memory that does not grow with it.

    An estimator opens one with ``estimator._open_stream(sample_rate, n_channels, name)``, or raises
    a `WholeTrackError`. `sksep.inference._streaming.open_stream` opens one for every kind of model.

    Attributes
    ----------
    latency : int
        Delay in samples. After `n` samples went in, at least ``n - latency`` have come out.
    """

    latency: int

    def push(self, samples: FloatArray) -> FloatArray:
        """Take the next samples (n_channels, n), and return the vocals that are complete."""
        ...

    def finish(self) -> FloatArray:
        """End the track, and return the rest: as many samples come out as went in."""
        ...


class WholeTrackError(TypeError):
    """The error of `_open_stream` if an estimator separates whole tracks only."""


def resolve_model(estimator: Any) -> Any:
    """The model itself: the best one of a search, a frozen one, the only step of a pipeline.

    Steps of pipelines within a pipeline become its own.
    """
    while True:
        if hasattr(estimator, "best_estimator_"):
            estimator = estimator.best_estimator_
        elif isinstance(estimator, FrozenEstimator):
            estimator = estimator.estimator
        elif isinstance(estimator, Pipeline) and len(estimator.steps) == 1:
            estimator = estimator.steps[0][1]
        elif isinstance(estimator, Pipeline) and any(
            isinstance(step, Pipeline) for _, step in estimator.steps
        ):
            estimator = Pipeline(list(_flat_steps(estimator)))
        else:
            return estimator


def _flat_steps(pipeline: Pipeline) -> Iterator[tuple[str, Any]]:
    for name, step in pipeline.steps:
        if isinstance(step, Pipeline):
            yield from ((f"{name}: {inner}", each) for inner, each in _flat_steps(step))
        else:
            yield name, step


def array_rate(estimator: Any) -> int:
    """Sample rate in Hz that a model takes arrays to be at: that of its `MelChunker`, or its own.

    Raises
    ------
    TypeError
        If the estimator is not a model of tracks.
    """
    model = resolve_model(estimator)
    first = model.steps[0][1] if isinstance(model, Pipeline) else model
    if hasattr(first, "_array_rate"):  # an ensemble, whose members say it
        return int(first._array_rate())
    rate = getattr(first, "sample_rate", None)
    if not hasattr(model, "predict") or not isinstance(rate, Integral):
        raise TypeError(
            "A model is a fitted Pipeline that begins with MelChunker, or another fitted estimator "
            f"of tracks, with a sample_rate and predict; got {type(model).__name__}."
        )
    return int(rate)
