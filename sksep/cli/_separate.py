"""`sksep separate`: songs to stems."""

from __future__ import annotations

import csv
import io
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from sksep.cli._command import (
    DEFAULT_MODEL,
    Command,
    describe,
    device_option,
    n_iter_option,
    overwrite_option,
    quiet_libraries,
)
from sksep.cli._files import (
    check_target,
    check_template,
    distinct_names,
    find_songs,
    plan_outputs,
    readable,
    removing_empty_folders,
    target_of,
    write_table,
)
from sksep.utils._choices import FORMATS, STEMS

_EXAMPLES = """\
sksep separate song.mp3 -o out
sksep separate *.wav album -o out --format flac --filename "{track} ({stem}).{ext}"
sksep separate music -r -o out --filename "{path}/{stem}.{ext}"
sksep separate song.wav -o out --vocals-gain -60      # out/song/remix.wav, for karaoke
sksep separate song.wav -o out --model mine.safetensors --overwrite
sksep separate album -o out --activity singing.csv    # intervals of singing
curl -s ADDRESS | sksep separate - -o out             # out/stdin/vocals.wav
"""


# Samples that are compared to find out whether stems are those of a song, and the share of the
# energy by which they may differ. Other songs differ by more than all of it. Below -60 dB is
# silence.
_COMPARED = 1 << 19
_TOLERANCE = 0.25
_SILENCE = 1e-6


def _check_filename(ctx: click.Context, _: click.Parameter, template: str) -> str:
    return check_template(template, ctx.params["format_name"])


@click.command("separate", cls=Command, examples=_EXAMPLES)
@click.argument(
    "paths",
    metavar="SONG...",
    nargs=-1,
    required=True,
    type=click.Path(exists=True, readable=False, path_type=Path, allow_dash=True),
)
@click.option(
    "-o",
    "--output",
    metavar="DIR",
    required=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write to. It is created if it does not exist.",
)
@click.option("-r", "--recursive", is_flag=True, help="Also search the folders inside of folders.")
@click.option(
    "--model",
    metavar="NAME|PATH",
    default=DEFAULT_MODEL,
    show_default=True,
    help="One of `sksep models`, or a file of `sksep train`.",
)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(FORMATS),
    default="wav",
    show_default=True,
    is_eager=True,  # names are checked against it
    help="File format of the stems.",
)
@click.option(
    "--subtype",
    help="Encoding within the format, such as PCM_24 or FLOAT. Default: that of the song, or the "
    "nearest one that the format has.",
)
@click.option(
    "--filename",
    metavar="TEMPLATE",
    default="{track}/{stem}.{ext}",
    show_default=True,
    callback=_check_filename,
    help="Names of the files in DIR. {folder} is the name of the folder that holds the song, "
    "{path} the path of the song in the folder that was given, and {suffix} its suffix.",
)
@click.option(
    "--vocals-gain",
    type=float,
    metavar="DB",
    help="Write a third file, remix, with vocals that are this much louder (softer, if negative).",
)
@click.option(
    "--accompaniment-gain",
    type=float,
    metavar="DB",
    help="The same for the accompaniment. Both can be given.",
)
@click.option(
    "--activity",
    metavar="FILE.csv",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write the intervals of singing in all songs: track, label, start and end in seconds.",
)
@n_iter_option
@device_option
@overwrite_option
@click.option("-q", "--quiet", is_flag=True, help="Print errors and warnings only.")
def separate(
    paths: tuple[Path, ...],
    output: Path,
    recursive: bool,
    model: str,
    format_name: str,
    subtype: str | None,
    filename: str,
    vocals_gain: float | None,
    accompaniment_gain: float | None,
    activity: Path | None,
    n_iter: int | None,
    device: str,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Split songs into vocals and accompaniment.

    SONG is an audio file (WAV, FLAC, OGG, MP3, ...), a folder of such files, or - for standard
    input. The result is two files per song, with the sample rate, channels and length of the song.
    They add up to the song. Songs of any length need little memory. Models that were trained to
    extract another stem, such as drums, write drums and no_drums.

    The table of --activity has a row per interval of singing. Its label, vocal or instrumental, is
    that of the whole track. A track without singing has one row without start and end.

    If a song fails, this is reported, and the other songs are still separated. The exit code is
    then 1. If the command is repeated, it skips the songs that it has separated before.
    """
    if subtype is not None:
        _check_subtype(format_name, subtype)
    stems = [*STEMS]
    if vocals_gain is not None or accompaniment_gain is not None:
        stems.append("remix")
    songs = find_songs(paths, recursive=recursive, output=output)
    target = target_of(model)
    plan, problems = plan_outputs(songs, stems, output, filename, format_name, paths, target)
    if not plan:
        raise click.UsageError(next(iter(problems.values())))
    table = None
    if activity is not None:
        table = _ActivityTable(activity, songs, overwrite=overwrite)
        written = (path for outputs in plan.values() for path in outputs.values())
        known = [*songs, Path(model), *written]
        check_target(activity, overwrite=overwrite or table.is_continued, inputs=known)
    done = set() if overwrite else {song for song in plan if _is_done(song, plan[song])}
    for song in [] if overwrite else plan:
        if problem := _existing(song, song in done, plan[song], table):
            problems[song] = problem
    todo = [song for song in plan if song not in done | problems.keys()]
    done -= problems.keys()
    for song, problem in problems.items():
        click.echo(_about(song, problem), err=True)

    reports, seconds_taken = _separate_all(
        {song: plan[song] for song in todo},
        table,
        quiet,
        model=(model, n_iter, device),
        format=format_name,
        subtype=subtype,
        overwrite=overwrite,
        vocals_gain=vocals_gain,
        accompaniment_gain=accompaniment_gain,
    )
    if done and not quiet:
        click.echo(f"Done before: {len(done)} of {len(songs)} songs. --overwrite repeats them.")
    if reports and not quiet:
        click.echo(_summary(list(reports.values()), seconds_taken, output, activity))
    n_failed = len(songs) - len(reports) - len(done)
    if n_failed:
        click.echo(f"Failed: {n_failed} of {len(songs)} songs.", err=True)
        raise click.exceptions.Exit(1)


def _separate_all(
    plan: dict[Path, dict[str, Path]],
    table: _ActivityTable | None,
    quiet: bool,
    *,
    model: tuple[str, int | None, str],
    **settings: Any,
) -> tuple[dict[Path, Any], float]:
    """Separate songs by one model; reports of those that did not fail, and the seconds it took."""
    if not plan:
        return {}, 0.0
    from sksep.inference._models import detector_of, load_model

    name, n_iter, device = model
    settings["pipeline"] = load_model(name, n_iter=n_iter, device=device)
    settings["detector"] = None if table is None else detector_of(name)
    reports: dict[Path, Any] = {}
    started = time.perf_counter()
    for song, outputs in plan.items():
        if report := _separate_one(song, outputs, quiet, **settings):
            reports[song] = report
            if table is not None:
                table.add(song, report.activity)
    return reports, time.perf_counter() - started


def _separate_one(song: Path, outputs: dict[str, Path], quiet: bool, **settings: Any) -> Any:
    """Separate a song and return its report, or say why it failed and return None."""
    from sksep.inference._files import separate_file

    try:
        with (
            removing_empty_folders(outputs.values()),
            quiet_libraries(),
            _progress(song.name, quiet) as progress,
        ):
            report = separate_file(song, outputs, progress=progress, **settings)
    except Exception as error:  # whatever it is, the other songs are separated
        click.echo(_about(song, describe(error)), err=True)
        return None
    for warning in report.warnings:
        click.echo(f"Warning: {_about(song, warning)}", err=True)
    return report


def _check_subtype(format_name: str, subtype: str) -> None:
    """Raise an error if the format does not have the subtype, before any song is read."""
    from types import SimpleNamespace

    from sksep.audio._stems import resolve_format

    song = SimpleNamespace(format="WAV", subtype="PCM_16", samplerate=44100, channels=1, frames=1)
    try:
        resolve_format(format_name, subtype, song)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="'--subtype'") from error


def _existing(
    song: Path, is_done: bool, outputs: dict[str, Path], table: _ActivityTable | None
) -> str | None:
    """Why a song cannot be separated, or skipped, without --overwrite."""
    existing = next((path for path in outputs.values() if os.path.lexists(path)), None)
    if existing is not None and not is_done:
        return f"{existing} exists; add --overwrite to replace it."
    if table is not None and is_done and not table.has(song):
        return f"It was separated before, but is not in {table.path}; add --overwrite."
    if table is not None and not is_done and table.has(song):
        return f"{table.path} has a row of its name; choose another file, or add --overwrite."
    return None


def _is_done(song: Path, outputs: dict[str, Path]) -> bool:
    """Whether all files exist, and the vocals and the accompaniment add up to the song.

    The first part that is not silent is compared. Lossy stems add up to it roughly.
    """
    if not all(os.path.isfile(path) for path in (song, *outputs.values())):
        return False
    import numpy as np

    from sksep.audio._validation import check_track

    def ignore(_: str) -> None:
        pass

    paths = (song, *(outputs[stem] for stem in STEMS))
    try:
        tracks = [check_track(path, 0, "the song", ignore) for path in paths]
        if len({(each.sample_rate, each.n_channels, each.n_samples) for each in tracks}) > 1:
            return False
        error = energy = 0.0
        for mixture, vocals, rest in zip(
            *(each.read_blocks(_COMPARED, report=ignore) for each in tracks), strict=True
        ):
            energy += float(np.square(mixture).sum())
            error += float(np.square(mixture - vocals - rest).sum())
            if energy > _SILENCE * mixture.size:
                break
    except (ValueError, OSError):
        return False
    return error <= max(_TOLERANCE * energy, _SILENCE * mixture.size)


@contextmanager
def _progress(title: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A function that takes the samples done and the number of all, and shows a progress bar."""
    from tqdm import tqdm

    bar: Any
    with tqdm(
        desc=title,
        disable=quiet or None,
        file=sys.stderr,
        bar_format="{desc} |{bar:30}| {percentage:3.0f} % {elapsed}<{remaining}",
    ) as bar:

        def advance(n_done: int, n_samples: int) -> None:
            bar.total = n_samples
            bar.update(n_done - bar.n)

        yield advance


class _ActivityTable:
    """The table of --activity, which is written whenever a song is finished.

    If there is such a table already, and it is not to be replaced, rows are added to it.
    """

    _HEADER = ("track", "label", "start", "end")

    def __init__(self, path: Path, songs: Sequence[Path], *, overwrite: bool) -> None:
        self.path = path
        self._overwrite = overwrite
        self._names = dict(zip(songs, map(readable, distinct_names(songs)), strict=True))
        rows = [] if overwrite else self._read()
        self.is_continued = bool(rows)
        self._rows: list[Sequence[str]] = rows or [self._HEADER]

    def _read(self) -> list[Sequence[str]]:
        try:
            with open(self.path, newline="", encoding="utf-8") as file:
                rows: list[Sequence[str]] = [tuple(row) for row in csv.reader(file)]
        except (OSError, ValueError, csv.Error):
            return []
        is_table = rows[:1] == [self._HEADER] and all(len(row) == len(rows[0]) for row in rows)
        return rows if is_table else []

    def has(self, song: Path) -> bool:
        """Whether the table has a row of the song."""
        return any(row[0] == self._names[song] for row in self._rows[1:])

    def add(self, song: Path, activity: Any) -> None:
        """Add the rows of a song, and write the table."""
        self._rows += activity.to_csv_rows(self._names[song])
        table = io.StringIO()
        csv.writer(table, lineterminator="\n").writerows(self._rows)
        write_table(self.path, table.getvalue(), overwrite=self._overwrite or self.is_continued)
        self.is_continued = True


def _summary(
    reports: Sequence[Any], seconds_taken: float, output: Path, activity: Path | None
) -> str:
    seconds = sum(report.seconds for report in reports)
    songs = "1 song" if len(reports) == 1 else f"{len(reports)} songs"
    n_files = sum(len(report.outputs) for report in reports)
    example = next(iter(reports[0].outputs.values()))
    return (
        f"Separated {songs}: {seconds / 60.0:.1f} minutes of audio in {seconds_taken:.1f} s, "
        f"{seconds / max(seconds_taken, 1e-9):.0f} times real time.\n"
        f"Wrote {n_files} files to {output}, such as {example}."
        + ("" if activity is None else f"\nIntervals of singing: {activity}")
    )


def _about(song: Path, message: str) -> str:
    """A message that names the song exactly once."""
    return message if str(song) in message else f"{song}: {message}"
