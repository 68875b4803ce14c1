"""The case that the checks of estimators use: one estimator, with small inputs for it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from functools import cache, cached_property
from typing import Any

import joblib
import numpy as np
import numpy.typing as npt
from sklearn.base import clone
from sklearn.utils import get_tags

from sksep.base._batch import TrackRecord
from sksep.base._targets import Targets
from sksep.datasets import make_songs
from sksep.transformers import MaskBuilder, MelChunker

SAMPLE_RATE = 8000


@cache
def songs() -> tuple[list[npt.NDArray[Any]], list[npt.NDArray[Any]]]:
    """Mixtures and vocals that differ in length; the last track is stereo."""
    bunch = make_songs(3, 1.5, sample_rate=SAMPLE_RATE, n_channels=2, random_state=0)
    lengths = (12000, 9001, 10240)
    mixtures, vocals = (
        [track[:, :length] for track, length in zip(tracks, lengths, strict=True)]
        for tracks in (bunch.mixtures, bunch.vocals)
    )
    mono = [[track.mean(axis=0) for track in tracks[:2]] for tracks in (mixtures, vocals)]
    return [*mono[0], mixtures[2]], [*mono[1], vocals[2]]


def small_chunker() -> MelChunker:
    """A small front end."""
    return MelChunker(sample_rate=SAMPLE_RATE, n_fft=256, hop_length=64, n_mels=32, n_frames=16)


@dataclass
class EstimatorCase:
    """One estimator under checks, with the inputs that it takes.

    Attributes
    ----------
    given : BaseEstimator
        The unfitted estimator.
    label : str
        Name of the estimator in the names of tests. By default, it is its repr.
    """

    given: Any
    label: str = ""

    def __str__(self) -> str:
        return self.label or " ".join(repr(self.given).split())

    @cached_property
    def estimator(self) -> Any:
        """A copy that fits the same way each time; checks work on clones of it."""
        unseeded = self.given.get_params(deep=False).get("random_state", 0) is None
        return clone(self.given).set_params(**{"random_state": 0} if unseeded else {})

    @property
    def name(self) -> str:
        return type(self.estimator).__name__

    @property
    def sees_tracks(self) -> bool:
        """Whether it is a step of a pipeline; other classes only hold parameters."""
        return hasattr(self.estimator, "fit")

    @property
    def separates_all(self) -> bool:
        """Whether it returns all stems of a mixture and not one, as `MultiTargetSeparator` does."""
        return self.sees_tracks and bool(get_tags(self.estimator).target_tags.multi_output)

    @property
    def takes_tracks(self) -> bool:
        """Whether it takes raw tracks, as `MelChunker` does, and not their batches."""
        return bool(get_tags(self.estimator).input_tags.string)

    @property
    def separates(self) -> bool:
        return hasattr(self.estimator, "predict_mask")

    @property
    def predicts(self) -> bool:
        """Whether it returns waveforms: a separator, or an inverter."""
        return hasattr(self.estimator, "predict")

    @property
    def is_model(self) -> bool:
        """Whether it maps tracks to waveforms by itself."""
        return self.takes_tracks and self.predicts

    @property
    def inverts(self) -> bool:
        """Whether it needs estimated masks."""
        return self.predicts and not self.separates and not self.is_model

    @property
    def learns(self) -> bool:
        """Whether it cannot be used before `fit`."""
        if self.separates or self.is_model:
            return True
        return bool(get_tags(self.estimator).requires_fit) and not self.predicts

    @property
    def remembers_truth(self) -> bool:
        """Whether it is an oracle, which separates no tracks but those that it was fitted to."""
        return hasattr(self.fitted, "truth_")

    @property
    def needs_targets(self) -> bool:
        """Whether it certainly cannot be fitted without the truth."""
        return hasattr(self.fitted, "net_") or self.remembers_truth

    @cached_property
    def inputs(self) -> Any:
        return self.prepare(songs()[0])

    @cached_property
    def training_inputs(self) -> Any:
        return self.with_targets(self.inputs, songs()[1])

    @cached_property
    def fitted(self) -> Any:
        """The fitted estimator. It is fitted once, and checks must not change it."""
        return self.fit_clone()

    @cached_property
    def outputs(self) -> Any:
        """Results of `fitted` for `inputs`."""
        return self.apply(self.fitted, self.inputs)

    def prepare(self, tracks: Any, chunker: MelChunker | None = None) -> Any:
        """Turn raw tracks into the input that the estimator takes when predicting."""
        if self.takes_tracks:
            return tracks
        batch = (chunker or small_chunker()).transform(tracks)
        if self.inverts:
            batch = batch.with_masks(
                np.clip(record.spectrogram / 80.0 + 1.0, 0.0, 1.0) for record in batch
            )
        return batch

    def with_targets(self, inputs: Any, vocals: list[Any]) -> Any:
        """Turn inputs into those that the estimator is fitted to."""
        return MaskBuilder().fit_transform(inputs, vocals) if self.separates else inputs

    def fit_clone(self) -> Any:
        return clone(self.estimator).fit(self.training_inputs, songs()[1])

    def fitted_to(self, inputs: Any, vocals: list[Any]) -> Any:
        """`fitted`, or if that would need the truth of these tracks, another that knows it."""
        if not self.remembers_truth:
            return self.fitted
        return clone(self.estimator).fit(self.with_targets(inputs, vocals))

    def apply(self, estimator: Any, inputs: Any) -> Any:
        return estimator.predict(inputs) if self.predicts else estimator.transform(inputs)

    def methods(self, *names: str) -> Iterator[Callable[[Any], Any]]:
        """The named methods that the fitted estimator has, as functions of X."""
        for name in names:
            if name == "fit":
                yield lambda X: clone(self.estimator).fit(X, songs()[1])
            elif name == "score" and hasattr(self.fitted, name):
                yield lambda X: self.fitted.score(X, songs()[1])
            elif hasattr(self.fitted, name):
                yield getattr(self.fitted, name)


@contextmanager
def raises(error: type[Exception], match: str, *, may_pass: bool = False) -> Iterator[None]:
    """Assert that the block raises an error whose message matches a regular expression."""
    try:
        yield
    except error as raised:
        assert re.search(match, str(raised)), f"The message must say {match!r}, got: {raised}"
    else:
        assert may_pass, f"A {error.__name__} that says {match!r} must be raised."


def assert_same(first: Any, second: Any, tolerance: float = 0.0) -> None:
    """Assert that two outputs of estimators agree: batches, or collections of waveforms."""
    assert type(first) is type(second)
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        if isinstance(one, TrackRecord):
            for name in ("waveform", "spectrogram", "mask"):
                if getattr(one, name) is None:
                    assert getattr(other, name) is None
                else:
                    _assert_arrays(getattr(one, name), getattr(other, name), tolerance)
            assert (one.targets is None) == (other.targets is None)
        else:
            _assert_arrays(one, other, tolerance)


def arrays_of(record: TrackRecord | Targets) -> Iterator[npt.NDArray[Any]]:
    """The arrays that a record or its targets hold."""
    for field in fields(record):
        value = getattr(record, field.name)
        if isinstance(value, np.ndarray):
            yield value
        elif isinstance(value, Targets):
            yield from arrays_of(value)


def _assert_arrays(first: Any, second: Any, tolerance: float) -> None:
    assert (first.dtype, first.shape) == (second.dtype, second.shape)
    np.testing.assert_allclose(first, second, rtol=0.0, atol=tolerance)


def fingerprint(parameters: dict[str, Any]) -> dict[str, str]:
    """Hashes of the contents of parameters."""
    return {name: joblib.hash(value) for name, value in parameters.items()}
