"""Ensembles: several separators as one estimator."""

from sksep.ensembles._multi_target import MultiTargetSeparator
from sksep.ensembles._test_time import TestTimeAugmentation
from sksep.ensembles._voting import VotingSeparator

__all__ = ["MultiTargetSeparator", "TestTimeAugmentation", "VotingSeparator"]
