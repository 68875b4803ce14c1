"""ModuleSeparator: modules that users write."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from helpers import assert_same_fit, levels_of
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from torch import Tensor, nn

from sksep import MaskBuilder, MelChunker, ModuleSeparator, UNetSeparator
from sksep.nn.unet import UNet

_SMALL = {"max_epochs": 1, "batch_size": 4, "random_state": 0, "device": "cpu"}


class PerBand(nn.Module):
    """A gain and an offset for each band."""

    def __init__(self, n_bands: int, start: float = 0.0) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.full((n_bands,), start))
        self.offset = nn.Parameter(torch.zeros(n_bands))

    def forward(self, features: Tensor) -> Tensor:
        return self.gain * features + self.offset


def sized(n_frames: int, n_bands: int, seen: list[tuple[int, int]]) -> nn.Module:
    seen.append((n_frames, n_bands))
    return PerBand(n_bands)


class Returns(nn.Module):
    """Return the result of a function of the features."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.function = function

    def forward(self, features: Tensor) -> Any:
        return self.function(self.scale * features)


def test_the_module_is_built_and_trained(batch: Any) -> None:
    separator = ModuleSeparator(
        PerBand, module_params={"start": 0.5}, validation_fraction=0.0, **_SMALL
    )
    network = separator.fit(batch).net_.module_.network
    assert isinstance(network, PerBand)
    assert network.gain.shape == (24,)
    assert not torch.equal(network.gain, torch.full((24,), 0.5))
    module = separator.net_.module_
    chunks = batch[0].chunks
    # The first chunk is the loudest so far, so that it has the level of training.
    chunk = torch.tensor(chunks[:1] + np.float32(separator.level_ - levels_of(chunks)[0]))
    normalized = (chunk - module.mean) / module.scale
    expected = torch.sigmoid(network.gain * normalized + network.offset)
    mask = separator.predict_mask(batch)[0]
    # Until the next chunk begins, the mask of the track is that of the first chunk.
    step = batch[0].front_end.chunk_step
    np.testing.assert_allclose(mask[:step], expected[0, :step].detach(), atol=1e-5)


def test_it_is_the_u_net_with_its_module(batch: Any) -> None:
    u_net = UNetSeparator(n_filters=2, n_levels=2, dropout=0.1, **_SMALL).fit(batch)
    same = ModuleSeparator(
        UNet, module_params={"n_filters": 2, "n_levels": 2, "dropout": 0.1}, **_SMALL
    )
    assert_same_fit(same.fit(batch), u_net, batch)


def test_training_pays(songs: Any) -> None:
    pipeline = make_pipeline(
        MelChunker(n_fft=1024, hop_length=256, n_mels=64, n_frames=32),
        MaskBuilder(),
        ModuleSeparator(PerBand, loss="snr", **{**_SMALL, "max_epochs": 20, "lr": 0.05}),
    )
    trained = pipeline.fit(songs.mixtures, songs.vocals).score(songs.mixtures, songs.vocals)
    pipeline.set_params(moduleseparator__max_epochs=1, moduleseparator__lr=1e-9)
    untrained = pipeline.fit(songs.mixtures, songs.vocals).score(songs.mixtures, songs.vocals)
    assert trained > untrained + 0.5


def test_sizes_reach_a_function_that_names_them(batch: Any) -> None:
    seen: list[tuple[int, int]] = []
    ModuleSeparator(lambda n_frames, n_bands: sized(n_frames, n_bands, seen), **_SMALL).fit(batch)
    assert set(seen) == {(20, 24)}


def test_parameters_of_the_module_win_over_the_sizes(batch: Any) -> None:
    separator = ModuleSeparator(PerBand, module_params={"n_bands": 1}, **_SMALL).fit(batch)
    assert separator.net_.module_.network.gain.shape == (1,)


def test_searches_vary_the_parameters(songs: Any) -> None:
    pipeline = make_pipeline(
        MelChunker(n_fft=512, n_mels=24, n_frames=20), MaskBuilder(), ModuleSeparator(PerBand)
    ).set_params(**{f"moduleseparator__{name}": value for name, value in _SMALL.items()})
    grid = {"moduleseparator__module_params": [{"start": 0.0}, {"start": 1.0}]}
    search = GridSearchCV(pipeline, grid, cv=3).fit(songs.mixtures, songs.vocals)
    scores = search.cv_results_["mean_test_score"]
    assert np.isfinite(scores).all()
    assert scores[0] != scores[1]


def test_clone_keeps_the_class_and_fit_changes_nothing(batch: Any) -> None:
    parameters = {"start": 0.5}
    separator = ModuleSeparator(PerBand, module_params=parameters, **_SMALL)
    assert clone(separator).module is PerBand
    separator.fit(batch)
    assert separator.module is PerBand
    assert separator.module_params is parameters
    assert parameters == {"start": 0.5}


@pytest.mark.parametrize(
    ("module", "error", "message"),
    [
        (nn.Conv2d(1, 1, 1), TypeError, "already built"),
        ("unet", TypeError, "class or function"),
        (None, TypeError, "class or function"),
        (lambda: {}, TypeError, "must return a torch module"),
        (nn.Identity, ValueError, "no parameters to train"),
        (lambda: Returns(lambda x: x[:, :, 1:]), ValueError, r"shape \(4, 1, 20, 24\).*returned"),
        (lambda: Returns(lambda x: x.expand(-1, 2, -1, -1)), ValueError, "Returns returned"),
        (lambda: Returns(lambda x: x.squeeze(1)), ValueError, "Returns returned"),
        (lambda: Returns(lambda x: (x, x)), ValueError, "Returns returned tuple"),
    ],
    ids=[
        "instance",
        "text",
        "none",
        "no module",
        "no parameters",
        "short",
        "two channels",
        "flat",
        "tuple",
    ],
)
def test_bad_modules(batch: Any, module: Any, error: type[Exception], message: str) -> None:
    separator = ModuleSeparator(module, **{**_SMALL, "excerpts_per_epoch": 4})
    with pytest.raises(error, match=message):
        separator.fit(batch)
    assert not hasattr(separator, "net_")


def test_bad_parameters_of_modules(batch: Any) -> None:
    with pytest.raises(TypeError, match="module_params must be a dict"):
        ModuleSeparator(PerBand, module_params=[4], **_SMALL).fit(batch)
