import warnings

import mir_eval.separation
import numpy as np
import pytest
import scipy.signal
import soundfile

from sksep.metrics import bss_eval, bss_eval_frames, sdr

# Ratios above this are rounding errors in any implementation: differences of equal numbers.
ROUNDING_DB = 130


def noise(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def assert_same_decibels(actual, expected, tolerance=1e-3):
    """Assert that both are equal within the tolerance, or too high to be measured."""
    actual, expected = (np.minimum(values, ROUNDING_DB) for values in (actual, expected))
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance)


def assert_matches_mir_eval(references, estimates, compute_permutation=False):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # deprecated in mir_eval 0.8
        expected = mir_eval.separation.bss_eval_sources(
            references, estimates, compute_permutation=compute_permutation
        )
    scores = bss_eval(references, estimates, compute_permutation=compute_permutation)
    for actual, values in zip(scores[:3], expected[:3], strict=True):
        assert_same_decibels(actual, values)
    np.testing.assert_array_equal(scores.permutation, expected[3])
    return scores


def made_up_cases():
    sources, disturbance = noise(2, 6000), noise(2, 6000, seed=1)
    three = noise(3, 4000)
    melody = np.sin(2 * np.pi * np.array([[440.0], [660.0]]) * np.arange(6000) / 16000)
    leaking = sources + 0.3 * sources[::-1]
    return {
        "leaking and noisy": (sources, leaking + 0.1 * disturbance),
        "mixture as estimate": (sources, np.stack([sources.sum(0)] * 2) + 0.01 * disturbance),
        "near identical, 40 dB": (sources, sources + 1e-2 * disturbance),
        "near identical, 100 dB": (sources, sources + 1e-5 * disturbance),
        "near identical, 120 dB": (sources, sources + 1e-6 * disturbance),
        "scaled": (sources * [[1e-6], [1e5]], 1e3 * (sources + 0.3 * disturbance)),
        "delayed": (sources, np.roll(sources, 100, axis=1) + 0.01 * disturbance),
        "delayed beyond the filter": (sources, np.roll(sources, 600, axis=1)),
        "filtered": (sources, scipy.signal.lfilter([1, -0.9, 0.4], [1], leaking, axis=1)),
        "one source": (sources[:1], leaking[:1]),
        "three sources": (three, three[[2, 0, 1]] + 0.2 * three + 0.1 * noise(3, 4000, seed=1)),
        "pure tones": (melody, melody + 0.1 * melody[::-1] + 0.01 * disturbance),
        "equal references": (sources[[0, 0]], sources[[0, 0]] + 0.1 * disturbance),
        "shorter than the filter": (sources[:, :100], leaking[:, :100] + disturbance[:, :100]),
        "opposite in sign": (sources, -leaking + 0.1 * disturbance),
        "integers": (
            (1000 * sources).astype(np.int16),
            (1000 * leaking + 100 * disturbance).astype(np.int16),
        ),
        "single precision": (
            sources.astype(np.float32),
            (leaking + 0.1 * disturbance).astype(np.float32),
        ),
    }


@pytest.mark.parametrize("case", made_up_cases())
def test_agrees_with_mir_eval(case):
    references, estimates = made_up_cases()[case]
    # The interference of equal references is zero, also with rounding errors.
    if case == "equal references":
        assert bss_eval(references, estimates).sir.min() > ROUNDING_DB
    assert_matches_mir_eval(references, estimates)


def test_permutation_agrees_with_mir_eval():
    sources = noise(3, 2000)
    estimates = sources[[2, 0, 1]] + 0.2 * sources + 0.1 * noise(3, 2000, seed=1)
    scores = assert_matches_mir_eval(sources, estimates, compute_permutation=True)
    np.testing.assert_array_equal(scores.permutation, [1, 2, 0])


def test_agrees_with_mir_eval_on_singing(data_home):
    clips = sorted((data_home / "mir1k").rglob("*.flac"))[::100]
    assert clips
    for clip in clips:
        accompaniment, vocals = soundfile.read(clip, frames=80000)[0].T
        sources = np.stack([vocals, accompaniment])
        hum = 0.003 * noise(*sources.shape)
        assert_matches_mir_eval(sources, np.stack([sources.sum(0)] * 2))
        assert_matches_mir_eval(sources, sources + 0.1 * sources[::-1] + hum)


def test_agrees_with_mir_eval_on_band_limited_songs(data_home):
    scored = 0
    for folder in sorted((data_home / "musdb18-7s" / "train").iterdir())[::47]:
        stems = ("vocals.ogg", "accompaniment.ogg")
        sources = np.stack([soundfile.read(folder / stem)[0][:100000].mean(1) for stem in stems])
        if sources.any(axis=1).all():
            filtered = scipy.signal.lfilter([0.5, 0.3], [1, -0.2], sources, axis=1)
            assert_matches_mir_eval(sources, 0.9 * sources + 0.05 * filtered[::-1])
            scored += 1
    assert scored


def test_dependent_delays_give_the_orthogonal_projection():
    """The normal equations are singular then, but the projection by QR is not."""
    taps, n_samples = 64, 2000
    low_pass = scipy.signal.firwin(101, 0.1, window=("kaiser", 14))
    sources = scipy.signal.fftconvolve(noise(2, n_samples), low_pass[None], axes=1)
    n_samples = sources.shape[1]
    disturbance = scipy.signal.fftconvolve(noise(2, n_samples, seed=1), low_pass[None], axes=1)
    estimates = sources + 0.3 * sources[::-1] + 0.01 * disturbance[:, :n_samples]

    def project(waveforms, estimate):
        delayed = [np.pad(w, (k, taps - 1 - k)) for w in waveforms for k in range(taps)]
        basis, _ = np.linalg.qr(np.array(delayed).T)
        return basis @ (basis.T @ estimate)

    scores = bss_eval(sources, estimates, filter_length=taps)
    for index, estimate in enumerate(np.pad(estimates, ((0, 0), (0, taps - 1)))):
        target, total = project(sources[[index]], estimate), project(sources, estimate)
        parts = {
            "sdr": (target, estimate - target),
            "sir": (target, total - target),
            "sar": (total, estimate - total),
        }
        for name, (numerator, denominator) in parts.items():
            expected = 10 * np.log10((numerator @ numerator) / (denominator @ denominator))
            assert abs(getattr(scores, name)[index] - expected) < 0.02, name


def test_short_fft_blocks_meet_at_their_seams():
    """Signals are about as long as the blocks of the correlations."""
    for n_samples in (3585, 3586, 4096, 2 * 3585 + 1, 17 * 3585):
        sources = noise(1, n_samples)
        estimates = np.roll(sources, 511, axis=1) + noise(1, n_samples, seed=1)
        assert_matches_mir_eval(sources, estimates)


def test_ignores_scale_and_order_of_sources():
    sources, disturbance = noise(3, 3000), noise(3, 3000, seed=1)
    estimates = sources + 0.2 * disturbance
    scores = bss_eval(sources, estimates)
    order = [2, 0, 1]
    for ratio, other in zip(
        scores[:3], bss_eval(1e-9 * sources[order], 1e9 * estimates[order])[:3], strict=True
    ):
        np.testing.assert_allclose(ratio[order], other, atol=1e-6)


def test_input_is_not_changed():
    sources = noise(2, 1000)
    estimates = sources + noise(2, 1000, seed=1)
    copies = sources.copy(), estimates.copy()
    bss_eval(sources, estimates)
    bss_eval_frames(sources, estimates, window=100, hop=100)
    np.testing.assert_array_equal(sources, copies[0])
    np.testing.assert_array_equal(estimates, copies[1])


def test_filter_length_is_what_is_forgiven():
    source = noise(1, 4000)
    delayed = np.pad(source, ((0, 0), (10, 0)))[:, :4000]
    assert bss_eval(source, delayed, filter_length=8).sdr[0] < 0
    assert bss_eval(source, delayed, filter_length=16).sdr[0] > 20


@pytest.mark.parametrize("compute_permutation", [False, True])
def test_silent_reference_is_nan_and_named(compute_permutation):
    sources = noise(3, 2000)
    estimates = sources + 0.1 * noise(3, 2000, seed=1)
    with_silence = sources.copy()
    with_silence[1] = 0
    with pytest.warns(UserWarning, match=r"NaN for references\[1\]\.$"):
        scores = bss_eval(with_silence, estimates, compute_permutation=compute_permutation)
    expected = bss_eval(sources[[0, 2]], estimates[[0, 2]])
    for ratio, values in zip(scores[:3], expected[:3], strict=True):
        assert np.isnan(ratio[1])
        assert_same_decibels(ratio[[0, 2]], values)
    np.testing.assert_array_equal(scores.permutation, [0, 1, 2])


@pytest.mark.parametrize("compute_permutation", [False, True])
def test_silent_estimate_is_nan_and_named(compute_permutation):
    sources = noise(2, 2000)
    estimates = sources + 0.1 * noise(2, 2000, seed=1)
    expected = bss_eval(sources, estimates)
    estimates[0] = 0
    with pytest.warns(UserWarning, match=r"NaN for estimates\[0\]\.$"):
        scores = bss_eval(sources, estimates, compute_permutation=compute_permutation)
    for ratio, values in zip(scores[:3], expected[:3], strict=True):
        assert np.isnan(ratio[0])
        assert_same_decibels(ratio[1], values[1])


def test_all_silent_is_all_nan():
    with pytest.warns(UserWarning, match=r"references\[0\], estimates\[0\]"):
        scores = bss_eval(np.zeros((1, 100)), np.zeros((1, 100)), compute_permutation=True)
    assert np.isnan(scores.sdr).all()
    assert np.isnan(scores.sir).all()
    assert np.isnan(scores.sar).all()


@pytest.mark.parametrize("n_samples", [1, 2, 511, 512, 513])
def test_short_waveforms(n_samples):
    source = noise(1, n_samples)
    scores = bss_eval(source, source + 0.1 * noise(1, n_samples, seed=1))
    assert scores.sdr[0] > 10


BAD_SOURCES = {
    "one dimension": (noise(100), noise(100), {}, ValueError, "1 dimensions"),
    "three dimensions": (noise(1, 2, 9), noise(1, 2, 9), {}, ValueError, "3 dimensions"),
    "shapes differ": (noise(2, 100), noise(2, 99), {}, ValueError, "equal shapes"),
    "numbers differ": (noise(2, 100), noise(1, 100), {}, ValueError, "equal shapes"),
    "samples first": (noise(100, 2), noise(100, 2), {}, ValueError, "transpose"),
    "empty": (np.zeros((2, 0)), np.zeros((2, 0)), {}, ValueError, "empty"),
    "no sources": (np.zeros((0, 5)), np.zeros((0, 5)), {}, ValueError, "empty"),
    "ragged": ([[1.0, 2.0], [1.0]], noise(2, 2), {}, ValueError, "one length"),
    "NaN": (noise(2, 9), np.full((2, 9), np.nan), {}, ValueError, r"estimates\[0\] contains NaN"),
    "infinity": (np.full((1, 9), np.inf), noise(1, 9), {}, ValueError, r"references\[0\]"),
    "complex": (noise(1, 9) * 1j, noise(1, 9), {}, TypeError, "complex"),
    "text": ([["a", "b"]], noise(1, 2), {}, TypeError, "real numbers"),
    "no taps": (noise(1, 9), noise(1, 9), {"filter_length": 0}, ValueError, "filter_length"),
    "half a tap": (noise(1, 9), noise(1, 9), {"filter_length": 1.5}, TypeError, "filter_length"),
}


@pytest.mark.parametrize("case", BAD_SOURCES)
def test_bad_sources(case):
    references, estimates, options, error, message = BAD_SOURCES[case]
    with pytest.raises(error, match=message):
        bss_eval(references, estimates, **options)


# Frames -------------------------------------------------------------------------------------


@pytest.mark.parametrize("n_channels", [1, 2])
@pytest.mark.parametrize(("window", "hop"), [(2000, 2000), (1500, 700), (10**6, 10**6)])
def test_frames_agree_with_museval(museval_scores, n_channels, window, hop):
    sources = noise(2, n_channels, 5000)
    mixing = scipy.signal.lfilter([0.8, 0.1, 0.1], [1], sources)
    estimates = mixing + 0.2 * sources[::-1] + 0.1 * noise(*sources.shape, seed=1)
    scores = bss_eval_frames(sources, estimates, window=window, hop=hop)
    for actual, expected in zip(
        scores, museval_scores(sources, estimates, window, hop), strict=True
    ):
        assert_same_decibels(actual, expected)


def test_frames_agree_with_museval_on_songs(museval_scores, data_home):
    folder = data_home / "full-songs"
    song = sorted(path.parent for path in folder.rglob("vocals.*"))[0]
    stems = [next(song.glob(f"{stem}.*")) for stem in ("vocals", "accompaniment")]
    start = soundfile.info(stems[0]).frames // 2
    sources = np.stack(
        [soundfile.read(stem, start=start, frames=66150, always_2d=True)[0].T for stem in stems]
    )
    # Dither, which recordings without lossy compression have, fills bands that this one lacks.
    sources += 1e-4 * noise(*sources.shape)
    estimates = 0.9 * sources + 0.1 * sources[::-1] + 0.003 * noise(*sources.shape, seed=1)
    scores = bss_eval_frames(sources, estimates, window=22050, hop=22050)
    for actual, expected in zip(
        scores, museval_scores(sources, estimates, 22050, 22050), strict=True
    ):
        assert_same_decibels(actual, expected)


def test_frames_with_silence_are_nan_and_left_out_of_the_median(museval_scores):
    sources = noise(2, 1, 4000)
    sources[0, :, 1000:2000] = 0
    estimates = sources + 0.1 * noise(2, 1, 4000, seed=1)
    scores = bss_eval_frames(sources, estimates, window=1000, hop=1000)
    expected = museval_scores(sources, estimates, 1000, 1000)
    for actual, values in zip(scores, expected, strict=True):
        np.testing.assert_array_equal(np.isnan(actual), [[False, True, False, False]] * 2)
        assert_same_decibels(actual, values)
    np.testing.assert_allclose(scores.median().sdr, np.nanmedian(expected[0], axis=1), atol=1e-3)


def test_frames_of_a_silent_source_are_nan_and_it_is_named():
    sources = noise(2, 2, 1000)
    sources[1] = 0
    with pytest.warns(UserWarning, match=r"references\[1\] is silent"):
        scores = bss_eval_frames(sources, noise(2, 2, 1000), window=500, hop=250)
    assert scores.sdr.shape == (2, 3)
    assert np.isnan(scores).all()
    assert np.isnan(scores.median().sdr).all()


def test_frames_with_equal_or_silent_channels():
    """If channels are dependent, filters are ambiguous, but scores are not."""
    mono, disturbance = noise(2, 1, 3000), 0.1 * noise(2, 1, 3000, seed=1)
    options = {"window": 1000, "hop": 1000, "filter_length": 64}
    single = bss_eval_frames(mono, mono + disturbance, **options)
    double = bss_eval_frames(
        np.tile(mono, (1, 2, 1)), np.tile(mono + disturbance, (1, 2, 1)), **options
    )
    for actual, expected in zip(double, single, strict=True):
        assert_same_decibels(actual, expected)
    left = np.array([[1.0], [0.0]])
    one_sided = bss_eval_frames(left * mono, left * (mono + disturbance), **options)
    for actual, expected in zip(one_sided, single, strict=True):
        assert_same_decibels(actual, expected)


def test_mono_sources_need_no_channel_axis():
    sources = noise(2, 3000)
    estimates = sources + 0.1 * noise(2, 3000, seed=1)
    options = {"window": 1000, "hop": 1000}
    for actual, expected in zip(
        bss_eval_frames(sources, estimates, **options),
        bss_eval_frames(sources[:, None], estimates[:, None], **options),
        strict=True,
    ):
        np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize(
    ("references", "options", "error", "message"),
    [
        (noise(2, 300, 2), {}, ValueError, "transpose"),
        (noise(300), {}, ValueError, "dimensions"),
        (noise(1, 1, 1, 300), {}, ValueError, "dimensions"),
        (noise(2, 300), {"window": 0}, ValueError, "window"),
        (noise(2, 300), {"hop": 0.5}, TypeError, "hop"),
        (noise(2, 300), {"filter_length": -1}, ValueError, "filter_length"),
        (np.full((2, 300), np.inf), {}, ValueError, r"references\[0\]"),
    ],
)
def test_bad_frames(references, options, error, message):
    with pytest.raises(error, match=message):
        bss_eval_frames(references, references, **{"window": 100, "hop": 100, **options})


def test_window_and_hop_are_required():
    with pytest.raises(TypeError, match="window"):
        bss_eval_frames(noise(1, 9), noise(1, 9))


def test_sdr_equals_that_of_bss_eval():
    sources = noise(2, 5000)
    estimates = sources + 0.3 * sources[::-1] + 0.1 * noise(2, 5000, seed=1)
    expected = bss_eval(sources, estimates).sdr
    actual = [sdr(source, estimate) for source, estimate in zip(sources, estimates, strict=True)]
    np.testing.assert_allclose(actual, expected, atol=1e-9)
