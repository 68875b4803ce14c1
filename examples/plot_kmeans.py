"""
The embeddings that K-means clusters
====================================

Deep clustering turns every bin of the spectrogram into a unit vector, such that bins of the same
source lie together. Any clusterer of scikit-learn can separate them; K-means is the default. This
example looks at the vectors themselves, then exchanges the clusterer without training again.
:ref:`guide_deep_clustering` says more.
"""

import numpy as np
from sklearn.cluster import KMeans
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import Pipeline

from sksep import DeepClusteringSeparator, MaskBuilder, MelChunker
from sksep.datasets import make_songs
from sksep.metrics import iou, sdr
from sksep.plotting import AudioDisplay, EmbeddingDisplay, MaskDisplay

songs = make_songs(20, duration=6.0, random_state=0)
mixtures, vocals = songs.mixtures[16:], songs.vocals[16:]

# %%
# A small network, trained for a few seconds
# ------------------------------------------

separator = DeepClusteringSeparator(
    embedding_dim=10,
    hidden_size=64,
    n_layers=1,
    dropout=0.1,
    optimizer="adamw",
    lr=1e-2,
    schedule="one_cycle",
    batch_size=8,
    excerpts_per_epoch=80,
    max_epochs=6,
    random_state=0,
)
pipeline = Pipeline(
    [
        ("chunk", MelChunker(n_fft=1024, hop_length=256, n_mels=64, n_frames=64)),
        ("mask", MaskBuilder()),
        ("separate", separator),
    ]
)
pipeline.fit(songs.mixtures[:16], songs.vocals[:16])

# %%
# The embeddings
# --------------
#
# ``embed`` gives a vector for each bin of each track.

batch = pipeline["chunk"].transform(mixtures)
embeddings = separator.embed(batch)
print("embeddings of the first song:", embeddings[0].shape)

# %%
# The picture shows a sample of them in the plane of their two main directions. The colors on the
# left are those of the clusters that were found, on the right those of the louder source in each
# bin. Where the two panels differ, the mask is wrong. After so short a training the sources
# overlap; some of the accompaniment, on the right, stands apart.

_ = EmbeddingDisplay.from_estimator(pipeline, mixtures, vocals, random_state=0)

# %%
# Which cluster contains the vocals? It is the one nearer to the mean vector of the vocal bins in
# training (``vocal_centroid_``). The mean of equal unit vectors has length 1; the more they are
# spread, the shorter it is.

between = np.linalg.norm(separator.vocal_centroid_ - separator.accompaniment_centroid_)
print(f"length of the mean of the vocals: {np.linalg.norm(separator.vocal_centroid_):.2f}")
print(f"of the accompaniment: {np.linalg.norm(separator.accompaniment_centroid_):.2f}")
print(f"distance between them: {between:.2f}")

# %%
# Other clusterers
# ----------------
#
# The clusterer works at prediction, on the bins of each track. It can be exchanged in a fitted
# pipeline. Here it finds four clusters, each of which counts as vocals if it is nearer to them, or
# it is a mixture of two Gaussians, whose clusters may differ in size and shape. ``soft_masks``
# shares bins that lie between the clusters. More freedom alone does not help: the network was
# trained to bring the bins of a source to one place, and K-means looks for such places.

CHOICES = {
    "K-means": {"clusterer": None},
    "K-means, 4 clusters": {"clusterer": KMeans(4, n_init=1)},
    "Gaussian mixture": {"clusterer": GaussianMixture(2)},
    "K-means, soft masks": {"clusterer": None, "soft_masks": True},
}
truth = MaskBuilder().fit_transform(batch, vocals)
true_masks = [record.targets.binary_mask for record in truth]
estimates, masks = {}, {}
for name, choice in CHOICES.items():
    separator.set_params(**choice)
    masks[name] = list(separator.predict_mask(batch))
    estimates[name] = separator.predict(batch)
separator.set_params(clusterer=None, soft_masks=False)

print(f"{'':22}SDR of each song in dB{'':28}mean    IoU")
for name, row in estimates.items():
    scores = [sdr(*pair) for pair in zip(vocals, row, strict=True)]
    cells = "".join(f"{score:8.2f}" for score in scores)
    print(f"{name:20}{cells}{np.mean(scores):8.2f}{iou(true_masks, masks[name]):8.3f}")

# %%
# The masks of the first song:

_ = MaskDisplay.from_predictions(
    truth[0].targets.proportion_mask,
    {name: masks[name][0] for name in ("K-means", "Gaussian mixture", "K-means, soft masks")},
    n_fft=1024,
    hop_length=256,
    n_mels=64,
)

# %%
# Binary masks switch bins on and off. Listen for the "musical noise" that this causes.

AudioDisplay.from_predictions(
    vocals[0], {name: row[0] for name, row in estimates.items()}, mixture=mixtures[0]
)
