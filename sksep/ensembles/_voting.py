"""VotingSeparator: the weighted mean of the estimates of several models."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
from sklearn.frozen import FrozenEstimator
from sklearn.pipeline import Pipeline
from sklearn.utils import Bunch
from sklearn.utils.metaestimators import _BaseComposition
from sklearn.utils.validation import check_is_fitted

from sksep.audio._decoding import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE
from sksep.audio._track import Track
from sksep.base._inversion import Inversion, invert
from sksep.base._separator import BaseSeparator
from sksep.base._streams import VocalsStream, WholeTrackError, array_rate, resolve_model
from sksep.ensembles._base import Ensemble, fit_clone, is_model
from sksep.ensembles._streams import AveragingStream, MeanMaskStream
from sksep.inference._models import target_of
from sksep.inference._pipeline_stream import MaskStream, PipelineStream
from sksep.inference._separate import separated_blocks
from sksep.inference._streaming import open_stream
from sksep.transformers import GriffinLimInverter, MaskBuilder, MelChunker
from sksep.utils._arrays import FloatArray
from sksep.utils._parameters import parameter
from sksep.utils._validation import choice, integer, optional


def _check_estimators(name: str, value: Any) -> None:
    """Constraint: a list of (name, estimator) pairs; `_BaseComposition` checks the names."""
    if not isinstance(value, (list, tuple)):
        raise TypeError(f"{name} must be a list of (name, estimator) pairs, got {value!r:.200}.")
    for pair in value:
        if not isinstance(pair, tuple) or len(pair) != 2 or not isinstance(pair[0], str):
            raise TypeError(f"{name} must hold (name, estimator) pairs, got {pair!r:.200}.")
        if pair[1] != "drop" and not is_model(pair[1]):
            raise TypeError(
                f"The member {pair[0]!r} must be an estimator or 'drop', got {pair[1]!r:.200}."
            )


def _check_weights(name: str, value: Any) -> None:
    """Constraint: numbers of at least 0, one of them positive."""
    weights = np.asarray(value)
    if weights.ndim != 1 or weights.dtype.kind not in "fiu":
        raise TypeError(f"{name} must be a list of numbers, got {value!r:.200}.")
    if not np.isfinite(weights).all() or (weights < 0).any() or not weights.any():
        raise ValueError(
            f"{name} must be finite and not negative, and not all zero, got {value!r:.200}."
        )


@dataclass(eq=False, repr=False)
class VotingSeparator(_BaseComposition, Ensemble):
    """Average the vocals of several models.

    Models make different errors, which partly cancel in the mean: two models together are often
    better than the better one of them alone. This is what `sklearn.ensemble.VotingRegressor` does
    for numbers.

    Parameters
    ----------
    estimators : list of (str, estimator) pairs
        Members: pipelines that begin with a `MelChunker`, or other estimators that map tracks to
        vocals. `fit` fits clones of them. A fitted model takes part as it is in a
        `sklearn.frozen.FrozenEstimator`. ``"drop"`` in the place of an estimator leaves it out.
    weights : list of float, default=None
        Weight of each member, not negative. None weights all alike.
    average : {"waveform", "mask"}, default="waveform"
        What is averaged. "mask" averages the masks of pipelines of one front end, and inverts the
        mean once, with the inverter of the first member. That is faster. Magnitudes that the
        members disagree on are the same in both.
    sample_rate : int, default=None
        Sample rate of tracks given as arrays, in Hz. None is that of the members, which then must
        agree. Files have their own.

    Attributes
    ----------
    estimators_ : list of estimators
        The fitted members, without dropped ones.
    named_estimators_ : Bunch
        The fitted members by name.

    See Also
    --------
    TestTimeAugmentation : The mean over shifted inputs of one model.

    Examples
    --------
    >>> from sklearn.frozen import FrozenEstimator
    >>> from sksep import VotingSeparator, load_pretrained
    >>> from sksep.datasets import make_songs
    >>> songs = make_songs(2, duration=2.0, random_state=0)
    >>> names = ["small", "unet-mir1k"]
    >>> members = [(name, FrozenEstimator(load_pretrained(name))) for name in names]
    >>> ensemble = VotingSeparator(members, weights=[3, 1]).fit(songs.mixtures)
    >>> ensemble.predict(songs.mixtures)[0].shape == songs.mixtures[0].shape
    True
    """

    estimators: Any = parameter((), _check_estimators)
    _: KW_ONLY
    weights: Any = parameter(None, optional(_check_weights))
    average: str = parameter("waveform", choice("waveform", "mask"))
    sample_rate: Any = parameter(None, optional(integer(MIN_SAMPLE_RATE, MAX_SAMPLE_RATE)))

    def fit(self, X: Any, y: Any = None) -> VotingSeparator:
        """Fit clones of the members.

        Parameters
        ----------
        X : sequence of arrays, paths or AudioSource
            Mixtures.
        y : sequence of arrays, paths or AudioSource, default=None
            True vocals, for members that learn.

        Returns
        -------
        VotingSeparator
            The ensemble itself.

        Raises
        ------
        TypeError, ValueError
            If a parameter is not valid, if members cannot be averaged, or if a member raises it.
        """
        self._check_parameters()
        members = self._given_members()
        if not members:
            raise ValueError(
                "An ensemble needs members: estimators is empty, or all of them are dropped."
            )
        self._check_rates(members, X)
        self._keep([fit_clone(member, X, y) for member in members])
        return self

    def _check_rates(self, members: Sequence[Any], X: Any) -> None:
        """Raise an error if members that learn would take arrays to be at another rate."""
        if self.sample_rate is None or not any(isinstance(each, np.ndarray) for each in X):
            return
        for member in members:
            steps = member.named_steps.values() if isinstance(member, Pipeline) else ()
            learns = any(isinstance(step, MaskBuilder) for step in steps)
            if learns and (rate := array_rate(member)) != self.sample_rate:
                raise ValueError(
                    f"sample_rate is {self.sample_rate} Hz, but {type(member).__name__}, a member "
                    f"that fit trains, takes arrays at {rate} Hz. Give files, or set one rate."
                )

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Parameters of the ensemble and, if `deep`, the members by name and their parameters.

        Parameters
        ----------
        deep : bool, default=True
            Whether those of the members are included.

        Returns
        -------
        dict
            Values by name.
        """
        return self._get_params("estimators", deep=deep)

    def set_params(self, **params: Any) -> VotingSeparator:
        """Set parameters of the ensemble, members by name, or parameters of members.

        Parameters
        ----------
        **params : dict
            Values by name, such as ``weights=[1, 2]``, ``name="drop"`` or ``name__parameter=1``.

        Returns
        -------
        VotingSeparator
            The ensemble itself.
        """
        self._set_params("estimators", **params)
        return self

    def _check_parameters(self) -> None:
        super()._check_parameters()
        self._validate_names([name for name, _ in self.estimators])
        if self.weights is not None and len(self.weights) != len(self.estimators):
            raise ValueError(
                f"weights has {len(self.weights)} numbers for {len(self.estimators)} estimators; "
                "give one for each, also for those that are dropped."
            )

    def _given_members(self) -> list[Any]:
        return [estimator for _, estimator in self.estimators if estimator != "drop"]

    def _fitted_members(self) -> list[Any] | None:
        return getattr(self, "estimators_", None)

    def _keep(self, members: list[Any]) -> None:
        targets = sorted({target_of(member) for member in members})
        if len(targets) > 1:
            raise ValueError(
                f"The members extract different stems ({', '.join(targets)}), which cannot be "
                "averaged. MultiTargetSeparator separates several stems."
            )
        fitted = iter(members)
        self.estimators_ = members
        self.named_estimators_ = Bunch(
            **{
                name: "drop" if estimator == "drop" else next(fitted)
                for name, estimator in self.estimators
            }
        )
        self._array_rate()
        self._voters()
        if self.average == "mask":
            self._mask_voters()

    def _voters(self) -> list[tuple[str, Any, float]]:
        """Name, fitted model and share of each member that has a weight."""
        self._check_unchanged()
        names = [name for name, estimator in self.estimators if estimator != "drop"]
        weights = np.ones(len(self.estimators)) if self.weights is None else self.weights
        kept = np.array(
            [
                weight
                for weight, (_, estimator) in zip(weights, self.estimators, strict=True)
                if estimator != "drop"
            ],
            dtype=np.float64,
        )
        if not kept.any():
            raise ValueError("The weights of all members that are not dropped are zero.")
        shares = kept / kept.sum()
        voters = zip(names, self.estimators_, shares, strict=True)
        return [(name, member, float(share)) for name, member, share in voters if share > 0]

    def _check_unchanged(self) -> None:
        """Raise an error if members were added, dropped or renamed since `fit`."""
        now = {name: estimator == "drop" for name, estimator in self.estimators}
        then = {name: member == "drop" for name, member in self.named_estimators_.items()}
        if now != then:
            raise ValueError(
                "The members of this VotingSeparator were changed since fit; fit it again."
            )

    def _fitted_state(self) -> dict[str, Any]:
        if self._fitted_members() is not None:
            self._check_unchanged()
        return super()._fitted_state()

    def _array_rate(self) -> int:
        if self.sample_rate is not None:
            return int(self.sample_rate)
        members = self._fitted_members() or self._given_members()
        rates = sorted({array_rate(member) for member in members})
        if len(rates) != 1:
            raise ValueError(
                f"The members take arrays at {' and '.join(map(str, rates))} Hz: set sample_rate "
                "of the ensemble to the rate of your arrays. Files have their own."
            )
        return rates[0]

    def _separate_track(self, track: Track) -> FloatArray:
        try:
            return super()._separate_track(track)
        except WholeTrackError:
            if self.average == "mask":
                return self._separate_by_mask(track)
            return self._separate_in_turn(track)

    def _separate_in_turn(self, track: Track) -> FloatArray:
        """Mean of the vocals of members, some of which need the whole track."""
        vocals = np.zeros((track.n_channels, track.n_samples), np.float32)
        for _, member, share in self._voters():
            start = 0
            for _, part in separated_blocks(track, member):
                vocals[:, start : start + part.shape[1]] += np.float32(share) * part
                start += part.shape[1]
        return vocals.reshape(track.shape)

    def _separate_by_mask(self, track: Track) -> FloatArray:
        """Vocals of a track by the mean mask, with the whole track in memory."""
        voters = self._mask_voters()
        if not track.is_file and track.sample_rate != voters[0][0].sample_rate:
            raise ValueError(
                f"{track.name} is at {track.sample_rate} Hz, but the members take whole tracks at "
                f"{voters[0][0].sample_rate} Hz only. Resample it, or give a file."
            )
        source = track.source if track.is_file else track.read()
        masks: list[Any] = []
        for chunker, separator, *_ in voters:
            (record,) = separator.transform(chunker.transform([source]))
            masks.append(record.mask)
        mean = np.average(masks, axis=0, weights=[share for *_, share in voters])
        return invert(record.with_mask(mean), voters[0][2]).reshape(track.shape)

    def _open_stream(
        self, sample_rate: int, n_channels: int, name: str = "the song"
    ) -> VocalsStream:
        check_is_fitted(self)
        self._check_parameters()
        voters = self._voters()
        if self.average == "waveform":
            streams = [
                open_stream(member, sample_rate, n_channels, name) for _, member, _ in voters
            ]
            return AveragingStream(streams, [share for *_, share in voters], n_channels)
        streams_of_masks = []
        for chunker, separator, *_ in self._mask_voters():
            if not separator._separates_chunks():
                raise WholeTrackError(
                    f"The masks of {type(separator).__name__} depend on the whole track, so that "
                    "single blocks cannot be separated. Use the predict of the ensemble."
                )
            streams_of_masks.append(MaskStream(separator, chunker._front_end(), n_channels))
        mean = MeanMaskStream(streams_of_masks, [share for *_, share in voters])
        return PipelineStream(resolve_model(voters[0][1]), sample_rate, n_channels, masks=mean)

    def _mask_voters(self) -> list[tuple[MelChunker, BaseSeparator, Inversion, float]]:
        """Chunker, separator, inversion and share of each member, whose masks can be averaged."""
        found: list[tuple[MelChunker, BaseSeparator, Inversion, float]] = []
        for name, member, share in self._voters():
            chunker, separator, inversion = _steps(name, member)
            front_end = chunker._front_end()
            if found and not front_end.same_spectra(found[0][0]._front_end()):
                raise ValueError(
                    f"The masks of the member {name!r} have another front end than those of the "
                    f"first: {front_end} instead of {found[0][0]._front_end()}. Give the "
                    "MelChunkers equal parameters, or use average='waveform'."
                )
            found.append((chunker, separator, inversion, share))
        return found


def average_of(models: Sequence[Any]) -> VotingSeparator:
    """The mean of fitted models, for files; arrays are at the rate that the first one takes."""
    members = [(f"model{index}", FrozenEstimator(model)) for index, model in enumerate(models)]
    return VotingSeparator(members, sample_rate=array_rate(models[0])).fit([])


def _steps(name: str, member: Any) -> tuple[MelChunker, BaseSeparator, Inversion]:
    """The steps of a member that makes masks."""
    model = resolve_model(member)
    steps = [step for _, step in model.steps] if isinstance(model, Pipeline) else []
    steps = [step for step in steps if not isinstance(step, (MaskBuilder, str, type(None)))]
    inverter = steps.pop() if steps and isinstance(steps[-1], GriffinLimInverter) else None
    if (
        len(steps) != 2
        or not isinstance(steps[0], MelChunker)
        or not isinstance(steps[1], BaseSeparator)
    ):
        raise TypeError(
            "Masks are averaged of pipelines of MelChunker, a separator and possibly "
            f"GriffinLimInverter; the member {name!r} is {type(model).__name__}. Use "
            "average='waveform'."
        )
    return steps[0], steps[1], Inversion() if inverter is None else inverter._inversion()
