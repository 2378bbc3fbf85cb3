"""scikit-learn's `check_estimator` over many configurations, ours beside its own MLP.

    python tests/estimator_checks.py

A check that fails here and not there is an error, unless REFUSALS has it with the reason, as
docs/scikit-learn.md says it. About five minutes; the suite runs a few
of the configurations. `SCIPY_ARRAY_API=1` has the array API checks run as well.
"""

from __future__ import annotations

import itertools
import sys
import warnings
from typing import Any

from sklearn import neural_network
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.estimator_checks import check_estimator

from xpnet.sklearn import MLPClassifier, MLPRegressor

SENT = "xp and dtype are for NumPy input: arrays of other libraries are refused with them"
ROUNDING = "the check wants float64's digits of a result in float32"
SPLIT = (
    "rows and repeated rows make other batches, which scikit-learn's own fails on sparse X alike"
)
NEGATIVE = "loss='poisson' refuses negative y, from which scikit-learn's makes NaN or nonsense"
POISSON = (
    "check_fit_check_is_fitted", "check_fit_idempotent", "check_n_features_in",
    "check_n_features_in_after_fitting", "check_regressor_data_not_an_array",
    "check_regressor_multioutput", "check_regressors_no_decision_function",
)  # fmt: skip
BALANCED = "class_weight='balanced' needs all of y, which partial_fit has not"
SEVERAL = "class_weight is for one label a row"
LABELS = (
    "check_classifiers_multilabel_representation_invariance",
    "check_classifiers_multilabel_output_format_predict",
    "check_classifiers_multilabel_output_format_predict_proba",
    "check_classifiers_multilabel_output_format_decision_function",
)
PARTIAL = (
    "check_fit_score_takes_y", "check_n_features_in_after_fitting",
    "check_estimators_partial_fit_n_features",
)  # fmt: skip
DRAWN = "dropout draws for rows: a row of weight 2 has one mask, a row twice has two"
ARRAYS = ("check_array_api_input", "check_array_api_mixed_inputs", "check_array_api_same_namespace")
WEIGHTS = tuple(f"check_sample_weight_equivalence_on_{kind}_data" for kind in ("dense", "sparse"))
# By parameter: checks that may fail here though scikit-learn's MLP passes them, and why.
REFUSALS: dict[str, dict[str, str]] = {
    "xp": dict.fromkeys(ARRAYS, SENT),
    "dtype": {
        **dict.fromkeys(ARRAYS, SENT), **dict.fromkeys(WEIGHTS, ROUNDING),
        "check_regressor_multioutput": ROUNDING, "check_estimators_dtypes": ROUNDING,
    },
    "loss": dict.fromkeys(POISSON, NEGATIVE),
    "class_weight": {**dict.fromkeys(PARTIAL, BALANCED), **dict.fromkeys(LABELS, SEVERAL)},
    "dropout": dict.fromkeys(WEIGHTS, DRAWN),
    "batch_size": dict.fromkeys(WEIGHTS, SPLIT),
}  # fmt: skip


def refused(configuration: tuple[str, dict[str, Any], dict[str, Any]]) -> dict[str, str]:
    """Return the checks that a configuration may fail, and why."""
    _, parameters, own = configuration
    tables = (table for name, table in REFUSALS.items() if name in {**parameters, **own})
    return {name: reason for table in tables for name, reason in table.items()}


QUICK = {"max_iter": 20}
VARIED: list[dict[str, Any]] = [
    {"hidden_layer_sizes": ()},
    {"hidden_layer_sizes": (7, 5)},
    {"alpha": 1.0},
    {"batch_size": 7},
    {"shuffle": False},
    {"tol": 0.1, "n_iter_no_change": 2},
    {"warm_start": True},
    {"early_stopping": True, "validation_fraction": 0.2},
    {"solver": "sgd", "momentum": 0.0},
    {"solver": "sgd", "nesterovs_momentum": False},
    {"solver": "sgd", "learning_rate": "adaptive"},
    {"solver": "sgd", "learning_rate": "invscaling"},
    {"beta_1": 0.5, "beta_2": 0.9, "epsilon": 1e-3},
    {"max_fun": 20, "solver": "lbfgs"},
]
SOLVERS = [
    {"solver": solver, "activation": activation}
    for solver, activation in itertools.product(
        ("adam", "sgd", "lbfgs"), ("relu", "tanh", "logistic", "identity")
    )
]
OWN: list[dict[str, Any]] = [
    {"dropout": 0.2}, {"dtype": "float32"}, {"xp": "torch"}, {"xp": "torch", "dtype": "float32"},
]  # fmt: skip
# The estimator's name, its parameters, and those that scikit-learn's has not.
CONFIGURATIONS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    (kind, {**QUICK, **parameters}, own)
    for kind in ("MLPClassifier", "MLPRegressor")
    for parameters, own in (
        *((parameters, {}) for parameters in SOLVERS + VARIED), *(({}, own) for own in OWN),
    )
] + [
    ("MLPRegressor", {**QUICK, "loss": "poisson", "solver": solver}, {})
    for solver in ("adam", "sgd", "lbfgs")
] + [
    ("MLPClassifier", {**QUICK}, {"class_weight": "balanced"}),
    ("MLPClassifier", {**QUICK, "solver": "lbfgs"}, {"class_weight": {0: 1.0, 1: 2.0}}),
]  # fmt: skip


class WithClassWeight(neural_network.MLPClassifier):
    """scikit-learn's MLP with `class_weight` as its forests have it: what ours is measured by."""

    def __init__(
        self, hidden_layer_sizes=(100,), activation="relu", *, solver="adam", alpha=0.0001,
        batch_size="auto", learning_rate="constant", learning_rate_init=0.001, power_t=0.5,
        max_iter=200, shuffle=True, random_state=None, tol=1e-4, verbose=False, warm_start=False,
        momentum=0.9, nesterovs_momentum=True, early_stopping=False, validation_fraction=0.1,
        beta_1=0.9, beta_2=0.999, epsilon=1e-8, n_iter_no_change=10, max_fun=15000,
        class_weight=None,
    ):  # fmt: skip
        given = {k: v for k, v in locals().items() if k not in ("self", "__class__")}
        self.class_weight = given.pop("class_weight")
        super().__init__(**given)

    def fit(self, X, y, sample_weight=None):
        """Fit, the rows weighted by their classes."""
        if self.class_weight is not None:
            by_class = compute_sample_weight(self.class_weight, y)
            sample_weight = by_class if sample_weight is None else sample_weight * by_class
        return super().fit(X, y, sample_weight)


THEIRS = {"MLPClassifier": WithClassWeight, "MLPRegressor": neural_network.MLPRegressor}


def failures(estimator: Any) -> tuple[int, dict[str, str]]:
    """Return how many checks an estimator passes, and those that it fails with what they say."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = check_estimator(estimator, on_skip=None, on_fail=None)
    failed = {r["check_name"]: str(r["exception"]) for r in results if r["status"] == "failed"}
    return sum(r["status"] == "passed" for r in results), failed


def worse(configuration: tuple[str, dict[str, Any], dict[str, Any]]) -> tuple[int, dict[str, str]]:
    """Return how many checks pass, and those that fail here and not in scikit-learn's MLP."""
    kind, parameters, own = configuration
    ours = {"MLPClassifier": MLPClassifier, "MLPRegressor": MLPRegressor}[kind]
    passed, failed = failures(ours(**parameters, **own))
    if failed:
        weights = {name: value for name, value in own.items() if name == "class_weight"}
        _, theirs = failures(THEIRS[kind](**parameters, **weights))
        failed = {name: text for name, text in failed.items() if name not in theirs}
    return passed, failed


def main() -> int:
    total, bad = 0, 0
    for configuration in CONFIGURATIONS:
        kind, parameters, own = configuration
        passed, failed = worse(configuration)
        total += passed
        print(f"{kind}({parameters | own}): {passed} passed", flush=True)
        for name, text in failed.items():
            excuse = refused(configuration).get(name)
            bad += excuse is None
            why = f" (refused: {excuse})" if excuse else ""
            print(f"    {name}{why}: {text[:300]}", flush=True)
    print(f"{len(CONFIGURATIONS)} configurations: {total:,} checks passed, {bad} failed here alone")
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
