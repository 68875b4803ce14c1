"""Weights and groups of the tracks in fit: how often excerpts are drawn, and what is held back."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
import sklearn
import torch
from helpers import assert_same_fit, four_steps, noise, small, weights
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_validate

from sksep import (
    DeepClusteringSeparator,
    HPSSSeparator,
    HybridClusteringSeparator,
    MaskBuilder,
    MelChunker,
    UNetSeparator,
)
from sksep.datasets import make_songs
from sksep.training import Augmentation
from sksep.training._dataset import ExcerptDataset
from sksep.training._tracks import TrainingTracks

LEVELS = (0.01, 0.02, 0.03, 0.04)
PLAIN = {"gain_range": (0.0, 0.0), "level_range": (0.0, 0.0), "vocal_free": 0.0}


@pytest.fixture(scope="module")
def songs():
    return make_songs(6, duration=1.0, sample_rate=8000, random_state=0)


@pytest.fixture(scope="module")
def batch(songs):
    steps = four_steps()
    return steps["mask"].fit_transform(steps["chunk"].transform(songs.mixtures), songs.vocals)


@pytest.fixture(scope="module")
def constant():
    """Tracks of equal length whose vocals have the constant values of `LEVELS`."""
    vocals = [np.full(9000, level, np.float32) for level in LEVELS]
    mixtures = [noise(9000, seed=9, level=1e-4) for _ in LEVELS]
    chunker = MelChunker(n_fft=512, hop_length=128, n_mels=24, n_frames=20)
    return MaskBuilder().fit_transform(chunker.transform(mixtures), vocals)


def tracks_of(stem):
    """How often excerpts (n, n_samples) come from each track, by their constant value."""
    found = np.abs(stem.numpy()).max(axis=1).round(2)
    return np.array([np.count_nonzero(found == level) for level in LEVELS])


# Weights.


@pytest.mark.parametrize("augmentation", [None, Augmentation(true_pairs=1.0, **PLAIN)])
def test_tracks_are_drawn_in_proportion_to_their_weights(constant, augmentation):
    given_weights = np.array([2.0, 1.0, 0.5, 0.5])
    dataset = ExcerptDataset(constant, augmentation, 400, weights=given_weights)
    n_epochs = 50 if augmentation is None else 10
    counts = [
        tracks_of(dataset.__getitems__([*range(len(dataset))])[0][:, 0]) for _ in range(n_epochs)
    ]
    shares = np.sum(counts, axis=0) / (n_epochs * len(dataset))
    expected = given_weights / given_weights.sum()
    np.testing.assert_allclose(shares, expected, atol=3.0 * np.sqrt(0.25 / 4000))
    assert [sum(epoch) for epoch in counts] == [len(dataset)] * n_epochs
    if augmentation is None:  # every epoch is as near to the shares as whole excerpts allow
        assert np.abs(np.array(counts) - expected * len(dataset)).max() < 1.0 + 1e-9
        assert any((one != other).any() for one, other in pairwise(counts))


def test_other_vocals_and_accompaniments_are_drawn_in_proportion_too(constant):
    remixes = Augmentation(true_pairs=0.0, **PLAIN)
    dataset = ExcerptDataset(constant, remixes, weights=np.array([2.0, 1.0, 1e-12, 1.0]))
    stems, _ = dataset.__getitems__([0] * 4000)
    for stem in stems.unbind(dim=1):
        shares = tracks_of(stem) / 4000
        np.testing.assert_allclose(shares, [0.5, 0.25, 0.0, 0.25], atol=0.03)
    assert tracks_of(stems[:, 0])[2] == 0


def test_the_share_of_a_pool_does_not_depend_on_the_scale_of_weights(constant):
    pool = Augmentation(true_pairs=0.0, vocals_pool=[np.full(9000, 0.09, np.float32)], **PLAIN)
    shares = []
    for scale in (1e-6, 1.0, 1e6):
        dataset = ExcerptDataset(constant, pool, weights=scale * np.array([1.0, 2.0, 3.0, 4.0]))
        stems, _ = dataset.__getitems__([0] * 500)
        shares.append(np.mean(stems[:, 0].abs().amax(dim=1).numpy().round(2) == 0.09))
    assert shares[0] == shares[1] == shares[2]
    assert shares[0] == pytest.approx(0.2, abs=0.06)  # one track of five


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(1e-6, 1e6), min_size=4, max_size=4), st.integers(0, 2**31))
def test_any_weights_draw_existing_chunks(constant, given_weights, seed):
    dataset = ExcerptDataset(constant, weights=np.array(given_weights), seed=seed)
    stems, _ = dataset.__getitems__([*range(len(dataset))])
    assert tracks_of(stems[:, 0]).sum() == len(dataset)


@pytest.mark.parametrize(
    ("kind", "augmentation"),
    [
        (UNetSeparator, True),
        (UNetSeparator, False),
        (DeepClusteringSeparator, True),
        (HybridClusteringSeparator, False),
    ],
)
def test_weight_zero_leaves_a_track_out(batch, kind, augmentation):
    separator = small(
        kind, max_epochs=2, augmentation=augmentation, validation_fraction=0.4, batch_size=8
    )
    without = sklearn.clone(separator).fit([batch[0], batch[2], batch[3], batch[5]])
    for weighting in ([1, 0, 1, 1, 0, 1], [3.0, 0.0, 3.0, 3.0, 0.0, 3.0]):
        weighted = sklearn.clone(separator).fit(batch, sample_weight=weighting)
        assert_same_fit(weighted, without, batch)
    again = sklearn.clone(separator).partial_fit(batch, sample_weight=[1, 0, 1, 1, 0, 1])
    other = sklearn.clone(separator).partial_fit([batch[0], batch[2], batch[3], batch[5]])
    assert_same_fit(again, other, batch)


def test_weights_are_learned_from(batch):
    separator = small(max_epochs=2)
    plain, weighted = (
        sklearn.clone(separator).fit(batch, sample_weight=weighting)
        for weighting in (None, [9, 1, 1, 1, 1, 1])
    )
    assert plain.loss_curve_ != weighted.loss_curve_
    again = sklearn.clone(separator).fit(batch, sample_weight=np.array([18, 2, 2, 2, 2, 2.0]))
    assert_same_fit(again, weighted, batch)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (np.zeros(6), "sample_weight is zero|non-zero"),
        ([1.0] * 5, "sample_weight"),
        ([1.0] * 5 + [-1.0], "[Nn]egative"),
        ([1.0] * 5 + [np.nan], "NaN"),
        ([1.0] * 5 + [np.inf], "inf"),
        (np.ones((6, 2)), "1D"),
        (["a"] * 6, "could not convert"),
    ],
)
def test_bad_weights(batch, bad, message):
    separator = small()
    for fit in (separator.fit, separator.partial_fit):
        with pytest.raises(ValueError, match=message):
            fit(batch, sample_weight=bad)
    assert not hasattr(separator, "net_")


def test_weights_that_leave_silence_alone():
    tracks = [noise(4000), np.zeros(4000, np.float32)]
    steps = four_steps()
    batch = steps["mask"].fit_transform(steps["chunk"].transform(tracks), tracks)
    with pytest.raises(ValueError, match=r"beside tracks of weight zero.*silent"):
        small().fit(batch, sample_weight=[0, 1])


def test_separators_that_learn_no_weights_refuse_them_by_name(batch):
    with pytest.raises(TypeError, match="sample_weight"):
        HPSSSeparator().fit_transform(batch, sample_weight=np.ones(6))


def test_the_fingerprint_of_a_training_depends_on_weights(constant):
    from joblib import hash as fingerprint

    kinds = [None, np.array([1.0, 1.0, 1.0, 2.0]), np.array([1.0, 1.0, 1.0, 3.0])]
    found = [fingerprint(ExcerptDataset(constant, weights=kind).fingerprint) for kind in kinds]
    assert len(set(found)) == 3


# Pipelines, searches and metadata routing.


def test_weights_reach_a_separator_through_pipelines(songs):
    weighting = np.array([1.0, 1, 0, 1, 2, 1])
    kept = np.flatnonzero(weighting)
    pipe = four_steps(separate__augmentation=False)
    pipe.fit(songs.mixtures, songs.vocals, separate__sample_weight=weighting)
    other = four_steps(separate__augmentation=False).fit(songs.mixtures, songs.vocals)
    assert pipe["separate"].loss_curve_ != other["separate"].loss_curve_
    with sklearn.config_context(enable_metadata_routing=True):
        routed = four_steps(separate__augmentation=False)
        routed["separate"].set_fit_request(sample_weight=True)
        routed.fit(songs.mixtures, songs.vocals, sample_weight=weighting)
        assert routed["separate"].loss_curve_ == pipe["separate"].loss_curve_
        unasked = four_steps()
        with pytest.raises(sklearn.exceptions.UnsetMetadataPassedError, match="sample_weight"):
            unasked.fit(songs.mixtures, songs.vocals, sample_weight=weighting)
    assert len(kept) == 5


def test_weights_in_a_search_are_those_of_the_fold(songs):
    weighting = np.array([1.0, 1, 1, 1, 0, 0])
    search = GridSearchCV(
        four_steps(), {"separate__lr": [1e-3, 2e-3]}, cv=GroupKFold(3), error_score="raise"
    )
    search.fit(songs.mixtures, songs.vocals, groups=songs.groups, separate__sample_weight=weighting)
    direct = four_steps(separate__lr=search.best_params_["separate__lr"])
    direct.fit(songs.mixtures, songs.vocals, separate__sample_weight=weighting)
    refitted = weights(search.best_estimator_["separate"])
    assert all(
        torch.equal(refitted[name], value) for name, value in weights(direct["separate"]).items()
    )


# Groups.


def held_back(batch, groups, fraction, seed=0, required=False):
    tracks = TrainingTracks.of(batch, "Test", groups=groups)
    state = np.random.RandomState(seed)
    train, held = tracks.split(fraction, required=required, random_state=state)
    return train.groups.tolist(), held.groups.tolist()


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.sampled_from("abcd"), min_size=6, max_size=6),
    st.floats(0.0, 1.0, exclude_max=True),
    st.integers(0, 100),
)
def test_no_group_is_on_both_sides(batch, groups, fraction, seed):
    train, held = held_back(batch, groups, fraction, seed)
    assert not set(train) & set(held)
    assert Counter(train) + Counter(held) == Counter(groups)
    n_groups = len(set(groups))
    assert len(set(held)) == min(round(n_groups * fraction), n_groups - 1)


def test_each_track_is_a_group_without_groups(batch):
    assert held_back(batch, None, 0.34) == held_back(batch, np.arange(6), 0.34)


def test_required_groups(batch):
    assert len(held_back(batch, list("aaabbb"), 0.1, required=True)[1]) == 3
    with pytest.raises(ValueError, match=r"6 tracks in 1 group\(s\) leaves none"):
        small(early_stopping=True).fit(batch, groups=["a"] * 6)


@pytest.mark.parametrize(
    ("bad", "message"),
    [(list("aabb"), "inconsistent numbers of samples"), (np.ones((6, 2)), "1d array")],
)
def test_bad_groups(batch, bad, message):
    with pytest.raises(ValueError, match=message):
        small().fit(batch, groups=bad)


def test_early_stopping_holds_back_whole_artists(songs, batch, monkeypatch):
    seen = []
    split = TrainingTracks.split

    def spied(tracks, *args, **parameters):
        parts = split(tracks, *args, **parameters)
        seen.append(tuple({record.name for record in part.batch} for part in parts))
        return parts

    monkeypatch.setattr(TrainingTracks, "split", spied)
    singers = {record.name: group for record, group in zip(batch, songs.groups, strict=True)}
    for seed in range(4):
        separator = small(early_stopping=True, max_epochs=2, random_state=seed)
        separator.fit(batch, groups=songs.groups)
        assert len(separator.validation_loss_curve_) == separator.n_epochs_
    for train, held in seen:
        assert len(held) == 2
        assert not {singers[name] for name in train} & {singers[name] for name in held}


def test_groups_of_a_search_reach_the_validation(songs, monkeypatch):
    given_groups = []
    of = TrainingTracks.of.__func__

    def spied(cls, X, user, sample_weight=None, groups=None):
        given_groups.append(None if groups is None else list(groups))
        return of(cls, X, user, sample_weight, groups)

    monkeypatch.setattr(TrainingTracks, "of", classmethod(spied))
    pipe = four_steps(separate__early_stopping=True)
    parameters = {"cv": GroupKFold(3), "error_score": "raise"}
    with sklearn.config_context(enable_metadata_routing=True):
        cross_validate(
            pipe, songs.mixtures, songs.vocals, params={"groups": songs.groups}, **parameters
        )
        assert all(groups is not None for groups in given_groups)
        assert [len(set(groups)) for groups in given_groups] == [2, 2, 2]
        quiet = four_steps()
        quiet["separate"].set_fit_request(groups=False)
        quiet.fit(songs.mixtures, songs.vocals)
    given_groups.clear()
    pipe.fit(songs.mixtures, songs.vocals, separate__groups=songs.groups)
    assert given_groups == [list(songs.groups)]
