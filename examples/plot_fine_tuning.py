"""
Fine-tuning on one singer
=========================

A separator that was trained on many singers may fail on the one that you need. If the vocals of
some songs of that singer are known, training can continue from the current weights, with
``warm_start=True`` and a lower learning rate. This page does so for two singers. It also measures
the price: how well the tuned models still separate all others.
"""

import copy

import matplotlib.pyplot as plt
import numpy as np

from sksep import Augmentation
from sksep.datasets import make_songs
from sksep.metrics import sdr
from sksep.plotting import AudioDisplay, LossCurveDisplay, ScoreDisplay
from sksep.presets import unet_pipeline

# %%
# A general model
# ---------------
#
# It is trained for seconds on two songs by each of eight singers, and tested on four others.

many = make_songs(16, duration=4.0, random_state=0)
others = make_songs(8, duration=4.0, random_state=5)
general = unet_pipeline(
    chunk__n_fft=1024,
    chunk__hop_length=256,
    chunk__n_mels=80,
    chunk__n_frames=64,
    separate__architecture="singing_voice",
    separate__n_filters=8,
    separate__n_levels=4,
    separate__dropout=0.0,
    separate__lr=5e-3,
    separate__max_epochs=4,
    separate__excerpts_per_epoch=128,
    separate__validation_fraction=0.0,
    separate__augmentation=Augmentation(true_pairs=0.3, gain_range=(-6, 6)),
    separate__random_state=0,
    invert__n_iter=0,
)
general.fit(many.mixtures, many.vocals)


def scores(model, mixtures, vocals):
    """SDR of each track in dB."""
    return [sdr(*pair) for pair in zip(vocals, model.predict(mixtures), strict=True)]


# %%
# Two singers
# -----------
#
# Each singer has one song to tune on and another one to test on, cut into pieces. The general
# model fails on the first singer, who was chosen for that reason, and does well on the second.


def songs_of(seed, n_pieces=6):
    """The two songs of a singer: mixtures and vocals of pieces of three seconds."""
    songs = make_songs(2, duration=18.0, random_state=seed)
    stems = zip(songs.mixtures, songs.vocals, strict=True)
    return [[np.split(stem, n_pieces) for stem in song] for song in stems]


to_tune, to_test = {}, {}
for name, seed in {"singer A": 20, "singer B": 21}.items():
    to_tune[name], to_test[name] = songs_of(seed)
    floor = np.mean([sdr(*pair) for pair in zip(*to_test[name][::-1], strict=True)])
    reached = np.mean(scores(general, *to_test[name]))
    print(f"{name}: mixture {floor:.2f} dB, general model {reached:.2f} dB")

# %%
# Continue the training
# ---------------------
#
# One song is little. The accompaniments of the many songs help: half of the excerpts mix the singer
# with them. ``fit`` changes the pipeline that it is called on, so a copy is tuned. A clone would be
# of no use, since it has no weights.

tuned = {}
for name, song in to_tune.items():
    tuned[name] = copy.deepcopy(general).set_params(
        separate__warm_start=True,
        separate__lr=3e-3,
        separate__max_epochs=4,
        separate__excerpts_per_epoch=64,
        separate__augmentation=Augmentation(
            true_pairs=0.5, gain_range=(-6, 6), accompaniment_pool=many.accompaniments
        ),
    )
    tuned[name].fit(*song)
LossCurveDisplay.from_estimator(tuned)

# %%
# The first four epochs are those of the general model: the history continues where it ended, with
# other songs.
#
# Gains and losses
# ----------------

figure, axes = plt.subplots(2, 2, figsize=(9, 8), layout="constrained", sharey=True)
before_others = scores(general, others.mixtures, others.vocals)
for column, (name, song) in zip(axes.T, to_test.items(), strict=True):
    known = scores(general, *song), scores(tuned[name], *song)
    unknown = before_others, scores(tuned[name], others.mixtures, others.vocals)
    titles = f"The other song of {name}", f"Songs of others, tuned on {name}"
    for ax, title, (before, after) in zip(column, titles, (known, unknown), strict=True):
        pairs = {"general": before, "tuned": after}
        ScoreDisplay.from_scores(pairs, label="SDR", kind="paired", ax=ax)
        ax.set_title(title)
        change = np.mean(after) - np.mean(before)
        print(f"{title:35}{np.mean(before):6.2f} dB,{np.mean(after):6.2f} dB after:{change:+6.2f}")

# %%
# The model that was tuned on singer A gains in every piece of a song that it did not train on, and
# loses in most songs of others: it is now a model of one singer. Where the general model did well,
# there was little to gain, less than the difference between two pieces. So keep the general model,
# tune a copy, and measure both before you use it.
#
# This is the piece that gains most:

name = "singer A"
gains = np.subtract(scores(tuned[name], *to_test[name]), scores(general, *to_test[name]))
models = {"general model": general, f"tuned on {name}": tuned[name]}
AudioDisplay.from_estimator(models, *to_test[name], track=int(np.argmax(gains)))
