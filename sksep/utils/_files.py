"""Files that are written whole or not at all."""

from __future__ import annotations

import errno
import os
import re
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

# Unfinished files lie beside NAME and are called `.NAME.HEX.unfinished`, unlike files of the user.
_UNFINISHED = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{32}\.unfinished")
# Unfinished files that are older were left behind by a process that was killed.
_SECONDS_TO_FINISH = 24 * 3600.0
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def whole_files(paths: Sequence[Path], *, overwrite: bool = True) -> Iterator[list[Path]]:
    """Write files that appear together when the ``with`` block ends, or not at all.

    Parameters
    ----------
    paths : sequence of Path
        The files. Missing folders are created.
    overwrite : bool, default=True
        Whether existing files are replaced. They stay as they are until the block ends.

    Yields
    ------
    list of Path
        Temporary files to write instead, each in the folder of its file. They are removed if the
        block raises an exception.

    Raises
    ------
    FileExistsError
        If a file exists when the block ends and `overwrite` is False.
    OSError
        If the disk is full. The error names the file.
    """
    temporaries = [path.with_name(f".{path.name}.{uuid.uuid4().hex}.unfinished") for path in paths]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with _naming(paths[0]):
            yield temporaries
        for path, temporary in zip(paths, temporaries, strict=True):
            with _naming(path), temporary.open("r+b") as file:
                os.fsync(file.fileno())  # some file systems report only here that they are full
        _move(temporaries, paths, overwrite)
    finally:
        for temporary in temporaries:
            temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: str | bytes | memoryview, *, overwrite: bool = True) -> None:
    """Write text or bytes into one file, see `whole_files`. Line ends are kept as they are."""
    if isinstance(content, str):
        content = content.encode()
    with whole_files([path], overwrite=overwrite) as (temporary,):
        temporary.write_bytes(content)


def remove_unfinished(folder: Path, *names: str) -> None:
    """Remove files that processes left unfinished in a folder more than a day ago.

    Parameters
    ----------
    folder : Path
        A folder, which need not exist.
    names : str
        Names that the files would have when finished. Without any, all of them are removed.
    """
    for path in folder.glob(".*.unfinished"):
        match = _UNFINISHED.fullmatch(path.name)
        if match and (not names or match["name"] in names):
            with suppress(FileNotFoundError):  # another process has finished or removed it
                if time.time() - path.stat().st_mtime > _SECONDS_TO_FINISH:
                    path.unlink()


def final_name(name: str) -> str:
    """Name that an unfinished file gets when it is finished; other names stay as they are."""
    match = _UNFINISHED.fullmatch(name)
    return match["name"] if match else name


def exists_error(path: Path) -> FileExistsError:
    """The error for a file that must not be replaced."""
    return FileExistsError(f"{path} exists; choose another name, or set overwrite=True.")


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Name the file in the errors of a full disk."""
    try:
        yield
    except OSError as error:
        if error.errno in _NO_ROOM:
            raise OSError(
                f"{path} could not be written, since the disk has no room for it. Make room, or "
                "choose another folder."
            ) from error
        raise


def _move(temporaries: Sequence[Path], paths: Sequence[Path], overwrite: bool) -> None:
    """Give files their names. Without `overwrite`, all names are claimed before any is used."""
    claimed: list[Path] = []
    try:
        for path in () if overwrite else paths:
            try:
                path.open("x").close()
            except FileExistsError:
                raise exists_error(path) from None
            claimed.append(path)
        for temporary, path in zip(temporaries, paths, strict=True):
            os.replace(temporary, path)
    except BaseException:
        for path in claimed:
            path.unlink(missing_ok=True)
        raise
