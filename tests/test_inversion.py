"""Inversion in blocks, on a grid of the track's own rate."""

import librosa
import numpy as np
import pytest
import soundfile
import torch
from helpers import noise

from sksep import MelChunker
from sksep.base._inversion import BlockInverter, Inversion, interpolate_frames, invert, native_grid

RATE = 16000


def song(n_samples, rate=RATE, seed=0):
    generator = np.random.default_rng(seed)
    times = np.arange(n_samples) / rate
    phase = 2 * np.pi * np.cumsum(300 + 100 * np.sin(2 * np.pi * 3 * times)) / rate
    return (0.3 * np.sin(phase) + 0.05 * generator.normal(size=n_samples)).astype(np.float32)


def masked(track, mask=None, **front_end):
    """A record with a mask, by default one that varies in time and frequency."""
    record = MelChunker(**front_end).fit_transform([track])[0]
    if mask is None:
        shape = record.spectrogram.shape
        rows, columns = np.indices(shape)
        mask = 0.5 + 0.5 * np.sin(rows / 7) * np.cos(columns / 11)
    else:
        mask = np.full(record.spectrogram.shape, mask)
    return record.with_mask(mask)


def stereo_file(path, n_samples, rate):
    samples = np.stack([song(n_samples, rate), song(n_samples, rate, seed=1)])
    soundfile.write(path, samples.T, rate, subtype="FLOAT")
    return path


@pytest.mark.parametrize("n_iter", [0, 3])
@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.99])
@pytest.mark.parametrize(
    "front_end",
    [{}, {"n_fft": 2048, "hop_length": 512, "n_mels": 256}, {"hop_length": 300}],
    ids=str,
)
@pytest.mark.parametrize("kind", ["array", "file"])
def test_blocks_make_no_difference(tmp_path, monkeypatch, kind, front_end, momentum, n_iter):
    if kind == "array":
        track = np.stack([song(40000), song(40000, seed=1)])
    else:
        track = stereo_file(tmp_path / "song.wav", 100_003, 44100)
    record = masked(track, **front_end)
    inversion = Inversion(n_iter=n_iter, momentum=momentum)
    whole = invert(record, inversion)
    monkeypatch.setattr("sksep.base._inversion._BLOCK_SECONDS", 0.2)
    blocks = []
    monkeypatch.setattr(type(record.track), "blocks", spy(type(record.track).blocks, blocks))
    in_blocks = invert(record, inversion)
    assert len(blocks) > 2
    assert in_blocks.shape == record.track.shape
    np.testing.assert_allclose(in_blocks, whole, atol=2e-5)


def spy(method, calls):
    def generate(*args):
        for item in method(*args):
            calls.append(item[0])
            yield item

    return generate


@pytest.mark.parametrize("front_end", [{}, {"hop_length": 300}, {"n_mels": None}], ids=str)
def test_equals_librosa(front_end):
    track = song(40000)
    record = masked(track, **front_end)
    hop_length = record.front_end.hop_length
    spectra = librosa.stft(track, n_fft=1024, hop_length=hop_length, pad_mode="constant")
    spectra *= (record.mask @ record.front_end.lift_matrix(RATE, 1024).numpy()).T
    expected = librosa.istft(spectra, n_fft=1024, hop_length=hop_length, length=40000)
    # librosa has no frames that are centered beyond the ends.
    inner = slice(512, -512)
    np.testing.assert_allclose(invert(record, Inversion())[inner], expected[inner], atol=1e-5)


@pytest.mark.parametrize("n_iter", [0, 5])
def test_blocks_of_random_phases_fade_into_each_other(monkeypatch, n_iter):
    monkeypatch.setattr("sksep.base._inversion._BLOCK_SECONDS", 0.3)
    levels = []

    def constant(samples, *_):
        levels.append(len(levels) % 2 + 1.0)
        return torch.full_like(samples, levels[-1])

    monkeypatch.setattr("sksep.base._inversion._invert_block", constant)
    vocals = invert(masked(song(60000)), Inversion(n_iter, init="random"))
    assert len(levels) > 3 and vocals[0] == 1.0 and vocals[-1] == levels[-1]
    assert vocals.min() >= 1.0 - 1e-6 and vocals.max() <= 2.0 + 1e-6
    # The level changes over a window or more, not from one sample to the next.
    assert 0 < np.abs(np.diff(vocals)).max() < 1 / 1000
    assert (vocals == 1.0).any() and (vocals == 2.0).any()


@pytest.mark.parametrize("n_iter", [0, 5])
def test_random_phases_are_continuous_across_blocks(monkeypatch, n_iter):
    track = song(60000)
    record = masked(track, mask=1.0)
    inversion = Inversion(n_iter=n_iter, init="random", seed=3)
    monkeypatch.setattr("sksep.base._inversion._BLOCK_SECONDS", 0.3)
    vocals = invert(record, inversion)
    assert np.isfinite(vocals).all()
    np.testing.assert_array_equal(vocals, invert(record, inversion))
    other = invert(record, Inversion(n_iter=n_iter, init="random", seed=4))
    assert np.abs(vocals - other).max() > 0.01
    # There are no clicks: steps are not much larger than the largest one of the track.
    assert np.abs(np.diff(vocals)).max() < 2 * np.abs(np.diff(track)).max()
    # There are no gaps or bumps either, since the level of the track is even.
    level = 10 * np.log10(np.mean(vocals.reshape(-1, 800) ** 2, axis=1))
    assert np.abs(level - level.mean()).max() < 9.0


def test_griffin_lim_makes_random_phases_consistent():
    track = song(30000)
    record = masked(track, mask=1.0)

    def inconsistency(n_iter, momentum=0.0):
        vocals = invert(record, Inversion(n_iter=n_iter, init="random", momentum=momentum))
        spectra = [
            torch.stft(
                torch.tensor(x), 1024, 128, window=torch.hann_window(1024), return_complex=True
            ).abs()
            for x in (vocals, track)
        ]
        return float((spectra[0] - spectra[1]).norm() / spectra[1].norm())

    errors = [inconsistency(n_iter) for n_iter in (0, 5, 30)]
    assert errors[0] > 1.2 * errors[1] > 1.2 * 1.1 * errors[2]
    assert inconsistency(30, momentum=0.99) < errors[2]


@pytest.mark.parametrize("rate", [8000, 11025, 22050, 44100, 48000])
@pytest.mark.parametrize("n_iter", [0, 2])
def test_all_ones_give_the_mixture_back(tmp_path, rate, n_iter):
    path = stereo_file(tmp_path / "song.wav", rate + 13, rate)
    samples = soundfile.read(path, dtype="float32")[0].T
    np.testing.assert_allclose(
        invert(masked(path, mask=1.0), Inversion(n_iter)), samples, atol=1e-4
    )
    np.testing.assert_allclose(
        invert(masked(path, mask=0.25), Inversion(n_iter)), samples / 4, atol=1e-4
    )
    assert not invert(masked(path, mask=0.0), Inversion(n_iter)).any()


def test_masks_act_at_their_time_and_frequency(tmp_path):
    rate = 44100
    times = np.arange(2 * rate) / rate
    low, high = 0.2 * np.sin(2 * np.pi * 400 * times), 0.2 * np.sin(2 * np.pi * 5000 * times)
    soundfile.write(tmp_path / "song.wav", low + high, rate, subtype="FLOAT")
    record = MelChunker().fit_transform([tmp_path / "song.wav"])[0]
    n_total_frames, n_bands = record.spectrogram.shape
    mask = np.zeros((n_total_frames, n_bands))
    mask[: n_total_frames // 2, :64] = 1.0  # the low tone in the first second
    mask[n_total_frames // 2 :, 64:] = 1.0  # the high tone in the second one
    vocals = invert(record.with_mask(mask), Inversion())
    first, second = slice(2000, rate - 3000), slice(rate + 3000, 2 * rate - 2000)
    np.testing.assert_allclose(vocals[first], low[first], atol=2e-3)
    np.testing.assert_allclose(vocals[second], high[second], atol=2e-3)


def test_mask_of_the_highest_octave_is_carried_up(tmp_path):
    rate = 44100
    times = np.arange(rate) / rate
    top = 0.2 * np.sin(2 * np.pi * 12000 * times)
    soundfile.write(tmp_path / "song.wav", top, rate, subtype="FLOAT")
    record = MelChunker().fit_transform([tmp_path / "song.wav"])[0]
    mask = np.zeros(record.spectrogram.shape)
    centers = np.asarray(record.front_end.lift_matrix(RATE, 1024).argmax(dim=1)) * RATE / 1024
    mask[:, centers > 3900] = 0.5
    vocals = invert(record.with_mask(mask), Inversion())
    inner = slice(3000, rate - 3000)
    np.testing.assert_allclose(vocals[inner], 0.5 * top[inner], atol=0.01)


def test_inverting_needs_a_mask():
    record = MelChunker().fit_transform([noise(100)])[0]
    with pytest.raises(ValueError, match=r"X\[0\] has no estimated mask\. Put a separator before"):
        invert(record, Inversion())


@pytest.mark.parametrize("n_fft", [512, 1000, 1024, 2048])
@pytest.mark.parametrize("hop_length", [100, 128, 250])
@pytest.mark.parametrize("rate", [4000, 8000, 11025, 16000, 22050, 44100, 48000, 96000])
def test_native_grid(rate, n_fft, hop_length):
    front_end = MelChunker(n_fft=n_fft, hop_length=hop_length, n_mels=20).fit([]).front_end_
    grid = native_grid(front_end, rate)
    if rate == RATE:
        assert (grid.n_fft, grid.hop_length) == (n_fft, hop_length)
        return
    assert grid.n_fft % 2 == 0 and grid.hop_length <= grid.n_fft // 2
    assert grid.hop_length / rate == pytest.approx(hop_length / RATE, rel=0.1)
    # Windows are an even number of hops here, to which their length is rounded.
    assert abs(grid.n_fft / rate - n_fft / RATE) <= 1.5 * hop_length / RATE + 0.1 * n_fft / RATE
    assert max(prime for prime in range(2, 100) if grid.n_fft % prime == 0) >= 2


def test_interpolated_frames():
    mask = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    positions = torch.tensor([-3.0, 0.0, 0.25, 1.0, 1.5, 2.0, 7.0])
    rows = interpolate_frames(mask, positions)
    expected = [[0, 1], [0, 1], [0.25, 0.75], [1, 0], [0.5, 0], [0, 0], [0, 0]]
    np.testing.assert_allclose(rows, expected)
    assert interpolate_frames(mask[:1], positions).shape == (7, 2)


class SmallDevice(BlockInverter):
    """A device that is called CUDA, uses the CPU, and has memory for a number of blocks."""

    n_blocks = 0

    def __init__(self, *args):
        super().__init__(*args)
        self._device = torch.device("cuda")

    def _inverted(self, *args):
        if self._device.type == "cpu":
            return super()._inverted(*args)
        if self.n_blocks == 0:
            raise torch.cuda.OutOfMemoryError("out of memory")
        self.n_blocks -= 1
        self._device = torch.device("cpu")
        try:
            return super()._inverted(*args)
        finally:
            self._device = torch.device("cuda")


@pytest.mark.parametrize("n_blocks", [0, 2])
@pytest.mark.parametrize("inversion", [Inversion(), Inversion(n_iter=2, init="random")], ids=str)
def test_blocks_that_do_not_fit_are_inverted_on_the_cpu(monkeypatch, inversion, n_blocks):
    monkeypatch.setattr("sksep.base._inversion._BLOCK_SECONDS", 0.2)
    record = masked(song(60000))
    expected = invert(record, inversion)
    monkeypatch.setattr("sksep.base._inversion.BlockInverter", SmallDevice)
    monkeypatch.setattr(SmallDevice, "n_blocks", n_blocks)
    with pytest.warns(UserWarning, match="memory of cuda.*on the CPU.*set device='cpu'") as warned:
        vocals = invert(record, inversion)
    assert len(warned) == 1
    np.testing.assert_array_equal(vocals, expected)


def test_other_errors_pass_through(monkeypatch):
    def fails(*_):
        raise RuntimeError("out of luck")

    monkeypatch.setattr("sksep.base._inversion._invert_block", fails)
    with pytest.raises(RuntimeError, match="out of luck"):
        invert(masked(song(4000)), Inversion())
