"""Checkpoints: an interrupted training continues from its last complete epoch."""

from __future__ import annotations

import hashlib
import io
import pickle
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import torch
from skorch.callbacks import Callback
from skorch.history import History
from torch import Tensor

from sksep.training._accelerated import of_main_process
from sksep.utils._files import remove_unfinished, write_whole

# Every file begins with it. A digest of the rest follows.
_HEAD = b"sksep checkpoint 2\n"
# Callbacks that belong to every training. The state of the user's callbacks is not known.
_STATEFUL = ("best_weights", "schedule", "weight_averaging")
# Attributes that they keep from epoch to epoch, beside the scheduler itself.
_REMEMBERED = (
    "misses_",
    "dynamic_threshold_",
    "best_epoch_",
    "best_model_weights_",
    "batch_idx_",
    "n_steps_",
    "trained_",
)


class Checkpoint(Callback):  # type: ignore[misc]
    """Write the state of a training after each epoch, and restore it when a training begins.

    It has to be the last callback: others must not overwrite the state that it restores, and the
    state that it writes includes their changes in an epoch.

    Parameters
    ----------
    path : Path
        File of this training, which need not exist.
    n_epochs : int
        Number of epochs in the history when the training is complete.
    process : int or None
        Index of this process among those of the training. The first reads and writes for all. None
        means that there is only one.
    """

    def __init__(self, path: Path, n_epochs: int, process: int | None = None) -> None:
        self.path = path
        self.n_epochs = n_epochs
        self.process = process

    def delete(self) -> None:
        """Delete the file if it exists."""
        if not self.process:
            self.path.unlink(missing_ok=True)
            remove_unfinished(self.path.parent)

    def on_train_begin(self, net: Any, X: Any = None, **kwargs: Any) -> None:
        """Restore the training if it has a file."""
        if not self.process:
            remove_unfinished(self.path.parent)
        state = _read(self.path) if not self.process and self.path.exists() else None
        if self.process is not None:
            state = of_main_process(state)
        if state is None:
            return
        net.module_.load_state_dict(state["module"])
        net.optimizer_.load_state_dict(state["optimizer"])
        for name, remembered in state["callbacks"].items():
            callback = dict(net.callbacks_)[name]
            if "lr_scheduler_" in remembered:
                callback.lr_scheduler_.load_state_dict(remembered.pop("lr_scheduler_"))
            callback.__dict__.update(remembered)
        net.history = History(state["history"])
        net.max_epochs = self.n_epochs - len(net.history)
        X.random_state = state["excerpts"]
        torch.set_rng_state(state["torch"])
        if state["cuda"] is not None and torch.device(net.device).type == "cuda":
            torch.cuda.set_rng_state(state["cuda"], net.device)

    def on_epoch_end(self, net: Any, dataset_train: Any = None, **kwargs: Any) -> None:
        """Write the file. That of the previous epoch stays until the new one is complete."""
        if self.process or not _is_finite(net.module_):  # the last file is worth more
            return
        on_cuda = torch.device(net.device).type == "cuda"
        callbacks = {name: part for name, part in net.callbacks_ if name in _STATEFUL}
        state = {
            "module": net.module_.state_dict(),
            "optimizer": net.optimizer_.state_dict(),
            "callbacks": {name: _remembered(part) for name, part in callbacks.items()},
            "history": [_plain(row) for row in net.history],
            "excerpts": dataset_train.random_state,
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state(net.device) if on_cuda else None,
        }
        content = io.BytesIO()
        torch.save(state, content)
        saved = content.getbuffer()
        write_whole(self.path, b"".join([_HEAD, _digest(self.path, saved), saved]))


def training_key(module: torch.nn.Module, begin: Any) -> str:
    """Name of a training, the same for equal initial weights, tracks and parameters.

    Raises
    ------
    ValueError
        If a parameter cannot be pickled, such as a lambda.
    """
    weights = {name: tensor.cpu().numpy() for name, tensor in module.state_dict().items()}
    try:
        return str(joblib.hash([weights, begin]))
    except (AttributeError, TypeError, pickle.PicklingError) as error:
        raise ValueError(
            f"checkpoint needs parameters that can be pickled ({error}). Use functions of a "
            "module instead of lambdas."
        ) from error


def _remembered(callback: Any) -> dict[str, Any]:
    state = {name: _plain(value) for name, value in vars(callback).items() if name in _REMEMBERED}
    scheduler = getattr(callback, "lr_scheduler_", None)
    return state if scheduler is None else {**state, "lr_scheduler_": scheduler.state_dict()}


def _plain(value: Any) -> Any:
    """The parts of a value that a file without code can hold; callbacks may record anything."""
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items() if _is_plain(part)}
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return value


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(
        value, (bool, int, float, str, list, dict, np.generic, Tensor)
    )


def _is_finite(module: torch.nn.Module) -> bool:
    return all(bool(weights.isfinite().all()) for weights in module.state_dict().values())


def _digest(path: Path, saved: bytes | memoryview) -> bytes:
    """SHA-256 of the name, which stands for the training, and of what was saved."""
    digest = hashlib.sha256(path.name.encode())
    digest.update(saved)
    return digest.digest()


def _read(path: Path) -> dict[str, Any]:
    content = memoryview(path.read_bytes())
    start = len(_HEAD) + hashlib.sha256().digest_size
    digest, saved = content[len(_HEAD) : start], content[start:]
    if content[: len(_HEAD)] != _HEAD or digest != _digest(path, saved):
        raise ValueError(
            f"The checkpoint {path} cannot be read: it is damaged, or another version of sksep "
            "wrote it. Delete it, and the training begins anew."
        )
    state: dict[str, Any] = torch.load(io.BytesIO(saved), weights_only=True, map_location="cpu")
    if not all(bool(weights.isfinite().all()) for weights in state["module"].values()):
        raise ValueError(
            f"The checkpoint {path} holds weights that are NaN or infinite: the training diverged. "
            "Delete it, and train with a lower lr or with gradient_clipping."
        )
    return state
