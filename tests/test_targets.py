"""Any stem as the target: loaders, synthetic stems, and names in messages and files."""

import numpy as np
import pytest
import soundfile
from helpers import four_steps, noise, small

import sksep
from sksep import (
    AudioSource,
    DeepClusteringSeparator,
    MaskBuilder,
    MelChunker,
    NMFSeparator,
    OracleMaskSeparator,
)
from sksep.audio._validation import load_audio
from sksep.datasets import (
    load_dsd100,
    load_folder,
    load_mir1k,
    load_musdb18,
    make_songs,
    train_val_test_split,
)

STEMS = ("vocals", "drums", "bass", "other")
RATE = 8000


@pytest.fixture(scope="module")
def songs():
    return make_songs(6, duration=1.0, sample_rate=RATE, random_state=0)


@pytest.fixture(scope="module")
def data_sets(tmp_path_factory):
    """Small data sets in the layouts of MUSDB18-HQ and DSD100, and their loaders."""
    folder = tmp_path_factory.mktemp("data")
    songs = make_songs(2, duration=0.2, sample_rate=RATE, n_channels=2, random_state=0)
    for name, mixture, stems in zip("ab", songs.mixtures, songs.stems, strict=True):
        for stem, samples in (*stems.items(), ("mixture", mixture)):
            sources = "Mixtures" if stem == "mixture" else "Sources"
            for path in (
                folder / "musdb" / "train" / f"A - {name}" / f"{stem}.wav",
                folder / "dsd" / sources / "Dev" / f"001 - A - {name}" / f"{stem}.wav",
            ):
                path.parent.mkdir(parents=True, exist_ok=True)
                soundfile.write(path, samples.T, RATE, subtype="FLOAT")
    loaders = {
        "musdb18": lambda **settings: load_musdb18(folder / "musdb", **settings),
        "dsd100": lambda **settings: load_dsd100(folder / "dsd", **settings),
        "folder": lambda **settings: load_folder(
            folder / "musdb", accompaniment=("drums", "bass", "other"), **settings
        ),
    }
    return loaders, songs


# Loaders.


@pytest.mark.parametrize("loader", ["musdb18", "dsd100", "folder"])
@pytest.mark.parametrize("target", STEMS)
def test_each_stem_can_be_the_target(data_sets, loader, target):
    loaders, songs = data_sets
    bunch = loaders[loader](target=target)
    assert bunch.target_name == target
    assert ("vocals" in bunch) == ("accompaniments" in bunch) == (target == "vocals")
    for index, (mixture, stems) in enumerate(zip(songs.mixtures, songs.stems, strict=True)):
        np.testing.assert_array_equal(load_audio(bunch.targets[index])[0], stems[target])
        rest = load_audio(bunch.residuals[index])[0]
        np.testing.assert_allclose(rest, mixture - stems[target], atol=1e-6)
        assert bunch.stems[index].keys() == {*STEMS}
        for stem in STEMS:
            np.testing.assert_array_equal(load_audio(bunch.stems[index][stem])[0], stems[stem])
    arrays = loaders[loader](target=target, as_arrays=True)
    np.testing.assert_array_equal(arrays.targets[1], songs.stems[1][target])
    np.testing.assert_array_equal(arrays.stems[1]["bass"], songs.stems[1]["bass"])
    if target == "vocals":
        assert arrays.vocals is arrays.targets and arrays.accompaniments is arrays.residuals


def rhythm_section(stems):
    return AudioSource((*stems["drums"].paths, *stems["bass"].paths))


@pytest.mark.parametrize("loader", ["musdb18", "dsd100", "folder"])
def test_a_function_may_choose_the_target(data_sets, loader):
    loaders, songs = data_sets
    bunch = loaders[loader](target=rhythm_section, as_arrays=True)
    stems = songs.stems[0]
    assert bunch.target_name == "rhythm_section"
    np.testing.assert_allclose(bunch.targets[0], stems["drums"] + stems["bass"], atol=1e-6)
    np.testing.assert_allclose(bunch.residuals[0], stems["vocals"] + stems["other"], atol=1e-6)
    path = loaders[loader](target=lambda stems: stems["bass"].paths[0], as_arrays=True)
    assert path.target_name == "target"
    np.testing.assert_array_equal(path.targets[0], stems["bass"])
    left = loaders[loader](
        target=lambda stems: AudioSource(stems["bass"].paths, channel_gains=((1.0, 0.0),))
    )
    assert left.residuals == [None, None]  # no sum of the other stems is the rest


@pytest.mark.parametrize("loader", ["musdb18", "dsd100"])
def test_accompaniment_is_everything_but_the_vocals(data_sets, loader):
    loaders, songs = data_sets
    bunch = loaders[loader](target="accompaniment", as_arrays=True)
    np.testing.assert_allclose(bunch.targets[0], songs.accompaniments[0], atol=1e-6)
    np.testing.assert_array_equal(bunch.residuals[0], songs.vocals[0])


@pytest.mark.parametrize("loader", ["musdb18", "dsd100"])
@pytest.mark.parametrize(
    ("target", "error", "message"),
    [
        ("guitar", ValueError, r"no (stem 'guitar'|guitar)"),
        (3, TypeError, "target must be the name of a stem"),
        (lambda stems: None, TypeError, "target of the track .*must return a path"),
        (
            lambda stems: stems["flute"],
            ValueError,
            r"asks for the stem 'flute' of the track 'A|001",
        ),
    ],
)
def test_unknown_targets(data_sets, loader, target, error, message):
    with pytest.raises(error, match=message):
        data_sets[0][loader](target=target)


def test_mir1k(tmp_path):
    samples = noise(800, 2)
    soundfile.write(tmp_path / "amy_1_01.wav", samples, RATE, subtype="FLOAT")
    clips = load_mir1k(tmp_path, target="accompaniment", as_arrays=True)
    np.testing.assert_array_equal(clips.targets[0], samples[:, 0])
    np.testing.assert_array_equal(clips.residuals[0], samples[:, 1])
    assert clips.target_name == "accompaniment" and "vocals" not in clips
    chosen = load_mir1k(tmp_path, target=lambda stems: stems["vocals"], as_arrays=True)
    np.testing.assert_array_equal(chosen.residuals[0], samples[:, 0])
    with pytest.raises(ValueError, match=r"'amy_1_01' has no stem 'drums'.*vocals, accompaniment"):
        load_mir1k(tmp_path, target="drums")


def test_folders(tmp_path):
    for stem in ("vocals", "accompaniment", "drums"):
        path = tmp_path / "song" / f"{stem}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, noise(100, seed=len(stem)), RATE, subtype="FLOAT")
    # The accompaniment holds the drums, so the mixture does not count them twice.
    songs = load_folder(tmp_path, target="drums", as_arrays=True)
    np.testing.assert_array_equal(songs.targets[0], noise(100, seed=5))
    mixture = noise(100, seed=6) + noise(100, seed=13)
    np.testing.assert_allclose(songs.mixtures[0], mixture, atol=1e-7)
    np.testing.assert_allclose(songs.residuals[0], mixture - noise(100, seed=5), atol=1e-7)
    assert songs.stems[0].keys() == {"vocals", "accompaniment"}
    (tmp_path / "song" / "vocals.wav").unlink()
    with pytest.raises(ValueError, match="has no vocals among"):
        load_folder(tmp_path, target="drums")
    (tmp_path / "song" / "accompaniment.wav").rename(tmp_path / "song" / "mixture.wav")
    songs = load_folder(tmp_path, target="drums")
    assert songs.residuals == [None] and songs.stems == [{}]
    with pytest.raises(ValueError, match=r"has no bass among its files \(drums.wav, mixture.wav\)"):
        load_folder(tmp_path, target="bass")


# Synthetic songs.


@pytest.mark.parametrize("n_channels", [1, 2])
def test_synthetic_stems_add_up(n_channels):
    songs = make_songs(5, 1.0, n_channels=n_channels, sample_rate=RATE, random_state=1)
    for mixture, vocals, band, stems in zip(
        songs.mixtures, songs.vocals, songs.accompaniments, songs.stems, strict=True
    ):
        assert tuple(stems) == STEMS
        assert stems["vocals"] is vocals
        assert {part.shape for part in stems.values()} == {mixture.shape}
        assert {part.dtype for part in stems.values()} == {np.dtype(np.float32)}
        np.testing.assert_allclose(sum(stems.values()), mixture, atol=1e-6)
        np.testing.assert_allclose(sum(stems.values()) - vocals, band, atol=1e-6)
        assert all(stems[stem].any() for stem in ("vocals", "bass", "other"))


def test_synthetic_stems_sound_as_their_names_say():
    songs = make_songs(8, 3.0, sample_rate=RATE, random_state=0)
    centroids = {stem: [] for stem in STEMS}
    for stems in songs.stems:
        for stem, samples in stems.items():
            power = np.abs(np.fft.rfft(samples)) ** 2
            if power.sum():
                centroids[stem].append(np.average(np.fft.rfftfreq(samples.size), weights=power))
    bass, drums, other = (np.median(centroids[stem]) * RATE for stem in ("bass", "drums", "other"))
    assert bass < 150 and bass < drums and bass < other


def test_splits_take_the_stems_along(songs):
    for part in train_val_test_split(songs, random_state=0):
        assert len(part.stems) == len(part.mixtures) < 6
        for mixture, stems in zip(part.mixtures, part.stems, strict=True):
            np.testing.assert_allclose(sum(stems.values()), mixture, atol=1e-6)


# Names.


@pytest.mark.parametrize("target", ["vocals", "drums", "lead vocals"])
def test_messages_name_the_target(songs, target):
    builder = MaskBuilder(target=target)
    batch = MelChunker(sample_rate=RATE).transform(songs.mixtures)
    with pytest.raises(ValueError, match=rf"needs the {target} .*fit\(mixtures, {target}\)"):
        builder.fit_transform(batch)
    silence = [np.zeros_like(mixture) for mixture in songs.mixtures]
    silent = builder.fit_transform(batch, silence)
    for separator in (small(DeepClusteringSeparator), NMFSeparator()):
        with pytest.raises(ValueError, match=rf"the {target} of all"):
            separator.fit(silent)
    assert silent[0].targets.stem == target


def test_no_message_speaks_of_vocals_if_the_target_is_another(songs):
    bass = [stems["bass"] for stems in songs.stems]
    pipe = four_steps(mask__target="bass")
    for bad in (
        None,
        bass[:-1],
        [part[:-1] for part in bass],
        [np.stack([part] * 2) for part in bass],
        [np.full_like(part, np.nan) for part in bass],
    ):
        with pytest.raises(ValueError) as raised:
            pipe.fit(songs.mixtures, bad)
        assert "vocal" not in str(raised.value), raised.value


@pytest.mark.parametrize(
    ("bad", "error"),
    [(None, TypeError), (3, TypeError), ("", ValueError), ("../x", ValueError), ("a ", ValueError)],
)
def test_bad_names_of_targets(songs, bad, error):
    with pytest.raises(error, match="target must"):
        four_steps(mask__target=bad).fit(songs.mixtures, songs.vocals)


def test_the_name_is_saved_with_the_model(songs, tmp_path):
    drums = [stems["drums"] for stems in songs.stems]
    pipe = four_steps(mask__target="drums").fit(songs.mixtures, drums)
    sksep.save(pipe, tmp_path / "drums.safetensors")
    assert sksep.load(tmp_path / "drums.safetensors")["mask"].target == "drums"
    assert sksep.load_pretrained("small-v1")["mask"].target == "vocals"  # older than the parameter


def test_an_oracle_of_each_stem_is_better_than_the_mixture(songs):
    from sksep.metrics import sdr_score

    for stem in STEMS:
        true = [stems[stem] for stems in songs.stems]
        pipe = four_steps(separate=OracleMaskSeparator(), invert__n_iter=0, chunk__n_mels=64)
        pipe.set_params(mask__target=stem)
        estimates = pipe.fit(songs.mixtures, true).predict(songs.mixtures)
        assert sdr_score(true, estimates) > sdr_score(true, songs.mixtures) + 3.0
