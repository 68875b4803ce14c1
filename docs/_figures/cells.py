"""Values and tables as text: what all collectors are made of."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]
Columns = Mapping[str, str]  # by name or header, what str.format_map makes of a row


@dataclass(frozen=True)
class Table:
    """Header and rows of cells, all of them text."""

    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def as_markdown(self) -> str:
        lines = [self.header, ("---",) * len(self.header), *self.rows]
        return "\n".join("| " + " | ".join(cells) + " |" for cells in lines)


Named = Iterator[tuple[str, str | Table]]
Collectors = Mapping[tuple[str, ...], Callable[..., Named]]


def number(value: Any, digits: int = 2) -> str:
    """A number; mean and spread of a pair; nothing for what is missing."""
    if isinstance(value, list):
        return " ± ".join(filter(None, (number(part, digits) for part in value)))
    if value is None or math.isnan(value):
        return ""
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def low_to_high(values: Iterable[float], form: str) -> str:
    """The lowest and the highest value, the one nearer to zero first where all are negative.

    Where both look the same, it stands once.
    """
    values = list(values)
    ordered = sorted(values, reverse=max(values) < 0)
    low, high = f"{ordered[0]:{form}}", f"{ordered[-1]:{form}}"
    return low if low == high else f"{low} to {high}"


def slug(text: str) -> str:
    """A part of a name: what is neither letter nor digit becomes an underscore."""
    return re.sub(r"[^a-z0-9]+", "_", text.lower()).strip("_")


def find(rows: Iterable[Row], **wanted: Any) -> Row:
    """The only row with these entries (an underscore stands for a blank)."""
    wanted = {key.replace("_", " "): value for key, value in wanted.items()}
    (row,) = (row for row in rows if all(row[key] == value for key, value in wanted.items()))
    return row


def named(prefix: str, row: Row, columns: Columns) -> Named:
    """A figure for each value of a row that is there: <prefix>_<column>."""
    for name, column in columns.items():
        if (text := column.format_map(row)) not in ("", "nan"):
            yield f"{prefix}_{name}", text


def table(rows: Iterable[Row], columns: Columns) -> Table:
    """A line for each row, a cell for each column."""
    cells = (tuple(column.format_map(row) for column in columns.values()) for row in rows)
    return Table(tuple(columns), tuple(cells))
