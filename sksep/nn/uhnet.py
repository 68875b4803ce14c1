"""UH-Net: a U-Net whose input is a spectrogram and the masks of a clustering network."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from sksep.nn.clustering import EmbeddingsAndMasks, HybridNetwork

__all__ = ["UHNet", "UHNetOutput"]


class UHNetOutput(NamedTuple):
    """Output of `UHNet`.

    Attributes
    ----------
    logits : tuple of Tensor of shape (batch, n_frames, n_bands)
        Mask logits of each level, finest first.
    clustering : EmbeddingsAndMasks or None
        Output of the clustering network; None if that is frozen.
    """

    logits: tuple[Tensor, ...]
    clustering: EmbeddingsAndMasks | None


class UHNet(nn.Module):
    """A U-Net on three channels: a spectrogram and both masks of a hybrid clustering network.

    Gradients reach the clustering network through its masks, unless it is frozen.

    Parameters
    ----------
    clustering : HybridNetwork
        Network with two masks, whose softmax is part of the input of the U-Net.
    unet : nn.Module
        Network from (batch, 3, n_frames, n_bands) to a tuple of mask logits
        (batch, 1, n_frames, n_bands), finest first.
    frozen : bool, default=False
        Whether the clustering network stays as it is, including normalization and dropout.

    Examples
    --------
    >>> import torch
    >>> from sksep.nn.clustering import HybridNetwork
    >>> from sksep.nn.pyramid_unet import PyramidUNet
    >>> from sksep.nn.recurrent import RecurrentBody
    >>> from sksep.nn.uhnet import UHNet
    >>> body = RecurrentBody(n_bands=40, hidden_size=8, n_layers=1)
    >>> clustering = HybridNetwork(body, n_bands=40, embedding_dim=5)
    >>> network = UHNet(clustering, PyramidUNet(in_channels=3, n_filters=2, n_levels=2))
    >>> output = network(torch.zeros(2, 1, 25, 40))
    >>> [tuple(logits.shape) for logits in output.logits]
    [(2, 25, 40), (2, 25, 40)]
    >>> output.clustering.embeddings.shape
    torch.Size([2, 25, 40, 5])
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
        """Set the mode of all parts that are not frozen.

        Parameters
        ----------
        mode : bool, default=True
            Whether to train; False evaluates.

        Returns
        -------
        UHNet
            The network itself.
        """
        super().train(mode)
        if self.frozen:
            self.clustering.eval()
        return self

    def forward(self, spectrograms: Tensor) -> UHNetOutput:
        """Mask logits of all levels, and the output by which the clustering network is trained.

        Parameters
        ----------
        spectrograms : Tensor of shape (batch, 1, n_frames, n_bands)
            Log power, normalized per band.

        Returns
        -------
        UHNetOutput
            Mask logits (batch, n_frames, n_bands) of each level, finest first, and the output of
            the clustering network unless that is frozen.
        """
        hidden = self.clustering.body(spectrograms)
        mask_logits = self.clustering.mask_logits(hidden)
        clustering = None
        if not self.frozen:
            clustering = EmbeddingsAndMasks(self.clustering.embed(hidden), mask_logits)
        return UHNetOutput(self._levels(spectrograms, mask_logits), clustering)

    def mask_logits(self, spectrograms: Tensor) -> Tensor:
        """The finest mask logits alone, without embeddings, which is all that separation needs.

        Parameters
        ----------
        spectrograms : Tensor of shape (batch, 1, n_frames, n_bands)
            Log power, normalized per band.

        Returns
        -------
        Tensor of shape (batch, n_frames, n_bands)
            Logits. Their sigmoid is the mask of the vocals.
        """
        hidden = self.clustering.body(spectrograms)
        return self._levels(spectrograms, self.clustering.mask_logits(hidden))[0]

    def _levels(self, spectrograms: Tensor, mask_logits: Tensor) -> tuple[Tensor, ...]:
        masks = torch.softmax(mask_logits.float(), dim=1)
        channels = torch.cat([spectrograms, masks], dim=1)
        channels = channels.contiguous(memory_format=torch.channels_last)
        return tuple(logits.squeeze(1) for logits in self.unet(channels))
