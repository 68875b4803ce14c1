"""Networks that embed the bins of a spectrogram, so that bins of one source lie together."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from sksep.nn.recurrent import RecurrentBody

__all__ = ["ClusteringNetwork", "Embeddings", "EmbeddingsAndMasks", "HybridNetwork"]


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
        Logits whose softmax over the sources gives the masks, vocals first.
    """

    embeddings: Tensor
    logits: Tensor


class ClusteringNetwork(nn.Module):
    """A recurrent body and an embedding per bin: a linear layer, tanh, and unit length.

    Trained by `sksep.nn.clustering_losses.deep_clustering` or a similar loss, the network puts
    bins of one source near to each other and those of different sources far apart [1]_, so that
    clustering them (by k-means, for instance) gives binary masks.

    Parameters
    ----------
    body : RecurrentBody
        Network that turns spectrograms into a vector per frame.
    n_bands : int
        Number of bands of a spectrogram, the same as that of `body`.
    embedding_dim : int, default=20
        Length of an embedding.

    See Also
    --------
    HybridNetwork : The same with a second head for masks.

    References
    ----------
    .. [1] J. Hershey et al., "Deep clustering: discriminative embeddings for segmentation and
       separation", ICASSP 2016.

    Examples
    --------
    >>> import torch
    >>> from sksep.nn.clustering import ClusteringNetwork
    >>> from sksep.nn.recurrent import RecurrentBody
    >>> body = RecurrentBody(n_bands=40, hidden_size=8, n_layers=1)
    >>> network = ClusteringNetwork(body, n_bands=40, embedding_dim=5)
    >>> network(torch.zeros(2, 1, 25, 40)).embeddings.shape
    torch.Size([2, 25, 40, 5])
    """

    def __init__(self, body: RecurrentBody, n_bands: int, embedding_dim: int = 20) -> None:
        super().__init__()
        self.body = body
        self.embedding = nn.Linear(body.n_features, n_bands * embedding_dim)
        self._shape = (n_bands, embedding_dim)

    def forward(self, spectrograms: Tensor) -> Embeddings | EmbeddingsAndMasks:
        """Embed the bins of spectrograms.

        Parameters
        ----------
        spectrograms : Tensor of shape (batch, 1, n_frames, n_bands)
            Log power, normalized per band.

        Returns
        -------
        Embeddings
            Unit vectors of shape (batch, n_frames, n_bands, embedding_dim).
        """
        return Embeddings(self.embed(self.body(spectrograms)))

    def embed(self, hidden: Tensor) -> Tensor:
        """Embed the bins, given the output of the body for their spectrograms.

        Parameters
        ----------
        hidden : Tensor of shape (batch, n_frames, body.n_features)
            Output of the body.

        Returns
        -------
        Tensor of shape (batch, n_frames, n_bands, embedding_dim)
            Unit vectors in single precision.
        """
        embeddings = self.embedding(hidden).unflatten(-1, self._shape)
        return functional.normalize(embeddings.tanh().float(), dim=-1)


class HybridNetwork(ClusteringNetwork):
    """A clustering network with a second head: a mask per source.

    Both heads are linear layers and share the body. The embeddings help to train it; the masks
    alone separate, without any clustering [1]_.

    Parameters
    ----------
    body : RecurrentBody
        Network that turns spectrograms into a vector per frame.
    n_bands : int
        Number of bands of a spectrogram, the same as that of `body`.
    embedding_dim : int, default=20
        Length of an embedding.
    n_sources : int, default=2
        Number of masks.

    See Also
    --------
    ClusteringNetwork : The same without masks.

    References
    ----------
    .. [1] Y. Luo et al., "Deep clustering and conventional networks for music separation: stronger
       together", ICASSP 2017.

    Examples
    --------
    >>> import torch
    >>> from sksep.nn.clustering import HybridNetwork
    >>> from sksep.nn.recurrent import RecurrentBody
    >>> body = RecurrentBody(n_bands=40, hidden_size=8, n_layers=1)
    >>> network = HybridNetwork(body, n_bands=40, embedding_dim=5)
    >>> embeddings, logits = network(torch.zeros(2, 1, 25, 40))
    >>> embeddings.shape, logits.shape
    (torch.Size([2, 25, 40, 5]), torch.Size([2, 2, 25, 40]))
    >>> masks = logits.softmax(dim=1)
    """

    def __init__(
        self, body: RecurrentBody, n_bands: int, embedding_dim: int = 20, n_sources: int = 2
    ) -> None:
        super().__init__(body, n_bands, embedding_dim)
        self.mask = nn.Linear(body.n_features, n_sources * n_bands)
        self.n_sources = n_sources

    def forward(self, spectrograms: Tensor) -> EmbeddingsAndMasks:
        """Embed the bins of spectrograms and estimate masks.

        Parameters
        ----------
        spectrograms : Tensor of shape (batch, 1, n_frames, n_bands)
            Log power, normalized per band.

        Returns
        -------
        EmbeddingsAndMasks
            Unit vectors of shape (batch, n_frames, n_bands, embedding_dim), and mask logits of
            shape (batch, n_sources, n_frames, n_bands).
        """
        hidden = self.body(spectrograms)
        return EmbeddingsAndMasks(self.embed(hidden), self.mask_logits(hidden))

    def mask_logits(self, hidden: Tensor) -> Tensor:
        """Estimate masks, given the output of the body for the spectrograms.

        Parameters
        ----------
        hidden : Tensor of shape (batch, n_frames, body.n_features)
            Output of the body.

        Returns
        -------
        Tensor of shape (batch, n_sources, n_frames, n_bands)
            Logits. Their softmax over the sources gives the masks.
        """
        return torch.stack(self.mask(hidden).chunk(self.n_sources, dim=-1), dim=1)
