"""PSNR and IoU of the masks of trained pipelines, under several readings of these two scores.

    python benchmarks/masks.py --models trained --only uhnet-taught uhnet-shares --fold 0

A paper that states one PSNR and one IoU leaves open which bins count, and how. This script computes
both for the same masks in several ways. Each fold of a model (`pretrained.py NAME --fold K`) is
tested on what it was not trained on: excerpts of MUSDB18, and whole songs with their instrumental
passages. For a UH-Net, a second row has the masks of the clustering network inside (its mask head);
a hybrid has one for its mask head and one for its clusters. The masks of a model that estimates
vocals at once, such as "small" (`unet.py train`), are the shares of these vocals.

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
import copy
import os
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _lib.evaluation import magnitude_shares
from _lib.folds import N_FOLDS, fold_files, held_out_pairs
from _lib.models import load_trained
from _lib.results import FOLDER, markdown_table, write
from _lib.scores import mono
from sklearn.metrics import accuracy_score, jaccard_score, mean_squared_error
from sklearn.pipeline import Pipeline
from torch import Tensor, nn

from sksep import HybridClusteringSeparator, MaskBuilder, MelChunker, UHNetSeparator
from sksep.datasets import load_folder, load_musdb18
from sksep.metrics import iou, psnr
from sksep.presets import unet_pipeline

_AUDIBLE = 1e-4  # in power
_SINGING = 1e-4


@dataclass(frozen=True, eq=False)
class Masks:
    """Shares of the vocals in magnitude, and powers, of a track; (n_frames, n_bands) each.

    Attributes
    ----------
    true, estimated : ndarray
        Shares.
    mixture, vocals : ndarray
        Powers.
    chunk_frames : int
        Frames in a second.
    """

    true: np.ndarray
    estimated: np.ndarray
    mixture: np.ndarray
    vocals: np.ndarray
    chunk_frames: int

    @classmethod
    def of(cls, truth: Any, estimated: np.ndarray) -> Masks:
        """Those of a track with targets, whose masks are shares in power."""
        shares = truth.targets.proportion_mask
        power = 10.0 ** (truth.spectrogram / 10.0)
        front_end = truth.front_end
        chunk_frames = round(front_end.sample_rate / front_end.hop_length)
        return cls(magnitude_shares(shares), estimated, power, shares * power, chunk_frames)

    def chunks(self) -> Masks:
        """The same in seconds, (n_chunks, chunk_frames, n_bands), without the rest at the end."""
        n_chunks = len(self.true) // self.chunk_frames
        parts = (self.true, self.estimated, self.mixture, self.vocals)
        cut = (part[: n_chunks * self.chunk_frames] for part in parts)
        shape = (n_chunks, self.chunk_frames, self.true.shape[1])
        return Masks(*(part.reshape(shape) for part in cut), self.chunk_frames)


def main() -> None:
    """Score all fold models that are there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--models", type=Path, required=True, help="folder of pretrained.py")
    parser.add_argument("--data", type=Path, help="folder of recordings (default: SKSEP_DATA_HOME)")
    parser.add_argument("--only", nargs="+", default=["uhnet"])
    parser.add_argument("--fold", type=int, choices=range(N_FOLDS), help="this one alone")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--results", type=Path, default=FOLDER)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    data = Path(options.data or os.environ["SKSEP_DATA_HOME"])
    rows = []
    for name in options.only:
        files = fold_files(options.models, name)
        if options.fold is not None:
            files = {fold: path for fold, path in files.items() if fold == options.fold}
        if not files:
            raise SystemExit(f"There is no such fold of {name} in {options.models}.")
        for (title, test), tracks in estimates(name, files, data).items():
            row = {"masks": title, "test": test, "tracks": len(tracks)}
            rows.append(row | readings(tracks))
            print(rows[-1], flush=True)
    table = markdown_table(rows)
    print(table)
    write("masks", {"rows": rows}, table, options.results)


def estimates(name: str, files: dict[int, Path], data: Path) -> dict[tuple[str, str], list[Masks]]:
    """Masks by a model, in as many ways as it gives them, for each test set."""
    found: dict[tuple[str, str], list[Masks]] = {}
    for fold, path in files.items():
        model = load_trained(path)
        masks = masks_of(name, model)
        front_end = front_end_of(model)
        for test, pairs in tests_of(data, fold).items():
            for mixture, vocals in pairs:
                track = mono(mixture)
                batch = front_end.transform([track])
                truth = MaskBuilder().fit_transform(batch, [mono(vocals)])[0]
                for title, estimate in masks.items():
                    given = estimate(track, batch)
                    found.setdefault((title, test), []).append(Masks.of(truth, given))
    titles = list(masks)
    return dict(sorted(found.items(), key=lambda item: titles.index(item[0][0])))


def front_end_of(model: Any) -> MelChunker:
    """The front end of a pipeline, else the recommended one."""
    front_end = model["chunk"] if isinstance(model, Pipeline) else unet_pipeline()["chunk"]
    return front_end.fit([])


def masks_of(name: str, model: Any) -> dict[str, Callable[[np.ndarray, Any], np.ndarray]]:
    """Functions of a track and its spectrogram that give shares in magnitude, by their titles."""
    if not isinstance(model, Pipeline):
        return {name: partial(_of_vocals, model)}
    separator = model["separate"]
    separators = {name: separator}
    if isinstance(separator, UHNetSeparator):
        inner = copy.deepcopy(separator)
        inner.net_.module_.network = _MaskHead(inner.net_.module_.network.clustering)
        separators[f"{name}: its clustering network"] = inner
    if isinstance(separator, HybridClusteringSeparator):
        separators = {
            f"{name}: {output}": copy.deepcopy(separator).set_params(output=output)
            for output in ("mask", "clusters")
        }
    is_power = model["mask"].ratio == "power"
    return {title: partial(_of_network, each, is_power) for title, each in separators.items()}


def _of_network(separator: Any, is_power: bool, _: np.ndarray, batch: Any) -> np.ndarray:
    mask: np.ndarray = separator.transform(batch)[0].mask
    return magnitude_shares(mask) if is_power else mask


def _of_vocals(model: Any, track: np.ndarray, batch: Any) -> np.ndarray:
    vocals = model.predict([track])
    return magnitude_shares(MaskBuilder().fit_transform(batch, vocals)[0].targets.proportion_mask)


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
    excerpts = load_musdb18(data / "musdb18-7s", subset="train")
    songs = [load_folder(data / name) for name in ("full-songs", "songs")]
    return {
        "MUSDB18, 7 s": held_out_pairs(excerpts, fold),
        "whole songs": [pair for part in songs for pair in held_out_pairs(part, fold)],
    }


def readings(tracks: list[Masks]) -> dict[str, float]:
    """All scores of the masks of tracks."""
    chunks = [track.chunks() for track in tracks]
    sings = [part.vocals.sum((1, 2)) > _SINGING * part.mixture.sum((1, 2)) for part in chunks]
    singing = [
        (part.true[kept], part.estimated[kept])
        for part, kept in zip(chunks, sings, strict=True)
        if kept.any()
    ]
    by_chunk = [(part.true, part.estimated) for part in chunks if len(part.true)]
    true, estimated = (
        np.concatenate([getattr(track, name).ravel() for track in tracks])
        for name in ("true", "estimated")
    )
    audible = [track.mixture > _AUDIBLE * track.mixture.max() for track in tracks]
    magnitudes = [np.sqrt(track.mixture) for track in tracks]
    weights = {
        "all bins": None,
        "audible": np.concatenate([part.ravel() for part in audible]),
        "magnitude": np.concatenate([(part / part.mean()).ravel() for part in magnitudes]),
    }
    classes = true > 0.5, estimated > 0.5
    return {
        **{
            f"PSNR, {name}": float(
                -10.0 * np.log10(mean_squared_error(true, estimated, sample_weight=given))
            )
            for name, given in weights.items()
        },
        "PSNR, chunks": psnr(*map(list, zip(*by_chunk, strict=True)), pooling="chunks"),
        "PSNR, singing": psnr(*map(list, zip(*singing, strict=True)), pooling="chunks"),
        # The mean over both classes.
        **{
            f"IoU, {name}": 100.0 * jaccard_score(*classes, average="macro", sample_weight=given)
            for name, given in weights.items()
        },
        "IoU, chunks": 100.0 * iou(*map(list, zip(*by_chunk, strict=True)), pooling="chunks"),
        "accuracy": 100.0 * accuracy_score(*classes),
    }


if __name__ == "__main__":
    main()
