"""Transformers: the steps of a pipeline around the separator."""

from sksep.transformers._chunker import MelChunker
from sksep.transformers._inverter import GriffinLimInverter
from sksep.transformers._mask_builder import MaskBuilder

__all__ = ["GriffinLimInverter", "MaskBuilder", "MelChunker"]
