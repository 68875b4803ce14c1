"""Libraries that a command imports only if they are used after all."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from importlib.util import LazyLoader
from types import ModuleType

# scikit-learn imports these, which take longer than the rest of it. It uses them for statistics of
# its models and for tables, which no separation has.
_RARELY_USED = ("scipy.stats", "pandas")


def import_rarely_used_late() -> None:
    """Let what is rarely used be imported when something in it is first used."""
    import torch  # noqa: F401, first, since its import looks at each module that is there

    if not any(isinstance(finder, _LateFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, _LateFinder())


class _LateFinder(MetaPathFinder):
    """Finder of modules whose code runs when one of their attributes is first used."""

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None = None,
        target: ModuleType | None = None,
    ) -> ModuleSpec | None:
        if fullname not in _RARELY_USED:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = LazyLoader(spec.loader)
        return spec
