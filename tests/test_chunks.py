"""Cutting into chunks and cross-fading them together again."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from sksep.nn.chunks import chunk, chunk_step, count_chunks, cross_fade, unchunk


@settings(max_examples=100, deadline=None)
@given(
    n_total=st.integers(1, 300),
    n_frames=st.integers(1, 64),
    overlap=st.floats(0.0, 1.0, exclude_max=True),
    n_bands=st.integers(1, 3),
)
def test_unchunk_undoes_chunk(n_total, n_frames, overlap, n_bands):
    spectrogram = torch.randn(n_total, n_bands, generator=torch.Generator().manual_seed(0))
    step = chunk_step(n_frames, overlap)
    cut = chunk(spectrogram, n_frames, step, fill=-100.0)
    assert cut.shape == (count_chunks(n_total, n_frames, step), n_frames, n_bands)
    torch.testing.assert_close(unchunk(cut, n_total, step), spectrogram)


@settings(max_examples=100, deadline=None)
@given(n_total=st.integers(1, 500), n_frames=st.integers(1, 64), step=st.integers(1, 64))
def test_chunks_cover_all_frames_and_no_more(n_total, n_frames, step):
    step = min(step, n_frames)
    last_start = (count_chunks(n_total, n_frames, step) - 1) * step
    assert last_start + n_frames >= n_total
    assert last_start == 0 or last_start - step + n_frames < n_total


@pytest.mark.parametrize(
    ("n_frames", "overlap", "step"),
    [(128, 0.5, 64), (128, 0.0, 128), (128, 0.75, 32), (10, 0.99, 1), (1, 0.5, 1), (128, 0.9, 13)],
)
def test_step(n_frames, overlap, step):
    assert chunk_step(n_frames, overlap) == step


def test_chunks_are_slices_filled_up_at_the_end():
    spectrogram = torch.arange(10.0)[:, None] * torch.tensor([1.0, 10.0])
    cut = chunk(spectrogram, 4, 3, fill=-1.0)
    assert cut.shape == (3, 4, 2)
    torch.testing.assert_close(cut[1], spectrogram[3:7])
    cut = chunk(spectrogram, 4, 4, fill=-1.0)
    torch.testing.assert_close(cut[2, :2], spectrogram[8:])
    assert (cut[2, 2:] == -1.0).all()


def test_cross_fade_weights():
    np.testing.assert_allclose(cross_fade(4, 4), [1, 1, 1, 1])
    np.testing.assert_allclose(cross_fade(4, 2), [1 / 3, 2 / 3, 2 / 3, 1 / 3])
    np.testing.assert_allclose(cross_fade(6, 4), [1 / 3, 2 / 3, 1, 1, 2 / 3, 1 / 3])
    for n_frames, step in [(128, 64), (128, 100), (7, 1), (1, 1)]:
        weight = cross_fade(n_frames, step)
        assert weight.shape == (n_frames,) and (weight > 0).all() and (weight <= 1).all()
        torch.testing.assert_close(weight, weight.flip(0))


@pytest.mark.parametrize(("n_frames", "step"), [(8, 4), (8, 6), (8, 7)])
def test_weights_of_two_chunks_add_up_to_one(n_frames, step):
    overlap = n_frames - step
    weight = cross_fade(n_frames, step)
    torch.testing.assert_close(weight[:overlap] + weight[step:], torch.ones(overlap))


def test_fading_from_one_chunk_to_the_next():
    chunks = torch.stack([torch.zeros(8, 1), torch.ones(8, 1)])
    joined = unchunk(chunks, 12, 4)[:, 0]
    np.testing.assert_allclose(joined, [0] * 4 + [0.2, 0.4, 0.6, 0.8] + [1] * 4, atol=1e-6)


def test_every_chunk_counts_where_three_overlap():
    chunks = torch.tensor([0.0, 1.0, 5.0])[:, None, None].expand(3, 6, 2)
    joined = unchunk(chunks, 10, 2)
    weight = cross_fade(6, 2)
    expected = (weight[2] * 1.0 + weight[0] * 5.0) / (weight[4] + weight[2] + weight[0])
    torch.testing.assert_close(joined[4], expected.expand(2))
    assert (joined >= 0).all() and (joined <= 5).all()
