"""Singing-voice separation on MIR-1K, by its published protocol.

    python benchmarks/mir1k.py --data MIR-1K                  # train 175 clips, test 825
    python benchmarks/mir1k.py --dev                          # train on amy, test on abjones

The mixture is left + right as recorded; scores are BSSEval v3 (512 taps) of the mono vocals and
accompaniment; NSDR is the SDR of the estimate less that of the mixture; GNSDR, GSIR and GSAR are
means weighted by the length of the clips, SDR is a plain mean.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import _data
from _options import add_single_run, changes, parsed, recordings_parser
from _results import markdown_table, settings, write
from _scores import SAMPLE_RATE, mono, score_track, summary
from _training import fit_within
from tqdm import tqdm

import sksep
from sksep.presets import PRESETS, unet_pipeline


def main() -> None:
    """Train, separate, score, write."""
    parser = recordings_parser(__doc__, PRESETS)
    add_single_run(parser)
    parser.add_argument("--dev", action="store_true", help="training clips only: amy -> abjones")
    parser.add_argument("--test-singer", default="abjones", help="with --dev: who is tested on")
    parser.add_argument("--load", help="score this saved pipeline instead of training one")
    options = parsed(parser)
    split = _data.mir1k(options.data, published=not options.dev, test_singer=options.test_singer)
    if options.load:
        pipeline, training = sksep.load(options.load), {}
        pipeline.set_params(invert__n_iter=options.n_iter)
    else:
        pipeline, training = trained(split.train, options)
    started = time.perf_counter()
    estimates = pipeline.predict(split.test.mixtures)
    seconds = time.perf_counter() - started
    scores = score(split.test, estimates)
    audio_seconds = sum(len(estimate) for estimate in estimates) / SAMPLE_RATE
    row = {
        "preset": options.preset,
        "protocol": split.protocol,
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


def trained(train: _data.Part, options: argparse.Namespace) -> tuple[Any, dict[str, Any]]:
    """A pipeline trained within the budget, and what that took."""
    pipeline = unet_pipeline(
        options.preset,
        separate__random_state=options.seed,
        separate__verbose=1,
        separate__validation_fraction=0.0,
        invert__n_iter=options.n_iter,
        **changes(options),
    )
    training = fit_within(pipeline, train.mixtures, train.vocals, options.minutes)
    if options.model:
        sksep.save(pipeline, options.model, overwrite=True)
    return pipeline, training


def score(clips: _data.Part, estimates: Any) -> dict[str, float]:
    """GNSDR, GSIR, GSAR of the vocals, weighted by length, and the mean SDR."""
    tracks = [
        score_track(mono(mixture), mono(vocals), estimate)
        for mixture, vocals, estimate in tqdm(
            zip(clips.mixtures, clips.vocals, estimates, strict=True), total=len(estimates)
        )
    ]
    means = summary(tracks)
    return {name: means[name] for name in ("GNSDR", "GSIR", "GSAR", "SDR")}


if __name__ == "__main__":
    main()
