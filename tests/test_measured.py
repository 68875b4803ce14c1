"""The figures of the README and the documentation are those of benchmarks/results/."""

import importlib.util
import json
import re
import shutil
import sys
from pathlib import Path
from types import ModuleType

import pytest

_ROOT = Path(__file__).resolve().parents[1]
_RESULTS = _ROOT / "benchmarks" / "results"
_CARDS = sorted((_ROOT / "sksep" / "pretrained").glob("*.json"))

pytestmark = pytest.mark.skipif(not _RESULTS.is_dir(), reason="results come with the repository")


def _import(path: Path) -> ModuleType:
    """Import a module that is not in a package."""
    spec = importlib.util.spec_from_file_location(path.stem.lstrip("_"), path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules.setdefault(spec.name, module)  # dataclasses look for it there
    spec.loader.exec_module(module)
    return module


sys.path.append(str(_ROOT / "docs"))
measured = _import(_ROOT / "docs" / "measured.py")
_USED = re.compile(
    r":measured:`(.*?)`|^ *\.\. measured:: *(\S+)|<!-- measured: (.*?) -->", re.MULTILINE
)


def _used_names() -> dict[str, Path]:
    """Names of figures in the README and in the pages, each with one of its pages."""
    docs = _ROOT / "docs"
    pages = [_ROOT / "README.md", *docs.rglob("*.md"), *docs.rglob("*.rst")]
    built = {docs / "_build", docs / "_generated", docs / "gallery"}
    return {
        "".join(match.groups(default="")): page
        for page in pages
        if not built.intersection(page.parents)
        for match in _USED.finditer(page.read_text(encoding="utf-8"))
    }


def test_pages_have_the_measured_figures(capsys: pytest.CaptureFixture[str]) -> None:
    assert measured.main(["--check"]) == 0, capsys.readouterr().err
    for page in measured.PAGES:
        assert "<!-- measured: " in page.read_text(encoding="utf-8"), page


def test_names_in_pages_resolve() -> None:
    used, figures = _used_names(), measured.load()
    assert len(used) > 100
    assert {name: page.name for name, page in used.items() if name not in figures} == {}


def test_names_are_used() -> None:
    """Each is used by itself, or as a model, data set or setting of a score that is used."""
    figures = measured.load()

    def score(name: str) -> tuple[str, str]:
        result = figures[name].files[0].split("-")[0]
        return result, re.sub("_on_(musdb18|songs|mir1k)", "", name).split("_")[-1]

    used = {score(name) for name in _used_names() if name in figures}
    assert [name for name in figures if score(name) not in used] == []


def test_every_name_has_a_value(capsys: pytest.CaptureFixture[str]) -> None:
    figures = measured.load()
    for name, figure in figures.items():
        assert re.fullmatch(r"[a-z0-9_]+", name), name
        if isinstance(figure.content, str):
            assert figure.content, name
            assert "nan" not in figure.content and "None" not in figure.content, name
        else:
            assert figure.content.rows, name
            assert {len(row) for row in figure.content.rows} == {len(figure.content.header)}, name
        assert re.search(r"\.json, \d{4}-\d\d-\d\d, \S", measured.source(figure)), name
    assert measured.main(["--list"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(figures)


def test_values_are_those_of_the_file() -> None:
    figures = measured.load()
    rows = json.loads((_RESULTS / "held_out.json").read_text())["rows"]
    (row,) = (
        row
        for row in rows
        if (row["model"], row["test"]) == ("small", "MIR-1K") and not row["Griffin-Lim iterations"]
    )
    assert figures["small_on_mir1k_gnsdr"].content == f"{row['GNSDR']:.2f}"
    assert figures["small_on_mir1k_gnsdr"].files == ("held_out.json",)


def test_a_figure_that_changed_is_found_and_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "results"
    results.mkdir()
    for file in _RESULTS.glob("*.json"):
        shutil.copy(file, results)
    page = Path(shutil.copy(_ROOT / "README.md", tmp_path))
    arguments = ["--results", str(results), str(page)]
    assert measured.main(["--check", *arguments]) == 0

    held_out = json.loads((results / "held_out.json").read_text())
    for row in held_out["rows"]:
        row["median SDR"] += 1.0
    (results / "held_out.json").write_text(json.dumps(held_out))
    text = page.read_text(encoding="utf-8")
    assert measured.main(["--check", *arguments]) == 1
    assert "README.md:" in (error := capsys.readouterr().err) and "models" in error
    assert page.read_text(encoding="utf-8") == text

    assert measured.main(["--write", *arguments]) == 0
    assert page.read_text(encoding="utf-8") != text
    assert measured.main(["--check", *arguments]) == 0


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("A <!-- measured: one -->2<!-- /measured -->", "has '2', measured is '1'"),
        ("A <!-- measured: one --> 1<!-- /measured -->", "other blanks"),
        ("A <!-- measured: two -->2<!-- /measured -->", "no figure has the name 'two'"),
        ("A\n<!-- measured: one -->1<!-- /measured -->", "begins a line"),
        ("A <!-- measured: one -->1", "1 of '<!-- measured:', 0 pairs"),
        ("A 1<!-- /measured -->", "1 of '<!-- /measured -->', 0 pairs"),
        (
            "A <!-- measured: one -->1, <!-- measured: one -->1<!-- /measured -->",
            "one is not closed",
        ),
        ("<!-- measured: all -->\n\n| a |\n<!-- /measured -->", "has 1 lines, measured are 3"),
    ],
)
def test_what_is_wrong_in_markdown_is_named(text: str, wrong: str) -> None:
    figures = {
        "one": measured.Figure("1", ("a.json",)),
        "all": measured.Figure(measured.Table(("a",), (("1",),)), ("a.json",)),
    }
    assert any(wrong in sentence for sentence in measured.rewrite(text, figures)[1])


def test_text_without_figures_is_left_alone() -> None:
    text = "# Title\n<!-- skip: no figure -->\n5.60 dB\n"
    assert measured.rewrite(text, {}) == (text, [])


@pytest.mark.parametrize("path", _CARDS, ids=lambda path: path.stem)
def test_cards_have_the_figures_of_held_out(path: Path) -> None:
    """The figures are in the sentences of benchmarks/package_models.py."""
    rows = json.loads((_RESULTS / "held_out.json").read_text(encoding="utf-8"))["rows"]
    rows = [row for row in rows if row["model"] == path.stem and row["Griffin-Lim iterations"] == 0]
    expected = {
        f"{row['test']} ({row['tracks']} tracks)": [
            f"{row[key]:.2f}" for key in ("median SDR", "SDR", "mixture SDR", "GNSDR")
        ]
        for row in rows
    }
    if rows[0]["folds"]:
        leakage = (rows[0]["leakage, median"], rows[0]["leakage, 90th percentile"])
        expected["instrumentals"] = [f"{level:.1f}" for level in leakage]
    card = json.loads(path.read_text(encoding="utf-8"))["card"]
    found = {
        test: re.findall(r"-?\d+\.\d+", sentence) for test, sentence in card["figures"].items()
    }
    assert found == expected


def test_published_figures_of_the_page_are_those_of_the_benchmarks() -> None:
    """docs/figures.rst has each figure of _lib/published.py in the row of its system."""
    published = _import(_ROOT / "benchmarks" / "_lib" / "published.py").PUBLISHED
    page = (_ROOT / "docs" / "figures.rst").read_text(encoding="utf-8")
    rows: dict[str, list[list[str]]] = {}
    for row in re.findall(r"^   \* - (.*\n(?:     -.*\n)*)", page, re.MULTILINE):
        system, *cells = (re.sub(r"^     - ?", "", line) for line in row.splitlines())
        # Remarks in parentheses are only in the page.
        rows.setdefault(re.sub(r" \((?!oracle).*\)$", "", system), []).append(cells)
    tables = [table for tables in published.values() for table in tables]
    for table in tables:
        for system, figures in table.rows.items():
            wanted = [None if figure is None else float(figure) for figure in figures]
            assert any(_numbers(cells)[: len(wanted)] == wanted for cells in rows[system]), system


def _numbers(cells: list[str]) -> list[float | None]:
    numbers = (re.fullmatch(r"-?\d+(\.\d+)?", cell) for cell in cells)
    return [None if number is None else float(number[0]) for number in numbers]


def test_sphinx_shows_figures_and_warns_of_unknown_names(tmp_path: Path) -> None:
    pytest.importorskip("sphinx")
    from sphinx.testing.util import SphinxTestApp

    extension = _ROOT / "docs" / "_ext"
    (tmp_path / "conf.py").write_text(
        f"import sys\nsys.path.insert(0, {str(extension)!r})\nextensions = ['measured_figures']\n",
        encoding="utf-8",
    )
    (tmp_path / "index.rst").write_text(
        "Title\n=====\n\n"
        "A median of :measured:`uhnet_sdr_median` dB.\n\n"
        ".. measured:: models\n   :caption: Of *these* recordings.\n\n"
        "And :measured:`absent`, :measured:`models`.\n\n"
        ".. measured:: also_absent\n\n"
        ".. measured:: uhnet_sdr_median\n",
        encoding="utf-8",
    )
    app = SphinxTestApp("html", srcdir=tmp_path)
    try:
        app.build()
        warnings = app.warning.getvalue()
        dependencies = {Path(path).name for path in app.env.dependencies["index"]}
    finally:
        app.cleanup()
    html = (app.outdir / "index.html").read_text(encoding="utf-8")
    figures = measured.load()

    assert (
        f'A median of <span class="measured">{figures["uhnet_sdr_median"].content}</span>' in html
    )
    box = html[html.index('<div class="measured-table') :]
    assert 0 < box.index("<table") < box.index("</table>") < box.index("</div>")
    assert "Of <em>these</em> recordings." in box
    for cell in figures["models"].content.rows[0]:
        assert cell.strip("`") in box
    assert f"Measured: {measured.source(figures['models'])}." in box
    assert {"held_out.json", "measured.py", "cells.py"} <= dependencies

    assert warnings.count("WARNING") == 4, warnings
    for name in ("absent", "also_absent"):
        assert re.search(rf"index\.rst:\d+: WARNING: no measured figure .*'{name}'", warnings)
    assert "'models' is a table" in warnings
    assert "'uhnet_sdr_median' is a value" in warnings
