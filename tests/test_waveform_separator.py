"""Separators of waveforms: blocks, rates, channels, streams and errors, for any model."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
import soundfile
from helpers import noise
from scipy.signal import fftconvolve
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline

import sksep
from sksep import StreamingSeparator
from sksep.base import WaveformSeparator
from sksep.datasets import make_songs
from sksep.inference._files import separate_file
from sksep.metrics import sdr
from sksep.peers import FunctionSeparator

RATE = 8000


def identity(mixture: Any) -> Any:
    return mixture


def backwards(mixture: Any) -> Any:
    return mixture[:, ::-1]


def half(mixture: Any) -> Any:
    return 0.5 * mixture


def smooth(mixture: Any) -> Any:
    """A model with a memory of 2 s, as blocks of another length would show."""
    kernel = np.hanning(2 * RATE).astype(np.float32)
    kernel /= kernel.sum()
    return fftconvolve(mixture, kernel[None], mode="same", axes=1)


def separator(function: Any = identity, **parameters: Any) -> FunctionSeparator:
    settings = {"sample_rate": RATE, "block_duration": 4.0, "fade_duration": 0.5}
    return FunctionSeparator(function=function, **{**settings, **parameters}).fit([noise(10)])


def streamed(stream: StreamingSeparator, samples: Any, sizes: list[int]) -> tuple[Any, Any]:
    blocks, position, turn = [], 0, 0
    while position < samples.shape[-1]:
        size = sizes[turn % len(sizes)]
        blocks.append(stream.process(samples[..., position : position + size]))
        position, turn = position + size, turn + 1
    blocks.append(stream.finish())
    vocals, accompaniment = zip(*blocks, strict=True)
    return np.concatenate(vocals, axis=-1), np.concatenate(accompaniment, axis=-1)


@pytest.mark.parametrize("fade_duration", [0.0, 0.5, 2.0])
@pytest.mark.parametrize(
    "n_samples", [1, 7, 4 * RATE - 1, 4 * RATE, 4 * RATE + 1, 6 * RATE, 8 * RATE, 100_001]
)
def test_the_identity_returns_the_mixture(n_samples, fade_duration):
    mixture = noise(2, max(2, n_samples))
    vocals = separator(fade_duration=fade_duration).predict([mixture])[0]
    assert vocals.dtype == np.float32
    np.testing.assert_allclose(vocals, mixture, rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("model_rate", [8000, 16000, 44100, 11025])
@pytest.mark.parametrize("rate", [8000, 22050, 44100, 96000, 44099])
def test_any_rate_comes_back(tmp_path, rate, model_rate):
    seconds = np.arange(round(9.3 * rate)) / rate
    mixture = np.sin(2 * np.pi * 440.0 * seconds).astype(np.float32)
    mixture *= np.hanning(len(mixture)).astype(np.float32)
    path = tmp_path / "song.wav"
    soundfile.write(path, mixture, rate, subtype="FLOAT")
    vocals = separator(model_rate=model_rate).predict([path])[0]
    assert vocals.shape == mixture.shape
    np.testing.assert_allclose(vocals, mixture, rtol=0.0, atol=2e-4)


def test_blocks_are_cross_faded():
    """Neighboring blocks with the gains 1 and 3: the gain grows linearly in between."""
    gains = iter([1.0, 3.0])
    model = separator(lambda mixture: next(gains) * mixture, fade_duration=1.0)
    mixture = np.full(7 * RATE, 0.1, np.float32)
    gain = model.predict([mixture])[0] / mixture
    np.testing.assert_allclose(gain[: 3 * RATE], 1.0, rtol=1e-6)
    np.testing.assert_allclose(gain[4 * RATE :], 3.0, rtol=1e-6)
    ramp = 1.0 + 2.0 * (np.arange(RATE) + 0.5) / RATE
    np.testing.assert_allclose(gain[3 * RATE : 4 * RATE], ramp, rtol=1e-5)


@pytest.mark.parametrize("seconds", [3.0, 4.0, 9.0, 100.0])
def test_blocks_have_one_length_and_cover_the_track(seconds):
    lengths = []

    def record(mixture):
        lengths.append(mixture.shape[1])
        return mixture

    mixture = noise(round(seconds * RATE))
    separator(record).predict([mixture])
    assert set(lengths) == {min(len(mixture), 4 * RATE)}
    assert len(lengths) == max(1, int(np.ceil((seconds - 0.5) / 3.5)))


@pytest.mark.parametrize("rate", [8000, 44100, 22050])
@pytest.mark.parametrize("sizes", [[100_000_000], [44100], [3000, 1, 70000, 0]], ids=str)
def test_streams_equal_predict(tmp_path, rate, sizes):
    mixture = noise(2, round(13.3 * rate))
    path = tmp_path / "song.wav"
    soundfile.write(path, mixture.T, rate, subtype="FLOAT")
    model = separator(smooth)
    vocals, accompaniment = streamed(StreamingSeparator(model, rate, 2), mixture, sizes)
    np.testing.assert_allclose(vocals, model.predict([path])[0], rtol=0.0, atol=1e-5)
    np.testing.assert_array_equal(accompaniment, mixture - vocals)


@pytest.mark.parametrize("rate", [500, 2000, 8000, 16000, 44100, 192000])
def test_latency_holds_and_memory_does_not_grow(rate):
    stream = StreamingSeparator(separator(), rate)
    n_in = n_out = 0
    kept = []
    for block in np.array_split(noise(rate * 40), 157):
        n_in += len(block)
        n_out += len(stream.process(block).vocals)
        assert n_in - n_out <= stream.latency
        kept.append(sum(part.shape[1] for part in stream._stream._streams[0]._kept))
    assert stream.latency < 6 * rate + 4000
    assert max(kept) <= 2 * 4 * RATE + 40 * RATE / 157 + RATE
    stream.finish()
    assert stream.process(noise(10)).vocals.size == 0


def test_long_files_are_read_block_by_block(tmp_path, monkeypatch):
    """A long file is never in memory at once: the largest array is that of a block."""
    from sksep.base import _blocks

    largest = []
    push = _blocks.BlockStream.push

    def recorded(self, samples):
        largest.append(samples.shape[1] + sum(part.shape[1] for part in self._kept))
        return push(self, samples)

    monkeypatch.setattr(_blocks.BlockStream, "push", recorded)
    path = tmp_path / "song.wav"
    with soundfile.SoundFile(path, "w", 1000, 1) as file:
        for seed in range(12):
            file.write(noise(60 * 1000, seed=seed))
    model = separator(half, sample_rate=1000)
    outputs = {stem: tmp_path / f"{stem}.wav" for stem in ("vocals", "accompaniment")}
    report = separate_file(path, outputs, model)
    assert report.seconds == 720.0
    assert max(largest) <= 40 * 1000
    vocals, mixture = (soundfile.read(file)[0] for file in (outputs["vocals"], path))
    np.testing.assert_allclose(vocals, 0.5 * mixture, rtol=0.0, atol=1e-4)


@pytest.mark.parametrize("n_channels", [1, 2, 3, 6])
@pytest.mark.parametrize("model_channels", [None, 1, 2])
def test_channels(n_channels, model_channels):
    shapes = []

    def weighted(mixture):
        shapes.append(len(mixture))
        return mixture * np.arange(1.0, len(mixture) + 1.0)[:, None]

    model = separator(weighted, n_channels=model_channels)
    mixture = noise(n_channels, 1000)
    gains = model.predict([mixture])[0] / mixture
    expected = {
        None: np.arange(1.0, n_channels + 1.0),
        1: np.ones(n_channels),
        # Pairs have the gains 1 and 2. A channel without a partner has their mean.
        2: np.array([1.0, 2.0, 1.0, 2.0, 1.0, 2.0])[:n_channels],
    }[model_channels]
    if model_channels == 2 and n_channels % 2:
        expected[-1] = 1.5
    np.testing.assert_allclose(gains, np.repeat(expected[:, None], 1000, axis=1), rtol=1e-5)
    assert set(shapes) == {n_channels if model_channels is None else model_channels}


def test_silence_stays_silent():
    model = separator(lambda mixture: mixture + 1.0)
    assert not model.predict([np.zeros(1000)])[0].any()
    assert model.predict([noise(1000)])[0].mean() == pytest.approx(1.0, abs=0.1)


def test_the_function_gets_a_block_of_its_own():
    def spoil(mixture):
        mixture[:] = 0.0
        return mixture

    mixture = noise(3 * RATE)
    stream = StreamingSeparator(separator(spoil))
    _, accompaniment = streamed(stream, mixture, [1000])
    np.testing.assert_array_equal(accompaniment, mixture)


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda mixture: mixture[:, 1:], ValueError, r"FunctionSeparator.*shape \(1, 999\)"),
        (lambda mixture: mixture[0], ValueError, r"shape \(1000,\)"),
        (lambda mixture: None, TypeError, "NoneType"),
        (
            lambda mixture: mixture * np.nan,
            ValueError,
            r"FunctionSeparator, for X\[1\], returned NaN.*0\.0 s and 0\.1 s",
        ),
        (lambda mixture: mixture / 0.0, ValueError, "infinity"),
        (lambda mixture: mixture + 1j, TypeError, "complex"),
        (lambda mixture: ["vocals"], TypeError, "real samples"),
    ],
)
def test_the_model_is_blamed_for_what_it_returns(function, error, message):
    with np.errstate(all="ignore"), pytest.raises(error, match=message):
        separator(function).predict([np.zeros(100), noise(1000)])


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"function": None}, TypeError, "function must be"),
        ({"function": "half"}, TypeError, "function must be"),
        ({"function": FunctionSeparator}, TypeError, "function must be"),
        ({"sample_rate": 0}, ValueError, "sample_rate"),
        ({"sample_rate": "44100"}, TypeError, "sample_rate"),
        ({"model_rate": 10}, ValueError, "model_rate"),
        ({"n_channels": 3}, ValueError, "n_channels"),
        ({"block_duration": 0.5}, ValueError, "block_duration"),
        ({"fade_duration": -1.0}, ValueError, "fade_duration"),
        ({"fade_duration": 31.0}, ValueError, "at most half of block_duration"),
    ],
)
def test_wrong_parameters(parameters, error, message):
    model = FunctionSeparator(**{"function": identity, **parameters})
    with pytest.raises(error, match=message):
        model.fit([noise(10)])


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ([], ValueError, "no tracks"),
        (None, TypeError, "sequence of tracks"),
        (noise(100), TypeError, "list of tracks"),
        (["no-such-song.wav"], FileNotFoundError, "no-such-song"),
        ([noise(10), np.array([0.0, np.nan])], ValueError, r"X\[1\].*NaN"),
        ([np.zeros(10, np.int64)], TypeError, "int64"),
    ],
)
@pytest.mark.parametrize("method", ["fit", "predict", "score"])
def test_wrong_tracks(X, error, message, method):
    model = separator()
    arguments = (X, [noise(10)]) if method == "score" else (X,)
    with pytest.raises(error, match=message):
        getattr(model, method)(*arguments)


def test_unfitted():
    model = FunctionSeparator(function=identity)
    for call in (
        lambda: model.predict([noise(10)]),
        lambda: model.score([noise(10)], [noise(10)]),
        lambda: StreamingSeparator(model),
        lambda: sksep.separate(noise(10), model),
    ):
        with pytest.raises(NotFittedError, match="FunctionSeparator"):
            call()


def test_abstract():
    with pytest.raises(TypeError, match="abstract"):
        WaveformSeparator()


def test_score_is_the_mean_sdr():
    songs = make_songs(2, duration=1.0, sample_rate=RATE, random_state=0)
    model = separator(half)
    values = [sdr(*pair) for pair in zip(songs.vocals, songs.mixtures, strict=True)]
    assert model.score(songs.mixtures, songs.vocals) == pytest.approx(np.mean(values), abs=1e-4)
    weighted = model.score(songs.mixtures, songs.vocals, sample_weight=[1.0, 0.0])
    assert weighted == pytest.approx(values[0], abs=1e-4)
    with pytest.raises(ValueError, match="one to one"):
        model.score(songs.mixtures, songs.vocals[:1])


def test_model_selection():
    songs = make_songs(4, duration=1.0, sample_rate=RATE, random_state=0)
    search = GridSearchCV(
        FunctionSeparator(function=identity, sample_rate=RATE, fade_duration=0.25),
        {"function": [backwards, identity], "block_duration": [1.0, 4.0]},
        cv=2,
        error_score="raise",
    ).fit(songs.mixtures, songs.vocals)
    assert search.best_params_["function"] is identity
    scores = cross_validate(search.best_estimator_, songs.mixtures, songs.vocals, cv=2)
    assert np.isfinite(scores["test_score"]).all()
    # A fitted search, a frozen model and a pipeline of one step are models, too.
    mixture = songs.mixtures[0]
    expected = search.predict([mixture])[0]
    for model in (
        search,
        FrozenEstimator(search.best_estimator_),
        make_pipeline(search.best_estimator_),
    ):
        np.testing.assert_array_equal(sksep.separate(mixture, model).vocals, expected)
        assert StreamingSeparator(model).sample_rate == RATE


def test_copies():
    model = separator(half)
    copy = clone(model)
    assert not hasattr(copy, "model_")
    assert copy.get_params() == model.get_params()
    restored = pickle.loads(pickle.dumps(model))
    mixture = noise(1000)
    np.testing.assert_array_equal(restored.predict([mixture])[0], 0.5 * mixture)


def test_separate_and_activity(tmp_path):
    mixture = noise(2, 5 * 22050)
    path = tmp_path / "song.wav"
    soundfile.write(path, mixture.T, 22050, subtype="FLOAT")
    model = separator(half, sample_rate=22050)
    for source in (path, mixture):
        vocals, accompaniment, sample_rate = sksep.separate(source, model)
        assert sample_rate == 22050
        np.testing.assert_allclose(vocals, 0.5 * mixture, atol=1e-6)
        np.testing.assert_array_equal(accompaniment, mixture - vocals)
    assert sksep.separate(mixture, model, sample_rate=44100).sample_rate == 44100
    assert sksep.vocal_activity(np.zeros(22050), model).label == "instrumental"
    with pytest.raises(ValueError, match="n_iter"):
        sksep.separate(mixture, model, n_iter=3)


def test_estimators_without_a_stream_predict_whole_tracks():
    class Whole:
        sample_rate = RATE

        def predict(self, X):
            return [0.5 * np.asarray(track, np.float32) for track in X]

    mixture = noise(1000)
    np.testing.assert_allclose(sksep.separate(mixture, Whole()).vocals, 0.5 * mixture, rtol=1e-6)
    with pytest.raises(TypeError, match="predict"):
        StreamingSeparator(Whole())


def test_displays():
    pytest.importorskip("matplotlib")
    from sksep.plotting import AudioDisplay, MaskDisplay, ScoreDisplay, SpectrogramDisplay

    songs = make_songs(2, duration=1.0, sample_rate=RATE, random_state=0)
    X, y = songs.mixtures, songs.vocals
    model = separator(half)
    scores = ScoreDisplay.from_estimator(model, X, y).scores_
    assert list(scores) == ["FunctionSeparator"]
    display = SpectrogramDisplay.from_estimator({"half": model}, X, y)
    assert list(display.spectrograms_) == ["Mixture", "True vocals", "half"]
    difference = display.spectrograms_["Mixture"] - display.spectrograms_["half"]
    loud = display.spectrograms_["half"] > -60.0
    np.testing.assert_allclose(difference[loud], 10 * np.log10(4.0), atol=1e-3)
    players = AudioDisplay.from_estimator({"half": model}, X, track=1)
    np.testing.assert_allclose(players.waveforms_["half"], 0.5 * X[1], atol=1e-6)
    with pytest.raises(TypeError, match="must be a pipeline"):
        MaskDisplay.from_estimator(model, X, y)


def test_evaluate_takes_separators_of_waveforms(tmp_path, monkeypatch):
    from click.testing import CliRunner

    from sksep.cli import main
    from sksep.inference import _models

    songs = make_songs(1, duration=1.0, sample_rate=16000, random_state=0)
    folder = tmp_path / "songs" / "one"
    folder.mkdir(parents=True)
    for name, stem in (("mixture", songs.mixtures[0]), ("vocals", songs.vocals[0])):
        soundfile.write(folder / f"{name}.wav", stem, 16000, subtype="FLOAT")
    monkeypatch.setattr(_models, "load_model", lambda *_, **__: separator(half, sample_rate=16000))
    result = CliRunner().invoke(main, ["evaluate", "half", str(tmp_path / "songs")])
    assert result.exit_code == 0, result.output
    assert "Griffin-Lim" not in result.output
    assert "half" in result.output
