"""DeepClusteringSeparator: embeddings of bins by a recurrent network, then K-means."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.utils import check_random_state
from torch import Tensor, nn

from sksep.base._batch import TrackRecord
from sksep.base._separator import training_batch
from sksep.nn.clustering import ClusteringNetwork
from sksep.nn.clustering_losses import CLUSTERING_LOSSES
from sksep.nn.front_end import FLOOR_DECIBELS, FrontEnd
from sksep.nn.mask_estimator import NormalizedNetwork, autocast, join_batches
from sksep.nn.objectives import ClusteringObjective
from sksep.nn.recurrent import CELLS, RecurrentBody
from sksep.separators._clusters import (
    Clusters,
    Namer,
    fit_clusters,
    is_loud,
    loud_bins,
    n_clusters_of,
    sampled_chunks,
)
from sksep.separators._net_separator import NetSeparator
from sksep.separators._training_parameters import document_training
from sksep.training._dataset import ExcerptDataset
from sksep.training._net import SeparationNet
from sksep.utils._arrays import FloatArray, IntArray, evenly_spaced, object_array
from sksep.utils._validation import check_choice, check_integer, check_number

_SCOPES = ("track", "chunk")
# Training chunks whose embeddings make the centroids of vocals and accompaniment.
_CENTROID_CHUNKS = 300


@document_training
class DeepClusteringSeparator(NetSeparator):
    """Separate vocals by clustering the bins of the spectrogram in a learned space.

    A recurrent network turns every time-frequency bin into a unit vector, such that bins dominated
    by the same source lie together [1]_. A clusterer of scikit-learn parts them, track by track;
    the vocals are the cluster nearest to the mean of the vocal bins in training. What it makes of a
    track without vocals is a part of the accompaniment, since it finds two clusters anyway.

    Parameters
    ----------
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
        Distance of the affinities of all pairs of bins [1]_, or the whitened k-means loss [2]_.
    weights : {"magnitude", "log_magnitude"}, default="magnitude"
        By what the bins count in the loss; None for all alike.
    clusterer : estimator, default=None
        A clusterer with `fit_predict`, and possibly `predict`. None is
        ``KMeans(n_clusters=2, n_init=1)``, whose parameters can be set as ``clusterer__n_init`` and
        so on.
    cluster_scope : {"track", "chunk"}, default="track"
        Whether the bins of a track are clustered together, or those of each chunk.
    max_samples : int, default=10000
        Loud bins that the clusterer is fitted on, at most; the others follow from it. Spectral
        clustering and others that compare all pairs want about 1000.
    soft_masks : bool, default=False
        Whether masks follow the distances to the clusters, instead of being 0 or 1 in each chunk
        (where overlapping chunks disagree, masks are in between).
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

    _module_class = NormalizedNetwork

    vocal_centroid_: FloatArray
    accompaniment_centroid_: FloatArray
    clusterer_seed_: int

    def __init__(
        self,
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
        self.embedding_dim = embedding_dim
        self.cell = cell
        self.hidden_size = hidden_size
        self.n_layers = n_layers
        self.n_convolutions = n_convolutions
        self.dropout = dropout
        self.loss = loss
        self.weights = weights
        self.clusterer = clusterer
        self.cluster_scope = cluster_scope
        self.max_samples = max_samples
        self.soft_masks = soft_masks
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

    def set_params(self, **params: Any) -> DeepClusteringSeparator:
        """Set parameters, those of the clusterer included (``clusterer__n_init=3``).

        Parameters
        ----------
        **params
            Names and values.

        Returns
        -------
        DeepClusteringSeparator
            Itself.
        """
        nested = any(name.startswith("clusterer__") for name in params)
        if nested and params.get("clusterer", self.clusterer) is None:
            params["clusterer"] = _default_clusterer()
        return super().set_params(**params)

    def embed(self, X: Any) -> npt.NDArray[np.object_]:
        """Embeddings of the bins, of which the clusters are made.

        Where chunks overlap, each has its own embedding of a bin: clusters are made of both, and
        here they are cross-faded, and brought back to unit length.

        Parameters
        ----------
        X : TrackBatch
            Output of `MelChunker`.

        Returns
        -------
        ndarray of object, shape (n_tracks,)
            Unit vectors (float32) of shape (n_total_frames, n_bands, embedding_dim).

        Notes
        -----
        An embedding takes ``4 * embedding_dim`` bytes: with the default parameters and front end,
        a minute of audio makes 77 MB. Embed one track at a time where they are long.

        Examples
        --------
        >>> from sklearn.pipeline import make_pipeline
        >>> from sksep import DeepClusteringSeparator, MaskBuilder, MelChunker
        >>> from sksep.datasets import make_songs
        >>> songs = make_songs(2, duration=2.0, random_state=0)
        >>> separator = DeepClusteringSeparator(
        ...     embedding_dim=4, hidden_size=8, n_layers=1, max_epochs=1, random_state=0
        ... )
        >>> pipeline = make_pipeline(MelChunker(), MaskBuilder(), separator)
        >>> _ = pipeline.fit(songs.mixtures, songs.vocals)
        >>> batch = MelChunker().fit_transform(songs.mixtures)
        >>> separator.embed(batch)[0].shape
        (251, 128, 4)
        """
        return object_array([self._embed(record) for record in self._check_batch(X)])

    def _embed(self, record: TrackRecord) -> FloatArray:
        chunks = self._cut(record)
        embedding_dim = len(self.vocal_centroid_)
        flat = (
            output[..., :embedding_dim].flatten(1)[None]
            for output in self._outputs(chunks, np.arange(len(chunks)))
        )
        joined = join_batches(flat, record.front_end.chunk_step, record.n_total_frames)
        embeddings = joined.unflatten(1, (record.front_end.n_bands, embedding_dim))
        return nn.functional.normalize(embeddings, dim=-1).numpy()

    def _network(self, front_end: FrontEnd) -> nn.Module:
        return ClusteringNetwork(self._body(front_end), front_end.n_bands, self._embedding_dim())

    def _body(self, front_end: FrontEnd) -> RecurrentBody:
        return recurrent_body(
            front_end.n_bands,
            hidden_size=self.hidden_size,
            n_layers=self.n_layers,
            cell=self.cell,
            dropout=self.dropout,
            n_convolutions=self.n_convolutions,
        )

    def _embedding_dim(self) -> int:
        # A single number of length one is a sign, of which there is no gradient.
        return check_integer("embedding_dim", self.embedding_dim, 2)

    def _objective(self) -> Callable[..., Tensor]:
        return clustering_objective(self.loss, self.weights)

    def _fit(self, X: Any, *args: Any, keep: bool, **kwargs: Any) -> NetSeparator:
        # What else would be noticed after the training, or in predictions.
        self._check_clustering()
        batch = training_batch(X, type(self).__name__)
        targets = [record.targets for record in batch if record.targets is not None]
        if not keep and not any(part.chunk_sings.any() for part in targets):
            raise ValueError(
                f"{type(self).__name__} cannot learn which cluster sings: the vocals of all "
                "training tracks are silent. Check the order of the recordings: "
                "fit(mixtures, vocals)."
            )
        return super()._fit(batch, *args, keep=keep, **kwargs)

    def _learned_after(
        self, net: SeparationNet, train: Sequence[TrackRecord], keep: bool = False
    ) -> dict[str, Any]:
        """The mean embeddings of the loud vocal and accompaniment bins of many chunks."""
        chunks = ExcerptDataset(train)
        picks = evenly_spaced(len(chunks), _CENTROID_CHUNKS)
        device = torch.device(net.device)
        totals = torch.zeros(2, self._embedding_dim(), dtype=torch.float64)
        counts = torch.zeros(2, 1, dtype=torch.float64)
        for part in torch.from_numpy(picks).split(self._batch_size()):
            excerpts = net.excerpts(chunks.__getitems__(part.tolist()))
            features = excerpts.features
            with torch.inference_mode(), autocast(device, net.precision):
                embeddings = net.module_(features).embeddings.cpu()
            loud = is_loud(features, features.amax(dim=(1, 2), keepdim=True)).cpu()
            vocals = excerpts.binary_mask.cpu()[loud].double()
            roles = torch.stack([vocals, 1.0 - vocals])
            totals += roles @ embeddings[loud].double()
            counts += roles.sum(dim=1, keepdim=True)
        vocal, accompaniment = (totals / counts.clamp_min(1.0)).float().numpy()
        # Where one is missing: what was learned of it before, or else what is least like the other.
        if not counts[0]:
            vocal = self.vocal_centroid_ if keep else -accompaniment
        if not counts[1]:
            accompaniment = self.accompaniment_centroid_ if keep else -vocal
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        return {
            "vocal_centroid_": vocal,
            "accompaniment_centroid_": accompaniment,
            "clusterer_seed_": int(seed),
        }

    def _estimate_mask(self, record: TrackRecord) -> FloatArray:
        by_chunk = self._check_clustering() == "chunk"
        chunks = self._cut(record)
        loudest = float(chunks.max())
        if loudest <= FLOOR_DECIBELS:  # silence holds no vocals
            return np.zeros((record.n_total_frames, record.front_end.n_bands), np.float32)
        if by_chunk:
            masks = self._masks_by_chunk(chunks)
        else:
            masks = self._masks_by_track(chunks, loudest)
        return join_batches(masks, record.front_end.chunk_step, record.n_total_frames).numpy()

    def _separates_chunks(self) -> bool:
        return False

    def _masks_by_track(self, chunks: Tensor, loudest: float) -> Iterator[Tensor]:
        """Masks of consecutive chunks, from clusters that they share."""
        picks = sampled_chunks(len(chunks), chunks[0].numel())
        kept = dict(zip(picks.tolist(), self._outputs(chunks, picks), strict=True))
        samples = loud_bins(chunks[torch.from_numpy(picks)], loudest, self._max_samples())
        of_chunk, bins = samples // chunks[0].numel(), samples % chunks[0].numel()
        clusters = self._clusters(
            torch.cat(
                [
                    kept[index].flatten(0, 1)[bins[of_chunk == position]]
                    for position, index in enumerate(picks.tolist())
                ]
            ).numpy()
        )
        # No chunk goes through the network twice.
        further = self._outputs(chunks, np.setdiff1d(np.arange(len(chunks)), picks))
        for index in range(len(chunks)):
            output = kept.pop(index) if index in kept else next(further)
            yield self._cluster_mask(clusters, output)[None]

    def _masks_by_chunk(self, chunks: Tensor) -> Iterator[Tensor]:
        """Masks of consecutive chunks, each from clusters of its own."""
        outputs = self._outputs(chunks, np.arange(len(chunks)))
        for features, output in zip(chunks, outputs, strict=True):
            loudest = float(features.max())
            if loudest <= FLOOR_DECIBELS:
                yield torch.zeros_like(features)[None]
                continue
            sample = loud_bins(features, loudest, self._max_samples())
            clusters = self._clusters(output.flatten(0, 1)[sample].numpy())
            yield self._cluster_mask(clusters, output)[None]

    def _outputs(self, chunks: Tensor, picks: IntArray) -> Iterator[Tensor]:
        """What is clustered, (n_frames, n_bands, n_features), of the picked chunks one by one."""
        # Picked batch by batch: overlapping chunks are views until then.
        batches = (chunks[part] for part in torch.from_numpy(picks).split(self._batch_size()))
        for outputs in self._in_batches(self._chunk_outputs, batches):
            yield from outputs

    def _chunk_outputs(self, module: Any, features: Tensor) -> Tensor:
        return module(features).embeddings

    def _clusters(self, sample: FloatArray) -> Clusters:
        def nearness(_: Any, centroids: FloatArray) -> FloatArray:
            to_vocals, to_accompaniment = (
                np.linalg.norm(centroids - centroid, axis=1)
                for centroid in (self.vocal_centroid_, self.accompaniment_centroid_)
            )
            return to_accompaniment - to_vocals

        return self._fit_clusters(sample, nearness)

    def _fit_clusters(self, sample: FloatArray, name: Namer) -> Clusters:
        """Clusters of a sample; of one point, the centroids of training instead."""
        centroids = np.stack([self.vocal_centroid_, self.accompaniment_centroid_])
        of_training = Clusters(centroids, np.array([True, False]))
        return fit_clusters(self._clusterer(), sample, name, fallback=of_training)

    def _cluster_mask(self, clusters: Clusters, output: Tensor) -> Tensor:
        return clusters.mask(output, bool(self.soft_masks))

    def _clusterer(self) -> Any:
        clusterer = _default_clusterer() if self.clusterer is None else clone(self.clusterer)
        unset = {
            name: self.clusterer_seed_
            for name, value in clusterer.get_params().items()
            if (name == "random_state" or name.endswith("__random_state")) and value is None
        }
        return clusterer.set_params(**unset)

    def _check_clustering(self) -> str:
        """The scope, where that and the clusterer are valid."""
        if self.clusterer is not None and not hasattr(self.clusterer, "fit_predict"):
            raise TypeError(
                "clusterer must be a clusterer of scikit-learn with fit_predict, such as KMeans; "
                f"got {self.clusterer!r}."
            )
        n_clusters = 2 if self.clusterer is None else n_clusters_of(self.clusterer)
        if n_clusters > self._max_samples():
            raise ValueError(
                f"max_samples={self.max_samples} bins cannot make {n_clusters} clusters; raise it."
            )
        return check_choice("cluster_scope", self.cluster_scope, _SCOPES)

    def _max_samples(self) -> int:
        return check_integer("max_samples", self.max_samples, 2)


def recurrent_body(
    n_bands: int,
    *,
    hidden_size: Any,
    n_layers: Any,
    cell: Any,
    dropout: Any,
    n_convolutions: Any,
) -> RecurrentBody:
    """The body of a clustering network, its parameters checked."""
    return RecurrentBody(
        n_bands,
        hidden_size=check_integer("hidden_size", hidden_size, 1),
        n_layers=check_integer("n_layers", n_layers, 1),
        cell=check_choice("cell", cell, tuple(CELLS)),
        dropout=check_number("dropout", dropout, 0.0, 1.0, include_high=False),
        n_convolutions=check_integer("n_convolutions", n_convolutions, 0),
    )


def clustering_objective(loss: str, weights: str | None, name: str = "loss") -> ClusteringObjective:
    """The loss of the embeddings, its parameters checked; `name` is that of the parameter."""
    check_choice(name, loss, tuple(CLUSTERING_LOSSES))
    check_choice("weights", weights, ("magnitude", "log_magnitude", None))
    return ClusteringObjective(loss, "uniform" if weights is None else weights)


def _default_clusterer() -> KMeans:
    return KMeans(n_clusters=2, n_init=1)
