"""The drawn data of loss curves, distributions of scores and results of searches."""

import functools

import numpy as np
import pytest
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from sklearn.base import BaseEstimator
from sklearn.exceptions import NotFittedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.model_selection import GridSearchCV, HalvingGridSearchCV, RandomizedSearchCV
from sklearn.pipeline import make_pipeline

from sksep import HPSSSeparator, MelChunker, MixtureSeparator, UNetSeparator
from sksep.metrics import nsdr, sdr, si_sdr
from sksep.plotting import LossCurveDisplay, ScoreDisplay, SearchDisplay
from sksep.presets import unet_pipeline


def _ax():
    return Figure().subplots()


def _labels(axis):
    return [label.get_text() for label in axis.get_ticklabels()]


@pytest.fixture(scope="module")
def models(songs):
    return {
        "Floor": make_pipeline(MelChunker(), MixtureSeparator()).fit(songs.mixtures),
        "HPSS": make_pipeline(MelChunker(), HPSSSeparator()).fit(songs.mixtures),
    }


# Losses


def test_loss_curves_are_drawn_from_epoch_1_in_one_color_for_each_model():
    training = {"A": [3.0, 2.0, 1.0], "B": [5.0, 4.0]}
    ax = _ax()
    display = LossCurveDisplay.from_curves(training, {"B": [6.0, 5.5]}, ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is ax.figure
    lines = {line.get_label(): line for line in ax.lines}
    assert list(lines) == ["A, training", "B, training", "B, validation"]
    np.testing.assert_array_equal(lines["A, training"].get_xydata(), [[1, 3], [2, 2], [3, 1]])
    np.testing.assert_array_equal(lines["B, validation"].get_xydata(), [[1, 6], [2, 5.5]])
    assert lines["B, training"].get_linestyle() == "-"
    assert lines["B, validation"].get_linestyle() == "--"
    colors = {label: to_rgba(line.get_color()) for label, line in lines.items()}
    assert colors["B, training"] == colors["B, validation"] != colors["A, training"]
    ticks = ax.get_xticks()
    np.testing.assert_array_equal(ticks, np.round(ticks))


def test_loss_curves_of_an_estimator(songs):
    model = unet_pipeline(
        "report",
        separate__n_filters=2,
        separate__max_epochs=2,
        separate__validation_fraction=0.5,
        separate__early_stopping=True,
        separate__random_state=0,
    ).fit(songs.mixtures, songs.vocals)
    separator = model["separate"]
    display = LossCurveDisplay.from_estimator(model, ax=_ax(), name="mine")
    np.testing.assert_allclose(display.training_["mine"], separator.loss_curve_)
    np.testing.assert_allclose(display.validation_["mine"], separator.validation_loss_curve_)
    assert len(display.ax_.lines) == 2
    # partial_fit has no validation, but the curves must still have the same epochs.
    batch = model["mask"].fit_transform(model["chunk"].transform(songs.mixtures), songs.vocals)
    separator.partial_fit(batch)
    display = LossCurveDisplay.from_estimator({"A": model}, ax=_ax())
    assert len(display.training_["A"]) == len(display.validation_["A"]) == 3
    assert np.isnan(display.validation_["A"]).tolist() == [False, False, True]


def test_loss_curves_need_a_trained_network(models):
    with pytest.raises(TypeError, match="HPSS has no loss curve"):
        LossCurveDisplay.from_estimator({"HPSS": models["HPSS"]})
    with pytest.raises(NotFittedError):
        LossCurveDisplay.from_estimator(make_pipeline(MelChunker(), UNetSeparator()))


@pytest.mark.parametrize(
    ("training", "validation", "error", "message"),
    [
        ({}, None, ValueError, "no curves"),
        ({"A": []}, None, ValueError, "one loss for each epoch"),
        ({"A": [[1.0]]}, None, ValueError, "shape"),
        ({"A": ["x"]}, None, TypeError, "numbers"),
        ({"A": [1.0]}, {"B": [1.0]}, ValueError, "'B'"),
        ({"A": [1.0]}, [1.0], TypeError, "validation must be a dict"),
        ({1: [1.0], "1": [2.0]}, None, ValueError, "other names"),
    ],
)
def test_bad_curves(training, validation, error, message):
    with pytest.raises(error, match=message):
        LossCurveDisplay.from_curves(training, validation)


# Scores


def test_boxes_show_quartiles_points_and_numbers_of_tracks():
    scores = {"A": np.arange(9.0), "B": [1.0, np.nan, 5.0, np.inf, -np.inf], "C": [np.nan] * 3}
    display = ScoreDisplay.from_scores(scores, label="SDR", ax=_ax())
    ax = display.ax_
    assert _labels(ax.xaxis) == ["A\n9 tracks", "B\n2 of 5 tracks", "C\n0 of 3 tracks"]
    assert ax.get_ylabel() == "SDR (dB)"
    boxes = [patch.get_path().vertices[:, 1] for patch in ax.patches]
    assert [(box.min(), box.max()) for box in boxes] == [(2.0, 6.0), (2.0, 4.0)]
    medians = [line.get_ydata()[0] for line in ax.lines if line.get_linewidth() == 2]
    assert medians == [4.0, 3.0]
    points = [np.sort(collection.get_offsets()[:, 1]) for collection in ax.collections]
    np.testing.assert_array_equal(points[0], np.arange(9.0))
    np.testing.assert_array_equal(points[1], [1.0, 5.0])
    for index, collection in enumerate(ax.collections):
        assert np.abs(collection.get_offsets()[:, 0] - index).max() <= 0.3


def test_pairs_are_of_the_tracks_that_all_models_have_a_score_of():
    scores = {"A": [1.0, 2.0, 3.0, np.nan], "B": [4.0, np.nan, 9.0, 1.0]}
    display = ScoreDisplay.from_scores(scores, kind="paired", unit=None, ax=_ax())
    *tracks, medians = display.ax_.lines
    assert [list(line.get_ydata()) for line in tracks] == [[1.0, 4.0], [3.0, 9.0]]
    assert list(medians.get_ydata()) == [2.0, 6.5]
    assert _labels(display.ax_.xaxis) == ["A\n2 of 4 tracks", "B\n2 of 4 tracks"]
    assert display.ax_.get_ylabel() == "Score"
    nothing = ScoreDisplay.from_scores({"A": [np.nan], "B": [1.0]}, kind="paired", ax=_ax())
    assert not nothing.ax_.lines


def test_estimators_predict_once_and_silent_vocals_are_left_out(songs, models, monkeypatch):
    vocals = [*songs.vocals[:3], np.zeros_like(songs.vocals[3])]
    calls = []
    real = HPSSSeparator.predict
    monkeypatch.setattr(
        HPSSSeparator, "predict", lambda self, X: calls.append(len(X)) or real(self, X)
    )
    display = ScoreDisplay.from_estimator(
        models, songs.mixtures, vocals, score_mixture=True, ax=_ax()
    )
    assert calls == [4]
    assert list(display.scores_) == ["Mixture", "Floor", "HPSS"]
    expected = [sdr(vocals[i], songs.mixtures[i]) for i in range(3)]
    np.testing.assert_allclose(display.scores_["Mixture"][:3], expected)
    predicted = models["HPSS"].predict(songs.mixtures)
    expected = [sdr(vocals[i], predicted[i]) for i in range(3)]
    np.testing.assert_allclose(display.scores_["HPSS"][:3], expected)
    assert all(np.isnan(scores[3]) for scores in display.scores_.values())
    assert _labels(display.ax_.xaxis)[2] == "HPSS\n3 of 4 tracks"


@pytest.mark.parametrize(
    ("score", "label"),
    [
        (si_sdr, "SI-SDR (dB)"),
        (functools.partial(sdr, protocol="snr"), "SDR (dB)"),
        (lambda reference, estimate: 1.0, "Score"),
        (nsdr, "NSDR (dB)"),
    ],
)
def test_scores_of_predictions(score, label):
    truth, mixture = np.random.default_rng(0).standard_normal((2, 2000))
    estimate = truth + 0.1 * mixture
    stereo = np.stack([estimate, estimate])  # scored as its downmix
    display = ScoreDisplay.from_predictions(
        [truth], {"A": [stereo]}, mixtures=[truth + mixture], score=score, ax=_ax()
    )
    further = [truth + mixture] if score is nsdr else []
    values = display.scores_["A"], display.scores_["Mixture"]
    np.testing.assert_allclose(values[0], score(truth, estimate, *further), rtol=1e-4)
    np.testing.assert_allclose(values[1], score(truth, truth + mixture, *further), atol=1e-4)
    assert display.ax_.get_ylabel() == label


@pytest.mark.parametrize(
    ("scores", "parameters", "error", "message"),
    [
        ([1.0], {}, TypeError, "dict"),
        ({}, {}, ValueError, "empty"),
        ({"A": []}, {}, ValueError, "scores of A"),
        ({"A": 1.0}, {}, ValueError, "scores of A"),
        ({"A": ["x"]}, {}, TypeError, "scores of A"),
        ({1: [1.0], "1": [2.0]}, {}, ValueError, "other names"),
        ({"A": [1.0]}, {"kind": "violin"}, ValueError, "kind"),
        ({"A": [1.0]}, {"kind": "paired"}, ValueError, "two or more"),
        ({"A": [1.0], "B": [1.0, 2.0]}, {"kind": "paired"}, ValueError, "different numbers"),
    ],
)
def test_bad_scores(scores, parameters, error, message):
    with pytest.raises(error, match=message):
        ScoreDisplay.from_scores(scores, **parameters)


def test_bad_predictions(models, songs):
    one, other = np.ones(100), np.ones(90)
    with pytest.raises(ValueError, match="90 samples"):
        ScoreDisplay.from_predictions([one], [other])
    with pytest.raises(ValueError, match="y_pred of A"):
        ScoreDisplay.from_predictions([one], {"A": [one, one]})
    with pytest.raises(ValueError, match="give the mixtures"):
        ScoreDisplay.from_predictions([one], [one], score=nsdr)
    with pytest.raises(ValueError, match="'Mixture'"):
        ScoreDisplay.from_predictions([one], {"Mixture": [one]}, mixtures=[one])
    with pytest.raises(TypeError, match="score_mixture must be True or False"):
        ScoreDisplay.from_estimator(
            models, songs.mixtures, songs.vocals, score_mixture=songs.mixtures
        )
    with pytest.raises(ValueError, match="X has 4 tracks"):
        ScoreDisplay.from_estimator(models, songs.mixtures, songs.vocals[:2])


# Searches


class _Polynomial(BaseEstimator):
    """An estimator whose score depends on its parameters and the first sample of the fold."""

    def __init__(self, a=1.0, b=1, c="x", n=1):
        self.a = a
        self.b = b
        self.c = c
        self.n = n

    def fit(self, X, y=None):
        if self.a == 2.0 and self.b == 2:
            raise ValueError("this one fails")
        self.fitted_ = True
        return self

    def score(self, X, y=None):
        return 10.0 * self.a + self.b + 0.1 * X[0][0] + 0.001 * self.n


_X = np.arange(12.0)[:, None]


def test_one_number_is_drawn_over_a_logarithmic_axis_with_the_spread_of_folds():
    search = GridSearchCV(_Polynomial(), {"a": [1.0, 0.01, 0.1]}, cv=3).fit(_X)
    display = SearchDisplay.from_estimator(search, ax=_ax())
    order = [1, 2, 0]
    assert display.values_ == ([0.01, 0.1, 1.0],)
    np.testing.assert_allclose(display.mean_, search.cv_results_["mean_test_score"][order])
    np.testing.assert_allclose(display.std_, search.cv_results_["std_test_score"][order])
    line = display.ax_.lines[0]
    np.testing.assert_allclose(line.get_xdata(), [0.01, 0.1, 1.0])
    np.testing.assert_allclose(line.get_ydata(), display.mean_)
    bars = np.array(display.ax_.collections[0].get_segments())
    np.testing.assert_allclose(bars[:, 1, 1] - bars[:, 0, 1], 2 * display.std_)
    assert (display.ax_.get_xscale(), display.ax_.get_xlabel()) == ("log", "a")


@pytest.mark.parametrize(
    ("values", "scale"),
    [([1, 2, 9], "linear"), ([1, 10], "log"), ([0, 100], "linear"), ([-1, 100], "linear")],
)
def test_scale_of_the_axis(values, scale):
    search = GridSearchCV(_Polynomial(), {"b": values}, cv=2).fit(_X)
    assert SearchDisplay.from_estimator(search, ax=_ax()).ax_.get_xscale() == scale


def test_other_values_are_categories():
    search = GridSearchCV(_Polynomial(), {"c": ["snr", None, True, 3]}, cv=2).fit(_X)
    display = SearchDisplay.from_estimator(search, ax=_ax())
    assert _labels(display.ax_.xaxis) == ["snr", "None", "True", "3"]


def test_values_that_are_too_long_for_ticks_remain_distinct():
    values = [{"n_filters": 16, "n_levels": n} for n in (2, 3)]
    results = {"params": [{"c": value} for value in values], "split0_test_score": [1.0, 2.0]}
    labels = _labels(SearchDisplay.from_results(results, ax=_ax()).ax_.xaxis)
    assert [label.replace("\n", " ") for label in labels] == list(map(str, values))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.FitFailedWarning", "ignore:One or more")
def test_two_parameters_make_a_heat_map_with_gaps_for_failures():
    grid = {"b": [1, 2, 3], "a": [1.0, 2.0]}
    search = GridSearchCV(_Polynomial(), grid, cv=3, error_score=np.nan).fit(_X)
    display = SearchDisplay.from_estimator(search, params=["b", "a"], ax=_ax())
    [image] = display.ax_.images
    drawn = image.get_array()
    folds = 0.1 * np.mean([0, 4, 8]) + 0.001
    expected = 10.0 * np.array([[1.0], [2.0]]) + np.array([1, 2, 3]) + folds
    assert drawn.mask.tolist() == [[False] * 3, [False, True, False]]
    np.testing.assert_allclose(drawn.filled(0.0), np.where(drawn.mask, 0.0, expected))
    texts = {text.get_position(): text.get_text() for text in display.ax_.texts}
    assert len(texts) == 5
    assert texts[2, 1] == f"{expected[1, 2]:.2f}"
    assert _labels(display.ax_.xaxis) == ["1", "2", "3"]
    assert _labels(display.ax_.yaxis) == ["1", "2"]
    assert display.ax_.get_ylabel() == "a"
    # If it is drawn again into the same Axes, there is no second color bar.
    n_axes = len(display.figure_.axes)
    display.plot(display.ax_)
    assert len(display.figure_.axes) == n_axes


def test_random_numbers_are_points():
    distributions = {"a": np.geomspace(3.0, 30.0, 40).tolist(), "b": list(range(1, 40))}
    search = RandomizedSearchCV(_Polynomial(), distributions, n_iter=6, cv=2, random_state=1)
    display = SearchDisplay.from_estimator(search.fit(_X), params=("a", "b"), ax=_ax())
    points = display.ax_.collections[0]
    results = search.cv_results_
    expected = {
        (candidate["a"], candidate["b"]): mean
        for candidate, mean in zip(results["params"], results["mean_test_score"], strict=True)
    }
    drawn = dict(zip(map(tuple, points.get_offsets()), points.get_array(), strict=True))
    assert drawn.keys() == expected.keys()
    for place, mean in drawn.items():
        assert np.isclose(mean, expected[place])


def test_more_parameters_are_averaged_only_where_two_are_named():
    grid = {"a": [1.0, 3.0], "b": [1, 3], "c": ["x", "y"]}
    search = GridSearchCV(_Polynomial(), grid, cv=2).fit(_X)
    with pytest.raises(ValueError, match=r"3 parameters vary.*Choose one or two"):
        SearchDisplay.from_estimator(search)
    display = SearchDisplay.from_estimator(search, params="a", ax=_ax())
    np.testing.assert_allclose(display.mean_, np.array([10.0, 30.0]) + 2.0 + 0.3 + 0.001)
    np.testing.assert_allclose(display.std_, 0.3)


def test_halving_counts_each_candidate_once_with_its_last_resources():
    search = HalvingGridSearchCV(
        _Polynomial(), {"a": [1.0, 2.0, 3.0, 4.0]}, resource="n", max_resources=4, min_resources=1,
        factor=2, cv=2,
    ).fit(_X)  # fmt: skip
    display = SearchDisplay.from_estimator(search, ax=_ax())
    assert display.params_ == ("a",)
    resources = np.array([1, 1, 2, 4])  # the iteration that each reached
    np.testing.assert_allclose(
        display.mean_, 10.0 * np.arange(1, 5) + 1 + 0.3 + 0.001 * resources, atol=1e-9
    )


def test_several_metrics_are_chosen_by_name():
    metrics = {"up": lambda e, X, y=None: e.a, "down": lambda e, X, y=None: -e.a}
    search = GridSearchCV(_Polynomial(), {"a": [1.0, 3.0]}, cv=2, scoring=metrics, refit="down")
    search.fit(_X)
    assert SearchDisplay.from_estimator(search, ax=_ax()).mean_.tolist() == [-1.0, -3.0]
    display = SearchDisplay.from_estimator(search, metric="up", ax=_ax())
    assert display.mean_.tolist() == [1.0, 3.0]
    assert display.ax_.get_ylabel().startswith("up")
    with pytest.raises(ValueError, match="several metrics"):
        SearchDisplay.from_results(search.cv_results_)
    with pytest.raises(ValueError, match="no metric 'side'"):
        SearchDisplay.from_results(search.cv_results_, metric="side")


@pytest.mark.parametrize(
    ("results", "parameters", "error", "message"),
    [
        ([], {}, TypeError, "dict"),
        ({}, {}, ValueError, "split0_test_score"),
        ({"params": [{"a": 1}], "split0_test_score": [1.0]}, {}, ValueError, "No parameter varies"),
        ({"params": [{"a": 1}], "split0_test_score": [1, 2]}, {}, ValueError, "1 params"),
        (
            {"params": [{"a": 1}], "split0_test_score": [np.nan]},
            {"params": "a"},
            ValueError,
            "nothing to draw",
        ),
        (
            {"params": [{"a": 1}], "split0_test_score": [1.0]},
            {"params": "b"},
            ValueError,
            r"no parameters \['b'\]",
        ),
        (
            {"params": [{"a": 1}], "split0_test_score": [1.0]},
            {"params": []},
            ValueError,
            "one or two",
        ),
    ],
)
def test_bad_results(results, parameters, error, message):
    with pytest.raises(error, match=message):
        SearchDisplay.from_results(results, **parameters)


def test_search_must_be_fitted():
    with pytest.raises(NotFittedError):
        SearchDisplay.from_estimator(GridSearchCV(_Polynomial(), {"a": [1.0]}))
    with pytest.raises(TypeError, match="from_results"):
        SearchDisplay.from_estimator({"params": []})
