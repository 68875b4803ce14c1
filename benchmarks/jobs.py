"""Many short songs by `sksep separate --jobs`, and whether the results are the same.

    python benchmarks/jobs.py                       # 1000 songs of 10 s, one and two at a time
    python benchmarks/jobs.py --songs 40 --jobs 1 2 4

The songs are stereo at 44.1 kHz. The time is that of the whole command. The machine should have
nothing else to do.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import soundfile
from _lib.results import FOLDER, markdown_table, write

from sksep.datasets import make_songs

_RATE = 44100


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--songs", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=10.0, help="length of a song")
    parser.add_argument("--jobs", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--model", default="uhnet")
    parser.add_argument("--results", type=Path, default=FOLDER)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_songs(folder / "songs", options.songs, options.seconds)
        rows: list[dict[str, Any]] = []
        expected = None
        for jobs in options.jobs:
            seconds = separate(folder / "songs", folder / f"{jobs}", jobs, options.model)
            found = digest(folder / f"{jobs}")
            expected = expected or found
            rows.append(
                {
                    "jobs": jobs,
                    "songs": options.songs,
                    "seconds of a song": options.seconds,
                    "model": options.model,
                    "seconds": seconds,
                    "times as fast as the first": rows[0]["seconds"] / seconds if rows else 1.0,
                    "same bits": found == expected,
                }
            )
            print(markdown_table(rows[-1:]))
    table = markdown_table(rows)
    write("jobs", {"rows": rows}, table, options.results)
    print(table)


def write_songs(folder: Path, n_songs: int, seconds: float) -> None:
    """Write songs that differ in their level only, since making each would take hours."""
    folder.mkdir()
    song = make_songs(1, seconds, sample_rate=_RATE, n_channels=2, random_state=0).mixtures[0]
    for index in range(n_songs):
        level = 0.5 + 0.5 * index / n_songs
        soundfile.write(folder / f"{index:05d}.wav", level * song.T, _RATE, subtype="PCM_16")


def separate(songs: Path, output: Path, jobs: int, model: str) -> float:
    """Seconds of the clock that the command takes."""
    command = [sys.executable, "-m", "sksep", "separate", str(songs), "-o", str(output)]
    command += ["--jobs", str(jobs), "--model", model, "--quiet"]
    started = time.perf_counter()
    subprocess.run(command, check=True)
    return time.perf_counter() - started


def digest(folder: Path) -> str:
    """Checksum of all files of a folder."""
    digest = hashlib.sha256()
    for path in sorted(folder.rglob("*.wav")):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main()
