"""Peers: separators of other packages, and of your own functions, as estimators of tracks."""

from sksep.peers._demucs import DemucsSeparator
from sksep.peers._function import FunctionSeparator
from sksep.peers._onnx import OnnxSeparator
from sksep.peers._open_unmix import OpenUnmixSeparator
from sksep.peers._spleeter import SpleeterSeparator
from sksep.peers._table import PeerModel, list_peers

__all__ = [
    "DemucsSeparator",
    "FunctionSeparator",
    "OnnxSeparator",
    "OpenUnmixSeparator",
    "PeerModel",
    "SpleeterSeparator",
    "list_peers",
]
