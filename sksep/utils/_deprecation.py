"""A decorator for names and parameters that will be removed."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

_Decorated = TypeVar("_Decorated", bound=Callable[..., Any])


def deprecated(
    since: str, removed_in: str, instead: str, *, parameter: str | None = None
) -> Callable[[_Decorated], _Decorated]:
    """Warn the caller of a function or class, or of a parameter, that will be removed.

    The warning is a `FutureWarning`, since Python hides `DeprecationWarning` from most users. It
    names the line of the caller. The decorated function or class behaves as before and keeps its
    signature.

    Parameters
    ----------
    since, removed_in : str
        Version of the first release that warns, and of the release that no longer has the name.
    instead : str
        Name to use instead. With `parameter`, it is the new name of the parameter.
    parameter : str, default=None
        Old name of a parameter that was renamed. It is accepted as a keyword, and its value is
        passed on under the new name; other calls do not warn. By default, each call warns.

    Returns
    -------
    callable
        A decorator. A class is changed in place, and must have an ``__init__`` of its own or of a
        base class that takes its arguments.

    Examples
    --------
    >>> @deprecated("0.2", "0.4", "decibels")
    ... def to_decibels(power):
    ...     "Convert a power to decibels."
    >>> @deprecated("0.2", "0.4", "n_bands", parameter="bands")
    ... def filter_bank(*, n_bands=128):
    ...     return n_bands
    >>> import warnings
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     filter_bank(bands=64)
    64
    >>> print(caught[0].message)
    The parameter 'bands' of filter_bank was renamed to 'n_bands' in version 0.2. The old name will
    be removed in version 0.4.
    """

    def decorate(target: _Decorated) -> _Decorated:
        name = target.__qualname__
        call: Any = target.__init__ if inspect.isclass(target) else target

        @functools.wraps(call)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if parameter is None:
                message = (
                    f"{name} is deprecated since version {since} and will be removed in version "
                    f"{removed_in}. Use {instead} instead."
                )
                warnings.warn(message, FutureWarning, stacklevel=2)
            elif parameter in kwargs:
                if instead in kwargs:
                    raise TypeError(
                        f"{name} got {instead!r} and also its old name {parameter!r}. "
                        f"Pass {instead!r} only."
                    )
                message = (
                    f"The parameter {parameter!r} of {name} was renamed to {instead!r} in version "
                    f"{since}. The old name will be removed in version {removed_in}."
                )
                warnings.warn(message, FutureWarning, stacklevel=2)
                kwargs[instead] = kwargs.pop(parameter)
            return call(*args, **kwargs)

        decorated: Any = wrapper
        if inspect.isclass(target):
            decorated = target
            decorated.__init__ = wrapper
        if parameter is None:
            decorated.__doc__ = _with_note(target.__doc__, since, instead)
        return decorated

    return decorate


def _with_note(doc: str | None, since: str, instead: str) -> str:
    """The docstring with a note of the deprecation after its summary."""
    summary, *rest = inspect.cleandoc(doc or "").split("\n\n", maxsplit=1)
    return "\n\n".join([summary, f".. deprecated:: {since}\n   Use {instead} instead.", *rest])
