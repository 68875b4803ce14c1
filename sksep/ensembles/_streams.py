"""Streams that average other streams of the same track."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from sksep.base._streams import VocalsStream
from sksep.inference._pipeline_stream import MaskStream
from sksep.utils._arrays import FloatArray


class AveragingStream:
    """Weighted mean of the vocals of several streams, as far as all of them are complete.

    Parameters
    ----------
    streams : sequence of VocalsStream
        Streams of one track.
    weights : sequence of float
        Share of each stream; they add up to one.
    n_channels : int
        Number of channels of the track.
    """

    def __init__(
        self, streams: Sequence[VocalsStream], weights: Sequence[float], n_channels: int
    ) -> None:
        self._streams = streams
        self._weights = [np.float32(weight) for weight in weights]
        self._waiting = [np.zeros((n_channels, 0), np.float32) for _ in streams]
        self.latency = max(stream.latency for stream in streams)

    def push(self, samples: FloatArray) -> FloatArray:
        """Take the next samples (n_channels, n), and return the vocals that are complete."""
        return self._mean([stream.push(samples) for stream in self._streams])

    def finish(self) -> FloatArray:
        """End the track, and return the rest of the vocals."""
        return self._mean([stream.finish() for stream in self._streams])

    def _mean(self, parts: Sequence[FloatArray]) -> FloatArray:
        waiting = [np.concatenate(pair, axis=1) for pair in zip(self._waiting, parts, strict=True)]
        length = min(part.shape[1] for part in waiting)
        self._waiting = [part[:, length:].copy() for part in waiting]
        mean = np.zeros_like(waiting[0][:, :length])
        for part, weight in zip(waiting, self._weights, strict=True):
            mean += weight * part[:, :length]
        return mean


class ShiftedStream:
    """A stream that hears its track later: after some zeros, whose vocals are left out."""

    def __init__(self, stream: VocalsStream, shift: int, n_channels: int) -> None:
        self._stream = stream
        self._n_left_out = shift
        self._zeros = np.zeros((n_channels, shift), np.float32)
        self.latency = stream.latency

    def push(self, samples: FloatArray) -> FloatArray:
        """Take the next samples (n_channels, n), and return the vocals that are complete."""
        if samples.shape[1]:
            samples = np.concatenate([self._zeros, samples], axis=1)
            self._zeros = self._zeros[:, :0]
        return self._without_zeros(self._stream.push(samples))

    def finish(self) -> FloatArray:
        """End the track, and return the rest of the vocals."""
        return self._without_zeros(self._stream.finish())

    def _without_zeros(self, vocals: FloatArray) -> FloatArray:
        n_left_out = min(self._n_left_out, vocals.shape[1])
        self._n_left_out -= n_left_out
        return vocals[:, n_left_out:]


class SwappedStream:
    """A stream that hears the channels in the reverse order."""

    def __init__(self, stream: VocalsStream) -> None:
        self._stream = stream
        self.latency = stream.latency

    def push(self, samples: FloatArray) -> FloatArray:
        """Take the next samples (n_channels, n), and return the vocals that are complete."""
        return self._stream.push(samples[::-1].copy())[::-1]

    def finish(self) -> FloatArray:
        """End the track, and return the rest of the vocals."""
        return self._stream.finish()[::-1]


class SingleChannelsStream:
    """Streams of one channel each, which stand beside each other."""

    def __init__(self, streams: Sequence[VocalsStream]) -> None:
        self._streams = streams
        self.latency = max(stream.latency for stream in streams)

    def push(self, samples: FloatArray) -> FloatArray:
        """Take the next samples (n_channels, n), and return the vocals that are complete."""
        pairs = zip(self._streams, samples, strict=True)
        return np.concatenate([stream.push(channel[None]) for stream, channel in pairs])

    def finish(self) -> FloatArray:
        """End the track, and return the rest of the vocals."""
        return np.concatenate([stream.finish() for stream in self._streams])


class MeanMaskStream:
    """Weighted mean of the mask rows of several separators, as far as all of them are complete."""

    def __init__(self, streams: Sequence[MaskStream], weights: Sequence[float]) -> None:
        self._streams = streams
        self._weights = weights

    @property
    def n_rows(self) -> int:
        """Number of rows that are complete."""
        return min(stream.n_rows for stream in self._streams)

    def push(self, samples: FloatArray) -> None:
        """Take further samples."""
        for stream in self._streams:
            stream.push(samples)

    def finish(self, samples: FloatArray) -> None:
        """Take the last samples, and complete all rows."""
        for stream in self._streams:
            stream.finish(samples)

    def rows_from(self, first: int) -> tuple[Tensor, int]:
        """Complete rows from `first` on, and the index of the first. Earlier rows are dropped."""
        n_rows = self.n_rows
        first = min(first, n_rows - 1)
        rows = [stream.rows_from(first)[0][: n_rows - first] for stream in self._streams]
        weighted = [weight * part for weight, part in zip(self._weights, rows, strict=True)]
        return torch.stack(weighted).sum(dim=0), first
