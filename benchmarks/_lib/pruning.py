"""A network with fewer decoder filters, made from a larger one by least squares.

Of the outputs of each decoder layer, those are kept that explain the others best, as the next layer
sees them (greedy selection). The layers that remain are fitted anew, from the first to the last: to
give what the large network gives, from what the small one has.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sksep.nn.spectrogram_unet import SpectrogramUNet

_RIDGE = 1e-4  # relative to the mean square of the inputs
_KERNEL = 5


@torch.inference_mode()
def prune(
    large: SpectrogramUNet,
    small: SpectrogramUNet,
    excerpts: list[Tensor],
    n_positions: int,
    rng: np.random.Generator,
) -> None:
    """Give weights to a small network with the encoder of a large one.

    Parameters
    ----------
    large, small : SpectrogramUNet
        Networks in evaluation mode. The small one may take every other frame and fewer bins.
    excerpts : list of Tensor
        Magnitudes (1, n_channels, n_frames, n_bins) for the large network.
    n_positions : int
        Positions of each excerpt that a layer is fitted on.
    rng : numpy.random.Generator
        Source of the positions.
    """
    step = 2 // small.outer_stride
    reduced = [excerpt[:, :, ::step, : small.n_bins] for excerpt in excerpts]
    for level in range(1, 6):
        small.down[level].load_state_dict(large.down[level].state_dict())
    for ours, theirs in zip(small.down_norm, large.down_norm, strict=True):
        ours.load_state_dict(theirs.state_dict())
    small.head.load_state_dict(large.head.state_dict())
    kept = _kept_filters(large, small, excerpts[::2])
    _fit_first(large, small, excerpts, reduced, 4 * n_positions, rng)
    for level, channels in enumerate(kept):
        for name in ("weight", "bias", "running_mean", "running_var"):
            values = getattr(large.up_norm[level], name)[channels]
            getattr(small.up_norm[level], name).copy_(values)
        if level == 0:  # its input is that of the large network
            small.up[0].weight.copy_(large.up[0].weight[:, channels])
            small.up[0].bias.copy_(large.up[0].bias[channels])
            continue
        count = n_positions * (4 if level > 3 else 1)
        fit = _Fit(small.up[level], rng, count)
        for whole, part in zip(excerpts, reduced, strict=True):
            target = _features(large, whole)[f"up {level}"][0, channels]
            inputs = _features(small, part)[f"in {level}"]
            height, width = (
                size * stride
                for size, stride in zip(inputs.shape[2:], small.up[level].stride, strict=True)
            )
            fit.add(inputs, target[:, :: target.shape[1] // height, :width])
        fit.solve()


def _features(network: SpectrogramUNet, magnitudes: Tensor) -> dict[str, Tensor]:
    """Inputs and outputs of layers: "down 0", "in 0", "up 0" and "out 0" to those of the others."""
    found: dict[str, Tensor] = {}

    def keep(name: str, module: torch.nn.Module) -> Any:
        def hook(_module: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            found[name] = output
            if name.startswith("up"):
                found[name.replace("up", "in")] = inputs[0]

        return module.register_forward_hook(hook)

    layers = {"down": network.down, "up": network.up, "out": network.up_norm}
    handles = [
        keep(f"{kind} {level}", module)
        for kind, modules in layers.items()
        for level, module in enumerate(modules)
    ]
    network(magnitudes)
    for handle in handles:
        handle.remove()
    return found


def _kept_filters(
    large: SpectrogramUNet, small: SpectrogramUNet, excerpts: list[Tensor]
) -> list[list[int]]:
    """Filters of each decoder layer that are kept."""
    moments: list[Tensor] = [torch.zeros(())] * 5
    for excerpt in excerpts:
        features = _features(large, excerpt)
        for level in range(5):
            rows = features[f"out {level}"][0].flatten(1).double()
            rows = torch.cat([rows, torch.ones_like(rows[:1])])
            moments[level] = moments[level] + rows @ rows.T
    kept = []
    for level, sums in enumerate(moments):
        covariance = sums[:-1, :-1] - sums[:-1, -1:] @ sums[-1:, :-1] / sums[-1, -1]
        # The inputs of the next layer are the skip connection and these.
        weights = large.up[level + 1].weight[-len(covariance) :].flatten(1).double()
        kept.append(_greedy(covariance, weights @ weights.T, small.up[level].out_channels))
    return [*kept, [0]]


def _greedy(covariance: Tensor, importance: Tensor, count: int) -> list[int]:
    """Indices of variables that leave the least of all of them unexplained."""
    left, chosen = covariance.clone(), []
    for _ in range(count):
        variances = left.diagonal().clamp_min(1e-9 * covariance.diagonal().max())
        gains = torch.einsum("ij,ik,kj->j", left, importance, left) / variances
        gains[chosen] = -1.0
        best = int(gains.argmax())
        chosen.append(best)
        left = left - left[:, best : best + 1] @ left[best : best + 1] / variances[best]
    return sorted(chosen)


def _fit_first(
    large: SpectrogramUNet,
    small: SpectrogramUNet,
    excerpts: list[Tensor],
    reduced: list[Tensor],
    count: int,
    rng: np.random.Generator,
) -> None:
    """Fit the first convolution, which may stride otherwise."""
    convolution = small.down[0]
    equations = _Equations()
    for whole, part in zip(excerpts, reduced, strict=True):
        padded = functional.pad(part, (1, 2, 1, 4 - convolution.stride[0]))
        columns = functional.unfold(padded, _KERNEL, stride=convolution.stride)[0]
        target = _features(large, whole)["down 0"][0][..., : small.n_bins // 2].flatten(1)
        index = rng.permutation(columns.shape[1])[:count]
        equations.add(columns[:, index], target[:, index])
    weights, bias = equations.solve()
    convolution.weight.copy_(weights.T.reshape(convolution.weight.shape))
    convolution.bias.copy_(bias)


class _Fit:
    """Fit of a transposed convolution, one set of equations for each phase of its output."""

    def __init__(
        self, convolution: torch.nn.ConvTranspose2d, rng: np.random.Generator, count: int
    ) -> None:
        self._convolution, self._rng, self._count = convolution, rng, count
        self._phases = [
            (y, x, _Equations())
            for y in range(convolution.stride[0])
            for x in range(convolution.stride[1])
        ]

    def add(self, inputs: Tensor, target: Tensor) -> None:
        """Take an input (1, n_in, height, width) and its output (n_out, ...)."""
        # Neighbours up to two positions away, though only those that a tap reaches are used.
        columns = functional.unfold(inputs, _KERNEL, padding=2)[0]
        index = self._rng.permutation(columns.shape[1])[: self._count]
        columns = columns[:, index].reshape(inputs.shape[1], _KERNEL, _KERNEL, -1)
        for y, x, equations in self._phases:
            rows, places = self._taps(0, y)[1], self._taps(1, x)[1]
            used = columns[:, rows][:, :, places].flatten(0, 2)
            stride = self._convolution.stride
            equations.add(used, target[:, y :: stride[0], x :: stride[1]].flatten(1)[:, index])

    def solve(self) -> None:
        """Set the weights."""
        n_in, n_out = self._convolution.weight.shape[:2]
        biases = []
        for y, x, equations in self._phases:
            weights, bias = equations.solve()
            rows, columns = self._taps(0, y)[0], self._taps(1, x)[0]
            weights = weights.reshape(n_in, len(rows), len(columns), n_out)
            for i, row in enumerate(rows):
                for j, column in enumerate(columns):
                    self._convolution.weight[:, :, row, column] = weights[:, i, j]
            biases.append(bias)
        self._convolution.bias.copy_(torch.stack(biases).mean(dim=0))

    def _taps(self, axis: int, phase: int) -> tuple[list[int], list[int]]:
        """Taps of the kernel that reach a phase, and the places of their inputs, 2 for its own."""
        stride, padding = self._convolution.stride[axis], self._convolution.padding[axis]
        taps = [tap for tap in range(_KERNEL) if (phase + padding - tap) % stride == 0]
        return taps, [2 + (phase + padding - tap) // stride for tap in taps]


class _Equations:
    """Normal equations of a linear fit with a constant."""

    def __init__(self) -> None:
        self._squares: Tensor = torch.zeros(())
        self._products: Tensor = torch.zeros(())

    def add(self, inputs: Tensor, outputs: Tensor) -> None:
        """Take observations in columns."""
        inputs = torch.cat([inputs, torch.ones_like(inputs[:1])])
        self._squares = self._squares + inputs @ inputs.T
        self._products = self._products + inputs @ outputs.T

    def solve(self) -> tuple[Tensor, Tensor]:
        """Weights (n_inputs, n_outputs) and constants."""
        squares = self._squares.double()
        squares = squares + _RIDGE * squares.diagonal().mean() * torch.eye(len(squares)).double()
        solution = torch.linalg.solve(squares, self._products.double()).float()
        return solution[:-1], solution[-1]
