"""Parts that the displays share: panels, axes in Hz and seconds, color bars."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from sksep.nn.front_end import FrontEnd
from sksep.utils._arrays import DoubleArray

Axes = Any  # Axes of matplotlib, which is optional

# Octaves that are marked on mel axes in Hz, and how close two marks may be, in points.
_OCTAVES = 1000.0 * 2.0 ** np.arange(-4, 6)
_LEAST_DISTANCE = 8.0
# An image has more columns than a page has pixels; those of long tracks would take minutes to draw.
_MAX_COLUMNS = 4000
# Attribute of Axes that were divided. It holds the panels in their place, to draw them again.
_PANELS = "_sksep_panels"


def make_panels(
    ax: Any,
    n_panels: int,
    *,
    panel_size: tuple[float, float] = (6.4, 1.8),
    side_by_side: bool = False,
) -> tuple[Any, npt.NDArray[np.object_]]:
    """Make or empty the axes to draw on.

    Parameters
    ----------
    ax : None, Axes or array of Axes
        Where to draw. None makes a figure. One Axes is divided if more panels are needed.
    n_panels : int
        Number of panels.
    panel_size : (float, float)
        Width and height of a panel of a new figure in inches.
    side_by_side : bool
        Whether panels stand in a row, if there is room, and not in a column.

    Returns
    -------
    figure : Figure
    panels : ndarray of Axes, shape (n_panels,)

    Raises
    ------
    ImportError
        If matplotlib is not installed.
    TypeError, ValueError
        If `ax` is of another type, or an array with another number of Axes.
    """
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(
            "Displays are drawn by matplotlib, which is not installed: pip install 'sksep[plot]'."
        ) from error
    shape = (1, n_panels) if side_by_side else (n_panels, 1)
    if ax is None:
        size = (panel_size[0] * shape[1], panel_size[1] * shape[0] + 0.4)
        figure = pyplot.figure(figsize=size, layout="constrained")
        panels = np.ravel(figure.subplots(*shape, squeeze=False))
    else:
        given = np.ravel(np.asarray(ax, dtype=object))
        if not all(hasattr(axes, "pcolormesh") for axes in given):
            raise TypeError(f"ax must be None, Axes or an array of Axes, got {ax!r}.")
        if len(given) not in (1, n_panels):
            raise ValueError(
                f"ax holds {len(given)} Axes, but {n_panels} panels are drawn. Pass as many, or a "
                "single one, whose place is divided."
            )
        for axes in given:
            earlier = axes.__dict__.pop(_PANELS, [])
            _clear(earlier)
            for panel in earlier:
                panel.remove()
        _clear(given)
        panels = given
        if len(given) == 1 and n_panels > 1:
            extent = given[0].get_window_extent()
            panels = _divide(given[0], shape if extent.width > extent.height else (n_panels, 1))
        figure = panels[0].figure
    return figure, panels


def check_image(image: npt.ArrayLike, front_end: FrontEnd, name: str) -> npt.NDArray[Any]:
    """Return a spectrogram or mask as an array, if it belongs to this front end."""
    array = np.asarray(image)
    if array.ndim != 2 or not len(array) or array.shape[1] != front_end.n_bands:
        raise ValueError(
            f"The {name} has shape {array.shape}; those of its front end are (n_total_frames, "
            f"{front_end.n_bands})."
        )
    if not np.isfinite(array).all():
        raise ValueError(f"The {name} contains NaN or infinity.")
    return array


def draw_bands(
    axes: Axes, image: npt.NDArray[Any], front_end: FrontEnd, *, title: str, **style: Any
) -> Any:
    """Draw (n_frames, n_bands) over seconds and Hz; return the mesh.

    Bands have the same height: the axis follows the mel scale, or is linear if the bands are bins.
    Neighboring frames of long tracks are drawn as one, their mean.
    """
    from librosa import hz_to_mel, mel_to_hz

    seconds, hertz = _frame_edges(len(image), front_end), front_end.band_edges()
    starts = np.arange(0, len(image), -(-len(image) // _MAX_COLUMNS))
    lengths = np.diff([*starts, len(image)])
    image = np.add.reduceat(image, starts, axis=0) / lengths[:, None].astype(image.dtype)
    seconds = seconds[[*starts, -1]]
    mesh = axes.pcolormesh(seconds, hertz, image.T, rasterized=True, **style)
    if front_end.n_mels is not None:
        axes.set_yscale("function", functions=(hz_to_mel, mel_to_hz))
        height = axes.get_window_extent().height * 72.0 / axes.figure.dpi
        octaves = _octaves(hertz[0], hertz[-1], _LEAST_DISTANCE / height)
        if len(octaves) > 1:  # otherwise matplotlib's own ticks suit the narrow range better
            axes.set_yticks(octaves)
            axes.minorticks_off()
    axes.yaxis.set_major_formatter(_format_hertz)
    axes.tick_params(labelsize="small")
    axes.set(
        title=title,
        xlabel="Time (s)",
        ylabel="Frequency (Hz)",
        xlim=(seconds[0], seconds[-1]),
        ylim=(hertz[0], hertz[-1]),
    )
    return mesh


def _frame_edges(n_frames: int, front_end: FrontEnd) -> DoubleArray:
    """Times in s, (n_frames + 1,), between which the centered frames are drawn."""
    edges = (np.arange(n_frames + 1) - 0.5) * front_end.hop_length / front_end.sample_rate
    return np.maximum(edges, 0.0)


def _format_hertz(hertz: float, _: int) -> str:
    """Text for a tick, such as 125, 1k or 2.5k, which is short enough for an axis."""
    return f"{hertz / 1000:g}k" if hertz >= 1000 else f"{hertz:g}"


def add_color_bar(panels: npt.NDArray[np.object_], mesh: Any, label: str) -> Any:
    """Add one color bar beside all panels that share its scale."""
    return panels[0].figure.colorbar(mesh, ax=list(panels), label=label, aspect=30, pad=0.01)


def label_outer(panels: npt.NDArray[np.object_]) -> None:
    """Label the time of the lowest panel only, if the panels fill a column of their own."""
    grids = {panel.get_gridspec() for panel in panels}
    grid = grids.pop()
    if not grids and grid is not None and (grid.nrows, grid.ncols) == (len(panels), 1):
        for panel in panels:
            panel.label_outer()


def _octaves(low: float, high: float, least: float) -> list[float]:
    """Octaves within a mel axis, from the top until they are closer than `least`, a share of it."""
    from librosa import hz_to_mel

    marks: list[float] = []
    span = hz_to_mel(high) - hz_to_mel(low)
    for octave in _OCTAVES[(low <= _OCTAVES) & (high >= _OCTAVES)][::-1]:
        if marks and hz_to_mel(marks[-1]) - hz_to_mel(octave) < least * span:
            break
        marks.append(float(octave))
    return marks[::-1]


def _divide(axes: Axes, shape: tuple[int, int]) -> npt.NDArray[np.object_]:
    """New panels in the place of one Axes."""
    from matplotlib.gridspec import GridSpec

    place = axes.get_subplotspec()
    # A layout engine makes room for titles; without one it takes a gap.
    gap = None if axes.figure.get_layout_engine() is not None else 0.7
    if place is None:
        box = axes.get_position()
        sides = {"left": box.x0, "right": box.x1, "bottom": box.y0, "top": box.y1}
        grid = GridSpec(*shape, figure=axes.figure, hspace=gap, **sides)
    else:
        grid = place.subgridspec(*shape, hspace=gap)
    axes.set_axis_off()
    panels = np.ravel(grid.subplots(squeeze=False))
    setattr(axes, _PANELS, list(panels))
    return panels


def _clear(panels: Iterable[Axes]) -> None:
    """Remove an earlier drawing with its color bar."""
    drawn = [part for axes in panels for part in (*axes.collections, *axes.images)]
    color_bars = [part.colorbar for part in drawn if part.colorbar is not None]
    for color_bar in color_bars:
        color_bar.remove()
    for axes in panels:
        axes.clear()
        # Without a layout engine, the panels get back the place of the color bar here.
        if color_bars and axes.get_subplotspec() is not None:
            axes.set_subplotspec(axes.get_subplotspec())
