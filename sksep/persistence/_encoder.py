"""From estimators to JSON values and tensors."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils.metadata_routing import get_routing_for_object

from sksep.nn.front_end import FrontEnd
from sksep.persistence._allowed import (
    allowed_name,
    class_name,
    is_clusterer,
    is_empty,
    optimizer_class,
    split_net_params,
    unsaved_parameters,
)

ROUTED_METHODS = ("fit", "partial_fit", "predict", "score", "transform", "inverse_transform")
# Marks the JSON objects that stand for something else than a dict.
TAG = "$type"


class Encoder:
    """Turns estimators into JSON values, and collects their tensors under readable names.

    Attributes
    ----------
    tensors : dict of str to Tensor
        Tensors by name.
    left_out : list of str
        Names of parameters that the values do not hold.
    """

    def __init__(self) -> None:
        self.tensors: dict[str, torch.Tensor] = {}
        self.left_out: list[str] = []

    def estimator(self, estimator: Any, path: tuple[str, ...] = ()) -> dict[str, Any]:
        """A JSON value for an estimator; `path` names it in errors."""
        name = allowed_name(type(estimator))
        if name is None or (not path and is_clusterer(type(estimator))):
            raise ValueError(
                f"sksep.save cannot store {class_name(type(estimator))}"
                f"{f' ({_join(path)})' if path else ''}. It stores the estimators of sksep, "
                "pipelines of them and a few clusterers of scikit-learn as their parameters; of a "
                "search, save best_estimator_. What holds models of other packages is for joblib."
            )
        parameters = {}
        for parameter, value in estimator.get_params(deep=False).items():
            parameters[parameter] = self._parameter(estimator, parameter, value, path)
        fitted = {
            attribute: self.value(value, (*path, attribute))
            for attribute, value in _fitted_state(estimator).items()
        }
        encoded = {TAG: "estimator", "class": name, "parameters": parameters, "fitted": fitted}
        requests = _metadata_requests(estimator)
        return {**encoded, "metadata_requests": requests} if requests else encoded

    def _parameter(self, owner: Any, name: str, value: Any, path: tuple[str, ...]) -> Any:
        if isinstance(owner, Pipeline) and name == "steps":  # named as in set_params
            return [
                {TAG: "tuple", "items": [step, self.value(part, (*path, step))]}
                for step, part in value
            ]
        is_generator = isinstance(value, np.random.RandomState)
        if is_generator or (name in unsaved_parameters(type(owner)) and not is_empty(value)):
            self.left_out.append(_join((*path, name)))
            return None
        if name == "net_params" and isinstance(value, dict):
            value, of_machine, others = split_net_params(value)
            self.left_out += [_join((*path, name, part)) for part in of_machine + others]
        return self.value(value, (*path, name))

    def value(self, value: Any, path: tuple[str, ...]) -> Any:
        """A JSON value for anything that may be stored; `path` names it in errors."""
        if isinstance(value, (np.bool_, np.integer, np.floating)):
            value = value.item()
        if isinstance(value, float):
            value = float(value)
            return value if math.isfinite(value) else {TAG: "float", "value": repr(value)}
        if value is None or isinstance(value, (bool, int, str)):
            return value
        if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
            items = [self.value(item, (*path, str(index))) for index, item in enumerate(value)]
            return items if isinstance(value, list) else {TAG: "tuple", "items": items}
        if isinstance(value, dict) and all(isinstance(key, str) and key != TAG for key in value):
            return {key: self.value(item, (*path, key)) for key, item in value.items()}
        if isinstance(value, torch.Tensor):
            return {TAG: "tensor", "name": self._add(value, path)}
        if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
            tensor = torch.from_numpy(np.array(value, dtype=value.dtype.newbyteorder("=")))
            return {TAG: "array", "name": self._add(tensor, path)}
        if isinstance(value, FrontEnd):
            return {TAG: "front_end", **asdict(value)}
        if isinstance(value, type) and optimizer_class(value.__name__) is value:
            return {TAG: "optimizer", "name": value.__name__}
        if isinstance(value, BaseEstimator):
            return self.estimator(value, path)
        if callable(value):
            raise ValueError(
                f"sksep.save cannot store {_join(path)}={value!r:.100}: a file without pickle "
                "holds no code. joblib.dump keeps the estimator for machines that have the code, "
                "too; where the parameter can also be a name, as loss can, set that before saving."
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
        # A copy: views of one storage (tied weights) cannot be written as they are.
        self.tensors[name] = tensor.detach().cpu().contiguous().clone()
        return name


def _fitted_state(estimator: Any) -> dict[str, Any]:
    if is_clusterer(type(estimator)):  # separators fit copies of them
        return {}
    if hasattr(type(estimator), "_fitted_state"):
        return estimator._fitted_state()
    attributes = vars(estimator).items()
    return {name: value for name, value in attributes if name.endswith("_") and name[0] != "_"}


def _metadata_requests(estimator: Any) -> dict[str, dict[str, Any]]:
    """Requests that `set_score_request` and similar methods have made."""
    if "_metadata_request" not in vars(estimator):
        return {}
    routing = get_routing_for_object(estimator)
    found = {}
    for method in ROUTED_METHODS:
        requests = getattr(routing, method).requests if hasattr(routing, method) else {}
        found[method] = {key: value for key, value in requests.items() if value is not None}
    return {method: requests for method, requests in found.items() if requests}


def _join(path: tuple[str, ...]) -> str:
    """The name as scikit-learn writes nested parameters."""
    return "__".join(path)
