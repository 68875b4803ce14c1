"""
All separators side by side
===========================

This page repeats the figures by which the source report compares its models, on made-up songs:
losses against epochs, masks and spectrograms beside the truth, and scores. A network gets 60 steps
of 8 excerpts of one second on one thread, and is far smaller than the report's, so that the page
can be built anywhere. The *kinds* of picture are those of the report. How good the models are after
a real training, on recorded music, is shown in :ref:`figures`.
"""

import matplotlib.pyplot as plt
import numpy as np
from sklearn.pipeline import Pipeline

from sksep import (
    DeepClusteringSeparator,
    GriffinLimInverter,
    HybridClusteringSeparator,
    MaskBuilder,
    MelChunker,
    MixtureSeparator,
    OracleMaskSeparator,
    UHNetSeparator,
    UNetSeparator,
)
from sksep.datasets import make_songs
from sksep.metrics import iou, psnr, sdr
from sksep.plotting import (
    AudioDisplay,
    LossCurveDisplay,
    MaskDisplay,
    ScoreDisplay,
    SpectrogramDisplay,
)

songs = make_songs(22, duration=6.0, random_state=0)
train, test = slice(16), slice(16, 22)  # eight singers, and three others
mixtures, vocals = songs.mixtures[test], songs.vocals[test]

# %%
# Seven models
# ------------
#
# Every comparison needs a floor and a ceiling: the mixture itself, and true masks, which no
# separator can know. The U-Nets are trained on the SNR of the waveform, not on the report's
# cross-entropy (``loss="bce"``).

TRAINING = {
    "optimizer": "adamw",
    "schedule": "one_cycle",
    "batch_size": 8,
    "excerpts_per_epoch": 80,
    "max_epochs": 6,
    "random_state": 0,
}
CLUSTERING = {"embedding_dim": 10, "hidden_size": 64, "n_layers": 1, "lr": 1e-2, "dropout": 0.1}
UNET = {"n_filters": 8, "loss": "snr", "dropout": 0.1, "lr": 3e-3}
JOINT = {"embedding_dim": 10, "hidden_size": 64, "n_layers": 1, "recurrent_dropout": 0.1}
separators = {
    "mixture": MixtureSeparator(),
    "deep clustering": DeepClusteringSeparator(**CLUSTERING, **TRAINING),
    "hybrid": HybridClusteringSeparator(**CLUSTERING, **TRAINING),
    "U-Net": UNetSeparator(n_levels=3, **UNET, **TRAINING),
    "UH-Net": UHNetSeparator(depth=3, **UNET, **JOINT, **TRAINING),
    "oracle, binary": OracleMaskSeparator("binary"),
    "oracle, ratio": OracleMaskSeparator("ratio"),
}
models = {}
for name, separator in separators.items():
    steps = [
        ("chunk", MelChunker(n_fft=1024, hop_length=256, n_mels=64, n_frames=64)),
        ("mask", MaskBuilder()),
        ("separate", separator),
        ("invert", GriffinLimInverter(n_iter=5)),
    ]
    # The oracles get the truth of the songs that they are tested on.
    given = test if "oracle" in name else train
    models[name] = Pipeline(steps).fit(songs.mixtures[given], songs.vocals[given])

# %%
# Losses against epochs
# ---------------------
#
# Dashed lines are of songs that were held back from training. Losses of different kinds cannot be
# compared (the U-Nets have the negative SNR in dB, the others distances of affinities and
# cross-entropies), but their courses can. So each family has its own panel.

figure, axes = plt.subplots(1, 2, figsize=(10, 3.6), layout="constrained")
LossCurveDisplay.from_estimator(
    {name: models[name] for name in ("deep clustering", "hybrid")}, ax=axes[0]
)
_ = LossCurveDisplay.from_estimator(
    {name: models[name] for name in ("U-Net", "UH-Net")}, ax=axes[1]
)

# %%
# Masks
# -----
#
# Clusters give each bin a yes or a no, like the true binary mask. U-Nets estimate the share of the
# vocals, like the true proportion mask.

trained = {name: model for name, model in models.items() if hasattr(model["separate"], "net_")}
_ = MaskDisplay.from_estimator(trained, mixtures, vocals, track=1)

# %%
# How near are they to the true masks, over all test songs? The report gives the intersection over
# union (IoU) of binary masks, and the peak signal to noise ratio (PSNR) of proportion masks. A
# binary mask is 1 where a proportion mask exceeds a half. Clustering is better here by IoU, the
# U-Nets by PSNR, and neither order is that of the SDR below. The loss of the U-Nets compares
# waveforms, to which quiet bins add almost nothing, while IoU and PSNR count all bins equally.

batch = models["U-Net"]["chunk"].transform(mixtures)
truth = MaskBuilder().fit_transform(batch, vocals)
binary = [record.targets.binary_mask for record in truth]
proportion = [record.targets.proportion_mask for record in truth]
print(f"{'':18}{'IoU':>8}{'PSNR in dB':>14}")
for name in ["mixture", *trained]:
    masks = [record.mask for record in models[name][:-1].transform(mixtures)]
    print(f"{name:18}{100 * iou(binary, masks):6.1f} %{psnr(proportion, masks):12.2f}")

# %%
# Spectrograms
# ------------
#
# The vocals of the same song, on one scale of colors.

_ = SpectrogramDisplay.from_estimator(trained, mixtures, vocals, track=1)

# %%
# Scores
# ------
#
# The SDR of the vocals, song by song (BSSEval v3). A mean alone would hide how much songs differ.

estimates = {name: model.predict(mixtures) for name, model in models.items()}
scores = {
    name: [sdr(*pair) for pair in zip(vocals, row, strict=True)] for name, row in estimates.items()
}
for name, row in scores.items():
    print(f"{name:18}" + "".join(f"{score:8.2f}" for score in row) + f"   mean {np.mean(row):6.2f}")
_ = ScoreDisplay.from_scores(scores, label="SDR", unit="dB")

# %%
# The lines join the scores of one song. A model with a better mean need not be better for each
# song, and some songs are hard for all. Six songs are too few to rank models that are 1 dB apart.

_ = ScoreDisplay.from_scores(scores, label="SDR", unit="dB", kind="paired")

# %%
# Listen
# ------

AudioDisplay.from_predictions(
    vocals[1],
    {name: row[1] for name, row in estimates.items() if name != "mixture"},
    mixture=mixtures[1],
)
