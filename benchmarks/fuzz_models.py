"""Altered model files and damaged checkpoints: what sksep.load and fit make of them.

python benchmarks/fuzz_models.py                  # 700 models, 300 checkpoints: some minutes

Small models of all kinds are saved, and altered at random: values of the description are replaced,
keys dropped and added, types swapped, numbers made huge, negative or NaN, and tensors renamed,
reshaped, filled with NaN, or changed by a bit. Most get fitting checksums. In a process of its own,
each is loaded, and separates a short track. A mutant is in order if it is refused by a ValueError,
or if it is a model of its own: saved again, it says what the file said, and its estimate is finite.
Processes that are started, files that are written and addresses that are opened are failures,
and so are more than 2 s of computing or 1 GB of memory. Damaged checkpoints must be refused.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import resource
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.torch
import torch
from _lib.results import markdown_table, settings, write
from sklearn.cluster import KMeans
from sklearn.frozen import FrozenEstimator
from sklearn.mixture import GaussianMixture
from sklearn.pipeline import Pipeline
from skorch.callbacks import Callback

import sksep
from sksep.datasets import make_songs
from sksep.persistence._file import digest, text_digest

RATE = 8000
SECONDS = 2.0
MEGABYTES = 1000
WATCHED = ("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.fork", "socket.connect")
VALUES: list[Any] = [
    *(None, True, False, -1, 0, 1, 2, 10**6, 10**9, 10**30, -(10**9), 0.5, -1.5, 1e308, 1e-320),
    *(float("nan"), float("inf"), "", "x", "1", "cuda", "auto", "../x", [], [1, 2], {}, {"a": 1}),
    {"$type": "tuple", "items": [1, 2]},
    {"$type": "float", "value": "nan"},
    {"$type": "optimizer", "name": "SGD"},
    {"$type": "front_end", "hop_length": 1},
    {"$type": "array", "name": "surplus"},
    {"$type": "estimator", "class": "sksep.MaskBuilder", "parameters": {}, "fitted": {}},
    {"$type": "estimator", "class": "sksep.ModuleSeparator", "parameters": {}, "fitted": {}},
]
KEYS = [
    "compile",
    "memory",
    "n_jobs",
    "predict",
    "_sklearn_output_config",
    "classes_",
    "net",
    "$type",
]
Description = dict[str, Any]
Tensors = dict[str, torch.Tensor]


# Models to begin with.


def models(songs: Any) -> dict[str, Any]:
    """Small fitted pipelines of all kinds."""
    training: dict[str, Any] = {
        "max_epochs": 1,
        "batch_size": 8,
        "device": "cpu",
        "random_state": 0,
    }
    small = {"hidden_size": 3, "n_layers": 1, "embedding_dim": 3, **training}
    unet = {"n_filters": 2, "n_levels": 2, "validation_fraction": 0.34, **training}
    hybrid = pipeline(sksep.HybridClusteringSeparator(output="mask", **small)).fit(
        songs.mixtures, songs.vocals
    )[-2]
    frozen = {"clustering": FrozenEstimator(hybrid), "n_filters": 2, "depth": 2, **training}
    clusterer = {"clusterer": KMeans(2, n_init=1), "max_samples": 500, **small}
    mixture = {
        "clusterer": GaussianMixture(2),
        "cluster_scope": "chunk",
        "max_samples": 200,
        **small,
    }
    net_params = {"net_params": {"optimizer__momentum": 0.5}}
    separators = [
        sksep.UNetSeparator(**unet, **net_params),
        sksep.UNetSeparator(architecture="singing_voice", augmentation=False, **unet),
        sksep.DeepClusteringSeparator(**clusterer),
        sksep.HybridClusteringSeparator(**mixture),
        sksep.UHNetSeparator(**frozen),
        sksep.NMFSeparator(n_components=3, max_iter=5, random_state=0),
        sksep.HPSSSeparator(long_window=0.3),
        sksep.RepetSimSeparator(),
        sksep.RobustPCASeparator(max_iter=20),
    ]
    fitted = [pipeline(each).fit(songs.mixtures, songs.vocals) for each in separators]
    return {f"{index}-{type(each[-2]).__name__}": each for index, each in enumerate(fitted)}


def pipeline(separator: Any) -> Pipeline:
    chunker = sksep.MelChunker(sample_rate=RATE, n_fft=256, hop_length=64, n_mels=16, n_frames=32)
    inverter = sksep.GriffinLimInverter(n_iter=1)
    steps = {
        "chunk": chunker,
        "mask": sksep.MaskBuilder(),
        "separate": separator,
        "invert": inverter,
    }
    return Pipeline(list(steps.items()))


# Mutants.


def places(value: Any) -> list[tuple[Any, Any]]:
    """Containers of a description, each with one of its keys or indices."""
    if not isinstance(value, (dict, list)):
        return []
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    inner = [place for key in keys for place in places(value[key])]
    return [(value, key) for key in keys] + inner


def mutate_text(description: Description, draw: random.Random) -> str:
    """Change the description at one place, and say how."""
    everywhere = places(description["estimator"])
    of_parameters = [
        place for owner, key in everywhere if key == "parameters" for place in places(owner[key])
    ]
    container, key = draw.choice(draw.choice([everywhere, of_parameters]))
    value = container[key]
    kind = draw.choice(["replace", "replace", "scale", "drop", "add", "type", "swap", "head"])
    if kind == "head":
        container, key = description, draw.choice(["format_version", "estimator", "versions"])
    if kind in ("replace", "head"):
        container[key] = draw.choice(VALUES)
    elif kind == "scale":
        numbers = [
            place
            for place in places(description["estimator"])
            if isinstance(place[0][place[1]], (int, float))
        ]
        container, key = draw.choice(numbers)
        container[key] = draw.choice([1e6, 10**6, -1, 0, float("nan"), 1e-9]) * container[key]
    elif kind == "drop":
        container.pop(key)
    elif kind == "add" and isinstance(container, dict):
        container[draw.choice(KEYS)] = draw.choice(VALUES)
    elif kind == "add":
        container.insert(key, draw.choice(VALUES))
    elif kind == "type":
        container[key] = draw.choice([str(value), [value], {"a": value}, not value])
    else:
        other, name = draw.choice(places(description["estimator"]))
        container[key], other[name] = other[name], value
    return f"{kind} {key!s:.40}"


def mutate_tensors(tensors: Tensors, draw: random.Random) -> str:
    """Change one tensor, and say how."""
    name = draw.choice(sorted(tensors))
    tensor = tensors[name]
    kind = draw.choice(
        ["rename", "reshape", "nan", "huge", "bit", "bit", "type", "drop", "add", "cut"]
    )
    if kind == "rename":
        tensors[name + "x"] = tensors.pop(name)
    elif kind == "reshape":
        tensors[name] = tensor.reshape(-1, 1)
    elif kind in ("nan", "huge") and tensor.is_floating_point():
        tensor.view(-1)[draw.randrange(tensor.numel())] = np.nan if kind == "nan" else 1e38
    elif kind == "type":
        tensors[name] = tensor.to(draw.choice([torch.float64, torch.int64, torch.bfloat16]))
    elif kind == "drop":
        del tensors[name]
    elif kind == "add":
        tensors["surplus"] = torch.zeros(draw.choice([(), (0,), (3, 3)]))
    elif kind == "cut":
        tensors[name] = tensor.reshape(-1)[:-1].clone()
    else:
        content = tensor.reshape(-1).view(torch.uint8)
        content[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
    return f"{kind} {name}"


def hand_made(read: Callable[[str], tuple[Description, Tensors]]) -> list[Any]:
    """Attacks, each with the model that it changes."""
    code = {"compile": True, "compile__options": {"cpp.march": "native -wrapper sh,-c,'id>x'"}}
    separator = {
        "0-UNetSeparator": [
            *({"net_params": {name: code[name]}} for name in code),
            *({"n_filters": 20000}, {"n_levels": 10**7}, {"batch_size": 10**12}, {"loss": "eval"}),
            *({"device": "cuda:99"}, {"device": "meta"}, {"callbacks": ["x"]}, {"checkpoint": "x"}),
        ],
        "2-DeepClusteringSeparator": [
            *({"n_layers": 10**7}, {"n_convolutions": 10**7}, {"hidden_size": 10**6}),
            *({"embedding_dim": 10**9}, {"max_samples": 10**12}, {"clusterer": None}),
        ],
        "5-NMFSeparator": [
            {"n_components": 10**9},
            {"n_context_frames": 10**9},
            {"max_iter": 10**9},
        ],
        "6-HPSSSeparator": [
            {"long_kernel": {"$type": "tuple", "items": [10**9, 3]}},
            {"power": 1e9},
        ],
        "7-RepetSimSeparator": [{"block_duration": 600.0}, {"block_duration": 1e-9}],
        "8-RobustPCASeparator": [{"max_iter": 10**9}],
    }
    attacks = []
    for name, changes in separator.items():
        for change in changes:
            description, tensors = read(name)
            step(description, 2)["parameters"].update(change)
            attacks.append((f"{change!s:.60}", description, tensors))
    chunker = [{"hop_length": 1}, {"n_fft": 2**30}, {"n_mels": 10**9}, {"overlap": 1 - 1e-9}]
    for change in [*chunker, {"n_frames": 10**9}, {"sample_rate": 2**31 - 1}]:
        description, tensors = read("0-UNetSeparator")
        for index in range(3):
            part = step(description, index)
            for fields in (
                part["parameters"] if index == 0 else {},
                part["fitted"].get("front_end_"),
            ):
                (fields or {}).update(change)
        attacks.append((f"front end {change}", description, tensors))
    for change in [{"n_init": 10**9}, {"max_iter": 10**9}, {"n_clusters": 10**9}, {"memory": "x"}]:
        description, tensors = read("2-DeepClusteringSeparator")
        step(description, 2)["parameters"]["clusterer"]["parameters"].update(change)
        attacks.append((f"clusterer {change}", description, tensors))
    for change in [{"estimator": 5}, {"estimator": []}, {"format_version": float("inf")}]:
        description, tensors = read("0-UNetSeparator")
        attacks.append((str(change), {**description, **change}, tensors))
    description, tensors = read("0-UNetSeparator")
    description["estimator"] = json.loads('{"a":' * 900 + "1" + "}" * 900)
    attacks.append(("nested", description, tensors))
    return attacks


def step(description: Description, index: int) -> Any:
    return description["estimator"]["parameters"]["steps"][index]["items"][1]


def read_model(path: Path) -> tuple[Description, Tensors]:
    with safetensors.safe_open(path, framework="pt") as file:
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
        return json.loads(file.metadata()["sksep"]), tensors


def write_model(path: Path, description: Description, tensors: Tensors, sealed: bool) -> None:
    if sealed:
        description["tensors_sha256"] = digest(tensors)
    text = json.dumps(description)
    metadata = {"sksep": text, "sksep_sha256": text_digest(text) if sealed else "0" * 64}
    path.write_bytes(safetensors.torch.save(tensors, metadata))


def write_mutants(folder: Path, originals: Path, count: int, seed: int) -> list[dict[str, Any]]:
    """Write mutants; where they are, how they were made, and whether their checksums fit."""
    draw = random.Random(seed)
    names = sorted(path.stem for path in originals.iterdir())
    made = []
    for index in range(count):
        name = draw.choice(names)
        description, tensors = read_model(originals / f"{name}.safetensors")
        changes = []
        for _ in range(draw.choice([1, 1, 2, 3])):
            on_tensors = bool(tensors) and draw.random() < 0.35
            with suppress(IndexError, KeyError, RuntimeError, TypeError, ValueError):
                changes.append(  # the change before may leave nothing to change
                    mutate_tensors(tensors, draw) if on_tensors else mutate_text(description, draw)
                )
        how = "; ".join(changes)
        sealed = draw.random() < 0.95
        path = folder / f"{index}.safetensors"
        write_model(path, description, tensors, sealed)
        made.append({"path": str(path), "model": name, "how": how, "sealed": sealed})
    attacks = hand_made(lambda name: read_model(originals / f"{name}.safetensors"))
    for index, (how, description, tensors) in enumerate(attacks):
        path = folder / f"attack-{index}.safetensors"
        write_model(path, description, tensors, sealed=True)
        made.append({"path": str(path), "model": "attack", "how": how, "sealed": True})
    return made


# In a process of its own.


def work(connection: Any, check: Callable[[Any], str], prepare: Callable[[], None]) -> None:
    """Check what comes through the connection, and send back what was found."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    events: list[str] = []

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        writes = (
            event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
        )
        if event.startswith(WATCHED) or (writes and "mutants" not in str(arguments[0])):
            events.append(f"{event} {arguments!s:.80}")

    prepare()
    sys.addaudithook(hook)
    limit = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 + MEGABYTES
    while True:
        item = connection.recv()
        events.clear()
        start = time.process_time()
        try:
            outcome = check(item)
        except Exception as error:
            outcome = f"FAILED: {type(error).__name__}: {error!s:.150}"
        seconds = time.process_time() - start
        if events:
            outcome = f"FAILED: {events[0]}"
        elif seconds > SECONDS:
            outcome = f"FAILED: took {seconds:.1f} s; {outcome}"
        elif resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024 > limit:
            outcome, limit = f"FAILED: took memory; {outcome}", float("inf")
        connection.send(outcome)


def run_all(
    items: list[Any], check: Callable[[Any], str], prepare: Callable[[], None]
) -> list[str]:
    """What was found about each item. A process that dies or hangs is started anew."""
    context, outcomes, process, ours = multiprocessing.get_context("spawn"), [], None, None
    for item in items:
        if process is None or not process.is_alive():
            ours, theirs = context.Pipe()
            process = context.Process(target=work, args=(theirs, check, prepare), daemon=True)
            process.start()
            theirs.close()
        ours.send(item)
        try:
            outcome = ours.recv() if ours.poll(120.0) else "FAILED: hangs"
        except (EOFError, ConnectionError):
            outcome = "FAILED: the process died"
        outcomes.append(outcome)
        if outcome in ("FAILED: hangs", "FAILED: the process died"):
            process.kill()
            process = None
    if process is not None:
        process.kill()
    return outcomes


def song() -> np.ndarray:
    return make_songs(1, duration=1.0, sample_rate=RATE, random_state=1).mixtures[0]


def prepare_models() -> None:
    """Import and compute what models need, so that only what is new is seen."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        for model in models(make_songs(3, duration=1.0, sample_rate=RATE, random_state=0)).values():
            sksep.save(model, path, overwrite=True)
            sksep.load(path).predict([song()])


def check_model(mutant: dict[str, Any]) -> str:
    path = Path(mutant["path"])
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = sksep.load(path)
    except ValueError as error:
        assert str(path) in str(error), f"does not name the file: {error}"
        return "refused"
    assert mutant["sealed"], "was loaded in spite of its checksums"
    if not isinstance(model, Pipeline) or not isinstance(model.steps[0][1], sksep.MelChunker):
        return "no model of tracks"  # as sksep.separate says
    if not hasattr(model, "predict"):
        return "no separator"
    try:
        (estimate,) = model.predict([song()])
    except ValueError:
        return "refused when predicting"
    assert estimate.shape == song().shape and np.isfinite(estimate).all(), "estimate"
    if not any("left out" in str(each.message) for each in caught):
        again = path.with_suffix(".again")
        sksep.save(model, again, overwrite=True)
        (said, tensors), (says, others) = read_model(path), read_model(again)
        again.unlink()
        contents = [resolved(*part) for part in ((says, others), (said, tensors))]
        assert covers(*contents), "is not what the file says"
    return "a model of its own"


def resolved(description: Description, tensors: Tensors) -> Any:
    """The estimator of a description, with the contents of tensors in place of their names."""

    def resolve(value: Any) -> Any:
        if isinstance(value, list):
            return [resolve(item) for item in value]
        if not isinstance(value, dict):
            return value
        if value.get("$type") in ("tensor", "array"):
            return {"content": digest({"": tensors[value["name"]]})}
        return {key: resolve(item) for key, item in value.items()}

    return resolve(description["estimator"])


def covers(value: Any, part: Any) -> bool:
    """Whether a JSON value says what another one says, and possibly more keys of objects."""
    if isinstance(part, dict):
        return isinstance(value, dict) and all(
            key in value and covers(value[key], item) for key, item in part.items()
        )
    if isinstance(part, list):
        same = isinstance(value, list) and len(value) == len(part)
        return same and all(covers(*pair) for pair in zip(value, part, strict=True))
    return type(value) is type(part) and value == part


# Checkpoints.


class Stop(Callback):
    """Ends a training after its first epoch, as if the power had failed."""

    def on_batch_end(self, net: Any, **kwargs: Any) -> None:
        if len(net.history) > 1:
            raise RuntimeError("stopped")


def train(folder: Path, **parameters: Any) -> Any:
    songs = make_songs(2, duration=1.0, sample_rate=RATE, random_state=0)
    chunks = pipeline(None)[0].fit_transform(songs.mixtures)
    separator = sksep.UNetSeparator(
        n_filters=2, n_levels=1, max_epochs=2, batch_size=8, excerpts_per_epoch=8,
        optimizer="adam", device="cpu", random_state=0, checkpoint=folder, **parameters,
    )  # fmt: skip
    return separator.fit(sksep.MaskBuilder().fit_transform(chunks, songs.vocals))


def write_checkpoints(folder: Path, count: int, seed: int) -> list[dict[str, Any]]:
    """Damaged copies of a checkpoint, each in a folder of its own."""
    draw = random.Random(seed)
    original = folder / "original"
    with suppress(RuntimeError):
        train(original, callbacks=[Stop()])
    (path,) = original.iterdir()
    made = []
    for index in range(count):
        content = bytearray(path.read_bytes())
        at = draw.randrange(len(content))
        kind = draw.choice(["bit", "bit", "byte", "cut", "zeros", "insert", "append", "head"])
        if kind == "bit":
            content[at] ^= 1 << draw.randrange(8)
        elif kind == "byte":
            content[at] ^= draw.randrange(1, 256)
        elif kind == "cut":
            del content[at:]
        elif kind == "zeros":
            content[at : at + 64] = bytes(byte ^ 0xFF for byte in content[at : at + 64])
        elif kind == "head":
            del content[: draw.randrange(1, 100)]
        else:
            content[at if kind == "insert" else len(content) :] += b"x"
        target = folder / str(index) / path.name
        target.parent.mkdir()
        target.write_bytes(content)
        made.append({"path": str(target), "how": kind})
    return made


def prepare_checkpoints() -> None:
    with tempfile.TemporaryDirectory() as folder:
        train(Path(folder))


def check_checkpoint(damaged: dict[str, Any]) -> str:
    path = Path(damaged["path"])
    try:
        train(path.parent)
    except ValueError as error:
        assert path.name in str(error) and "Delete it" in str(error), f"no remedy: {error}"
        return "refused"
    raise AssertionError("resumed")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--models", type=int, default=700, help="altered models")
    parser.add_argument("--checkpoints", type=int, default=300, help="damaged checkpoints")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    rows = []
    with tempfile.TemporaryDirectory(prefix="mutants-") as name:
        folders = [Path(name) / part for part in ("originals", "models", "checkpoints")]
        for folder in folders:
            folder.mkdir()
        for title, model in models(
            make_songs(3, duration=1.0, sample_rate=RATE, random_state=0)
        ).items():
            sksep.save(model, folders[0] / f"{title}.safetensors")
        items = write_mutants(folders[1], folders[0], options.models, options.seed)
        damaged = write_checkpoints(folders[2], options.checkpoints, options.seed)
        for kind, part, check, prepare in (
            ("models", items, check_model, prepare_models),
            ("checkpoints", damaged, check_checkpoint, prepare_checkpoints),
        ):
            outcomes = run_all(part, check, prepare)
            for item, outcome in zip(part, outcomes, strict=True):
                if outcome.startswith("FAILED"):
                    print(item.get("model", kind), item["how"], outcome)
            found = Counter(
                "FAILED" if outcome.startswith("FAILED") else outcome for outcome in outcomes
            )
            rows += [
                {"what": kind, "outcome": outcome, "number": found[outcome]}
                for outcome in sorted(found)
            ]
    table = markdown_table(rows)
    print(table)
    write("fuzz_models", {"settings": settings(options), "rows": rows}, table)


if __name__ == "__main__":
    main()
