from . import estimator_checks as estimator_checks
from ._discovery import all_estimators as all_estimators

__all__: list[str]
