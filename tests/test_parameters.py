"""Declared parameters have one place each and are checked by name before data is read."""

import inspect
import re
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.cluster import KMeans
from skorch.callbacks import EpochTimer

import sksep
from sksep import GriffinLimInverter, MaskBuilder, MelChunker, UNetSeparator
from sksep.base import BaseSeparator, TrackBatch
from sksep.separators import NetSeparator
from sksep.training import Augmentation
from sksep.training._parameters import TrainingParameters
from sksep.utils import all_estimators
from sksep.utils._parameters import Estimator, declared_parameters, parameters_without

_TRAINED = [cls for _, cls in all_estimators() if issubclass(cls, NetSeparator)]
_OWN = [cls for _, cls in all_estimators() if issubclass(cls, Estimator)]
_TRAINING = [field.name for field in fields(TrainingParameters)]
# Constructors in which the first parameter may be given by position.
_POSITIONAL = {
    "ModuleSeparator": "module",
    "MultiTargetSeparator": "estimator",
    "OracleMaskSeparator": "kind",
    "TestTimeAugmentation": "estimator",
    "VotingSeparator": "estimators",
    "WaveformCache": "folder",
}


@pytest.mark.parametrize("estimator_class", _OWN)
def test_parameters_are_keyword_only(estimator_class):
    parameters = list(inspect.signature(estimator_class).parameters.values())
    positional = [each.name for each in parameters if each.kind is not each.KEYWORD_ONLY]
    first = _POSITIONAL.get(estimator_class.__name__)
    assert positional == ([first] if first else [])


@pytest.mark.parametrize("estimator_class", _OWN)
def test_all_parameters_have_constraints(estimator_class):
    declared = declared_parameters(estimator_class)
    assert {field.name for field in declared} == set(inspect.signature(estimator_class).parameters)
    assert [field.name for field in declared if "constraint" not in field.metadata] == []
    required = {"FunctionSeparator": {"function": abs}, "OnnxSeparator": {"path": "model.onnx"}}
    estimator = estimator_class(**required.get(estimator_class.__name__, {}))
    estimator._check_parameters()  # the defaults are valid


@pytest.mark.parametrize("estimator_class", _TRAINED)
def test_parameters_of_training_stand_once(estimator_class):
    """Their defaults and texts come from one class, and are in every signature and docstring."""
    signature = inspect.signature(estimator_class).parameters
    assert list(signature)[-len(_TRAINING) :] == _TRAINING
    for field in fields(TrainingParameters):
        assert signature[field.name].default == field.default
        shown = f'"{field.default}"' if isinstance(field.default, str) else repr(field.default)
        line = f"\n{field.name} : {field.metadata['kind']}, default={shown}\n"
        assert estimator_class.__doc__.count(line) == 1
    source = Path(inspect.getfile(estimator_class)).read_text(encoding="utf-8")
    declared = re.findall(r"^    (\w+): ", source, re.MULTILINE)
    assert set(declared) & set(_TRAINING) == set()


def test_no_other_file_declares_parameters_of_training():
    package = Path(sksep.__file__).parent
    peers = {path.name for path in (package / "peers").glob("*.py")}  # nothing trains them
    declarations = re.compile(rf"^    ({'|'.join(_TRAINING)}): .*= parameter\(", re.MULTILINE)
    found = {
        (path.name, name)
        for path in package.rglob("*.py")
        if path.name not in peers
        for name in declarations.findall(path.read_text(encoding="utf-8"))
    }
    random_states = {("_inverter.py", "random_state"), ("_nmf.py", "random_state")}
    cache = {("_cache.py", "verbose")}
    assert found == {("_parameters.py", name) for name in _TRAINING} | random_states | cache


def test_what_is_not_saved_and_what_alters_no_training():
    assert parameters_without(UNetSeparator, "is_saved") == {"callbacks", "checkpoint"}
    assert parameters_without(MelChunker, "is_saved") == {"cache"}
    assert parameters_without(Augmentation, "is_saved") == {"vocals_pool", "accompaniment_pool"}
    unaltered = {"accelerate", "callbacks", "checkpoint", "verbose", "warm_start"}
    assert parameters_without(UNetSeparator, "alters_training") == unaltered
    assert parameters_without(sksep.UHNetSeparator, "alters_training") == unaltered | {"clustering"}
    clustered = parameters_without(sksep.DeepClusteringSeparator, "alters_training")
    assert clustered == unaltered | {"clusterer"}
    assert parameters_without(BaseSeparator, "is_saved") == frozenset()


_WRONG = [
    ("early_stopping", "no", "early_stopping must be True or False, got 'no'"),
    ("warm_start", 1, "warm_start must be True or False, got 1"),
    ("accelerate", None, "accelerate must be True or False, got None"),
    ("n_iter_no_change", -1, r"n_iter_no_change must be in \[1, \d+\], got -1"),
    ("callbacks", 5, "callbacks must be a list of skorch callbacks or None, got 5"),
    ("callbacks", [5], r"callbacks\[0\] must be a skorch callback.* got 5"),
    ("net_params", 5, "net_params must be a dict whose keys are strings, got 5"),
    ("net_params", {"lr": 1.0}, "net_params must not hold lr"),
    ("checkpoint", 5, "checkpoint must be a path, got 5"),
    ("random_state", "x", "random_state must be None, an integer or .*; got 'x'"),
    ("random_state", -1, r"random_state must be in \[0, 4294967295\], got -1"),
    ("optimizer", "adagrad", "optimizer must be one of .* got 'adagrad'"),
    ("optimizer", torch.optim.LBFGS, "optimizer=LBFGS evaluates a batch several times"),
    ("optimizer", np.zeros(2), "optimizer must be one of .* got array"),
    ("schedule", np.zeros(2), "schedule must be one of None, 'cosine', 'one_cycle'; got array"),
    ("precision", np.zeros(2), "precision must be one of .* got array"),
    ("lr", "fast", "lr must be a number, got 'fast'"),
    ("lr", 0.0, r"lr must be in \(0, inf\], got 0.0"),
    ("lr", float("nan"), "lr must be in .* got nan"),
    ("weight_decay", -1, "weight_decay must be in .* got -1"),
    ("gradient_clipping", 0, "gradient_clipping must be in .* got 0"),
    ("weight_averaging", 0, r"weight_averaging must be in \(0, 1\), got 0"),
    ("weight_averaging", 1.0, r"weight_averaging must be in \(0, 1\), got 1.0"),
    ("weight_averaging", -0.1, r"weight_averaging must be in \(0, 1\), got -0.1"),
    ("weight_averaging", float("nan"), r"weight_averaging must be in \(0, 1\), got nan"),
    ("weight_averaging", "x", "weight_averaging must be a number, got 'x'"),
    ("weight_averaging", True, "weight_averaging must be a number, got True"),
    ("batch_size", 2.0, "batch_size must be an integer, got 2.0"),
    ("max_epochs", True, "max_epochs must be an integer, got True"),
    ("excerpts_per_epoch", 0, r"excerpts_per_epoch must be in \[1, \d+\], got 0"),
    ("validation_fraction", 1.0, r"validation_fraction must be in \[0, 1\), got 1.0"),
    ("augmentation", "yes", "augmentation must be True, False, None or an Augmentation; got 'yes'"),
    ("augmentation", Augmentation(true_pairs=2), r"true_pairs must be in \[0, 1\], got 2"),
    ("device", 5, "device must be 'auto', 'cpu', 'cuda' or 'mps'; got 5"),
    ("device", "tpu", "device must be 'auto', 'cpu', 'cuda' or 'mps'; got 'tpu'"),
    ("verbose", "yes", "verbose must be an integer, got 'yes'"),
    ("loss", "l3", "loss must be one of 'bce'.* got 'l3'"),
    ("loss", np.zeros(2), "loss must be one of .* got array"),
    ("n_filters", 0, r"n_filters must be in \[1, \d+\], got 0"),
    ("skip", 5, "skip must be one of .* got 5"),
]


class _UnreadBatch(TrackBatch):
    """A batch that no check of parameters may look at."""

    def __init__(self):
        super().__init__([])

    def __len__(self):
        raise AssertionError("The tracks were read before the parameters were checked.")

    __iter__ = __getitem__ = __len__


@pytest.mark.parametrize(("name", "value", "message"), _WRONG)
@pytest.mark.parametrize("method", ["fit", "partial_fit", "fit_transform"])
def test_wrong_parameters_are_named_before_any_track_is_read(method, name, value, message):
    separator = UNetSeparator(**{name: value})
    with pytest.raises((TypeError, ValueError), match=message):
        getattr(separator, method)(_UnreadBatch())
    assert not hasattr(separator, "net_")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (KMeans, r"clusterer must be a clusterer .*KMeans\(2\); got <class"),
        (KMeans(1), "clusterer has n_clusters=1.*set clusterer__n_clusters=2"),
        ("kmeans", "clusterer must be a clusterer"),
    ],
)
def test_wrong_clusterers(value, message):
    for estimator_class in (sksep.DeepClusteringSeparator, sksep.HybridClusteringSeparator):
        with pytest.raises((TypeError, ValueError), match=message):
            estimator_class(clusterer=value).fit(_UnreadBatch())


@pytest.mark.parametrize(
    "estimator",
    [
        MaskBuilder(silence_threshold=1.0),
        GriffinLimInverter(momentum=1.0),
        sksep.HPSSSeparator(long_kernel=(17, 0)),
        sksep.RepetSimSeparator(neighbor_share=0.0),
        sksep.RobustPCASeparator(mask="hard"),
        sksep.NMFSeparator(random_state="x"),
        sksep.OracleMaskSeparator("true"),
    ],
)
def test_other_estimators_check_before_they_read(estimator):
    with pytest.raises((TypeError, ValueError), match=r"must be"):
        clone(estimator).fit(_UnreadBatch())


def test_chunkers_check_before_they_read(tmp_path):
    for parameters in ({"overlap": 1.0}, {"cache": 5}, {"n_fft": 511}, {"n_mels": 0}):
        with pytest.raises((TypeError, ValueError), match=next(iter(parameters))):
            MelChunker(**parameters).fit_transform([tmp_path / "absent.wav"])


def test_callbacks_of_skorch_are_taken():
    UNetSeparator(callbacks=[EpochTimer(), ("timer", EpochTimer())])._check_parameters()


def test_subclasses_have_parameters_of_their_own():
    @dataclass(kw_only=True, eq=False, repr=False)
    class Wider(UNetSeparator):
        width: int = 3

    separator = clone(Wider(width=5, lr=0.1))
    assert (separator.width, separator.lr, separator.n_filters) == (5, 0.1, 16)
    assert repr(separator) == "Wider(lr=0.1, width=5)"
    separator._check_parameters()


def test_masks_are_inverted_where_they_were_estimated(monkeypatch):
    """Separators, inverters and streams all invert on the device of the separator."""
    from sksep.base import _inversion

    asked = []

    def spied(device):
        asked.append(str(device))
        return torch.device("cpu")

    monkeypatch.setattr(_inversion, "_inversion_device", spied)
    monkeypatch.setattr(UNetSeparator, "_device", lambda _: torch.device("cuda", 1))
    monkeypatch.setattr(
        UNetSeparator, "_estimate_mask", lambda _, record: np.ones_like(record.spectrogram)
    )
    chunker = MelChunker(n_mels=32)
    batch = chunker.transform([np.random.default_rng(0).normal(0, 0.1, 8000)])
    separator = UNetSeparator()
    separator.net_, separator.front_end_ = None, batch[0].front_end
    separator.level_ = None
    separator.predict(batch)
    GriffinLimInverter().predict(separator.transform(batch))
    pipeline = sksep.presets.unet_pipeline()
    pipeline.steps = [("chunk", chunker), ("separate", separator)]
    sksep.StreamingSeparator(pipeline)
    assert asked == ["cuda:1"] * 3


def test_other_devices_than_cuda_invert_on_the_cpu():
    from sksep.base._inversion import _inversion_device

    for name in ("cpu", "mps"):
        assert _inversion_device(name) == torch.device("cpu")
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert _inversion_device("cuda").type == expected
