"""Vocal activity: levels that are measured in blocks, and the detector that learns from them."""

import json
from dataclasses import replace

import numpy as np
import pytest

from sksep import load_audio
from sksep.activity._detector import N_FEATURES, ActivityDetector, VocalActivity
from sksep.activity._levels import FRAME_HOP, SILENCE, LevelMeter
from sksep.datasets import load_mir1k

RATE = 16000


def measure(mixture, vocals, rate=RATE, block=None):
    meter = LevelMeter(rate)
    n_samples = mixture.shape[-1]
    for start in range(0, n_samples, block or n_samples):
        stop = start + (block or n_samples)
        meter.add(mixture[..., start:stop], vocals[..., start:stop])
    return meter.levels()


def tone(times, frequency, intervals):
    sounds = sum(((times >= start) & (times < end)).astype(float) for start, end in intervals)
    return sounds * np.sin(2 * np.pi * frequency * times)


def song(intervals, duration=8.0, rate=RATE, seed=0):
    """Mixture and estimated vocals of a tone over noise, some of which leaks into the vocals."""
    generator = np.random.default_rng(seed)
    times = np.arange(round(duration * rate)) / rate
    voice = 0.3 * tone(times, 440, intervals) + 0.1 * tone(times, 2000, intervals)
    accompaniment = 0.1 * generator.normal(size=len(times)) + 0.1 * np.sin(2 * np.pi * 110 * times)
    return voice + accompaniment, voice + 0.03 * accompaniment


def truth(intervals, n_frames):
    centers = FRAME_HOP * np.arange(1, n_frames + 1)
    return np.any([(centers >= start) & (centers < end) for start, end in intervals], axis=0)


INTERVALS = [(0.7, 2.0), (2.6, 4.4), (5.1, 7.2)]


@pytest.fixture(scope="module")
def detector():
    """A detector that is fitted on three songs with other intervals than INTERVALS."""
    songs = [[(1.0, 3.1), (3.7, 5.0)], [(0.4, 1.1), (2.2, 6.3)], [(0.0, 3.0), (4.0, 8.0)]]
    levels = [measure(*song(intervals, seed=seed)) for seed, intervals in enumerate(songs, 1)]
    labels = [truth(*pair) for pair in zip(songs, map(len, levels), strict=True)]
    return ActivityDetector.learn(levels, labels)


# --- levels


@pytest.mark.parametrize(("rate", "band"), [(16000, 3), (44100, 3), (11025, 3), (48000, 3)])
def test_level_of_a_sine(rate, band):
    times = np.arange(2 * rate) / rate
    sine = 0.5 * np.sin(2 * np.pi * 1130 * times)
    levels = measure(sine, 0.1 * sine, rate)
    np.testing.assert_allclose(levels[:, 1, band], 20 * np.log10(0.5) - 3.01, atol=0.05)
    np.testing.assert_allclose(levels[:, 0, band], 20 * np.log10(0.05) - 3.01, atol=0.05)
    assert (np.delete(levels[:, 1], band, axis=1) < -50).all()


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100])
@pytest.mark.parametrize("block", [1, 77, 640, 5000])
def test_blocks_make_no_difference(rate, block):
    generator = np.random.default_rng(0)
    mixture = generator.normal(0, 0.1, (2, rate // 3 if block == 1 else 3 * rate + 11))
    vocals = (0.5 * mixture + generator.normal(0, 0.01, mixture.shape)).astype(np.float32)
    whole = measure(mixture, vocals, rate)
    np.testing.assert_allclose(measure(mixture, vocals, rate, block), whole, atol=1e-3)
    # There are all frames that fit.
    starts = np.arange(10000) * rate // 50
    assert len(whole) == np.sum(starts + rate // 25 <= mixture.shape[1])


def test_long_blocks_make_no_difference():
    # There are more frames than are transformed at a time.
    mixture = np.random.default_rng(0).normal(0, 0.1, 15 * RATE)
    np.testing.assert_allclose(
        measure(mixture, mixture), measure(mixture, mixture, block=RATE), atol=1e-3
    )


def test_channels_are_averaged():
    mixture, vocals = song(INTERVALS, duration=2.0)
    stereo = [np.stack([0.5 * part, 1.5 * part]) for part in (mixture, vocals)]
    np.testing.assert_allclose(measure(*stereo), measure(mixture, vocals), atol=1e-3)


def test_frames_begin_every_20_ms():
    times = np.arange(RATE) / RATE
    click = tone(times, 1000, [(0.5, 0.51)])
    level = measure(click, click)[:, 0, 3]
    # 0.5 to 0.51 s lie in the frames that begin at 0.48 s and, at its margin, at 0.5 s.
    assert np.argmax(level) == 24
    assert np.flatnonzero(level > SILENCE).tolist() == [24, 25][: np.sum(level > SILENCE)]


@pytest.mark.parametrize("n_samples", [0, 1, 639])
def test_less_than_a_frame(n_samples, detector):
    levels = (
        measure(np.ones(n_samples), np.ones(n_samples)) if n_samples else LevelMeter(RATE).levels()
    )
    assert levels.shape == (0, 2, 6)
    activity = detector.detect(levels)
    assert (activity.label, activity.share) == ("instrumental", 0.0)
    assert activity.intervals.shape == (0, 2)
    assert activity.times.shape == activity.probabilities.shape == (0,)


def test_bad_blocks():
    with pytest.raises(ValueError, match=r"mixture has 10 samples, but that of the vocals has 9"):
        LevelMeter(RATE).add(np.zeros(10), np.zeros(9))
    with pytest.raises(ValueError, match="sample_rate must be at least 1000"):
        LevelMeter(50)
    with pytest.raises(TypeError, match="sample_rate must be an integer"):
        LevelMeter(44100.0)


# --- detection


def test_known_intervals(detector):
    activity = detector.detect(measure(*song(INTERVALS)))
    assert activity.label == "vocal"
    np.testing.assert_allclose(activity.intervals, INTERVALS, atol=0.0201)
    assert activity.share == pytest.approx(5.2 / 8.0, abs=0.01)
    assert np.mean(activity.is_active() == truth(INTERVALS, 399)) > 0.98


@pytest.mark.parametrize("rate", [16000, 22050, 44100])
def test_known_intervals_at_other_rates(detector, rate):
    mixture, vocals = song(INTERVALS, rate=rate, seed=3)
    activity = detector.detect(measure(mixture, vocals, rate))
    np.testing.assert_allclose(activity.intervals, INTERVALS, atol=0.0401)


@pytest.mark.parametrize("intervals", [[(0.0, 8.0)], [(0.0, 2.0), (6.0, 8.0)]])
def test_intervals_reach_both_ends(detector, intervals):
    activity = detector.detect(measure(*song(intervals)))
    assert activity.intervals[0, 0] == 0.0
    assert activity.intervals[-1, 1] == 8.0
    assert len(activity.intervals) == len(intervals)


@pytest.mark.parametrize("gain", [0.02, 0.3, 5.0])
def test_gain_of_the_song_makes_no_difference(detector, gain):
    mixture, vocals = song(INTERVALS)
    quiet = detector.detect(measure(gain * mixture, gain * vocals))
    activity = detector.detect(measure(mixture, vocals))
    np.testing.assert_allclose(quiet.probabilities, activity.probabilities, atol=1e-3)
    np.testing.assert_array_equal(quiet.intervals, activity.intervals)


@pytest.mark.parametrize("leakage", [0.0, 0.001, 0.03])
def test_leakage_is_no_singing(detector, leakage):
    mixture, _ = song([(0.0, 0.0)])
    levels = measure(mixture, leakage * mixture)
    activity = detector.detect(levels)
    assert (activity.label, len(activity.intervals)) == ("instrumental", 0)
    assert np.isfinite(activity.probabilities).all()


@pytest.mark.parametrize("amplitude", [0.0, 1e-7, 1e-5])
def test_silent_songs(detector, amplitude):
    mixture = amplitude * np.random.default_rng(0).uniform(-1, 1, 2 * RATE)
    activity = detector.detect(measure(mixture, mixture))
    assert (activity.label, activity.share, len(activity.intervals)) == ("instrumental", 0.0, 0)
    np.testing.assert_array_equal(activity.probabilities, np.zeros(99))


def test_silence_within_a_song_is_no_singing(detector):
    mixture, vocals = song([(0.0, 8.0)])
    sounds = np.arange(len(mixture)) < 4 * RATE
    activity = detector.detect(measure(mixture * sounds, vocals * sounds))
    np.testing.assert_allclose(activity.intervals, [[0.0, 4.0]], atol=0.05)


def test_gate_of_the_whole_song(detector):
    levels = measure(*song(INTERVALS))
    assert detector.detect(levels).label == "vocal"
    for change in ({"min_share": 0.9}, {"min_ratio": 6.0}):
        activity = replace(detector, **change).detect(levels)
        assert (activity.label, activity.share, len(activity.intervals)) == ("instrumental", 0, 0)
        # The probabilities are still those of the song.
        assert activity.probabilities.max() > 0.9


@pytest.fixture
def frames(monkeypatch):
    """Intervals in frames for given probabilities."""

    def detect(probabilities, **parameters):
        probabilities = np.array(probabilities, float)
        monkeypatch.setattr(ActivityDetector, "probabilities", lambda *_: probabilities)
        detector = ActivityDetector((0.0,) * N_FEATURES, 0.0, min_share=0.0, **parameters)
        activity = detector.detect(np.full((len(probabilities), 2, 6), -20.0))
        active = activity.is_active()
        assert (np.diff(activity.intervals.ravel()) > 0).all()
        return "".join(".#"[value] for value in active.astype(int))

    return detect


@pytest.mark.parametrize(
    ("probabilities", "parameters", "expected"),
    [
        ([0.1, 0.5, 0.9, 0.5, 0.1], {"on": 0.8, "off": 0.4}, ".###."),
        ([0.1, 0.5, 0.7, 0.5, 0.1], {"on": 0.8, "off": 0.4}, "....."),
        ([0.1, 0.5, 0.9, 0.5, 0.1], {"on": 0.8, "off": 0.8}, "..#.."),
        ([0.5, 0.1, 0.8, 0.3, 0.5], {"on": 0.8, "off": 0.4}, "..#.."),
        ([0.8, 0.4, 0.1, 0.4, 0.8], {"on": 0.8, "off": 0.4}, "##.##"),
        ([0.9, 0.1, 0.9, 0.1, 0.1, 0.9], {"min_gap": 0.04}, "###..#"),
        ([0.9, 0.1, 0.9, 0.1, 0.1, 0.9], {"min_gap": 0.06}, "######"),
        ([0.1, 0.9, 0.1, 0.9, 0.9, 0.1], {"min_duration": 0.04}, "...##."),
        ([0.1, 0.9, 0.1, 0.9, 0.9, 0.1], {"min_duration": 0.06}, "......"),
        # Gaps are filled first.
        ([0.1, 0.9, 0.1, 0.9, 0.9, 0.1], {"min_duration": 0.06, "min_gap": 0.04}, ".####."),
        # The ends of a song are not gaps.
        ([0.1, 0.9, 0.9, 0.1], {"min_gap": 1.0}, ".##."),
        ([0.9], {}, "#"),
        ([0.9, 0.9], {}, "##"),
    ],
)
def test_hysteresis_and_durations(frames, probabilities, parameters, expected):
    assert frames(probabilities, **parameters) == expected


def test_intervals_in_seconds(frames, monkeypatch):
    monkeypatch.setattr(
        ActivityDetector, "probabilities", lambda *_: np.array([0.9, 0.1, 0.9, 0.9, 0.1, 0.9])
    )
    detector = ActivityDetector((0.0,) * N_FEATURES, 0.0)
    activity = detector.detect(np.full((6, 2, 6), -20.0))
    np.testing.assert_allclose(activity.intervals, [[0, 0.03], [0.05, 0.09], [0.11, 0.14]])
    np.testing.assert_allclose(activity.times, [0.02, 0.04, 0.06, 0.08, 0.10, 0.12])
    assert activity.share == pytest.approx(0.1 / 0.14)


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        (np.zeros((5, 2)), r"shape \(5, 2\)"),
        (np.zeros((5, 2, 4)), r"\(n_frames, 2, 6\) is needed"),
        (np.full((5, 2, 6), np.nan), "NaN"),
    ],
)
def test_bad_levels(detector, levels, message):
    with pytest.raises(ValueError, match=message):
        detector.detect(levels)


def test_csv_rows():
    times = np.array([0.02])
    intervals = np.array([[0.0, 1.23456], [2.0, 3.5]])
    activity = VocalActivity(intervals, times, np.ones(1), 0.5, "vocal")
    assert activity.to_csv_rows("a.wav") == [
        ("a.wav", "vocal", "0.000", "1.235"),
        ("a.wav", "vocal", "2.000", "3.500"),
    ]
    activity = VocalActivity(np.zeros((0, 2)), times, np.zeros(1), 0.0, "instrumental")
    assert activity.to_csv_rows("b.wav") == [("b.wav", "instrumental", "", "")]


# --- parameters of a detector


def test_json_round_trip(detector):
    again = ActivityDetector.from_dict(json.loads(json.dumps(detector.as_dict())))
    assert again == detector
    assert hash(again) == hash(detector)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": [0.0]}, "got 1. A detector of another version"),
        ({"weights": [np.inf] * N_FEATURES}, "finite"),
        ({"bias": np.nan}, "bias"),
        ({"on": 1.0}, "on must be in"),
        ({"off": 0.0}, "off must be in"),
        ({"on": 0.4, "off": 0.5}, "off must be in"),
        ({"min_gap": -0.1}, "min_gap"),
        ({"min_duration": -0.1}, "min_duration"),
        ({"min_share": 1.5}, "min_share"),
        ({"more": 1.0}, "another version"),
    ],
)
def test_bad_numbers(detector, change, message):
    with pytest.raises(ValueError, match=message):
        ActivityDetector.from_dict({**detector.as_dict(), **change})


def test_missing_numbers(detector):
    values = detector.as_dict()
    del values["on"]
    with pytest.raises(ValueError, match="another version"):
        ActivityDetector.from_dict(values)


def area_under_curve(labels, scores):
    from sklearn.metrics import roc_auc_score

    return roc_auc_score(np.concatenate(labels), np.concatenate(scores))


def test_learning(detector):
    songs = [INTERVALS, [(0.3, 0.9), (3.0, 3.5), (6.0, 7.9)]]
    levels = [measure(*song(intervals, seed=seed)) for seed, intervals in enumerate(songs, 10)]
    labels = [truth(intervals, 399) for intervals in songs]
    scores = [detector.probabilities(part) for part in levels]
    assert area_under_curve(labels, scores) > 0.995


def test_learning_leaves_silence_out(detector):
    songs = [[(1.0, 3.1)], [(0.4, 1.1), (2.2, 6.3)]]
    levels = [measure(*song(intervals)) for intervals in songs]
    labels = [truth(intervals, 399) for intervals in songs]
    silence = np.full((100, 2, 6), SILENCE)
    learned = ActivityDetector.learn(levels, labels)
    assert ActivityDetector.learn([*levels, silence], [*labels, np.zeros(100, bool)]) == learned


@pytest.mark.parametrize(
    ("lengths", "labels", "message"),
    [
        ([10], [], "differ"),
        ([10], [np.ones(9)], "one label for each frame"),
        ([10], [np.ones(10)], "some without"),
        ([10], [np.zeros(10)], "some without"),
        ([], [], "some without"),
    ],
)
def test_bad_labels(lengths, labels, message):
    with pytest.raises(ValueError, match=message):
        ActivityDetector.learn([np.full((length, 2, 6), -20.0) for length in lengths], labels)


# --- recordings


@pytest.fixture(scope="module")
def singers(data_home):
    """Levels and labels of the true vocals of some clips, by singer."""
    clips = load_mir1k(data_home / "mir1k", labels=True)
    parts = {}
    for singer, stride in (("abjones", 2), ("amy", 6)):
        indices = np.flatnonzero(np.array(clips.groups) == singer)[::stride]
        waveforms = [
            [load_audio(tracks[index])[0] for tracks in (clips.mixtures, clips.vocals)]
            for index in indices
        ]
        labels = [clips.vocal_activity[index] for index in indices]
        parts[singer] = ([measure(*pair) for pair in waveforms], labels)
    return parts


def test_frames_are_those_of_mir1k(singers):
    levels, labels = singers["abjones"]
    assert [len(part) for part in levels] == [len(part) for part in labels]
    # Labels that are shifted by a frame agree less with the levels.
    scores = [part[:, 0, 2:5].max(axis=1) for part in levels]
    areas = [
        area_under_curve([np.roll(part, shift) for part in labels], scores) for shift in (-1, 0, 1)
    ]
    assert areas[1] == max(areas)


@pytest.mark.parametrize(("learned_on", "tested_on"), [("abjones", "amy"), ("amy", "abjones")])
def test_true_vocals_of_mir1k(singers, learned_on, tested_on):
    detector = ActivityDetector.learn(*singers[learned_on])
    levels, labels = singers[tested_on]
    activities = [detector.detect(part) for part in levels]
    active = np.concatenate([activity.is_active() for activity in activities])
    sings = np.concatenate(labels)
    f_measure = 2 * np.sum(active & sings) / (active.sum() + sings.sum())
    assert f_measure >= 0.88
    assert area_under_curve(labels, [part.probabilities for part in activities]) >= 0.97
