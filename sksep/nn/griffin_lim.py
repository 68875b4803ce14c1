"""Griffin-Lim: a waveform whose spectrogram has given magnitudes."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from sksep.nn import spectral


@torch.no_grad()
def griffin_lim(
    magnitude: Tensor,
    n_fft: int,
    hop_length: int,
    *,
    n_samples: int,
    n_iter: int,
    momentum: float = 0.0,
    phase: Tensor | None = None,
    generator: torch.Generator | None = None,
    center: bool = True,
) -> Tensor:
    """Find a waveform whose STFT has nearly the given magnitudes.

    Each iteration inverts the spectrogram, takes the STFT of the waveform, and keeps its phase
    with the given magnitudes [1]_. With momentum, the phase is that of the new spectrum less
    ``momentum / (1 + momentum)`` times the one before: the fast algorithm [2]_.

    Parameters
    ----------
    magnitude : Tensor of shape (..., n_frames, n_bins)
        Non-negative magnitudes, float32 or float64, time first.
    n_fft, hop_length, center
        As in `sksep.nn.spectral.stft`.
    n_samples : int
        Length of the waveform.
    n_iter : int
        Iterations; 0 inverts the magnitudes with the initial phase.
    momentum : float, default=0.0
        Non-negative; 0 is the plain algorithm. 0.99 suits random phase, and values above 1 may not
        converge.
    phase : complex Tensor of shape (..., n_frames, n_bins), optional
        Its angles are the initial phase; where it is zero, the angle is zero. By default
        they are drawn at random.
    generator : torch.Generator, optional
        Source of the random phase, on the device of `magnitude`; by default torch's global one.

    Returns
    -------
    Tensor of shape (..., n_samples)
        Real waveforms.

    Raises
    ------
    TypeError
        If `magnitude` is not real, or `phase` not complex.
    ValueError
        If the shape does not belong to the settings, or a parameter is negative.

    References
    ----------
    .. [1] Griffin, D. W. and Lim, J. S. (1984). Signal estimation from modified short-time
       Fourier transform. IEEE Transactions on Acoustics, Speech, and Signal Processing, 32(2).
    .. [2] Perraudin, N., Balazs, P. and Søndergaard, P. L. (2013). A fast Griffin-Lim algorithm.
       IEEE Workshop on Applications of Signal Processing to Audio and Acoustics.

    Examples
    --------
    >>> waveform = torch.sin(torch.arange(8000) / 5)
    >>> magnitude = spectral.stft(waveform, 512, 128).abs()
    >>> estimate = griffin_lim(magnitude, 512, 128, n_samples=8000, n_iter=16, momentum=0.99,
    ...                        generator=torch.Generator().manual_seed(0))
    >>> difference = spectral.stft(estimate, 512, 128).abs() - magnitude
    >>> bool(difference.norm() < 0.2 * magnitude.norm())
    True
    """
    _check(magnitude, phase, n_iter, momentum)
    spectral.check_spectrogram_shape(magnitude, n_fft, hop_length, n_samples, center)
    batch_shape = magnitude.shape[:-2]
    n_frames, n_bins = magnitude.shape[-2:]
    if phase is None:
        # Turns, that is angles in units of 2 pi, become phases block by block.
        phase = torch.rand(
            magnitude.shape, generator=generator, dtype=magnitude.dtype, device=magnitude.device
        )
    else:
        phase = phase.to(magnitude.device).expand(magnitude.shape)
    magnitude = magnitude.reshape(-1, n_frames, n_bins)
    phase = phase.reshape(-1, n_frames, n_bins)
    result = magnitude.new_zeros(magnitude.shape[0], n_samples)
    block_frames = spectral.frames_per_block(n_fft, magnitude.device)
    # Short signals share blocks; of long ones, each is worked through by itself.
    n_together = max(1, block_frames // n_frames)
    for start in range(0, magnitude.shape[0], n_together):
        group = slice(start, start + n_together)
        state = _State(magnitude[group], n_fft, hop_length, n_samples, center, block_frames)
        state.start(phase[group])
        for _ in range(n_iter):
            state.iterate(momentum)
        result[group] = state.waveforms()
    return result.reshape(*batch_shape, n_samples)


class _State:
    """Waveforms that are being estimated, and the magnitudes that they should have.

    An iteration takes each block of frames from the last waveform through its spectra into the
    next waveform while the block is in the cache. Without momentum no spectra are kept at all.
    """

    def __init__(
        self,
        magnitude: Tensor,
        n_fft: int,
        hop_length: int,
        n_samples: int,
        center: bool,
        block_frames: int,
    ) -> None:
        n_signals, n_frames, _ = magnitude.shape
        self._n_fft, self._hop_length, self._n_samples = n_fft, hop_length, n_samples
        self._blocks = [
            slice(start, min(start + block_frames, n_frames))
            for start in range(0, n_frames, block_frames)
        ]
        # Real and imaginary parts are scaled as neighbouring numbers: pairs of equal magnitudes.
        self._magnitude = torch.complex(magnitude, magnitude)
        self._taper = spectral.window(n_fft, magnitude.dtype, magnitude.device)
        squares = spectral.squared_window_sum(
            n_frames, n_fft, hop_length, center, magnitude.dtype, magnitude.device
        )
        self._kept = slice(*spectral.kept_samples(n_fft, n_samples, center))
        # Normalises a sum of frames, and cuts off what lies beyond the waveform.
        self._scale = torch.zeros_like(squares)
        self._scale[self._kept] = 1.0 / squares[self._kept]
        self._signal = magnitude.new_zeros(n_signals, squares.shape[0])
        self._next_signal = torch.zeros_like(self._signal)
        self._previous_spectra: list[Tensor | None] = [None] * len(self._blocks)

    def start(self, phase: Tensor) -> None:
        """Invert the magnitudes with a phase given as complex numbers or as turns in [0, 1)."""
        for block in self._blocks:
            part = phase[:, block]
            if part.is_complex():
                spectra = torch.where(part == 0, 1.0, part)
            else:
                angles = 2.0 * torch.pi * part
                # Half the time of torch.polar.
                spectra = torch.complex(angles.cos(), angles.sin())
            self._add(spectra, block)
        self._finish()

    def iterate(self, momentum: float) -> None:
        """Keep the phase of the waveforms' spectra and invert it with the magnitudes."""
        frames = self._signal.unfold(-1, self._n_fft, self._hop_length)
        for index, block in enumerate(self._blocks):
            spectra = torch.fft.rfft(frames[:, block] * self._taper)
            if momentum > 0:
                previous = self._previous_spectra[index]
                self._previous_spectra[index] = spectra
                if previous is None:
                    spectra = spectra.clone()
                else:
                    spectra = previous.mul_(-momentum / (1.0 + momentum)).add_(spectra)
            self._add(spectra, block)
        self._finish()

    def waveforms(self) -> Tensor:
        """The estimate, (n_signals, n_samples)."""
        signal = self._signal[:, self._kept]
        return functional.pad(signal, (0, self._n_samples - signal.shape[-1]))

    def _add(self, spectra: Tensor, block: slice) -> None:
        """Give spectra the magnitudes of a block and add its frames to the next waveforms."""
        _set_magnitude(spectra, self._magnitude[:, block])
        frames = torch.fft.irfft(spectra, n=self._n_fft)
        part = spectral.overlap_add(frames, self._taper, self._hop_length)
        start = block.start * self._hop_length
        self._next_signal[:, start : start + part.shape[-1]] += part

    def _finish(self) -> None:
        torch.mul(self._next_signal, self._scale, out=self._signal)
        self._next_signal.zero_()


def _set_magnitude(spectra: Tensor, magnitude_pairs: Tensor) -> None:
    """Scale complex spectra in place to magnitudes; zeros stay zero."""
    parts = torch.view_as_real(spectra)
    squares = torch.view_as_complex(parts.square())
    # a + bi, plus i times its conjugate, is (a + b)(1 + i): the power beside both parts. Unlike
    # steps over real parts alone, all of this runs over neighbouring numbers.
    squares.add_(squares.conj().resolve_conj(), alpha=1j)
    scale = torch.view_as_real(squares).clamp_(min=torch.finfo(parts.dtype).tiny).rsqrt_()
    parts.mul_(scale.mul_(torch.view_as_real(magnitude_pairs)))


def _check(magnitude: Tensor, phase: Tensor | None, n_iter: int, momentum: float) -> None:
    if magnitude.dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"magnitude must be float32 or float64, got {magnitude.dtype}. Take .abs() of complex "
            "spectra, and pass them as phase to start from theirs."
        )
    if phase is not None and not phase.is_complex():
        raise TypeError(
            f"phase must be complex, got {phase.dtype}. Turn angles into complex numbers with "
            "torch.polar(torch.ones_like(angles), angles)."
        )
    if n_iter < 0 or momentum < 0:
        raise ValueError(
            f"n_iter and momentum must not be negative, got n_iter={n_iter} and "
            f"momentum={momentum}."
        )
