"""Searches on Dask's workers, on threads, and with growing budgets."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import soundfile
from helpers import assert_same, four_steps
from sklearn.base import clone
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingGridSearchCV,
    cross_validate,
)
from sklearn.pipeline import Pipeline
from sklearn.utils import Bunch
from skorch.callbacks import Callback, LRScheduler

from sksep import MelChunker, UNetSeparator, WaveformCache
from sksep.datasets import make_songs
from sksep.metrics import nsdr_scorer, sdr_scorer

# As on the workers.
pytestmark = pytest.mark.usefixtures("one_thread")
_RATE = 8000
# Candidates that differ in the first step, and in the last.
_GRID = [{"chunk__n_mels": [None]}, {"invert__n_iter": [0]}]
# Values of a search that depend on when and where it ran.
_INCIDENTAL = ("time", "process")


def process_id(estimator: Any, X: Any, y: Any) -> int:
    """Return the process of a fit and its scoring, as a scorer."""
    return os.getpid()


_SCORING = {"sdr": sdr_scorer, "nsdr": nsdr_scorer, "process": process_id}


class Slow(Callback):
    """Let other threads run between the steps of a training."""

    def on_batch_end(self, net: Any, **kwargs: Any) -> None:
        time.sleep(0.002)


@pytest.fixture(scope="module")
def songs() -> Bunch:
    """Six songs of three singers, with different lengths."""
    bunch = make_songs(6, 0.8, sample_rate=_RATE, random_state=1)
    for name in ("mixtures", "vocals"):
        bunch[name] = [track[: 6400 - 16 * index] for index, track in enumerate(bunch[name])]
    return bunch


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two processes with one thread each."""
    pytest.importorskip("dask")
    distributed = pytest.importorskip("distributed")
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            host="127.0.0.1",
            dashboard_address=None,
            local_directory=str(tmp_path_factory.mktemp("dask")),
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def assert_same_results(first: dict[str, Any], second: dict[str, Any]) -> None:
    assert first.keys() == second.keys()
    for name in first:
        if any(word in name for word in _INCIDENTAL):
            continue
        if name.startswith("param"):
            assert list(first[name]) == list(second[name])
        elif name != "estimator":
            np.testing.assert_array_equal(first[name], second[name], err_msg=name)


# Dask.


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "cached"), [("arrays", False), ("paths", False), ("paths", True)])
def test_grid_search_on_dask(
    client: Any, songs: Bunch, tmp_path: Path, kind: str, cached: bool
) -> None:
    X, y = songs.mixtures, songs.vocals
    if kind == "paths":
        X = [str(tmp_path / f"mixture-{index}.wav") for index in range(len(X))]
        y = [path.replace("mixture", "vocals") for path in X]
        for path, samples in zip(X + y, songs.mixtures + songs.vocals, strict=True):
            soundfile.write(path, samples, 11025, subtype="FLOAT")

    def search(name: str) -> GridSearchCV:
        return GridSearchCV(
            four_steps(memory=str(tmp_path / name) if cached else None),
            _GRID,
            scoring=_SCORING,
            refit="sdr",
            cv=GroupKFold(2),
            error_score="raise",
        )

    sequential = search("sequential").fit(X, y, groups=songs.groups)
    options = {"scatter": [X, y]} if kind == "arrays" else {}
    with joblib.parallel_config(backend="dask", **options):
        distributed = search("distributed").fit(X, y, groups=songs.groups)
    assert_same_results(sequential.cv_results_, distributed.cv_results_)
    assert_same(sequential.best_estimator_.predict(X), distributed.best_estimator_.predict(X))
    workers = set(client.run(os.getpid).values())
    processes = {distributed.cv_results_[f"split{split}_test_process"][0] for split in range(2)}
    assert processes <= workers and os.getpid() not in workers


@pytest.mark.slow
def test_cross_validation_on_dask(client: Any, songs: Bunch) -> None:
    pipe = four_steps(
        separate__max_epochs=2,
        separate__callbacks=[LRScheduler("StepLR", step_size=1), ("slow", Slow())],
        separate__verbose=1,
    )
    options = {
        "groups": songs.groups,
        "cv": GroupKFold(3),
        "scoring": _SCORING,
        "return_estimator": True,
        "error_score": "raise",
    }
    sequential = cross_validate(clone(pipe), songs.mixtures, songs.vocals, **options)
    with joblib.parallel_config(backend="dask"):
        distributed = cross_validate(clone(pipe), songs.mixtures, songs.vocals, **options)
    assert_same_results(sequential, distributed)
    assert set(distributed["test_process"]) <= set(client.run(os.getpid).values())
    # Fitted estimators come back whole.
    for one, other in zip(sequential["estimator"], distributed["estimator"], strict=True):
        assert_same(one.predict(songs.mixtures), other.predict(songs.mixtures))
        assert one["separate"].loss_curve_ == other["separate"].loss_curve_


@pytest.mark.slow
def test_waveforms_are_prepared_on_dask(
    client: Any, songs: Bunch, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [str(tmp_path / f"{index}.wav") for index in range(len(songs.mixtures))]
    for path, samples in zip(paths, songs.mixtures, strict=True):
        soundfile.write(path, samples, 11025, subtype="FLOAT")
    time_of_change = Path(paths[4]).stat().st_mtime_ns
    cache = WaveformCache(tmp_path / "waveforms")
    chunker = MelChunker(sample_rate=_RATE, cache=cache)
    # Files that are read here are not read by a worker.
    with monkeypatch.context() as here, joblib.parallel_config(backend="dask"):
        here.setattr("sksep.audio._track.Track.mono", lambda *_: pytest.fail("prepared here"))
        cached = chunker.fit_transform(paths)
        with pytest.raises(ValueError, match=r"4.wav.*changed"):
            os.utime(paths[4], ns=(1, 1))
            tracks = [record.track for record in cached]
            cache.set_params(folder=tmp_path / "others").waveforms(tracks, _RATE)
    assert len(list((tmp_path / "waveforms").iterdir())) == len(paths)
    os.utime(paths[4], ns=(time_of_change, time_of_change))
    for record, expected in zip(
        cached, MelChunker(sample_rate=_RATE).transform(paths), strict=True
    ):
        np.testing.assert_allclose(record.waveform, expected.waveform, atol=0.51 / 32767)


@pytest.mark.slow
def test_errors_of_workers_name_the_track(client: Any, songs: Bunch, tmp_path: Path) -> None:
    missing = [str(tmp_path / "missing.wav")] * len(songs.groups)
    with (
        joblib.parallel_config(backend="dask"),
        pytest.raises(FileNotFoundError, match=r"missing\.wav"),
    ):
        cross_validate(
            four_steps(),
            missing,
            missing,
            groups=songs.groups,
            cv=GroupKFold(2),
            error_score="raise",
        )


@pytest.mark.slow
def test_halving_on_dask(client: Any, songs: Bunch) -> None:
    sequential = halve_epochs(songs, 2)
    with joblib.parallel_config(backend="dask"):
        distributed = halve_epochs(songs, 2)
    assert_same_results(sequential.cv_results_, distributed.cv_results_)


# Threads, also those of a Dask worker that has several.


def test_threads_do_not_share_random_numbers(songs: Bunch) -> None:
    pipe = four_steps(separate__max_epochs=3, separate__callbacks=[Slow()], invert__n_iter=0)
    options = {"groups": songs.groups, "cv": GroupKFold(3), "error_score": "raise"}
    options["return_estimator"] = True
    sequential = cross_validate(pipe, songs.mixtures, songs.vocals, **options)
    with joblib.parallel_config(backend="threading", n_jobs=3):
        threaded = cross_validate(pipe, songs.mixtures, songs.vocals, **options)
    for one, other in zip(sequential["estimator"], threaded["estimator"], strict=True):
        assert one["separate"].loss_curve_ == other["separate"].loss_curve_
    np.testing.assert_array_equal(sequential["test_score"], threaded["test_score"])


# Halving.


def halve_epochs(songs: Bunch, n_candidates: int) -> HalvingGridSearchCV:
    search = HalvingGridSearchCV(
        four_steps(separate__schedule=None, separate__dropout=0.0, invert__n_iter=0),
        {"separate__lr": [1e-4, 1e-3, 1e-2, 3e-2][:n_candidates]},
        resource="separate__max_epochs",
        min_resources=1,
        max_resources=n_candidates,
        factor=2,
        cv=GroupKFold(2),
        scoring=sdr_scorer,
        return_train_score=False,
        error_score="raise",
        random_state=0,
    )
    return search.fit(songs.mixtures, songs.vocals, groups=songs.groups)


def test_halving_with_epochs(songs: Bunch, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = UNetSeparator.fit
    trained: list[int] = []

    def recording(self: UNetSeparator, X: Any, y: Any = None) -> Any:
        assert not hasattr(self, "net_")  # each iteration trains its candidates anew
        result = fit(self, X, y)
        trained.append(self.n_epochs_)
        return result

    monkeypatch.setattr(UNetSeparator, "fit", recording)
    search = halve_epochs(songs, 4)
    assert search.n_resources_ == [1, 2, 4]
    assert search.n_candidates_ == [4, 2, 1]
    # In two folds there are many short trainings and few long ones, then the best on all tracks.
    assert trained == [1] * 8 + [2] * 4 + [4] * 2 + [4]
    assert search.best_params_["separate__max_epochs"] == 4
    # The score of a candidate is that of a single training of this length.
    alone = clone(search.estimator).set_params(**search.best_params_)
    scores = cross_validate(
        alone,
        songs.mixtures,
        songs.vocals,
        groups=songs.groups,
        cv=GroupKFold(2),
        scoring=sdr_scorer,
    )["test_score"]
    assert search.best_score_ == scores.mean()


def test_halving_with_tracks_keeps_groups_apart(
    songs: Bunch, monkeypatch: pytest.MonkeyPatch
) -> None:
    fit = Pipeline.fit
    group_of = {
        len(track): group for track, group in zip(songs.mixtures, songs.groups, strict=True)
    }
    splits: list[tuple[list[str], list[str]]] = []

    def recording_fit(self: Pipeline, X: Any, y: Any = None, **params: Any) -> Any:
        splits.append(([group_of[len(track)] for track in X], []))
        return fit(self, X, y, **params)

    def recording_score(estimator: Any, X: Any, y: Any) -> float:
        splits[-1][1].extend(group_of[len(track)] for track in X)
        return sdr_scorer(estimator, X, y)

    monkeypatch.setattr(Pipeline, "fit", recording_fit)
    search = HalvingGridSearchCV(
        four_steps(invert__n_iter=0),
        {"separate__lr": [1e-3, 1e-2]},
        min_resources=3,
        factor=2,
        cv=GroupKFold(3),
        scoring=recording_score,
        return_train_score=False,
        error_score="raise",
        random_state=0,
    )
    search.fit(songs.mixtures, songs.vocals, groups=songs.groups)
    assert search.n_resources_ == [3, 6]
    *candidates, (refitted, _) = splits
    assert [len(train) for train, _ in candidates] == [2] * 6 + [4] * 3
    assert [len(test) for _, test in candidates] == [1] * 6 + [2] * 3
    assert all(test and not set(train) & set(test) for train, test in candidates)
    assert len(refitted) == 6
