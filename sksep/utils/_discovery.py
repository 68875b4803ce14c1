"""The public estimators, found through the `__all__` of public modules."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from typing import TYPE_CHECKING, Literal

from sksep.utils._validation import check_choice

if TYPE_CHECKING:
    from sklearn.base import BaseEstimator


def all_estimators(
    type_filter: Literal["separator", "transformer"] | None = None,
) -> list[tuple[str, type[BaseEstimator]]]:
    """List the public estimators of sksep.

    Parameters
    ----------
    type_filter : {"separator", "transformer"}, default=None
        Kind of the estimators to list. A transformer is a step that is not a separator. By default,
        classes that have scikit-learn's parameters but are not steps of a pipeline, such as
        `Augmentation`, are listed too.

    Returns
    -------
    list of (str, type)
        Names and classes in alphabetical order. Abstract classes are left out.

    Raises
    ------
    ValueError
        If `type_filter` has another value.

    See Also
    --------
    sksep.utils.estimator_checks.check_estimator : The contracts that they all keep.

    Examples
    --------
    >>> from sksep.utils import all_estimators
    >>> [name for name, _ in all_estimators(type_filter="transformer")]
    ['GriffinLimInverter', 'MaskBuilder', 'MelChunker']
    """
    import sklearn.base

    import sksep

    check_choice("type_filter", type_filter, (None, "separator", "transformer"))
    modules = [info.name for info in pkgutil.walk_packages(sksep.__path__, "sksep.")]
    found = {}
    for module_name in ["sksep", *modules]:
        if "._" in module_name:
            continue
        module = importlib.import_module(module_name)
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            is_class = inspect.isclass(value) and not inspect.isabstract(value)
            if is_class and issubclass(value, sklearn.base.BaseEstimator):
                found[name] = value
    if type_filter is not None:
        found = {name: value for name, value in found.items() if _kind(value) == type_filter}
    return sorted(found.items())


def _kind(estimator_class: type[BaseEstimator]) -> str | None:
    from sksep.base import BaseSeparator

    # Separators of waveforms and ensembles open streams of vocals.
    if issubclass(estimator_class, BaseSeparator) or hasattr(estimator_class, "_open_stream"):
        return "separator"
    return "transformer" if hasattr(estimator_class, "transform") else None
