"""Waveforms on disk, for training on recordings that do not fit in memory."""

import os
import shutil
import threading
import time
from pathlib import Path

import joblib
import numpy as np
import pytest
import safetensors
import safetensors.numpy
import soundfile
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import sksep
from sksep import (
    AudioSource,
    MaskBuilder,
    MelChunker,
    NMFSeparator,
    OracleMaskSeparator,
    UNetSeparator,
    WaveformCache,
)
from sksep.audio._cache import CachedWaveform
from sksep.audio._validation import check_tracks
from sksep.datasets import make_songs
from sksep.training import Augmentation
from sksep.training._dataset import ExcerptDataset
from sksep.utils import _files

RATE = 16000


@pytest.fixture
def files(tmp_path):
    """Mixtures and vocals of three songs of different lengths, at other rates than the model's."""
    songs = make_songs(3, duration=2.5, sample_rate=22050, n_channels=2, random_state=0)
    paths = {"mixtures": [], "vocals": []}
    for index in range(3):
        for name in paths:
            path = tmp_path / f"{name}-{index}.wav"
            samples = songs[name][index][:, : 55000 - 9000 * index]
            soundfile.write(path, samples.T, 22050, subtype="FLOAT")
            paths[name].append(str(path))
    return paths["mixtures"], paths["vocals"]


@pytest.fixture
def cache(tmp_path):
    return WaveformCache(tmp_path / "cache", verbose=0)


def batch_of(files, cache=None, **parameters):
    chunker = MelChunker(n_fft=512, n_mels=24, n_frames=20, cache=cache)
    return MaskBuilder(**parameters).fit_transform(chunker.fit_transform(files[0]), files[1])


def make(cache=None, **parameters):
    separator = UNetSeparator(
        n_filters=2, n_levels=2, batch_size=4, max_epochs=2, random_state=0, **parameters
    )
    chunker = MelChunker(n_fft=512, n_mels=24, n_frames=20, cache=cache)
    return make_pipeline(chunker, MaskBuilder(), separator)


def written(cache):
    return sorted(Path(cache.folder).glob("*"))


# Contents of the cache.


def test_waveforms_are_those_of_the_files(files, cache):
    tracks = check_tracks(files[0], RATE)
    waveforms = cache.waveforms(tracks, RATE)
    assert len(written(cache)) == 3
    for track, waveform in zip(tracks, waveforms, strict=True):
        expected = track.mono(RATE)
        assert isinstance(waveform, CachedWaveform) and len(waveform) == len(expected)
        assert waveform[:].dtype == np.float32
        # Half a step of 16 bits.
        np.testing.assert_allclose(waveform[:], expected, atol=0.51 / 32767)
        np.testing.assert_array_equal(waveform[100:300], waveform[:][100:300])
        assert len(waveform[5:5]) == len(waveform[10**9 :]) == 0


def test_nothing_is_clipped(tmp_path, cache):
    samples = np.linspace(-3.0, 2.0, 2000, dtype=np.float32)
    soundfile.write(tmp_path / "loud.wav", samples, RATE, subtype="FLOAT")
    (waveform,) = cache.waveforms(check_tracks([tmp_path / "loud.wav"], RATE), RATE)
    np.testing.assert_allclose(waveform[:], samples, atol=3.0 * 0.51 / 32767)


def test_sums_and_channels_of_files(files, cache):
    sources = [
        AudioSource((files[0][0], files[1][0])),
        AudioSource((files[0][0],), channel_gains=((0.0, 1.0),)),
        files[0][0],
    ]
    tracks = check_tracks(sources, RATE)
    waveforms = cache.waveforms(tracks, RATE)
    assert len(written(cache)) == 3  # each is an entry of its own
    for track, waveform in zip(tracks, waveforms, strict=True):
        np.testing.assert_allclose(waveform[:], track.mono(RATE), atol=2 * 0.51 / 32767)


def test_arrays_stay_in_memory(cache):
    array = np.random.default_rng(0).normal(0, 0.1, 4000).astype(np.float32)
    (waveform,) = cache.waveforms(check_tracks([array], RATE), RATE)
    np.testing.assert_array_equal(waveform, array)
    assert not Path(cache.folder).exists()


def test_files_are_prepared_once(files, cache, monkeypatch):
    tracks = check_tracks(files[0] + files[0], RATE)
    cache.waveforms(tracks, RATE)
    assert len(written(cache)) == 3  # the same file twice is one entry
    before = {path: path.stat().st_mtime_ns for path in written(cache)}
    monkeypatch.setattr("sksep.audio._cache._write", lambda *_: pytest.fail("prepared again"))
    cache.waveforms(check_tracks(files[0], RATE), RATE)
    assert {path: path.stat().st_mtime_ns for path in written(cache)} == before
    with pytest.raises(pytest.fail.Exception, match="prepared again"):
        cache.waveforms(check_tracks(files[0], RATE), 8000)  # another rate means another waveform


def test_a_file_that_changed_is_read_again(files, cache):
    path = files[0][0]
    (old,) = cache.waveforms(check_tracks([path], RATE), RATE)
    samples, rate = soundfile.read(path)
    soundfile.write(path, 0.5 * samples, rate, subtype="FLOAT")
    os.utime(path, ns=(1, 1))
    (new,) = cache.waveforms(check_tracks([path], RATE), RATE)
    np.testing.assert_allclose(new[:], 0.5 * old[:], atol=1 / 32767)
    assert len(old[:]) == len(new)  # the old one can still be read


@pytest.mark.parametrize(
    ("samples", "metadata"),
    [
        (np.zeros(9, np.float32), {"scale": "1.0", "n_samples": "9"}),
        (np.zeros(9, np.int16), {"scale": "1.0", "n_samples": "10"}),
        (np.zeros(0, np.int16), {"scale": "1.0"}),
        (np.zeros((3, 3), np.int16), {"scale": "1.0"}),
        *((np.zeros(9, np.int16), {"scale": scale}) for scale in ("nan", "inf", "0", "-1", "x")),
        (np.zeros(9, np.int16), {}),
        (np.zeros(9, np.int16), None),
    ],
)
def test_impossible_entries_are_written_anew(files, cache, samples, metadata):
    tracks = check_tracks(files[0][:1], RATE)
    (waveform,) = cache.waveforms(tracks, RATE)
    expected = waveform[:]
    safetensors.numpy.save_file({"samples": samples}, waveform.path, metadata)
    (waveform,) = cache.waveforms(tracks, RATE)
    np.testing.assert_array_equal(waveform[:], expected)


def test_entries_of_earlier_versions_are_read(files, cache, monkeypatch):
    tracks = check_tracks(files[0][:1], RATE)
    (waveform,) = cache.waveforms(tracks, RATE)
    expected = waveform[:]
    with safetensors.safe_open(waveform.path, "numpy") as file:
        samples, metadata = file.get_tensor("samples").copy(), file.metadata()
    del metadata["n_samples"]
    safetensors.numpy.save_file({"samples": samples}, waveform.path, metadata)
    monkeypatch.setattr("sksep.audio._cache._write", lambda *_: pytest.fail("prepared again"))
    np.testing.assert_array_equal(cache.waveforms(tracks, RATE)[0][:], expected)


def test_entries_have_the_permissions_of_other_files(files, cache, tmp_path):
    (waveform,) = cache.waveforms(check_tracks(files[0][:1], RATE), RATE)
    (tmp_path / "ordinary").touch()
    assert waveform.path.stat().st_mode == (tmp_path / "ordinary").stat().st_mode


@pytest.mark.parametrize("damage", [b"", b"nonsense", "truncated"])
def test_damaged_entries_are_written_anew(files, cache, damage):
    tracks = check_tracks(files[0][:1], RATE)
    (waveform,) = cache.waveforms(tracks, RATE)
    expected = waveform[:]
    content = waveform.path.read_bytes()
    waveform.path.write_bytes(content[:-100] if damage == "truncated" else damage)
    with pytest.raises(ValueError, match=r"X\[0\].*mixtures-0.wav.*Fit again"):
        waveform[:]
    (waveform,) = cache.waveforms(tracks, RATE)
    np.testing.assert_array_equal(waveform[:], expected)


def test_what_was_removed_is_named(files, cache, monkeypatch):
    tracks = check_tracks(files[0][:1], RATE)
    (waveform,) = cache.waveforms(tracks, RATE)
    cache.clear()
    with pytest.raises(ValueError, match=r"X\[0\].*Fit again"):
        waveform[10:20]
    monkeypatch.setattr("sksep.audio._cache._write", lambda *_: None)  # another process removed it
    with pytest.raises(ValueError, match=r"X\[0\].*is gone.*Fit again"):
        cache.waveforms(tracks, RATE)


def test_unreadable_files_are_named_and_leave_nothing_behind(files, tmp_path, cache):
    content = Path(files[0][1]).read_bytes()
    damaged = tmp_path / "damaged.wav"
    damaged.write_bytes(content)
    tracks = check_tracks([files[0][0], damaged], RATE)
    samples, rate = soundfile.read(damaged)
    samples[100] = np.nan
    stamp = damaged.stat()
    soundfile.write(damaged, samples, rate, subtype="FLOAT")
    os.utime(damaged, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    with pytest.raises(ValueError, match=r"X\[1\].*damaged.wav.*NaN"):
        cache.waveforms(tracks, RATE)
    assert not [path for path in written(cache) if path.suffix != ".safetensors"]
    cache.waveforms(tracks[:1], RATE)
    assert len(written(cache)) == 1


def test_concurrent_preparations_agree(files, cache):
    tracks = check_tracks(files[0], RATE)
    results = {}

    def prepare(number):
        results[number] = [part[:] for part in cache.waveforms(tracks, RATE)]

    threads = [threading.Thread(target=prepare, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [0, 1, 2, 3] and len(written(cache)) == 3
    for parts in results.values():
        for part, expected in zip(parts, results[0], strict=True):
            np.testing.assert_array_equal(part, expected)


def test_interrupted_preparations_go_on(files, cache, monkeypatch):
    from sksep.audio import _cache

    write, tracks = _cache._write, check_tracks(files[0], RATE)

    def interrupted(path, track, sample_rate):
        if track is tracks[2]:
            raise KeyboardInterrupt
        write(path, track, sample_rate)

    monkeypatch.setattr(_cache, "_write", interrupted)
    with pytest.raises(KeyboardInterrupt):
        cache.waveforms(tracks, RATE)
    assert len(written(cache)) == 2
    done = []

    def counted(path, track, sample_rate):
        done.append(track)
        write(path, track, sample_rate)

    monkeypatch.setattr(_cache, "_write", counted)
    cache.waveforms(tracks, RATE)
    assert done == [tracks[2]] and len(written(cache)) == 3


def test_unfinished_files_are_removed_in_time(files, cache):
    folder = Path(cache.folder)
    folder.mkdir()
    names = [f".waveform-{'0' * 32}.safetensors.{digit * 32}.unfinished" for digit in "ab"]
    old, new = (folder / name for name in names)
    old.write_bytes(b"half")
    with new.open("wb") as file:
        file.write(b"half")
        file.flush()
        _files._lock(file)  # as a writer does
        yesterday = time.time() - 25 * 3600
        os.utime(old, (yesterday, yesterday))
        assert cache.size == 8
        cache.waveforms(check_tracks(files[0][:1], RATE), RATE)
        assert new.exists() and not old.exists()
    cache.clear()
    assert not new.exists()


# Its size.


def test_size_and_clear_leave_other_files_alone(files, cache):
    assert cache.size == 0
    tracks = check_tracks(files[0], RATE)
    waveforms = cache.waveforms(tracks, RATE)
    own = [Path(cache.folder) / name for name in ("notes.txt", "waveform-001.wav")]
    for path in own:
        path.write_text("mine")
    (Path(cache.folder) / "waveform-folder").mkdir()
    n_samples = sum(len(waveform) for waveform in waveforms)
    assert 2 * n_samples < cache.size < 2 * n_samples + 3 * 1000
    cache.clear()
    assert cache.size == 0 and len(written(cache)) == 3 and all(path.exists() for path in own)


def test_more_than_the_limit_is_refused_before_anything_is_written(files, cache):
    cache.set_params(max_gigabytes=1e-4)
    with pytest.raises(ValueError, match=r"3 files take 0.00 GB.*at most 0.0001 GB.*Raise max"):
        cache.waveforms(check_tracks(files[0], RATE), RATE)
    assert not Path(cache.folder).exists()
    cache.waveforms(check_tracks(files[0][2:], RATE), RATE)  # there is room for one of them
    with pytest.raises(ValueError, match="clear"):
        cache.waveforms(check_tracks(files[0], RATE), RATE)
    cache.waveforms(check_tracks(files[0][2:], RATE), RATE)  # existing entries need no further room


def test_full_disks_are_refused(files, cache, monkeypatch):
    monkeypatch.setattr(shutil, "disk_usage", lambda _: shutil._ntuple_diskusage(10**9, 10**9, 10))
    with pytest.raises(ValueError, match=r"0.00 GB left\. Make room, or choose another folder"):
        cache.waveforms(check_tracks(files[0], RATE), RATE)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"folder": 3}, TypeError, "folder must be a path"),
        ({"max_gigabytes": 0}, ValueError, "max_gigabytes"),
        ({"max_gigabytes": "much"}, TypeError, "max_gigabytes"),
    ],
)
def test_bad_parameters(files, cache, parameters, error, message):
    with pytest.raises(error, match=message):
        cache.set_params(**parameters).waveforms(check_tracks(files[0], RATE), RATE)


def test_a_file_is_no_folder(files):
    with pytest.raises(ValueError, match="is a file; choose another"):
        WaveformCache(files[0][0]).waveforms(check_tracks(files[0], RATE), RATE)


@pytest.mark.parametrize(
    ("cache", "message"),
    [
        (3, "cache must be a folder, a WaveformCache or None"),
        (WaveformCache(folder=3), "folder must be a path"),
        (WaveformCache(max_gigabytes="much"), "max_gigabytes must be a number"),
    ],
)
def test_chunker_refuses_other_caches(files, cache, message):
    with pytest.raises(TypeError, match=message):
        MelChunker(cache=cache).fit(files[0])


# Training from it.


@pytest.mark.parametrize("augmentation", [None, Augmentation(speed_range=(0.9, 1.1))])
def test_excerpts_are_those_of_memory(files, cache, augmentation):
    in_memory, cached = batch_of(files), batch_of(files, cache)
    assert all(isinstance(record.samples, CachedWaveform) for record in cached)
    assert all(record.levels is None for record in cached)
    for one, other in zip(in_memory, cached, strict=True):
        np.testing.assert_allclose(other.waveform, one.waveform, atol=0.51 / 32767)
        np.testing.assert_array_equal(other.targets.chunk_is_kept, one.targets.chunk_is_kept)
        assert other.spectrogram.shape == one.spectrogram.shape and repr(one) == repr(other)
        audible = one.mono_levels > -60.0
        np.testing.assert_allclose(other.mono_levels[audible], one.mono_levels[audible], atol=0.5)
        assert not (other.waveform.flags.writeable or other.spectrogram.flags.writeable)
        assert not other.targets.vocals.flags.writeable
    datasets = [ExcerptDataset(batch, augmentation, seed=2) for batch in (in_memory, cached)]
    indices = list(range(len(datasets[0])))
    for _ in range(3):
        (stems, gains), (others, other_gains) = [part.__getitems__(indices) for part in datasets]
        np.testing.assert_allclose(others, stems, atol=3 * 0.51 / 32767)
        np.testing.assert_array_equal(other_gains, gains)


def test_pools_are_cached_too(files, cache):
    augmentation = Augmentation(vocals_pool=files[1][:1], accompaniment_pool=files[0][1:2])
    batch = batch_of((files[0][2:], files[1][2:]), cache)
    n_before = len(written(cache))
    ExcerptDataset(batch, augmentation)
    assert len(written(cache)) == n_before + 2


def test_pipelines_learn_the_same_from_it(files, cache):
    expected = make().fit(*files)
    cached = make(cache).fit(*files)
    assert len(written(cache)) == 6
    np.testing.assert_allclose(cached[-1].loss_curve_, expected[-1].loss_curve_, rtol=5e-3)
    # Predictions read the files themselves and write nothing.
    n_before = len(written(cache))
    estimates = cached.predict(files[0])
    assert len(written(cache)) == n_before
    for estimate, other in zip(estimates, expected.predict(files[0]), strict=True):
        assert estimate.shape == other.shape
        np.testing.assert_allclose(estimate, other, atol=2e-2)


@pytest.mark.parametrize(
    "parameters",
    [
        {"checkpoint": "checkpoints"},
        {"warm_start": True},
        {"net_params": {"iterator_train__num_workers": 1}},
    ],
)
def test_trainings_of_all_kinds_read_it(files, cache, tmp_path, parameters):
    if "checkpoint" in parameters:
        parameters = {"checkpoint": tmp_path / "checkpoints"}
    pipeline = make(cache, **parameters).fit(*files)
    separator = pipeline[-1]
    expected = make(cache, **parameters).fit(*files)[-1].loss_curve_
    assert separator.loss_curve_ == expected
    batch = pipeline[:-1].fit_transform(*files)
    assert separator.partial_fit(batch).n_epochs_ == 3
    assert np.isfinite(separator.loss_curve_).all()


def test_memory_that_outlives_the_cache_is_named(files, cache, tmp_path):
    pipeline = make(cache).set_params(memory=str(tmp_path / "memory")).fit(*files)
    cache.clear()
    with pytest.raises(ValueError, match=r"Fit again.*memory=\.\.\. remembers"):
        pipeline.set_params(unetseparator__lr=1e-2).fit(*files)


def test_searches_and_clones_share_a_folder(files, cache):
    pipeline = make(cache)
    parameters = clone(pipeline).get_params()
    assert parameters["melchunker__cache__folder"] == cache.folder
    search = GridSearchCV(pipeline, {"unetseparator__lr": [1e-3, 1e-2]}, cv=3)
    search.fit(*files)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert len(written(cache)) == 6


@pytest.mark.parametrize(
    "separator", [OracleMaskSeparator(), NMFSeparator(max_iter=3, random_state=0)]
)
def test_separators_without_a_network_fit_on_it(files, cache, separator):
    pipeline = make_pipeline(
        MelChunker(n_fft=512, n_mels=24, cache=cache), MaskBuilder(), separator
    )
    expected = clone(pipeline).set_params(melchunker__cache=None).fit(*files).predict(files[0])
    for estimate, other in zip(pipeline.fit(*files).predict(files[0]), expected, strict=True):
        np.testing.assert_allclose(estimate, other, atol=2e-2)
    masks = [record.mask for record in pipeline.fit_transform(*files)]
    for mask, other in zip(masks, pipeline.transform(files[0]), strict=True):
        np.testing.assert_allclose(mask.mean(), other.mask.mean(), atol=0.02)


def test_a_folder_alone_will_do(files, tmp_path):
    batch = MelChunker(cache=str(tmp_path / "waveforms")).fit_transform(files[0])
    assert len(batch) == len(list((tmp_path / "waveforms").iterdir())) == 3


def test_transform_does_without(files, cache):
    batch = MelChunker(cache=cache).transform(files[0])
    assert all(isinstance(record.samples, np.ndarray) for record in batch)
    assert not Path(cache.folder).exists()


def test_saved_models_do_not_name_the_folder(files, cache, tmp_path):
    path = tmp_path / "model.safetensors"
    with pytest.warns(UserWarning, match="cache"):
        sksep.save(make(cache).fit(*files), path)
    assert sksep.load(path)[0].cache is None
    assert str(cache.folder).encode() not in path.read_bytes()


def test_checkpoints_know_waveforms_of_a_cache(files, cache):
    contents = [ExcerptDataset(batch_of(files, cache)).fingerprint for _ in range(2)]
    assert joblib.hash(contents[0]) == joblib.hash(contents[1])
    fewer = ExcerptDataset(batch_of((files[0][:2], files[1][:2]), cache)).fingerprint
    assert joblib.hash(fewer) != joblib.hash(contents[0])


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_preparation_in_parallel(files, cache, n_jobs):
    cache.set_params(n_jobs=n_jobs)
    waveforms = cache.waveforms(check_tracks(files[0], RATE), RATE)
    assert [len(part) for part in waveforms] == [
        -(-n * 16000 // 22050) for n in (55000, 46000, 37000)
    ]


def test_progress_is_shown_in_a_terminal_only(files, cache, capsys):
    cache.set_params(verbose=1).waveforms(check_tracks(files[0], RATE), RATE)
    assert capsys.readouterr().err == ""
