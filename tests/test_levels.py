"""The gain of a recording and the phase of its channels do not matter to what is separated."""

import warnings

import numpy as np
import pytest
import soundfile
import torch

import sksep
from sksep import DeepClusteringSeparator, HybridClusteringSeparator, MaskBuilder, MelChunker
from sksep.datasets import make_songs
from sksep.metrics import sdr
from sksep.nn.levels import LevelNormalizer, chunk_levels

GAINS = (-60.0, -40.0, -20.0, 90.0)


@pytest.fixture(scope="module")
def song():
    songs = make_songs(1, duration=6.0, random_state=3)
    return songs.mixtures[0].astype(np.float32), songs.vocals[0].astype(np.float32)


@pytest.fixture(scope="module")
def small():
    return sksep.load_pretrained("small", device="cpu")


def quietly(function, *args, **parameters):
    """Call a function that may warn of amplitudes beyond full scale."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*full scale", UserWarning)
        return function(*args, **parameters)


@pytest.mark.parametrize("gain", GAINS)
def test_predictions_scale_with_the_recording(small, song, gain):
    mixture, vocals = song
    factor = np.float32(10.0 ** (gain / 20.0))
    expected = small.predict([mixture])[0]
    estimate = quietly(small.predict, [mixture * factor])[0] / factor
    assert sdr(vocals, estimate) == pytest.approx(sdr(vocals, expected), abs=0.01)
    np.testing.assert_allclose(estimate, expected, atol=1e-3)


@pytest.mark.parametrize("gain", GAINS)
def test_streams_files_and_activity_scale_too(small, song, gain, tmp_path):
    mixture, _ = song
    factor = np.float32(10.0 ** (gain / 20.0))
    scaled = mixture * factor
    expected = small.predict([mixture])[0]
    stream = sksep.StreamingSeparator(small)
    blocks = [quietly(stream.process, block).vocals for block in np.array_split(scaled, 7)]
    vocals = np.concatenate([*blocks, stream.finish().vocals]) / factor
    np.testing.assert_allclose(vocals, expected, atol=1e-3)
    soundfile.write(tmp_path / "song.wav", scaled, 16000, subtype="FLOAT")
    separated = sksep.separate(tmp_path / "song.wav", small).vocals / factor
    np.testing.assert_allclose(separated, expected, atol=1e-3)
    heard = sksep.vocal_activity(tmp_path / "song.wav", small)
    np.testing.assert_allclose(
        heard.probabilities, sksep.vocal_activity(mixture, small).probabilities, atol=1e-2
    )


@pytest.mark.parametrize(
    "separator",
    [
        DeepClusteringSeparator(hidden_size=8, n_layers=1, max_epochs=1, random_state=0),
        HybridClusteringSeparator(
            output="mask", hidden_size=8, n_layers=1, max_epochs=1, random_state=0
        ),
        sksep.NMFSeparator(n_components=4, max_iter=5, random_state=0),
        sksep.HPSSSeparator(),
        sksep.RepetSimSeparator(),
        sksep.RobustPCASeparator(),
    ],
)
def test_masks_of_all_separators_are_those_of_full_level(separator, song):
    mixture, vocals = song[0][:32000], song[1][:32000]
    chunker = MelChunker(n_mels=32)
    batch = MaskBuilder().fit_transform(chunker.transform([mixture]), [vocals])
    separator.fit(batch)
    expected = separator.predict_mask(batch)[0]
    softer = separator.predict_mask(chunker.transform([mixture * np.float32(1e-3)]))[0]
    # Single bins may change sides by rounding.
    assert np.mean(np.abs(softer - expected)) < 1e-3


def test_the_level_is_learned_and_saved(song, tmp_path):
    chunker = MelChunker(n_mels=32)
    batch = MaskBuilder().fit_transform(chunker.transform([song[0]]), [song[1]])
    separator = sksep.UNetSeparator(n_filters=2, n_levels=2, max_epochs=1, random_state=0)
    separator.fit(batch)
    mean = separator.net_.module_.mean
    loudest = chunk_levels(torch.tensor(batch[0].chunks), mean).max()
    assert separator.level_ == pytest.approx(float(loudest), abs=0.01)
    sksep.save(separator, tmp_path / "separator.safetensors")
    assert sksep.load(tmp_path / "separator.safetensors").level_ == separator.level_


def test_vocals_in_antiphase_are_heard(small, song):
    mixture, vocals = song
    accompaniment = mixture - vocals
    truth = np.stack([vocals, -vocals])
    usual, turned = small.predict(
        [np.stack([vocals, vocals]) + accompaniment, truth + accompaniment]
    )
    score = np.mean([sdr(true, found) for true, found in zip(truth, turned, strict=True)])
    expected = sdr(vocals, usual[0])
    floor = sdr(vocals, mixture)
    assert score > floor + 0.6 * (expected - floor)


def test_normalizers_do_not_depend_on_blocks():
    generator = torch.Generator().manual_seed(0)
    chunks = -60.0 + 20.0 * torch.rand(9, 5, 4, generator=generator)
    mean = torch.full((4,), -40.0)
    whole = LevelNormalizer(mean, 6.0).push(chunks)
    parts = LevelNormalizer(mean, 6.0)
    assert torch.equal(torch.cat([parts.push(part) for part in chunks.split(2)]), whole)
    levels = chunk_levels(whole, mean)
    assert levels[0] == pytest.approx(6.0, abs=1e-4)
    assert levels.max() <= 6.0 + 1e-4


def test_silence_has_no_level():
    mean = torch.full((4,), -40.0)
    silence = torch.full((2, 5, 4), -240.0)
    assert torch.equal(LevelNormalizer(mean, 6.0).push(silence), torch.full((2, 5, 4), -100.0))
    # Frames behind the end of a track do not count.
    half = torch.cat([torch.full((1, 3, 4), -30.0), torch.full((1, 2, 4), -240.0)], dim=1)
    assert chunk_levels(half, mean) == pytest.approx(10.0, abs=1e-4)
