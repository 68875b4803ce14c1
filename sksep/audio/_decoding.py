"""Decoding of audio files: all samples that can be decoded, and what is missing in words.

libsndfile decodes what it can, PyAV the rest. The length of a file is known before it is read:
headers that can be trusted state it, and other files are decoded once to count their samples.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile
import soxr

from sksep.audio._containers import (
    Layout,
    Part,
    PartFile,
    has_known_start,
    kind_of,
    layout_of,
)

Block = npt.NDArray[Any]
Report = Callable[[str], None]
Version = tuple[int, int]

# Sample rates of files in Hz. Others are errors in headers, which would ask for any memory.
MIN_SAMPLE_RATE = 500
MAX_SAMPLE_RATE = 768_000

_PIECE_LENGTH = 4608  # samples that are lost at most where MP3 data are damaged
_SMALLER = (1024, 32, 1)  # samples that are read at a time before a damaged place
_COUNTING_LENGTH = 1 << 18
_MAX_ERRORS = 1000  # in a row
_AV_REMEDY = (
    'PyAV reads it: install it with pip install "sksep[av]", or convert the file to WAV or FLAC'
)


@dataclass(frozen=True)
class AudioFile:
    """An audio file that can be decoded. The first five attributes are named as in soundfile.

    Attributes
    ----------
    format, subtype : str
        Container and encoding.
    samplerate, channels, frames : int
        Sample rate in Hz, number of channels, and number of samples of each channel.
    path : str
        The file.
    problems : tuple of str
        Sentences about what is missing.
    """

    format: str
    subtype: str
    samplerate: int
    channels: int
    frames: int
    path: str
    problems: tuple[str, ...] = ()
    _uses_av: bool = False
    _parts: tuple[Part | None, ...] = (None,)

    def blocks(self, length: int, dtype: str, report: Report) -> Iterator[Block]:
        """All samples, (channels, length) at a time; the last block may be shorter.

        Damaged places are silent, and `report` is called with a sentence about each. After the
        last sample, silence fills up what the header promised.
        """
        position = 0
        for block in _regrouped(self._decoded(length, dtype, report), length, self.frames):
            position += block.shape[1]
            yield block
        if position < self.frames:
            missing = (self.frames - position) / self.samplerate
            report(f"{missing:.2f} s cannot be decoded; the result is silent at its end instead")
        while position < self.frames:
            n = min(length, self.frames - position)
            position += n
            yield np.zeros((self.channels, n), dtype)

    def _decoded(self, length: int, dtype: str, report: Report) -> Iterator[Block]:
        if self._uses_av:
            from sksep.audio import _pyav

            yield from _pyav.blocks(self.path, self.samplerate, self.channels, dtype, report)
            return
        for part in self._parts:
            yield from self._adapted(part, _sound_blocks(self, part, length, dtype, report))

    def _adapted(self, part: Part | None, blocks: Iterator[Block]) -> Iterator[Block]:
        """Blocks of a part at the sample rate and with the channels of the first part."""
        if part is None or part is self._parts[0]:
            yield from blocks
            return
        with _opened(self.path, part) as sound:
            rate, channels = sound.samplerate, sound.channels
        stream = None
        if rate != self.samplerate:
            stream = soxr.ResampleStream(rate, self.samplerate, self.channels, dtype="float32")
        block = np.zeros((self.channels, 0), np.float32)
        for block in blocks:
            if channels != self.channels:
                block = np.repeat(block.mean(axis=0, keepdims=True), self.channels, axis=0)
            if stream is not None:
                samples = np.ascontiguousarray(block.T, np.float32)
                block = stream.resample_chunk(samples).T.astype(block.dtype)
            yield block
        if stream is not None:
            rest = stream.resample_chunk(np.zeros((0, self.channels), np.float32), last=True)
            yield rest.T.astype(block.dtype)


def inspect_file(path: str, version: Version) -> AudioFile:
    """Find out how a file is decoded.

    Parameters
    ----------
    path : str
        The file.
    version : tuple of int
        Its size and time of change. Files that have not changed are not inspected again.

    Returns
    -------
    AudioFile

    Raises
    ------
    ValueError
        If the file cannot be read. The message is to be appended to the name of the track.
    """
    return _inspect_once(os.path.abspath(path), version)


@lru_cache(maxsize=4096)
def _inspect_once(path: str, version: Version) -> AudioFile:
    try:
        return _inspect(path, version[0])
    except MemoryError as error:
        raise ValueError(
            "cannot be decoded with the memory there is; its header may be damaged. Restore or "
            "re-encode the file."
        ) from error


def clock(n_samples: int, sample_rate: int) -> str:
    """A time in minutes and seconds."""
    tenths = n_samples * 10 // sample_rate
    return f"{tenths // 600}:{tenths % 600 / 10:04.1f}"


def is_audio(path: str | os.PathLike[str]) -> bool:
    """Whether the first bytes of a file are those of a kind of audio file or video."""
    with open(path, "rb") as file:
        head = file.read(512)
    return kind_of(head)[1]


def _inspect(path: str, size: int) -> AudioFile:
    with open(path, "rb") as file:
        head = file.read(512)
        kind, may_be_audio = kind_of(head)
        if kind and not may_be_audio:
            raise ValueError(f"cannot be read as audio: it is {kind}. {_remedy()}")
        layout = Layout(is_exact=False)
        if not kind:
            file.seek(0)
            layout = layout_of(file, size)
    if kind and _has_av():
        found = _inspect_by_av(path, kind, layout)
    else:
        try:
            found = _inspect_sound(path, layout)
        except (soundfile.LibsndfileError, RuntimeError, TypeError, OSError) as error:
            if kind:
                message = f"is {kind}, which soundfile does not read. {_AV_REMEDY}."
                raise ValueError(message) from error
            if not _has_av():
                raise ValueError(f"cannot be read as audio ({error}). {_remedy()}") from error
            found = _inspect_by_av(path, kind, layout)
    if found.frames == 0:
        raise ValueError("is empty; leave it out.")
    return found


def _inspect_by_av(path: str, kind: str, layout: Layout) -> AudioFile:
    from sksep.audio import _pyav

    found = AudioFile(**_pyav.inspect(path, kind), path=path, _uses_av=True)
    told = _told(layout, found.frames, found.samplerate)
    return replace(found, problems=found.problems or tuple(told))


def _inspect_sound(path: str, layout: Layout) -> AudioFile:
    parts = layout.parts or (None,)
    with _opened(path, parts[0]) as sound:
        found = AudioFile(
            sound.format, sound.subtype, sound.samplerate, sound.channels, sound.frames, path
        )
        found = replace(found, _parts=parts)
        check_rate(found.samplerate)
        if layout.is_exact and _can_read_end(sound):
            return found
    n = _count(found, layout.n_stated)
    problems = _told(layout, n, found.samplerate)
    if layout.is_exact and n < found.frames:
        end, stated = clock(n, found.samplerate), clock(found.frames, found.samplerate)
        problems.append(f"it ends at {end} of {stated}: what follows is missing or damaged")
    return replace(found, frames=n, problems=tuple(problems))


def _told(layout: Layout, n_samples: int, rate: int) -> list[str]:
    """The problems of a layout, with the times at which the audio ends and should end."""
    n_stated = layout.n_stated or n_samples
    return [
        text.format(end=clock(n_samples, rate), stated=clock(n_stated, rate))
        for text in layout.problems
        if "{stated}" not in text or n_stated > n_samples
    ]


def check_rate(rate: int) -> None:
    """Raise ValueError if a sample rate is implausible."""
    if not MIN_SAMPLE_RATE <= rate <= MAX_SAMPLE_RATE:
        raise ValueError(
            f"has the sample rate {rate} Hz; rates from {MIN_SAMPLE_RATE} to {MAX_SAMPLE_RATE} Hz "
            "are read. Correct the header, or resample the file."
        )


def _remedy() -> str:
    more = "M4A, MP4, MKV, WMA and many others, too" if _has_av() else 'others with "sksep[av]"'
    return f"WAV, FLAC, OGG and MP3 files work, {more}; convert what does not."


def _has_av() -> bool:
    from importlib.util import find_spec

    return find_spec("av") is not None


class _Sound(soundfile.SoundFile):
    """A file that is read from front to back.

    After every read of a file in which it can seek, soundfile seeks to the place where it is. The
    decoder of MP3 then loses what the next frame needs, which is audible, and damaged files end.
    """

    def seekable(self) -> bool:
        """Say no."""
        return False


@contextmanager
def _opened(path: str, part: Part | None) -> Iterator[_Sound]:
    with ExitStack() as stack:
        file = stack.enter_context(open(path, "rb"))
        if part is not None:
            yield stack.enter_context(_Sound(PartFile(file, part)))
        elif has_known_start(file.read(4)) and not path.lower().endswith(".raw"):
            yield stack.enter_context(_Sound(os.fsencode(path)))
        else:  # libsndfile would guess by the suffix
            file.seek(0)
            yield stack.enter_context(_Sound(file))


def _can_read_end(sound: soundfile.SoundFile) -> bool:
    if sound.frames == 0:
        return True
    try:
        sound.seek(sound.frames - 1)
        return len(sound.read(2)) == 1
    except (soundfile.LibsndfileError, RuntimeError):
        return False


def _count(file: AudioFile, n_stated: int | None) -> int:
    """Number of samples that can be decoded."""
    limit = n_stated or (file.frames if file._parts == (None,) else 0)
    counted = replace(file, frames=limit)
    blocks = counted._decoded(_COUNTING_LENGTH, "float32", lambda _: None)
    return sum(block.shape[1] for block in blocks)


def _regrouped(blocks: Iterator[Block], length: int, limit: int) -> Iterator[Block]:
    """Blocks of one length, of `limit` samples in all."""
    waiting: list[Block] = []
    n_waiting = n_given = 0
    for block in blocks:
        block = block[:, : limit - n_given - n_waiting]
        waiting.append(block)
        n_waiting += block.shape[1]
        if n_waiting >= length:
            block = waiting[0] if len(waiting) == 1 else np.concatenate(waiting, axis=1)
            while block.shape[1] >= length:
                yield block[:, :length]
                n_given += length
                block = block[:, length:]
            n_waiting = block.shape[1]
            waiting = [block] if n_waiting else []
        if n_given + n_waiting >= limit:
            break
    if n_waiting:
        yield np.concatenate(waiting, axis=1)


def _sound_blocks(
    file: AudioFile, part: Part | None, length: int, dtype: str, report: Report
) -> Iterator[Block]:
    """Samples of a part as libsndfile decodes them, (channels, n)."""
    n_skipped, limit = (part.n_skipped, part.n_samples) if part else (0, -1)
    if file.format == "MP3" or file.format == "MPEG":
        length = min(length, _PIECE_LENGTH)
        blocks = _read_stubbornly(file, part, length, dtype, report)
    else:
        blocks = _read_with_jumps(file, part, length, dtype, report)
    for block in blocks:
        if n_skipped:
            block, n_skipped = block[:, n_skipped:], max(0, n_skipped - block.shape[1])
        if limit >= 0:
            block, limit = block[:, :limit], max(0, limit - block.shape[1])
        yield block


def _read_stubbornly(
    file: AudioFile, part: Part | None, length: int, dtype: str, report: Report
) -> Iterator[Block]:
    """Read on after errors, as the decoder of MP3 does: it goes on with the next frame."""
    n_errors = position = 0
    with _opened(file.path, part) as sound:
        while n_errors < _MAX_ERRORS:
            try:
                block = sound.read(length, dtype=dtype, always_2d=True).T
            except soundfile.LibsndfileError:
                n_errors += 1
                if n_errors == 1:
                    report(_silent(position, length, sound.samplerate))
                block = np.zeros((sound.channels, length), dtype)
            else:
                n_errors = 0
            if not block.shape[1]:
                return
            position += block.shape[1]
            yield block


def _read_with_jumps(
    file: AudioFile, part: Part | None, length: int, dtype: str, report: Report
) -> Iterator[Block]:
    """Read, and jump over places that cannot be decoded, if something can be decoded after them."""
    position, sizes = 0, [length, *_SMALLER]
    while True:
        with _opened(file.path, part) as sound:
            try:
                if position:
                    sound.seek(position)
                while True:
                    block = sound.read(sizes[0], dtype=dtype, always_2d=True).T
                    if not block.shape[1]:
                        return
                    position += block.shape[1]
                    yield block
            except (soundfile.LibsndfileError, RuntimeError):
                if len(sizes) > 1:  # what comes before the damage is still to be read
                    del sizes[0]
                    continue
            landing = _after_damage(file, part, position)
            if landing is None:
                return
            report(_silent(position, landing - position, sound.samplerate))
            yield np.zeros((sound.channels, landing - position), dtype)
            position, sizes = landing, [length, *_SMALLER]


def _after_damage(file: AudioFile, part: Part | None, position: int) -> int | None:
    """A place after `position` from which on a file can be decoded."""
    step = 1024
    while position + step < file.frames:
        try:
            with _opened(file.path, part) as sound:
                sound.seek(position + step)
                if len(sound.read(1024)):
                    return position + step
        except (soundfile.LibsndfileError, RuntimeError):
            pass
        step *= 2
    return None


def _silent(position: int, n_samples: int, rate: int) -> str:
    return (
        f"{n_samples / rate:.2f} s at {clock(position, rate)} cannot be decoded, and the result is "
        "silent there"
    )


@contextmanager
def regular_file(path: str | os.PathLike[str]) -> Iterator[str]:
    """A file that can be read more than once: the file itself, or a copy of what a pipe delivers.

    Parameters
    ----------
    path : path
        A file, a named pipe, or "-" for standard input.

    Yields
    ------
    str
        Path of a regular file. A copy is removed at the end.
    """
    import shutil
    import sys
    import tempfile

    path = os.fspath(path)
    if path != "-" and not is_pipe(path):
        yield path
        return
    with ExitStack() as stack:
        source = sys.stdin.buffer if path == "-" else stack.enter_context(open(path, "rb"))
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="sksep-"))
        copy = os.path.join(folder, "stdin" if path == "-" else os.path.basename(path))
        with open(copy, "wb") as file:
            shutil.copyfileobj(source, file, 1 << 20)
        yield copy


def is_pipe(path: str | os.PathLike[str]) -> bool:
    """Whether a path is that of a pipe, a terminal or a socket."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode)
