"""Tests of sksep.nn.effects.shift_formants: what moves in a voice, and what stays."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

from sksep.nn.effects import resample, shift_formants

SAMPLE_RATE = 16000
FORMANTS = (700.0, 1300.0, 2600.0)


def vowel(
    pitch: float = 150.0,
    factor: float = 1.0,
    n_samples: int = SAMPLE_RATE,
    sample_rate: int = SAMPLE_RATE,
    formants: tuple[float, ...] = FORMANTS,
) -> Tensor:
    """Harmonics under an envelope of three formants, which move by the factor."""
    harmonics = pitch * torch.arange(1, int(0.47 * sample_rate / pitch), dtype=torch.float64)
    peaks = torch.tensor(formants, dtype=torch.float64)[:, None] * factor
    envelope = (1e-3 + (1 / (1 + ((harmonics - peaks) / (0.1 * peaks)).square())).sum(0)).sqrt()
    times = torch.arange(n_samples, dtype=torch.float64) / sample_rate
    phases = torch.linspace(0, 40, len(harmonics), dtype=torch.float64).square()
    waves = torch.sin(2 * math.pi * harmonics[:, None] * times + phases[:, None])
    waveform = (envelope[:, None] * waves).sum(0)
    return (0.1 * waveform / waveform.square().mean().sqrt()).float()


def level(waveform: Tensor) -> float:
    return 10 * math.log10(float(waveform.double().square().mean()))


def amplitudes(waveform: Tensor, pitch: float, sample_rate: int = SAMPLE_RATE) -> np.ndarray:
    """Amplitudes in dB of the harmonics below 6 kHz, without the ends of the waveform."""
    inner = waveform[sample_rate // 8 : -sample_rate // 8].double().numpy()
    times = np.arange(len(inner)) / sample_rate
    frequencies = pitch * np.arange(1, int(6000 / pitch))
    window = np.hanning(len(inner))
    waves = np.exp(-2j * np.pi * frequencies[:, None] * times)
    return 20 * np.log10(np.abs(waves @ (window * inner)) / window.sum())


def centroid(waveform: Tensor) -> float:
    """Mean frequency of the magnitudes in Hz."""
    magnitudes = torch.fft.rfft(waveform.double()).abs()
    bins = torch.fft.rfftfreq(waveform.shape[-1], 1 / SAMPLE_RATE, dtype=torch.float64)
    return float((bins * magnitudes).sum() / magnitudes.sum())


def shifted(waveform: Tensor, factor: float, sample_rate: int = SAMPLE_RATE) -> Tensor:
    return shift_formants(waveform[None], torch.tensor([factor]), sample_rate=sample_rate)[0]


def with_numpy(waveform: np.ndarray, factor: float, sample_rate: int) -> np.ndarray:
    """The same frame by frame, as it is described."""
    n_fft = 4 * round(0.064 * sample_rate / 4)
    hop, n_samples = n_fft // 4, len(waveform)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    padded = np.pad(waveform, (n_fft // 2, n_fft + hop))
    output, weights = np.zeros(len(padded)), np.zeros(len(padded))
    bins = np.arange(n_fft // 2 + 1)
    for start in range(0, n_samples + hop, hop):
        frame = slice(start, start + n_fft)
        spectrum = np.fft.rfft(window * padded[frame])
        power = np.abs(spectrum) ** 2
        for _ in range(2):
            power = np.array([power[max(0, k - 9) : k + 10].mean() for k in bins])
        envelope = np.log(power + 1e-8) / 2
        moved = np.interp(bins / factor, bins, envelope)
        gain = np.exp(np.clip(moved - envelope, -3.0, 3.0))
        output[frame] += window * np.fft.irfft(spectrum * gain)
        weights[frame] += window**2
    part = slice(n_fft // 2, n_fft // 2 + n_samples)
    output = output[part] / weights[part]
    return output * np.sqrt((waveform**2).mean() / (output**2).mean())


@pytest.mark.parametrize("factor", [0.3, 0.8, 1.0, 1.17, 2.5])
@pytest.mark.parametrize(("n_samples", "sample_rate"), [(5000, 16000), (4099, 16000), (3000, 8000)])
def test_like_numpy(factor: float, n_samples: int, sample_rate: int) -> None:
    waveform = vowel(n_samples=n_samples, sample_rate=sample_rate).double()
    waveform += 0.01 * torch.randn(n_samples, generator=torch.Generator().manual_seed(0))
    expected = with_numpy(waveform.numpy(), factor, sample_rate)
    found = shifted(waveform, factor, sample_rate).numpy()
    # The factor is in float32.
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    single = shifted(waveform.float(), factor, sample_rate).numpy()
    np.testing.assert_allclose(single, expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("pitch", [110.0, 150.0, 220.0, 330.0])
@pytest.mark.parametrize("factor", [0.8, 0.9, 1.1, 1.25])
def test_formants_move_by_the_factor(pitch: float, factor: float) -> None:
    waveform = vowel(pitch)
    moved = shifted(waveform, factor)
    expected = amplitudes(vowel(pitch, factor), pitch)
    loud = expected > expected.max() - 30
    before = np.abs(amplitudes(waveform, pitch) - expected)[loud].mean()
    after = np.abs(amplitudes(moved, pitch) - expected)[loud].mean()
    assert after < 0.35 * before
    assert (centroid(moved) > centroid(waveform)) == (factor > 1)


@pytest.mark.parametrize("pitch", [100.0, 220.0])
@pytest.mark.parametrize("factor", [0.7, 0.85, 1.2, 1.5])
def test_a_formant_moves_by_the_factor(pitch: float, factor: float) -> None:
    def center(waveform: Tensor) -> float:
        powers = 10 ** (amplitudes(waveform, pitch) / 10)
        return float(np.average(pitch * np.arange(1, 1 + len(powers)), weights=powers))

    moved = shifted(vowel(pitch, formants=(1500.0,)), factor)
    expected = vowel(pitch, factor, formants=(1500.0,))
    assert center(moved) == pytest.approx(center(expected), rel=0.04)


@pytest.mark.parametrize("pitch", [110.0, 220.0, 440.0])
@pytest.mark.parametrize("factor", [0.6, 0.85, 1.2, 1.7])
def test_the_pitch_stays(pitch: float, factor: float) -> None:
    moved = shifted(vowel(pitch), factor)
    spectrum = torch.fft.rfft(moved.double() * torch.hann_window(SAMPLE_RATE)).abs().square()
    # Bins are 1 Hz wide, and nearly all of the energy is at the harmonics.
    frequencies = torch.arange(len(spectrum))
    distance = (frequencies + pitch / 2) % pitch - pitch / 2
    assert float(spectrum[distance.abs() <= 4].sum() / spectrum.sum()) > 0.99
    peak = frequencies[spectrum.argmax()] % pitch
    assert min(float(peak), pitch - float(peak)) <= 1


@pytest.mark.parametrize("factor", [0.25, 0.5, 0.9, 1.1, 2.0, 4.0])
def test_the_level_stays(factor: float) -> None:
    noise = 0.01 * torch.randn(SAMPLE_RATE, generator=torch.Generator().manual_seed(0))
    for waveform in (vowel(), 0.001 * vowel(), noise, vowel(n_samples=700)):
        moved = shifted(waveform, factor)
        assert moved.shape == waveform.shape
        assert abs(level(moved) - level(waveform)) < 0.1


@pytest.mark.parametrize("n_samples", [1, 2, 255, 1024, 4099])
def test_a_factor_of_one_changes_nothing(n_samples: int) -> None:
    waveform = vowel(n_samples=n_samples)
    torch.testing.assert_close(shifted(waveform, 1.0), waveform, rtol=0, atol=1e-5)
    other = shifted(waveform.double(), 1.0)
    torch.testing.assert_close(other, waveform.double(), rtol=0, atol=1e-12)


def test_a_voice_played_faster_gets_its_formants_back() -> None:
    faster = resample(vowel(150.0, n_samples=2 * SAMPLE_RATE), 1 / 1.25)
    expected = amplitudes(vowel(187.5), 187.5)
    before = np.abs(amplitudes(faster, 187.5) - expected).mean()
    assert np.abs(amplitudes(shifted(faster, 1 / 1.25), 187.5) - expected).mean() < 0.6 * before


def test_batch_equals_items() -> None:
    waveforms = torch.stack([vowel(110.0), vowel(220.0), torch.zeros(SAMPLE_RATE), vowel()])
    factors = torch.tensor([0.8, 1.3, 1.1, 1.0])
    together = shift_formants(waveforms, factors)
    for row, (waveform, factor) in enumerate(zip(waveforms, factors, strict=True)):
        torch.testing.assert_close(together[row], shifted(waveform, factor), rtol=0, atol=1e-6)


@pytest.mark.parametrize("factor", [0.25, 1.0, 4.0])
def test_silence_stays_silence(factor: float) -> None:
    for n_samples in (1, 100, 5000):
        assert not shifted(torch.zeros(n_samples), factor).any()
    half = vowel()
    half[: SAMPLE_RATE // 2] = 0.0
    moved = shifted(half, factor)
    assert moved.isfinite().all()
    assert not moved[: SAMPLE_RATE // 2 - 1024].any()
    for amplitude in (1e-30, 1e-42):
        assert shifted(torch.full((4000,), amplitude), factor).abs().max() < 1e-29


def test_the_input_stays_and_has_no_gradient() -> None:
    waveforms = vowel()[None].requires_grad_()
    before = waveforms.detach().clone()
    moved = shift_formants(waveforms, torch.tensor([1.2]))
    assert torch.equal(waveforms, before) and not moved.requires_grad
    assert moved.dtype == torch.float32
    assert shift_formants(before.double(), torch.tensor([1.2])).dtype == torch.float64
    whole = shift_formants(before, torch.tensor([2]))
    assert torch.equal(whole, shift_formants(before, torch.tensor([2.0], dtype=torch.float64)))
    assert torch.equal(shift_formants(before, torch.tensor([1.2])), moved)
    assert shift_formants(torch.zeros(0, 10), torch.zeros(0)).shape == (0, 10)


def test_other_sample_rates_have_the_same_windows_in_seconds() -> None:
    rate = 44100
    waveform = vowel(sample_rate=rate, n_samples=rate)
    expected = amplitudes(vowel(factor=1.2, sample_rate=rate, n_samples=rate), 150.0, rate)
    before = np.abs(amplitudes(waveform, 150.0, rate) - expected).mean()
    moved = shifted(waveform, 1.2, rate)
    assert np.abs(amplitudes(moved, 150.0, rate) - expected).mean() < 0.5 * before


def test_recordings_keep_their_level(data_home: Path) -> None:
    paths = sorted((data_home / "mir1k").rglob("*.flac"))[::100]
    assert paths
    for path in paths:
        samples, _ = soundfile.read(path, frames=4 * SAMPLE_RATE, dtype="float32")
        waveforms = torch.from_numpy(samples.T.copy())
        for factor in (0.87, 1.15):
            moved = shift_formants(waveforms, torch.full((len(waveforms),), factor))
            for before, after in zip(waveforms, moved, strict=True):
                assert abs(level(after) - level(before)) < 0.1
            # The second channel is the voice.
            assert (centroid(moved[1]) > centroid(waveforms[1])) == (factor > 1)


@pytest.mark.parametrize(
    ("shape", "factors"),
    [((10,), [1.0]), ((2, 10), [1.0]), ((1, 1, 10), [1.0]), ((1, 10), [[1.0]]), ((1, 10), 1.0)],
)
def test_bad_shapes(shape: tuple[int, ...], factors: object) -> None:
    with pytest.raises(ValueError, match=r"waveforms of shape \(batch, n_samples\) and factors"):
        shift_formants(torch.ones(shape), torch.tensor(factors))


@pytest.mark.parametrize("factor", [0.0, -1.0, math.nan, math.inf])
def test_bad_factors(factor: float) -> None:
    with pytest.raises(ValueError, match="factors must be finite numbers above 0"):
        shift_formants(torch.ones(2, 10), torch.tensor([1.0, factor]))


@pytest.mark.parametrize("sample_rate", [0, -16000, math.nan])
def test_bad_sample_rates(sample_rate: int) -> None:
    with pytest.raises(ValueError, match="sample_rate must be a finite number above 0"):
        shift_formants(torch.ones(1, 10), torch.ones(1), sample_rate=sample_rate)


def test_bad_waveforms() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        shift_formants(torch.zeros(1, 0), torch.ones(1))
    for dtype in (torch.int16, torch.float16, torch.complex64):
        with pytest.raises(TypeError, match="must be float32 or float64"):
            shift_formants(torch.ones(1, 10, dtype=dtype), torch.ones(1))


@pytest.mark.cuda
def test_on_cuda() -> None:
    waveforms, factors = torch.stack([vowel(110.0), vowel(220.0)]), torch.tensor([0.8, 1.3])
    expected = shift_formants(waveforms, factors)
    moved = shift_formants(waveforms.cuda(), factors)
    assert moved.device.type == "cuda"
    torch.testing.assert_close(moved.cpu(), expected, rtol=0, atol=1e-4)
