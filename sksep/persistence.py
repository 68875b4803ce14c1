"""Saving and loading estimators as JSON and tensors in one file, never as pickle."""

from __future__ import annotations

import hashlib
import json
import math
import os
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import sklearn
import torch
from sklearn.base import BaseEstimator
from sklearn.cluster import (
    DBSCAN,
    AgglomerativeClustering,
    Birch,
    BisectingKMeans,
    KMeans,
    MiniBatchKMeans,
    SpectralClustering,
)
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import BayesianGaussianMixture, GaussianMixture
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import get_routing_for_object

from sksep.nn.front_end import FrontEnd
from sksep.utils._files import exists_error, remove_unfinished, write_whole
from sksep.utils._parameters import parameters_without

__all__ = ["load", "save"]

_FORMAT_VERSION = 1
# Classes of scikit-learn that may be stored, and what they keep beside attributes that end in "_".
_SKLEARN_CLASSES: dict[type, tuple[str, ...]] = {
    Pipeline: (),
    FrozenEstimator: (),
    KMeans: ("_n_threads", "_n_features_out"),
    MiniBatchKMeans: ("_n_threads", "_n_features_out"),
    AgglomerativeClustering: (),
    BayesianGaussianMixture: (),
    Birch: (),
    BisectingKMeans: (),
    DBSCAN: (),
    SpectralClustering: (),
    GaussianMixture: (),
}
# Parameters of these classes that name folders. Classes of sksep declare what is not saved.
_SKLEARN_FOLDERS: dict[type, frozenset[str]] = {Pipeline: frozenset({"memory"})}
_ROUTED_METHODS = ("fit", "partial_fit", "predict", "score", "transform", "inverse_transform")
# Key of the JSON objects that stand for something other than a dict.
_TAG = "$type"


def save(estimator: Any, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write an estimator to one file, to share it or to use it later.

    The file is in the safetensors format: the weights as tensors, and a description in JSON of
    the classes, their parameters and what they learned. Nothing in it is executed by `load`.

    Parameters
    ----------
    estimator : estimator
        A pipeline, or one of the estimators of sksep, fitted or not.
    path : str or os.PathLike
        The file to write, usually with the suffix ``.safetensors``.
    overwrite : bool, default=False
        Whether an existing file may be replaced. It stays until the new one is complete.

    Raises
    ------
    FileExistsError
        If the file exists and `overwrite` is False.
    ValueError
        If a class, a parameter or a fitted attribute cannot be stored. The error names it.

    Warns
    -----
    UserWarning
        If parameters were left out: callbacks, pools of recordings, and folders of a cache or of
        checkpoints. Predictions do not depend on them. Set them again before training continues.

    See Also
    --------
    load : Read an estimator from a file.

    Notes
    -----
    The file keeps the training history of the epochs, but not that of the batches. It does not keep
    the running averages of the optimizer, which are twice the size of the weights. A warm start
    begins without them.

    Examples
    --------
    >>> import sksep
    >>> sksep.save(sksep.UNetSeparator(n_filters=8), "separator.safetensors")
    >>> sksep.load("separator.safetensors")
    UNetSeparator(n_filters=8)
    """
    path = Path(path)
    if not overwrite and path.exists():
        raise exists_error(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {path.parent} to save into; create it first.")
    if isinstance(estimator, type) or not isinstance(estimator, BaseEstimator):
        raise TypeError(f"sksep.save stores estimators, got {estimator!r}.")
    encoder = _Encoder()
    description = {
        "format_version": _FORMAT_VERSION,
        "versions": _versions(),
        "estimator": encoder.estimator(estimator, ()),
        "tensors_sha256": _digest(encoder.tensors),
    }
    text = json.dumps(description, allow_nan=False)
    metadata = {"sksep": text, "sksep_sha256": _text_digest(text)}
    content = safetensors.torch.save(encoder.tensors, metadata)
    remove_unfinished(path.parent, path.name)
    write_whole(path, content, overwrite=overwrite)
    if encoder.left_out:
        warnings.warn(
            f"The file does not hold {', '.join(encoder.left_out)}. Predictions do not depend on "
            "it; set it again after loading, before training continues.",
            UserWarning,
            stacklevel=2,
        )


def load(path: str | os.PathLike[str], *, device: str | None = None) -> Any:
    """Read an estimator that `save` wrote.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    device : str, default=None
        Device of its separators, "auto", "cpu", "cuda" or "mps". None keeps the saved one.

    Returns
    -------
    estimator
        The estimator with its parameters. If it was fitted, it is ready to predict or to train
        further. On the same kind of device, predictions are equal to the last bit.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file was not written by `save`, is damaged or was altered, was written by a
        newer version in a format that this one cannot read, or names a class that is not allowed.

    Warns
    -----
    UserWarning
        If the `device` of a separator is not available. It then predicts on the CPU.

    See Also
    --------
    save : Write an estimator to a file.

    Notes
    -----
    Only estimators of sksep and a few of scikit-learn are built, from plain values: loading a
    file does not run code of its author. The checksums show damage, but not who wrote the file.

    Examples
    --------
    >>> import sksep
    >>> sksep.save(sksep.MelChunker(n_mels=64), "chunker.safetensors")
    >>> sksep.load("chunker.safetensors").n_mels
    64
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path} to load an estimator from.")
    metadata, tensors = _read(path)
    description = _checked_description(path, metadata, tensors)
    decoder = _Decoder(tensors, device)
    try:
        estimator = decoder.value(description["estimator"])
    except (AttributeError, KeyError, RecursionError, TypeError) as error:
        raise ValueError(
            f"{path} does not describe an estimator that this version of sksep can build "
            f"({type(error).__name__}: {error}). Save it again, or load it with the versions that "
            f"saved it: {description.get('versions')}."
        ) from error
    if decoder.unused:
        raise ValueError(
            f"{path} holds tensors that belong to no estimator: {', '.join(sorted(decoder.unused))}"
            ". Save it again."
        )
    return estimator


class _Encoder:
    """Turns estimators into JSON values, and collects their tensors under readable names."""

    def __init__(self) -> None:
        self.tensors: dict[str, torch.Tensor] = {}
        self.left_out: list[str] = []

    def estimator(self, estimator: Any, path: tuple[str, ...]) -> dict[str, Any]:
        name = next((n for n, cls in _allowed_classes().items() if cls is type(estimator)), None)
        if name is None:
            raise ValueError(
                f"sksep.save cannot store {_class_name(type(estimator))}"
                f"{f' ({_join(path)})' if path else ''}. It stores the estimators of sksep, "
                "pipelines of them and a few of scikit-learn. If it is a search, save its "
                "best_estimator_."
            )
        parameters = {}
        for parameter, value in estimator.get_params(deep=False).items():
            parameters[parameter] = self._parameter(estimator, parameter, value, path)
        fitted = {
            attribute: self.value(value, (*path, attribute))
            for attribute, value in _fitted_state(estimator).items()
        }
        encoded = {_TAG: "estimator", "class": name, "parameters": parameters, "fitted": fitted}
        requests = _metadata_requests(estimator)
        return {**encoded, "metadata_requests": requests} if requests else encoded

    def _parameter(self, owner: Any, name: str, value: Any, path: tuple[str, ...]) -> Any:
        if isinstance(owner, Pipeline) and name == "steps":  # errors name steps as set_params does
            return [
                {_TAG: "tuple", "items": [step, self.value(part, (*path, step))]}
                for step, part in value
            ]
        if name in _unsaved_parameters(type(owner)) and not _is_empty(value):
            self.left_out.append(_join((*path, name)))
            return None
        return self.value(value, (*path, name))

    def value(self, value: Any, path: tuple[str, ...]) -> Any:
        """A JSON value for anything that may be stored; `path` names it in errors."""
        if isinstance(value, (np.bool_, np.integer, np.floating)):
            value = value.item()
        if isinstance(value, float):
            value = float(value)
            return value if math.isfinite(value) else {_TAG: "float", "value": repr(value)}
        if value is None or isinstance(value, (bool, int, str)):
            return value
        if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
            items = [self.value(item, (*path, str(index))) for index, item in enumerate(value)]
            return items if isinstance(value, list) else {_TAG: "tuple", "items": items}
        if isinstance(value, dict) and all(isinstance(key, str) and key != _TAG for key in value):
            return {key: self.value(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, torch.Tensor):
            return {_TAG: "tensor", "name": self._add(value, path)}
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
            tensor = torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder("=")))
            return {_TAG: "array", "name": self._add(tensor, path)}
        if isinstance(value, FrontEnd):
            return {_TAG: "front_end", **asdict(value)}
        if isinstance(value, type) and _torch_optimizer(value.__name__) is value:
            return {_TAG: "optimizer", "name": value.__name__}
        if isinstance(value, BaseEstimator):
            return self.estimator(value, path)
        if callable(value):
            raise ValueError(
                f"sksep.save cannot store {_join(path)}={value!r:.100}: a file without pickle "
                "holds no code. If the parameter can also be a name, as loss can, set a name. "
                "Otherwise use joblib.dump, for machines that have the code, too."
            )
        raise ValueError(
            f"sksep.save cannot store {_join(path)}={value!r:.100}: a file without pickle holds "
            "names, numbers, arrays, and lists, tuples and dicts of them. Give it such a value "
            f"first, as in set_params({_join(path)}=...)."
        )

    def _add(self, tensor: torch.Tensor, path: tuple[str, ...]) -> str:
        name = ".".join(path)
        while name in self.tensors:
            name += "_"
        # A copy, since safetensors does not write tensors that share memory (tied weights).
        self.tensors[name] = tensor.detach().cpu().contiguous().clone()
        return name


class _Decoder:
    """Turns JSON values and tensors back into estimators."""

    def __init__(self, tensors: dict[str, torch.Tensor], device: str | None = None) -> None:
        self.tensors = tensors
        self.device = device
        self.unused = set(tensors)

    def value(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if not isinstance(value, dict):
            return value
        tag = value.get(_TAG)
        fields = {key: item for key, item in value.items() if key != _TAG}
        if tag is None:
            return {key: self.value(item) for key, item in fields.items()}
        if tag == "tuple":
            return tuple(self.value(item) for item in fields["items"])
        if tag == "float":
            return float(fields["value"])
        if tag in ("tensor", "array"):
            tensor = self._take(fields["name"])
            return tensor if tag == "tensor" else tensor.clone().numpy()
        if tag == "front_end":
            return FrontEnd(**fields)
        if tag == "optimizer":
            return _torch_optimizer(fields["name"])
        if tag == "estimator":
            return self._estimator(fields)
        raise TypeError(f"unknown type {tag!r}")

    def _take(self, name: str) -> torch.Tensor:
        self.unused.discard(name)
        return self.tensors[name]

    def _estimator(self, fields: dict[str, Any]) -> Any:
        name = fields["class"]
        cls = _allowed_classes().get(name)
        if cls is None:
            raise ValueError(
                f"The file asks for the class {name}, which is not one that sksep.load builds. "
                "If a newer version of sksep wrote it, upgrade. Otherwise do not trust it."
            )
        unknown = set(fields["parameters"]) - set(cls._get_param_names())
        if unknown:
            raise TypeError(f"{name} has no parameters {sorted(unknown)}")
        parameters = self.value(fields["parameters"])
        unsaved = sorted(_unsaved_parameters(cls))
        refused = [key for key in unsaved if not _is_empty(parameters.get(key))]
        if refused:
            raise ValueError(
                f"The file sets {', '.join(refused)} of {name}, which sksep.save never stores, "
                "since it could name folders of this machine. Do not trust the file."
            )
        if self.device is not None and "device" in parameters:
            parameters["device"] = self.device
        estimator = cls(**parameters)
        fitted = self.value(fields["fitted"])
        # Fitted attributes must not replace methods, or parameters, which were checked above.
        hidden = [key for key in fitted if hasattr(cls, key) or key in cls._get_param_names()]
        if hidden:
            raise TypeError(f"{hidden} of {name} are no fitted attributes")
        if hasattr(cls, "_restore"):  # an instance of FrozenEstimator would ask its estimator
            estimator._restore(fitted)
        else:
            estimator.__dict__.update(fitted)
        with sklearn.config_context(enable_metadata_routing=True):
            for method, requests in fields.get("metadata_requests", {}).items():
                if method not in _ROUTED_METHODS:
                    raise TypeError(f"unknown method {method!r}")
                getattr(estimator, f"set_{method}_request")(**requests)
        return estimator


def _allowed_classes() -> dict[str, Any]:
    """The classes that files may name: the public estimators of sksep, and a few others."""
    import sksep

    public = [getattr(sksep, name) for name in sksep.__all__ if name != "__version__"]
    own = [cls for cls in public if isinstance(cls, type) and issubclass(cls, BaseEstimator)]
    names = {f"sksep.{cls.__name__}": cls for cls in own}
    return names | {_class_name(cls): cls for cls in _SKLEARN_CLASSES}


def _unsaved_parameters(cls: type) -> frozenset[str]:
    return _SKLEARN_FOLDERS.get(cls, frozenset()) | parameters_without(cls, "is_saved")


def _class_name(cls: type) -> str:
    """Public name of a class, without private modules, which may move between versions."""
    public_parts = [part for part in cls.__module__.split(".") if not part.startswith("_")]
    return ".".join([*public_parts, cls.__qualname__])


def _fitted_state(estimator: Any) -> dict[str, Any]:
    if hasattr(type(estimator), "_fitted_state"):
        return estimator._fitted_state()
    further = _SKLEARN_CLASSES.get(type(estimator), ())
    return {
        name: value
        for name, value in vars(estimator).items()
        if (name.endswith("_") and not name.startswith("_")) or name in further
    }


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, (list, tuple)) and not value)


def _metadata_requests(estimator: Any) -> dict[str, dict[str, Any]]:
    """Metadata requests that were set by `set_score_request` and similar methods."""
    if "_metadata_request" not in vars(estimator):
        return {}
    routing = get_routing_for_object(estimator)
    found = {}
    for method in _ROUTED_METHODS:
        requests = getattr(routing, method).requests if hasattr(routing, method) else {}
        found[method] = {key: value for key, value in requests.items() if value is not None}
    return {method: requests for method, requests in found.items() if requests}


def _torch_optimizer(name: str) -> type | None:
    found = getattr(torch.optim, name, None)
    return found if isinstance(found, type) and issubclass(found, torch.optim.Optimizer) else None


def _join(path: tuple[str, ...]) -> str:
    """Name of a nested value, as scikit-learn writes it."""
    return "__".join(path)


def _versions() -> dict[str, str]:
    import sksep

    return {
        "sksep": sksep.__version__,
        "scikit-learn": sklearn.__version__,
        "torch": torch.__version__,
    }


def _digest(tensors: dict[str, torch.Tensor]) -> str:
    """SHA-256 of the names, types, shapes and bytes of tensors."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _text_digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            if "sksep" in metadata:
                return metadata, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except safetensors.SafetensorError as error:
        raise ValueError(
            f"{path} is damaged, or no safetensors file ({error}). Copy or save it again."
        ) from error
    raise ValueError(f"{path} holds tensors but no estimator; it was not written by sksep.save.")


def _checked_description(
    path: Path, metadata: dict[str, str], tensors: dict[str, torch.Tensor]
) -> dict[str, Any]:
    altered = "was altered after it was saved, or is damaged. Copy or save it again."
    text = metadata["sksep"]
    try:
        description = json.loads(text)
        # Before the checksums: a newer format may compute them in another way.
        version = int(description["format_version"])
    except (KeyError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"The description in {path} {altered}") from error
    if version > _FORMAT_VERSION:
        raise ValueError(
            f"{path} is in format {version}, and this sksep reads formats up to {_FORMAT_VERSION}. "
            "Upgrade sksep."
        )
    if metadata.get("sksep_sha256") != _text_digest(text):
        raise ValueError(f"The description in {path} {altered}")
    if description.get("tensors_sha256") != _digest(tensors):
        raise ValueError(f"A tensor in {path} {altered}")
    return description
