"""Losses of mask logits against training excerpts; all are means over the batch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from sksep.nn.excerpts import Excerpts

__all__ = ["binary_cross_entropy", "masked_magnitude", "negative_si_sdr", "negative_snr"]

# Share of the energy of the mixture below which errors do not count (30 dB), so that nearly solved
# or silent excerpts do not dominate the batch.
_ENERGY_FLOOR = 1e-3

LossFunction = Callable[[Tensor, Excerpts], Tensor]


def binary_cross_entropy(logits: Tensor, excerpts: Excerpts) -> Tensor:
    """Cross-entropy of the estimated mask against the proportion mask (the report's loss).

    The mean of ``-(share * log(mask) + (1 - share) * log(1 - mask))`` over the batch, frames and
    bands, where ``mask`` is the sigmoid of the logits and ``share`` is
    ``excerpts.proportion_mask``.

    Parameters
    ----------
    logits : Tensor of shape (batch, n_frames, n_bands)
        Logits whose sigmoid is the mask of the vocals.
    excerpts : Excerpts
        Vocals and accompaniment that the mask belongs to.

    Returns
    -------
    Tensor
        Scalar, not negative, in nats per bin.

    Raises
    ------
    ValueError
        If the logits have another shape than the proportion mask, or ``excerpts.ratio`` is
        unknown.

    Examples
    --------
    >>> import torch
    >>> from sksep.nn.excerpts import Excerpts
    >>> from sksep.nn.front_end import FrontEnd
    >>> from sksep.nn.losses import binary_cross_entropy
    >>> front_end = FrontEnd(
    ...     sample_rate=16000, n_fft=1024, hop_length=128, n_mels=40, n_frames=25, overlap=0.5,
    ...     f_min=30.0, f_max=8000.0,
    ... )
    >>> waveforms = torch.sin(torch.arange(front_end.excerpt_length) * 0.2).expand(2, -1)
    >>> excerpts = Excerpts(waveforms, torch.zeros_like(waveforms), front_end)  # vocals alone
    >>> everything, half = torch.full((2, 25, 40), 20.0), torch.zeros(2, 25, 40)
    >>> for logits in (everything, half):  # masks of one and of one half
    ...     print(f"{binary_cross_entropy(logits, excerpts):.2f}")
    0.00
    0.69
    """
    return functional.binary_cross_entropy_with_logits(logits, excerpts.proportion_mask)


def masked_magnitude(logits: Tensor, excerpts: Excerpts) -> Tensor:
    """L1 distance of masked and true vocal magnitudes per band, over the mean mixture magnitude.

    This is the loss of [1]_, made independent of the level. For each excerpt it is the mean of
    ``abs(mask * mixture - vocals)`` over the frames and bands, divided by the mean of ``mixture``.
    Here ``mask`` is the sigmoid of the logits; ``mixture`` and ``vocals`` are roots of the power
    per band.

    Parameters
    ----------
    logits : Tensor of shape (batch, n_frames, n_bands)
        Logits whose sigmoid is the mask of the vocals.
    excerpts : Excerpts
        Vocals and accompaniment that the mask belongs to.

    Returns
    -------
    Tensor
        Scalar without unit, not negative, the mean over the batch; 1 is as much as the mixture.

    References
    ----------
    .. [1] A. Jansson et al., "Singing voice separation with deep U-Net convolutional networks",
       ISMIR 2017.

    Examples
    --------
    >>> import torch
    >>> from sksep.nn.excerpts import Excerpts
    >>> from sksep.nn.front_end import FrontEnd
    >>> from sksep.nn.losses import masked_magnitude
    >>> front_end = FrontEnd(
    ...     sample_rate=16000, n_fft=1024, hop_length=128, n_mels=40, n_frames=25, overlap=0.5,
    ...     f_min=30.0, f_max=8000.0,
    ... )
    >>> waveforms = torch.sin(torch.arange(front_end.excerpt_length) * 0.2).expand(2, -1)
    >>> excerpts = Excerpts(waveforms, torch.zeros_like(waveforms), front_end)  # vocals alone
    >>> everything, half = torch.full((2, 25, 40), 20.0), torch.zeros(2, 25, 40)
    >>> for logits in (everything, half):  # masks of one and of one half
    ...     print(f"{masked_magnitude(logits, excerpts):.2f}")
    0.00
    0.50
    """
    mixture = excerpts.mixture_power.sqrt()
    error = torch.sigmoid(logits) * mixture - excerpts.vocal_power.sqrt()
    level = mixture.mean(dim=(1, 2)).clamp_min(1e-8)
    return (error.abs().mean(dim=(1, 2)) / level).mean()


def negative_snr(logits: Tensor, excerpts: Excerpts) -> Tensor:
    """Negative signal-to-noise ratio in dB of the inverted waveform, limited to 30 dB.

    For each excerpt it is ``10 * log10((noise + floor) / (signal + floor))``. ``signal`` is the
    energy of the true vocals, ``noise`` that of the estimate minus the true vocals, both of the
    samples of `sksep.nn.excerpts.Excerpts.invert`; ``floor`` is a thousandth of the energy of the
    mixture, so that nearly solved excerpts do not dominate the batch. For an excerpt without
    vocals the best estimate is silence: the floor takes the place of the vocals.

    Parameters
    ----------
    logits : Tensor of shape (batch, n_frames, n_bands)
        Logits whose sigmoid is the mask of the vocals.
    excerpts : Excerpts
        Vocals and accompaniment that the mask belongs to.

    Returns
    -------
    Tensor
        Scalar in dB, the mean over the batch; lower is better.

    See Also
    --------
    negative_si_sdr : The same loss, independent of the level of the estimate.

    Examples
    --------
    >>> import torch
    >>> from sksep.nn.excerpts import Excerpts
    >>> from sksep.nn.front_end import FrontEnd
    >>> from sksep.nn.losses import negative_snr
    >>> front_end = FrontEnd(
    ...     sample_rate=16000, n_fft=1024, hop_length=128, n_mels=40, n_frames=25, overlap=0.5,
    ...     f_min=30.0, f_max=8000.0,
    ... )
    >>> waveforms = torch.sin(torch.arange(front_end.excerpt_length) * 0.2).expand(2, -1)
    >>> excerpts = Excerpts(waveforms, torch.zeros_like(waveforms), front_end)  # vocals alone
    >>> everything, half = torch.full((2, 25, 40), 20.0), torch.zeros(2, 25, 40)
    >>> for logits in (everything, half):  # masks of one and of one half
    ...     print(f"{negative_snr(logits, excerpts):.2f}")
    -28.75
    -6.00
    """
    estimate, vocals = excerpts.invert(torch.sigmoid(logits))
    floor = _energy_floor(excerpts)
    noise = (estimate - vocals).square().sum(dim=1)
    signal = vocals.square().sum(dim=1)
    return (10.0 * torch.log10((noise + floor) / (signal + floor))).mean()


def negative_si_sdr(logits: Tensor, excerpts: Excerpts) -> Tensor:
    """Negative scale-invariant SDR in dB of the inverted waveform, limited to 30 dB.

    It is like `negative_snr`, but the true vocals have the level that fits the estimate best [1]_.
    For each excerpt it is ``10 * log10((noise + floor) / (target + floor))``. ``target`` is the
    energy of the true vocals times ``inner / (signal + floor)``, where ``inner`` is their inner
    product with the estimate and ``signal`` their energy; ``noise`` is the energy of the estimate
    minus those scaled vocals. The floor, a thousandth of the energy of the mixture, is not scaled:
    an estimate near silence has no advantage.

    Parameters
    ----------
    logits : Tensor of shape (batch, n_frames, n_bands)
        Logits whose sigmoid is the mask of the vocals.
    excerpts : Excerpts
        Vocals and accompaniment that the mask belongs to.

    Returns
    -------
    Tensor
        Scalar in dB, the mean over the batch; lower is better.

    References
    ----------
    .. [1] J. Le Roux et al., "SDR - half-baked or well done?", ICASSP 2019.

    Examples
    --------
    >>> import torch
    >>> from sksep.nn.excerpts import Excerpts
    >>> from sksep.nn.front_end import FrontEnd
    >>> from sksep.nn.losses import negative_si_sdr
    >>> front_end = FrontEnd(
    ...     sample_rate=16000, n_fft=1024, hop_length=128, n_mels=40, n_frames=25, overlap=0.5,
    ...     f_min=30.0, f_max=8000.0,
    ... )
    >>> waveforms = torch.sin(torch.arange(front_end.excerpt_length) * 0.2).expand(2, -1)
    >>> excerpts = Excerpts(waveforms, torch.zeros_like(waveforms), front_end)  # vocals alone
    >>> everything, half = torch.full((2, 25, 40), 20.0), torch.zeros(2, 25, 40)
    >>> for logits in (everything, half):  # masks of one and of one half
    ...     print(f"{negative_si_sdr(logits, excerpts):.2f}")
    -28.73
    -22.73
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
    """A loss function as the module that a training loop needs."""

    def __init__(self, function: Callable[[Any, Excerpts], Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, output: Any, excerpts: Excerpts) -> Tensor:
        """Scalar loss of the output of a network, such as logits (batch, n_frames, n_bands)."""
        return scalar(self.function(output, excerpts))


def scalar(loss: Any) -> Tensor:
    """Return the loss if it is a scalar tensor, else raise an error."""
    if not isinstance(loss, Tensor) or loss.ndim != 0:
        raise ValueError(
            "The loss must return a scalar tensor; it got mask logits (batch, n_frames, n_bands) "
            "and the Excerpts that they belong to."
        )
    return loss


def _energy_floor(excerpts: Excerpts) -> Tensor:
    return _ENERGY_FLOOR * excerpts.mixture.square().sum(dim=1) + 1e-8
