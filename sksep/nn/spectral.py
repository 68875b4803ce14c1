"""Short-time Fourier transform, power, mel bands and decibels, time first, in torch."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn import functional

from sksep.nn.parallel import count_workers, parallel_map
from sksep.utils._arrays import DoubleArray

__all__ = [
    "count_frames",
    "decibels",
    "istft",
    "log_mel",
    "mel_filter_bank",
    "mel_frequencies",
    "mel_triangles",
    "power",
    "stft",
]

# 256 frames of 1024 samples are processed at a time on a CPU: their spectra fit in its cache, and
# the calls take little time compared with the work (measured between 32 and 4096 frames).
_CPU_BLOCK_SAMPLES = 256 * 1024
# On other devices a block keeps the device busy, and is still small compared with its memory.
_DEVICE_BLOCK_SAMPLES = 8192 * 1024
# If less than this share of a window's power reaches a sample at the end of an uncentered
# spectrogram, the inverse fades out instead of amplifying the rest.
_SMALLEST_UNCENTERED_SUM = 1e-3
# Number of bands of a filter bank that share one matrix product over their bins.
_BANDS_PER_PRODUCT = 32
# Slaney's mel scale: linear up to 1 kHz, which is 15 mel, and 27 mel per factor of 6.4 above it.
_HERTZ_PER_MEL = 200.0 / 3.0
_LOGARITHMIC_FROM = 1000.0
_LOGARITHMIC_FROM_MEL = _LOGARITHMIC_FROM / _HERTZ_PER_MEL
_LOGARITHMIC_STEP = np.log(6.4) / 27.0


def count_frames(n_samples: int, n_fft: int, hop_length: int, *, center: bool = True) -> int:
    """Number of frames of the STFT of `n_samples` samples.

    Parameters
    ----------
    n_samples : int
        Length of the waveform.
    n_fft, hop_length : int
        Window and hop in samples.
    center : bool, default=True
        Whether half a window of zeros surrounds the waveform.

    Returns
    -------
    int
        ``1 + n_samples // hop_length``, or ``1 + (n_samples - n_fft) // hop_length`` if it is
        not centered.

    Raises
    ------
    ValueError
        If a size is out of range, or an uncentered waveform is shorter than a window.

    Examples
    --------
    >>> from sksep.nn.spectral import count_frames
    >>> count_frames(16000, 1024, 128)
    126
    """
    if n_fft < 2 or hop_length < 1:
        raise ValueError(
            f"n_fft must be at least 2 and hop_length at least 1, got {n_fft} and {hop_length}."
        )
    if center:
        return 1 + n_samples // hop_length
    if n_samples < n_fft:
        raise ValueError(
            f"A waveform of {n_samples} samples is shorter than the window of {n_fft} samples. "
            "Pass center=True, or pad it with zeros."
        )
    return 1 + (n_samples - n_fft) // hop_length


def stft(waveforms: Tensor, n_fft: int, hop_length: int, *, center: bool = True) -> Tensor:
    """Short-time Fourier transform with a periodic Hann window, time first.

    Parameters
    ----------
    waveforms : Tensor of shape (..., n_samples)
        Real samples, float32 or float64.
    n_fft, hop_length : int
        Window and hop in samples.
    center : bool, default=True
        Whether sample ``t * hop_length`` is the center of frame `t`, with zeros beyond both ends.
        Otherwise the frame begins there, and samples that do not fill a last window are left out.

    Returns
    -------
    Tensor of shape (..., n_frames, n_fft // 2 + 1)
        Complex spectra. Gradients flow through them.

    Raises
    ------
    TypeError
        If `waveforms` is neither float32 nor float64.
    ValueError
        If `n_fft` or `hop_length` is out of range, or an uncentered waveform is shorter than a
        window.

    See Also
    --------
    istft : The inverse.
    count_frames : The number of frames.

    Examples
    --------
    >>> import torch
    >>> from sksep.nn.spectral import stft
    >>> stft(torch.zeros(2, 16000), 1024, 128).shape
    torch.Size([2, 126, 513])
    """
    return torch.fft.rfft(_windowed_frames(waveforms, n_fft, hop_length, center))


def istft(
    spectra: Tensor, n_fft: int, hop_length: int, *, n_samples: int, center: bool = True
) -> Tensor:
    """Invert `stft` by weighted overlap-add.

    Frames are windowed once more, added where they overlap, and divided by the sum of the squared
    windows. The result is the waveform whose spectra are nearest to the given ones [1]_. Spectra of
    `stft` give their waveform up to rounding errors, if the hop is at most half a window. The hop
    need not divide the window.

    Parameters
    ----------
    spectra : Tensor of shape (..., n_frames, n_fft // 2 + 1)
        Complex spectra.
    n_fft, hop_length : int
        Window and hop in samples.
    n_samples : int
        Length of the waveform; it must be one that gives `n_frames` frames.
    center : bool, default=True
        As in `stft`. If it is False, the first and last samples, which the window almost removes
        (6 % of its length), fade out instead of being amplified, and a remainder that no frame
        covers is silent.

    Returns
    -------
    Tensor of shape (..., n_samples)
        Real waveforms. Gradients flow through them.

    Raises
    ------
    ValueError
        If the number of bins or frames does not belong to `n_fft` or `n_samples`.

    References
    ----------
    .. [1] Griffin, D. W. and Lim, J. S. (1984). Signal estimation from modified short-time
       Fourier transform. IEEE Transactions on Acoustics, Speech, and Signal Processing, 32(2).

    Examples
    --------
    >>> import torch
    >>> from sksep.nn.spectral import istft, stft
    >>> waveform = torch.sin(torch.arange(1000) / 10)
    >>> spectra = stft(waveform, 256, 100)
    >>> torch.allclose(istft(spectra, 256, 100, n_samples=1000), waveform, atol=1e-5)
    True
    """
    check_spectrogram_shape(spectra, n_fft, hop_length, n_samples, center)
    frames = torch.fft.irfft(spectra, n=n_fft)
    signal = _OverlapAdd.apply(frames, window(n_fft, frames.dtype, frames.device), hop_length)
    squares = squared_window_sum(
        spectra.shape[-2], n_fft, hop_length, center, frames.dtype, frames.device
    )
    start, stop = kept_samples(n_fft, n_samples, center)
    signal = signal[..., start:stop] / squares[start:stop]
    return functional.pad(signal, (0, n_samples - signal.shape[-1]))


def power(spectra: Tensor) -> Tensor:
    """Squared magnitude of complex spectra.

    Parameters
    ----------
    spectra : complex Tensor
        Spectra of any shape.

    Returns
    -------
    Tensor
        Real tensor of the same shape. Gradients flow through it, also at zero.

    Raises
    ------
    RuntimeError
        If the spectra are real.

    Examples
    --------
    >>> import torch
    >>> from sksep.nn.spectral import power
    >>> power(torch.tensor([3.0 + 4.0j]))
    tensor([25.])
    """
    return _Power.apply(spectra)


def mel_frequencies(n_frequencies: int, f_min: float, f_max: float) -> DoubleArray:
    """Frequencies at equal steps of Slaney's mel scale.

    It is written out because the import of librosa takes longer than the separation of a short
    song.

    Parameters
    ----------
    n_frequencies : int
        Number of frequencies.
    f_min, f_max : float
        First and last frequency in Hz.

    Returns
    -------
    ndarray of shape (n_frequencies,)
        Frequencies in Hz, equal to those of `librosa.mel_frequencies`.

    Examples
    --------
    >>> from sksep.nn.spectral import mel_frequencies
    >>> mel_frequencies(4, 0.0, 1000.0).round(1)
    array([   0. ,  333.3,  666.7, 1000. ])
    """
    mels = np.linspace(_hertz_to_mel(f_min), _hertz_to_mel(f_max), n_frequencies)
    frequencies = _HERTZ_PER_MEL * mels
    high = mels >= _LOGARITHMIC_FROM_MEL
    octaves = _LOGARITHMIC_STEP * (mels[high] - _LOGARITHMIC_FROM_MEL)
    frequencies[high] = _LOGARITHMIC_FROM * np.exp(octaves)
    return frequencies


def _hertz_to_mel(frequency: float) -> float:
    if frequency < _LOGARITHMIC_FROM:
        return frequency / _HERTZ_PER_MEL
    steps = np.log(frequency / _LOGARITHMIC_FROM) / _LOGARITHMIC_STEP
    return float(_LOGARITHMIC_FROM_MEL + steps)


def mel_triangles(edges: npt.NDArray[Any], frequencies: npt.NDArray[Any]) -> DoubleArray:
    """Triangles between the edges of mel bands, with a peak of one, at any frequencies.

    Parameters
    ----------
    edges : ndarray of shape (n_mels + 2,)
        Frequencies at which the triangles begin, peak and end, in Hz and in ascending order.
    frequencies : ndarray of shape (n_frequencies,)
        Frequencies in Hz.

    Returns
    -------
    ndarray of shape (n_mels, n_frequencies)
        Weights in [0, 1].

    Examples
    --------
    >>> import numpy as np
    >>> from sksep.nn.spectral import mel_triangles
    >>> mel_triangles(np.array([0.0, 100.0, 300.0]), np.array([50.0, 100.0, 200.0, 400.0]))
    array([[0.5, 1. , 0.5, 0. ]])
    """
    low, center, high = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    rising = (frequencies - low) / (center - low)
    falling = (high - frequencies) / (high - center)
    return np.maximum(0.0, np.minimum(rising, falling))


@lru_cache(maxsize=32)
def mel_filter_bank(
    sample_rate: float, n_fft: int, n_mels: int, f_min: float = 0.0, f_max: float | None = None
) -> Tensor:
    """Triangular mel filters after Slaney's scale, each of unit area in Hz.

    Parameters
    ----------
    sample_rate : float
        Sample rate in Hz.
    n_fft : int
        Length of the window in samples.
    n_mels : int
        Number of bands.
    f_min : float, default=0.0
        Lower edge of the first band in Hz.
    f_max : float, default=None
        Upper edge of the last band in Hz; None is half the sample rate.

    Returns
    -------
    Tensor of shape (n_mels, n_fft // 2 + 1)
        Filters in float32, equal to those of `librosa.filters.mel`. Calls with equal parameters
        share one tensor: do not write to it.

    Examples
    --------
    >>> from sksep.nn.spectral import mel_filter_bank
    >>> mel_filter_bank(16000, 1024, 128).shape
    torch.Size([128, 513])
    """
    edges = mel_frequencies(n_mels + 2, f_min, sample_rate / 2 if f_max is None else f_max)
    triangles = mel_triangles(edges, np.fft.rfftfreq(n_fft, 1.0 / sample_rate))
    # In float32, as librosa does, so that both have the same bits.
    bank = triangles.astype(np.float32) * (2.0 / (edges[2:] - edges[:-2]))[:, None]
    # As in `_window`: a tensor made within inference mode could not be used in training later.
    with torch.inference_mode(False):
        return torch.tensor(bank, dtype=torch.float32, device="cpu")


def decibels(power: Tensor, floor: float = 1e-10) -> Tensor:
    """Power in dB, relative to a power of one.

    Parameters
    ----------
    power : Tensor
        Non-negative powers of any shape.
    floor : float, default=1e-10
        Smallest power, above 0. Lower powers count as this one.

    Returns
    -------
    Tensor
        ``10 * log10(max(power, floor))``.

    Examples
    --------
    >>> import torch
    >>> from sksep.nn.spectral import decibels
    >>> decibels(torch.tensor([1.0, 0.01, 0.0]))
    tensor([   0.,  -20., -100.])
    """
    return 10.0 * torch.log10(power.clamp(min=floor))


@torch.no_grad()
def log_mel(
    waveforms: Tensor,
    filter_bank: Tensor | None,
    n_fft: int,
    hop_length: int,
    *,
    center: bool = True,
    floor: float = 1e-10,
    together: bool = False,
    block_frames: int | None = None,
) -> Tensor:
    """Log-power spectrogram in bands, for inference: without gradients, in bounded memory.

    It equals ``decibels(power(stft(...)) @ filter_bank.T, floor)``, but is computed in blocks of
    frames that stay in the cache, so that no spectrogram but the result is ever held as a whole.

    Parameters
    ----------
    waveforms : Tensor of shape (..., n_samples)
        Real samples, float32 or float64.
    filter_bank : Tensor of shape (n_bands, n_fft // 2 + 1) or None
        Weights of the bins in each band, as from `mel_filter_bank`; None keeps the linear bins.
    n_fft, hop_length : int
        Window and hop in samples.
    center : bool, default=True
        Whether half a window of zeros surrounds the waveform, as in `stft`.
    floor : float, default=1e-10
        Smallest power, above 0. Lower powers count as this one.
    together : bool, default=False
        Whether all waveforms make one spectrogram, as the channels of a track: that of their mean,
        or half of their mean power where this is larger, since opposite phases cancel in the mean.
    block_frames : int, optional
        Number of frames that are processed at a time; by default it suits the device.

    Returns
    -------
    Tensor of shape (..., n_frames, n_bands), or (n_frames, n_bands) if `together`
        Level in dB, relative to a power of one and at least ``10 * log10(floor)``.

    Raises
    ------
    TypeError
        If `waveforms` is neither float32 nor float64.
    ValueError
        If `n_fft` or `hop_length` is out of range, or an uncentered waveform is shorter than a
        window.

    Examples
    --------
    >>> import torch
    >>> from sksep.nn.spectral import log_mel, mel_filter_bank
    >>> log_mel(torch.zeros(16000), mel_filter_bank(16000, 1024, 128), 1024, 128).shape
    torch.Size([126, 128])
    """
    check_waveforms(waveforms)
    n_frames = count_frames(waveforms.shape[-1], n_fft, hop_length, center=center)
    batch_shape = waveforms.shape[:-1]
    signals = waveforms.detach().reshape(batch_shape.numel(), waveforms.shape[-1])
    taper = window(n_fft, waveforms.dtype, waveforms.device)
    n_results = 1 if together else signals.shape[0]
    if together:
        signals = _mean_and_differences(signals)
    is_joint = together and len(signals) > 1
    n_parts = 1 if is_joint else 2
    bands = None if filter_bank is None else _compact_bands(filter_bank.to(waveforms), n_parts)
    n_bands = n_fft // 2 + 1 if filter_bank is None else filter_bank.shape[0]
    result = waveforms.new_empty(n_results, n_frames, n_bands)
    if block_frames is None:
        block_frames = frames_per_block(n_fft, waveforms.device)
    blocks = [
        (signal, slice(start, start + block_frames))
        for signal in range(n_results)
        for start in range(0, n_frames, block_frames)
    ]

    def work(block: tuple[int, slice]) -> None:
        block_result = result[block]
        spectra = torch.fft.rfft((frames[:, block[1]] if is_joint else frames[block]) * taper)
        if bands is None:
            block_result.copy_(_joint_power(spectra) if is_joint else power(spectra))
        else:
            if is_joint:
                squares = _joint_power(spectra)
            else:
                squares = torch.view_as_real(spectra).flatten(-2).square_()
            # Products into a given result are taken in full precision also under autocast.
            for band, parts, weights in bands:
                torch.matmul(squares[:, parts], weights, out=block_result[:, band])
        block_result.clamp_(min=floor).log10_().mul_(10.0)

    in_parallel = parallel_map(count_workers(waveforms.device, len(blocks)))
    # A worker does this too: torch's own threads, once used, stay busy while they wait.
    (padded,) = in_parallel(lambda signals: _padded(signals, n_fft, center), [signals])
    frames = padded.unfold(-1, n_fft, hop_length)
    in_parallel(work, blocks)
    return result[0] if together else result.reshape(*batch_shape, n_frames, n_bands)


def _mean_and_differences(channels: Tensor) -> Tensor:
    """The mean of channels (n_channels, n_samples), and behind it the differences among them.

    The power of all together is the mean power of the channels. Two channels have one difference,
    half of the left minus the right one. Without any differences the mean is alone.
    """
    n_channels = len(channels)
    if n_channels == 1:
        return channels
    index = torch.arange(n_channels, dtype=torch.float64, device="cpu")
    # The orthogonal cosine transform of the channels.
    matrix = torch.cos(torch.pi / n_channels * (index + 0.5) * index[:, None])
    matrix[1:] *= 2.0**0.5
    rotated = (matrix / n_channels).to(channels) @ channels
    return rotated if rotated[1:].any() else rotated[:1]


def _joint_power(spectra: Tensor) -> Tensor:
    """Joint power (n_frames, n_bins) of the spectra of a mean and differences.

    Half of the mean power of the channels, half of the sum of all powers here, is larger than the
    power of the mean where the differences have more power than this.
    """
    squares = torch.view_as_real(spectra).square_()
    powers = squares[..., 0] + squares[..., 1]
    mean, differences = powers[0], powers[1:].sum(dim=0)
    return mean.add_(differences.sub_(mean).clamp_(min=0.0), alpha=0.5)


def window(n_fft: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The periodic Hann window of shape (n_fft,). It is cached: do not write to it."""
    return _window(n_fft, dtype, str(device))


def windowed_frames(signal: Tensor, taper: Tensor, hop_length: int) -> Tensor:
    """Frames (..., n_frames, n_fft) of signals (..., n_samples), multiplied by a window."""
    return signal.unfold(-1, taper.shape[0], hop_length) * taper


def overlap_add(frames: Tensor, taper: Tensor, hop_length: int) -> Tensor:
    """Add windowed frames where they overlap; the adjoint of `windowed_frames`.

    Parameters
    ----------
    frames : Tensor of shape (..., n_frames, n_fft)
        Frames `hop_length` apart.
    taper : Tensor of shape (n_fft,)
        Window that each of them is multiplied by.
    hop_length : int
        Hop in samples.

    Returns
    -------
    Tensor of shape (..., n_hops * hop_length)
        Sums, ``n_hops = n_frames + ceil(n_fft / hop_length) - 1``; zeros fill up the last hop.
    """
    *batch_shape, n_frames, n_fft = frames.shape
    n_parts = -(-n_fft // hop_length)  # hops in a frame
    silent = n_parts - 1
    length = n_parts * hop_length
    # Part j of frame t falls on hop t + j. With silent frames around them, the parts that fall on
    # one hop lie at a constant distance in memory: one strided sum adds them all.
    padded = frames.new_empty(*batch_shape, n_frames + 2 * silent, length)
    padded[..., :silent, :] = 0.0
    padded[..., silent + n_frames :, :] = 0.0
    padded[..., n_fft:] = 0.0
    torch.mul(frames, taper, out=padded[..., silent : silent + n_frames, :n_fft])
    parts = padded.as_strided(
        (*batch_shape, n_frames + silent, n_parts, hop_length),
        (*padded.stride()[:-2], length, length - hop_length, 1),
        silent * hop_length,
    )
    return parts.sum(-2).flatten(-2)


def squared_window_sum(
    n_frames: int,
    n_fft: int,
    hop_length: int,
    center: bool,
    dtype: torch.dtype,
    device: torch.device,
) -> Tensor:
    """Sum of squared windows that `istft` divides by, as long as the sum of the frames.

    It never falls below a small positive value, so that dividing by it amplifies nothing.
    """
    n_parts = -(-n_fft // hop_length)
    total = _short_squared_window_sum(
        min(n_frames, 2 * n_parts), n_fft, hop_length, dtype, str(device)
    )
    # Every hop that all parts of a window reach has the same sum.
    n_missing = n_frames - 2 * n_parts
    if n_missing > 0:
        middle = total[n_parts].expand(n_missing, hop_length)
        total = torch.cat([total[:n_parts], middle, total[n_parts:]])
    smallest = torch.finfo(dtype).eps if center else _SMALLEST_UNCENTERED_SUM
    return total.flatten().clamp(min=smallest)


def kept_samples(n_fft: int, n_samples: int, center: bool) -> tuple[int, int]:
    """Start and stop of the waveform within the sum of its frames."""
    start = n_fft // 2 if center else 0
    return start, start + n_samples


def frames_per_block(n_fft: int, device: torch.device) -> int:
    """Number of frames that are processed at a time."""
    samples = _CPU_BLOCK_SAMPLES if device.type == "cpu" else _DEVICE_BLOCK_SAMPLES
    return max(1, samples // n_fft)


def check_waveforms(waveforms: Tensor) -> None:
    """Raise a TypeError unless the samples are float32 or float64."""
    if waveforms.dtype not in (torch.float32, torch.float64):
        raise TypeError(
            f"waveforms must be float32 or float64, got {waveforms.dtype}. Convert them with "
            ".float()."
        )


def check_spectrogram_shape(
    spectrogram: Tensor, n_fft: int, hop_length: int, n_samples: int, center: bool
) -> None:
    """Raise a ValueError unless the last two axes belong to a waveform of `n_samples` samples."""
    expected = (count_frames(n_samples, n_fft, hop_length, center=center), n_fft // 2 + 1)
    if tuple(spectrogram.shape[-2:]) != expected:
        raise ValueError(
            f"A spectrogram of {n_samples} samples with n_fft={n_fft}, hop_length={hop_length} and "
            f"center={center} ends in {expected} (frames, bins), but the one given has the shape "
            f"{tuple(spectrogram.shape)}. Pass the settings and the length of its waveform, time "
            "first."
        )


def _windowed_frames(waveforms: Tensor, n_fft: int, hop_length: int, center: bool) -> Tensor:
    check_waveforms(waveforms)
    count_frames(waveforms.shape[-1], n_fft, hop_length, center=center)
    taper = window(n_fft, waveforms.dtype, waveforms.device)
    return _Frame.apply(_padded(waveforms, n_fft, center), taper, hop_length)


def _padded(waveforms: Tensor, n_fft: int, center: bool) -> Tensor:
    if not center:
        return waveforms
    return functional.pad(waveforms, (n_fft // 2, n_fft - n_fft // 2))


def _compact_bands(filter_bank: Tensor, n_parts: int) -> list[tuple[slice, slice, Tensor]]:
    """Groups of neighboring bands, with the parts of the spectra that they cover, and weights.

    Each mel band covers few bins: products over these alone take a third of the time. With two
    parts, the products also add the squares of real and imaginary parts, which are neighbors in
    memory: bin k has the parts 2 k and 2 k + 1 of equal weight. Adding them first takes longer.
    """
    groups = []
    for start in range(0, filter_bank.shape[0], _BANDS_PER_PRODUCT):
        weights = filter_bank[start : start + _BANDS_PER_PRODUCT]
        covered = weights.any(0).nonzero()
        low, high = (int(covered[0]), int(covered[-1]) + 1) if len(covered) else (0, 1)
        groups.append(
            (
                slice(start, start + len(weights)),
                slice(n_parts * low, n_parts * high),
                weights[:, low:high].T.repeat_interleave(n_parts, dim=0),
            )
        )
    return groups


@lru_cache(maxsize=32)
def _window(n_fft: int, dtype: torch.dtype, device: str) -> Tensor:
    # A tensor made within inference mode could not be used in training later.
    with torch.inference_mode(False):
        # In double precision, since the small values at its ends would otherwise be wrong by some
        # percent; on the CPU, since not every device has it.
        return torch.hann_window(n_fft, dtype=torch.float64, device="cpu").to(device, dtype)


@lru_cache(maxsize=64)
def _short_squared_window_sum(
    n_frames: int, n_fft: int, hop_length: int, dtype: torch.dtype, device: str
) -> Tensor:
    """Sum of squared windows of shape (n_hops, hop_length)."""
    taper = _window(n_fft, dtype, device)
    with torch.inference_mode(False), torch.no_grad():
        total = overlap_add(taper.expand(n_frames, n_fft), taper, hop_length)
        return total.unflatten(-1, (-1, hop_length))


class _Frame(torch.autograd.Function):
    """`windowed_frames` whose gradient is an overlap-add, four times as fast as that of unfold."""

    @staticmethod
    def forward(ctx: Any, signal: Tensor, taper: Tensor, hop_length: int) -> Tensor:
        ctx.taper, ctx.hop_length, ctx.length = taper, hop_length, signal.shape[-1]
        return windowed_frames(signal, taper, hop_length)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        total = _OverlapAdd.apply(gradient, ctx.taper, ctx.hop_length)
        return functional.pad(total, (0, ctx.length - total.shape[-1])), None, None


class _OverlapAdd(torch.autograd.Function):
    """`overlap_add` whose gradient is cut into frames."""

    @staticmethod
    def forward(ctx: Any, frames: Tensor, taper: Tensor, hop_length: int) -> Tensor:
        ctx.taper, ctx.hop_length, ctx.n_frames = taper, hop_length, frames.shape[-2]
        return overlap_add(frames, taper, hop_length)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        length = (ctx.n_frames - 1) * ctx.hop_length + ctx.taper.shape[0]
        return _Frame.apply(gradient[..., :length], ctx.taper, ctx.hop_length), None, None


class _Power(torch.autograd.Function):
    """Squared magnitude whose gradient is one product instead of two scattered ones."""

    @staticmethod
    def forward(ctx: Any, spectra: Tensor) -> Tensor:
        ctx.save_for_backward(spectra)
        squares = torch.view_as_real(spectra.resolve_conj()).square()
        return squares[..., 0] + squares[..., 1]

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (spectra,) = ctx.saved_tensors
        return 2.0 * gradient * spectra
