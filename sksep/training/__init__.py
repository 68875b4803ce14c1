"""Training: augmentation, data sets of excerpts, and the skorch net."""

from sksep.training._augmentation import Augmentation

__all__ = ["Augmentation"]
