"""Checks of estimators that separate mixtures into all of their stems."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import cross_val_score

from sksep.utils._estimator_checks._case import (
    EstimatorCase,
    assert_same,
    fingerprint,
    raises,
    songs,
)


def _stems() -> list[dict[str, Any]]:
    return [
        {"vocals": vocals, "accompaniment": mixture - vocals}
        for mixture, vocals in zip(*songs(), strict=True)
    ]


def _fitted(case: EstimatorCase) -> Any:
    """The estimator, fitted once to two stems."""
    return _fit_once(case)[0]


def _fit_once(case: EstimatorCase) -> tuple[Any, Any]:
    """The fitted estimator and its results, which the case keeps."""
    kept = vars(case)
    if "all_stems" not in kept:
        fitted = clone(case.estimator).fit(songs()[0], _stems())
        kept["all_stems"] = fitted, fitted.predict(songs()[0])
    found: tuple[Any, Any] = kept["all_stems"]
    return found


def _assert_same(first: Any, second: Any, tolerance: float = 0.0) -> None:
    for one, other in zip(first, second, strict=True):
        assert list(one) == list(other)
        assert_same(list(one.values()), list(other.values()), tolerance)


def check_unfitted(case: EstimatorCase) -> None:
    with raises(NotFittedError, case.name):
        clone(case.estimator).predict(songs()[0])


def check_stems_have_the_shape_of_their_mixtures(case: EstimatorCase) -> None:
    outputs = _fit_once(case)[1]
    assert outputs.dtype == object
    assert outputs.shape == (len(songs()[0]),)
    for stems, mixture in zip(outputs, songs()[0], strict=True):
        assert list(stems) == ["vocals", "accompaniment"]
        for estimate in stems.values():
            assert estimate.dtype == np.float32
            assert estimate.shape == mixture.shape
            assert np.isfinite(estimate).all()


def check_stems_add_up_to_the_mixture(case: EstimatorCase) -> None:
    for stems, mixture in zip(_fit_once(case)[1], songs()[0], strict=True):
        np.testing.assert_allclose(sum(stems.values()), mixture, rtol=0.0, atol=1e-5)


def check_fitting_again_predicts_the_same(case: EstimatorCase) -> None:
    estimator = clone(case.estimator)
    before = fingerprint(estimator.get_params())
    assert estimator.fit(songs()[0], _stems()) is estimator
    assert fingerprint(estimator.get_params()) == before, "fit must not change parameters."
    _assert_same(estimator.predict(songs()[0]), _fit_once(case)[1])


def check_pickles_predict_the_same(case: EstimatorCase) -> None:
    restored = pickle.loads(pickle.dumps(_fitted(case)))
    _assert_same(restored.predict(songs()[0]), _fit_once(case)[1])


def check_one_by_one(case: EstimatorCase) -> None:
    """The result of a track does not depend on other tracks."""
    for index, mixture in enumerate(songs()[0]):
        _assert_same(_fitted(case).predict([mixture]), _fit_once(case)[1][index : index + 1])


def check_score(case: EstimatorCase) -> None:
    score = _fitted(case).score(songs()[0], _stems())
    assert isinstance(score, float)
    assert np.isfinite(score)
    weighted = _fitted(case).score(songs()[0], _stems(), sample_weight=[0, 1, 0])
    alone = _fitted(case).score(songs()[0][1:2], _stems()[1:2])
    np.testing.assert_allclose(weighted, alone, rtol=0.0, atol=1e-6)


def check_cross_validation(case: EstimatorCase) -> None:
    estimator = clone(case.estimator)
    scores = cross_val_score(estimator, songs()[0], _stems(), cv=3, error_score="raise")
    assert np.isfinite(scores).all()


def check_targets_of_one_stem(case: EstimatorCase) -> None:
    for y in (songs()[1], None):
        with raises(TypeError, "all stems"):
            clone(case.estimator).fit(songs()[0], y)
