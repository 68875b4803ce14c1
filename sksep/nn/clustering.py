"""Networks that embed the bins of a spectrogram, so that bins of one source lie together."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional

from sksep.nn.recurrent import RecurrentBody


class Embeddings(NamedTuple):
    """Output of `ClusteringNetwork`.

    Attributes
    ----------
    embeddings : Tensor of shape (batch, n_frames, n_bands, embedding_dim)
        Unit vectors.
    """

    embeddings: Tensor


class EmbeddingsAndMasks(NamedTuple):
    """Output of `HybridNetwork`.

    Attributes
    ----------
    embeddings : Tensor of shape (batch, n_frames, n_bands, embedding_dim)
        Unit vectors.
    logits : Tensor of shape (batch, n_sources, n_frames, n_bands)
        Their softmax over the sources are the masks, vocals first.
    """

    embeddings: Tensor
    logits: Tensor


class ClusteringNetwork(nn.Module):
    """A recurrent body and an embedding per bin: a linear layer, tanh, and unit length.

    Parameters
    ----------
    body : RecurrentBody
        From spectrograms to a vector per frame.
    n_bands : int
        Bands of a spectrogram.
    embedding_dim : int
        Length of an embedding.

    References
    ----------
    J. Hershey et al., "Deep clustering: discriminative embeddings for segmentation and
    separation", ICASSP 2016.
    """

    def __init__(self, body: RecurrentBody, n_bands: int, embedding_dim: int = 20) -> None:
        super().__init__()
        self.body = body
        self.embedding = nn.Linear(body.n_features, n_bands * embedding_dim)
        self._shape = (n_bands, embedding_dim)

    def forward(self, spectrograms: Tensor) -> Embeddings | EmbeddingsAndMasks:
        """Embeddings of spectrograms (batch, 1, n_frames, n_bands)."""
        return Embeddings(self.embed(self.body(spectrograms)))

    def embed(self, hidden: Tensor) -> Tensor:
        """Embeddings (batch, n_frames, n_bands, embedding_dim) of what the body returned."""
        embeddings = self.embedding(hidden).unflatten(-1, self._shape)
        return functional.normalize(embeddings.tanh().float(), dim=-1)


class HybridNetwork(ClusteringNetwork):
    """A clustering network with a second head: a mask per source.

    Parameters
    ----------
    body, n_bands, embedding_dim
        As in `ClusteringNetwork`.
    n_sources : int
        Number of masks.

    References
    ----------
    Y. Luo et al., "Deep clustering and conventional networks for music separation: stronger
    together", ICASSP 2017.
    """

    def __init__(
        self, body: RecurrentBody, n_bands: int, embedding_dim: int = 20, n_sources: int = 2
    ) -> None:
        super().__init__(body, n_bands, embedding_dim)
        self.mask = nn.Linear(body.n_features, n_sources * n_bands)
        self.n_sources = n_sources

    def forward(self, spectrograms: Tensor) -> EmbeddingsAndMasks:
        """Embeddings and mask logits of spectrograms (batch, 1, n_frames, n_bands)."""
        hidden = self.body(spectrograms)
        return EmbeddingsAndMasks(self.embed(hidden), self.mask_logits(hidden))

    def mask_logits(self, hidden: Tensor) -> Tensor:
        """Logits (batch, n_sources, n_frames, n_bands) of what the body returned."""
        return self.mask(hidden).unflatten(-1, (self.n_sources, -1)).transpose(1, 2)
