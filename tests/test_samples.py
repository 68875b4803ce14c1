"""Arrays as users have them: each works, or the message says what to pass instead."""

import numpy as np
import pytest
import torch

import sksep
from sksep.audio._samples import check_samples
from sksep.audio._validation import check_collection, check_tracks
from sksep.datasets import make_songs

NOISE = np.random.default_rng(0).normal(0.0, 0.1, (2, 50)).astype(np.float32)
INTEGERS = (NOISE * 32767).astype(np.int16)


class Table:
    """A substitute for a data frame, which iterates over the names of its columns."""

    columns = ("path", "singer")

    def __iter__(self):
        return iter(self.columns)


@pytest.mark.parametrize(
    "samples",
    [
        INTEGERS,
        INTEGERS.astype(">i2"),
        INTEGERS.astype(np.int32) * 2**16,
        (INTEGERS.astype(np.int32) * 2**16).astype(">i4"),
        INTEGERS / 2.0**15,
        (INTEGERS / 2.0**15).astype(">f8"),
        (INTEGERS / 2.0**15).tolist(),
        torch.tensor(INTEGERS),
        torch.tensor(INTEGERS / 2.0**15, requires_grad=True),
    ],
)
def test_numbers_of_many_kinds_are_the_same_samples(samples):
    taken = check_samples(samples, "X[0]")
    assert taken.dtype == np.float32 and taken.dtype.isnative
    np.testing.assert_array_equal(taken, INTEGERS / np.float32(2.0**15))


def test_bfloat16_is_taken():
    tensor = torch.tensor(NOISE).bfloat16()
    np.testing.assert_array_equal(check_samples(tensor, "X[0]"), tensor.float().numpy())


@pytest.mark.parametrize(
    ("samples", "error", "message"),
    [
        (np.ma.masked_greater(NOISE, 0.1), TypeError, r"X\[0\] is a masked array.*filled"),
        ({"left": NOISE[0]}, TypeError, r"X\[0\] is a dict; pass its samples as an array"),
        (Table(), TypeError, r"X\[0\] is a Table; pass .*to_numpy\(\)\.T"),
        (NOISE.T, ValueError, r"X\[0\] has 50 channels and 2 samples; .*transpose"),
        (NOISE * 1e30, ValueError, r"X\[0\] reaches .*e\+\d+, which is too large.*rescale"),
        (NOISE.astype(np.float64) * 1e300, ValueError, r"X\[0\] contains NaN or infinity"),
        (np.where(NOISE > 0.1, np.nan, NOISE), ValueError, r"X\[0\] contains NaN or infinity"),
        (np.where(NOISE > 0.1, -np.inf, NOISE), ValueError, r"X\[0\] contains NaN or infinity"),
        (NOISE.astype(np.uint8), TypeError, r"X\[0\] has dtype uint8"),
        (torch.tensor(NOISE).to(torch.complex64), TypeError, r"X\[0\] has dtype complex64"),
    ],
)
def test_others_are_named_with_the_remedy(samples, error, message):
    with pytest.raises(error, match=message):
        check_tracks([samples], 16000)


def test_a_column_of_paths_is_a_collection():
    column = np.array([["a.wav"], ["b.wav"]])
    assert check_collection(column) == ["a.wav", "b.wav"]
    assert check_collection(column.astype(object)) == ["a.wav", "b.wav"]


@pytest.mark.parametrize("collection", [{"song": NOISE}, Table()])
def test_tables_are_no_collections(collection):
    with pytest.raises(TypeError, match=r"X is a \w+; pass a list of tracks.*list\(table"):
        check_tracks(collection, 16000)


@pytest.fixture(scope="module")
def small():
    return sksep.load_pretrained("small-v1", device="cpu")


@pytest.mark.parametrize("function", ["separate", "predict", "fit", "stream"])
def test_samples_first_is_refused_everywhere(small, function):
    samples = np.zeros((4000, 2), np.float32)
    calls = {
        "separate": lambda: sksep.separate(samples, small),
        "predict": lambda: small.predict([samples]),
        "fit": lambda: sksep.presets.unet_pipeline().fit([samples], [samples]),
        "stream": lambda: sksep.StreamingSeparator(small, n_channels=2).process(samples),
    }
    with pytest.raises(ValueError, match=r"transpose|n_channels, n_samples"):
        calls[function]()


def test_streams_take_integers_and_blocks_of_one_sample(small):
    mono = make_songs(1, duration=1.0, random_state=0).mixtures[0]
    integers = (np.stack([mono, mono]) * 32767).astype(np.int16)
    expected = sksep.separate(integers, small).vocals
    stream = sksep.StreamingSeparator(small, n_channels=2)
    blocks = [integers[:, :1], integers[:, 1:1], integers[:, 1:]]
    parts = [stream.process(block).vocals for block in blocks]
    vocals = np.concatenate([*parts, stream.finish().vocals], axis=1)
    np.testing.assert_allclose(vocals, expected, atol=1e-4)


@pytest.mark.parametrize(
    "separator",
    [
        sksep.UNetSeparator(n_filters=2, n_levels=2, max_epochs=1, random_state=0),
        sksep.DeepClusteringSeparator(hidden_size=4, n_layers=1, max_epochs=1, random_state=0),
    ],
)
def test_damaged_weights_are_blamed_on_the_model(separator):
    songs = make_songs(1, duration=1.0, random_state=0)
    batch = sksep.MaskBuilder().fit_transform(
        sksep.MelChunker(n_mels=32).transform(songs.mixtures), songs.vocals
    )
    separator.fit(batch)
    with torch.no_grad():
        next(separator.net_.module_.network.parameters()).fill_(torch.nan)
    for method in (separator.predict, separator.predict_mask, separator.transform):
        with pytest.raises(ValueError, match=r"network of \w+ returned NaN.*weights are damaged"):
            method(batch)
