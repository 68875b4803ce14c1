"""Scorers for model selection."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

import numpy.typing as npt
from sklearn.base import BaseEstimator
from sklearn.metrics import make_scorer
from sklearn.utils.metadata_routing import UNUSED

from sksep.metrics._challenges import csdr_score, usdr_score
from sksep.metrics._scores import floored_snr_score, nsdr_score, sdr_score, si_sdr_score
from sksep.metrics._spectra import bleedless_score, fullness_score, multi_resolution_stft_score
from sksep.metrics._visqol import visqol_score

sdr_scorer = make_scorer(sdr_score, all_silent="raise")
sdr_scorer.__doc__ = """Scorer of the mean SDR of the vocals in dB; higher is better.

It is `sdr_score` (BSSEval v3 of the whole track) in the form that searches and cross-validation of
scikit-learn take, with an error if all references are silent. Searches turn it into a warning and
into NaN, unless they have ``error_score="raise"``.

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
si_sdr_scorer = make_scorer(si_sdr_score, all_silent="raise")
si_sdr_scorer.__doc__ = """Scorer of the mean scale-invariant SDR in dB; higher is better.

It is `si_sdr_score` in the form that searches and cross-validation of scikit-learn take, with an
error if all references are silent, as in `sdr_scorer`.

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

usdr_scorer = make_scorer(usdr_score, all_silent="raise")
usdr_scorer.__doc__ = """Scorer of the mean uSDR in dB; higher is better.

It is `usdr_score` in the form that searches and cross-validation of scikit-learn
take, with an error if all references are silent, as in `sdr_scorer`.

Examples
--------
>>> from sklearn.pipeline import make_pipeline
>>> from sksep import HPSSSeparator, MelChunker
>>> from sksep.datasets import make_songs
>>> from sksep.metrics import usdr_scorer
>>> songs = make_songs(2, duration=2.0, random_state=0)
>>> pipeline = make_pipeline(MelChunker(), HPSSSeparator()).fit(songs.mixtures)
>>> bool(usdr_scorer(pipeline, songs.mixtures, songs.vocals) > -20.0)
True
"""
csdr_scorer = make_scorer(csdr_score, all_silent="raise")
csdr_scorer.__doc__ = """Scorer of the median cSDR in dB; higher is better.

It is `csdr_score` in the form that searches and cross-validation of scikit-learn
take, with an error if all references are silent, as in `sdr_scorer`. For arrays at another rate
than 16 kHz, use ``make_scorer(csdr_score, sample_rate=..., all_silent="raise")``.

Examples
--------
>>> from sklearn.pipeline import make_pipeline
>>> from sksep import HPSSSeparator, MelChunker
>>> from sksep.datasets import make_songs
>>> from sksep.metrics import csdr_scorer
>>> songs = make_songs(2, duration=2.0, random_state=0)
>>> pipeline = make_pipeline(MelChunker(), HPSSSeparator()).fit(songs.mixtures)
>>> bool(csdr_scorer(pipeline, songs.mixtures, songs.vocals) > -20.0)
True
"""
neg_multi_resolution_stft_scorer = make_scorer(
    multi_resolution_stft_score, greater_is_better=False, all_silent="raise"
)
neg_multi_resolution_stft_scorer.__doc__ = """Scorer of the negative distance of spectra.

Higher is better. It is `multi_resolution_stft_score` in the form that searches and cross-validation
of scikit-learn take, with an error if all references are silent, as in `sdr_scorer`.

Examples
--------
>>> from sklearn.pipeline import make_pipeline
>>> from sksep import HPSSSeparator, MelChunker
>>> from sksep.datasets import make_songs
>>> from sksep.metrics import neg_multi_resolution_stft_scorer
>>> songs = make_songs(2, duration=2.0, random_state=0)
>>> pipeline = make_pipeline(MelChunker(), HPSSSeparator()).fit(songs.mixtures)
>>> bool(neg_multi_resolution_stft_scorer(pipeline, songs.mixtures, songs.vocals) < 0.0)
True
"""
bleedless_scorer = make_scorer(bleedless_score, all_silent="raise")
bleedless_scorer.__doc__ = """Scorer of the mean bleedless score, in (0, 100]; higher is better.

It is `bleedless_score` in the form that searches and cross-validation of scikit-learn
take, with an error if all references are silent, as in `sdr_scorer`. For arrays at another rate
than 16 kHz, use ``make_scorer(bleedless_score, sample_rate=..., all_silent="raise")``.

Examples
--------
>>> from sklearn.pipeline import make_pipeline
>>> from sksep import HPSSSeparator, MelChunker
>>> from sksep.datasets import make_songs
>>> from sksep.metrics import bleedless_scorer
>>> songs = make_songs(2, duration=2.0, random_state=0)
>>> pipeline = make_pipeline(MelChunker(), HPSSSeparator()).fit(songs.mixtures)
>>> bool(0.0 < bleedless_scorer(pipeline, songs.mixtures, songs.vocals) <= 100.0)
True
"""
fullness_scorer = make_scorer(fullness_score, all_silent="raise")
fullness_scorer.__doc__ = """Scorer of the mean fullness, in (0, 100]; higher is better.

It is `fullness_score` in the form that searches and cross-validation of scikit-learn
take, with an error if all references are silent, as in `sdr_scorer`. For arrays at another rate
than 16 kHz, use ``make_scorer(fullness_score, sample_rate=..., all_silent="raise")``.

Examples
--------
>>> from sklearn.pipeline import make_pipeline
>>> from sksep import HPSSSeparator, MelChunker
>>> from sksep.datasets import make_songs
>>> from sksep.metrics import fullness_scorer
>>> songs = make_songs(2, duration=2.0, random_state=0)
>>> pipeline = make_pipeline(MelChunker(), HPSSSeparator()).fit(songs.mixtures)
>>> bool(0.0 < fullness_scorer(pipeline, songs.mixtures, songs.vocals) <= 100.0)
True
"""
visqol_scorer = make_scorer(visqol_score, all_silent="raise")
visqol_scorer.__doc__ = """Scorer of the mean opinion that ViSQOL predicts; higher is better.

It is `visqol_score` in the form that searches and cross-validation of scikit-learn
take, with an error if all references are silent, as in `sdr_scorer`. For arrays at another rate
than 16 kHz, use ``make_scorer(visqol_score, sample_rate=..., all_silent="raise")``.

Examples
--------
>>> from sklearn.pipeline import make_pipeline
>>> from sksep import HPSSSeparator, MelChunker
>>> from sksep.datasets import make_songs
>>> from sksep.metrics import visqol_scorer
>>> songs = make_songs(2, duration=2.0, random_state=0)
>>> pipeline = make_pipeline(MelChunker(), HPSSSeparator()).fit(songs.mixtures)
>>> visqol_scorer(pipeline, songs.mixtures, songs.vocals)  # doctest: +SKIP
2.5
"""


# make_scorer of scikit-learn passes y_true and y_pred to a metric, but not the mixtures. The base
# class provides the other abilities of a scorer: clone, repr and metadata routing.
class _MixtureScorer(BaseEstimator):  # type: ignore[misc]
    """Scorer that compares the predictions of a separator with the mixtures, too."""

    # The separator is an argument, but not metadata.
    __metadata_request__score: ClassVar[dict[str, str]] = {"estimator": UNUSED}

    def __call__(
        self, estimator: Any, X: Any, y: Any, sample_weight: npt.ArrayLike | None = None
    ) -> float:
        """Same as `score`, in the form that model selection calls."""
        return self.score(estimator, X, y, sample_weight=sample_weight)

    def score(
        self, estimator: Any, X: Any, y: Any, sample_weight: npt.ArrayLike | None = None
    ) -> float:
        """Mean score of the predictions of a separator.

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
            Score in dB.

        Raises
        ------
        TypeError, ValueError
            As in the function that `See Also` names.
        """
        return self._score(y, estimator.predict(X), X, sample_weight=sample_weight)

    @abstractmethod
    def _score(self, y: Any, estimates: Any, X: Any, sample_weight: Any) -> float:
        """Mean score of estimates."""


class NSDRScorer(_MixtureScorer):
    """Scorer of the mean gain in SDR over the mixtures, in dB; higher is better.

    `nsdr_scorer` is the instance with default parameters. If all references are silent, it raises
    an error.

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

    def __init__(self, protocol: str = "bss_eval_v3") -> None:
        self.protocol = protocol

    def _score(self, y: Any, estimates: Any, X: Any, sample_weight: Any) -> float:
        return nsdr_score(
            y,
            estimates,
            X,
            protocol=self.protocol,
            sample_weight=sample_weight,
            all_silent="raise",
        )


class FlooredSNRScorer(_MixtureScorer):
    """Scorer of the mean floored SNR in dB, which is defined for silence; higher is better.

    `floored_snr_scorer` is the instance with default parameters. A search with it can have folds
    without vocals: there, the estimate that leaks least is best.

    Parameters
    ----------
    ceiling : float, default=30.0
        As in `floored_snr`.

    See Also
    --------
    floored_snr_score : The score.

    Examples
    --------
    >>> from sksep.metrics import FlooredSNRScorer
    >>> class Mixture:
    ...     def predict(self, X):
    ...         return X
    >>> round(FlooredSNRScorer(ceiling=20.0)(Mixture(), [[1.0, 1.0]], [[0.0, 0.0]]), 2)
    -20.04
    """

    def __init__(self, ceiling: float = 30.0) -> None:
        self.ceiling = ceiling

    def _score(self, y: Any, estimates: Any, X: Any, sample_weight: Any) -> float:
        return floored_snr_score(y, estimates, X, ceiling=self.ceiling, sample_weight=sample_weight)


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

floored_snr_scorer = FlooredSNRScorer()
floored_snr_scorer.__doc__ = """Scorer of the mean floored SNR in dB; higher is better.

It is defined for silence, and is `FlooredSNRScorer` with its default parameters.

Examples
--------
>>> import numpy as np
>>> from sklearn.pipeline import make_pipeline
>>> from sksep import MelChunker, MixtureSeparator
>>> from sksep.datasets import make_songs
>>> from sksep.metrics import floored_snr_scorer
>>> songs = make_songs(2, duration=2.0, random_state=0)
>>> pipeline = make_pipeline(MelChunker(), MixtureSeparator()).fit(songs.mixtures)
>>> silence = [np.zeros_like(track) for track in songs.vocals]
>>> round(floored_snr_scorer(pipeline, songs.mixtures, silence), 1)
-30.0
"""
