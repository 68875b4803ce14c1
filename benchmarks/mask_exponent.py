"""Would a power of the estimated masks separate better? Of a pipeline that is trained already.

    python benchmarks/mask_exponent.py --model separator.safetensors --data-set mir1k

Test tracks are those of compare.py, which keeps its trained pipelines in its cache. Vocals; BSSEval
v3, 16 kHz, mono, 10 Griffin-Lim iterations; plain means over evenly spaced test tracks.
"""

from __future__ import annotations

import argparse

import _data
import numpy as np
import torch
from _results import markdown_table, write
from _scores import mono, score_track

import sksep
from sksep.base._inversion import Inversion, invert


def main() -> None:
    """Score all exponents on the same masks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--model", required=True, help="a pipeline that sksep.save wrote")
    parser.add_argument("--data-set", required=True, choices=("mir1k", "musdb18"))
    parser.add_argument("--exponents", type=float, nargs="+", default=[1.0, 0.8, 0.6, 0.4])
    parser.add_argument("--tracks", type=int, default=15)
    parser.add_argument("--threads", type=int, help="threads of torch (default: its own choice)")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    if options.data_set == "mir1k":
        split = _data.mir1k(None, test_singer="abjones")
    else:
        split = _data.musdb18(None, official=False, fold=0)
    tests = split.test.spread(options.tracks)
    pipeline = sksep.load(options.model)
    scores: dict[float, list[tuple[float, ...]]] = {each: [] for each in options.exponents}
    for sources in zip(tests.mixtures, tests.vocals, strict=True):
        mixture, vocals = map(mono, sources)
        if not vocals.any():
            continue
        (record,) = pipeline[:-1].transform([mixture])
        for exponent, rows in scores.items():
            raised = record.with_mask(record.mask**exponent)
            estimate = invert(raised, Inversion(n_iter=10), torch.device("cpu"))
            track = score_track(mixture, vocals, estimate)
            rows.append((track.sdr - track.mixture_sdr, track.sir, track.sar))
    rows = [
        {"exponent": exponent, **dict(zip(("NSDR", "SIR", "SAR"), means.tolist(), strict=True))}
        for exponent, means in ((each, np.mean(part, axis=0)) for each, part in scores.items())
    ]
    table = f"{split.protocol}, {len(tests)} test tracks\n\n{markdown_table(rows)}"
    print(table)
    write(f"mask_exponent-{options.data_set}", {"protocol": split.protocol, "rows": rows}, table)


if __name__ == "__main__":
    main()
