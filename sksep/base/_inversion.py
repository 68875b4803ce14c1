"""Inversion of estimated masks to waveforms with the rate, channels and length of the mixture."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sksep.base._batch import TrackRecord
from sksep.nn.front_end import FrontEnd
from sksep.nn.griffin_lim import griffin_lim
from sksep.nn.spectral import istft, stft
from sksep.utils._arrays import FloatArray, as_tensor

# Length of the blocks of audio in seconds. In shorter blocks the margins would cost more time. The
# spectra of longer ones would take more than some tens of megabytes.
_BLOCK_SECONDS = 4.0


@dataclass(frozen=True)
class Inversion:
    """Settings of the inversion of masks to waveforms.

    Parameters
    ----------
    n_iter : int
        Number of Griffin-Lim iterations; 0 keeps the initial phase.
    init : {"mixture", "random"}
        Initial phase.
    momentum : float
        Momentum of fast Griffin-Lim (Perraudin et al. 2013); 0 is the plain algorithm.
    seed : int
        Seed of the random phases.
    """

    n_iter: int = 0
    init: str = "mixture"
    momentum: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class _StftGrid:
    """An STFT grid at the rate of the track. The mask is interpolated onto its frames."""

    n_fft: int
    hop_length: int


class BlockInverter:
    """Inverts blocks of a track. The margins of a block hold all samples that influence it.

    Parameters
    ----------
    front_end : FrontEnd
        Front end of the masks.
    sample_rate : int
        Sample rate of the track in Hz.
    inversion : Inversion
        Settings of the inversion.
    device : torch.device or str, default="cpu"
        Device on which the masks were estimated. Masks are inverted there if it is a CUDA device,
        and on the CPU otherwise. If its memory does not suffice, the rest of the track is inverted
        on the CPU, with a warning.

    Attributes
    ----------
    length, margin : int
        Number of samples in a block, and in each of the two margins around it.
    fade : int
        Number of samples on each side of a border in which neighboring blocks are cross-faded.
    """

    def __init__(
        self,
        front_end: FrontEnd,
        sample_rate: int,
        inversion: Inversion,
        device: torch.device | str = "cpu",
    ) -> None:
        self._grid = grid = native_grid(front_end, sample_rate)
        lift = front_end.lift_matrix(sample_rate, grid.n_fft)
        # All bins above the highest band of the model have the same column.
        equal = (lift == lift[:, -1:]).all(dim=0)
        self._n_equal = int(equal.flip(0).cumprod(0).sum())
        self._device = _inversion_device(device)
        self._lift = lift[:, : lift.shape[1] - self._n_equal + 1].to(self._device)
        self._rows_per_frame = (grid.hop_length / sample_rate) * (
            front_end.sample_rate / front_end.hop_length
        )
        self._inversion = inversion
        self._n_margin_frames = -(-(inversion.n_iter + 1) * grid.n_fft // grid.hop_length)
        self.margin = self._n_margin_frames * grid.hop_length + grid.n_fft // 2
        self.length = grid.hop_length * max(
            1, round(_BLOCK_SECONDS * sample_rate / grid.hop_length), 2 * self._n_margin_frames
        )
        # Random phases of two blocks do not agree, so the blocks are cross-faded.
        self.fade = (
            0 if inversion.init == "mixture" else self._n_margin_frames * grid.hop_length // 2
        )

    def block_length(self, n_samples: int) -> int:
        """Length of the blocks of a track. A short track is one block of its own length."""
        hop_length = self._grid.hop_length
        return min(self.length, hop_length * -(-n_samples // hop_length))

    def rows(self, start: int, length: int) -> tuple[int, int]:
        """First and last row of the mask that a block and its margins depend on."""
        positions = self._positions(start, length + 2 * self.margin)
        return math.floor(float(positions[0])), math.ceil(float(positions[-1]))

    def estimate(
        self, block: FloatArray, start: int, mask: Tensor, first_row: int = 0
    ) -> FloatArray:
        """Vocals of a block and its margins.

        Parameters
        ----------
        block : ndarray of shape (n_channels, length + 2 * margin)
            Samples from ``start - margin`` on; zeros outside of the track.
        start : int
            Index of the first sample of the block within the track.
        mask : Tensor of shape (n_rows, n_bands)
            Rows of the mask, on the CPU. Beyond the ends, the first and the last are repeated.
        first_row : int
            Index of the first of these rows within the mask of the track.

        Returns
        -------
        ndarray of shape (n_channels, length + 2 * margin)
        """
        positions = self._positions(start, block.shape[-1]) - first_row
        bands = interpolate_frames(mask, positions)
        try:
            return self._inverted(block, start, bands)
        except torch.cuda.OutOfMemoryError:
            if self._device.type == "cpu":
                raise
            warnings.warn(
                f"A block of {_BLOCK_SECONDS:g} s does not fit into the memory of {self._device}: "
                "the rest of this track is inverted on the CPU. Free memory there, or set "
                "device='cpu' and fit or load the separator again.",
                UserWarning,
                stacklevel=2,
            )
        # Outside of the handler, since its traceback keeps memory of the device in use.
        self._device, self._lift = torch.device("cpu"), self._lift.cpu()
        return self._inverted(block, start, bands)

    def _inverted(self, block: FloatArray, start: int, bands: Tensor) -> FloatArray:
        """The block under a mask of the bands at each of its frames."""
        samples = as_tensor(block).to(self._device)
        mask = bands.to(self._device) @ self._lift
        mask = functional.pad(mask, (0, self._n_equal - 1), mode="replicate")
        generator = torch.Generator(self._device).manual_seed(self._inversion.seed + start)
        return _invert_block(samples, mask, self._grid, self._inversion, generator).cpu().numpy()

    def faded(
        self, estimate: FloatArray, start: int, length: int, n_samples: int | None
    ) -> tuple[int, FloatArray]:
        """The part of an estimate to add to the track, after the index of its first sample.

        Neighbors are cross-faded linearly over ``2 * fade`` samples. `n_samples` is the length of
        the track, or None if the block is not the last.
        """
        fade, stop = self.fade, start + length
        low = max(0, start - fade)
        high = stop + fade if n_samples is None else min(n_samples, stop + fade)
        part = estimate[:, low - start + self.margin : high - start + self.margin]
        if fade:
            position = np.arange(low, high, dtype=np.float32)
            weight = np.ones(high - low, np.float32)
            if start > 0:
                weight = np.minimum(weight, (position - (start - fade) + 0.5) / (2 * fade))
            if n_samples is None or stop < n_samples:
                weight = np.minimum(weight, (stop + fade - position - 0.5) / (2 * fade))
            part = part * np.clip(weight, 0.0, 1.0)
        return low, part

    def _positions(self, start: int, n_samples: int) -> Tensor:
        """Rows of the mask, as fractions, at the frames of a block and its margins."""
        first_frame = start // self._grid.hop_length - self._n_margin_frames
        n_frames = 1 + (n_samples - self._grid.n_fft) // self._grid.hop_length
        frames = torch.arange(first_frame, first_frame + n_frames, dtype=torch.float64)
        return frames * self._rows_per_frame


def invert(record: TrackRecord, inversion: Inversion) -> FloatArray:
    """Waveform of the vocals, in the shape and at the rate of the mixture.

    The mask is interpolated in time onto an STFT grid of the track's own rate, lifted to its linear
    bins (above the highest band of the model, to the mean mask of its highest octave), and applied
    to every channel. The track is inverted block by block. With the mixture's phase the result is
    that of the whole track at once, since margins hold all samples that influence a block.
    """
    estimated = record.mask
    if estimated is None:
        raise ValueError(
            f"{record.name} has no estimated mask. Put a separator before the inverter, or set "
            "masks with batch.with_masks(...)."
        )
    track = record.track
    inverter = BlockInverter(record.front_end, track.sample_rate, inversion, record.device)
    mask = as_tensor(estimated)
    length = inverter.block_length(track.n_samples)
    vocals = np.zeros((track.n_channels, track.n_samples), np.float32)
    for start, block in track.blocks(length, inverter.margin):
        estimate = inverter.estimate(block, start, mask)
        low, part = inverter.faded(estimate, start, length, track.n_samples)
        vocals[:, low : low + part.shape[1]] += part
    return vocals.reshape(track.shape)


def _inversion_device(device: torch.device | str) -> torch.device:
    """The device itself if it is CUDA, else the CPU: MPS lacks operations on complex numbers."""
    is_cuda = torch.device(device).type == "cuda" and torch.cuda.is_available()
    return torch.device(device if is_cuda else "cpu")


def native_grid(front_end: FrontEnd, sample_rate: int) -> _StftGrid:
    """STFT sizes at `sample_rate` that span about the same seconds as those of the front end."""
    if sample_rate == front_end.sample_rate:
        return _StftGrid(front_end.n_fft, front_end.hop_length)
    scale = sample_rate / front_end.sample_rate
    overlap_factor = max(2, round(front_end.n_fft / front_end.hop_length))
    overlap_factor += overlap_factor % 2  # the margins are whole hops plus half a window
    hop_length = _nearest_smooth(front_end.hop_length * scale)
    return _StftGrid(overlap_factor * hop_length, hop_length)


def interpolate_frames(mask: Tensor, positions: Tensor) -> Tensor:
    """Rows of a mask at fractional positions. Beyond its ends, the outer rows are repeated."""
    last = mask.shape[0] - 1
    positions = positions.clamp(0, last)
    lower = positions.floor().long()
    upper = (lower + 1).clamp_max(last)
    share = (positions - lower)[:, None].to(mask.dtype)
    return torch.lerp(mask[lower], mask[upper], share)


def _invert_block(
    samples: Tensor,
    mask: Tensor,
    grid: _StftGrid,
    inversion: Inversion,
    generator: torch.Generator,
) -> Tensor:
    with torch.no_grad():
        spectra = stft(samples, grid.n_fft, grid.hop_length, center=False)
        n_samples = samples.shape[-1]
        if inversion.init == "mixture" and inversion.n_iter == 0:
            # As real numbers: a product with complex ones would make the mask complex first.
            torch.view_as_real(spectra).mul_(mask.unsqueeze(-1))
            return istft(spectra, grid.n_fft, grid.hop_length, n_samples=n_samples, center=False)
        if inversion.init == "mixture":
            phase = spectra
        else:  # one phase for all channels, so that the vocals keep their stereo position
            turns = torch.rand(spectra.shape[-2:], generator=generator, device=spectra.device)
            phase = torch.polar(torch.ones_like(turns), 2.0 * torch.pi * turns)
        return griffin_lim(
            spectra.abs() * mask,
            grid.n_fft,
            grid.hop_length,
            n_samples=n_samples,
            n_iter=inversion.n_iter,
            momentum=inversion.momentum,
            phase=phase,
            center=False,
        )


def _nearest_smooth(target: float) -> int:
    """The integer nearest to `target` whose prime factors are 2, 3 and 5 (fast transforms)."""
    candidates = [
        2**two * 3**three * 5**five
        for two in range(16)
        for three in range(6)
        for five in range(5)
        if 0.5 * target < 2**two * 3**three * 5**five < 2.0 * target
    ]
    return min(candidates, key=lambda value: abs(value - target), default=max(1, round(target)))
