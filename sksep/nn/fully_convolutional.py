"""A fully convolutional network of the kind that U-Nets improved on."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from sksep.nn.unet import convolutions, crop, pad_to_multiple

__all__ = ["FullyConvolutionalNetwork"]

# The finest scores have 1 / 2**3 of the resolution: the "8s" of FCN-8s.
_FINEST = 3
# The widest level of the encoder has this many times the filters of the first.
_WIDEST = 8


class FullyConvolutionalNetwork(nn.Module):
    """VGG-like encoder whose scores at several depths are summed, from spectrograms to mask logits.

    Two 3 x 3 convolutions with batch normalization and ReLU precede each max-pooling [1]_. From the
    third halving on, 1 x 1 convolutions score the features of each resolution; from coarse to fine
    the scores are doubled in resolution (by transposed convolutions that begin as bilinear
    interpolation) and summed. The sum at an eighth of the resolution is interpolated to all of it
    [2]_. With five levels these are the three depths of FCN-8s. Unlike a U-Net, it uses no features
    of the full resolution: boundaries finer than eight frames or bands are blurred.
    Any number of frames and bands works, as in `sksep.nn.unet.UNet`.

    Parameters
    ----------
    in_channels, out_channels : int, default=1
        Number of spectrograms that go in, and of masks that come out.
    n_filters : int, default=16
        Number of filters of the first level. Each level below has twice as many, up to eight times.
    n_levels : int, default=5
        Number of times that the resolution is halved, at least one. With fewer than three, the only
        scores are those of the last.
    dropout : float, default=0.5
        Share of the channels dropped at the bottom, in [0, 1].

    See Also
    --------
    sksep.nn.unet.UNet : Skip connections instead of sums of scores.

    References
    ----------
    .. [1] K. Simonyan and A. Zisserman, "Very deep convolutional networks for large-scale image
       recognition", ICLR 2015.
    .. [2] J. Long, E. Shelhamer and T. Darrell, "Fully convolutional networks for semantic
       segmentation", CVPR 2015.

    Examples
    --------
    >>> import torch
    >>> from sksep.nn.fully_convolutional import FullyConvolutionalNetwork
    >>> network = FullyConvolutionalNetwork(n_filters=2)
    >>> network(torch.zeros(2, 1, 50, 40)).shape
    torch.Size([2, 1, 50, 40])
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        n_filters: int = 16,
        n_levels: int = 5,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        widths = [n_filters * min(2**level, _WIDEST) for level in range(n_levels)]
        self.n_levels = n_levels
        self.finest = min(_FINEST, n_levels)
        self.encoders = nn.ModuleList(
            convolutions(before, after, after)
            for before, after in zip([in_channels, *widths], widths, strict=False)
        )
        self.bottom = convolutions(widths[-1], widths[-1], widths[-1])
        self.dropout = nn.Dropout2d(dropout)
        self.heads = nn.ModuleList(
            nn.Conv2d(width, out_channels, kernel_size=1) for width in widths[self.finest - 1 :]
        )
        self.upsamplers = nn.ModuleList(
            _bilinear_upsampler(out_channels) for _ in range(n_levels - self.finest)
        )

    def forward(self, features: Tensor) -> Tensor:
        """Estimate mask logits.

        Parameters
        ----------
        features : Tensor of shape (batch, in_channels, n_frames, n_bands)
            Log power, normalized per band.

        Returns
        -------
        Tensor of shape (batch, out_channels, n_frames, n_bands)
            Logits. Their sigmoid gives the masks.
        """
        hidden, size = pad_to_multiple(features, 2**self.n_levels)
        encoded = []
        for encoder in self.encoders:
            hidden = functional.max_pool2d(encoder(hidden), 2)
            encoded.append(hidden)
        encoded[-1] = self.dropout(self.bottom(hidden))
        scores = [
            head(each) for head, each in zip(self.heads, encoded[self.finest - 1 :], strict=True)
        ]
        fused = scores.pop()
        for upsampler in self.upsamplers:
            fused = scores.pop() + upsampler(fused)
        logits = functional.interpolate(fused, scale_factor=2**self.finest, mode="bilinear")
        return crop(logits, size)


def _bilinear_upsampler(channels: int) -> nn.ConvTranspose2d:
    """Transposed convolution to twice the resolution, each channel by itself."""
    layer = nn.ConvTranspose2d(
        channels, channels, kernel_size=4, stride=2, padding=1, groups=channels, bias=False
    )
    slopes = torch.tensor([0.25, 0.75, 0.75, 0.25])
    with torch.no_grad():
        layer.weight.copy_(torch.outer(slopes, slopes))
    return layer
