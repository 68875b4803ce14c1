"""Separation of audio that arrives block by block."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from sksep.audio._resampling import Resampler
from sksep.audio._samples import check_samples
from sksep.base._inversion import BlockInverter, Inversion
from sksep.nn.chunks import CrossFader, chunk
from sksep.nn.front_end import LOWEST_DECIBELS, FrontEnd
from sksep.separators._net_separator import NetSeparator
from sksep.transformers import GriffinLimInverter, MaskBuilder, MelChunker
from sksep.utils._arrays import FloatArray
from sksep.utils._validation import check_integer

# The resampler holds back less than this many seconds, as tests show between 8 and 192 kHz.
_RESAMPLING_SECONDS = 0.25


class SeparatedBlock(NamedTuple):
    """Block of vocals and accompaniment that `StreamingSeparator` returns.

    Attributes
    ----------
    vocals, accompaniment : ndarray of shape (n_samples,) or (n_channels, n_samples)
        float32. They continue where the last block ended, and add up to the mixture.
    """

    vocals: FloatArray
    accompaniment: FloatArray


class StreamingSeparator:
    """Separate audio that arrives in blocks of any size, with the result of the whole track.

    Memory does not grow with the length of the track. The blocks of vocals in a row equal the
    prediction of the pipeline for the whole track, except for rounding errors. They come out with a
    delay, since chunks, blocks of four seconds for the inversion, and their margins have to be
    complete.

    Parameters
    ----------
    pipeline : Pipeline
        Fitted pipeline of a `MelChunker`, a trained separator that makes its masks chunk by chunk
        (U-Net, UH-Net, or the mask head of hybrid clustering), and possibly a
        `GriffinLimInverter`.
    sample_rate : int, default=None
        Sample rate of the blocks in Hz. None is that of the `MelChunker`.
    n_channels : int, default=1
        Number of channels of the blocks.

    Attributes
    ----------
    latency : int
        Delay in samples. After `n` samples went in, at least ``n - latency`` have come out.

    Raises
    ------
    TypeError
        If the pipeline has other steps, or a separator that clusters the whole track.

    Examples
    --------
    >>> import numpy as np
    >>> from sksep import StreamingSeparator
    >>> from sksep.datasets import make_songs
    >>> from sksep.presets import unet_pipeline
    >>> songs = make_songs(2, duration=4.0, random_state=0)
    >>> pipeline = unet_pipeline(separate__n_filters=2, separate__max_epochs=1)
    >>> stream = StreamingSeparator(pipeline.fit(songs.mixtures, songs.vocals))
    >>> blocks = [stream.process(block).vocals for block in np.split(songs.mixtures[0], 8)]
    >>> vocals = np.concatenate([*blocks, stream.finish().vocals])
    >>> bool(np.allclose(vocals, pipeline.predict(songs.mixtures[:1])[0], atol=1e-4))
    True
    """

    def __init__(
        self, pipeline: Pipeline, sample_rate: int | None = None, n_channels: int = 1
    ) -> None:
        chunker, self._separator, inversion = _steps(pipeline)
        self._front_end = front_end = chunker._front_end()
        self._separator._check_front_end(front_end, "The stream")
        rate = front_end.sample_rate if sample_rate is None else sample_rate
        self.sample_rate = check_integer("sample_rate", rate, 1)
        self.n_channels = check_integer("n_channels", n_channels, 1)
        self._inverter = BlockInverter(
            front_end, self.sample_rate, inversion, self._separator._device()
        )
        chunk_samples = front_end.n_frames * front_end.hop_length + front_end.n_fft
        seconds = chunk_samples / front_end.sample_rate
        if self.sample_rate != front_end.sample_rate:
            seconds += _RESAMPLING_SECONDS
        self.latency = (
            self._inverter.length
            + self._inverter.margin
            + self._inverter.fade
            + int(np.ceil(seconds * self.sample_rate))
        )
        self._mixture: FloatArray
        self._begin()

    def process(self, block: Any) -> SeparatedBlock:
        """Take the next samples of the mixture, and return the vocals that are complete.

        Parameters
        ----------
        block : ndarray of shape (n_samples,) or (n_channels, n_samples)
            Floating point samples at the sample rate, any number of them, full scale 1.0.

        Returns
        -------
        SeparatedBlock
            Any number of samples, also none, with the dimensions of `block`.

        Raises
        ------
        ValueError
            If the shape does not fit, or if samples are not finite.
        TypeError
            If samples are not floating point.
        """
        samples = self._checked(block)
        self._n_samples += samples.shape[1]
        self._mixture = np.concatenate([self._mixture, samples], axis=1)
        self._masks.push(self._to_model.push(samples))
        while self._is_ready():
            self._invert_block(self._inverter.length, None)
        return self._take(self._start - self._inverter.fade)

    def finish(self) -> SeparatedBlock:
        """End the track: return the rest of the vocals, and be ready for another track.

        Returns
        -------
        SeparatedBlock
            The remaining samples, possibly none.
        """
        if self._n_samples:
            self._masks.finish(self._to_model.finish())
            length = self._inverter.block_length(self._n_samples)
            while self._start < self._n_samples:
                self._invert_block(length, self._n_samples)
        rest = self._take(self._n_samples)
        self._begin()
        return rest

    def _begin(self) -> None:
        front_end = self._front_end
        self._to_model = Resampler(self.sample_rate, front_end.sample_rate, self.n_channels)
        self._masks = _MaskStream(self._separator, front_end, self.n_channels)
        self._one_dimensional: bool | None = None
        self._n_samples = 0
        self._start = 0  # of the next block to invert
        self._first = -self._inverter.margin  # of the samples that are kept
        self._mixture = np.zeros((self.n_channels, self._inverter.margin), np.float32)
        self._taken = 0  # samples that were returned
        self._vocals = np.zeros((self.n_channels, 0), np.float32)  # from `_taken` on

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

    def _take(self, stop: int) -> SeparatedBlock:
        """Samples that are complete up to `stop` and were not returned yet."""
        n_taken = max(0, stop - self._taken)
        vocals, self._vocals = np.split(self._vocals, [n_taken], axis=1)
        low = self._taken - self._first
        mixture = self._mixture[:, low : low + n_taken]
        self._taken += n_taken
        blocks = SeparatedBlock(vocals.copy(), mixture - vocals)
        kept = min(self._taken, self._start - self._inverter.margin)
        if kept > self._first:
            self._mixture = self._mixture[:, kept - self._first :].copy()
            self._first = kept
        if self._one_dimensional:
            return SeparatedBlock(blocks.vocals[0], blocks.accompaniment[0])
        return blocks

    def _checked(self, block: Any) -> FloatArray:
        name = f"The block at sample {self._n_samples}"
        if np.size(block) == 0:  # nothing yet, in the dimensions of the other blocks
            samples: FloatArray = np.asarray(block, dtype=np.float32)
        else:
            samples = check_samples(block, name, is_block=True)
        one_dimensional = samples.ndim == 1
        if one_dimensional:
            samples = samples[None]
        if samples.ndim != 2 or samples.shape[0] != self.n_channels:
            raise ValueError(
                f"{name} has the shape {np.shape(block)}, but the stream has {self.n_channels} "
                "channels; give (n_channels, n_samples)."
            )
        if self._one_dimensional not in (None, one_dimensional):
            raise ValueError("Blocks of one stream must have equal numbers of dimensions.")
        self._one_dimensional = one_dimensional
        return samples


def can_stream(pipeline: Any) -> bool:
    """Whether `StreamingSeparator` takes the pipeline."""
    try:
        _steps(pipeline)
    except TypeError:
        return False
    return True


def _steps(pipeline: Any) -> tuple[MelChunker, NetSeparator, Inversion]:
    """The steps of a pipeline that can stream, or a TypeError that says what to do."""
    steps = [step for _, step in getattr(pipeline, "steps", [])]
    steps = [step for step in steps if not isinstance(step, (MaskBuilder, str, type(None)))]
    inverter = steps.pop() if steps and isinstance(steps[-1], GriffinLimInverter) else None
    if len(steps) != 2 or not isinstance(steps[0], MelChunker):
        raise TypeError(
            "Blocks are separated by a Pipeline of MelChunker, a separator and possibly "
            f"GriffinLimInverter; got {pipeline!r:.200}. Use its predict for the whole track."
        )
    chunker, separator = steps
    if not isinstance(separator, NetSeparator) or not separator._separates_chunks():
        raise TypeError(
            f"The masks of {type(separator).__name__} depend on the whole track, so that single "
            "blocks cannot be separated. Use the predict of the pipeline."
        )
    check_is_fitted(separator)
    return chunker, separator, Inversion() if inverter is None else inverter._inversion()


class _MaskStream:
    """Rows of the mask of a track, at the rate of the front end, that grows at its end."""

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
