"""Labels stay what they are: in each library, dtype and sign, through fit, files and searches."""

import contextlib
import pickle

import numpy as np
import pytest
import sklearn
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from xpnet.sklearn import MLPClassifier, MLPRegressor
from xpnet.sklearn.arrays import on_host

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
LABELS = {
    "large": np.asarray([5, 3_000_000_000, 3_000_000_001]),
    "equal in 32 bits": np.asarray([5, 2**40 + 5, 2**41 + 5]),
    "negative": np.asarray([-(2**33), -1, 2**33]),
    "floats": np.asarray([1.0, 16777216.0, 16777217.0]),
    "uint8": np.asarray([1, 200, 255], dtype=np.uint8),
    "uint16": np.asarray([1, 2, 65535], dtype=np.uint16),
    "uint64": np.asarray([1, 2, 2**64 - 1], dtype=np.uint64),
    "int8": np.asarray([-128, 0, 127], dtype=np.int8),
    "two large": np.asarray([3, 2**40 + 3]),
    "bool": np.asarray([False, True]),
    "strings": np.asarray(["", "a", "b"]),
    "objects": np.asarray(["no", "yes"], dtype=object),
}
X = np.random.default_rng(0).normal(size=(30, 4)).astype(np.float32)


@pytest.fixture
def dispatched(lib):
    """Dispatch on; JAX as its users have it, with 32 bits."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(sklearn.config_context(array_api_dispatch=True))
        if lib.name == "jax":
            import jax

            stack.enter_context(jax.enable_x64(False))
        yield lib


def quick(**parameters):
    return MLPClassifier((6,), max_iter=3, random_state=0, **parameters)


def quick_on(lib, model):
    """The same without anything to compile, where each fit is compiled anew."""
    return model.set_params(solver="lbfgs") if lib.name == "jax" else model


@pytest.mark.parametrize("kind", LABELS)
def test_labels_stay_what_they_are(dispatched, kind):
    """JAX made -1294967296 of 3000000000, and one label of three, with a score of 1.0."""
    lib, labels = dispatched, LABELS[kind]
    there, y = lib.array(X), labels[np.arange(30) % len(labels)]
    model = quick_on(lib, quick()).fit(there, y)

    def exact(model):
        expected = labels[on_host(model.predict_proba(there)).argmax(axis=1)]
        for found in (on_host(model.predict(there)), outside(model)):
            np.testing.assert_array_equal(found, expected)
            assert found.dtype == labels.dtype
        np.testing.assert_array_equal(on_host(model.classes_), labels)

    def outside(model):
        with sklearn.config_context(array_api_dispatch=False):
            found = model.predict(X)
            assert isinstance(found, np.ndarray)
            return found

    exact(model)
    exact(pickle.loads(pickle.dumps(model)))
    if lib.name == "jax":  # which compiles anew for each call
        return
    exact(model.partial_fit(there, y, classes=labels))
    exact(clone(model).partial_fit(lib.array(X[:4]), y[:4], classes=labels))
    if not lib.flags:
        expected = on_host(model.predict(there)) == y
        assert model.score(there, y) == pytest.approx(expected.mean())


@pytest.mark.parametrize("kind", ["large", "uint16", "strings", "floats"])
def test_labels_through_a_search(dispatched, kind):
    """A search clones, fits and scores: each a place for a label to change."""
    lib, labels = dispatched, LABELS[kind]
    if lib.name not in ("numpy", "torch"):
        pytest.skip("scikit-learn's splits of other arrays are a table of their own")
    y = labels[np.arange(30) % 3]
    search = GridSearchCV(quick(), {"alpha": [1e-4, 1.0]}, cv=2, error_score="raise")
    search.fit(lib.array(X), y)
    assert set(on_host(search.predict(lib.array(X))).tolist()) <= set(labels.tolist())
    np.testing.assert_array_equal(on_host(search.classes_), labels)


@pytest.mark.parametrize("kind", ["multiclass", "binary", "strings", "multilabel", "regression"])
def test_fitted_under_dispatch_used_outside_it(dispatched, kind):
    """predict of NumPy gave a tensor, predict_proba an ndarray; on some devices predict raised."""
    lib, i = dispatched, np.arange(30)
    y = {
        "multiclass": i % 3, "binary": i % 2, "strings": np.asarray(["a", "b", "c"])[i % 3],
        "multilabel": np.stack([i % 2, i % 3 == 0], axis=1).astype(int), "regression": X[:, 0],
    }[kind]  # fmt: skip
    model = quick()
    if kind == "regression":
        model = MLPRegressor(hidden_layer_sizes=(6,), max_iter=3, random_state=0)
    quick_on(lib, model).fit(lib.array(X), y if kind == "strings" else lib.array(y))
    inside = model.predict(lib.array(X))
    with sklearn.config_context(array_api_dispatch=False):
        methods = ["predict"]
        if kind != "regression":
            methods += ["predict_proba", "predict_log_proba"]
        for method in methods:
            found = getattr(model, method)(X)
            assert isinstance(found, np.ndarray), method
            assert found.shape[0] == 30
        if kind == "regression":
            np.testing.assert_allclose(model.predict(X), on_host(inside), rtol=1e-5)
        else:
            np.testing.assert_array_equal(model.predict(X), on_host(inside))
        assert np.isfinite(model.score(X, y))
        if lib.name != "jax":
            assert isinstance(model.partial_fit(X, y).predict(X), np.ndarray)


# --- classes of partial_fit --------------------------------------------------------------------

Y = np.arange(30) % 3
SEVERAL = np.stack([Y == 1, Y == 2, X[:, 0] > 0], axis=1).astype(int)


@pytest.mark.parametrize(
    ("classes", "error", "message"),
    [
        ([0.0, np.nan], ValueError, "NaN"),
        ({0, 1, 2}, TypeError, "classes must be a sequence, not a set"),
        ([[0, 1], [1, 2]], ValueError, "."),
        (np.asarray([0, np.inf]), ValueError, "infinity"),
        ([0.5, 1.5], ValueError, "Unknown label type"),
        ([0, 1], ValueError, r"classes not in `self.classes_`. `self.classes_` has \[0 1\]"),
        (["0", "1", "2"], ValueError, "classes not in `self.classes_`"),
        (frozenset("a"), TypeError, "classes must be a sequence, not a frozenset"),
    ],
    ids=str,
)
def test_classes_that_are_none(classes, error, message):
    """NaN and sets were taken; nothing must be left of a call that was refused."""
    model = quick()
    with pytest.raises(error, match=message):
        model.partial_fit(X, Y, classes=classes)
    assert not hasattr(model, "classes_")
    assert not hasattr(model, "n_features_in_")
    model.partial_fit(X, Y, classes=[0, 1, 2, 3])
    assert model.classes_.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize("wrong", [{"X": X * np.nan}, {"y": Y[:3]}, {"sample_weight": -Y}])
def test_classes_outlive_a_first_call_that_fails(wrong):
    """They were right, and need not be given again."""
    model, call = quick(), {"X": X, "y": Y % 2}
    with pytest.raises(ValueError, match=r"."):
        model.partial_fit(**{**call, **wrong}, classes=[0, 1, 2])
    assert not hasattr(model, "classes_")
    model.partial_fit(**call)
    assert model.classes_.tolist() == [0, 1, 2]


def test_classes_of_several_labels():
    """What is given is looked at: the numbers of the columns, or the values in y."""
    for right in ([0, 1, 2], [0, 1], np.unique(SEVERAL)):
        model = quick().partial_fit(X, SEVERAL, classes=right)
        assert model.classes_.tolist() == [0, 1, 2]
        model.partial_fit(X, SEVERAL, classes=right)
    for wrong in ([0, 1, 2, 3], ["a", "b", "c"], [1, 2, 3]):
        with pytest.raises(ValueError, match="y has several labels a row, and 3 columns"):
            quick().partial_fit(X, SEVERAL, classes=wrong)
        with pytest.raises(ValueError, match="not the same as on last call"):
            model.partial_fit(X, SEVERAL, classes=wrong)
    with pytest.raises(ValueError, match="one label a row in one call, and several in another"):
        model.partial_fit(X, Y)


@pytest.mark.parametrize(
    "wrong",
    [{"sample_weight": np.ones(3)}, {"sample_weight": 0 * Y}, {"y": Y[:5]}, {"X": X * [np.nan]}],
    ids=["shape", "zeros", "y", "X"],
)
def test_a_refused_refit_changes_nothing(wrong):
    """classes_ were replaced already when the weights were refused, and predictions wrong."""
    model = quick().fit(X, np.asarray(["a", "b", "c"])[Y])
    before, p = dict(vars(model)), model.predict(X)
    with pytest.raises(ValueError, match=r"."):
        model.fit(**{"X": X[:, :3] if "X" not in wrong else X, "y": Y, **wrong})
    assert vars(model) == before
    np.testing.assert_array_equal(model.predict(X), p)
    model.set_params(early_stopping=True, validation_fraction=0.01)
    with pytest.raises(ValueError, match="The validation set is too small"):
        model.fit(X, Y)
    np.testing.assert_array_equal(model.predict(X), p)
