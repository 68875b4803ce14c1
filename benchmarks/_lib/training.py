"""Training a pipeline within a budget of minutes or steps."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

import torch
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from skorch.callbacks import Callback

# Share of the budget that the training loop may take: the rest is loading, features and luck.
_LOOP_SHARE = 0.92
_CALIBRATION_STEPS = 12


@dataclass(frozen=True)
class Budget:
    """How long to train: minutes on this machine, measured first, or a number of steps.

    Attributes
    ----------
    minutes : float
        Minutes of the whole training. Not used if `steps` is given.
    steps : int or None
        Steps of the optimizer, rounded to whole epochs.
    steps_per_epoch : int
        Length of an epoch, equal for all models and recordings.
    """

    minutes: float = 60.0
    steps: int | None = None
    steps_per_epoch: int = 50

    @property
    def epoch_length(self) -> int:
        """Steps in an epoch: not more than there are in all."""
        return min(self.steps_per_epoch, self.steps or self.steps_per_epoch)

    def __str__(self) -> str:
        return f"{self.minutes:g} minutes" if self.steps is None else f"{self.steps} steps"


class StepClock(Callback):  # type: ignore[misc]
    """Records the seconds of an epoch without its validation as ``train_dur`` in the history."""

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        self._begun = self._ended = time.perf_counter()

    def on_batch_end(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        if training:
            self._ended = time.perf_counter()

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        net.history.record("train_dur", self._ended - self._begun)


class Snapshots(Callback):  # type: ignore[misc]
    """Keeps copies of the weights after some epochs. It does not alter the training."""

    def __init__(self, epochs: tuple[int, ...]) -> None:
        self.epochs = epochs

    def on_train_begin(self, net: Any, **kwargs: Any) -> None:
        self.snapshots: dict[int, dict[str, torch.Tensor]] = {}

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        epoch = len(net.history)
        if epoch in self.epochs:
            self.snapshots[epoch] = {
                name: weights.detach().to("cpu", copy=True)
                for name, weights in net.module_.state_dict().items()
            }


def train(
    pipeline: Pipeline,
    batch: Any,
    budget: Budget,
    *,
    n_snapshots: int = 0,
) -> tuple[dict[str, Any], dict[int, dict[str, torch.Tensor]]]:
    """Train the last two steps of a pipeline on a batch with targets.

    Returns
    -------
    training : dict
        Seconds taken in all (calibration included), steps and epochs, seconds per step, the last
        training loss and the seconds that the training part of each epoch took.
    snapshots : dict
        Weights after evenly spaced epochs, the last one among them.

    Raises
    ------
    KeyboardInterrupt
        If the training was interrupted. Its result must not pass for that of a whole one.
    """
    started = time.perf_counter()
    separator = pipeline["separate"]
    n_epochs, n_steps = _length(separator, batch, budget, started)
    epochs = {round(n_epochs * (index + 1) / n_snapshots) for index in range(n_snapshots)} - {0}
    separator.set_params(
        excerpts_per_epoch=n_steps * separator.batch_size,
        max_epochs=n_epochs,
        callbacks=[("step_clock", StepClock()), ("snapshots", Snapshots(tuple(sorted(epochs))))],
    )
    print(f"Training for {n_epochs * n_steps} steps.", flush=True)
    separator.fit(batch)
    separator.set_params(callbacks=None)
    pipeline["invert"].fit(batch)
    if len(separator.loss_curve_) < n_epochs:
        raise KeyboardInterrupt
    durations = [float(row["train_dur"]) for row in separator.history_]
    training = {
        "training_seconds": round(time.perf_counter() - started, 1),
        "steps": n_epochs * n_steps,
        "epochs": n_epochs,
        "seconds_per_step": round(sum(durations) / (n_epochs * n_steps), 4),
        "training_loss": separator.loss_curve_[-1],
    }
    return training, _take_snapshots(separator.net_)


def _length(separator: Any, batch: Any, budget: Budget, started: float) -> tuple[int, int]:
    """Epochs to train for, and steps in each."""
    if budget.steps is not None:
        return max(1, round(budget.steps / budget.epoch_length)), budget.epoch_length
    trial = clone(separator)
    trial.set_params(
        excerpts_per_epoch=_CALIBRATION_STEPS * separator.batch_size,
        max_epochs=2,
        callbacks=[("step_clock", StepClock())],
        verbose=0,
    )
    trial.fit(batch)
    last = trial.history_[-1]  # the first epoch warms up
    seconds_per_step = last["train_dur"] / _CALIBRATION_STEPS
    per_epoch = seconds_per_step * budget.steps_per_epoch + last["dur"] - last["train_dur"]
    print(f"{seconds_per_step:.2f} s per step.", flush=True)
    left = budget.minutes * 60.0 * _LOOP_SHARE - (time.perf_counter() - started)
    return max(1, int(left / per_epoch)), budget.steps_per_epoch


def _take_snapshots(net: Any) -> dict[int, dict[str, torch.Tensor]]:
    """The snapshots, which are removed from the net so that they are not copied with it."""
    for _, callback in net.callbacks_:
        if isinstance(callback, Snapshots):
            snapshots, callback.snapshots = callback.snapshots, {}
            return snapshots
    return {}
