"""The singing-voice U-Net of Jansson et al. (2017)."""

from __future__ import annotations

from torch import Tensor, nn

from sksep.nn.unet import crop, join, joined_width, pad_to_multiple

__all__ = ["SingingVoiceUNet"]


class SingingVoiceUNet(nn.Module):
    """U-Net of strided convolutions, from spectrograms to mask logits.

    The encoder has 5 x 5 convolutions of stride 2 with batch normalization and leaky ReLU (0.2),
    the decoder transposed ones with batch normalization and ReLU, the first three with dropout.
    Their features are concatenated, as in the paper [1]_, or added. Any number of frames and bands
    works, as in `sksep.nn.unet.UNet`.

    Parameters
    ----------
    in_channels, out_channels : int, default=1
        Number of spectrograms that go in, and of masks that come out.
    n_filters : int, default=16
        Number of filters of the first level; each level below has twice as many.
    n_levels : int, default=6
        Number of times that the resolution is halved (6 in the paper), at least one.
    dropout : float, default=0.5
        Dropout probability of the first three levels of the decoder, in [0, 1].
    skip : {"concatenate", "add"}, default="concatenate"
        How the features of the encoder join those of the decoder.

    Raises
    ------
    ValueError
        If `skip` is unknown.

    References
    ----------
    .. [1] A. Jansson et al., "Singing voice separation with deep U-Net convolutional networks",
       ISMIR 2017.

    Examples
    --------
    >>> import torch
    >>> from sksep.nn.singing_voice_unet import SingingVoiceUNet
    >>> network = SingingVoiceUNet(n_filters=2)
    >>> network(torch.zeros(2, 1, 50, 40)).shape
    torch.Size([2, 1, 50, 40])
    """

    def __init__(
        self,
        in_channels: int = 1,
        out_channels: int = 1,
        n_filters: int = 16,
        n_levels: int = 6,
        dropout: float = 0.5,
        skip: str = "concatenate",
    ) -> None:
        super().__init__()
        widths = [n_filters * 2**level for level in range(n_levels)]
        self.n_levels = n_levels
        self.skip = skip
        self.encoders = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(before, after, kernel_size=5, stride=2, padding=2, bias=False),
                nn.BatchNorm2d(after),
                nn.LeakyReLU(0.2, inplace=True),
            )
            for before, after in zip([in_channels, *widths], widths, strict=False)
        )
        self.decoders = nn.ModuleList()
        below = widths[-1]
        for index, width in enumerate([*widths[-2::-1], n_filters]):
            self.decoders.append(
                nn.Sequential(
                    _upsample(below, width),
                    nn.BatchNorm2d(width),
                    nn.ReLU(inplace=True),
                    nn.Dropout2d(dropout if index < 3 else 0.0),
                )
            )
            below = joined_width(width, skip)
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
        hidden, size = pad_to_multiple(features, 2**self.n_levels)
        skips = []
        for encoder in self.encoders:
            hidden = encoder(hidden)
            skips.append(hidden)
        hidden = skips.pop()
        for decoder in self.decoders:
            hidden = decoder(hidden)
            if skips:
                hidden = join(skips.pop(), hidden, self.skip)
        return crop(self.head(hidden), size)


def _upsample(in_channels: int, out_channels: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(
        in_channels, out_channels, kernel_size=5, stride=2, padding=2, output_padding=1, bias=False
    )
