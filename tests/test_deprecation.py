"""The decorator for names and parameters that will be removed."""

import inspect
import pickle
import warnings
from typing import Any

import pytest
from sklearn.base import BaseEstimator, clone

from sksep.utils._deprecation import deprecated


@deprecated("0.2", "0.4", "new_function")
def old_function(x: int, *, factor: int = 2) -> int:
    """Multiply.

    Only integers.
    """
    return x * factor


@deprecated("0.2", "0.4", "NewEstimator")
class OldEstimator(BaseEstimator):
    """An estimator."""

    def __init__(self, *, n_bands: int = 3) -> None:
        self.n_bands = n_bands


@deprecated("0.2", "0.4", "n_bands", parameter="bands")
class RenamedParameter(BaseEstimator):
    """Another estimator."""

    def __init__(self, *, n_bands: int = 3) -> None:
        self.n_bands = n_bands


@deprecated("0.2", "0.4", "rate", parameter="sr")
def renamed(samples: Any, *, rate: int = 16000) -> int:
    return rate


def test_a_function_warns_and_works_as_before() -> None:
    message = "old_function is deprecated since version 0.2 .* removed in version 0.4. Use new_f"
    with pytest.warns(FutureWarning, match=message) as caught:
        assert old_function(4, factor=3) == 12
    assert caught[0].filename == __file__
    assert list(inspect.signature(old_function).parameters) == ["x", "factor"]
    doc = "Multiply.\n\n.. deprecated:: 0.2\n   Use new_function instead.\n\nOnly integers."
    assert old_function.__doc__ == doc


def test_a_class_warns_and_works_as_before() -> None:
    with pytest.warns(FutureWarning, match="OldEstimator is deprecated .* NewEstimator") as caught:
        estimator = OldEstimator(n_bands=5)
    assert caught[0].filename == __file__
    assert isinstance(estimator, OldEstimator)
    assert estimator.get_params() == {"n_bands": 5}
    assert pickle.loads(pickle.dumps(estimator)).n_bands == 5
    with pytest.warns(FutureWarning):
        assert clone(estimator).n_bands == 5
    assert ".. deprecated:: 0.2" in (OldEstimator.__doc__ or "")


@pytest.mark.parametrize(("call", "old"), [(RenamedParameter, "bands"), (renamed, "sr")])
def test_a_renamed_parameter_warns_under_its_old_name_only(call: Any, old: str) -> None:
    args = () if inspect.isclass(call) else ([],)
    new = call(*args, **{_new(call): 7})
    with pytest.warns(FutureWarning, match=rf"'{old}' of .* '{_new(call)}' in .* 0.4") as caught:
        assert _value(call(*args, **{old: 7})) == _value(new) == 7
    assert caught[0].filename == __file__
    with warnings.catch_warnings(), pytest.raises(TypeError, match=f"its old name '{old}'"):
        call(*args, **{_new(call): 7, old: 7})
    assert old not in inspect.signature(call).parameters


def test_an_estimator_keeps_the_new_name_of_a_parameter() -> None:
    with pytest.warns(FutureWarning):
        estimator = RenamedParameter(bands=5)  # type: ignore[call-arg]
    assert estimator.get_params() == {"n_bands": 5}
    assert clone(estimator).n_bands == 5  # no warning, which would be an error
    assert "deprecated" not in (RenamedParameter.__doc__ or "")


def _new(call: Any) -> str:
    return list(inspect.signature(call).parameters)[-1]


def _value(result: Any) -> int:
    return result.n_bands if isinstance(result, RenamedParameter) else result
