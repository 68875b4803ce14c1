"""Scores of a fitted pipeline on test tracks: waveforms, masks, leakage and speed."""

from __future__ import annotations

import copy
import time
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from sklearn.pipeline import Pipeline
from tqdm import tqdm

from _lib.data import Part
from _lib.scores import TrackScores, mono, score_track, summary
from sksep import MaskBuilder
from sksep.metrics import iou, psnr

# Level of a silent estimate in dB.
_SILENCE = -100.0


class Evaluation:
    """Scores of pipelines on the same tracks. Scores of the mixtures are computed once.

    Parameters
    ----------
    tracks : Part
        Test tracks, which are read one at a time.
    """

    def __init__(self, tracks: Part) -> None:
        self._tracks = tracks
        self._mixture_sdrs: dict[int, float] = {}

    def scores(
        self, pipeline: Pipeline, title: str, *, given_truth: bool = False
    ) -> tuple[dict[str, float], dict[str, list[float]]]:
        """All scores of a pipeline, and those of each track.

        Parameters
        ----------
        pipeline : Pipeline
            With the steps of `sksep.presets.unet_pipeline`.
        title : str
            Title of the progress bar.
        given_truth : bool
            Whether the pipeline is an oracle, which is first fitted to each track.
        """
        rows: list[TrackScores] = []
        leakages: list[float] = []
        truths, masks = [], []
        taken = 0.0
        for index, mixture, vocals in self._waveforms(title):
            if given_truth:
                pipeline.fit([mixture], [vocals])
            started = time.perf_counter()
            estimate, batch = _separate(pipeline, mixture)
            taken += time.perf_counter() - started
            rows.append(self._score(index, mixture, vocals, estimate))
            targets = MaskBuilder().fit_transform(batch, [vocals])[0].targets
            # Half precision, whose error is far below that of any estimate: all tracks are kept.
            truths.append(targets.proportion_mask.astype(np.float16))
            masks.append(batch[0].mask.astype(np.float16))
            if not given_truth:
                leakages.append(leakage(pipeline, mixture - vocals))
        result = {
            **summary(rows),
            **_mask_scores(truths, masks),
            "leakage": _mean(leakages),
            "median leakage": float(np.nanmedian(leakages)) if leakages else float("nan"),
            "times real time": sum(row.seconds for row in rows) / taken,
        }
        per_track = {
            name: [getattr(row, name) for row in rows]
            for name in ("sdr", "sir", "sar", "si_sdr", "mixture_sdr", "seconds")
        }
        return result, {**per_track, "leakage": leakages}

    def gnsdr(self, pipeline: Pipeline) -> float:
        """GNSDR alone."""
        rows = [
            self._score(index, mixture, vocals, _separate(pipeline, mixture)[0])
            for index, mixture, vocals in self._waveforms(None)
        ]
        return summary(rows)["GNSDR"]

    def _waveforms(self, title: str | None) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Indices, mixtures and vocals, mono at 16 kHz."""
        pairs = zip(self._tracks.mixtures, self._tracks.vocals, strict=True)
        # None shows a bar in a terminal only, not in a log.
        hidden = True if title is None else None
        shown = tqdm(pairs, total=len(self._tracks), desc=title, disable=hidden)
        for index, (mixture, vocals) in enumerate(shown):
            yield index, mono(mixture), mono(vocals)

    def _score(
        self, index: int, mixture: np.ndarray, vocals: np.ndarray, estimate: np.ndarray
    ) -> TrackScores:
        scores = score_track(mixture, vocals, estimate, self._mixture_sdrs.get(index))
        self._mixture_sdrs[index] = scores.mixture_sdr
        return scores


def at_snapshot(pipeline: Pipeline, weights: dict[str, torch.Tensor], batch: Any) -> Pipeline:
    """A copy of a trained pipeline as it was when the snapshot of its weights was taken.

    Parameters
    ----------
    batch : TrackBatch
        Training tracks, from which clustering separators learn which cluster sings.
    """
    separator = copy.deepcopy(pipeline["separate"])
    separator.net_.module_.load_state_dict(weights)
    separator.net_.module_.eval()
    vars(separator).update(separator._learned_after(separator.net_, batch))
    steps = [(name, separator if name == "separate" else step) for name, step in pipeline.steps]
    return Pipeline(steps)


def _separate(pipeline: Pipeline, mixture: np.ndarray) -> tuple[np.ndarray, Any]:
    """The vocals of one track, and the batch with the mask that they come from."""
    batch = pipeline[:-1].transform([mixture])
    return pipeline[-1].predict(batch)[0], batch


def leakage(pipeline: Pipeline, accompaniment: np.ndarray) -> float:
    """Level of the estimate over that of a mixture without vocals, in dB; NaN for silence."""
    energy = np.square(accompaniment, dtype=np.float64).sum()
    if not energy:
        return float("nan")
    estimate = pipeline.predict([accompaniment])[0]
    share = np.square(estimate, dtype=np.float64).sum() / energy
    return float(10.0 * np.log10(max(share, 10.0 ** (_SILENCE / 10.0))))


def _mask_scores(truths: list[np.ndarray], masks: list[np.ndarray]) -> dict[str, float]:
    """IoU (%) and PSNR (dB) against the share of the vocals in the power of each bin.

    The vocals are louder in a bin if their share exceeds one half. An estimate of the shares in
    power becomes one of the shares in magnitude by conversion.
    """
    of_magnitudes = [magnitude_shares(truth) for truth in truths]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # no vocals at all
        vocal_iou = iou(truths, masks, average="vocals")
    return {
        "IoU": 100.0 * iou(truths, masks),
        "IoU of the vocals": 100.0 * vocal_iou,
        "IoU, mean over tracks": 100.0 * iou(truths, masks, pooling="chunks"),
        "PSNR, power": psnr(truths, masks),
        "PSNR, power, mean over tracks": psnr(truths, masks, pooling="chunks"),
        "PSNR, magnitude": psnr(of_magnitudes, masks),
        "PSNR, magnitude, converted": psnr(
            of_magnitudes, [magnitude_shares(mask) for mask in masks]
        ),
    }


def magnitude_shares(shares: np.ndarray) -> np.ndarray:
    """Shares in magnitude from shares in power."""
    vocals, accompaniment = np.sqrt(shares), np.sqrt(1.0 - shares)
    return vocals / (vocals + accompaniment)


def _mean(values: list[float]) -> float:
    known = [value for value in values if np.isfinite(value)]
    return float(np.mean(known)) if known else float("nan")
