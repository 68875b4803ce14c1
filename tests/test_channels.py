"""The phase of channels does not matter to what is separated, nor the gain to classical methods."""

import numpy as np
import pytest

import sksep
from sksep import MaskBuilder, MelChunker
from sksep.datasets import make_songs
from sksep.metrics import sdr


@pytest.fixture(scope="module")
def song():
    songs = make_songs(1, duration=6.0, random_state=3)
    return songs.mixtures[0].astype(np.float32), songs.vocals[0].astype(np.float32)


@pytest.fixture(scope="module")
def small():
    return sksep.load_pretrained("small-v1", device="cpu")


@pytest.mark.parametrize(
    "separator",
    [
        sksep.NMFSeparator(n_components=4, max_iter=5, random_state=0),
        sksep.HPSSSeparator(),
        sksep.RepetSimSeparator(),
        sksep.RobustPCASeparator(),
    ],
)
def test_masks_of_classical_methods_do_not_depend_on_the_gain(separator, song):
    mixture, vocals = song[0][:32000], song[1][:32000]
    chunker = MelChunker(n_mels=32)
    batch = MaskBuilder().fit_transform(chunker.transform([mixture]), [vocals])
    separator.fit(batch)
    expected = separator.predict_mask(batch)[0]
    softer = separator.predict_mask(chunker.transform([mixture * np.float32(1e-3)]))[0]
    # Single bins may change sides by rounding.
    assert np.mean(np.abs(softer - expected)) < 1e-3


def test_vocals_in_antiphase_are_heard(small, song):
    mixture, vocals = song
    accompaniment = mixture - vocals
    truth = np.stack([vocals, -vocals])
    usual, turned = small.predict(
        [np.stack([vocals, vocals]) + accompaniment, truth + accompaniment]
    )
    score = np.mean([sdr(true, found) for true, found in zip(truth, turned, strict=True)])
    expected = sdr(vocals, usual[0])
    floor = sdr(vocals, mixture)
    assert score > floor + 0.6 * (expected - floor)
