"""Levels of vocals and mixture in short frames, measured block by block."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sksep.utils._arrays import FloatArray, IntArray
from sksep.utils._validation import check_integer

FRAMES_PER_SECOND = 50
FRAME_HOP = 1.0 / FRAMES_PER_SECOND  # seconds; frames overlap by half
FRAME_LENGTH = 2.0 * FRAME_HOP
# Level of digital silence in dB, far below that of any recording.
SILENCE = -200.0

# Edges of the bands in Hz. Songs at 16 kHz and at 48 kHz have all of them.
_EDGES = (80.0, 200.0, 400.0, 800.0, 1600.0, 3200.0, 6400.0)
N_BANDS = len(_EDGES) - 1
# Frames per Fourier transform, which take a few megabytes at any sample rate.
_BATCH = 500


class LevelMeter:
    """Measure the levels of vocals and mixture in a song that arrives in blocks.

    Frames are 40 ms long and begin every 20 ms, the first one with the song. A frame that the end
    of the song does not fill is left out, as in the labels of MIR-1K. The level of a frame is the
    mean square of the mean over channels under a Hann window, in six bands between 80 and 6400 Hz,
    most of them an octave wide.

    Parameters
    ----------
    sample_rate : int
        Sample rate in Hz, at least 1000.

    Raises
    ------
    ValueError
        If `sample_rate` is below 1000.

    Examples
    --------
    >>> import numpy as np
    >>> from sksep.activity import LevelMeter
    >>> tone = np.sin(2 * np.pi * 1000 * np.arange(8000) / 8000)
    >>> meter = LevelMeter(8000)
    >>> meter.add(tone[:5000], 0.1 * tone[:5000])
    >>> meter.add(tone[5000:], 0.1 * tone[5000:])
    >>> meter.levels().shape
    (49, 2, 6)
    >>> meter.levels()[0, :, 3].round(1)
    array([-23.,  -3.], dtype=float32)
    """

    def __init__(self, sample_rate: int) -> None:
        check_integer("sample_rate", sample_rate, 1000)
        self.sample_rate = sample_rate
        self._length = 2 * sample_rate // FRAMES_PER_SECOND
        self._window = np.hanning(self._length + 1)[:-1].astype(np.float32)
        frequencies = np.fft.rfftfreq(self._length, 1.0 / sample_rate)
        in_band = np.digitize(frequencies, _EDGES)[:, None] == np.arange(1, N_BANDS + 1)
        # By Parseval's theorem. Each bin stands for its negative frequency, too.
        scale = 2.0 / (self._length * np.square(self._window, dtype=float).sum())
        self._bands = (scale * in_band).astype(np.float32)
        # Vocals and mixture from sample `_start` of the song on.
        self._waiting = np.zeros((2, 0), np.float32)
        self._start = 0
        self._n_frames = 0
        self._levels: list[FloatArray] = [np.zeros((0, 2, N_BANDS), np.float32)]

    def add(self, mixture: npt.NDArray, vocals: npt.NDArray) -> None:
        """Measure the next block of the song.

        Parameters
        ----------
        mixture, vocals : ndarray of shape (n_samples,) or (n_channels, n_samples)
            Any number of samples, also none. The result does not depend on how a song is cut into
            blocks.

        Raises
        ------
        ValueError
            If the two differ in length.
        """
        mixture, vocals = np.asarray(mixture), np.asarray(vocals)
        if mixture.shape[-1] != vocals.shape[-1]:
            raise ValueError(
                f"The block of the mixture has {mixture.shape[-1]} samples, but that of the vocals "
                f"has {vocals.shape[-1]}; give both the same part of the song."
            )
        block = np.stack([_mono(vocals), _mono(mixture)])
        self._waiting = np.concatenate([self._waiting, block], axis=1)
        end = self._start + self._waiting.shape[1]
        # At rates such as 11025 Hz, 20 ms are not a whole number of samples. Frames then begin at
        # the last sample before.
        while True:
            frames = np.arange(self._n_frames, self._n_frames + _BATCH)
            starts = frames * self.sample_rate // FRAMES_PER_SECOND
            starts = starts[starts + self._length <= end]
            if not len(starts):
                break
            self._levels.append(self._measure(starts - self._start))
            self._n_frames += len(starts)
        next_start = self._n_frames * self.sample_rate // FRAMES_PER_SECOND
        n_done = min(max(next_start - self._start, 0), self._waiting.shape[1])
        self._waiting = self._waiting[:, n_done:]
        self._start += n_done

    def levels(self) -> FloatArray:
        """Levels of all frames that are complete.

        Returns
        -------
        ndarray of shape (n_frames, 2, 6), float32
            Levels of the vocals and of the mixture in each band in dB. A sine of full scale is at
            -3 dB, silence at -200 dB.
        """
        return np.concatenate(self._levels)

    def _measure(self, starts: IntArray) -> FloatArray:
        samples = self._waiting[:, starts[:, None] + np.arange(self._length)]
        spectra = np.fft.rfft(samples * self._window, axis=2).astype(np.complex64)
        power = np.square(np.abs(spectra)) @ self._bands
        levels = 10.0 * np.log10(np.maximum(power, 10.0 ** (SILENCE / 10.0)))
        return levels.transpose(1, 0, 2).astype(np.float32)


def _mono(samples: npt.NDArray) -> FloatArray:
    if samples.ndim > 1:
        samples = samples.mean(axis=0)
    return samples.astype(np.float32)
