"""The data set of training excerpts, which chooses the samples and tracks of each batch."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from sksep.audio._cache import CachedWaveform, Waveform, WaveformCache, mono_waveforms
from sksep.audio._resampling import resample, resampled_length
from sksep.audio._validation import check_tracks
from sksep.base._batch import TrackRecord
from sksep.base._targets import chunk_power
from sksep.nn import effects
from sksep.nn.front_end import FrontEnd
from sksep.training._augmentation import Augmentation
from sksep.utils._arrays import BoolArray, DoubleArray, FloatArray, IntArray

# Mean square below which a chunk of an unpaired pool is left out (-60 dB of full scale).
_POOL_SILENCE = 1e-6
# Sample rate that stands for a speed of 1. Speeds are rounded to its inverse.
_RATE = 10**6


@dataclass(frozen=True, eq=False)
class _ExcerptGrid:
    """Positions at which excerpts of tracks may start.

    Attributes
    ----------
    tracks, starts, last : ndarray of shape (n_excerpts,)
        For each chunk: the index of its track, its first sample, and the last sample at which an
        excerpt of the track may start.
    first : int
        First sample at which an excerpt may start. It lies half a window before the track, which is
        the padding of a centered STFT.
    step, length : int
        Samples between chunks, and samples of a chunk.
    """

    tracks: IntArray
    starts: IntArray
    last: IntArray
    first: int
    step: int
    length: int

    @classmethod
    def of_tracks(cls, kept: Sequence[BoolArray], front_end: FrontEnd) -> _ExcerptGrid:
        """Make a grid of the chunks of each track that are kept."""
        first = -(front_end.n_fft // 2)
        step = front_end.chunk_step * front_end.hop_length
        counts = [int(chunks.sum()) for chunks in kept]
        last = [first + (len(chunks) - 1) * step for chunks in kept]
        return cls(
            np.repeat(np.arange(len(kept)), counts),
            first + step * np.concatenate([np.flatnonzero(chunks) for chunks in kept]),
            np.repeat(last, counts),
            first,
            step,
            front_end.excerpt_length,
        )

    def __len__(self) -> int:
        return len(self.starts)

    def draw(self, picks: IntArray, jitter: int, generator: np.random.Generator) -> IntArray:
        """Starts of the picked chunks, each moved at random by up to half of `jitter` samples."""
        shift = generator.integers(-(jitter // 2), jitter // 2 + 1, size=len(picks))
        return np.clip(self.starts[picks] + shift, self.first, self.last[picks])

    def chunk_until(self, stop: int) -> int:
        """Index of the first chunk that reaches sample `stop`."""
        return max(0, -(-(stop - self.length - self.first) // self.step))


@dataclass(frozen=True, eq=False)
class _Stem:
    """Waveforms of tracks, and their grid.

    Attributes
    ----------
    grid : _ExcerptGrid
        Positions of excerpts.
    waveforms : sequence of Waveform
        Samples of each track.
    subtracted : sequence of Waveform
        Other samples of equal lengths to subtract, if there are any.
    gains : sequence of ndarray of shape (n_chunks,) or None
        Gains in dB of the chunks of each track; empty for 0 dB.
    """

    grid: _ExcerptGrid
    waveforms: Sequence[Waveform]
    subtracted: Sequence[Waveform] = ()
    gains: Sequence[FloatArray | None] = ()

    def excerpts(self, picks: IntArray, starts: IntArray) -> list[_Excerpt]:
        """Excerpts of the tracks of picked chunks."""
        tracks = self.grid.tracks[picks].tolist()
        return [_Excerpt(self, *place) for place in zip(tracks, starts.tolist(), strict=True)]

    def factor(self, track: int, stop: int) -> float:
        """Factor of samples of a track that end at `stop`."""
        gains = self.gains[track] if self.gains else None
        if gains is None:
            return 1.0
        chunk = min(self.grid.chunk_until(stop), len(gains) - 1)
        return float(10.0 ** (gains[chunk] / 20.0))

    @property
    def fingerprint(self) -> list[Any]:
        """Values that identify the samples."""
        waveforms = [*self.waveforms, *self.subtracted]
        names = [part.path.name if isinstance(part, CachedWaveform) else part for part in waveforms]
        return [*names, *self.gains]


class _Excerpt(NamedTuple):
    """The place of an excerpt: its stem, the index of its track, its first sample, its speed."""

    stem: _Stem
    track: int
    start: int
    speed: float = 1.0

    def read(self, length: int) -> FloatArray:
        """Samples at the speed and gain of the excerpt. Beyond the ends of the track is silence."""
        if self.speed != 1.0:
            rate = round(self.speed * _RATE)
            played = self._replace(speed=1.0).read(resampled_length(length, _RATE, rate))
            return resample(played, rate, _RATE)[:length]
        samples = slice(max(0, self.start), max(0, self.start + length))
        part = self.stem.waveforms[self.track][samples]
        if self.stem.subtracted:
            part = part - self.stem.subtracted[self.track][samples]
        part = part * np.float32(self.stem.factor(self.track, self.start + length))
        offset = max(0, -self.start)
        return np.pad(part, (offset, length - offset - len(part)))


@dataclass(frozen=True, eq=False)
class _Choices:
    """Chunks to draw from, all alike or by weights.

    Attributes
    ----------
    chunks : ndarray of shape (n_chunks,)
        Indices of the chunks in their grid.
    weights : ndarray of shape (n_chunks,) or None
        Positive weights; None if they are equal.
    """

    chunks: IntArray
    weights: DoubleArray | None = None

    def __len__(self) -> int:
        return len(self.chunks)

    def at(self, positions: IntArray, generator: np.random.Generator) -> IntArray:
        """Chunks at positions from 0 to n_chunks - 1.

        With equal weights, position i is chunk i. Otherwise the sum of the weights is cut into
        n_chunks equal parts, and position i is a random chunk of part i. So every chunk is expected
        in proportion to its weight, whether all positions are visited or random ones.
        """
        if self.weights is None:
            return self.chunks[positions]
        sums = np.cumsum(self.weights)
        points = (positions + generator.random(len(positions))) / len(self) * sums[-1]
        picks = np.searchsorted(sums, points, side="right")
        return self.chunks[np.minimum(picks, len(self) - 1)]


class ExcerptDataset(Dataset[Any]):
    """Excerpts of vocals and accompaniment, drawn a whole batch at a time.

    Without augmentation, item i is the i-th kept chunk of the tracks, or with weights a random one
    of the i-th part of their sum. With it, the positions, pairs, remixes and gains of every batch
    are drawn at random, and indices only set its size.

    Parameters
    ----------
    records : sequence of TrackRecord
        Tracks with targets.
    augmentation : Augmentation or None
        Settings of the random draws.
    n_excerpts : int or None
        Length of the data set. None takes as many as the audio of the kept chunks suffices for.
    seed : int
        Seed of all draws.
    weights : ndarray of shape (n_tracks,) or None
        Positive weights of the tracks: how often their chunks are drawn, relative to each other.
        The share of the pools of the augmentation does not depend on them.
    """

    def __init__(
        self,
        records: Sequence[TrackRecord],
        augmentation: Augmentation | None = None,
        n_excerpts: int | None = None,
        seed: int = 0,
        weights: DoubleArray | None = None,
    ) -> None:
        targets = [record.targets for record in records if record.targets is not None]
        self.front_end = front_end = records[0].front_end
        self.augmentation = augmentation
        self._random = np.random.default_rng(seed)
        self._worker_seed: int | None = None
        length = front_end.excerpt_length
        self._length = length if augmentation is None else augmentation.source_length(length)
        self._jitter = front_end.chunk_step * front_end.hop_length
        # Index of this process and number of all processes that divide each batch among them.
        self.share = (0, 1)
        self._pairs = grid = _ExcerptGrid.of_tracks(
            [part.chunk_is_kept for part in targets], front_end
        )
        vocals = [part.vocal_samples for part in targets]
        mixtures = [part.mixture_samples for part in targets]
        gains = [part.chunk_gains for part in targets]
        self._vocals = _Stem(grid, vocals, gains=gains)
        self._accompaniment = _Stem(grid, mixtures, vocals, gains=gains)
        sings = np.concatenate([part.chunk_sings[part.chunk_is_kept] for part in targets])
        by_chunk = None if weights is None else weights[grid.tracks]
        self._all = _Choices(np.arange(len(sings)), by_chunk)
        singing = np.flatnonzero(sings)
        self._singing = _Choices(singing, None if by_chunk is None else by_chunk[singing])
        self._vocals_pool = self._accompaniment_pool = None
        if augmentation is not None:
            pools = ("vocals_pool", "accompaniment_pool")
            self._vocals_pool, self._accompaniment_pool = (
                self._pool(getattr(augmentation, name), name, records[0].cache) for name in pools
            )
        audio_share = min(1.0, front_end.chunk_step / front_end.n_frames)
        if augmentation is None:
            self._n_excerpts = len(self._pairs)
        else:
            self._n_excerpts = n_excerpts or max(1, round(len(self._pairs) * audio_share))

    def __len__(self) -> int:
        return self._n_excerpts

    @property
    def random_state(self) -> dict[str, Any]:
        """State of the generator that draws the excerpts; set it to continue from there."""
        return dict(self._random.bit_generator.state)

    @random_state.setter
    def random_state(self, state: dict[str, Any]) -> None:
        self._random.bit_generator.state = state

    @property
    def fingerprint(self) -> list[Any]:
        """Values that identify the data set: samples, starts, and the state of the draws."""
        stems = (
            self._vocals,
            self._accompaniment,
            self._vocals_pool,
            self._accompaniment_pool,
        )
        return [
            *[
                (stem.grid.tracks, stem.grid.starts, stem.fingerprint)
                for stem in stems
                if stem is not None
            ],
            self._singing.chunks,
            len(self),
            self.random_state,
            *([] if self._all.weights is None else [self._all.weights]),
        ]

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        stems, gains = self.__getitems__([index])
        return stems[0], gains[0]

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        """Stems (batch, 2, source length), vocals first, and their gains (batch, 2)."""
        if self.augmentation is None:
            self._seed_worker()
            picks = self._all.at(np.asarray(indices), self._random)
            stems = self._read(*self._pairs_at(picks, self._pairs.starts[picks]))
            return stems, torch.ones(len(stems), 2)
        return self._draw(len(indices), self.augmentation)

    def _draw(self, count: int, augmentation: Augmentation) -> tuple[Tensor, Tensor]:
        self._seed_worker()
        random = self._random
        picks = self._all.at(random.integers(len(self._pairs), size=count), random)
        starts = self._pairs.draw(picks, self._jitter, random)
        vocals, accompaniment = self._pairs_at(picks, starts)
        remixed = random.random(count) >= augmentation.true_pairs
        self._replace(vocals, remixed, self._vocals, self._singing, self._vocals_pool)
        pool = self._accompaniment_pool
        self._replace(accompaniment, remixed, self._accompaniment, self._all, pool)
        vocal_free = random.random(count) < augmentation.vocal_free
        gains = augmentation.draw_gains(remixed, random)
        speeds, formants = augmentation.draw_voices(remixed, random)
        vocals = [
            part._replace(speed=float(speed)) for part, speed in zip(vocals, speeds, strict=True)
        ]
        # Excerpts are drawn for all processes, but read for this one only.
        taken = self._taken(count)
        stems = self._read(vocals, accompaniment)
        self._shift_formants(stems, formants[taken])
        stems[vocal_free[taken], 0] = 0.0
        return stems, torch.from_numpy(gains[taken])

    def _pairs_at(self, picks: IntArray, starts: IntArray) -> tuple[list[_Excerpt], ...]:
        return self._vocals.excerpts(picks, starts), self._accompaniment.excerpts(picks, starts)

    def _taken(self, count: int) -> IntArray:
        """Indices of the excerpts in this share of a batch. Shares overlap if there are too few."""
        index, n_processes = self.share
        return np.arange(index, max(count, n_processes), n_processes) % count

    def _read(self, vocals: list[_Excerpt], accompaniment: list[_Excerpt]) -> Tensor:
        """The share of a batch, (share, 2, source length)."""
        pairs = [(vocals[index], accompaniment[index]) for index in self._taken(len(vocals))]
        stems = [np.stack([excerpt.read(self._length) for excerpt in pair]) for pair in pairs]
        return torch.from_numpy(np.stack(stems))

    def _shift_formants(self, stems: Tensor, factors: DoubleArray) -> None:
        """Move the formants of those vocals whose factor is not 1."""
        rows = np.flatnonzero(factors != 1.0)
        if len(rows):
            stems[rows, 0] = effects.shift_formants(
                stems[rows, 0],
                torch.from_numpy(factors[rows].astype(np.float32)),
                sample_rate=self.front_end.sample_rate,
            )

    def _seed_worker(self) -> None:
        # Each worker process of a loader starts every epoch with a copy of the same generator.
        worker = get_worker_info()
        if worker is not None and worker.seed != self._worker_seed:
            self._worker_seed = worker.seed
            self._random = np.random.default_rng(worker.seed)

    def _replace(
        self,
        excerpts: list[_Excerpt],
        remixed: BoolArray,
        stem: _Stem,
        own: _Choices,
        pool: _Stem | None,
    ) -> None:
        """Replace the remixed excerpts by others, of the pairs or of a pool."""
        n_choices = len(own) + (0 if pool is None else len(pool.grid))
        if n_choices == 0:
            return
        picks = self._random.integers(n_choices, size=len(excerpts))
        from_pairs = np.flatnonzero(remixed & (picks < len(own)))
        self._put(excerpts, from_pairs, stem, own.at(picks[from_pairs], self._random))
        if pool is not None:
            from_pool = np.flatnonzero(remixed & (picks >= len(own)))
            self._put(excerpts, from_pool, pool, picks[from_pool] - len(own))

    def _put(self, excerpts: list[_Excerpt], rows: IntArray, stem: _Stem, picks: IntArray) -> None:
        starts = stem.grid.draw(picks, self._jitter, self._random)
        for row, other in zip(rows, stem.excerpts(picks, starts), strict=True):
            excerpts[row] = other

    def _pool(self, tracks: Any, name: str, cache: WaveformCache | None) -> _Stem | None:
        if tracks is None:
            return None
        sample_rate = self.front_end.sample_rate
        waveforms = mono_waveforms(check_tracks(tracks, sample_rate, name), sample_rate, cache)
        kept = [chunk_power(waveform[:], self.front_end) > _POOL_SILENCE for waveform in waveforms]
        if not any(chunks.any() for chunks in kept):
            raise ValueError(f"All tracks of {name} are silent. Leave {name} out.")
        return _Stem(_ExcerptGrid.of_tracks(kept, self.front_end), waveforms)


def keep_batch(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Collate function for a data set that already returns whole batches."""
    return batch
