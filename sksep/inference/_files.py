"""Separation of files into files, in memory that does not grow with the length of the song."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy.typing as npt

from sksep.activity._detector import ActivityDetector, VocalActivity
from sksep.activity._levels import LevelMeter
from sksep.audio._decoding import regular_file
from sksep.audio._stems import StemWriter, resolve_format
from sksep.audio._tags import read_tags, write_tags
from sksep.audio._validation import check_track
from sksep.inference._models import target_of
from sksep.inference._separate import separated_blocks
from sksep.utils._arrays import FloatArray

# Subtypes with samples that need more bits than float32 has.
_WIDE_SUBTYPES = ("PCM_32", "DOUBLE", "ALAC_32")

# Shares of the energy of the mixture below which a stem counts as empty: -60 dB for the vocals, and
# -40 dB for the accompaniment, which keeps a rest if a model takes everything for vocals.
_SILENT_VOCALS = 1e-6

_SILENT_ACCOMPANIMENT = 1e-4


@dataclass(frozen=True)
class FileReport:
    """Report on a file that was separated.

    Attributes
    ----------
    path : Path
        File of the song.
    outputs : dict of str to Path
        File of each stem.
    seconds : float
        Length of the song.
    sample_rate, n_channels : int
        Sample rate in Hz and number of channels of the song and the stems.
    warnings : tuple of str
        Sentences about what is missing or damaged in the song, empty stems and clipped samples.
    activity : VocalActivity or None
        Intervals in which vocals sound, if a detector was given.
    """

    path: Path
    outputs: dict[str, Path]
    seconds: float
    sample_rate: int
    n_channels: int
    warnings: tuple[str, ...]
    activity: VocalActivity | None


def separate_file(
    path: str | os.PathLike[str],
    outputs: Mapping[str, str | os.PathLike[str]],
    pipeline: Any,
    *,
    format: str | None = None,
    subtype: str | None = None,
    overwrite: bool = False,
    vocals_gain: float | None = None,
    accompaniment_gain: float | None = None,
    detector: ActivityDetector | None = None,
    keep_tags: bool = False,
    progress: Callable[[int, int], None] = lambda n_done, n_samples: None,
) -> FileReport:
    """Separate an audio file into files, in memory that does not grow with its length.

    Parameters
    ----------
    path : path
        File of the song, or "-" for standard input.
    outputs : mapping of str to path
        Files of "vocals", "accompaniment" or both, and of "remix" if a gain is given.
    pipeline : estimator
        A fitted model, see `load_model`.
    format, subtype : str, default=None
        Format and subtype of the files, see `sksep.audio._stems.resolve_format`. None takes that of
        the song if possible.
    overwrite : bool, default=False
        Whether files that exist are replaced.
    vocals_gain, accompaniment_gain : float, default=None
        Gains in the remix in dB.
    detector : ActivityDetector, default=None
        Detector that also finds the intervals in which vocals sound.
    keep_tags : bool, default=False
        Whether the files get the tags and cover pictures of the song. That needs mutagen.
    progress : callable, default=nothing
        Function that is called with the number of samples that are done and the number of all.

    Returns
    -------
    FileReport

    Raises
    ------
    ValueError, FileExistsError
        If the song cannot be separated. The message names the file and says what to do. No file is
        then written or replaced.
    """
    with regular_file(path) as file:
        return _separate(
            Path(path),
            file,
            outputs,
            pipeline,
            _StemSettings(format, subtype, overwrite, vocals_gain, accompaniment_gain, keep_tags),
            detector,
            progress,
        )


@dataclass(frozen=True)
class _StemSettings:
    """Settings of the files that `separate_file` writes."""

    format: str | None
    subtype: str | None
    overwrite: bool
    vocals_gain: float | None
    accompaniment_gain: float | None
    keep_tags: bool


def _separate(
    path: Path,
    file: str,
    outputs: Mapping[str, str | os.PathLike[str]],
    pipeline: Any,
    settings: _StemSettings,
    detector: ActivityDetector | None,
    progress: Callable[[int, int], None],
) -> FileReport:
    problems: list[str] = []
    track = check_track(file, 0, "the song", problems.append)
    (info,) = track.files
    meter = None if detector is None else LevelMeter(track.sample_rate)
    dtype = "float64" if info.subtype in _WIDE_SUBTYPES else "float32"
    stem_format = resolve_format(settings.format, settings.subtype, info)

    def finish(files: dict[str, Path]) -> None:
        if settings.keep_tags and not stem_format.is_large:
            problems.extend(_copy_tags(file, files, stem_format.format, target_of(pipeline)))

    writer = StemWriter(
        outputs,
        track.sample_rate,
        track.n_channels,
        stem_format,
        source=path,
        overwrite=settings.overwrite,
        vocals_gain=settings.vocals_gain,
        accompaniment_gain=settings.accompaniment_gain,
        finish=finish,
    )

    def write(mixture: npt.NDArray[Any], vocals: FloatArray) -> int:
        writer.write(mixture, vocals)
        if meter is not None:
            meter.add(mixture, vocals)
        return writer.n_samples

    # A block is written while the next one is separated.
    with (
        writer,
        closing(separated_blocks(track, pipeline, dtype, problems.append)) as blocks,
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
        warnings=(*problems, *_warnings(writer, target_of(pipeline))),
        activity=detector.detect(meter.levels()) if detector and meter else None,
    )


def _copy_tags(song: str, files: Mapping[str, Path], format: str, target: str) -> Iterator[str]:
    """Copy the tags of a song to its stems, or say why that failed. The stems are kept then."""
    try:
        tags = read_tags(song)
        titles = {"vocals": target, "accompaniment": f"no {target}"}
        for stem, path in files.items():
            is_other = target != "vocals" and stem in titles
            write_tags(path, format, tags.of_stem(titles[stem] if is_other else stem))
    except Exception as error:  # tags can be damaged in many ways, and are not worth a song
        yield f"its tags were not copied ({' '.join(str(error).split())})"


def _warnings(writer: StemWriter, target: str) -> Iterator[str]:
    energies = writer.energies
    sought = "singing" if target == "vocals" else target
    if energies["mixture"] == 0.0:
        yield "the song is silent"
    elif energies["vocals"] <= _SILENT_VOCALS * energies["mixture"]:
        yield f"the {target} are silent: the model found no {sought}"
    elif energies["accompaniment"] <= _SILENT_ACCOMPANIMENT * energies["mixture"]:
        yield f"the {target} equal the song: the model found nothing but {sought}"
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
