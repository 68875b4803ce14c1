"""Inference: the vocals of a song, as arrays, files and streams."""

from sksep.inference._separate import Separation, separate, vocal_activity
from sksep.inference._streaming import StreamingSeparator

__all__ = ["Separation", "StreamingSeparator", "separate", "vocal_activity"]
