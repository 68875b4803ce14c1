"""Loaders: layouts of data sets, made of synthetic files, and the recordings if present."""

import sys
import types

import numpy as np
import pytest
import soundfile

from sksep import AudioSource
from sksep.audio._validation import check_tracks, load_audio
from sksep.datasets import load_dsd100, load_files, load_folder, load_mir1k, load_musdb18

RATE = 8000


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def needs(folder):
    if not folder.is_dir():
        pytest.skip(f"no folder {folder.name} in SKSEP_DATA_HOME")
    return folder


def write(path, rng, n_channels=2, n_samples=800, rate=RATE):
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = rng.uniform(-0.3, 0.3, (n_samples, n_channels))
    soundfile.write(path, samples, rate)
    return samples.T.astype(np.float32)


def is_sum(bunch):
    for mixture, vocals, accompaniment in zip(
        bunch.mixtures, bunch.vocals, bunch.accompaniments, strict=True
    ):
        mixture, vocals, accompaniment = (
            load_audio(source)[0] for source in (mixture, vocals, accompaniment)
        )
        np.testing.assert_allclose(mixture, vocals + accompaniment, atol=1e-4)
    return True


class TestFolder:
    def test_flat(self, tmp_path, rng):
        for name in ("B - Two", "A_-_One", "Untitled 10", "Untitled 9"):
            write(tmp_path / name / "vocals.wav", rng)
            write(tmp_path / name / "Accompaniment.FLAC", rng)
        (tmp_path / "covers").mkdir()
        (tmp_path / "covers" / "front.jpg").touch()
        (tmp_path / ".cache").mkdir()
        write(tmp_path / ".cache" / "x.wav", rng)
        (tmp_path / "A_-_One" / "._vocals.wav").touch()
        songs = load_folder(tmp_path)
        assert songs.track_names == ["A_-_One", "B - Two", "Untitled 9", "Untitled 10"]
        assert songs.groups.tolist() == ["A", "B", "Untitled 9", "Untitled 10"]
        assert songs.split is None and songs.sample_rate is None
        assert str(tmp_path) in songs.DESCR
        assert all(isinstance(source, AudioSource) for source in songs.mixtures)
        assert is_sum(songs)
        assert [track.shape for track in check_tracks(songs.mixtures, RATE)] == [(2, 800)] * 4

    def test_mixture_file_is_preferred(self, tmp_path, rng):
        for stem in ("vocals", "accompaniment", "mixture"):
            write(tmp_path / "song" / f"{stem}.wav", rng)
        source = load_folder(tmp_path).mixtures[0]
        assert source.paths == (str(tmp_path / "song" / "mixture.wav"),)

    def test_other_names(self, tmp_path, rng):
        for stem in ("voice", "drums", "rest", "master"):
            write(tmp_path / "song" / f"{stem}.ogg", rng)
        songs = load_folder(
            tmp_path, vocals="voice", accompaniment=["drums", "rest"], mixture="master"
        )
        assert len(songs.accompaniments[0].paths) == 2
        assert songs.mixtures[0].paths[0].endswith("master.ogg")

    def test_mixture_and_vocals_only(self, tmp_path, rng):
        mixture = write(tmp_path / "song" / "mixture.wav", rng)
        vocals = write(tmp_path / "song" / "vocals.wav", rng)
        assert load_folder(tmp_path).accompaniments == [None]
        arrays = load_folder(tmp_path, as_arrays=True)
        np.testing.assert_allclose(arrays.accompaniments[0], mixture - vocals, atol=1e-4)

    def test_lengths_that_differ(self, tmp_path, rng):
        mixture = write(tmp_path / "song" / "mixture.wav", rng)
        soundfile.write(tmp_path / "song" / "vocals.wav", mixture[:, :-10].T, RATE)
        with pytest.raises(ValueError, match=r"vocals\.wav has 790 samples .*mixture\.wav has 800"):
            load_folder(tmp_path, as_arrays=True)

    def test_parts(self, tmp_path, rng):
        for name in ("train/A - a", "train/B - b", "test/C - c"):
            write(tmp_path / name / "vocals.wav", rng)
            write(tmp_path / name / "accompaniment.wav", rng)
        assert load_folder(tmp_path).split.tolist() == ["test", "train", "train"]
        assert load_folder(tmp_path, split="train").track_names == ["A - a", "B - b"]
        with pytest.raises(ValueError, match=r"no part 'valid'; it has \['test', 'train'\]"):
            load_folder(tmp_path, split="valid")

    def test_arrays(self, tmp_path, rng):
        vocals = write(tmp_path / "song" / "vocals.wav", rng, n_channels=1)
        write(tmp_path / "song" / "accompaniment.wav", rng, n_channels=1)
        songs = load_folder(tmp_path, as_arrays=True)
        assert songs.sample_rate == RATE
        assert songs.vocals[0].dtype == np.float32
        np.testing.assert_allclose(songs.vocals[0], vocals[0], atol=1e-4)
        np.testing.assert_array_equal(songs.mixtures[0], songs.vocals[0] + songs.accompaniments[0])
        resampled = load_folder(tmp_path, as_arrays=True, sample_rate=16000)
        assert resampled.sample_rate == 16000
        assert resampled.mixtures[0].shape == (1600,)

    def test_rates_that_differ(self, tmp_path, rng):
        for name, rate in (("a", 8000), ("b", 16000)):
            for stem in ("vocals", "accompaniment"):
                write(tmp_path / name / f"{stem}.wav", rng, rate=rate)
        assert len(load_folder(tmp_path).mixtures) == 2
        with pytest.raises(ValueError, match=r"8000 Hz.*16000 Hz.*sample_rate"):
            load_folder(tmp_path, as_arrays=True)
        songs = load_folder(tmp_path, as_arrays=True, sample_rate=16000)
        assert [mixture.shape[-1] for mixture in songs.mixtures] == [1600, 800]

    def test_errors(self, tmp_path, rng):
        with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere.*TRACK/vocals.wav"):
            load_folder(tmp_path / "nowhere")
        with pytest.raises(FileNotFoundError, match=r"no tracks.*TRACK/accompaniment.wav"):
            load_folder(tmp_path)
        write(tmp_path / "song" / "vocals.wav", rng)
        with pytest.raises(ValueError, match=r"song.*has no accompaniment.*vocals.wav"):
            load_folder(tmp_path)
        write(tmp_path / "song" / "accompaniment.wav", rng)
        with pytest.raises(ValueError, match="as_arrays=True"):
            load_folder(tmp_path, sample_rate=16000)
        write(tmp_path / "song" / "vocals.flac", rng)
        with pytest.raises(ValueError, match=r"vocals.flac and vocals.wav"):
            load_folder(tmp_path)


class TestMir1k:
    @pytest.fixture(params=["distributed", "development", "nested"])
    def folder(self, request, tmp_path, rng):
        clips = {"distributed": "Wavfile", "development": "", "nested": "MIR-1K/Wavfile"}
        labels = {
            "distributed": "vocal-nonvocalLabel",
            "development": "labels",
            "nested": "MIR-1K/vocal-nonvocalLabel",
        }
        suffix = ".flac" if request.param == "development" else ".wav"
        for name in ("amy_1_01", "abjones_10_02", "abjones_2_01", "Kenshin_3_04"):
            write(tmp_path / clips[request.param] / (name + suffix), rng)
            label = tmp_path / labels[request.param] / f"{name}.vocal"
            label.parent.mkdir(exist_ok=True)
            label.write_text("0 \r\n1 \r\n1 \r\n")
        return tmp_path

    def test_subsets(self, folder):
        train, test = load_mir1k(folder), load_mir1k(folder, subset="test")
        assert train.track_names == ["abjones_2_01", "abjones_10_02", "amy_1_01"]
        assert train.groups.tolist() == ["abjones", "abjones", "amy"]
        assert train.split.tolist() == ["train"] * 3
        assert test.track_names == ["Kenshin_3_04"] and test.groups.tolist() == ["Kenshin"]
        assert len(load_mir1k(folder, subset="all").mixtures) == 4
        with pytest.raises(ValueError, match="subset"):
            load_mir1k(folder, subset="dev")

    def test_channels(self, folder):
        clips = load_mir1k(folder, as_arrays=True)
        sources = load_mir1k(folder)
        samples = soundfile.read(sources.vocals[0].paths[0], dtype="float32")[0]
        np.testing.assert_array_equal(clips.accompaniments[0], samples[:, 0])
        np.testing.assert_array_equal(clips.vocals[0], samples[:, 1])
        np.testing.assert_allclose(clips.mixtures[0], samples.sum(axis=1), atol=1e-7)
        assert is_sum(sources)

    def test_labels(self, folder):
        clips = load_mir1k(folder, labels=True)
        assert clips.label_hop == 0.02 and "vocal_activity" not in load_mir1k(folder)
        assert [labels.tolist() for labels in clips.vocal_activity] == [[False, True, True]] * 3
        next(folder.rglob("amy_1_01.vocal")).unlink()
        with pytest.raises(FileNotFoundError, match="amy_1_01"):
            load_mir1k(folder, labels=True)

    def test_part_that_is_not_there(self, tmp_path, rng):
        write(tmp_path / "amy_1_01.wav", rng)
        with pytest.raises(FileNotFoundError, match=r"no tracks of the test part.*Get MIR-1K from"):
            load_mir1k(tmp_path, subset="test")


class TestMusdb18:
    @pytest.mark.parametrize("mixture", [True, False])
    def test_stems(self, tmp_path, rng, mixture):
        stems = ["vocals", "drums", "bass", "other"] + ["mixture"] * mixture
        for name in ("train/A - a", "train/A - b", "test/B - c"):
            for stem in stems:
                write(tmp_path / name / f"{stem}.wav", rng)
        songs = load_musdb18(tmp_path)
        assert songs.groups.tolist() == ["A", "A"] and songs.split.tolist() == ["train"] * 2
        assert len(songs.accompaniments[0].paths) == 3
        assert len(songs.mixtures[0].paths) == (1 if mixture else 4)
        assert mixture or is_sum(songs)
        assert load_musdb18(tmp_path, subset="test").track_names == ["B - c"]
        assert len(load_musdb18(tmp_path, subset="all").track_names) == 3

    def test_summed_accompaniment(self, tmp_path, rng):
        for stem in ("vocals", "accompaniment"):
            write(tmp_path / "train" / "A_-_a" / f"{stem}.ogg", rng)
        songs = load_musdb18(tmp_path)
        assert songs.groups.tolist() == ["A"]
        assert is_sum(songs)
        with pytest.raises(FileNotFoundError, match=r"test part.*sigsep"):
            load_musdb18(tmp_path, subset="test")

    def test_compressed_stems(self, tmp_path, rng, monkeypatch):
        decoded = []
        streams = rng.uniform(-0.4, 0.4, (5, 300, 2)).astype(np.float32)
        streams[0] = streams[1:].sum(axis=0)

        def read_stems(path, dtype):
            decoded.append(path)
            return streams, 44100

        stempeg = types.SimpleNamespace(read_stems=read_stems)
        monkeypatch.setitem(sys.modules, "stempeg", stempeg)
        (tmp_path / "musdb18" / "train").mkdir(parents=True)
        (tmp_path / "musdb18" / "train" / "A - a.stem.mp4").touch()
        with pytest.raises(ValueError, match=r"A - a.*decode_to="):
            load_musdb18(tmp_path / "musdb18")
        assert not decoded
        for _ in range(2):
            songs = load_musdb18(tmp_path / "musdb18", decode_to=tmp_path / "wav", as_arrays=True)
        assert len(decoded) == 1
        assert songs.track_names == ["A - a"] and songs.groups.tolist() == ["A"]
        assert songs.sample_rate == 44100
        np.testing.assert_array_equal(songs.vocals[0], streams[4].T)
        np.testing.assert_array_equal(songs.mixtures[0], streams[0].T)
        np.testing.assert_allclose(songs.accompaniments[0], streams[1:4].sum(axis=0).T, atol=1e-6)
        assert [path.name for path in (tmp_path / "wav" / "train").iterdir()] == ["A - a"]

    def test_decoded_into_the_data_set(self, tmp_path, monkeypatch):
        def read_stems(path, dtype):
            return np.full((5, 10, 2), 0.1, np.float32), 44100

        monkeypatch.setitem(sys.modules, "stempeg", types.SimpleNamespace(read_stems=read_stems))
        (tmp_path / "train").mkdir()
        names = ["A - 9", "A - 10", "B - b"]
        for name in names:
            (tmp_path / "train" / f"{name}.stem.mp4").touch()
        for _ in range(2):
            songs = load_musdb18(tmp_path, decode_to=tmp_path / "train" / "..")
            assert songs.track_names == names
        assert load_musdb18(tmp_path, decode_to=tmp_path / "wav").track_names == names
        assert load_musdb18(tmp_path).track_names == names  # so nothing has to be decoded

    def test_interrupted_decoding_leaves_nothing(self, tmp_path, monkeypatch):
        def read_stems(path, dtype):
            return np.zeros((5, 10, 2), np.float32), 44100

        def interrupt(*args, **kwargs):
            raise KeyboardInterrupt

        monkeypatch.setitem(sys.modules, "stempeg", types.SimpleNamespace(read_stems=read_stems))
        monkeypatch.setattr(soundfile, "write", interrupt)
        (tmp_path / "train").mkdir()
        (tmp_path / "train" / "A - a.stem.mp4").touch()
        with pytest.raises(KeyboardInterrupt):
            load_musdb18(tmp_path, decode_to=tmp_path / "wav")
        assert not list((tmp_path / "wav" / "train").iterdir())

    def test_without_the_extra(self, tmp_path, monkeypatch):
        monkeypatch.setitem(sys.modules, "stempeg", None)
        (tmp_path / "train").mkdir()
        (tmp_path / "train" / "A - a.stem.mp4").touch()
        with pytest.raises(ImportError, match=r"ffmpeg.*sksep\[musdb\]"):
            load_musdb18(tmp_path, decode_to=tmp_path / "wav")


class TestDsd100:
    @pytest.fixture
    def folder(self, tmp_path, rng):
        for part, name in (("Dev", "055 - The Band - It - Live"), ("Test", "001 - Duo - Song")):
            write(tmp_path / "Mixtures" / part / name / "mixture.wav", rng)
            for stem in ("vocals", "bass", "drums", "other"):
                write(tmp_path / "Sources" / part / name / f"{stem}.wav", rng)
        return tmp_path

    def test_layout(self, folder):
        train, test = load_dsd100(folder), load_dsd100(folder, subset="test")
        assert train.groups.tolist() == ["The Band"] and train.split.tolist() == ["train"]
        assert test.groups.tolist() == ["Duo"] and test.track_names == ["001 - Duo - Song"]
        assert len(train.accompaniments[0].paths) == 3
        assert "Mixtures" in train.mixtures[0].paths[0]
        arrays = load_dsd100(folder, subset="all", as_arrays=True, sample_rate=4000)
        assert [vocals.shape for vocals in arrays.vocals] == [(2, 400), (2, 400)]

    def test_missing_stem(self, folder):
        next(folder.rglob("Dev/*/bass.wav")).unlink()
        with pytest.raises(FileNotFoundError, match=r"055 - The Band - It - Live.*incomplete"):
            load_dsd100(folder)


class TestFiles:
    def test_files(self, tmp_path, rng):
        for name in ("A_-_x10.ogg", "A_-_x9.OGG", "B - y.wav", "sub/z.flac", "notes.txt"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        takes = load_files(tmp_path)
        assert takes.track_names == ["A_-_x9", "A_-_x10", "B - y"]
        assert takes.groups.tolist() == ["A", "A", "B"]
        assert takes.paths[2] == str(tmp_path / "B - y.wav")
        assert len(load_files(tmp_path, "**/*").paths) == 4
        grouped = load_files(tmp_path, "*.*", group_pattern=r"x(\d)")
        assert grouped.groups.tolist() == ["9", "1", "B"]

    def test_errors(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="no folder"):
            load_files(tmp_path / "nowhere")
        with pytest.raises(FileNotFoundError, match=r"no files '\*.ogg'"):
            load_files(tmp_path, "*.ogg")


@pytest.mark.parametrize(
    ("loader", "url"),
    [(load_mir1k, "mirlab"), (load_musdb18, "sigsep"), (load_dsd100, "sigsep")],
)
def test_where_to_get_the_data(loader, url, tmp_path, monkeypatch):
    monkeypatch.delenv("SKSEP_DATA_HOME", raising=False)
    with pytest.raises(FileNotFoundError, match=f"SKSEP_DATA_HOME is not set.*{url}"):
        loader()
    monkeypatch.setenv("SKSEP_DATA_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=f"{tmp_path.name}.*{url}"):
        loader()
    with pytest.raises(FileNotFoundError, match=f"elsewhere.*{url}"):
        loader(tmp_path / "elsewhere")


def test_folder_named_by_the_environment(tmp_path, rng, monkeypatch):
    write(tmp_path / "mir1k" / "amy_1_01.wav", rng)
    monkeypatch.setenv("SKSEP_DATA_HOME", str(tmp_path))
    assert load_mir1k().track_names == ["amy_1_01"]


@pytest.mark.recordings
class TestRecordings:
    def test_mir1k(self, data_home):
        clips = load_mir1k(needs(data_home / "mir1k"), labels=True)
        train = clips.split == "train"
        assert train.sum() == 175
        assert sorted(set(clips.groups[train])) == ["abjones", "amy"]
        tracks = check_tracks(clips.vocals, 16000)
        assert {track.sample_rate for track in tracks} == {16000}
        assert sum(track.n_samples for track in tracks) / 16000 / 60 == pytest.approx(23.6, abs=0.1)
        for index in range(0, 175, 25):
            samples, _ = load_audio(clips.vocals[index])
            labels = clips.vocal_activity[index]
            assert abs(labels.size - samples.size / 320) < 3
            energy = samples[: labels.size * 320].copy()
            energy.resize(labels.size * 320)
            energy = (energy.reshape(-1, 320) ** 2).mean(axis=1)
            assert energy[labels].mean() > 5 * energy[~labels].mean()

    def test_musdb18(self, data_home):
        songs = load_musdb18(needs(data_home / "musdb18-7s"))
        assert len(songs.mixtures) == 94
        assert len(set(songs.groups)) > 60
        tracks = check_tracks(songs.mixtures, 44100)
        assert {(track.sample_rate, track.n_channels) for track in tracks} == {(44100, 2)}
        assert songs.groups[songs.track_names.index("Alexander_Ross_-_Goodbye_Bolero")] == (
            "Alexander_Ross"
        )

    def test_full_songs(self, data_home):
        songs = load_folder(needs(data_home / "full-songs"))
        assert len(songs.mixtures) == 3
        assert "Admiral_Crumple" in songs.groups

    def test_songs(self, data_home):
        songs = load_folder(needs(data_home / "songs"))
        assert len(songs.mixtures) == 14

    def test_pools(self, data_home):
        assert len(load_files(needs(data_home / "instrumental")).paths) == 235
        takes = load_files(data_home / "singing", group_pattern=r"[A-Z]{2}-[A-Z]\w+?-\d")
        assert len(takes.paths) == 249
        assert {"DE-Soprano-1", "EN-Alto-2", "vocadito"} <= set(takes.groups)
        assert len(load_files(needs(data_home / "speech")).paths) == 80
