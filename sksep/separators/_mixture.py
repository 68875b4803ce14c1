"""MixtureSeparator: returns the mixture, the floor of comparisons."""

from __future__ import annotations

import numpy as np

from sksep.base._batch import TrackRecord
from sksep.separators._spectral_masks import SpectralMaskSeparator
from sksep.utils._arrays import FloatArray


class MixtureSeparator(SpectralMaskSeparator):
    """Return the mixture as its vocals, which any separator has to beat.

    The mask is 1 everywhere.

    Attributes
    ----------
    front_end_ : FrontEnd
        Settings of the `MelChunker` that it was fitted with.

    See Also
    --------
    OracleMaskSeparator : Separate with masks made from the truth.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sksep import MelChunker, MixtureSeparator
    >>> from sksep.datasets import make_songs
    >>> songs = make_songs(2, duration=1.0, random_state=0)
    >>> pipeline = make_pipeline(MelChunker(), MixtureSeparator()).fit(songs.mixtures)
    >>> bool(abs(pipeline.predict(songs.mixtures)[0] - songs.mixtures[0]).max() < 1e-5)
    True
    """

    def _mask(self, record: TrackRecord) -> FloatArray:
        return np.ones_like(record.spectrogram)
