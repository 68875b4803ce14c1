"""OracleMaskSeparator: separates with masks made from the truth, the ceiling of comparisons."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from sksep.base._batch import TrackRecord, as_batch
from sksep.nn import masks
from sksep.nn.front_end import FrontEnd
from sksep.separators._spectral_masks import (
    SpectralMaskSeparator,
    band_power,
    frame_rate,
    time_blocks,
)
from sksep.utils._arrays import FloatArray
from sksep.utils._parameters import parameter
from sksep.utils._validation import choice

_BLOCK_SECONDS = 30.0


@dataclass(eq=False, repr=False)
class OracleMaskSeparator(SpectralMaskSeparator):
    """Separate with masks made from the truth, as a ceiling for comparisons.

    It cannot separate music whose vocals are not known: `fit` takes the truth of the same tracks
    that are predicted, and finds it again by the content of their mixtures. Its score shows the
    best that the front end and the kind of mask allow.

    Parameters
    ----------
    kind : {"ratio", "magnitude_ratio", "binary", "phase_sensitive"}, default="ratio"
        Kind of the masks. "ratio" is the share of the vocals in the power of a bin, and
        "magnitude_ratio" that in the magnitude (the ratios "power" and "magnitude" of
        `MaskBuilder`). "binary" is 1 where the vocals are louder. "phase_sensitive" is the real
        mask, limited to [0, 1], whose product with the mixture is nearest to the vocals [1]_.

    Attributes
    ----------
    truth_ : dict of str to ndarray of shape (n_samples,)
        Mono vocals by the SHA-256 digest of their mono mixture.
    front_end_ : FrontEnd
        Settings of the `MelChunker` that it was fitted with.

    See Also
    --------
    MixtureSeparator : Return the mixture as its vocals.

    References
    ----------
    .. [1] H. Erdogan, J. R. Hershey, S. Watanabe and J. Le Roux, "Phase-sensitive and
       recognition-boosted speech separation using deep recurrent neural networks", ICASSP 2015.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sksep import MaskBuilder, MelChunker, OracleMaskSeparator
    >>> from sksep.datasets import make_songs
    >>> songs = make_songs(2, duration=1.0, random_state=0)
    >>> pipeline = make_pipeline(MelChunker(), MaskBuilder(), OracleMaskSeparator("binary"))
    >>> score = pipeline.fit(songs.mixtures, songs.vocals).score(songs.mixtures, songs.vocals)
    >>> score > 5.0
    True
    """

    kind: str = parameter("ratio", choice("ratio", "magnitude_ratio", "binary", "phase_sensitive"))

    def fit(self, X: Any, y: Any = None) -> OracleMaskSeparator:
        """Remember the truth of the tracks that will be predicted.

        Parameters
        ----------
        X : TrackBatch
            Output of `MaskBuilder.fit_transform`: tracks with targets.
        y : Ignored
            The truth is in the targets.

        Returns
        -------
        OracleMaskSeparator
            The separator itself.

        Raises
        ------
        TypeError
            If `X` is not an output of `MelChunker`.
        ValueError
            If a track has no targets, or `kind` is unknown.
        """
        self._check_parameters()
        batch = as_batch(X, user=type(self).__name__)
        truth = {}
        for record in batch:
            if record.targets is None:
                raise ValueError(
                    f"{type(self).__name__} found no truth of {record.name}. Put a MaskBuilder "
                    "before this step of the pipeline and fit with the true stems, such as vocals: "
                    "fit(mixtures, vocals)."
                )
            truth[_digest(record.waveform)] = record.targets.vocals
            if record.cache is not None:
                # `transform` of the chunker reads this waveform. The cached one is rounded.
                waveform = record.track.mono(record.front_end.sample_rate)
                truth[_digest(waveform)] = record.targets.vocals
        super().fit(batch)
        self.truth_ = truth
        return self

    def _mask(self, record: TrackRecord) -> FloatArray:
        vocals = self.truth_.get(_digest(record.waveform))
        if vocals is None:
            raise ValueError(
                f"{type(self).__name__} was not given the truth of {record.name}. Call fit of the "
                "pipeline with the tracks that are to be predicted and their true stems, or use a "
                "separator that needs no truth."
            )
        front_end = record.front_end
        if self.kind == "phase_sensitive":
            return _phase_sensitive_mask(vocals, record.waveform, front_end)
        powers = band_power(vocals, front_end), band_power(record.waveform - vocals, front_end)
        if self.kind == "binary":
            return masks.binary_mask(*powers).numpy()
        ratio = "magnitude" if self.kind == "magnitude_ratio" else "power"
        return masks.proportion_mask(*powers, ratio).numpy()


def _digest(waveform: FloatArray) -> str:
    return hashlib.sha256(np.ascontiguousarray(waveform).tobytes()).hexdigest()


def _phase_sensitive_mask(
    vocals: FloatArray, mixture: FloatArray, front_end: FrontEnd
) -> FloatArray:
    """Least-squares real mask of each band, in blocks, since complex spectra take much memory."""
    n_fft, hop_length = front_end.n_fft, front_end.hop_length
    n_frames = 1 + len(mixture) // hop_length
    padded = torch.tensor(np.pad(np.stack([vocals, mixture]), ((0, 0), (n_fft // 2, n_fft))))
    blocks = []
    for frames in time_blocks(n_frames, _BLOCK_SECONDS * frame_rate(front_end)):
        stop = (frames.stop - 1) * hop_length + n_fft
        sung, mixed = front_end.spectra(padded[:, frames.start * hop_length : stop])
        common = front_end.band_power((sung * mixed.conj()).real)
        total = front_end.band_power(mixed.abs().square())
        blocks.append(common / total.clamp_min(torch.finfo(total.dtype).tiny))
    return torch.cat(blocks).numpy()
