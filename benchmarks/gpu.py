"""Training and separation on a GPU: throughput, the cost of its parts, and speed in real time.

    python benchmarks/gpu.py                                  # CUDA, about ten minutes
    python benchmarks/gpu.py --batch-size 64 --workers 4
    python benchmarks/gpu.py --device cpu --seconds 2 --steps 2

Training: the recommended U-Net and UH-Net on synthetic songs, through fit and in a bare loop with
the same network, excerpts and optimizer, from whose variants the shares follow: without drawing
(the same stems again and again, on the device), and without the front end (the same spectra). The
share of the peak: products and convolutions of a step, counted on the CPU, per second of a step
through fit, over the peak of the chip.

Separation: `sksep.separate` with the model uhnet, from waveform to waveform, stereo at 44.1 kHz.
"""

from __future__ import annotations

import argparse
import copy
import re
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import torch
from _lib.results import FOLDER, machine, markdown_table, settings, write
from torch.utils.flop_counter import FlopCounterMode

import sksep
from sksep.datasets import make_songs
from sksep.nn.excerpts import Excerpts
from sksep.nn.mask_estimator import as_float
from sksep.presets import uhnet_pipeline, unet_pipeline
from sksep.training._dataset import ExcerptDataset
from sksep.training._net import SeparationNet

SAMPLE_RATE = 44100
NETWORKS = {"U-Net": unet_pipeline, "UH-Net": uhnet_pipeline}
# TFLOP/s of dense products in bfloat16 by the data sheets, and names of devices in CUDA.
PEAKS = {
    r"A100": 312.0,
    r"H100 PCIe": 756.0,
    r"H100 80GB HBM3": 989.0,
    r"H200": 989.0,
    r"L4": 121.0,
    r"RTX 4090": 165.0,
}


def main() -> None:
    """Measure, print and write."""
    options = parse()
    device = torch.device(options.device)
    chip = torch.cuda.get_device_name(device) if device.type == "cuda" else machine()
    training = [
        training_row(name, compiled, options, chip)
        for name in NETWORKS
        for compiled in ([False, True] if options.compile else [False])
    ]
    separation = [separation_row(seconds, options) for seconds in options.seconds]
    table = (
        f"{chip}, precision {options.precision}.\n\nTraining, {options.batch_size} excerpts per "
        f"step, {options.workers} workers, medians of {options.repeats} times {options.steps} "
        f"steps:\n\n{markdown_table(training)}\n\nSeparation with uhnet, stereo at 44.1 kHz, "
        f"medians of {options.repeats}:\n\n{markdown_table(separation)}"
    )
    print(table)
    record = {"chip": chip, "options": settings(options)}
    record |= {"training": training, "separation": separation}
    name = re.sub(r"[^a-z0-9]+", "-", chip.lower()).strip("-")
    write(f"gpu-{name}", record, table, options.results)


def parse() -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, or cpu to try the script")
    parser.add_argument("--seconds", type=float, nargs="+", default=[30.0, 300.0], help="of songs")
    parser.add_argument("--steps", type=int, default=100, help="in an epoch of training")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--workers", type=int, default=0, help="processes that draw excerpts")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--precision", default="auto", choices=("auto", "float32", "bfloat16"))
    parser.add_argument("--peak-tflops", type=float, help="of the chip, at that precision")
    parser.add_argument(
        "--compile",
        action=argparse.BooleanOptionalAction,
        help="also with torch.compile (default: on CUDA)",
    )
    parser.add_argument("--results", type=Path, default=FOLDER)
    options = parser.parse_args()
    if options.compile is None:
        options.compile = torch.device(options.device).type == "cuda"
    return options


def training_row(
    name: str, compiled: bool, options: argparse.Namespace, chip: str
) -> dict[str, Any]:
    """Throughput through fit and in bare loops."""
    net_params: dict[str, Any] = {"compile": compiled}
    if options.workers:
        net_params["iterator_train__num_workers"] = options.workers
    pipeline = NETWORKS[name](
        separate__device=options.device,
        separate__precision=options.precision,
        separate__batch_size=options.batch_size,
        separate__max_epochs=1 + options.repeats,
        separate__excerpts_per_epoch=options.steps * options.batch_size,
        separate__validation_fraction=0.0,
        separate__net_params=net_params,
        separate__random_state=0,
    )
    songs = make_songs(2, 10.0, random_state=0)
    chunks = pipeline["chunk"].fit_transform(songs.mixtures)
    batch = pipeline["mask"].fit_transform(chunks, songs.vocals)
    separator = pipeline["separate"].fit(batch)
    net: SeparationNet = separator.net_
    # The first epoch chooses kernels, and compiles.
    through_fit = median(row["dur"] for row in net.history[1:]) / options.steps
    bare, without_drawing, without_front_end = bare_seconds(net, batch, options)
    row = {
        "network": name,
        "compiled": "yes" if compiled else "no",
        "excerpts per second": options.batch_size / through_fit,
        "fit, ms per step": 1e3 * through_fit,
        "bare loop, ms per step": 1e3 * bare,
        "fit as share of the bare loop": bare / through_fit,
        "share of drawing": 1.0 - without_drawing / bare,
        "share of the front end": (without_drawing - without_front_end) / bare,
    }
    peak = options.peak_tflops or known_peak(chip, net.precision)
    if peak is not None:
        n_operations = operations_per_excerpt(net, batch) * options.batch_size
        row["share of the peak"] = n_operations / through_fit / (peak * 1e12)
    return row


def bare_seconds(net: SeparationNet, batch: Any, options: argparse.Namespace) -> list[float]:
    """Seconds of a step: of all of it, without drawing, and without the front end, too."""
    dataset = ExcerptDataset(batch, net.augmentation, options.batch_size)
    picks = list(range(options.batch_size))
    stems = [part.to(net.device) for part in dataset.__getitems__(picks)]
    fixed = net.excerpts(stems, net.augmentation)
    kinds: list[Callable[[], Excerpts]] = [
        lambda: net.excerpts(dataset.__getitems__(picks), net.augmentation),
        lambda: net.excerpts(stems, net.augmentation),
        lambda: fixed,
    ]
    net.module_.train()

    def run(excerpts: Callable[[], Excerpts]) -> None:
        for _ in range(options.steps):
            net.optimizer_.zero_grad()
            loss, _ = net._loss(excerpts())
            loss.backward()
            net.optimizer_.step()

    return [
        seconds_of(lambda kind=kind: run(kind), options) / options.steps  # type: ignore[misc]
        for kind in kinds
    ]


def operations_per_excerpt(net: SeparationNet, batch: Any) -> int:
    """Floating-point operations of network and loss in a training step, forward and backward."""
    module = copy.deepcopy(net.module_).cpu().train()
    stems, _ = ExcerptDataset(batch).__getitems__([0])
    excerpts = Excerpts(*stems.unbind(dim=1), net.front_end, net.ratio, net.weighting)
    features = excerpts.features  # of the front end, whose operations are not counted
    with FlopCounterMode(display=False) as counter:
        net.criterion_(as_float(module(features)), excerpts).backward()
    return counter.get_total_flops()


def known_peak(chip: str, precision: torch.dtype) -> float | None:
    """TFLOP/s of the data sheet, if it is known."""
    if precision != torch.bfloat16:
        return None
    return next((peak for name, peak in PEAKS.items() if re.search(rf"\b{name}\b", chip)), None)


def separation_row(seconds: float, options: argparse.Namespace) -> dict[str, Any]:
    """Speed of separation, from waveform to waveform."""
    pipeline = sksep.load_pretrained("uhnet", device=options.device)
    pipeline.set_params(separate__precision=options.precision)
    song = make_songs(
        1, min(seconds, 30.0), sample_rate=SAMPLE_RATE, n_channels=2, random_state=0
    ).mixtures[0]
    n_samples = round(seconds * SAMPLE_RATE)
    song = np.tile(song, -(-n_samples // song.shape[1]))[:, :n_samples]
    needed = seconds_of(lambda: sksep.separate(song, pipeline, sample_rate=SAMPLE_RATE), options)
    return {"song, s": seconds, "seconds": needed, "times real time": seconds / needed}


def seconds_of(job: Callable[[], Any], options: argparse.Namespace) -> float:
    """Median time of a job, after once that does not count."""
    times = []
    for _ in range(1 + options.repeats):
        started = time.perf_counter()
        job()
        if torch.device(options.device).type == "cuda":
            torch.cuda.synchronize(options.device)
        times.append(time.perf_counter() - started)
    return median(times[1:])


if __name__ == "__main__":
    main()
