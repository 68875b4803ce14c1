"""Singing-voice separation on MUSDB18 (or its 7-second sample), artists never in both parts.

    python benchmarks/musdb18.py                # in SKSEP_DATA_HOME, a fifth of the artists
    python benchmarks/musdb18.py --data musdb18 --official      # its own train and test folders

Scores are BSSEval v3 (512 taps) of the vocals, mean over channels, whole track: at 16 kHz, and
at the rate of the files. Tracks with silent vocals have no SDR and are left out of the means.
"""

from __future__ import annotations

import argparse
import time
import warnings
from ast import literal_eval
from typing import Any

import numpy as np
import torch
from _results import markdown_table, settings, write
from _training import fit_within
from sklearn.model_selection import GroupKFold
from tqdm import tqdm

import sksep
from sksep._tracks import resample, to_mono
from sksep.datasets import load_files, load_musdb18
from sksep.metrics import sdr
from sksep.presets import PRESETS, unet_pipeline


def main() -> None:
    """Train, separate, score, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", help="folder of MUSDB18 (default: in SKSEP_DATA_HOME)")
    parser.add_argument("--official", action="store_true", help="the data set's own test tracks")
    parser.add_argument("--fold", type=int, default=0, help="which fifth of the artists is tested")
    parser.add_argument("--vocals-pool", help="folder of further, unpaired vocals")
    parser.add_argument("--accompaniment-pool", help="folder of further instrumentals")
    parser.add_argument("--preset", default="recommended", choices=PRESETS)
    parser.add_argument("--minutes", type=float, default=60.0, help="budget of the training")
    parser.add_argument("--n-iter", type=int, default=10, help="Griffin-Lim iterations")
    parser.add_argument("--threads", type=int, help="threads of torch (default: its own choice)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--set", nargs=2, action="append", default=[], metavar=("NAME", "VALUE"))
    parser.add_argument("--model", help="where to save the trained pipeline (.safetensors)")
    parser.add_argument("--name", help="name of the results (default: from the options)")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    songs = load_musdb18(options.data, subset="all")
    train, test = split(songs, options)
    pools = {
        f"separate__augmentation__{name}": load_files(folder).paths
        for name, folder in (
            ("vocals_pool", options.vocals_pool),
            ("accompaniment_pool", options.accompaniment_pool),
        )
        if folder
    }
    pipeline = unet_pipeline(
        options.preset,
        separate__random_state=options.seed,
        separate__verbose=1,
        separate__validation_fraction=0.0,
        invert__n_iter=options.n_iter,
        **{name: literal_eval(value) for name, value in options.set},
        **pools,
    )
    training = fit_within(
        pipeline,
        [songs.mixtures[index] for index in train],
        [songs.vocals[index] for index in train],
        options.minutes,
    )
    if options.model:
        sksep.save(pipeline, options.model, overwrite=True)
    started = time.perf_counter()
    estimates = pipeline.predict([songs.mixtures[index] for index in test])
    seconds = time.perf_counter() - started
    scores, audio_seconds = score(songs, test, estimates)
    row = {
        "preset": options.preset,
        "split": "official" if options.official else f"artists, fold {options.fold} of 5",
        "tracks": len(test),
        **scores,
        "minutes": training["training_seconds"] / 60.0,
        "steps": training["steps"],
        "iterations": options.n_iter,
        "times real time": audio_seconds / seconds,
    }
    table = markdown_table([row])
    print(table)
    write(
        options.name or f"musdb18-{options.preset}",
        {**row, **training, "options": settings(options)},
        table,
    )


def split(songs: Any, options: argparse.Namespace) -> tuple[np.ndarray, np.ndarray]:
    """Indices of training and test tracks."""
    if options.official:
        return np.flatnonzero(songs.split == "train"), np.flatnonzero(songs.split == "test")
    folds = GroupKFold(5).split(songs.mixtures, groups=songs.groups)
    return list(folds)[options.fold]


def score(songs: Any, test: np.ndarray, estimates: Any) -> tuple[dict[str, float], float]:
    """Median and mean SDR of estimates and mixtures at both rates; seconds of audio."""
    columns: dict[str, list[float]] = {
        "SDR, 16 kHz": [],
        "SDR, native": [],
        "mixture, 16 kHz": [],
    }
    seconds = 0.0
    for index, estimate in tqdm(zip(test, estimates, strict=True), total=len(test)):
        mixture, rate = sksep.load_audio(songs.mixtures[index])
        vocals, _ = sksep.load_audio(songs.vocals[index])
        seconds += mixture.shape[-1] / rate
        mixture, vocals, estimate = (to_mono(part) for part in (mixture, vocals, estimate))
        slow = [resample(part, rate, 16000) for part in (mixture, vocals, estimate)]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # silent vocals have no SDR
            columns["SDR, 16 kHz"].append(sdr(slow[1], slow[2]))
            columns["SDR, native"].append(sdr(vocals, estimate))
            columns["mixture, 16 kHz"].append(sdr(slow[1], slow[0]))
    result = {}
    for name, values in columns.items():
        result[f"median {name}"] = float(np.nanmedian(values))
        result[f"mean {name}"] = float(np.nanmean(values))
    return result, seconds


if __name__ == "__main__":
    main()
