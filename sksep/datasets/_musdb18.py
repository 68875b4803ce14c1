"""Loading MUSDB18."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import soundfile
from sklearn.utils import Bunch

from sksep.datasets._bunch import (
    audio_files,
    check_not_empty,
    check_subset,
    data_folder,
    make_bunch,
    subfolders,
)
from sksep.datasets._folder import read_stem_track
from sksep.datasets._target import StemTrack, Target
from sksep.utils._files import natural_key

_STEM_SUFFIX = ".stem.mp4"
_STREAMS = ("mixture", "drums", "bass", "other", "vocals")  # streams of a .stem.mp4, in this order
_REMEDY = (
    "Get MUSDB18 or MUSDB18-HQ from https://sigsep.github.io/datasets/musdb.html and pass the path "
    "of the unpacked folder (which holds train/ and test/), or keep it as musdb18/ in the folder "
    "that SKSEP_DATA_HOME names."
)
_DESCRIPTION = """\
MUSDB18
=======
150 songs of many genres, 44.1 kHz stereo, with stems: 100 for training and 50 for testing (a
7-second excerpt of each in the sample of the data set). The accompaniment is the sum of drums,
bass and other. Mostly CC BY-NC-SA, for educational use.

Z. Rafii, A. Liutkus, F.-R. Stöter, S. I. Mimilakis and R. Bittner, "The MUSDB18 corpus for music
separation", 2017, doi:10.5281/zenodo.1117372.
"""


def load_musdb18(
    path: str | os.PathLike[str] | None = None,
    *,
    target: Target = "vocals",
    subset: str = "train",
    decode_to: str | os.PathLike[str] | None = None,
    as_arrays: bool = False,
    sample_rate: int | None = None,
) -> Bunch:
    """Load MUSDB18, 150 songs with stems [1]_.

    Parameters
    ----------
    path : str or path-like, default=None
        Folder that holds ``train/`` and ``test/``, and in these one folder per track (with
        ``vocals`` and either ``accompaniment`` or ``drums``, ``bass`` and ``other``; a ``mixture``
        is used if there is one; WAV, FLAC or OGG), as in MUSDB18-HQ, or one ``.stem.mp4`` file
        per track, as in MUSDB18. None looks for ``musdb18``, ``musdb18hq`` or ``musdb18-7s`` in the
        folder that the environment variable SKSEP_DATA_HOME names.
    target : {"vocals", "drums", "bass", "other", "accompaniment"} or callable, default="vocals"
        Stem to extract. A function gets a dict of the stems of a track (names and `AudioSource`)
        and returns one recording, such as ``AudioSource((*stems["drums"].paths,
        *stems["bass"].paths))`` for a sum.
    subset : {"train", "test", "all"}, default="train"
        Part of the data set.
    decode_to : str or path-like, default=None
        Folder into which ``.stem.mp4`` files are decoded, as WAV. A track that is there already is
        not decoded again. The full data set takes about 64 GB. Decoding needs ffmpeg and the extra
        ``musdb`` (``pip install "sksep[musdb]"``).
    as_arrays : bool, default=False
        Whether to read the songs into float32 arrays. Otherwise the Bunch names their files.
    sample_rate : int, default=None
        Rate in Hz to which arrays are resampled; None keeps 44.1 kHz.

    Returns
    -------
    Bunch
        - mixtures, targets, residuals : list of `AudioSource`, or of float32 ndarray of shape
          (n_channels, n_samples); the residual is the mixture without the target
        - vocals, accompaniments : targets and residuals again, if `target` is "vocals"
        - stems : list of dict, all stems of each track by name
        - target_name : str
        - track_names : list of str
        - groups : ndarray of shape (n_tracks,), the artist
        - split : ndarray of shape (n_tracks,), "train" or "test"
        - sample_rate : int in Hz of arrays, None for files
        - DESCR : str

    Raises
    ------
    FileNotFoundError
        If the data set is missing. The message says where to get it.
    ImportError
        If ``.stem.mp4`` files are to be decoded without the extra ``musdb`` or without ffmpeg.
    ValueError
        If `subset` or `target` is unknown, a track lacks a stem, `decode_to` is needed, or
        `sample_rate` is given without `as_arrays`.

    References
    ----------
    .. [1] Z. Rafii, A. Liutkus, F.-R. Stöter, S. I. Mimilakis and R. Bittner, "The MUSDB18 corpus
       for music separation", 2017. https://doi.org/10.5281/zenodo.1117372

    Examples
    --------
    >>> from sksep.datasets import load_musdb18
    >>> songs = load_musdb18("musdb18hq", subset="test")  # doctest: +SKIP
    >>> len(songs.mixtures)  # doctest: +SKIP
    50
    """
    check_subset(subset)
    names = ("musdb18", "MUSDB18", "musdb18hq", "MUSDB18-HQ", "musdb18-7s", "MUSDB18-7")
    folder = data_folder(path, names, _REMEDY)
    tracks: list[StemTrack] = []
    for split in ("train", "test"):
        part = folder / split
        if subset not in (split, "all") or not part.is_dir():
            continue
        track_folders = [track for track in subfolders(part) if audio_files(track)]
        there = {track.name for track in track_folders}
        for file in sorted(part.glob("*" + _STEM_SUFFIX)):
            # An earlier call may have decoded the file into the data set itself.
            if _track_name(file) not in there:
                track_folders.append(_decode(file, split, decode_to))
        # The order does not depend on which files were decoded before.
        track_folders.sort(key=natural_key)
        tracks += [_read(track, split, target) for track in track_folders if audio_files(track)]
    check_not_empty(tracks, folder, subset, _REMEDY)
    return make_bunch(
        tracks, _DESCRIPTION, target=target, as_arrays=as_arrays, sample_rate=sample_rate
    )


def _read(folder: Path, split: str, target: Target) -> StemTrack:
    files = audio_files(folder)
    accompaniment: tuple[str, ...] = ("drums", "bass", "other")
    if "accompaniment" in files and not files.keys() >= set(accompaniment):
        accompaniment = ("accompaniment",)  # the sum alone, as smaller copies keep it
    return read_stem_track(folder, split, "vocals", accompaniment, "mixture", target)


def _track_name(file: Path) -> str:
    return file.name.removesuffix(_STEM_SUFFIX)


def _decode(file: Path, split: str, decode_to: str | os.PathLike[str] | None) -> Path:
    """Folder of the WAV files of a .stem.mp4, which is decoded unless this was done before."""
    if decode_to is None:
        raise ValueError(
            f"{str(file)!r} has to be decoded before it can be read: say into which folder with "
            "decode_to=, or use the WAV version of the data set (MUSDB18-HQ)."
        )
    folder = Path(decode_to).expanduser() / split / _track_name(file)
    if folder.is_dir():
        return folder
    try:
        import stempeg
    except (ImportError, RuntimeError) as error:  # stempeg raises RuntimeError without ffmpeg
        raise ImportError(
            'Decoding .stem.mp4 files needs ffmpeg and stempeg (pip install "sksep[musdb]"): '
            f"{error}"
        ) from error
    streams, rate = stempeg.read_stems(os.fspath(file), dtype="float32")
    folder.parent.mkdir(parents=True, exist_ok=True)
    # The folder gets its final name when it is complete: an interrupted run leaves no part of it.
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".decoding-") as unfinished:
        finished = Path(unfinished, folder.name)
        finished.mkdir()
        for name, samples in zip(_STREAMS, streams, strict=True):
            # The samples are floating point, since those of lossy files can exceed full scale.
            soundfile.write(finished / f"{name}.wav", samples, int(rate), subtype="FLOAT")
        shutil.move(finished, folder)
    return folder
