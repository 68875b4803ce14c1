"""Separators: estimators that extract the vocals."""

from sksep.separators._unet import UNetSeparator

__all__ = ["UNetSeparator"]
