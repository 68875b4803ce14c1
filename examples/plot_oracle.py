"""
How good can a mask be?
=======================

A separator that works by masks cannot be better than the true mask. The quality of the true mask
depends on the front end (window, hop, mel bands) and on the kind of the mask. It can be measured
without training: :class:`sksep.OracleMaskSeparator` makes masks from the truth. Do this first, on
songs like your own: a front end with a low ceiling wastes every hour of training.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.pipeline import Pipeline

from sksep import GriffinLimInverter, MaskBuilder, MelChunker, OracleMaskSeparator
from sksep.datasets import make_songs
from sksep.metrics import sdr
from sksep.plotting import AudioDisplay, MaskDisplay

songs = make_songs(4, duration=4.0, random_state=0)


def ceiling(kind="ratio", n_iter=0, **front_end):
    """The fitted oracle, and the SDR in dB that its masks allow in each song."""
    pipeline = Pipeline(
        [
            ("chunk", MelChunker(**front_end)),
            ("mask", MaskBuilder()),
            ("separate", OracleMaskSeparator(kind)),
            ("invert", GriffinLimInverter(n_iter=n_iter)),
        ]
    )
    estimates = pipeline.fit(songs.mixtures, songs.vocals).predict(songs.mixtures)
    return pipeline, [sdr(*pair) for pair in zip(songs.vocals, estimates, strict=True)]


# %%
# The front end
# -------------
#
# A long window separates neighboring harmonics, a short one separates neighboring moments. Mel
# bands merge the upper bins, so that the network has less to compute; ``n_mels=None`` merges
# nothing. The hop is an eighth of the window in the first row and a quarter in the others: it
# hardly matters for the ceiling, but a large hop means fewer frames to compute.

FRONT_ENDS = {
    "1024, hop 128, 128 mels (the report's)": {"n_fft": 1024, "hop_length": 128, "n_mels": 128},
    "1024, hop 256, 64 mels": {"n_fft": 1024, "hop_length": 256, "n_mels": 64},
    "1024, hop 256, 128 mels": {"n_fft": 1024, "hop_length": 256, "n_mels": 128},
    "1024, hop 256, linear": {"n_fft": 1024, "hop_length": 256, "n_mels": None},
    "2048, hop 512, 128 mels": {"n_fft": 2048, "hop_length": 512, "n_mels": 128},
    "2048, hop 512, 256 mels": {"n_fft": 2048, "hop_length": 512, "n_mels": 256},
    "2048, hop 512, linear": {"n_fft": 2048, "hop_length": 512, "n_mels": None},
    "4096, hop 1024, 256 mels": {"n_fft": 4096, "hop_length": 1024, "n_mels": 256},
}
by_front_end = {name: ceiling(**front_end)[1] for name, front_end in FRONT_ENDS.items()}
for name, front_end in FRONT_ENDS.items():
    bands = front_end["n_mels"] or front_end["n_fft"] // 2 + 1
    values = bands * songs.sample_rate / front_end["hop_length"]
    print(f"{name:40}{np.mean(by_front_end[name]):6.2f} dB {values:9.0f} mask values per second")


def draw_bars(scores, title):
    """A bar for the mean of each row, a dot for each song."""
    _, ax = plt.subplots(figsize=(8, 0.4 * len(scores) + 1.2), layout="constrained")
    names = list(scores)
    ax.barh(names, [np.mean(scores[name]) for name in names], color="tab:blue", alpha=0.5)
    for name in names:
        ax.plot(scores[name], [name] * len(scores[name]), "k.")
    ax.invert_yaxis()
    ax.set(xlabel="SDR of the vocals in dB (BSSEval v3)", title=title)


draw_bars(by_front_end, "True ratio masks, phase of the mixture")

# %%
# The kind of mask
# ----------------
#
# A binary mask gives each bin to one source. A ratio mask shares it, in proportion to power or to
# magnitude. A phase-sensitive mask also counts how far the phases of the two agree. A few
# iterations of Griffin-Lim raise the SDR of all masks but the binary one (:ref:`guide_phases`).

KINDS = ("binary", "magnitude_ratio", "ratio", "phase_sensitive")
WIDE = FRONT_ENDS["2048, hop 512, 256 mels"]
oracles, by_kind = {}, {}
for kind in KINDS:
    oracles[kind], by_kind[kind] = ceiling(kind, **WIDE)
    by_kind[f"{kind}, 10 iterations"] = ceiling(kind, n_iter=10, **WIDE)[1]
draw_bars(by_kind, "Kinds of true masks, without and with 10 Griffin-Lim iterations")

# %%
# These are the masks of the first song:

_ = MaskDisplay.from_estimator(oracles, songs.mixtures, songs.vocals)

# %%
# And these are the sounds that they give. The rest of the band is the cost of masks and of the
# phase of the mixture, not of any network.

sounds = {kind: oracle.predict(songs.mixtures[:1])[0] for kind, oracle in oracles.items()}
AudioDisplay(
    {"mixture": songs.mixtures[0], "true vocals": songs.vocals[0], **sounds},
    sample_rate=songs.sample_rate,
)
