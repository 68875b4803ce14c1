"""Whether the stems of a song are there already, so that a repeated command can skip it."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from sksep.utils._choices import STEMS

# Samples that are compared to find out whether stems are those of a song, and the share of the
# energy by which they may differ. Other songs differ by more than all of it. Below -60 dB is
# silence.
_COMPARED = 1 << 19
_TOLERANCE = 0.25
_SILENCE = 1e-6
# The same for the remix of the stems, whose gains matter.
_REMIX_TOLERANCE, _LOSSY_TOLERANCE = 2e-4, 0.02
_ROUNDING = 5e-6  # power of the noise of 8 bits
_LOSSY = (".ogg", ".mp3")
Gains = tuple[float | None, float | None]  # of the vocals and of the accompaniment, in dB


def is_done(song: Path, outputs: dict[str, Path], gains: Gains) -> bool:
    """Whether all files exist, the stems add up to the song, and a remix has the gains."""
    if not all(os.path.isfile(path) for path in (song, *outputs.values())):
        return False
    stems = {stem: outputs[stem] for stem in STEMS if stem in outputs}
    try:
        if not _add_up(song, stems):
            return False
        return "remix" not in outputs or _is_remix(song, stems, outputs["remix"], gains)
    except (ValueError, OSError):
        return False


def _add_up(song: Path, stems: dict[str, Path]) -> bool:
    """Whether the vocals and the accompaniment add up to the song.

    The first part that is not silent is compared. Lossy stems add up to it roughly. If there is
    only one of the two, it must not oppose what remains of the song, as that of another song would.
    """
    import numpy as np

    error = energy = scale = 0.0
    for mixture, *parts in _blocks([song, *stems.values()]):
        energy += float(np.square(mixture).sum())
        rest = mixture - sum(parts)
        if len(parts) == len(STEMS):
            error += float(np.square(rest).sum())
            scale = energy
        else:
            error -= float((parts[0] * rest).sum())
            scale += float(np.square(parts[0]).sum())
        if energy > _SILENCE * mixture.size:
            break
    return error <= max(_TOLERANCE * scale, _SILENCE * mixture.size)


def _is_remix(song: Path, stems: dict[str, Path], remix: Path, gains: Gains) -> bool:
    """Whether a remix has the gains, up to the first part in which both stems are heard.

    Gains in lossy files are only roughly known.
    """
    import numpy as np
    import soundfile

    from sksep.audio._stems import gain_factor, mix

    vocals_gain, accompaniment_gain = (gain_factor("gain", gain) for gain in gains)
    subtype = soundfile.info(remix).subtype
    (given, path), *_ = stems.items()
    error, scale, n_samples = 0.0, 0.0, 0
    heard = np.zeros(len(STEMS))
    for mixture, stem, remixed in _blocks([song, path, remix]):
        rest = mixture - stem
        both = (stem, rest) if given == "vocals" else (rest, stem)
        vocals, accompaniment = (part.astype(np.float64) for part in both)
        expected, _ = mix(vocals, accompaniment, (vocals_gain, accompaniment_gain), subtype)
        error += float(np.square(remixed - expected).sum())
        scale += float(np.square(expected).sum())
        n_samples += mixture.size
        heard += [np.square(part).sum() for part in both]
        if (heard > _SILENCE * mixture.size).all():
            break
    tolerance = _LOSSY_TOLERANCE if remix.suffix.lower() in _LOSSY else _REMIX_TOLERANCE
    return error <= tolerance * scale + _ROUNDING * n_samples


def _blocks(paths: Sequence[Path]) -> Iterator[tuple[Any, ...]]:
    """Samples of files of one rate, length and number of channels, part by part.

    Raises
    ------
    ValueError, OSError
        If a file cannot be read, or differs from the others.
    """
    from sksep.audio._validation import check_track

    def ignore(_: str) -> None:
        pass

    tracks = [check_track(path, 0, "the song", ignore) for path in paths]
    if len({(each.sample_rate, each.n_channels, each.n_samples) for each in tracks}) > 1:
        raise ValueError(f"{paths[0]} and its stems differ in rate, length or channels.")
    yield from zip(*(each.read_blocks(_COMPARED, report=ignore) for each in tracks), strict=True)
