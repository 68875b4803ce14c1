"""Memory of a process, and songs that it should not depend on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import soundfile

from sksep.datasets import make_songs

SAMPLE_RATE = 44100


def peak_megabytes() -> float:
    """Largest resident size of this process so far.

    It is Linux's own count; that of the module `resource` begins with the size of the parent.
    """
    return resident_megabytes("VmHWM")


def resident_megabytes(key: str) -> float:
    """Resident size of this process now (VmRSS) or at its peak (VmHWM), as Linux counts them."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith(key))


def write_song(path: Path, minutes: float) -> None:
    """Write the same synthetic music over and over, without holding it all."""
    songs = make_songs(1, 10.0, sample_rate=SAMPLE_RATE, n_channels=2, random_state=0)
    with soundfile.SoundFile(path, "w", SAMPLE_RATE, 2) as file:
        for _ in range(round(minutes * 6)):
            file.write(np.ascontiguousarray(songs.mixtures[0].T))
