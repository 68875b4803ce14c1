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
import soundfile
import torch
from _lib.data import Part
from _lib.folds import N_FOLDS, held_out_indices
from _lib.results import FOLDER, markdown_table, settings, write
from _lib.scores import PROTOCOL, SAMPLE_RATE, TrackScores, mono, mono_vocals, score_track, summary
from pretrained import SONGS, Recipe, Recordings, build, general
from unet import read, teach

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
    parser.add_argument("--precision", choices=["float32", "bfloat16"], default="bfloat16")
    parser.add_argument("--results", type=Path, default=FOLDER)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = Path(options.data or os.environ["SKSEP_DATA_HOME"])
    pairs = general(data, options.fold)
    songs = taught(teach(data, options.work, options.n_taught))
    lengths = minutes(pairs.mixtures), minutes(songs.mixtures)
    print("{:.0f} minutes of pairs, {:.0f} of taught songs.".format(*lengths), flush=True)
    tests = load_musdb18(data / "musdb18-7s", subset="train")
    test = Part.of(tests, held_out_indices(tests.groups, options.fold)).spread(options.n_tracks)
    scores: dict[str, list[float]] = {}
    rows: list[dict[str, Any]] = []
    for portion in options.shares:
        started = time.perf_counter()
        model = trained(pairs, songs, portion, lengths[0] / lengths[1], options)
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


def taught(paths: list[Path]) -> Recordings:
    """Songs and the teacher's vocals as mono waveforms at 16 kHz."""
    stems = [[np.float32(part).mean(axis=0) for part in read(path)] for path in paths]
    return Recordings([vocals + rest for vocals, rest in stems], [vocals for vocals, _ in stems])


def minutes(tracks: list[Any]) -> float:
    """Length of tracks: files, or arrays at 16 kHz."""
    seconds = (
        len(track) / SAMPLE_RATE
        if isinstance(track, np.ndarray)
        else soundfile.info(track.paths[0]).duration
        for track in tracks
    )
    return sum(seconds) / 60.0


def weights(n_pairs: int, n_taught: int, portion: float, ratio: float) -> list[float]:
    """Weights of tracks with which the taught ones have that share of the excerpts.

    Excerpts are drawn in proportion to weight times length; `ratio` is the length of the pairs over
    that of the taught songs.
    """
    return [1.0] * n_pairs + [ratio * portion / (1.0 - portion)] * n_taught


def trained(
    pairs: Recordings, songs: Recordings, portion: float, ratio: float, options: argparse.Namespace
) -> Any:
    """A pipeline that is fitted on pairs and taught songs."""
    recipe = Recipe(
        unet_pipeline,
        "general",
        options.steps,
        SONGS,
        {"separate__precision": options.precision},
        options.seed,
    )
    pipeline = build(recipe, pairs, options.steps, None)
    steps = math.gcd(options.steps, 50)  # of an epoch
    pipeline.set_params(
        separate__excerpts_per_epoch=steps * pipeline["separate"].batch_size,
        separate__max_epochs=options.steps // steps,
    )
    sample_weight = weights(len(pairs.mixtures), len(songs.mixtures), portion, ratio)
    pipeline.fit(
        [*pairs.mixtures, *songs.mixtures],
        [*pairs.vocals, *songs.vocals],
        separate__sample_weight=sample_weight,
    )
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
