"""What the displays share: panels, axes in Hz and seconds, colour bars."""

from __future__ import annotations

from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import numpy.typing as npt

from sksep.nn.front_end import FrontEnd

Axes = Any  # of matplotlib, which is optional

# Octaves that are marked on mel axes in Hz, and how close two marks may be, in points.
_OCTAVES = 1000.0 * 2.0 ** np.arange(-4, 6)
_LEAST_DISTANCE = 8.0
# Panels by the Axes that were divided to make room for them, so that they can be drawn again.
_PANELS_WITHIN: WeakKeyDictionary[Axes, list[Axes]] = WeakKeyDictionary()


def import_pyplot() -> Any:
    """matplotlib.pyplot, or an ImportError that says how to install it."""
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError(
            "Displays are drawn by matplotlib, which is not installed: pip install 'sksep[plot]'."
        ) from error
    return pyplot


def make_panels(
    ax: Any, n_panels: int, *, panel_size: tuple[float, float] = (8.0, 2.0), n_columns: int = 1
) -> tuple[Any, npt.NDArray[np.object_]]:
    """Axes to draw on, emptied.

    Parameters
    ----------
    ax : None, Axes or array of Axes
        None makes a figure. The place of one Axes is divided where more panels are needed.
    n_panels : int
        Panels that are needed.
    panel_size : (float, float)
        Width and height of a panel of a new figure in inches.
    n_columns : int
        Panels side by side.

    Returns
    -------
    figure : Figure
    panels : ndarray of Axes, shape (n_panels,)

    Raises
    ------
    ValueError
        Where an array holds another number of Axes.
    """
    pyplot = import_pyplot()
    shape = (-(-n_panels // n_columns), n_columns)
    if ax is None:
        size = (panel_size[0] * shape[1], panel_size[1] * shape[0] + 0.4)
        figure = pyplot.figure(figsize=size, layout="constrained")
        panels = np.ravel(figure.subplots(*shape, squeeze=False))
    else:
        given = np.ravel(np.asarray(ax, dtype=object))
        if not all(hasattr(axes, "pcolormesh") for axes in given):
            raise TypeError(f"ax must be None, Axes or an array of Axes, got {ax!r}.")
        for axes in given:
            earlier = _PANELS_WITHIN.pop(axes, [])
            _clear(np.array(earlier, dtype=object))
            for panel in earlier:
                panel.remove()
        if len(given) == 1 and n_panels > 1:
            extent = given[0].get_window_extent()
            panels = _divide(given[0], shape if extent.width > extent.height else (n_panels, 1))
        else:
            panels = given
            if len(panels) != n_panels:
                raise ValueError(
                    f"ax holds {len(panels)} Axes, but {n_panels} panels are drawn. Pass as many, "
                    "or a single one, whose place is divided."
                )
            _clear(panels)
        figure = given[0].figure
    for axes in panels[n_panels:]:
        axes.set_axis_off()
    return figure, panels[:n_panels]


def draw_bands(
    axes: Axes, image: npt.NDArray[Any], front_end: FrontEnd, *, title: str, **style: Any
) -> Any:
    """Draw (n_frames, n_bands) over seconds and Hz; return the mesh.

    Bands are equally high: the axis follows the mel scale, or is linear where the bands are bins.
    """
    from librosa import hz_to_mel, mel_to_hz

    seconds, hertz = frame_edges(len(image), front_end), band_edges(front_end)
    mesh = axes.pcolormesh(seconds, hertz, image.T, rasterized=True, **style)
    if front_end.n_mels is not None:
        axes.set_yscale("function", functions=(hz_to_mel, mel_to_hz))
        height = axes.get_window_extent().height * 72.0 / axes.figure.dpi
        octaves = _octaves(hertz[0], hertz[-1], _LEAST_DISTANCE / height)
        if len(octaves) > 1:  # else the band is so narrow that matplotlib's own ticks are better
            axes.set_yticks(octaves)
            axes.minorticks_off()
    axes.yaxis.set_major_formatter(lambda tick, _: format_hertz(tick))
    axes.tick_params(labelsize="small")
    axes.set(
        title=title,
        xlabel="Time (s)",
        ylabel="Frequency (Hz)",
        xlim=(seconds[0], seconds[-1]),
        ylim=(hertz[0], hertz[-1]),
    )
    return mesh


def frame_edges(n_frames: int, front_end: FrontEnd) -> npt.NDArray[np.float64]:
    """Times in s, (n_frames + 1,), between which the centred frames are drawn."""
    edges = (np.arange(n_frames + 1) - 0.5) * front_end.hop_length / front_end.sample_rate
    return np.maximum(edges, 0.0)


def band_edges(front_end: FrontEnd) -> npt.NDArray[np.float64]:
    """Frequencies in Hz, (n_bands + 1,), between which the bands are drawn."""
    from librosa import mel_frequencies

    n_bands = front_end.n_bands
    if front_end.n_mels is None:
        bins = (np.arange(n_bands + 1) - 0.5).clip(0, n_bands - 1)
        return bins * front_end.sample_rate / front_end.n_fft
    # The centres of the bands and the middles between them, on the mel scale; the outer slopes of
    # the first and the last band reach up to the limits.
    steps = mel_frequencies(2 * n_bands + 3, fmin=front_end.f_min, fmax=front_end.f_max)
    return np.concatenate([[front_end.f_min], steps[3:-2:2], [front_end.f_max]])


def format_hertz(hertz: float) -> str:
    """125, 1k, 2.5k: short enough for the ticks of an axis."""
    return f"{hertz / 1000:g}k" if hertz >= 1000 else f"{hertz:g}"


def add_colour_bar(panels: npt.NDArray[np.object_], mesh: Any, label: str) -> Any:
    """One colour bar beside all panels that share its scale."""
    return panels[0].figure.colorbar(mesh, ax=list(panels), label=label, aspect=30, pad=0.01)


def label_outer(panels: npt.NDArray[np.object_]) -> None:
    """Label the time of the lowest panel only, where panels fill a column of their own."""
    grids = {panel.get_gridspec() for panel in panels}
    grid = grids.pop()
    if not grids and grid is not None and (grid.nrows, grid.ncols) == (len(panels), 1):
        for panel in panels:
            panel.label_outer()


def _octaves(low: float, high: float, least: float) -> list[float]:
    """Octaves within a mel axis, down to where they come closer than `least`, a share of it."""
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
    panels = np.ravel(np.array(grid.subplots(squeeze=False), dtype=object))
    _PANELS_WITHIN[axes] = list(panels)
    return panels


def _clear(panels: npt.NDArray[np.object_]) -> None:
    """Remove what an earlier drawing left, its colour bar included."""
    drawn = [part for axes in panels for part in (*axes.collections, *axes.images)]
    colour_bars = [part.colorbar for part in drawn if part.colorbar is not None]
    for colour_bar in colour_bars:
        colour_bar.remove()
    for axes in panels:
        axes.clear()
        # Where no layout does, the place that the colour bar took is given back here.
        if colour_bars and axes.get_subplotspec() is not None:
            axes.set_subplotspec(axes.get_subplotspec())
