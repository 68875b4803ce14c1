"""Make the models "unet" and "small" of Spleeter's network of the vocals.

    python benchmarks/unet.py prepare --work trained/unet          # recordings at 16 kHz, labels
    python benchmarks/unet.py reduce --work trained/unet           # 512 filters become 256
    python benchmarks/unet.py prune --work trained/unet --model small   # a smaller decoder
    python benchmarks/unet.py train --work trained/unet --fold 0   # half of the artists
    python benchmarks/unet.py train --work trained/unet            # everything
    python benchmarks/unet.py train --work trained/unet --model small

held_out.py scores the folds and package_models.py puts the models into the package. Every step
leaves what is already there, and a training goes on after its last checkpoint.

1. Spleeter is the teacher of songs without stems: its estimates are taken for their stems.
2. The deepest layer of its network of the vocals has 512 filters. It is linear, so that the
   directions of its output that are strongest on recordings can be kept, half of them (principal
   components), at 16 kHz. This is where "unet" starts.
3. "small" hears 512 of 768 bins and every other frame. Its decoder has fewer filters,
   those that explain the others best, and is fitted anew by least squares.
4. Both are trained on pairs, remixes and the songs of the teacher.

Recordings are those of SKSEP_DATA_HOME (or --data): musdb18-7s, full-songs, songs, mir1k, mixes,
and the unpaired singing and instrumental ones.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _lib.folds import N_FOLDS, kept_indices
from _lib.pruning import prune as prune_network
from _lib.teacher import read, teach, waveform, write
from pretrained import POOLS, RARE_ARTIST, RARE_SHARE
from safetensors.torch import save_file
from torch import Tensor
from torch.nn import functional

import sksep
from sksep.datasets import load_files, load_folder, load_mir1k, load_musdb18
from sksep.nn import effects
from sksep.nn.spectrogram_unet import SpectrogramUNet
from sksep.peers._spleeter import REDUCED_LEVEL
from sksep.peers._spleeter_weights import load_spleeter_networks
from sksep.training._options import is_emulated

_SAMPLE_RATE = 16000
# Windows as long as Spleeter's 4096 samples at 44.1 kHz, and bins as wide.
_N_FFT, _HOP_LENGTH, _N_BINS = 1488, 372, 768
_SCALE = 4096 / _N_FFT
_FILTERS = (16, 32, 64, 128, 256, 256)
_N_COMPONENTS = _FILTERS[-1]
# Excerpts that the decoder of the small network is fitted on, and positions of each.
_PRUNING_FRAMES, _PRUNING_EXCERPTS, _PRUNING_POSITIONS = 256, 60, 500
# Copies of the tracks of each set in a draw: MUSDB18's are excerpts of 7 s.
_PAIRS = {"musdb18-7s": 3.0, "full-songs": 8.0, "songs": 4.0, "mir1k": 0.5}
_SHARES = {
    "true pairs": 0.35,
    "singing": 0.2,
    "instrumental": 0.35,
    "no vocals": 0.08,
}
_EXCERPT_HOPS, _BATCH_SIZE = 256, 6
_CHECKPOINT_STEPS = 100
_IS_EMULATED = is_emulated("bfloat16", torch.device("cpu"))


@dataclass(frozen=True)
class Recipe:
    """A network and its training.

    Attributes
    ----------
    start : str
        File of the weights that the training starts from.
    network : dict
        Arguments of `SpectrogramUNet`.
    steps : int
        Steps of the optimizer.
    learning_rate : float
        Highest learning rate.
    decay : float
        Share of the running average of the weights that a step keeps.
    taught : float
        Share of the excerpts that are of the teacher.
    """

    start: str
    network: dict[str, Any]
    steps: int
    learning_rate: float
    decay: float
    taught: float


RECIPES = {
    "unet": Recipe(
        "reduced.pt",
        {"n_filters": _FILTERS, "dropout": 0.2, "n_bins": _N_BINS},
        steps=1000,
        learning_rate=3e-4,
        decay=0.995,
        taught=0.3,
    ),
    "small": Recipe(
        "pruned.pt",
        {
            "n_filters": _FILTERS,
            "n_decoder_filters": (256, 112, 32, 16, 10),
            "dropout": 0.0,
            "n_bins": 512,
            "outer_stride": 1,
        },
        steps=1200,
        learning_rate=5e-4,
        decay=0.997,
        taught=0.5,
    ),
}
# Recipes of which no model ships; docs/measurements.md says what they gave.
TRIALS = {
    "small-fast": replace(
        RECIPES["small"],
        start="pruned-fast.pt",
        network=RECIPES["small"].network
        | {"n_decoder_filters": (256, 96, 32, 16, 16), "n_bins": 384},
        steps=1400,
    ),
}


@dataclass(frozen=True)
class Recordings:
    """Waveforms at 16 kHz, float16.

    Attributes
    ----------
    pairs, taught : list of (vocals, accompaniment)
        Arrays of shape (n_channels, n_samples), of one or two channels.
    weights : ndarray
        Probability of each pair.
    singing, instrumental : list of ndarray
        Unpaired ones, mono.
    """

    pairs: list[tuple[np.ndarray, np.ndarray]]
    weights: np.ndarray
    taught: list[tuple[np.ndarray, np.ndarray]]
    singing: list[np.ndarray]
    instrumental: list[np.ndarray]


def _recipe(model: str) -> Recipe:
    return (RECIPES | TRIALS)[model]


def main() -> None:
    """Run one step."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("step", choices=("prepare", "reduce", "prune", "train"))
    parser.add_argument("--work", type=Path, required=True, help="folder to work in")
    parser.add_argument("--data", type=Path, help="folder of recordings (default: SKSEP_DATA_HOME)")
    parser.add_argument("--model", choices=[*RECIPES, *TRIALS], default="unet")
    parser.add_argument("--fold", type=int, choices=range(N_FOLDS), help="artists to leave out")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    if options.step == "prune" and options.model == "unet":
        parser.error("prune makes small networks; add --model small.")
    torch.set_num_threads(options.threads)
    data = Path(options.data or os.environ["SKSEP_DATA_HOME"])
    if options.step == "prepare":
        prepare(data, options.work)
    elif options.step == "reduce":
        reduce(options.work)
    elif options.step == "prune":
        prune(options.work, options.model)
    else:
        train(data, options.work, options.model, options.fold)


# Recordings.


def groups(data: Path) -> dict[str, tuple[list[Any], Any]]:
    """Tracks (pairs of files, or files) and groups of each set."""
    found = {}
    for name in _PAIRS:
        load = {"musdb18-7s": load_musdb18, "mir1k": load_mir1k}.get(name)
        songs = load_folder(data / name) if load is None else load(data / name, subset="train")
        tracks = list(zip(songs.vocals, songs.accompaniments, strict=True))
        found[name] = (tracks, songs.groups)
    for name, pattern in POOLS.items():
        files = load_files(data / name, group_pattern=pattern)
        found[name] = (list(files.paths), files.groups)
    return found


def prepare(data: Path, work: Path) -> None:
    """Write all recordings at 16 kHz, and the teacher's estimates for those without stems."""
    for name, (tracks, _) in groups(data).items():
        for index, track in enumerate(tracks):
            path = work / name / f"{index:04d}.npz"
            if not path.exists():
                parts = track if isinstance(track, tuple) else (track,)
                write(path, [waveform(part, _SAMPLE_RATE) for part in parts])
    teach(data, work)


def recordings(data: Path, work: Path, fold: int | None) -> Recordings:
    """All recordings but those of the artists of a fold."""
    kept: dict[str, list[Any]] = {}
    weights: list[float] = []
    sets = groups(data)
    for name, (_, names) in sets.items():
        indices = kept_indices(names, fold)
        kept[name] = [read(work / name / f"{index:04d}.npz") for index in indices]
        for index in indices if name in _PAIRS else ():
            is_rare = str(names[index]).startswith(RARE_ARTIST)
            weights.append(_PAIRS[name] * (RARE_SHARE if is_rare else 1.0))
    return Recordings(
        [pair for name in _PAIRS for pair in kept[name]],
        np.array(weights) / sum(weights),
        [read(path) for path in sorted((work / "mixes").glob("*.npz"))],
        *([part for (part,) in kept[name]] for name in POOLS),
    )


# Spectra.


def spectra(samples: Tensor, hop_length: int = _HOP_LENGTH) -> Tensor:
    """Complex spectra (..., n_frames, 745) of waveforms (..., n_samples)."""
    window = torch.hann_window(_N_FFT)
    flat = torch.stft(
        samples.reshape(-1, samples.shape[-1]),
        _N_FFT,
        hop_length,
        window=window,
        pad_mode="constant",
        return_complex=True,
    ).transpose(1, 2)
    return flat.reshape(*samples.shape[:-1], *flat.shape[1:])


def inputs(mixture: Tensor, n_bins: int = _N_BINS) -> Tensor:
    """Magnitudes (..., n_frames, n_bins) that a network takes; frames are a multiple of 64."""
    magnitudes = mixture[..., :n_bins].abs() * _SCALE
    n_frames, n_given = magnitudes.shape[-2:]
    return functional.pad(magnitudes, (0, n_bins - n_given, 0, -n_frames % 64))


def levelled(samples: Tensor, mixture: Tensor) -> Tensor:
    """Samples times the gain that brings each mixture (..., 2, n) to the level of the network."""
    level = mixture.square().mean(dim=(-1, -2), keepdim=True).sqrt()
    return samples * (REDUCED_LEVEL / (level + 1e-7))


# Reduction.


def reduce(work: Path) -> None:
    """Keep the strongest directions of the deepest layer, over 12 s of each taught song.

    Every eighth instrumental counts, too, of all folds: by the second moments of its features.
    """
    network, _ = load_spleeter_networks()
    moments = torch.zeros(512, 512, dtype=torch.float64)

    def add(_module: Any, _inputs: Any, output: Tensor) -> None:
        rows = output.permute(0, 2, 3, 1).reshape(-1, 512).double()
        moments.add_(rows.T @ rows)

    handle = network.down[-1].register_forward_hook(add)
    paths = (
        sorted((work / "mixes").glob("*.npz")) + sorted((work / "instrumental").glob("*.npz"))[::8]
    )
    for path in paths:
        samples = torch.from_numpy(sum(part.astype(np.float32) for part in read(path)))
        samples = samples[:, : 511 * _HOP_LENGTH].expand(2, -1)
        with torch.inference_mode():
            network(inputs(spectra(levelled(samples, samples)))[None])
    handle.remove()
    values, vectors = torch.linalg.eigh(moments)
    kept = vectors[:, -_N_COMPONENTS:].float()
    state = network.state_dict()
    state["down.5.weight"] = torch.einsum("ok,oihw->kihw", kept, state["down.5.weight"])
    state["down.5.bias"] = kept.T @ state["down.5.bias"]
    state["up.0.weight"] = torch.einsum("ok,oihw->kihw", kept, state["up.0.weight"])
    torch.save(state, work / "reduced.pt")
    print(f"kept {float(values[-_N_COMPONENTS:].sum() / values.sum()):.3f} of the energy")


def prune(work: Path, model: str) -> None:
    """Make the start of "small", or of a trial like it, from the reduced network.

    Its decoder loses filters, and its input every other frame. The layers are fitted on the taught
    songs and every tenth instrumental, of all folds: by second moments and products of their
    features.
    """
    recipe = _recipe(model)
    large = SpectrogramUNet(**RECIPES["unet"].network).eval()
    large.load_state_dict(torch.load(work / "reduced.pt", weights_only=True))
    small = SpectrogramUNet(**recipe.network).eval()
    rng = np.random.default_rng(0)
    paths = (
        sorted((work / "mixes").glob("*.npz")) + sorted((work / "instrumental").glob("*.npz"))[::10]
    )
    length = (_PRUNING_FRAMES - 1) * _HOP_LENGTH
    excerpts = []
    for path in paths[:: max(1, len(paths) // _PRUNING_EXCERPTS)]:
        whole = sum(part.astype(np.float32) for part in read(path))
        (samples,) = cut((whole,), length, rng)
        samples = torch.from_numpy(samples).expand(2, -1)
        excerpts.append(inputs(spectra(levelled(samples, samples)))[None])
    prune_network(large, small, excerpts, _PRUNING_POSITIONS, rng)
    torch.save(small.state_dict(), work / recipe.start)


# Training.


def train(data: Path, work: Path, model: str, fold: int | None) -> None:
    """Train a network, and write the running average of its weights."""
    recipe = _recipe(model)
    name = model if fold is None else f"{model}-fold-{fold}"
    if (work / f"{name}.safetensors").exists():
        print(f"{name} is there.")
        return
    songs = recordings(data, work, fold)
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    network = SpectrogramUNet(**recipe.network)
    network.load_state_dict(torch.load(work / recipe.start, weights_only=True))
    network.to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(network.parameters(), lr=recipe.learning_rate, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, recipe.learning_rate, total_steps=recipe.steps, pct_start=0.15
    )
    average = {key: value.clone() for key, value in network.state_dict().items()}
    checkpoint = work / f"{name}.checkpoint"
    first = 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=False)
        network.load_state_dict(saved["network"])
        optimizer.load_state_dict(saved["optimizer"])
        schedule.load_state_dict(saved["schedule"])
        average, first, rng = saved["average"], saved["step"], saved["rng"]
        torch.set_rng_state(saved["torch rng"])
    # The statistics of batch normalization stay those of Spleeter's training.
    network.eval()
    network.dropout.train()
    started = time.perf_counter()
    for step in range(first + 1, recipe.steps + 1):
        loss = objective(network, batch(songs, recipe.taught, rng))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5.0)
        optimizer.step()
        schedule.step()
        decay = min(recipe.decay, (step + 1) / (step + 10))
        with torch.no_grad():
            for key, value in network.state_dict().items():
                if value.is_floating_point():
                    average[key].lerp_(value, 1.0 - decay)
        if step % _CHECKPOINT_STEPS == 0 or step == recipe.steps:
            print(f"{name}: {step} steps, loss {float(loss.detach()):.2f} dB", flush=True)
            saved = {
                "network": network.state_dict(),
                "optimizer": optimizer.state_dict(),
                "schedule": schedule.state_dict(),
                "average": average,
                "step": step,
                "rng": rng,
                "torch rng": torch.get_rng_state(),
            }
            torch.save(saved, checkpoint.with_suffix(".unfinished"))
            checkpoint.with_suffix(".unfinished").rename(checkpoint)
    tensors = {
        key: value.half().contiguous()
        for key, value in average.items()
        if value.is_floating_point()
    }
    settings = {"n_bins": network.n_bins, "outer_stride": network.outer_stride}
    metadata = {key: str(value) for key, value in settings.items()}
    save_file(tensors, work / f"{name}.safetensors", metadata)
    record = {
        "model": model,
        "fold": fold,
        "n_folds": None if fold is None else N_FOLDS,
        "resumed": None,
        "steps": recipe.steps,
        "excerpts_per_step": _BATCH_SIZE,
        "seed": 0,
        "minutes": round((time.perf_counter() - started) / 60.0, 1),
        "versions": {"sksep": sksep.__version__, "torch": torch.__version__},
    }
    (work / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n")


def objective(network: SpectrogramUNet, stems: Tensor) -> Tensor:
    """Negative signal-to-noise ratio in dB of the vocals (batch, 2 stems, 2 channels, n)."""
    hop_length = 2 // network.outer_stride * _HOP_LENGTH
    vocals, mixture = spectra(stems[:, 0], hop_length), spectra(stems.sum(dim=1), hop_length)
    features = inputs(mixture, network.n_bins).contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=not _IS_EMULATED):
        masks = network(features)
    n_frames, n_bins = mixture.shape[-2:]
    masks = masks.float()[..., :n_frames, :n_bins]
    octave = masks[..., masks.shape[-1] // 2 :].mean(dim=-1, keepdim=True)
    above = octave.expand(*masks.shape[:-1], n_bins - masks.shape[-1])
    masks = torch.cat([masks, above], dim=-1)
    # At most 30 dB count, relative to the mixture.
    floor = 1e-3 * energy(mixture) + 1e-8
    ratio = (energy(vocals) + floor) / (energy(masks * mixture - vocals) + floor)
    return -10.0 * torch.log10(ratio).mean()


def energy(values: Tensor) -> Tensor:
    """Energy of each item of a batch."""
    return values.abs().square().sum(dim=(1, 2, 3))


def batch(songs: Recordings, taught: float, rng: np.random.Generator) -> Tensor:
    """Excerpts (batch, 2 stems, 2 channels, n) at the level of the network, at a random speed."""
    length = (_EXCERPT_HOPS - 1) * _HOP_LENGTH
    speed = round(float(rng.uniform(0.85, 1.18)), 3)
    n_samples = int(np.ceil(length * speed)) + 2
    stems = np.stack([np.stack(excerpt(songs, taught, n_samples, rng)) for _ in range(_BATCH_SIZE)])
    samples = torch.from_numpy(stems)
    if speed != 1.0:
        samples = effects.resample(samples.flatten(0, 2), 1.0 / speed).reshape(*stems.shape[:3], -1)
    samples = samples[..., :length]
    return levelled(samples, samples.sum(dim=1)[:, None])


def excerpt(
    songs: Recordings, taught: float, n_samples: int, rng: np.random.Generator
) -> list[np.ndarray]:
    """Vocals and accompaniment: of the teacher, of one song, or of two."""
    if rng.random() < taught:
        pair = songs.taught[rng.integers(len(songs.taught))]
        return both(*cut(pair, n_samples, rng), rng=rng)
    pair = songs.pairs[rng.choice(len(songs.pairs), p=songs.weights)]
    if rng.random() < _SHARES["true pairs"]:
        vocals, accompaniment = both(*cut(pair, n_samples, rng), rng=rng)
    else:
        other = songs.pairs[rng.choice(len(songs.pairs), p=songs.weights)][1]
        if rng.random() < _SHARES["instrumental"]:
            other = songs.instrumental[rng.integers(len(songs.instrumental))]
        singer = pair[0]
        if rng.random() < _SHARES["singing"]:
            singer = songs.singing[rng.integers(len(songs.singing))]
        vocals, accompaniment = (
            both(*cut((source,), n_samples, rng), rng=rng)[0] for source in (singer, other)
        )
        powers = np.square(vocals).mean(), np.square(accompaniment).mean()
        if min(powers) > 1e-8:
            level = np.sqrt(powers[1] / powers[0]) * 10.0 ** (rng.normal(-3.5, 4.0) / 20.0)
            vocals = vocals * np.float32(level)
    if rng.random() < _SHARES["no vocals"]:
        vocals = np.zeros_like(vocals)
    return [vocals, accompaniment]


def cut(
    parts: tuple[np.ndarray, ...], n_samples: int, rng: np.random.Generator
) -> Iterator[np.ndarray]:
    """The same random excerpt of all parts, which are filled up with zeros."""
    missing = max(0, n_samples - parts[0].shape[1])
    start = int(rng.integers(0, parts[0].shape[1] + missing - n_samples + 1))
    for part in parts:
        padded = np.pad(part, ((0, 0), (0, missing)))
        yield padded[:, start : start + n_samples].astype(np.float32)


def both(*parts: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """The parts with two channels: swapped at random, or panned if there is only one."""
    swaps = rng.random() < 0.5
    position = np.float32(rng.uniform(-0.3, 0.3) if swaps else 0.0)
    gains = np.stack([1.0 - position, 1.0 + position])[:, None]
    return [(part[::-1] if swaps else part) if len(part) == 2 else part * gains for part in parts]


if __name__ == "__main__":
    main()
