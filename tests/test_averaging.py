"""Averaged weights: what is averaged, where the average is shown, and how a training ends."""

from __future__ import annotations

import pickle
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers import Crash, Stop, assert_same, assert_same_fit, small, weights
from sklearn.base import clone
from skorch.callbacks import Callback
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

import sksep
from sksep import ModuleSeparator
from sksep.training import TrainingInterrupted

Weights = dict[str, torch.Tensor]
_DECAY = 0.3  # from the third step on, where (1 + n) / (10 + n) is larger
# Three steps in an epoch.
_make = partial(
    small, max_epochs=3, excerpts_per_epoch=12, validation_fraction=0.0, weight_averaging=_DECAY
)


def _copied(net: Any) -> Weights:
    return {name: part.clone() for name, part in net.module_.state_dict().items()}


def _equal(first: Weights, second: Weights) -> bool:
    assert first.keys() == second.keys()
    return all(torch.equal(first[name], second[name]) for name in first)


def _assert_close(found: Weights, expected: Weights) -> None:
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, rtol=1e-5, atol=1e-7, msg=name)


def _average(steps: list[Weights], decay: float = _DECAY) -> Weights:
    """Average of the initial weights and those after each step, as the documentation says it."""
    average = dict(steps[0])
    for number, step in enumerate(steps[1:], 1):
        kept = min(decay, (1 + number) / (10 + number))
        for name, part in step.items():
            counts = part.dtype in (torch.int64, torch.bool)
            average[name] = part if counts else kept * average[name] + (1 - kept) * part
    return average


class Watch(Callback):
    """Keep the weights after every step, and those in the module when an epoch ends.

    If losses of the epochs are given, it sets those of the validation.
    """

    def __init__(self, losses: tuple[float, ...] = ()) -> None:
        self.losses = losses

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        if len(net.history) == 1:
            self.steps_, self.validated_, self.shown_ = [_copied(net)], [], []
        else:
            assert _equal(_copied(net), self.steps_[-1])

    def on_batch_begin(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        if not training:
            self.validated_.append(_copied(net))

    def on_batch_end(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        if training:
            self.steps_.append(_copied(net))
        elif self.losses:
            net.history.record_batch("valid_loss", self.losses[len(net.history) - 1])

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        self.shown_.append(_copied(net))


def _watched(separator: Any) -> Watch:
    (watch,) = (part for _, part in separator.net_.callbacks_ if isinstance(part, Watch))
    return watch


def test_the_result_is_the_average_of_the_steps(batch: Any) -> None:
    separator = _make(callbacks=[Watch()]).fit(batch)
    watch = _watched(separator)
    assert len(watch.steps_) == 1 + 9
    _assert_close(weights(separator), _average(watch.steps_))
    assert not _equal(weights(separator), watch.steps_[-1])
    for epoch, shown in enumerate(watch.shown_, 1):
        _assert_close(shown, _average(watch.steps_[: 1 + 3 * epoch]))
    # Decays of a high share begin lower.
    long = _make(weight_averaging=0.999, callbacks=[Watch()]).fit(batch)
    _assert_close(weights(long), _average(_watched(long).steps_, 0.999))
    assert not _equal(weights(long), weights(separator))


def test_it_is_the_average_of_torch(batch: Any) -> None:
    separator = _make(callbacks=[Watch()]).fit(batch)
    steps, module = _watched(separator).steps_, separator.net_.module_
    found = weights(separator)
    module.load_state_dict(_average(steps[:4]))
    average = AveragedModel(module, multi_avg_fn=get_ema_multi_avg_fn(_DECAY), use_buffers=True)
    average.n_averaged += 1  # otherwise its first update would copy the weights
    for step in steps[4:]:
        module.load_state_dict(step)
        average.update_parameters(module)
    for name, part in average.module.state_dict().items():
        if part.is_floating_point():
            torch.testing.assert_close(found[name], part, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("validation_fraction", [0.0, 0.25])
def test_the_steps_are_those_without_an_average(batch: Any, validation_fraction: float) -> None:
    parameters = {"validation_fraction": validation_fraction, "callbacks": [Watch()]}
    averaged = _make(**parameters).fit(batch)
    plain = _make(weight_averaging=None, **parameters).fit(batch)
    assert averaged.loss_curve_ == plain.loss_curve_
    for first, second in zip(_watched(averaged).steps_, _watched(plain).steps_, strict=True):
        assert _equal(first, second)
    names = [name for name, _ in plain.net_.callbacks_]
    assert "weight_averaging" not in names
    if not validation_fraction:
        assert _equal(weights(plain), _watched(plain).steps_[-1])


@pytest.mark.parametrize(("losses", "best"), [((3, 1, 2), 2), ((3, 2, 1), 3), ((1, 2, 3), 1)])
def test_the_best_average_is_kept(batch: Any, losses: tuple[float, ...], best: int) -> None:
    watch = Watch(losses)
    separator = _make(validation_fraction=0.25, callbacks=[watch]).fit(batch)
    watch = _watched(separator)
    assert separator.validation_loss_curve_ == list(losses)
    for epoch, shown in enumerate(watch.shown_, 1):
        _assert_close(shown, _average(watch.steps_[: 1 + 3 * epoch]))
    n_batches = len(watch.validated_) // 3
    assert len(watch.validated_) == 3 * n_batches
    for index, validated in enumerate(watch.validated_):
        assert _equal(validated, watch.shown_[index // n_batches])
    assert _equal(weights(separator), watch.shown_[best - 1])


def test_the_average_is_validated(batch: Any) -> None:
    separator = _make(validation_fraction=0.25).fit(batch)
    plain = _make(validation_fraction=0.25, weight_averaging=None).fit(batch)
    assert separator.loss_curve_ == plain.loss_curve_
    assert separator.validation_loss_curve_ != plain.validation_loss_curve_
    # An average that keeps hardly anything is hardly an average.
    short = _make(validation_fraction=0.25, weight_averaging=1e-9).fit(batch)
    assert short.validation_loss_curve_ == pytest.approx(plain.validation_loss_curve_, rel=1e-5)


@pytest.mark.parametrize("validation_fraction", [0.0, 0.25])
def test_interruptions_leave_an_average(batch: Any, validation_fraction: float) -> None:
    parameters = {"validation_fraction": validation_fraction, "random_state": 1}
    for n_complete in (0, 1):
        callbacks = [Watch(), Stop(n_complete, KeyboardInterrupt)]
        separator = _make(callbacks=callbacks, **parameters)
        with pytest.raises(TrainingInterrupted):
            separator.fit(batch)
        watch = _watched(separator)
        assert len(watch.steps_) == 2 + 3 * n_complete
        if validation_fraction and n_complete:
            assert _equal(weights(separator), watch.shown_[0])
        else:
            _assert_close(weights(separator), _average(watch.steps_))


class InValidation(Callback):
    """Interrupts the training in the first validation."""

    def on_batch_end(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        if not training:
            raise KeyboardInterrupt


def test_an_interrupted_validation_leaves_the_average(batch: Any) -> None:
    separator = _make(validation_fraction=0.25, callbacks=[Watch(), InValidation()])
    with pytest.raises(TrainingInterrupted):
        separator.fit(batch)
    _assert_close(weights(separator), _average(_watched(separator).steps_))


class Last(Callback):
    """A power failure just before the result is there."""

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        raise Crash


@pytest.mark.parametrize("callback", [Stop(1), Stop(2), Last()], ids=["first", "second", "last"])
@pytest.mark.parametrize("validation_fraction", [0.0, 0.25])
def test_a_checkpoint_restores_the_average(
    batch: Any, tmp_path: Path, callback: Callback, validation_fraction: float
) -> None:
    make = partial(_make, validation_fraction=validation_fraction, dropout=0.5)
    with pytest.raises(Crash):
        make(checkpoint=tmp_path, callbacks=[callback]).fit(batch)
    assert len(list(tmp_path.iterdir())) == 1
    assert_same_fit(make(checkpoint=tmp_path).fit(batch), make().fit(batch), batch)
    assert list(tmp_path.iterdir()) == []


def test_other_averages_have_another_file(batch: Any, tmp_path: Path) -> None:
    for decay in (None, 0.3, 0.4):
        with pytest.raises(Crash):
            _make(weight_averaging=decay, checkpoint=tmp_path, callbacks=[Stop(1)]).fit(batch)
    assert len(list(tmp_path.iterdir())) == 3


def test_partial_fit_does_not_average(batch: Any) -> None:
    first, second = (
        _make(weight_averaging=decay, max_epochs=1).partial_fit(batch) for decay in (0.9, None)
    )
    assert_same_fit(first, second, batch)
    # It goes on from the average.
    fitted = _make(callbacks=[Watch()]).fit(batch)
    before = weights(fitted)
    fitted.set_params(callbacks=[Begin()]).partial_fit(batch)
    assert _equal(dict(fitted.net_.callbacks_)["Begin"].weights_, before)


class Begin(Callback):
    """Keep the weights with which a training begins."""

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        self.weights_ = _copied(net)


def test_warm_starts_begin_with_the_average(batch: Any) -> None:
    separator = _make(optimizer="adam").fit(batch)
    before = weights(separator)
    separator.set_params(warm_start=True, max_epochs=1, callbacks=[Begin()]).fit(batch)
    assert _equal(dict(separator.net_.callbacks_)["Begin"].weights_, before)
    assert separator.n_epochs_ == 4 and not _equal(weights(separator), before)


class Load(Callback):
    """Take other weights when the training begins, as skorch's LoadInitState does."""

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        for part in net.module_.parameters():
            part.data.fill_(0.25)


def test_weights_that_a_callback_loads_are_averaged(batch: Any) -> None:
    separator = _make(callbacks=[Load(), Watch()], max_epochs=1).fit(batch)
    steps = _watched(separator).steps_
    for name, _ in separator.net_.module_.named_parameters():
        assert (steps[0][name] == 0.25).all()
    _assert_close(weights(separator), _average(steps))


class Counts(nn.Module):
    """A network with weights and buffers of several kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 1, 3, padding=1)
        self.norm = nn.BatchNorm2d(1)
        self.register_buffer("is_used", torch.tensor(False))
        self.phases = nn.Parameter(torch.ones(2, dtype=torch.complex64))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        self.is_used.fill_(True)
        output: torch.Tensor = self.norm(self.convolution(features))
        return output * self.phases.prod().abs()


def test_counters_are_copied_and_other_buffers_averaged(batch: Any) -> None:
    separator = _make(ModuleSeparator, module=Counts, module_params=None, callbacks=[Watch()])
    separator.fit(batch)
    found, steps = weights(separator), _watched(separator).steps_
    _assert_close(found, _average(steps))
    by_name = {name.rpartition(".")[2]: name for name in found}
    assert int(found[by_name["num_batches_tracked"]]) == 9
    assert bool(found[by_name["is_used"]])
    assert found[by_name["phases"]].dtype == torch.complex64
    for name in ("running_mean", "running_var", "phases"):
        assert not torch.equal(found[by_name[name]], steps[-1][by_name[name]])


def test_nothing_is_left_behind(batch: Any) -> None:
    separator = _make(validation_fraction=0.25).fit(batch)
    averaging = dict(separator.net_.callbacks_)["weight_averaging"]
    assert averaging.averages_ == averaging.trained_ == {}
    restored = pickle.loads(pickle.dumps(separator))
    assert_same_fit(restored, separator, batch)


def test_it_is_a_parameter(batch: Any, tmp_path: Path) -> None:
    separator = _make()
    assert separator.get_params()["weight_averaging"] == _DECAY
    assert clone(separator).weight_averaging == _DECAY
    assert small().weight_averaging is None
    separator.fit(batch)
    sksep.save(separator, tmp_path / "separator.safetensors")
    loaded = sksep.load(tmp_path / "separator.safetensors")
    assert loaded.weight_averaging == _DECAY
    assert_same(loaded.predict_mask(batch), separator.predict_mask(batch))
