"""The file: tensors and a description in JSON, with checksums."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any, NoReturn

import safetensors
import safetensors.torch
import sklearn
import torch

from sksep.utils._files import in_order

_FORMAT_VERSION = 1
# A history of 50,000 epochs fits in. JSON takes up to 50 times as much memory when it is read.
_MOST_CHARACTERS = 2**24
_MOST_TENSORS = 100_000
_TYPES = {
    getattr(torch, name)
    for name in (
        *("float64", "float32", "float16", "bfloat16"),
        *("int64", "int32", "int16", "int8", "uint8", "bool"),
    )
}
_ALTERED = "was altered after it was saved, or is damaged. Copy or save it again."


def pack(estimator: Any, tensors: dict[str, torch.Tensor]) -> bytes:
    """Content of a file, which is the same for the same estimator.

    Parameters
    ----------
    estimator : dict
        Description of the estimator: JSON values.
    tensors : dict of str to Tensor
        Tensors by the names that the description gives them.
    """
    import sksep

    description = {
        "format_version": _FORMAT_VERSION,
        "versions": {
            "sksep": sksep.__version__,
            "scikit-learn": sklearn.__version__,
            "torch": torch.__version__,
        },
        "estimator": estimator,
        "tensors_sha256": digest(tensors),
    }
    text = json.dumps(description, allow_nan=False)
    if len(text) > _MOST_CHARACTERS:
        raise ValueError(
            f"sksep.save cannot store the estimator: its description takes {len(text)} characters "
            f"of at most {_MOST_CHARACTERS}. Shorten its training history."
        )
    metadata = {"sksep": text, "sksep_sha256": text_digest(text)}
    return in_order(safetensors.torch.save(tensors, metadata))


def unpack(path: Path) -> tuple[dict[str, Any], dict[str, torch.Tensor]]:
    """The description and the tensors of a file.

    Raises
    ------
    ValueError
        If the file was not written by `sksep.save`, is damaged or was altered, or if it has a newer
        format.
    """
    metadata, tensors = _read(path)
    text = metadata["sksep"]
    try:
        if len(text) > _MOST_CHARACTERS:
            raise ValueError(f"{len(text)} characters")
        description = json.loads(text, parse_constant=_refuse)
        version = description["format_version"]
        if type(version) is not int or version < 1:
            raise TypeError(f"format {version!r:.100}")
    except (KeyError, RecursionError, TypeError, ValueError) as error:
        raise ValueError(f"The description in {path} {_ALTERED}") from error
    # Before the checksums: a newer format may compute them in another way.
    if version > _FORMAT_VERSION:
        raise ValueError(
            f"{path} is in format {version}, and this sksep reads formats up to {_FORMAT_VERSION}. "
            "Upgrade sksep."
        )
    if metadata.get("sksep_sha256") != text_digest(text):
        raise ValueError(f"The description in {path} {_ALTERED}")
    if description.get("tensors_sha256") != digest(tensors):
        raise ValueError(f"A tensor in {path} {_ALTERED}")
    return description, tensors


def digest(tensors: dict[str, torch.Tensor]) -> str:
    """SHA-256 of names, types, shapes and bytes."""
    found = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        found.update(json.dumps([name, str(tensor.dtype), list(tensor.shape)]).encode())
        found.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def text_digest(text: str) -> str:
    """SHA-256 of the description."""
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path) -> tuple[dict[str, str], dict[str, torch.Tensor]]:
    def damaged(reason: str) -> ValueError:
        return ValueError(
            f"{path} is damaged, or no safetensors file ({reason}). Copy or save it again."
        )

    try:
        with safetensors.safe_open(path, framework="pt", device="cpu") as file:
            metadata = file.metadata() or {}
            names = list(file.keys())
            if len(names) > _MOST_TENSORS:
                raise damaged(f"{len(names)} tensors")
            # Copies, which do not change if another process writes to the file.
            tensors = {name: file.get_tensor(name).clone() for name in names}
    except OSError:
        raise
    except Exception as error:  # of safetensors, or of torch if a shape is absurd
        raise damaged(f"{error!s:.200}") from error
    if "sksep" not in metadata:
        raise ValueError(
            f"{path} holds tensors but no estimator; it was not written by sksep.save."
        )
    unknown = {str(tensor.dtype) for tensor in tensors.values()} - set(map(str, _TYPES))
    if unknown:
        raise damaged(f"tensors of {', '.join(sorted(unknown))}")
    return metadata, tensors


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")
