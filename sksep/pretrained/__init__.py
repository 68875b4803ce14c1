"""Models that ship with sksep: trained estimators, their cards and their detectors."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sksep.activity._detector import ActivityDetector
from sksep.persistence import load

__all__ = ["ModelCard", "list_pretrained", "load_detector", "load_pretrained"]

_FOLDER = Path(__file__).parent
# Models for songs in general come first, the best one before the others, and former ones last.
_FIRST, _FORMER = ("unet", "uhnet", "small"), "-v1"


@dataclass(frozen=True)
class ModelCard:
    """Description of a model that ships: its purpose, its training and its limits.

    Attributes
    ----------
    name : str
        Name that `load_pretrained` takes.
    summary : str
        Purpose of the model, in one sentence.
    architecture : str
        Network, front end and size.
    training_data : str
        Recordings of the training, and its duration.
    terms : str
        Permitted use of the weights.
    protocol : str
        Conditions under which the figures were measured.
    figures : dict of str to str
        Measured figures.
    limits : str
        Limits of the model.
    size_mb : float
        Size of the file, in megabytes.

    Examples
    --------
    >>> from sksep.pretrained import list_pretrained
    >>> [card.name for card in list_pretrained()]
    ['unet', 'uhnet', 'small', 'uhnet-mir1k', 'unet-mir1k', 'small-v1', 'unet-mir1k-v1']
    """

    name: str
    summary: str
    architecture: str
    training_data: str
    terms: str
    protocol: str
    figures: dict[str, str]
    limits: str
    size_mb: float


def list_pretrained() -> tuple[ModelCard, ...]:
    """Cards of the models that ship, the default first.

    Returns
    -------
    tuple of ModelCard
        One card per model.

    Examples
    --------
    >>> from sksep.pretrained import list_pretrained
    >>> all(card.size_mb <= 16 for card in list_pretrained())
    True
    """
    cards = [_card(path) for path in sorted(_FOLDER.glob("*.json"))]
    return tuple(sorted(cards, key=lambda card: _place(card.name)))


def _place(name: str) -> tuple[bool, int]:
    return name.endswith(_FORMER), _FIRST.index(name) if name in _FIRST else len(_FIRST)


def load_pretrained(name: str = "unet", *, device: str = "auto") -> Any:
    """A trained model that ships with sksep, like any other fitted estimator.

    Parameters
    ----------
    name : str, default="unet"
        Name of the model, see `list_pretrained`.
    device : str, default="auto"
        Device to compute on: "cpu", "cuda" or "mps"; "auto" takes the fastest one.

    Returns
    -------
    Pipeline or SpleeterSeparator
        Fitted pipeline with the steps ``chunk``, ``mask``, ``separate`` and ``invert``; "unet" and
        "small" are a `sksep.peers.SpleeterSeparator`. Names that end in "-v1" are models that had
        the name without it before, and will be removed in sksep 0.2. The weights come from
        recordings for research and non-commercial use, see the `ModelCard`.

    Raises
    ------
    ValueError
        If there is no such model. The message names all models.

    Examples
    --------
    >>> from sksep import load_pretrained
    >>> from sksep.datasets import make_songs
    >>> songs = make_songs(1, duration=3.0, random_state=0)
    >>> vocals = load_pretrained("small").predict(songs.mixtures)
    >>> vocals[0].shape
    (48000,)
    """
    path = _path(name, ".safetensors")
    if "estimator" in _description(path.with_suffix(".json")):
        import sksep  # whose rooms may use this one

        separator = sksep.peers.SpleeterSeparator(weights=name, sample_rate=16000, device=device)
        return separator._prepare()
    return load(path, device=device)


def load_detector(name: str = "unet") -> ActivityDetector:
    """The detector of vocal activity that goes with a model that ships.

    Parameters
    ----------
    name : str, default="unet"
        Name of the model, see `list_pretrained`.

    Returns
    -------
    ActivityDetector
        Detector that `sksep.vocal_activity` uses.

    Raises
    ------
    ValueError
        If there is no such model.

    Examples
    --------
    >>> from sksep.pretrained import load_detector
    >>> load_detector("uhnet") == load_detector("small-v1")
    True
    """
    return ActivityDetector.from_dict(_description(_path(name, ".json"))["activity"])


def _card(path: Path) -> ModelCard:
    card = _description(path)["card"]
    size = path.with_suffix(".safetensors").stat().st_size
    return ModelCard(**card, size_mb=round(size / 1e6, 1))


@cache
def _description(path: Path) -> dict[str, Any]:
    description: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return description


def _path(name: str, suffix: str) -> Path:
    names = [card.name for card in list_pretrained()]
    if name not in names:
        raise ValueError(f"There is no model {name!r} among those that ship: {', '.join(names)}.")
    return _FOLDER / f"{name}{suffix}"
