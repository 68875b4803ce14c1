"""Masks from embeddings, by a clusterer of scikit-learn that is fitted on a sample of the bins."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from sksep.utils._arrays import FloatArray, IntArray, evenly_spaced

# Bins this far below the loudest bin of a track, in dB, do not take part in clustering.
_LOUD_RANGE = 40.0
# Bins whose embeddings are kept for the sample: 20 dimensions of a million take 80 MB.
_MAX_BINS = 2**20
# Embeddings closer to each other than this count as one point.
_SAME = 1e-5

# Functions that return a score for each cluster, from the labels of the sample and the centroids.
# The score of the vocals is the highest.
VocalScores = Callable[[IntArray, FloatArray], FloatArray]


@dataclass(frozen=True)
class Clusters:
    """Clusters of one track, or of one chunk.

    Attributes
    ----------
    centroids : ndarray of shape (n_clusters, embedding_dim)
        Mean embedding of each cluster.
    sings : ndarray of bool, shape (n_clusters,)
        Whether each cluster belongs to the vocals.
    predict : callable or None
        Function that labels embeddings (n, embedding_dim). None takes the nearest centroid.
    """

    centroids: FloatArray
    sings: npt.NDArray[np.bool_]
    predict: Callable[[FloatArray], IntArray] | None = None

    def mask(self, embeddings: Tensor, soft: bool = False) -> Tensor:
        """Mask of the vocals, (...), of embeddings (..., embedding_dim).

        Soft masks are the memberships of fuzzy c-means, which are proportional to the inverse
        square of the distance to each centroid.

        References
        ----------
        J. Bezdek, "Pattern recognition with fuzzy objective function algorithms", 1981.
        """
        shape, flat = embeddings.shape[:-1], embeddings.flatten(0, -2)
        if self.predict is not None and not soft:
            # The label -1 stands for noise, which is no cluster.
            of_label = np.append(self.sings, False)
            return torch.from_numpy(of_label[self.predict(flat.numpy())]).float().reshape(shape)
        # Squared distances without the square of the embedding, which no comparison needs.
        centroids = torch.from_numpy(self.centroids).to(flat)
        squares = torch.addmm(centroids.square().sum(dim=1), flat, centroids.T, alpha=-2.0)
        sings = torch.from_numpy(self.sings)
        if not soft:
            return sings[squares.argmin(dim=1)].float().reshape(shape)
        squares += flat.square().sum(dim=1, keepdim=True)
        memberships = 1.0 / squares.clamp_min(1e-9)
        vocals = memberships[:, sings].sum(dim=1)
        return (vocals / memberships.sum(dim=1)).reshape(shape)


def fit_clusters(
    clusterer: Any, sample: FloatArray, vocal_scores: VocalScores, fallback: Clusters
) -> Clusters:
    """Cluster a sample of embeddings and find the clusters of the vocals.

    Parameters
    ----------
    clusterer : estimator
        A clusterer with `fit_predict`. Its `predict` labels further bins. If it has none, they
        belong to the nearest centroid. It is cloned.
    sample : ndarray of shape (n_samples, embedding_dim)
        Embeddings.
    vocal_scores : callable
        Function of labels and centroids that returns a score per cluster. The highest one belongs
        to the vocals. If there are more than two clusters, all positive ones do.
    fallback : Clusters
        Clusters to return if the sample has fewer points than clusters.
    """
    clusterer = clone(clusterer)
    if _count_points(sample) < n_clusters_of(clusterer):
        return fallback
    with warnings.catch_warnings():
        # Fewer distinct points than clusters make fewer clusters, which is no problem.
        warnings.simplefilter("ignore", ConvergenceWarning)
        labels = np.asarray(clusterer.fit_predict(sample))
    found = np.unique(labels[labels >= 0])
    labels = _positions(labels, found)
    if len(found) < 2:
        return fallback
    centroids = np.stack(
        [sample[labels == index].mean(axis=0, dtype=np.float64) for index in range(len(found))]
    ).astype(np.float32)
    from sklearn.cluster import KMeans, MiniBatchKMeans

    scores = vocal_scores(labels, centroids)
    sings = np.arange(len(found)) == np.argmax(scores)
    if len(found) > 2:
        sings |= scores > 0
    # K-means labels by the nearest centroid, which takes much less time without its `predict`.
    if not hasattr(clusterer, "predict") or isinstance(clusterer, (KMeans, MiniBatchKMeans)):
        return Clusters(centroids, sings)
    return Clusters(centroids, sings, lambda bins: _positions(clusterer.predict(bins), found))


def sampled_chunks(n_chunks: int, bins_per_chunk: int) -> IntArray:
    """Indices of evenly spaced chunks, as many as may be kept in memory with their embeddings."""
    return evenly_spaced(n_chunks, max(1, _MAX_BINS // bins_per_chunk))


def is_loud(features: Tensor, loudest: float | Tensor) -> Tensor:
    """Whether bins (dB) are loud enough, beside the loudest one, to take part in clustering."""
    return features > loudest - _LOUD_RANGE


def loud_bins(features: Tensor, loudest: float, max_samples: int) -> Tensor:
    """Indices of loud bins, (n_samples,), evenly spaced in the flattened features (dB).

    Parameters
    ----------
    features : Tensor of shape (...)
        Log power in dB.
    loudest : float
        Level of the loudest bin of the track in dB.
    max_samples : int
        Largest number of bins.
    """
    loud = torch.nonzero(is_loud(features, loudest).flatten()).squeeze(1)
    if len(loud) <= max_samples:
        return loud
    picks = torch.linspace(0, len(loud) - 1, max_samples, dtype=torch.float64)
    return loud[picks.round().long()]


def n_clusters_of(clusterer: Any) -> int:
    """Smallest number of points that a clusterer needs, alone or in a pipeline.

    Raises
    ------
    ValueError
        If it makes fewer than two clusters.
    """
    counts = {
        name: int(value)
        for name, value in clusterer.get_params().items()
        if name.split("__")[-1] in ("n_clusters", "n_components") and isinstance(value, Integral)
    }
    for name, count in counts.items():
        if count < 2:
            raise ValueError(
                f"clusterer has {name}={count}, but vocals and accompaniment need at least 2 "
                f"clusters; set clusterer__{name}=2."
            )
    return max([2, *counts.values()])


def _count_points(sample: FloatArray) -> int:
    """Number of distinct embeddings. In large samples, only one and many are told apart."""
    if len(sample) < 2 or np.ptp(sample, axis=0).max() < _SAME:
        return min(1, len(sample))
    if len(sample) > 1000:
        return len(sample)
    return len(np.unique((sample / _SAME).round(), axis=0))


def _positions(labels: IntArray, found: IntArray) -> IntArray:
    """Position of each label among those found in the sample; -1 for noise and other labels."""
    return np.where(np.isin(labels, found), np.searchsorted(found, labels), -1)
