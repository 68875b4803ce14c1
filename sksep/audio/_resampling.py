"""Resampling and mixing down."""

from __future__ import annotations

import numpy as np
import soxr

from sksep.utils._arrays import FloatArray

# A resampler holds back less than this many seconds, as tests show between 8 and 192 kHz, and as
# many samples below.
_DELAY_SECONDS, _LOWEST_TESTED_RATE = 0.25, 8000


def longest_delay(from_rate: int, to_rate: int) -> float:
    """Seconds that a `Resampler` holds back at most."""
    if from_rate == to_rate:
        return 0.0
    return _DELAY_SECONDS * max(1.0, _LOWEST_TESTED_RATE / min(from_rate, to_rate))


class Resampler:
    """Resamples the channels of a track block by block, to resampled_length(...) samples."""

    def __init__(self, from_rate: int, to_rate: int, n_channels: int) -> None:
        self._n_channels = n_channels
        self._rates = (from_rate, to_rate)
        self._n_taken = self._n_given = 0
        # One stream per channel, since soxr takes several channels as columns, which would have to
        # be transposed.
        self._streams = [
            soxr.ResampleStream(from_rate, to_rate, 1, dtype="float32")
            for _ in range(n_channels if from_rate != to_rate else 0)
        ]

    def push(self, samples: FloatArray) -> FloatArray:
        """Take the next samples (n_channels, n), and return the resampled ones so far complete."""
        self._n_taken += samples.shape[1]
        if self._streams:
            samples = self._resampled(samples)
        self._n_given += samples.shape[1]
        return samples

    def finish(self) -> FloatArray:
        """Return the remaining samples."""
        if not self._streams:
            return np.zeros((self._n_channels, 0), np.float32)
        rest = self._resampled(np.zeros((self._n_channels, 0), np.float32), last=True)
        missing = resampled_length(self._n_taken, *self._rates) - self._n_given
        return fix_length(rest, max(0, missing))

    def _resampled(self, samples: FloatArray, last: bool = False) -> FloatArray:
        return np.stack(
            [
                stream.resample_chunk(np.ascontiguousarray(channel), last=last)
                for stream, channel in zip(self._streams, samples, strict=True)
            ]
        )


def to_mono(samples: FloatArray) -> FloatArray:
    """Mean over channels of (n_samples,) or (n_channels, n_samples)."""
    if samples.ndim == 1:
        return samples
    return samples[0] if len(samples) == 1 else samples.mean(axis=0)


def resample(samples: FloatArray, from_rate: int, to_rate: int) -> FloatArray:
    """Resample along the last axis with soxr, to ceil(n_samples * to_rate / from_rate) samples."""
    if from_rate == to_rate:
        return samples
    resampled = soxr.resample(np.ascontiguousarray(samples.T), from_rate, to_rate).T
    return np.ascontiguousarray(
        fix_length(resampled, resampled_length(samples.shape[-1], from_rate, to_rate)),
        dtype=np.float32,
    )


def resampled_length(n_samples: int, from_rate: int, to_rate: int) -> int:
    """Number of samples after resampling: the ceiling, so that nothing is cut off."""
    return -(-n_samples * to_rate // from_rate)


def fix_length(samples: FloatArray, n_samples: int) -> FloatArray:
    """Cut or zero-pad the last axis to `n_samples`."""
    missing = n_samples - samples.shape[-1]
    if missing <= 0:
        return samples[..., :n_samples]
    return np.pad(samples, [(0, 0)] * (samples.ndim - 1) + [(0, missing)])
