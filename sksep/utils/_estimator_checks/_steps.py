"""Checks of every step of a pipeline: inputs that it takes, and objects that it must not change."""

from __future__ import annotations

import inspect
import pickle
import tempfile
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import train_test_split
from sklearn.utils import get_tags
from sklearn.utils.validation import check_is_fitted

from sksep.base._batch import TrackBatch
from sksep.utils._arrays import object_array
from sksep.utils._estimator_checks._case import (
    EstimatorCase,
    arrays_of,
    assert_same,
    fingerprint,
    raises,
    small_chunker,
    songs,
)


def check_tags(case: EstimatorCase) -> None:
    tags = get_tags(case.estimator)
    assert not tags.input_tags.two_d_array, "Tracks are not 2-D arrays: set the tag to False."
    if not case.is_model:
        assert tags.transformer_tags is not None, "Derive the class from TransformerMixin."
    assert tags.estimator_type is None, "It is neither a classifier nor a regressor."
    if case.predicts:
        assert not tags.target_tags.required, "y is not required: batches carry the targets."
    if case.learns:
        assert tags.requires_fit


def check_y_comes_second(case: EstimatorCase) -> None:
    for name in ("fit", "fit_transform", "partial_fit", "score"):
        if hasattr(case.estimator, name):
            parameters = list(inspect.signature(getattr(case.estimator, name)).parameters)
            assert parameters[:2] == ["X", "y"], name


def check_fit_returns_self(case: EstimatorCase) -> None:
    estimator = clone(case.estimator)
    assert estimator.fit(case.training_inputs, songs()[1]) is estimator
    check_is_fitted(estimator)


def check_parameters_are_not_changed(case: EstimatorCase) -> None:
    estimator = clone(case.estimator)
    before = fingerprint(estimator.get_params())
    estimator.fit(case.training_inputs, songs()[1])
    assert fingerprint(estimator.get_params()) == before, "fit must not change parameters."
    case.apply(estimator, case.inputs)
    assert fingerprint(estimator.get_params()) == before, "Predicting must not change parameters."


def check_numpy_values(case: EstimatorCase) -> None:
    """Parameters may be numpy's numbers, truth values and texts, as searches over arrays set."""
    kinds = {int: np.int64, float: np.float64, bool: np.bool_, str: np.str_}
    values = case.estimator.get_params(deep=False)
    given = {
        name: kinds[type(value)](value) for name, value in values.items() if type(value) in kinds
    }
    fitted = clone(case.estimator).set_params(**given).fit(case.training_inputs, songs()[1])
    assert_same(case.apply(fitted, case.inputs), case.outputs, 1e-5)


def check_predicting_changes_nothing(case: EstimatorCase) -> None:
    before = pickle.dumps(case.fitted)
    for method in case.methods("transform", "predict"):
        method(case.inputs)
    assert pickle.dumps(case.fitted) == before


def check_fitted_attributes_end_in_underscore(case: EstimatorCase) -> None:
    added = set(vars(case.fitted)) - set(case.fitted.get_params(deep=False))
    wrong = [name for name in added if not name.endswith("_") or name.startswith("_")]
    assert not wrong, f"Names of what is learned must end in an underscore alone, not {wrong}."


def check_unfitted(case: EstimatorCase) -> None:
    unfitted = clone(case.estimator)
    if not case.learns:
        # An estimator that learns nothing can be used without fit.
        assert_same(unfitted.transform(case.inputs), case.fitted.transform(case.inputs))
        return
    for name in ("transform", "predict", "predict_mask"):
        if hasattr(unfitted, name):
            with raises(NotFittedError, case.name):
                getattr(unfitted, name)(case.inputs)
    if hasattr(unfitted, "score"):
        with raises(NotFittedError, case.name):
            unfitted.score(case.inputs, songs()[1])
    with raises(NotFittedError, case.name):
        check_is_fitted(unfitted)


def check_collections(case: EstimatorCase) -> None:
    """Steps take batches and the lists of records that scikit-learn's indexing makes of them."""
    items = list(case.inputs)
    for container in (items, tuple(items), object_array(items)):
        assert_same(case.apply(case.fitted, container), case.outputs)
    picked, rest = train_test_split(case.inputs, shuffle=False, train_size=2)
    assert_same(case.apply(case.fitted, picked), case.outputs[:2])
    assert_same(case.apply(case.fitted, rest), case.outputs[2:])
    assert_same(case.apply(case.fitted, case.inputs[1:2]), case.outputs[1:2])


def check_raw_tracks(case: EstimatorCase) -> None:
    if case.takes_tracks:
        return
    paths = ["song.wav"] * len(songs()[0])
    for X in (songs()[0], songs()[0][0], paths, np.array(paths), paths[0], None):
        for method in case.methods("fit", "transform", "predict", "predict_mask", "score"):
            with raises(TypeError, "MelChunker"):
                method(X)


def check_no_tracks(case: EstimatorCase) -> None:
    names = ("transform", "predict", "predict_mask", "score")
    nothing: list[Any] = [[], () if case.takes_tracks else TrackBatch([])]
    for X in nothing:
        for method in case.methods(*names) if case.takes_tracks else case.methods("fit", *names):
            with raises(ValueError, "no tracks"):
                method(X)


def check_other_front_ends_are_not_mixed(case: EstimatorCase) -> None:
    if case.takes_tracks:
        return
    other = case.prepare(songs()[0], small_chunker().set_params(n_mels=30))
    with raises(ValueError, "different MelChunker settings"):
        case.fitted.transform([case.inputs[0], other[1]])
    if case.separates:
        # Some separators take every front end, others only the one that they were fitted with.
        with raises(ValueError, "other MelChunker settings", may_pass=True):
            case.fitted.transform(other)


def check_inputs_are_not_changed(case: EstimatorCase) -> None:
    mixtures, vocals = ([track.copy() for track in tracks] for tracks in songs())
    inputs = case.prepare(mixtures)
    training = case.with_targets(inputs, vocals)
    before = joblib.hash((mixtures, vocals, inputs, training))
    estimator = clone(case.estimator).fit(training, vocals)
    if not case.is_model:
        estimator.transform(inputs)
    if case.predicts:
        estimator.predict(inputs)
        estimator.score(inputs, vocals)
    assert joblib.hash((mixtures, vocals, inputs, training)) == before
    # The caller may still write to the arrays.
    assert all(track.flags.writeable for track in mixtures + vocals)


def check_inputs_may_be_read_only(case: EstimatorCase) -> None:
    """Inputs may be memory-mapped, as workers of joblib get them."""
    with tempfile.TemporaryDirectory() as folder:
        mapped = []
        for index, track in enumerate(songs()[0]):
            path = Path(folder) / f"{index}.npy"
            np.save(path, track)
            mapped.append(np.load(path, mmap_mode="r"))
        assert_same(case.apply(case.fitted, case.prepare(mapped)), case.outputs)
        del mapped


def check_what_travels_is_read_only(case: EstimatorCase) -> None:
    """Batches are immutable, also after the pickling that caches and workers do."""
    if case.inverts or case.is_model:
        return
    batch = case.fitted.transform(case.inputs)
    if get_tags(case.estimator).target_tags.required:
        batch = case.fitted.fit_transform(case.inputs, songs()[1])
    for container in (batch, pickle.loads(pickle.dumps(batch)), batch[:2], [batch[0]]):
        for record in container:
            for array in arrays_of(record):
                assert array.flags.c_contiguous
                with raises(ValueError, "read-only"):
                    array[...] = 0
    for name in ("shape", "iloc", "fit", "dtype", "__array__"):
        assert not hasattr(batch, name)


def check_pickles_predict_the_same(case: EstimatorCase) -> None:
    assert_same(case.apply(pickle.loads(pickle.dumps(case.fitted)), case.inputs), case.outputs)
    with tempfile.TemporaryDirectory() as folder:
        joblib.dump(case.fitted, Path(folder) / "estimator.joblib")
        restored = joblib.load(Path(folder) / "estimator.joblib")
    assert_same(case.apply(restored, case.inputs), case.outputs)


def check_fitting_again_predicts_the_same(case: EstimatorCase) -> None:
    """With an integer as random state, earlier draws of numpy and torch have no influence."""
    again = case.fit_clone()
    assert_same(case.apply(again, case.inputs), case.outputs)
    assert_same(case.apply(clone(again).fit(case.training_inputs), case.inputs), case.outputs)


def check_global_random_states_are_left_alone(case: EstimatorCase) -> None:
    """Fitting with an integer as random state, and predicting with any, draw from no global one."""
    before = torch.get_rng_state(), joblib.hash(np.random.get_state())  # noqa: NPY002
    fitted = case.fit_clone()
    if "random_state" in fitted.get_params(deep=False):
        fitted.set_params(random_state=None)
    case.apply(fitted, case.inputs)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert joblib.hash(np.random.get_state()) == before[1]  # noqa: NPY002


def check_one_by_one(case: EstimatorCase) -> None:
    """The result of a track depends neither on other tracks nor on their order."""
    parts = [case.apply(case.fitted, case.inputs[i : i + 1])[0] for i in range(len(case.inputs))]
    assert_same(parts, list(case.outputs))
    assert_same(list(case.apply(case.fitted, case.inputs[::-1])), list(case.outputs)[::-1])
