"""SpectrogramDisplay: the input of a separator and its output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from sksep.audio._track import Track
from sksep.audio._validation import check_track
from sksep.nn.front_end import FrontEnd
from sksep.plotting._axes import (
    add_color_bar,
    check_image,
    draw_bands,
    label_outer,
    make_panels,
)
from sksep.plotting._models import (
    default_front_end,
    front_end_of,
    named_estimates,
    named_estimators,
    pick_track,
    titled_tracks,
)
from sksep.utils._arrays import FloatArray
from sksep.utils._validation import check_integer, check_number


class SpectrogramDisplay:
    """Spectrograms of the mixture, the true vocals and each estimate, on one color scale.

    In tracks with more than 4000 frames, neighboring frames are drawn as their mean. Make one with
    `from_estimator` or `from_predictions`.

    Parameters
    ----------
    spectrograms : dict of str to ndarray of shape (n_total_frames, n_bands)
        Log power in dB by title.
    front_end : FrontEnd
        ``front_end_`` of the `MelChunker` that made them. It sets the axes.

    Attributes
    ----------
    spectrograms_ : dict of str to ndarray of shape (n_total_frames, n_bands)
        The given log power in dB.
    front_end_ : FrontEnd
        The given front end.
    ax_ : ndarray of Axes, shape (n_spectrograms,)
        One panel for each spectrogram, from top to bottom.
    figure_ : Figure
        The figure of the panels.
    colorbar_ : Colorbar
        Color bar whose label names the unit.

    See Also
    --------
    MaskDisplay : The masks that the estimates are made with.

    Examples
    --------
    >>> from sksep import load_pretrained
    >>> from sksep.datasets import make_songs
    >>> from sksep.plotting import SpectrogramDisplay
    >>> songs = make_songs(1, duration=2.0, random_state=0)
    >>> display = SpectrogramDisplay.from_estimator(
    ...     load_pretrained("small"), songs.mixtures, songs.vocals, name="small"
    ... )
    >>> [panel.get_title() for panel in display.ax_]
    ['Mixture', 'True vocals', 'small']
    """

    def __init__(self, spectrograms: Mapping[str, FloatArray], *, front_end: FrontEnd) -> None:
        if not spectrograms:
            raise ValueError("spectrograms is empty; give at least one.")
        self.spectrograms_ = {
            title: check_image(image, front_end, f"spectrogram {title!r}")
            for title, image in spectrograms.items()
        }
        self.front_end_ = front_end

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any = None,
        *,
        track: int = 0,
        ax: Any = None,
        name: str | None = None,
        dynamic_range: float = 80.0,
        cmap: str = "magma",
    ) -> SpectrogramDisplay:
        """Separate a track and draw it.

        Parameters
        ----------
        estimator : estimator or dict of str to estimator
            Fitted model, or several by name: pipelines or separators of waveforms. The
            `MelChunker` of the first draws all waveforms.
        X : sequence of tracks
            Mixtures, as arrays or paths.
        y : sequence of tracks, default=None
            True vocals.
        track : int, default=0
            Index of the track that is drawn; the others are not read.
        ax : Axes or array of Axes, default=None
            Axes to empty and draw on; None makes a figure, a single Axes is divided.
        name : str, default=None
            Title of the estimate of a single model; None is the class of its separator.
        dynamic_range : float, default=80.0
            Range of the colors in dB, down from the loudest bin of all panels.
        cmap : str or Colormap, default="magma"
            Color map.

        Returns
        -------
        SpectrogramDisplay

        Raises
        ------
        TypeError, ValueError, NotFittedError
            If a model or the track does not fit. The message names it, and the remedy.
        """
        models = named_estimators(estimator, name)
        front_end = front_end_of(next(iter(models.values())))
        picked = pick_track(models, X, y, track)
        estimates = {title: model.predict(picked.X)[0] for title, model in models.items()}
        tracks = titled_tracks(picked.mixture, picked.vocals, estimates, picked.mixture.sample_rate)
        return cls(_spectrograms(tracks, front_end), front_end=front_end).plot(
            ax, dynamic_range=dynamic_range, cmap=cmap
        )

    @classmethod
    def from_predictions(
        cls,
        y_true: Any,
        y_pred: Any,
        *,
        mixture: Any = None,
        sample_rate: int = 16000,
        ax: Any = None,
        name: str | None = None,
        dynamic_range: float = 80.0,
        cmap: str = "magma",
        **front_end: Any,
    ) -> SpectrogramDisplay:
        """Draw waveforms of one track.

        Parameters
        ----------
        y_true : array of shape (n_samples,) or (n_channels, n_samples), path, or None
            True vocals.
        y_pred : array of shape (n_samples,) or (n_channels, n_samples), path, or dict of such
            Estimate, or several by name.
        mixture : array of shape (n_samples,) or (n_channels, n_samples) or path, default=None
            Mixture.
        sample_rate : int, default=16000
            Rate of the arrays in Hz, at which everything is drawn.
        ax, name, dynamic_range, cmap
            As in `from_estimator`.
        **front_end
            Further parameters of `MelChunker`, such as ``n_mels=None`` for linear bins. The
            windows have about 64 ms by default.

        Returns
        -------
        SpectrogramDisplay

        Raises
        ------
        TypeError, ValueError
            If waveforms are invalid or differ in length.

        Examples
        --------
        >>> from sksep.datasets import make_songs
        >>> from sksep.plotting import SpectrogramDisplay
        >>> songs = make_songs(1, duration=2.0, random_state=0)
        >>> display = SpectrogramDisplay.from_predictions(songs.vocals[0], songs.mixtures[0])
        >>> [panel.get_title() for panel in display.ax_]
        ['True vocals', 'Estimate']
        """
        rate = check_integer("sample_rate", sample_rate, 1)
        settings = default_front_end(rate, **front_end)
        mixed = None if mixture is None else check_track(mixture, rate, "mixture")
        vocals = None if y_true is None else check_track(y_true, rate, "y_true")
        tracks = titled_tracks(mixed, vocals, named_estimates(y_pred, name), rate)
        return cls(_spectrograms(tracks, settings), front_end=settings).plot(
            ax, dynamic_range=dynamic_range, cmap=cmap
        )

    def plot(
        self, ax: Any = None, *, dynamic_range: float = 80.0, cmap: str = "magma"
    ) -> SpectrogramDisplay:
        """Draw again.

        Parameters
        ----------
        ax, dynamic_range, cmap
            As in `from_estimator`.

        Returns
        -------
        SpectrogramDisplay
            The display itself.
        """
        dynamic_range = check_number("dynamic_range", dynamic_range, 0.0, include_low=False)
        self.figure_, self.ax_ = make_panels(ax, len(self.spectrograms_))
        high = max(float(image.max()) for image in self.spectrograms_.values())
        low = high - dynamic_range
        for panel, (title, image) in zip(self.ax_, self.spectrograms_.items(), strict=True):
            mesh = draw_bands(
                panel,
                np.maximum(image, low),
                self.front_end_,
                title=title,
                vmin=low,
                vmax=high,
                cmap=cmap,
            )
        label_outer(self.ax_)
        self.colorbar_ = add_color_bar(self.ax_, mesh, "Power (dB)")
        return self


def _spectrograms(tracks: Mapping[str, Track], front_end: FrontEnd) -> dict[str, FloatArray]:
    return {
        title: front_end.log_power(torch.tensor(track.mono(front_end.sample_rate))).numpy()
        for title, track in tracks.items()
    }
