"""The fully convolutional network: its depths, its upsampling, and its blurred boundaries.

Properties that it shares with the U-Nets are tested in test_networks.py.
"""

import copy

import pytest
import torch
from helpers import features
from torch.nn import functional

from sksep.nn.fully_convolutional import FullyConvolutionalNetwork
from sksep.nn.unet import UNet


def make(architecture=FullyConvolutionalNetwork, seed=0, **parameters):
    torch.manual_seed(seed)
    return architecture(**{"n_filters": 4, "n_levels": 4, "dropout": 0.0, **parameters})


@pytest.mark.parametrize(
    ("n_levels", "widths"),
    [(1, [4]), (2, [8]), (3, [16]), (4, [16, 32]), (5, [16, 32, 32]), (6, [16, 32, 32, 32])],
)
def test_scores_come_from_an_eighth_of_the_resolution_and_below(n_levels, widths):
    network = make(n_levels=n_levels, out_channels=2).eval()
    assert [head.in_channels for head in network.heads] == widths
    shapes = []
    for head in network.heads:
        head.register_forward_hook(lambda _, __, output: shapes.append(tuple(output.shape[1:])))
    assert network(features(1, 1, 64, 128)).shape == (1, 2, 64, 128)
    factors = [2**depth for depth in range(min(3, n_levels), n_levels + 1)]
    assert shapes == [(2, 64 // factor, 128 // factor) for factor in factors]


def test_upsampling_begins_as_bilinear_interpolation():
    network = make(n_levels=5, out_channels=2)
    scores = features(1, 2, 6, 7)
    expected = functional.interpolate(scores, scale_factor=2, mode="bilinear")
    assert len(network.upsamplers) == 2
    for upsampler in network.upsamplers:
        inner = (..., slice(1, -1), slice(1, -1))  # edges are padded with zeros, not repeated
        torch.testing.assert_close(upsampler(scores)[inner], expected[inner])


def test_logits_are_sums_of_the_depths():
    network = make(n_levels=5).eval()
    inputs = features(1, 1, 64, 64)
    parts = []
    for index in range(3):
        part = copy.deepcopy(network)
        for other in {0, 1, 2} - {index}:
            torch.nn.init.zeros_(part.heads[other].weight)
            torch.nn.init.zeros_(part.heads[other].bias)
        parts.append(part(inputs))
    torch.testing.assert_close(sum(parts), network(inputs), atol=1e-5, rtol=1e-4)
    assert all(part.std() > 0 for part in parts)


def stripes(period):
    """Binary masks (4, 1, 16, 32) with stripes at random bands, which are `period` / 2 wide."""
    starts = torch.randint(period, (4, 1, 1, 1), generator=torch.Generator().manual_seed(0))
    return ((torch.arange(32) + starts) % period < period // 2).float().expand(-1, -1, 16, -1)


def learned(architecture, masks):
    """Output of a network for a noisy picture of the masks that it was trained on."""
    network = make(architecture, n_levels=3)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.03)
    inputs = masks - 0.5 + 0.1 * features(*masks.shape)
    for _ in range(30):
        optimizer.zero_grad()
        functional.binary_cross_entropy_with_logits(network(inputs), masks).backward()
        optimizer.step()
    with torch.no_grad():
        return torch.sigmoid(network(inputs))


def test_boundaries_are_blurrier_than_those_of_a_unet():
    masks = stripes(period=4)
    sharp, blurred = learned(UNet, masks), learned(FullyConvolutionalNetwork, masks)
    assert (sharp - masks).abs().mean() < 0.1
    # Half of the bins are in the mask, so 0.5 is no better than a guess.
    assert (blurred - masks).abs().mean() > 0.4

    def steepest(estimate):
        return estimate.diff(dim=-1).abs().amax(dim=(1, 2, 3)).mean()

    assert steepest(sharp) > 0.8
    assert steepest(blurred) < 0.2


def test_broad_stripes_are_learned():
    masks = stripes(period=32)
    estimate = learned(FullyConvolutionalNetwork, masks)
    assert ((estimate > 0.5) == (masks > 0.5)).float().mean() > 0.9


def test_short_inputs_train():
    network = make(n_levels=5).train()
    network(features(1, 1, 1, 1)).square().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in network.parameters())
