"""The spectral front end: from mono waveforms to the log-power chunks that networks receive."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from sksep.nn import chunks, masks, spectral
from sksep.utils._arrays import DoubleArray

__all__ = ["FrontEnd"]

# Power below which a band counts as silent: -100 dB, librosa's default `amin`.
FLOOR = 1e-10
FLOOR_DECIBELS = -100.0
# Floor of what is measured before its level is known: far below the noise of 24 bits.
LOWEST = 1e-24
LOWEST_DECIBELS = -240.0


@dataclass(frozen=True)
class FrontEnd:
    """Immutable settings of the front end, which accompany the data.

    `sksep.MelChunker` checks its parameters and makes a FrontEnd of them; here nothing is checked.

    Parameters
    ----------
    sample_rate : int, default=16000
        Sample rate in Hz.
    n_fft, hop_length : int, default=1024 and 128
        Window and hop in samples.
    n_mels : int or None, default=128
        Number of mel bands, or None for linear bins.
    n_frames : int, default=128
        Number of frames in a chunk.
    overlap : float, default=0.5
        Share of a chunk that the next one repeats, in [0, 1).
    f_min, f_max : float, default=0.0 and None
        Range of the mel bands in Hz. None stands for half of the sample rate; the attribute
        then holds that value.

    Examples
    --------
    >>> import torch
    >>> from sksep.nn.front_end import FrontEnd
    >>> front_end = FrontEnd(n_mels=40, n_frames=25, f_min=30.0)
    >>> front_end.excerpt_length
    4096
    >>> front_end.log_power(torch.zeros(16000)).shape
    torch.Size([126, 40])
    """

    sample_rate: int = 16000
    n_fft: int = 1024
    hop_length: int = 128
    n_mels: int | None = 128
    n_frames: int = 128
    overlap: float = 0.5
    f_min: float = 0.0
    f_max: float = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.f_max is None:
            object.__setattr__(self, "f_max", self.sample_rate / 2)

    @property
    def n_bands(self) -> int:
        """Number of mel bands, or of linear bins if there are no mel bands."""
        return self.n_fft // 2 + 1 if self.n_mels is None else self.n_mels

    @property
    def chunk_step(self) -> int:
        """Number of frames between the starts of neighboring chunks."""
        return chunks.chunk_step(self.n_frames, self.overlap)

    @property
    def excerpt_length(self) -> int:
        """Number of samples whose uncentered STFT has exactly `n_frames` frames."""
        return (self.n_frames - 1) * self.hop_length + self.n_fft

    def count_frames(self, n_samples: int) -> int:
        """Number of frames of the spectrogram of a whole waveform.

        Parameters
        ----------
        n_samples : int
            Length of the waveform.

        Returns
        -------
        int
            Number of frames of a centered STFT.
        """
        return spectral.count_frames(n_samples, self.n_fft, self.hop_length)

    def band_edges(self) -> DoubleArray:
        """Frequencies between which the bands lie.

        Returns
        -------
        ndarray of shape (n_bands + 1,)
            Frequencies in Hz, in ascending order.
        """
        n_bands = self.n_bands
        if self.n_mels is None:
            bins = (np.arange(n_bands + 1) - 0.5).clip(0, n_bands - 1)
            return bins * self.sample_rate / self.n_fft
        # The centers of the bands and the middles between them, on the mel scale; the outer slopes
        # of the first and the last band reach up to the limits.
        steps = spectral.mel_frequencies(2 * n_bands + 3, self.f_min, self.f_max)
        return np.concatenate([[self.f_min], steps[3:-2:2], [self.f_max]])

    def same_spectra(self, other: FrontEnd) -> bool:
        """Whether chunks have the same spectra. Their overlap does not matter to a network.

        Parameters
        ----------
        other : FrontEnd
            Settings to compare with.

        Returns
        -------
        bool
            True if everything but `overlap` is equal.
        """
        return replace(self, overlap=0.0) == replace(other, overlap=0.0)

    def filter_bank(self) -> Tensor | None:
        """Weights of the linear bins in each mel band.

        Returns
        -------
        Tensor of shape (n_mels, n_fft // 2 + 1) or None
            See `sksep.nn.spectral.mel_filter_bank`; None for linear bins.
        """
        if self.n_mels is None:
            return None
        return spectral.mel_filter_bank(
            self.sample_rate, self.n_fft, self.n_mels, self.f_min, self.f_max
        )

    def spectra(self, excerpts: Tensor) -> Tensor:
        """Uncentered complex spectra of excerpts.

        Parameters
        ----------
        excerpts : Tensor of shape (..., n_samples)
            Waveforms, float32 or float64, with `excerpt_length` samples for `n_frames` frames.

        Returns
        -------
        Tensor of shape (..., n_frames, n_fft // 2 + 1)
            Complex spectra. Gradients flow through them.

        Raises
        ------
        TypeError
            If the excerpts are neither float32 nor float64.
        ValueError
            If the excerpts are shorter than a window.
        """
        return spectral.stft(excerpts, self.n_fft, self.hop_length, center=False)

    def band_power(self, power: Tensor) -> Tensor:
        """Power per band from power per linear bin.

        Parameters
        ----------
        power : Tensor of shape (..., n_fft // 2 + 1)
            Squared magnitudes.

        Returns
        -------
        Tensor of shape (..., n_bands)
            Weighted sums of the bins in each mel band, or the bins themselves without mel bands.
        """
        filter_bank = self.filter_bank()
        if filter_bank is None:
            return power
        return power @ matrix_on(filter_bank, power.dtype, power.device).T

    def log_power(self, waveform: Tensor) -> Tensor:
        """Centered log-power spectrogram of whole waveforms, without gradients.

        Parameters
        ----------
        waveform : Tensor of shape (..., n_samples)
            Waveforms, float32 or float64.

        Returns
        -------
        Tensor of shape (..., n_total_frames, n_bands)
            Level in dB, relative to a power of one and at least -100.

        Raises
        ------
        TypeError
            If the waveforms are neither float32 nor float64.
        """
        with torch.no_grad():
            return spectral.log_mel(
                waveform, self.filter_bank(), self.n_fft, self.hop_length, floor=FLOOR
            )

    def channel_power(self, channels: Tensor, *, center: bool = True) -> Tensor:
        """Log power of the channels of a track together, without gradients.

        It is the power of the mean of the channels, or half of their mean power where this is
        larger, since samples of opposite phase cancel in the mean.

        Parameters
        ----------
        channels : Tensor of shape (n_channels, n_samples)
            Waveforms, float32 or float64.
        center : bool, default=True
            Whether half a window of zeros surrounds the waveforms.

        Returns
        -------
        Tensor of shape (n_total_frames, n_bands)
            Level in dB, relative to a power of one and at least -240.

        Raises
        ------
        TypeError
            If the waveforms are neither float32 nor float64.
        """
        with torch.no_grad():
            return spectral.log_mel(
                channels,
                self.filter_bank(),
                self.n_fft,
                self.hop_length,
                center=center,
                floor=LOWEST,
                together=True,
            )

    def lift_matrix(self, sample_rate: int, n_fft: int) -> Tensor:
        """Matrix that carries masks from the bands to linear bins.

        Parameters
        ----------
        sample_rate, n_fft : int
            Sample rate in Hz and window in samples of the target spectrogram, which may differ from
            those of the front end.

        Returns
        -------
        Tensor of shape (n_bands, n_fft // 2 + 1)
            See `sksep.nn.masks.lift_matrix`; do not write to it.
        """
        return masks.lift_matrix(
            self.sample_rate,
            self.n_fft,
            self.n_mels,
            self.f_min,
            self.f_max,
            sample_rate,
            n_fft,
        )


@lru_cache(maxsize=64)
def matrix_on(matrix: Tensor, dtype: torch.dtype, device: torch.device) -> Tensor:
    """A shared matrix on a device, copied once. A copy for every batch would cost time."""
    # A tensor made within inference mode could not be used in training later.
    with torch.inference_mode(False):
        return matrix.to(device, dtype)
