"""Parameters of estimators: each is declared once, with its type, default and constraint."""

from __future__ import annotations

import dataclasses
import inspect
from typing import Any, TypeVar

from sklearn.base import BaseEstimator

from sksep.utils._validation import Constraint

_Class = TypeVar("_Class", bound=type)
_PAGES = "https://sksep.github.io/sksep/api/generated/sksep.{estimator_name}.html"


def parameter(
    default: Any,
    constraint: Constraint,
    kind: str = "",
    text: str = "",
    *,
    is_saved: bool = True,
    alters_training: bool = True,
) -> Any:
    """Declare a parameter: a dataclass field whose value is checked when it is used.

    Parameters
    ----------
    default : object
        Value of the parameter if none is given. It must not be mutable.
    constraint : callable
        Checks a name and a value, see `sksep.utils._validation`.
    kind, text : str
        Type and description for the docstrings of classes that share the parameter, see
        `document_shared`. Other classes describe their parameters in their docstrings.
    is_saved : bool, default=True
        Whether `sksep.save` stores the parameter. Code, recordings and folders are not stored.
    alters_training : bool, default=True
        Whether another value leads to other weights. If not, a checkpoint resumes with any value.

    Returns
    -------
    dataclasses.Field
    """
    metadata = {
        "constraint": constraint,
        "kind": kind,
        "text": text,
        "is_saved": is_saved,
        "alters_training": alters_training,
    }
    return dataclasses.field(default=default, metadata=metadata)


class Estimator(BaseEstimator):
    """Base of the estimators of sksep: constraints of parameters, and links to their pages."""

    _doc_link_template = _PAGES
    _doc_link_module = "sksep"

    def _check_parameters(self) -> None:
        """Check each parameter by its constraint; subclasses add checks of several at once."""
        for field in declared_parameters(type(self)):
            if "constraint" in field.metadata:
                field.metadata["constraint"](field.name, getattr(self, field.name))


def declared_parameters(estimator_class: type) -> tuple[dataclasses.Field[Any], ...]:
    """Declarations of the parameters of a class; none if it has a constructor of its own."""
    if not dataclasses.is_dataclass(estimator_class):
        return ()
    return tuple(field for field in dataclasses.fields(estimator_class) if field.init)


def parameters_without(estimator_class: type, flag: str) -> frozenset[str]:
    """Names of the parameters that are declared with a flag of `parameter` set to False."""
    fields = declared_parameters(estimator_class)
    return frozenset(field.name for field in fields if not field.metadata.get(flag, True))


def document_shared(base: type, placeholder: str, *, inherited: bool = False) -> Any:
    """Return a decorator that describes the parameters of a base class in docstrings of subclasses.

    The line that holds the placeholder is replaced. In the signature, the parameters of the
    subclass come first, as in the docstring. Parameters that the base class inherits itself are
    included if `inherited` is true.
    """
    own = inspect.get_annotations(base)
    fields = [field for field in declared_parameters(base) if inherited or field.name in own]
    shared = [field.name for field in fields]
    described = "\n".join(_described(field) for field in fields)

    def document(estimator_class: _Class) -> _Class:
        if estimator_class.__doc__:  # python -OO removes docstrings, 3.13 their indentation
            doc = inspect.cleandoc(estimator_class.__doc__)
            estimator_class.__doc__ = doc.replace(placeholder, described)
        constructor: Any = estimator_class.__init__  # type: ignore[misc]
        signature = inspect.signature(constructor)
        ordered = sorted(signature.parameters.values(), key=lambda each: each.name in shared)
        constructor.__signature__ = signature.replace(parameters=ordered)
        return estimator_class

    return document


def _described(field: dataclasses.Field[Any]) -> str:
    default = field.default
    shown = f'"{default}"' if isinstance(default, str) else repr(default)
    head = f"{field.name} : {field.metadata['kind']}, default={shown}"
    return "\n".join([head, *(f"    {line}" for line in field.metadata["text"].splitlines())])
