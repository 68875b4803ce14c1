"""Which part of the package imports which."""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

from .canvas import Drawing

_ROOT = Path(__file__).resolve().parents[3]

# The middle of each part from the left, and its purpose.
_PLACES: dict[str, tuple[float, str]] = {
    "cli": (470, "the sksep command"),
    "ensembles": (220, "several as one"),
    "inference": (160, "songs, files, streams"),
    "export": (400, "ONNX"),
    "presets": (280, "settings that fit"),
    "plotting": (60, "pictures and players"),
    "separators": (266, "the estimators"),
    "peers": (385, "other packages' models"),
    "training": (260, "excerpts, skorch"),
    "transformers": (80, "chunks, masks, phases"),
    "base": (290, "batches, inversion"),
    "pretrained": (150, "models that ship"),
    "datasets": (470, "recordings, songs"),
    "metrics": (356, "SDR, IoU, scorers"),
    "activity": (196, "where vocals sound"),
    "persistence": (78, "save and load"),
    "audio": (400, "tracks, caches, stems"),
    "nn": (270, "STFT, networks, losses"),
    "utils": (200, "checks, arrays, files"),
}


def _layers() -> list[set[str]]:
    """The layers of the import contract in pyproject.toml, from the top to the bottom."""
    with open(_ROOT / "pyproject.toml", "rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    (layers,) = (each["layers"] for each in contracts if each["type"] == "layers")
    return [set(re.split(" [|:] ", layer)) for layer in layers]


_LAYERS = _layers()
# The checks at the top and the entry point import everything, and are not drawn.
_ABOVE = _LAYERS[0]
_ROWS = [{name.partition(".")[0] for name in layer} for layer in _LAYERS[1:]]
_ROW_OF = {part: index for index, row in enumerate(_ROWS) for part in row}


def imports_between(package: Path = _ROOT / "sksep") -> dict[str, set[str]]:
    """The parts that each part of the package imports, inside functions or not.

    Raises
    ------
    ValueError
        If a part is in no layer of pyproject.toml or has no place in `_PLACES`, or imports a part
        that is not below it: so parts that import each other always fail.
    """
    imports: dict[str, set[str]] = {}
    for path in sorted(package.rglob("*.py")):
        module = path.relative_to(package).with_suffix("").parts
        part = module[0]
        if part == "__init__" or part in _ABOVE or ".".join(module[:2]) in _ABOVE:
            continue
        if part not in _ROW_OF or part not in _PLACES:
            raise ValueError(
                f"The part {part!r} of {package} must be in a layer of pyproject.toml, and have a "
                f"place in _PLACES of {__file__}."
            )
        others = _imported(path) - {part}
        for other in others:
            if _ROW_OF[other] <= _ROW_OF[part]:
                raise ValueError(
                    f"{path} imports {other!r}, which is not below {part!r}. Move what both need "
                    "into a part below, or move a layer in pyproject.toml."
                )
        imports.setdefault(part, set()).update(others)
    if missing := sorted(_ROW_OF.keys() - imports.keys()):
        raise ValueError(f"The layers of pyproject.toml name what {package} lacks: {missing}.")
    return imports


def _imported(path: Path) -> set[str]:
    """Parts that are imported by ``from sksep...``; public names of sksep itself are not parts."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            package, *inner = node.module.split(".")
            if package == "sksep":
                names.update(inner[:1] or [alias.name for alias in node.names])
    return names & _ROW_OF.keys()


def draw_architecture() -> Drawing:
    """Arrows from each part to those that it imports, without those that follow from others."""
    imports = imports_between()
    row_height = 72.0
    drawing = Drawing(row_height * len(_ROWS) + 22, width=530)
    centre = {part: (_PLACES[part][0], row_height * row + 26) for part, row in _ROW_OF.items()}
    reached: dict[str, set[str]] = {}  # directly or through others
    for part in sorted(imports, key=_ROW_OF.__getitem__, reverse=True):
        indirect = set().union(*(reached[other] for other in imports[part]))
        reached[part] = imports[part] | indirect
        x, y = centre[part]
        for other in sorted(imports[part] - indirect):
            drawing.arrow((x, y + 18), (centre[other][0], centre[other][1] - 18))
    for part, (x, y) in centre.items():
        drawing.box(x, y, "", 112, 36)
        drawing.text(x, y - 7, part, size=9, weight="bold")
        drawing.note(x, y + 8, _PLACES[part][1])
    note = "Arrows: imports; those that follow from others are left out."
    drawing.text(265, drawing.height - 10, note, size=9)
    return drawing
