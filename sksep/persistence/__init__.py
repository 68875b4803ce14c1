"""Saving and loading estimators as JSON and tensors in one file, never as pickle."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import torch
from sklearn.base import BaseEstimator

from sksep.persistence._checks import check_device
from sksep.persistence._decoder import Decoder
from sksep.persistence._encoder import Encoder
from sksep.persistence._file import pack, unpack
from sksep.utils._files import exists_error, remove_unfinished, write_whole

__all__ = ["load", "save"]


def save(estimator: Any, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write an estimator to one file, to share it or to go on with it later.

    The file is in the safetensors format: the weights as tensors, and a description in JSON of
    the classes, their parameters and what they learned. Nothing in it is executed by `load`. The
    same estimator makes the same bytes each time.

    Parameters
    ----------
    estimator : estimator
        A pipeline, or one of the estimators of sksep, fitted or not.
    path : str or os.PathLike
        The file to write, by custom with the suffix ``.safetensors``.
    overwrite : bool, default=False
        Whether a file that is there may be replaced; until the new one is complete, it stays.

    Raises
    ------
    FileExistsError
        If the file is there and `overwrite` is false.
    FileNotFoundError
        If there is no such folder.
    OSError
        If the disk is full. The error names the file.
    TypeError
        If `estimator` is no estimator.
    ValueError
        If a class, a parameter or a fitted attribute cannot be stored, which the error names, or if
        `load` would refuse the file, for instance because weights are NaN.

    Warns
    -----
    UserWarning
        If parameters were left out: callbacks, pools of recordings, folders of a cache or of
        checkpoints, `RandomState` instances, numbers of processes, and what `net_params` says of
        compilers and of a machine. Predictions do not depend on them; set them again before
        training goes on.

    See Also
    --------
    load : The inverse.

    Notes
    -----
    Of the training history the rows of the epochs are kept, not those of the batches. The running
    averages of the optimizer, twice the size of the weights, are not: a warm start begins them
    anew. Clusterers of scikit-learn are stored as their parameters, since separators fit copies of
    them.

    Examples
    --------
    >>> import sksep
    >>> sksep.save(sksep.UNetSeparator(n_filters=8), "separator.safetensors")
    >>> sksep.load("separator.safetensors")
    UNetSeparator(n_filters=8)
    """
    path = Path(path)
    if not overwrite and path.exists():
        raise exists_error(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {path.parent} to save into; create it first.")
    if isinstance(estimator, type) or not isinstance(estimator, BaseEstimator):
        raise TypeError(f"sksep.save stores estimators, got {estimator!r}.")
    encoder = Encoder()
    description = encoder.estimator(estimator)
    _check_that_it_loads(description, encoder.tensors)
    content = pack(description, encoder.tensors)
    remove_unfinished(path.parent, path.name)
    write_whole(path, content, overwrite=overwrite)
    if encoder.left_out:
        warnings.warn(
            f"The file does not hold {', '.join(encoder.left_out)}. Predictions do not depend on "
            "it; set it again after loading, before training goes on.",
            UserWarning,
            stacklevel=2,
        )


def load(path: str | os.PathLike[str], *, device: str | None = None) -> Any:
    """Read an estimator that `save` wrote.

    Parameters
    ----------
    path : str or os.PathLike
        The file.
    device : {"auto", "cpu", "cuda", "mps"}, default=None
        Device of its separators. None is the one that was saved.

    Returns
    -------
    estimator
        The estimator as it was saved: with its parameters and, if it was fitted, ready to predict
        or to train further. On the same kind of device, predictions are equal to the last bit.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file was not written by `save`, is damaged or was altered; if it was written by a
        newer version in a format that this one cannot read; or if it asks for a class, a parameter,
        a size or weights that are not allowed. The error names the file.

    Warns
    -----
    UserWarning
        If the `device` of a separator is not available, in which case it predicts on the CPU; or if
        numbers of processes and the like were left out, which only files of earlier versions hold.

    See Also
    --------
    save : The inverse.

    Notes
    -----
    Only estimators of sksep and a few of scikit-learn are built, from plain values: loading a
    file does not run code of its author. All parameters are checked, and the sizes of weights are
    compared with those of the network before memory is taken for it. The checksums tell damage, not
    who wrote the file.

    Examples
    --------
    >>> import sksep
    >>> sksep.save(sksep.MelChunker(n_mels=64), "chunker.safetensors")
    >>> sksep.load("chunker.safetensors").n_mels
    64
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path} to load an estimator from.")
    if device is not None:
        check_device("device", device)
    description, tensors = unpack(path)
    decoder = Decoder(tensors, device)
    try:
        estimator = decoder.root(description.get("estimator"))
    except ValueError as error:
        raise ValueError(f"{path} cannot be loaded. {error!s:.1000}") from error
    except Exception as error:  # whatever the values of a file cause
        raise ValueError(
            f"{path} does not describe an estimator that this version of sksep can build "
            f"({type(error).__name__}: {error!s:.1000}). Save it again, or load it with the "
            f"versions that saved it: {description.get('versions')!r:.200}."
        ) from error
    if decoder.unused:
        raise ValueError(
            f"{path} holds tensors that belong to no estimator: {sorted(decoder.unused)!r:.200}. "
            "Save it again."
        )
    if decoder.ignored:
        warnings.warn(
            f"{path} holds {', '.join(decoder.ignored)}, which were left out. Predictions do not "
            "depend on them; if training needs them, set them again before it goes on.",
            UserWarning,
            stacklevel=2,
        )
    return estimator


def _check_that_it_loads(description: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
    """Raise an error if `load` would refuse the file."""
    try:
        Decoder(tensors, device="cpu").root(description)
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(
            f"sksep.save cannot store the estimator, since sksep.load would refuse it: {error}"
        ) from error
