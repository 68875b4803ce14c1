"""Helpers of a training around skorch's loop: random states, copies, and how it ended."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

if TYPE_CHECKING:
    from sksep.training._net import SeparationNet

# Torch has one random state per process. Trainings on several threads, as in a search on joblib's
# threads or on a Dask worker with more than one, would draw from it in a random order.
_RANDOM_STATE_LOCK = RLock()
# Options of an optimizer that may change while its running averages stay valid.
_CHANGEABLE = ("lr", "weight_decay", "fused")


class TrainingInterrupted(KeyboardInterrupt):
    """Raised by `fit` if its training is interrupted from the keyboard.

    The separator is fitted all the same: it has the best weights so far. As a KeyboardInterrupt, it
    also stops grid searches and cross-validation, which would otherwise score a part of a training
    like a whole one.

    Examples
    --------
    >>> from sksep.training import TrainingInterrupted
    >>> try:
    ...     raise TrainingInterrupted("Training was interrupted after 1 of 3 epochs.")
    ... except KeyboardInterrupt as interruption:
    ...     print(interruption)
    Training was interrupted after 1 of 3 epochs.
    """


def check_finite(net: SeparationNet) -> None:
    """Raise an error if the training diverged, which shows in its last loss or in its weights."""
    losses = [row["train_loss"] for row in net.history if "train_loss" in row]
    finite = all(bool(weights.isfinite().all()) for weights in net.module_.state_dict().values())
    if not finite or (losses and not np.isfinite(losses[-1])):
        raise ValueError(
            "Training diverged: the loss or the weights became NaN or infinite. Lower lr, set "
            "gradient_clipping, or use precision='float32'."
        )


def copies_of(callbacks: Sequence[Any]) -> list[Any]:
    """Copy callbacks, since they keep state and fit must not change a parameter.

    Those that refer to others refer to their copies, as `LoadInitState` does to a `Checkpoint`. The
    output of a logger, such as an open file, often cannot be copied. Copies then share it.
    """
    memos: list[dict[int, Any]] = [{}]  # all are kept, since they hold the ids of each other
    copies = []
    for item in callbacks:
        memo = dict(memos[-1])  # a new one, as copying that fails leaves unfinished copies in it
        try:
            copied = copy.deepcopy(item, memo)
        except TypeError:
            callback = item[1] if isinstance(item, tuple) else item
            shallow = copy.copy(callback)
            memo = {**memos[-1], id(callback): shallow}
            copied = (item[0], shallow) if isinstance(item, tuple) else shallow
        memos.append(memo)
        copies.append(copied)
    return copies


def check_monitors(net: SeparationNet, n_tracks: int, parameters: Any) -> None:
    """Raise an error if a callback monitors the validation of a training without one."""
    for _, callback in net.callbacks_:
        monitor = getattr(callback, "monitor", None)
        if isinstance(monitor, str) and monitor.startswith("valid_"):
            raise ValueError(
                f"{type(callback).__name__} in callbacks monitors {monitor!r}, but no track is "
                f"held back for validation (validation_fraction={parameters.validation_fraction} "
                f"of {n_tracks} tracks). Raise validation_fraction, or let it monitor "
                f"{monitor.replace('valid', 'train', 1)!r}; partial_fit never holds tracks back."
            )


def was_interrupted(net: SeparationNet, n_epochs: int) -> bool:
    """Whether fewer epochs are complete, and early stopping is not the reason."""
    from skorch.callbacks import EarlyStopping

    stopped_early = any(
        isinstance(callback, EarlyStopping) and callback.misses_ >= callback.patience
        for _, callback in net.callbacks_
    )
    return sum("train_loss" in row for row in net.history) < n_epochs and not stopped_early


def resume_optimizer(optimizer: Any, previous: Any) -> None:
    """Continue the running averages of another optimizer if its kind and options are the same."""
    if type(optimizer) is not type(previous):
        return
    options = [
        {name: value for name, value in each.defaults.items() if name not in _CHANGEABLE}
        for each in (optimizer, previous)
    ]
    if options[0] == options[1]:
        state = previous.state_dict()["state"]
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's random state within the block and restore it after, one thread at a time."""
    devices = []
    if device.type == "cuda":
        devices.append(torch.cuda.current_device() if device.index is None else device.index)
    with _RANDOM_STATE_LOCK, torch.random.fork_rng(devices=devices):
        torch.manual_seed(seed)
        yield
