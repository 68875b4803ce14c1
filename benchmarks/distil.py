"""Measure what songs without stems add to a training, with a teacher's estimates as their vocals.

    python benchmarks/distil.py --work trained/unet --fold 0
    python benchmarks/distil.py --work trained/unet --fold 0 --shares 0 0.35 --steps 1000

The recommended U-Net is trained on the recordings of a fold (pretrained.py), and on these with the
songs of the folder mixes, whose stems Spleeter estimates. A share is that of the taught songs in
the audio of the drawn excerpts; all trainings have the same number of steps, so what the taught
songs get, the true pairs lose. The models are tested on the excerpts of MUSDB18 whose artists the
fold left out. Scores are those of BSSEval v3, of the mean over channels at 16 kHz; the gain is
over the first share.

The teacher's stems are written to the folder --work, as `unet.py prepare` does, and taken from it
the next time. Recordings are those of SKSEP_DATA_HOME (or --data).
"""

from __future__ import annotations

import argparse
import math
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _lib.data import Part
from _lib.folds import N_FOLDS, held_out_indices
from _lib.results import FOLDER, markdown_table, settings, write
from _lib.scores import PROTOCOL, TrackScores, mono, mono_vocals, score_track, summary
from _lib.teacher import teach
from pretrained import PAIRS, SONGS, Recipe, Recordings, build, fit, pairs_of

from sksep.datasets import load_musdb18
from sksep.presets import unet_pipeline


def main() -> None:
    """Train and score with each share."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder of the teacher's stems")
    parser.add_argument("--data", type=Path, help="folder of recordings (default: SKSEP_DATA_HOME)")
    parser.add_argument("--fold", type=int, choices=range(N_FOLDS), default=0)
    parser.add_argument("--shares", nargs="+", type=share, default=[0.0, 0.2, 0.35, 0.5])
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--n-taught", type=int, help="taught songs (default: all)")
    parser.add_argument("--n-tracks", type=int, help="excerpts to test on (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", choices=["auto", "float32", "bfloat16"], default="auto")
    parser.add_argument("--results", type=Path, default=FOLDER)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = Path(options.data or os.environ["SKSEP_DATA_HOME"])
    pairs = pairs_of(PAIRS, data, options.fold).and_unpaired(data, options.fold)
    songs = teach(data, options.work, options.n_taught)
    print(f"{len(pairs.mixtures)} pairs, {len(songs)} taught songs.", flush=True)
    tests = load_musdb18(data / "musdb18-7s", subset="train")
    test = Part.of(tests, held_out_indices(tests.groups, options.fold)).spread(options.n_tracks)
    scores: dict[str, list[float]] = {}
    rows: list[dict[str, Any]] = []
    for portion in options.shares:
        started = time.perf_counter()
        model = trained(pairs.and_taught(songs, portion) if portion else pairs, options)
        elapsed = (time.perf_counter() - started) / 60.0
        tracks = [
            score_track(mono(mixture), mono(vocals), mono_vocals(mixture, model))
            for mixture, vocals in zip(test.mixtures, test.vocals, strict=True)
        ]
        scores[f"{portion:g}"] = [track.sdr for track in tracks]
        rows.append(row(portion, tracks, next(iter(scores.values())), elapsed))
        print(markdown_table(rows[-1:]), flush=True)
    table = markdown_table(rows)
    results = {"protocol": PROTOCOL, "options": settings(options), "rows": rows, "scores": scores}
    write("distil", results, table, options.results)


def share(text: str) -> float:
    """A share on the command line, from 0 to less than 1."""
    if not 0.0 <= (value := float(text)) < 1.0:
        raise argparse.ArgumentTypeError(f"A share is from 0 to less than 1, got {text}.")
    return value


def trained(recordings: Recordings, options: argparse.Namespace) -> Any:
    """A pipeline that is fitted on the recordings."""
    recipe = Recipe(
        unet_pipeline,
        PAIRS,
        options.steps,
        SONGS,
        {"separate__precision": options.precision},
        unpaired=True,
        seed=options.seed,
    )
    pipeline = build(recipe, recordings, options.steps)
    steps = math.gcd(options.steps, 50)  # of an epoch
    pipeline.set_params(
        separate__excerpts_per_epoch=steps * pipeline["separate"].batch_size,
        separate__max_epochs=options.steps // steps,
    )
    fit(pipeline, recordings)
    return pipeline.set_params(separate__callbacks=None, separate__verbose=0)


def row(
    portion: float, tracks: list[TrackScores], first: list[float], elapsed: float
) -> dict[str, Any]:
    """Scores with one share, and the gain over the first one."""
    gains = np.array([track.sdr for track in tracks]) - np.array(first)
    gains = gains[np.isfinite(gains)]
    means = summary(tracks)
    return {
        "share of taught songs": portion,
        "tracks": len(gains),
        **{name: means[name] for name in ("median SDR", "SDR", "SIR", "SAR")},
        "gain, mean": float(gains.mean()),
        "gain, standard error": float(gains.std() / math.sqrt(len(gains))),
        "tracks gained": int((gains > 0).sum()),
        "minutes": elapsed,
    }


if __name__ == "__main__":
    main()
