"""Speed, memory and start of `sksep separate`.

    python benchmarks/separate.py                             # a 4-minute song, and an hour
    python benchmarks/separate.py --hour 0 --song song.wav    # a song of your own, without the hour

Times real time of a stereo song at 44.1 kHz, decoding and writing included, once the model is
loaded, and of the whole command with its start; models are interleaved, the best of the repeats
counts. Then the peak memory and the time of a quarter, half and whole hour, and how long
`import sksep` and `sksep --help` take.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from _lib.memory import peak_megabytes, write_song
from _lib.results import FOLDER, markdown_table, write


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--models", nargs="+", default=["unet", "uhnet", "small"])
    parser.add_argument("--song", type=Path, help="default: four minutes of synthetic music")
    parser.add_argument("--format", default="wav")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--hour", type=float, default=60.0, help="minutes of the long file, or 0")
    parser.add_argument("--results", type=Path, default=FOLDER)
    parser.add_argument("--child", nargs=4, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(*options.child)
        return
    with tempfile.TemporaryDirectory() as folder:
        song = options.song or Path(folder) / "song.wav"
        if options.song is None:
            write_song(song, 4.0)
        speed = speeds(song, options)
        long = [
            long_file(options.models[0], Path(folder), minutes, options.format)
            for minutes in (options.hour / 4, options.hour / 2, options.hour)
            if minutes
        ]
    starts = [
        start("import sksep", [sys.executable, "-c", "import sksep"]),
        start(
            "import sksep, and a name that needs torch",
            [sys.executable, "-c", "from sksep import UHNetSeparator"],
        ),
        start("sksep --help", [str(Path(sys.executable).with_name("sksep")), "--help"]),
    ]
    tables = [speed, long, starts] if long else [speed, starts]
    text = "\n\n".join(markdown_table(rows) for rows in tables)
    print(text)
    write("separate", {"speed": speed, "long files": long, "starts": starts}, text, options.results)


def speeds(song: Path, options: argparse.Namespace) -> list[dict[str, Any]]:
    """A row for each model: loaded, and as a command."""
    taken: dict[tuple[str, bool], list[float]] = {}
    for _ in range(options.repeats):
        for model in options.models:
            with tempfile.TemporaryDirectory() as folder:
                seconds, _, length = run_child(model, song, folder, options.format)
                taken.setdefault((model, True), []).append(seconds)
            with tempfile.TemporaryDirectory() as folder:
                command = [sys.executable, "-m", "sksep", "separate", str(song), "-o", folder]
                command += ["--model", model, "--format", options.format, "--quiet"]
                started = time.perf_counter()
                subprocess.run(command, check=True)
                taken.setdefault((model, False), []).append(time.perf_counter() - started)
    return [
        {
            "model": model,
            "minutes": length / 60.0,
            "format": options.format,
            "seconds, loaded": min(taken[model, True]),
            "times real time, loaded": length / min(taken[model, True]),
            "seconds, command": min(taken[model, False]),
            "times real time, command": length / min(taken[model, False]),
        }
        for model in options.models
    ]


def long_file(model: str, folder: Path, minutes: float, format: str) -> dict[str, Any]:
    """Peak memory and time of a long file."""
    song = folder / "long.wav"
    write_song(song, minutes)
    with tempfile.TemporaryDirectory(dir=folder) as output:
        seconds, peak, length = run_child(model, song, output, format)
    return {
        "model": model,
        "minutes": length / 60.0,
        "seconds": seconds,
        "times real time": length / seconds,
        "peak memory, MB": peak,
    }


def run_child(model: str, song: Path, folder: str, format: str) -> list[float]:
    """Seconds, peak memory in MB and seconds of audio, measured in a process of its own."""
    command = [sys.executable, __file__, "--child", model, str(song), folder, format]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return [float(value) for value in output.split()]


def child(model: str, song: str, folder: str, format: str) -> None:
    """Separate one song by a loaded model, and print the time and memory that it took."""
    from sksep.inference._files import separate_file
    from sksep.inference._models import load_model

    pipeline = load_model(model)
    outputs = {stem: Path(folder) / f"{stem}.{format}" for stem in ("vocals", "accompaniment")}
    started = time.perf_counter()
    report = separate_file(song, outputs, pipeline, format=format)
    print(time.perf_counter() - started, peak_megabytes(), report.seconds)


def start(name: str, command: list[str]) -> dict[str, Any]:
    """The shortest of five starts of a process."""
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": ""}
    taken = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run(command, check=True, capture_output=True, env=environment)
        taken.append(time.perf_counter() - started)
    return {"start of": name, "seconds": min(taken)}


if __name__ == "__main__":
    main()
