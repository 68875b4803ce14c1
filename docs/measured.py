"""Named figures from benchmarks/results/*.json, for the README and the documentation.

python docs/measured.py --list      names and values
python docs/measured.py --check     fails where README.md or docs/measurements.md disagree
python docs/measured.py --write     writes the figures into both

In Markdown a figure stands between two comments, a table on lines of its own:
<!-- measured: uhnet_sdr_median -->5.60<!-- /measured -->. In reST there are a role and a directive
of the name ``measured`` (_ext/measured_figures.py).

Names are <what>_<on what>_<score>. The models that ship are named by themselves and tested on
MUSDB18's 7-second sample unless the name says ``on_songs`` or ``on_mir1k``. The names are given in
_figures/, by one function for each result file. Nothing but the standard library is needed.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from _figures import compare, held_out, others
from _figures.cells import Table

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "benchmarks" / "results"
PAGES = (ROOT / "README.md", ROOT / "docs" / "measurements.md")
COLLECTORS = {**held_out.COLLECTORS, **compare.COLLECTORS, **others.COLLECTORS}


@dataclass(frozen=True)
class Figure:
    """A value as text or a table, and the result files that it comes from."""

    content: str | Table
    files: tuple[str, ...]


def load(folder: Path = RESULTS) -> dict[str, Figure]:
    """All figures by name, from the result files in a folder."""
    figures: dict[str, Figure] = {}
    for stems, collect in COLLECTORS.items():
        files = tuple(f"{stem}.json" for stem in stems)
        results = [json.loads((folder / file).read_text(encoding="utf-8")) for file in files]
        for name, content in collect(*results):
            if name in figures:
                raise ValueError(f"Two figures are named {name!r}.")
            figures[name] = Figure(content, files)
    return figures


def source(figure: Figure, folder: Path = RESULTS) -> str:
    """Where a figure comes from, in words: files, dates and processors."""
    words = "benchmarks/results/{file}, {date}, {processor}, {cores} cores"
    results = ((file, json.loads((folder / file).read_text("utf-8"))) for file in figure.files)
    return "; ".join(words.format_map({**result, "file": file}) for file, result in results)


_MARKED = re.compile(r"<!-- measured: (?P<name>.*?) -->(?P<text>.*?)<!-- /measured -->", re.DOTALL)


def rewrite(text: str, figures: Mapping[str, Figure]) -> tuple[str, list[str]]:
    """Markdown with the figures of today, and what was wrong: sentences, after their line."""
    wrong: list[str] = []

    def replace(match: re.Match[str]) -> str:
        name, found, before = match["name"], match["text"], text[: match.start()]
        line = before.count("\n") + 1
        if "<!--" in found:
            wrong.append(f"{line}: {name} is not closed by <!-- /measured -->")
            return match[0]
        if name not in figures:
            wrong.append(f"{line}: no figure has the name {name!r} (--list shows all)")
            return match[0]
        content = figures[name].content
        if isinstance(content, Table):
            # Blank lines, so that every renderer sees where the table begins and ends.
            expected = f"\n\n{content.as_markdown()}\n\n"
        else:
            expected = content
            if before.endswith("\n"):
                # Markdown takes a line that a comment begins for HTML as a whole.
                wrong.append(f"{line}: {name} begins a line; move it behind a word")
        if found != expected:
            wrong.append(f"{line}: {name}: {_difference(found, expected)}")
        return f"<!-- measured: {name} -->{expected}<!-- /measured -->"

    new = _MARKED.sub(replace, text)
    pairs = len(_MARKED.findall(text))
    for kind in ("<!-- measured:", "<!-- /measured -->"):
        if text.count(kind) != pairs:
            wrong.append(f"1: {text.count(kind)} of {kind!r}, {pairs} pairs")
    return new, wrong


def _difference(found: str, expected: str) -> str:
    """The first line that differs, of two texts."""
    lines = found.strip().splitlines(), expected.strip().splitlines()
    for one, other in zip(*lines, strict=False):
        if one != other:
            return f"has {one!r}, measured is {other!r}"
    if len(lines[0]) != len(lines[1]):
        return f"has {len(lines[0])} lines, measured are {len(lines[1])}"
    return "has other blanks around it"


def main(arguments: list[str] | None = None) -> int:
    """List, check or write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    action = parser.add_mutually_exclusive_group(required=True)
    for name in ("--list", "--check", "--write"):
        action.add_argument(name, action="store_true")
    parser.add_argument("--results", type=Path, default=RESULTS, help="folder of the JSON files")
    parser.add_argument("pages", type=Path, nargs="*", default=PAGES, help="Markdown files")
    options = parser.parse_args(arguments)
    figures = load(options.results)
    if options.list:
        for name, figure in figures.items():
            content = figure.content
            if isinstance(content, Table):
                content = f"table: {' | '.join(content.header)} ({len(content.rows)} rows)"
            print(f"{name}: {content}")
        return 0
    wrong: list[str] = []
    for page in options.pages:
        text = page.read_text(encoding="utf-8")
        new, found = rewrite(text, figures)
        if options.write and new != text:
            page.write_text(new, encoding="utf-8")
            found = rewrite(new, figures)[1]  # what writing cannot mend
        wrong += [f"{page.name}:{sentence}" for sentence in found]
    if wrong:
        print("\n".join(wrong), file=sys.stderr)
        print("`python docs/measured.py --write` writes the figures.", file=sys.stderr)
    return int(bool(wrong))


if __name__ == "__main__":
    raise SystemExit(main())
