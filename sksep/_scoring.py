"""The score that every last step shares."""

from __future__ import annotations

from typing import Any

import numpy as np

from sksep._batch import TrackBatch
from sksep._tracks import check_pair, check_same_length, check_tracks


def score_estimates(batch: TrackBatch, estimates: Any, y: Any, sample_weight: Any = None) -> float:
    """Mean SDR in dB (BSSEval v3, mono) of estimates against the true vocals of a batch."""
    from sksep.metrics import sdr_score

    vocals = check_tracks(y, batch[0].front_end.sample_rate, "y")
    check_same_length(batch, vocals, "X", "y")
    for record, track in zip(batch, vocals, strict=True):
        check_pair(record.track, track)
    return float(np.float64(sdr_score(y, estimates, sample_weight=sample_weight)))
