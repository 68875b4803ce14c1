"""UNetSeparator: a U-Net from log-mel chunks to masks."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from torch import nn

from sksep.nn.front_end import FrontEnd
from sksep.nn.fully_convolutional import FullyConvolutionalNetwork
from sksep.nn.singing_voice_unet import SingingVoiceUNet
from sksep.nn.unet import SKIPS, UNet
from sksep.separators._net_separator import NetSeparator, mask_loss
from sksep.separators._training_parameters import document_training
from sksep.utils._validation import check_choice, check_integer, check_number

_ARCHITECTURES: dict[str, type[nn.Module]] = {
    "report": UNet,
    "singing_voice": SingingVoiceUNet,
    "fully_convolutional": FullyConvolutionalNetwork,
}


@document_training
class UNetSeparator(NetSeparator):
    """Separate vocals with a U-Net that estimates their proportion mask.

    Parameters
    ----------
    architecture : {"report", "singing_voice", "fully_convolutional"}, default="report"
        The source report's U-Net [1]_ (3 x 3 convolutions, max-pooling); that of Jansson et
        al. [2]_ (5 x 5 convolutions of stride 2; give it ``n_levels=6``); or, for comparison, a
        fully convolutional network without a decoder [3]_, whose masks have blurred boundaries
        (give it ``n_levels=5``).
    n_filters : int, default=16
        Filters of the first level; each level below has twice as many
        ("fully_convolutional": up to eight times as many).
    n_levels : int, default=4
        Number of times that the resolution is halved.
    dropout : float, default=0.5
        Dropout probability, in [0, 1): of the channels at the bottom, or for "singing_voice" on the
        first three levels of the decoder.
    skip : {"concatenate", "add"}, default="concatenate"
        How the features of the encoder join those of the decoder. "fully_convolutional" has no
        decoder, and always adds.
    loss : {"bce", "l1", "snr", "si_sdr"} or callable, default="bce"
        "bce" is the cross-entropy of the proportion mask; "l1" the distance of masked and true
        magnitudes; "snr" and "si_sdr" are the negative ratios, in dB, of the waveform inverted with
        the phase of the mixture. A callable gets mask logits of shape (batch, n_frames, n_bands)
        and a `sksep.nn.excerpts.Excerpts`, and returns a scalar tensor.
    TRAINING_PARAMETERS

    Attributes
    ----------
    TRAINING_ATTRIBUTES

    References
    ----------
    .. [1] O. Ronneberger, P. Fischer and T. Brox, "U-Net: convolutional networks for biomedical
       image segmentation", MICCAI 2015.
    .. [2] A. Jansson et al., "Singing voice separation with deep U-Net convolutional networks",
       ISMIR 2017.
    .. [3] J. Long, E. Shelhamer and T. Darrell, "Fully convolutional networks for semantic
       segmentation", CVPR 2015.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sksep import MaskBuilder, MelChunker, UNetSeparator
    >>> from sksep.datasets import make_songs
    >>> songs = make_songs(2, duration=2.0, random_state=0)
    >>> separator = UNetSeparator(n_filters=4, max_epochs=1, random_state=0)
    >>> pipeline = make_pipeline(MelChunker(), MaskBuilder(), separator)
    >>> vocals = pipeline.fit(songs.mixtures, songs.vocals).predict(songs.mixtures)
    >>> vocals[0].shape
    (32000,)
    """

    def __init__(
        self,
        architecture: str = "report",
        n_filters: int = 16,
        n_levels: int = 4,
        dropout: float = 0.5,
        skip: str = "concatenate",
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
        self.architecture = architecture
        self.n_filters = n_filters
        self.n_levels = n_levels
        self.dropout = dropout
        self.skip = skip
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
        check_choice("architecture", self.architecture, tuple(_ARCHITECTURES))
        options: dict[str, Any] = {
            "n_filters": check_integer("n_filters", self.n_filters, 1),
            "n_levels": check_integer("n_levels", self.n_levels, 1, 10),
            "dropout": check_number("dropout", self.dropout, 0.0, 1.0, include_high=False),
            "skip": check_choice("skip", self.skip, SKIPS),
        }
        if self.architecture == "fully_convolutional":
            del options["skip"]
        return _ARCHITECTURES[self.architecture](**options)

    def _objective(self) -> Callable[..., Any]:
        return mask_loss(self.loss)
