"""`sksep separate`: songs to stems."""

from __future__ import annotations

import csv
import io
import os
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import click

from sksep.cli._command import (
    DEFAULT_MODEL,
    Command,
    device_option,
    n_iter_option,
    overwrite_option,
)
from sksep.cli._done import Gains, is_done
from sksep.cli._files import (
    check_target,
    check_template,
    distinct_names,
    find_songs,
    plan_outputs,
    readable,
    target_of,
    write_table,
)
from sksep.cli._songs import Model, Settings, about, separate_songs
from sksep.utils._choices import FORMATS, STEMS

_NO_TAGS = "No tags were copied; pip install 'sksep[tags]' for that, or add --no-tags."
_EXAMPLES = """\
sksep separate song.mp3                               # separated/song/vocals.wav, ...
sksep separate song.mp3 -s vocals -f mp3              # separated/song/vocals.mp3
sksep separate *.wav album -o out --format flac --filename "{track} ({stem}).{ext}"
sksep separate music -r -o out --jobs 4               # four songs at a time
sksep separate music -r -o out --filename "{path}/{stem}.{ext}"
sksep separate song.wav -o out --vocals-gain -60      # out/song/remix.wav, for karaoke
sksep separate song.wav -o out --model mine.safetensors --overwrite
sksep separate song.wav -o out --model uhnet --model small
sksep separate album -o out --activity singing.csv    # intervals of singing
curl -s ADDRESS | sksep separate - -o out             # out/stdin/vocals.wav
"""


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
    default="separated",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder to write to. It is created if it does not exist.",
)
@click.option("-r", "--recursive", is_flag=True, help="Also search the folders inside of folders.")
@click.option(
    "-s",
    "--stems",
    type=click.Choice(STEMS),
    multiple=True,
    help="Stem to write; can be repeated. Default: both.",
)
@click.option(
    "-m",
    "--model",
    "models",
    metavar="NAME|PATH",
    multiple=True,
    default=[DEFAULT_MODEL],
    show_default=True,
    help="One of `sksep models`, or a file of `sksep train`. If it is repeated, the vocals of all "
    "these models are averaged.",
)
@click.option(
    "-f",
    "--format",
    "format_name",
    type=click.Choice(FORMATS),
    default="wav",
    show_default=True,
    is_eager=True,  # names are checked against it
    help="File format of the stems. OGG and MP3 are lossy.",
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
@click.option(
    "--tags/--no-tags",
    default=True,
    show_default=True,
    help="Copy tags and cover pictures of the songs, with the stem behind the title.",
)
@click.option(
    "-j",
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help="Songs to separate at a time, each on one core; for many songs. Default: one at a time on "
    "all cores.",
)
@n_iter_option
@device_option
@overwrite_option
@click.option("-q", "--quiet", is_flag=True, help="Print errors and warnings only.")
def separate(
    paths: tuple[Path, ...],
    output: Path,
    recursive: bool,
    stems: tuple[str, ...],
    models: tuple[str, ...],
    format_name: str,
    subtype: str | None,
    filename: str,
    vocals_gain: float | None,
    accompaniment_gain: float | None,
    activity: Path | None,
    tags: bool,
    jobs: int | None,
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

    --jobs is faster for many songs. The results do not depend on the number of jobs.

    The table of --activity has a row per interval of singing. Its label, vocal or instrumental, is
    that of the whole track. A track without singing has one row without start and end.

    If a song fails, this is reported, and the other songs are still separated. The exit code is
    then 1. If the command is repeated, it skips the songs that it has separated before.
    """
    if subtype is not None:
        _check_subtype(format_name, subtype)
    written = [stem for stem in STEMS if stem in stems or not stems]
    gains = (vocals_gain, accompaniment_gain)
    written += ["remix"] if gains != (None, None) else []
    songs = find_songs(paths, recursive=recursive, output=output)
    target = _common_target(models, finds_singing=activity is not None)
    plan, problems = plan_outputs(songs, written, output, filename, format_name, paths, target)
    if not plan:
        raise click.UsageError(next(iter(problems.values())))
    if not quiet:
        _announce(songs, models, output)
    table = None
    if activity is not None:
        inputs = [*songs, *map(Path, models)]
        table = _checked_table(activity, songs, plan, inputs, overwrite=overwrite)
    done = set() if overwrite else _done_before(plan, problems, table, gains)
    for song, problem in problems.items():
        click.echo(about(song, problem), err=True)
    options = {
        "format": format_name,
        "subtype": subtype,
        "overwrite": overwrite,
        "vocals_gain": vocals_gain,
        "accompaniment_gain": accompaniment_gain,
        "keep_tags": tags and _can_keep_tags(),
    }
    todo = {song: plan[song] for song in plan if song not in done | problems.keys()}
    settings = Settings(Model(models, n_iter, device, has_detector=table is not None), options)
    reports, seconds_taken = _separate_all(todo, settings, table, jobs=jobs, quiet=quiet)
    if done and not quiet:
        click.echo(f"Done before: {len(done)} of {len(songs)} songs. --overwrite repeats them.")
    if reports and not quiet:
        click.echo(_summary(list(reports.values()), seconds_taken, output, activity))
        if tags and not _can_keep_tags():
            click.echo(_NO_TAGS, err=True)
    n_failed = len(songs) - len(reports) - len(done)
    if n_failed:
        click.echo(f"Failed: {n_failed} of {len(songs)} songs.", err=True)
        raise click.exceptions.Exit(1)


def _announce(songs: Sequence[Path], models: Sequence[str], output: Path) -> None:
    """Say what is going to happen, before all that takes seconds."""
    what = f"{len(songs)} songs" if len(songs) > 1 else str(songs[0])
    by = " and ".join(models)
    click.echo(f"Separating {what} by {by}, to the folder {output}.", err=True)


def _checked_table(
    activity: Path,
    songs: Sequence[Path],
    plan: dict[Path, dict[str, Path]],
    inputs: Sequence[Path],
    *,
    overwrite: bool,
) -> _ActivityTable:
    """The table of singing, after a check that it replaces neither an input nor a stem."""
    table = _ActivityTable(activity, songs, overwrite=overwrite)
    stem_files = (path for outputs in plan.values() for path in outputs.values())
    is_own = overwrite or table.is_continued
    check_target(activity, overwrite=is_own, inputs=[*inputs, *stem_files])
    return table


def _done_before(
    plan: dict[Path, dict[str, Path]],
    problems: dict[Path, str],
    table: _ActivityTable | None,
    gains: Gains,
) -> set[Path]:
    """Songs whose stems are there. Songs whose files are in the way are added to the problems."""
    done = {song for song in plan if is_done(song, plan[song], gains)}
    for song in plan:
        if problem := _existing(song, song in done, plan[song], table):
            problems[song] = problem
    return done - problems.keys()


def _common_target(models: Sequence[str], *, finds_singing: bool) -> str:
    """The stem that all models extract, or an error."""
    targets = sorted({target_of(model) for model in models})
    if len(targets) > 1:
        raise click.UsageError(
            f"The models extract different stems ({', '.join(targets)}), which cannot be averaged."
        )
    if finds_singing and targets != ["vocals"]:
        raise click.UsageError(f"--activity tells singing, but the model extracts {targets[0]}.")
    return targets[0]


def _separate_all(
    plan: dict[Path, dict[str, Path]],
    settings: Settings,
    table: _ActivityTable | None,
    *,
    jobs: int | None,
    quiet: bool,
) -> tuple[dict[Path, Any], float]:
    """Separate songs; reports of those that did not fail, and the seconds it took."""
    if not plan:
        return {}, 0.0
    results = separate_songs(plan, settings, jobs=jobs, quiet=quiet)
    reports: dict[Path, Any] = {}
    started = time.perf_counter()
    for song, report in results:
        if report is not None:
            reports[song] = report
            if table is not None:
                table.add(song, report.activity)
    return reports, time.perf_counter() - started


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


def _can_keep_tags() -> bool:
    return find_spec("mutagen") is not None


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
        + (
            f"Wrote {n_files} files to {output}, such as {example}."
            if n_files > 1
            else f"Wrote {example}."
        )
        + ("" if activity is None else f"\nIntervals of singing: {activity}")
    )
