"""The STFT, its inverse, power, mel bands and decibels, compared with librosa."""

import librosa
import numpy as np
import pytest
import torch
from torch.autograd import gradcheck, gradgradcheck

from sksep.nn import spectral
from sksep.nn.spectral import (
    decibels,
    istft,
    log_mel,
    mel_filter_bank,
    mel_frequencies,
    power,
    stft,
)

GRIDS = [(256, 64), (512, 128), (1024, 128), (2048, 512), (400, 160), (1000, 333), (256, 128)]


def noise(*shape, seed=0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=dtype)


def relative_error(result, expected):
    return float(np.abs(result - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize(("n_fft", "hop_length"), GRIDS)
@pytest.mark.parametrize("center", [True, False])
def test_stft_is_that_of_librosa(n_fft, hop_length, center):
    waveform = noise(7001)
    spectra = stft(waveform, n_fft, hop_length, center=center)
    expected = librosa.stft(
        waveform.numpy(),
        n_fft=n_fft,
        hop_length=hop_length,
        center=center,
        pad_mode="constant",
    ).T
    assert spectra.dtype == torch.complex64
    assert spectra.shape == expected.shape
    assert spectra.shape[0] == spectral.count_frames(7001, n_fft, hop_length, center=center)
    assert relative_error(spectra.numpy(), expected) < 1e-6


@pytest.mark.parametrize("n_samples", [0, 1, 63, 255, 1024])
def test_centered_stft_of_any_length(n_samples):
    spectra = stft(torch.ones(2, n_samples), 1024, 128)
    assert spectra.shape == (2, 1 + n_samples // 128, 513)
    # One sample is an impulse in the middle of the window.
    if n_samples == 1:
        np.testing.assert_allclose(spectra.abs(), 1.0, rtol=1e-5)


@pytest.mark.parametrize(("n_fft", "hop_length"), [*GRIDS, (255, 64), (2048, 128), (512, 1)])
def test_istft_inverts_stft(n_fft, hop_length):
    lengths = [0, 1, hop_length - 1, hop_length, n_fft // 2, n_fft - 1, n_fft, n_fft + 1, 4001]
    for n_samples in lengths:
        waveform = noise(n_samples)
        spectra = stft(waveform, n_fft, hop_length)
        inverse = istft(spectra, n_fft, hop_length, n_samples=n_samples)
        assert inverse.dtype == torch.float32
        # If windows overlap by half, the last samples may lie in the end of one only.
        tolerance = 1e-5 if 4 * hop_length <= n_fft else 1e-3
        torch.testing.assert_close(inverse, waveform, rtol=0, atol=tolerance)


@pytest.mark.parametrize(("n_fft", "hop_length"), GRIDS)
def test_uncentered_istft_inverts_all_but_the_edges(n_fft, hop_length):
    waveform = noise(3, 7001)
    spectra = stft(waveform, n_fft, hop_length, center=False)
    inverse = istft(spectra, n_fft, hop_length, n_samples=7001, center=False)
    assert inverse.shape == waveform.shape
    last = (spectra.shape[-2] - 1) * hop_length + n_fft
    edge = round(0.06 * n_fft)
    inner = slice(edge, last - edge)
    torch.testing.assert_close(inverse[:, inner], waveform[:, inner], rtol=0, atol=2e-5)
    assert not inverse[:, last:].any()


def test_istft_amplifies_nothing_at_the_edges():
    # These spectra belong to no waveform: every frame is loud up to its ends.
    spectra = stft(noise(9000), 1024, 256, center=False)
    spectra = torch.polar(torch.ones_like(spectra.real), noise(*spectra.shape))
    frames = torch.fft.irfft(spectra)
    inverse = istft(spectra, 1024, 256, n_samples=9000, center=False)
    assert inverse.abs().max() < 20 * frames.abs().max()


def test_istft_of_modified_spectra_is_that_of_librosa():
    spectra = stft(noise(8000), 1024, 256) * noise(32, 513).sigmoid()
    expected = librosa.istft(spectra.numpy().T, hop_length=256, length=8000)
    inverse = istft(spectra, 1024, 256, n_samples=8000)
    assert relative_error(inverse.numpy(), expected) < 1e-5


def test_batches_and_double_precision():
    waveforms = noise(2, 3, 2000, dtype=torch.float64)
    spectra = stft(waveforms, 256, 100)
    assert spectra.shape == (2, 3, 21, 129) and spectra.dtype == torch.complex128
    torch.testing.assert_close(spectra[1, 2], stft(waveforms[1, 2], 256, 100))
    inverse = istft(spectra, 256, 100, n_samples=2000)
    torch.testing.assert_close(inverse, waveforms, rtol=0, atol=1e-12)


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("hop_length", [2, 3])
def test_gradients(center, hop_length):
    n_fft, n_samples = 8, 21
    waveforms = noise(n_samples, dtype=torch.float64).requires_grad_()

    def there(waveforms):
        return torch.view_as_real(stft(waveforms, n_fft, hop_length, center=center))

    def back(parts):
        spectra = torch.view_as_complex(parts)
        return istft(spectra, n_fft, hop_length, n_samples=n_samples, center=center)

    def loudness(waveforms):
        return power(stft(waveforms, n_fft, hop_length, center=center))

    parts = noise(*there(waveforms).shape, dtype=torch.float64).requires_grad_()
    assert gradcheck(there, waveforms)
    assert gradcheck(back, parts)
    assert gradcheck(loudness, waveforms)
    assert gradgradcheck(loudness, waveforms)


def test_power():
    spectra = noise(4, 5, dtype=torch.complex64)
    torch.testing.assert_close(power(spectra), spectra.abs() ** 2)
    torch.testing.assert_close(power(spectra.conj()), spectra.abs() ** 2)
    silent = torch.zeros(3, dtype=torch.complex64, requires_grad=True)
    power(silent).sum().backward()
    assert not silent.grad.any()


@pytest.mark.parametrize("f_max", [900.0, 3000.0, 11025.0])
@pytest.mark.parametrize("f_min", [0.0, 27.5])
def test_mel_bands_are_those_of_librosa(f_min, f_max):
    frequencies = mel_frequencies(42, f_min, f_max)
    assert np.array_equal(frequencies, librosa.mel_frequencies(42, fmin=f_min, fmax=f_max))
    bank = mel_filter_bank(22050, 2048, 40, f_min, f_max).numpy()
    expected = librosa.filters.mel(sr=22050, n_fft=2048, n_mels=40, fmin=f_min, fmax=f_max)
    assert np.array_equal(bank, expected)


def test_mel_filter_bank_is_shared_and_that_of_librosa():
    bank = mel_filter_bank(16000, 1024, 64, 50.0, 7000.0)
    expected = librosa.filters.mel(sr=16000, n_fft=1024, n_mels=64, fmin=50.0, fmax=7000.0)
    np.testing.assert_array_equal(bank, expected)
    assert bank.dtype == torch.float32
    assert mel_filter_bank(16000, 1024, 64, 50.0, 7000.0) is bank


def test_decibels():
    powers = torch.tensor([4.0, 1e-3, 1e-12, 0.0])
    torch.testing.assert_close(decibels(powers), torch.tensor([6.0206, -30.0, -100.0, -100.0]))
    assert decibels(powers, floor=1e-3).min() == -30.0


@pytest.mark.parametrize(
    ("n_fft", "hop_length", "n_mels"), [(1024, 128, 128), (2048, 512, 256), (400, 160, 23)]
)
def test_log_mel_is_that_of_librosa(n_fft, hop_length, n_mels):
    waveform = 0.1 * noise(16000)
    result = log_mel(waveform, mel_filter_bank(16000, n_fft, n_mels), n_fft, hop_length)
    powers = librosa.feature.melspectrogram(
        y=waveform.numpy(),
        sr=16000,
        n_fft=n_fft,
        hop_length=hop_length,
        n_mels=n_mels,
        pad_mode="constant",
    ).T
    expected = librosa.power_to_db(powers, top_db=None)
    np.testing.assert_allclose(10 ** (result.numpy() / 10), np.maximum(powers, 1e-10), rtol=1e-4)
    np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("bands", [None, 128, 20])
@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("block_frames", [None, 1, 7, 100000])
def test_log_mel_in_blocks_is_the_composition(bands, center, block_frames):
    waveforms = noise(2, 2, 5000).requires_grad_()
    bank = None if bands is None else mel_filter_bank(16000, 512, bands)
    powers = power(stft(waveforms, 512, 160, center=center))
    expected = decibels(powers if bank is None else powers @ bank.T).detach()
    result = log_mel(waveforms, bank, 512, 160, center=center, block_frames=block_frames)
    assert not result.requires_grad
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-3)


def test_log_mel_of_several_blocks_on_several_threads():
    waveforms = noise(2, 100_000)
    bank = mel_filter_bank(16000, 256, 40)
    expected = decibels(power(stft(waveforms, 256, 64)) @ bank.T)
    n_threads = torch.get_num_threads()
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            result = log_mel(waveforms, bank, 256, 64)
            torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-3)
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(n_threads)


def test_log_mel_of_bands_without_bins_silence_and_nothing():
    bank = torch.zeros(40, 129)
    assert (log_mel(noise(500), bank, 256, 64) == -100).all()
    bank = mel_filter_bank(16000, 256, 20)
    assert (log_mel(torch.zeros(500), bank, 256, 64) == -100).all()
    assert log_mel(torch.zeros(0), bank, 256, 64).shape == (1, 20)
    assert log_mel(torch.zeros(0, 500), bank, 256, 64).shape == (0, 8, 20)


def test_log_mel_is_exact_under_autocast_and_in_inference_mode():
    waveform, bank = noise(5000), mel_filter_bank(16000, 512, 64)
    expected = log_mel(waveform, bank, 512, 128)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(log_mel(waveform, bank, 512, 128), expected)
    with torch.inference_mode():
        torch.testing.assert_close(log_mel(waveform, bank, 512, 128), expected)


def test_caches_filled_in_inference_mode_serve_training():
    n_fft, hop_length = 250, 61  # sizes that no other test uses
    with torch.inference_mode():
        istft(stft(noise(999), n_fft, hop_length), n_fft, hop_length, n_samples=999)
        bank = mel_filter_bank(8000, n_fft, 9)
    waveform = noise(999).requires_grad_()
    spectra = stft(waveform, n_fft, hop_length)
    inverse = istft(spectra, n_fft, hop_length, n_samples=999)
    (inverse.sum() + (power(spectra) @ bank.T).sum()).backward()
    assert torch.isfinite(waveform.grad).all()


def test_errors():
    with pytest.raises(TypeError, match=r"float\(\)"):
        stft(torch.zeros(100, dtype=torch.int16), 16, 4)
    with pytest.raises(TypeError, match="float32 or float64"):
        log_mel(torch.zeros(100, dtype=torch.complex64), None, 16, 4)
    with pytest.raises(ValueError, match="center=True"):
        stft(torch.zeros(15), 16, 4, center=False)
    with pytest.raises(ValueError, match="hop_length"):
        stft(torch.zeros(15), 16, 0)
    spectra = stft(torch.zeros(100), 16, 4)
    with pytest.raises(ValueError, match=r"\(25, 9\).*\(26, 9\)"):
        istft(spectra, 16, 4, n_samples=99)
    with pytest.raises(ValueError, match="n_fft=32"):
        istft(spectra, 32, 4, n_samples=100)
