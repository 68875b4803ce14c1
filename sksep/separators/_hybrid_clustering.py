"""HybridClusteringSeparator: a clustering network with a second head, for masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from sksep.base._batch import TrackRecord
from sksep.nn.clustering import HybridNetwork
from sksep.nn.front_end import FrontEnd
from sksep.nn.objectives import HybridObjective
from sksep.separators._clustering_separator import (
    ClusteringSeparator,
    clustering_objective,
    document_clustering,
)
from sksep.separators._clusters import Clusters
from sksep.separators._net_separator import NetSeparator, document_training
from sksep.utils._arrays import FloatArray
from sksep.utils._parameters import parameter
from sksep.utils._validation import check_boolean, check_choice, choice, number

_OUTPUTS = ("clusters", "mask")


@document_training
@document_clustering
@dataclass(kw_only=True, eq=False, repr=False)
class HybridClusteringSeparator(ClusteringSeparator):
    """Separate vocals with a network that learns embeddings and masks at once.

    The network of `DeepClusteringSeparator` gets a second head, whose softmax over vocals and
    accompaniment learns their proportion masks [1]_. Masks can be made from either head.

    Parameters
    ----------
    alpha : float, default=0.5
        Share of the clustering loss in the loss, in [0, 1); the rest is the cross-entropy of the
        proportion masks. 0 does not train the embeddings, so that only ``output="mask"`` is useful.
    output : {"clusters", "mask"}, default="clusters"
        Source of the masks. "clusters" groups the bins by their embeddings, and the mask head
        tells which cluster sings. "mask" is the mask head alone.
    permutation_invariant : bool, default=False
        Whether the mask head may return its two masks in any order, also changing from chunk to
        chunk [2]_. Use it to separate two voices of one kind, with ``output="clusters"``. `predict`
        returns one of them, and the mixture minus this one is the other.
    CLUSTERING_PARAMETERS
    TRAINING_PARAMETERS

    Attributes
    ----------
    vocal_centroid_, accompaniment_centroid_ : ndarray of shape (embedding_dim,)
        Mean embedding of the training bins dominated by either source.
    clusterer_seed_ : int
        Random state for clusterers that have none of their own.
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

    alpha: float = parameter(0.5, number(0.0, 1.0, include_high=False))
    output: str = parameter("clusters", choice(*_OUTPUTS))
    permutation_invariant: bool = parameter(False, check_boolean)

    def _network(self, front_end: FrontEnd) -> nn.Module:
        return HybridNetwork(self._body(front_end), front_end.n_bands, self.embedding_dim)

    def _objective(self) -> HybridObjective:
        clustering = clustering_objective(self.loss, self.weights)
        return HybridObjective(clustering, self.alpha, bool(self.permutation_invariant))

    def _estimate_mask(self, record: TrackRecord) -> FloatArray:
        self._check_parameters_of_clusters()
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
            return self._clusters_by_centroids(embeddings)

        def vocal_share(labels: Any, centroids: FloatArray) -> FloatArray:
            members = labels == np.arange(len(centroids))[:, None]
            return (members @ vocals) / members.sum(axis=1) - 0.5

        return self._fit_clusters(embeddings, vocal_share)

    def _cluster_mask(self, clusters: Clusters, output: Tensor) -> Tensor:
        return super()._cluster_mask(clusters, output[..., :-1])

    def _check_parameters_of_clusters(self) -> None:
        super()._check_parameters_of_clusters()
        check_choice("output", self.output, _OUTPUTS)
        if self.permutation_invariant and self.output == "mask":
            raise ValueError(
                "With permutation_invariant=True, the order of the voices in the mask head may "
                'change from chunk to chunk. Set output="clusters".'
            )
