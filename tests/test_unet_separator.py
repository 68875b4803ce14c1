"""UNetSeparator: parameters, fitting, warm starts, interruption and pickling."""

import copy
import inspect
import io
import pickle
import re
import threading
from contextlib import nullcontext
from dataclasses import replace
from functools import partial

import joblib
import numpy as np
import pytest
import torch
from helpers import assert_same, small, weights
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochTimer,
    GradientNormClipping,
    LoadInitState,
)
from skorch.history import History

from sksep import MaskBuilder, MelChunker, UNetSeparator
from sksep.nn.fully_convolutional import FullyConvolutionalNetwork
from sksep.nn.singing_voice_unet import SingingVoiceUNet
from sksep.nn.unet import UNet
from sksep.training import Augmentation, TrainingInterrupted

FRONT_END = {"n_fft": 512, "n_mels": 24, "n_frames": 20}
make = partial(
    small, max_epochs=1, excerpts_per_epoch=8, validation_fraction=0.0, precision="float32"
)


def same(first, second):
    return all(torch.equal(first[name], second[name]) for name in first)


def masks(separator, batch):
    return np.concatenate([mask.ravel() for mask in separator.predict_mask(batch)])


class Recorder(Callback):
    """Record values, which tests read from ``net_.callbacks_``."""

    def initialize(self):
        self.rates_, self.batch_sizes_, self.n_epochs_ = [], [], 0
        return self

    def on_batch_end(self, net, batch=None, training=None, **kwargs):
        if training:
            self.rates_.append(net.optimizer_.param_groups[0]["lr"])
            self.batch_sizes_.append(len(batch[0]))

    def on_epoch_end(self, net, **kwargs):
        self.n_epochs_ += 1


class Interrupt(Callback):
    """Press Ctrl-C during an epoch, after the first of its batches."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_batch_end(self, net, training=None, **kwargs):
        if training and net.history[-1, "epoch"] == self.epoch:
            raise KeyboardInterrupt


class Spoil(Callback):
    """Replace the weights at the start of an epoch, and keep the previous ones."""

    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_begin(self, net, **kwargs):
        if net.history[-1, "epoch"] == self.epoch:
            self.before_ = copy.deepcopy(net.module_.state_dict())
            with torch.no_grad():
                for parameter in net.module_.parameters():
                    parameter.mul_(-30.0)


def recorded(separator, kind):
    (found,) = [each for _, each in separator.net_.callbacks_ if isinstance(each, kind)]
    return found


# Parameters.


def test_init_stores_only():
    signature = inspect.signature(UNetSeparator.__init__).parameters
    names = [name for name in signature if name != "self"]
    marks = {name: object() for name in names}
    separator = UNetSeparator(**marks)
    assert vars(separator) == marks
    assert separator.get_params(deep=False) == marks
    assert all(
        parameter.default is not inspect.Parameter.empty
        for parameter in signature.values()
        if parameter.name != "self"
    )


def test_fit_changes_no_parameter(batch):
    separator = make(
        augmentation=Augmentation(speed_range=(0.9, 1.1)),
        callbacks=[Recorder(), ("named", Recorder())],
        net_params={"optimizer__eps": 1e-7},
        schedule="cosine",
        gradient_clipping=1.0,
        validation_fraction=0.3,
    )
    before = {name: (value, repr(value)) for name, value in separator.get_params().items()}
    states = [vars(separator.callbacks[0]).copy(), vars(separator.callbacks[1][1]).copy()]
    assert separator.fit(batch) is separator
    after = separator.get_params()
    assert set(after) == set(before)
    for name, (value, text) in before.items():
        assert after[name] is value and repr(after[name]) == text, name
    # skorch and callbacks keep state, but the parameter itself must not change.
    assert [vars(separator.callbacks[0]), vars(separator.callbacks[1][1])] == states
    clone(separator)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"architecture": "transformer"}, ValueError, "architecture"),
        ({"skip": "sum"}, ValueError, "skip"),
        ({"architecture": "fully_convolutional", "skip": "sum"}, ValueError, "skip"),
        ({"n_filters": 0}, ValueError, "n_filters"),
        ({"n_filters": 2.5}, TypeError, "n_filters"),
        ({"n_levels": 0}, ValueError, "n_levels"),
        ({"n_levels": 11}, ValueError, "n_levels"),
        ({"dropout": 1.0}, ValueError, "dropout"),
        ({"loss": "mse"}, ValueError, "loss"),
        ({"loss": None}, ValueError, "loss"),
        ({"optimizer": "lion"}, ValueError, "optimizer"),
        ({"optimizer": 3}, TypeError, "optimizer"),
        ({"lr": 0.0}, ValueError, "lr"),
        ({"lr": "fast"}, TypeError, "lr"),
        ({"schedule": "steps"}, ValueError, "schedule"),
        ({"weight_decay": -1.0}, ValueError, "weight_decay"),
        ({"gradient_clipping": 0.0}, ValueError, "gradient_clipping"),
        ({"batch_size": 0}, ValueError, "batch_size"),
        ({"max_epochs": 0}, ValueError, "max_epochs"),
        ({"max_epochs": True}, TypeError, "max_epochs"),
        ({"excerpts_per_epoch": 0}, ValueError, "excerpts_per_epoch"),
        ({"validation_fraction": 1.0}, ValueError, "validation_fraction"),
        ({"validation_fraction": 0.5, "n_iter_no_change": 0}, ValueError, "n_iter_no_change"),
        ({"early_stopping": True}, ValueError, "early_stopping"),
        ({"augmentation": "on"}, TypeError, "augmentation"),
        ({"augmentation": 3}, TypeError, "augmentation"),
        ({"augmentation": Augmentation(true_pairs=2)}, ValueError, "true_pairs"),
        ({"device": "tpu"}, ValueError, "device"),
        ({"precision": "float16"}, ValueError, "precision"),
    ],
)
def test_errors_name_the_parameter(batch, parameters, error, message):
    separator = make(**parameters)
    with pytest.raises(error, match=message):
        separator.fit(batch)
    with pytest.raises(NotFittedError):
        separator.predict(batch)


def test_the_network_follows_its_parameters(batch):
    parameters = {"n_filters": 3, "n_levels": 3, "dropout": 0.25, "skip": "add"}
    for architecture, kind in [
        ("report", UNet),
        ("singing_voice", SingingVoiceUNet),
        ("fully_convolutional", FullyConvolutionalNetwork),
    ]:
        separator = make(architecture=architecture, **parameters)
        network = separator.fit(batch).net_.module_.network
        assert type(network) is kind
        assert network.encoders[0][0].out_channels == 3 and network.n_levels == 3
        assert getattr(network, "skip", "add") == "add"
        dropouts = [part.p for part in network.modules() if isinstance(part, torch.nn.Dropout2d)]
        assert set(dropouts) == {0.25}
        assert masks(separator, batch).std() > 0


def changed_weights(batch, base=None, **parameters):
    before = weights((base or make()).fit(batch))
    after = weights(make(**parameters).fit(batch))
    return not same(before, after)


@pytest.mark.parametrize(
    "parameters",
    [
        {"dropout": 0.1},
        {"loss": "l1"},
        {"loss": "snr"},
        {"loss": "si_sdr"},
        {"optimizer": "adam"},
        {"optimizer": torch.optim.NAdam},
        {"lr": 3e-3},
        {"schedule": "cosine"},
        {"schedule": "one_cycle"},
        {"weight_decay": 0.1},
        {"gradient_clipping": 1e-3},
        {"weight_averaging": 0.9},
        {"batch_size": 2},
        {"max_epochs": 2},
        {"excerpts_per_epoch": 12},
        {"augmentation": False},
        {"augmentation": None},
        {"augmentation": Augmentation(noise_snr=0.0)},
        {"augmentation": Augmentation(speed_range=(0.9, 1.1))},
        {"augmentation": Augmentation(vocals_speed_range=(0.9, 1.1))},
        {"augmentation": Augmentation(formant_range=(0.9, 1.1))},
        {"augmentation": Augmentation(vocal_free=1.0)},
        {"precision": "bfloat16"},
        {"net_params": {"optimizer__eps": 1e-2}},
        {"random_state": 1},
    ],
    ids=str,
)
@pytest.mark.filterwarnings("ignore:This processor has no instructions for bfloat16")
def test_every_parameter_takes_effect(batch, parameters):
    assert changed_weights(batch, **parameters)


def test_augmentation_true_is_the_default_object(batch):
    assert not changed_weights(batch, augmentation=Augmentation())
    assert not changed_weights(batch, make(augmentation=False), augmentation=None)


def test_the_targets_set_the_kind_of_mask(songs, chunks, batch):
    power = weights(make().fit(batch))
    for parameters in ({"ratio": "magnitude"}, {"silence_threshold": -5.0}):
        other = MaskBuilder(**parameters).fit_transform(chunks, songs.vocals)
        assert not same(power, weights(make().fit(other)))


def test_batches_and_epochs(batch):
    separator = make(callbacks=[Recorder()], max_epochs=3, batch_size=5, excerpts_per_epoch=12)
    separator.fit(batch)
    recorder = recorded(separator, Recorder)
    assert recorder.n_epochs_ == 3 and recorder.batch_sizes_ == [5, 5, 2] * 3
    assert separator.n_epochs_ == 3
    separator = make(callbacks=[Recorder()], augmentation=False, batch_size=100).fit(batch)
    n_kept = sum(record.targets.chunk_is_kept.sum() for record in batch)
    assert recorded(separator, Recorder).batch_sizes_ == [n_kept]


@pytest.mark.parametrize(("max_epochs", "optimizer"), [(1, "rmsprop"), (2, "adamw")])
def test_schedules_run_over_all_batches(batch, max_epochs, optimizer):
    parameters = {"optimizer": optimizer, "lr": 0.01, "max_epochs": max_epochs}
    parameters |= {"callbacks": [Recorder()], "batch_size": 1, "excerpts_per_epoch": 24}
    parameters |= {"n_filters": 1, "n_levels": 1}
    n_batches = 24 * max_epochs

    def course(schedule):
        separator = make(schedule=schedule, **parameters).fit(batch)
        # The callback gets the rate that the schedule has set for the batch.
        return np.array(separator.net_.history[:, "batches", :, "event_lr"]).ravel()

    rates = course("one_cycle")
    assert len(rates) == n_batches
    assert rates[0] == pytest.approx(0.01 / 25) and rates.max() == pytest.approx(0.01)
    assert rates.argmax() == round(0.1 * n_batches) and rates[-1] < 2e-4
    rates = course("cosine")
    assert len(rates) == n_batches and rates[0] == pytest.approx(0.01)
    assert (np.diff(rates) < 0).all() and rates[-1] < 2e-4


def test_a_constant_rate_is_constant(batch):
    separator = make(lr=0.02, callbacks=[Recorder()], max_epochs=2).fit(batch)
    assert set(recorded(separator, Recorder).rates_) == {0.02}
    assert isinstance(separator.net_.optimizer_, torch.optim.RMSprop)


def test_gradient_clipping_and_weight_decay_reach_skorch(batch):
    separator = make(gradient_clipping=0.5, weight_decay=0.25).fit(batch)
    assert recorded(separator, GradientNormClipping).gradient_clip_value == 0.5
    assert separator.net_.optimizer_.param_groups[0]["weight_decay"] == 0.25


def test_net_params_are_passed_through(batch):
    separator = make(
        optimizer="sgd",
        net_params={
            "optimizer__momentum": 0.5,
            "iterator_train__drop_last": True,
            "callbacks__epoch_timer": None,
        },
        callbacks=[Recorder()],
        excerpts_per_epoch=11,
    ).fit(batch)
    assert separator.net_.optimizer_.param_groups[0]["momentum"] == 0.5
    assert recorded(separator, Recorder).batch_sizes_ == [4, 4]
    assert not any(isinstance(each, EpochTimer) for _, each in separator.net_.callbacks_)
    with pytest.raises((TypeError, ValueError), match="unknown"):
        make(net_params={"unknown": 1}).fit(batch)


# Randomness.


@pytest.mark.parametrize(
    "augmentation", [False, Augmentation(speed_range=(0.9, 1.1), noise_snr=20)]
)
def test_equal_seeds_give_equal_predictions(batch, augmentation):
    parameters = {"augmentation": augmentation, "max_epochs": 2, "validation_fraction": 0.3}
    first, second, other = (make(random_state=seed, **parameters).fit(batch) for seed in (0, 0, 1))
    assert same(weights(first), weights(second))
    assert first.loss_curve_ == second.loss_curve_
    for one, two, three in zip(
        *(each.predict(batch) for each in (first, second, other)), strict=True
    ):
        np.testing.assert_array_equal(one, two)
        assert not np.array_equal(one, three)
    np.testing.assert_array_equal(masks(first, batch), masks(first, batch))
    assert same(weights(first), weights(first.fit(batch)))  # fitting again begins anew


def test_random_states_are_used(batch):
    first = make(random_state=np.random.RandomState(3)).fit(batch)
    second = make(random_state=np.random.RandomState(3)).fit(batch)
    assert same(weights(first), weights(second))
    state = np.random.RandomState(3)
    first, second = (make(random_state=state).fit(batch) for _ in range(2))
    assert not same(weights(first), weights(second))
    first, second = (make(random_state=None).fit(batch) for _ in range(2))
    assert not same(weights(first), weights(second))


def test_global_random_states_are_left_alone(batch):
    before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    separator = make(augmentation=Augmentation(speed_range=(0.9, 1.1), noise_snr=20)).fit(batch)
    separator.partial_fit(batch).predict(batch)
    assert torch.equal(torch.get_rng_state(), torch_before)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    # They have no influence either.
    torch.manual_seed(123)
    assert same(weights(separator), weights(clone(separator).fit(batch).partial_fit(batch)))


# Warm starts.


def test_fit_begins_anew_unless_warm(batch):
    separator = make(max_epochs=2).fit(batch)
    separator.fit(batch)
    assert len(separator.history_) == 2 and separator.n_epochs_ == 2
    separator.set_params(warm_start=True).fit(batch)
    assert len(separator.history_) == 4 and separator.n_epochs_ == len(separator.loss_curve_) == 4
    assert [row["epoch"] for row in separator.history_] == [1, 2, 3, 4]


@pytest.mark.parametrize("optimizer", ["rmsprop", "adam", "sgd"])
def test_warm_starts_go_on_where_they_were(batch, optimizer):
    parameters = {"optimizer": optimizer, "lr": 1e-3, "augmentation": False, "batch_size": 100}
    parameters |= {"dropout": 0.0, "max_epochs": 8}
    separator = make(warm_start=True, **parameters).fit(batch)
    separator.set_params(max_epochs=4).fit(batch)
    # All chunks are in one batch, so a training in two parts is the same as in one.
    through = make(**{**parameters, "max_epochs": 12}).fit(batch)
    np.testing.assert_allclose(separator.loss_curve_, through.loss_curve_, rtol=2e-3)


def test_warm_starts_train_on_other_excerpts(batch):
    seen = []

    def loss(logits, excerpts):
        seen.append(excerpts.vocals.clone())
        return logits.square().mean()

    separator = make(warm_start=True, loss=loss).fit(batch)
    n_batches = len(seen)
    separator.fit(batch)
    assert len(seen) == 2 * n_batches
    assert not torch.equal(seen[0], seen[n_batches])
    separator.partial_fit(batch)
    assert not torch.equal(seen[n_batches], seen[2 * n_batches])


def test_warm_starts_take_new_training_parameters(batch):
    separator = make(warm_start=True, optimizer="adam").fit(batch)
    separator.set_params(lr=0.5, weight_decay=0.1, loss="snr", callbacks=[Recorder()]).fit(batch)
    assert set(recorded(separator, Recorder).rates_) == {0.5}
    assert separator.net_.optimizer_.param_groups[0]["weight_decay"] == 0.1
    assert separator.loss_curve_[1] != separator.loss_curve_[0]
    separator.set_params(optimizer="sgd", schedule="one_cycle").fit(batch)
    assert isinstance(separator.net_.optimizer_, torch.optim.SGD)
    separator.set_params(net_params={"optimizer__momentum": 0.9}).fit(batch)
    assert separator.n_epochs_ == 4


def test_warm_starts_keep_the_normalization(batch):
    separator = make(warm_start=True).fit(batch)
    mean = separator.net_.module_.mean.clone()
    separator.fit(batch[:1])
    assert torch.equal(separator.net_.module_.mean, mean)


def test_warm_starts_with_another_front_end_raise(songs, batch):
    separator = make(warm_start=True).fit(batch)
    before = weights(separator)
    other = MelChunker(**{**FRONT_END, "n_mels": 20}).fit_transform(songs.mixtures)
    other = MaskBuilder().fit_transform(other, songs.vocals)
    for fit in (separator.fit, separator.partial_fit):
        with pytest.raises(ValueError, match="other settings"):
            fit(other)
    assert same(before, weights(separator))
    assert separator.set_params(warm_start=False).fit(other).front_end_.n_mels == 20


def test_partial_fit_trains_one_epoch_more(batch):
    separator = make(max_epochs=7, augmentation=False, validation_fraction=0.5, schedule="cosine")
    for n_epochs in range(1, 4):
        assert separator.partial_fit(batch[:2]) is separator
        assert separator.n_epochs_ == len(separator.history_) == n_epochs
    assert separator.validation_loss_curve_ == []  # no track is held back
    losses = make(lr=1e-2, augmentation=False, batch_size=100)
    for _ in range(10):
        losses.partial_fit(batch)
    assert losses.loss_curve_[-1] < losses.loss_curve_[0]
    separator.fit(batch)
    assert separator.n_epochs_ == 7


def test_a_failed_fit_leaves_nothing_behind(batch):
    def broken(logits, excerpts):
        raise RuntimeError("broken loss")

    separator = make(loss=broken)
    with pytest.raises(RuntimeError, match="broken loss"):
        separator.fit(batch)
    assert not [name for name in vars(separator) if name.endswith("_")]
    with pytest.raises(NotFittedError):
        separator.predict(batch)


# Validation, early stopping, interruption.


def test_tracks_are_held_back_for_validation(batch):
    separator = make(validation_fraction=0.5, max_epochs=3).fit(batch)
    assert len(separator.validation_loss_curve_) == len(separator.loss_curve_) == 3
    assert np.isfinite(separator.validation_loss_curve_).all()
    assert all("valid_loss" in row for row in separator.history_)
    assert make(validation_fraction=0.1).fit(batch).validation_loss_curve_ == []


def test_validation_is_not_augmented_and_repeats(batch):
    seen = []

    def loss(logits, excerpts):
        if not logits.requires_grad:
            seen.append(excerpts.mixture.clone())
        return logits.square().mean()

    augmentation = Augmentation(speed_range=(0.5, 0.5), noise_snr=0.0)
    make(
        loss=loss, validation_fraction=0.25, max_epochs=2, augmentation=augmentation, batch_size=100
    ).fit(batch)
    assert len(seen) == 2 and torch.equal(seen[0], seen[1])
    # A part of one of the tracks is found unchanged but for the gain of its chunk.
    windows = sliding_window_view(seen[0].numpy(), 100, axis=-1).reshape(-1, 100)
    windows = windows / (np.linalg.norm(windows, axis=1, keepdims=True) + 1e-9)
    parts = np.stack([record.waveform[5000:5100] for record in batch])
    parts /= np.linalg.norm(parts, axis=1, keepdims=True)
    assert ((windows @ parts.T).max(axis=0) > 0.99999).sum() == 1


def test_the_best_weights_are_kept(batch):
    spoil = Spoil(epoch=3)
    parameters = {"validation_fraction": 0.5, "lr": 1e-4, "augmentation": False}
    separator = make(callbacks=[spoil], max_epochs=4, **parameters).fit(batch)
    losses = separator.validation_loss_curve_
    assert len(losses) == 4 and min(losses[2:]) > max(losses[:2])
    best = make(max_epochs=1 + int(np.argmin(losses)), **parameters).fit(batch)
    assert same(weights(separator), weights(best))
    np.testing.assert_array_equal(masks(separator, batch), masks(best, batch))


def test_early_stopping_waits_for_its_patience(batch):
    parameters = {"validation_fraction": 0.5, "lr": 1e-4, "augmentation": False}
    separator = make(
        callbacks=[Spoil(epoch=3)],
        max_epochs=40,
        early_stopping=True,
        n_iter_no_change=3,
        **parameters,
    ).fit(batch)  # without a warning
    losses = separator.validation_loss_curve_
    assert len(losses) == 1 + int(np.argmin(losses)) + 3 < 40
    # A few tracks are enough, even if their share rounds to 0.
    separator = make(early_stopping=True, validation_fraction=0.1).fit(batch)
    assert len(separator.validation_loss_curve_) == 1
    with pytest.raises(ValueError, match="early_stopping needs validation tracks"):
        make(early_stopping=True, validation_fraction=0.5).fit(batch[:1])


def test_the_best_of_negative_losses_is_kept(batch):
    # Losses in dB are negative, for which a relative tolerance has the wrong sign.
    values = iter([-1.0, -5.0, -4.9999, -4.9998])
    state = {}

    def loss(logits, excerpts):
        if not logits.requires_grad:
            state["value"] = next(values)
            return torch.tensor(state["value"])
        return logits.square().mean()

    separator = make(loss=loss, validation_fraction=0.25, max_epochs=4, batch_size=100).fit(batch)
    assert separator.validation_loss_curve_ == pytest.approx([-1.0, -5.0, -4.9999, -4.9998])
    assert recorded(separator, EarlyStopping).best_epoch_ == 2


def test_interruption_keeps_the_best_weights(batch):
    parameters = {"validation_fraction": 0.5, "lr": 1e-4, "augmentation": False}
    separator = make(callbacks=[Spoil(3), Interrupt(4)], max_epochs=9, **parameters)
    with pytest.raises(TrainingInterrupted, match="after 3 of 9 epochs; the best weights"):
        separator.fit(batch)
    losses = separator.validation_loss_curve_
    assert len(losses) == separator.n_epochs_ == 3
    best = make(max_epochs=1 + int(np.argmin(losses)), **parameters).fit(batch)
    assert same(weights(separator), weights(best))
    assert np.isfinite(separator.predict(batch)[0]).all()


def test_interruption_without_validation_keeps_the_weights(batch):
    separator = make(callbacks=[Interrupt(2)], max_epochs=9)
    with pytest.raises(TrainingInterrupted, match="interrupted after 1 of 9 epochs"):
        separator.fit(batch)
    assert separator.n_epochs_ == 1 and len(separator.loss_curve_) == 1
    assert not separator.net_.module_.training
    assert np.isfinite(separator.predict(batch)[0]).all()
    # A later fit is complete, and counts the earlier epochs.
    separator.set_params(callbacks=None, warm_start=True, max_epochs=2).fit(batch)
    assert separator.n_epochs_ == 3


def test_interruption_within_the_first_epoch(batch):
    separator = make(
        callbacks=[Interrupt(1)], max_epochs=2, early_stopping=True, validation_fraction=0.5
    )
    with pytest.raises(TrainingInterrupted, match="interrupted after 0 of 2 epochs"):
        separator.fit(batch)
    assert separator.n_epochs_ == 0 and separator.loss_curve_ == []
    assert np.isfinite(separator.predict(batch)[0]).all()
    pickle.loads(pickle.dumps(separator)).predict(batch)


def test_interruption_stops_searches(songs):
    """A part of a training must not be scored like a whole one."""
    pipeline = make_pipeline(
        MelChunker(**FRONT_END), MaskBuilder(), make(callbacks=[Interrupt(2)], max_epochs=3)
    )
    search = GridSearchCV(pipeline, {"unetseparator__lr": [1e-3, 1e-4]}, cv=2)
    with pytest.raises(KeyboardInterrupt, match="interrupted after 1 of 3 epochs"):
        search.fit(songs.mixtures, songs.vocals)
    assert not hasattr(search, "best_params_")


class Logger(Callback):
    """Write to an object that cannot be copied."""

    def __init__(self, writer):
        self.writer = writer

    def on_epoch_end(self, net, **kwargs):
        self.n_epochs_ = len(net.history)
        self.writer.lines.append(self.n_epochs_)


class Writer:
    """An object that cannot be copied, like an open file."""

    def __init__(self):
        self.lock, self.lines = threading.Lock(), []


@pytest.mark.parametrize("named", [False, True])
def test_loggers_that_cannot_be_copied_share_what_they_write_to(batch, named):
    logger = Logger(Writer())
    callbacks = [("logger", logger) if named else logger]
    separator = make(max_epochs=2, callbacks=callbacks).fit(batch)
    assert logger.writer.lines == [1, 2]
    assert not hasattr(logger, "n_epochs_")
    assert separator.callbacks is callbacks


@pytest.mark.parametrize("is_reversed", [False, True])
def test_callbacks_are_copied_together(batch, tmp_path, is_reversed):
    checkpoint = Checkpoint(monitor="train_loss_best", dirname=str(tmp_path))
    logger = Logger(Writer())  # cannot be copied
    callbacks = [logger, checkpoint, ("load", LoadInitState(checkpoint))]
    separator = make(callbacks=callbacks[::-1] if is_reversed else callbacks, max_epochs=2)
    for n_epochs in (2, 4):
        assert len(separator.fit(batch).loss_curve_) == n_epochs
        copied = recorded(separator, Checkpoint)
        assert recorded(separator, LoadInitState).checkpoint is copied is not checkpoint


def test_classes_of_callbacks_are_made_instances(batch):
    options = {"callbacks__mine__monitor": "train_loss", "callbacks__mine__patience": 1}
    options |= {"callbacks__mine__threshold": 1e9, "callbacks__mine__threshold_mode": "abs"}
    separator = make(callbacks=[Recorder, ("mine", EarlyStopping)], max_epochs=9)
    separator.set_params(net_params=options).fit(batch)
    assert recorded(separator, Recorder).n_epochs_ == separator.n_epochs_ < 9
    with pytest.raises(TypeError, match=r"callbacks\[0\] must be a skorch callback.*got.*Writer"):
        make(callbacks=[Writer]).fit(batch)


@pytest.mark.parametrize("callback", [EarlyStopping, EarlyStopping(), Checkpoint()])
def test_callbacks_that_monitor_a_validation_need_one(batch, callback):
    name = r"(EarlyStopping|Checkpoint) in callbacks monitors 'valid_loss(_best)?'"
    separator = make(callbacks=[callback])
    for fit in (separator.fit, separator.partial_fit):
        with pytest.raises(ValueError, match=rf"{name}.*validation_fraction=0.0 of 4 tracks"):
            fit(batch)


def test_drop_last_must_leave_a_batch(batch):
    for kind in ("train", "valid"):
        option = f"iterator_{kind}__drop_last"
        separator = make(net_params={option: True}, batch_size=100, validation_fraction=0.5)
        with pytest.raises(ValueError, match=f"{option} in net_params leaves no batch.*=100"):
            separator.fit(batch)
    separator = make(net_params={"iterator_train__drop_last": True}, callbacks=[Recorder()])
    separator.set_params(batch_size=3, schedule="cosine", max_epochs=2).fit(batch)
    record = recorded(separator, Recorder)
    assert record.batch_sizes_ == [3] * 4
    np.testing.assert_allclose(record.rates_, 5e-4 * (1 + np.cos(np.pi * np.arange(1, 5) / 5)))


def test_a_callback_of_ones_own_may_stop_early(batch):
    stop = EarlyStopping(monitor="train_loss", patience=1, threshold=1e9, threshold_mode="abs")
    separator = make(callbacks=[stop], max_epochs=9).fit(batch)  # without a warning
    assert separator.n_epochs_ < 9


def test_diverging_training_raises(batch):
    def loss(logits, excerpts):
        return logits.mean() * float("nan")

    with pytest.raises(ValueError, match=r"Training diverged.*Lower lr"):
        make(loss=loss).fit(batch)


# Output and history.


def test_verbose_prints(batch, capfd):
    make(verbose=0, max_epochs=2, validation_fraction=0.5, early_stopping=True).fit(batch)
    out, err = capfd.readouterr()
    assert out == "" and err == ""
    make(verbose=1, max_epochs=2, validation_fraction=0.5).fit(batch)
    out, err = capfd.readouterr()
    assert "train_loss" in out and "valid_loss" in out
    assert re.search(r"^\s*2\s", out, re.MULTILINE)
    assert "%" not in err and "%" not in out  # progress bars are for terminals and notebooks


def test_history(batch):
    separator = make(max_epochs=3).fit(batch)
    assert isinstance(separator.history_, History) and separator.history_ is separator.net_.history
    assert separator.loss_curve_ == separator.history_[:, "train_loss"]
    assert all(isinstance(value, float) for value in separator.loss_curve_)
    assert {"epoch", "train_loss", "dur", "batches"} <= set(separator.history_[0])


@pytest.mark.parametrize(
    "copy_of",
    [
        lambda estimator: pickle.loads(pickle.dumps(estimator)),
        copy.deepcopy,
    ],
)
def test_copies_predict_the_same(batch, copy_of):
    separator = make(validation_fraction=0.5, schedule="one_cycle", verbose=0).fit(batch)
    copied = copy_of(separator)
    assert_same(separator.predict(batch), copied.predict(batch))
    assert copied.loss_curve_ == separator.loss_curve_
    assert copied.get_params().keys() == separator.get_params().keys()
    copied.set_params(warm_start=True).fit(batch)
    assert copied.n_epochs_ == 2 and separator.n_epochs_ == 1


def test_joblib_keeps_no_training_data(batch, tmp_path):
    def dump(tracks):
        stream = io.BytesIO()
        joblib.dump(make(validation_fraction=0.5).fit(tracks), stream)
        return stream.getvalue()

    dumps = [dump(batch[:2]), dump(batch)]
    assert len(dumps[1]) < 2 * batch[0].waveform.nbytes
    assert len(dumps[1]) - len(dumps[0]) < 0.1 * batch[0].waveform.nbytes
    for record in batch:
        for waveform in (record.waveform, record.targets.vocals):
            assert waveform[8000:8100].tobytes() not in dumps[1]
    separator = make().fit(batch)
    joblib.dump(separator, tmp_path / "separator.joblib")
    loaded = joblib.load(tmp_path / "separator.joblib")
    np.testing.assert_array_equal(masks(loaded, batch), masks(separator, batch))


# Input.


def test_no_targets_ask_for_a_mask_builder(songs, chunks):
    for fit in (make().fit, make().partial_fit):
        with pytest.raises(ValueError, match=r"no targets.*Put a MaskBuilder before this step"):
            fit(chunks)
    pipeline = make_pipeline(MelChunker(**FRONT_END), make())
    with pytest.raises(ValueError, match="MaskBuilder"):
        pipeline.fit(songs.mixtures, songs.vocals)


def test_raw_tracks_ask_for_a_chunker(songs, batch):
    with pytest.raises(TypeError, match="Put a MelChunker before this step"):
        make().fit(songs.mixtures, songs.vocals)
    with pytest.raises(TypeError, match="Put a MelChunker before this step"):
        make().fit(batch).predict(songs.mixtures)
    with pytest.raises(ValueError, match="no tracks"):
        make().fit(batch[:0])


@pytest.mark.parametrize("method", ["transform", "predict", "predict_mask", "score"])
def test_unfitted_separators_say_so(songs, batch, method):
    arguments = (batch, songs.vocals) if method == "score" else (batch,)
    with pytest.raises(NotFittedError, match="UNetSeparator"):
        getattr(make(), method)(*arguments)
    assert not hasattr(make(), "history_") and not hasattr(make(), "loss_curve_")


def test_another_front_end_at_predict_raises(songs, batch):
    separator = make().fit(batch)
    for setting in ({"n_mels": 23}, {"n_frames": 30}, {"hop_length": 100}, {"f_max": 6000.0}):
        other = MelChunker(**{**FRONT_END, **setting}).fit_transform(songs.mixtures[:1])
        with pytest.raises(ValueError, match=r"X\[0\] was chunked with other MelChunker settings"):
            separator.predict(other)


def test_silent_training_tracks(songs):
    silence = [np.zeros(16000, np.float32)] * 2
    chunks = MelChunker(**FRONT_END).fit_transform(silence)
    with pytest.raises(ValueError, match="nothing to learn from: all tracks are silent"):
        make().fit(MaskBuilder().fit_transform(chunks, silence))
    # Some silent tracks among others do no harm, in whichever part of the split they are.
    chunks = MelChunker(**FRONT_END).fit_transform([*silence, *songs.mixtures[:2]])
    targets = MaskBuilder().fit_transform(chunks, [*silence, *songs.vocals[:2]])
    for seed in range(3):
        separator = make(random_state=seed, validation_fraction=0.5).fit(targets)
        estimates = separator.predict(targets)
        assert all(np.isfinite(estimate).all() for estimate in estimates)
        assert not estimates[0].any()


@pytest.mark.parametrize("n_samples", [1, 100, 700, 5000])
def test_short_tracks_train_and_predict(n_samples):
    generator = np.random.default_rng(0)
    vocals = generator.normal(0, 0.1, n_samples).astype(np.float32)
    mixture = vocals + generator.normal(0, 0.1, n_samples).astype(np.float32)
    chunks = MelChunker(**FRONT_END).fit_transform([mixture])
    separator = make().fit(MaskBuilder().fit_transform(chunks, [vocals]))
    estimate = separator.predict(chunks)[0]
    assert estimate.shape == (n_samples,) and np.isfinite(estimate).all()


@pytest.mark.parametrize(
    "settings", [{"n_mels": None}, {"n_frames": 21, "n_mels": 17}, {"n_frames": 3, "overlap": 0.0}]
)
@pytest.mark.parametrize("architecture", ["report", "singing_voice", "fully_convolutional"])
@pytest.mark.parametrize("loss", ["bce", "snr"])
def test_other_front_ends_work(songs, settings, architecture, loss):
    chunks = MelChunker(**{**FRONT_END, **settings}).fit_transform(songs.mixtures[:2])
    batch = MaskBuilder().fit_transform(chunks, songs.vocals[:2])
    separator = make(architecture=architecture, loss=loss, n_levels=3).fit(batch)
    mask = separator.predict_mask(chunks)[0]
    assert mask.shape == chunks[0].spectrogram.shape
    assert mask.dtype == np.float32 and 0 <= mask.min() < mask.max() <= 1
    assert np.isfinite(separator.loss_curve_).all()


def test_a_batch_of_one_pixel_trains(songs):
    # The last batch holds one excerpt, which the network halves down to one pixel.
    chunks = MelChunker(n_fft=512, n_mels=16, n_frames=16).fit_transform(songs.mixtures[:2])
    batch = MaskBuilder().fit_transform(chunks, songs.vocals[:2])
    for architecture in ("report", "singing_voice", "fully_convolutional"):
        separator = make(architecture=architecture, n_levels=4, excerpts_per_epoch=5).fit(batch)
        assert np.isfinite(masks(separator, batch)).all()


# Outputs.


def test_outputs_agree_with_each_other(songs, batch, chunks):
    separator = make().fit(batch)
    estimates = separator.predict(chunks)
    assert estimates.dtype == object and estimates.shape == (4,)
    for estimate, vocals in zip(estimates, songs.vocals, strict=True):
        assert estimate.shape == vocals.shape and estimate.dtype == np.float32
    transformed = separator.transform(chunks)
    found = separator.predict_mask(chunks)
    for record, mask, plain in zip(transformed, found, chunks, strict=True):
        np.testing.assert_array_equal(record.mask, mask)
        assert plain.mask is None and record.targets is None
    # Tracks do not influence each other, nor do their targets.
    np.testing.assert_allclose(separator.predict(chunks[2:3])[0], estimates[2], atol=1e-6)
    np.testing.assert_array_equal(separator.predict(batch)[0], estimates[0])
    from sksep.metrics import sdr_score

    expected = sdr_score(songs.vocals, estimates)
    assert separator.score(chunks, songs.vocals) == pytest.approx(float(expected), abs=1e-6)
    with pytest.raises(ValueError, match=r"all references are silent: y_true\[0\]"):
        separator.score(chunks, [0 * track for track in songs.vocals])


def test_the_batch_size_of_predictions_does_not_matter(batch):
    separator = make().fit(batch)
    expected = masks(separator, batch)
    separator.set_params(batch_size=1)
    np.testing.assert_allclose(masks(separator, batch), expected, atol=1e-5)


@pytest.mark.filterwarnings("ignore:This processor has no instructions for bfloat16")
def test_bfloat16_on_the_cpu_is_close_to_float32(batch):
    separator = make(precision="float32", max_epochs=2).fit(batch)
    expected = masks(separator, batch)
    separator.set_params(precision="bfloat16")
    found = masks(separator, batch)
    assert found.dtype == np.float32
    assert 0 < np.abs(found - expected).max() < 0.05
    trained = make(precision="bfloat16", max_epochs=2).fit(batch)
    assert all(value.dtype != torch.bfloat16 for value in weights(trained).values())
    np.testing.assert_allclose(trained.loss_curve_, separator.loss_curve_, rtol=0.02)


@pytest.mark.parametrize("wrong", ["batch", "number", "none"])
def test_a_loss_must_return_a_scalar(batch, wrong):
    def loss(logits, excerpts):
        return {"batch": logits.mean(dim=(1, 2)), "number": 1.0, "none": None}[wrong]

    with pytest.raises(ValueError, match="loss must return a scalar tensor"):
        make(loss=loss).fit(batch)


def test_a_callable_loss_sees_logits_and_excerpts(batch):
    seen = []

    def loss(logits, excerpts):
        seen.append((logits.shape, excerpts.features.shape, excerpts.ratio))
        return (torch.sigmoid(logits) - excerpts.binary_mask).abs().mean()

    separator = make(loss=loss).fit(batch)
    assert seen == [((4, 20, 24), (4, 20, 24), "power")] * 2
    assert 0 < separator.loss_curve_[0] < 1


@pytest.mark.cuda
def test_training_on_cuda(batch):
    torch.cuda.manual_seed(5)
    before, before_cuda = torch.get_rng_state(), torch.cuda.get_rng_state()
    separator = make(device="auto", precision="auto", max_epochs=2, validation_fraction=0.5)
    separator.fit(batch)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(torch.cuda.get_rng_state(), before_cuda)
    assert next(separator.net_.module_.parameters()).device.type == "cuda"
    found = masks(separator, batch)
    on_cpu = make(device="cpu", precision="float32", max_epochs=2, validation_fraction=0.5)
    np.testing.assert_allclose(separator.loss_curve_, on_cpu.fit(batch).loss_curve_, rtol=0.2)
    loaded = pickle.loads(pickle.dumps(separator))
    np.testing.assert_allclose(masks(loaded, batch), found, atol=1e-3)
    assert separator.partial_fit(batch).n_epochs_ == 3
    # A separator that was trained on the CPU may continue on another device.
    on_cpu.set_params(device="cuda", warm_start=True).fit(batch)
    assert on_cpu.n_epochs_ == 4


def test_a_failed_training_leaves_the_separator_as_it_was(batch):
    separator = make(max_epochs=1, lr=1e30, loss="snr", gradient_clipping=None)
    with pytest.raises(ValueError, match="Training diverged"):
        separator.fit(batch)
    with pytest.raises(NotFittedError):
        separator.predict(batch)
    separator.set_params(lr=1e-3, warm_start=True).fit(batch)
    before = separator.predict_mask(batch)[0]
    with pytest.raises(ValueError, match="Training diverged"):
        separator.set_params(lr=1e30).fit(batch)
    np.testing.assert_array_equal(separator.predict_mask(batch)[0], before)


@pytest.mark.parametrize("name", ["callbacks", "device", "criterion", "max_epochs"])
def test_net_params_must_leave_parameters_alone(batch, name):
    with pytest.raises(ValueError, match=f"must not hold {name}"):
        make(net_params={name: None}).fit(batch)


def test_optimizers_without_weight_decay(batch):
    make(optimizer=torch.optim.Rprop, max_epochs=1).fit(batch)
    with pytest.raises(ValueError, match="no weight decay"):
        make(optimizer=torch.optim.Rprop, weight_decay=0.1).fit(batch)


def test_overlap_may_change_after_training(batch):
    separator = make(max_epochs=1).fit(batch)
    front_end = batch[0].front_end
    records = [replace(record, front_end=replace(front_end, overlap=0.75)) for record in batch]
    assert separator.predict_mask(records)[0].shape == batch[0].spectrogram.shape


class _Full(torch.nn.Module):
    """A substitute for the network, with memory for a few chunks only."""

    def __init__(self, module, fits):
        super().__init__()
        self.module, self.fits, self.largest = module, fits, 0

    def forward(self, part):
        if len(part) > self.fits:
            raise torch.cuda.OutOfMemoryError("out of memory")
        self.largest = max(self.largest, len(part))
        return self.module(part)

    def state_dict(self, *args, **kwargs):
        return self.module.state_dict(*args, **kwargs)


@pytest.mark.parametrize("fits", [3, 1, 0])
def test_masks_are_the_same_where_memory_is_short(batch, fits):
    separator = make(batch_size=8).fit(batch)
    expected = separator.predict_mask(batch)
    separator.net_.module_ = full = _Full(separator.net_.module_, fits)
    context = nullcontext() if fits else pytest.warns(UserWarning, match="Not one chunk fits")
    with context:
        result = separator.predict_mask(batch)
    assert full.largest <= fits and full.module is not None
    assert_same(result, expected, 1e-6)
