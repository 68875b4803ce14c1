"""Writing the stems of a song so that vocals and accompaniment add up to the mixture exactly."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import soundfile

from sksep.utils._arrays import DoubleArray, FloatArray
from sksep.utils._choices import FORMATS, STEMS
from sksep.utils._files import exists_error, remove_unfinished, whole_files

_SUBTYPES = {
    "wav": ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE"),
    "flac": ("PCM_S8", "PCM_16", "PCM_24"),
    "ogg": ("VORBIS",),
    "mp3": ("MPEG_LAYER_III",),
}
# Subtypes to use if the output format lacks the one of the source. Lossy sources get 16 bits.
_REPLACEMENTS = {
    "PCM_U8": "PCM_S8",
    "PCM_S8": "PCM_U8",
    "PCM_32": "PCM_24",
    "FLOAT": "PCM_24",
    "DOUBLE": "PCM_24",
    "ALAC_20": "PCM_24",
    "ALAC_24": "PCM_24",
    "ALAC_32": "PCM_24",
}
# Limits of libsndfile's encoders. The encoder of Vorbis crashes above them. FLAC stores rates above
# 65535 Hz in multiples of 10 Hz.
MAX_CHANNELS = {"wav": 1024, "flac": 8, "ogg": 255, "mp3": 2}
MAX_SAMPLE_RATE = {"flac": 655350, "ogg": 200000}
_MP3_SAMPLE_RATES = (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)
# The best quality that varies its bit rate, about 250 kbit/s of stereo.
_MP3_QUALITY = {"bitrate_mode": "VARIABLE", "compression_level": 0.0}

_BITS = {"PCM_U8": 8, "PCM_S8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
_LOSSY = ("VORBIS", "MPEG_LAYER_III")
_FLOAT_DTYPES = {"FLOAT": np.float32, "DOUBLE": np.float64, **dict.fromkeys(_LOSSY, np.float32)}
# A WAV file counts its bytes in 32 bits; its header takes some of them.
_MAX_WAV_BYTES = 2**32 - 2**16
# Samples of each channel written at a time: bounds memory, and libsndfile's Vorbis encoder
# overflows its stack on large writes.
_PIECE_LENGTH = 1 << 16
_MAX_GAIN = 100.0  # dB; beyond any use, and NaN and infinity fail the comparison


@dataclass(frozen=True)
class StemFormat:
    """Format of the files of the stems. `resolve_format` finds the one that fits a source.

    Parameters
    ----------
    format : {"wav", "flac", "ogg", "mp3"}
        Name of the format, which is also the usual extension of file names.
    subtype : str
        Encoding of the samples, named as in soundfile: "PCM_16", "FLOAT", "VORBIS".
    is_large : bool, default=False
        Whether a WAV file exceeds 4 GB, so that it is written as RF64 (WAV with 64-bit sizes).
    """

    format: str
    subtype: str
    is_large: bool = False

    @property
    def container(self) -> str:
        """Name of the format in soundfile."""
        return "RF64" if self.is_large else self.format.upper()


def resolve_format(format: str | None, subtype: str | None, source: Any) -> StemFormat:
    """Format of the stems of a source.

    Parameters
    ----------
    format : {"wav", "flac", "ogg", "mp3"} or None
        None is the format of the source if it is one of these, otherwise WAV.
    subtype : str or None
        A name of soundfile, such as "PCM_24", in upper or lower case. None is the subtype of the
        source if the format has it, otherwise the nearest one: 24 bits for 32-bit and float sources
        in FLAC, 16 bits for lossy sources, the only one of OGG and MP3.
    source : soundfile information
        The result of ``soundfile.info(path)``, of which `format`, `subtype`, `samplerate`,
        `channels` and `frames` are read.

    Returns
    -------
    StemFormat

    Raises
    ------
    ValueError
        If there is no such format or subtype, or if the format cannot hold the channels or the
        sample rate of the source.

    Examples
    --------
    >>> import numpy as np, soundfile
    >>> from sksep.audio._stems import resolve_format
    >>> soundfile.write("song.wav", np.zeros((100, 2)), 44100, subtype="FLOAT")
    >>> resolve_format(None, None, soundfile.info("song.wav"))
    StemFormat(format='wav', subtype='FLOAT', is_large=False)
    >>> resolve_format("flac", None, soundfile.info("song.wav")).subtype
    'PCM_24'
    """
    if format is None:
        format = source.format.lower() if source.format.lower() in FORMATS else "wav"
    format = str(format).lower()
    if format not in FORMATS:
        raise ValueError(f"format is {format!r}; the formats are {', '.join(FORMATS)}.")
    available = _SUBTYPES[format]
    if subtype is None:
        replacement = _REPLACEMENTS.get(source.subtype, "PCM_16")
        choices = [name for name in (source.subtype, replacement) if name in available]
        subtype = choices[0] if choices else available[0]
    subtype = str(subtype).upper()
    if subtype not in available:
        raise ValueError(
            f"subtype is {subtype!r}; {format.upper()} files have {', '.join(available)}."
        )
    if source.channels > MAX_CHANNELS[format]:
        raise ValueError(
            f"{format.upper()} files hold at most {MAX_CHANNELS[format]} channels, not "
            f"{source.channels}; choose the format wav."
        )
    rate = source.samplerate
    if (
        rate > MAX_SAMPLE_RATE.get(format, rate)
        or (format == "flac" and rate > 65535 and rate % 10)
        or (format == "mp3" and rate not in _MP3_SAMPLE_RATES)
    ):
        raise ValueError(
            f"{format.upper()} files cannot have the sample rate {rate} Hz; choose the format wav."
        )
    bits = _BITS.get(subtype) or 8 * np.dtype(_FLOAT_DTYPES[subtype]).itemsize
    n_bytes = source.frames * source.channels * bits // 8
    return StemFormat(format, subtype, is_large=format == "wav" and n_bytes > _MAX_WAV_BYTES)


def quantize(samples: npt.NDArray[Any], subtype: str) -> tuple[DoubleArray, int]:
    """Samples as a file of this subtype stores them, and how many of them it clips.

    Integer formats clip samples beyond full scale, 1.0. Float and lossy formats store any sample.
    """
    if subtype in _FLOAT_DTYPES:
        return samples.astype(_FLOAT_DTYPES[subtype]).astype(np.float64), 0
    step = _step(subtype)
    rounded = np.rint(samples.astype(np.float64) / step) * step
    return np.clip(rounded, -1.0, 1.0 - step), _count_beyond_full_scale(rounded)


def split(
    mixture: DoubleArray, vocals: npt.NDArray[Any], subtype: str
) -> tuple[DoubleArray, DoubleArray]:
    """Vocals and accompaniment as files store them. They add up to a quantized mixture.

    In integer formats the vocals are limited so that both stems are in range. The sum is exact.

    In float formats the sum is exact if the mixture has at most 24 bits and the vocals are below
    twice full scale. Otherwise it is exact for samples at which the vocals are not louder than the
    mixture. At other samples the stems cancel and may need more digits than there are: the sum is
    then exact to half a unit in the last place of the vocals. If it is computed in the precision of
    the file, it is exact to one such unit, which is 2**-24 of full scale in float32 for vocals
    within full scale.
    """
    if subtype in _FLOAT_DTYPES:
        dtype = _FLOAT_DTYPES[subtype]
        # Subtracting the rounded accompaniment again hands its rounding error to the vocals
        # (Dekker's fast two-sum), which must be numbers of this type for the rest to be exact.
        exact_vocals = vocals.astype(dtype).astype(np.float64)
        accompaniment = (mixture - exact_vocals).astype(dtype).astype(np.float64)
        return (mixture - accompaniment).astype(dtype).astype(np.float64), accompaniment
    step = _step(subtype)
    highest = 1.0 - step
    lower, upper = np.maximum(-1.0, mixture - highest), np.minimum(highest, mixture + 1.0)
    limited = np.clip(np.rint(vocals.astype(np.float64) / step) * step, lower, upper)
    return limited, mixture - limited


def mix(
    vocals: DoubleArray, accompaniment: DoubleArray, factors: tuple[float, float], subtype: str
) -> tuple[DoubleArray, int]:
    """Sum of the stems, each times a factor, quantized, and how many of its samples are clipped.

    The sum is clipped in lossy formats, too, as players do. (`quantize` does not clip there, since
    songs that were lossy before exceed full scale.)
    """
    remix = factors[0] * vocals + factors[1] * accompaniment
    if subtype in _LOSSY:
        return np.clip(remix, -1.0, 1.0), _count_beyond_full_scale(remix)
    return quantize(remix, subtype)


def _step(subtype: str) -> float:
    return 2.0 ** (1 - _BITS[subtype])


def _count_beyond_full_scale(samples: DoubleArray) -> int:
    return int(np.count_nonzero(np.abs(samples) > 1.0))


class StemWriter:
    """Write the stems of one song block by block: whole files or none.

    The files are written under hidden names in the folders of their targets. They get their names
    when the ``with`` block ends without an exception. The sum of vocals and accompaniment is the
    mixture. In integer formats it is exact (a mixture of more bits is rounded first). In float
    formats it is exact for sources of up to 24 bits; for float sources see `split`. OGG and MP3 are
    lossy, so that the sum is exact only before it is encoded.

    Parameters
    ----------
    paths : mapping of str to path
        Files of "vocals", "accompaniment" or both and, if a gain is given, of "remix". Missing
        folders are created.
    sample_rate : int
        Sample rate of every file in Hz.
    n_channels : int
        Number of channels of every file.
    stem_format : StemFormat
        Format of every file.
    source : path or None
        File of the mixture. No target may be this file.
    overwrite : bool, default=False
        Whether files that exist are replaced.
    vocals_gain, accompaniment_gain : float or None
        Gains in dB; -inf mutes. If either is given, the remix is the sum of the stems with these
        gains. A gain that is None is then 0 dB.
    finish : callable, default=nothing
        Function that is called with the complete files by stem, before they get their names.

    Attributes
    ----------
    n_samples : int
        Number of samples of each channel that were written so far.
    n_clipped_mixture, n_clipped_remix : int
        Number of samples beyond full scale that were limited to it, in integer formats and in a
        remix in OGG and MP3.
    energies : dict of str to float
        Sums of the squares of all samples of "mixture", "vocals" and "accompaniment" as written;
        full scale is 1.0.

    Raises
    ------
    FileExistsError
        If a target exists and `overwrite` is False: before any work, or at the end if the file
        appeared meanwhile.
    ValueError
        If paths, gains or blocks do not fit, or if vocals are not finite.

    Examples
    --------
    >>> import numpy as np, soundfile
    >>> from sksep.audio._stems import StemFormat, StemWriter
    >>> mixture, vocals = np.array([[0.5, 0.25]]), np.array([[0.1, 0.2]], np.float32)
    >>> paths = {"vocals": "out/vocals.wav", "accompaniment": "out/accompaniment.wav"}
    >>> with StemWriter(paths, 16000, 1, StemFormat("wav", "PCM_16")) as writer:
    ...     writer.write(mixture, vocals)
    >>> stems = [soundfile.read(path)[0] for path in paths.values()]
    >>> stems[0] + stems[1]
    array([0.5 , 0.25])
    """

    def __init__(
        self,
        paths: Mapping[str, str | os.PathLike[str]],
        sample_rate: int,
        n_channels: int,
        stem_format: StemFormat,
        *,
        source: str | os.PathLike[str] | None = None,
        overwrite: bool = False,
        vocals_gain: float | None = None,
        accompaniment_gain: float | None = None,
        finish: Callable[[dict[str, Path]], None] = lambda files: None,
    ) -> None:
        self._finish_files = finish
        self._factors = (
            gain_factor("vocals_gain", vocals_gain),
            gain_factor("accompaniment_gain", accompaniment_gain),
        )
        self._has_remix = not (vocals_gain is None and accompaniment_gain is None)
        stems = {*STEMS, "remix"} if self._has_remix else {*STEMS}
        lacks_remix = self._has_remix and "remix" not in paths
        if not paths or not set(paths) <= stems or lacks_remix:
            raise ValueError(
                f"paths has the stems {sorted(paths)}, but {sorted(stems)} can be written; there "
                "is a remix if vocals_gain or accompaniment_gain is given."
            )
        self._paths = {stem: Path(path) for stem, path in paths.items()}
        _check_targets(list(self._paths.values()), source, overwrite)
        self._n_channels = n_channels
        self._subtype = stem_format.subtype
        self._file_parameters: dict[str, Any] = {
            "samplerate": sample_rate,
            "channels": n_channels,
            "subtype": stem_format.subtype,
            "format": stem_format.container,
            **(_MP3_QUALITY if stem_format.format == "mp3" else {}),
        }
        self._overwrite = overwrite
        self._temporary_paths: dict[str, Path] = {}
        self._files: dict[str, soundfile.SoundFile] = {}
        self._cleanup = ExitStack()
        self.n_samples = self.n_clipped_mixture = self.n_clipped_remix = 0
        self.energies = dict.fromkeys(("mixture", *STEMS), 0.0)

    def __enter__(self) -> StemWriter:
        paths = list(self._paths.values())
        for path in paths:
            remove_unfinished(path.parent, path.name)
        with ExitStack() as stack:
            temporary_paths = stack.enter_context(whole_files(paths, overwrite=self._overwrite))
            stack.push(self._finish)
            for stem, path in zip(self._paths, temporary_paths, strict=True):
                self._temporary_paths[stem] = path
                self._files[stem] = soundfile.SoundFile(
                    os.fsencode(path), "w", **self._file_parameters
                )
            self._cleanup = stack.pop_all()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._cleanup.__exit__(*exception)

    def _finish(self, exception_type: type[BaseException] | None, *_: Any) -> None:
        """Close the files, before they get their names or are removed."""
        with ExitStack() as stack:
            for file in self._files.values():
                stack.callback(file.close)
            self._files.clear()
        if exception_type is None and self.n_samples:
            self._finish_files(self._temporary_paths)
        if exception_type is None:
            self._check_written()

    def write(self, mixture: npt.NDArray[Any], vocals: FloatArray) -> None:
        """Append a block to every file.

        Parameters
        ----------
        mixture : ndarray of shape (n_channels, n)
            Samples of the source, full scale 1.0. Any n is allowed, also 0. float32 is enough for
            sources of up to 24 bits, float64 for all.
        vocals : ndarray of shape (n_channels, n)
            Estimate of the vocals, float32.

        Raises
        ------
        ValueError
            If shapes differ, or if samples are not finite. Nothing of the block is then written.
        TypeError
            If samples are not floating point.
        """
        if not self._files:
            raise ValueError("StemWriter writes only inside its with block.")
        self._check_block("mixture", mixture, "Repair the file or leave it out.")
        self._check_block("vocals", vocals, "Use another model, or the device cpu.")
        if vocals.shape != mixture.shape:
            raise ValueError(
                f"vocals have shape {vocals.shape} but the mixture {mixture.shape}; they must be "
                "the same samples."
            )
        for start in range(0, mixture.shape[1], _PIECE_LENGTH):
            piece = slice(start, start + _PIECE_LENGTH)
            self._write_piece(mixture[:, piece], vocals[:, piece])

    def _write_piece(self, mixture: npt.NDArray[Any], vocals: npt.NDArray[Any]) -> None:
        subtype = self._subtype
        mixture, n_clipped = quantize(mixture, subtype)
        self.n_clipped_mixture += n_clipped
        vocals, accompaniment = split(mixture, vocals, subtype)
        stems = {"vocals": vocals, "accompaniment": accompaniment}
        if self._has_remix:
            stems["remix"], n_clipped = mix(vocals, accompaniment, self._factors, subtype)
            self.n_clipped_remix += n_clipped
        for stem in self._files:
            samples = stems[stem]
            # libsndfile takes the upper bits of an int32 for every integer subtype. Full scale is
            # 2**31, so that quantized samples stay exact.
            if subtype in _BITS:
                encoded: npt.NDArray[Any] = (samples * 2.0**31).astype(np.int32)
            else:
                encoded = samples.astype(_FLOAT_DTYPES[subtype])
            try:
                self._files[stem].write(np.ascontiguousarray(encoded.T))
            except soundfile.LibsndfileError as error:
                raise self._write_error(stem) from error
        self.n_samples += mixture.shape[1]
        written = (mixture, vocals, accompaniment)
        for name, samples in zip(self.energies, written, strict=True):
            self.energies[name] += float(np.square(samples).sum())

    def _check_block(self, name: str, samples: npt.NDArray[Any], remedy: str) -> None:
        if samples.dtype.kind != "f":
            raise TypeError(f"{name} has dtype {samples.dtype}; give floating point samples.")
        if samples.ndim != 2 or samples.shape[0] != self._n_channels:
            raise ValueError(
                f"{name} has shape {samples.shape}; blocks of this song have the shape "
                f"({self._n_channels}, n_samples)."
            )
        if not np.isfinite(samples).all():
            raise ValueError(
                f"{name} of {self._first_path()} contains NaN or infinity after sample "
                f"{self.n_samples}. {remedy}"
            )

    def _check_written(self) -> None:
        if not self.n_samples:
            raise ValueError(f"Nothing was written to {self._first_path()}: the song is empty.")
        # Encoders do not report every failure when a file is closed.
        for stem, path in self._temporary_paths.items():
            try:
                n_samples = soundfile.info(os.fsencode(path)).frames
            except soundfile.LibsndfileError as error:
                raise self._write_error(stem) from error
            if n_samples != self.n_samples:
                raise self._write_error(stem)

    def _first_path(self) -> Path:
        return next(iter(self._paths.values()))

    def _write_error(self, stem: str) -> OSError:
        return OSError(
            f"{self._paths[stem]} could not be written; make sure that the disk has room for it."
        )


def gain_factor(name: str, gain: float | None) -> float:
    """Factor of a gain in dB; None is 0 dB."""
    if gain is None:
        return 1.0
    if not gain <= _MAX_GAIN:
        raise ValueError(f"{name} is {gain}; give decibels up to {_MAX_GAIN:.0f}, -inf to mute.")
    return float(10.0 ** (gain / 20.0))


def _check_targets(
    paths: list[Path], source: str | os.PathLike[str] | None, overwrite: bool
) -> None:
    for index, path in enumerate(paths):
        if any(_is_same_file(path, other) for other in paths[:index]):
            raise ValueError(f"Two stems would be written to {path}; give each its own file.")
        if source is not None and _is_same_file(path, Path(source)):
            raise ValueError(
                f"{path} is the song itself, which is never replaced; write to another folder."
            )
        if path.is_dir():
            raise ValueError(f"{path} is a folder; give the path of a file.")
        if not overwrite and os.path.lexists(path):
            raise exists_error(path)


def _is_same_file(path: Path, other: Path) -> bool:
    if path.resolve() == other.resolve():
        return True
    return path.exists() and other.exists() and path.samefile(other)
