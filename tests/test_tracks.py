"""Tracks: accepted inputs, errors for others, and files of every format and shape."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import noise
from sklearn.pipeline import Pipeline

from sksep import AudioSource, MaskBuilder, MelChunker
from sksep.audio._resampling import fix_length, resample, resampled_length, to_mono
from sksep.audio._validation import check_tracks, load_audio
from sksep.base._separator import BaseSeparator

RATE = 16000


class ConstantMask(BaseSeparator):
    """The same mask value in every bin."""

    def __init__(self, value=1.0):
        self.value = value

    def fit(self, X, y=None):
        self.is_fitted_ = True
        return self

    def _estimate_mask(self, record):
        return np.full(record.spectrogram.shape, self.value, np.float32)


def separate(tracks, value=1.0, **front_end):
    pipeline = Pipeline([("chunk", MelChunker(**front_end)), ("separate", ConstantMask(value))])
    return pipeline.fit(tracks).predict(tracks)


@pytest.fixture
def wav(tmp_path):
    path = tmp_path / "song.wav"
    soundfile.write(path, noise(4000, 2), 44100)
    return path


# Errors. The second track of two is wrong, so that the error must name its index.

BAD_ARRAYS = {
    "NaN": (np.array([0.1, np.nan]), ValueError, "NaN or infinity.*nan_to_num"),
    "infinity": (np.array([0.1, np.inf]), ValueError, "NaN or infinity.*nan_to_num"),
    "both infinities": (np.array([np.inf, -np.inf]), ValueError, "NaN or infinity"),
    "empty": (np.zeros(0), ValueError, "is empty; leave it out"),
    "empty stereo": (np.zeros((2, 0)), ValueError, "is empty; leave it out"),
    "3-D": (np.zeros((1, 2, 100)), ValueError, r"3 dimensions.*\(n_channels, n_samples\)"),
    "scalar": (np.float32(0.5), ValueError, r"0 dimensions.*\(n_samples,\)"),
    "complex": (np.zeros(100, complex), TypeError, "complex128; give real"),
    "object": (np.array([None, 1.0]), TypeError, "dtype object; give real"),
    "None": (None, TypeError, "dtype object; give real"),
    "bool": (np.ones(100, bool), TypeError, "dtype bool; give real floating.*int16 or int32"),
    "int64": (np.ones(100, np.int64), TypeError, "dtype int64; give real floating.*int16 or int32"),
    "text": (["song.wav"], TypeError, "give real"),
    "ragged": ([[0.1, 0.2], [0.3]], ValueError, r"not one array.*\(n_channels, n_samples\)"),
}


def test_files_that_are_too_loud_are_named(tmp_path):
    path = tmp_path / "loud.wav"
    soundfile.write(path, np.array([0.1, 1e25, 0.1]), 16000, subtype="FLOAT")
    with pytest.raises(ValueError, match=r"loud\.wav.* reaches 1e\+25, which is too large"):
        load_audio(path)


@pytest.mark.parametrize(("track", "error", "message"), BAD_ARRAYS.values(), ids=BAD_ARRAYS)
def test_bad_arrays_are_named(track, error, message):
    with pytest.raises(error, match=rf"^X\[1\] .*{message}"):
        MelChunker().fit_transform([noise(100), track])


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ([], ValueError, "X holds no tracks; at least one"),
        ((), ValueError, "no tracks"),
        (np.empty(0, object), ValueError, "no tracks"),
        (np.zeros((0, 100)), ValueError, "no tracks"),
        (noise(100), TypeError, r"X is one waveform of 100 samples; pass a list of tracks, \[X\]"),
        (np.ones(100, np.int16), TypeError, r"one waveform.*\[X\]"),
        ("song.wav", TypeError, r"X is one track; pass a list of tracks, \[X\]"),
        (Path("song.wav"), TypeError, r"one track.*\[X\]"),
        (AudioSource("song.wav"), TypeError, r"one track.*\[X\]"),
        ([0.1, 0.2], TypeError, r"X is a list of numbers; pass a list of tracks, \[X\]"),
        ((1, 2), TypeError, r"list of numbers.*\[X\]"),
        (None, TypeError, "sequence of tracks.*NoneType"),
        (3, TypeError, "sequence of tracks.*int"),
    ],
)
def test_bad_collections(X, error, message):
    with pytest.raises(error, match=message):
        MelChunker().fit_transform(X)


def test_missing_file(tmp_path, wav):
    missing = tmp_path / "missing.wav"
    with pytest.raises(
        FileNotFoundError, match=rf"^X\[1\] .*no file.*{re.escape(str(missing))}.*check"
    ):
        MelChunker().fit_transform([wav, missing])
    with pytest.raises(FileNotFoundError, match="no file"):
        MelChunker().fit_transform([tmp_path])


@pytest.mark.parametrize("name", ["text.wav", "text.mp3", "text.raw", "text.txt"])
def test_unreadable_file(tmp_path, name):
    path = tmp_path / name
    path.write_text("This is a text.")
    with pytest.raises(ValueError, match=rf"^X\[0\] .*{name}.*WAV, FLAC, OGG and MP3.*convert"):
        MelChunker().fit_transform([path])


def test_file_without_samples(tmp_path):
    soundfile.write(tmp_path / "empty.wav", np.zeros(0), RATE)
    with pytest.raises(ValueError, match=r"empty\.wav.* is empty; leave it out"):
        MelChunker().fit_transform([tmp_path / "empty.wav"])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_file_with_bad_samples(tmp_path, value):
    samples = noise(100)
    samples[50] = value
    soundfile.write(tmp_path / "bad.wav", samples, RATE, subtype="FLOAT")
    with pytest.raises(ValueError, match=r"bad\.wav.* contains NaN or infinity\. Repair"):
        MelChunker().fit_transform([tmp_path / "bad.wav"])


@pytest.mark.parametrize("suffix", ["flac", "mp3", "wav", "aiff", "ogg", "au", "w64"])
def test_truncated_file_is_read_up_to_its_end_with_a_warning(tmp_path, suffix):
    path = tmp_path / f"song.{suffix}"
    soundfile.write(path, noise(96000), RATE)
    whole = soundfile.read(path, dtype="float32")[0]
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    with pytest.warns(
        UserWarning, match=rf"X\[0\] .*song\.{suffix}.*truncated: it ends at 0:0[34]"
    ):
        (estimate,) = separate([path])
    assert estimate.size > 96000 * 0.6
    np.testing.assert_allclose(estimate[:-2000], whole[: estimate.size - 2000], atol=1e-3)
    with (
        pytest.warns(UserWarning, match="truncated"),
        pytest.raises(ValueError, match=r"y\[0\].*align and cut them to one length"),
    ):
        MaskBuilder().fit_transform(MelChunker().transform([path]), [noise(96000)])


def test_file_that_changes_between_steps(wav):
    batch = MelChunker().fit_transform([noise(100), wav])
    soundfile.write(wav, noise(4001, 2), 44100)
    with pytest.raises(ValueError, match=r"X\[1\] .*song\.wav.* has changed on disk.*first step"):
        ConstantMask().fit(batch).predict(batch)
    with pytest.raises(ValueError, match="has changed on disk"):
        batch[1].track.read()


def test_file_that_disappears_between_steps(wav):
    batch = MelChunker().fit_transform([wav])
    wav.unlink()
    with pytest.raises(FileNotFoundError, match=r"X\[0\] .*no file.*song\.wav.*check the path"):
        ConstantMask().fit(batch).predict(batch)


def test_samples_first_stereo_is_refused():
    with pytest.raises(ValueError, match=r"X\[0\] has 100 channels and 2 samples.*transpose"):
        check_tracks([noise(100, 2)], RATE)


@pytest.mark.parametrize("sign", [1, -1])
def test_implausible_peak_warns(sign):
    with pytest.warns(UserWarning, match=r"X\[1\] reaches 20000.*full scale.*divide.*32768"):
        check_tracks([noise(10), np.array([0.0, sign * 20000.0])], RATE)


# Accepted inputs.


def test_integers_are_scaled():
    (track,) = check_tracks([np.array([-32768, 0, 16384], np.int16)], RATE)
    np.testing.assert_array_equal(track.read(), [[-1.0, 0.0, 0.5]])
    (track,) = check_tracks([np.array([-(2**31), 2**30], np.int32)], RATE)
    np.testing.assert_array_equal(track.read(), [[-1.0, 0.5]])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_become_float32(dtype):
    samples = noise(100).astype(dtype)
    (track,) = check_tracks([samples], RATE)
    assert track.read().dtype == np.float32
    np.testing.assert_array_equal(track.read()[0], samples.astype(np.float32))


def test_input_is_neither_changed_nor_locked():
    samples = noise(2, 1000)
    before = samples.copy()
    (estimate,) = separate([samples])
    np.testing.assert_array_equal(samples, before)
    samples[:] = 0.0  # still writable
    assert estimate.any()


def test_layouts_of_memory():
    samples = noise(1000, 2)
    for array in (samples.T, np.asfortranarray(samples.T), samples.T[:, ::2], samples[::-1].T):
        (track,) = check_tracks([array], RATE)
        np.testing.assert_array_equal(track.read(), array)


def test_arrays_as_collections():
    mono, stereo = noise(3, 500), noise(3, 2, 500)
    assert [track.shape for track in check_tracks(mono, RATE)] == [(500,)] * 3
    assert [track.shape for track in check_tracks(stereo, RATE)] == [(2, 500)] * 3
    np.testing.assert_allclose(np.stack(separate(stereo)), stereo, atol=1e-5)


@pytest.mark.parametrize(
    "form", ["list", "tuple", "object array", "string array", "Path", "Series"]
)
def test_collections_of_paths(wav, form):
    paths = [str(wav), str(wav)]
    if form == "Series":
        collection = pytest.importorskip("pandas").Series(paths, index=[7, 3])
    else:
        collection = {
            "list": paths,
            "tuple": tuple(paths),
            "object array": np.array(paths, dtype=object),
            "string array": np.array(paths),
            "Path": [Path(path) for path in paths],
        }[form]
    tracks = check_tracks(collection, RATE)
    assert [track.name for track in tracks] == [f"X[0] ({wav})", f"X[1] ({wav})"]
    assert all(
        (track.sample_rate, track.n_channels, track.n_samples) == (44100, 2, 4000) and track.is_file
        for track in tracks
    )


def test_mixed_collections(wav):
    collection = np.empty(3, dtype=object)
    collection[:] = [noise(700), wav, noise(2, 800)]
    assert [part.shape for part in separate(collection)] == [(700,), (2, 4000), (2, 800)]


# Files.

FORMATS = [
    (suffix, rate, n_channels)
    for suffix in ("wav", "flac", "ogg", "mp3")
    for rate in (8000, 22050, 44100, 48000)
    for n_channels in (1, 2, 3)
    if (suffix, n_channels) != ("mp3", 3)
]


@pytest.mark.parametrize(("suffix", "rate", "n_channels"), FORMATS)
def test_file_comes_back_at_its_rate_channels_and_length(tmp_path, suffix, rate, n_channels):
    path = tmp_path / f"song.{suffix}"
    soundfile.write(path, noise(rate // 4 + 37, n_channels), rate)
    samples = soundfile.read(path, dtype="float32")[0].T
    (estimate,) = separate([path], 1.0)
    assert estimate.shape == samples.shape and estimate.dtype == np.float32
    np.testing.assert_allclose(estimate, samples, atol=1e-4)
    (silence,) = separate([path], 0.0)
    assert silence.shape == samples.shape and not silence.any()
    (half,) = separate([path], 0.5)
    np.testing.assert_allclose(half, samples / 2, atol=1e-4)


@pytest.mark.parametrize("front_end", [{}, {"n_fft": 2048, "hop_length": 512, "n_mels": 256}])
@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize("n_samples", [1, 2, 100, 1023, 1024, 4000, 16384 + 1])
def test_short_tracks(tmp_path, n_samples, n_channels, front_end):
    samples = noise(n_channels, n_samples) if n_channels > 1 else noise(n_samples)
    path = tmp_path / "short.wav"
    soundfile.write(path, samples.T, 44100, subtype="FLOAT")
    tracks = [path] if n_samples < n_channels else [path, samples]
    for value in (1.0, 0.3):
        for estimate in separate(tracks, value, **front_end):
            assert estimate.shape == (samples.shape if n_channels > 1 else (n_samples,))
            np.testing.assert_allclose(estimate, value * samples, atol=1e-4)


@pytest.mark.parametrize("shape", [(1,), (5000,), (2, 40000)])
def test_silent_tracks(tmp_path, shape):
    soundfile.write(tmp_path / "silent.flac", np.zeros(shape).T, 44100)
    for estimate in separate([np.zeros(shape), tmp_path / "silent.flac"]):
        assert estimate.shape == shape and not estimate.any()


# AudioSource.


def test_source_is_a_value():
    source = AudioSource("clip.flac", [[0, 1]])
    assert source == AudioSource((Path("clip.flac"),), ((0.0, 1.0),))
    assert hash(source) == hash(AudioSource(("clip.flac",), ((0.0, 1.0),)))
    assert source.paths == ("clip.flac",) and source.channel_gains == ((0.0, 1.0),)
    assert str(AudioSource(("a.wav", "b.wav"))) == "a.wav + b.wav"
    with pytest.raises(AttributeError):
        source.paths = ()
    with pytest.raises(ValueError, match="at least one path"):
        AudioSource(())
    with pytest.raises(ValueError, match="one row per channel"):
        AudioSource("clip.flac", ())


def test_source_adds_files_and_mixes_channels(tmp_path):
    stereo, other, mono = noise(2, 3000), noise(2, 3000, seed=1), noise(3000, seed=2)
    paths = [str(tmp_path / name) for name in ("stereo.wav", "other.wav", "mono.wav")]
    for path, samples in zip(paths, (stereo, other, mono), strict=True):
        soundfile.write(path, samples.T, 22050, subtype="FLOAT")
    cases = {
        AudioSource(paths[:1]): stereo,
        AudioSource(paths[:2]): stereo + other,
        AudioSource(paths[1:]): other + mono,
        AudioSource(paths[:1], ((1.0, 1.0),)): stereo[0] + stereo[1],
        AudioSource(paths[:1], ((0.0, 1.0),)): stereo[1],
        AudioSource(paths[:2], ((0.0, 1.0), (1.0, 0.0))): (stereo + other)[::-1],
        AudioSource(paths[2:], ((1.0,), (0.5,))): np.stack([mono, mono / 2]),
    }
    for source, expected in cases.items():
        samples, rate = load_audio(source)
        assert rate == 22050 and samples.shape == expected.shape
        np.testing.assert_allclose(samples, expected, atol=1e-6)
    for estimate, expected in zip(separate(list(cases)), cases.values(), strict=True):
        np.testing.assert_allclose(estimate, expected, atol=1e-4)


def test_source_of_files_that_do_not_fit(tmp_path):
    names = {"a": (100, 2, 16000), "longer": (101, 2, 16000), "faster": (100, 2, 8000)}
    names["wider"] = (100, 3, 16000)
    for name, (n_samples, n_channels, rate) in names.items():
        soundfile.write(tmp_path / f"{name}.wav", noise(n_samples, n_channels), rate)
    path = {name: str(tmp_path / f"{name}.wav") for name in names}
    for other in ("longer", "faster"):
        with pytest.raises(ValueError, match=rf"a\.wav.*{other}\.wav.* differ in length or sample"):
            check_tracks([AudioSource((path["a"], path[other]))], RATE)
    with pytest.raises(ValueError, match="differ in their number of channels"):
        check_tracks([AudioSource((path["a"], path["wider"]))], RATE)
    with pytest.raises(ValueError, match=r"rows of 1 values, but the files have \[2\] channels"):
        check_tracks([AudioSource(path["a"], ((1.0,),))], RATE)
    with pytest.raises(FileNotFoundError, match=r"no file.*missing\.wav"):
        check_tracks([AudioSource((path["a"], "missing.wav"))], RATE)


def test_source_with_a_truncated_file(tmp_path):
    paths = [tmp_path / "a.mp3", tmp_path / "b.mp3"]
    for path in paths:
        soundfile.write(path, noise(44100), 44100)
    content = paths[1].read_bytes()
    paths[1].write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match=r"X\[0\] .*b\.mp3.*truncated.*Restore or re-encode"):
        MelChunker().fit_transform([AudioSource(tuple(paths))])


# Reading and resampling.


@pytest.mark.parametrize("kind", ["array", "file"])
@pytest.mark.parametrize(("length", "margin"), [(64, 0), (64, 100), (1000, 7), (5000, 300)])
@pytest.mark.parametrize("n_samples", [1, 64, 1000, 1999])
def test_blocks_are_slices_of_the_padded_track(tmp_path, kind, n_samples, length, margin):
    samples = source = noise(min(2, n_samples), n_samples)
    if kind == "file":
        source = tmp_path / "song.wav"
        soundfile.write(source, samples.T, RATE, subtype="FLOAT")
    (track,) = check_tracks([source], RATE)
    padded = np.pad(samples, ((0, 0), (margin, length + margin)))
    blocks = list(track.blocks(length, margin))
    assert [start for start, _ in blocks] == list(range(0, n_samples, length))
    for start, block in blocks:
        np.testing.assert_array_equal(block, padded[:, start : start + length + 2 * margin])


def test_load(tmp_path, wav):
    samples, rate = load_audio(noise(2, 100), sample_rate=8000)
    assert rate == 8000 and samples.shape == (2, 100)
    assert load_audio(np.zeros(5, np.int16))[1] == 0
    samples, rate = load_audio(os.fspath(wav))
    assert rate == 44100 and samples.shape == (2, 4000) and samples.dtype == np.float32
    with pytest.raises(ValueError, match=r"^song contains NaN"):
        load_audio(np.array([np.nan]), name="song")


def test_to_mono():
    samples = noise(2, 100)
    np.testing.assert_allclose(to_mono(samples), samples.mean(axis=0))
    assert to_mono(samples[0]) is not None and to_mono(samples[0]).shape == (100,)


@pytest.mark.parametrize("n_samples", [1, 10, 4411])
@pytest.mark.parametrize(("from_rate", "to_rate"), [(44100, 16000), (8000, 16000), (16000, 16000)])
def test_resampled_length(from_rate, to_rate, n_samples):
    expected = int(np.ceil(n_samples * to_rate / from_rate))
    assert resampled_length(n_samples, from_rate, to_rate) == expected
    assert resample(noise(n_samples), from_rate, to_rate).shape == (expected,)
    assert resample(noise(2, n_samples), from_rate, to_rate).shape == (2, expected)


def test_resampling_keeps_a_sine():
    times = np.arange(44100) / 44100
    sine = np.sin(2 * np.pi * 440 * times).astype(np.float32)
    expected = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    resampled = resample(np.stack([sine, -sine]), 44100, 16000)
    np.testing.assert_allclose(
        resampled[:, 500:-500], [expected[500:-500], -expected[500:-500]], atol=1e-3
    )


def test_mono_of_a_file_is_the_resampled_mean(tmp_path, monkeypatch):
    samples = noise(2, 30011)
    soundfile.write(tmp_path / "song.wav", samples.T, 44100, subtype="FLOAT")
    (track,) = check_tracks([tmp_path / "song.wav"], RATE)
    expected = resample(samples.mean(axis=0), 44100, RATE)
    np.testing.assert_allclose(track.mono(RATE), expected, atol=1e-5)
    monkeypatch.setattr("sksep.audio._track._BLOCK_LENGTH", 777)
    np.testing.assert_allclose(track.mono(RATE), expected, atol=1e-5)
    np.testing.assert_allclose(track.mono(44100), samples.mean(axis=0), atol=1e-7)
    np.testing.assert_array_equal(track.read(), samples)


def test_fix_length():
    samples = noise(2, 10)
    np.testing.assert_array_equal(fix_length(samples, 4), samples[:, :4])
    np.testing.assert_array_equal(fix_length(samples, 12), np.pad(samples, ((0, 0), (0, 2))))


def test_an_array_that_is_one_samples_first_track_is_refused():
    with pytest.raises(ValueError, match=r"samples-first.*\[X\.T\]"):
        check_tracks(np.zeros((1000, 2)), 16000)


def test_tracks_do_not_change_with_the_memory_of_the_caller():
    samples = np.ones(100, np.float32)
    track = check_tracks([samples], 16000)[0]
    samples[:] = 0.0
    assert (track.read() == 1.0).all()
