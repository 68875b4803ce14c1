"""Utilities: all estimators, and the checks that they pass."""

import lazy_loader

# The public names are those of __init__.pyi, imported when one is first used: every module of the
# package needs this one, and few need what is public here.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
