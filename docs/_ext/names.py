"""Links by name that Sphinx does not find itself: short names of ours, and other projects' pages.

intersphinx downloads an inventory of each project; this knows how each project names its pages, so
that the build needs no network.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.typing import ExtensionMetadata


def _skorch(name: str) -> str:
    module = name.split(".")[1] if name.count(".") > 1 else "net"
    page = {"callbacks": "callbacks", "dataset": "dataset", "helper": "helper"}.get(module, module)
    return f"https://skorch.readthedocs.io/en/stable/{page}.html#{name}"


def _torch(name: str) -> str:
    if name == "torch.Tensor":
        return "https://docs.pytorch.org/docs/stable/tensors.html#torch.Tensor"
    return f"https://docs.pytorch.org/docs/stable/generated/{name}.html"


_PAGES: dict[str, Callable[[str], str]] = {
    "IPython": lambda name: f"https://ipython.readthedocs.io/en/stable/api/index.html#{name}",
    "joblib": lambda name: f"https://joblib.readthedocs.io/en/stable/generated/{name}.html",
    "librosa": lambda name: f"https://librosa.org/doc/latest/generated/{name}.html",
    "matplotlib": lambda name: f"https://matplotlib.org/stable/api/_as_gen/{name}.html",
    "mir_eval": lambda name: f"https://mir-eval.readthedocs.io/latest/#{name}",
    "numpy": lambda name: f"https://numpy.org/doc/stable/reference/generated/{name}.html",
    "pathlib": lambda name: f"https://docs.python.org/3/library/pathlib.html#{name}",
    "scipy": lambda name: f"https://docs.scipy.org/doc/scipy/reference/generated/{name}.html",
    "sklearn": lambda name: f"https://scikit-learn.org/stable/modules/generated/{name}.html",
    "skorch": _skorch,
    "soundfile": lambda name: f"https://python-soundfile.readthedocs.io/#{name}",
    "torch": _torch,
}


def url_of(name: str) -> str | None:
    """The page that documents a dotted name of another project, if it is one that we know."""
    root = name.partition(".")[0]
    if root in _PAGES:
        return _PAGES[root](name)
    value = getattr(builtins, name, None)
    if isinstance(value, type) and issubclass(value, BaseException):
        return f"https://docs.python.org/3/library/exceptions.html#{name}"
    if isinstance(value, type):
        return f"https://docs.python.org/3/library/stdtypes.html#{name}"
    return None


def resolve(
    app: Sphinx, env: BuildEnvironment, node: Any, content: nodes.Element
) -> nodes.Node | None:
    """Turn a Python reference that Sphinx cannot answer into a link, or into plain text.

    Docstrings name what is public by its last name, wherever it is documented. Single backticks
    (of type "obj") also name parameters and attributes that exist but have no entry of their own;
    those stay text.
    """
    if node.get("refdomain") != "py":
        return None
    target = node["reftarget"]
    domain = env.domains.python_domain
    matches = [name for name in domain.objects if name.endswith(f".{target}")]
    if len(matches) == 1:
        return domain.resolve_xref(
            env, node["refdoc"], app.builder, "obj", matches[0], node, content
        )
    url = url_of(target)
    if url is not None:
        return nodes.reference("", "", content, refuri=url, internal=False)
    return content if node["reftype"] == "obj" else None


def setup(app: Sphinx) -> ExtensionMetadata:
    """Register the extension."""
    app.connect("missing-reference", resolve)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
