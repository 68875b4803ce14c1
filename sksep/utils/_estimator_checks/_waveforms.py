"""Checks of estimators that predict waveforms: separators and inverters."""

from __future__ import annotations

from typing import Any

import numpy as np

from sksep.metrics import sdr
from sksep.utils._arrays import object_array
from sksep.utils._estimator_checks._case import EstimatorCase, assert_same, raises, songs


def check_predictions(case: EstimatorCase) -> None:
    assert isinstance(case.outputs, np.ndarray), "predict must return a 1-D object array."
    assert case.outputs.dtype == object
    assert case.outputs.shape == (len(songs()[0]),)
    for estimate, mixture in zip(case.outputs, songs()[0], strict=True):
        assert type(estimate) is np.ndarray
        assert estimate.dtype == np.float32
        assert estimate.shape == mixture.shape, "Estimates have the shape of their mixtures."
        assert np.isfinite(estimate).all()
        assert np.any(estimate)


def check_equal_lengths(case: EstimatorCase) -> None:
    """Estimates of equal length are an object array too, not a matrix."""
    tracks = np.stack([songs()[0][0][:4000], songs()[0][1][:4000]])
    inputs = case.prepare(tracks)
    estimates = case.fitted_to(inputs, list(tracks)).predict(inputs)
    assert estimates.dtype == object
    assert estimates.shape == (2,)
    assert estimates[0].shape == (4000,)


def check_odd_tracks(case: EstimatorCase) -> None:
    """Tracks may be silent, shorter than a chunk or a window, or have one channel as a row."""
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


def check_polarity(case: EstimatorCase) -> None:
    if case.estimator.get_params().get("init") == "random":
        return  # random phases do not follow the mixture
    if case.is_model:
        return  # networks of waveforms need not follow it
    mixtures, vocals = ([-track for track in tracks] for tracks in songs())
    inputs = case.prepare(mixtures)
    flipped = case.fitted_to(inputs, vocals).predict(inputs)
    assert_same(flipped, object_array([-estimate for estimate in case.outputs]), 1e-6)


def check_channels(case: EstimatorCase) -> None:
    """Swapped channels come back swapped, and two equal channels are separated alike.

    Models of waveforms may treat channels differently. But one channel is separated like the mean
    of two equal ones.
    """
    *_, stereo = songs()[0]
    if case.is_model:
        mono = songs()[0][0]
        doubled = case.fitted.predict([np.stack([mono, mono])])[0]
        np.testing.assert_allclose(doubled.mean(axis=0), case.outputs[0], atol=1e-6)
        return
    inputs = case.prepare([stereo[::-1]])
    swapped = case.fitted_to(inputs, [songs()[1][-1][::-1]]).predict(inputs)[0]
    np.testing.assert_allclose(swapped[::-1], case.outputs[-1], atol=1e-6)
    mono = songs()[0][0]
    inputs = case.prepare([np.stack([mono, mono])])
    doubled = case.fitted_to(inputs, [songs()[1][0]]).predict(inputs)[0]
    np.testing.assert_allclose(doubled, np.stack([case.outputs[0]] * 2), atol=1e-6)


def check_score(case: EstimatorCase) -> None:
    """The score is the mean SDR, weighted if weights are given."""
    vocals = songs()[1]
    values = [
        sdr(_mono(true), _mono(estimate))
        for true, estimate in zip(vocals, case.outputs, strict=True)
    ]
    score = case.fitted.score(case.inputs, vocals)
    assert isinstance(score, float)
    np.testing.assert_allclose(score, np.mean(values), rtol=0.0, atol=1e-6)
    for weights in ([1.0, 0.0, 3.0], np.array([2, 1, 1])):
        weighted = case.fitted.score(case.inputs, vocals, sample_weight=weights)
        expected = np.average(values, weights=weights)
        np.testing.assert_allclose(weighted, expected, rtol=0.0, atol=1e-6)


def check_score_of_other_vocals(case: EstimatorCase) -> None:
    vocals = songs()[1]
    with raises(ValueError, "one to one"):
        case.fitted.score(case.inputs, vocals[:2])
    with raises(ValueError, r"y\[0\] has 11999 samples"):
        case.fitted.score(case.inputs, [vocals[0][:-1], *vocals[1:]])


def _mono(waveform: Any) -> Any:
    return waveform.mean(axis=0) if waveform.ndim == 2 else waveform
