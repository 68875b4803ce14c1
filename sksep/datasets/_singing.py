"""A synthetic singing voice: a glottal source, moving formants, consonants and breaths."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from sksep.datasets._composition import Composition, Note, compose_melody
from sksep.datasets._synthesis import (
    filter_frames,
    frame_length,
    n_frames,
    sawtooth,
    unit_rms,
)
from sksep.utils._arrays import DoubleArray, FloatArray

# First three formants in Hz of the vowels of an adult male voice (Peterson and Barney, 1952),
# then a fourth and a fifth that hardly depend on the vowel.
_VOWELS = np.array(
    [
        [730.0, 1090.0, 2440.0, 3400.0, 4500.0],  # a
        [530.0, 1840.0, 2480.0, 3500.0, 4500.0],  # e
        [270.0, 2290.0, 3010.0, 3600.0, 4600.0],  # i
        [570.0, 840.0, 2410.0, 3300.0, 4400.0],  # o
        [300.0, 870.0, 2240.0, 3300.0, 4400.0],  # u
        [500.0, 1500.0, 2500.0, 3500.0, 4500.0],  # neutral
    ]
)
_NASAL = np.array([250.0, 1150.0, 2250.0, 3300.0, 4400.0])
_BANDWIDTHS = np.array([80.0, 95.0, 130.0, 200.0, 260.0])

# Noise consonants: lower and upper edge in Hz, duration in seconds, level.
_CONSONANTS = np.array(
    [
        [4200.0, 9000.0, 0.120, 1.0],  # s
        [2200.0, 6000.0, 0.120, 0.9],  # sh
        [1200.0, 9000.0, 0.090, 0.35],  # f
        [3000.0, 7500.0, 0.035, 1.3],  # t
        [1300.0, 2800.0, 0.035, 1.2],  # k
        [500.0, 1800.0, 0.020, 1.0],  # p
    ]
)
_CONTROL_RATE = 500  # sample rate in Hz of the curves that control the voice


@dataclass(frozen=True)
class Singer:
    """The timbre and habits that all songs of one singer share.

    Attributes
    ----------
    center : float
        Middle of the range, as a MIDI number.
    tract : float
        Factor on the formant frequencies. It is above 1 for a shorter vocal tract.
    vibrato_rate, vibrato_depth : float
        Rate in Hz, and depth in semitones.
    glide : float
        Time in seconds that the pitch takes between two notes.
    breathiness : float
        Amplitude of the breath noise relative to the voice.
    tilt : float
        Frequency in Hz above which the source falls by another 6 dB per octave.
    diction : float
        Level of the consonants.
    """

    center: float
    tract: float
    vibrato_rate: float
    vibrato_depth: float
    glide: float
    breathiness: float
    tilt: float
    diction: float


def draw_singer(rng: np.random.Generator) -> Singer:
    """Draw a low or a high voice."""
    high = rng.random() < 0.5
    return Singer(
        center=rng.uniform(61.0, 68.0) if high else rng.uniform(49.0, 57.0),
        tract=rng.uniform(1.1, 1.25) if high else rng.uniform(0.92, 1.05),
        vibrato_rate=rng.uniform(4.8, 6.6),
        vibrato_depth=rng.uniform(0.15, 0.7),
        glide=rng.uniform(0.02, 0.05),
        breathiness=10 ** rng.uniform(-1.7, -0.8),
        tilt=rng.uniform(2200.0, 7000.0),
        diction=rng.uniform(0.6, 1.3),
    )


def sing(
    composition: Composition,
    singer: Singer,
    n_samples: int,
    sample_rate: int,
    rng: np.random.Generator,
) -> FloatArray:
    """Voice that sings a new melody, of shape (n_samples,) and unit RMS."""
    duration = n_samples / sample_rate
    notes = compose_melody(composition, singer.center, duration, rng)
    syllables = _Syllables(notes, duration, rng)

    times = np.arange(n_samples) / sample_rate
    pitch = _pitch_curve(syllables, singer, rng)
    frequency = np.interp(times, syllables.times, 440.0 * 2 ** ((pitch - 69.0) / 12.0))
    voicing = np.interp(times, syllables.times, syllables.voicing).astype(np.float32)
    breath = np.interp(times, syllables.times, syllables.breath).astype(np.float32)
    consonants = np.interp(times, syllables.times, syllables.consonant_level).astype(np.float32)

    pulses = sawtooth(frequency, sample_rate)
    noise = rng.standard_normal(n_samples, dtype=np.float32)
    # Air flows while the glottis is open, so the breath noise pulsates with the voice.
    flow = np.float32(singer.breathiness) * (1.0 + 0.7 * pulses)
    source = voicing * (pulses + flow * noise) + 0.12 * breath * noise
    friction = np.float32(0.25 * singer.diction) * consonants * noise[::-1]

    frames = np.linspace(0.0, duration, n_frames(n_samples, sample_rate))
    formants = np.stack([np.interp(frames, syllables.times, row) for row in syllables.formants.T])
    formants = formants.T * singer.tract
    # Above its first formant a singer opens the mouth: the formant follows the pitch.
    formants[:, 0] = np.maximum(formants[:, 0], np.interp(frames, times, frequency))
    kinds = np.interp(frames, syllables.times, syllables.consonant_kind, left=0, right=0)
    vowel_gain = _formant_gain(formants, singer.tilt, sample_rate)
    consonant_gain = _consonant_gain(sample_rate)[np.round(kinds).astype(int)]
    voice = filter_frames([source, friction], [vowel_gain, consonant_gain], sample_rate)
    return unit_rms(voice)


class _Syllables:
    """Curves at `_CONTROL_RATE` that describe how the mouth moves.

    Attributes
    ----------
    times : ndarray of shape (n_times,)
        Times of the values in seconds.
    note : ndarray of shape (n_times,)
        Index of the note that sounds, or sounded last.
    since : ndarray of shape (n_times,)
        Time in seconds since the start of that note. It is negative before the first one.
    voicing, breath, consonant_level : ndarray of shape (n_times,)
        Amplitudes of the voice, the breath and the consonants.
    consonant_kind : ndarray of shape (n_times,)
        Row of `_CONSONANTS`.
    formants : ndarray of shape (n_times, 5)
        Formant frequencies of a male voice in Hz.
    """

    def __init__(self, notes: list[Note], duration: float, rng: np.random.Generator) -> None:
        n_notes = len(notes)
        starts = np.array([note.start for note in notes])
        stops = np.array([note.stop for note in notes])
        begins = np.array([note.begins_phrase for note in notes])
        self.pitches = np.array([note.pitch for note in notes])
        self.begins_phrase = begins

        # A syllable begins with a noise consonant, a nasal, or its vowel.
        opening = rng.choice(["noise", "nasal", "vowel"], n_notes, p=[0.5, 0.25, 0.25])
        kind = rng.integers(len(_CONSONANTS), size=n_notes)
        lengths = np.minimum(
            _CONSONANTS[kind, 2] * rng.uniform(0.8, 1.3, n_notes), 0.4 * (stops - starts)
        )
        noise_length = np.where(opening == "noise", lengths, 0.0)
        nasal_length = np.where(opening == "nasal", np.minimum(0.09, 0.3 * (stops - starts)), 0.0)
        vowel = rng.integers(len(_VOWELS), size=n_notes)
        second = np.where(
            rng.random(n_notes) < 0.35, rng.integers(len(_VOWELS), size=n_notes), vowel
        )
        accent = rng.uniform(0.65, 1.0, n_notes)
        accent[rng.random(n_notes) < 0.1] *= 0.6

        self.times = np.arange(int(np.ceil(duration * _CONTROL_RATE)) + 1) / _CONTROL_RATE
        self.note = np.maximum(np.searchsorted(starts, self.times, "right") - 1, 0)
        self.since = self.times - starts[self.note]
        length = (stops - starts)[self.note]
        share = np.clip(self.since / length, 0.0, 1.0)
        sounding = (self.since >= 0) & (self.since < length)
        in_noise = sounding & (self.since < noise_length[self.note])
        in_nasal = sounding & (self.since < nasal_length[self.note])

        level = accent[self.note] * (1.0 - 0.35 * share**2)
        voicing = np.where(sounding & ~in_noise, level, 0.0) * np.where(in_nasal, 0.5, 1.0)
        self.voicing = _smooth(voicing, 0.012)
        self.consonant_kind = kind[self.note].astype(np.float64)
        self.consonant_level = _smooth(
            np.where(in_noise, _CONSONANTS[kind[self.note], 3], 0.0), 0.004
        )
        self.formants = np.where(
            (share < 0.55)[:, np.newaxis], _VOWELS[vowel[self.note]], _VOWELS[second[self.note]]
        )
        self.formants[in_nasal] = _NASAL
        self.formants = _smooth(self.formants, 0.028)

        # Some phrases are preceded by a breath, which ends just before the first note.
        breath = np.zeros_like(self.times)
        for start in starts[begins & (rng.random(n_notes) < 0.6)]:
            breath_length = rng.uniform(0.15, 0.35)
            inside = (self.times >= start - breath_length) & (self.times < start - 0.04)
            breath[inside & ~sounding] = rng.uniform(0.4, 1.0)
        self.breath = _smooth(breath, 0.03)


def _pitch_curve(syllables: _Syllables, singer: Singer, rng: np.random.Generator) -> DoubleArray:
    """MIDI numbers: notes with glides, scoops at phrase starts, vibrato and drift."""
    since = syllables.since
    curve = _smooth(syllables.pitches[syllables.note], singer.glide)
    scoop = np.where(syllables.begins_phrase, 1.0, 0.25) * rng.uniform(
        0.0, 2.0, len(syllables.pitches)
    )
    curve -= scoop[syllables.note] * np.exp(-np.maximum(since, 0.0) / 0.06)
    # Vibrato sets in on notes that are held.
    depth = singer.vibrato_depth * np.clip((since - 0.15) / 0.25, 0.0, 1.0)
    wander = _smooth(rng.standard_normal(since.size), 0.2)
    rate = singer.vibrato_rate * (1.0 + 0.08 * wander / max(wander.std(), 1e-9))
    curve += depth * np.sin(2 * np.pi * np.cumsum(rate) / _CONTROL_RATE + rng.uniform(0, 6.28))
    for width, extent in ((0.02, 0.06), (0.3, 0.12)):
        noise = _smooth(rng.standard_normal(since.size), width)
        curve += extent * noise / max(noise.std(), 1e-9)
    return curve


def _smooth(curve: DoubleArray, seconds: float) -> DoubleArray:
    smoothed: DoubleArray = ndimage.gaussian_filter1d(
        curve, seconds * _CONTROL_RATE, axis=0, mode="nearest", truncate=3.0
    )
    return smoothed


def _formant_gain(formants: DoubleArray, tilt: float, sample_rate: int) -> FloatArray:
    """Gain of a cascade of two-pole resonators, shape (n_frames, n_bins)."""
    n_bins = frame_length(sample_rate) // 2 + 1
    angle = np.linspace(0.0, np.pi, n_bins)
    hertz = angle * sample_rate / (2 * np.pi)
    radius = np.exp(-np.pi * _BANDWIDTHS / sample_rate)
    first = -2.0 * radius * np.cos(2 * np.pi * np.minimum(formants / sample_rate, 0.48))
    # Formants too high for the sample rate fade out, so they do not add up at the highest bin.
    weight = np.clip((0.46 - formants / sample_rate) / 0.06, 0.0, 1.0).astype(np.float32)
    second = np.broadcast_to(radius**2, first.shape)
    # |1 + first z + second z^2|^2 on the unit circle is a sum of three cosines.
    cosines = np.stack([np.ones(n_bins), np.cos(angle), np.cos(2 * angle)]).astype(np.float32)
    coefficients = np.stack(
        [1.0 + first**2 + second**2, 2.0 * first * (1.0 + second), 2.0 * second]
    ).astype(np.float32)
    power = np.ones((len(formants), n_bins), np.float32)
    for formant in range(formants.shape[1]):
        response = coefficients[:, :, formant].T @ cosines
        resonance = response[:, :1] / np.maximum(response, 1e-6)
        power *= resonance ** weight[:, formant, np.newaxis]
    power *= (1.0 / (1.0 + (hertz / tilt) ** 2)).astype(np.float32)
    # The source falls by 6 dB per octave; every vowel gets about the same loudness.
    loudness = power @ (1.0 / (1.0 + (hertz / 200.0) ** 2)).astype(np.float32)
    return np.sqrt(power / (loudness[:, np.newaxis] / 10.0))


def _consonant_gain(sample_rate: int) -> FloatArray:
    """Gain of each noise consonant, shape (n_kinds, n_bins)."""
    hertz = np.linspace(0.0, sample_rate / 2, frame_length(sample_rate) // 2 + 1)
    low, high = _CONSONANTS[:, :1], _CONSONANTS[:, 1:2]
    low = np.minimum(low, 0.3 * sample_rate)
    gain = 1.0 / np.sqrt((1.0 + (low / np.maximum(hertz, 1.0)) ** 6) * (1.0 + (hertz / high) ** 6))
    return gain.astype(np.float32)
