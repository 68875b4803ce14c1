"""Scores of separated sources and of masks."""

from sksep.metrics._bss_eval import BSSEvalScores, bss_eval
from sksep.metrics._bss_eval_frames import BSSEvalFrameScores, bss_eval_frames
from sksep.metrics._masks import iou, psnr
from sksep.metrics._scorers import NSDRScorer, nsdr_scorer, sdr_scorer, si_sdr_scorer
from sksep.metrics._scores import nsdr_score, sdr_score, si_sdr_score
from sksep.metrics._sdr import nsdr, sdr, si_sdr

__all__ = [
    "BSSEvalFrameScores",
    "BSSEvalScores",
    "NSDRScorer",
    "bss_eval",
    "bss_eval_frames",
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
