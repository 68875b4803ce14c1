"""MultiTargetSeparator: one separator per stem, whose masks are shares of the mixture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import sklearn
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from sklearn.utils import Bunch
from sklearn.utils.metadata_routing import MetadataRouter, MethodMapping, process_routing
from sklearn.utils.parallel import Parallel, delayed
from sklearn.utils.validation import check_is_fitted

from sksep.audio._validation import check_collection, check_pair, check_same_length, check_tracks
from sksep.base._batch import TrackBatch, TrackRecord
from sksep.base._inversion import Inversion, invert
from sksep.base._separator import BaseSeparator
from sksep.metrics import sdr_score
from sksep.presets import unet_pipeline
from sksep.transformers import GriffinLimInverter, MaskBuilder, MelChunker
from sksep.utils._arrays import FloatArray, object_array
from sksep.utils._parameters import Estimator, parameter
from sksep.utils._validation import integer, number, optional, stem_name

# Masks below it count as equal, so that bins in which all masks vanish are shared equally.
_SMALLEST_MASK = 1e-6


def _check_pipeline(name: str, value: Any) -> None:
    if value is None:
        return
    steps = [step for _, step in value.steps] if isinstance(value, Pipeline) else []
    inner = steps[1:-1] if steps and isinstance(steps[-1], GriffinLimInverter) else steps[1:]
    if (
        not inner
        or not isinstance(steps[0], MelChunker)
        or not isinstance(inner[-1], BaseSeparator)
    ):
        raise TypeError(
            f"{name} must be a Pipeline of MelChunker, MaskBuilder, a separator and, if wanted, "
            f"GriffinLimInverter, since the masks of the stems are normalized; got {value!r:.200}."
        )


@dataclass(eq=False, repr=False)
class MultiTargetSeparator(Estimator):
    """Separate a mixture into all of its stems, with one pipeline per stem.

    Each stem is learned by a clone of the same pipeline, which does not know of the others, as
    `sklearn.multioutput.MultiOutputRegressor` does it for numbers. Their masks are then normalized:
    in every bin they are divided by their sum, so that no part of the mixture is lost or given away
    twice. What is missing after the inversion is added to all stems alike [1]_. So the stems add up
    to the mixture.

    Parameters
    ----------
    estimator : Pipeline, default=None
        Steps `MelChunker`, `MaskBuilder`, a separator and, if wanted, `GriffinLimInverter`. None is
        `unet_pipeline()`.
    exponent : float, default=1.0
        Power of the masks before they are normalized, in (0, 10]. 1 keeps masks that are shares
        already; 2 gives the loudest stem more, as ratios of squared estimates do.
    n_jobs : int, default=None
        Number of stems to fit at the same time by joblib. None is 1, unless a
        `joblib.parallel_config` says otherwise, and -1 means all processors.

    Attributes
    ----------
    estimators_ : list of Pipeline
        The fitted pipelines. Each is a model of its own for one stem, which `sksep.save` stores;
        its `MaskBuilder` has the name of the stem as `target`.
    stem_names_ : list of str
        Names of the stems, in the order of `estimators_` and of all results.

    See Also
    --------
    sklearn.multioutput.MultiOutputRegressor : The same for numbers.

    Notes
    -----
    The stems must make up the whole mixture: what belongs to none of them is divided among them.
    `y` has a row per track, so that searches and cross-validation split it like the mixtures.

    References
    ----------
    .. [1] S. Wisdom et al., "Differentiable consistency constraints for improved deep speech
       enhancement", ICASSP 2019 (mixture consistency).

    Examples
    --------
    >>> import numpy as np
    >>> from sksep import MultiTargetSeparator
    >>> from sksep.datasets import make_songs
    >>> from sksep.presets import unet_pipeline
    >>> songs = make_songs(2, duration=2.0, random_state=0)
    >>> pipeline = unet_pipeline(separate__n_filters=2, separate__max_epochs=1,
    ...                          separate__random_state=0)
    >>> model = MultiTargetSeparator(pipeline).fit(songs.mixtures, songs.stems)
    >>> stems = model.predict(songs.mixtures)[0]
    >>> list(stems)
    ['vocals', 'drums', 'bass', 'other']
    >>> bool(np.allclose(sum(stems.values()), songs.mixtures[0], atol=1e-5))
    True
    """

    estimator: Any = parameter(None, _check_pipeline)
    _: KW_ONLY
    exponent: float = parameter(1.0, number(0.0, 10.0, include_low=False))
    n_jobs: int | None = parameter(None, optional(integer(-(2**16), 2**16)), is_saved=False)

    def fit(self, X: Any, y: Any, **fit_params: Any) -> MultiTargetSeparator:
        """Fit a clone of the pipeline for each stem.

        Parameters
        ----------
        X : sequence of arrays, paths or AudioSource
            Mixtures.
        y : sequence of dict, or dict of sequences
            True stems: a dict of names and stems for each track, as loaders return them
            (``songs.stems``), or a sequence of tracks for each name.
        **fit_params
            Further arguments of the pipelines' `fit`, such as ``separate__sample_weight``. With
            metadata routing, they are routed.

        Returns
        -------
        MultiTargetSeparator
            The separator itself.

        Raises
        ------
        TypeError
            If a parameter has the wrong type, or `y` holds no stems.
        ValueError
            If there are fewer than two stems, tracks differ in their names, or a stem does not fit
            its mixture; the error names it. Also if a pipeline raises it.
        """
        self._check_parameters()
        columns = _columns(X, y, self._pipeline())
        if sklearn.get_config()["enable_metadata_routing"]:
            fit_params = process_routing(self, "fit", **fit_params).estimator.fit
        fitted = Parallel(n_jobs=self.n_jobs)(
            delayed(_fit_stem)(self._pipeline(), stem, X, tracks, fit_params)
            for stem, tracks in columns.items()
        )
        self.estimators_ = list(fitted)
        self.stem_names_ = list(columns)
        return self

    def predict(self, X: Any) -> npt.NDArray[np.object_]:
        """Separate mixtures into all stems.

        Parameters
        ----------
        X : sequence of arrays, paths or AudioSource
            Mixtures.

        Returns
        -------
        ndarray of object, shape (n_tracks,)
            A dict for each track, as in `y`: names and waveforms (float32), each in the shape and
            at the sample rate of the mixture.

        Raises
        ------
        NotFittedError
            If the separator is not fitted.
        TypeError, ValueError
            If a parameter or a track is not valid. The error names it.
        """
        check_is_fitted(self)
        self._check_parameters()
        batch = self.estimators_[0][0].transform(X)
        return object_array([self._separate(record) for record in batch])

    def stem_scores(self, X: Any, y: Any, sample_weight: Any = None) -> dict[str, float]:
        """Mean SDR (BSSEval v3) of each stem in dB. Tracks in which a stem is silent do not count.

        Parameters
        ----------
        X : sequence of arrays, paths or AudioSource
            Mixtures.
        y : sequence of dict, or dict of sequences
            True stems, as in `fit`.
        sample_weight : array-like of shape (n_tracks,), default=None
            Weights of the means.

        Returns
        -------
        dict of str to float
            Mean SDR by the name of the stem.

        Raises
        ------
        NotFittedError, TypeError
            If `predict` raises them.
        ValueError
            If the names of the stems are not those of `fit`, a stem does not fit its mixture, or a
            stem is silent in all tracks; the error names it. Also if `predict` raises it.
        """
        check_is_fitted(self)
        columns = _columns(X, y, self.estimators_[0])
        if set(columns) != set(self.stem_names_):
            raise ValueError(
                f"y has the stems {sorted(columns)}, but {type(self).__name__} was fitted to "
                f"{sorted(self.stem_names_)}."
            )
        estimates = self.predict(X)
        scores = {}
        for stem in self.stem_names_:
            found = [stems[stem] for stems in estimates]
            try:
                scores[stem] = sdr_score(
                    columns[stem], found, sample_weight=sample_weight, all_silent="raise"
                )
            except ValueError as error:
                raise ValueError(f"The stem {stem!r} cannot be scored. {error}") from error
        return scores

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Mean over the stems of their mean SDR (BSSEval v3) in dB.

        Parameters
        ----------
        X : sequence of arrays, paths or AudioSource
            Mixtures.
        y : sequence of dict, or dict of sequences
            True stems, as in `fit`.
        sample_weight : array-like of shape (n_tracks,), default=None
            Weights of the tracks.

        Returns
        -------
        float
            Mean SDR in dB.

        Raises
        ------
        NotFittedError, TypeError, ValueError
            If `stem_scores` raises them.
        """
        return float(np.mean([*self.stem_scores(X, y, sample_weight).values()]))

    @property
    def named_estimators_(self) -> Bunch:
        """The fitted pipelines by the names of their stems."""
        return Bunch(**dict(zip(self.stem_names_, self.estimators_, strict=True)))

    def get_metadata_routing(self) -> MetadataRouter:
        """Routes of metadata: `fit` hands its own on to the `fit` of the pipelines.

        Returns
        -------
        MetadataRouter
        """
        mapping = MethodMapping().add(caller="fit", callee="fit")
        router = MetadataRouter(owner=type(self).__name__).add_self_request(self)
        return router.add(estimator=self._pipeline(), method_mapping=mapping)

    def _pipeline(self) -> Pipeline:
        return unet_pipeline() if self.estimator is None else self.estimator

    def _separate(self, record: TrackRecord) -> dict[str, FloatArray]:
        """Waveforms of the stems of one track."""
        one = TrackBatch([record])
        steps = [step for _, step in self.estimators_[0].steps]
        inverter = steps[-1] if isinstance(steps[-1], GriffinLimInverter) else None
        stop = len(steps) - (inverter is not None)
        masked = [pipeline[1:stop].transform(one)[0] for pipeline in self.estimators_]
        masks = normalized([part.mask for part in masked], float(self.exponent))
        shares = [part.with_mask(mask) for part, mask in zip(masked, masks, strict=True)]
        estimates = [
            invert(part, Inversion()) if inverter is None else inverter.predict([part])[0]
            for part in shares
        ]
        missing = record.track.read().reshape(record.track.shape) - sum(estimates)
        missing /= np.float32(len(estimates))
        return {
            stem: estimate + missing
            for stem, estimate in zip(self.stem_names_, estimates, strict=True)
        }

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.input_tags.string = True
        tags.target_tags.required = True
        tags.target_tags.multi_output = True
        return tags


def normalized(masks: Sequence[Any], exponent: float) -> FloatArray:
    """Masks (n_stems, n_frames, n_bands) that sum to one in every bin.

    Parameters
    ----------
    masks : sequence of ndarray of shape (n_frames, n_bands)
        Masks in [0, 1] of all stems.
    exponent : float
        Power of the masks in their ratio.
    """
    powers = np.maximum(np.stack(masks).astype(np.float64), _SMALLEST_MASK) ** exponent
    return (powers / powers.sum(axis=0)).astype(np.float32)


def _fit_stem(
    pipeline: Pipeline, stem: str, X: Any, tracks: Any, fit_params: dict[str, Any]
) -> Pipeline:
    """A clone of the pipeline that is fitted to one stem."""
    copied = clone(pipeline)
    builders = [name for name, step in copied.steps if isinstance(step, MaskBuilder)]
    copied.set_params(**{f"{name}__target": stem for name in builders})
    return copied.fit(X, tracks, **fit_params)


def _columns(X: Any, y: Any, pipeline: Pipeline) -> dict[str, list[Any]]:
    """The tracks of each stem, which are checked against the mixtures."""
    columns = {name: check_collection(tracks, f"y[{name!r}]") for name, tracks in _by_name(y)}
    if len(columns) < 2:
        raise ValueError(
            f"y has {len(columns)} stem, {list(columns)}; at least two are needed. For one stem, "
            "fit the pipeline itself."
        )
    sample_rate = pipeline.steps[0][1].sample_rate
    mixtures = check_tracks(X, sample_rate)
    for name, column in columns.items():
        stem_name("The name of a stem", name)
        tracks = check_tracks(column, sample_rate, f"y[{name!r}]")
        check_same_length(mixtures, tracks, "X", f"y[{name!r}]")
        for mixture, track in zip(mixtures, tracks, strict=True):
            check_pair(mixture, track)
    return columns


def _by_name(y: Any) -> list[tuple[Any, Any]]:
    """Names and tracks of stems, given by name or as a mapping for each track."""
    if isinstance(y, Mapping):
        return list(y.items())
    rows = list(y) if isinstance(y, (Sequence, np.ndarray)) else []
    if not rows or not all(isinstance(row, Mapping) for row in rows):
        raise TypeError(
            "y must hold all stems: a dict of names and stems for each track (songs.stems of a "
            f"loader), or a dict of names and collections of tracks; got {y!r:.200}."
        )
    for index, row in enumerate(rows):
        if set(row) != set(rows[0]):
            raise ValueError(
                f"y[{index}] has the stems {sorted(row)}, but y[0] has {sorted(rows[0])}; all "
                "tracks need the same."
            )
    return [(name, [row[name] for row in rows]) for name in rows[0]]
