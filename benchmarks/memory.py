"""Peak memory of a process that loads a separator and extracts the vocals of a long file.

python benchmarks/memory.py                       # ten minutes of 44.1 kHz stereo
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from _lib.memory import peak_megabytes, write_song
from _lib.results import markdown_table, write

import sksep
from sksep.datasets import make_songs
from sksep.presets import unet_pipeline


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--minutes", type=float, default=10.0, help="length of the file")
    parser.add_argument("--n-iter", type=int, default=10, help="Griffin-Lim iterations")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        separate(*options.child)
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        song = Path(folder) / "song.wav"
        write_song(song, options.minutes)
        for preset in ("report_front_end", "recommended"):
            model = Path(folder) / f"{preset}.safetensors"
            save_model(model, preset, options.n_iter)
            command = [sys.executable, __file__, "--child", str(model), str(song)]
            output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
            before, peak = map(float, output.split())
            rows.append(
                {
                    "preset": preset,
                    "minutes": options.minutes,
                    "iterations": options.n_iter,
                    "after import and load, MB": before,
                    "peak, MB": peak,
                }
            )
    table = markdown_table(rows)
    print(table)
    write("memory", {"rows": rows}, table)


def separate(model: str, song: str) -> None:
    """Separate in a process of its own, and print its memory after loading and at its peak."""
    pipeline = sksep.load(model)
    before = peak_megabytes()
    pipeline.predict([song])
    print(before, peak_megabytes())


def save_model(path: Path, preset: str, n_iter: int) -> None:
    """Save a separator of full size that was trained for one step; memory does not depend on it."""
    songs = make_songs(1, 5.0, random_state=0)
    pipeline = unet_pipeline(
        preset,
        separate__max_epochs=1,
        separate__excerpts_per_epoch=2,
        invert__n_iter=n_iter,
    )
    sksep.save(pipeline.fit(songs.mixtures, songs.vocals), path)


if __name__ == "__main__":
    main()
