"""Settings that tests and doctests share: no windows, few threads, and where recordings are."""

import importlib.util
import os
import tempfile
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parent

# The code in the pages is tested. The scripts that build them, and built files, are not.
collect_ignore_glob = ["docs/*.py", "docs/_*", "docs/api/generated/*", "docs/gallery/*"]

if importlib.util.find_spec("onnxruntime") is None:
    collect_ignore_glob.append("docs/guide/*onnx*")

# Set before torch and matplotlib are imported; examples and joblib workers inherit it.
os.environ["MPLBACKEND"] = "Agg"
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"
    # Two workers that compile librosa's functions at once can damage numba's files in
    # site-packages, which then crash every process that loads them.
    os.environ["NUMBA_CACHE_DIR"] = tempfile.mkdtemp(prefix="numba-")

# Absolute, because tests change their working directory.
if os.environ.get("SKSEP_DATA_HOME"):
    os.environ["SKSEP_DATA_HOME"] = str(Path(os.environ["SKSEP_DATA_HOME"]).expanduser().resolve())
elif (_ROOT.parent / "shared" / "data").is_dir():
    os.environ["SKSEP_DATA_HOME"] = str(_ROOT.parent / "shared" / "data")


@pytest.fixture(autouse=True)
def _doctest_in_empty_folder(request: pytest.FixtureRequest) -> None:
    """Run each docstring's examples in a folder of their own, where they may write files."""
    if isinstance(request.node, pytest.DoctestItem):
        request.getfixturevalue("monkeypatch").chdir(request.getfixturevalue("tmp_path"))
