"""Players, and the display of batches and separations in notebooks."""

import base64
import builtins
import html
import io
import re

import numpy as np
import pytest
import soundfile
from matplotlib.image import imread
from sklearn.pipeline import make_pipeline

from sksep import HPSSSeparator, MaskBuilder, MelChunker
from sksep.base._batch import TrackBatch
from sksep.datasets import make_songs
from sksep.inference._separate import Separation
from sksep.plotting import AudioDisplay

_SIXTEEN_BITS = 2.0**-15


def _noise(shape=8000, level=0.1, seed=0):
    return np.random.default_rng(seed).uniform(-level, level, shape)


def _players(display):
    """The caption, waveform and rate of each player, as a browser gets them."""
    page = display._repr_html_()
    captions = re.findall(r"<figcaption[^>]*>(.*?)</figcaption>", page)
    sounds = [
        soundfile.read(io.BytesIO(base64.b64decode(code)), always_2d=True)
        for code in re.findall(r'src="data:audio/flac;base64,([^"]+)"', page)
    ]
    assert page.count("<audio controls") == len(sounds) == len(captions)
    return captions, sounds


def test_players_hold_the_waveforms_times_one_gain():
    waveforms = {"loud": _noise(level=0.5), "soft": _noise((2, 4000), level=0.01, seed=1)}
    display = AudioDisplay(waveforms, sample_rate=22050)
    captions, sounds = _players(display)
    assert captions == ["loud", "soft"]
    assert np.isclose(display.gain_, 1.0 / np.abs(waveforms["loud"]).max(), rtol=1e-4)
    for waveform, (decoded, rate) in zip(waveforms.values(), sounds, strict=True):
        assert rate == 22050
        expected = np.atleast_2d(waveform).T * display.gain_
        assert decoded.shape == expected.shape
        np.testing.assert_allclose(decoded, expected, rtol=0, atol=_SIXTEEN_BITS)


@pytest.mark.parametrize(
    ("level", "gain"), [(4.0, 0.25), (1e-4, 10.0), (0.0, 1.0)], ids=["over", "faint", "silent"]
)
def test_gain_prevents_clipping_and_stays_below_20_decibels(level, gain):
    display = AudioDisplay({"tone": level * np.array([1.0, -1.0] * 500)})
    captions, [(decoded, _)] = _players(display)
    assert np.isclose(display.gain_, gain, rtol=1e-4)
    expected = level * display.gain_ * np.array([1.0, -1.0] * 500)
    np.testing.assert_allclose(decoded[:, 0], expected, rtol=0, atol=_SIXTEEN_BITS)
    assert ("silent" in captions[0]) == (level == 0.0)


def test_long_waveforms_are_shortened_and_their_captions_say_so():
    waveforms = {"long": _noise(4000), "short": _noise(500)}
    captions, sounds = _players(AudioDisplay(waveforms, sample_rate=1000, max_duration=1.5))
    assert [len(decoded) for decoded, _ in sounds] == [1500, 500]
    assert "first 1.5 s of 4 s" in captions[0]
    assert captions[1] == "short"
    captions, _ = _players(AudioDisplay({"long": _noise(12345)}, sample_rate=10))
    assert "first 30 s of 1234.5 s" in captions[0]
    _, sounds = _players(AudioDisplay(waveforms, sample_rate=1000, max_duration=None))
    assert [len(decoded) for decoded, _ in sounds] == [4000, 500]


def test_gain_does_not_depend_on_what_is_cut_off():
    waveform = np.concatenate([_noise(1000, 0.25), _noise(1000, 1.0)])
    display = AudioDisplay({"song": waveform}, sample_rate=1000, max_duration=1.0)
    assert np.isclose(display.gain_ * np.abs(waveform[:1000]).max(), 1.0, rtol=1e-4)


def test_files_keep_their_own_rate(tmp_path):
    waveform = _noise((3000, 2))
    soundfile.write(tmp_path / "song.wav", waveform, 44100, subtype="FLOAT")
    display = AudioDisplay({"file": tmp_path / "song.wav", "array": _noise(100)}, sample_rate=8000)
    _, [(decoded, rate), (_, other)] = _players(display)
    assert (rate, other) == (44100, 8000)
    np.testing.assert_allclose(decoded, waveform * display.gain_, rtol=0, atol=_SIXTEEN_BITS)


def test_page_escapes_names_repeats_itself_and_has_no_fixed_widths_or_colors():
    name = '<script>alert("1")</script> & Söhne'
    display = AudioDisplay({name: _noise(), "other": _noise()})
    page = display._repr_html_()
    assert "<script" not in page
    assert page.count(html.escape(name)) == 2
    assert page == display._repr_html_()
    assert page == AudioDisplay({name: _noise(), "other": _noise()})._repr_html_()
    without_sound = re.sub(r'src="[^"]*"', "", page)
    assert not re.search(r"color|background|\d(px|pt)\b", without_sound)


def test_numbers_and_integers_are_waveforms_too():
    _, [(decoded, _)] = _players(AudioDisplay({1: np.array([16384, -16384], dtype=np.int16)}))
    np.testing.assert_allclose(decoded[:, 0], [1.0, -1.0], atol=_SIXTEEN_BITS)


@pytest.mark.parametrize(
    ("waveforms", "parameters", "error", "message"),
    [
        (np.zeros(10), {}, TypeError, "dict of names"),
        ({}, {}, ValueError, "empty"),
        ({"a": np.zeros(0)}, {}, ValueError, "'a' is empty"),
        ({"a": [0.0, np.nan]}, {}, ValueError, "'a' contains NaN"),
        ({"a": np.zeros((9, 20))}, {}, ValueError, "9 channels"),
        ({"a": np.zeros((1, 2, 3))}, {}, ValueError, "3 dimensions"),
        ({"a": "nowhere.wav"}, {}, FileNotFoundError, "no file"),
        ({"a": [0.0]}, {"max_duration": 0.0}, ValueError, "max_duration"),
        ({"a": [0.0]}, {"max_duration": "long"}, TypeError, "max_duration"),
        ({"a": [0.0]}, {"sample_rate": 0}, ValueError, "sample_rate"),
        ({"a": [0.0]}, {"sample_rate": 700_000}, ValueError, "700000 Hz"),
        ({1: [0.0], "1": [0.0]}, {}, ValueError, "other names"),
        ({"a": [0.0]}, {"sample_rate": 8000.0}, TypeError, "sample_rate"),
    ],
)
def test_bad_waveforms(waveforms, parameters, error, message):
    with pytest.raises(error, match=message):
        AudioDisplay(waveforms, **parameters)


def test_predictions():
    truth, mixture = _noise(), _noise(seed=1)
    display = AudioDisplay.from_predictions(truth, {"A": truth, "B": mixture}, mixture=mixture)
    assert list(display.waveforms_) == ["Mixture", "True vocals", "A", "B"]
    assert list(AudioDisplay.from_predictions(None, truth, name="C").waveforms_) == ["C"]
    with pytest.raises(ValueError, match="Mixture"):
        AudioDisplay.from_predictions(None, {"Mixture": truth}, mixture=mixture)


@pytest.fixture(scope="module")
def songs():
    return make_songs(6, duration=1.0, random_state=0)


@pytest.fixture(scope="module")
def model(songs):
    return make_pipeline(MelChunker(), HPSSSeparator()).fit(songs.mixtures)


def test_estimator_plays_the_picked_track(songs, model):
    display = AudioDisplay.from_estimator(model, songs.mixtures, songs.vocals, track=-1)
    assert list(display.waveforms_) == ["Mixture", "True vocals", "HPSSSeparator"]
    expected = [songs.mixtures[5], songs.vocals[5], model.predict(songs.mixtures[5:])[0]]
    for waveform, other in zip(display.waveforms_.values(), expected, strict=True):
        np.testing.assert_array_equal(waveform, other)
    display = AudioDisplay.from_estimator({"A": model, "B": model}, songs.mixtures)
    assert list(display.waveforms_) == ["Mixture", "A", "B"]
    with pytest.raises(ValueError, match="out of range"):
        AudioDisplay.from_estimator(model, songs.mixtures, track=6)


def test_estimate_of_a_file_has_the_rate_of_the_file(tmp_path, model):
    soundfile.write(tmp_path / "song.wav", _noise(22050), 22050)
    display = AudioDisplay.from_estimator(model, [tmp_path / "song.wav"])
    assert display.sample_rates_ == {"Mixture": 22050, "HPSSSeparator": 22050}


def test_separation_plays_its_stems():
    separation = Separation(np.float32(_noise((2, 900))), np.float32(_noise((2, 900))), 44100)
    captions, sounds = _players(separation)
    assert captions == ["Vocals", "Accompaniment"]
    assert [(decoded.shape, rate) for decoded, rate in sounds] == [((900, 2), 44100)] * 2
    assert len(separation) == 3  # still a tuple


def test_batch_shows_a_table_and_a_picture(songs):
    batch = MaskBuilder().fit_transform(MelChunker().transform(songs.mixtures), songs.vocals)
    page = batch._repr_html_()
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in re.findall(r"<tr>(.*?)</tr>", page)][1:]
    assert len(rows) == 5
    n_chunks = len(batch[0].chunks)
    assert rows[0] == ["X[0]", "1.00", "16000", "1", str(n_chunks), "yes", "no"]
    assert "6 tracks" in page
    assert "and 1 more" in page
    code = re.search(r'src="data:image/png;base64,([^"]+)"', page)[1]
    image = imread(io.BytesIO(base64.b64decode(code)))
    assert image.std() > 0.01
    masked = batch.with_masks([record.targets.proportion_mask for record in batch])
    assert "more" not in masked[:2]._repr_html_()
    assert masked[:1]._repr_html_().count("<td>yes<") == 2


def test_batch_escapes_the_names_of_files(tmp_path):
    path = tmp_path / "<b>&.wav"
    soundfile.write(path, np.zeros(2000), 16000)  # a silent song has a picture, too
    page = MelChunker().transform([path])._repr_html_()
    assert "<b>" not in page
    assert "&lt;b&gt;&amp;.wav" in page
    assert "more" not in page


def test_batch_shows_itself_without_matplotlib_and_without_tracks(songs, monkeypatch):
    batch = MelChunker().transform(songs.mixtures[:1])
    real_import = builtins.__import__

    def without_matplotlib(name, *args, **kwargs):
        if name.startswith("matplotlib"):
            raise ImportError(name)
        return real_import(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without_matplotlib)
    page = batch._repr_html_()
    assert "<table" in page
    assert "<img" not in page
    assert "0 tracks" in TrackBatch([])._repr_html_()
