"""Rules for the project as a whole: names, imports, versions, files and docstrings."""

import ast
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys
from pathlib import Path

import pytest

import sksep

_ROOT = Path(__file__).resolve().parents[1]
# Modules that are imported with the first name that needs them.
_HEAVY = ("numpy", "sklearn", "skorch", "torch")
# Modules that functions import: they are optional, slow to import or rarely needed.
_LAZY = ("librosa", "matplotlib", "mir_eval", "museval", "stempeg")
# Folders and modules of sksep whose docstrings keep the rule of their first words.
_PLAIN = ("base", "persistence.py", "presets.py", "separators", "training", "transformers", "utils")


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
    """No docstring opens with What, Where or Of, and no error or warning comes "Where"."""
    sections = re.compile(r"(?ms)^(?:Raises|Warns)\n-+\n(.*?)(?=^\w.*\n-+$|\Z)")
    package = Path(sksep.__file__).parent
    found = []
    for path in package.rglob("*.py"):
        if path.relative_to(package).parts[0] in _PLAIN:
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                    doc = ast.get_docstring(node) or ""
                    conditions = "\n".join(sections.findall(doc))
                    if re.search(r"\A(What|Where|Of)\b", doc) or "  Where " in conditions:
                        found.append((path, doc))
    assert found == []


def _imported(code: str, modules: tuple[str, ...]) -> list[str]:
    """Names of those modules that are imported after the code ran in a new process."""
    code += f"\nimport sys; print(*sorted(set({modules!r}) & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return run.stdout.split()


def test_import_is_lean() -> None:
    assert _imported("import sksep", _HEAVY + _LAZY) == []
    assert _imported("from sksep import *", _HEAVY + _LAZY) == sorted(_HEAVY)


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


def test_torch_modules_do_not_import_sklearn() -> None:
    imports = re.compile(r"^\s*(?:from|import) (?:sklearn|skorch)\b", re.MULTILINE)
    files = (_ROOT / "sksep" / "nn").rglob("*.py")
    assert [f.name for f in files if imports.search(f.read_text(encoding="utf-8"))] == []


def test_version_and_marker_of_types() -> None:
    text = (_ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'\nversion = "{sksep.__version__}"\n' in text
    assert (Path(sksep.__file__).parent / "py.typed").is_file()


def test_constraints_pin_the_dependencies() -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.11")
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    project = tomllib.loads((_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    pins = {}
    for line in (_ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            pin = Requirement(line)
            (specifier,) = pin.specifier
            assert specifier.operator == "==", line
            pins[canonicalize_name(pin.name)] = specifier.version
    extras = project["optional-dependencies"]
    every_extra = [text for name, extra in extras.items() if name != "all" for text in extra]
    for text in [*project["dependencies"], *every_extra]:
        wanted = Requirement(text)
        assert wanted.specifier.contains(pins[canonicalize_name(wanted.name)]), text


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
