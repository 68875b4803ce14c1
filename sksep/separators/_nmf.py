"""NMFSeparator: separates vocals by dictionaries of spectra."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view
from sklearn.decomposition import NMF, non_negative_factorization
from sklearn.utils import check_random_state

from sksep.base._batch import TrackBatch, TrackRecord, as_batch
from sksep.separators._hpss import hpss_vocals
from sksep.separators._spectral_masks import (
    BlockwiseSeparator,
    band_power,
    document_blocks,
    high_pass_gains,
    share,
    waveform_mask,
)
from sksep.utils._arrays import FloatArray
from sksep.utils._parameters import parameter
from sksep.utils._validation import check_random_state as random_state_constraint
from sksep.utils._validation import integer

# Frames this far below the loudest one of their track are not learned from (-40 dB of energy).
_SILENCE = 1e-4


@document_blocks
@dataclass(kw_only=True, eq=False, repr=False)
class NMFSeparator(BlockwiseSeparator):
    """Separate vocals by non-negative matrix factorization of the magnitudes.

    If it is fitted with vocals, it learns a dictionary of spectra of the vocals and one of the
    accompaniments. To separate, both approximate the mixture together, and the mask is the share
    of the vocal part [1]_. Spectra consist of a few frames in the bands of the front end, and the
    divergence is that of Kullback and Leibler [2]_.

    If it is fitted without vocals, it factorizes each track by itself. A component then counts as
    vocal by the share of it that two-stage harmonic/percussive separation takes for vocals.

    Parameters
    ----------
    n_components : int, default=50
        Number of spectra in each dictionary, or in all for a track that is factorized by itself.
    n_context_frames : int, default=4
        Number of frames that a spectrum spans.
    max_iter : int, default=50
        Number of iterations.
    n_training_frames : int, default=6000
        Largest number of frames to learn from per source, drawn at random and evenly over tracks.
    random_state : int, RandomState instance or None, default=None
        Seed of the frames that are drawn and of the initial values.
    BLOCK_PARAMETERS

    Attributes
    ----------
    vocal_components_, accompaniment_components_ : ndarray or None
        Dictionaries of shape (n_components, n_context_frames * n_bands), each spectrum of sum 1;
        None if it was fitted without vocals.
    seed_ : int
        Seed of the initial values when predicting.
    front_end_ : FrontEnd
        Settings of the `MelChunker` that it was fitted with.

    References
    ----------
    .. [1] P. Smaragdis, B. Raj and M. Shashanka, "Supervised and semi-supervised separation of
       sounds from single-channel mixtures", ICA 2007.
    .. [2] D. D. Lee and H. S. Seung, "Algorithms for non-negative matrix factorization",
       NIPS 2000.

    Examples
    --------
    >>> from sklearn.pipeline import make_pipeline
    >>> from sksep import MaskBuilder, MelChunker, NMFSeparator
    >>> from sksep.datasets import make_songs
    >>> songs = make_songs(2, duration=2.0, random_state=0)
    >>> separator = NMFSeparator(n_components=10, random_state=0)
    >>> pipeline = make_pipeline(MelChunker(), MaskBuilder(), separator)
    >>> vocals = pipeline.fit(songs.mixtures, songs.vocals).predict(songs.mixtures)
    >>> vocals[0].shape
    (32000,)
    """

    n_components: int = parameter(50, integer(1, 1000))
    n_context_frames: int = parameter(4, integer(1, 64))
    max_iter: int = parameter(50, integer(1, 1000))
    n_training_frames: int = parameter(6000, integer(1, 10**7))
    random_state: Any = parameter(None, random_state_constraint)

    def fit(self, X: Any, y: Any = None) -> NMFSeparator:
        """Learn the dictionaries if there are vocals to learn them from.

        Parameters
        ----------
        X : TrackBatch
            Output of `MaskBuilder.fit_transform`, which has targets, or of `MelChunker`.
        y : Ignored
            The truth is in the targets.

        Returns
        -------
        NMFSeparator
            The separator itself.

        Raises
        ------
        TypeError
            If a parameter has the wrong type, or `X` is not an output of `MelChunker`.
        ValueError
            If the vocals or the accompaniments of all tracks are silent, or a parameter is out
            of its range.
        """
        self._check_parameters()
        batch = as_batch(X, user=type(self).__name__)
        random_state = check_random_state(self.random_state)
        seed = int(random_state.randint(np.iinfo(np.int32).max))
        known = TrackBatch(record for record in batch if record.targets is not None)
        vocals = self._learn(known, "vocals", random_state) if known else None
        accompaniment = self._learn(known, "accompaniment", random_state) if known else None
        super().fit(batch)
        self.vocal_components_ = vocals
        self.accompaniment_components_ = accompaniment
        self.seed_ = seed
        return self

    def _learn(
        self, batch: TrackBatch, source: str, random_state: np.random.RandomState
    ) -> FloatArray:
        quota = -(-self.n_training_frames // len(batch))
        drawn = []
        for record in batch:
            targets = record.targets
            assert targets is not None
            is_vocals = source == "vocals"
            waveform = targets.vocals if is_vocals else targets.mixture - targets.vocals
            power = band_power(waveform, record.front_end).numpy()
            energy = power.sum(axis=1)
            loud = np.flatnonzero(energy > _SILENCE * energy.max())
            chosen = random_state.permutation(loud)[:quota]
            drawn.append(with_context(np.sqrt(power), self.n_context_frames, chosen))
        frames = np.concatenate(drawn)
        if not len(frames):
            stem = batch[0].targets.stem if batch[0].targets else "vocals"
            rest = source if stem == "vocals" else f"mixtures without {stem}"
            silent = stem if source == "vocals" else rest
            raise ValueError(
                f"{type(self).__name__} has nothing to learn from: the {silent} of all tracks "
                f"are silent. Check the recordings, or fit without {stem}."
            )
        return self._factorize(frames, int(random_state.randint(np.iinfo(np.int32).max)))[1]

    def _factorize(self, frames: FloatArray, seed: int) -> tuple[FloatArray, FloatArray]:
        """Activations, and spectra of sum 1."""
        # Without a tolerance, since its check would take as long as an iteration.
        model = NMF(
            int(self.n_components),
            init="random",
            solver="mu",
            beta_loss="kullback-leibler",
            max_iter=self.max_iter,
            tol=0.0,
            random_state=seed,
        )
        activations = model.fit_transform(frames)
        sums = np.maximum(model.components_.sum(axis=1), np.finfo(np.float32).tiny)
        return activations * sums, model.components_ / sums[:, None]

    def _block_mask(
        self, magnitudes: FloatArray, record: TrackRecord, frames: slice
    ) -> npt.NDArray[Any]:
        if not magnitudes.any():
            return np.zeros_like(magnitudes)
        if self.vocal_components_ is None or self.accompaniment_components_ is None:
            return self._unsupervised_mask(magnitudes, record, frames)
        spectra = np.concatenate([self.vocal_components_, self.accompaniment_components_])
        n_vocal = len(self.vocal_components_)
        n_context = spectra.shape[1] // magnitudes.shape[1]
        activations, *_ = non_negative_factorization(
            with_context(magnitudes, n_context),
            H=spectra,
            n_components=len(spectra),
            update_H=False,
            solver="mu",
            beta_loss="kullback-leibler",
            max_iter=self.max_iter,
            tol=0.0,
        )
        vocals = without_context(activations[:, :n_vocal] @ spectra[:n_vocal], n_context)
        rest = without_context(activations[:, n_vocal:] @ spectra[n_vocal:], n_context)
        return share(vocals, rest)

    def _unsupervised_mask(
        self, magnitudes: FloatArray, record: TrackRecord, frames: slice
    ) -> npt.NDArray[Any]:
        n_context = self.n_context_frames
        observed = with_context(magnitudes, n_context)
        guide = with_context(self._guide(record, frames, len(magnitudes)), n_context)
        activations, spectra = self._factorize(observed, self.seed_)
        ratio = observed / np.maximum(activations @ spectra, np.finfo(np.float32).tiny)
        found = ((activations.T @ (ratio * guide)) * spectra).sum(axis=1)
        total = ((activations.T @ ratio) * spectra).sum(axis=1)
        is_vocal = share(found, np.maximum(total - found, 0.0))
        vocals = without_context((activations * is_vocal) @ spectra, n_context)
        return share(vocals, without_context((activations * (1.0 - is_vocal)) @ spectra, n_context))

    def _guide(self, record: TrackRecord, frames: slice, n_frames: int) -> FloatArray:
        """Mask of a block by harmonic/percussive separation."""
        front_end = record.front_end
        # The samples that the frames of the block depend on.
        start = max(0, frames.start * front_end.hop_length)
        stop = min(len(record.waveform), frames.stop * front_end.hop_length)
        excerpt = record.waveform[start:stop] if stop > start else np.zeros(1, np.float32)
        mask = waveform_mask(hpss_vocals(excerpt, front_end.sample_rate), excerpt, front_end)
        mask = mask * high_pass_gains(front_end, self.high_pass)
        return np.pad(mask, ((0, max(0, n_frames - len(mask))), (0, 0)), mode="edge")[:n_frames]


def with_context(
    rows: FloatArray, n_context: int, chosen: npt.NDArray[np.intp] | None = None
) -> FloatArray:
    """Rows joined with the next ones, (n_chosen, n_context * n_bands); the end is padded with 0."""
    padded = np.pad(rows, ((0, n_context - 1), (0, 0)))
    windows = sliding_window_view(padded, n_context, axis=0)
    chosen_windows = windows if chosen is None else windows[chosen]
    return np.ascontiguousarray(chosen_windows.swapaxes(1, 2)).reshape(
        len(chosen_windows), n_context * rows.shape[1]
    )


def without_context(rows: npt.NDArray[Any], n_context: int) -> npt.NDArray[Any]:
    """Sum the parts of windows with context that belong to each row, the adjoint of the above."""
    windows = rows.reshape(len(rows), n_context, -1)
    total = np.zeros((len(rows) + n_context - 1, windows.shape[2]), rows.dtype)
    for offset in range(n_context):
        total[offset : offset + len(rows)] += windows[:, offset]
    return total[: len(rows)]
