"""Folds of the models that ship: each is trained on half of all artists and tested on the rest."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from _lib.scores import SAMPLE_RATE, mono
from sksep.datasets import load_files

N_FOLDS = 2


def kept_indices(groups: Any, fold: int | None) -> list[int]:
    """Indices that a fold is trained on. Every other group, in the order of names, is left out."""
    held_out = set() if fold is None else set(sorted(set(groups))[fold::N_FOLDS])
    return [index for index, group in enumerate(groups) if group not in held_out]


def held_out_indices(groups: Any, fold: int) -> list[int]:
    """Indices that a fold is tested on."""
    kept = set(kept_indices(groups, fold))
    return [index for index in range(len(groups)) if index not in kept]


def fold_files(models: Path, name: str) -> dict[int, Path]:
    """Files of the models of a recipe that were trained on one half each, by fold."""
    paths = {fold: models / f"{name}-fold-{fold}.safetensors" for fold in range(N_FOLDS)}
    return {fold: path for fold, path in paths.items() if path.is_file()}


def held_out_pairs(songs: Any, fold: int) -> list[tuple[Any, Any]]:
    """Mixtures and vocals of a Bunch that a fold is tested on."""
    return [
        (songs.mixtures[index], songs.vocals[index])
        for index in held_out_indices(songs.groups, fold)
    ]


def instrumentals(data: Path, fold: int) -> list[str]:
    """Music without vocals, of the projects that a fold left out."""
    files = load_files(data / "instrumental")
    return [files.paths[index] for index in held_out_indices(files.groups, fold)]


def middle(path: str, seconds: float) -> np.ndarray:
    """The middle of a recording, at 16 kHz."""
    waveform = mono(path)
    length = round(seconds * SAMPLE_RATE)
    start = max(0, (len(waveform) - length) // 2)
    return waveform[start : start + length]
