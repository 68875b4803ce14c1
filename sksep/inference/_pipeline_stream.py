"""The stream of a pipeline: masks chunk by chunk, and inversion block by block."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from sksep.audio._resampling import Resampler, longest_delay
from sksep.base._inversion import BlockInverter, Inversion
from sksep.base._streams import WholeTrackError
from sksep.nn.chunks import CrossFader, chunk
from sksep.nn.front_end import LOWEST_DECIBELS, FrontEnd
from sksep.separators._net_separator import NetSeparator
from sksep.transformers import GriffinLimInverter, MaskBuilder, MelChunker
from sksep.utils._arrays import FloatArray


class MaskRows(Protocol):
    """Rows of the mask of a track, at the rate of the front end, that grows at its end."""

    @property
    def n_rows(self) -> int:
        """Number of rows that are complete."""
        ...

    def push(self, samples: FloatArray) -> None:
        """Take further samples."""
        ...

    def finish(self, samples: FloatArray) -> None:
        """Take the last samples, and complete all rows."""
        ...

    def rows_from(self, first: int) -> tuple[Tensor, int]:
        """Complete rows from `first` on, and the index of the first. Earlier rows are dropped."""
        ...


class PipelineStream:
    """Vocals of one track, by the steps of a pipeline. See `sksep.base._streams.VocalsStream`.

    Parameters
    ----------
    pipeline : Pipeline
        Fitted pipeline of a `MelChunker`, a separator that makes its masks chunk by chunk, and
        possibly a `GriffinLimInverter`.
    sample_rate, n_channels : int
        Sample rate of the track in Hz, and number of its channels.
    masks : MaskRows, default=None
        Where the rows of the mask come from. None is the separator of the pipeline.

    Raises
    ------
    WholeTrackError
        If the pipeline has other steps, or a separator that needs the whole track.
    """

    def __init__(
        self, pipeline: Any, sample_rate: int, n_channels: int, masks: MaskRows | None = None
    ) -> None:
        chunker, separator, inversion = _steps(pipeline)
        front_end = chunker._front_end()
        separator._check_front_end(front_end, "The stream")
        self._inverter = BlockInverter(front_end, sample_rate, inversion, separator._device())
        chunk_samples = front_end.n_frames * front_end.hop_length + front_end.n_fft
        seconds = chunk_samples / front_end.sample_rate
        seconds += longest_delay(sample_rate, front_end.sample_rate)
        self.latency = (
            self._inverter.length
            + self._inverter.margin
            + self._inverter.fade
            + int(np.ceil(seconds * sample_rate))
        )
        self._to_model = Resampler(sample_rate, front_end.sample_rate, n_channels)
        self._masks = masks or MaskStream(separator, front_end, n_channels)
        self._n_samples = 0
        self._start = 0  # of the next block to invert
        self._first = -self._inverter.margin  # of the samples that are kept
        self._mixture = np.zeros((n_channels, self._inverter.margin), np.float32)
        self._taken = 0  # samples that were returned
        self._vocals = np.zeros((n_channels, 0), np.float32)  # from `_taken` on

    def push(self, samples: FloatArray) -> FloatArray:
        """Take the next samples (n_channels, n), and return the vocals that are complete."""
        self._n_samples += samples.shape[1]
        self._mixture = np.concatenate([self._mixture, samples], axis=1)
        self._masks.push(self._to_model.push(samples))
        while self._is_ready():
            self._invert_block(self._inverter.length, None)
        return self._take(self._start - self._inverter.fade)

    def finish(self) -> FloatArray:
        """End the track, and return the rest of the vocals."""
        if self._n_samples:
            self._masks.finish(self._to_model.finish())
            length = self._inverter.block_length(self._n_samples)
            while self._start < self._n_samples:
                self._invert_block(length, self._n_samples)
        return self._take(self._n_samples)

    def _is_ready(self) -> bool:
        """Whether everything that the next block depends on is there."""
        length, margin = self._inverter.length, self._inverter.margin
        if self._n_samples < self._start + length + margin:
            return False
        return self._inverter.rows(self._start, length)[1] < self._masks.n_rows

    def _invert_block(self, length: int, n_samples: int | None) -> None:
        inverter = self._inverter
        low = self._start - inverter.margin - self._first
        block = self._mixture[:, low : low + length + 2 * inverter.margin]
        missing = length + 2 * inverter.margin - block.shape[1]
        if missing:
            block = np.pad(block, ((0, 0), (0, missing)))
        rows = self._masks.rows_from(max(0, inverter.rows(self._start, length)[0]))
        estimate = inverter.estimate(block, self._start, *rows)
        position, part = inverter.faded(estimate, self._start, length, n_samples)
        begin = position - self._taken
        room = begin + part.shape[1] - self._vocals.shape[1]
        if room > 0:
            self._vocals = np.pad(self._vocals, ((0, 0), (0, room)))
        self._vocals[:, begin : begin + part.shape[1]] += part
        self._start += length

    def _take(self, stop: int) -> FloatArray:
        """Samples that are complete up to `stop` and were not returned yet."""
        n_taken = max(0, stop - self._taken)
        vocals, self._vocals = np.split(self._vocals, [n_taken], axis=1)
        self._taken += n_taken
        kept = self._start - self._inverter.margin
        if kept > self._first:
            self._mixture = self._mixture[:, kept - self._first :].copy()
            self._first = kept
        return vocals.copy()


def _steps(pipeline: Any) -> tuple[MelChunker, NetSeparator, Inversion]:
    """The steps of a pipeline that can stream, or an error that says what to do."""
    steps = [step for _, step in getattr(pipeline, "steps", [])]
    steps = [step for step in steps if not isinstance(step, (MaskBuilder, str, type(None)))]
    inverter = steps.pop() if steps and isinstance(steps[-1], GriffinLimInverter) else None
    if len(steps) != 2 or not isinstance(steps[0], MelChunker):
        raise WholeTrackError(
            "Blocks are separated by a Pipeline of MelChunker, a separator and possibly "
            f"GriffinLimInverter; got {pipeline!r:.200}. Use its predict for the whole track."
        )
    chunker, separator = steps
    if not isinstance(separator, NetSeparator) or not separator._separates_chunks():
        raise WholeTrackError(
            f"The masks of {type(separator).__name__} depend on the whole track, so that single "
            "blocks cannot be separated. Use the predict of the pipeline."
        )
    check_is_fitted(separator)
    return chunker, separator, Inversion() if inverter is None else inverter._inversion()


class MaskStream:
    """The rows that a separator estimates, see `MaskRows`."""

    def __init__(self, separator: NetSeparator, front_end: FrontEnd, n_channels: int) -> None:
        self._separator, self._front_end = separator, front_end
        self._normalizer = separator._normalizer()
        # A frame is centered in its window, so that half a window of zeros comes first.
        self._samples = np.zeros((n_channels, front_end.n_fft // 2), np.float32)
        self._frames = torch.zeros(0, front_end.n_bands)  # from the start of the next chunk on
        self._cross_fader = CrossFader(front_end.chunk_step)
        self._rows = torch.zeros(0, front_end.n_bands)
        self._first_row = 0

    @property
    def n_rows(self) -> int:
        """Number of rows that are complete."""
        return self._first_row + len(self._rows)

    def push(self, samples: FloatArray) -> None:
        """Take further samples."""
        self._extend(samples)
        n_frames, step = self._front_end.n_frames, self._front_end.chunk_step
        if len(self._frames) >= n_frames:
            self._estimate(self._frames.unfold(0, n_frames, step).transpose(1, 2))

    def finish(self, samples: FloatArray) -> None:
        """Take the last samples, and complete all rows."""
        front_end = self._front_end
        # Half a window of zeros also comes last.
        padding = np.zeros((len(samples), front_end.n_fft // 2), np.float32)
        self.push(np.concatenate([samples, padding], axis=1))
        n_rows = self.n_rows + len(self._frames)
        if len(self._frames) > self._cross_fader.n_waiting:  # not all frames are part of a chunk
            n_frames, step = front_end.n_frames, front_end.chunk_step
            self._estimate(chunk(self._frames, n_frames, step, LOWEST_DECIBELS))
        rest = self._cross_fader.finish()
        self._rows = torch.cat([self._rows, rest])[: n_rows - self._first_row]

    def rows_from(self, first: int) -> tuple[Tensor, int]:
        """Complete rows from `first` on, and the index of the first. Earlier rows are dropped."""
        first = min(first, self.n_rows - 1)
        self._rows = self._rows[first - self._first_row :]
        self._first_row = first
        return self._rows, first

    def _extend(self, samples: FloatArray) -> None:
        front_end = self._front_end
        self._samples = np.concatenate([self._samples, samples], axis=1)
        if self._samples.shape[1] < front_end.n_fft:
            return
        levels = front_end.channel_power(torch.from_numpy(self._samples), center=False)
        self._frames = torch.cat([self._frames, levels])
        self._samples = self._samples[:, len(levels) * front_end.hop_length :]

    def _estimate(self, chunks: Tensor) -> None:
        """Masks of the next chunks; rows that no further chunk overlaps are complete."""
        for masks in self._separator._estimate_chunks(chunks, self._normalizer):
            self._rows = torch.cat([self._rows, self._cross_fader.push(masks)])
        self._frames = self._frames[len(chunks) * self._front_end.chunk_step :]
