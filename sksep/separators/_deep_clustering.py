"""DeepClusteringSeparator: embeddings of bins by a recurrent network, then K-means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from sksep.nn.clustering import ClusteringNetwork
from sksep.nn.front_end import FrontEnd
from sksep.nn.objectives import ClusteringObjective
from sksep.separators._clustering_separator import (
    ClusteringSeparator,
    clustering_objective,
    document_clustering,
)
from sksep.separators._clusters import Clusters
from sksep.separators._net_separator import document_training
from sksep.utils._arrays import FloatArray


@document_training
@document_clustering
@dataclass(kw_only=True, eq=False, repr=False)
class DeepClusteringSeparator(ClusteringSeparator):
    """Separate vocals by clustering the bins of the spectrogram in a learned space.

    A recurrent network turns every time-frequency bin into a unit vector, such that bins dominated
    by the same source lie together [1]_. A clusterer of scikit-learn groups them, track by track.
    The vocals are the cluster nearest to the mean of the vocal bins in training. In a track without
    vocals, a part of the accompaniment is taken for vocals, since there are always two clusters.

    Parameters
    ----------
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
    .. [1] J. Hershey et al., "Deep clustering: discriminative embeddings for segmentation and
       separation", ICASSP 2016.
    .. [2] Z.-Q. Wang, J. Le Roux and J. Hershey, "Alternative objective functions for deep
       clustering", ICASSP 2018.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sksep import DeepClusteringSeparator, MaskBuilder, MelChunker
    >>> from sksep.datasets import make_songs
    >>> songs = make_songs(2, duration=2.0, random_state=0)
    >>> separator = DeepClusteringSeparator(
    ...     embedding_dim=4, hidden_size=8, n_layers=1, max_epochs=1, random_state=0
    ... )
    >>> separator = separator.set_params(clusterer__n_init=3)
    >>> pipeline = make_pipeline(MelChunker(), MaskBuilder(), separator)
    >>> vocals = pipeline.fit(songs.mixtures, songs.vocals).predict(songs.mixtures)
    >>> vocals[0].shape
    (32000,)
    """

    def _network(self, front_end: FrontEnd) -> nn.Module:
        return ClusteringNetwork(self._body(front_end), front_end.n_bands, self.embedding_dim)

    def _objective(self) -> ClusteringObjective:
        return clustering_objective(self.loss, self.weights)

    def _chunk_outputs(self, module: Any, features: Tensor) -> Tensor:
        return module(features).embeddings

    def _clusters(self, sample: FloatArray) -> Clusters:
        return self._clusters_by_centroids(sample)
