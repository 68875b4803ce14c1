"""UH-Net: a U-Net that sees, beside the spectrogram, the masks of a clustering network."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from sksep.nn.clustering import EmbeddingsAndMasks, HybridNetwork


class UHNetOutput(NamedTuple):
    """Output of `UHNet`.

    Attributes
    ----------
    logits : tuple of Tensor of shape (batch, n_frames, n_bands)
        Mask logits of each level, finest first.
    clustering : EmbeddingsAndMasks or None
        Output of the clustering network; None where that is frozen.
    """

    logits: tuple[Tensor, ...]
    clustering: EmbeddingsAndMasks | None


class UHNet(nn.Module):
    """A U-Net on three channels: a spectrogram and both masks of a hybrid clustering network.

    Gradients reach the clustering network through its masks, unless it is frozen.

    Parameters
    ----------
    clustering : HybridNetwork
        Network with two masks.
    unet : nn.Module
        From (batch, 3, n_frames, n_bands) to a tuple of mask logits (batch, 1, n_frames, n_bands),
        finest first.
    frozen : bool
        Whether the clustering network stays as it is, normalisation and dropout included.
    """

    def __init__(self, clustering: HybridNetwork, unet: nn.Module, frozen: bool = False) -> None:
        super().__init__()
        self.clustering = clustering
        self.unet = unet
        self.frozen = frozen
        if frozen:
            clustering.requires_grad_(False)
            clustering.eval()

    def train(self, mode: bool = True) -> UHNet:
        """Training mode of everything that is not frozen."""
        super().train(mode)
        if self.frozen:
            self.clustering.eval()
        return self

    def forward(self, spectrograms: Tensor) -> UHNetOutput:
        """Mask logits of all levels, and what the clustering is trained by."""
        hidden = self.clustering.body(spectrograms)
        mask_logits = self.clustering.mask_logits(hidden)
        clustering = None
        if not self.frozen:
            clustering = EmbeddingsAndMasks(self.clustering.embed(hidden), mask_logits)
        return UHNetOutput(self._levels(spectrograms, mask_logits), clustering)

    def mask_logits(self, spectrograms: Tensor) -> Tensor:
        """The finest mask logits (batch, n_frames, n_bands) alone, without embeddings."""
        hidden = self.clustering.body(spectrograms)
        return self._levels(spectrograms, self.clustering.mask_logits(hidden))[0]

    def _levels(self, spectrograms: Tensor, mask_logits: Tensor) -> tuple[Tensor, ...]:
        masks = torch.softmax(mask_logits.float(), dim=1)
        channels = torch.cat([spectrograms, masks], dim=1)
        channels = channels.contiguous(memory_format=torch.channels_last)
        return tuple(logits.squeeze(1) for logits in self.unet(channels))
