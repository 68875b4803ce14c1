"""Checks of every class with parameters, without data."""

from __future__ import annotations

import inspect

from sklearn.base import clone
from sklearn.utils import estimator_checks

from sksep.utils._estimator_checks._case import EstimatorCase, fingerprint

# These checks need no data. They also run on an instance with default parameters.
_SKLEARN_CHECKS = [
    estimator_checks.check_do_not_raise_errors_in_init_or_set_params,
    estimator_checks.check_estimator_cloneable,
    estimator_checks.check_estimator_repr,
    estimator_checks.check_estimator_tags_renamed,
    estimator_checks.check_get_params_invariance,
    estimator_checks.check_mixin_order,
    estimator_checks.check_no_attributes_set_in_init,
    estimator_checks.check_set_params,
    estimator_checks.check_valid_tag_types,
]


def check_defaults(case: EstimatorCase) -> None:
    signature = inspect.signature(type(case.estimator))
    required = [
        name for name, value in signature.parameters.items() if value.default is value.empty
    ]
    assert not required, f"{case.name} needs defaults of {required}, as every estimator."
    estimator_checks.check_parameters_default_constructible(case.name, case.estimator)


def check_sklearn(case: EstimatorCase) -> None:
    """The checks of scikit-learn that need no data, by default and as configured."""
    for check in _SKLEARN_CHECKS:
        for estimator in (type(case.estimator)(), case.estimator):
            check(case.name, estimator)


def check_clone(case: EstimatorCase) -> None:
    copy = clone(case.estimator)
    assert copy is not case.estimator
    assert fingerprint(copy.get_params()) == fingerprint(case.estimator.get_params())


def check_html_repr(case: EstimatorCase) -> None:
    assert case.name in case.estimator._repr_html_()
    assert case.name in repr(case.estimator)
