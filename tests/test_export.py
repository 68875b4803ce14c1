"""Networks in ONNX return the masks of torch, and a file has all that a program needs."""

import json
import re
import sys
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from helpers import four_steps, noise, small
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import Pipeline
from torch import nn

import sksep
from sksep import (
    DeepClusteringSeparator,
    GriffinLimInverter,
    HybridClusteringSeparator,
    MelChunker,
    MixtureSeparator,
    ModuleSeparator,
    UHNetSeparator,
    UNetSeparator,
)
from sksep.cli import main
from sksep.datasets import make_songs
from sksep.pretrained import list_pretrained

onnx = pytest.importorskip("onnx", reason="the extra onnx")
onnxruntime = pytest.importorskip("onnxruntime", reason="the extra onnx")

_GUIDE = Path(__file__).resolve().parents[1] / "docs" / "guide"
_RATE = 8000  # of four_steps
_SONGS = [noise(_RATE, seed=seed) for seed in range(3)]


def _fitted(kind: type = UNetSeparator, front_end: Any = (), **parameters: Any) -> Pipeline:
    front_end = {f"chunk__{name}": value for name, value in dict(front_end).items()}
    separator = small(kind, max_epochs=1, **parameters)
    pipeline = four_steps(separate=separator, **front_end)
    return pipeline.fit(_SONGS[:2], [0.5 * song for song in _SONGS[:2]])


@pytest.fixture(scope="module")
def fitted() -> Pipeline:
    return _fitted()


def _session(pipeline: Pipeline, path: Path) -> tuple[Any, dict[str, Any]]:
    sksep.export_onnx(pipeline, path)
    session = onnxruntime.InferenceSession(str(path))
    return session, json.loads(session.get_modelmeta().custom_metadata_map["sksep"])


def _torch_masks(pipeline: Pipeline, chunks: np.ndarray) -> np.ndarray:
    separator = pipeline.named_steps["separate"]
    batches = [torch.tensor(chunks).clamp_min(-100.0)]
    return torch.cat([*separator._in_batches(separator._chunk_masks, batches)]).numpy()


_NETWORKS = {
    "u-net": {},
    "additive skips": {"skip": "add"},
    "fully convolutional": {"architecture": "fully_convolutional"},
    "singing voice": {"architecture": "singing_voice"},
    "uh-net": {"kind": UHNetSeparator},
    "pyramid": {"kind": UHNetSeparator, "n_levels": 2, "n_convolutions": 2, "cell": "lstm"},
    "mask head": {"kind": HybridClusteringSeparator, "output": "mask"},
    "module": {"kind": ModuleSeparator},
    "linear bins": {"front_end": {"n_mels": None, "n_fft": 64, "hop_length": 32}},
    "chunks below the lowest resolution": {
        "n_levels": 5,
        "front_end": {"n_mels": 10, "n_frames": 9},
    },
}


@pytest.mark.parametrize("name", _NETWORKS)
def test_masks_equal_those_of_torch(name: str, tmp_path: Path) -> None:
    pipeline = _fitted(**_NETWORKS[name])
    session, settings = _session(pipeline, tmp_path / "model.onnx")
    n_bands = settings["bands"]["n_bands"]
    n_frames = settings["chunks"]["n_frames"]
    for shape in [(1, n_frames), (3, n_frames), (2, n_frames + 5), (1, 1), (1, 100)]:
        # Also levels that the front end does not return.
        chunks = noise(*shape, n_bands, level=50.0) - 60.0
        (masks,) = session.run(["masks"], {"chunks": chunks})
        np.testing.assert_allclose(masks, _torch_masks(pipeline, chunks), atol=1e-4)


@pytest.mark.parametrize(
    "name", [card.name for card in list_pretrained() if card.name not in ("unet", "small")]
)
def test_models_that_ship(name: str, tmp_path: Path) -> None:
    pipeline = sksep.load_pretrained(name, device="cpu")
    session, settings = _session(pipeline, tmp_path / "model.onnx")
    batch = pipeline[0].transform(make_songs(1, duration=2.0, random_state=0).mixtures)
    (masks,) = session.run(["masks"], {"chunks": batch[0].chunks})
    np.testing.assert_allclose(masks, _torch_masks(pipeline, batch[0].chunks), atol=1e-4)
    assert settings["separator"] == type(pipeline.named_steps["separate"]).__name__


@pytest.mark.parametrize(
    "front_end",
    [
        {},
        {"hop_length": 60, "overlap": 0.0},
        {"overlap": 0.7, "f_min": 200.0, "f_max": 2500.0},
        {"n_mels": None, "n_fft": 64, "hop_length": 32},
    ],
)
@pytest.mark.parametrize("n_samples", [100, 1000, 7777])
def test_program_of_the_guide(
    front_end: dict[str, Any], n_samples: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(_GUIDE)
    from separate_with_onnx import separate

    pipeline = _fitted(front_end=front_end).set_params(invert__n_iter=0)
    session, settings = _session(pipeline, tmp_path / "model.onnx")
    left, right = noise(2, n_samples, seed=9)
    for song in (left[None], np.stack([left, right]), np.stack([left + 0.1 * right, -left])):
        vocals = separate(song, session, settings)
        np.testing.assert_allclose(vocals, pipeline.predict([song])[0], atol=1e-4)


def test_program_of_the_guide_separates_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import soundfile

    monkeypatch.syspath_prepend(_GUIDE)
    from separate_with_onnx import main as separate_file

    model, song, vocals = (str(tmp_path / name) for name in ("m.onnx", "song.wav", "vocals.wav"))
    pipeline = sksep.load_pretrained("small-v1", device="cpu")
    sksep.export_onnx(pipeline, model)
    mixture = make_songs(1, duration=4.0, random_state=0).mixtures[0]
    soundfile.write(song, mixture, 16000, subtype="FLOAT")
    separate_file(model, song, vocals)
    written, rate = soundfile.read(vocals)
    assert rate == 16000
    np.testing.assert_allclose(written, pipeline.predict([song])[0], atol=1e-3)
    assert np.abs(written).max() > 0.05
    soundfile.write(song, mixture, 44100)
    with pytest.raises(SystemExit, match="resample it to 16000 Hz"):
        separate_file(model, song, vocals)


def test_metadata_describe_the_front_end(fitted: Pipeline, tmp_path: Path) -> None:
    _, settings = _session(fitted, tmp_path / "model.onnx")
    front_end = fitted.named_steps["separate"].front_end_
    assert settings["sample_rate"] == _RATE
    assert settings["stft"]["n_fft"] == 256
    assert settings["stft"]["hop_length"] == 64
    assert settings["chunks"]["n_frames"] == 16
    assert settings["chunks"]["hop_frames"] == 8
    assert settings["inversion"] == {"init": "mixture", "momentum": 0.0, "n_iter": 1}
    for rows, expected in (
        (settings["bands"]["weights"], front_end.filter_bank()),
        (settings["mask_to_bins"], front_end.lift_matrix(_RATE, 256)),
    ):
        dense = np.zeros(expected.shape, np.float32)
        for line, row in zip(dense, rows, strict=True):
            line[row["first_bin"] : row["first_bin"] + len(row["weights"])] = row["weights"]
        np.testing.assert_array_equal(dense, expected.numpy())
    module = fitted.named_steps["separate"].net_.module_
    np.testing.assert_array_equal(np.float32(settings["standardization"]["mean"]), module.mean)
    np.testing.assert_array_equal(np.float32(settings["standardization"]["scale"]), module.scale)


def test_file_is_valid_and_the_same_each_time(fitted: Pipeline, tmp_path: Path) -> None:
    paths = [tmp_path / "one.onnx", tmp_path / "two.onnx"]
    for path in paths:
        sksep.export_onnx(fitted, path)
    assert paths[0].read_bytes() == paths[1].read_bytes()
    onnx.checker.check_model(str(paths[0]), full_check=True)
    assert sorted(tmp_path.iterdir()) == paths


def test_file_is_not_replaced_by_chance(fitted: Pipeline, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match=r"model\.onnx exists"):
        sksep.export_onnx(fitted, path)
    assert path.read_text() == "mine"
    sksep.export_onnx(fitted, path, overwrite=True)
    assert path.stat().st_size > 1000
    with pytest.raises(FileNotFoundError, match="no folder"):
        sksep.export_onnx(fitted, tmp_path / "missing" / "model.onnx")


def test_export_does_not_change_the_pipeline(fitted: Pipeline, tmp_path: Path) -> None:
    before = fitted.predict(_SONGS[2:])[0]
    sksep.export_onnx(fitted, tmp_path / "model.onnx")
    np.testing.assert_array_equal(fitted.predict(_SONGS[2:])[0], before)


class _Branching(nn.Module):
    """A network whose trace holds for odd numbers of frames only."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(()))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features * self.gain if features.shape[2] % 2 else features - 9.0 * self.gain


class _OneLength(nn.Module):
    """A network that takes chunks of one length only."""

    def __init__(self, n_frames: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(n_frames, 1))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return features * self.gain


@pytest.mark.parametrize(
    ("module", "message"),
    [(_Branching, "returns other masks than torch"), (_OneLength, "any number of frames")],
)
def test_network_that_is_exported_wrongly(module: type, message: str, tmp_path: Path) -> None:
    pipeline = _fitted(ModuleSeparator, module=module, module_params={})
    with pytest.raises(ValueError, match=message):
        sksep.export_onnx(pipeline, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("pipeline", "error", "message"),
    [
        ("uhnet", TypeError, "a fitted Pipeline, got 'uhnet'"),
        (small(), TypeError, "a fitted Pipeline, got UNetSeparator"),
        (four_steps(separate=MixtureSeparator()), TypeError, "a separator with a trained network"),
        (Pipeline([("chunk", MelChunker())]), TypeError, "a separator with a trained network"),
        (Pipeline([("invert", GriffinLimInverter())]), TypeError, "a Pipeline of MelChunker"),
        (four_steps(), NotFittedError, "not fitted"),
        (
            four_steps(separate=small(DeepClusteringSeparator)),
            TypeError,
            "DeepClusteringSeparator clusters the bins of whole tracks",
        ),
        (
            four_steps(separate=small(HybridClusteringSeparator)),
            TypeError,
            re.escape("HybridClusteringSeparator with output='mask'"),
        ),
    ],
)
def test_what_cannot_be_exported(
    pipeline: Any, error: type[Exception], message: str, tmp_path: Path
) -> None:
    with pytest.raises(error, match=message):
        sksep.export_onnx(pipeline, tmp_path / "model.onnx")


def test_other_front_end_than_that_of_training(fitted: Pipeline, tmp_path: Path) -> None:
    altered = Pipeline([("chunk", MelChunker(sample_rate=_RATE)), *fitted.steps[1:]])
    with pytest.raises(ValueError, match="other MelChunker settings"):
        sksep.export_onnx(altered, tmp_path / "model.onnx")


def test_command(fitted: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sksep.save(fitted, "mine.safetensors")
    run = partial(CliRunner().invoke, main)
    result = run(["export", "mine.safetensors", "-o", "mine.onnx"])
    assert result.exit_code == 0, result.output
    assert "Wrote mine.onnx" in result.output
    sksep.export_onnx(fitted, "again.onnx")
    assert Path("mine.onnx").read_bytes() == Path("again.onnx").read_bytes()
    result = run(["export", "mine.safetensors", "-o", "mine.onnx"])
    assert "add --overwrite" in result.output
    result = run(["export", "mine.safetensors", "-o", "mine.safetensors", "--overwrite"])
    assert "another file of this command" in result.output
    result = run(["export", "absent", "-o", "absent.onnx"])
    assert "no model 'absent'" in result.output
    monkeypatch.setitem(sys.modules, "onnx", None)
    result = run(["export", "mine.safetensors", "-o", "mine.onnx", "--overwrite"])
    assert result.exit_code == 1
    assert "pip install 'sksep[onnx]'" in result.output


def test_missing_package_is_named(
    fitted: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=re.escape("pip install 'sksep[onnx]'")):
        sksep.export_onnx(fitted, tmp_path / "model.onnx")
