"""Speed of the networks that ship in onnxruntime beside torch, on one thread.

    python benchmarks/onnx_speed.py

Both take turns on the same chunks, and a ratio is the median over the turns. CPU time is measured,
so that other work of the machine matters little.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnxruntime
import torch
from _lib.results import markdown_table, settings, write

import sksep
from sksep.pretrained import list_pretrained


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--repeats", type=int, default=7, help="turns")
    parser.add_argument("--batch", type=int, default=16, help="chunks in a batch")
    parser.add_argument("--models", nargs="+", default=[card.name for card in list_pretrained()])
    parser.add_argument("--results", type=Path, help="folder of the tables; none without it")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [measure(name, options) for name in options.models]
    text = markdown_table(rows)
    print(text)
    if options.results:
        write("onnx_speed", {"options": settings(options), "models": rows}, text, options.results)


def measure(name: str, options: argparse.Namespace) -> dict[str, Any]:
    """CPU time of one batch of a model, by torch and by onnxruntime."""
    pipeline = sksep.load_pretrained(name, device="cpu")
    separator = pipeline.named_steps["separate"]
    front_end = separator.front_end_
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "model.onnx"
        sksep.export_onnx(pipeline, file)
        one_thread = onnxruntime.SessionOptions()
        one_thread.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(str(file), one_thread)
    generator = np.random.default_rng(0)
    shape = (options.batch, front_end.n_frames, front_end.n_bands)
    chunks = generator.uniform(-100.0, 0.0, shape).astype(np.float32)
    jobs: dict[str, Callable[[], Any]] = {
        "torch": lambda: [
            *separator._in_batches(separator._chunk_masks, [torch.from_numpy(chunks)])
        ],
        "onnxruntime": lambda: session.run(["masks"], {"chunks": chunks}),
    }
    seconds: dict[str, list[float]] = {job: [] for job in jobs}
    for job in jobs.values():
        job()
    for turn in range(options.repeats):
        for job in sorted(jobs, reverse=bool(turn % 2)):
            started = time.process_time()
            jobs[job]()
            seconds[job].append(time.process_time() - started)
    ratios = [a / b for a, b in zip(seconds["torch"], seconds["onnxruntime"], strict=True)]
    return {
        "model": name,
        "chunks": options.batch,
        "torch, s": median(seconds["torch"]),
        "onnxruntime, s": median(seconds["onnxruntime"]),
        "times as fast": median(ratios),
        "least": min(ratios),
        "most": max(ratios),
    }


if __name__ == "__main__":
    main()
