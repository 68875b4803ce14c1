"""Singing-voice separation as scikit-learn estimators."""

import lazy_loader

__version__ = "0.1.0.dev0"

# The public names are those of __init__.pyi; torch and scikit-learn are imported with the first one
# that needs them.
__getattr__, _, __all__ = lazy_loader.attach_stub(__name__, __file__)
__all__ += ["__version__"]


def __dir__() -> list[str]:
    return sorted(__all__)
