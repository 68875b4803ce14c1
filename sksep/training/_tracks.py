"""The tracks that a training is given, with their weights and groups."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import _check_sample_weight, check_consistent_length, column_or_1d

from sksep.base._batch import TrackBatch
from sksep.base._separator import training_batch
from sksep.utils._arrays import DoubleArray


@dataclass(frozen=True, eq=False)
class TrainingTracks:
    """Tracks with targets, and what else `fit` was told about them.

    Attributes
    ----------
    batch : TrackBatch
        Tracks that have a weight and a chunk to train on.
    weights : ndarray of shape (n_tracks,) or None
        Positive weights of the tracks; None if they are equal.
    groups : ndarray of shape (n_tracks,)
        Groups that validation keeps together; without groups, each track is one.
    """

    batch: TrackBatch
    weights: DoubleArray | None
    groups: npt.NDArray[Any]

    @classmethod
    def of(cls, X: Any, user: str, sample_weight: Any = None, groups: Any = None) -> TrainingTracks:
        """Check the arguments of `fit`, and leave out what cannot be trained on.

        Parameters
        ----------
        X : TrackBatch
            Output of `MaskBuilder.fit_transform`.
        user : str
            Name of the separator, for messages.
        sample_weight, groups : array-like of shape (n_tracks,), default=None
            Weights and groups of the tracks.

        Raises
        ------
        TypeError, ValueError
            If `X` holds nothing to learn from, weights are negative, not finite or all zero, or
            lengths differ.
        """
        batch = training_batch(X, user)
        weights = np.ones(len(batch))
        if sample_weight is not None:
            weights = _check_sample_weight(
                sample_weight, batch, dtype=np.float64, ensure_non_negative=True
            )
            if not weights.any():
                raise ValueError("sample_weight is zero for all tracks; one at least must count.")
            weighted = TrackBatch(
                record for record, weight in zip(batch, weights, strict=True) if weight
            )
            training_batch(weighted, f"{user}, beside tracks of weight zero,")
        if groups is None:
            groups = np.arange(len(batch))
        else:
            groups = column_or_1d(groups)
            check_consistent_length(batch, groups)
        kept = [
            bool(weight) and record.targets is not None and bool(record.targets.chunk_is_kept.any())
            for record, weight in zip(batch, weights, strict=True)
        ]
        tracks = cls(batch, weights, groups).take(np.flatnonzero(kept))
        equal = tracks.weights is not None and np.ptp(tracks.weights) == 0.0
        return cls(tracks.batch, None, tracks.groups) if equal else tracks

    def take(self, indices: npt.NDArray[np.intp]) -> TrainingTracks:
        """The tracks at these indices."""
        return TrainingTracks(
            TrackBatch(self.batch[int(index)] for index in indices),
            None if self.weights is None else self.weights[indices],
            self.groups[indices],
        )

    def split(
        self, fraction: float, *, required: bool, random_state: np.random.RandomState
    ) -> tuple[TrainingTracks, TrainingTracks]:
        """Split tracks for training and validation: whole groups, never single chunks.

        If `fraction` rounds to no group, none is held back.

        Parameters
        ----------
        fraction : float
            Share of the groups to hold back, in [0, 1).
        required : bool
            Whether at least one group must be held back.
        random_state : RandomState
            Random state that draws them.

        Raises
        ------
        ValueError
            If one must be held back, but there is only one.
        """
        distinct, group_of_track = np.unique(self.groups, return_inverse=True)
        n_held = round(len(distinct) * fraction)
        if required and n_held == 0:
            n_held = math.ceil(len(distinct) * fraction)
        n_held = min(n_held, len(distinct) - 1)  # something must be left to train on
        if required and n_held == 0:
            n_tracks = len(self.batch)
            counted = f"{n_tracks} tracks"
            if len(distinct) < n_tracks:
                counted += f" in {len(distinct)} group(s)"
            raise ValueError(
                f"early_stopping needs validation tracks, but validation_fraction={fraction} of "
                f"{counted} leaves none; give more tracks, or set early_stopping=False."
            )
        held = random_state.permutation(len(distinct))[:n_held]
        is_held = np.isin(group_of_track, held)
        return self.take(np.flatnonzero(~is_held)), self.take(np.flatnonzero(is_held))
