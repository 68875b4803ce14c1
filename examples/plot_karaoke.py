"""
Karaoke, and other uses of vocals
=================================

This page uses separated vocals in three ways: for a remix, for a list of the times when someone
sings, and for the melody. The model ships with sksep. The song is made up, so that the truth is
known.
"""

import librosa
import matplotlib.pyplot as plt
import numpy as np

import sksep
from sksep.datasets import make_songs
from sksep.metrics import sdr
from sksep.plotting import AudioDisplay

song = make_songs(1, duration=12.0, random_state=1)
mixture, true_vocals, rate = song.mixtures[0], song.vocals[0], song.sample_rate
vocals, accompaniment, _ = sksep.separate(mixture, "uhnet", sample_rate=rate)
print(f"SDR of the vocals: mixture {sdr(true_vocals, mixture):.1f} dB", end=", ")
print(f"estimate {sdr(true_vocals, vocals):.1f} dB")

# %%
# Karaoke
# -------
#
# Vocals and accompaniment add up to the song, so a remix is a sum with a gain in dB: a voice 12 dB
# down still guides you, the accompaniment alone leaves the singing to you. In a shell: ``sksep
# separate song.mp3 -o out --vocals-gain -12``. Some singing remains even without the vocals: it is
# the error of the separation.


def remix(vocals_gain):
    """The song with its vocals louder or softer, in dB."""
    return accompaniment + 10 ** (vocals_gain / 20) * vocals


def singing_left(estimate):
    """Energy of everything but the accompaniment, relative to the accompaniment, in dB."""
    truth = song.accompaniments[0]
    return 10 * np.log10(np.sum((estimate - truth) ** 2) / np.sum(truth**2))


print(f"{'the song':16}{singing_left(mixture):6.1f} dB")
for gain in (-6, -12, -24):
    print(f"{f'vocals {gain} dB':16}{singing_left(remix(gain)):6.1f} dB")
AudioDisplay(
    {
        "song": mixture,
        "vocals 12 dB down": remix(-12),
        "no vocals": accompaniment,
        "the true accompaniment": song.accompaniments[0],
        "vocals 6 dB up": remix(6),
        "vocals alone": vocals,
    },
    sample_rate=rate,
)

# %%
# When does someone sing?
# -----------------------
#
# :func:`sksep.vocal_activity` answers by intervals in seconds. Here they are drawn over the
# waveform of the true vocals.

activity = sksep.vocal_activity(mixture, "uhnet", sample_rate=rate)
seconds = np.arange(len(mixture)) / rate
figure, (top, bottom) = plt.subplots(
    2, 1, figsize=(9, 4), layout="constrained", sharex=True, height_ratios=(2, 1)
)
top.plot(seconds, mixture, color="0.8", linewidth=0.5, label="song")
top.plot(seconds, true_vocals, color="tab:blue", linewidth=0.5, label="true vocals")
for index, (start, end) in enumerate(activity.intervals):
    top.axvspan(start, end, color="tab:orange", alpha=0.25, label="" if index else "detected")
top.set(ylabel="Amplitude", title=f"Singing in {activity.share:.0%} of the song")
top.legend(loc="lower right", ncols=3)
bottom.plot(activity.times, activity.probabilities)
bottom.set(xlabel="Time (s)", ylabel="Probability", ylim=(0, 1))

frames = librosa.feature.rms(y=true_vocals, frame_length=640, hop_length=320, center=False)[0]
sung = (frames > frames.max() / 30)[: len(activity.times)]
agreement = np.mean(sung == activity.is_active())
print(f"Frames that are judged as the level of the true vocals judges them: {agreement:.0%}")
print("Intervals (s):", activity.intervals.round(2).tolist())

# %%
# The melody
# ----------
#
# A tracker of the fundamental frequency expects one voice. In the estimated vocals it finds most of
# the true melody. In the song it finds other notes, or none.


def melody(waveform):
    """Fundamental frequency in Hz per frame, NaN if there is none."""
    return librosa.pyin(waveform, fmin=80, fmax=800, sr=rate, frame_length=1024, resolution=0.25)[0]


melodies = {
    "true vocals": melody(true_vocals),
    "estimate": melody(vocals),
    "song": melody(mixture),
}
truth = melodies["true vocals"]
for name, f0 in melodies.items():
    both = np.isfinite(f0) & np.isfinite(truth)
    near = np.abs(12 * np.log2(f0[both] / truth[both])) < 0.5
    found = near.sum() / np.isfinite(truth).sum()
    print(f"{name:12}{found:5.0%} of the sung frames within half a semitone")

figure, ax = plt.subplots(figsize=(9, 3.5), layout="constrained")
times = librosa.times_like(truth, sr=rate, hop_length=256)
ax.plot(times, melodies["song"], ".", color="0.7", markersize=4, label="song")
ax.plot(times, truth, color="tab:blue", linewidth=5, alpha=0.4, label="true vocals")
ax.plot(times, melodies["estimate"], color="tab:red", linewidth=1.5, label="estimate")
ax.set(xlabel="Time (s)", ylabel="Fundamental frequency (Hz)")
ax.legend()
