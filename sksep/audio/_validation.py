"""Checking and loading collections of tracks."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from sksep.audio._decoding import Report, inspect_file, regular_file
from sksep.audio._samples import check_samples
from sksep.audio._track import AudioSource, Source, Track, file_versions
from sksep.utils._arrays import FloatArray


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
    if isinstance(X, Mapping) or hasattr(X, "columns"):
        raise TypeError(
            f"{name} is a {type(X).__name__}; pass a list of tracks, such as the values of one "
            "column: list(table['path'])."
        )
    if isinstance(X, np.ndarray) and X.dtype.kind in "OU" and X.ndim == 2 and X.shape[1] == 1:
        X = X[:, 0]  # one column of paths
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


def check_track(
    source: Source, sample_rate: int, name: str = "track", report: Report | None = None
) -> Track:
    """Validate one track. See `check_tracks`.

    `report` takes sentences about what is missing in a file. None warns of it.
    """
    if isinstance(source, (str, os.PathLike)):
        source = AudioSource((os.fspath(source),))
    if isinstance(source, AudioSource):
        return _check_file(source, f"{name} ({source})", report)
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
    if isinstance(source, (str, os.PathLike)):
        with regular_file(source) as path:
            track = check_track(path, 0, name)
            return track.read().reshape(track.shape), track.sample_rate
    track = check_track(source, sample_rate or 0, name)
    return track.read().reshape(track.shape), track.sample_rate


def check_same_length(tracks: Sequence[Any], others: Sequence[Any], name: str, other: str) -> None:
    """Raise an error if two collections differ in their number of tracks."""
    if len(tracks) != len(others):
        raise ValueError(
            f"{name} has {len(tracks)} tracks but {other} has {len(others)}; they must correspond "
            "one to one."
        )


def check_pair(mixture: Track, stem: Track) -> None:
    """Raise an error if the rate, length or channels of a stem do not fit its mixture."""
    if stem.sample_rate != mixture.sample_rate:
        raise ValueError(
            f"{stem.name} is at {stem.sample_rate} Hz but its mixture {mixture.name} at "
            f"{mixture.sample_rate} Hz; resample it (arrays are taken to be at the "
            "sample_rate of MelChunker)."
        )
    if stem.n_samples != mixture.n_samples:
        raise ValueError(
            f"{stem.name} has {stem.n_samples} samples but its mixture {mixture.name} has "
            f"{mixture.n_samples}; align and cut them to one length."
        )
    if stem.n_channels not in (1, mixture.n_channels):
        raise ValueError(
            f"{stem.name} has {stem.n_channels} channels but its mixture {mixture.name} has "
            f"{mixture.n_channels}; give one channel, or as many as the mixture has."
        )


def _check_array(source: Any, sample_rate: int, name: str) -> Track:
    array = check_samples(source, name)
    samples = array.reshape(-1, array.shape[-1]).view()
    samples.flags.writeable = False
    return Track(
        name=name,
        sample_rate=sample_rate,
        n_channels=samples.shape[0],
        n_samples=samples.shape[1],
        _array=samples,
        _one_dimensional=array.ndim == 1,
    )


def _check_file(source: AudioSource, name: str, report: Report | None) -> Track:
    versions = file_versions(source, name)
    infos = []
    for path, version in zip(source.paths, versions, strict=True):
        try:
            infos.append(inspect_file(path, version))
        except (ValueError, OSError) as error:
            raise ValueError(f"{name} {error}") from error
    if len({(info.samplerate, info.frames) for info in infos}) > 1:
        sizes = ", ".join(f"{info.frames} samples at {info.samplerate} Hz" for info in infos)
        problems = "".join(
            f" {path}: {problem}. Restore or re-encode it."
            for path, info in zip(source.paths, infos, strict=True)
            for problem in info.problems
        )
        raise ValueError(f"The files of {name} differ in length or sample rate: {sizes}.{problems}")
    gains = source.channel_gains
    if gains is not None and any(len(row) != info.channels for row in gains for info in infos):
        raise ValueError(
            f"{name}: channel_gains has rows of {len(gains[0])} values, but the files have "
            f"{sorted({info.channels for info in infos})} channels."
        )
    n_channels = len(gains) if gains is not None else max(info.channels for info in infos)
    if gains is None and any(info.channels not in (1, n_channels) for info in infos):
        raise ValueError(f"The files of {name} differ in their number of channels.")
    track = Track(
        name=name,
        sample_rate=int(infos[0].samplerate),
        n_channels=n_channels,
        n_samples=int(infos[0].frames),
        _source=source,
        _one_dimensional=n_channels == 1,
        _file_versions=versions,
        _files=tuple(infos),
    )
    for problem in dict.fromkeys(problem for info in infos for problem in info.problems):
        (report or track._warn)(problem)
    return track
