"""Checks that every public estimator must pass: those of scikit-learn that need no data, and ours.

scikit-learn's `check_estimator` feeds 2-D arrays, and runs almost nothing on estimators of tracks.
Here its data-free checks are named one by one, and what it would have checked with data is
written again for waveforms that differ in length and channels.

A new estimator is found through ``__all__``. Its parameters that make it small and fast are taken
from `SMALL` where the names agree; further variants go into `VARIANTS`.
"""

from __future__ import annotations

import importlib
import inspect
import pickle
import pkgutil
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import torch
from sklearn.base import BaseEstimator, clone
from sklearn.cluster import KMeans
from sklearn.exceptions import NotFittedError
from sklearn.mixture import GaussianMixture
from sklearn.model_selection import train_test_split
from sklearn.utils import estimator_checks, get_tags
from sklearn.utils.validation import check_is_fitted
from skorch.callbacks import EarlyStopping
from torch import nn

import sksep
from sksep import GriffinLimInverter, MaskBuilder, MelChunker, ModuleSeparator, persistence
from sksep.base._batch import TrackBatch, TrackRecord
from sksep.base._separator import BaseSeparator
from sksep.base._targets import Targets
from sksep.datasets import make_songs
from sksep.metrics import sdr

SAMPLE_RATE = 8000

# Values of parameters that make any estimator that has them small, fast and reproducible.
SMALL: dict[str, Any] = {
    "batch_size": 16,
    "depth": 2,
    "device": "cpu",
    "embedding_dim": 3,
    "hidden_size": 4,
    "max_epochs": 1,
    "n_filters": 2,
    "n_layers": 1,
    "n_levels": 2,
    "random_state": 0,
}


class SmallNetwork(nn.Module):
    """A module of a user's own: one linear layer over the bands."""

    def __init__(self, n_bands: int) -> None:
        super().__init__()
        self.layer = nn.Linear(n_bands, n_bands)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """Logits of the shape of the features."""
        return self.layer(features)


# Parameters to check instead of none, by class name; an empty dict is the small default.
VARIANTS: dict[str, list[dict[str, Any]]] = {
    "DeepClusteringSeparator": [
        {},
        {"cluster_scope": "chunk", "n_convolutions": 2, "weights": None, "augmentation": False},
        {"loss": "whitened", "cell": "lstm", "clusterer": GaussianMixture(2), "soft_masks": True},
    ],
    "HybridClusteringSeparator": [
        {},
        {"output": "mask", "warm_start": True},
        {"permutation_invariant": True, "clusterer": KMeans(3, n_init=1)},
    ],
    "UHNetSeparator": [
        {},
        {"n_levels": 1, "loss": "snr", "skip": "add", "augmentation": False},
    ],
    "ModuleSeparator": [
        {"module_params": {"n_filters": 2, "n_levels": 2}},
        {"module": SmallNetwork, "loss": "snr", "warm_start": True},
    ],
    "GriffinLimInverter": [{"n_iter": 1}, {"n_iter": 1, "init": "random"}],
    "HPSSSeparator": [{"long_window": 0.5}],
    "NMFSeparator": [
        {"n_components": 4, "n_training_frames": 200, "max_iter": 10},
        {"n_components": 4, "n_context_frames": 1, "max_iter": 5, "block_duration": 0.5},
    ],
    "OracleMaskSeparator": [{}, {"kind": "binary"}, {"kind": "phase_sensitive"}],
    "RepetSimSeparator": [{}, {"block_duration": 0.5}],
    "RobustPCASeparator": [{}, {"mask": "binary", "block_duration": 0.5}],
    "UNetSeparator": [
        {},
        {"architecture": "singing_voice", "augmentation": False},
        {"architecture": "fully_convolutional"},
        {"skip": "add"},
        {"loss": "snr", "callbacks": [("stop", EarlyStopping("train_loss"))], "warm_start": True},
    ],
}
# Estimators by scikit-learn's base class only: they hold parameters and never see tracks.
PARAMETER_OBJECTS = ("Augmentation", "NSDRScorer", "WaveformCache")

SKLEARN_CHECKS = [
    estimator_checks.check_do_not_raise_errors_in_init_or_set_params,
    estimator_checks.check_estimator_cloneable,
    estimator_checks.check_estimator_repr,
    estimator_checks.check_estimator_tags_renamed,
    estimator_checks.check_get_params_invariance,
    estimator_checks.check_mixin_order,
    estimator_checks.check_no_attributes_set_in_init,
    estimator_checks.check_parameters_default_constructible,
    estimator_checks.check_set_params,
    estimator_checks.check_valid_tag_types,
]


def public_estimators() -> dict[str, type[BaseEstimator]]:
    """Every class with scikit-learn's interface that a public module names in `__all__`."""
    modules = [sksep.__name__]
    modules += [info.name for info in pkgutil.walk_packages(sksep.__path__, "sksep.")]
    found = {}
    for module_name in modules:
        if "._" in module_name:
            continue
        module = importlib.import_module(module_name)
        for name in getattr(module, "__all__", ()):
            value = getattr(module, name)
            is_class = inspect.isclass(value) and not inspect.isabstract(value)
            if is_class and issubclass(value, BaseEstimator):
                found[name] = value
    return dict(sorted(found.items()))


def cases_of(estimator_class: type[BaseEstimator]) -> Iterator[Case]:
    """Small and fast instances of one class, to be checked."""
    name = estimator_class.__name__
    parameters = estimator_class().get_params(deep=False)
    small = {key: value for key, value in SMALL.items() if key in parameters}
    for variant in VARIANTS.get(name, [{}]):
        label = "-".join([name, *variant])
        yield Case(estimator_class(**{**small, **variant}), label)


@cache
def songs() -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Mixtures and vocals that differ in length; the last one is stereo."""
    bunch = make_songs(3, 1.5, sample_rate=SAMPLE_RATE, n_channels=2, random_state=0)
    lengths = (12000, 9001, 10240)
    mixtures, vocals = (
        [track[:, :length] for track, length in zip(tracks, lengths, strict=True)]
        for tracks in (bunch.mixtures, bunch.vocals)
    )
    mono = [[track.mean(axis=0) for track in tracks[:2]] for tracks in (mixtures, vocals)]
    return [*mono[0], mixtures[2]], [*mono[1], vocals[2]]


def chunker() -> MelChunker:
    """A small front end."""
    return MelChunker(sample_rate=SAMPLE_RATE, n_fft=256, hop_length=64, n_mels=32, n_frames=16)


@dataclass
class Case:
    """One estimator under checks, with the inputs that it takes.

    Attributes
    ----------
    estimator : BaseEstimator
        Unfitted; checks work on clones of it.
    label : str
        Names the test.
    """

    estimator: BaseEstimator
    label: str

    @property
    def name(self) -> str:
        return type(self.estimator).__name__

    @property
    def separates(self) -> bool:
        return hasattr(self.estimator, "predict_mask")

    @property
    def predicts(self) -> bool:
        return hasattr(self.estimator, "predict")

    @property
    def takes_tracks(self) -> bool:
        return isinstance(self.estimator, MelChunker)

    @property
    def learns(self) -> bool:
        """Whether it is of no use before `fit`."""
        return self.separates

    def prepare(self, tracks: list[Any]) -> Any:
        """What the estimator takes at predict time, of raw tracks."""
        if self.takes_tracks:
            return tracks
        batch = chunker().transform(tracks)
        if isinstance(self.estimator, GriffinLimInverter):
            batch = batch.with_masks(
                np.clip(record.spectrogram / 80.0 + 1.0, 0.0, 1.0) for record in batch
            )
        return batch

    @cached_property
    def inputs(self) -> Any:
        return self.prepare(songs()[0])

    @cached_property
    def training_inputs(self) -> Any:
        if self.separates:
            return MaskBuilder().fit_transform(self.inputs, songs()[1])
        return self.inputs

    @cached_property
    def fitted(self) -> Any:
        """Fitted once; checks must not change it."""
        return self.fit_clone()

    @cached_property
    def outputs(self) -> Any:
        """What `fitted` makes of `inputs`."""
        return self.apply(self.fitted, self.inputs)

    def fit_clone(self) -> Any:
        return clone(self.estimator).fit(self.training_inputs, songs()[1])

    @property
    def needs_targets(self) -> bool:
        """Whether it cannot be fitted without the truth."""
        return hasattr(self.fitted, "net_") or self.remembers_truth

    @property
    def remembers_truth(self) -> bool:
        """Whether it is an oracle, which separates no tracks but those that it was fitted to."""
        return hasattr(self.fitted, "truth_")

    def fitted_to(self, inputs: Any, vocals: list[Any]) -> Any:
        """`fitted`, or where that would not know the truth of these tracks, one that does."""
        if not self.remembers_truth:
            return self.fitted
        return clone(self.estimator).fit(MaskBuilder().fit_transform(inputs, vocals))

    def apply(self, estimator: Any, inputs: Any) -> Any:
        return estimator.predict(inputs) if self.predicts else estimator.transform(inputs)

    def methods(self, *names: str) -> Iterator[Callable[[Any], Any]]:
        """Those methods of the fitted estimator that it has, as functions of X."""
        for name in names:
            if name == "fit":
                yield lambda X: clone(self.estimator).fit(X, songs()[1])
            elif name == "score" and hasattr(self.fitted, name):
                yield lambda X: self.fitted.score(X, songs()[1])
            elif hasattr(self.fitted, name):
                yield getattr(self.fitted, name)


def assert_same(first: Any, second: Any, tolerance: float = 0.0) -> None:
    """Assert that two outputs of estimators agree: batches, or collections of waveforms."""
    assert type(first) is type(second)
    assert len(first) == len(second)
    for one, other in zip(first, second, strict=True):
        if isinstance(one, TrackRecord):
            for name in ("waveform", "spectrogram", "mask"):
                if getattr(one, name) is None:
                    assert getattr(other, name) is None
                else:
                    _assert_arrays(getattr(one, name), getattr(other, name), tolerance)
            assert (one.targets is None) == (other.targets is None)
        else:
            _assert_arrays(one, other, tolerance)


def fingerprint(parameters: dict[str, Any]) -> dict[str, str]:
    """Hashes of the contents of parameters."""
    return {name: joblib.hash(value) for name, value in parameters.items()}


def _assert_arrays(first: np.ndarray, second: np.ndarray, tolerance: float) -> None:
    assert first.dtype == second.dtype
    np.testing.assert_allclose(first, second, rtol=0.0, atol=tolerance)


# Of every estimator and parameter object, without data.


def check_sklearn(case: Case) -> None:
    for check in SKLEARN_CHECKS:
        # By default and as configured: nothing here trains.
        for estimator in (type(case.estimator)(), case.estimator):
            check(case.name, estimator)


def check_clone(case: Case) -> None:
    copy = clone(case.estimator)
    assert copy is not case.estimator
    assert fingerprint(copy.get_params()) == fingerprint(case.estimator.get_params())


def check_html_repr(case: Case) -> None:
    assert case.name in case.estimator._repr_html_()
    assert case.name in repr(case.estimator)


def check_doc_lists_parameters_in_order(case: Case) -> None:
    init = type(case.estimator).__init__
    parameters = [] if init is object.__init__ else inspect.signature(init).parameters
    names = [name for name in parameters if name != "self"]
    doc = inspect.getdoc(type(case.estimator)) or ""
    section = doc.partition("Parameters\n----------\n")[2].split("\n\n")[0]
    documented = [
        name.strip()
        for line in section.splitlines()
        if " : " in line and not line.startswith(" ")
        for name in line.partition(" : ")[0].split(",")
    ]
    assert documented == names


# Of every estimator of tracks.


def check_tags(case: Case) -> None:
    tags = get_tags(case.estimator)
    assert not tags.input_tags.two_d_array
    assert tags.input_tags.string == case.takes_tracks
    assert tags.target_tags.required == isinstance(case.estimator, MaskBuilder)
    assert tags.transformer_tags is not None
    assert tags.estimator_type is None
    if case.learns:
        assert tags.requires_fit


def check_y_comes_second(case: Case) -> None:
    for name in ("fit", "fit_transform", "partial_fit", "score"):
        if hasattr(case.estimator, name):
            parameters = list(inspect.signature(getattr(case.estimator, name)).parameters)
            assert parameters[:2] == ["X", "y"], name


def check_fit_returns_self(case: Case) -> None:
    estimator = clone(case.estimator)
    assert estimator.fit(case.training_inputs, songs()[1]) is estimator
    check_is_fitted(estimator)


def check_parameters_are_not_changed(case: Case) -> None:
    estimator = clone(case.estimator)
    before = fingerprint(estimator.get_params())
    estimator.fit(case.training_inputs, songs()[1])
    assert fingerprint(estimator.get_params()) == before
    case.apply(estimator, case.inputs)
    assert fingerprint(estimator.get_params()) == before


def check_predicting_changes_nothing(case: Case) -> None:
    before = pickle.dumps(case.fitted)
    case.apply(case.fitted, case.inputs)
    case.fitted.transform(case.inputs)
    assert pickle.dumps(case.fitted) == before


def check_fitted_attributes_end_in_underscore(case: Case) -> None:
    added = set(vars(case.fitted)) - set(case.fitted.get_params(deep=False))
    assert [name for name in added if not name.endswith("_") or name.startswith("_")] == []


def check_unfitted(case: Case) -> None:
    unfitted = clone(case.estimator)
    if not case.learns:
        # What learns nothing is of use at once.
        assert_same(unfitted.transform(case.inputs), case.fitted.transform(case.inputs))
        return
    for name in ("transform", "predict", "predict_mask"):
        with pytest.raises(NotFittedError, match=case.name):
            getattr(unfitted, name)(case.inputs)
    with pytest.raises(NotFittedError, match=case.name):
        unfitted.score(case.inputs, songs()[1])
    with pytest.raises(NotFittedError, match=case.name):
        check_is_fitted(unfitted)


def check_collections(case: Case) -> None:
    """Batches, and what scikit-learn's indexing makes of them: lists of records."""
    if case.takes_tracks:
        containers = [tuple(case.inputs), _object_array(case.inputs)]
    else:
        records = list(case.inputs)
        containers = [records, tuple(records), _object_array(records)]
    for container in containers:
        assert_same(case.apply(case.fitted, container), case.outputs)
    picked, rest = train_test_split(case.inputs, shuffle=False, train_size=2)
    assert_same(case.apply(case.fitted, picked), case.outputs[:2])
    assert_same(case.apply(case.fitted, rest), case.outputs[2:])
    assert_same(case.apply(case.fitted, case.inputs[1:2]), case.outputs[1:2])


def check_raw_tracks(case: Case) -> None:
    if case.takes_tracks:
        return
    paths = ["song.wav"] * len(songs()[0])
    for X in (songs()[0], songs()[0][0], paths, np.array(paths), paths[0], None):
        for method in case.methods("fit", "transform", "predict", "predict_mask", "score"):
            with pytest.raises(TypeError, match="MelChunker"):
                method(X)


def check_no_tracks(case: Case) -> None:
    names = ("transform", "predict", "predict_mask", "score")
    for X in ([], () if case.takes_tracks else TrackBatch([])):
        for method in case.methods(*names) if case.takes_tracks else case.methods("fit", *names):
            with pytest.raises(ValueError, match="no tracks"):
                method(X)


def check_other_front_ends_are_not_mixed(case: Case) -> None:
    if case.takes_tracks:
        return
    other = chunker().set_params(n_mels=30).transform(songs()[0])
    if isinstance(case.estimator, GriffinLimInverter):
        other = other.with_masks(np.ones_like(record.spectrogram) for record in other)
    with pytest.raises(ValueError, match="different MelChunker settings"):
        case.fitted.transform([case.inputs[0], other[1]])
    # Those that tests define may do less.
    if case.separates and type(case.estimator).__module__.startswith("sksep."):
        with pytest.raises(ValueError, match="other MelChunker settings"):
            case.fitted.transform(other)


def check_inputs_are_not_changed(case: Case) -> None:
    mixtures, vocals = ([track.copy() for track in tracks] for tracks in songs())
    inputs = case.prepare(mixtures)
    training = MaskBuilder().fit_transform(inputs, vocals) if case.separates else inputs
    before = joblib.hash((mixtures, vocals, inputs, training))
    estimator = clone(case.estimator).fit(training, vocals)
    estimator.transform(inputs)
    if case.predicts:
        estimator.predict(inputs)
        estimator.score(inputs, vocals)
    assert joblib.hash((mixtures, vocals, inputs, training)) == before
    # Nor are they locked: the arrays stay the caller's.
    assert all(track.flags.writeable for track in mixtures + vocals)


def check_inputs_may_be_read_only(case: Case) -> None:
    """As workers of joblib get them: memory-mapped."""
    with tempfile.TemporaryDirectory() as folder:
        mapped = []
        for index, track in enumerate(songs()[0]):
            path = Path(folder) / f"{index}.npy"
            np.save(path, track)
            mapped.append(np.load(path, mmap_mode="r"))
        assert_same(case.apply(case.fitted, case.prepare(mapped)), case.outputs)
        del mapped


def check_what_travels_is_read_only(case: Case) -> None:
    """Batches are immutable, also after the pickling that caches and workers do."""
    if isinstance(case.estimator, GriffinLimInverter):
        return
    batch = case.fitted.transform(case.inputs)
    if isinstance(case.estimator, MaskBuilder):
        batch = case.fitted.fit_transform(case.inputs, songs()[1])
    for container in (batch, pickle.loads(pickle.dumps(batch)), batch[:2], [batch[0]]):
        for record in container:
            for array in _arrays_of(record):
                assert array.flags.c_contiguous
                with pytest.raises(ValueError, match="read-only"):
                    array[...] = 0
    for name in ("shape", "iloc", "fit", "dtype", "__array__"):
        assert not hasattr(batch, name)


def check_pickles_predict_the_same(case: Case) -> None:
    assert_same(case.apply(pickle.loads(pickle.dumps(case.fitted)), case.inputs), case.outputs)
    with tempfile.TemporaryDirectory() as folder:
        joblib.dump(case.fitted, Path(folder) / "estimator.joblib")
        restored = joblib.load(Path(folder) / "estimator.joblib")
    assert_same(case.apply(restored, case.inputs), case.outputs)


def check_saved_predicts_the_same(case: Case) -> None:
    if isinstance(case.estimator, ModuleSeparator):
        with pytest.raises(ValueError, match="holds no code"):
            persistence.save(case.fitted, "estimator.safetensors")
        return
    with tempfile.TemporaryDirectory() as folder:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "The file does not hold callbacks", UserWarning)
            persistence.save(case.fitted, Path(folder) / "estimator.safetensors")
        restored = persistence.load(Path(folder) / "estimator.safetensors")
    assert type(restored) is type(case.estimator)
    assert_same(case.apply(restored, case.inputs), case.outputs)


def check_fitting_again_predicts_the_same(case: Case) -> None:
    """With an integer as random state, whatever numpy and torch drew before."""
    again = case.fit_clone()
    assert_same(case.apply(again, case.inputs), case.outputs)
    assert_same(case.apply(clone(again).fit(case.training_inputs), case.inputs), case.outputs)


def check_global_random_states_are_left_alone(case: Case) -> None:
    before = torch.get_rng_state(), joblib.hash(np.random.get_state())  # noqa: NPY002
    case.apply(case.fit_clone(), case.inputs)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert joblib.hash(np.random.get_state()) == before[1]  # noqa: NPY002


def check_one_by_one(case: Case) -> None:
    """Tracks do not know of each other: one by one, or in another order, they come out alike."""
    parts = [case.apply(case.fitted, case.inputs[i : i + 1])[0] for i in range(len(case.inputs))]
    assert_same(parts, list(case.outputs))
    assert_same(list(case.apply(case.fitted, case.inputs[::-1])), list(case.outputs)[::-1])


# Of separators and the inverter: what predicts waveforms.


def check_predictions(case: Case) -> None:
    assert isinstance(case.outputs, np.ndarray)
    assert case.outputs.dtype == object
    assert case.outputs.shape == (len(songs()[0]),)
    for estimate, mixture in zip(case.outputs, songs()[0], strict=True):
        assert type(estimate) is np.ndarray
        assert estimate.dtype == np.float32
        assert estimate.shape == mixture.shape
        assert np.isfinite(estimate).all()
        assert np.any(estimate)


def check_equal_lengths(case: Case) -> None:
    """Tracks of one length come as an object array too, not as a matrix."""
    tracks = np.stack([songs()[0][0][:4000], songs()[0][1][:4000]])
    inputs = case.prepare(tracks)
    estimates = case.fitted_to(inputs, list(tracks)).predict(inputs)
    assert estimates.dtype == object
    assert estimates.shape == (2,)
    assert estimates[0].shape == (4000,)


def check_odd_tracks(case: Case) -> None:
    """One sample, less than a window, less than a chunk, silence, one channel in two dimensions."""
    song = songs()[0][0]
    tracks = [
        song[:1],
        song[:100],
        song[:1000],
        np.zeros(3000),
        np.zeros((2, 500), np.float32),
        song[None, :3000],
        (song[:3000] * 32767).astype(np.int16),
        song[:3000].astype(np.float64),
        song[::-1],
    ]
    inputs = case.prepare(tracks)
    fitted = case.fitted_to(inputs, tracks)
    for estimate, track in zip(fitted.predict(inputs), tracks, strict=True):
        assert estimate.shape == track.shape
        assert estimate.dtype == np.float32
        assert np.isfinite(estimate).all()
        if not track.any():
            assert not estimate.any()
    if case.separates:
        for mask, record in zip(fitted.predict_mask(inputs), inputs, strict=True):
            assert mask.shape == record.spectrogram.shape
            assert np.isfinite(mask).all()


def check_polarity(case: Case) -> None:
    if case.estimator.get_params().get("init") == "random":
        return  # random phases do not follow the mixture
    mixtures, vocals = ([-track for track in tracks] for tracks in songs())
    inputs = case.prepare(mixtures)
    flipped = case.fitted_to(inputs, vocals).predict(inputs)
    assert_same(flipped, _object_array([-estimate for estimate in case.outputs]), 1e-6)


def check_channels(case: Case) -> None:
    """Swapped channels come back swapped; a track on two equal channels is the track, twice."""
    *_, stereo = songs()[0]
    inputs = case.prepare([stereo[::-1]])
    swapped = case.fitted_to(inputs, [songs()[1][-1][::-1]]).predict(inputs)[0]
    np.testing.assert_allclose(swapped[::-1], case.outputs[-1], atol=1e-6)
    mono = songs()[0][0]
    inputs = case.prepare([np.stack([mono, mono])])
    doubled = case.fitted_to(inputs, [songs()[1][0]]).predict(inputs)[0]
    np.testing.assert_allclose(doubled, np.stack([case.outputs[0]] * 2), atol=1e-6)


def check_score(case: Case) -> None:
    vocals = songs()[1]
    values = [
        sdr(true.mean(axis=0) if true.ndim == 2 else true, _mono(estimate))
        for true, estimate in zip(vocals, case.outputs, strict=True)
    ]
    score = case.fitted.score(case.inputs, vocals)
    assert isinstance(score, float)
    assert score == pytest.approx(np.mean(values), abs=1e-6)
    for weights in ([1.0, 0.0, 3.0], np.array([2, 1, 1])):
        weighted = case.fitted.score(case.inputs, vocals, sample_weight=weights)
        assert weighted == pytest.approx(np.average(values, weights=weights), abs=1e-6)


def check_score_of_other_vocals(case: Case) -> None:
    vocals = songs()[1]
    with pytest.raises(ValueError, match="one to one"):
        case.fitted.score(case.inputs, vocals[:2])
    with pytest.raises(ValueError, match=r"y\[0\] has 11999 samples"):
        case.fitted.score(case.inputs, [vocals[0][:-1], *vocals[1:]])


# Of separators.


def check_masks(case: Case) -> None:
    masks = case.fitted.predict_mask(case.inputs)
    assert masks.dtype == object
    assert masks.shape == (len(case.inputs),)
    for mask, record in zip(masks, case.inputs, strict=True):
        assert mask.shape == record.spectrogram.shape
        assert mask.dtype == np.float32
        assert mask.min() >= 0.0
        assert mask.max() <= 1.0


def check_transform_attaches_the_masks(case: Case) -> None:
    batch = case.fitted.transform(case.inputs)
    assert isinstance(batch, TrackBatch)
    assert_same([record.mask for record in batch], list(case.fitted.predict_mask(case.inputs)))
    for before, after in zip(case.inputs, batch, strict=True):
        assert before.mask is None
        assert after.track is before.track
        assert np.shares_memory(after.spectrogram, before.spectrogram)


def check_inverter_without_iterations_changes_nothing(case: Case) -> None:
    inverter = GriffinLimInverter(n_iter=0).fit(case.inputs)
    assert_same(inverter.predict(case.fitted.transform(case.inputs)), case.outputs)


def check_truth_is_not_used_when_predicting(case: Case) -> None:
    """Targets that are still attached do not show in the estimates."""
    assert_same(case.fitted.predict(case.training_inputs), case.outputs)


def check_targets_are_asked_for(case: Case) -> None:
    if not case.needs_targets:
        return
    with pytest.raises(ValueError, match="MaskBuilder"):
        clone(case.estimator).fit(case.inputs, songs()[1])


def _mono(waveform: np.ndarray) -> np.ndarray:
    return waveform.mean(axis=0) if waveform.ndim == 2 else waveform


def _object_array(items: Any) -> np.ndarray:
    array = np.empty(len(items), dtype=object)
    for index, item in enumerate(items):
        array[index] = item
    return array


def _arrays_of(record: TrackRecord | Targets) -> Iterator[np.ndarray]:
    for field in fields(record):
        value = getattr(record, field.name)
        if isinstance(value, np.ndarray):
            yield value
        elif isinstance(value, Targets):
            yield from _arrays_of(value)


_DATA_FREE = [
    check_sklearn,
    check_clone,
    check_html_repr,
    check_doc_lists_parameters_in_order,
]
_OF_ESTIMATORS = [
    check_tags,
    check_y_comes_second,
    check_fit_returns_self,
    check_parameters_are_not_changed,
    check_predicting_changes_nothing,
    check_fitted_attributes_end_in_underscore,
    check_unfitted,
    check_collections,
    check_raw_tracks,
    check_no_tracks,
    check_other_front_ends_are_not_mixed,
    check_inputs_are_not_changed,
    check_inputs_may_be_read_only,
    check_what_travels_is_read_only,
    check_pickles_predict_the_same,
    check_saved_predicts_the_same,
    check_fitting_again_predicts_the_same,
    check_global_random_states_are_left_alone,
    check_one_by_one,
]
_OF_PREDICTORS = [
    check_predictions,
    check_equal_lengths,
    check_odd_tracks,
    check_polarity,
    check_channels,
    check_score,
    check_score_of_other_vocals,
]
_OF_SEPARATORS = [
    check_masks,
    check_transform_attaches_the_masks,
    check_inverter_without_iterations_changes_nothing,
    check_truth_is_not_used_when_predicting,
    check_targets_are_asked_for,
]


def checks_of(case: Case) -> list[Callable[[Case], None]]:
    """The checks that apply to an estimator."""
    if case.name in PARAMETER_OBJECTS:
        return _DATA_FREE
    checks = _DATA_FREE + _OF_ESTIMATORS
    if case.predicts:
        checks = checks + _OF_PREDICTORS
    if case.separates:
        assert isinstance(case.estimator, BaseSeparator)
        checks = checks + _OF_SEPARATORS
    return checks
