"""
One set of estimates, five scores
=================================

"An SDR of 8 dB" says little unless one knows which SDR. This page scores the vocals of six songs,
separated by one model, by the definitions that papers use.
"""

from functools import partial

import matplotlib.pyplot as plt
import numpy as np

import sksep
from sksep.datasets import make_songs
from sksep.metrics import bss_eval, bss_eval_frames, nsdr, sdr, si_sdr
from sksep.plotting import ScoreDisplay

songs = make_songs(6, duration=8.0, random_state=0)
rate = songs.sample_rate
estimates = sksep.load_pretrained("small").predict(songs.mixtures)

# %%
# The definitions
# ---------------
#
# All are ratios, in dB, of the energies of the right and the wrong part. They differ in the errors
# that they forgive:
#
# - Plain SNR forgives nothing: every difference from the true vocals is wrong.
# - SI-SDR forgives a gain that is wrong throughout the track. It can be below SNR, as here: if
#   the estimate is too soft, it is compared with softer vocals, too.
# - BSSEval v3 forgives any filter of 512 taps, such as a room or an equalizer.
# - BSSEval v4 forgives nothing in its SDR, but is taken in frames of a second, and the median of
#   the frames is the score of the track.
# - NSDR is the gain over the mixture, here by BSSEval v3: a song with a loud voice does not get a
#   high score without any separation.


def frames_of(vocals, estimate, mixture):
    """Scores of the frames (BSSEval v4) of the vocals."""
    references = np.stack([vocals, mixture - vocals])
    separated = np.stack([estimate, mixture - estimate])
    return bss_eval_frames(references, separated, window=rate, hop=rate)


tracks = list(zip(songs.vocals, estimates, songs.mixtures, strict=True))
frames = [frames_of(*track) for track in tracks]
scores = {
    "SNR": [sdr(vocals, estimate, protocol="snr") for vocals, estimate, _ in tracks],
    "SI-SDR": [si_sdr(vocals, estimate) for vocals, estimate, _ in tracks],
    "BSSEval v3": [sdr(vocals, estimate) for vocals, estimate, _ in tracks],
    "BSSEval v4": [track.median().sdr[0] for track in frames],
    "NSDR": [nsdr(*track) for track in tracks],
}
print(f"{'':12}" + "".join(f"{name:>9}" for name in songs.track_names) + "   median     mean")
for name, values in scores.items():
    row = [*values, np.median(values), np.mean(values)]
    print(f"{name:12}" + "".join(f"{value:9.2f}" for value in row))

# %%
# The same waveforms get different numbers, so a table that mixes definitions compares nothing.
# The definitions do not even agree on the worst song: it is ``song-1`` by NSDR, and ``song-2`` by
# the others. Each line is a song.

ScoreDisplay.from_scores(scores, label="Score", kind="paired")

# %%
# The spread over the songs differs from the spread over the definitions:

ScoreDisplay.from_scores(scores, label="Score", kind="box")

# %%
# Errors that are forgiven
# ------------------------
#
# Here are three changes of an estimate that one hardly hears, or would not call an error of
# separation: half the level, a delay of half a millisecond, and a gentle low-pass filter.


def delayed(waveform, n_samples=8):
    """The waveform, later."""
    return np.concatenate([np.zeros(n_samples, np.float32), waveform[:-n_samples]])


def smoothed(waveform):
    """The mean of two neighboring samples."""
    return (waveform + delayed(waveform, 1)) / 2


vocals, estimate, mixture = tracks[0]
measures = {
    "SNR": partial(sdr, protocol="snr"),
    "SI-SDR": si_sdr,
    "BSSEval v3": sdr,
    "BSSEval v4": lambda vocals, changed: frames_of(vocals, changed, mixture).median().sdr[0],
}
changes = {
    "as it is": estimate,
    "half the level": estimate / 2,
    "0.5 ms later": delayed(estimate),
    "smoothed": smoothed(estimate),
}
print(f"{'':15}" + "".join(f"{name:>12}" for name in measures))
for change, waveform in changes.items():
    row = [measure(vocals, waveform) for measure in measures.values()]
    print(f"{change:15}" + "".join(f"{value:12.2f}" for value in row))

# %%
# BSSEval v3 forgives all three. The delay, which nobody hears, costs SNR more than 10 dB and SI-SDR
# more than 16 dB: scores without a filter need estimates that are aligned to the sample.
#
# Frames
# ------
#
# The score of a track does not show where the model fails. In each of these songs the frames differ
# by more than the scores (BSSEval v4) of all six songs do.

figure, ax = plt.subplots(figsize=(8, 3), layout="constrained")
for name, track in zip(songs.track_names[:3], frames, strict=False):
    ax.plot(np.arange(len(track.sdr[0])) + 0.5, track.sdr[0], "o-", label=name)
ax.set(xlabel="Time (s)", ylabel="SDR of the frame (dB)")
ax.legend()

# %%
# SDR alone does not say what is wrong. :func:`sksep.metrics.bss_eval` splits the error into the
# rest of the other source (SIR) and the artifacts of separation (SAR); it needs all true sources.

references = np.stack([vocals, mixture - vocals])
parts = bss_eval(references, np.stack([estimate, mixture - estimate]))
for source, *values in zip(("vocals", "accompaniment"), *parts[:3], strict=True):
    print(f"{source:14}SDR {values[0]:6.2f} dB, SIR {values[1]:6.2f} dB, SAR {values[2]:6.2f} dB")
