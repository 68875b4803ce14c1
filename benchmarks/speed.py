"""Speed and memory of sksep beside other libraries, on the same cores.

    python benchmarks/speed.py                                # everything: a quarter of an hour
    python benchmarks/speed.py --only griffin-lim --threads 2
    python benchmarks/speed.py --plot                         # draws the last result

Our jobs and the references take turns in one process, so that other work of the machine slows all
of them; a ratio is the median over the turns. The threads are those of torch. Libraries under the
references (BLAS, FFT) choose their own number. The growth of time and memory is measured in a
process for each job. References that cannot be imported are left out and named;
`_lib/references.py` says how to install them.
"""

from __future__ import annotations

import argparse
import json
import sys
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import torch
from _lib.comparisons import COMPARISONS
from _lib.jobs import Job, Jobs
from _lib.measuring import busiest, count_products, exponent, floors, growth, rates, time_in_turns
from _lib.references import reason_missing
from _lib.results import FOLDER, markdown_table, settings, write
from tqdm import tqdm

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "images" / "speed.png"
# Seconds of the tracks whose number grows.
TRACK_SECONDS = 10.0
# Parts of the results.
PARTS = ("comparisons", "growth", "busiest")
# Quantities that grow, and their names in the points.
SIZES = {"length": "seconds", "tracks": "tracks"}

Row = dict[str, Any]


def main() -> None:
    """Measure, print and write, or draw the last result."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="length of the audio")
    parser.add_argument("--repeats", type=int, default=9, help="turns, fewer of long jobs")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="threads of torch")
    parser.add_argument(
        "--lengths", type=float, nargs="*", default=[10, 60, 600, 3600], help="seconds to grow to"
    )
    parser.add_argument("--tracks", type=int, nargs="*", default=[1, 4, 16], help="numbers of them")
    parser.add_argument("--limit", type=float, default=15.0, help="seconds of a call while growing")
    parser.add_argument("--only", default="", help="comparisons whose names hold this text")
    parser.add_argument("--results", type=Path, help="folder of the tables; none with --only")
    parser.add_argument("--plot", action="store_true", help="draw the results that there are")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="file that is drawn")
    options = parser.parse_args()
    folder = options.results or FOLDER
    if options.plot:
        draw(json.loads((folder / "speed.json").read_text()), options.picture)
        return

    names = [name for name in COMPARISONS if options.only in name]
    if not names:
        parser.error(f"--only {options.only!r} matches none of: {'; '.join(COMPARISONS)}")
    record: dict[str, Any] = {
        "options": settings(options),
        "machine": [rates(threads) for threads in options.threads],
        **{part: [] for part in PARTS},
    }
    for name in tqdm(names):
        for part, rows in zip(PARTS, measure(name, options), strict=True):
            record[part] += rows
    if not record["comparisons"]:
        parser.error("No reference of these comparisons is installed.")
    text = tables(record)
    print(text)
    if options.results or not options.only:
        write("speed", record, text, folder)


def measure(name: str, options: argparse.Namespace) -> tuple[list[Row], list[Row], list[Row]]:
    """One comparison: time of turns, growth of the jobs, and the busiest operations of ours."""
    comparison = COMPARISONS[name]
    seconds = options.seconds * comparison.share
    jobs = comparison.make(seconds, 1)
    references = {}
    for reference, job in jobs.references.items():
        if reason := reason_missing(reference):
            print(f"{name}: without {reference}: {reason}", file=sys.stderr)
        else:
            references[reference] = job
    if not references:
        return [], [], []
    compared = compare(name, seconds, jobs, references, options)
    busy = [
        {"name": name, "job": label, "operations": busiest(job)} for label, job in jobs.ours.items()
    ]
    lengths = sorted({seconds, *options.lengths})
    series = {"length": [(each, 1) for each in lengths if each <= comparison.longest]}
    if comparison.takes_many:
        series["tracks"] = [(TRACK_SECONDS, count) for count in options.tracks]
    labels = [*references] if comparison.grows_with else [*jobs.ours, *references]
    del jobs, references  # to free memory while others grow
    grown = [
        grow(name, label, by, sizes, options)
        for label, (by, sizes) in product(labels, series.items())
        if sizes
    ]
    return compared, grown, busy


def compare(
    name: str, seconds: float, jobs: Jobs, references: dict[str, Job], options: argparse.Namespace
) -> list[Row]:
    """Rows of one comparison: each of ours beside each reference, by number of threads."""
    rows = []
    products = {
        label: count_products(job) if jobs.work.products is None else jobs.work.products
        for label, job in jobs.ours.items()
    }
    whole = COMPARISONS[name].share == 1.0
    for threads in options.threads if whole else [max(options.threads)]:
        torch.set_num_threads(threads)
        results = {label: job() for label, job in {**jobs.ours, **references}.items()}
        turns = time_in_turns({**jobs.ours, **references}, options.repeats)
        for ours, reference in product(jobs.ours, references):
            ratios = [slow / fast for fast, slow in zip(turns[ours], turns[reference], strict=True)]
            rows.append(
                {
                    "name": name,
                    "ours": ours,
                    "reference": reference,
                    "audio, s": seconds,
                    "threads": threads,
                    "ours, s": median(turns[ours]),
                    "reference, s": median(turns[reference]),
                    "ratio": median(ratios),
                    "ratios": ratios,
                    "agreement": jobs.agreement(results[ours], results[reference]),
                    "floors, s": floors(jobs.work, products[ours], threads),
                }
            )
    return rows


def grow(name: str, job: str, by: str, sizes: list[tuple[float, int]], options: Any) -> Row:
    """How time and memory of a job grow with the length or the number of tracks."""
    points = growth(name, job, sizes, max(options.threads), options.limit)
    size = SIZES[by]
    return {
        "name": COMPARISONS[name].grows_with or name,
        "job": job,
        "by": by,
        "points": points,
        "exponent of time": exponent(points, size, "time, s"),
        "exponent of memory": exponent(points, size, "memory, MB"),
        "too long": [
            {"seconds": seconds, "tracks": tracks}[size] for seconds, tracks in sizes[len(points) :]
        ],
    }


def tables(record: dict[str, Any]) -> str:
    """All that was measured, in words and Markdown."""
    threads = max(record["options"]["threads"])
    rates = [{key: f"{value:.0f}" for key, value in row.items()} for row in record["machine"]]
    parts = [
        markdown_table([_compared(row, record["growth"]) for row in record["comparisons"]]),
        "Memory is what the peak of one call adds to the process. A limit is the share of our time "
        "that the work which nothing can do without would take at the rates of this machine:",
        markdown_table(rates),
        f"## Growth\n\nEach job in a process of its own, on {threads} threads. The exponents are "
        "slopes of the logarithms: 1 is proportional.",
    ]
    limit = record["options"]["limit"]
    for by, unit in {"length": "s", "tracks": f"tracks of {TRACK_SECONDS:g} s"}.items():
        grown = [row for row in record["growth"] if row["by"] == by]
        sizes = sorted({point[SIZES[by]] for row in grown for point in row["points"]})
        if grown:
            parts.append(markdown_table([_grown(row, sizes, unit, limit) for row in grown]))
    busy = [
        {"comparison": row["name"], "job": row["job"], "largest shares": _busiest(row)}
        for row in record["busiest"]
    ]
    parts += ["## Where our time goes\n\nOn one thread.", markdown_table(busy)]
    return "\n\n".join(parts)


def _compared(row: Row, grown: list[Row]) -> Row:
    """A line of the main table."""
    name = COMPARISONS[row["name"]].grows_with or row["name"]
    memory = {
        series["job"]: point["memory, MB"]
        for series in grown
        for point in series["points"]
        if (series["name"], series["by"]) == (name, "length")
        and point["seconds"] == row["audio, s"]
    }
    limits = {
        name: f"{name} {100 * seconds / row['ours, s']:.0f} %"
        for name, seconds in row["floors, s"].items()
        if seconds > 0.01 * row["ours, s"]
    }
    largest = sorted(limits, key=row["floors, s"].__getitem__, reverse=True)
    return {
        "comparison": row["name"],
        "audio, s": f"{row['audio, s']:g}",
        "ours": row["ours"],
        "reference": row["reference"],
        "threads": row["threads"],
        "ours, s": f"{row['ours, s']:.4f}",
        "reference, s": f"{row['reference, s']:.4f}",
        "ratio": row["ratio"],
        **{
            f"{side}, MB": f"{memory[row[side]]:.0f}" if row[side] in memory else ""
            for side in ("ours", "reference")
        },
        "limits": ", ".join(limits[name] for name in largest),
        "agreement": "; ".join(f"{key} {value:.4g}" for key, value in row["agreement"].items()),
    }


def _grown(row: Row, sizes: list[float], unit: str, limit: float) -> Row:
    """A line of a table of growth."""
    cells = dict.fromkeys(row["too long"], f"over {limit:g} s") | {
        point[SIZES[row["by"]]]: f"{point['time, s']:.3g} s, {point['memory, MB']:.0f} MB"
        for point in row["points"]
    }
    exponents = {
        name: "" if row[name] is None else row[name]
        for name in ("exponent of time", "exponent of memory")
    }
    return {
        "comparison": row["name"],
        "job": row["job"],
        **{f"{size:g} {unit}": cells.get(size, "") for size in sizes},
        **exponents,
    }


def _busiest(row: Row) -> str:
    return ", ".join(f"{each['name']} {100 * each['share']:.0f} %" for each in row["operations"])


def draw(record: dict[str, Any], file: Path) -> None:
    """Time over length, a panel for each comparison: ours drawn through, references dashed."""
    from matplotlib.figure import Figure

    grown = [row for row in record["growth"] if row["by"] == "length" and row["points"]]
    names = list(dict.fromkeys(row["name"] for row in grown))
    ours = {(row["name"], row["ours"]) for row in record["comparisons"]}
    n_columns = min(3, len(names))
    n_rows = -(-len(names) // n_columns)
    figure = Figure(figsize=(4 * n_columns, 2.6 * n_rows), layout="constrained")
    axes = figure.subplots(n_rows, n_columns, squeeze=False, sharex=True, sharey=True)
    for axis, name in zip(axes.flat, names, strict=False):
        for row in grown:
            if row["name"] == name:
                line = "o-" if (name, row["job"]) in ours else "s--"
                lengths = [point["seconds"] for point in row["points"]]
                times = [point["time, s"] for point in row["points"]]
                axis.loglog(lengths, times, line, markersize=3, label=row["job"])
        axis.set_title(name, fontsize=9)
        axis.legend(fontsize=7)
        axis.grid(alpha=0.3)
    for axis in axes.flat[len(names) :]:
        axis.remove()
    figure.supxlabel("seconds of audio")
    figure.supylabel("time in seconds")
    file.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(file, dpi=70)


if __name__ == "__main__":
    main()
