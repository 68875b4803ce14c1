"""SeparationNet: modules that are compiled in place, and losses that stay on the device."""

from __future__ import annotations

import pickle
import shutil
import sysconfig
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import assert_same, assert_same_fit, small
from skorch.callbacks import Callback
from torch import nn

import sksep
from sksep import MelChunker, ModuleSeparator, UHNetSeparator, UNetSeparator
from sksep.training import TrainingInterrupted
from sksep.training._fit import _callbacks, _plan
from sksep.training._net import SeparationNet
from sksep.training._tracks import TrainingTracks

_FRONT_END = {"n_fft": 512, "n_mels": 24, "n_frames": 20}
_EAGER = {"compile": True, "compile__backend": "eager"}
_N_GRAPHS: list[int] = []
_make = partial(
    small,
    n_levels=1,
    max_epochs=2,
    excerpts_per_epoch=10,
    validation_fraction=0.25,
    precision="float32",
)
_CAN_BUILD = (
    any(map(shutil.which, ("g++", "clang++")))
    and Path(sysconfig.get_paths()["include"], "Python.h").exists()
)


@pytest.fixture(scope="module")
def plain(batch: Any) -> UNetSeparator:
    return _make().fit(batch)


@pytest.fixture(scope="module")
def compiled(batch: Any) -> UNetSeparator:
    return _make(net_params=_EAGER).fit(batch)


@pytest.fixture(autouse=True)
def _compile_anew() -> None:
    torch.compiler.reset()


def _is_compiled(separator: Any) -> bool:
    return separator.net_.module_._compiled_call_impl is not None


def _count_graphs(graph: Any, inputs: Any) -> Any:
    _N_GRAPHS.append(len(inputs))
    return graph


def _convolutions(width: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, width, 5, padding=2), nn.ReLU(), nn.Conv2d(width, 1, 5, padding=2)
    )


class Record(Callback):
    """Keep the losses that the history holds at the end of each batch."""

    def initialize(self) -> Record:
        self.losses_: list[Any] = []
        return self

    def on_batch_end(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        self.losses_.append(
            net.history[-1]["batches"][-1]["train_loss" if training else "valid_loss"]
        )


class Interrupt(Callback):
    """Raise an error, such as that of Ctrl-C, after the first batch of the second epoch."""

    def __init__(self, error: BaseException) -> None:
        self.error = error

    def on_batch_end(self, net: Any, **kwargs: Any) -> None:
        if len(net.history) == 2:
            raise self.error


# Compilation.


def test_compiled_training_is_the_same(
    batch: Any, plain: UNetSeparator, compiled: UNetSeparator
) -> None:
    assert _is_compiled(compiled) and not _is_compiled(plain)
    assert list(compiled.net_.module_.state_dict()) == list(plain.net_.module_.state_dict())
    assert not isinstance(compiled.net_.criterion_, torch._dynamo.OptimizedModule)
    assert_same_fit(compiled, plain, batch)


@pytest.mark.slow
@pytest.mark.skipif(not _CAN_BUILD, reason="no C++ compiler, or no headers of Python")
def test_the_default_backend_agrees(batch: Any) -> None:
    expected = ModuleSeparator(
        _convolutions,
        module_params={"width": 2},
        max_epochs=1,
        excerpts_per_epoch=8,
        batch_size=4,
        validation_fraction=0.0,
        device="cpu",
        precision="float32",
        random_state=0,
    ).fit(batch)
    compiled = pickle.loads(pickle.dumps(expected)).set_params(net_params={"compile": True})
    compiled.fit(batch)
    assert compiled.loss_curve_ == pytest.approx(expected.loss_curve_, rel=1e-5)
    assert_same(compiled.predict_mask(batch), expected.predict_mask(batch), 1e-3)


def test_sizes_of_batches_need_few_graphs(batch: Any) -> None:
    _N_GRAPHS.clear()
    parameters = {"compile": True, "compile__backend": _count_graphs}
    separator = _make(net_params=parameters).fit(batch)
    song = batch[0].waveform
    tracks = [song[: 1500 * length] for length in range(2, 9)]
    chunks = MelChunker(**_FRONT_END).transform(tracks)
    separator.predict_mask(chunks[::3])
    # There is one each for training, validation and prediction, and for their smaller batches.
    n_graphs = len(_N_GRAPHS)
    assert 1 <= n_graphs <= 6
    separator.predict_mask(chunks)
    assert len(_N_GRAPHS) == n_graphs


def test_compiled_separators_are_pickled(
    batch: Any, plain: UNetSeparator, compiled: UNetSeparator
) -> None:
    assert_same_fit(pickle.loads(pickle.dumps(compiled)), plain, batch)


def test_compiled_separators_are_saved(
    batch: Any, plain: UNetSeparator, compiled: UNetSeparator, tmp_path: Path
) -> None:
    with pytest.warns(UserWarning, match="net_params__compile, net_params__compile__backend"):
        sksep.save(compiled, tmp_path / "separator.safetensors")
    # What a file could name would run as a command of a compiler.
    restored = sksep.load(tmp_path / "separator.safetensors")
    assert not _is_compiled(restored)
    assert_same_fit(restored, plain, batch)


def test_warm_starts_are_compiled(batch: Any, plain: UNetSeparator) -> None:
    expected, compiled = (pickle.loads(pickle.dumps(plain)) for _ in range(2))
    expected.set_params(warm_start=True).fit(batch)
    compiled.set_params(warm_start=True, net_params=_EAGER).fit(batch)
    assert _is_compiled(compiled) and compiled.n_epochs_ == 4
    assert_same_fit(compiled, expected, batch)


def test_compiled_trainings_resume(batch: Any, plain: UNetSeparator, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="power failure"):
        _make(
            net_params=_EAGER,
            checkpoint=tmp_path,
            callbacks=[Interrupt(RuntimeError("power failure"))],
        ).fit(batch)
    resumed = _make(net_params=_EAGER, checkpoint=tmp_path).fit(batch)
    assert_same_fit(resumed, plain, batch)


def test_recurrent_networks_compile(batch: Any) -> None:
    parameters = {"n_filters": 2, "depth": 2, "hidden_size": 4, "n_layers": 1, "max_epochs": 1}
    parameters |= {"device": "cpu", "precision": "float32", "random_state": 0}
    expected = UHNetSeparator(**parameters).fit(batch)
    assert_same_fit(UHNetSeparator(**parameters, net_params=_EAGER).fit(batch), expected, batch)


# Losses stay on the device until the epoch ends, as on a GPU.


@pytest.fixture
def losses_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SeparationNet, "_losses_stay", True)


def _rows(separator: Any) -> list[dict[str, Any]]:
    """The history without the duration of epochs."""
    rows = separator.history_.to_list()
    return [{name: value for name, value in row.items() if name != "dur"} for row in rows]


_TRAININGS = [
    {},
    {"validation_fraction": 0.0},
    {"schedule": "cosine", "gradient_clipping": 1.0},
    {"early_stopping": True, "n_iter_no_change": 1, "max_epochs": 8, "lr": 0.1},
]


@pytest.mark.parametrize("parameters", _TRAININGS, ids=str)
def test_histories_are_the_same(
    batch: Any, monkeypatch: pytest.MonkeyPatch, parameters: dict[str, Any]
) -> None:
    expected = _make(**parameters).fit(batch)
    monkeypatch.setattr(SeparationNet, "_losses_stay", True)
    separator = _make(**parameters).fit(batch)
    assert _rows(separator) == _rows(expected)
    for row in _rows(separator):
        losses = [part.get("train_loss", part.get("valid_loss")) for part in row["batches"]]
        assert all(type(loss) is float for loss in losses)
    assert_same_fit(separator, expected, batch)


def test_losses_stay_away_from_the_cpu(batch: Any) -> None:
    net = _make().fit(batch).net_
    assert not net._losses_stay
    for device in ("cuda", "cuda:1", "mps"):
        net.device = device
        assert net._losses_stay


def test_callbacks_find_tensors(batch: Any, losses_stay: None) -> None:
    separator = _make(callbacks=[("record", Record())]).fit(batch)
    seen = dict(separator.net_.callbacks_)["record"].losses_
    assert all(isinstance(loss, torch.Tensor) and not loss.requires_grad for loss in seen)
    rows = [row for epoch in separator.history_ for row in epoch["batches"]]
    assert [float(loss) for loss in seen] == [
        row.get("train_loss", row.get("valid_loss")) for row in rows
    ]


def test_interrupted_epochs_keep_numbers(batch: Any, losses_stay: None) -> None:
    separator = _make(callbacks=[Interrupt(KeyboardInterrupt())])
    with pytest.raises(TrainingInterrupted, match="interrupted after 1 of 2 epochs"):
        separator.fit(batch)
    (row,) = separator.history_[-1]["batches"]
    assert type(row["train_loss"]) is float and "train_batch_count" not in separator.history_[-1]
    pickle.loads(pickle.dumps(separator))


def test_progress_shows_what_is_at_hand(batch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sksep.training._fit._shows_bars", lambda: True)
    separator = _make(verbose=1, schedule="cosine").fit(batch)
    progress = dict(separator.net_.callbacks_)["progress"]
    assert progress.postfix_keys == ["train_loss", "valid_loss"]
    plan = _plan(separator, TrainingTracks.of(batch, "UNetSeparator"), None, is_partial=False)
    monkeypatch.setattr("sksep.training._fit.resolve_device", lambda _: torch.device("cuda"))
    progress = dict(_callbacks(separator, plan))["progress"]
    assert progress.postfix_keys == ["event_lr"]
