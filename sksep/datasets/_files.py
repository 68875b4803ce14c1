"""Loading pools of unpaired recordings."""

from __future__ import annotations

import os
import re
from pathlib import Path

import numpy as np
from sklearn.utils import Bunch

from sksep.datasets._bunch import artist_of, data_folder
from sksep.utils._choices import AUDIO_SUFFIXES
from sksep.utils._files import natural_key

_DESCRIPTION = """\
Recordings of {path}
{count} audio files that belong to no track: vocals alone, or music alone.
"""


def load_files(
    path: str | os.PathLike[str], pattern: str = "*", *, group_pattern: str | None = None
) -> Bunch:
    r"""List the audio files of a folder: vocals alone, or music without vocals.

    Such recordings have no counterpart to be mixed with; `remix` and a separator's training
    combine them with any other.

    Parameters
    ----------
    path : str or path-like
        Folder with the files.
    pattern : str, default="*"
        Glob pattern of the files; ``"**/*"`` searches the folders inside too. Files without an
        audio suffix are skipped.
    group_pattern : str, default=None
        Regular expression searched in the file name without suffix; the match (its first group if
        it has one) is the file's group. If it is None or does not match, the group is the part
        before " - " or "_-_", or else the whole name.

    Returns
    -------
    Bunch
        - paths : list of str
        - track_names : list of str, the file names without suffix
        - groups : ndarray of shape (n_files,), such as the singers; keep each in one split
        - skipped : list of str, the other files that match the pattern
        - DESCR : str

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or no matching audio file in it.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from sksep.datasets import load_files
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("choir_-_Alto-1_a.wav", "choir_-_Alto-2_a.wav", "Solo - b.flac", "x.txt"):
    ...         Path(folder, name).touch()
    ...     takes = load_files(folder, group_pattern=r"Alto-\d")
    >>> takes.track_names
    ['choir_-_Alto-1_a', 'choir_-_Alto-2_a', 'Solo - b']
    >>> list(map(str, takes.groups))
    ['Alto-1', 'Alto-2', 'Solo']
    >>> [Path(path).name for path in takes.skipped]
    ['x.txt']
    """
    remedy = f"It should hold audio files ({', '.join(sorted(AUDIO_SUFFIXES))})."
    folder = data_folder(path, (), remedy)
    found = [file for file in folder.glob(pattern) if not file.name.startswith(".")]
    files = [file for file in found if file.suffix.lower() in AUDIO_SUFFIXES]
    others = {*found} - {*files}
    if not files:
        raise FileNotFoundError(f"{str(folder)!r} has no files {pattern!r}. {remedy}")
    files.sort(key=lambda file: (str(file.parent), natural_key(file)))
    return Bunch(
        paths=[os.fspath(file) for file in files],
        track_names=[file.stem for file in files],
        groups=np.array([_group_of(file, group_pattern) for file in files]),
        skipped=sorted(os.fspath(file) for file in others if file.is_file()),
        DESCR=_DESCRIPTION.format(path=folder, count=len(files)),
    )


def _group_of(file: Path, group_pattern: str | None) -> str:
    match = re.search(group_pattern, file.stem) if group_pattern else None
    if match is None:
        return artist_of(file.stem)
    return match.group(1) if match.re.groups and match.group(1) is not None else match.group()
