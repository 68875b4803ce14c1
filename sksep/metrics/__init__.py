"""Scores of separated sources and of masks."""

from sksep.metrics._bss_eval import BSSEvalScores, bss_eval
from sksep.metrics._bss_eval_frames import BSSEvalFrameScores, bss_eval_frames
from sksep.metrics._masks import iou, psnr
from sksep.metrics._scorers import (
    FlooredSNRScorer,
    NSDRScorer,
    floored_snr_scorer,
    nsdr_scorer,
    sdr_scorer,
    si_sdr_scorer,
)
from sksep.metrics._scores import floored_snr_score, nsdr_score, sdr_score, si_sdr_score
from sksep.metrics._sdr import floored_snr, nsdr, sdr, si_sdr

__all__ = [
    "BSSEvalFrameScores",
    "BSSEvalScores",
    "FlooredSNRScorer",
    "NSDRScorer",
    "bss_eval",
    "bss_eval_frames",
    "floored_snr",
    "floored_snr_score",
    "floored_snr_scorer",
    "iou",
    "nsdr",
    "nsdr_score",
    "nsdr_scorer",
    "psnr",
    "sdr",
    "sdr_score",
    "sdr_scorer",
    "si_sdr",
    "si_sdr_score",
    "si_sdr_scorer",
]
