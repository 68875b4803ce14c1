"""Time of the whole command on a file of one second, compared with another version of sksep.

    git worktree add ../before COMMIT
    python benchmarks/start.py ../before            # six pairs of runs, one after the other
    python benchmarks/start.py                      # this version alone

Runs of both versions alternate. The processor's time (user and system) says more than that of the
clock if the machine has other work, and the table has both.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import soundfile
from _lib.results import markdown_table


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("before", type=Path, nargs="?", help="folder of the other version")
    parser.add_argument("--pairs", type=int, default=6)
    options = parser.parse_args()
    versions = {"now": Path(__file__).resolve().parents[1]}
    if options.before is not None:
        versions = {"before": options.before.resolve(), **versions}
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in versions}
    with tempfile.TemporaryDirectory() as folder:
        song = Path(folder) / "song.wav"
        noise = 0.1 * np.random.default_rng(0).standard_normal((44100, 2))
        soundfile.write(song, noise, 44100)
        for version in versions.values():
            run(version, song)  # writes the bytecode, and warms the cache of the disk
        for _ in range(options.pairs):
            for name, version in versions.items():
                taken[name].append(run(version, song))
    rows = [
        {
            "version": name,
            "runs": len(times),
            "processor, median s": statistics.median(used for used, _ in times),
            "clock, median s": statistics.median(passed for _, passed in times),
        }
        for name, times in taken.items()
    ]
    print(markdown_table(rows))
    if options.before is not None:
        for index, kind in enumerate(("processor", "clock")):
            pairs = zip(taken["now"], taken["before"], strict=True)
            ratios = [now[index] / before[index] for now, before in pairs]
            middle, low, high = statistics.median(ratios), min(ratios), max(ratios)
            print(f"Share of the time before, {kind}: {middle:.2f} ({low:.2f} to {high:.2f}).")


def run(version: Path, song: Path) -> tuple[float, float]:
    """Seconds of the processor, and of the clock, that a version takes for the command."""
    command = [sys.executable, "-m", "sksep", "separate", str(song), "-o", "out", "--overwrite"]
    environment = {**os.environ, "PYTHONPATH": str(version), "PYTHONDONTWRITEBYTECODE": ""}
    before, started = used(), time.perf_counter()
    subprocess.run(command, check=True, capture_output=True, env=environment, cwd=song.parent)
    return used() - before, time.perf_counter() - started


def used() -> float:
    """Seconds of the processor that processes which ended have taken."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main()
