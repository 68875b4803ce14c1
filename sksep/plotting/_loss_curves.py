"""LossCurveDisplay: losses of a training, epoch by epoch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sksep.plotting._axes import make_panels
from sksep.plotting._models import by_name, named_estimators, separator_of
from sksep.utils._arrays import DoubleArray


class LossCurveDisplay:
    """Loss against epoch: solid for training, dashed for validation, one color for each model.

    Losses can be compared only between models that were trained with one loss on the same tracks.
    Make one with `from_estimator` or `from_curves`.

    Parameters
    ----------
    training, validation : dict of str to array of shape (n_epochs,)
        Losses by the name of the model; NaN if an epoch had none.

    Attributes
    ----------
    training_, validation_ : dict of str to ndarray of shape (n_epochs,)
        Losses that are drawn; models without validation are missing in the latter.
    ax_ : Axes
        Axes of the drawing.
    figure_ : Figure
        The figure around it.

    Examples
    --------
    >>> from sksep.plotting import LossCurveDisplay
    >>> display = LossCurveDisplay.from_curves({"U-Net": [0.6, 0.4]}, {"U-Net": [0.7, 0.5]})
    >>> [line.get_label() for line in display.ax_.lines]
    ['U-Net, training', 'U-Net, validation']
    """

    ax_: Any
    figure_: Any

    def __init__(self, training: Mapping[str, Any], validation: Mapping[str, Any]) -> None:
        self.training_ = _check_curves(training, "training")
        curves = _check_curves(validation, "validation")
        unknown = [name for name in curves if name not in self.training_]
        if unknown:
            raise ValueError(
                f"validation has curves that training lacks: {unknown}; give both by the same "
                "names."
            )
        self.validation_ = {
            name: curve for name, curve in curves.items() if np.isfinite(curve).any()
        }
        if not self.training_:
            raise ValueError("training holds no curves; give at least one.")

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, ax: Any = None, name: str | None = None
    ) -> LossCurveDisplay:
        """Draw how the network of a model was trained.

        Parameters
        ----------
        estimator : Pipeline, or dict of str to Pipeline
            Fitted model with a network, or several by name.
        ax : Axes, default=None
            Axes to empty and draw on; None makes a figure.
        name : str, default=None
            Name of a single model in the legend; None is the class of its separator.

        Returns
        -------
        LossCurveDisplay

        Raises
        ------
        TypeError, NotFittedError
            If a model has no network, or is not fitted.

        Examples
        --------
        >>> from sksep.datasets import make_songs
        >>> from sksep.plotting import LossCurveDisplay
        >>> from sksep.presets import unet_pipeline
        >>> songs = make_songs(2, duration=1.0, random_state=0)
        >>> model = unet_pipeline("report", separate__n_filters=2, separate__max_epochs=2)
        >>> display = LossCurveDisplay.from_estimator(model.fit(songs.mixtures, songs.vocals))
        >>> display.ax_.get_xlabel()
        'Epoch'
        """
        training, validation = {}, {}
        for label, model in named_estimators(estimator, name).items():
            separator = separator_of(model)
            if not hasattr(type(separator), "history_"):
                raise TypeError(
                    f"{label} has no loss curve: {type(separator).__name__} has no network to "
                    "train. Leave it out."
                )
            check_is_fitted(separator)
            history: Any = separator
            training[label] = _column(history.history_, "train_loss")
            validation[label] = _column(history.history_, "valid_loss")
        return cls(training, validation).plot(ax)

    @classmethod
    def from_curves(
        cls, training: Any, validation: Any = None, *, ax: Any = None, name: str | None = None
    ) -> LossCurveDisplay:
        """Draw given losses.

        Parameters
        ----------
        training : dict of str to sequence of float, or one sequence
            Training losses by the name of the model, one value for each epoch.
        validation : dict of str to sequence of float, or one sequence, default=None
            Validation losses; models without any may be missing.
        ax : Axes, default=None
            Axes to empty and draw on; None makes a figure.
        name : str, default=None
            Name of a single sequence in the legend; None is "Model".

        Returns
        -------
        LossCurveDisplay

        Examples
        --------
        >>> from sksep.plotting import LossCurveDisplay
        >>> display = LossCurveDisplay.from_curves([0.6, 0.4, 0.3])
        >>> display.ax_.lines[0].get_xdata()
        array([1, 2, 3])
        """
        if isinstance(training, Mapping) and name is not None:
            raise ValueError("name is for a single curve; the keys of the dict are the names.")
        if not isinstance(training, Mapping):
            label = name or "Model"
            training = {label: training}
            if validation is not None and not isinstance(validation, Mapping):
                validation = {label: validation}
        return cls(training, {} if validation is None else validation).plot(ax)

    def plot(self, ax: Any = None) -> LossCurveDisplay:
        """Draw again.

        Parameters
        ----------
        ax : Axes, default=None
            Axes to empty and draw on; None makes a figure.

        Returns
        -------
        LossCurveDisplay
            The display itself.
        """
        self.figure_, (self.ax_,) = make_panels(ax, 1, panel_size=(6.0, 4.0))
        from matplotlib.ticker import MaxNLocator  # after make_panels, which says what to install

        for index, (name, curve) in enumerate(self.training_.items()):
            style = {"color": f"C{index}", "marker": "."}
            epochs = np.arange(1, len(curve) + 1)
            self.ax_.plot(epochs, curve, label=f"{name}, training", **style)
            if name in self.validation_:
                curve = self.validation_[name]
                epochs = np.arange(1, len(curve) + 1)
                self.ax_.plot(epochs, curve, "--", label=f"{name}, validation", **style)
        self.ax_.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
        self.ax_.set(xlabel="Epoch", ylabel="Loss")
        self.ax_.legend().set_in_layout(False)  # the panel must not shrink for it
        return self


def _column(history: Any, key: str) -> DoubleArray:
    """One value for each epoch; NaN for the epochs of `partial_fit`, which has no validation."""
    return np.array([row.get(key, np.nan) for row in history], np.float64)


def _check_curves(curves: Any, name: str) -> dict[str, DoubleArray]:
    if not isinstance(curves, Mapping):
        raise TypeError(
            f"{name} must be a dict of names to losses here, got {type(curves).__name__}."
        )
    checked = {}
    for key, curve in by_name(curves).items():
        try:
            values = np.asarray(curve, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise TypeError(f"{name}[{key!r}] must be a sequence of numbers ({error}).") from None
        if values.ndim != 1 or not len(values):
            raise ValueError(
                f"{name}[{key!r}] has shape {values.shape}; give one loss for each epoch."
            )
        checked[key] = values
    return checked
