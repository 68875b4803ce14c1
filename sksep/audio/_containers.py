"""Contents of container files: their kind, and the parts that hold audio."""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, NamedTuple

# A stretch of a file, from the first byte to the one after the last, or bytes to put there instead.
Piece = tuple[int, int] | bytes

# Kinds of files that libsndfile does not read, by their first bytes.
_SIGNATURES = (
    (4, b"ftyp", "MPEG-4 (M4A, MP4, MOV)"),
    (0, b"\x1a\x45\xdf\xa3", "Matroska (MKV, WEBM)"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media (WMA, WMV)"),
    (0, b"wvpk", "WavPack (WV)"),
    (0, b"TTA", "True Audio (TTA)"),
    (0, b"MAC ", "Monkey's Audio (APE)"),
    (0, b"\x0b\x77", "Dolby Digital (AC-3)"),
    (0, b"FLV\x01", "Flash Video (FLV)"),
    (0, b"DSD ", "Direct Stream Digital (DSF)"),
    (0, b"#!AMR", "Adaptive Multi-Rate (AMR)"),
    (0, b"\x00\x00\x01\xba", "an MPEG program stream (MPG)"),
    (8, b"AVI ", "AVI"),
    (0, b"\xff\xf0", "AAC"),
    (0, b"\xff\xf1", "AAC"),
    (0, b"\xff\xf8", "AAC"),
    (0, b"\xff\xf9", "AAC"),
)
_OTHERS = (
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x89PNG", "a PNG picture"),
    (b"GIF8", "a GIF picture"),
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive"),
)
# Kinds that libsndfile finds by their first bytes, so that a path's suffix cannot mislead it.
_READABLE = (b"RIFF", b"RIFX", b"RF64", b"FORM", b"fLaC", b"OggS", b".snd", b"caff", b"ID3")
# Sizes that programs state if they write to a pipe, where they do not know the length.
_UNKNOWN_SIZE = 0x7FFFF000


class Layout(NamedTuple):
    """Parts of a file that are decoded one after the other, and what is known of the whole.

    Attributes
    ----------
    parts : tuple of Part
        Without parts, the file is decoded as it is.
    is_exact : bool
        Whether the number of samples that the header states can be trusted.
    problems : tuple of str
        Sentences about what is missing. ``{end}`` stands for the time at which the audio ends.
    n_stated : int or None
        Number of samples that the header states, if it may be more than the file has.
    """

    parts: tuple[Part, ...] = ()
    is_exact: bool = True
    problems: tuple[str, ...] = ()
    n_stated: int | None = None


@dataclass(frozen=True)
class Part:
    """Pieces of a file that make up one stream, which a decoder reads as a file of its own.

    Attributes
    ----------
    pieces : tuple
        Stretches of the file, and bytes to put between them.
    claimed : int
        Factor by which the length is overstated to a decoder that takes its estimate of the
        duration from the number of bytes.
    n_skipped, n_samples : int
        Samples to leave out at the beginning, and samples that then follow at most (-1: all).
    """

    pieces: tuple[Piece, ...]
    claimed: int = 1
    n_skipped: int = 0
    n_samples: int = -1


class PartFile:
    """A part as a file that libsndfile can read."""

    def __init__(self, file: BinaryIO, part: Part) -> None:
        self._file = file
        self._starts: list[tuple[int, int, Piece]] = []
        length = 0
        for piece in part.pieces:
            size = len(piece) if isinstance(piece, bytes) else piece[1] - piece[0]
            self._starts.append((length, size, piece))
            length += size
        self._length = length
        self._claimed = length * part.claimed
        self._position = 0
        self._index = 0

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to a position."""
        base = (0, self._position, self._claimed)[whence]
        self._position = max(0, base + offset)
        self._index = 0
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def read(self, size: int) -> bytes:
        """The next bytes; fewer at the end."""
        if self._position >= self._length and self._position == self._claimed - _ID3V1_SIZE:
            return bytes(size)  # there is no tag
        found = []
        while size > 0 and self._index < len(self._starts):
            start, length, piece = self._starts[self._index]
            low = self._position - start
            if low >= length:
                self._index += 1
                continue
            n = min(size, length - low)
            if isinstance(piece, bytes):
                data = piece[low : low + n]
            else:
                self._file.seek(piece[0] + low)
                data = self._file.read(n)
                if not data:
                    break
            found.append(data)
            self._position += len(data)
            size -= len(data)
        return b"".join(found)

    def write(self, data: bytes) -> int:
        """Refuse; soundfile asks for this method only."""
        raise OSError("A part is only read.")


def kind_of(head: bytes) -> tuple[str, bool]:
    """Kind of a file by its first bytes, in words, and whether it may hold audio.

    The kind is empty if libsndfile may read the file, or if nothing is known.
    """
    if not head:
        return "an empty file", False
    for offset, signature, kind in _SIGNATURES:
        if head[offset : offset + len(signature)] == signature:
            return kind, True
    for signature, kind in _OTHERS:
        if head.startswith(signature):
            return kind, False
    frame = _mpeg_header(head)
    if frame is not None and frame.layer < 3:
        return "MPEG audio of layer 1 or 2 (MP2)", True
    if head.startswith(_READABLE) or frame is not None:
        return "", True
    if head[0] == 0x47 and head[188:189] in (b"\x47", b""):
        return "an MPEG transport stream (TS)", True
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 4:  # else a sign is cut in two
            return "", False
        text = head[: error.start].decode()
    if text.isprintable() or all(sign.isprintable() or sign in "\t\r\n\f" for sign in text):
        return "a text", False
    return "", False


def has_known_start(head: bytes) -> bool:
    """Whether libsndfile finds the format by the first bytes, whatever the name of the file is."""
    return head.startswith(_READABLE)


def layout_of(file: BinaryIO, size: int) -> Layout:
    """Parts of a file that libsndfile reads, without decoding it."""
    head = file.read(64)
    if head[:4] in (b"RIFF", b"RIFX") and head[8:12] == b"WAVE":
        return _wav(file, size, "<" if head[:4] == b"RIFF" else ">")
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return _aiff(file, size)
    if head[:4] == b".snd":
        return _au(head, size)
    if head[:4] in (b"caff", b"riff"):
        return _caf_or_w64(file, size, is_caf=head[:4] == b"caff")
    if head[:4] == b"OggS":
        return _ogg(file, size)
    start = _after_tags(file, 0)
    file.seek(start)
    head = file.read(64)
    if head[:4] == b"fLaC":
        return _flac(file, size, start, head)
    if head[:4] == b"RIFF":
        return Layout(is_exact=False)
    return _mp3(file, size, start) or Layout(is_exact=False)


def _chunks(file: BinaryIO, size: int, order: str) -> Iterator[tuple[bytes, int, int]]:
    """Name, place and stated size of each chunk of a RIFF or AIFF file."""
    position = 12
    while position + 8 <= size:
        file.seek(position)
        head = file.read(8)
        if len(head) < 8:
            return
        name, length = struct.unpack(f"{order}4sI", head)
        yield name, position + 8, length
        position += 8 + length + length % 2


def _wav(file: BinaryIO, size: int, order: str) -> Layout:
    bytes_per_sample, n_per_block, form = 0, 1, b""
    for name, place, length in _chunks(file, size, order):
        if name == b"fmt " and length >= 16:
            file.seek(place)
            form = file.read(20)
            bytes_per_sample = struct.unpack(f"{order}H", form[12:14])[0]
            if length >= 20 and form[:2] not in (b"\x01\0", b"\x03\0", b"\xfe\xff"):
                n_per_block = max(1, struct.unpack(f"{order}H", form[18:20])[0])
        if name != b"data":
            continue
        there = size - place
        if length == 0 and there > 0 and not _ends_in_chunks(file, place, size, order):
            return _mended_wav(file, place, size, order)
        if there < length < _UNKNOWN_SIZE and bytes_per_sample:
            n_stated = length // bytes_per_sample * n_per_block
            return Layout(is_exact=False, problems=(_TRUNCATED,), n_stated=n_stated)
        return Layout(is_exact=length < _UNKNOWN_SIZE)
    return Layout(is_exact=False)


_TRUNCATED = "the file is truncated: it ends at {end} of {stated}, and what follows is missing"
_CUT = "the file is truncated: it ends at {end}, and what follows is missing"


def _damaged(n: int) -> str:
    return f"{n} damaged {'places were' if n > 1 else 'place was'} left out"


def _ends_in_chunks(file: BinaryIO, place: int, size: int, order: str) -> bool:
    """Whether nothing but whole chunks follows to the end of a file."""
    while place + 8 <= size:
        file.seek(place)
        name, length = struct.unpack(f"{order}4sI", file.read(8))
        if not name.isascii() or not name.decode("ascii").isprintable():
            return False
        place += 8 + length + length % 2
    return place in (size, size + 1)


def _mended_wav(file: BinaryIO, place: int, size: int, order: str) -> Layout:
    """A WAV file whose header states no data, with the right sizes."""
    file.seek(0)
    head = bytearray(file.read(place))
    sizes = (min(size - 8, 0xFFFFFFFF), min(size - place, 0xFFFFFFFF))
    head[4:8] = struct.pack(f"{order}I", sizes[0])
    head[-4:] = struct.pack(f"{order}I", sizes[1])
    return Layout((Part((bytes(head), (place, size))),), is_exact=False)


def _aiff(file: BinaryIO, size: int) -> Layout:
    n_stated = None
    for name, place, length in _chunks(file, size, ">"):
        if name == b"COMM":
            file.seek(place + 2)
            n_stated = struct.unpack(">I", file.read(4).rjust(4, b"\0"))[0]
        if name == b"SSND" and place + length > size and n_stated and length < _UNKNOWN_SIZE:
            return Layout(is_exact=False, problems=(_TRUNCATED,), n_stated=n_stated)
    return Layout()


def _au(head: bytes, size: int) -> Layout:
    offset, length, encoding, _, channels = struct.unpack(">5I", head[4:24].ljust(20, b"\0"))
    width = {2: 1, 3: 2, 4: 3, 5: 4, 6: 4, 7: 8, 1: 1, 27: 1}.get(encoding, 0) * channels
    if size - offset < length < _UNKNOWN_SIZE and width:
        return Layout(is_exact=False, problems=(_TRUNCATED,), n_stated=length // width)
    return Layout(is_exact=False)


def _caf_or_w64(file: BinaryIO, size: int, *, is_caf: bool) -> Layout:
    position = 8 if is_caf else 40
    while position + 24 <= size:
        file.seek(position)
        head = file.read(24)
        if is_caf:
            start, length = position + 12, int.from_bytes(head[4:12], "big", signed=True)
        else:
            start, length = position, int.from_bytes(head[16:24], "little", signed=True)
        if head[:4] == b"data":
            problems = (_CUT,) if start + length > size else ()
            return Layout(is_exact=not problems, problems=problems)
        if length <= 0:
            break
        position = start + length + (0 if is_caf else -length % 8)
    return Layout(is_exact=False)


def _ogg(file: BinaryIO, size: int) -> Layout:
    """The links of a chain. A link begins where streams begin after the pages of others."""
    starts: list[int] = []
    position, was_first, has_end, n_lost = 0, False, False, 0
    while position + 27 <= size:
        file.seek(position)
        head = file.read(27)
        if len(head) < 27 or head[:4] != b"OggS":
            position = _find(file, b"OggS", position + 1, size)
            if position < 0:  # what follows is a tag
                break
            n_lost += 1
            continue
        table = file.read(head[26])
        end = position + 27 + len(table) + sum(table)
        is_first = bool(head[5] & 2)
        if is_first and not was_first:
            starts.append(position)
        was_first = is_first
        has_end = bool(head[5] & 4) and end <= size
        position = end
    problems = (() if has_end else (_CUT,)) + ((_damaged(n_lost),) if n_lost else ())
    if len(starts) < 2:
        return Layout(is_exact=not problems, problems=problems)
    ends = [*starts[1:], size]
    parts = tuple(Part(((start, end),)) for start, end in zip(starts, ends, strict=True))
    return Layout(parts, is_exact=False, problems=problems)


def _find(file: BinaryIO, what: bytes, start: int, size: int) -> int:
    """Place of bytes in a file, -1 if they do not occur."""
    while start < size:
        file.seek(start)
        block = file.read(1 << 16)
        if not block:
            return -1
        index = block.find(what)
        if index >= 0:
            return start + index
        if len(block) < len(what):
            return -1
        start += len(block) - len(what) + 1
    return -1


def _after_tags(file: BinaryIO, start: int) -> int:
    """Place after the ID3v2 tags that begin at a place."""
    while True:
        file.seek(start)
        head = file.read(10)
        if head[:3] != b"ID3" or len(head) < 10 or max(head[6:10]) > 127:
            return start
        length = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        start += 10 + length + (10 if head[5] & 0x10 else 0)


# FLAC.


def _flac(file: BinaryIO, size: int, start: int, head: bytes) -> Layout:
    """Compare the stated length with the number in the header of the last frame."""
    bits = int.from_bytes(head[18:26], "big")
    n_stated = bits & (2**36 - 1)
    max_block = int.from_bytes(head[10:12], "big")
    max_frame = int.from_bytes(head[15:18], "big") or 1 << 16
    tail = max(start + 42, size - 2 * max_frame - (1 << 16))
    file.seek(tail)
    n_found = _last_flac_sample(file.read(size - tail), max_block)
    if n_found == n_stated:
        return Layout()
    # With the largest length, the decoder reads up to the end.
    n_samples = n_found or 2**36 - 1
    streaminfo = head[:18] + (bits - n_stated + n_samples).to_bytes(8, "big")
    part = Part((streaminfo, (start + 26, size)))
    is_short = n_stated and (n_found is None or n_found < n_stated)
    problems = (_TRUNCATED,) if is_short else ()
    return Layout((part,), is_exact=False, problems=problems, n_stated=n_stated or None)


def _last_flac_sample(data: bytes, max_block: int) -> int | None:
    """Number of the sample after the last frame in the bytes; None if no frame begins in them."""
    place = len(data)
    while (place := data.rfind(b"\xff", 0, place)) >= 0:
        head = data[place : place + 16]
        if len(head) < 6 or head[1] & 0xFE != 0xF8 or head[3] & 1:
            continue
        n_bytes = 1
        if head[4] >= 0xC0:
            n_bytes = 8 - (head[4] ^ 0xFF).bit_length() if head[4] < 0xFF else 0
        elif head[4] >= 0x80:
            continue
        if not n_bytes or len(head) < 4 + n_bytes:
            continue
        number = head[4] & ((1 << (7 - n_bytes)) - 1 if n_bytes > 1 else 0x7F)
        for byte in head[5 : 4 + n_bytes]:
            number = number << 6 | byte & 0x3F
        end = 4 + n_bytes
        code, rate_code = head[2] >> 4, head[2] & 15
        if code == 6:
            n, end = head[end] + 1, end + 1
        elif code == 7:
            n, end = int.from_bytes(head[end : end + 2], "big") + 1, end + 2
        else:
            n = (0, 192, 576, 1152, 2304, 4608)[code] if code < 6 else 256 << (code - 8)
        end += {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
        if n and end < len(head) and _crc8(head[:end]) == head[end]:
            return (number if head[1] & 1 else number * max_block) + n
    return None


def _crc8(data: bytes) -> int:
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value << 1) ^ (0x107 if value & 0x80 else 0)
    return value


# MPEG audio.


class _Frame(NamedTuple):
    rate: int
    n_samples: int
    length: int
    version: int
    layer: int
    is_mono: bool


# Kilobits per second of layers 1, 2 and 3 of MPEG-1, and of layer 1 and layers 2 and 3 of MPEG-2.
_BITRATES = {
    (1, 1): (32, 64, 96, 128, 160, 192, 224, 256, 288, 320, 352, 384, 416, 448),
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 1): (32, 48, 56, 64, 80, 96, 112, 128, 144, 160, 176, 192, 224, 256),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MPEG_DECODER_DELAY = 529
# A decoder estimates the duration from the bytes and the bit rate of the first frame: 8 to 320.
_CLAIMED = 64
_ID3V1_SIZE = 128  # of a tag at the end, which decoders look for
_LONGEST_SEARCH = 1 << 20  # bytes before the first frame


def _mpeg_header(head: bytes) -> _Frame | None:
    """The header of a frame of MPEG audio in the first four bytes, or None."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return None
    version, layer = (3, None, 2, 1)[head[1] >> 3 & 3], 4 - (head[1] >> 1 & 3)
    rate_code, index = head[2] >> 2 & 3, head[2] >> 4
    if version is None or layer == 4 or index in (0, 15) or rate_code == 3:
        return None
    rate = (44100, 48000, 32000)[rate_code] >> (version - 1)
    bitrates = _BITRATES[1, layer] if version == 1 else _BITRATES[2, min(layer, 2)]
    padding, bitrate = head[2] >> 1 & 1, 1000 * bitrates[index - 1]
    if layer == 1:
        return _Frame(rate, 384, (12 * bitrate // rate + padding) * 4, version, 1, head[3] >= 0xC0)
    n = 576 if layer == 3 and version > 1 else 1152
    return _Frame(rate, n, n // 8 * bitrate // rate + padding, version, layer, head[3] >= 0xC0)


def _is_like(frame: _Frame | None, other: _Frame) -> bool:
    """Whether two frames can belong to one stream: all but bit rates and lengths is equal."""
    return frame is not None and (frame[:2], frame[3:]) == (other[:2], other[3:])


class _Song:
    """Frames of one MP3 file, or of one of several that were joined."""

    def __init__(self, frame: _Frame, info: tuple[int | None, int, int] | None) -> None:
        self.frame = frame
        self.n_stated, self.delay, self.padding = info or (None, 0, 0)
        self.pieces: list[tuple[int, int]] = []
        self.n_frames = 0

    def add(self, start: int, end: int) -> None:
        self.n_frames += 1
        if self.pieces and self.pieces[-1][1] == start:
            start = self.pieces.pop()[0]
        self.pieces.append((start, end))

    def part(self) -> Part:
        n_skipped, n_samples = 0, -1
        if self.delay or self.padding:
            n_skipped = self.delay + _MPEG_DECODER_DELAY
            if self.n_stated in (None, self.n_frames):
                n_cut = n_skipped + max(0, self.padding - _MPEG_DECODER_DELAY)
                n_samples = max(0, self.n_frames * self.frame.n_samples - n_cut)
        return Part(tuple(self.pieces), _CLAIMED, n_skipped, n_samples)


def _mp3(file: BinaryIO, size: int, start: int) -> Layout | None:
    """The frames of a file of MPEG audio, layer 3, or None if it is none.

    Tags, pictures and damaged bytes between the frames are left out. Frames with which encoders
    describe a song begin a new part, since files are also joined by putting one after another.
    """
    songs: list[_Song] = []
    position, in_order, n_lost = start, False, 0
    while position + 4 <= size:
        frame, info = _frame_at(file, position, size, songs[-1].frame if in_order else None)
        if frame is None:
            if in_order and not _is_tag(file, position):
                n_lost += 1
            in_order = False
            position = _next_frame(file, position, size)
            if position < 0 or (not songs and position > start + _LONGEST_SEARCH):
                break
            continue
        in_order = True
        if position + frame.length > size:
            break
        if info is not None or not songs or not _is_like(frame, songs[-1].frame):
            songs.append(_Song(frame, info))
        if info is None:
            songs[-1].add(position, position + frame.length)
        position += frame.length
    is_cut = in_order and 0 <= position < size - 3
    songs = [song for song in songs if song.pieces]
    return _mp3_layout(songs, n_lost, is_cut) if songs else None


def _mp3_layout(songs: list[_Song], n_lost: int, is_cut: bool) -> Layout:
    last = songs[-1]
    if len(songs) == len(last.pieces) == 1 and last.n_stated == last.n_frames and not n_lost:
        return Layout()
    problems: list[str] = []
    n_stated = None
    is_short = last.n_stated is not None and last.n_frames < last.n_stated
    if is_short and len(songs) == 1 and last.n_stated:
        n_stated = last.n_stated * last.frame.n_samples - last.delay - last.padding
    if n_lost:
        problems.append(_damaged(n_lost) + (", {end} of {stated} are left" if n_stated else ""))
    elif is_short or (is_cut and last.n_stated != last.n_frames):
        problems.append(_TRUNCATED if n_stated else _CUT)
    parts = tuple(song.part() for song in songs)
    return Layout(parts, is_exact=False, problems=tuple(problems), n_stated=n_stated)


def _frame_at(
    file: BinaryIO, position: int, size: int, last: _Frame | None
) -> tuple[_Frame | None, tuple[int | None, int, int] | None]:
    """The frame at a place, if there is one, and what it says about the song if it says so.

    A frame that is not like the last one has to be followed by others.
    """
    file.seek(position)
    frame = _mpeg_header(file.read(4))
    if frame is None or frame.layer != 3:
        return None, None
    if (last is None or not _is_like(frame, last)) and not _is_followed(
        file, position, frame, size
    ):
        return None, None
    return frame, _info_frame(file, position, frame)


def _is_followed(file: BinaryIO, position: int, frame: _Frame, size: int) -> bool:
    """Whether another frame follows, or the end of the file."""
    for _ in range(2):
        position += frame.length
        if position >= size - 3:
            return position == size
        file.seek(position)
        following = _mpeg_header(file.read(4))
        if following is None or not _is_like(following, frame):
            return False
        frame = following
    return True


def _is_tag(file: BinaryIO, position: int) -> bool:
    """Whether tags begin here, which are no damage."""
    file.seek(position)
    return file.read(10).startswith((b"ID3", b"TAG", b"APETAGEX", b"LYRICSBEGI", b"\0\0\0\0"))


def _next_frame(file: BinaryIO, position: int, size: int) -> int:
    """Place after `position` at which a frame may begin: after a tag, or at the next 0xFF."""
    after = _after_tags(file, position)
    return after if after > position else _find(file, b"\xff", position + 1, size)


def _info_frame(file: BinaryIO, position: int, frame: _Frame) -> tuple[int | None, int, int] | None:
    """Stated number of frames, delay and padding of a Xing, Info or VBRI frame; else None."""
    file.seek(position)
    data = file.read(min(frame.length, 400))
    side = (17 if frame.is_mono else 32) if frame.version == 1 else (9 if frame.is_mono else 17)
    place = 4 + side
    if data[36:40] == b"VBRI" and len(data) >= 50:
        return None, 0, 0
    if data[place : place + 4] not in (b"Xing", b"Info"):
        return None
    flags = int.from_bytes(data[place + 4 : place + 8], "big")
    n_frames = int.from_bytes(data[place + 8 : place + 12], "big") if flags & 1 else None
    place += 8 + 4 * (flags & 1) + 4 * (flags >> 1 & 1) + 100 * (flags >> 2 & 1)
    place += 4 * (flags >> 3 & 1)
    delays = int.from_bytes(data[place + 21 : place + 24], "big") if flags & 1 else 0
    return n_frames, delays >> 12, delays & 0xFFF
