"""MaskDisplay: the masks that a separator estimates, beside the true ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from sksep.nn.front_end import FrontEnd
from sksep.plotting._axes import (
    add_color_bar,
    check_image,
    draw_bands,
    label_outer,
    make_panels,
)
from sksep.plotting._models import (
    by_title,
    mask_steps,
    named_estimates,
    named_estimators,
    pick_track,
    true_masks,
)
from sksep.transformers import MelChunker

# Share of the vocals above which they are the louder part of a bin.
_HALF = 0.5
# Rounding may take a mask this far below 0 or above 1.
_TOLERANCE = 1e-3


class MaskDisplay:
    """True binary and proportion masks of the vocals, and each estimate, from 0 to 1.

    In tracks with more than 4000 frames, neighboring frames are drawn as their mean. Make one with
    `from_estimator` or `from_predictions`.

    Parameters
    ----------
    masks : dict of str to ndarray of shape (n_total_frames, n_bands)
        Masks in [0, 1] by title.
    front_ends : FrontEnd or dict of str to FrontEnd
        ``front_end_`` of the `MelChunker` that all masks, or each of them, belong to.

    Attributes
    ----------
    masks_ : dict of str to ndarray of shape (n_total_frames, n_bands)
        The given masks.
    front_ends_ : dict of str to FrontEnd
        Front ends that set the axes of each mask, in Hz and s.
    ax_ : ndarray of Axes, shape (n_masks,)
        One panel for each mask, from top to bottom.
    figure_ : Figure
        The figure of the panels.
    colorbar_ : Colorbar
        Color bar of the share of the vocals, from 0 to 1.

    See Also
    --------
    SpectrogramDisplay : Spectrograms of the mixture and of the estimates.

    Examples
    --------
    >>> from sksep import load_pretrained
    >>> from sksep.datasets import make_songs
    >>> from sksep.plotting import MaskDisplay
    >>> songs = make_songs(1, duration=2.0, random_state=0)
    >>> display = MaskDisplay.from_estimator(
    ...     load_pretrained("uhnet"), songs.mixtures, songs.vocals, name="uhnet"
    ... )
    >>> [panel.get_title() for panel in display.ax_]
    ['True binary mask', 'True proportion mask', 'uhnet']
    """

    def __init__(
        self,
        masks: Mapping[str, npt.NDArray[Any]],
        *,
        front_ends: FrontEnd | Mapping[str, FrontEnd],
    ) -> None:
        if not masks:
            raise ValueError("masks is empty; give at least one.")
        if isinstance(front_ends, FrontEnd):
            front_ends = dict.fromkeys(masks, front_ends)
        if missing := set(masks) - set(front_ends):
            raise ValueError(f"front_ends lacks those of {sorted(missing)}.")
        self.front_ends_ = {title: front_ends[title] for title in masks}
        self.masks_ = {
            title: check_image(mask, self.front_ends_[title], f"mask {title!r}")
            for title, mask in masks.items()
        }
        for title, mask in self.masks_.items():
            if mask.min() < -_TOLERANCE or mask.max() > 1.0 + _TOLERANCE:
                raise ValueError(
                    f"The mask {title!r} reaches from {mask.min():.3g} to {mask.max():.3g}; masks "
                    "are shares of the vocals, from 0 to 1."
                )

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
        cmap: str = "gray",
    ) -> MaskDisplay:
        """Estimate the masks of a track and draw them.

        Parameters
        ----------
        estimator : Pipeline or dict of str to Pipeline
            Fitted model, or several by name. The `MaskBuilder` of the first says whether true
            masks are shares of the power or of the magnitude.
        X : sequence of tracks
            Mixtures, as arrays or paths.
        y : sequence of tracks, default=None
            True vocals; None draws the estimates alone.
        track : int, default=0
            Index of the track that is drawn; the others are not read.
        ax : Axes or array of Axes, default=None
            Axes to empty and draw on; None makes a figure, a single Axes is divided.
        name : str, default=None
            Title of the mask of a single pipeline; None is the class of its separator.
        cmap : str or Colormap, default="gray"
            Colors of the range from 0 to 1.

        Returns
        -------
        MaskDisplay

        Raises
        ------
        TypeError, ValueError, NotFittedError
            If a model or the track does not fit. The message names it, and the remedy.
        """
        models = named_estimators(estimator, name)
        picked = pick_track(models, X, y, track)
        batches = {title: mask_steps(model).transform(picked.X) for title, model in models.items()}
        panels = [(title, (batch[0].mask, batch[0].front_end)) for title, batch in batches.items()]
        if picked.y is not None:
            title, batch = next(iter(batches.items()))
            binary, proportion = true_masks(models[title], batch, picked.y)
            front_end = batch[0].front_end
            panels = [
                ("True binary mask", (binary, front_end)),
                ("True proportion mask", (proportion, front_end)),
                *panels,
            ]
        titled = by_title(panels)
        masks = {title: mask for title, (mask, _) in titled.items()}
        front_ends = {title: front_end for title, (_, front_end) in titled.items()}
        return cls(masks, front_ends=front_ends).plot(ax, cmap=cmap)

    @classmethod
    def from_predictions(
        cls,
        y_true: Any,
        y_pred: Any,
        *,
        ax: Any = None,
        name: str | None = None,
        cmap: str = "gray",
        **front_end: Any,
    ) -> MaskDisplay:
        """Draw masks of one track.

        Parameters
        ----------
        y_true : ndarray of shape (n_total_frames, n_bands) or None
            True proportion mask, such as ``targets.proportion_mask``; the binary one is 1 where
            this is above a half.
        y_pred : ndarray of shape (n_total_frames, n_bands) or dict of such
            Estimated mask, such as one of ``predict_mask``, or several by name.
        ax, name, cmap
            As in `from_estimator`.
        **front_end
            Parameters of the `MelChunker` that the masks belong to (`sample_rate`, `n_fft`,
            `hop_length`, `f_min`, `f_max`); with ``n_mels=None`` their bands are linear;
            otherwise they are as many mel bands as the masks have.

        Returns
        -------
        MaskDisplay

        Raises
        ------
        ValueError
            If masks differ in shape or do not belong to the front end.

        Examples
        --------
        >>> import numpy as np
        >>> from sksep.plotting import MaskDisplay
        >>> true = np.random.default_rng(0).random((100, 128))
        >>> display = MaskDisplay.from_predictions(true, true**2, hop_length=256)
        >>> [panel.get_title() for panel in display.ax_]
        ['True binary mask', 'True proportion mask', 'Estimate']
        """
        estimates = {title: np.asarray(m) for title, m in named_estimates(y_pred, name).items()}
        truths = []
        if y_true is not None:
            share = np.asarray(y_true)
            truths = [("True binary mask", share > _HALF), ("True proportion mask", share)]
        masks = by_title([*truths, *estimates.items()])
        first, shape = next((title, mask.shape) for title, mask in masks.items())
        for title, mask in masks.items():
            if mask.shape != shape or mask.ndim != 2:
                raise ValueError(
                    f"Masks have one shape (n_total_frames, n_bands), but {first!r} has {shape} "
                    f"and {title!r} {mask.shape}."
                )
        chunker = MelChunker(**({"n_mels": shape[1]} | front_end))
        return cls(masks, front_ends=chunker.fit(None).front_end_).plot(ax, cmap=cmap)

    def plot(self, ax: Any = None, *, cmap: str = "gray") -> MaskDisplay:
        """Draw again.

        Parameters
        ----------
        ax, cmap
            As in `from_estimator`.

        Returns
        -------
        MaskDisplay
            The display itself.
        """
        self.figure_, self.ax_ = make_panels(ax, len(self.masks_))
        for panel, (title, mask) in zip(self.ax_, self.masks_.items(), strict=True):
            mesh = draw_bands(
                panel,
                mask.astype(np.float32),
                self.front_ends_[title],
                title=title,
                vmin=0.0,
                vmax=1.0,
                cmap=cmap,
            )
        label_outer(self.ax_)
        self.colorbar_ = add_color_bar(self.ax_, mesh, "Share of the vocals")
        return self
