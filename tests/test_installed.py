"""The package as users have it: installed, and without a checkout."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[1]
_PIP = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
_OFFLINE = ["--no-index", "--no-deps"]

pytestmark = pytest.mark.slow


def _run(*command: object, folder: Path) -> str:
    """Output of a command that has neither this checkout nor its Python variables."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "PYTEST"))}
    words = list(map(str, command))
    run = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clean")


@pytest.fixture(scope="module")
def python(folder: Path) -> Path:
    """Python of a new environment that has this package, and dependencies from the present one."""
    build = ["--no-build-isolation", "--wheel-dir", folder / "wheels", _ROOT]
    _run(*_PIP, "wheel", *_OFFLINE, *build, folder=folder)
    (wheel,) = (folder / "wheels").iterdir()
    venv.create(folder / "environment", symlinks=os.name != "nt")
    python = folder / "environment" / ("Scripts" if os.name == "nt" else "bin") / "python"
    _run(*_PIP, "--python", python, "install", *_OFFLINE, wheel, folder=folder)
    (site_packages,) = (folder / "environment").rglob("site-packages")
    # This leaves the checkout out, which is on the path by a file that is not read there.
    lent = [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]
    (site_packages / "lent.pth").write_text("\n".join(lent))
    return python


def test_all_files_are_installed(python: Path, folder: Path) -> None:
    code = "import sksep, pathlib; print(pathlib.Path(sksep.__file__).parent)"
    installed = Path(_run(python, "-c", code, folder=folder).strip())
    assert installed.is_relative_to(folder)
    names = [
        {
            str(path.relative_to(package))
            for path in package.rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        for package in (_ROOT / "sksep", installed)
    ]
    assert names[0] == names[1]
    assert {"py.typed", "__init__.pyi"} <= names[1]
    assert sum(name.endswith(".safetensors") for name in names[1]) >= 2


def test_the_installed_package_works(python: Path, folder: Path) -> None:
    code = """
import sksep
from sksep import *
from sksep.pretrained import list_pretrained
for card in list_pretrained():
    model = load_pretrained(card.name, device="cpu")
    print(type(model if card.name in ("unet", "small") else model["separate"]).__name__)
"""
    assert len(_run(python, "-c", code, folder=folder).split()) >= 2
    assert "separate" in _run(python.with_name("sksep"), "--help", folder=folder)


def test_a_separator_of_somebody_else_passes_the_checks(python: Path, folder: Path) -> None:
    """The separator that the guide shows."""
    names = ("band_separator.py", "test_band_separator.py")
    for name in names:
        shutil.copy(_ROOT / "docs" / "guide" / name, folder)
    options = ["-p", "no:cacheprovider", "--rootdir", folder, "-q", "-W", "error:::sksep"]
    printed = _run(python, "-m", "pytest", *options, names[1], folder=folder)
    *_, last = printed.strip().splitlines()
    assert " passed" in last and "skipped" not in last, printed
    assert int(last.split()[0]) >= 60
