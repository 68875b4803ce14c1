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
import mir_eval
import numpy as np
import torch
from _results import environment, markdown_table, write
from tqdm import tqdm

from sksep import MaskBuilder, MelChunker, UNetSeparator
from sksep.datasets import make_songs
from sksep.metrics import bss_eval
from sksep.nn import spectral
from sksep.nn.excerpts import Excerpts
from sksep.nn.griffin_lim import griffin_lim
from sksep.nn.losses import binary_cross_entropy
from sksep.nn.mask_estimator import MaskEstimator
from sksep.nn.unet import UNet
from sksep.training._dataset import ExcerptDataset

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


def chunks(n_fft: int, hop_length: int, n_mels: int, waveform: np.ndarray) -> Comparison:
    """From a track to overlapping log-mel chunks, checks and copies included, by `MelChunker`."""
    chunker = MelChunker(n_fft=n_fft, hop_length=hop_length, n_mels=n_mels)
    reference = front_end(n_fft, hop_length, n_mels, waveform).reference
    return Comparison(lambda: chunker.transform([waveform])[0].chunks, reference)


def phase_reconstruction(
    n_fft: int, hop_length: int, n_iter: int, momentum: float, waveform: np.ndarray
) -> Comparison:
    """From magnitudes and random phase to a waveform."""
    sizes = {"n_fft": n_fft, "hop_length": hop_length}
    magnitude = spectral.stft(torch.from_numpy(waveform), **sizes).abs()
    # librosa's own layout, so that it need not copy.
    bins_first = np.ascontiguousarray(magnitude.numpy().T)

    def ours(phase: torch.Tensor | None = None) -> np.ndarray:
        return griffin_lim(
            magnitude,
            **sizes,
            n_samples=len(waveform),
            n_iter=n_iter,
            momentum=momentum,
            phase=phase,
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

    def agreement(_: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
        # From the reference's own phase: between random ones lie tenths of a dB.
        turns = np.random.RandomState(0).random_sample(bins_first.shape).T
        phase = torch.from_numpy(np.exp(2j * np.pi * turns).astype(np.complex64))
        return {
            "convergence from the same phase, dB": convergence(ours(phase)),
            "of the reference": convergence(theirs),
        }

    return Comparison(ours, reference, agreement)


def scores(waveform: np.ndarray) -> Comparison:
    """BSSEval v3 of two estimated sources."""
    references = np.stack([waveform, waveform[::-1]]).astype(float)
    noise = np.random.default_rng(0).normal(scale=0.01, size=references.shape)
    estimates = references + 0.2 * references[::-1] + noise

    def reference() -> tuple[np.ndarray, ...]:
        return mir_eval.separation.bss_eval_sources(
            references, estimates, compute_permutation=False
        )

    return Comparison(
        lambda: bss_eval(references, estimates),
        reference,
        lambda a, b: {"largest difference, dB": float(np.abs(np.subtract(a[:3], b[:3])).max())},
    )


def training(waveform: np.ndarray) -> Comparison:
    """Training through fit beside a bare loop with the same module, batches and features.

    The ratio is a share of the throughput of the bare loop: less than 1.
    """
    batch = MelChunker(sample_rate=SAMPLE_RATE).fit_transform([waveform])
    batch = MaskBuilder().fit_transform(batch, [0.5 * waveform])
    separator = UNetSeparator(
        batch_size=8,
        max_epochs=1,
        validation_fraction=0.0,
        augmentation=False,
        precision="float32",
        random_state=0,
    )
    dataset = ExcerptDataset(batch)
    n_steps = -(-len(dataset) // separator.batch_size)
    n_bands = dataset.front_end.n_bands

    def reference() -> None:
        module = MaskEstimator(UNet(), torch.full((n_bands,), -50.0), torch.full((n_bands,), 20.0))
        module.to(memory_format=torch.channels_last)
        optimizer = torch.optim.RMSprop(module.parameters(), lr=1e-3)
        for indices in np.array_split(np.random.default_rng(0).permutation(len(dataset)), n_steps):
            stems, _ = dataset.__getitems__(list(indices))
            vocals, accompaniment = stems.unbind(dim=1)
            excerpts = Excerpts(vocals, accompaniment, dataset.front_end)
            loss = binary_cross_entropy(module(excerpts.features), excerpts)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return Comparison(lambda: separator.fit(batch), reference)


# Name -> what makes the comparison from a waveform at SAMPLE_RATE.
COMPARISONS: dict[str, Callable[[np.ndarray], Comparison]] = {
    "front end, 1024/128, 128 mels": partial(front_end, 1024, 128, 128),
    "front end, 2048/512, 256 mels": partial(front_end, 2048, 512, 256),
    "MelChunker, 1024/128, 128 mels": partial(chunks, 1024, 128, 128),
    "MelChunker, 2048/512, 256 mels": partial(chunks, 2048, 512, 256),
    "griffin-lim, 1024/128, 10 iterations": partial(phase_reconstruction, 1024, 128, 10, 0.0),
    "griffin-lim, 2048/512, 10 iterations": partial(phase_reconstruction, 2048, 512, 10, 0.0),
    "fast griffin-lim, 1024/128, 10 iterations": partial(phase_reconstruction, 1024, 128, 10, 0.99),
    "bss_eval, two sources": scores,
    "training of a U-Net through fit, 1024/128, 128 mels": training,
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
