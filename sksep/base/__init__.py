"""The base of all separators, and the batches of tracks that travel between steps."""

from sksep.base._batch import TrackBatch, TrackRecord, as_batch
from sksep.base._separator import BaseSeparator, training_batch
from sksep.base._targets import Targets

__all__ = ["BaseSeparator", "Targets", "TrackBatch", "TrackRecord", "as_batch", "training_batch"]
