"""Where tracks sound: levels of chunks, and which chunks are worth training on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sksep._tracks import FloatArray
from sksep.nn.chunks import count_chunks
from sksep.nn.front_end import FrontEnd


def chunk_power(waveform: FloatArray, front_end: FrontEnd) -> npt.NDArray[np.float64]:
    """Mean square of a waveform under each chunk of its spectrogram, shape (n_chunks,)."""
    step = front_end.chunk_step
    n_chunks = count_chunks(front_end.count_frames(len(waveform)), front_end.n_frames, step)
    starts = np.arange(n_chunks) * step * front_end.hop_length
    stops = np.minimum(starts + front_end.n_frames * front_end.hop_length, len(waveform))
    starts = np.minimum(starts, stops)
    energy = np.concatenate([[0.0], np.cumsum(np.square(waveform, dtype=np.float64))])
    return (energy[stops] - energy[starts]) / np.maximum(stops - starts, 1)


def keep_share(
    sounds: tuple[npt.NDArray[np.bool_], ...],
    sings: tuple[npt.NDArray[np.bool_], ...],
    vocal_free_share: float,
) -> list[npt.NDArray[np.bool_]]:
    """Chunks to train on: all with vocals, and of the others an evenly spread share of the whole.

    Parameters
    ----------
    sounds, sings : tuple of ndarray of bool, shape (n_chunks,)
        Per track: chunks that are not silent, and those in which the vocals sound.
    vocal_free_share : float
        Largest share of chunks without vocals among the chunks kept.
    """
    all_sounds, all_sings = np.concatenate(sounds), np.concatenate(sings)
    free = np.flatnonzero(all_sounds & ~all_sings)
    n_sings = int(all_sings.sum())
    if n_sings and vocal_free_share < 1.0:
        n_free = min(len(free), round(n_sings * vocal_free_share / (1.0 - vocal_free_share)))
        spread = np.linspace(0, max(len(free) - 1, 0), n_free)  # evenly over all tracks
        free = free[spread.round().astype(int)]
    kept = all_sings.copy()
    kept[free] = True
    return np.split(kept, np.cumsum([len(part) for part in sounds])[:-1])
