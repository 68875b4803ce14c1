"""The recurrent body, the clustering networks that use it, and UH-Net."""

import pytest
import torch

from sksep.nn.clustering import ClusteringNetwork, HybridNetwork
from sksep.nn.mask_estimator import NormalizedNetwork, as_float
from sksep.nn.pyramid_unet import PyramidUNet
from sksep.nn.recurrent import RecurrentBody
from sksep.nn.uhnet import UHNet, UHNetOutput

N_BANDS, N_FRAMES = 12, 9


def spectrograms(batch=2, n_frames=N_FRAMES):
    torch.manual_seed(0)
    return torch.randn(batch, 1, n_frames, N_BANDS)


def make_body(**parameters):
    torch.manual_seed(1)
    return RecurrentBody(N_BANDS, **{"hidden_size": 5, "n_layers": 2, **parameters})


def make_hybrid(**parameters):
    return HybridNetwork(make_body(), N_BANDS, embedding_dim=4, **parameters)


def make_uhnet(frozen=False, n_levels=2):
    unet = PyramidUNet(in_channels=3, n_filters=2, n_levels=n_levels, depth=2)
    return UHNet(make_hybrid(), unet, frozen=frozen)


@pytest.mark.parametrize("cell", ["gru", "lstm"])
@pytest.mark.parametrize("n_convolutions", [0, 1, 3])
@pytest.mark.parametrize("n_layers", [1, 2])
def test_a_body_gives_a_vector_per_frame(cell, n_convolutions, n_layers):
    body = make_body(cell=cell, n_convolutions=n_convolutions, n_layers=n_layers)
    hidden = body(spectrograms())
    assert hidden.shape == (2, N_FRAMES, 10) and body.n_features == 10
    hidden.sum().backward()
    assert all(weights.grad is not None for weights in body.parameters())


def test_recurrent_weights_are_those_of_the_formula():
    # Three gates per direction have input and hidden weights and two biases. Layer 2 sees both.
    body = make_body()
    expected = 2 * 3 * (5 * N_BANDS + 5 * 5 + 2 * 5) + 2 * 3 * (5 * 10 + 5 * 5 + 2 * 5)
    assert sum(weights.numel() for weights in body.parameters()) == expected


def test_both_ends_of_a_chunk_are_heard_everywhere():
    body = make_body().eval()
    inputs = spectrograms(1).requires_grad_()
    for frame in (0, N_FRAMES - 1):
        (gradient,) = torch.autograd.grad(body(inputs)[0, frame].sum(), inputs)
        assert (gradient[0, 0].abs().sum(dim=1) > 0).all()


def test_embeddings_are_unit_vectors_time_first():
    network = ClusteringNetwork(make_body(), N_BANDS, embedding_dim=4)
    embeddings = network(spectrograms()).embeddings
    assert embeddings.shape == (2, N_FRAMES, N_BANDS, 4)
    torch.testing.assert_close(embeddings.norm(dim=-1), torch.ones(2, N_FRAMES, N_BANDS))


def test_bands_of_embeddings_follow_the_linear_layer():
    network = ClusteringNetwork(make_body(), N_BANDS, embedding_dim=4).eval()
    with torch.no_grad():
        before = network(spectrograms()).embeddings
        network.embedding.bias[5 * 4] += 3.0
        moved = (network(spectrograms()).embeddings != before).any(dim=-1).any(dim=1).any(dim=0)
    assert moved.nonzero().flatten().tolist() == [5]


@pytest.mark.parametrize("n_sources", [2, 3])
def test_masks_of_all_sources(n_sources):
    network = make_hybrid(n_sources=n_sources).eval()
    output = network(spectrograms())
    assert output.logits.shape == (2, n_sources, N_FRAMES, N_BANDS)
    hidden = network.body(spectrograms())
    torch.testing.assert_close(network.mask_logits(hidden), output.logits)
    torch.testing.assert_close(network.embed(hidden), output.embeddings)


@pytest.mark.parametrize("n_levels", [1, 3])
def test_uhnet_gives_logits_per_level(n_levels):
    network = make_uhnet(n_levels=n_levels).eval()
    output = network(spectrograms())
    assert len(output.logits) == n_levels
    assert all(logits.shape == (2, N_FRAMES, N_BANDS) for logits in output.logits)
    torch.testing.assert_close(network.mask_logits(spectrograms()), output.logits[0])


def test_gradients_of_the_mask_reach_the_clustering_network():
    network = make_uhnet()
    network(spectrograms()).logits[0].square().sum().backward()
    reached = {name for name, weights in network.named_parameters() if weights.grad is not None}
    assert "clustering.mask.weight" in reached
    assert any(name.startswith("clustering.body.recurrent") for name in reached)
    assert not any(name.startswith("clustering.embedding") for name in reached)


def test_the_masks_of_the_clustering_matter():
    network = make_uhnet().eval()
    with torch.no_grad():
        before = network.mask_logits(spectrograms())
        network.clustering.mask.bias[:N_BANDS] += 5.0
        assert not torch.allclose(network.mask_logits(spectrograms()), before)


def test_a_frozen_clustering_network_does_not_change():
    network = make_uhnet(frozen=True)
    network.train()
    assert network.training and network.unet.training and not network.clustering.training
    before = {name: weights.clone() for name, weights in network.clustering.state_dict().items()}
    optimizer = torch.optim.AdamW(network.parameters(), lr=0.1, weight_decay=0.1)
    output = network(spectrograms())
    assert output.clustering is None
    sum(logits.square().sum() for logits in output.logits).backward()
    optimizer.step()
    for name, weights in network.clustering.state_dict().items():
        assert torch.equal(weights, before[name]), name


def test_outputs_in_single_precision():
    half = UHNetOutput((torch.zeros(1, dtype=torch.bfloat16), torch.zeros(2)), None)
    single = as_float(half)
    assert type(single) is UHNetOutput and single.clustering is None
    assert [logits.dtype for logits in single.logits] == [torch.float32] * 2
    assert as_float(half.logits[0]).dtype == torch.float32


def test_normalized_input_and_whatever_output():
    mean, scale = torch.arange(N_BANDS, dtype=torch.float32), torch.full((N_BANDS,), 2.0)
    module = NormalizedNetwork(make_hybrid(), mean, scale).eval()
    features = spectrograms()[:, 0]
    expected = module.network(((features - mean) / 2.0)[:, None])
    torch.testing.assert_close(module(features), expected)
