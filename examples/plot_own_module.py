"""
A network and a loss of your own
================================

:class:`sksep.ModuleSeparator` trains any torch module that turns spectrograms into masks. Chunks,
targets, augmentation, validation, long songs and inversion are those of the other separators, and
so are pipelines and searches. A loss of your own works in the same way, there and in
:class:`sksep.UNetSeparator`.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.pipeline import Pipeline
from torch import nn

from sksep import Augmentation, GriffinLimInverter, MaskBuilder, MelChunker, ModuleSeparator
from sksep.datasets import make_songs
from sksep.metrics import sdr
from sksep.plotting import AudioDisplay, LossCurveDisplay, MaskDisplay, SearchDisplay

songs = make_songs(12, duration=4.0, random_state=0)
train, test = slice(0, 8), slice(8, 12)

# %%
# The module
# ----------
#
# It gets log power that is normalized per band, of shape (batch, 1, n_frames, n_bands), and returns
# logits of the same shape: the sigmoid of a logit is the share of the vocals. This one stacks
# convolutions whose dilation over time grows, so that the estimate of a bin depends on a long time
# before it and after it.


class DilatedConvolutions(nn.Module):
    """Residual convolutions, dilated over time."""

    def __init__(self, width=12, n_layers=4):
        super().__init__()
        self.first = nn.Conv2d(1, width, 5, padding=2)
        self.layers = nn.ModuleList(
            nn.Sequential(
                nn.BatchNorm2d(width),
                nn.ReLU(),
                nn.Conv2d(width, width, (3, 5), padding=(2**n, 2), dilation=(2**n, 1)),
            )
            for n in range(n_layers)
        )
        self.last = nn.Conv2d(width, 1, 1)

    def forward(self, features):
        """Logits of the mask."""
        hidden = self.first(features)
        for layer in self.layers:
            hidden = hidden + layer(hidden)
        return self.last(hidden)


# %%
# The loss
# --------
#
# A loss gets the logits, (batch, n_frames, n_bands), and the excerpts, which compute the values
# that it needs: waveforms, spectra, power per band, true masks, or the waveform that a mask makes.


def waveform_distance(logits, excerpts):
    """Mean distance of the estimated and the true waveforms, relative to the true ones."""
    estimate, vocals = excerpts.invert(torch.sigmoid(logits))
    return (estimate - vocals).abs().mean() / vocals.abs().mean()


pipeline = Pipeline(
    [
        ("chunk", MelChunker(n_fft=1024, hop_length=256, n_mels=64, n_frames=64)),
        ("mask", MaskBuilder()),
        (
            "separate",
            ModuleSeparator(
                DilatedConvolutions,
                module_params={"width": 8},
                loss=waveform_distance,
                optimizer="adamw",
                lr=1e-2,
                schedule="one_cycle",
                batch_size=8,
                max_epochs=4,
                excerpts_per_epoch=56,
                validation_fraction=0.25,
                augmentation=Augmentation(true_pairs=0.5, gain_range=(-3, 3)),
                random_state=0,
            ),
        ),
        ("invert", GriffinLimInverter(n_iter=0)),
    ]
)


def scores(model):
    """SDR of the test songs in dB."""
    estimates = model.predict(songs.mixtures[test])
    return [sdr(*pair) for pair in zip(songs.vocals[test], estimates, strict=True)]


# %%
# Two losses
# ----------
#
# The same module is trained with that loss, and with the negative signal-to-noise ratio, which has
# the name "snr". Each curve has its own unit: losses of two kinds cannot be compared, scores can.

models = {}
for name, loss in {"distance": waveform_distance, "snr": "snr"}.items():
    model = clone(pipeline).set_params(separate__loss=loss)
    models[name] = model.fit(songs.mixtures[train], songs.vocals[train])
    print(f"{name:11}{np.mean(scores(models[name])):6.2f} dB, mean SDR of songs of other singers")
mixtures = zip(songs.vocals[test], songs.mixtures[test], strict=True)
print(f"{'the mixture':11}{np.mean([sdr(*pair) for pair in mixtures]):6.2f} dB")

figure, axes = plt.subplots(1, 2, figsize=(9, 3), layout="constrained")
for ax, (name, model) in zip(axes, models.items(), strict=True):
    LossCurveDisplay.from_estimator(model, ax=ax, name=name)

# %%
# These are the masks of a song that was not trained on. Both models find harmonics, but cannot yet
# distinguish all harmonics of the band from those of the voice.

MaskDisplay.from_estimator(models, songs.mixtures[test], songs.vocals[test])

# %%
# This is the sound that they let through:

AudioDisplay.from_estimator(models, songs.mixtures[test], songs.vocals[test])

# %%
# A search
# --------
#
# Searches vary ``module_params`` as a whole. Songs of one singer stay together.

search = GridSearchCV(
    clone(pipeline).set_params(
        separate__loss="snr", separate__max_epochs=2, separate__excerpts_per_epoch=40
    ),
    {"separate__module_params": [{"width": 4}, {"width": 12}]},
    cv=GroupKFold(2),
    refit=False,
)
search.fit(songs.mixtures[train], songs.vocals[train], groups=songs.groups[train])
for parameters, mean in zip(
    search.cv_results_["params"], search.cv_results_["mean_test_score"], strict=True
):
    print(parameters, f"{mean:.2f} dB")
SearchDisplay.from_estimator(search)
