"""A pyramid of U-Nets, from coarse to fine."""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn
from torch.nn import functional

from sksep.nn.unet import UNetBody, convolutions, crop, join, joined_width, pad_to_multiple
from sksep.utils._validation import check_integer

__all__ = ["PyramidUNet"]


class PyramidUNet(nn.Module):
    """One U-Net per resolution, each of which refines the next coarser one; mask logits per level.

    The U-Nets are those of `sksep.nn.unet.UNet` [1]_.

    ::

        features -------------> U-Net 0 --> fusion --> head 0 --> logits[0]
           |                       ^           ^
           | average               | skips     | upsampler
           v pooling               |           |
        1/2 of both axes -----> U-Net 1 --> fusion --> head 1 --> x 2 --> logits[1]
           |                       ^           ^
           v                       |           |
        1/4 of both axes -----> U-Net 2 -------------> head 2 --> x 4 --> logits[2]

    Skips across levels: the features that a U-Net decoded at some resolution join the pooled ones
    in the encoder of the next finer U-Net at the same resolution, from its second level to its
    bottom. Fusion: the coarser level's final features, upsampled by a transposed convolution, join
    the finer U-Net's own before its head, through a 3 x 3 convolution with batch normalization and
    ReLU.

    Level ``k`` is halved ``depth - k`` times, at least once, so that all levels end at the same
    resolution. Any number of frames and bands works, as in `sksep.nn.unet.UNet`; with
    ``n_levels=1`` the pyramid is a `sksep.nn.unet.UNet`.

    Parameters
    ----------
    in_channels, out_channels : int, default=3 and 1
        Number of spectrograms that go in, and of masks that come out.
    n_filters : int, default=16
        Number of filters of the first level of each U-Net; each level below has twice as many.
    n_levels : int, default=2
        Number of levels of the pyramid, at least one.
    depth : int, default=4
        Number of times that the finest U-Net halves the resolution, at least one.
    dropout : float, default=0.5
        Share of the channels dropped at the bottom of each U-Net, in [0, 1].
    skip : {"concatenate", "add"}, default="concatenate"
        How features join within and across levels.

    Raises
    ------
    TypeError
        If `n_levels` or `depth` is not an integer.
    ValueError
        If `n_levels` or `depth` is below one, or `skip` is unknown.

    References
    ----------
    .. [1] O. Ronneberger, P. Fischer and T. Brox, "U-Net: convolutional networks for biomedical
       image segmentation", MICCAI 2015.

    Examples
    --------
    >>> import torch
    >>> from sksep.nn.pyramid_unet import PyramidUNet
    >>> network = PyramidUNet(n_filters=4, n_levels=3)
    >>> [tuple(logits.shape) for logits in network(torch.zeros(2, 3, 50, 40))]
    [(2, 1, 50, 40), (2, 1, 50, 40), (2, 1, 50, 40)]
    """

    def __init__(
        self,
        in_channels: int = 3,
        out_channels: int = 1,
        n_filters: int = 16,
        n_levels: int = 2,
        depth: int = 4,
        dropout: float = 0.5,
        skip: str = "concatenate",
    ) -> None:
        super().__init__()
        n_levels, depth = check_integer("n_levels", n_levels, 1), check_integer("depth", depth, 1)
        self.skip = skip
        self.multiple = 2 ** max(depth, n_levels)
        # All lists begin with the finest level.
        self.bodies = nn.ModuleList(
            UNetBody(
                in_channels,
                n_filters,
                max(1, depth - level),
                dropout,
                skip,
                refines=level < n_levels - 1,
            )
            for level in range(n_levels)
        )
        self.upsamplers = nn.ModuleList(
            nn.ConvTranspose2d(n_filters, n_filters, kernel_size=2, stride=2)
            for _ in range(n_levels - 1)
        )
        self.fusions = nn.ModuleList(
            convolutions(joined_width(n_filters, skip), n_filters) for _ in range(n_levels - 1)
        )
        self.heads = nn.ModuleList(
            nn.Conv2d(n_filters, out_channels, kernel_size=1) for _ in range(n_levels)
        )

    def forward(self, features: Tensor) -> tuple[Tensor, ...]:
        """Estimate mask logits of each level, finest first.

        Parameters
        ----------
        features : Tensor of shape (batch, in_channels, n_frames, n_bands)
            Log power, normalized per band, and in UH-Net two masks.

        Returns
        -------
        tuple of `n_levels` Tensor of shape (batch, out_channels, n_frames, n_bands)
            Logits at full resolution; those of coarser levels are interpolated.
        """
        padded, size = pad_to_multiple(features, self.multiple)
        inputs = [padded]
        for _ in self.upsamplers:
            inputs.append(functional.avg_pool2d(inputs[-1], 2))
        *finer, coarsest = [cast(UNetBody, body) for body in self.bodies]
        decoded = coarsest.decode(inputs[-1])
        final = [decoded[0]]
        for level, body in reversed(list(enumerate(finer))):
            coarser, decoded = decoded, body.decode(inputs[level], decoded)
            upsampled = self.upsamplers[level](coarser[0])
            decoded[0] = self.fusions[level](join(decoded[0], upsampled, self.skip))
            final.insert(0, decoded[0])
        return tuple(
            crop(_enlarge(head(each), 2**level), size)
            for level, (head, each) in enumerate(zip(self.heads, final, strict=True))
        )


def _enlarge(logits: Tensor, factor: int) -> Tensor:
    if factor == 1:
        return logits
    return functional.interpolate(logits, scale_factor=factor, mode="bilinear")
