"""Losses of mask logits against training excerpts; all are means over the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sksep.nn.excerpts import Excerpts

# Share of the energy of the mixture below which errors do not count (30 dB), so that nearly solved
# or silent excerpts do not rule the batch.
_ENERGY_FLOOR = 1e-3

LossFunction = Callable[[Tensor, Excerpts], Tensor]


def binary_cross_entropy(logits: Tensor, excerpts: Excerpts) -> Tensor:
    """Cross-entropy of the estimated mask against the proportion mask (the report's loss)."""
    return functional.binary_cross_entropy_with_logits(logits, excerpts.proportion_mask)


def masked_magnitude(logits: Tensor, excerpts: Excerpts) -> Tensor:
    """L1 distance of masked and true vocal magnitudes per band, over the mean mixture magnitude.

    The loss of Jansson et al. (2017), made independent of the level.
    """
    mixture = excerpts.mixture_power.sqrt()
    error = torch.sigmoid(logits) * mixture - excerpts.vocal_power.sqrt()
    level = mixture.mean(dim=(1, 2)).clamp_min(1e-8)
    return (error.abs().mean(dim=(1, 2)) / level).mean()


def negative_snr(logits: Tensor, excerpts: Excerpts) -> Tensor:
    """Negative signal-to-noise ratio in dB of the inverted waveform, limited to 30 dB.

    An excerpt without vocals asks for silence: the energy floor stands in for the vocals.
    """
    estimate, vocals = excerpts.invert(torch.sigmoid(logits))
    floor = _energy_floor(excerpts)
    noise = (estimate - vocals).square().sum(dim=1)
    signal = vocals.square().sum(dim=1)
    return (10.0 * torch.log10((noise + floor) / (signal + floor))).mean()


def negative_si_sdr(logits: Tensor, excerpts: Excerpts) -> Tensor:
    """Negative scale-invariant SDR in dB of the inverted waveform, limited to 30 dB.

    References
    ----------
    J. Le Roux et al., "SDR - half-baked or well done?", ICASSP 2019.
    """
    estimate, vocals = excerpts.invert(torch.sigmoid(logits))
    floor = _energy_floor(excerpts)
    energy = vocals.square().sum(dim=1)
    scale = (estimate * vocals).sum(dim=1) / (energy + floor)
    target = scale[:, None] * vocals
    noise = (estimate - target).square().sum(dim=1)
    return (10.0 * torch.log10((noise + floor) / (target.square().sum(dim=1) + floor))).mean()


LOSSES: dict[str, LossFunction] = {
    "bce": binary_cross_entropy,
    "l1": masked_magnitude,
    "snr": negative_snr,
    "si_sdr": negative_si_sdr,
}


class Loss(nn.Module):
    """A loss function as the module that a training loop wants."""

    def __init__(self, function: Callable[[Any, Excerpts], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, output: Any, excerpts: Excerpts) -> Tensor:
        """Scalar loss of what a network returned, logits (batch, n_frames, n_bands) of a U-Net."""
        return scalar(self.function(output, excerpts))


def scalar(loss: Any) -> Tensor:
    """What a loss function returned, checked."""
    if not isinstance(loss, Tensor) or loss.ndim != 0:
        raise ValueError(
            "The loss must return a scalar tensor; it got mask logits (batch, n_frames, n_bands) "
            "and the Excerpts that they belong to."
        )
    return loss


def _energy_floor(excerpts: Excerpts) -> Tensor:
    return _ENERGY_FLOOR * excerpts.mixture.square().sum(dim=1) + 1e-8
