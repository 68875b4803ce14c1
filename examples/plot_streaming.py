"""
Vocals while the song goes on
=============================

:class:`sksep.StreamingSeparator` takes a song block by block, as from a microphone or a radio, and
returns vocals as soon as they are complete. They equal the prediction of the pipeline for the whole
song, but come with a delay. The memory does not grow with the song.
"""

import tracemalloc

import matplotlib.pyplot as plt
import numpy as np

import sksep
from sksep.datasets import make_songs
from sksep.plotting import AudioDisplay

pipeline = sksep.load_pretrained("uhnet")
song = make_songs(1, duration=30.0, random_state=0)
mixture, rate = song.mixtures[0], song.sample_rate

# %%
# Block by block
# --------------
#
# Blocks of a fifth of a second go in. The first ones return nothing: a chunk of the network, a
# block of the inversion and the margins around both have to be complete first. ``latency`` is the
# largest delay: no sample comes later than that.

stream = sksep.StreamingSeparator(pipeline)
blocks, n_in, n_out, n_held = [], [0], [0], [0]
for block in np.array_split(mixture, 150):
    blocks.append(stream.process(block).vocals)
    n_in.append(n_in[-1] + len(block))
    n_out.append(n_out[-1] + len(blocks[-1]))
    n_held.append(n_in[-1] - n_out[-1])
blocks.append(stream.finish().vocals)
print(f"Latency: {stream.latency / rate:.2f} s")
print(f"Waiting at most: {max(n_held) / rate:.2f} s")
print(f"In the last block, from finish(): {len(blocks[-1]) / rate:.2f} s")

# %%
# The output grows in steps of a block of the inversion, and never falls below the dashed line.

seconds_in, seconds_out = np.array(n_in) / rate, np.array(n_out) / rate
promised = np.maximum(seconds_in - stream.latency / rate, 0.0)
figure, (top, bottom) = plt.subplots(
    2, 1, figsize=(8, 5), layout="constrained", sharex=True, height_ratios=(3, 1)
)
top.plot(seconds_in, seconds_in, label="went in")
top.step(seconds_in, seconds_out, where="post", label="came out")
top.plot(seconds_in, promised, "k--", linewidth=1, label="came out at the latest")
top.fill_between(seconds_in, seconds_out, seconds_in, step="post", alpha=0.15)
top.set(ylabel="Song (s)", title="Output over time")
top.legend()
bottom.set(xlabel="Time (s) while the song is played", ylabel="Waiting (s)")
_ = bottom.step(seconds_in, np.array(n_held) / rate, where="post", color="tab:red")

# %%
# The same vocals
# ---------------
#
# The joined blocks equal the prediction of the whole song, up to rounding errors. Blocks of any
# other size give the same samples.

vocals = np.concatenate(blocks)
whole = pipeline.predict([mixture])[0]
print(f"Samples: {len(vocals)} and {len(whole)}")
print(f"Largest difference: {np.abs(vocals - whole).max():.1e}, peak: {np.abs(whole).max():.2f}")

random_sizes = np.random.default_rng(0).integers(1, 30000, size=30)
again = [stream.process(block).vocals for block in np.split(mixture, np.cumsum(random_sizes))]
again = np.concatenate([*again, stream.finish().vocals])
print(f"With blocks of random sizes: {np.abs(again - whole).max():.1e}")

# %%
# Memory
# ------
#
# A stream mostly holds samples that wait. The song is repeated up to four minutes, and the most
# memory that numpy holds at a time stays near 2 MB. (The memory of the network for a batch of
# chunks belongs to torch and is not counted here; it does not depend on the length of the song.)

blocks_of_song = np.array_split(mixture, 15)
for n_times in (2, 4, 8):
    tracemalloc.start()
    for _ in range(n_times):
        for block in blocks_of_song:
            stream.process(block)
    stream.finish()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(
        f"{n_times * 30:4} s: {peak / 1e6:.1f} MB, samples alone {n_times * 30 * rate * 4 / 1e6} MB"
    )

# %%
# Listen to the song and to the vocals of the stream. The rest is the accompaniment, which
# ``process`` returns too.

stems = {"mixture": mixture, "vocals": vocals, "rest": mixture - vocals}
AudioDisplay(stems, sample_rate=rate, max_duration=12.0)
