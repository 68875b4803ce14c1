"""The Bunch of tracks that every loader returns, as files or as arrays."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from sksep.audio._resampling import resample
from sksep.audio._track import AudioSource
from sksep.audio._validation import load_audio
from sksep.datasets._target import StemTrack, Target, name_of, target_of
from sksep.utils._arrays import FloatArray
from sksep.utils._choices import AUDIO_SUFFIXES
from sksep.utils._files import natural_key


def make_bunch(
    tracks: Sequence[StemTrack],
    description: str,
    *,
    target: Target,
    as_arrays: bool,
    sample_rate: int | None,
    **more: Any,
) -> Bunch:
    """Bunch of `tracks`, as AudioSource values, or as float32 arrays if `as_arrays`."""
    target_name = name_of(target)
    chosen = [target_of(track, target) for track in tracks]
    values: dict[str, list[Any]] = {
        "mixtures": [track.mixture for track in tracks],
        "targets": [source for source, _ in chosen],
        "residuals": [rest for _, rest in chosen],
        "stems": [dict(track.stems) for track in tracks],
    }
    if as_arrays:
        values, sample_rate = _read(values, sample_rate)
    elif sample_rate is not None:
        raise ValueError(
            "sample_rate only applies to arrays, since files keep their own rate; add "
            "as_arrays=True, or leave sample_rate out."
        )
    splits = [track.split for track in tracks]
    if target == "vocals":
        values["vocals"], values["accompaniments"] = values["targets"], values["residuals"]
    return Bunch(
        **values,
        target_name=target_name,
        track_names=[track.name for track in tracks],
        groups=np.array([track.group for track in tracks]),
        split=None if None in splits else np.array(splits),
        sample_rate=sample_rate,
        DESCR=description,
        **more,
    )


def _read(
    sources: dict[str, list[Any]], sample_rate: int | None
) -> tuple[dict[str, list[Any]], int | None]:
    arrays: dict[str, list[Any]] = {name: [] for name in sources}
    rates: dict[int, str] = {}

    def samples_of(source: AudioSource, name: str) -> FloatArray:
        samples, rate = load_audio(source, name=name)
        rates.setdefault(sample_rate or rate, str(source))
        if len(rates) > 1:
            listed = ", ".join(f"{rate} Hz ({path})" for rate, path in rates.items())
            raise ValueError(
                f"The files differ in sample rate: {listed}. Give a sample_rate to which all "
                "of them are resampled."
            )
        return resample(samples, rate, sample_rate or rate)

    for index, stems in enumerate(sources["stems"]):
        parts: dict[str, FloatArray] = {}
        read: dict[AudioSource, FloatArray] = {}  # a target is mostly one of the stems
        for name in ("mixtures", "targets", "residuals"):
            source = sources[name][index]
            if source is not None:
                parts[name] = read[source] = samples_of(source, f"{name}[{index}]")
        for stem, source in stems.items():
            if source not in read:
                read[source] = samples_of(source, f"stems[{index}][{stem!r}]")
        if "residuals" not in parts:
            n_mixture, n_target = (parts[name].shape[-1] for name in ("mixtures", "targets"))
            if n_target != n_mixture:
                raise ValueError(
                    f"{sources['targets'][index]} has {n_target} samples but its mixture "
                    f"{sources['mixtures'][index]} has {n_mixture}; align and cut them to one "
                    "length."
                )
            parts["residuals"] = parts["mixtures"] - parts["targets"]
        for name, samples in parts.items():
            arrays[name].append(samples)
        arrays["stems"].append({stem: read[source] for stem, source in stems.items()})
    return arrays, next(iter(rates))


def artist_of(name: str) -> str:
    """Artist of a track: the part of its name before " - " or "_-_", or else the whole name."""
    return re.split(r" - |_-_", name, maxsplit=1)[0].strip()


def audio_files(folder: Path) -> dict[str, list[Path]]:
    """Audio files of a folder, by lower-case name without suffix."""
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.iterdir()):
        # macOS leaves files such as ._song.wav beside song.wav. They hold no audio.
        if path.suffix.lower() in AUDIO_SUFFIXES and not path.name.startswith("."):
            found.setdefault(path.stem.lower(), []).append(path)
    return found


def subfolders(folder: Path) -> list[Path]:
    """Visible folders inside a folder, in natural order."""
    visible = (path for path in folder.iterdir() if not path.name.startswith("."))
    return sorted((path for path in visible if path.is_dir()), key=natural_key)


def find_stem(files: dict[str, list[Path]], name: str) -> Path | None:
    """The one file of that name, in any case and with any audio suffix."""
    paths = files.get(name.lower(), [])
    if len(paths) > 1:
        listed = " and ".join(path.name for path in paths)
        raise ValueError(
            f"{paths[0].parent} holds {listed}, and only one can be {name}; move the others away."
        )
    return paths[0] if paths else None


def source(*paths: Path) -> AudioSource:
    """The sum of files, as one source."""
    return AudioSource(tuple(os.fspath(path) for path in paths))


def data_folder(path: str | os.PathLike[str] | None, names: Iterable[str], remedy: str) -> Path:
    """Folder of a data set: `path`, or one of `names` below the folder in SKSEP_DATA_HOME.

    Raises
    ------
    FileNotFoundError
        If there is no such folder. The message ends with the remedy.
    """
    if path is not None:
        folder = Path(path).expanduser()
        if folder.is_dir():
            return folder
        raise FileNotFoundError(f"There is no folder {str(folder)!r}. {remedy}")
    home = os.environ.get("SKSEP_DATA_HOME")
    if not home:
        raise FileNotFoundError(
            "No path was given and the environment variable SKSEP_DATA_HOME is not set. " + remedy
        )
    candidates = [Path(home).expanduser() / name for name in names]
    for candidate in candidates:
        if candidate.is_dir():
            return candidate
    listed = " or ".join(repr(str(candidate)) for candidate in candidates)
    raise FileNotFoundError(f"There is no folder {listed}. {remedy}")


def check_subset(subset: str) -> None:
    """Raise an error unless `subset` is one of the three that data sets with a fixed split have."""
    if subset not in ("train", "test", "all"):
        raise ValueError(f'subset must be "train", "test" or "all", got {subset!r}.')


def check_not_empty(tracks: Sequence[StemTrack], folder: Path, subset: str, remedy: str) -> None:
    """Raise an error if the folder of a data set holds no track of the subset."""
    if not tracks:
        part = "no tracks" if subset == "all" else f"no tracks of the {subset} part"
        raise FileNotFoundError(f"{str(folder)!r} holds {part}. {remedy}")
