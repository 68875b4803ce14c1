"""Trained networks for other programs and languages."""

from sksep.export._onnx import export_onnx

__all__ = ["export_onnx"]
