"""Scores of true masks: the ceiling that each front end sets for any separator.

    python benchmarks/oracle.py                      # data sets in SKSEP_DATA_HOME
    python benchmarks/oracle.py --data recordings    # the folder that holds them

True power-ratio masks, inverted from the mixture's phase with and without Griffin-Lim iterations,
and once from random phases; mean SDR of the vocals (BSSEval v3, 512 taps, 16 kHz mono) on training
clips of MIR-1K and on training tracks of MUSDB18 (or its 7-second sample) whose vocals are not
silent. Both are spread evenly over the data sets.
"""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from _lib.results import markdown_table, write
from tqdm import tqdm

from sksep import GriffinLimInverter, MaskBuilder, MelChunker
from sksep.datasets import load_mir1k, load_musdb18
from sksep.metrics import sdr

SAMPLE_RATE = 16000
# Vocals that never exceed this (-60 dB of full scale) count as silent.
SILENT_PEAK = 1e-3
DATA_SETS = ("MIR-1K", "MUSDB18")


@dataclass(frozen=True)
class FrontEndCase:
    """A front end, and figures that were measured earlier, on other clips, without iterations.

    Parameters
    ----------
    n_fft, hop_length : int
        In samples.
    n_mels : int or None
        None for linear bins.
    earlier : tuple of str
        For each of `DATA_SETS`.
    """

    n_fft: int
    hop_length: int
    n_mels: int | None
    earlier: tuple[str, str]

    @property
    def name(self) -> str:
        bands = f"{self.n_mels} mels" if self.n_mels else "linear"
        return f"{self.n_fft}/{self.hop_length}, {bands}"

    def chunker(self) -> MelChunker:
        return MelChunker(
            sample_rate=SAMPLE_RATE,
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            n_mels=self.n_mels,
        )


CASES = (
    FrontEndCase(1024, 128, 128, ("13.9", "10.5")),
    FrontEndCase(2048, 512, 256, ("15.1", "11.2")),
    FrontEndCase(2048, 128, 128, ("no gain", "no gain")),
    FrontEndCase(1024, 128, None, ("15.0", "11.6")),
    FrontEndCase(2048, 512, None, ("15.9", "12.1")),
)
PLAIN = tuple({"init": "mixture", "n_iter": n_iter, "momentum": 0.0} for n_iter in (0, 10))
# The source report's recipe.
RANDOM = {"init": "random", "n_iter": 10, "momentum": 0.99}


def main() -> None:
    """Invert, score, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", help="folder of the data sets (default: SKSEP_DATA_HOME)")
    parser.add_argument("--clips", type=int, default=25, help="clips of MIR-1K")
    parser.add_argument("--tracks", type=int, default=18, help="tracks of MUSDB18")
    parser.add_argument("--threads", type=int, help="threads of torch (default: its own choice)")
    options = parser.parse_args()
    if options.data:
        os.environ["SKSEP_DATA_HOME"] = options.data
    if options.threads:
        torch.set_num_threads(options.threads)
    songs = {
        "MIR-1K": spread(load_mir1k(as_arrays=True, sample_rate=SAMPLE_RATE), options.clips),
        "MUSDB18": spread(load_musdb18(as_arrays=True, sample_rate=SAMPLE_RATE), options.tracks),
    }
    rows = []
    for case in tqdm(CASES):
        recipes = (*PLAIN, RANDOM) if case is CASES[0] else PLAIN
        scores = {name: oracle(case.chunker(), recipes, *songs[name]) for name in DATA_SETS}
        for index, recipe in enumerate(recipes):
            earlier = case.earlier if recipe is PLAIN[0] else ("", "")
            rows.append(
                {
                    "front end": case.name,
                    "initial phase": recipe["init"],
                    "iterations": recipe["n_iter"],
                    "momentum": f"{recipe['momentum']:g}",
                    **{name: scores[name][index] for name in DATA_SETS},
                    **{
                        f"{name}, earlier figures, other clips": figure
                        for name, figure in zip(DATA_SETS, earlier, strict=True)
                    },
                }
            )
    table = markdown_table(rows)
    print(table)
    counts = {name: len(songs[name][0]) for name in DATA_SETS}
    caption = (
        "Mean SDR in dB (BSSEval v3, 16 kHz mono) of the vocals from true power-ratio masks: "
        f"{counts['MIR-1K']} training clips of MIR-1K, {counts['MUSDB18']} training tracks of "
        "MUSDB18."
    )
    write("oracle", {"n_tracks": counts, "rows": rows}, f"{caption}\n\n{table}")


def spread(songs: Any, n_tracks: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Mono mixtures and vocals of at most `n_tracks` songs that sing, spread evenly."""
    pairs = [
        (_mono(mixture), _mono(vocals))
        for mixture, vocals in zip(songs.mixtures, songs.vocals, strict=True)
    ]
    pairs = [(mixture, vocals) for mixture, vocals in pairs if np.abs(vocals).max() > SILENT_PEAK]
    indices = np.linspace(0, len(pairs) - 1, min(n_tracks, len(pairs))).round().astype(int)
    return [pairs[index][0] for index in indices], [pairs[index][1] for index in indices]


def oracle(
    chunker: MelChunker,
    recipes: tuple[dict[str, Any], ...],
    mixtures: list[np.ndarray],
    vocals: list[np.ndarray],
) -> list[float]:
    """Mean SDR of the inverted true masks, for each recipe."""
    batch = MaskBuilder().fit_transform(chunker.fit_transform(mixtures), vocals)
    batch = batch.with_masks(record.targets.proportion_mask for record in batch)
    means = []
    for recipe in recipes:
        estimates = GriffinLimInverter(**recipe, random_state=0).fit(batch).predict(batch)
        pairs = zip(vocals, estimates, strict=True)
        means.append(float(np.mean([sdr(true, estimate) for true, estimate in pairs])))
    return means


def _mono(samples: np.ndarray) -> np.ndarray:
    return samples if samples.ndim == 1 else samples.mean(axis=0)


if __name__ == "__main__":
    main()
