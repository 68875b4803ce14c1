"""PSNR and IoU of the masks of trained pipelines, under several readings of these two scores.

    python benchmarks/masks.py --models trained --only uhnet uhnet-shares

A paper that states one PSNR and one IoU leaves open which bins count, and how. This script computes
both for the same masks in several ways. Each fold of a model (`pretrained.py NAME --fold K`) is
tested on what it was not trained on: excerpts of MUSDB18, and whole songs with their instrumental
passages. For a UH-Net, a second row has the masks of the clustering network inside (its mask head).

PSNR is that of the shares of the vocals in magnitude, for a peak of 1. IoU is the mean over vocals
and accompaniment, in percent; a bin belongs to the vocals where their share exceeds one half.

  all bins      of all tracks at once, inaudible ones included
  chunks        mean over chunks of one second (PSNR of each chunk in dB)
  singing       mean over those chunks in which the vocals are above -40 dB of the mixture
  audible       bins within 40 dB of the loudest of the track, at once
  magnitude     bins weighted by the magnitude of the mixture (tracks have one level)
  accuracy      percent of all bins whose class is right, in place of the IoU
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _lib.evaluation import magnitude_shares
from _lib.folds import N_FOLDS, held_out_indices
from _lib.results import FOLDER, markdown_table, write
from _lib.scores import mono
from sklearn.pipeline import Pipeline
from torch import Tensor, nn

import sksep
from sksep import MaskBuilder, UHNetSeparator
from sksep.datasets import load_folder, load_musdb18
from sksep.metrics import iou, psnr

_AUDIBLE = 1e-4  # in power
_SINGING = 1e-4


@dataclass(frozen=True, eq=False)
class Masks:
    """Shares of the vocals in magnitude, and powers, of a track; (n_frames, n_bands) each."""

    true: np.ndarray
    estimated: np.ndarray
    mixture: np.ndarray
    vocals: np.ndarray

    def seconds(self, n_frames: int) -> Masks:
        """The same in chunks, (n_chunks, n_frames, n_bands); a rest at the end is left out."""
        n_chunks = len(self.true) // n_frames
        parts = (self.true, self.estimated, self.mixture, self.vocals)
        cut = (part[: n_chunks * n_frames] for part in parts)
        return Masks(*(part.reshape(n_chunks, n_frames, part.shape[1]) for part in cut))


def main() -> None:
    """Score all fold models that are there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--models", type=Path, required=True, help="folder of pretrained.py")
    parser.add_argument("--data", type=Path, help="folder of recordings (default: SKSEP_DATA_HOME)")
    parser.add_argument("--only", nargs="+", default=["uhnet"])
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, default=FOLDER)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = Path(options.data or os.environ["SKSEP_DATA_HOME"])
    rows = []
    for name in options.only:
        for title, masks, n_frames in estimates(name, options.models, data):
            for test, tracks in masks.items():
                row = {"masks": title, "test": test, "tracks": len(tracks)}
                rows.append(row | readings(tracks, n_frames))
                print(rows[-1], flush=True)
    table = markdown_table(rows)
    print(table)
    write("masks", {"rows": rows}, table, options.results)


def estimates(
    name: str, models: Path, data: Path
) -> Iterator[tuple[str, dict[str, list[Masks]], int]]:
    """Title, masks of all folds by test set, and frames in a second, of a model and its parts."""
    paths = {
        fold: models / f"{name}-fold-{fold}.safetensors"
        for fold in range(N_FOLDS)
        if (models / f"{name}-fold-{fold}.safetensors").is_file()
    }
    if not paths:
        raise SystemExit(f"There is no fold of {name} in {models}.")
    pipelines = {fold: sksep.load(path) for fold, path in paths.items()}
    front_end = next(iter(pipelines.values()))["separate"].front_end_
    n_frames = round(front_end.sample_rate / front_end.hop_length)
    is_uhnet = isinstance(next(iter(pipelines.values()))["separate"], UHNetSeparator)
    for title in [name, f"{name}: its clustering network"][: 1 + is_uhnet]:
        found: dict[str, list[Masks]] = {}
        for fold, pipeline in pipelines.items():
            if title != name:
                network = pipeline["separate"].net_.module_.network
                pipeline["separate"].net_.module_.network = _MaskHead(network.clustering)
            for test, tracks in tests_of(data, fold).items():
                found.setdefault(test, []).extend(
                    masks_of(pipeline, mono(mixture), mono(vocals)) for mixture, vocals in tracks
                )
        yield title, found, n_frames


class _MaskHead(nn.Module):
    """The mask of the vocals that a hybrid network estimates."""

    def __init__(self, clustering: Any) -> None:
        super().__init__()
        self.clustering = clustering

    def mask_logits(self, spectrograms: Tensor) -> Tensor:
        hidden = self.clustering.body(spectrograms)
        vocals, accompaniment = self.clustering.mask_logits(hidden).unbind(dim=1)
        return vocals - accompaniment


def tests_of(data: Path, fold: int) -> dict[str, list[tuple[Any, Any]]]:
    """Mixtures and vocals that a fold left out."""
    found: dict[str, list[tuple[Any, Any]]] = {}
    for name, songs in (
        ("MUSDB18, 7 s", load_musdb18(data / "musdb18-7s", subset="train")),
        ("whole songs", load_folder(data / "full-songs")),
        ("whole songs", load_folder(data / "songs")),
    ):
        found.setdefault(name, []).extend(
            (songs.mixtures[index], songs.vocals[index])
            for index in held_out_indices(songs.groups, fold)
        )
    return found


def masks_of(pipeline: Pipeline, mixture: np.ndarray, vocals: np.ndarray) -> Masks:
    """True and estimated masks of a track."""
    batch = pipeline[:-1].transform([mixture])
    targets = MaskBuilder().fit_transform(batch, [vocals])[0].targets
    estimated = batch[0].mask
    if pipeline["mask"].ratio == "power":
        estimated = magnitude_shares(estimated)
    power = 10.0 ** (batch[0].spectrogram / 10.0)
    true = targets.proportion_mask
    return Masks(magnitude_shares(true), estimated, power, true * power)


def readings(tracks: list[Masks], n_frames: int) -> dict[str, float]:
    """All scores of the masks of tracks."""
    seconds = [track.seconds(n_frames) for track in tracks]
    seconds = [chunks for chunks in seconds if len(chunks.true)]
    singing = []
    for chunks in seconds:
        vocals, mixture = chunks.vocals.sum((1, 2)), chunks.mixture.sum((1, 2))
        sings = vocals > _SINGING * mixture
        if sings.any():
            singing.append((chunks.true[sings], chunks.estimated[sings]))
    weights = {
        "audible": [track.mixture > _AUDIBLE * track.mixture.max() for track in tracks],
        "magnitude": [
            magnitude / magnitude.mean() for magnitude in (np.sqrt(t.mixture) for t in tracks)
        ],
    }
    whole = [track.true for track in tracks], [track.estimated for track in tracks]
    by_chunk = [chunks.true for chunks in seconds], [chunks.estimated for chunks in seconds]
    return {
        "PSNR, all bins": psnr(*whole),
        "PSNR, chunks": psnr(*by_chunk, pooling="chunks"),
        "PSNR, singing": psnr(*map(list, zip(*singing, strict=True)), pooling="chunks"),
        **{f"PSNR, {name}": weighted_psnr(*whole, given) for name, given in weights.items()},
        "IoU, all bins": 100.0 * iou(*whole),
        "IoU, chunks": 100.0 * iou(*by_chunk, pooling="chunks"),
        **{f"IoU, {name}": 100.0 * weighted_iou(*whole, given) for name, given in weights.items()},
        "accuracy": 100.0 * accuracy(*whole),
    }


def weighted_psnr(
    true: list[np.ndarray], estimated: list[np.ndarray], weights: list[np.ndarray]
) -> float:
    """PSNR in dB, whose squared error is a weighted mean over the bins of all tracks."""
    errors = sum(
        float((w * np.square(t - e)).sum())
        for t, e, w in zip(true, estimated, weights, strict=True)
    )
    return float(-10.0 * np.log10(errors / sum(float(w.sum()) for w in weights)))


def weighted_iou(
    true: list[np.ndarray], estimated: list[np.ndarray], weights: list[np.ndarray]
) -> float:
    """IoU with weights in place of counts of bins, mean of vocals and accompaniment."""
    ratios = []
    for sings in (True, False):
        pairs = [(t > 0.5, e > 0.5) for t, e in zip(true, estimated, strict=True)]
        pairs = [(t == sings, e == sings) for t, e in pairs]
        both = sum(float(w[t & e].sum()) for (t, e), w in zip(pairs, weights, strict=True))
        either = sum(float(w[t | e].sum()) for (t, e), w in zip(pairs, weights, strict=True))
        ratios.append(both / either)
    return sum(ratios) / len(ratios)


def accuracy(true: list[np.ndarray], estimated: list[np.ndarray]) -> float:
    """Share of the bins whose class is right."""
    right = sum(int(((t > 0.5) == (e > 0.5)).sum()) for t, e in zip(true, estimated, strict=True))
    return right / sum(t.size for t in true)


if __name__ == "__main__":
    main()
