"""Losses of embeddings and of masks without a fixed order; means over the batch."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import torch
from torch import Tensor
from torch.nn import functional

# Added to the diagonal of correlation matrices of trace one: a batch may hold one source only.
_RIDGE = 1e-4


def deep_clustering(embeddings: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Distance of the affinities of embeddings and labels, mean square over all pairs of bins.

    The affinity matrices V Vᵀ and Y Yᵀ have a row and a column for each bin and are never built:
    the squared norm of their difference is ‖VᵀV‖² + ‖YᵀY‖² - 2 ‖VᵀY‖².

    Parameters
    ----------
    embeddings : Tensor of shape (batch, n_bins, embedding_dim)
        Unit vectors V.
    labels : Tensor of shape (batch, n_bins, n_sources)
        One-hot Y. A source may be missing.
    weights : Tensor of shape (batch, n_bins)
        Not negative; a pair of bins counts by the product of its weights.

    Returns
    -------
    Tensor
        Scalar, in [0, 1] for unit vectors.

    References
    ----------
    J. Hershey et al., "Deep clustering: discriminative embeddings for segmentation and
    separation", ICASSP 2016.
    """
    within, across, of_labels = _correlations(embeddings, labels, weights)
    norms = [part.square().sum(dim=(1, 2)) for part in (within, across, of_labels)]
    return (norms[0] - 2.0 * norms[1] + norms[2]).mean()


def whitened_kmeans(embeddings: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Distance of the projections on embeddings and labels, D - tr((VᵀV)⁻¹ VᵀY (YᵀY)⁻¹ YᵀV).

    Whatever turns and stretches the space of the embeddings leaves it as it is.

    Parameters
    ----------
    embeddings : Tensor of shape (batch, n_bins, embedding_dim)
        V.
    labels : Tensor of shape (batch, n_bins, n_sources)
        One-hot Y. A source may be missing.
    weights : Tensor of shape (batch, n_bins)
        Not negative.

    Returns
    -------
    Tensor
        Scalar, from embedding_dim - n_sources to embedding_dim.

    References
    ----------
    Z.-Q. Wang, J. Le Roux and J. Hershey, "Alternative objective functions for deep clustering",
    ICASSP 2018.
    """
    # Small matrices, in double precision, which not every device has.
    within, across, of_labels = (
        part.cpu().double() for part in _correlations(embeddings, labels, weights)
    )
    solved = torch.linalg.solve(_ridged(within), across)
    explained = torch.linalg.solve(_ridged(of_labels), across.mT)
    trace = (solved * explained.mT).sum(dim=(1, 2))
    return (embeddings.shape[-1] - trace).mean().to(embeddings)


CLUSTERING_LOSSES: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "classic": deep_clustering,
    "whitened": whitened_kmeans,
}


def mask_cross_entropy(logits: Tensor, shares: Tensor) -> Tensor:
    """Cross-entropy of softmax masks against the shares of the sources.

    Parameters
    ----------
    logits : Tensor of shape (batch, n_sources, n_frames, n_bands)
        Before the softmax.
    shares : Tensor of shape (batch, n_sources, n_frames, n_bands)
        Proportion masks; they sum to one over the sources.
    """
    return functional.cross_entropy(logits, shares)


def permutation_invariant_cross_entropy(logits: Tensor, shares: Tensor) -> Tensor:
    """The least cross-entropy over all orders of the sources, chosen for each excerpt.

    For sources of one kind, such as two singers, of which none is the first.

    Parameters
    ----------
    logits, shares : Tensor of shape (batch, n_sources, n_frames, n_bands)
        As in `mask_cross_entropy`.

    References
    ----------
    D. Yu et al., "Permutation invariant training of deep models for speaker-independent
    multi-talker speech separation", ICASSP 2017.
    """
    n_sources = logits.shape[1]
    log_masks = functional.log_softmax(logits, dim=1).flatten(2)
    pairwise = -(log_masks @ shares.flatten(2).mT) / log_masks.shape[-1]
    orders = torch.tensor(list(permutations(range(n_sources))), device=logits.device)
    estimates = torch.arange(n_sources, device=logits.device)
    return pairwise[:, estimates, orders].sum(dim=-1).amin(dim=1).mean()


def _correlations(
    embeddings: Tensor, labels: Tensor, weights: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """VᵀV, VᵀY and YᵀY, weighted, over the sum of the weights."""
    total = weights.sum(dim=1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
    scale = (weights / total).sqrt().unsqueeze(-1)
    embeddings, labels = embeddings * scale, labels * scale
    return embeddings.mT @ embeddings, embeddings.mT @ labels, labels.mT @ labels


def _ridged(correlation: Tensor) -> Tensor:
    size = correlation.shape[-1]
    identity = torch.eye(size, dtype=correlation.dtype, device=correlation.device)
    return correlation + _RIDGE / size * identity
