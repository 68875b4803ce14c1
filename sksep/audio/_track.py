"""Tracks: waveforms that a user gives as arrays or files, readable block by block."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sksep.audio._decoding import AudioFile, Report, is_pipe
from sksep.audio._resampling import Resampler, to_mono
from sksep.audio._samples import check_amplitudes
from sksep.utils._arrays import FloatArray

# Samples read at a time while a file is scanned: 12 s of 44.1 kHz audio.
_BLOCK_LENGTH = 1 << 19


@dataclass(frozen=True)
class AudioSource:
    """A waveform on disk that is the sum of several files, or some channels of a file.

    Some data sets store stems only and have no file of the mixture, and MIR-1K keeps both stems in
    the channels of one file. An `AudioSource` names such a waveform without reading it. It can be
    used in place of a path.

    Parameters
    ----------
    paths : tuple of str
        Audio files with one sample rate and one length. Their samples are added.
    channel_gains : tuple of tuple of float, default=None
        Matrix of shape (n_channels, n_file_channels) that is applied to the samples of each file.
        None keeps the channels as they are.

    Raises
    ------
    ValueError
        If there are no paths, or if `channel_gains` has no rows.

    Examples
    --------
    >>> from sksep import AudioSource
    >>> mixture = AudioSource(("song/vocals.ogg", "song/accompaniment.ogg"))
    >>> vocals = AudioSource(("clip.flac",), channel_gains=((0.0, 1.0),))  # right channel
    """

    paths: tuple[str, ...]
    channel_gains: tuple[tuple[float, ...], ...] | None = None

    def __post_init__(self) -> None:
        if isinstance(self.paths, (str, os.PathLike)):
            object.__setattr__(self, "paths", (self.paths,))
        if not self.paths:
            raise ValueError("AudioSource needs at least one path.")
        object.__setattr__(self, "paths", tuple(os.fspath(path) for path in self.paths))
        if self.channel_gains is not None:
            gains = tuple(tuple(float(gain) for gain in row) for row in self.channel_gains)
            if not gains:
                raise ValueError("channel_gains needs one row per channel; None keeps them all.")
            object.__setattr__(self, "channel_gains", gains)

    def __str__(self) -> str:
        return " + ".join(self.paths)


Source = Any  # array, path or AudioSource: everything that a user may give as one track


@dataclass(frozen=True, eq=False)
class Track:
    """One validated track, readable as float32 samples. Files are not held in memory.

    Attributes
    ----------
    name : str
        Name of the track in messages: ``X[3]`` or ``X[3] (song.wav)``.
    sample_rate : int
        Sample rate in Hz.
    n_channels, n_samples : int
        Number of channels, and of samples at `sample_rate`.
    """

    name: str
    sample_rate: int
    n_channels: int
    n_samples: int
    _array: FloatArray | None = field(default=None, repr=False)
    _source: AudioSource | None = None
    _one_dimensional: bool = False
    # Size and modification time of each file when it was validated. Masks that were estimated from
    # another version of the file, or cached for it, must not be applied silently.
    _file_versions: tuple[tuple[int, int], ...] = field(default=(), repr=False)
    _files: tuple[AudioFile, ...] = field(default=(), repr=False)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._array is not None:  # pickles forget that an array is read-only
            self._array.flags.writeable = False

    @property
    def is_file(self) -> bool:
        """Whether the samples are on disk."""
        return self._source is not None

    @property
    def source(self) -> AudioSource | None:
        """The source of a file; None for an array."""
        return self._source

    @property
    def files(self) -> tuple[AudioFile, ...]:
        """The files of the source; none for an array."""
        return self._files

    @property
    def version(self) -> tuple[Any, ...]:
        """A key that differs between files, and changes if a file changes."""
        assert self._source is not None
        paths = tuple(os.path.abspath(path) for path in self._source.paths)
        return paths, self._source.channel_gains, self._file_versions

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the track as given: (n_samples,) or (n_channels, n_samples)."""
        if self._one_dimensional:
            return (self.n_samples,)
        return (self.n_channels, self.n_samples)

    def check_unchanged(self) -> None:
        """Raise ValueError if a file has changed since it was validated."""
        if self._source and file_versions(self._source, self.name) != self._file_versions:
            raise ValueError(
                f"{self.name} has changed on disk since it was first read. Run the pipeline again "
                "from its first step; if it caches (memory=...), clear the cache."
            )

    def read(self) -> FloatArray:
        """All samples, shape (n_channels, n_samples)."""
        return np.concatenate(list(self.read_blocks(_BLOCK_LENGTH)), axis=1)

    def mono(self, sample_rate: int) -> FloatArray:
        """Mean over channels, resampled, shape (ceil(n_samples * sample_rate / own rate),)."""
        resampler = Resampler(self.sample_rate, sample_rate, self.n_channels)
        # The mean of the resampled channels, as of those that `channels` returns, to the last bit.
        blocks = [to_mono(resampler.push(block)) for block in self.read_blocks(_BLOCK_LENGTH)]
        return np.concatenate([*blocks, to_mono(resampler.finish())])

    def channels(self, sample_rate: int) -> FloatArray:
        """All channels, resampled, shape (n_channels, resampled length)."""
        resampler = Resampler(self.sample_rate, sample_rate, self.n_channels)
        blocks = [resampler.push(block) for block in self.read_blocks(_BLOCK_LENGTH)]
        return np.concatenate([*blocks, resampler.finish()], axis=1)

    def blocks(self, length: int, margin: int) -> Iterator[tuple[int, FloatArray]]:
        """The start of each block, with the samples from start - margin to start + length + margin.

        Outside the track the samples are zero. Files are read once, from front to back, because
        seeking in compressed audio is not always exact.
        """
        width = length + 2 * margin
        window: FloatArray = np.zeros((self.n_channels, margin), np.float32)
        position = 0
        stream = self.read_blocks(length)
        for start in range(0, self.n_samples, length):
            while window.shape[1] < width and position < self.n_samples:
                block = next(stream)
                position += block.shape[1]
                window = np.concatenate([window, block], axis=1)
            if window.shape[1] < width:
                window = np.pad(window, ((0, 0), (0, width - window.shape[1])))
            yield start, window[:, :width]
            window = window[:, length:]

    def read_blocks(
        self, length: int, dtype: str = "float32", report: Report | None = None
    ) -> Iterator[npt.NDArray[Any]]:
        """The samples, `length` at a time. "float64" keeps all bits of 32-bit files.

        `report` takes sentences about damaged places, which are silent. None warns of them.
        """
        if self._array is not None:
            for start in range(0, self.n_samples, length):
                yield self._array[:, start : start + length]
            return
        assert self._source is not None
        self.check_unchanged()
        position = 0
        for block in self._decoded(length, dtype, report or self._warn):
            if not np.isfinite(block).all():
                raise ValueError(
                    f"{self.name} contains NaN or infinity. Repair the file or leave it out."
                )
            check_amplitudes(block, self.name)
            position += block.shape[1]
            if position == self.n_samples:
                self.check_unchanged()
            yield block

    def _decoded(self, length: int, dtype: str, report: Report) -> Iterator[npt.NDArray[Any]]:
        """Sums of the blocks of all files, each with the gains of its channels."""
        assert self._source is not None
        gains = self._source.channel_gains
        matrix = None if gains is None else np.array(gains, dtype)
        try:
            for parts in zip(
                *(file.blocks(length, dtype, report) for file in self._files), strict=True
            ):
                if matrix is not None:
                    parts = tuple(matrix @ part for part in parts)
                block = parts[0] if len(parts) == 1 else np.sum(np.broadcast_arrays(*parts), axis=0)
                yield np.ascontiguousarray(block, dtype=dtype)
        except (OSError, RuntimeError) as error:
            self.check_unchanged()
            raise ValueError(
                f"{self.name} cannot be decoded ({error}). Restore or re-encode the file."
            ) from error

    def _warn(self, problem: str) -> None:
        warnings.warn(f"{self.name}: {problem}.", UserWarning, stacklevel=2)


def file_versions(source: AudioSource, name: str) -> tuple[tuple[int, int], ...]:
    versions = []
    for path in source.paths:
        if is_pipe(path):
            raise ValueError(
                f"{name}: {path!r} is a pipe, which can be read only once. Read it with "
                "load_audio, and pass the samples."
            )
        if not Path(path).is_file():
            raise FileNotFoundError(f"{name}: there is no file {path!r}; check the path.")
        status = Path(path).stat()
        versions.append((status.st_size, status.st_mtime_ns))
    return tuple(versions)
