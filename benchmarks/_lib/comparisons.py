"""All comparisons of `speed.py`, by name: jobs of sksep beside those of other libraries."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from _lib.jobs import Jobs
from _lib.network_jobs import clustering_loss, clusters, separation, training
from _lib.signal_jobs import chunks, frame_scores, front_end, phase_reconstruction, scores


@dataclass(frozen=True)
class Comparison:
    """Jobs of any length.

    Parameters
    ----------
    make : callable
        Function from seconds of audio and a number of tracks to `Jobs`.
    share : float
        Share of the usual length. It is below 1 if a turn would take minutes. Turns are then taken
        only on the largest number of threads.
    longest : float
        Seconds of audio beyond which the inputs do not fit into memory.
    takes_many : bool
        Whether there can be several tracks.
    grows_with : str
        Name of another comparison of the same jobs of ours, beside which the references grow.
    """

    make: Callable[[float, int], Jobs]
    share: float = 1.0
    longest: float = float("inf")
    takes_many: bool = False
    grows_with: str = ""


_REPORT, _RECOMMENDED = (1024, 128, 128), (2048, 512, 256)
COMPARISONS: dict[str, Comparison] = {
    "front end, 1024/128, 128 mels": Comparison(partial(front_end, *_REPORT)),
    "front end, 2048/512, 256 mels": Comparison(partial(front_end, *_RECOMMENDED)),
    "MelChunker, 1024/128, 128 mels": Comparison(partial(chunks, *_REPORT), takes_many=True),
    "MelChunker, 2048/512, 256 mels": Comparison(partial(chunks, *_RECOMMENDED), takes_many=True),
    "griffin-lim, 1024/128, 10 iterations": Comparison(
        partial(phase_reconstruction, 1024, 128, 10, 0.0)
    ),
    "griffin-lim, 2048/512, 10 iterations": Comparison(
        partial(phase_reconstruction, 2048, 512, 10, 0.0)
    ),
    "fast griffin-lim, 1024/128, 10 iterations": Comparison(
        partial(phase_reconstruction, 1024, 128, 10, 0.99)
    ),
    "bss_eval, two sources": Comparison(scores, takes_many=True),
    "bss_eval_frames, two sources, one second": Comparison(frame_scores),
    "K-means of embeddings, 1024/128, 128 mels": Comparison(clusters, longest=600.0),
    "deep clustering loss, 1024/128, 128 mels": Comparison(clustering_loss, longest=600.0),
    "training of a U-Net through fit, 1024/128, 128 mels": Comparison(training),
    "separation of stereo at 44.1 kHz": Comparison(
        partial(separation, "Open-Unmix"), takes_many=True
    ),
    # A turn of HTDemucs takes longer than the audio.
    "separation of stereo at 44.1 kHz, short": Comparison(
        partial(separation, "HTDemucs"),
        share=1 / 3,
        grows_with="separation of stereo at 44.1 kHz",
    ),
}
