"""The training data set, which chooses the samples and tracks of each batch."""

import sys

import numpy as np
import pytest
import soundfile
import torch
from helpers import noise
from torch.utils.data import DataLoader

from sksep import MaskBuilder, MelChunker
from sksep.nn.excerpts import Excerpts
from sksep.training import Augmentation
from sksep.training._dataset import ExcerptDataset, keep_batch

RATE = 16000
N_FFT, HOP = 512, 128
PLAIN = {"gain_range": (0.0, 0.0), "level_range": (0.0, 0.0), "vocal_free": 0.0}


def build(mixtures, vocals, n_frames=20, overlap=0.5, **parameters):
    chunker = MelChunker(n_fft=N_FFT, hop_length=HOP, n_mels=24, n_frames=n_frames, overlap=overlap)
    return MaskBuilder(**parameters).fit_transform(chunker.fit_transform(mixtures), vocals)


def build_constant(n_tracks=4, n_samples=9000):
    """Tracks whose vocals are 0.01 (1 + index), and whose accompaniment is the negative of it."""
    levels = [0.01 * (1 + index) for index in range(n_tracks)]
    vocals = [np.full(n_samples, level, np.float32) for level in levels]
    mixtures = [noise(n_samples, seed=9, level=1e-4) for _ in levels]
    accompaniments = [mixture - part for mixture, part in zip(mixtures, vocals, strict=True)]
    return build(mixtures, vocals), vocals, accompaniments


def draw(dataset, count):
    stems, gains = dataset.__getitems__(list(range(count)))
    return stems.numpy(), gains.numpy()


def values(stem):
    """Set of the rounded values of each excerpt, without silence."""
    return [set(np.unique(np.abs(part).round(2))) - {0.0} for part in stem]


# Without augmentation.


@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.75])
def test_items_are_the_chunks_of_the_tracks(overlap):
    vocals = [noise(9000, seed=1), noise(7000, seed=2)]
    mixtures = [part + noise(len(part), seed=3 + len(part)) for part in vocals]
    batch = build(mixtures, vocals, overlap=overlap)
    dataset = ExcerptDataset(batch)
    n_chunks = [len(record.chunks) for record in batch]
    assert len(dataset) == sum(n_chunks)
    index = 0
    for record, n_track_chunks in zip(batch, n_chunks, strict=True):
        for number in range(n_track_chunks):
            stems, gains = dataset[index]
            index += 1
            assert stems.shape == (2, record.front_end.excerpt_length)
            assert torch.equal(gains, torch.ones(2))
            excerpts = Excerpts(stems[:1], stems[1:], record.front_end)
            # Frames that reach beyond the end of the track differ, since a chunk is
            # padded there.
            start = number * record.front_end.chunk_step
            known = max(0, min(20, len(record.spectrogram) - start))
            assert known > 0
            expected = record.chunks[number][:known]
            np.testing.assert_allclose(excerpts.features[0, :known], expected, atol=2e-3)
            mask = record.targets.proportion_mask[start : start + known]
            np.testing.assert_allclose(excerpts.proportion_mask[0, :known], mask, atol=2e-3)


def test_only_kept_chunks_are_items():
    vocals = noise(30000)
    vocals[9000:22000] = 0.0
    mixture = vocals.copy()
    batch = build([mixture], [vocals])
    kept = np.flatnonzero(batch[0].targets.chunk_is_kept)
    assert 0 < len(kept) < len(batch[0].chunks)
    dataset = ExcerptDataset(batch)
    assert len(dataset) == len(kept)
    for index, number in enumerate(kept):
        start = number * 10 * HOP - N_FFT // 2
        stems, _ = dataset[index]
        expected = np.pad(vocals, N_FFT // 2 + 10000)[start + N_FFT // 2 + 10000 :]
        np.testing.assert_array_equal(stems[0], expected[: stems.shape[1]])
        np.testing.assert_allclose(stems[1], 0.0, atol=1e-7)


@pytest.mark.parametrize("n_samples", [1, 300, 2000])
@pytest.mark.parametrize("augmentation", [None, Augmentation(speed_range=(0.5, 2.0))])
def test_short_tracks_are_filled_up_with_silence(n_samples, augmentation):
    vocals = np.full(n_samples, 0.5, np.float32)
    dataset = ExcerptDataset(build([vocals * 2], [vocals]), augmentation)
    stems, gains = dataset[0]
    source_length = 19 * HOP + N_FFT
    if augmentation is not None:
        source_length = augmentation.source_length(source_length)
    assert stems.shape == (2, source_length) and gains.shape == (2,)
    if augmentation is None:
        assert (stems != 0).sum() == 2 * n_samples


def test_items_in_any_order_make_batches():
    batch = build([noise(9000)], [noise(9000, seed=1)])
    dataset = ExcerptDataset(batch)
    stems, gains = dataset.__getitems__([3, 0, 3])
    assert stems.shape == (3, 2, batch[0].front_end.excerpt_length) and gains.shape == (3, 2)
    assert stems.is_contiguous() and stems.dtype == gains.dtype == torch.float32
    for row, index in enumerate([3, 0, 3]):
        assert torch.equal(stems[row], dataset[index][0])
    expected = stems[1].clone()
    stems += 1.0  # the returned state is a copy
    assert torch.equal(dataset[0][0], expected)


# With augmentation.


def test_shapes_and_lengths_with_augmentation():
    batch = build([noise(40000)], [noise(40000, seed=1)])
    length = batch[0].front_end.excerpt_length
    augmentation = Augmentation(speed_range=(0.8, 1.25))
    dataset = ExcerptDataset(batch, augmentation)
    stems, gains = dataset.__getitems__([0] * 7)
    assert stems.shape == (7, 2, augmentation.source_length(length))
    assert gains.shape == (7, 2) and (gains > 0).all()
    assert stems.is_contiguous() and stems.dtype == gains.dtype == torch.float32
    # Excerpts fill the duration of the tracks, unless their number is given.
    assert len(dataset) == pytest.approx(40000 / (20 * HOP), abs=1.5)
    assert len(ExcerptDataset(batch, augmentation, n_excerpts=123)) == 123


def test_gains_are_those_of_the_augmentation():
    batch, _, _ = build_constant()
    pairs = Augmentation(true_pairs=1.0, gain_range=(6.0, 6.0), level_range=(-6.0, -6.0))
    _, gains = draw(ExcerptDataset(batch, pairs), 50)
    np.testing.assert_allclose(gains, 10**-0.3, rtol=1e-5)
    remixed = pairs.set_params(true_pairs=0.0)
    _, gains = draw(ExcerptDataset(batch, remixed), 50)
    np.testing.assert_allclose(gains, [[1.0, 10**-0.3]] * 50, rtol=1e-5)


@pytest.mark.parametrize("true_pairs", [0.0, 0.35, 1.0])
def test_share_of_true_pairs(true_pairs):
    batch, _, _ = build_constant(n_tracks=4)
    dataset = ExcerptDataset(batch, Augmentation(true_pairs=true_pairs, **PLAIN), seed=1)
    stems, _ = draw(dataset, 2000)
    middle = stems[:, :, N_FFT:-N_FFT]
    # Excerpts at the end of a track are shorter, so take the sample that is never zero.
    levels = np.abs(middle).max(axis=2).round(2)
    same = (levels[:, 0] == levels[:, 1]).mean()
    # A quarter of the remixed ones get a part of their own track.
    assert same == pytest.approx(true_pairs + (1 - true_pairs) / 4, abs=0.04)
    for row in range(2):
        tracks, counts = np.unique(levels[:, row], return_counts=True)
        np.testing.assert_allclose(tracks, [0.01, 0.02, 0.03, 0.04])
        np.testing.assert_allclose(counts / 2000, 0.25, atol=0.05)


def test_true_pairs_are_aligned():
    vocals = [noise(9000, seed=seed) for seed in range(3)]
    batch = build([3.0 * part for part in vocals], vocals)
    dataset = ExcerptDataset(batch, Augmentation(true_pairs=1.0, **PLAIN))
    stems, _ = draw(dataset, 200)
    np.testing.assert_allclose(stems[:, 1], 2.0 * stems[:, 0], atol=1e-6)
    # Positions are not those of the chunks.
    assert len(np.unique(stems[:, 0, 1000])) > 100


@pytest.mark.parametrize("vocal_free", [0.0, 0.2, 1.0])
def test_share_of_excerpts_without_vocals(vocal_free):
    batch, _, _ = build_constant()
    augmentation = Augmentation(**{**PLAIN, "vocal_free": vocal_free})
    stems, _ = draw(ExcerptDataset(batch, augmentation), 1000)
    silent = ~stems[:, 0].any(axis=1)
    assert silent.mean() == pytest.approx(vocal_free, abs=0.04)
    assert stems[:, 1].any(axis=1).all()


def test_excerpts_never_read_into_another_track():
    batch, _, _ = build_constant(n_tracks=4, n_samples=9000)
    augmentation = Augmentation(true_pairs=0.5, speed_range=(1.0, 2.0), **PLAIN)
    for dataset in (ExcerptDataset(batch), ExcerptDataset(batch, augmentation)):
        stems, _ = draw(dataset, len(dataset))
        for _ in range(20):
            stems = np.concatenate([stems, draw(dataset, len(dataset))[0]])
        for row in range(2):
            assert all(len(found) == 1 for found in values(stems[:, row]))
    # Yet they come from everywhere in the track, its ends included.
    ramp = np.linspace(0.1, 1.0, 9000, dtype=np.float32)
    dataset = ExcerptDataset(build([2 * ramp], [ramp]), Augmentation(true_pairs=1.0, **PLAIN))
    stems, _ = draw(dataset, 300)
    found = np.unique(stems[:, 0])
    assert set(ramp.tolist()) <= set(found.tolist())


def test_remixed_vocals_sing():
    # Half of the tracks have no vocals, so remixed excerpts take those of the other half.
    vocals = [noise(9000, seed=1), np.zeros(9000, np.float32)]
    batch = build([noise(9000, seed=2), noise(9000, seed=3)], vocals, vocal_free_share=0.5)
    stems, _ = draw(ExcerptDataset(batch, Augmentation(true_pairs=0.0, **PLAIN)), 200)
    assert stems[:, 0].any(axis=1).all()
    stems, _ = draw(ExcerptDataset(batch, Augmentation(true_pairs=1.0, **PLAIN)), 200)
    assert 0.2 < (~stems[:, 0].any(axis=1)).mean() < 0.8


def test_tracks_without_any_vocals_can_be_drawn_from():
    batch = build([noise(9000)], [np.zeros(9000, np.float32)])
    stems, gains = draw(ExcerptDataset(batch, Augmentation(true_pairs=0.0)), 20)
    assert not stems[:, 0].any() and stems[:, 1].any(axis=1).all() and np.isfinite(gains).all()


def test_the_seed_decides_every_draw():
    batch, _, _ = build_constant()
    batches = [draw(ExcerptDataset(batch, Augmentation(), seed=seed), 30) for seed in (0, 0, 1)]
    for first, same, other in zip(*batches, strict=True):
        np.testing.assert_array_equal(first, same)
        assert not np.array_equal(first, other)
    dataset = ExcerptDataset(batch, Augmentation(), seed=0)
    np.testing.assert_array_equal(draw(dataset, 30)[0], batches[0][0])
    assert not np.array_equal(draw(dataset, 30)[0], batches[0][0])  # the next batch is different


def test_global_random_states_are_left_alone():
    batch, _, _ = build_constant()
    before, torch_before = np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002
    draw(ExcerptDataset(batch, Augmentation(), seed=0), 30)
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), torch_before)


# Voices.

VOICES = {**PLAIN, "true_pairs": 0.0}


def frequencies(stems):
    """Frequency of the highest peak of each waveform in Hz."""
    window = np.hanning(stems.shape[-1])
    spectra = np.abs(np.fft.rfft(stems * window, n=2**16))
    return spectra.argmax(axis=-1) * RATE / 2**16


def build_tones(n_samples=60000):
    """Two tracks with a tone of 400 Hz as vocals and another of 1000 Hz as accompaniment."""
    voice, other = (marker(n_samples, frequency) for frequency in (400.0, 1000.0))
    return build([voice + other] * 2, [voice] * 2)


@pytest.mark.parametrize("speed", [0.5, 0.8004, 1.25, 2.0])
def test_the_speed_moves_the_pitch_of_remixed_vocals(speed):
    augmentation = Augmentation(vocals_speed_range=(speed, speed), **VOICES)
    dataset = ExcerptDataset(build_tones(), augmentation)
    stems, _ = draw(dataset, 40)
    assert stems.dtype == np.float32 and stems.shape[2] == dataset.front_end.excerpt_length
    np.testing.assert_allclose(frequencies(stems[:, 0]), 400.0 * speed, rtol=0.01)
    np.testing.assert_allclose(frequencies(stems[:, 1]), 1000.0, rtol=0.01)
    # Half of an excerpt is silent if it lies at the end of a track and is played twice as fast.
    middle = stems[:, 0, 200:-200].std(axis=1)
    assert np.median(middle) == pytest.approx(0.5 / np.sqrt(2), rel=0.02)


@pytest.mark.parametrize("formants", [(1.0, 1.0), (0.8, 1.25)])
@pytest.mark.parametrize("speed", [0.55, 0.8004, 1.25, 1.9])
def test_formants_leave_the_pitch_to_the_speed(speed, formants):
    voice = sum(marker(60000, 210.0 * k) / k for k in range(1, 15))
    other = noise(60000)
    augmentation = Augmentation(vocals_speed_range=(speed, speed), formant_range=formants, **VOICES)
    stems, _ = draw(ExcerptDataset(build([voice + other], [voice]), augmentation), 30)
    spectra = np.abs(np.fft.rfft(stems[:, 0] * np.hanning(stems.shape[2]))) ** 2
    bins = np.fft.rfftfreq(stems.shape[2], 1 / RATE)
    for pitch, share in [(210.0 * speed, 0.98), (210.0, None)]:
        near = np.abs((bins + pitch / 2) % pitch - pitch / 2) < 15.0
        found = np.median(spectra[:, near].sum(axis=1) / spectra.sum(axis=1))
        assert found > share if share else found < 0.6


def test_voices_of_true_pairs_stay():
    batch = build_tones()
    parameters = {**PLAIN, "true_pairs": 0.5}
    plain, _ = draw(ExcerptDataset(batch, Augmentation(**parameters)), 200)
    voices = Augmentation(vocals_speed_range=(1.5, 2.0), **parameters)
    stems, _ = draw(ExcerptDataset(batch, voices), 200)
    # Voices are drawn last, so the first batch has the same excerpts.
    np.testing.assert_array_equal(stems[:, 1], plain[:, 1])
    remixed = frequencies(stems[:, 0]) > 500.0
    assert remixed.mean() == pytest.approx(0.5, abs=0.1)
    np.testing.assert_array_equal(stems[~remixed, 0], plain[~remixed, 0])
    found = frequencies(stems[remixed, 0]) / 400.0
    assert 1.48 < found.min() < 1.55 and 1.95 < found.max() < 2.02
    # So do their formants.
    formants = Augmentation(formant_range=(0.8, 0.9), **parameters)
    stems, _ = draw(ExcerptDataset(batch, formants), 200)
    np.testing.assert_array_equal((stems[:, 0] != plain[:, 0]).any(axis=1), remixed)


def test_formants_stay_or_move_with_the_speed():
    # Noise around 1 kHz has an envelope, but no pitch.
    bands = np.fft.rfftfreq(60000, 1 / RATE)
    shape = np.exp(-0.5 * (np.log(np.maximum(bands, 1.0) / 1000.0) / 0.5) ** 2)
    voice = np.fft.irfft(np.fft.rfft(noise(60000)) * shape).astype(np.float32)
    batch = build([voice + noise(60000, seed=1, level=0.01)], [voice])

    def center(**parameters):
        stems, _ = draw(ExcerptDataset(batch, Augmentation(**VOICES, **parameters)), 100)
        spectra = (np.abs(np.fft.rfft(stems[:, 0])) ** 2).mean(axis=0)
        return float(np.average(np.fft.rfftfreq(stems.shape[2], 1 / RATE), weights=spectra))

    expected = center()
    speed = {"vocals_speed_range": (1.5, 1.5)}
    assert center(**speed) == pytest.approx(1.5 * expected, rel=0.05)
    assert center(**speed, formant_range=(1.0, 1.0)) == pytest.approx(expected, rel=0.07)
    assert center(**speed, formant_range=(1.2, 1.2)) == pytest.approx(1.2 * expected, rel=0.07)
    assert center(formant_range=(0.8, 0.8)) == pytest.approx(0.8 * expected, rel=0.07)


def test_defaults_draw_what_they_drew_without_voices(monkeypatch):
    batch, _, _ = build_constant()
    dataset = ExcerptDataset(batch, Augmentation(), seed=5)
    found = [draw(dataset, 20) for _ in range(3)]
    monkeypatch.setattr(Augmentation, "draw_voices", lambda self, remixed, _: (np.ones(20),) * 2)
    dataset = ExcerptDataset(batch, Augmentation(), seed=5)
    for stems, gains in found:
        again = draw(dataset, 20)
        np.testing.assert_array_equal(again[0], stems)
        np.testing.assert_array_equal(again[1], gains)


def test_voices_of_short_and_silent_tracks():
    voices = {"vocals_speed_range": (0.25, 4.0), "formant_range": (0.25, 4.0)}
    for n_samples in (1, 300, 2000):
        vocals = np.full(n_samples, 0.5, np.float32)
        dataset = ExcerptDataset(build([2 * vocals], [vocals]), Augmentation(**VOICES, **voices))
        stems, _ = draw(dataset, 30)
        assert stems.shape == (30, 2, 19 * HOP + N_FFT) and np.isfinite(stems).all()
    silent = build([noise(9000)], [np.zeros(9000, np.float32)])
    stems, _ = draw(ExcerptDataset(silent, Augmentation(**VOICES, **voices)), 30)
    assert not stems[:, 0].any()


def test_voices_come_from_pools_and_follow_the_seed():
    augmentation = Augmentation(
        vocals_pool=[marker(60000, 500.0)],
        vocals_speed_range=(2.0, 2.0),
        speed_range=(0.9, 1.1),
        formant_range=(0.8, 1.2),
        **VOICES,
    )
    batch = build_tones()
    first, same, other = (
        draw(ExcerptDataset(batch, augmentation, seed=seed), 60)[0] for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)
    found = frequencies(first[:, 0]).round(-1)
    assert set(found) == {800.0, 1000.0}
    # Processes that share a batch read the voices of a single one.
    for index in range(2):
        dataset = ExcerptDataset(batch, augmentation, seed=0)
        dataset.share = (index, 2)
        np.testing.assert_allclose(draw(dataset, 60)[0], first[index::2], atol=1e-6)


# Pools.


def marker(n_samples=20000, frequency=3000.0):
    return (0.5 * np.sin(2 * np.pi * frequency * np.arange(n_samples) / RATE)).astype(np.float32)


def share_of_tone(stem, frequency):
    spectra = np.abs(np.fft.rfft(stem, axis=1)) ** 2
    bins = np.fft.rfftfreq(stem.shape[1], 1 / RATE)
    near = np.abs(bins - frequency) < 100
    return spectra[:, near].sum(axis=1) / spectra.sum(axis=1)


@pytest.mark.parametrize("row", [0, 1])
def test_pools_are_remixed_with(row, tmp_path):
    name = ["vocals_pool", "accompaniment_pool"][row]
    batch = build([noise(20000)], [noise(20000, seed=1)])
    n_own = len(batch[0].chunks)
    for frequency in (3000.0, 5000.0):
        soundfile.write(tmp_path / f"{frequency}.wav", marker(frequency=frequency), RATE)
    paths = [tmp_path / "3000.0.wav", str(tmp_path / "5000.0.wav")]
    for pool in (paths, [marker(), marker(frequency=5000.0)]):
        augmentation = Augmentation(true_pairs=0.2, **{name: pool}, **PLAIN)
        stems, _ = draw(ExcerptDataset(batch, augmentation), 600)
        for frequency in (3000.0, 5000.0):
            share = (share_of_tone(stems[:, row], frequency) > 0.9).mean()
            # All chunks of the pairs and of the two tracks of the pool are equally likely.
            assert share == pytest.approx(0.8 * n_own / (3 * n_own), abs=0.07)
            assert (share_of_tone(stems[:, 1 - row], frequency) < 0.9).all()


def test_pools_do_not_touch_true_pairs():
    batch = build([noise(20000)], [noise(20000, seed=1)])
    augmentation = Augmentation(
        true_pairs=1.0, vocals_pool=[marker()], accompaniment_pool=[marker()], **PLAIN
    )
    stems, _ = draw(ExcerptDataset(batch, augmentation), 100)
    assert (share_of_tone(stems[:, 0], 3000.0) < 0.5).all()
    assert (share_of_tone(stems[:, 1], 3000.0) < 0.5).all()


def test_silence_in_pools_is_left_out():
    pool = marker(40000)
    pool[12000:32000] = 0.0
    batch = build([noise(9000)], [np.zeros(9000, np.float32)])  # all vocals come from the pool
    augmentation = Augmentation(true_pairs=0.0, vocals_pool=[pool], **PLAIN)
    stems, _ = draw(ExcerptDataset(batch, augmentation), 300)
    sounds = (np.abs(stems[:, 0]) > 0.01).mean(axis=1)
    assert (sounds > 0).mean() > 0.8
    for name in ("vocals_pool", "accompaniment_pool"):
        silent = Augmentation(**{name: [np.zeros(9000, np.float32)]})
        with pytest.raises(ValueError, match=f"All tracks of {name} are silent"):
            ExcerptDataset(batch, silent)


def test_pools_may_be_stereo_and_of_any_length():
    batch = build([noise(9000)], [noise(9000, seed=1)])
    pool = [np.stack([marker(), -0.5 * marker()]), marker(400), marker(60000)]
    dataset = ExcerptDataset(batch, Augmentation(true_pairs=0.0, vocals_pool=pool, **PLAIN))
    stems, _ = draw(dataset, 300)
    tones = stems[share_of_tone(stems[:, 0], 3000.0) > 0.9, 0]
    loudest = np.abs(tones).max(axis=1)
    assert (abs(loudest - 0.125) < 0.01).any()  # the mean over the channels
    assert (abs(loudest - 0.5) < 0.01).any() and loudest.max() < 0.51


def test_errors_name_the_track_of_a_pool(tmp_path):
    batch = build([noise(9000)], [noise(9000, seed=1)])
    broken = noise(9000)
    broken[7] = np.nan
    with pytest.raises(ValueError, match=r"vocals_pool\[1\]"):
        ExcerptDataset(batch, Augmentation(vocals_pool=[noise(9000), broken]))
    with pytest.raises((ValueError, FileNotFoundError), match=r"missing\.wav"):
        ExcerptDataset(batch, Augmentation(accompaniment_pool=[tmp_path / "missing.wav"]))


# Loading.


def test_loaders_hand_on_whole_batches():
    batch = build([noise(20000)], [noise(20000, seed=1)])
    dataset = ExcerptDataset(batch)
    loader = DataLoader(dataset, batch_size=4, shuffle=False, collate_fn=keep_batch)
    stems = torch.cat([part for part, _ in loader])
    assert torch.equal(stems, dataset.__getitems__(list(range(len(dataset))))[0])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="forks")
def test_worker_processes_draw_excerpts_of_their_own():
    batch = build([noise(40000)], [noise(40000, seed=1)])
    dataset = ExcerptDataset(batch, Augmentation(true_pairs=1.0, **PLAIN), n_excerpts=4)
    loader = DataLoader(
        dataset,
        batch_size=1,
        collate_fn=keep_batch,
        num_workers=2,
        generator=torch.Generator().manual_seed(0),
        multiprocessing_context="fork",
    )
    first, second = (torch.cat([stems for stems, _ in loader]) for _ in range(2))
    drawn = torch.cat([first, second])[:, 0, 1000]
    assert len(drawn.unique()) == 8
