"""References that may be missing, which `speed.py` then leaves out.

pip install --no-deps fast_bss_eval asteroid asteroid-filterbanks
pip install --no-deps openunmix demucs julius einops dora-search treetable

Networks have random weights, since speed does not depend on them, in the sizes that their projects
publish.
"""

from __future__ import annotations

import importlib.util
import sys
import types
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

SONG_SAMPLE_RATE = 44100


@cache
def open_unmix() -> Callable[[np.ndarray], Any]:
    """Its model of the vocals (umxhq) without the Wiener step."""
    # It imports torchaudio to read files, which is not done here.
    sys.modules.setdefault("torchaudio", types.ModuleType("torchaudio"))
    from openunmix.model import OpenUnmix, Separator

    vocals = OpenUnmix(nb_bins=2049, nb_channels=2, hidden_size=512, max_bin=1487)
    separator = Separator({"vocals": vocals}, niter=0, sample_rate=SONG_SAMPLE_RATE).eval()
    return torch.inference_mode()(lambda song: separator(torch.from_numpy(song)[None]))


@cache
def htdemucs() -> Callable[[np.ndarray], Any]:
    """The model of four sources; chunks overlap by a quarter, and there are no random shifts."""
    from demucs.apply import apply_model
    from demucs.htdemucs import HTDemucs

    model = HTDemucs(
        sources=["drums", "bass", "other", "vocals"],
        bottom_channels=512,
        t_layers=5,
        segment=7.8,
        samplerate=SONG_SAMPLE_RATE,
    ).eval()
    return lambda song: apply_model(model, torch.from_numpy(song)[None], shifts=0, overlap=0.25)


@cache
def fast_bss_eval() -> Any:
    """The module."""
    import fast_bss_eval

    return fast_bss_eval


@cache
def asteroid_loss() -> Any:
    """The deep clustering loss."""
    from asteroid.losses.cluster import deep_clustering_loss

    return deep_clustering_loss


@cache
def museval() -> Any:
    """The module of its metrics."""
    package = importlib.util.find_spec("museval")
    if package is None or package.origin is None:
        raise ImportError("No module named 'museval'")
    # The package itself cannot be imported without ffmpeg, which its metrics do not need.
    file = Path(package.origin).with_name("metrics.py")
    spec = importlib.util.spec_from_file_location("museval_metrics", file)
    metrics = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(metrics)
    return metrics


# References that may be missing, and functions that import them.
_OPTIONAL: dict[str, Callable[[], Any]] = {
    "fast_bss_eval": fast_bss_eval,
    "museval": museval,
    "asteroid": asteroid_loss,
    "Open-Unmix": open_unmix,
    "HTDemucs": htdemucs,
}


@cache
def reason_missing(reference: str) -> str | None:
    """Why a reference cannot be had; None for one that can."""
    try:
        _OPTIONAL.get(reference, lambda: None)()
    except ImportError as error:
        return str(error)
    return None
