"""Displays of spectrograms, masks and embeddings draw the estimated values."""

from __future__ import annotations

import gc
import pickle
import sys
import weakref
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import soundfile
from matplotlib import pyplot
from matplotlib.figure import Figure
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from sksep import (
    DeepClusteringSeparator,
    GriffinLimInverter,
    HPSSSeparator,
    HybridClusteringSeparator,
    MaskBuilder,
    MelChunker,
    MixtureSeparator,
)
from sksep.datasets import make_songs
from sksep.plotting import EmbeddingDisplay, MaskDisplay, SpectrogramDisplay

FRONT_END = {"n_fft": 512, "hop_length": 256, "n_mels": 40, "n_frames": 32}
CHUNKER = MelChunker(**FRONT_END)


@pytest.fixture(autouse=True)
def _no_figures_left() -> Any:
    yield
    pyplot.close("all")


@pytest.fixture(scope="module")
def songs() -> Any:
    return make_songs(2, duration=1.5, random_state=0)


@pytest.fixture(scope="module")
def models(songs: Any) -> Any:
    clustering = {
        "embedding_dim": 3,
        "hidden_size": 8,
        "n_layers": 1,
        "max_epochs": 1,
        "batch_size": 4,
        "random_state": 0,
    }
    pipelines = {
        "hpss": make_pipeline(CHUNKER, HPSSSeparator(), GriffinLimInverter(n_iter=0)),
        "linear": make_pipeline(MelChunker(n_fft=512, n_mels=None), HPSSSeparator()),
        "deep": make_pipeline(CHUNKER, MaskBuilder(), DeepClusteringSeparator(**clustering)),
        "hybrid": make_pipeline(CHUNKER, MaskBuilder(), HybridClusteringSeparator(**clustering)),
    }
    for pipeline in pipelines.values():
        pipeline.fit(songs.mixtures, songs.vocals)
    return SimpleNamespace(**pipelines)


def spectrogram(waveform: Any) -> np.ndarray:
    return MelChunker(**FRONT_END).transform([waveform])[0].spectrogram


def drawn(panel: Any) -> np.ndarray:
    """Values that a panel shows, (n_frames, n_bands)."""
    (mesh,) = panel.collections
    return mesh.get_array().T


def titles(display: Any) -> list[str]:
    return [panel.get_title() for panel in display.ax_]


class TestSpectrograms:
    def test_draws_decibels_of_all_waveforms_on_one_scale(self, songs, models):
        display = SpectrogramDisplay.from_estimator(
            models.hpss, songs.mixtures, songs.vocals, track=1, dynamic_range=50.0
        )
        assert titles(display) == ["Mixture", "True vocals", "HPSSSeparator"]
        estimate = models.hpss.predict(songs.mixtures)[1]
        waveforms = [songs.mixtures[1], songs.vocals[1], estimate]
        expected = [spectrogram(waveform) for waveform in waveforms]
        high = max(image.max() for image in expected)
        for panel, image in zip(display.ax_, expected, strict=True):
            np.testing.assert_allclose(
                drawn(panel), np.maximum(image, high - 50.0), rtol=0, atol=1e-3
            )
            assert panel.collections[0].get_clim() == pytest.approx((high - 50.0, high))
        assert "dB" in display.colorbar_.ax.get_ylabel()

    def test_axes_are_in_hertz_and_seconds(self, songs, models):
        display = SpectrogramDisplay.from_estimator(models.hpss, songs.mixtures)
        for panel in display.ax_:
            assert panel.get_ylim() == pytest.approx((0.0, 8000.0))
            # The last frame is centered within half a hop of the end.
            assert panel.get_xlim() == pytest.approx((0.0, 1.5), abs=256 / 16000)
            assert panel.get_yscale() == "function"
            labels = [label.get_text() for label in panel.get_yticklabels()]
            assert labels[-4:] == ["1k", "2k", "4k", "8k"]

    def test_a_tone_lies_at_its_frequency_and_time(self):
        seconds = np.arange(16000) / 16000
        tone = 0.5 * np.sin(2 * np.pi * 1000.0 * seconds) * ((seconds > 0.4) & (seconds < 0.6))
        for bands in ({"n_mels": 40}, {"n_mels": None}):
            display = SpectrogramDisplay.from_predictions(None, tone, **bands)
            image = drawn(display.ax_[0])
            corners = display.ax_[0].collections[0].get_coordinates()
            frame, band = np.unravel_index(image.argmax(), image.shape)
            assert 0.4 < corners[0, frame, 0] < 0.6
            low, high = corners[band, 0, 1], corners[band + 1, 0, 1]
            assert low - 1e-6 <= 1000.0 <= high + 1e-6

    def test_models_of_different_front_ends_share_the_axes_of_the_first(self, songs, models):
        display = SpectrogramDisplay.from_estimator(
            {"mel": models.hpss, "linear": models.linear}, songs.mixtures
        )
        assert titles(display) == ["Mixture", "mel", "linear"]
        assert {drawn(panel).shape[1] for panel in display.ax_} == {40}

    def test_takes_stereo_files_of_another_rate(self, models, tmp_path: Path):
        noise = np.random.default_rng(0).normal(0.0, 0.1, (44100, 2))
        soundfile.write(tmp_path / "mixture.wav", noise, 44100, subtype="FLOAT")
        soundfile.write(tmp_path / "vocals.wav", 0.5 * noise, 44100, subtype="FLOAT")
        display = SpectrogramDisplay.from_estimator(
            models.hpss, [tmp_path / "mixture.wav"], [tmp_path / "vocals.wav"]
        )
        mixture, vocals, _ = (drawn(panel) for panel in display.ax_)
        assert mixture.shape == (63, 40)
        np.testing.assert_allclose(mixture - vocals, 20 * np.log10(2), atol=1e-2)

    def test_takes_silence_and_tracks_shorter_than_a_chunk(self, models):
        short = np.random.default_rng(0).normal(0.0, 0.1, 400)
        display = SpectrogramDisplay.from_estimator(models.hpss, [short], [np.zeros(400)])
        low, _ = display.ax_[1].collections[0].get_clim()
        assert (drawn(display.ax_[1]) == np.float32(low)).all()
        display = SpectrogramDisplay.from_predictions(np.zeros(400), np.zeros(400))
        display.figure_.draw_without_rendering()

    @pytest.mark.parametrize("sample_rate", [8000, 22050, 44100, 48000])
    def test_default_bands_are_not_empty_at_any_rate(self, sample_rate):
        waveform = np.random.default_rng(0).normal(0.0, 0.1, sample_rate // 2)
        display = SpectrogramDisplay.from_predictions(  # a warning would be an error
            waveform, waveform, mixture=waveform, sample_rate=sample_rate
        )
        assert display.ax_[0].get_ylim() == pytest.approx((0.0, sample_rate / 2))

    @pytest.mark.parametrize(
        ("arguments", "error", "message"),
        [
            ({"y_pred": {}}, ValueError, "empty dict"),
            ({"y_pred": {"True vocals": np.ones(800)}}, ValueError, "other names"),
            ({"y_pred": {"a": np.ones(800)}, "name": "b"}, ValueError, "keys"),
            ({"y_pred": np.ones(900)}, ValueError, "900 samples"),
            ({"mixture": np.ones(900)}, ValueError, "900"),
            ({"y_pred": np.full(800, np.nan)}, ValueError, "NaN"),
            ({"dynamic_range": 0.0}, ValueError, "dynamic_range"),
            ({"sample_rate": 0}, ValueError, "sample_rate"),
            ({"n_mel": 3}, TypeError, "n_mel"),
            ({"ax": "axes"}, TypeError, "ax must be"),
        ],
    )
    def test_refuses_what_it_cannot_draw(self, arguments, error, message):
        valid = {"y_true": np.ones(800), "y_pred": np.ones(800)}
        with pytest.raises(error, match=message):
            SpectrogramDisplay.from_predictions(**(valid | arguments))


class TestMasks:
    def test_draws_truth_and_estimates_from_0_to_1(self, songs, models):
        display = MaskDisplay.from_estimator(models.hpss, songs.mixtures, songs.vocals, track=-1)
        assert titles(display) == ["True binary mask", "True proportion mask", "HPSSSeparator"]
        batch = CHUNKER.transform(songs.mixtures)
        targets = MaskBuilder().fit_transform(batch, songs.vocals)[1].targets
        estimate = models.hpss[1].predict_mask(batch)[1]
        for panel, mask in zip(
            display.ax_, [targets.binary_mask, targets.proportion_mask, estimate], strict=True
        ):
            np.testing.assert_allclose(drawn(panel), mask, atol=1e-6)
            assert panel.collections[0].get_clim() == (0.0, 1.0)

    def test_the_truth_is_of_the_kind_that_the_pipeline_learns(self, songs):
        model = make_pipeline(CHUNKER, MaskBuilder(ratio="magnitude"), MixtureSeparator())
        model.fit(songs.mixtures, songs.vocals)
        display = MaskDisplay.from_estimator(model, songs.mixtures, songs.vocals)
        batch = CHUNKER.transform(songs.mixtures)
        targets = MaskBuilder(ratio="magnitude").fit_transform(batch, songs.vocals)[0].targets
        np.testing.assert_allclose(drawn(display.ax_[1]), targets.proportion_mask, atol=1e-6)

    def test_each_mask_has_the_axis_of_its_own_front_end(self, songs, models):
        display = MaskDisplay.from_estimator(
            {"mel": models.hpss, "linear": models.linear}, songs.mixtures
        )
        assert titles(display) == ["mel", "linear"]
        mel, linear = display.ax_
        assert (mel.get_yscale(), linear.get_yscale()) == ("function", "linear")
        assert drawn(mel).shape[1] == 40 and drawn(linear).shape[1] == 257
        assert linear.get_ylim() == pytest.approx(mel.get_ylim())

    def test_takes_silent_vocals(self, songs, models):
        silence = [np.zeros_like(songs.vocals[0])]
        display = MaskDisplay.from_estimator(models.hpss, songs.mixtures[:1], silence)
        assert not drawn(display.ax_[0]).any() and not drawn(display.ax_[1]).any()

    def test_draws_masks_that_are_given(self):
        true = np.random.default_rng(0).random((50, 40))
        display = MaskDisplay.from_predictions(
            true, {"a": true**2}, sample_rate=8000, hop_length=80, n_fft=512, f_min=100.0
        )
        np.testing.assert_array_equal(drawn(display.ax_[0]), true > 0.5)
        np.testing.assert_allclose(drawn(display.ax_[2]), true**2, atol=1e-6)
        assert display.ax_[0].get_ylim() == pytest.approx((100.0, 4000.0))
        assert display.ax_[0].get_xlim() == pytest.approx((0.0, 0.495))

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"y_pred": {}}, "empty dict"),
            ({"y_pred": np.ones((50, 41))}, "one shape"),
            ({"y_true": None, "y_pred": np.ones(50)}, "one shape"),
            ({"n_mels": 41}, "front end"),
            ({"n_mels": None}, "front end"),
            ({"hop_length": 0}, "hop_length"),
            ({"y_pred": np.full((50, 40), np.nan)}, "NaN"),
            ({"y_pred": np.full((50, 40), 2.0)}, "from 0 to 1"),
            ({"y_true": None, "y_pred": np.ones((0, 40))}, "front end"),
            ({"y_pred": {1: np.ones((50, 40)), "1": np.ones((50, 40))}}, "other names"),
        ],
    )
    def test_refuses_what_it_cannot_draw(self, arguments, message):
        valid = {"y_true": np.ones((50, 40)), "y_pred": np.ones((50, 40))}
        with pytest.raises(ValueError, match=message):
            MaskDisplay.from_predictions(**(valid | arguments))


class TestEmbed:
    @pytest.mark.parametrize("kind", ["deep", "hybrid"])
    def test_gives_a_unit_vector_for_each_bin(self, songs, models, kind):
        batch = CHUNKER.transform([*songs.mixtures, np.zeros(400)])
        embeddings = getattr(models, kind)[-1].embed(batch)
        for record, vectors in zip(batch, embeddings, strict=True):
            assert vectors.dtype == np.float32
            assert vectors.shape == (*record.spectrogram.shape, 3)
            np.testing.assert_allclose(np.linalg.norm(vectors, axis=-1), 1.0, atol=1e-5)

    def test_the_clusters_of_one_chunk_are_those_of_its_embeddings(self, songs, models):
        separator = models.deep[-1]
        batch = CHUNKER.transform([songs.mixtures[0][: 31 * 256]])
        assert len(batch[0].chunks) == 1
        vectors, mask = separator.embed(batch)[0], separator.predict_mask(batch)[0]
        assert 0.0 < mask.mean() < 1.0
        # By K-means, each bin is nearest to the mean of the loud bins of its own cluster.
        loud = batch[0].spectrogram > batch[0].spectrogram.max() - 40.0
        centroids = [vectors[loud & (mask == value)].mean(axis=0) for value in (0.0, 1.0)]
        distances = [np.linalg.norm(vectors - centroid, axis=-1) for centroid in centroids]
        assert np.mean((distances[1] < distances[0]) == (mask == 1.0)) > 0.99

    def test_needs_a_fitted_separator(self, songs):
        with pytest.raises(NotFittedError):
            DeepClusteringSeparator().embed(CHUNKER.transform(songs.mixtures))


class TestEmbeddings:
    @pytest.mark.parametrize("kind", ["deep", "hybrid"])
    def test_colors_loud_bins_by_cluster_and_by_truth(self, songs, models, kind):
        display = EmbeddingDisplay.from_estimator(
            getattr(models, kind), songs.mixtures, songs.vocals, max_samples=300, random_state=0
        )
        assert titles(display) == ["Clusters", "Truth"]
        for panel, labels in zip(display.ax_, [display.clusters_, display.truth_], strict=True):
            names = np.unique(np.concatenate([display.clusters_, display.truth_]))
            for name, points in zip(names, panel.collections, strict=True):
                np.testing.assert_allclose(
                    points.get_offsets(), display.points_[labels == name], atol=1e-6
                )
        assert len(display.points_) == 300
        again = EmbeddingDisplay.from_estimator(
            getattr(models, kind), songs.mixtures, songs.vocals, max_samples=300, random_state=0
        )
        np.testing.assert_array_equal(display.points_, again.points_)

    def test_all_loud_bins_have_the_cluster_of_their_mask(self, songs, models):
        display = EmbeddingDisplay.from_estimator(models.deep, songs.mixtures, max_samples=10**6)
        batch = CHUNKER.transform(songs.mixtures[:1])
        loud = batch[0].spectrogram > batch[0].spectrogram.max() - 40.0
        mask = models.deep[-1].predict_mask(batch)[0][loud]
        np.testing.assert_array_equal(display.clusters_ == "vocals", mask > 0.5)
        assert display.truth_ is None and len(display.ax_) == 1

    def test_components_keep_the_distances_of_planar_embeddings(self):
        angles = np.random.default_rng(0).uniform(0, 2 * np.pi, 50)
        vectors = np.stack([np.cos(angles), np.zeros(50), np.sin(angles)], axis=1)
        display = EmbeddingDisplay.from_predictions(vectors, angles > np.pi)
        np.testing.assert_allclose(
            np.linalg.norm(display.points_[:, None] - display.points_, axis=-1),
            np.linalg.norm(vectors[:, None] - vectors, axis=-1),
            atol=1e-9,
        )
        assert sum(display.explained_variance_ratio_) == pytest.approx(1.0)

    def test_takes_one_cluster_and_equal_embeddings(self):
        display = EmbeddingDisplay.from_predictions(np.ones((10, 3)), np.zeros(10, int))
        assert not display.points_.any()
        assert display.ax_[0].get_legend().get_texts()[0].get_text() == "0 (10)"

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            ({"embeddings": np.ones(10)}, "shape"),
            ({"embeddings": np.ones((10, 1))}, "two dimensions"),
            ({"embeddings": np.full((10, 3), np.inf)}, "NaN"),
            ({"clusters": np.ones(9)}, "clusters has shape"),
            ({"truth": np.ones((10, 3))}, "truth has shape"),
            ({"max_samples": 1}, "max_samples"),
        ],
    )
    def test_refuses_what_it_cannot_draw(self, arguments, message):
        valid = {"embeddings": np.ones((10, 3)), "clusters": np.ones(10)}
        with pytest.raises(ValueError, match=message):
            EmbeddingDisplay.from_predictions(**(valid | arguments))

    def test_refuses_models_without_embeddings_and_silence(self, songs, models):
        with pytest.raises(TypeError, match="DeepClusteringSeparator"):
            EmbeddingDisplay.from_estimator(models.hpss, songs.mixtures)
        both = {"a": models.deep, "b": models.hybrid}
        with pytest.raises(TypeError, match="one pipeline"):
            EmbeddingDisplay.from_estimator(both, songs.mixtures)
        with pytest.raises(ValueError, match=r"X\[1\] is silent"):
            silence = [songs.mixtures[0], np.zeros(8000)]
            EmbeddingDisplay.from_estimator(models.deep, silence, track=1)


DISPLAYS = [SpectrogramDisplay, MaskDisplay, EmbeddingDisplay]


@pytest.mark.parametrize("display_class", DISPLAYS)
class TestEveryDisplay:
    def test_draws_on_given_axes_without_pyplot(self, display_class, songs, models):
        data = (models.deep, songs.mixtures, songs.vocals)
        figure = Figure(layout="constrained")
        axes = figure.subplots(2 if display_class is EmbeddingDisplay else 3, 1)
        display = display_class.from_estimator(*data, ax=axes)
        assert list(display.ax_) == list(axes) and display.figure_ is figure
        assert pyplot.get_fignums() == []

    @pytest.mark.parametrize("layout", [None, "constrained"])
    def test_divides_one_axes_and_draws_again(self, display_class, songs, models, layout):
        figure = Figure(figsize=(12, 6), layout=layout)
        left, right = figure.subplots(1, 2)
        place = left.get_position()
        data = (models.deep, songs.mixtures, songs.vocals)
        display = display_class.from_estimator(*data, ax=left)
        n_axes = len(figure.axes)
        n_panels = len(display.ax_)
        if layout is None:
            for panel in display.ax_:
                box = panel.get_position()
                assert place.x0 - 1e-6 <= box.x0 and box.x1 <= place.x1 + 1e-6
                assert place.y0 - 1e-6 <= box.y0 and box.y1 <= place.y1 + 1e-6
        assert not right.collections
        assert display.plot(ax=left) is display
        before = [panel.get_position().bounds for panel in display.ax_]
        display.plot(ax=display.ax_)
        assert len(figure.axes) == n_axes and len(display.ax_) == n_panels
        if layout is None:
            assert [panel.get_position().bounds for panel in display.ax_] == before

    def test_can_be_pickled(self, display_class, songs, models):
        display = display_class.from_estimator(models.deep, songs.mixtures, songs.vocals)
        again = pickle.loads(pickle.dumps(display))
        assert titles(again) == titles(display)

    def test_makes_a_figure_for_each_drawing(self, display_class, songs, models):
        display = display_class.from_estimator(models.deep, songs.mixtures, songs.vocals)
        first, n_panels = display.figure_, len(display.ax_)
        assert display.plot() is display
        assert display.figure_ is not first and len(display.ax_) == n_panels
        assert len(pyplot.get_fignums()) == 2

    @pytest.mark.parametrize(
        ("change", "error", "message"),
        [
            ({"estimator": {}}, ValueError, "empty dict"),
            ({"estimator": CHUNKER}, TypeError, "pipeline with a MelChunker"),
            (
                {"estimator": make_pipeline(CHUNKER, MaskBuilder(), DeepClusteringSeparator())},
                NotFittedError,
                "not fitted",
            ),
            ({"track": 2}, ValueError, "track=2 is out of range: X holds 2"),
            ({"track": -3}, ValueError, "out of range"),
            ({"track": 0.5}, TypeError, "track must be an integer"),
            ({"X": []}, ValueError, "no tracks"),
            ({"X": "song.wav"}, TypeError, "list of tracks"),
            ({"X": 3}, TypeError, "sequence of tracks"),
            ({"y": [np.zeros(100)]}, ValueError, "y has 1"),
            ({"y": [np.zeros(100)] * 2}, ValueError, r"y\[0\] has 100 samples"),
            ({"ax": [Figure().subplots()] * 5}, ValueError, "5 Axes"),
        ],
    )
    def test_refuses_what_it_cannot_draw(
        self, display_class, songs, models, change, error, message
    ):
        valid = {"estimator": models.deep, "X": songs.mixtures, "y": songs.vocals}
        with pytest.raises(error, match=message):
            display_class.from_estimator(**(valid | change))


def test_arrays_have_one_rate(songs, models):
    slow = make_pipeline(MelChunker(sample_rate=8000, n_mels=20), HPSSSeparator())
    pair = {"fast": models.hpss, "slow": slow.fit(songs.mixtures)}
    for display_class in (SpectrogramDisplay, MaskDisplay):
        with pytest.raises(ValueError, match="Give files"):
            display_class.from_estimator(pair, songs.mixtures)


def test_fewer_panels_take_the_place_of_those_before():
    mask = np.random.default_rng(0).random((50, 40))
    figure = Figure()
    axes = figure.add_axes((0.1, 0.1, 0.5, 0.8))
    assert len(MaskDisplay.from_predictions(mask, mask, ax=axes).ax_) == 3
    display = MaskDisplay.from_predictions(None, mask, ax=axes)
    assert list(display.ax_) == [axes]
    assert figure.axes == [axes, display.colorbar_.ax]
    assert axes.axison


def test_one_axes_is_emptied_and_forgotten():
    mask = np.random.default_rng(0).random((50, 40))
    figure = Figure()
    axes = figure.subplots()
    axes.plot([1, 2])
    MaskDisplay.from_predictions(mask, mask, ax=axes)
    assert not axes.lines
    drawn_on = weakref.ref(figure)
    del figure, axes
    gc.collect()
    assert drawn_on() is None


def test_long_tracks_are_drawn_with_fewer_frames():
    mask = np.random.default_rng(0).random((9001, 3))
    display = MaskDisplay.from_predictions(None, mask, ax=Figure().subplots())
    short = drawn(display.ax_[0])
    assert len(short) == 3001
    np.testing.assert_allclose(short[:3000], mask[:9000].reshape(3000, 3, 3).mean(1), atol=1e-6)
    np.testing.assert_allclose(short[3000], mask[9000], atol=1e-6)
    edges = display.ax_[0].collections[0].get_coordinates()[0, :, 0]
    hop = MelChunker(n_mels=3).fit(None).front_end_.hop_length / 16000
    np.testing.assert_allclose(edges[[1, -1]], [2.5 * hop, 9000.5 * hop])


def test_the_mel_axis_of_few_hertz_has_ticks():
    chunker = {"n_fft": 8192, "f_min": 300.0, "f_max": 400.0}
    display = MaskDisplay.from_predictions(None, np.ones((50, 20)), **chunker)
    low, high = display.ax_[0].get_ylim()
    assert sum(low <= tick <= high for tick in display.ax_[0].get_yticks()) > 1


def test_without_matplotlib_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "matplotlib.pyplot", raising=False)
    with pytest.raises(ImportError, match=r"pip install 'sksep\[plot\]'"):
        MaskDisplay.from_predictions(None, np.ones((50, 40)))
