"""The scripts of examples/ run. Their option `--fast` makes data and training smaller.

Scripts of the gallery, plot_*.py, run when the documentation is built.
"""

import subprocess
import sys
from pathlib import Path

import pytest

_EXAMPLES = sorted((Path(__file__).resolve().parents[1] / "examples").glob("[!p]*.py"))
# Warnings of the package, and those that it attributes to the script, are errors here, too. The
# interpreter's option -W cannot do this, since it takes the name of a module, not of a package.
_RUN = r"""
import runpy, sys, warnings
warnings.filterwarnings("error", module=r"(sksep|__main__)(\.|$)")
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def test_there_are_examples() -> None:
    assert _EXAMPLES


@pytest.mark.slow
@pytest.mark.parametrize("script", _EXAMPLES, ids=lambda script: script.stem)
def test_example_runs(script: Path, tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _RUN, str(script), "--fast"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert run.returncode == 0, run.stdout
