"""Audio: tracks, their validation, resampling, the cache of waveforms, and stems."""

from sksep.audio._cache import WaveformCache
from sksep.audio._track import AudioSource
from sksep.audio._validation import load_audio

__all__ = ["AudioSource", "WaveformCache", "load_audio"]
