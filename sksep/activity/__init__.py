"""Detection of singing: levels of separated vocals, and a detector that learns from them."""

from sksep.activity._detector import ActivityDetector, VocalActivity
from sksep.activity._levels import LevelMeter

__all__ = ["ActivityDetector", "LevelMeter", "VocalActivity"]
