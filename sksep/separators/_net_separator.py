"""Separators whose masks come from a network that skorch trains."""

from __future__ import annotations

import copy
import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_random_state
from skorch.helper import predefined_split
from skorch.history import History
from torch import Tensor, nn

from sksep.base._batch import TrackBatch, TrackRecord
from sksep.base._separator import training_batch
from sksep.nn.chunks import chunk
from sksep.nn.front_end import FLOOR_DECIBELS, FrontEnd
from sksep.nn.losses import LOSSES, Loss
from sksep.nn.mask_estimator import (
    MaskEstimator,
    NormalizedNetwork,
    band_statistics,
    in_batches,
    join_batches,
)
from sksep.separators._trained_separator import TrainedSeparator
from sksep.training._accelerated import fit_on_all_processes
from sksep.training._augmentation import Augmentation
from sksep.training._dataset import ExcerptDataset, keep_batch
from sksep.training._net import SeparationNet
from sksep.training._options import (
    device_options,
    resolve_device,
    resolve_precision,
)
from sksep.training._run import (
    check_finite,
    resume_optimizer,
    seeded,
    was_interrupted,
)
from sksep.training._split import split_tracks
from sksep.utils._arrays import FloatArray, as_tensor, evenly_spaced
from sksep.utils._validation import check_choice, check_number

# Tracks, evenly spread, that tell the levels of the bands.
_STATISTICS_TRACKS = 1000
# Values of the training history that can be stored; callbacks may record anything.
_RECORDED = (bool, int, float, str, np.number, np.bool_)


class NetSeparator(TrainedSeparator):
    """Fitting, warm starts and mask estimation around a network; subclasses build the network.

    Subclasses have hyper-parameters of their own beside those of training, and define `_network`
    and `_objective`; those whose networks return more than mask logits also `_module_class` and
    `_chunk_masks`.
    """

    net_: SeparationNet
    front_end_: FrontEnd

    # From features to what the objective takes.
    _module_class: type[NormalizedNetwork] = MaskEstimator

    @abstractmethod
    def _network(self, front_end: FrontEnd) -> nn.Module:
        """A new network on normalised spectrograms (batch, 1, n_frames, n_bands)."""

    @abstractmethod
    def _objective(self) -> Callable[..., Tensor]:
        """The scalar loss of what the network returns and `Excerpts`."""

    def _statistics(self, train: Sequence[TrackRecord]) -> tuple[Tensor, Tensor]:
        """Mean and scale of each band, by which features are normalised."""
        picks = evenly_spaced(len(train), _STATISTICS_TRACKS)
        return band_statistics(as_tensor(train[int(pick)].spectrogram) for pick in picks)

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
        accelerator = self._accelerator(device)
        if accelerator is not None:
            device = accelerator.device
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
                process = None if accelerator is None else accelerator.process_index
                checkpoint = self._checkpoint(module, data, n_in_all, process)
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
            if accelerator is None:
                net.partial_fit(train_set, None)
            else:
                fit_on_all_processes(net, train_set, accelerator)
        # The validation set would travel along with every pickle of the net.
        net.train_split = None
        net.module_.eval()
        interrupted = was_interrupted(net, n_before + n_epochs)
        if checkpoint is not None and not interrupted:
            checkpoint.delete()
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
        return join_batches(masks, record.front_end.chunk_step, record.n_total_frames).numpy()

    def _separates_chunks(self) -> bool:
        return True

    def _estimate_chunks(self, chunks: Tensor) -> Iterator[Tensor]:
        """Masks of chunks (n_chunks, n_frames, n_bands), batch by batch."""
        return self._in_batches(self._chunk_masks, chunks.split(self._batch_size()))

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
        self, function: Callable[[Any, Tensor], Tensor], batches: Iterable[Tensor]
    ) -> Iterator[Tensor]:
        """Results of a function of the module and features on its device, batch by batch."""
        device = torch.device(self.net_.device)
        module = self.net_.module_
        return in_batches(
            partial(function, module),
            batches,
            device=device,
            precision=resolve_precision(self.precision, device),
            on_cpu=lambda: partial(function, self._rebuild(module.state_dict()).eval()),
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
        optimizer, net_params = self._optimizer(), self._net_params()
        parameters: dict[str, Any] = {
            **optimizer,
            **device_options(optimizer["optimizer"], device, net_params),
            "lr": self._lr(),
            "batch_size": self._batch_size(),
            "iterator_train__shuffle": True,
            "iterator_train__collate_fn": keep_batch,
            "iterator_valid__collate_fn": keep_batch,
            "train_split": None,
            "callbacks": callbacks,
            "verbose": int(bool(self.verbose)),
            **net_params,
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

    def _rebuild(self, weights: dict[str, Tensor]) -> NormalizedNetwork:
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


def mask_loss(loss: str | Callable[..., Any]) -> Callable[..., Any]:
    """A loss of mask logits by its name; callables pass through."""
    if callable(loss):
        return loss
    return LOSSES[check_choice("loss", loss, tuple(LOSSES))]


def _n_trainable_chunks(record: TrackRecord) -> int:
    return 0 if record.targets is None else int(record.targets.chunk_is_kept.sum())
