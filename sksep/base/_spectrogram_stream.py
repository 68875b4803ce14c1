"""Separation by masks of long segments of the spectrogram, at the rate of the track itself."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from sksep.nn.spectral import overlap_add, stft, window
from sksep.utils._arrays import FloatArray

MaskSegment = Callable[[Tensor], Tensor]


class SpectrogramStream:
    """Vocals of one track that arrives in blocks: spectra of segments, masks, inverse, overlap-add.

    Segments follow one another without overlap. The vocals are those of an STFT of the whole track
    with a periodic Hann window and half a window of zeros on both sides, whose segments are masked
    one by one, and its inverse.

    Parameters
    ----------
    mask : callable
        Function of the spectra of a segment, complex of shape (n_channels, n_frames, n_bins), that
        returns masks of the same shape. The last segment may have fewer frames than the others.
    n_channels : int
        Number of channels of the track.
    n_fft, hop_length : int
        Sizes of the STFT in samples; `hop_length` divides `n_fft`.
    segment_frames : int
        Number of frames in a segment.
    """

    def __init__(
        self,
        mask: MaskSegment,
        *,
        n_channels: int,
        n_fft: int,
        hop_length: int,
        segment_frames: int,
    ) -> None:
        self._mask = mask
        self._n_fft, self._hop_length, self._n_frames = n_fft, hop_length, segment_frames
        self.latency = (segment_frames - 1) * hop_length + n_fft
        self._window = window(n_fft, torch.float32, torch.device("cpu"))
        self._n_taken = self._n_given = 0
        margin = n_fft // 2
        # A frame is centered in its window: half a window of zeros comes first, and is dropped.
        self._samples = [np.zeros((n_channels, margin), np.float32)]
        self._n_waiting = self._n_dropped = margin
        # Sums of windowed frames, and of their squared windows, that further frames overlap.
        self._sums = torch.zeros(n_channels + 1, n_fft - hop_length)

    def push(self, samples: FloatArray) -> FloatArray:
        """Take the next samples (n_channels, n), and return the vocals that are complete."""
        self._n_taken += samples.shape[1]
        self._wait(samples)
        vocals = [samples[:, :0]]
        while self._n_waiting >= (self._n_frames - 1) * self._hop_length + self._n_fft:
            vocals.append(self._separate(self._n_frames))
        return self._give(np.concatenate(vocals, axis=1))

    def finish(self) -> FloatArray:
        """End the track, and return the rest: as many samples come out as went in."""
        self._wait(np.zeros((len(self._sums) - 1, self._n_fft // 2), np.float32))
        n_left = 1 + (self._n_waiting - self._n_fft) // self._hop_length
        vocals = []
        for n_frames in (*[self._n_frames] * (n_left // self._n_frames), n_left % self._n_frames):
            if n_frames:
                vocals.append(self._separate(n_frames))
        tail = self._normalized(self._sums)
        return self._give(np.concatenate([*vocals, tail], axis=1))[:, : self._n_taken]

    def _wait(self, samples: FloatArray) -> None:
        self._samples.append(samples)
        self._n_waiting += samples.shape[1]

    def _separate(self, n_frames: int) -> FloatArray:
        """Samples that are complete after the next frames."""
        waiting = np.concatenate(self._samples, axis=1)
        n_complete = n_frames * self._hop_length
        self._samples, self._n_waiting = [waiting[:, n_complete:]], self._n_waiting - n_complete
        length = n_complete - self._hop_length + self._n_fft
        if not waiting[:, :length].any():
            frames = torch.zeros(len(waiting), n_frames, self._n_fft)
        else:
            segment = torch.from_numpy(waiting[:, :length].copy())
            spectra = stft(segment, self._n_fft, self._hop_length, center=False)
            # In place: new memory for large spectra costs more time than the product.
            frames = torch.fft.irfft(spectra.mul_(self._mask(spectra)), self._n_fft)
        frames = torch.cat([frames, self._window.expand(1, n_frames, -1)])
        sums = overlap_add(frames, self._window, self._hop_length)
        sums[:, : self._sums.shape[1]] += self._sums
        self._sums = sums[:, n_complete:].clone()
        return self._normalized(sums[:, :n_complete])

    def _normalized(self, sums: Tensor) -> FloatArray:
        vocals: FloatArray = (sums[:-1] / sums[-1].clamp_min(1e-8)).numpy()
        return vocals

    def _give(self, vocals: FloatArray) -> FloatArray:
        """The vocals without the zeros that came first, and without samples beyond the end."""
        n_dropped = min(self._n_dropped, vocals.shape[1])
        self._n_dropped -= n_dropped
        vocals = vocals[:, n_dropped:][:, : self._n_taken - self._n_given]
        self._n_given += vocals.shape[1]
        return vocals
