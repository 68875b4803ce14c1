"""Checks of hyper-parameters, used when they are needed and never in `__init__`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any


def check_integer(name: str, value: Any, low: int, high: int | None = None) -> int:
    """An int in [low, high], or a ValueError or TypeError that names the parameter."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{name} must be an integer, got {value!r}.")
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
    """A finite float in the interval, or a ValueError or TypeError that names the parameter."""
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{name} must be a number, got {value!r}.")
    value = float(value)
    inside_low = value >= low if include_low else value > low
    inside_high = value <= high if include_high else value < high
    if not (inside_low and inside_high and math.isfinite(value)):
        left, right = "[" if include_low else "(", "]" if include_high else ")"
        raise ValueError(f"{name} must be in {left}{low:g}, {high:g}{right}, got {value}.")
    return value


def check_range(name: str, value: Any, low: float = -math.inf) -> tuple[float, float]:
    """An ordered pair of numbers, both at least `low`."""
    if not isinstance(value, Sequence) or isinstance(value, str) or len(value) != 2:
        raise TypeError(f"{name} must be a pair (lowest, highest), got {value!r}.")
    first = check_number(f"{name}[0]", value[0], low)
    return first, check_number(f"{name}[1]", value[1], first)


def check_choice(name: str, value: Any, choices: Sequence[Any]) -> Any:
    """One of `choices`, or a ValueError that lists them."""
    if not any(value is choice or value == choice for choice in choices):
        listed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"{name} must be one of {listed}; got {value!r}.")
    return value
