"""Loading DSD100."""

from __future__ import annotations

import os
import re

from sklearn.utils import Bunch

from sksep.datasets._bunch import (
    artist_of,
    audio_files,
    check_not_empty,
    check_subset,
    data_folder,
    find_stem,
    make_bunch,
    source,
    subfolders,
)
from sksep.datasets._target import StemTrack, Target

_STEMS = ("vocals", "bass", "drums", "other")
_SPLITS = {"Dev": "train", "Test": "test"}
_REMEDY = (
    "Get DSD100 from https://sigsep.github.io/datasets/dsd100.html and pass the path of the "
    "unpacked folder (which holds Mixtures/ and Sources/, each with Dev/ and Test/), or keep it as "
    "dsd100/ in the folder that SKSEP_DATA_HOME names."
)
_DESCRIPTION = """\
DSD100
======
100 songs of many genres, 44.1 kHz stereo, with stems: 50 of the Dev part (here "train") and 50 of
the Test part (here "test"), as used in SiSEC 2016. The accompaniment is the sum of bass, drums and
other. Test songs also occur in MUSDB18, 27 of them in its training part: do not test on DSD100
a model that was trained on MUSDB18. For educational, non-commercial use.

A. Liutkus et al., "The 2016 signal separation evaluation campaign", LVA/ICA, 2017.
"""


def load_dsd100(
    path: str | os.PathLike[str] | None = None,
    *,
    target: Target = "vocals",
    subset: str = "train",
    as_arrays: bool = False,
    sample_rate: int | None = None,
) -> Bunch:
    """Load DSD100, 100 songs with stems [1]_.

    Parameters
    ----------
    path : str or path-like, default=None
        Folder that holds ``Mixtures/{Dev,Test}`` and ``Sources/{Dev,Test}``. None looks for
        ``dsd100`` or ``DSD100`` in the folder that the environment variable SKSEP_DATA_HOME names.
    target : {"vocals", "drums", "bass", "other", "accompaniment"} or callable, default="vocals"
        Stem to extract. A function gets a dict of the stems of a track (names and `AudioSource`)
        and returns one recording, such as ``AudioSource((*stems["drums"].paths,
        *stems["bass"].paths))`` for a sum.
    subset : {"train", "test", "all"}, default="train"
        Part of the data set. Its own name of "train" is Dev.
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
        - track_names : list of str, such as ``"055 - Angels In Amplifiers - I'm Alright"``
        - groups : ndarray of shape (n_tracks,), the artist
        - split : ndarray of shape (n_tracks,), "train" or "test"
        - sample_rate : int in Hz of arrays, None for files
        - DESCR : str

    Raises
    ------
    FileNotFoundError
        If the data set or a file of a track is missing. The message says where to get it.
    ValueError
        If `subset` or `target` is unknown, or `sample_rate` is given without `as_arrays`.

    References
    ----------
    .. [1] A. Liutkus et al., "The 2016 signal separation evaluation campaign", LVA/ICA, 2017.

    Examples
    --------
    >>> from sksep.datasets import load_dsd100
    >>> songs = load_dsd100("DSD100", subset="test")  # doctest: +SKIP
    >>> len(songs.mixtures)  # doctest: +SKIP
    50
    """
    check_subset(subset)
    folder = data_folder(path, ("dsd100", "DSD100"), _REMEDY)
    tracks = []
    for part, split in _SPLITS.items():
        if subset not in (split, "all") or not (folder / "Mixtures" / part).is_dir():
            continue
        for track_folder in subfolders(folder / "Mixtures" / part):
            name = track_folder.name
            stem_folder = folder / "Sources" / part / name
            stems = audio_files(stem_folder) if stem_folder.is_dir() else {}
            paths = {stem: find_stem(stems, stem) for stem in _STEMS}
            mixture = find_stem(audio_files(track_folder), "mixture")
            found = {stem: source(path) for stem, path in paths.items() if path is not None}
            if mixture is None or len(found) < len(paths):
                raise FileNotFoundError(
                    f"The track {name!r} is incomplete: it needs {track_folder / 'mixture.wav'} "
                    f"and vocals, bass, drums and other in {stem_folder}. {_REMEDY}"
                )
            tracks.append(
                StemTrack(
                    name=name,
                    group=artist_of(re.sub(r"^\d+ - ", "", name)),
                    split=split,
                    mixture=source(mixture),
                    stems=found,
                )
            )
    check_not_empty(tracks, folder, subset, _REMEDY)
    return make_bunch(
        tracks, _DESCRIPTION, target=target, as_arrays=as_arrays, sample_rate=sample_rate
    )
