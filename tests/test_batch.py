"""The batch between the steps: immutable, indexed by scikit-learn, the same after pickling."""

import pickle

import joblib
import numpy as np
import pytest
import soundfile
from helpers import noise
from sklearn.utils import _safe_indexing

from sksep import MaskBuilder, MelChunker
from sksep.base._batch import TrackBatch, TrackRecord, as_batch
from sksep.utils._arrays import object_array

RATE = 16000
LENGTHS = (1, 900, 16000, 24001)


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    """Arrays and files, with everything that can be attached to a record."""
    path = tmp_path_factory.mktemp("songs") / "song.wav"
    soundfile.write(path, noise(44100, 2), 44100)
    mixtures = [*(noise(length) for length in LENGTHS), noise(2, 5000), path]
    vocals = [*(noise(length, seed=1) for length in LENGTHS), noise(2, 5000, seed=1), path]
    batch = MaskBuilder().fit_transform(MelChunker().fit_transform(mixtures), vocals)
    return batch.with_masks(record.targets.proportion_mask for record in batch)


def arrays_of(batch):
    for record in batch:
        holders = {"record": record, "targets": record.targets, "track": record.track}
        for holder, owner in holders.items():
            for name, value in vars(owner).items():
                if isinstance(value, np.ndarray):
                    yield f"{record.name}: {holder}.{name}", value


def test_is_a_sequence(batch):
    assert len(batch) == len(LENGTHS) + 2
    assert isinstance(batch[0], TrackRecord) and batch[-1] is list(batch)[-1]
    assert isinstance(batch[1:3], TrackBatch) and len(batch[1:3]) == 2
    assert batch[0] in batch and [record.name for record in batch[:2]] == ["X[0]", "X[1]"]
    with pytest.raises(IndexError):
        batch[len(batch)]
    # With these, scikit-learn or skorch would take it for an array, a frame or an estimator.
    assert not any(hasattr(batch, name) for name in ("shape", "iloc", "fit", "__dataframe__"))


def test_repr(batch):
    assert repr(batch) == f"<TrackBatch of {len(batch)} tracks>"
    assert repr(batch[2]) == "<TrackRecord X[2]: 1.00 s, spectrogram (126, 128), targets, mask>"


def test_cannot_be_changed(batch):
    with pytest.raises(TypeError):
        batch[0] = batch[1]
    with pytest.raises(AttributeError):
        batch[0].mask = None
    with pytest.raises(AttributeError):
        batch[0].targets.vocals = None
    with pytest.raises(AttributeError):
        batch.comment = "no room"


def check_arrays(batch):
    names = set()
    for name, array in arrays_of(batch):
        names.add(name.partition(": ")[2])
        assert array.flags.c_contiguous, name
        assert not array.flags.writeable, name
        with pytest.raises(ValueError, match="read-only"):
            array[:] = 0
    assert names == {
        *("record.samples", "record.levels", "record.estimate", "track._array"),
        *("targets.vocal_samples", "targets.mixture_samples"),
        *("targets.chunk_sings", "targets.chunk_is_kept"),
    }
    for record in batch:
        targets = record.targets
        assert record.mask is record.estimate
        for array in (record.waveform, record.spectrogram, targets.vocals, targets.mixture):
            assert array.flags.c_contiguous and not array.flags.writeable


@pytest.mark.parametrize("copies", [0, 1, 2])
def test_arrays_are_contiguous_and_read_only(batch, copies):
    for _ in range(copies):
        batch = pickle.loads(pickle.dumps(batch))
    check_arrays(batch)


def test_arrays_are_read_only_in_joblib_files(batch, tmp_path):
    joblib.dump(batch, tmp_path / "batch.joblib")
    check_arrays(joblib.load(tmp_path / "batch.joblib"))


def test_pickle_keeps_everything(batch):
    restored = pickle.loads(pickle.dumps(batch))
    for (name, before), (same_name, after) in zip(
        arrays_of(batch), arrays_of(restored), strict=True
    ):
        assert name == same_name
        np.testing.assert_array_equal(before, after)
    for record, copy in zip(batch, restored, strict=True):
        assert (record.front_end, record.track.shape) == (copy.front_end, copy.track.shape)
        np.testing.assert_array_equal(record.track.read(), copy.track.read())


def test_hash_survives_a_pickle(batch):
    # Pipeline(memory=...) needs this: the cache of the second step is used only if its input, from
    # the cache of the first, has the same hash as when it was computed.
    restored = pickle.loads(pickle.dumps(batch))
    assert joblib.hash(batch) == joblib.hash(restored)
    assert joblib.hash(batch) == joblib.hash(pickle.loads(pickle.dumps(restored)))
    assert joblib.hash(batch) == joblib.hash(TrackBatch(list(batch)))


def test_hash_through_a_joblib_file(batch, tmp_path):
    joblib.dump(batch, tmp_path / "batch.joblib")
    assert joblib.hash(batch) == joblib.hash(joblib.load(tmp_path / "batch.joblib"))


def test_hash_tells_batches_apart(tmp_path):
    tracks = [noise(2000), noise(3000)]
    chunker = MelChunker()
    hashes = {
        joblib.hash(chunker.transform(tracks)),
        joblib.hash(chunker.transform(tracks[::-1])),
        joblib.hash(chunker.transform([tracks[0], tracks[1] * 1.001])),
        joblib.hash(MelChunker(overlap=0.25).transform(tracks)),
        joblib.hash(MaskBuilder().fit_transform(chunker.transform(tracks), tracks)),
        joblib.hash(
            MaskBuilder(ratio="magnitude").fit_transform(chunker.transform(tracks), tracks)
        ),
    }
    assert len(hashes) == 6
    assert joblib.hash(chunker.transform(tracks)) in hashes


def test_scikit_learn_may_index_it(batch):
    picked = _safe_indexing(batch, np.array([2, 0]))
    restored = as_batch(picked, user="Step")
    assert [record.name for record in restored] == ["X[2]", "X[0]"]
    assert as_batch(batch, user="Step") is batch
    assert len(as_batch(batch[1], user="Step")) == 1
    assert len(as_batch(object_array(batch[:3]), user="Step")) == 3


@pytest.mark.parametrize(
    "X", [[np.zeros(10)], np.zeros((2, 10)), ["song.wav"], None, 3, "song.wav"]
)
def test_raw_tracks_are_refused(X):
    with pytest.raises(TypeError, match=r"Step works on .*Put a MelChunker before"):
        as_batch(X, user="Step")


def test_batches_that_make_no_sense(batch):
    for empty in ([], TrackBatch([]), batch[:0]):
        with pytest.raises(ValueError, match="Step was given no tracks"):
            as_batch(empty, user="Step")
    other = MelChunker(n_mels=64).fit_transform([noise(1000)])
    with pytest.raises(ValueError, match="different MelChunker settings"):
        as_batch([batch[0], other[0]], user="Step")


def test_masks_are_checked(batch):
    masks = [record.mask for record in batch]
    assert batch.with_masks(masks)[0].mask.dtype == np.float32
    with pytest.raises(ValueError, match=r"mask of X\[0\] has shape \(3, 128\).*\(1, 128\)"):
        batch[0].with_mask(np.zeros((3, 128)))
    for value in (np.nan, np.inf):
        with pytest.raises(ValueError, match=r"mask of X\[0\] contains NaN or infinity"):
            batch[0].with_mask(np.full((1, 128), value))
    with pytest.raises(ValueError, match="zip"):
        batch.with_masks(masks[:-1])


def test_with_masks_leaves_the_batch_alone(batch):
    unmasked = MelChunker().fit_transform([noise(1000)])
    masked = unmasked.with_masks([np.ones_like(unmasked[0].spectrogram)])
    assert unmasked[0].mask is None and masked[0].mask is not None
    assert masked[0].spectrogram is not None and masked[0].track is unmasked[0].track


def test_object_array_is_one_dimensional():
    for items in ([np.zeros(3)] * 2, [np.zeros((2, 3)), np.zeros((2, 3))], [np.zeros(1)], []):
        array = object_array(items)
        assert array.shape == (len(items),) and array.dtype == object
        assert all(part is item for part, item in zip(array, items, strict=True))
