"""Training: augmentation, data sets of excerpts, and the skorch net."""

from sksep.training._augmentation import Augmentation
from sksep.training._run import TrainingInterrupted

__all__ = ["Augmentation", "TrainingInterrupted"]
