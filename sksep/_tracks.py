"""Validating, loading and resampling collections of tracks."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

FloatArray = npt.NDArray[np.float32]

# Samples read at a time while a file is scanned: 12 s of 44.1 kHz audio.
_BLOCK_LENGTH = 1 << 19
# Float waveforms are full scale at 1.0; a peak this far above it is an integer recording that
# was cast to float without being scaled.
_LARGEST_PLAUSIBLE_PEAK = 16.0
_INTEGER_FULL_SCALE = {np.dtype(np.int16): 2.0**15, np.dtype(np.int32): 2.0**31}


@dataclass(frozen=True)
class AudioSource:
    """A waveform that exists on disk as the sum of files, or as some channels of a file.

    Data sets that store stems only have no file of their mixture, and MIR-1K keeps both stems in
    the channels of one file. An `AudioSource` names such a waveform without reading it, and can
    stand wherever a path can.

    Parameters
    ----------
    paths : tuple of str
        Audio files of one sample rate and one length; their samples are added.
    channel_gains : tuple of tuple of float, default=None
        Matrix of shape (n_channels, n_file_channels) applied to the samples of each file. None
        keeps the channels as they are.

    Raises
    ------
    ValueError
        If there are no paths, or no rows of `channel_gains`.

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


Source = Any  # array, path or AudioSource: what a user may give as one track


@dataclass(frozen=True, eq=False)
class Track:
    """One validated track, readable as float32 samples; for files nothing is held in memory.

    Attributes
    ----------
    name : str
        How messages name the track: ``X[3]`` or ``X[3] (song.wav)``.
    sample_rate : int
        Hz.
    n_channels, n_samples : int
        Size at `sample_rate`.
    """

    name: str
    sample_rate: int
    n_channels: int
    n_samples: int
    _array: FloatArray | None = field(default=None, repr=False)
    _source: AudioSource | None = None
    _one_dimensional: bool = False
    # Size and modification time of each file when it was validated: masks that were estimated
    # from (or cached for) another version of the file must not be applied to it silently.
    _file_versions: tuple[tuple[int, int], ...] = field(default=(), repr=False)

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        if self._array is not None:  # pickles forget that an array is read-only
            self._array.flags.writeable = False

    @property
    def is_file(self) -> bool:
        """Whether the samples live on disk."""
        return self._source is not None

    @property
    def source(self) -> AudioSource | None:
        """What a file was read from; None for arrays."""
        return self._source

    @property
    def version(self) -> tuple[Any, ...]:
        """What tells a file from others, and from what it was before it changed."""
        assert self._source is not None
        paths = tuple(os.path.abspath(path) for path in self._source.paths)
        return paths, self._source.channel_gains, self._file_versions

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of what the user sees: (n_samples,) or (n_channels, n_samples)."""
        if self._one_dimensional:
            return (self.n_samples,)
        return (self.n_channels, self.n_samples)

    def check_unchanged(self) -> None:
        """Raise ValueError where a file is not what it was when it was validated."""
        if self._source and _file_versions(self._source, self.name) != self._file_versions:
            raise ValueError(
                f"{self.name} has changed on disk since it was first read. Run the pipeline again "
                "from its first step; if it caches (memory=...), clear the cache."
            )

    def read(self) -> FloatArray:
        """All samples, shape (n_channels, n_samples)."""
        return np.concatenate(list(self.read_blocks(_BLOCK_LENGTH)), axis=1)

    def mono(self, sample_rate: int) -> FloatArray:
        """Mean over channels, resampled, shape (ceil(n_samples * sample_rate / own rate),)."""
        resampler = MonoResampler(self.sample_rate, sample_rate)
        blocks = [resampler.push(block.mean(axis=0)) for block in self.read_blocks(_BLOCK_LENGTH)]
        return np.concatenate([*blocks, resampler.finish()])

    def blocks(self, length: int, margin: int) -> Iterator[tuple[int, FloatArray]]:
        """Each start, with the samples from start - margin to start + length + margin.

        Outside the track the samples are zero. Files are read once, from front to back, since
        seeking in compressed audio is not exact everywhere.
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

    def read_blocks(self, length: int, dtype: str = "float32") -> Iterator[npt.NDArray[Any]]:
        """The samples, `length` at a time; "float64" keeps what 32-bit files hold."""
        if self._array is not None:
            for start in range(0, self.n_samples, length):
                yield self._array[:, start : start + length]
            return
        assert self._source is not None
        self.check_unchanged()
        position = 0
        for block in _read_blocks(self._source, length, self.name, dtype):
            if not np.isfinite(block).all():
                raise ValueError(
                    f"{self.name} contains NaN or infinity. Repair the file or leave it out."
                )
            position += block.shape[1]
            yield block
        if position != self.n_samples:
            raise ValueError(
                f"{self.name} ends after {position} of {self.n_samples} samples: the file is "
                "truncated. Restore or re-encode it."
            )


def check_tracks(X: Any, sample_rate: int, name: str = "X") -> tuple[Track, ...]:
    """Validate a collection of tracks.

    Parameters
    ----------
    X : sequence of arrays, paths or AudioSource
        Arrays have shape (n_samples,) or (n_channels, n_samples), at `sample_rate`.
    sample_rate : int
        Rate of the arrays in Hz.
    name : str
        What messages call the collection.

    Returns
    -------
    tuple of Track

    Raises
    ------
    TypeError, ValueError
        Naming the track by index or path, and the remedy.
    """
    return tuple(
        check_track(item, sample_rate, f"{name}[{index}]")
        for index, item in enumerate(check_collection(X, name))
    )


def check_collection(X: Any, name: str = "X") -> list[Any]:
    """The items of a collection of tracks, unread; see `check_tracks`."""
    if isinstance(X, (str, os.PathLike, AudioSource)):
        raise TypeError(f"{name} is one track; pass a list of tracks, [{name}].")
    if isinstance(X, np.ndarray) and X.ndim == 1 and X.dtype.kind in "fiubc" and X.size:
        raise TypeError(
            f"{name} is one waveform of {X.size} samples; pass a list of tracks, [{name}]."
        )
    if isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.kind in "fi" and len(X) > X.shape[1]:
        raise ValueError(
            f"{name} is an array of {X.shape[0]} tracks of {X.shape[1]} samples each, which looks "
            f"like one samples-first track; pass a list of tracks, channels first: [{name}.T]."
        )
    try:
        items = list(X)
    except TypeError:
        raise TypeError(
            f"{name} must be a sequence of tracks (arrays or paths), got {type(X).__name__}."
        ) from None
    if not items:
        raise ValueError(f"{name} holds no tracks; at least one is needed.")
    if all(isinstance(item, (int, float, np.number)) for item in items):
        raise TypeError(f"{name} is a list of numbers; pass a list of tracks, [{name}].")
    return items


def check_track(source: Source, sample_rate: int, name: str = "track") -> Track:
    """Validate one track; see `check_tracks`."""
    if isinstance(source, (str, os.PathLike)):
        source = AudioSource((os.fspath(source),))
    if isinstance(source, AudioSource):
        return _check_file(source, f"{name} ({source})")
    return _check_array(source, sample_rate, name)


def load_audio(
    source: Source, *, sample_rate: int | None = None, name: str = "track"
) -> tuple[FloatArray, int]:
    """Samples and rate of one track.

    Parameters
    ----------
    source : array, path or AudioSource
        The track.
    sample_rate : int, default=None
        Rate of `source` in Hz where it is an array (files know theirs).
    name : str
        What messages call the track.

    Returns
    -------
    samples : ndarray of shape (n_samples,) or (n_channels, n_samples)
        float32, full scale 1.0.
    sample_rate : int
        Hz; 0 for an array whose rate was not given.

    Raises
    ------
    TypeError, ValueError
        Naming the track and the remedy.

    Examples
    --------
    >>> import numpy as np
    >>> from sksep import load_audio
    >>> samples, sample_rate = load_audio(np.array([0, 16384], dtype=np.int16))
    >>> samples
    array([0. , 0.5], dtype=float32)
    """
    track = check_track(source, sample_rate or 0, name)
    return track.read().reshape(track.shape), track.sample_rate


class MonoResampler:
    """Resamples a mono waveform block by block, to resampled_length(...) samples in all."""

    def __init__(self, from_rate: int, to_rate: int) -> None:
        self._rates = (from_rate, to_rate)
        self._n_taken = self._n_given = 0
        self._stream = None
        if from_rate != to_rate:
            self._stream = soxr.ResampleStream(from_rate, to_rate, 1, dtype="float32")

    def push(self, samples: FloatArray) -> FloatArray:
        """The next samples, as far as they are complete."""
        self._n_taken += len(samples)
        if self._stream is not None:
            samples = self._stream.resample_chunk(samples)
        self._n_given += len(samples)
        return samples

    def finish(self) -> FloatArray:
        """The rest."""
        if self._stream is None:
            return np.zeros(0, np.float32)
        rest = self._stream.resample_chunk(np.zeros(0, np.float32), last=True)
        missing = resampled_length(self._n_taken, *self._rates) - self._n_given
        return fix_length(rest, max(0, missing))


def to_mono(samples: FloatArray) -> FloatArray:
    """Mean over channels of (n_samples,) or (n_channels, n_samples)."""
    return samples if samples.ndim == 1 else samples.mean(axis=0)


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


def check_same_length(tracks: Sequence[Any], others: Sequence[Any], name: str, other: str) -> None:
    """Raise when two collections differ in their number of tracks."""
    if len(tracks) != len(others):
        raise ValueError(
            f"{name} has {len(tracks)} tracks but {other} has {len(others)}; they must correspond "
            "one to one."
        )


def check_pair(mixture: Track, vocals: Track) -> None:
    """Raise when vocals do not belong to a mixture by their rate, length or channels."""
    if vocals.sample_rate != mixture.sample_rate:
        raise ValueError(
            f"{vocals.name} is at {vocals.sample_rate} Hz but its mixture {mixture.name} at "
            f"{mixture.sample_rate} Hz; resample the vocals (arrays are taken to be at the "
            "sample_rate of MelChunker)."
        )
    if vocals.n_samples != mixture.n_samples:
        raise ValueError(
            f"{vocals.name} has {vocals.n_samples} samples but its mixture {mixture.name} has "
            f"{mixture.n_samples}; align and cut them to one length."
        )
    if vocals.n_channels not in (1, mixture.n_channels):
        raise ValueError(
            f"{vocals.name} has {vocals.n_channels} channels but its mixture {mixture.name} has "
            f"{mixture.n_channels}; give mono vocals or as many channels as the mixture has."
        )


def _check_array(source: Any, sample_rate: int, name: str) -> Track:
    try:
        array = np.asarray(source)
    except ValueError as error:
        raise ValueError(
            f"{name} is not one array ({error}); a track has shape (n_samples,) or "
            "(n_channels, n_samples)."
        ) from error
    if array.dtype.kind not in "fi" or (
        array.dtype.kind == "i" and array.dtype not in _INTEGER_FULL_SCALE
    ):
        raise TypeError(
            f"{name} has dtype {array.dtype}; give real floating point samples (full scale 1.0), "
            "int16 or int32."
        )
    if array.ndim not in (1, 2):
        raise ValueError(
            f"{name} has {array.ndim} dimensions; a track has shape (n_samples,) or "
            "(n_channels, n_samples)."
        )
    if array.size == 0:
        raise ValueError(f"{name} is empty; leave it out.")
    if array.ndim == 2 and array.shape[0] > array.shape[1]:
        warnings.warn(
            f"{name} has {array.shape[0]} channels and {array.shape[1]} samples; channels come "
            "first, so transpose it if it is samples-first.",
            UserWarning,
            stacklevel=2,
        )
    samples: FloatArray
    if array.dtype.kind == "i":
        samples = (array / _INTEGER_FULL_SCALE[array.dtype]).astype(np.float32)
    else:
        # A copy: what travels in a batch must not change with the caller's memory.
        samples = np.array(array, dtype=np.float32, order="C")
        # The sum is finite only if every sample is, without an array of flags in memory.
        with np.errstate(invalid="ignore"):
            total = samples.sum(dtype=np.float64)
        if not np.isfinite(total):
            raise ValueError(
                f"{name} contains NaN or infinity; replace them (for example with "
                "numpy.nan_to_num) or leave the track out."
            )
        peak = max(float(samples.max()), -float(samples.min()))
        if peak > _LARGEST_PLAUSIBLE_PEAK:
            warnings.warn(
                f"{name} reaches {peak:.0f}, but the full scale of floating point samples is 1.0; "
                "divide integer recordings by their full scale (32768 for 16 bits).",
                UserWarning,
                stacklevel=2,
            )
    samples = samples.reshape(-1, array.shape[-1]).view()
    samples.flags.writeable = False
    return Track(
        name=name,
        sample_rate=sample_rate,
        n_channels=samples.shape[0],
        n_samples=samples.shape[1],
        _array=samples,
        _one_dimensional=array.ndim == 1,
    )


def _check_file(source: AudioSource, name: str) -> Track:
    versions = _file_versions(source, name)
    infos = []
    for path in source.paths:
        try:
            infos.append(soundfile.info(path))
        # TypeError: soundfile takes .raw files for headerless audio and asks for their rate.
        except (soundfile.LibsndfileError, RuntimeError, TypeError) as error:
            raise ValueError(
                f"{name} cannot be read as audio ({error}). WAV, FLAC, OGG and MP3 files work; "
                "convert others first."
            ) from error
    if len({(info.samplerate, info.frames) for info in infos}) > 1:
        sizes = ", ".join(f"{info.frames} samples at {info.samplerate} Hz" for info in infos)
        raise ValueError(f"The files of {name} differ in length or sample rate: {sizes}.")
    if infos[0].frames == 0:
        raise ValueError(f"{name} is empty; leave it out.")
    gains = source.channel_gains
    if gains is not None and any(len(row) != info.channels for row in gains for info in infos):
        raise ValueError(
            f"{name}: channel_gains has rows of {len(gains[0])} values, but the files have "
            f"{sorted({info.channels for info in infos})} channels."
        )
    n_channels = len(gains) if gains is not None else max(info.channels for info in infos)
    if gains is None and any(info.channels not in (1, n_channels) for info in infos):
        raise ValueError(f"The files of {name} differ in their number of channels.")
    return Track(
        name=name,
        sample_rate=int(infos[0].samplerate),
        n_channels=n_channels,
        n_samples=int(infos[0].frames),
        _source=source,
        _one_dimensional=n_channels == 1,
        _file_versions=versions,
    )


def _file_versions(source: AudioSource, name: str) -> tuple[tuple[int, int], ...]:
    versions = []
    for path in source.paths:
        if not Path(path).is_file():
            raise ValueError(f"{name}: there is no file {path!r}; check the path.")
        status = Path(path).stat()
        versions.append((status.st_size, status.st_mtime_ns))
    return tuple(versions)


def _read_blocks(
    source: AudioSource, length: int, name: str, dtype: str
) -> Iterator[npt.NDArray[Any]]:
    gains = None if source.channel_gains is None else np.array(source.channel_gains, dtype)
    with ExitStack() as stack:
        files = [stack.enter_context(soundfile.SoundFile(path)) for path in source.paths]
        while True:
            try:
                parts = [file.read(length, dtype=dtype, always_2d=True).T for file in files]
            except soundfile.LibsndfileError as error:
                raise ValueError(
                    f"{name} cannot be decoded ({error}). Restore or re-encode the file."
                ) from error
            if len({part.shape[1] for part in parts}) > 1:
                raise ValueError(f"{name}: one of its files is truncated. Restore or re-encode it.")
            if gains is not None:
                parts = [gains @ part for part in parts]
            block = parts[0] if len(parts) == 1 else np.sum(np.broadcast_arrays(*parts), axis=0)
            if block.shape[1] == 0:
                return
            yield np.ascontiguousarray(block, dtype=dtype)
