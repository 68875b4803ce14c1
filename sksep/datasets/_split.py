"""Splitting tracks into training, validation and test parts without sharing artists."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.utils import Bunch, check_random_state

from sksep.utils._arrays import DoubleArray, IntArray

# Number of random orders that are tried. The one whose parts fit the sizes best is taken.
_N_TRIALS = 32


def train_val_test_split(
    tracks: Any,
    groups: Any = None,
    *,
    sizes: tuple[float, float, float] = (0.7, 0.15, 0.15),
    random_state: Any = None,
) -> tuple[Any, Any, Any]:
    """Split tracks into three parts such that no artist or singer is in two of them.

    Parameters
    ----------
    tracks : Bunch or sequence
        Result of a loader, or any sequence of tracks.
    groups : array-like of shape (n_tracks,), default=None
        Artist or singer of each track; None takes ``tracks.groups``.
    sizes : tuple of float, default=(0.7, 0.15, 0.15)
        Shares of the tracks for training, validation and test; their sum is 1. They are met as
        nearly as whole groups allow, and no part is empty.
    random_state : int, RandomState instance or None, default=None
        Seed of all random draws. An int makes the split reproducible.

    Returns
    -------
    train, val, test : Bunch or ndarray of int
        Three Bunches, if `tracks` is one, each with the entries of its tracks; otherwise three
        sorted arrays of indices.

    Raises
    ------
    ValueError
        If there are fewer than three groups, or lengths or sizes do not fit.

    Examples
    --------
    >>> from sksep.datasets import make_songs, train_val_test_split
    >>> songs = make_songs(8, duration=0.5, random_state=0)
    >>> train, val, test = train_val_test_split(songs, random_state=0)
    >>> len(train.mixtures), len(val.mixtures), len(test.mixtures)
    (4, 2, 2)
    >>> set(train.groups) & set(test.groups)
    set()
    """
    is_bunch = isinstance(tracks, Mapping)
    if groups is None:
        if not is_bunch or "groups" not in tracks:
            raise ValueError(
                "The groups are missing: pass the artist or singer of every track as groups."
            )
        groups = tracks["groups"]
    names = np.asarray(groups)
    n_tracks = len(tracks["track_names"]) if is_bunch else len(tracks)
    if names.shape != (n_tracks,):
        raise ValueError(f"groups has shape {names.shape}, but there are {n_tracks} tracks.")
    shares = np.asarray(sizes, dtype=float)
    if shares.shape != (3,) or not (shares > 0).all() or not np.isclose(shares.sum(), 1.0):
        raise ValueError(f"sizes must be three positive shares whose sum is 1, got {sizes!r}.")
    distinct, group_of_track, counts = np.unique(names, return_inverse=True, return_counts=True)
    if len(distinct) < 3:
        raise ValueError(
            f"The {n_tracks} tracks have {len(distinct)} group(s) {distinct.tolist()}, but three "
            "parts that share none need at least 3. Add tracks of other artists, or pass finer "
            "groups, such as the song of each clip."
        )
    part_of_group = _assign(counts, shares, check_random_state(random_state))
    parts = [np.flatnonzero(part_of_group[group_of_track] == part) for part in range(3)]
    if is_bunch:
        return tuple(_take(tracks, indices, n_tracks) for indices in parts)  # type: ignore[return-value]
    return parts[0], parts[1], parts[2]


def _assign(counts: IntArray, shares: DoubleArray, rng: np.random.RandomState) -> IntArray:
    """Part (0, 1, 2) of each group, given the number of tracks in each."""
    targets = shares * counts.sum()
    best: IntArray = np.zeros(len(counts), np.intp)
    smallest_error = np.inf
    for _ in range(_N_TRIALS):
        parts = np.zeros(len(counts), np.intp)
        lacking = targets.copy()
        empty = np.ones(3, bool)
        for position, group in enumerate(rng.permutation(len(counts))):
            # The last groups go to the parts that have none yet.
            forced = len(counts) - position <= empty.sum()
            part = int(np.argmax(np.where(empty | (not forced), lacking, -np.inf)))
            parts[group] = part
            lacking[part] -= counts[group]
            empty[part] = False
        error = float(np.abs(lacking).max())
        if error < smallest_error - 1e-9:
            best, smallest_error = parts, error
    return best


def _take(bunch: Mapping[str, Any], indices: IntArray, n_tracks: int) -> Bunch:
    """Bunch of the tracks at `indices`. Entries with one value per track keep these only."""
    result = Bunch()
    for name, value in bunch.items():
        if isinstance(value, np.ndarray) and value.ndim and len(value) == n_tracks:
            result[name] = value[indices]
        elif isinstance(value, Sequence) and not isinstance(value, str) and len(value) == n_tracks:
            result[name] = [value[index] for index in indices]
        else:
            result[name] = value
    return result
