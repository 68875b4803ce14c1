"""VotingSeparator and TestTimeAugmentation."""

import pickle

import numpy as np
import pytest
import soundfile
from sklearn.base import BaseEstimator, clone
from sklearn.cluster import KMeans
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline

import sksep
from sksep import (
    DeepClusteringSeparator,
    GriffinLimInverter,
    HPSSSeparator,
    MaskBuilder,
    MelChunker,
    MixtureSeparator,
    StreamingSeparator,
    TestTimeAugmentation,
    UNetSeparator,
    VotingSeparator,
)
from sksep.base import WaveformSeparator
from sksep.cli._files import target_of
from sksep.datasets import make_songs
from sksep.ensembles._streams import AveragingStream, ShiftedStream

RATE = 8000
SONGS = make_songs(2, duration=6.0, sample_rate=RATE, n_channels=2, random_state=0)


def chunker(**parameters):
    defaults = {"sample_rate": RATE, "n_fft": 512, "hop_length": 128, "n_mels": 32, "n_frames": 32}
    return MelChunker(**{**defaults, **parameters})


def unet(random_state, *steps, **parameters):
    separator = UNetSeparator(
        n_filters=2, n_levels=2, max_epochs=1, device="cpu", random_state=random_state
    )
    return make_pipeline(chunker(**parameters), MaskBuilder(), separator, *steps)


class Gain(WaveformSeparator):
    """A separator of waveforms at 16 kHz that returns a share of the mixture."""

    def __init__(self, *, sample_rate=RATE, share=0.5, block_duration=1.0, fade_duration=0.1):
        self.sample_rate = sample_rate
        self.share = share
        self.block_duration = block_duration
        self.fade_duration = fade_duration

    def _load(self):
        return self.share

    def _separate_block(self, samples):
        return np.float32(self.model_) * samples

    def _model_rate(self):
        return 16000


@pytest.fixture(scope="module")
def trained():
    """Two trained pipelines, whose chunks overlap differently."""
    first = unet(0).fit(SONGS.mixtures, SONGS.vocals)
    second = unet(1, GriffinLimInverter(n_iter=0), overlap=0.25)
    return first, second.fit(SONGS.mixtures, SONGS.vocals)


@pytest.fixture(scope="module")
def members(trained):
    return [(name, FrozenEstimator(model)) for name, model in zip("ab", trained, strict=True)]


def streamed(model, mixture, n_blocks, sample_rate=RATE):
    stream = StreamingSeparator(model, sample_rate, n_channels=len(mixture))
    blocks = [stream.process(part).vocals for part in np.array_split(mixture, n_blocks, axis=1)]
    return np.concatenate([*blocks, stream.finish().vocals], axis=1)


# Voting -------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [None, [1, 1], [3.0, 1.0], np.array([0, 2])])
def test_waveforms_are_averaged(trained, members, weights):
    ensemble = VotingSeparator(members, weights=weights).fit(SONGS.mixtures)
    estimates = [model.predict(SONGS.mixtures) for model in trained]
    for index, vocals in enumerate(ensemble.predict(SONGS.mixtures)):
        expected = np.average([each[index] for each in estimates], axis=0, weights=weights)
        assert vocals.dtype == np.float32
        np.testing.assert_allclose(vocals, expected, atol=1e-5)


def test_masks_are_averaged_and_inverted_once(trained, members):
    ensemble = VotingSeparator(members, weights=[3, 1], average="mask").fit(SONGS.mixtures)
    batches = [model[0].transform(SONGS.mixtures) for model in trained]
    masks = [model[2].predict_mask(batch) for model, batch in zip(trained, batches, strict=True)]
    mean = [0.75 * first + 0.25 * second for first, second in zip(*masks, strict=True)]
    expected = GriffinLimInverter(n_iter=0).fit(batches[0]).predict(batches[0].with_masks(mean))
    for vocals, other in zip(ensemble.predict(SONGS.mixtures), expected, strict=True):
        np.testing.assert_allclose(vocals, other, atol=1e-5)


def test_masks_of_whole_tracks_are_averaged():
    members = [
        ("hpss", make_pipeline(chunker(), HPSSSeparator())),
        ("mixture", make_pipeline(chunker(), MixtureSeparator())),
    ]
    mask, waveform = (
        VotingSeparator(members, average=average).fit(SONGS.mixtures)
        for average in ("mask", "waveform")
    )
    # Without Griffin-Lim iterations, both are linear.
    for one, other in zip(
        *(each.predict(SONGS.mixtures) for each in (mask, waveform)), strict=True
    ):
        np.testing.assert_allclose(one, other, atol=1e-5)
    with pytest.raises(TypeError, match="depend on the whole track"):
        StreamingSeparator(mask)
    at_another_rate = clone(mask).set_params(sample_rate=16000).fit(SONGS.mixtures)
    with pytest.raises(ValueError, match="at 16000 Hz, but the members take whole tracks at 8000"):
        at_another_rate.predict(SONGS.mixtures)


@pytest.mark.parametrize("average", ["waveform", "mask"])
@pytest.mark.parametrize("n_blocks", [1, 9])
def test_streams_equal_predictions(members, average, n_blocks):
    members = [*members, ("gain", Gain())] if average == "waveform" else members
    ensemble = VotingSeparator(members, average=average).fit(SONGS.mixtures)
    mixture = SONGS.mixtures[0]
    expected = ensemble.predict([mixture])[0]
    np.testing.assert_allclose(streamed(ensemble, mixture, n_blocks), expected, atol=1e-5)
    separation = sksep.separate(mixture, ensemble)
    np.testing.assert_allclose(separation.vocals, expected, atol=1e-5)
    assert separation.sample_rate == RATE


def test_memory_of_streams_does_not_grow(members):
    ensemble = VotingSeparator([*members, ("gain", Gain())]).fit(SONGS.mixtures)
    stream = ensemble._open_stream(RATE, 2)
    n_in = n_out = 0
    for _ in range(12):
        n_in += SONGS.mixtures[0].shape[1]
        n_out += stream.push(SONGS.mixtures[0]).shape[1]
        assert n_in - n_out <= stream.latency
        assert max(part.shape[1] for part in stream._waiting) <= stream.latency


def test_files_keep_their_rate_and_length(tmp_path, members):
    file = tmp_path / "song.wav"
    mixture = np.repeat(SONGS.mixtures[0], 2, axis=1)[:, :30001]
    soundfile.write(file, mixture.T, 22050, subtype="FLOAT")
    for average in ("waveform", "mask"):
        ensemble = VotingSeparator(members, average=average).fit(SONGS.mixtures)
        assert ensemble.predict([file])[0].shape == mixture.shape


class Constant(BaseEstimator):
    """A model of tracks that cannot stream."""

    sample_rate = RATE

    def __init__(self, value=1.0):
        self.value = value

    def fit(self, X, y=None):
        self.fitted_value_ = self.value
        return self

    def predict(self, X):
        return [np.full(np.shape(track), self.fitted_value_, np.float32) for track in X]


def test_members_that_cannot_stream():
    ensemble = VotingSeparator([("a", Constant(1.0)), ("b", Constant(4.0)), ("c", Gain(share=0.0))])
    ensemble.set_params(weights=[2, 1, 1]).fit(SONGS.mixtures)
    (vocals,) = ensemble.predict([SONGS.mixtures[0][0]])
    np.testing.assert_allclose(vocals, 1.5, atol=1e-6)
    with pytest.raises(TypeError, match="Constant cannot separate single blocks"):
        StreamingSeparator(ensemble)


def test_members_that_changed_since_fit_are_not_mixed_up(trained, tmp_path):
    first, second = trained[:2]
    members = [("a", FrozenEstimator(first)), ("b", FrozenEstimator(second))]
    ensemble = VotingSeparator(members).fit(SONGS.mixtures)
    ensemble.set_params(a="drop")
    assert ensemble.named_estimators_["b"].estimator is second
    for use in (ensemble.predict, lambda _: sksep.save(ensemble, tmp_path / "x.safetensors")):
        with pytest.raises(ValueError, match="changed since fit; fit it again"):
            use(SONGS.mixtures)
    assert ensemble.fit(SONGS.mixtures).named_estimators_["a"] == "drop"
    expected = second.predict(SONGS.mixtures[:1])[0]
    np.testing.assert_allclose(ensemble.predict(SONGS.mixtures[:1])[0], expected, atol=1e-6)


def test_streams_of_unfitted_ensembles():
    unfitted = TestTimeAugmentation(FrozenEstimator(unet(0)))
    with pytest.raises(NotFittedError):
        StreamingSeparator(unfitted)


def test_members_are_cloned_fitted_and_dropped(trained):
    member = Constant(2.0)
    ensemble = VotingSeparator(
        [("a", member), ("b", FrozenEstimator(trained[0])), ("c", Constant(4.0))], weights=[1, 5, 3]
    )
    ensemble.set_params(b="drop").fit(SONGS.mixtures, SONGS.vocals)
    assert not hasattr(member, "fitted_value_")
    assert [each.fitted_value_ for each in ensemble.estimators_] == [2.0, 4.0]
    assert ensemble.named_estimators_.b == "drop"
    assert ensemble.named_estimators_.c is ensemble.estimators_[1]
    np.testing.assert_allclose(ensemble.predict([SONGS.mixtures[0]])[0], 3.5)


def test_parameters_of_members():
    ensemble = VotingSeparator([("a", Constant(2.0)), ("b", Constant(4.0))])
    parameters = ensemble.get_params()
    assert parameters["a"] is ensemble.estimators[0][1]
    assert parameters["b__value"] == 4.0
    assert "b__value" not in ensemble.get_params(deep=False)
    assert ensemble.set_params(b__value=1.0, average="mask") is ensemble
    assert clone(ensemble).get_params()["b__value"] == 1.0
    with pytest.raises(ValueError, match="Invalid parameter 'c'"):
        ensemble.set_params(c__value=1.0)


def test_searches_over_weights_and_members():
    # The vocals are the mixture, so one is the best share.
    ensemble = VotingSeparator([("a", Gain(share=0.25)), ("b", Gain(share=0.75))])
    search = GridSearchCV(
        ensemble,
        {"weights": [[1, 1], [0, 1], [1, 0]], "b__share": [0.75, 1.0]},
        scoring=sksep.metrics.usdr_scorer,
        cv=2,
        error_score="raise",
    )
    tracks = list(SONGS.mixtures)
    search.fit(tracks, tracks)
    assert search.best_params_ == {"weights": [0, 1], "b__share": 1.0}
    scores = cross_validate(search.best_estimator_, tracks, tracks, cv=2, error_score="raise")
    assert (scores["test_score"] > 30.0).all()  # resampling loses a little


def test_frozen_members_are_searched_over_weights(trained, members):
    search = GridSearchCV(
        VotingSeparator(members),
        {"weights": [[1, 0], [1, 1]]},
        scoring=sksep.metrics.sdr_scorer,
        cv=2,
        error_score="raise",
    )
    search.fit(SONGS.mixtures, SONGS.vocals)
    expected = [
        trained[0].score([mixture], [vocals])
        for mixture, vocals in zip(SONGS.mixtures, SONGS.vocals, strict=True)
    ]
    np.testing.assert_allclose(
        search.cv_results_["mean_test_score"][0], np.mean(expected), atol=1e-3
    )


BAD = {
    "no members": ({"estimators": []}, ValueError, "estimators is empty"),
    "all dropped": ({"estimators": [("a", "drop")]}, ValueError, "all of them are dropped"),
    "no list": ({"estimators": 3}, TypeError, r"list of \(name, estimator\)"),
    "no pairs": ({"estimators": [Constant()]}, TypeError, r"\(name, estimator\) pairs"),
    "no estimator": ({"estimators": [("a", 1)]}, TypeError, "member 'a' must be an estimator"),
    "a class": ({"estimators": [("a", Constant)]}, TypeError, "member 'a' must be an estimator"),
    "names": ({"estimators": [("a", Constant()), ("a", Constant())]}, ValueError, "not unique"),
    "underscores": ({"estimators": [("a__b", Constant())]}, ValueError, "must not contain __"),
    "own name": ({"estimators": [("weights", Constant())]}, ValueError, "conflict"),
    "too few weights": ({"weights": [1.0]}, ValueError, "1 numbers for 2 estimators"),
    "negative weights": ({"weights": [1.0, -1.0]}, ValueError, "not negative"),
    "zero weights": ({"weights": [0, 0]}, ValueError, "not all zero"),
    "nan weights": ({"weights": [1, np.nan]}, ValueError, "finite"),
    "words": ({"weights": "ab"}, TypeError, "list of numbers"),
    "average": ({"average": "median"}, ValueError, "average"),
    "sample_rate": ({"sample_rate": 0}, ValueError, "sample_rate"),
    "rates": (
        {"estimators": [("a", Gain()), ("b", Gain(sample_rate=44100))]},
        ValueError,
        "8000 and 44100 Hz: set sample_rate",
    ),
    "weight of what is dropped": (
        {"estimators": [("a", Constant()), ("b", "drop")], "weights": [0, 1]},
        ValueError,
        "not dropped are zero",
    ),
    "stems": (
        {
            "estimators": [
                ("a", make_pipeline(chunker(), MaskBuilder(target="drums"), MixtureSeparator())),
                ("b", make_pipeline(chunker(), MixtureSeparator())),
            ]
        },
        ValueError,
        r"different stems \(drums, vocals\)",
    ),
    "masks of waveforms": (
        {"estimators": [("a", Gain())], "average": "mask"},
        TypeError,
        "the member 'a' is Gain",
    ),
    "masks of other front ends": (
        {
            "estimators": [
                ("a", make_pipeline(chunker(), MixtureSeparator())),
                ("b", make_pipeline(chunker(n_mels=16), MixtureSeparator())),
            ],
            "average": "mask",
        },
        ValueError,
        "The masks of the member 'b' have another front end",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_parameters(case):
    parameters, error, message = BAD[case]
    members = [("a", Constant()), ("b", Constant())]
    with pytest.raises(error, match=message):
        VotingSeparator(**{"estimators": members, **parameters}).fit(SONGS.mixtures, SONGS.vocals)


def test_members_of_different_rates_take_arrays_at_the_given_one():
    ensemble = VotingSeparator(
        [("a", Gain()), ("b", Gain(sample_rate=44100))], sample_rate=RATE
    ).fit(SONGS.mixtures)
    mixture = SONGS.mixtures[0]
    vocals = ensemble.predict([mixture])[0]
    assert sksep.metrics.usdr(0.5 * mixture, vocals) > 30.0  # resampling loses a little


def test_not_fitted():
    for ensemble in (VotingSeparator([("a", Gain())]), TestTimeAugmentation(Gain())):
        with pytest.raises(NotFittedError):
            ensemble.predict(SONGS.mixtures)


# Test-time augmentation ---------------------------------------------------------------------


class Alternating(Gain):
    """A separator that keeps every second block of a quarter of a second."""

    def _separate_block(self, samples):
        kept = np.arange(samples.shape[1]) // 4000 % 2 == 0
        return samples * kept


def test_shifts_are_averaged():
    # At its own rate, in one block: what it keeps is known.
    model = Alternating(sample_rate=16000, block_duration=100.0)
    mixture = np.float32(np.random.default_rng(0).uniform(-0.5, 0.5, 24000))
    for n_shifts in (1, 2, 5):
        ensemble = TestTimeAugmentation(model, n_shifts=n_shifts, max_shift=0.5).fit([mixture])
        shifts = [round(index * 8000 / n_shifts) for index in range(n_shifts)]
        kept = [(np.arange(24000) + shift) // 4000 % 2 == 0 for shift in shifts]
        expected = mixture * np.mean(kept, axis=0)
        np.testing.assert_allclose(ensemble.predict([mixture])[0], expected, atol=1e-6)
        assert np.array_equal(ensemble.predict([mixture])[0], ensemble.predict([mixture])[0])


class LeftToRight(Gain):
    """A separator that treats channels differently, and single ones differently again."""

    def _model_channels(self):
        return None

    def _separate_block(self, samples):
        return samples * np.float32([[1.0], [0.0]][: len(samples)]) * len(samples)


@pytest.mark.parametrize(
    ("channels", "shares"),
    [("together", (2.0, 0.0)), ("swapped", (1.0, 1.0)), ("single", (1.5, 0.5))],
)
def test_channels_are_averaged(channels, shares):
    model = LeftToRight(sample_rate=16000)
    mixture = np.float32(np.random.default_rng(0).uniform(-0.4, 0.4, (2, 24000)))
    ensemble = TestTimeAugmentation(model, n_shifts=1, channels=channels).fit([mixture])
    expected = mixture * np.array(shares)[:, None]
    np.testing.assert_allclose(ensemble.predict([mixture])[0], expected, atol=1e-6)
    mono = ensemble.predict([mixture[0]])[0]
    np.testing.assert_allclose(mono, mixture[0], atol=1e-6)


@pytest.mark.parametrize("channels", ["together", "single"])
def test_shifted_pipelines(trained, channels):
    model = FrozenEstimator(trained[0])
    ensemble = TestTimeAugmentation(model, n_shifts=3, max_shift=0.2, channels=channels)
    ensemble.fit(SONGS.mixtures)
    mixture = SONGS.mixtures[1]
    expected = ensemble.predict([mixture])[0]
    assert expected.shape == mixture.shape
    np.testing.assert_allclose(streamed(ensemble, mixture, 7), expected, atol=1e-6)
    single = trained[0].predict([mixture])[0]
    assert np.abs(expected - single).max() > 0.0
    assert np.corrcoef(expected.ravel(), single.ravel())[0, 1] > 0.99


def test_one_shift_changes_nothing(trained):
    ensemble = TestTimeAugmentation(FrozenEstimator(trained[0]), n_shifts=1).fit(SONGS.mixtures)
    for vocals, expected in zip(
        ensemble.predict(SONGS.mixtures), trained[0].predict(SONGS.mixtures), strict=True
    ):
        np.testing.assert_allclose(vocals, expected, atol=1e-5)


def test_ensembles_nest(trained, members):
    voting = VotingSeparator(members)
    nested = TestTimeAugmentation(voting, n_shifts=2).fit(SONGS.mixtures)
    other = VotingSeparator(
        [(name, TestTimeAugmentation(member, n_shifts=2)) for name, member in members]
    ).fit(SONGS.mixtures)
    for one, two in zip(nested.predict(SONGS.mixtures), other.predict(SONGS.mixtures), strict=True):
        np.testing.assert_allclose(one, two, atol=1e-5)


def test_test_time_augmentation_is_searched():
    search = GridSearchCV(
        TestTimeAugmentation(Gain()),
        {"n_shifts": [1, 2], "estimator__share": [0.2, 1.0]},
        scoring=sksep.metrics.usdr_scorer,
        cv=2,
        error_score="raise",
    ).fit(list(SONGS.mixtures), list(SONGS.mixtures))
    assert search.best_params_["estimator__share"] == 1.0


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"estimator": None}, ValueError, "needs an estimator"),
        ({"estimator": 1}, TypeError, "must be an estimator of tracks"),
        ({"estimator": Constant()}, TypeError, "Constant cannot separate single blocks"),
        ({"n_shifts": 0}, ValueError, "n_shifts"),
        ({"n_shifts": 1.5}, TypeError, "n_shifts"),
        ({"max_shift": 0.0}, ValueError, "max_shift"),
        ({"channels": "all"}, ValueError, "channels"),
    ],
)
def test_bad_parameters_of_test_time_augmentation(parameters, error, message):
    with pytest.raises(error, match=message):
        TestTimeAugmentation(**{"estimator": Gain(), **parameters}).fit(SONGS.mixtures)


def test_clusters_need_whole_tracks():
    separator = DeepClusteringSeparator(
        embedding_dim=3,
        hidden_size=4,
        n_layers=1,
        max_epochs=1,
        device="cpu",
        random_state=0,
        clusterer=KMeans(2, n_init=1),
    )
    pipeline = make_pipeline(chunker(), MaskBuilder(), separator)
    with pytest.raises(TypeError, match="depend on the whole track"):
        TestTimeAugmentation(pipeline).fit(SONGS.mixtures, SONGS.vocals)


# Streams ------------------------------------------------------------------------------------


class Delay:
    """A stream that returns its input late."""

    def __init__(self, latency, gain=1.0):
        self.latency = latency
        self.gain = gain
        self.kept = np.zeros((1, 0), np.float32)

    def push(self, samples):
        self.kept = np.concatenate([self.kept, samples], axis=1)
        n_complete = max(0, self.kept.shape[1] - self.latency)
        complete, self.kept = np.split(self.kept, [n_complete], axis=1)
        return self.gain * complete

    def finish(self):
        return self.gain * self.kept


@pytest.mark.parametrize("size", [1, 7, 100])
def test_streams_of_different_delays_are_averaged(size):
    samples = np.arange(100, dtype=np.float32)[None]
    stream = AveragingStream([Delay(3, 1.0), ShiftedStream(Delay(20, 3.0), 11, 1)], [0.5, 0.5], 1)
    out, n_in = [], 0
    for start in range(0, 100, size):
        block = samples[:, start : start + size]
        n_in += block.shape[1]
        out.append(stream.push(block))
        assert n_in - sum(part.shape[1] for part in out) <= stream.latency == 20
    out.append(stream.finish())
    np.testing.assert_array_equal(np.concatenate(out, axis=1), 2.0 * samples)


def test_streams_of_nothing():
    stream = AveragingStream([ShiftedStream(Delay(20), 11, 1)], [1.0], 1)
    assert stream.finish().shape == (1, 0)


# Files --------------------------------------------------------------------------------------


@pytest.mark.parametrize("average", ["waveform", "mask"])
def test_saved_ensembles_predict_the_same(tmp_path, members, average):
    ensemble = VotingSeparator(members, weights=[3, 1], average=average).fit(SONGS.mixtures)
    sksep.save(ensemble, tmp_path / "ensemble.safetensors")
    loaded = sksep.load(tmp_path / "ensemble.safetensors")
    for one, two in zip(
        ensemble.predict(SONGS.mixtures), loaded.predict(SONGS.mixtures), strict=True
    ):
        np.testing.assert_array_equal(one, two)
    assert loaded.weights == [3, 1]
    sksep.save(loaded, tmp_path / "again.safetensors")
    contents = [(tmp_path / f"{name}.safetensors").read_bytes() for name in ("ensemble", "again")]
    assert contents[0] == contents[1]


def test_saved_ensembles_of_fitted_clones(tmp_path):
    members = [("a", make_pipeline(chunker(), HPSSSeparator())), ("b", "drop"), ("c", unet(0))]
    ensemble = VotingSeparator(members).fit(SONGS.mixtures, SONGS.vocals)
    augmented = TestTimeAugmentation(unet(1), n_shifts=2).fit(SONGS.mixtures, SONGS.vocals)
    for model in (ensemble, augmented):
        sksep.save(model, tmp_path / "model.safetensors", overwrite=True)
        loaded = sksep.load(tmp_path / "model.safetensors")
        for one, two in zip(
            model.predict(SONGS.mixtures), loaded.predict(SONGS.mixtures), strict=True
        ):
            np.testing.assert_array_equal(one, two)
    sksep.save(VotingSeparator(members), tmp_path / "unfitted.safetensors")
    unfitted = sksep.load(tmp_path / "unfitted.safetensors")
    assert [name for name, _ in unfitted.estimators] == ["a", "b", "c"]
    assert not hasattr(unfitted, "estimators_")


def test_what_cannot_be_saved_is_named(tmp_path):
    ensemble = VotingSeparator([("a", Gain())]).fit(SONGS.mixtures)
    with pytest.raises(ValueError, match=r"cannot store .*Gain \(estimators__0__1\)"):
        sksep.save(ensemble, tmp_path / "ensemble.safetensors")


def test_pickles_predict_the_same(members):
    ensemble = VotingSeparator(members, average="mask").fit(SONGS.mixtures)
    restored = pickle.loads(pickle.dumps(ensemble))
    for one, two in zip(
        ensemble.predict(SONGS.mixtures), restored.predict(SONGS.mixtures), strict=True
    ):
        np.testing.assert_array_equal(one, two)


def test_members_that_learn_take_arrays_at_the_rate_of_the_ensemble():
    ensemble = VotingSeparator([("a", unet(0))], sample_rate=44100)
    with pytest.raises(ValueError, match=r"sample_rate is 44100 Hz, but Pipeline.* at 8000 Hz"):
        ensemble.fit(SONGS.mixtures, SONGS.vocals)


def test_stem_of_an_ensemble_reaches_the_command(tmp_path):
    separator = UNetSeparator(n_filters=2, n_levels=2, max_epochs=1, device="cpu", random_state=0)
    drums = make_pipeline(chunker(), MaskBuilder(target="drums"), separator)
    ensemble = VotingSeparator([("a", drums)]).fit(SONGS.mixtures, SONGS.vocals)
    sksep.save(ensemble, tmp_path / "drums.safetensors")
    assert target_of(str(tmp_path / "drums.safetensors")) == "drums"
    with pytest.raises(ValueError, match="extracts drums; vocal activity needs a model of vocals"):
        sksep.vocal_activity(SONGS.mixtures[0], ensemble)


def test_errors_of_members_name_the_track():
    broken = FrozenEstimator(Gain(share=float("nan")).fit(SONGS.mixtures))
    voting = VotingSeparator([("a", broken)]).fit(SONGS.mixtures)
    for ensemble in (voting, sksep.TestTimeAugmentation(broken).fit(SONGS.mixtures)):
        with pytest.raises(ValueError, match=r"for X\[0\]"):
            ensemble.predict(SONGS.mixtures)
