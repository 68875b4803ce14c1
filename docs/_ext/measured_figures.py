"""Figures of benchmarks/results/ in pages: the role and the directive ``measured``.

A value in a sentence::

    The median is :measured:`uhnet_sdr_median` dB.

A table, with the result file, its date and its processor under it::

    .. measured:: held_out_on_musdb18
       :caption: Tracks of artists that were never trained on.

``python docs/measured.py --list`` shows the names. A name that is not there is a warning.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective, SphinxRole

_DOCS = Path(__file__).resolve().parents[1]
sys.path.append(str(_DOCS))

import measured  # noqa: E402

_logger = logging.getLogger(__name__)
_figures: dict[str, measured.Figure] = {}


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_role("measured", MeasuredRole())
    app.add_directive("measured", MeasuredDirective)
    app.connect("builder-inited", _load)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def _load(app: Sphinx) -> None:
    _figures.clear()
    _figures.update(measured.load())


def _figure(name: str, env: BuildEnvironment, location: Any) -> measured.Figure | None:
    """The figure, whose files the page depends on from now on."""
    for code in (_DOCS / "measured.py", *(_DOCS / "_figures").glob("*.py")):
        env.note_dependency(str(code))
    figure = _figures.get(name)
    if figure is None:
        _logger.warning(
            "no measured figure has the name %r (python docs/measured.py --list shows all)",
            name,
            location=location,
            type="measured",
        )
        return None
    for file in figure.files:
        env.note_dependency(str(measured.RESULTS / file))
    return figure


class MeasuredRole(SphinxRole):
    """A value, as text."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        figure = _figure(self.text, self.env, self.get_location())
        text = self.text
        if figure is not None and isinstance(figure.content, str):
            text = figure.content
        elif figure is not None:
            _logger.warning(
                "%r is a table: write `.. measured:: %s`",
                self.text,
                self.text,
                location=self.get_location(),
                type="measured",
            )
        return [nodes.inline(self.rawtext, text, classes=["measured"])], []


class MeasuredDirective(SphinxDirective):
    """A table, and where it is from."""

    required_arguments = 1
    option_spec: ClassVar = {"caption": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        figure = _figure(name, self.env, self.get_location())
        if figure is None:
            return []
        if not isinstance(figure.content, measured.Table):
            _logger.warning(
                "%r is a value: write :measured:`%s`",
                name,
                name,
                location=self.get_location(),
                type="measured",
            )
            return []
        table = _table(figure.content)
        if "caption" in self.options:
            children, _ = self.parse_inline(self.options["caption"], lineno=self.lineno)
            table.insert(0, nodes.title(self.options["caption"], "", *children))
        # The container scrolls where the table is wider than the page.
        box = nodes.container("", table, classes=["measured-table"])
        text = f"Measured: {measured.source(figure)}."
        return [box, nodes.paragraph(text, text, classes=["measured-source"])]


def _table(content: measured.Table) -> nodes.table:
    columns = [nodes.colspec(colwidth=1) for _ in content.header]
    head = nodes.thead("", _row(content.header))
    body = nodes.tbody("", *map(_row, content.rows))
    group = nodes.tgroup("", *columns, head, body, cols=len(content.header))
    return nodes.table("", group, classes=["colwidths-auto"])


def _row(cells: tuple[str, ...]) -> nodes.row:
    return nodes.row("", *(nodes.entry("", nodes.paragraph("", "", *_cell(c))) for c in cells))


def _cell(text: str) -> list[nodes.Node]:
    """Text, and what stands between backticks as code."""
    parts = re.split(r"`([^`]*)`", text)
    return [
        nodes.literal(part, part) if i % 2 else nodes.Text(part)
        for i, part in enumerate(parts)
        if part
    ]
