"""TrackSeparator: the base of models that take tracks and return vocals."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.utils.validation import check_is_fitted

from sksep.audio._track import Track
from sksep.audio._validation import check_tracks
from sksep.base._separator import score_tracks
from sksep.base._streams import VocalsStream
from sksep.utils._arrays import FloatArray, object_array
from sksep.utils._parameters import Estimator

# Audio read at a time in seconds.
_READ_SECONDS = 10.0


class TrackSeparator(Estimator, metaclass=ABCMeta):
    """Base of models that take tracks and return vocals: whole pipelines by themselves."""

    def predict(self, X: Any) -> npt.NDArray[np.object_]:
        """Extract the vocals.

        Parameters
        ----------
        X : sequence of arrays, paths or AudioSource
            Mixtures: arrays of shape (n_samples,) or (n_channels, n_samples), or files.

        Returns
        -------
        ndarray of object, shape (n_tracks,)
            Vocal waveforms (float32), each in the shape and at the sample rate of its mixture.

        Raises
        ------
        NotFittedError
            If the separator is not fitted.
        TypeError, ValueError
            If a parameter or a track is not valid, or if a model returns NaN or another shape. The
            error names it.
        """
        return object_array([self._separate_track(track) for track in self._check_tracks(X)])

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Mean SDR (BSSEval v3) of the vocals in dB.

        Parameters
        ----------
        X : sequence of arrays, paths or AudioSource
            Mixtures.
        y : sequence of arrays, paths or AudioSource
            True vocals of each track.
        sample_weight : array-like of shape (n_tracks,), default=None
            Weights of the mean.

        Returns
        -------
        float
            Mean SDR in dB.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            If `predict` raises them.
        ValueError
            If `X` and `y` differ in their number of tracks, or in the rate, length or channels of
            one, which the error names, or if all references are silent.
        """
        tracks = self._check_tracks(X)
        estimates = object_array([self._separate_track(track) for track in tracks])
        return score_tracks(tracks, self._array_rate(), estimates, y, sample_weight)

    @abstractmethod
    def _array_rate(self) -> int:
        """Sample rate of tracks given as arrays, in Hz."""

    @abstractmethod
    def _open_stream(
        self, sample_rate: int, n_channels: int, name: str = "the song"
    ) -> VocalsStream:
        """A stream of vocals, see `sksep.base._streams.VocalsStream`; `name` is for messages."""

    def _separate_track(self, track: Track) -> FloatArray:
        """Vocals of a track, in its shape."""
        stream = self._open_stream(track.sample_rate, track.n_channels, track.name)
        length = max(1, round(_READ_SECONDS * track.sample_rate))
        blocks = [stream.push(block) for block in track.read_blocks(length)]
        return np.concatenate([*blocks, stream.finish()], axis=1).reshape(track.shape)

    def _check_tracks(self, X: Any) -> tuple[Track, ...]:
        check_is_fitted(self)
        self._check_parameters()
        return check_tracks(X, self._array_rate())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.target_tags.required = False
        return tags
