"""Spectrograms, phase reconstruction and scores, beside librosa, mir_eval and others."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import librosa
import mir_eval
import numpy as np
import scipy.fft
import torch

from _lib.jobs import SAMPLE_RATE, Job, Jobs, Work, music
from _lib.references import fast_bss_eval, museval
from sksep import MelChunker
from sksep.metrics import bss_eval, bss_eval_frames
from sksep.metrics._projection import _SHORT_FFT_LENGTH
from sksep.nn import spectral
from sksep.nn.griffin_lim import griffin_lim

# Taps of the filters of BSSEval by convention.
FILTER_LENGTH = 512


def front_end(n_fft: int, hop_length: int, n_mels: int, seconds: float, n_tracks: int) -> Jobs:
    """From a waveform to its log-mel spectrogram."""
    waveform = music(seconds)
    filter_bank = spectral.mel_filter_bank(SAMPLE_RATE, n_fft, n_mels)

    def ours() -> np.ndarray:
        return spectral.log_mel(torch.from_numpy(waveform), filter_bank, n_fft, hop_length).numpy()

    def reference() -> np.ndarray:
        return _log_mel_by_librosa(waveform, n_fft, hop_length, n_mels)

    return Jobs(
        {"sksep": ours},
        {"librosa": reference},
        _work_of_front_end(n_fft, hop_length, n_mels, len(waveform)),
        lambda a, b: {"largest difference, dB": float(np.abs(a - b).max())},
    )


def chunks(n_fft: int, hop_length: int, n_mels: int, seconds: float, n_tracks: int) -> Jobs:
    """From tracks to overlapping log-mel chunks, checks and copies included, by `MelChunker`."""
    tracks = [music(seconds)] * n_tracks
    chunker = MelChunker(n_fft=n_fft, hop_length=hop_length, n_mels=n_mels)

    def ours() -> list[np.ndarray]:
        return [record.chunks for record in chunker.transform(tracks)]

    def reference() -> list[np.ndarray]:
        return [_log_mel_by_librosa(track, n_fft, hop_length, n_mels) for track in tracks]

    work = _work_of_front_end(n_fft, hop_length, n_mels, n_tracks * len(tracks[0]))
    return Jobs({"sksep": ours}, {"librosa": reference}, work)


def _log_mel_by_librosa(
    waveform: np.ndarray, n_fft: int, hop_length: int, n_mels: int
) -> np.ndarray:
    power = librosa.feature.melspectrogram(
        y=waveform,
        sr=SAMPLE_RATE,
        n_fft=n_fft,
        hop_length=hop_length,
        n_mels=n_mels,
        pad_mode="constant",
    )
    return librosa.power_to_db(power, top_db=None).T


def _work_of_front_end(n_fft: int, hop_length: int, n_mels: int, n_samples: int) -> Work:
    n_frames = n_samples // hop_length
    n_weights = int(spectral.mel_filter_bank(SAMPLE_RATE, n_fft, n_mels).count_nonzero())
    return Work(
        n_bytes=4.0 * (n_samples + n_frames * n_mels),
        transforms=((n_fft, torch.float32, n_frames),),
        products=2.0 * n_frames * n_weights,
    )


def phase_reconstruction(
    n_fft: int, hop_length: int, n_iter: int, momentum: float, seconds: float, n_tracks: int
) -> Jobs:
    """From magnitudes and random phase to a waveform."""
    waveform = music(seconds)
    sizes = {"n_fft": n_fft, "hop_length": hop_length}
    magnitude = spectral.stft(torch.from_numpy(waveform), **sizes).abs()
    # librosa's own layout, so that it need not copy.
    bins_first = np.ascontiguousarray(magnitude.numpy().T)

    def ours(phase: torch.Tensor | None = None) -> np.ndarray:
        return griffin_lim(
            magnitude,
            **sizes,
            n_samples=len(waveform),
            n_iter=n_iter,
            momentum=momentum,
            phase=phase,
            generator=torch.Generator().manual_seed(0),
        ).numpy()

    def reference() -> np.ndarray:
        return librosa.griffinlim(
            bins_first,
            **sizes,
            n_iter=n_iter,
            momentum=momentum,
            length=len(waveform),
            pad_mode="constant",
            random_state=0,
        )

    def convergence(estimate: np.ndarray) -> float:
        """Distance of the spectrogram from the given one, in dB."""
        difference = spectral.stft(torch.from_numpy(estimate), **sizes).abs() - magnitude
        return float(20.0 * torch.log10(difference.norm() / magnitude.norm()))

    def agreement(_: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
        # From the reference's own phase: between random ones lie tenths of a dB.
        turns = np.random.RandomState(0).random_sample(bins_first.shape).T
        phase = torch.from_numpy(np.exp(2j * np.pi * turns).astype(np.complex64))
        return {
            "convergence from the same phase, dB": convergence(ours(phase)),
            "of the reference": convergence(theirs),
        }

    # The magnitudes are read in each iteration; momentum reads and writes complex spectra too.
    moved = n_iter + 1 + (4 * n_iter if momentum else 0)
    work = Work(
        n_bytes=4.0 * magnitude.numel() * moved,
        transforms=((n_fft, torch.float32, len(magnitude) * (2 * n_iter + 1)),),
    )
    return Jobs({"sksep": ours}, {"librosa": reference}, work, agreement)


def scores(seconds: float, n_tracks: int) -> Jobs:
    """BSSEval v3 of two estimated sources in each track."""
    references, estimates = _sources(seconds)

    def of_each(score: Callable[[], Any]) -> Job:
        return lambda: [score() for _ in range(n_tracks)][-1]

    def by_mir_eval() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # deprecated in mir_eval 0.8
            return mir_eval.separation.bss_eval_sources(
                references, estimates, compute_permutation=False
            )

    def by_fast_bss_eval() -> Any:
        # By torch, since with numpy 2 the half that is written for it fails; on one thread, since
        # torch.linalg.solve on several never ends with the MKL of some builds and processors.
        n_threads = torch.get_num_threads()
        torch.set_num_threads(1)
        try:
            return fast_bss_eval().bss_eval_sources(
                torch.from_numpy(references), torch.from_numpy(estimates), compute_permutation=False
            )
        finally:
            torch.set_num_threads(n_threads)

    def largest_difference(a: Any, b: Any) -> dict[str, float]:
        return {"largest difference, dB": float(np.abs(np.subtract(a[:3], b[:3])).max())}

    n_sources = len(references)
    work = Work(
        n_bytes=n_tracks * 2.0 * references.nbytes,
        transforms=((_SHORT_FFT_LENGTH, torch.float64, n_tracks * _n_correlated(references)),),
        products=n_tracks * _cholesky(n_sources, *[1] * (n_sources - 1)),
        dtype=torch.float64,
    )
    return Jobs(
        {"sksep": of_each(lambda: bss_eval(references, estimates))},
        {"mir_eval": of_each(by_mir_eval), "fast_bss_eval": of_each(by_fast_bss_eval)},
        work,
        largest_difference,
    )


def frame_scores(seconds: float, n_tracks: int) -> Jobs:
    """BSSEval v4 of two estimated mono sources, in frames of a second."""
    references, estimates = _sources(seconds)

    def ours() -> Any:
        return bss_eval_frames(references, estimates, window=SAMPLE_RATE, hop=SAMPLE_RATE)

    def reference() -> Any:
        return museval().bss_eval(
            references[..., None], estimates[..., None], window=SAMPLE_RATE, hop=SAMPLE_RATE
        )

    n_frame = scipy.fft.next_fast_len(SAMPLE_RATE + FILTER_LENGTH - 1, real=True)
    work = Work(
        n_bytes=2.0 * references.nbytes,
        transforms=(
            (_SHORT_FFT_LENGTH, torch.float64, _n_correlated(references)),
            (n_frame, torch.float64, 2 * len(references) * (seconds // 1)),
        ),
        products=_cholesky(2, 1),
        dtype=torch.float64,
    )
    return Jobs(
        {"sksep": ours},
        {"museval": reference},
        work,
        lambda a, b: {
            "largest difference, dB": float(np.nanmax(np.abs(np.subtract(a[:4], b[:4]))))
        },
    )


def _sources(seconds: float) -> tuple[np.ndarray, np.ndarray]:
    waveform = music(seconds)
    references = np.stack([waveform, waveform[::-1]]).astype(float)
    noise = np.random.default_rng(0).normal(scale=0.01, size=references.shape)
    return references, references + 0.2 * references[::-1] + noise


def _n_correlated(references: np.ndarray) -> float:
    """Transforms that correlations take at the least: each reference and estimate once."""
    return 2 * references.size / _SHORT_FFT_LENGTH


def _cholesky(*n_sources: int) -> float:
    """Operations of the factorizations for filters of so many sources each."""
    return float(sum((n * FILTER_LENGTH) ** 3 / 3 for n in n_sources))
