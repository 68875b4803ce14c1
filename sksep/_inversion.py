"""From estimated masks to vocal waveforms, at the rate, channels and length of the mixture."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sksep._batch import TrackRecord, as_tensor
from sksep._tracks import FloatArray
from sksep.nn.front_end import FrontEnd
from sksep.nn.griffin_lim import griffin_lim
from sksep.nn.spectral import istft, stft

# Audio inverted at a time, in seconds: long enough for the margins to be cheap, short enough for
# the spectra of a block to take tens of megabytes.
_BLOCK_SECONDS = 4.0


@dataclass(frozen=True)
class Inversion:
    """How masks become waveforms.

    Parameters
    ----------
    n_iter : int
        Griffin-Lim iterations; 0 keeps the initial phase.
    init : {"mixture", "random"}
        Initial phase.
    momentum : float
        Of fast Griffin-Lim (Perraudin et al. 2013); 0 is the plain algorithm.
    seed : int
        Of the random phases.
    """

    n_iter: int = 0
    init: str = "mixture"
    momentum: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class _Grid:
    """An STFT grid at the rate of the track whose frames the mask is interpolated onto."""

    n_fft: int
    hop_length: int


def invert(
    record: TrackRecord, inversion: Inversion, device: torch.device | str = "cpu"
) -> FloatArray:
    """Waveform of the vocals, in the shape and at the rate of the mixture.

    The mask is interpolated in time onto an STFT grid of the track's own rate, lifted to its linear
    bins (above the band that the model hears, the mean mask of the highest octave goes on), and
    applied to every channel. The track is worked through in blocks; with the mixture's phase the
    result is that of the whole track at once, as the margins hold all that reaches a block.
    """
    if record.mask is None:
        raise ValueError(
            f"{record.name} has no estimated mask. Put a separator before the inverter, or set "
            "masks with batch.with_masks(...)."
        )
    track, front_end = record.track, record.front_end
    grid = native_grid(front_end, track.sample_rate)
    lift = front_end.lift_matrix(track.sample_rate, grid.n_fft).to(device)
    mask = as_tensor(record.mask).to(device)
    frames_per_hop = (grid.hop_length / track.sample_rate) * (
        front_end.sample_rate / front_end.hop_length
    )
    n_margin_frames = -(-(inversion.n_iter + 1) * grid.n_fft // grid.hop_length)
    margin = n_margin_frames * grid.hop_length + grid.n_fft // 2
    n_block_frames = max(
        1, round(_BLOCK_SECONDS * track.sample_rate / grid.hop_length), 2 * n_margin_frames
    )
    # A short track is one block of its own length, not one of mostly silence.
    length = grid.hop_length * min(n_block_frames, -(-track.n_samples // grid.hop_length))
    # Random phases of two blocks do not agree: fade from one to the other.
    fade = 0 if inversion.init == "mixture" else n_margin_frames * grid.hop_length // 2
    vocals = np.zeros((track.n_channels, track.n_samples), np.float32)
    for start, block in track.blocks(length, margin):
        samples = torch.tensor(block, device=device)
        first_frame = start // grid.hop_length - n_margin_frames
        n_frames = 1 + (samples.shape[-1] - grid.n_fft) // grid.hop_length
        positions = (first_frame + torch.arange(n_frames, device=device)) * frames_per_hop
        block_mask = interpolate_frames(mask, positions) @ lift
        generator = torch.Generator(device).manual_seed(inversion.seed + start)
        estimate = _invert_block(samples, block_mask, grid, inversion, generator)
        _write_block(vocals, estimate, start, length, margin, fade)
    return vocals.reshape(track.shape)


def native_grid(front_end: FrontEnd, sample_rate: int) -> _Grid:
    """STFT sizes at `sample_rate` that span about the same seconds as those of the front end."""
    if sample_rate == front_end.sample_rate:
        return _Grid(front_end.n_fft, front_end.hop_length)
    scale = sample_rate / front_end.sample_rate
    overlap_factor = max(2, round(front_end.n_fft / front_end.hop_length))
    overlap_factor += overlap_factor % 2  # the margins are whole hops plus half a window
    hop_length = _nearest_smooth(front_end.hop_length * scale)
    return _Grid(overlap_factor * hop_length, hop_length)


def interpolate_frames(mask: Tensor, positions: Tensor) -> Tensor:
    """Rows of (n_total_frames, n_bands) at fractional positions; the ends are held."""
    last = mask.shape[0] - 1
    positions = positions.clamp(0, last)
    lower = positions.floor().long()
    upper = (lower + 1).clamp_max(last)
    share = (positions - lower)[:, None].to(mask.dtype)
    return torch.lerp(mask[lower], mask[upper], share)


def _invert_block(
    samples: Tensor,
    mask: Tensor,
    grid: _Grid,
    inversion: Inversion,
    generator: torch.Generator,
) -> Tensor:
    with torch.no_grad():
        spectra = stft(samples, grid.n_fft, grid.hop_length, center=False)
        n_samples = samples.shape[-1]
        if inversion.init == "mixture" and inversion.n_iter == 0:
            return istft(
                spectra * mask, grid.n_fft, grid.hop_length, n_samples=n_samples, center=False
            )
        if inversion.init == "mixture":
            phase = spectra
        else:  # one for all channels, so that the vocals keep their place between them
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


def _write_block(
    vocals: FloatArray, estimate: Tensor, start: int, length: int, margin: int, fade: int
) -> None:
    """Add the block's samples, with linear slopes of `2 * fade` samples at inner borders."""
    n_samples = vocals.shape[-1]
    low, high = max(0, start - fade), min(n_samples, start + length + fade)
    part = estimate[:, low - start + margin : high - start + margin].cpu().numpy()
    if fade:
        position = np.arange(low, high, dtype=np.float32)
        weight = np.ones(high - low, np.float32)
        if start > 0:
            weight = np.minimum(weight, (position - (start - fade) + 0.5) / (2 * fade))
        if start + length < n_samples:
            weight = np.minimum(weight, ((start + length + fade) - position - 0.5) / (2 * fade))
        part = part * np.clip(weight, 0.0, 1.0)
    vocals[:, low:high] += part


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
