"""Memory and time of training on sets of growing size, with a cache of waveforms and without.

    python benchmarks/large_sets.py                        # 2.5, 5, 10 and 20 hours; 26 GB of disk
    python benchmarks/large_sets.py --hours 0.1 0.2 --in-memory 0.1 --steps 2

Synthetic tracks of three minutes, 44.1 kHz stereo WAV files of 16 bits, mixture and vocals. Each
set is prepared (decoded, mixed down, resampled, written) and trained on for a few steps in a
process of its own, and trained on again from the cache, in another one. Preparation is on one core;
its speed is in hours of audio files, mixtures and vocals, per hour.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
import torch
from _lib.memory import peak_megabytes
from _lib.results import FOLDER, markdown_table, settings, write
from tqdm import tqdm

from sksep import WaveformCache
from sksep.datasets import load_folder, make_songs
from sksep.presets import unet_pipeline

SAMPLE_RATE = 44100
TRACK_SECONDS = 180


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--hours", type=float, nargs="+", default=[2.5, 5.0, 10.0, 20.0])
    parser.add_argument(
        "--in-memory", type=float, nargs="*", default=[2.5], help="hours, for comparison"
    )
    parser.add_argument("--steps", type=int, default=20, help="of training, of 8 excerpts each")
    parser.add_argument("--n-filters", type=int, default=16, help="of the U-Net")
    parser.add_argument("--data", type=Path, help="folder of the tracks (default: a temporary one)")
    parser.add_argument("--results", type=Path, default=FOLDER)
    parser.add_argument("--child", nargs=5, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        train(*options.child)
        return
    with tempfile.TemporaryDirectory(dir=options.data) as folder:
        songs = Path(folder) / "songs"
        write_songs(songs, count_tracks(max(options.hours)))
        rows = []
        for hours in options.in_memory:
            rows.append(measure(hours, "in memory", songs, None, options))
        for hours in tqdm(options.hours, "Measuring"):
            cache = Path(folder) / f"waveforms-{hours:g}"
            for kind in ("cache, first fit", "cache, second fit"):
                rows.append(measure(hours, kind, songs, cache, options))
    table = markdown_table(rows)
    print(table)
    write("large_sets", {"options": settings(options), "rows": rows}, table, options.results)


def count_tracks(hours: float) -> int:
    """Tracks of a set."""
    return max(1, round(hours * 3600 / TRACK_SECONDS))


def write_songs(folder: Path, n_tracks: int) -> None:
    """Tracks that differ, made of the same ten seconds at ten gains."""
    song = make_songs(1, 10.0, sample_rate=SAMPLE_RATE, n_channels=2, random_state=0)
    parts = {
        name: [np.int16(32767 * gain * samples[0].T) for gain in np.linspace(0.3, 1.0, 10)]
        for name, samples in (("mixture", song.mixtures), ("vocals", song.vocals))
    }
    random = np.random.default_rng(0)
    for index in tqdm(range(n_tracks), "Writing songs"):
        track = folder / f"{index:05d}"
        track.mkdir(parents=True)
        order = random.integers(10, size=TRACK_SECONDS // 10)
        for name, choices in parts.items():
            samples = np.concatenate([choices[number] for number in order])
            soundfile.write(track / f"{name}.wav", samples, SAMPLE_RATE)


def measure(
    hours: float, kind: str, songs: Path, cache: Path | None, options: argparse.Namespace
) -> dict[str, Any]:
    """A row: time and memory that a process of its own took to prepare and to train."""
    n_tracks = count_tracks(hours)
    child = [str(songs), str(n_tracks), "" if cache is None else str(cache)]
    child += [str(options.steps), str(options.n_filters)]
    command = [sys.executable, __file__, "--child", *child]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found = json.loads(output.splitlines()[-1])
    seconds_of_audio = 2 * n_tracks * TRACK_SECONDS
    prepared = kind == "cache, first fit"
    return {
        "hours": hours,
        "tracks": n_tracks,
        "waveforms": kind,
        "after import, MB": found["before"],
        "peak, MB": found["peak"],
        "on disk, MB": found["size"] / 1e6,
        "preparation, s": found["preparation"] if prepared else "",
        "times real time": seconds_of_audio / found["preparation"] if prepared else "",
        "fit, s": found["fit"],
    }


def train(songs: str, n_tracks: str, folder: str, steps: str, n_filters: str) -> None:
    """Fit in a process of its own, and print the time and memory that it took."""
    torch.set_num_threads(1)
    files = load_folder(songs)
    mixtures, vocals = (part[: int(n_tracks)] for part in (files.mixtures, files.vocals))
    cache = WaveformCache(folder, n_jobs=1) if folder else None
    pipeline = unet_pipeline(
        chunk__cache=cache,
        separate__n_filters=int(n_filters),
        separate__batch_size=8,
        separate__max_epochs=1,
        separate__excerpts_per_epoch=8 * int(steps),
        separate__validation_fraction=0.0,
    )
    before = peak_megabytes()
    started = time.perf_counter()
    if cache is not None:
        pipeline["chunk"].fit_transform([*mixtures, *vocals])
    prepared = time.perf_counter()
    pipeline.fit(mixtures, vocals)
    record = {
        "before": before,
        "peak": peak_megabytes(),
        "size": 0 if cache is None else cache.size,
        "preparation": prepared - started,
        "fit": time.perf_counter() - prepared,
    }
    print(json.dumps(record))


if __name__ == "__main__":
    main()
