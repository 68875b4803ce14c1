"""Splits by group."""

import numpy as np
import pytest
from sklearn.utils import Bunch

from sksep.datasets import make_songs, train_val_test_split


@pytest.mark.parametrize("seed", range(5))
def test_sizes_and_groups(seed):
    rng = np.random.default_rng(seed)
    groups = np.repeat(np.arange(40), rng.integers(1, 6, 40))
    tracks = list(range(len(groups)))
    parts = train_val_test_split(tracks, groups, random_state=seed)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), tracks)
    shares = [len(part) / len(tracks) for part in parts]
    np.testing.assert_allclose(shares, (0.7, 0.15, 0.15), atol=0.04)
    sets = [set(groups[part]) for part in parts]
    assert not (sets[0] & sets[1] or sets[0] & sets[2] or sets[1] & sets[2])


@pytest.mark.parametrize("counts", [[1, 1, 1], [50, 1, 1], [1, 1, 50, 1], [5, 5, 5, 5]])
def test_no_part_is_empty(counts):
    groups = np.repeat(np.arange(len(counts)), counts)
    for seed in range(10):
        parts = train_val_test_split(groups, groups, random_state=seed)
        assert all(len(part) for part in parts)


def test_other_sizes():
    groups = np.arange(100)
    parts = train_val_test_split(groups, groups, sizes=(0.5, 0.2, 0.3), random_state=0)
    assert [len(part) for part in parts] == [50, 20, 30]


def test_random_state():
    groups = np.arange(30)
    first, second, other = (
        train_val_test_split(groups, groups, random_state=state)[0] for state in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, second)
    assert not np.array_equal(first, other)


def test_bunch():
    songs = make_songs(8, 0.1, random_state=0)
    songs.split = np.array(["train"] * 8)
    parts = train_val_test_split(songs, random_state=0)
    assert sum(len(part.mixtures) for part in parts) == 8
    for part in parts:
        assert isinstance(part, Bunch)
        assert part.sample_rate == 16000 and part.DESCR == songs.DESCR
        assert len(part.vocals) == len(part.groups) == len(part.split) == len(part.track_names)
        for name, mixture in zip(part.track_names, part.mixtures, strict=True):
            assert mixture is songs.mixtures[songs.track_names.index(name)]
    renamed = train_val_test_split(songs, groups=list("aabbccdd"), random_state=0)
    assert len(renamed) == 3


def test_errors():
    with pytest.raises(ValueError, match=r"2 group\(s\) \['a', 'b'\].*finer groups"):
        train_val_test_split([1, 2, 3], ["a", "b", "b"])
    with pytest.raises(ValueError, match="groups are missing"):
        train_val_test_split([1, 2, 3])
    with pytest.raises(ValueError, match="3 tracks"):
        train_val_test_split([1, 2, 3], ["a", "b"])
    for sizes in ((0.7, 0.3), (0.7, 0.2, 0.2), (1.0, 0.0, 0.0)):
        with pytest.raises(ValueError, match="sizes"):
            train_val_test_split([1, 2, 3], ["a", "b", "c"], sizes=sizes)
