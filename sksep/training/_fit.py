"""One training, which makes a trained net of parameters, a module and tracks."""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state
from skorch.callbacks import EarlyStopping, GradientNormClipping, ProgressBar
from skorch.helper import predefined_split
from torch import nn

from sksep.base._batch import TrackBatch, TrackRecord
from sksep.base._targets import Targets
from sksep.nn.losses import Loss
from sksep.training._accelerated import fit_on_all_processes, join_processes
from sksep.training._averaging import WeightAveraging
from sksep.training._checkpoint import Checkpoint, training_key
from sksep.training._dataset import ExcerptDataset, keep_batch
from sksep.training._net import SeparationNet
from sksep.training._options import (
    device_options,
    on_device,
    resolve_device,
    resolve_optimizer,
    resolve_precision,
    schedule_callback,
    warn_if_emulated,
)
from sksep.training._parameters import TrainingParameters, augmentation_of, has_weight_decay
from sksep.training._run import (
    check_finite,
    check_monitors,
    copies_of,
    resume_optimizer,
    seeded,
    was_interrupted,
)
from sksep.training._tracks import TrainingTracks
from sksep.utils._parameters import parameters_without

# Patience without end, for a callback that keeps the best weights but must not stop early.
_FOREVER = 10**9


@dataclass(frozen=True)
class Trained:
    """Result of a training.

    Attributes
    ----------
    net : SeparationNet
        The trained net.
    tracks : TrackBatch
        Tracks that it was trained on, without those held back.
    n_epochs : int
        Epochs of this training.
    was_interrupted : bool
        Whether it was stopped from the keyboard before its last epoch.
    """

    net: SeparationNet
    tracks: TrackBatch
    n_epochs: int
    was_interrupted: bool


def train(
    parameters: TrainingParameters,
    given: TrainingTracks,
    build: Callable[[Sequence[TrackRecord]], nn.Module],
    objective: Callable[..., torch.Tensor],
    *,
    previous: SeparationNet | None = None,
    is_partial: bool = False,
) -> Trained:
    """Train a module.

    Parameters
    ----------
    parameters : TrainingParameters
        Checked parameters of the training.
    given : TrainingTracks
        Tracks with targets, and their weights and groups.
    build : callable
        Returns the module to train, given the training tracks. It is called with torch's random
        state seeded.
    objective : callable
        Function of the module's output and `Excerpts` that returns a scalar loss.
    previous : SeparationNet, default=None
        Net of the training that this one continues, with its history and its optimizer.
    is_partial : bool, default=False
        Whether one epoch is trained on all tracks at a constant rate, without a checkpoint.

    Returns
    -------
    Trained

    Raises
    ------
    ValueError
        If the training diverged, or no track is left for a validation that is required.
    """
    plan = _plan(parameters, given, previous, is_partial)
    warn_if_emulated(parameters.precision, plan.device)
    with seeded(plan.seed, plan.device):
        module = build(plan.tracks)
        checkpoint = _checkpoint(parameters, module, plan, previous)
        net = make_net(
            parameters,
            module,
            objective,
            front_end=plan.targets.front_end,
            ratio=plan.targets.ratio,
            weighting=plan.targets.weighting,
            device=plan.device,
            # The checkpoint comes last, since it restores the initial state of the others.
            callbacks=_callbacks(parameters, plan)
            + ([] if checkpoint is None else [("checkpoint", checkpoint)]),
        )
        net.max_epochs = plan.n_epochs
        if plan.validation_set is not None:
            net.train_split = predefined_split(plan.validation_set)
        net.initialize()
        if plan.validation_set is None:
            check_monitors(net, len(plan.tracks), parameters)
        if previous is not None:
            net.history = copy.deepcopy(previous.history)
            resume_optimizer(net.optimizer_, getattr(previous, "optimizer_", None))
        if plan.accelerator is None:
            net.partial_fit(plan.train_set, None)
        else:
            fit_on_all_processes(net, plan.train_set, plan.accelerator)
    # The validation set would be a part of every pickle of the net.
    net.train_split = None
    net.module_.eval()
    n_before = 0 if previous is None else len(losses_of(previous))
    interrupted = was_interrupted(net, n_before + plan.n_epochs)
    if checkpoint is not None and not interrupted:
        checkpoint.delete()
    check_finite(net)
    return Trained(net, plan.tracks, len(losses_of(net)) - n_before, interrupted)


@dataclass(frozen=True)
class _Plan:
    """Settings and data of a training, complete before it begins."""

    n_epochs: int
    is_partial: bool
    seed: int
    device: torch.device
    accelerator: Any
    targets: Targets
    tracks: TrackBatch
    train_set: ExcerptDataset
    validation_set: ExcerptDataset | None


def _plan(
    parameters: TrainingParameters,
    given: TrainingTracks,
    previous: SeparationNet | None,
    is_partial: bool,
) -> _Plan:
    random_state = check_random_state(parameters.random_state)
    device = resolve_device(parameters.device)
    accelerator = _accelerator(parameters, device)
    tracks, held_back = given.split(
        0.0 if is_partial else parameters.validation_fraction,
        required=bool(parameters.early_stopping) and not is_partial,
        random_state=random_state,
    )
    # A warm start draws other excerpts, also if random_state is an integer.
    n_before = 0 if previous is None else len(losses_of(previous))
    excerpts_seed, seed = random_state.randint(np.iinfo(np.int32).max, size=2) + n_before
    targets = given.batch[0].targets
    assert targets is not None
    train_set = ExcerptDataset(
        tracks.batch,
        augmentation_of(parameters),
        parameters.excerpts_per_epoch,
        seed=int(excerpts_seed),
        weights=tracks.weights,
    )
    validation_set = ExcerptDataset(held_back.batch) if held_back.batch else None
    _check_batches(parameters, train_set, validation_set)
    return _Plan(
        n_epochs=1 if is_partial else int(parameters.max_epochs),
        is_partial=is_partial,
        seed=int(seed),
        device=device if accelerator is None else accelerator.device,
        accelerator=accelerator,
        targets=targets,
        tracks=tracks.batch,
        train_set=train_set,
        validation_set=validation_set,
    )


def _check_batches(
    parameters: TrainingParameters, train_set: ExcerptDataset, validation_set: ExcerptDataset | None
) -> None:
    """Raise an error if the only batch of an epoch is incomplete and left out."""
    for name, data in (("train", train_set), ("valid", validation_set)):
        option = f"iterator_{name}__drop_last"
        left_out = (parameters.net_params or {}).get(option)
        if data is not None and left_out and len(data) < parameters.batch_size:
            raise ValueError(
                f"{option} in net_params leaves no batch, since an epoch has {len(data)} excerpts, "
                f"fewer than batch_size={parameters.batch_size}. Lower batch_size, or leave "
                f"{option} out."
            )


def make_net(
    parameters: TrainingParameters,
    module: nn.Module,
    objective: Callable[..., torch.Tensor],
    *,
    front_end: Any,
    ratio: str,
    weighting: str,
    device: torch.device,
    callbacks: list[Any],
) -> SeparationNet:
    """The skorch net of the parameters, on a device, not yet initialized."""
    on_device(module, device)
    optimizer = resolve_optimizer(parameters.optimizer)
    net_params = dict(parameters.net_params or {})
    options: dict[str, Any] = {"optimizer": optimizer}
    if has_weight_decay(optimizer):
        options["optimizer__weight_decay"] = float(parameters.weight_decay)
    return SeparationNet(
        module,
        Loss(objective),
        front_end=front_end,
        ratio=ratio,
        weighting=weighting,
        augmentation=augmentation_of(parameters),
        precision=resolve_precision(parameters.precision, device),
        device=str(device),
        **{
            **options,
            **device_options(optimizer, device, net_params),
            "lr": float(parameters.lr),
            "batch_size": int(parameters.batch_size),
            "iterator_train__shuffle": True,
            "iterator_train__collate_fn": keep_batch,
            "iterator_valid__collate_fn": keep_batch,
            "train_split": None,
            "callbacks": callbacks,
            "verbose": int(bool(parameters.verbose)),
            **net_params,
        },
    )


def losses_of(net: SeparationNet, kind: str = "train_loss") -> list[float]:
    """Losses of the complete epochs of a net."""
    return [float(row[kind]) for row in net.history if kind in row]


def _accelerator(parameters: TrainingParameters, device: torch.device) -> Any:
    """The connection to the other processes of a training; None if there are no others."""
    accelerator = join_processes(device) if parameters.accelerate else None
    if accelerator is not None:
        parameters._check_seed("accelerate", "each process would draw other numbers")
        if parameters.batch_size < accelerator.num_processes:
            raise ValueError(
                f"batch_size={parameters.batch_size} is too small for {accelerator.num_processes} "
                "processes, each of which trains on its share of a batch: raise it, or start "
                "fewer."
            )
    return accelerator


def _callbacks(parameters: TrainingParameters, plan: _Plan) -> list[Any]:
    callbacks: list[Any] = []
    # It comes first, so that the others find the average when an epoch ends.
    if parameters.weight_averaging is not None and not plan.is_partial:
        averaging = WeightAveraging(float(parameters.weight_averaging))
        callbacks.append(("weight_averaging", averaging))
    if plan.validation_set is not None:
        patience = int(parameters.n_iter_no_change) if parameters.early_stopping else _FOREVER
        stop = EarlyStopping(patience=patience, threshold=0.0, load_best=True, sink=_silent)
        callbacks.append(("best_weights", stop))
    if parameters.gradient_clipping is not None:
        clipping = GradientNormClipping(float(parameters.gradient_clipping))
        callbacks.append(("gradient_clipping", clipping))
    schedule = None if plan.is_partial else parameters.schedule
    n_batches = len(plan.train_set) / parameters.batch_size
    left_out = (parameters.net_params or {}).get("iterator_train__drop_last")
    n_batches = plan.n_epochs * (math.floor if left_out else math.ceil)(n_batches)
    scheduler = schedule_callback(schedule, float(parameters.lr), n_batches)
    if scheduler is not None:
        callbacks.append(("schedule", scheduler))
    if parameters.verbose and _shows_bars():
        # If the device is not the CPU, the losses of batches stay on it until an epoch ends.
        on_cpu = resolve_device(parameters.device).type == "cpu"
        callbacks.append(("progress", ProgressBar(postfix_keys=None if on_cpu else ["event_lr"])))
    return callbacks + copies_of(parameters.callbacks or [])


def _shows_bars() -> bool:
    """Whether a terminal or a notebook shows progress bars; in files and pipes they are noise."""
    return sys.stderr.isatty() or "ipykernel" in sys.modules


def _checkpoint(
    parameters: TrainingParameters,
    module: nn.Module,
    plan: _Plan,
    previous: SeparationNet | None,
) -> Checkpoint | None:
    """The callback that keeps the state of a training and restores it."""
    if parameters.checkpoint is None or plan.is_partial:
        return None
    n_epochs = plan.n_epochs + (0 if previous is None else len(previous.history))
    irrelevant = parameters_without(type(parameters), "alters_training")
    values = parameters.get_params(deep=False)
    relevant = {name: values[name] for name in values if name not in irrelevant}
    data = [
        (plan.targets.front_end, plan.targets.ratio, plan.targets.weighting),
        plan.train_set.fingerprint,
        None if plan.validation_set is None else plan.validation_set.fingerprint,
    ]
    key = training_key(module, [relevant, data, n_epochs])
    process = None if plan.accelerator is None else plan.accelerator.process_index
    return Checkpoint(Path(parameters.checkpoint) / f"{key}.pt", n_epochs, process)


def _silent(_: str) -> None:
    """Ignore the messages of early stopping, since the table of epochs is enough."""
