"""Files that are written whole or not at all, and the order of files."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import sys
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

if sys.platform != "win32":
    import fcntl

# Unfinished files lie beside NAME and are called `.NAME.HEX.unfinished`, unlike files of the user.
# In place of a long NAME there is a digest.
_UNFINISHED = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{32}\.unfinished")
# If files cannot be locked, older ones were left behind by a process that was killed.
_SECONDS_TO_FINISH = 24 * 3600.0
# In bytes. File systems allow 255, of which the other parts of the name take 45.
_LONGEST_NAME = 200
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
    temporaries = [
        path.with_name(f".{_short(path.name)}.{uuid.uuid4().hex}.unfinished") for path in paths
    ]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            os.lstat(path)  # a name that is too long is found now, and not when all is written
    with ExitStack() as locks:
        try:
            with _naming(paths[0]):
                for temporary in temporaries:
                    locks.enter_context(_being_written(temporary))
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
    """Remove what writers that were killed have left in a folder.

    Files of writers that are alive stay: writers hold a lock, which ends with their process. If
    files cannot be locked, those that are older than a day are removed.

    Parameters
    ----------
    folder : Path
        A folder, which need not exist.
    names : str
        Names that the files would have when finished. Without any, all of them are removed.
    """
    for path in folder.glob(".*.unfinished"):
        match = _UNFINISHED.fullmatch(path.name)
        if match and (not names or match["name"] in map(_short, names)):
            # Another process has finished or removed it, or it belongs to another user.
            with suppress(FileNotFoundError, PermissionError):
                if _is_abandoned(path):
                    path.unlink()


def _short(name: str) -> str:
    """The name, or a digest of it if a longer one would not be allowed."""
    encoded = os.fsencode(name)
    return name if len(encoded) <= _LONGEST_NAME else hashlib.sha256(encoded).hexdigest()


def final_name(name: str) -> str:
    """Name that an unfinished file gets when it is finished; other names stay as they are.

    Long names are not known.
    """
    match = _UNFINISHED.fullmatch(name)
    return match["name"] if match else name


def in_order(content: bytes) -> bytes:
    """The same safetensors file with the keys of its header in alphabetical order.

    The order that the library gives them changes from file to file, though the data do not.
    """
    stop = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(json.loads(content[8:stop]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # tensors begin at multiples of 8 bytes
    return b"".join([len(header).to_bytes(8, "little"), header, memoryview(content)[stop:]])


def exists_error(path: Path) -> FileExistsError:
    """The error for a file that must not be replaced."""
    return FileExistsError(f"{path} exists; choose another name, or set overwrite=True.")


@contextmanager
def _being_written(path: Path) -> Iterator[None]:
    """Create a file and lock it."""
    if sys.platform == "win32":  # an open file could not be renamed
        yield
        return
    while True:
        with path.open("xb") as file:
            _lock(file)
            # Another process may have taken it for abandoned before it was locked.
            if os.fstat(file.fileno()).st_nlink:
                yield
                return


def _lock(file: BinaryIO, *, wait: bool = True) -> bool:
    """Lock a file until it is closed; False if its file system has no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        raise
    except OSError:
        return False
    return True


def _is_abandoned(path: Path) -> bool:
    """Whether the writer of an unfinished file is gone."""
    if sys.platform != "win32":
        with path.open("r+b") as file:
            try:
                if _lock(file, wait=False):
                    return True
            except BlockingIOError:
                return False
    return time.time() - path.stat().st_mtime > _SECONDS_TO_FINISH


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
    """Give files their names. Without `overwrite`, all of them get theirs or none does."""
    moved: list[Path] = []
    try:
        for temporary, path in zip(temporaries, paths, strict=True):
            if overwrite:
                os.replace(temporary, path)
                continue
            try:
                _link(temporary, path)
            except FileExistsError:
                raise exists_error(path) from None
            moved.append(path)
    except BaseException:
        for path in moved:
            path.unlink(missing_ok=True)
        raise


def _link(temporary: Path, path: Path) -> None:
    """Give a file a second name that must be free."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links
        path.open("xb").close()
        os.replace(temporary, path)
        temporary.touch()  # for whoever removes it


def natural_key(path: Path) -> list[Any]:
    """Sorting key under which track 10 comes after track 9."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name.lower())]
