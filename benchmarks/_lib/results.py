"""Writing of results with the date, the machine and the versions of libraries."""

from __future__ import annotations

import argparse
import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from sksep.utils._files import write_whole

PACKAGES = ("sksep", "torch", "numpy", "scipy", "librosa", "mir_eval", "scikit-learn", "skorch")
FOLDER = Path(__file__).parents[1] / "results"


def environment() -> dict[str, Any]:
    """Date, machine kind and versions of a run."""
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": {package: _version(package) for package in PACKAGES},
    }


def machine() -> str:
    """Kind of the processor and number of cores."""
    return f"{_processor()}, {os.cpu_count()} cores"


def write(name: str, results: dict[str, Any], table: str, folder: Path = FOLDER) -> None:
    """Write NAME.json and NAME.md into the results folder."""
    record = {**environment(), **results}
    write_whole(folder / f"{name}.json", json.dumps(record, indent=2) + "\n")
    versions = ", ".join(f"{key} {value}" for key, value in record["versions"].items())
    text = f"# {name}\n\n{record['date']}; {machine()}; {versions}\n\n{table}\n"
    write_whole(folder / f"{name}.md", text)


def settings(options: argparse.Namespace) -> dict[str, Any]:
    """The options of a run, less the folders and files of whoever ran it."""
    places = (
        "accompaniment_pool",
        "cache",
        "data",
        "load",
        "model",
        "output",
        "picture",
        "results",
        "vocals_pool",
        "work",
    )
    return {name: value for name, value in vars(options).items() if name not in places}


def markdown_table(rows: list[dict[str, Any]]) -> str:
    """Rows of equal keys as a Markdown table; floats with two digits."""

    def text(value: Any) -> str:
        return f"{value:.2f}" if isinstance(value, float) else str(value)

    header = list(rows[0])
    lines = [header, ["---"] * len(header)]
    lines += [[text(row[key]) for key in header] for row in rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # only some benchmarks need it
        return "not installed"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
