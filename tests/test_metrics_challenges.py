"""Scores of challenges, training toolkits and ViSQOL, held against independent implementations."""

import importlib.util

import numpy as np
import pytest
import soundfile
import torch
from sklearn.base import BaseEstimator
from sklearn.metrics import make_scorer
from sklearn.model_selection import GridSearchCV

from sksep import metrics
from sksep.datasets import make_songs
from sksep.metrics import (
    bleedless,
    bleedless_score,
    bleedless_scorer,
    csdr,
    csdr_score,
    csdr_scorer,
    fullness,
    fullness_score,
    fullness_scorer,
    multi_resolution_stft_distance,
    multi_resolution_stft_score,
    neg_multi_resolution_stft_scorer,
    sdr,
    usdr,
    usdr_score,
    usdr_scorer,
    visqol,
    visqol_score,
)

RATE = 8000


def noise(*shape, seed=0):
    return np.random.default_rng(seed).uniform(-1.0, 1.0, shape)


def of_rate(function):
    return lambda *pair: function(*pair, sample_rate=RATE)


# Scores of one track, without what they need to know beside the track.
TRACK_SCORES = {
    "usdr": usdr,
    "csdr": of_rate(csdr),
    "multi_resolution_stft_distance": multi_resolution_stft_distance,
    "bleedless": of_rate(bleedless),
    "fullness": of_rate(fullness),
}
COLLECTION_SCORES = {
    "usdr": usdr_score,
    "multi_resolution_stft_distance": multi_resolution_stft_score,
    "bleedless": lambda *pair, **options: bleedless_score(*pair, sample_rate=RATE, **options),
    "fullness": lambda *pair, **options: fullness_score(*pair, sample_rate=RATE, **options),
}
SCORERS = [
    usdr_scorer,
    csdr_scorer,
    neg_multi_resolution_stft_scorer,
    bleedless_scorer,
    fullness_scorer,
]


# Golden values ------------------------------------------------------------------------------


def test_usdr_is_the_ratio_of_the_challenges():
    reference, estimate = noise(2, 500), 0.7 * noise(2, 500) + 0.1 * noise(2, 500, seed=1)
    expected = 0.0
    numerator = denominator = 1e-7
    for channel in range(2):
        for true, estimated in zip(reference[channel], estimate[channel], strict=True):
            numerator += true**2
            denominator += (true - estimated) ** 2
    expected = 10 * np.log10(numerator / denominator)
    assert usdr(reference, estimate) == pytest.approx(expected, abs=1e-9)
    assert usdr(reference, estimate) == pytest.approx(sdr(reference, estimate, protocol="snr"))
    assert usdr(np.zeros(9), np.zeros(9)) == 0.0
    assert usdr([1.0, 0.0], [1.0, 0.0]) == pytest.approx(70.0)


@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("n_samples", [700, 1000, 5300])
def test_csdr_is_the_median_of_museval(museval_scores, n_channels, n_samples):
    reference = noise(1, n_channels, n_samples)
    reference[..., 2000:3000] = 0.0  # left out
    estimate = 0.8 * reference + 0.2 * np.linspace(0, 1, n_samples) * noise(
        1, n_channels, n_samples
    )
    ratios = museval_scores(reference, estimate, 1000, 1000)[0]
    assert csdr(reference[0], estimate[0], sample_rate=1000) == pytest.approx(
        np.nanmedian(ratios), abs=1e-6
    )


def spectrogram(samples, n_fft, pad_mode):
    """Magnitudes by torch, in double precision."""
    return torch.stft(
        torch.from_numpy(samples),
        n_fft,
        n_fft // 4,
        window=torch.hann_window(n_fft, dtype=torch.float64),
        pad_mode=pad_mode,
        return_complex=True,
    ).abs()


def test_multi_resolution_stft_distance_by_torch():
    reference = noise(2, 9000)
    estimate = 0.6 * reference + 0.1 * noise(2, 9000, seed=1)
    parts = []
    for n_fft in (256, 512, 1024, 2048, 4096):
        true, estimated = (
            spectrogram(samples, n_fft, "reflect").square().clamp(min=1e-8).sqrt()
            for samples in (reference, estimate)
        )
        convergence = (true - estimated).norm(dim=(1, 2)) / true.norm(dim=(1, 2))
        parts.append(convergence.mean() + torch.nn.functional.l1_loss(estimated.log(), true.log()))
    expected = float(torch.stack(parts).mean())
    assert multi_resolution_stft_distance(reference, estimate) == pytest.approx(expected, rel=1e-5)


def test_bleedless_and_fullness_by_torch():
    librosa = pytest.importorskip("librosa")
    rate = 44100
    reference = noise(2, 12000) * np.geomspace(1, 1e-5, 12000)
    estimate = 0.5 * reference + 0.02 * noise(2, 12000, seed=1)
    bands = torch.from_numpy(librosa.filters.mel(sr=rate, n_fft=4096, n_mels=512)).double()

    def levels(samples):
        decibels = 20 * torch.log10((bands @ spectrogram(samples, 4096, "constant")).clamp(1e-10))
        return torch.maximum(decibels, decibels.max() - 80.0)

    difference = levels(estimate) - levels(reference)
    louder, softer = difference[difference > 0], -difference[difference < 0]
    assert louder.numel() > 1000
    assert softer.numel() > 1000
    scores = (function(reference, estimate, sample_rate=rate) for function in (bleedless, fullness))
    expected = [100 / (1 + float(part.mean())) for part in (louder, softer)]
    assert list(scores) == pytest.approx(expected, rel=1e-4)


def test_visqol():
    pytest.importorskip("visqol")
    song = make_songs(1, duration=2.0, random_state=0)
    vocals, mixture = song.vocals[0], song.mixtures[0]
    better = 0.5 * vocals + 0.5 * mixture
    opinions = [visqol(vocals, each, sample_rate=16000) for each in (vocals, better, mixture)]
    assert opinions == sorted(opinions, reverse=True)
    assert opinions[0] == pytest.approx(4.732, abs=1e-3)
    assert visqol_score([vocals], [mixture]) == pytest.approx(opinions[2], abs=1e-6)
    with pytest.warns(UserWarning, match="the estimate is silent"):
        assert np.isnan(visqol(vocals, 0 * vocals, sample_rate=16000))
    with pytest.raises(ValueError, match=r"0\.50 s"):
        visqol(vocals, mixture, sample_rate=64000)


def test_visqol_names_the_extra(monkeypatch):
    if importlib.util.find_spec("visqol") is not None:
        monkeypatch.setitem(__import__("sys").modules, "visqol", None)
    from sksep.metrics import _visqol

    _visqol._predictor.cache_clear()
    with pytest.raises(ImportError, match=r"pip install 'sksep\[visqol\]'"):
        visqol(noise(RATE), noise(RATE), sample_rate=RATE)


# Properties ---------------------------------------------------------------------------------


def test_what_the_scores_of_levels_look_at():
    vocals, accompaniment = noise(2, 2 * RATE)
    both = vocals + 0.3 * accompaniment
    assert bleedless(vocals, both, sample_rate=RATE) < bleedless(vocals, vocals, sample_rate=RATE)
    assert bleedless(vocals, vocals, sample_rate=RATE) == 100.0
    assert bleedless(vocals, 0 * vocals, sample_rate=RATE) == 100.0
    assert fullness(vocals, 0 * vocals, sample_rate=RATE) < 2.0
    assert fullness(vocals, 10 * vocals, sample_rate=RATE) == 100.0
    # 20 dB between the levels of all bins
    assert fullness(vocals, 0.1 * vocals, sample_rate=RATE) == pytest.approx(100 / 21, rel=1e-4)
    assert bleedless(vocals, 10 * vocals, sample_rate=RATE) == pytest.approx(100 / 21, rel=1e-4)


def test_distance_ignores_polarity_alone():
    vocals = noise(RATE)
    assert multi_resolution_stft_distance(vocals, -vocals) == 0.0
    assert multi_resolution_stft_distance(vocals, 0.9 * vocals) > 0.1


def test_csdr_has_no_score_without_a_frame():
    reference, estimate = np.zeros(4 * RATE), np.zeros(4 * RATE)
    reference[:RATE] = estimate[-RATE:] = 1.0
    with pytest.warns(UserWarning, match="silent in each second"):
        assert np.isnan(csdr(reference, estimate, sample_rate=RATE))
    assert csdr(reference, reference, sample_rate=RATE) == np.inf


@pytest.mark.parametrize("name", TRACK_SCORES)
@pytest.mark.parametrize("n_samples", [1, 100, 3000])
def test_short_tracks_have_finite_scores(name, n_samples):
    assert np.isfinite(TRACK_SCORES[name](noise(n_samples), noise(n_samples, seed=1)))


@pytest.mark.parametrize(
    ("reference", "estimate", "error", "message"),
    [
        (noise(10), noise(11), ValueError, "11 samples"),
        (noise(20), noise(2, 20), ValueError, "1 channels but estimate has 2"),
        (noise(0), noise(0), ValueError, "empty"),
        (noise(3), [1.0, np.nan, 0.0], ValueError, "estimate contains NaN"),
        (["a"], noise(1), TypeError, "real numbers"),
    ],
)
@pytest.mark.parametrize("name", TRACK_SCORES)
def test_bad_tracks(name, reference, estimate, error, message):
    with pytest.raises(error, match=message):
        TRACK_SCORES[name](reference, estimate)


@pytest.mark.parametrize("rate", [0, 1.5, "44100"])
@pytest.mark.parametrize("name", ["csdr", "bleedless", "fullness", "visqol"])
def test_bad_sample_rates(name, rate):
    with pytest.raises((TypeError, ValueError), match="sample_rate"):
        getattr(metrics, name)(noise(9), noise(9), sample_rate=rate)
    with pytest.raises((TypeError, ValueError), match="sample_rate"):
        getattr(metrics, f"{name}_score")([noise(9)], [noise(9)], sample_rate=rate)


# Collections --------------------------------------------------------------------------------


@pytest.fixture
def pairs():
    shapes = [(5000,), (2, 9000), (2000,)]
    vocals = [np.float32(noise(*shape, seed=index)) for index, shape in enumerate(shapes)]
    estimates = [
        np.float32(share * each) for share, each in zip((0.9, 0.5, 0.7), vocals, strict=True)
    ]
    return vocals, estimates


@pytest.mark.parametrize("name", COLLECTION_SCORES)
def test_scores_are_means_over_tracks(pairs, name):
    values = [TRACK_SCORES[name](*pair) for pair in zip(*pairs, strict=True)]
    score = COLLECTION_SCORES[name]
    assert score(*pairs) == pytest.approx(np.mean(values), rel=1e-6)
    expected = np.average(values, weights=[1, 0, 2])
    assert score(*pairs, sample_weight=[1, 0, 2]) == pytest.approx(expected, rel=1e-6)


def test_a_silent_estimate_makes_the_csdr_score_nan(pairs):
    truth, estimates = pairs
    silenced = [*estimates[:-1], np.zeros_like(estimates[-1])]
    with pytest.warns(UserWarning, match="NaN"):
        assert np.isnan(csdr_score(truth, silenced, sample_rate=1000))


def test_csdr_score_is_a_median(pairs):
    values = [csdr(*pair, sample_rate=1000) for pair in zip(*pairs, strict=True)]
    assert csdr_score(*pairs, sample_rate=1000) == pytest.approx(np.median(values))
    for weights in ([1, 3, 0], [2, 1, 1], [1, 0, 1], [5, 1, 1]):
        repeated = np.repeat(values, weights)
        score = csdr_score(*pairs, sample_rate=1000, sample_weight=weights)
        assert score == pytest.approx(np.median(repeated))


def test_rates_are_those_of_files(tmp_path):
    vocals = noise(6000) * np.geomspace(1, 0.01, 6000)
    estimate = np.float32(vocals + 0.1 * noise(6000, seed=1))
    file = tmp_path / "vocals.wav"
    soundfile.write(file, vocals, 3000, subtype="DOUBLE")
    expected = csdr(np.float32(vocals), estimate, sample_rate=3000)
    assert csdr_score([file], [estimate]) == pytest.approx(expected)
    assert csdr_score([vocals], [estimate], sample_rate=3000) == pytest.approx(expected)
    assert csdr_score([vocals], [estimate], sample_rate=1000) != pytest.approx(expected)


def test_channels_must_agree_and_are_named():
    tracks = [noise(100), noise(2, 100)]
    for score in COLLECTION_SCORES.values():
        with pytest.raises(ValueError, match=r"y_pred\[1\] has 1 channels but y_true\[1\] has 2"):
            score(tracks, [tracks[0], tracks[1][0]])


def test_silent_references_are_left_out():
    tracks = [noise(3000), np.zeros(3000)]
    for score in COLLECTION_SCORES.values():
        with pytest.warns(UserWarning, match=r"silent: y_true\[1\]"):
            mean = score(tracks, [0.5 * tracks[0], tracks[0]])
        assert mean == pytest.approx(score(tracks[:1], [0.5 * tracks[0]]))


class ScaledMixture(BaseEstimator):
    """A separator that scales the mixture."""

    def __init__(self, gain=1.0):
        self.gain = gain

    def fit(self, X, y=None):
        return self

    def predict(self, X):
        return [self.gain * track for track in X]


@pytest.mark.parametrize("scorer", SCORERS)
def test_higher_is_better_for_scorers(scorer):
    vocals = [noise(4000, seed=index) for index in range(4)]
    search = GridSearchCV(
        ScaledMixture(), {"gain": [0.1, 0.9, 4.0]}, scoring=scorer, cv=2, error_score="raise"
    ).fit(vocals, vocals)
    gain = search.best_params_["gain"]
    # What only looks at one kind of error does not see the other.
    expected = {bleedless_scorer: (0.1, 0.9), fullness_scorer: (4.0,)}.get(scorer, (0.9,))
    assert gain in expected
    with pytest.raises(ValueError, match="all references"):
        scorer(ScaledMixture(), vocals, [np.zeros(4000)] * 4)


def test_scores_take_the_rate_of_arrays_as_scorers():
    vocals = [noise(4000) * np.geomspace(1, 0.01, 4000)]
    mixtures = [vocals[0] + 0.1 * noise(4000, seed=1)]
    scorer = make_scorer(csdr_score, sample_rate=500)
    expected = csdr(np.float32(vocals[0]), np.float32(mixtures[0]), sample_rate=500)
    assert scorer(ScaledMixture(), mixtures, vocals) == pytest.approx(expected, abs=1e-4)
