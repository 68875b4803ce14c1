"""BSSEval version 4: framewise scores of multichannel sources."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sksep.metrics._projection import (
    GramSolver,
    Spectra,
    SpectrumArray,
    correlate,
    gram_matrix,
)
from sksep.metrics._validation import (
    check_sources,
    decibel_ratio,
    is_silent,
)
from sksep.utils._arrays import DoubleArray
from sksep.utils._validation import check_integer


class BSSEvalFrameScores(NamedTuple):
    """Scores of `bss_eval_frames`.

    Attributes
    ----------
    sdr, isr, sir, sar : ndarray of shape (n_sources, n_frames)
        Source to distortion, image to spatial distortion, source to interference and source to
        artifacts ratios in dB; NaN in frames in which a reference or an estimate is silent.
    """

    sdr: DoubleArray
    isr: DoubleArray
    sir: DoubleArray
    sar: DoubleArray

    def median(self) -> BSSEvalFrameScores:
        """Median over the frames that have a score, shape (n_sources,); NaN if none has."""
        with warnings.catch_warnings():
            # A source without any score has been reported when the frames were computed.
            warnings.filterwarnings("ignore", "All-NaN slice encountered", RuntimeWarning)
            return BSSEvalFrameScores(*(np.nanmedian(ratio, axis=-1) for ratio in self))


def bss_eval_frames(
    references: npt.ArrayLike,
    estimates: npt.ArrayLike,
    *,
    window: int,
    hop: int,
    filter_length: int = 512,
) -> BSSEvalFrameScores:
    """BSSEval version 4: SDR, ISR, SIR and SAR of mono or multichannel sources per frame.

    The distortion filters are computed once, over the whole track, and then applied frame by
    frame [1]_. Unlike version 3, SDR forgives no filter: it is the ratio of the energies of the
    reference and of the plain difference, so the scores depend on the gain of the estimates.

    Parameters
    ----------
    references : array-like of shape (n_sources, n_channels, n_samples) or (n_sources, n_samples)
        The true sources, channels first.
    estimates : array-like of the shape of `references`
        The estimates, in the order of the references.
    window, hop : int
        Length of a frame and distance between the starts of frames, in samples. The SiSEC
        campaigns used one second for both, that is the sample rate. Frames that do not fit into
        the track are left out; a track that is shorter than `window` is one frame.
    filter_length : int, default=512
        Taps of the distortion filters.

    Returns
    -------
    BSSEvalFrameScores
        ``(sdr, isr, sir, sar)``, each of shape (n_sources, n_frames), in dB. A frame in which a
        reference or an estimate is silent is NaN for all sources. ``scores.median()`` is the median
        over frames, as in the campaigns.

    Raises
    ------
    ValueError
        If the shapes are wrong or differ, a waveform is empty or holds NaN or infinity, or
        `window`, `hop` or `filter_length` is below 1.
    TypeError
        If the dtype is not real, or if a length is no integer.

    Warns
    -----
    UserWarning
        If references or estimates are silent throughout, so that no frame has a score. They are
        named.

    Notes
    -----
    The scores agree with those of `museval` within 1e-3 dB if the samples determine them. ISR, SIR
    and SAR are poorly determined if an estimate has energy in a band in which the references have
    almost none, since filters of any gain then fit it. SDR is always well determined.

    References
    ----------
    .. [1] F.-R. Stöter, A. Liutkus and N. Ito, "The 2018 Signal Separation Evaluation Campaign",
       LVA/ICA 2018.

    Examples
    --------
    >>> import numpy as np
    >>> from sksep.metrics import bss_eval_frames
    >>> references = np.random.default_rng(0).standard_normal((2, 2, 8000))
    >>> scores = bss_eval_frames(references, 0.9 * references, window=2000, hop=2000)
    >>> scores.sdr.shape, scores.median().sdr.round(2)
    ((2, 4), array([20., 20.]))
    """
    true, estimated = check_sources(references, estimates, with_channels=True)
    window = check_integer("window", window, 1)
    hop = check_integer("hop", hop, 1)
    filter_length = check_integer("filter_length", filter_length, 1)

    n_sources, _, n_samples = true.shape
    window = min(window, n_samples)
    n_frames = (n_samples - window) // hop + 1
    scores = np.full((4, n_sources, n_frames), np.nan)

    names = [f"references[{index}]" for index in np.flatnonzero(is_silent(true))]
    names += [f"estimates[{index}]" for index in np.flatnonzero(is_silent(estimated))]
    if names:
        warnings.warn(
            f"No frame has scores, since {', '.join(names)} is silent throughout.",
            UserWarning,
            stacklevel=2,
        )
        return BSSEvalFrameScores(*scores)

    # One common scale keeps the energies in range and leaves the ratios alone.
    scale = np.abs(true).max()
    true, estimated = true / scale, estimated / scale
    all_filters, own_filters = _distortion_filters(true, estimated, filter_length)
    spectra = Spectra(window, filter_length)
    all_responses, own_responses = spectra.of(all_filters), spectra.of(own_filters)
    for frame in range(n_frames):
        true_frame = true[..., frame * hop : frame * hop + window]
        estimated_frame = estimated[..., frame * hop : frame * hop + window]
        if is_silent(true_frame).any() or is_silent(estimated_frame).any():
            continue
        scores[:, :, frame] = _frame_scores(
            spectra.of(true_frame),
            spectra.of(estimated_frame),
            all_responses,
            own_responses,
            spectra,
        )
    return BSSEvalFrameScores(*scores)


def _frame_scores(
    true: SpectrumArray,
    estimated: SpectrumArray,
    all_responses: SpectrumArray,
    own_responses: SpectrumArray,
    spectra: Spectra,
) -> list[list[float]]:
    """SDR, ISR, SIR and SAR of each source in one frame."""
    own = np.einsum("sck,scdk->sdk", true, own_responses)
    every = np.einsum("rck,rcsdk->sdk", true, all_responses)

    def ratios(target: SpectrumArray, distortion: SpectrumArray) -> list[float]:
        energies = (spectra.energy(part).sum(axis=-1) for part in (target, distortion))
        return [decibel_ratio(*pair) for pair in zip(*energies, strict=True)]

    return [
        ratios(true, estimated - true),
        ratios(true, own - true),
        ratios(own, every - own),
        ratios(every, estimated - every),
    ]


def _distortion_filters(
    references: DoubleArray, estimates: DoubleArray, filter_length: int
) -> tuple[DoubleArray, DoubleArray]:
    """Filters from references to every channel of the estimates.

    Returns
    -------
    all_filters : ndarray of shape (n_sources, n_channels, n_sources, n_channels, filter_length)
        From a channel of a reference to a channel of an estimate, given all references.
    own_filters : ndarray of shape (n_sources, n_channels, n_channels, filter_length)
        From a channel of the own reference to a channel of an estimate, given that one alone.
    """
    n_sources, n_channels, n_samples = references.shape
    size = n_sources * n_channels
    channels = references.reshape(size, n_samples)
    correlations = correlate(
        channels, np.concatenate([channels, estimates.reshape(size, n_samples)]), filter_length
    )
    gram = gram_matrix(correlations[:, :size])
    products = correlations[:, size:].transpose(0, 2, 1).reshape(size * filter_length, size)
    solver = GramSolver(gram)
    all_filters = solver.solve(products).reshape(size, filter_length, size)
    own_filters = np.empty((n_sources, n_channels, n_channels, filter_length))
    for source in range(n_sources):
        own = slice(source * n_channels * filter_length, (source + 1) * n_channels * filter_length)
        outputs = slice(source * n_channels, (source + 1) * n_channels)
        own_solver = solver.leading(own.stop) if source == 0 else GramSolver(gram[own, own])
        solution = own_solver.solve(products[own, outputs])
        own_filters[source] = solution.reshape(n_channels, filter_length, n_channels).transpose(
            0, 2, 1
        )
    return (
        all_filters.transpose(0, 2, 1).reshape(
            n_sources, n_channels, n_sources, n_channels, filter_length
        ),
        own_filters,
    )
