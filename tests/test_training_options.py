"""Names of devices, precisions, optimizers and schedules; splits by track."""

import pickle
import warnings

import numpy as np
import pytest
import torch

from sksep import MaskBuilder, MelChunker, UNetSeparator
from sksep.datasets import make_songs
from sksep.training._options import (
    OPTIMIZERS,
    device_options,
    resolve_device,
    resolve_optimizer,
    resolve_precision,
    schedule_callback,
    warn_if_emulated,
)
from sksep.training._run import resume_optimizer
from sksep.training._tracks import TrainingTracks

CPU = torch.device("cpu")
needs_no_cuda = pytest.mark.skipif(torch.cuda.is_available(), reason="the missing device is there")


def learning_rates(schedule, n_batches, optimizer=torch.optim.SGD, lr=0.1):
    """Rate of every batch, with one step after each batch, as skorch does it."""
    callback = schedule_callback(schedule, lr, n_batches)
    assert callback.step_every == "batch"
    stepped = optimizer([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    scheduler = callback.policy(stepped, **callback.kwargs)
    rates = []
    for _ in range(n_batches):
        rates.append(stepped.param_groups[0]["lr"])
        stepped.step()
        scheduler.step()
    return np.array(rates), stepped


def test_auto_is_the_best_device_there_is():
    device = resolve_device("auto")
    if torch.cuda.is_available():
        assert device.type == "cuda"
    else:
        assert device.type == ("mps" if torch.backends.mps.is_available() else "cpu")
    assert resolve_device("cpu") == CPU
    assert resolve_device(CPU) == CPU


@needs_no_cuda
@pytest.mark.parametrize("device", ["cuda", "cuda:1"])
def test_a_missing_device_raises(device):
    with pytest.raises(ValueError, match=f"device '{device}' is not available.*'auto'"):
        resolve_device(device)


@pytest.mark.parametrize("device", ["gpu", "", 3.5, None])
def test_an_unknown_device_raises(device):
    with pytest.raises(ValueError, match="device must be 'auto'"):
        resolve_device(device)


def test_a_device_without_numbers_raises():
    with pytest.raises(ValueError, match="not available"):
        resolve_device("meta")


@pytest.mark.cuda
def test_cuda_devices():
    assert resolve_device("auto").type == "cuda"
    assert resolve_device("cuda:0") == torch.device("cuda:0")
    assert resolve_precision("float32", torch.device("cuda")) == torch.float32


def test_precisions():
    assert resolve_precision("float32", CPU) == torch.float32
    assert resolve_precision("bfloat16", CPU) == torch.bfloat16
    assert resolve_precision("auto", torch.device("mps")) == torch.float32
    with pytest.raises(ValueError, match=r"precision must be one of 'auto'.*got 'float16'"):
        UNetSeparator(precision="float16")._check_parameters()


@pytest.mark.parametrize("supported", [True, False, None])
def test_auto_precision_follows_the_hardware(monkeypatch, supported):
    if supported is None:  # some releases of torch cannot tell
        monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    else:
        monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: supported, raising=False)
    expected = torch.bfloat16 if supported else torch.float32
    assert resolve_precision("auto", CPU) == expected


@pytest.mark.parametrize("check", ["_is_avx512_bf16_supported", "_is_amx_tile_supported"])
def test_bfloat16_without_instructions_for_it_warns(monkeypatch, check):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    with pytest.warns(UserWarning, match="no instructions for bfloat16.*Set precision='auto'"):
        warn_if_emulated("bfloat16", CPU)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_if_emulated("auto", CPU)
        warn_if_emulated("float32", CPU)
        warn_if_emulated("bfloat16", torch.device("cuda"))
        monkeypatch.setattr(torch.cpu, check, lambda: True, raising=False)
        warn_if_emulated("bfloat16", CPU)
        monkeypatch.setattr(torch.cpu, check, lambda: False, raising=False)
        monkeypatch.setattr("platform.machine", lambda: "arm64")
        warn_if_emulated("bfloat16", CPU)


@pytest.mark.filterwarnings("default")
def test_fit_warns_of_emulated_bfloat16(monkeypatch):
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"):
        monkeypatch.setattr(torch.cpu, name, lambda: False, raising=False)
    songs = make_songs(1, duration=1.0, random_state=0)
    chunks = MelChunker(n_fft=512, n_mels=24, n_frames=20).transform(songs.mixtures)
    batch = MaskBuilder().fit_transform(chunks, songs.vocals)
    separator = UNetSeparator(
        n_filters=2,
        n_levels=2,
        max_epochs=1,
        precision="bfloat16",
        augmentation=False,
        device="cpu",
    )
    with pytest.warns(UserWarning, match="no instructions for bfloat16"):
        separator.fit(batch)


def test_optimizers():
    for name, expected in OPTIMIZERS.items():
        assert resolve_optimizer(name) is expected
    assert resolve_optimizer("rmsprop") is torch.optim.RMSprop
    assert resolve_optimizer(torch.optim.NAdam) is torch.optim.NAdam
    with pytest.raises(ValueError, match=r"optimizer must be one of 'rmsprop'.*got 'adagrad'"):
        resolve_optimizer("adagrad")
    for wrong in (None, 3, dict, torch.optim.Adam([torch.nn.Parameter(torch.zeros(1))])):
        with pytest.raises(TypeError, match="torch optimizer class"):
            resolve_optimizer(wrong)


PINNED = {"iterator_train__pin_memory": True, "iterator_valid__pin_memory": True}


class Unfused(torch.optim.Adam):
    """An optimizer that a user has written."""

    def __init__(self, params, lr=1e-3):
        super().__init__(params, lr=lr)


@pytest.mark.parametrize(
    ("optimizer", "device", "expected"),
    [
        (torch.optim.Adam, "cpu", {}),
        (torch.optim.Adam, "mps", {}),
        (torch.optim.Adam, "cuda", {**PINNED, "optimizer__fused": True}),
        (torch.optim.AdamW, "cuda:1", {**PINNED, "optimizer__fused": True}),
        (torch.optim.RMSprop, "cuda", PINNED),
        (torch.optim.Adagrad, "cuda", PINNED),  # has the parameter, but not for CUDA
        (Unfused, "cuda", PINNED),
    ],
)
def test_options_of_devices(optimizer, device, expected):
    assert device_options(optimizer, torch.device(device), {}) == expected
    # The user has chosen an option that does not allow fused steps.
    chosen = device_options(optimizer, torch.device(device), {"optimizer__foreach": True})
    assert chosen == {name: value for name, value in expected.items() if "fused" not in name}


def test_net_params_go_before_options_of_devices(monkeypatch):
    module = "sksep.training._fit"
    monkeypatch.setattr(f"{module}.device_options", lambda *_: {**PINNED, "optimizer__fused": True})
    batch = make_batch(1)
    for net_params, fused in [({}, True), ({"optimizer__fused": False}, False)]:
        separator = UNetSeparator(
            n_filters=1,
            n_levels=1,
            max_epochs=1,
            optimizer="adam",
            net_params={**net_params, "iterator_train__pin_memory": False},
            device="cpu",
        )
        net = separator.fit(batch).net_
        assert net.optimizer_.defaults["fused"] is fused
        assert not net.iterator_train__pin_memory and net.iterator_valid__pin_memory


def test_averages_go_on_in_fused_steps():
    weights = torch.nn.Parameter(torch.ones(3))
    before = torch.optim.Adam([weights], fused=False)
    weights.sum().backward()
    before.step()
    after = torch.optim.Adam([weights], fused=True)
    resume_optimizer(after, before)
    assert torch.equal(after.state[weights]["exp_avg"], before.state[weights]["exp_avg"])
    assert after.param_groups[0]["fused"]


def test_no_schedule_is_no_callback():
    assert schedule_callback(None, 0.1, 10) is None
    with pytest.raises(ValueError, match="schedule must be one of None, 'cosine', 'one_cycle'"):
        UNetSeparator(schedule="linear")._check_parameters()


@pytest.mark.parametrize("n_batches", [1, 2, 3, 5, 9, 10, 14, 19, 20, 30, 99, 1000])
def test_cosine_falls_from_the_rate_to_zero(n_batches):
    rates, _ = learning_rates("cosine", n_batches)
    expected = 0.05 * (1 + np.cos(np.pi * np.arange(n_batches) / (n_batches + 1)))
    np.testing.assert_allclose(rates, expected, atol=1e-6)
    assert rates[0] == pytest.approx(0.1)
    if n_batches > 20:
        assert rates[-1] < 0.02 * 0.1


@pytest.mark.parametrize("n_batches", [1, 2, 3, 5, 9, 10, 14, 19, 20, 30, 99, 1000])
def test_one_cycle_rises_to_the_rate_and_falls_to_zero(n_batches):
    rates, _ = learning_rates("one_cycle", n_batches)
    assert rates[0] == pytest.approx(0.1 / 25)
    if n_batches == 1:
        return
    peak = int(rates.argmax())
    assert rates.max() == pytest.approx(0.1)
    assert peak == max(1, round(0.1 * n_batches))
    assert (np.diff(rates[: peak + 1]) > 0).all() and (np.diff(rates[peak:]) < 0).all()
    if n_batches > 20:
        assert rates[-1] < 0.02 * 0.1


@pytest.mark.parametrize("schedule", ["cosine", "one_cycle"])
@pytest.mark.parametrize("optimizer", list(OPTIMIZERS.values()))
def test_schedules_leave_the_momentum_alone(schedule, optimizer):
    _, stepped = learning_rates(schedule, 15, optimizer)
    for name in ("momentum", "betas"):
        assert stepped.param_groups[0].get(name) == stepped.defaults.get(name)


@pytest.mark.parametrize("schedule", ["cosine", "one_cycle"])
def test_schedules_can_be_pickled(schedule):
    callback = pickle.loads(pickle.dumps(schedule_callback(schedule, 0.1, 10)))
    assert callback.kwargs == schedule_callback(schedule, 0.1, 10).kwargs


def make_batch(n_tracks):
    tracks = [np.full(2000, 0.01 * (1 + index), np.float32) for index in range(n_tracks)]
    chunks = MelChunker(n_fft=512, n_mels=16, n_frames=16).fit_transform(tracks)
    return MaskBuilder().fit_transform(chunks, tracks)


def split(batch, fraction, required=False, seed=0, groups=None):
    tracks = TrainingTracks.of(batch, "Test", groups=groups)
    parts = tracks.split(fraction, required=required, random_state=np.random.RandomState(seed))
    return tuple(part.batch for part in parts)


@pytest.mark.parametrize(
    ("n_tracks", "fraction", "n_held"),
    [(10, 0.1, 1), (10, 0.0, 0), (4, 0.1, 0), (3, 0.5, 2), (2, 0.9, 1), (1, 0.9, 0)],
)
def test_tracks_are_held_back(n_tracks, fraction, n_held):
    batch = make_batch(n_tracks)
    train, validation = split(batch, fraction)
    assert len(validation) == n_held and len(train) == n_tracks - n_held
    names = [record.name for record in [*train, *validation]]
    assert sorted(names) == sorted(record.name for record in batch)
    assert [record.name for record in train] == sorted(record.name for record in train)


def test_required_tracks_are_at_least_one():
    batch = make_batch(4)
    assert len(split(batch, 0.1, required=True)[1]) == 1
    for tracks, fraction in [(batch, 0.0), (batch[:1], 0.1), (batch[:1], 0.9)]:
        with pytest.raises(ValueError, match="early_stopping needs validation tracks"):
            split(tracks, fraction, required=True)


def test_the_seed_decides_the_split():
    batch = make_batch(8)
    held = [{record.name for record in split(batch, 0.5, seed=seed)[1]} for seed in (0, 0, 1, 2)]
    assert held[0] == held[1]
    assert held[0] != held[2] or held[0] != held[3]
