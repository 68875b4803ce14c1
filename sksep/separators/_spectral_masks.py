"""The base classes of separators without a network, with spectra, blocks of time and masks."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from sksep.base._batch import TrackBatch, TrackRecord
from sksep.base._separator import BaseSeparator
from sksep.nn import masks
from sksep.nn.front_end import LOWEST_DECIBELS, FrontEnd
from sksep.utils._arrays import FloatArray, as_tensor
from sksep.utils._parameters import document_shared, parameter
from sksep.utils._validation import number

_TINY = float(np.finfo(np.float32).tiny)


class SpectralMaskSeparator(BaseSeparator):
    """Base of separators without a network, whose parameters may also be set after fit.

    Subclasses implement `_mask`.
    """

    @abstractmethod
    def _mask(self, record: TrackRecord) -> npt.NDArray[Any]:
        """Mask of one track, (n_total_frames, n_bands)."""

    def _check_batch(self, X: Any) -> TrackBatch:
        batch = super()._check_batch(X)
        self._check_parameters()
        return batch

    def _estimate_mask(self, record: TrackRecord) -> FloatArray:
        # Shares of float32 sums exceed 1 by rounding errors.
        return np.clip(self._mask(record), 0.0, 1.0).astype(np.float32)


@dataclass(kw_only=True, eq=False, repr=False)
class BlockwiseSeparator(SpectralMaskSeparator):
    """Base of separators that work on the magnitudes of one block of a track after the other.

    Subclasses implement `_block_mask`.
    """

    high_pass: float = parameter(
        100.0,
        number(0.0),
        "float",
        "Frequency in Hz below which there are no vocals, at least 0.",
    )
    block_duration: float = parameter(
        30.0,
        number(0.0, 600.0, include_low=False),
        "float",
        "Length in seconds of the blocks that long tracks are cut into, in (0, 600]. Each is\n"
        "separated by itself. Shorter blocks take less time and memory.",
    )

    @abstractmethod
    def _block_mask(
        self, magnitudes: FloatArray, record: TrackRecord, frames: slice
    ) -> npt.NDArray[Any]:
        """Mask of the magnitudes (n_frames, n_bands) of a block."""

    def _mask(self, record: TrackRecord) -> npt.NDArray[Any]:
        decibels = record.sound_levels
        block_frames = self.block_duration * frame_rate(record.front_end)
        blocks = [
            self._block_mask(magnitudes(decibels[frames]), record, frames)
            for frames in time_blocks(len(decibels), block_frames)
        ]
        return np.concatenate(blocks) * high_pass_gains(record.front_end, self.high_pass)


document_blocks = document_shared(BlockwiseSeparator, "BLOCK_PARAMETERS")


def frame_rate(front_end: FrontEnd) -> float:
    """Frames per second."""
    return front_end.sample_rate / front_end.hop_length


def time_blocks(n_frames: int, block_frames: float) -> list[slice]:
    """Slices of nearly equal length, which is at most `block_frames` or one frame, but rounded."""
    n_blocks = min(n_frames, int(np.ceil(n_frames / max(1, int(block_frames)))))
    edges = np.linspace(0, n_frames, n_blocks + 1).round().astype(int).tolist()
    return [slice(start, stop) for start, stop in pairwise(edges)]


def magnitudes(decibels: FloatArray) -> FloatArray:
    """Magnitudes of log powers. Those at the floor are 0, since silence has no magnitude."""
    return np.where(decibels > LOWEST_DECIBELS, 10.0 ** (decibels / 20.0), 0.0).astype(np.float32)


def band_power(waveform: FloatArray, front_end: FrontEnd) -> torch.Tensor:
    """Power per band, (n_total_frames, n_bands), of a mono waveform."""
    return as_tensor(
        magnitudes(front_end.channel_power(as_tensor(waveform)[None]).numpy())
    ).square()


def share(part: npt.NDArray[Any], rest: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """``part / (part + rest)`` of non-negative arrays; 0 where both are 0."""
    return part / np.maximum(part + rest, _TINY)


def waveform_mask(vocals: FloatArray, mixture: FloatArray, front_end: FrontEnd) -> FloatArray:
    """Proportion mask of estimated vocals, by power."""
    residual = band_power(mixture - vocals, front_end)
    return masks.proportion_mask(band_power(vocals, front_end), residual).numpy()


def high_pass_gains(front_end: FrontEnd, cutoff: float) -> FloatArray:
    """Share of each band, shape (n_bands,), that lies at or above `cutoff` Hz."""
    frequencies = np.fft.rfftfreq(front_end.n_fft, 1.0 / front_end.sample_rate)
    passes = (frequencies >= cutoff).astype(np.float64)
    filter_bank = front_end.filter_bank()
    if filter_bank is None:
        return passes.astype(np.float32)
    weights = filter_bank.numpy().astype(np.float64)
    return ((weights @ passes) / np.maximum(weights.sum(axis=1), _TINY)).astype(np.float32)
