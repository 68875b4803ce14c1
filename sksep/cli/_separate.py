"""`sksep separate`: songs to stems."""

from __future__ import annotations

import csv
import io
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
    write_table,
)
from sksep.utils._choices import FORMATS, STEMS

_EXAMPLES = """\
sksep separate song.mp3 -o out
sksep separate *.wav album -o out --format flac --filename "{track} ({stem}).{ext}"
sksep separate song.wav -o out --vocals-gain -60      # out/song/remix.wav, for karaoke
sksep separate song.wav -o out --model mine.safetensors --overwrite
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
    type=click.Path(exists=True, path_type=Path, allow_dash=True),
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
    help="Names of the files in DIR; {folder} is the name of the folder that holds the song.",
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
    They add up to the song. Songs of any length need little memory.

    The table of --activity has a row per interval of singing. Its label, vocal or instrumental, is
    that of the whole track. A track without singing has one row without start and end.

    If a song fails, this is reported, and the other songs are still separated. The exit code is
    then 1.
    """
    if subtype is not None:
        _check_subtype(format_name, subtype)
    stems = [*STEMS]
    if vocals_gain is not None or accompaniment_gain is not None:
        stems.append("remix")
    songs = find_songs(paths, recursive=recursive, output=output)
    plan = plan_outputs(songs, stems, output, filename, format_name)
    if activity is not None:
        written = [path for outputs in plan.values() for path in outputs.values()]
        check_target(activity, overwrite=overwrite, inputs=[*songs, Path(model), *written])
    todo = [song for song in songs if overwrite or not _report_existing(song, plan[song])]

    reports: dict[Path, Any] = {}
    seconds_taken = 0.0
    if todo:
        from sksep.inference._models import detector_of, load_model

        pipeline = load_model(model, n_iter=n_iter, device=device)
        detector = None if activity is None else detector_of(model)
        started = time.perf_counter()
        for song in todo:
            if report := _separate_one(
                song,
                plan[song],
                quiet,
                pipeline=pipeline,
                format=format_name,
                subtype=subtype,
                overwrite=overwrite,
                vocals_gain=vocals_gain,
                accompaniment_gain=accompaniment_gain,
                detector=detector,
            ):
                reports[song] = report
        seconds_taken = time.perf_counter() - started

    if activity is not None and reports:
        write_table(activity, _activity_table(reports), overwrite=overwrite)
    if reports and not quiet:
        click.echo(_summary(list(reports.values()), seconds_taken, output))
        if activity is not None:
            click.echo(f"Intervals of singing: {activity}")
    if len(reports) < len(songs):
        click.echo(f"Failed: {len(songs) - len(reports)} of {len(songs)} songs.", err=True)
        raise click.exceptions.Exit(1)


def _separate_one(song: Path, outputs: dict[str, Path], quiet: bool, **settings: Any) -> Any:
    """Separate a song and return its report, or say why it failed and return None."""
    from sksep.inference._files import separate_file

    try:
        with quiet_libraries(), _progress(song.name, quiet) as progress:
            report = separate_file(song, outputs, progress=progress, **settings)
    # Errors that concern one song, also a full disk and too little memory.
    except (ValueError, TypeError, OSError, RuntimeError, MemoryError) as error:
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


def _report_existing(song: Path, outputs: dict[str, Path]) -> bool:
    """Whether a result exists. The error is then printed."""
    existing = next((path for path in outputs.values() if path.exists()), None)
    if existing is not None:
        message = f"{existing} exists; add --overwrite to replace it."
        click.echo(_about(song, message), err=True)
    return existing is not None


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


def _activity_table(reports: dict[Path, Any]) -> str:
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["track", "label", "start", "end"])
    for track, report in zip(distinct_names(list(reports)), reports.values(), strict=True):
        writer.writerows(report.activity.to_csv_rows(track))
    return table.getvalue()


def _summary(reports: Sequence[Any], seconds_taken: float, output: Path) -> str:
    seconds = sum(report.seconds for report in reports)
    songs = "1 song" if len(reports) == 1 else f"{len(reports)} songs"
    n_files = sum(len(report.outputs) for report in reports)
    example = next(iter(reports[0].outputs.values()))
    return (
        f"Separated {songs}: {seconds / 60.0:.1f} minutes of audio in {seconds_taken:.1f} s, "
        f"{seconds / max(seconds_taken, 1e-9):.0f} times real time.\n"
        f"Wrote {n_files} files to {output}, such as {example}."
    )


def _about(song: Path, message: str) -> str:
    """A message that names the song exactly once."""
    return message if str(song) in message else f"{song}: {message}"
