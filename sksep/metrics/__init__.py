"""Scores of separated sources and of masks."""

from sksep.metrics._bss_eval import BSSEvalScores, bss_eval
from sksep.metrics._bss_eval_frames import BSSEvalFrameScores, bss_eval_frames
from sksep.metrics._challenges import csdr, csdr_score, usdr, usdr_score
from sksep.metrics._masks import iou, psnr
from sksep.metrics._scorers import (
    FlooredSNRScorer,
    NSDRScorer,
    bleedless_scorer,
    csdr_scorer,
    floored_snr_scorer,
    fullness_scorer,
    neg_multi_resolution_stft_scorer,
    nsdr_scorer,
    sdr_scorer,
    si_sdr_scorer,
    usdr_scorer,
    visqol_scorer,
)
from sksep.metrics._scores import floored_snr_score, nsdr_score, sdr_score, si_sdr_score
from sksep.metrics._sdr import floored_snr, nsdr, sdr, si_sdr
from sksep.metrics._spectra import (
    bleedless,
    bleedless_score,
    fullness,
    fullness_score,
    multi_resolution_stft_distance,
    multi_resolution_stft_score,
)
from sksep.metrics._visqol import visqol, visqol_score

__all__ = [
    "BSSEvalFrameScores",
    "BSSEvalScores",
    "FlooredSNRScorer",
    "NSDRScorer",
    "bleedless",
    "bleedless_score",
    "bleedless_scorer",
    "bss_eval",
    "bss_eval_frames",
    "csdr",
    "csdr_score",
    "csdr_scorer",
    "floored_snr",
    "floored_snr_score",
    "floored_snr_scorer",
    "fullness",
    "fullness_score",
    "fullness_scorer",
    "iou",
    "multi_resolution_stft_distance",
    "multi_resolution_stft_score",
    "neg_multi_resolution_stft_scorer",
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
    "usdr",
    "usdr_score",
    "usdr_scorer",
    "visqol",
    "visqol_score",
    "visqol_scorer",
]
