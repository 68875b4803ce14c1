"""Options that several scripts have: parameters of pipelines on the command line."""

from __future__ import annotations

import argparse
from ast import literal_eval
from typing import Any


def add_changes(parser: argparse.ArgumentParser) -> None:
    """Add the option --set, which `changes` reads."""
    parser.add_argument(
        "--set",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="a parameter of the pipelines, as Python, such as separate__lr 1e-3",
    )


def changes(options: argparse.Namespace) -> dict[str, Any]:
    """Parameters of --set, as Python values. Text that is no Python literal stays text."""
    return {name: _value(text) for name, text in options.set}


def _value(text: str) -> Any:
    try:
        return literal_eval(text)
    except (SyntaxError, ValueError):
        return text
