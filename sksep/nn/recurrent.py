"""The recurrent body of the clustering networks."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

__all__ = ["RecurrentBody"]

CELLS = {"gru": nn.GRU, "lstm": nn.LSTM}


class RecurrentBody(nn.Module):
    """Bidirectional recurrent layers over the frames of a spectrogram.

    Parameters
    ----------
    n_bands : int
        Number of bands of a frame.
    hidden_size : int, default=300
        Number of units per direction in each layer.
    n_layers : int, default=4
        Number of recurrent layers, at least one.
    cell : {"gru", "lstm"}, default="gru"
        Kind of the layers.
    dropout : float, default=0.3
        Dropout probability between the layers and behind the last one, in [0, 1].
    n_convolutions : int, default=0
        Number of 3 x 3 convolutions with `n_filters` filters, batch normalization and ReLU before
        the recurrent layers. The last one returns to one channel, without ReLU.
    n_filters : int, default=16
        Number of filters of the convolutions.

    Attributes
    ----------
    n_features : int
        Length of the vector that comes out per frame, ``2 * hidden_size``.

    Raises
    ------
    KeyError
        If `cell` is unknown.

    Examples
    --------
    >>> import torch
    >>> from sksep.nn.recurrent import RecurrentBody
    >>> body = RecurrentBody(n_bands=40, hidden_size=8, n_layers=2, cell="lstm")
    >>> body(torch.zeros(2, 1, 25, 40)).shape
    torch.Size([2, 25, 16])
    """

    def __init__(
        self,
        n_bands: int,
        hidden_size: int = 300,
        n_layers: int = 4,
        cell: str = "gru",
        dropout: float = 0.3,
        n_convolutions: int = 0,
        n_filters: int = 16,
    ) -> None:
        super().__init__()
        self.n_features = 2 * hidden_size
        self.convolutions = _convolutions(n_convolutions, n_filters)
        self.recurrent = CELLS[cell](
            n_bands,
            int(hidden_size),  # torch takes no other integers
            int(n_layers),
            batch_first=True,
            # torch warns about dropout if there is only one layer.
            dropout=dropout if n_layers > 1 else 0.0,
            bidirectional=True,
        )
        self.dropout = nn.Dropout(dropout)

    def forward(self, spectrograms: Tensor) -> Tensor:
        """Turn each frame into a vector that depends on all frames.

        Parameters
        ----------
        spectrograms : Tensor of shape (batch, 1, n_frames, n_bands)
            Log power, normalized per band.

        Returns
        -------
        Tensor of shape (batch, n_frames, n_features)
            Outputs of both directions, one after the other.
        """
        frames = self.convolutions(spectrograms).squeeze(1)
        hidden, _ = self.recurrent(frames.contiguous())
        return self.dropout(hidden)


def _convolutions(n_convolutions: int, n_filters: int) -> nn.Sequential:
    widths = [1, *[n_filters] * (n_convolutions - 1), 1] if n_convolutions else [1]
    layers: list[nn.Module] = []
    for before, after in pairwise(widths):
        layers += [
            nn.Conv2d(before, after, kernel_size=3, padding=1, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
        ]
    # The last ReLU is left out: the input of the recurrent layers may be negative.
    return nn.Sequential(*layers[:-1])
