"""Peers: separators of other packages, and of your own functions, as estimators of tracks."""

from sksep.peers._function import FunctionSeparator
from sksep.peers._table import PeerModel, list_peers

__all__ = ["FunctionSeparator", "PeerModel", "list_peers"]
