"""Files that are written whole or not at all."""

import errno
import os
import re
import time

import pytest

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


def test_leftovers_are_removed_in_time(tmp_path):
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
