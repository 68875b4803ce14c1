"""Checks of weights that come from a file, before memory is taken for a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

# Weights of networks that learned something are smaller by many orders of magnitude.
_LARGEST = 1e12
_SMALLEST_SCALE = 1e-3


def check_weights(build: Callable[[], nn.Module], weights: Any, owner: str) -> None:
    """Raise an error if weights are not those of a network, or cannot be of one that was trained.

    Parameters
    ----------
    build : callable
        Returns the module. It is called such that its tensors take no memory.
    weights : dict of str to Tensor
        The weights.
    owner : str
        Name of the separator.

    Raises
    ------
    ValueError
        If names, shapes or types differ, or values are not possible.
    """
    with torch.device("meta"):
        expected = {name: _kind(tensor) for name, tensor in build().state_dict().items()}
    found = dict(weights) if isinstance(weights, dict) else {}
    differing = sorted(
        name
        for name in expected.keys() | found.keys()
        if expected.get(name) != (_kind(found[name]) if name in found else None)
    )
    if differing:
        raise ValueError(
            f"The weights of {owner} do not fit its parameters: {len(differing)} differ in name, "
            f"shape or type, as {differing[0]!r:.200} does. Set the parameters of the network to "
            "those that it was fitted with, or fit again."
        )
    for name, tensor in found.items():
        if not tensor.is_floating_point():
            continue
        lowest, highest = tensor.aminmax()
        smallest = {"scale": _SMALLEST_SCALE, "running_var": 0.0}.get(
            name.rsplit(".", 1)[-1], -_LARGEST
        )
        if not (smallest <= lowest and highest <= _LARGEST):
            raise ValueError(
                f"The weights {name!r:.200} of {owner} reach from {float(lowest):g} to "
                f"{float(highest):g}: the training diverged, or the file is damaged. Train again, "
                "or get the file again."
            )


def _kind(tensor: Any) -> tuple[Any, ...] | None:
    return (tensor.shape, tensor.dtype) if isinstance(tensor, Tensor) else None
