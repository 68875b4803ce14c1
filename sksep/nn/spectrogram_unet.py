"""U-Net on magnitude spectrograms: the network of Spleeter, of any width."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

# Filters of the six encoder blocks of Spleeter.
SPLEETER_FILTERS = (16, 32, 64, 128, 256, 512)

_KERNEL_SIZE = 5
_N_DROPOUTS = 3


class SpectrogramUNet(nn.Module):
    """Estimate a mask for each channel of a magnitude spectrogram.

    Six convolutions of stride 2 lead down, six transposed ones up. Decoder blocks see the outputs
    of the convolutions, before batch normalization and activation, as skip connections. There is
    neither between the deepest convolution and the first transposed one.

    Parameters
    ----------
    n_channels : int, default=2
        Number of channels of the spectrogram.
    n_filters : sequence of 6 int, default=(16, 32, 64, 128, 256, 512)
        Filters of the encoder blocks.
    dropout : float, default=0.5
        Dropout probability after each of the first three decoder blocks.
    n_decoder_filters : sequence of 5 int, default=None
        Filters of the decoder blocks but the last, which has one. None takes those of the encoder
        but the last, in reverse order.
    n_bins : int, default=1024
        Number of bins that the network was trained with, a multiple of 64. It takes other numbers,
        too.
    outer_stride : {1, 2}, default=2
        Stride along the frames of the outermost convolutions. With 1, frames that are twice as far
        apart give the inner layers the same resolution.

    References
    ----------
    .. [1] R. Hennequin, A. Khlif, F. Voituret, M. Moussallam, "Spleeter: a fast and efficient music
       source separation tool with pre-trained models", Journal of Open Source Software 5(50), 2020.
    .. [2] A. Jansson et al., "Singing voice separation with deep U-Net convolutional networks",
       ISMIR 2017.

    Examples
    --------
    >>> import torch
    >>> from sksep.nn.spectrogram_unet import SpectrogramUNet
    >>> network = SpectrogramUNet(n_filters=(2, 2, 4, 4, 4, 8)).eval()
    >>> network(torch.rand(1, 2, 64, 128)).shape
    torch.Size([1, 2, 64, 128])
    """

    def __init__(
        self,
        n_channels: int = 2,
        n_filters: Sequence[int] = SPLEETER_FILTERS,
        dropout: float = 0.5,
        n_decoder_filters: Sequence[int] | None = None,
        n_bins: int = 1024,
        outer_stride: int = 2,
    ) -> None:
        super().__init__()
        if outer_stride not in (1, 2):
            raise ValueError(f"outer_stride must be 1 or 2, got {outer_stride!r}.")
        if n_bins < 64 or n_bins % 64:
            raise ValueError(f"n_bins must be a multiple of 64, got {n_bins!r}.")
        self.n_bins, self.outer_stride = n_bins, outer_stride
        n_levels = len(SPLEETER_FILTERS)
        if len(n_filters) != n_levels:
            raise ValueError(f"n_filters must have {n_levels} numbers: {n_filters!r}.")
        skipped = n_filters[-2::-1]
        decoder = skipped if n_decoder_filters is None else n_decoder_filters
        if len(decoder) != n_levels - 1:
            raise ValueError(f"n_decoder_filters must have {n_levels - 1} numbers: {decoder!r}.")
        # Along the frames and along the bins.
        strides = [(outer_stride, 2), *[(2, 2)] * (n_levels - 1)]
        self.down = nn.ModuleList(
            _Down(n_in, n_out, stride)
            for n_in, n_out, stride in zip(
                (n_channels, *n_filters[:-1]), n_filters, strides, strict=True
            )
        )
        self.down_norm = nn.ModuleList(_batch_norm(n) for n in n_filters[:-1])
        n_outs = (*decoder, 1)
        n_ins = (n_filters[-1], *map(sum, zip(skipped, decoder, strict=True)))
        self.up = nn.ModuleList(
            _Up(n_in, n_out, stride)
            for n_in, n_out, stride in zip(n_ins, n_outs, reversed(strides), strict=True)
        )
        self.up_norm = nn.ModuleList(_batch_norm(n) for n in n_outs)
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Conv2d(1, n_channels, kernel_size=4, dilation=(outer_stride, 2))

    def forward(self, magnitudes: Tensor) -> Tensor:
        """Estimate masks.

        Parameters
        ----------
        magnitudes : Tensor of shape (batch, n_channels, n_frames, n_bins)
            Magnitudes. The numbers of frames and bins are multiples of 64.

        Returns
        -------
        Tensor
            Masks in [0, 1], in the shape of the magnitudes.
        """
        skips = []
        x = magnitudes
        for level, convolution in enumerate(self.down):
            x = convolution(x)
            skips.append(x)
            if level < len(self.down_norm):
                x = F.leaky_relu(self.down_norm[level](x), 0.2)
        skips.pop()
        for level, (convolution, norm) in enumerate(zip(self.up, self.up_norm, strict=True)):
            if level:
                x = torch.cat([skips.pop(), x], dim=1)
            x = norm(F.relu(convolution(x)))
            if level < _N_DROPOUTS:
                x = self.dropout(x)
        early, late = (3, 3) if self.outer_stride == 2 else (1, 2)
        return torch.sigmoid(self.head(F.pad(x, (3, 3, early, late))))


class _Down(nn.Conv2d):
    """A convolution whose output is shorter than its input by its stride."""

    def __init__(self, n_in: int, n_out: int, stride: tuple[int, int]) -> None:
        super().__init__(n_in, n_out, _KERNEL_SIZE, stride)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve with zeros around."""
        return super().forward(F.pad(x, (1, 4 - self.stride[1], 1, 4 - self.stride[0])))


class _Up(nn.ConvTranspose2d):
    """A transposed convolution whose output is longer than its input by its stride."""

    def __init__(self, n_in: int, n_out: int, stride: tuple[int, int]) -> None:
        padding = (3 - stride[0], 3 - stride[1])
        super().__init__(n_in, n_out, _KERNEL_SIZE, stride, padding)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """Convolve; a single filter by a matrix product, which is four times as fast."""
        n_frames, n_bins = x.shape[-2] * self.stride[0], x.shape[-1] * self.stride[1]
        if self.out_channels > 1:
            output = super().forward(x)
        else:
            columns = torch.einsum("iok,bin->bokn", self.weight.flatten(2), x.flatten(2))
            assert self.bias is not None
            # There is one row or column more where the stride is 2.
            output = self.bias[:, None, None] + F.fold(
                columns.flatten(1, 2),
                (n_frames + self.stride[0] - 1, n_bins + self.stride[1] - 1),
                _KERNEL_SIZE,
                padding=(3 - self.stride[0], 3 - self.stride[1]),
                stride=(self.stride[0], self.stride[1]),
            )
        return output[..., :n_frames, :n_bins]


def _batch_norm(n_channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(n_channels, eps=1e-3, momentum=0.01)
