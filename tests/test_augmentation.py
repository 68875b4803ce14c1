"""Augmentation: its parameters, gains, variations and noise."""

import numpy as np
import pytest
import torch
from sklearn.base import clone

from sksep import UNetSeparator
from sksep.nn import effects
from sksep.training import Augmentation

RATE = 16000
N_SAMPLES = 19 * 128 + 512


def tone(frequency, n_samples):
    return torch.sin(2 * torch.pi * frequency * torch.arange(n_samples) / RATE)


def peak_frequency(waveform):
    window = torch.hann_window(len(waveform))
    spectrum = torch.fft.rfft(waveform * window, n=2**17).abs()
    return float(spectrum.argmax()) * RATE / 2**17


def varied_length(augmentation, n_samples=N_SAMPLES):
    stems = torch.randn(2, 2, augmentation.source_length(n_samples))
    return augmentation.vary(stems, n_samples).shape


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"true_pairs": 1.1}, ValueError, "true_pairs"),
        ({"true_pairs": "all"}, TypeError, "true_pairs"),
        ({"vocal_free": -0.1}, ValueError, "vocal_free"),
        ({"vocal_free": np.nan}, ValueError, "vocal_free"),
        ({"gain_range": (3, -3)}, ValueError, "gain_range"),
        ({"gain_range": 3.0}, TypeError, "gain_range"),
        ({"level_range": (0, 1, 2)}, TypeError, "level_range"),
        ({"level_range": "ab"}, TypeError, "level_range"),
        ({"level_range": (-np.inf, 0)}, ValueError, "level_range"),
        ({"speed_range": (0.0, 1.0)}, ValueError, "speed_range"),
        ({"speed_range": (1.0, 4.1)}, ValueError, "speed_range"),
        ({"time_stretch_range": (1.2, 0.8)}, ValueError, "time_stretch_range"),
        ({"time_stretch_range": (0.2, 1.0)}, ValueError, "time_stretch_range"),
        ({"pitch_shift_range": (0, np.inf)}, ValueError, "pitch_shift_range"),
        ({"pitch_shift_range": (-61, 0)}, ValueError, "pitch_shift_range"),
        ({"pitch_shift_range": (0, 61)}, ValueError, "pitch_shift_range"),
        ({"vocals_speed_range": (0.2, 1.0)}, ValueError, "vocals_speed_range"),
        ({"vocals_speed_range": (1.2, 0.8)}, ValueError, "vocals_speed_range"),
        ({"vocals_speed_range": None}, TypeError, "vocals_speed_range"),
        ({"formant_range": (0.8, 4.1)}, ValueError, "formant_range"),
        ({"formant_range": (np.nan, 1.0)}, ValueError, "formant_range"),
        ({"formant_range": 1.2}, TypeError, "formant_range"),
        ({"noise_snr": "loud"}, TypeError, "noise_snr"),
        ({"noise_snr": np.inf}, ValueError, "noise_snr"),
    ],
)
def test_validation_names_the_parameter(parameters, error, message):
    augmentation = Augmentation(**parameters)  # the constructor checks nothing
    with pytest.raises(error, match=message):
        augmentation.validate()


def test_valid_parameters_pass():
    Augmentation().validate()
    Augmentation(
        true_pairs=1,
        vocal_free=0,
        gain_range=[-3, -3],
        speed_range=(0.25, 4),
        time_stretch_range=(0.25, 4.0),
        pitch_shift_range=(-60, 60),
        vocals_speed_range=(0.25, 4),
        formant_range=[0.25, 4],
        noise_snr=np.float32(-5),
    ).validate()


def test_parameters_are_reached_through_the_separator():
    separator = UNetSeparator(augmentation=Augmentation(true_pairs=0.1))
    assert separator.get_params()["augmentation__true_pairs"] == 0.1
    separator.set_params(augmentation__true_pairs=0.7, augmentation__noise_snr=20.0)
    separator.set_params(augmentation__formant_range=(0.9, 1.1))
    assert separator.augmentation.formant_range == (0.9, 1.1)
    assert separator.augmentation.true_pairs == 0.7 and separator.augmentation.noise_snr == 20.0
    copied = clone(separator)
    assert copied.augmentation is not separator.augmentation
    assert copied.augmentation.get_params() == separator.augmentation.get_params()
    copied.set_params(augmentation__true_pairs=0.0)
    assert separator.augmentation.true_pairs == 0.7
    assert "true_pairs=0.7" in repr(separator)
    with pytest.raises(ValueError, match="Invalid parameter"):
        separator.set_params(augmentation__unknown=1)


# Gains.


def test_gains_of_pairs_keep_their_balance():
    augmentation = Augmentation(gain_range=(-8, 4), level_range=(-6, 2))
    remixed = np.arange(4000) % 2 == 0
    gains = augmentation.draw_gains(remixed, np.random.default_rng(0))
    assert gains.shape == (4000, 2) and gains.dtype == np.float32
    vocals, accompaniment = 20 * np.log10(gains).T
    np.testing.assert_allclose(vocals[~remixed], accompaniment[~remixed], atol=1e-4)
    gain = (vocals - accompaniment)[remixed]
    for drawn, low, high in [(gain, -8, 4), (accompaniment, -6, 2)]:
        assert low - 1e-4 <= drawn.min() < low + 0.2 and high - 0.2 < drawn.max() <= high + 1e-4
        assert drawn.mean() == pytest.approx((low + high) / 2, abs=0.4)
    assert abs(np.corrcoef(gain, accompaniment[remixed])[0, 1]) < 0.1


def test_ranges_of_one_value_are_constants():
    augmentation = Augmentation(gain_range=(6.0, 6.0), level_range=(-20.0, -20.0))
    gains = augmentation.draw_gains(np.array([True, False]), np.random.default_rng(0))
    np.testing.assert_allclose(gains, [[0.1 * 10**0.3, 0.1], [0.1, 0.1]], rtol=1e-5)


# Voices.


@pytest.mark.parametrize("unchanged", [(1.0, 1.0), [1, 1]])
def test_without_voices_nothing_is_drawn(unchanged):
    generator = np.random.default_rng(0)
    augmentation = Augmentation(vocals_speed_range=unchanged)
    for drawn in augmentation.draw_voices(np.array([True, False, True]), generator):
        np.testing.assert_array_equal(drawn, 1.0)
    assert generator.random() == np.random.default_rng(0).random()


@pytest.mark.parametrize("limits", [(0.5, 2.0), (0.25, 0.25), (1.00012, 1.00038)])
@pytest.mark.parametrize("name", ["vocals_speed_range", "formant_range"])
def test_voices_lie_in_the_range(name, limits):
    remixed = np.arange(4000) % 4 > 0
    augmentation = Augmentation(**{name: limits})
    drawn = augmentation.draw_voices(remixed, np.random.default_rng(0))
    changed = drawn[["vocals_speed_range", "formant_range"].index(name)]
    assert changed.shape == (4000,)
    for unchanged in (drawn[1] if changed is drawn[0] else drawn[0], changed[~remixed]):
        np.testing.assert_array_equal(unchanged, 1.0)
    logarithms, ends = np.log(changed[remixed]), np.log(limits)
    assert changed[remixed].min() >= limits[0] and changed[remixed].max() <= limits[1]
    assert logarithms.mean() == pytest.approx(ends.mean(), abs=0.03 * np.diff(ends)[0] + 1e-12)
    share = (logarithms < ends[0] + 0.25 * np.diff(ends)[0]).mean()
    assert share == pytest.approx(0.25 if limits[0] < limits[1] else 0.0, abs=0.03)


def test_formants_do_not_depend_on_the_speed():
    remixed = np.ones(4000, bool)
    augmentation = Augmentation(vocals_speed_range=(0.5, 2.0), formant_range=(0.8, 1.25))
    speeds, factors = augmentation.draw_voices(remixed, np.random.default_rng(0))
    assert 0.5 <= speeds.min() < 0.55 and 1.8 < speeds.max() <= 2.0
    formants = speeds * factors  # what the speed does to them, and what is done then
    assert 0.8 - 1e-12 <= formants.min() < 0.82 and 1.22 < formants.max() <= 1.25 + 1e-12
    assert abs(np.corrcoef(np.log(speeds), np.log(formants))[0, 1]) < 0.05
    # At a factor of 1 they stay where they are.
    augmentation.set_params(formant_range=(1.0, 1.0))
    speeds, factors = augmentation.draw_voices(remixed, np.random.default_rng(0))
    np.testing.assert_allclose(speeds * factors, 1.0)
    # Without a range they move with the speed.
    augmentation.set_params(formant_range=None)
    again, factors = augmentation.draw_voices(remixed, np.random.default_rng(0))
    np.testing.assert_array_equal(factors, 1.0)
    np.testing.assert_array_equal(again, speeds)


# Variations.


def test_without_variation_nothing_changes():
    augmentation = Augmentation()
    assert augmentation.source_length(N_SAMPLES) == N_SAMPLES
    stems = torch.randn(3, 2, N_SAMPLES)
    before = torch.get_rng_state()
    assert torch.equal(augmentation.vary(stems, N_SAMPLES), stems)
    assert torch.equal(torch.get_rng_state(), before)


SPEEDS = [(1.0, 1.0), (0.25, 0.25), (0.7, 0.7), (3.9, 3.9), (4.0, 4.0), (0.25, 4.0)]


@pytest.mark.parametrize("speed", SPEEDS)
@pytest.mark.parametrize("tempo", [*SPEEDS, (1 / 0.7, 1 / 0.7)])
@pytest.mark.parametrize("n_samples", [N_SAMPLES, 2001])
def test_any_speed_and_tempo_give_the_length(speed, tempo, n_samples):
    augmentation = Augmentation(speed_range=speed, time_stretch_range=tempo)
    torch.manual_seed(0)
    assert varied_length(augmentation, n_samples) == (2, 2, n_samples)


@pytest.mark.parametrize("semitones", [-24.0, -0.5, 7.0, 24.0])
def test_any_pitch_gives_the_length(semitones):
    limits = (semitones, semitones)
    assert varied_length(Augmentation(pitch_shift_range=limits)) == (2, 2, N_SAMPLES)
    every = Augmentation(
        speed_range=(0.8, 1.25), time_stretch_range=(0.8, 1.25), pitch_shift_range=limits
    )
    assert varied_length(every) == (2, 2, N_SAMPLES)


def test_variations_do_what_they_say():
    n_samples = 8192
    cases = [
        ({"speed_range": (1.25, 1.25)}, 1.25),
        ({"speed_range": (0.8, 0.8)}, 0.8),
        ({"time_stretch_range": (1.25, 1.25)}, 1.0),
        ({"time_stretch_range": (0.8, 0.8)}, 1.0),
        ({"pitch_shift_range": (12.0, 12.0)}, 2.0),
        ({"speed_range": (1.25, 1.25), "pitch_shift_range": (-12.0, -12.0)}, 0.625),
    ]
    for parameters, factor in cases:
        augmentation = Augmentation(**parameters)
        source = tone(440.0, augmentation.source_length(n_samples)).expand(1, 2, -1)
        varied = augmentation.vary(source, n_samples)[0, 0]
        assert peak_frequency(varied) == pytest.approx(440.0 * factor, rel=0.01), parameters
        middle = varied[2048:-2048]
        assert middle.square().mean().item() == pytest.approx(0.5, rel=0.1), parameters


def test_speed_and_tempo_move_onsets():
    n_samples = 8192
    for name in ("speed_range", "time_stretch_range"):
        augmentation = Augmentation(**{name: (1.5, 1.5)})
        source = torch.zeros(1, 2, augmentation.source_length(n_samples))
        source[..., 6000:] = torch.randn(source.shape[-1] - 6000)
        varied = augmentation.vary(source, n_samples)[0, 0].abs()
        assert varied[:3400].max() < 0.2 and varied[4400:].max() > 1.0, name


def test_stems_stay_aligned():
    augmentation = Augmentation(
        speed_range=(0.8, 1.25), time_stretch_range=(1.1, 1.1), pitch_shift_range=(2.0, 2.0)
    )
    source = torch.randn(2, 1, augmentation.source_length(N_SAMPLES))
    torch.manual_seed(0)
    varied = augmentation.vary(torch.cat([source, source], dim=1), N_SAMPLES)
    torch.testing.assert_close(varied[:, 0], varied[:, 1], atol=1e-5, rtol=0.0)
    # Playing speed is linear: the varied mixture is the mixture of the varied stems.
    linear = Augmentation(speed_range=(0.9, 0.9))
    stems = torch.randn(2, 2, linear.source_length(N_SAMPLES))
    mixture = linear.vary(stems.sum(dim=1, keepdim=True), N_SAMPLES)[:, 0]
    torch.testing.assert_close(linear.vary(stems, N_SAMPLES).sum(dim=1), mixture, atol=1e-4, rtol=0)


def test_draws_lie_in_the_range_and_follow_the_seed():
    augmentation = Augmentation(speed_range=(0.8, 1.25))
    n_samples = 8192
    source = tone(440.0, augmentation.source_length(n_samples)).expand(1, 2, -1)

    def draw(seed):
        torch.manual_seed(seed)
        return [peak_frequency(augmentation.vary(source, n_samples)[0, 0]) for _ in range(12)]

    frequencies = draw(0)
    assert 351 < min(frequencies) < 420 and 470 < max(frequencies) < 551
    assert frequencies == draw(0) and frequencies != draw(1)


@pytest.mark.parametrize("limits", [(0.8, 1.25), (0.90037, 0.90037), (1.00012, 1.00038)])
def test_speeds_are_thousandths_within_the_range(monkeypatch, limits):
    ratios = []
    monkeypatch.setattr(
        effects, "resample", lambda stems, ratio: ratios.append(ratio) or stems[..., :64]
    )
    augmentation = Augmentation(speed_range=limits)
    for _ in range(20):
        augmentation.vary(torch.zeros(1, 2, augmentation.source_length(64)), 64)
    speeds = 1.0 / np.array(ratios)
    assert (speeds >= limits[0] - 1e-12).all() and (speeds <= limits[1] + 1e-12).all()
    inside = speeds[(speeds > limits[0] + 1e-9) & (speeds < limits[1] - 1e-9)]
    np.testing.assert_allclose(inside, inside.round(3), atol=1e-12)
    assert len(inside) > 10 if limits[1] - limits[0] > 0.01 else len(inside) == 0


# Noise.


@pytest.mark.parametrize("snr", [-10.0, 0.0, 20.0])
def test_noise_lies_below_the_mixture(snr):
    generator = torch.Generator().manual_seed(0)
    vocals, accompaniment = torch.randn(2, 3, 20000, generator=generator)
    vocals[1], accompaniment[1] = 0.1 * vocals[1], 0.1 * accompaniment[1]
    noisy = Augmentation(noise_snr=snr).add_noise(vocals, accompaniment)
    noise = noisy - accompaniment
    signal = (vocals + accompaniment).square().mean(dim=1)
    measured = 10 * torch.log10(signal / noise.square().mean(dim=1))
    torch.testing.assert_close(measured, torch.full((3,), snr), atol=0.3, rtol=0.0)


def test_no_noise_where_none_is_asked_for_or_nothing_sounds():
    vocals, accompaniment = torch.randn(2, 3, 100)
    assert Augmentation().add_noise(vocals, accompaniment) is accompaniment
    silence = torch.zeros(2, 100)
    assert torch.equal(Augmentation(noise_snr=0.0).add_noise(silence, silence), silence)


@pytest.mark.cuda
def test_variations_on_cuda():
    augmentation = Augmentation(
        speed_range=(0.9, 1.1), time_stretch_range=(0.9, 1.1), pitch_shift_range=(-2, 2)
    )
    stems = torch.randn(2, 2, augmentation.source_length(N_SAMPLES))
    torch.manual_seed(0)
    expected = augmentation.vary(stems, N_SAMPLES)
    torch.manual_seed(0)
    varied = augmentation.vary(stems.cuda(), N_SAMPLES)
    assert varied.device.type == "cuda" and varied.shape == expected.shape
    assert varied.isfinite().all()
