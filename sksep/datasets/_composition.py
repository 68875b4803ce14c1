"""Key, tempo, chords and melody of a synthetic song."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

_SCALES = {"major": (0, 2, 4, 5, 7, 9, 11), "minor": (0, 2, 3, 5, 7, 8, 10)}
# Scale degrees of the chords, from 0; common in popular music.
_PROGRESSIONS = {
    "major": ((0, 4, 5, 3), (0, 5, 3, 4), (5, 3, 0, 4), (0, 3, 4, 3), (0, 2, 3, 4), (1, 4, 0, 5)),
    "minor": ((0, 5, 2, 6), (0, 3, 4, 0), (0, 6, 5, 6), (0, 2, 6, 3), (5, 6, 0, 0)),
}


@dataclass(frozen=True)
class Composition:
    """Key, tempo and chords, which all musicians of a song share.

    Attributes
    ----------
    beat : float
        Length of a beat in seconds. A bar has four beats.
    tonic : int
        MIDI number of the key note, 48 to 59.
    scale : tuple of int
        The seven degrees, in semitones above the tonic.
    progression : tuple of int
        Scale degrees of the chords, which are repeated.
    beats_per_chord : int
    """

    beat: float
    tonic: int
    scale: tuple[int, ...]
    progression: tuple[int, ...]
    beats_per_chord: int

    def pitch(self, degree: int) -> int:
        """MIDI number of a scale degree; degree 7 is one octave above degree 0."""
        octave, step = divmod(degree, 7)
        return self.tonic + 12 * octave + self.scale[step]

    def chord_degree(self, time: float) -> int:
        """Scale degree of the chord that sounds at `time` in seconds."""
        index = int(time / (self.beat * self.beats_per_chord) + 1e-6)
        return self.progression[index % len(self.progression)]


@dataclass(frozen=True)
class Note:
    """One sung note: times in seconds, pitch as a MIDI number."""

    start: float
    stop: float
    pitch: float
    begins_phrase: bool


def compose(rng: np.random.Generator) -> Composition:
    """Draw key, tempo and chords."""
    mode = str(rng.choice(["major", "minor"]))
    progressions = _PROGRESSIONS[mode]
    return Composition(
        beat=60.0 / rng.uniform(72.0, 138.0),
        tonic=int(rng.integers(48, 60)),
        scale=_SCALES[mode],
        progression=progressions[rng.integers(len(progressions))],
        beats_per_chord=int(rng.choice([2, 4])),
    )


def compose_melody(
    composition: Composition, center: float, duration: float, rng: np.random.Generator
) -> list[Note]:
    """Phrases of notes around the MIDI number `center`, with pauses between them."""
    half_beat = composition.beat / 2
    # The degree next to the middle of the singer's range.
    home = min(range(-14, 28), key=lambda degree: abs(composition.pitch(degree) - center))
    time = half_beat * int(rng.integers(0, 2)) if duration > 2 else 0.0
    notes: list[Note] = []
    while time < duration:
        phrase_stop = time + rng.uniform(1.4, 2.8)
        first = True
        # Phrases begin near the middle of the range.
        degree = home + int(rng.integers(-2, 3))
        while time < phrase_stop:
            steps = int(rng.choice([1, 2, 3, 4], p=[0.4, 0.38, 0.1, 0.12]))
            # Quarters of a beat in slow songs, so that syllables are as frequent as in speech.
            length = half_beat * steps * (0.5 if half_beat > 0.36 and rng.random() < 0.4 else 1.0)
            # The farther away the melody is, the more likely is a step back.
            pull = -np.sign(degree - home) if abs(degree - home) > rng.integers(1, 5) else 0
            degree += int(rng.choice([-2, -1, 0, 1, 2], p=[0.12, 0.28, 0.2, 0.28, 0.12]) + pull)
            in_chord = (degree - composition.chord_degree(time)) % 7 in (0, 2, 4)
            if not in_chord and rng.random() < 0.4:
                degree += int(rng.choice([-1, 1]))
            legato = 1.0 if rng.random() < 0.7 else rng.uniform(0.8, 0.95)
            notes.append(
                Note(time, time + legato * length, float(composition.pitch(degree)), first)
            )
            first = False
            time += length
        time += half_beat * np.ceil(rng.uniform(0.5, 1.2) / half_beat)
    return notes
