"""Which recipe generalises? A grid search on MIR-1K's training clips and unknown singers.

    python benchmarks/search.py --list
    python benchmarks/search.py --steps 400 --only unet uhnet       # among those of --list

Everything is chosen without a clip of MIR-1K's test part. Trained on the clips of four fifths of
the songs of abjones and amy; tested on the accompaniments of the other songs, each with a singer of
the `singing` recordings, who is not in MIR-1K at all, as loud as the accompaniment; beside that, on
the other songs as they are, with the singers of training. The score is the mean NSDR (BSSEval v3,
16 kHz, mono, 10 Griffin-Lim iterations).

Candidates are those of `CANDIDATES` below: changes of the recommended preset. Each is one candidate
of scikit-learn's GridSearchCV; results are added to those that are there already, by name.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _results import FOLDER, markdown_table, write
from _scores import mono
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline

from sksep.datasets import load_files, load_mir1k
from sksep.metrics import nsdr_scorer
from sksep.presets import uhnet_pipeline, unet_pipeline
from sksep.training import Augmentation

N_TESTS = 36
_SCORES = ("NSDR, unknown singers", "NSDR, known singers")
_AUGMENTATION = "separate__augmentation"

# Name -> what makes the pipeline, and its changes of the recommended preset.
CANDIDATES: dict[str, tuple[Callable[..., Pipeline], dict[str, Any]]] = {
    "unet": (unet_pipeline, {}),
    "unet, speed 0.87 to 1.15": (
        unet_pipeline,
        {_AUGMENTATION: Augmentation(true_pairs=0.2, speed_range=(0.87, 1.15))},
    ),
    "uhnet": (uhnet_pipeline, {}),
    "fully convolutional": (
        unet_pipeline,
        {"separate__architecture": "fully_convolutional", "separate__n_levels": 5},
    ),
}


def main() -> None:
    """Search, and write what was found."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", help="folder of MIR-1K (default: mir1k in SKSEP_DATA_HOME)")
    parser.add_argument("--singing", help="folder of further singers (default: singing beside it)")
    parser.add_argument("--steps", type=int, default=400, help="training steps of each candidate")
    parser.add_argument("--threads", type=int, help="threads of torch (default: its own choice)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", default=list(CANDIDATES), metavar="NAME")
    parser.add_argument("--list", action="store_true", help="print the candidates and stop")
    options = parser.parse_args()
    unknown = sorted(set(options.only) - set(CANDIDATES))
    if options.list or unknown:
        raise SystemExit("Candidates: " + "; ".join(CANDIDATES))
    if options.threads:
        torch.set_num_threads(options.threads)
    mixtures, vocals, folds = recordings(options)
    for name in options.only:
        row = searched(name, mixtures, vocals, folds, options)
        print(json.dumps(row), flush=True)
        add(row)


def searched(
    name: str, mixtures: list[Any], vocals: list[Any], folds: Any, options: argparse.Namespace
) -> dict[str, Any]:
    """One candidate, trained and scored."""
    make, changes = CANDIDATES[name]
    pipeline = make("recommended", separate__random_state=options.seed)
    batch_size = pipeline["separate"].batch_size
    grid = {
        "separate__validation_fraction": 0.0,
        "separate__excerpts_per_epoch": 50 * batch_size,
        "separate__max_epochs": max(1, options.steps // 50),
        **changes,
    }
    started = time.perf_counter()
    search = GridSearchCV(
        pipeline,
        [{parameter: [value] for parameter, value in grid.items()}],
        scoring=scores,
        cv=folds,
        refit=False,
        error_score="raise",
    ).fit(mixtures, vocals)
    return {
        "candidate": name,
        "steps": 50 * grid["separate__max_epochs"],
        "seed": options.seed,
        **{name: float(search.cv_results_[f"mean_test_{name}"][0]) for name in _SCORES},
        "minutes": (time.perf_counter() - started) / 60.0,
        "threads": torch.get_num_threads(),
    }


def recordings(options: argparse.Namespace) -> tuple[list[Any], list[Any], Any]:
    """Mixtures and vocals, and their indices for training and for test."""
    clips = load_mir1k(options.data, subset="train")
    songs = np.array(["_".join(Path(clip.paths[0]).stem.split("_")[:2]) for clip in clips.mixtures])
    held_out = np.isin(songs, sorted(set(songs))[::5])
    train, test = np.flatnonzero(~held_out), np.flatnonzero(held_out)[:N_TESTS]
    folder = options.singing or Path(clips.mixtures[0].paths[0]).parents[1] / "singing"
    pool = sorted(load_files(folder).paths)
    random = np.random.default_rng(0)
    order = random.permutation(len(pool))
    mixtures = [clips.mixtures[index] for index in train]
    vocals = [clips.vocals[index] for index in train]
    others: list[Any] = []
    for count, index in enumerate(test):
        accompaniment = mono(clips.mixtures[index]) - mono(clips.vocals[index])
        unknown = excerpt(pool[order[count % len(pool)]], len(accompaniment), random)
        unknown *= sounding_level(accompaniment) / sounding_level(unknown)
        mixtures.append(unknown + accompaniment)
        vocals.append(unknown)
        others.append((clips.mixtures[index], clips.vocals[index]))
    mixtures += [mixture for mixture, _ in others]
    vocals += [known for _, known in others]
    first = np.arange(len(train))
    return mixtures, vocals, [(first, np.arange(len(train), len(mixtures)))]


def scores(pipeline: Pipeline, mixtures: list[Any], vocals: list[Any]) -> dict[str, float]:
    """NSDR with the unknown singers, who are the first half of the tests, and with the known."""
    half = len(mixtures) // 2
    parts = (slice(0, half), slice(half, None))
    return {
        name: nsdr_scorer(pipeline, mixtures[part], vocals[part])
        for name, part in zip(_SCORES, parts, strict=True)
    }


def excerpt(path: str, n_samples: int, random: np.random.Generator) -> np.ndarray:
    """A random part of a recording, repeated where that is too short."""
    waveform = mono(path)
    if len(waveform) < n_samples:
        waveform = np.tile(waveform, -(-n_samples // len(waveform)))
    start = random.integers(0, len(waveform) - n_samples + 1)
    return waveform[start : start + n_samples].copy()


def sounding_level(waveform: np.ndarray) -> float:
    """Root mean square of the samples within 40 dB of the loudest."""
    sounding = np.abs(waveform) > 0.01 * np.abs(waveform).max()
    return float(np.sqrt(np.mean(waveform[sounding] ** 2)))


def add(row: dict[str, Any]) -> None:
    """Put a row among those of earlier searches."""
    path = FOLDER / "search.json"
    rows = json.loads(path.read_text())["rows"] if path.is_file() else []
    key = ("candidate", "steps", "seed")
    rows = [old for old in rows if any(old[name] != row[name] for name in key)] + [row]
    rows.sort(key=lambda each: -each[_SCORES[0]])
    write("search", {"rows": rows}, markdown_table(rows))


if __name__ == "__main__":
    main()
