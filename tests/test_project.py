"""Rules for the project as a whole: names, imports, versions, files and docstrings."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import sksep

_ROOT = Path(__file__).resolve().parents[1]
# Modules that are imported with the first name that needs them.
_HEAVY = ("numpy", "sklearn", "skorch", "torch")
# Modules that functions import: they are optional, slow to import or rarely needed.
_LAZY = ("librosa", "matplotlib", "mir_eval", "museval", "stempeg")


def _public_modules() -> list[str]:
    """The package and its modules without a leading underscore."""
    found = pkgutil.walk_packages(sksep.__path__, "sksep.")
    return ["sksep", *(m.name for m in found if "._" not in m.name)]


def public_objects() -> dict[str, object]:
    """Objects that the package's `__all__` name, each by its shortest path, without modules."""
    found: dict[int, tuple[str, object]] = {}
    for module_name in _public_modules():
        module = importlib.import_module(module_name)
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            if not inspect.ismodule(value) and name != "__version__":
                found.setdefault(id(value), (f"{module_name}.{name}", value))
    return dict(found.values())


def test_public_names_exist() -> None:
    assert sksep.__all__
    for module_name in _public_modules():
        module = importlib.import_module(module_name)
        names = getattr(module, "__all__", [])
        assert len(set(names)) == len(names), module_name
        assert [name for name in names if not hasattr(module, name)] == [], module_name


def test_public_names_are_documented() -> None:
    undocumented, without_example = [], []
    for name, value in public_objects().items():
        doc = inspect.getdoc(value) or ""
        if not doc:
            undocumented.append(name)
        # A result's fields are shown where the function that returns it is documented.
        elif ">>>" not in doc and not (inspect.isclass(value) and issubclass(value, tuple)):
            without_example.append(name)
        if inspect.isclass(value):
            methods = inspect.getmembers(value, inspect.isroutine)
            undocumented += [
                f"{name}.{method_name}"
                for method_name, method in methods
                if not method_name.startswith("_")
                and (getattr(method, "__module__", None) or "").startswith("sksep")
                and not inspect.getdoc(method)
            ]
    assert undocumented == []
    assert without_example == []


def test_docstrings_say_first_what_they_describe() -> None:
    """No docstring opens with What, Where or Of. Conditions of errors begin with If."""
    sections = re.compile(r"(?ms)^(?:Raises|Warns)\n-+\n(.*?)(?=^\w.*\n-+$|\Z)")
    found = []
    for path in Path(sksep.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                doc = ast.get_docstring(node) or ""
                conditions = "\n".join(sections.findall(doc))
                if re.match(r"(What|Where|Of)\b", doc) or "  Where " in conditions:
                    found.append((path, doc))
    assert found == []


def _imported(code: str, modules: tuple[str, ...]) -> list[str]:
    """Names of those modules that are imported after the code ran in a new process."""
    code += f"\nimport sys; print(*sorted(set({modules!r}) & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return run.stdout.split()


def test_import_is_lean() -> None:
    assert _imported("import sksep", _HEAVY + _LAZY) == []
    assert _imported("from sksep import *", _HEAVY + _LAZY) == ["numpy", "sklearn", "torch"]


def test_lazy_names_are_those_of_the_stub() -> None:
    stub = ast.parse((Path(sksep.__file__).with_suffix(".pyi")).read_text(encoding="utf-8"))
    imports = [node for node in stub.body if isinstance(node, ast.ImportFrom)]
    names = [alias for node in imports for alias in node.names]
    # Type checkers export names that are imported with "as"; lazy_loader knows no others.
    assert all(alias.name == alias.asname for alias in names)
    assert sorted(sksep.__all__) == sorted([*(alias.name for alias in names), "__version__"])
    assert dir(sksep) == sorted(sksep.__all__)
    for node in imports:
        for alias in node.names:
            value = getattr(sksep, alias.name)
            if node.module is None:
                assert value is importlib.import_module(f"sksep.{alias.name}")
            else:
                module = importlib.import_module(f"sksep.{node.module}")
                assert value is getattr(module, alias.name)
    with pytest.raises(AttributeError, match="absent"):
        sksep.absent  # noqa: B018


def test_imports_keep_the_contracts(monkeypatch: pytest.MonkeyPatch) -> None:
    cli = pytest.importorskip("importlinter.cli", reason="the extra lint")
    contracts = _pyproject()["tool"]["importlinter"]["contracts"]
    assert {each["type"] for each in contracts} == {"layers", "forbidden"}
    assert {"sklearn", "skorch"} <= set(contracts[-1]["forbidden_modules"])
    placed = {name for layer in contracts[0]["layers"] for name in re.split(" [|:] ", layer)}
    utils = {path.stem for path in (_ROOT / "sksep" / "utils").iterdir()} - {
        "__init__",
        "__pycache__",
    }
    assert {f"utils.{name}" for name in utils} <= placed
    monkeypatch.chdir(_ROOT)
    assert cli.lint_imports(no_cache=True, no_logo=True) == 0


def test_only_presets_stand_directly_in_the_package() -> None:
    modules = {path.stem for path in Path(sksep.__file__).parent.glob("*.py")}
    assert modules - {"__init__", "__main__"} == {"presets"}


def test_functions_are_short() -> None:
    long = []
    for path in sorted(Path(sksep.__file__).parent.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                n_lines = node.end_lineno - node.lineno + 1
                if ast.get_docstring(node):
                    n_lines -= node.body[0].end_lineno - node.body[0].lineno + 1
                if n_lines > 60:
                    long.append(f"{path}:{node.lineno}: {node.name} has {n_lines} lines")
    assert long == []


def test_version_and_marker_of_types() -> None:
    assert _pyproject()["project"]["version"] == sksep.__version__
    assert f"\nversion: {sksep.__version__}\n" in _text("CITATION.cff")
    assert (Path(sksep.__file__).parent / "py.typed").is_file()


def test_python_versions_are_those_that_are_tested() -> None:
    project = _pyproject()["project"]
    prefix = "Programming Language :: Python :: 3."
    minors = [int(c.removeprefix(prefix)) for c in project["classifiers"] if c.startswith(prefix)]
    assert minors == sorted(minors)
    assert project["requires-python"] == f">=3.{minors[0]}"
    supported = _text("docs/support.rst")
    named = {int(minor) for minor in re.findall(r"\b3\.(\d\d)\b", supported)}
    assert set(minors) == named


def test_constraints_fit_the_dependencies() -> None:
    pinned, lowest, newest = map(_pins, ["constraints", "constraints-lowest", "constraints-newest"])
    assert newest == {"torch": pinned["torch"]}
    assert lowest["torch"] == pinned["torch"]
    project = _pyproject()["project"]
    extras = project["optional-dependencies"]
    assert all(name in extras for name in ("test", "lint", "docs"))
    for name, extra in {"": project["dependencies"], **extras}.items():
        for wanted in map(Requirement, [] if name == "all" else extra):
            package = canonicalize_name(wanted.name)
            assert wanted.specifier.contains(pinned[package]), wanted
            if name in ("", "test") and package != "torch":
                (bound,) = (each.version for each in wanted.specifier if each.operator == ">=")
                assert Version(lowest[package]) == Version(bound), wanted


def test_optional_dependencies_are_tested() -> None:
    extras = _pyproject()["project"]["optional-dependencies"]
    names = ("plot", "musdb", "dask", "accelerate", "av", "tags")
    users = {text for name in names for text in extras[name]}
    assert users <= set(extras["test"])


def test_pages_of_the_project_are_linked() -> None:
    contributing = _text("CONTRIBUTING.md")
    for name in ("CODE_OF_CONDUCT.md", "SECURITY.md", "RELEASING.md", "docs/support.rst"):
        assert (_ROOT / name).is_file()
        assert name in contributing, name
    homepage = _pyproject()["project"]["urls"]["Homepage"]
    assert f"repository-code: {homepage}\n" in _text("CITATION.cff")


def _text(name: str) -> str:
    return (_ROOT / name).read_text(encoding="utf-8")


def _pyproject() -> dict[str, Any]:
    return tomllib.loads(_text("pyproject.toml"))


def _pins(name: str) -> dict[str, str]:
    """Versions in a file of constraints, by the name of the package."""
    pins = {}
    for line in _text(f"{name}.txt").splitlines():
        if line and not line.startswith("#"):
            pin = Requirement(line)
            (specifier,) = pin.specifier
            assert specifier.operator == "==", line
            pins[canonicalize_name(pin.name)] = specifier.version
    return pins


def test_no_file_names_a_path_of_a_machine() -> None:
    git = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        run = subprocess.run(git, cwd=_ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    folders = "|".join(["home", "root", "work", "tmp", "Users"])
    machine_path = re.compile(rf"(?<![\w./:>~*)}}\]-])/(?:{folders})/[\w.]")
    binary = {".npz", ".npy", ".png", ".wav", ".flac", ".ogg", ".safetensors"}
    found = []
    for name in filter(None, run.stdout.split("\0")):
        path = _ROOT / name
        if path.suffix in binary or not path.is_file():
            continue
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), start=1):
            if machine_path.search(line):
                found.append(f"{name}:{number}: {line.strip()}")
    assert found == []
