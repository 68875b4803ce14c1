"""Choices that several rooms share. The command offers them before it imports anything heavy."""

STEMS = ("vocals", "accompaniment")
FORMATS = ("wav", "flac", "ogg")
