"""Separation of songs, one after the other or in several processes."""

from __future__ import annotations

import signal
import sys
import traceback
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import click

from sksep.cli._command import one_line, quiet_libraries, show_warning, wants_traceback
from sksep.cli._files import STANDARD_INPUT, removing_empty_folders
from sksep.cli._imports import import_rarely_used_late
from sksep.utils._files import remove_unfinished

# Songs, and the file of each of their stems.
Plan = dict[Path, dict[str, Path]]


@dataclass(frozen=True)
class Model:
    """Models that each process loads for itself; the vocals of several are averaged."""

    names: tuple[str, ...]
    n_iter: int | None
    device: str
    has_detector: bool


@dataclass(frozen=True)
class Settings:
    """The model, and arguments of `separate_file`."""

    model: Model
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Failure:
    """Why a song could not be separated."""

    message: str
    traceback: str


def separate_songs(
    plan: Plan, settings: Settings, *, jobs: int | None, quiet: bool
) -> Iterator[tuple[Path, Any]]:
    """Separate songs, and yield each with its report, or with None if it failed, which is said.

    Parameters
    ----------
    plan : dict of Path to dict of str to Path
        Songs, and the file of each of their stems.
    settings : Settings
        The model and options. Without jobs, it is loaded before this function returns.
    jobs : int or None
        Number of songs that are separated at a time, each in a process and on one core. The results
        do not depend on it. None separates one at a time, on all cores.
    quiet : bool
        Whether there are no progress bars.

    Returns
    -------
    iterator of (Path, FileReport or None)
        In the order of the plan if it is one at a time, otherwise as they are done.
    """
    if jobs is not None and min(jobs, len(plan)) > 1:
        return _in_processes(plan, settings, jobs, quiet)
    loaded = _load(settings.model)
    return _in_turn(plan, settings, loaded, quiet, on_one_core=jobs is not None)


def _in_turn(
    plan: Plan, settings: Settings, loaded: dict[str, Any], quiet: bool, *, on_one_core: bool
) -> Iterator[tuple[Path, Any]]:
    for song, outputs in plan.items():
        with (
            _one_core() if on_one_core else nullcontext(),
            removing_empty_folders(outputs.values()),
            _progress(song.name, quiet) as progress,
        ):
            result = _attempt(song, outputs, settings.options | loaded, progress=progress)
        yield song, _reported(song, result)


def _in_processes(
    plan: Plan, settings: Settings, jobs: int, quiet: bool
) -> Iterator[tuple[Path, Any]]:
    """Separate in processes. They are ended, and their files removed, if this one is."""
    from joblib import Parallel, delayed, parallel_config
    from tqdm import tqdm

    rest = dict(plan)
    if STANDARD_INPUT in rest:  # which other processes do not have
        own = {STANDARD_INPUT: rest.pop(STANDARD_INPUT)}
        yield from _in_turn(own, settings, _load(settings.model), quiet, on_one_core=True)
    calls = [delayed(_in_worker)(song, outputs, settings) for song, outputs in rest.items()]
    paths = [path for outputs in rest.values() for path in outputs.values()]
    layout = "{desc} |{bar:30}| {n_fmt} of {total_fmt} {elapsed}<{remaining}"
    with (
        removing_empty_folders(paths),
        parallel_config("loky", n_jobs=min(jobs, len(rest)), inner_max_num_threads=1),
        tqdm(
            desc="Songs",
            total=len(rest),
            disable=quiet or None,
            file=sys.stderr,
            bar_format=layout,
        ) as bar,
    ):
        results = Parallel(return_as="generator_unordered", batch_size=1)(calls)
        try:
            for song, result in results:
                rest.pop(song)
                with bar.external_write_mode(file=sys.stderr):
                    report = _reported(song, result)
                bar.update()
                yield song, report
        except BrokenExecutor:
            click.echo(
                "A process ended while it separated a song, perhaps for want of memory. Repeat the "
                "command to go on, with fewer --jobs.",
                err=True,
            )
        finally:
            results.close()
            for path in (path for outputs in rest.values() for path in outputs.values()):
                remove_unfinished(path.parent, path.name)


def _in_worker(song: Path, outputs: dict[str, Path], settings: Settings) -> tuple[Path, Any]:
    _prepare_worker()
    try:
        options = settings.options | _load_once(settings.model)
    except Exception as error:  # the others have it, too, and it must not end the process
        return song, _Failure(one_line(error), traceback.format_exc())
    return song, _attempt(song, outputs, options)


@cache
def _prepare_worker() -> None:
    """Leave Ctrl-C to the process that began all this, and show warnings as it does."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    warnings.showwarning = show_warning
    import_rarely_used_late()
    import torch

    torch.set_num_threads(1)


def _load(model: Model) -> dict[str, Any]:
    """Arguments of `separate_file` that are loaded."""
    import_rarely_used_late()
    from sksep.inference._models import detector_of, load_model

    loaded = [load_model(name, n_iter=model.n_iter, device=model.device) for name in model.names]
    if len(loaded) > 1:
        from sksep.ensembles._voting import average_of

        loaded = [average_of(loaded)]
    return {
        "pipeline": loaded[0],
        "detector": detector_of(model.names[0]) if model.has_detector else None,
    }


_load_once = cache(_load)  # in a worker, which separates many songs


def _attempt(song: Path, outputs: dict[str, Path], options: dict[str, Any], **more: Any) -> Any:
    """The report on a song that was separated, or a _Failure."""
    from sksep.inference._files import separate_file

    try:
        with quiet_libraries():
            return separate_file(song, outputs, **options, **more)
    except Exception as error:  # whatever it is, the other songs are separated
        return _Failure(one_line(error), traceback.format_exc())


def _reported(song: Path, result: Any) -> Any:
    """Print what has to be said about a song, and return its report, None if it failed."""
    if isinstance(result, _Failure):
        if wants_traceback():
            click.echo(result.traceback, err=True)
        click.echo(about(song, result.message), err=True)
        return None
    for warning in result.warnings:
        click.echo(f"Warning: {about(song, warning)}", err=True)
    return result


def about(song: Path, message: str) -> str:
    """A message that names the song exactly once."""
    return message if str(song) in message else f"{song}: {message}"


@contextmanager
def _one_core() -> Iterator[None]:
    """Compute on one thread."""
    import torch
    from threadpoolctl import threadpool_limits

    n_threads = torch.get_num_threads()
    try:
        with threadpool_limits(1):
            torch.set_num_threads(1)
            yield
    finally:
        torch.set_num_threads(n_threads)


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
