"""Inference: the vocals of a song, as arrays, files and streams."""

from sksep.inference._models import load_model
from sksep.inference._separate import Separation, separate, vocal_activity
from sksep.inference._streaming import StreamingSeparator

__all__ = ["Separation", "StreamingSeparator", "load_model", "separate", "vocal_activity"]
