"""MaskBuilder attaches the truth only while fitting."""

import librosa
import numpy as np
import pytest
import soundfile
from helpers import noise

from sksep import MaskBuilder, MelChunker
from sksep.base._targets import chunk_power

RATE = 16000
CHUNK = 128 * 128  # samples


def build(mixtures, vocals, chunker=None, **parameters):
    chunker = chunker or MelChunker()
    return MaskBuilder(**parameters).fit_transform(chunker.fit_transform(mixtures), vocals)


def mel_power(samples, n_mels=128):
    spectra = librosa.stft(samples, n_fft=1024, hop_length=128, pad_mode="constant")
    power = np.abs(spectra) ** 2
    if n_mels is not None:
        power = librosa.filters.mel(sr=RATE, n_fft=1024, n_mels=n_mels) @ power
    return power.T


@pytest.mark.parametrize("n_mels", [128, None])
@pytest.mark.parametrize(("ratio", "exponent"), [("power", 1.0), ("magnitude", 0.5)])
def test_masks_equal_their_formulas(ratio, exponent, n_mels):
    vocals, accompaniment = noise(9000), noise(9000, seed=1)
    batch = build([vocals + accompaniment], [vocals], MelChunker(n_mels=n_mels), ratio=ratio)
    targets = batch[0].targets
    vocal_power, other_power = mel_power(vocals, n_mels), mel_power(accompaniment, n_mels)
    share = vocal_power**exponent / (vocal_power**exponent + other_power**exponent)
    np.testing.assert_allclose(targets.proportion_mask, share, atol=1e-4)
    louder = vocal_power > other_power
    clear = np.abs(share - 0.5) > 1e-3
    np.testing.assert_array_equal(targets.binary_mask[clear], louder[clear])
    assert set(np.unique(targets.binary_mask)) == {0.0, 1.0}
    for mask in (targets.proportion_mask, targets.binary_mask, targets.weights):
        assert mask.shape == batch[0].spectrogram.shape and mask.dtype == np.float32


@pytest.mark.parametrize("weighting", ["magnitude", "log_magnitude", "uniform"])
def test_weights(weighting):
    mixture = noise(9000)
    weights = build([mixture], [mixture / 2], weighting=weighting)[0].targets.weights
    power = mel_power(mixture)
    expected = {
        "magnitude": np.sqrt(power),
        "log_magnitude": np.clip(60 + 10 * np.log10(power / power.max()), 0, None),
        "uniform": np.ones_like(power),
    }[weighting]
    np.testing.assert_allclose(weights, expected / expected.mean(), rtol=2e-3, atol=2e-3)
    assert weights.mean() == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("ratio", ["power", "magnitude"])
def test_masks_of_vocals_and_accompaniment_sum_to_one(ratio):
    vocals, accompaniment = noise(20000), noise(20000, seed=1)
    vocals[:8000] = 0.0
    accompaniment[5000:14000] = 0.0
    mixture = vocals + accompaniment
    mask = build([mixture], [vocals], ratio=ratio)[0].targets.proportion_mask
    opposite = build([mixture], [accompaniment], ratio=ratio)[0].targets.proportion_mask
    silent = (mask == 0) & (opposite == 0)
    assert mask.min() == 0.0 and mask.max() <= 1.0
    np.testing.assert_allclose((mask + opposite)[~silent], 1.0, atol=1e-3)
    # The windows of frames 44 to 58 hold only zeros, so they have no vocals.
    assert silent[44:59].all() and silent.sum() < 17 * 128


def test_masks_of_extremes():
    mixture = noise(5000)
    everything = build([mixture], [mixture])[0].targets
    np.testing.assert_array_equal(everything.proportion_mask, 1.0)
    np.testing.assert_array_equal(everything.binary_mask, 1.0)
    for vocals in (np.zeros(5000), np.zeros(5000, np.int16)):
        nothing = build([mixture], [vocals])[0].targets
        assert not nothing.proportion_mask.any() and not nothing.binary_mask.any()
    silence = build([np.zeros(5000)], [np.zeros(5000)])[0].targets
    assert not silence.proportion_mask.any() and not silence.binary_mask.any()
    np.testing.assert_array_equal(silence.weights, 1.0)


def test_transform_attaches_nothing():
    batch = MelChunker().fit_transform([noise(5000)])
    builder = MaskBuilder()
    assert builder.transform(batch) is batch
    fitted = builder.fit_transform(batch, [noise(5000, seed=1)])
    assert fitted[0].targets is not None and batch[0].targets is None
    assert builder.transform(batch)[0].targets is None
    assert builder.fit(batch, [noise(5000, seed=1)]).transform(batch)[0].targets is None


def test_needs_vocals():
    batch = MelChunker().fit_transform([noise(100)])
    with pytest.raises(ValueError, match=r"needs the vocals.*fit\(mixtures, vocals\)"):
        MaskBuilder().fit_transform(batch)


def test_needs_a_chunker():
    for use in (MaskBuilder().fit, MaskBuilder().transform, MaskBuilder().fit_transform):
        with pytest.raises(TypeError, match="MaskBuilder works on the output of MelChunker"):
            use([noise(100)])


# Pairs that do not fit.


def test_numbers_of_tracks_differ():
    with pytest.raises(ValueError, match="X has 2 tracks but y has 1; they must correspond"):
        build([noise(100), noise(100)], [noise(100)])


def test_lengths_differ():
    with pytest.raises(
        ValueError, match=r"y\[1\] has 101 samples but its mixture X\[1\] has 100; align and cut"
    ):
        build([noise(50), noise(100)], [noise(50), noise(101)])


def test_channels_differ():
    with pytest.raises(
        ValueError, match=r"y\[0\] has 3 channels but its mixture X\[0\] has 2; give one channel"
    ):
        build([noise(2, 100)], [noise(3, 100)])
    with pytest.raises(ValueError, match=r"y\[0\] has 2 channels but its mixture X\[0\] has 1"):
        build([noise(100)], [noise(2, 100)])


def test_rates_differ(tmp_path):
    soundfile.write(tmp_path / "mixture.wav", noise(4410), 44100)
    soundfile.write(tmp_path / "vocals.wav", noise(4410), 22050)
    for vocals in (tmp_path / "vocals.wav", noise(4410)):
        with pytest.raises(
            ValueError, match=r"y\[0\].* Hz but its mixture X\[0\] .*at 44100 Hz; resample it"
        ):
            build([tmp_path / "mixture.wav"], [vocals])


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        ([np.full(100, np.nan)], ValueError, r"y\[0\] contains NaN"),
        (noise(100), TypeError, r"y is one waveform of 100 samples.*\[y\]"),
        ([], ValueError, "y holds no tracks"),
        (["missing.wav"], FileNotFoundError, r"y\[0\] .*no file.*missing\.wav"),
    ],
)
def test_bad_vocals_are_named(y, error, message):
    with pytest.raises(error, match=message):
        build([noise(100)], y)


def test_mono_vocals_of_a_stereo_mixture():
    vocals, mixture = noise(5000), noise(2, 5000, seed=1)
    mono = build([mixture], [vocals])[0].targets
    stereo = build([mixture], [np.stack([vocals, vocals])])[0].targets
    np.testing.assert_allclose(mono.vocals, stereo.vocals, atol=1e-7)
    np.testing.assert_array_equal(mono.mixture, mixture.mean(axis=0))


def test_files_and_arrays_alike(tmp_path):
    mixture, vocals = noise(2, 6000), noise(2, 6000, seed=1)
    paths = [tmp_path / "mixture.wav", tmp_path / "vocals.wav"]
    for path, samples in zip(paths, (mixture, vocals), strict=True):
        soundfile.write(path, samples.T, RATE, subtype="FLOAT")
    from_files = build(paths[:1], paths[1:])[0].targets
    from_arrays = build([mixture], [vocals])[0].targets
    np.testing.assert_allclose(from_files.proportion_mask, from_arrays.proportion_mask, atol=1e-6)


# The chunks to train on. Tracks consist of sections of one chunk each, with levels in dB below
# full scale. Without overlap, the chunks are the sections.


def stretches(levels, seed=0):
    gains = 10 ** (np.repeat(np.asarray(levels, float), CHUNK) / 20)
    samples = np.random.default_rng(seed).choice([-1.0, 1.0], len(gains)) * gains
    return samples[:-1].astype(np.float32)  # one sample less, so that there is no further frame


def activity(mixture_levels, vocal_levels, **parameters):
    mixture, vocals = stretches(mixture_levels), stretches(vocal_levels, seed=1)
    targets = build([mixture], [vocals], MelChunker(overlap=0.0), **parameters)[0].targets
    return targets.chunk_sings.tolist(), targets.chunk_is_kept.tolist()


def test_silence_is_excised_below_its_threshold():
    levels = [0, -50, -59, -61, -90]
    sings, kept = activity(levels, levels)
    assert kept == sings == [True, False, False, False, False]  # vocals end at -40 dB
    _, kept = activity(levels, levels, vocal_free_share=1.0)
    assert kept == [True, True, True, False, False]
    _, kept = activity(levels, levels, vocal_free_share=1.0, silence_threshold=-55.0)
    assert kept == [True, True, False, False, False]
    sings, kept = activity(levels, levels, vocal_threshold=-60.0)
    assert kept == sings == [True, True, True, False, False]


def test_levels_count_relative_to_the_track():
    # The quiet track is 70 dB below the other one, but all of its chunks are kept.
    tracks = [stretches([0, -20]), stretches([-70, -75])]
    batch = build(tracks, tracks, MelChunker(overlap=0.0))
    assert all(record.targets.chunk_is_kept.all() for record in batch)


def test_vocals_count_relative_to_the_mixture():
    sings, _ = activity([0, 0, 0, -30], [-10, -39, -41, -30])
    assert sings == [True, True, False, True]
    sings, kept = activity([0, -90], [-10, -10])  # the accompaniment cancels these vocals
    assert sings == kept == [True, False]


@pytest.mark.parametrize(("share", "n_free"), [(0.0, 0), (0.1, 1), (0.5, 9), (0.25, 3), (1.0, 12)])
def test_share_of_chunks_without_vocals(share, n_free):
    vocal_levels = [-10] * 9 + [-200] * 12
    sings, kept = activity([0] * 21, vocal_levels, vocal_free_share=share)
    assert sum(sings) == 9 and kept[:9] == [True] * 9
    assert sum(kept) == 9 + n_free


def test_chunks_without_vocals_are_spread_over_the_tracks():
    mixtures = [stretches([0] * 6, seed) for seed in range(4)]
    vocals = [stretches([0] * 3 + [-200] * 3) for _ in range(4)]
    batch = build(mixtures, vocals, MelChunker(overlap=0.0), vocal_free_share=0.25)
    free = [int(record.targets.chunk_is_kept[3:].sum()) for record in batch]
    assert free == [1, 1, 1, 1]


@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_without_any_vocals_everything_that_sounds_is_kept(share):
    sings, kept = activity([0, 0, -90], [-200] * 3, vocal_free_share=share)
    assert not any(sings) and kept == [True, True, False]


def test_silent_tracks_are_kept_as_samples():
    batch = build([np.zeros(20000), noise(20000)], [np.zeros(20000), noise(20000)])
    assert len(batch) == 2
    assert not batch[0].targets.chunk_is_kept.any() and batch[1].targets.chunk_is_kept.any()


@pytest.mark.parametrize("n_samples", [1, 127, 128, CHUNK - 1, CHUNK, 3 * CHUNK + 1])
@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.9])
def test_one_flag_per_chunk(n_samples, overlap):
    samples = noise(n_samples)
    (record,) = build([samples], [samples], MelChunker(overlap=overlap))
    assert len(record.targets.chunk_is_kept) == len(record.targets.chunk_sings)
    assert len(record.targets.chunk_is_kept) == len(record.chunks)
    assert record.targets.chunk_is_kept[0]


def test_chunk_power():
    (record,) = MelChunker(overlap=0.5).fit_transform([noise(3 * CHUNK)])
    power = chunk_power(record.waveform, record.front_end)
    starts = np.arange(len(record.chunks)) * CHUNK // 2
    expected = [np.mean(record.waveform[start : start + CHUNK] ** 2.0) for start in starts[:-1]]
    np.testing.assert_allclose(power[:-1], expected, rtol=1e-5)
    assert np.isfinite(power).all()


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"ratio": "energy"}, ValueError, "ratio must be one of 'power', 'magnitude'"),
        ({"weighting": None}, ValueError, "weighting must be one of"),
        ({"silence_threshold": 1.0}, ValueError, "silence_threshold must be in"),
        ({"silence_threshold": "-60"}, TypeError, "silence_threshold must be a number"),
        ({"vocal_threshold": 3}, ValueError, "vocal_threshold must be in"),
        ({"vocal_free_share": 1.1}, ValueError, r"vocal_free_share must be in \[0, 1\]"),
        ({"vocal_free_share": float("nan")}, ValueError, "vocal_free_share must be in"),
    ],
)
def test_parameters_are_validated_when_used(parameters, error, message):
    builder = MaskBuilder(**parameters)
    batch = MelChunker().fit_transform([noise(100)])
    for use in (
        builder.fit,
        builder.transform,
        lambda X: builder.fit_transform(X, [noise(100)]),
    ):
        with pytest.raises(error, match=message):
            use(batch)
