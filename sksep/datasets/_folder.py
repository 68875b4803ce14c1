"""Loading a folder of songs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from sklearn.utils import Bunch

from sksep.datasets._bunch import (
    artist_of,
    audio_files,
    data_folder,
    find_stem,
    make_bunch,
    source,
    subfolders,
)
from sksep.datasets._target import StemTrack, Target, name_of

_DESCRIPTION = """\
Songs of {path}
Mixtures and stems of {count} tracks; the stem to extract is {target}.
"""


def load_folder(
    path: str | os.PathLike[str],
    *,
    target: Target = "vocals",
    vocals: str = "vocals",
    accompaniment: str | Sequence[str] = "accompaniment",
    mixture: str = "mixture",
    split: str | None = None,
    as_arrays: bool = False,
    sample_rate: int | None = None,
) -> Bunch:
    """Load songs that lie in one folder per track.

    ::

        path/
            Artist - Title/            or, with parts:    path/train/Artist - Title/
                vocals.wav
                accompaniment.wav
                mixture.wav            (optional)

    Files may have any audio suffix (WAV, FLAC, OGG, MP3, ...) and upper or lower case names. The
    mixture is its file, or else the sum of the stems. Folders without audio files are ignored.

    Parameters
    ----------
    path : str or path-like
        Folder that holds the track folders, or folders of them such as ``train`` and ``test``.
    target : str or callable, default="vocals"
        Stem to extract: "vocals", one of the names of `accompaniment`, or the name of another file
        of each track, such as a part of the accompaniment. A function gets a dict of the recordings
        of a track (lower-case names and `AudioSource`) and returns one, such as
        ``AudioSource((*stems["drums"].paths, *stems["bass"].paths))`` for a sum.
    vocals : str, default="vocals"
        Name of the vocals file, without suffix.
    accompaniment : str or sequence of str, default="accompaniment"
        Name of the accompaniment file, or names of the files whose sum it is, such as
        ``("drums", "bass", "other")``. Vocals and accompaniment are the stems, which add up to the
        mixture. A track with a mixture needs only the file of the target; its residual is then
        None, or mixture - target with `as_arrays`.
    mixture : str, default="mixture"
        Name of the mixture file.
    split : str, default=None
        Name of the only part to load, for example ``"train"``. None loads all parts.
    as_arrays : bool, default=False
        Whether to read the files into float32 arrays. Otherwise the Bunch names the files.
    sample_rate : int, default=None
        Rate in Hz to which arrays are resampled; None keeps the files' common rate.

    Returns
    -------
    Bunch
        - mixtures, targets, residuals : list of `AudioSource`, or of float32 ndarray of shape
          (n_samples,) or (n_channels, n_samples); the residual is the mixture without the target
        - vocals, accompaniments : targets and residuals again, if `target` is "vocals"
        - stems : list of dict, all stems of each track by name
        - target_name : str
        - track_names : list of str, the folder names
        - groups : ndarray of shape (n_tracks,), the artist: the part of the folder name before
          " - " or "_-_", or else the whole name
        - split : ndarray of shape (n_tracks,), the part's folder name; None if there are no parts
        - sample_rate : int in Hz of arrays, None for files
        - DESCR : str

    Raises
    ------
    FileNotFoundError
        If there is no such folder, or no track in it.
    ValueError
        If a track lacks a stem or has it twice, if rates differ and `sample_rate` is None, or if
        `sample_rate` is given without `as_arrays`.

    See Also
    --------
    load_files : Load vocals or music that belong to no track.

    Examples
    --------
    >>> import tempfile, soundfile
    >>> from pathlib import Path
    >>> from sksep.datasets import load_folder, make_songs
    >>> song = make_songs(1, duration=1.0, random_state=0)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     track = Path(folder, "Some Band - Some Song")
    ...     track.mkdir()
    ...     soundfile.write(track / "vocals.wav", song.vocals[0], 16000)
    ...     soundfile.write(track / "accompaniment.wav", song.accompaniments[0], 16000)
    ...     songs = load_folder(folder)
    ...     arrays = load_folder(folder, as_arrays=True, sample_rate=8000)
    >>> songs.track_names, songs.groups
    (['Some Band - Some Song'], array(['Some Band'], dtype='<U9'))
    >>> arrays.mixtures[0].shape
    (8000,)
    """
    names = (accompaniment,) if isinstance(accompaniment, str) else tuple(accompaniment)
    remedy = (
        f"Put every song into a folder of its own, TRACK/{vocals}.wav and "
        + " and ".join(f"TRACK/{name}.wav" for name in names)
        + ", below the folder that you load."
    )
    folder = data_folder(path, (), remedy)
    tracks = find_stem_tracks(folder, vocals, names, mixture, target)
    if split is not None:
        parts = sorted({track.split for track in tracks if track.split is not None})
        tracks = [track for track in tracks if track.split == split]
        if not tracks:
            raise ValueError(f"{str(folder)!r} has no part {split!r}; it has {parts}.")
    if not tracks:
        raise FileNotFoundError(f"{str(folder)!r} holds no tracks. {remedy}")
    description = _DESCRIPTION.format(path=folder, count=len(tracks), target=name_of(target))
    return make_bunch(
        tracks, description, target=target, as_arrays=as_arrays, sample_rate=sample_rate
    )


def find_stem_tracks(
    folder: Path, vocals: str, accompaniment: Sequence[str], mixture: str, target: Target
) -> list[StemTrack]:
    """Tracks in the folders of `folder`, and in the folders of those."""
    names = (vocals, accompaniment, mixture, target)
    tracks = []
    for child in subfolders(folder):
        if audio_files(child):
            tracks.append(read_stem_track(child, None, *names))
            continue
        for grandchild in subfolders(child):
            if audio_files(grandchild):
                tracks.append(read_stem_track(grandchild, child.name, *names))
    return tracks


def read_stem_track(
    folder: Path,
    split: str | None,
    vocals: str,
    accompaniment: Sequence[str],
    mixture: str,
    target: Target,
) -> StemTrack:
    """The track in a folder that holds at least one audio file."""
    files = audio_files(folder)
    file_names = {"vocals": vocals, **{name: name for name in accompaniment}}
    found = {stem: find_stem(files, name) for stem, name in file_names.items()}
    stems = {stem: source(path) for stem, path in found.items() if path is not None}
    whole = find_stem(files, mixture)
    missing = [] if whole is not None else [file_names[stem] for stem in found if not found[stem]]
    taken = {name.lower() for name in (mixture, *file_names.values())}
    others = {name: paths for name, paths in files.items() if name not in taken}
    if isinstance(target, str):
        others = {target: files.get(target.lower(), [])} if target not in found else {}
        needed = file_names.get(target, target)
        is_sum = target == "accompaniment" and len(stems) == len(found)
        if not (target in stems or others.get(target) or is_sum or needed in missing):
            missing = [needed, *missing]
    if missing:
        present = ", ".join(path.name for paths in files.values() for path in paths)
        raise ValueError(
            f"The track {str(folder)!r} has no {' and no '.join(missing)} among its files "
            f"({present}). Add or rename the file, or name the stems in the call."
        )
    return StemTrack(
        name=folder.name,
        group=artist_of(folder.name),
        split=split,
        mixture=source(*(path for path in found.values() if path))
        if whole is None
        else source(whole),
        stems=stems,
        is_complete=len(stems) == len(found),
        others={name: source(path) for name in others if (path := find_stem(files, name))},
    )
