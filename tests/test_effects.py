"""Tests of sksep.nn.effects: tempo, pitch, resampling and noise of batches of waveforms."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor

import sksep.nn.effects as effects_module
from sksep.nn.effects import add_noise, pitch_shift, resample, time_stretch

SAMPLE_RATE = 16000
EFFECTS: dict[str, Callable[[Tensor], Tensor]] = {
    "faster": lambda waveforms: time_stretch(waveforms, 1.23),
    "slower": lambda waveforms: time_stretch(waveforms, 0.81),
    "resampled up": lambda waveforms: resample(waveforms, 1.37),
    "resampled down": lambda waveforms: resample(waveforms, 0.61),
    "higher": lambda waveforms: pitch_shift(waveforms, 3.3),
    "lower": lambda waveforms: pitch_shift(waveforms, -4.0),
}
effects = pytest.mark.parametrize("effect", EFFECTS.values(), ids=list(EFFECTS))


def tone(frequency: float, n_samples: int = 2 * SAMPLE_RATE, rate: float = SAMPLE_RATE) -> Tensor:
    angles = 2 * math.pi * frequency / rate * torch.arange(n_samples, dtype=torch.float64)
    return angles.sin().float()


def music(n_samples: int = 3 * SAMPLE_RATE) -> Tensor:
    """A voice-like sum of harmonics with vibrato, notes and breath, over a chord."""
    times = torch.arange(n_samples) / SAMPLE_RATE
    notes = torch.tensor([220.0, 261.6, 329.6, 293.7])[(times / 0.4).long() % 4]
    pitch = notes * (1 + 0.02 * torch.sin(2 * math.pi * 5.5 * times))
    angles = 2 * math.pi * torch.cumsum(pitch, 0) / SAMPLE_RATE
    voice = sum((torch.sin(angles * k) / k for k in range(1, 16)), torch.zeros(n_samples))
    envelope = (torch.sin(math.pi * times / 0.4) ** 2).sqrt()
    breath = torch.randn(n_samples, generator=torch.Generator().manual_seed(0))
    chord = sum((tone(f, n_samples) for f in (110.0, 164.8, 277.2)), torch.zeros(n_samples))
    return 0.1 * voice * envelope + 0.01 * breath + 0.05 * chord


def level(waveforms: Tensor | np.ndarray) -> float:
    return 10 * math.log10(float((waveforms**2).mean()))


def peak_frequency(waveform: Tensor) -> float:
    """Frequency in Hz of the highest peak, by a parabola through its log spectrum."""
    n_samples = waveform.shape[-1]
    window = torch.hann_window(n_samples, dtype=torch.float64)
    spectrum = torch.fft.rfft(waveform.double() * window).abs().log()
    peak = int(spectrum.argmax())
    before, at, after = spectrum[peak - 1 : peak + 2].tolist()
    return (peak + 0.5 * (before - after) / (before - 2 * at + after)) * SAMPLE_RATE / n_samples


def cents(frequency: float, reference: float) -> float:
    return 1200 * math.log2(frequency / reference)


def spectrogram_correlation(first: np.ndarray, second: np.ndarray) -> float:
    n_samples = min(first.shape[-1], second.shape[-1])
    levels = [
        librosa.power_to_db(
            librosa.feature.melspectrogram(y=y[..., :n_samples], sr=SAMPLE_RATE, n_mels=64),
            top_db=60,
        )
        for y in (first, second)
    ]
    return float(np.corrcoef(levels[0].ravel(), levels[1].ravel())[0, 1])


@pytest.mark.parametrize("semitones", [-12.0, -5.0, -0.5, 0.3, 2.0, 7.0, 12.0])
@pytest.mark.parametrize("frequency", [220.0, 1003.7])
def test_pitch_shift_of_a_tone(frequency: float, semitones: float) -> None:
    waveform = tone(frequency)
    shifted = pitch_shift(waveform, semitones)
    assert shifted.shape == waveform.shape
    expected = frequency * 2 ** (semitones / 12)
    assert abs(cents(peak_frequency(shifted), expected)) < 2
    assert abs(level(shifted) - level(waveform)) < 0.3


@pytest.mark.parametrize("rate", [0.5, 0.77, 0.98, 1.1, 1.61, 2.0])
def test_time_stretch_of_a_tone(rate: float) -> None:
    waveform = tone(523.25)
    stretched = time_stretch(waveform, rate)
    assert stretched.shape == (round(waveform.shape[-1] / rate),)
    assert abs(cents(peak_frequency(stretched), 523.25)) < 2
    assert abs(level(stretched) - level(waveform)) < 0.3


def test_time_stretch_moves_events_in_time() -> None:
    waveform = music() * (torch.arange(3 * SAMPLE_RATE) >= 1.5 * SAMPLE_RATE)
    stretched = time_stretch(waveform, 1.25)
    onset = int((stretched.abs() > 0.1).nonzero()[0]) / SAMPLE_RATE
    assert abs(onset - 1.5 / 1.25) < 0.04
    assert stretched[:SAMPLE_RATE].abs().max() < 1e-3


@pytest.mark.parametrize("rate", [0.7, 0.95, 1.05, 1.4])
def test_time_stretch_like_librosa(rate: float) -> None:
    waveform = music()
    stretched = time_stretch(waveform, rate).numpy()
    reference = librosa.effects.time_stretch(waveform.numpy(), rate=rate, n_fft=1024)
    assert stretched.shape == reference.shape
    assert spectrogram_correlation(stretched, reference) > 0.97
    assert abs(level(stretched) - level(waveform)) < 1


@pytest.mark.parametrize("semitones", [-6.0, -1.0, 1.5, 5.0])
def test_pitch_shift_like_librosa(semitones: float) -> None:
    waveform = music()
    shifted = pitch_shift(waveform, semitones).numpy()
    reference = librosa.effects.pitch_shift(
        waveform.numpy(), sr=SAMPLE_RATE, n_steps=semitones, n_fft=1024
    )
    assert shifted.shape == reference.shape
    assert spectrogram_correlation(shifted, reference) > 0.97
    assert abs(level(shifted) - level(waveform)) < 1


def test_effects_on_recordings(data_home: Path) -> None:
    paths = sorted((data_home / "mir1k").rglob("*.flac"))[::60]
    assert paths
    for path in paths:
        samples, _ = soundfile.read(path, frames=4 * SAMPLE_RATE, dtype="float32")
        waveforms = torch.from_numpy(samples.T.copy())
        faster, higher = time_stretch(waveforms, 1.15), pitch_shift(waveforms, 2.0)
        for waveform, fast, high in zip(waveforms, faster, higher, strict=True):
            assert abs(level(fast) - level(waveform)) < 1
            assert abs(level(high) - level(waveform)) < 1
            reference = librosa.effects.time_stretch(waveform.numpy(), rate=1.15, n_fft=1024)
            assert spectrogram_correlation(fast.numpy(), reference) > 0.95
            reference = librosa.effects.pitch_shift(
                waveform.numpy(), sr=SAMPLE_RATE, n_steps=2.0, n_fft=1024
            )
            assert spectrogram_correlation(high.numpy(), reference) > 0.95


def test_stretching_keeps_the_level_to_the_ends() -> None:
    for hop_length in (128, 256, 512):
        for rate in (0.63, 0.9, 1.7):
            stretched = time_stretch(music(), rate, hop_length=hop_length)
            assert stretched.abs().max() < 2 * music().abs().max()
    stretched = time_stretch(tone(440.0, SAMPLE_RATE), 0.8)
    for end in (stretched[:400], stretched[-400:]):  # half of their windows is silence
        assert abs(level(end) - level(stretched)) < 3


@pytest.mark.parametrize("ratio", [0.31, 0.5, 0.9439, 0.999, 1.0003, math.pi / 2, 2.0, 3.3])
@pytest.mark.parametrize("relative_frequency", [0.01, 0.3, 0.6, 0.85])
def test_resample_of_a_tone(ratio: float, relative_frequency: float) -> None:
    frequency = relative_frequency * min(1, ratio) * SAMPLE_RATE / 2
    resampled = resample(tone(frequency), ratio)
    expected = tone(frequency, round(2 * SAMPLE_RATE * ratio), SAMPLE_RATE * ratio)
    inner = slice(300, -300)  # beyond the ends there is silence
    error = level((resampled - expected)[inner]) - level(expected[inner])
    assert resampled.shape == expected.shape
    assert error < -65


@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.77])
def test_resample_keeps_aliases_out(ratio: float) -> None:
    for above in (1.05, 1.15, 1.28):
        alias = resample(tone(above * ratio * SAMPLE_RATE / 2), ratio)
        assert level(alias[300:-300]) < -60


def test_resample_is_the_same_across_slabs(monkeypatch: pytest.MonkeyPatch) -> None:
    waveforms = torch.stack([music(5000), tone(300.0, 5000)])
    whole = resample(waveforms, 1.37)
    monkeypatch.setattr("sksep.nn.effects._SLAB", 1024)
    torch.testing.assert_close(resample(waveforms, 1.37), whole, rtol=0, atol=1e-6)


@pytest.mark.parametrize("ratio", [1 / 0.7, 1 / 1.037, 0.5, 3.0, 1025 / 1024])
@pytest.mark.parametrize("slab", [1024, 2**16])
def test_resample_is_the_same_where_weights_repeat(
    monkeypatch: pytest.MonkeyPatch, ratio: float, slab: int
) -> None:
    waveforms = torch.randn(2, 30000, generator=torch.Generator().manual_seed(0))
    monkeypatch.setattr("sksep.nn.effects._SLAB", slab)
    resampled = resample(waveforms, ratio)
    assert effects_module._blocks_per_period(ratio) < math.inf
    monkeypatch.setattr("sksep.nn.effects._blocks_per_period", lambda ratio: math.inf)
    torch.testing.assert_close(resampled, resample(waveforms, ratio), rtol=0, atol=1e-5)


def test_resample_is_float32_under_autocast() -> None:
    waveform = music(4000)
    expected = resample(waveform, 0.8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(resample(waveform, 0.8), expected)


def test_long_waveforms_keep_their_pitch() -> None:
    stretched = time_stretch(tone(2000.0, 120 * SAMPLE_RATE), 0.91, hop_length=512)
    assert abs(cents(peak_frequency(stretched[-2 * SAMPLE_RATE :]), 2000.0)) < 0.5
    assert abs(level(stretched[-2 * SAMPLE_RATE :]) - level(tone(2000.0))) < 0.3


@effects
def test_batch_equals_items(effect: Callable[[Tensor], Tensor]) -> None:
    waveforms = torch.stack([music(8000), tone(440.0, 8000), torch.zeros(8000)])
    together = effect(waveforms)
    alone = torch.stack([effect(waveform) for waveform in waveforms])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)
    nested = effect(waveforms.reshape(3, 1, 8000).expand(3, 2, 8000))
    torch.testing.assert_close(nested[:, 1], together, rtol=0, atol=1e-5)


@effects
def test_effects_are_deterministic_and_leave_the_input(effect: Callable[[Tensor], Tensor]) -> None:
    waveforms = music(8000).requires_grad_()
    before = waveforms.detach().clone()
    first, second = effect(waveforms), effect(waveforms)
    assert torch.equal(first, second)
    assert torch.equal(waveforms, before)
    assert not first.requires_grad
    assert first.dtype == torch.float32
    assert effect(before.double()).dtype == torch.float64


@effects
@pytest.mark.parametrize("n_samples", [1, 2, 3, 17, 255, 1023])
def test_short_and_silent_inputs(effect: Callable[[Tensor], Tensor], n_samples: int) -> None:
    assert not effect(torch.zeros(n_samples)).any()
    for amplitude in (1.0, 1e-30, 1e-42):
        changed = effect(torch.full((2, n_samples), amplitude))
        assert changed.isfinite().all()
        assert changed.abs().max() < 4 * amplitude + 1e-37


def test_lengths() -> None:
    waveforms = torch.ones(2, 10)
    for factor in (0.01, 0.04, 0.1, 0.33, 1.0, 3.7, 25.0):
        assert time_stretch(waveforms, 1 / factor).shape == (2, round(10 / (1 / factor)))
        assert resample(waveforms, factor).shape == (2, round(10 * factor))
    for semitones in (-60.0, -24.0, 0.0, 24.0, 60.0):
        assert pitch_shift(waveforms, semitones).shape == (2, 10)
        assert pitch_shift(torch.ones(1), semitones).shape == (1,)
        assert pitch_shift(torch.ones(0, 10), semitones).shape == (0, 10)


def test_nan_stays_in_its_waveform() -> None:
    waveforms = torch.stack([torch.full((4000,), math.nan), music(4000)])
    stretched = time_stretch(waveforms, 1.1)
    assert stretched[0].isnan().all()
    torch.testing.assert_close(stretched[1], time_stretch(waveforms[1], 1.1))


def test_no_change_is_a_copy() -> None:
    waveforms = music(1000)
    for copy in (
        time_stretch(waveforms, 1.0),
        resample(waveforms, 1.0),
        pitch_shift(waveforms, 0.0),
    ):
        assert torch.equal(copy, waveforms)
        assert copy.data_ptr() != waveforms.data_ptr()


def test_add_noise_at_the_given_ratio() -> None:
    waveforms = torch.stack([music(), 0.01 * music(), tone(100.0, 3 * SAMPLE_RATE)])
    snr_db = torch.tensor([-5.0, 20.0, 40.0])
    noisy = add_noise(waveforms, snr_db, generator=torch.Generator().manual_seed(1))
    noise = noisy - waveforms
    measured = 10 * torch.log10(waveforms.square().mean(-1) / noise.square().mean(-1))
    torch.testing.assert_close(measured, snr_db, rtol=0, atol=0.02)
    spectrum = torch.fft.rfft(noise[0]).abs().square()
    low, high = spectrum[:12000].mean(), spectrum[12000:].mean()
    assert abs(10 * torch.log10(low / high)) < 0.5
    assert abs(torch.corrcoef(noise)[0, 1]) < 0.05


def test_add_noise_repeats_with_the_generator() -> None:
    waveforms, snr_db = torch.stack([music(4000)] * 2), torch.full((2,), 10.0)
    generator = torch.Generator().manual_seed(3)
    state = generator.get_state()
    first = add_noise(waveforms, snr_db, generator=generator)
    other = add_noise(waveforms, snr_db, generator=generator)
    generator.set_state(state)
    assert torch.equal(first, add_noise(waveforms, snr_db, generator=generator))
    assert not torch.equal(first, other)
    assert not torch.equal(first[0], first[1])


def test_add_noise_leaves_silence_alone() -> None:
    waveforms = torch.stack([torch.zeros(100), torch.ones(100), torch.ones(100)])
    generator = torch.Generator().manual_seed(0)
    noisy = add_noise(waveforms, torch.tensor([0.0, 0.0, math.inf]), generator=generator)
    assert torch.equal(noisy[[0, 2]], waveforms[[0, 2]])
    assert not torch.equal(noisy[1], waveforms[1])


def test_add_noise_takes_channels_as_one_item() -> None:
    waveforms = torch.stack([torch.stack([music(), torch.zeros(3 * SAMPLE_RATE)])])
    generator = torch.Generator().manual_seed(0)
    noise = add_noise(waveforms, torch.tensor([10.0]), generator=generator) - waveforms
    assert abs(level(waveforms) - level(noise) - 10) < 0.02
    assert abs(level(noise[0, 0]) - level(noise[0, 1])) < 0.5


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_bad_factors(value: float) -> None:
    with pytest.raises(ValueError, match="rate must be a finite number above 0"):
        time_stretch(torch.ones(10), value)
    with pytest.raises(ValueError, match="ratio must be a finite number above 0"):
        resample(torch.ones(10), value)


@pytest.mark.parametrize("value", [math.nan, math.inf, -61.0])
def test_bad_semitones(value: float) -> None:
    with pytest.raises(ValueError, match="semitones must be between"):
        pitch_shift(torch.ones(10), value)


@pytest.mark.parametrize(("n_fft", "hop_length"), [(1, 1), (0, 0), (1024, 0), (1024, 513)])
def test_bad_frames(n_fft: int, hop_length: int) -> None:
    with pytest.raises(ValueError, match="n_fft must be at least 2 and hop_length"):
        time_stretch(torch.ones(10), 2.0, n_fft=n_fft, hop_length=hop_length)
    with pytest.raises(ValueError, match="n_fft must be at least 2 and hop_length"):
        pitch_shift(torch.ones(10), 2.0, n_fft=n_fft, hop_length=hop_length)


@effects
def test_bad_waveforms(effect: Callable[[Tensor], Tensor]) -> None:
    for empty in (torch.zeros(0), torch.zeros(2, 0), torch.tensor(1.0)):
        with pytest.raises(ValueError, match="at least one sample"):
            effect(empty)
    for dtype in (torch.int16, torch.float16, torch.complex64):
        with pytest.raises(TypeError, match="must be float32 or float64"):
            effect(torch.ones(10, dtype=dtype))


def test_bad_noise() -> None:
    generator = torch.Generator()
    for shape, snr_shape in (((10,), (10,)), ((10,), ()), ((2, 10), ()), ((2, 10), (3,))):
        with pytest.raises(ValueError, match="one value per waveform"):
            add_noise(torch.ones(shape), torch.zeros(snr_shape), generator=generator)
    for value in (math.nan, -math.inf):
        with pytest.raises(ValueError, match="NaN or minus infinity"):
            add_noise(torch.ones(1, 10), torch.tensor([value]), generator=generator)
    with pytest.raises(ValueError, match="at least one sample"):
        add_noise(torch.ones(1, 0), torch.zeros(1), generator=generator)
    with pytest.raises(TypeError, match="must be float32 or float64"):
        add_noise(torch.ones(1, 10, dtype=torch.int16), torch.zeros(1), generator=generator)


@pytest.mark.cuda
@effects
def test_effects_on_cuda(effect: Callable[[Tensor], Tensor]) -> None:
    waveforms = torch.stack([music(8000), tone(440.0, 8000), torch.zeros(8000)])
    changed = effect(waveforms.cuda())
    assert changed.device.type == "cuda"
    expected = effect(waveforms)
    assert level(changed.cpu() - expected) < level(expected) - 30
