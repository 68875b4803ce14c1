"""Separation of a song into vocals and accompaniment."""

from __future__ import annotations

import os
import warnings
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from sksep.activity._detector import VocalActivity
from sksep.activity._levels import LevelMeter
from sksep.audio._decoding import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE, Report, regular_file
from sksep.audio._track import Track
from sksep.audio._validation import check_track
from sksep.base._streams import WholeTrackError, array_rate
from sksep.inference._models import detector_of, load_model, target_of
from sksep.inference._streaming import SampleQueue, StreamingSeparator
from sksep.utils._arrays import FloatArray
from sksep.utils._validation import check_integer

# Audio read at a time in seconds, enough for whole batches of chunks.
_BLOCK_SECONDS = 20.0

# Audio of each stem in a notebook, in seconds.
_NOTEBOOK_SECONDS = 20.0


class Separation(NamedTuple):
    """Result of `separate`.

    Attributes
    ----------
    vocals, accompaniment : ndarray of shape (n_samples,) or (n_channels, n_samples)
        float32, in the shape of the song. They add up to it.
    sample_rate : int
        Sample rate of the song in Hz.
    """

    vocals: FloatArray
    accompaniment: FloatArray
    sample_rate: int

    def _repr_html_(self) -> str:
        """Players of the beginning, for notebooks. Those store everything that they show."""
        from sksep.plotting._audio import AudioDisplay

        stems = {"Vocals": self.vocals, "Accompaniment": self.accompaniment}
        players = AudioDisplay(stems, sample_rate=self.sample_rate, max_duration=_NOTEBOOK_SECONDS)
        return players._repr_html_()


def separate(
    source: Any,
    model: Any = "unet",
    *,
    sample_rate: int | None = None,
    n_iter: int | None = None,
    device: str = "auto",
) -> Separation:
    """Split a song into vocals and accompaniment.

    Parameters
    ----------
    source : path, array or AudioSource
        Audio file at 500 to 768,000 Hz, "-" for standard input, or samples of shape (n_samples,) or
        (n_channels, n_samples).
    model : str, path or estimator, default="unet"
        Name of a model (see `load_model`), file that `sksep.save` wrote, or any fitted estimator
        that maps tracks to waveforms: a pipeline, a search, a separator of `sksep.peers`.
    sample_rate : int, default=None
        Sample rate of an array in Hz. None is the rate of the model (16 kHz for those that ship).
        Files have their own.
    n_iter : int, default=None
        Griffin-Lim iterations. None keeps the number of the model.
    device : str, default="auto"
        "cpu", "cuda" or "mps" for a model that is loaded. "auto" takes the fastest one available.

    Returns
    -------
    Separation
        Vocals, accompaniment and their sample rate.

    Raises
    ------
    TypeError, ValueError
        If the song cannot be read or the model does not exist. The message says what to do.

    See Also
    --------
    sksep.StreamingSeparator : The same for audio that arrives in blocks.

    Examples
    --------
    >>> import sksep
    >>> from sksep.datasets import make_songs
    >>> song = make_songs(1, duration=3.0, random_state=0).mixtures[0]
    >>> vocals, accompaniment, sample_rate = sksep.separate(song, "small")
    >>> vocals.shape == song.shape, sample_rate
    (True, 16000)
    """
    estimator = load_model(model, n_iter=n_iter, device=device)
    with _checked_song(source, sample_rate, estimator) as track:
        pairs = [*separated_blocks(track, estimator)]
    vocals = np.concatenate([part for _, part in pairs], axis=1)
    mixture = np.concatenate([part for part, _ in pairs], axis=1)
    mixture -= vocals
    return Separation(vocals.reshape(track.shape), mixture.reshape(track.shape), track.sample_rate)


def vocal_activity(
    source: Any,
    model: Any = "unet",
    *,
    sample_rate: int | None = None,
    device: str = "auto",
) -> VocalActivity:
    """Find the intervals of a song in which vocals sound.

    The song is separated. A detector with hysteresis, which was learned from labeled recordings,
    then decides by the levels of vocals and mixture in frames that begin every 20 ms.

    Parameters
    ----------
    source : path, array or AudioSource
        As in `separate`.
    model : str, path or estimator, default="unet"
        As in `separate`. Models of your own use the detector of "unet".
    sample_rate : int, default=None
        As in `separate`.
    device : str, default="auto"
        As in `separate`.

    Returns
    -------
    VocalActivity
        Intervals in seconds, the probability of each frame, and a label of the whole song.

    Raises
    ------
    TypeError, ValueError
        As in `separate`.

    Examples
    --------
    >>> import numpy as np, sksep
    >>> activity = sksep.vocal_activity(np.zeros(16000), "small")
    >>> activity.label, len(activity.intervals)
    ('instrumental', 0)
    """
    estimator = load_model(model, device=device)
    if (target := target_of(estimator)) != "vocals":
        raise ValueError(f"The model extracts {target}; vocal activity needs a model of vocals.")
    with _checked_song(source, sample_rate, estimator) as track:
        meter = LevelMeter(track.sample_rate)
        for mixture, vocals in separated_blocks(track, estimator):
            meter.add(mixture, vocals)
    return detector_of(model).detect(meter.levels())


def separated_blocks(
    track: Track, model: Any, dtype: str = "float32", report: Report | None = None
) -> Generator[tuple[npt.NDArray[Any], FloatArray], None, None]:
    """Mixture and vocals, each (n_channels, n), block by block from the beginning to the end.

    Models that need the whole track, such as those that cluster it, hold it in memory. `report`
    takes sentences about damaged places; None warns of them.
    """
    length = round(_BLOCK_SECONDS * track.sample_rate)
    try:
        stream = StreamingSeparator(model, track.sample_rate, track.n_channels)
    except WholeTrackError:
        vocals = _predict(track, model)
        start = 0
        for block in track.read_blocks(length, dtype, report):
            yield block, vocals[:, start : start + block.shape[1]]
            start += block.shape[1]
        return
    waiting = SampleQueue(track.n_channels)
    for block in track.read_blocks(length, dtype, report):
        waiting.push(block)
        vocals = stream.process(block).vocals
        if vocals.shape[1]:
            yield waiting.take(vocals.shape[1]), vocals
    rest = stream.finish().vocals
    yield waiting.take(rest.shape[1]), rest


def _predict(track: Track, model: Any) -> FloatArray:
    source: Any = track.source
    if not track.is_file:
        if track.sample_rate != array_rate(model):
            raise ValueError(
                f"{track.name} is at {track.sample_rate} Hz, but this model takes arrays at "
                f"{array_rate(model)} Hz only. Resample it, or give a file."
            )
        source = track.read()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", r"X\[0\] \(.*\): ")  # said when the song was checked
        vocals: FloatArray = model.predict([source])[0]
    return vocals.reshape(track.n_channels, track.n_samples)


@contextmanager
def _checked_song(source: Any, sample_rate: int | None, model: Any) -> Iterator[Track]:
    """The song as a track. What a pipe delivers is in a file until the end."""
    rate = array_rate(model) if sample_rate is None else sample_rate
    rate = check_integer("sample_rate", rate, MIN_SAMPLE_RATE, MAX_SAMPLE_RATE)
    if isinstance(source, (str, os.PathLike)):
        with regular_file(source) as path:
            yield check_track(path, rate, "the song")
    else:
        yield check_track(source, rate, "the song")
