"""Figures of others to stand beside ours, in tables of their own since protocols differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class PublishedTable:
    """Figures of one protocol.

    Attributes
    ----------
    caption : str
        Source and protocol.
    columns : tuple of str
        Names of the figures.
    rows : dict of str to tuple
        Figures of each system; None for a missing one.
    """

    caption: str
    columns: tuple[str, ...]
    rows: dict[str, tuple[float | None, ...]]

    def as_rows(self) -> list[dict[str, Any]]:
        """Rows for a Markdown table."""
        return [
            {"system": system}
            | {
                column: "" if figure is None else figure
                for column, figure in zip(self.columns, figures, strict=True)
            }
            for system, figures in self.rows.items()
        ]


REPORT = PublishedTable(
    "The source report: DSD100, vocals in dB (its version of the SDR is not named), IoU of the "
    "binary masks in %, PSNR of the proportion masks in dB, log-mel chunks of 128 x 128 at 16 kHz.",
    ("SDR", "IoU", "PSNR"),
    {
        "clustering": (None, 74.78, None),
        "hybrid clustering": (1.56, 79.44, None),
        "U-Net": (4.34, None, 16.24),
        "UH-Net": (5.92, None, 17.12),
    },
)

PUBLISHED: dict[str, tuple[PublishedTable, ...]] = {
    "mir1k": (
        PublishedTable(
            "MIR-1K, published protocol: trained on abjones and amy, tested on the 825 clips of "
            "the other 17 singers; BSSEval v3, means weighted by length, vocals in dB. As "
            "collected by Park et al. 2018; all but MLRR and DRNN still to be checked there.",
            ("GNSDR", "GSIR", "GSAR"),
            {
                "MLRR": (3.85, 5.63, 10.70),
                "DRNN": (7.45, 13.08, 9.68),
                "ModGD": (7.50, 13.73, 9.45),
                "U-Net": (7.43, 11.79, 10.42),
                "stacked hourglass x1": (10.29, 15.51, 12.46),
                "stacked hourglass x4": (10.51, 16.01, 12.53),
            },
        ),
        PublishedTable(
            "Measured for this project with the same 825 clips and scores.",
            ("GNSDR",),
            {
                "the mixture": (0.0,),
                "REPET-SIM, 100 Hz high-pass": (2.4,),
                "HPSS in two stages, 100 Hz high-pass": (3.0,),
                "mel-128 power-ratio oracle": (12.6,),
                "the same, 10 Griffin-Lim iterations": (13.1,),
                "power-ratio oracle on linear bins": (13.8,),
            },
        ),
        REPORT,
    ),
    "musdb18": (
        PublishedTable(
            "Measured for this project: the 7-second excerpts of MUSDB18's own test songs (not the "
            "tracks tested on here); BSSEval v3, mono at 16 kHz, vocals in dB.",
            ("median SDR", "mean SDR"),
            {
                "the mixture": (-4.1, -4.8),
                "REPET-SIM, 100 Hz high-pass": (0.1, None),
                "HPSS in two stages, 100 Hz high-pass": (1.2, None),
                "smallest U-Net of Choi et al. 2020, trained on all of MUSDB18": (5.15, 4.8),
                "mel-128 power-ratio oracle": (9.7, None),
                "the same, 10 Griffin-Lim iterations": (10.3, None),
                "power-ratio oracle on linear bins": (10.9, None),
            },
        ),
        PublishedTable(
            "SiSEC 2018: full songs of MUSDB18's test part, 44.1 kHz stereo, BSSEval v4, median of "
            "the medians over frames, vocals in dB.",
            ("SDR",),
            {
                "REPET2": (2.30,),
                "Wave-U-Net": (4.97,),
                "JY3": (5.74,),
                "UHL2": (5.93,),
                "MMDenseLSTM": (6.60,),
                "TAK2": (7.16,),
                "IBM1 (oracle)": (7.67,),
                "MWF (oracle)": (9.13,),
                "IRM2 (oracle)": (9.43,),
            },
        ),
        REPORT,
    ),
    "dsd100": (
        REPORT,
        PublishedTable(
            "SiSEC 2016: DSD100's test part, 44.1 kHz stereo, framewise SDR of the vocals in dB, "
            "median of all frames and median of the songs' medians.",
            ("pooled median", "median of medians"),
            {
                "DeepConvSep": (1.54, 1.67),
                "RAF3": (2.09, None),
                "JEO2": (4.03, None),
                "STO1": (4.05, 4.16),
                "NUG1": (4.66, 4.96),
                "UHL2": (5.25, 5.50),
                "UHL3": (5.59, 5.76),
                "IBM (oracle)": (9.46, 9.78),
            },
        ),
    ),
}
