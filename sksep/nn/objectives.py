"""Objectives of the clustering networks: losses of their outputs against excerpts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sksep.nn import masks
from sksep.nn.clustering import Embeddings, EmbeddingsAndMasks
from sksep.nn.clustering_losses import (
    CLUSTERING_LOSSES,
    mask_cross_entropy,
    permutation_invariant_cross_entropy,
)
from sksep.nn.excerpts import Excerpts
from sksep.nn.losses import scalar
from sksep.nn.uhnet import UHNetOutput


@dataclass(frozen=True)
class ClusteringObjective:
    """The clustering loss of embeddings, with the binary mask as labels.

    Attributes
    ----------
    loss : {"classic", "whitened"}
        Name of the loss, see `clustering_losses`.
    weighting : {"magnitude", "log_magnitude", "uniform"}
        Weights of the bins, see `masks.bin_weights`.
    """

    loss: str
    weighting: str

    def __call__(self, output: Embeddings | EmbeddingsAndMasks, excerpts: Excerpts) -> Tensor:
        """Scalar loss."""
        vocals = excerpts.binary_mask.flatten(1)
        labels = torch.stack([vocals, 1.0 - vocals], dim=-1)
        weights = masks.bin_weights(excerpts.mixture_power, self.weighting).flatten(1)
        return CLUSTERING_LOSSES[self.loss](output.embeddings.flatten(1, 2), labels, weights)


@dataclass(frozen=True)
class HybridObjective:
    """Weighted mean of the clustering loss and of the cross-entropy of the proportion masks.

    Attributes
    ----------
    clustering : ClusteringObjective
        Loss of the embeddings.
    alpha : float
        Weight of the clustering loss, in [0, 1].
    permutation_invariant : bool
        Whether the masks may come in any order.
    """

    clustering: ClusteringObjective
    alpha: float
    permutation_invariant: bool = False

    def __call__(self, output: EmbeddingsAndMasks, excerpts: Excerpts) -> Tensor:
        """Scalar loss."""
        vocals = excerpts.proportion_mask
        shares = torch.stack([vocals, 1.0 - vocals], dim=1)
        cross_entropy = (
            permutation_invariant_cross_entropy
            if self.permutation_invariant
            else mask_cross_entropy
        )
        of_masks = cross_entropy(output.logits, shares)
        return self.alpha * self.clustering(output, excerpts) + (1.0 - self.alpha) * of_masks


@dataclass(frozen=True)
class UHNetObjective:
    """The sum of the mask losses of all levels and of the loss of the clustering network.

    The mask head of the clustering network learns by the mask loss, too. If that is the
    cross-entropy, the second part of the sum is `HybridObjective`.

    Attributes
    ----------
    mask_loss : callable
        Loss of mask logits (batch, n_frames, n_bands) and `Excerpts`.
    clustering : ClusteringObjective
        Loss of the embeddings. It is left out if the clustering network is frozen.
    alpha : float
        Weight of that loss in the loss of the clustering network, in [0, 1].
    """

    mask_loss: Callable[[Tensor, Excerpts], Tensor]
    clustering: ClusteringObjective
    alpha: float

    def __call__(self, output: UHNetOutput, excerpts: Excerpts) -> Tensor:
        """Scalar loss."""
        levels = [scalar(self.mask_loss(logits, excerpts)) for logits in output.logits]
        loss = torch.stack(levels).sum()
        if output.clustering is None:
            return loss
        vocals, accompaniment = output.clustering.logits.unbind(dim=1)
        # The softmax over two sources is the sigmoid of the difference.
        of_masks = scalar(self.mask_loss(vocals - accompaniment, excerpts))
        of_embeddings = self.clustering(output.clustering, excerpts)
        return loss + self.alpha * of_embeddings + (1.0 - self.alpha) * of_masks
