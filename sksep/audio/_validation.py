"""Checking and loading collections of tracks."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import soundfile

from sksep.audio._track import AudioSource, Source, Track, file_versions
from sksep.utils._arrays import FloatArray

# Full scale of float waveforms is 1.0. A peak this far above it shows an integer recording that was
# converted to float without being scaled.
_LARGEST_PLAUSIBLE_PEAK = 16.0

_INTEGER_FULL_SCALE = {np.dtype(np.int16): 2.0**15, np.dtype(np.int32): 2.0**31}


def check_tracks(X: Any, sample_rate: int, name: str = "X") -> tuple[Track, ...]:
    """Validate a collection of tracks.

    Parameters
    ----------
    X : sequence of arrays, paths or AudioSource
        Arrays have shape (n_samples,) or (n_channels, n_samples), at `sample_rate`.
    sample_rate : int
        Rate of the arrays in Hz.
    name : str
        Name of the collection in messages.

    Returns
    -------
    tuple of Track

    Raises
    ------
    TypeError, ValueError
        If a track is not valid. The message names it by index or path, and says what to do.
    """
    return tuple(
        check_track(item, sample_rate, f"{name}[{index}]")
        for index, item in enumerate(check_collection(X, name))
    )


def check_collection(X: Any, name: str = "X") -> list[Any]:
    """The items of a collection of tracks, which are not read. See `check_tracks`."""
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
    """Validate one track. See `check_tracks`."""
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
        Sample rate of an array in Hz. Files have their own.
    name : str
        Name of the track in messages.

    Returns
    -------
    samples : ndarray of shape (n_samples,) or (n_channels, n_samples)
        float32, full scale 1.0.
    sample_rate : int
        Sample rate in Hz; 0 for an array whose rate was not given.

    Raises
    ------
    TypeError, ValueError
        If the track is not valid. The message names it and says what to do.

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


def check_same_length(tracks: Sequence[Any], others: Sequence[Any], name: str, other: str) -> None:
    """Raise an error if two collections differ in their number of tracks."""
    if len(tracks) != len(others):
        raise ValueError(
            f"{name} has {len(tracks)} tracks but {other} has {len(others)}; they must correspond "
            "one to one."
        )


def check_pair(mixture: Track, vocals: Track) -> None:
    """Raise an error if the rate, length or channels of vocals do not fit their mixture."""
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
    samples = _full_scale(array, name).reshape(-1, array.shape[-1]).view()
    samples.flags.writeable = False
    return Track(
        name=name,
        sample_rate=sample_rate,
        n_channels=samples.shape[0],
        n_samples=samples.shape[1],
        _array=samples,
        _one_dimensional=array.ndim == 1,
    )


def _full_scale(array: Any, name: str) -> FloatArray:
    """Copy of the samples as float32, integers divided by their full scale."""
    if array.dtype.kind == "i":
        return (array / _INTEGER_FULL_SCALE[array.dtype]).astype(np.float32)
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
            stacklevel=3,
        )
    return samples


def _check_file(source: AudioSource, name: str) -> Track:
    versions = file_versions(source, name)
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
