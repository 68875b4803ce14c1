"""Classes and parameters that files may name, and what a file must leave out.

A model file is written by anybody. So whatever could start a process or a compiler, open a file, or
fill the memory is not in these tables, and `load` refuses it by name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from numbers import Real
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from sklearn.pipeline import Pipeline

from sksep.utils._parameters import parameters_without
from sksep.utils._validation import (
    Constraint,
    check_boolean,
    check_integer,
    check_number,
    check_random_state,
    choice,
    integer,
    number,
    optional,
)

# By name, since most models have none, and their import would take longer than all the rest.
_CLUSTERERS = (
    *("sklearn.cluster.KMeans", "sklearn.cluster.MiniBatchKMeans", "sklearn.cluster.Birch"),
    *("sklearn.cluster.BisectingKMeans", "sklearn.mixture.BayesianGaussianMixture"),
    "sklearn.mixture.GaussianMixture",
)
# These compare all pairs of what they cluster.
_PAIRWISE = (
    *("sklearn.cluster.AgglomerativeClustering", "sklearn.cluster.DBSCAN"),
    "sklearn.cluster.SpectralClustering",
)
_CONTAINERS = ("sklearn.pipeline.Pipeline", "sklearn.frozen.FrozenEstimator")
# Public estimators of sksep that are no part of a model: a folder, several models, and code.
_NO_MODELS = ("MultiTargetSeparator", "WaveformCache")
_OF_CODE = ("ModuleSeparator",)


def allowed_class(name: str) -> Any:
    """The class that a file may name: a public estimator of sksep, or a few of scikit-learn.

    None if it is no such name.
    """
    module, _, public = name.rpartition(".")
    if name in (*_CONTAINERS, *_CLUSTERERS, *_PAIRWISE):
        return getattr(import_module(module), public)
    import sksep

    if module != "sksep" or public not in sksep.__all__ or public in _NO_MODELS:
        return None
    cls = getattr(sksep, public)
    return cls if isinstance(cls, type) and issubclass(cls, BaseEstimator) else None


def allowed_name(cls: type) -> str | None:
    """The name of a class in files; None if no file may name it."""
    names = (f"sksep.{cls.__name__}", class_name(cls))
    return next((name for name in names if allowed_class(name) is cls), None)


def is_clusterer(cls: type) -> bool:
    """Whether a class is one of the clusterers that files may name."""
    return allowed_name(cls) in (*_CLUSTERERS, *_PAIRWISE)


def is_pairwise(cls: type) -> bool:
    """Whether a class is a clusterer that compares all pairs."""
    return allowed_name(cls) in _PAIRWISE


def holds_code(estimator_class: type) -> bool:
    """Whether estimators of a class need code that no file holds."""
    return estimator_class.__name__ in _OF_CODE


def class_name(cls: type) -> str:
    """The public name: private modules may move from version to version."""
    public_parts = [part for part in cls.__module__.split(".") if not part.startswith("_")]
    return ".".join([*public_parts, cls.__qualname__])


def unsaved_parameters(estimator_class: type) -> frozenset[str]:
    """Parameters that files leave out: folders, recordings, code, and numbers of processes."""
    if estimator_class is Pipeline or is_clusterer(estimator_class):
        return frozenset({"memory", "n_jobs"})
    return parameters_without(estimator_class, "is_saved")


def is_empty(value: Any) -> bool:
    """Whether the value of a parameter says nothing."""
    return value is None or (isinstance(value, (list, tuple)) and not value)


def optimizer_class(name: Any) -> type | None:
    """An optimizer of torch by the name of its class."""
    found = getattr(torch.optim, name, None) if isinstance(name, str) else None
    is_optimizer = isinstance(found, type) and issubclass(found, torch.optim.Optimizer)
    return found if is_optimizer and found is not torch.optim.Optimizer else None


# Parameters of scikit-learn.

_COVARIANCES = ("full", "tied", "diag", "spherical")
_METRICS = ("euclidean", "l2", "l1", "manhattan", "cityblock", "cosine", "chebyshev", "minkowski")


def _check_array(name: str, value: Any) -> None:
    if not isinstance(value, np.ndarray) or value.size > 2**20:
        raise TypeError(f"{name} must be an array of at most a million numbers; got {value!r:.200}")


def _either(*constraints: Constraint) -> Constraint:
    """Constraint: what one of several constraints allows; the last one says what is wrong."""

    def check(name: str, value: Any) -> None:
        for constraint in constraints[:-1]:
            with suppress(TypeError, ValueError):
                constraint(name, value)
                return
        constraints[-1](name, value)

    return check


def _check_counted(name: str, value: Any) -> None:
    """A number of clusters, or a clusterer that Birch ends with."""
    if not is_clusterer(type(value)):
        check_integer(name, value, 2, 100)


# The classes of clusterers agree in the names of their parameters; scikit-learn checks which values
# each of them takes. The limits keep a file from taking hours or all memory.
_CLUSTERER_PARAMETERS: dict[str, Constraint] = {
    "affinity": choice("rbf", "nearest_neighbors"),
    "algorithm": choice("lloyd", "elkan", "auto", "ball_tree", "kd_tree", "brute"),
    "assign_labels": choice("kmeans", "discretize", "cluster_qr"),
    "batch_size": integer(1, 2**20),
    "bisecting_strategy": choice("biggest_inertia", "largest_cluster"),
    "branching_factor": integer(2, 1000),
    "coef0": number(),
    "compute_distances": check_boolean,
    "compute_full_tree": _either(choice("auto"), check_boolean),
    "compute_labels": check_boolean,
    "connectivity": choice(None),
    "copy": _either(choice("deprecated"), check_boolean),  # of Birch, in earlier versions
    "copy_x": check_boolean,
    "covariance_prior": optional(_either(number(), _check_array)),
    "covariance_type": choice(*_COVARIANCES),
    "degree": number(0.0, 100.0),
    "degrees_of_freedom_prior": optional(number()),
    "distance_threshold": optional(number()),
    "eigen_solver": choice(None, "arpack", "lobpcg"),
    "eigen_tol": _either(choice("auto"), number(0.0)),
    "eps": number(0.0),
    "gamma": number(),
    "init": _either(_check_array, choice("k-means++", "random")),
    "init_params": choice("kmeans", "k-means++", "random", "random_from_data"),
    "init_size": optional(integer(1, 2**20)),
    "kernel_params": choice(None),
    "leaf_size": integer(1, 10_000),
    "linkage": choice("ward", "complete", "average", "single"),
    "max_iter": integer(1, 10_000),
    "max_no_improvement": optional(integer(0, 10_000)),
    "mean_precision_prior": optional(number()),
    "mean_prior": optional(_check_array),
    "means_init": optional(_check_array),
    "metric": choice(*_METRICS),
    "metric_params": choice(None),
    "min_samples": integer(1, 2**20),
    "n_clusters": optional(_check_counted),
    "n_components": optional(integer(1, 100)),
    "n_init": _either(choice("auto"), integer(1, 100)),
    "n_neighbors": integer(1, 1000),
    "p": optional(number(1.0, 100.0)),
    "precisions_init": optional(_check_array),
    "random_state": check_random_state,
    "reassignment_ratio": number(0.0, 1.0),
    "reg_covar": number(0.0),
    "threshold": number(0.0),
    "tol": number(0.0),
    "verbose": _either(check_boolean, integer(0, 1000)),
    "verbose_interval": integer(1, 10_000),
    "warm_start": check_boolean,
    "weight_concentration_prior": optional(number()),
    "weight_concentration_prior_type": choice("dirichlet_process", "dirichlet_distribution"),
    "weights_init": optional(_check_array),
}


def check_clusterer(estimator: Any) -> None:
    """Check the parameters of a clusterer of scikit-learn, and those of a pipeline of them."""
    if isinstance(estimator, Pipeline):
        for _, step in estimator.steps:
            check_clusterer(step)
        return
    name = type(estimator).__name__
    if not is_clusterer(type(estimator)):
        raise TypeError(f"{name} is no clusterer that files may hold")
    for parameter, value in estimator.get_params(deep=False).items():
        if parameter not in unsaved_parameters(type(estimator)):
            constraint = _CLUSTERER_PARAMETERS.get(parameter, choice(None))
            constraint(f"{parameter} of {name}", value)
            if is_clusterer(type(value)):
                check_clusterer(value)
    estimator._validate_params()


# Parameters of the skorch net.

_OPTIMIZER_OPTIONS = (
    *("alpha", "amsgrad", "beta2_decay", "betas", "centered", "d", "dampening"),
    *("decoupled_weight_decay", "eps", "etas", "initial_accumulator_value", "lambd", "lr"),
    *("lr_decay", "maximize", "momentum", "momentum_decay", "nesterov", "rho", "step_sizes", "t0"),
    "weight_decay",
)


def _check_numbers(name: str, value: Any) -> None:
    """A number, a bool, or a few of them."""
    for item in value if isinstance(value, (list, tuple)) and len(value) <= 3 else [value]:
        if item is not None and not isinstance(item, (bool, np.bool_)):
            check_number(name, item) if isinstance(item, Real) else check_boolean(name, item)


_NET_PARAMETERS: dict[str, Constraint] = {
    **{f"optimizer__{name}": _check_numbers for name in _OPTIMIZER_OPTIONS},
    "iterator_train__drop_last": check_boolean,
    "iterator_train__shuffle": check_boolean,
    "iterator_valid__drop_last": check_boolean,
}
# Settings of a machine, which earlier versions saved. They change no result.
_OF_MACHINE = re.compile(
    r"iterator_(train|valid)__(num_workers|persistent_workers|pin_memory|prefetch_factor|timeout)"
    r"|optimizer__(capturable|differentiable|foreach|fused)"
)


def split_net_params(net_params: Mapping[str, Any]) -> tuple[dict[str, Any], list[str], list[str]]:
    """Parameters of a net that a file holds, names of settings of a machine, and other names."""
    kept = {name: value for name, value in net_params.items() if name in _NET_PARAMETERS}
    others = [str(name) for name in net_params if name not in kept]
    of_machine = [name for name in others if _OF_MACHINE.fullmatch(name)]
    return kept, of_machine, [name for name in others if name not in of_machine]


def check_net_params(net_params: Mapping[str, Any] | None) -> None:
    """Check values of parameters of a net that a file holds."""
    for name, value in (net_params or {}).items():
        _NET_PARAMETERS[name](f"net_params[{name!r}]", value)
