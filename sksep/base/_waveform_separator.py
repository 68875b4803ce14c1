"""WaveformSeparator: the interface of separators that map waveforms to waveforms."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sksep.base._blocks import BlockStream, ModelStream
from sksep.base._loaded_separator import LoadedSeparator
from sksep.base._streams import VocalsStream
from sksep.utils._arrays import FloatArray
from sksep.utils._parameters import document_shared, parameter
from sksep.utils._validation import number


@dataclass(kw_only=True, eq=False, repr=False)
class WaveformSeparator(LoadedSeparator):
    """Base of separators that map waveforms to waveforms: whole models by themselves.

    They take tracks and return vocals, as a pipeline does. `fit` learns nothing: it checks the
    parameters and the tracks, and makes the model. Tracks are resampled to the rate of the model,
    and separated in blocks that are cross-faded, so that memory does not grow with their length.
    The vocals have the rate, the channels and the length of their track. The level of a track is
    not changed. In silent blocks, the vocals are silent.

    Models of one channel separate each channel on its own. Models of two channels separate pairs of
    channels (0 and 1, 2 and 3, ...). A channel without a partner is doubled, and the mean of its
    two estimates is taken.

    Subclasses implement `_load` and `_separate_block`. If the model is not one of 44.1 kHz stereo,
    they also override `_model_rate` and `_model_channels`. Models that stream by themselves
    override `_open_model_stream` instead of using blocks.

    Parameters
    ----------
    sample_rate : int, default=44100
        Sample rate of tracks given as arrays, in Hz. Files have their own.
    block_duration : float, default=60.0
        Length of the blocks in seconds, at least 1. Shorter blocks need less memory.
    fade_duration : float, default=1.0
        Length of the cross-fades in seconds, from 0 to half of `block_duration`.

    Attributes
    ----------
    model_ : object
        What `_load` returned.

    See Also
    --------
    sksep.peers.FunctionSeparator : The same for a function, without a subclass.

    Examples
    --------
    >>> import numpy as np
    >>> from sksep.base import WaveformSeparator
    >>> from sksep.datasets import make_songs
    >>> class SideSeparator(WaveformSeparator):
    ...     def _load(self):
    ...         return np.array([[0.5, 0.5], [0.5, 0.5]], np.float32)
    ...
    ...     def _separate_block(self, samples):
    ...         return self.model_ @ samples
    >>> songs = make_songs(1, duration=1.0, random_state=0)
    >>> SideSeparator(sample_rate=16000).fit(songs.mixtures).predict(songs.mixtures)[0].shape
    (16000,)
    """

    block_duration: float = parameter(
        60.0,
        number(1.0, 36000.0),
        "float",
        "Length of the blocks in seconds, at least 1. Shorter blocks need less memory.",
    )
    fade_duration: float = parameter(
        1.0,
        number(0.0),
        "float",
        "Length of the cross-fades in seconds, from 0 to half of `block_duration`.",
    )

    @abstractmethod
    def _separate_block(self, samples: FloatArray) -> Any:
        """Vocals of a block (n_channels, n_samples) at the rate of the model, in its shape.

        They may be an array or a tensor of torch.
        """

    def _model_rate(self) -> int:
        """Sample rate of the model in Hz."""
        return 44100

    def _model_channels(self) -> int | None:
        """Number of channels of the model: 1, 2, or None for any number."""
        return 2

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.fade_duration > self.block_duration / 2:
            raise ValueError(
                f"fade_duration must be at most half of block_duration ({self.block_duration:g} "
                f"s), got {self.fade_duration:g} s."
            )

    def _open_stream(
        self, sample_rate: int, n_channels: int, name: str = "the song"
    ) -> VocalsStream:
        """A stream of vocals at any rate; `name` is that of the track, for messages."""
        check_is_fitted(self)
        self._check_parameters()
        return ModelStream(
            self._open_model_stream,
            sample_rate=sample_rate,
            n_channels=n_channels,
            model_rate=self._model_rate(),
            model_channels=self._model_channels(),
            name=f"The model of {type(self).__name__}, for {name},",
        )

    def _open_model_stream(self, n_channels: int) -> VocalsStream:
        """A stream of vocals at the rate of the model. It has as many channels as the model."""
        rate = self._model_rate()
        return BlockStream(
            lambda block: self._checked(self._separate_block(block), block),
            n_channels,
            block_length=round(self.block_duration * rate),
            fade_length=round(self.fade_duration * rate),
        )

    def _checked(self, vocals: Any, block: FloatArray) -> FloatArray:
        """The vocals that the model returned, as an array of the shape of the block."""
        owner = f"The model of {type(self).__name__}"
        if hasattr(vocals, "detach"):  # a tensor of torch
            vocals = vocals.detach().cpu().numpy()
        array = np.asarray(vocals)
        if array.dtype.kind not in "fiu":
            raise TypeError(
                f"{owner} returned {type(vocals).__name__} of dtype {array.dtype}; it must return "
                "real samples."
            )
        if array.shape != block.shape:
            raise ValueError(
                f"{owner} returned the shape {array.shape} for a block of shape {block.shape}; it "
                "must return vocals in the shape of the block."
            )
        return array.astype(np.float32, copy=False)


document_waveforms = document_shared(WaveformSeparator, "WAVEFORM_PARAMETERS", inherited=True)
