"""All separators on the same recordings: compare_<data set>_<separator>_<score>, and tables."""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from _figures.cells import Collectors, Named, Row, Table, low_to_high, named, number, slug, table

_DIGITS = {"leakage": 1, "minutes": 1, "IoU": 0, "times real time": 0}  # the others have two
_SCORES = {
    "gnsdr": "{GNSDR}",
    "sdr_mean": "{SDR}",
    "si_sdr": "{SI-SDR}",
    "iou": "{IoU}",
    "leakage": "{leakage}",
    "seconds_per_step": "{s/step}",
    "times_real_time": "{times real time}",
    "parameters": "{parameters}",
}
_QUALITY = {
    "separator": "{model}",
    "GNSDR": "{GNSDR}",
    "SDR, mean": "{SDR}",
    "SDR, median": "{median SDR}",
    "SI-SDR": "{SI-SDR}",
}
# Systems of the source report. It does not say which output of the hybrid it scores.
_IN_REPORT = {
    "deep_clustering": "clustering",
    "hybrid_clustering_clusters": "hybrid clustering",
    "hybrid_clustering_mask": "hybrid clustering",
    "unet": "U-Net",
    "uhnet": "UH-Net",
}
_TIME = {
    "separator": "{model}",
    "parameters": "{parameters}",
    "minutes": "{minutes}",
    "s per step": "{s/step}",
    "separation, times real time": "{times real time}",
}
_COMPARISON = {
    "separator": "{model}",
    "MUSDB18: GNSDR": "{GNSDR}",
    "SDR, median": "{median SDR}",
    "leakage": "{leakage}",
    "minutes": "{minutes}",
    "MIR-1K: GNSDR": "{on MIR-1K}",
}


def _separator(row: Row) -> str:
    """unet, uhnet, uhnet_2_levels, hybrid_clustering_mask, ..."""
    model = row["model"].replace("U-Net", "unet").replace("UH-Net", "uhnet")
    return slug(model.replace("the mixture", "mixture").replace(" a ", " "))


def _by_separator(result: dict[str, Any]) -> dict[str, Row]:
    return {_separator(row): row for row in result["rows"]}


def _as_text(row: Row) -> dict[str, str]:
    """Model, scores and parameters of a row."""
    scores = {key: number(row[key], _DIGITS.get(key, 2)) for key in row if type(row[key]) is list}
    parameters = f"{row['parameters']:,}" if row["parameters"] else ""
    return {"model": row["model"], "parameters": parameters, **scores}


def _step_time(rows: dict[str, Row], separator: str) -> float:
    """Seconds per step of training, over the U-Net's."""
    return float(rows[separator]["s/step"][0] / rows["unet"]["s/step"][0])


def _compare(data_set: str, result: dict[str, Any]) -> Named:
    prefix = f"compare_{data_set}"
    rows = _by_separator(result)
    texts = {separator: _as_text(row) for separator, row in rows.items()}
    for separator, row in texts.items():
        yield from named(f"{prefix}_{separator}", row, _SCORES)
    for separator in ("fully_convolutional", "hpss"):
        below = rows["unet"]["GNSDR"][0] - rows[separator]["GNSDR"][0]
        yield f"{prefix}_{separator}_below_unet", f"{below:.1f}"
    share = f"{100 * _step_time(rows, 'fully_convolutional'):.0f} %"
    yield f"{prefix}_fully_convolutional_step_time_percent_of_unet", share
    # GSIR and GSAR weigh by length, where the lengths differ.
    ratios = ("GSIR", "GSAR") if data_set == "mir1k" else ("SIR", "SAR")
    columns = {**_QUALITY, **{key: f"{{{key}}}" for key in (*ratios, "leakage")}}
    yield prefix, table(texts.values(), columns)
    networks = (row for row in texts.values() if row["parameters"])
    yield f"{prefix}_time", table(networks, _TIME)
    yield f"{prefix}_steps", str(result["options"]["steps"])
    yield f"{prefix}_n_tracks", re.findall(r"(\d+) of \d+ test tracks", result["caption"])[0]

    curves = [(row, tuple(map(number, row["GNSDR"]))) for row in result["convergence"]]
    for row, scores in curves:
        yield f"{prefix}_{_separator(row)}_convergence", ", ".join(scores)
    steps = [f"{step:.0f}" for step in curves[0][0]["steps"]]
    yield f"{prefix}_convergence_steps", f"{', '.join(steps[:-1])} and {steps[-1]}"
    header = ("separator", *(f"{step} steps" for step in steps))
    lines = tuple((row["model"], *scores) for row, scores in curves)
    yield f"{prefix}_convergence", Table(header, lines)


def _both(musdb18: dict[str, Any], mir1k: dict[str, Any]) -> Named:
    """Ranges over both data sets."""
    both = {"musdb18": _by_separator(musdb18), "mir1k": _by_separator(mir1k)}

    def scores(score: str, *separators: str) -> list[float]:
        return [rows[name][score][0] for rows in both.values() for name in separators]

    times = (_step_time(rows, "uhnet") for rows in both.values())
    yield "compare_uhnet_step_time_per_unet", low_to_high(times, ".1f")
    plain = scores("GNSDR", "deep_clustering")
    for hybrid in ("hybrid_clustering_clusters", "hybrid_clustering_mask"):
        above = (one - other for one, other in zip(scores("GNSDR", hybrid), plain, strict=True))
        yield f"compare_{hybrid}_above_plain", low_to_high(above, "+.1f")
    leakage = scores("leakage", "deep_clustering", "hybrid_clustering_clusters")
    yield "compare_clusters_leakage", low_to_high(leakage, ".0f")
    for data_set, rows in both.items():
        leakage = [row["leakage"][0] for name, row in rows.items() if name.startswith("u")]
        yield f"compare_{data_set}_unets_leakage", low_to_high(leakage, ".0f")
    networks = [row for rows in both.values() for row in rows.values() if row["parameters"]]
    yield "compare_best_iou_of_networks", f"{max(row['IoU'][0] for row in networks):.0f}"
    psnr = (row[key][0] for row in networks for key in row if key.startswith("PSNR"))
    yield "compare_best_psnr_of_networks", f"{max(psnr):.1f}"

    on_mir1k = {name: _as_text(row)["GNSDR"] for name, row in both["mir1k"].items()}
    lines = (
        {**_as_text(row), "on MIR-1K": on_mir1k.get(name, "")}
        for name, row in both["musdb18"].items()
    )
    yield "comparison", table(lines, _COMPARISON)


def _beside_report(short: dict[str, Any], long: dict[str, Any]) -> Named:
    """report_comparison: the separators of the report, after two numbers of steps."""
    steps = [result["options"]["steps"] for result in (short, long)]
    before, after = (
        {name: _as_text(row) for name, row in _by_separator(result).items()}
        for result in (short, long)
    )
    report = {row["system"]: row["SDR"] for row in long["report"]}
    lines = (
        {
            **after[name],
            "report": report[system],
            "GNSDR before": before[name]["GNSDR"],
            "SDR before": before[name]["SDR"],
        }
        for name, system in _IN_REPORT.items()
    )
    columns = {
        "separator": "{model}",
        "the report: SDR": "{report}",
        f"here, {steps[0]} steps: SDR": "{SDR before}",
        f"here, {steps[1]} steps: SDR": "{SDR}",
        f"GNSDR, {steps[0]} steps": "{GNSDR before}",
        f"GNSDR, {steps[1]} steps": "{GNSDR}",
        f"leakage, {steps[1]} steps": "{leakage}",
    }
    yield "report_comparison", table(lines, columns)


COLLECTORS: Collectors = {
    ("compare-musdb18-500-steps",): partial(_compare, "musdb18_500_steps"),
    ("compare-musdb18-recommended", "compare-musdb18-500-steps"): _beside_report,
    ("compare-musdb18-recommended",): partial(_compare, "musdb18"),
    ("compare-mir1k-recommended",): partial(_compare, "mir1k"),
    ("compare-musdb18-recommended", "compare-mir1k-recommended"): _both,
}
