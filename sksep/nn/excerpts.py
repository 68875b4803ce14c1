"""A batch of training excerpts, whose spectra and masks are computed on its device."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from sksep.nn import masks, spectral
from sksep.nn.front_end import FLOOR, FrontEnd, matrix_on

__all__ = ["Excerpts"]


@dataclass(frozen=True, eq=False)
class Excerpts:
    """Vocals and accompaniment of a batch. All other values are computed from them on demand.

    Losses receive this as their target and take the values that they need. Each value is computed
    once and kept. Spectra are not centered: excerpts of ``front_end.excerpt_length`` samples give
    ``front_end.n_frames`` frames.

    Parameters
    ----------
    vocals, accompaniment : Tensor of shape (batch, n_samples)
        Waveforms, float32 or float64, at least ``front_end.n_fft`` samples long.
    front_end : FrontEnd
        Settings of the spectra.
    ratio : {"power", "magnitude"}, default="power"
        Kind of the proportion mask, see `sksep.nn.masks.proportion_mask`.
    weighting : {"magnitude", "log_magnitude", "uniform"}, default="magnitude"
        Kind of the weights, see `sksep.nn.masks.bin_weights`.

    Raises
    ------
    TypeError
        If the waveforms are neither float32 nor float64, once spectra are needed.
    ValueError
        If the waveforms are shorter than a window, once spectra are needed; if `ratio` or
        `weighting` is unknown, once masks or weights are needed.

    Examples
    --------
    >>> import torch
    >>> from sksep.nn.excerpts import Excerpts
    >>> from sksep.nn.front_end import FrontEnd
    >>> front_end = FrontEnd(
    ...     sample_rate=16000, n_fft=1024, hop_length=128, n_mels=40, n_frames=25, overlap=0.5,
    ...     f_min=30.0, f_max=8000.0,
    ... )
    >>> vocals = torch.sin(torch.arange(front_end.excerpt_length) * 0.2).expand(2, -1)
    >>> excerpts = Excerpts(vocals, torch.zeros_like(vocals), front_end)
    >>> excerpts.features.shape
    torch.Size([2, 25, 40])
    >>> excerpts.proportion_mask.mean()
    tensor(1.)
    """

    vocals: Tensor
    accompaniment: Tensor
    front_end: FrontEnd
    ratio: str = "power"
    weighting: str = "magnitude"

    @cached_property
    def mixture(self) -> Tensor:
        """Waveform of the mixture, (batch, n_samples)."""
        return self.vocals + self.accompaniment

    @cached_property
    def vocal_spectra(self) -> Tensor:
        """Complex spectra of the vocals, (batch, n_frames, n_bins)."""
        return self.front_end.spectra(self.vocals)

    @cached_property
    def mixture_spectra(self) -> Tensor:
        """Complex spectra of the mixture, (batch, n_frames, n_bins)."""
        return self.front_end.spectra(self.mixture)

    @cached_property
    def vocal_power(self) -> Tensor:
        """Power of the vocals per band, (batch, n_frames, n_bands)."""
        return self.front_end.band_power(spectral.power(self.vocal_spectra))

    @cached_property
    def accompaniment_power(self) -> Tensor:
        """Power of the accompaniment per band, (batch, n_frames, n_bands)."""
        spectra = self.mixture_spectra - self.vocal_spectra
        return self.front_end.band_power(spectral.power(spectra))

    @cached_property
    def mixture_power(self) -> Tensor:
        """Power of the mixture per band, (batch, n_frames, n_bands)."""
        return self.front_end.band_power(spectral.power(self.mixture_spectra))

    @cached_property
    def features(self) -> Tensor:
        """Log power of the mixture in dB, (batch, n_frames, n_bands)."""
        return spectral.decibels(self.mixture_power, FLOOR)

    @cached_property
    def proportion_mask(self) -> Tensor:
        """Share of the vocals per bin, (batch, n_frames, n_bands)."""
        return masks.proportion_mask(self.vocal_power, self.accompaniment_power, self.ratio)

    @cached_property
    def binary_mask(self) -> Tensor:
        """Mask of 1 where the vocals are louder, else 0, (batch, n_frames, n_bands)."""
        return masks.binary_mask(self.vocal_power, self.accompaniment_power)

    @cached_property
    def weights(self) -> Tensor:
        """Weight of each bin, with mean 1 per excerpt, (batch, n_frames, n_bands)."""
        return masks.bin_weights(self.mixture_power, self.weighting)

    def invert(self, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Masked mixture with the mixture's phase, and the true vocals of the same samples.

        Half a window at either end is left out, since there the excerpt lacks frames. Gradients
        flow through the estimate.

        Parameters
        ----------
        mask : Tensor of shape (batch, n_frames, n_bands)
            Mask of the vocals, in [0, 1].

        Returns
        -------
        estimate, vocals : Tensor of shape (batch, n_samples - n_fft)
            Waveforms.
        """
        front_end = self.front_end
        lift = front_end.lift_matrix(front_end.sample_rate, front_end.n_fft)
        lift = matrix_on(lift, mask.dtype, mask.device)
        n_samples = self.vocals.shape[-1]
        estimate = spectral.istft(
            (mask @ lift) * self.mixture_spectra,
            front_end.n_fft,
            front_end.hop_length,
            n_samples=n_samples,
            center=False,
        )
        inner = slice(front_end.n_fft // 2, n_samples - front_end.n_fft // 2)
        return estimate[:, inner], self.vocals[:, inner]
