from band_separator import BandSeparator

from sksep.utils.estimator_checks import parametrize_with_checks


@parametrize_with_checks([BandSeparator(), BandSeparator(exponent=2.0)])
def test_band_separator(estimator, check):
    check(estimator)
