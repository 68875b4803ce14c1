"""Options that the benchmarks of separators on real recordings share."""

from __future__ import annotations

import argparse
from ast import literal_eval
from typing import Any

import torch


def recordings_parser(description: str | None, presets: tuple[str, ...]) -> argparse.ArgumentParser:
    """A parser with the options that every benchmark on real recordings has."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--data", help="folder of the data set (default: in SKSEP_DATA_HOME)")
    parser.add_argument("--preset", default="recommended", choices=presets)
    parser.add_argument("--n-iter", type=int, default=10, help="Griffin-Lim iterations")
    parser.add_argument("--threads", type=int, help="threads of torch (default: its own choice)")
    parser.add_argument(
        "--set",
        nargs=2,
        action="append",
        default=[],
        metavar=("NAME", "VALUE"),
        help="a parameter of the pipeline, as Python, such as separate__lr 1e-3",
    )
    return parser


def add_single_run(parser: argparse.ArgumentParser) -> None:
    """Options of the benchmarks that train one pipeline."""
    parser.add_argument("--minutes", type=float, default=60.0, help="budget of the training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", help="where to save the trained pipeline (.safetensors)")
    parser.add_argument("--name", help="name of the results (default: from the options)")


def parsed(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """The options, with the threads of torch as they say."""
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    return options


def changes(options: argparse.Namespace) -> dict[str, Any]:
    """Parameters of ``--set``, as Python values (what is no Python literal stays a string)."""
    return {name: _value(text) for name, text in options.set}


def _value(text: str) -> Any:
    try:
        return literal_eval(text)
    except (SyntaxError, ValueError):
        return text
