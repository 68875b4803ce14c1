"""
Four stems
==========

The separators learn any stem, not vocals alone. :class:`sksep.MultiTargetSeparator` fits a pipeline
for each stem of a mixture, and normalizes their masks: vocals, drums, bass and the rest add up to
the mixture.
"""

import numpy as np
from sklearn.pipeline import Pipeline

from sksep import (
    Augmentation,
    GriffinLimInverter,
    MaskBuilder,
    MelChunker,
    MultiTargetSeparator,
    UNetSeparator,
)
from sksep.datasets import make_songs
from sksep.metrics import sdr_score
from sksep.plotting import AudioDisplay, LossCurveDisplay, SpectrogramDisplay

songs = make_songs(16, duration=4.0, random_state=0)
train, test = slice(0, 12), slice(12, 16)
print(list(songs.stems[0]))

# %%
# One pipeline, four stems
# ------------------------
#
# The pipeline is that of any separator. It is cloned for each stem. The stems are a dict for each
# track; loaders return them like :func:`sksep.datasets.make_songs`.

pipeline = Pipeline(
    [
        ("chunk", MelChunker(n_fft=1024, hop_length=256, n_mels=64, n_frames=64)),
        ("mask", MaskBuilder(vocal_free_share=0.3)),
        (
            "separate",
            UNetSeparator(
                n_filters=8,
                n_levels=3,
                loss="snr",
                optimizer="adamw",
                lr=5e-3,
                schedule="one_cycle",
                batch_size=8,
                max_epochs=8,
                excerpts_per_epoch=64,
                validation_fraction=0.0,
                augmentation=Augmentation(true_pairs=0.5, gain_range=(-3, 3)),
                random_state=0,
            ),
        ),
        ("invert", GriffinLimInverter(n_iter=0)),
    ]
)
model = MultiTargetSeparator(pipeline).fit(songs.mixtures[train], songs.stems[train])
LossCurveDisplay.from_estimator(dict(model.named_estimators_))

# %%
# The results look like the stems: a dict for each track. Their sum is the mixture.

estimates = model.predict(songs.mixtures[test])
error = sum(estimates[0].values()) - songs.mixtures[test][0]
print(f"largest error of the sum: {np.abs(error).max():.1e}")
SpectrogramDisplay.from_predictions(None, estimates[0], mixture=songs.mixtures[test][0])

# %%
# Shares of a mixture
# -------------------
#
# Pipelines that are trained one by one do not know of each other. Alone, two of them may claim the
# same part of the mixture. Normalized masks share it. With ``exponent=2``, the loudest stem gets
# more of each bin.


def scores(exponent):
    """Mean SDR of each stem of the test songs in dB."""
    model.set_params(exponent=exponent)
    return model.stem_scores(songs.mixtures[test], songs.stems[test])


shared, squared = scores(1.0), scores(2.0)
print(f"{'stem':8}{'mixture':>9}{'alone':>9}{'shares':>9}{'exponent 2':>12}  (dB)")
for stem, alone in model.named_estimators_.items():
    true = [stems[stem] for stems in songs.stems[test]]
    mixture = sdr_score(true, songs.mixtures[test])
    separated = sdr_score(true, alone.predict(songs.mixtures[test]))
    print(f"{stem:8}{mixture:9.1f}{separated:9.1f}{shared[stem]:9.1f}{squared[stem]:12.1f}")

# %%
# Half a minute of training is heard. Hours of music and thousands of steps make useful models, of
# any stem.

AudioDisplay({"mixture": songs.mixtures[test][0], **estimates[0]})

# %%
# Each stem has a model of its own
# --------------------------------
#
# It knows the name of its stem. :func:`sksep.save` writes it to a file, and ``sksep separate``
# names its results by it.

drums = model.named_estimators_["drums"]
print(drums["mask"].target, "-", type(drums["separate"]).__name__)
