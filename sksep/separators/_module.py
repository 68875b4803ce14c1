"""ModuleSeparator: a torch module of one's own, from log-mel chunks to masks."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn

from sksep.nn.front_end import FrontEnd
from sksep.nn.unet import UNet
from sksep.separators._net_separator import NetSeparator, mask_loss
from sksep.separators._training_parameters import document_training


@document_training
class ModuleSeparator(NetSeparator):
    """Separate vocals with a torch module of your own.

    The module is trained and used like the network of `UNetSeparator`: excerpts, augmentation,
    targets, validation by track, blocks of long songs and inversion are the same.

    Parameters
    ----------
    module : type or function, default=sksep.nn.unet.UNet
        What builds the network: called with `module_params` whenever a training begins, it returns
        a new `torch.nn.Module`. Where it has parameters named ``n_bands`` or ``n_frames``, they get
        the number of bands and frames of a chunk. The network gets log power normalised per band,
        of shape (batch, 1, n_frames, n_bands), and returns mask logits of the same shape: what the
        sigmoid turns into the share of the vocals in each bin.
    module_params : dict, default=None
        Further arguments of `module`.
    loss : {"bce", "l1", "snr", "si_sdr"} or callable, default="bce"
        See `UNetSeparator`. A callable gets mask logits of shape (batch, n_frames, n_bands) and a
        `sksep.nn.excerpts.Excerpts`, and returns a scalar tensor.
    TRAINING_PARAMETERS

    Attributes
    ----------
    TRAINING_ATTRIBUTES

    See Also
    --------
    UNetSeparator : Ready networks of this kind.

    Notes
    -----
    `sksep.save` holds no code, so it refuses this separator; `joblib.dump` keeps the pipeline
    where the code of the module can be imported when it is loaded. The weights alone are in
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
    >>> separator = ModuleSeparator(convolutions, {"width": 4}, max_epochs=1, random_state=0)
    >>> pipeline = make_pipeline(MelChunker(), MaskBuilder(), separator)
    >>> vocals = pipeline.fit(songs.mixtures, songs.vocals).predict(songs.mixtures)
    >>> vocals[0].shape
    (32000,)
    """

    def __init__(
        self,
        module: Callable[..., nn.Module] = UNet,
        module_params: dict[str, Any] | None = None,
        loss: str | Callable[..., Any] = "bce",
        optimizer: str | type = "rmsprop",
        lr: float = 1e-3,
        schedule: str | None = None,
        weight_decay: float = 0.0,
        gradient_clipping: float | None = None,
        batch_size: int = 32,
        max_epochs: int = 30,
        excerpts_per_epoch: int | None = None,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        n_iter_no_change: int = 10,
        augmentation: Any = True,
        callbacks: list[Any] | None = None,
        warm_start: bool = False,
        checkpoint: str | os.PathLike[str] | None = None,
        accelerate: bool = False,
        device: str = "auto",
        precision: str = "auto",
        net_params: dict[str, Any] | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.module = module
        self.module_params = module_params
        self.loss = loss
        super().__init__(
            optimizer=optimizer,
            lr=lr,
            schedule=schedule,
            weight_decay=weight_decay,
            gradient_clipping=gradient_clipping,
            batch_size=batch_size,
            max_epochs=max_epochs,
            excerpts_per_epoch=excerpts_per_epoch,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            n_iter_no_change=n_iter_no_change,
            augmentation=augmentation,
            callbacks=callbacks,
            warm_start=warm_start,
            checkpoint=checkpoint,
            accelerate=accelerate,
            device=device,
            precision=precision,
            net_params=net_params,
            random_state=random_state,
            verbose=verbose,
        )

    def _network(self, front_end: FrontEnd) -> nn.Module:
        if isinstance(self.module, nn.Module) or not callable(self.module):
            raise TypeError(
                "module must be a class or function that returns a new torch module, got "
                f"{self.module!r:.200}. A module that is already built would be changed by fit: "
                "give its class, and its arguments as module_params."
            )
        parameters = {} if self.module_params is None else self.module_params
        if not isinstance(parameters, Mapping):
            raise TypeError(
                f"module_params must be a dict of arguments of module, got {parameters!r:.200}."
            )
        known = {"n_bands": front_end.n_bands, "n_frames": front_end.n_frames}
        wanted = inspect.signature(self.module).parameters
        sizes = {name: size for name, size in known.items() if name in wanted}
        network = self.module(**{**sizes, **parameters})
        if not isinstance(network, nn.Module):
            raise TypeError(f"module must return a torch module, got {network!r:.200}.")
        if not any(weights.requires_grad for weights in network.parameters()):
            raise ValueError(f"The network has no parameters to train: {network!r:.200}.")
        return network

    def _objective(self) -> Callable[..., Any]:
        return mask_loss(self.loss)
