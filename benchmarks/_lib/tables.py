"""The tables of a comparison, from its records."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from _lib.models import MODELS
from _lib.published import PUBLISHED
from _lib.results import markdown_table

Record = dict[str, Any]

# Columns that the Markdown table leaves out, by the custom of the data set.
_SAID_TWICE = {
    "mir1k": ("SIR", "SAR"),
    "musdb18": ("GSIR", "GSAR"),
    "dsd100": ("GSIR", "GSAR"),
}
# Scores in the rows of the main table.
_SCORES = (
    "GNSDR",
    "SDR",
    "median SDR",
    "SI-SDR",
    "GSIR",
    "GSAR",
    "SIR",
    "SAR",
    "IoU",
    "PSNR, power",
    "PSNR, magnitude",
    "PSNR, magnitude, converted",
    "leakage",
)
_EXPLANATION = (
    "Vocals in dB; {protocol}. Scores that begin with G are means over tracks weighted by length "
    "(GNSDR: less the score of the mixture), the others are plain means. IoU: of the binary masks "
    "over all bins, mean of vocals and accompaniment, in %. PSNR: of the estimated masks against "
    "the true shares of the vocals in power and in magnitude, and against the latter once "
    "converted from power to magnitude, over all bins, in dB. Leakage: level of what is taken for "
    "vocals in the accompaniments alone, relative to them, mean in dB (-100 for silence). Minutes: "
    "of the training, calibration and validation included; a model on a fitted one needs that "
    "one's, too. Times real time: of the whole pipeline, {iterations} Griffin-Lim iterations "
    "included."
)


def main_rows(records: dict[str, list[Record]]) -> list[dict[str, Any]]:
    """One row per model, figures as mean and standard deviation over its seeds."""
    return [_row(name, records[name]) for name in MODELS if name in records]


def main_table(records: dict[str, list[Record]]) -> str:
    """The Markdown table of all models, with a paragraph on the meaning of its columns."""
    some = next(iter(records.values()))[0]
    explanation = _EXPLANATION.format(
        protocol=some["settings"]["scores"], iterations=some["settings"]["iterations"]
    )
    left_out = _SAID_TWICE[some["settings"]["data set"]]
    rows = [
        {name: text for name, text in _texts(row).items() if name not in left_out}
        for row in main_rows(records)
    ]
    return f"{explanation}\n\n{markdown_table(rows)}"


def convergence_rows(records: dict[str, list[Record]]) -> list[dict[str, Any]]:
    """GNSDR at each checkpoint, mean over the seeds, of the models that have checkpoints."""
    rows = []
    for name in MODELS:
        curves = [record["checkpoints"] for record in records.get(name, [])]
        curves = [curve for curve in curves if curve]
        if curves:
            # Budgets in minutes may mean different numbers of steps for different seeds.
            length = min(len(curve) for curve in curves)
            rows.append(
                {
                    "model": MODELS[name].title,
                    **{
                        key: [float(_mean([c[i][key] for c in curves])) for i in range(length)]
                        for key in ("steps", "seconds", "GNSDR")
                    },
                }
            )
    return rows


def convergence_table(records: dict[str, list[Record]]) -> str:
    """Markdown of `convergence_rows`; empty if there are none."""
    rows = convergence_rows(records)
    if not rows:
        return ""
    some = next(record for group in records.values() for record in group if record["checkpoints"])
    shown = [
        {
            "model": row["model"],
            "steps": _join(row["steps"], "{:.0f}"),
            "minutes": _join([seconds / 60.0 for seconds in row["seconds"]], "{:.1f}"),
            "GNSDR": _join(row["GNSDR"], "{:.2f}"),
        }
        for row in rows
    ]
    return (
        "## Convergence\n\nGNSDR during training, of the weights as they were then "
        f"({some['settings']['checkpoints']}).\n\n{markdown_table(shown)}"
    )


def published_tables(data_set: str) -> str:
    """Markdown of the figures of others, one table per protocol."""
    parts = [
        f"{table.caption}\n\n{markdown_table(table.as_rows())}" for table in PUBLISHED[data_set]
    ]
    return "\n\n".join(["## Figures of others", *parts])


def _row(name: str, records: list[Record]) -> dict[str, Any]:
    def figure(group: str, key: str, scale: float = 1.0) -> tuple[float, float]:
        return _spread([record[group].get(key) for record in records], scale)

    return {
        "model": MODELS[name].title,
        "seeds": len(records),
        **{column: figure("scores", column) for column in _SCORES},
        "parameters": records[0]["n_parameters"],
        "minutes": figure("training", "training_seconds", 1.0 / 60.0),
        "steps": figure("training", "steps"),
        "s/step": figure("training", "seconds_per_step"),
        "times real time": figure("scores", "times real time"),
    }


def _texts(row: dict[str, Any]) -> dict[str, str]:
    digits: dict[str, Callable[[float], str]] = {
        "steps": "{:.0f}".format,
        "minutes": "{:.1f}".format,
        "s/step": "{:.3f}".format,
        "leakage": "{:.1f}".format,
        "times real time": "{:.1f}".format,
    }
    texts = {}
    for name, value in row.items():
        if not isinstance(value, tuple):
            texts[name] = str(value)
            continue
        mean, deviation = value
        written = digits.get(name, "{:.2f}".format)
        texts[name] = "" if np.isnan(mean) else written(mean)
        if texts[name] and not np.isnan(deviation):
            texts[name] += f" ± {written(deviation)}"
    return texts


def _spread(values: list[float | None], scale: float) -> tuple[float, float]:
    """Mean of the known values, and standard deviation if there are two or more."""
    known = [value * scale for value in values if value is not None]
    deviation = float(np.std(known, ddof=1)) if len(known) > 1 else float("nan")
    return _mean(known), deviation


def _mean(values: list[float]) -> float:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else float("nan")


def _join(values: list[float], written: str) -> str:
    return ", ".join(written.format(value) for value in values)
