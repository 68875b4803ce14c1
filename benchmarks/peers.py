"""Speed of separation beside Open-Unmix and HTDemucs, from waveform to waveform.

    pip install --no-deps openunmix demucs julius einops dora-search treetable   # what is missing
    python benchmarks/peers.py                                 # 30 s of stereo, all threads
    python benchmarks/peers.py --duration 60 --threads 1

Their networks get random weights, since speed does not depend on them, in the sizes that their
projects publish: Open-Unmix's model of the vocals (umxhq: 3 LSTM layers, 512 units, 1487 bins)
without its Wiener step, and HTDemucs of four sources (overlap 0.25, no random shifts). All take
turns on the same synthetic music at 44.1 kHz in one process; a ratio is the median over the turns.
Models that cannot be imported are left out, and named.
"""

from __future__ import annotations

import argparse
import sys
import time
import types
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from _results import FOLDER, markdown_table, settings, write

import sksep
from sksep.datasets import make_songs
from sksep.presets import unet_pipeline

SAMPLE_RATE = 44100
Separate = Callable[[np.ndarray], object]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--duration", type=float, default=30.0, help="seconds of music")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--results", type=Path, default=FOLDER)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    song = make_songs(
        1, options.duration, sample_rate=SAMPLE_RATE, n_channels=2, random_state=0
    ).mixtures[0]
    separators = {
        "sksep: uhnet": ours("uhnet"),
        "sksep: small": ours("small"),
        "sksep: U-Net, recommended": ours(untrained_unet(overlap=0.5)),
        "sksep: U-Net, chunks overlap by an eighth": ours(untrained_unet(overlap=0.125)),
    }
    for name, build in {"Open-Unmix, vocals": open_unmix, "HTDemucs": htdemucs}.items():
        try:
            separators[name] = build()
        except ImportError as error:
            print(f"Without {name}: {error}", file=sys.stderr)
    seconds = time_in_turns(separators, song, options.repeats)
    rows = [row(name, seconds, options.duration) for name in separators]
    table = (
        f"{options.duration:g} s of stereo music at 44.1 kHz, {options.threads} threads, "
        f"{options.repeats} turns. Ratios are how many times faster the model of the row is, the "
        f"median over the turns.\n\n{markdown_table(rows)}"
    )
    print(table)
    write("peers", {"options": settings(options), "rows": rows}, table, options.results)


def ours(model: object) -> Separate:
    """`sksep.separate` with a pipeline or a model that ships."""
    pipeline = sksep.load_pretrained(model) if isinstance(model, str) else model
    return lambda song: sksep.separate(song, pipeline, sample_rate=SAMPLE_RATE)


def untrained_unet(overlap: float) -> object:
    """The recommended U-Net after one step, which is as fast as a trained one."""
    songs = make_songs(1, 5.0, random_state=0)
    pipeline = unet_pipeline(
        chunk__overlap=overlap,
        separate__max_epochs=1,
        separate__excerpts_per_epoch=2,
        invert__n_iter=0,
    )
    return pipeline.fit(songs.mixtures, songs.vocals)


def open_unmix() -> Separate:
    """Open-Unmix's vocals model of random weights, without the Wiener step."""
    # It imports torchaudio to read files, which is not done here.
    sys.modules.setdefault("torchaudio", types.ModuleType("torchaudio"))
    from openunmix.model import OpenUnmix, Separator

    vocals = OpenUnmix(nb_bins=2049, nb_channels=2, hidden_size=512, max_bin=1487)
    separator = Separator({"vocals": vocals}, niter=0, sample_rate=SAMPLE_RATE).eval()

    def separate(song: np.ndarray) -> object:
        with torch.inference_mode():
            return separator(torch.from_numpy(song)[None])

    return separate


def htdemucs() -> Separate:
    """HTDemucs of random weights, in the size of the published one."""
    from demucs.apply import apply_model
    from demucs.htdemucs import HTDemucs

    model = HTDemucs(
        sources=["drums", "bass", "other", "vocals"],
        bottom_channels=512,
        t_layers=5,
        segment=7.8,
        samplerate=SAMPLE_RATE,
    ).eval()

    def separate(song: np.ndarray) -> object:
        with torch.inference_mode():
            return apply_model(model, torch.from_numpy(song)[None], shifts=0, overlap=0.25)

    return separate


def time_in_turns(
    separators: dict[str, Separate], song: np.ndarray, repeats: int
) -> dict[str, list[float]]:
    """Seconds of each turn, after one that is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in separators}
    for turn in range(repeats + 1):
        for name, separate in separators.items():
            started = time.perf_counter()
            separate(song)
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return seconds


def row(name: str, seconds: dict[str, list[float]], duration: float) -> dict[str, object]:
    """Times and ratios of one model."""
    ratios = {
        f"times as fast as {peer}": median(
            theirs / own for theirs, own in zip(seconds[peer], seconds[name], strict=True)
        )
        for peer in ("Open-Unmix, vocals", "HTDemucs")
        if peer in seconds
    }
    own = median(seconds[name])
    return {"model": name, "seconds": own, "times real time": duration / own, **ratios}


if __name__ == "__main__":
    main()
