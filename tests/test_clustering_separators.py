"""DeepClusteringSeparator, HybridClusteringSeparator and UHNetSeparator: options and post-steps."""

import warnings

import numpy as np
import pytest
import torch
from helpers import levels_of
from sklearn.base import clone
from sklearn.cluster import DBSCAN, AgglomerativeClustering, KMeans, SpectralClustering
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

import sksep
from sksep import (
    DeepClusteringSeparator,
    HybridClusteringSeparator,
    MaskBuilder,
    MelChunker,
    UHNetSeparator,
    UNetSeparator,
)
from sksep.datasets import make_songs
from sksep.metrics import sdr_score
from sksep.nn.clustering import EmbeddingsAndMasks
from sksep.nn.excerpts import Excerpts
from sksep.nn.front_end import FrontEnd
from sksep.nn.losses import LOSSES
from sksep.nn.objectives import ClusteringObjective, HybridObjective, UHNetObjective
from sksep.nn.uhnet import UHNetOutput
from sksep.separators._clusters import Clusters, fit_clusters, loud_bins, sampled_chunks

SAMPLE_RATE = 8000
FRONT_END = {"n_fft": 512, "hop_length": 256, "n_mels": 32, "n_frames": 16}
SMALL = {
    **{"hidden_size": 8, "n_layers": 1, "embedding_dim": 4, "batch_size": 8, "random_state": 0},
    "precision": "float32",  # bfloat16 is not exact enough to compare with another order of sums
}


@pytest.fixture(scope="module")
def songs():
    return make_songs(4, duration=3.0, sample_rate=SAMPLE_RATE, random_state=0)


@pytest.fixture(scope="module")
def batch(songs):
    return chunks_of(songs.mixtures, songs.vocals)


@pytest.fixture(scope="module")
def fitted(batch):
    """A separator of each clustering class, trained a little."""
    classes = (DeepClusteringSeparator, HybridClusteringSeparator)
    return {cls: cls(**SMALL, max_epochs=2).fit(batch) for cls in classes}


def chunks_of(mixtures, vocals=None):
    batch = MelChunker(sample_rate=SAMPLE_RATE, **FRONT_END).fit_transform(mixtures)
    return batch if vocals is None else MaskBuilder().fit_transform(batch, vocals)


def with_clusterer(separator, **parameters):
    """Copy a fitted separator, with other parameters of the post-step."""
    changed = clone(separator).set_params(**parameters)
    for name, value in vars(separator).items():
        if name.endswith("_"):
            setattr(changed, name, value)
    return changed


# --- clustering the bins -------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [DeepClusteringSeparator, HybridClusteringSeparator])
@pytest.mark.parametrize(
    "clusterer",
    [
        KMeans(2, n_init=2),
        KMeans(4, n_init=1),
        GaussianMixture(2),
        SpectralClustering(2),
        AgglomerativeClustering(2),
        DBSCAN(eps=0.01),
    ],
    ids=lambda clusterer: type(clusterer).__name__,
)
@pytest.mark.parametrize("scope", ["track", "chunk"])
def test_any_clusterer_of_sklearn(fitted, batch, cls, clusterer, scope):
    separator = with_clusterer(
        fitted[cls], clusterer=clusterer, cluster_scope=scope, max_samples=150
    )
    masks = separator.predict_mask(batch[:2])
    for mask, record in zip(masks, batch, strict=False):
        assert mask.shape == record.spectrogram.shape
        assert mask.min() >= 0.0 and mask.max() <= 1.0
    again = separator.predict_mask(batch[:2])
    np.testing.assert_array_equal(masks[0], again[0])


def test_no_clusterer_is_fitted_in_place(fitted, batch):
    clusterer = KMeans(2, n_init=1)
    with_clusterer(fitted[DeepClusteringSeparator], clusterer=clusterer).predict_mask(batch[:1])
    assert not hasattr(clusterer, "cluster_centers_") and clusterer.random_state is None


def test_masks_of_kmeans_are_those_of_sklearn(fitted, batch):
    """They equal those of K-means on all loud bins if the chunks of a track do not overlap."""
    separator = with_clusterer(
        fitted[DeepClusteringSeparator], clusterer=KMeans(2, n_init=1, tol=0.0, random_state=3)
    ).set_params(max_samples=10**6)
    record = MelChunker(sample_rate=SAMPLE_RATE, overlap=0.0, **FRONT_END).fit_transform(
        [batch[0].waveform]
    )[0]
    # The network hears the track at the level of training.
    factor = 10.0 ** ((separator.level_ - levels_of(record.chunks).max()) / 20.0)
    heard = MelChunker(sample_rate=SAMPLE_RATE, overlap=0.0, **FRONT_END).fit_transform(
        [batch[0].waveform * np.float32(factor)]
    )[0]
    features = torch.tensor(heard.chunks)
    with torch.no_grad():
        embeddings = separator.net_.module_(features).embeddings.flatten(0, 2).numpy()
    loud = heard.chunks.ravel() > heard.chunks.max() - 40.0
    kmeans = KMeans(2, n_init=1, tol=0.0, random_state=3).fit(embeddings[loud])
    labels = kmeans.predict(embeddings)
    differences = kmeans.cluster_centers_[:, None] - np.stack(
        [separator.vocal_centroid_, separator.accompaniment_centroid_]
    )
    to_vocals, to_accompaniment = np.linalg.norm(differences, axis=2).T
    expected = (labels == np.argmax(to_accompaniment - to_vocals)).reshape(-1, 32)
    mask = separator.predict_mask([record])[0]
    # A bin halfway between the centroids may belong to either.
    assert np.mean(mask != expected[: len(mask)]) < 1e-3


@pytest.mark.parametrize("n_kept", [1, 3, 1000])
def test_chunks_beyond_the_sample_are_assigned_too(fitted, batch, monkeypatch, n_kept):
    separator = fitted[DeepClusteringSeparator]
    whole = separator.predict_mask(batch[:1])[0]
    passed = []
    module = separator.net_.module_
    handle = module.register_forward_hook(lambda _, inputs, __: passed.append(len(inputs[0])))
    monkeypatch.setattr("sksep.separators._clusters._MAX_BINS", n_kept * 16 * 32)
    part = separator.predict_mask(batch[:1])[0]
    handle.remove()
    # Each chunk passes the network once, whether its bins are sampled or not.
    assert sum(passed) == len(batch[0].chunks)
    assert part.shape == whole.shape and set(np.unique(part[:8])) <= {0.0, 1.0}
    if n_kept == 3:
        assert np.mean(np.abs(part - whole)) < 0.25
    if n_kept == 1000:
        np.testing.assert_array_equal(part, whole)


def test_soft_masks_agree_with_hard_ones(fitted, batch):
    separator = fitted[DeepClusteringSeparator]
    hard = separator.predict_mask(batch[:1])[0]
    soft = with_clusterer(separator, soft_masks=True).predict_mask(batch[:1])[0]
    assert len(np.unique(soft)) > 100
    certain = (hard == 0.0) | (hard == 1.0)  # overlapping chunks agree
    np.testing.assert_array_equal(soft[certain] > 0.5, hard[certain] > 0.5)


def test_memberships_of_fuzzy_clusters_by_hand():
    clusters = Clusters(np.array([[0.0, 0.0], [4.0, 0.0]], np.float32), np.array([True, False]))
    embeddings = torch.tensor([[[1.0, 0.0], [2.0, 0.0], [0.0, 0.0]]])
    soft = clusters.mask(embeddings, soft=True)
    torch.testing.assert_close(soft, torch.tensor([[0.9, 0.5, 1.0]]))
    torch.testing.assert_close(clusters.mask(embeddings)[0, ::2], torch.ones(2))


def test_the_vocal_cluster_is_named_without_the_truth(songs, batch):
    """After enough training, the mask of the vocals is better than that of the other cluster."""
    separator = DeepClusteringSeparator(
        **{**SMALL, "hidden_size": 32},
        optimizer="adam",
        lr=5e-3,
        max_epochs=30,
        dropout=0.0,
        augmentation=False,
    ).fit(batch)
    estimates = separator.predict(batch)
    others = [mixture - vocals for mixture, vocals in zip(songs.mixtures, estimates, strict=True)]
    before = sdr_score(songs.vocals, songs.mixtures)
    assert sdr_score(songs.vocals, estimates) > before + 2.0 > sdr_score(songs.vocals, others) + 2.0
    distance = np.linalg.norm(separator.vocal_centroid_ - separator.accompaniment_centroid_)
    assert distance > 0.5


def test_the_mask_head_names_the_cluster(fitted, batch):
    separator = fitted[HybridClusteringSeparator]
    clusters = separator.predict_mask(batch[:1])[0] > 0.5
    head = with_clusterer(separator, output="mask").predict_mask(batch[:1])[0]
    assert head[clusters].mean() > head[~clusters].mean()
    assert np.unique(head).size > 100


# --- degenerate input ----------------------------------------------------------------------------


@pytest.mark.parametrize("cls", [DeepClusteringSeparator, HybridClusteringSeparator])
@pytest.mark.parametrize("scope", ["track", "chunk"])
@pytest.mark.parametrize("clusterer", [None, KMeans(5), GaussianMixture(2)])
def test_degenerate_tracks_end_at_once(fitted, cls, scope, clusterer):
    impulse = np.zeros(9000, np.float32)
    impulse[4000] = 0.5
    sine = 0.3 * np.sin(2 * np.pi * 440 * np.arange(9000) / SAMPLE_RATE).astype(np.float32)
    tracks = [np.zeros(9000, np.float32), impulse, sine, sine[:1], np.full(9000, 0.2, np.float32)]
    separator = with_clusterer(fitted[cls], clusterer=clusterer, cluster_scope=scope)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        batch = chunks_of(tracks)
        masks, estimates = separator.predict_mask(batch), separator.predict(batch)
    assert all(np.isfinite(mask).all() for mask in masks)
    assert not masks[0].any() and not estimates[0].any()


def test_one_point_falls_to_the_centroids_of_training():
    fallback = Clusters(np.eye(2, dtype=np.float32), np.array([True, False]))
    for sample in (np.zeros((0, 2)), np.ones((1, 2)), np.ones((5000, 2))):
        sample = sample.astype(np.float32)
        assert fit_clusters(KMeans(2), sample, None, fallback) is fallback


def test_only_noise_falls_back():
    fallback = Clusters(np.eye(2, dtype=np.float32), np.array([True, False]))
    sample = np.random.default_rng(0).normal(size=(50, 2)).astype(np.float32)
    assert fit_clusters(DBSCAN(eps=1e-6), sample, None, fallback) is fallback


def test_a_singing_cluster_among_several():
    random = np.random.default_rng(0)
    corners = np.array([[0, 0], [5, 0], [0, 5], [5, 5]], np.float32)
    sample = np.repeat(corners, 50, axis=0) + random.normal(0, 0.1, (200, 2)).astype(np.float32)
    # The cluster on the right is singing.
    clusters = fit_clusters(
        KMeans(4, n_init=5, random_state=0),
        sample,
        lambda _, centroids: centroids[:, 0] - 2.5,
        None,
    )
    np.testing.assert_array_equal(
        clusters.mask(torch.from_numpy(corners)), torch.tensor([0.0, 1.0, 0.0, 1.0])
    )


def test_samples_are_bounded_and_spread():
    features = torch.zeros(50, 40)
    features[:, :10] = -50.0
    loud = loud_bins(features, 0.0, 100)
    assert len(loud) == 100 and loud[0] == 10 and loud[-1] == 50 * 40 - 1
    assert (loud % 40 >= 10).all()
    assert len(loud_bins(features, 0.0, 10**6)) == 50 * 30
    np.testing.assert_array_equal(sampled_chunks(5, 10), np.arange(5))
    few = sampled_chunks(1000, 2**18)
    assert len(few) == 4 and few[0] == 0 and few[-1] == 999


def test_no_vocals_to_learn_from(songs):
    batch = chunks_of(songs.mixtures, [np.zeros_like(track) for track in songs.vocals])
    with pytest.raises(ValueError, match="which cluster to extract: the vocals"):
        DeepClusteringSeparator(**SMALL, max_epochs=1).fit(batch)


def test_nothing_but_vocals_to_learn_from(songs):
    batch = chunks_of(songs.vocals, songs.vocals)
    separator = DeepClusteringSeparator(**SMALL, max_epochs=1).fit(batch)
    np.testing.assert_array_equal(separator.accompaniment_centroid_, -separator.vocal_centroid_)


# --- parameters ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "error", "match"),
    [
        ({"cell": "rnn"}, ValueError, "cell"),
        ({"embedding_dim": 1}, ValueError, "embedding_dim"),
        ({"hidden_size": 0}, ValueError, "hidden_size"),
        ({"n_layers": 0}, ValueError, "n_layers"),
        ({"n_convolutions": -1}, ValueError, "n_convolutions"),
        ({"dropout": 1.0}, ValueError, "dropout"),
        ({"loss": "snr"}, ValueError, "loss"),
        ({"weights": "power"}, ValueError, "weights"),
        ({"cluster_scope": "song"}, ValueError, "cluster_scope"),
        ({"clusterer": MelChunker()}, TypeError, "clusterer"),
        ({"clusterer": "kmeans"}, TypeError, "clusterer"),
        ({"max_samples": 1}, ValueError, "max_samples"),
        ({"clusterer": KMeans(np.int64(30)), "max_samples": 20}, ValueError, "30 clusters"),
    ],
)
@pytest.mark.parametrize("cls", [DeepClusteringSeparator, HybridClusteringSeparator])
def test_bad_parameters(batch, cls, parameters, error, match):
    with pytest.raises(error, match=match):
        cls(**{**SMALL, "max_epochs": 1, **parameters}).fit(batch)


@pytest.mark.parametrize(
    ("parameters", "error", "match"),
    [
        ({"alpha": 1.5}, ValueError, "alpha"),
        ({"alpha": 1.0}, ValueError, "alpha"),
        ({"output": "both"}, ValueError, "output"),
    ],
)
def test_bad_parameters_of_the_hybrid(batch, parameters, error, match):
    with pytest.raises(error, match=match):
        HybridClusteringSeparator(**SMALL, max_epochs=1, **parameters).fit(batch)


@pytest.mark.parametrize(
    ("parameters", "error", "match"),
    [
        ({"n_levels": 0}, ValueError, "n_levels"),
        ({"depth": 0}, ValueError, "depth"),
        ({"skip": "multiply"}, ValueError, "skip"),
        ({"clustering_loss": "bce"}, ValueError, "clustering_loss"),
        ({"recurrent_dropout": -0.1}, ValueError, "dropout"),
        ({"loss": "mse"}, ValueError, "loss"),
        ({"clustering": "hybrid"}, TypeError, "clustering"),
        ({"clustering": UNetSeparator()}, TypeError, "HybridClusteringSeparator"),
        ({"clustering": HybridClusteringSeparator()}, NotFittedError, "FrozenEstimator"),
    ],
)
def test_bad_parameters_of_the_uhnet(batch, parameters, error, match):
    with pytest.raises(error, match=match):
        UHNetSeparator(**SMALL, n_filters=2, max_epochs=1).set_params(**parameters).fit(batch)


def test_parameters_of_the_default_clusterer_can_be_searched(songs):
    pipeline = make_pipeline(
        MelChunker(sample_rate=SAMPLE_RATE, **FRONT_END),
        MaskBuilder(),
        DeepClusteringSeparator(**SMALL, max_epochs=1),
    )
    name = "deepclusteringseparator__clusterer__n_init"
    search = GridSearchCV(pipeline, {name: [1, 2]}, cv=2).fit(songs.mixtures, songs.vocals)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    # The default itself has not changed.
    assert pipeline[-1].clusterer is None and DeepClusteringSeparator().clusterer is None


def test_setting_another_clusterer_and_its_parameters_at_once():
    separator = DeepClusteringSeparator().set_params(
        clusterer=GaussianMixture(), clusterer__n_components=2
    )
    assert separator.clusterer.n_components == 2
    separator.set_params(clusterer=None, clusterer__n_init=3)
    assert separator.clusterer.n_init == 3
    assert DeepClusteringSeparator().set_params(clusterer__n_init=7).clusterer.n_init == 7


# --- UH-Net --------------------------------------------------------------------------------------


def uhnet(**parameters):
    defaults = {"n_filters": 2, "depth": 2, "max_epochs": 1}
    return UHNetSeparator(**{**SMALL, **defaults, **parameters})


def test_a_frozen_hybrid_stays_as_it_was(fitted, batch):
    hybrid = fitted[HybridClusteringSeparator]
    separator = uhnet(clustering=hybrid).fit(batch)
    network = separator.net_.module_.network.clustering
    for name, weights in hybrid.net_.module_.network.state_dict().items():
        assert torch.equal(weights, network.state_dict()[name]), name
    assert network is not hybrid.net_.module_.network
    torch.testing.assert_close(separator.net_.module_.mean, hybrid.net_.module_.mean)


def test_a_given_hybrid_can_be_trained_further(fitted, batch):
    hybrid = fitted[HybridClusteringSeparator]
    before = {name: w.clone() for name, w in hybrid.net_.module_.state_dict().items()}
    separator = uhnet(clustering=hybrid, freeze_clustering=False).fit(batch)
    trained = separator.net_.module_.network.clustering.state_dict()
    assert not torch.equal(trained["mask.weight"], before["network.mask.weight"])
    # The given separator does not change.
    for name, weights in hybrid.net_.module_.state_dict().items():
        assert torch.equal(weights, before[name]), name


def test_a_frozen_hybrid_can_be_released_later(fitted, batch):
    hybrid = fitted[HybridClusteringSeparator]
    separator = uhnet(clustering=hybrid, warm_start=True).fit(batch)
    separator.set_params(freeze_clustering=False).fit(batch)
    trained = separator.net_.module_.network.clustering.state_dict()["mask.weight"]
    assert not torch.equal(trained, hybrid.net_.module_.network.state_dict()["mask.weight"])


def test_a_voice_in_any_order_is_no_input_of_a_uhnet(batch):
    hybrid = HybridClusteringSeparator(**SMALL, max_epochs=1, permutation_invariant=True).fit(batch)
    with pytest.raises(ValueError, match="permutation_invariant"):
        uhnet(clustering=hybrid).fit(batch)


@pytest.mark.parametrize("cls", [DeepClusteringSeparator, HybridClusteringSeparator])
def test_warm_starts_refuse_another_network(batch, cls):
    separator = cls(**SMALL, max_epochs=1, warm_start=True).fit(batch)
    before = separator.predict_mask(batch[:1])[0]
    with pytest.raises(ValueError, match="do not fit"):
        separator.set_params(embedding_dim=6).fit(batch)
    np.testing.assert_array_equal(separator.predict_mask(batch[:1])[0], before)


@pytest.mark.parametrize("cls", [DeepClusteringSeparator, HybridClusteringSeparator])
def test_going_on_with_instrumentals_keeps_the_vocal_centroid(songs, batch, cls):
    separator = cls(**SMALL, max_epochs=1).fit(batch)
    vocal = separator.vocal_centroid_.copy()
    silence = [np.zeros_like(track) for track in songs.vocals]
    separator.partial_fit(chunks_of(songs.accompaniments, silence))
    np.testing.assert_array_equal(separator.vocal_centroid_, vocal)
    assert separator.n_epochs_ == 2


def test_centroids_do_not_depend_on_the_batch_size(songs):
    quiet = [track * 10 ** (-3 * (index % 2)) for index, track in enumerate(songs.mixtures)]
    vocals = [track * 10 ** (-3 * (index % 2)) for index, track in enumerate(songs.vocals)]
    batch = chunks_of(quiet, vocals)
    separator = DeepClusteringSeparator(**SMALL, max_epochs=1).fit(batch)
    centroids = [
        separator.set_params(batch_size=size)._learned_after(separator.net_, batch, False)
        for size in (1, 64)
    ]
    for name in ("vocal_centroid_", "accompaniment_centroid_"):
        np.testing.assert_allclose(centroids[0][name], centroids[1][name], atol=1e-5)


def test_a_loss_per_excerpt_is_refused(batch):
    with pytest.raises(ValueError, match="scalar"):
        uhnet(loss=lambda logits, excerpts: logits.mean(dim=(1, 2))).fit(batch)


def test_a_mask_loss_of_cross_entropy_is_that_of_the_hybrid():
    torch.manual_seed(0)
    front_end = FrontEnd(SAMPLE_RATE, 512, 256, 32, 16, 0.5, 0.0, 4000.0)
    excerpts = Excerpts(*torch.randn(2, 3, front_end.excerpt_length), front_end)
    shape = excerpts.features.shape
    embeddings = torch.nn.functional.normalize(torch.randn(*shape, 4), dim=-1)
    of_clustering = EmbeddingsAndMasks(embeddings, torch.randn(3, 2, *shape[1:]))
    levels = (torch.randn(shape), torch.randn(shape))
    clustering = ClusteringObjective("classic", "magnitude")
    bce = LOSSES["bce"]
    expected = HybridObjective(clustering, 0.3)(of_clustering, excerpts)
    expected = expected + bce(levels[0], excerpts) + bce(levels[1], excerpts)
    loss = UHNetObjective(bce, clustering, 0.3)(UHNetOutput(levels, of_clustering), excerpts)
    torch.testing.assert_close(loss, expected)


def test_a_hybrid_of_another_front_end_is_refused(fitted, songs):
    other = MelChunker(sample_rate=SAMPLE_RATE, **{**FRONT_END, "n_mels": 24})
    batch = MaskBuilder().fit_transform(other.fit_transform(songs.mixtures), songs.vocals)
    with pytest.raises(ValueError, match="MelChunker"):
        uhnet(clustering=fitted[HybridClusteringSeparator]).fit(batch)


def test_a_given_hybrid_survives_searches_where_it_is_frozen(fitted, songs):
    hybrid = FrozenEstimator(fitted[HybridClusteringSeparator])
    chunker = MelChunker(sample_rate=SAMPLE_RATE, **FRONT_END)
    pipeline = make_pipeline(chunker, MaskBuilder(), uhnet(clustering=hybrid))
    search = GridSearchCV(pipeline, {"uhnetseparator__lr": [1e-3, 1e-4]}, cv=2)
    search.fit(songs.mixtures, songs.vocals)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


@pytest.mark.parametrize("wrap", [FrozenEstimator, lambda hybrid: hybrid])
def test_uhnet_with_a_hybrid_saves_and_loads(fitted, batch, tmp_path, wrap):
    separator = uhnet(clustering=wrap(fitted[HybridClusteringSeparator])).fit(batch)
    path = tmp_path / "uhnet.safetensors"
    sksep.save(separator, path)
    loaded = sksep.load(path)
    np.testing.assert_array_equal(
        loaded.predict_mask(batch[:1])[0], separator.predict_mask(batch[:1])[0]
    )


def test_levels_have_a_loss_each(batch):
    """The loss of a pyramid is the sum over its levels, which are all about ln 2 at first."""
    losses = [
        uhnet(n_levels=n_levels, clustering=None, lr=1e-9).fit(batch).loss_curve_[0]
        for n_levels in (1, 3)
    ]
    assert losses[1] - losses[0] == pytest.approx(2 * np.log(2), rel=0.3)


def test_joint_training_trains_both(batch):
    separator = uhnet(lr=3e-3, max_epochs=6).fit(batch)
    assert separator.loss_curve_[-1] < 0.95 * separator.loss_curve_[0]
