"""Files that are written whole or not at all."""

import errno
import os
import re
import subprocess
import sys
import time

import pytest

from sksep.utils import _files
from sksep.utils._files import final_name, remove_unfinished, whole_files, write_whole


def names_in(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_content_and_mode(tmp_path):
    write_whole(tmp_path / "new" / "a.txt", "é\r\n")
    write_whole(tmp_path / "b.bin", memoryview(b"\0\1"))
    assert (tmp_path / "new" / "a.txt").read_bytes() == b"\xc3\xa9\r\n"
    assert (tmp_path / "b.bin").read_bytes() == b"\0\1"
    # An ordinary new file has the same permissions, those that the umask allows.
    (tmp_path / "ordinary").touch()
    assert (tmp_path / "b.bin").stat().st_mode == (tmp_path / "ordinary").stat().st_mode
    assert names_in(tmp_path) == ["a.txt", "b.bin", "ordinary"]


def test_several_files_appear_together(tmp_path):
    paths = [tmp_path / name for name in ("a", "b")]
    with whole_files(paths) as temporaries:
        for temporary in temporaries:
            temporary.write_text("new")
            assert temporary.parent == tmp_path
            assert re.fullmatch(r"\.[ab]\.[0-9a-f]{32}\.unfinished", temporary.name)
        assert [final_name(temporary.name) for temporary in temporaries] == ["a", "b"]
        assert not any(path.exists() for path in paths)
    assert names_in(tmp_path) == ["a", "b"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_keeps_the_old_files(tmp_path, error):
    paths = [tmp_path / name for name in ("a", "b")]
    paths[0].write_text("old")
    with pytest.raises(error), whole_files(paths) as temporaries:
        temporaries[0].write_text("new")
        raise error
    assert names_in(tmp_path) == ["a"] and paths[0].read_text() == "old"


@pytest.mark.parametrize("existing", ["a", "b"])
def test_a_file_that_appears_meanwhile_is_kept(tmp_path, existing):
    paths = [tmp_path / name for name in ("a", "b")]
    with (
        pytest.raises(FileExistsError, match=f"{existing} exists.*overwrite=True"),
        whole_files(paths, overwrite=False) as temporaries,
    ):
        for temporary in temporaries:
            temporary.write_text("new")
        (tmp_path / existing).write_text("old")
    assert names_in(tmp_path) == [existing] and (tmp_path / existing).read_text() == "old"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named(tmp_path, monkeypatch, number):
    def full(_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"b\.txt could not be written.*Make room"):
        write_whole(tmp_path / "b.txt", "text")
    assert names_in(tmp_path) == []


def test_a_disk_that_is_full_while_writing(tmp_path):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
    try:
        with pytest.raises(OSError, match=r"b\.txt could not be written.*Make room"):
            write_whole(tmp_path / "b.txt", "text" * 1000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert names_in(tmp_path) == []


def test_other_errors_pass(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError, match="File exists"):
        write_whole(tmp_path / "file" / "b.txt", "text")
    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path, "text")


def killed_writer(path):
    """Start to write a file in a process that is killed meanwhile."""
    code = (
        "import os, signal, sys, pathlib\n"
        "from sksep.utils._files import whole_files\n"
        "with whole_files([pathlib.Path(sys.argv[1])]) as (temporary,):\n"
        "    temporary.write_text('half')\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=False)


@pytest.mark.skipif(sys.platform == "win32", reason="no locks")
def test_leftovers_of_killed_writers_are_removed_at_once(tmp_path):
    killed_writer(tmp_path / "a.txt")
    killed_writer(tmp_path / "b.txt")
    assert len(names_in(tmp_path)) == 2 and all(name[0] == "." for name in names_in(tmp_path))
    with whole_files([tmp_path / "a.txt"]) as (temporary,):
        remove_unfinished(tmp_path, "a.txt")  # not what is being written
        assert len(names_in(tmp_path)) == 2 and temporary.exists()
        remove_unfinished(tmp_path)
        assert names_in(tmp_path) == [temporary.name]
    assert names_in(tmp_path) == ["a.txt"]


def test_a_name_is_claimed_without_links(tmp_path, monkeypatch):
    def no_links(*_):
        raise OSError(errno.EPERM, "no links")

    monkeypatch.setattr(os, "link", no_links)
    write_whole(tmp_path / "a", "text", overwrite=False)
    assert (tmp_path / "a").read_text() == "text" and names_in(tmp_path) == ["a"]
    with pytest.raises(FileExistsError, match=r"a exists.*overwrite=True"):
        write_whole(tmp_path / "a", "new", overwrite=False)
    assert (tmp_path / "a").read_text() == "text" and names_in(tmp_path) == ["a"]


def test_leftovers_are_removed_in_time(tmp_path, monkeypatch):
    monkeypatch.setattr(_files, "_lock", lambda *_, **__: False)  # as on some file systems
    hexadecimal = "0123456789abcdef" * 2
    old = [f".{name}.{hexadecimal}.unfinished" for name in ("a.txt", "b.txt")]
    kept = [f".a.txt.{hexadecimal[::-1]}.unfinished", ".notes.unfinished", "a.unfinished"]
    yesterday = time.time() - 25 * 3600
    for name in [*old, *kept]:
        (tmp_path / name).touch()
        if name != kept[0]:
            os.utime(tmp_path / name, (yesterday, yesterday))
    remove_unfinished(tmp_path, "a.txt")
    assert names_in(tmp_path) == sorted([old[1], *kept])
    remove_unfinished(tmp_path)
    assert names_in(tmp_path) == sorted(kept)
    remove_unfinished(tmp_path / "missing")
