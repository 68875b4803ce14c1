"""Score the models that ship on recordings of artists, singers and projects never trained on.

    python benchmarks/held_out.py --models trained            # fold models of pretrained.py
    python benchmarks/held_out.py --models trained/unet --only unet     # those of unet.py
    python benchmarks/held_out.py --models trained --only uhnet --n-iter 0 10

Each fold of a recipe (`pretrained.py NAME --fold K`) is tested on recordings that it was not
trained on: excerpts and whole songs of MUSDB18, by artist; MIR-1K's clips of the other singer; and
instrumentals by project, in which nothing should be taken for vocals. The two recipes on MIR-1K
alone are tested only on MUSDB18, which has none of their recordings. Scores are BSSEval v3, mono at
16 kHz, over the whole track; the leakage is the level of the vocals over that of the instrumental.
Results are added to earlier ones.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _lib.evaluation import leakage
from _lib.folds import fold_files, held_out_pairs, instrumentals, middle
from _lib.models import load_trained
from _lib.results import FOLDER, markdown_table, write
from _lib.scores import PROTOCOL, mono, mono_vocals, score_track, summary
from package_models import MODELS
from sklearn.pipeline import Pipeline

from sksep.datasets import load_folder, load_mir1k, load_musdb18

# Seconds from the middle of each instrumental.
_INSTRUMENTAL_SECONDS = 20.0
_MIR1K_STRIDE = 3


def main() -> None:
    """Score all models that are there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--models", type=Path, required=True, help="folder of pretrained.py")
    parser.add_argument("--data", type=Path, help="folder of recordings (default: SKSEP_DATA_HOME)")
    parser.add_argument("--only", nargs="+", default=list(MODELS))
    parser.add_argument("--n-iter", nargs="+", type=int, default=[0])
    parser.add_argument("--overlap", type=float, help="of chunks (default: the one that ships)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, default=FOLDER)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = Path(options.data or os.environ["SKSEP_DATA_HOME"])
    rows = []
    for name in options.only:
        for n_iter in options.n_iter:
            rows += scored(name, n_iter, options.overlap, options.models, data)
    path = options.results / "held_out.json"
    earlier = json.loads(path.read_text())["rows"] if path.is_file() else []
    key = ("model", "Griffin-Lim iterations", "test")
    new = {tuple(row[name] for name in key) for row in rows}
    rows += [row for row in earlier if tuple(row[name] for name in key) not in new]
    rows.sort(key=lambda row: (row["model"], row["Griffin-Lim iterations"]))
    table = markdown_table(rows)
    print(table)
    write("held_out", {"protocol": PROTOCOL, "rows": rows}, table, options.results)


def scored(
    name: str, n_iter: int, overlap: float | None, models: Path, data: Path
) -> list[dict[str, Any]]:
    """A row for each test set."""
    folds: dict[int | None, Path] = {**fold_files(models, name)}
    if not folds and name.endswith("mir1k"):
        folds = {None: models / f"{name}.safetensors"}
    tests: dict[str, list[Any]] = {}
    leakages: list[float] = []
    for fold, path in folds.items():
        pipeline = load_trained(path)
        if isinstance(pipeline, Pipeline):
            pipeline.set_params(invert__n_iter=n_iter)
            chosen = MODELS[name].overlap if overlap is None and name in MODELS else overlap
            if chosen is not None:
                pipeline.set_params(chunk__overlap=chosen)
        for test, tracks in tests_of(data, fold).items():
            tests.setdefault(test, []).extend(
                score(pipeline, mixture, vocals) for mixture, vocals in tracks
            )
        if fold is not None:
            leakages += [
                leakage(pipeline, middle(path, _INSTRUMENTAL_SECONDS))
                for path in instrumentals(data, fold)
            ]
        print(name, fold, {test: len(rows) for test, rows in tests.items()}, flush=True)
    return [
        {
            "model": name if overlap is None else f"{name}, overlap {overlap:g}",
            "folds": len(folds) if None not in folds else 0,
            "Griffin-Lim iterations": n_iter,
            "test": test,
            "tracks": len(rows),
            **{key: summary(rows)[key] for key in ("median SDR", "SDR", "GNSDR", "mixture SDR")},
            "leakage, median": float(np.median(leakages)) if leakages else float("nan"),
            "leakage, 90th percentile": (
                float(np.percentile(leakages, 90)) if leakages else float("nan")
            ),
        }
        for test, rows in tests.items()
    ]


def tests_of(data: Path, fold: int | None) -> dict[str, list[tuple[Any, Any]]]:
    """Mixtures and vocals of each test set; for no fold, MUSDB18 alone."""
    excerpts = load_musdb18(data / "musdb18-7s", subset="train")
    if fold is None:
        pairs = list(zip(excerpts.mixtures, excerpts.vocals, strict=True))
        return {"MUSDB18, 7 s": pairs}
    clips = load_mir1k(data / "mir1k", subset="train")
    return {
        "MUSDB18, 7 s": held_out_pairs(excerpts, fold),
        "whole songs": held_out_pairs(load_folder(data / "full-songs"), fold),
        "MIR-1K": held_out_pairs(clips, fold)[::_MIR1K_STRIDE],
    }


def score(pipeline: Pipeline, mixture: Any, vocals: Any) -> Any:
    """Scores of one track, which is separated at its own sample rate, as files of users are."""
    return score_track(mono(mixture), mono(vocals), mono_vocals(mixture, pipeline))


if __name__ == "__main__":
    main()
