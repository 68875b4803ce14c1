"""The command: its files, errors, messages and exit codes."""

import base64
import csv
import errno
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import click
import numpy as np
import pytest
import sklearn
import soundfile
from click.testing import CliRunner, Result
from packaging.version import Version
from sklearn.pipeline import Pipeline

import sksep
from sksep import GriffinLimInverter, MaskBuilder, MelChunker, UNetSeparator, presets
from sksep.activity._detector import VocalActivity
from sksep.audio._containers import PartFile
from sksep.audio._tags import read_tags
from sksep.cli import main
from sksep.datasets import make_songs
from sksep.inference._streaming import StreamingSeparator
from sksep.metrics import csdr, sdr, usdr
from sksep.training._net import SeparationNet
from sksep.utils._choices import FORMATS, STEMS

_SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
_RATE = 16000
_SONGS = make_songs(2, duration=2.0, random_state=0)


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """File of a trained pipeline, which is as small as possible."""
    separator = UNetSeparator(n_filters=2, n_levels=2, max_epochs=1, device="cpu", random_state=0)
    steps = [
        ("chunk", MelChunker()),
        ("mask", MaskBuilder()),
        ("separate", separator),
        ("invert", GriffinLimInverter(n_iter=1)),
    ]
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    sksep.save(Pipeline(steps).fit(_SONGS.mixtures, _SONGS.vocals), path)
    return path


@pytest.fixture(autouse=True)
def signals_are_heard() -> Iterator[None]:
    """The usual signal handlers: `nohup` makes its processes ignore SIGHUP, and that is kept."""
    before = {each: signal.signal(each, signal.SIG_DFL) for each in _SIGNALS}
    yield
    for each, handler in before.items():
        signal.signal(each, handler)


@pytest.fixture(autouse=True)
def in_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SKSEP_TRACEBACK", raising=False)
    return tmp_path


def _run(*arguments: object) -> Result:
    """Run the command, on the CPU if it computes."""
    words = [str(argument) for argument in arguments]
    return CliRunner().invoke(main, words)


def _separate(model: Path, *arguments: object) -> Result:
    return _run("separate", *arguments, "--model", model, "--device", "cpu")


def _write_song(path: str, *, seconds: float = 0.5, channels: int = 1) -> Path:
    song = np.stack([_SONGS.mixtures[0][: round(seconds * _RATE)]] * channels, axis=1)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    subtype = None if Path(path).suffix in (".mp3", ".ogg") else "PCM_16"
    soundfile.write(path, song, _RATE, subtype=subtype)
    return Path(path)


def _write_data(folder: str) -> Path:
    """Write one folder per song, as `load_folder` reads them."""
    for name, mixture, vocals in zip("AB", _SONGS.mixtures, _SONGS.vocals, strict=True):
        track = Path(folder, name)
        track.mkdir(parents=True)
        soundfile.write(track / "mixture.wav", mixture, _RATE, subtype="FLOAT")
        soundfile.write(track / "vocals.wav", vocals, _RATE, subtype="FLOAT")
    return Path(folder)


def _files(folder: str | Path) -> list[str]:
    paths = Path(folder).rglob("*")
    return sorted(path.relative_to(folder).as_posix() for path in paths if path.is_file())


def _assert_fails(result: Result, code: int, message: str) -> None:
    """Assert that it ended with the code, and one line with the message but no traceback."""
    assert result.exit_code == code, result.output
    assert isinstance(result.exception, SystemExit)
    last = next(line for line in reversed(result.stderr.splitlines()) if line.strip())
    assert re.search(message, last), result.stderr
    assert "Traceback" not in result.stderr


# Help


@pytest.mark.parametrize("name", [None, *main.commands])
def test_help(name: str | None) -> None:
    result = _run(*([] if name is None else [name]), "--help")
    assert result.exit_code == 0
    command = main if name is None else main.commands[name]
    explanation = result.stdout.split("Examples:")[0].splitlines()
    assert len([line for line in explanation if line.startswith("  ")]) >= 2
    for option in command.params:
        assert option.opts[-1] in result.stdout or option.param_type_name == "argument"
    # Each example shows an existing command with options that it has.
    examples = [line for line in command.examples.splitlines() if line.startswith("sksep ")]
    assert examples
    for example in examples:
        assert f"  {example}\n" in result.stdout
        _, called, *words = shlex.split(example, comments=True)
        known = {text for option in main.commands[called].params for text in option.opts}
        assert {word for word in words if word.startswith("--")} <= known


def test_help_imports_nothing_heavy() -> None:
    heavy = ("numpy", "torch", "sklearn", "skorch", "librosa", "soundfile", "tqdm")
    code = (
        "import sys\nfrom sksep.cli import main\nmain(['--help'], standalone_mode=False)\n"
        f"print('imported:', *sorted(set({heavy!r}) & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Commands:" in run.stdout
    assert run.stdout.splitlines()[-1] == "imported:"


def test_separating_imports_nothing_that_it_does_not_use(model: Path) -> None:
    _write_song("song.wav")
    heavy = ("torch._dynamo", "torch._inductor", "sympy", "skorch", "librosa", "numba")
    heavy += ("scipy.stats._stats_py", "scipy.signal", "sklearn.cluster", "sklearn.metrics")
    heavy += ("matplotlib", "torch.onnx")
    if Version(sklearn.__version__) >= Version("1.9"):  # 1.6 looks into pandas
        heavy += ("pandas.core",)
    arguments = ["separate", "song.wav", "--model", str(model), "--device", "cpu"]
    code = (
        f"import sys\nfrom sksep.cli import main\nmain({arguments}, "
        f"standalone_mode=False)\nprint('imported:', *sorted(set({heavy!r}) & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "Separated 1 song" in run.stdout
    assert run.stdout.splitlines()[-1] == "imported:"


def test_module_is_the_command() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "sksep", "--version"], capture_output=True, text=True, check=True
    )
    assert run.stdout == f"sksep, version {sksep.__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sing"], "No such command 'sing'"),
        (["separate", "-o", "out"], "Missing argument"),
        (["separate", "absent.wav", "-o", "out"], "'absent.wav' does not exist"),
        (["separate", ".", "-o", "out", "--format", "aac"], "'aac' is not one of"),
        (["separate", ".", "-o", "out", "--subtype", "PCM_12"], "PCM_12.*PCM_24"),
        (["separate", ".", "-o", "out", "--format", "ogg", "--subtype", "FLOAT"], "VORBIS"),
        (["separate", ".", "-o", "out", "--n-iter", "-1"], "-1 is not in the range"),
        (["separate", ".", "-o", "out", "--device", "tpu"], "'tpu' is not one of"),
        (["train", ".", "-o", "m", "--validation-fraction", "1"], "not in the range"),
        (["evaluate", "uhnet", "absent"], "'absent' does not exist"),
        (["evaluate", "uhnet", "uhnet", "."], "twice"),
    ],
)
def test_usage_errors(arguments: list[str], message: str) -> None:
    _write_data("data")
    _assert_fails(_run(*[{".": "data"}.get(word, word) for word in arguments]), 2, message)
    assert not Path("out").exists()


def test_choices_are_those_of_the_library() -> None:
    def choices(command: str, name: str) -> tuple[str, ...]:
        (option,) = (each for each in main.commands[command].params if each.name == name)
        assert isinstance(option.type, click.Choice)
        return tuple(option.type.choices)

    assert choices("separate", "format_name") == FORMATS
    assert choices("train", "preset") == presets.PRESETS


# Separating


@pytest.mark.parametrize("channels", [1, 2])
def test_separate(model: Path, channels: int) -> None:
    song = _write_song("a song.flac", channels=channels)
    result = _separate(model, song, "-o", "out")
    assert result.exit_code == 0, result.output
    assert _files("out") == ["a song/accompaniment.wav", "a song/vocals.wav"]
    mixture, _ = soundfile.read(song, dtype="int16", always_2d=True)
    stems = [
        soundfile.read(f"out/a song/{stem}.wav", dtype="int16", always_2d=True) for stem in STEMS
    ]
    assert [rate for _, rate in stems] == [_RATE, _RATE]
    assert np.array_equal(sum(samples.astype(np.int32) for samples, _ in stems), mixture)
    summary = result.stdout.splitlines()
    assert re.fullmatch(
        r"Separated 1 song: 0\.0 minutes of audio in [\d.]+ s, \d+ times real time\.", summary[0]
    )
    assert summary[1].startswith("Wrote 2 files to out, such as out")


def test_separate_folders(model: Path) -> None:
    for name in ("album/one.wav", "album/two.FLAC", "album/inner/three.wav"):
        _write_song(name)
    Path("album/cover.txt").touch()
    result = _separate(model, "album", "album/one.wav", "-o", "album/out", "--format", "flac")
    assert result.exit_code == 0, result.output
    stems = [f"{song}/{stem}.flac" for song in ("one", "two") for stem in sorted(STEMS)]
    assert _files("album/out") == stems
    # Results are not songs, even if they lie in the folder that is searched.
    result = _separate(model, "album", "-o", "album/out", "--recursive", "--overwrite")
    assert result.exit_code == 0, result.output
    assert "Separated 3 songs" in result.stdout


@pytest.mark.parametrize(("options", "hint"), [([], "--recursive"), (["--recursive"], r"\.flac")])
def test_empty_folder(model: Path, options: list[str], hint: str) -> None:
    Path("empty/inner").mkdir(parents=True)
    result = _separate(model, "empty", "-o", "out", *options)
    _assert_fails(result, 2, f"folder empty holds no audio files.*{hint}")
    assert ("--recursive" in result.stderr.splitlines()[-1]) == (not options)


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ("{track}.{ext}", "needs {stem}"),
        ("{title}/{stem}.{ext}", r"unknown field {title}; it may have {track}, {stem}"),
        ("{}/{stem}.{ext}", "unknown field {}"),
        ("{track.parent}/{stem}.{ext}", "unknown field"),
        ("{track!r}/{stem}.{ext}", "a field with a format"),
        ("{track:>9}/{stem}.{ext}", "a field with a format"),
        ("{track/{stem}.{ext}", "(is no template|unknown field)"),
        ("{track}}/{stem}.{ext}", "is no template"),
        ("../{stem}.{ext}", "inside the folder"),
        ("{track}/../../{stem}.{ext}", "inside the folder"),
        ("{track}\\..\\{stem}.{ext}", "inside the folder"),
        ("/{track}/{stem}.{ext}", "inside the folder"),
        ("{track}//{stem}.{ext}", "inside the folder"),
        ("{track}/{stem}", r"must end in \.{ext}"),
        ("{track}/{stem}.flac", r"must end in \.{ext}, here \.wav"),
    ],
)
def test_bad_templates(model: Path, template: str, message: str) -> None:
    song = _write_song("song.wav")
    _assert_fails(_separate(model, song, "-o", "out", "--filename", template), 2, message)
    assert not Path("out").exists()


def test_song_whose_name_leads_out_of_the_folder(model: Path) -> None:
    song = _write_song("song.wav").rename("...wav")
    assert song.stem == ".."
    _assert_fails(_separate(model, song, "-o", "out"), 2, "inside the folder")


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{stem}.{ext}", "vocals.flac"),
        ("{folder} - {track} ({stem}).{ext}", "album - so{n}g (vocals).flac"),
        ("{stem}/{track}.flac", "vocals/so{n}g.flac"),
        ("{path}.{suffix}/{stem}.flac", "so{n}g.wav/vocals.flac"),
    ],
)
def test_templates(model: Path, template: str, expected: str) -> None:
    song = _write_song("album/so{n}g.wav")
    options = ["--filename", template, "--format", "flac"]
    assert _separate(model, song, "-o", "out", *options).exit_code == 0
    assert expected in _files("out")


@pytest.mark.parametrize(
    "songs",
    [
        ("a/song.wav", "b/song.wav"),
        ("a/song.wav", "a/song.flac"),
        ("a/song.wav", "b/Song.wav"),  # the same name if case does not matter
    ],
)
def test_collisions_are_found_before_any_work(model: Path, songs: tuple[str, ...]) -> None:
    paths = [_write_song(name) for name in songs]
    result = _separate(model, *paths, "-o", "out")
    _assert_fails(result, 2, ".*".join(re.escape(str(path)) for path in paths))
    assert not Path("out").exists()


def test_a_way_out_of_collisions(model: Path) -> None:
    for name in ("a/song.wav", "b/song.wav"):
        _write_song(name)
    template = "{folder}/{track}/{stem}.{ext}"
    assert _separate(model, "a", "b", "-o", "out", "--filename", template).exit_code == 0
    assert _files("out") == [f"{a}/song/{stem}.wav" for a in "ab" for stem in sorted(STEMS)]


def test_templates_that_keep_folders(model: Path) -> None:
    for name in ("music/a/x.wav", "music/b/x.wav", "music/b/x.flac", "other/y.wav"):
        _write_song(name)
    template = "{path}.{suffix}/{stem}.{ext}"
    arguments = ["music", "other/y.wav", "-r", "-o", "out", "--filename", template]
    assert _separate(model, *arguments).exit_code == 0
    songs = ["a/x.wav", "b/x.flac", "b/x.wav", "y.wav"]
    assert _files("out") == [f"{song}/{stem}.wav" for song in songs for stem in sorted(STEMS)]


def test_songs_are_not_written_over(model: Path) -> None:
    song = _write_song("album/vocals.wav")
    before = song.read_bytes()
    options = ["-o", "album", "--filename", "{stem}.{ext}", "--overwrite"]
    _assert_fails(_separate(model, song, *options), 2, "written over the song")
    assert song.read_bytes() == before


@pytest.mark.parametrize("is_link", [False, True])
def test_songs_are_not_written_over_by_another_name(model: Path, is_link: bool) -> None:
    song = _write_song("album/song.wav")
    other = Path("out/song/vocals.wav")
    other.parent.mkdir(parents=True)
    if is_link:
        other.symlink_to(song.resolve())
    else:
        other.hardlink_to(song)
    result = _separate(model, song, "-o", "out", "--overwrite")
    _assert_fails(result, 2, "written over the song")


def _audio_targets() -> list[Path]:
    """Files that are audio by their names, or only by their content."""
    song = _write_song("songs/song.wav")
    return [song, _write_song("other.wav"), Path(shutil.copy(song, "singing.csv"))]


def test_tables_do_not_replace_audio_or_inputs(model: Path) -> None:
    data = _write_data("data")
    targets = [*_audio_targets(), model]
    Path("link.csv").hardlink_to("songs/song.wav")
    before = [path.read_bytes() for path in targets]
    options = ["-o", "out", "--overwrite", "--activity"]
    for path in [*targets, Path("link.csv")]:
        result = _separate(model, *targets[:1], *options, path)
        _assert_fails(result, 1, f"{path} is (also another file|an audio file).*not replaced")
        assert not Path("out").exists()
    _assert_fails(_separate(model, targets[0], *options, "out/song/vocals.wav"), 1, "another file")
    for option in ("--csv", "--json"):
        for path in [*targets[1:], data / "A" / "vocals.wav"]:
            result = _run("evaluate", model, data, "--overwrite", option, path)
            _assert_fails(result, 1, "not replaced")
    result = _run("evaluate", model, data, "--csv", "scores", "--json", "scores")
    _assert_fails(result, 1, "scores is also another file")
    assert [path.read_bytes() for path in targets] == before


def test_models_do_not_replace_audio() -> None:
    data = _write_data("data")
    targets = [*_audio_targets(), data / "A" / "vocals.wav"]
    before = [path.read_bytes() for path in targets]
    for path in targets:
        result = _run("train", data, "-o", path, "--overwrite")
        _assert_fails(result, 1, "is an audio file.*not replaced")
    assert [path.read_bytes() for path in targets] == before


def test_a_bad_file_among_good_ones(model: Path) -> None:
    songs = [_write_song("a.wav"), Path("bad.wav"), _write_song("z.wav")]
    songs[1].write_text("no audio")
    result = _separate(model, *songs, "-o", "out")
    _assert_fails(result, 1, r"^Failed: 1 of 3 songs\.$")
    assert re.search(r"^[^\n]*bad\.wav[^\n]*cannot be read as audio", result.stderr, re.MULTILINE)
    assert "Separated 2 songs" in result.stdout
    assert _files("out") == [f"{a}/{stem}.wav" for a in "az" for stem in sorted(STEMS)]


def test_odd_songs_do_not_stop_the_others(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    names = ("x.wav", "x.flac", "good.wav", "a\nb.wav", f"{'n' * 240}.wav", "...wav", "crash.wav")
    songs = [_write_song(f"songs/{name}") for name in names[:-2]]
    songs += [_write_song(f"songs/{index}.wav").rename(f"songs/{names[index]}") for index in (5, 6)]
    process = StreamingSeparator.process
    n_blocks = 0

    def failing(self: object, block: object) -> object:
        nonlocal n_blocks
        n_blocks += 1
        if n_blocks == 3:
            raise AssertionError("an error that nobody foresaw")
        return process(self, block)

    monkeypatch.setattr(StreamingSeparator, "process", failing)
    monkeypatch.setattr("os.access", lambda *arguments: False)  # no file is readable, it is said
    template = ["--filename", "{track}/{track} which is ({stem}).{ext}"]
    result = _separate(model, *songs, "-o", "out", *template)
    _assert_fails(result, 1, r"^Failed: 5 of 7 songs\.$")
    for message in (
        "x.wav and .*x.flac would both",
        "too long",
        "inside the fol",
        "nobody foresaw",
    ):
        assert re.search(message, result.stderr), result.stderr
    assert {path.name for path in Path("out").iterdir()} == {"good", "a\nb"}


def test_a_rerun_skips_what_is_done(model: Path) -> None:
    _write_song("a/one.wav")
    for name, arguments in {
        "wav": [],
        "ogg": ["--format", "ogg"],
        "flac": ["--format", "flac"],
    }.items():
        assert _separate(model, "a", "-o", name, *arguments).exit_code == 0
        before = {path: Path(name, path).stat().st_mtime_ns for path in _files(name)}
        result = _run("separate", "a", "-o", name, *arguments, "--model", "absent")
        assert result.exit_code == 0, result.output
        assert result.stdout == "Done before: 1 of 1 songs. --overwrite repeats them.\n"
        assert {path: Path(name, path).stat().st_mtime_ns for path in _files(name)} == before
    # Another song of the same name and length is not done.
    Path("b").mkdir()
    soundfile.write("b/one.wav", _SONGS.mixtures[1][: _RATE // 2], _RATE, subtype="PCM_16")
    for name in ("wav", "ogg", "flac"):
        result = _separate(model, "b", "-o", name, "--format", name)
        _assert_fails(result, 1, "Failed: 1 of 1 songs")
        assert "exists; add --overwrite" in result.stderr
    # Nor is one without all of its stems.
    Path("wav/one/vocals.wav").unlink()
    _assert_fails(_separate(model, "a", "-o", "wav"), 1, "Failed: 1 of 1 songs")


@pytest.mark.parametrize("options", [[], ["--format", "ogg"], ["--stems", "vocals"]])
def test_a_remix_of_other_gains_is_not_done(model: Path, options: list[str]) -> None:
    _write_song("one.wav")
    options = ["one.wav", "-o", "out", "--n-iter", "0", *options]
    assert _separate(model, *options, "--vocals-gain", "-60").exit_code == 0
    again = _separate(model, *options, "--vocals-gain", "-60")
    assert again.stdout == "Done before: 1 of 1 songs. --overwrite repeats them.\n"
    before = next(Path("out").rglob("remix.*")).read_bytes()
    for gains in (["--vocals-gain", "3"], ["--vocals-gain", "-60", "--accompaniment-gain", "-3"]):
        result = _separate(model, *options, *gains)
        _assert_fails(result, 1, "Failed: 1 of 1 songs")
        assert "exists; add --overwrite" in result.stderr
        assert next(Path("out").rglob("remix.*")).read_bytes() == before


def test_a_file_without_suffix_names_its_stem(model: Path) -> None:
    _write_song("one.wav")
    steps = [("chunk", MelChunker()), ("mask", MaskBuilder(target="drums"))]
    separator = UNetSeparator(n_filters=2, n_levels=2, max_epochs=1, device="cpu", random_state=0)
    drummer = Pipeline([*steps, ("separate", separator)]).fit(_SONGS.mixtures, _SONGS.vocals)
    for name in ("drums", "small"):  # the second one is the name of another model
        sksep.save(drummer, name)
    assert _separate(Path("drums"), "one.wav", "-o", "out").exit_code == 0
    assert _files("out") == ["one/drums.wav", "one/no_drums.wav"]
    assert _separate(Path("small"), "one.wav", "-o", "vocals").exit_code == 0
    assert _files("vocals") == ["one/accompaniment.wav", "one/vocals.wav"]


def test_a_file_in_the_place_of_a_folder_is_named(model: Path) -> None:
    _write_song("one.wav")
    Path("one").write_text("precious")
    _assert_fails(_separate(model, "one.wav", "-o", "."), 2, "one is a file and not a folder")
    assert Path("one").read_text() == "precious"


def test_long_names(model: Path) -> None:
    name = "歌" * 70
    _write_song(f"{name}.wav")
    result = _separate(model, f"{name}.wav", "-o", "out", "--filename", "{track} ({stem}).{ext}")
    assert result.exit_code == 0, result.output
    assert _files("out") == [f"{name} (accompaniment).wav", f"{name} (vocals).wav"]


def test_results_are_not_replaced(model: Path) -> None:
    _write_song("album/a.wav")
    assert _separate(model, "album", "-o", "out").exit_code == 0
    kept = Path("out/a/vocals.wav")
    kept.write_text("precious")
    _write_song("album/b.wav")
    result = _separate(model, "album", "-o", "out")
    _assert_fails(result, 1, r"^Failed: 1 of 2 songs\.$")
    assert re.search(r"a\.wav: .*accompaniment|vocals\.wav exists; add --overwrite", result.stderr)
    assert kept.read_text() == "precious"
    assert "b/vocals.wav" in _files("out")
    # If nothing is left to do, no model is needed.
    result = _run("separate", "album", "-o", "out", "--model", "absent")
    _assert_fails(result, 1, "Failed: 1 of 2 songs")
    assert "Separated" not in result.stdout
    assert "Done before: 1 of 2 songs" in result.stdout
    result = _separate(model, "album", "-o", "out", "--overwrite")
    assert result.exit_code == 0
    assert kept.read_bytes().startswith(b"RIFF")


def test_remix(model: Path) -> None:
    song = _write_song("song.wav")
    options = ["--vocals-gain", "-6", "--subtype", "float", "--n-iter", "0"]
    assert _separate(model, song, "-o", "out", *options).exit_code == 0
    stems = {name: soundfile.read(f"out/song/{name}.wav")[0] for name in (*STEMS, "remix")}
    expected = 10 ** (-6 / 20) * stems["vocals"] + stems["accompaniment"]
    assert np.allclose(stems["remix"], expected, atol=1e-6)
    assert soundfile.info("out/song/remix.wav").subtype == "FLOAT"
    both = ["--accompaniment-gain", "-60", "--vocals-gain", "3", "--overwrite"]
    assert _separate(model, song, "-o", "out", *both).exit_code == 0
    only = ["--accompaniment-gain", "-60"]
    assert _separate(model, song, "-o", "only", *only).exit_code == 0
    assert "song/remix.wav" in _files("only")


class _Detector:
    """Find singing in every second track."""

    def __init__(self) -> None:
        self._intervals = iter([[(0.0, 0.25), (0.3, 0.5)], []])

    def detect(self, levels: object) -> VocalActivity:
        intervals = np.array(next(self._intervals)).reshape(-1, 2)
        label = "vocal" if len(intervals) else "instrumental"
        return VocalActivity(intervals, np.zeros(0), np.zeros(0), 0.0, label)


def test_activity(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sksep.inference._models.detector_of", lambda model: _Detector())
    songs = [_write_song("a.wav"), Path("bad.wav"), _write_song("b.wav")]
    songs[1].write_text("no audio")
    arguments = [*songs, "-o", "out", "--activity", "tables/singing.csv"]
    result = _separate(model, *arguments)
    assert result.exit_code == 1
    with open("tables/singing.csv", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["track", "label", "start", "end"],
        ["a", "vocal", "0.000", "0.250"],
        ["a", "vocal", "0.300", "0.500"],
        ["b", "instrumental", "", ""],
    ]
    assert _files("tables") == ["singing.csv"]
    Path("tables/singing.csv").write_text("precious")
    _assert_fails(_separate(model, *arguments), 1, "singing.csv exists; .*--overwrite")
    assert Path("tables/singing.csv").read_text() == "precious"
    assert _separate(model, *arguments, "--overwrite").exit_code == 1
    assert Path("tables/singing.csv").read_text().startswith("track,label")


def test_activity_is_written_as_songs_finish(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(_Detector):
        def detect(self, levels: object) -> VocalActivity:
            try:
                return super().detect(levels)
            except StopIteration:
                raise KeyboardInterrupt from None

    monkeypatch.setattr("sksep.inference._models.detector_of", lambda model: Interrupted())
    for name in "abc":
        _write_song(f"songs/{name}.wav")
    arguments = ["songs", "-o", "out", "--activity", "singing.csv"]
    assert _separate(model, *arguments).exit_code == 130
    before = Path("singing.csv").read_text()
    assert [line[0] for line in before.splitlines()] == ["t", "a", "a", "b"]
    shutil.rmtree("out/c")
    result = _separate(model, *arguments)  # a rerun completes the table
    assert result.exit_code == 0, result.output
    assert "Done before: 2 of 3 songs" in result.stdout
    after = Path("singing.csv").read_text()
    assert after.startswith(before)
    assert after.splitlines()[4:] == ["c,vocal,0.000,0.250", "c,vocal,0.300,0.500"]
    assert _separate(model, *arguments).exit_code == 0
    # Songs that are in the table, but not in the folder, or the other way, are not skipped.
    result = _separate(model, "songs", "-o", "elsewhere", "--activity", "singing.csv")
    _assert_fails(result, 1, "Failed: 3 of 3")
    assert "has a row of its name" in result.stderr
    result = _separate(model, "songs", "-o", "out", "--activity", "other.csv")
    _assert_fails(result, 1, "Failed: 3 of 3")
    assert "is not in other.csv; add --overwrite" in result.stderr
    assert Path("singing.csv").read_text() == after


def test_quiet_and_warnings(model: Path) -> None:
    soundfile.write("silence.wav", np.zeros(_RATE // 2), _RATE)
    result = _separate(model, "silence.wav", "-o", "out", "--quiet")
    assert result.exit_code == 0, result.output
    assert result.stdout == ""
    assert re.match(r"Warning: .*silence\.wav.*silent", result.stderr)


def test_interrupt(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    songs = [_write_song("a.wav"), _write_song("b.wav")]
    process = StreamingSeparator.process
    n_calls = 0

    def interrupted(self: object, block: object) -> object:
        nonlocal n_calls
        n_calls += 1
        if n_calls == 2:
            raise KeyboardInterrupt
        return process(self, block)

    monkeypatch.setattr(StreamingSeparator, "process", interrupted)
    result = _separate(model, *songs, "-o", "out")
    _assert_fails(result, 130, r"^Interrupted\.$")
    assert _files("out") == ["a/accompaniment.wav", "a/vocals.wav"]


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends the process there")
@pytest.mark.parametrize("number", _SIGNALS)
def test_signals_leave_no_file(
    model: Path, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = StreamingSeparator.process
    hidden = []

    def signaled(self: object, block: object) -> object:
        hidden.extend(path for path in _files(".") if path != "a.wav")
        for _ in range(2):  # the second one must not disturb the end
            os.kill(os.getpid(), number)
        return process(self, block)

    Path("temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", "temporary")
    monkeypatch.setattr(StreamingSeparator, "process", signaled)
    _write_song("a.wav")
    os.mkfifo("pipe")
    song = Path("a.wav").read_bytes()
    writer = threading.Thread(target=lambda: Path("pipe").write_bytes(song))
    writer.start()
    handler = signal.getsignal(number)
    result = _separate(model, "pipe", "a.wav", "-o", "out")
    writer.join()
    _assert_fails(result, 128 + number, r"^Interrupted\.$")
    assert {path.split("/")[0] for path in hidden} == {"out", "temporary"}
    assert sorted(path.name for path in Path().rglob("*")) == ["a.wav", "pipe", "temporary"]
    assert signal.getsignal(number) == handler


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends the process there")
def test_signals_while_a_library_reads(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = PartFile.read
    n_reads = 0

    def signaled(self: PartFile, size: int) -> bytes:
        nonlocal n_reads
        n_reads += 1
        if n_reads == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return read(self, size)

    monkeypatch.setattr(PartFile, "read", signaled)
    soundfile.write("part.mp3", _SONGS.mixtures[0], _RATE)
    Path("song.mp3").write_bytes(2 * Path("part.mp3").read_bytes())  # read part by part
    result = _separate(model, "song.mp3", "-o", "out")
    assert n_reads
    _assert_fails(result, 143, "Interrupted")
    assert not Path("out").exists()


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are Unicode there")
@pytest.mark.parametrize("closed", ["", "0<&- 1>&- 2>&-"])
def test_closed_streams_and_names_that_are_not_utf8(model: Path, closed: str) -> None:
    folder = os.fsdecode(b"d\xff")
    songs = [_write_song("song.wav"), Path("song.mp3")]
    soundfile.write("song.mp3", np.tile(_SONGS.mixtures[0], 30), _RATE)
    for index, song in enumerate(songs):
        Path(folder).mkdir(exist_ok=True)
        shutil.copy(song, Path(folder, os.fsdecode(b"%d\xff" % index) + song.suffix))
    command = f'"$0" -m sksep separate d* -o "$1" --activity "$1.csv" --model "$2" {closed}'
    arguments = ["sh", "-c", command, sys.executable, os.fsdecode(b"out\xff"), model]
    run = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert re.fullmatch("" if closed else r"Separating 2 songs by [^\n]*\n", run.stderr)
    assert ("Separated 2 songs" in run.stdout) == ("1" not in closed)
    outputs = list(Path().glob("out*/*/*.wav"))
    assert len(outputs) == 4
    for name, song in (("1", songs[1]), ("0", songs[0])):
        stems = [path for path in outputs if path.parent.name.startswith(name)]
        lengths = {soundfile.info(os.fsencode(path)).frames for path in stems}
        assert lengths == {soundfile.info(song).frames}
    (table,) = Path().glob("out*.csv")
    assert "\n0\\udcff," in table.read_text()


@pytest.mark.parametrize("words", [["song.mp3"], ["my song.wav", "-o", "out"], ["album"]])
def test_a_song_without_a_command(words: list[str]) -> None:
    Path("album").mkdir()
    result = _run(*words)
    assert result.exit_code == 2
    assert f"{words[0]} is no command" in result.stderr
    assert result.stderr.endswith(f"\n  sksep separate {shlex.join(words)}\n")


def test_first_words_come_before_the_slow_imports() -> None:
    _write_song("song.wav")
    code = (
        "import sys\nfrom sksep.cli import main\n"
        "class Stop:\n"
        "    def find_spec(self, name, *more):\n"
        "        if name in ('torch', 'sklearn', 'numpy'):\n"
        "            raise SystemExit('the first slow import')\n"
        "sys.meta_path.insert(0, Stop())\nmain(['separate', 'song.wav'])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    lines = ["Separating song.wav by unet, to the folder separated.", "the first slow import"]
    assert run.stderr.splitlines() == lines


@pytest.mark.parametrize("stem", STEMS)
@pytest.mark.parametrize("extension", FORMATS)
def test_one_stem_in_the_default_folder(model: Path, stem: str, extension: str) -> None:
    song = _write_song("song.wav")
    arguments = [song, "-s", stem, "-f", extension]
    assert _separate(model, *arguments).exit_code == 0
    assert _files("separated") == [f"song/{stem}.{extension}"]
    path = f"separated/song/{stem}.{extension}"
    assert soundfile.info(path).frames == soundfile.info(song).frames
    assert "Done before: 1 of 1" in _separate(model, *arguments).stdout
    # The stem of another song of this length is none of this one.
    soundfile.write(song, _SONGS.mixtures[1][: _RATE // 2], _RATE, subtype="PCM_16")
    _assert_fails(_separate(model, *arguments), 1, "Failed: 1 of 1 songs")


def test_one_stem_is_the_same_as_of_two(model: Path) -> None:
    song = _write_song("song.wav")
    assert _separate(model, song, "-o", "both").exit_code == 0
    for stem in STEMS:
        options = ["-o", stem, "--stems", stem, "--vocals-gain", "-6"]
        assert _separate(model, song, *options).exit_code == 0
        assert _files(stem) == sorted([f"song/{stem}.wav", "song/remix.wav"])
        one, two = (Path(folder, f"song/{stem}.wav") for folder in (stem, "both"))
        assert one.read_bytes() == two.read_bytes()


@pytest.mark.slow
def test_jobs(model: Path) -> None:
    for index, (name, seconds) in enumerate({"a": 1.0, "b": 0.5, "c": 0.3, "d": 0.7}.items()):
        _write_song(f"songs/{name}.wav", seconds=seconds, channels=1 + index % 2)
    Path("songs/bad.wav").write_text("no audio")
    for jobs in (1, 2):
        result = _separate(model, "songs", "-o", f"{jobs}", "--jobs", jobs)
        _assert_fails(result, 1, r"^Failed: 1 of 5 songs\.$")
        assert "Separated 4 songs" in result.stdout
        assert re.search(r"^[^\n]*bad\.wav[^\n]*cannot be read", result.stderr, re.MULTILINE)
    assert _files("1") == _files("2")
    assert len(_files("1")) == 8
    for file in _files("1"):
        assert Path("1", file).read_bytes() == Path("2", file).read_bytes()
    Path("songs/bad.wav").unlink()
    shutil.rmtree("2/a")
    result = _separate(model, "songs", "-o", "2", "--jobs", 2)
    assert result.exit_code == 0, result.output
    assert "Done before: 3 of 4 songs" in result.stdout
    result = _run("separate", "songs", "-o", "out", "--model", "absent", "--jobs", "2")
    _assert_fails(result, 1, "Failed: 4 of 4 songs")
    assert "There is no model 'absent'" in result.stderr
    assert not Path("out").exists()


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends the process there")
def test_jobs_that_are_interrupted_leave_no_file(model: Path) -> None:
    long = np.tile(_SONGS.mixtures[0], 900)
    for name in "ab":
        soundfile.write(f"{name}.flac", long, _RATE)
    command = [sys.executable, "-m", "sksep", "separate", "a.flac", "b.flac", "--jobs", "2"]
    command += ["--model", str(model), "--device", "cpu"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        while process.poll() is None and not list(Path().glob("separated/*/.*.unfinished")):
            time.sleep(0.01)
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate()
    assert process.returncode == 143, errors
    assert errors.splitlines()[-1] == "Interrupted."
    assert "Traceback" not in errors
    assert _files(".") == ["a.flac", "b.flac"]
    assert not Path("separated").exists()


@pytest.mark.slow
def test_the_script_of_the_guide_for_a_cluster() -> None:
    pytest.importorskip("distributed")
    page = Path(__file__).parents[1].joinpath("docs/guide/large.rst").read_text(encoding="utf-8")
    script = "    import subprocess" + page.split("    import subprocess", 1)[1]
    script = textwrap.dedent(script.split("\nIn Python, a loop", 1)[0])
    Path("script.py").write_text(script, encoding="utf-8")
    for name in "ab":
        _write_song(f"music/{name}.mp3")
    command = [sys.executable, "script.py"]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.stdout == "Parts with songs that failed: 0 of 1.\n", run.stderr
    stems = [f"music/{name}/{stem}.flac" for name in "ab" for stem in sorted(STEMS)]
    assert _files("separated") == stems


# Tags


def _write_tagged(path: str) -> Path:
    """Write a song with tags and a cover, in any format."""
    flac, id3 = pytest.importorskip("mutagen.flac"), pytest.importorskip("mutagen.id3")
    import mutagen

    song = _write_song(path)
    texts = {"title": "Ü", "artist": "A", "album": "B", "date": "2001", "mood": "calm"}
    file = mutagen.File(song)
    if file.tags is None:
        file.add_tags()
    if isinstance(file.tags, id3.ID3):
        frames = {"title": "TIT2", "artist": "TPE1", "album": "TALB", "date": "TDRC"}
        for name, frame in frames.items():
            file.tags.add(getattr(id3, frame)(encoding=3, text=[texts[name]]))
        file.tags.add(id3.TXXX(encoding=3, desc="mood", text=["calm"]))
        file.tags.add(id3.TXXX(encoding=3, desc="REPLAYGAIN_TRACK_GAIN", text=["-7 dB"]))
        file.tags.add(id3.APIC(encoding=3, mime="image/png", type=3, desc="", data=b"picture"))
    else:
        file.update({**texts, "replaygain_track_gain": "-7 dB"})
        picture = flac.Picture()
        picture.data, picture.mime, picture.type = b"picture", "image/png", 3
        if isinstance(file, flac.FLAC):
            file.add_picture(picture)
        else:
            file["metadata_block_picture"] = [base64.b64encode(picture.write()).decode()]
    file.save()
    return song


@pytest.mark.parametrize(
    ("source", "extension"),
    [
        *(("mp3", "mp3"), ("mp3", "flac"), ("flac", "wav"), ("flac", "ogg")),
        *(("ogg", "mp3"), ("wav", "wav")),
    ],
)
def test_tags(model: Path, source: str, extension: str) -> None:
    song = _write_tagged(f"song.{source}")
    before = song.read_bytes()
    result = _separate(model, song, "-f", extension)
    assert result.exit_code == 0, result.output
    assert "Warning" not in result.stderr
    assert song.read_bytes() == before
    for stem in STEMS:
        path = Path(f"separated/song/{stem}.{extension}")
        assert soundfile.info(path).frames == soundfile.info(song).frames
        tags = read_tags(path)
        rest = {"artist": ["A"], "album": ["B"], "date": ["2001"], "mood": ["calm"]}
        assert tags.texts == {"title": [f"Ü ({stem})"], **rest}
        assert [(each.data, each.mime, each.type) for each in tags.pictures] == [
            (b"picture", "image/png", 3)
        ]
    assert "Done before" in _separate(model, song, "-f", extension).stdout
    assert _separate(model, song, "-o", "plain", "--no-tags", "-f", "flac").exit_code == 0
    assert read_tags("plain/song/vocals.flac").texts == {}


def test_damaged_tags_do_not_cost_a_song(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: object) -> object:
        raise RuntimeError("no tag at all")

    song = _write_tagged("song.flac")
    monkeypatch.setattr("sksep.inference._files.read_tags", fail)
    result = _separate(model, song)
    assert result.exit_code == 0
    assert "song.flac: its tags were not copied (no tag at all)" in result.stderr
    assert len(_files("separated")) == 2


def test_a_hint_without_mutagen(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sksep.cli._separate.find_spec", lambda name: None)
    song = _write_song("song.wav")
    result = _separate(model, song)
    assert result.exit_code == 0
    assert "sksep[tags]" in result.stderr.splitlines()[-1]
    assert "sksep[tags]" not in _separate(model, song, "--no-tags", "--overwrite").stderr


def test_unknown_model() -> None:
    song = _write_song("song.wav")
    result = _run("separate", song, "-o", "out", "--model", "absent")
    _assert_fails(result, 1, "^Error: There is no model 'absent'")
    assert not Path("out").exists()


@pytest.mark.parametrize("by_option", [True, False])
def test_traceback(by_option: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    song = _write_song("song.wav")
    if not by_option:
        monkeypatch.setenv("SKSEP_TRACEBACK", "1")
    options = ["--traceback"] if by_option else []
    result = _run("separate", song, "-o", "out", "--model", "absent", *options)
    assert result.exit_code == 1
    assert "Traceback (most recent call last)" in result.stderr
    assert "in load_model" in result.stderr


# Models


@pytest.fixture
def cards(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ("architecture", "training_data", "terms", "protocol", "limits")
    cards = tuple(
        SimpleNamespace(
            name=name,
            summary=f"summary of {name}",
            size_mb=4.2,
            figures={"vocals SDR": "6.5 dB"},
            **{text: f"{text} of {name}" for text in texts},
        )
        for name in ("big", "little")
    )
    monkeypatch.setattr("sksep.pretrained.list_pretrained", lambda: cards)


@pytest.mark.usefixtures("cards")
def test_models() -> None:
    result = _run("models")
    assert result.exit_code == 0, result.output
    for name in ("big", "little"):
        for text in (f"{name} (4.2 MB): summary", "training_data", "terms", "SDR: 6.5 dB"):
            assert text in result.stdout
        assert f"limits of {name}" not in result.stdout
    assert "non-commercial" in result.stdout
    assert "BSD-3-Clause" in result.stdout


@pytest.mark.usefixtures("cards")
def test_card_of_a_model() -> None:
    result = _run("models", "little")
    assert result.exit_code == 0, result.output
    for text in ("architecture", "training_data", "terms", "protocol", "limits"):
        assert f"{text} of little" in result.stdout
    assert "of big" not in result.stdout
    assert "--model little" in result.stdout
    _assert_fails(_run("models", "medium"), 2, "no model 'medium'; there are big, little")


# Training

_SHORT = ("--epochs", "1", "--steps-per-epoch", "1", "--batch-size", "1", "--device", "cpu")


def test_train(monkeypatch: pytest.MonkeyPatch) -> None:
    pools = []
    fit = Pipeline.fit

    def recorded(self: Pipeline, X: object, y: object) -> Pipeline:
        pools.append(self["separate"].augmentation.get_params())
        return fit(self, X, y)

    monkeypatch.setattr(Pipeline, "fit", recorded)
    data = _write_data("data")
    singing, music = _write_song("singing/deep/a.wav"), _write_song("music/b.wav")
    # Of the presets' networks, this one is fast.
    monkeypatch.setattr(
        "sksep.presets.unet_pipeline",
        lambda preset: presets.uhnet_pipeline(
            preset, separate=UNetSeparator(n_filters=2, n_levels=2)
        ),
    )
    arguments = ["train", data, "-o", "mine.safetensors", "--model", "unet", "--seed", "3"]
    options = ["--singing", "singing", "--instrumental", "music", *_SHORT]
    result = _run(*arguments, *options)
    assert result.exit_code == 0, result.output
    assert pools[0]["vocals_pool"] == [str(singing)]
    assert pools[0]["accompaniment_pool"] == [str(music)]
    assert "sksep separate song.wav --model mine.safetensors -o out" in result.stdout
    assert "train_loss" in result.stdout
    assert "\033" not in result.output  # neither colors nor bars in pipes
    assert "\r" not in result.output
    assert result.stderr.count("Warning:") == 0
    separator = sksep.load("mine.safetensors")["separate"]
    assert separator.random_state == 3
    assert separator.n_epochs_ == 1
    assert (separator.batch_size, separator.excerpts_per_epoch) == (1, 1)
    assert separator.verbose == 0
    before = Path("mine.safetensors").read_bytes()
    _assert_fails(_run(*arguments, *_SHORT), 1, "mine.safetensors exists; .*--overwrite")
    assert Path("mine.safetensors").read_bytes() == before
    assert len(pools) == 1
    assert _separate(Path("mine.safetensors"), singing, "-o", "out").exit_code == 0


def test_another_stem(monkeypatch: pytest.MonkeyPatch) -> None:
    for song in ("A - a", "B - b"):
        for stem in ("mixture", "bass"):
            _write_song(f"data/{song}/{stem}.wav")
    monkeypatch.setattr(
        "sksep.presets.unet_pipeline",
        lambda preset: presets.uhnet_pipeline(
            preset, separate=UNetSeparator(n_filters=2, n_levels=2)
        ),
    )
    model = "bass.safetensors"
    arguments = ["train", "data", "-o", model, "--model", "unet", "--target"]
    _assert_fails(_run(*arguments, "../x", *_SHORT), 2, "STEM must consist of letters")
    _assert_fails(_run(*arguments, "drums", *_SHORT), 1, "has no drums among its files")
    result = _run(*arguments, "bass", *_SHORT)
    assert result.exit_code == 0, result.output
    assert "to extract bass" in result.stdout
    assert "sksep evaluate" not in result.stdout
    song = Path("data/A - a/mixture.wav")
    assert _separate(Path(model), song, "-o", "out").exit_code == 0
    stems = sorted(path.name for path in Path("out/mixture").iterdir())
    assert stems == ["bass.wav", "no_bass.wav"]
    again = _separate(Path(model), song, "-o", "out")
    assert "Done before: 1 of 1" in again.stdout
    _assert_fails(_run("evaluate", model, "data"), 2, "extracts bass.*target='bass'")


@pytest.mark.parametrize(("fraction", "n_groups"), [(0.5, 2), (0.1, None)])
def test_validation_by_artist(
    fraction: float, n_groups: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []

    class Stop(Exception):
        pass

    def stop(self: Pipeline, X: object, y: object, separate__groups: object = None) -> None:
        found.append(separate__groups)
        raise Stop

    monkeypatch.setattr(Pipeline, "fit", stop)
    for song in ("A - a", "A - b", "B - c"):
        for stem in ("vocals", "accompaniment"):
            _write_song(f"data/{song}/{stem}.wav")
    _run("train", "data", "-o", "m", "--validation-fraction", str(fraction), *_SHORT)
    (groups,) = found
    assert (None if groups is None else len({*groups})) == n_groups


@pytest.mark.parametrize("model_name", ["unet", "uhnet", "deep-clustering", "hybrid"])
@pytest.mark.parametrize("preset", presets.PRESETS)
def test_what_is_trained(model_name: str, preset: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fitted = []

    class Stop(Exception):
        pass

    def stop(self: Pipeline, X: object, y: object) -> None:
        fitted.append(self)
        raise Stop

    monkeypatch.setattr(Pipeline, "fit", stop)
    data = _write_data("data")
    _write_song("singing/a.wav")
    arguments = ["train", data, "-o", "m", "--model", model_name, "--preset", preset]
    options = ["--singing", "singing", "--steps-per-epoch", "5", "--validation-fraction", "0"]
    result = _run(*arguments, *options)
    assert isinstance(result.exception, Stop), result.output
    separator = fitted[0]["separate"]
    names = {"unet": "UNet", "uhnet": "UHNet", "hybrid": "HybridClustering"}
    assert type(separator).__name__ == f"{names.get(model_name, 'DeepClustering')}Separator"
    assert fitted[0]["chunk"].n_fft == (2048 if preset == "recommended" else 1024)
    assert separator.excerpts_per_epoch == 5 * separator.batch_size
    assert separator.validation_fraction == 0
    assert len(separator.augmentation.vocals_pool) == 1
    assert separator.augmentation.accompaniment_pool is None


@pytest.fixture
def fast_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `--model unet` be a network that is trained in no time."""
    monkeypatch.setattr(
        "sksep.presets.unet_pipeline",
        lambda preset: presets.uhnet_pipeline(
            preset, separate=UNetSeparator(n_filters=2, n_levels=2)
        ),
    )


@pytest.mark.usefixtures("fast_network")
@pytest.mark.parametrize("n_epochs", [0, 1])
@pytest.mark.parametrize("number", [signal.SIGINT, *_SIGNALS])
def test_interrupted_training(
    n_epochs: int, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    if sys.platform == "win32":
        pytest.skip("os.kill ends the process")
    n_steps = 0
    step = SeparationNet.train_step_single

    def interrupted(self: object, *arguments: object, **parameters: object) -> object:
        nonlocal n_steps
        n_steps += 1
        if n_steps > 2 * n_epochs:
            os.kill(os.getpid(), number)
        return step(self, *arguments, **parameters)

    monkeypatch.setattr(SeparationNet, "train_step_single", interrupted)
    data = _write_data("data")
    options = ["--epochs", "3", "--steps-per-epoch", "2", "--batch-size", "1", "--device", "cpu"]
    arguments = ["train", data, "-o", "mine.safetensors", "--model", "unet", *options]
    result = _run(*arguments)
    assert f"Warning: Training was interrupted after {n_epochs} of 3 epochs" in result.stderr
    assert "needs --checkpoint" in result.stderr
    if n_epochs == 0:
        _assert_fails(result, 128 + number, "Interrupted")
        assert not Path("mine.safetensors").exists()
    else:
        assert result.exit_code == 0, result.output
        assert sksep.load("mine.safetensors")["separate"].n_epochs_ == 1


@pytest.mark.usefixtures("fast_network")
def test_training_goes_on_from_a_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    data = _write_data("data")
    options = ["--epochs", "2", "--steps-per-epoch", "2", "--batch-size", "1", "--device", "cpu"]
    arguments = ["train", data, "--model", "unet", *options]
    assert _run(*arguments, "-o", "whole.safetensors").exit_code == 0
    n_steps = 0
    step = SeparationNet.train_step_single

    def interrupted(self: object, *arguments: object, **parameters: object) -> object:
        nonlocal n_steps
        n_steps += 1
        if n_steps == 3:
            raise KeyboardInterrupt
        return step(self, *arguments, **parameters)

    monkeypatch.setattr(SeparationNet, "train_step_single", interrupted)
    arguments += ["-o", "mine.safetensors", "--checkpoint", "deep/states"]
    result = _run(*arguments)
    assert result.exit_code == 0, result.output
    assert "repeat the command, with --overwrite" in result.stderr
    assert len(_files("deep/states")) == 1
    result = _run(*arguments, "--overwrite")
    assert result.exit_code == 0, result.output
    assert "Warning" not in result.stderr
    assert n_steps == 3 + 2
    assert _files("deep/states") == []
    whole, mine = (sksep.load(f"{name}.safetensors") for name in ("whole", "mine"))
    assert mine["separate"].checkpoint is None
    estimates = [pipeline.predict(_SONGS.mixtures[:1])[0] for pipeline in (whole, mine)]
    assert np.array_equal(*estimates)


@pytest.mark.usefixtures("fast_network")
def test_a_model_that_cannot_be_saved_gets_another_name(monkeypatch: pytest.MonkeyPatch) -> None:
    data = _write_data("data")
    fit = Pipeline.fit

    def disturbed(self: Pipeline, X: object, y: object) -> Pipeline:
        Path("mine.safetensors").write_text("of another process")
        return fit(self, X, y)

    monkeypatch.setattr(Pipeline, "fit", disturbed)
    result = _run("train", data, "-o", "mine.safetensors", "--model", "unet", *_SHORT)
    _assert_fails(result, 1, r"exists; .*saved as mine-[\d-]+\.safetensors instead\.$")
    assert Path("mine.safetensors").read_text() == "of another process"
    (saved,) = Path().glob("mine-*.safetensors")
    assert sksep.load(saved)["separate"].n_epochs_ == 1


def test_train_tries_to_write_first(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object, **parameters: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    data = _write_data("data")
    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    result = _run("train", data, "-o", "m", *_SHORT)
    _assert_fails(result, 1, "No file can be written to the folder .*Read-only file system")
    assert "Training" not in result.stdout


def test_train_needs_a_folder_to_write_to() -> None:
    data = _write_data("data")
    _assert_fails(_run("train", data, "-o", "absent/m"), 1, "There is no folder absent")
    Path("empty").mkdir()
    _assert_fails(_run("train", "empty", "-o", "m"), 1, "'empty' holds no tracks")


# Several models


def test_several_models_are_averaged(model: Path) -> None:
    _write_song("song.wav")
    other = Path("other.safetensors")
    pipeline = sksep.load(model)
    altered = sksep.load(model)
    for weights in altered[2].net_.module_.parameters():
        weights.data *= 0.5
    sksep.save(altered, other)
    options = ["--model", model, "--model", other, "--subtype", "FLOAT", "--device", "cpu"]
    result = _run("separate", "song.wav", "-o", "out", *options)
    assert result.exit_code == 0, result.output
    mixture = soundfile.read("song.wav")[0]
    expected = (pipeline.predict([mixture])[0] + altered.predict([mixture])[0]) / 2
    vocals = soundfile.read("out/song/vocals.wav")[0]
    np.testing.assert_allclose(vocals, expected, atol=1e-4)
    result = _run("separate", "song.wav", "-o", "out2", "--model", model, "--model", "absent")
    _assert_fails(result, 1, "There is no model 'absent'")


# Evaluating


def test_evaluate(model: Path) -> None:
    data = _write_data("data")
    soundfile.write("data/B/vocals.wav", np.zeros(len(_SONGS.vocals[1])), _RATE)
    files = ["--json", "scores.json", "--csv", "tables/scores.csv"]
    arguments = ["evaluate", model, data, "--device", "cpu", *files]
    result = _run(*arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith("SDR by BSSEval v3 (512 taps) over whole tracks at 16000 Hz")
    assert "mono" in result.stdout
    assert "Griffin-Lim iterations: 1 (tiny)." in result.stdout
    assert "Left out, since their vocals are silent: B." in result.stdout

    scores = json.loads(Path("scores.json").read_text())
    mixture, vocals = _SONGS.mixtures[0], _SONGS.vocals[0]
    estimate = sksep.load(model).predict([mixture])[0]
    expected = {
        "mixture": {
            "vocals": sdr(vocals, mixture),
            "accompaniment": sdr(mixture - vocals, mixture),
        },
        "tiny": {
            "vocals": sdr(vocals, estimate),
            "accompaniment": sdr(mixture - vocals, mixture - estimate),
        },
    }
    for system, stems in expected.items():
        assert scores["tracks"]["A"][system] == pytest.approx(stems, abs=0.02)
    assert scores["tracks"]["B"]["tiny"]["vocals"] is None
    assert scores["mean"]["tiny"]["vocals"] == scores["tracks"]["A"]["tiny"]["vocals"]
    assert scores["median"]["mixture"]["vocals"] == scores["tracks"]["A"]["mixture"]["vocals"]
    both = [scores["tracks"][track]["tiny"]["accompaniment"] for track in "AB"]
    assert scores["mean"]["tiny"]["accompaniment"] == pytest.approx(np.mean(both), abs=1e-3)
    assert scores["protocol"] in result.stdout
    with open("tables/scores.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["track"], row["system"]) for row in rows] == [
        (track, system) for track in "AB" for system in ("mixture", "tiny")
    ]
    assert float(rows[1]["vocals_sdr"]) == scores["tracks"]["A"]["tiny"]["vocals"]
    assert rows[3]["vocals_sdr"] == ""

    before = Path("scores.json").read_bytes()
    _assert_fails(_run(*arguments), 1, "scores.json exists")
    assert Path("scores.json").read_bytes() == before


def test_scores_are_written_as_songs_finish(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = _write_data("data")
    n_calls = 0

    def crash(*arguments: object) -> float:
        nonlocal n_calls
        n_calls += 1
        if n_calls > 4:  # the second song
            raise KeyboardInterrupt
        return 1.0

    monkeypatch.setattr("sksep.metrics.sdr", crash)
    files = ["--json", "scores.json", "--csv", "scores.csv", "--device", "cpu"]
    assert _run("evaluate", model, data, *files).exit_code == 130
    assert list(json.loads(Path("scores.json").read_text())["tracks"]) == ["A"]
    assert len(Path("scores.csv").read_text().splitlines()) == 3


def test_evaluate_at_another_rate_with_all_channels(model: Path) -> None:
    track = Path("data/A")
    track.mkdir(parents=True)
    pair = np.stack([_SONGS.mixtures[0], 0.5 * _SONGS.mixtures[0]], axis=1)[: _RATE // 2]
    soundfile.write(track / "mixture.wav", pair, _RATE)
    soundfile.write(track / "vocals.wav", _SONGS.vocals[0][: _RATE // 2], _RATE)
    options = ["--sample-rate", "22050", "--channels", "all", "--n-iter", "0", "--device", "cpu"]
    result = _run("evaluate", model, "data", *options)
    assert result.exit_code == 0, result.output
    assert "22050 Hz, all channels separated" in result.stdout
    assert "Griffin-Lim iterations: 0 (tiny)" in result.stdout


@pytest.mark.parametrize(
    ("protocol", "title", "ratio"),
    [
        ("usdr", "uSDR of the Music Demixing challenges", usdr),
        ("csdr", "cSDR (BSSEval v4", partial(csdr, sample_rate=_RATE)),
    ],
)
def test_evaluate_by_protocols_of_challenges(
    model: Path, protocol: str, title: str, ratio: Callable[..., float]
) -> None:
    data = _write_data("data")
    soundfile.write("data/B/vocals.wav", np.zeros(len(_SONGS.vocals[1])), _RATE)
    options = ["--protocol", protocol, "--channels", "all", "--json", "scores.json"]
    result = _run("evaluate", model, data, "--device", "cpu", *options)
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(title)
    assert "16000 Hz, all channels separated, all of them scored" in result.stdout
    assert "Left out, since their vocals are silent: B." in result.stdout
    tracks = json.loads(Path("scores.json").read_text())["tracks"]
    mixture, vocals = _SONGS.mixtures[0], _SONGS.vocals[0]
    estimate = sksep.load(model).predict([mixture])[0]
    assert tracks["A"]["tiny"]["vocals"] == pytest.approx(ratio(vocals, estimate), abs=0.02)
    assert tracks["A"]["mixture"]["vocals"] == pytest.approx(ratio(vocals, mixture), abs=0.02)
    assert tracks["B"]["mixture"]["vocals"] is None


def test_evaluate_names_what_does_not_fit(model: Path) -> None:
    data = _write_data("data")
    soundfile.write("data/B/vocals.wav", np.ones(100), _RATE)
    result = _run("evaluate", model, data, "--device", "cpu")
    _assert_fails(result, 1, r"^Failed: 1 of 2 songs\.$")
    assert re.search(r"B: .*B.vocals\.wav\) has 100 samples but its mixture", result.stderr)
    assert re.search("^A +", result.stdout, re.MULTILINE)


# The demo


def test_demo(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sksep.cli._demo._SECONDS", 2.0)
    arguments = ["demo", "-o", "shown", "--model", model, "--device", "cpu"]
    for _ in range(2):  # the files of an earlier demo may be replaced
        result = _run(*arguments)
        assert result.exit_code == 0, result.output
        stems = [f"{stem}.wav" for stem in sorted(STEMS)]
        assert _files("shown") == [*stems[:1], "mixture.wav", "sksep-demo.txt", *stems[1:]]
        assert "sksep separate" in result.stdout
    figures = re.search(r"^vocals +(-?[\d.]+) +(-?[\d.]+)$", result.stdout, re.MULTILINE)
    assert figures is not None
    vocals, mixture = soundfile.read("shown/vocals.wav")[0], soundfile.read("shown/mixture.wav")[0]
    expected = [sdr(_SONGS.vocals[0], mixture), sdr(_SONGS.vocals[0], vocals)]
    assert [float(figure) for figure in figures.groups()] == pytest.approx(expected, abs=0.006)


def test_demo_leaves_other_folders_alone(model: Path) -> None:
    song = _write_song("mine/mixture.wav")
    before = song.read_bytes()
    _assert_fails(
        _run("demo", "-o", "mine", "--model", model), 1, "not the folder of an earlier demo"
    )
    assert song.read_bytes() == before
    assert _files("mine") == ["mixture.wav"]
