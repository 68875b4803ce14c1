"""Training, prediction and files on a CUDA device."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from skorch.callbacks import Callback

import sksep
from sksep import (
    DeepClusteringSeparator,
    GriffinLimInverter,
    HybridClusteringSeparator,
    MaskBuilder,
    MelChunker,
    ModuleSeparator,
    UHNetSeparator,
    UNetSeparator,
)
from sksep.datasets import make_songs

pytestmark = pytest.mark.cuda

_SEPARATORS: dict[type, dict[str, Any]] = {
    UNetSeparator: {"n_filters": 4, "n_levels": 2, "dropout": 0.0},
    UHNetSeparator: {"n_filters": 4, "depth": 2, "hidden_size": 8, "n_layers": 1},
    DeepClusteringSeparator: {"hidden_size": 8, "n_layers": 1},
    HybridClusteringSeparator: {"hidden_size": 8, "n_layers": 1, "output": "mask"},
    ModuleSeparator: {"module_params": {"n_filters": 4, "n_levels": 2}},
}
# Sums are rounded differently, and convolutions may compute in TF32.
_TOLERANCE = 0.01


class Stop(Callback):
    """Raise an error in the second epoch."""

    def on_batch_end(self, net: Any, **kwargs: Any) -> None:
        if len(net.history) == 2:
            raise RuntimeError("power failure")


@pytest.fixture(scope="module")
def batch() -> Any:
    songs = make_songs(4, duration=2.0, random_state=0)
    return MaskBuilder().fit_transform(MelChunker().fit_transform(songs.mixtures), songs.vocals)


def _make(kind: type = UNetSeparator, **parameters: Any) -> Any:
    defaults: dict[str, Any] = {
        "max_epochs": 3,
        "batch_size": 4,
        "validation_fraction": 0.25,
        "device": "cuda",
        "precision": "float32",
        "random_state": 0,
    }
    return kind(**{**_SEPARATORS[kind], **defaults, **parameters})


def _assert_close(masks: Any, expected: Any, tolerance: float = _TOLERANCE) -> None:
    for mask, other in zip(masks, expected, strict=True):
        np.testing.assert_allclose(mask, other, atol=tolerance)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", _SEPARATORS)
def test_training_and_prediction(batch: Any, kind: type, precision: str) -> None:
    separator = _make(kind, precision=precision).fit(batch)
    assert all(weights.is_cuda for weights in separator.net_.module_.parameters())
    assert all(weights.dtype == torch.float32 for weights in separator.net_.module_.parameters())
    losses = separator.loss_curve_ + separator.validation_loss_curve_
    assert len(losses) == 6 and np.isfinite(losses).all()
    for row in separator.history_[:, "batches"]:
        assert all(type(value) in (int, float, bool) for part in row for value in part.values())
    for vocals, record in zip(separator.predict(batch), batch, strict=True):
        assert vocals.shape == record.waveform.shape and np.isfinite(vocals).all()


@pytest.mark.parametrize("kind", [UNetSeparator, UHNetSeparator, HybridClusteringSeparator])
def test_files_travel_between_devices(batch: Any, tmp_path: Path, kind: type) -> None:
    path = tmp_path / "separator.safetensors"
    on_cuda = _make(kind).fit(batch)
    sksep.save(on_cuda, path)
    on_cpu = sksep.load(path, device="cpu")
    again = sksep.load(path, device="cuda")
    assert not any(weights.is_cuda for weights in on_cpu.net_.module_.parameters())
    assert all(weights.is_cuda for weights in again.net_.module_.parameters())
    expected = on_cpu.predict_mask(batch)
    _assert_close(on_cuda.predict_mask(batch), expected)
    _assert_close(again.predict_mask(batch), expected)
    _assert_close(again.predict(batch), on_cpu.predict(batch))


def test_mixed_precision_is_close(batch: Any) -> None:
    separator = _make().fit(batch)
    expected = separator.predict_mask(batch)
    _assert_close(separator.set_params(precision="bfloat16").predict_mask(batch), expected, 0.05)


def test_pipelines_separate_blocks(batch: Any) -> None:
    pipeline = sksep.load_pretrained("small-v1", device="cuda")
    assert isinstance(pipeline[-1], GriffinLimInverter)
    pipeline.set_params(separate__precision="float32")
    song = make_songs(1, duration=12.0, random_state=1).mixtures[0]
    expected = sksep.load_pretrained("small-v1", device="cpu")
    expected.set_params(separate__precision="float32")
    _assert_close([sksep.separate(song, pipeline).vocals], expected.predict([song]))


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_steps_are_fused(batch: Any, optimizer: str) -> None:
    separator = _make(optimizer=optimizer, warm_start=True, max_epochs=1).fit(batch)
    assert separator.net_.optimizer_.defaults["fused"]
    separator.fit(batch)
    assert np.isfinite(separator.loss_curve_).all() and separator.n_epochs_ == 2


def test_compiled_training_agrees(batch: Any) -> None:
    parameters = {"optimizer": "sgd", "lr": 1e-3, "max_epochs": 2}
    expected = _make(**parameters).fit(batch)
    compiled = _make(**parameters, net_params={"compile": True}).fit(batch)
    assert compiled.loss_curve_ == pytest.approx(expected.loss_curve_, rel=_TOLERANCE)
    _assert_close(compiled.predict_mask(batch), expected.predict_mask(batch))


@pytest.mark.parametrize("weight_averaging", [None, 0.9])
def test_checkpoints_resume(batch: Any, tmp_path: Path, weight_averaging: float | None) -> None:
    make = partial(_make, weight_averaging=weight_averaging)
    expected = make().fit(batch)
    with pytest.raises(RuntimeError, match="power failure"):
        make(checkpoint=tmp_path, callbacks=[Stop()]).fit(batch)
    resumed = make(checkpoint=tmp_path).fit(batch)
    assert resumed.loss_curve_ == pytest.approx(expected.loss_curve_, rel=_TOLERANCE)


def test_workers_load(batch: Any) -> None:
    expected = _make(max_epochs=1, augmentation=False).fit(batch)
    net_params = {"iterator_train__num_workers": 2, "iterator_train__prefetch_factor": 4}
    separator = _make(max_epochs=1, augmentation=False, net_params=net_params).fit(batch)
    assert separator.loss_curve_ == pytest.approx(expected.loss_curve_, rel=_TOLERANCE)
