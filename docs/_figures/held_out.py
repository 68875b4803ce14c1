"""The models that ship, on artists that they were never trained on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from _figures.cells import Collectors, Named, Row, Table, find, named, slug, table

_WEIGHTS = Path(__file__).resolve().parents[2] / "sksep" / "pretrained"
_TESTS = {"musdb18": "MUSDB18, 7 s", "songs": "whole songs", "mir1k": "MIR-1K"}
_AIM = 6.5  # median SDR
_SCORES = {
    "sdr_median": "{median SDR:.2f}",
    "sdr_mean": "{SDR:.2f}",
    "gnsdr": "{GNSDR:.2f}",
    "mixture_sdr": "{mixture SDR:.2f}",
    "leakage_median": "{leakage, median:.1f}",
    "leakage_90th_percentile": "{leakage, 90th percentile:.1f}",
    "n_tracks": "{tracks}",
}
_HELD_OUT = {
    "model": "{model}",
    "Griffin-Lim iterations": "{Griffin-Lim iterations}",
    "tracks": "{tracks}",
    "SDR, median": "{median SDR:.2f}",
    "SDR, mean": "{SDR:.2f}",
    "GNSDR": "{GNSDR:.2f}",
    "SDR of the mixture, mean": "{mixture SDR:.2f}",
}
_MODELS = {
    "model": "`{model}`",
    "for": "{purpose}",
    "unknown artists: vocals SDR, median (mean)": "{median SDR:.2f} ({SDR:.2f}) dB",
    "leakage of instrumentals": "{leakage, median:.1f} dB",
    "size": "{size} MB",
}
_MODELS_BY_TEST = {
    "model": "{label}",
    "MUSDB18, median SDR": "{musdb18[median SDR]:.2f}",
    "GNSDR": "{musdb18[GNSDR]:.2f}",
    "whole songs, mean SDR": "{songs[SDR]:.2f}",
    "MIR-1K, GNSDR": "{mir1k[GNSDR]:.2f}",
    "leakage: median, one in ten above": (
        "{mir1k[leakage, median]:.1f}, {mir1k[leakage, 90th percentile]:.1f} dB"
    ),
}


def _held_out(result: dict[str, Any]) -> Named:
    """<model>[_griffin_lim][_on_songs, _on_mir1k]_<score>, held_out_on_<test>, and summaries."""
    rows = result["rows"]
    for place, test in _TESTS.items():
        tested = [row for row in rows if row["test"] == test]
        on_place = "" if place == "musdb18" else f"_on_{place}"
        for row in tested:
            griffin_lim = "_griffin_lim" if row["Griffin-Lim iterations"] else ""
            yield from named(slug(row["model"]) + griffin_lim + on_place, row, _SCORES)
        yield f"held_out_on_{place}", table(tested, _HELD_OUT)

    unet, uhnet, uhnet_griffin_lim, small = (
        {place: _tested(rows, test, model, n_iter) for place, test in _TESTS.items()}
        for model, n_iter in (("unet", 0), ("uhnet", 0), ("uhnet", 10), ("small", 0))
    )
    yield "uhnet_below_aim", f"{_AIM - uhnet['musdb18']['median SDR']:.1f}"
    yield "unet_above_uhnet", f"{unet['musdb18']['SDR'] - uhnet['musdb18']['SDR']:.1f}"
    yield "models", _models(unet["musdb18"], uhnet["musdb18"], small["musdb18"])
    lines = (
        {"label": "unet", **unet},
        {"label": "uhnet", **uhnet},
        {"label": "uhnet with 10 Griffin-Lim iterations", **uhnet_griffin_lim},
        {"label": "small", **small},
    )
    yield "models_by_test", table(lines, _MODELS_BY_TEST)


def _tested(rows: list[Row], test: str, model: str, n_iter: int) -> Row:
    rows = [row for row in rows if row["Griffin-Lim iterations"] == n_iter]
    return find(rows, model=model, test=test)


def _models(unet: Row, uhnet: Row, small: Row) -> Table:
    """What ships, what it is for, and how large it is."""
    size = {
        path.stem: f"{path.stat().st_size / 1e6:.1f}" for path in _WEIGHTS.glob("*.safetensors")
    }
    lines = (
        {**unet, "purpose": "songs in general", "size": size["unet"]},
        {**uhnet, "purpose": "songs in general, public recordings alone", "size": size["uhnet"]},
        {**small, "purpose": "old machines, long recordings", "size": size["small"]},
    )
    on_mir1k = (
        "`uhnet-mir1k`, `unet-mir1k`",
        "MIR-1K's published protocol: trained on its 175 training clips alone",
        "(see `sksep models`)",
        "",
        f"{size['uhnet-mir1k']}, {size['unet-mir1k']} MB",
    )
    return Table(tuple(_MODELS), (*table(lines, _MODELS).rows, on_mir1k))


COLLECTORS: Collectors = {("held_out",): _held_out}
