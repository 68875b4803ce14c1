"""Griffin-Lim: a waveform whose spectrogram has given magnitudes."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor

from sksep.nn import spectral
from sksep.nn.parallel import ParallelMap, count_workers, in_turn, parallel_map

__all__ = ["griffin_lim"]


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
    with the given magnitudes [1]_. With momentum, the phase is that of the new spectrum minus
    ``momentum / (1 + momentum)`` times the one before, as in the fast algorithm [2]_.

    Parameters
    ----------
    magnitude : Tensor of shape (..., n_frames, n_bins)
        Non-negative magnitudes, float32 or float64, time first.
    n_fft, hop_length : int
        Window and hop in samples.
    n_samples : int
        Length of the waveform; it must be one that gives `n_frames` frames.
    n_iter : int
        Number of iterations; 0 inverts the magnitudes with the initial phase.
    momentum : float, default=0.0
        Momentum of the fast algorithm, not negative; 0 is the plain algorithm. 0.99 suits a random
        phase. Values above 1 may not converge.
    phase : complex Tensor of shape (..., n_frames, n_bins), optional
        Complex numbers whose angles are the initial phase; zero has the angle zero. By default
        the angles are drawn at random.
    generator : torch.Generator, optional
        Source of the random phase, on the device of `magnitude`; by default torch's global one.
    center : bool, default=True
        Whether half a window of zeros surrounds the waveform, as in `sksep.nn.spectral.stft`.

    Returns
    -------
    Tensor of shape (..., n_samples)
        Real waveforms, of the dtype and on the device of `magnitude`. Gradients do not flow through
        them.

    Raises
    ------
    TypeError
        If `magnitude` is neither float32 nor float64, or `phase` not complex.
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
    >>> import torch
    >>> from sksep.nn.griffin_lim import griffin_lim
    >>> from sksep.nn.spectral import stft
    >>> waveform = torch.sin(torch.arange(8000) / 5)
    >>> magnitude = stft(waveform, 512, 128).abs()
    >>> estimate = griffin_lim(magnitude, 512, 128, n_samples=8000, n_iter=16, momentum=0.99,
    ...                        generator=torch.Generator().manual_seed(0))
    >>> difference = stft(estimate, 512, 128).abs() - magnitude
    >>> bool(difference.norm() < 0.2 * magnitude.norm())
    True
    """
    _check(magnitude, phase, n_iter, momentum)
    spectral.check_spectrogram_shape(magnitude, n_fft, hop_length, n_samples, center)
    batch_shape = magnitude.shape[:-2]
    n_frames, n_bins = magnitude.shape[-2:]
    phase = _initial_phase(magnitude, phase, generator)
    magnitude = magnitude.reshape(batch_shape.numel(), n_frames, n_bins)
    phase = phase.reshape(magnitude.shape)
    result = magnitude.new_empty(magnitude.shape[0], n_samples)
    block_frames = spectral.frames_per_block(n_fft, magnitude.device)
    # Short signals share blocks. Each long signal is processed by itself.
    n_together = max(1, block_frames // n_frames)
    groups = [slice(low, low + n_together) for low in range(0, magnitude.shape[0], n_together)]
    # Number of hops that the last frame reaches into the next section, which must be as long.
    n_halo = -(-n_fft // hop_length) - 1
    n_sections = max(1, n_frames // max(block_frames, n_halo))
    n_workers = count_workers(magnitude.device, len(groups) * n_sections)
    taper = spectral.window(n_fft, magnitude.dtype, magnitude.device)
    in_parallel = parallel_map(n_workers)
    # A worker does this too: torch's own threads, once used, stay busy while they wait.
    (scale,) = in_parallel(
        lambda magnitude: _scale(magnitude, n_fft, hop_length, n_samples, center), [magnitude]
    )
    start, stop = spectral.kept_samples(n_fft, n_samples, center)

    def work(group: slice, n_sections: int, map_sections: ParallelMap) -> None:
        parts = magnitude[group], phase[group]
        sections = _sections(*parts, scale, taper, hop_length, block_frames, n_halo, n_sections)
        signals = _iterate(sections, n_iter, momentum, map_sections)[:, start:stop]
        result[group, : signals.shape[-1]] = signals
        result[group, signals.shape[-1] :] = 0.0

    if len(groups) >= n_workers:
        in_parallel(lambda group: work(group, 1, in_turn), groups)
    else:
        for group in groups:
            work(group, min(n_workers, n_sections), in_parallel)
    return result.reshape(*batch_shape, n_samples)


def _sections(
    magnitude: Tensor,
    phase: Tensor,
    scale: Tensor,
    taper: Tensor,
    hop_length: int,
    block_frames: int,
    n_halo: int,
    n_sections: int,
) -> list[_Section]:
    """Cut spectrograms into sections that can be processed at the same time."""
    bounds = [magnitude.shape[1] * index // n_sections for index in range(n_sections + 1)]
    return [
        _Section(
            magnitude[:, low:high],
            phase[:, low:high],
            scale[low * hop_length : (high + n_halo) * hop_length],
            taper,
            hop_length,
            block_frames,
        )
        for low, high in pairwise(bounds)
    ]


def _iterate(
    sections: list[_Section], n_iter: int, momentum: float, map_sections: ParallelMap
) -> Tensor:
    """Signals of sections, which may run at the same time and are joined after each iteration."""

    def around(sums: list[Tensor]) -> zip[tuple[_Section, Tensor | None, Tensor, Tensor | None]]:
        return zip(sections, [None, *sums[:-1]], sums, [*sums[1:], None], strict=True)

    sums = map_sections(_Section.invert_initial_phase, sections)
    for _ in range(n_iter):
        sums = map_sections(lambda item: item[0].iterate(*item[1:], momentum), around(sums))
    signals = map_sections(lambda item: item[0].signals(*item[1:]), around(sums))
    own = [
        part[:, : section.n_own_samples]
        for section, part in zip(sections[:-1], signals[:-1], strict=True)
    ]
    return torch.cat([*own, signals[-1]], -1)


class _Section:
    """Neighboring frames of signals, with the magnitudes that they should have.

    An iteration turns each block of frames of the last signals into spectra and these into the next
    signals while the block is in the cache. Without momentum no spectra are kept.
    """

    def __init__(
        self,
        magnitude: Tensor,
        phase: Tensor,
        scale: Tensor,
        taper: Tensor,
        hop_length: int,
        block_frames: int,
    ) -> None:
        self._magnitude, self._phase, self._scale = magnitude, phase, scale
        self._magnitude_pairs: list[Tensor] = []
        self._taper, self._hop_length = taper, hop_length
        n_frames = magnitude.shape[1]
        # Up to the first frame of the next section.
        self.n_own_samples = n_frames * hop_length
        self._blocks = [
            slice(start, min(start + block_frames, n_frames))
            for start in range(0, n_frames, block_frames)
        ]
        self._previous_spectra: list[Tensor | None] = [None] * len(self._blocks)

    def invert_initial_phase(self) -> Tensor:
        """Sum of the frames with the given magnitudes and the initial phase."""
        # Real and imaginary parts are neighbors in memory: pairs of equal magnitudes scale them.
        parts = [self._magnitude[:, block] for block in self._blocks]
        self._magnitude_pairs = [torch.complex(part, part) for part in parts]
        return self._sum_frames(self._initial_spectra)

    def iterate(
        self, before: Tensor | None, own: Tensor, after: Tensor | None, momentum: float
    ) -> Tensor:
        """Sum of the frames with the given magnitudes and the phase of the signals' spectra."""
        signals = self.signals(before, own, after)
        frames = signals.unfold(-1, self._taper.shape[0], self._hop_length)

        def spectra(index: int, block: slice) -> Tensor:
            current = torch.fft.rfft(frames[:, block] * self._taper)
            if momentum == 0:
                return current
            previous = self._previous_spectra[index]
            self._previous_spectra[index] = current
            if previous is None:
                return current.clone()
            return previous.mul_(-momentum / (1.0 + momentum)).add_(current)

        return self._sum_frames(spectra)

    def signals(self, before: Tensor | None, own: Tensor, after: Tensor | None) -> Tensor:
        """Signals from the sums of frames of this section and of its neighbors."""
        total = own.clone()
        border = self.n_own_samples
        halo = own.shape[-1] - border
        if before is not None:
            total[:, :halo] += before[:, before.shape[-1] - halo :]
        if after is not None:
            total[:, border:] += after[:, :halo]
        return total.mul_(self._scale)

    def _initial_spectra(self, index: int, block: slice) -> Tensor:
        phase = self._phase[:, block]
        if phase.is_complex():
            return torch.where(phase == 0, 1.0, phase)
        angles = 2.0 * torch.pi * phase
        # This takes half the time of torch.polar.
        return torch.complex(angles.cos(), angles.sin())

    def _sum_frames(self, spectra_of: Callable[[int, slice], Tensor]) -> Tensor:
        """Give spectra the magnitudes, block by block, and overlap-add their frames."""
        total = self._scale.new_zeros(self._magnitude.shape[0], self._scale.shape[0])
        for index, block in enumerate(self._blocks):
            spectra = spectra_of(index, block)
            _set_magnitude(spectra, self._magnitude_pairs[index])
            frames = torch.fft.irfft(spectra, n=self._taper.shape[0])
            part = spectral.overlap_add(frames, self._taper, self._hop_length)
            start = block.start * self._hop_length
            total[:, start : start + part.shape[-1]] += part
        return total


def _scale(magnitude: Tensor, n_fft: int, hop_length: int, n_samples: int, center: bool) -> Tensor:
    """Factor that normalizes the sum of all frames and cuts off the padding."""
    squares = spectral.squared_window_sum(
        magnitude.shape[-2], n_fft, hop_length, center, magnitude.dtype, magnitude.device
    )
    kept = slice(*spectral.kept_samples(n_fft, n_samples, center))
    scale = torch.zeros_like(squares)
    scale[kept] = 1.0 / squares[kept]
    return scale


def _set_magnitude(spectra: Tensor, magnitude_pairs: Tensor) -> None:
    """Scale complex spectra in place to magnitudes; zeros stay zero."""
    parts = torch.view_as_real(spectra)
    squares = torch.view_as_complex(parts.square())
    # a + bi, plus i times its conjugate, is (a + b)(1 + i): the power beside both parts. Unlike
    # steps over real parts alone, all of this runs over neighboring numbers.
    squares.add_(squares.conj().resolve_conj(), alpha=1j)
    scale = torch.view_as_real(squares).clamp_(min=torch.finfo(parts.dtype).tiny).rsqrt_()
    parts.mul_(scale.mul_(torch.view_as_real(magnitude_pairs)))


def _initial_phase(
    magnitude: Tensor, phase: Tensor | None, generator: torch.Generator | None
) -> Tensor:
    """The given phase, or random turns (angles in units of 2 pi), which become phases later."""
    if phase is not None:
        return phase.to(magnitude.device).expand(magnitude.shape)
    return torch.rand(
        magnitude.shape, generator=generator, dtype=magnitude.dtype, device=magnitude.device
    )


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
