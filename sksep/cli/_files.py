"""Files that commands read and write: songs, stems and tables."""

from __future__ import annotations

import json
import os
import string
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import Any

import click

from sksep.utils._choices import AUDIO_SUFFIXES
from sksep.utils._files import natural_key, remove_unfinished, write_whole

STANDARD_INPUT = Path("-")
FIELDS = ("track", "stem", "ext", "folder", "path", "suffix")


def find_songs(paths: Sequence[Path], *, recursive: bool, output: Path) -> list[Path]:
    """Audio files among files and folders, each once. Other files in folders are named.

    Parameters
    ----------
    paths : sequence of Path
        Files of any name, and folders, of which the audio files inside are taken.
    recursive : bool
        Whether the folders inside of folders are searched, too.
    output : Path
        Folder of the results. Files in it are not songs, unless it is searched itself.

    Raises
    ------
    click.UsageError
        If a folder has no audio files.
    """
    songs: dict[Path, Path] = {}
    results = output.resolve()
    for path in paths:
        found = [path]
        if path.is_dir():
            files = _visible_files(path, recursive=recursive)
            if results != path.resolve():
                files = [file for file in files if results not in file.resolve().parents]
            found = [file for file in files if _may_be_song(file)]
            if skipped := [str(file.relative_to(path)) for file in files if file not in found]:
                click.echo(f"Skipped in {path}: {', '.join(skipped)} (not audio)", err=True)
            if not found:
                hint = "" if recursive else " --recursive also searches the folders inside it."
                kinds = ", ".join(sorted(AUDIO_SUFFIXES))
                raise click.UsageError(
                    f"The folder {path} holds no audio files of a kind that can be read ({kinds})."
                    f"{hint}"
                )
        for song in found:
            songs.setdefault(song.resolve(), song)
    return list(songs.values())


def _visible_files(folder: Path, *, recursive: bool) -> list[Path]:
    files = [file for file in folder.glob("**/*" if recursive else "*") if file.is_file()]
    files = [file for file in files if not file.name.startswith(".")]
    return sorted(files, key=lambda file: (str(file.parent), natural_key(file)))


def _may_be_song(file: Path) -> bool:
    """Whether the name or the content of a file is that of audio. If not readable, it is tried."""
    if file.suffix.lower() in AUDIO_SUFFIXES:
        return True
    from sksep.audio._decoding import is_audio

    try:
        return is_audio(file)
    except OSError:
        return True


def check_template(template: str, extension: str) -> str:
    """A valid template for the names of stems, or a `click.BadParameter`."""
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError as error:
        raise click.BadParameter(f"{template!r} is no template: {error}.") from error
    fields = [field for _, field, _, _ in parts if field is not None]
    unknown = [field for field in fields if field not in FIELDS]
    if unknown or any(spec or conversion for _, _, spec, conversion in parts):
        listed = ", ".join(f"{{{field}}}" for field in FIELDS)
        what = f"the unknown field {{{unknown[0]}}}" if unknown else "a field with a format"
        raise click.BadParameter(f"{template!r} has {what}; it may have {listed}.")
    if "stem" not in fields:
        raise click.BadParameter(
            f"{template!r} gives all stems of a song the same name; it needs {{stem}}."
        )
    values = dict.fromkeys(FIELDS, "name") | {"ext": extension}
    example = template.format(**values)
    _check_inside(example, template)
    if PurePath(example).suffix != f".{extension}":
        raise click.BadParameter(f"{template!r} must end in .{{ext}}, here .{extension}.")
    return template


def plan_outputs(
    songs: Sequence[Path],
    stems: Sequence[str],
    output: Path,
    template: str,
    extension: str,
    given: Sequence[Path] = (),
    target: str = "vocals",
) -> tuple[dict[Path, dict[str, Path]], dict[Path, str]]:
    """Files of the stems of each song. `given` are the folders and files in which they were found.

    `target` is the name of what the model extracts, which names of files have in place of "vocals".

    Returns
    -------
    plan : dict of Path to dict of str to Path
        Files of the stems of each song.
    problems : dict of Path to str
        Messages about the songs that cannot be separated: their stems and those of another song
        would have the same file, would replace a song, or would lie outside of `output` or in a
        folder whose name a file has.
    """
    plan: dict[Path, dict[str, Path]] = {}
    problems: dict[Path, str] = {}
    takers: dict[str, Path] = {}
    sources = {_key(song): song for song in songs}
    links = {_file_id(song): song for song in songs if song.exists()}
    for song in songs:
        names = {
            stem: template.format(
                track="stdin" if song == STANDARD_INPUT else song.stem,
                stem=_file_stem(stem, target),
                ext=extension,
                folder=song.resolve().parent.name,
                path=_inner_path(song, given),
                suffix=song.suffix.removeprefix("."),
            )
            for stem in stems
        }
        try:
            for name in names.values():
                _check_inside(name, template)
        except click.BadParameter as error:
            problems[song] = error.message
            continue
        plan[song] = {stem: output / name for stem, name in names.items()}
        for path in plan[song].values():
            replaced = sources.get(_key(path)) or links.get(_file_id(path))
            if replaced is not None:
                problems[song] = (
                    f"{path} would be written over the song {replaced}. Choose another --output or "
                    "--filename."
                )
            blocking = next((folder for folder in path.parents if folder.is_file()), None)
            if blocking is not None:
                problems[song] = (
                    f"{path} cannot be written, since {blocking} is a file and not a folder. "
                    "Choose another --output or --filename."
                )
            taker = takers.setdefault(_key(path), song)
            if taker != song:
                problems[taker] = problems[song] = (
                    f"{taker} and {song} would both be written to {path}. Tell them apart with "
                    f'--filename "{{folder}}/{{track}}.{{suffix}}/{{stem}}.{{ext}}", or separate '
                    "them one by one with an --output each."
                )
    return {song: outputs for song, outputs in plan.items() if song not in problems}, problems


def _file_stem(stem: str, target: str) -> str:
    """Name of a stem in names of files, given what the model extracts."""
    if target == "vocals":
        return stem
    return {"vocals": target, "accompaniment": f"no_{target}"}.get(stem, stem)


def target_of(model: str) -> str:
    """Name of the stem that a model extracts: that of a file of `sksep train`, or else vocals."""
    path = Path(model)
    if not path.is_file() or _is_name(model):
        return "vocals"
    import safetensors

    from sksep.utils._validation import stem_name

    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            description = json.loads(file.metadata()["sksep"])
        for target in _targets_in(description["estimator"]):
            stem_name("target", target)
            return target
    except Exception:  # of another file, of which loading says more
        return "vocals"
    return "vocals"


def _is_name(model: str) -> bool:
    """Whether it is the name of a model, whatever file of that name lies in this folder."""
    path = Path(model)
    if path.suffix or path.name != model:
        return False
    from sksep.inference._models import model_names

    return model in model_names()


def _targets_in(value: Any) -> Iterator[str]:
    """Names of the stems in the description of an estimator, and of those within it."""
    if isinstance(value, dict):
        target = value.get("target")
        if isinstance(target, str):
            yield target
        for item in value.values():
            yield from _targets_in(item)
    elif isinstance(value, list):
        for item in value:
            yield from _targets_in(item)


def _inner_path(song: Path, given: Sequence[Path]) -> str:
    """Path of a song within the folder in which it was found, without suffix."""
    if song == STANDARD_INPUT:
        return "stdin"
    for folder in given:
        if folder != song and song.is_relative_to(folder):
            return song.relative_to(folder).with_suffix("").as_posix()
    return song.stem


@contextmanager
def removing_empty_folders(paths: Iterable[Path]) -> Iterator[None]:
    """Remove new folders of files that were not written after all."""
    folders = {folder for path in paths for folder in path.parents if not os.path.exists(folder)}
    try:
        yield
    finally:
        for folder in sorted(folders, key=lambda folder: len(folder.parts), reverse=True):
            with suppress(OSError):  # it is not empty, or was not made
                folder.rmdir()


def check_target(path: Path, *, overwrite: bool, inputs: Iterable[Path] = ()) -> None:
    """Check that a table or a model may be written to a path.

    Parameters
    ----------
    path : Path
        The file.
    overwrite : bool
        Whether a file that exists may be replaced. Audio is not replaced all the same.
    inputs : iterable of Path
        Files that the command reads, and other files that it writes.

    Raises
    ------
    FileExistsError
        If the path is a folder, an input, an audio file, or exists and must not be replaced.
    """
    if path.is_dir():
        raise FileExistsError(f"{path} is a folder; name a file.")
    if _key(path) in map(_key, inputs) or _file_id(path) in set(map(_file_id, inputs)) - {None}:
        raise FileExistsError(
            f"{path} is also another file of this command, which is not replaced; choose another "
            "name."
        )
    if path.exists() and path.stat().st_size and _may_be_song(path):
        raise FileExistsError(
            f"{path} is an audio file, which is not replaced; choose another name."
        )
    if path.exists() and not overwrite:
        raise FileExistsError(f"{path} exists; choose another name, or add --overwrite.")


def check_writable(folder: Path) -> None:
    """Raise OSError if no file can be written to a folder."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(1 << 16))
    except OSError as error:
        raise OSError(
            f"No file can be written to the folder {folder.resolve()} "
            f"({error.strerror or error}); choose another one."
        ) from error


def write_table(path: Path, text: str, *, overwrite: bool) -> None:
    """Write a table, as a whole or not at all. A missing folder is created."""
    check_target(path, overwrite=overwrite)
    remove_unfinished(path.parent, path.name)
    write_whole(path, readable(text), overwrite=overwrite)


def readable(text: str) -> str:
    r"""A text in which bytes of file names that are no UTF-8 are written like ``\udcff``."""
    return text.encode(errors="backslashreplace").decode()


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """File names without suffix, or whole paths if two files have the same name."""
    names = [path.stem for path in paths]
    return names if len(set(names)) == len(names) else [str(path) for path in paths]


def _check_inside(name: str, template: str) -> None:
    parts = name.replace("\\", "/").split("/")
    if PurePath(name).is_absolute() or PurePath(name).drive or {"", ".", ".."} & set(parts):
        raise click.BadParameter(
            f"{template!r} leads to {name!r}; names must lie inside the folder of the output."
        )


def _key(path: Path) -> str:
    """A key that is equal for two paths of one file, also on disks that ignore case."""
    return str(path.resolve()).casefold()


def _file_id(path: Path) -> tuple[int, int] | None:
    """Numbers that are equal for all names of one file, None if there is no file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino
