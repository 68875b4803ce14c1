"""Streams of models that map waveforms to waveforms, at their own rate and number of channels."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from sksep.audio._resampling import Resampler, fix_length, longest_delay
from sksep.base._streams import VocalsStream
from sksep.utils._arrays import FloatArray


class ModelStream:
    """Vocals of one track of any rate and channels, by a model of one rate and few channels.

    Parameters
    ----------
    open_stream : callable
        Function of a number of channels that opens a `VocalsStream` at the rate of the model.
    sample_rate, n_channels : int
        Sample rate of the track in Hz, and number of its channels.
    model_rate : int
        Sample rate of the model in Hz.
    model_channels : int or None
        Number of channels of the model, 1 or 2. One separates each channel on its own. Two separate
        pairs of channels: 0 and 1, 2 and 3, and so on. A channel without a partner is doubled, and
        the mean of its two estimates is taken. None separates all at once.
    name : str
        Name of the model in messages, such as "The model of MySeparator, for X[3]".

    Raises
    ------
    ValueError
        If the model returns NaN or infinity.
    """

    def __init__(
        self,
        open_stream: Callable[[int], VocalsStream],
        *,
        sample_rate: int,
        n_channels: int,
        model_rate: int,
        model_channels: int | None,
        name: str,
    ) -> None:
        self._n_channels = n_channels
        self._group = model_channels or n_channels
        self._streams = [open_stream(self._group) for _ in range(0, n_channels, self._group)]
        self._to_model = Resampler(sample_rate, model_rate, n_channels)
        self._from_model = Resampler(model_rate, sample_rate, n_channels)
        self._rate, self._name = sample_rate, name
        self.latency = -(-self._streams[0].latency * sample_rate // model_rate)
        self.latency += int(np.ceil(2 * longest_delay(sample_rate, model_rate) * sample_rate))
        self._n_taken = self._n_given = 0

    def push(self, samples: FloatArray) -> FloatArray:
        """Take the next samples (n_channels, n), and return the vocals that are complete."""
        self._n_taken += samples.shape[1]
        estimate = self._from_model.push(self._push(self._to_model.push(samples)))
        self._check(estimate)
        self._n_given += estimate.shape[1]
        return estimate

    def finish(self) -> FloatArray:
        """End the track, and return the rest of the vocals."""
        last = self._push(self._to_model.finish())
        rest = self._joined(stream.finish() for stream in self._streams)
        estimates = [self._from_model.push(part) for part in (last, rest)]
        estimate = np.concatenate([*estimates, self._from_model.finish()], axis=1)
        self._check(estimate)
        return fix_length(estimate, self._n_taken - self._n_given)

    def _push(self, samples: FloatArray) -> FloatArray:
        groups = np.split(samples, range(self._group, self._n_channels, self._group))
        return self._joined(
            stream.push(part if len(part) == self._group else np.repeat(part, self._group, axis=0))
            for stream, part in zip(self._streams, groups, strict=True)
        )

    def _joined(self, parts: Iterable[FloatArray]) -> FloatArray:
        *pairs, last = parts
        if self._n_channels % self._group:  # that channel was doubled
            last = last.mean(axis=0, keepdims=True)
        return np.concatenate([*pairs, last])

    def _check(self, estimate: FloatArray) -> None:
        if not np.isfinite(estimate).all():
            first, last = ((self._n_given + n) / self._rate for n in (0, max(1, estimate.shape[1])))
            raise ValueError(
                f"{self._name} returned NaN or infinity between {first:.1f} s and {last:.1f} s, "
                "where the track has none. Check its weights and parameters."
            )


class BlockStream:
    """Vocals of one track, estimated in blocks that overlap and are cross-faded linearly.

    The last block ends with the track, and is as long as the others if the track is. So where the
    blocks are does not depend on how the samples arrive.

    Parameters
    ----------
    separate : callable
        Function of samples (n_channels, n_samples) that returns their vocals in the same shape. It
        is not called for silence, which has none.
    n_channels : int
        Number of channels.
    block_length, fade_length : int
        Number of samples in a block, and in a cross-fade (at most half of a block).
    """

    def __init__(
        self,
        separate: Callable[[FloatArray], FloatArray],
        n_channels: int,
        block_length: int,
        fade_length: int,
    ) -> None:
        self._separate = separate
        self._length, self._fade = block_length, fade_length
        self._weights = (np.arange(fade_length, dtype=np.float32) + 0.5) / max(1, fade_length)
        self.latency = block_length + 1
        self._start = 0  # of the next block
        self._first = self._end = 0  # of the samples that are kept
        self._kept = [np.zeros((n_channels, 0), np.float32)]
        self._tail: FloatArray | None = None  # end of the last block, not yet faded into the next

    def push(self, samples: FloatArray) -> FloatArray:
        """Take the next samples (n_channels, n), and return the vocals that are complete."""
        self._kept.append(samples)
        self._end += samples.shape[1]
        hop = self._length - self._fade
        vocals = [samples[:, :0]]
        # A block that ends with the samples may be the last, which is not faded out.
        while self._end > self._start + self._length:
            estimate = self._faded(self._estimate(self._start, self._start + self._length))
            vocals.append(estimate[:, :hop])
            self._tail = estimate[:, hop:].copy()
            self._start += hop
        return np.concatenate(vocals, axis=1)

    def finish(self) -> FloatArray:
        """End the track, and return the rest of the vocals."""
        if self._end == self._start:
            return self._kept[0][:, :0]
        begin = max(0, self._end - self._length)
        return self._faded(self._estimate(begin, self._end)[:, self._start - begin :])

    def _estimate(self, begin: int, end: int) -> FloatArray:
        mixture = np.concatenate(self._kept, axis=1)
        block = mixture[:, begin - self._first : end - self._first].copy()
        # The last block of the track may reach back, by less than a block.
        n_dropped = max(0, end - self._length - self._first)
        self._kept = [mixture[:, n_dropped:]]
        self._first += n_dropped
        return self._separate(block) if block.any() else np.zeros_like(block)

    def _faded(self, estimate: FloatArray) -> FloatArray:
        """The estimate of a block, cross-faded with the end of the last one."""
        if self._tail is None or not self._fade:
            return estimate
        faded = self._tail * (1.0 - self._weights) + estimate[:, : self._fade] * self._weights
        return np.concatenate([faded, estimate[:, self._fade :]], axis=1)
