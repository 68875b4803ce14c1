"""Learn the detector of vocal activity, and score it on the labels of MIR-1K.

    python benchmarks/activity.py --models trained --output activity.json
    python benchmarks/activity.py --model unet --models trained/unet --output unet.json

Needs the two fold models of `pretrained.py uhnet --fold K`, or of `unet.py train --fold K`: each
singer's clips are separated by the model that was not trained on that singer, and instrumentals by
the one that was not trained on their project. F-measure, precision and recall are those of the
intervals in frames of 20 ms; the area under the ROC curve (AUC) is that of the probabilities of the
frames. A detector is learned on one singer and tested on the other, and learned on all other songs
of both singers. The same scores for the true vocals in place of the estimate show how far levels
and labels agree at all.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _lib.folds import N_FOLDS, held_out_indices, instrumentals, middle
from _lib.models import load_trained
from _lib.results import FOLDER, markdown_table, write
from _lib.scores import SAMPLE_RATE, mono
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import Pipeline

from sksep.activity._detector import ActivityDetector, VocalActivity
from sksep.activity._levels import LevelMeter
from sksep.datasets import load_mir1k

# Excerpts of instrumentals, from their middles.
_N_INSTRUMENTALS, _INSTRUMENTAL_SECONDS = 20, 10.0
_N_SONG_FOLDS = 10


@dataclass(frozen=True)
class Clips:
    """Levels of labeled clips, and who sings which song in each."""

    levels: list[np.ndarray]
    labels: list[np.ndarray]
    singers: np.ndarray
    songs: np.ndarray


def main() -> None:
    """Separate, measure, learn and test; write the result and the detector."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--models", type=Path, required=True, help="folder of pretrained.py")
    parser.add_argument("--model", default="uhnet")
    parser.add_argument("--data", type=Path, help="folder of recordings (default: SKSEP_DATA_HOME)")
    parser.add_argument("--output", type=Path, help="file of the detector (.json)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, default=FOLDER)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = Path(options.data or os.environ["SKSEP_DATA_HOME"])
    models = [
        load_trained(options.models / f"{options.model}-fold-{fold}.safetensors")
        for fold in range(N_FOLDS)
    ]
    for model in models:
        if isinstance(model, Pipeline):
            model.set_params(invert__n_iter=0)
    estimated = clips(data, models)
    rows = tested(options.model, estimated) + tested("true vocals", clips(data, None))
    table = markdown_table([rounded(row) for row in rows])
    print(table, flush=True)
    labels = track_labels(
        estimated, [instrumental_levels(data, *item) for item in enumerate(models)]
    )
    print(markdown_table([labels]), flush=True)
    write(
        "activity" if options.model == "uhnet" else f"activity_{options.model}",
        {"rows": rows, "track labels": labels},
        f"{table}\n\n{markdown_table([labels])}",
        options.results,
    )
    if options.output:
        detector = ActivityDetector.learn(estimated.levels, estimated.labels)
        options.output.write_text(json.dumps(detector.as_dict(), indent=1) + "\n")


def clips(data: Path, models: list[Pipeline] | None) -> Clips:
    """MIR-1K's training clips, separated by the model that left out their singer; or as sung."""
    bunch = load_mir1k(data / "mir1k", subset="train", labels=True)
    vocals = list(bunch.vocals)
    for fold, model in enumerate(models or []):
        for index in held_out_indices(bunch.groups, fold):
            vocals[index] = model.predict([bunch.mixtures[index]])[0]
    return Clips(
        [measured(*pair) for pair in zip(bunch.mixtures, vocals, strict=True)],
        list(bunch.vocal_activity),
        np.array(bunch.groups),
        np.array([name.rsplit("_", 1)[0] for name in bunch.track_names]),
    )


def instrumental_levels(data: Path, fold: int, model: Pipeline) -> list[np.ndarray]:
    """Levels of excerpts of projects that a fold left out."""
    paths = instrumentals(data, fold)
    n_excerpts = min(len(paths), _N_INSTRUMENTALS // N_FOLDS)
    levels = []
    for place in np.linspace(0, len(paths) - 1, n_excerpts).round().astype(int):
        excerpt = middle(paths[place], _INSTRUMENTAL_SECONDS)
        levels.append(measured(excerpt, model.predict([excerpt])[0]))
    return levels


def measured(mixture: Any, vocals: Any) -> np.ndarray:
    """Levels of a track."""
    meter = LevelMeter(SAMPLE_RATE)
    meter.add(mono(mixture), mono(vocals))
    return meter.levels()


def tested(source: str, part: Clips) -> list[dict[str, Any]]:
    """Scores of detectors on clips that they were not learned from."""
    rows = []
    for singer in sorted(set(part.singers)):
        test = np.flatnonzero(part.singers == singer)
        activities = detected(part, np.flatnonzero(part.singers != singer), test)
        rows.append(row(source, "the other singer", singer, part, dict(activities)))
    by_song: dict[int, VocalActivity] = {}
    folds = GroupKFold(_N_SONG_FOLDS).split(part.levels, groups=part.songs)
    for train, test in folds:
        by_song.update(detected(part, train, test))
    for singer in sorted(set(part.singers)):
        own = {index: by_song[index] for index in np.flatnonzero(part.singers == singer)}
        rows.append(row(source, "other songs", singer, part, own))
    rows.append(row(source, "other songs", "both", part, by_song))
    return rows


def detected(
    part: Clips, train: np.ndarray, test: np.ndarray
) -> Iterator[tuple[int, VocalActivity]]:
    """Activity in clips, found by a detector that was learned from other clips."""
    detector = learned(part, train)
    for index in test:
        yield index, detector.detect(part.levels[index])


def learned(part: Clips, train: np.ndarray) -> ActivityDetector:
    """A detector of some clips."""
    return ActivityDetector.learn(
        [part.levels[index] for index in train], [part.labels[index] for index in train]
    )


def row(
    source: str, learned_on: str, singer: str, part: Clips, activities: dict[int, VocalActivity]
) -> dict[str, Any]:
    """Scores over all frames of some clips."""
    truth = np.concatenate([part.labels[index] for index in activities])
    active = np.concatenate([activity.is_active() for activity in activities.values()])
    scores = np.concatenate([activity.probabilities for activity in activities.values()])
    precision, recall, f_measure, _ = precision_recall_fscore_support(
        truth, active, average="binary"
    )
    return {
        "vocals": source,
        "learned on": learned_on,
        "singer": singer,
        "clips": len(activities),
        "frames": len(truth),
        "F-measure": float(f_measure),
        "precision": float(precision),
        "recall": float(recall),
        "AUC": float(roc_auc_score(truth, scores)),
    }


def track_labels(part: Clips, without: list[list[np.ndarray]]) -> dict[str, Any]:
    """How many tracks get the right label: clips of singers, and excerpts of instrumentals."""
    counts = {"clips": 0, "called vocal": 0, "instrumentals": 0, "called instrumental": 0}
    for singer, excerpts in zip(sorted(set(part.singers)), without, strict=True):
        detector = learned(part, np.flatnonzero(part.singers != singer))
        for index in np.flatnonzero(part.singers == singer):
            counts["clips"] += 1
            counts["called vocal"] += detector.detect(part.levels[index]).label == "vocal"
        for levels in excerpts:
            counts["instrumentals"] += 1
            counts["called instrumental"] += detector.detect(levels).label == "instrumental"
    return counts


def rounded(row: dict[str, Any]) -> dict[str, Any]:
    """A row for the table, with three digits of values in [0, 1]."""
    return {
        name: f"{value:.3f}" if isinstance(value, float) else value for name, value in row.items()
    }


if __name__ == "__main__":
    main()
