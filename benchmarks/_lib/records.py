"""Records of finished runs, so that none is repeated and none is mistaken for another."""

from __future__ import annotations

import hashlib
import inspect
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sklearn.base import BaseEstimator

from sksep.utils._files import write_whole

# Parameters that are recorded elsewhere, or that do not alter the training.
_LEFT_OUT = {"callbacks", "excerpts_per_epoch", "max_epochs", "memory", "random_state", "verbose"}


@dataclass(frozen=True)
class Parameters:
    """The parameters of a pipeline as text, and which of them are at their defaults."""

    values: dict[str, str]
    defaults: frozenset[str]

    @classmethod
    def of(cls, steps: list[tuple[str, BaseEstimator]]) -> Parameters:
        """The parameters of named steps, also of nested estimators."""
        values: dict[str, str] = {}
        defaults: set[str] = set()
        for name, step in steps:
            values[name] = type(step).__name__
            _flatten(step, f"{name}__", values, defaults)
        return cls(values, frozenset(defaults))

    def differences(self, recorded: dict[str, str]) -> list[str]:
        """How a record differs, in words.

        A parameter that the record does not know, and that is at its default, is newer than the
        record and changes nothing.
        """
        found = []
        for name in sorted(self.values.keys() | recorded.keys()):
            ours, theirs = self.values.get(name), recorded.get(name)
            if ours != theirs and not (theirs is None and name in self.defaults):
                found.append(f"{name} {_said(theirs)} instead of {_said(ours)}")
        return found


@dataclass(frozen=True)
class Run:
    """Identity of a run. Records that agree in all of it are of the same run.

    Attributes
    ----------
    name : str
        Name of the model or training.
    seed : int
        Seed of the network.
    settings : dict of str to str
        Data set, protocol, budget, machine and so on.
    parameters : Parameters
        Parameters of the pipeline.
    """

    name: str
    seed: int
    settings: dict[str, str]
    parameters: Parameters

    @property
    def file_name(self) -> str:
        """Name of the file without suffix: the name, the seed, and a digest of the rest."""
        text = json.dumps([self.settings, self.parameters.values], sort_keys=True)
        return f"{self.name}-seed{self.seed}-{hashlib.sha256(text.encode()).hexdigest()[:10]}"

    def find(self, folder: Path) -> tuple[Path | None, list[str]]:
        """The file of this run, if it was made before, and how others of its name differ."""
        match, mismatches = None, []
        for path in sorted(folder.glob(f"{self.name}-seed{self.seed}-*.json")):
            differences = self.differences(read(path))
            if differences:
                mismatches.append(f"{path.name}: {'; '.join(differences)}")
            else:
                match = path
        return match, mismatches

    def differences(self, record: dict[str, Any]) -> list[str]:
        """How a record differs from this run, in words."""
        theirs = record["settings"]
        found = [
            f"{name} {_said(theirs.get(name))} instead of {_said(value)}"
            for name, value in self.settings.items()
            if theirs.get(name) != value
        ]
        return found + self.parameters.differences(record["parameters"])

    def description(self) -> dict[str, Any]:
        """The identity in the form that is recorded."""
        return {
            "name": self.name,
            "seed": self.seed,
            "settings": self.settings,
            "parameters": self.parameters.values,
        }


def read(path: Path) -> dict[str, Any]:
    """A record as it was written."""
    record: dict[str, Any] = json.loads(path.read_text())
    return record


def write_record(path: Path, record: dict[str, Any]) -> None:
    """Write a record, one line per entry."""
    lines = [f"{json.dumps(key)}: {json.dumps(plain(value))}" for key, value in record.items()]
    write_whole(path, "{\n" + ",\n".join(lines) + "\n}\n")


def plain(value: Any) -> Any:
    """For JSON, which has no NaN, floats of six digits or null."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, float):
        return float(f"{value:.6g}") if math.isfinite(value) else None
    return value


def _flatten(
    estimator: BaseEstimator, prefix: str, values: dict[str, str], defaults: set[str]
) -> None:
    signature = inspect.signature(type(estimator)).parameters
    for name, value in estimator.get_params(deep=False).items():
        if name in _LEFT_OUT:
            continue
        if isinstance(value, BaseEstimator):
            values[prefix + name] = type(value).__name__
            _flatten(value, f"{prefix}{name}__", values, defaults)
            continue
        values[prefix + name] = getattr(value, "__qualname__", None) or repr(value)
        default = signature[name].default
        if value is default or (type(value) is type(default) and repr(value) == repr(default)):
            defaults.add(prefix + name)


def _said(value: str | None) -> str:
    return "unset" if value is None else value
