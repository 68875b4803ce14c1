"""Small and fast instances of every public estimator, for the checks.

A new estimator is found through ``__all__``. Its parameters that make it small and fast are taken
from `SMALL` if it has them; further variants go into `VARIANTS`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib.util import find_spec
from typing import Any

import small_peers
import torch
from sklearn.base import BaseEstimator
from sklearn.cluster import KMeans
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import make_pipeline
from skorch.callbacks import EarlyStopping
from torch import nn

from sksep import GriffinLimInverter, HPSSSeparator, MaskBuilder, NMFSeparator, UNetSeparator
from sksep.utils._estimator_checks._case import EstimatorCase, small_chunker, songs

# Values of parameters that make any estimator that has them small, fast and reproducible.
SMALL: dict[str, Any] = {
    "batch_size": 16,
    "depth": 2,
    "device": "cpu",
    "embedding_dim": 3,
    "hidden_size": 4,
    "max_epochs": 1,
    "n_filters": 2,
    "n_layers": 1,
    "n_levels": 2,
    "random_state": 0,
}


class SmallNetwork(nn.Module):
    """A module as users write it: one linear layer over the bands."""

    def __init__(self, n_bands: int) -> None:
        super().__init__()
        self.layer = nn.Linear(n_bands, n_bands)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Return logits in the shape of the features."""
        return self.layer(features)


# Further parameters to check, by class name. An empty dict is the small default.
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "DeepClusteringSeparator": [
        {},
        {"cluster_scope": "chunk", "n_convolutions": 2, "weights": None, "augmentation": False},
        {"loss": "whitened", "cell": "lstm", "clusterer": GaussianMixture(2), "soft_masks": True},
    ],
    "HybridClusteringSeparator": [
        {},
        {"output": "mask", "warm_start": True},
        {"permutation_invariant": True, "clusterer": KMeans(3, n_init=1)},
    ],
    "UHNetSeparator": [
        {},
        {"n_levels": 1, "loss": "snr", "skip": "add", "augmentation": False},
    ],
    "ModuleSeparator": [
        {"module_params": {"n_filters": 2, "n_levels": 2}},
        {"module": SmallNetwork, "loss": "snr", "warm_start": True},
    ],
    "GriffinLimInverter": [{"n_iter": 1}, {"n_iter": 1, "init": "random"}],
    "HPSSSeparator": [{"long_window": 0.5}],
    "MultiTargetSeparator": [
        {
            "estimator": make_pipeline(
                small_chunker(),
                MaskBuilder(),
                UNetSeparator(n_filters=2, n_levels=2, max_epochs=1, device="cpu", random_state=0),
                GriffinLimInverter(n_iter=1),
            ),
            "exponent": 2.0,
        },
        {
            "estimator": make_pipeline(
                small_chunker(),
                MaskBuilder(),
                NMFSeparator(n_components=4, n_training_frames=200, max_iter=10, random_state=0),
            )
        },
    ],
    "NMFSeparator": [
        {"n_components": 4, "n_training_frames": 200, "max_iter": 10},
        {"n_components": 4, "n_context_frames": 1, "max_iter": 5, "block_duration": 0.5},
    ],
    "OracleMaskSeparator": [{}, {"kind": "binary"}, {"kind": "phase_sensitive"}],
    "RepetSimSeparator": [{}, {"block_duration": 0.5}],
    "RobustPCASeparator": [{}, {"mask": "binary", "block_duration": 0.5}],
    "UNetSeparator": [
        {},
        {"architecture": "singing_voice", "augmentation": False},
        {"architecture": "fully_convolutional"},
        {"skip": "add"},
        {"loss": "snr", "callbacks": [("stop", EarlyStopping("train_loss"))], "warm_start": True},
    ],
}


def _trained() -> FrozenEstimator:
    """A small pipeline that is fitted, since the checks of models fit without the truth."""
    separator = UNetSeparator(n_filters=2, n_levels=2, max_epochs=1, device="cpu", random_state=0)
    return FrozenEstimator(make_pipeline(small_chunker(), MaskBuilder(), separator).fit(*songs()))


def _voting(**parameters: Any) -> dict[str, Any]:
    hpss = make_pipeline(small_chunker(), HPSSSeparator())
    return {"estimators": [("hpss", hpss), ("trained", _trained())], **parameters}


# Parameters of ensembles and of separators of other packages: the modules that must be installed,
# and a function that makes small variants.
PEERS: dict[str, tuple[list[str], Callable[[], list[dict[str, Any]]]]] = {
    "DemucsSeparator": (
        ["demucs"],
        lambda: [
            {"weights": small_peers.demucs_file(), "shifts": 0},
            {"weights": small_peers.demucs_file(), "shifts": 2, "overlap": 0.5, "segment": 0.5},
        ],
    ),
    "TestTimeAugmentation": (
        [],
        lambda: [
            {"estimator": _trained()},
            {"estimator": _trained(), "n_shifts": 3, "max_shift": 0.1, "channels": "single"},
        ],
    ),
    "VotingSeparator": ([], lambda: [_voting(weights=[1, 2]), _voting(average="mask")]),
    "FunctionSeparator": ([], lambda: [{"function": small_peers.half, "sample_rate": 8000}]),
    "OnnxSeparator": (
        ["onnx", "onnxruntime"],
        lambda: [{"path": small_peers.onnx_file(), "sample_rate": 8000}],
    ),
    "OpenUnmixSeparator": (
        ["openunmix"],
        lambda: [
            {"weights": small_peers.open_unmix_file()},
            {"weights": small_peers.open_unmix_file(), "residual": False, "n_iter": 0},
        ],
    ),
}


def cases_of(estimator_class: type[BaseEstimator]) -> Iterator[EstimatorCase]:
    """Instances of one class."""
    name = estimator_class.__name__
    parameters = estimator_class().get_params(deep=False)
    small = {key: value for key, value in SMALL.items() if key in parameters}
    modules, variants = PEERS.get(name, ([], lambda: VARIANTS.get(name, [{}])))
    if not all(map(find_spec, modules)):
        return  # its package is not installed
    for variant in variants():
        label = "-".join([name, *variant])
        yield EstimatorCase(estimator_class(**{**small, **variant}), label)
