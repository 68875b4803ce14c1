"""
A separator in one page
=======================

A vocal separator is a scikit-learn :class:`~sklearn.pipeline.Pipeline` of four steps: it cuts
tracks into chunks, attaches the truth, estimates masks and turns them into waveforms. One track is
one sample, so ``fit``, ``predict`` and ``score`` take lists of songs. This example trains a small
U-Net for a few seconds and lets it separate songs of other singers.
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
# The songs are made up, so that their vocals are known. Each singer has two: a synthetic voice over
# chords, bass and drums. Use your own songs in the same way, as arrays or as paths of audio files
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
# The output of each step
# -----------------------
#
# :class:`~sksep.MelChunker` turns each track into a log-mel spectrogram, and returns a batch with
# a record for each track:

pipeline["chunk"].transform(mixtures[:3])

# %%
# :class:`~sksep.MaskBuilder` attaches the truth, but only by ``fit_transform``, which a pipeline
# calls while it fits. At prediction nothing about the vocals is known:

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
# The separator returns the batch with masks: numbers between 0 and 1 that estimate how much of each
# bin is vocals. The inverter makes waveforms of them, one for each track.

masked = pipeline[:-1].transform(test_mixtures)
estimates = pipeline.predict(test_mixtures)
print("with masks:", masked[0])
print("waveforms: ", [estimate.shape for estimate in estimates])

# %%
# ``score`` is the mean SDR of the vocals in dB. Compare it with the SDR of the mixture itself,
# which one gets without any separation:

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
# The picture shows a song that was not trained on; from top to bottom, the mixture, the true vocals
# and the estimate. Drums and bass are damped most; in the pause in the middle some of the band
# remains.

_ = SpectrogramDisplay.from_estimator(pipeline, test_mixtures, test_vocals, track=1, name="U-Net")

# %%
# These are the masks: the truth as yes or no, the truth as a share, and the estimate of the latter,
# which is gray where the network is not sure. It needs a longer training on more songs
# (:ref:`guide_training`).

_ = MaskDisplay.from_estimator(pipeline, test_mixtures, test_vocals, track=1, name="U-Net")

# %%
# The accompaniment is exactly the mixture minus the vocals.

AudioDisplay(
    {
        "mixture": test_mixtures[1],
        "true vocals": test_vocals[1],
        "vocals, separated": estimates[1],
        "accompaniment, separated": test_mixtures[1] - estimates[1],
    },
    sample_rate=songs.sample_rate,
)
