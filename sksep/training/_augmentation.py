"""Augmentation: random remixes and variations of the recordings to train on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sksep.audio._validation import check_collection
from sksep.nn import effects
from sksep.utils._parameters import Estimator, parameter
from sksep.utils._validation import interval, number, optional


def _check_pool(name: str, value: Any) -> None:
    check_collection(value, name)


@dataclass(kw_only=True, eq=False, repr=False)
class Augmentation(Estimator):
    """Random excerpts, remixed and varied on the device of the network.

    Excerpts are drawn at random positions. A share of them stays as recorded. In the others, vocals
    and accompaniment of different tracks are mixed at a random gain, which the source report calls
    randomized fusion. The class holds parameters only, so that grid searches reach them
    (``separate__augmentation__true_pairs``).

    Parameters
    ----------
    true_pairs : float, default=0.35
        Share of excerpts whose vocals keep their own accompaniment, in [0, 1].
    vocal_free : float, default=0.05
        Share of excerpts from which the vocals are left out, in [0, 1].
    gain_range : tuple of (float, float), default=(-8.0, 8.0)
        Range of the gain of remixed vocals in dB. Gains are drawn uniformly.
    level_range : tuple of (float, float), default=(-6.0, 6.0)
        Range of the gain of the whole mixture in dB.
    speed_range : tuple of (float, float), default=(1.0, 1.0)
        Range of the playing speed, in [0.25, 4]. Resampling also changes pitch and formants. One
        speed is drawn per batch, in thousandths.
    time_stretch_range : tuple of (float, float), default=(1.0, 1.0)
        Range of the tempo, in [0.25, 4], which a phase vocoder changes at the same pitch. Above 1
        is faster. One tempo is drawn per batch.
    pitch_shift_range : tuple of (float, float), default=(0.0, 0.0)
        Range of the pitch shift in semitones, in [-60, 60]. One shift is drawn per batch.
    vocals_speed_range : tuple of (float, float), default=(1.0, 1.0)
        Range of a further playing speed of remixed vocals alone, in [0.25, 4]. One is drawn for
        each excerpt, its logarithm uniformly. It makes other voices of the few that there are.
    formant_range : tuple of (float, float), default=None
        Range of the factor by which the formants of remixed vocals move, in [0.25, 4]. It is drawn
        like a speed of `vocals_speed_range`, and takes the place of that speed, which then moves
        the pitch only. If None, formants move with the speed.
    noise_snr : float, default=None
        Level in dB of the mixture above white noise in the accompaniment. None adds no noise.
    vocals_pool, accompaniment_pool : sequence of tracks, default=None
        Further vocals and instrumentals to remix with, which need no counterparts. They are paths,
        or arrays at the sample rate of the `MelChunker`.

    Examples
    --------
    >>> from sksep import UNetSeparator
    >>> from sksep.training import Augmentation
    >>> separator = UNetSeparator(augmentation=Augmentation(gain_range=(-6, 6)))
    >>> separator.get_params()["augmentation__gain_range"]
    (-6, 6)
    """

    true_pairs: float = parameter(0.35, number(0.0, 1.0))
    vocal_free: float = parameter(0.05, number(0.0, 1.0))
    gain_range: tuple[float, float] = parameter((-8.0, 8.0), interval())
    level_range: tuple[float, float] = parameter((-6.0, 6.0), interval())
    speed_range: tuple[float, float] = parameter((1.0, 1.0), interval(0.25, 4.0))
    time_stretch_range: tuple[float, float] = parameter((1.0, 1.0), interval(0.25, 4.0))
    pitch_shift_range: tuple[float, float] = parameter((0.0, 0.0), interval(-60.0, 60.0))
    vocals_speed_range: tuple[float, float] = parameter((1.0, 1.0), interval(0.25, 4.0))
    formant_range: tuple[float, float] | None = parameter(None, optional(interval(0.25, 4.0)))
    noise_snr: float | None = parameter(None, optional(number()))
    vocals_pool: Any = parameter(None, optional(_check_pool), is_saved=False)
    accompaniment_pool: Any = parameter(None, optional(_check_pool), is_saved=False)

    def validate(self) -> None:
        """Check the parameters.

        Raises
        ------
        TypeError
            If a parameter is not a number or a pair of numbers.
        ValueError
            If a parameter is out of its range, or the ends of a range are out of order.
        """
        self._check_parameters()

    def source_length(self, n_samples: int) -> int:
        """Number of samples to draw so that enough are left at the highest speed and tempo.

        Parameters
        ----------
        n_samples : int
            Number of samples in an excerpt.

        Returns
        -------
        int
            Number of samples, at least `n_samples`.
        """
        limits = [float(limit) for limit in (*self.speed_range, *self.time_stretch_range)]
        if limits == [1.0] * 4:
            return n_samples
        # Two samples more, since every step rounds its length.
        return int(np.ceil(n_samples * max(1.0, limits[1] * limits[3]))) + 2

    def draw_gains(self, remixed: np.ndarray, random_generator: np.random.Generator) -> np.ndarray:
        """Draw gains for vocals and accompaniment. True pairs keep their balance.

        Parameters
        ----------
        remixed : bool ndarray of shape (batch,)
            Whether the vocals of each excerpt are mixed with another accompaniment.
        random_generator : numpy.random.Generator
            Source of randomness.

        Returns
        -------
        ndarray of shape (batch, 2)
            Factors (float32) of the vocals and of the accompaniment.
        """
        level = random_generator.uniform(*self.level_range, size=(len(remixed), 1))
        gain = random_generator.uniform(*self.gain_range, size=len(remixed)) * remixed
        decibels = level + np.stack([gain, np.zeros_like(gain)], axis=1)
        return (10.0 ** (decibels / 20.0)).astype(np.float32)

    def draw_voices(
        self, remixed: np.ndarray, random_generator: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """Draw further speeds of the vocals, and the factors that their formants need afterwards.

        Parameters
        ----------
        remixed : bool ndarray of shape (batch,)
            Whether the vocals of each excerpt are mixed with another accompaniment. The others
            stay as they are.
        random_generator : numpy.random.Generator
            Source of randomness. Nothing is drawn for ranges that change nothing: a speed of 1,
            and None for the formants.

        Returns
        -------
        speeds, factors : ndarray of shape (batch,)
            Speeds, and factors for `sksep.nn.effects.shift_formants`; 1 where nothing changes.
        """
        speeds = factors = np.ones(len(remixed))
        if tuple(self.vocals_speed_range) != (1.0, 1.0):
            drawn = _draw_factors(self.vocals_speed_range, len(remixed), random_generator)
            speeds = np.where(remixed, drawn, 1.0)
        if self.formant_range is not None:
            drawn = _draw_factors(self.formant_range, len(remixed), random_generator)
            factors = np.where(remixed, drawn / speeds, 1.0)
        return speeds, factors

    def vary(self, stems: Tensor, n_samples: int) -> Tensor:
        """Change speed, tempo and pitch, each by one random draw for the whole batch.

        It draws from torch's global random state.

        Parameters
        ----------
        stems : Tensor of shape (batch, 2, source_length(n_samples))
            Waveforms of vocals and accompaniment.
        n_samples : int
            Number of samples in an excerpt.

        Returns
        -------
        Tensor of shape (batch, 2, n_samples)
            Waveforms on the same device.
        """
        # In thousandths, since resampling is quick if its weights repeat.
        low, high = (float(limit) for limit in self.speed_range)
        speed = min(max(round(_draw(self.speed_range), 3), low), high)
        if speed != 1.0:
            needed = int(np.ceil(n_samples * speed * float(self.time_stretch_range[1]))) + 2
            stems = effects.resample(stems[..., :needed], 1.0 / speed)
        tempo = _draw(self.time_stretch_range)
        if tempo != 1.0:
            stems = effects.time_stretch(stems[..., : int(np.ceil(n_samples * tempo)) + 2], tempo)
        stems = stems[..., :n_samples]
        semitones = _draw(self.pitch_shift_range)
        if semitones != 0.0:
            stems = effects.pitch_shift(stems, semitones)
        return stems

    def add_noise(self, vocals: Tensor, accompaniment: Tensor) -> Tensor:
        """Add white noise to the accompaniment, `noise_snr` dB below the mixture.

        Parameters
        ----------
        vocals, accompaniment : Tensor of shape (batch, n_samples)
            Waveforms.

        Returns
        -------
        Tensor of shape (batch, n_samples)
            The accompaniment with noise, or unchanged if `noise_snr` is None.
        """
        if self.noise_snr is None:
            return accompaniment
        mixture = vocals + accompaniment
        ratio = torch.full(mixture.shape[:1], float(self.noise_snr), device=mixture.device)
        return accompaniment + (effects.add_noise(mixture, ratio) - mixture)


def _draw(limits: tuple[float, float]) -> float:
    low, high = float(limits[0]), float(limits[1])
    return low if low == high else low + (high - low) * float(torch.rand(()))


def _draw_factors(
    limits: tuple[float, float], count: int, random_generator: np.random.Generator
) -> np.ndarray:
    """Factors in a range, whose logarithms are uniform."""
    low, high = float(limits[0]), float(limits[1])
    drawn = np.exp(random_generator.uniform(np.log(low), np.log(high), size=count))
    return np.clip(drawn, low, high)  # against rounding errors
