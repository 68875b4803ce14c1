"""Separate a WAV file, as in ``python separate_with_onnx.py model.onnx song.wav vocals.wav``."""

import json
import sys

import numpy as np
import onnxruntime
import soundfile


def main(model, song, output):
    session = onnxruntime.InferenceSession(model)
    settings = json.loads(session.get_modelmeta().custom_metadata_map["sksep"])
    samples, sample_rate = soundfile.read(song, dtype="float32", always_2d=True)
    if sample_rate != settings["sample_rate"]:
        sys.exit(f"{song} is at {sample_rate} Hz; resample it to {settings['sample_rate']} Hz.")
    vocals = separate(samples.T, session, settings)
    soundfile.write(output, vocals.T, sample_rate, subtype="FLOAT")


def separate(samples, session, settings):
    """Vocals of samples (n_channels, n_samples)."""
    n_fft, hop = settings["stft"]["n_fft"], settings["stft"]["hop_length"]
    window = 0.5 - 0.5 * np.cos(2.0 * np.pi * np.arange(n_fft) / n_fft)

    # The STFT. Frame `outer` is the first of the song; those before and after reach into it.
    n_frames, outer = 1 + samples.shape[1] // hop, n_fft // hop
    margin = outer * hop + n_fft // 2
    padded = np.pad(samples, ((0, 0), (margin, margin)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft, axis=1)[:, ::hop]
    spectra = np.fft.rfft(frames * window)

    # Levels of the bands in dB, of all channels together.
    song = spectra[:, outer : outer + n_frames]
    power = np.maximum(abs(song.mean(axis=0)) ** 2, 0.5 * (abs(song) ** 2).mean(axis=0))
    to_bands = matrix(settings["bands"]["weights"], n_fft // 2 + 1)
    levels = 10.0 * np.log10(np.maximum(power @ to_bands.T, settings["level"]["floor"]))

    # Masks of overlapping chunks, cross-faded. The loudest chunk so far has the level of training.
    length, step = settings["chunks"]["n_frames"], settings["chunks"]["hop_frames"]
    starts = range(0, max(1, n_frames - length + step), step)
    missing = starts[-1] + length - n_frames
    levels = np.pad(levels, ((0, missing), (0, 0)), constant_values=settings["chunks"]["padding"])
    fade = np.array(settings["chunks"]["fade"])[:, None]
    masks, total = np.zeros_like(levels), np.zeros((len(levels), 1))
    level, loudest = settings["level"]["of_loudest_chunk"], settings["level"]["of_silence"]
    for start in starts:
        chunk = levels[start : start + length]
        if level is not None:
            sounding = chunk[chunk.max(axis=1) > settings["level"]["floor_decibels"]]
            if len(sounding):
                loudest = max(loudest, 10.0 * np.log10(np.mean(10.0 ** (sounding / 10.0))))
            chunk = chunk + (level - loudest)
        chunk = chunk[None].astype(np.float32)
        masks[start : start + length] += fade * session.run(["masks"], {"chunks": chunk})[0][0]
        total[start : start + length] += fade
    masks = (masks / total)[:n_frames] @ matrix(settings["mask_to_bins"], n_fft // 2 + 1)

    # The inverse STFT, with the phase of the mixture. The outer masks are repeated.
    rows = np.clip(np.arange(spectra.shape[1]) - outer, 0, n_frames - 1)
    frames = np.fft.irfft(spectra * masks[rows]) * window
    vocals, squares = np.zeros(padded.shape), np.full(padded.shape[1], 1e-8)
    for index in range(len(rows)):
        vocals[:, index * hop : index * hop + n_fft] += frames[:, index]
        squares[index * hop : index * hop + n_fft] += window**2
    return (vocals / squares)[:, margin : margin + samples.shape[1]]


def matrix(rows, n_bins):
    """Matrix (n_bands, n_bins) from the stretches of its rows that are not zero."""
    result = np.zeros((len(rows), n_bins))
    for band, row in zip(result, rows, strict=True):
        band[row["first_bin"] :][: len(row["weights"])] = row["weights"]
    return result


if __name__ == "__main__":
    main(*sys.argv[1:])
