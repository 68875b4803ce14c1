"""GriffinLimInverter: waveforms from masks, and the SDR of true masks."""

import librosa
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from sksep import GriffinLimInverter, MaskBuilder, MelChunker
from sksep.audio._validation import load_audio
from sksep.datasets import load_mir1k, make_songs
from sksep.metrics import sdr

RATE = 16000


@pytest.fixture(scope="module")
def songs():
    return make_songs(3, duration=2.0, random_state=0)


def oracle(mixtures, vocals, **front_end):
    """A batch whose estimated masks are the true ones."""
    batch = MelChunker(**front_end).fit_transform(mixtures)
    batch = MaskBuilder(ratio="power").fit_transform(batch, vocals)
    return batch.with_masks(record.targets.proportion_mask for record in batch)


@pytest.fixture(scope="module")
def batch(songs):
    return oracle(songs.mixtures, songs.vocals)


def test_predict_returns_what_y_looks_like(songs, batch):
    estimates = GriffinLimInverter().fit(batch).predict(batch)
    assert estimates.shape == (3,) and estimates.dtype == object
    for estimate, vocals in zip(estimates, songs.vocals, strict=True):
        assert estimate.shape == vocals.shape and estimate.dtype == np.float32
    transformed = GriffinLimInverter().transform(batch)
    for estimate, same in zip(estimates, transformed, strict=True):
        np.testing.assert_array_equal(estimate, same)
    # scikit-learn's indexing makes lists of records.
    picked = GriffinLimInverter().predict([batch[2]])
    np.testing.assert_array_equal(picked[0], estimates[2])


def test_score_is_the_mean_sdr(songs, batch):
    inverter = GriffinLimInverter().fit(batch)
    estimates = inverter.predict(batch)
    each = [sdr(true, found) for true, found in zip(songs.vocals, estimates, strict=True)]
    assert inverter.score(batch, songs.vocals) == pytest.approx(np.mean(each))
    weights = [1.0, 0.0, 3.0]
    assert inverter.score(batch, songs.vocals, sample_weight=weights) == pytest.approx(
        np.average(each, weights=weights)
    )
    mixture = np.mean(
        [sdr(true, mix) for true, mix in zip(songs.vocals, songs.mixtures, strict=True)]
    )
    assert inverter.score(batch, songs.vocals) > mixture + 6.0


def test_score_checks_pairs(songs, batch):
    inverter = GriffinLimInverter(n_iter=0)
    with pytest.raises(ValueError, match="X has 3 tracks but y has 2"):
        inverter.score(batch, songs.vocals[:2])
    with pytest.raises(ValueError, match=r"y\[0\] has 31999 samples but its mixture X\[0\]"):
        inverter.score(batch, [vocals[:-1] for vocals in songs.vocals])


def test_iterations_from_the_mixture_phase_help(songs, batch):
    scores = [GriffinLimInverter(n_iter=n_iter).score(batch, songs.vocals) for n_iter in (0, 10)]
    assert scores[1] > scores[0]


def test_random_phases_cost_much(songs, batch):
    mixture = GriffinLimInverter().score(batch, songs.vocals)
    random = GriffinLimInverter(init="random", random_state=0).score(batch, songs.vocals)
    assert random < mixture - 5.0


def test_random_state(batch):
    def estimate(seed):
        return GriffinLimInverter(n_iter=2, init="random", random_state=seed).predict(batch[:1])[0]

    np.testing.assert_array_equal(estimate(0), estimate(0))
    assert np.abs(estimate(0) - estimate(1)).max() > 1e-3
    np.testing.assert_array_equal(
        estimate(np.random.RandomState(5)), estimate(np.random.RandomState(5))
    )
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    assert np.abs(estimate(None) - estimate(None)).max() > 1e-3
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_learns_nothing_and_changes_nothing(batch):
    inverter = GriffinLimInverter(n_iter=1)
    before = [record.mask.copy() for record in batch]
    expected = inverter.predict(batch)
    fitted = clone(inverter).fit(batch[:1], None)
    np.testing.assert_array_equal(fitted.predict(batch)[1], expected[1])
    for record, mask in zip(batch, before, strict=True):
        np.testing.assert_array_equal(record.mask, mask)


def test_ends_a_pipeline(songs):
    pipeline = Pipeline(
        [("chunk", MelChunker()), ("mask", MasksOfOnes()), ("invert", GriffinLimInverter(n_iter=1))]
    )
    estimates = pipeline.fit(songs.mixtures, songs.vocals).predict(songs.mixtures)
    for estimate, mixture in zip(estimates, songs.mixtures, strict=True):
        np.testing.assert_allclose(estimate, mixture, atol=1e-4)
    assert np.isfinite(pipeline.score(songs.mixtures, songs.vocals))


class MasksOfOnes(MaskBuilder):
    """A step whose masks take everything for vocals."""

    def transform(self, X):
        return super().transform(X).with_masks(np.ones(part.spectrogram.shape) for part in X)

    def fit_transform(self, X, y=None):
        return self.transform(X)


def test_needs_masks(songs):
    batch = MelChunker().fit_transform(songs.mixtures)
    with pytest.raises(ValueError, match=r"X\[0\] has no estimated mask\. Put a separator before"):
        GriffinLimInverter().fit(batch).predict(batch)
    with pytest.raises(TypeError, match="GriffinLimInverter works on the output of MelChunker"):
        GriffinLimInverter().fit(songs.mixtures)


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"n_iter": -1}, ValueError, r"n_iter must be in \[0, 1000\]"),
        ({"n_iter": 1.5}, TypeError, "n_iter must be an integer"),
        ({"init": "zeros"}, ValueError, "init must be one of 'mixture', 'random'"),
        ({"momentum": 1.0}, ValueError, r"momentum must be in \[0, 1\)"),
        ({"momentum": -0.1}, ValueError, "momentum must be in"),
        ({"momentum": None}, TypeError, "momentum must be a number"),
        ({"random_state": "seed"}, TypeError, "random_state must be .* 'seed'"),
    ],
)
def test_parameters_are_validated_when_used(batch, parameters, error, message):
    inverter = GriffinLimInverter(**parameters)
    for use in (inverter.fit, inverter.predict, inverter.transform):
        with pytest.raises(error, match=message):
            use(batch)


# The same steps in plain librosa.


def reference(mixture, vocals, n_fft, hop_length, n_mels, n_iter):
    settings = {"n_fft": n_fft, "hop_length": hop_length, "pad_mode": "constant"}
    spectra = librosa.stft(mixture, **settings)
    powers = [np.abs(librosa.stft(part, **settings)) ** 2 for part in (vocals, mixture - vocals)]
    bank = np.eye(1 + n_fft // 2)
    if n_mels is not None:
        bank = librosa.filters.mel(sr=RATE, n_fft=n_fft, n_mels=n_mels)
    vocal_power, other_power = (bank @ power for power in powers)
    mask = vocal_power / np.maximum(vocal_power + other_power, 1e-20)
    columns = bank.sum(axis=0)
    lifted = np.where(columns[:, None] > 0, bank.T @ mask / np.maximum(columns, 1e-20)[:, None], 0)
    magnitude = np.abs(spectra) * lifted
    estimate = spectra * lifted
    back = {"hop_length": hop_length, "n_fft": n_fft, "length": len(mixture)}
    for _ in range(n_iter):
        rebuilt = librosa.stft(librosa.istft(estimate, **back), **settings)
        estimate = magnitude * np.exp(1j * np.angle(rebuilt))
    return librosa.istft(estimate, **back)


def check_oracle(mixtures, vocals, front_end, n_iter, tolerance):
    """Mean SDR of true masks, after a check that it is within `tolerance` dB of librosa's."""
    n_fft, hop_length, n_mels = front_end
    batch = oracle(mixtures, vocals, n_fft=n_fft, hop_length=hop_length, n_mels=n_mels)
    estimates = GriffinLimInverter(n_iter=n_iter).predict(batch)
    reached, expected = [], []
    for mixture, true, estimate in zip(mixtures, vocals, estimates, strict=True):
        reached.append(sdr(true, estimate))
        expected.append(sdr(true, reference(mixture, true, n_fft, hop_length, n_mels, n_iter)))
    np.testing.assert_allclose(reached, expected, atol=tolerance)
    return float(np.mean(reached))


FRONT_ENDS = {
    "report": (1024, 128, 128),
    "wide": (2048, 512, 256),
    "linear": (1024, 128, None),
}


@pytest.mark.parametrize("n_iter", [0, 5])
@pytest.mark.parametrize("front_end", FRONT_ENDS.values(), ids=FRONT_ENDS)
def test_oracle_equals_plain_librosa_on_songs(songs, front_end, n_iter):
    check_oracle(songs.mixtures, songs.vocals, front_end, n_iter, tolerance=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("front_end", "n_iter", "stride", "floor"),
    [
        ("report", 0, 9, 13.5),
        ("wide", 0, 9, 14.7),
        ("linear", 0, 9, 14.6),
        ("report", 10, 45, 13.5),
        ("wide", 10, 45, 14.5),
        ("linear", 10, 45, 14.5),
    ],
)
def test_oracle_on_recordings(data_home, front_end, n_iter, stride, floor):
    clips = load_mir1k(data_home / "mir1k")
    mixtures = [load_audio(source)[0] for source in clips.mixtures[::stride]]
    vocals = [load_audio(source)[0] for source in clips.vocals[::stride]]
    reached = check_oracle(mixtures, vocals, FRONT_ENDS[front_end], n_iter, tolerance=0.5)
    print(f"{front_end}, {n_iter} iterations: {reached:.2f} dB on {len(vocals)} clips")
    assert reached > floor
