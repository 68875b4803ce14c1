"""Processes that are killed while they write: what is left, and what the next run makes of it.

python benchmarks/kill_writers.py                 # 20 moments: about a minute

A training with a checkpoint, the preparation of a cache and the separation of a file are killed at
random moments (kill -9). Then every file under a final name must be whole, the next run must end
with the same bits as one that was not killed, and no unfinished file may be left. It needs Linux or
macOS.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import signal
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import soundfile
import torch
from _lib.results import markdown_table, settings, write

import sksep
from sksep.audio._validation import check_tracks
from sksep.datasets import make_songs
from sksep.inference._files import separate_file
from sksep.persistence._file import digest
from sksep.training._checkpoint import _read

RATE = 16000


@dataclass(frozen=True)
class Job:
    """What is killed.

    Attributes
    ----------
    run : callable
        Works in a folder.
    result : callable
        What the work in a folder has led to, to be compared.
    check : callable
        Raises an error if a file under a final name is not whole.
    """

    run: Callable[[Path], None]
    result: Callable[[Path], Any]
    check: Callable[[Path], None]


def training_job(songs: Any) -> Job:
    chunks = sksep.MelChunker().fit_transform(songs.mixtures)
    batch = sksep.MaskBuilder().fit_transform(chunks, songs.vocals)

    def run(folder: Path) -> None:
        separator = sksep.UNetSeparator(
            n_filters=2, max_epochs=8, excerpts_per_epoch=8, batch_size=8, device="cpu",
            schedule="one_cycle", random_state=0, checkpoint=folder / "checkpoints",
        )  # fmt: skip
        weights = separator.fit(batch).net_.module_.state_dict()
        (folder / "weights").write_text(digest(weights))

    def check(folder: Path) -> None:
        for path in (folder / "checkpoints").glob("[!.]*"):
            _read(path)

    return Job(run, lambda folder: (folder / "weights").read_text(), check)


def caching_job(source: Path, songs: Any) -> Job:
    paths = []
    for index, song in enumerate([*songs.mixtures, *songs.vocals] * 3):
        paths.append(source / f"{index}.wav")
        soundfile.write(paths[-1], song, 22050)

    def run(folder: Path) -> None:
        cache = sksep.WaveformCache(folder / "cache", verbose=0)
        cache.waveforms(check_tracks(paths, RATE), RATE)

    return Job(run, contents, lambda folder: None)


def separation_job(source: Path, songs: Any) -> Job:
    path, model = source / "song.wav", sksep.load_pretrained("small-v1", device="cpu")
    soundfile.write(path, songs.mixtures[0], RATE)

    def run(folder: Path) -> None:
        stems = {stem: folder / "stems" / f"{stem}.wav" for stem in ("vocals", "accompaniment")}
        separate_file(path, stems, model, overwrite=True)

    return Job(run, contents, lambda folder: None)


def contents(folder: Path) -> dict[str, bytes]:
    """Files under final names."""
    return {path.name: path.read_bytes() for path in folder.rglob("[!.]*") if path.is_file()}


def start(job: Job, folder: Path) -> int:
    """Start a copy of this process that works in a folder."""
    process = os.fork()
    if process == 0:
        status = 1
        try:
            job.run(folder)
            status = 0
        finally:
            os._exit(status)
    return process


def kill_at_random(job: Job, folder: Path, moments: int, draw: random.Random) -> dict[str, int]:
    """Kill a job, check its files, and let it end; how often there was something to clean up."""
    whole = folder / "whole"
    whole.mkdir()
    begin = time.monotonic()
    assert os.waitpid(start(job, whole), 0)[1] == 0
    seconds = time.monotonic() - begin
    expected, n_leftovers, n_killed = job.result(whole), 0, 0
    for moment in range(moments):
        place = folder / str(moment)
        place.mkdir()
        process = start(job, place)
        time.sleep(seconds * draw.uniform(0.02, 0.98))
        os.kill(process, signal.SIGKILL)
        n_killed += os.WIFSIGNALED(os.waitpid(process, 0)[1])
        n_leftovers += bool(list(place.rglob(".*.unfinished")))
        job.check(place)
        if isinstance(expected, dict):
            found = contents(place)
            assert found.items() <= expected.items(), "a file is not whole"
        assert os.waitpid(start(job, place), 0)[1] == 0, "does not resume"
        assert job.result(place) == expected, "other bits"
        assert not list(place.rglob(".*")), "something is left"
        assert not list(place.rglob("*.pt")), "a checkpoint is left"
        shutil.rmtree(place)
    return {"moments": moments, "killed before the end": n_killed, "with leftovers": n_leftovers}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--moments", type=int, default=20, help="moments in all")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)  # threads do not survive a copy of the process
    songs = make_songs(2, duration=20.0, random_state=0)
    draw, rows = random.Random(options.seed), []
    with tempfile.TemporaryDirectory() as name:
        jobs = {
            "training": training_job(make_songs(3, duration=3.0, random_state=0)),
            "caching": caching_job(Path(name), songs),
            "separating": separation_job(Path(name), songs),
        }
        for index, (title, job) in enumerate(jobs.items()):
            folder = Path(name) / title
            folder.mkdir()
            moments = (options.moments + index) // len(jobs)
            rows.append({"job": title, **kill_at_random(job, folder, moments, draw)})
    table = markdown_table(rows)
    print(table)
    write("kill_writers", {"settings": settings(options), "rows": rows}, table)


if __name__ == "__main__":
    main()
