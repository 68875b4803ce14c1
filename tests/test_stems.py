"""Stems on disk: exact sums, suitable formats, and files that are whole or absent."""

import os
import re
from contextlib import suppress
from itertools import product
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sksep.audio._stems import StemFormat, StemWriter, mix, quantize, resolve_format, split

RATE = 16000
BITS = {"PCM_U8": 8, "PCM_S8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
INTEGER_FORMATS = [
    StemFormat("wav", "PCM_U8"),
    StemFormat("wav", "PCM_16"),
    StemFormat("wav", "PCM_24"),
    StemFormat("wav", "PCM_32"),
    StemFormat("wav", "PCM_16", is_large=True),
    StemFormat("flac", "PCM_S8"),
    StemFormat("flac", "PCM_16"),
    StemFormat("flac", "PCM_24"),
]
FLOAT_FORMATS = [
    StemFormat("wav", "FLOAT"),
    StemFormat("wav", "DOUBLE"),
    StemFormat("wav", "FLOAT", is_large=True),
]
OGG = StemFormat("ogg", "VORBIS")
MP3 = StemFormat("mp3", "MPEG_LAYER_III")
PCM_16 = StemFormat("wav", "PCM_16")


def noise(*shape, scale=0.3, seed=0):
    return np.random.default_rng(seed).normal(0, scale, shape)


def on_grid(samples, bits):
    """Samples as a recording with this number of bits holds them."""
    scale = 2.0 ** (bits - 1)
    return np.clip(np.rint(samples * scale), -scale, scale - 1) / scale


def paths_in(folder, *stems, extension="wav"):
    return {stem: folder / f"{stem}.{extension}" for stem in ("vocals", "accompaniment", *stems)}


def write(folder, mixture, vocals, stem_format=PCM_16, block_length=None, **options):
    gains = {"vocals_gain", "accompaniment_gain"} & set(options)
    paths = paths_in(folder, *(["remix"] if gains else []), extension=stem_format.format)
    with StemWriter(paths, RATE, len(mixture), stem_format, **options) as writer:
        for start in range(0, mixture.shape[1], block_length or mixture.shape[1]):
            block = slice(start, start + (block_length or mixture.shape[1]))
            writer.write(mixture[:, block], vocals[:, block].astype(np.float32))
    return writer, paths


def read(path, dtype):
    return soundfile.read(path, dtype=dtype, always_2d=True)[0].T


def info(format="WAV", subtype="PCM_16", samplerate=44100, channels=2, frames=1000):
    return SimpleNamespace(
        format=format, subtype=subtype, samplerate=samplerate, channels=channels, frames=frames
    )


# Sums of stems.

SIGNALS = {
    "song": (noise(2, 3000), noise(2, 3000, scale=0.2, seed=1)),
    "loud": (noise(2, 3000, scale=1.0), noise(2, 3000, scale=1.0, seed=1)),
    "vocals out of range": (noise(2, 3000), noise(2, 3000, scale=30.0, seed=1)),
    "full scale, opposed": (np.tile([[1.0, -1.0]], (2, 500)), np.tile([[-1.0, 1.0]], (2, 500))),
    "silent vocals": (noise(2, 3000), np.zeros((2, 3000))),
    "silence": (np.zeros((1, 100)), np.zeros((1, 100))),
}


@pytest.mark.parametrize("stem_format", INTEGER_FORMATS, ids=str)
@pytest.mark.parametrize("signal", SIGNALS)
def test_integers_sum_to_those_of_the_mixture(tmp_path, stem_format, signal):
    bits = BITS[stem_format.subtype]
    mixture, vocals = SIGNALS[signal]
    mixture = on_grid(mixture, bits)
    writer, paths = write(tmp_path, mixture, vocals, stem_format)
    written_vocals, accompaniment = (
        read(path, "int32").astype(np.int64) >> (32 - bits) for path in paths.values()
    )
    expected = np.rint(mixture * 2.0 ** (bits - 1)).astype(np.int64)
    np.testing.assert_array_equal(written_vocals + accompaniment, expected)
    assert writer.n_clipped_mixture == 0
    assert soundfile.info(paths["vocals"]).subtype == stem_format.subtype
    assert soundfile.info(paths["vocals"]).format == stem_format.container
    if signal == "song":
        # Except for a few samples that are limited, the vocals are the estimate.
        estimate = on_grid(vocals.astype(np.float32).astype(float), bits) * 2.0 ** (bits - 1)
        assert np.mean(written_vocals == estimate) > 0.95


@pytest.mark.parametrize("stem_format", FLOAT_FORMATS, ids=str)
@pytest.mark.parametrize("bits", [8, 16, 24])
@pytest.mark.parametrize("signal", [name for name in SIGNALS if "out of range" not in name])
def test_floats_sum_bit_for_bit(tmp_path, stem_format, bits, signal):
    mixture, vocals = SIGNALS[signal]
    mixture, vocals = on_grid(mixture, bits), np.clip(vocals, -1.99, 1.99)
    _, paths = write(tmp_path, mixture, vocals, stem_format)
    dtype = "float32" if stem_format.subtype == "FLOAT" else "float64"
    written_vocals, accompaniment = (read(path, dtype) for path in paths.values())
    np.testing.assert_array_equal(written_vocals + accompaniment, mixture.astype(dtype))
    np.testing.assert_allclose(written_vocals, vocals, rtol=0, atol=2.0**-22)


def test_floats_are_not_limited(tmp_path):
    mixture, vocals = np.array([[7.5, -3.0, 0.0]]), np.array([[2.5, -9.0, 4.0]])
    writer, paths = write(tmp_path, mixture, vocals, StemFormat("wav", "FLOAT"), vocals_gain=6.0206)
    np.testing.assert_array_equal(read(paths["vocals"], "float64"), vocals)
    np.testing.assert_array_equal(read(paths["accompaniment"], "float64"), mixture - vocals)
    np.testing.assert_allclose(read(paths["remix"], "float64"), mixture + vocals, rtol=1e-5)
    assert (writer.n_clipped_mixture, writer.n_clipped_remix) == (0, 0)


samples = st.floats(-1, 1, allow_nan=False)
wild_samples = st.floats(-100, 100, allow_nan=False, width=32)


@settings(deadline=None, max_examples=50)
@given(
    st.sampled_from(list(BITS)),
    hnp.arrays(np.float64, 8, elements=wild_samples),
    hnp.arrays(np.float32, 8, elements=wild_samples),
)
def test_integer_stems_are_on_the_grid_and_in_range(subtype, mixture, vocals):
    scale = 2.0 ** (BITS[subtype] - 1)
    mixture, _ = quantize(mixture, subtype)
    stems = split(mixture, vocals, subtype)
    for stem in (mixture, *stems):
        np.testing.assert_array_equal(stem * scale, np.rint(stem * scale))
        assert stem.min() >= -1.0
        assert stem.max() <= 1.0 - 1.0 / scale
    np.testing.assert_array_equal(sum(stems), mixture)


@settings(deadline=None, max_examples=50)
@given(
    hnp.arrays(np.int32, 8, elements=st.integers(-(2**23), 2**23 - 1)),
    hnp.arrays(
        np.float32, 8, elements=st.floats(-2, 2, width=32, exclude_min=True, exclude_max=True)
    ),
)
def test_float_stems_of_24_bits_are_exact(integers, vocals):
    mixture = integers / 2.0**23
    stems = [stem.astype(np.float32) for stem in split(mixture, vocals, "FLOAT")]
    np.testing.assert_array_equal(stems[0] + stems[1], mixture.astype(np.float32))
    np.testing.assert_array_equal(stems[0].astype(np.float64) + stems[1], mixture)


def test_float_stems_of_songs_are_exact_but_for_cancelling_vocals():
    mixture, _ = quantize(noise(100_000), "FLOAT")
    vocals = noise(100_000, seed=1).astype(np.float32)
    stems = [stem.astype(np.float32) for stem in split(mixture, vocals, "FLOAT")]
    inexact = stems[0] + stems[1] != mixture
    assert 0 < np.mean(inexact) < 0.5
    assert np.all(np.abs(vocals[inexact]) > np.abs(mixture[inexact]))
    np.testing.assert_allclose(stems[0], vocals, rtol=0, atol=2.0**-23)


@settings(deadline=None, max_examples=50)
@given(
    st.sampled_from([("FLOAT", np.float32), ("DOUBLE", np.float64)]),
    hnp.arrays(np.float64, 8, elements=wild_samples | samples),
    hnp.arrays(np.float32, 8, elements=wild_samples | st.floats(-1, 1, width=32)),
)
def test_bound_of_float_sources(subtype_and_dtype, mixture, vocals):
    subtype, dtype = subtype_and_dtype
    mixture, _ = quantize(mixture, subtype)
    written_vocals, accompaniment = (s.astype(dtype) for s in split(mixture, vocals, subtype))
    error = np.abs((written_vocals + accompaniment).astype(np.float64) - mixture)
    assert np.all(error <= np.spacing(np.abs(written_vocals)))
    within = np.abs(written_vocals) < 1.0
    assert np.all(error[within] <= np.finfo(dtype).eps / 2)
    quieter = np.abs(vocals) <= np.abs(mixture)
    assert np.all(error[quieter] == 0)
    np.testing.assert_allclose(written_vocals, vocals, rtol=0, atol=200 * 2.0**-23)


def test_mixture_of_more_bits_is_rounded(tmp_path):
    mixture = on_grid(noise(2, 500), 24)
    writer, paths = write(tmp_path, mixture, noise(2, 500, seed=1))
    total = sum(read(path, "int16").astype(np.int64) for path in paths.values())
    np.testing.assert_array_equal(total, np.rint(mixture * 2**15))
    assert writer.n_clipped_mixture == 0


def test_clipping_is_counted(tmp_path):
    mixture = np.array([[1.5, -1.5, 1.0, -1.0, 0.5]])
    vocals = np.array([[1.0, -0.5, 0.5, -0.5, 0.5]])
    writer, paths = write(tmp_path, mixture, vocals, vocals_gain=20 * np.log10(4))
    total = sum(
        read(path, "int16").astype(np.int64) for path in paths.values() if path != paths["remix"]
    )
    np.testing.assert_array_equal(total, [[32767, -32768, 32767, -32768, 16384]])
    assert writer.n_clipped_mixture == 2  # full scale itself is not clipped
    np.testing.assert_array_equal(
        read(paths["remix"], "int16"), [[32767, -32768, 32767, -32768, 32767]]
    )
    assert writer.n_clipped_remix == 5


@pytest.mark.parametrize("stem_format", INTEGER_FORMATS, ids=str)
def test_float32_mixture_at_full_scale(tmp_path, stem_format):
    mixture = np.array([[1.0, -1.0, 2.0, 0.5]], np.float32)
    _, paths = write(tmp_path, mixture, np.array([[1.0, -1.0, 0.0, 2.0]]), stem_format)
    total = sum(read(path, "int32").astype(np.int64) for path in paths.values())
    highest = 2**31 - 2 ** (32 - BITS[stem_format.subtype])
    np.testing.assert_array_equal(total, [[highest, -(2**31), highest, 2**30]])


@pytest.mark.parametrize("lossy", [OGG, MP3], ids=str)
def test_lossy_files_sum_but_for_their_losses(tmp_path, lossy):
    seconds = np.arange(8000) / RATE
    vocals = 0.2 * np.sin(2 * np.pi * np.array([[440.0], [660.0]]) * seconds)
    mixture = vocals + 0.2 * np.sin(2 * np.pi * np.array([[110.0], [165.0]]) * seconds)
    _, paths = write(tmp_path, mixture, vocals, lossy)
    stems = {stem: read(path, "float64") for stem, path in paths.items()}
    for estimate, truth in ((sum(stems.values()), mixture), (stems["vocals"], vocals)):
        assert estimate.shape == truth.shape
        assert np.sum((estimate - truth) ** 2) < 0.01 * np.sum(truth**2)


@pytest.mark.parametrize("n_samples", [1, 100, 1151, 1152, 1153, 16017])
@pytest.mark.parametrize("n_channels", [1, 2])
def test_mp3_files_have_the_samples_of_the_song_without_delay(tmp_path, n_samples, n_channels):
    mixture = np.sin(np.arange(n_samples) ** 1.5 / 3000.0) * np.full((n_channels, 1), 0.5)
    _, paths = write(tmp_path, mixture, mixture, MP3)
    decoded = read(paths["vocals"], "float64")
    assert decoded.shape == mixture.shape
    if n_samples > 10000:  # any delay would make the error larger than the signal
        assert np.sum((decoded - mixture) ** 2) < 0.001 * np.sum(mixture**2)


def test_large_ogg_block_is_written(tmp_path):
    # libsndfile's Vorbis encoder crashes on a single write of this size.
    mixture = np.zeros((1, 2_500_000))
    writer, paths = write(tmp_path, mixture, mixture, OGG)
    assert soundfile.info(paths["vocals"]).frames == writer.n_samples == 2_500_000


# Blocks.


@pytest.mark.parametrize("stem_format", [*INTEGER_FORMATS, *FLOAT_FORMATS, OGG], ids=str)
def test_files_do_not_depend_on_blocks(tmp_path, stem_format):
    mixture, vocals = noise(2, 70_000), noise(2, 70_000, scale=0.2, seed=1)
    options = {"stem_format": stem_format, "vocals_gain": 3, "accompaniment_gain": -3}
    whole, paths = write(tmp_path / "whole", mixture, vocals, **options)
    blocks, block_paths = write(tmp_path / "blocks", mixture, vocals, block_length=7777, **options)
    for stem, path in paths.items():
        if stem_format.subtype in BITS:
            assert path.read_bytes() == block_paths[stem].read_bytes()
        else:  # headers of OGG and of float WAV hold a random number and the time
            # Vorbis extrapolates its first block from the first samples that it gets.
            start = 1024 if stem_format == OGG else 0
            np.testing.assert_array_equal(
                read(path, "float64")[:, start:], read(block_paths[stem], "float64")[:, start:]
            )
    assert blocks.n_samples == whole.n_samples == 70_000
    assert blocks.n_clipped_mixture == whole.n_clipped_mixture
    assert blocks.n_clipped_remix == whole.n_clipped_remix
    assert blocks.energies == pytest.approx(whole.energies, rel=1e-12)


def test_empty_blocks_add_nothing(tmp_path):
    paths = paths_in(tmp_path)
    with StemWriter(paths, RATE, 1, PCM_16) as writer:
        writer.write(np.zeros((1, 0)), np.zeros((1, 0), np.float32))
        writer.write(np.full((1, 3), 0.5), np.zeros((1, 3), np.float32))
    assert writer.n_samples == soundfile.info(paths["vocals"]).frames == 3


def test_energies_are_those_of_the_stems(tmp_path):
    writer, _ = write(tmp_path, np.array([[0.5, -0.5]]), np.array([[0.25, 0.0]]))
    assert writer.energies == {"mixture": 0.5, "vocals": 0.0625, "accompaniment": 0.3125}


# Remixes.


@pytest.mark.parametrize(
    ("gains", "factors"),
    [
        ({"vocals_gain": 6.0}, (10**0.3, 1)),
        ({"accompaniment_gain": -12.0}, (1, 10**-0.6)),
        ({"vocals_gain": float("-inf")}, (0, 1)),
        ({"vocals_gain": -3, "accompaniment_gain": 0}, (10**-0.15, 1)),
        ({"vocals_gain": 0.0, "accompaniment_gain": float("-inf")}, (1, 0)),
    ],
)
@pytest.mark.parametrize("stem_format", [PCM_16, StemFormat("wav", "FLOAT")], ids=str)
def test_remix_is_the_stems_with_their_gains(tmp_path, stem_format, gains, factors):
    mixture, vocals = noise(2, 500, scale=0.05), noise(2, 500, scale=0.05, seed=1)
    _, paths = write(tmp_path, mixture, vocals, stem_format, **gains)
    stems = {stem: read(path, "float64") for stem, path in paths.items()}
    expected = factors[0] * stems["vocals"] + factors[1] * stems["accompaniment"]
    half_step = 2.0**-16 if stem_format == PCM_16 else 2.0**-24
    np.testing.assert_allclose(stems["remix"], expected, rtol=0, atol=1.001 * half_step)


@pytest.mark.parametrize("subtype", [OGG.subtype, MP3.subtype])
def test_lossy_formats_limit_the_remix_only(subtype):
    loud, silent = np.array([[1.25, -1.5, 0.75]]), np.zeros((1, 3))
    mixture, n_clipped = quantize(loud, subtype)
    np.testing.assert_array_equal(mixture, loud)
    assert n_clipped == 0
    remix, n_clipped = mix(loud, silent, (1.0, 1.0), subtype)
    np.testing.assert_array_equal(remix, [[1.0, -1.0, 0.75]])
    assert n_clipped == 2


# Formats.


@pytest.mark.parametrize(
    ("format", "subtype", "source", "expected"),
    [
        (None, None, info(), ("wav", "PCM_16")),
        (None, None, info("WAV", "PCM_U8"), ("wav", "PCM_U8")),
        (None, None, info("WAV", "PCM_24"), ("wav", "PCM_24")),
        (None, None, info("WAVEX", "FLOAT"), ("wav", "FLOAT")),
        (None, None, info("WAV", "DOUBLE"), ("wav", "DOUBLE")),
        (None, None, info("WAV", "IMA_ADPCM"), ("wav", "PCM_16")),
        (None, None, info("AIFF", "PCM_S8"), ("wav", "PCM_U8")),
        (None, None, info("CAF", "ALAC_24"), ("wav", "PCM_24")),
        (None, None, info("FLAC", "PCM_24"), ("flac", "PCM_24")),
        (None, None, info("OGG", "VORBIS"), ("ogg", "VORBIS")),
        (None, None, info("OGG", "OPUS"), ("ogg", "VORBIS")),
        (None, None, info("MP3", "MPEG_LAYER_III"), ("mp3", "MPEG_LAYER_III")),
        ("flac", None, info(), ("flac", "PCM_16")),
        ("flac", None, info("WAV", "PCM_U8"), ("flac", "PCM_S8")),
        ("flac", None, info("WAV", "PCM_32"), ("flac", "PCM_24")),
        ("flac", None, info("WAV", "FLOAT"), ("flac", "PCM_24")),
        ("flac", None, info("WAV", "DOUBLE"), ("flac", "PCM_24")),
        ("flac", None, info("MP3", "MPEG_LAYER_III"), ("flac", "PCM_16")),
        ("ogg", None, info("FLAC", "PCM_24"), ("ogg", "VORBIS")),
        ("wav", None, info("OGG", "VORBIS"), ("wav", "PCM_16")),
        ("WAV", "float", info(), ("wav", "FLOAT")),
        ("Flac", "pcm_24", info(), ("flac", "PCM_24")),
        ("flac", None, info(channels=8, samplerate=655350), ("flac", "PCM_16")),
        ("ogg", None, info(channels=255, samplerate=200000), ("ogg", "VORBIS")),
    ],
)
def test_format_follows_the_source(format, subtype, source, expected):
    assert resolve_format(format, subtype, source) == StemFormat(*expected)


@pytest.mark.parametrize(
    ("format", "subtype", "source", "message"),
    [
        ("aac", None, info(), "format is 'aac'; the formats are wav, flac, ogg, mp3"),
        ("mp3", "PCM_16", info(), "'PCM_16'; MP3 files have MPEG_LAYER_III"),
        ("mp3", None, info(channels=3), "MP3 files hold at most 2 channels, not 3.*wav"),
        ("mp3", None, info(samplerate=96000), "MP3.*96000 Hz; choose the format wav"),
        ("", None, info(), "format is ''"),
        ("wav", "PCM_S8", info(), "'PCM_S8'; WAV files have PCM_U8, PCM_16"),
        ("flac", "float", info(), "'FLOAT'; FLAC files have PCM_S8, PCM_16, PCM_24"),
        ("ogg", "OPUS", info(), "'OPUS'; OGG files have VORBIS"),
        (None, 16, info(), "subtype is '16'; WAV"),
        ("flac", None, info(channels=9), "FLAC files hold at most 8 channels, not 9.*wav"),
        ("flac", None, info(samplerate=655360), "FLAC.*655360 Hz; choose the format wav"),
        ("flac", None, info(samplerate=655345), "FLAC.*655345 Hz"),
        ("ogg", None, info(channels=256), "OGG files hold at most 255 channels"),
        ("ogg", None, info(samplerate=384000), "OGG.*384000 Hz; choose the format wav"),
    ],
)
def test_formats_that_do_not_fit(format, subtype, source, message):
    with pytest.raises(ValueError, match=message):
        resolve_format(format, subtype, source)


@pytest.mark.parametrize(
    ("format", "subtype", "frames", "is_large"),
    [
        ("wav", "PCM_16", 2**30 - 2**14, False),
        ("wav", "PCM_16", 2**30, True),
        ("wav", "PCM_U8", 2**30, False),
        ("wav", "PCM_24", 2**29, False),
        ("wav", "PCM_24", 2**30, True),
        ("wav", "DOUBLE", 2**29, True),
        ("flac", "PCM_16", 2**40, False),
        ("ogg", None, 2**40, False),
    ],
)
def test_large_wav_files_are_rf64(format, subtype, frames, is_large):
    stem_format = resolve_format(format, subtype, info(frames=frames))
    assert stem_format.is_large == is_large
    assert stem_format.container == ("RF64" if is_large else format.upper())


@pytest.mark.parametrize(
    ("format", "rate"),
    [
        *product(["wav", "flac", "ogg"], [8000, 44101, 65535, 65540, 192000, 200000]),
        *product(["mp3"], [8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000]),
    ],
)
def test_rates_that_pass_can_be_written(tmp_path, format, rate):
    stem_format = resolve_format(format, None, info(samplerate=rate))
    paths = paths_in(tmp_path)
    with StemWriter(paths, rate, 2, stem_format) as writer:
        writer.write(noise(2, 5000), noise(2, 5000).astype(np.float32))
    assert soundfile.info(paths["vocals"]).samplerate == rate


# Errors, and the files that they leave on disk.


@pytest.fixture
def song(tmp_path):
    path = tmp_path / "song.wav"
    soundfile.write(path, noise(100), RATE)
    return path


def files_in(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize("stem", ["vocals", "accompaniment", "remix"])
def test_existing_files_are_refused_at_once(tmp_path, stem):
    paths = paths_in(tmp_path, "remix")
    paths[stem].write_text("precious")
    with pytest.raises(FileExistsError, match=rf"{re.escape(str(paths[stem]))} exists.*overwrite"):
        StemWriter(paths, RATE, 1, PCM_16, vocals_gain=0)
    assert files_in(tmp_path) == [paths[stem].name]


def test_dangling_link_is_refused(tmp_path):
    paths = paths_in(tmp_path)
    paths["vocals"].symlink_to(tmp_path / "nowhere.wav")
    with pytest.raises(FileExistsError, match="vocals"):
        StemWriter(paths, RATE, 1, PCM_16)


@pytest.mark.parametrize("stem", ["vocals", "accompaniment"])
def test_file_that_appears_meanwhile_is_kept(tmp_path, stem):
    paths = paths_in(tmp_path)
    with (
        pytest.raises(FileExistsError, match=rf"{stem}.wav exists.*overwrite"),
        StemWriter(paths, RATE, 1, PCM_16) as writer,
    ):
        writer.write(np.zeros((1, 10)), np.zeros((1, 10), np.float32))
        paths[stem].write_text("precious")
    assert files_in(tmp_path) == [f"{stem}.wav"]
    assert paths[stem].read_text() == "precious"


def test_overwrite_replaces(tmp_path):
    write(tmp_path, noise(1, 10), noise(1, 10))
    mixture, vocals = np.full((1, 20), 0.5), np.full((1, 20), 0.25)
    _, paths = write(tmp_path, mixture, vocals, overwrite=True)
    np.testing.assert_array_equal(read(paths["vocals"], "float64"), vocals)
    assert files_in(tmp_path) == ["accompaniment.wav", "vocals.wav"]


def test_overwritten_file_survives_a_failure(tmp_path):
    _, paths = write(tmp_path, noise(1, 10), noise(1, 10))
    before = {path: path.read_bytes() for path in paths.values()}
    with pytest.raises(KeyError), StemWriter(paths, RATE, 1, PCM_16, overwrite=True) as writer:
        writer.write(np.zeros((1, 10)), np.zeros((1, 10), np.float32))
        raise KeyError
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failure_leaves_no_files(tmp_path, error):
    with pytest.raises(error), StemWriter(paths_in(tmp_path / "out"), RATE, 1, PCM_16) as writer:
        writer.write(np.zeros((1, 10)), np.zeros((1, 10), np.float32))
        assert len(files_in(tmp_path)) == 2
        assert all(name.startswith(".") for name in files_in(tmp_path))
        raise error
    assert files_in(tmp_path) == []


def test_failure_to_open_leaves_no_files(tmp_path):
    stem_format = StemFormat("flac", "PCM_16")
    with (
        pytest.raises(soundfile.LibsndfileError),
        StemWriter(paths_in(tmp_path), RATE, 9, stem_format),
    ):
        pass
    assert files_in(tmp_path) == []


def test_song_without_samples_leaves_no_files(tmp_path):
    with (
        pytest.raises(ValueError, match=r"vocals.wav: the song is empty"),
        StemWriter(paths_in(tmp_path), RATE, 1, PCM_16),
    ):
        pass
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("stem_format", [PCM_16, StemFormat("flac", "PCM_16"), OGG, MP3], ids=str)
def test_full_disk_leaves_no_files(tmp_path, stem_format):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    error = None
    resource.setrlimit(resource.RLIMIT_FSIZE, (5000, limits[1]))
    try:
        write(tmp_path, noise(1, 60_000), noise(1, 60_000), stem_format)
    except OSError as raised:
        error = raised
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert re.search(r"vocals\.\w+ could not be written.*disk has room", str(error))
    assert files_in(tmp_path) == []


def same(path):
    return path


def through_link(path):
    link = path.with_name("link.wav")
    link.symlink_to(path)
    return link


def hard_link(path):
    link = path.with_name("link.wav")
    os.link(path, link)
    return link


def roundabout(path):
    return path.parent / "folder" / ".." / path.name


@pytest.mark.parametrize("alias", [same, through_link, hard_link, roundabout])
@pytest.mark.parametrize("overwrite", [False, True])
def test_song_is_never_replaced(tmp_path, song, alias, overwrite):
    paths = {**paths_in(tmp_path), "accompaniment": alias(song)}
    before = song.read_bytes()
    with pytest.raises(ValueError, match=r"is the song itself.*another folder"):
        StemWriter(paths, RATE, 1, PCM_16, source=str(song), overwrite=overwrite)
    assert song.read_bytes() == before


def test_two_stems_in_one_file_are_refused(tmp_path):
    paths = {"vocals": tmp_path / "a.wav", "accompaniment": tmp_path / "b" / ".." / "a.wav"}
    with pytest.raises(ValueError, match=r"Two stems.*a\.wav"):
        StemWriter(paths, RATE, 1, PCM_16, overwrite=True)


def test_folder_is_refused(tmp_path):
    (tmp_path / "vocals.wav").mkdir()
    with pytest.raises(ValueError, match=r"vocals\.wav is a folder"):
        StemWriter(paths_in(tmp_path), RATE, 1, PCM_16, overwrite=True)


def test_folders_are_made_and_paths_may_be_text(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = {"vocals": "a/b/v.wav", "accompaniment": "c.wav"}
    with StemWriter(paths, RATE, 1, PCM_16) as writer:
        writer.write(np.zeros((1, 10)), np.zeros((1, 10), np.float32))
    assert files_in(tmp_path) == ["c.wav", "v.wav"]
    # An ordinary new file has the same permissions, those that the umask allows.
    Path("ordinary").touch()
    assert Path("c.wav").stat().st_mode == Path("ordinary").stat().st_mode


@pytest.mark.parametrize(
    ("stems", "options", "message"),
    [
        (["drums"], {}, r"stems \['drums'\], but \['accompaniment', 'vocals'\]"),
        ([], {}, r"stems \[\], but \['accompaniment', 'vocals'\]"),
        (["vocals", "accompaniment", "remix"], {}, "a remix if vocals_gain or"),
        (["vocals", "accompaniment"], {"vocals_gain": 0.0}, r"but .*'remix'.* can be written"),
        (["vocals", "accompaniment", "remix"], {"vocals_gain": np.nan}, "vocals_gain is nan; give"),
        (["vocals", "accompaniment", "remix"], {"accompaniment_gain": np.inf}, "is inf.*decibels"),
        (["vocals", "accompaniment", "remix"], {"vocals_gain": 1e9}, "vocals_gain is 1000000000.0"),
    ],
)
def test_bad_stems_and_gains(tmp_path, stems, options, message):
    with pytest.raises(ValueError, match=message):
        StemWriter({stem: tmp_path / stem for stem in stems}, RATE, 1, PCM_16, **options)


MIXTURE, VOCALS = np.zeros((2, 10)), np.zeros((2, 10), np.float32)


def replaced(samples, value):
    samples = samples.copy()
    samples[1, 5] = value
    return samples


@pytest.mark.parametrize(
    ("mixture", "vocals", "error", "message"),
    [
        (MIXTURE[:1], VOCALS[:1], ValueError, r"mixture has shape \(1, 10\).*\(2, n_samples\)"),
        (MIXTURE[0], VOCALS, ValueError, r"mixture has shape \(10,\)"),
        (MIXTURE.T, VOCALS.T, ValueError, r"mixture has shape \(10, 2\)"),
        (MIXTURE, VOCALS[:1], ValueError, r"vocals has shape \(1, 10\)"),
        (MIXTURE, VOCALS[:, :9], ValueError, r"vocals have shape \(2, 9\).*\(2, 10\)"),
        (MIXTURE.astype(np.int16), VOCALS, TypeError, "mixture has dtype int16"),
        (MIXTURE, VOCALS.astype(complex), TypeError, "vocals has dtype complex128"),
        (MIXTURE, replaced(VOCALS, np.nan), ValueError, r"vocals of .*NaN.*Use another model"),
        (MIXTURE, replaced(VOCALS, np.inf), ValueError, r"infinity after sample 7\. Use another"),
        (replaced(MIXTURE, -np.inf), VOCALS, ValueError, "mixture of .*Repair the file"),
    ],
)
def test_bad_blocks(tmp_path, mixture, vocals, error, message):
    paths = paths_in(tmp_path)
    with StemWriter(paths, RATE, 2, PCM_16) as writer:
        writer.write(MIXTURE[:, :7], VOCALS[:, :7])
        with pytest.raises(error, match=message):
            writer.write(mixture, vocals)
        assert writer.n_samples == 7
    assert soundfile.info(paths["vocals"]).frames == 7
    with suppress(ValueError), StemWriter(paths, RATE, 2, PCM_16, overwrite=True) as writer:
        writer.write(mixture.astype(float), replaced(VOCALS, np.nan))
    assert soundfile.info(paths["vocals"]).frames == 7


def test_writing_outside_the_block_is_refused(tmp_path):
    writer = StemWriter(paths_in(tmp_path), RATE, 2, PCM_16)
    with pytest.raises(ValueError, match="inside its with block"):
        writer.write(MIXTURE, VOCALS)
    with writer:
        writer.write(MIXTURE, VOCALS)
    with pytest.raises(ValueError, match="inside its with block"):
        writer.write(MIXTURE, VOCALS)
