"""Ensembles: several separators as one estimator."""

from sksep.ensembles._multi_target import MultiTargetSeparator

__all__ = ["MultiTargetSeparator"]
