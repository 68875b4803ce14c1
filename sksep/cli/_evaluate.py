"""`sksep evaluate`: how well models separate songs whose vocals are known."""

from __future__ import annotations

import csv
import io
import json
import math
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import click

from sksep.cli._command import Command, describe, device_option, n_iter_option, overwrite_option
from sksep.cli._files import check_target, distinct_names, target_of, write_table
from sksep.utils._choices import STEMS

# Models are compared with the mixture, taken for the stem.
MIXTURE = "mixture"

# How each protocol measures, by its name.
_PROTOCOLS = {
    "bss_eval_v3": "SDR by BSSEval v3 (512 taps) over whole tracks",
    "usdr": "uSDR of the Music Demixing challenges over whole tracks",
    "csdr": "cSDR (BSSEval v4, median over frames of one second)",
}

# Scores are limited to this many dB: an estimate without any error has an infinite one.
_LIMIT = 100.0

_EXAMPLES = """\
sksep evaluate uhnet test-songs
sksep evaluate uhnet small mine.safetensors test-songs --csv scores.csv
sksep evaluate mine.safetensors test-songs --channels all --sample-rate 44100 --protocol csdr
"""

# SDR in dB by stem and system: the mixture, or a model.
_Scores = dict[tuple[str, str], float]


@click.command("evaluate", cls=Command, examples=_EXAMPLES)
@click.argument("models", metavar="MODEL...", nargs=-1, required=True)
@click.argument("data", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--sample-rate",
    type=click.IntRange(min=1000),
    metavar="HZ",
    default=16000,
    show_default=True,
    help="Sample rate at which songs are separated and scored.",
)
@click.option(
    "--channels",
    type=click.Choice(["mono", "all"]),
    default="mono",
    show_default=True,
    help="Separate the mean over channels, or all channels. By bss_eval_v3 the mean is scored.",
)
@click.option(
    "--protocol",
    type=click.Choice(list(_PROTOCOLS)),
    default="bss_eval_v3",
    show_default=True,
    help="Definition of the SDR: BSSEval v3, or those of the MDX and SiSEC challenges.",
)
@click.option("--json", "json_file", metavar="FILE", type=click.Path(path_type=Path))
@click.option("--csv", "csv_file", metavar="FILE", type=click.Path(path_type=Path))
@n_iter_option
@device_option
@overwrite_option
def evaluate(
    models: tuple[str, ...],
    data: Path,
    sample_rate: int,
    channels: str,
    protocol: str,
    json_file: Path | None,
    csv_file: Path | None,
    n_iter: int | None,
    device: str,
    overwrite: bool,
) -> None:
    """Measure how well models separate songs.

    MODEL is one of `sksep models` or a file of `sksep train`. DATA holds a folder per song, with
    vocals.wav and accompaniment.wav (or mixture.wav) in it. Only songs of artists that a model was
    not trained on show how good it is.

    Scores are SDR in dB. The scores of the mixture itself stand beside them; the gain of a model is
    the difference. With the defaults, scores are measured as in the project's benchmarks. Tables on
    MUSDB18 have the median by csdr, those of the MDX challenges the mean by usdr, both of all
    channels at 44100 Hz. Scores of different protocols must not be compared.

    If a song cannot be scored, this is reported, and the others are scored. The exit code is then
    1. The files are written whenever a song is finished.
    """
    files = [file for file in (json_file, csv_file) if file is not None]
    for index, file in enumerate(files):
        inputs = [*map(Path, models), *files[:index]]
        check_target(file, overwrite=overwrite, inputs=inputs)
    from tqdm import tqdm

    from sksep.datasets import load_folder
    from sksep.inference._models import load_model

    _check_targets(models)
    songs = load_folder(data)
    pipelines = {
        name: load_model(model, n_iter=n_iter, device=device)
        for name, model in zip(_names(models), models, strict=True)
    }
    description = _described(protocol, sample_rate, channels, pipelines)
    tracks: dict[str, _Scores] = {}
    systems = [MIXTURE, *pipelines]
    n_songs = len(songs.mixtures)
    for name, pair in tqdm(_pairs(songs), total=n_songs, file=sys.stderr, disable=None):
        try:
            mixture, vocals = _waveforms(pair, sample_rate, mono=channels == "mono")
            tracks[name] = _score(mixture, vocals, sample_rate, pipelines, protocol)
        except Exception as error:  # whatever it is, the other songs are scored
            click.echo(f"{name}: {describe(error)}", err=True)
            continue
        # As songs finish, so that an interruption keeps their scores.
        is_own = overwrite or len(tracks) > 1
        if json_file is not None:
            write_table(json_file, _as_json(description, tracks, systems), overwrite=is_own)
        if csv_file is not None:
            write_table(csv_file, _as_csv(protocol, tracks, systems), overwrite=is_own)
    if tracks:
        click.echo(f"{description}\n\n{_table(tracks, systems)}\n")
        for note in _notes(tracks, systems):
            click.echo(note)
        if files:
            click.echo(f"Wrote {' and '.join(map(str, files))}.")
    if len(tracks) < n_songs:
        click.echo(f"Failed: {n_songs - len(tracks)} of {n_songs} songs.", err=True)
        raise click.exceptions.Exit(1)


def _described(protocol: str, sample_rate: int, channels: str, models: dict[str, Any]) -> str:
    """The conditions of the scores, in words."""
    scored = "their mean scored" if protocol == "bss_eval_v3" else "all of them scored"
    description = (
        f"{_PROTOCOLS[protocol]} at {sample_rate} Hz, "
        + ("mono" if channels == "mono" else f"all channels separated, {scored}")
        + "; the accompaniment is the mixture minus the vocals."
    )
    # Separators of waveforms have no iterations.
    pipelines = {name: model for name, model in models.items() if hasattr(model, "steps")}
    if pipelines:
        listed = ", ".join(
            f"{getattr(each.steps[-1][1], 'n_iter', 0)} ({name})"
            for name, each in pipelines.items()
        )
        description += f" Griffin-Lim iterations: {listed}."
    return description


def _check_targets(models: Sequence[str]) -> None:
    """Raise an error if a model extracts another stem than vocals."""
    for model in models:
        if (target := target_of(model)) != "vocals":
            raise click.UsageError(
                f"{model} extracts {target}, but this command scores vocals. In Python: "
                f"songs = load_folder(DATA, target={target!r}), then "
                "sksep.load(MODEL).score(songs.mixtures, songs.targets)."
            )


def _names(models: Sequence[str]) -> list[str]:
    """Names of the models in tables. They differ from each other and from that of the mixture."""
    if len(set(models)) < len(models):
        raise click.UsageError("A model is given twice.")
    names = distinct_names([Path(model) for model in models])
    return list(models) if MIXTURE in names else names


def _pairs(songs: Any) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Name of each song, and where its mixture and its vocals are."""
    names = songs.track_names
    if songs.split is not None:
        names = [f"{split}/{name}" for split, name in zip(songs.split, names, strict=True)]
    return zip(names, zip(songs.mixtures, songs.vocals, strict=True), strict=True)


def _waveforms(pair: tuple[Any, Any], sample_rate: int, *, mono: bool) -> list[Any]:
    """Mixture and vocals of a song."""
    from sksep.audio._resampling import resample, to_mono
    from sksep.audio._validation import check_pair, check_track, load_audio

    check_pair(check_track(pair[0], 0, "the mixture"), check_track(pair[1], 0, "the vocals"))
    tracks = [load_audio(source) for source in pair]
    return [
        resample(to_mono(samples) if mono else samples, rate, sample_rate)
        for samples, rate in tracks
    ]


def _score(
    mixture: Any, vocals: Any, sample_rate: int, pipelines: dict[str, Any], protocol: str
) -> _Scores:
    """SDR in dB; NaN if the stem or its estimate is silent."""
    from sksep.inference._separate import separate

    ratio = _ratio(protocol, sample_rate)
    estimates = {
        name: separate(mixture, pipeline, sample_rate=sample_rate).vocals
        for name, pipeline in pipelines.items()
    }
    scores: _Scores = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # silent stems are reported below the table
        for stem in STEMS:
            reference = _stem(stem, mixture, vocals)
            scores[stem, MIXTURE] = ratio(reference, mixture)
            for name, estimate in estimates.items():
                scores[stem, name] = ratio(reference, _stem(stem, mixture, estimate))
    return scores


def _ratio(protocol: str, sample_rate: int) -> Callable[[Any, Any], float]:
    from sksep import metrics

    if protocol == "csdr":
        return partial(metrics.csdr, sample_rate=sample_rate)
    if protocol == "usdr":
        # It is finite for silence, but then says nothing.
        return lambda true, estimate: metrics.usdr(true, estimate) if true.any() else math.nan
    return metrics.sdr


def _stem(stem: str, mixture: Any, vocals: Any) -> Any:
    return vocals if stem == "vocals" else mixture - vocals


def _summary(
    tracks: dict[str, _Scores], summarize: Callable[..., Any], key: tuple[str, str]
) -> float:
    """Mean or median over the tracks that have a score."""
    import numpy as np

    scores = np.array([scores[key] for scores in tracks.values()])
    known = scores[~np.isnan(scores)].clip(-_LIMIT, _LIMIT)
    return float(summarize(known)) if len(known) else float("nan")


def _summaries() -> dict[str, Callable[..., Any]]:
    import numpy as np

    return {"mean": np.mean, "median": np.median}


def _table(tracks: dict[str, _Scores], systems: Sequence[str]) -> str:
    """A table with a row per track, rows of mean and median, and a column per stem and system."""
    keys = [(stem, system) for stem in STEMS for system in systems]
    blank = [""] * (len(systems) - 1)
    rows = [
        ["SDR in dB", *(cell for stem in STEMS for cell in (stem, *blank))],
        ["track", *(system for _, system in keys)],
    ]
    for name, scores in tracks.items():
        rows.append([name, *(_decibels(scores[key]) for key in keys)])
    for name, summarize in _summaries().items():
        rows.append([name, *(_decibels(_summary(tracks, summarize, key)) for key in keys)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(
            cell.rjust(width) if column else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    ]
    rule = "-" * len(lines[0])
    return "\n".join([*lines[:2], rule, *lines[2:-2], rule, *lines[-2:]])


def _decibels(value: float) -> str:
    return "silent" if math.isnan(value) else f"{value:.2f}"


def _notes(tracks: dict[str, _Scores], systems: Sequence[str]) -> Iterator[str]:
    """Tracks without a score. They are left out of means and medians."""
    for stem in STEMS:
        # The mixture always has a score unless the stem is silent.
        silent = [name for name, scores in tracks.items() if math.isnan(scores[stem, MIXTURE])]
        if silent:
            yield f"Left out, since their {stem} are silent: {', '.join(silent)}."
        for system in systems[1:]:
            failed = [
                name
                for name, scores in tracks.items()
                if math.isnan(scores[stem, system]) and name not in silent
            ]
            if failed:
                yield (
                    f"Left out for {system}, whose {stem} are silent but should not be: "
                    f"{', '.join(failed)}."
                )


def _as_json(protocol: str, tracks: dict[str, _Scores], systems: Sequence[str]) -> str:
    """The protocol, the scores of each track and their summary. A missing score is null."""

    def nested(scores: Callable[[tuple[str, str]], float]) -> dict[str, Any]:
        return {
            system: {stem: _rounded(scores((stem, system))) for stem in STEMS} for system in systems
        }

    content = {
        "protocol": protocol,
        "unit": "dB",
        "tracks": {name: nested(scores.__getitem__) for name, scores in tracks.items()},
        **{
            name: nested(partial(_summary, tracks, summarize))
            for name, summarize in _summaries().items()
        },
    }
    return json.dumps(content, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def _as_csv(protocol: str, tracks: dict[str, _Scores], systems: Sequence[str]) -> str:
    table = io.StringIO()
    writer = csv.writer(table, lineterminator="\n")
    writer.writerow(["track", "system", *(f"{stem}_sdr" for stem in STEMS), "protocol"])
    for name, scores in tracks.items():
        for system in systems:
            values = [_rounded(scores[stem, system]) for stem in STEMS]
            cells = ["" if value is None else value for value in values]
            writer.writerow([name, system, *cells, protocol])
    return table.getvalue()


def _rounded(value: float) -> float | None:
    """A score for JSON and CSV, which have neither NaN nor infinity."""
    return None if math.isnan(value) else round(min(max(value, -_LIMIT), _LIMIT), 3)
