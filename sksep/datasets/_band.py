"""A synthetic band: chords of several timbres, bass and drums."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from sksep.datasets._composition import Composition
from sksep.datasets._synthesis import (
    band_noise,
    decaying_tone,
    place,
    reverberate,
    room_response,
    sawtooth,
    spread,
    unit_rms,
)
from sksep.utils._arrays import FloatArray


@dataclass(frozen=True)
class _Timbre:
    """Amplitudes of the harmonics, and how fast they fade (1/s)."""

    amplitudes: tuple[float, ...]
    decay: float
    brightness_decay: float


_CHORD_TIMBRES = (
    _Timbre(tuple(1.0 / k**1.3 for k in range(1, 17)), 1.5, 0.8),  # piano
    _Timbre(tuple(np.sin(0.45 * k) / k for k in range(1, 21)), 2.0, 1.2),  # guitar
    _Timbre((1.0, 0.12, 0.05, 0.3, 0.02, 0.0, 0.12), 1.2, 0.9),  # electric piano
    _Timbre((1.0, 0.8, 0.55, 0.4, 0.0, 0.3, 0.0, 0.25), 0.0, 0.0),  # organ
    _Timbre(tuple(1.0 / k if k % 2 else 0.05 for k in range(1, 14)), 2.5, 0.4),  # clarinet-like
)
_BASS_TIMBRES = (
    _Timbre((1.0, 0.6, 0.35, 0.2, 0.1, 0.06), 1.5, 1.5),  # finger bass
    _Timbre((1.0, 0.15), 0.8, 0.5),  # round bass
    _Timbre(tuple(1.0 / k for k in range(1, 15)), 1.0, 1.0),  # synthesizer bass
)
# Onsets on the eight half beats of a bar. In an arpeggio each onset plays one note of the chord.
_CHORD_RHYTHMS = ((0,), (0, 4), (0, 3, 6), (2, 6), (0, 2, 4, 6), (0, 1, 3, 4, 6))
_BASS_RHYTHMS = ((0, 4), (0, 3, 4), (0, 1, 2, 3, 4, 5, 6, 7), (0, 3, 6), (0,))
# Onsets on the sixteen quarter beats of a bar.
_KICKS = ((0, 8), (0, 6, 8), (0, 4, 8, 12), (0, 7, 10), (0, 3, 8, 11))
_SNARES = ((4, 12), (4, 12), (8,), (4, 12, 15))
_HATS = (tuple(range(0, 16, 2)), tuple(range(16)), (2, 6, 10, 14), tuple(range(0, 16, 4)))


def play_band(
    composition: Composition,
    n_samples: int,
    sample_rate: int,
    n_channels: int,
    rng: np.random.Generator,
) -> tuple[FloatArray, dict[str, FloatArray]]:
    """Accompaniment of a song, (n_channels, n_samples), and its drums, bass and other stems."""
    song = (composition, n_samples, sample_rate, rng)
    parts = [
        ("other", _play_chords(*song, octave=1), rng.uniform(0.6, 1.1), 5.0),
        ("bass", _play_bass(*song), rng.uniform(0.6, 1.1), 1.0),
    ]
    if rng.random() < 0.9:
        parts.append(("drums", _play_drums(*song), rng.uniform(0.6, 1.2), 2.0))
    if rng.random() < 0.5:
        parts.append(("other", _play_pad(*song), rng.uniform(0.3, 0.7), 5.0))
    if rng.random() < 0.5:
        arpeggio = _play_chords(*song, octave=2, arpeggio=True)
        parts.append(("other", arpeggio, rng.uniform(0.3, 0.7), 6.0))
    mix = np.zeros((n_channels, n_samples), np.float32)
    dry = {stem: np.zeros_like(mix) for stem in ("drums", "bass")}
    for stem, part, level, width in parts:
        sound = np.float32(level) * spread(unit_rms(part), n_channels, width, rng)
        mix += sound
        if stem in dry:
            dry[stem] += sound
    response = room_response(
        n_channels,
        sample_rate,
        rng,
        decay_time=rng.uniform(0.25, 0.9),
        level_in_db=rng.uniform(-16.0, -8.0),
    )
    band = reverberate(mix, response)
    stems = {stem: reverberate(sound, response) for stem, sound in dry.items()}
    # The rest of the band, so that the stems add up to it.
    return band, stems | {"other": band - stems["drums"] - stems["bass"]}


def _hertz(pitch: float) -> float:
    return float(440.0 * 2 ** ((pitch - 69) / 12))


def _bar_onsets(
    composition: Composition, rhythm: tuple[int, ...], per_bar: int, duration: float
) -> list[float]:
    """Times in seconds of a rhythm that repeats in every bar."""
    bar = 4 * composition.beat
    n_bars = int(np.ceil(duration / bar))
    times = [bar * (index + step / per_bar) for index in range(n_bars) for step in rhythm]
    return [time for time in times if time < duration]


def _fade_out(sound: FloatArray, sample_rate: int) -> FloatArray:
    length = min(sound.size, int(0.03 * sample_rate))
    faded = sound.copy()
    faded[sound.size - length :] *= np.linspace(1.0, 0.0, length, dtype=np.float32)
    return faded


def _play_chords(
    composition: Composition,
    n_samples: int,
    sample_rate: int,
    rng: np.random.Generator,
    *,
    octave: int,
    arpeggio: bool | None = None,
) -> FloatArray:
    timbre = _CHORD_TIMBRES[rng.integers(len(_CHORD_TIMBRES))]
    if arpeggio is None:
        arpeggio = bool(rng.random() < 0.35)
    rhythm = tuple(range(8)) if arpeggio else _CHORD_RHYTHMS[rng.integers(len(_CHORD_RHYTHMS))]
    seventh = rng.random() < 0.3
    strum = rng.uniform(0.0, 0.02)
    onsets = _bar_onsets(composition, rhythm, 8, n_samples / sample_rate)
    longest = int(1.5 * sample_rate)
    sounds: dict[int, FloatArray] = {}
    result = np.zeros(n_samples, np.float32)
    for index, onset in enumerate(onsets):
        root = composition.chord_degree(onset)
        degrees = [root, root + 2, root + 4] + ([root + 6] if seventh else [])
        # Close to the neighboring chord: high roots are played an octave lower.
        degrees = [7 * octave + degree - (7 if degree > 6 else 0) for degree in degrees]
        if arpeggio:
            degrees = [degrees[index % len(degrees)]]
        until = onsets[index + 1] if index + 1 < len(onsets) else onset + 1.0
        length = longest if timbre.decay else int(min(1.5, until - onset) * sample_rate)
        for order, degree in enumerate(degrees):
            pitch = composition.pitch(degree)
            if pitch not in sounds:
                sounds[pitch] = decaying_tone(
                    _hertz(pitch + rng.uniform(-0.04, 0.04)),
                    timbre.amplitudes,
                    longest,
                    sample_rate,
                    decay=timbre.decay,
                    brightness_decay=timbre.brightness_decay,
                )
            start = int((onset + order * strum + rng.uniform(0.0, 0.008)) * sample_rate)
            place(
                result, _fade_out(sounds[pitch][:length], sample_rate), start, rng.uniform(0.6, 1)
            )
    return result


def _play_pad(
    composition: Composition, n_samples: int, sample_rate: int, rng: np.random.Generator
) -> FloatArray:
    """Sustained and softened sawtooth chords, which swell with every chord."""
    times = np.arange(n_samples) / sample_rate
    length = composition.beat * composition.beats_per_chord
    chords = (times / length).astype(int)
    roots = np.array(composition.progression)
    result = np.zeros(n_samples, np.float32)
    for step in (0, 2, 4):
        pitches = np.array([composition.pitch(7 + root + step) for root in roots], float)
        pitches = np.where(pitches > composition.tonic + 21, pitches - 12, pitches)
        frequency = _hertz(0.0) * 2 ** (pitches[chords % len(roots)] / 12)
        result += sawtooth(frequency * 2 ** (rng.uniform(-0.08, 0.08) / 12), sample_rate)
    # A moving average is a lowpass filter of next to no cost.
    width = max(1, sample_rate // 2500)
    result = np.convolve(result, np.full(width, 1.0 / width, np.float32))[:n_samples]
    swell = 0.6 + 0.4 * np.sin(np.pi * (times % length) / length)
    edges = np.clip(np.minimum(times % length, length - times % length) / 0.03, 0.0, 1.0)
    return (result * swell * edges).astype(np.float32)


def _play_bass(
    composition: Composition, n_samples: int, sample_rate: int, rng: np.random.Generator
) -> FloatArray:
    timbre = _BASS_TIMBRES[rng.integers(len(_BASS_TIMBRES))]
    rhythm = _BASS_RHYTHMS[rng.integers(len(_BASS_RHYTHMS))]
    onsets = _bar_onsets(composition, rhythm, 8, n_samples / sample_rate)
    longest = int(1.2 * sample_rate)
    sounds: dict[int, FloatArray] = {}
    result = np.zeros(n_samples, np.float32)
    for index, onset in enumerate(onsets):
        degree = composition.chord_degree(onset)
        if onset % (4 * composition.beat) and rng.random() < 0.2:
            degree += 4
        pitch = composition.pitch(degree) - 12
        pitch -= 12 if pitch > 47 else 0
        if pitch not in sounds:
            sounds[pitch] = decaying_tone(
                _hertz(pitch),
                timbre.amplitudes,
                longest,
                sample_rate,
                decay=timbre.decay,
                brightness_decay=timbre.brightness_decay,
            )
        until = onsets[index + 1] if index + 1 < len(onsets) else onset + 1.0
        length = max(1, int(min(1.2, 0.95 * (until - onset)) * sample_rate))
        sound = _fade_out(sounds[pitch][:length], sample_rate)
        place(result, sound, int(onset * sample_rate), rng.uniform(0.7, 1.0))
    return result


def _play_drums(
    composition: Composition, n_samples: int, sample_rate: int, rng: np.random.Generator
) -> FloatArray:
    duration = n_samples / sample_rate
    kits = (
        (_kick(sample_rate, rng), _KICKS[rng.integers(len(_KICKS))], rng.uniform(0.8, 1.2)),
        (_snare(sample_rate, rng), _SNARES[rng.integers(len(_SNARES))], rng.uniform(0.5, 0.9)),
        (_hat(sample_rate, rng), _HATS[rng.integers(len(_HATS))], rng.uniform(0.1, 0.35)),
    )
    result = np.zeros(n_samples, np.float32)
    for sound, rhythm, level in kits:
        for onset in _bar_onsets(composition, rhythm, 16, duration):
            start = int((onset + rng.uniform(0.0, 0.006)) * sample_rate)
            place(result, sound, start, level * rng.uniform(0.6, 1.0))
    return result


def _kick(sample_rate: int, rng: np.random.Generator) -> FloatArray:
    times = np.arange(int(0.28 * sample_rate)) / sample_rate
    frequency = rng.uniform(42, 60) + rng.uniform(80, 160) * np.exp(-times / 0.025)
    body = np.sin(2 * np.pi * np.cumsum(frequency) / sample_rate) * np.exp(-times / 0.07)
    click = rng.standard_normal(times.size) * np.exp(-times / 0.003)
    return (body + 0.15 * click).astype(np.float32)


def _snare(sample_rate: int, rng: np.random.Generator) -> FloatArray:
    times = np.arange(int(0.3 * sample_rate)) / sample_rate
    tone = np.sin(2 * np.pi * rng.uniform(170, 240) * times) * np.exp(-times / 0.04)
    rattle = band_noise(900.0, 7500.0, times.size, sample_rate, rng)
    rattle *= np.exp(-times / rng.uniform(0.04, 0.09))
    return (0.6 * tone + 0.5 * rattle).astype(np.float32)


def _hat(sample_rate: int, rng: np.random.Generator) -> FloatArray:
    times = np.arange(int(0.2 * sample_rate)) / sample_rate
    noise = band_noise(5500.0, 14000.0, times.size, sample_rate, rng)
    return (noise * np.exp(-times / rng.uniform(0.012, 0.05))).astype(np.float32)
