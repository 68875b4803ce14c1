"""The HTML of a batch of tracks, for notebooks."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from typing import Any

from sksep.nn.chunks import count_chunks

_N_ROWS = 5
_DYNAMIC_RANGE = 80.0
# Largest number of frames in a picture. Longer tracks are shown by every second frame, or fewer.
_MAX_FRAMES = 2000
_COLUMNS = ("track", "length (s)", "rate (Hz)", "channels", "chunks", "targets", "mask")


def batch_html(batch: Sequence[Any]) -> str:
    """A table of the first tracks, and a picture of the first one if matplotlib is installed."""
    n_tracks = f"{len(batch)} track" + ("" if len(batch) == 1 else "s")
    heading = f"<p><strong>TrackBatch</strong> of {n_tracks}</p>"
    if not len(batch):
        return f"<div>{heading}</div>"
    head = "".join(f'<th scope="col">{column}</th>' for column in _COLUMNS)
    rows = "".join(_row(record) for record in batch[:_N_ROWS])
    rest = len(batch) - _N_ROWS
    more = f"<p>and {rest} more</p>" if rest > 0 else ""
    return (
        f'<div style="max-width: 100%; overflow-x: auto">{heading}'
        f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>{more}</div>"
        f"{_picture(batch[0])}"
    )


def _row(record: Any) -> str:
    track, front_end = record.track, record.front_end
    n_chunks = count_chunks(record.n_total_frames, front_end.n_frames, front_end.chunk_step)
    cells = (
        html.escape(record.name),
        f"{track.n_samples / track.sample_rate:.2f}",
        track.sample_rate,
        track.n_channels,
        n_chunks,
        "no" if record.targets is None else "yes",
        "no" if record.estimate is None else "yes",
    )
    return "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"


def _picture(record: Any) -> str:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        return ""
    levels: Any = record.spectrogram[:: -(-len(record.spectrogram) // _MAX_FRAMES)].T
    highest = float(levels.max())
    # Without axes and background, since their colors would not follow a dark theme.
    figure = Figure(figsize=(8, 2), dpi=100)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set_axis_off()
    ax.imshow(
        levels,
        origin="lower",
        aspect="auto",
        interpolation="nearest",
        cmap="magma",
        vmin=highest - _DYNAMIC_RANGE,
        vmax=highest,
    )
    file = io.BytesIO()
    figure.savefig(file, format="png")
    front_end = record.front_end
    scale = "linear" if front_end.n_mels is None else "mel"
    low, *_, high = front_end.band_edges()
    seconds = len(record.waveform) / front_end.sample_rate
    caption = html.escape(
        f"Spectrogram of {record.name}: 0 to {seconds:.2f} s from left to right, {low:g} to "
        f"{high:g} Hz ({scale}) from bottom to top, the loudest {_DYNAMIC_RANGE:g} dB."
    )
    source = base64.b64encode(file.getvalue()).decode("ascii")
    return (
        f'<figure style="margin: 0.5em 0"><img src="data:image/png;base64,{source}" '
        f'alt="{caption}" style="width: 100%; max-width: 50em; height: auto">'
        f"<figcaption>{caption}</figcaption></figure>"
    )
