"""The comparison of all separators on a synthetic data set, its helpers, and other scripts."""

import argparse
import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from sklearn.pipeline import Pipeline

import sksep
from sksep import MaskBuilder, MelChunker, UNetSeparator
from sksep.datasets import make_songs
from sksep.metrics import iou, psnr
from sksep.nn.spectrogram_unet import SpectrogramUNet
from sksep.presets import hybrid_clustering_pipeline
from sksep.training import Augmentation

BENCHMARKS = Path(__file__).resolve().parent.parent / "benchmarks"
NAMES = ("mixture", "unet", "oracle_ratio")


@pytest.fixture(scope="module")
def helpers():
    """Import the modules that lie beside the scripts."""
    sys.path.insert(0, str(BENCHMARKS))
    import masks
    import package_models
    import pretrained
    import speed
    import unet
    from _lib import comparisons, data, folds, measuring, models, pruning, records, scores, teacher

    modules = (comparisons, data, folds, measuring, models, pruning, records, scores, teacher)
    modules += (masks, package_models, pretrained, speed, unet)
    yield {module.__name__.removeprefix("_lib."): module for module in modules}
    sys.path.remove(str(BENCHMARKS))


def budget(n_steps):
    return ("--steps", str(n_steps), "--steps-per-epoch", "2")


def records_in(folder):
    paths = (folder / "results" / "compare" / "mir1k-report").glob("*.json")
    return {path.name.split("-seed")[0]: path for path in paths}


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    """Songs in the layout of MIR-1K, with accompaniment on the left and vocals on the right."""
    folder = tmp_path_factory.mktemp("mir1k")
    songs = make_songs(4, duration=1.5, random_state=0)
    for index, singer in enumerate(("abjones", "amy", "amy", "abjones")):
        stereo = np.stack([songs.accompaniments[index], songs.vocals[index]], axis=1)
        soundfile.write(folder / f"{singer}_1_{index:02d}.wav", stereo, 16000)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("comparison")


@pytest.fixture(scope="module")
def compare(clips, folder):
    def run(*options):
        command = [sys.executable, BENCHMARKS / "compare.py", "--data-set", "mir1k"]
        command += ["--data", clips, "--results", folder / "results"]
        command += ["--cache", folder / "cache", "--threads", "1", "--n-iter", "0"]
        command += ["--set", "separate__n_filters", "2", "--set", "separate__batch_size", "2"]
        command += ["--set", "separate__n_levels", "1", "--checkpoint-tracks", "1", *options]
        result = subprocess.run(
            list(map(str, command)),
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            check=False,
        )
        assert result.returncode == 0, result.stderr
        return result.stdout

    return run


@pytest.fixture(scope="module")
def first(compare):
    return compare(*budget(4), "--checkpoints", "2", "--only", *NAMES)


class TestComparison:
    def test_records(self, first, folder):
        records = {name: json.loads(path.read_text()) for name, path in records_in(folder).items()}
        assert set(records) == set(NAMES)
        unet = records["unet"]
        assert unet["settings"]["protocol"] == "amy -> abjones"
        assert unet["settings"]["budget"] == "4 steps"
        assert unet["training"]["steps"] == 4 and unet["training"]["epochs"] == 2
        assert [row["epoch"] for row in unet["history"]] == [1, 2]
        assert all(np.isfinite(row["train_loss"]) for row in unet["history"])
        assert [point["steps"] for point in unet["checkpoints"]] == [2, 4]
        assert len(unet["tracks"]["sdr"]) == 2
        assert unet["n_parameters"] > 0
        mixture = records["mixture"]["scores"]
        assert mixture["GNSDR"] == pytest.approx(0.0, abs=0.05)
        assert mixture["leakage"] == pytest.approx(0.0, abs=0.05)
        oracle = records["oracle_ratio"]["scores"]
        assert oracle["GNSDR"] > max(5.0, unet["scores"]["GNSDR"])
        assert oracle["IoU"] == pytest.approx(100.0, abs=0.5)
        assert all(path.suffix == ".json" for path in (folder / "results" / "compare").rglob("*.*"))

    def test_table(self, first, folder):
        assert "Training unet, seed 0, for 4 steps." in first
        table = (folder / "results" / "compare-mir1k-report.md").read_text()
        for text in ("| U-Net | 1 |", "| ideal ratio mask | 1 |", "## Convergence", "hourglass"):
            assert text in table
        rows = json.loads((folder / "results" / "compare-mir1k-report.json").read_text())["rows"]
        assert [row["model"] for row in rows] == ["the mixture", "U-Net", "ideal ratio mask"]

    def test_resumption_and_mismatch(self, first, compare, folder):
        before = records_in(folder)["unet"]
        record = json.loads(before.read_text())
        # This is the state after an interruption between training and scoring,
        before.unlink()
        # with a run of another machine and budget in the same folder.
        settings = {**record["settings"], "machine": "another", "budget": "9 steps"}
        stranger = before.with_name("unet-seed0-0123456789.json")
        stranger.write_text(json.dumps({**record, "settings": settings}))
        # Without checkpoints, a training with checkpoints is used, too.
        printed = compare(*budget(4), "--only", *NAMES)
        assert "Training" not in printed and "Loading unet, seed 0." in printed
        assert printed.count("Already there") == 2
        stranger.unlink()
        again = json.loads(records_in(folder)["unet"].read_text())
        assert again["scores"]["GNSDR"] == pytest.approx(record["scores"]["GNSDR"], abs=1e-3)
        assert again["checkpoints"] == record["checkpoints"]
        assert "Left out" in printed and "0123456789.json: machine another instead of" in printed
        assert "budget 9 steps instead of 4 steps" in printed
        table = (folder / "results" / "compare-mir1k-report.md").read_text()
        assert "| U-Net | 1 |" in table and "## Convergence" in table


class TestRecords:
    def run(self, helpers, **parameters):
        records = helpers["records"]
        separator = UNetSeparator(augmentation=Augmentation(), **parameters)
        steps = [("mask", MaskBuilder()), ("separate", separator)]
        return records.Run("unet", 0, {"budget": "4 steps"}, records.Parameters.of(steps))

    def test_found_again(self, helpers, tmp_path):
        run = self.run(helpers, lr=1e-2)
        assert run.find(tmp_path) == (None, [])
        path = tmp_path / f"{run.file_name}.json"
        helpers["records"].write_record(
            path, {**run.description(), "scores": {"SDR": float("nan")}}
        )
        assert run.find(tmp_path) == (path, [])
        assert helpers["records"].read(path)["scores"] == {"SDR": None}
        # Records of other runs do not matter.
        assert self.run(helpers, lr=1e-2, verbose=1, random_state=3).find(tmp_path) == (path, [])

    @pytest.mark.parametrize(
        ("parameters", "difference"),
        [
            ({"lr": 1e-3}, "separate__lr 0.01 instead of 0.001"),
            ({"lr": 1e-2, "loss": "l1"}, "separate__loss 'bce' instead of 'l1'"),
        ],
    )
    def test_other_parameters(self, helpers, tmp_path, parameters, difference):
        run = self.run(helpers, lr=1e-2)
        helpers["records"].write_record(tmp_path / f"{run.file_name}.json", run.description())
        found, mismatches = self.run(helpers, **parameters).find(tmp_path)
        assert found is None
        assert mismatches == [f"{run.file_name}.json: {difference}"]

    def test_parameter_that_is_newer_than_the_record(self, helpers):
        run = self.run(helpers)
        recorded = dict(run.parameters.values)
        del recorded["separate__augmentation__noise_snr"]
        assert run.parameters.differences(recorded) == []
        recorded["separate__gone"] = "1"
        assert run.parameters.differences(recorded) == ["separate__gone 1 instead of unset"]


class TestScores:
    def test_means(self, helpers):
        scores = helpers["scores"]
        tracks = [
            scores.TrackScores(4.0, 10.0, 8.0, 3.0, 1.0, seconds=1.0),
            scores.TrackScores(8.0, 20.0, 6.0, 7.0, 1.0, seconds=3.0),
            scores.TrackScores(*[float("nan")] * 5, seconds=100.0),
        ]
        means = scores.summary(tracks)
        assert means["GNSDR"] == pytest.approx(6.0)
        assert means["GSIR"] == pytest.approx(17.5)
        assert means["SDR"] == means["median SDR"] == pytest.approx(6.0)

    def test_silent_vocals_have_no_score(self, helpers):
        mixture = np.random.default_rng(0).standard_normal(4000).astype(np.float32)
        track = helpers["scores"].score_track(mixture, np.zeros_like(mixture), 0.5 * mixture)
        assert np.isnan([track.sdr, track.si_sdr, track.mixture_sdr]).all()


class TestModels:
    def test_recipes(self, helpers):
        models = helpers["models"]
        for model in models.MODELS.values():
            if model.learns != "network" or not model.is_there:
                continue
            clustering = None
            if model.clustering is not None:
                given = models.sharing(model.clustering)[0]
                clustering = models.pipeline(given, "recommended", 0, changes={})["separate"]
            made = models.pipeline(
                model, "recommended", 0, changes={"no_such": 1}, clustering=clustering
            )
            assert isinstance(made, Pipeline) and isinstance(made["chunk"], MelChunker)
            separator = made["separate"]
            assert (separator.optimizer, separator.schedule) == ("adamw", "one_cycle"), model.name
            assert made["chunk"].n_mels == 256
            assert (separator.loss == "snr") == (
                model.estimator in ("UNetSeparator", "UHNetSeparator")
            )

    def test_parts_are_spread_evenly(self, helpers):
        part = helpers["data"].Part(*[list(range(9))] * 3)
        assert part.spread(3).vocals == [0, 4, 8]
        assert part.spread(None) is part


def test_folds_of_the_models_that_ship_leave_groups_out(helpers):
    groups = ["b", "a", "c", "a", "b", "d"]
    kept_indices, held_out = helpers["folds"].kept_indices, helpers["folds"].held_out_indices
    assert kept_indices(groups, None) == list(range(6))
    tested = []
    for fold in range(helpers["folds"].N_FOLDS):
        kept, left_out = kept_indices(groups, fold), held_out(groups, fold)
        assert not {groups[i] for i in kept} & {groups[i] for i in left_out}
        assert sorted(kept + left_out) == list(range(6))
        tested += left_out
    assert sorted(tested) == list(range(6))


@pytest.mark.parametrize(("outer_stride", "tolerance"), [(2, 0.01), (1, 0.15)])
def test_pruning_keeps_what_it_can(helpers, outer_stride, tolerance):
    """With all filters, the layers that are fitted are those of the large network again."""
    torch.manual_seed(0)
    filters = {"n_filters": (4, 4, 6, 6, 6, 6), "n_bins": 128}
    large = SpectrogramUNet(**filters).eval()
    for norm in large.up_norm:  # so that the layers differ from those of a new network
        torch.nn.init.uniform_(norm.weight, 0.5, 1.5)
    small = SpectrogramUNet(**filters, outer_stride=outer_stride).eval()
    smooth = torch.nn.functional.avg_pool1d
    excerpts = [smooth(torch.rand(2, 128, 256), 9, 1, 4).transpose(1, 2)[None] for _ in range(12)]
    *fitted, unknown = excerpts
    step = 2 // outer_stride
    before = _mask_error(large, small, unknown, step)
    helpers["pruning"].prune(large, small, fitted, 800, np.random.default_rng(0))
    assert _mask_error(large, small, unknown, step) < tolerance * before


def _mask_error(large, small, magnitudes, step):
    with torch.inference_mode():
        expected, found = large(magnitudes)[:, :, ::step], small(magnitudes[:, :, ::step])
    return float((found - expected).square().mean())


def test_pruning_keeps_one_of_each_kind(helpers):
    rng = np.random.default_rng(0)
    kinds = rng.permutation(np.repeat(np.arange(3), 4))
    rows = rng.normal(size=(3, 1000))[kinds] + 0.1 * rng.normal(size=(12, 1000))
    importance = torch.eye(12, dtype=torch.float64)
    chosen = helpers["pruning"]._greedy(torch.from_numpy(np.cov(rows)), importance, 3)
    assert sorted(kinds[chosen]) == [0, 1, 2]


def test_every_model_that_ships_has_a_recipe_and_a_card(helpers):
    names = {card.name for card in sksep.pretrained.list_pretrained()}
    names = {name for name in names if not name.endswith("-v1")}  # by earlier recipes
    assert names == {*helpers["unet"].RECIPES, *helpers["pretrained"].RECIPES}
    assert names == set(helpers["package_models"].MODELS)


@pytest.mark.slow
def test_large_sets(tmp_path):
    options = ["--hours", "0.05", "--in-memory", "--steps", "1", "--data", tmp_path]
    options += ["--n-filters", "2", "--results", tmp_path]
    command = [sys.executable, BENCHMARKS / "large_sets.py", *options]
    subprocess.run(list(map(str, command)), check=True, capture_output=True)
    rows = json.loads((tmp_path / "large_sets.json").read_text())["rows"]
    assert [row["waveforms"] for row in rows] == ["cache, first fit", "cache, second fit"]
    assert all(row["peak, MB"] > row["after import, MB"] > 0 for row in rows)
    # Two waveforms of three minutes at 16 kHz and 16 bits.
    assert [round(row["on disk, MB"]) for row in rows] == [12, 12]
    assert (tmp_path / "large_sets.md").read_text().count("| 0.05 |") == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["large_sets.json", "large_sets.md"]


@pytest.mark.slow
def test_gpu_runs_on_a_cpu(tmp_path):
    command = [sys.executable, BENCHMARKS / "gpu.py", "--device", "cpu", "--seconds", "2"]
    command += ["--steps", "1", "--batch-size", "2", "--repeats", "1", "--peak-tflops", "1"]
    result = subprocess.run(
        list(map(str, [*command, "--results", tmp_path])),
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert result.returncode == 0, result.stderr
    (path,) = tmp_path.glob("gpu-*.json")
    record = json.loads(path.read_text())
    assert [row["network"] for row in record["training"]] == ["U-Net", "UH-Net"]
    for row in record["training"]:
        assert row["excerpts per second"] > 0 and row["share of the peak"] > 0
    # The recurrent part comes in addition to the U-Net.
    operations = [row["share of the peak"] * row["fit, ms per step"] for row in record["training"]]
    assert operations[1] > operations[0]
    (row,) = record["separation"]
    assert row["song, s"] == 2.0 and row["times real time"] > 0
    assert path.with_suffix(".md").read_text().count("| U-Net |") == 1


class TestSpeed:
    @pytest.mark.slow
    def test_results(self, tmp_path):
        command = [sys.executable, BENCHMARKS / "speed.py", "--only", "MelChunker, 1024"]
        command += ["--seconds", "1", "--repeats", "1", "--threads", "1", "--lengths", "2"]
        command += ["--tracks", "1", "2", "--results", tmp_path]
        subprocess.run(list(map(str, command)), check=True, capture_output=True)
        record = json.loads((tmp_path / "speed.json").read_text())
        (row,) = record["comparisons"]
        assert (row["ours"], row["reference"]) == ("sksep", "librosa")
        assert row["ratio"] == pytest.approx(row["reference, s"] / row["ours, s"])
        assert 0 < row["floors, s"]["memory"] < row["floors, s"]["FFT"]
        grown = {(series["job"], series["by"]): series for series in record["growth"]}
        assert len(grown) == len(record["growth"]) == 4
        points = grown["sksep", "length"]["points"]
        assert [(point["seconds"], point["tracks"]) for point in points] == [(1, 1), (2, 1)]
        assert min(point["time, s"] for point in points) > 0
        # The least is the waveform of two seconds as float32, and the spectrogram.
        assert points[1]["memory, MB"] > 2 * 4 * (16000 + 125 * 128) / 1e6
        assert [len(row["operations"]) for row in record["busiest"]] == [3]
        table = (tmp_path / "speed.md").read_text()
        for text in ("| librosa | 1 |", "2 tracks of 10 s", "exponent of memory", "largest shares"):
            assert text in table

    def test_jobs_agree(self, helpers):
        comparisons = helpers["comparisons"].COMPARISONS
        bounds = {
            "front end, 1024/128, 128 mels": 0.01,
            "bss_eval, two sources": 1e-6,
            "K-means of embeddings, 1024/128, 128 mels": 1.0,
        }
        for name, bound in bounds.items():
            jobs = comparisons[name].make(0.5, 1)
            results = (next(iter(way.values()))() for way in (jobs.ours, jobs.references))
            (value,) = jobs.agreement(*results).values()
            assert 0 < value <= bound, name

    def test_work(self, helpers):
        """One second has 125 hops, and 16000 samples of 2 references and 2 estimates."""
        comparisons = helpers["comparisons"].COMPARISONS
        work = comparisons["griffin-lim, 1024/128, 10 iterations"].make(1.0, 1).work
        assert work.transforms == ((1024, torch.float32, 126 * 21),)
        assert work.n_bytes == 4 * 126 * 513 * 11
        work = comparisons["bss_eval, two sources"].make(1.0, 3).work
        assert work.products == pytest.approx(3 * (1024**3 + 512**3) / 3)
        assert work.transforms[0][2] * 4096 == 3 * 4 * 16000

    def test_measures(self, helpers):
        measuring = helpers["measuring"]
        points = [{"seconds": x, "time, s": 0.1 * x**2} for x in (1, 10, 60)]
        assert measuring.exponent(points, "seconds", "time, s") == pytest.approx(2.0)
        assert measuring.exponent(points[:1], "seconds", "time, s") is None
        one, other = torch.ones(3, 4), torch.ones(4, 5)
        assert measuring.count_products(lambda: one @ other) == 2 * 3 * 4 * 5
        calls = []
        jobs = {name: lambda name=name: calls.append(name) for name in "ab"}
        turns = measuring.time_in_turns(jobs, 3)
        assert calls == list("ababab") and set(map(len, turns.values())) == {3}

    def test_references_that_are_missing_are_left_out(self, helpers, monkeypatch, capsys):
        speed = helpers["speed"]
        monkeypatch.setattr(speed, "reason_missing", lambda reference: "No module named 'it'")
        options = argparse.Namespace(seconds=0.5)
        assert speed.measure("front end, 1024/128, 128 mels", options) == ([], [], [])
        assert "without librosa: No module named 'it'" in capsys.readouterr().err

    def test_drawing(self, helpers, tmp_path):
        series = [
            {
                "name": name,
                "job": job,
                "by": "length",
                "points": [{"seconds": x, "time, s": 0.1 * x} for x in (1, 10)],
            }
            for name in ("front end", "bss_eval")
            for job in ("sksep", "librosa")
        ]
        ours = [{"name": "front end", "ours": "sksep"}, {"name": "bss_eval", "ours": "sksep"}]
        file = tmp_path / "speed.svg"
        helpers["speed"].draw({"comparisons": ours, "growth": series}, file)
        assert "stroke-dasharray" in (text := file.read_text())
        assert all(f"<!-- {words} -->" in text for words in ("front end", "bss_eval", "librosa"))


class TestMasks:
    """Readings of PSNR and IoU."""

    N_FRAMES = 5

    @pytest.fixture
    def tracks(self, helpers):
        rng = np.random.default_rng(0)
        powers = [rng.random((n_frames, 8)) ** 4 for n_frames in (12, 4, 25)]
        shares = [rng.random(power.shape) for power in powers]
        shares[2][:10] = 0.0  # two chunks without vocals
        make = helpers["masks"].Masks
        return [
            make(share, 0.8 * share + 0.1, power, share * power, self.N_FRAMES)
            for share, power in zip(shares, powers, strict=True)
        ]

    def test_perfect_masks(self, helpers, tracks):
        perfect = [dataclasses.replace(track, estimated=track.true) for track in tracks]
        with np.errstate(divide="ignore"):
            found = helpers["masks"].readings(perfect)
        for name, value in found.items():
            assert value == (100.0 if name.startswith(("IoU", "acc")) else np.inf), name

    def test_readings_differ_only_in_which_bins_count(self, helpers, tracks):
        masks = helpers["masks"]
        found = masks.readings(tracks)
        true = np.concatenate([track.true.ravel() for track in tracks])
        errors = (0.2 * true - 0.1) ** 2
        assert found["PSNR, all bins"] == pytest.approx(-10 * np.log10(errors.mean()))
        # Equal errors have equal ratios in every reading.
        even = [dataclasses.replace(track, estimated=track.true + 0.1) for track in tracks]
        names = [name for name in found if name.startswith("PSNR")]
        same = masks.readings(even)
        assert [same[name] for name in names] == pytest.approx([20.0] * 5)

    def test_chunks_without_vocals_count_among_all_but_not_among_singing_ones(
        self, helpers, tracks
    ):
        right_in_silence = [
            dataclasses.replace(track, estimated=np.where(track.true > 0, track.estimated, 1e-3))
            for track in tracks
        ]
        before = helpers["masks"].readings(tracks)
        after = helpers["masks"].readings(right_in_silence)
        assert after["PSNR, singing"] == pytest.approx(before["PSNR, singing"])
        assert after["PSNR, chunks"] > before["PSNR, chunks"] + 5.0

    def test_scores_of_all_bins_and_seconds_are_those_of_sksep(self, helpers, tracks):
        found = helpers["masks"].readings(tracks)
        whole = [track.true for track in tracks], [track.estimated for track in tracks]
        assert found["PSNR, all bins"] == pytest.approx(psnr(*whole))
        assert found["IoU, all bins"] == pytest.approx(100.0 * iou(*whole))
        seconds = [track.chunks() for track in tracks if len(track.true) >= self.N_FRAMES]
        parts = [part.true for part in seconds], [part.estimated for part in seconds]
        assert found["IoU, chunks"] == pytest.approx(100.0 * iou(*parts, pooling="chunks"))

    def test_weights_count_like_copies(self, helpers):
        make = helpers["masks"].Masks
        true, estimated = np.array([[0.9, 0.2, 0.6]]), np.array([[0.4, 0.3, 0.7]])
        magnitudes = np.array([3.0, 1.0, 2.0])
        power = np.square(magnitudes)[None]
        track = make(true, estimated, power, true * power, 1)
        found = helpers["masks"].readings([track])
        copies = [np.repeat(part, magnitudes.astype(int), axis=1) for part in (true, estimated)]
        assert found["IoU, magnitude"] == pytest.approx(100.0 * iou(*copies))
        assert found["PSNR, magnitude"] == pytest.approx(psnr(*copies))
        assert found["accuracy"] == pytest.approx(200.0 / 3.0)

    def test_true_vocals_have_true_shares(self, helpers):
        class TrueVocals:
            def predict(self, tracks):
                return songs.vocals

        masks, songs = helpers["masks"], make_songs(1, duration=1.0, random_state=0)
        ((title, estimate),) = masks.masks_of("oracle", TrueVocals()).items()
        batch = masks.front_end_of(TrueVocals()).transform(songs.mixtures)
        truth = MaskBuilder().fit_transform(batch, songs.vocals)[0]
        read = masks.Masks.of(truth, estimate(songs.mixtures[0], batch))
        assert title == "oracle"
        np.testing.assert_array_equal(read.estimated, read.true)

    def test_both_outputs_of_a_hybrid_are_read(self, helpers):
        masks, songs = helpers["masks"], make_songs(1, duration=1.0, random_state=0)
        tiny = {"hidden_size": 2, "embedding_dim": 2, "max_epochs": 1, "random_state": 0}
        pipeline = hybrid_clustering_pipeline(
            **{f"separate__{name}": value for name, value in tiny.items()}
        )
        pipeline.fit(songs.mixtures, songs.vocals)
        batch = masks.front_end_of(pipeline).transform(songs.mixtures)
        head, clusters = (
            estimate(songs.mixtures[0], batch)
            for estimate in masks.masks_of("hybrid", pipeline).values()
        )
        assert len(np.unique(head)) > 2
        assert set(np.unique(clusters)) <= {0.0, 1.0}

    def test_inaudible_bins_are_left_out(self, helpers):
        make = helpers["masks"].Masks
        true, estimated = np.array([[0.9, 0.2, 0.6]]), np.array([[0.8, 0.9, 0.5]])
        power = np.array([[1.0, 0.5e-4, 2.0e-4]])
        found = helpers["masks"].readings([make(true, estimated, power, true * power, 1)])
        assert found["PSNR, audible"] == pytest.approx(20.0)


def test_taught_songs_get_their_share_of_the_excerpts(helpers, tmp_path):
    pretrained, teacher = helpers["pretrained"], helpers["teacher"]
    second = np.zeros(16000, np.float32)
    pairs = pretrained.Recordings(
        [np.tile(second, 4), np.tile(second, 2)], [second] * 2, [1.0, 3.0]
    )
    teacher.write(tmp_path / "0.npz", [np.full((2, 48000), 0.25), np.full((2, 48000), 0.5)])
    both = pairs.and_taught([tmp_path / "0.npz"], 0.4)
    assert both.weights[:2] == pairs.weights
    assert both.minutes * 0.6 == pytest.approx(pairs.minutes) == pytest.approx(10 / 60)
    np.testing.assert_array_equal(both.mixtures[2], np.full(48000, 0.75, np.float32))
    np.testing.assert_array_equal(both.vocals[2], np.full(48000, 0.25, np.float32))
