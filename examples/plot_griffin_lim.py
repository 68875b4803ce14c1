"""
Griffin-Lim, from the mixture's phase and from random phases
============================================================

A mask says how loud the vocals are in each bin. A waveform needs phases too. Those of the mixture
are known, and nearly right wherever the vocals are loud. The source report starts from random
phases and leaves the rest to the Griffin-Lim algorithm. This example shows the cost of both, with
*true* masks, so that only the phases can be wrong. :ref:`guide_phases` says more.
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
# Each iteration turns the spectrum into a waveform and back, keeps the resulting phases, and sets
# the magnitudes to the wanted ones again. It does not use the true vocals: it only looks for phases
# that are consistent with the magnitudes. Momentum (fast Griffin-Lim) makes larger steps.

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
# The gap between the two starts is larger than the effect of all iterations. From the mixture's
# phase a few iterations help a little, and many undo that; with momentum they do harm. From random
# phases the plain algorithm takes 50 iterations to reach, even with true masks, about the SDR of
# the mixture itself; momentum helps there. The SDR compares waveforms, and a waveform with other
# phases is a different one.
#
# See and hear
# ------------
#
# The magnitudes look alike, whatever the phases are: a spectrogram does not show the errors.

picked = {
    "mixture's phase, 10 iterations": estimates["mixture's phase"][N_ITER.index(10)][0],
    "random phases, 10 iterations": estimates["random phases"][N_ITER.index(10)][0],
    "random phases, momentum, 50 iterations": estimates["random phases, momentum 0.99"][-1][0],
}
_ = SpectrogramDisplay.from_predictions(songs.vocals[0], picked, sample_rate=songs.sample_rate)

# %%
# The SDR does not say how much of the errors one hears. Compare the true vocals with the
# others:

AudioDisplay.from_predictions(songs.vocals[0], picked, sample_rate=songs.sample_rate)
