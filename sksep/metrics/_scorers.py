"""Scorers for model selection."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.metrics import make_scorer
from sklearn.utils.metadata_routing import UNUSED

from sksep.metrics._scores import nsdr_score, sdr_score, si_sdr_score

sdr_scorer = make_scorer(sdr_score)
sdr_scorer.__doc__ = """Scorer of the mean SDR of the vocals in dB; higher is better.

It is `sdr_score` (BSSEval v3 of the whole track) in the form that searches and cross-validation of
scikit-learn take.

Examples
--------
>>> from sklearn.pipeline import make_pipeline
>>> from sksep import HPSSSeparator, MelChunker
>>> from sksep.datasets import make_songs
>>> from sksep.metrics import sdr_scorer
>>> songs = make_songs(2, duration=2.0, random_state=0)
>>> pipeline = make_pipeline(MelChunker(), HPSSSeparator()).fit(songs.mixtures)
>>> bool(sdr_scorer(pipeline, songs.mixtures, songs.vocals) > -10.0)
True
"""
si_sdr_scorer = make_scorer(si_sdr_score)
si_sdr_scorer.__doc__ = """Scorer of the mean scale-invariant SDR in dB; higher is better.

It is `si_sdr_score` in the form that searches and cross-validation of scikit-learn take.

Examples
--------
>>> from sklearn.pipeline import make_pipeline
>>> from sksep import HPSSSeparator, MelChunker
>>> from sksep.datasets import make_songs
>>> from sksep.metrics import si_sdr_scorer
>>> songs = make_songs(2, duration=2.0, random_state=0)
>>> pipeline = make_pipeline(MelChunker(), HPSSSeparator()).fit(songs.mixtures)
>>> bool(si_sdr_scorer(pipeline, songs.mixtures, songs.vocals) > -20.0)
True
"""


# make_scorer of scikit-learn passes y_true and y_pred to a metric, but not the mixtures. The base
# class provides the other abilities of a scorer: clone, repr and metadata routing.
class NSDRScorer(BaseEstimator):  # type: ignore[misc]
    """Scorer of the mean gain in SDR over the mixtures, in dB; higher is better.

    `nsdr_scorer` is the instance with default parameters.

    Parameters
    ----------
    protocol : {"bss_eval_v3", "snr"}, default="bss_eval_v3"
        As in `sdr`.

    See Also
    --------
    nsdr_score : The score.

    Examples
    --------
    >>> from sksep.metrics import NSDRScorer
    >>> class Mixture:
    ...     def predict(self, X):
    ...         return X
    >>> NSDRScorer(protocol="snr")(Mixture(), [[1.0, 1.0, 0.0]], [[1.0, 0.0, 0.0]])
    0.0
    """

    # The separator is an argument, but not metadata.
    __metadata_request__score: ClassVar[dict[str, str]] = {"estimator": UNUSED}

    def __init__(self, protocol: str = "bss_eval_v3") -> None:
        self.protocol = protocol

    def __call__(
        self, estimator: Any, X: Any, y: Any, sample_weight: npt.ArrayLike | None = None
    ) -> float:
        """Same as `score`, in the form that model selection calls."""
        return self.score(estimator, X, y, sample_weight=sample_weight)

    def score(
        self, estimator: Any, X: Any, y: Any, sample_weight: npt.ArrayLike | None = None
    ) -> float:
        """Mean NSDR of the predictions of a separator.

        Parameters
        ----------
        estimator : object with `predict`
            A fitted separator.
        X : sequence of arrays, paths or AudioSource
            Mixtures.
        y : sequence of arrays, paths or AudioSource
            True sources.
        sample_weight : array-like of shape (n_tracks,), default=None
            Weights of the tracks in the mean.

        Returns
        -------
        float
            NSDR in dB; NaN as in `sdr_score`.

        Raises
        ------
        TypeError, ValueError
            As in `sdr_score`, or if the protocol is unknown.
        """
        return nsdr_score(
            y, estimator.predict(X), X, protocol=self.protocol, sample_weight=sample_weight
        )


nsdr_scorer = NSDRScorer()
nsdr_scorer.__doc__ = """Scorer of the mean gain in SDR over the mixtures in dB; higher is better.

It is `NSDRScorer` with its default parameters.

Examples
--------
>>> from sklearn.pipeline import make_pipeline
>>> from sksep import MelChunker, MixtureSeparator
>>> from sksep.datasets import make_songs
>>> from sksep.metrics import nsdr_scorer
>>> songs = make_songs(2, duration=2.0, random_state=0)
>>> pipeline = make_pipeline(MelChunker(), MixtureSeparator()).fit(songs.mixtures)
>>> round(nsdr_scorer(pipeline, songs.mixtures, songs.vocals), 2) + 0.0
0.0
"""
