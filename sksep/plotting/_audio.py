"""Players of waveforms, for notebooks and for pages of documentation."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from sksep.audio._stems import MAX_CHANNELS, MAX_SAMPLE_RATE
from sksep.audio._validation import check_track
from sksep.plotting._models import by_name, by_title, named_estimates, named_estimators, pick_track
from sksep.utils._arrays import FloatArray
from sksep.utils._validation import check_integer, check_number

# Full scale of signed 16-bit samples.
_FULL_SCALE = 32768
# Quiet recordings are played up to 20 dB louder. With more gain one would mainly hear their noise.
_LARGEST_FACTOR = 10.0

# No colors, and widths only as shares of the page: players follow its theme and stack on phones.
_PAGE = (
    '<div style="display: grid; gap: 0.75em 1.5em; margin: 0.5em 0; '
    'grid-template-columns: repeat(auto-fill, minmax(min(100%, 16em), 1fr))">{}</div>'
)
_PLAYER = (
    '<figure style="min-width: 0; margin: 0">'
    '<figcaption style="overflow-wrap: anywhere; margin: 0 0 0.25em">{caption}</figcaption>'
    '<audio controls preload="metadata" aria-label="{name}" style="width: 100%" src="{source}">'
    "This browser cannot play FLAC.</audio></figure>"
)


class AudioDisplay:
    """Players side by side: a mixture, its true vocals, and the estimates of models.

    In a notebook, and at the end of a block of an example in the gallery, the object shows itself.
    It needs neither matplotlib nor files, since the sound is part of the page (16-bit FLAC).

    All players share one gain, so that their levels can be compared: the loudest sample of all
    reaches full scale, unless that takes more than 20 dB.

    Parameters
    ----------
    waveforms : dict of str to array, path or AudioSource
        Waveforms to play, by the names in the captions: (n_samples,) or (n_channels, n_samples),
        full scale 1.0.
    sample_rate : int, default=16000
        Sample rate of arrays in Hz. Files have their own.
    max_duration : float or None, default=30.0
        Time in seconds that is played, from the beginning; the caption says so if there is more.
        None plays everything. A minute of mono audio at 16 kHz adds up to 2.6 MB to the page.

    Attributes
    ----------
    waveforms_ : dict of str to ndarray of shape (n_samples,) or (n_channels, n_samples)
        The waveforms that are played, in float32, shortened, before the gain.
    sample_rates_ : dict of str to int
        Sample rates in Hz.
    gain_ : float
        Gain of all players, a factor in (0, 10].

    Raises
    ------
    TypeError, ValueError
        If there is no waveform, or if one cannot be read, holds NaN or infinity, is empty, or has
        more than eight channels or 655350 Hz. The message names it.

    Examples
    --------
    >>> import numpy as np
    >>> from sksep.plotting import AudioDisplay
    >>> tone = 0.1 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    >>> AudioDisplay({"tone": tone, "softer tone": tone / 2})
    <AudioDisplay of tone (1.0 s), softer tone (1.0 s)>
    """

    def __init__(
        self,
        waveforms: Mapping[str, Any],
        *,
        sample_rate: int = 16000,
        max_duration: float | None = 30.0,
    ) -> None:
        if not isinstance(waveforms, Mapping):
            raise TypeError(
                f"waveforms must be a dict of names to waveforms, got {type(waveforms).__name__}; "
                "one waveform is {'vocals': waveform}."
            )
        if not waveforms:
            raise ValueError("waveforms is empty; give at least one waveform to play.")
        check_integer("sample_rate", sample_rate, 1)
        if max_duration is not None:
            check_number("max_duration", max_duration, 0.0, include_low=False)
        self.waveforms_: dict[str, FloatArray] = {}
        self.sample_rates_: dict[str, int] = {}
        self._durations: dict[str, float] = {}
        for name, source in by_name(waveforms).items():
            track = check_track(source, sample_rate, f"the waveform {name!r}")
            if track.n_channels > MAX_CHANNELS["flac"]:
                raise ValueError(
                    f"{track.name} has {track.n_channels} channels; FLAC holds "
                    f"{MAX_CHANNELS['flac']} at most. Mix them down first."
                )
            if track.sample_rate > MAX_SAMPLE_RATE["flac"]:
                raise ValueError(
                    f"{track.name} has a sample rate of {track.sample_rate} Hz; FLAC has "
                    f"{MAX_SAMPLE_RATE['flac']} at most. Resample it first."
                )
            n_samples = track.n_samples
            if max_duration is not None:
                n_samples = min(n_samples, max(1, round(max_duration * track.sample_rate)))
            # Only the beginning of a long file is read.
            samples = next(iter(track.read_blocks(n_samples)))[:, :n_samples].astype(np.float32)
            self.waveforms_[name] = samples[0] if len(track.shape) == 1 else samples
            self.sample_rates_[name] = track.sample_rate
            self._durations[name] = track.n_samples / track.sample_rate
        peak = max(float(np.abs(samples).max()) for samples in self.waveforms_.values())
        highest = (_FULL_SCALE - 1) / _FULL_SCALE
        self.gain_ = min(_LARGEST_FACTOR, highest / peak) if peak > 0.0 else 1.0

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any = None,
        *,
        track: int = 0,
        max_duration: float | None = 30.0,
        name: str | None = None,
    ) -> AudioDisplay:
        """Players of a mixture, its true vocals if they are given, and estimated vocals.

        Parameters
        ----------
        estimator : estimator, or dict of str to estimator
            Fitted model, or several by name: pipelines or separators of waveforms.
        X : sequence of arrays, paths or AudioSource
            Mixtures.
        y : sequence of arrays, paths or AudioSource, default=None
            True vocals.
        track : int, default=0
            Index of the track that is separated and played; the others are not read.
        max_duration : float or None, default=30.0
            Time in seconds that is played. The whole track is separated.
        name : str, default=None
            Caption of the estimate of a single model; None is the class of its separator.

        Returns
        -------
        AudioDisplay

        Examples
        --------
        >>> from sklearn.pipeline import make_pipeline
        >>> from sksep import HPSSSeparator, MelChunker
        >>> from sksep.datasets import make_songs
        >>> from sksep.plotting import AudioDisplay
        >>> songs = make_songs(1, duration=2.0, random_state=0)
        >>> model = make_pipeline(MelChunker(), HPSSSeparator()).fit(songs.mixtures)
        >>> AudioDisplay.from_estimator({"HPSS": model}, songs.mixtures, songs.vocals)
        <AudioDisplay of Mixture (2.0 s), True vocals (2.0 s), HPSS (2.0 s)>
        """
        models = named_estimators(estimator, name)
        picked = pick_track(models, X, y, track)
        return cls.from_predictions(
            None if picked.y is None else picked.y[0],
            {label: model.predict(picked.X)[0] for label, model in models.items()},
            mixture=picked.X[0],
            sample_rate=picked.mixture.sample_rate,  # the estimate of a file has the file's rate
            max_duration=max_duration,
        )

    @classmethod
    def from_predictions(
        cls,
        y_true: Any,
        y_pred: Any,
        *,
        mixture: Any = None,
        sample_rate: int = 16000,
        max_duration: float | None = 30.0,
        name: str | None = None,
    ) -> AudioDisplay:
        """Players of given waveforms.

        Parameters
        ----------
        y_true : array, path, AudioSource or None
            True vocals of one track, (n_samples,) or (n_channels, n_samples); None leaves them out.
        y_pred : array, path or AudioSource, or a dict of str to these
            Estimated vocals, of one model or of several by name.
        mixture : array, path or AudioSource, default=None
            Mixture that they were separated from.
        sample_rate : int, default=16000
            Sample rate of arrays in Hz.
        max_duration : float or None, default=30.0
            Time in seconds that is played.
        name : str, default=None
            Caption of a single estimate; None is "Estimate".

        Returns
        -------
        AudioDisplay

        Examples
        --------
        >>> import numpy as np
        >>> from sksep.plotting import AudioDisplay
        >>> AudioDisplay.from_predictions(np.ones(8000), np.zeros(8000), sample_rate=8000)
        <AudioDisplay of True vocals (1.0 s), Estimate (1.0 s)>
        """
        known = [("Mixture", mixture), ("True vocals", y_true)]
        players = [(title, waveform) for title, waveform in known if waveform is not None]
        estimates = named_estimates(y_pred, name)
        return cls(
            by_title([*players, *estimates.items()]),
            sample_rate=sample_rate,
            max_duration=max_duration,
        )

    def _repr_html_(self) -> str:
        """The players, as notebooks and sphinx-gallery show them."""
        return _PAGE.format("".join(self._player(name) for name in self.waveforms_))

    def __repr__(self) -> str:
        players = ", ".join(
            f"{name} ({samples.shape[-1] / self.sample_rates_[name]:.1f} s)"
            for name, samples in self.waveforms_.items()
        )
        return f"<{type(self).__name__} of {players}>"

    def _player(self, name: str) -> str:
        samples, rate = self.waveforms_[name], self.sample_rates_[name]
        scaled = np.rint(samples * (self.gain_ * _FULL_SCALE))
        coded = np.clip(scaled, -_FULL_SCALE, _FULL_SCALE - 1).astype(np.int16)
        seconds = samples.shape[-1] / rate
        notes = []
        if seconds < self._durations[name]:
            notes.append(f"first {round(seconds, 2):g} s of {round(self._durations[name], 2):g} s")
        if not samples.any():
            notes.append("silent")
        caption = html.escape(name)
        if notes:
            caption += f" <small>({', '.join(notes)})</small>"
        return _PLAYER.format(
            caption=caption, name=html.escape(name), source=_data_uri(coded, rate)
        )


def _data_uri(samples: npt.NDArray[np.int16], sample_rate: int) -> str:
    file = io.BytesIO()
    soundfile.write(file, samples.T, sample_rate, format="FLAC", subtype="PCM_16")
    return f"data:audio/flac;base64,{base64.b64encode(file.getvalue()).decode('ascii')}"
