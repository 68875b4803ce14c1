"""Loading a folder of songs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from sklearn.utils import Bunch

from sksep.datasets._bunch import (
    StemTrack,
    artist_of,
    audio_files,
    data_folder,
    find_stem,
    make_bunch,
    source,
    subfolders,
)

_DESCRIPTION = """\
Songs of {path}
Vocals and accompaniment of {count} tracks.
"""


def load_folder(
    path: str | os.PathLike[str],
    *,
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
    vocals : str, default="vocals"
        Name of the vocals file, without suffix.
    accompaniment : str or sequence of str, default="accompaniment"
        Name of the accompaniment file, or names of the files whose sum it is, such as
        ``("drums", "bass", "other")``. If a track has a mixture but not these files, its
        accompaniment is None, or mixture - vocals with `as_arrays`.
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
        - mixtures, vocals, accompaniments : list of `AudioSource`, or of float32 ndarray of shape
          (n_samples,) or (n_channels, n_samples)
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
    tracks = find_stem_tracks(folder, vocals, names, mixture)
    if split is not None:
        parts = sorted({track.split for track in tracks if track.split is not None})
        tracks = [track for track in tracks if track.split == split]
        if not tracks:
            raise ValueError(f"{str(folder)!r} has no part {split!r}; it has {parts}.")
    if not tracks:
        raise FileNotFoundError(f"{str(folder)!r} holds no tracks. {remedy}")
    description = _DESCRIPTION.format(path=folder, count=len(tracks))
    return make_bunch(tracks, description, as_arrays=as_arrays, sample_rate=sample_rate)


def find_stem_tracks(
    folder: Path, vocals: str, accompaniment: Sequence[str], mixture: str
) -> list[StemTrack]:
    """Tracks in the folders of `folder`, and in the folders of those."""
    tracks = []
    for child in subfolders(folder):
        if audio_files(child):
            tracks.append(read_stem_track(child, None, vocals, accompaniment, mixture))
            continue
        for grandchild in subfolders(child):
            if audio_files(grandchild):
                tracks.append(
                    read_stem_track(grandchild, child.name, vocals, accompaniment, mixture)
                )
    return tracks


def read_stem_track(
    folder: Path, split: str | None, vocals: str, accompaniment: Sequence[str], mixture: str
) -> StemTrack:
    """The track in a folder that holds at least one audio file."""
    files = audio_files(folder)
    singing = find_stem(files, vocals)
    stems = [find_stem(files, name) for name in accompaniment]
    found = [stem for stem in stems if stem is not None]
    complete = len(found) == len(stems)
    whole = find_stem(files, mixture)
    missing = [vocals] if singing is None else []
    if not complete and whole is None:
        missing += [name for name, stem in zip(accompaniment, stems, strict=True) if stem is None]
    if singing is None or missing:
        present = ", ".join(path.name for paths in files.values() for path in paths)
        raise ValueError(
            f"The track {str(folder)!r} has no {' and no '.join(missing)} among its files "
            f"({present}). Add or rename the file, or name the stems in the call."
        )
    return StemTrack(
        name=folder.name,
        group=artist_of(folder.name),
        split=split,
        mixture=source(singing, *found) if whole is None else source(whole),
        vocals=source(singing),
        accompaniment=source(*found) if complete else None,
    )
