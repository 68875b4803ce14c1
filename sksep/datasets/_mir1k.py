"""Loading MIR-1K."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.utils import Bunch

from sksep.audio._track import AudioSource
from sksep.datasets._bunch import (
    audio_files,
    check_not_empty,
    check_subset,
    data_folder,
    make_bunch,
)
from sksep.datasets._target import StemTrack, Target
from sksep.utils._arrays import BoolArray
from sksep.utils._files import natural_key

_TRAINING_SINGERS = ("abjones", "amy")
_LABEL_FOLDERS = ("labels", "vocal-nonvocalLabel")
_REMEDY = (
    "Get MIR-1K from http://mirlab.org/dataset/public/MIR-1K.zip and pass the path of the "
    "unpacked folder (which holds Wavfile/ and vocal-nonvocalLabel/), or keep it as mir1k/ in the "
    "folder that SKSEP_DATA_HOME names."
)
_DESCRIPTION = """\
MIR-1K
======
Clips of Chinese popular songs by amateur singers over karaoke accompaniment, 16 kHz: left channel
accompaniment, right channel vocals; the mixture is their sum. The published protocol trains on the
singers abjones and amy (175 clips) and tests on the other 17 (825 clips). For research use.

C.-L. Hsu and J.-S. R. Jang, "On the improvement of singing voice separation for monaural
recordings using the MIR-1K dataset", IEEE Transactions on Audio, Speech, and Language Processing
18(2), 2010.
"""


def load_mir1k(
    path: str | os.PathLike[str] | None = None,
    *,
    target: Target = "vocals",
    subset: str = "train",
    labels: bool = False,
    as_arrays: bool = False,
    sample_rate: int | None = None,
) -> Bunch:
    """Load MIR-1K, short clips of amateur singers [1]_.

    Parameters
    ----------
    path : str or path-like, default=None
        Folder of the data set as distributed (``Wavfile/`` and ``vocal-nonvocalLabel/``), or with
        the clips directly in it and the labels in ``labels/``; WAV or FLAC. None looks for
        ``mir1k`` or ``MIR-1K`` in the folder that the environment variable SKSEP_DATA_HOME names.
    target : {"vocals", "accompaniment"} or callable, default="vocals"
        Stem to extract. A function gets a dict of both stems of a clip and returns a recording.
    subset : {"train", "test", "all"}, default="train"
        The published protocol trains on the singers abjones and amy and tests on the others.
    labels : bool, default=False
        Whether to load the labels too. They say in which frames the voice sings.
    as_arrays : bool, default=False
        Whether to read the clips into float32 arrays. Otherwise the Bunch names their files.
    sample_rate : int, default=None
        Rate in Hz to which arrays are resampled; None keeps 16 kHz.

    Returns
    -------
    Bunch
        - mixtures, targets, residuals : list of `AudioSource`, or of float32 ndarray of shape
          (n_samples,), mono; the residual is the mixture without the target
        - vocals, accompaniments : targets and residuals again, if `target` is "vocals"
        - stems : list of dict, all stems of each track by name
        - target_name : str
        - track_names : list of str, such as ``"amy_1_01"``
        - groups : ndarray of shape (n_tracks,), the singer
        - split : ndarray of shape (n_tracks,), "train" or "test"
        - sample_rate : int in Hz of arrays, None for files
        - DESCR : str
        - vocal_activity : list of bool ndarray of shape (n_frames,), True where the voice sings;
          only with `labels`
        - label_hop : float, seconds from one label to the next (each covers 40 ms); only with
          `labels`

    Raises
    ------
    FileNotFoundError
        If the data set is missing. The message says where to get it.
    ValueError
        If `subset` or `target` is unknown, or `sample_rate` is given without `as_arrays`.

    References
    ----------
    .. [1] C.-L. Hsu and J.-S. R. Jang, "On the improvement of singing voice separation for
       monaural recordings using the MIR-1K dataset", IEEE Transactions on Audio, Speech, and
       Language Processing, 18(2), 2010.

    Examples
    --------
    >>> from sksep.datasets import load_mir1k
    >>> clips = load_mir1k("MIR-1K", subset="test")  # doctest: +SKIP
    >>> len(clips.mixtures)  # doctest: +SKIP
    825
    """
    check_subset(subset)
    folder = data_folder(path, ("mir1k", "MIR-1K"), _REMEDY)
    if (folder / "MIR-1K").is_dir():
        folder = folder / "MIR-1K"
    clip_folder = folder / "Wavfile" if (folder / "Wavfile").is_dir() else folder
    tracks = []
    files = [paths[0] for paths in audio_files(clip_folder).values()]
    for file in sorted(files, key=natural_key):
        match = re.fullmatch(r"(.+)_\d+_\d+", file.stem)
        if match is None:
            continue
        singer = match.group(1)
        split = "train" if singer.lower() in _TRAINING_SINGERS else "test"
        if subset in (split, "all"):
            tracks.append(_make_track(file, singer, split))
    check_not_empty(tracks, clip_folder, subset, _REMEDY)
    more: dict[str, Any] = {}
    if labels:
        label_folder = next((folder / n for n in _LABEL_FOLDERS if (folder / n).is_dir()), folder)
        more["vocal_activity"] = [_read_labels(label_folder, track.name) for track in tracks]
        more["label_hop"] = 0.02
    return make_bunch(
        tracks, _DESCRIPTION, target=target, as_arrays=as_arrays, sample_rate=sample_rate, **more
    )


def _make_track(file: Path, singer: str, split: str) -> StemTrack:
    def channels(left: float, right: float) -> AudioSource:
        return AudioSource((os.fspath(file),), channel_gains=((left, right),))

    return StemTrack(
        name=file.stem,
        group=singer,
        split=split,
        mixture=channels(1.0, 1.0),
        stems={"vocals": channels(0.0, 1.0), "accompaniment": channels(1.0, 0.0)},
    )


def _read_labels(folder: Path, name: str) -> BoolArray:
    file = folder / f"{name}.vocal"
    if not file.is_file():
        raise FileNotFoundError(
            f"The labels of {name} are missing: there is no file {str(file)!r}. Restore it, or "
            "load without labels."
        )
    return np.array(file.read_text(encoding="ascii").split(), dtype=int).astype(bool)
