"""What sksep does beside what people use for it: jobs that take turns in `speed.py`."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any

import librosa
import mir_eval
import numpy as np
import scipy.fft
import torch
from _references import (
    SONG_SAMPLE_RATE,
    asteroid_loss,
    fast_bss_eval,
    htdemucs,
    museval,
    open_unmix,
)
from sklearn.cluster import KMeans

import sksep
from sksep import DeepClusteringSeparator, MaskBuilder, MelChunker, UNetSeparator
from sksep.datasets import make_songs
from sksep.metrics import bss_eval, bss_eval_frames
from sksep.metrics._projection import _SHORT_FFT_LENGTH
from sksep.nn import spectral
from sksep.nn.clustering_losses import deep_clustering
from sksep.nn.excerpts import Excerpts
from sksep.nn.griffin_lim import griffin_lim
from sksep.nn.losses import binary_cross_entropy
from sksep.nn.mask_estimator import MaskEstimator
from sksep.nn.unet import UNet
from sksep.presets import unet_pipeline
from sksep.separators._clusters import Clusters, fit_clusters, loud_bins
from sksep.training._dataset import ExcerptDataset

SAMPLE_RATE = 16000
# Of the filters of BSSEval, and of the embeddings of bins: the defaults.
FILTER_LENGTH, EMBEDDING_DIM = 512, 20

Job = Callable[[], Any]


@dataclass(frozen=True)
class Work:
    """What a result takes at the least, to be held against what the machine can do.

    Parameters
    ----------
    n_bytes : float
        Inputs and results, each moved once.
    transforms : tuple of (n_fft, dtype, number)
        Real Fourier transforms.
    products : float or None
        Floating-point operations of matrix products and factorisations; None for a job whose own
        are to be counted.
    dtype : torch.dtype
        Of the products.
    """

    n_bytes: float = 0.0
    transforms: tuple[tuple[int, torch.dtype, float], ...] = ()
    products: float | None = 0.0
    dtype: torch.dtype = torch.float32


@dataclass(frozen=True)
class Jobs:
    """Ways to the same result.

    Parameters
    ----------
    ours, references : dict of str to callable
        By name, what does the whole job once and returns its result.
    work : Work
        Of one of ours.
    agreement : callable
        From a result of ours and of the first reference, what shows that they are worth comparing;
        by default nothing.
    """

    ours: dict[str, Job]
    references: dict[str, Job]
    work: Work = Work()
    agreement: Callable[[Any, Any], dict[str, float]] = field(default=lambda ours, reference: {})


@dataclass(frozen=True)
class Comparison:
    """Jobs of any length.

    Parameters
    ----------
    make : callable
        From seconds of audio and a number of tracks to `Jobs`.
    share : float
        Of the usual length. Less than all of it where a turn would take minutes; then the turns are
        taken on the largest number of threads only.
    longest : float
        Seconds beyond which the inputs do not fit in memory.
    takes_many : bool
        Whether there can be several tracks.
    grows_with : str
        Name of another comparison of the same jobs of ours, beside which the references grow.
    """

    make: Callable[[float, int], Jobs]
    share: float = 1.0
    longest: float = float("inf")
    takes_many: bool = False
    grows_with: str = ""


def music(seconds: float, sample_rate: int = SAMPLE_RATE, n_channels: int = 1) -> np.ndarray:
    """Synthetic music, the same half minute over and over."""
    song = _half_a_minute(sample_rate, n_channels)
    n_samples = round(seconds * sample_rate)
    repeated = np.tile(song, -(-n_samples // song.shape[-1]))[..., :n_samples]
    return np.ascontiguousarray(repeated, dtype=np.float32)


@cache
def _half_a_minute(sample_rate: int, n_channels: int) -> np.ndarray:
    songs = make_songs(1, 30.0, sample_rate=sample_rate, n_channels=n_channels, random_state=0)
    return songs.mixtures[0]


def front_end(n_fft: int, hop_length: int, n_mels: int, seconds: float, n_tracks: int) -> Jobs:
    """From a waveform to its log-mel spectrogram."""
    waveform = music(seconds)
    filter_bank = spectral.mel_filter_bank(SAMPLE_RATE, n_fft, n_mels)

    def ours() -> np.ndarray:
        return spectral.log_mel(torch.from_numpy(waveform), filter_bank, n_fft, hop_length).numpy()

    def reference() -> np.ndarray:
        return _log_mel_by_librosa(waveform, n_fft, hop_length, n_mels)

    return Jobs(
        {"sksep": ours},
        {"librosa": reference},
        _work_of_front_end(n_fft, hop_length, n_mels, len(waveform)),
        lambda a, b: {"largest difference, dB": float(np.abs(a - b).max())},
    )


def chunks(n_fft: int, hop_length: int, n_mels: int, seconds: float, n_tracks: int) -> Jobs:
    """From tracks to overlapping log-mel chunks, checks and copies included, by `MelChunker`."""
    tracks = [music(seconds)] * n_tracks
    chunker = MelChunker(n_fft=n_fft, hop_length=hop_length, n_mels=n_mels)

    def ours() -> list[np.ndarray]:
        return [record.chunks for record in chunker.transform(tracks)]

    def reference() -> list[np.ndarray]:
        return [_log_mel_by_librosa(track, n_fft, hop_length, n_mels) for track in tracks]

    work = _work_of_front_end(n_fft, hop_length, n_mels, n_tracks * len(tracks[0]))
    return Jobs({"sksep": ours}, {"librosa": reference}, work)


def _log_mel_by_librosa(
    waveform: np.ndarray, n_fft: int, hop_length: int, n_mels: int
) -> np.ndarray:
    power = librosa.feature.melspectrogram(
        y=waveform,
        sr=SAMPLE_RATE,
        n_fft=n_fft,
        hop_length=hop_length,
        n_mels=n_mels,
        pad_mode="constant",
    )
    return librosa.power_to_db(power, top_db=None).T


def _work_of_front_end(n_fft: int, hop_length: int, n_mels: int, n_samples: int) -> Work:
    n_frames = n_samples // hop_length
    n_weights = int(spectral.mel_filter_bank(SAMPLE_RATE, n_fft, n_mels).count_nonzero())
    return Work(
        n_bytes=4.0 * (n_samples + n_frames * n_mels),
        transforms=((n_fft, torch.float32, n_frames),),
        products=2.0 * n_frames * n_weights,
    )


def phase_reconstruction(
    n_fft: int, hop_length: int, n_iter: int, momentum: float, seconds: float, n_tracks: int
) -> Jobs:
    """From magnitudes and random phase to a waveform."""
    waveform = music(seconds)
    sizes = {"n_fft": n_fft, "hop_length": hop_length}
    magnitude = spectral.stft(torch.from_numpy(waveform), **sizes).abs()
    # librosa's own layout, so that it need not copy.
    bins_first = np.ascontiguousarray(magnitude.numpy().T)

    def ours(phase: torch.Tensor | None = None) -> np.ndarray:
        return griffin_lim(
            magnitude,
            **sizes,
            n_samples=len(waveform),
            n_iter=n_iter,
            momentum=momentum,
            phase=phase,
            generator=torch.Generator().manual_seed(0),
        ).numpy()

    def reference() -> np.ndarray:
        return librosa.griffinlim(
            bins_first,
            **sizes,
            n_iter=n_iter,
            momentum=momentum,
            length=len(waveform),
            pad_mode="constant",
            random_state=0,
        )

    def convergence(estimate: np.ndarray) -> float:
        """Distance of the spectrogram from the given one, in dB."""
        difference = spectral.stft(torch.from_numpy(estimate), **sizes).abs() - magnitude
        return float(20.0 * torch.log10(difference.norm() / magnitude.norm()))

    def agreement(_: np.ndarray, theirs: np.ndarray) -> dict[str, float]:
        # From the reference's own phase: between random ones lie tenths of a dB.
        turns = np.random.RandomState(0).random_sample(bins_first.shape).T
        phase = torch.from_numpy(np.exp(2j * np.pi * turns).astype(np.complex64))
        return {
            "convergence from the same phase, dB": convergence(ours(phase)),
            "of the reference": convergence(theirs),
        }

    # The magnitudes are read in each iteration; momentum reads and writes complex spectra too.
    moved = n_iter + 1 + (4 * n_iter if momentum else 0)
    work = Work(
        n_bytes=4.0 * magnitude.numel() * moved,
        transforms=((n_fft, torch.float32, len(magnitude) * (2 * n_iter + 1)),),
    )
    return Jobs({"sksep": ours}, {"librosa": reference}, work, agreement)


def scores(seconds: float, n_tracks: int) -> Jobs:
    """BSSEval v3 of two estimated sources in each track."""
    references, estimates = _sources(seconds)

    def of_each(score: Callable[[], Any]) -> Job:
        return lambda: [score() for _ in range(n_tracks)][-1]

    def by_mir_eval() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # deprecated in mir_eval 0.8
            return mir_eval.separation.bss_eval_sources(
                references, estimates, compute_permutation=False
            )

    def by_fast_bss_eval() -> Any:
        # By torch, since with numpy 2 the half that is written for it fails.
        return fast_bss_eval().bss_eval_sources(
            torch.from_numpy(references), torch.from_numpy(estimates), compute_permutation=False
        )

    def largest_difference(a: Any, b: Any) -> dict[str, float]:
        return {"largest difference, dB": float(np.abs(np.subtract(a[:3], b[:3])).max())}

    n_sources = len(references)
    work = Work(
        n_bytes=n_tracks * 2.0 * references.nbytes,
        transforms=((_SHORT_FFT_LENGTH, torch.float64, n_tracks * _n_correlated(references)),),
        products=n_tracks * _cholesky(n_sources, *[1] * (n_sources - 1)),
        dtype=torch.float64,
    )
    return Jobs(
        {"sksep": of_each(lambda: bss_eval(references, estimates))},
        {"mir_eval": of_each(by_mir_eval), "fast_bss_eval": of_each(by_fast_bss_eval)},
        work,
        largest_difference,
    )


def frame_scores(seconds: float, n_tracks: int) -> Jobs:
    """BSSEval v4 of two estimated mono sources, in frames of a second."""
    references, estimates = _sources(seconds)

    def ours() -> Any:
        return bss_eval_frames(references, estimates, window=SAMPLE_RATE, hop=SAMPLE_RATE)

    def reference() -> Any:
        return museval().bss_eval(
            references[..., None], estimates[..., None], window=SAMPLE_RATE, hop=SAMPLE_RATE
        )

    n_frame = scipy.fft.next_fast_len(SAMPLE_RATE + FILTER_LENGTH - 1, real=True)
    work = Work(
        n_bytes=2.0 * references.nbytes,
        transforms=(
            (_SHORT_FFT_LENGTH, torch.float64, _n_correlated(references)),
            (n_frame, torch.float64, 2 * len(references) * (seconds // 1)),
        ),
        products=_cholesky(2, 1),
        dtype=torch.float64,
    )
    return Jobs(
        {"sksep": ours},
        {"museval": reference},
        work,
        lambda a, b: {
            "largest difference, dB": float(np.nanmax(np.abs(np.subtract(a[:4], b[:4]))))
        },
    )


def _sources(seconds: float) -> tuple[np.ndarray, np.ndarray]:
    waveform = music(seconds)
    references = np.stack([waveform, waveform[::-1]]).astype(float)
    noise = np.random.default_rng(0).normal(scale=0.01, size=references.shape)
    return references, references + 0.2 * references[::-1] + noise


def _n_correlated(references: np.ndarray) -> float:
    """Transforms that correlations take at the least: each reference and estimate once."""
    return 2 * references.size / _SHORT_FFT_LENGTH


def _cholesky(*n_sources: int) -> float:
    """Operations of the factorisations for filters of so many sources each."""
    return float(sum((n * FILTER_LENGTH) ** 3 / 3 for n in n_sources))


def clusters(seconds: float, n_tracks: int) -> Jobs:
    """From the embeddings of a track to a mask: K-means on a sample, or on all bins."""
    embeddings, features, _ = _embeddings(seconds)
    max_samples = DeepClusteringSeparator().max_samples
    k_means = KMeans(n_clusters=2, n_init=1, random_state=0)
    unused = Clusters(np.eye(2, EMBEDDING_DIM, dtype=np.float32), np.array([True, False]))

    def ours() -> np.ndarray:
        sample = embeddings[loud_bins(features, float(features.max()), max_samples)]
        fitted = fit_clusters(k_means, sample.numpy(), lambda _, means: means[:, 0], unused)
        return fitted.mask(embeddings).numpy()

    def reference() -> np.ndarray:
        found = k_means.fit(embeddings.numpy())
        return found.labels_ == np.argmax(found.cluster_centers_[:, 0])

    def agreement(a: np.ndarray, b: np.ndarray) -> dict[str, float]:
        return {"share of equal bins": float((a == b).mean())}

    work = Work(n_bytes=4.0 * embeddings.numel(), products=4.0 * embeddings.numel())
    return Jobs({"sksep": ours}, {"scikit-learn": reference}, work, agreement)


def clustering_loss(seconds: float, n_tracks: int) -> Jobs:
    """Deep clustering loss of one excerpt and its gradient."""
    embeddings, _, labels = _embeddings(seconds)
    embeddings = embeddings[None].requires_grad_()
    one_hot = torch.nn.functional.one_hot(labels, 2).float()[None]
    weights = torch.ones(1, len(labels))

    def ours() -> float:
        loss = deep_clustering(embeddings, one_hot, weights)
        torch.autograd.grad(loss, embeddings)
        return float(loss.detach())

    def reference() -> float:
        loss = asteroid_loss()(embeddings, labels.reshape(1, 1, -1)).mean()
        torch.autograd.grad(loss, embeddings)
        return float(loss.detach()) / len(labels)

    # Embeddings with themselves and with the labels, and twice as much for the gradient.
    work = Work(
        n_bytes=2 * 4.0 * embeddings.numel(),
        products=6.0 * embeddings.numel() * (EMBEDDING_DIM + 2),
    )
    return Jobs(
        {"sksep": ours},
        {"asteroid": reference},
        work,
        lambda a, b: {"relative difference": abs(a / b - 1.0)},
    )


def _embeddings(seconds: float) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Unit vectors of the bins of a track in two clusters, levels in dB, and the clusters."""
    features = MelChunker().transform([music(seconds)])[0].spectrogram.reshape(-1)
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(2, (len(features),), generator=generator)
    vectors = torch.randn(len(features), EMBEDDING_DIM, generator=generator).mul_(0.3)
    vectors[:, 0] += 2.0 * labels - 1.0
    return torch.nn.functional.normalize(vectors), torch.tensor(features), labels


def training(seconds: float, n_tracks: int) -> Jobs:
    """Training through fit beside a bare loop with the same module, batches and features.

    The ratio is a share of the throughput of the bare loop: less than 1.
    """
    mixture = music(seconds)
    batch = MelChunker(sample_rate=SAMPLE_RATE).fit_transform([mixture])
    batch = MaskBuilder().fit_transform(batch, [0.5 * mixture])
    separator = UNetSeparator(
        batch_size=8,
        max_epochs=1,
        validation_fraction=0.0,
        augmentation=False,
        precision="float32",
        random_state=0,
    )
    dataset = ExcerptDataset(batch)
    n_steps = -(-len(dataset) // separator.batch_size)
    n_bands = dataset.front_end.n_bands

    def reference() -> None:
        module = MaskEstimator(UNet(), torch.full((n_bands,), -50.0), torch.full((n_bands,), 20.0))
        module.to(memory_format=torch.channels_last)
        optimizer = torch.optim.RMSprop(module.parameters(), lr=1e-3)
        for indices in np.array_split(np.random.default_rng(0).permutation(len(dataset)), n_steps):
            stems, _ = dataset.__getitems__(list(indices))
            vocals, accompaniment = stems.unbind(dim=1)
            excerpts = Excerpts(vocals, accompaniment, dataset.front_end)
            loss = binary_cross_entropy(module(excerpts.features), excerpts)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    work = Work(n_bytes=2.0 * mixture.nbytes, products=None)
    return Jobs({"sksep": lambda: separator.fit(batch)}, {"a bare torch loop": reference}, work)


def separation(reference: str, seconds: float, n_tracks: int) -> Jobs:
    """From stereo songs to their vocals, waveform to waveform."""
    song = music(seconds, SONG_SAMPLE_RATE, 2)

    def of_each(separator: Callable[[], Callable[[np.ndarray], Any]]) -> Job:
        def separate() -> None:
            for _ in range(n_tracks):
                separator()(song)

        return separate

    return Jobs(
        {f"sksep: {name}": of_each(partial(_ours, name)) for name in _MODELS},
        {reference: of_each(open_unmix if reference == "Open-Unmix" else htdemucs)},
        Work(n_bytes=n_tracks * 3.0 * song.nbytes, products=None),
    )


# Name -> overlap of the chunks of an untrained U-Net, or None for a model that ships.
_MODELS = {
    "uhnet": None,
    "small": None,
    "U-Net, recommended": 0.5,
    "U-Net, chunks overlap by an eighth": 0.125,
}


@cache
def _ours(name: str) -> Callable[[np.ndarray], Any]:
    overlap = _MODELS[name]
    if overlap is None:
        pipeline = sksep.load_pretrained(name)
    else:
        # After one step, which makes it as fast as a trained one.
        songs = make_songs(1, 5.0, random_state=0)
        pipeline = unet_pipeline(
            chunk__overlap=overlap,
            separate__max_epochs=1,
            separate__excerpts_per_epoch=2,
            invert__n_iter=0,
        ).fit(songs.mixtures, songs.vocals)
    return lambda song: sksep.separate(song, pipeline, sample_rate=SONG_SAMPLE_RATE)


_REPORT, _RECOMMENDED = (1024, 128, 128), (2048, 512, 256)
COMPARISONS: dict[str, Comparison] = {
    "front end, 1024/128, 128 mels": Comparison(partial(front_end, *_REPORT)),
    "front end, 2048/512, 256 mels": Comparison(partial(front_end, *_RECOMMENDED)),
    "MelChunker, 1024/128, 128 mels": Comparison(partial(chunks, *_REPORT), takes_many=True),
    "MelChunker, 2048/512, 256 mels": Comparison(partial(chunks, *_RECOMMENDED), takes_many=True),
    "griffin-lim, 1024/128, 10 iterations": Comparison(
        partial(phase_reconstruction, 1024, 128, 10, 0.0)
    ),
    "griffin-lim, 2048/512, 10 iterations": Comparison(
        partial(phase_reconstruction, 2048, 512, 10, 0.0)
    ),
    "fast griffin-lim, 1024/128, 10 iterations": Comparison(
        partial(phase_reconstruction, 1024, 128, 10, 0.99)
    ),
    "bss_eval, two sources": Comparison(scores, takes_many=True),
    "bss_eval_frames, two sources, one second": Comparison(frame_scores),
    "K-means of embeddings, 1024/128, 128 mels": Comparison(clusters, longest=600.0),
    "deep clustering loss, 1024/128, 128 mels": Comparison(clustering_loss, longest=600.0),
    "training of a U-Net through fit, 1024/128, 128 mels": Comparison(training),
    "separation of stereo at 44.1 kHz": Comparison(
        partial(separation, "Open-Unmix"), takes_many=True
    ),
    # A turn of HTDemucs takes longer than the audio.
    "separation of stereo at 44.1 kHz, short": Comparison(
        partial(separation, "HTDemucs"),
        share=1 / 3,
        grows_with="separation of stereo at 44.1 kHz",
    ),
}
