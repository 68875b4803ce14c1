"""MultiTargetSeparator: all stems of a mixture, by a pipeline for each."""

from __future__ import annotations

import numpy as np
import pytest
import sklearn
import soundfile
from helpers import four_steps
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_val_predict

import sksep
from sksep import MultiTargetSeparator, OracleMaskSeparator, UNetSeparator
from sksep.datasets import load_folder, make_songs
from sksep.ensembles._multi_target import normalized
from sksep.metrics import sdr_score

STEMS = ["vocals", "drums", "bass", "other"]
RATE = 8000


@pytest.fixture(scope="module")
def songs():
    # Song 3 is one of those that have no drums with other seeds; here all have them.
    return make_songs(4, duration=1.0, sample_rate=RATE, random_state=0)


@pytest.fixture(scope="module")
def model(songs):
    return MultiTargetSeparator(four_steps()).fit(songs.mixtures, songs.stems)


def oracle(**parameters):
    return four_steps(separate=OracleMaskSeparator(), chunk__n_mels=64, **parameters)


def columns(stems):
    return {name: [row[name] for row in stems] for name in stems[0]}


def assert_same_stems(found, expected, atol=0.0):
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for stem in one:
            np.testing.assert_allclose(one[stem], other[stem], rtol=0.0, atol=atol)


@pytest.mark.parametrize("n_iter", [0, 3])
@pytest.mark.parametrize("exponent", [0.5, 1.0, 2.0])
def test_stems_add_up_to_the_mixture(songs, model, n_iter, exponent):
    changed = clone_fitted(model).set_params(exponent=exponent)
    for pipeline in changed.estimators_:
        pipeline.set_params(invert__n_iter=n_iter)
    for stems, mixture in zip(changed.predict(songs.mixtures), songs.mixtures, strict=True):
        assert list(stems) == STEMS
        np.testing.assert_allclose(sum(stems.values()), mixture, rtol=0.0, atol=1e-5)


def clone_fitted(model):
    import pickle

    return pickle.loads(pickle.dumps(model))


def test_files_at_another_rate_in_stereo(songs, model, tmp_path):
    samples = make_songs(1, 0.5, sample_rate=22050, n_channels=2, random_state=0).mixtures[0]
    soundfile.write(tmp_path / "song.wav", samples.T, 22050, subtype="FLOAT")
    (stems,) = model.predict([str(tmp_path / "song.wav")])
    assert {stem.shape for stem in stems.values()} == {samples.shape}
    np.testing.assert_allclose(sum(stems.values()), samples, rtol=0.0, atol=1e-5)


@settings(max_examples=50, deadline=None)
@given(st.integers(2, 6), st.floats(0.1, 10.0), st.integers(0, 2**31))
def test_normalized_masks_sum_to_one(n_stems, exponent, seed):
    generator = np.random.default_rng(seed)
    masks = generator.random((n_stems, 7, 5)).astype(np.float32)
    masks[generator.random(masks.shape) < 0.3] = 0.0
    masks[:, 0] = 0.0
    found = normalized(masks, exponent)
    assert found.dtype == np.float32 and found.min() >= 0.0
    np.testing.assert_allclose(found.sum(axis=0), 1.0, atol=1e-6)
    np.testing.assert_allclose(found[:, 0], 1.0 / n_stems, atol=1e-6)
    order = generator.permutation(n_stems)
    np.testing.assert_allclose(normalized(masks[order], exponent), found[order], atol=1e-7)
    assert (found.argmax(axis=0) == masks.argmax(axis=0))[masks.max(axis=0) > 1e-3].all()


def test_shares_stay_as_they_are():
    masks = np.random.default_rng(0).dirichlet(np.ones(3), (4, 6)).transpose(2, 0, 1)
    np.testing.assert_allclose(normalized(masks, 1.0), masks, atol=1e-5)
    squares = masks**2 / (masks**2).sum(axis=0)
    np.testing.assert_allclose(normalized(masks, 2.0), squares, atol=1e-5)


def test_permuted_stems_permute_the_results(songs, model):
    order = ["other", "bass", "vocals", "drums"]
    permuted = [{stem: stems[stem] for stem in order} for stems in songs.stems]
    other = MultiTargetSeparator(four_steps()).fit(songs.mixtures, permuted)
    assert other.stem_names_ == order and model.stem_names_ == STEMS
    found = other.predict(songs.mixtures)
    assert list(found[0]) == order
    assert_same_stems(found, model.predict(songs.mixtures), atol=1e-6)
    scores = other.stem_scores(songs.mixtures, songs.stems)
    assert list(scores) == order
    assert scores == pytest.approx(model.stem_scores(songs.mixtures, permuted), abs=1e-4)


def test_both_forms_of_y_and_jobs(songs, model):
    again = MultiTargetSeparator(four_steps(), n_jobs=2)
    again.fit(songs.mixtures, columns(songs.stems))
    expected = model.predict(songs.mixtures)
    assert_same_stems(again.predict(songs.mixtures), expected)
    by_rows = model.score(songs.mixtures, songs.stems)
    assert model.score(songs.mixtures, columns(songs.stems)) == by_rows
    assert np.isfinite(model.score(songs.mixtures, expected))


def test_each_pipeline_is_a_model_of_its_stem(songs, model, tmp_path):
    drums = [stems["drums"] for stems in songs.stems]
    alone = four_steps(mask__target="drums").fit(songs.mixtures, drums)
    pipeline = model.named_estimators_["drums"]
    assert pipeline is model.estimators_[1] and pipeline["mask"].target == "drums"
    for found, expected in zip(
        pipeline.predict(songs.mixtures), alone.predict(songs.mixtures), strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    sksep.save(pipeline, tmp_path / "drums.safetensors")
    assert sksep.load(tmp_path / "drums.safetensors")["mask"].target == "drums"
    with pytest.raises(ValueError, match=r"cannot store .*MultiTargetSeparator"):
        sksep.save(model, tmp_path / "all.safetensors")


def test_the_score_is_the_mean_of_the_stems(songs, model):
    estimates = model.predict(songs.mixtures)
    weights = [1.0, 0.0, 2.0, 1.0]
    for weighting in (None, weights):
        expected = {
            stem: sdr_score(
                [stems[stem] for stems in songs.stems],
                [stems[stem] for stems in estimates],
                sample_weight=weighting,
            )
            for stem in STEMS
        }
        found = model.stem_scores(songs.mixtures, songs.stems, sample_weight=weighting)
        assert found == pytest.approx(expected)
        score = model.score(songs.mixtures, songs.stems, sample_weight=weighting)
        assert score == pytest.approx(np.mean([*expected.values()]))


def test_true_masks_of_four_stems(songs):
    """Normalizing changes masks little that are shares of the powers already."""
    model = MultiTargetSeparator(oracle(invert__n_iter=0)).fit(songs.mixtures, songs.stems)
    scores = model.stem_scores(songs.mixtures, songs.stems)
    for stem, pipeline in model.named_estimators_.items():
        true = [stems[stem] for stems in songs.stems]
        assert scores[stem] > sdr_score(true, songs.mixtures) + 3.0
        assert scores[stem] > pipeline.score(songs.mixtures, true) - 0.5


def test_searches_and_groups(songs):
    search = GridSearchCV(
        MultiTargetSeparator(four_steps()),
        {"exponent": [1.0, 2.0], "estimator__separate__lr": [1e-3]},
        cv=GroupKFold(2),
        error_score="raise",
    )
    search.fit(songs.mixtures, songs.stems, groups=songs.groups)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert list(search.predict(songs.mixtures)[0]) == STEMS
    estimator = clone(search.best_estimator_)
    found = cross_val_predict(estimator, songs.mixtures, songs.stems, cv=2)
    assert found.shape == (4,) and list(found[3]) == STEMS


def test_weights_and_groups_reach_the_separators(songs):
    weighting = np.array([1.0, 0.0, 2.0, 1.0])
    plain = MultiTargetSeparator(four_steps())
    given_by_name = {"separate__sample_weight": weighting, "separate__groups": songs.groups}
    plain.fit(songs.mixtures, songs.stems, **given_by_name)
    with sklearn.config_context(enable_metadata_routing=True):
        pipe = four_steps()
        pipe["separate"].set_fit_request(sample_weight=True)
        routed = MultiTargetSeparator(pipe)
        routed.fit(songs.mixtures, songs.stems, sample_weight=weighting, groups=songs.groups)
    unweighted = MultiTargetSeparator(four_steps()).fit(songs.mixtures, songs.stems)
    for stem in STEMS:
        losses = [
            model.named_estimators_[stem]["separate"].loss_curve_
            for model in (plain, routed, unweighted)
        ]
        assert losses[0] == losses[1] != losses[2]


def test_stems_of_a_loader(songs, tmp_path):
    for name, stems in zip("ab", songs.stems, strict=False):
        for stem, samples in stems.items():
            path = tmp_path / name / f"{stem}.wav"
            path.parent.mkdir(exist_ok=True)
            soundfile.write(path, samples, RATE, subtype="FLOAT")
    files = load_folder(tmp_path, accompaniment=("drums", "bass", "other"))
    found = MultiTargetSeparator(four_steps()).fit(files.mixtures, files.stems)
    arrays = MultiTargetSeparator(four_steps()).fit(songs.mixtures[:2], songs.stems[:2])
    expected = arrays.predict(songs.mixtures[:2])
    assert_same_stems(found.predict(files.mixtures), expected, atol=1e-4)


def test_default_pipeline():
    assert MultiTargetSeparator()._pipeline()["chunk"].n_mels == 256


@pytest.mark.parametrize(
    ("estimator", "error"),
    [
        (UNetSeparator(), "Pipeline of MelChunker"),
        (four_steps()[1:], "Pipeline of MelChunker"),
        (four_steps()[:2], "Pipeline of MelChunker"),
        (UNetSeparator, "Pipeline of MelChunker"),
    ],
)
def test_bad_estimators(songs, estimator, error):
    with pytest.raises(TypeError, match=error):
        MultiTargetSeparator(estimator).fit(songs.mixtures, songs.stems)


def changed(songs, index, **stems):
    rows = [dict(row) for row in songs.stems]
    rows[index].update(stems)
    return rows


BAD_TARGETS = [
    (lambda songs: None, TypeError, "y must hold all stems"),
    (lambda songs: songs.vocals, TypeError, "y must hold all stems"),
    (lambda songs: [], TypeError, "y must hold all stems"),
    (lambda songs: "vocals", TypeError, "y must hold all stems"),
    (lambda songs: {"vocals": songs.vocals}, ValueError, "at least two are needed"),
    (
        lambda songs: {**columns(songs.stems), "drums": songs.vocals[:2]},
        ValueError,
        r"y\['drums'\] has 2",
    ),
    (lambda songs: changed(songs, 2, guitar=songs.vocals[2]), ValueError, r"y\[2\] has the stems"),
    (
        lambda songs: changed(songs, 1, bass=songs.vocals[1][:-1]),
        ValueError,
        r"y\['bass'\]\[1\] has 7999",
    ),
    (lambda songs: changed(songs, 1, bass=None), TypeError, r"y\['bass'\]\[1\]"),
    (lambda songs: {"a/b": songs.vocals, "c": songs.vocals}, ValueError, "name of a stem must"),
    (lambda songs: {1: songs.vocals, 2: songs.vocals}, TypeError, "name of a stem must"),
    (lambda songs: songs.stems[:3], ValueError, "one to one"),
]


@pytest.mark.parametrize(("make", "error", "message"), BAD_TARGETS)
def test_bad_targets(songs, make, error, message):
    with pytest.raises(error, match=message):
        MultiTargetSeparator(four_steps()).fit(songs.mixtures, make(songs))


def test_scores_of_other_stems(songs, model):
    three = [{stem: stems[stem] for stem in STEMS[:3]} for stems in songs.stems]
    with pytest.raises(ValueError, match=r"has the stems \['bass', 'drums', 'vocals'\], but"):
        model.score(songs.mixtures, three)
    silent = [{**stems, "drums": np.zeros(RATE, np.float32)} for stems in songs.stems]
    with pytest.raises(ValueError, match=r"stem 'drums' cannot be scored.*silent"):
        model.score(songs.mixtures, silent)


@pytest.mark.parametrize("exponent", [0.0, -1.0, 11.0, "a"])
def test_bad_exponents(songs, exponent):
    with pytest.raises((ValueError, TypeError), match="exponent must be"):
        MultiTargetSeparator(four_steps(), exponent=exponent).fit(songs.mixtures, songs.stems)
