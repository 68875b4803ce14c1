"""Synthetic songs whose vocals and accompaniment are known."""

from __future__ import annotations

from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.utils import Bunch, check_random_state

from sksep.datasets._band import play_band
from sksep.datasets._composition import compose
from sksep.datasets._singing import Singer, draw_singer, sing
from sksep.datasets._synthesis import reverberate, room_response, unit_gain
from sksep.utils._arrays import FloatArray

_SONGS_PER_SINGER = 2

_DESCRIPTION = """\
Synthetic songs
===============
A synthetic singing voice (glottal source with vibrato and glides, moving formants, consonants,
breaths, pauses between phrases) over a band (chords of several timbres, bass, drums), each in a
simple room. Key, tempo, chords, melody, timbres and levels are random. Tracks of one group share
their singer. The vocals lie 0 to 3 dB below the accompaniment; mixture = vocals + accompaniment.
"""


def make_songs(
    n_tracks: int = 8,
    duration: float = 6.0,
    *,
    sample_rate: int = 16000,
    n_channels: int = 1,
    random_state: Any = None,
) -> Bunch:
    """Make synthetic songs with known vocals and accompaniment.

    The songs are good enough to learn from: a singing voice with vibrato, note glides, vowels and
    consonants, breaths and pauses, over chords, bass and drums, with reverberation. They need no
    download, so they serve in examples, tests and first experiments.

    Parameters
    ----------
    n_tracks : int, default=8
        Number of songs. Song i is the same whatever `n_tracks` is.
    duration : float, default=6.0
        Length of each song in seconds.
    sample_rate : int, default=16000
        Sample rate in Hz, at least 8000.
    n_channels : int, default=1
        Number of channels of each song.
    random_state : int, RandomState instance or None, default=None
        Seed of all random draws. An int makes the songs reproducible.

    Returns
    -------
    Bunch
        - mixtures, vocals, accompaniments : list of float32 ndarray of shape (n_samples,), or
          (n_channels, n_samples) if `n_channels` > 1. Peaks are below 1.0 and every mixture is
          exactly the sum of the other two.
        - stems : list of dict of float32 ndarray, the vocals, drums, bass and other stem of each
          song, whose sum is the mixture to 1e-6. One song in ten has silent drums.
        - track_names : list of str
        - groups : ndarray of shape (n_tracks,), the singer; each sings two songs
        - sample_rate : int
        - split : None
        - DESCR : str

    Raises
    ------
    ValueError
        If a parameter is out of its range.

    See Also
    --------
    load_folder : Load your own songs.
    remix : Mix vocals with other songs' accompaniment.

    Examples
    --------
    >>> import numpy as np
    >>> from sksep.datasets import make_songs
    >>> songs = make_songs(n_tracks=4, duration=2.0, random_state=0)
    >>> len(songs.mixtures), songs.mixtures[0].shape, songs.mixtures[0].dtype
    (4, (32000,), dtype('float32'))
    >>> songs.groups
    array(['singer-0', 'singer-0', 'singer-1', 'singer-1'], dtype='<U8')
    >>> np.array_equal(songs.mixtures[0], songs.vocals[0] + songs.accompaniments[0])
    True
    """
    for name, value in (("n_tracks", n_tracks), ("n_channels", n_channels)):
        if not isinstance(value, Integral) or value < 1:
            raise ValueError(f"{name} must be an integer of at least 1, got {value!r}.")
    if not isinstance(sample_rate, Integral) or sample_rate < 8000:
        raise ValueError(f"sample_rate must be an integer of at least 8000, got {sample_rate!r}.")
    if not isinstance(duration, Real) or not 0.5 <= duration * sample_rate < np.inf:
        raise ValueError(f"duration must be a positive number of seconds, got {duration!r}.")
    n_samples = max(1, round(float(duration) * sample_rate))

    seed = check_random_state(random_state).randint(np.iinfo(np.int32).max)
    mixtures, vocals, accompaniments, stems, names, groups = [], [], [], [], [], []
    for index in range(n_tracks):
        singer_index = index // _SONGS_PER_SINGER
        # Each song is seeded by its index, so it does not depend on the number of songs.
        singer = draw_singer(np.random.default_rng([seed, 0, singer_index]))
        rng = np.random.default_rng([seed, 1, index])
        voice, band, parts = _make_song(singer, n_samples, int(sample_rate), int(n_channels), rng)
        if n_channels == 1:
            voice, band = voice[0], band[0]
            parts = {stem: part[0] for stem, part in parts.items()}
        vocals.append(voice)
        stems.append({"vocals": voice, **parts})
        accompaniments.append(band)
        mixtures.append(voice + band)
        names.append(f"song-{index}")
        groups.append(f"singer-{singer_index}")
    return Bunch(
        mixtures=mixtures,
        vocals=vocals,
        accompaniments=accompaniments,
        stems=stems,
        track_names=names,
        groups=np.array(groups),
        split=None,
        sample_rate=int(sample_rate),
        DESCR=_DESCRIPTION,
    )


def _make_song(
    singer: Singer, n_samples: int, sample_rate: int, n_channels: int, rng: np.random.Generator
) -> tuple[FloatArray, FloatArray, dict[str, FloatArray]]:
    """Vocals, accompaniment and its stems at their final levels, each (n_channels, n_samples)."""
    composition = compose(rng)
    dry = np.tile(sing(composition, singer, n_samples, sample_rate, rng), (n_channels, 1))
    response = room_response(
        n_channels,
        sample_rate,
        rng,
        decay_time=rng.uniform(0.2, 1.0),
        level_in_db=rng.uniform(-22.0, -12.0),
    )
    voice = reverberate(dry, response)
    band, stems = play_band(composition, n_samples, sample_rate, n_channels, rng)
    voice, band_gain = voice * unit_gain(voice), unit_gain(band)
    band = band * band_gain
    voice *= np.float32(10 ** (rng.uniform(-3.0, 0.0) / 20))
    peak = max(float(np.abs(sound).max()) for sound in (voice, band, voice + band))
    scale = np.float32(rng.uniform(0.4, 0.95) / max(peak, 1e-9))
    stems = {stem: part * band_gain * scale for stem, part in stems.items()}
    return voice * scale, band * scale, stems
