"""The checks behind `sksep.utils.estimator_checks`, by the kind of estimator that they apply to."""
