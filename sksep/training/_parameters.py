"""The parameters of training, with their types, defaults, constraints and descriptions."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from os import PathLike
from typing import Any

import numpy as np

from sksep.training._augmentation import Augmentation
from sksep.training._options import (
    PRECISIONS,
    SCHEDULES,
    resolve_device,
    resolve_optimizer,
)
from sksep.utils._parameters import Estimator, parameter
from sksep.utils._validation import (
    check_boolean,
    check_mapping,
    check_path,
    check_random_state,
    choice,
    integer,
    number,
    optional,
)

# Parameters of the net that `net_params` must not hold.
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


def _check_device(name: str, value: Any) -> None:
    if not isinstance(value, str):
        raise TypeError(f"{name} must be 'auto', 'cpu', 'cuda' or 'mps'; got {value!r:.200}.")
    resolve_device(value)


def _check_augmentation(name: str, value: Any) -> None:
    if isinstance(value, Augmentation):
        value.validate()
    elif value is not None and not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True, False, None or an Augmentation; got {value!r:.200}.")


def _check_callbacks(name: str, value: Any) -> None:
    from skorch.callbacks import Callback

    if not isinstance(value, (list, tuple)):
        raise TypeError(f"{name} must be a list of skorch callbacks or None, got {value!r:.200}.")
    for index, item in enumerate(value):
        callback = item[1] if isinstance(item, tuple) and len(item) == 2 else item
        # skorch makes instances of classes, with parameters that `net_params` may hold.
        is_class = isinstance(callback, type) and issubclass(callback, Callback)
        if not is_class and not isinstance(callback, Callback):
            raise TypeError(
                f"{name}[{index}] must be a skorch callback, or a tuple of a name and one; got "
                f"{item!r:.200}."
            )


def _check_net_params(name: str, value: Any) -> None:
    check_mapping(name, value)
    reserved = sorted(_RESERVED & set(value))
    if reserved:
        raise ValueError(
            f"{name} must not hold {', '.join(reserved)}, which the separator sets itself. Use "
            "its own parameters instead."
        )


@dataclass(kw_only=True, eq=False, repr=False)
class TrainingParameters(Estimator):
    """Parameters that all separators share whose networks are trained."""

    optimizer: str | type = parameter(
        "rmsprop",
        lambda _, value: resolve_optimizer(value),
        '{"rmsprop", "adam", "adamw", "sgd"} or torch optimizer class',
        "Optimizer.",
    )
    lr: float = parameter(
        1e-3,
        number(0.0, include_low=False),
        "float",
        "Learning rate, above 0. With a schedule, it is the highest one.",
    )
    schedule: str | None = parameter(
        None,
        choice(*SCHEDULES),
        '{"cosine", "one_cycle"}',
        "Course of the learning rate over `max_epochs`. None keeps it constant.",
    )
    weight_decay: float = parameter(
        0.0, number(0.0), "float", "Weight decay of the optimizer, at least 0."
    )
    gradient_clipping: float | None = parameter(
        None,
        optional(number(0.0, include_low=False)),
        "float",
        "Largest norm of the gradient, above 0. None does not limit it.",
    )
    weight_averaging: float | None = parameter(
        None,
        optional(number(0.0, 1.0, include_low=False, include_high=False)),
        "float",
        "Share that a running average of the weights keeps at each step, in (0, 1), such as 0.99.\n"
        "The average is validated, and is the result of `fit`. `partial_fit` does not average.\n"
        "None averages nothing.",
    )
    batch_size: int = parameter(
        32,
        integer(1, 4096),
        "int",
        "Number of excerpts in a training step, and of chunks that are predicted at a time.",
    )
    max_epochs: int = parameter(30, integer(1, 10**6), "int", "Number of epochs to train.")
    excerpts_per_epoch: int | None = parameter(
        None,
        optional(integer(1, 10**9)),
        "int",
        "Number of excerpts in an epoch of augmented training. None takes as many as fill the\n"
        "duration of the training tracks.",
    )
    early_stopping: bool = parameter(
        False,
        check_boolean,
        "bool",
        "Whether training stops when the validation loss has not improved for\n"
        "`n_iter_no_change` epochs.",
    )
    validation_fraction: float = parameter(
        0.1,
        number(0.0, 1.0, include_high=False),
        "float",
        "Share of the tracks to hold back for validation, in [0, 1), or of the groups if `fit`\n"
        "is given groups. Their number is rounded and may be 0. If some are held back, the\n"
        "weights of the best epoch are kept.",
    )
    n_iter_no_change: int = parameter(
        10, integer(1, 10**6), "int", "Patience of `early_stopping` in epochs."
    )
    augmentation: bool | Augmentation | None = parameter(
        True,
        _check_augmentation,
        "bool or Augmentation",
        "Whether the network is trained on random excerpts, remixes and variations. False trains\n"
        "it on the chunks as they are. Searches reach ``augmentation__*`` if an `Augmentation` is\n"
        "given.",
    )
    callbacks: list[Any] | None = parameter(
        None,
        optional(_check_callbacks),
        "list",
        "Further skorch callbacks, or their classes. Training uses copies of them, which refer to\n"
        "each other as they do. For searches and pickle, they must be easy to copy, so a logger\n"
        "has to open its file only when training begins.",
        is_saved=False,
        alters_training=False,
    )
    warm_start: bool = parameter(
        False,
        check_boolean,
        "bool",
        "Whether `fit` continues from the weights of the last `fit`.",
        alters_training=False,
    )
    checkpoint: str | PathLike[str] | None = parameter(
        None,
        optional(check_path),
        "str or os.PathLike",
        "Folder in which `fit` writes the state of its training after each epoch. If a training\n"
        "was interrupted, the same `fit` (the same tracks and parameters, in this or another\n"
        "process) continues from the last complete epoch and has the same result. It needs an\n"
        "integer as `random_state`. The state of further `callbacks` is not kept. A training that\n"
        "ends deletes its file.",
        is_saved=False,
        alters_training=False,
    )
    accelerate: bool = parameter(
        False,
        check_boolean,
        "bool",
        "Whether all processes that ``accelerate launch`` or ``torchrun`` started train together,\n"
        "each on its share of every batch: `batch_size` counts the excerpts of all. They need the\n"
        "same tracks and parameters and an integer as `random_state`, and end with the same\n"
        "weights. In a process that runs alone it changes nothing. It needs\n"
        "``pip install 'sksep[accelerate]'``.",
        alters_training=False,
    )
    device: str = parameter(
        "auto", _check_device, '{"auto", "cpu", "cuda", "mps"}', "Device that computes."
    )
    precision: str = parameter(
        "auto",
        choice(*PRECISIONS),
        '{"auto", "float32", "bfloat16"}',
        'Precision of the network. "auto" is bfloat16 on CUDA devices that compute in it and on\n'
        "CPUs with AMX, and float32 elsewhere. On a CPU without instructions for bfloat16, `fit`\n"
        "warns: it is slower than float32 there.",
    )
    net_params: dict[str, Any] | None = parameter(
        None, optional(_check_net_params), "dict", "Further parameters of the skorch net."
    )
    random_state: Any = parameter(
        None,
        check_random_state,
        "int, RandomState instance or None",
        "Seed of the initial weights, the excerpts and the dropout.",
    )
    verbose: int = parameter(
        0,
        integer(0),
        "int",
        "Verbosity: 1 prints a table of epochs and, in terminals and notebooks, a progress bar; 0\n"
        "prints nothing.",
        alters_training=False,
    )

    def _check_parameters(self) -> None:
        super()._check_parameters()
        optimizer = resolve_optimizer(self.optimizer)
        if self.weight_decay and not has_weight_decay(optimizer):
            raise ValueError(f"{optimizer.__name__} has no weight decay; set weight_decay=0.")
        if self.checkpoint is not None:
            self._check_seed("checkpoint", "a training that is continued would have another result")
            if (self.net_params or {}).get("iterator_train__persistent_workers"):
                raise ValueError(
                    "checkpoint cannot restore the random draws of persistent workers. Leave "
                    "iterator_train__persistent_workers out of net_params."
                )

    def _check_seed(self, name: str, consequence: str) -> None:
        if isinstance(self.random_state, bool) or not isinstance(self.random_state, Integral):
            raise ValueError(
                f"{name} needs an integer as random_state, got {self.random_state!r}. Otherwise "
                f"{consequence}."
            )


def has_weight_decay(optimizer: Callable[..., Any]) -> bool:
    """Whether an optimizer class takes a weight decay."""
    return "weight_decay" in inspect.signature(optimizer).parameters


def augmentation_of(parameters: TrainingParameters) -> Augmentation | None:
    """The augmentation that the parameter stands for, or None."""
    if isinstance(parameters.augmentation, Augmentation):
        return parameters.augmentation
    return Augmentation() if parameters.augmentation else None
