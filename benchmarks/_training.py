"""Training a pipeline within a budget of minutes."""

from __future__ import annotations

import time
from typing import Any

from sklearn.base import clone
from sklearn.pipeline import Pipeline

# Share of the budget that the training loop may take: the rest is loading, features and luck.
_LOOP_SHARE = 0.92
_CALIBRATION_STEPS = 12
_STEPS_PER_EPOCH = 50


def fit_within(pipeline: Pipeline, mixtures: Any, vocals: Any, minutes: float) -> dict[str, Any]:
    """Fit a pipeline for as many epochs as the budget allows, measured on this machine first.

    Returns
    -------
    dict
        Seconds taken in all (calibration included), number of steps, and seconds per step.
    """
    started = time.perf_counter()
    batch_size = pipeline["separate"].batch_size
    batch = pipeline[:2].fit_transform(mixtures, vocals)
    trial = clone(pipeline["separate"])
    trial.set_params(excerpts_per_epoch=_CALIBRATION_STEPS * batch_size, max_epochs=2, verbose=0)
    trial.fit(batch)
    # The first epoch warms up; validation is part of an epoch but not of a step.
    seconds_per_step = trial.history_[-1, "dur"] / _CALIBRATION_STEPS
    left = minutes * 60.0 * _LOOP_SHARE - (time.perf_counter() - started)
    n_epochs = max(1, int(left / (seconds_per_step * _STEPS_PER_EPOCH)))
    pipeline.set_params(
        separate__excerpts_per_epoch=_STEPS_PER_EPOCH * batch_size,
        separate__max_epochs=n_epochs,
    )
    print(f"{seconds_per_step:.2f} s per step: training for {n_epochs * _STEPS_PER_EPOCH} steps.")
    pipeline["separate"].fit(batch)
    pipeline["invert"].fit(batch)
    taken = time.perf_counter() - started
    return {
        "training_seconds": round(taken, 1),
        "steps": n_epochs * _STEPS_PER_EPOCH,
        "seconds_per_step": round(seconds_per_step, 3),
        "training_loss": pipeline["separate"].loss_curve_[-1],
    }
