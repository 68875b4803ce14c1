"""OpenUnmixSeparator: the networks of Open-Unmix, by the package openunmix."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from sksep.base._waveform_separator import WaveformSeparator, document_waveforms
from sksep.peers._device import check_device
from sksep.peers._table import downloading, import_package
from sksep.training._options import resolve_device
from sksep.utils._arrays import FloatArray, as_tensor
from sksep.utils._parameters import parameter
from sksep.utils._validation import check_boolean, choice, integer, optional


def _check_weights(name: str, value: Any) -> None:
    if not isinstance(value, (str, os.PathLike, Mapping)):
        raise TypeError(f"{name} must be a file or a dict of tensors, got {value!r:.200}.")


@document_waveforms
@dataclass(kw_only=True, eq=False, repr=False)
class OpenUnmixSeparator(WaveformSeparator):
    """Separate with Open-Unmix, a recurrent network for magnitudes, and a Wiener filter.

    Open-Unmix [1]_ is installed by ``pip install "sksep[open-unmix]"``. Unless `weights` are given,
    the package downloads those of `name` when the separator is fitted, and keeps them in the cache
    of torch.hub. The package imports torchaudio, but the separator needs nothing of it, and works
    where torchaudio cannot be imported.

    Parameters
    ----------
    name : {"umxhq", "umxl", "umx"}, default="umxhq"
        Name of the model: trained on MUSDB18-HQ, on more recordings (weights for non-commercial
        use), or on MUSDB18.
    weights : path or dict of str to Tensor, default=None
        Weights to use instead of a download: the state of the network for the vocals, or a file of
        it (``vocals-*.pth``). The sizes of the network follow from it.
    residual : bool, default=True
        Whether the rest of the mixture takes part in the Wiener filter as a second source.
    n_iter : int, default=1
        Number of iterations of the Wiener filter (expectation maximization). It needs the residual.
        With 0, the phase of the mixture is kept.
    device : {"auto", "cpu", "cuda", "mps"}, default="auto"
        Device that computes.
    WAVEFORM_PARAMETERS

    Attributes
    ----------
    model_ : OpenUnmixNetwork
        The network for the vocals, with its settings.

    Notes
    -----
    The code of openunmix is under the MIT license.

    References
    ----------
    .. [1] F.-R. Stöter, S. Uhlich, A. Liutkus and Y. Mitsufuji, "Open-Unmix: a reference
       implementation for music source separation", Journal of Open Source Software, 2019.

    Examples
    --------
    >>> from sksep.peers import OpenUnmixSeparator
    >>> OpenUnmixSeparator(n_iter=0)
    OpenUnmixSeparator(n_iter=0)
    """

    name: str = parameter("umxhq", choice("umxhq", "umxl", "umx"))
    weights: Any = parameter(None, optional(_check_weights), is_saved=False)
    residual: bool = parameter(True, check_boolean)
    n_iter: int = parameter(1, integer(0, 1000))
    device: str = parameter("auto", check_device)

    def _check_parameters(self) -> None:
        super()._check_parameters()
        if self.n_iter and not self.residual:
            raise ValueError(
                f"n_iter must be 0 without a residual, got {self.n_iter}: the Wiener filter needs "
                "two sources. Set residual=True or n_iter=0."
            )

    def _load(self) -> OpenUnmixNetwork:
        device = resolve_device(self.device)
        if self.weights is None:
            specification = getattr(import_open_unmix(), f"{self.name}_spec")
            with downloading(self.name):
                network = specification(targets=["vocals"], device=str(device))["vocals"]
            return OpenUnmixNetwork(network.state_dict(), device)
        if isinstance(self.weights, Mapping):
            return OpenUnmixNetwork(dict(self.weights), device)
        path = Path(self.weights)
        if not path.is_file():
            raise FileNotFoundError(f"weights: there is no file {path}; check the path.")
        return OpenUnmixNetwork(torch.load(path, map_location="cpu", weights_only=True), device)

    def _separate_block(self, samples: FloatArray) -> Tensor:
        mixture = as_tensor(samples).to(self.model_.device)
        # The windows reflect half of their length at the ends.
        missing = max(0, self.model_.n_fft - mixture.shape[1])
        separator = self.model_.separator(int(self.n_iter), bool(self.residual))
        with torch.no_grad():
            estimates = separator(functional.pad(mixture, (0, missing))[None])
        vocals: Tensor = estimates[0, 0]
        return vocals[:, : mixture.shape[1]]

    def _model_channels(self) -> int:
        return self.model_.n_channels


class OpenUnmixNetwork:
    """A network of Open-Unmix for one source, of the sizes of its state.

    Pickles hold the state alone, and need no torchaudio either.

    Parameters
    ----------
    state : dict of str to Tensor
        State of the network.
    device : torch.device
        Device that computes.

    Raises
    ------
    ValueError
        If the state is not that of such a network.
    """

    def __init__(self, state: dict[str, Tensor], device: torch.device) -> None:
        open_unmix = import_open_unmix()
        self.device = device
        try:
            n_bins = len(state["output_mean"])
            self.n_channels = len(state["fc3.weight"]) // n_bins
            self._network = open_unmix.model.OpenUnmix(
                nb_bins=n_bins,
                nb_channels=self.n_channels,
                hidden_size=len(state["fc1.weight"]),
                nb_layers=sum(f"lstm.weight_ih_l{layer}" in state for layer in range(100)),
                unidirectional="lstm.weight_ih_l0_reverse" not in state,
                max_bin=len(state["input_mean"]),
            )
            # Older files also hold windows and the sample rate.
            missing = self._network.load_state_dict(state, strict=False).missing_keys
        except (KeyError, TypeError, RuntimeError) as error:
            raise ValueError(f"weights are not a state of Open-Unmix: {error!s:.500}") from error
        if missing:
            raise ValueError(f"weights lack {', '.join(missing)} of a state of Open-Unmix.")
        self.n_fft = 2 * (n_bins - 1)
        self._network.to(device).eval().requires_grad_(False)

    def separator(self, n_iter: int, residual: bool) -> Any:
        """The module that maps (1, n_channels, n_samples) to (1, n_sources, ...), vocals first."""
        separator = import_open_unmix().model.Separator(
            {"vocals": self._network},
            niter=n_iter,
            residual=residual,
            n_fft=self.n_fft,
            n_hop=self.n_fft // 4,
            nb_channels=self.n_channels,
        )
        return separator.to(self.device).eval()

    def __reduce__(self) -> tuple[Any, ...]:
        return OpenUnmixNetwork, (self._network.state_dict(), self.device)


def import_open_unmix() -> Any:
    """The package openunmix. If torchaudio cannot be imported, an empty module stands in for it.

    openunmix imports torchaudio at its top, and uses it to read files only.
    """
    if "openunmix.model" in sys.modules:
        return sys.modules["openunmix"]
    try:
        import_module("torchaudio")
    except (ImportError, OSError):  # missing, or built for another torch
        sys.modules["torchaudio"] = ModuleType("torchaudio")
        try:
            return _imported()
        finally:
            del sys.modules["torchaudio"]
    return _imported()


def _imported() -> Any:
    import_package("openunmix.model", "open-unmix", "OpenUnmixSeparator")
    return sys.modules["openunmix"]
