"""Every public estimator passes the shared checks, and the checks find mistakes."""

from __future__ import annotations

import inspect
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from instances import VARIANTS, cases_of
from sklearn.utils import get_tags
from torch import nn

from sksep import (
    GriffinLimInverter,
    MaskBuilder,
    MelChunker,
    MixtureSeparator,
    ModuleSeparator,
    persistence,
)
from sksep.base import (
    BaseSeparator,
    TrackBatch,
    TrackRecord,
    as_batch,
    training_batch,
)
from sksep.base._loaded_separator import LoadedSeparator
from sksep.nn.front_end import FrontEnd
from sksep.separators import NetSeparator
from sksep.utils import all_estimators
from sksep.utils._estimator_checks import _masks, _multi_target, _parameters, _steps, _waveforms
from sksep.utils._estimator_checks._case import (
    SAMPLE_RATE,
    EstimatorCase,
    assert_same,
    small_chunker,
    songs,
)
from sksep.utils.estimator_checks import check_estimator, checks_of, parametrize_with_checks

_CASES = [case for _, estimator_class in all_estimators() for case in cases_of(estimator_class)]
# Estimators that only hold parameters and never see tracks.
_PARAMETER_OBJECTS = {"Augmentation", "FlooredSNRScorer", "NSDRScorer", "WaveformCache"}
# Whole models, which are no steps of a pipeline.
_MODELS = {"MultiTargetSeparator"}


# Checks for estimators of sksep only.


def check_doc_lists_parameters_in_order(case: EstimatorCase) -> None:
    init = type(case.estimator).__init__
    parameters = [] if init is object.__init__ else inspect.signature(init).parameters
    names = [name for name in parameters if name != "self"]
    doc = inspect.getdoc(type(case.estimator)) or ""
    section = doc.partition("Parameters\n----------\n")[2].split("\n\n")[0]
    documented = [
        name.strip()
        for line in section.splitlines()
        if " : " in line and not line.startswith(" ")
        for name in line.partition(" : ")[0].split(",")
    ]
    assert documented == names


def check_kind(case: EstimatorCase) -> None:
    tags = get_tags(case.estimator)
    is_model = hasattr(case.estimator, "_open_stream")
    assert case.is_model == is_model
    assert tags.input_tags.string == (isinstance(case.estimator, MelChunker) or is_model)
    assert tags.target_tags.required == isinstance(case.estimator, MaskBuilder)
    assert case.inverts == isinstance(case.estimator, GriffinLimInverter)
    assert case.learns == (case.separates or is_model)


def check_other_front_ends_are_refused(case: EstimatorCase) -> None:
    if case.separates:
        other = case.prepare(songs()[0], small_chunker().set_params(n_mels=30))
        with pytest.raises(ValueError, match="other MelChunker settings"):
            case.fitted.transform(other)


def check_saved_predicts_the_same(case: EstimatorCase, folder: Path) -> None:
    if isinstance(case.estimator, LoadedSeparator):
        with pytest.raises(ValueError, match=r"cannot store sksep\.peers\..*joblib"):
            persistence.save(case.fitted, folder / "estimator.safetensors")
        return
    if isinstance(case.estimator, ModuleSeparator):
        with pytest.raises(ValueError, match="holds no code"):
            persistence.save(case.fitted, folder / "estimator.safetensors")
        return
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The file does not hold callbacks", UserWarning)
        persistence.save(case.fitted, folder / "estimator.safetensors")
    restored = persistence.load(folder / "estimator.safetensors")
    assert type(restored) is type(case.estimator)
    assert_same(case.apply(restored, case.inputs), case.outputs)


def _all_checks_of(case: EstimatorCase) -> list[Callable[..., None]]:
    checks: list[Callable[..., None]] = [*checks_of(case), check_doc_lists_parameters_in_order]
    if case.sees_tracks and not case.separates_all:
        own = (check_kind, check_other_front_ends_are_refused, check_saved_predicts_the_same)
        checks += own
    return checks


@pytest.mark.parametrize(
    ("case", "check"),
    [
        pytest.param(case, check, id=f"{case}-{check.__name__}")
        for case in _CASES
        for check in _all_checks_of(case)
    ],
)
def test_public_estimator(case: EstimatorCase, check: Callable[..., None], tmp_path: Path) -> None:
    check(*((case, tmp_path) if check is check_saved_predicts_the_same else (case,)))


def test_public_estimators_are_found() -> None:
    found = dict(all_estimators())
    assert {"MelChunker", "MaskBuilder", "UNetSeparator", "GriffinLimInverter"} <= set(found)
    assert {case.name for case in _CASES if not case.sees_tracks} == _PARAMETER_OBJECTS
    assert set(VARIANTS) <= set(found)
    assert list(found) == sorted(found)
    assert not {"BaseSeparator", "NetSeparator", "WaveformSeparator"} & set(found)


def test_public_estimators_by_type() -> None:
    parts = [dict(all_estimators(kind)) for kind in ("separator", "transformer")]
    ensembles = {"TestTimeAugmentation", "VotingSeparator"}
    kinds = (BaseSeparator, LoadedSeparator)
    others = {name for name, cls in parts[0].items() if not issubclass(cls, kinds)}
    assert others == ensembles
    assert set(parts[1]) == {"MelChunker", "MaskBuilder", "GriffinLimInverter"}
    assert set(dict(all_estimators())) == {*parts[0], *parts[1], *_PARAMETER_OBJECTS, *_MODELS}
    with pytest.raises(ValueError, match="type_filter"):
        all_estimators("classifier")


class Constant(BaseSeparator):
    """A minimal separator, whose mask has one value in all bins.

    Parameters
    ----------
    share : float
        Value of the mask.
    """

    def __init__(self, share: float = 0.5) -> None:
        self.share = share

    def _estimate_mask(self, record: TrackRecord) -> np.ndarray:
        return np.full_like(record.spectrogram, self.share)


@dataclass(kw_only=True, eq=False, repr=False)
class OneLayer(NetSeparator):
    """The least that a separator must do that trains a network."""

    kernel_size: int = 3

    def _network(self, front_end: FrontEnd) -> nn.Module:
        return nn.Conv2d(1, 1, self.kernel_size, padding="same")


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
            X = small_chunker().transform(X)
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


class _ForgetsTargets(Constant):
    def fit(self, X: Any, y: Any = None) -> Constant:
        self.share_ = np.mean([record.targets.proportion_mask.mean() for record in X])
        return super().fit(X)


class _NeedsTargets(Constant):
    def fit(self, X: Any, y: Any = None) -> Constant:
        return super().fit(training_batch(X, user="_NeedsTargets"))


class _OneFrontEnd(Constant):
    def fit(self, X: Any, y: Any = None) -> Constant:
        self.n_bands_ = as_batch(X, user="_OneFrontEnd")[0].front_end.n_bands
        return self

    def _estimate_mask(self, record: TrackRecord) -> np.ndarray:
        return super()._estimate_mask(record) * np.ones(self.n_bands_)


class _NoDefault(Constant):
    def __init__(self, share: float) -> None:
        self.share = share


class _ListsPredictions(Constant):
    def predict(self, X: Any) -> Any:
        return list(super().predict(X))


def test_every_check_is_run() -> None:
    run = {check for case in _CASES for check in checks_of(case)}
    modules = (_masks, _multi_target, _parameters, _steps, _waveforms)
    defined = {
        value
        for module in modules
        for name, value in vars(module).items()
        if name.startswith("check_") and value.__module__ == module.__name__
    }
    assert run == defined
    assert len(run) >= 34


@parametrize_with_checks(
    [Constant(), _NeedsTargets(share=0.25), OneLayer(kernel_size=5, max_epochs=1, device="cpu")]
)
def test_the_least_separators_pass(estimator: Any, check: Callable[[Any], None]) -> None:
    check(estimator)


def test_checks_have_readable_names_and_share_what_is_fitted() -> None:
    mark = parametrize_with_checks([Constant(), Constant(share=0.25)])
    names, parameters = mark.args
    assert names == ("estimator", "check")
    assert parameters[0].id == "Constant()-check_defaults"
    assert parameters[-1].id == "Constant(share=0.25)-check_targets_are_asked_for"
    assert len({parameter.id for parameter in parameters}) == len(parameters)
    first, second = (parameter.values[1].args[1] for parameter in parameters[:2])
    assert first is second
    # A check can be run with another estimator than the one that it is listed with.
    with pytest.raises(AssertionError, match="0, 1"):
        parameters[-5].values[1](_Amplifies())


@pytest.mark.parametrize("wrong", [Constant, "Constant", None])
def test_only_instances_are_checked(wrong: Any) -> None:
    with pytest.raises(TypeError, match="instance of an estimator"):
        check_estimator(wrong)
    with pytest.raises(TypeError, match="instance of an estimator"):
        parametrize_with_checks([MixtureSeparator(), wrong])


@pytest.mark.slow
def test_estimators_are_checked_without_pytest() -> None:
    code = """
import sys
sys.modules["pytest"] = None
from sksep import Augmentation, GriffinLimInverter, MaskBuilder, MelChunker, MixtureSeparator
from sksep.utils.estimator_checks import check_estimator
for cls in (Augmentation, GriffinLimInverter, MaskBuilder, MelChunker, MixtureSeparator):
    check_estimator(cls())
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("broken", "check"),
    [
        (_ChangesParameter, _steps.check_parameters_are_not_changed),
        (_PlainAttribute, _steps.check_fitted_attributes_end_in_underscore),
        (_NeverUnfitted, _steps.check_unfitted),
        (_TakesRawTracks, _steps.check_raw_tracks),
        (_Remembers, _steps.check_one_by_one),
        (_Remembers, _steps.check_predicting_changes_nothing),
        (_OneFrontEnd, _steps.check_other_front_ends_are_not_mixed),
        (_Cheats, _masks.check_truth_is_not_used_when_predicting),
        (_ForgetsTargets, _masks.check_targets_are_asked_for),
        (_Random, _steps.check_fitting_again_predicts_the_same),
        (_Random, _steps.check_global_random_states_are_left_alone),
        (_Amplifies, _masks.check_masks),
        (_LosesChannels, _waveforms.check_predictions),
        (_ListsPredictions, _waveforms.check_predictions),
    ],
)
def test_broken_separator_is_found(
    broken: type[Constant], check: Callable[[EstimatorCase], None]
) -> None:
    # Errors of the separator itself are passed on.
    with pytest.raises(AttributeError if broken is _ForgetsTargets else AssertionError):
        check(EstimatorCase(broken()))


def test_defaults_are_asked_for() -> None:
    with pytest.raises(AssertionError, match="defaults of \\['share'\\]"):
        check_estimator(_NoDefault(0.5))
