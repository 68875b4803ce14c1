"""Train the models that ship with sksep.

    python benchmarks/pretrained.py uhnet-mir1k --output trained
    python benchmarks/pretrained.py unet-mir1k --output trained
    python benchmarks/pretrained.py uhnet --fold 0 --output trained     # half of the artists
    python benchmarks/pretrained.py uhnet --resume trained/uhnet-fold-0.safetensors --output trained
    python benchmarks/pretrained.py uhnet-taught --fold 0 --work trained/unet --output trained
    ... --set separate__loss bce --set mask__ratio magnitude --name uhnet-shares

The models that ship were made by the first four commands; unet.py makes the others. held_out.py
tests both folds of each. --work is a folder for the stems that a teacher estimates for songs
without any (those that `unet.py prepare` wrote are taken). A training that was interrupted goes on
from its last checkpoint, in the folder --output.

Recordings are those of SKSEP_DATA_HOME (or --data): mir1k, musdb18-7s, full-songs, songs, mixes,
and the unpaired singing and instrumental ones. Every recipe has its seed.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
import soundfile
import torch
from _lib.folds import N_FOLDS, kept_indices
from _lib.options import add_changes, changes
from _lib.scores import SAMPLE_RATE
from _lib.teacher import taught, teach
from sklearn.pipeline import Pipeline

import sksep
from sksep.datasets import load_files, load_folder, load_mir1k, load_musdb18
from sksep.presets import hybrid_clustering_pipeline, uhnet_pipeline, unet_pipeline
from sksep.training import Augmentation

_STEPS_PER_EPOCH = 50
# Electronic music by one, mostly processed, voice.
RARE_ARTIST, RARE_SHARE = "Software-Entwicklungskit", 0.3
# Sets of pairs, and how often a second of their tracks is drawn.
_CLIPS = {"mir1k": 1.0}
PAIRS = {"musdb18-7s": 3.0, "full-songs": 1.0, "mir1k": 1.0}
_MORE_PAIRS = {"musdb18-7s": 3.0, "full-songs": 1.0, "songs": 1.0, "mir1k": 0.7}


@dataclass(frozen=True)
class Recordings:
    """Recordings that a model is trained on.

    Attributes
    ----------
    mixtures, vocals : list
        Tracks: files, or waveforms at 16 kHz.
    weights : list of float
        Weights of the tracks: how often a second of them is drawn.
    singing, instrumental : list of str
        Files of unpaired recordings.
    """

    mixtures: list[Any]
    vocals: list[Any]
    weights: list[float]
    singing: list[str] = field(default_factory=list)
    instrumental: list[str] = field(default_factory=list)

    @property
    def minutes(self) -> float:
        """Length of the tracks times their weights."""
        tracks = zip(self.mixtures, self.weights, strict=True)
        return sum(seconds(track) * weight for track, weight in tracks) / 60.0

    def and_unpaired(self, data: Path, fold: int | None) -> Recordings:
        """These, and the unpaired recordings; a fold leaves half of singers and projects out."""
        return replace(self, **{name: pool(data / name, fold) for name in POOLS})

    def and_taught(self, paths: list[Path], share: float) -> Recordings:
        """These, and songs whose vocals a teacher estimated, which get a share of the excerpts."""
        mixtures, vocals = taught(paths)
        minutes = sum(map(seconds, mixtures)) / 60.0
        weight = self.minutes * share / (1.0 - share) / minutes
        return replace(
            self,
            mixtures=[*self.mixtures, *mixtures],
            vocals=[*self.vocals, *vocals],
            weights=[*self.weights, *[weight] * len(mixtures)],
        )


def seconds(track: Any) -> float:
    """Length of a track: files, or a waveform at 16 kHz."""
    if isinstance(track, np.ndarray):
        return len(track) / SAMPLE_RATE
    return float(soundfile.info(track.paths[0]).duration)


@dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    Attributes
    ----------
    pipeline : callable
        A preset.
    pairs : dict
        Names of the sets of pairs, and weights of their tracks.
    steps : int
        Steps of the optimizer, with 8 excerpts of 4 s each.
    augmentation : dict
        Parameters of `Augmentation`.
    parameters : dict
        Changes of the preset.
    unpaired : bool
        Whether they are remixed with the unpaired recordings.
    taught : float
        Share of the excerpts, before remixing, that are of songs whose vocals a teacher estimated.
    seed : int
        Seed of all random numbers.
    """

    pipeline: Callable[..., Pipeline]
    pairs: dict[str, float]
    steps: int
    augmentation: dict[str, Any]
    parameters: dict[str, Any] = field(default_factory=dict)
    unpaired: bool = False
    taught: float = 0.0
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
_AVERAGED = {"separate__weight_averaging": 0.995}
_SMALL_EMBEDDING = {"separate__embedding_dim": 10}
RECIPES = {
    "unet-mir1k": Recipe(unet_pipeline, _CLIPS, 1600, _MANY_VOICES, _AVERAGED),
    "uhnet-mir1k": Recipe(uhnet_pipeline, _CLIPS, 1200, _ONE_SPEED, _SMALL_EMBEDDING),
    "uhnet": Recipe(uhnet_pipeline, PAIRS, 1000, SONGS, _SMALL_EMBEDDING, unpaired=True),
}
# Recipes of which no model ships; docs/measurements.md says what they gave.
TRIALS = {
    "uhnet-taught": Recipe(
        uhnet_pipeline,
        _MORE_PAIRS,
        1000,
        SONGS,
        _SMALL_EMBEDDING | _AVERAGED,
        unpaired=True,
        taught=0.4,
    ),
    # The report's losses; masks.py reads the IoU of its masks.
    "hybrid-taught": Recipe(
        hybrid_clustering_pipeline,
        _MORE_PAIRS,
        1000,
        SONGS,
        {"mask__ratio": "magnitude"} | _AVERAGED,
        unpaired=True,
        taught=0.4,
    ),
}


def main() -> None:
    """Train one model, and write it with a record of its training."""
    parser = _parser()
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    recipe = (RECIPES | TRIALS)[options.model]
    steps = options.steps or recipe.steps
    name = options.name or options.model
    name += "" if options.fold is None else f"-fold-{options.fold}"
    data = Path(options.data or os.environ["SKSEP_DATA_HOME"])
    if recipe.taught and options.work is None:
        parser.error(f"{options.model} needs --work, the folder of the teacher's stems.")
    recordings = pairs_of(recipe.pairs, data, options.fold)
    if recipe.unpaired:
        recordings = recordings.and_unpaired(data, options.fold)
    if recipe.taught:
        recordings = recordings.and_taught(teach(data, options.work), recipe.taught)
    pipeline = build(recipe, recordings, steps, options.resume, options.output)
    pipeline.set_params(**changes(options))
    print(f"{name}: {steps} steps on {len(recordings.mixtures)} tracks.", flush=True)
    started = time.perf_counter()
    fit(pipeline, recordings)
    # The pools of recordings are folders of this machine.
    pipeline.set_params(
        separate__augmentation__vocals_pool=None,
        separate__augmentation__accompaniment_pool=None,
        separate__callbacks=None,
        separate__checkpoint=None,
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
        "changes": {name: repr(value) for name, value in changes(options).items()},
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("model", choices=[*RECIPES, *TRIALS])
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    parser.add_argument("--data", type=Path, help="folder of recordings (default: SKSEP_DATA_HOME)")
    parser.add_argument("--fold", type=int, choices=range(N_FOLDS), help="artists to leave out")
    parser.add_argument("--steps", type=int, help="optimizer steps (default: the recipe's)")
    parser.add_argument("--work", type=Path, help="folder of the teacher's stems")
    parser.add_argument("--resume", type=Path, help="a model to train further, at half the rate")
    add_changes(parser)
    parser.add_argument("--name", help="of the files (default: that of the model)")
    parser.add_argument("--threads", type=int, default=1)
    return parser


def build(
    recipe: Recipe,
    recordings: Recordings,
    steps: int,
    resume: Path | None = None,
    output: Path | None = None,
) -> Pipeline:
    """The pipeline to fit: a new one, or a trained one to train further."""
    pipeline = recipe.pipeline("recommended", **recipe.parameters)
    if resume is not None:
        pipeline = sksep.load(resume).set_params(**recipe.parameters)
        pipeline.set_params(separate__warm_start=True, separate__lr=1e-3)
    augmentation = Augmentation(**recipe.augmentation)
    if recipe.unpaired:
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
        separate__checkpoint=output,
        separate__verbose=1,
    )


def fit(pipeline: Pipeline, recordings: Recordings) -> None:
    """Fit a pipeline. Weights that are all equal are left out, since they change the draws."""
    given: dict[str, Any] = {}
    if len(set(recordings.weights)) > 1:
        given["separate__sample_weight"] = recordings.weights
    pipeline.fit(recordings.mixtures, recordings.vocals, **given)


def pairs_of(sets: dict[str, float], data: Path, fold: int | None) -> Recordings:
    """The tracks of weighted sets; a fold leaves half of the artists out."""
    mixtures, vocals, weights = [], [], []
    for name, weight in sets.items():
        load = {"musdb18-7s": load_musdb18, "mir1k": load_mir1k}.get(name)
        songs = load_folder(data / name) if load is None else load(data / name, subset="train")
        for index in kept_indices(songs.groups, fold):
            mixtures.append(songs.mixtures[index])
            vocals.append(songs.vocals[index])
            is_rare = str(songs.groups[index]).startswith(RARE_ARTIST)
            weights.append(weight * (RARE_SHARE if is_rare else 1.0))
    return Recordings(mixtures, vocals, weights)


# Folders of unpaired recordings, and patterns of the groups in their file names.
POOLS = {"singing": r"^(.*?_-_[A-Za-z]+-[A-Za-z]+-\d)", "instrumental": None}


def pool(folder: Path, fold: int | None) -> list[str]:
    """Unpaired recordings without those that a fold leaves out."""
    files = load_files(folder, group_pattern=POOLS[folder.name])
    return [files.paths[index] for index in kept_indices(files.groups, fold)]


if __name__ == "__main__":
    main()
