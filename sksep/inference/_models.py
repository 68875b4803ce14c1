"""Models by name or file, and the detectors that belong to them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from sklearn.pipeline import Pipeline

from sksep.activity._detector import ActivityDetector
from sksep.persistence import load
from sksep.pretrained import list_pretrained, load_detector, load_pretrained
from sksep.transformers import GriffinLimInverter, MaskBuilder, MelChunker
from sksep.utils._validation import check_integer


def load_model(model: Any, *, n_iter: int | None = None, device: str = "auto") -> Pipeline:
    """A fitted pipeline by its name or file. A pipeline is returned as it is.

    Parameters
    ----------
    model : str, path or Pipeline
        Name of a model that ships, file that `sksep.save` wrote, or fitted pipeline.
    n_iter : int, default=None
        Griffin-Lim iterations of a model that is loaded. None keeps its own number.
    device : str, default="auto"
        Device of a model that is loaded.

    Returns
    -------
    Pipeline

    Raises
    ------
    ValueError, TypeError
        If there is no such model, or if the pipeline is not a model. The message says which models
        there are.
    """
    if isinstance(model, (str, os.PathLike)):
        names = [card.name for card in list_pretrained()]
        if model in names:
            pipeline = load_pretrained(str(model), device=device)
        elif Path(model).is_file():
            pipeline = load(model, device=device)
        else:
            raise ValueError(
                f"There is no model {str(model)!r}: neither a file nor one of {', '.join(names)}."
            )
    else:
        pipeline = model
    if not isinstance(pipeline, Pipeline) or not isinstance(pipeline.steps[0][1], MelChunker):
        raise TypeError(
            "A model is a fitted Pipeline that begins with MelChunker; got "
            f"{type(pipeline).__name__}."
        )
    if n_iter is None:
        return pipeline
    name, last = pipeline.steps[-1]
    if not isinstance(last, GriffinLimInverter):
        raise ValueError("n_iter is for models that end in a GriffinLimInverter; leave it out.")
    check_integer("n_iter", n_iter, 0)
    if pipeline is model:
        raise ValueError(f"Set {name}__n_iter of the pipeline itself; n_iter is for loading.")
    return pipeline.set_params(**{f"{name}__n_iter": n_iter})


def detector_of(model: Any) -> ActivityDetector:
    """The detector of vocal activity that belongs to a model."""
    names = [card.name for card in list_pretrained()]
    return load_detector(model if isinstance(model, str) and model in names else "uhnet")


def target_of(pipeline: Any) -> str:
    """Name of the stem that a fitted model extracts: that of its `MaskBuilder`, or else vocals."""
    steps = [step for _, step in pipeline.steps] if isinstance(pipeline, Pipeline) else []
    names = [step.target for step in steps if isinstance(step, MaskBuilder)]
    return str(names[0]) if names else "vocals"


def model_rate(pipeline: Pipeline) -> int:
    return int(pipeline.steps[0][1].sample_rate)
