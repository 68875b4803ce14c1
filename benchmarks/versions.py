"""Speed of this version beside an earlier one: separation and training of the same U-Net, in turns.

    python benchmarks/versions.py                      # the first version that worked
    python benchmarks/versions.py v1.0 --threads 1

Each version runs in a process of its own, from a temporary work tree of the revision, which the
history of git must have. Settings are equal (front end, network, loss, batches, augmentation); what
a version chooses by itself, such as the precision, is its own.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median
from typing import Any

from _results import FOLDER, markdown_table, settings, write
from tqdm import tqdm

ROOT = Path(__file__).resolve().parents[1]
FIRST = "18eb27d"
JOBS = {"separation of 30 s at 16 kHz": "separate", "training, 4 steps of 8 excerpts": "train"}
# Reads a job a line, and answers with its seconds.
CHILD = """
import sys, time
import torch
from sksep.datasets import make_songs
from sksep.presets import unet_pipeline
from sksep.training import Augmentation

torch.set_num_threads(int(sys.argv[1]))
songs = make_songs(4, 10.0, random_state=0)
song = make_songs(1, 30.0, random_state=0).mixtures
pipeline = unet_pipeline(
    separate__max_epochs=1,
    separate__excerpts_per_epoch=32,
    separate__batch_size=8,
    separate__validation_fraction=0.0,
    separate__dropout=0.2,
    separate__loss="snr",
    separate__augmentation=Augmentation(true_pairs=0.2, speed_range=(0.7, 1.4)),
    separate__random_state=0,
    invert__n_iter=0,
)
chunks = pipeline["chunk"].fit_transform(songs.mixtures)
batch = pipeline["mask"].fit_transform(chunks, songs.vocals)
jobs = {
    "train": lambda: pipeline["separate"].fit(batch),
    "separate": lambda: pipeline.predict(song),
}
pipeline.fit(songs.mixtures, songs.vocals)
for line in sys.stdin:
    started = time.perf_counter()
    jobs[line.strip()]()
    print(time.perf_counter() - started, flush=True)
"""


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("revision", nargs="?", default=FIRST)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--results", type=Path, default=FOLDER)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        earlier = Path(folder) / "earlier"
        git("worktree", "add", "--detach", str(earlier), options.revision)
        try:
            rows = [
                row
                for threads in tqdm(options.threads)
                for row in compare(earlier, threads, options.repeats)
            ]
        finally:
            git("worktree", "remove", "--force", str(earlier))
    table = f"Beside revision {options.revision}.\n\n{markdown_table(rows)}"
    print(table)
    write("versions", {"options": settings(options), "rows": rows}, table, options.results)


def git(*arguments: str) -> None:
    """Run git here."""
    subprocess.run(["git", "-C", str(ROOT), *arguments], check=True, capture_output=True)


def compare(earlier: Path, threads: int, repeats: int) -> list[dict[str, Any]]:
    """A row for each job."""
    versions = [start(folder, threads) for folder in (earlier, ROOT)]
    rows = []
    try:
        for name, job in JOBS.items():
            turns = [[seconds(version, job) for version in versions] for _ in range(1 + repeats)]
            before, now = zip(*turns[1:], strict=True)
            rows.append(
                {
                    "job": name,
                    "threads": threads,
                    "earlier, s": median(before),
                    "now, s": median(now),
                    "times as fast": median(old / new for old, new in turns[1:]),
                }
            )
    finally:
        for version in versions:
            version.kill()
            version.communicate()
    return rows


def start(folder: Path, threads: int) -> subprocess.Popen[str]:
    """A version, waiting for jobs."""
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", CHILD, str(threads)],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": str(threads)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def seconds(version: subprocess.Popen[str], job: str) -> float:
    """Let a version do a job."""
    assert version.stdin is not None and version.stdout is not None
    version.stdin.write(f"{job}\n")
    version.stdin.flush()
    return float(version.stdout.readline())


if __name__ == "__main__":
    main()
