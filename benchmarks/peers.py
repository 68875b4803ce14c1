"""Quality and speed of the models that ship, beside those of other packages.

    python benchmarks/peers.py                          # what is installed
    python benchmarks/peers.py --models unet spleeter --no-random

Quality is the SDR of the vocals of MUSDB18's excerpts (SKSEP_DATA_HOME or --data, musdb18-7s), for
the models whose weights are there. Our own models heard these songs in their training: for them
the figures of their folds are taken from results/held_out.json. Nothing is downloaded; HTDemucs
and Open-Unmix have random weights, so that only their speed means anything.

Times real time is that of `separate` on a made-up stereo song at 44.1 kHz. All models take turns,
and the median of the turns counts.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _lib.results import FOLDER, markdown_table, write
from _lib.scores import PROTOCOL, mono, mono_vocals, score_track, summary

import sksep
from sksep.datasets import load_musdb18, make_songs
from sksep.peers import DemucsSeparator, OpenUnmixSeparator, list_peers
from sksep.peers._open_unmix import import_open_unmix

_SONG_RATE = 44100


def main() -> None:
    """Score, measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=["unet", "uhnet", "small", "spleeter"])
    parser.add_argument("--no-random", action="store_true", help="leave random weights out")
    parser.add_argument("--data", type=Path, help="folder of recordings (default: SKSEP_DATA_HOME)")
    parser.add_argument("--seconds", type=float, default=30.0, help="length of the song")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, default=FOLDER)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = Path(options.data or os.environ["SKSEP_DATA_HOME"])
    models = {name: sksep.load_model(name) for name in options.models}
    if not options.no_random:
        models |= random_models()
    speeds = times_real_time(models, options.seconds, options.turns)
    peers = {peer.name for peer in list_peers()}
    rows = []
    for name in models:
        row = {"model": name, "median SDR": None, "SDR": None, "times real time": speeds[name]}
        if name in options.models:
            found = scored(models[name], data) if name in peers else of_folds(name, options.results)
            row |= found
        rows.append(row)
    table = markdown_table(
        [{key: "" if value is None else value for key, value in row.items()} for row in rows]
    )
    print(table)
    settings = {"seconds": options.seconds, "threads": options.threads, "turns": options.turns}
    write("peers", {"protocol": PROTOCOL, **settings, "rows": rows}, table, options.results)


def random_models() -> dict[str, Any]:
    """HTDemucs and Open-Unmix with random weights, if they are installed."""
    models: dict[str, Any] = {}
    try:
        from demucs.htdemucs import HTDemucs

        network = HTDemucs(sources=["drums", "bass", "other", "vocals"])
        models["htdemucs, random weights"] = DemucsSeparator(weights=network, shifts=0)
    except ImportError:
        print("demucs is not installed.")
    try:
        import_open_unmix()
        from openunmix.model import OpenUnmix

        state = OpenUnmix(nb_bins=2049, nb_channels=2, max_bin=1487).state_dict()
        models["open-unmix, random weights"] = OpenUnmixSeparator(weights=state)
        models["open-unmix without its filter"] = OpenUnmixSeparator(
            weights=state, n_iter=0, residual=False
        )
    except ImportError:
        print("openunmix is not installed.")
    nothing = [np.zeros((2, _SONG_RATE), np.float32)]
    return {name: model.fit(nothing) for name, model in models.items()}


def times_real_time(models: dict[str, Any], seconds: float, turns: int) -> dict[str, float]:
    """Length of a song over the median time that each model takes."""
    song = make_songs(1, seconds, sample_rate=_SONG_RATE, n_channels=2, random_state=0).mixtures[0]
    taken: dict[str, list[float]] = {name: [] for name in models}
    for _ in range(turns + 1):  # the first turn is not counted
        for name, model in models.items():
            started = time.perf_counter()
            sksep.separate(song, model, sample_rate=_SONG_RATE)
            taken[name].append(time.perf_counter() - started)
    return {name: seconds / float(np.median(times[1:])) for name, times in taken.items()}


def scored(model: Any, data: Path) -> dict[str, float]:
    """SDR of a model on all excerpts, separated as files."""
    songs = load_musdb18(data / "musdb18-7s", subset="train")
    tracks = []
    for mixture, vocals in zip(songs.mixtures, songs.vocals, strict=True):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            tracks.append(score_track(mono(mixture), mono(vocals), mono_vocals(mixture, model)))
    found = summary(tracks)
    return {"median SDR": found["median SDR"], "SDR": found["SDR"]}


def of_folds(name: str, results: Path) -> dict[str, float]:
    """SDR of the folds of a model that ships."""
    rows = json.loads((results / "held_out.json").read_text())["rows"]
    for row in rows:
        is_test = row["test"] == "MUSDB18, 7 s" and row["Griffin-Lim iterations"] == 0
        if row["model"] == name and is_test:
            return {"median SDR": row["median SDR"], "SDR": row["SDR"]}
    return {}


if __name__ == "__main__":
    main()
