"""Joined blocks of any size equal the pipeline's prediction for the whole track."""

import numpy as np
import pytest
from helpers import fit_preset, noise

from sksep import DeepClusteringSeparator, HPSSSeparator, MelChunker
from sksep.inference._streaming import StreamingSeparator
from sksep.presets import uhnet_pipeline, unet_pipeline

RATE = 16000


@pytest.fixture(scope="module")
def unet():
    return fit_preset(unet_pipeline, invert__n_iter=0)


@pytest.fixture(scope="module")
def uhnet():
    return fit_preset(uhnet_pipeline, separate__hidden_size=4, invert__n_iter=2)


def streamed(stream, samples, sizes):
    """Joined vocals and accompaniment of blocks, whose sizes repeat."""
    blocks, position, turn = [], 0, 0
    while position < samples.shape[-1]:
        size = sizes[turn % len(sizes)]
        blocks.append(stream.process(samples[..., position : position + size]))
        position, turn = position + size, turn + 1
    blocks.append(stream.finish())
    return [np.concatenate(parts, axis=-1) for parts in zip(*blocks, strict=True)]


def predicted(pipeline, samples, rate, tmp_path):
    """Prediction of the pipeline, for a track of any rate."""
    if rate == RATE:
        return pipeline.predict([samples])[0]
    import soundfile

    path = tmp_path / "song.wav"
    soundfile.write(path, samples.T, rate, subtype="FLOAT")
    return pipeline.predict([path])[0]


@pytest.mark.parametrize("sizes", [[100_000_000], [44100], [3000, 1, 70000, 0]], ids=str)
@pytest.mark.parametrize("n_samples", [1, 700, 16000 * 4, 16000 * 13 + 77])
def test_equals_the_whole_track(unet, tmp_path, n_samples, sizes):
    samples = noise(n_samples)
    vocals, accompaniment = streamed(StreamingSeparator(unet), samples, sizes)
    np.testing.assert_allclose(vocals, predicted(unet, samples, RATE, tmp_path), atol=1e-5)
    np.testing.assert_array_equal(accompaniment, samples - vocals)


@pytest.mark.parametrize("rate", [8000, 22050, 44100, 48000, 44099, 96000])
def test_equals_the_whole_track_at_any_rate(unet, tmp_path, rate):
    samples = noise(2, round(11.3 * rate))
    stream = StreamingSeparator(unet, rate, n_channels=2)
    vocals, _ = streamed(stream, samples, [rate, 17, rate // 3])
    np.testing.assert_allclose(vocals, predicted(unet, samples, rate, tmp_path), atol=1e-4)


def test_equals_the_whole_track_with_iterations(uhnet, tmp_path):
    samples = noise(2, 44100 * 12)
    vocals, _ = streamed(StreamingSeparator(uhnet, 44100, 2), samples, [50000])
    np.testing.assert_allclose(vocals, predicted(uhnet, samples, 44100, tmp_path), atol=1e-4)


@pytest.mark.parametrize("n_samples", [RATE, RATE * 13])
def test_equals_the_whole_track_from_random_phases(unet, n_samples):
    unet = fit_preset(
        unet_pipeline, invert__n_iter=1, invert__init="random", invert__random_state=0
    )
    samples = noise(n_samples)
    vocals, _ = streamed(StreamingSeparator(unet), samples, [30000])
    np.testing.assert_allclose(vocals, unet.predict([samples])[0], atol=1e-4)


@pytest.mark.parametrize("overlap", [0.0, 0.3, 0.75])
def test_equals_the_whole_track_at_any_overlap(unet, overlap):
    samples = noise(RATE * 15)
    unet.set_params(chunk__overlap=overlap)
    vocals, _ = streamed(StreamingSeparator(unet), samples, [20000])
    np.testing.assert_allclose(vocals, unet.predict([samples])[0], atol=1e-5)
    unet.set_params(chunk__overlap=0.5)


@pytest.mark.parametrize("rate", [1000, 8000, 16000, 44100, 192000])
def test_latency_holds(unet, rate):
    stream = StreamingSeparator(unet, rate)
    samples = noise(rate * 20)
    n_in = n_out = 0
    for block in np.array_split(samples, 157):
        n_in += len(block)
        n_out += len(stream.process(block).vocals)
        assert n_in - n_out <= stream.latency
    assert stream.latency < 12 * rate


def test_memory_does_not_grow(unet):
    stream = StreamingSeparator(unet)
    kept = []
    for block in np.array_split(noise(RATE * 60), 30):
        stream.process(block)
        inner = stream._stream
        kept.append(inner._mixture.shape[1] + inner._vocals.shape[1])
        assert sum(block.shape[1] for block in stream._mixture._blocks) <= stream.latency
    assert max(kept[15:]) <= max(kept[:15])


def test_tracks_one_after_the_other(unet):
    stream = StreamingSeparator(unet)
    first, second = noise(RATE * 3), noise(RATE * 9, seed=1)
    streamed(stream, first, [RATE])
    vocals, _ = streamed(stream, second, [RATE])
    np.testing.assert_allclose(vocals, unet.predict([second])[0], atol=1e-5)


def test_nothing_in_nothing_out(unet):
    assert StreamingSeparator(unet).finish().vocals.size == 0


@pytest.mark.parametrize(
    ("block", "error", "message"),
    [
        (np.zeros((3, 10)), ValueError, "channels"),
        (np.zeros((1, 1, 10)), ValueError, "channels"),
        (np.zeros(10, np.int64), TypeError, "floating point"),
        (np.array([0.0, np.nan]), ValueError, "NaN"),
    ],
)
def test_bad_blocks(unet, block, error, message):
    with pytest.raises(error, match=message):
        StreamingSeparator(unet).process(block)


def test_changed_dimensions(unet):
    stream = StreamingSeparator(unet)
    stream.process(np.zeros(10))
    with pytest.raises(ValueError, match="dimensions"):
        stream.process(np.zeros((1, 10)))


def test_what_needs_the_whole_track_is_refused(unet):
    from sklearn.pipeline import make_pipeline

    whole = make_pipeline(MelChunker(), HPSSSeparator())
    clusters = make_pipeline(MelChunker(), DeepClusteringSeparator())
    for pipeline in (whole, clusters, unet["separate"], make_pipeline(MelChunker())):
        with pytest.raises(TypeError, match="predict"):
            StreamingSeparator(pipeline)
