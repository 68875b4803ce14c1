"""The spectral front end: from mono waveforms to the log-power chunks that networks see."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sksep.nn import chunks, masks, spectral

# Power below which a band counts as silent: -100 dB, librosa's default `amin`.
FLOOR = 1e-10
FLOOR_DECIBELS = -100.0


@dataclass(frozen=True)
class FrontEnd:
    """Settings of the front end; an immutable value that travels with the data.

    Parameters
    ----------
    sample_rate : int
        Hz.
    n_fft, hop_length : int
        Window and hop in samples.
    n_mels : int or None
        Mel bands, or None for linear bins.
    n_frames : int
        Frames in a chunk.
    overlap : float
        Share of a chunk that the next one repeats, in [0, 1).
    f_min, f_max : float
        Range of the mel bands in Hz.
    """

    sample_rate: int
    n_fft: int
    hop_length: int
    n_mels: int | None
    n_frames: int
    overlap: float
    f_min: float
    f_max: float

    @property
    def n_bands(self) -> int:
        """Mel bands, or linear bins where there are none."""
        return self.n_fft // 2 + 1 if self.n_mels is None else self.n_mels

    @property
    def chunk_step(self) -> int:
        """Frames between the starts of neighbouring chunks."""
        return chunks.chunk_step(self.n_frames, self.overlap)

    @property
    def excerpt_length(self) -> int:
        """Samples whose uncentred STFT has exactly `n_frames` frames."""
        return (self.n_frames - 1) * self.hop_length + self.n_fft

    def same_spectra(self, other: FrontEnd) -> bool:
        """Whether chunks are alike; how far they overlap does not matter to a network."""
        return replace(self, overlap=0.0) == replace(other, overlap=0.0)

    def filter_bank(self) -> Tensor | None:
        """Mel filter bank of shape (n_mels, n_bins), or None for linear bins."""
        if self.n_mels is None:
            return None
        return spectral.mel_filter_bank(
            self.sample_rate, self.n_fft, self.n_mels, self.f_min, self.f_max
        )

    def spectra(self, excerpts: Tensor) -> Tensor:
        """Complex spectra (..., n_frames, n_bins) of excerpts (..., excerpt_length)."""
        return spectral.stft(excerpts, self.n_fft, self.hop_length, center=False)

    def band_power(self, power: Tensor) -> Tensor:
        """Power per band from power per linear bin."""
        filter_bank = self.filter_bank()
        return power if filter_bank is None else power @ filter_bank.T.to(power)

    def log_power(self, waveform: Tensor) -> Tensor:
        """Log-power spectrogram in dB, (..., n_total_frames, n_bands), of whole waveforms."""
        with torch.no_grad():
            return spectral.log_mel(
                waveform, self.filter_bank(), self.n_fft, self.hop_length, floor=FLOOR
            )

    def lift_matrix(self, sample_rate: int, n_fft: int) -> Tensor:
        """(n_bands, n_bins) matrix from band masks to linear bins; see `masks.lift_matrix`."""
        return masks.lift_matrix(
            self.sample_rate,
            self.n_fft,
            self.n_mels,
            self.f_min,
            self.f_max,
            sample_rate,
            n_fft,
        )
