"""EmbeddingDisplay: the space in which deep clustering separates bins, in two dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.decomposition import PCA
from sklearn.utils import check_random_state

from sksep.plotting._axes import make_panels
from sksep.plotting._models import (
    mask_steps,
    named_estimators,
    pick_track,
    separator_of,
    true_masks,
)
from sksep.separators._clustering_separator import ClusteringSeparator
from sksep.separators._clusters import is_loud
from sksep.utils._arrays import DoubleArray, as_tensor
from sksep.utils._validation import check_integer

# Share of the vocals above which they are the louder part of a bin.
_HALF = 0.5
_ROLES = np.array(["accompaniment", "vocals"])


class EmbeddingDisplay:
    """Embeddings of time-frequency bins by their first two principal components.

    Each point is a bin. One panel colors the bins by cluster. If the truth is known, the other one
    colors them by the louder source. Equal colors mean correct bins. If sources lie apart in the
    truth, but not in the clusters, the clusterer is wrong; if they are mixed in the truth, the
    network is wrong. Two components of many hide some of the distances; the axes say how much of
    the variance they show.

    Make one with `from_estimator` or `from_predictions`.

    Parameters
    ----------
    points : ndarray of shape (n_samples, 2)
        Principal components.
    clusters : ndarray of shape (n_samples,)
        Cluster of each point.
    truth : ndarray of shape (n_samples,), default=None
        True source of each point.
    explained_variance_ratio : pair of float, default=None
        Share of the variance along either axis, in [0, 1].

    Attributes
    ----------
    points_ : ndarray of shape (n_samples, 2)
        Principal components.
    clusters_, truth_ : ndarray of shape (n_samples,)
        Labels that color the points; `truth_` may be None.
    explained_variance_ratio_ : tuple of float or None
        Share of the variance along either axis, in [0, 1].
    ax_ : ndarray of Axes, shape (n_panels,)
        Panels of the clusters and, beside it, of the truth.
    figure_ : Figure
        The figure of the panels.

    Examples
    --------
    >>> import numpy as np
    >>> from sksep.plotting import EmbeddingDisplay
    >>> embeddings = np.random.default_rng(0).normal(size=(100, 128, 4))
    >>> vocals = embeddings[..., 0] > 0
    >>> display = EmbeddingDisplay.from_predictions(embeddings, vocals, max_samples=500)
    >>> display.points_.shape
    (500, 2)
    """

    def __init__(
        self,
        points: npt.ArrayLike,
        clusters: npt.ArrayLike,
        truth: npt.ArrayLike | None = None,
        *,
        explained_variance_ratio: tuple[float, float] | None = None,
    ) -> None:
        self.points_ = np.asarray(points)
        if self.points_.ndim != 2 or self.points_.shape[1] != 2:
            raise ValueError(f"points has shape {self.points_.shape}; (n_samples, 2) is needed.")
        shape = self.points_.shape[:1]
        self.clusters_ = _labels(clusters, shape, "clusters")
        self.truth_ = None if truth is None else _labels(truth, shape, "truth")
        self.explained_variance_ratio_ = explained_variance_ratio

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any = None,
        *,
        track: int = 0,
        max_samples: int = 2000,
        random_state: Any = None,
        ax: Any = None,
    ) -> EmbeddingDisplay:
        """Embed the bins of a track and draw those that are loud enough to be clustered.

        Parameters
        ----------
        estimator : Pipeline
            Fitted pipeline with a `DeepClusteringSeparator` or `HybridClusteringSeparator`.
        X : sequence of tracks
            Mixtures, as arrays or paths.
        y : sequence of tracks, default=None
            True vocals.
        track : int, default=0
            Index of the track that is drawn; the others are not read.
        max_samples : int, default=2000
            Largest number of bins to draw. They are picked at random.
        random_state : int, RandomState instance or None, default=None
            Seed of the random pick.
        ax : Axes or array of Axes, default=None
            Axes to empty and draw on; None makes a figure, a single Axes is divided.

        Returns
        -------
        EmbeddingDisplay

        Raises
        ------
        TypeError, ValueError, NotFittedError
            If the model or the track does not fit. The message names it, and the remedy.
        """
        models = named_estimators(estimator)
        model = next(iter(models.values()))
        separator = separator_of(model)
        if len(models) > 1 or not isinstance(separator, ClusteringSeparator):
            raise TypeError(
                "estimator must be one pipeline with a DeepClusteringSeparator or a "
                f"HybridClusteringSeparator, which have embeddings; got {', '.join(models)}."
            )
        picked = pick_track(models, X, y, track)
        batch = mask_steps(model)[:-1].transform(picked.X)
        record = batch[0]
        if not record.waveform.any():
            raise ValueError(f"{picked.mixture.name} is silent; it has no bins to draw.")
        spectrogram = as_tensor(record.spectrogram)
        loud = is_loud(spectrogram, spectrogram.max()).numpy()
        mask = separator.predict_mask(batch)[0]
        truth = None
        if picked.y is not None:
            binary, _ = true_masks(model, batch, picked.y)
            truth = _ROLES[(binary > _HALF).astype(int)][loud]
        return cls.from_predictions(
            separator.embed(batch)[0][loud],
            _ROLES[(mask > _HALF).astype(int)][loud],
            truth,
            max_samples=max_samples,
            random_state=random_state,
            ax=ax,
        )

    @classmethod
    def from_predictions(
        cls,
        embeddings: npt.ArrayLike,
        clusters: npt.ArrayLike,
        truth: npt.ArrayLike | None = None,
        *,
        max_samples: int = 2000,
        random_state: Any = None,
        ax: Any = None,
    ) -> EmbeddingDisplay:
        """Draw given embeddings.

        Parameters
        ----------
        embeddings : array of shape (..., embedding_dim)
            Embeddings, such as one of `DeepClusteringSeparator.embed`.
        clusters : array of shape (...)
            Cluster of each bin, by number or name; if they are booleans, True is the vocals.
        truth : array of shape (...), default=None
            True source of each bin, in the same terms.
        max_samples, random_state, ax
            As in `from_estimator`.

        Returns
        -------
        EmbeddingDisplay

        Raises
        ------
        ValueError
            If shapes do not agree, or embeddings hold NaN or infinity.
        """
        vectors = np.asarray(embeddings)
        if vectors.ndim < 2 or vectors.shape[-1] < 2 or not vectors.size:
            raise ValueError(
                f"embeddings has shape {vectors.shape}; (..., embedding_dim) with at least two "
                "dimensions is needed."
            )
        labels = _labels(clusters, vectors.shape[:-1], "clusters")
        sources = None if truth is None else _labels(truth, vectors.shape[:-1], "truth")
        vectors = vectors.reshape(-1, vectors.shape[-1])
        limit = check_integer("max_samples", max_samples, 2)
        if len(vectors) > limit:
            picks = check_random_state(random_state).choice(len(vectors), limit, replace=False)
            vectors, labels = vectors[picks], labels[picks]
            sources = None if sources is None else sources[picks]
        points, shares = _principal_components(vectors.astype(np.float64))
        return cls(points, labels, sources, explained_variance_ratio=shares).plot(ax)

    def plot(self, ax: Any = None) -> EmbeddingDisplay:
        """Draw again.

        Parameters
        ----------
        ax : Axes or array of Axes, default=None
            Axes to empty and draw on; None makes a figure, a single Axes is divided.

        Returns
        -------
        EmbeddingDisplay
            The display itself.
        """
        panels = [("Clusters", self.clusters_.astype(str))]
        if self.truth_ is not None:
            panels.append(("Truth", self.truth_.astype(str)))
        self.figure_, self.ax_ = make_panels(
            ax, len(panels), panel_size=(4.5, 4.2), side_by_side=True
        )
        names = np.unique(np.concatenate([labels for _, labels in panels]))
        shares = self.explained_variance_ratio_ or (None, None)
        for panel, (title, labels) in zip(self.ax_, panels, strict=True):
            for index, name in enumerate(names):
                points = self.points_[labels == name]
                label = f"{name} ({len(points)})"
                panel.scatter(
                    *points.T, s=5, alpha=0.5, linewidths=0, color=f"C{index}", label=label
                )
            legend = panel.legend(markerscale=3, fontsize="small")
            legend.set_in_layout(False)  # it lies within the panel, which must not shrink for it
            panel.set(
                title=title, xlabel=_axis_label(1, shares[0]), ylabel=_axis_label(2, shares[1])
            )
        return self


def _labels(labels: npt.ArrayLike, shape: tuple[int, ...], name: str) -> npt.NDArray[Any]:
    array = np.asarray(labels)
    if array.shape != shape:
        raise ValueError(
            f"{name} has shape {array.shape}, but {shape} is needed: a label for each embedding."
        )
    if array.dtype == bool:
        array = _ROLES[array.astype(int)]
    return array.reshape(-1)


def _principal_components(
    vectors: DoubleArray,
) -> tuple[DoubleArray, tuple[float, float]]:
    """First two components, and their shares of the variance: 0 if all vectors are equal."""
    if not np.isfinite(vectors).all():
        raise ValueError("embeddings contains NaN or infinity.")
    if not np.ptp(vectors, axis=0).any():
        return np.zeros((len(vectors), 2)), (0.0, 0.0)
    components = PCA(n_components=2, svd_solver="full").fit(vectors)
    first, second = components.explained_variance_ratio_
    return components.transform(vectors), (float(first), float(second))


def _axis_label(number: int, share: float | None) -> str:
    variance = "" if share is None else f" ({share:.0%})"
    return f"Component {number}{variance}"
