"""New mixtures of any vocals with any accompaniment, at random."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Integral
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils import Bunch, check_random_state
from sklearn.utils.random import sample_without_replacement

from sksep.audio._resampling import resample
from sksep.audio._track import Track
from sksep.audio._validation import check_tracks
from sksep.utils._arrays import FloatArray

_LARGEST_PEAK = 0.99
_DESCRIPTION = """\
Remixed songs
=============
Vocals over accompaniments of other songs at random levels. Tracks of one group share their vocals
(or the group that was given for these); accompaniments may be shared by several groups.
"""


def remix(
    vocals: Sequence[Any],
    accompaniments: Sequence[Any],
    *,
    n_tracks: int,
    sample_rate: int,
    gain_range: tuple[float, float] = (-8.0, 8.0),
    duration: float | None = None,
    groups: Sequence[Any] | None = None,
    random_state: Any = None,
) -> Bunch:
    """Mix random vocals with random accompaniments at random levels.

    No pair is repeated before all have been used. Two collections of the same length are
    taken as the stems of the same songs in the same order: vocals are then not mixed with their own
    accompaniment, unless it is the only one.

    Parameters
    ----------
    vocals, accompaniments : sequence of arrays, paths or AudioSource
        Arrays have shape (n_samples,) or (n_channels, n_samples), at `sample_rate`; files are
        resampled to it. The collections may differ in length.
    n_tracks : int
        Number of mixtures to make.
    sample_rate : int
        Sample rate of the result, and of given arrays, in Hz.
    gain_range : tuple of float, default=(-8.0, 8.0)
        Smallest and largest gain of the vocals in dB.
    duration : float, default=None
        Length of each mixture in seconds. None takes the length of the vocals. A longer recording
        is cut at a random position; a shorter accompaniment is repeated; shorter vocals are placed
        at a random position in silence.
    groups : sequence of shape (n_vocals,), default=None
        Singer or artist of each of the vocals; None makes a group of each.
    random_state : int, RandomState instance or None, default=None
        Seed of all random draws. An int makes the mixtures reproducible.

    Returns
    -------
    Bunch
        - mixtures, vocals, accompaniments : list of float32 ndarray with the channels of the
          accompaniment. Every mixture is exactly the sum of the other two. All three are scaled
          down if one of them would exceed full scale.
        - track_names : list of str
        - groups : ndarray of shape (n_tracks,), the group of the vocals
        - vocals_indices, accompaniment_indices : ndarray of shape (n_tracks,)
        - gains : ndarray of shape (n_tracks,), the gains of the vocals in dB
        - sample_rate : int
        - split : None
        - DESCR : str

    Raises
    ------
    ValueError, TypeError
        If a parameter is out of its range, or a track cannot be used. The message names it.

    Examples
    --------
    >>> from sksep.datasets import make_songs, remix
    >>> songs = make_songs(4, duration=1.0, random_state=0)
    >>> mixes = remix(songs.vocals, songs.accompaniments, n_tracks=6, sample_rate=16000,
    ...               groups=songs.groups, random_state=0)
    >>> len(mixes.mixtures), mixes.mixtures[0].shape
    (6, (16000,))
    >>> bool((mixes.vocals_indices != mixes.accompaniment_indices).all())
    True
    """
    if not isinstance(n_tracks, Integral) or n_tracks < 1:
        raise ValueError(f"n_tracks must be an integer of at least 1, got {n_tracks!r}.")
    if not isinstance(sample_rate, Integral) or sample_rate < 1:
        raise ValueError(f"sample_rate must be a positive integer, got {sample_rate!r}.")
    if duration is not None and round(duration * sample_rate) < 1:
        raise ValueError(f"duration must be a positive number of seconds, got {duration!r}.")
    if len(gain_range) != 2 or not -np.inf < gain_range[0] <= gain_range[1] < np.inf:
        raise ValueError(f"gain_range must be (smallest, largest) in dB, got {gain_range!r}.")
    voices = check_tracks(vocals, sample_rate, "vocals")
    bands = check_tracks(accompaniments, sample_rate, "accompaniments")
    if groups is not None and len(groups) != len(voices):
        raise ValueError(f"groups has {len(groups)} entries for {len(voices)} vocals.")

    rng = check_random_state(random_state)
    rows, columns = _draw_pairs(len(voices), len(bands), n_tracks, rng)
    gains = rng.uniform(*gain_range, size=n_tracks)
    length = None if duration is None else round(duration * sample_rate)
    results: dict[str, list[FloatArray]] = {"mixtures": [], "vocals": [], "accompaniments": []}
    for row, column, gain in zip(rows, columns, gains, strict=True):
        voice = _read(voices[row], sample_rate)
        band = _read(bands[column], sample_rate)
        n_samples = length or voice.shape[1]
        voice = _fit_vocals(voice, n_samples, rng) * np.float32(10 ** (gain / 20))
        band = _fit_accompaniment(band, n_samples, rng)
        if voice.shape[0] != band.shape[0]:
            voice = np.repeat(voice.mean(axis=0, keepdims=True), band.shape[0], axis=0)
        peak = max(float(np.abs(sound).max()) for sound in (voice, band, voice + band))
        if peak > _LARGEST_PEAK:
            scale = np.float32(_LARGEST_PEAK / peak)
            voice, band = voice * scale, band * scale
        shape = (*bands[column].shape[:-1], n_samples)
        results["vocals"].append(voice.reshape(shape))
        results["accompaniments"].append(band.reshape(shape))
        results["mixtures"].append((voice + band).reshape(shape))
    singers = np.arange(len(voices)) if groups is None else np.asarray(groups)
    return Bunch(
        **results,
        track_names=[
            f"remix-{index}-vocals-{row}-accompaniment-{column}"
            for index, (row, column) in enumerate(zip(rows, columns, strict=True))
        ],
        groups=singers[rows],
        vocals_indices=rows,
        accompaniment_indices=columns,
        gains=gains,
        split=None,
        sample_rate=int(sample_rate),
        DESCR=_DESCRIPTION,
    )


def _draw_pairs(
    n_rows: int, n_columns: int, n_pairs: int, rng: np.random.RandomState
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Index pairs; all occur once before one is repeated, without i = j if n_rows = n_columns."""
    same_songs = n_rows == n_columns > 1
    # Number of columns to choose from in each row.
    width = n_columns - 1 if same_songs else n_columns
    rounds = []
    for start in range(0, n_pairs, n_rows * width):
        count = min(n_rows * width, n_pairs - start)
        drawn = sample_without_replacement(n_rows * width, count, random_state=rng)
        rounds.append(rng.permutation(drawn))
    rows, columns = np.divmod(np.concatenate(rounds).astype(np.intp), width)
    if same_songs:
        columns += columns >= rows
    return rows, columns


def _read(track: Track, sample_rate: int) -> FloatArray:
    return resample(track.read(), track.sample_rate, sample_rate)


def _fit_vocals(samples: FloatArray, n_samples: int, rng: np.random.RandomState) -> FloatArray:
    surplus = samples.shape[1] - n_samples
    if surplus >= 0:
        return _cut(samples, n_samples, rng)
    before = rng.randint(-surplus + 1)
    return np.pad(samples, ((0, 0), (before, -surplus - before)))


def _fit_accompaniment(
    samples: FloatArray, n_samples: int, rng: np.random.RandomState
) -> FloatArray:
    if samples.shape[1] < n_samples:
        samples = np.tile(samples, (1, -(-n_samples // samples.shape[1])))[:, :n_samples]
    return _cut(samples, n_samples, rng)


def _cut(samples: FloatArray, n_samples: int, rng: np.random.RandomState) -> FloatArray:
    start = rng.randint(samples.shape[1] - n_samples + 1)
    return samples[:, start : start + n_samples]
