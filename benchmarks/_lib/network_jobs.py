"""Clustering, training and separation, beside scikit-learn, asteroid, bare torch and others."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from sklearn.cluster import KMeans

import sksep
from _lib.jobs import SAMPLE_RATE, Job, Jobs, Work, music
from _lib.references import SONG_SAMPLE_RATE, asteroid_loss, htdemucs, open_unmix
from sksep import DeepClusteringSeparator, MaskBuilder, MelChunker, UNetSeparator
from sksep.datasets import make_songs
from sksep.nn.clustering_losses import deep_clustering
from sksep.nn.excerpts import Excerpts
from sksep.nn.losses import binary_cross_entropy
from sksep.nn.mask_estimator import MaskEstimator
from sksep.nn.unet import UNet
from sksep.presets import unet_pipeline
from sksep.separators._clusters import Clusters, fit_clusters, loud_bins
from sksep.training._dataset import ExcerptDataset

# Size of the embeddings of bins, which is the default.
EMBEDDING_DIM = 20


def clusters(seconds: float, n_tracks: int) -> Jobs:
    """From the embeddings of a track to a mask: K-means on a sample, or on all bins."""
    embeddings, features, _ = _embeddings(seconds)
    max_samples = DeepClusteringSeparator().max_samples
    k_means = KMeans(n_clusters=2, n_init=1, random_state=0)
    unused = Clusters(np.eye(2, EMBEDDING_DIM, dtype=np.float32), np.array([True, False]))

    def ours() -> np.ndarray:
        sample = embeddings[loud_bins(features, float(features.max()), max_samples)]
        fitted = fit_clusters(k_means, sample.numpy(), lambda _, means: means[:, 0], unused)
        return fitted.mask(embeddings).numpy()

    def reference() -> np.ndarray:
        found = k_means.fit(embeddings.numpy())
        return found.labels_ == np.argmax(found.cluster_centers_[:, 0])

    def agreement(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
        return {"share of equal bins": float((a == b).mean())}

    work = Work(n_bytes=4.0 * embeddings.numel(), products=4.0 * embeddings.numel())
    return Jobs({"sksep": ours}, {"scikit-learn": reference}, work, agreement)


def clustering_loss(seconds: float, n_tracks: int) -> Jobs:
    """Deep clustering loss of one excerpt and its gradient."""
    embeddings, _, labels = _embeddings(seconds)
    embeddings = embeddings[None].requires_grad_()
    one_hot = torch.nn.functional.one_hot(labels, 2).float()[None]
    weights = torch.ones(1, len(labels))

    def ours() -> float:
        loss = deep_clustering(embeddings, one_hot, weights)
        torch.autograd.grad(loss, embeddings)
        return float(loss.detach())

    def reference() -> float:
        loss = asteroid_loss()(embeddings, labels.reshape(1, 1, -1)).mean()
        torch.autograd.grad(loss, embeddings)
        return float(loss.detach()) / len(labels)

    # Embeddings with themselves and with the labels, and twice as much for the gradient.
    work = Work(
        n_bytes=2 * 4.0 * embeddings.numel(),
        products=6.0 * embeddings.numel() * (EMBEDDING_DIM + 2),
    )
    return Jobs(
        {"sksep": ours},
        {"asteroid": reference},
        work,
        lambda a, b: {"relative difference": abs(a / b - 1.0)},
    )


def _embeddings(seconds: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Unit vectors of the bins of a track in two clusters, levels in dB, and the clusters."""
    features = MelChunker().transform([music(seconds)])[0].spectrogram.reshape(-1)
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (len(features),), generator=generator)
    vectors = torch.randn(len(features), EMBEDDING_DIM, generator=generator).mul_(0.3)
    vectors[:, 0] += 2.0 * labels - 1.0
    return torch.nn.functional.normalize(vectors), torch.tensor(features), labels


def training(seconds: float, n_tracks: int) -> Jobs:
    """Training through fit beside a bare loop with the same module, batches and features.

    The ratio is a share of the throughput of the bare loop: less than 1.
    """
    mixture = music(seconds)
    batch = MelChunker(sample_rate=SAMPLE_RATE).fit_transform([mixture])
    batch = MaskBuilder().fit_transform(batch, [0.5 * mixture])
    separator = UNetSeparator(
        batch_size=8,
        max_epochs=1,
        validation_fraction=0.0,
        augmentation=False,
        precision="float32",
        random_state=0,
    )
    dataset = ExcerptDataset(batch)
    n_steps = -(-len(dataset) // separator.batch_size)
    n_bands = dataset.front_end.n_bands

    def reference() -> None:
        module = MaskEstimator(UNet(), torch.full((n_bands,), -50.0), torch.full((n_bands,), 20.0))
        module.to(memory_format=torch.channels_last)
        optimizer = torch.optim.RMSprop(module.parameters(), lr=1e-3)
        for indices in np.array_split(np.random.default_rng(0).permutation(len(dataset)), n_steps):
            stems, _ = dataset.__getitems__(list(indices))
            vocals, accompaniment = stems.unbind(dim=1)
            excerpts = Excerpts(vocals, accompaniment, dataset.front_end)
            loss = binary_cross_entropy(module(excerpts.features), excerpts)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    work = Work(n_bytes=2.0 * mixture.nbytes, products=None)
    return Jobs({"sksep": lambda: separator.fit(batch)}, {"a bare torch loop": reference}, work)


def separation(reference: str, seconds: float, n_tracks: int) -> Jobs:
    """From stereo songs to their vocals, waveform to waveform."""
    song = music(seconds, SONG_SAMPLE_RATE, 2)

    def of_each(separator: Callable[[], Callable[[np.ndarray], Any]]) -> Job:
        def separate() -> None:
            for _ in range(n_tracks):
                separator()(song)

        return separate

    return Jobs(
        {f"sksep: {name}": of_each(partial(_ours, name)) for name in _MODELS},
        {reference: of_each(open_unmix if reference == "Open-Unmix" else htdemucs)},
        Work(n_bytes=n_tracks * 3.0 * song.nbytes, products=None),
    )


# Name -> overlap of the chunks; None is that of the model.
_MODELS = {
    "uhnet": None,
    "uhnet, chunks overlap by an eighth": 0.125,
    "small": None,
    "U-Net, recommended": None,
    "U-Net, chunks overlap by an eighth": 0.125,
}


@cache
def _ours(name: str) -> Callable[[np.ndarray], Any]:
    model, _, _ = name.partition(",")
    if model == "U-Net":
        # After one step, which makes it as fast as a trained one.
        songs = make_songs(1, 5.0, random_state=0)
        pipeline = unet_pipeline(
            separate__max_epochs=1, separate__excerpts_per_epoch=2, invert__n_iter=0
        ).fit(songs.mixtures, songs.vocals)
    else:
        pipeline = sksep.load_pretrained(model)
    if _MODELS[name] is not None:
        pipeline.set_params(chunk__overlap=_MODELS[name])
    return lambda song: sksep.separate(song, pipeline, sample_rate=SONG_SAMPLE_RATE)
