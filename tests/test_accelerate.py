"""One training on several processes has the same result as on a single process.

If this file runs as a script, it trains the cases below on each process of a launcher.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from helpers import Crash, Stop
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from skorch.callbacks import Callback
from torch import nn

import sksep
from sksep import (
    Augmentation,
    DeepClusteringSeparator,
    HybridClusteringSeparator,
    MaskBuilder,
    MelChunker,
    ModuleSeparator,
    UHNetSeparator,
    UNetSeparator,
)
from sksep.datasets import make_songs
from sksep.metrics import sdr_scorer
from sksep.training._accelerated import AcceleratedNet, synchronized_batch_norm
from sksep.training._dataset import ExcerptDataset
from sksep.training._net import SeparationNet

_CHUNKER = MelChunker(sample_rate=8000, n_fft=256, hop_length=64, n_mels=24, n_frames=20)
# Batches of 5, 5 and 1 excerpts have shares of different sizes, or fewer excerpts than processes.
_TRAINING: dict[str, Any] = {
    "batch_size": 5,
    "excerpts_per_epoch": 11,
    "max_epochs": 3,
    "validation_fraction": 0.25,
    "device": "cpu",
    "precision": "float32",
    "random_state": 0,
}
_HYBRID = HybridClusteringSeparator(hidden_size=4, n_layers=1, dropout=0.0, **_TRAINING)


class Unused(nn.Module):
    """A network with weights that its output does not depend on."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 1, 3, padding=1)
        self.other = nn.Linear(2, 2)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.convolution(features)


class Draws(Callback):
    """Draw random numbers in the second process only, which must not change the order there."""

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        if os.environ.get("RANK") == "1":
            torch.rand(1)


# Separators without dropout and batch norm, which differ on several processes.
_EQUAL: dict[str, Any] = {
    "hybrid": _HYBRID,
    "variation, schedule, clipping": clone(_HYBRID).set_params(
        augmentation=Augmentation(true_pairs=0.5, speed_range=(0.9, 1.1)),
        schedule="one_cycle",
        gradient_clipping=0.5,
        optimizer="adam",
    ),
    "chunks": DeepClusteringSeparator(hidden_size=4, n_layers=1, dropout=0.0).set_params(
        **{**_TRAINING, "augmentation": False, "validation_fraction": 0.0, "callbacks": [Draws()]}
    ),
    "averaged weights": clone(_HYBRID).set_params(weight_averaging=0.9),
    "unused weights": ModuleSeparator(Unused, loss="l1", **_TRAINING),
}
# Separators that differ on several processes. A high rate also enlarges rounding errors.
_DIFFERENT: dict[str, Any] = {
    "early stopping": clone(_HYBRID).set_params(
        early_stopping=True, n_iter_no_change=2, lr=1.0, max_epochs=20
    ),
    "unet": UNetSeparator(n_filters=2, n_levels=2, verbose=1, **_TRAINING),
    "noise": UNetSeparator(n_filters=2, n_levels=2).set_params(
        **{**_TRAINING, "augmentation": Augmentation(noise_snr=10.0), "validation_fraction": 0.0}
    ),
    "uhnet": UHNetSeparator(n_filters=2, depth=2, hidden_size=4, n_layers=1, **_TRAINING),
}


def _songs() -> Any:
    return make_songs(4, 1.0, sample_rate=8000, random_state=0)


def _batch() -> Any:
    songs = _songs()
    return MaskBuilder().fit_transform(_CHUNKER.fit_transform(songs.mixtures), songs.vocals)


def _summary(separator: Any) -> dict[str, Any]:
    net = separator.net_
    assert type(net) is SeparationNet
    assert b"AcceleratorState" not in pickle.dumps(separator)
    layers = {type(layer).__name__ for layer in net.module_.modules()}
    assert not layers & {"SyncBatchNorm", "DistributedDataParallel"}
    return {
        "weights": net.module_.state_dict(),
        "losses": [separator.loss_curve_, separator.validation_loss_curve_],
    }


def _interrupted(separator: Any, batch: Any, folder: Path) -> Any:
    separator = clone(separator).set_params(checkpoint=folder)
    with pytest.raises(Crash):
        clone(separator).set_params(callbacks=[Stop(2)]).fit(batch)
    assert len(list(folder.iterdir())) == 1
    return separator


def _search(accelerate: bool) -> Any:
    songs = _songs()
    separator = clone(_HYBRID).set_params(
        max_epochs=1, output="mask", validation_fraction=0.0, accelerate=accelerate
    )
    pipeline = make_pipeline(_CHUNKER, MaskBuilder(), separator)
    grid = {"hybridclusteringseparator__lr": [1e-3, 1e-1]}
    search = GridSearchCV(pipeline, grid, scoring=sdr_scorer, cv=2, error_score="raise")
    return search.fit(songs.mixtures, songs.vocals).cv_results_["mean_test_score"].tolist()


def _error(separator: Any, batch: Any, **parameters: Any) -> str:
    with pytest.raises(ValueError) as raised:
        clone(separator).set_params(**parameters).fit(batch)
    return str(raised.value)


def _train_as_launched(folder: Path) -> None:
    """Train all cases and write their results to a file."""
    batch = _batch()
    results: dict[str, Any] = {}
    for name, separator in {**_EQUAL, **_DIFFERENT}.items():
        separator = clone(separator).set_params(accelerate=True)
        results[name] = _summary(separator.fit(batch))
    hybrid = clone(_HYBRID).set_params(accelerate=True)
    results["resumed"] = _summary(_interrupted(hybrid, batch, folder / "resumed").fit(batch))
    _interrupted(hybrid, batch, folder / "left")
    once = clone(hybrid).set_params(max_epochs=1).fit(batch)
    results["going on"] = _summary(once.partial_fit(batch))
    results["search"] = _search(accelerate=True)
    results["errors"] = [
        _error(hybrid, batch, random_state=None),
        _error(hybrid, batch, batch_size=1),
    ]
    torch.save(results, folder / f"{os.environ['RANK']}.pt")


@pytest.fixture(scope="module")
def batch() -> Any:
    return _batch()


@pytest.fixture(scope="module")
def launched(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Results of two processes, their output, and the folder of their checkpoints."""
    pytest.importorskip("accelerate")
    folder = tmp_path_factory.mktemp("accelerate")
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone"]
    options = ["--nproc_per_node=2", "--local_addr=127.0.0.1"]
    finished = subprocess.run(
        [*launcher, *options, __file__, str(folder)],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stderr[-5000:]
    first, second = (torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(2))
    return SimpleNamespace(first=first, second=second, printed=finished.stdout, folder=folder)


def _assert_close(result: dict[str, Any], expected: dict[str, Any]) -> None:
    for name, tensor in expected["weights"].items():
        torch.testing.assert_close(result["weights"][name], tensor, rtol=1e-5, atol=1e-5, msg=name)
    for losses, others in zip(result["losses"], expected["losses"], strict=True):
        np.testing.assert_allclose(losses, others, rtol=1e-5)


@pytest.mark.slow
def test_processes_end_alike(launched: Any) -> None:
    assert launched.first.keys() == launched.second.keys()
    for name in [*_EQUAL, *_DIFFERENT, "resumed", "going on"]:
        first, second = launched.first[name], launched.second[name]
        assert first["losses"] == second["losses"], name
        for key, tensor in first["weights"].items():
            assert torch.equal(tensor, second["weights"][key]), (name, key)
    assert launched.first["search"] == launched.second["search"]


@pytest.mark.slow
@pytest.mark.parametrize("name", _EQUAL)
def test_two_processes_are_as_one(launched: Any, batch: Any, name: str) -> None:
    _assert_close(launched.first[name], _summary(clone(_EQUAL[name]).fit(batch)))


@pytest.mark.slow
@pytest.mark.parametrize("name", _DIFFERENT)
def test_others_train(launched: Any, name: str) -> None:
    losses, _ = launched.first[name]["losses"]
    assert min(losses[1:]) < losses[0]


@pytest.mark.slow
def test_checkpoints_of_two_processes(launched: Any, batch: Any) -> None:
    resumed, expected = launched.first["resumed"], launched.first["hybrid"]
    assert resumed["losses"] == expected["losses"]
    for name, tensor in expected["weights"].items():
        assert torch.equal(resumed["weights"][name], tensor), name
    assert list((launched.folder / "resumed").iterdir()) == []
    # One process continues the training of two.
    alone = clone(_HYBRID).set_params(checkpoint=launched.folder / "left").fit(batch)
    _assert_close(_summary(alone), expected)
    assert list((launched.folder / "left").iterdir()) == []


@pytest.mark.slow
def test_what_surrounds_a_training(launched: Any, batch: Any) -> None:
    expected = clone(_HYBRID).set_params(max_epochs=1).fit(batch).partial_fit(batch)
    _assert_close(launched.first["going on"], _summary(expected))
    np.testing.assert_allclose(launched.first["search"], _search(accelerate=False), rtol=1e-3)
    assert 1 < len(launched.first["early stopping"]["losses"][0]) < 20
    assert launched.printed.count("train_loss") == 1  # only one process prints the table
    seed, size = launched.second["errors"]
    assert seed.startswith("accelerate needs an integer as random_state")
    assert size.startswith("batch_size=1 is too small for 2 processes")


def test_in_a_process_of_its_own_it_changes_nothing(batch: Any) -> None:
    pytest.importorskip("accelerate")
    expected = _summary(UNetSeparator(n_filters=2, n_levels=2, **_TRAINING).fit(batch))
    separator = UNetSeparator(n_filters=2, n_levels=2, accelerate=True, **_TRAINING)
    result = _summary(separator.fit(batch))
    assert result["losses"] == expected["losses"]
    for name, tensor in expected["weights"].items():
        assert torch.equal(result["weights"][name], tensor), name


def test_a_missing_package_is_named(batch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "accelerate", None)
    with pytest.raises(ImportError, match=r"pip install 'sksep\[accelerate\]'"):
        clone(_HYBRID).set_params(accelerate=True).fit(batch)


def test_it_is_saved(tmp_path: Path) -> None:
    sksep.save(UNetSeparator(accelerate=True), tmp_path / "separator.safetensors")
    assert sksep.load(tmp_path / "separator.safetensors").accelerate is True


@pytest.mark.parametrize("n_processes", [2, 3])
@pytest.mark.parametrize("kind", ["chunks", "pairs", "pools"])
def test_shares_make_up_a_batch(batch: Any, kind: str, n_processes: int) -> None:
    pool = [record.targets.vocals for record in batch]
    augmentation = {
        "chunks": None,
        "pairs": Augmentation(vocal_free=0.3),
        "pools": Augmentation(true_pairs=0.2, vocals_pool=pool, accompaniment_pool=pool),
    }[kind]

    def batches(share: tuple[int, int]) -> list[tuple[torch.Tensor, torch.Tensor]]:
        data = ExcerptDataset(batch, augmentation, seed=3)
        data.share = share
        return [data.__getitems__(list(range(size))) for size in (8, 7, 1, 8)]

    shares = [batches((index, n_processes)) for index in range(n_processes)]
    for position, whole in enumerate(batches((0, 1))):
        for part, expected in enumerate(whole):
            for index, share in enumerate(shares):
                rows = expected[index::n_processes] if len(expected) > 1 else expected
                assert torch.equal(share[position][part], rows)


def test_batch_norm_is_synchronized_and_comes_back() -> None:
    module = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Sequential(nn.BatchNorm2d(2), nn.ReLU()))
    before = dict(module.named_modules())
    layer = before["1.0"]
    with synchronized_batch_norm(module, torch.device("cpu")):
        assert dict(module.named_modules()) == before
    with synchronized_batch_norm(module, torch.device("cuda")):
        inside = module.get_submodule("1.0")
        assert isinstance(inside, nn.SyncBatchNorm)
        with torch.no_grad():
            inside.running_mean += 1.0
            inside.num_batches_tracked += 1
            inside.weight *= 2.0
    assert dict(module.named_modules()) == before
    assert layer.running_mean.tolist() == [1.0, 1.0]
    assert layer.num_batches_tracked == 1
    assert layer.weight.tolist() == [2.0, 2.0]


def test_dropout_is_drawn_by_each_process() -> None:
    def draw(process: int, n_batches: int) -> tuple[float, float]:
        accelerator = SimpleNamespace(num_processes=2, process_index=process)
        net = SimpleNamespace(accelerator=accelerator, history=[{"batches": [{}] * n_batches}])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            with AcceleratedNet._own_random_numbers(net):  # type: ignore[arg-type]
                own = float(torch.rand(()))
            return own, float(torch.rand(()))

    drawn = [draw(process, n_batches) for process in range(2) for n_batches in (1, 2)]
    assert len({own for own, _ in drawn}) == 4
    assert len({common for _, common in drawn}) == 1


if __name__ == "__main__":
    _train_as_launched(Path(sys.argv[1]))
