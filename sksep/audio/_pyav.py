"""Decoding by PyAV (FFmpeg) of what libsndfile does not read. PyAV is imported when it is used."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

Block = npt.NDArray[Any]

# Formats that are opened. Playlists and others that name further files or addresses are not.
_FORMATS = (
    "3g2,3gp,aac,ac3,aiff,amr,ape,asf,au,avi,caf,dsf,dts,eac3,flac,flv,iff,loas,m4a,matroska,mov,"
    "mp2,mp3,mp4,mpc,mpc8,mpeg,mpegts,mxf,nut,ogg,oma,rm,shn,tak,truehd,tta,voc,w64,wav,webm,wv"
)
# Samples at the beginning that come from the codec and not from the recording, at least. They are
# cut where a container has no place to state them.
_CODEC_DELAYS = {"aac": 1024, "ac3": 256, "eac3": 256, "mp1": 481, "mp2": 481}
_WITHOUT_DELAY = {"aac", "ac3", "eac3", "mp3", "mpegts", "mpeg", "flv", "avi", "asf"}
# Their duration is an estimate from bit rates.
_WITHOUT_DURATION = {"aac", "ac3", "amr", "dts", "eac3", "flv", "loas", "mp3", "mpegts", "mpeg"}
_LOSSLESS = ("alac", "flac", "wavpack", "tta", "ape", "tak", "shorten", "truehd", "mlp", "pcm")
_SCALES = {"u8": 2.0**7, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63}
_REMEDY = "Convert the file to WAV, FLAC, OGG or MP3 first."
_MAX_ERRORS = 1000  # packets in a row


def inspect(path: str, kind: str) -> dict[str, Any]:
    """Format, subtype, sample rate, channels, length and problems of a file.

    Raises
    ------
    ValueError
        If FFmpeg cannot read the file, or if there is no sound in it.
    """
    from sksep.audio._decoding import check_rate, clock

    stream = _Stream(path)
    rate = channels = n = 0
    try:
        for block in stream.blocks(lambda _: None):
            if not n:
                rate, channels = stream.rate, block.shape[0]
                check_rate(rate)
            n += block.shape[1]
    except _av_errors() as error:
        if not n:
            raise ValueError(f"cannot be read as audio ({_text(error)}). {_REMEDY}") from error
    problems = []
    if n and stream.n_expected > n + rate // 2:
        end, stated = clock(n, rate), clock(stream.n_expected, rate)
        problems = [f"the file is truncated: it ends at {end} of {stated}, and the rest is missing"]
    elif stream.has_failed and n:
        problems = [f"the file is truncated: it ends at {clock(n, rate)}, and the rest is missing"]
    if not n:
        raise ValueError(
            f"holds no sound that can be decoded{f' ({kind})' if kind else ''}. {_REMEDY}"
        )
    return {
        "format": stream.format.upper(),
        "subtype": stream.subtype(),
        "samplerate": rate,
        "channels": channels,
        "frames": n,
        "problems": tuple(problems),
    }


def blocks(
    path: str, rate: int, channels: int, dtype: str, report: Callable[[str], None]
) -> Iterator[Block]:
    """Samples of the first sound track, (channels, n)."""
    stream = _Stream(path)
    try:
        for block in stream.blocks(report):
            yield _scaled(block, stream.sample_format, dtype)
    except _av_errors():
        return  # the samples were counted in the same way


class _Stream:
    """The first sound track of a file."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.format = self.codec = self.sample_format = ""
        self.rate = self.n_expected = 0
        self.has_failed = False
        self._has_low_bits = self._states_delay = False

    def subtype(self) -> str:
        """Encoding of a file that holds all bits, named as in soundfile."""
        if not self.codec.startswith(_LOSSLESS):
            return "LOSSY"
        if self.sample_format in ("flt", "dbl"):
            return {"flt": "FLOAT", "dbl": "DOUBLE"}[self.sample_format]
        if self.sample_format == "s32":
            return "PCM_32" if self._has_low_bits else "PCM_24"
        return {"u8": "PCM_U8", "s16": "PCM_16"}.get(self.sample_format, "PCM_24")

    def blocks(self, report: Callable[[str], None]) -> Iterator[Block]:
        """Samples as they are coded. Packets that cannot be decoded are silent."""
        with _container(self._path) as container:
            streams = [one for one in container.streams.audio if one.codec_context is not None]
            if not streams:
                return
            stream = streams[0]
            self.format, self.codec = container.format.name, stream.codec_context.name
            is_estimate = _WITHOUT_DURATION & set(self.format.split(","))
            if container.duration and stream.codec_context.sample_rate and not is_estimate:
                seconds = min(container.duration / 1e6, 1e6)
                self.n_expected = int(seconds * stream.codec_context.sample_rate)
            if self.codec.startswith("wma"):  # FFmpeg would cut one frame of music
                stream.codec_context.options = {"flags2": "+skip_manual"}
            yield from self._trimmed(container, stream, report)

    def _trimmed(self, container: Any, stream: Any, report: Any) -> Iterator[Block]:
        """Samples of frames between the delay of the codec and the end of the last packet."""
        n_skipped, end, last = 0, None, None
        stop = None
        for packet, frame in self._frames(container, stream):
            end = _end_of(packet, stream)
            if frame is None:  # not decoded
                if last is None:
                    continue
                block = np.zeros_like(last)
                report(f"{block.shape[1] / self.rate:.2f} s cannot be decoded and are silent")
            else:
                block = self._samples(frame)
                if last is None:
                    self.rate = frame.sample_rate
                    n_skipped = self._delay(frame.samples)
                elif frame.sample_rate != self.rate or len(block) != len(last):
                    self.has_failed = True
                    break
                place = None if frame.pts is None else frame.pts * stream.time_base * self.rate
                stop = None if place is None else round(place)
            if n_skipped:
                block, n_skipped = block[:, n_skipped:], max(0, n_skipped - block.shape[1])
            if last is not None:
                yield last
            last = block
        if last is None:
            return
        if end is not None and stop is not None and 0 < end - stop < last.shape[1]:
            last = last[:, : end - stop]
        yield last

    def _frames(self, container: Any, stream: Any) -> Iterator[tuple[Any, Any]]:
        """Packets with their frames; None for one that cannot be decoded."""
        n_errors = 0
        packets = container.demux(stream)
        while n_errors < _MAX_ERRORS:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except _av_errors():
                self.has_failed = True
                return
            self._states_delay |= packet.has_sidedata("skip_samples")
            try:
                frames = packet.decode()
            except _av_errors():
                n_errors += 1
                yield packet, None
                continue
            n_errors = 0 if frames else n_errors
            for frame in frames:
                yield packet, frame

    def _delay(self, n_samples: int) -> int:
        names = set(self.format.split(","))
        # Old programs do not state it in Matroska, which has a place for it.
        if self._states_delay or not names & (_WITHOUT_DELAY | {"matroska"}):
            return 0
        return n_samples if self.codec.startswith("wma") else _CODEC_DELAYS.get(self.codec, 0)

    def _samples(self, frame: Any) -> Block:
        array: Block = frame.to_ndarray()
        channels = frame.layout.nb_channels
        if not frame.format.is_planar:
            array = array.reshape(-1, channels).T
        self.sample_format = frame.format.name.removesuffix("p")
        if self.sample_format == "s32" and not self._has_low_bits:
            self._has_low_bits = bool((array & 0xFF).any())
        return array


def _end_of(packet: Any, stream: Any) -> int | None:
    """The sample at which a packet ends, if its container counts in samples."""
    if packet.pts is None or not packet.duration:
        return None
    rate = stream.codec_context.sample_rate
    if stream.time_base * rate > 1:
        return None
    return round((packet.pts + packet.duration) * stream.time_base * rate)


def _scaled(block: Block, sample_format: str, dtype: str) -> Block:
    if sample_format not in _SCALES:
        return block.astype(dtype)
    scaled = block.astype(np.float64)
    if sample_format == "u8":
        scaled -= 128.0
    return (scaled / _SCALES[sample_format]).astype(dtype)


class _Source:
    """A file that tells by its result that it cannot be searched. PyAV prints exceptions."""

    def __init__(self, file: BinaryIO) -> None:
        self.read, self.tell, self._file = file.read, file.tell, file

    def seek(self, offset: int, whence: int = 0) -> int:
        try:
            return self._file.seek(offset, whence)
        except (OSError, ValueError, OverflowError):
            return -1


@contextmanager
def _container(path: str) -> Iterator[Any]:
    import av

    with (
        open(path, "rb") as file,
        av.open(
            _Source(file),
            "r",
            metadata_errors="ignore",
            container_options={"format_whitelist": _FORMATS},
        ) as container,
    ):
        yield container


def _av_errors() -> tuple[type[Exception], ...]:
    import av

    # PyAV's errors are also ValueError, OSError and others, by their number.
    return (av.FFmpegError, OSError, EOFError, RuntimeError)


def _text(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)
