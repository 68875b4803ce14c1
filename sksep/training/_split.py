"""The choice of tracks to hold back for validation: whole tracks, never single chunks."""

from __future__ import annotations

import math

import numpy as np

from sksep.base._batch import TrackBatch


def split_tracks(
    batch: TrackBatch, fraction: float, *, required: bool, random_state: np.random.RandomState
) -> tuple[TrackBatch, TrackBatch]:
    """Split tracks for training and validation. If `fraction` rounds to none, none is held back.

    Parameters
    ----------
    batch : TrackBatch
        All tracks.
    fraction : float
        Share of the tracks to hold back, in [0, 1).
    required : bool
        Whether at least one track must be held back.
    random_state : RandomState
        Random state that draws them.
    """
    n_held = round(len(batch) * fraction)
    if required and n_held == 0:
        n_held = math.ceil(len(batch) * fraction)
    n_held = min(n_held, len(batch) - 1)  # something must be left to train on
    if required and n_held == 0:
        raise ValueError(
            f"early_stopping needs validation tracks, but validation_fraction={fraction} of "
            f"{len(batch)} tracks leaves none; give more tracks, or set early_stopping=False."
        )
    held = set(random_state.permutation(len(batch))[:n_held].tolist())
    return (
        TrackBatch(record for index, record in enumerate(batch) if index not in held),
        TrackBatch(record for index, record in enumerate(batch) if index in held),
    )
