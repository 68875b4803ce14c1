"""Cost of clustering: the loss within a training step, and K-means within a prediction.

    python benchmarks/clustering.py --threads 2

The loss: share of the deep clustering loss and its gradient (batch 32, 20 dimensions) in a whole
step of the default network, and the growth of its memory with the number of bins. K-means: share of
fitting and assigning in the prediction of a track of four minutes.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from statistics import median
from typing import Any

import numpy as np
import torch
from _lib.results import markdown_table, write

from sksep import DeepClusteringSeparator, MaskBuilder, MelChunker
from sksep.datasets import make_songs
from sksep.nn.clustering import ClusteringNetwork
from sksep.nn.clustering_losses import CLUSTERING_LOSSES, deep_clustering
from sksep.nn.recurrent import RecurrentBody
from sksep.separators import _clusters, _deep_clustering

BATCH_SIZE, N_FRAMES, N_BANDS, EMBEDDING_DIM = 32, 128, 128, 20


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--threads", type=int, help="threads of torch (default: its own choice)")
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    losses = [loss_share(name, options.repeats) for name in CLUSTERING_LOSSES]
    memory = [memory_of_loss(n_frames) for n_frames in (32, 64, 128, 256)]
    shares = [cluster_share(scope, options.repeats) for scope in ("track", "chunk")]
    tables = [markdown_table(rows) for rows in (losses, memory, shares)]
    print("\n\n".join(tables))
    write(
        "clustering",
        {
            "threads": torch.get_num_threads(),
            "loss": losses,
            "memory": memory,
            "clusterer": shares,
        },
        "\n\n".join(tables),
    )


def timed(function: Callable[[], Any]) -> float:
    """Seconds of one call."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def loss_share(name: str, repeats: int) -> dict[str, Any]:
    """Loss with gradient beside the whole step that contains it, in turns."""
    torch.manual_seed(0)
    network = ClusteringNetwork(RecurrentBody(N_BANDS), N_BANDS, EMBEDDING_DIM)
    optimizer = torch.optim.RMSprop(network.parameters())
    inputs = torch.randn(BATCH_SIZE, 1, N_FRAMES, N_BANDS)
    labels, weights = truth(N_FRAMES)
    embeddings = network(inputs).embeddings.flatten(1, 2).detach().requires_grad_()
    function = CLUSTERING_LOSSES[name]

    def loss_alone() -> None:
        function(embeddings, labels, weights).backward()

    def step() -> None:
        optimizer.zero_grad()
        function(network(inputs).embeddings.flatten(1, 2), labels, weights).backward()
        optimizer.step()

    loss_alone()
    step()
    pairs = [(timed(loss_alone), timed(step)) for _ in range(repeats)]
    return {
        "loss": name,
        "loss and gradient, s": median(loss for loss, _ in pairs),
        "training step, s": median(whole for _, whole in pairs),
        "share": median(loss / whole for loss, whole in pairs),
    }


def memory_of_loss(n_frames: int) -> dict[str, Any]:
    """Memory that the backward pass of the loss keeps beside its inputs."""
    vectors = torch.randn(BATCH_SIZE, n_frames * N_BANDS, EMBEDDING_DIM, requires_grad=True)
    labels, weights = truth(n_frames)
    kept: dict[int, int] = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        deep_clustering(vectors, labels, weights)
    n_bins = n_frames * N_BANDS
    return {
        "bins": n_bins,
        "kept for the gradient, MB": sum(kept.values()) / 1e6,
        "bytes per bin and excerpt": sum(kept.values()) / n_bins / BATCH_SIZE,
    }


def truth(n_frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Random labels and weights."""
    vocals = torch.rand(BATCH_SIZE, n_frames * N_BANDS).round()
    return torch.stack([vocals, 1.0 - vocals], dim=-1), torch.rand_like(vocals)


def cluster_share(scope: str, repeats: int) -> dict[str, Any]:
    """Time within fitting and assigning, and within the whole prediction of four minutes."""
    song = make_songs(1, 10.0, random_state=0)
    chunker = MelChunker()
    batch = MaskBuilder().fit_transform(chunker.fit_transform(song.mixtures), song.vocals)
    separator = DeepClusteringSeparator(
        max_epochs=1, excerpts_per_epoch=8, batch_size=8, random_state=0, cluster_scope=scope
    ).fit(batch)
    separator.set_params(batch_size=32)
    track = chunker.transform([np.tile(song.mixtures[0], 24)])
    spent: list[float] = []

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def inner(*arguments: Any, **parameters: Any) -> Any:
            started = time.perf_counter()
            result = function(*arguments, **parameters)
            spent[-1] += time.perf_counter() - started
            return result

        return inner

    parts = [
        (_deep_clustering, "fit_clusters"),
        (_deep_clustering, "loud_bins"),
        (_clusters.Clusters, "mask"),
    ]
    originals = [getattr(owner, name) for owner, name in parts]
    for owner, name in parts:
        setattr(owner, name, counted(getattr(owner, name)))
    try:
        totals = []
        for _ in range(max(2, repeats // 2)):
            spent.append(0.0)
            totals.append(timed(lambda: separator.predict(track)))
    finally:
        for (owner, name), original in zip(parts, originals, strict=True):
            setattr(owner, name, original)
    return {
        "clusters of each": scope,
        "K-means, s": median(spent),
        "prediction of 240 s, s": median(totals),
        "share": median(part / whole for part, whole in zip(spent, totals, strict=True)),
    }


if __name__ == "__main__":
    main()
