"""Clustering losses against their definitions, and their limits."""

from itertools import permutations

import numpy as np
import pytest
import torch
from torch.nn import functional

from sksep.nn.clustering_losses import (
    deep_clustering,
    mask_cross_entropy,
    permutation_invariant_cross_entropy,
    whitened_kmeans,
)

N_BATCH, N_BINS, DIM = 3, 40, 6


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def embeddings(seed=0, dtype=torch.float64):
    drawn = torch.randn(N_BATCH, N_BINS, DIM, generator=generator(seed), dtype=dtype)
    return functional.normalize(drawn, dim=-1)


def labels(n_sources=2, seed=1, dtype=torch.float64):
    drawn = torch.randint(n_sources, (N_BATCH, N_BINS), generator=generator(seed))
    return functional.one_hot(drawn, n_sources).to(dtype)


def weights(seed=2, dtype=torch.float64):
    return torch.rand(N_BATCH, N_BINS, generator=generator(seed), dtype=dtype)


def affinity_loss(vectors, one_hot, weight):
    """The loss by its definition, over every pair of bins."""
    difference = vectors @ vectors.mT - one_hot @ one_hot.mT
    pairs = weight[:, :, None] * weight[:, None, :]
    return ((pairs * difference**2).sum(dim=(1, 2)) / pairs.sum(dim=(1, 2))).mean()


@pytest.mark.parametrize("n_sources", [2, 3])
@pytest.mark.parametrize("weighted", [True, False])
def test_classic_loss_is_the_distance_of_affinities(n_sources, weighted):
    weight = weights() if weighted else torch.ones(N_BATCH, N_BINS, dtype=torch.float64)
    arguments = (embeddings(), labels(n_sources), weight)
    torch.testing.assert_close(deep_clustering(*arguments), affinity_loss(*arguments))


def test_gradient_of_the_classic_loss_is_that_of_the_affinities():
    gradients = []
    for loss in (deep_clustering, affinity_loss):
        vectors = embeddings().requires_grad_()
        loss(vectors, labels(), weights()).backward()
        gradients.append(vectors.grad)
    torch.testing.assert_close(*gradients)


@pytest.mark.parametrize("n_sources", [2, 3])
def test_whitened_loss_is_that_of_the_projections(n_sources):
    vectors, one_hot, weight = embeddings(), labels(n_sources), weights()
    expected = []
    for v, y, w in zip(vectors.numpy(), one_hot.numpy(), weight.numpy(), strict=True):
        v, y = (np.sqrt(w)[:, None] * part for part in (v, y))
        on_v, on_y = (part @ np.linalg.pinv(part) for part in (v, y))
        expected.append(DIM - np.trace(on_v @ on_y))
    loss = whitened_kmeans(vectors, one_hot, weight)
    assert float(loss) == pytest.approx(np.mean(expected), abs=2e-3)


@pytest.mark.parametrize("loss", [deep_clustering, whitened_kmeans])
def test_order_and_turns_do_not_matter(loss):
    vectors, one_hot, weight = embeddings(), labels(3), weights()
    turn, _ = torch.linalg.qr(torch.randn(DIM, DIM, generator=generator(5), dtype=torch.float64))
    before = loss(vectors, one_hot, weight)
    torch.testing.assert_close(loss(vectors @ turn, one_hot, weight), before)
    torch.testing.assert_close(loss(vectors, one_hot[..., [2, 0, 1]], weight), before)
    torch.testing.assert_close(loss(vectors, one_hot, 7.0 * weight), before)


@pytest.mark.parametrize(("loss", "best"), [(deep_clustering, 0.0), (whitened_kmeans, DIM - 2.0)])
def test_perfect_embeddings_have_the_least_loss(loss, best):
    one_hot = labels()
    perfect = functional.pad(one_hot, (0, DIM - 2))
    assert float(loss(perfect, one_hot, weights())) == pytest.approx(best, abs=1e-3)
    assert float(loss(embeddings(), one_hot, weights())) > best + 0.05


@pytest.mark.parametrize("loss", [deep_clustering, whitened_kmeans])
@pytest.mark.parametrize("n_sources", [2, 3])
def test_a_batch_with_one_source(loss, n_sources):
    one_hot = torch.zeros(N_BATCH, N_BINS, n_sources)
    one_hot[..., 1] = 1.0
    vectors = embeddings(dtype=torch.float32).requires_grad_()
    value = loss(vectors, one_hot, weights(dtype=torch.float32))
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(vectors.grad).all()
    same = functional.one_hot(torch.zeros(N_BATCH, N_BINS, dtype=torch.long), DIM).float()
    assert loss(same, one_hot, weights(dtype=torch.float32)) < value


@pytest.mark.parametrize("loss", [deep_clustering, whitened_kmeans])
def test_no_weight_at_all_is_finite(loss):
    vectors = embeddings(dtype=torch.float32).requires_grad_()
    value = loss(vectors, labels(dtype=torch.float32), torch.zeros(N_BATCH, N_BINS))
    value.backward()
    assert torch.isfinite(value) and torch.isfinite(vectors.grad).all()


def saved_elements(n_bins):
    """Elements of the tensors that the backward pass of the loss keeps."""
    vectors = torch.randn(2, n_bins, DIM, requires_grad=True)
    one_hot = functional.one_hot(torch.zeros(2, n_bins, dtype=torch.long), 2).float()
    sizes = []

    def pack(tensor):
        sizes.append(tensor.numel())
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        deep_clustering(vectors, one_hot, torch.ones(2, n_bins))
    return sum(sizes)


def test_memory_grows_with_the_bins_and_not_with_their_pairs():
    few, many = saved_elements(200), saved_elements(2000)
    assert few * 9 < many <= few * 10


def logits(n_sources=3, seed=0):
    return torch.randn(4, n_sources, 5, 6, generator=generator(seed))


def shares(n_sources=3, seed=1):
    return torch.softmax(3 * logits(n_sources, seed), dim=1)


def test_permutation_invariant_loss_is_the_least_of_all_orders():
    estimated, true = logits(), shares()
    per_order = torch.stack(
        [
            functional.cross_entropy(estimated, true[:, list(order)], reduction="none").mean((1, 2))
            for order in permutations(range(3))
        ]
    )
    loss = permutation_invariant_cross_entropy(estimated, true)
    torch.testing.assert_close(loss, per_order.amin(dim=0).mean())
    assert loss < mask_cross_entropy(estimated, true)


def test_permutation_invariant_loss_takes_any_order_per_excerpt():
    estimated, true = logits(2), shares(2)
    flipped = true.clone()
    flipped[::2] = true[::2].flip(1)
    torch.testing.assert_close(
        permutation_invariant_cross_entropy(estimated, flipped),
        permutation_invariant_cross_entropy(estimated, true),
    )


def test_mask_cross_entropy_by_hand():
    estimated, true = logits(2), shares(2)
    expected = -(true * torch.log_softmax(estimated, dim=1)).sum(dim=1).mean()
    torch.testing.assert_close(mask_cross_entropy(estimated, true), expected)
