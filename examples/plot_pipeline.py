"""
A separator in one page
=======================

A vocal separator is a scikit-learn :class:`~sklearn.pipeline.Pipeline` of four steps: cut tracks
into chunks, attach the truth, estimate masks, make waveforms of them. One track is one sample, so
``fit``, ``predict`` and ``score`` take lists of songs. This example trains a small U-Net for a few
seconds and lets it separate songs of singers that it has not heard.
"""

import numpy as np
from sklearn.pipeline import Pipeline

from sksep import GriffinLimInverter, MaskBuilder, MelChunker, UNetSeparator
from sksep.datasets import make_songs
from sksep.metrics import sdr
from sksep.plotting import AudioDisplay, MaskDisplay, SpectrogramDisplay

# %%
# Songs
# -----
#
# Made-up songs whose vocals are known, two of each singer: a synthetic voice over chords, bass and
# drums. Your own songs go in the same way, as arrays or as paths of audio files
# (:ref:`guide_tracks`).

songs = make_songs(20, duration=6.0, random_state=0)
mixtures, vocals = songs.mixtures[:16], songs.vocals[:16]
test_mixtures, test_vocals = songs.mixtures[16:], songs.vocals[16:]
print("trained on:", *dict.fromkeys(songs.groups[:16]))
print("tested on: ", *dict.fromkeys(songs.groups[16:]))

# %%
# Four steps
# ----------

pipeline = Pipeline(
    [
        ("chunk", MelChunker(n_fft=2048, hop_length=512, n_mels=128, n_frames=32)),
        ("mask", MaskBuilder()),
        (
            "separate",
            UNetSeparator(
                n_filters=8,
                n_levels=3,
                dropout=0.1,
                loss="snr",
                optimizer="adamw",
                lr=3e-3,
                schedule="one_cycle",
                batch_size=8,
                excerpts_per_epoch=120,
                random_state=0,
            ),
        ),
        ("invert", GriffinLimInverter(n_iter=5)),
    ]
)

# %%
# The parameters of each step can be set from outside, as grid searches do. Expand the steps to see
# them all:

pipeline.set_params(separate__max_epochs=6)

# %%
# What each step hands on
# -----------------------
#
# :class:`~sksep.MelChunker` turns each track into a log-mel spectrogram, and hands on a batch with
# a record for each track:

pipeline["chunk"].transform(mixtures[:3])

# %%
# :class:`~sksep.MaskBuilder` attaches the truth, but only by ``fit_transform``, which a pipeline
# calls while it fits. Nothing about the vocals is known when predicting:

batch = pipeline["chunk"].transform(mixtures[:3])
fitting = pipeline["mask"].fit_transform(batch, vocals[:3])
predicting = pipeline["mask"].transform(batch)
print("fit_transform:", fitting[0])
print("transform:    ", predicting[0])

# %%
# Fit, predict, score
# -------------------

_ = pipeline.fit(mixtures, vocals)
print("loss by epoch:", *(f"{loss:.2f}" for loss in pipeline["separate"].loss_curve_))

# %%
# The separator hands on the batch with masks: how much of each bin it takes for vocals, as numbers
# between 0 and 1. The inverter makes waveforms of them, one for each track.

masked = pipeline[:-1].transform(test_mixtures)
estimates = pipeline.predict(test_mixtures)
print("with masks:", masked[0])
print("waveforms: ", [estimate.shape for estimate in estimates])

# %%
# ``score`` is the mean SDR of the vocals in dB. What it is worth shows beside the SDR of the
# mixture itself, which is what doing nothing would get:

for name, mixture, truth, estimate in zip(
    songs.track_names[16:], test_mixtures, test_vocals, estimates, strict=True
):
    print(
        f"{name}: mixture {sdr(truth, mixture):5.2f} dB, separated {sdr(truth, estimate):5.2f} dB"
    )
unseparated = np.mean([sdr(*pair) for pair in zip(test_vocals, test_mixtures, strict=True)])
print(f"mean: {unseparated:.2f} dB, separated {pipeline.score(test_mixtures, test_vocals):.2f} dB")

# %%
# See and hear
# ------------
#
# A song that was not trained on, from above: what goes in, what is wanted, what comes out.
# Drums and bass are damped most; in the pause in the middle some of the band remains.

_ = SpectrogramDisplay.from_estimator(pipeline, test_mixtures, test_vocals, track=1, name="U-Net")

# %%
# The masks behind that: the truth as yes or no, the truth as a share, and the estimate of the
# latter, which is grey where the network is not sure. Longer training on more songs is what it
# lacks (:ref:`guide_training`).

_ = MaskDisplay.from_estimator(pipeline, test_mixtures, test_vocals, track=1, name="U-Net")

# %%
# The accompaniment is the mixture less the vocals, exactly.

AudioDisplay(
    {
        "mixture": test_mixtures[1],
        "true vocals": test_vocals[1],
        "vocals, separated": estimates[1],
        "accompaniment, separated": test_mixtures[1] - estimates[1],
    },
    sample_rate=songs.sample_rate,
)
