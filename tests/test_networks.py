"""The networks: shapes, sizes, gradients, memory formats and masks of whole tracks."""

import copy
import itertools
from functools import partial

import numpy as np
import pytest
import torch
from helpers import assert_gradients, features

from sksep.nn.chunks import chunk
from sksep.nn.front_end import FLOOR_DECIBELS, FrontEnd
from sksep.nn.fully_convolutional import FullyConvolutionalNetwork
from sksep.nn.mask_estimator import (
    MaskEstimator,
    _overlapped,
    autocast,
    band_statistics,
    in_batches,
    join_batches,
)
from sksep.nn.singing_voice_unet import SingingVoiceUNet
from sksep.nn.unet import UNet, crop, pad_to_multiple

ARCHITECTURES = [
    UNet,
    pytest.param(partial(UNet, skip="add"), id="UNet-add"),
    SingingVoiceUNet,
    pytest.param(partial(SingingVoiceUNet, skip="add"), id="SingingVoiceUNet-add"),
    FullyConvolutionalNetwork,
]


def make(architecture, seed=0, **parameters):
    torch.manual_seed(seed)
    return architecture(**{"n_filters": 2, "n_levels": 3, "dropout": 0.0, **parameters})


def make_front_end(**settings):
    defaults = {"sample_rate": 16000, "n_fft": 512, "hop_length": 128, "n_mels": 24}
    defaults |= {"n_frames": 20, "overlap": 0.5, "f_min": 0.0, "f_max": 8000.0}
    return FrontEnd(**{**defaults, **settings})


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("n_levels", [1, 2, 4, 6])
@pytest.mark.parametrize("size", [(32, 32), (31, 33), (128, 40), (17, 1), (1, 19), (5, 513)])
def test_logits_have_the_size_of_the_features(architecture, n_levels, size):
    network = make(architecture, n_levels=n_levels).eval()
    with torch.no_grad():
        logits = network(features(2, 1, *size))
    assert logits.shape == (2, 1, *size)
    assert logits.isfinite().all()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_channels_in_and_out(architecture):
    network = make(architecture, in_channels=3, out_channels=2).eval()
    assert network(features(1, 3, 16, 24)).shape == (1, 2, 16, 24)


def test_parameter_counts():
    def count(network):
        return sum(parameter.numel() for parameter in network.parameters())

    def double(before, after):  # two convolutions without bias, two normalizations
        return 9 * before * after + 9 * after * after + 4 * after

    widths = [16, 32, 64, 128, 256]
    down = sum(double(a, b) for a, b in zip([1, *widths], widths, strict=False))
    up = sum(double(2 * a, a) + 4 * b * a + a for a, b in itertools.pairwise(widths))
    assert count(UNet()) == down + up + 16 + 1
    up = sum(double(a, a) + 4 * b * a + a for a, b in itertools.pairwise(widths))
    assert count(UNet(skip="add")) == down + up + 16 + 1

    widths = [16, 32, 64, 128, 256, 512]
    down = sum(25 * a * b + 2 * b for a, b in zip([1, *widths], widths, strict=False))
    # Below the top level the decoder also gets the skip connection.
    inputs = [512, 2 * 256, 2 * 128, 2 * 64, 2 * 32, 2 * 16]
    outputs = [256, 128, 64, 32, 16, 16]
    up = sum(25 * a * b + 2 * b for a, b in zip(inputs, outputs, strict=True))
    assert count(SingingVoiceUNet()) == down + up + 16 + 1
    inputs = [512, 256, 128, 64, 32, 16]
    up = sum(25 * a * b + 2 * b for a, b in zip(inputs, outputs, strict=True))
    assert count(SingingVoiceUNet(skip="add")) == down + up + 16 + 1

    widths = [16, 32, 64, 128, 128]
    down = sum(double(a, b) for a, b in zip([1, *widths], [*widths, 128], strict=True))
    # The scores of the last three depths are doubled twice in resolution.
    scores = 64 + 128 + 128 + 3 + 2 * 16
    assert count(FullyConvolutionalNetwork()) == down + scores


def test_names_of_the_weights_stay_as_saved_models_have_them():
    kinds = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]
    double = [f"{index}.weight" for index in (0, 3)]
    double += [f"{index}.{kind}" for index in (1, 4) for kind in kinds]
    layers = ["encoders.0", "encoders.1", "bottom", "decoders.0", "decoders.1"]
    expected = {f"{layer}.{name}" for layer in layers for name in double}
    affine = ["upsamplers.0", "upsamplers.1", "head"]
    expected |= {f"{layer}.{kind}" for layer in affine for kind in ("weight", "bias")}
    assert set(UNet(n_levels=2).state_dict()) == expected
    assert set(UNet(n_levels=2, skip="add").state_dict()) == expected


@pytest.mark.parametrize("architecture", [UNet, SingingVoiceUNet])
@pytest.mark.parametrize("skip", ["sum", "", None, 1])
def test_unknown_skips_are_refused(architecture, skip):
    with pytest.raises(ValueError, match="skip must be one of 'concatenate', 'add'"):
        make(architecture, skip=skip)


@pytest.mark.parametrize("architecture", [UNet, SingingVoiceUNet])
@pytest.mark.parametrize("skip", ["concatenate", "add"])
def test_skips_carry_what_does_not_pass_the_bottom(architecture, skip):
    network = make(architecture, n_filters=4, skip=skip).eval()
    with torch.no_grad():
        for parameter in network.encoders[-1].parameters():
            parameter.zero_()
        for parameter in getattr(network, "bottom", torch.nn.Identity()).parameters():
            parameter.zero_()
    first, second = network(features(2, 1, 32, 32))
    assert (first - second).abs().max() > 1e-3


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_gradients_reach_every_parameter(architecture, dropout):
    network = make(architecture, n_filters=4, dropout=dropout).train()
    network(features(4, 1, 24, 40)).square().mean().backward()
    assert_gradients(network)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_input_reaches_the_output(architecture):
    network = make(architecture, n_filters=8).eval()
    inputs = features(1, 1, 30, 21).requires_grad_()
    network(inputs).sum().backward()
    assert (inputs.grad != 0).all()


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_channels_last_gives_the_same_logits(architecture):
    network = make(architecture, n_filters=4).eval()
    inputs = features(2, 1, 33, 50)
    expected = network(inputs)
    network = network.to(memory_format=torch.channels_last)
    logits = network(inputs.to(memory_format=torch.channels_last))
    torch.testing.assert_close(logits, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_separating_gives_the_logits_that_gradients_flow_through(architecture):
    network = make(architecture, n_filters=4)
    for seed in range(3):  # the statistics for normalization
        network(3.0 * features(4, 1, 32, 32, seed=seed) + 1.0)
    network.eval()
    inputs = features(2, 1, 33, 50)
    expected = network(inputs)
    with torch.no_grad():
        torch.testing.assert_close(network(inputs), expected, atol=1e-5, rtol=1e-4)
        network.train()
        assert not torch.allclose(network(inputs), expected, atol=1e-2)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_evaluation_is_deterministic_and_training_drops_out(architecture):
    network = make(architecture, n_filters=4, dropout=0.5)
    inputs = features(2, 1, 32, 32)
    network.train()
    torch.manual_seed(0)
    first, second = network(inputs), network(inputs)
    assert not torch.equal(first, second)
    network.eval()
    before = copy.deepcopy(network.state_dict())
    assert torch.equal(network(inputs), network(inputs))
    # The output for an excerpt does not depend on the others of its batch.
    torch.testing.assert_close(network(inputs)[:1], network(inputs[:1]), atol=1e-5, rtol=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_the_seed_decides_the_weights(architecture):
    weights = [make(architecture, seed=seed).state_dict() for seed in (0, 0, 1)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert any(not torch.equal(weights[0][name], weights[2][name]) for name in weights[0])


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_bfloat16_is_close_to_float32(architecture):
    network = make(architecture, n_filters=4).eval()
    inputs = features(2, 1, 32, 32)
    with torch.no_grad():
        expected = torch.sigmoid(network(inputs))
        with autocast(torch.device("cpu"), torch.bfloat16):
            mask = torch.sigmoid(network(inputs).float())
    assert (mask - expected).abs().max() < 0.03


@pytest.mark.cuda
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_cuda_gives_the_same_logits(architecture):
    network = make(architecture, n_filters=4).eval()
    inputs = features(2, 1, 33, 50)
    expected = torch.sigmoid(network(inputs))
    network = network.to("cuda", memory_format=torch.channels_last)
    logits = network(inputs.to("cuda", memory_format=torch.channels_last))
    torch.testing.assert_close(torch.sigmoid(logits).cpu(), expected, atol=5e-3, rtol=0.0)


def test_padding_repeats_the_edge_and_crop_undoes_it():
    inputs = features(1, 2, 5, 7)
    padded, size = pad_to_multiple(inputs, 4)
    assert padded.shape == (1, 2, 8, 8)
    assert torch.equal(crop(padded, size), inputs)
    assert torch.equal(padded[..., :5, 7], inputs[..., 6])
    assert torch.equal(padded[..., 5, :7], inputs[..., 4, :])
    assert pad_to_multiple(inputs, 8)[0].shape == (1, 2, 16, 8)
    same, _ = pad_to_multiple(inputs, 1)
    assert same is inputs


def test_features_are_normalized_per_band():
    mean, scale = torch.tensor([-40.0, -60.0]), torch.tensor([10.0, 2.0])
    estimator = MaskEstimator(torch.nn.Identity(), mean, scale)
    levels = torch.tensor([[[-30.0, -60.0], [-40.0, -64.0]]])
    expected = torch.tensor([[[1.0, 0.0], [0.0, -2.0]]])
    torch.testing.assert_close(estimator(levels), expected)
    assert set(estimator.state_dict()) == {"mean", "scale"}


def test_band_statistics_leave_silence_out():
    levels = features(300, 6) * torch.arange(1.0, 7.0) - 50.0
    silence = torch.full((80, 6), FLOOR_DECIBELS)
    mean, scale = band_statistics([torch.cat([levels[:100], silence]), levels[100:]])
    np.testing.assert_allclose(mean, levels.numpy().mean(axis=0), rtol=1e-5)
    # The least variation counts as one decibel, so that no band is amplified too much.
    expected = np.maximum(levels.numpy().std(axis=0, ddof=1), 1.0)
    np.testing.assert_allclose(scale, expected, rtol=1e-5)
    mean, scale = band_statistics([torch.full((50, 6), -30.0)])
    assert torch.equal(scale, torch.ones(6)) and torch.equal(mean, torch.full((6,), -30.0))
    mean, scale = band_statistics([silence])
    assert mean.isfinite().all() and torch.equal(scale, torch.ones(6))


class Position(torch.nn.Module):
    """Return the features as logits, so that masks are known, and count the calls."""

    def __init__(self):
        super().__init__()
        self.batches = []

    def forward(self, inputs):
        self.batches.append(len(inputs))
        return inputs


def estimate_mask(module, spectrogram, front_end, batch_size):
    step = front_end.chunk_step
    masks = in_batches(
        lambda part: torch.sigmoid(module(part)),
        chunk(spectrogram, front_end.n_frames, step).split(batch_size),
        device=torch.device("cpu"),
    )
    return join_batches(masks, step, len(spectrogram))


@pytest.mark.parametrize("n_total", [1, 19, 20, 21, 57, 100])
@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.8])
def test_masks_of_whole_tracks(n_total, overlap):
    front_end = make_front_end(overlap=overlap)
    spectrogram = features(n_total, 24)
    module = Position()
    mask = estimate_mask(module, spectrogram, front_end, batch_size=3)
    assert mask.shape == (n_total, 24) and mask.dtype == torch.float32
    torch.testing.assert_close(mask, torch.sigmoid(spectrogram))
    n_chunks = len(chunk(spectrogram, front_end.n_frames, front_end.chunk_step))
    assert sum(module.batches) == n_chunks and max(module.batches) <= 3


def test_the_batch_size_does_not_change_masks():
    network = make(UNet).eval()
    module = MaskEstimator(network, torch.zeros(24), torch.ones(24)).eval()
    masks = [
        estimate_mask(module, features(90, 24), make_front_end(), batch_size=size)
        for size in (1, 2, 100)
    ]
    torch.testing.assert_close(masks[0], masks[1], atol=1e-5, rtol=0.0)
    torch.testing.assert_close(masks[0], masks[2], atol=1e-5, rtol=0.0)
    assert all((mask >= 0).all() and (mask <= 1).all() for mask in masks)


# Memory of the device.

CPU = torch.device("cpu")


class Device:
    """A function of features whose memory holds only some chunks. It records its inputs.

    Its results are the features plus a number, which shows the function that made them.
    """

    def __init__(self, fits, offset=0.0):
        self.fits, self.offset, self.sizes = fits, offset, []

    def __call__(self, part):
        self.sizes.append(len(part))
        if len(part) > self.fits:
            raise torch.cuda.OutOfMemoryError("out of memory")
        return part + self.offset


@pytest.mark.parametrize(
    ("n_chunks", "batch_size", "fits", "sizes"),
    [
        (10, 4, 4, [4, 4, 2]),
        (10, 4, 3, [4, 2, 2, 2, 2, 2]),
        (10, 4, 1, [4, 2, 1, *[1] * 9]),
        (10, 5, 2, [5, 2, 2, 1, 2, 2, 1]),
        (7, 100, 2, [7, 3, 1, *[1] * 6]),
        (1, 4, 1, [1]),
    ],
)
def test_batches_that_do_not_fit_are_halved(n_chunks, batch_size, fits, sizes):
    chunks = features(n_chunks, 5, 3)
    function = Device(fits)
    results = list(in_batches(function, chunks.split(batch_size), device=CPU))
    assert torch.equal(torch.cat(results), chunks)
    assert function.sizes == sizes


@pytest.mark.parametrize(
    ("n_chunks", "batch_size", "n_before"), [(10, 4, 0), (10, 4, 3), (3, 1, 1), (1, 8, 0)]
)
def test_chunks_that_do_not_fit_are_computed_on_the_cpu(n_chunks, batch_size, n_before):
    chunks = features(n_chunks, 5, 3)
    device, cpu, made = Device(2), Device(n_chunks, offset=1.0), []

    def shrinking(part):
        if sum(device.sizes) >= n_before:
            device.fits = 0
        return device(part)

    def on_cpu():
        made.append(True)
        return cpu

    results = in_batches(shrinking, chunks.split(batch_size), device=CPU, on_cpu=on_cpu)
    with pytest.warns(UserWarning, match="Not one chunk fits.*set device='cpu'") as warned:
        result = torch.cat(list(results))
    assert len(warned) == len(made) == 1
    # Some are computed on the device, and the rest on the CPU, in their order.
    n_on_cpu = sum(cpu.sizes)
    assert 0 < n_on_cpu <= n_chunks
    assert torch.equal(result[: n_chunks - n_on_cpu], chunks[: n_chunks - n_on_cpu])
    assert torch.equal(result[n_chunks - n_on_cpu :], chunks[n_chunks - n_on_cpu :] + 1.0)


def test_other_errors_pass_through():
    def fails(part):
        raise RuntimeError("out of luck")

    with pytest.raises(RuntimeError, match="out of luck"):
        list(in_batches(fails, [features(4, 5, 3)], device=CPU, on_cpu=lambda: Device(4)))
    # The error is raised if there is no other device, or none that is left.
    with pytest.raises(torch.cuda.OutOfMemoryError):
        list(in_batches(Device(0), [features(4, 5, 3)], device=CPU))
    results = in_batches(Device(0), [features(4, 5, 3)], device=CPU, on_cpu=lambda: Device(0))
    with (
        pytest.warns(UserWarning, match="Not one chunk"),
        pytest.raises(torch.cuda.OutOfMemoryError),
    ):
        list(results)


@pytest.mark.parametrize("n_batches", [0, 1, 2, 5])
def test_results_that_are_copied_keep_their_order(n_batches):
    parts = [features(2, 5, 3) + index for index in range(n_batches)]
    copied = list(_overlapped(iter(parts)))
    assert len(copied) == n_batches
    assert all(torch.equal(one, other) for one, other in zip(copied, parts, strict=True))
