"""Separators: estimators that extract the vocals."""

from sksep.separators._deep_clustering import DeepClusteringSeparator
from sksep.separators._hpss import HPSSSeparator
from sksep.separators._hybrid_clustering import HybridClusteringSeparator
from sksep.separators._mixture import MixtureSeparator
from sksep.separators._module import ModuleSeparator
from sksep.separators._net_separator import NetSeparator
from sksep.separators._nmf import NMFSeparator
from sksep.separators._oracle import OracleMaskSeparator
from sksep.separators._repet_sim import RepetSimSeparator
from sksep.separators._robust_pca import RobustPCASeparator
from sksep.separators._uhnet import UHNetSeparator
from sksep.separators._unet import UNetSeparator

__all__ = [
    "DeepClusteringSeparator",
    "HPSSSeparator",
    "HybridClusteringSeparator",
    "MixtureSeparator",
    "ModuleSeparator",
    "NMFSeparator",
    "NetSeparator",
    "OracleMaskSeparator",
    "RepetSimSeparator",
    "RobustPCASeparator",
    "UHNetSeparator",
    "UNetSeparator",
]
