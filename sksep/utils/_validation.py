"""Checks of values: functions that raise errors, and constraints that parameters declare.

A constraint is a function of the name and the value of a parameter. If the value is not allowed, it
raises a ValueError or a TypeError that names the parameter, the value and the remedy.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from os import PathLike
from typing import Any, TypeAlias

import numpy as np

Constraint: TypeAlias = Callable[[str, Any], Any]


def check_integer(name: str, value: Any, low: int, high: int | None = None) -> int:
    """Return an int in [low, high], or raise a ValueError or TypeError that names the parameter."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer, got {value!r:.200}.")
    value = int(value)
    if value < low or (high is not None and value > high):
        limits = f"at least {low}" if high is None else f"in [{low}, {high}]"
        raise ValueError(f"{name} must be {limits}, got {value}.")
    return value


def check_number(
    name: str,
    value: Any,
    low: float = -math.inf,
    high: float = math.inf,
    *,
    include_low: bool = True,
    include_high: bool = True,
) -> float:
    """Return a finite float in the interval, or raise an error that names the parameter."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r:.200}.")
    value = float(value)
    inside_low = value >= low if include_low else value > low
    inside_high = value <= high if include_high else value < high
    if not (inside_low and inside_high and math.isfinite(value)):
        left, right = "[" if include_low else "(", "]" if include_high else ")"
        raise ValueError(f"{name} must be in {left}{low:g}, {high:g}{right}, got {value}.")
    return value


def check_range(
    name: str, value: Any, low: float = -math.inf, high: float = math.inf
) -> tuple[float, float]:
    """Return an ordered pair of numbers in [low, high], or raise an error."""
    first, second = _check_pair(name, value)
    first = check_number(f"{name}[0]", first, low, high)
    return first, check_number(f"{name}[1]", second, first, high)


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> Any:
    """Return the value if it is one of `choices`, or raise a ValueError that lists them."""
    if not any(value is choice or _equals(value, choice) for choice in choices):
        listed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be one of {listed}; got {value!r:.200}.")
    return value


def check_boolean(name: str, value: Any) -> bool:
    """Return a bool, or raise a TypeError: strings such as "no" would count as true."""
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r:.200}.")
    return bool(value)


def check_path(name: str, value: Any) -> Any:
    """Return the value if it is a path, or raise a TypeError."""
    if not isinstance(value, (str, PathLike)):
        raise TypeError(f"{name} must be a path, got {value!r:.200}.")
    return value


def stem_name(name: str, value: Any) -> None:
    """Constraint: the name of a stem, which is also a part of names of files."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be the name of a stem, such as 'drums'; got {value!r:.200}.")
    if not re.fullmatch(r"\w([\w -]*\w)?", value):
        raise ValueError(
            f"{name} must consist of letters, digits, '_', '-' and spaces inside, got "
            f"{value!r:.200}."
        )


def check_random_state(name: str, value: Any) -> None:
    """Allow None, an integer and a RandomState, as scikit-learn's estimators do."""
    if value is None or isinstance(value, np.random.RandomState):
        return
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(
            f"{name} must be None, an integer or a numpy.random.RandomState; got {value!r:.200}."
        )
    check_integer(name, value, 0, 2**32 - 1)


def check_mapping(name: str, value: Any) -> None:
    """Allow a dict whose keys are strings."""
    if not isinstance(value, Mapping) or not all(isinstance(key, str) for key in value):
        raise TypeError(f"{name} must be a dict whose keys are strings, got {value!r:.200}.")


def integer(low: int, high: int | None = None) -> Constraint:
    """Constraint: an integer in [low, high]."""
    return lambda name, value: check_integer(name, value, low, high)


def number(
    low: float = -math.inf,
    high: float = math.inf,
    *,
    include_low: bool = True,
    include_high: bool = True,
) -> Constraint:
    """Constraint: a finite number in the interval."""
    return lambda name, value: check_number(
        name, value, low, high, include_low=include_low, include_high=include_high
    )


def interval(low: float = -math.inf, high: float = math.inf) -> Constraint:
    """Constraint: a pair (lowest, highest) of numbers in [low, high]."""
    return lambda name, value: check_range(name, value, low, high)


def integers(length: int, low: int, high: int | None = None) -> Constraint:
    """Constraint: a sequence of `length` integers, each in [low, high]."""

    def check(name: str, value: Any) -> None:
        is_sequence = isinstance(value, Sequence) and not isinstance(value, str)
        if not is_sequence or len(value) != length:
            raise TypeError(f"{name} must be {length} integers, got {value!r:.200}.")
        for index, item in enumerate(value):
            check_integer(f"{name}[{index}]", item, low, high)

    return check


def choice(*choices: Any) -> Constraint:
    """Constraint: one of the choices."""
    return lambda name, value: check_choice(name, value, choices)


def optional(constraint: Constraint) -> Constraint:
    """Constraint: None, or what another constraint allows."""
    return lambda name, value: None if value is None else constraint(name, value)


def choice_or_callable(*choices: Any) -> Constraint:
    """Constraint: one of the choices, or a function."""

    def check(name: str, value: Any) -> None:
        if inspect.isclass(value) or not callable(value):
            check_choice(name, value, choices)

    return check


def _equals(value: Any, choice: Any) -> bool:
    # An array is never a choice. It would be compared element by element.
    kind = Integral if type(choice) is int and not isinstance(value, bool) else type(choice)
    return isinstance(value, kind) and bool(value == choice)


def _check_pair(name: str, value: Any) -> Sequence[Any]:
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise TypeError(f"{name} must be a pair (lowest, highest), got {value!r:.200}.")
    return value
