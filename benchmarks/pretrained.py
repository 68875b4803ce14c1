"""Train the models that ship with sksep.

    python benchmarks/pretrained.py uhnet-mir1k --output trained
    python benchmarks/pretrained.py unet-mir1k --output trained
    python benchmarks/pretrained.py uhnet --fold 0 --output trained     # half of the artists
    python benchmarks/pretrained.py uhnet --resume trained/uhnet-fold-0.safetensors --output trained

The models that ship were made by these commands. held_out.py tests both folds of each. unet.py
makes the others.

Recordings are those of SKSEP_DATA_HOME (or --data): mir1k, musdb18-7s, full-songs, and the unpaired
singing and instrumental ones. Every recipe has its seed.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sklearn
import torch
from _lib.folds import N_FOLDS, kept_indices
from sklearn.pipeline import Pipeline

import sksep
from sksep.datasets import load_files, load_folder, load_mir1k, load_musdb18
from sksep.presets import uhnet_pipeline, unet_pipeline
from sksep.training import Augmentation

_STEPS_PER_EPOCH = 50
# MUSDB18's tracks are excerpts of seven seconds: thrice, they are as long as MIR-1K's clips.
_MUSDB18_COPIES = 3


@dataclass(frozen=True)
class Recordings:
    """Recordings that a model is trained on."""

    mixtures: list[Any]
    vocals: list[Any]
    singing: list[str] = field(default_factory=list)
    instrumental: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    Attributes
    ----------
    pipeline : callable
        A preset.
    recordings : {"mir1k", "general"}
        Recordings that it is trained on.
    steps : int
        Steps of the optimizer, with 8 excerpts of 4 s each.
    augmentation : dict
        Parameters of `Augmentation`.
    parameters : dict
        Changes of the preset.
    seed : int
        Seed of all random numbers.
    """

    pipeline: Callable[..., Pipeline]
    recordings: str
    steps: int
    augmentation: dict[str, Any]
    parameters: dict[str, Any] = field(default_factory=dict)
    seed: int = 0


_ONE_SPEED = {"true_pairs": 0.2, "speed_range": (0.7, 1.4)}
# Two singers become many by other speeds and formants.
_MANY_VOICES = {
    "true_pairs": 0.2,
    "speed_range": (0.85, 1.18),
    "vocals_speed_range": (0.55, 1.55),
    "formant_range": (0.85, 1.2),
}
SONGS = {
    "true_pairs": 0.35,
    "vocal_free": 0.06,
    "gain_range": (-8.0, 6.0),
    "speed_range": (0.8, 1.25),
}
# bfloat16 is 1.6 times as fast on a CPU that computes in it.
_AVERAGED = {"separate__weight_averaging": 0.995, "separate__precision": "bfloat16"}
_SMALL_EMBEDDING = {"separate__embedding_dim": 10}
RECIPES = {
    "unet-mir1k": Recipe(unet_pipeline, "mir1k", 1600, _MANY_VOICES, _AVERAGED),
    "uhnet-mir1k": Recipe(uhnet_pipeline, "mir1k", 1200, _ONE_SPEED, _SMALL_EMBEDDING),
    "uhnet": Recipe(uhnet_pipeline, "general", 1000, SONGS, _SMALL_EMBEDDING),
}


def main() -> None:
    """Train one model, and write it with a record of its training."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("model", choices=list(RECIPES))
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    parser.add_argument("--data", type=Path, help="folder of recordings (default: SKSEP_DATA_HOME)")
    parser.add_argument("--fold", type=int, choices=range(N_FOLDS), help="artists to leave out")
    parser.add_argument("--steps", type=int, help="optimizer steps (default: the recipe's)")
    parser.add_argument("--resume", type=Path, help="a model to train further, at half the rate")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipe = RECIPES[options.model]
    steps = options.steps or recipe.steps
    name = options.model + ("" if options.fold is None else f"-fold-{options.fold}")
    data = Path(options.data or os.environ["SKSEP_DATA_HOME"])
    recordings = {"mir1k": mir1k, "general": general}[recipe.recordings](data, options.fold)
    pipeline = build(recipe, recordings, steps, options.resume)
    print(f"{name}: {steps} steps on {len(recordings.mixtures)} tracks.", flush=True)
    started = time.perf_counter()
    pipeline.fit(recordings.mixtures, recordings.vocals)
    # The pools of recordings are folders of this machine.
    pipeline.set_params(
        separate__augmentation__vocals_pool=None,
        separate__augmentation__accompaniment_pool=None,
        separate__callbacks=None,
        separate__precision="auto",
        separate__warm_start=False,
        separate__verbose=0,
    )
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / f"{name}.safetensors"
    sksep.save(pipeline, path)
    record = {
        "model": options.model,
        "fold": options.fold,
        "n_folds": None if options.fold is None else N_FOLDS,
        "resumed": options.resume.stem if options.resume else None,
        "steps": steps,
        "excerpts_per_step": pipeline["separate"].batch_size,
        "seed": recipe.seed,
        "minutes": round((time.perf_counter() - started) / 60.0, 1),
        "threads": options.threads,
        "loss_curve": [round(loss, 4) for loss in pipeline["separate"].loss_curve_],
        "versions": {
            "sksep": sksep.__version__,
            "torch": torch.__version__,
            "scikit-learn": sklearn.__version__,
        },
    }
    path.with_suffix(".json").write_text(json.dumps(record, indent=1) + "\n")
    print(f"Wrote {path} after {record['minutes']} minutes.", flush=True)


def build(recipe: Recipe, recordings: Recordings, steps: int, resume: Path | None) -> Pipeline:
    """The pipeline to fit: a new one, or a trained one to train further."""
    pipeline = recipe.pipeline("recommended", **recipe.parameters)
    if resume is not None:
        pipeline = sksep.load(resume)
        pipeline.set_params(separate__warm_start=True, separate__lr=1e-3)
    augmentation = Augmentation(**recipe.augmentation)
    if recipe.recordings == "general":
        augmentation.set_params(
            vocals_pool=recordings.singing, accompaniment_pool=recordings.instrumental
        )
    batch_size = pipeline["separate"].batch_size
    return pipeline.set_params(
        separate__augmentation=augmentation,
        separate__validation_fraction=0.0,
        separate__excerpts_per_epoch=_STEPS_PER_EPOCH * batch_size,
        separate__max_epochs=max(1, steps // _STEPS_PER_EPOCH),
        separate__random_state=recipe.seed,
        separate__verbose=1,
    )


def mir1k(data: Path, fold: int | None) -> Recordings:
    """MIR-1K's training clips; a fold leaves one of the two singers out."""
    clips = load_mir1k(data / "mir1k", subset="train")
    kept = kept_indices(clips.groups, fold)
    return Recordings(*([clips[name][index] for index in kept] for name in ("mixtures", "vocals")))


def general(data: Path, fold: int | None) -> Recordings:
    """All recordings; a fold leaves half of the artists, singers and projects out."""
    mixtures, vocals = [], []
    songs = load_musdb18(data / "musdb18-7s", subset="train")
    for tracks, copies in (
        (songs, _MUSDB18_COPIES),
        (load_folder(data / "full-songs"), 1),
        (load_mir1k(data / "mir1k", subset="train"), 1),
    ):
        kept = kept_indices(tracks.groups, fold)
        mixtures += copies * [tracks.mixtures[index] for index in kept]
        vocals += copies * [tracks.vocals[index] for index in kept]
    return Recordings(mixtures, vocals, *(pool(data / name, fold) for name in POOLS))


# Folders of unpaired recordings, and patterns of the groups in their file names.
POOLS = {"singing": r"^(.*?_-_[A-Za-z]+-[A-Za-z]+-\d)", "instrumental": None}


def pool(folder: Path, fold: int | None) -> list[str]:
    """Unpaired recordings without those that a fold leaves out."""
    files = load_files(folder, group_pattern=POOLS[folder.name])
    return [files.paths[index] for index in kept_indices(files.groups, fold)]


if __name__ == "__main__":
    main()
