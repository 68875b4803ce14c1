"""Checkpoints: a training that was interrupted has the same result in the end."""

from __future__ import annotations

import copy
import errno
import io
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers import Crash, Stop, assert_same_fit, small
from sklearn.base import clone
from skorch.callbacks import Callback

import sksep
from sksep import (
    Augmentation,
    DeepClusteringSeparator,
    HybridClusteringSeparator,
    MaskBuilder,
    ModuleSeparator,
    UHNetSeparator,
    UNetSeparator,
)
from sksep.training import TrainingInterrupted
from sksep.training._checkpoint import _HEAD, _digest, _read

_WORKERS = {"iterator_train__num_workers": 2, "iterator_train__prefetch_factor": 4}
_VOICES = Augmentation(vocals_speed_range=(0.8, 1.25), formant_range=(0.9, 1.1))
_make = partial(small, max_epochs=4, excerpts_per_epoch=12, validation_fraction=0.25)


class Epochs(Callback):
    """Write the trained epochs into a list that copies share."""

    def __init__(self, seen: list[int]) -> None:
        self.seen = seen

    def __deepcopy__(self, memo: Any) -> Epochs:
        return self

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        self.seen.append(net.history[-1, "epoch"])


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        (UNetSeparator, {"dropout": 0.5}),
        (UNetSeparator, {"optimizer": "adamw", "schedule": "one_cycle", "gradient_clipping": 1.0}),
        (UNetSeparator, {"optimizer": "adam", "schedule": "cosine", "validation_fraction": 0.0}),
        (UNetSeparator, {"augmentation": False, "loss": "snr"}),
        (UNetSeparator, {"augmentation": Augmentation(speed_range=(0.9, 1.1), true_pairs=0.5)}),
        (UNetSeparator, {"augmentation": _VOICES, "weight_averaging": 0.9}),
        (UNetSeparator, {"net_params": _WORKERS}),
        (UHNetSeparator, {}),
        (DeepClusteringSeparator, {}),
        (HybridClusteringSeparator, {"output": "mask"}),
        (ModuleSeparator, {}),
    ],
    ids=lambda value: value.__name__ if isinstance(value, type) else "-".join(value) or "default",
)
def test_the_training_ends_where_it_would_have_ended(
    batch: Any, tmp_path: Path, kind: type, parameters: dict[str, Any]
) -> None:
    expected = _make(kind, **parameters).fit(batch)
    folder = tmp_path / "checkpoints"
    with pytest.raises(Crash):
        _make(kind, checkpoint=folder, callbacks=[Stop(2)], **parameters).fit(batch)
    assert len(list(folder.iterdir())) == 1
    seen: list[int] = []
    separator = _make(kind, checkpoint=folder, callbacks=[Epochs(seen)], **parameters).fit(batch)
    assert seen == [3, 4]
    assert_same_fit(separator, expected, batch)
    assert list(folder.iterdir()) == []


def test_early_stopping_goes_on_counting(batch: Any, tmp_path: Path) -> None:
    # At this rate, losses after the first epochs improve by rounding errors only.
    parameters = {"early_stopping": True, "n_iter_no_change": 3, "lr": 1.0, "max_epochs": 30}
    expected = _make(**parameters).fit(batch)
    assert expected.n_epochs_ < 30
    with pytest.raises(Crash):
        _make(checkpoint=tmp_path, callbacks=[Stop(expected.n_epochs_ - 1)], **parameters).fit(
            batch
        )
    assert_same_fit(_make(checkpoint=tmp_path, **parameters).fit(batch), expected, batch)
    assert list(tmp_path.iterdir()) == []


def test_checkpoints_change_nothing(batch: Any, tmp_path: Path) -> None:
    separator = _make(checkpoint=str(tmp_path)).fit(batch)
    assert_same_fit(separator, _make().fit(batch), batch)
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_keeps_the_file_and_fit_goes_on(batch: Any, tmp_path: Path) -> None:
    stopped = _make(checkpoint=tmp_path, callbacks=[Stop(2, KeyboardInterrupt)])
    with pytest.raises(TrainingInterrupted, match="interrupted after 2 of 4 epochs"):
        stopped.fit(batch)
    assert stopped.n_epochs_ == 2
    assert_same_fit(stopped.set_params(callbacks=None).fit(batch), _make().fit(batch), batch)


def test_a_warm_start_goes_on(batch: Any, tmp_path: Path) -> None:
    def warm() -> Any:
        return _make(max_epochs=2).fit(batch).set_params(warm_start=True, max_epochs=4)

    interrupted = warm().set_params(checkpoint=tmp_path, callbacks=[Stop(4)])
    with pytest.raises(Crash):
        interrupted.fit(batch)
    assert interrupted.n_epochs_ == 2
    expected = warm().fit(batch)
    assert expected.n_epochs_ == 6
    assert_same_fit(interrupted.set_params(callbacks=None).fit(batch), expected, batch)


def test_an_interrupted_warm_start_says_what_goes_on(batch: Any, tmp_path: Path) -> None:
    stop = [Stop(2, KeyboardInterrupt)]
    stopped = _make(checkpoint=tmp_path, warm_start=True, callbacks=stop)
    with pytest.raises(TrainingInterrupted, match="keep the checkpoint folder and fit a clone"):
        stopped.fit(batch)
    goes_on = clone(stopped).set_params(callbacks=None).fit(batch)
    assert_same_fit(goes_on, _make().fit(batch), batch)

    begun = _make(max_epochs=2).fit(batch).set_params(warm_start=True, max_epochs=4)
    warm = copy.deepcopy(begun).set_params(checkpoint=tmp_path)
    warm.set_params(callbacks=[Stop(4, KeyboardInterrupt)])
    with pytest.raises(TrainingInterrupted, match="fit the model that it began with"):
        warm.fit(batch)
    goes_on = copy.deepcopy(begun).set_params(checkpoint=tmp_path).fit(batch)
    assert_same_fit(goes_on, begun.fit(batch), batch)


@pytest.mark.parametrize(
    "other",
    [{"lr": 1e-4}, {"random_state": 1}, {"max_epochs": 5}, {"n_filters": 3}, {"loss": "l1"}],
    ids=lambda other: next(iter(other)),
)
def test_another_training_has_another_file(
    batch: Any, tmp_path: Path, other: dict[str, Any]
) -> None:
    with pytest.raises(Crash):
        _make(checkpoint=tmp_path, callbacks=[Stop(1)]).fit(batch)
    (file,) = tmp_path.iterdir()
    assert_same_fit(
        _make(checkpoint=tmp_path, **other).fit(batch), _make(**other).fit(batch), batch
    )
    assert list(tmp_path.iterdir()) == [file]


def test_other_tracks_have_another_file(batch: Any, tmp_path: Path) -> None:
    for part in (batch, batch[:3]):
        with pytest.raises(Crash):
            _make(checkpoint=tmp_path, callbacks=[Stop(1)]).fit(part)
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("builder", [{"ratio": "magnitude"}, {"weighting": "log_magnitude"}])
def test_other_targets_have_another_file(
    batch: Any, tmp_path: Path, builder: dict[str, str]
) -> None:
    vocals = [record.targets.vocals for record in batch]
    for part in (batch, MaskBuilder(**builder).fit_transform(batch, vocals)):
        with pytest.raises(Crash):
            _make(checkpoint=tmp_path, callbacks=[Stop(1)]).fit(part)
    assert len(list(tmp_path.iterdir())) == 2


def test_a_crash_after_the_last_epoch(batch: Any, tmp_path: Path) -> None:
    class Last(Callback):
        def on_train_end(self, net: Any, **kwargs: Any) -> None:
            raise Crash

    with pytest.raises(Crash):
        _make(checkpoint=tmp_path, callbacks=[Last()]).fit(batch)
    assert_same_fit(_make(checkpoint=tmp_path).fit(batch), _make().fit(batch), batch)
    assert list(tmp_path.iterdir()) == []


def test_damaged_files_are_named(batch: Any, tmp_path: Path) -> None:
    with pytest.raises(Crash):
        _make(checkpoint=tmp_path, callbacks=[Stop(1)]).fit(batch)
    (file,) = tmp_path.iterdir()
    file.write_bytes(file.read_bytes()[:-1000])
    with pytest.raises(ValueError, match=f"{file.name} cannot be read.*Delete it"):
        _make(checkpoint=tmp_path).fit(batch)


def _damaged(content: bytes, kind: str) -> bytes:
    middle = len(content) // 2
    return {
        "bit": content[:middle] + bytes([content[middle] ^ 4]) + content[middle + 1 :],
        "appended": content + b"\0",
        "without digest": content[content.index(b"PK") :],
        "empty": b"",
    }[kind]


@pytest.mark.parametrize("kind", ["bit", "appended", "without digest", "empty"])
def test_no_damaged_file_resumes(batch: Any, tmp_path: Path, kind: str) -> None:
    with pytest.raises(Crash):
        _make(checkpoint=tmp_path, callbacks=[Stop(1)]).fit(batch)
    (file,) = tmp_path.iterdir()
    file.write_bytes(_damaged(file.read_bytes(), kind))
    with pytest.raises(ValueError, match=f"{file.name} cannot be read.*Delete it"):
        _make(checkpoint=tmp_path).fit(batch)


def test_the_file_of_another_training_does_not_resume(batch: Any, tmp_path: Path) -> None:
    for seed in (0, 1):
        with pytest.raises(Crash):
            _make(checkpoint=tmp_path, callbacks=[Stop(1)], random_state=seed).fit(batch)
    first, second = tmp_path.iterdir()
    first.write_bytes(second.read_bytes())
    second.unlink()
    with pytest.raises(ValueError, match=f"{first.name} cannot be read"):
        for seed in (0, 1):
            _make(checkpoint=tmp_path, random_state=seed).fit(batch)


class Spoil(Callback):
    """Makes the weights NaN at the end of the second epoch."""

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        if len(net.history) == 2:
            next(net.module_.parameters()).data.fill_(torch.nan)


def test_a_training_that_diverges_leaves_the_last_good_epoch(batch: Any, tmp_path: Path) -> None:
    # Without validation tracks, which would end the training here.
    parameters = {"validation_fraction": 0.0, "checkpoint": tmp_path}
    with pytest.raises(Crash):
        _make(callbacks=[Spoil(), Stop(2)], **parameters).fit(batch)
    (file,) = tmp_path.iterdir()
    state = _read(file)
    assert len(state["history"]) == 1
    state["module"] = {name: part * torch.nan for name, part in state["module"].items()}
    content = io.BytesIO()
    torch.save(state, content)
    file.write_bytes(_HEAD + _digest(file, content.getvalue()) + content.getvalue())
    with pytest.raises(ValueError, match=f"{file.name} holds weights that are NaN.*Delete it"):
        _make(**parameters).fit(batch)


def test_an_interrupted_write_keeps_the_last_file(
    batch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Crash):
        _make(checkpoint=tmp_path, callbacks=[Stop(1)]).fit(batch)
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()

    def fails(_: int) -> None:
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(OSError, match=f"{file.name} could not be written.*Make room"):
        _make(checkpoint=tmp_path).fit(batch)
    assert list(tmp_path.iterdir()) == [file]
    assert file.read_bytes() == content


@pytest.mark.parametrize("random_state", [None, np.random.RandomState(0), True])
def test_an_integer_random_state_is_needed(batch: Any, tmp_path: Path, random_state: Any) -> None:
    error = TypeError if random_state is True else ValueError
    with pytest.raises(error, match=r"integer as random_state|random_state must be .* integer"):
        _make(checkpoint=tmp_path, random_state=random_state).fit(batch)


def test_trainings_with_workers_are_repeatable(batch: Any) -> None:
    first, second = (_make(net_params=_WORKERS).fit(batch) for _ in range(2))
    assert_same_fit(first, second, batch)


def test_persistent_workers_are_refused(batch: Any, tmp_path: Path) -> None:
    net_params = {**_WORKERS, "iterator_train__persistent_workers": True}
    with pytest.raises(ValueError, match="Leave iterator_train__persistent_workers out"):
        _make(checkpoint=tmp_path, net_params=net_params).fit(batch)


def test_lambdas_are_refused(batch: Any, tmp_path: Path) -> None:
    separator = _make(checkpoint=tmp_path, loss=lambda logits, excerpts: logits.square().mean())
    with pytest.raises(ValueError, match="can be pickled"):
        separator.fit(batch)


def test_saved_separators_name_no_folder(batch: Any, tmp_path: Path) -> None:
    separator = _make(checkpoint=tmp_path, max_epochs=1).fit(batch)
    with pytest.warns(UserWarning, match="checkpoint"):
        sksep.save(separator, tmp_path / "separator.safetensors")
    assert sksep.load(tmp_path / "separator.safetensors").checkpoint is None
