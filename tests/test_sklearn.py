"""The estimators: scikit-learn's own checks, its MLP as the oracle, arrays that are followed."""

import copy
import importlib.util
import inspect
import pickle
import re
import signal
import subprocess
import sys
import threading
import unittest

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import sklearn
from scipy import sparse
from sklearn import neural_network
from sklearn.base import clone
from sklearn.datasets import make_classification, make_regression
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import xpnet
import xpnet.sklearn
from xpnet.sklearn import MLPClassifier, MLPRegressor, base
from xpnet.sklearn.solvers import Epochs
from xpnet.training import session

OWN = {"class_weight", "dropout", "xp", "device", "dtype"}
PAIRS = [
    (MLPClassifier, neural_network.MLPClassifier),
    (MLPRegressor, neural_network.MLPRegressor),
]

# --- scikit-learn's own checks -----------------------------------------------------------------


def expected_skips():
    """Why a check may be left out on this machine; any other reason is a failure."""
    import torch

    reasons = [
        "does not have a decision_function",  # scikit-learn's MLPClassifier has none either
        "dpnp is not installed",  # not a library of xpnet
        "no XPU device is available",
    ]
    reasons += [
        f"{name} is not installed"
        for name in ("cupy", "array_api_strict")
        if importlib.util.find_spec(name) is None
    ]
    if not torch.cuda.is_available():
        reasons.append("requires cuda, which is not available")
    if not torch.backends.mps.is_available():
        reasons += ["MPS is not available", "PYTORCH_ENABLE_MPS_FALLBACK is not set"]
    return reasons


@pytest.mark.sessions("numpy", "strict")  # array_api_strict is among what scikit-learn tries
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@parametrize_with_checks([MLPClassifier(max_iter=100), MLPRegressor(max_iter=100)])
def test_scikit_learns_checks(estimator, check):
    """What scikit-learn asks of any estimator; with the array API checks, none skipped unseen."""
    try:
        check(estimator)
    except unittest.SkipTest as skipped:
        reason = str(skipped)
        if not any(expected in reason for expected in expected_skips()):
            pytest.fail(f"left out, which is not expected here: {reason}")
        pytest.skip(reason)


@pytest.mark.parametrize(("ours", "theirs"), PAIRS)
def test_parameters_are_scikit_learns(ours, theirs):
    """A renamed or moved parameter would break a program whose import line was changed."""
    mine = inspect.signature(ours.__init__).parameters
    other = inspect.signature(theirs.__init__).parameters
    assert [name for name in mine if name not in OWN] == list(other)
    for name, parameter in other.items():
        assert mine[name].default == parameter.default, name
        assert mine[name].kind == parameter.kind, name


# --- scikit-learn's MLP as the oracle ----------------------------------------------------------

N = 90
QUICK = {"learning_rate_init": 0.03, "max_iter": 300, "tol": 1e-2, "random_state": 0}


def data(kind, n=N, seed=0):
    X, y = make_classification(
        n, 8, n_informative=6, n_classes=3, random_state=seed, class_sep=0.7
    )
    targets = {
        "multiclass": lambda: y,
        "strings": lambda: np.asarray(["ape", "bee", "cat"])[y],
        "binary": lambda: (y == 1).astype(int),
        "multilabel": lambda: np.stack([y == 1, y == 2, X[:, 0] > 0], axis=1).astype(int),
        "regression": lambda: X[:, 0] - 2.0 * X[:, 1] * X[:, 2],
        "counts": lambda: np.floor(np.exp(np.abs(0.5 * X[:, 0]))) - 1.0,
    }
    return X, targets[kind]()


def pair(kind, **parameters):
    """Our estimator and scikit-learn's, with the same parameters."""
    ours, theirs = PAIRS[kind in ("regression", "counts")]
    if kind == "counts":
        parameters["loss"] = "poisson"
    parameters = {"random_state": 3, "max_iter": 40, **parameters}
    return ours(**parameters), theirs(**parameters)


def same(ours, theirs, X):
    """Both have gone the same way, and ended at the same place."""
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.out_activation_ == theirs.out_activation_
    assert (ours.n_layers_, ours.n_outputs_) == (theirs.n_layers_, theirs.n_outputs_)
    np.testing.assert_allclose(ours.loss_, theirs.loss_, rtol=1e-9)
    for mine, other in zip(
        ours.coefs_ + ours.intercepts_, theirs.coefs_ + theirs.intercepts_, strict=True
    ):
        np.testing.assert_allclose(mine, other, rtol=1e-7, atol=1e-9)
    mine, other = ours.predict(X), theirs.predict(X)
    assert mine.dtype == other.dtype
    if mine.dtype.kind == "f":
        np.testing.assert_allclose(mine, other, rtol=1e-7)
    else:
        np.testing.assert_array_equal(mine, other)
        np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=1e-6)
        # Theirs is the logarithm of 1 - p, which has no digits left where p is nearly 1.
        some = theirs.predict_proba(X) > 1e-6
        mine, other = ours.predict_log_proba(X), theirs.predict_log_proba(X)
        np.testing.assert_allclose(mine[some], other[some], rtol=1e-6, atol=1e-9)
    if ours.solver == "lbfgs":
        return
    assert ours.t_ == theirs.t_
    for name in ("loss_curve_", "validation_scores_", "best_loss_", "best_validation_score_"):
        mine, other = getattr(ours, name), getattr(theirs, name)
        assert (mine is None) == (other is None), name
        if mine is not None:
            np.testing.assert_allclose(mine, other, rtol=1e-9, err_msg=name)


SETTINGS = [
    {},
    {"hidden_layer_sizes": (20, 10), "activation": "tanh", "alpha": 3.0},
    {"hidden_layer_sizes": 7, "activation": "logistic", "learning_rate_init": 0.03},
    {"hidden_layer_sizes": (), "beta_1": 0.7, "beta_2": 0.9, "epsilon": 0.1},
    {"solver": "sgd", "activation": "identity", "learning_rate_init": 0.02},
    {"solver": "sgd", "nesterovs_momentum": False, "momentum": 0.5, "learning_rate_init": 0.1},
    {"solver": "sgd", "momentum": 0.0, "learning_rate": "invscaling", "learning_rate_init": 0.2,
     "power_t": 0.3},
    {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 0.1, "tol": 0.05,
     "n_iter_no_change": 2, "max_iter": 300},
    {"tol": 0.01, "n_iter_no_change": 1, "learning_rate_init": 0.2, "max_iter": 300},
    {"tol": 0.01, "n_iter_no_change": 3, "learning_rate_init": 0.05, "max_iter": 300},
    {"early_stopping": True, "validation_fraction": 0.3, "n_iter_no_change": 4, "max_iter": 200,
     "learning_rate_init": 0.01},
    {"batch_size": 30, "shuffle": False},
    {"batch_size": 9, "alpha": 0.1},
    {"batch_size": 7, "early_stopping": True, "validation_fraction": 0.3, "max_iter": 10},
]  # fmt: skip


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "kind", ["multiclass", "strings", "binary", "multilabel", "regression", "counts"]
)
@pytest.mark.parametrize("parameters", SETTINGS, ids=str)
def test_same_way_as_scikit_learn(parameters, kind, weighted):
    """Where the batch size divides the rows, all is equal to rounding, the same seed given."""
    X, y = data(kind)
    if parameters.get("early_stopping") and kind == "regression":
        parameters = {**parameters, "learning_rate_init": 0.03}
    weights = None
    if weighted:
        weights = np.random.default_rng(1).uniform(0.5, 2.0, N)
        if "batch_size" in parameters:
            # The L2 term of a batch is divided by its weights there, by the mean weight here.
            parameters = {**parameters, "alpha": 0.0}
    ours, theirs = pair(kind, **parameters)
    same(ours.fit(X, y, weights), theirs.fit(X, y, weights), X)


RULES = [{"solver": "adam"}, {"solver": "lbfgs"}] + [
    {"solver": "sgd", "learning_rate": schedule, **momentum}
    for schedule in ("constant", "invscaling", "adaptive")
    for momentum in ({}, {"nesterovs_momentum": False}, {"momentum": 0.0})
]


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kind", ["multiclass", "binary", "regression"])
@pytest.mark.parametrize("activation", ["relu", "tanh", "logistic", "identity"])
@pytest.mark.parametrize("rule", RULES, ids=str)
def test_each_solver_with_each_schedule_and_activation(rule, activation, kind):
    """A product in which two parts that are right alone do not go together."""
    X, y = data(kind)
    ours, theirs = pair(
        kind, **rule, activation=activation, max_iter=12, tol=0.05, n_iter_no_change=1,
        hidden_layer_sizes=(9, 4), learning_rate_init=0.02, alpha=0.01,
    )  # fmt: skip
    same(ours.fit(X, y), theirs.fit(X, y), X)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kind", ["multiclass", "binary", "multilabel", "regression", "counts"])
def test_lbfgs_is_scikit_learns(kind):
    """The same function and gradient, so the same way; and a weight of 2 is a row twice."""
    X, y = data(kind)
    ours, theirs = pair(kind, solver="lbfgs", max_iter=12, alpha=0.1)
    same(ours.fit(X, y), theirs.fit(X, y), X)
    weights = np.arange(N) % 3.0
    ours.fit(X, y, weights)
    repeated = np.repeat(np.arange(N), weights.astype(int))
    again = clone(ours).fit(X[repeated], y[repeated])
    assert ours.loss_ == pytest.approx(again.loss_, rel=1e-6)
    assert not hasattr(ours, "partial_fit")


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("solver", ["adam", "sgd"])
@pytest.mark.parametrize("kind", ["multiclass", "binary", "multilabel", "regression"])
def test_partial_fit_and_warm_start_go_on(kind, solver):
    """Slots, steps and curves that start anew, or do not, are seen against scikit-learn's."""
    X, y = data(kind)
    ours, theirs = pair(kind, solver=solver, learning_rate="adaptive")
    first = {} if kind == "regression" else {"classes": np.unique(y) if y.ndim == 1 else [0, 1, 2]}
    for _ in range(5):
        same(ours.partial_fit(X, y, **first), theirs.partial_fit(X, y, **first), X)
        first = {}
    ours, theirs = pair(kind, solver=solver, warm_start=True, max_iter=7)
    for _ in range(3):
        same(ours.fit(X, y), theirs.fit(X, y), X)
    assert len(ours.loss_curve_) == 21
    same(ours.partial_fit(X, y), theirs.partial_fit(X, y), X)


def test_batches_of_an_epoch_are_of_one_size():
    """Of 450 rows and 200 a batch: three steps an epoch as in scikit-learn, each of 150 rows."""
    X, y = data("multiclass", 450)
    model = MLPClassifier(max_iter=2, tol=0.0, batch_size=200)
    with pytest.warns(ConvergenceWarning, match="Maximum iterations"):
        model.fit(X, y)
    assert model.history_.steps == 6
    assert model.history_.settings["batch_size"] == 150
    with pytest.warns(UserWarning, match="clipped"):
        MLPClassifier(max_iter=200, batch_size=1000, tol=1.0).fit(X, y)


# --- everything follows X ----------------------------------------------------------------------


@pytest.fixture
def dispatch(lib):
    if "jax" in lib.name:
        pytest.skip("scikit-learn does not dispatch on JAX arrays")
    with sklearn.config_context(array_api_dispatch=True):
        yield lib


def there(array, lib, dtype=None):
    """Whether an array is of the library, on its device, of a dtype."""
    wanted = lib.placement
    xp = xpnet.backend.place(**lib.kwargs).xp
    import array_api_compat as compat

    assert compat.array_namespace(array) is xp
    assert compat.device(array) in (wanted.device, None)
    assert dtype is None or array.dtype == getattr(xp, dtype)
    return True


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kind", ["multiclass", "binary", "multilabel", "regression"])
def test_everything_follows_x(dispatch, kind, dtype):
    """An attribute or a prediction that came out elsewhere, or in another dtype."""
    lib = dispatch
    X, y = data(kind)
    X = X.astype(dtype)
    ours, _ = pair(kind, max_iter=15)
    host = clone(ours).fit(X, y)
    model = ours.fit(lib.array(X), lib.array(y))
    tolerance = {"float32": 2e-3, "float64": 1e-8}[dtype]
    for mine, other in zip(
        model.coefs_ + model.intercepts_, host.coefs_ + host.intercepts_, strict=True
    ):
        assert there(mine, lib, dtype)
        np.testing.assert_allclose(lib.host(mine), other, atol=tolerance)
    prediction = model.predict(lib.array(X))
    assert there(prediction, lib)
    np.testing.assert_allclose(lib.host(prediction), host.predict(X), atol=tolerance)
    if kind != "regression":
        assert there(model.classes_, lib)
        for method in ("predict_proba", "predict_log_proba"):
            p = getattr(model, method)(lib.array(X))
            assert there(p, lib, dtype)
            np.testing.assert_allclose(
                lib.host(p), getattr(host, method)(X), atol=10 * tolerance, rtol=10 * tolerance
            )
    # scikit-learn's accuracy of several labels is NumPy's, and its others look for values.
    if kind != "multilabel" and not lib.flags:
        assert model.score(lib.array(X), lib.array(y)) == pytest.approx(host.score(X, y), abs=0.05)


def test_labels_that_are_strings_stay_on_the_host(dispatch):
    """No array library but NumPy has strings."""
    X, y = data("strings")
    with pytest.warns(ConvergenceWarning):
        model = MLPClassifier(max_iter=30).fit(dispatch.array(X), y)
    assert set(model.predict(dispatch.array(X))) <= set(y)
    assert there(model.predict_proba(dispatch.array(X)), dispatch)


def test_y_and_weights_are_moved_to_x(dispatch):
    """y and sample_weight may come from the host, or as plain lists."""
    X, y = data("binary")
    model = MLPClassifier(max_iter=400, tol=1e-2)
    model.fit(dispatch.array(X), list(y), sample_weight=np.ones(N))
    assert there(model.predict(dispatch.array(X)), dispatch)
    if dispatch.name.startswith("numpy"):
        return
    with pytest.raises(ValueError, match=r"MLPClassifier.predict\(\) must use the same namespace"):
        model.predict(X)
    with pytest.raises(ValueError, match="xp, device and dtype are for NumPy input"):
        MLPClassifier(xp="numpy").fit(dispatch.array(X), y)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kind", ["strings", "binary", "multilabel", "regression"])
def test_numpy_sent_elsewhere(lib, kind):
    """With xp and device the work is done there, and NumPy comes out."""
    X, y = data(kind)
    ours, _ = pair(kind, max_iter=15, early_stopping=True)
    host = clone(ours).fit(X, y)
    model = ours.set_params(**lib.kwargs).fit(X, y)
    assert model.net_.placement.backend.name == lib.placement.backend.name
    assert model.net_.placement.device == lib.placement.device
    for mine, other in zip(model.coefs_, host.coefs_, strict=True):
        assert isinstance(mine, np.ndarray)
        np.testing.assert_allclose(mine, other, atol=1e-8)
    prediction = model.predict(X)
    assert isinstance(prediction, np.ndarray)
    if kind == "regression":
        np.testing.assert_allclose(prediction, host.predict(X), atol=1e-8)
    else:
        np.testing.assert_array_equal(prediction, host.predict(X))
        assert isinstance(model.predict_proba(X), np.ndarray)
    model.set_params(dtype="float32").fit(X.astype("float64"), y)
    assert {c.dtype.name for c in model.coefs_} == {"float32"}
    assert model.score(X, y) == pytest.approx(host.score(X, y), abs=0.1)


def test_float64_where_there_is_none(monkeypatch):
    """Apple's GPUs have no float64: NumPy's default dtype must not be an error there."""
    real = base.place

    def no_float64(xp=None, device=None, dtype=None):
        if dtype == "float64":
            raise xpnet.BackendNotAvailable("this device has no float64")
        return real(xp, device, dtype)

    monkeypatch.setattr(base, "place", no_float64)
    X, y = data("binary")
    model = MLPClassifier(**QUICK).fit(X, y)
    assert model.coefs_[0].dtype == np.float32
    with pytest.raises(xpnet.BackendNotAvailable, match="no float64"):
        MLPClassifier(dtype="float64").fit(X, y)


# --- with the rest of scikit-learn -------------------------------------------------------------


def test_grid_search_on_torch_copies_no_x_to_numpy(monkeypatch):
    """A round trip of X through the host would cost more than the GPU saves."""
    import torch

    X, y = data("multiclass", 120)
    y = (X[:, 0] > 0) + 2 * (X[:, 1] > 0)
    X, y = torch.asarray(X, dtype=torch.float32), torch.asarray(y)
    converted = []

    def counting(name):
        real = getattr(torch.Tensor, name)

        def method(self, *args, **kwargs):
            converted.append(tuple(self.shape))
            return real(self, *args, **kwargs)

        monkeypatch.setattr(torch.Tensor, name, method)

    for name in ("__array__", "numpy", "__dlpack__", "tolist"):
        counting(name)
    pipeline = make_pipeline(StandardScaler(), MLPClassifier((16,), **QUICK))
    search = GridSearchCV(
        pipeline, {"mlpclassifier__alpha": [1e-4, 1.0]}, cv=3, error_score="raise"
    )
    with sklearn.config_context(array_api_dispatch=True):
        search.fit(X, y)
        assert isinstance(search.predict(X), torch.Tensor)
        scores = cross_val_score(pipeline, X, y, cv=3, error_score="raise")
    assert search.best_score_ > 0.6
    assert scores.mean() > 0.6
    assert converted  # the labels do come to the host: the patch works
    copies = [shape for shape in converted if len(shape) == 2 and shape[1] == X.shape[1]]
    assert copies == []


def test_grid_search_and_feature_names_with_data_frames():
    """Frames of pandas and polars, with their column names, as in any pipeline."""
    X, y = data("strings")
    names = [f"f{i}" for i in range(X.shape[1])]
    for frame in (pd.DataFrame(X, columns=names), pl.DataFrame(X, schema=names)):
        model = MLPClassifier(**QUICK).fit(frame, y)
        assert list(model.feature_names_in_) == names
        assert model.score(frame, y) > 0.8
    with pytest.raises(ValueError, match="feature names"):
        model.predict(frame.rename({"f0": "other"}))
    series = MLPClassifier(**QUICK).fit(X, pd.Series(y))
    np.testing.assert_array_equal(series.predict(X), model.predict(frame))


def test_sparse_is_dense():
    """scikit-learn's MLP takes sparse matrices; the result must be that of the dense one."""
    X, y = data("binary")
    X[X < 0.3] = 0.0
    dense = MLPClassifier(**QUICK).fit(X, y)
    for kind in (sparse.csr_matrix, sparse.csc_array, sparse.coo_array):
        model = clone(dense).fit(kind(X), y)
        np.testing.assert_array_equal(model.coefs_[0], dense.coefs_[0])
        np.testing.assert_array_equal(model.predict(kind(X)), dense.predict(X))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("kind", ["multiclass", "regression"])
def test_dropout(lib, kind, monkeypatch):
    """In training only, the same for the same random_state, wherever the work is done."""
    X, y = data(kind, 450)
    ours, _ = pair(kind, max_iter=15)
    ours.set_params(dropout=0.4, **lib.kwargs)
    model = clone(ours).fit(X, y)
    assert model.history_.settings["dropout"] == 0.4
    plain = clone(ours).set_params(dropout=0.0).fit(X, y)
    host = clone(ours).set_params(xp=None, device=None).fit(X, y)
    np.testing.assert_allclose(model.loss_curve_, host.loss_curve_, rtol=1e-9)
    assert abs(model.loss_curve_[0] / plain.loss_curve_[0] - 1) > 1e-3
    np.testing.assert_array_equal(model.predict(X), model.predict(X))
    # An epoch may take several blocks, which changes nothing.
    monkeypatch.setattr(session, "MASK_BYTES", 2 * 150 * 100)
    blocks = clone(ours).fit(X, y)
    assert blocks.history_.block_steps[:3] == [2, 4, 6]
    assert (blocks.n_iter_, blocks.t_) == (model.n_iter_, model.t_)
    np.testing.assert_allclose(blocks.loss_curve_, model.loss_curve_, rtol=1e-15)
    np.testing.assert_array_equal(blocks.coefs_[0], model.coefs_[0])


@pytest.mark.parametrize("warm_start", [False, True])
def test_dropout_goes_on(warm_start):
    """The masks of an epoch must not be those of the last, with a number for random_state too."""
    X, y = data("multiclass")
    # Nothing but the masks differs from call to call.
    model = MLPClassifier(
        dropout=0.5, random_state=0, max_iter=1, learning_rate_init=1e-12, shuffle=False, tol=0.0,
        warm_start=warm_start,
    )  # fmt: skip
    losses = []
    for _ in range(4):
        if warm_start:
            with pytest.warns(ConvergenceWarning):
                model.fit(X, y)
        else:
            model.partial_fit(X, y, classes=[0, 1, 2])
        losses.append(model.loss_)
    assert np.diff(np.sort(losses)).min() > 1e-5


def test_class_weight():
    """Weights of classes are weights of their rows, and multiply those that are given."""
    X, y = data("binary", 200)
    model = MLPClassifier(**QUICK, class_weight={0: 1, 1: 5})
    by_row = clone(model).set_params(class_weight=None)
    given = np.random.default_rng(0).uniform(0.5, 1.0, 200)
    for weights in (None, given):
        model.fit(X, y, weights)
        by_row.fit(X, y, np.where(y == 1, 5.0, 1.0) * (1.0 if weights is None else weights))
        np.testing.assert_array_equal(model.coefs_[0], by_row.coefs_[0])
    named = np.where(y == 1, "a yes", "no")  # sorted the other way round
    model.set_params(class_weight={"a yes": 5, "no": 1}).fit(X, named)
    by_row.fit(X, named, np.where(y == 1, 5.0, 1.0))
    np.testing.assert_array_equal(model.coefs_[0], by_row.coefs_[0])
    rare = y * (np.arange(200) % 4 == 0)
    plain = MLPClassifier((), **QUICK)
    balanced = clone(plain).set_params(class_weight="balanced")
    assert balanced.fit(X, rare).predict(X).sum() > plain.fit(X, rare).predict(X).sum()
    with pytest.raises(ValueError, match="class_weight='balanced' needs all of y"):
        balanced.partial_fit(X, rare)
    with pytest.raises(ValueError, match="class_weight is for one label a row"):
        balanced.fit(X, np.stack([y, rare], axis=1))


def test_rows_of_weight_zero_are_no_rows():
    """A batch of such rows alone would have no mean, and its loss would be NaN."""
    X, y = data("multiclass")
    weights = (np.arange(N) < 40).astype(float)
    parameters = {**QUICK, "batch_size": 10}
    model = MLPClassifier(**parameters).fit(X, y, weights)
    only = MLPClassifier(**parameters).fit(X[:40], y[:40], weights[:40])
    np.testing.assert_allclose(model.coefs_[0], only.coefs_[0])


# --- copies ------------------------------------------------------------------------------------


def fitted(lib, **parameters):
    X, y = data("multiclass")
    parameters = {**QUICK, **parameters}
    return MLPClassifier(**parameters).set_params(**lib.kwargs).fit(X, y), X, y


def test_copies(lib, tmp_path):
    """pickle, joblib and deepcopy give the same predictions, and go on in the same way."""
    model, X, y = fitted(lib)
    joblib.dump(model, tmp_path / "model.joblib")
    for again in (
        pickle.loads(pickle.dumps(model)),
        joblib.load(tmp_path / "model.joblib"),
        copy.deepcopy(model),
    ):
        np.testing.assert_array_equal(again.predict_proba(X), model.predict_proba(X))
        assert again.net_.placement.device == model.net_.placement.device
        assert again.loss_curve_ == model.loss_curve_
        mine = copy.deepcopy(model).partial_fit(X, y)
        again.partial_fit(X, y)
        np.testing.assert_array_equal(again.coefs_[0], mine.coefs_[0])
    with pytest.raises(NotFittedError):
        clone(model).predict(X)
    for name in ("coefs_", "intercepts_", "n_layers_", "n_outputs_", "out_activation_"):
        assert not hasattr(clone(model), name)


def test_copies_of_what_follows_its_arrays(dispatch):
    """As above, for a model that was fitted on arrays of the library."""
    X, y = data("binary")
    model = MLPClassifier(**QUICK).fit(dispatch.array(X), dispatch.array(y))
    again = pickle.loads(pickle.dumps(model))
    p = again.predict(dispatch.array(X))
    assert there(p, dispatch)
    np.testing.assert_array_equal(
        dispatch.host(p), dispatch.host(model.predict(dispatch.array(X)))
    )


def test_a_model_of_a_gpu_loads_without_one(monkeypatch):
    """Trained where there is a GPU, used where there is none."""
    import torch

    X, y = data("binary")
    with sklearn.config_context(array_api_dispatch=True):
        model = MLPClassifier(**QUICK).fit(torch.asarray(X), torch.asarray(y))
        expected = model.predict_proba(torch.asarray(X)).numpy()
    stored = pickle.dumps(model)
    real = base.place

    def no_torch(xp=None, device=None, dtype=None):
        if xp == "torch":
            raise xpnet.BackendNotAvailable("backend 'torch' is not installed")
        return real(xp, device, dtype)

    monkeypatch.setattr(base, "place", no_torch)
    with pytest.warns(UserWarning, match=r"fitted on torch.*on NumPy now"):
        again = pickle.loads(stored)
    np.testing.assert_allclose(again.predict_proba(X), expected)
    assert isinstance(again.classes_, np.ndarray)
    again.partial_fit(X, y)


def test_an_estimator_is_moved(dispatch):
    """The way that scikit-learn's message names: move_estimator_to."""
    from sklearn.utils._array_api import get_namespace_and_device, move_estimator_to

    X, y = data("multiclass")
    host = MLPClassifier(**QUICK).fit(X, y)
    there_x = dispatch.array(X)
    xp, _, device = get_namespace_and_device(there_x)
    moved = move_estimator_to(host, xp, device)
    assert there(moved.predict(there_x), dispatch)
    assert there(moved.coefs_[0], dispatch)
    moved.partial_fit(there_x, dispatch.array(y))
    np.testing.assert_allclose(
        dispatch.host(moved.coefs_[0]), host.partial_fit(X, y).coefs_[0], atol=1e-9
    )


def test_the_net_is_there(tmp_path):
    """net_ and history_ have all that xpnet's have: a gradient check, a file, a picture."""
    X, y = data("binary")
    model = MLPClassifier((5,), activation="tanh", **QUICK).fit(X, y)
    assert model.net_.check_gradient(X[:10], y[:10].astype(float)).ok
    model.net_.save(tmp_path / "net.safetensors")
    loaded = xpnet.load(tmp_path / "net.safetensors")
    np.testing.assert_array_equal(loaded.predict(X)[:, 0], model.predict_proba(X)[:, 1])
    model.history_.plot(tmp_path / "loss.png")
    assert (tmp_path / "loss.png").stat().st_size > 10_000


# --- ends --------------------------------------------------------------------------------------


def test_divergence_is_an_error():
    """scikit-learn's own message; and nothing is left that would predict nonsense."""
    X, y = data("regression")
    model = MLPRegressor(solver="sgd", learning_rate_init=1e6, max_iter=50)
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        model.fit(X, y)
    with pytest.raises(NotFittedError):
        model.predict(X)
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        # Of the last step, whose weights no loss has been computed with.
        MLPRegressor(solver="sgd", learning_rate_init=1e308, max_iter=1).fit(X, 1e3 * y)


class Interrupting(Epochs):
    """Ctrl-C is pressed at the end of the third epoch."""

    def _end(self, loss, net):
        super()._end(loss, net)
        if self.done == 3:
            self.press()


@pytest.mark.usefixtures("ctrl_c")
@pytest.mark.parametrize("in_the_middle", [False, True])
@pytest.mark.parametrize("early_stopping", [False, True])
def test_ctrl_c_leaves_a_usable_estimator(early_stopping, in_the_middle, monkeypatch):
    """A long fit is stopped by hand, and what it has learnt is kept."""

    def press():
        if in_the_middle:  # a second Ctrl-C, or one that a debugger has turned into an exception
            raise KeyboardInterrupt
        signal.raise_signal(signal.SIGINT)

    if threading.current_thread() is not threading.main_thread():
        pytest.skip("signals come to the main thread")
    X, y = data("binary")
    Interrupting.press = staticmethod(press)
    monkeypatch.setattr(base, "Epochs", Interrupting)
    model = MLPClassifier(early_stopping=early_stopping)
    with pytest.warns(UserWarning, match=r"Training interrupted by user\."):
        model.fit(X, y)
    # Without a validation set a block is of 11 epochs: none of them can be the last.
    assert model.n_iter_ == (3 if early_stopping or in_the_middle else 11)
    assert model.predict(X).shape == (N,)
    assert len(model.loss_curve_) == model.n_iter_
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_ctrl_c_in_lbfgs():
    """The same where SciPy runs the loop."""
    X, y = data("binary")
    model = MLPClassifier(solver="lbfgs", verbose=True)

    class Stop:
        lines = 0

        def write(self, text):
            Stop.lines += 1
            if Stop.lines > 4:
                raise KeyboardInterrupt

        def flush(self):
            pass

    old, sys.stdout = sys.stdout, Stop()
    try:
        with pytest.warns(UserWarning, match="interrupted"):
            model.fit(X, y)
    finally:
        sys.stdout = old
    assert model.n_iter_ == 3
    assert model.predict(X).shape == (N,)


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize(
    "parameters",
    [
        {"max_iter": 3},
        {"early_stopping": True, "max_iter": 3},
        {"tol": 10.0, "n_iter_no_change": 2},
        {"solver": "sgd", "learning_rate": "adaptive", "learning_rate_init": 1e-5, "tol": 10.0,
         "n_iter_no_change": 1},
    ],
)  # fmt: skip
def test_verbose_says_what_scikit_learn_says(parameters, capsys):
    """Programs read these lines."""
    X, y = data("binary")
    ours, theirs = pair("binary", verbose=True, **{"max_iter": 60, **parameters})
    theirs.fit(X, y)
    expected = capsys.readouterr().out
    ours.fit(X, y)
    assert capsys.readouterr().out == expected


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"hidden_layer_sizes": (3, 0)}, "hidden_layer_sizes must be > 0, got [3, 0]"),
        ({"hidden_layer_sizes": (3, 1.5)}, "every entry of hidden_layer_sizes must be a whole"),
        ({"solver": "sgd", "momentum": 1.0}, "'momentum' parameter of MLPClassifier must be a flo"),
        ({"dropout": 1.0}, "'dropout' parameter of MLPClassifier must be a float in the range"),
        ({"dropout": 0.5, "solver": "lbfgs"}, "dropout needs the solver 'sgd' or 'adam'"),
        ({"xp": np}, "'xp' parameter of MLPClassifier must be an instance of 'str' or None"),
        ({"xp": "tensorflow"}, "unknown backend 'tensorflow'"),
        ({"dtype": "float16"}, "'dtype' parameter of MLPClassifier must be a str among"),
        ({"class_weight": 3}, "'class_weight' parameter of MLPClassifier must be an instance of"),
        ({"class_weight": {1: -1.0}}, "class_weight[1] must be finite and at least 0, not -1"),
        ({"early_stopping": True, "validation_fraction": 0.001},
         "The validation set is too small. Increase 'validation_fraction'"),
    ],
    ids=str,
)
def test_bad_parameters(parameters, message):
    """Each says its name, what was expected and what came; nothing is fitted."""
    X, y = data("multiclass")
    model = MLPClassifier(**parameters)
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        model.fit(X, y)
    with pytest.raises(NotFittedError):
        model.predict(X)


def test_bad_data():
    """Targets and weights that are none, and calls that contradict each other."""
    X, y = data("multiclass")
    model = MLPClassifier(**QUICK)
    with pytest.raises(ValueError, match="Unknown label type"):
        model.fit(X, X[:, 0])
    with pytest.raises(ValueError, match="Multioutput target data"):
        model.fit(X, np.stack([y, y], axis=1))
    with pytest.raises(ValueError, match="classes must be passed on the first call"):
        model.partial_fit(X, y)
    with pytest.raises(ValueError, match=r"classes not in `self.classes_`"):
        model.partial_fit(X, y, classes=[0, 1])
    model.partial_fit(X, y, classes=[0, 1, 2, 3])
    with pytest.raises(ValueError, match="not the same as on last call"):
        model.partial_fit(X, y, classes=[0, 1, 2])
    with pytest.raises(ValueError, match=r"classes not in `self.classes_`"):
        model.partial_fit(X, y + 7)
    for weights, message in (
        (np.ones(3), r"sample_weight.shape == \(3,\), expected \(90,\)"),
        (np.ones((N, 2)), "must be 1D"),
        (np.zeros(N), "at least one non-zero"),
        (np.full(N, np.nan), "NaN"),
        (np.where(np.arange(N) % 2, 1.0, -1.0), "at least 0, not -1"),
    ):
        with pytest.raises(ValueError, match=message):
            MLPClassifier().fit(X, y, weights)
    with pytest.raises(ValueError, match="partial_fit does not support early_stopping"):
        MLPClassifier(early_stopping=True).partial_fit(X, y, classes=[0, 1, 2])
    warm = MLPClassifier(**QUICK, warm_start=True).fit(X, y)
    with pytest.raises(ValueError, match="same classes as in the previous call"):
        warm.fit(X, y % 2)
    with pytest.raises(ValueError, match="layer sizes"):
        warm.set_params(hidden_layer_sizes=(4,)).fit(X, y)
    with pytest.raises(ValueError, match="The 'loss' parameter of MLPRegressor must be"):
        MLPRegressor("absolute").fit(X, y)
    with pytest.raises(ValueError, match="loss='poisson' is for y of at least 0; y has -"):
        MLPRegressor("poisson").fit(X, -y)


def test_lazily_imported():
    """`import xpnet` must stay light; `xpnet.sklearn` must be there all the same."""
    code = (
        "import sys, xpnet\n"
        "before = 'sklearn' in sys.modules\n"
        "print(before, xpnet.sklearn.MLPClassifier.__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "False MLPClassifier"


def test_without_scikit_learn(monkeypatch):
    """The message has the line that installs it."""
    monkeypatch.setitem(sys.modules, "sklearn", None)
    monkeypatch.delitem(sys.modules, "xpnet.sklearn")
    monkeypatch.delattr(xpnet, "sklearn")
    with pytest.raises(ImportError, match=r"python -m pip install 'xpnet\[sklearn\]'"):
        xpnet.sklearn  # noqa: B018
    with pytest.raises(AttributeError, match="no attribute 'scikit'"):
        xpnet.scikit  # noqa: B018


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_multioutput_regression():
    """Several outputs: half the squared error, summed over them."""
    X, y = make_regression(120, 5, n_targets=3, random_state=0)
    y /= y.std(axis=0)
    model = MLPRegressor("squared_error", (30,), **QUICK).fit(X, y)
    assert model.predict(X).shape == (120, 3)
    assert model.n_outputs_ == 3
    assert model.score(X, y) > 0.95
