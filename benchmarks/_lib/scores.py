"""Scores of separated vocals: BSSEval v3 (512 taps), mono at 16 kHz, whole track."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

import sksep
from sksep.audio._resampling import resample, to_mono
from sksep.metrics import bss_eval, sdr, si_sdr

SAMPLE_RATE = 16000
PROTOCOL = "BSSEval v3 (512 taps), mono at 16 kHz, whole track"


@dataclass(frozen=True)
class TrackScores:
    """Scores of the vocals of one track in dB; NaN if the vocals or the estimate are silent."""

    sdr: float
    sir: float
    sar: float
    si_sdr: float
    mixture_sdr: float
    seconds: float


def mono(source: Any) -> np.ndarray:
    """A track (a file, or an array at 16 kHz) as (n_samples,) at 16 kHz."""
    rate = SAMPLE_RATE if isinstance(source, np.ndarray) else None
    samples, rate = sksep.load_audio(source, sample_rate=rate)
    return resample(to_mono(samples), rate, SAMPLE_RATE)


def mono_vocals(mixture: Any, model: Any) -> np.ndarray:
    """Vocals of a track as (n_samples,) at 16 kHz, separated at the rate of the track."""
    separated = sksep.separate(mixture, model)
    return resample(to_mono(separated.vocals), separated.sample_rate, SAMPLE_RATE)


def score_track(
    mixture: np.ndarray, vocals: np.ndarray, estimate: np.ndarray, mixture_sdr: float | None = None
) -> TrackScores:
    """Scores of an estimate. All waveforms are mono at 16 kHz; `mixture_sdr` may be known."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # silent vocals have no SDR
        separated = bss_eval(
            np.stack([vocals, mixture - vocals]), np.stack([estimate, mixture - estimate])
        )
        if mixture_sdr is None:
            mixture_sdr = sdr(vocals, mixture)
        return TrackScores(
            sdr=float(separated.sdr[0]),
            sir=float(separated.sir[0]),
            sar=float(separated.sar[0]),
            si_sdr=si_sdr(vocals, estimate),
            mixture_sdr=mixture_sdr,
            seconds=len(mixture) / SAMPLE_RATE,
        )


def summary(tracks: list[TrackScores]) -> dict[str, float]:
    """Means over tracks; those whose names begin with G are weighted by length.

    Tracks without a score are left out. An estimate without interference, say of the mixture
    over a silent accompaniment, has an infinite SIR and counts as one of 100 dB.
    """
    lengths = np.array([track.seconds for track in tracks])
    scores = {
        name: np.array([getattr(track, name) for track in tracks]).clip(-100.0, 100.0)
        for name in ("sdr", "sir", "sar", "si_sdr", "mixture_sdr")
    }
    scores["nsdr"] = scores["sdr"] - scores["mixture_sdr"]

    def mean(name: str, weights: np.ndarray | None = None) -> float:
        known = np.isfinite(scores[name])
        if not known.any():
            return float("nan")
        return float(
            np.average(scores[name][known], weights=None if weights is None else weights[known])
        )

    known_sdr = scores["sdr"][np.isfinite(scores["sdr"])]
    return {
        "GNSDR": mean("nsdr", lengths),
        "GSIR": mean("sir", lengths),
        "GSAR": mean("sar", lengths),
        "SDR": mean("sdr"),
        "median SDR": float(np.median(known_sdr)) if len(known_sdr) else float("nan"),
        "SIR": mean("sir"),
        "SAR": mean("sar"),
        "SI-SDR": mean("si_sdr"),
        "mixture SDR": mean("mixture_sdr"),
    }
