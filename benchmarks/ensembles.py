"""Measure what averaging gains: over several models, and over shifts and channels of one.

    python benchmarks/ensembles.py uhnet small-v1 --n-tracks 20
    python benchmarks/ensembles.py spleeter uhnet --weights 1 1 --weights 3 1 --n-tracks 20
    python benchmarks/ensembles.py trained/unet/unet-fold-0.safetensors spleeter --fold 0
    python benchmarks/ensembles.py uhnet-mir1k unet-mir1k --shifts 2 4 --channels swapped single

Each song is separated as its file is, by every model, by `VotingSeparator` with each list of
weights (in the order of the models), and by `TestTimeAugmentation` of each model. Scores are those
of BSSEval v3 over the whole track, of the mean over channels at 16 kHz. The gain is that over the
best single model, and for test-time augmentation that over the model itself. The models that ship
were trained on MUSDB18's excerpts, except those on MIR-1K.

Recordings are those of SKSEP_DATA_HOME (or --data): musdb18-7s, or the folder --songs, with a
folder per song as `sksep evaluate` takes it.
"""

from __future__ import annotations

import argparse
import itertools
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _lib.data import Part
from _lib.folds import N_FOLDS, held_out_indices
from _lib.models import load_trained
from _lib.results import FOLDER, markdown_table, settings, write
from _lib.scores import PROTOCOL, mono, mono_vocals
from sklearn.frozen import FrozenEstimator

import sksep
from sksep.datasets import load_folder, load_musdb18
from sksep.inference._models import load_model
from sksep.metrics import sdr


def main() -> None:
    """Score all systems on all songs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("models", nargs="+", help="names or files of models")
    parser.add_argument("--weights", nargs="+", type=float, action="append", default=[])
    parser.add_argument("--shifts", nargs="*", type=int, default=[])
    parser.add_argument("--max-shift", type=float, default=1.0, help="seconds")
    parser.add_argument("--channels", nargs="*", default=[], choices=["swapped", "single"])
    parser.add_argument("--average", nargs="+", default=["waveform"], choices=["waveform", "mask"])
    parser.add_argument("--n-tracks", type=int)
    parser.add_argument("--data", type=Path, help="folder of recordings (default: SKSEP_DATA_HOME)")
    parser.add_argument("--fold", type=int, choices=range(N_FOLDS), help="excerpts it left out")
    parser.add_argument("--songs", type=Path, help="folder of songs, in the place of MUSDB18")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--name", default="ensembles", help="name of the file of results")
    parser.add_argument("--results", type=Path, default=FOLDER)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    songs = tracks(options.songs, options.data, options.fold).spread(options.n_tracks)
    models = {
        Path(model).stem: load_trained(Path(model)) if Path(model).is_file() else load_model(model)
        for model in options.models
    }
    options.models = list(models)  # names, of which the record tells, and no folders
    systems = systems_of(models, options)
    scores: dict[str, list[float]] = {name: [] for name in systems}
    seconds = dict.fromkeys(systems, 0.0)
    for index, (mixture, vocals) in enumerate(zip(songs.mixtures, songs.vocals, strict=True)):
        truth = mono(vocals)
        if not truth.any():
            continue
        for name, (_, system) in systems.items():
            started = time.perf_counter()
            estimate = mono_vocals(mixture, system)
            seconds[name] += time.perf_counter() - started
            scores[name].append(sdr(truth, estimate))
        print(f"{index + 1} of {len(songs)}", flush=True)
    rows = summary(systems, scores, seconds)
    table = markdown_table(rows)
    print(table)
    results = {"protocol": PROTOCOL, "options": settings(options), "rows": rows, "scores": scores}
    write(options.name, results, table, options.results)


def tracks(songs: Path | None, data: Path | None, fold: int | None) -> Part:
    """The songs to separate; those that a fold left out of its training."""
    if songs is not None:
        return Part.of(load_folder(songs))
    home = Path(data or os.environ["SKSEP_DATA_HOME"])
    found = load_musdb18(home / "musdb18-7s", subset="train")
    return Part.of(found, None if fold is None else held_out_indices(found.groups, fold))


def systems_of(
    models: dict[str, Any], options: argparse.Namespace
) -> dict[str, tuple[list[str], Any]]:
    """By name: the single models that a system is compared with, and the fitted system."""
    frozen = {name: FrozenEstimator(model) for name, model in models.items()}
    systems: dict[str, tuple[list[str], Any]] = {name: ([], each) for name, each in models.items()}
    weights = options.weights or [[1.0] * len(models)]
    for shares, average in itertools.product(weights if len(models) > 1 else [], options.average):
        ensemble = sksep.VotingSeparator(
            list(frozen.items()), weights=shares, average=average, sample_rate=44100
        )
        label = " : ".join(f"{share:g}" for share in shares)
        systems[f"{average}s {label}"] = (list(models), ensemble.fit([]))
    ways = [(n, "together") for n in options.shifts] + [(1, way) for way in options.channels]
    for name, (n_shifts, channels) in itertools.product(models, ways):
        augmented = sksep.TestTimeAugmentation(
            frozen[name], n_shifts=n_shifts, max_shift=options.max_shift, channels=channels
        )
        label = f"{n_shifts} shifts" if channels == "together" else channels
        systems[f"{name}, {label}"] = ([name], augmented.fit([]))
    return systems


def summary(
    systems: dict[str, tuple[list[str], Any]],
    scores: dict[str, list[float]],
    seconds: dict[str, float],
) -> list[dict[str, Any]]:
    """A row for each system."""
    rows = []
    for name, (singles, _) in systems.items():
        values = np.array(scores[name])
        best = max(singles, key=lambda single: np.mean(scores[single]), default=name)
        gains = values - np.array(scores[best])
        rows.append(
            {
                "system": name,
                "tracks": len(values),
                "SDR, median": float(np.median(values)),
                "SDR, mean": float(np.mean(values)),
                "over": best if singles else "",
                "gain, mean": float(gains.mean()),
                "gain, median": float(np.median(gains)),
                "tracks gained": int((gains > 0).sum()),
                "time, of the first": seconds[name] / next(iter(seconds.values())),
            }
        )
    return rows


if __name__ == "__main__":
    main()
