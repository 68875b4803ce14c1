"""Targets: the true stem of a track, and the chunks that are worth training on."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from sksep.audio._cache import Waveform
from sksep.audio._track import Track
from sksep.nn import masks
from sksep.nn.chunks import count_chunks
from sksep.nn.front_end import LOWEST_DECIBELS, FrontEnd
from sksep.utils._arrays import FloatArray, ReadOnlyArrays, read_only


@dataclass(frozen=True, eq=False)
class Targets(ReadOnlyArrays):
    """The truth that a separator learns from in one track. `MaskBuilder` attaches it in fit.

    Attributes
    ----------
    track : Track
        The vocals as given.
    vocal_samples, mixture_samples : ndarray of shape (n_samples,) or CachedWaveform
        Mono vocals at the sample rate of the front end, and their mono mixture.
    chunk_sings : ndarray of bool, shape (n_chunks,)
        Chunks in which the vocals sound.
    chunk_is_kept : ndarray of bool, shape (n_chunks,)
        Chunks to train on: silent ones are left out, and a share of the vocal-free ones is kept.
    front_end : FrontEnd
        The settings of `MelChunker`.
    ratio, weighting : str
        Kind of the proportion mask and of the weights.
    stem : str
        Name of the stem that takes the place of the vocals.
    chunk_gains : ndarray of shape (n_chunks,) or None
        Gains in dB that bring excerpts to the level of training. Trained separators set them in
        fit; None stands for 0 dB.

    Examples
    --------
    >>> from sksep import MaskBuilder, MelChunker
    >>> from sksep.datasets import make_songs
    >>> songs = make_songs(1, duration=1.0, random_state=0)
    >>> batch = MelChunker().transform(songs.mixtures)
    >>> targets = MaskBuilder().fit_transform(batch, songs.vocals)[0].targets
    >>> targets.proportion_mask.shape
    (126, 128)
    """

    track: Track
    vocal_samples: Waveform
    mixture_samples: Waveform
    chunk_sings: npt.NDArray[np.bool_]
    chunk_is_kept: npt.NDArray[np.bool_]
    front_end: FrontEnd
    ratio: str
    weighting: str
    stem: str = "vocals"
    chunk_gains: FloatArray | None = None

    @property
    def vocals(self) -> FloatArray:
        """Mono vocals, (n_samples,). If they are in a cache, each access reads them."""
        return read_only(self.vocal_samples[:])

    @property
    def mixture(self) -> FloatArray:
        """Mono mixture, (n_samples,). If it is in a cache, each access reads it."""
        return read_only(self.mixture_samples[:])

    @property
    def proportion_mask(self) -> FloatArray:
        """Share of the vocals per bin, (n_total_frames, n_bands). Each access computes it."""
        vocals, accompaniment = self._powers()
        return masks.proportion_mask(vocals, accompaniment, self.ratio).numpy()

    @property
    def binary_mask(self) -> FloatArray:
        """1 where the vocals are louder, (n_total_frames, n_bands). Each access computes it."""
        return masks.binary_mask(*self._powers()).numpy()

    @property
    def weights(self) -> FloatArray:
        """Weights of the bins, of mean 1, (n_total_frames, n_bands). Each access computes them."""
        return masks.bin_weights(self._power(self.mixture), self.weighting).numpy()

    def _powers(self) -> tuple[torch.Tensor, torch.Tensor]:
        return self._power(self.vocals), self._power(self.mixture - self.vocals)

    def _power(self, waveform: FloatArray) -> torch.Tensor:
        level = self.front_end.channel_power(torch.tensor(waveform)[None])
        # The floor of the log-power is not a level: silence has no power at all.
        return torch.where(level > LOWEST_DECIBELS, 10.0 ** (level / 10.0), 0.0)


def chunk_power(waveform: FloatArray, front_end: FrontEnd) -> npt.NDArray[np.float64]:
    """Mean square of a waveform under each chunk of its spectrogram, shape (n_chunks,)."""
    step, hop_length = front_end.chunk_step, front_end.hop_length
    n_samples = len(waveform)
    n_chunks = count_chunks(front_end.count_frames(n_samples), front_end.n_frames, step)
    # Chunks consist of whole hops. The last hop of a waveform may be shorter.
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
    """Choose the chunks to train on: all with vocals, and some evenly spaced ones without.

    Parameters
    ----------
    sounds, sings : tuple of ndarray of bool, shape (n_chunks,)
        Chunks of each track that are not silent, and those in which the vocals sound.
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
