"""Floors, ceilings and classical methods: their results and their gains."""

from __future__ import annotations

import librosa
import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.decomposition import non_negative_factorization

import sksep
from sksep import (
    HPSSSeparator,
    MaskBuilder,
    MelChunker,
    MixtureSeparator,
    NMFSeparator,
    OracleMaskSeparator,
    RepetSimSeparator,
    RobustPCASeparator,
)
from sksep.audio._resampling import to_mono
from sksep.base._inversion import Inversion, invert
from sksep.datasets import load_mir1k, make_songs
from sksep.metrics import bss_eval, sdr
from sksep.separators import _hpss
from sksep.separators._hpss import hpss_vocals
from sksep.separators._nmf import with_context, without_context
from sksep.separators._repet_sim import similar_frames
from sksep.separators._robust_pca import _shrink_singular_values, robust_pca
from sksep.separators._spectral_masks import (
    band_power,
    high_pass_gains,
    magnitudes,
    time_blocks,
)

SAMPLE_RATE = 16000
BLIND = [HPSSSeparator(), RepetSimSeparator(), NMFSeparator(n_components=10, random_state=0)]
BLIND += [RobustPCASeparator()]
KINDS = ["ratio", "magnitude_ratio", "binary", "phase_sensitive"]


def chunker(**parameters):
    sizes = {"sample_rate": SAMPLE_RATE, "n_fft": 1024, "hop_length": 256, "n_mels": 96}
    return MelChunker(n_frames=32, **{**sizes, **parameters})


@pytest.fixture(scope="module")
def songs():
    return make_songs(3, 3.0, sample_rate=SAMPLE_RATE, random_state=0)


@pytest.fixture(scope="module")
def batch(songs):
    return chunker().fit_transform(songs.mixtures)


@pytest.fixture(scope="module")
def known(songs, batch):
    """The batch with targets."""
    return MaskBuilder().fit_transform(batch, songs.vocals)


@pytest.fixture(scope="module")
def training():
    songs = make_songs(3, 3.0, sample_rate=SAMPLE_RATE, random_state=1)
    return MaskBuilder().fit_transform(chunker().fit_transform(songs.mixtures), songs.vocals)


def gains(estimates, songs):
    pairs = zip(estimates, songs.vocals, songs.mixtures, strict=True)
    return np.array([sdr(true, found) - sdr(true, mixed) for found, true, mixed in pairs])


def name_of(value):
    return type(value).__name__


@pytest.fixture(scope="module")
def blind_gains(songs, batch):
    """Gains of the classical methods, which are given no truth, by name."""
    return {
        name_of(separator): gains(clone(separator).fit(batch).predict(batch), songs)
        for separator in BLIND
    }


# Gains.


def test_mixture_is_returned(songs, batch):
    separator = MixtureSeparator().fit(batch)
    for mask, estimate, mixture in zip(
        separator.predict_mask(batch), separator.predict(batch), songs.mixtures, strict=True
    ):
        assert (mask == 1.0).all()
        np.testing.assert_allclose(estimate, mixture, atol=1e-5)


@pytest.mark.parametrize("separator", BLIND, ids=name_of)
def test_gain_on_songs(blind_gains, separator):
    """Without any truth, the gain is more than 1 dB on average and never negative."""
    found = blind_gains[name_of(separator)]
    assert found.mean() > 1.0
    assert found.min() > 0.0


def test_gain_of_learned_dictionaries(songs, batch, training):
    separator = NMFSeparator(n_components=20, random_state=0).fit(training)
    found = gains(separator.predict(batch), songs)
    assert found.mean() > 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_oracle_beats_everything(songs, batch, known, blind_gains, kind):
    ceiling = gains(OracleMaskSeparator(kind).fit(known).predict(batch), songs)
    for found in blind_gains.values():
        # For each track this holds only for the mask that is made for the SDR.
        assert ceiling.mean() > found.mean()
        assert kind != "phase_sensitive" or (ceiling > found).all()


def test_gain_on_recordings(data_home):
    clips = load_mir1k(data_home / "mir1k", subset="train")
    indices = np.flatnonzero(clips.groups == "abjones")[::20]
    mixtures, vocals = (
        [to_mono(sksep.load_audio(tracks[i])[0])[: 5 * SAMPLE_RATE] for i in indices]
        for tracks in (clips.mixtures, clips.vocals)
    )
    batch = MelChunker(n_fft=2048, hop_length=512, n_mels=128).fit_transform(mixtures)
    for separator in BLIND:
        found = []
        for estimate, mixed, sung in zip(
            clone(separator).fit(batch).predict(batch), mixtures, vocals, strict=True
        ):
            references = np.stack([sung, mixed - sung])
            separated = bss_eval(references, np.stack([estimate, mixed - estimate])).sdr[0]
            found.append(separated - bss_eval(references, np.stack([mixed, mixed])).sdr[0])
        assert np.mean(found) > 2.0, separator


# Properties of all.


@pytest.mark.parametrize("separator", [MixtureSeparator(), *BLIND], ids=name_of)
def test_vocals_and_accompaniment_add_up(batch, songs, separator):
    """The complementary mask extracts the rest of the mixture."""
    record = batch[0]
    mask = clone(separator).fit(batch).predict_mask(batch)[0]
    parts = [invert(record.with_mask(share), Inversion()) for share in (mask, 1.0 - mask)]
    np.testing.assert_allclose(parts[0] + parts[1], songs.mixtures[0], atol=1e-5)


@pytest.mark.parametrize("separator", [MixtureSeparator(), *BLIND], ids=name_of)
@pytest.mark.parametrize("n_mels", [96, None], ids=["mel", "linear"])
def test_odd_tracks(separator, n_mels):
    rng = np.random.default_rng(0)
    lengths = [1, 2, 255, 256, 257, 1025, 3000]
    tracks = [rng.normal(0.0, 0.1, length).astype(np.float32) for length in lengths]
    tracks += [np.zeros(length, np.float32) for length in (1, 3000)]
    tracks += [np.pad(np.ones(1, np.float32), 1500), np.full(3000, 1e-4, np.float32)]
    inputs = chunker(n_mels=n_mels).fit_transform(tracks)
    fitted = clone(separator).fit(inputs)
    for mask, estimate, track in zip(
        fitted.predict_mask(inputs), fitted.predict(inputs), tracks, strict=True
    ):
        assert np.isfinite(mask).all()
        assert mask.min() >= 0.0
        assert mask.max() <= 1.0
        assert track.any() or not estimate.any()


@pytest.mark.parametrize("separator", BLIND, ids=name_of)
def test_nothing_below_the_high_pass(batch, separator):
    filtered = clone(separator).set_params(high_pass=1000.0).fit(batch)
    gain = high_pass_gains(batch[0].front_end, 1000.0)
    (mask,) = filtered.predict_mask(batch[:1])
    assert not mask[:, gain == 0.0].any()
    unfiltered = clone(separator).set_params(high_pass=0.0).fit(batch).predict_mask(batch[:1])[0]
    if not isinstance(separator, NMFSeparator):  # the mask that guides it is filtered, too
        np.testing.assert_allclose(mask, unfiltered * gain, atol=1e-6)


@pytest.mark.parametrize("separator", BLIND, ids=name_of)
def test_louder_is_the_same(songs, separator):
    """Masks do not depend on the level."""
    batches = [chunker().fit_transform([gain * songs.mixtures[0]]) for gain in (0.5, 1.0)]
    quiet, loud = (clone(separator).fit(batch).predict_mask(batch)[0] for batch in batches)
    # In some bins rounding errors change the decision.
    assert np.mean(np.abs(quiet - loud)) < 1e-3


@pytest.mark.parametrize("separator", BLIND[1:], ids=name_of)
def test_long_tracks_are_cut_into_blocks(batch, separator):
    duration = len(batch[0].spectrogram) * 256 / SAMPLE_RATE / 2
    whole, cut = (
        clone(separator).set_params(block_duration=seconds).fit(batch).predict_mask(batch[:1])[0]
        for seconds in (30.0, duration)
    )
    assert cut.shape == whole.shape
    assert not np.array_equal(cut, whole)


@pytest.mark.parametrize("separator", [MixtureSeparator(), OracleMaskSeparator(), *BLIND])
def test_other_front_ends_are_refused(songs, known, separator):
    fitted = clone(separator).fit(known)
    other = chunker(n_mels=40).fit_transform(songs.mixtures)
    with pytest.raises(ValueError, match=r"X\[0\] was chunked with other MelChunker settings"):
        fitted.predict(other)
    # The overlap of the chunks does not matter.
    fitted.predict_mask(chunker(overlap=0.5).fit_transform(songs.mixtures[:1]))


@pytest.mark.parametrize(
    ("separator", "parameters", "error"),
    [
        (OracleMaskSeparator, {"kind": "soft"}, ValueError),
        (HPSSSeparator, {"long_window": 0.0}, ValueError),
        (HPSSSeparator, {"short_window": -1.0}, ValueError),
        (HPSSSeparator, {"long_kernel": 17}, TypeError),
        (HPSSSeparator, {"long_kernel": (17, 0)}, ValueError),
        (HPSSSeparator, {"short_kernel": (1.5, 3)}, TypeError),
        (HPSSSeparator, {"power": 0.0}, ValueError),
        (HPSSSeparator, {"high_pass": -1.0}, ValueError),
        (RepetSimSeparator, {"neighbor_share": 0.0}, ValueError),
        (RepetSimSeparator, {"neighbor_share": 1.5}, ValueError),
        (RepetSimSeparator, {"min_gap": -0.1}, ValueError),
        (RepetSimSeparator, {"margin": 0}, ValueError),
        (RepetSimSeparator, {"power": "2"}, TypeError),
        (RepetSimSeparator, {"block_duration": 0.0}, ValueError),
        (NMFSeparator, {"n_components": 0}, ValueError),
        (NMFSeparator, {"n_context_frames": 2.0}, TypeError),
        (NMFSeparator, {"max_iter": 0}, ValueError),
        (NMFSeparator, {"n_training_frames": None}, TypeError),
        (NMFSeparator, {"high_pass": np.nan}, ValueError),
        (NMFSeparator, {"block_duration": np.inf}, ValueError),
        (RobustPCASeparator, {"sparsity": 0.0}, ValueError),
        (RobustPCASeparator, {"mask": "hard"}, ValueError),
        (RobustPCASeparator, {"max_iter": 1.5}, TypeError),
        (RobustPCASeparator, {"tol": -1.0}, ValueError),
    ],
)
def test_bad_parameters(known, separator, parameters, error):
    (name,) = parameters
    with pytest.raises(error, match=name):
        separator(**parameters).fit(known)
    # Parameters that are set after fit are checked when predicting.
    fitted = separator().set_params(**({"n_components": 2} if separator is NMFSeparator else {}))
    fitted.fit(known).set_params(**parameters)
    with pytest.raises(error, match=name):
        fitted.predict_mask(known[:1])


@pytest.mark.parametrize(("n_frames", "block"), [(1, 10.0), (10, 10.0), (11, 10.0), (7, 0.2)])
def test_time_blocks(n_frames, block):
    blocks = time_blocks(n_frames, block)
    frames = np.concatenate([np.arange(part.start, part.stop) for part in blocks])
    assert frames.tolist() == list(range(n_frames))
    assert max(part.stop - part.start for part in blocks) <= max(1.0, block)


# The oracle.


def test_oracle_masks(known):
    targets = known[0].targets
    expected = {"ratio": targets.proportion_mask, "binary": targets.binary_mask}
    for kind, mask in expected.items():
        found = OracleMaskSeparator(kind).fit(known).predict_mask(known)[0]
        np.testing.assert_allclose(found, mask, atol=1e-5)
    vocals = band_power(targets.vocals, targets.front_end).sqrt().numpy()
    rest = band_power(targets.mixture - targets.vocals, targets.front_end).sqrt().numpy()
    found = OracleMaskSeparator("magnitude_ratio").fit(known).predict_mask(known)[0]
    np.testing.assert_allclose(found, vocals / (vocals + rest), atol=1e-5)


def test_phase_sensitive_mask(songs, monkeypatch):
    """In linear bins, it is the ratio of magnitudes times the cosine of the phase difference."""
    linear = chunker(n_mels=None)
    inputs = MaskBuilder().fit_transform(linear.fit_transform(songs.mixtures), songs.vocals)
    mixed, sung = (
        librosa.stft(tracks[0], n_fft=1024, hop_length=256, pad_mode="constant").T
        for tracks in (songs.mixtures, songs.vocals)
    )
    expected = np.clip((sung / mixed).real, 0.0, 1.0)
    oracle = OracleMaskSeparator("phase_sensitive").fit(inputs)
    loud = np.abs(mixed) > 1e-2
    np.testing.assert_allclose(oracle.predict_mask(inputs)[0][loud], expected[loud], atol=1e-3)
    whole = oracle.predict_mask(inputs)[0]
    monkeypatch.setattr(sksep.separators._oracle, "_BLOCK_SECONDS", 0.3)
    np.testing.assert_allclose(oracle.predict_mask(inputs)[0], whole, atol=1e-6)


def test_oracle_knows_tracks_by_content(songs, known):
    oracle = OracleMaskSeparator().fit(known)
    again = chunker().fit_transform([track.copy() for track in songs.mixtures[::-1]])
    for found, expected in zip(
        oracle.predict_mask(again), oracle.predict_mask(known)[::-1], strict=True
    ):
        np.testing.assert_array_equal(found, expected)
    others = chunker().fit_transform([songs.mixtures[0], 0.9 * songs.mixtures[1]])
    with pytest.raises(ValueError, match=r"truth of X\[1\].*their true stems"):
        oracle.predict(others)


def test_oracle_asks_for_the_truth(batch):
    with pytest.raises(ValueError, match=r"no truth of X\[0\].*MaskBuilder"):
        OracleMaskSeparator().fit(batch)


def test_oracle_kind_may_be_set_after_fit(known):
    oracle = OracleMaskSeparator().fit(known).set_params(kind="binary")
    assert set(np.unique(oracle.predict_mask(known)[0])) <= {0.0, 1.0}


@pytest.mark.parametrize("kind", KINDS)
def test_oracle_of_silent_vocals(songs, batch, kind):
    silent = [np.zeros_like(track) for track in songs.vocals]
    oracle = OracleMaskSeparator(kind).fit(MaskBuilder().fit_transform(batch, silent))
    assert not oracle.predict(batch)[0].any()


# HPSS.


def test_hpss_is_that_of_librosa(songs):
    waveform = songs.mixtures[0]

    def part(samples, n_fft, kernel, index):
        hop_length = n_fft // 4
        spectra = librosa.stft(samples, n_fft=n_fft, hop_length=hop_length, pad_mode="constant")
        parts = librosa.decompose.hpss(spectra, kernel_size=kernel)
        return librosa.istft(parts[index], n_fft=n_fft, hop_length=hop_length, length=len(samples))

    expected = part(part(waveform, 8192, (9, 15), 1), 512, (17, 17), 0)
    found = hpss_vocals(waveform, SAMPLE_RATE, windows=(0.512, 0.032), kernels=((9, 15), (17, 17)))
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_hpss_blocks_do_not_show(songs, monkeypatch):
    waveform = np.concatenate(songs.mixtures)
    small = {"windows": (0.2, 0.032), "kernels": ((5, 15), (5, 9))}
    whole = hpss_vocals(waveform, SAMPLE_RATE, **small)
    monkeypatch.setattr(_hpss, "_BLOCK_SECONDS", 1.0)
    np.testing.assert_allclose(hpss_vocals(waveform, SAMPLE_RATE, **small), whole, atol=1e-4)


def test_hpss_keeps_what_glides():
    """The gliding tone is kept, but not the held tone and the clicks."""
    time = np.arange(4 * SAMPLE_RATE) / SAMPLE_RATE
    held = 0.3 * np.sin(2 * np.pi * 440.0 * time)
    clicks = np.where(np.arange(len(time)) % 4000 == 0, 0.9, 0.0)
    glide = (0.3 * np.sin(2 * np.pi * (800.0 * time + 60.0 * time**2))).astype(np.float32)
    batch = chunker().fit_transform([(held + clicks + glide).astype(np.float32)])
    estimate = HPSSSeparator().fit(batch).predict(batch)[0]
    assert sdr(glide, estimate) > 10.0


# REPET-SIM.


def test_similar_frames_are_those_of_librosa():
    rng = np.random.default_rng(0)
    frames = rng.uniform(size=(60, 12)).astype(np.float32)
    found = similar_frames(frames, share_of_candidates=6 / 60, candidate_step=1, min_gap=4)
    expected = librosa.segment.recurrence_matrix(
        frames.T, k=5, width=4, metric="cosine", mode="distance", sparse=True
    )
    found, expected = found.toarray() > 0, expected.toarray() > 0
    # librosa does not count the frame itself, and takes any of the nearest without distances.
    assert found.diagonal().all()
    np.testing.assert_array_equal(found & ~np.eye(60, dtype=bool), expected)


def test_candidates_are_spaced():
    frames = np.random.default_rng(0).uniform(size=(50, 6)).astype(np.float32)
    found = similar_frames(frames, share_of_candidates=0.5, candidate_step=4, min_gap=0)
    assert set(found.tocoo().row % 4) == {0}
    assert (np.diff(found.indptr) > 0).all()


def test_repetition_is_accompaniment():
    """A loop is removed, and a sound that occurs once in it stays."""
    rng = np.random.default_rng(0)
    n_samples = 6 * SAMPLE_RATE
    loop = np.tile(rng.normal(0.0, 0.1, SAMPLE_RATE // 2), 12)[:n_samples]
    time = np.arange(n_samples) / SAMPLE_RATE
    sung = 0.5 * np.sin(2 * np.pi * 880.0 * time) * ((time > 2.5) & (time < 3.2))
    batch = chunker().fit_transform([(loop + sung).astype(np.float32)])
    mask = RepetSimSeparator().fit(batch).predict_mask(batch)[0]
    energy = batch[0].spectrogram
    band = energy[int(2.85 * SAMPLE_RATE / 256)].argmax()
    assert mask[int(2.85 * SAMPLE_RATE / 256), band] > 0.6
    assert mask[: int(2.0 * SAMPLE_RATE / 256)].mean() < 0.3


# NMF.


def test_context_and_back():
    rng = np.random.default_rng(0)
    rows, windows = rng.normal(size=(7, 5)), rng.normal(size=(7, 15))
    stacked = with_context(rows, 3)
    np.testing.assert_array_equal(stacked[2], rows[2:5].ravel())
    np.testing.assert_array_equal(stacked[-1], np.concatenate([rows[-1], np.zeros(10)]))
    np.testing.assert_array_equal(with_context(rows, 3, np.array([4, 1])), stacked[[4, 1]])
    assert np.vdot(stacked, windows) == pytest.approx(np.vdot(rows, without_context(windows, 3)))


def test_nmf_mask_is_that_of_sklearn(batch, training):
    separator = NMFSeparator(n_components=6, n_context_frames=1, high_pass=0.0, random_state=0).fit(
        training
    )
    spectra = np.concatenate([separator.vocal_components_, separator.accompaniment_components_])
    assert spectra.shape == (12, 96)
    np.testing.assert_allclose(spectra.sum(axis=1), 1.0, rtol=1e-4)
    activations, *_ = non_negative_factorization(
        magnitudes(batch[0].spectrogram),
        H=spectra,
        n_components=12,
        update_H=False,
        solver="mu",
        beta_loss="kullback-leibler",
        max_iter=50,
        tol=0.0,
    )
    vocals = activations[:, :6] @ spectra[:6]
    expected = vocals / np.maximum(activations @ spectra, 1e-30)
    np.testing.assert_allclose(separator.predict_mask(batch)[0], expected, atol=1e-4)


def test_nmf_separates_known_spectra():
    """The dictionaries separate two tones that never share a band."""
    time = np.arange(3 * SAMPLE_RATE) / SAMPLE_RATE
    sung = (0.3 * np.sin(2 * np.pi * 700.0 * time)).astype(np.float32)
    played = (0.3 * np.sin(2 * np.pi * 2200.0 * time)).astype(np.float32)
    batch = chunker().fit_transform([sung + played])
    known = MaskBuilder().fit_transform(batch, [sung])
    estimate = NMFSeparator(n_components=2, random_state=0).fit(known).predict(batch)[0]
    assert sdr(sung, estimate) > 20.0


def test_nmf_training_frames_are_bounded(training, monkeypatch):
    sizes = []
    factorize = NMFSeparator._factorize

    def record_size(self, frames, seed):
        sizes.append(len(frames))
        return factorize(self, frames, seed)

    monkeypatch.setattr(NMFSeparator, "_factorize", record_size)
    NMFSeparator(n_components=2, n_training_frames=90, random_state=0).fit(training)
    assert sizes == [90, 90]


def test_nmf_without_truth_has_no_dictionary(batch):
    separator = NMFSeparator(n_components=8, random_state=0).fit(batch)
    assert separator.vocal_components_ is None
    assert separator.accompaniment_components_ is None
    np.testing.assert_array_equal(
        separator.predict_mask(batch)[0], separator.predict_mask(batch[:1])[0]
    )


def test_nmf_without_truth_is_saved(batch, tmp_path):
    separator = NMFSeparator(n_components=8, random_state=0).fit(batch)
    sksep.save(separator, tmp_path / "nmf.safetensors")
    restored = sksep.load(tmp_path / "nmf.safetensors")
    assert restored.vocal_components_ is None
    np.testing.assert_array_equal(restored.predict_mask(batch)[0], separator.predict_mask(batch)[0])


@pytest.mark.parametrize("source", ["vocals", "accompaniment"])
def test_nmf_needs_both_sources(songs, batch, training, source):
    separator = NMFSeparator(n_components=4, random_state=0).fit(training)
    before = separator.vocal_components_
    silent = [np.zeros_like(track) for track in songs.mixtures]
    known = MaskBuilder().fit_transform(batch, silent if source == "vocals" else songs.mixtures)
    with pytest.raises(ValueError, match=f"the {source} of all tracks are silent"):
        separator.fit(known)
    assert separator.vocal_components_ is before


def test_nmf_random_states(training):
    def dictionary(random_state):
        return (
            NMFSeparator(n_components=4, random_state=random_state).fit(training).vocal_components_
        )

    np.testing.assert_array_equal(dictionary(0), dictionary(np.random.RandomState(0)))
    assert not np.array_equal(dictionary(0), dictionary(1))


# Robust PCA.


def test_robust_pca_recovers_both_parts():
    rng = np.random.default_rng(0)
    low_rank = rng.normal(size=(120, 4)) @ rng.normal(size=(4, 80))
    sparse = np.where(rng.uniform(size=(120, 80)) < 0.05, rng.normal(0.0, 10.0, (120, 80)), 0.0)
    for matrix_low_rank, matrix_sparse in ((low_rank, sparse), (low_rank.T, sparse.T)):
        found = robust_pca(matrix_low_rank + matrix_sparse, tol=1e-8)
        assert np.linalg.norm(found[0] - matrix_low_rank) < 1e-4 * np.linalg.norm(low_rank)
        assert np.linalg.norm(found[1] - matrix_sparse) < 1e-4 * np.linalg.norm(sparse)
        assert np.linalg.matrix_rank(found[0], tol=1e-3) == 4


@pytest.mark.parametrize("shape", [(30, 12), (12, 30), (1, 5), (5, 1)])
def test_singular_values_are_shrunk(shape):
    matrix = np.random.default_rng(0).normal(size=shape)
    left, values, right = np.linalg.svd(matrix, full_matrices=False)
    for threshold in (0.5, 3.0, 100.0):
        expected = (left * np.maximum(values - threshold, 0.0)) @ right
        np.testing.assert_allclose(_shrink_singular_values(matrix, threshold), expected, atol=1e-10)


def test_robust_pca_of_zeros_and_rank_one():
    assert not any(part.any() for part in robust_pca(np.zeros((4, 3))))
    matrix = np.outer(np.arange(1.0, 40.0), np.ones(30))
    low_rank, sparse = robust_pca(matrix)
    np.testing.assert_allclose(low_rank, matrix, atol=1e-3)
    assert np.abs(sparse).max() < 1e-3


def test_robust_pca_masks(batch):
    binary = RobustPCASeparator(mask="binary", high_pass=0.0).fit(batch).predict_mask(batch)[0]
    soft = RobustPCASeparator(high_pass=0.0).fit(batch).predict_mask(batch)[0]
    assert set(np.unique(binary)) == {0.0, 1.0}
    np.testing.assert_array_equal(binary == 1.0, soft > 0.5)
    dense = RobustPCASeparator(sparsity=0.5).fit(batch).predict_mask(batch)[0]
    assert dense.mean() > soft.mean()


def test_high_pass_gains():
    mel, linear = chunker().fit([np.ones(10)]), chunker(n_mels=None)
    front_end = mel.transform([np.ones(10)])[0].front_end
    gain = high_pass_gains(front_end, 500.0)
    bank = front_end.filter_bank()
    assert isinstance(bank, torch.Tensor)
    centers = ((bank @ torch.linspace(0, SAMPLE_RATE / 2, 513)) / bank.sum(1)).numpy()
    assert not gain[centers < 400.0].any()
    assert (gain[centers > 600.0] == 1.0).all()
    front_end = linear.fit_transform([np.ones(10)])[0].front_end
    np.testing.assert_array_equal(high_pass_gains(front_end, 500.0), np.arange(513) >= 32)
