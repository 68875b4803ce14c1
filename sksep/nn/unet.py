"""The source report's U-Net."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sksep.utils._validation import check_choice

__all__ = ["UNet"]

SKIPS = ("concatenate", "add")


class UNetBody(nn.Module):
    """Encoder and decoder of a U-Net, for a network that adds its own heads.

    Parameters
    ----------
    in_channels, n_filters, n_levels, dropout, skip
        Parameters of `UNet`.
    refines : bool
        Whether the encoder also receives the features of a U-Net at half of the resolution.
    """

    def __init__(
        self,
        in_channels: int,
        n_filters: int,
        n_levels: int,
        dropout: float,
        skip: str,
        *,
        refines: bool = False,
    ) -> None:
        super().__init__()
        widths = [n_filters * 2**level for level in range(n_levels + 1)]
        entering = [joined_width(width, skip) if refines else width for width in widths]
        self.n_levels = n_levels
        self.skip = skip
        self.encoders = nn.ModuleList(
            convolutions(before, after, after)
            for before, after in zip([in_channels, *entering], widths[:-1], strict=False)
        )
        self.bottom = convolutions(entering[-2], widths[-1], widths[-1])
        self.dropout = nn.Dropout2d(dropout)
        self.upsamplers = nn.ModuleList(
            nn.ConvTranspose2d(below, width, kernel_size=2, stride=2)
            for below, width in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.decoders = nn.ModuleList(
            convolutions(joined_width(width, skip), width, width) for width in widths[-2::-1]
        )

    def decode(self, features: Tensor, coarser: Sequence[Tensor] | None = None) -> list[Tensor]:
        """Decoded features of each resolution.

        Parameters
        ----------
        features : Tensor of shape (batch, in_channels, n_frames, n_bands)
            Features whose numbers of frames and bands are multiples of ``2 ** n_levels``.
        coarser : sequence of Tensor
            Decoded features of the body at half of the resolution, if this one refines it.

        Returns
        -------
        list of Tensor
            Entry ``i`` has shape (batch, n_filters * 2**i, n_frames / 2**i, n_bands / 2**i); the
            last of the ``n_levels + 1`` is the bottom.
        """
        hidden = features
        skips = []
        for level, encoder in enumerate(self.encoders):
            hidden = encoder(hidden)
            skips.append(hidden)
            hidden = functional.max_pool2d(hidden, 2)
            if coarser is not None:
                hidden = join(hidden, coarser[level], self.skip)
        decoded = [self.dropout(self.bottom(hidden))]
        for upsampler, decoder in zip(self.upsamplers, self.decoders, strict=True):
            decoded.append(decoder(join(skips.pop(), upsampler(decoded[-1]), self.skip)))
        return decoded[::-1]


class UNet(UNetBody):
    """Encoder and decoder with skip connections, from spectrograms to mask logits.

    This is the network of [1]_ with padded convolutions, so that no margin is lost. Each level has
    two 3 x 3 convolutions with batch normalization and ReLU. Levels are joined by 2 x 2 max-pooling
    on the way down and transposed convolutions on the way up; features of encoder and decoder are
    concatenated or added. Any number of frames and bands works: the input is padded to a multiple
    of ``2 ** n_levels`` and the output cropped.

    Parameters
    ----------
    in_channels, out_channels : int, default=1
        Number of spectrograms that go in, and of masks that come out.
    n_filters : int, default=16
        Number of filters of the first level; each level below has twice as many.
    n_levels : int, default=4
        Number of times that the resolution is halved, at least one.
    dropout : float, default=0.5
        Share of the channels dropped at the bottom, in [0, 1].
    skip : {"concatenate", "add"}, default="concatenate"
        How the features of the encoder join those of the decoder.

    Raises
    ------
    ValueError
        If `skip` is unknown.

    References
    ----------
    .. [1] O. Ronneberger, P. Fischer and T. Brox, "U-Net: convolutional networks for biomedical
       image segmentation", MICCAI 2015.

    Examples
    --------
    >>> import torch
    >>> from sksep.nn.unet import UNet
    >>> network = UNet(n_filters=2)
    >>> network(torch.zeros(2, 1, 50, 40)).shape
    torch.Size([2, 1, 50, 40])
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        n_filters: int = 16,
        n_levels: int = 4,
        dropout: float = 0.5,
        skip: str = "concatenate",
    ) -> None:
        super().__init__(in_channels, n_filters, n_levels, dropout, skip)
        self.head = nn.Conv2d(n_filters, out_channels, kernel_size=1)

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
        padded, size = pad_to_multiple(features, 2**self.n_levels)
        return crop(self.head(self.decode(padded)[0]), size)


def pad_to_multiple(features: Tensor, multiple: int) -> tuple[Tensor, tuple[int, int]]:
    """Repeat the last frame and band up to a multiple; also return the (frames, bands) before.

    If one multiple holds all of them, the frames fill two multiples.
    """
    n_frames, n_bands = features.shape[-2:]
    # Batch normalization cannot train on one value: leave two at the lowest resolution. This is
    # arithmetic, since a trace for export would keep the branch of its example.
    frame_multiple = multiple * (1 + 1 * ((n_frames <= multiple) & (n_bands <= multiple)))
    padding = (0, -n_bands % multiple, 0, -n_frames % frame_multiple)
    if any(padding):
        features = functional.pad(features, padding, mode="replicate")
    return features, (n_frames, n_bands)


def crop(features: Tensor, size: tuple[int, int]) -> Tensor:
    """The first frames and bands, as many as `size` holds."""
    return features[..., : size[0], : size[1]]


def join(first: Tensor, second: Tensor, skip: str) -> Tensor:
    """Two feature maps of one shape, concatenated or added as `skip` says."""
    return first + second if skip == "add" else torch.cat([first, second], dim=1)


def joined_width(width: int, skip: str) -> int:
    """Channels of two joined feature maps of `width` channels each."""
    return width if check_choice("skip", skip, SKIPS) == "add" else 2 * width


class Convolutions(nn.Sequential):
    """Triples of a convolution, its batch normalization and an activation.

    In evaluation without gradients on a CPU, each normalization is folded into the weights of its
    convolution, which saves a pass through memory. This is repeated at every call, so that there
    is no second set of weights to keep up to date. Hooks of the layers are then not called.
    """

    def forward(self, features: Tensor) -> Tensor:
        """Output of the layers for features (batch, n_channels, n_frames, n_bands)."""
        layers: Any = list(self)
        norms_as_built = all(type(norm) is nn.BatchNorm2d for norm in layers[1::3])
        on_cpu = features.device.type == "cpu"
        if self.training or torch.is_grad_enabled() or not on_cpu or not norms_as_built:
            return super().forward(features)
        hidden = features
        for convolution, norm, activation in zip(*(layers[i::3] for i in range(3)), strict=True):
            scale = norm.weight / torch.sqrt(norm.running_var + norm.eps)
            bias = norm.bias - norm.running_mean * scale  # convolutions have none of their own
            weight = convolution.weight * scale[:, None, None, None]
            hidden = functional.conv2d(hidden, weight, bias, padding=convolution.padding)
            hidden = activation(hidden)
        return hidden


def convolutions(*widths: int) -> Convolutions:
    """3 x 3 convolutions with batch normalization and ReLU, from each width to the next."""
    layers: list[nn.Module] = []
    for before, after in itertools.pairwise(widths):
        layers += [
            # The normalization that follows has a bias of its own.
            nn.Conv2d(before, after, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
        ]
    return Convolutions(*layers)
