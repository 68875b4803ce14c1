"""From JSON values and tensors to estimators: the inverse of `Encoder`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import sklearn
import torch

from sksep.nn.front_end import FrontEnd
from sksep.persistence._allowed import (
    allowed_class,
    holds_code,
    is_clusterer,
    is_empty,
    optimizer_class,
    split_net_params,
    unsaved_parameters,
)
from sksep.persistence._checks import check_device, check_estimator, check_front_end, check_learned
from sksep.persistence._encoder import ROUTED_METHODS, TAG

_FLOATS = ("nan", "inf", "-inf")
_TRUST = (
    "Do not trust the file. If it is your own, load it with the version of sksep that saved it, "
    "unset them, and save it again."
)


class Decoder:
    """Builds estimators from JSON values of a file.

    Parameters
    ----------
    tensors : dict of str to Tensor
        Tensors by name.
    device : str or None
        Device of the separators; None is the one of the file.

    Attributes
    ----------
    unused : set of str
        Names of tensors that no value has referred to so far.
    ignored : list of str
        What was left out, which only files of earlier versions hold.
    """

    def __init__(self, tensors: dict[str, torch.Tensor], device: str | None = None) -> None:
        self.tensors = tensors
        self.device = device
        self.unused = set(tensors)
        self.ignored: list[str] = []

    def root(self, value: Any) -> Any:
        """The estimator of a file."""
        if not isinstance(value, dict) or value.get(TAG) != "estimator":
            raise TypeError(f"{value!r:.100} is no estimator")
        estimator = self.value(value)
        if is_clusterer(type(estimator)):
            raise TypeError("a clusterer alone is no model")
        return estimator

    def value(self, value: Any) -> Any:
        """The value that a JSON value stands for."""
        if isinstance(value, list):
            return [self.value(item) for item in value]
        if not isinstance(value, dict):
            return value
        tag = value.get(TAG)
        fields = {key: item for key, item in value.items() if key != TAG}
        if tag is None:
            return {key: self.value(item) for key, item in fields.items()}
        decoders: dict[str, Callable[..., Any]] = {
            "array": lambda name: self._take(name).clone().numpy(),
            "estimator": self._estimator,
            "float": _float,
            "front_end": _front_end,
            "optimizer": _optimizer,
            "tensor": self._take,
            "tuple": self._tuple,
        }
        if not isinstance(tag, str) or tag not in decoders:
            raise TypeError(f"unknown type {tag!r:.100}")
        if tag == "estimator":
            fields = {_FIELDS.get(name, name): item for name, item in fields.items()}
        return decoders[tag](**fields)

    def _tuple(self, items: Any) -> tuple[Any, ...]:
        if not isinstance(items, list):
            raise TypeError(f"{items!r:.100} is no list")
        return tuple(self.value(item) for item in items)

    def _take(self, name: Any) -> torch.Tensor:
        if name not in self.unused:  # each belongs to one place
            raise KeyError(name)
        self.unused.remove(name)
        tensor = self.tensors[name]
        if not bool(tensor.isfinite().all()):
            raise ValueError(
                f"{name!r:.200} holds NaN or infinity: the training diverged, or the file is "
                "damaged. Train again, or get the file again."
            )
        return tensor

    def _estimator(
        self,
        class_name: Any,
        parameters: Any,
        fitted: Any,
        metadata_requests: Any = None,
    ) -> Any:
        cls = allowed_class(class_name) if isinstance(class_name, str) else None
        if cls is None or holds_code(cls):
            raise ValueError(
                f"The file asks for the class {class_name!r:.100}, which is not one that sksep.load"
                " builds. If a newer version of sksep wrote it, upgrade; else do not trust it."
            )
        if not isinstance(parameters, dict) or not isinstance(fitted, dict):
            raise TypeError(f"parameters and fitted attributes of {class_name} must be objects")
        unknown = sorted(set(parameters) - set(cls._get_param_names()))
        if unknown:
            raise TypeError(f"{class_name} has no parameters {unknown!r:.200}")
        estimator = cls(**self._parameters(class_name, cls, parameters))
        check_estimator(estimator)
        if is_clusterer(cls):  # of earlier versions; separators fit copies
            self.unused -= set(_tensors_of(fitted))
            self.ignored += [f"fitted attributes of {class_name}"] if fitted else []
            return estimator
        # Neither methods nor parameters, which were checked above.
        hidden = [key for key in fitted if hasattr(cls, key) or key in cls._get_param_names()]
        if hidden:
            raise TypeError(f"{hidden!r:.200} of {class_name} are no fitted attributes")
        learned = self.value(fitted)
        check_learned(estimator, learned)
        if hasattr(cls, "_restore"):  # a FrozenEstimator hands on what its estimator has
            estimator._restore(learned)
        else:
            estimator.__dict__.update(learned)
        _set_requests(estimator, metadata_requests or {})
        return estimator

    def _parameters(self, class_name: str, cls: Any, parameters: Any) -> dict[str, Any]:
        """Parameters of an estimator, without those that no file may set."""
        values: dict[str, Any] = self.value(parameters)
        unsaved = unsaved_parameters(cls)
        refused = sorted(name for name in unsaved if not is_empty(values.get(name)))
        if "n_jobs" in refused:  # earlier versions saved it
            refused.remove("n_jobs")
            self.ignored.append("n_jobs")
            values["n_jobs"] = None
        if isinstance(values.get("net_params"), dict):
            values["net_params"], ignored, others = split_net_params(values["net_params"])
            self.ignored += ignored
            refused += [f"net_params[{name!r:.50}]" for name in others]
        if refused:
            raise ValueError(
                f"The file sets {', '.join(refused):.200} of {class_name}, which sksep.save never "
                f"stores, as it could open files or run programs of this machine. {_TRUST}"
            )
        if "device" in cls._get_param_names():
            check_device("device", values.get("device", "auto"))
            if self.device is not None:
                values["device"] = self.device
        return values


# Fields of estimators whose names are no names in Python.
_FIELDS = {"class": "class_name"}


def _float(value: Any) -> float:
    if value not in _FLOATS:
        raise ValueError(f"{value!r:.100} is no number")
    return float(value)


def _front_end(**fields: Any) -> FrontEnd:
    front_end = FrontEnd(**fields)
    if not fields.items() <= asdict(front_end).items():
        raise TypeError("f_max of a front end must be a number")
    check_front_end("front_end", front_end)
    return front_end


def _optimizer(name: Any) -> type:
    optimizer = optimizer_class(name)
    if optimizer is None:
        raise ValueError(f"{name!r:.100} is no optimizer of this version of torch")
    return optimizer


def _tensors_of(value: Any) -> list[str]:
    """Names of the tensors that a JSON value refers to."""
    if isinstance(value, list):
        return [name for item in value for name in _tensors_of(item)]
    if not isinstance(value, dict):
        return []
    own = [value["name"]] if value.get(TAG) in ("array", "tensor") and "name" in value else []
    return own + _tensors_of(list(value.values()))


def _set_requests(estimator: Any, requests: dict[str, Any]) -> None:
    """Call `set_score_request` and its like."""
    with sklearn.config_context(enable_metadata_routing=True):
        for method, names in requests.items():
            if method not in ROUTED_METHODS:
                raise TypeError(f"unknown method {method!r:.100}")
            for name, value in names.items():
                if not isinstance(value, (bool, str)):
                    raise TypeError(f"{method} requests {name!r:.100}={value!r:.100}")
            getattr(estimator, f"set_{method}_request")(**names)
