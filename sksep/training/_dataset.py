"""The data set of training excerpts: which samples of which tracks make up a batch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from sksep._activity import chunk_power
from sksep._batch import TrackRecord
from sksep._tracks import FloatArray, check_tracks
from sksep.nn.front_end import FrontEnd
from sksep.training._augmentation import Augmentation

# Mean square below which a chunk of an unpaired pool is left out (-60 dB of full scale).
_POOL_SILENCE = 1e-6

IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class _Stems:
    """Waveforms of tracks end to end, with the positions at which excerpts may start.

    Attributes
    ----------
    samples : ndarray of shape (n_stems, n_samples)
        Each track begins with half a window of zeros (the padding of a centred STFT) and ends
        with room for one excerpt.
    starts, lowest, highest : ndarray of shape (n_excerpts,)
        Start of each chunk, and the range of starts within its track.
    """

    samples: FloatArray
    starts: IntArray
    lowest: IntArray
    highest: IntArray

    @classmethod
    def of_tracks(
        cls,
        waveforms: Iterable[FloatArray],
        kept: Iterable[BoolArray],
        front_end: FrontEnd,
        length: int,
    ) -> _Stems:
        """From (n_stems, n_samples) per track and the chunks of its grid that are kept."""
        parts, starts, lowest, highest, offset = [], [], [], [], 0
        step = front_end.chunk_step * front_end.hop_length
        for waveform, chunks in zip(waveforms, kept, strict=True):
            part = np.pad(waveform, ((0, 0), (front_end.n_fft // 2, length)))
            grid = offset + np.arange(len(chunks)) * step
            starts.append(grid[chunks])
            lowest.append(np.full(chunks.sum(), offset))
            highest.append(np.full(chunks.sum(), grid[-1]))
            offset += part.shape[1]
            # The grid may reach beyond the end of a track by almost a chunk.
            missing = int(grid[-1]) + length - offset
            if missing > 0:
                part = np.pad(part, ((0, 0), (0, missing)))
                offset += missing
            parts.append(part)
        return cls(
            np.concatenate(parts, axis=1),
            np.concatenate(starts),
            np.concatenate(lowest),
            np.concatenate(highest),
        )

    def __len__(self) -> int:
        return len(self.starts)

    def gather(self, starts: IntArray, length: int) -> FloatArray:
        """Excerpts of shape (len(starts), n_stems, length)."""
        windows = np.lib.stride_tricks.sliding_window_view(self.samples, length, axis=1)
        return windows[:, starts].swapaxes(0, 1)

    def draw(self, picks: IntArray, jitter: int, generator: np.random.Generator) -> IntArray:
        """Starts of the picked chunks, each moved at random by up to half of `jitter` samples."""
        shift = generator.integers(-(jitter // 2), jitter // 2 + 1, size=len(picks))
        return np.clip(self.starts[picks] + shift, self.lowest[picks], self.highest[picks])


class ExcerptDataset(Dataset[Any]):
    """Excerpts of vocals and accompaniment, drawn a whole batch at a time.

    Without augmentation, item i is the i-th kept chunk of the tracks. With it, every batch is
    drawn at random (the indices only set its size): positions, pairs, remixes and gains.

    Parameters
    ----------
    records : sequence of TrackRecord
        Tracks with targets.
    augmentation : Augmentation or None
        What to draw.
    n_excerpts : int or None
        Length of the data set; None for as many as the kept chunks have audio for.
    seed : int
        Of all draws.
    """

    def __init__(
        self,
        records: Sequence[TrackRecord],
        augmentation: Augmentation | None = None,
        n_excerpts: int | None = None,
        seed: int = 0,
    ) -> None:
        targets = [record.targets for record in records if record.targets is not None]
        self.front_end = front_end = records[0].front_end
        self.augmentation = augmentation
        # Index and number of the processes that divide each batch among them.
        self.share = (0, 1)
        self._random = np.random.default_rng(seed)
        self._worker_seed: int | None = None
        length = front_end.excerpt_length
        self._length = length if augmentation is None else augmentation.source_length(length)
        self._jitter = front_end.chunk_step * front_end.hop_length
        self._pairs = _Stems.of_tracks(
            (np.stack([part.vocals, part.mixture - part.vocals]) for part in targets),
            (part.chunk_is_kept for part in targets),
            front_end,
            self._length,
        )
        sings = np.concatenate([part.chunk_sings[part.chunk_is_kept] for part in targets])
        self._singing = np.flatnonzero(sings)
        self._vocals_pool = self._accompaniment_pool = None
        if augmentation is not None:
            self._vocals_pool = self._pool(augmentation.vocals_pool, "vocals_pool")
            self._accompaniment_pool = self._pool(
                augmentation.accompaniment_pool, "accompaniment_pool"
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
        """State of the generator that draws the excerpts; set to go on from it."""
        return dict(self._random.bit_generator.state)

    @random_state.setter
    def random_state(self, state: dict[str, Any]) -> None:
        self._random.bit_generator.state = state

    @property
    def content(self) -> list[Any]:
        """What tells the data set from others: samples, starts, and the state of the draws."""
        parts = [self._pairs, self._vocals_pool, self._accompaniment_pool]
        stems = [(part.samples, part.starts) for part in parts if part is not None]
        return [*stems, self._singing, len(self), self.random_state]

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        stems, gains = self.__getitems__([index])
        return stems[0], gains[0]

    def __getitems__(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        """Stems (batch, 2, source length), vocals first, and their gains (batch, 2)."""
        if self.augmentation is None:
            taken = np.asarray(indices)[self._taken(len(indices))]
            stems = self._pairs.gather(self._pairs.starts[taken], self._length)
            return torch.from_numpy(stems.copy()), torch.ones(len(taken), 2)
        return self._draw(len(indices), self.augmentation)

    def _taken(self, count: int) -> IntArray:
        """Which excerpts of a batch are this share; some are in two where there are too few."""
        index, n_processes = self.share
        return np.arange(index, max(count, n_processes), n_processes) % count

    def _draw(self, count: int, augmentation: Augmentation) -> tuple[Tensor, Tensor]:
        self._seed_worker()
        random = self._random
        picks = random.integers(len(self._pairs), size=count)
        starts = self._pairs.draw(picks, self._jitter, random)
        taken = self._taken(count)  # what is drawn is for all, what is gathered for these
        stems = self._pairs.gather(starts[taken], self._length).copy()
        remixed = random.random(count) >= augmentation.true_pairs
        self._replace(stems[:, 0], taken, remixed, 0, self._singing, self._vocals_pool)
        self._replace(
            stems[:, 1], taken, remixed, 1, np.arange(len(self._pairs)), self._accompaniment_pool
        )
        stems[(random.random(count) < augmentation.vocal_free)[taken], 0] = 0.0
        gains = augmentation.draw_gains(remixed, random)[taken]
        return torch.from_numpy(stems), torch.from_numpy(gains)

    def _seed_worker(self) -> None:
        # Each worker process of a loader starts every epoch with a copy of the same generator.
        worker = get_worker_info()
        if worker is not None and worker.seed != self._worker_seed:
            self._worker_seed = worker.seed
            self._random = np.random.default_rng(worker.seed)

    def _replace(
        self,
        stem: FloatArray,
        taken: IntArray,
        remixed: BoolArray,
        row: int,
        own: IntArray,
        pool: _Stems | None,
    ) -> None:
        """Overwrite the remixed excerpts of one stem by others, of the pairs or of a pool."""
        n_choices = len(own) + (0 if pool is None else len(pool))
        if n_choices == 0:
            return
        picks = self._random.integers(n_choices, size=len(remixed))
        from_pairs = remixed & (picks < len(own))
        from_pool = remixed & (picks >= len(own))
        starts = np.empty_like(picks)
        if from_pairs.any():
            starts[from_pairs] = self._pairs.draw(
                own[picks[from_pairs]], self._jitter, self._random
            )
            here = from_pairs[taken]
            stem[here] = self._pairs.gather(starts[taken[here]], self._length)[:, row]
        if pool is not None and from_pool.any():
            starts[from_pool] = pool.draw(picks[from_pool] - len(own), self._jitter, self._random)
            here = from_pool[taken]
            stem[here] = pool.gather(starts[taken[here]], self._length)[:, 0]

    def _pool(self, tracks: Any, name: str) -> _Stems | None:
        if tracks is None:
            return None
        waveforms = [
            track.mono(self.front_end.sample_rate)
            for track in check_tracks(tracks, self.front_end.sample_rate, name)
        ]
        kept = [self._sounding_chunks(waveform) for waveform in waveforms]
        if not any(chunks.any() for chunks in kept):
            raise ValueError(f"All tracks of {name} are silent; leave it out.")
        return _Stems.of_tracks(
            (waveform[None] for waveform in waveforms), kept, self.front_end, self._length
        )

    def _sounding_chunks(self, waveform: FloatArray) -> BoolArray:
        n_total_frames = 1 + len(waveform) // self.front_end.hop_length
        return chunk_power(waveform, n_total_frames, self.front_end) > _POOL_SILENCE


def keep_batch(batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
    """Collate function for a data set that already returns whole batches."""
    return batch
