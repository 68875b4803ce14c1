"""Songs as arrays and as files: shapes, sums, memory, warnings and errors."""

import tracemalloc
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
from helpers import fit_preset, noise
from sklearn.pipeline import make_pipeline

import sksep
from sksep import HPSSSeparator, MelChunker
from sksep.inference._files import separate_file
from sksep.inference._models import load_model
from sksep.inference._separate import separate
from sksep.peers import SpleeterSeparator
from sksep.presets import unet_pipeline
from sksep.utils._choices import FORMATS


@pytest.fixture(scope="module")
def pipeline():
    return fit_preset(unet_pipeline, invert__n_iter=0)


@pytest.fixture(scope="module")
def silencer(pipeline, tmp_path_factory):
    """The pipeline with a network whose masks are zero."""
    return constant(pipeline, tmp_path_factory.mktemp("models"), -100.0)


def constant(pipeline, folder, logit):
    """A copy of the pipeline whose mask is the same everywhere."""
    path = folder / "model.safetensors"
    sksep.save(pipeline, path)
    copy = sksep.load(path)
    head = copy["separate"].net_.module_.network.head
    head.weight.data.zero_()
    head.bias.data.fill_(logit)
    return copy


def write_song(path, seconds=5.0, rate=44100, n_channels=2, subtype=None, **options):
    samples = noise(round(seconds * rate), n_channels, **options).clip(-1, 0.99)
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def outputs(folder, extension="wav", *further):
    return {stem: folder / f"{stem}.{extension}" for stem in ("vocals", "accompaniment", *further)}


@pytest.mark.parametrize("shape", [(48000,), (2, 48000)])
def test_arrays_equal_the_prediction(pipeline, shape):
    song = noise(*shape)
    vocals, accompaniment, sample_rate = separate(song, pipeline)
    np.testing.assert_allclose(vocals, pipeline.predict([song])[0], atol=1e-5)
    np.testing.assert_array_equal(accompaniment, song - vocals)
    assert (vocals.shape, sample_rate) == (shape, 16000)


def test_arrays_of_another_rate(pipeline, tmp_path):
    path = write_song(tmp_path / "song.wav", subtype="FLOAT")
    samples, rate = soundfile.read(path, dtype="float32")
    of_array = separate(samples.T, pipeline, sample_rate=rate)
    of_file = separate(path, pipeline)
    np.testing.assert_array_equal(of_array.vocals, of_file.vocals)
    assert of_array.sample_rate == of_file.sample_rate == 44100
    np.testing.assert_allclose(of_file.vocals, pipeline.predict([path])[0], atol=1e-4)


@pytest.mark.parametrize("extension", FORMATS)
@pytest.mark.parametrize("source", ["wav", "flac", "ogg", "mp3"])
def test_files_keep_rate_channels_and_length(pipeline, tmp_path, source, extension):
    path = write_song(tmp_path / f"song.{source}", seconds=2.0)
    report = separate_file(path, outputs(tmp_path / "out", extension), pipeline, format=extension)
    song = soundfile.info(path)
    for stem in report.outputs.values():
        info = soundfile.info(stem)
        assert (info.samplerate, info.channels, info.frames) == (44100, 2, song.frames)
        assert info.format == extension.upper()


@pytest.mark.parametrize(
    ("subtype", "dtype"), [("PCM_16", "int16"), ("PCM_24", "int32"), ("PCM_32", "int32")]
)
def test_stems_add_up_to_the_last_bit(pipeline, tmp_path, subtype, dtype):
    path = write_song(tmp_path / "song.wav", subtype=subtype, level=0.4)
    report = separate_file(path, outputs(tmp_path / "out"), pipeline)
    vocals, accompaniment, song = (
        soundfile.read(each, dtype=dtype)[0].astype(np.int64)
        for each in (*report.outputs.values(), path)
    )
    np.testing.assert_array_equal(vocals + accompaniment, song)
    assert np.abs(vocals).max() > 0
    assert report.warnings == ()


def test_a_file_equals_the_whole_track(pipeline, tmp_path):
    path = write_song(tmp_path / "song.wav", seconds=47.0, subtype="FLOAT")
    report = separate_file(path, outputs(tmp_path / "out"), pipeline)
    vocals = soundfile.read(report.outputs["vocals"], dtype="float32")[0]
    np.testing.assert_allclose(vocals.T, pipeline.predict([path])[0], atol=1e-4)


class AtOnce(ThreadPoolExecutor):
    """Run a job as soon as it is submitted, so that the progress of jobs is not random."""

    def submit(self, function, *arguments):
        future = Future()
        future.set_result(function(*arguments))
        return future


def test_memory_is_bounded(pipeline, tmp_path, monkeypatch):
    monkeypatch.setattr("sksep.inference._files.ThreadPoolExecutor", AtOnce)
    peaks = []
    for seconds in (60.0, 180.0):
        path = write_song(tmp_path / f"{seconds}.wav", seconds, rate=8000, n_channels=1)
        tracemalloc.start()
        separate_file(path, outputs(tmp_path / f"{seconds}"), pipeline)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_remix(pipeline, tmp_path):
    path = write_song(tmp_path / "song.wav", subtype="FLOAT")
    report = separate_file(
        path, outputs(tmp_path / "out", "wav", "remix"), pipeline, vocals_gain=-20.0
    )
    parts = {stem: soundfile.read(each)[0] for stem, each in report.outputs.items()}
    expected = 0.1 * parts["vocals"] + parts["accompaniment"]
    np.testing.assert_allclose(parts["remix"], expected, atol=1e-6)


def test_progress_reaches_the_end(pipeline, tmp_path):
    path = write_song(tmp_path / "song.wav", seconds=50.0, rate=8000)
    calls = []
    separate_file(
        path, outputs(tmp_path), pipeline, progress=lambda done, of: calls.append((done, of))
    )
    assert calls == sorted(calls)
    assert len(calls) > 2
    assert calls[-1] == (400000, 400000)


def test_models_that_need_the_whole_track(tmp_path):
    pipeline = make_pipeline(MelChunker(), HPSSSeparator()).fit([noise(16000)], [noise(16000)])
    path = write_song(tmp_path / "song.wav", seconds=25.0)
    report = separate_file(path, outputs(tmp_path / "out"), pipeline)
    vocals = soundfile.read(report.outputs["vocals"], dtype="float32")[0]
    np.testing.assert_allclose(vocals.T, pipeline.predict([path])[0], atol=1e-4)
    with pytest.raises(ValueError, match="16000 Hz only"):
        separate(noise(44100), pipeline, sample_rate=44100)


@pytest.mark.parametrize("logit", [-100.0, 100.0])
def test_empty_results_are_reported(pipeline, tmp_path, logit):
    path = write_song(tmp_path / "song.wav")
    model = constant(pipeline, tmp_path, logit)
    report = separate_file(path, outputs(tmp_path / "out"), model)
    (warning,) = report.warnings
    assert ("silent" if logit < 0 else "equal the song") in warning


def test_silence_is_reported(pipeline, tmp_path):
    soundfile.write(tmp_path / "song.wav", np.zeros(16000), 16000)
    report = separate_file(tmp_path / "song.wav", outputs(tmp_path / "out"), pipeline)
    assert report.warnings == ("the song is silent",)


def test_bad_files_leave_nothing(pipeline, tmp_path):
    bad = tmp_path / "song.wav"
    bad.write_text("no audio")
    nan = tmp_path / "nan.wav"
    soundfile.write(nan, np.full(10000, np.nan), 8000, subtype="FLOAT")
    for path, message in ((bad, "cannot be read"), (nan, "NaN"), (tmp_path / "no.wav", "no file")):
        with pytest.raises((ValueError, FileNotFoundError), match=message) as caught:
            separate_file(path, outputs(tmp_path / "out"), pipeline)
        assert path.name in str(caught.value)
    assert not [each for each in (tmp_path / "out").glob("**/*") if each.is_file()]


def test_missing_paths(pipeline, tmp_path):
    missing = tmp_path / "no.wav"
    with pytest.raises(FileNotFoundError, match=r"there is no file '.*no\.wav'; check the path"):
        separate_file(missing, outputs(tmp_path / "out"), pipeline)
    with pytest.raises(FileNotFoundError, match=r"there is no file '.*no\.wav'; check the path"):
        pipeline.predict([missing])


def test_existing_files_are_kept(pipeline, tmp_path):
    path = write_song(tmp_path / "song.wav", seconds=1.0)
    kept = outputs(tmp_path)["accompaniment"]
    kept.write_text("mine")
    with pytest.raises(FileExistsError, match="accompaniment"):
        separate_file(path, outputs(tmp_path), pipeline)
    assert kept.read_text() == "mine"
    separate_file(path, outputs(tmp_path), pipeline, overwrite=True)
    assert soundfile.info(kept).frames == 44100


def test_a_song_is_never_its_own_output(pipeline, tmp_path):
    path = write_song(tmp_path / "vocals.wav", seconds=1.0)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"vocals\.wav"):
        separate_file(path, outputs(tmp_path), pipeline, overwrite=True)
    assert path.read_bytes() == before


def test_load_model(pipeline, tmp_path):
    path = tmp_path / "model.safetensors"
    sksep.save(pipeline, path)
    assert load_model(pipeline) is pipeline
    assert isinstance(load_model(Path("small"), device="cpu"), SpleeterSeparator)
    assert load_model(path, n_iter=3, device="cpu")["invert"].n_iter == 3
    for model, error, message in (
        ("no-such-model", ValueError, "no-such-model"),
        (tmp_path / "no-such-model", ValueError, "no-such-model"),
        (3, TypeError, "Pipeline"),
        (pipeline["separate"], TypeError, "MelChunker"),
    ):
        with pytest.raises(error, match=message):
            load_model(model)
    with pytest.raises(ValueError, match="invert__n_iter"):
        load_model(pipeline, n_iter=1)
    with pytest.raises(ValueError, match="n_iter"):
        load_model(path, n_iter=-1)


@pytest.mark.parametrize("sample_rate", [0, -1, 44100.0])
def test_a_wrong_sample_rate(pipeline, sample_rate):
    with pytest.raises((ValueError, TypeError), match="sample_rate"):
        separate(noise(1000), pipeline, sample_rate=sample_rate)


def test_rates_too_low_for_the_detector(pipeline, tmp_path):
    path = write_song(tmp_path / "song.wav", seconds=9.0, rate=900, n_channels=1)
    assert separate_file(path, outputs(tmp_path / "out"), pipeline).sample_rate == 900
