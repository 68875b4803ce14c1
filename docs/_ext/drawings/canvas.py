"""Boxes, arrows and text on a page."""

from __future__ import annotations

import itertools
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

# A point is 4/3 pixels: 360 points are 480 pixels, still legible at 370 (a phone).
WIDTH = 360.0
INK, GRAY, EDGE = "#1f2933", "#52606d", "#616e7c"
INPUT, LAYER, OUTPUT, LOSS = "#e4e7eb", "#d0e4f7", "#d5efd9", "#fdebc8"

Point = tuple[float, float]


class Drawing:
    """A page on which positions, sizes and type are all in points, downwards from the top."""

    def __init__(self, height: float, width: float = WIDTH) -> None:
        # White in both themes.
        self.figure = Figure(figsize=(width / 72, height / 72), facecolor="white")
        self.axes: Axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set_xlim(0, width)
        self.axes.set_ylim(height, 0)
        self.axes.axis("off")
        self.height, self.width = height, width

    def box(
        self,
        x: float,
        y: float,
        text: str,
        width: float = 120,
        height: float = 30,
        color: str = LAYER,
        *,
        size: float = 10,
    ) -> None:
        """A labelled box around (x, y); a loss is dashed, as it is there in training only."""
        shape = FancyBboxPatch(
            (x - width / 2, y - height / 2),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=4",
            facecolor=color,
            edgecolor=EDGE,
            linestyle="--" if color == LOSS else "-",
            linewidth=0.9,
        )
        self.axes.add_patch(shape)
        self.text(x, y, text, size=size)

    def text(self, x: float, y: float, text: str, **style: Any) -> None:
        """Text around (x, y)."""
        defaults = {"ha": "center", "va": "center", "color": INK, "linespacing": 1.3, "size": 10}
        self.axes.text(x, y, text, **{**defaults, **style})

    def note(self, x: float, y: float, text: str, **style: Any) -> None:
        """Smaller, gray text."""
        self.text(x, y, text, size=9, color=GRAY, **style)

    def arrow(self, start: Point, end: Point, *, color: str = INK, dashed: bool = False) -> None:
        """A straight arrow."""
        arrow = FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=9,
            color=color,
            linewidth=1.1,
            linestyle="--" if dashed else "-",
            shrinkA=0,
            shrinkB=0,
        )
        self.axes.add_patch(arrow)

    def bent_arrow(self, *points: Point) -> None:
        """A broken line that ends in an arrow."""
        for start, end in itertools.pairwise(points[:-1]):
            self.axes.plot(*zip(start, end, strict=True), color=INK, lw=1.1)
        self.arrow(points[-2], points[-1])
