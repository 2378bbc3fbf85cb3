"""warm_start and partial_fit: what has changed in between is obeyed, or refused by name."""

import copy
import pickle

import numpy as np
import pytest
import sklearn
from sklearn import neural_network
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.utils._param_validation import InvalidParameterError

from xpnet.sklearn import MLPClassifier, MLPRegressor

quiet = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(40, 5))
Y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
VALUES = np.abs(X[:, 0]) + 0.1


def made(kind=MLPClassifier, **parameters):
    return kind(**{"hidden_layer_sizes": (6,), "max_iter": 4, "random_state": 0, **parameters})


# --- another optimizer, another rate -----------------------------------------------------------


@quiet
@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"solver": "adam"}, {"solver": "sgd"}),
        ({"solver": "sgd"}, {"solver": "adam"}),
        ({"solver": "sgd", "momentum": 0.0}, {"momentum": 0.9}),
        ({"solver": "sgd", "momentum": 0.9}, {"momentum": 0.0}),
        ({"solver": "adam"}, {"solver": "sgd", "momentum": 0.0}),
    ],
    ids=str,
)
def test_another_optimizer_begins_anew(before, after):
    """KeyError 'velocity'. It is as if the weights had been given to a new estimator."""
    model = made(**before).fit(X, Y)
    weights = model.coefs_, model.intercepts_
    model = pickle.loads(pickle.dumps(model)).set_params(**after)
    with pytest.warns(UserWarning, match="the optimizer begins anew") as warned:
        model.partial_fit(X, Y)
    assert warned[0].filename == __file__
    other = made(**{**before, **after})
    other.coefs_, other.intercepts_ = weights
    other.partial_fit(X, Y, classes=[0, 1, 2])
    np.testing.assert_allclose(model.coefs_[0], other.coefs_[0], rtol=1e-12)
    model.partial_fit(X, Y)  # and goes on without a word


@quiet
@pytest.mark.parametrize(
    "after",
    [{"solver": "lbfgs"}, {"solver": "sgd"}, {"solver": "sgd", "momentum": 0.0}, {"beta_1": 0.5},
     {"early_stopping": True, "validation_fraction": 0.3}, {"learning_rate_init": 0.1}],
    ids=str,
)  # fmt: skip
def test_warm_start_with_what_has_changed(after):
    """A warm fit has a new optimizer, and scikit-learn's result."""
    ours = made(warm_start=True).fit(X, Y)
    theirs = made(neural_network.MLPClassifier, warm_start=True).fit(X, Y)
    if "early_stopping" in after:  # scikit-learn's has no scores to go on with
        assert len(ours.set_params(**after).fit(X, Y).validation_scores_) == 4
        return
    ours.set_params(**after).fit(X, Y)
    theirs.set_params(**after).fit(X, Y)
    np.testing.assert_allclose(ours.coefs_[0], theirs.coefs_[0], rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("solver", ["adam", "sgd"])
def test_a_changed_rate_is_obeyed(solver):
    """get_params said 0.5, and the optimizer went on with 0.001."""
    model = made(solver=solver, momentum=0.0, learning_rate_init=1e-9).partial_fit(
        X, Y, classes=[0, 1, 2]
    )
    before = model.coefs_[0].copy()
    moved = np.abs(model.set_params(learning_rate_init=0.5).partial_fit(X, Y).coefs_[0] - before)
    assert moved.max() > 0.01
    model.set_params(learning_rate="constant", learning_rate_init=1e-12)
    before = model.coefs_[0].copy()
    assert np.abs(model.partial_fit(X, Y).coefs_[0] - before).max() < 1e-6


def test_a_changed_schedule_begins_with_its_first_rate():
    """Of "invscaling", the rate has fallen; "constant" begins at learning_rate_init."""
    model = made(solver="sgd", momentum=0.0, learning_rate="invscaling", learning_rate_init=0.1)
    for _ in range(3):
        model.partial_fit(X, Y, classes=[0, 1, 2])
    other = made(solver="sgd", momentum=0.0, learning_rate_init=0.1)
    other.coefs_, other.intercepts_ = model.coefs_, model.intercepts_
    other.partial_fit(X, Y, classes=[0, 1, 2])
    model.set_params(learning_rate="constant").partial_fit(X, Y)
    np.testing.assert_array_equal(model.coefs_[0], other.coefs_[0])


# --- what a net cannot go on with --------------------------------------------------------------


@quiet
@pytest.mark.parametrize("warm_start", [False, True])
@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        (MLPClassifier, {"activation": "tanh"}),
        (MLPClassifier, {"dtype": "float32"}),
        (MLPClassifier, {"xp": "torch"}),
        (MLPClassifier, {"device": "cpu"}),
        (MLPRegressor, {"loss": "poisson"}),
        (MLPRegressor, {"activation": "identity"}),
    ],
    ids=str,
)
def test_changes_that_a_net_cannot_take_are_refused(kind, changed, warm_start):
    """They were in get_params, and the net was another."""
    y = Y if kind is MLPClassifier else VALUES
    model = made(kind, warm_start=warm_start).fit(X, y)
    before = model.coefs_[0].copy()
    model.set_params(**changed)
    (name, value), *_ = changed.items()
    with pytest.raises(ValueError, match=rf"^{name} was .* and is {value!r} now"):
        (model.fit if warm_start else model.partial_fit)(X, y)
    np.testing.assert_array_equal(model.coefs_[0], before)
    fresh = clone(model).set_params(warm_start=False).fit(X, y)
    model.set_params(warm_start=False).fit(X, y)
    np.testing.assert_array_equal(model.coefs_[0], fresh.coefs_[0])


# --- parameters, by scikit-learn's own validation ----------------------------------------------


@pytest.mark.parametrize("method", ["fit", "partial_fit"])
@pytest.mark.parametrize(
    "wrong",
    [
        {"shuffle": "no"}, {"shuffle": None}, {"early_stopping": "no"}, {"warm_start": "no"},
        {"warm_start": 2}, {"nesterovs_momentum": None}, {"momentum": "x"}, {"momentum": -1},
        {"solver": "sgd", "beta_1": "x"}, {"solver": "sgd", "epsilon": 0}, {"power_t": "x"},
        {"verbose": "loud"}, {"max_fun": "many"}, {"random_state": "x"}, {"activation": "sigmoid"},
        {"solver": "rmsprop"}, {"alpha": -1.0}, {"alpha": np.nan}, {"batch_size": 0},
        {"learning_rate": "cosine"}, {"learning_rate_init": 0.0}, {"max_iter": 0}, {"tol": "x"},
        {"validation_fraction": 1.0}, {"n_iter_no_change": 0}, {"hidden_layer_sizes": "abc"},
        {"dropout": 1.0}, {"dtype": "float16"}, {"xp": np}, {"class_weight": "equal"},
    ],
    ids=str,
)  # fmt: skip
def test_wrong_parameters_are_refused_as_by_scikit_learn(wrong, method):
    """Flags were taken for true, and the other solver's numbers were not looked at."""
    (name, _), *_ = reversed(wrong.items())
    ours, theirs = made(), made(neural_network.MLPClassifier)
    ours.partial_fit(X, Y, classes=[0, 1, 2])
    theirs.partial_fit(X, Y, classes=[0, 1, 2])
    with pytest.raises(InvalidParameterError, match=f"The '{name}' parameter of MLPClassif") as e:
        getattr(ours.set_params(**wrong), method)(X, Y)
    if name not in ("dropout", "dtype", "xp", "class_weight") and method == "fit":
        with pytest.raises(InvalidParameterError) as other:
            theirs.set_params(**wrong).fit(X, Y)
        mine, message = str(e.value), str(other.value)
        assert mine == message or name == "momentum" or "{" in message  # a set, in any order


# --- divergence --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        (MLPRegressor, {"solver": "sgd", "learning_rate_init": 1.0, "activation": "identity"}),
        (MLPRegressor, {"solver": "sgd", "learning_rate_init": 1e3, "loss": "poisson"}),
        (MLPClassifier, {"solver": "sgd", "learning_rate_init": 1e200}),
    ],
    ids=str,
)
def test_divergence_with_early_stopping_ends_with_the_best_weights(kind, parameters):
    """scikit-learn#29504: a ValueError threw them away."""
    y = Y if kind is MLPClassifier else 10.0 * VALUES
    model = made(kind, early_stopping=True, max_iter=50, **parameters)
    with pytest.warns(ConvergenceWarning, match="best validation score") as warned:
        model.fit(10.0 * X, y)
    assert warned[-1].filename == __file__
    assert np.isnan(model.validation_scores_[-1])
    assert isinstance(model.validation_scores_[-1], float)
    assert len(model.validation_scores_) == len(model.loss_curve_) == model.n_iter_
    assert np.isfinite(model.predict(X).astype(float)).all()
    assert all(np.isfinite(p).all() for p in model.coefs_ + model.intercepts_)
    finite = [s for s in model.validation_scores_ if np.isfinite(s)]
    assert model.best_validation_score_ == max(finite, default=-np.inf)


def test_a_search_has_scores_where_fits_diverge():
    """A search over learning rates that lost all its scores to one that is too large."""
    model = made(
        MLPRegressor, solver="sgd", early_stopping=True, activation="identity", max_iter=30
    )
    search = GridSearchCV(model, {"learning_rate_init": [0.01, 1.0]}, cv=2, error_score="raise")
    with pytest.warns(ConvergenceWarning, match="best validation score"):
        search.fit(10.0 * X, VALUES)
    assert np.isfinite(search.cv_results_["mean_test_score"]).all()


# --- fitted attributes -------------------------------------------------------------------------

OF_EPOCHS = ("loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_")


@quiet
def test_attributes_of_lbfgs():
    """t_ was missing; after adam, the curves of another fit were left."""
    model, theirs = made(solver="lbfgs").fit(X, Y), made(neural_network.MLPClassifier)
    assert model.t_ == theirs.set_params(solver="lbfgs").fit(X, Y).t_ == 0
    for warm_start in (False, True):
        model = made(warm_start=warm_start, early_stopping=True).fit(X, Y)
        trained = model.t_
        assert trained > 0
        assert all(hasattr(model, name) for name in OF_EPOCHS)
        model.set_params(solver="lbfgs").fit(X, Y)
        assert model.t_ == (trained if warm_start else 0)
        assert not any(hasattr(model, name) for name in (*OF_EPOCHS, "history_"))
        model.set_params(solver="adam").fit(X, Y)
        assert all(hasattr(model, name) for name in OF_EPOCHS)


@pytest.mark.parametrize("name", ["coefs_", "intercepts_"])
def test_coefs_of_an_estimator_that_is_not_fitted(name):
    """It said: no attribute 'net_'."""
    for model in (MLPClassifier(), MLPRegressor()):
        assert not hasattr(model, name)
        with pytest.raises(NotFittedError, match="is not fitted"):
            getattr(model, name)


@quiet
def test_coefs_can_be_set(lib):
    """`coefs_ = saved` had no setter."""
    with sklearn.config_context(array_api_dispatch=False):
        model = made(solver="lbfgs").set_params(**lib.kwargs).fit(X, Y)
        saved = [w.copy() for w in model.coefs_], [b.copy() for b in model.intercepts_]
        p = model.predict_proba(X)
        model.coefs_, model.intercepts_ = [0.5 * w for w in saved[0]], [b + 1 for b in saved[1]]
        assert np.abs(model.predict_proba(X) - p).max() > 0.01
        model.coefs_, model.intercepts_ = saved
        np.testing.assert_array_equal(model.predict_proba(X), p)
        for wrong in (
            [saved[0][0]],
            [w.T for w in saved[0]],
            [w[:2] for w in saved[0]],
            ["a", "b"],
        ):
            with pytest.raises(ValueError, match="coefs_ must be arrays of numbers of the shapes"):
                model.coefs_ = wrong
        np.testing.assert_array_equal(model.predict_proba(X), p)


def test_first_weights_are_set():
    """As in scikit-learn: partial_fit and a warm fit go on with them, fit begins anew."""
    weights = [np.zeros((5, 6)), np.zeros((6, 3))], [np.zeros(6), np.zeros(3)]
    for method, warm_start, taken in (
        ("partial_fit", False, True), ("fit", True, True), ("fit", False, False),
    ):  # fmt: skip
        model = made(learning_rate_init=1e-12, max_iter=1, warm_start=warm_start, tol=1.0)
        model.coefs_, model.intercepts_ = copy.deepcopy(weights)
        model.coefs_[0][:] = 0.5  # the lists are the estimator's
        assert model.coefs_[0][0, 0] == 0.5
        if method == "fit":
            with pytest.warns(ConvergenceWarning):
                model.fit(X, Y)
        else:
            model.partial_fit(X, Y, classes=[0, 1, 2])
        assert np.allclose(model.coefs_[0], 0.5) == taken
    model = made()
    model.coefs_ = weights[0][:1]
    with pytest.raises(ValueError, match="coefs_ must be arrays of numbers of the shapes"):
        model.partial_fit(X, Y, classes=[0, 1, 2])


# --- words -------------------------------------------------------------------------------------


@pytest.mark.parametrize("parameters", [{}, {"solver": "lbfgs"}, {"early_stopping": True}], ids=str)
@pytest.mark.parametrize(
    ("class_weight", "sample_weight"),
    [({0: 0, 1: 0, 2: 0}, None), ({0: 1, 1: 0, 2: 0}, (Y != 0) * 1.0), ({0: 0.0}, (Y == 0) * 1.0)],
    ids=["all", "product", "one"],
)
def test_products_of_weights_that_leave_nothing(parameters, class_weight, sample_weight):
    """ZeroDivisionError."""
    model = made(class_weight=class_weight, **parameters)
    with pytest.raises(ValueError, match="class_weight and sample_weight leave no row"):
        model.fit(X, Y, sample_weight)


@quiet
@pytest.mark.parametrize(
    "parameters",
    [{"solver": "adam"}, {"solver": "sgd"}, {"solver": "lbfgs"},
     {"early_stopping": True, "validation_fraction": 0.3}],
    ids=str,
)  # fmt: skip
def test_rows_of_weight_zero_by_either_weight(parameters):
    """A weight of 0 is no row, whichever of the two it comes from; the product is what counts."""
    some, classes = X[:, 2] > 0, {0: 2.0, 1: 1.0, 2: 0.0}
    product = np.where(some, 0.0, 1.5) * np.asarray([2.0, 1.0, 0.0])[Y]
    both = made(class_weight=classes, **parameters).fit(X, Y, np.where(some, 0.0, 1.5))
    one = made(**parameters).fit(X, Y, product)
    np.testing.assert_array_equal(both.coefs_[0], one.coefs_[0])
    assert np.isfinite(both.loss_)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
def test_a_split_that_leaves_no_weight(kind, seed):
    """One row counts, and is on one side of the split: ZeroDivisionError."""
    model = made(kind, early_stopping=True, random_state=seed)
    y = Y if kind is MLPClassifier else VALUES
    with pytest.raises(ValueError, match=r"leave no row to (train on|validate with) with a weight"):
        model.fit(X, y, (np.arange(40) == 3) * 1.0)
    assert not hasattr(model, "net_")


@pytest.mark.parametrize("value", [-1.0, np.nan, "heavy", np.inf])
def test_class_weights_that_are_none(value):
    """A negative class_weight was called sample_weight."""
    with pytest.raises((TypeError, ValueError), match=r"^class_weight\[1\] must be"):
        made(class_weight={0: 1.0, 1: value}).fit(X, Y)


@pytest.mark.parametrize("y", [-VALUES, VALUES - 0.2, np.where(X[:, 0] > 0, -1, 3)])
def test_poisson_needs_y_of_at_least_0(y):
    """The message spoke of t, and of output 'exp'."""
    with pytest.raises(ValueError, match=r"^loss='poisson' is for y of at least 0; y has -"):
        made(MLPRegressor, loss="poisson").fit(X, y)


@pytest.mark.parametrize("labels", [["rare", "usual"], [7, 9], [False, True]], ids=str)
def test_rare_classes_are_named(labels):
    """By their index, 0 or 1."""
    y = np.asarray(labels)[(np.arange(40) > 0).astype(int)]
    model = made(early_stopping=True)
    with pytest.raises(ValueError, match="least populated") as raised:
        model.fit(X, y)
    assert f"False stands for {labels[0]!r}, True for {labels[1]!r}" in str(raised.value)


@pytest.mark.parametrize(
    ("fraction", "rows", "message"),
    [(0.0, 40, "too small"), (0.01, 40, "too small"), (0.99, 40, "too large"), (0.5, 2, "too s")],
)
def test_validation_fraction_is_named(fraction, rows, message):
    """scikit-learn's message speaks of test_size, which nobody has given."""
    for kind, y in ((MLPClassifier, Y > 0), (MLPRegressor, VALUES)):
        model = made(kind, early_stopping=True, validation_fraction=fraction)
        with pytest.raises(ValueError, match=f"^The validation set is {message}.*validation_fr"):
            model.fit(X[:rows], y[:rows])


@pytest.mark.filterwarnings("ignore:Sparse .* tensor support is in beta state")
@pytest.mark.parametrize("layout", ["to_sparse_coo", "to_sparse_csr", "to_sparse_csc"])
@pytest.mark.parametrize("dispatch", [False, True])
def test_sparse_tensors_are_refused(layout, dispatch):
    """Of another library than SciPy; some array library's own error came of it."""
    import torch

    tensor = getattr(torch.asarray(X), layout)()
    with (
        sklearn.config_context(array_api_dispatch=dispatch),
        pytest.raises(TypeError, match=r"X is a sparse torch\.Tensor: make it dense, or give"),
    ):
        made().fit(tensor, Y)


# --- logarithms of probabilities ---------------------------------------------------------------


@quiet
@pytest.mark.parametrize("kind", ["two", "three", "several", "one"])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_logarithms_of_probabilities_that_are_zero(lib, kind, dtype):
    """-708.4 was the logarithm of each probability that has become 0."""
    from scipy.special import log_expit, log_softmax

    y = {"two": Y > 0, "three": Y, "several": np.stack([Y > 0, Y > 1], 1) * 1, "one": 0 * Y}[kind]
    model = made(solver="lbfgs", hidden_layer_sizes=(), dtype=dtype).set_params(
        xp=lib.kwargs["xp"], device=lib.kwargs["device"]
    )
    model.fit(X, y)
    model.coefs_ = [1000.0 * w for w in model.coefs_]
    a = X @ model.coefs_[0].astype(float) + model.intercepts_[0].astype(float)
    expected = {
        "two": np.concatenate([log_expit(-a), log_expit(a)], axis=1),
        "three": log_softmax(a, axis=1), "several": log_expit(a), "one": 0.0 * a,
    }[kind]  # fmt: skip
    found, p = model.predict_log_proba(X), model.predict_proba(X)
    eps = np.finfo(dtype).eps
    size = 20 * eps * np.abs(a).max()
    np.testing.assert_allclose(found, expected, rtol=20 * eps, atol=size)
    assert kind == "one" or found.min() < -800.0
    with np.errstate(divide="ignore"):
        near = p > 0.5
        np.testing.assert_allclose(found[near], np.log(p)[near], rtol=2 * eps, atol=eps)
    some = p.max(axis=1) > 0.5  # where all are 0 their logarithms tell more
    np.testing.assert_array_equal(found.argmax(axis=1)[some], p.argmax(axis=1)[some])
