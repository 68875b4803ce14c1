"""The drawings of the documentation agree with the code."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path as Outline

import sksep

_EXTENSIONS = Path(__file__).resolve().parents[1] / "docs" / "_ext"

pytestmark = pytest.mark.skipif(
    not _EXTENSIONS.is_dir(), reason="the documentation comes with the repository"
)


@pytest.fixture(scope="module")
def drawings() -> ModuleType:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(_EXTENSIONS)
        return importlib.import_module("drawings")


@pytest.fixture
def architecture(drawings: ModuleType) -> ModuleType:
    return sys.modules["drawings.architecture"]


@pytest.fixture
def package(architecture: ModuleType, tmp_path: Path) -> Path:
    """A package with the same parts, which import nothing yet."""
    for name in architecture._ROW_OF:
        (tmp_path / name).mkdir()
        (tmp_path / name / "__init__.py").touch()
    return tmp_path


def _texts(drawing: Any) -> str:
    return "\n".join(text.get_text() for text in drawing.axes.texts)


def test_all_are_written_twice_the_same(drawings: ModuleType, tmp_path: Path) -> None:
    drawings.write_drawings(tmp_path)
    written = {path: path.read_bytes() for path in tmp_path.rglob("*.svg")}
    assert len(written) == len(drawings.DRAWINGS)
    for path in written:
        path.unlink()
    drawings.write_drawings(tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == written


@pytest.mark.parametrize(
    ("name", "separator"),
    [
        ("unet", sksep.UNetSeparator()),
        ("deep_clustering", sksep.DeepClusteringSeparator()),
        ("hybrid_clustering", sksep.HybridClusteringSeparator()),
        ("uhnet", sksep.UHNetSeparator()),
    ],
)
def test_parameters_are_counted(drawings: ModuleType, name: str, separator: Any) -> None:
    network = separator._network(sksep.MelChunker().fit([]).front_end_)
    n_parameters = sum(parameter.numel() for parameter in network.parameters())
    assert f"{n_parameters:,} parameters" in _texts(drawings.DRAWINGS[f"networks/{name}"]())


def test_no_arrow_of_the_architecture_leads_through_a_box(architecture: ModuleType) -> None:
    patches = architecture.draw_architecture().axes.patches
    boxes = [each.get_path().get_extents() for each in patches if isinstance(each, FancyBboxPatch)]
    arrows = [each for each in patches if isinstance(each, FancyArrowPatch)]
    assert boxes and arrows
    for arrow in arrows:
        shaft = Outline(arrow.get_path().to_polygons(closed_only=False)[0])
        # One point less, since an arrow begins and ends on the edges of its own boxes.
        hit = [box for box in boxes if shaft.intersects_bbox(box.padded(-1), filled=False)]
        assert not hit, (shaft, hit)


def test_imports_within_functions_count(architecture: ModuleType, package: Path) -> None:
    source = """
from sksep.nn import spectral
def function():
    from sksep import utils
"""
    (package / "persistence" / "__init__.py").write_text(source, encoding="utf-8")
    assert architecture.imports_between(package)["persistence"] == {"nn", "utils"}


@pytest.mark.parametrize(
    ("file", "line", "names"),
    [
        ("nn/_new.py", "from sksep.training import x", ["nn/_new.py", "'training'", "'nn'"]),
        ("metrics/_new.py", "def f(): from sksep import activity", ["'activity'", "'metrics'"]),
        ("_new.py", "", ["'_new'", "_PLACES"]),
        ("new/__init__.py", "", ["'new'", "_PLACES"]),
    ],
)
def test_what_is_not_in_order_is_named(
    architecture: ModuleType, package: Path, file: str, line: str, names: list[str]
) -> None:
    path = package / file
    path.parent.mkdir(exist_ok=True)
    path.write_text(line, encoding="utf-8")
    with pytest.raises(ValueError) as caught:
        architecture.imports_between(package)
    for name in names:
        assert name in str(caught.value)


def test_what_is_gone_is_named(architecture: ModuleType, package: Path) -> None:
    (package / "presets" / "__init__.py").unlink()
    with pytest.raises(ValueError, match="presets"):
        architecture.imports_between(package)
