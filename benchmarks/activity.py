"""Learn to tell where vocals sound, and test that on singers never trained on.

    python benchmarks/activity.py --models trained --output trained/detector.json

On MIR-1K's own labels (a frame of 40 ms every 20 ms), at 0 dB. The clips of each of the two singers
are separated by the fold of `uhnet` (pretrained.py) that has not heard that singer; the detector is
learned on one singer and tested on the other, both ways. Held-out instrumentals and the clips test
the label of whole tracks. The detector that is written is learned on both singers.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _results import FOLDER, markdown_table, write
from held_out import instrumentals, middle
from pretrained import N_FOLDS, held_out_indices
from sklearn.metrics import f1_score, precision_score, recall_score, roc_auc_score

import sksep
from sksep._activity_levels import LevelMeter
from sksep._vocal_activity import ActivityDetector
from sksep.datasets import load_mir1k


def main() -> None:
    """Learn, test and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--models", type=Path, required=True, help="folder of pretrained.py")
    parser.add_argument("--model", default="uhnet", help="whose folds separate")
    parser.add_argument("--data", type=Path, help="folder of recordings (default: SKSEP_DATA_HOME)")
    parser.add_argument("--output", type=Path, required=True, help="file of the detector")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, default=FOLDER)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = Path(options.data or os.environ["SKSEP_DATA_HOME"])
    clips = load_mir1k(data / "mir1k", subset="train", labels=True)
    levels: list[Any] = [None] * len(clips.mixtures)
    without_vocals: list[list[Any]] = []
    for fold in range(N_FOLDS):
        pipeline = sksep.load(options.models / f"{options.model}-fold-{fold}.safetensors")
        pipeline.set_params(invert__n_iter=0)
        for index in held_out_indices(clips.groups, fold):
            levels[index] = measured(pipeline, clips.mixtures[index])
        without_vocals.append(
            [measured(pipeline, middle(path)) for path in instrumentals(data, fold)]
        )
        print(f"Separated what fold {fold} has not heard.", flush=True)
    labels = [
        label.astype(bool)[: len(each)]
        for label, each in zip(clips.vocal_activity, levels, strict=True)
    ]
    rows = []
    singers = sorted(set(clips.groups))
    for fold, (tested, learned) in enumerate(zip(singers, singers[::-1], strict=True)):
        train, test = (np.flatnonzero(clips.groups == name) for name in (learned, tested))
        detector = learn(levels, labels, train)
        rows.append(
            {
                "learned on": learned,
                "tested on": tested,
                **scores(detector, [levels[i] for i in test], [labels[i] for i in test]),
                "instrumentals called vocal": share_called_vocal(detector, without_vocals[fold]),
            }
        )
    table = markdown_table(rows)
    print(table)
    write("activity", {"model": options.model, "rows": rows}, table, options.results)
    detector = learn(levels, labels, range(len(levels)))
    options.output.write_text(json.dumps(detector.as_dict(), indent=1) + "\n")


def measured(pipeline: Any, source: Any) -> np.ndarray:
    """Levels of vocals and mixture of a track at 16 kHz."""
    separation = sksep.separate(source, pipeline)
    meter = LevelMeter(separation.sample_rate)
    meter.add(separation.vocals + separation.accompaniment, separation.vocals)
    return meter.levels()


def learn(levels: list[Any], labels: list[Any], indices: Any) -> ActivityDetector:
    """A detector from some of the clips."""
    return ActivityDetector.learn([levels[i] for i in indices], [labels[i] for i in indices])


def scores(detector: ActivityDetector, levels: list[Any], labels: list[Any]) -> dict[str, Any]:
    """Scores over all frames of all clips."""
    found = [detector.detect(each) for each in levels]
    truth = np.concatenate(labels)
    active = np.concatenate([each.is_active() for each in found])
    return {
        "F-measure": float(f1_score(truth, active)),
        "precision": float(precision_score(truth, active)),
        "recall": float(recall_score(truth, active)),
        "area under ROC": float(
            roc_auc_score(truth, np.concatenate([each.probabilities for each in found]))
        ),
        "F-measure of all frames": float(f1_score(truth, np.ones_like(truth))),
        "clips called vocal": float(np.mean([each.label == "vocal" for each in found])),
    }


def share_called_vocal(detector: ActivityDetector, levels: list[Any]) -> float:
    """Share of tracks without vocals whose label is wrong."""
    return float(np.mean([detector.detect(each).label == "vocal" for each in levels]))


if __name__ == "__main__":
    main()
