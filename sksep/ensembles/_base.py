"""The base of ensembles: tracks in, vocals out."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from sklearn.base import clone
from sklearn.frozen import FrozenEstimator

from sksep.base._track_separator import TrackSeparator


class Ensemble(TrackSeparator):
    """Base of models that combine the estimates of other models."""

    @abstractmethod
    def _given_members(self) -> list[Any]:
        """The members that `fit` clones."""

    @abstractmethod
    def _fitted_members(self) -> list[Any] | None:
        """The fitted members in the same order; None before `fit`."""

    @abstractmethod
    def _keep(self, members: list[Any]) -> None:
        """Keep fitted members, if they fit together."""

    def _fitted_state(self) -> dict[str, Any]:
        """The state for `sksep.save`: the members that `fit` made; None for frozen ones."""
        members = self._fitted_members()
        if members is None:
            return {}
        is_frozen = [isinstance(member, FrozenEstimator) for member in members]
        pairs = zip(members, is_frozen, strict=True)
        return {"members": [None if frozen else member for member, frozen in pairs]}

    def _restore(self, state: dict[str, Any]) -> None:
        """Set the result of `_fitted_state` in an unfitted ensemble with the same parameters."""
        if not state:
            return
        given = self._given_members()
        kinds = [None if isinstance(each, FrozenEstimator) else type(each) for each in given]
        if kinds != [None if each is None else type(each) for each in state["members"]]:
            raise TypeError(f"the fitted members of {type(self).__name__} are not its estimators")
        pairs = zip(given, state["members"], strict=True)
        self._keep([one if other is None else other for one, other in pairs])


def fit_clone(estimator: Any, X: Any, y: Any) -> Any:
    """A fitted clone; what is frozen remains what it is."""
    if isinstance(estimator, FrozenEstimator):
        return estimator.fit(X, y)
    return clone(estimator).fit(X, y)


def is_model(estimator: Any) -> bool:
    """Whether something can be a member: an estimator that maps tracks to waveforms."""
    is_instance = not isinstance(estimator, type)
    return is_instance and all(hasattr(estimator, name) for name in ("fit", "get_params"))
