"""The stem of a track that is to be extracted, and what is left without it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sksep.audio._track import AudioSource

# The name of a stem, or a function of the stems of a track that returns one.
Target = str | Callable[[dict[str, AudioSource]], Any]


@dataclass(frozen=True)
class StemTrack:
    """One track of a data set on disk.

    Attributes
    ----------
    name, group : str
        Name of the track, and its artist or singer.
    split : str or None
        Part of the data set.
    mixture : AudioSource
    stems : mapping of str to AudioSource
        Stems by name.
    is_complete : bool
        Whether the stems add up to the mixture.
    others : mapping of str to AudioSource
        Further recordings that belong to the track, such as parts of a stem.
    """

    name: str
    group: str
    split: str | None
    mixture: AudioSource
    stems: Mapping[str, AudioSource]
    is_complete: bool = True
    others: Mapping[str, AudioSource] = field(default_factory=dict)


def name_of(target: Target) -> str:
    """Name of a target. That of a lambda is "target".

    Raises
    ------
    TypeError
        If it is neither a string nor a callable.
    """
    if isinstance(target, str):
        return target
    if not callable(target):
        raise TypeError(
            "target must be the name of a stem, or a function of the stems of a track; got "
            f"{target!r:.200}."
        )
    name = str(getattr(target, "__name__", type(target).__name__))
    return name if name.isidentifier() else "target"


def target_of(track: StemTrack, target: Target) -> tuple[AudioSource, AudioSource | None]:
    """The target of a track, and the sum of the other stems if it is known which these are.

    Raises
    ------
    TypeError
        If a function returns something else than a recording.
    ValueError
        If the track has no stem of that name.
    """
    if isinstance(target, str):
        chosen = _named(track, target)
    else:
        stems = {**track.stems, **track.others}
        try:
            chosen = target(stems)
        except KeyError as error:
            raise ValueError(
                f"The target {name_of(target)} asks for the stem {error} of the track "
                f"{track.name!r}, which has {', '.join(stems)}."
            ) from error
        if isinstance(chosen, (str, os.PathLike)):
            chosen = AudioSource((os.fspath(chosen),))
        if not isinstance(chosen, AudioSource):
            raise TypeError(
                f"The target {name_of(target)} of the track {track.name!r} is {chosen!r:.200}; the "
                "function must return a path or an AudioSource, such as AudioSource((*first.paths, "
                "*second.paths)) for the sum of two stems."
            )
    return chosen, _rest(track, chosen)


def summed(sources: Iterable[AudioSource]) -> AudioSource | None:
    """The sum of recordings as one source; None if there are none, or gains of channels differ."""
    sources = list(sources)
    gains = {source.channel_gains for source in sources}
    if len(sources) == 1:
        return sources[0]
    if gains != {None}:
        return None
    return AudioSource(tuple(path for source in sources for path in source.paths))


def _named(track: StemTrack, name: str) -> AudioSource:
    known = {**track.others, **track.stems}
    if name in known:
        return known[name]
    others = [source for stem, source in track.stems.items() if stem != "vocals"]
    everything_else = summed(others)
    if name == "accompaniment" and track.is_complete and everything_else is not None:
        return everything_else
    raise ValueError(
        f"The track {track.name!r} has no stem {name!r} to extract; it has {', '.join(known)}. "
        "Choose another target, or add the recording."
    )


def _rest(track: StemTrack, chosen: AudioSource) -> AudioSource | None:
    if not track.is_complete:
        return None
    left = [
        stem
        for stem in track.stems.values()
        if stem != chosen
        and not (chosen.channel_gains is None and {*stem.paths} <= {*chosen.paths})
    ]
    if len(left) == len(track.stems):  # the target is no sum of stems
        return None
    rest = summed(left)
    if rest is None or chosen.channel_gains is not None:
        return rest
    every_path = sorted(path for stem in track.stems.values() for path in stem.paths)
    return rest if sorted([*chosen.paths, *rest.paths]) == every_path else None
