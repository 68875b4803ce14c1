"""Ensembles: separators that average the estimates of others."""

from sksep.ensembles._test_time import TestTimeAugmentation
from sksep.ensembles._voting import VotingSeparator

__all__ = ["TestTimeAugmentation", "VotingSeparator"]
