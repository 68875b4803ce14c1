"""Utilities: checks of parameters and estimators, arrays, files."""
