"""Losses of embeddings and of masks without a fixed order, as means over the batch."""

from __future__ import annotations

from collections.abc import Callable
from itertools import permutations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "deep_clustering",
    "mask_cross_entropy",
    "permutation_invariant_cross_entropy",
    "whitened_kmeans",
]

# This is added to the diagonal of correlation matrices of trace one: a source may be missing.
_RIDGE = 1e-4


def deep_clustering(embeddings: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Distance of the affinities of embeddings and labels, mean square over all pairs of bins.

    The affinity of two bins is the inner product of their embeddings, or of their labels: 1 if
    both belong to one source, else 0. The loss of an excerpt [1]_ is the sum of
    w(i) w(j) (v(i)·v(j) - y(i)·y(j))² over all pairs of bins i and j, with weights w scaled to a
    sum of one.

    The affinity matrices V Vᵀ and Y Yᵀ have a row and a column for each bin and are never built:
    the squared norm of their difference is ‖VᵀV‖² + ‖YᵀY‖² - 2 ‖VᵀY‖². An excerpt whose weights
    are all zero has the loss zero.

    Parameters
    ----------
    embeddings : Tensor of shape (batch, n_bins, embedding_dim)
        Unit vectors V.
    labels : Tensor of shape (batch, n_bins, n_sources)
        Labels Y, one-hot. A source may be missing.
    weights : Tensor of shape (batch, n_bins)
        Weight of each bin, not negative. A pair of bins counts by the product of its weights.

    Returns
    -------
    Tensor
        Scalar, the mean over the batch; in [0, 2] for unit vectors.

    See Also
    --------
    whitened_kmeans : A loss of the same inputs that stretching the embeddings does not change.

    References
    ----------
    .. [1] J. Hershey et al., "Deep clustering: discriminative embeddings for segmentation and
       separation", ICASSP 2016.

    Examples
    --------
    Two bins per source, with embeddings that tell the sources apart, and with equal embeddings.

    >>> import torch
    >>> from sksep.nn.clustering_losses import deep_clustering
    >>> labels = torch.eye(2)[[0, 0, 1, 1]][None]
    >>> weights = torch.ones(1, 4)
    >>> deep_clustering(labels, labels, weights)
    tensor(0.)
    >>> deep_clustering(labels[:, :1].expand(1, 4, 2), labels, weights)
    tensor(0.5000)
    """
    within, across, of_labels = _correlations(embeddings, labels, weights)
    norms = [part.square().sum(dim=(1, 2)) for part in (within, across, of_labels)]
    return (norms[0] - 2.0 * norms[1] + norms[2]).mean()


def whitened_kmeans(embeddings: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Distance of the projections on embeddings and labels, D - tr((VᵀV)⁻¹ VᵀY (YᵀY)⁻¹ YᵀV).

    D is the length of an embedding. Rotating and stretching the space of the embeddings does not
    change the loss [1]_. The rows of V and Y are multiplied by the roots of the weights, which
    are scaled to a sum of one. A ten-thousandth of the identity matrix, divided by its size, is
    added to both inverted matrices, since a source may be missing.

    Parameters
    ----------
    embeddings : Tensor of shape (batch, n_bins, embedding_dim)
        Embeddings V.
    labels : Tensor of shape (batch, n_bins, n_sources)
        Labels Y, one-hot. A source may be missing.
    weights : Tensor of shape (batch, n_bins)
        Weight of each bin, not negative.

    Returns
    -------
    Tensor
        Scalar, the mean over the batch; from ``embedding_dim - n_sources`` to `embedding_dim`.

    See Also
    --------
    deep_clustering : The classic loss of the same inputs.

    References
    ----------
    .. [1] Z.-Q. Wang, J. Le Roux and J. Hershey, "Alternative objective functions for deep
       clustering", ICASSP 2018.

    Examples
    --------
    Two bins per source: the loss is smallest if the embeddings tell the sources apart, whatever
    their length.

    >>> import torch
    >>> from sksep.nn.clustering_losses import whitened_kmeans
    >>> labels = torch.eye(2)[[0, 0, 1, 1]][None]
    >>> weights = torch.ones(1, 4)
    >>> print(f"{whitened_kmeans(labels, labels, weights):.2f}")
    0.00
    >>> print(f"{whitened_kmeans(3.0 * labels, labels, weights):.2f}")
    0.00
    >>> print(f"{whitened_kmeans(labels[:, :1].expand(1, 4, 2), labels, weights):.2f}")
    1.00
    """
    # The matrices are small. The CPU takes them, since not every device has double precision.
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

    The mean over the batch, frames and bands of the sum of ``-share * log(mask)`` over the sources.

    Parameters
    ----------
    logits : Tensor of shape (batch, n_sources, n_frames, n_bands)
        Logits of the masks, before the softmax over the sources.
    shares : Tensor of shape (batch, n_sources, n_frames, n_bands)
        Proportion masks, in [0, 1]; they sum to one over the sources.

    Returns
    -------
    Tensor
        Scalar, not negative, in nats per bin. The smallest possible value is the mean entropy of
        the shares, which is zero if each bin belongs to one source.

    See Also
    --------
    permutation_invariant_cross_entropy : The same for sources without a fixed order.

    Examples
    --------
    >>> import torch
    >>> from sksep.nn.clustering_losses import mask_cross_entropy
    >>> shares = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 25, 40)
    >>> mask_cross_entropy(torch.zeros(1, 2, 25, 40), shares)  # masks of one half: log 2
    tensor(0.6931)
    """
    return functional.cross_entropy(logits, shares)


def permutation_invariant_cross_entropy(logits: Tensor, shares: Tensor) -> Tensor:
    """The smallest cross-entropy over all orders of the sources, chosen for each excerpt.

    This loss is for sources of one kind without an order, such as two singers [1]_. The masks of
    each excerpt are taken in the order in which `mask_cross_entropy` is smallest.

    Parameters
    ----------
    logits : Tensor of shape (batch, n_sources, n_frames, n_bands)
        Logits of the masks, before the softmax over the sources.
    shares : Tensor of shape (batch, n_sources, n_frames, n_bands)
        Proportion masks, in [0, 1]; they sum to one over the sources.

    Returns
    -------
    Tensor
        Scalar, not negative, in nats per bin; never above `mask_cross_entropy`. All orders are
        tried, so the time grows as the factorial of the number of sources.

    References
    ----------
    .. [1] D. Yu et al., "Permutation invariant training of deep models for speaker-independent
       multi-talker speech separation", ICASSP 2017.

    Examples
    --------
    Exchanged masks are as good as masks in order.

    >>> import torch
    >>> from sksep.nn.clustering_losses import (
    ...     mask_cross_entropy, permutation_invariant_cross_entropy,
    ... )
    >>> shares = torch.tensor([1.0, 0.0]).view(1, 2, 1, 1).expand(1, 2, 25, 40)
    >>> exchanged = 10.0 * shares.flip(1)
    >>> print(f"{mask_cross_entropy(exchanged, shares):.2f}")
    10.00
    >>> print(f"{permutation_invariant_cross_entropy(exchanged, shares):.2f}")
    0.00
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
    """Weighted VᵀV, VᵀY and YᵀY, divided by the sum of the weights."""
    total = weights.sum(dim=1, keepdim=True).clamp_min(torch.finfo(weights.dtype).tiny)
    scale = (weights / total).sqrt().unsqueeze(-1)
    embeddings, labels = embeddings * scale, labels * scale
    return embeddings.mT @ embeddings, embeddings.mT @ labels, labels.mT @ labels


def _ridged(correlation: Tensor) -> Tensor:
    size = correlation.shape[-1]
    identity = torch.eye(size, dtype=correlation.dtype, device=correlation.device)
    return correlation + _RIDGE / size * identity
