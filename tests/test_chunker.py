"""MelChunker: chunks of the same spectrogram as that of librosa."""

import warnings

import librosa
import numpy as np
import pytest
import soundfile
from sklearn.base import clone

from sksep import MelChunker
from sksep.audio._resampling import resample

RATE = 16000
FRONT_ENDS = [
    {},
    {"n_fft": 2048, "hop_length": 512, "n_mels": 256},
    {"n_fft": 2048},
    {"n_mels": None},
    {"n_fft": 2048, "n_mels": None},
    {"n_fft": 512, "hop_length": 160, "n_mels": 40, "f_min": 60.0, "f_max": 7000.0},
    {"sample_rate": 8192, "hop_length": 256, "n_mels": 80},
    {"sample_rate": 44100, "n_fft": 4096, "hop_length": 1024},
    {"n_fft": 1000, "hop_length": 300, "n_mels": 32},
]


def music(n_samples, seed=0):
    """Sines over noise, with a pause, so that levels cover a wide range."""
    generator = np.random.default_rng(seed)
    times = np.arange(n_samples) / RATE
    samples = sum(0.2 * np.sin(2 * np.pi * f * times) for f in (110.0, 440.0, 1975.5))
    samples = samples + 1e-3 * generator.normal(size=n_samples)
    samples[n_samples // 3 : n_samples // 2] = 0.0
    return samples.astype(np.float32)


def reference_power(samples, chunker):
    """Power per band by librosa, shape (n_total_frames, n_bands)."""
    spectra = librosa.stft(
        samples,
        n_fft=chunker.n_fft,
        hop_length=chunker.hop_length,
        center=True,
        pad_mode="constant",
    )
    power = np.abs(spectra) ** 2
    if chunker.n_mels is None:
        return power.T
    return librosa.feature.melspectrogram(
        S=power,
        sr=chunker.sample_rate,
        n_fft=chunker.n_fft,
        n_mels=chunker.n_mels,
        fmin=chunker.f_min,
        fmax=chunker.f_max,
    ).T


@pytest.mark.filterwarnings("ignore:n_fft=.* is too large")  # librosa warns of short tracks
@pytest.mark.parametrize("n_samples", [1, 700, 20000])
@pytest.mark.parametrize("front_end", FRONT_ENDS, ids=str)
def test_equals_librosa(front_end, n_samples):
    chunker = MelChunker(**front_end)
    samples = music(n_samples)
    spectrogram = chunker.fit_transform([samples])[0].spectrogram
    power = reference_power(samples, chunker)
    expected = librosa.db_to_power(librosa.power_to_db(power, amin=1e-10, top_db=None))
    assert spectrogram.dtype == np.float32 and spectrogram.shape == expected.shape
    # 1e-4 of the power, plus rounding of float32 at 120 dB below the loudest bin of a frame.
    magnitude, loudest = np.sqrt(expected), np.sqrt(power.max(axis=1, keepdims=True))
    difference = np.abs(np.sqrt(librosa.db_to_power(spectrogram)) - magnitude)
    assert (difference <= 0.5e-4 * magnitude + 1e-6 * loudest).all()


@pytest.mark.parametrize(
    "front_end", [part for part in FRONT_ENDS if part.get("n_mels", 1)], ids=str
)
def test_equals_librosa_in_every_band(front_end):
    # Noise has no bands that are quieter than the rounding errors of others.
    samples = 0.1 * np.random.default_rng(0).normal(size=20000).astype(np.float32)
    chunker = MelChunker(**front_end)
    power = librosa.feature.melspectrogram(
        y=samples,
        sr=chunker.sample_rate,
        n_fft=chunker.n_fft,
        hop_length=chunker.hop_length,
        n_mels=chunker.n_mels,
        fmin=chunker.f_min,
        fmax=chunker.f_max,
        pad_mode="constant",
    )
    spectrogram = chunker.fit_transform([samples])[0].spectrogram
    np.testing.assert_allclose(librosa.db_to_power(spectrogram), power.T, rtol=1e-4)


def test_silence_is_the_floor():
    spectrogram = MelChunker().fit_transform([np.zeros(3000)])[0].spectrogram
    np.testing.assert_allclose(spectrogram, -100.0, rtol=1e-6)


@pytest.mark.parametrize(
    ("parameters", "n_samples", "n_chunks"),
    [
        ({}, 32000, 3),
        ({}, 1, 1),
        ({}, 127 * 128, 1),
        ({}, 128 * 128, 2),
        ({"overlap": 0.0}, 32000, 2),
        ({"overlap": 0.75}, 32000, 5),
        ({"n_frames": 64}, 32000, 7),
        ({"n_fft": 2048, "hop_length": 512, "n_mels": 256}, 64001, 1),
    ],
)
def test_shape_of_chunks(parameters, n_samples, n_chunks):
    chunker = MelChunker(**parameters)
    (record,) = chunker.fit_transform([music(n_samples)])
    assert record.spectrogram.shape == (1 + n_samples // chunker.hop_length, chunker.n_mels)
    assert record.chunks.shape == (n_chunks, chunker.n_frames, chunker.n_mels)
    assert record.chunks.flags.c_contiguous
    first = record.spectrogram[: chunker.n_frames]
    np.testing.assert_array_equal(record.chunks[0, : len(first)], first)
    assert (record.chunks[0, len(first) :] == -100.0).all()


def test_unchunk_undoes_chunks():
    for overlap in (0.0, 0.3, 0.5, 0.9):
        chunker = MelChunker(overlap=overlap, n_frames=50)
        batch = chunker.fit_transform([music(n_samples) for n_samples in (1, 5000, 30000)])
        restored = chunker.unchunk(batch, [record.chunks for record in batch])
        for record, spectrogram in zip(batch, restored, strict=True):
            np.testing.assert_allclose(spectrogram, record.spectrogram, rtol=1e-5)
    with pytest.raises(TypeError, match=r"MelChunker\.unchunk works on the output of MelChunker"):
        MelChunker().unchunk([music(100)], [np.zeros((1, 128, 128))])


def test_listens_to_all_channels():
    left, right = music(5000), music(5000, seed=1)
    both, antiphase, mono, *alone = MelChunker().fit_transform(
        [np.stack([left, right]), np.stack([left, -left]), (left + right) / 2, left, right]
    )
    assert both.track.shape == (2, 5000) and mono.track.shape == (5000,)
    np.testing.assert_allclose(both.waveform, mono.waveform, atol=1e-7)
    # The power of the mean, except where the channels cancel by more than half.
    assert np.mean(np.abs(both.spectrogram - mono.spectrogram) < 1.0) > 0.5
    assert (both.spectrogram > mono.spectrogram - 1e-3).all()
    # What cancels in the mean of the channels is heard all the same, 3 dB softer.
    loud = alone[0].spectrogram > -90.0
    expected = alone[0].spectrogram - 10.0 * np.log10(2.0)
    np.testing.assert_allclose(antiphase.spectrogram[loud], expected[loud], atol=1e-2)
    assert not antiphase.waveform.any()


def test_files_are_resampled(tmp_path):
    samples = np.stack([music(22050), music(22050, seed=1)])
    soundfile.write(tmp_path / "song.wav", samples.T, 22050, subtype="FLOAT")
    from_file, from_array = MelChunker().fit_transform(
        [tmp_path / "song.wav", resample(samples.mean(axis=0), 22050, RATE)]
    )
    assert from_file.waveform.shape == (16000,) and from_file.track.sample_rate == 22050
    np.testing.assert_allclose(from_file.waveform, from_array.waveform, atol=1e-5)
    assert from_file.front_end == from_array.front_end


def test_nothing_is_learned():
    chunker = MelChunker()
    before = dict(vars(chunker))
    expected = chunker.transform([music(3000)])  # fit is not needed
    assert vars(chunker) == before
    fitted = clone(chunker).fit([music(100)])
    np.testing.assert_array_equal(
        fitted.transform([music(3000)])[0].spectrogram, expected[0].spectrogram
    )


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"sample_rate": 0}, ValueError, "sample_rate must be at least 1, got 0"),
        ({"sample_rate": 16000.0}, TypeError, "sample_rate must be an integer"),
        ({"n_fft": 1}, ValueError, "n_fft must be at least 2"),
        ({"n_fft": 1023}, ValueError, "n_fft must be even, got 1023"),
        ({"hop_length": 0}, ValueError, "hop_length must be at least 1"),
        ({"hop_length": 513}, ValueError, "hop_length must be at most n_fft // 2 = 512, got 513"),
        ({"n_mels": 0}, ValueError, "n_mels must be at least 1"),
        ({"n_mels": "all"}, TypeError, "n_mels must be an integer"),
        ({"n_frames": 0}, ValueError, "n_frames must be at least 1"),
        ({"n_frames": True}, TypeError, "n_frames must be an integer"),
        ({"overlap": 1.0}, ValueError, r"overlap must be in \[0, 1\), got 1.0"),
        ({"overlap": -0.1}, ValueError, "overlap must be in"),
        ({"overlap": float("nan")}, ValueError, "overlap must be in"),
        ({"overlap": None}, TypeError, "overlap must be a number"),
        ({"f_max": 9000}, ValueError, r"f_max must be in \[0, 8000\], got 9000"),
        ({"f_min": -1}, ValueError, "f_min must be in"),
        ({"f_min": 5000, "f_max": 4000}, ValueError, r"f_min must be in \[0, 4000\]"),
        ({"f_min": 4000, "f_max": 4000}, ValueError, "f_min must be below f_max"),
    ],
)
def test_parameters_are_validated_when_used(parameters, error, message):
    chunker = MelChunker(**parameters)  # the constructor only stores parameters
    assert all(getattr(chunker, name) is value for name, value in parameters.items())
    for use in (chunker.fit, chunker.transform):
        with pytest.raises(error, match=message):
            use([music(100)])


def test_parameters_of_numpy_types():
    chunker = MelChunker(n_fft=np.int64(512), overlap=np.float32(0.25), n_mels=np.int32(40))
    assert chunker.fit_transform([music(1000)])[0].spectrogram.shape == (8, 40)


@pytest.mark.filterwarnings("ignore:Empty filters")
def test_empty_bands_warn():
    chunker = MelChunker(n_fft=256)
    for use in (chunker.fit, chunker.transform):
        with pytest.warns(UserWarning, match=r"mel bands hold no .* at n_fft=256; use a longer"):
            use([music(2000)])
    with pytest.warns(UserWarning):
        (record,) = chunker.transform([music(2000)])
    assert np.isfinite(record.spectrogram).all()


@pytest.mark.parametrize("parameters", [*FRONT_ENDS, {"n_fft": 256, "n_mels": None}], ids=str)
def test_other_front_ends_do_not_warn(parameters):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MelChunker(**parameters).fit_transform([music(100)])
