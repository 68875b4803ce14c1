"""Small things that several test files share; fixtures are in conftest.py."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from sklearn.pipeline import Pipeline
from skorch.callbacks import Callback

from sksep import (
    Augmentation,
    DeepClusteringSeparator,
    GriffinLimInverter,
    HybridClusteringSeparator,
    MaskBuilder,
    MelChunker,
    ModuleSeparator,
    UHNetSeparator,
    UNetSeparator,
)
from sksep.datasets import make_songs
from sksep.utils._estimator_checks._case import assert_same

__all__ = [
    "Crash",
    "Stop",
    "assert_gradients",
    "assert_same",
    "assert_same_fit",
    "features",
    "fit_preset",
    "four_steps",
    "levels_of",
    "noise",
    "small",
    "weights",
]

_SIZES: dict[type, dict[str, Any]] = {
    UNetSeparator: {"n_filters": 2, "n_levels": 2},
    UHNetSeparator: {"n_filters": 2, "depth": 2, "hidden_size": 4, "n_layers": 1},
    DeepClusteringSeparator: {"hidden_size": 4, "n_layers": 1},
    HybridClusteringSeparator: {"hidden_size": 4, "n_layers": 1},
    ModuleSeparator: {"module_params": {"n_filters": 2, "n_levels": 2}},
}


def noise(*shape: int, seed: int = 0, level: float = 0.1, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, level, shape).astype(dtype)


def features(*shape: int, seed: int = 1) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def levels_of(chunks: np.ndarray) -> np.ndarray:
    """Mean power in dB of the sounding frames of chunks (n_chunks, n_frames, n_bands) in dB."""
    power = 10.0 ** (chunks.astype(np.float64) / 10.0)
    n_sounding = (chunks.max(axis=2) > -100.0).sum(axis=1)
    return 10.0 * np.log10(power.mean(axis=2).sum(axis=1) / n_sounding)


def assert_gradients(network: torch.nn.Module) -> None:
    """Assert that a gradient has reached every parameter."""
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.abs().max() > 0, name


def small(kind: type = UNetSeparator, **parameters: Any) -> Any:
    """A separator that is trained in no time."""
    training = {"batch_size": 4, "device": "cpu", "random_state": 0}
    return kind(**{**_SIZES[kind], **training, **parameters})


def four_steps(memory: Any = None, **parameters: Any) -> Pipeline:
    """A pipeline for tracks at 8 kHz that is trained in no time."""
    steps = [
        (
            "chunk",
            MelChunker(sample_rate=8000, n_fft=256, hop_length=64, n_mels=24, n_frames=16),
        ),
        ("mask", MaskBuilder()),
        ("separate", small(batch_size=16, max_epochs=1, augmentation=Augmentation())),
        ("invert", GriffinLimInverter(n_iter=1)),
    ]
    return Pipeline(steps, memory=memory).set_params(**parameters)


def fit_preset(make: Any, **parameters: Any) -> Pipeline:
    """A recommended pipeline, trained with the fewest filters for one epoch."""
    songs = make_songs(2, duration=4.0, random_state=0)
    pipeline = make(
        "recommended",
        separate__n_filters=2,
        separate__max_epochs=1,
        separate__excerpts_per_epoch=8,
        separate__validation_fraction=0.0,
        separate__random_state=0,
        **parameters,
    )
    return pipeline.fit(songs.mixtures, songs.vocals)


def weights(separator: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in separator.net_.module_.state_dict().items()}


def assert_same_fit(separator: Any, expected: Any, batch: Any) -> None:
    """Assert that two trainings have the same losses, weights and estimates, to the last bit."""
    assert separator.loss_curve_ == expected.loss_curve_
    assert separator.validation_loss_curve_ == expected.validation_loss_curve_
    assert separator.n_epochs_ == expected.n_epochs_
    found = weights(separator)
    for name, tensor in weights(expected).items():
        assert torch.equal(found[name], tensor), name
    assert_same(separator.predict_mask(batch), expected.predict_mask(batch))


class Crash(Exception):
    """As if the power had failed."""


class Stop(Callback):
    """Ends the training by an error, in the first batch after some epochs."""

    def __init__(self, after: int, error: type[BaseException] = Crash) -> None:
        self.after = after
        self.error = error

    def on_batch_end(self, net: Any, training: bool = False, **kwargs: Any) -> None:
        if training and len(net.history) > self.after:
            raise self.error
