"""UNetSeparator: a U-Net from log-mel chunks to masks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn

from sksep._parameters import check_choice, check_integer, check_number
from sksep.nn.front_end import FrontEnd
from sksep.nn.singing_voice_unet import SingingVoiceUNet
from sksep.nn.unet import UNet
from sksep.separators._net_separator import NetSeparator

_ARCHITECTURES = {"report": UNet, "singing_voice": SingingVoiceUNet}


class UNetSeparator(NetSeparator):
    """Separate vocals with a U-Net that estimates their proportion mask.

    Parameters
    ----------
    architecture : {"report", "singing_voice"}, default="report"
        The source report's U-Net [1]_ (3 x 3 convolutions, max-pooling), or that of Jansson et
        al. [2]_ (5 x 5 convolutions of stride 2; give it ``n_levels=6``).
    n_filters : int, default=16
        Filters of the first level; each level below has twice as many.
    n_levels : int, default=4
        Number of times that the resolution is halved.
    dropout : float, default=0.5
        Dropout probability, in [0, 1): of the channels at the bottom, or for "singing_voice" on the
        first three levels of the decoder.
    loss : {"bce", "l1", "snr", "si_sdr"} or callable, default="bce"
        "bce" is the cross-entropy of the proportion mask; "l1" the distance of masked and true
        magnitudes; "snr" and "si_sdr" are the negative ratios, in dB, of the waveform inverted with
        the phase of the mixture. A callable gets mask logits of shape (batch, n_frames, n_bands)
        and a `sksep.nn.excerpts.Excerpts`, and returns a scalar tensor.
    optimizer : {"rmsprop", "adam", "adamw", "sgd"} or torch optimizer class, default="rmsprop"
        Optimizer.
    lr : float, default=1e-3
        Learning rate, the highest one of a schedule.
    schedule : {"cosine", "one_cycle"}, default=None
        Course of the learning rate over `max_epochs`; None keeps it.
    weight_decay : float, default=0.0
        Weight decay of the optimizer.
    gradient_clipping : float, default=None
        Largest norm of the gradient; None for any.
    batch_size : int, default=32
        Excerpts per training step, and chunks at a time when predicting.
    max_epochs : int, default=30
        Epochs to train for.
    excerpts_per_epoch : int, default=None
        Excerpts in an epoch of augmented training; None for as many as fill the duration of the
        training tracks.
    early_stopping : bool, default=False
        Stop when the validation loss has not improved for `n_iter_no_change` epochs.
    validation_fraction : float, default=0.1
        Share of the tracks held back for validation, in [0, 1); rounded, so that few tracks may
        mean none. Where there are some, the weights of the best epoch are kept.
    n_iter_no_change : int, default=10
        Patience of `early_stopping` in epochs.
    augmentation : bool or Augmentation, default=True
        Random excerpts, remixes and variations; False trains on the chunks as they are. Searches
        reach ``augmentation__*`` where an `Augmentation` is given.
    callbacks : list, default=None
        Further skorch callbacks.
    warm_start : bool, default=False
        Whether `fit` goes on from the weights that it finds.
    device : {"auto", "cpu", "cuda", "mps"}, default="auto"
        Where to compute.
    precision : {"auto", "float32", "bfloat16"}, default="auto"
        Of the network; "auto" is bfloat16 where the hardware computes in it.
    net_params : dict, default=None
        Further parameters of the skorch net.
    random_state : int, RandomState instance or None, default=None
        Of initial weights, excerpts and dropout.
    verbose : int, default=0
        1 prints a table of epochs and a progress bar.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The trained net; ``net_.module_`` is the torch module.
    front_end_ : FrontEnd
        Settings of the `MelChunker` that it was trained with.
    n_epochs_ : int
        Epochs trained so far.
    history_ : skorch.history.History
        The training history, a row per epoch.
    loss_curve_, validation_loss_curve_ : list of float
        Losses per epoch; the latter is empty where no tracks were held back.

    References
    ----------
    .. [1] O. Ronneberger, P. Fischer and T. Brox, "U-Net: convolutional networks for biomedical
       image segmentation", MICCAI 2015.
    .. [2] A. Jansson et al., "Singing voice separation with deep U-Net convolutional networks",
       ISMIR 2017.

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
        self.loss = loss
        self.optimizer = optimizer
        self.lr = lr
        self.schedule = schedule
        self.weight_decay = weight_decay
        self.gradient_clipping = gradient_clipping
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.excerpts_per_epoch = excerpts_per_epoch
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.n_iter_no_change = n_iter_no_change
        self.augmentation = augmentation
        self.callbacks = callbacks
        self.warm_start = warm_start
        self.device = device
        self.precision = precision
        self.net_params = net_params
        self.random_state = random_state
        self.verbose = verbose

    def _network(self, front_end: FrontEnd) -> nn.Module:
        check_choice("architecture", self.architecture, tuple(_ARCHITECTURES))
        return _ARCHITECTURES[self.architecture](
            n_filters=check_integer("n_filters", self.n_filters, 1),
            n_levels=check_integer("n_levels", self.n_levels, 1, 10),
            dropout=check_number("dropout", self.dropout, 0.0, 1.0, include_high=False),
        )
