"""NetSeparator: the base of the separators whose masks come from a trained network."""

from __future__ import annotations

import warnings
from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
import torch
from torch import Tensor, nn

from sksep.base._batch import TrackBatch, TrackRecord
from sksep.base._separator import BaseSeparator
from sksep.nn.chunks import chunk
from sksep.nn.front_end import LOWEST_DECIBELS, FrontEnd
from sksep.nn.levels import LevelNormalizer, amplified, chunk_levels
from sksep.nn.losses import LOSSES
from sksep.nn.mask_estimator import (
    MaskEstimator,
    NormalizedNetwork,
    band_statistics,
    in_batches,
    join_batches,
)
from sksep.separators._weights import check_weights
from sksep.training._options import on_device, resolve_device, resolve_precision
from sksep.training._parameters import TrainingParameters
from sksep.training._run import TrainingInterrupted
from sksep.training._tracks import TrainingTracks
from sksep.utils._arrays import FloatArray, as_tensor, evenly_spaced
from sksep.utils._parameters import document_shared
from sksep.utils._validation import choice_or_callable

# skorch takes longer to import than a short song to separate, so methods that need it import it.
if TYPE_CHECKING:
    from sksep.training._net import SeparationNet

_Class = TypeVar("_Class", bound=type)

# Number of evenly spread tracks from which the levels of the bands are learned.
_STATISTICS_TRACKS = 1000
# Values of the training history that can be stored; callbacks may record anything.
_RECORDED = (bool, int, float, str, np.number, np.bool_)

_ATTRIBUTES = """\
net_ : skorch.NeuralNet
    The trained net; ``net_.module_`` is the torch module.
front_end_ : FrontEnd
    Settings of the `MelChunker` that it was trained with.
level_ : float or None
    Level in dB to which all tracks are brought, so that their gain does not matter: the median
    level of the loudest chunk of each track. None, in models of earlier versions, leaves tracks as
    they are.
n_epochs_ : int
    Number of epochs trained so far.
history_ : skorch.history.History
    The training history, with one row per epoch.
loss_curve_, validation_loss_curve_ : list of float
    Losses of the epochs. The latter is empty if no tracks were held back."""

mask_loss = choice_or_callable(*LOSSES)


def document_training(separator: _Class) -> _Class:
    """Describe the parameters of training, and what it learns, in the docstring of a class."""
    separator = document_shared(TrainingParameters, "TRAINING_PARAMETERS")(separator)
    if separator.__doc__:
        separator.__doc__ = separator.__doc__.replace("TRAINING_ATTRIBUTES", _ATTRIBUTES)
    return separator


class NetSeparator(TrainingParameters, BaseSeparator):
    """Base of separators that train a network: fitting, warm starts and masks of chunks.

    Subclasses are dataclasses with keyword-only fields for parameters of their own, beside those
    of training, which all share (see `UNetSeparator`). They define `_network` and `_objective`.
    Those whose networks return more than the logits of masks also define `_module_class` and
    `_chunk_masks`.

    Examples
    --------
    >>> from dataclasses import dataclass
    >>> from torch import nn
    >>> from sksep.separators import NetSeparator
    >>> @dataclass(kw_only=True, eq=False, repr=False)
    ... class OneLayerSeparator(NetSeparator):
    ...     kernel_size: int = 3
    ...
    ...     def _network(self, front_end):
    ...         return nn.Conv2d(1, 1, self.kernel_size, padding="same")
    >>> OneLayerSeparator(kernel_size=5, max_epochs=3)
    OneLayerSeparator(kernel_size=5, max_epochs=3)
    """

    front_end_: FrontEnd
    level_: float | None

    # With metadata routing, groups that a search is given reach `fit` without a request. It does no
    # harm there, and validation by artist is what splits by artist are for.
    __metadata_request__fit: ClassVar[dict[str, bool]] = {"groups": True}

    # Class of the module that turns features into the input of the objective.
    _module_class: ClassVar[type[NormalizedNetwork]] = MaskEstimator

    @abstractmethod
    def _network(self, front_end: FrontEnd) -> nn.Module:
        """A new network on normalized spectrograms (batch, 1, n_frames, n_bands)."""

    def _objective(self) -> Callable[..., Tensor]:
        """Function of the network's output and `Excerpts` that returns a scalar loss."""
        return loss_of("bce")

    def _level_of(self, loudest: Tensor) -> float | None:
        """The level to bring tracks to, from that of the loudest chunk of each (n_tracks,)."""
        return float(loudest.median())

    def _gains(self, levels: Tensor, level: float | None) -> Tensor:
        """Gains in dB that bring the chunks of a track, of such levels (n_chunks,), to a level."""
        return LevelNormalizer(level).gains(levels)

    def _at_level(self, batch: TrackBatch, keep: bool) -> tuple[TrackBatch, float | None]:
        """Tracks to train on with the gains that chunks get when predicting, and their level."""
        pairs = [(record, record.targets) for record in batch if record.targets is not None]
        pairs = [(record, targets) for record, targets in pairs if targets.chunk_is_kept.any()]
        levels = [
            chunk_levels(_chunks(record.mono_levels, record.front_end)) for record, _ in pairs
        ]
        loudest = torch.stack([part.max() for part in levels])
        level = self.level_ if keep else self._level_of(loudest)
        gains = (self._gains(part, level).numpy() for part in levels)
        records = (
            replace(record, targets=replace(targets, chunk_gains=part))
            for (record, targets), part in zip(pairs, gains, strict=True)
        )
        return TrackBatch(records), level

    def _statistics(self, tracks: Sequence[TrackRecord]) -> tuple[Tensor, Tensor]:
        """Mean and scale of each band, by which features are normalized."""
        picks = evenly_spaced(len(tracks), _STATISTICS_TRACKS)
        records = (tracks[int(pick)] for pick in picks)
        return band_statistics(part for record in records for part in self._heard(record))

    def _heard(self, record: TrackRecord) -> Iterator[Tensor]:
        """Log power in dB (n_frames, n_bands) of the chunks of a training track at their gains."""
        chunks = _chunks(record.mono_levels, record.front_end)
        assert record.targets is not None
        assert record.targets.chunk_gains is not None
        gains = as_tensor(record.targets.chunk_gains)
        size = int(self.batch_size)  # torch splits by no other integers
        for part in zip(chunks.split(size), gains.split(size), strict=True):
            yield amplified(*part).flatten(0, 1)

    def _learned_after(
        self, net: SeparationNet, tracks: Sequence[TrackRecord], keep: bool = False
    ) -> dict[str, Any]:
        """Further fitted attributes, learned with the trained network. `keep` continues a fit."""
        return {}

    def _chunk_masks(self, module: Any, features: Tensor) -> Tensor:
        """Masks (batch, n_frames, n_bands) of chunks."""
        return torch.sigmoid(module(features).float())

    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, groups: Any = None
    ) -> NetSeparator:
        """Train the network.

        Parameters
        ----------
        X : TrackBatch
            Output of `MaskBuilder.fit_transform`: tracks with targets.
        y : Ignored
            The truth is in the targets.
        sample_weight : array-like of shape (n_tracks,), default=None
            Weights of the tracks: excerpts are drawn from a chunk of a track of weight 2 twice as
            often as from one of weight 1, so that in expectation the loss is weighted, too. Tracks
            of weight 0 are left out. An epoch has as many excerpts as without weights, and the
            loss of the validation is not weighted.
        groups : array-like of shape (n_tracks,), default=None
            Artist of each track, for instance. Validation then holds back the tracks of whole
            groups. None takes each track as a group.

        Returns
        -------
        NetSeparator
            The separator itself.

        Raises
        ------
        TypeError
            If a parameter has the wrong type, or `X` is not an output of `MelChunker`.
        ValueError
            If tracks have no targets or all are silent, a parameter is out of its range, weights or
            groups do not fit the tracks, the chunks differ from those of the training that is
            continued, or the training diverged.

        TrainingInterrupted
            If the training is interrupted from the keyboard. The separator then has the best
            weights so far; searches stop.
        """
        self._check_parameters()
        tracks = TrainingTracks.of(X, type(self).__name__, sample_weight, groups)
        return self._fit(tracks, keep=bool(self.warm_start) and hasattr(self, "net_"))

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> NetSeparator:
        """Train the network for one more epoch on all of the given tracks, at a constant rate.

        Parameters
        ----------
        X : TrackBatch
            Output of `MaskBuilder.fit_transform`: tracks with targets.
        y : Ignored
            The truth is in the targets.
        sample_weight : array-like of shape (n_tracks,), default=None
            Weights of the tracks, as in `fit`.

        Returns
        -------
        NetSeparator
            The separator itself.

        Raises
        ------
        TypeError, ValueError
            If `fit` raises them.
        """
        self._check_parameters()
        tracks = TrainingTracks.of(X, type(self).__name__, sample_weight)
        return self._fit(tracks, keep=hasattr(self, "net_"), is_partial=True)

    @cached_property
    def net_(self) -> SeparationNet:
        """The trained skorch net. That of a loaded separator is made when it is first used."""
        if "_restored" not in vars(self):
            raise AttributeError(f"{type(self).__name__} has no net_ before fit.")
        return _net_of(self, self.__dict__.pop("_restored"))

    @property
    def history_(self) -> Any:
        """The training history of skorch: one row per epoch."""
        return self.net_.history

    @property
    def loss_curve_(self) -> list[float]:
        """Training loss of each epoch."""
        return self._losses("train_loss")

    @property
    def validation_loss_curve_(self) -> list[float]:
        """Loss on the validation tracks after each epoch; empty if there were none."""
        return self._losses("valid_loss")

    def _losses(self, kind: str) -> list[float]:
        from sksep.training._fit import losses_of

        return losses_of(self.net_, kind)

    def _fit(self, given: TrainingTracks, *, keep: bool, is_partial: bool = False) -> NetSeparator:
        from sksep.training._fit import train

        front_end = given.batch[0].front_end
        if keep and not front_end.same_spectra(self.front_end_):
            raise ValueError(
                "The tracks were chunked with other settings than those this separator was "
                "trained with; keep MelChunker's parameters, or set warm_start=False."
            )
        previous = self.net_ if keep else None
        batch, level = self._at_level(given.batch, keep)
        given = replace(given, batch=batch)

        def build(tracks: Sequence[TrackRecord]) -> nn.Module:
            if previous is None:
                statistics = self._statistics(tracks)
                return self._module_class(self._network(front_end), *statistics)
            # A copy, so that a training that fails does not change the separator. It is built
            # again, so that parameters that were set since then are used, or refused.
            return self._rebuild(previous.module_.state_dict())

        trained = train(
            self, given, build, self._objective(), previous=previous, is_partial=is_partial
        )
        learned = self._learned_after(trained.net, trained.tracks, keep)
        self.__dict__.update(learned)
        self.front_end_ = front_end
        self.__dict__.pop("_restored", None)
        self.level_ = level
        self.net_ = trained.net
        self.n_epochs_ = len(self.loss_curve_)
        if trained.was_interrupted:
            kept = "best weights so far" if self.validation_loss_curve_ else "last weights"
            n_epochs = 1 if is_partial else self.max_epochs
            raise TrainingInterrupted(
                f"Training was interrupted after {trained.n_epochs} of {n_epochs} epochs; "
                f"the {kept} are kept. To continue, {self._how_to_continue(previous)}."
            )
        return self

    def _how_to_continue(self, previous: SeparationNet | None) -> str:
        """Advice after an interruption of a training that began with a network, or without."""
        if self.checkpoint is None:
            return "set warm_start=True and fit again"
        if not self.warm_start:
            return "keep the checkpoint folder and fit again"
        # Another fit would begin with the weights that were just kept: another training.
        begun = "a clone" if previous is None else "the model that it began with"
        return f"keep the checkpoint folder and fit {begun} on the same recordings"

    def _estimate_mask(self, record: TrackRecord) -> FloatArray:
        masks = self._estimate_chunks(self._cut(record), self._normalizer())
        return join_batches(masks, record.front_end.chunk_step, record.n_total_frames).numpy()

    def _separates_chunks(self) -> bool:
        return True

    def _device(self) -> torch.device:
        return self._module_and_device()[1]

    def _module_and_device(self) -> tuple[Any, torch.device]:
        restored: _Restored | None = vars(self).get("_restored")
        if restored is not None:
            return restored.module, restored.device
        return self.net_.module_, torch.device(self.net_.device)

    def _estimate_chunks(self, chunks: Tensor, normalizer: LevelNormalizer) -> Iterator[Tensor]:
        """Masks of the next chunks (n_chunks, n_frames, n_bands) in dB, batch by batch."""
        batches = (normalizer.push(part) for part in chunks.split(int(self.batch_size)))
        return self._in_batches(self._chunk_masks, batches)

    def _normalizer(self) -> LevelNormalizer:
        """A new normalizer, which brings the chunks of one track to the level of training."""
        return LevelNormalizer(self.level_)

    def _cut(self, record: TrackRecord) -> Tensor:
        """Chunks (n_chunks, n_frames, n_bands) of a track in dB, at its own level."""
        return _chunks(record.sound_levels, record.front_end)

    def _in_batches(
        self, function: Callable[[Any, Tensor], Tensor], batches: Iterable[Tensor]
    ) -> Iterator[Tensor]:
        """Call a function of the module and features on its device, batch by batch."""
        module, device = self._module_and_device()
        results = in_batches(
            partial(function, module),
            batches,
            device=device,
            precision=resolve_precision(self.precision, device),
            on_cpu=lambda: partial(function, self._rebuild(module.state_dict()).eval()),
        )
        for result in results:
            if not result.isfinite().all():
                raise ValueError(
                    f"The network of {type(self).__name__} returned NaN or infinity: its weights "
                    "are damaged, or its precision is too low. Load or train the model again, or "
                    "set precision='float32'."
                )
            yield result

    def _fitted_state(self) -> dict[str, Any]:
        """The state for `sksep.save` beside the parameters: fitted attributes and the weights."""
        if not hasattr(self, "net_"):
            return {}
        weights = self.net_.module_.state_dict()
        # Parameters can be set after fit, but the file must describe the trained network.
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
        """Set the result of `_fitted_state` in an unfitted separator with the same parameters."""
        net_state = state.pop("net", None)
        self.__dict__.update(state)
        if net_state is None:
            return
        self.__dict__.setdefault("level_", None)  # files of earlier versions have none
        check_weights(self._empty_module, net_state["weights"], type(self).__name__)
        module = self._rebuild(net_state["weights"])
        try:
            device = resolve_device(self.device)
        except ValueError as error:
            device = torch.device("cpu")
            warnings.warn(f"Restored to the CPU: {error}", UserWarning, stacklevel=2)
        self.__dict__.pop("net_", None)
        self._restored = _Restored(
            on_device(module, device).eval(), device, net_state["settings"], net_state["history"]
        )

    def _rebuild(self, weights: dict[str, Tensor]) -> NormalizedNetwork:
        """The module that the parameters describe, with these weights."""
        module = self._empty_module()
        try:
            module.load_state_dict(weights)
        except RuntimeError as error:
            raise ValueError(
                f"The weights of {type(self).__name__} do not fit its parameters. Set the "
                f"parameters of the network to those that it was fitted with, or fit again. {error}"
            ) from error
        return module

    def _empty_module(self) -> NormalizedNetwork:
        """A module that the parameters describe."""
        with torch.random.fork_rng(devices=[]):
            network = self._network(self.front_end_)
        empty = torch.zeros(self.front_end_.n_bands)
        return self._module_class(network, empty, empty.clone())


@dataclass
class _Restored:
    """State of a loaded separator: what it predicts with, and what a skorch net is made of."""

    module: nn.Module
    device: torch.device
    settings: dict[str, Any]
    history: list[dict[str, Any]]


def _net_of(separator: NetSeparator, restored: _Restored) -> SeparationNet:
    from skorch.history import History

    from sksep.training._fit import make_net

    net = make_net(
        separator,
        restored.module,
        separator._objective(),
        front_end=separator.front_end_,
        **restored.settings,
        device=restored.device,
        callbacks=[],
    )
    net.initialize()
    net.history = History({"batches": [], **row} for row in restored.history)
    net.module_.eval()
    return net


def _chunks(levels: FloatArray, front_end: FrontEnd) -> Tensor:
    return chunk(as_tensor(levels), front_end.n_frames, front_end.chunk_step, LOWEST_DECIBELS)


def loss_of(loss: str | Callable[..., Any]) -> Callable[..., Any]:
    """A loss of the logits of masks by its name; functions are returned as they are."""
    return LOSSES[loss] if isinstance(loss, str) else loss
