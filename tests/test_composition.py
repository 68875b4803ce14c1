"""The estimators inside scikit-learn's pipelines, searches, caches and configuration."""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import sklearn
import soundfile
from helpers import assert_same, four_steps
from packaging.version import Version
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    KFold,
    RandomizedSearchCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import Bunch
from sklearn.utils.validation import check_is_fitted

import sksep
from sksep import Augmentation, MelChunker, StreamingSeparator, UNetSeparator
from sksep.base._batch import TrackBatch
from sksep.datasets import load_folder, load_mir1k, make_songs
from sksep.metrics import nsdr_scorer, sdr, sdr_scorer, si_sdr_scorer
from sksep.training._net import SeparationNet

_RATE = 8000
_LENGTHS = (9000, 8000, 8000, 7001)
# Every step, and a parameter inside a parameter.
_GRID = {
    "chunk__n_mels": [24, None],
    "separate__augmentation__true_pairs": [0.5],
    "separate__lr": [1e-3],
    "invert__n_iter": [0, 1],
}


@pytest.fixture(scope="module")
def songs() -> Bunch:
    """Four songs of two singers, of different lengths."""
    bunch = make_songs(4, 1.2, sample_rate=_RATE, random_state=1)
    for name in ("mixtures", "vocals", "accompaniments"):
        bunch[name] = [track[:n] for track, n in zip(bunch[name], _LENGTHS, strict=True)]
    return bunch


@pytest.fixture
def files(songs: Bunch, tmp_path: Path) -> Bunch:
    """The same songs as paths. They play slower at 11025 Hz, which does not matter here."""
    bunch = Bunch(groups=songs.groups)
    for name in ("mixtures", "vocals"):
        bunch[name] = [str(tmp_path / f"{name}-{index}.wav") for index in range(4)]
        for path, samples in zip(bunch[name], songs[name], strict=True):
            soundfile.write(path, samples, 11025, subtype="FLOAT")
    return bunch


def three_steps(**parameters: Any) -> Pipeline:
    return Pipeline(four_steps().steps[:-1]).set_params(**parameters)


@pytest.fixture(scope="module")
def fitted(songs: Bunch) -> Pipeline:
    return four_steps().fit(songs.mixtures, songs.vocals)


@pytest.fixture
def n_steps(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[None]]:
    """A list that grows with every training step in this process."""
    steps: list[None] = []
    train_step = SeparationNet.train_step_single

    def counting(self: SeparationNet, *args: Any, **kwargs: Any) -> Any:
        steps.append(None)
        return train_step(self, *args, **kwargs)

    monkeypatch.setattr(SeparationNet, "train_step_single", counting)
    yield steps


def assert_like(estimates: Any, mixtures: list[np.ndarray]) -> None:
    """Assert that predictions look like the vocals of these mixtures."""
    assert isinstance(estimates, np.ndarray)
    assert estimates.dtype == object
    assert [estimate.shape for estimate in estimates] == [track.shape for track in mixtures]
    assert all(np.isfinite(estimate).all() for estimate in estimates)


# Pipelines.


@pytest.mark.parametrize("make_pipe", [three_steps, four_steps])
def test_fit_predict_score(make_pipe: Any, songs: Bunch) -> None:
    pipe = make_pipe()
    assert pipe.fit(songs.mixtures, songs.vocals) is pipe
    estimates = pipe.predict(songs.mixtures)
    assert_like(estimates, songs.mixtures)
    expected = [sdr(true, estimate) for true, estimate in zip(songs.vocals, estimates, strict=True)]
    assert pipe.score(songs.mixtures, songs.vocals) == pytest.approx(np.mean(expected))
    # Fewer tracks, which it was not fitted on.
    other = make_songs(1, 0.5, sample_rate=_RATE, random_state=9)
    assert_like(pipe.predict(other.mixtures), other.mixtures)


def test_three_and_four_steps_agree(fitted: Pipeline, songs: Bunch) -> None:
    separated = fitted[:-1]
    copy = pickle.loads(pickle.dumps(fitted)).set_params(invert__n_iter=0)
    assert_same(separated.predict(songs.mixtures), copy.predict(songs.mixtures))


def test_steps_by_hand(fitted: Pipeline, songs: Bunch) -> None:
    batch = fitted[:-1].transform(songs.mixtures)
    assert isinstance(batch, TrackBatch)
    assert all(record.mask is not None and record.targets is None for record in batch)
    assert_same(fitted["invert"].predict(batch), fitted.predict(songs.mixtures))
    assert_same(fitted["invert"].transform(batch), fitted.transform(songs.mixtures))
    masks = fitted["separate"].predict_mask(fitted[:2].transform(songs.mixtures))
    assert_same(list(masks), [record.mask for record in batch])


def test_fitting_a_pipeline_estimates_no_masks(
    songs: Bunch, monkeypatch: pytest.MonkeyPatch
) -> None:
    estimated: list[None] = []
    estimate = UNetSeparator._estimate_mask

    def counting(self: UNetSeparator, record: Any) -> Any:
        estimated.append(None)
        return estimate(self, record)

    monkeypatch.setattr(UNetSeparator, "_estimate_mask", counting)
    pipe = four_steps().fit(songs.mixtures, songs.vocals)
    assert estimated == []
    pipe.predict(songs.mixtures)
    assert len(estimated) == len(songs.mixtures)


def test_masks_of_the_training_tracks_are_those_of_this_fit(songs: Bunch) -> None:
    pipe = four_steps()
    targets = pipe[:2].fit_transform(songs.mixtures, songs.vocals)
    separator = pipe["separate"]
    batch = separator.fit_transform(targets)
    expected = separator.predict_mask(targets)
    assert "mask" in repr(batch[0]) and not batch[0].mask.flags.writeable
    restored = pickle.loads(pickle.dumps(batch))
    separator.set_params(lr=0.03, random_state=5).fit(targets)
    for first, second, mask in zip(batch, restored, expected, strict=True):
        assert_same([first.mask, second.mask], [mask, mask])
    assert any(
        (mask != other).any()
        for mask, other in zip(separator.predict_mask(targets), expected, strict=True)
    )


def test_fit_predict_methods_agree_with_fit(fitted: Pipeline, songs: Bunch) -> None:
    estimates = four_steps().fit_transform(songs.mixtures, songs.vocals)
    assert_like(estimates, songs.mixtures)
    assert_same(estimates, fitted.predict(songs.mixtures))


def test_accompaniment_is_the_rest(fitted: Pipeline, songs: Bunch) -> None:
    for mixture, vocals in zip(songs.mixtures, fitted.predict(songs.mixtures), strict=True):
        accompaniment = mixture - vocals
        assert accompaniment.dtype == np.float32
        np.testing.assert_allclose(accompaniment + vocals, mixture, atol=1e-7)


@pytest.mark.parametrize("make_pipe", [three_steps, four_steps])
def test_unfitted(make_pipe: Any, songs: Bunch) -> None:
    pipe = make_pipe()
    with pytest.raises(NotFittedError):
        check_is_fitted(pipe)
    with pytest.raises(NotFittedError):
        pipe.predict(songs.mixtures)
    with pytest.raises(NotFittedError):
        pipe.score(songs.mixtures, songs.vocals)
    check_is_fitted(pipe.fit(songs.mixtures, songs.vocals))


def test_fit_without_vocals(songs: Bunch) -> None:
    with pytest.raises(ValueError, match=r"needs the vocals .* fit\(mixtures, vocals\)"):
        four_steps().fit(songs.mixtures)
    with pytest.raises(ValueError, match="one to one"):
        four_steps().fit(songs.mixtures, songs.vocals[:3])


def test_forgotten_steps(songs: Bunch) -> None:
    pipe = four_steps()
    without_masks = Pipeline([step for step in pipe.steps if step[0] != "mask"])
    with pytest.raises(ValueError, match="Put a MaskBuilder before this step"):
        without_masks.fit(songs.mixtures, songs.vocals)
    with pytest.raises(TypeError, match="Put a MelChunker before this step"):
        pipe[1:].fit(songs.mixtures, songs.vocals)
    without_separator = Pipeline([step for step in pipe.steps if step[0] != "separate"])
    without_separator.fit(songs.mixtures, songs.vocals)
    with pytest.raises(ValueError, match="Put a separator before the inverter"):
        without_separator.predict(songs.mixtures)


def test_passthrough_and_functions(fitted: Pipeline, songs: Bunch) -> None:
    steps = list(four_steps().steps)
    pipe = Pipeline(
        [
            ("louder", FunctionTransformer(_amplify)),
            steps[0],
            ("nothing", "passthrough"),
            steps[1],
            ("identity", FunctionTransformer()),
            *steps[2:],
            ("nothing more", None),
        ]
    )
    pipe.fit(songs.mixtures, [2.0 * track for track in songs.vocals])
    assert_like(pipe.transform(songs.mixtures), songs.mixtures)
    assert_same(
        Pipeline(
            [
                ("identity", FunctionTransformer()),
                *fitted.steps[:2],
                ("nothing", "passthrough"),
                *fitted.steps[2:],
            ]
        ).predict(songs.mixtures),
        fitted.predict(songs.mixtures),
    )


def _amplify(tracks: list[np.ndarray]) -> list[np.ndarray]:
    return [2.0 * track for track in tracks]


def test_make_pipeline_and_nesting(songs: Bunch) -> None:
    steps = [step for _, step in four_steps().steps]
    flat = make_pipeline(*steps).fit(songs.mixtures, songs.vocals)
    nested = make_pipeline(make_pipeline(*steps[:3]), steps[3]).fit(songs.mixtures, songs.vocals)
    assert_same(nested.predict(songs.mixtures), flat.predict(songs.mixtures))


def test_clone_pickle_and_joblib(fitted: Pipeline, songs: Bunch, tmp_path: Path) -> None:
    expected = fitted.predict(songs.mixtures)
    assert_same(pickle.loads(pickle.dumps(fitted)).predict(songs.mixtures), expected)
    joblib.dump(fitted, tmp_path / "pipe.joblib")
    assert_same(joblib.load(tmp_path / "pipe.joblib").predict(songs.mixtures), expected)
    sksep.save(fitted, tmp_path / "pipe.safetensors")
    assert_same(sksep.load(tmp_path / "pipe.safetensors").predict(songs.mixtures), expected)
    again = clone(fitted)
    with pytest.raises(NotFittedError):
        again.predict(songs.mixtures)
    again.fit(songs.mixtures, songs.vocals)
    assert_same(again.predict(songs.mixtures), expected)


def test_setting_parameters_keeps_the_weights(fitted: Pipeline, songs: Bunch) -> None:
    copy = pickle.loads(pickle.dumps(fitted))
    copy.set_params(separate__lr=0.1, separate__augmentation__true_pairs=1.0, separate__verbose=1)
    assert_same(copy.predict(songs.mixtures), fitted.predict(songs.mixtures))


def test_html_repr(fitted: Pipeline) -> None:
    for pipe in (four_steps(), fitted):
        html = pipe._repr_html_()
        for name in ("MelChunker", "MaskBuilder", "UNetSeparator", "GriffinLimInverter"):
            assert name in html
            assert name in repr(pipe)


# Files.


@pytest.mark.parametrize("form", ["list", "array", "objects", "os.PathLike"])
def test_collections_of_paths(files: Bunch, fitted: Pipeline, form: str) -> None:
    forms = {
        "list": list,
        "array": np.array,
        "objects": lambda paths: np.array(paths, dtype=object),
        "os.PathLike": lambda paths: [Path(path) for path in paths],
    }
    mixtures, vocals = forms[form](files.mixtures), forms[form](files.vocals)
    pipe = four_steps().fit(mixtures, vocals)
    estimates = pipe.predict(mixtures)
    assert_like(estimates, [soundfile.read(path)[0] for path in files.mixtures])
    assert np.isfinite(pipe.score(mixtures, vocals))
    scores = cross_val_score(pipe, mixtures, vocals, cv=2, error_score="raise")
    assert np.isfinite(scores).all()


def test_rates_channels_and_files_in_one_collection(songs: Bunch, tmp_path: Path) -> None:
    stereo = make_songs(1, 1.0, sample_rate=22050, n_channels=2, random_state=3)
    for name in ("mixture", "vocals"):
        samples = stereo[name if name == "vocals" else "mixtures"][0]
        soundfile.write(tmp_path / f"{name}.wav", samples.T, 22050)
    mixtures = [songs.mixtures[0], tmp_path / "mixture.wav"]
    vocals = [songs.vocals[0], str(tmp_path / "vocals.wav")]
    pipe = four_steps().fit(mixtures, vocals)
    assert_like(pipe.predict(mixtures), [songs.mixtures[0], stereo.mixtures[0]])
    assert np.isfinite(pipe.score(mixtures, vocals))


# Cross-validation and searches.


def test_cross_validate(songs: Bunch) -> None:
    result = cross_validate(
        four_steps(),
        songs.mixtures,
        songs.vocals,
        groups=songs.groups,
        cv=GroupKFold(2),
        scoring={"sdr": sdr_scorer, "si_sdr": si_sdr_scorer, "nsdr": nsdr_scorer},
        return_train_score=True,
        return_estimator=True,
        return_indices=True,
        error_score="raise",
    )
    for part in ("test", "train"):
        for name in ("sdr", "si_sdr", "nsdr"):
            assert result[f"{part}_{name}"].shape == (2,)
            assert np.isfinite(result[f"{part}_{name}"]).all()
    for fold in (0, 1):
        test = result["indices"]["test"][fold]
        assert len(set(songs.groups[test])) == 1
        mixtures, vocals = [songs.mixtures[i] for i in test], [songs.vocals[i] for i in test]
        score = result["estimator"][fold].score(mixtures, vocals)
        assert score == pytest.approx(result["test_sdr"][fold])


def test_cross_validate_by_default_scores_the_sdr(songs: Bunch) -> None:
    for pipe in (three_steps(), four_steps()):
        data = (pipe, songs.mixtures, songs.vocals)
        scores = cross_val_score(*data, cv=2, error_score="raise")
        np.testing.assert_allclose(scores, cross_val_score(*data, cv=2, scoring=sdr_scorer))


@pytest.mark.parametrize("cv", [KFold(2), KFold(4, shuffle=True, random_state=0)])
def test_cross_val_predict(songs: Bunch, cv: KFold) -> None:
    pipe = four_steps()
    estimates = cross_val_predict(pipe, songs.mixtures, songs.vocals, cv=cv)
    assert_like(estimates, songs.mixtures)
    train, test = next(iter(cv.split(songs.mixtures)))
    pipe.fit([songs.mixtures[i] for i in train], [songs.vocals[i] for i in train])
    assert_same(pipe.predict([songs.mixtures[i] for i in test]), estimates[test])


def test_cross_val_predict_tracks_of_one_length(songs: Bunch) -> None:
    mixtures, vocals = (
        np.stack([t[:4000] for t in songs[name]]) for name in ("mixtures", "vocals")
    )
    estimates = cross_val_predict(four_steps(), mixtures, vocals, cv=2)
    assert_like(estimates, list(mixtures))


def test_separator_alone_in_cross_validation(songs: Bunch) -> None:
    """scikit-learn's indexing turns batches into lists of records."""
    *steps, separator = [step for _, step in three_steps().steps]
    batch = make_pipeline(*steps).fit_transform(songs.mixtures, songs.vocals)
    scores = cross_val_score(separator, batch, songs.vocals, cv=2, error_score="raise")
    assert np.isfinite(scores).all()
    estimates = cross_val_predict(separator, batch, songs.vocals, cv=2)
    assert_like(estimates, songs.mixtures)


def test_pipelines_within_pipelines(songs: Bunch) -> None:
    flat = four_steps().fit(songs.mixtures, songs.vocals)
    nested = Pipeline([("first", flat[:2]), ("second", flat[2:])])
    expected = flat.predict(songs.mixtures)
    assert_same(nested.predict(songs.mixtures), expected)
    for model in (nested, Pipeline([("all", nested)])):
        vocals = sksep.separate(songs.mixtures[0], model, sample_rate=8000).vocals
        assert_same(vocals, expected[0], 1e-6)
        assert StreamingSeparator(model).sample_rate == 8000


def test_grid_search(songs: Bunch) -> None:
    search = GridSearchCV(
        four_steps(),
        {**_GRID, "mask__ratio": ["power", "magnitude"], "chunk__n_mels": [24]},
        scoring={"sdr": sdr_scorer, "nsdr": nsdr_scorer},
        refit="sdr",
        cv=GroupKFold(2),
        n_jobs=2,
        error_score="raise",
    )
    search.fit(songs.mixtures, songs.vocals, groups=songs.groups)
    assert len(search.cv_results_["params"]) == 4
    assert np.isfinite(search.cv_results_["mean_test_sdr"]).all()
    assert np.isfinite(search.cv_results_["mean_test_nsdr"]).all()
    assert_like(search.predict(songs.mixtures), songs.mixtures)
    best = clone(four_steps()).set_params(**search.best_params_).fit(songs.mixtures, songs.vocals)
    assert_same(best.predict(songs.mixtures), search.best_estimator_.predict(songs.mixtures))
    score = search.score(songs.mixtures, songs.vocals)
    assert score == pytest.approx(best.score(songs.mixtures, songs.vocals))


def test_randomized_search_over_files(files: Bunch) -> None:
    search = RandomizedSearchCV(
        four_steps(),
        _GRID,
        n_iter=2,
        scoring=si_sdr_scorer,
        cv=GroupKFold(2),
        n_jobs=2,
        random_state=0,
        error_score="raise",
    )
    search.fit(np.array(files.mixtures), np.array(files.vocals), groups=files.groups)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert_like(
        search.predict(files.mixtures), [soundfile.read(path)[0] for path in files.mixtures]
    )


def test_search_over_steps(songs: Bunch) -> None:
    """Whole steps and presets of front ends are parameters, too."""
    small = UNetSeparator(
        architecture="singing_voice", n_filters=2, n_levels=2, max_epochs=1, random_state=0
    )
    grid = [
        {
            "chunk": [
                MelChunker(sample_rate=_RATE, n_fft=512, hop_length=128, n_mels=None, n_frames=16)
            ]
        },
        {"separate__augmentation": [False, Augmentation(pitch_shift_range=(-1, 1))]},
        {
            "separate__augmentation__formant_range": [(0.8, 1.25)],
            "separate__weight_averaging": [0.9],
        },
        {"separate": [small]},
    ]
    search = GridSearchCV(four_steps(), grid, cv=2, error_score="raise", scoring=nsdr_scorer)
    search.fit(songs.mixtures, songs.vocals)
    assert len(search.cv_results_["params"]) == 5
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


def test_unknown_parameter_names_the_step(songs: Bunch) -> None:
    with pytest.raises(ValueError, match="learning_rate"):
        four_steps().set_params(separate__learning_rate=0.1)
    # Only an object, not True, has parameters of its own.
    with pytest.raises((ValueError, AttributeError)):
        four_steps(separate__augmentation=True).set_params(separate__augmentation__true_pairs=0.1)


# Caching.


def test_memory_trains_once(songs: Bunch, tmp_path: Path, n_steps: list[None]) -> None:
    pipe = four_steps(memory=str(tmp_path)).fit(songs.mixtures, songs.vocals)
    n_before = len(n_steps)
    assert n_before > 0
    pipe.set_params(invert__n_iter=0).fit(songs.mixtures, songs.vocals)
    fresh = four_steps(memory=joblib.Memory(str(tmp_path), verbose=0), invert__momentum=0.5)
    fresh.fit([track.copy() for track in songs.mixtures], songs.vocals)
    assert len(n_steps) == n_before
    # Inputs from the cache, pickled and read-only again, give the same result.
    expected = four_steps(invert__n_iter=0).fit(songs.mixtures, songs.vocals)
    assert_same(pipe.predict(songs.mixtures), expected.predict(songs.mixtures))
    n_before = len(n_steps)
    for name, value in (("separate__lr", 0.01), ("mask__ratio", "magnitude"), ("chunk__f_min", 9)):
        pipe.set_params(**{name: value}).fit(songs.mixtures, songs.vocals)
        assert len(n_steps) > n_before, name
        n_before = len(n_steps)
    pipe.fit(songs.mixtures, [0.5 * track for track in songs.vocals])
    assert len(n_steps) > n_before


def test_memory_in_a_search_trains_once_per_fold(
    songs: Bunch, tmp_path: Path, n_steps: list[None]
) -> None:
    def count(memory: Any) -> int:
        n_before = len(n_steps)
        search = GridSearchCV(
            four_steps(memory=memory), {"invert__n_iter": [0, 1, 2]}, cv=2, refit=False
        )
        search.fit(songs.mixtures, songs.vocals)
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()
        return len(n_steps) - n_before

    assert count(None) == 3 * count(str(tmp_path))


def test_memory_with_files(files: Bunch, tmp_path: Path, n_steps: list[None]) -> None:
    pipe = four_steps(memory=str(tmp_path / "cache")).fit(files.mixtures, files.vocals)
    n_before = len(n_steps)
    pipe.set_params(invert__n_iter=0).fit(files.mixtures, files.vocals)
    assert len(n_steps) == n_before
    assert np.isfinite(pipe.score(files.mixtures, files.vocals))


@pytest.mark.parametrize("changed", ["mixtures", "vocals"])
@pytest.mark.parametrize("make_pipe", [three_steps, four_steps])
def test_memory_with_changed_files(
    files: Bunch, tmp_path: Path, make_pipe: Any, changed: str
) -> None:
    """A cache identifies files by paths. It must not use old features or targets silently."""
    pipe = make_pipe(memory=str(tmp_path / "cache")).fit(files.mixtures, files.vocals)
    path = files[changed][1]
    samples, rate = soundfile.read(path, dtype="float32")
    soundfile.write(path, 0.5 * samples, rate, subtype="FLOAT")
    later = time.time_ns() + 10**9  # even if the clock of the file system is coarse
    os.utime(path, ns=(later, later))
    with pytest.raises(ValueError, match=f"{changed}-1.wav.* has changed on disk.*clear the cache"):
        pipe.fit(files.mixtures, files.vocals)
    # Without a cache, or with an empty one, the new file is read.
    joblib.Memory(tmp_path / "cache", verbose=0).clear(warn=False)
    pipe.fit(files.mixtures, files.vocals)
    assert np.isfinite(pipe.score(files.mixtures, files.vocals))


# Configuration.


@pytest.mark.parametrize("make_pipe", [three_steps, four_steps])
def test_sample_weight_without_routing(make_pipe: Any, songs: Bunch) -> None:
    pipe = make_pipe().fit(songs.mixtures, songs.vocals)
    alone = pipe.score(songs.mixtures[1:2], songs.vocals[1:2])
    weighted = pipe.score(songs.mixtures, songs.vocals, sample_weight=[0, 1, 0, 0])
    assert weighted == pytest.approx(alone, abs=1e-6)


def test_metadata_routing(songs: Bunch) -> None:
    weights = np.array([0.0, 2.0, 1.0, 0.0])
    plain = four_steps().fit(songs.mixtures, songs.vocals)
    expected = plain.score(songs.mixtures, songs.vocals, sample_weight=weights)
    with sklearn.config_context(enable_metadata_routing=True):
        pipe = four_steps()
        pipe["separate"].set_fit_request(sample_weight=False)
        pipe["invert"].set_score_request(sample_weight=True)
        pipe.fit(songs.mixtures, songs.vocals)
        score = pipe.score(songs.mixtures, songs.vocals, sample_weight=weights)
        assert score == pytest.approx(expected)
        assert clone(pipe).get_metadata_routing() is not None
        results = []
        # Before scikit-learn 1.8, the requests of a pipeline for its own score are not found.
        own = None if Version(sklearn.__version__) >= Version("1.8") else sdr_scorer
        for scorer in (own, sdr_scorer, si_sdr_scorer, nsdr_scorer):
            scoring = scorer and clone_scorer(scorer).set_score_request(sample_weight=True)
            results.append(
                cross_validate(
                    pipe,
                    songs.mixtures,
                    songs.vocals,
                    scoring=scoring,
                    cv=GroupKFold(2),
                    params={"sample_weight": weights, "groups": songs.groups},
                    error_score="raise",
                    return_estimator=True,
                    return_indices=True,
                )
            )
    np.testing.assert_allclose(results[0]["test_score"], results[1]["test_score"])
    for fold, test in enumerate(results[0]["indices"]["test"]):
        # Each fold has one song of weight zero, so that the score is that of the other.
        counted = [index for index in test if weights[index]]
        data = [[songs[name][i] for i in counted] for name in ("mixtures", "vocals")]
        for result, scorer in zip(
            results[1:], (sdr_scorer, si_sdr_scorer, nsdr_scorer), strict=True
        ):
            alone = scorer(result["estimator"][fold], *data)
            assert result["test_score"][fold] == pytest.approx(alone, abs=1e-6)


def test_metadata_routing_in_a_search(songs: Bunch) -> None:
    with sklearn.config_context(enable_metadata_routing=True):
        pipe = four_steps()
        pipe["separate"].set_fit_request(sample_weight=True)
        search = GridSearchCV(
            pipe,
            {"invert__n_iter": [0, 1]},
            scoring=clone_scorer(sdr_scorer).set_score_request(sample_weight=True),
            cv=GroupKFold(2),
            error_score="raise",
        )
        search.fit(songs.mixtures, songs.vocals, sample_weight=np.ones(4), groups=songs.groups)
        assert np.isfinite(search.cv_results_["mean_test_score"]).all()
        assert_like(search.predict(songs.mixtures), songs.mixtures)


def clone_scorer(scorer: Any) -> Any:
    """Copy a scorer, since requests would change the one that all tests share."""
    return pickle.loads(pickle.dumps(scorer))


@pytest.mark.parametrize("output", ["default", "pandas"])
def test_output_containers_do_not_apply(fitted: Pipeline, songs: Bunch, output: str) -> None:
    with sklearn.config_context(transform_output=output):
        pipe = four_steps().fit(songs.mixtures, songs.vocals)
        assert_same(pipe.transform(songs.mixtures), fitted.predict(songs.mixtures))
        assert isinstance(pipe[:-1].transform(songs.mixtures), TrackBatch)
    # Tracks are not columns. scikit-learn says so if a container is asked for by name.
    with pytest.raises(ValueError, match="set_output"):
        four_steps().set_output(transform="pandas")


# Recordings.


def test_mir1k(data_home: Path) -> None:
    clips = load_mir1k(data_home / "mir1k")
    picked = [index for singer in ("abjones", "amy") for index in _shortest(clips, singer, 2)]
    mixtures, vocals = ([clips[name][i] for i in picked] for name in ("mixtures", "vocals"))
    result = cross_validate(
        four_steps(),
        mixtures,
        vocals,
        groups=clips.groups[picked],
        cv=GroupKFold(2),
        scoring={"sdr": sdr_scorer, "nsdr": nsdr_scorer},
        return_estimator=True,
        error_score="raise",
    )
    assert np.isfinite(result["test_sdr"]).all()
    assert np.isfinite(result["test_nsdr"]).all()
    estimates = result["estimator"][0].predict(mixtures)
    assert_like(estimates, [sksep.load_audio(mixture)[0] for mixture in mixtures])


def test_stems_of_musdb18(data_home: Path) -> None:
    songs = load_folder(data_home / "musdb18-7s" / "train")
    mixtures, vocals = songs.mixtures[:2], songs.vocals[:2]
    pipe = four_steps().fit(mixtures, vocals)
    estimate = pipe.predict(mixtures[:1])[0]
    mixture, rate = sksep.load_audio(mixtures[0])
    assert rate == 44100
    assert estimate.shape == mixture.shape
    assert mixture.shape[0] == 2
    assert np.isfinite(pipe.score(mixtures, vocals))


def _shortest(clips: Bunch, singer: str, count: int) -> list[int]:
    found = np.flatnonzero(clips.groups == singer)
    sizes = [Path(clips.mixtures[index].paths[0]).stat().st_size for index in found]
    return found[np.argsort(sizes)[:count]].tolist()
