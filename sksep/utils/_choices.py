"""Choices that several subpackages share. The command offers them before any slow import."""

STEMS = ("vocals", "accompaniment")
FORMATS = ("wav", "flac", "ogg")
