"""Separators: estimators that extract the vocals."""

import lazy_loader

# The public names are those of __init__.pyi, imported when one is first used: one separator alone
# is loaded faster, since others need further parts of scikit-learn.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
