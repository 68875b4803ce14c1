"""BSSEval version 3 on whole tracks."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.optimize

from sksep.metrics._projection import (
    GramSolver,
    Spectra,
    correlate,
    gram_matrix,
    rounding_error,
    with_one_blas_thread,
)
from sksep.metrics._validation import (
    check_sources,
    decibel_ratio,
    is_silent,
)
from sksep.utils._arrays import BoolArray, DoubleArray, IntArray
from sksep.utils._validation import check_integer

# An energy is known if its rounding error is below this share of it (4e-5 dB).
_PRECISION = 1e-5


class BSSEvalScores(NamedTuple):
    """Scores of `bss_eval`, one value per reference.

    Attributes
    ----------
    sdr, sir, sar : ndarray of shape (n_sources,)
        Source to distortion, interference and artifacts ratios in dB.
    permutation : ndarray of shape (n_sources,)
        Index of the estimate that each reference was scored with.
    """

    sdr: DoubleArray
    sir: DoubleArray
    sar: DoubleArray
    permutation: IntArray


def bss_eval(
    references: npt.ArrayLike,
    estimates: npt.ArrayLike,
    *,
    filter_length: int = 512,
    compute_permutation: bool = False,
) -> BSSEvalScores:
    """BSSEval version 3 (sources): SDR, SIR and SAR of mono sources over a whole track.

    The measures are those of [1]_. Each estimate is split into a part that a filter of
    `filter_length` taps makes of its own reference (the target), a part that such filters make of
    the other references (interference), and the rest (artifacts). Therefore the scores do not
    penalize short filters, gains and delays.

    Parameters
    ----------
    references : array-like of shape (n_sources, n_samples)
        The true sources, in any scale: the scores do not depend on it.
    estimates : array-like of shape (n_sources, n_samples)
        The estimated sources.
    filter_length : int, default=512
        Taps of the filters. 512 is the convention at every sample rate.
    compute_permutation : bool, default=False
        Whether to assign estimates to references by the highest mean SIR. Otherwise
        ``estimates[i]`` belongs to ``references[i]``.

    Returns
    -------
    BSSEvalScores
        ``(sdr, sir, sar, permutation)``, each of shape (n_sources,), the ratios in dB. With one
        source there is no interference, and SIR is infinite. All three ratios of a silent reference
        or estimate are NaN.

    Raises
    ------
    ValueError
        If the shapes are not two-dimensional or differ, a waveform is empty or holds NaN or
        infinity, or `filter_length` is below 1.
    TypeError
        If the dtype is not real or `filter_length` is no integer.

    Warns
    -----
    UserWarning
        If references or estimates are silent. They are named. A silent reference is left out of the
        interference of the other sources.

    See Also
    --------
    sdr : SDR of one track, without the other sources.
    bss_eval_frames : Version 4, framewise.

    Notes
    -----
    The scores agree with those of `mir_eval` within 1e-3 dB if the samples determine them. They do
    not beyond about 130 dB (an estimate that equals its reference), nor if delayed references are
    linearly dependent to working precision, as in a strictly band-limited recording. The scores of
    `mir_eval` then vary by tenths of a dB when zeros are appended to all waveforms, while those of
    this function are nearer to a projection by orthogonalization.

    References
    ----------
    .. [1] E. Vincent, R. Gribonval and C. Févotte, "Performance measurement in blind audio source
       separation", IEEE Trans. Audio, Speech and Language Processing 14(4), 2006.

    Examples
    --------
    >>> import numpy as np
    >>> from sksep.metrics import bss_eval
    >>> references = np.random.default_rng(0).standard_normal((2, 8000))
    >>> estimates = references + 0.1 * references[::-1]
    >>> scores = bss_eval(references, estimates)
    >>> scores.sdr.round(), scores.permutation
    (array([20., 20.]), array([0, 1]))
    """
    true, estimated = check_sources(references, estimates)
    filter_length = check_integer("filter_length", filter_length, 1)

    n_sources = len(true)
    silent_references, silent_estimates = is_silent(true), is_silent(estimated)
    if silent_references.any() or silent_estimates.any():
        names = [f"references[{index}]" for index in np.flatnonzero(silent_references)]
        names += [f"estimates[{index}]" for index in np.flatnonzero(silent_estimates)]
        warnings.warn(
            f"Silent waveforms have no SDR, SIR and SAR; NaN for {', '.join(names)}.",
            UserWarning,
            stacklevel=2,
        )

    # scores[:, i, j] holds the three ratios of reference i and estimate j.
    scores = np.full((3, n_sources, n_sources), np.nan)
    audible = np.outer(~silent_references, ~silent_estimates)
    pairs = audible if compute_permutation else audible & np.eye(n_sources, dtype=bool)
    if pairs.any():
        rows, columns = np.flatnonzero(~silent_references), np.flatnonzero(pairs.any(axis=0))
        audible_pairs = pairs[np.ix_(rows, columns)]
        # Lists of rows, which are views: arrays of them would be copies.
        audible_true = [true[row] for row in rows]
        audible_estimated = [estimated[column] for column in columns]
        scores[np.ix_(np.arange(3), rows, columns)] = _scores_of_pairs(
            audible_true, audible_estimated, audible_pairs, filter_length
        )
    permutation = np.arange(n_sources)
    if compute_permutation:
        # Rows and columns of silent waveforms are constant, so that they decide nothing.
        sir = np.nan_to_num(scores[1], nan=0.0, posinf=1e3, neginf=-1e3)
        _, permutation = scipy.optimize.linear_sum_assignment(sir, maximize=True)
    sdr, sir, sar = scores[:, np.arange(n_sources), permutation]
    return BSSEvalScores(sdr, sir, sar, permutation)


def own_source_sdr(
    reference: DoubleArray, estimates: DoubleArray, filter_length: int
) -> DoubleArray:
    """Version 3 SDR of estimates of one audible source. It does not depend on other sources.

    Parameters
    ----------
    reference : ndarray of shape (n_samples,)
    estimates : ndarray of shape (n_estimates, n_samples)
    filter_length : int

    Returns
    -------
    ndarray of shape (n_estimates,)
        SDR in dB; NaN for a silent estimate.
    """
    sdr = np.full(len(estimates), np.nan)
    audible = np.flatnonzero(~is_silent(estimates))
    if len(audible):
        every_pair = np.ones((1, len(audible)), dtype=bool)
        audible_estimates = [estimates[index] for index in audible]
        sdr[audible] = _scores_of_pairs([reference], audible_estimates, every_pair, filter_length)[
            0, 0
        ]
    return sdr


@with_one_blas_thread
def _scores_of_pairs(
    references: Sequence[DoubleArray],
    estimates: Sequence[DoubleArray],
    pairs: BoolArray,
    filter_length: int,
) -> DoubleArray:
    """SDR, SIR and SAR, shape (3, n_references, n_estimates); NaN if `pairs` is False.

    All waveforms are audible. With A the delayed references and e an estimate, the filters c
    solve ``A'A c = A'e``, and all energies are quadratic forms of A'A, A'e and e'e.
    """
    # The scores do not depend on scale, and unit peaks keep the energies in range.
    n_references, n_estimates = pairs.shape
    waveforms = np.stack([*references, *estimates])
    waveforms /= np.maximum(waveforms.max(axis=1), -waveforms.min(axis=1))[:, None]
    true, estimated = waveforms[:n_references], waveforms[n_references:]
    correlations = correlate(true, waveforms, filter_length)
    products = correlations[:, n_references:].transpose(1, 0, 2).reshape(n_estimates, -1)
    gram = gram_matrix(correlations[:, :n_references])
    solver = GramSolver(gram)
    filters = solver.solve(products.T).T

    scores = np.full((3, n_references, n_estimates), np.nan)
    filtered: _FilteredEnergies | None = None
    for i in range(n_references):
        own = slice(i * filter_length, (i + 1) * filter_length)
        own_solver = solver.leading(filter_length) if i == 0 else GramSolver(gram[own, own])
        for j in np.flatnonzero(pairs[i]):
            own_filters = np.zeros_like(filters[j])
            own_filters[own] = own_solver.solve(products[j, own])
            if n_references == 1:  # there is no interference, not even by rounding errors
                own_filters = filters[j]
            energies = _correlated_energies(
                gram, products[j], estimated[j] @ estimated[j], own_filters, filters[j]
            )
            if energies is None:
                filtered = filtered or _FilteredEnergies(true, filter_length)
                energies = filtered(estimated[j], own_filters, filters[j])
            scores[:, i, j] = (
                decibel_ratio(energies.target, energies.distortion),
                decibel_ratio(energies.target, energies.interference),
                decibel_ratio(energies.total, energies.artifacts),
            )
    return scores


class _Energies(NamedTuple):
    """Energies of the parts of an estimate."""

    target: float  # own reference, filtered
    total: float  # all references, filtered
    distortion: float  # estimate - target
    interference: float  # total - target
    artifacts: float  # estimate - total


def _correlated_energies(
    gram: DoubleArray,
    product: DoubleArray,
    energy: float,
    own_filters: DoubleArray,
    all_filters: DoubleArray,
) -> _Energies | None:
    """Energies from correlations alone; None if rounding errors are too large."""
    difference = all_filters - own_filters
    own_image, difference_image = (gram @ np.stack([own_filters, difference], axis=1)).T
    target = own_filters @ own_image
    total = all_filters @ (own_image + difference_image)
    energies = _Energies(
        target=target,
        total=total,
        distortion=energy - 2 * own_filters @ product + target,
        interference=difference @ difference_image,
        artifacts=energy - 2 * all_filters @ product + total,
    )
    loudest = gram.diagonal().max()
    own_error, all_error, difference_error = (
        rounding_error(filters, loudest) for filters in (own_filters, all_filters, difference)
    )
    estimate_error = rounding_error(np.ones(1), energy)
    errors = _Energies(
        target=own_error,
        total=all_error,
        distortion=estimate_error + own_error,
        interference=difference_error,
        artifacts=estimate_error + all_error,
    )
    known = all(error <= _PRECISION * value for error, value in zip(errors, energies, strict=True))
    return energies if known else None


class _FilteredEnergies:
    """The same energies from filtered waveforms, which is slower and always precise."""

    def __init__(self, references: DoubleArray, filter_length: int) -> None:
        self._spectra = Spectra(references.shape[-1], filter_length)
        self._references = self._spectra.of(references)

    def __call__(
        self, estimate: DoubleArray, own_filters: DoubleArray, all_filters: DoubleArray
    ) -> _Energies:
        estimated = self._spectra.of(estimate)
        own, every = (
            (self._references * self._spectra.of(filters.reshape(len(self._references), -1))).sum(
                axis=0
            )
            for filters in (own_filters, all_filters)
        )
        parts = (own, every, estimated - own, every - own, estimated - every)
        return _Energies(*(float(self._spectra.energy(part)) for part in parts))
