import pickle

import numpy as np
import pytest
import sklearn
import soundfile
from sklearn.base import BaseEstimator, clone
from sklearn.metrics import make_scorer
from sklearn.model_selection import GridSearchCV, KFold, StratifiedKFold, cross_validate

from sksep.metrics import (
    FlooredSNRScorer,
    NSDRScorer,
    floored_snr,
    floored_snr_score,
    floored_snr_scorer,
    nsdr,
    nsdr_score,
    nsdr_scorer,
    sdr,
    sdr_score,
    sdr_scorer,
    si_sdr,
    si_sdr_score,
    si_sdr_scorer,
)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


class ScaledMixture(BaseEstimator):
    """A separator that scales the mixture."""

    def __init__(self, gain=1.0, noise_level=0.0):
        self.gain = gain
        self.noise_level = noise_level

    def fit(self, X, y=None):
        return self

    def predict(self, X):
        estimates = np.empty(len(X), dtype=object)
        for index, mixture in enumerate(X):
            samples = soundfile.read(mixture)[0].T if isinstance(mixture, str) else mixture
            disturbance = self.noise_level * noise(*np.shape(samples), seed=20 + index)
            estimates[index] = self.gain * samples + disturbance
        return estimates


@pytest.fixture
def songs():
    """Mixtures and vocals of six mono and stereo songs of unequal lengths."""
    shapes = [(1000,), (1200,), (2, 900), (1500,), (2, 800), (1100,)]
    vocals = [0.1 * noise(*shape, seed=index) for index, shape in enumerate(shapes)]
    mixtures = [
        song + 0.05 * noise(*song.shape, seed=10 + index) for index, song in enumerate(vocals)
    ]
    return mixtures, vocals


# One track ----------------------------------------------------------------------------------


def test_snr_is_the_plain_ratio():
    reference, estimate = noise(2, 500), noise(2, 500, seed=1)
    expected = 10 * np.log10((reference**2).sum() / ((reference - estimate) ** 2).sum())
    assert sdr(reference, estimate, protocol="snr") == pytest.approx(expected)


def test_si_sdr_is_the_ratio_of_projection_and_rest():
    reference, estimate = noise(400), noise(400) + 0.3 * noise(400, seed=1)
    target = (reference @ estimate) / (reference @ reference) * reference
    rest = estimate - target
    assert si_sdr(reference, estimate) == pytest.approx(
        10 * np.log10((target @ target) / (rest @ rest))
    )


@pytest.mark.parametrize("gain", [1e-200, 1e-6, 0.5, -3.0, 1e200])
def test_what_ignores_gain(gain):
    reference, disturbance = noise(2000), 0.2 * noise(2000, seed=1)
    estimate = reference + disturbance
    for metric in (sdr, si_sdr):
        expected = metric(reference, estimate)
        assert metric(reference, gain * estimate) == pytest.approx(expected, abs=1e-6)
        assert metric(gain * reference, estimate) == pytest.approx(expected, abs=1e-6)


def test_sdr_forgives_filters_and_si_sdr_does_not():
    reference = noise(4000)
    delayed = np.roll(reference, 5)
    assert sdr(reference, delayed) > 20
    assert si_sdr(reference, delayed) < 0


def test_stereo_is_downmixed_by_bss_eval():
    reference = noise(2, 2000)
    estimate = reference + 0.1 * noise(2, 2000, seed=1)
    assert sdr(reference, estimate) == pytest.approx(sdr(reference.mean(0), estimate.mean(0)))
    assert np.isfinite(sdr(reference.mean(0), estimate))


def test_nsdr_is_the_gain_over_the_mixture():
    reference, other = noise(2, 2000)
    mixture, estimate = reference + other, reference + 0.1 * other
    for protocol in ("bss_eval_v3", "snr"):
        expected = sdr(reference, estimate, protocol=protocol) - sdr(
            reference, mixture, protocol=protocol
        )
        assert nsdr(reference, estimate, mixture, protocol=protocol) == pytest.approx(expected)
    assert nsdr(reference, mixture, mixture) == 0


def test_perfect_estimate_is_infinite_or_nearly():
    reference = noise(1000)
    assert sdr(reference, reference, protocol="snr") == np.inf
    assert si_sdr(reference, reference) > 250
    assert sdr(reference, reference) > 250


def test_silence():
    silence, music = np.zeros(600), noise(600)
    for metric in (sdr, si_sdr):
        with pytest.warns(UserWarning, match="reference is silent"):
            assert np.isnan(metric(silence, music))
        with pytest.warns(UserWarning, match="estimate is silent"):
            assert np.isnan(metric(music, silence))
    with pytest.warns(UserWarning, match="reference is silent"):
        assert np.isnan(sdr(silence, music, protocol="snr"))
    with pytest.warns(UserWarning, match="reference is silent"):
        assert np.isnan(nsdr(silence, music, music))
    assert sdr(music, silence, protocol="snr") == pytest.approx(0)
    with pytest.warns(UserWarning, match="reference is silent"):
        assert np.isnan(sdr(np.stack([music, -music]), np.stack([music, music])))


@pytest.mark.parametrize(
    ("reference", "estimate", "error", "message"),
    [
        (noise(10), noise(11), ValueError, "11 samples"),
        (noise(0), noise(0), ValueError, "empty"),
        (noise(1, 2, 3), noise(1, 2, 3), ValueError, "3 dimensions"),
        (1.0, 1.0, ValueError, "0 dimensions"),
        (noise(3), [1.0, np.nan, 0.0], ValueError, "estimate contains NaN"),
        ([1.0, np.inf], noise(2), ValueError, "reference contains NaN or infinity"),
        (noise(3) * 1j, noise(3), TypeError, "complex"),
        (["a"], noise(1), TypeError, "real numbers"),
    ],
)
def test_bad_tracks(reference, estimate, error, message):
    for metric in (sdr, si_sdr, lambda *pair: nsdr(*pair, pair[0])):
        with pytest.raises(error, match=message):
            metric(reference, estimate)


def test_more_bad_arguments():
    with pytest.raises(ValueError, match="protocol"):
        sdr(noise(9), noise(9), protocol="v4")
    with pytest.raises(ValueError, match="protocol"):
        sdr_score([noise(9)], [noise(9)], protocol="v4")
    with pytest.raises(ValueError, match="mixture has 8 samples"):
        nsdr(noise(9), noise(9), noise(8))
    for metric in (si_sdr, lambda *pair: sdr(*pair, protocol="snr")):
        with pytest.raises(ValueError, match="1 channels but estimate has 2"):
            metric(noise(9), noise(2, 9))
    with pytest.raises(ValueError, match="transpose"):
        sdr(noise(9, 2), noise(9, 2))


# Collections --------------------------------------------------------------------------------


def test_scores_are_means_of_the_downmix(songs):
    mixtures, vocals = songs

    def mean(metric, *collections):
        downmixes = [
            [np.atleast_2d(np.float32(track)).mean(0) for track in tracks] for tracks in collections
        ]
        return np.mean([metric(*tracks) for tracks in zip(*downmixes, strict=True)])

    estimates = ScaledMixture(noise_level=0.02).predict(mixtures)
    assert sdr_score(vocals, estimates) == pytest.approx(mean(sdr, vocals, estimates))
    assert si_sdr_score(vocals, estimates) == pytest.approx(mean(si_sdr, vocals, estimates))
    assert nsdr_score(vocals, estimates, mixtures) == pytest.approx(
        mean(nsdr, vocals, estimates, mixtures)
    )


def test_floored_snr():
    vocals, accompaniment = noise(2, 3000)
    mixture = vocals + accompaniment
    for gain in (1e-200, 1.0, 1e200):

        def score(reference, estimate, gain=gain):
            return floored_snr(gain * reference, gain * estimate, gain * mixture)

        nearly = vocals + 0.3 * accompaniment
        expected = sdr(vocals, nearly, protocol="snr")
        assert score(vocals, nearly) == pytest.approx(expected, abs=0.1)
        assert score(vocals, 0 * vocals) == pytest.approx(0)
        assert 25 < score(vocals, vocals) < 30
        leaks = [score(0 * vocals, share * mixture) for share in (0.0, 0.01, 0.1, 1.0)]
        np.testing.assert_allclose(leaks, [0.0, -0.41, -10.41, -30.0], atol=0.01)
    silence = np.zeros(10)
    assert floored_snr(silence, silence, silence) == 0
    assert floored_snr(silence, silence, silence + 1, ceiling=200) == 0
    for bad in (0.0, 201.0, np.nan):
        with pytest.raises(ValueError, match="ceiling must be in"):
            floored_snr(vocals, vocals, mixture, ceiling=bad)
        with pytest.raises(ValueError, match="ceiling must be in"):
            floored_snr_score([vocals], [vocals], [mixture], ceiling=bad)
    with pytest.raises(ValueError, match="mixture has 9 samples"):
        floored_snr(vocals, vocals, mixture[:9])


def test_mean_of_floored_snr_counts_silence():
    vocals, accompaniment = noise(2, 3000)
    mixtures = [vocals + accompaniment, accompaniment]
    references, estimates = [vocals, 0 * vocals], [vocals, 0.1 * accompaniment]
    each = [floored_snr(*tracks) for tracks in zip(references, estimates, mixtures, strict=True)]
    score = floored_snr_score(references, estimates, mixtures, sample_weight=[1.0, 3.0])
    assert score == pytest.approx(np.average(each, weights=[1.0, 3.0]), abs=1e-3)


def test_sample_weight(songs):
    mixtures, vocals = songs
    each = [sdr_score([song], [mixture]) for song, mixture in zip(vocals, mixtures, strict=True)]
    weights = np.arange(6)
    assert sdr_score(vocals, mixtures, sample_weight=weights) == pytest.approx(
        np.average(each, weights=weights)
    )
    for bad, message in (
        ([1.0], "each of the 6 tracks"),
        (-np.ones(6), "negative"),
        (np.full(6, np.nan), "finite"),
        (np.zeros(6), "all zero"),
    ):
        with pytest.raises(ValueError, match=message):
            sdr_score(vocals, mixtures, sample_weight=bad)


def test_silent_references_are_left_out_with_one_warning(songs):
    mixtures, vocals = songs
    kept = [0, 2, 3, 5]
    expected = sdr_score([vocals[i] for i in kept], [mixtures[i] for i in kept])
    vocals = [song if index in kept else 0 * song for index, song in enumerate(vocals)]
    with pytest.warns(UserWarning) as record:
        assert sdr_score(vocals, mixtures) == pytest.approx(expected)
    assert len(record) == 1
    assert "y_true[1], y_true[4]" in str(record[0].message)
    assert record[0].filename == __file__
    with pytest.warns(UserWarning, match="left out"):
        assert np.isnan(nsdr_score([np.zeros(9)], [np.ones(9)], [np.ones(9)]))


def test_silent_estimates_do_not_raise_the_mean(songs):
    mixtures, vocals = songs
    with pytest.warns(UserWarning, match=r"makes the mean NaN.*y_pred\[0\]"):
        assert np.isnan(sdr_score(vocals, [0 * mixtures[0], *mixtures[1:]]))
    snr = sdr_score(vocals, [0 * song for song in mixtures], protocol="snr")
    assert snr == pytest.approx(0)


def test_tracks_without_weight_are_no_concern(songs, recwarn):
    mixtures, vocals = songs
    weights = [0, 1, 1, 1, 1, 1]
    expected = sdr_score(vocals[1:], mixtures[1:])
    for true, estimates in (
        ([0 * vocals[0], *vocals[1:]], mixtures),
        (vocals, [0 * mixtures[0], *mixtures[1:]]),
    ):
        score = sdr_score(true, estimates, sample_weight=weights, all_silent="raise")
        assert score == pytest.approx(expected)
    assert not recwarn


def test_files(tmp_path, songs):
    mixtures, vocals = songs
    paths = []
    for index, song in enumerate(vocals):
        paths.append(str(tmp_path / f"{index}.wav"))
        soundfile.write(paths[-1], song.T, 8000, subtype="FLOAT")
    assert sdr_score(paths, mixtures) == pytest.approx(sdr_score(vocals, mixtures))
    soundfile.write(tmp_path / "fast.wav", vocals[0], 16000)
    with pytest.raises(ValueError, match=r"y_pred\[0\].*fast\.wav.*16000 Hz.*8000 Hz"):
        sdr_score(paths[:1], [tmp_path / "fast.wav"])
    with pytest.raises(FileNotFoundError, match=r"y_true\[0\].*none\.wav"):
        sdr_score([tmp_path / "none.wav"], mixtures[:1])


def test_bad_collections(songs):
    mixtures, vocals = songs
    with pytest.raises(ValueError, match="y_true has 6 tracks but y_pred has 5"):
        sdr_score(vocals, mixtures[:5])
    with pytest.raises(ValueError, match="y_true has 6 tracks but mixtures has 5"):
        nsdr_score(vocals, mixtures, mixtures[:5])
    with pytest.raises(ValueError, match=r"y_pred\[1\] has 1000 samples but y_true\[1\] has 1200"):
        sdr_score(vocals[:2], [mixtures[0], mixtures[0]])
    with pytest.raises(ValueError, match="no tracks"):
        sdr_score([], [])
    with pytest.raises(TypeError, match="one waveform"):
        sdr_score(vocals[0], mixtures[0])
    with pytest.raises(ValueError, match=r"y_pred\[0\] contains NaN"):
        si_sdr_score(vocals, [np.nan * mixtures[0], *mixtures[1:]])


# Scorers ------------------------------------------------------------------------------------

SCORERS = {
    "sdr": sdr_scorer,
    "si_sdr": si_sdr_scorer,
    "nsdr": nsdr_scorer,
    "floored_snr": floored_snr_scorer,
}


@pytest.mark.parametrize("n_jobs", [None, 2])
def test_scorers_in_cross_validate(songs, n_jobs):
    mixtures, vocals = songs
    results = cross_validate(
        ScaledMixture(noise_level=0.01),
        mixtures,
        vocals,
        scoring=SCORERS,
        cv=3,
        n_jobs=n_jobs,
        error_score="raise",
    )
    for fold, (_, test) in enumerate(KFold(3).split(mixtures)):
        X, y = [mixtures[i] for i in test], [vocals[i] for i in test]
        estimates = ScaledMixture(noise_level=0.01).predict(X)
        assert results["test_sdr"][fold] == pytest.approx(sdr_score(y, estimates))
        assert results["test_si_sdr"][fold] == pytest.approx(si_sdr_score(y, estimates))
        assert results["test_nsdr"][fold] == pytest.approx(nsdr_score(y, estimates, X))
        expected = floored_snr_score(y, estimates, X)
        assert results["test_floored_snr"][fold] == pytest.approx(expected)


@pytest.mark.parametrize("name", SCORERS)
def test_scorers_in_grid_search(songs, name):
    grid = {"noise_level": [0.3, 0.0, 0.1]}
    search = GridSearchCV(ScaledMixture(), grid, scoring=SCORERS[name], cv=2, error_score="raise")
    search.fit(*songs)
    assert search.best_params_ == {"noise_level": 0.0}
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert search.score(*songs) == pytest.approx(search.scorer_(search.best_estimator_, *songs))


def test_folds_without_vocals(songs):
    mixtures, vocals = songs
    vocals = [0 * song for song in vocals[:3]] + vocals[3:]
    grid = {"noise_level": [0.3, 0.0, 0.1]}

    def search(scorer, cv=2, **options):
        return GridSearchCV(ScaledMixture(), grid, scoring=scorer, cv=cv, **options)

    found = search(floored_snr_scorer, error_score="raise").fit(mixtures, vocals)
    assert found.best_params_ == {"noise_level": 0.0}
    splits = list(StratifiedKFold(2).split(mixtures, [song.any() for song in vocals]))
    with pytest.warns(UserWarning, match="left out"):
        found = search(sdr_scorer, splits, error_score="raise").fit(mixtures, vocals)
    assert found.best_params_ == {"noise_level": 0.0}
    named = r"of 3 tracks is undefined.*silent: y_true\[0\], y_true\[1\].*StratifiedKFold"
    for scorer in (sdr_scorer, si_sdr_scorer, nsdr_scorer):
        with pytest.raises(ValueError, match=named):
            search(scorer, error_score="raise").fit(mixtures, vocals)
    with pytest.warns(UserWarning) as record:
        search(sdr_scorer).fit(mixtures, vocals)  # scikit-learn takes the first candidate
    assert "StratifiedKFold" in str(record[0].message)
    assert FlooredSNRScorer(ceiling=10.0)(ScaledMixture(), mixtures[:1], vocals[:1]) > -10.5
    with pytest.raises(ValueError, match="all_silent must be one of"):
        sdr_score(vocals, mixtures, all_silent="zero")


def test_protocol_of_scorers(songs):
    mixtures, vocals = songs
    quiet = ScaledMixture(gain=0.5)
    by_snr = make_scorer(sdr_score, protocol="snr")
    assert by_snr(quiet, mixtures, vocals) < sdr_scorer(quiet, mixtures, vocals)
    assert nsdr_scorer(quiet, mixtures, vocals) == pytest.approx(0, abs=1e-3)
    assert abs(NSDRScorer(protocol="snr")(quiet, mixtures, vocals)) > 0.1


@pytest.mark.parametrize("name", SCORERS)
def test_scorers_survive_copying(songs, name):
    scorer = SCORERS[name]
    expected = scorer(ScaledMixture(), *songs)
    for copy in (pickle.loads(pickle.dumps(scorer)), clone(scorer, safe=False)):
        assert copy(ScaledMixture(), *songs) == expected
        assert repr(copy) == repr(scorer)
    named = {"nsdr": "NSDRScorer", "floored_snr": "FlooredSNRScorer"}
    assert named.get(name, f"{name}_score") in repr(scorer)


@pytest.mark.parametrize("name", SCORERS)
def test_metadata_routing_of_sample_weight(songs, name):
    mixtures, vocals = songs
    weights = np.array([1.0, 2.0, 0.0, 1.0, 0.0, 5.0])
    with sklearn.config_context(enable_metadata_routing=True):
        scorer = clone(SCORERS[name], safe=False).set_score_request(sample_weight=True)
        results = cross_validate(
            ScaledMixture(noise_level=0.01),
            mixtures,
            vocals,
            scoring=scorer,
            cv=2,
            params={"sample_weight": weights},
            error_score="raise",
        )
    expected = SCORERS[name](
        ScaledMixture(noise_level=0.01), mixtures[3:], vocals[3:], sample_weight=weights[3:]
    )
    assert results["test_score"][1] == pytest.approx(expected)
    unweighted = SCORERS[name](ScaledMixture(noise_level=0.01), mixtures[3:], vocals[3:])
    assert results["test_score"][1] != pytest.approx(unweighted)
