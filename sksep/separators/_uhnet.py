"""UHNetSeparator: a U-Net that also sees the masks of a clustering network."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from sksep.base._batch import TrackRecord
from sksep.nn.clustering import HybridNetwork
from sksep.nn.clustering_losses import CLUSTERING_LOSSES
from sksep.nn.front_end import FrontEnd
from sksep.nn.mask_estimator import NormalizedNetwork
from sksep.nn.objectives import UHNetObjective
from sksep.nn.pyramid_unet import PyramidUNet
from sksep.nn.recurrent import CELLS, RecurrentBody
from sksep.nn.uhnet import UHNet
from sksep.nn.unet import SKIPS
from sksep.separators._clustering_separator import (
    CLUSTERING_WEIGHTS,
    clustering_objective,
    embedding_length,
)
from sksep.separators._hybrid_clustering import HybridClusteringSeparator
from sksep.separators._net_separator import NetSeparator, document_training, loss_of, mask_loss
from sksep.utils._parameters import parameter
from sksep.utils._validation import check_boolean, choice, integer, number, optional


def _check_clustering(name: str, value: Any) -> None:
    given = value.estimator if isinstance(value, FrozenEstimator) else value
    if not isinstance(given, HybridClusteringSeparator):
        raise TypeError(
            f"{name} must be a fitted HybridClusteringSeparator, the step of a pipeline and not "
            f"the pipeline itself; got {given!r:.200}."
        )
    check_is_fitted(
        given,
        msg=f"{name} is a %(name)s that is not fitted. Fit it first; grid searches and "
        "cross-validation take an unfitted copy unless it is wrapped: "
        f"{name}=sklearn.frozen.FrozenEstimator(separator).",
    )
    if given.permutation_invariant:
        raise ValueError(
            f"{name} was trained with permutation_invariant=True: its masks change places from "
            "chunk to chunk. Train it without."
        )


@document_training
@dataclass(kw_only=True, eq=False, repr=False)
class UHNetSeparator(NetSeparator):
    """Separate vocals with a U-Net that also sees the masks of a clustering network.

    A recurrent network with the two heads of `HybridClusteringSeparator` gives a mask of the vocals
    and one of the accompaniment. A U-Net makes the final mask from three channels: the log-mel
    spectrogram and these two masks. Both are trained together, on the sum of their losses, or only
    the U-Net, on the masks of a given separator.

    Parameters
    ----------
    n_levels : int, default=1
        Number of levels of a pyramid of U-Nets (`depth` is the number of halvings in each). 1 is a
        single U-Net. With more, each level works at half the resolution of the next finer one,
        passes its features on to it, and has a loss of its own.
    clustering : HybridClusteringSeparator, default=None
        A fitted separator whose network and loss are used. The parameters of the clustering network
        below have no effect then. For grid searches and cross-validation, which would otherwise
        make an unfitted copy of it, wrap it as ``sklearn.frozen.FrozenEstimator(separator)``. None
        trains a new network jointly.
    freeze_clustering : bool, default=True
        Whether a given network stays as it is, or is trained further on the sum of the losses.
    n_filters : int, default=16
        Number of filters on the first level of a U-Net. Each level below has twice as many.
    depth : int, default=4
        Number of times that a U-Net halves the resolution.
    skip : {"concatenate", "add"}, default="concatenate"
        Way in which the encoder's features join those of the decoder.
    dropout : float, default=0.5
        Dropout probability of the channels at the bottom of a U-Net, in [0, 1).
    embedding_dim : int, default=20
        Length of an embedding.
    cell : {"gru", "lstm"}, default="gru"
        Kind of the recurrent layers.
    hidden_size : int, default=300
        Number of units of a recurrent layer, per direction.
    n_layers : int, default=4
        Number of bidirectional recurrent layers.
    n_convolutions : int, default=0
        Number of convolutions of 3 x 3 before the recurrent layers.
    recurrent_dropout : float, default=0.3
        Dropout probability behind each recurrent layer, in [0, 1).
    alpha : float, default=0.5
        Share of the embeddings in the loss of the clustering network, in [0, 1]. The rest is the
        `loss` of its own mask.
    clustering_loss : {"classic", "whitened"}, default="classic"
        Loss of the embeddings, see `DeepClusteringSeparator`.
    weights : {"magnitude", "log_magnitude"}, default="magnitude"
        Weights of the bins in the clustering loss. None weights all alike.
    loss : {"bce", "l1", "snr", "si_sdr"} or callable, default="bce"
        Loss of the masks, see `UNetSeparator`.
    TRAINING_PARAMETERS

    Attributes
    ----------
    TRAINING_ATTRIBUTES

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sksep import MaskBuilder, MelChunker, UHNetSeparator
    >>> from sksep.datasets import make_songs
    >>> songs = make_songs(2, duration=2.0, random_state=0)
    >>> separator = UHNetSeparator(
    ...     n_filters=2, hidden_size=8, recurrent_dropout=0.1, max_epochs=1, random_state=0
    ... )
    >>> pipeline = make_pipeline(MelChunker(), MaskBuilder(), separator)
    >>> vocals = pipeline.fit(songs.mixtures, songs.vocals).predict(songs.mixtures)
    >>> vocals[0].shape
    (32000,)
    """

    _module_class: ClassVar[type[NormalizedNetwork]] = NormalizedNetwork

    n_levels: int = parameter(1, integer(1, 6))
    clustering: Any = parameter(None, optional(_check_clustering), alters_training=False)
    freeze_clustering: bool = parameter(True, check_boolean)
    n_filters: int = parameter(16, integer(1, 4096))
    depth: int = parameter(4, integer(1, 10))
    skip: str = parameter("concatenate", choice(*SKIPS))
    dropout: float = parameter(0.5, number(0.0, 1.0, include_high=False))
    embedding_dim: int = parameter(20, embedding_length)
    cell: str = parameter("gru", choice(*CELLS))
    hidden_size: int = parameter(300, integer(1, 2**16))
    n_layers: int = parameter(4, integer(1, 100))
    n_convolutions: int = parameter(0, integer(0, 100))
    recurrent_dropout: float = parameter(0.3, number(0.0, 1.0, include_high=False))
    alpha: float = parameter(0.5, number(0.0, 1.0))
    clustering_loss: str = parameter("classic", choice(*CLUSTERING_LOSSES))
    weights: str | None = parameter("magnitude", choice(*CLUSTERING_WEIGHTS))
    loss: str | Callable[..., Any] = parameter("bce", mask_loss)

    def _network(self, front_end: FrontEnd) -> nn.Module:
        given = self._given_clustering()
        if given is None:
            body = RecurrentBody(
                front_end.n_bands,
                hidden_size=self.hidden_size,
                n_layers=self.n_layers,
                cell=self.cell,
                dropout=self.recurrent_dropout,
                n_convolutions=self.n_convolutions,
            )
            clustering = HybridNetwork(body, front_end.n_bands, self.embedding_dim)
        else:
            if not front_end.same_spectra(given.front_end_):
                raise ValueError(
                    "clustering was trained with other MelChunker settings than those of the "
                    f"tracks: {given.front_end_} instead of {front_end}."
                )
            clustering = copy.deepcopy(given.net_.module_.network)
        unet = PyramidUNet(
            in_channels=3,
            n_filters=self.n_filters,
            n_levels=self.n_levels,
            depth=self.depth,
            dropout=self.dropout,
            skip=self.skip,
        )
        frozen = given is not None and bool(self.freeze_clustering)
        return UHNet(clustering, unet, frozen=frozen)

    def _statistics(self, tracks: Sequence[TrackRecord]) -> tuple[Tensor, Tensor]:
        given = self._given_clustering()
        if given is None:
            return super()._statistics(tracks)
        # A trained network needs the normalization that it was trained with.
        module = given.net_.module_
        return module.mean.detach().cpu().clone(), module.scale.detach().cpu().clone()

    def _level_of(self, loudest: Tensor) -> float | None:
        given = self._given_clustering()
        return super()._level_of(loudest) if given is None else given.level_

    def _objective(self) -> Callable[..., Tensor]:
        given = self._given_clustering()
        if given is None:
            clustering = clustering_objective(self.clustering_loss, self.weights)
            return UHNetObjective(loss_of(self.loss), clustering, self.alpha)
        return UHNetObjective(loss_of(self.loss), given._objective().clustering, given.alpha)

    def _chunk_masks(self, module: Any, features: Tensor) -> Tensor:
        return torch.sigmoid(module.network.mask_logits(module.normalize(features)).float())

    def _given_clustering(self) -> HybridClusteringSeparator | None:
        """The separator whose network is used; None for a new network."""
        if isinstance(self.clustering, FrozenEstimator):
            return self.clustering.estimator
        return self.clustering
