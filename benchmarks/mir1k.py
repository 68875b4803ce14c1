"""Score a saved pipeline by the published protocol of MIR-1K.

    python benchmarks/mir1k.py --load unet-mir1k.safetensors --data MIR-1K     # 825 test clips
    python benchmarks/mir1k.py --load MODEL --dev                              # abjones's clips

The pipeline must not have been trained on the clips; compare.py trains pipelines. The mixture is
left + right as recorded. Scores are BSSEval v3 (512 taps) of the mono vocals and accompaniment.
NSDR is the SDR of the estimate less that of the mixture; GNSDR, GSIR and GSAR are means weighted by
the length of the clips, SDR is a plain mean.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from _lib import data
from _lib.results import markdown_table, settings, write
from _lib.scores import SAMPLE_RATE, mono, score_track, summary
from tqdm import tqdm

import sksep


def main() -> None:
    """Separate, score, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", help="folder of MIR-1K (default: in SKSEP_DATA_HOME)")
    parser.add_argument("--load", required=True, type=Path, help="file of the pipeline")
    parser.add_argument("--dev", action="store_true", help="one of the training singers instead")
    parser.add_argument("--test-singer", default="abjones", help="with --dev: who is tested on")
    parser.add_argument("--n-iter", type=int, default=10, help="Griffin-Lim iterations")
    parser.add_argument("--threads", type=int, help="threads of torch (default: its own choice)")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    split = data.mir1k(options.data, published=not options.dev, test_singer=options.test_singer)
    pipeline = sksep.load(options.load).set_params(invert__n_iter=options.n_iter)
    started = time.perf_counter()
    estimates = pipeline.predict(split.test.mixtures)
    seconds = time.perf_counter() - started
    clips = zip(split.test.mixtures, split.test.vocals, estimates, strict=True)
    means = summary(
        [
            score_track(mono(mixture), mono(vocals), estimate)
            for mixture, vocals, estimate in tqdm(clips, total=len(estimates))
        ]
    )
    row = {
        "model": options.load.stem,
        "protocol": split.protocol,
        "clips": len(estimates),
        **{name: means[name] for name in ("GNSDR", "GSIR", "GSAR", "SDR")},
        "iterations": options.n_iter,
        "times real time": sum(map(len, estimates)) / SAMPLE_RATE / seconds,
    }
    table = markdown_table([row])
    print(table)
    name = f"mir1k-{options.load.stem}{'-dev' if options.dev else ''}"
    write(name, {**row, "options": settings(options)}, table)


if __name__ == "__main__":
    main()
