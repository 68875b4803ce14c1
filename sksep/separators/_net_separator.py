"""Separators whose masks come from a network that skorch trains."""

from __future__ import annotations

import copy
import inspect
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state
from skorch.callbacks import EarlyStopping, GradientNormClipping, ProgressBar
from skorch.helper import predefined_split
from skorch.history import History
from torch import Tensor, nn

from sksep._batch import TrackBatch, TrackRecord, as_tensor
from sksep._parameters import check_choice, check_integer, check_number
from sksep._tracks import FloatArray
from sksep.nn.chunks import chunk
from sksep.nn.front_end import FLOOR_DECIBELS, FrontEnd
from sksep.nn.losses import LOSSES, Loss
from sksep.nn.mask_estimator import (
    MaskEstimator,
    NormalisedNetwork,
    band_statistics,
    in_batches,
    join_batches,
    split_for_workers,
)
from sksep.separators._base import BaseSeparator, training_batch
from sksep.training._augmentation import Augmentation
from sksep.training._checkpoint import Checkpoint, training_key
from sksep.training._dataset import ExcerptDataset, keep_batch
from sksep.training._net import SeparationNet
from sksep.training._options import (
    resolve_device,
    resolve_optimizer,
    resolve_precision,
    schedule_callback,
)
from sksep.training._run import (
    check_finite,
    copy_of,
    resume_optimizer,
    seeded,
    was_interrupted,
)
from sksep.training._split import split_tracks

# Patience that never runs out: the best weights are wanted, an early stop is not.
_FOREVER = 10**9
# Parameters that do not change what a training arrives at, or that its first weights tell.
_IRRELEVANT = ("callbacks", "checkpoint", "clusterer", "clustering", "verbose", "warm_start")
# Parameters of the net that `net_params` must leave alone.
_RESERVED = {
    "augmentation",
    "batch_size",
    "callbacks",
    "criterion",
    "device",
    "front_end",
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
# Values of the training history that can be stored; callbacks may record anything.
_RECORDED = (bool, int, float, str, np.number, np.bool_)


class NetSeparator(BaseSeparator):
    """Fitting, warm starts and mask estimation around a network; subclasses build the network.

    Subclasses have hyper-parameters of their own beside the ones stored here, and define `_network`
    and `_objective`; those whose networks return more than mask logits also `_module_class` and
    `_chunk_masks`.
    """

    net_: SeparationNet
    front_end_: FrontEnd

    # From features to what the objective takes.
    _module_class: type[NormalisedNetwork] = MaskEstimator

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
        self.device = device
        self.precision = precision
        self.net_params = net_params
        self.random_state = random_state
        self.verbose = verbose

    @abstractmethod
    def _network(self, front_end: FrontEnd) -> nn.Module:
        """A new network on normalised spectrograms (batch, 1, n_frames, n_bands)."""

    @abstractmethod
    def _objective(self) -> Callable[..., Tensor]:
        """The scalar loss of what the network returns and `Excerpts`."""

    def _statistics(self, train: Sequence[TrackRecord]) -> tuple[Tensor, Tensor]:
        """Mean and scale of each band, by which features are normalised."""
        return band_statistics([torch.tensor(record.spectrogram) for record in train])

    def _learned_after(
        self, net: SeparationNet, train: Sequence[TrackRecord], keep: bool = False
    ) -> dict[str, Any]:
        """Further fitted attributes, learned with the trained network, anew or going on."""
        return {}

    def _chunk_masks(self, module: Any, features: Tensor) -> Tensor:
        """Masks (batch, n_frames, n_bands) of chunks."""
        return torch.sigmoid(module(features).float())

    def fit(self, X: Any, y: Any = None) -> NetSeparator:
        """Train the network.

        Parameters
        ----------
        X : TrackBatch
            Output of `MaskBuilder.fit_transform`: tracks with targets.
        y : Ignored
            The truth is in the targets.

        Returns
        -------
        NetSeparator
            Itself. Interrupted from the keyboard, it keeps the best weights so far.

        Raises
        ------
        TypeError
            Where a parameter has the wrong type, or `X` is no output of `MelChunker`.
        ValueError
            Where tracks have no targets or all are silent, a parameter is out of its range, the
            chunks are others than those that the training goes on from, or the training diverged.

        Warns
        -----
        UserWarning
            Where the training was interrupted.
        """
        keep = bool(self.warm_start) and hasattr(self, "net_")
        return self._fit(X, self._n_epochs(), keep=keep, schedule=self.schedule)

    def partial_fit(self, X: Any, y: Any = None) -> NetSeparator:
        """Train the network for one more epoch on all of the given tracks, at a constant rate.

        Parameters
        ----------
        X : TrackBatch
            Output of `MaskBuilder.fit_transform`: tracks with targets.
        y : Ignored
            The truth is in the targets.

        Returns
        -------
        NetSeparator
            Itself.

        Raises
        ------
        TypeError
            Where a parameter has the wrong type, or `X` is no output of `MelChunker`.
        ValueError
            Where tracks have no targets or all are silent, a parameter is out of its range, the
            chunks are others than those that the training goes on from, or the training diverged.
        """
        return self._fit(X, 1, keep=hasattr(self, "net_"), schedule=None, hold_back=False)

    @property
    def history_(self) -> Any:
        """The training history of skorch: one row per epoch."""
        return self.net_.history

    @property
    def loss_curve_(self) -> list[float]:
        """Training loss of each epoch."""
        return [float(row["train_loss"]) for row in self.net_.history if "train_loss" in row]

    @property
    def validation_loss_curve_(self) -> list[float]:
        """Loss on the validation tracks after each epoch; empty where there were none."""
        return [float(row["valid_loss"]) for row in self.net_.history if "valid_loss" in row]

    def _fit(
        self, X: Any, n_epochs: int, *, keep: bool, schedule: str | None, hold_back: bool = True
    ) -> NetSeparator:
        batch = training_batch(X, type(self).__name__)
        front_end = batch[0].front_end
        if keep and not front_end.same_spectra(self.front_end_):
            raise ValueError(
                "The tracks were chunked with other settings than those this separator was "
                "trained with; keep MelChunker's parameters, or set warm_start=False."
            )
        augmentation = self._augmentation()
        random_state = check_random_state(self.random_state)
        device = resolve_device(self.device)
        train, validation = self._split(batch, random_state, hold_back)
        previous = self.net_ if keep else None
        n_before = len(self.loss_curve_) if keep else 0
        # A warm start draws excerpts of its own, also where random_state is an integer.
        seeds = random_state.randint(np.iinfo(np.int32).max, size=2) + n_before
        train_set = ExcerptDataset(train, augmentation, self._n_excerpts(), seed=int(seeds[0]))
        n_batches = n_epochs * -(-len(train_set) // self._batch_size())
        validation_set = ExcerptDataset(validation) if validation else None
        callbacks = self._callbacks(schedule, n_batches, bool(validation))
        with seeded(int(seeds[1]), device):
            if previous is None:
                statistics = self._statistics(train)
                module: nn.Module = self._module_class(self._network(front_end), *statistics)
            else:
                # A copy, so that a training that fails leaves the separator as it was; rebuilt, so
                # that parameters that were set since then are heeded, or refused.
                module = self._rebuild(previous.module_.state_dict())
            targets = batch[0].targets
            assert targets is not None
            checkpoint = None
            if self.checkpoint is not None and hold_back:
                data = [
                    (targets.front_end, targets.ratio, targets.weighting),
                    train_set.content,
                    None if validation_set is None else validation_set.content,
                ]
                n_in_all = n_epochs + (0 if previous is None else len(previous.history))
                checkpoint = self._checkpoint(module, data, n_in_all)
                # The last one: it restores what the others begin with.
                callbacks.append(("checkpoint", checkpoint))
            net = self._make_net(
                module,
                front_end,
                targets.ratio,
                targets.weighting,
                device=device,
                augmentation=augmentation,
                callbacks=callbacks,
            )
            net.max_epochs = n_epochs
            if validation_set is not None:
                net.train_split = predefined_split(validation_set)
            net.initialize()
            if previous is not None:
                net.history = copy.deepcopy(previous.history)
                resume_optimizer(net.optimizer_, getattr(previous, "optimizer_", None))
            net.partial_fit(train_set, None)
        # The validation set would travel along with every pickle of the net.
        net.train_split = None
        net.module_.eval()
        interrupted = was_interrupted(net, n_before + n_epochs)
        if checkpoint is not None and not interrupted:
            checkpoint.path.unlink(missing_ok=True)
        check_finite(net)
        learned = self._learned_after(net, train, keep)
        self.__dict__.update(learned)
        self.front_end_ = front_end
        self.net_ = net
        self.n_epochs_ = len(self.loss_curve_)
        if interrupted:
            kept = "best weights so far" if self.validation_loss_curve_ else "last weights"
            warnings.warn(
                f"Training was interrupted after {self.n_epochs_ - n_before} of {n_epochs} epochs; "
                f"the {kept} are kept.",
                UserWarning,
                stacklevel=3,
            )
        return self

    def _estimate_mask(self, record: TrackRecord) -> FloatArray:
        masks = self._estimate_chunks(self._cut(record))
        return join_batches(masks, record.front_end.chunk_step, len(record.spectrogram)).numpy()

    def _separates_chunks(self) -> bool:
        return True

    def _estimate_chunks(self, chunks: Tensor) -> Iterator[Tensor]:
        """Masks of chunks (n_chunks, n_frames, n_bands), batch by batch."""
        module = self.net_.module_
        device = torch.device(self.net_.device)
        batches = split_for_workers(chunks, self._batch_size(), device)
        return self._in_batches(lambda features: self._chunk_masks(module, features), batches)

    def _cut(self, record: TrackRecord) -> Tensor:
        """Chunks (n_chunks, n_frames, n_bands) of a track, of the kind that the network knows."""
        front_end = record.front_end
        self._check_front_end(front_end, record.name)
        spectrogram = as_tensor(record.spectrogram)
        return chunk(spectrogram, front_end.n_frames, front_end.chunk_step, FLOOR_DECIBELS)

    def _check_front_end(self, front_end: FrontEnd, name: str) -> None:
        if not front_end.same_spectra(self.front_end_):
            raise ValueError(
                f"{name} was chunked with other MelChunker settings than those this separator was "
                f"trained with: {front_end} instead of {self.front_end_}."
            )

    def _in_batches(
        self, function: Callable[[Tensor], Tensor], batches: Iterable[Tensor]
    ) -> Iterator[Tensor]:
        """Results of a function of features on the device of the network, batch by batch."""
        device = torch.device(self.net_.device)
        return in_batches(
            function,
            batches,
            device=device,
            precision=resolve_precision(self.precision, device),
        )

    def _make_net(
        self,
        module: nn.Module,
        front_end: FrontEnd,
        ratio: str,
        weighting: str,
        *,
        device: torch.device,
        augmentation: Augmentation | None,
        callbacks: list[Any],
    ) -> SeparationNet:
        module.to(device)
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        parameters: dict[str, Any] = {
            **self._optimizer(),
            "lr": self._lr(),
            "batch_size": self._batch_size(),
            "iterator_train__shuffle": True,
            "iterator_train__collate_fn": keep_batch,
            "iterator_valid__collate_fn": keep_batch,
            "train_split": None,
            "callbacks": callbacks,
            "verbose": int(bool(self.verbose)),
            **self._net_params(),
        }
        return SeparationNet(
            module,
            Loss(self._objective()),
            front_end=front_end,
            ratio=ratio,
            weighting=weighting,
            augmentation=augmentation,
            precision=resolve_precision(self.precision, device),
            device=str(device),
            **parameters,
        )

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
            callbacks.append(("progress", ProgressBar()))
        return callbacks + [copy_of(callback) for callback in self.callbacks or []]

    def _split(
        self, batch: TrackBatch, random_state: np.random.RandomState, hold_back: bool
    ) -> tuple[TrackBatch, TrackBatch]:
        fraction = check_number(
            "validation_fraction", self.validation_fraction, 0.0, 1.0, include_high=False
        )
        trainable = [record for record in batch if _n_trainable_chunks(record)]
        train, validation = split_tracks(
            TrackBatch(trainable),
            fraction if hold_back else 0.0,
            required=bool(self.early_stopping) and hold_back,
            random_state=random_state,
        )
        return train, validation

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

    def _fitted_state(self) -> dict[str, Any]:
        """What `sksep.save` stores beside the parameters: fitted attributes and the weights."""
        if not hasattr(self, "net_"):
            return {}
        weights = self.net_.module_.state_dict()
        # Parameters can be set after fit; the file must describe the network that was trained.
        self._rebuild(weights)
        rows = [
            {name: value for name, value in row.items() if isinstance(value, _RECORDED)}
            for row in self.net_.history
        ]
        settings = {"ratio": self.net_.ratio, "weighting": self.net_.weighting}
        fitted = {name: value for name, value in vars(self).items() if name.endswith("_")}
        del fitted["net_"]
        return {**fitted, "net": {"settings": settings, "history": rows, "weights": weights}}

    def _restore(self, state: dict[str, Any]) -> None:
        """The inverse of `_fitted_state`, on an unfitted separator with the same parameters."""
        net_state = state.pop("net", None)
        self.__dict__.update(state)
        if net_state is None:
            return
        module = self._rebuild(net_state["weights"])
        try:
            device = resolve_device(self.device)
        except ValueError as error:
            device = torch.device("cpu")
            warnings.warn(f"Restored to the CPU: {error}", UserWarning, stacklevel=2)
        net = self._make_net(
            module,
            self.front_end_,
            **net_state["settings"],
            device=device,
            augmentation=self._augmentation(),
            callbacks=[],
        )
        net.initialize()
        net.history = History({"batches": [], **row} for row in net_state["history"])
        net.module_.eval()
        self.net_ = net

    def _rebuild(self, weights: dict[str, Tensor]) -> NormalisedNetwork:
        """The estimator that the parameters describe, with these weights."""
        with torch.random.fork_rng(devices=[]):
            network = self._network(self.front_end_)
        empty = torch.zeros(self.front_end_.n_bands)
        module = self._module_class(network, empty, empty.clone())
        try:
            module.load_state_dict(weights)
        except RuntimeError as error:
            raise ValueError(
                f"The weights of {type(self).__name__} do not fit its parameters. Set the "
                f"parameters of the network to those that it was fitted with, or fit again. {error}"
            ) from error
        return module

    def _inversion_device(self) -> torch.device:
        device = torch.device(self.net_.device)
        # Complex numbers are not complete on MPS.
        return device if device.type == "cuda" else torch.device("cpu")

    def _checkpoint(self, module: nn.Module, data: list[Any], n_epochs: int) -> Checkpoint:
        """The callback that keeps the state of a training and restores it."""
        if isinstance(self.random_state, bool) or not isinstance(self.random_state, Integral):
            raise ValueError(
                f"checkpoint needs an integer as random_state, got {self.random_state!r}: a "
                "training that goes on elsewhere would not be the same."
            )
        parameters = self.get_params(deep=False)
        relevant = {name: parameters[name] for name in parameters if name not in _IRRELEVANT}
        key = training_key(module, [relevant, data, n_epochs])
        return Checkpoint(Path(self.checkpoint) / f"{key}.pt", n_epochs)


def mask_loss(loss: str | Callable[..., Any]) -> Callable[..., Any]:
    """A loss of mask logits by its name; callables pass through."""
    if callable(loss):
        return loss
    return LOSSES[check_choice("loss", loss, tuple(LOSSES))]


def _n_trainable_chunks(record: TrackRecord) -> int:
    return 0 if record.targets is None else int(record.targets.chunk_is_kept.sum())


def _silent(_: str) -> None:
    """Where early stopping may print to: the table of epochs says enough."""
