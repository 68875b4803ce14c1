"""The immutable batch of track records that travels between the steps of a pipeline."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload

import numpy as np
import numpy.typing as npt
import torch

from sksep.audio._cache import Waveform, WaveformCache
from sksep.audio._track import Track
from sksep.base._targets import Targets
from sksep.nn import chunks
from sksep.nn.front_end import FLOOR_DECIBELS, FrontEnd
from sksep.utils._arrays import FloatArray, ReadOnlyArrays, as_tensor, read_only


@dataclass(frozen=True, eq=False)
class TrackRecord(ReadOnlyArrays):
    """One track on its way through a pipeline.

    Attributes
    ----------
    track : Track
        The mixture as given: its rate, channels, length and the source of its samples.
    front_end : FrontEnd
        The settings of `MelChunker`.
    samples : ndarray of shape (n_samples,) or CachedWaveform
        Mono mixture at the sample rate of the front end.
    levels : ndarray of shape (n_total_frames, n_bands) or None
        Log power of all channels together in dB, at least -240. None if it is computed when it is
        asked for.
    cache : WaveformCache or None
        Cache of waveforms that belong to this track.
    targets : Targets or None
        True vocals to learn from. They are attached only while fitting.
    estimate : ndarray of shape (n_total_frames, n_bands), callable or None
        Estimated mask of the vocals, in [0, 1], or a function that estimates it from the record.
    device : str
        Device on which the mask is estimated, and then inverted.

    Examples
    --------
    >>> from sksep import MelChunker
    >>> from sksep.datasets import make_songs
    >>> record = MelChunker().transform(make_songs(1, duration=1.0, random_state=0).mixtures)[0]
    >>> record.spectrogram.shape, record.chunks.shape
    ((126, 128), (1, 128, 128))
    """

    track: Track
    front_end: FrontEnd
    samples: Waveform
    levels: FloatArray | None = None
    cache: WaveformCache | None = None
    targets: Targets | None = None
    estimate: FloatArray | Callable[[TrackRecord], FloatArray] | None = None
    device: str = "cpu"

    @property
    def name(self) -> str:
        """Name of the track in messages."""
        return self.track.name

    @property
    def waveform(self) -> FloatArray:
        """Mono mixture, (n_samples,). If it is in a cache, each access reads it."""
        return read_only(self.samples[:])

    @property
    def spectrogram(self) -> FloatArray:
        """Log power in dB, (n_total_frames, n_bands), at least -100; a copy at each call."""
        return read_only(np.maximum(self.sound_levels, np.float32(FLOOR_DECIBELS)))

    @property
    def sound_levels(self) -> FloatArray:
        """`levels`, computed from the mono waveform if they are not kept."""
        return self.mono_levels if self.levels is None else self.levels

    @property
    def mono_levels(self) -> FloatArray:
        """Log power of the mono waveform, which training hears, in dB, at least -240."""
        if self.levels is not None and self.track.n_channels == 1:
            return self.levels
        return read_only(self.front_end.channel_power(as_tensor(self.waveform)[None]).numpy())

    @property
    def n_total_frames(self) -> int:
        """Frames of the spectrogram."""
        return self.front_end.count_frames(len(self.samples))

    @property
    def mask(self) -> FloatArray | None:
        """Mask of the vocals, (n_total_frames, n_bands). It is estimated unless it is kept."""
        if not callable(self.estimate):
            return self.estimate
        return self.with_mask(self.estimate(self)).mask

    @property
    def chunks(self) -> FloatArray:
        """Log-power chunks, (n_chunks, n_frames, n_bands), time first. Each access copies them."""
        cut = chunks.chunk(
            torch.tensor(self.spectrogram),
            self.front_end.n_frames,
            self.front_end.chunk_step,
            FLOOR_DECIBELS,
        )
        return np.ascontiguousarray(cut.numpy())

    def with_mask(
        self, mask: npt.ArrayLike, device: str | torch.device | None = None
    ) -> TrackRecord:
        """Return the track with another estimated mask, which is checked, and its device."""
        mask = np.asarray(mask, dtype=np.float32)
        shape = (self.n_total_frames, self.front_end.n_bands)
        if mask.shape != shape:
            raise ValueError(
                f"The mask of {self.name} has shape {mask.shape}, its spectrogram {shape}; they "
                "must agree."
            )
        if not np.isfinite(mask.sum(dtype=np.float64)):
            raise ValueError(f"The mask of {self.name} contains NaN or infinity.")
        return replace(self, estimate=mask, device=str(device or self.device))

    def __repr__(self) -> str:
        parts = {"targets": self.targets, "mask": self.estimate}
        extras = [name for name, part in parts.items() if part is not None]
        shape = (self.n_total_frames, self.front_end.n_bands)
        return (
            f"<TrackRecord {self.name}: {self.track.n_samples / self.track.sample_rate:.2f} s, "
            f"spectrogram {shape}{''.join(', ' + name for name in extras)}>"
        )


class TrackBatch(Sequence[TrackRecord]):
    """An immutable sequence of track records.

    scikit-learn's own indexing turns such a container into a plain list of records. `as_batch`
    makes a batch of this list again.

    Parameters
    ----------
    records : iterable of TrackRecord
        One record for each track.

    Examples
    --------
    >>> from sksep import MelChunker
    >>> from sksep.datasets import make_songs
    >>> batch = MelChunker().transform(make_songs(3, duration=1.0, random_state=0).mixtures)
    >>> len(batch), batch[1:]
    (3, <TrackBatch of 2 tracks>)
    """

    __slots__ = ("_records",)

    def __init__(self, records: Iterable[TrackRecord]) -> None:
        self._records = tuple(records)

    def __len__(self) -> int:
        return len(self._records)

    @overload
    def __getitem__(self, index: int) -> TrackRecord: ...
    @overload
    def __getitem__(self, index: slice) -> TrackBatch: ...
    def __getitem__(self, index: int | slice) -> TrackRecord | TrackBatch:
        if isinstance(index, slice):
            return TrackBatch(self._records[index])
        return self._records[index]

    def __iter__(self) -> Iterator[TrackRecord]:
        return iter(self._records)

    def with_masks(
        self, estimates: Iterable[npt.ArrayLike], device: str | torch.device | None = None
    ) -> TrackBatch:
        """Return the tracks with estimated masks, one (n_total_frames, n_bands) array each."""
        return TrackBatch(
            record.with_mask(mask, device) for record, mask in zip(self, estimates, strict=True)
        )

    def with_estimator(
        self, estimator: Callable[[TrackRecord], FloatArray], device: str | torch.device = "cpu"
    ) -> TrackBatch:
        """Return the tracks with masks that are estimated at each access."""
        return TrackBatch(
            replace(record, estimate=estimator, device=str(device)) for record in self
        )

    def __repr__(self) -> str:
        return f"<TrackBatch of {len(self)} tracks>"

    def _repr_html_(self) -> str:
        """A table and a picture, for notebooks."""
        from sksep.base._batch_html import batch_html

        return batch_html(self)


def as_batch(X: Any, *, user: str) -> TrackBatch:
    """Make sure that the input of a step is a batch.

    Every step calls it first, since scikit-learn's splitters turn a batch into a list of records.

    Parameters
    ----------
    X : TrackBatch, or sequence of TrackRecord
        Input of the step.
    user : str
        Name of the step, for messages.

    Returns
    -------
    TrackBatch
        The same records.

    Raises
    ------
    TypeError
        If `X` is something else, for example raw tracks.
    ValueError
        If `X` is empty, its front ends differ, or a file has changed since it was read.

    Examples
    --------
    >>> from sksep import MelChunker
    >>> from sksep.base import as_batch
    >>> from sksep.datasets import make_songs
    >>> batch = MelChunker().transform(make_songs(3, duration=1.0, random_state=0).mixtures)
    >>> as_batch([batch[0], batch[2]], user="MySeparator")
    <TrackBatch of 2 tracks>
    """
    if isinstance(X, TrackBatch):
        batch = X
    else:
        items = list(X) if isinstance(X, (list, tuple, np.ndarray)) else [X]
        if not all(isinstance(item, TrackRecord) for item in items):
            raise TypeError(
                f"{user} works on the output of MelChunker, got {type(X).__name__}. Put a "
                "MelChunker before this step of the pipeline."
            )
        batch = TrackBatch(items)
    if not len(batch):
        raise ValueError(f"{user} was given no tracks; at least one is needed.")
    if len({record.front_end for record in batch}) > 1:
        raise ValueError(f"{user} was given records of different MelChunker settings.")
    for record in batch:
        record.track.check_unchanged()
        if record.targets is not None:
            record.targets.track.check_unchanged()
    return batch
