"""DemucsSeparator: HTDemucs and its relatives, by the package demucs."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sksep.base._waveform_separator import WaveformSeparator, document_waveforms
from sksep.peers._device import check_device
from sksep.peers._table import downloading, import_package
from sksep.training._options import resolve_device
from sksep.utils._arrays import FloatArray, as_tensor
from sksep.utils._parameters import parameter
from sksep.utils._validation import check_boolean, integer, number, optional


def _check_name(name: str, value: Any) -> None:
    if not isinstance(value, str) or not value:
        raise TypeError(f"{name} must be the name of a model of demucs, got {value!r:.200}.")


def _check_weights(name: str, value: Any) -> None:
    if not isinstance(value, (str, os.PathLike, nn.Module)):
        raise TypeError(
            f"{name} must be a file, a folder or a model of demucs, got {value!r:.200}."
        )


@document_waveforms
@dataclass(kw_only=True, eq=False, repr=False)
class DemucsSeparator(WaveformSeparator):
    """Separate with HTDemucs, or another model of the package demucs.

    HTDemucs [1]_ joins a U-Net of the waveform and one of the spectrogram by a transformer. The
    package is installed by ``pip install "sksep[demucs]"``. Unless `weights` are given, it
    downloads those of `name` when the separator is fitted, and keeps them in its cache.

    Each block is standardized by the mean and the deviation of its mono downmix, as the package
    does with whole tracks, and cut into overlapping segments by the package.

    Parameters
    ----------
    name : str, default="htdemucs"
        Name of the model, such as "htdemucs", "htdemucs_ft" (four times as slow) or "mdx_extra".
    weights : path or module, default=None
        Weights to use instead of a download: a file that the training of demucs wrote (read it only
        if you trust it, since it is a pickle), a folder of such files that holds `name`, or a model
        of demucs itself.
    shifts : int, default=1
        Number of random shifts in time, of up to half a second, whose estimates are averaged. With
        0, nothing is shifted.
    overlap : float, default=0.25
        Share of each segment that the next one repeats, in [0, 1).
    split : bool, default=True
        Whether blocks are cut into segments. HTDemucs takes no longer input than its segments.
    segment : float, default=None
        Length of the segments in seconds. None is that of the model, which is the longest one that
        HTDemucs takes.
    random_state : int or None, default=0
        Seed of the shifts. None draws others each time.
    device : {"auto", "cpu", "cuda", "mps"}, default="auto"
        Device that computes.
    WAVEFORM_PARAMETERS

    Attributes
    ----------
    model_ : torch.nn.Module
        The model of demucs.

    Notes
    -----
    The code of demucs is under the MIT license. Its weights were partly trained on MUSDB18-HQ,
    which is for research.

    References
    ----------
    .. [1] S. Rouard, F. Massa and A. Défossez, "Hybrid transformers for music source separation",
       ICASSP 2023.

    Examples
    --------
    >>> from sksep.peers import DemucsSeparator
    >>> DemucsSeparator(shifts=2, overlap=0.1)
    DemucsSeparator(overlap=0.1, shifts=2)
    """

    name: str = parameter("htdemucs", _check_name)
    weights: Any = parameter(None, optional(_check_weights), is_saved=False)
    shifts: int = parameter(1, integer(0, 1000))
    overlap: float = parameter(0.25, number(0.0, 1.0, include_high=False))
    split: bool = parameter(True, check_boolean)
    segment: float | None = parameter(None, optional(number(0.0, 3600.0, include_low=False)))
    random_state: int | None = parameter(0, optional(integer(0)))
    device: str = parameter("auto", check_device)

    def _load(self) -> nn.Module:
        model = self._made()
        if "vocals" not in getattr(model, "sources", ()):
            raise ValueError(
                f"The model of weights={self.weights!r:.200} or name={self.name!r} separates no "
                "vocals; choose another one."
            )
        return model.to(resolve_device(self.device)).eval()

    def _made(self) -> Any:
        """The model of the parameters."""
        if isinstance(self.weights, nn.Module):
            return self.weights
        owner = type(self).__name__
        if self.weights is None:
            pretrained = import_package("demucs.pretrained", "demucs", owner)
            with downloading(self.name):
                return _model_of_name(pretrained, self.name, None)
        path = Path(self.weights)
        if path.is_dir():
            pretrained = import_package("demucs.pretrained", "demucs", owner)
            return _model_of_name(pretrained, self.name, path)
        if not path.is_file():
            raise FileNotFoundError(f"weights: there is no file or folder {path}; check the path.")
        return import_package("demucs.states", "demucs", owner).load_model(path)

    def _separate_block(self, samples: FloatArray) -> Tensor:
        apply = import_package("demucs.apply", "demucs", type(self).__name__)
        mixture = as_tensor(samples)
        mono = mixture.mean(0)
        mean, deviation = mono.mean(), mono.std(correction=min(1, len(mono) - 1)) + 1e-8
        device = resolve_device(self.device)
        with torch.no_grad(), _seeded(self.random_state):
            estimates = apply.apply_model(
                self.model_,
                ((mixture - mean) / deviation)[None],
                shifts=int(self.shifts),
                split=bool(self.split),
                overlap=float(self.overlap),
                segment=self._segment(),
                device=device,
            )
        vocals: Tensor = estimates[0, list(self.model_.sources).index("vocals")]
        return vocals * deviation + mean

    def _segment(self) -> float | None:
        longest = getattr(self.model_, "max_allowed_segment", None)  # of a bag of models
        if longest is None and type(self.model_).__name__ == "HTDemucs":
            longest = float(self.model_.segment)
        if self.segment is not None and longest is not None and self.segment > longest:
            raise ValueError(
                f"segment must be at most {longest:g} s, the longest input of this model; got "
                f"{self.segment:g}."
            )
        return None if self.segment is None else float(self.segment)

    def _model_rate(self) -> int:
        return int(self.model_.samplerate)

    def _model_channels(self) -> int:
        return int(self.model_.audio_channels)


def _model_of_name(pretrained: Any, name: str, folder: Path | None) -> Any:
    try:
        return pretrained.get_model(name, repo=folder)
    except pretrained.ModelLoadingError as error:
        where = "demucs" if folder is None else str(folder)
        raise ValueError(f"name: {where} has no model {name!r} ({error}).") from error
    except SystemExit as error:  # of demucs, if quantized weights need diffq
        raise ImportError(
            f"The model {name!r} needs the package diffq; install it with pip install diffq."
        ) from error


@contextmanager
def _seeded(seed: int | None) -> Iterator[None]:
    """Seed of the global generator that demucs draws its shifts from. It is put back."""
    state = random.getstate()
    if seed is not None:
        random.seed(int(seed))
    try:
        yield
    finally:
        if seed is not None:
            random.setstate(state)
