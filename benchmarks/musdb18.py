"""Singing-voice separation on MUSDB18 (or its 7-second sample), artists never in both parts.

    python benchmarks/musdb18.py                # in SKSEP_DATA_HOME, a fifth of the artists
    python benchmarks/musdb18.py --data musdb18 --official      # its own train and test folders

Scores are BSSEval v3 (512 taps) of the vocals, mean over channels, whole track: at 16 kHz, and
at the rate of the files. Tracks with silent vocals have no SDR and are left out of the means.
"""

from __future__ import annotations

import time
import warnings
from typing import Any

import _data
import numpy as np
from _options import add_single_run, changes, parsed, recordings_parser
from _results import markdown_table, settings, write
from _scores import SAMPLE_RATE, mono
from _training import fit_within
from tqdm import tqdm

import sksep
from sksep.audio._resampling import resample, to_mono
from sksep.datasets import load_files
from sksep.metrics import sdr
from sksep.presets import PRESETS, unet_pipeline


def main() -> None:
    """Train, separate, score, write."""
    parser = recordings_parser(__doc__, PRESETS)
    add_single_run(parser)
    parser.add_argument("--official", action="store_true", help="the data set's own test tracks")
    parser.add_argument("--fold", type=int, default=0, help="which fifth of the artists is tested")
    parser.add_argument("--vocals-pool", help="folder of further, unpaired vocals")
    parser.add_argument("--accompaniment-pool", help="folder of further instrumentals")
    options = parsed(parser)
    split = _data.musdb18(options.data, official=options.official, fold=options.fold)
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
        **changes(options),
        **pools,
    )
    training = fit_within(pipeline, split.train.mixtures, split.train.vocals, options.minutes)
    if options.model:
        sksep.save(pipeline, options.model, overwrite=True)
    started = time.perf_counter()
    estimates = pipeline.predict(split.test.mixtures)
    seconds = time.perf_counter() - started
    scores, audio_seconds = score(split.test, estimates)
    row = {
        "preset": options.preset,
        "split": split.protocol,
        "tracks": len(split.test),
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


def score(tracks: _data.Part, estimates: Any) -> tuple[dict[str, float], float]:
    """Median and mean SDR of estimates and mixtures at both rates; seconds of audio."""
    columns: dict[str, list[float]] = {
        "SDR, 16 kHz": [],
        "SDR, native": [],
        "mixture, 16 kHz": [],
    }
    seconds = 0.0
    stems = zip(tracks.mixtures, tracks.vocals, estimates, strict=True)
    for mixture, vocals, estimate in tqdm(stems, total=len(tracks)):
        true, rate = sksep.load_audio(vocals)
        seconds += true.shape[-1] / rate
        true, estimate = to_mono(true), to_mono(estimate)
        slow = mono(vocals)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # silent vocals have no SDR
            columns["SDR, 16 kHz"].append(sdr(slow, resample(estimate, rate, SAMPLE_RATE)))
            columns["SDR, native"].append(sdr(true, estimate))
            columns["mixture, 16 kHz"].append(sdr(slow, mono(mixture)))
    result = {}
    for name, values in columns.items():
        result[f"median {name}"] = float(np.nanmedian(values))
        result[f"mean {name}"] = float(np.nanmean(values))
    return result, seconds


if __name__ == "__main__":
    main()
