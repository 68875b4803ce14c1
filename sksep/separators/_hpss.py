"""HPSSSeparator: separates vocals by harmonic/percussive separation in two stages."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch

from sksep.base._batch import TrackRecord
from sksep.nn import spectral
from sksep.separators._spectral_masks import (
    SpectralMaskSeparator,
    high_pass_gains,
    waveform_mask,
)
from sksep.utils._arrays import FloatArray, as_tensor
from sksep.utils._parameters import parameter
from sksep.utils._validation import integers, number

_BLOCK_SECONDS = 30.0
_OVERLAP = 4


@dataclass(kw_only=True, eq=False, repr=False)
class HPSSSeparator(SpectralMaskSeparator):
    """Separate vocals by harmonic/percussive separation in two stages.

    In a long window the vocals, whose pitch moves, are spread over frequency like percussion, but
    chords are not. In a short window they are harmonic, but drums are not. So the percussive part
    of the first stage is separated again, and the harmonic part of the second is the vocals [1]_.
    Both stages are median filters [2]_ on linear spectrograms of their own. Nothing is learned.

    Parameters
    ----------
    long_window, short_window : float, default=1.0, 0.032
        Lengths of the windows of the two stages in seconds. Hops are a quarter of them. The long
        one is rounded to a multiple of the short one.
    long_kernel, short_kernel : tuple of int, default=(17, 31), (17, 17)
        Lengths of the median filters of the two stages, in frames (for what is harmonic) and bins
        (for what is percussive).
    power : float, default=2.0
        Exponent of the soft masks of both stages.
    high_pass : float, default=100.0
        Frequency in Hz below which there are no vocals. 0 sets no limit.

    Attributes
    ----------
    front_end_ : FrontEnd
        Settings of the `MelChunker` that it was fitted with.

    Notes
    -----
    Long tracks are separated in blocks of 30 s. Their margins are as long as the filters reach.

    References
    ----------
    .. [1] H. Tachibana, N. Ono and S. Sagayama, "Singing voice enhancement in monaural music
       signals based on two-stage harmonic/percussive sound separation on multiple resolution
       spectrograms", IEEE/ACM Transactions on Audio, Speech, and Language Processing 22(1), 2014.
    .. [2] D. FitzGerald, "Harmonic/percussive separation using median filtering", DAFx 2010.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sksep import HPSSSeparator, MelChunker
    >>> from sksep.datasets import make_songs
    >>> songs = make_songs(2, duration=2.0, random_state=0)
    >>> pipeline = make_pipeline(MelChunker(), HPSSSeparator()).fit(songs.mixtures)
    >>> pipeline.predict(songs.mixtures)[0].shape
    (32000,)
    """

    long_window: float = parameter(1.0, number(0.0, 10.0, include_low=False))
    short_window: float = parameter(0.032, number(0.0, 10.0, include_low=False))
    long_kernel: tuple[int, int] = parameter((17, 31), integers(2, 1, 255))
    short_kernel: tuple[int, int] = parameter((17, 17), integers(2, 1, 255))
    power: float = parameter(2.0, number(0.0, 100.0, include_low=False))
    high_pass: float = parameter(100.0, number(0.0))

    def _mask(self, record: TrackRecord) -> npt.NDArray[np.float32]:
        vocals = hpss_vocals(
            record.waveform,
            record.front_end.sample_rate,
            windows=(self.long_window, self.short_window),
            kernels=(self.long_kernel, self.short_kernel),
            power=self.power,
        )
        mask = waveform_mask(vocals, record.waveform, record.front_end)
        return mask * high_pass_gains(record.front_end, self.high_pass)


def hpss_vocals(
    mixture: FloatArray,
    sample_rate: int,
    *,
    windows: tuple[float, float] = (1.0, 0.032),
    kernels: tuple[tuple[int, int], tuple[int, int]] = ((17, 31), (17, 17)),
    power: float = 2.0,
) -> FloatArray:
    """Vocals (n_samples,) of a mono mixture; see `HPSSSeparator`."""
    short_hop = max(1, round(windows[1] * sample_rate / _OVERLAP))
    # A multiple, so that blocks begin on frames of both stages.
    long_hop = short_hop * max(1, round(windows[0] * sample_rate / _OVERLAP / short_hop))
    sizes = _OVERLAP * long_hop, _OVERLAP * short_hop
    reach = sum(
        size + (kernel[0] // 2) * size // _OVERLAP
        for size, kernel in zip(sizes, kernels, strict=True)
    )
    margin = -(-reach // long_hop) * long_hop
    length = max(1, round(_BLOCK_SECONDS * sample_rate / long_hop)) * long_hop
    vocals = np.empty_like(mixture)
    for start in range(0, len(mixture), length):
        first = max(0, start - margin)
        block = mixture[first : start + length + margin]
        block = _part(block, sizes[0], kernels[0], power, harmonic=False)
        block = _part(block, sizes[1], kernels[1], power, harmonic=True)
        vocals[start : start + length] = block[start - first :][:length]
    return vocals


def _part(
    waveform: FloatArray, n_fft: int, kernel: tuple[int, int], power: float, *, harmonic: bool
) -> FloatArray:
    """Harmonic or percussive part of a waveform."""
    from librosa.decompose import hpss

    hop_length = n_fft // _OVERLAP
    spectra = spectral.stft(as_tensor(waveform), n_fft, hop_length)
    found = hpss(
        spectra.abs().numpy().T, kernel_size=(kernel[0], kernel[1]), power=power, mask=True
    )
    mask = torch.tensor(np.ascontiguousarray(found[0 if harmonic else 1].T))
    return spectral.istft(spectra * mask, n_fft, hop_length, n_samples=len(waveform)).numpy()
