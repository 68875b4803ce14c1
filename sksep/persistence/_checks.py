"""Checks of what a file describes: values, sizes and costs, before anything is computed with it."""

from __future__ import annotations

import copy
import re
from dataclasses import asdict
from typing import Any

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline

from sksep.nn.front_end import FrontEnd
from sksep.nn.masks import RATIOS, WEIGHTINGS
from sksep.persistence._allowed import (
    check_clusterer,
    check_net_params,
    is_clusterer,
    is_pairwise,
)
from sksep.utils._parameters import Estimator
from sksep.utils._validation import (
    Constraint,
    check_boolean,
    check_choice,
    integer,
    number,
    optional,
)

_DEVICE = re.compile(r"auto|cpu|mps|cuda(:\d{1,2})?")
# Samples that a clusterer may compare in pairs: their distances take 0.8 GB.
_MOST_PAIRED = 10_000
# Number of rows and columns of learned arrays.
_LONGEST = 2**20
_SEEDS = integer(0, 2**32 - 1)


def check_device(name: str, value: Any) -> None:
    """Constraint: a device that may be missing here."""
    if not isinstance(value, str) or not _DEVICE.fullmatch(value):
        raise ValueError(f"{name} must be 'auto', 'cpu', 'cuda' or 'mps'; got {value!r:.200}.")


def check_estimator(estimator: Any) -> None:
    """Check the parameters of an estimator that was not fitted yet, except its device.

    Raises
    ------
    TypeError, ValueError
        If a parameter has a value that the estimator refuses, or that would take too long or too
        much memory.
    """
    if isinstance(estimator, Pipeline):
        _check_steps(estimator)
    elif isinstance(estimator, FrozenEstimator):
        if not isinstance(estimator.estimator, (Estimator, Pipeline)):
            raise TypeError("FrozenEstimator must hold an estimator of sksep or a pipeline")
    elif is_clusterer(type(estimator)):
        check_clusterer(estimator)
    else:
        parameters = estimator.get_params(deep=False)
        checked = copy.copy(estimator)
        if "device" in parameters:
            checked.device = "cpu"  # the device of the file need not be here
        checked._check_parameters()
        check_net_params(parameters.get("net_params"))
        if parameters.get("clusterer") is not None:
            check_clusterer(estimator.clusterer)
            _check_pairs(estimator.clusterer, estimator.max_samples)
        if type(estimator).__name__ == "MelChunker":
            _check_cost(_front_end_of(estimator))


def check_learned(estimator: Any, learned: dict[str, Any]) -> None:
    """Check what an estimator has learned: all of it, and nothing else.

    Parameters
    ----------
    estimator : estimator
        The estimator with checked parameters.
    learned : dict
        Fitted attributes by name, and "net" for a trained net, see `NetSeparator._fitted_state`.

    Raises
    ------
    TypeError, ValueError
        If an attribute is unknown, is missing, or has a value that it cannot have.
    """
    if not learned:
        return
    required = _learned_by(estimator)
    unknown = sorted(set(learned) - set(required))
    missing = sorted(set(required) - set(learned) - _ADDED_LATER)
    if unknown or missing:
        what = f"{unknown} are no fitted attributes" if unknown else f"{missing} are missing"
        raise TypeError(f"{what!s:.300} of {type(estimator).__name__}")
    for name, value in learned.items():
        _LEARNED[name](name, value)
    if "front_end_" not in required:
        return
    n_bands = learned["front_end_"].n_bands
    dim = getattr(estimator, "embedding_dim", None)
    for name in ("vocal_centroid_", "accompaniment_centroid_"):
        if name in learned and learned[name].shape != (dim,):
            raise ValueError(f"{name} must have {dim} elements, got {learned[name].shape}")
    vocals, rest = (learned.get(f"{name}_components_") for name in ("vocal", "accompaniment"))
    if (vocals is None) != (rest is None):
        raise ValueError("vocal_components_ and accompaniment_components_ belong together")
    if vocals is not None and rest is not None:
        widths = {vocals.shape[1], rest.shape[1]}
        if len(widths) > 1 or widths.pop() % n_bands:
            raise ValueError(f"the components do not fit {n_bands} bands")
    _check_working_memory(estimator, learned["front_end_"])


def _check_working_memory(estimator: Any, front_end: FrontEnd) -> None:
    """Limits of what an estimator works on at a time; a few GB at most."""
    rate = front_end.sample_rate / front_end.hop_length
    if hasattr(estimator, "batch_size"):
        n_bins = estimator.batch_size * front_end.n_frames * front_end.n_bands
        _check_limit("bins of a batch", n_bins, 2**26)
        _check_limit("features of a batch", n_bins * getattr(estimator, "n_filters", 1), 2**29)
    if hasattr(estimator, "block_duration"):
        n_frames = rate * estimator.block_duration
        n_bins = n_frames * front_end.n_bands * getattr(estimator, "n_context_frames", 1)
        _check_limit("bins of a block", n_bins, 2**26)
        if hasattr(estimator, "neighbor_share"):  # it compares frames in pairs
            _check_limit("pairs of frames", n_frames * estimator.block_duration / 0.032, 2**28)


def _check_steps(pipeline: Pipeline) -> None:
    """Steps by name, and in the only order that works."""
    names = []
    for step in pipeline.steps if isinstance(pipeline.steps, list) else [None]:
        if not isinstance(step, tuple) or len(step) != 2 or not isinstance(step[0], str):
            raise TypeError(f"a step of a pipeline must be a name and an estimator: {step!r:.100}")
        if step[1] is not None and step[1] != "passthrough" and not hasattr(step[1], "get_params"):
            raise TypeError(f"the step {step[0]!r:.100} is no estimator: {step[1]!r:.100}")
        names.append(step[0])
    if not names:
        raise ValueError("a pipeline needs steps")
    check_boolean("verbose", pipeline.verbose)
    if pipeline.transform_input is not None:
        raise ValueError("transform_input of a pipeline must be None")
    pipeline._validate_names(names)
    pipeline._validate_steps()
    kinds = [kind for kind in map(_kind, _flat(pipeline)) if kind is not None]
    if kinds != sorted(kinds) or any(kinds.count(kind) > 1 for kind in (0, 2, 3)):
        raise ValueError(
            "the steps of a pipeline must be a MelChunker, a MaskBuilder, a separator and an "
            "inverter, in this order"
        )


def _flat(estimator: Any) -> list[Any]:
    """The steps of a pipeline, those of pipelines within it included."""
    if isinstance(estimator, FrozenEstimator):
        return _flat(estimator.estimator)
    if isinstance(estimator, Pipeline):
        return [part for _, step in estimator.steps for part in _flat(step)]
    return [estimator]


def _kind(step: Any) -> int | None:
    """Place of a step of sksep in a pipeline."""
    name = type(step).__name__
    if name.endswith("Separator"):
        return 2
    return {"MelChunker": 0, "MaskBuilder": 1, "GriffinLimInverter": 3}.get(name)


def _check_pairs(clusterer: Any, max_samples: int) -> None:
    for part in _flat(clusterer):
        nested = getattr(part, "n_clusters", None)
        if is_pairwise(type(part)) or is_pairwise(type(nested)):
            what = f"max_samples of {type(part).__name__}, which compares all pairs,"
            _check_limit(what, max_samples, _MOST_PAIRED)


# The front end.


def _front_end_of(chunker: Any) -> FrontEnd:
    names = ("sample_rate", "n_fft", "hop_length", "n_mels", "n_frames", "overlap", "f_min")
    parameters = {name: getattr(chunker, name) for name in names}
    return FrontEnd(**parameters, f_max=chunker.f_max)


def check_front_end(name: str, value: Any) -> None:
    """Constraint: a front end that a `MelChunker` makes, at a bearable cost."""
    import sksep

    if not isinstance(value, FrontEnd):
        raise TypeError(f"{name} must be a front end, got {value!r:.100}")
    parameters = asdict(value)
    if value.n_mels is None and value.f_max == value.sample_rate / 2:
        parameters["f_max"] = None
    sksep.MelChunker(**parameters)._check_parameters()
    _check_cost(value)


def _check_cost(front_end: FrontEnd) -> None:
    """Limits of time and memory; a usual front end needs less than a tenth of any of them."""
    n_bands, n_frames = front_end.n_bands, front_end.n_frames
    limits = {
        "sample_rate": (front_end.sample_rate, 768_000),
        "n_fft": (front_end.n_fft, 2**16),
        "n_fft / hop_length": (front_end.n_fft / front_end.hop_length, 64),
        "bins per second": (front_end.sample_rate / front_end.hop_length * n_bands, 2**20),
        "weights of the mel bands": (n_bands * (front_end.n_fft // 2 + 1), 2**23),
        "n_frames": (n_frames, 2**14),
        "bins of a chunk": (n_frames * n_bands, 2**22),
        "chunks that overlap": (n_frames / front_end.chunk_step, 32),
    }
    for what, (value, limit) in limits.items():
        _check_limit(what, value, limit)


def _check_limit(what: str, value: float, limit: float) -> None:
    if value > limit:
        raise ValueError(f"{what}: {value:.10g} are more than a file may ask for ({limit:.10g})")


# Fitted attributes.


def _learned_by(estimator: Any) -> tuple[str, ...]:
    """Names of what an estimator learns."""
    name = type(estimator).__name__
    if name in ("MaskBuilder", "Augmentation", "Pipeline", "FrozenEstimator"):
        return ()
    if name in ("TestTimeAugmentation", "VotingSeparator"):
        return ("members",)
    further: tuple[str, ...] = {
        "NMFSeparator": ("vocal_components_", "accompaniment_components_", "seed_"),
        "OracleMaskSeparator": ("truth_",),
    }.get(name, ())
    if hasattr(estimator, "net_params"):
        further = ("level_", "n_epochs_", "net")
    if hasattr(estimator, "clusterer"):
        further += ("vocal_centroid_", "accompaniment_centroid_", "clusterer_seed_")
    return ("front_end_", *further)


def _array(n_dimensions: int) -> Constraint:
    """Constraint: a float32 array of numbers of at most 1, which are 0 or more in a matrix."""

    def check(name: str, value: Any) -> None:
        is_array = isinstance(value, np.ndarray) and value.dtype == np.float32
        if not is_array or value.ndim != n_dimensions or not value.size:
            raise TypeError(f"{name} must be an array of {n_dimensions} dimensions")
        lowest = 0.0 if n_dimensions == 2 else -1.001  # with rounding errors
        if max(value.shape) > _LONGEST or value.min() < lowest or value.max() > 1.001:
            raise ValueError(f"{name} holds values that are not possible")

    return check


def _optional_components(name: str, value: Any) -> None:
    if value is not None:
        _array(2)(name, value)


def _check_truth(name: str, value: Any) -> None:
    if not isinstance(value, dict):
        raise TypeError(f"{name} must be a dict of waveforms")
    for waveform in value.values():
        if not isinstance(waveform, np.ndarray) or waveform.dtype != np.float32:
            raise TypeError(f"{name} must be a dict of waveforms")


def _check_members(name: str, value: Any) -> None:
    """Fitted members of an ensemble, which compares them with its parameters."""
    if not isinstance(value, list) or not all(
        member is None or hasattr(member, "get_params") for member in value
    ):
        raise TypeError(f"{name} must be a list of estimators")


def _check_net(name: str, value: Any) -> None:
    """Kinds of the targets, the training history, and weights, which the network checks."""
    if not isinstance(value, dict) or sorted(value) != ["history", "settings", "weights"]:
        raise TypeError(f"{name} must hold the history, settings and weights of a net")
    settings, history = value["settings"], value["history"]
    if not isinstance(settings, dict) or sorted(settings) != ["ratio", "weighting"]:
        raise TypeError("the settings of a net must be ratio and weighting")
    check_choice("ratio", settings["ratio"], RATIOS)
    check_choice("weighting", settings["weighting"], WEIGHTINGS)
    if not isinstance(history, list) or not all(isinstance(row, dict) for row in history):
        raise TypeError("the history must be a list of rows")
    for row in history:
        for key, recorded in row.items():
            if not isinstance(recorded, (bool, int, float, str)):
                raise TypeError(f"the history holds {key!r:.100}={recorded!r:.100}")
            if key in ("train_loss", "valid_loss") and isinstance(recorded, (bool, str)):
                raise TypeError(f"the history holds {key}={recorded!r:.100}")


_LEARNED: dict[str, Constraint] = {
    "accompaniment_centroid_": _array(1),
    "accompaniment_components_": _optional_components,
    "clusterer_seed_": _SEEDS,
    "front_end_": check_front_end,
    "members": _check_members,
    "level_": optional(number(-1000.0, 1000.0)),
    "n_epochs_": integer(0, 2**31),
    "net": _check_net,
    "seed_": _SEEDS,
    "truth_": _check_truth,
    "vocal_centroid_": _array(1),
    "vocal_components_": _optional_components,
}
# Attributes that files of earlier versions lack.
_ADDED_LATER = frozenset({"level_"})
