"""Export of the network of a pipeline to ONNX, checked in onnxruntime."""

from __future__ import annotations

import inspect
import json
import os
import tempfile
import warnings
from pathlib import Path
from typing import Any

import torch
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted
from torch import Tensor, nn

from sksep.export._settings import settings_of
from sksep.nn.front_end import FLOOR_DECIBELS, FrontEnd
from sksep.separators import NetSeparator
from sksep.transformers import GriffinLimInverter, MaskBuilder, MelChunker
from sksep.utils._files import exists_error, remove_unfinished, write_whole

# Version of the operators. torch 2.2 knows this one, as do all runtimes since 2022.
_OPSET = 17
# Largest difference between the masks of torch and of onnxruntime.
_TOLERANCE = 1e-4
# Name of the entry of the metadata that holds the settings.
_KEY = "sksep"


def export_onnx(pipeline: Any, path: str | os.PathLike[str], *, overwrite: bool = False) -> None:
    """Write the network of a pipeline to an ONNX file, for programs without torch or Python.

    The network turns log-mel chunks into masks of the vocals. Everything else that a program needs
    to separate a song is in the metadata of the file: see Notes. Before the file is written, the
    network runs in onnxruntime, and its masks are compared with those of torch.

    Parameters
    ----------
    pipeline : Pipeline
        Fitted pipeline of a `MelChunker`, a trained separator that makes its masks chunk by chunk
        (U-Net, UH-Net, the mask head of hybrid clustering, or a module of your own), and possibly a
        `GriffinLimInverter`.
    path : str or os.PathLike
        The file to write, by custom with the suffix ``.onnx``.
    overwrite : bool, default=False
        Whether a file that is there may be replaced; until the new one is complete, it stays.

    Raises
    ------
    ImportError
        If onnx or onnxruntime is not installed. They come with ``pip install 'sksep[onnx]'``.
    TypeError
        If the pipeline has other steps, or a separator that clusters the whole track.
    FileExistsError
        If the file is there and `overwrite` is false.
    FileNotFoundError
        If there is no such folder.
    ValueError
        If a network of your own cannot be exported, or returns other masks in onnxruntime.
    OSError
        If the disk is full. The error names the file.

    See Also
    --------
    sksep.save : A file from which sksep loads the pipeline again.

    Notes
    -----
    The input ``chunks`` has the shape (batch, n_frames, n_bands) and holds levels in dB; the output
    ``masks`` has the same shape and values in [0, 1]. Both are float32. The batch may have any
    size, and chunks any number of frames. The standardization of the bands is a part of the
    network.

    The entry ``sksep`` of the metadata is JSON. It has the settings of the spectrogram, the mel
    filters and the weights that carry masks from the bands back to the bins of the STFT, the length
    and the cross-fade of chunks, and the settings of the `GriffinLimInverter`. The guide explains
    them, and has a program that separates with them: :ref:`guide_onnx`. The same pipeline makes the
    same bytes with the same versions of torch and onnx.

    Examples
    --------
    >>> import sksep
    >>> sksep.export_onnx(sksep.load_pretrained("small-v1"), "small.onnx")  # doctest: +SKIP
    """
    path = Path(path)
    if not overwrite and path.exists():
        raise exists_error(path)
    if not path.parent.is_dir():
        raise FileNotFoundError(
            f"There is no folder {path.parent} to export into; create it first."
        )
    chunker, separator, inverter = _steps(pipeline)
    front_end = chunker._front_end()
    separator._check_front_end(front_end, "The pipeline")
    onnx, onnxruntime = _packages()
    network = _Masks(separator).eval()
    model = onnx.load_from_string(_graph(network, front_end, type(separator).__name__))
    settings = settings_of(front_end, separator, inverter)
    onnx.helper.set_model_props(model, {_KEY: json.dumps(settings, sort_keys=True)})
    content = model.SerializeToString(deterministic=True)
    _check_masks(onnxruntime, content, network, front_end)
    remove_unfinished(path.parent, path.name)
    write_whole(path, content, overwrite=overwrite)


class _Masks(nn.Module):
    """The network of a separator with all that lies between chunks in dB and their masks."""

    def __init__(self, separator: NetSeparator) -> None:
        super().__init__()
        self._masks = separator._chunk_masks
        # A plain copy on the CPU of a module that may be compiled or on another device.
        self.module = separator._rebuild(separator.net_.module_.state_dict())

    def forward(self, chunks: Tensor) -> Tensor:
        """Masks (batch, n_frames, n_bands) of chunks in dB."""
        return self._masks(self.module, chunks.clamp_min(FLOOR_DECIBELS))


def _steps(pipeline: Any) -> tuple[MelChunker, NetSeparator, GriffinLimInverter | None]:
    """The steps of a pipeline whose network can be exported, or a TypeError that says why not."""
    if not isinstance(pipeline, Pipeline):
        raise TypeError(
            f"export_onnx takes a fitted Pipeline, got {pipeline!r:.200}. Of the models that ship, "
            "uhnet and small-v1 are pipelines."
        )
    steps = [step for _, step in pipeline.steps]
    steps = [step for step in steps if not isinstance(step, (MaskBuilder, str, type(None)))]
    inverter = steps.pop() if isinstance(steps[-1], GriffinLimInverter) else None
    if (
        len(steps) != 2
        or not isinstance(steps[0], MelChunker)
        or not isinstance(steps[1], NetSeparator)
    ):
        raise TypeError(
            "export_onnx takes a Pipeline of MelChunker, a separator with a trained network and "
            f"possibly GriffinLimInverter; got {pipeline!r:.200}."
        )
    chunker, separator = steps
    if not separator._separates_chunks():
        raise TypeError(
            f"{type(separator).__name__} clusters the bins of whole tracks, so that a network "
            "alone does not make its masks. Export a U-Net, a UH-Net, or a "
            "HybridClusteringSeparator with output='mask'."
        )
    check_is_fitted(separator)
    return chunker, separator, inverter


def _packages() -> tuple[Any, Any]:
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise ImportError(
            "export_onnx needs onnx and onnxruntime, of which one is not installed: "
            "pip install 'sksep[onnx]'."
        ) from error
    return onnx, onnxruntime


def _graph(network: nn.Module, front_end: FrontEnd, name: str) -> bytes:
    """The network in ONNX, traced with one chunk of an odd number of frames.

    No halving of the resolution divides such a number, so that the trace holds the padding. The
    exporter that traces is used in all versions of torch: the other one unrolls recurrent layers
    over the frames, which fixes their number and takes a minute.
    """
    example = torch.full((1, front_end.n_frames | 1, front_end.n_bands), FLOOR_DECIBELS)
    axes = {0: "batch", 1: "frames"}
    options: dict[str, Any] = {
        "input_names": ["chunks"],
        "output_names": ["masks"],
        "dynamic_axes": {"chunks": axes, "masks": axes},
        "opset_version": _OPSET,
    }
    if "dynamo" in inspect.signature(torch.onnx.export).parameters:
        options["dynamo"] = False
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # what the trace may get wrong is checked afterward
        file = Path(folder) / "network.onnx"
        try:
            torch.onnx.export(network, (example,), str(file), **options)
        except Exception as error:  # whatever a network of a user causes
            raise ValueError(
                f"The network of {name} cannot be exported ({type(error).__name__}: "
                f"{error!s:.1000}). It must take any number of frames, and consist of operations "
                "that torch.onnx.export knows."
            ) from error
        return file.read_bytes()


def _check_masks(onnxruntime: Any, content: bytes, network: nn.Module, front_end: FrontEnd) -> None:
    """Raise a ValueError unless onnxruntime returns the masks of torch."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4  # errors are raised below
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    for batch, n_frames in ((2, front_end.n_frames), (1, front_end.n_frames + 3)):
        chunks = torch.rand(batch, n_frames, front_end.n_bands, generator=generator)
        chunks = chunks * FLOOR_DECIBELS
        with torch.inference_mode():
            expected = network(chunks)
        try:
            (masks,) = session.run(["masks"], {"chunks": chunks.numpy()})
            difference = float((torch.from_numpy(masks) - expected).abs().max())
        except Exception as error:  # onnxruntime has errors of its own, which are no OSError
            raise ValueError(
                f"The exported network does not run on {batch} chunks of {n_frames} frames: "
                f"{error!s:.1000}. Networks must take any number of chunks and frames."
            ) from error
        if not difference <= _TOLERANCE:
            raise ValueError(
                f"The exported network returns other masks than torch: they differ by "
                f"{difference:.3g} on {batch} chunks of {n_frames} frames. Leave branches that "
                "depend on values or sizes out of the network."
            )
