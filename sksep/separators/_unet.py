"""UNetSeparator: estimates masks with a U-Net."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import nn

from sksep.nn.front_end import FrontEnd
from sksep.nn.fully_convolutional import FullyConvolutionalNetwork
from sksep.nn.singing_voice_unet import SingingVoiceUNet
from sksep.nn.unet import SKIPS, UNet
from sksep.separators._net_separator import NetSeparator, document_training, loss_of, mask_loss
from sksep.utils._parameters import parameter
from sksep.utils._validation import choice, integer, number

_ARCHITECTURES: dict[str, type[nn.Module]] = {
    "report": UNet,
    "singing_voice": SingingVoiceUNet,
    "fully_convolutional": FullyConvolutionalNetwork,
}


@document_training
@dataclass(kw_only=True, eq=False, repr=False)
class UNetSeparator(NetSeparator):
    """Separate vocals with a U-Net that estimates their proportion mask.

    Parameters
    ----------
    architecture : {"report", "singing_voice", "fully_convolutional"}, default="report"
        "report" is the source report's U-Net [1]_ (3 x 3 convolutions, max-pooling).
        "singing_voice" is that of Jansson et al. [2]_ (5 x 5 convolutions of stride 2; set
        ``n_levels=6``). "fully_convolutional" has no decoder [3]_ and masks with blurred
        boundaries; it is there for comparison (set ``n_levels=5``).
    n_filters : int, default=16
        Number of filters on the first level. Each level below has twice as many
        ("fully_convolutional": up to eight times as many).
    n_levels : int, default=4
        Number of times that the resolution is halved.
    dropout : float, default=0.5
        Dropout probability in [0, 1). It concerns the channels at the bottom, or for
        "singing_voice" the first three levels of the decoder.
    skip : {"concatenate", "add"}, default="concatenate"
        Way in which the features of the encoder join those of the decoder. "fully_convolutional"
        has no decoder, and always adds.
    loss : {"bce", "l1", "snr", "si_sdr"} or callable, default="bce"
        "bce" is the cross-entropy of the proportion mask, and "l1" the distance of masked and true
        magnitudes. "snr" and "si_sdr" are the negative ratios, in dB, of the waveform inverted with
        the phase of the mixture. A callable takes mask logits of shape (batch, n_frames, n_bands)
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

    architecture: str = parameter("report", choice(*_ARCHITECTURES))
    n_filters: int = parameter(16, integer(1, 4096))
    n_levels: int = parameter(4, integer(1, 10))
    dropout: float = parameter(0.5, number(0.0, 1.0, include_high=False))
    skip: str = parameter("concatenate", choice(*SKIPS))
    loss: str | Callable[..., Any] = parameter("bce", mask_loss)

    def _network(self, front_end: FrontEnd) -> nn.Module:
        options: dict[str, Any] = {
            "n_filters": self.n_filters,
            "n_levels": self.n_levels,
            "dropout": self.dropout,
        }
        if self.architecture != "fully_convolutional":  # it has no decoder, and always adds
            options["skip"] = self.skip
        return _ARCHITECTURES[self.architecture](**options)

    def _objective(self) -> Callable[..., Any]:
        return loss_of(self.loss)
