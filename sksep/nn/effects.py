"""Changes of tempo, pitch, formants and noise of batches of waveforms, for augmentation."""

from __future__ import annotations

import math
from fractions import Fraction

import torch
from torch import Tensor
from torch.nn import functional

from .spectral import istft, stft

__all__ = ["add_noise", "pitch_shift", "resample", "shift_formants", "time_stretch"]

# Phases are whole numbers of 2 ** -24 turns (the resolution of float32), so that their running sum
# is exact over any number of frames, wraps by itself, and is deterministic on every device.
_TURN = 2**24

_ZERO_CROSSINGS = 32  # of the sinc, on either side
_ROLL_OFF = 0.945  # half-amplitude frequency over the lower Nyquist frequency
_BLOCK = 16  # output samples computed from one frame of the input
_SLAB = 2**16  # output samples per step: bounds the memory for long waveforms
# Formants: windows in seconds; bins (of 16 Hz) on either side in a running mean of powers, which
# bridges the gaps between the harmonics of voices below 400 Hz and still shows formants; the least
# power of an envelope; and the largest change in the natural logarithm of the amplitude, 26 dB.
_ENVELOPE_SECONDS, _ENVELOPE_BINS = 0.064, 9
_LEAST_POWER, _LARGEST_LOG_GAIN = 1e-8, 3.0
_LARGEST_DENOMINATOR = 4096  # of ratios of sample rates that count as rational


def _check_waveforms(waveforms: Tensor) -> None:
    if waveforms.dtype not in (torch.float32, torch.float64):
        raise TypeError(f"waveforms must be float32 or float64, got {waveforms.dtype}.")
    if waveforms.ndim == 0 or waveforms.shape[-1] == 0:
        raise ValueError(
            f"waveforms must have at least one sample along the last axis, got shape "
            f"{tuple(waveforms.shape)}."
        )


def _check_positive(value: float, name: str) -> None:
    if not (math.isfinite(value) and value > 0):
        raise ValueError(f"{name} must be a finite number above 0, got {value!r}.")


def _check_frames(n_fft: int, hop_length: int) -> None:
    if n_fft < 2 or not 1 <= hop_length <= n_fft // 2:
        raise ValueError(
            f"n_fft must be at least 2 and hop_length between 1 and n_fft // 2, got "
            f"n_fft={n_fft!r} and hop_length={hop_length!r}."
        )


def _nearest_peaks(magnitudes: Tensor) -> Tensor:
    """Index of the spectral peak nearest to each bin, of shape (..., n_frames, n_bins)."""
    shape, n_bins = magnitudes.shape, magnitudes.shape[-1]
    flat = magnitudes.reshape(-1, 1, n_bins)
    is_peak = (flat >= functional.max_pool1d(flat, 3, stride=1, padding=1)).reshape(shape)
    bins = torch.arange(n_bins, device=magnitudes.device)
    below = torch.where(is_peak, bins, -2 * n_bins).cummax(dim=-1).values
    above = torch.where(is_peak, bins, 3 * n_bins).flip(-1).cummin(dim=-1).values.flip(-1)
    nearest = torch.where(bins - below <= above - bins, below, above)
    return nearest.clamp(0, n_bins - 1)  # a frame with NaN may have no peak


def _accumulate(rotations: Tensor, origins: Tensor) -> Tensor:
    """Running sum over the frames, along the path that `origins` sets through the bins.

    The sum of bin ``k`` in frame ``t`` is ``rotations[t, k]`` and the sum of bin
    ``origins[t, k]`` in frame ``t - 1``. Frames are joined in pairs, which are summed the same way.
    """
    if rotations.shape[-2] == 1:
        return rotations
    n_paired = rotations.shape[-2] // 2 * 2
    first, second = slice(0, n_paired, 2), slice(1, n_paired, 2)
    path = origins[..., second, :]
    pairs = rotations[..., second, :] + rotations[..., first, :].gather(-1, path)
    pairs = _accumulate(pairs, origins[..., first, :].gather(-1, path))
    sums = rotations.clone()
    sums[..., second, :] = pairs
    path = origins[..., 2::2, :]
    sums[..., 2::2, :] += pairs[..., : path.shape[-2], :].gather(-1, path)
    return sums


def _phase_vocoder(spectra: Tensor, rate: float, n_stretched: int) -> Tensor:
    """Take `n_stretched` frames of `spectra` (..., n_frames, n_bins), `rate` frames apart."""
    n_frames = spectra.shape[-2]
    spectra = functional.pad(spectra, (0, 0, 0, 1))  # the last frame has a successor: silence
    # Positions are in float64 and on the CPU: exact enough for any length, for any device.
    positions = torch.arange(n_stretched, dtype=torch.float64) * rate
    positions = positions.clamp(max=n_frames - 1e-6)
    whole = positions.floor()
    fraction = (positions - whole).to(spectra.real)[:, None]
    before = whole.long().to(spectra.device)

    magnitudes = spectra.abs()
    here, there = magnitudes[..., before, :], magnitudes[..., before + 1, :]
    peaks = _nearest_peaks(here)
    magnitudes = torch.lerp(here, there, fraction)

    phases = (spectra.angle() * (_TURN / (2 * math.pi))).round().long()
    here, there = phases[..., before, :], phases[..., before + 1, :]
    # A frame begins at the phase that the frame before it has reached. The difference to its own
    # phase is the rotation that it needs in addition to that of the frame before it. All bins
    # around a peak rotate as the peak does, which keeps their phases aligned.
    rotations = functional.pad(there[..., :-1, :] - here[..., 1:, :], (0, 0, 1, 0))
    rotations = _accumulate(rotations.gather(-1, peaks), peaks)
    angles = (here + rotations).remainder(_TURN).to(magnitudes.dtype) * (2 * math.pi / _TURN)
    return torch.polar(magnitudes, angles)


def _stretch(
    waveforms: Tensor, rate: float, n_stretched: int, n_fft: int, hop_length: int
) -> Tensor:
    if n_stretched == 0 or waveforms.numel() == 0:
        return waveforms.new_zeros((*waveforms.shape[:-1], n_stretched))
    # On both sides of the vocoder the last frame is centered at or after the last sample: if
    # samples lay at the edge of the only window that covers them, istft would amplify errors.
    spectra = stft(functional.pad(waveforms, (0, hop_length)), n_fft, hop_length)
    n_hops = math.ceil(n_stretched / hop_length)
    spectra = _phase_vocoder(spectra, rate, 1 + n_hops)
    return istft(spectra, n_fft, hop_length, n_samples=n_hops * hop_length)[..., :n_stretched]


@torch.no_grad()
def time_stretch(
    waveforms: Tensor, rate: float, *, n_fft: int = 1024, hop_length: int = 256
) -> Tensor:
    """Change the tempo of waveforms and keep their pitch, by a phase vocoder.

    All waveforms are computed together on their own device. Magnitudes are interpolated between
    frames; phases are the running sum of the phase advances of the spectral peaks, and the bins
    around a peak keep their phase relative to it [1]_. That keeps the level of the
    waveforms. Gradients do not flow through it.

    Parameters
    ----------
    waveforms : Tensor of shape (..., n_samples)
        Waveforms, float32 or float64, at least one sample long.
    rate : float
        Speed, above 0: 2.0 halves the duration, 0.5 doubles it, as in
        ``librosa.effects.time_stretch``. At 1.0 the result is a copy.
    n_fft : int, default=1024
        Length of the window in samples.
    hop_length : int, default=256
        Samples between frames, at most ``n_fft // 2``; a quarter of `n_fft` or less sounds best.

    Returns
    -------
    stretched : Tensor of shape (..., round(n_samples / rate))
        Stretched waveforms of the same dtype and on the same device.

    Raises
    ------
    TypeError
        If the waveforms are neither float32 nor float64.
    ValueError
        If the waveforms are empty, or `rate`, `n_fft` or `hop_length` is out of range.

    References
    ----------
    .. [1] J. Laroche and M. Dolson, "Improved phase vocoder time-scale modification of audio",
       IEEE Transactions on Speech and Audio Processing 7(3), 1999.

    Examples
    --------
    >>> import torch
    >>> from sksep.nn.effects import time_stretch
    >>> waveforms = torch.sin(torch.arange(16000) * 0.2).expand(2, -1)
    >>> time_stretch(waveforms, 1.25).shape
    torch.Size([2, 12800])
    """
    _check_waveforms(waveforms)
    _check_positive(rate, "rate")
    _check_frames(n_fft, hop_length)
    if rate == 1:
        return waveforms.clone()
    n_stretched = round(waveforms.shape[-1] / rate)
    return _stretch(waveforms, rate, n_stretched, n_fft, hop_length)


def _kernel(distances: Tensor, cutoff: float, half_width: float) -> Tensor:
    """Low-pass filter at distances in samples: a sinc under a Blackman window."""
    cosine = torch.cos(distances.clamp(-half_width, half_width) * (math.pi / half_width))
    window = 0.34 + 0.5 * cosine + 0.16 * cosine.square()
    return cutoff * torch.sinc(cutoff * distances) * window


def _blocks_per_period(ratio: float) -> float:
    """Number of blocks after which the distances between old and new samples repeat."""
    fraction = Fraction(ratio).limit_denominator(_LARGEST_DENOMINATOR)
    if not math.isclose(fraction, ratio, rel_tol=1e-15):
        return math.inf
    return fraction.numerator // math.gcd(fraction.numerator, _BLOCK)


def _interpolate(waveforms: Tensor, ratio: float, n_resampled: int) -> Tensor:
    """First `n_resampled` samples of (n_waveforms, n_samples) at `ratio` times the sample rate."""
    lower = min(1.0, ratio)
    half_width = math.ceil(_ZERO_CROSSINGS / lower)
    n_frame = math.ceil(_BLOCK / ratio) + 2 * half_width + 1
    taps = torch.arange(-half_width, n_frame - half_width, device=waveforms.device)
    taps = taps.to(waveforms.dtype)[:, None]
    n_blocks = -(-n_resampled // _BLOCK)
    # All slabs have one size: some blocks of different weights, repeated over several periods.
    n_slab = -(-n_blocks // -(-n_blocks // (_SLAB // _BLOCK)))
    period = _blocks_per_period(ratio)
    n_different = int(period) if 2 * period <= n_slab else n_slab
    n_periods = -(-n_slab // n_different)
    n_slab = n_different * n_periods
    further = torch.arange(n_periods) * round(n_different * _BLOCK / ratio)
    last = math.floor(-(-n_blocks // n_slab) * n_slab * _BLOCK / ratio) + n_frame
    padded = functional.pad(waveforms, (half_width, max(0, last - waveforms.shape[-1])))
    frames = padded.unfold(-1, n_frame, 1).transpose(0, 1)

    slabs = []
    for first in range(0, n_blocks, n_slab):
        blocks = torch.arange(first, first + n_different, dtype=torch.float64)
        # Positions are in float64 on the CPU, the small distances then in the waveforms' dtype.
        positions = (blocks[:, None] * _BLOCK + torch.arange(_BLOCK)) / ratio
        starts = positions[:, :1].floor()
        offsets = (positions - starts).to(waveforms)[:, None, :]
        weights = _kernel(offsets - taps, _ROLL_OFF * lower, half_width)
        inputs = frames[(starts.long() + further).to(frames.device)]
        samples = (inputs.flatten(1, 2) @ weights).unflatten(1, inputs.shape[1:3])
        slabs.append(samples.permute(2, 1, 0, 3).flatten(1))
    return torch.cat(slabs, dim=1)[:, :n_resampled]


def _resample(waveforms: Tensor, ratio: float, n_resampled: int) -> Tensor:
    shape = (*waveforms.shape[:-1], n_resampled)
    if n_resampled == 0 or waveforms.numel() == 0:
        return waveforms.new_zeros(shape)
    # Under autocast, products of matrices would be rounded to half precision.
    with torch.autocast(waveforms.device.type, enabled=False):
        flat = waveforms.reshape(-1, waveforms.shape[-1])
        return _interpolate(flat, ratio, n_resampled).reshape(shape)


@torch.no_grad()
def resample(waveforms: Tensor, ratio: float) -> Tensor:
    """Resample waveforms by any ratio, by windowed-sinc interpolation.

    Sample ``m`` of the result is the value at position ``m / ratio`` of the waveforms. Beyond
    their ends is silence. The filter [1]_ has linear phase and no delay. It passes
    frequencies up to 0.85 of the lower of the two Nyquist frequencies with an error below
    -70 dB, and keeps aliases of 1.04 of it and more below -65 dB. Gradients do not flow
    through it.

    Parameters
    ----------
    waveforms : Tensor of shape (..., n_samples)
        Waveforms, float32 or float64, at least one sample long.
    ratio : float
        New sample rate over the old one, above 0, rational or not. At 1.0 the result is a copy.

    Returns
    -------
    resampled : Tensor of shape (..., round(n_samples * ratio))
        Resampled waveforms of the same dtype, device and amplitude.

    Raises
    ------
    TypeError
        If the waveforms are neither float32 nor float64.
    ValueError
        If the waveforms are empty or `ratio` is not a finite number above 0.

    References
    ----------
    .. [1] J. O. Smith and P. Gossett, "A flexible sampling-rate conversion method", IEEE ICASSP,
       1984.

    Examples
    --------
    >>> import torch
    >>> from sksep.nn.effects import resample
    >>> waveforms = torch.sin(torch.arange(16000) * 0.2).expand(2, -1)
    >>> resample(waveforms, 0.7).shape
    torch.Size([2, 11200])
    """
    _check_waveforms(waveforms)
    _check_positive(ratio, "ratio")
    if ratio == 1:
        return waveforms.clone()
    return _resample(waveforms, ratio, round(waveforms.shape[-1] * ratio))


@torch.no_grad()
def pitch_shift(
    waveforms: Tensor, semitones: float, *, n_fft: int = 1024, hop_length: int = 256
) -> Tensor:
    """Change the pitch of waveforms and keep their duration.

    The waveforms are stretched by `time_stretch` and resampled to their former length by
    `resample`. Formants move with the pitch. Gradients do not flow through it.

    Parameters
    ----------
    waveforms : Tensor of shape (..., n_samples)
        Waveforms, float32 or float64, at least one sample long.
    semitones : float
        Interval in equal-tempered semitones, also in fractions: 12.0 is an octave up, -12.0 an
        octave down, as in ``librosa.effects.pitch_shift``. At 0.0 the result is a copy.
    n_fft, hop_length : int, default=1024 and 256
        Window and hop in samples, as for `time_stretch`.

    Returns
    -------
    shifted : Tensor of shape (..., n_samples)
        Shifted waveforms of the same dtype and on the same device.

    Raises
    ------
    TypeError
        If the waveforms are neither float32 nor float64.
    ValueError
        If the waveforms are empty, or `semitones`, `n_fft` or `hop_length` is out of range.

    Examples
    --------
    >>> import torch
    >>> from sksep.nn.effects import pitch_shift
    >>> waveforms = torch.sin(torch.arange(16000) * 2 * torch.pi * 440 / 16000)
    >>> octave = pitch_shift(waveforms, 12.0)
    >>> octave.shape
    torch.Size([16000])
    >>> int(torch.fft.rfft(octave).abs().argmax())  # Hz, as the waveform lasts a second
    880
    """
    _check_waveforms(waveforms)
    if not (math.isfinite(semitones) and abs(semitones) <= 60):
        raise ValueError(f"semitones must be between -60 and 60, got {semitones!r}.")
    _check_frames(n_fft, hop_length)
    if semitones == 0:
        return waveforms.clone()
    n_samples = waveforms.shape[-1]
    rate = 2.0 ** (-semitones / 12)
    stretched = _stretch(waveforms, rate, math.ceil(n_samples / rate), n_fft, hop_length)
    return _resample(stretched, rate, n_samples)


@torch.no_grad()
def add_noise(
    waveforms: Tensor, snr_db: Tensor, *, generator: torch.Generator | None = None
) -> Tensor:
    """Add white Gaussian noise to each waveform at a given signal-to-noise ratio.

    The ratio is exact: it holds for the noise drawn, not for its expectation. Silent waveforms
    stay as they are. The noise is drawn on the generator's device, so that a CPU generator
    gives the same noise on every device.

    Parameters
    ----------
    waveforms : Tensor of shape (batch, ..., n_samples)
        Waveforms, float32 or float64. With further axes, such as channels, the level is that of
        the whole item.
    snr_db : Tensor of shape (batch,)
        Ratio of the power of the waveform to that of its noise, in dB; infinity adds no noise.
    generator : torch.Generator, default=None
        Source of the random numbers; None is torch's global one on the device of the waveforms.

    Returns
    -------
    noisy : Tensor of shape (batch, ..., n_samples)
        Waveforms with noise, of the same dtype and on the same device.

    Raises
    ------
    TypeError
        If the waveforms are neither float32 nor float64.
    ValueError
        If the waveforms have no batch axis or no samples, or `snr_db` has another shape
        than (batch,) or holds NaN or minus infinity.

    Examples
    --------
    >>> import torch
    >>> from sksep.nn.effects import add_noise
    >>> waveforms = torch.sin(torch.arange(16000) * 0.2).expand(2, -1)
    >>> generator = torch.Generator().manual_seed(0)
    >>> noisy = add_noise(waveforms, torch.tensor([20.0, 40.0]), generator=generator)
    >>> noise = noisy - waveforms
    >>> 10 * torch.log10(waveforms.square().mean(-1) / noise.square().mean(-1))
    tensor([20.0000, 40.0000])
    """
    _check_waveforms(waveforms)
    if waveforms.ndim < 2 or tuple(snr_db.shape) != (waveforms.shape[0],):
        raise ValueError(
            f"snr_db must hold one value per waveform of a batch (batch, ..., n_samples), got "
            f"shape {tuple(snr_db.shape)} for waveforms of shape {tuple(waveforms.shape)}."
        )
    if torch.isnan(snr_db).any() or torch.isneginf(snr_db).any():
        raise ValueError("snr_db must not hold NaN or minus infinity.")
    device = waveforms.device if generator is None else generator.device
    noise = torch.randn(
        waveforms.shape, generator=generator, device=device, dtype=waveforms.dtype
    ).to(waveforms.device)
    item = tuple(range(1, waveforms.ndim))
    signal_level = waveforms.square().mean(item, keepdim=True).sqrt()
    noise_level = noise.square().mean(item, keepdim=True).sqrt()
    amplitudes = 10.0 ** (-snr_db.to(waveforms) / 20)
    gains = amplitudes.view_as(signal_level) * signal_level
    return waveforms + noise * (gains / noise_level.clamp_min(torch.finfo(noise.dtype).tiny))


@torch.no_grad()
def shift_formants(waveforms: Tensor, factors: Tensor, *, sample_rate: int = 16000) -> Tensor:
    """Move the formants of voices, and keep their pitch, duration and level.

    The spectral envelope, twice a running mean of the powers of each frame over 300 Hz [1]_, is
    stretched along the frequencies, as if the vocal tract had another length. At pitches above
    400 Hz the envelope also follows the harmonics, and the result is less exact. A frequency gains
    or loses 26 dB at most, before the whole is brought back to its level. Gradients do not flow
    through it.

    Parameters
    ----------
    waveforms : Tensor of shape (batch, n_samples)
        Waveforms, float32 or float64, at least one sample long.
    factors : Tensor of shape (batch,)
        Factors of the frequencies of the formants, above 0. At 1 a waveform stays as it is, up to
        rounding errors.
    sample_rate : int, default=16000
        Sample rate in Hz, which sets the length of the windows.

    Returns
    -------
    Tensor of shape (batch, n_samples)
        Waveforms of the same dtype, device and level.

    Raises
    ------
    TypeError
        If `waveforms` is neither float32 nor float64.
    ValueError
        If the waveforms have no samples or another shape than (batch, n_samples), if `factors` has
        another shape than (batch,) or values that are not finite and above 0, or if `sample_rate`
        is not above 0.

    References
    ----------
    .. [1] M. Morise, "CheapTrick, a spectral envelope estimator for high-quality speech synthesis",
       Speech Communication 67, 2015, whose running mean follows the pitch.

    Examples
    --------
    >>> import torch
    >>> from sksep.nn.effects import shift_formants
    >>> voice = torch.rand(1, 16000) - 0.5
    >>> shift_formants(voice, torch.tensor([1.2])).shape
    torch.Size([1, 16000])
    """
    _check_waveforms(waveforms)
    if waveforms.ndim != 2 or factors.shape != waveforms.shape[:1]:
        raise ValueError(
            "shift_formants needs waveforms of shape (batch, n_samples) and factors of shape "
            f"(batch,), got {tuple(waveforms.shape)} and {tuple(factors.shape)}."
        )
    if not bool(((factors > 0.0) & factors.isfinite()).all()):
        raise ValueError(f"factors must be finite numbers above 0, got {factors.tolist()!r:.200}.")
    _check_positive(sample_rate, "sample_rate")
    if waveforms.numel() == 0:
        return waveforms.clone()
    n_samples = waveforms.shape[-1]
    n_fft = 4 * max(1, round(_ENVELOPE_SECONDS * sample_rate / 4))
    hop_length = n_fft // 4
    n_missing = -n_samples % hop_length  # until the last frame is centered after the last sample
    spectra = stft(functional.pad(waveforms, (0, n_missing)), n_fft, hop_length)
    envelope = _log_envelope(spectra)
    n_bins = envelope.shape[-1]
    positions = torch.arange(n_bins, device=waveforms.device) / factors.to(waveforms)[:, None]
    positions = positions.clamp(max=n_bins - 1)
    below = positions.floor().clamp(max=n_bins - 2)
    index = below.long()[:, None].expand(envelope.shape)
    fraction = (positions - below)[:, None]
    moved = torch.lerp(envelope.gather(-1, index), envelope.gather(-1, index + 1), fraction)
    gains = (moved - envelope).clamp(-_LARGEST_LOG_GAIN, _LARGEST_LOG_GAIN).exp()
    shifted = istft(spectra * gains, n_fft, hop_length, n_samples=n_samples + n_missing)
    shifted = shifted[..., :n_samples]
    level, changed = (part.square().mean(dim=-1, keepdim=True) for part in (waveforms, shifted))
    return shifted * (level / changed.clamp_min(torch.finfo(level.dtype).tiny)).sqrt()


def _log_envelope(spectra: Tensor) -> Tensor:
    """Natural logarithms of the spectral envelope (batch, n_frames, n_bins) of amplitudes."""
    powers = spectra.real.square() + spectra.imag.square()
    for _ in range(2):
        powers = functional.avg_pool1d(
            powers, 2 * _ENVELOPE_BINS + 1, 1, _ENVELOPE_BINS, count_include_pad=False
        )
    return (powers + _LEAST_POWER).log() / 2
