"""Training and test parts of the data sets, by named protocols."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.model_selection import GroupKFold

from sksep.datasets import load_dsd100, load_mir1k, load_musdb18

N_FOLDS = 5


@dataclass(frozen=True)
class Part:
    """Tracks of one part of a data set; the three lists name files and have one length."""

    mixtures: list[Any]
    vocals: list[Any]
    accompaniments: list[Any]

    @classmethod
    def of(cls, songs: Any, indices: Any = None) -> Part:
        """The tracks of a Bunch at the indices; all of them by default."""
        chosen = range(len(songs.mixtures)) if indices is None else indices
        return cls(*([songs[name][index] for index in chosen] for name in _STEMS))

    def spread(self, n_tracks: int | None) -> Part:
        """At most `n_tracks` of the tracks, evenly spaced; all of them for None."""
        if n_tracks is None or n_tracks >= len(self):
            return self
        indices = np.linspace(0, len(self) - 1, n_tracks).round().astype(int)
        return Part(*([getattr(self, name)[index] for index in indices] for name in _STEMS))

    def __len__(self) -> int:
        return len(self.mixtures)


_STEMS = ("mixtures", "vocals", "accompaniments")


@dataclass(frozen=True)
class Split:
    """Training and test part, and the name of the protocol that they follow."""

    train: Part
    test: Part
    protocol: str


def mir1k(data: str | None, *, published: bool | None = None, test_singer: str) -> Split:
    """The published protocol, or among its training singers: all but one against that one.

    Parameters
    ----------
    data : str or None
        Folder of MIR-1K; None for the one in SKSEP_DATA_HOME.
    published : bool or None
        None means the published protocol if there are test clips.
    test_singer : str
        "abjones" or "amy".
    """
    clips = load_mir1k(data, subset="all")
    trains = clips.split == "train"
    if published is None:
        published = not trains.all()
    if published:
        if trains.sum() != 175 or (~trains).sum() != 825:
            raise SystemExit(
                "The published protocol has 175 training and 825 test clips; found "
                f"{trains.sum()} and {(~trains).sum()}. With the training clips alone, "
                "compare.py splits them by singer."
            )
        return Split(_part(clips, trains), _part(clips, ~trains), "published")
    tests = clips.groups == test_singer
    others = trains & ~tests
    if not tests.any() or not others.any():
        singers = ", ".join(sorted(set(clips.groups[trains])))
        raise SystemExit(f"Cannot test on {test_singer!r}: the training singers are {singers}.")
    names = ", ".join(sorted(set(clips.groups[others])))
    return Split(_part(clips, others), _part(clips, tests), f"{names} -> {test_singer}")


def musdb18(data: str | None, *, fold: int) -> Split:
    """A fold of all tracks, by artist."""
    songs = load_musdb18(data, subset="all")
    folds = list(GroupKFold(N_FOLDS).split(songs.mixtures, groups=songs.groups))
    train, test = folds[fold]
    return Split(Part.of(songs, train), Part.of(songs, test), f"artists, fold {fold} of {N_FOLDS}")


def dsd100(data: str | None) -> Split:
    """The data set's own parts: trained on Dev, tested on Test."""
    songs = load_dsd100(data, subset="all")
    trains = songs.split == "train"
    return Split(_part(songs, trains), _part(songs, ~trains), "Dev -> Test")


def _part(songs: Any, chosen: np.ndarray) -> Part:
    return Part.of(songs, np.flatnonzero(chosen))
