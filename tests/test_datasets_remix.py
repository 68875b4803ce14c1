"""Randomized fusion: pairs, levels, lengths and channels."""

import numpy as np
import pytest
import soundfile

from sksep.datasets import make_songs, remix


@pytest.fixture
def stems():
    rng = np.random.default_rng(0)
    return [rng.uniform(-0.2, 0.2, 400).astype(np.float32) for _ in range(4)]


def test_exact_sums_and_gains(stems):
    mixes = remix(stems, stems[::-1], n_tracks=12, sample_rate=8000, random_state=0)
    assert len(mixes.mixtures) == 12 and mixes.sample_rate == 8000 and mixes.DESCR
    assert np.all((mixes.gains >= -8) & (mixes.gains <= 8)) and np.ptp(mixes.gains) > 4
    for index in range(12):
        vocals, accompaniment = mixes.vocals[index], mixes.accompaniments[index]
        assert vocals.dtype == np.float32
        np.testing.assert_array_equal(mixes.mixtures[index], vocals + accompaniment)
        original = stems[mixes.vocals_indices[index]]
        gain = np.float32(10 ** (mixes.gains[index] / 20))
        np.testing.assert_allclose(vocals, gain * original, rtol=1e-5)
        np.testing.assert_array_equal(
            accompaniment, stems[::-1][mixes.accompaniment_indices[index]]
        )


def test_pairs(stems):
    # Twelve pairs of different songs exist; all are used before any is repeated.
    mixes = remix(stems, stems, n_tracks=30, sample_rate=8000, random_state=0)
    pairs = list(zip(mixes.vocals_indices, mixes.accompaniment_indices, strict=True))
    assert all(row != column for row, column in pairs)
    assert len(set(pairs[:12])) == len(set(pairs[12:24])) == 12
    # With different pools, any pair may occur.
    mixes = remix(stems[:1], stems, n_tracks=4, sample_rate=8000, random_state=0)
    assert sorted(mixes.accompaniment_indices) == [0, 1, 2, 3]
    # There is only one pair.
    mixes = remix(stems[:1], stems[:1], n_tracks=2, sample_rate=8000, random_state=0)
    assert mixes.vocals_indices.tolist() == mixes.accompaniment_indices.tolist() == [0, 0]


def test_random_state(stems):
    first, second, other = (
        remix(stems, stems, n_tracks=3, sample_rate=8000, random_state=state) for state in (1, 1, 2)
    )
    np.testing.assert_array_equal(first.mixtures, second.mixtures)
    assert not np.array_equal(first.mixtures, other.mixtures)


def test_groups(stems):
    mixes = remix(stems, stems, n_tracks=5, sample_rate=8000, groups=["a", "a", "b", "c"])
    assert mixes.groups.tolist() == [["a", "a", "b", "c"][row] for row in mixes.vocals_indices]
    mixes = remix(stems, stems, n_tracks=5, sample_rate=8000)
    np.testing.assert_array_equal(mixes.groups, mixes.vocals_indices)


def test_lengths(stems):
    short, long = stems[0][:150], np.tile(stems[1], 3)
    mixes = remix([short], [long], n_tracks=1, sample_rate=8000, random_state=0)
    assert mixes.mixtures[0].shape == (150,)
    mixes = remix([long], [short], n_tracks=1, sample_rate=8000, random_state=0)
    assert mixes.mixtures[0].shape == (1200,)
    np.testing.assert_array_equal(mixes.accompaniments[0], np.tile(short, 8))
    mixes = remix([short, long], [short, long, long], n_tracks=6, sample_rate=8000, duration=0.05)
    assert {mixture.shape for mixture in mixes.mixtures} == {(400,)}
    padded = mixes.vocals[list(mixes.vocals_indices).index(0)]
    assert np.count_nonzero(padded) == np.count_nonzero(short)


def test_channels(stems):
    mono, stereo = stems[0], np.stack(stems[:2])
    mixes = remix([mono], [stereo], n_tracks=1, sample_rate=8000, gain_range=(0, 0))
    assert mixes.mixtures[0].shape == (2, 400)
    np.testing.assert_array_equal(mixes.vocals[0], [mono, mono])
    mixes = remix([stereo], [mono], n_tracks=1, sample_rate=8000, gain_range=(0, 0))
    assert mixes.mixtures[0].shape == (400,)
    np.testing.assert_allclose(mixes.vocals[0], stereo.mean(axis=0), atol=1e-7)


def test_files_are_resampled(tmp_path, stems):
    soundfile.write(tmp_path / "a.wav", stems[0], 16000)
    mixes = remix([tmp_path / "a.wav"], stems, n_tracks=2, sample_rate=8000, random_state=0)
    assert mixes.mixtures[0].shape == (200,)


def test_loud_mixtures_are_scaled_down():
    songs = make_songs(2, 0.5, random_state=0)
    loud = [sound / np.abs(sound).max() for sound in songs.vocals]
    mixes = remix(loud, loud, n_tracks=2, sample_rate=16000, gain_range=(8, 8), random_state=0)
    for mixture, vocals, accompaniment in zip(
        mixes.mixtures, mixes.vocals, mixes.accompaniments, strict=True
    ):
        assert max(np.abs(part).max() for part in (mixture, vocals, accompaniment)) < 1
        np.testing.assert_array_equal(mixture, vocals + accompaniment)


def test_errors(stems):
    def call(vocals=stems, accompaniments=stems, **changes):
        parameters = {"n_tracks": 2, "sample_rate": 8000} | changes
        remix(vocals, accompaniments, **parameters)

    for name, value in (
        ("n_tracks", 0),
        ("sample_rate", 0),
        ("duration", 0.0),
        ("gain_range", (3, -3)),
        ("gain_range", (0, np.inf)),
        ("groups", ["a"]),
    ):
        with pytest.raises(ValueError, match=name):
            call(**{name: value})
    with pytest.raises(ValueError, match=r"vocals\[1\].*NaN"):
        call(vocals=[stems[0], np.full(4, np.nan)])
    with pytest.raises(ValueError, match="accompaniments holds no tracks"):
        call(accompaniments=[])
