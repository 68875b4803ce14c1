"""OnnxSeparator: models in ONNX files that map waveforms to waveforms."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from sksep.audio._decoding import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE
from sksep.base._blocks import BlockStream
from sksep.base._streams import VocalsStream
from sksep.base._waveform_separator import WaveformSeparator, document_waveforms
from sksep.peers._table import import_package
from sksep.utils._arrays import FloatArray
from sksep.utils._parameters import parameter
from sksep.utils._validation import check_integer, check_path, choice, integer, optional

# Keys of the metadata of a file.
_RATE, _CHANNELS, _LENGTH = "sample_rate", "n_channels", "segment_length"


@document_waveforms
@dataclass(kw_only=True, eq=False, repr=False)
class OnnxSeparator(WaveformSeparator):
    """Separate with a model in an ONNX file that maps waveforms to waveforms.

    The package onnxruntime, which runs the model, is installed by ``pip install "sksep[onnx]"``.

    The model takes float32 samples of shape (1, n_channels, n_samples) or (n_channels, n_samples).
    It returns the vocals in the same shape, or several sources: (1, n_sources, n_channels,
    n_samples). Its sample rate, number of channels and number of samples are those of the
    parameters, else of the metadata of the file (``sample_rate``, ``n_channels`` and
    ``segment_length``), else of the shape of its input.

    Parameters
    ----------
    path : path
        The file.
    model_rate : int, default=None
        Sample rate of the model in Hz. None is that of the metadata.
    n_channels : {1, 2}, default=None
        Number of channels of the model. None is that of the metadata, or of the input. If it is not
        said there either, the model takes any number.
    segment_length : int, default=None
        Number of samples that the model takes. None is that of the metadata, or of the input. If it
        is not said there either, the model takes any number, and gets blocks of `block_duration`.
        Segments are cross-faded like blocks, and tracks that are shorter are padded with zeros.
    source : int, default=0
        Index of the vocals among several sources.
    device : {"auto", "cpu", "cuda"}, default="auto"
        Device that computes. "auto" is CUDA if onnxruntime has it.
    WAVEFORM_PARAMETERS

    Attributes
    ----------
    model_ : OnnxModel
        The session of onnxruntime.

    Examples
    --------
    >>> from sksep.peers import OnnxSeparator
    >>> OnnxSeparator(path="vocals.onnx", model_rate=44100)
    OnnxSeparator(model_rate=44100, path='vocals.onnx')
    """

    path: str | os.PathLike[str] | None = parameter(None, check_path, is_saved=False)
    model_rate: int | None = parameter(None, optional(integer(MIN_SAMPLE_RATE, MAX_SAMPLE_RATE)))
    n_channels: int | None = parameter(None, choice(None, 1, 2))
    segment_length: int | None = parameter(None, optional(integer(1)))
    source: int = parameter(0, integer(0))
    device: str = parameter("auto", choice("auto", "cpu", "cuda"))

    def _load(self) -> OnnxModel:
        model = OnnxModel(str(self.path), self.device)
        if self.model_rate is None and _RATE not in model.metadata:
            raise ValueError(
                f"{self.path} does not say its sample rate; set model_rate, or write it to the "
                f"metadata of the file as {_RATE!r}."
            )
        return model

    def _separate_block(self, samples: FloatArray) -> npt.NDArray[Any]:
        n_samples = samples.shape[1]
        missing = max(0, (self._segment() or 0) - n_samples)
        vocals = self.model_.run(np.pad(samples, ((0, 0), (0, missing))), self.source)
        return vocals[..., :n_samples]

    def _open_model_stream(self, n_channels: int) -> VocalsStream:
        segment = self._segment()
        if segment is None:
            return super()._open_model_stream(n_channels)
        fade = round(self.fade_duration * self._model_rate())
        if fade > segment // 2:
            longest = segment / self._model_rate() / 2
            raise ValueError(
                f"fade_duration must be at most {longest:g} s, half of a segment of this model; "
                f"got {self.fade_duration:g}."
            )
        return BlockStream(
            lambda block: self._checked(self._separate_block(block), block),
            n_channels,
            block_length=segment,
            fade_length=fade,
        )

    def _segment(self) -> int | None:
        n_samples: int | None = self.model_.n_samples
        return self._said(self.segment_length, _LENGTH, n_samples)

    def _model_rate(self) -> int:
        rate = self._said(self.model_rate, _RATE, None)
        assert rate is not None
        return rate

    def _model_channels(self) -> int | None:
        n_channels: int | None = self.model_.n_channels
        return self._said(self.n_channels, _CHANNELS, n_channels)

    def _said(self, value: int | None, key: str, otherwise: int | None) -> int | None:
        """A parameter, else the value in the metadata, else in the shape of the input."""
        if value is not None:
            return int(value)
        text = self.model_.metadata.get(key)
        if text is None:
            return otherwise
        low, high = {_RATE: (MIN_SAMPLE_RATE, MAX_SAMPLE_RATE), _CHANNELS: (1, 2)}.get(
            key, (1, None)
        )
        try:
            return check_integer(f"{key} in the metadata of {self.path}", int(text), low, high)
        except ValueError as error:
            raise ValueError(f"{self.path} says {key}={text!r} in its metadata. {error}") from error


class OnnxModel:
    """A session of onnxruntime that pickles hold as its file and device.

    Parameters
    ----------
    path : str
        The file.
    device : {"auto", "cpu", "cuda"}
        Device that computes.

    Attributes
    ----------
    metadata : dict of str to str
        Metadata of the file.
    n_channels, n_samples : int or None
        Fixed sizes of the input.

    Raises
    ------
    FileNotFoundError, ValueError
        If there is no such file, or if it is not a model of waveforms.
    """

    def __init__(self, path: str, device: str) -> None:
        runtime = import_package("onnxruntime", "onnx", "OnnxSeparator")
        if not Path(path).is_file():
            raise FileNotFoundError(f"path: there is no file {path}; check the path.")
        self._arguments = (path, device)
        providers = ["CPUExecutionProvider"]
        has_cuda = "CUDAExecutionProvider" in runtime.get_available_providers()
        if device == "cuda" and not has_cuda:
            raise ValueError(
                "device 'cuda' is not available to onnxruntime; install onnxruntime-gpu, or use "
                "'auto' or 'cpu'."
            )
        if has_cuda and device != "cpu":
            providers.insert(0, "CUDAExecutionProvider")
        try:
            self._session = runtime.InferenceSession(path, providers=providers)
        except Exception as error:  # of a class of its own for each kind of damage
            raise ValueError(f"onnxruntime cannot load {path}: {error!s:.500}") from error
        inputs = self._session.get_inputs()
        shape = inputs[0].shape
        if len(inputs) != 1 or len(shape) not in (2, 3):
            raise ValueError(
                f"{path} is not a model of waveforms: it has {len(inputs)} inputs, the first of "
                f"shape {shape}; one input of shape (1, n_channels, n_samples) is needed."
            )
        self._input, self._n_dimensions = inputs[0].name, len(shape)
        self.n_channels, self.n_samples = (
            size if isinstance(size, int) else None for size in shape[-2:]
        )
        if self.n_channels not in (None, 1, 2):
            raise ValueError(f"{path} takes {self.n_channels} channels; only 1 or 2 can be used.")
        self.metadata: dict[str, str] = self._session.get_modelmeta().custom_metadata_map

    def run(self, samples: FloatArray, source: int) -> npt.NDArray[Any]:
        """Vocals of samples (n_channels, n_samples)."""
        batch = samples[None] if self._n_dimensions == 3 else samples
        estimate = np.asarray(self._session.run(None, {self._input: batch})[0])
        if estimate.ndim == 4:
            if source >= estimate.shape[1]:
                raise ValueError(
                    f"source must be below {estimate.shape[1]}, the number of sources of "
                    f"{self._arguments[0]}; got {source}."
                )
            estimate = estimate[:, source]
        return estimate[0] if estimate.ndim == 3 and len(estimate) == 1 else estimate

    def __reduce__(self) -> tuple[Any, ...]:
        return OnnxModel, self._arguments
