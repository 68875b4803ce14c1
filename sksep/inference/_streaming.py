"""Separation of audio that arrives block by block."""

from __future__ import annotations

from collections import deque
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from sklearn.pipeline import Pipeline

from sksep.audio._samples import check_samples
from sksep.base._streams import VocalsStream, WholeTrackError, array_rate, resolve_model
from sksep.inference._pipeline_stream import PipelineStream
from sksep.utils._arrays import FloatArray
from sksep.utils._validation import check_integer


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
    prediction of the model for the whole track, except for rounding errors. They come out with a
    delay, since chunks, blocks of four seconds for the inversion, and their margins have to be
    complete. Separators of waveforms wait for one of their own blocks, which `block_duration` sets.

    Parameters
    ----------
    estimator : estimator
        Fitted pipeline of a `MelChunker`, a trained separator that makes its masks chunk by chunk
        (U-Net, UH-Net, or the mask head of hybrid clustering), and possibly a
        `GriffinLimInverter`. Or a fitted separator of waveforms, such as those of `sksep.peers`.
    sample_rate : int, default=None
        Sample rate of the blocks in Hz. None is that at which the model takes arrays.
    n_channels : int, default=1
        Number of channels of the blocks.

    Attributes
    ----------
    latency : int
        Delay in samples. After `n` samples went in, at least ``n - latency`` have come out.

    Raises
    ------
    TypeError
        If the model needs the whole track, as those do that cluster it.

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

    def __init__(self, estimator: Any, sample_rate: int | None = None, n_channels: int = 1) -> None:
        rate = array_rate(estimator) if sample_rate is None else sample_rate
        self.sample_rate = check_integer("sample_rate", rate, 1)
        self.n_channels = check_integer("n_channels", n_channels, 1)
        self._estimator = estimator
        self._begin()
        self.latency = self._stream.latency

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
        self._mixture.push(samples)
        return self._with_accompaniment(self._stream.push(samples))

    def finish(self) -> SeparatedBlock:
        """End the track: return the rest of the vocals, and be ready for another track.

        Returns
        -------
        SeparatedBlock
            The remaining samples, possibly none.
        """
        rest = self._with_accompaniment(self._stream.finish())
        self._begin()
        return rest

    def _begin(self) -> None:
        self._stream = open_stream(self._estimator, self.sample_rate, self.n_channels)
        self._mixture = SampleQueue(self.n_channels)  # whose vocals are not complete
        self._one_dimensional: bool | None = None
        self._n_samples = 0

    def _with_accompaniment(self, vocals: FloatArray) -> SeparatedBlock:
        accompaniment = self._mixture.take(vocals.shape[1]) - vocals
        if self._one_dimensional:
            return SeparatedBlock(vocals[0], accompaniment[0])
        return SeparatedBlock(vocals, accompaniment)

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


def open_stream(
    estimator: Any, sample_rate: int, n_channels: int, name: str = "the song"
) -> VocalsStream:
    """A stream of the vocals of one track, by any fitted model.

    Parameters
    ----------
    estimator : estimator
        Fitted pipeline, or any estimator with a method `_open_stream`, see `VocalsStream`.
    sample_rate, n_channels : int
        Sample rate of the track in Hz, and number of its channels.
    name : str, default="the song"
        Name of the track, for messages.

    Raises
    ------
    WholeTrackError
        If the model separates whole tracks only. Its `predict` does so.
    """
    model = resolve_model(estimator)
    if isinstance(model, Pipeline):
        return PipelineStream(model, sample_rate, n_channels)
    if not hasattr(model, "_open_stream"):
        raise WholeTrackError(
            f"{type(model).__name__} cannot separate single blocks. Use its predict for the whole "
            "track."
        )
    stream: VocalsStream = model._open_stream(sample_rate, n_channels, name)
    return stream


class SampleQueue:
    """Samples that wait for something: they come out in the order in which they went in."""

    def __init__(self, n_channels: int) -> None:
        self._blocks: deque[npt.NDArray[Any]] = deque()
        self._nothing = np.zeros((n_channels, 0), np.float32)

    def push(self, samples: npt.NDArray[Any]) -> None:
        """Add samples (n_channels, n)."""
        self._blocks.append(samples)

    def take(self, n_samples: int) -> npt.NDArray[Any]:
        """The next samples (n_channels, n_samples)."""
        taken: list[npt.NDArray[Any]] = []
        while n_samples:
            block = self._blocks.popleft()
            if block.shape[1] > n_samples:
                block, rest = np.split(block, [n_samples], axis=1)
                self._blocks.appendleft(rest)
            taken.append(block)
            n_samples -= block.shape[1]
        return np.concatenate(taken, axis=1) if taken else self._nothing
