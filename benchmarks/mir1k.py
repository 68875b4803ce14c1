"""Singing-voice separation on MIR-1K, by its published protocol.

    python benchmarks/mir1k.py --data MIR-1K                  # train 175 clips, test 825
    python benchmarks/mir1k.py --dev                          # train on amy, test on abjones

The mixture is left + right as recorded; scores are BSSEval v3 (512 taps) of the mono vocals and
accompaniment; NSDR is the SDR of the estimate less that of the mixture; GNSDR, GSIR and GSAR are
means weighted by the length of the clips.
"""

from __future__ import annotations

import argparse
import time
from ast import literal_eval
from typing import Any

import numpy as np
import torch
from _results import markdown_table, settings, write
from _training import fit_within
from tqdm import tqdm

import sksep
from sksep._tracks import to_mono
from sksep.datasets import load_mir1k
from sksep.metrics import bss_eval
from sksep.presets import PRESETS, unet_pipeline


def main() -> None:
    """Train, separate, score, write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", help="folder of MIR-1K (default: mir1k in SKSEP_DATA_HOME)")
    parser.add_argument("--dev", action="store_true", help="training clips only: amy -> abjones")
    parser.add_argument("--test-singer", default="abjones", help="with --dev: who is tested on")
    parser.add_argument("--preset", default="recommended", choices=PRESETS)
    parser.add_argument("--minutes", type=float, default=60.0, help="budget of the training")
    parser.add_argument("--n-iter", type=int, default=10, help="Griffin-Lim iterations")
    parser.add_argument("--threads", type=int, help="threads of torch (default: its own choice)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--set",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="a parameter of the pipeline, as Python, such as separate__lr 1e-3",
    )
    parser.add_argument("--model", help="where to save the trained pipeline (.safetensors)")
    parser.add_argument("--load", help="score this saved pipeline instead of training one")
    parser.add_argument("--name", help="name of the results (default: from the options)")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    train, test = split(options)
    if options.load:
        pipeline, training = sksep.load(options.load), {}
        pipeline.set_params(invert__n_iter=options.n_iter)
    else:
        pipeline, training = trained(train, options)
    started = time.perf_counter()
    estimates = pipeline.predict(test.mixtures)
    seconds = time.perf_counter() - started
    scores = score(test, estimates)
    audio_seconds = sum(len(estimate) for estimate in estimates) / 16000
    protocol = f"amy -> {options.test_singer}" if options.dev else "published"
    row = {
        "preset": options.preset,
        "protocol": protocol,
        "clips": len(estimates),
        **scores,
        "training loss": pipeline["separate"].loss_curve_[-1],
        "iterations": options.n_iter,
        "times real time": audio_seconds / seconds,
    }
    table = markdown_table([row])
    print(table)
    name = options.name or f"mir1k-{options.preset}{'-dev' if options.dev else ''}"
    parameters = sum(part.numel() for part in pipeline["separate"].net_.module_.parameters())
    write(name, {**row, **training, "parameters": parameters, "options": settings(options)}, table)


def trained(train: Any, options: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """A pipeline trained within the budget, and what that took."""
    pipeline = unet_pipeline(
        options.preset,
        separate__random_state=options.seed,
        separate__verbose=1,
        separate__validation_fraction=0.0,
        invert__n_iter=options.n_iter,
        **{name: literal_eval(value) for name, value in options.set},
    )
    training = fit_within(pipeline, train.mixtures, train.vocals, options.minutes)
    if options.model:
        sksep.save(pipeline, options.model, overwrite=True)
    return pipeline, training


def split(options: argparse.Namespace) -> tuple[Any, Any]:
    """Training and test clips."""
    if options.dev:
        clips = load_mir1k(options.data, subset="train")
        tested = clips.groups == options.test_singer
        return pick(clips, ~tested), pick(clips, tested)
    train = load_mir1k(options.data, subset="train")
    test = load_mir1k(options.data, subset="test")
    if len(test.mixtures) != 825 or len(train.mixtures) != 175:
        raise SystemExit(
            f"The published protocol has 175 training and 825 test clips; found "
            f"{len(train.mixtures)} and {len(test.mixtures)}. Use --dev with the training clips."
        )
    return train, test


def pick(clips: Any, chosen: np.ndarray) -> Any:
    """The chosen clips of a Bunch."""
    indices = np.flatnonzero(chosen)
    names = ("mixtures", "vocals", "accompaniments")
    return type(clips)(**{name: [clips[name][index] for index in indices] for name in names})


def score(clips: Any, estimates: Any) -> dict[str, float]:
    """GNSDR, GSIR, GSAR of the vocals, weighted by length, and the mean SDR."""
    rows, lengths = [], []
    for mixture, vocals, estimate in tqdm(
        zip(clips.mixtures, clips.vocals, estimates, strict=True), total=len(estimates)
    ):
        mixed, sung = (to_mono(sksep.load_audio(source)[0]) for source in (mixture, vocals))
        references = np.stack([sung, mixed - sung])
        separated = bss_eval(references, np.stack([estimate, mixed - estimate]))
        unprocessed = bss_eval(references, np.stack([mixed, mixed]))
        sdr = separated.sdr[0]
        rows.append([sdr - unprocessed.sdr[0], separated.sir[0], separated.sar[0], sdr])
        lengths.append(len(mixed))
    means = np.average(np.array(rows), axis=0, weights=lengths)
    return dict(zip(("GNSDR", "GSIR", "GSAR", "SDR"), means.tolist(), strict=True))


if __name__ == "__main__":
    main()
