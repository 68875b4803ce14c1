"""Griffin-Lim, compared with librosa from the same initial phase."""

import inspect
from itertools import pairwise

import librosa
import numpy as np
import pytest
import torch

from sksep.nn import spectral
from sksep.nn.griffin_lim import griffin_lim
from sksep.nn.spectral import istft, stft


def noise(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def tones(n_samples=8000):
    time = torch.arange(n_samples) / 16000
    chirp = torch.sin(2 * torch.pi * (300 * time + 900 * time**2))
    return 0.3 * chirp * (1 + torch.sin(2 * torch.pi * 5 * time)) + 0.01 * noise(n_samples)


def convergence(estimate, magnitude, n_fft, hop_length):
    difference = stft(estimate, n_fft, hop_length).abs() - magnitude
    return float(difference.norm() / magnitude.norm())


def random_phase(seed):
    """Argument of librosa.griffinlim, which librosa 1.0 renamed."""
    names = inspect.signature(librosa.griffinlim).parameters
    return {"rng" if "rng" in names else "random_state": np.random.RandomState(seed)}


@pytest.mark.parametrize(("n_fft", "hop_length"), [(1024, 128), (512, 200), (256, 128)])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("n_iter", [0, 1, 4])
def test_same_as_librosa_from_the_same_phase(n_fft, hop_length, momentum, n_iter):
    magnitude = stft(tones(), n_fft, hop_length).abs()
    turns = np.random.RandomState(3).random_sample(tuple(magnitude.shape[::-1])).T
    estimate = griffin_lim(
        magnitude,
        n_fft,
        hop_length,
        n_samples=8000,
        n_iter=n_iter,
        momentum=momentum,
        phase=torch.from_numpy(np.exp(2j * np.pi * turns)).to(torch.complex64),
    ).numpy()
    expected = librosa.griffinlim(
        magnitude.numpy().T,
        n_iter=n_iter,
        n_fft=n_fft,
        hop_length=hop_length,
        momentum=momentum,
        length=8000,
        pad_mode="constant",
        **random_phase(3),
    )
    # The phases of nearly silent bins depend on rounding errors. The others do not.
    assert np.linalg.norm(estimate - expected) < 2e-3 * np.linalg.norm(expected)


@pytest.mark.parametrize("momentum", [0.0, 0.99])
def test_converges_no_worse_than_librosa(momentum):
    n_fft, hop_length = 512, 128
    magnitude = stft(tones(), n_fft, hop_length).abs()
    ours, theirs = [], []
    for seed in range(5):
        estimate = griffin_lim(
            magnitude,
            n_fft,
            hop_length,
            n_samples=8000,
            n_iter=20,
            momentum=momentum,
            generator=torch.Generator().manual_seed(seed),
        )
        ours.append(convergence(estimate, magnitude, n_fft, hop_length))
        reference = librosa.griffinlim(
            magnitude.numpy().T,
            n_iter=20,
            n_fft=n_fft,
            hop_length=hop_length,
            momentum=momentum,
            length=8000,
            pad_mode="constant",
            **random_phase(seed),
        )
        theirs.append(convergence(torch.from_numpy(reference), magnitude, n_fft, hop_length))
    # The seeds give other phases, whose results are equally good on average.
    assert np.mean(ours) < 1.1 * np.mean(theirs)
    assert np.mean(ours) < 0.25


def test_each_iteration_comes_nearer():
    magnitude = stft(tones(), 512, 128).abs()
    distances = [
        convergence(
            griffin_lim(
                magnitude,
                512,
                128,
                n_samples=8000,
                n_iter=n_iter,
                generator=torch.Generator().manual_seed(0),
            ),
            magnitude,
            512,
            128,
        )
        for n_iter in (0, 1, 2, 4, 8)
    ]
    assert all(later < earlier for earlier, later in pairwise(distances))


def test_a_consistent_spectrogram_stays():
    waveform = tones()
    spectra = stft(waveform, 512, 128)
    estimate = griffin_lim(
        spectra.abs(), 512, 128, n_samples=8000, n_iter=5, momentum=0.5, phase=spectra
    )
    torch.testing.assert_close(estimate, waveform, rtol=0, atol=1e-4)


@pytest.mark.parametrize("center", [True, False])
def test_without_iterations_it_is_the_inverse(center):
    spectra = stft(noise(2, 5001), 256, 100, center=center)
    magnitude = spectra.abs() * noise(*spectra.shape).sigmoid()
    settings = {"n_fft": 256, "hop_length": 100, "n_samples": 5001, "center": center}
    # Only the angles of the phases matter.
    estimate = griffin_lim(magnitude, n_iter=0, phase=3.0 * spectra, **settings)
    expected = istft(torch.polar(magnitude, spectra.angle()), **settings)
    torch.testing.assert_close(estimate, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("shape", [(), (5,), (2, 3)])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_blocks_batches_and_threads_change_nothing(monkeypatch, shape, threads, momentum):
    spectra = stft(noise(*shape, 2001), 256, 60)
    settings = {
        "n_fft": 256,
        "hop_length": 60,
        "n_samples": 2001,
        "n_iter": 3,
        "momentum": momentum,
        "phase": spectra,
    }
    magnitude = noise(*spectra.shape, seed=1).abs()
    whole = griffin_lim(magnitude, **settings)
    assert whole.shape == (*shape, 2001)
    n_threads = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for block_frames in (1, 5, 16, 10_000):
            monkeypatch.setattr(spectral, "frames_per_block", lambda *_, n=block_frames: n)
            blocks = griffin_lim(magnitude, **settings)
            torch.testing.assert_close(blocks, whole, rtol=0, atol=1e-4)
    finally:
        torch.set_num_threads(n_threads)


def test_the_generator_decides():
    magnitude = noise(2, 40, 129).abs()

    def estimate(seed):
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        return griffin_lim(magnitude, 256, 100, n_samples=3950, n_iter=2, generator=generator)

    assert torch.equal(estimate(1), estimate(1))
    assert not torch.allclose(estimate(1), estimate(2), atol=1e-2)
    torch.manual_seed(5)
    first = estimate(None)
    torch.manual_seed(5)
    assert torch.equal(estimate(None), first)


def test_zeros_are_safe():
    settings = {"n_fft": 256, "hop_length": 64, "n_samples": 2000, "n_iter": 3}
    silence = torch.zeros(32, 129)
    for phase in (None, torch.zeros(32, 129, dtype=torch.complex64)):
        for momentum in (0.0, 0.99):
            estimate = griffin_lim(silence, phase=phase, momentum=momentum, **settings)
            assert not estimate.any()
    # Zeros of the phase count as the angle zero.
    magnitude = noise(32, 129).abs()
    zeros = torch.zeros(32, 129, dtype=torch.complex64)
    estimate = griffin_lim(magnitude, phase=zeros, **settings)
    torch.testing.assert_close(estimate, griffin_lim(magnitude, phase=zeros + 1, **settings))


@pytest.mark.parametrize("n_samples", [0, 1, 63, 100, 256])
def test_short_waveforms(n_samples):
    n_frames = spectral.count_frames(n_samples, 256, 64)
    estimate = griffin_lim(torch.ones(n_frames, 129), 256, 64, n_samples=n_samples, n_iter=3)
    assert estimate.shape == (n_samples,)
    assert torch.isfinite(estimate).all()


def test_uncentered_edges_stay_quiet():
    spectra = stft(noise(6000), 1024, 128, center=False)
    estimate = griffin_lim(
        spectra.abs(), 1024, 128, n_samples=6000, n_iter=20, momentum=0.9, center=False
    )
    # Windows nearly hide the first and last samples. Iterations must not diverge there.
    assert estimate.abs().max() < 100


def test_inputs_and_modes_are_left_alone():
    spectra = stft(noise(3000), 256, 64).requires_grad_()
    magnitude, phase = spectra.abs(), spectra.detach().clone()
    before = magnitude.detach().clone(), phase.clone()
    settings = {"n_fft": 256, "hop_length": 64, "n_samples": 3000, "n_iter": 2, "phase": phase}
    estimate = griffin_lim(magnitude, **settings)
    assert not estimate.requires_grad
    torch.testing.assert_close((magnitude.detach(), phase), before, rtol=0, atol=0)
    with torch.inference_mode():
        torch.testing.assert_close(griffin_lim(magnitude, **settings), estimate)
    double = griffin_lim(
        magnitude.detach().double(), **{**settings, "phase": phase.to(torch.complex128)}
    )
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), estimate, rtol=0, atol=1e-3)


def test_errors():
    magnitude = torch.ones(32, 129)
    settings = {"n_fft": 256, "hop_length": 64, "n_samples": 2000, "n_iter": 1}
    with pytest.raises(TypeError, match=r"\.abs\(\)"):
        griffin_lim(magnitude + 0j, **settings)
    with pytest.raises(TypeError, match=r"torch\.polar"):
        griffin_lim(magnitude, phase=magnitude, **settings)
    with pytest.raises(ValueError, match="2100 samples"):
        griffin_lim(magnitude, **{**settings, "n_samples": 2100})
    with pytest.raises(ValueError, match="momentum=-1"):
        griffin_lim(magnitude, momentum=-1, **settings)
    with pytest.raises(ValueError, match="n_iter=-1"):
        griffin_lim(magnitude, **{**settings, "n_iter": -1})
