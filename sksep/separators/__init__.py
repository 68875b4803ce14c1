"""Separators: estimators that extract the vocals."""

from sksep.separators._deep_clustering import DeepClusteringSeparator
from sksep.separators._hybrid_clustering import HybridClusteringSeparator
from sksep.separators._uhnet import UHNetSeparator
from sksep.separators._unet import UNetSeparator

__all__ = [
    "DeepClusteringSeparator",
    "HybridClusteringSeparator",
    "UHNetSeparator",
    "UNetSeparator",
]
