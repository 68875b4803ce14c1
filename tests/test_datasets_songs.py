"""Synthetic songs: reproducible, with exact sums, and similar to a voice over a band."""

import librosa
import numpy as np
import pytest

from sksep.datasets import make_songs


@pytest.fixture(scope="module")
def songs():
    return make_songs(6, random_state=0)


def test_contents(songs):
    assert songs.sample_rate == 16000 and songs.split is None and songs.DESCR
    assert len(songs.mixtures) == len(songs.vocals) == len(songs.accompaniments) == 6
    assert len(set(songs.track_names)) == 6
    for mixture, vocals, accompaniment in zip(
        songs.mixtures, songs.vocals, songs.accompaniments, strict=True
    ):
        for sound in (mixture, vocals, accompaniment):
            assert sound.shape == (96000,) and sound.dtype == np.float32
            assert 0.05 < np.abs(sound).max() < 1.0
        np.testing.assert_array_equal(mixture, vocals + accompaniment)
        level = 10 * np.log10(np.sum(vocals**2.0) / np.sum(accompaniment**2.0))
        assert -3.01 < level < 0.01


def test_random_state_reproduces():
    first, second = make_songs(2, 1.0, random_state=3), make_songs(2, 1.0, random_state=3)
    other = make_songs(2, 1.0, random_state=4)
    np.testing.assert_array_equal(first.mixtures, second.mixtures)
    assert not np.array_equal(first.mixtures, other.mixtures)
    legacy = make_songs(2, 1.0, random_state=np.random.RandomState(3))
    np.testing.assert_array_equal(first.mixtures, legacy.mixtures)
    assert not np.array_equal(make_songs(1, 0.5).mixtures, make_songs(1, 0.5).mixtures)


def test_a_song_does_not_depend_on_the_number_of_songs(songs):
    for index, mixture in enumerate(make_songs(2, random_state=0).mixtures):
        np.testing.assert_array_equal(mixture, songs.mixtures[index])


def test_singers_have_several_songs(songs):
    names, counts = np.unique(songs.groups, return_counts=True)
    assert len(names) == 3 and (counts == 2).all()
    # Two songs of one singer lie within an octave. There are high and low voices.
    medians = [np.median(_pitch(vocals)[_loud(vocals)]) for vocals in songs.vocals]
    medians = 12 * np.log2(np.array(medians).reshape(3, 2))
    assert np.abs(medians[:, 0] - medians[:, 1]).max() < 12
    assert np.ptp(medians) > 8


def test_the_voice_moves_pauses_and_hisses(songs):
    for vocals in songs.vocals:
        loud = _loud(vocals)
        semitones = 12 * np.log2(_pitch(vocals)[loud] / 440)
        assert np.percentile(semitones, 90) - np.percentile(semitones, 10) > 1.5
        quiet = librosa.feature.rms(y=vocals, frame_length=1024, hop_length=256)[0]
        assert np.mean(quiet < 0.03 * quiet.max()) > 0.04  # pauses
    # Consonants are frames whose energy lies above 3 kHz.
    centroids = np.concatenate(
        [librosa.feature.spectral_centroid(y=v, sr=16000)[0][_loud(v)] for v in songs.vocals]
    )
    assert 0.002 < np.mean(centroids > 3000) < 0.3
    assert np.median(centroids) < 2000


def test_the_voice_has_formants_and_the_band_has_bass(songs):
    def share(sounds, low, high):
        spectrum = sum(np.abs(np.fft.rfft(sound)) ** 2 for sound in sounds)
        hertz = np.fft.rfftfreq(sounds[0].size, 1 / 16000)
        return spectrum[(hertz >= low) & (hertz < high)].sum() / spectrum.sum()

    assert share(songs.vocals, 0, 70) < 0.02
    assert share(songs.vocals, 1000, 5000) > 0.02
    assert share(songs.accompaniments, 0, 150) > 0.15
    assert share(songs.accompaniments, 4000, 8000) > 0.001


@pytest.mark.parametrize("n_channels", [2, 3])
def test_channels(n_channels):
    songs = make_songs(2, 1.0, n_channels=n_channels, random_state=0)
    for mixture, vocals, accompaniment in zip(
        songs.mixtures, songs.vocals, songs.accompaniments, strict=True
    ):
        assert mixture.shape == (n_channels, 16000)
        np.testing.assert_array_equal(mixture, vocals + accompaniment)
        assert not np.allclose(accompaniment[0], accompaniment[1], atol=1e-3)
        # The voice is in the middle of the stereo image.
        assert np.corrcoef(vocals[0], vocals[1])[0, 1] > 0.8


@pytest.mark.parametrize("sample_rate", [8000, 22050, 44100, 48000])
@pytest.mark.parametrize("duration", [1e-3, 0.05, 1.3])
def test_any_rate_and_length(sample_rate, duration):
    songs = make_songs(3, duration, sample_rate=sample_rate, random_state=1)
    assert songs.sample_rate == sample_rate
    for mixture in songs.mixtures:
        assert mixture.shape == (round(duration * sample_rate),)
        assert np.isfinite(mixture).all() and np.abs(mixture).max() < 1


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_tracks": 0}, "n_tracks"),
        ({"n_tracks": 1.5}, "n_tracks"),
        ({"n_channels": 0}, "n_channels"),
        ({"sample_rate": 4000}, "sample_rate"),
        ({"duration": 0}, "duration"),
        ({"duration": "6"}, "duration"),
        ({"duration": float("nan")}, "duration"),
        ({"duration": float("inf")}, "duration"),
    ],
)
def test_parameters_out_of_range(parameters, message):
    with pytest.raises(ValueError, match=message):
        make_songs(**parameters)


def _pitch(vocals):
    return librosa.yin(vocals, fmin=70, fmax=900, sr=16000, frame_length=2048, hop_length=512)


def _loud(vocals):
    level = librosa.feature.rms(y=vocals, frame_length=2048, hop_length=512)[0]
    return level > 0.2 * level.max()


@pytest.mark.parametrize("sample_rate", [8000, 11025, 16000])
def test_voices_are_loudest_below_their_third_formant(sample_rate):
    for voice in make_songs(3, 3.0, sample_rate=sample_rate, random_state=0).vocals:
        power = np.abs(np.fft.rfft(voice)) ** 2
        frequencies = np.fft.rfftfreq(len(voice), 1.0 / sample_rate)
        assert power[frequencies < 2500].sum() > 0.8 * power.sum()
