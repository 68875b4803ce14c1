"""Presets: their settings, and short trainings of their pipelines."""

import numpy as np
import pytest

from sksep import presets
from sksep.datasets import make_songs

PIPELINES = [
    presets.deep_clustering_pipeline,
    presets.hybrid_clustering_pipeline,
    presets.unet_pipeline,
    presets.uhnet_pipeline,
]
# Values that make any of them small, if it has the parameter.
SMALL = {
    "batch_size": 2,
    "depth": 2,
    "excerpts_per_epoch": 2,
    "hidden_size": 4,
    "max_epochs": 1,
    "n_filters": 2,
    "random_state": 0,
}


@pytest.mark.parametrize("preset", presets.PRESETS)
@pytest.mark.parametrize("make", PIPELINES, ids=lambda make: make.__name__)
def test_presets_train_and_predict(make, preset):
    songs = make_songs(2, duration=1.5, random_state=0)
    pipeline = make(preset, invert__n_iter=0)
    known = pipeline["separate"].get_params()
    pipeline["separate"].set_params(**{key: SMALL[key] for key in SMALL if key in known})
    estimates = pipeline.fit(songs.mixtures, songs.vocals).predict(songs.mixtures)
    assert estimates[0].shape == songs.mixtures[0].shape
    assert np.isfinite(estimates[0]).all()


@pytest.mark.parametrize("make", PIPELINES, ids=lambda make: make.__name__)
def test_the_report_is_what_the_estimators_default_to(make):
    pipeline = make("report")
    defaults = type(pipeline["separate"])().get_params()
    assert pipeline["separate"].get_params() == defaults
    chunker = pipeline["chunk"]
    assert (chunker.n_fft, chunker.hop_length, chunker.n_mels) == (1024, 128, 128)


@pytest.mark.parametrize("make", PIPELINES, ids=lambda make: make.__name__)
def test_presets_share_nothing(make):
    first, second = make("recommended"), make("recommended")
    first.set_params(separate__augmentation__true_pairs=0.9, separate__max_epochs=3)
    assert second["separate"].augmentation.true_pairs != 0.9
    assert make("recommended", separate__max_epochs=3)["separate"].max_epochs == 3


@pytest.mark.parametrize("make", PIPELINES, ids=lambda make: make.__name__)
def test_unknown_presets_are_refused(make):
    with pytest.raises(ValueError, match="preset"):
        make("best")
