"""Parts that all commands share: examples in the help, errors in one line, options."""

from __future__ import annotations

import io
import os
import shlex
import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from pathlib import Path
from types import FrameType
from typing import Any, TextIO

import click

from sksep.utils._choices import AUDIO_SUFFIXES

DEFAULT_MODEL = "unet"

# What ends a command: Ctrl-C, `kill`, and the end of its terminal. Windows has no SIGHUP.
_ENDING = ("SIGINT", "SIGTERM", "SIGHUP")
# Exit code of a shell for a command that signal 0 would have ended.
_ENDED = 128

device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda", "mps"]),
    default="auto",
    show_default=True,
    help="Device to compute on; auto takes a GPU if there is one.",
)
n_iter_option = click.option(
    "--n-iter",
    type=click.IntRange(min=0),
    metavar="N",
    help="Griffin-Lim iterations, which refine the phase; 0 is fastest. Default: set by the model.",
)
overwrite_option = click.option(
    "--overwrite", is_flag=True, help="Replace files that exist. Without it, they are kept."
)


class _WithExamples(click.Command):
    """Command that shows examples below the text of its help."""

    def __init__(self, *args: Any, examples: str = "", **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.examples = examples

    def format_help_text(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the text, and the examples as they are."""
        super().format_help_text(ctx, formatter)
        with formatter.section("Examples"):
            for line in self.examples.splitlines():
                formatter.write(f"  {line}\n")


class Group(_WithExamples, click.Group):
    """The command that has the others as subcommands, in the order in which they were added."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names of the commands."""
        return list(self.commands)

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """The command of some words. Those that begin with a song are no command, but meant one."""
        name = args[0]
        is_song = Path(name).suffix.lower() in AUDIO_SUFFIXES or os.path.exists(name)
        if is_song and self.get_command(ctx, name) is None:
            raise click.UsageError(
                f"{name} is no command. Did you mean this?\n\n  sksep separate {shlex.join(args)}"
            )
        return super().resolve_command(ctx, args)


class Command(_WithExamples):
    """A command that reports each error and each warning of the library in one line."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.params.append(
            click.Option(
                ["--traceback"],
                is_flag=True,
                envvar="SKSEP_TRACEBACK",
                show_envvar=True,
                help="Show the place in the code that an error came from.",
            )
        )

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command."""
        ctx.meta[__name__] = ctx.params.pop("traceback")
        _open_streams()
        with warnings.catch_warnings():
            warnings.showwarning = show_warning
            try:
                with _unwinding_signals() as received:
                    return super().invoke(ctx)
            except BrokenPipeError:  # as in sksep models | head; click ends silently
                raise
            except (ValueError, TypeError, OSError) as error:
                raise click.ClickException(describe(error)) from error
            except KeyboardInterrupt:
                click.echo("Interrupted.", err=True)
                number = received[0] if received else signal.SIGINT
                raise click.exceptions.Exit(_ENDED + number) from None


def describe(error: Exception) -> str:
    """An error in one line. Its traceback is printed if the user asked for it."""
    if wants_traceback():
        traceback.print_exception(error)
    return one_line(error)


def wants_traceback() -> bool:
    """Whether the user asked for tracebacks."""
    return bool(click.get_current_context().meta[__name__])


def one_line(error: Exception) -> str:
    """The message of an error in one line."""
    return " ".join(str(error).split()) or type(error).__name__


def _open_streams() -> None:
    """Open standard streams that are closed, as by ``2>&-``, and let them print any file name.

    Otherwise the next file to be opened would get the number of the stream, and what libraries in C
    print would be written into it.
    """
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # it gets the lowest number that is free
        if getattr(sys, name) is None:
            nowhere = open(os.devnull, "r+", encoding="utf-8")  # noqa: SIM115, stays open
            setattr(sys, name, nowhere)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


@contextmanager
def _unwinding_signals() -> Iterator[list[int]]:
    """Raise KeyboardInterrupt for all signals that end a command, so that it removes its files.

    Signals that are ignored, as those of `nohup` are, stay so. The list takes the signals.
    """
    received: list[int] = []

    def end(number: int, frame: FrameType | None) -> None:
        if _is_called_from_c(frame):  # where the exception would be lost
            again = threading.Timer(0.01, os.kill, (os.getpid(), number))
            again.daemon = True
            again.start()
            return
        is_ending = bool(received)
        received.append(number)
        if number not in (signal.SIGINT, signal.SIGTERM):
            _discard_terminal_output()
        if number == signal.SIGINT or not is_ending:
            raise KeyboardInterrupt

    numbers = [getattr(signal, name) for name in _ENDING if hasattr(signal, name)]
    previous = {number: signal.getsignal(number) for number in numbers}
    usual = (signal.SIG_DFL, signal.default_int_handler)
    is_main = threading.current_thread() is threading.main_thread()
    replaced = [number for number in numbers if is_main and previous[number] in usual]
    try:
        for number in replaced:
            signal.signal(number, end)
        yield received
    finally:
        for number in replaced:
            signal.signal(number, previous[number])


def _is_called_from_c(frame: FrameType | None) -> bool:
    """Whether the code is a part of a function by which libsndfile reads a file."""
    while frame is not None:
        if frame.f_code.co_name.startswith("vio_"):
            return True
        frame = frame.f_back
    return False


def _discard_terminal_output() -> None:
    """Write to nowhere what would go to a terminal that is gone, which would be an error."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, or not a file
            if os.isatty(stream.fileno()):
                nothing = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nothing, stream.fileno())
                os.close(nothing)


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Drop what libraries in C write to the standard error, such as notes of the MP3 decoder.

    What Python writes there, also from other threads, still arrives.
    """
    stderr = sys.stderr
    try:
        is_usual = stderr.fileno() == 2
        saved = os.dup(2)
    except (OSError, ValueError, AttributeError):  # closed, or not a file
        yield
        return
    with open(saved, "w", encoding=stderr.encoding, errors=stderr.errors, buffering=1) as copy:
        stderr.flush()
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 2)
        os.close(nothing)
        if is_usual:
            sys.stderr = copy
        try:
            yield
        finally:
            copy.flush()
            sys.stderr = stderr
            os.dup2(copy.fileno(), 2)


@contextmanager
def plain_output() -> Iterator[None]:
    """Leave out the colors and the progress bars of libraries, unless a terminal shows them."""
    with ExitStack() as stack:
        if not sys.stdout.isatty() or os.environ.get("NO_COLOR"):
            stack.enter_context(redirect_stdout(_Plain(sys.stdout)))
        if not sys.stderr.isatty():
            stack.enter_context(redirect_stderr(_Plain(sys.stderr)))
        yield


class _Plain(io.StringIO):
    """A stream without the codes of colors, and without lines that replace each other."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def write(self, text: str) -> int:
        """Write a text."""
        return 0 if text.startswith("\r") else self._stream.write(click.unstyle(text))

    def flush(self) -> None:
        """Show what was written."""
        self._stream.flush()


def show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """Print a warning in one line."""
    print(f"Warning: {message}", file=file or sys.stderr)
