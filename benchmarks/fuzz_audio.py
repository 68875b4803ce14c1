"""Damaged audio files: what sksep makes of them.

python benchmarks/fuzz_audio.py                # 2,400 files: some minutes
python benchmarks/fuzz_audio.py --kinds mp3    # one kind only

Short files of all kinds are cut at random and changed at random places, most of them in the header.
A process with limited memory loads each. A file is in order if it is refused by a ValueError,
OSError or TypeError that names it, or if its samples are finite. NaN, other errors, too little
memory, more than 10 s, and the end of the process are failures, and make the exit code 1. The
result also tells how many files came back shorter by more than a tenth without any warning.
"""

from __future__ import annotations

import argparse
import io
import multiprocessing
import random
import resource
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from _lib.results import markdown_table, settings, write

from sksep import load_audio
from sksep.datasets import make_songs

RATE = 16000
SECONDS = 3.0
HEADER = 256  # bytes
ALLOWED = (ValueError, OSError, TypeError)


def by_soundfile(format: str, subtype: str | None = None) -> Callable[[Any], bytes]:
    def encode(samples: Any) -> bytes:
        file = io.BytesIO()
        soundfile.write(file, samples.T, RATE, format=format, subtype=subtype)
        return file.getvalue()

    return encode


def by_av(format: str, codec: str) -> Callable[[Any], bytes]:
    def encode(samples: Any) -> bytes:
        import av

        file = io.BytesIO()
        with av.open(file, "w", format=format) as container:
            stream = container.add_stream(codec, rate=RATE, layout="stereo")
            stream.bit_rate = 128000
            context = stream.codec_context
            context.format = context.codec.audio_formats[0]
            context.open()
            frame = av.AudioFrame.from_ndarray(
                np.ascontiguousarray(samples, np.float32), format="fltp", layout="stereo"
            )
            frame.sample_rate, frame.pts = RATE, 0
            resampler = av.AudioResampler(
                context.format.name, "stereo", RATE, frame_size=context.frame_size or 4096
            )
            for part in (*resampler.resample(frame), *resampler.resample(None), None):
                for packet in stream.encode(part):
                    container.mux(packet)
        return file.getvalue()

    return encode


def without_first_frame(samples: Any) -> bytes:
    """MP3 without the frame that states the length."""
    content = by_soundfile("MP3")(samples)
    return content[content.index(content[:2], 4) :]


KINDS: dict[str, Callable[[Any], bytes]] = {
    "wav": by_soundfile("WAV", "PCM_16"),
    "wav-float": by_soundfile("WAV", "FLOAT"),
    "flac": by_soundfile("FLAC", "PCM_16"),
    "ogg-vorbis": by_soundfile("OGG", "VORBIS"),
    "ogg-opus": by_soundfile("OGG", "OPUS"),
    "mp3": by_soundfile("MP3"),
    "mp3-without-xing": without_first_frame,
    "aiff": by_soundfile("AIFF", "PCM_24"),
}
KINDS_BY_AV = {
    "m4a-aac": by_av("ipod", "aac"),
    "m4a-alac": by_av("ipod", "alac"),
    "mkv-flac": by_av("matroska", "flac"),
    "wma": by_av("asf", "wmav2"),
}


def mutate(content: bytes, draw: random.Random) -> bytes:
    """Cut a file, or change some bytes of it, three times out of four in the header."""
    if draw.random() < 0.25:
        return content[: draw.randrange(len(content))]
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 4, 16))):
        end = min(HEADER, len(content)) if draw.random() < 0.75 else len(content)
        place = draw.randrange(end)
        kind = draw.randrange(4)
        if kind == 0:
            changed[place] ^= 1 << draw.randrange(8)
        elif kind == 1:
            changed[place] = draw.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif kind == 2:
            changed[place : place + 4] = draw.randbytes(4)
        else:
            changed[place : place + 4] = draw.choice((b"\0" * 4, b"\xff" * 4, b"\x7f\xff\xff\xff"))
    return bytes(changed)


def outcome(path: Path, n_expected: int) -> str:
    """What loading a file comes to; failures begin with a capital letter."""
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        try:
            samples, _ = load_audio(path)
        except ALLOWED as error:
            if path.name not in str(error):
                return f"Not named: {error!r:.200}"
            return "refused"
        except MemoryError:
            return "MemoryError"
        except Exception as error:
            return f"Raised: {error!r:.200}"
    if not np.isfinite(samples).all():
        return "NaN"
    if warned:
        return "read with a warning"
    return "read" if samples.shape[-1] >= 0.9 * n_expected else "read, shorter"


def work(connection: Connection, folder: Path, sources: dict[str, Any], gigabytes: float) -> None:
    """Load mutants as the parent asks for them."""
    resource.setrlimit(resource.RLIMIT_AS, (int(gigabytes * 1e9),) * 2)
    while (task := connection.recv()) is not None:
        kind, index, seed = task
        content, n_samples = sources[kind]
        path = folder / f"{kind}-{index}.{kind.partition('-')[0]}"
        path.write_bytes(mutate(content, random.Random(f"{seed} {kind} {index}")))
        result = outcome(path, n_samples)
        path.unlink()
        connection.send(result)


class Worker:
    """A process that is started again when it ends or hangs."""

    def __init__(self, *arguments: Any) -> None:
        self._arguments = arguments
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._connection, other = context.Pipe()
        self._process = context.Process(target=work, args=(other, *self._arguments), daemon=True)
        self._process.start()
        other.close()

    def result(self, task: Any, seconds: float) -> str:
        self._connection.send(task)
        try:
            if self._connection.poll(seconds):
                return str(self._connection.recv())
            result = "Hang"
            self._process.kill()
        except (EOFError, ConnectionError):
            result = "Crash"
        self._process.join()
        self._start()
        return result

    def close(self) -> None:
        self._connection.send(None)
        self._process.join()


def sources_of(names: list[str]) -> dict[str, tuple[bytes, int]]:
    """Content of the files of each kind, and their number of samples."""
    song = make_songs(1, duration=SECONDS, n_channels=2, random_state=0).mixtures[0]
    encoders = {**KINDS, **KINDS_BY_AV}
    sources = {}
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            path = Path(folder, name)
            path.write_bytes(encoders[name](song))
            sources[name] = (path.read_bytes(), load_audio(path)[0].shape[-1])
    return sources


def available() -> list[str]:
    try:
        import av  # noqa: F401
    except ImportError:
        return list(KINDS)
    return [*KINDS, *KINDS_BY_AV]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mutants", type=int, default=2400)
    parser.add_argument("--kinds", nargs="+", default=available())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--gigabytes", type=float, default=6.0, help="limit of the address space")
    parser.add_argument("--seconds", type=float, default=10.0, help="limit for a file")
    parser.add_argument("--output", default="fuzz_audio", help="name of the result")
    options = parser.parse_args()

    sources = sources_of(options.kinds)
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in sources}
    failures = []
    longest = 0.0
    with tempfile.TemporaryDirectory() as folder:
        worker = Worker(Path(folder), sources, options.gigabytes)
        worker.result((options.kinds[0], 0, options.seed), 300.0)  # imports
        for number in range(options.mutants):
            kind = options.kinds[number % len(options.kinds)]
            index = number // len(options.kinds)
            started = time.perf_counter()
            result = worker.result((kind, index, options.seed), options.seconds)
            longest = max(longest, time.perf_counter() - started)
            counts[kind][result.partition(":")[0]] += 1
            if result[0].isupper():
                failures.append(f"{kind} {index}: {result}")
                print(failures[-1], flush=True)
        worker.close()

    outcomes = ["refused", "read", "read with a warning", "read, shorter"]
    rows = [
        {
            "kind": kind,
            **{name: count[name] for name in outcomes},
            "failures": sum(n for name, n in count.items() if name[0].isupper()),
        }
        for kind, count in counts.items()
    ]
    totals = {name: sum(row[name] for row in rows) for name in (*outcomes, "failures")}
    rows.append({"kind": "all", **totals})
    table = markdown_table(rows)
    print(f"{table}\n\nLongest: {longest:.1f} s. Failures: {len(failures)}.")
    results = {
        "settings": settings(options),
        "libsndfile": soundfile.__libsndfile_version__,
        "longest_seconds": round(longest, 2),
        "counts": rows,
        "failures": failures,
    }
    write(options.output, results, table)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
