"""Every public estimator passes the shared checks, and the checks find what they should."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import estimator_checks
import numpy as np
import pytest
from estimator_checks import SAMPLE_RATE, Case, cases_of, checks_of, public_estimators

from sksep.base._batch import TrackBatch, TrackRecord, as_batch
from sksep.base._separator import BaseSeparator

_CASES = [
    case for estimator_class in public_estimators().values() for case in cases_of(estimator_class)
]


class Constant(BaseSeparator):
    """The least that a separator must do: one value for every bin.

    Parameters
    ----------
    share : float
        Value of the mask.
    """

    def __init__(self, share: float = 0.5) -> None:
        self.share = share

    def fit(self, X: Any, y: Any = None) -> Constant:
        self.front_end_ = as_batch(X, user="Constant")[0].front_end
        return self

    def _estimate_mask(self, record: TrackRecord) -> np.ndarray:
        return np.full_like(record.spectrogram, self.share)


class _ChangesParameter(Constant):
    def fit(self, X: Any, y: Any = None) -> Constant:
        self.share = 0.25
        return super().fit(X)


class _PlainAttribute(Constant):
    def fit(self, X: Any, y: Any = None) -> Constant:
        self.n_tracks = len(X)
        return super().fit(X)


class _NeverUnfitted(Constant):
    def transform(self, X: Any) -> TrackBatch:
        batch = as_batch(X, user="Constant")
        return batch.with_masks(self._estimate_mask(record) for record in batch)


class _TakesRawTracks(Constant):
    def _check_batch(self, X: Any) -> TrackBatch:
        if not isinstance(X[0], TrackRecord):
            X = estimator_checks.chunker().transform(X)
        return super()._check_batch(X)


class _Remembers(Constant):
    def _estimate_mask(self, record: TrackRecord) -> np.ndarray:
        self.last_ = (getattr(self, "last_", 0) + record.track.n_samples) % SAMPLE_RATE
        return np.full_like(record.spectrogram, self.last_ / SAMPLE_RATE)


class _Cheats(Constant):
    def _estimate_mask(self, record: TrackRecord) -> np.ndarray:
        mask = super()._estimate_mask(record)
        return mask if record.targets is None else record.targets.proportion_mask


class _Random(Constant):
    def fit(self, X: Any, y: Any = None) -> Constant:
        self.value_ = np.random.uniform()  # noqa: NPY002
        return super().fit(X)

    def _estimate_mask(self, record: TrackRecord) -> np.ndarray:
        return np.full_like(record.spectrogram, self.value_)


class _Amplifies(Constant):
    def _estimate_mask(self, record: TrackRecord) -> np.ndarray:
        return 4.0 * super()._estimate_mask(record)


class _LosesChannels(Constant):
    def predict(self, X: Any) -> np.ndarray:
        estimates = super().predict(X)
        estimates[-1] = estimates[-1].mean(axis=0)
        return estimates


class _ListsPredictions(Constant):
    def predict(self, X: Any) -> Any:
        return list(super().predict(X))


@pytest.mark.parametrize(
    ("case", "check"),
    [
        pytest.param(case, check, id=f"{case.label}-{check.__name__}")
        for case in _CASES
        for check in checks_of(case)
    ],
)
def test_public_estimator(case: Case, check: Callable[[Case], None]) -> None:
    check(case)


def test_public_estimators_are_found() -> None:
    expected = {"MelChunker", "MaskBuilder", "UNetSeparator", "GriffinLimInverter"}
    assert expected <= set(public_estimators())
    assert {*estimator_checks.VARIANTS, *estimator_checks.PARAMETER_OBJECTS} <= set(
        public_estimators()
    )


def test_every_check_is_run() -> None:
    defined = {name for name in vars(estimator_checks) if name.startswith("check_")}
    run = {check.__name__ for case in _CASES for check in checks_of(case)}
    assert defined - {"check_is_fitted"} == run


def test_the_least_separator_passes() -> None:
    (case,) = cases_of(Constant)
    for check in checks_of(case):
        if check is not estimator_checks.check_saved_predicts_the_same:  # public classes only
            check(case)


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (_ChangesParameter, estimator_checks.check_parameters_are_not_changed),
        (_PlainAttribute, estimator_checks.check_fitted_attributes_end_in_underscore),
        (_NeverUnfitted, estimator_checks.check_unfitted),
        (_TakesRawTracks, estimator_checks.check_raw_tracks),
        (_Remembers, estimator_checks.check_one_by_one),
        (_Remembers, estimator_checks.check_predicting_changes_nothing),
        (_Cheats, estimator_checks.check_truth_is_not_used_when_predicting),
        (_Random, estimator_checks.check_fitting_again_predicts_the_same),
        (_Random, estimator_checks.check_global_random_states_are_left_alone),
        (_Amplifies, estimator_checks.check_masks),
        (_LosesChannels, estimator_checks.check_predictions),
        (_ListsPredictions, estimator_checks.check_predictions),
    ],
)
def test_broken_separator_is_found(broken: type[Constant], check: Callable[[Case], None]) -> None:
    (case,) = cases_of(broken)
    # pytest.fail, which pytest.raises calls, is no Exception.
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        check(case)
