"""Decoding: every sample of a file is read, and what is missing is said."""

import io
import os
import struct
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest
import soundfile

import sksep
from sksep import load_audio
from sksep.audio import _decoding
from sksep.audio._validation import check_track
from sksep.datasets import load_files, make_songs

RATE = 44100


@pytest.fixture(scope="module")
def song():
    return make_songs(1, duration=6.0, sample_rate=RATE, n_channels=2, random_state=0).mixtures[0]


def encoded(samples, format, **options):
    file = io.BytesIO()
    soundfile.write(file, samples.T, RATE, format=format, **options)
    return file.getvalue()


def mp3(samples, mode="VARIABLE"):
    return encoded(samples, "MP3", bitrate_mode=mode, compression_level=0.5)


def without_first_frame(content):
    return content[content.index(content[:2], 4) :]


def loaded(path, content, *, match=None):
    """Samples of a file with this content, and the warning that matches, if any is expected."""
    path.write_bytes(content)
    if match is None:
        return load_audio(path)[0]
    with pytest.warns(UserWarning, match=match):
        return load_audio(path)[0]


def mean_error(samples, others):
    n = min(samples.shape[-1], others.shape[-1])
    return float(np.abs(samples[..., :n] - others[..., :n]).mean())


# Lengths that headers do not state.


@pytest.mark.parametrize("mode", ["CONSTANT", "VARIABLE"])
def test_mp3_without_the_frame_that_states_its_length(tmp_path, song, mode):
    content = mp3(song, mode)
    whole = loaded(tmp_path / "whole.mp3", content)
    assert whole.shape == song.shape
    samples = loaded(tmp_path / "song.mp3", without_first_frame(content))
    assert samples.shape[1] % 1152 == 0 and samples.shape[1] >= song.shape[1] + 1105
    assert mean_error(samples[:, 1105:], whole) < 1e-4
    with_picture = b"ID3\x04\0\0" + struct.pack("4B", 0, 8, 0, 0) + bytes(8 << 14)
    again = loaded(tmp_path / "picture.mp3", with_picture + without_first_frame(content))
    np.testing.assert_array_equal(again, samples)


@pytest.mark.slow
def test_forty_mp3s_without_a_stated_length(tmp_path):
    for index in range(40):
        duration = 1.0 + index / 4
        (track,) = make_songs(1, duration=duration, sample_rate=RATE, random_state=index).mixtures
        content = mp3(track, ("CONSTANT", "VARIABLE")[index % 2])
        samples = loaded(tmp_path / "song.mp3", without_first_frame(content))
        assert samples.size >= track.size + 1105
        assert mean_error(samples[1105:], loaded(tmp_path / "whole.mp3", content)) < 1e-4


def test_joined_mp3s_are_read_one_after_the_other(tmp_path, song):
    first, second = mp3(song), mp3(song[:, :100_000], "CONSTANT")
    parts = [loaded(tmp_path / "part.mp3", content) for content in (first, second)]
    tag = b"TAG" + bytes(125)
    joined = loaded(tmp_path / "joined.mp3", first + tag + second)
    assert joined.shape[1] == song.shape[1] + 100_000
    np.testing.assert_allclose(joined, np.concatenate(parts, axis=1), atol=1e-3)


def test_joined_mp3s_of_two_rates_and_numbers_of_channels(tmp_path, song):
    file = io.BytesIO()
    soundfile.write(file, song[0, ::2], RATE // 2, format="MP3")
    joined = loaded(tmp_path / "joined.mp3", mp3(song) + file.getvalue())
    assert joined.shape == (2, 2 * song.shape[1])
    np.testing.assert_array_equal(joined[0, song.shape[1] :], joined[1, song.shape[1] :])


def test_chained_ogg_is_read_to_its_end(tmp_path, song):
    content = encoded(song, "OGG")
    whole = loaded(tmp_path / "whole.ogg", content)
    chained = loaded(tmp_path / "chained.ogg", content + content)
    np.testing.assert_array_equal(chained, np.concatenate([whole, whole], axis=1))


@pytest.mark.parametrize("stated", [0, 5])
def test_flac_that_states_no_length_or_a_wrong_one(tmp_path, song, stated):
    content = bytearray(encoded(song, "FLAC"))
    whole = loaded(tmp_path / "whole.flac", bytes(content))
    content[21] &= 0xF0
    content[22:26] = struct.pack(">I", stated)
    np.testing.assert_array_equal(loaded(tmp_path / "song.flac", bytes(content)), whole)


@pytest.mark.parametrize(("riff", "data"), [(0, 0), (None, 0), (2**32 - 1, 2**32 - 1)])
def test_wav_that_states_no_length(tmp_path, song, riff, data):
    content = bytearray(encoded(song, "WAV"))
    whole = loaded(tmp_path / "whole.wav", bytes(content))
    if riff is not None:
        content[4:8] = struct.pack("<I", riff)
    place = content.index(b"data") + 4
    content[place : place + 4] = struct.pack("<I", data)
    np.testing.assert_array_equal(loaded(tmp_path / "song.wav", bytes(content)), whole)


# Damage.


def test_truncated_mp3_without_a_stated_length(tmp_path, song):
    content = without_first_frame(mp3(song))
    whole = loaded(tmp_path / "whole.mp3", content)
    # Within a frame: nobody can tell a song that is cut between two from a whole one, and where
    # frames begin depends on the processor that made the song.
    cut = content.index(content[:2], len(content) // 2) + 100
    samples = loaded(tmp_path / "song.mp3", content[:cut], match="ends at 0:0[23]")
    n = samples.shape[1] - 1152
    np.testing.assert_array_equal(samples[:, :n], whole[:, :n])


@pytest.mark.parametrize("format", ["FLAC", "MP3", "OGG"])
def test_damaged_places_do_not_cost_the_song(tmp_path, song, format):
    content = bytearray(encoded(song, format))
    whole = loaded(tmp_path / "whole", bytes(content))
    middle = len(content) // 2
    content[middle : middle + 1000] = np.random.default_rng(0).bytes(1000)
    samples = loaded(tmp_path / "song", bytes(content), match="silent|left out")
    assert samples.shape[1] > 0.9 * song.shape[1]
    np.testing.assert_allclose(samples[:, :100_000], whole[:, :100_000], atol=1e-5)
    lag = whole.shape[1] - samples.shape[1]
    end = samples[:, -20_000:] if format == "FLAC" else samples[:, -20_000 - lag : -1 - lag]
    assert np.abs(end).max() > 0.01


def test_the_length_is_the_number_of_samples_that_are_read(tmp_path, song):
    contents = [mp3(song), encoded(song, "FLAC"), encoded(song, "OGG"), encoded(song, "WAV")]
    rng = np.random.default_rng(0)
    for content in contents:
        for cut in rng.integers(len(content) // 4, len(content), 3):
            (tmp_path / "song").write_bytes(content[:cut])
            problems = []
            track = check_track(tmp_path / "song", 0, "song", problems.append)
            assert problems and track.read().shape[1] == track.n_samples


def test_a_file_is_inspected_once(tmp_path, song, monkeypatch):
    (tmp_path / "song.mp3").write_bytes(without_first_frame(mp3(song)))
    inspected = []
    inspect = _decoding._inspect
    monkeypatch.setattr(
        _decoding, "_inspect", lambda *args: inspected.append(args) or inspect(*args)
    )
    for _ in range(3):
        check_track(tmp_path / "song.mp3", 0)
    assert len(inspected) == 1


def test_file_that_changes_while_it_is_read(tmp_path, song):
    path = tmp_path / "song.wav"
    soundfile.write(path, song.T, RATE)
    blocks = check_track(path, 0, "song").blocks(100_000, 10)
    next(blocks)
    with path.open("r+b") as file:
        file.seek(500_000)
        file.write(bytes(1000))
    os.utime(path, ns=(1, 1))
    with pytest.raises(ValueError, match=r"song\.wav.* has changed on disk"):
        list(blocks)


# What is no audio.


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "an empty file"),
        (b"Not a song, but a text.\n", "a text"),
        ("Kein Lied: äöü".encode(), "a text"),
        (b"\xff\xd8\xff\xe0" + bytes(1000), "a JPEG picture"),
    ],
)
@pytest.mark.parametrize("suffix", ["mp3", "vox", "raw"])
def test_files_that_are_no_audio_say_what_they_are(tmp_path, content, what, suffix):
    path = tmp_path / f"song.{suffix}"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=rf"song\.{suffix}.* as audio: it is {what}\..*convert"):
        load_audio(path)


def test_the_content_decides_and_not_the_suffix(tmp_path, song):
    for suffix in ("raw", "vox", "mp3", "m4a", ""):
        assert loaded(tmp_path / f"song.{suffix}", encoded(song, "WAV")).shape == song.shape


@pytest.mark.parametrize("rate", [1, 499, 768_001, 8_400_000, 2**31 - 1])
def test_implausible_rates_are_refused(tmp_path, rate):
    content = bytearray(encoded(np.zeros((1, 1000)), "WAV"))
    content[24:28] = struct.pack("<I", rate)
    (tmp_path / "song.wav").write_bytes(content)
    with pytest.raises(ValueError, match=rf"song\.wav.* {rate} Hz; rates from 500 to 768000 Hz"):
        load_audio(tmp_path / "song.wav")
    with pytest.raises(ValueError, match="sample_rate"):
        sksep.separate(np.zeros(1000), "small", sample_rate=rate)


# Pipes.


def test_pipes_are_read(tmp_path, song):
    fifo = tmp_path / "song.wav"
    os.mkfifo(fifo)
    content = encoded(song, "WAV")
    writer = threading.Thread(target=fifo.write_bytes, args=(content,))
    writer.start()
    samples, rate = load_audio(fifo)
    writer.join()
    assert samples.shape == song.shape and rate == RATE
    with pytest.raises(ValueError, match=r"is a pipe, which can be read only once.*load_audio"):
        sksep.MelChunker().fit_transform([fifo])


def test_standard_input_is_separated(tmp_path, song):
    command = [sys.executable, "-m", "sksep", "separate", "-", "-o", str(tmp_path)]
    content = encoded(song[:, :RATE], "FLAC")
    subprocess.run([*command, "--model", "small", "-q"], input=content, check=True)
    info = soundfile.info(tmp_path / "stdin" / "vocals.wav")
    assert (info.frames, info.channels) == (RATE, 2)


# Folders and the command.


def test_folders_name_what_they_skip(tmp_path):
    for name in ("song.wav", "cover.jpg", "notes.txt"):
        (tmp_path / name).write_bytes(b"x")
    files = load_files(tmp_path)
    assert files.track_names == ["song"]
    assert files.skipped == [str(tmp_path / "cover.jpg"), str(tmp_path / "notes.txt")]


def test_the_command_names_what_it_skips_and_what_is_missing(tmp_path, song):
    content = without_first_frame(mp3(song[:, : 3 * RATE]))
    music = tmp_path / "music"
    music.mkdir()
    (music / "whole.mp3").write_bytes(content)
    (music / "damaged").write_bytes(content[: len(content) // 2])
    (music / "cover.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    (music / "notes.txt").write_text("Notes.")
    command = [sys.executable, "-m", "sksep", "separate", "music", "-o", "out", "--model", "small"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    lines = done.stderr.splitlines()
    assert lines[0] == "Skipped in music: cover.jpg, notes.txt (not audio)"
    assert lines[1] == "Separating 2 songs by small, to the folder out."
    assert len(lines) == 3 and lines[2].startswith("Warning: music/damaged: ")  # no decoder's notes
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["damaged", "whole"]


# PyAV.


def by_av(path, samples, codec, rate=RATE, **options):
    """Encode samples by PyAV."""
    av = pytest.importorskip("av")
    with av.open(path, "w", **options) as container:
        stream = container.add_stream(codec, rate=rate, layout="stereo")
        stream.bit_rate = 256_000
        context = stream.codec_context
        formats = context.codec.audio_formats
        context.format = next((one for one in formats if one.name.startswith("s16")), formats[0])
        context.open()
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples, np.float32), format="fltp", layout="stereo"
        )
        frame.sample_rate, frame.pts = rate, 0
        size = context.frame_size or 4096
        resampler = av.AudioResampler(context.format.name, "stereo", rate, frame_size=size)
        for part in (*resampler.resample(frame), *resampler.resample(None), None):
            for packet in stream.encode(part):
                container.mux(packet)


# Container, codec, whether it states the length to the sample, and the error that is allowed.
CONTAINERS = [
    ("m4a", "aac", True, 0.02),
    ("mp4", "aac", True, 0.02),
    ("mov", "aac", True, 0.02),
    ("3gp", "aac", True, 0.02),
    ("m4a", "alac", True, 1e-4),
    ("mka", "flac", True, 1e-4),
    ("mkv", "pcm_s16le", True, 1e-4),
    ("webm", "libopus", True, 0.02),
    ("mkv", "mp3", True, 0.02),
    ("wv", "wavpack", True, 1e-4),
    ("tta", "tta", True, 1e-4),
    ("mkv", "aac", False, 0.02),
    ("aac", "aac", False, 0.02),
    ("ts", "aac", False, 0.02),
    ("flv", "aac", False, 0.02),
    ("ac3", "ac3", False, 0.02),
    ("eac3", "eac3", False, 0.02),
    ("mp2", "mp2", False, 0.02),
    ("mpg", "mp2", False, 0.02),
    ("wma", "wmav2", False, 0.02),
]


@pytest.mark.parametrize(
    ("suffix", "codec", "is_exact", "error"),
    CONTAINERS,
    ids=[f"{suffix}-{codec}" for suffix, codec, *_ in CONTAINERS],
)
def test_containers_that_libsndfile_does_not_read(tmp_path, song, suffix, codec, is_exact, error):
    rate = 48000 if codec == "libopus" else RATE
    path = tmp_path / f"song.{suffix}"
    by_av(path, song, codec, rate)
    path = path.rename(tmp_path / "song")  # the content decides
    samples, loaded_rate = load_audio(path)
    assert loaded_rate == rate
    middle = slice(1000, song.shape[1] - 1000)
    assert np.abs(samples[:, middle] - song[:, middle]).mean() < error  # lag 0
    n_more = samples.shape[1] - song.shape[1]
    # The encoder of MP2 leaves out the last 481 samples.
    assert n_more == 0 if is_exact else -481 <= n_more < 2048


def test_truncated_video_is_read_up_to_its_end(tmp_path, song):
    by_av(tmp_path / "song.mkv", song, "aac")
    content = (tmp_path / "song.mkv").read_bytes()
    samples = loaded(tmp_path / "cut.mkv", content[: len(content) // 2], match="truncated.*0:0[23]")
    assert samples.shape[1] > 0.4 * song.shape[1]


def test_separating_what_pyav_reads(tmp_path, song):
    by_av(tmp_path / "song.m4a", song[:, :RATE], "alac")
    outputs = {stem: tmp_path / f"{stem}.wav" for stem in ("vocals", "accompaniment")}
    pipeline = sksep.load_pretrained("small-v1")
    from sksep.inference._files import separate_file

    report = separate_file(tmp_path / "song.m4a", outputs, pipeline)
    assert report.seconds == 1.0 and report.n_channels == 2
    stems = [soundfile.read(path)[0].T for path in outputs.values()]
    np.testing.assert_allclose(sum(stems), load_audio(tmp_path / "song.m4a")[0], atol=1e-4)


def test_without_pyav_the_message_says_what_to_install(tmp_path, monkeypatch):
    monkeypatch.setattr(_decoding, "_has_av", lambda: False)
    path = tmp_path / "song.m4a"
    path.write_bytes(struct.pack(">I", 32) + b"ftypM4A " + bytes(2000))
    with pytest.raises(ValueError, match=r'song\.m4a.*is MPEG-4.*pip install "sksep\[av\]"'):
        load_audio(path)


def test_playlists_are_not_followed(tmp_path):
    pytest.importorskip("av")
    soundfile.write(tmp_path / "secret.wav", np.zeros(1000), RATE)
    (tmp_path / "list").write_text("ffconcat version 1.0\nfile secret.wav\n")
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1\nsecret.wav\n")
    for name in ("list", "list.m3u8"):
        with pytest.raises(ValueError, match="it is a text"):
            load_audio(tmp_path / name)


def test_nothing_is_warned_of_in_order(tmp_path, song):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for format in ("WAV", "FLAC", "OGG", "MP3", "AIFF", "AU", "CAF", "W64", "RF64"):
            assert loaded(tmp_path / "song", encoded(song, format)).shape == song.shape
