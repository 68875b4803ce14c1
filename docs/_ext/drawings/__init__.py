"""Drawings of the networks, of a pipeline's data and of the package, made when the docs are built.

Shapes come from the modules and the transformers themselves, so that no picture says something
else than the code.
"""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.backends.backend_svg import FigureCanvasSVG

from .architecture import draw_architecture
from .canvas import Drawing
from .networks import (
    draw_deep_clustering,
    draw_hybrid_clustering,
    draw_pyramid,
    draw_uhnet,
    draw_unet,
)
from .pipeline import draw_pipeline

DRAWINGS: dict[str, Callable[[], Drawing]] = {
    "networks/unet": draw_unet,
    "networks/deep_clustering": draw_deep_clustering,
    "networks/hybrid_clustering": draw_hybrid_clustering,
    "networks/uhnet": draw_uhnet,
    "networks/uhnet_pyramid": draw_pyramid,
    "networks/pipeline": draw_pipeline,
    "architecture": draw_architecture,
}


def write_drawings(folder: Path) -> None:
    """Write all drawings; files that are the same already stay untouched."""
    for name, draw in DRAWINGS.items():
        svg = BytesIO()
        with matplotlib.rc_context():
            matplotlib.rcdefaults()  # text as paths: no font of a reader can break a label
            matplotlib.rcParams["svg.hashsalt"] = name  # else ids differ from build to build
            FigureCanvasSVG(draw().figure).print_svg(svg, metadata={"Date": None})
        path = folder / f"{name}.svg"
        if not path.exists() or path.read_bytes() != svg.getvalue():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(svg.getvalue())


def setup(app: Any) -> dict[str, Any]:
    """Register with Sphinx."""
    app.connect("builder-inited", lambda app: write_drawings(Path(app.srcdir) / "_generated"))
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
