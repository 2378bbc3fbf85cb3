"""A few of the configurations of `estimator_checks.py`; `nox -s estimator_checks` runs all."""

import estimator_checks
import pytest

SOME = [
    ("MLPClassifier", {"max_iter": 20, "solver": "lbfgs", "activation": "tanh"}, {}),
    ("MLPRegressor", {"max_iter": 20, "early_stopping": True, "validation_fraction": 0.2}, {}),
]


@pytest.mark.parametrize("configuration", SOME, ids=str)
def test_checks_of_a_configuration(configuration):
    """No check fails that scikit-learn's own MLP passes, but for those listed with a reason."""
    passed, failed = estimator_checks.worse(configuration)
    assert passed > 50
    assert set(failed) <= set(estimator_checks.refused(configuration)), failed


def test_enough_configurations():
    """The promise is of at least fifty, each of them another."""
    assert all(c in estimator_checks.CONFIGURATIONS for c in SOME)
    every = [repr(c) for c in estimator_checks.CONFIGURATIONS]
    assert len(set(every)) == len(every) >= 50
