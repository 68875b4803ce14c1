"""The gain of a recording does not matter to what is separated, nor to what is learned."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
import soundfile
import torch
from helpers import levels_of, noise
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

import sksep
from sksep import (
    Augmentation,
    DeepClusteringSeparator,
    HybridClusteringSeparator,
    MaskBuilder,
    MelChunker,
    ModuleSeparator,
    UHNetSeparator,
    UNetSeparator,
)
from sksep.base import TrackBatch
from sksep.datasets import make_songs
from sksep.metrics import sdr
from sksep.nn.levels import LevelNormalizer, chunk_levels
from sksep.nn.unet import UNet
from sksep.training._dataset import ExcerptDataset

# dB. The last one makes integers of 16 bits.
GAINS = (-60.0, -40.0, -20.0, 90.0)
TRAINING = {"max_epochs": 2, "batch_size": 8, "random_state": 0, "device": "cpu"}
TRAINING |= {"validation_fraction": 0.0}
RECURRENT = {"hidden_size": 8, "n_layers": 1, "embedding_dim": 4}
FAMILIES = {
    "u-net": UNetSeparator(n_filters=2, n_levels=2, **TRAINING),
    "uh-net": UHNetSeparator(n_filters=2, depth=2, **RECURRENT, **TRAINING),
    "deep clustering": DeepClusteringSeparator(**RECURRENT, **TRAINING),
    "by chunk": DeepClusteringSeparator(cluster_scope="chunk", **RECURRENT, **TRAINING),
    "hybrid clusters": HybridClusteringSeparator(**RECURRENT, **TRAINING),
    "hybrid mask": HybridClusteringSeparator(output="mask", **RECURRENT, **TRAINING),
    "module": ModuleSeparator(UNet, module_params={"n_filters": 2, "n_levels": 2}, **TRAINING),
}


def chunker():
    return MelChunker(n_fft=512, hop_length=256, n_mels=32, n_frames=32)


@pytest.fixture(scope="module")
def songs():
    return make_songs(3, duration=4.0, random_state=3)


@pytest.fixture(scope="module")
def batch(songs):
    return MaskBuilder().fit_transform(chunker().transform(songs.mixtures), songs.vocals)


@pytest.fixture(scope="module")
def song():
    """Two seconds of a soft beginning, before four seconds."""
    songs = make_songs(1, duration=6.0, random_state=4)
    fade = np.repeat([0.1, 1.0], [32000, 64000])
    return tuple((fade * part[0]).astype(np.float32) for part in (songs.mixtures, songs.vocals))


def quietly(function, *args, **parameters):
    """Call a function that may warn of amplitudes beyond full scale."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*full scale", UserWarning)
        return function(*args, **parameters)


def fit(family, batch):
    return clone(FAMILIES[family]).fit(batch)


def factor_of(gain):
    return np.float32(10.0 ** (gain / 20.0))


@pytest.mark.parametrize("name", ["uhnet", "small-v1", "uhnet-mir1k", "unet-mir1k"])
def test_shipped_models_do_not_hear_the_gain(name, song):
    mixture, vocals = song
    pipeline = sksep.load_pretrained(name, device="cpu")
    assert pipeline["separate"].level_ == pytest.approx(8.0, abs=2.0)
    expected = pipeline.predict([mixture])[0]
    for gain in GAINS:
        estimate = quietly(pipeline.predict, [mixture * factor_of(gain)])[0] / factor_of(gain)
        np.testing.assert_allclose(estimate, expected, atol=2e-4)
        assert sdr(vocals, estimate) == pytest.approx(sdr(vocals, expected), abs=0.05)


@pytest.mark.parametrize("family", FAMILIES)
def test_no_family_hears_the_gain(family, song, batch):
    separator = fit(family, batch)
    mixture, _ = song
    expected = separator.predict_mask(chunker().transform([mixture]))[0]
    assert expected.min() < expected.max()
    for gain in GAINS:
        scaled = quietly(chunker().transform, [mixture * factor_of(gain)])
        mask = separator.predict_mask(scaled)[0]
        # Single bins may change clusters by rounding.
        assert np.mean(np.abs(mask - expected)) < 1e-3


@pytest.mark.parametrize("gain", [0.0, *GAINS])
@pytest.mark.parametrize("family", ["u-net", "hybrid mask"])
def test_streams_are_whole_tracks_at_any_gain(family, gain, song, batch):
    mixture, _ = song
    pipeline = make_pipeline(chunker(), MaskBuilder(), fit(family, batch))
    expected = pipeline.predict([mixture])[0]
    stream = sksep.StreamingSeparator(pipeline)
    blocks = np.array_split(mixture * factor_of(gain), 7)
    vocals = [quietly(stream.process, block).vocals for block in blocks]
    vocals = np.concatenate([*vocals, stream.finish().vocals]) / factor_of(gain)
    np.testing.assert_allclose(vocals, expected, atol=2e-4)
    # Another track begins anew.
    first = quietly(stream.process, mixture).vocals
    again = np.concatenate([first, stream.finish().vocals])
    np.testing.assert_allclose(again, expected, atol=2e-4)


@pytest.mark.parametrize("gain", GAINS)
def test_files_and_activity_do_not_depend_on_the_gain(gain, song, tmp_path):
    mixture, _ = song
    small = sksep.load_pretrained("small-v1", device="cpu")
    soundfile.write(tmp_path / "song.wav", mixture * factor_of(gain), 16000, subtype="FLOAT")
    separated = sksep.separate(tmp_path / "song.wav", small).vocals / factor_of(gain)
    np.testing.assert_allclose(separated, small.predict([mixture])[0], atol=2e-4)
    heard = sksep.vocal_activity(tmp_path / "song.wav", small)
    expected = sksep.vocal_activity(mixture, small)
    assert expected.label == heard.label == "vocal"
    np.testing.assert_allclose(heard.probabilities, expected.probabilities, atol=1e-2)
    np.testing.assert_allclose(heard.intervals, expected.intervals, atol=0.021)


@pytest.mark.parametrize("family", ["u-net", "uh-net", "deep clustering"])
def test_songs_of_different_gains_teach_the_same(family, songs, batch):
    same = fit(family, batch)
    gains = np.float32([1.0, 1e-2, 30.0])
    mixtures, vocals = (
        [part * gain for part, gain in zip(parts, gains, strict=True)]
        for parts in (songs.mixtures, songs.vocals)
    )
    scaled = MaskBuilder().fit_transform(quietly(chunker().transform, mixtures), vocals)
    other = fit(family, scaled)
    # The median of the levels is another, and all that is learned moves with it.
    shift = other.level_ - same.level_
    module, expected = other.net_.module_, same.net_.module_
    torch.testing.assert_close(module.mean - shift, expected.mean, atol=1e-3, rtol=0.0)
    torch.testing.assert_close(module.scale, expected.scale, atol=1e-3, rtol=0.0)
    np.testing.assert_allclose(other.loss_curve_, same.loss_curve_, rtol=1e-3)
    masks = [part.predict_mask(batch[:1])[0] for part in (other, same)]
    assert np.mean(np.abs(masks[0] - masks[1])) < 1e-2


def test_the_level_is_the_median_of_the_loudest_chunks(songs, batch):
    separator = fit("u-net", batch)
    loudest = [levels_of(record.chunks).max() for record in batch]
    assert separator.level_ == pytest.approx(np.median(loudest), abs=1e-3)
    # Silent tracks do not count; further epochs keep the level.
    silence = np.zeros(32000, np.float32)
    further = MaskBuilder().fit_transform(
        chunker().transform([*songs.mixtures, silence, silence, silence, silence]),
        [*songs.vocals, silence, silence, silence, silence],
    )
    level = separator.level_
    assert fit("u-net", further).level_ == level
    louder = MaskBuilder().fit_transform(
        chunker().transform([2.0 * part for part in songs.mixtures]),
        [2.0 * part for part in songs.vocals],
    )
    assert separator.partial_fit(louder).level_ == level


def test_a_given_clustering_network_brings_its_level(songs, batch):
    clustering = fit("hybrid mask", batch)
    half = MaskBuilder().fit_transform(
        chunker().transform([0.5 * part for part in songs.mixtures]),
        [0.5 * part for part in songs.vocals],
    )
    separator = UHNetSeparator(n_filters=2, depth=2, clustering=clustering, **TRAINING).fit(half)
    assert separator.level_ == clustering.level_
    torch.testing.assert_close(separator.net_.module_.mean, clustering.net_.module_.mean)


def test_levels_are_saved_and_files_without_them_load(song, batch, tmp_path):
    separator = fit("u-net", batch)
    sksep.save(separator, tmp_path / "new.safetensors")
    assert sksep.load(tmp_path / "new.safetensors").level_ == separator.level_
    del separator.level_  # as before levels were learned
    sksep.save(separator, tmp_path / "old.safetensors")
    old = sksep.load(tmp_path / "old.safetensors", device="cpu")
    assert old.level_ is None
    record = chunker().transform([song[0]])[0]
    features = torch.tensor(record.chunks[:1])
    with torch.no_grad():
        expected = torch.sigmoid(old.net_.module_(features))[0]
    step = record.front_end.chunk_step
    np.testing.assert_allclose(old.predict_mask([record])[0][:step], expected[:step], atol=1e-5)
    # It is trained further as it was, and saved again.
    assert old.partial_fit(batch).level_ is None
    sksep.save(old, tmp_path / "again.safetensors")
    assert sksep.load(tmp_path / "again.safetensors").level_ is None


def test_training_excerpts_have_the_levels_of_predicting(batch):
    """Items are brought to the level as their chunks are when predicting."""
    levels = [chunk_levels(torch.tensor(record.chunks)) for record in batch]
    normalizers = [LevelNormalizer(-5.0) for _ in batch]
    tracks = TrackBatch(
        replace(record, targets=replace(record.targets, chunk_gains=normalizer.gains(part).numpy()))
        for record, part, normalizer in zip(batch, levels, normalizers, strict=True)
    )
    assert all(record.targets.chunk_is_kept.all() for record in tracks)
    stems, _ = ExcerptDataset(tracks).__getitems__(list(range(sum(map(len, levels)))))
    mixtures = stems.sum(dim=1)
    front_end = batch[0].front_end
    features = 10.0 * front_end.band_power(front_end.spectra(mixtures).abs().square()).log10()
    expected = torch.cat(
        [LevelNormalizer(-5.0).push(torch.tensor(record.chunks)) for record in batch]
    )
    loud = expected > -60.0
    torch.testing.assert_close(features[loud], expected[loud], atol=0.05, rtol=0.0)


def test_moved_excerpts_are_not_louder_than_the_level():
    """An excerpt that reaches into a louder chunk has the gain of that chunk."""
    mixture = noise(40000, seed=1) * np.repeat([1e-2, 1.0], 20000).astype(np.float32)
    tracks = MaskBuilder().fit_transform(chunker().transform([mixture]), [0.5 * mixture])
    levels = chunk_levels(torch.tensor(tracks[0].chunks))
    gains = LevelNormalizer(0.0).gains(levels).numpy()
    record = replace(tracks[0], targets=replace(tracks[0].targets, chunk_gains=gains))
    plain = {"true_pairs": 1.0, "vocal_free": 0.0, "level_range": (0.0, 0.0)}
    for speeds in ((1.0, 1.0), (1.0, 1.4)):
        augmentation = Augmentation(**plain, speed_range=speeds)
        stems, _ = ExcerptDataset([record], augmentation).__getitems__(list(range(200)))
        level = stems.sum(dim=1).square().mean(dim=1).amax().sqrt()
        loudest = mixture[20000:].std() * 10.0 ** (gains[-1] / 20.0)
        assert float(level) < 1.1 * loudest


def test_normalizers_do_not_depend_on_blocks():
    generator = torch.Generator().manual_seed(0)
    chunks = -60.0 + 20.0 * torch.rand(9, 5, 4, generator=generator)
    whole = LevelNormalizer(6.0).push(chunks)
    parts = LevelNormalizer(6.0)
    assert torch.equal(torch.cat([parts.push(part) for part in chunks.split(2)]), whole)
    levels = chunk_levels(whole)
    assert levels[0] == pytest.approx(6.0, abs=1e-4)
    assert levels.max() <= 6.0 + 1e-4
    assert torch.equal(LevelNormalizer(None).push(chunks - 60.0), (chunks - 60.0).clamp_min(-100))


def test_silence_stays_silence(batch):
    silence = torch.full((2, 5, 4), -240.0)
    assert torch.equal(chunk_levels(silence), torch.full((2,), -240.0))
    assert torch.equal(LevelNormalizer(6.0).push(silence), torch.full((2, 5, 4), -100.0))
    # Frames behind the end of a track do not count.
    half = torch.cat([torch.full((1, 3, 4), -30.0), torch.full((1, 2, 4), -240.0)], dim=1)
    assert float(chunk_levels(half)) == pytest.approx(-30.0, abs=1e-4)
    # The gain is limited: -120 dB is 20 dB below what counts as sound.
    assert float(LevelNormalizer(6.0).push(torch.full((1, 5, 4), -120.0)).max()) == pytest.approx(
        -14.0, abs=1e-4
    )
    nothing = np.zeros(32000, np.float32)
    for family in ("u-net", "deep clustering"):
        separator = fit(family, batch)
        assert not separator.predict(chunker().transform([nothing]))[0].any()
    mask = fit("deep clustering", batch).predict_mask(chunker().transform([nothing]))[0]
    assert not mask.any()


def test_dither_is_no_singing():
    dither = noise(64000, level=2.0**-16)
    assert sksep.vocal_activity(dither, "small").label == "instrumental"
