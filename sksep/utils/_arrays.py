"""Aliases of array types, and small helpers for arrays."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import torch

FloatArray: TypeAlias = npt.NDArray[np.float32]
DoubleArray: TypeAlias = npt.NDArray[np.float64]
IntArray: TypeAlias = npt.NDArray[np.integer[Any]]
BoolArray: TypeAlias = npt.NDArray[np.bool_]


def read_only(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """A C-contiguous view (a copy only if needed) that cannot be written to."""
    array = np.ascontiguousarray(array).view()
    array.flags.writeable = False
    return array


class ReadOnlyArrays:
    """Base of dataclasses whose arrays stay read-only, also when pickling has lost the flag."""

    def __post_init__(self) -> None:
        assert is_dataclass(self)
        for field in fields(self):
            value = getattr(self, field.name)
            if isinstance(value, np.ndarray):
                object.__setattr__(self, field.name, read_only(value))

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()


def object_array(items: Sequence[Any]) -> npt.NDArray[np.object_]:
    """A 1-D object array of ragged arrays, which scikit-learn can index and concatenate."""
    array = np.empty(len(items), dtype=object)
    for index, item in enumerate(items):  # array[:] = items would broadcast equal lengths
        array[index] = item
    return array


def as_tensor(array: npt.NDArray[Any]) -> torch.Tensor:
    """A tensor that shares the memory of a read-only array. It must not be written to."""
    import torch  # imported here, since it is slow to import and other functions do not need it

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch warns of read-only arrays
        return torch.from_numpy(array)


def evenly_spaced(length: int, limit: int) -> IntArray:
    """At most `limit` evenly spaced indices of a sequence, the first and the last included."""
    return np.unique(np.linspace(0, length - 1, min(length, limit)).round().astype(np.int64))
