"""Oscillators, time-varying filters and reverberation that the synthetic songs are made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import fft, signal

from sksep.utils._arrays import DoubleArray, FloatArray


def sawtooth(frequency: DoubleArray, sample_rate: int) -> FloatArray:
    """Sawtooth of a frequency that varies by sample, with little aliasing.

    It is the derivative of a parabola, which aliases far less than a sawtooth drawn sample by
    sample does.

    Parameters
    ----------
    frequency : ndarray of shape (n_samples,)
        Frequency in Hz.
    sample_rate : int
        Sample rate in Hz.

    Returns
    -------
    ndarray of shape (n_samples,), in [-1, 1]
    """
    step = frequency / sample_rate
    position = np.cumsum(step) % 1.0
    parabola = (2.0 * position - 1.0) ** 2
    return (np.diff(parabola, prepend=parabola[:1]) / (4.0 * step)).astype(np.float32)


def decaying_tone(
    frequency: float,
    amplitudes: Sequence[float],
    n_samples: int,
    sample_rate: int,
    *,
    decay: float,
    brightness_decay: float,
) -> FloatArray:
    """Sum of harmonics; number k fades as exp(-(decay + k brightness_decay) t).

    Parameters
    ----------
    frequency : float
        Frequency of the first harmonic in Hz.
    amplitudes : sequence of float
        Amplitude of each harmonic. Those above the Nyquist frequency are left out.
    n_samples, sample_rate : int
        Length in samples, and sample rate in Hz.
    decay, brightness_decay : float
        Decay rates in 1/s. A value of 0 sustains the tone.

    Returns
    -------
    ndarray of shape (n_samples,)
    """
    n_harmonics = max(1, min(len(amplitudes), int(0.48 * sample_rate / frequency)))
    harmonic = _powers((2j * np.pi * frequency - brightness_decay) / sample_rate, n_samples)
    # Horner's scheme: the harmonics are powers of the first one.
    total = np.zeros(n_samples, np.complex64)
    for amplitude in reversed(amplitudes[:n_harmonics]):
        total += np.float32(amplitude)
        total *= harmonic
    if decay:
        total *= _powers(-decay / sample_rate, n_samples)
    return np.ascontiguousarray(total.imag)


def _powers(rate: complex, n_samples: int) -> npt.NDArray[np.complex64]:
    """exp(rate * n) for n < n_samples, as an outer product of two short rows of exponentials."""
    width = 256
    n_rows = -(-n_samples // width)
    rows = np.exp(rate * width * np.arange(n_rows)).astype(np.complex64)
    columns = np.exp(rate * np.arange(width)).astype(np.complex64)
    return np.outer(rows, columns).ravel()[:n_samples]


def frame_length(sample_rate: int) -> int:
    """Length of the frames of `filter_frames`: a power of two, about 32 ms."""
    return int(2 ** round(np.log2(0.032 * sample_rate)))


def n_frames(n_samples: int, sample_rate: int) -> int:
    """Number of frames of `filter_frames`; their centers are a quarter frame apart."""
    return n_samples // (frame_length(sample_rate) // 4) + 2


def filter_frames(
    sounds: Sequence[FloatArray], gains: Sequence[FloatArray], sample_rate: int
) -> FloatArray:
    """Sum of sounds, each passed through a zero-phase filter that varies in time.

    Parameters
    ----------
    sounds : sequence of ndarray of shape (n_samples,)
    gains : sequence of ndarray of shape (n_frames, frame_length // 2 + 1)
        Amplitude gain of each sound by frame and frequency.
    sample_rate : int
        Sample rate in Hz.

    Returns
    -------
    ndarray of shape (n_samples,)
    """
    length = frame_length(sample_rate)
    hop = length // 4
    n_samples = sounds[0].size
    count = n_frames(n_samples, sample_rate)
    window = np.hanning(length + 1)[:-1].astype(np.float32)
    padding = (length // 2, (count - 1) * hop + length // 2 - n_samples)
    spectrum = np.zeros((count, length // 2 + 1), np.complex64)
    for sound, gain in zip(sounds, gains, strict=True):
        frames = np.lib.stride_tricks.sliding_window_view(np.pad(sound, padding), length)[::hop]
        spectrum += fft.rfft(frames * window, axis=1) * gain
    frames = fft.irfft(spectrum, length, axis=1) * (window / 1.5)  # squared windows sum to 1.5
    overlapped = np.zeros((count + 3, hop), np.float32)
    for quarter in range(4):
        overlapped[quarter : quarter + count] += frames[:, quarter * hop : (quarter + 1) * hop]
    return overlapped.ravel()[length // 2 : length // 2 + n_samples]


def band_noise(
    low: float, high: float, n_samples: int, sample_rate: int, rng: np.random.Generator
) -> FloatArray:
    """Noise of unit RMS between two frequencies in Hz, shape (n_samples,)."""
    nyquist = sample_rate / 2
    edges = (min(low, 0.6 * nyquist), min(high, 0.95 * nyquist))
    sections = signal.butter(2, edges, "bandpass", fs=sample_rate, output="sos")
    noise = signal.sosfilt(sections, rng.standard_normal(n_samples))
    return unit_rms(noise.astype(np.float32))


def unit_rms(sound: FloatArray) -> FloatArray:
    """Scale to a root mean square of 1; silence stays silence."""
    return sound * unit_gain(sound)


def unit_gain(sound: FloatArray) -> np.float32:
    """Factor that scales to a root mean square of 1; 1 for silence."""
    energy = float(np.vdot(sound, sound))
    return np.float32(1.0 if energy == 0 else (sound.size / energy) ** 0.5)


def place(target: FloatArray, sound: FloatArray, start: int, gain: float = 1.0) -> None:
    """Add `sound` to `target` in place from sample `start`; what lies outside is dropped."""
    skipped = max(0, -start)
    length = min(sound.size, target.size - start)
    if length > skipped:
        target[start + skipped : start + length] += np.float32(gain) * sound[skipped:length]


def spread(
    sound: FloatArray, n_channels: int, range_in_db: float, rng: np.random.Generator
) -> FloatArray:
    """Place a mono sound in space by gains per channel; shape (n_channels, n_samples)."""
    gains = 10 ** (rng.uniform(-range_in_db, range_in_db, n_channels) / 20)
    gains /= np.sqrt(np.mean(gains**2))
    return gains.astype(np.float32)[:, np.newaxis] * sound


def room_response(
    n_channels: int,
    sample_rate: int,
    rng: np.random.Generator,
    *,
    decay_time: float,
    level_in_db: float,
) -> FloatArray:
    """Impulse response of a room: exponentially decaying noise, another one for each channel.

    Parameters
    ----------
    n_channels : int
    sample_rate : int
        Sample rate in Hz.
    rng : Generator
    decay_time : float
        Time in seconds until the response has decayed by 60 dB.
    level_in_db : float
        Energy of the response relative to the direct sound, in dB.

    Returns
    -------
    ndarray of shape (n_channels, n_response)
    """
    length = max(2, int(0.8 * decay_time * sample_rate))
    response = rng.standard_normal((n_channels, length))
    response *= np.exp(-6.9 / (decay_time * sample_rate) * np.arange(length))
    # Walls and air absorb high frequencies.
    response = signal.lfilter([0.6], [1.0, -0.4], response, axis=1)
    response *= 10 ** (level_in_db / 20) / np.sqrt(np.sum(response**2, axis=1, keepdims=True))
    delayed = np.pad(response, ((0, 0), (int(0.008 * sample_rate), 0))).astype(np.float32)
    delayed[:, 0] += 1.0
    return delayed


def reverberate(sound: FloatArray, response: FloatArray) -> FloatArray:
    """Play a sound (n_channels, n_samples) in a room; the last echoes are cut off."""
    reverberated = signal.oaconvolve(sound, response, axes=1)
    return reverberated[:, : sound.shape[1]].astype(np.float32)
