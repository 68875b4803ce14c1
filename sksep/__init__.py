"""Singing-voice separation as scikit-learn estimators."""

from sksep._tracks import AudioSource
from sksep._tracks import load as load_audio
from sksep.persistence import load, save
from sksep.separators import (
    DeepClusteringSeparator,
    HPSSSeparator,
    HybridClusteringSeparator,
    MixtureSeparator,
    NMFSeparator,
    OracleMaskSeparator,
    RepetSimSeparator,
    RobustPCASeparator,
    UHNetSeparator,
    UNetSeparator,
)
from sksep.training import Augmentation
from sksep.transformers import GriffinLimInverter, MaskBuilder, MelChunker

__version__ = "0.1.0.dev0"

__all__ = [
    "AudioSource",
    "Augmentation",
    "DeepClusteringSeparator",
    "GriffinLimInverter",
    "HPSSSeparator",
    "HybridClusteringSeparator",
    "MaskBuilder",
    "MelChunker",
    "MixtureSeparator",
    "NMFSeparator",
    "OracleMaskSeparator",
    "RepetSimSeparator",
    "RobustPCASeparator",
    "UHNetSeparator",
    "UNetSeparator",
    "__version__",
    "load",
    "load_audio",
    "save",
]
