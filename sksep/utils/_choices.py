"""Choices that several subpackages share. The command offers them before any slow import."""

from __future__ import annotations

STEMS = ("vocals", "accompaniment")
FORMATS = ("wav", "flac", "ogg", "mp3")

_SUFFIXES = "wav flac ogg oga opus mp3 aif aiff aifc au caf w64"
# These are read by PyAV.
_MORE_SUFFIXES = "aac ac3 ape avi eac3 m4a m4b mka mkv mov mp2 mp4 tta webm wma wmv wv"
AUDIO_SUFFIXES = frozenset(f".{name}" for name in f"{_SUFFIXES} {_MORE_SUFFIXES}".split())
