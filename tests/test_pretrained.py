"""The shipped models: complete, small, described, and of use for a synthetic song."""

from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.pipeline import Pipeline

import sksep
from sksep import UHNetSeparator, UNetSeparator
from sksep.datasets import load_musdb18, make_songs
from sksep.metrics import sdr
from sksep.peers import SpleeterSeparator
from sksep.pretrained import list_pretrained, load_detector, load_pretrained

PIPELINES = ("uhnet", "uhnet-mir1k", "unet-mir1k", "small-v1", "unet-mir1k-v1")
WAVEFORM_MODELS = ("unet", "small")
NAMES = ("unet", "uhnet", "small", *PIPELINES[1:])
CLASSES = {
    name: UHNetSeparator if name.startswith("uhnet") else UNetSeparator for name in PIPELINES
}


@pytest.fixture(scope="module")
def models():
    return {name: load_pretrained(name, device="cpu") for name in NAMES}


def test_all_ship_with_a_card():
    cards = {card.name: card for card in list_pretrained()}
    assert tuple(cards) == NAMES
    for card in cards.values():
        assert 0 < card.size_mb <= 16
        texts = (card.summary, card.architecture, card.training_data, card.terms, card.limits)
        assert all(len(text) > 20 for text in texts)
        assert card.figures
        assert "BSSEval v3" in card.protocol
        assert "non-commercial" in card.terms


def test_nothing_else_ships():
    folder = Path(sksep.pretrained.__file__).parent
    names = {path.name for path in folder.iterdir() if path.suffix != ".py"} - {"__pycache__"}
    expected = {f"{name}{suffix}" for name in NAMES for suffix in (".json", ".safetensors")}
    assert names == {*expected, "LICENSE-spleeter.txt"}


@pytest.mark.parametrize("name", PIPELINES)
def test_is_a_pipeline_like_any_other(models, name):
    pipeline = models[name]
    assert isinstance(pipeline, Pipeline)
    assert type(pipeline["separate"]) is CLASSES[name]
    unfitted = clone(pipeline)
    assert unfitted.get_params()["separate__lr"] == pipeline["separate"].lr
    # The model holds no files of the machine that it was trained on.
    augmentation = pipeline["separate"].augmentation
    assert augmentation.vocals_pool is None
    assert augmentation.accompaniment_pool is None
    assert pipeline["separate"].callbacks is None


@pytest.mark.parametrize("name", NAMES)
def test_separates_the_same_at_every_level(models, name):
    song = make_songs(1, duration=6.0, random_state=0).mixtures[0]
    quiet, loud = models[name].predict([0.1 * song, song])
    assert np.isfinite(loud).all()
    assert 0.01 < np.linalg.norm(loud) / np.linalg.norm(song) < 1.0
    np.testing.assert_allclose(10.0 * quiet, loud, atol=1e-3)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("name", NAMES)
def test_the_number_of_threads_matters_in_the_last_digits_only(models, name):
    mixtures = make_songs(1, 4.0, random_state=0).mixtures
    expected = models[name].predict(mixtures)[0]
    for n_threads in (2, 3):
        torch.set_num_threads(n_threads)
        estimate = models[name].predict(mixtures)[0]
        np.testing.assert_array_equal(models[name].predict(mixtures)[0], estimate)
        np.testing.assert_allclose(estimate, expected, atol=1e-6)


@pytest.mark.parametrize("name", NAMES)
def test_silence_stays_silent(models, name):
    (vocals,) = models[name].predict([np.zeros(20000, np.float32)])
    assert not vocals.any()


def test_recordings_gain(models, data_home):
    """Files and code must belong together. Most of these songs were trained on."""
    songs = load_musdb18(data_home / "musdb18-7s", subset="train")
    bounds = {
        "unet": 10.0,
        "uhnet": 8.0,
        "small": 9.0,
        "small-v1": 7.0,
        "uhnet-mir1k": 3.0,
        "unet-mir1k": 1.5,
    }
    for name, least in bounds.items():
        gains = []
        for index in range(0, len(songs.mixtures), 12):
            separation = sksep.separate(songs.mixtures[index], models[name])
            truth, _ = sksep.load_audio(songs.vocals[index])
            mixture, _ = sksep.load_audio(songs.mixtures[index])
            of_mean = [part.mean(axis=0) for part in (truth, separation.vocals, mixture)]
            gains.append(sdr(of_mean[0], of_mean[1]) - sdr(of_mean[0], of_mean[2]))
        assert np.mean(gains) > least, name


def test_the_default_is_a_separator_of_waveforms(models):
    for name in WAVEFORM_MODELS:
        model = models[name]
        assert type(model) is SpleeterSeparator
        assert clone(model).get_params() == {"weights": name, "device": "cpu", "sample_rate": 16000}
    assert isinstance(load_pretrained(device="cpu"), SpleeterSeparator)


def test_unknown_names():
    with pytest.raises(ValueError, match="uhnet"):
        load_pretrained("umx")
    with pytest.raises(ValueError, match="uhnet"):
        load_detector("umx")


@pytest.mark.parametrize("name", NAMES)
def test_detectors_load(name):
    assert 0.0 < load_detector(name).off <= load_detector(name).on < 1.0


@pytest.mark.parametrize("name", ["uhnet", "small-v1"])
def test_bfloat16_is_close_to_float32(name):
    songs = make_songs(2, duration=5.0, random_state=0)
    pipeline = load_pretrained(name, device="cpu")
    masks, scores = [], []
    for precision in ("float32", "bfloat16"):
        pipeline.set_params(separate__precision=precision)
        masks.append([record.mask for record in pipeline[:-1].transform(songs.mixtures)])
        vocals = pipeline.predict(songs.mixtures)
        scores.append([float(sdr(*pair)) for pair in zip(songs.vocals, vocals, strict=True)])
    for expected, mask in zip(*masks, strict=True):
        difference = np.abs(mask - expected).mean()
        assert 0.0 < difference < 1e-2 * expected.mean()
    np.testing.assert_allclose(scores[1], scores[0], atol=0.05)
