"""MelChunker: turns tracks into log-mel chunks."""

from __future__ import annotations

import os
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from sklearn.base import TransformerMixin

from sksep.audio._cache import WaveformCache, as_cache, check_cache
from sksep.audio._resampling import to_mono
from sksep.audio._track import Track
from sksep.audio._validation import check_tracks
from sksep.base._batch import TrackBatch, TrackRecord, as_batch
from sksep.nn.chunks import unchunk
from sksep.nn.front_end import FrontEnd
from sksep.utils._parameters import Estimator, parameter
from sksep.utils._validation import check_number, integer, number, optional


@dataclass(kw_only=True, eq=False, repr=False)
class MelChunker(TransformerMixin, Estimator):
    """Turn tracks into overlapping chunks of their log-mel spectrograms.

    It is the first step of every pipeline. It keeps tracks whole: one track is one sample, and each
    record of the batch that it returns has the `chunks` of its track.

    Parameters
    ----------
    sample_rate : int, default=16000
        Sample rate of the spectrograms in Hz, and of tracks given as arrays. Files are resampled
        from their own rate, and vocals separated from them have that rate again.
    n_fft : int, default=1024
        Length of the Hann window in samples.
    hop_length : int, default=128
        Number of samples between frames.
    n_mels : int or None, default=128
        Number of mel bands. None keeps the linear bins of the STFT.
    n_frames : int, default=128
        Number of frames in a chunk.
    overlap : float, default=0.5
        Share of each chunk that the next one repeats, in [0, 1). Estimates are cross-faded there.
    f_min : float, default=0.0
        Lowest frequency of the mel bands in Hz.
    f_max : float, default=None
        Highest frequency of the mel bands in Hz. None takes half of the sample rate.
    cache : str, os.PathLike or WaveformCache, default=None
        Folder for the mono waveforms of the files that a pipeline is fitted on, instead of memory,
        see `sksep.WaveformCache`. It is used by `fit_transform` and by the steps that are fitted
        on its output. `transform` does not use it.

    Notes
    -----
    The spectrogram equals ``10 log10(max(melspectrogram, 1e-10))`` of librosa with zero padding
    at both ends. The defaults are those of the source report. With ``n_fft=2048, hop_length=512,
    n_mels=256``, oracle masks reach a higher SDR, and the computation takes half of the time.

    Examples
    --------
    >>> import numpy as np
    >>> from sksep import MelChunker
    >>> tracks = [np.random.default_rng(0).normal(0, 0.1, 32000)]
    >>> batch = MelChunker().fit_transform(tracks)
    >>> batch[0].spectrogram.shape
    (251, 128)
    >>> batch[0].chunks.shape
    (3, 128, 128)
    """

    sample_rate: int = parameter(16000, integer(1))
    n_fft: int = parameter(1024, integer(2))
    hop_length: int = parameter(128, integer(1))
    n_mels: int | None = parameter(128, optional(integer(1)))
    n_frames: int = parameter(128, integer(1))
    overlap: float = parameter(0.5, number(0.0, 1.0, include_high=False))
    f_min: float = parameter(0.0, number(0.0))
    f_max: float | None = parameter(None, optional(number(0.0)))
    cache: str | os.PathLike[str] | WaveformCache | None = parameter(
        None, optional(check_cache), is_saved=False
    )

    def fit(self, X: Any, y: Any = None) -> MelChunker:
        """Check the parameters; nothing is learned.

        Parameters
        ----------
        X : sequence of tracks
            Ignored here; `transform` checks it.
        y : Ignored

        Returns
        -------
        MelChunker
            The chunker itself.

        Raises
        ------
        TypeError, ValueError
            If a parameter is not a number or out of its range. The error names it.
        """
        self.front_end_ = self._front_end()
        return self

    def fit_transform(self, X: Any, y: Any = None) -> TrackBatch:
        """Chunk the tracks that the next steps are fitted on. A pipeline calls it in `fit`.

        Parameters
        ----------
        X : sequence of arrays, paths or AudioSource
            The tracks that `transform` takes.
        y : Ignored

        Returns
        -------
        TrackBatch
            One record per track. If there is a `cache`, the record of a file reads its waveform
            from there and computes its spectrogram at each access.

        Raises
        ------
        TypeError, ValueError
            If a track or a parameter is not valid. The error names it, and the remedy.
        """
        self.fit(X)
        cache = as_cache(self.cache)
        if cache is None:
            return self.transform(X)
        front_end = self.front_end_
        tracks = check_tracks(X, front_end.sample_rate)
        return TrackBatch(
            TrackRecord(track, front_end, waveform, cache=cache)
            for track, waveform in zip(
                tracks, cache.waveforms(tracks, front_end.sample_rate), strict=True
            )
        )

    def transform(self, X: Any) -> TrackBatch:
        """Chunk tracks.

        Parameters
        ----------
        X : sequence of arrays, paths or AudioSource
            Arrays of shape (n_samples,) or (n_channels, n_samples) at `sample_rate`, or audio
            files of any rate. Masks are estimated on the power of
            all channels together, and on the waveform of their mean by classical methods.

        Returns
        -------
        TrackBatch
            One record per track.

        Raises
        ------
        TypeError, ValueError
            If a track or a parameter is not valid. The error names it, and the remedy.
        """
        front_end = self._front_end()
        tracks = check_tracks(X, front_end.sample_rate)
        return TrackBatch(_record(track, front_end) for track in tracks)

    def unchunk(self, X: Any, chunks: Any) -> list[np.ndarray]:
        """Join the chunks of each track to a spectrogram or mask, with cross-fades.

        Parameters
        ----------
        X : TrackBatch
            The batch that the chunks belong to.
        chunks : sequence of ndarray of shape (n_chunks, n_frames, n_bands)
            One array per track.

        Returns
        -------
        list of ndarray of shape (n_total_frames, n_bands)
            One float32 array per track.

        Raises
        ------
        TypeError
            If `X` is not an output of `MelChunker`.
        ValueError
            If `X` and `chunks` differ in their number of tracks.
        """
        batch = as_batch(X, user="MelChunker.unchunk")
        return [
            unchunk(
                torch.as_tensor(np.asarray(part, np.float32)),
                record.n_total_frames,
                record.front_end.chunk_step,
            ).numpy()
            for record, part in zip(batch, chunks, strict=True)
        ]

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.n_fft % 2:
            raise ValueError(f"n_fft must be even, got {self.n_fft}.")
        if self.hop_length > self.n_fft // 2:
            raise ValueError(
                f"hop_length must be at most n_fft // 2 = {self.n_fft // 2}, got "
                f"{self.hop_length}: larger hops cannot be inverted."
            )
        if self.n_mels is None and (self.f_min != 0 or self.f_max is not None):
            raise ValueError(
                "f_min and f_max limit mel bands; with n_mels=None leave them at 0 and None."
            )
        highest = self.sample_rate / 2
        f_max = check_number("f_max", highest if self.f_max is None else self.f_max, 0.0, highest)
        if check_number("f_min", self.f_min, 0.0, f_max) >= f_max:
            raise ValueError(f"f_min must be below f_max, got {self.f_min} and {f_max} Hz.")

    def _front_end(self) -> FrontEnd:
        """The front end that the parameters describe, after they were checked."""
        self._check_parameters()
        front_end = FrontEnd(
            sample_rate=int(self.sample_rate),
            n_fft=int(self.n_fft),
            hop_length=int(self.hop_length),
            n_mels=None if self.n_mels is None else int(self.n_mels),
            n_frames=int(self.n_frames),
            overlap=float(self.overlap),
            f_min=float(self.f_min),
            f_max=float(self.sample_rate / 2 if self.f_max is None else self.f_max),
        )
        _warn_of_empty_bands(front_end)
        return front_end

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.requires_fit = False
        return tags


def _record(track: Track, front_end: FrontEnd) -> TrackRecord:
    channels = track.channels(front_end.sample_rate)
    levels = front_end.channel_power(torch.from_numpy(channels)).numpy()
    return TrackRecord(track, front_end, to_mono(channels), levels)


def _warn_of_empty_bands(front_end: FrontEnd) -> None:
    filter_bank = front_end.filter_bank()
    if filter_bank is None:
        return
    empty = int((filter_bank.sum(dim=1) == 0).sum())
    if empty:
        warnings.warn(
            f"{empty} of {front_end.n_mels} mel bands hold no frequency bin at n_fft="
            f"{front_end.n_fft}; use a longer window or fewer bands.",
            UserWarning,
            stacklevel=3,
        )
