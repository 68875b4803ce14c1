import numpy as np
import pytest
from sklearn.metrics import jaccard_score

from sksep.metrics import iou, psnr


def random_masks(*shape, seed=0):
    return np.random.default_rng(seed).random(shape)


def test_iou_is_the_jaccard_index():
    true, estimated = random_masks(3, 5, 7) > 0.6, random_masks(3, 5, 7, seed=1) > 0.5
    vocals = jaccard_score(true.ravel(), estimated.ravel())
    both = jaccard_score(true.ravel(), estimated.ravel(), average="macro")
    assert iou(true, estimated, average="vocals") == pytest.approx(vocals)
    assert iou(true, estimated) == pytest.approx(both)
    by_chunk = [
        jaccard_score(a.ravel(), b.ravel(), average="macro")
        for a, b in zip(true, estimated, strict=True)
    ]
    assert iou(true, estimated, pooling="chunks") == pytest.approx(np.mean(by_chunk))


def test_iou_extremes():
    mask = random_masks(4, 4) > 0.5
    for options in ({}, {"average": "vocals"}, {"pooling": "chunks"}):
        assert iou(mask, mask, **options) == 1
        assert iou(mask, ~mask, **options) == 0


def test_iou_threshold():
    true, estimated = [[1.0, 0.0]], [[0.3, 0.1]]
    assert iou(true, estimated, average="vocals") == 0
    assert iou(true, estimated, average="vocals", threshold=0.2) == 1
    assert iou([[1, 0.5]], [[1, 0]]) == 1  # equal levels belong to the accompaniment


def test_iou_without_vocals():
    silent, loud = np.zeros((1, 2, 2)), np.ones((1, 2, 2))
    chunks = np.concatenate([silent, loud])
    half = np.concatenate([silent, [[[1, 1], [0, 0]]]])
    assert iou(chunks, half, average="vocals", pooling="chunks") == 0.5
    assert iou(silent, silent) == 1
    assert iou(silent, silent, pooling="chunks") == 1
    assert iou(silent, loud, average="vocals") == 0
    for pooling in ("bins", "chunks"):
        with pytest.warns(UserWarning, match="undefined"):
            assert np.isnan(iou(silent, silent, average="vocals", pooling=pooling))


def test_psnr_definition():
    true, estimated = random_masks(3, 5, 7), random_masks(3, 5, 7, seed=1)
    errors = ((true - estimated) ** 2).mean(axis=(1, 2))
    assert psnr(true, estimated) == pytest.approx(-10 * np.log10(errors.mean()))
    assert psnr(true, estimated, pooling="chunks") == pytest.approx(-10 * np.log10(errors).mean())
    assert psnr(255 * true, 255 * estimated, data_range=255) == pytest.approx(psnr(true, estimated))


def test_psnr_of_exact_chunks():
    true = random_masks(3, 4, 4)
    estimated = true.copy()
    assert psnr(true, estimated) == np.inf
    assert psnr(true, estimated, pooling="chunks") == np.inf
    estimated[1] += 0.1
    assert psnr(true, estimated, pooling="chunks") == pytest.approx(20)
    assert psnr(true, estimated) == pytest.approx(20 + 10 * np.log10(3))


@pytest.mark.parametrize("pooling", ["bins", "chunks"])
def test_collections_of_tracks_are_pooled(pooling):
    true, estimated = random_masks(5, 4, 6), random_masks(5, 4, 6, seed=1)
    as_list = ([true[:2], true[2:]], [estimated[:2], estimated[2:]])
    as_objects = []
    for masks in as_list:
        collection = np.empty(2, dtype=object)
        collection[:] = masks
        as_objects.append(collection)
    for metric in (iou, psnr):
        expected = metric(true, estimated, pooling=pooling)
        assert metric(*as_list, pooling=pooling) == pytest.approx(expected)
        assert metric(*as_objects, pooling=pooling) == pytest.approx(expected)


def test_tracks_of_unequal_sizes_count_by_bins():
    true = [np.zeros((2, 3)), np.zeros((4, 3))]
    estimated = [np.ones((2, 3)), np.zeros((4, 3))]
    assert psnr(true, estimated) == pytest.approx(10 * np.log10(3))


def test_single_precision():
    true = random_masks(2, 8, 8).astype(np.float32)
    assert psnr(true, true + np.float32(0.1)) == pytest.approx(20, abs=1e-4)


@pytest.mark.parametrize("metric", [iou, psnr])
@pytest.mark.parametrize(
    ("true", "estimated", "error", "message"),
    [
        (np.zeros((2, 3)), np.zeros((3, 2)), ValueError, "equal shapes"),
        ([np.zeros((2, 3)), np.zeros((1, 3))], [np.zeros((2, 3))] * 2, ValueError, r"\[1\]"),
        ([np.zeros((2, 3)), np.zeros((1, 3))], np.zeros((2, 3)), ValueError, "one to one"),
        (np.zeros(3), np.zeros(3), ValueError, "1 dimensions"),
        (np.zeros((0, 2, 2)), np.zeros((0, 2, 2)), ValueError, "empty"),
        (np.empty(0, dtype=object), np.empty(0, dtype=object), ValueError, "no masks"),
        (np.full((2, 2), np.nan), np.zeros((2, 2)), ValueError, "true_masks contains NaN"),
        (np.zeros((2, 2)), np.zeros((2, 2)) * 1j, TypeError, "estimated_masks has dtype complex"),
    ],
)
def test_bad_masks(metric, true, estimated, error, message):
    with pytest.raises(error, match=message):
        metric(true, estimated)


@pytest.mark.parametrize(
    ("metric", "options"),
    [
        (iou, {"average": "accompaniment"}),
        (iou, {"pooling": "tracks"}),
        (iou, {"threshold": 1.0}),
        (iou, {"threshold": -0.1}),
        (psnr, {"data_range": 0}),
        (psnr, {"data_range": np.inf}),
        (psnr, {"pooling": "tracks"}),
    ],
)
def test_bad_options(metric, options):
    with pytest.raises(ValueError, match=next(iter(options))):
        metric(np.zeros((2, 2)), np.zeros((2, 2)), **options)
