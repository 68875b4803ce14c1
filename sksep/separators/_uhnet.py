"""UHNetSeparator: a U-Net that also sees the masks of a clustering network."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from sksep.base._batch import TrackRecord
from sksep.nn.clustering import HybridNetwork
from sksep.nn.front_end import FrontEnd
from sksep.nn.mask_estimator import NormalizedNetwork
from sksep.nn.objectives import UHNetObjective
from sksep.nn.pyramid_unet import PyramidUNet
from sksep.nn.uhnet import UHNet
from sksep.separators._deep_clustering import clustering_objective, recurrent_body
from sksep.separators._hybrid_clustering import HybridClusteringSeparator
from sksep.separators._net_separator import NetSeparator, mask_loss
from sksep.separators._training_parameters import document_training
from sksep.utils._validation import check_choice, check_integer, check_number


@document_training
class UHNetSeparator(NetSeparator):
    """Separate vocals with a U-Net that also sees the masks of a clustering network.

    A recurrent network with the two heads of `HybridClusteringSeparator` gives a mask of the vocals
    and one of the accompaniment; they and the log-mel spectrogram are the three channels that a
    U-Net makes the final mask from. Both are trained together, on the sum of their losses, or
    the U-Net alone on the masks of a separator that is given.

    Parameters
    ----------
    n_levels : int, default=1
        Levels of a pyramid of U-Nets (the halvings within each are `depth` here). 1 is a single
        U-Net; with more, each level works at half the resolution of the next, finer one, hands its
        features on to that, and has a loss of its own.
    clustering : HybridClusteringSeparator, default=None
        A fitted separator whose network is used, in which case the parameters of the clustering
        network and its loss are those of this separator. Wrap it as
        ``sklearn.frozen.FrozenEstimator(separator)`` for grid searches and cross-validation, which
        would otherwise make an unfitted copy of it. None for a new network, trained jointly.
    freeze_clustering : bool, default=True
        Whether a given network stays as it is, or is trained further on the sum of the losses.
    n_filters : int, default=16
        Filters of the first level of a U-Net; each level below has twice as many.
    depth : int, default=4
        Number of times that a U-Net halves the resolution.
    skip : {"concatenate", "add"}, default="concatenate"
        How the encoder's features join those of the decoder.
    dropout : float, default=0.5
        Dropout probability of the channels at the bottom of a U-Net, in [0, 1).
    embedding_dim : int, default=20
        Length of an embedding.
    cell : {"gru", "lstm"}, default="gru"
        Kind of the recurrent layers.
    hidden_size : int, default=300
        Units of a recurrent layer, per direction.
    n_layers : int, default=4
        Bidirectional recurrent layers.
    n_convolutions : int, default=0
        Convolutions of 3 x 3 before the recurrent layers.
    recurrent_dropout : float, default=0.3
        Dropout probability behind each recurrent layer, in [0, 1).
    alpha : float, default=0.5
        Share of the embeddings in the loss of the clustering network, in [0, 1]; the rest is `loss`
        of its own mask.
    clustering_loss : {"classic", "whitened"}, default="classic"
        Loss of the embeddings, see `DeepClusteringSeparator`.
    weights : {"magnitude", "log_magnitude"}, default="magnitude"
        By what the bins count in the clustering loss; None for all alike.
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

    _module_class = NormalizedNetwork

    def __init__(
        self,
        n_levels: int = 1,
        clustering: Any = None,
        freeze_clustering: bool = True,
        n_filters: int = 16,
        depth: int = 4,
        skip: str = "concatenate",
        dropout: float = 0.5,
        embedding_dim: int = 20,
        cell: str = "gru",
        hidden_size: int = 300,
        n_layers: int = 4,
        n_convolutions: int = 0,
        recurrent_dropout: float = 0.3,
        alpha: float = 0.5,
        clustering_loss: str = "classic",
        weights: str | None = "magnitude",
        loss: str | Callable[..., Any] = "bce",
        optimizer: str | type = "rmsprop",
        lr: float = 1e-3,
        schedule: str | None = None,
        weight_decay: float = 0.0,
        gradient_clipping: float | None = None,
        batch_size: int = 32,
        max_epochs: int = 30,
        excerpts_per_epoch: int | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        augmentation: Any = True,
        callbacks: list[Any] | None = None,
        warm_start: bool = False,
        checkpoint: str | os.PathLike[str] | None = None,
        accelerate: bool = False,
        device: str = "auto",
        precision: str = "auto",
        net_params: dict[str, Any] | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.n_levels = n_levels
        self.clustering = clustering
        self.freeze_clustering = freeze_clustering
        self.n_filters = n_filters
        self.depth = depth
        self.skip = skip
        self.dropout = dropout
        self.embedding_dim = embedding_dim
        self.cell = cell
        self.hidden_size = hidden_size
        self.n_layers = n_layers
        self.n_convolutions = n_convolutions
        self.recurrent_dropout = recurrent_dropout
        self.alpha = alpha
        self.clustering_loss = clustering_loss
        self.weights = weights
        self.loss = loss
        super().__init__(
            optimizer=optimizer,
            lr=lr,
            schedule=schedule,
            weight_decay=weight_decay,
            gradient_clipping=gradient_clipping,
            batch_size=batch_size,
            max_epochs=max_epochs,
            excerpts_per_epoch=excerpts_per_epoch,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            augmentation=augmentation,
            callbacks=callbacks,
            warm_start=warm_start,
            checkpoint=checkpoint,
            accelerate=accelerate,
            device=device,
            precision=precision,
            net_params=net_params,
            random_state=random_state,
            verbose=verbose,
        )

    def _network(self, front_end: FrontEnd) -> nn.Module:
        given = self._given_clustering()
        if given is None:
            body = recurrent_body(
                front_end.n_bands,
                hidden_size=self.hidden_size,
                n_layers=self.n_layers,
                cell=self.cell,
                dropout=self.recurrent_dropout,
                n_convolutions=self.n_convolutions,
            )
            embedding_dim = check_integer("embedding_dim", self.embedding_dim, 2)
            clustering = HybridNetwork(body, front_end.n_bands, embedding_dim)
        else:
            if not front_end.same_spectra(given.front_end_):
                raise ValueError(
                    "clustering was trained with other MelChunker settings than those of the "
                    f"tracks: {given.front_end_} instead of {front_end}."
                )
            clustering = copy.deepcopy(given.net_.module_.network)
        unet = PyramidUNet(
            in_channels=3,
            n_filters=check_integer("n_filters", self.n_filters, 1),
            n_levels=check_integer("n_levels", self.n_levels, 1, 6),
            depth=check_integer("depth", self.depth, 1, 10),
            dropout=check_number("dropout", self.dropout, 0.0, 1.0, include_high=False),
            skip=check_choice("skip", self.skip, ("concatenate", "add")),
        )
        frozen = given is not None and bool(self.freeze_clustering)
        return UHNet(clustering, unet, frozen=frozen)

    def _statistics(self, train: Sequence[TrackRecord]) -> tuple[Tensor, Tensor]:
        given = self._given_clustering()
        if given is None:
            return super()._statistics(train)
        # A trained network wants the normalisation that it was trained with.
        module = given.net_.module_
        return module.mean.detach().cpu().clone(), module.scale.detach().cpu().clone()

    def _objective(self) -> Callable[..., Tensor]:
        given = self._given_clustering()
        if given is None:
            clustering = clustering_objective(
                self.clustering_loss, self.weights, name="clustering_loss"
            )
            alpha = check_number("alpha", self.alpha, 0.0, 1.0)
        else:
            clustering, alpha = given._objective().clustering, given.alpha
        return UHNetObjective(mask_loss(self.loss), clustering, alpha)

    def _chunk_masks(self, module: Any, features: Tensor) -> Tensor:
        return torch.sigmoid(module.network.mask_logits(module.normalize(features)).float())

    def _given_clustering(self) -> HybridClusteringSeparator | None:
        """The separator whose network is used, checked; None for a new network."""
        if self.clustering is None:
            return None
        given = self.clustering
        if isinstance(given, FrozenEstimator):
            given = given.estimator
        if not isinstance(given, HybridClusteringSeparator):
            raise TypeError(
                "clustering must be a fitted HybridClusteringSeparator, the step of a pipeline and "
                f"not the pipeline; got {given!r}."
            )
        check_is_fitted(
            given,
            msg="clustering is a %(name)s that is not fitted. Fit it first; grid searches and "
            "cross-validation take an unfitted copy unless it is wrapped: "
            "clustering=sklearn.frozen.FrozenEstimator(separator).",
        )
        if given.permutation_invariant:
            raise ValueError(
                "clustering was trained with permutation_invariant=True: its masks change places "
                "from chunk to chunk. Train it without."
            )
        return given
