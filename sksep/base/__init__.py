"""The base of all separators, and the batches of tracks that travel between steps."""

from sksep.base._batch import TrackBatch, TrackRecord, as_batch
from sksep.base._separator import BaseSeparator, training_batch
from sksep.base._targets import Targets
from sksep.base._waveform_separator import WaveformSeparator

__all__ = [
    "BaseSeparator",
    "Targets",
    "TrackBatch",
    "TrackRecord",
    "WaveformSeparator",
    "as_batch",
    "training_batch",
]
