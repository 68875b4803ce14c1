"""
Griffin-Lim, from the mixture's phase and from none
===================================================

A mask says how loud the vocals are in each bin. A waveform needs phases too. Those of the mixture
are at hand, and nearly right wherever the vocals are loud; the source report starts from random
ones and leaves the rest to the Griffin-Lim algorithm. With *true* masks, so that phases are all
that can go wrong, this example shows what either costs. More in :ref:`guide_phases`.
"""

import matplotlib.pyplot as plt
import numpy as np

from sksep import GriffinLimInverter, MaskBuilder, MelChunker
from sksep.datasets import make_songs
from sksep.metrics import sdr
from sksep.plotting import AudioDisplay, SpectrogramDisplay

songs = make_songs(2, duration=4.0, random_state=0)

# %%
# The true masks
# --------------
#
# The first two steps of a pipeline give the batch and the truth. ``with_masks`` sets the masks that
# a separator would have estimated.

chunker = MelChunker(n_fft=1024, hop_length=256, n_mels=128)
batch = MaskBuilder().fit_transform(chunker.transform(songs.mixtures), songs.vocals)
batch = batch.with_masks(record.targets.proportion_mask for record in batch)
print(batch[0])

# %%
# SDR against iterations
# ----------------------
#
# Each iteration turns the spectrum into a waveform and back, keeps the phases that come out, and
# sets the magnitudes to the wanted ones again. The true vocals are not among what it looks at:
# magnitudes that belong together are all that leads it. Momentum (fast Griffin-Lim) makes larger
# steps.

N_ITER = (0, 1, 2, 5, 10, 20, 50)
STARTS = {
    "mixture's phase": {"init": "mixture"},
    "mixture's phase, momentum 0.99": {"init": "mixture", "momentum": 0.99},
    "random phases": {"init": "random", "random_state": 0},
    "random phases, momentum 0.99": {"init": "random", "momentum": 0.99, "random_state": 0},
}
estimates = {
    name: [
        GriffinLimInverter(n_iter=n_iter, **start).fit(batch).predict(batch) for n_iter in N_ITER
    ]
    for name, start in STARTS.items()
}
curves = {
    name: [
        np.mean([sdr(*pair) for pair in zip(songs.vocals, waveforms, strict=True)])
        for waveforms in per_count
    ]
    for name, per_count in estimates.items()
}

mixture_sdr = np.mean([sdr(*pair) for pair in zip(songs.vocals, songs.mixtures, strict=True)])
print("SDR of the vocals in dB, mean of the songs\n")
print(f"{'iterations':32}" + "".join(f"{n_iter:7}" for n_iter in N_ITER))
for name, curve in curves.items():
    print(f"{name:32}" + "".join(f"{value:7.2f}" for value in curve))

print(f"the mixture itself{mixture_sdr:21.2f}")

figure, ax = plt.subplots(figsize=(8, 4), layout="constrained")
for name, curve in curves.items():
    ax.plot(N_ITER, curve, "o-", label=name)
ax.axhline(mixture_sdr, color="gray", linestyle="--", label="the mixture itself")
ax.set_xscale("symlog", linthresh=1)
ax.set_xticks(N_ITER, [str(n_iter) for n_iter in N_ITER])
ax.minorticks_off()
ax.set(xlabel="Griffin-Lim iterations", ylabel="SDR in dB (BSSEval v3)")
_ = ax.legend()

# %%
# The gap between the two starts is larger than all that the iterations add or take. From the
# mixture's phase a few of them help a little, and many of them undo that; with momentum they do
# harm. From random phases the plain algorithm brings even true masks in 50 iterations about as far
# as doing nothing would; momentum is of use there. The SDR compares waveforms, and a waveform of
# other phases is another one.
#
# What one sees, and hears
# ------------------------
#
# The magnitudes look alike, whatever the phases are: a spectrogram does not show what went wrong.

picked = {
    "mixture's phase, 10 iterations": estimates["mixture's phase"][N_ITER.index(10)][0],
    "random phases, 10 iterations": estimates["random phases"][N_ITER.index(10)][0],
    "random phases, momentum, 50 iterations": estimates["random phases, momentum 0.99"][-1][0],
}
_ = SpectrogramDisplay.from_predictions(songs.vocals[0], picked, sample_rate=songs.sample_rate)

# %%
# How much of it one hears is another question than the SDR. Compare the true vocals with the
# others:

AudioDisplay.from_predictions(songs.vocals[0], picked, sample_rate=songs.sample_rate)
