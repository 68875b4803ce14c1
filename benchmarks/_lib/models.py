"""The models that are compared, by name, and the pipelines around them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from safetensors import safe_open
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

import sksep
from sksep.peers import SpleeterSeparator
from sksep.presets import (
    deep_clustering_pipeline,
    hybrid_clustering_pipeline,
    uhnet_pipeline,
    unet_pipeline,
)

COMPARED_PRESETS = ("report", "recommended")

_PIPELINES = {
    "DeepClusteringSeparator": deep_clustering_pipeline,
    "HybridClusteringSeparator": hybrid_clustering_pipeline,
    "UNetSeparator": unet_pipeline,
    "UHNetSeparator": uhnet_pipeline,
}


@dataclass(frozen=True)
class Model:
    """A row of the comparison.

    Attributes
    ----------
    name, title : str
        On the command line, and in tables.
    estimator : str
        Name of a class in `sksep`. It is looked up when it is needed, so that other models run
        if it is missing.
    learns : {"truth", "nothing", "network"}
        Kind of fitting: an oracle is given the truth of each track, classical methods need no
        budget, and networks are trained.
    parameters : mapping
        Parameters of the estimator.
    training : str or None
        Name of the training if models share one; None for one of its own.
    prediction : mapping
        Parameters that are set after the training, which does not depend on them.
    clustering : str or None
        Training whose fitted separator the model is given.
    """

    name: str
    title: str
    estimator: str
    learns: Literal["truth", "nothing", "network"] = "network"
    parameters: Mapping[str, Any] = field(default_factory=dict)
    training: str | None = None
    prediction: Mapping[str, Any] = field(default_factory=dict)
    clustering: str | None = None

    @property
    def training_name(self) -> str:
        """Name of its training."""
        return self.training or self.name

    @property
    def is_there(self) -> bool:
        """Whether the installed `sksep` has it."""
        return hasattr(sksep, self.estimator)


MODELS = {
    model.name: model
    for model in (
        Model("mixture", "the mixture", "MixtureSeparator", "nothing"),
        Model("hpss", "HPSS", "HPSSSeparator", "nothing"),
        Model("repet_sim", "REPET-SIM", "RepetSimSeparator", "nothing"),
        Model("nmf", "NMF", "NMFSeparator", "nothing"),
        Model("robust_pca", "robust PCA", "RobustPCASeparator", "nothing"),
        Model("deep_clustering", "deep clustering", "DeepClusteringSeparator"),
        Model(
            "hybrid_clusters",
            "hybrid clustering, clusters",
            "HybridClusteringSeparator",
            training="hybrid",
            prediction={"output": "clusters"},
        ),
        Model(
            "hybrid_mask",
            "hybrid clustering, mask",
            "HybridClusteringSeparator",
            training="hybrid",
            prediction={"output": "mask"},
        ),
        Model(
            "fully_convolutional",
            "fully convolutional",
            "UNetSeparator",
            parameters={"architecture": "fully_convolutional", "n_levels": 5},
        ),
        Model("unet", "U-Net", "UNetSeparator"),
        Model("uhnet", "UH-Net", "UHNetSeparator", parameters={"n_levels": 1}),
        Model(
            "uhnet_pyramid",
            "UH-Net, 2 levels",
            "UHNetSeparator",
            parameters={"n_levels": 2},
        ),
        Model(
            "uhnet_pretrained",
            "UH-Net on a fitted hybrid",
            "UHNetSeparator",
            parameters={"n_levels": 1},
            clustering="hybrid",
        ),
        Model(
            "oracle_binary",
            "ideal binary mask",
            "OracleMaskSeparator",
            "truth",
            parameters={"kind": "binary"},
        ),
        Model(
            "oracle_ratio",
            "ideal ratio mask",
            "OracleMaskSeparator",
            "truth",
            parameters={"kind": "ratio"},
        ),
    )
}


def sharing(training: str) -> list[Model]:
    """The models that are scored from one training."""
    return [model for model in MODELS.values() if model.training_name == training]


def pipeline(
    model: Model,
    preset: str,
    seed: int,
    *,
    changes: Mapping[str, Any],
    clustering: Any = None,
) -> Pipeline:
    """The unfitted pipeline of a model: its separator in the front end and recipe of a preset.

    Parameters
    ----------
    model : Model
        A model that is there.
    preset : {"report", "recommended"}
        See `sksep.presets`.
    seed : int
        Seed of the network.
    changes : mapping
        Further parameters of the pipeline. Parameters that it does not have are meant for other
        models and left out.
    clustering : HybridClusteringSeparator or None
        For models that are given one; a fitted one, unless only the parameters are of interest.
    """
    result: Pipeline = _PIPELINES.get(model.estimator, unet_pipeline)(preset)
    if model.estimator not in _PIPELINES:
        result.set_params(separate=getattr(sksep, model.estimator)())
    parameters = dict(model.parameters)
    if model.learns == "network":
        parameters["random_state"] = seed
    if model.clustering is not None:
        # Frozen, so that copies of the separator remain fitted.
        parameters["clustering"] = FrozenEstimator(clustering)
    result["separate"].set_params(**parameters)
    known = result.get_params()
    return result.set_params(**{name: value for name, value in changes.items() if name in known})


def load_trained(path: Path) -> Any:
    """A model that pretrained.py or unet.py wrote."""
    with safe_open(path, "pt") as file:
        is_saved = "sksep" in (file.metadata() or {})  # by sksep.save
    if is_saved:
        return sksep.load(path)
    return SpleeterSeparator(weights=path, sample_rate=16000)._prepare()
