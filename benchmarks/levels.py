"""What the gain of a recording does to its separation, by the models that ship.

    python benchmarks/levels.py                     # 16 excerpts of MUSDB18 and 16 clips of MIR-1K
    python benchmarks/levels.py --learn             # first learn and store the levels of the models

Every recording is separated at several gains, with the model's level of training (`level_`) and
without it. Scores are the mean SDR of the vocals (BSSEval v3) in dB, mono at 16 kHz. Some of the
recordings belong to those that the models were trained on: compare the rows of a table only.

Recordings are those of SKSEP_DATA_HOME (or --data). `fit` learns levels by itself; --learn is for
models that were trained before it did, and writes them into the package again. For unet-mir1k,
which never heard normalized levels, 6 dB were chosen by hand: 9 dB cost 0.2 dB on songs of other
kinds.
"""

from __future__ import annotations

import argparse
import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _lib.data import Part
from _lib.results import FOLDER, markdown_table, settings, write
from _lib.scores import mono
from pretrained import RECIPES, pairs_of
from tqdm import tqdm

import sksep
from sksep.datasets import load_mir1k, load_musdb18
from sksep.metrics import sdr
from sksep.nn.levels import chunk_levels
from sksep.pretrained import list_pretrained

PACKAGE = Path(sksep.__file__).parent / "pretrained"
GAINS = (0, -20, -40, -60, 90)


def main() -> None:
    """Learn, measure, print and write."""
    names = [card.name for card in list_pretrained()]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--models", nargs="+", choices=names, default=names)
    parser.add_argument("--data", type=Path, help="folder of recordings (default: SKSEP_DATA_HOME)")
    parser.add_argument("--tracks", type=int, default=16, help="tracks of each data set")
    parser.add_argument("--learn", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, default=FOLDER)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = Path(options.data or os.environ["SKSEP_DATA_HOME"])
    if options.learn:
        for name in options.models:
            learn(name, data)
    recordings = {
        "MUSDB18, 7 s": Part.of(load_musdb18(data / "musdb18-7s", subset="all")),
        "MIR-1K": Part.of(load_mir1k(data / "mir1k", subset="all")),
    }
    rows = []
    for title, part in recordings.items():
        tracks = part.spread(options.tracks)
        pairs = [
            (mono(mixture), mono(vocals))
            for mixture, vocals in zip(tracks.mixtures, tracks.vocals, strict=True)
        ]
        for name in options.models:
            # unet has one level of segments since its training.
            for normalized in (True,) if name == "unet" else (False, True):
                rows.append(measure(name, title, pairs, normalized))
    table = markdown_table(rows)
    print(table)
    write("levels", {"rows": rows, "options": settings(options)}, table, options.results)


def learn(name: str, data: Path) -> None:
    """Store the level of the recordings that a model was trained on in the model."""
    path = PACKAGE / f"{name}.safetensors"
    pipeline = sksep.load(path)
    recordings = pairs_of(RECIPES[name].pairs, data, None)
    batch = pipeline["chunk"].transform(recordings.mixtures)
    loudest = [float(chunk_levels(torch.tensor(record.chunks)).max()) for record in batch]
    pipeline["separate"].level_ = round(float(np.median(loudest)), 1)
    sksep.save(pipeline, path, overwrite=True)
    print(f"{name}: level {pipeline['separate'].level_} dB, of {len(batch)} tracks.", flush=True)


def measure(name: str, title: str, pairs: list[Any], normalized: bool) -> dict[str, Any]:
    """Mean SDR of a model at all gains."""
    pipeline = sksep.load_pretrained(name)
    if not normalized:
        pipeline["separate"].level_ = None
    row: dict[str, Any] = {
        "recordings": f"{title} ({len(pairs)})",
        "model": name,
        "level_": "" if name == "unet" else pipeline["separate"].level_,
    }
    for gain in tqdm(GAINS, desc=name):
        factor = np.float32(10.0 ** (gain / 20.0))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ".*full scale", UserWarning)
            estimates = pipeline.predict([mixture * factor for mixture, _ in pairs])
        scores = [
            sdr(vocals, estimate / factor)
            for (_, vocals), estimate in zip(pairs, estimates, strict=True)
        ]
        row[f"{gain:+d} dB" if gain else "0 dB"] = float(np.mean(scores))
    return row


if __name__ == "__main__":
    main()
