"""Where tracks sound: levels of chunks, and which chunks are worth training on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sksep._tracks import FloatArray
from sksep.nn.chunks import count_chunks
from sksep.nn.front_end import FrontEnd


def chunk_power(waveform: FloatArray, front_end: FrontEnd) -> npt.NDArray[np.float64]:
    """Mean square of a waveform under each chunk of its spectrogram, shape (n_chunks,)."""
    step, hop_length = front_end.chunk_step, front_end.hop_length
    n_samples = len(waveform)
    n_chunks = count_chunks(front_end.count_frames(n_samples), front_end.n_frames, step)
    # Chunks are made of hops; the last hop of a waveform may be a part of one.
    n_hops = -(-n_samples // hop_length)
    hops = np.pad(waveform, (0, n_hops * hop_length - n_samples)).reshape(n_hops, hop_length)
    energy = np.zeros(n_hops + 1)
    np.cumsum(np.einsum("ij,ij->i", hops, hops), out=energy[1:])
    starts = np.minimum(np.arange(n_chunks) * step, n_hops)
    stops = np.minimum(starts + front_end.n_frames, n_hops)
    lengths = np.minimum(stops * hop_length, n_samples) - starts * hop_length
    return (energy[stops] - energy[starts]) / np.maximum(lengths, 1)


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
