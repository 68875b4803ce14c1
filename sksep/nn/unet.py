"""The source report's U-Net."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class UNet(nn.Module):
    """Encoder and decoder with skip connections, from spectrograms to mask logits.

    Each level has two 3 x 3 convolutions with batch normalisation and ReLU; levels are joined by
    2 x 2 max-pooling on the way down, transposed convolutions on the way up and concatenation
    across. Any number of frames and bands works: the input is padded to a multiple of
    ``2 ** n_levels`` and the output cropped.

    Parameters
    ----------
    in_channels, out_channels : int
        Spectrograms in, masks out.
    n_filters : int
        Filters of the first level; each level below has twice as many.
    n_levels : int
        Number of times that the resolution is halved.
    dropout : float
        Share of the channels dropped at the bottom.

    References
    ----------
    O. Ronneberger, P. Fischer and T. Brox, "U-Net: convolutional networks for biomedical image
    segmentation", MICCAI 2015.
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        n_filters: int = 16,
        n_levels: int = 4,
        dropout: float = 0.5,
    ) -> None:
        super().__init__()
        widths = [n_filters * 2**level for level in range(n_levels + 1)]
        self.n_levels = n_levels
        self.encoders = nn.ModuleList(
            _double_convolution(before, after)
            for before, after in zip([in_channels, *widths], widths[:-1], strict=False)
        )
        self.bottom = _double_convolution(widths[-2], widths[-1])
        self.dropout = nn.Dropout2d(dropout)
        self.upsamplers = nn.ModuleList(
            nn.ConvTranspose2d(below, width, kernel_size=2, stride=2)
            for below, width in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.decoders = nn.ModuleList(
            _double_convolution(2 * width, width) for width in widths[-2::-1]
        )
        self.head = nn.Conv2d(n_filters, out_channels, kernel_size=1)

    def forward(self, features: Tensor) -> Tensor:
        """Logits (batch, out_channels, n_frames, n_bands) of features with in_channels."""
        hidden, size = pad_to_multiple(features, 2**self.n_levels)
        skips = []
        for encoder in self.encoders:
            hidden = encoder(hidden)
            skips.append(hidden)
            hidden = functional.max_pool2d(hidden, 2)
        hidden = self.dropout(self.bottom(hidden))
        for upsampler, decoder in zip(self.upsamplers, self.decoders, strict=True):
            hidden = decoder(torch.cat([skips.pop(), upsampler(hidden)], dim=1))
        return crop(self.head(hidden), size)


def pad_to_multiple(features: Tensor, multiple: int) -> tuple[Tensor, tuple[int, int]]:
    """Repeat the last frame and band up to a multiple; also the (frames, bands) before.

    Where one multiple would hold all of them, there are two of frames.
    """
    n_frames, n_bands = features.shape[-2:]
    # Batch normalisation cannot train on one value: leave two at the lowest resolution.
    frame_multiple = multiple if max(n_frames, n_bands) > multiple else 2 * multiple
    padding = (0, -n_bands % multiple, 0, -n_frames % frame_multiple)
    if any(padding):
        features = functional.pad(features, padding, mode="replicate")
    return features, (n_frames, n_bands)


def crop(features: Tensor, size: tuple[int, int]) -> Tensor:
    """The first frames and bands."""
    return features[..., : size[0], : size[1]]


def _double_convolution(in_channels: int, out_channels: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for channels in (in_channels, out_channels):
        layers += [
            # The normalisation that follows has a bias of its own.
            nn.Conv2d(channels, out_channels, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
            nn.ReLU(inplace=True),
        ]
    return nn.Sequential(*layers)
