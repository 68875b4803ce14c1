"""Saving and loading: round trips, further training, altered files, and errors."""

import errno
import json
import os
import pickle
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import safetensors
import safetensors.torch
import torch
from helpers import assert_same, four_steps, small
from sklearn import config_context
from sklearn.base import BaseEstimator, clone
from sklearn.cluster import (
    DBSCAN,
    AgglomerativeClustering,
    Birch,
    BisectingKMeans,
    KMeans,
    MiniBatchKMeans,
    SpectralClustering,
)
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

import sksep
from sksep import (
    Augmentation,
    DeepClusteringSeparator,
    GriffinLimInverter,
    MaskBuilder,
    MelChunker,
    UNetSeparator,
    WaveformCache,
)
from sksep.persistence._decoder import Decoder
from sksep.persistence._encoder import Encoder
from sksep.persistence._file import digest, text_digest

_RATE = 4000


def _songs() -> tuple[list[np.ndarray], list[np.ndarray]]:
    random = np.random.default_rng(0)
    time = np.arange(3 * _RATE // 2) / _RATE
    vocals = [
        (0.3 * np.sin(2 * np.pi * pitch * time) * (time > 0.3)).astype(np.float32)
        for pitch in (220.0, 330.0, 440.0)
    ]
    mixtures = [part + random.normal(0, 0.1, part.shape).astype(np.float32) for part in vocals]
    return mixtures, vocals


_MIXTURES, _VOCALS = _songs()


_separator = partial(small, max_epochs=2, validation_fraction=0.34)


def _pipeline(**parameters: object) -> Pipeline:
    front_end = {"sample_rate": _RATE, "n_mels": 16, "n_frames": 32}
    chunker = {f"chunk__{name}": value for name, value in front_end.items()}
    return four_steps(separate=_separator(**parameters), **chunker)


@pytest.fixture(scope="module")
def fitted() -> Pipeline:
    return _pipeline().fit(_MIXTURES, _VOCALS)


@pytest.fixture(scope="module")
def saved(fitted: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("saved") / "vocals.safetensors"
    sksep.save(fitted, path)
    return path


def _round_trip(estimator: object, folder: Path) -> object:
    path = folder / "estimator.safetensors"
    sksep.save(estimator, path, overwrite=True)
    return sksep.load(path)


def _decoded(value: object) -> object:
    encoder = Encoder()
    encoded = json.loads(json.dumps(encoder.value(value, ("name",)), allow_nan=False))
    return Decoder(encoder.tensors).value(encoded)


def _parameters(estimator: object) -> dict[str, object]:
    """All parameters that are not estimators themselves, with their types."""
    return {
        name: (type(value), value)
        for name, value in estimator.get_params().items()
        if not isinstance(value, BaseEstimator) and not name.endswith("steps")
    }


# Round trips


def test_pipeline_predicts_the_same(fitted: Pipeline, saved: Path) -> None:
    loaded = sksep.load(saved)
    assert_same(loaded.predict(_MIXTURES), fitted.predict(_MIXTURES))
    assert loaded.score(_MIXTURES, _VOCALS) == fitted.score(_MIXTURES, _VOCALS)
    assert _parameters(loaded) == _parameters(fitted)
    assert [name for name, _ in loaded.steps] == [name for name, _ in fitted.steps]


def test_step_predicts_the_same(fitted: Pipeline, tmp_path: Path) -> None:
    batch = fitted[0].transform(_MIXTURES)
    separator = fitted["separate"]
    loaded = _round_trip(separator, tmp_path)
    assert_same(loaded.predict_mask(batch), separator.predict_mask(batch))
    assert_same(loaded.predict(batch), separator.predict(batch))
    assert not loaded.net_.module_.training
    assert loaded.front_end_ == separator.front_end_
    assert loaded.n_epochs_ == separator.n_epochs_ == 2
    assert loaded.loss_curve_ == separator.loss_curve_
    assert loaded.validation_loss_curve_ == separator.validation_loss_curve_
    columns = ("epoch", "train_loss", "valid_loss", "dur")
    assert loaded.history_[:, columns] == separator.history_[:, columns]


def test_loaded_estimator_can_be_pickled_cloned_and_saved(
    fitted: Pipeline, saved: Path, tmp_path: Path
) -> None:
    loaded = sksep.load(saved)
    expected = fitted.predict(_MIXTURES)
    assert_same(pickle.loads(pickle.dumps(loaded)).predict(_MIXTURES), expected)
    assert_same(_round_trip(loaded, tmp_path).predict(_MIXTURES), expected)
    assert not hasattr(clone(loaded)["separate"], "net_")


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_training_goes_on_after_loading(fitted: Pipeline, tmp_path: Path, method: str) -> None:
    # Training continues the weights, but not the optimizer's averages, which are not stored.
    batch = fitted["mask"].fit_transform(fitted["chunk"].transform(_MIXTURES), _VOCALS)
    original = _separator(warm_start=True, schedule="cosine", loss="l1", optimizer="sgd").fit(batch)
    loaded = _round_trip(original, tmp_path)
    getattr(original, method)(batch)
    getattr(loaded, method)(batch)
    assert loaded.loss_curve_ == original.loss_curve_
    assert len(loaded.loss_curve_) > 2
    assert loaded.validation_loss_curve_ == original.validation_loss_curve_
    assert_same(loaded.predict_mask(batch), original.predict_mask(batch))


@pytest.mark.parametrize(
    "estimator",
    [
        MelChunker(n_mels=None, overlap=0.25),
        MaskBuilder(ratio="magnitude"),
        GriffinLimInverter(init="random", random_state=3),
        UNetSeparator(architecture="singing_voice", n_levels=6, augmentation=False),
        Augmentation(gain_range=(-6, 6.0), noise_snr=np.float32(30.5).item()),
        _pipeline(augmentation=Augmentation(speed_range=(0.9, 1.1)), weight_averaging=0.99),
        Augmentation(vocals_speed_range=(0.8, 1.25), formant_range=(0.9, 1)),
        Pipeline([("chunk", MelChunker()), ("nothing", "passthrough")]),
        Pipeline([("inner", Pipeline([("chunk", MelChunker())])), ("mask", MaskBuilder())]),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_unfitted(estimator: BaseEstimator, tmp_path: Path) -> None:
    loaded = _round_trip(estimator, tmp_path)
    assert type(loaded) is type(estimator)
    assert _parameters(loaded) == _parameters(estimator)
    assert repr(loaded) == repr(estimator)
    separator = loaded.named_steps.get("separate") if isinstance(loaded, Pipeline) else loaded
    assert not hasattr(separator, "net_")


@pytest.mark.parametrize(
    "value",
    [
        None,
        {},
        {"optimizer__momentum": 0.5, "deep": {"tuple": (1, (2.0, None)), "list": [True, "a"]}},
        {"empty": (), "infinite": float("-inf"), "small": 5e-324, "text": 'ä " \n'},
    ],
)
def test_values_keep_their_types(value: object) -> None:
    assert repr(_decoded(value)) == repr(value)


def test_not_a_number_numpy_scalars_and_arrays() -> None:
    given = {
        "nan": float("nan"),
        "scalar": np.float32(0.1),
        "flag": np.True_,
        "matrix": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "zero_d": np.array(3, dtype=np.int16),
        "other_byte_order": np.array([1, 2], dtype=">i4"),
        "empty": np.zeros((0, 2), dtype=np.float32),
        "bits": np.array([True, False]),
    }
    loaded = _decoded(given)
    assert np.isnan(loaded["nan"])
    assert loaded["scalar"] == float(np.float32(0.1))
    assert loaded["flag"] is True
    for name in ("matrix", "zero_d", "other_byte_order", "empty", "bits"):
        np.testing.assert_array_equal(loaded[name], given[name])
        assert loaded[name].dtype == given[name].dtype.newbyteorder("=")


def test_optimizer_class_of_torch(tmp_path: Path) -> None:
    assert _round_trip(UNetSeparator(optimizer=torch.optim.NAdam), tmp_path).optimizer is (
        torch.optim.NAdam
    )


@pytest.mark.parametrize(
    "clusterer",
    [
        KMeans(3, n_init=2, random_state=0),
        KMeans(2, init=np.eye(2, 3), n_init=1),
        GaussianMixture(2, covariance_type="diag"),
        BayesianGaussianMixture(n_components=2, mean_prior=np.zeros(3)),
        BisectingKMeans(2),
        Birch(n_clusters=KMeans(2)),
        DBSCAN(eps=0.1, metric="cosine"),
        SpectralClustering(2, affinity="nearest_neighbors"),
        AgglomerativeClustering(2, linkage="average"),
        MiniBatchKMeans(2, max_no_improvement=None),
        Pipeline([("clusters", KMeans(2))]),
    ],
    ids=lambda clusterer: type(clusterer).__name__,
)
def test_clusterers_are_stored_as_their_parameters(
    clusterer: BaseEstimator, tmp_path: Path
) -> None:
    fitted = clone(clusterer).fit(np.random.default_rng(0).normal(size=(30, 3)))
    loaded = _round_trip(DeepClusteringSeparator(clusterer=fitted, max_samples=1000), tmp_path)
    assert repr(loaded) == repr(DeepClusteringSeparator(clusterer=clusterer, max_samples=1000))
    assert not hasattr(loaded.clusterer, "labels_")
    assert not hasattr(loaded.clusterer, "means_")


def test_metadata_requests(tmp_path: Path) -> None:
    with config_context(enable_metadata_routing=True):
        inverter = GriffinLimInverter().set_score_request(sample_weight=True)
    loaded = _round_trip(Pipeline([("invert", inverter)]), tmp_path)["invert"]
    assert loaded.get_metadata_routing().score.requests == {"sample_weight": True}


def test_loading_leaves_the_random_state_alone(saved: Path) -> None:
    before = torch.get_rng_state()
    sksep.load(saved)
    assert torch.equal(torch.get_rng_state(), before)


# Files


def test_path_as_text(tmp_path: Path) -> None:
    path = os.fspath(tmp_path / "chunker.safetensors")
    sksep.save(MelChunker(n_mels=40), path)
    assert sksep.load(path).n_mels == 40


def test_no_pickle_in_the_file(saved: Path) -> None:
    with safetensors.safe_open(saved, framework="pt") as file:
        description = json.loads(file.metadata()["sksep"])
        names = list(file.keys())
    assert description["versions"]["sksep"] == sksep.__version__
    assert "separate.net.weights.mean" in names
    assert "separate.net.weights.network.head.weight" in names


def test_existing_file_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "chunker.safetensors"
    sksep.save(MelChunker(n_mels=40), path)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        sksep.save(MelChunker(n_mels=50), path)
    assert sksep.load(path).n_mels == 40
    sksep.save(MelChunker(n_mels=50), path, overwrite=True)
    assert sksep.load(path).n_mels == 50
    assert list(tmp_path.iterdir()) == [path]


def test_failed_write_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "chunker.safetensors"
    sksep.save(MelChunker(n_mels=40), path)

    def no_space(_: int) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match=r"chunker\.safetensors could not be written.*Make room"):
        sksep.save(MelChunker(n_mels=50), path, overwrite=True)
    assert sksep.load(path).n_mels == 40
    assert list(tmp_path.iterdir()) == [path]


def test_missing_file_and_folder(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.safetensors", tmp_path):
        with pytest.raises(FileNotFoundError, match=path.name):
            sksep.load(path)
    with pytest.raises(FileNotFoundError, match="create it first"):
        sksep.save(MelChunker(), tmp_path / "no" / "chunker.safetensors")


@pytest.mark.parametrize("content", [b"", b"hello", b"\x80\x04N.", bytes(100)])
def test_other_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "my%20other"
    path.write_bytes(content)
    with pytest.raises(ValueError, match="my%20other is damaged, or no safetensors file"):
        sksep.load(path)


def test_safetensors_file_of_others(tmp_path: Path) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(safetensors.torch.save({"weight": torch.ones(2)}))
    with pytest.raises(ValueError, match=r"was not written by sksep\.save"):
        sksep.load(path)


def test_truncated_file(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "half"
    path.write_bytes(saved.read_bytes()[:-100])
    with pytest.raises(ValueError, match="damaged"):
        sksep.load(path)


# Altered files


def _rewrite(
    saved: Path,
    path: Path,
    change: object,
    *,
    seal_tensors: bool = False,
    seal_text: bool = False,
) -> None:
    """Write a copy that `change` alters. It gets the tensors and the description to alter."""
    with safetensors.safe_open(saved, framework="pt") as file:
        metadata = file.metadata()
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    description = json.loads(metadata["sksep"])
    change(tensors, description)
    if seal_tensors:
        description["tensors_sha256"] = digest(tensors)
    metadata["sksep"] = json.dumps(description)
    if seal_text:
        metadata["sksep_sha256"] = text_digest(metadata["sksep"])
    path.write_bytes(safetensors.torch.save(tensors, metadata))


_HEAD = "separate.net.weights.network.head.weight"
_MEAN = "separate.net.weights.mean"


def _step(description: dict, index: int) -> dict:
    return description["estimator"]["parameters"]["steps"][index]["items"][1]


def _flip_bit(tensors: dict, _: dict) -> None:
    tensors[_HEAD].view(torch.uint8)[0] ^= 1


def _drop(tensors: dict, _: dict) -> None:
    del tensors[_HEAD]


def _add(tensors: dict, _: dict) -> None:
    tensors["surplus"] = torch.zeros(1)


def _reshape(tensors: dict, _: dict) -> None:
    tensors[_HEAD] = tensors[_HEAD].reshape(-1)


def _retype(tensors: dict, _: dict) -> None:
    tensors[_HEAD] = tensors[_HEAD].view(torch.int32)


def _swap(tensors: dict, _: dict) -> None:
    other = _MEAN.replace("mean", "scale")
    tensors[_MEAN], tensors[other] = tensors[other], tensors[_MEAN]


def _change_parameter(_: dict, description: dict) -> None:
    _step(description, 3)["parameters"]["n_iter"] = 5


def _change_network(_: dict, description: dict) -> None:
    _step(description, 2)["parameters"]["n_filters"] = 3


def _add_parameter(_: dict, description: dict) -> None:
    _step(description, 3)["parameters"]["unheard_of"] = 5


def _hide_method(_: dict, description: dict) -> None:
    _step(description, 3)["fitted"]["predict"] = 5


def _set_memory(_: dict, description: dict) -> None:
    description["estimator"]["parameters"]["memory"] = "folder"


def _hide_memory(_: dict, description: dict) -> None:
    description["estimator"]["fitted"]["memory"] = "folder"


def _set_callbacks(_: dict, description: dict) -> None:
    _step(description, 2)["parameters"]["callbacks"] = ["callback"]


def _set_pool(_: dict, description: dict) -> None:
    _step(description, 2)["parameters"]["augmentation"] = {
        "$type": "estimator",
        "class": "sksep.Augmentation",
        "parameters": {"vocals_pool": {"$type": "tuple", "items": ["voice.wav"]}},
        "fitted": {},
    }


def _change_class(_: dict, description: dict) -> None:
    _step(description, 3)["class"] = "subprocess.Popen"


def _newer_format(_: dict, description: dict) -> None:
    description["format_version"] = 99


def _no_format(_: dict, description: dict) -> None:
    del description["format_version"]


def _unknown_type(_: dict, description: dict) -> None:
    _step(description, 3)["parameters"]["n_iter"] = {"$type": "code"}


def _no_history(_: dict, description: dict) -> None:
    del _step(description, 2)["fitted"]["net"]["history"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_flip_bit, "tensor in .* was altered"),
        (_drop, "tensor in .* was altered"),
        (_add, "tensor in .* was altered"),
        (_reshape, "tensor in .* was altered"),
        (_retype, "tensor in .* was altered"),
        (_swap, "tensor in .* was altered"),
        (_change_parameter, "description in .* was altered"),
        (_change_class, "description in .* was altered"),
        (_no_format, "description in .* was altered"),
        (_newer_format, "format 99.*Upgrade"),
    ],
)
def test_altered(saved: Path, tmp_path: Path, change: object, message: str) -> None:
    path = tmp_path / "altered.safetensors"
    _rewrite(saved, path, change)
    with pytest.raises(ValueError, match=message):
        sksep.load(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (_drop, "KeyError: .*network.head.weight"),
        (_add, r"belong to no estimator: \['surplus'\]"),
        (_reshape, "do not fit"),
        (_change_network, "do not fit"),
        (_add_parameter, "unheard_of"),
        (_hide_method, "predict.*no fitted attributes"),
        (_set_memory, r"sets memory of sklearn\.pipeline\.Pipeline.*not trust"),
        (_hide_memory, "memory.*no fitted attributes"),
        (_set_callbacks, r"sets callbacks of sksep\.UNetSeparator"),
        (_set_pool, r"sets vocals_pool of sksep\.Augmentation"),
        (_change_class, r"the class .subprocess\.Popen"),
        (_unknown_type, "unknown type 'code'"),
        (_no_history, "history"),
    ],
)
def test_altered_with_fitting_checksums(
    saved: Path, tmp_path: Path, change: object, message: str
) -> None:
    path = tmp_path / "altered.safetensors"
    _rewrite(saved, path, change, seal_tensors=True, seal_text=True)
    with pytest.raises(ValueError, match=message):
        sksep.load(path)


def _set(index: int, **parameters: object) -> object:
    """A change of parameters of a step, and of the front ends if the step makes them."""

    def change(_: dict, description: dict) -> None:
        _step(description, index)["parameters"].update(parameters)
        for part in range(4) if index == 0 else ():
            _step(description, part)["fitted"].get("front_end_", {}).update(parameters)

    return change


def _both(*changes: object) -> object:
    return lambda *content: [change(*content) for change in changes]


def _describe(**fields: object) -> object:
    return lambda _, description: description.update(fields)


def _learn(**attributes: object) -> object:
    return lambda _, description: _step(description, 2)["fitted"].update(attributes)


def _weigh(name: str, value: float) -> object:
    def change(tensors: dict, _: dict) -> None:
        tensors[f"separate.net.weights.{name}"].view(-1)[0] = value

    return change


def _share(_: dict, description: dict) -> None:
    weights = _step(description, 2)["fitted"]["net"]["weights"]
    weights["mean"] = weights["scale"]


def _swap_steps(_: dict, description: dict) -> None:
    steps = description["estimator"]["parameters"]["steps"]
    steps[0], steps[2] = steps[2], steps[0]


def _nest(_: dict, description: dict) -> None:
    description["estimator"] = json.loads('{"a":' * 700 + "1" + "}" * 700)


_COMMAND = {"cpp.march": "native -wrapper sh,-c,'id>x'"}
_MODULE = {"$type": "estimator", "class": "sksep.ModuleSeparator", "parameters": {}, "fitted": {}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        # Code, files and processes.
        (_set(2, net_params={"compile": True}), r"sets net_params\['compile'\].*not trust"),
        (_set(2, net_params={"compile__options": _COMMAND}), r"sets net_params\['compile__opt"),
        (_set(2, net_params={"dataset": "x"}), r"sets net_params\['dataset'\]"),
        (_set(2, net_params={"optimizer__eps": "x"}), "optimizer__eps.*True or False"),
        (_set(2, optimizer={"$type": "optimizer", "name": "Optimizer"}), "no optimizer"),
        (_set(2, loss={"$type": "optimizer", "name": "SGD"}), "loss must be one of"),
        (_set(2, loss="eval"), "loss must be one of"),
        (_set(2, checkpoint="folder"), "sets checkpoint"),
        (_set(2, device="meta"), "device must be"),
        (_set(0, cache="folder"), "sets cache"),
        (_set(2, augmentation=_MODULE), r"the class 'sksep\.ModuleSeparator'"),
        (_learn(_sklearn_output_config={}), "_sklearn_output_config.*no fitted attributes"),
        (_learn(classes_=[1]), "classes_.*no fitted attributes"),
        # Time and memory.
        (_set(2, n_filters=20000), r"n_filters must be in \[1, 4096\]"),
        (_set(2, n_filters=4096, n_levels=10), "do not fit"),
        (_set(2, n_levels=10**7), "n_levels"),
        (_set(2, batch_size=10**9), "batch_size"),
        (_set(3, n_iter=10**9), "n_iter"),
        (_both(_set(2, batch_size=4096), _set(0, n_frames=2**14)), "bins of a batch"),
        (_set(0, hop_length=1), "n_fft / hop_length: 256"),
        (_set(0, n_fft=2**30), "n_fft: "),
        (_set(0, n_mels=10**9), "bins per second"),
        (_set(0, n_frames=10**9), "n_frames: "),
        (_set(0, n_frames=10**4, overlap=0.999), "chunks that overlap"),
        (_set(0, sample_rate=2**31 - 1), "sample_rate"),
        (_nest, "no estimator|was altered"),
        # Values.
        (_describe(format_version=float("inf")), "description in .* was altered"),
        (_describe(format_version=True), "description in .* was altered"),
        (_describe(estimator=5), "5 is no estimator"),
        (_describe(estimator=[]), "is no estimator"),
        (_set(2, n_filters=2.0), "n_filters must be an integer"),
        (_set(0, f_min=3000.0), "f_min"),
        (_learn(n_epochs_="2"), "n_epochs_"),
        (_learn(front_end_=5), "front_end_"),
        (_learn(net={}), "net must hold"),
        (_swap_steps, "in this order"),
        (_share, "KeyError"),
        # Weights.
        (_weigh("network.head.weight", np.nan), "NaN.*Train again"),
        (_weigh("network.head.weight", 1e38), "1e.38.*Train again"),
        (_weigh("scale", 0.0), "scale.*Train again"),
        (_weigh("network.bottom.1.running_var", -1.0), "running_var.*Train again"),
    ],
)
def test_attacks(saved: Path, tmp_path: Path, change: object, message: str) -> None:
    path = tmp_path / "attack.safetensors"
    _rewrite(saved, path, change, seal_tensors=True, seal_text=True)
    begin = time.process_time()
    with pytest.raises(ValueError, match=message) as caught:
        sksep.load(path)
    assert str(path) in str(caught.value)
    assert time.process_time() - begin < 5.0  # of a second, and time for slow machines
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_init": 10**9}, r"n_init of KMeans must be in \[1, 100\]"),
        ({"n_clusters": 10**9}, "n_clusters"),
        ({"max_iter": 10**9}, "max_iter"),
        ({"algorithm": "brute"}, "'algorithm' parameter of KMeans"),
        ({"init": {"$type": "optimizer", "name": "SGD"}}, "init of KMeans"),
    ],
)
def test_attacks_by_a_clusterer(
    tmp_path: Path, parameters: dict[str, object], message: str
) -> None:
    saved, path = tmp_path / "saved.safetensors", tmp_path / "attack.safetensors"
    sksep.save(DeepClusteringSeparator(clusterer=KMeans(2)), saved)

    def change(_: dict, description: dict) -> None:
        clusterer = description["estimator"]["parameters"]["clusterer"]
        clusterer["parameters"].update(parameters)

    _rewrite(saved, path, change, seal_text=True)
    with pytest.raises(ValueError, match=message):
        sksep.load(path)


def test_settings_of_a_machine_in_earlier_files_are_left_out(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "earlier.safetensors"
    net_params = {"iterator_train__num_workers": 10**6, "optimizer__alpha": 0.9}
    _rewrite(saved, path, _set(2, net_params=net_params), seal_text=True)
    with pytest.warns(UserWarning, match="iterator_train__num_workers, which were left out"):
        loaded = sksep.load(path)
    assert loaded["separate"].net_params == {"optimizer__alpha": 0.9}


def test_unknown_devices_are_no_fault_of_the_file(saved: Path) -> None:
    with pytest.raises(ValueError, match=r"^device must be 'auto'"):
        sksep.load(saved, device="gpu")


def test_the_same_estimator_makes_the_same_bytes(fitted: Pipeline, tmp_path: Path) -> None:
    paths = [tmp_path / f"{index}.safetensors" for index in range(5)]
    for path in paths[:4]:
        sksep.save(fitted, path)
    sksep.save(sksep.load(paths[0]), paths[4])
    assert len({path.read_bytes() for path in paths}) == 1


def test_unchanged_copy_loads(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "copy.safetensors"
    _rewrite(saved, path, lambda tensors, description: None)
    assert isinstance(sksep.load(path), Pipeline)


# Values that cannot be stored


class _OwnSeparator(UNetSeparator):
    pass


@pytest.mark.parametrize(
    ("estimator", "message"),
    [
        (UNetSeparator(loss=torch.nn.functional.l1_loss), "loss=.*no code"),
        (UNetSeparator(optimizer=type("Own", (torch.optim.SGD,), {})), "optimizer="),
        (UNetSeparator(net_params={"optimizer__eps": object()}), "net_params__optimizer__eps="),
        (UNetSeparator(net_params={"optimizer__betas": {1: 2}}), "net_params__optimizer__betas="),
        (UNetSeparator(net_params={"optimizer__eps": "1"}), "load would refuse.*optimizer__eps"),
        (UNetSeparator(device="gpu"), "load would refuse.*device must be"),
        (UNetSeparator(n_filters=20000), r"load would refuse.*n_filters must be in \[1, 4096\]"),
        (MelChunker(hop_length=1), "load would refuse.*hop_length"),
        (KMeans(2), r"KMeans.*clusterers of scikit-learn as their parameters"),
        (WaveformCache("folder"), "WaveformCache"),
        (_pipeline(loss=torch.nn.functional.l1_loss), "separate__loss="),
        (_pipeline(augmentation=Augmentation(noise_snr=1j)), "separate__augmentation__noise_snr="),
        (_OwnSeparator(), r"test_persistence\._OwnSeparator"),
        (Pipeline([("own", _OwnSeparator())]), r"_OwnSeparator \(own\)"),
        (GridSearchCV(_pipeline(), {"invert__n_iter": [0, 1]}), "GridSearchCV.*best_estimator_"),
    ],
)
def test_refused(estimator: BaseEstimator, message: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=message):
        sksep.save(estimator, tmp_path / "estimator.safetensors")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("estimator", [UNetSeparator, "text", torch.nn.Linear(1, 1)])
def test_no_estimator(estimator: object, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match=r"sksep\.save stores estimators"):
        sksep.save(estimator, tmp_path / "estimator.safetensors")


def test_network_parameters_changed_after_fit(fitted: Pipeline, tmp_path: Path) -> None:
    changed = pickle.loads(pickle.dumps(fitted)).set_params(separate__n_filters=3)
    with pytest.raises(ValueError, match="UNetSeparator do not fit its parameters"):
        sksep.save(changed, tmp_path / "changed.safetensors")


def test_what_only_training_needs_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "separator.safetensors"
    augmentation = Augmentation(vocals_pool=_VOCALS, true_pairs=0.5)
    net_params = {"compile": True, "iterator_train__num_workers": 2, "optimizer__alpha": 0.9}
    pipeline = _pipeline(callbacks=[object()], augmentation=augmentation, net_params=net_params)
    pipeline.set_params(memory=os.fspath(tmp_path), separate__random_state=np.random.RandomState(0))
    with pytest.warns(UserWarning, match="does not hold .*again after loading") as caught:
        sksep.save(pipeline, path)
    assert len(caught) == 1
    for name in (
        "memory",
        "separate__callbacks",
        "separate__augmentation__vocals_pool",
        "separate__net_params__compile",
        "separate__net_params__iterator_train__num_workers",
        "separate__random_state",
    ):
        assert name in str(caught[0].message)
    loaded = sksep.load(path)
    assert loaded.memory is None
    assert loaded["separate"].callbacks is None
    assert loaded["separate"].random_state is None
    assert loaded["separate"].net_params == {"optimizer__alpha": 0.9}
    assert loaded["separate"].augmentation.vocals_pool is None
    assert loaded["separate"].augmentation.true_pairs == 0.5


@pytest.mark.parametrize("callbacks", [None, [], ()])
def test_no_callbacks(callbacks: object, tmp_path: Path) -> None:
    assert _round_trip(_separator(callbacks=callbacks), tmp_path).callbacks == callbacks


@pytest.mark.skipif(torch.cuda.is_available(), reason="the missing device is there")
def test_missing_device_falls_back_to_the_cpu(fitted: Pipeline, tmp_path: Path) -> None:
    path = tmp_path / "cuda.safetensors"
    sksep.save(pickle.loads(pickle.dumps(fitted)).set_params(separate__device="cuda"), path)
    with pytest.warns(UserWarning, match="CPU.*'cuda' is not available"):
        loaded = sksep.load(path)
    assert loaded["separate"].device == "cuda"
    assert_same(loaded.predict(_MIXTURES), fitted.predict(_MIXTURES))


@pytest.mark.cuda
def test_device_of_the_file(fitted: Pipeline, tmp_path: Path) -> None:
    path = tmp_path / "cuda.safetensors"
    sksep.save(pickle.loads(pickle.dumps(fitted)).set_params(separate__device="cuda"), path)
    loaded = sksep.load(path)
    assert next(loaded["separate"].net_.module_.parameters()).is_cuda
    assert loaded.predict(_MIXTURES)[0].shape == _MIXTURES[0].shape
