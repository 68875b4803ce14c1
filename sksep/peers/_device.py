"""Device of the networks of other packages."""

from __future__ import annotations

from typing import Any

from sksep.training._options import resolve_device


def check_device(name: str, value: Any) -> None:
    """Constraint: the name of a device that is available."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be 'auto', 'cpu', 'cuda' or 'mps'; got {value!r:.200}.")
    resolve_device(value)
