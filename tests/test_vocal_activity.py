"""Levels of blocks of any size, and where vocals sound according to them."""

import json

import numpy as np
import pytest
from sklearn.metrics import f1_score, roc_auc_score

import sksep
from sksep._activity_levels import FRAME_HOP, N_BANDS, SILENCE, LevelMeter
from sksep._vocal_activity import N_FEATURES, ActivityDetector, VocalActivity
from sksep.datasets import load_mir1k

RATE = 16000


def noise(n_samples, level=0.1, seed=0):
    return np.random.default_rng(seed).normal(0, level, n_samples).astype(np.float32)


def levels_of(mixture, vocals, sizes=(10**9,), rate=RATE):
    meter = LevelMeter(rate)
    position = turn = 0
    while position < mixture.shape[-1]:
        part = slice(position, position + sizes[turn % len(sizes)])
        meter.add(mixture[..., part], vocals[..., part])
        position, turn = part.stop, turn + 1
    return meter.levels()


def song(seed, seconds=20.0, gap=40.0):
    """Levels of a made-up song, in which vocals come and go, and where they sound."""
    random = np.random.default_rng(seed)
    n_frames = round(seconds / FRAME_HOP)
    lengths = random.integers(20, 150, size=n_frames)
    sings = np.repeat(np.arange(n_frames) % 2 == 1, lengths)[:n_frames]
    mixture = random.normal(-20, 3, n_frames)
    vocals = mixture - np.where(sings, 3, gap) + random.normal(0, 6, n_frames)
    return in_bands(np.stack([np.minimum(vocals, mixture), mixture], axis=1)), sings


def in_bands(levels):
    """Levels (n_frames, 2, n_bands) that are alike in all bands."""
    return np.repeat(levels[:, :, None], N_BANDS, axis=2)


@pytest.fixture(scope="module")
def detector():
    songs = [song(seed) for seed in range(4)]
    return ActivityDetector.learn([each for each, _ in songs], [sings for _, sings in songs])


def simple(**parameters):
    """A detector whose probability is high where the vocals are within 20 dB of the mixture."""
    weights = np.zeros(N_FEATURES)
    weights[1 + N_BANDS] = 10.0  # the ratio of all bands, in units of 10 dB
    return ActivityDetector(tuple(weights), 20.0, **parameters)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 44100])
@pytest.mark.parametrize("sizes", [(1000,), (1, 5000, 0, 333)])
def test_block_sizes_make_no_difference(rate, sizes):
    mixture, vocals = noise(2 * rate), noise(2 * rate, 0.05, seed=1)
    whole = levels_of(mixture, vocals, rate=rate)
    np.testing.assert_allclose(levels_of(mixture, vocals, sizes, rate), whole, atol=1e-4)
    assert len(whole) == 99  # of 40 ms, 20 ms apart


def test_levels_of_tones():
    times = np.arange(RATE) / RATE
    inside, below = np.sin(2 * np.pi * 1000 * times), np.sin(2 * np.pi * 40 * times)
    levels = levels_of(0.1 * inside, 0.01 * inside)
    np.testing.assert_allclose(levels[:, :, 3], [[-43.01, -23.01]] * 49, atol=0.02)
    assert (np.delete(levels, 3, axis=2) < -100).all()  # the band is 800 to 1600 Hz
    assert (levels_of(below, below)[:, :, 1:] < -55).all()
    assert (levels_of(np.zeros(RATE), np.zeros(RATE)) == SILENCE).all()


def test_channels_are_averaged():
    mixture, vocals = noise(RATE), noise(RATE, seed=1)
    stereo = levels_of(np.stack([2 * mixture, 0 * mixture]), np.stack([vocals, vocals]))
    np.testing.assert_allclose(stereo, levels_of(mixture, vocals), atol=1e-3)


def test_lengths_must_agree():
    with pytest.raises(ValueError, match="same part"):
        LevelMeter(RATE).add(np.zeros(10), np.zeros(11))
    with pytest.raises(ValueError, match="sample_rate"):
        LevelMeter(100)


def test_it_learns(detector):
    levels, sings = song(seed=9)
    activity = detector.detect(levels)
    assert roc_auc_score(sings, activity.probabilities) > 0.99
    assert f1_score(sings, activity.is_active()) > 0.95
    assert activity.label == "vocal"
    assert activity.share == pytest.approx(sings.mean(), abs=0.05)


@pytest.mark.parametrize("gain", [-30.0, 12.0])
def test_the_gain_of_a_song_does_not_matter(detector, gain):
    levels, _ = song(seed=9)
    before, after = detector.detect(levels), detector.detect(levels + gain)
    np.testing.assert_allclose(after.probabilities, before.probabilities, atol=1e-9)
    np.testing.assert_array_equal(after.intervals, before.intervals)


def test_known_intervals_are_found():
    mixture = noise(10 * RATE, 0.01)
    vocals = np.zeros(10 * RATE, np.float32)
    for start, stop in ((1.0, 2.5), (4.0, 8.0)):
        part = slice(round(start * RATE), round(stop * RATE))
        vocals[part] = noise(part.stop - part.start, 0.2)
    activity = simple().detect(levels_of(mixture + vocals, vocals))
    np.testing.assert_allclose(activity.intervals, [[1.0, 2.5], [4.0, 8.0]], atol=0.021)


def test_singing_from_the_first_to_the_last_sample():
    vocals = noise(3 * RATE)
    activity = simple().detect(levels_of(vocals, vocals))
    np.testing.assert_allclose(activity.intervals, [[0.0, 3.0]], atol=0.02)
    assert activity.share == pytest.approx(1.0)


def ratios(*parts):
    """Levels with this ratio of vocals to mixture, for so many frames each."""
    ratio = np.concatenate([np.full(n, value) for value, n in parts])
    return in_bands(np.stack([-20.0 + ratio, np.full(len(ratio), -20.0)], axis=1))


def test_hysteresis():
    # Probabilities of ratios: 0.5 at -20 dB, 0.88 at -18, 0.12 at -22.
    levels = ratios((-40, 50), (-18, 10), (-21, 10), (-40, 30), (-21, 10), (-40, 50))
    both = simple(on=0.8, off=0.2, min_ratio=-50.0).detect(levels)
    assert both.is_active().nonzero()[0].tolist() == list(range(50, 70))
    one = simple(on=0.8, off=0.8, min_ratio=-50.0).detect(levels)
    assert one.is_active().nonzero()[0].tolist() == list(range(50, 60))


def test_short_gaps_and_stretches():
    levels = ratios((-40, 50), (-5, 20), (-40, 4), (-5, 20), (-40, 40), (-5, 3), (-40, 50))
    plain = simple().detect(levels)
    assert len(plain.intervals) == 3
    cleaned = simple(min_gap=0.1, min_duration=0.1).detect(levels)
    np.testing.assert_allclose(cleaned.intervals, [[1.01, 1.89]])
    # A gap as long as the least one stays, and silence before and after is no gap.
    assert len(simple(min_gap=0.08).detect(levels).intervals) == 3
    assert len(simple(min_gap=60.0).detect(levels).intervals) == 1


def test_leakage_is_no_singing():
    """Relative to the loudest vocals there always are loud ones: the ratio decides."""
    leakage = ratios((-35, 100), (-18, 100), (-35, 100))
    assert simple(min_ratio=-12.0).detect(leakage).label == "instrumental"
    assert simple(min_ratio=-20.0).detect(leakage).label == "vocal"
    rare = ratios((-40, 995), (-3, 5))
    assert simple(min_share=0.02).detect(rare).label == "instrumental"


@pytest.mark.parametrize("n_samples", [0, 1, 639, 640, 16000])
def test_silence_and_short_songs(detector, n_samples):
    activity = detector.detect(levels_of(np.zeros(n_samples), np.zeros(n_samples)))
    assert (activity.label, activity.share) == ("instrumental", 0.0)
    assert activity.intervals.shape == (0, 2)
    assert np.isfinite(activity.probabilities).all()


def test_rows_of_the_table():
    activity = VocalActivity(np.array([[0.5, 2.0]]), np.zeros(0), np.zeros(0), 0.1, "vocal")
    assert activity.to_csv_rows("a") == [("a", "vocal", "0.500", "2.000")]
    nothing = VocalActivity(np.zeros((0, 2)), np.zeros(0), np.zeros(0), 0.0, "instrumental")
    assert nothing.to_csv_rows("a") == [("a", "instrumental", "", "")]


def test_json_round_trip(detector):
    numbers = json.loads(json.dumps(detector.as_dict()))
    assert ActivityDetector.from_dict(numbers) == detector


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"weights": (1.0,), "bias": 0.0}, "learned again"),
        ({"weights": (0.0,) * N_FEATURES, "bias": 0.0, "on": 0.4, "off": 0.5}, "off"),
        ({"weights": (0.0,) * N_FEATURES, "bias": 0.0, "on": 1.0}, "on"),
    ],
)
def test_bad_detectors(parameters, message):
    with pytest.raises(ValueError, match=message):
        ActivityDetector(**parameters)


def test_what_cannot_be_learned_from():
    levels, sings = song(seed=0)
    with pytest.raises(ValueError, match="differ in their numbers"):
        ActivityDetector.learn([levels], [sings[:-1]])
    with pytest.raises(ValueError, match="some without"):
        ActivityDetector.learn([levels], [np.ones_like(sings)])


def test_true_vocals_of_recordings(data_home):
    """Frames are aligned with the labels: with true vocals, they are met across singers."""
    clips = load_mir1k(data_home / "mir1k", subset="train", labels=True)
    levels, labels = [], []
    for index in range(0, len(clips.mixtures), 4):
        vocals, _ = sksep.load_audio(clips.vocals[index])
        mixture, _ = sksep.load_audio(clips.mixtures[index])
        levels.append(levels_of(mixture, vocals))
        labels.append(clips.vocal_activity[index])
        assert len(levels[-1]) == len(labels[-1])
    of_amy = clips.groups[::4] == "amy"
    learned, tested = np.flatnonzero(of_amy), np.flatnonzero(~of_amy)
    detector = ActivityDetector.learn([levels[i] for i in learned], [labels[i] for i in learned])
    active = np.concatenate([detector.detect(levels[i]).is_active() for i in tested])
    assert f1_score(np.concatenate([labels[i] for i in tested]), active) > 0.94
