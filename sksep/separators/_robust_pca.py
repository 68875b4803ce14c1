"""RobustPCASeparator: separates vocals as the sparse part of the spectrogram."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sksep.base._batch import TrackRecord
from sksep.separators._spectral_masks import BlockwiseSeparator, document_blocks, share
from sksep.utils._arrays import FloatArray
from sksep.utils._parameters import parameter
from sksep.utils._validation import choice, integer, number

# Growth of the penalty in each iteration, and its largest value, relative to the first.
_GROWTH = 1.5
_LARGEST_PENALTY = 1e7


@document_blocks
@dataclass(kw_only=True, eq=False, repr=False)
class RobustPCASeparator(BlockwiseSeparator):
    """Separate vocals as the sparse part of the spectrogram (robust PCA).

    The magnitudes in the bands of the front end are split into a matrix of low rank, the
    accompaniment, and a sparse one, the vocals [1]_, by inexact augmented Lagrange multipliers
    [2]_. Nothing is learned.

    Parameters
    ----------
    sparsity : float, default=1.0
        Weight of the sparse part, as a multiple of ``1 / sqrt(max(n_frames, n_bands))``. The
        larger it is, the less is taken for vocals.
    mask : {"soft", "binary"}, default="soft"
        Kind of the mask: the share of the sparse part in the power, or 1 where it is larger.
    max_iter : int, default=100
        Largest number of iterations.
    tol : float, default=1e-6
        Share of the magnitudes outside of both parts at which the iterations end.
    BLOCK_PARAMETERS

    Attributes
    ----------
    front_end_ : FrontEnd
        Settings of the `MelChunker` that it was fitted with.

    References
    ----------
    .. [1] P.-S. Huang, S. D. Chen, P. Smaragdis and M. Hasegawa-Johnson, "Singing-voice
       separation from monaural recordings using robust principal component analysis",
       ICASSP 2012.
    .. [2] Z. Lin, M. Chen and Y. Ma, "The augmented Lagrange multiplier method for exact recovery
       of corrupted low-rank matrices", 2010.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sksep import MelChunker, RobustPCASeparator
    >>> from sksep.datasets import make_songs
    >>> songs = make_songs(2, duration=2.0, random_state=0)
    >>> pipeline = make_pipeline(MelChunker(), RobustPCASeparator()).fit(songs.mixtures)
    >>> pipeline.predict(songs.mixtures)[0].shape
    (32000,)
    """

    sparsity: float = parameter(1.0, number(0.0, include_low=False))
    mask: str = parameter("soft", choice("soft", "binary"))
    max_iter: int = parameter(100, integer(1, 1000))
    tol: float = parameter(1e-6, number(0.0))

    def _block_mask(
        self, magnitudes: FloatArray, record: TrackRecord, frames: slice
    ) -> npt.NDArray[Any]:
        low_rank, sparse = robust_pca(
            magnitudes, sparsity=self.sparsity, max_iter=self.max_iter, tol=self.tol
        )
        if self.mask == "binary":
            return np.abs(sparse) > np.abs(low_rank)
        return share(np.square(sparse), np.square(low_rank))


def robust_pca(
    matrix: npt.NDArray[Any], *, sparsity: float = 1.0, max_iter: int = 100, tol: float = 1e-6
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Split a matrix into one of low rank and a sparse one.

    They minimize ``nuclear_norm(low_rank) + weight * abs(sparse).sum()``, and their sum is the
    matrix. The weight is ``sparsity / sqrt(max(matrix.shape))``.
    """
    matrix = matrix.astype(np.float64)
    low_rank, sparse = np.zeros_like(matrix), np.zeros_like(matrix)
    norm = np.linalg.norm(matrix)
    if norm == 0.0:
        return low_rank, sparse
    weight = sparsity / np.sqrt(max(matrix.shape))
    spectral_norm = float(np.linalg.norm(matrix, 2))
    multipliers = matrix / max(spectral_norm, np.abs(matrix).max() / weight)
    first_penalty = penalty = 1.25 / spectral_norm
    for _ in range(max_iter):
        low_rank = _shrink_singular_values(matrix - sparse + multipliers / penalty, 1.0 / penalty)
        rest = matrix - low_rank + multipliers / penalty
        sparse = np.sign(rest) * np.maximum(np.abs(rest) - weight / penalty, 0.0)
        unexplained = matrix - low_rank - sparse
        multipliers = multipliers + penalty * unexplained
        penalty = min(penalty * _GROWTH, first_penalty * _LARGEST_PENALTY)
        if np.linalg.norm(unexplained) <= tol * norm:
            break
    return low_rank, sparse


def _shrink_singular_values(
    matrix: npt.NDArray[np.float64], threshold: float
) -> npt.NDArray[np.float64]:
    """The matrix with its singular values reduced by a threshold.

    It uses the eigenvectors of the smaller Gram matrix, which is many times faster than to
    decompose a long matrix. Rounding errors concern only values below the threshold.
    """
    from scipy.linalg import eigh

    if matrix.shape[0] < matrix.shape[1]:
        return _shrink_singular_values(matrix.T, threshold).T
    squares, vectors = eigh(matrix.T @ matrix)
    values = np.sqrt(np.maximum(squares, 0.0))
    kept = values > threshold
    vectors = vectors[:, kept]
    gains = 1.0 - threshold / values[kept]
    return ((matrix @ vectors) * gains) @ vectors.T
