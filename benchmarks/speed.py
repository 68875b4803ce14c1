"""Speed of sksep beside that of the reference implementations, on the same cores.

    python benchmarks/speed.py                                # everything, on 1 and 2 threads
    python benchmarks/speed.py --only griffin-lim --threads 2
    python benchmarks/speed.py --output results.json

Ours and the reference take turns in one process, so that what else the machine does hurts both;
the ratio is the median over the turns. The threads are those of torch; the libraries under the
references (BLAS, FFT) keep their own choice.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import librosa
import numpy as np
import torch
from _results import environment, markdown_table, write
from tqdm import tqdm

from sksep.datasets import make_songs
from sksep.nn import spectral
from sksep.nn.griffin_lim import griffin_lim

SAMPLE_RATE = 16000


@dataclass(frozen=True)
class Comparison:
    """Two ways to the same result.

    Parameters
    ----------
    ours, reference : callable
        Do the whole job once and return its result.
    agreement : callable
        From both results, what shows that they are worth comparing; by default nothing.
    """

    ours: Callable[[], Any]
    reference: Callable[[], Any]
    agreement: Callable[[Any, Any], dict[str, float]] = field(default=lambda ours, reference: {})


def front_end(n_fft: int, hop_length: int, n_mels: int, waveform: np.ndarray) -> Comparison:
    """From a waveform to its log-mel spectrogram."""
    filter_bank = spectral.mel_filter_bank(SAMPLE_RATE, n_fft, n_mels)

    def ours() -> np.ndarray:
        return spectral.log_mel(torch.from_numpy(waveform), filter_bank, n_fft, hop_length).numpy()

    def reference() -> np.ndarray:
        power = librosa.feature.melspectrogram(
            y=waveform,
            sr=SAMPLE_RATE,
            n_fft=n_fft,
            hop_length=hop_length,
            n_mels=n_mels,
            pad_mode="constant",
        )
        return librosa.power_to_db(power, top_db=None).T

    return Comparison(
        ours, reference, lambda a, b: {"largest difference, dB": float(np.abs(a - b).max())}
    )


def phase_reconstruction(
    n_fft: int, hop_length: int, n_iter: int, momentum: float, waveform: np.ndarray
) -> Comparison:
    """From magnitudes and random phase to a waveform."""
    sizes = {"n_fft": n_fft, "hop_length": hop_length}
    magnitude = spectral.stft(torch.from_numpy(waveform), **sizes).abs()
    # librosa's own layout, so that it need not copy.
    bins_first = np.ascontiguousarray(magnitude.numpy().T)

    def ours() -> np.ndarray:
        return griffin_lim(
            magnitude,
            **sizes,
            n_samples=len(waveform),
            n_iter=n_iter,
            momentum=momentum,
            generator=torch.Generator().manual_seed(0),
        ).numpy()

    def reference() -> np.ndarray:
        return librosa.griffinlim(
            bins_first,
            **sizes,
            n_iter=n_iter,
            momentum=momentum,
            length=len(waveform),
            pad_mode="constant",
            random_state=0,
        )

    def convergence(estimate: np.ndarray) -> float:
        """Distance of the spectrogram from the given one, in dB."""
        difference = spectral.stft(torch.from_numpy(estimate), **sizes).abs() - magnitude
        return float(20.0 * torch.log10(difference.norm() / magnitude.norm()))

    return Comparison(
        ours,
        reference,
        lambda a, b: {
            "convergence, dB": convergence(a),
            "convergence of the reference, dB": convergence(b),
        },
    )


# Name -> what makes the comparison from a waveform at SAMPLE_RATE.
COMPARISONS: dict[str, Callable[[np.ndarray], Comparison]] = {
    "front end, 1024/128, 128 mels": partial(front_end, 1024, 128, 128),
    "front end, 2048/512, 256 mels": partial(front_end, 2048, 512, 256),
    "griffin-lim, 1024/128, 10 iterations": partial(phase_reconstruction, 1024, 128, 10, 0.0),
    "griffin-lim, 2048/512, 10 iterations": partial(phase_reconstruction, 2048, 512, 10, 0.0),
    "fast griffin-lim, 1024/128, 10 iterations": partial(phase_reconstruction, 1024, 128, 10, 0.99),
}


def measure(comparison: Comparison, repeats: int) -> dict[str, Any]:
    """Time both in turns, after one warm-up each that also shows that they agree."""
    agreement = comparison.agreement(comparison.ours(), comparison.reference())
    ours, reference = [], []
    for _ in range(repeats):
        ours.append(_seconds(comparison.ours))
        reference.append(_seconds(comparison.reference))
    ratios = [slow / fast for fast, slow in zip(ours, reference, strict=True)]
    return {
        "ours, s": median(ours),
        "reference, s": median(reference),
        "ratio": median(ratios),
        "ratios": ratios,
        "agreement": agreement,
    }


def _seconds(job: Callable[[], Any]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=30.0, help="length of the audio")
    parser.add_argument("--repeats", type=int, default=15, help="turns of each comparison")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], help="threads of torch")
    parser.add_argument("--only", default="", help="comparisons whose names hold this text")
    parser.add_argument("--output", help="JSON file (default: benchmarks/results/speed.*)")
    options = parser.parse_args()

    songs = make_songs(1, options.seconds, sample_rate=SAMPLE_RATE, random_state=0)
    waveform = np.ascontiguousarray(songs.mixtures[0], dtype=np.float32)
    jobs = [
        (name, threads)
        for name in COMPARISONS
        if options.only in name
        for threads in options.threads
    ]
    if not jobs:
        parser.error(f"--only {options.only!r} matches none of: {'; '.join(COMPARISONS)}")
    results = []
    for name, threads in tqdm(jobs):
        torch.set_num_threads(threads)
        measured = measure(COMPARISONS[name](waveform), options.repeats)
        results.append({"name": name, "threads": threads, **measured})

    table = markdown_table([_row(result) for result in results])
    print(table)
    record = {"options": vars(options), "comparisons": results}
    if options.output:
        text = json.dumps({**environment(), **record}, indent=2)
        Path(options.output).write_text(text + "\n")
    elif not options.only:
        write("speed", record, table)


def _row(result: dict[str, Any]) -> dict[str, Any]:
    agreement = "; ".join(f"{key} {value:.4g}" for key, value in result["agreement"].items())
    return {
        "comparison": result["name"],
        "threads": result["threads"],
        "ours, s": f"{result['ours, s']:.4f}",
        "reference, s": f"{result['reference, s']:.4f}",
        "ratio": result["ratio"],
        "agreement": agreement,
    }


if __name__ == "__main__":
    main()
