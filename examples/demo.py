"""Train a small separator, score it on unknown songs, and write the vocals that it extracts.

python examples/demo.py                        # synthetic songs
python examples/demo.py --data my-songs        # a folder per song, with vocals.* and
                                               # accompaniment.* (or mixture.*)
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from sklearn.model_selection import GroupShuffleSplit, ShuffleSplit
from sklearn.pipeline import Pipeline

from sksep import (
    Augmentation,
    GriffinLimInverter,
    MaskBuilder,
    MelChunker,
    UNetSeparator,
    load_audio,
)
from sksep.datasets import load_folder, make_songs
from sksep.metrics import sdr
from sksep.plotting import MaskDisplay, SpectrogramDisplay


def main() -> int:
    """Run the demo."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--output", default="demo-output", help="folder to write to")
    parser.add_argument("--data", help="your own songs: a folder per song")
    parser.add_argument("--epochs", type=int, default=12, help="epochs of 40 steps")
    parser.add_argument("--fast", action="store_true", help="a few steps only, to see it run")
    options = parser.parse_args()
    output = Path(options.output)
    if output.exists() and any(output.iterdir()) and not (output / "sdr.txt").exists():
        print(f"{output} is not empty and not from an earlier demo; choose another --output.")
        return 1

    songs = find_songs(options)
    train, test = split(songs)
    print(f"Training on {len(train)} songs, testing on {len(test)} others.")
    pipeline = Pipeline(
        [
            ("chunk", MelChunker(n_fft=1024, hop_length=256, n_mels=128, n_frames=128)),
            ("mask", MaskBuilder()),
            (
                "separate",
                UNetSeparator(
                    n_filters=4 if options.fast else 8,
                    dropout=0.1,
                    loss="snr",
                    optimizer="adamw",
                    lr=3e-3,
                    schedule="one_cycle",
                    batch_size=8,
                    excerpts_per_epoch=16 if options.fast else 320,
                    max_epochs=1 if options.fast else options.epochs,
                    augmentation=Augmentation(true_pairs=0.5),
                    random_state=0,
                    verbose=1,
                ),
            ),
            ("invert", GriffinLimInverter(n_iter=5)),
        ]
    )
    started = time.perf_counter()
    pipeline.fit(pick(songs.mixtures, train), pick(songs.vocals, train))
    print(f"Trained in {time.perf_counter() - started:.0f} s.")

    estimates = pipeline.predict(pick(songs.mixtures, test))
    table = write_results(songs, test, estimates, pipeline, output)
    print(f"\nSDR of the vocals in dB (BSSEval v3, mono), of songs never trained on\n\n{table}\n")
    print(f"Listen to {output}/*/vocals.wav, and look at {output}/*/spectrograms.png.")
    return 0


def find_songs(options: argparse.Namespace) -> Any:
    """Synthetic songs, or the songs of a folder."""
    if options.data:
        return load_folder(options.data)
    n_tracks, duration = (6, 4.0) if options.fast else (48, 8.0)
    print(f"Making {n_tracks} synthetic songs of {duration:.0f} s.")
    return make_songs(n_tracks, duration, random_state=0)


def split(songs: Any) -> tuple[np.ndarray, np.ndarray]:
    """Indices of training and test songs, without a common singer if there are several."""
    n_songs = len(songs.mixtures)
    if n_songs < 2:
        raise SystemExit("The demo needs at least two songs: one to train on, one to test on.")
    n_test = max(1, min(6, n_songs // 5))
    if len(set(songs.groups)) > 2:
        splitter = GroupShuffleSplit(1, test_size=0.2, random_state=0)
    else:
        splitter = ShuffleSplit(1, test_size=n_test, random_state=0)
    train, test = next(splitter.split(songs.mixtures, groups=songs.groups))
    return train, test[:6]


def write_results(
    songs: Any, test: np.ndarray, estimates: Any, pipeline: Pipeline, output: Path
) -> str:
    """Write stems and pictures of the test songs; return the table of their SDR."""
    rows = [("song", "mixture", "separated", "gain")]
    scores = []
    masked = pipeline[:-1].transform(pick(songs.mixtures, test))
    known = MaskBuilder().fit_transform(masked, pick(songs.vocals, test))
    names = numbered([str(songs.track_names[index]) for index in test])
    for index, name, estimate, record in zip(test, names, estimates, known, strict=True):
        rate = record.track.sample_rate
        mixture, _ = load_audio(songs.mixtures[index])
        vocals, _ = load_audio(songs.vocals[index])
        stems = {"mixture": mixture, "vocals": estimate, "accompaniment": mixture - estimate}
        (output / name).mkdir(parents=True, exist_ok=True)
        for stem, samples in stems.items():
            soundfile.write(output / name / f"{stem}.wav", samples.T, rate, subtype="FLOAT")
        draw(record, vocals, estimate, output / name / "spectrograms.png")
        scores.append((sdr(vocals, mixture), sdr(vocals, estimate)))
        rows.append((name, *figures(*scores[-1])))
    rows.append(("mean", *figures(*np.nanmean(scores, axis=0))))
    width = max(len(row[0]) for row in rows)
    lines = [f"{row[0]:{width}}" + "".join(f"{cell:>11}" for cell in row[1:]) for row in rows]
    table = "\n".join(lines)
    (output / "sdr.txt").write_text(table + "\n")
    return table


def numbered(names: list[str]) -> list[str]:
    """The names, with numbers if songs share one, so that each song gets its own folder."""
    distinct: list[str] = []
    for name in names:
        candidates = (name, *(f"{name} ({count})" for count in range(2, len(names) + 1)))
        distinct.append(next(text for text in candidates if text not in distinct))
    return distinct


def figures(before: float, after: float) -> tuple[str, str, str]:
    """Two figures and their difference, as text."""
    return f"{before:.2f}", f"{after:.2f}", f"{after - before:+.2f}"


def draw(record: Any, vocals: Any, estimate: Any, path: Path) -> None:
    """Spectrograms of mixture, truth and estimate, and the masks, over seconds and Hz."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        print("No pictures without matplotlib: pip install 'sksep[plot]'.", file=sys.stderr)
        return
    figure = Figure(figsize=(9, 13), layout="constrained")
    panels = figure.subplots(6, 1)
    front_end = {"n_fft": record.front_end.n_fft, "hop_length": record.front_end.hop_length}
    SpectrogramDisplay.from_predictions(
        vocals,
        estimate,
        mixture=record.track.read(),
        sample_rate=record.track.sample_rate,
        ax=panels[:3],
        **front_end,
    )
    MaskDisplay.from_predictions(
        record.targets.proportion_mask,
        record.mask,
        sample_rate=record.front_end.sample_rate,
        ax=panels[3:],
        **front_end,
    )
    figure.savefig(path, dpi=110)


def pick(items: Any, indices: np.ndarray) -> list[Any]:
    """The items at some indices."""
    return [items[index] for index in indices]


if __name__ == "__main__":
    sys.exit(main())
