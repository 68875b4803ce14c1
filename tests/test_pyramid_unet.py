"""The pyramid of U-Nets: its levels, the connections between them, and learning."""

import copy
import itertools

import pytest
import torch
from helpers import assert_gradients, features
from torch.nn import functional

from sksep.nn.mask_estimator import autocast
from sksep.nn.pyramid_unet import PyramidUNet
from sksep.nn.unet import UNet

SKIPS = ["concatenate", "add"]


def make(seed=0, **parameters):
    torch.manual_seed(seed)
    return PyramidUNet(**{"n_filters": 2, "n_levels": 3, "depth": 3, "dropout": 0.0, **parameters})


@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize(("n_levels", "depth"), [(1, 1), (1, 4), (2, 1), (2, 4), (3, 2), (4, 4)])
@pytest.mark.parametrize("size", [(32, 32), (31, 33), (17, 1), (1, 19), (1, 1), (5, 129)])
def test_any_size_trains_and_every_level_has_its_logits(skip, n_levels, depth, size):
    network = make(n_levels=n_levels, depth=depth, out_channels=2, skip=skip)
    inputs = features(1, 3, *size)
    for mode in (True, False):
        with torch.no_grad():
            logits = network.train(mode)(inputs)
        assert isinstance(logits, tuple) and len(logits) == n_levels
        assert all(each.shape == (1, 2, *size) for each in logits)
        assert all(each.isfinite().all() for each in logits)


def test_one_level_is_a_unet():
    unet = UNet(in_channels=3, n_filters=4, n_levels=3)
    network = make(n_filters=4, n_levels=1)
    network.heads[0].load_state_dict(unet.head.state_dict())
    weights = {k: v for k, v in unet.state_dict().items() if not k.startswith("head.")}
    network.bodies[0].load_state_dict(weights)
    inputs = features(2, 3, 21, 30)
    (logits,) = network.eval()(inputs)
    assert torch.equal(logits, unet.eval()(inputs))
    assert len(network.state_dict()) == len(unet.state_dict())


def test_parameter_counts():
    def count(network):
        return sum(parameter.numel() for parameter in network.parameters())

    def double(before, after):  # two convolutions without bias, two normalizations
        return 9 * before * after + 9 * after * after + 4 * after

    def body(depth, heard, joined):  # times the width for encoder and decoder
        widths = [16 * 2**level for level in range(depth + 1)]
        down = double(3, 16) + sum(double(heard * a, b) for a, b in itertools.pairwise(widths))
        return down + sum(
            double(joined * a, a) + 4 * b * a + a for a, b in itertools.pairwise(widths)
        )

    head = 16 + 1
    for skip, joined in (("concatenate", 2), ("add", 1)):
        fusion = 4 * 16 * 16 + 16 + 9 * joined * 16 * 16 + 2 * 16
        refining = body(4, joined, joined) + fusion + head
        two_levels = refining + body(3, 1, joined) + head
        assert count(PyramidUNet(skip=skip)) == two_levels
        # Levels below the finest one cost half of the last and widest layers of the depth.
        three_levels = refining + body(3, joined, joined) + fusion + head
        three_levels += body(2, 1, joined) + head
        assert count(PyramidUNet(n_levels=3, skip=skip)) == three_levels


def test_levels_end_at_the_same_resolution():
    assert [body.n_levels for body in make(n_levels=3, depth=4).bodies] == [4, 3, 2]
    assert [body.n_levels for body in make(n_levels=4, depth=2).bodies] == [2, 1, 1, 1]
    network = make(n_levels=3, depth=3)
    shapes = []
    for body in network.bodies:
        body.bottom.register_forward_hook(lambda _, __, output: shapes.append(output.shape[2:]))
    network(features(2, 3, 32, 16))
    assert shapes == [(4, 2)] * 3


@pytest.mark.parametrize("skip", SKIPS)
@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_gradients_reach_every_parameter(skip, dropout):
    network = make(n_filters=4, dropout=dropout, skip=skip).train()
    sum(logits.square().mean() for logits in network(features(4, 3, 24, 40))).backward()
    assert_gradients(network)


@pytest.mark.parametrize("skip", SKIPS)
def test_the_finest_logits_train_all_levels_but_the_other_heads(skip):
    network = make(n_filters=4, skip=skip).train()
    network(features(4, 3, 24, 40))[0].square().mean().backward()
    for name, parameter in network.named_parameters():
        of_another_head = name.startswith(("heads.1", "heads.2"))
        assert (parameter.grad is None) == of_another_head, name


def test_coarse_levels_do_not_hear_finer_ones():
    network = make(n_filters=4).train()
    network(features(4, 3, 24, 40))[1].square().mean().backward()
    trained = [any(p.grad is not None for p in body.parameters()) for body in network.bodies]
    assert trained == [False, True, True]


@pytest.mark.parametrize("skip", SKIPS)
def test_skips_hand_over_what_the_coarser_level_decoded(skip):
    fine, coarse = make(n_filters=4, n_levels=2, skip=skip).eval().bodies
    handed = [part.detach().requires_grad_() for part in coarse.decode(features(1, 3, 16, 16))]
    assert [tuple(part.shape[1:]) for part in handed] == [(4, 16, 16), (8, 8, 8), (16, 4, 4)]
    fine.decode(features(1, 3, 32, 32), handed)[0].sum().backward()
    assert all(part.grad.abs().max() > 0 for part in handed)


@pytest.mark.parametrize("skip", SKIPS)
def test_fusion_hands_over_the_final_features(skip):
    network = make(n_filters=4, n_levels=2, skip=skip).eval()
    inputs = features(1, 3, 32, 32)
    expected = network(inputs)
    network.upsamplers[0].register_forward_hook(lambda _, __, output: output + 1.0)
    finest, coarse = network(inputs)
    assert (finest - expected[0]).abs().max() > 0.01
    assert torch.equal(coarse, expected[1])


def test_coarse_levels_hear_averages():
    # Opposite neighbors cancel, so below the finest level there is silence.
    network = make(n_levels=2, depth=2).eval()
    sign = (-1.0) ** torch.arange(32)
    inputs = (sign[:, None] * sign[None, :]).expand(1, 3, 32, 32)
    silence = network(torch.zeros(1, 3, 32, 32))
    torch.testing.assert_close(network(inputs)[1], silence[1])
    assert not torch.equal(network(inputs)[0], silence[0])


def test_coarse_logits_are_interpolated():
    network = make(n_levels=2, depth=2).eval()
    heard = []
    network.heads[1].register_forward_hook(lambda _, __, output: heard.append(output))
    logits = network(features(1, 3, 32, 24))[1]
    (coarse,) = heard
    assert coarse.shape == (1, 1, 16, 12)
    torch.testing.assert_close(
        logits, functional.interpolate(coarse, size=(32, 24), mode="bilinear")
    )


@pytest.mark.parametrize("skip", SKIPS)
def test_every_input_reaches_the_finest_output(skip):
    network = make(n_filters=4, skip=skip).eval()
    inputs = features(1, 3, 30, 21).requires_grad_()
    network(inputs)[0].sum().backward()
    assert (inputs.grad != 0).all()


@pytest.mark.parametrize("skip", SKIPS)
def test_channels_last_gives_the_same_logits(skip):
    network = make(n_filters=4, skip=skip).eval()
    inputs = features(2, 3, 33, 50)
    expected = network(inputs)
    network = network.to(memory_format=torch.channels_last)
    logits = network(inputs.to(memory_format=torch.channels_last))
    for one, two in zip(logits, expected, strict=True):
        torch.testing.assert_close(one, two, atol=1e-5, rtol=1e-4)


def test_evaluation_is_deterministic_and_training_drops_out():
    network = make(n_filters=4, dropout=0.5)
    inputs = features(2, 3, 32, 32)
    network.train()
    torch.manual_seed(0)
    first, second = network(inputs), network(inputs)
    assert all(not torch.equal(one, two) for one, two in zip(first, second, strict=True))
    network.eval()
    before = copy.deepcopy(network.state_dict())
    first, second, alone = network(inputs), network(inputs), network(inputs[:1])
    assert all(torch.equal(one, two) for one, two in zip(first, second, strict=True))
    # The output for an excerpt does not depend on the others of its batch.
    for one, two in zip(first, alone, strict=True):
        torch.testing.assert_close(one[:1], two, atol=1e-5, rtol=1e-4)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_the_seed_decides_the_weights():
    weights = [make(seed=seed).state_dict() for seed in (0, 0, 1)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert any(not torch.equal(weights[0][name], weights[2][name]) for name in weights[0])


def test_bfloat16_is_close_to_float32():
    network = make(n_filters=4).eval()
    inputs = features(2, 3, 32, 32)
    with torch.no_grad():
        expected = network(inputs)
        with autocast(torch.device("cpu"), torch.bfloat16):
            logits = network(inputs)
    for one, two in zip(logits, expected, strict=True):
        assert (torch.sigmoid(one.float()) - torch.sigmoid(two)).abs().max() < 0.03


@pytest.mark.cuda
def test_cuda_gives_the_same_logits():
    network = make(n_filters=4).eval()
    inputs = features(2, 3, 33, 50)
    expected = network(inputs)
    network = network.to("cuda", memory_format=torch.channels_last)
    logits = network(inputs.to("cuda", memory_format=torch.channels_last))
    for one, two in zip(logits, expected, strict=True):
        torch.testing.assert_close(
            torch.sigmoid(one).cpu(), torch.sigmoid(two), atol=5e-3, rtol=0.0
        )


@pytest.mark.parametrize("skip", SKIPS)
def test_a_loss_per_level_teaches_every_level(skip):
    # The stripes have two bands. Half of the resolution shows only some of them.
    starts = torch.randint(4, (4, 1, 1, 1), generator=torch.Generator().manual_seed(0))
    masks = ((torch.arange(32) + starts) % 4 < 2).float().expand(-1, -1, 16, -1)
    inputs = (masks - 0.5 + 0.1 * features(4, 1, 16, 32)).expand(-1, 3, -1, -1)
    network = make(n_filters=4, n_levels=2, depth=2, skip=skip)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.03)
    for _ in range(30):
        optimizer.zero_grad()
        losses = [
            functional.binary_cross_entropy_with_logits(logits, masks) for logits in network(inputs)
        ]
        sum(losses).backward()
        optimizer.step()
    finest, coarse = (loss.item() for loss in losses)
    assert finest < 0.25 < coarse < 0.55


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"n_levels": 0}, ValueError, "n_levels must be at least 1"),
        ({"n_levels": 1.5}, TypeError, "n_levels must be an integer"),
        ({"depth": 0}, ValueError, "depth must be at least 1"),
        ({"skip": "sum"}, ValueError, "skip must be one of 'concatenate', 'add'"),
        ({"skip": None, "n_levels": 1}, ValueError, "skip must be one of"),
    ],
)
def test_bad_options_are_refused(parameters, error, message):
    with pytest.raises(error, match=message):
        make(**parameters)
