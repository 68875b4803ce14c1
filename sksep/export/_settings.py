"""The settings that a program needs beside a network, as JSON values."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sksep.nn.chunks import cross_fade
from sksep.nn.front_end import FLOOR_DECIBELS, LOWEST, LOWEST_DECIBELS, FrontEnd
from sksep.separators import NetSeparator
from sksep.transformers import GriffinLimInverter

# Version of the layout. Readers refuse others.
_FORMAT_VERSION = 1


def settings_of(
    front_end: FrontEnd, separator: NetSeparator, inverter: GriffinLimInverter | None
) -> dict[str, Any]:
    """Settings of a pipeline, see :ref:`guide_onnx` for their meaning."""
    filter_bank = front_end.filter_bank()
    lift = front_end.lift_matrix(front_end.sample_rate, front_end.n_fft)
    identity = torch.eye(front_end.n_bands)
    module = separator.net_.module_
    return {
        "format_version": _FORMAT_VERSION,
        "separator": type(separator).__name__,
        "sample_rate": front_end.sample_rate,
        "stft": {
            "n_fft": front_end.n_fft,
            "hop_length": front_end.hop_length,
            "window": "hann, periodic",
            "center": True,
            "padding": "zeros",
        },
        "channels": "power of their mean, or half of their mean power where this is larger",
        "bands": {
            "scale": "linear" if front_end.n_mels is None else "mel, Slaney, unit area in Hz",
            "n_bands": front_end.n_bands,
            "f_min": front_end.f_min,
            "f_max": front_end.f_max,
            "weights": _rows(identity if filter_bank is None else filter_bank),
        },
        "level": {
            "formula": "10 * log10(max(power, floor))",
            "floor": LOWEST,
            "floor_decibels": LOWEST_DECIBELS,
            # Models that were trained at one level bring the loudest chunk so far to it.
            "of_loudest_chunk": getattr(separator, "level_", None),
            "of_silence": FLOOR_DECIBELS,
        },
        "chunks": {
            "n_frames": front_end.n_frames,
            "hop_frames": front_end.chunk_step,
            "padding": LOWEST_DECIBELS,
            "fade": _floats(cross_fade(front_end.n_frames, front_end.chunk_step)),
        },
        "standardization": {
            "formula": "(max(level, of_silence) - mean) / scale, a part of the network",
            "mean": _floats(module.mean),
            "scale": _floats(module.scale),
        },
        "mask_to_bins": _rows(lift),
        "inversion": {
            "n_iter": 0 if inverter is None else int(inverter.n_iter),
            "init": "mixture" if inverter is None else inverter.init,
            "momentum": 0.0 if inverter is None else float(inverter.momentum),
        },
    }


def _rows(matrix: Tensor) -> list[dict[str, Any]]:
    """The stretch of each row that is not zero, and the column in which it begins."""
    rows = []
    for row in matrix:
        (filled,) = row.numpy().nonzero()
        first, last = (int(filled[0]), int(filled[-1])) if len(filled) else (0, -1)
        rows.append({"first_bin": first, "weights": _floats(row[first : last + 1])})
    return rows


def _floats(values: Tensor) -> list[float]:
    """The shortest decimals that give the same numbers in single precision."""
    return [float(str(value)) for value in values.detach().cpu().float().numpy()]
