"""FunctionSeparator: any function from waveforms to waveforms as a separator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy.typing as npt

from sksep.audio._decoding import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE
from sksep.base._waveform_separator import WaveformSeparator, document_waveforms
from sksep.utils._arrays import FloatArray
from sksep.utils._parameters import parameter
from sksep.utils._validation import choice, integer, optional


def _check_function(name: str, value: Any) -> None:
    if not callable(value) or isinstance(value, type):
        raise TypeError(
            f"{name} must be a function from a mixture to its vocals, arrays of shape "
            f"(n_channels, n_samples); got {value!r:.200}."
        )


@document_waveforms
@dataclass(kw_only=True, eq=False, repr=False)
class FunctionSeparator(WaveformSeparator):
    """Separate with a function that maps the mixture to its vocals.

    Parameters
    ----------
    function : callable
        Function of samples (n_channels, n_samples), a float32 array, that returns the vocals in the
        same shape, as an array or a tensor. Functions that are defined in a module can be pickled,
        as searches with several processes require.
    model_rate : int, default=None
        Sample rate in Hz at which the function is called. None is `sample_rate`.
    n_channels : {1, 2}, default=None
        Number of channels that the function takes. None passes the track as it is.
    WAVEFORM_PARAMETERS

    Attributes
    ----------
    model_ : callable
        The function.

    Examples
    --------
    >>> from sksep.datasets import make_songs
    >>> from sksep.peers import FunctionSeparator
    >>> def half(mixture):
    ...     return 0.5 * mixture
    >>> songs = make_songs(1, duration=1.0, random_state=0)
    >>> separator = FunctionSeparator(function=half, sample_rate=16000).fit(songs.mixtures)
    >>> vocals = separator.predict(songs.mixtures)[0]
    >>> bool((vocals == 0.5 * songs.mixtures[0]).all())
    True
    """

    function: Callable[[FloatArray], Any] | None = parameter(None, _check_function, is_saved=False)
    model_rate: int | None = parameter(None, optional(integer(MIN_SAMPLE_RATE, MAX_SAMPLE_RATE)))
    n_channels: int | None = parameter(None, choice(None, 1, 2))

    def _load(self) -> Any:
        return self.function

    def _separate_block(self, samples: FloatArray) -> npt.NDArray[Any]:
        vocals: npt.NDArray[Any] = self.model_(samples)
        return vocals

    def _model_rate(self) -> int:
        return int(self.sample_rate if self.model_rate is None else self.model_rate)

    def _model_channels(self) -> int | None:
        return self.n_channels
