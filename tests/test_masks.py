"""Masks, compared with plain formulas, and lifted masks, compared with librosa's filters."""

import librosa
import numpy as np
import pytest
import torch

from sksep.nn.masks import bin_weights, binary_mask, lift_matrix, proportion_mask


def powers(seed, silent=0.2):
    generator = np.random.default_rng(seed)
    power = generator.exponential(size=(2, 30, 16)) ** 3
    power[generator.random(power.shape) < silent] = 0.0
    return power.astype(np.float32)


VOCALS, ACCOMPANIMENT = powers(0), powers(1)


@pytest.mark.parametrize(("ratio", "exponent"), [("power", 1.0), ("magnitude", 0.5)])
def test_proportion_mask(ratio, exponent):
    vocals, accompaniment = VOCALS**exponent, ACCOMPANIMENT**exponent
    total = vocals + accompaniment
    expected = np.divide(vocals, total, out=np.zeros_like(total), where=total > 0)
    mask = proportion_mask(torch.tensor(VOCALS), torch.tensor(ACCOMPANIMENT), ratio).numpy()
    np.testing.assert_allclose(mask, expected, rtol=1e-5)
    assert mask.min() == 0.0 and mask.max() == 1.0
    assert (mask[(VOCALS == 0) & (ACCOMPANIMENT == 0)] == 0).all()
    opposite = proportion_mask(torch.tensor(ACCOMPANIMENT), torch.tensor(VOCALS), ratio).numpy()
    np.testing.assert_allclose((mask + opposite)[total > 0], 1.0, rtol=1e-6)


@pytest.mark.parametrize("ratio", ["power", "magnitude"])
def test_proportion_mask_of_very_quiet_and_very_loud_bins(ratio):
    vocals = torch.tensor([[1e-37, 1e30, 1e-30, 0.0]])
    accompaniment = torch.tensor([[1e-37, 1e30, 1.0, 1e-30]])
    mask = proportion_mask(vocals, accompaniment, ratio)
    assert torch.isfinite(mask).all() and (mask >= 0).all() and (mask <= 1).all()
    torch.testing.assert_close(mask[0, :2], torch.tensor([0.5, 0.5]))


def test_binary_mask():
    mask = binary_mask(torch.tensor(VOCALS), torch.tensor(ACCOMPANIMENT)).numpy()
    np.testing.assert_array_equal(mask, VOCALS > ACCOMPANIMENT)
    assert mask.dtype == np.float32
    equal = binary_mask(torch.ones(2, 2), torch.ones(2, 2))
    assert not equal.any()


def test_bin_weights():
    mixture = VOCALS + ACCOMPANIMENT
    magnitude = np.sqrt(mixture)
    mean = magnitude.mean(axis=(-2, -1), keepdims=True)
    weights = bin_weights(torch.tensor(mixture), "magnitude").numpy()
    np.testing.assert_allclose(weights, magnitude / mean, rtol=1e-4)

    loudest = mixture.max(axis=(-2, -1), keepdims=True)
    level = np.clip(60 + 10 * np.log10(np.maximum(mixture, 1e-30) / loudest), 0, None)
    weights = bin_weights(torch.tensor(mixture), "log_magnitude").numpy()
    expected = level / level.mean(axis=(-2, -1), keepdims=True)
    np.testing.assert_allclose(weights, expected, rtol=1e-4, atol=1e-4)

    assert (bin_weights(torch.tensor(mixture), "uniform") == 1).all()


@pytest.mark.parametrize("weighting", ["magnitude", "log_magnitude", "uniform"])
def test_bin_weights_of_silence(weighting):
    mixture = torch.stack([torch.zeros(4, 3), torch.ones(4, 3)])
    assert (bin_weights(mixture, weighting) == 1).all()


def test_unknown_options():
    with pytest.raises(ValueError, match="ratio must be one of"):
        proportion_mask(torch.ones(1, 1), torch.ones(1, 1), "energy")
    with pytest.raises(ValueError, match="weighting must be one of"):
        bin_weights(torch.ones(1, 1), "energy")


# Lifting.

FRONT_ENDS = [
    # sample_rate, n_fft, n_mels, f_min, f_max
    (16000, 1024, 128, 0.0, 8000.0),
    (16000, 2048, 256, 0.0, 8000.0),
    (16000, 1024, 64, 80.0, 6000.0),
    (16000, 512, 128, 0.0, 8000.0),
    (8192, 1024, 40, 0.0, 4096.0),
    (44100, 4096, 128, 20.0, 16000.0),
    (16000, 1024, 3, 0.0, 8000.0),
    (16000, 1024, 1, 0.0, 8000.0),
    (16000, 1024, None, 0.0, 8000.0),
    (16000, 2048, None, 0.0, 8000.0),
]
TARGETS = [(16000, 1024), (16000, 2048), (44100, 2880), (48000, 3072), (8000, 512), (22050, 1500)]


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("front_end", FRONT_ENDS)
def test_lifted_masks_are_weighted_means(front_end, target):
    n_fft, n_mels = front_end[1:3]
    lift = lift_matrix(*front_end, *target).numpy()
    assert lift.shape == (n_fft // 2 + 1 if n_mels is None else n_mels, target[1] // 2 + 1)
    assert lift.dtype == np.float32 and (lift >= 0).all()
    np.testing.assert_allclose(lift.sum(axis=0), 1.0, rtol=1e-5)


@pytest.mark.filterwarnings("ignore:Empty filters")
@pytest.mark.parametrize("front_end", [part for part in FRONT_ENDS if part[2] is not None])
def test_lift_is_the_transposed_filter_bank(front_end):
    sample_rate, n_fft, n_mels, f_min, f_max = front_end
    bank = librosa.filters.mel(sr=sample_rate, n_fft=n_fft, n_mels=n_mels, fmin=f_min, fmax=f_max)
    total = bank.sum(axis=0)
    # At the edges of the range, rounding errors decide whether a bin is covered.
    covered = total > 1e-6 * total.max()
    assert covered.any()
    lift = lift_matrix(*front_end, sample_rate, n_fft).numpy()
    np.testing.assert_allclose(
        lift[:, covered], (bank / np.maximum(total, 1e-30))[:, covered], atol=2e-4
    )


def test_lift_outside_of_the_bands():
    frequencies = np.arange(513) * 16000 / 1024
    lift = lift_matrix(16000, 1024, 64, 200.0, 6000.0, 16000, 1024).numpy()
    below, above = frequencies <= 200.0, frequencies > 6000.0
    assert (lift[0, below] == 1).all() and (lift[1:, below] == 0).all()
    centers = librosa.mel_frequencies(66, fmin=200.0, fmax=6000.0)[1:-1]
    octave = centers >= 3000.0
    assert 0 < octave.sum() < 64
    expected = np.where(octave, 1 / octave.sum(), 0.0)
    np.testing.assert_allclose(
        lift[:, above], np.repeat(expected[:, None], above.sum(), axis=1), rtol=1e-5
    )


@pytest.mark.parametrize("n_mels", [128, None])
def test_lift_above_the_rate_of_the_model(n_mels):
    generator = np.random.default_rng(0)
    n_bands = n_mels or 513
    mask = generator.random(n_bands).astype(np.float32)
    lifted = mask @ lift_matrix(16000, 1024, n_mels, 0.0, 8000.0, 44100, 2880).numpy()
    frequencies = np.arange(1441) * 44100 / 2880
    if n_mels is None:
        centers = np.arange(513) * 16000 / 1024
    else:
        centers = librosa.mel_frequencies(130, fmin=0.0, fmax=8000.0)[1:-1]
    np.testing.assert_allclose(lifted[frequencies > 8000], mask[centers >= 4000].mean(), rtol=1e-4)


@pytest.mark.parametrize("n_mels", [128, None])
@pytest.mark.parametrize("target", [(44100, 2880), (48000, 3072), (8000, 512), (22050, 1500)])
def test_lift_to_another_rate_keeps_frequencies(n_mels, target):
    # A mask that decreases with frequency decreases in the same way on every grid.
    n_bands = n_mels or 513
    edges = librosa.mel_frequencies(130, fmin=0.0, fmax=8000.0)
    centers = edges[1:-1] if n_mels else np.arange(513) * 16000 / 1024
    mask = (1 - centers / 8000).astype(np.float32)
    lifted = mask @ lift_matrix(16000, 1024, n_mels, 0.0, 8000.0, *target).numpy()
    frequencies = np.arange(target[1] // 2 + 1) * target[0] / target[1]
    inside = (frequencies > centers[1]) & (frequencies < centers[-2])
    assert len(mask) == n_bands
    np.testing.assert_allclose(lifted[inside], 1 - frequencies[inside] / 8000, atol=0.02)


def test_linear_bins_on_their_own_grid_stay():
    np.testing.assert_array_equal(lift_matrix(16000, 1024, None, 0, 8000, 16000, 1024), np.eye(513))
    # Every second bin of a grid that is twice as fine has the same frequency.
    lift = lift_matrix(16000, 1024, None, 0, 8000, 16000, 2048).numpy()
    np.testing.assert_allclose(lift[:, ::2], np.eye(513), atol=1e-6)
    np.testing.assert_allclose(lift[10:12, 21], [0.5, 0.5], atol=1e-6)
