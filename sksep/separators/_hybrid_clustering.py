"""HybridClusteringSeparator: a clustering network with a second head, for masks."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sksep.base._batch import TrackRecord
from sksep.nn.clustering import HybridNetwork
from sksep.nn.front_end import FrontEnd
from sksep.nn.objectives import HybridObjective
from sksep.separators._clusters import Clusters
from sksep.separators._deep_clustering import DeepClusteringSeparator, clustering_objective
from sksep.separators._net_separator import NetSeparator
from sksep.separators._training_parameters import document_training
from sksep.utils._arrays import FloatArray
from sksep.utils._validation import check_choice, check_number


@document_training
class HybridClusteringSeparator(DeepClusteringSeparator):
    """Separate vocals with a network that learns embeddings and masks at once.

    To the network of `DeepClusteringSeparator` comes a second head, whose softmax over vocals and
    accompaniment learns their proportion masks [1]_. Either head gives masks.

    Parameters
    ----------
    alpha : float, default=0.5
        Share of the clustering loss in the loss, in [0, 1); the rest is the cross-entropy of the
        proportion masks. 0 leaves the embeddings untrained: then ``output="mask"`` is of use.
    output : {"clusters", "mask"}, default="clusters"
        "clusters" parts the bins by their embeddings, and the mask head tells which cluster sings;
        "mask" is the mask head alone.
    permutation_invariant : bool, default=False
        For two voices of one kind, neither of which is the accompaniment: the mask head may name
        them in any order, which may change from chunk to chunk [2]_. Needs ``output="clusters"``;
        `predict` then returns one of the voices, and the mixture less that is the other.
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
    dropout : float, default=0.3
        Dropout probability behind each recurrent layer, in [0, 1).
    loss : {"classic", "whitened"}, default="classic"
        Of the embeddings, see `DeepClusteringSeparator`.
    weights : {"magnitude", "log_magnitude"}, default="magnitude"
        By what the bins count in the clustering loss; None for all alike.
    clusterer : estimator, default=None
        See `DeepClusteringSeparator`.
    cluster_scope : {"track", "chunk"}, default="track"
        Whether the bins of a track are clustered together, or those of each chunk.
    max_samples : int, default=10000
        Loud bins that the clusterer is fitted on, at most.
    soft_masks : bool, default=False
        Whether masks of clusters follow the distances to them, instead of being 0 or 1 in each
        chunk (where overlapping chunks disagree, masks are in between).
    TRAINING_PARAMETERS

    Attributes
    ----------
    vocal_centroid_, accompaniment_centroid_ : ndarray of shape (embedding_dim,)
        Mean embedding of the bins dominated by either, in training.
    clusterer_seed_ : int
        Random state of clusterers that have none of their own.
    TRAINING_ATTRIBUTES

    References
    ----------
    .. [1] Y. Luo et al., "Deep clustering and conventional networks for music separation: stronger
       together", ICASSP 2017.
    .. [2] D. Yu et al., "Permutation invariant training of deep models for speaker-independent
       multi-talker speech separation", ICASSP 2017.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sksep import HybridClusteringSeparator, MaskBuilder, MelChunker
    >>> from sksep.datasets import make_songs
    >>> songs = make_songs(2, duration=2.0, random_state=0)
    >>> separator = HybridClusteringSeparator(
    ...     output="mask", hidden_size=8, n_layers=1, max_epochs=1, random_state=0
    ... )
    >>> pipeline = make_pipeline(MelChunker(), MaskBuilder(), separator)
    >>> vocals = pipeline.fit(songs.mixtures, songs.vocals).predict(songs.mixtures)
    >>> vocals[0].shape
    (32000,)
    """

    def __init__(
        self,
        alpha: float = 0.5,
        output: str = "clusters",
        permutation_invariant: bool = False,
        embedding_dim: int = 20,
        cell: str = "gru",
        hidden_size: int = 300,
        n_layers: int = 4,
        n_convolutions: int = 0,
        dropout: float = 0.3,
        loss: str = "classic",
        weights: str | None = "magnitude",
        clusterer: Any = None,
        cluster_scope: str = "track",
        max_samples: int = 10000,
        soft_masks: bool = False,
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
        self.alpha = alpha
        self.output = output
        self.permutation_invariant = permutation_invariant
        super().__init__(
            embedding_dim=embedding_dim,
            cell=cell,
            hidden_size=hidden_size,
            n_layers=n_layers,
            n_convolutions=n_convolutions,
            dropout=dropout,
            loss=loss,
            weights=weights,
            clusterer=clusterer,
            cluster_scope=cluster_scope,
            max_samples=max_samples,
            soft_masks=soft_masks,
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
        return HybridNetwork(self._body(front_end), front_end.n_bands, self._embedding_dim())

    def _objective(self) -> HybridObjective:
        return HybridObjective(
            clustering_objective(self.loss, self.weights),
            # Without the cross-entropy the mask head, which names the clusters, learns nothing.
            check_number("alpha", self.alpha, 0.0, 1.0, include_high=False),
            bool(self.permutation_invariant),
        )

    def _estimate_mask(self, record: TrackRecord) -> FloatArray:
        self._check_clustering()
        if self.output == "mask":
            return NetSeparator._estimate_mask(self, record)
        return super()._estimate_mask(record)

    def _separates_chunks(self) -> bool:
        return bool(self.output == "mask")

    def _chunk_masks(self, module: Any, features: Tensor) -> Tensor:
        network = module.network
        hidden = network.body(module.normalize(features))
        return torch.softmax(network.mask_logits(hidden).float(), dim=1)[:, 0]

    def _chunk_outputs(self, module: Any, features: Tensor) -> Tensor:
        """Embeddings, and behind them the vocal mask of the second head."""
        embeddings, logits = module(features)
        vocals = torch.softmax(logits.float(), dim=1)[:, 0]
        return torch.cat([embeddings.float(), vocals.unsqueeze(-1)], dim=-1)

    def _clusters(self, sample: FloatArray) -> Clusters:
        embeddings, vocals = sample[:, :-1], sample[:, -1]
        if self.permutation_invariant:
            return super()._clusters(embeddings)

        def vocal_share(labels: Any, centroids: FloatArray) -> FloatArray:
            members = labels == np.arange(len(centroids))[:, None]
            return (members @ vocals) / members.sum(axis=1) - 0.5

        return self._fit_clusters(embeddings, vocal_share)

    def _cluster_mask(self, clusters: Clusters, output: Tensor) -> Tensor:
        return super()._cluster_mask(clusters, output[..., :-1])

    def _check_clustering(self) -> str:
        check_choice("output", self.output, ("clusters", "mask"))
        if self.permutation_invariant and self.output == "mask":
            raise ValueError(
                "With permutation_invariant=True the mask head names the voices in another order "
                'in each chunk; set output="clusters".'
            )
        return super()._check_clustering()
