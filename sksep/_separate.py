"""A song in, its vocals out: from arrays and files, by a model that ships or one of your own."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import soundfile
from sklearn.pipeline import Pipeline

from sksep._activity_levels import LevelMeter
from sksep._parameters import check_integer
from sksep._stems import StemWriter, resolve_format
from sksep._streaming import StreamingSeparator, can_stream
from sksep._tracks import FloatArray, Track, check_track
from sksep._vocal_activity import ActivityDetector, VocalActivity
from sksep.persistence import load
from sksep.pretrained import list_pretrained, load_detector, load_pretrained
from sksep.transformers import GriffinLimInverter, MelChunker

# Audio read at a time, in seconds: enough chunks for whole batches of the network.
_BLOCK_SECONDS = 20.0
# Audio of each stem in a notebook, in seconds.
_NOTEBOOK_SECONDS = 20.0
# Subtypes whose samples do not fit into float32.
_WIDE_SUBTYPES = ("PCM_32", "DOUBLE", "ALAC_32")
# Shares of the energy of the mixture below which a stem counts as empty: -60 dB, and -40 dB for
# what is left when the vocals are the mixture.
_SILENT_VOCALS = 1e-6
_SILENT_ACCOMPANIMENT = 1e-4


class Separation(NamedTuple):
    """What `separate` returns.

    Attributes
    ----------
    vocals, accompaniment : ndarray of shape (n_samples,) or (n_channels, n_samples)
        float32, in the shape of the song; they add up to it.
    sample_rate : int
        Hz, that of the song.
    """

    vocals: FloatArray
    accompaniment: FloatArray
    sample_rate: int

    def _repr_html_(self) -> str:
        """Players of the beginning, for notebooks, which keep what they show."""
        from sksep.plotting._audio import AudioDisplay

        stems = {"Vocals": self.vocals, "Accompaniment": self.accompaniment}
        players = AudioDisplay(stems, sample_rate=self.sample_rate, max_duration=_NOTEBOOK_SECONDS)
        return players._repr_html_()


@dataclass(frozen=True)
class FileReport:
    """What became of a file.

    Attributes
    ----------
    path : Path
        The song.
    outputs : dict of str to Path
        File of each stem.
    seconds : float
        Length of the song.
    sample_rate, n_channels : int
        Of the song and the stems.
    warnings : tuple of str
        What a listener should know: empty stems, clipped samples.
    activity : VocalActivity or None
        Where vocals sound, if that was asked for.
    """

    path: Path
    outputs: dict[str, Path]
    seconds: float
    sample_rate: int
    n_channels: int
    warnings: tuple[str, ...]
    activity: VocalActivity | None


def separate(
    source: Any,
    model: Any = "uhnet",
    *,
    sample_rate: int | None = None,
    n_iter: int | None = None,
    device: str = "auto",
) -> Separation:
    """Split a song into vocals and accompaniment.

    Parameters
    ----------
    source : path, array or AudioSource
        Audio file of any rate, or samples of shape (n_samples,) or (n_channels, n_samples).
    model : str, path or Pipeline, default="uhnet"
        Name of a model that ships (see `sksep.pretrained.list_pretrained`), file that `sksep.save`
        wrote, or fitted pipeline.
    sample_rate : int, default=None
        Of an array in Hz; None is the rate of the model (16 kHz for those that ship). Files know
        theirs.
    n_iter : int, default=None
        Griffin-Lim iterations; None is the model's own choice.
    device : str, default="auto"
        "cpu", "cuda" or "mps" for a model that is loaded; "auto" takes the fastest there is.

    Returns
    -------
    Separation
        Vocals, accompaniment and their sample rate.

    Raises
    ------
    TypeError, ValueError
        Naming the song and the remedy.

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
    pipeline = load_model(model, n_iter=n_iter, device=device)
    track = _check_song(source, sample_rate, pipeline)
    pairs = [*separated_blocks(track, pipeline)]
    vocals = np.concatenate([part for _, part in pairs], axis=1)
    mixture = np.concatenate([part for part, _ in pairs], axis=1)
    mixture -= vocals
    return Separation(vocals.reshape(track.shape), mixture.reshape(track.shape), track.sample_rate)


def vocal_activity(
    source: Any,
    model: Any = "uhnet",
    *,
    sample_rate: int | None = None,
    device: str = "auto",
) -> VocalActivity:
    """Find where vocals sound in a song.

    The song is separated, and the levels of vocals and mixture in frames of 20 ms go through a
    detector with hysteresis, whose few numbers were learned from labelled recordings.

    Parameters
    ----------
    source : path, array or AudioSource
        As in `separate`.
    model : str, path or Pipeline, default="uhnet"
        As in `separate`. Models of your own go with the detector of "uhnet".
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
        As in `separate`, naming the song or the model.

    Examples
    --------
    >>> import numpy as np, sksep
    >>> activity = sksep.vocal_activity(np.zeros(16000), "small")
    >>> activity.label, len(activity.intervals)
    ('instrumental', 0)
    """
    pipeline = load_model(model, device=device)
    track = _check_song(source, sample_rate, pipeline)
    meter = LevelMeter(track.sample_rate)
    for mixture, vocals in separated_blocks(track, pipeline):
        meter.add(mixture, vocals)
    return detector_of(model).detect(meter.levels())


def separate_file(
    path: str | os.PathLike[str],
    outputs: Mapping[str, str | os.PathLike[str]],
    pipeline: Pipeline,
    *,
    format: str | None = None,
    subtype: str | None = None,
    overwrite: bool = False,
    vocals_gain: float | None = None,
    accompaniment_gain: float | None = None,
    detector: ActivityDetector | None = None,
    progress: Callable[[int, int], None] = lambda n_done, n_samples: None,
) -> FileReport:
    """Separate an audio file into files, in bounded memory however long it is.

    Parameters
    ----------
    path : path
        The song.
    outputs : mapping of str to path
        Files of "vocals" and "accompaniment", and of "remix" where a gain is given.
    pipeline : Pipeline
        See `load_model`.
    format, subtype : str, default=None
        Of the files, see `sksep._stems.resolve_format`; None is that of the song where possible.
    overwrite : bool, default=False
        Whether files that exist are replaced.
    vocals_gain, accompaniment_gain : float, default=None
        dB in the remix.
    detector : ActivityDetector, default=None
        Also finds where vocals sound.
    progress : callable, default=nothing
        Called with the samples that are done and the number of all.

    Returns
    -------
    FileReport

    Raises
    ------
    ValueError, FileExistsError
        Naming the file and the remedy; then no file was written or replaced.
    """
    path = Path(path)
    track = check_track(path, 0, "the song")
    info = soundfile.info(path)
    stem_format = resolve_format(format, subtype, info)
    meter = None if detector is None else LevelMeter(track.sample_rate)
    dtype = "float64" if info.subtype in _WIDE_SUBTYPES else "float32"
    writer = StemWriter(
        outputs,
        track.sample_rate,
        track.n_channels,
        stem_format,
        source=path,
        overwrite=overwrite,
        vocals_gain=vocals_gain,
        accompaniment_gain=accompaniment_gain,
    )

    def write(mixture: npt.NDArray[Any], vocals: FloatArray) -> int:
        writer.write(mixture, vocals)
        if meter is not None:
            meter.add(mixture, vocals)
        return writer.n_samples

    # A block is written while the next one is separated.
    with (
        writer,
        closing(separated_blocks(track, pipeline, dtype)) as blocks,
        ThreadPoolExecutor(1) as background,
    ):
        written = background.submit(int, 0)
        for mixture, vocals in blocks:
            progress(written.result(), track.n_samples)
            written = background.submit(write, mixture, vocals)
        progress(written.result(), track.n_samples)
    return FileReport(
        path=path,
        outputs={stem: Path(output) for stem, output in outputs.items()},
        seconds=track.n_samples / track.sample_rate,
        sample_rate=track.sample_rate,
        n_channels=track.n_channels,
        warnings=tuple(_warnings(writer)),
        activity=detector.detect(meter.levels()) if detector and meter else None,
    )


def load_model(model: Any, *, n_iter: int | None = None, device: str = "auto") -> Pipeline:
    """A fitted pipeline by its name or file; pipelines pass through.

    Parameters
    ----------
    model : str, path or Pipeline
        Name of a model that ships, or file that `sksep.save` wrote.
    n_iter : int, default=None
        Griffin-Lim iterations of a model that is loaded; None is its own choice.
    device : str, default="auto"
        Of a model that is loaded.

    Returns
    -------
    Pipeline

    Raises
    ------
    ValueError, TypeError
        Saying which models there are.
    """
    if isinstance(model, (str, os.PathLike)):
        names = [card.name for card in list_pretrained()]
        if model in names:
            pipeline = load_pretrained(str(model), device=device)
        elif Path(model).is_file():
            pipeline = load(model, device=device)
        else:
            raise ValueError(
                f"There is no model {str(model)!r}: neither a file nor one of {', '.join(names)}."
            )
    else:
        pipeline = model
    if not isinstance(pipeline, Pipeline) or not isinstance(pipeline.steps[0][1], MelChunker):
        raise TypeError(
            "A model is a fitted Pipeline that begins with MelChunker; got "
            f"{type(pipeline).__name__}."
        )
    if n_iter is None:
        return pipeline
    name, last = pipeline.steps[-1]
    if not isinstance(last, GriffinLimInverter):
        raise ValueError("n_iter is for models that end in a GriffinLimInverter; leave it out.")
    check_integer("n_iter", n_iter, 0)
    if pipeline is model:
        raise ValueError(f"Set {name}__n_iter of the pipeline itself; n_iter is for loading.")
    return pipeline.set_params(**{f"{name}__n_iter": n_iter})


def detector_of(model: Any) -> ActivityDetector:
    """The detector of vocal activity that goes with a model."""
    names = [card.name for card in list_pretrained()]
    return load_detector(model if isinstance(model, str) and model in names else "uhnet")


def separated_blocks(
    track: Track, pipeline: Pipeline, dtype: str = "float32"
) -> Generator[tuple[npt.NDArray[Any], FloatArray], None, None]:
    """Mixture and vocals, each (n_channels, n), block by block from the beginning to the end.

    Models that need the whole track, such as those that cluster it, have it in memory.
    """
    length = round(_BLOCK_SECONDS * track.sample_rate)
    if not can_stream(pipeline):
        vocals = _predict(track, pipeline)
        start = 0
        for block in track.read_blocks(length, dtype):
            yield block, vocals[:, start : start + block.shape[1]]
            start += block.shape[1]
        return
    stream = StreamingSeparator(pipeline, track.sample_rate, track.n_channels)
    waiting: npt.NDArray[Any] = np.zeros((track.n_channels, 0), dtype)
    for block in track.read_blocks(length, dtype):
        waiting = np.concatenate([waiting, block], axis=1)
        vocals = stream.process(block).vocals
        if vocals.shape[1]:
            mixture, waiting = np.split(waiting, [vocals.shape[1]], axis=1)
            yield mixture, vocals
    yield waiting, stream.finish().vocals


def _predict(track: Track, pipeline: Pipeline) -> FloatArray:
    source: Any = track.source
    if not track.is_file:
        if track.sample_rate != _model_rate(pipeline):
            raise ValueError(
                f"{track.name} is at {track.sample_rate} Hz, but this model takes arrays at "
                f"{_model_rate(pipeline)} Hz only. Resample it, or give a file."
            )
        source = track.read()
    vocals: FloatArray = pipeline.predict([source])[0]
    return vocals.reshape(track.n_channels, track.n_samples)


def _check_song(source: Any, sample_rate: int | None, pipeline: Pipeline) -> Track:
    rate = _model_rate(pipeline) if sample_rate is None else sample_rate
    return check_track(source, check_integer("sample_rate", rate, 1), "the song")


def _model_rate(pipeline: Pipeline) -> int:
    return int(pipeline.steps[0][1].sample_rate)


def _warnings(writer: StemWriter) -> Iterator[str]:
    energies = writer.energies
    if energies["mixture"] == 0.0:
        yield "the song is silent"
    elif energies["vocals"] <= _SILENT_VOCALS * energies["mixture"]:
        yield "the vocals are silent: the model heard no singing"
    elif energies["accompaniment"] <= _SILENT_ACCOMPANIMENT * energies["mixture"]:
        yield "the vocals equal the song: the model heard nothing but singing"
    if writer.n_clipped_mixture:
        yield (
            f"{writer.n_clipped_mixture} samples of the song are beyond full scale and were "
            "limited; the subtype FLOAT of WAV keeps them"
        )
    if writer.n_clipped_remix:
        yield (
            f"{writer.n_clipped_remix} samples of the remix are beyond full scale and were "
            "limited; lower the gains"
        )
