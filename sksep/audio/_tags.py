"""Tags of songs, such as titles and cover pictures, copied to their stems.

Vorbis comments are the common language: texts under lower-case names, which ID3 (of MP3, WAV and
AIFF) and MP4 files have as numbered frames. Files of other kinds have no tags here.
"""

from __future__ import annotations

import base64
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

# Frames of ID3 by their names in Vorbis comments. Other texts are TXXX frames with a name.
_FRAMES = {
    "album": "TALB",
    "albumartist": "TPE2",
    "artist": "TPE1",
    "bpm": "TBPM",
    "composer": "TCOM",
    "copyright": "TCOP",
    "date": "TDRC",
    "discnumber": "TPOS",
    "genre": "TCON",
    "grouping": "TIT1",
    "isrc": "TSRC",
    "language": "TLAN",
    "lyricist": "TEXT",
    "subtitle": "TIT3",
    "title": "TIT2",
    "tracknumber": "TRCK",
}
_NAMES = {frame: name for name, frame in _FRAMES.items()}
# What is true of the file of the song, but not of its stems: levels, encoders and fingerprints.
_OF_THE_FILE = ("acoustid_", "encode", "itun", "length", "r128_", "replaygain_")
_PICTURE = "metadata_block_picture"  # of OGG files: a picture as text


@dataclass(frozen=True)
class Tags:
    """Tags of a song.

    Attributes
    ----------
    texts : dict of str to list of str
        Texts by their names in Vorbis comments, such as "title".
    pictures : list of mutagen.flac.Picture
        Cover and other pictures.
    """

    texts: dict[str, list[str]]
    pictures: list[Any]

    def of_stem(self, stem: str) -> Tags:
        """The tags with the name of a stem behind the title."""
        titles = [f"{title} ({stem})" for title in self.texts.get("title", [])]
        return Tags({**self.texts, **({"title": titles} if titles else {})}, self.pictures)


def read_tags(path: str | os.PathLike[str]) -> Tags:
    """Tags of an audio file. They are empty if it has none.

    Raises
    ------
    ImportError
        If mutagen is not installed.
    """
    import mutagen
    from mutagen._vorbis import VComment
    from mutagen.id3 import ID3
    from mutagen.mp4 import MP4Tags

    try:
        file = mutagen.File(os.fspath(path))
    except mutagen.MutagenError:  # damaged, but perhaps not the audio
        return Tags({}, [])
    tags: Any = getattr(file, "tags", None)
    texts: dict[str, list[str]] = {}
    pictures: list[Any] = []
    if isinstance(tags, ID3):
        texts, pictures = _of_id3(tags)
    elif isinstance(tags, VComment):
        vorbis: Any = tags  # a list of pairs with the methods of a dict
        texts = {key.lower(): vorbis[key] for key in vorbis.keys()}  # noqa: SIM118
        pictures = [*getattr(file, "pictures", ()), *_decoded(texts.pop(_PICTURE, []))]
    elif isinstance(tags, MP4Tags):
        texts = _of_mp4(path)
        pictures = [
            _picture(bytes(cover), _kind_of_picture(bytes(cover))) for cover in tags.get("covr", [])
        ]
    kept = {key: value for key, value in texts.items() if not key.startswith(_OF_THE_FILE)}
    return Tags(kept, pictures)


def write_tags(path: str | os.PathLike[str], format: str, tags: Tags) -> None:
    """Write tags into a file that has none yet.

    Parameters
    ----------
    path : path
        File of a stem, of any name.
    format : {"wav", "flac", "ogg", "mp3"}
        Its format. WAV files above 4 GB get no tags.
    tags : Tags
        The tags.
    """
    if not tags.texts and not tags.pictures:
        return
    from mutagen import flac, mp3, oggvorbis, wave

    kinds: dict[str, Any] = {
        "flac": flac.FLAC,
        "mp3": mp3.MP3,
        "ogg": oggvorbis.OggVorbis,
        "wav": wave.WAVE,
    }
    file = kinds[format](os.fspath(path))
    if file.tags is None:
        file.add_tags()
    if format in ("flac", "ogg"):
        file.update({name: texts for name, texts in tags.texts.items() if _is_vorbis_name(name)})
        if format == "flac":
            for picture in tags.pictures:
                file.add_picture(picture)
        elif tags.pictures:
            file[_PICTURE] = [base64.b64encode(each.write()).decode() for each in tags.pictures]
    else:
        for frame in _as_id3(tags):
            file.tags.add(frame)
    file.save()


def _is_vorbis_name(name: str) -> bool:
    return bool(name) and name.isascii() and name.isprintable() and "=" not in name


def _of_id3(tags: Any) -> tuple[dict[str, list[str]], list[Any]]:
    texts: dict[str, list[str]] = {}
    pictures = []
    for frame in tags.values():
        kind = frame.FrameID
        if kind == "APIC":
            pictures.append(_picture(frame.data, frame.mime, int(frame.type), frame.desc))
        elif kind == "USLT":
            texts.setdefault("lyrics", []).append(frame.text)
        elif kind in _NAMES or kind in ("COMM", "TXXX"):
            default = "comment" if kind == "COMM" else kind
            name = getattr(frame, "desc", "") or default
            texts.setdefault(_NAMES.get(kind, name.lower()), []).extend(map(str, frame.text))
    return texts, pictures


def _as_id3(tags: Tags) -> Iterator[Any]:
    from mutagen import id3

    for name, values in tags.texts.items():
        if name in _FRAMES:
            yield getattr(id3, _FRAMES[name])(encoding=3, text=values)
        elif name == "comment":
            yield id3.COMM(encoding=3, lang="XXX", desc="", text=values)
        elif name == "lyrics":
            yield id3.USLT(encoding=3, lang="XXX", desc="", text="\n".join(values))
        else:
            yield id3.TXXX(encoding=3, desc=name, text=values)
    for index, picture in enumerate(tags.pictures):
        # Frames of the same description replace each other.
        description = picture.desc or (f"{index + 1}" if index else "")
        yield id3.APIC(
            encoding=3, mime=picture.mime, type=picture.type, desc=description, data=picture.data
        )


def _of_mp4(path: str | os.PathLike[str]) -> dict[str, list[str]]:
    from mutagen.easymp4 import EasyMP4

    tags: Any = EasyMP4(os.fspath(path)).tags or {}
    return {key: list(tags[key]) for key in tags.keys()}  # noqa: SIM118


def _decoded(texts: list[str]) -> Iterator[Any]:
    from mutagen import MutagenError
    from mutagen.flac import Picture

    for text in texts:
        # A damaged one is left out; the song is separated all the same.
        with suppress(ValueError, MutagenError, struct.error):
            yield Picture(base64.b64decode(text))


def _kind_of_picture(data: bytes) -> str:
    return "image/png" if data.startswith(b"\x89PNG") else "image/jpeg"


def _picture(data: bytes, mime: str, kind: int = 3, description: str = "") -> Any:
    """A picture; kind 3 is the front cover."""
    from mutagen.flac import Picture

    picture = Picture()
    picture.data, picture.mime, picture.type, picture.desc = data, mime, kind, description
    return picture
