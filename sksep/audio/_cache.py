"""Mono waveforms of tracks on disk, for training sets that are larger than memory."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import KW_ONLY, dataclass
from pathlib import Path
from typing import Any, TypeAlias

import joblib
import numpy as np
import safetensors
import safetensors.numpy
from tqdm import tqdm

from sksep.audio._resampling import resampled_length
from sksep.audio._track import Track
from sksep.utils._arrays import FloatArray
from sksep.utils._files import final_name, in_order, remove_unfinished, write_whole
from sksep.utils._parameters import Estimator, parameter
from sksep.utils._validation import (
    check_integer,
    check_path,
    integer,
    number,
    optional,
)

# Names of the files, so that nothing else in the folder is counted or removed.
_PREFIX = "waveform-"
_NAME = re.compile(rf"{_PREFIX}[0-9a-f]{{32}}\.safetensors")
_LARGEST_INTEGER = 32767.0
_BYTES_PER_SAMPLE = 2


@dataclass(frozen=True)
class CachedWaveform:
    """A mono waveform in a file of a cache. A slice is read when it is asked for.

    Attributes
    ----------
    name : str
        Name of the track in messages.
    path : Path
        The file.
    n_samples : int
        Length of the waveform.
    scale : float
        Factor from the stored integers to samples.
    """

    name: str
    path: Path
    n_samples: int
    scale: float

    def __len__(self) -> int:
        return self.n_samples

    def __getitem__(self, key: slice) -> FloatArray:
        start, stop, _ = key.indices(self.n_samples)
        if stop <= start:
            return np.zeros(0, np.float32)
        try:
            with safetensors.safe_open(self.path, framework="numpy") as file:
                samples = file.get_slice("samples")[start:stop]
        except (OSError, safetensors.SafetensorError) as error:
            raise ValueError(
                f"The cached waveform of {self.name} cannot be read ({error}). Fit again: missing "
                "waveforms are written again. A pipeline with memory=... remembers its tracks; "
                "clear its memory, too."
            ) from error
        return samples * np.float32(self.scale)


# A mono waveform: an array, or a file of a cache. Both have a length and can be sliced.
Waveform: TypeAlias = FloatArray | CachedWaveform


def check_n_jobs(name: str, value: Any) -> None:
    """Constraint: a number of jobs as joblib takes it, which is not 0."""
    if check_integer(name, value, -(2**15)) == 0:
        raise ValueError(f"{name} must not be 0; -1 stands for all cores.")


@dataclass(eq=False, repr=False)
class WaveformCache(Estimator):
    """A folder of mono waveforms at the rate of the model, for training on more than memory holds.

    Files are decoded, mixed down and resampled once, and written as 16-bit samples: 1.9 MB per
    minute at 16 kHz. Training then reads only the excerpts that it draws. A waveform belongs to the
    path, the size and the time of change of its file, so that a file that has changed is read
    again. Several processes can use one folder at the same time, and an interrupted preparation
    continues where it stopped.

    Parameters
    ----------
    folder : str or os.PathLike, default="waveforms"
        Folder of the cache. It is created if it does not exist.
    max_gigabytes : float, default=None
        Largest size of the waveforms in the folder in 10^9 bytes, above 0. Nothing is removed to
        stay below it; fitting raises an error if there is no room. None means that only the disk
        sets a limit.
    n_jobs : int, default=None
        Number of files that joblib prepares at a time. None is 1, unless
        ``joblib.parallel_config`` says otherwise; -1 is the number of cores.
    verbose : int, default=1
        Whether a terminal shows a progress bar while files are prepared.

    See Also
    --------
    sksep.MelChunker : Takes a cache as its parameter `cache`.

    Examples
    --------
    >>> import soundfile
    >>> from sksep import MaskBuilder, MelChunker, UNetSeparator, WaveformCache
    >>> from sksep.datasets import make_songs
    >>> from sklearn.pipeline import make_pipeline
    >>> song = make_songs(1, duration=2.0, random_state=0)
    >>> soundfile.write("mixture.wav", song.mixtures[0], 16000)
    >>> soundfile.write("vocals.wav", song.vocals[0], 16000)
    >>> cache = WaveformCache("waveforms", max_gigabytes=50)
    >>> separator = UNetSeparator(n_filters=2, max_epochs=1, random_state=0)
    >>> pipeline = make_pipeline(MelChunker(cache=cache), MaskBuilder(), separator)
    >>> pipeline = pipeline.fit(["mixture.wav"], ["vocals.wav"])
    >>> round(cache.size / 1000)  # kilobytes
    128
    >>> cache.clear()
    >>> cache.size
    0
    """

    folder: str | os.PathLike[str] = parameter("waveforms", check_path)
    _: KW_ONLY
    max_gigabytes: float | None = parameter(None, optional(number(0.0, include_low=False)))
    n_jobs: int | None = parameter(None, optional(check_n_jobs))
    verbose: int = parameter(1, integer(0))

    @property
    def size(self) -> int:
        """Bytes of the waveforms in the folder."""
        total = 0
        for path in self._files():
            with suppress(FileNotFoundError):  # another process has finished or removed it
                total += path.stat().st_size
        return total

    def clear(self) -> None:
        """Remove all waveforms from the folder, and nothing else.

        Trainings that read them fail and have to be started again. A pipeline with `memory`
        remembers its tracks; clear its memory, too.
        """
        for path in self._files():
            path.unlink(missing_ok=True)

    def validate(self) -> None:
        """Check the parameters.

        Raises
        ------
        TypeError
            If a parameter has the wrong type.
        ValueError
            If `max_gigabytes` is out of its range, or `folder` is a file.
        """
        self._check_parameters()
        self._folder()

    def waveforms(self, tracks: Sequence[Track], sample_rate: int) -> list[Waveform]:
        """Mono waveforms of tracks. Those that are not in the folder yet are prepared.

        Parameters
        ----------
        tracks : sequence of Track
            The tracks. Arrays stay in memory.
        sample_rate : int
            Rate of the waveforms in Hz.

        Returns
        -------
        list of ndarray or CachedWaveform
            Waveforms, each with its own length.

        Raises
        ------
        TypeError
            If a parameter has the wrong type.
        ValueError
            If there is no room, or if a file cannot be decoded or has changed. The message names
            the file.
        """
        self.validate()
        folder = self._folder()
        paths = [_path(folder, track, sample_rate) for track in tracks]
        missing = {
            path: track
            for path, track in zip(paths, tracks, strict=True)
            if path is not None and _open(path, track) is None
        }
        if missing:
            self._check_room(folder, missing.values(), sample_rate)
            remove_unfinished(folder)
            # Threads suffice, since decoding and resampling do without Python.
            written = joblib.Parallel(
                n_jobs=self.n_jobs, prefer="threads", return_as="generator_unordered"
            )(joblib.delayed(_write)(path, track, sample_rate) for path, track in missing.items())
            quiet = None if self.verbose else True  # None: quiet without a terminal
            for _ in tqdm(written, "Preparing", len(missing), unit="file", disable=quiet):
                pass
        return [
            track.mono(sample_rate) if path is None else _opened(path, track)
            for path, track in zip(paths, tracks, strict=True)
        ]

    def _folder(self) -> Path:
        folder = Path(self.folder).absolute()  # other processes may have another working folder
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"folder: {folder} is a file; choose another name for the cache.")
        return folder

    def _files(self) -> list[Path]:
        return [path for path in self._folder().glob("*") if _NAME.fullmatch(final_name(path.name))]

    def _check_room(self, folder: Path, tracks: Collection[Track], sample_rate: int) -> None:
        needed = _BYTES_PER_SAMPLE * sum(
            resampled_length(track.n_samples, track.sample_rate, sample_rate) for track in tracks
        )
        there = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
        free = shutil.disk_usage(there).free
        if needed > free:
            raise ValueError(
                f"The waveforms of {len(tracks)} files take {needed / 1e9:.2f} GB, but the disk of "
                f"{folder} has {free / 1e9:.2f} GB left. Make room, or choose another folder for "
                "the cache."
            )
        limit, size = self.max_gigabytes, self.size
        if limit is not None and size + needed > limit * 1e9:
            raise ValueError(
                f"The waveforms of {len(tracks)} files take {needed / 1e9:.2f} GB, and the cache "
                f"{folder} holds {size / 1e9:.2f} GB of at most {limit:g} GB. Raise max_gigabytes, "
                "or remove the waveforms with clear()."
            )


def check_cache(name: str, value: Any) -> None:
    """Constraint: a folder, or a cache with valid parameters."""
    if isinstance(value, (str, os.PathLike)):
        value = WaveformCache(value)
    if not isinstance(value, WaveformCache):
        raise TypeError(f"{name} must be a folder, a WaveformCache or None; got {value!r:.200}.")
    value.validate()


def as_cache(cache: Any) -> WaveformCache | None:
    """The cache that a user asks for by a cache, a folder or None."""
    return WaveformCache(cache) if isinstance(cache, (str, os.PathLike)) else cache


def mono_waveforms(
    tracks: Sequence[Track], sample_rate: int, cache: WaveformCache | None
) -> list[Waveform]:
    """Mono waveforms of tracks, in memory if there is no cache."""
    if cache is None:
        return [track.mono(sample_rate) for track in tracks]
    return cache.waveforms(tracks, sample_rate)


def _path(folder: Path, track: Track, sample_rate: int) -> Path | None:
    """The file of a track in the cache; None if the track is an array."""
    if not track.is_file:
        return None
    return folder / f"{_PREFIX}{joblib.hash([track.version, sample_rate])}.safetensors"


def _open(path: Path, track: Track) -> CachedWaveform | None:
    """The waveform in a file; None if there is no such file, or if it is damaged."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            samples, metadata = file.get_slice("samples"), file.metadata()
            (n_samples,), scale = samples.get_shape(), float(metadata["scale"])
            expected = int(metadata.get("n_samples", n_samples))  # earlier versions do not say
            is_whole = samples.get_dtype() == "I16" and n_samples == expected and n_samples > 0
    except (OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError):
        return None
    # The scale of a waveform within full scale is the smallest.
    if not is_whole or not 0.999 / _LARGEST_INTEGER < scale < np.inf:
        return None
    return CachedWaveform(track.name, path, n_samples, scale)


def _opened(path: Path, track: Track) -> CachedWaveform:
    waveform = _open(path, track)
    if waveform is None:
        raise ValueError(
            f"The cached waveform of {track.name} is gone: another process has removed or damaged "
            f"{path}. Fit again. If you train on several machines, all of them must reach the "
            "folder under the same path."
        )
    return waveform


def _write(path: Path, track: Track, sample_rate: int) -> None:
    """Prepare a track and write its file."""
    samples = track.mono(sample_rate)
    peak = max(1.0, float(np.abs(samples).max()))  # nothing is clipped
    integers = np.rint(samples * np.float32(_LARGEST_INTEGER / peak)).astype(np.int16)
    metadata = {
        "n_samples": str(len(integers)),
        "scale": repr(peak / _LARGEST_INTEGER),
        "source": str(track.source),
    }
    write_whole(path, in_order(safetensors.numpy.save({"samples": integers}, metadata)))
