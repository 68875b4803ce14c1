"""Speed of separation and training in float32 and bfloat16, in turns.

    python benchmarks/precision.py                        # 1 and 2 threads
    python benchmarks/precision.py --device cuda

What `precision="auto"` chooses rests on it. Separation is from waveform to waveform, of stereo at
44.1 kHz; training is that of the recommended settings, by steps of 8 excerpts of 4 s.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import torch
from _results import FOLDER, markdown_table, settings, write

import sksep
from sksep.datasets import make_songs
from sksep.presets import uhnet_pipeline, unet_pipeline

SAMPLE_RATE = 44100
PRECISIONS = ("float32", "bfloat16")


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="of the song")
    parser.add_argument("--steps", type=int, default=2, help="of training")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--results", type=Path, default=FOLDER)
    options = parser.parse_args()
    rows = []
    for threads in options.threads:
        torch.set_num_threads(threads)
        rows += [
            {"job": name, "threads": threads, **compare(job, options.repeats)}
            for name, job in jobs(options).items()
        ]
    table = markdown_table(rows)
    print(table)
    write("precision", {"options": settings(options), "rows": rows}, table, options.results)


def jobs(options: argparse.Namespace) -> dict[str, Callable[[str], Any]]:
    """What to do in a precision."""
    song = make_songs(
        1, options.seconds, sample_rate=SAMPLE_RATE, n_channels=2, random_state=0
    ).mixtures[0]
    songs = make_songs(2, 10.0, random_state=0)

    def separation(name: str) -> Callable[[str], Any]:
        pipeline = sksep.load_pretrained(name, device=options.device)

        def separate(precision: str) -> Any:
            pipeline.set_params(separate__precision=precision)
            return sksep.separate(song, pipeline, sample_rate=SAMPLE_RATE)

        return separate

    def training(preset: Callable[..., Any]) -> Callable[[str], Any]:
        pipeline = preset(
            separate__max_epochs=1,
            separate__excerpts_per_epoch=8 * options.steps,
            separate__validation_fraction=0.0,
            separate__device=options.device,
            separate__random_state=0,
        )
        batch = pipeline[:2].fit_transform(songs.mixtures, songs.vocals)
        return lambda precision: pipeline["separate"].set_params(precision=precision).fit(batch)

    return {
        "separation, uhnet": separation("uhnet"),
        "separation, small": separation("small"),
        "training, U-Net": training(unet_pipeline),
        "training, UH-Net": training(uhnet_pipeline),
    }


def compare(job: Callable[[str], Any], repeats: int) -> dict[str, float]:
    """Seconds in each precision, and how many times as fast bfloat16 is: medians of turns."""
    seconds: dict[str, list[float]] = {precision: [] for precision in PRECISIONS}
    for turn in range(1 + repeats):
        for precision in PRECISIONS:
            started = time.perf_counter()
            job(precision)
            if turn:  # the first one does not count
                seconds[precision].append(time.perf_counter() - started)
    ratios = [full / half for full, half in zip(*seconds.values(), strict=True)]
    return {
        **{f"{precision}, s": median(times) for precision, times in seconds.items()},
        "bfloat16, times as fast": median(ratios),
    }


if __name__ == "__main__":
    main()
