"""The parameters of training that separators share: kept, checked, and what they stand for."""

from __future__ import annotations

import inspect
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch
from skorch.callbacks import EarlyStopping, GradientNormClipping, ProgressBar
from torch import nn

from sksep.base._separator import BaseSeparator
from sksep.training._accelerated import join_processes
from sksep.training._augmentation import Augmentation
from sksep.training._checkpoint import Checkpoint, training_key
from sksep.training._options import resolve_device, resolve_optimizer, schedule_callback
from sksep.training._run import copy_of
from sksep.utils._validation import check_integer, check_number

# Patience that never runs out: the best weights are wanted, an early stop is not.
_FOREVER = 10**9
# Parameters that do not change what a training arrives at, or that its first weights tell.
_IRRELEVANT = (
    "accelerate",
    "callbacks",
    "checkpoint",
    "clusterer",
    "clustering",
    "verbose",
    "warm_start",
)
# Parameters of the net that `net_params` must leave alone.
_RESERVED = {
    "augmentation",
    "batch_size",
    "callbacks",
    "criterion",
    "device",
    "front_end",
    "iterator_train__batch_size",
    "iterator_valid__batch_size",
    "lr",
    "max_epochs",
    "module",
    "optimizer",
    "precision",
    "ratio",
    "train_split",
    "verbose",
    "weighting",
}


class TrainedSeparator(BaseSeparator):
    """A separator with the parameters of training, which `document_training` explains."""

    def __init__(
        self,
        *,
        optimizer: str | type,
        lr: float,
        schedule: str | None,
        weight_decay: float,
        gradient_clipping: float | None,
        batch_size: int,
        max_epochs: int,
        excerpts_per_epoch: int | None,
        early_stopping: bool,
        validation_fraction: float,
        n_iter_no_change: int,
        augmentation: Any,
        callbacks: Any,
        warm_start: bool,
        checkpoint: Any,
        accelerate: bool,
        device: str,
        precision: str,
        net_params: dict[str, Any] | None,
        random_state: Any,
        verbose: int,
    ) -> None:
        self.optimizer = optimizer
        self.lr = lr
        self.schedule = schedule
        self.weight_decay = weight_decay
        self.gradient_clipping = gradient_clipping
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.excerpts_per_epoch = excerpts_per_epoch
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.augmentation = augmentation
        self.callbacks = callbacks
        self.warm_start = warm_start
        self.checkpoint = checkpoint
        self.accelerate = accelerate
        self.device = device
        self.precision = precision
        self.net_params = net_params
        self.random_state = random_state
        self.verbose = verbose

    def _callbacks(self, schedule: str | None, n_batches: int, validates: bool) -> list[Any]:
        callbacks: list[Any] = []
        if validates:
            patience = check_integer("n_iter_no_change", self.n_iter_no_change, 1)
            callbacks.append(
                (
                    "best_weights",
                    EarlyStopping(
                        patience=patience if self.early_stopping else _FOREVER,
                        threshold=0.0,
                        load_best=True,
                        sink=_silent,
                    ),
                )
            )
        if self.gradient_clipping is not None:
            limit = check_number(
                "gradient_clipping", self.gradient_clipping, 0.0, include_low=False
            )
            callbacks.append(("gradient_clipping", GradientNormClipping(limit)))
        scheduler = schedule_callback(schedule, self._lr(), n_batches)
        if scheduler is not None:
            callbacks.append(("schedule", scheduler))
        if self.verbose:
            # The losses of the batches stay on other devices than the CPU until an epoch ends.
            on_cpu = resolve_device(self.device).type == "cpu"
            shown = None if on_cpu else ["event_lr"]
            callbacks.append(("progress", ProgressBar(postfix_keys=shown)))
        return callbacks + [copy_of(callback) for callback in self.callbacks or []]

    def _optimizer(self) -> dict[str, Any]:
        optimizer = resolve_optimizer(self.optimizer)
        weight_decay = check_number("weight_decay", self.weight_decay, 0.0)
        if "weight_decay" in inspect.signature(optimizer).parameters:
            return {"optimizer": optimizer, "optimizer__weight_decay": weight_decay}
        if weight_decay:
            raise ValueError(f"{optimizer.__name__} has no weight decay; set weight_decay=0.")
        return {"optimizer": optimizer}

    def _net_params(self) -> dict[str, Any]:
        net_params = dict(self.net_params or {})
        reserved = sorted(_RESERVED & set(net_params))
        if reserved:
            raise ValueError(
                f"net_params must not hold {', '.join(reserved)}: the separator sets them, from "
                "parameters of its own where it has them."
            )
        return net_params

    def _augmentation(self) -> Augmentation | None:
        if self.augmentation is None:
            return None
        if isinstance(self.augmentation, (bool, np.bool_)):
            return Augmentation() if self.augmentation else None
        if not isinstance(self.augmentation, Augmentation):
            raise TypeError(
                "augmentation must be True, False, None or an Augmentation; got "
                f"{self.augmentation!r}."
            )
        self.augmentation.validate()
        return self.augmentation

    def _batch_size(self) -> int:
        return check_integer("batch_size", self.batch_size, 1)

    def _lr(self) -> float:
        return check_number("lr", self.lr, 0.0, include_low=False)

    def _n_epochs(self) -> int:
        return check_integer("max_epochs", self.max_epochs, 1)

    def _n_excerpts(self) -> int | None:
        if self.excerpts_per_epoch is None:
            return None
        return check_integer("excerpts_per_epoch", self.excerpts_per_epoch, 1)

    def _accelerator(self, device: torch.device) -> Any:
        """What connects this process to the others of a training; None where it trains alone."""
        accelerator = join_processes(device) if self.accelerate else None
        if accelerator is not None:
            self._check_seed("accelerate", "each process would draw other numbers")
            if self._batch_size() < accelerator.num_processes:
                raise ValueError(
                    f"batch_size={self.batch_size} is too small for {accelerator.num_processes} "
                    "processes, each of which trains on its share of a batch: raise it, or start "
                    "fewer."
                )
        return accelerator

    def _check_seed(self, parameter: str, otherwise: str) -> None:
        if isinstance(self.random_state, bool) or not isinstance(self.random_state, Integral):
            raise ValueError(
                f"{parameter} needs an integer as random_state, got {self.random_state!r}: "
                f"{otherwise}."
            )

    def _checkpoint(
        self, module: nn.Module, data: list[Any], n_epochs: int, process: int | None
    ) -> Checkpoint:
        """The callback that keeps the state of a training and restores it."""
        self._check_seed("checkpoint", "a training that goes on elsewhere would not be the same")
        if self._net_params().get("iterator_train__persistent_workers"):
            raise ValueError(
                "checkpoint cannot restore what persistent workers draw: leave "
                "iterator_train__persistent_workers out of net_params."
            )
        parameters = self.get_params(deep=False)
        relevant = {name: parameters[name] for name in parameters if name not in _IRRELEVANT}
        key = training_key(module, [relevant, data, n_epochs])
        return Checkpoint(Path(self.checkpoint) / f"{key}.pt", n_epochs, process)


def _silent(_: str) -> None:
    """Where early stopping may print to: the table of epochs says enough."""
