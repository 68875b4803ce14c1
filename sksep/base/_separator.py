"""BaseSeparator: the interface that all separators share, and the score of their estimates."""

from __future__ import annotations

import copy
from abc import ABCMeta, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from sklearn.base import TransformerMixin
from sklearn.utils.validation import check_is_fitted

from sksep.audio._track import Track
from sksep.audio._validation import check_pair, check_same_length, check_tracks
from sksep.base._batch import TrackBatch, TrackRecord, as_batch
from sksep.base._inversion import Inversion, invert
from sksep.nn.front_end import FrontEnd
from sksep.utils._arrays import FloatArray, object_array
from sksep.utils._parameters import Estimator


class BaseSeparator(TransformerMixin, Estimator, metaclass=ABCMeta):
    """Base of all separators: a step, the last one or not, that estimates masks of the vocals.

    Subclasses implement `_estimate_mask`, and `fit` if they learn something. Parameters are
    keyword-only fields of a dataclass, or arguments of a constructor that stores them.

    Attributes
    ----------
    front_end_ : FrontEnd
        Settings of the `MelChunker` that the separator was fitted with.

    See Also
    --------
    sksep.utils.estimator_checks.check_estimator : The contracts that separators keep.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from sksep import MelChunker
    >>> from sksep.base import BaseSeparator
    >>> from sksep.datasets import make_songs
    >>> class LoudestBandsSeparator(BaseSeparator):
    ...     def __init__(self, share=0.1):
    ...         self.share = share
    ...
    ...     def _estimate_mask(self, record):
    ...         threshold = np.quantile(record.spectrogram, 1.0 - self.share, axis=1, keepdims=True)
    ...         return (record.spectrogram >= threshold).astype(np.float32)
    >>> songs = make_songs(1, duration=1.0, random_state=0)
    >>> pipeline = make_pipeline(MelChunker(), LoudestBandsSeparator()).fit(songs.mixtures)
    >>> pipeline.predict(songs.mixtures)[0].shape
    (16000,)
    """

    front_end_: FrontEnd

    def fit(self, X: Any, y: Any = None) -> BaseSeparator:
        """Check the parameters; nothing is learned.

        Parameters
        ----------
        X : TrackBatch
            Output of `MelChunker` or `MaskBuilder`. Only its front end is used.
        y : Ignored

        Returns
        -------
        BaseSeparator
            The separator itself.

        Raises
        ------
        TypeError
            If a parameter has the wrong type, or `X` is not an output of `MelChunker`.
        ValueError
            If a parameter is out of its range.
        """
        self._check_parameters()
        self.front_end_ = as_batch(X, user=type(self).__name__)[0].front_end
        return self

    @abstractmethod
    def _estimate_mask(self, record: TrackRecord) -> FloatArray:
        """Mask of one track, (n_total_frames, n_bands), in [0, 1]."""

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> TrackBatch:
        """Fit, and attach masks of the training tracks that are estimated only at each access.

        A pipeline calls this method in its `fit` if an inverter follows. The inverter learns
        nothing from the masks. To estimate them here would take time, and often too much memory.

        Parameters
        ----------
        X : TrackBatch
            The batch that `fit` takes.
        y : Ignored
        **fit_params
            Further arguments of `fit`, such as weights of the tracks.

        Returns
        -------
        TrackBatch
            The tracks with the masks of `transform`, which each access estimates.

        Raises
        ------
        TypeError, ValueError
            If `fit` raises them.
        """
        # A copy, since the separator may be fitted again before a mask is asked for.
        fitted = copy.copy(self.fit(X, y, **fit_params))
        return as_batch(X, user=type(self).__name__).with_estimator(
            fitted._estimate_mask, fitted._device()
        )

    def transform(self, X: Any) -> TrackBatch:
        """Estimate masks and attach them to the tracks.

        Parameters
        ----------
        X : TrackBatch
            Output of `MelChunker`.

        Returns
        -------
        TrackBatch
            The tracks with estimated masks, for `GriffinLimInverter`.

        Raises
        ------
        NotFittedError
            If the separator is not fitted.
        TypeError
            If `X` is not an output of `MelChunker`.
        ValueError
            If a track was chunked with other settings than those of `fit`, or its file has
            changed since it was read.
        """
        batch = self._check_batch(X)
        masks = (self._estimate_mask(record) for record in batch)
        return batch.with_masks(masks, self._device())

    def predict_mask(self, X: Any) -> npt.NDArray[np.object_]:
        """Estimate masks and return them as arrays.

        Parameters
        ----------
        X : TrackBatch
            Output of `MelChunker`.

        Returns
        -------
        ndarray of object, shape (n_tracks,)
            Masks of shape (n_total_frames, n_bands), in [0, 1].

        Raises
        ------
        NotFittedError, TypeError, ValueError
            If `transform` raises them.
        """
        return object_array([record.mask for record in self.transform(X)])

    def predict(self, X: Any) -> npt.NDArray[np.object_]:
        """Extract the vocals, with the phase of the mixture.

        Parameters
        ----------
        X : TrackBatch
            Output of `MelChunker`.

        Returns
        -------
        ndarray of object, shape (n_tracks,)
            Vocal waveforms (float32), each in the shape and at the sample rate of its mixture.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            If `transform` raises them.
        """
        batch, device = self._check_batch(X), self._device()
        return object_array(
            [
                invert(record.with_mask(self._estimate_mask(record), device), Inversion())
                for record in batch
            ]
        )

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Mean SDR (BSSEval v3) of the vocals in dB.

        Parameters
        ----------
        X : TrackBatch
            Output of `MelChunker`.
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
        NotFittedError, TypeError
            If `transform` raises them.
        ValueError
            If `X` and `y` differ in their number of tracks, or in the rate, length or channels of
            one, which the error names, or if all references are silent. Also if `transform` raises
            it.
        """
        batch = self._check_batch(X)
        return score_estimates(batch, self.predict(batch), y, sample_weight)

    def _separates_chunks(self) -> bool:
        """Whether the mask of a chunk depends on that chunk alone. Streams require this."""
        return False

    def _device(self) -> torch.device:
        """Device that estimates the masks."""
        return torch.device("cpu")

    def _check_front_end(self, front_end: FrontEnd, name: str) -> None:
        if not front_end.same_spectra(self.front_end_):
            raise ValueError(
                f"{name} was chunked with other MelChunker settings than those this separator was "
                f"fitted with: {front_end} instead of {self.front_end_}."
            )

    def _check_batch(self, X: Any) -> TrackBatch:
        check_is_fitted(self)
        batch = as_batch(X, user=type(self).__name__)
        if hasattr(self, "front_end_"):  # a stranger's fit may keep nothing of the front end
            self._check_front_end(batch[0].front_end, batch[0].name)
        return batch

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.target_tags.required = False
        return tags


def training_batch(X: Any, user: str) -> TrackBatch:
    """Make sure that the input of `fit` is a batch with targets and a chunk to train on.

    A separator that learns from the true vocals calls it first in `fit`.

    Parameters
    ----------
    X : TrackBatch
        Output of `MaskBuilder.fit_transform`.
    user : str
        Name of the separator, for messages.

    Returns
    -------
    TrackBatch
        The same records.

    Raises
    ------
    TypeError
        If `X` is not a batch of tracks.
    ValueError
        If a track has no targets, since there is no `MaskBuilder` before this step, or if all
        tracks are silent.

    Examples
    --------
    >>> from sksep import MaskBuilder, MelChunker
    >>> from sksep.base import training_batch
    >>> from sksep.datasets import make_songs
    >>> songs = make_songs(2, duration=1.0, random_state=0)
    >>> batch = MelChunker().transform(songs.mixtures)
    >>> training_batch(MaskBuilder().fit_transform(batch, songs.vocals), user="MySeparator")
    <TrackBatch of 2 tracks>
    """
    batch = as_batch(X, user=user)
    if any(record.targets is None for record in batch):
        raise ValueError(
            f"{user} found no targets to learn from. Put a MaskBuilder before this step of the "
            "pipeline and fit with the true stems, such as vocals: fit(mixtures, vocals)."
        )
    if not any(record.targets.chunk_is_kept.any() for record in batch if record.targets):
        raise ValueError(
            f"{user} has nothing to learn from: all tracks are silent. Check the recordings, or "
            "the silence_threshold of MaskBuilder."
        )
    return batch


def score_estimates(batch: TrackBatch, estimates: Any, y: Any, sample_weight: Any = None) -> float:
    """Mean SDR in dB (BSSEval v3, mono) of estimates against the true vocals of a batch."""
    tracks = [record.track for record in batch]
    return score_tracks(tracks, batch[0].front_end.sample_rate, estimates, y, sample_weight)


def score_tracks(
    tracks: Sequence[Track], sample_rate: int, estimates: Any, y: Any, sample_weight: Any = None
) -> float:
    """The same for tracks; `sample_rate` is that of arrays in `y`."""
    from sksep.metrics import sdr_score

    vocals = check_tracks(y, sample_rate, "y")
    check_same_length(tracks, vocals, "X", "y")
    for mixture, truth in zip(tracks, vocals, strict=True):
        check_pair(mixture, truth)
    score = sdr_score(y, estimates, sample_weight=sample_weight, all_silent="raise")
    return float(np.float64(score))
