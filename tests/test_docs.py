"""The documentation names everything public, and everything that it names exists."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path

import pytest
from test_project import public_objects

_ROOT = Path(__file__).resolve().parents[1]
_DOCS = _ROOT / "docs"
_EXAMPLES = sorted((_ROOT / "examples").glob("plot_*.py"))


def _listed() -> list[str]:
    """The names in the tables of the API reference."""
    names, module, in_table = [], "", False
    for line in (_DOCS / "api" / "index.rst").read_text(encoding="utf-8").splitlines():
        if line.startswith((".. module:: ", ".. currentmodule:: ")):
            module = line.split()[-1]
        elif line.startswith(".. autosummary::"):
            in_table = True
        elif line and not line.startswith(" "):
            in_table = False
        elif in_table and line.strip() and not line.strip().startswith(":"):
            names.append(f"{module}.{line.strip()}")
    return names


def _resolve(name: str) -> object:
    """The object that a dotted name stands for."""
    parts = name.split(".")
    for n_parts in range(len(parts) - 1, 0, -1):
        try:
            value: object = importlib.import_module(".".join(parts[:n_parts]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[n_parts:]:
            value = getattr(value, attribute)
        return value
    raise ImportError(name)


def test_the_reference_lists_everything_public_once() -> None:
    listed = _listed()
    assert len(set(listed)) == len(listed)
    public = list(public_objects())
    assert sorted(set(public) - set(listed)) == []
    assert sorted(set(listed) - set(public)) == []
    for name in listed:
        _resolve(name)


def test_the_gallery_is_in_order() -> None:
    source = ast.parse((_DOCS / "_ext" / "gallery_order.py").read_text(encoding="utf-8"))
    (order,) = (
        ast.literal_eval(node.value)
        for node in source.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "EXAMPLES"
    )
    assert sorted(order) == [path.name for path in _EXAMPLES]
    assert len(_EXAMPLES) >= 10


@pytest.mark.parametrize("path", _EXAMPLES, ids=lambda path: path.stem)
def test_examples_say_what_they_show(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    doc = ast.get_docstring(ast.parse(text)) or ""
    title, line = doc.splitlines()[:2]
    assert re.fullmatch(r"=+", line), "a title, underlined"
    assert len(line) >= len(title)
    assert text.count("\n# %%") >= 2, "text between the pieces of code"


def test_doctests_of_the_pages_are_collected(request: pytest.FixtureRequest) -> None:
    """The code in the pages runs, and most pages of the guide have some."""
    pages = sorted((_DOCS / "guide").glob("*.rst"))
    with_code = [page for page in pages if ">>> " in page.read_text(encoding="utf-8")]
    assert len(with_code) >= len(pages) // 2
    assert "--doctest-glob=*.rst" in request.config.getini("addopts")
    assert "docs" in request.config.getini("testpaths")
