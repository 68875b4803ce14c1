"""RepetSimSeparator: separates vocals as the part of the music that does not repeat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from sksep.base._batch import TrackRecord
from sksep.separators._spectral_masks import BlockwiseSeparator, document_blocks, frame_rate
from sksep.utils._arrays import FloatArray
from sksep.utils._parameters import parameter
from sksep.utils._validation import number

# Seconds between candidates for similarity. Frames that are closer are almost the same.
_CANDIDATE_HOP = 0.032


@document_blocks
@dataclass(kw_only=True, eq=False, repr=False)
class RepetSimSeparator(BlockwiseSeparator):
    """Separate vocals as the part of the music that does not repeat (REPET-SIM).

    The accompaniment of a frame is the median of the frames most similar to it by the cosine of
    their magnitudes, but never more than the frame itself; the rest is the vocals [1]_. Nothing is
    learned.

    Parameters
    ----------
    neighbor_share : float, default=0.3
        Share of the frames of a block that a median is taken over, in (0, 1].
    min_gap : float, default=1.0
        Least time in seconds between a frame and those compared with it; less in short tracks.
    margin : float, default=10.0
        Factor by which the rest must be louder than the accompaniment for a mask of one half.
    power : float, default=1.0
        Exponent of the soft mask.
    BLOCK_PARAMETERS

    Attributes
    ----------
    front_end_ : FrontEnd
        Settings of the `MelChunker` that it was fitted with.

    References
    ----------
    .. [1] Z. Rafii and B. Pardo, "Music/voice separation using the similarity matrix", ISMIR 2012.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sksep import MelChunker, RepetSimSeparator
    >>> from sksep.datasets import make_songs
    >>> songs = make_songs(2, duration=2.0, random_state=0)
    >>> pipeline = make_pipeline(MelChunker(), RepetSimSeparator()).fit(songs.mixtures)
    >>> pipeline.predict(songs.mixtures)[0].shape
    (32000,)
    """

    neighbor_share: float = parameter(0.3, number(0.0, 1.0, include_low=False))
    min_gap: float = parameter(1.0, number(0.0))
    margin: float = parameter(10.0, number(0.0, include_low=False))
    power: float = parameter(1.0, number(0.0, 100.0, include_low=False))

    def _block_mask(
        self, magnitudes: FloatArray, record: TrackRecord, frames: slice
    ) -> npt.NDArray[Any]:
        from librosa.decompose import nn_filter
        from librosa.util import softmask

        rate = frame_rate(record.front_end)
        neighbors = similar_frames(
            magnitudes,
            share_of_candidates=self.neighbor_share,
            candidate_step=max(1, round(_CANDIDATE_HOP * rate)),
            min_gap=self.min_gap * rate,
        )
        repeated = nn_filter(magnitudes.T, rec=neighbors, aggregate=np.median).T
        repeated = np.minimum(repeated, magnitudes)
        return softmask(
            magnitudes - repeated, self.margin * repeated, power=self.power, split_zeros=False
        )


def similar_frames(
    magnitudes: FloatArray, *, share_of_candidates: float, candidate_step: int, min_gap: float
) -> Any:
    """Sparse matrix (n_frames, n_frames) whose column t names the frames most similar to frame t.

    Candidates are every `candidate_step`-th frame at least `min_gap` frames away, and the one at
    or before the frame itself.
    """
    from scipy.sparse import csc_matrix

    n_frames = len(magnitudes)
    norms = np.linalg.norm(magnitudes, axis=1, keepdims=True)
    directions = magnitudes / np.maximum(norms, np.finfo(np.float32).tiny)
    candidates = np.arange(0, n_frames, candidate_step)
    similarity = directions @ directions[candidates].T
    times = np.arange(n_frames)[:, None]
    is_far = np.abs(times - candidates) >= min(min_gap, (n_frames - 1) // 2)
    is_own = times // candidate_step == np.arange(len(candidates))
    similarity[~(is_far | is_own)] = -np.inf
    n_neighbors = max(1, round(share_of_candidates * len(candidates)))
    found = np.argpartition(-similarity, n_neighbors - 1, axis=1)[:, :n_neighbors]
    allowed = np.isfinite(np.take_along_axis(similarity, found, axis=1))
    columns = np.broadcast_to(times, found.shape)[allowed]
    rows = candidates[found[allowed]]
    return csc_matrix((np.ones(len(rows), np.float32), (rows, columns)), (n_frames, n_frames))
