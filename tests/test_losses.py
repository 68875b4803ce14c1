"""Losses, and the spectra and masks of excerpts, from which they are computed."""

import librosa
import numpy as np
import pytest
import torch

from sksep import MaskBuilder, MelChunker, UNetSeparator
from sksep.nn.excerpts import Excerpts
from sksep.nn.front_end import FrontEnd
from sksep.nn.losses import LOSSES, Loss
from sksep.nn.mask_estimator import autocast

SIZE = (512, 128)  # window and hop
WAVEFORM_LOSSES = ["snr", "si_sdr"]


def make_front_end(**settings):
    defaults = {"sample_rate": 16000, "n_fft": 512, "hop_length": 128, "n_mels": 24}
    defaults |= {"n_frames": 20, "overlap": 0.5, "f_min": 0.0, "f_max": 8000.0}
    return FrontEnd(**{**defaults, **settings})


def make_excerpts(batch=3, level=0.1, vocal_level=1.0, front_end=None, **settings):
    front_end = front_end or make_front_end()
    generator = torch.Generator().manual_seed(0)
    stems = torch.randn(2, batch, front_end.excerpt_length, generator=generator) * level
    # A running mean gives the vocals another spectrum.
    vocals = torch.nn.functional.avg_pool1d(stems[0], 9, stride=1, padding=4) * 3.0
    return Excerpts(vocals * vocal_level, stems[1], front_end, **settings)


def logits_of(mask):
    return torch.logit(mask.clamp(1e-7, 1.0 - 1e-7))


def random_logits(excerpts, seed=1):
    return torch.randn(excerpts.features.shape, generator=torch.Generator().manual_seed(seed))


def sigmoid(logits):
    return 1.0 / (1.0 + np.exp(-logits.double().numpy()))


def mel_power(waveforms):
    spectra = librosa.stft(
        waveforms.double().numpy(), n_fft=SIZE[0], hop_length=SIZE[1], center=False
    )
    bank = librosa.filters.mel(sr=16000, n_fft=SIZE[0], n_mels=24, dtype=np.float64)
    return np.swapaxes(bank @ np.abs(spectra) ** 2, 1, 2)


def invert(excerpts, mask):
    """Masked mixture of each excerpt, by weighted overlap-add."""
    n_fft, hop_length = SIZE
    lift = excerpts.front_end.lift_matrix(16000, n_fft).double().numpy()
    mixture = excerpts.mixture.double().numpy()
    window = np.hanning(n_fft + 1)[:-1]
    total, squares = np.zeros_like(mixture), np.zeros_like(mixture)
    for index in range(mask.shape[1]):
        frame = slice(index * hop_length, index * hop_length + n_fft)
        spectra = np.fft.rfft(mixture[:, frame] * window) * (mask[:, index] @ lift)
        total[:, frame] += np.fft.irfft(spectra) * window
        squares[:, frame] += window**2
    inner = slice(n_fft // 2, -n_fft // 2)
    return total[:, inner] / squares[:, inner]


# Excerpts.


@pytest.mark.parametrize("n_mels", [24, None])
def test_features_are_the_frames_of_the_chunker(n_mels):
    waveform = np.random.default_rng(0).normal(0, 0.1, 9000).astype(np.float32)
    batch = MelChunker(n_fft=512, n_mels=n_mels, n_frames=20).fit_transform([waveform])
    front_end = batch[0].front_end
    first = 11
    start = first * 128 - 256  # frame t of a centered transform begins half a window earlier
    part = torch.from_numpy(waveform[start : start + front_end.excerpt_length])
    excerpts = Excerpts(0.3 * part[None], 0.7 * part[None], front_end)
    expected = batch[0].spectrogram[first : first + 20]
    np.testing.assert_allclose(excerpts.features[0], expected, atol=2e-3)


def test_masks_and_weights_equal_those_of_the_mask_builder():
    generator = np.random.default_rng(0)
    vocals, other = generator.normal(0, 0.1, (2, 9000)).astype(np.float32)
    batch = MelChunker(n_fft=512, n_mels=24, n_frames=20).fit_transform([vocals + other])
    for ratio in ("power", "magnitude"):
        targets = MaskBuilder(ratio=ratio).fit_transform(batch, [vocals])[0].targets
        inner = slice(256, 256 + batch[0].front_end.excerpt_length)
        excerpts = Excerpts(
            torch.from_numpy(vocals[None, inner]),
            torch.from_numpy(other[None, inner]),
            batch[0].front_end,
            ratio,
            "uniform",
        )
        mask = targets.proportion_mask[4 : 4 + 20]
        np.testing.assert_allclose(excerpts.proportion_mask[0], mask, atol=1e-3)
        binary = targets.binary_mask[4 : 4 + 20]
        clear = np.abs(mask - 0.5) > 1e-3
        np.testing.assert_array_equal(excerpts.binary_mask[0].numpy()[clear], binary[clear])
        assert torch.equal(excerpts.weights, torch.ones_like(excerpts.weights))
    weights = make_excerpts(weighting="magnitude").weights
    torch.testing.assert_close(weights.mean(dim=(1, 2)), torch.ones(3))


@pytest.mark.parametrize("n_mels", [24, None])
def test_a_mask_of_ones_gives_the_mixture(n_mels):
    excerpts = make_excerpts(front_end=make_front_end(n_mels=n_mels))
    estimate, vocals = excerpts.invert(torch.ones(excerpts.features.shape))
    inner = slice(256, -256)
    torch.testing.assert_close(estimate, excerpts.mixture[:, inner], atol=1e-5, rtol=1e-4)
    assert torch.equal(vocals, excerpts.vocals[:, inner])
    estimate, _ = excerpts.invert(torch.zeros(excerpts.features.shape))
    assert not estimate.any()


def test_inversion_equals_its_formula():
    excerpts = make_excerpts()
    mask = torch.sigmoid(random_logits(excerpts))
    estimate, _ = excerpts.invert(mask)
    np.testing.assert_allclose(estimate, invert(excerpts, mask.double().numpy()), atol=1e-5)


@pytest.mark.filterwarnings("ignore:This processor has no instructions for bfloat16")
def test_features_keep_their_precision_under_autocast():
    separator = UNetSeparator(n_filters=2, n_levels=2, max_epochs=1, precision="bfloat16")
    seen = []

    def loss(logits, excerpts):
        seen.append((logits.dtype, excerpts.features))
        return logits.mean()

    waveform = np.random.default_rng(0).normal(0, 0.1, 9000).astype(np.float32)
    chunks = MelChunker(n_fft=512, n_mels=24, n_frames=20).fit_transform([waveform])
    targets = MaskBuilder().fit_transform(chunks, [waveform / 2])
    separator.set_params(loss=loss, augmentation=False, random_state=0).fit(targets)
    dtype, features = seen[0]
    assert dtype == torch.float32 and features.dtype == torch.float32
    # bfloat16 has only 2 ** 8 steps between -64 and -32 dB.
    assert len(features.unique()) > 0.5 * features.numel()


def test_lifting_works_in_training_after_inference():
    front_end = make_front_end(n_mels=23)
    with torch.inference_mode():
        front_end.lift_matrix(16000, 512)
    excerpts = make_excerpts(front_end=front_end)
    logits = random_logits(excerpts).requires_grad_()
    LOSSES["snr"](logits, excerpts).backward()
    assert logits.grad.abs().max() > 0


# Losses against plain formulas.


def test_cross_entropy_equals_its_formula():
    excerpts = make_excerpts()
    logits = random_logits(excerpts)
    vocals, other = mel_power(excerpts.vocals), mel_power(excerpts.accompaniment)
    target, mask = vocals / (vocals + other), sigmoid(logits)
    expected = -np.mean(target * np.log(mask) + (1 - target) * np.log(1 - mask))
    assert LOSSES["bce"](logits, excerpts).item() == pytest.approx(expected, rel=1e-4)


def test_masked_magnitude_equals_its_formula():
    excerpts = make_excerpts()
    logits = random_logits(excerpts)
    mixture = np.sqrt(mel_power(excerpts.mixture))
    vocals = np.sqrt(mel_power(excerpts.vocals))
    error = np.abs(sigmoid(logits) * mixture - vocals).mean(axis=(1, 2))
    expected = np.mean(error / mixture.mean(axis=(1, 2)))
    assert LOSSES["l1"](logits, excerpts).item() == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("name", WAVEFORM_LOSSES)
def test_waveform_losses_equal_their_formulas(name):
    excerpts = make_excerpts()
    logits = random_logits(excerpts)
    estimate = invert(excerpts, sigmoid(logits))
    vocals = excerpts.vocals[:, 256:-256].double().numpy()
    floor = 1e-3 * np.square(excerpts.mixture.double().numpy()).sum(axis=1) + 1e-8
    if name == "si_sdr":
        scale = (estimate * vocals).sum(axis=1) / (np.square(vocals).sum(axis=1) + floor)
        vocals = scale[:, None] * vocals
    noise = np.square(estimate - vocals).sum(axis=1) + floor
    expected = np.mean(10 * np.log10(noise / (np.square(vocals).sum(axis=1) + floor)))
    assert LOSSES[name](logits, excerpts).item() == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("name", WAVEFORM_LOSSES)
def test_waveform_losses_are_close_to_the_metric(name):
    from sksep.metrics import sdr, si_sdr

    metric = {"snr": sdr, "si_sdr": si_sdr}[name]
    excerpts = make_excerpts(batch=1)
    mask = excerpts.proportion_mask
    estimate, vocals = excerpts.invert(mask)
    # The SNR is not higher, since only BSSEval's SDR allows a short filter between the two.
    loss = LOSSES[name](logits_of(mask), excerpts).item()
    value = float(np.asarray(metric(vocals.numpy(), estimate.numpy())).squeeze())
    if name == "si_sdr":
        assert -loss == pytest.approx(value, abs=0.1)
    else:
        assert -loss <= value + 0.1


# Properties.


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_the_true_mask_is_the_best(name):
    excerpts = make_excerpts()
    best = excerpts.proportion_mask
    if name == "l1":
        best = (excerpts.vocal_power / excerpts.mixture_power).sqrt().clamp_max(1.0)
    loss = LOSSES[name]
    lowest = loss(logits_of(best), excerpts)
    others = [torch.zeros_like(best), torch.ones_like(best), 1 - best, 0.5 * torch.ones_like(best)]
    others += [torch.sigmoid(random_logits(excerpts, seed)) for seed in range(3)]
    for mask in others:
        assert loss(logits_of(mask), excerpts) > lowest


@pytest.mark.parametrize("name", ["bce", "l1"])
def test_the_true_mask_is_a_minimum(name):
    excerpts = make_excerpts()
    best = excerpts.proportion_mask
    if name == "l1":
        best = (excerpts.vocal_power / excerpts.mixture_power).sqrt().clamp_max(1.0)
    lowest = LOSSES[name](logits_of(best), excerpts)
    for seed in range(3):
        nudged = logits_of(best) + 0.1 * random_logits(excerpts, seed)
        assert LOSSES[name](nudged, excerpts) > lowest


def test_vocals_alone_are_separated_to_the_limit():
    excerpts = make_excerpts()
    alone = Excerpts(excerpts.vocals, torch.zeros_like(excerpts.vocals), excerpts.front_end)
    logits = torch.full(alone.features.shape, 20.0)
    for name in WAVEFORM_LOSSES:  # 30 dB below the energy of the mixture
        assert LOSSES[name](logits, alone).item() == pytest.approx(-30.0, abs=1.0)
    assert LOSSES["bce"](logits, alone).item() == pytest.approx(0.0, abs=1e-3)
    assert LOSSES["l1"](logits, alone).item() == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_excerpts_without_vocals_ask_for_silence(name):
    excerpts = make_excerpts(vocal_level=0.0)
    shape = excerpts.features.shape
    silent, half, loud = (
        LOSSES[name](torch.full(shape, value), excerpts) for value in (-20.0, 0.0, 20.0)
    )
    assert silent.isfinite() and silent < half < loud
    assert silent.item() == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize("name", ["l1", *WAVEFORM_LOSSES])
@pytest.mark.parametrize("gain", [0.01, 10.0])
def test_losses_do_not_depend_on_the_level(name, gain):
    excerpts = make_excerpts()
    louder = Excerpts(gain * excerpts.vocals, gain * excerpts.accompaniment, excerpts.front_end)
    logits = random_logits(excerpts)
    expected = LOSSES[name](logits, excerpts).item()
    assert LOSSES[name](logits, louder).item() == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_losses_are_means_over_the_batch(name):
    excerpts = make_excerpts()
    logits = random_logits(excerpts)
    each = [
        LOSSES[name](
            logits[i : i + 1],
            Excerpts(
                excerpts.vocals[i : i + 1], excerpts.accompaniment[i : i + 1], excerpts.front_end
            ),
        ).item()
        for i in range(3)
    ]
    assert LOSSES[name](logits, excerpts).item() == pytest.approx(np.mean(each), rel=1e-4)


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize("stems", ["both", "vocals only", "accompaniment only", "silent", "some"])
@pytest.mark.parametrize("value", [-50.0, 0.0, 50.0])
def test_losses_and_gradients_are_finite(name, stems, value):
    excerpts = make_excerpts()
    vocals, other = excerpts.vocals.clone(), excerpts.accompaniment.clone()
    vocals *= stems in ("both", "vocals only", "some")
    other *= stems in ("both", "accompaniment only", "some")
    if stems == "some":
        vocals[0] = other[0] = 0.0
        other[1, 100:] = 0.0
    excerpts = Excerpts(vocals, other, excerpts.front_end)
    logits = torch.full(excerpts.features.shape, value, requires_grad=True)
    loss = LOSSES[name](logits, excerpts)
    loss.backward()
    assert loss.isfinite() and logits.grad.isfinite().all()


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_gradients_point_downhill(name):
    excerpts = make_excerpts()
    logits = random_logits(excerpts).requires_grad_()
    loss = LOSSES[name](logits, excerpts)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert (gradient != 0).float().mean() > 0.99
    step = 1e-2 * loss.abs() / gradient.square().sum()
    change = LOSSES[name](logits - step * gradient, excerpts) - loss
    assert change.item() == pytest.approx(-(step * gradient.square().sum()).item(), rel=0.2)


def test_losses_are_modules_for_a_training_loop():
    excerpts = make_excerpts()
    logits = random_logits(excerpts)
    module = Loss(lambda estimate, target: (estimate - target.features).abs().mean())
    expected = (logits - excerpts.features).abs().mean()
    assert isinstance(module, torch.nn.Module) and torch.equal(module(logits, excerpts), expected)


def test_autocast_does_nothing_for_float32():
    with autocast(torch.device("cpu"), torch.float32):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == torch.float32


@pytest.mark.cuda
@pytest.mark.parametrize("name", sorted(LOSSES))
def test_losses_on_cuda(name):
    excerpts = make_excerpts()
    logits = random_logits(excerpts)
    moved = Excerpts(excerpts.vocals.cuda(), excerpts.accompaniment.cuda(), excerpts.front_end)
    expected = LOSSES[name](logits, excerpts).item()
    assert LOSSES[name](logits.cuda(), moved).item() == pytest.approx(expected, rel=1e-3, abs=1e-3)
