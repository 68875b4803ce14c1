"""ModuleSeparator: estimates masks with a torch module of the user."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass
from typing import Any

from torch import nn

from sksep.nn.front_end import FrontEnd
from sksep.nn.unet import UNet
from sksep.separators._net_separator import NetSeparator, document_training, loss_of, mask_loss
from sksep.utils._parameters import parameter
from sksep.utils._validation import check_mapping, optional


def _check_module(name: str, value: Any) -> None:
    if isinstance(value, nn.Module) or not callable(value):
        raise TypeError(
            f"{name} must be a class or function that returns a new torch module, got "
            f"{value!r:.200}. A module that is already built would be changed by fit. Give its "
            "class, and its arguments as module_params."
        )


@document_training
@dataclass(eq=False, repr=False)
class ModuleSeparator(NetSeparator):
    """Separate vocals with a torch module of your own.

    The module is trained and used like the network of `UNetSeparator`: excerpts, augmentation,
    targets, validation by track, blocks of long songs and inversion are the same.

    Parameters
    ----------
    module : type or function, default=sksep.nn.unet.UNet
        Class or function that builds the network. Each training calls it with `module_params`, and
        it returns a new `torch.nn.Module`. If it has parameters named ``n_bands`` or ``n_frames``,
        they get the number of bands and frames of a chunk. The network takes log power normalized
        per band, of shape (batch, 1, n_frames, n_bands), and returns mask logits of the same shape.
        Their sigmoid is the share of the vocals in each bin.
    module_params : dict, default=None
        Further arguments of `module`.
    loss : {"bce", "l1", "snr", "si_sdr"} or callable, default="bce"
        Loss of the masks, see `UNetSeparator`. A callable takes mask logits of shape
        (batch, n_frames, n_bands) and a `sksep.nn.excerpts.Excerpts`, and returns a scalar tensor.
    TRAINING_PARAMETERS

    Attributes
    ----------
    TRAINING_ATTRIBUTES

    See Also
    --------
    UNetSeparator : Separate vocals with a ready network.

    Notes
    -----
    `sksep.save` stores no code, so it refuses this separator. `joblib.dump` stores the pipeline,
    but the code of the module must be there to load it. The weights alone are in
    ``net_.module_.state_dict()``. Searches vary whole values of `module_params`, as in
    ``{"separate__module_params": [{"width": 16}, {"width": 32}]}``.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from torch import nn
    >>> from sksep import MaskBuilder, MelChunker, ModuleSeparator
    >>> from sksep.datasets import make_songs
    >>> def convolutions(width):
    ...     return nn.Sequential(
    ...         nn.Conv2d(1, width, 5, padding=2), nn.ReLU(), nn.Conv2d(width, 1, 5, padding=2)
    ...     )
    >>> songs = make_songs(2, duration=2.0, random_state=0)
    >>> separator = ModuleSeparator(
    ...     convolutions, module_params={"width": 4}, max_epochs=1, random_state=0)
    >>> pipeline = make_pipeline(MelChunker(), MaskBuilder(), separator)
    >>> vocals = pipeline.fit(songs.mixtures, songs.vocals).predict(songs.mixtures)
    >>> vocals[0].shape
    (32000,)
    """

    module: Callable[..., nn.Module] = parameter(UNet, _check_module)
    _: KW_ONLY
    module_params: dict[str, Any] | None = parameter(None, optional(check_mapping))
    loss: str | Callable[..., Any] = parameter("bce", mask_loss)

    def _network(self, front_end: FrontEnd) -> nn.Module:
        known = {"n_bands": front_end.n_bands, "n_frames": front_end.n_frames}
        wanted = inspect.signature(self.module).parameters
        sizes = {name: size for name, size in known.items() if name in wanted}
        network = self.module(**{**sizes, **(self.module_params or {})})
        if not isinstance(network, nn.Module):
            raise TypeError(f"module must return a torch module, got {network!r:.200}.")
        if not any(weights.requires_grad for weights in network.parameters()):
            raise ValueError(f"The network has no parameters to train: {network!r:.200}.")
        return network

    def _objective(self) -> Callable[..., Any]:
        return loss_of(self.loss)
