"""Checks of separators, the estimators of masks."""

from __future__ import annotations

import numpy as np
from sklearn.base import clone

from sksep.base._batch import TrackBatch
from sksep.base._separator import BaseSeparator
from sksep.transformers import GriffinLimInverter
from sksep.utils._estimator_checks._case import EstimatorCase, assert_same, raises, songs


def check_base_class(case: EstimatorCase) -> None:
    assert isinstance(case.estimator, BaseSeparator), "Derive it from sksep.base.BaseSeparator."


def check_masks(case: EstimatorCase) -> None:
    masks = case.fitted.predict_mask(case.inputs)
    assert masks.dtype == object
    assert masks.shape == (len(case.inputs),)
    for mask, record in zip(masks, case.inputs, strict=True):
        assert mask.shape == record.spectrogram.shape
        assert mask.dtype == np.float32
        assert mask.min() >= 0.0, "Masks lie in [0, 1]."
        assert mask.max() <= 1.0, "Masks lie in [0, 1]."


def check_transform_attaches_the_masks(case: EstimatorCase) -> None:
    batch = case.fitted.transform(case.inputs)
    assert isinstance(batch, TrackBatch)
    assert_same([record.mask for record in batch], list(case.fitted.predict_mask(case.inputs)))
    for before, after in zip(case.inputs, batch, strict=True):
        assert before.mask is None
        assert after.track is before.track
        assert np.shares_memory(after.levels, before.levels)


def check_inverter_without_iterations_changes_nothing(case: EstimatorCase) -> None:
    inverter = GriffinLimInverter(n_iter=0).fit(case.inputs)
    assert_same(inverter.predict(case.fitted.transform(case.inputs)), case.outputs)


def check_truth_is_not_used_when_predicting(case: EstimatorCase) -> None:
    """Targets that are still attached do not alter the estimates."""
    assert_same(case.fitted.predict(case.training_inputs), case.outputs)


def check_targets_are_asked_for(case: EstimatorCase) -> None:
    """Fitting without the truth works, or fails with a message that names the remedy."""
    with raises(ValueError, "MaskBuilder", may_pass=not case.needs_targets):
        clone(case.estimator).fit(case.inputs, songs()[1])
