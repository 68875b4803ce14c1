"""Least-squares projections of waveforms onto delayed copies of reference waveforms."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from functools import cache, wraps
from typing import ParamSpec, TypeVar

import numpy as np
import numpy.typing as npt
import scipy.fft
import scipy.linalg
from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped]

from sksep.utils._arrays import DoubleArray

# Only lags below the length of the filter are needed. Therefore sums of short FFTs, which fit into
# the cache of the processor, replace one long FFT per waveform.
_SHORT_FFT_LENGTH = 4096
_BLOCKS_AT_ONCE = 16
_EPSILON = float(np.finfo(np.float64).eps)
_LEAST_INCREASE = 16 * _EPSILON

P = ParamSpec("P")
R = TypeVar("R")
SpectrumArray = npt.NDArray[np.complex128]


def with_one_blas_thread(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function so that its linear algebra uses one thread.

    For matrices of a thousand rows, further threads hardly help. If other work keeps the processors
    busy, the threads wait for each other and are many times as slow.
    """

    @wraps(function)
    def limited(*args: P.args, **kwargs: P.kwargs) -> R:
        with _threadpools().limit(limits=1, user_api="blas"):
            return function(*args, **kwargs)

    return limited


@cache
def _threadpools() -> ThreadpoolController:
    return ThreadpoolController()


def correlate(references: DoubleArray, others: DoubleArray, n_lags: int) -> DoubleArray:
    """Correlations ``sum_t references[i, t] * others[j, t + lag]``.

    Parameters
    ----------
    references : ndarray of shape (n_references, n_samples)
    others : ndarray of shape (n_others, n_samples)
    n_lags : int

    Returns
    -------
    ndarray of shape (n_references, n_others, n_lags)
        Lags 0 to n_lags - 1.
    """
    n_samples = references.shape[-1]
    n_fft = scipy.fft.next_fast_len(
        min(n_samples + n_lags - 1, max(_SHORT_FFT_LENGTH, 4 * n_lags)), real=True
    )
    step = n_fft - n_lags + 1
    n_blocks = -(-n_samples // step)
    cross_spectra = np.zeros((len(references), len(others), n_fft // 2 + 1), np.complex128)
    for first in range(0, n_blocks, _BLOCKS_AT_ONCE):
        count = min(_BLOCKS_AT_ONCE, n_blocks - first)
        # Every block of a reference meets the same samples of the others and what follows them.
        left = scipy.fft.rfft(_blocks(references, first, count, step, step), n_fft)
        right = scipy.fft.rfft(_blocks(others, first, count, step, n_fft), n_fft)
        cross_spectra += np.einsum("ibk,jbk->ijk", left.conj(), right)
    correlations: DoubleArray = scipy.fft.irfft(cross_spectra, n_fft)[..., :n_lags]
    return correlations


def _blocks(waveforms: DoubleArray, first: int, count: int, step: int, length: int) -> DoubleArray:
    """Blocks of `length` samples every `step`, zero-padded: (n_waveforms, count, length)."""
    piece = waveforms[:, first * step : (first + count - 1) * step + length]
    missing = (count - 1) * step + length - piece.shape[1]
    if missing:
        piece = np.pad(piece, ((0, 0), (0, missing)))
    return np.lib.stride_tricks.sliding_window_view(piece, length, axis=1)[:, ::step]


def gram_matrix(correlations: DoubleArray) -> DoubleArray:
    """Inner products of all delayed references, block Toeplitz.

    Parameters
    ----------
    correlations : ndarray of shape (n_references, n_references, n_lags)
        From `correlate(references, references, n_lags)`.

    Returns
    -------
    ndarray of shape (n_references * n_lags, n_references * n_lags)
    """
    n_references, _, n_lags = correlations.shape
    gram = np.empty((n_references, n_lags, n_references, n_lags))
    for i in range(n_references):
        for j in range(n_references):
            gram[i, :, j] = scipy.linalg.toeplitz(correlations[i, j], correlations[j, i])
    return gram.reshape(n_references * n_lags, n_references * n_lags)


class GramSolver:
    """Solves for filters given a Gram matrix, which may be singular to working precision.

    Band-limited recordings, and references that are filtered copies of each other, make it
    singular. The diagonal is then increased just enough for a Cholesky factorization, relative to
    each reference, so that quiet references count as well.

    Parameters
    ----------
    gram : ndarray of shape (size, size)
    """

    def __init__(self, gram: DoubleArray) -> None:
        # A silent channel gets filters of zero with any diagonal.
        diagonal = np.where(gram.diagonal() > 0, gram.diagonal(), 1.0)
        # The transpose equals the matrix and has the memory layout of LAPACK.
        raised = gram.T
        increase = 0.0
        while True:  # ends at the latest when the diagonal dominates the matrix
            try:
                self._factor, _ = scipy.linalg.cho_factor(raised, lower=True, check_finite=False)
                break
            except scipy.linalg.LinAlgError:
                increase = 4 * increase or _LEAST_INCREASE
                raised = gram.T.copy(order="K")
                np.fill_diagonal(raised, (1 + increase) * diagonal)

    def leading(self, size: int) -> GramSolver:
        """Solver for the first `size` rows and columns, whose factor is already known."""
        solver = copy(self)
        solver._factor = self._factor[:size, :size]
        return solver

    def solve(self, right: DoubleArray) -> DoubleArray:
        """Filters with the inner products `right`, of the same shape (size, n)."""
        filters: DoubleArray = scipy.linalg.cho_solve(
            (self._factor, True), right, check_finite=False
        )
        return filters


def rounding_error(filters: DoubleArray, reference_energy: float) -> float:
    """Estimated error of the energy of filtered references as computed from correlations.

    Correlations have errors of a few units of rounding relative to the energies of both waveforms.
    """
    magnitude = np.abs(filters).sum() * np.sqrt(filters @ filters)
    return float(16 * _EPSILON * magnitude * reference_energy)


class Spectra:
    """Zero-padded spectra in which filtering is a product and energies are exact.

    Unlike a difference of correlations, the energy of a residual spectrum keeps its relative
    precision even if the residual is very small.
    """

    def __init__(self, n_samples: int, filter_length: int) -> None:
        self.n_fft = scipy.fft.next_fast_len(n_samples + filter_length - 1, real=True)

    def of(self, waveforms: DoubleArray) -> SpectrumArray:
        """Spectra along the last axis."""
        spectra: SpectrumArray = scipy.fft.rfft(waveforms, self.n_fft)
        return spectra

    def energy(self, spectra: SpectrumArray) -> DoubleArray:
        """Energy of the waveforms over the last axis (Parseval)."""
        power = spectra.real**2 + spectra.imag**2
        # All bins stand for two, except for the first and, if the length is even, the last.
        single = power[..., 0] + (power[..., -1] if self.n_fft % 2 == 0 else 0.0)
        energy: DoubleArray = (2 * power.sum(axis=-1) - single) / self.n_fft
        return energy
