"""LoadedSeparator: the base of separators whose model is ready, and only has to be loaded."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

import torch

from sksep.audio._decoding import MAX_SAMPLE_RATE, MIN_SAMPLE_RATE
from sksep.audio._validation import check_tracks
from sksep.base._track_separator import TrackSeparator
from sksep.utils._parameters import document_shared, parameter
from sksep.utils._validation import integer


@dataclass(kw_only=True, eq=False, repr=False)
class LoadedSeparator(TrackSeparator):
    """Base of separators whose `fit` loads a model, and learns nothing.

    Parameters
    ----------
    sample_rate : int, default=44100
        Sample rate of tracks given as arrays, in Hz. Files have their own.

    Attributes
    ----------
    model_ : object
        The model.
    """

    sample_rate: int = parameter(
        44100,
        integer(MIN_SAMPLE_RATE, MAX_SAMPLE_RATE),
        "int",
        "Sample rate of tracks given as arrays, in Hz. Files have their own.",
    )
    # Those of sksep are part of its peers.
    _doc_link_template = (
        "https://sksep.github.io/sksep/api/generated/sksep.peers.{estimator_name}.html"
    )

    def fit(self, X: Any, y: Any = None) -> LoadedSeparator:
        """Check the parameters and the tracks, and make the model; nothing is learned.

        Parameters
        ----------
        X : sequence of arrays, paths or AudioSource
            Mixtures: arrays of shape (n_samples,) or (n_channels, n_samples), or files.
        y : Ignored

        Returns
        -------
        LoadedSeparator
            The separator itself.

        Raises
        ------
        ImportError
            If the package of the model is not installed. The message says how to install it.
        TypeError, ValueError
            If a parameter or a track is not valid. The error names it, and the remedy.
        """
        self._check_parameters()
        check_tracks(X, self.sample_rate)
        return self._prepare()

    @abstractmethod
    def _load(self) -> Any:
        """Make the model that is kept as `model_`. It must be an object that pickle takes."""

    def _prepare(self) -> LoadedSeparator:
        """Fit without tracks."""
        self._check_parameters()
        with torch.random.fork_rng(devices=[]):  # networks draw weights that are then replaced
            self.model_ = self._load()
        return self

    def _array_rate(self) -> int:
        return self.sample_rate


document_loaded = document_shared(LoadedSeparator, "LOADED_PARAMETERS")
