"""Models by name or file, and the detectors that belong to them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sklearn.pipeline import Pipeline

from sksep.activity._detector import ActivityDetector
from sksep.base._streams import array_rate, resolve_model
from sksep.peers._table import list_peers, load_peer
from sksep.persistence import load
from sksep.pretrained import list_pretrained, load_detector, load_pretrained
from sksep.transformers import GriffinLimInverter, MaskBuilder
from sksep.utils._validation import check_integer


def load_model(model: Any, *, n_iter: int | None = None, device: str = "auto") -> Any:
    """A fitted model by its name or file. A fitted model itself is returned as it is.

    Parameters
    ----------
    model : str, path or estimator
        Name of a model that ships (see `sksep.pretrained.list_pretrained`) or of another package
        (see `sksep.peers.list_peers`), file that `sksep.save` wrote, or fitted model.
    n_iter : int, default=None
        Griffin-Lim iterations of a model that is loaded. None keeps its own number.
    device : str, default="auto"
        Device of a model that is loaded.

    Returns
    -------
    estimator
        The model, with `predict`.

    Raises
    ------
    ImportError
        If the package of the model is not installed. The message says how to install it.
    ValueError, TypeError
        If there is no such model, or if the estimator is not a model. The message says which models
        there are.

    Examples
    --------
    >>> import sksep
    >>> [name for name, _ in sksep.load_model("uhnet").steps]
    ['chunk', 'mask', 'separate', 'invert']
    """
    estimator = _loaded(model, device) if isinstance(model, (str, os.PathLike)) else model
    array_rate(estimator)  # what is no model raises an error
    if n_iter is None:
        return estimator
    name, last = estimator.steps[-1] if isinstance(estimator, Pipeline) else ("", estimator)
    if not isinstance(last, GriffinLimInverter):
        kind = model if isinstance(model, str) else type(model).__name__
        raise ValueError(
            f"n_iter is for models that end in a GriffinLimInverter, which {kind} does not; leave "
            "it out."
        )
    check_integer("n_iter", n_iter, 0)
    if estimator is model:
        raise ValueError(f"Set {name}__n_iter of the pipeline itself; n_iter is for loading.")
    return estimator.set_params(**{f"{name}__n_iter": n_iter})


def _loaded(model: str | os.PathLike[str], device: str) -> Any:
    """The model of a name or a file."""
    name = os.fspath(model)
    if name in _shipped_names():
        return load_pretrained(name, device=device)
    if name in model_names():
        return load_peer(name, device=device)
    if Path(model).is_file():
        return load(model, device=device)
    names = ", ".join(model_names())
    raise ValueError(f"There is no model {name!r}: neither a file nor one of {names}.")


def model_names() -> list[str]:
    """Names that `load_model` takes: of models that ship, and of other packages."""
    return [*_shipped_names(), *(peer.name for peer in list_peers())]


def _shipped_names() -> list[str]:
    return [card.name for card in list_pretrained()]


def detector_of(model: Any) -> ActivityDetector:
    """The detector of vocal activity that belongs to a model."""
    name = os.fspath(model) if isinstance(model, (str, os.PathLike)) else ""
    return load_detector(name if name in _shipped_names() else "unet")


def target_of(pipeline: Any) -> str:
    """Name of the stem that a fitted model extracts: that of its `MaskBuilder`, or else vocals."""
    model = resolve_model(pipeline)
    if hasattr(model, "_given_members"):  # an ensemble, whose members extract one stem
        return target_of((model._fitted_members() or model._given_members())[0])
    steps = [step for _, step in model.steps] if isinstance(model, Pipeline) else []
    names = [step.target for step in steps if isinstance(step, MaskBuilder)]
    return str(names[0]) if names else "vocals"
