"""Songs without stems, and the stems that a teacher estimates for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

import sksep
from _lib.scores import SAMPLE_RATE
from sksep.audio._resampling import resample
from sksep.datasets import load_files
from sksep.peers import SpleeterSeparator

_TEACHER_RATE = 44100


def teach(data: Path, work: Path, n_songs: int | None = None) -> list[Path]:
    """Write Spleeter's stems of the songs without stems, unless they are there; their files."""
    songs = load_files(data / "mixes").paths[:n_songs]
    paths = [work / "mixes" / f"{index:04d}.npz" for index in range(len(songs))]
    teacher = None
    for path, file in zip(paths, songs, strict=True):
        if not path.exists():
            teacher = teacher or SpleeterSeparator(device="cpu")._prepare()
            song = waveform(file, _TEACHER_RATE)
            vocals = teacher.predict([song])[0]
            stems = [vocals, song - vocals]
            write(path, [resample(stem, _TEACHER_RATE, SAMPLE_RATE) for stem in stems])
            print(f"taught {path.stem}", flush=True)
    return paths


def taught(paths: list[Path]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Songs and the teacher's vocals as mono waveforms at 16 kHz."""
    stems = [[np.float32(part).mean(axis=0) for part in read(path)] for path in paths]
    return [vocals + rest for vocals, rest in stems], [vocals for vocals, _ in stems]


def waveform(source: Any, rate: int) -> np.ndarray:
    """A recording of one or two channels at a rate."""
    samples, source_rate = sksep.load_audio(source)
    return resample(np.ascontiguousarray(np.atleast_2d(samples)[:2]), source_rate, rate)


def write(path: Path, parts: list[np.ndarray]) -> None:
    """Write arrays as float16; a file has its name only when it is whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".unfinished.npz")
    np.savez(unfinished, *[part.astype(np.float16) for part in parts])
    unfinished.rename(path)


def read(path: Path) -> tuple[np.ndarray, ...]:
    """The arrays of a file."""
    with np.load(path) as arrays:
        return tuple(arrays[name] for name in arrays.files)
