"""ClusteringSeparator: the base of the separators that cluster embeddings of bins."""

from __future__ import annotations

import inspect
from abc import abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import clone
from sklearn.utils import check_random_state
from torch import Tensor, nn

from sksep.base._batch import TrackRecord
from sksep.nn.chunks import chunk
from sksep.nn.clustering_losses import CLUSTERING_LOSSES
from sksep.nn.front_end import FLOOR_DECIBELS, FrontEnd
from sksep.nn.levels import chunk_levels
from sksep.nn.mask_estimator import NormalizedNetwork, autocast, join_batches
from sksep.nn.objectives import ClusteringObjective
from sksep.nn.recurrent import CELLS, RecurrentBody
from sksep.separators._clusters import (
    Clusters,
    VocalScores,
    fit_clusters,
    is_loud,
    loud_bins,
    n_clusters_of,
    sampled_chunks,
)
from sksep.separators._net_separator import NetSeparator
from sksep.training._dataset import ExcerptDataset
from sksep.training._tracks import TrainingTracks
from sksep.utils._arrays import FloatArray, IntArray, as_tensor, evenly_spaced, object_array
from sksep.utils._parameters import document_shared, parameter
from sksep.utils._validation import (
    check_boolean,
    check_choice,
    check_integer,
    choice,
    integer,
    number,
    optional,
)

if TYPE_CHECKING:
    from sksep.training._net import SeparationNet

CLUSTERING_WEIGHTS = ("magnitude", "log_magnitude", None)
_SCOPES = ("track", "chunk")
# Number of training chunks whose embeddings make the centroids of vocals and accompaniment.
_CENTROID_CHUNKS = 300


def embedding_length(name: str, value: Any) -> None:
    """Constraint: an integer of at least 2, since a unit vector of one number has no gradient."""
    check_integer(name, value, 2, 256)


def _check_clusterer(name: str, value: Any) -> None:
    if inspect.isclass(value) or not hasattr(value, "fit_predict"):
        raise TypeError(
            f"{name} must be a clusterer of scikit-learn with fit_predict, such as KMeans(2); "
            f"got {value!r:.200}."
        )
    n_clusters_of(value)


@dataclass(kw_only=True, eq=False, repr=False)
class ClusteringSeparator(NetSeparator):
    """Base of separators that cluster embeddings: training, clusters and masks."""

    embedding_dim: int = parameter(20, embedding_length, "int", "Length of an embedding.")
    cell: str = parameter("gru", choice(*CELLS), '{"gru", "lstm"}', "Kind of the recurrent layers.")
    hidden_size: int = parameter(
        300, integer(1, 2**16), "int", "Number of units of a recurrent layer, per direction."
    )
    n_layers: int = parameter(
        4, integer(1, 100), "int", "Number of bidirectional recurrent layers."
    )
    n_convolutions: int = parameter(
        0, integer(0, 100), "int", "Number of convolutions of 3 x 3 before the recurrent layers."
    )
    dropout: float = parameter(
        0.3,
        number(0.0, 1.0, include_high=False),
        "float",
        "Dropout probability behind each recurrent layer, in [0, 1).",
    )
    loss: str = parameter(
        "classic",
        choice(*CLUSTERING_LOSSES),
        '{"classic", "whitened"}',
        "Loss of the embeddings: the distance of the affinities of all pairs of bins (Hershey et\n"
        "al. 2016), or the whitened k-means loss (Wang et al. 2018).",
    )
    weights: str | None = parameter(
        "magnitude",
        choice(*CLUSTERING_WEIGHTS),
        '{"magnitude", "log_magnitude"}',
        "Weights of the bins in the clustering loss. None weights all alike.",
    )
    clusterer: Any = parameter(
        None,
        optional(_check_clusterer),
        "estimator",
        "A clusterer with `fit_predict`, and possibly `predict`. None is\n"
        "``KMeans(n_clusters=2, n_init=1)``, whose parameters can be set as\n"
        "``clusterer__n_init`` and so on.",
        alters_training=False,
    )
    cluster_scope: str = parameter(
        "track",
        choice(*_SCOPES),
        '{"track", "chunk"}',
        "Whether the bins of a track are clustered together, or those of each chunk.",
    )
    max_samples: int = parameter(
        10000,
        integer(2, 10**6),
        "int",
        "Largest number of loud bins that the clusterer is fitted on. It then labels the others.\n"
        "Clusterers that compare all pairs, such as spectral clustering, need about 1000.",
    )
    soft_masks: bool = parameter(
        False,
        check_boolean,
        "bool",
        "Whether masks depend smoothly on the distances to the clusters. If not, they are 0 or 1\n"
        "in each chunk, and in between only if overlapping chunks disagree.",
    )

    _module_class: ClassVar[type[NormalizedNetwork]] = NormalizedNetwork

    @abstractmethod
    def _chunk_outputs(self, module: Any, features: Tensor) -> Tensor:
        """Features to cluster, (batch, n_frames, n_bands, n_features). Embeddings come first."""

    @abstractmethod
    def _clusters(self, sample: FloatArray) -> Clusters:
        """Clusters of a sample of outputs (n_samples, n_features), and which of them sing."""

    def set_params(self, **params: Any) -> ClusteringSeparator:
        """Set parameters, also those of the clusterer (``clusterer__n_init=3``).

        Parameters
        ----------
        **params
            Names and values.

        Returns
        -------
        ClusteringSeparator
            The separator itself.
        """
        nested = any(name.startswith("clusterer__") for name in params)
        if nested and params.get("clusterer", self.clusterer) is None:
            params["clusterer"] = default_clusterer()
        return super().set_params(**params)

    def embed(self, X: Any) -> npt.NDArray[np.object_]:
        """Compute the embeddings of the bins, which are clustered when predicting.

        If chunks overlap, each has its own embedding of a bin, and both are clustered. Here they
        are cross-faded, and the results are scaled to unit length.

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
        a minute of audio makes 77 MB. If tracks are long, embed one at a time.

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

    def _gains(self, levels: Tensor, level: float | None) -> Tensor:
        gains = super()._gains(levels, level)
        # Bins that are clustered together get one gain, as no stream has to agree.
        return gains if self._separates_chunks() else gains[-1].expand(len(gains))

    def _cut_at_level(self, record: TrackRecord) -> Tensor:
        """Chunks (n_chunks, n_frames, n_bands) of a track in dB, with one gain for all."""
        front_end = record.front_end
        gain = super()._gains(chunk_levels(self._cut(record)), self.level_)[-1]
        levels = (as_tensor(record.sound_levels) + gain).clamp_min(FLOOR_DECIBELS)
        return chunk(levels, front_end.n_frames, front_end.chunk_step, FLOOR_DECIBELS)

    def _embed(self, record: TrackRecord) -> FloatArray:
        chunks = self._cut_at_level(record)
        embedding_dim = len(self.vocal_centroid_)
        flat = (
            output[..., :embedding_dim].flatten(1)[None]
            for output in self._outputs(chunks, np.arange(len(chunks)))
        )
        joined = join_batches(flat, record.front_end.chunk_step, record.n_total_frames)
        embeddings = joined.unflatten(1, (record.front_end.n_bands, embedding_dim))
        return nn.functional.normalize(embeddings, dim=-1).numpy()

    def _fit(self, given: TrainingTracks, *, keep: bool, is_partial: bool = False) -> NetSeparator:
        targets = [record.targets for record in given.batch if record.targets is not None]
        if not keep and not any(part.chunk_sings.any() for part in targets):
            raise ValueError(
                f"{type(self).__name__} cannot learn which cluster to extract: the "
                f"{targets[0].stem} of all training tracks are silent. Check the order of the "
                f"recordings: fit(mixtures, {targets[0].stem})."
            )
        return super()._fit(given, keep=keep, is_partial=is_partial)

    def _learned_after(
        self, net: SeparationNet, tracks: Sequence[TrackRecord], keep: bool = False
    ) -> dict[str, Any]:
        """The mean embeddings of the loud vocal and accompaniment bins of many chunks."""
        chunks = ExcerptDataset(tracks)
        picks = evenly_spaced(len(chunks), _CENTROID_CHUNKS)
        device = torch.device(net.device)
        totals = torch.zeros(2, self.embedding_dim, dtype=torch.float64)
        counts = torch.zeros(2, 1, dtype=torch.float64)
        for part in torch.from_numpy(picks).split(int(self.batch_size)):
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
        # A missing centroid is that of an earlier fit, or else the opposite of the other one.
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
        self._check_parameters_of_clusters()
        chunks = self._cut_at_level(record)
        loudest = float(chunks.max())
        if loudest <= FLOOR_DECIBELS:  # silence holds no vocals
            return np.zeros((record.n_total_frames, record.front_end.n_bands), np.float32)
        if self.cluster_scope == "chunk":
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
        samples = loud_bins(chunks[torch.from_numpy(picks)], loudest, self.max_samples)
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
            sample = loud_bins(features, loudest, self.max_samples)
            clusters = self._clusters(output.flatten(0, 1)[sample].numpy())
            yield self._cluster_mask(clusters, output)[None]

    def _outputs(self, chunks: Tensor, picks: IntArray) -> Iterator[Tensor]:
        """Features to cluster, (n_frames, n_bands, n_features), of the picked chunks one by one."""
        # Chunks are picked batch by batch, since overlapping ones are views until they are picked.
        batches = (chunks[part] for part in torch.from_numpy(picks).split(int(self.batch_size)))
        for outputs in self._in_batches(self._chunk_outputs, batches):
            yield from outputs

    def _fit_clusters(self, sample: FloatArray, vocal_scores: VocalScores) -> Clusters:
        """Clusters of a sample, or the centroids of training if it has too few points."""
        centroids = np.stack([self.vocal_centroid_, self.accompaniment_centroid_])
        of_training = Clusters(centroids, np.array([True, False]))
        return fit_clusters(self._clusterer(), sample, vocal_scores, fallback=of_training)

    def _cluster_mask(self, clusters: Clusters, output: Tensor) -> Tensor:
        return clusters.mask(output, bool(self.soft_masks))

    def _clusterer(self) -> Any:
        clusterer = default_clusterer() if self.clusterer is None else clone(self.clusterer)
        unset = {
            name: self.clusterer_seed_
            for name, value in clusterer.get_params().items()
            if (name == "random_state" or name.endswith("__random_state")) and value is None
        }
        return clusterer.set_params(**unset)

    def _clusters_by_centroids(self, embeddings: FloatArray) -> Clusters:
        """Clusters of embeddings. The vocals are nearest to the vocal centroid of training."""

        def nearness(_: Any, centroids: FloatArray) -> FloatArray:
            to_vocals, to_accompaniment = (
                np.linalg.norm(centroids - centroid, axis=1)
                for centroid in (self.vocal_centroid_, self.accompaniment_centroid_)
            )
            return to_accompaniment - to_vocals

        return self._fit_clusters(embeddings, nearness)

    def _body(self, front_end: FrontEnd) -> RecurrentBody:
        return RecurrentBody(
            front_end.n_bands,
            hidden_size=self.hidden_size,
            n_layers=self.n_layers,
            cell=self.cell,
            dropout=self.dropout,
            n_convolutions=self.n_convolutions,
        )

    def _check_parameters(self) -> None:
        super()._check_parameters()
        self._check_parameters_of_clusters()

    def _check_parameters_of_clusters(self) -> None:
        """Check the parameters that may be set after fit and are used when predicting."""
        check_choice("cluster_scope", self.cluster_scope, _SCOPES)
        check_integer("max_samples", self.max_samples, 2, 10**6)
        if self.clusterer is not None:
            _check_clusterer("clusterer", self.clusterer)
        n_clusters = 2 if self.clusterer is None else n_clusters_of(self.clusterer)
        if n_clusters > self.max_samples:
            raise ValueError(
                f"max_samples={self.max_samples} bins cannot make {n_clusters} clusters. Raise it."
            )


document_clustering = document_shared(ClusteringSeparator, "CLUSTERING_PARAMETERS")


def clustering_objective(loss: str, weights: str | None) -> ClusteringObjective:
    """The loss of the embeddings."""
    return ClusteringObjective(loss, "uniform" if weights is None else weights)


def default_clusterer() -> Any:
    """The clusterer that None stands for."""
    from sklearn.cluster import KMeans

    return KMeans(n_clusters=2, n_init=1)
