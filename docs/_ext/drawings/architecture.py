"""Which part of the package imports which."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path

from .canvas import Drawing

PACKAGE = Path(__file__).resolve().parents[3] / "sksep"

# Where each part is drawn from the left, and what it is: a part imports from rows below only.
_ROWS: list[dict[str, tuple[float, str]]] = [
    {"cli": (265, "the sksep command")},
    {"inference": (332, "songs, files, streams"), "presets": (132, "settings that fit")},
    {"plotting": (400, "pictures and players")},
    {"separators": (150, "the estimators")},
    {"training": (71, "excerpts, skorch"), "transformers": (229, "chunks, masks, phases")},
    {"base": (200, "batches, inversion"), "pretrained": (464, "models that ship")},
    {
        "datasets": (71, "recordings, songs"),
        "metrics": (203, "SDR, IoU, scorers"),
        "activity": (335, "where vocals sound"),
        "persistence": (464, "save and load"),
    },
    {"audio": (150, "tracks, caches, stems"), "nn": (350, "STFT, networks, losses")},
    {"utils": (250, "checks, arrays, files")},
]
_ROW_OF = {part: index for index, row in enumerate(_ROWS) for part in row}


def imports_between(package: Path = PACKAGE) -> dict[str, set[str]]:
    """The parts that each part of the package imports.

    An import within a function may go upwards, as then nothing is loaded with the part; it is
    left out.

    Raises
    ------
    ValueError
        Where a part has no place in `_ROWS`, or imports one that is not below it: so parts that
        import each other always fail.
    """
    imports: dict[str, set[str]] = {}
    for path in sorted(package.rglob("*.py")):
        part = path.relative_to(package).parts[0].removesuffix(".py")
        if part in ("__init__", "__main__"):
            continue
        if part not in _ROW_OF:
            raise ValueError(f"The part {part!r} of {package} has no place in _ROWS of {__file__}.")
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for other in _imported(tree.body) - {part}:
            if _ROW_OF[other] <= _ROW_OF[part]:
                raise ValueError(
                    f"{path} imports {other!r}, which is not below {part!r}. Move what both need "
                    f"into a part below, or move a row in _ROWS of {__file__}."
                )
        below = {each for each in _imported(ast.walk(tree)) if _ROW_OF[each] > _ROW_OF[part]}
        imports.setdefault(part, set()).update(below)
    if missing := sorted(_ROW_OF.keys() - imports.keys()):
        raise ValueError(f"_ROWS of {__file__} names what {package} does not have: {missing}.")
    return imports


def _imported(nodes: Iterable[ast.AST]) -> set[str]:
    """Parts that are imported by ``from sksep...``; public names of sksep itself are not parts."""
    names: set[str] = set()
    for node in nodes:
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
    centre = {
        part: (x, row_height * index + 26)
        for index, row in enumerate(_ROWS)
        for part, (x, _) in row.items()
    }
    reached: dict[str, set[str]] = {}  # directly or through others
    for part in sorted(imports, key=_ROW_OF.__getitem__, reverse=True):
        indirect = set().union(*(reached[other] for other in imports[part]))
        reached[part] = imports[part] | indirect
        x, y = centre[part]
        for other in sorted(imports[part] - indirect):
            drawing.arrow((x, y + 18), (centre[other][0], centre[other][1] - 18))
    for row in _ROWS:
        for part, (x, says) in row.items():
            y = centre[part][1]
            drawing.box(x, y, "", 122, 36)
            drawing.text(x, y - 7, part, size=9, weight="bold")
            drawing.note(x, y + 8, says)
    note = "Arrows: imports; those that follow from others are left out."
    drawing.text(265, drawing.height - 10, note, size=9)
    return drawing
