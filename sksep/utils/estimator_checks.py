"""Checks that every estimator of tracks must pass, also those of other packages.

scikit-learn's `check_estimator` passes 2-D arrays, so it checks almost nothing of an estimator of
tracks. This module calls those of its checks that need no data. Its checks with data are written
again for waveforms that differ in length and channels.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from sklearn.base import BaseEstimator

from sksep.utils._estimator_checks import (
    _masks,
    _multi_target,
    _parameters,
    _steps,
    _waveforms,
)
from sksep.utils._estimator_checks._case import EstimatorCase

__all__ = ["check_estimator", "parametrize_with_checks"]


def check_estimator(estimator: BaseEstimator) -> None:
    """Check that an estimator keeps the contracts of scikit-learn and sksep.

    The checks depend on the kind of estimator: a separator, an inverter, another step of a
    pipeline, a separator of all stems, or a class that only holds parameters. They use clones of
    the estimator and three short synthetic songs: mono and stereo, of different lengths, at 8 kHz.

    Parameters
    ----------
    estimator : estimator
        An unfitted estimator. Choose parameters that make it quick, since it is fitted about ten
        times. If its `random_state` is None, the checks set it to 0. If it has a `device`, choose
        the CPU: other devices may not repeat their results to the last bit.

    Raises
    ------
    AssertionError
        If the estimator does not keep a contract. The traceback names the check. An error that the
        estimator itself raises where it should not is passed on.
    TypeError
        If `estimator` is not an instance of an estimator.

    See Also
    --------
    parametrize_with_checks : Each check as a test of pytest.

    Examples
    --------
    >>> from sksep import MixtureSeparator
    >>> from sksep.utils.estimator_checks import check_estimator
    >>> check_estimator(MixtureSeparator())
    """
    case = _case_of(estimator)
    for check in checks_of(case):
        check(case)


def parametrize_with_checks(estimators: Iterable[BaseEstimator]) -> Any:
    """Decorator of a pytest test that runs it for every estimator and every check.

    Parameters
    ----------
    estimators : iterable of estimators
        Instances, as in `check_estimator`.

    Returns
    -------
    pytest.MarkDecorator
        It gives the test two parameters, `estimator` and `check`. The test has to call
        ``check(estimator)``. The checks of one estimator share the fitted estimator.

    Raises
    ------
    ImportError
        If pytest is not installed.
    TypeError
        If one of `estimators` is not an instance of an estimator.

    See Also
    --------
    check_estimator : All checks of one estimator, without pytest.

    Examples
    --------
    >>> from sksep import MixtureSeparator
    >>> from sksep.utils.estimator_checks import parametrize_with_checks
    >>> @parametrize_with_checks([MixtureSeparator()])
    ... def test_separators(estimator, check):
    ...     check(estimator)
    """
    import pytest

    return pytest.mark.parametrize(
        ("estimator", "check"),
        [
            pytest.param(estimator, partial(_run, check, case), id=f"{case}-{check.__name__}")
            for estimator in estimators
            for case in [_case_of(estimator)]
            for check in checks_of(case)
        ],
    )


def checks_of(case: EstimatorCase) -> list[Callable[[EstimatorCase], None]]:
    """The checks that apply to an estimator."""
    modules = [_parameters]
    if case.separates_all:
        modules += [_multi_target]
    elif case.sees_tracks:
        modules += [_steps]
        modules += [_waveforms] if case.predicts else []
        modules += [_masks] if case.separates else []
    return [
        value
        for module in modules
        for name, value in vars(module).items()
        if name.startswith("check_") and value.__module__ == module.__name__
    ]


def _run(check: Callable[[EstimatorCase], None], case: EstimatorCase, estimator: Any) -> None:
    """Run a check of an estimator; that of the case is not fitted again."""
    check(case if estimator is case.given else _case_of(estimator))


def _case_of(estimator: Any) -> EstimatorCase:
    if inspect.isclass(estimator) or not isinstance(estimator, BaseEstimator):
        raise TypeError(
            f"An instance of an estimator is needed, got {estimator!r}. Derive the class from "
            "sksep.base.BaseSeparator, and give an instance whose parameters make it quick."
        )
    return EstimatorCase(estimator)
