"""
More songs from few: remixing and variations
============================================

The voice of one song and the band of another make a new song, and its truth is known. Separators
train on such mixtures by themselves (:class:`sksep.Augmentation`); :func:`sksep.datasets.remix`
makes mixtures to keep. This page shows what a network is trained on, and how much this helps when
there are few songs.
"""

import matplotlib.pyplot as plt
import numpy as np
import torch

from sksep import Augmentation
from sksep.datasets import make_songs, remix
from sksep.metrics import sdr
from sksep.plotting import AudioDisplay, LossCurveDisplay, ScoreDisplay, SpectrogramDisplay
from sksep.presets import unet_pipeline

songs = make_songs(4, duration=4.0, random_state=10)
rate = songs.sample_rate

# %%
# Voices and bands of different songs
# -----------------------------------
#
# Four songs make twelve new pairs, besides the four known ones. Levels are random, too.

mixes = remix(
    songs.vocals,
    songs.accompaniments,
    n_tracks=12,
    sample_rate=rate,
    groups=songs.groups,
    random_state=0,
)
for index in range(3):
    print(
        f"{mixes.groups[index]}: vocals of song {mixes.vocals_indices[index]} over song "
        f"{mixes.accompaniment_indices[index]}, {mixes.gains[index]:+.1f} dB"
    )
voice = int(mixes.vocals_indices[0])
same_voice = np.flatnonzero(mixes.vocals_indices == voice)
AudioDisplay(
    {
        f"song {voice}": songs.mixtures[voice],
        **{
            f"its vocals over song {mixes.accompaniment_indices[index]}": mixes.mixtures[index]
            for index in same_voice
        },
    },
    sample_rate=rate,
)

# %%
# Variations
# ----------
#
# Speed acts as on a tape: pitch and formants change with it, and a singer becomes another one. A
# phase vocoder changes tempo or pitch alone, which takes longer to compute. In training they are
# drawn from ranges, once per batch; here each range is a point. Vocals and accompaniment are varied
# in the same way, so that the truth stays known.

settings = {
    "as recorded": {},
    "speed 1.25": {"speed_range": (1.25, 1.25)},
    "tempo 1.25": {"time_stretch_range": (1.25, 1.25)},
    "pitch + 4 semitones": {"pitch_shift_range": (4.0, 4.0)},
    "noise": {"noise_snr": 15.0},
}
n_samples = 3 * rate
torch.manual_seed(0)
varied = {}
for name, ranges in settings.items():
    variation = Augmentation(**ranges)
    n_needed = variation.source_length(n_samples)  # more, if it is played faster
    stems = np.stack([songs.vocals[0], songs.accompaniments[0]])[None, :, :n_needed]
    vocals, accompaniment = variation.vary(torch.tensor(stems), n_samples).unbind(dim=1)
    accompaniment = variation.add_noise(vocals, accompaniment)
    varied[name] = (vocals + accompaniment)[0].numpy()
SpectrogramDisplay.from_predictions(None, varied, sample_rate=rate)

# %%

AudioDisplay(varied, sample_rate=rate)

# %%
# The benefit
# -----------
#
# One network trains on the four songs, at random positions, as they were recorded. Another one gets
# as many excerpts, but four of five mix voices and bands of different songs. Both are tested
# on songs of other singers.

AUGMENTATIONS = {
    "as recorded": Augmentation(
        true_pairs=1.0, vocal_free=0.0, gain_range=(0.0, 0.0), level_range=(0.0, 0.0)
    ),
    "remixed": Augmentation(true_pairs=0.2, vocal_free=0.0),
}
test = make_songs(12, duration=4.0, random_state=1)
models, scores = {}, {}
for name, augmentation in AUGMENTATIONS.items():
    models[name] = unet_pipeline(
        chunk__n_fft=1024,
        chunk__hop_length=256,
        chunk__n_mels=80,
        chunk__n_frames=64,
        separate__architecture="singing_voice",
        separate__n_filters=8,
        separate__n_levels=4,
        separate__dropout=0.0,
        separate__lr=5e-3,
        separate__max_epochs=6,
        separate__excerpts_per_epoch=96,
        separate__augmentation=augmentation,
        separate__random_state=0,
        invert__n_iter=0,
    ).fit(songs.mixtures, songs.vocals)
    known, unknown = (
        [sdr(*pair) for pair in zip(part.vocals, models[name].predict(part.mixtures), strict=True)]
        for part in (songs, test)
    )
    scores[name] = unknown
    print(f"{name:12}{np.mean(known):6.2f} dB on the songs that it trained on", end=", ")
    print(f"{np.mean(unknown):5.2f} dB on others")

figure, (left, right) = plt.subplots(1, 2, figsize=(9, 4), layout="constrained")
LossCurveDisplay.from_estimator(models, ax=left)
ScoreDisplay.from_scores(scores, label="SDR of other songs", kind="paired", ax=right)

# %%
# The network that trains on the songs as they were recorded fits them better and other songs worse.
# Its loss is lower because its task is easier: training losses of two kinds of excerpts do not say
# which model is better. Each line on the right is a song; not every song gains.
