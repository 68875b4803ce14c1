"""Output of each step of a pipeline, with a synthetic song."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import Rectangle

from sksep import GriffinLimInverter, MaskBuilder, MelChunker
from sksep.datasets import make_songs

from .canvas import EDGE, GRAY, WIDTH, Drawing

_LEFT, _PANEL_WIDTH, _PANEL_HEIGHT = 16.0, 328.0, 70.0


def draw_pipeline() -> Drawing:
    """A waveform, its spectrogram, its mask, and what is separated with it."""
    songs = make_songs(1, duration=4.0, random_state=3)
    mixture = songs.mixtures[0]
    batch = MaskBuilder().fit_transform(MelChunker().transform(songs.mixtures), songs.vocals)
    record = batch[0]
    mask = record.targets.proportion_mask
    with_masks = batch.with_masks([mask])
    vocals = GriffinLimInverter().fit(with_masks).predict(with_masks)[0]
    front_end, spectrogram = record.front_end, record.spectrogram
    n_chunks, n_frames, n_bands = record.chunks.shape
    drawing = Drawing(600)

    _say(drawing, 10, f"A track: {len(mixture):,} samples at {front_end.sample_rate:,} Hz")
    _draw_wave(drawing, 20, mixture, mixture, GRAY)
    _draw_step(drawing, 92, "MelChunker: STFT, mel bands, dB, chunks")
    _say(drawing, 126, f"{n_chunks} × {n_frames} × {n_bands} (chunks × frames × bands)")
    axes = _panel(drawing, 136)
    high = spectrogram.max()
    _draw_matrix(axes, spectrogram, "magma", high - 80, high)
    for index, color in enumerate(("white", "#7fd1ff")):
        corner = (index * front_end.chunk_step, 2 + 6 * index)
        height = n_bands - 6 - 6 * index
        axes.add_patch(Rectangle(corner, n_frames, height, fill=False, ec=color, lw=1.4))
    _draw_step(
        drawing,
        208,
        "MaskBuilder: the true mask, in fit only",
        "separator: learns it in fit, then estimates it",
    )
    size = f"{mask.shape[0]} × {mask.shape[1]}"
    _say(drawing, 260, f"A mask per track, {size} (frames × bands), 0 to 1")
    _draw_matrix(_panel(drawing, 270), mask, "gray", 0, 1)
    _draw_step(
        drawing,
        342,
        "GriffinLimInverter: lifts the mask to linear",
        "bins, applies it to the mixture, finds a phase",
    )
    _say(drawing, 394, f"The vocals: {len(vocals):,} samples, as the track")
    _draw_wave(drawing, 404, vocals, mixture, "#2b7bba")
    _say(drawing, 490, "mixture − vocals: the accompaniment, exactly")
    _draw_wave(drawing, 500, mixture - vocals, mixture, GRAY)
    drawing.note(WIDTH / 2, 586, "The mask drawn is the true one.")
    return drawing


def _say(drawing: Drawing, y: float, text: str) -> None:
    drawing.text(_LEFT, y, text, ha="left")


def _draw_step(drawing: Drawing, y: float, *lines: str) -> None:
    """An arrow with what is done on the way."""
    for index, line in enumerate(lines):
        drawing.text(_LEFT + 50, y + 12 + 16 * index, line, ha="left", weight="bold")
    x = _LEFT + 40
    drawing.arrow((x, y), (x, y + 6 + 18 * len(lines)))


def _panel(drawing: Drawing, y: float) -> Axes:
    """Axes of their own, from y downwards."""
    bottom = 1 - (y + _PANEL_HEIGHT) / drawing.height
    axes = drawing.figure.add_axes(
        (_LEFT / WIDTH, bottom, _PANEL_WIDTH / WIDTH, _PANEL_HEIGHT / drawing.height)
    )
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_color(EDGE)
    return axes


def _draw_wave(
    drawing: Drawing, y: float, samples: np.ndarray, mixture: np.ndarray, color: str
) -> None:
    """The envelope, as high as the mixture's: one line per pixel, not one per sample."""
    axes = _panel(drawing, y)
    parts = np.array_split(samples, 400)
    low, high = [part.min() for part in parts], [part.max() for part in parts]
    axes.fill_between(range(400), low, high, color=color, linewidth=0.4)
    axes.set_xlim(0, 399)
    limit = 1.05 * abs(mixture).max()
    axes.set_ylim(-limit, limit)


def _draw_matrix(axes: Axes, values: np.ndarray, colors: str, low: float, high: float) -> None:
    """Frames to the right, bands upwards."""
    axes.imshow(
        values.T,
        origin="lower",
        aspect="auto",
        cmap=colors,
        vmin=low,
        vmax=high,
        interpolation="nearest",
    )
