"""MaskBuilder: attaches the true vocals to a batch, but only while fitting."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import TransformerMixin

from sksep.audio._cache import Waveform, mono_waveforms
from sksep.audio._validation import check_pair, check_same_length, check_tracks
from sksep.base._batch import TrackBatch, TrackRecord, as_batch
from sksep.base._targets import Targets, chunk_power, keep_share
from sksep.nn.masks import RATIOS, WEIGHTINGS
from sksep.utils._parameters import Estimator, parameter
from sksep.utils._validation import choice, number, stem_name

# Mean square below which a chunk is silent at any threshold, such as digital silence and dither.
_SILENCE_POWER = 1e-12


@dataclass(kw_only=True, eq=False, repr=False)
class MaskBuilder(TransformerMixin, Estimator):
    """Attach target masks of the vocals to a batch.

    The truth enters a pipeline through this step only. A pipeline that is fitted calls
    ``fit_transform(X, y)``, which attaches targets. ``transform(X)`` attaches nothing, so that
    nothing about the vocals is known when predicting.

    Parameters
    ----------
    target : str, default="vocals"
        Name of the stem that is given as `y`, such as "drums". All estimators treat any stem as
        they treat vocals. The name is used in messages, and for files that are separated with the
        fitted pipeline. It consists of letters, digits, ``_``, ``-`` and spaces.
    ratio : {"power", "magnitude"}, default="power"
        Whether the proportion mask is the share of the vocals in the power or in the magnitude
        of a bin. The share in the power is the Wiener filter, which gives the better SDR.
    weighting : {"magnitude", "log_magnitude", "uniform"}, default="magnitude"
        Weights of the time-frequency bins (``targets.weights``), for losses that use them. The
        named losses of `UNetSeparator` do not.
    silence_threshold : float, default=-60.0
        Level of a chunk relative to the loudest chunk of the track, in dB, at most 0. Chunks at
        this level or below are not trained on.
    vocal_threshold : float, default=-40.0
        Level of the vocals in a chunk relative to the loudest chunk of the mixture, in dB, at most
        0. Chunks at this level or below count as free of vocals.
    vocal_free_share : float, default=0.1
        Largest share of chunks free of vocals among the chunks to train on, in [0, 1]. They are
        spread evenly over the tracks, so that instrumental passages are learned too. If no track
        has vocals, all chunks are kept.

    Notes
    -----
    Tracks are never dropped. Chunks are dropped, but only for training.

    Examples
    --------
    >>> from sksep import MaskBuilder, MelChunker
    >>> from sksep.datasets import make_songs
    >>> songs = make_songs(2, duration=2.0, random_state=0)
    >>> batch = MelChunker().fit_transform(songs.mixtures)
    >>> targets = MaskBuilder().fit_transform(batch, songs.vocals)[0].targets
    >>> targets.proportion_mask.shape == batch[0].spectrogram.shape
    True
    """

    target: str = parameter("vocals", stem_name)
    ratio: str = parameter("power", choice(*RATIOS))
    weighting: str = parameter("magnitude", choice(*WEIGHTINGS))
    silence_threshold: float = parameter(-60.0, number(high=0.0))
    vocal_threshold: float = parameter(-40.0, number(high=0.0))
    vocal_free_share: float = parameter(0.1, number(0.0, 1.0))

    def fit(self, X: Any, y: Any = None) -> MaskBuilder:
        """Check the parameters; nothing is learned.

        Parameters
        ----------
        X : TrackBatch
            Output of `MelChunker`.
        y : sequence of tracks, default=None
            The vocals; not used here.

        Returns
        -------
        MaskBuilder
            The mask builder itself.

        Raises
        ------
        TypeError
            If a parameter has the wrong type, or `X` is not an output of `MelChunker`.
        ValueError
            If a parameter is out of its range.
        """
        self._check_parameters()
        as_batch(X, user="MaskBuilder")
        return self

    def fit_transform(self, X: Any, y: Any = None) -> TrackBatch:
        """Attach targets. A pipeline calls this method in its `fit`.

        Parameters
        ----------
        X : TrackBatch
            Output of `MelChunker`.
        y : sequence of arrays, paths or AudioSource
            The vocals of each track, with the length and sample rate of its mixture. They are mono
            or have the channels of the mixture.

        Returns
        -------
        TrackBatch
            The same tracks with `targets`.

        Raises
        ------
        TypeError
            If a parameter has the wrong type, or `X` is not an output of `MelChunker`.
        ValueError
            If `y` is missing or does not fit `X`; the error names the track and the remedy. Also if
            a parameter is out of its range.
        """
        self._check_parameters()
        batch = as_batch(X, user="MaskBuilder")
        if y is None:
            raise ValueError(
                f"MaskBuilder needs the {self.target} to build target masks: call "
                f"fit(mixtures, {self.target})."
            )
        front_end = batch[0].front_end
        vocals = check_tracks(y, front_end.sample_rate, "y")
        check_same_length(batch, vocals, "X", "y")
        for record, track in zip(batch, vocals, strict=True):
            check_pair(record.track, track)
        waveforms = mono_waveforms(vocals, front_end.sample_rate, batch[0].cache)
        sounds, sings = zip(
            *(
                self._chunk_activity(record, waveform)
                for record, waveform in zip(batch, waveforms, strict=True)
            ),
            strict=True,
        )
        kept = keep_share(sounds, sings, float(self.vocal_free_share))
        return TrackBatch(
            replace(
                record,
                targets=Targets(
                    track=track,
                    vocal_samples=waveform,
                    mixture_samples=record.samples,
                    chunk_sings=chunk_sings,
                    chunk_is_kept=chunk_is_kept,
                    front_end=front_end,
                    ratio=self.ratio,
                    weighting=self.weighting,
                    stem=self.target,
                ),
            )
            for record, track, waveform, chunk_sings, chunk_is_kept in zip(
                batch, vocals, waveforms, sings, kept, strict=True
            )
        )

    def transform(self, X: Any) -> TrackBatch:
        """Return the batch as it is, since no truth is known when predicting.

        Parameters
        ----------
        X : TrackBatch
            Output of `MelChunker`.

        Returns
        -------
        TrackBatch
            The batch `X` itself. Targets that it has already are kept.

        Raises
        ------
        TypeError, ValueError
            If `fit` raises them.
        """
        self._check_parameters()
        return as_batch(X, user="MaskBuilder")

    def _chunk_activity(
        self, record: TrackRecord, vocals: Waveform
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        mixture_power = chunk_power(record.waveform, record.front_end)
        vocal_power = chunk_power(vocals[:], record.front_end)
        loudest = mixture_power.max()
        silence = max(_SILENCE_POWER, loudest * 10.0 ** (self.silence_threshold / 10.0))
        vocal_free = max(_SILENCE_POWER, loudest * 10.0 ** (self.vocal_threshold / 10.0))
        sounds = mixture_power > silence
        return sounds, sounds & (vocal_power > vocal_free)

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.target_tags.required = True
        tags.requires_fit = False
        return tags
