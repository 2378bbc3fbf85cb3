"""Sparse X: rows made dense a batch at a time, in every container, on every backend."""

import copy
import pickle
import tracemalloc

import numpy as np
import pytest
import sklearn
from scipy import sparse
from sklearn import neural_network
from sklearn.base import clone
from sklearn.preprocessing import MaxAbsScaler

import xpnet
from xpnet.optimizers import Adam
from xpnet.sklearn import MLPClassifier, MLPRegressor
from xpnet.training import sparse as source
from xpnet.training.plan import Plan
from xpnet.training.sparse import Sparse, SparseRows, narrowed, pieces, predicted

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
FORMATS = ["csr", "csc", "coo", "bsr", "lil", "dok", "dia"]
CONTAINERS = [getattr(sparse, f"{name}_{kind}") for name in FORMATS for kind in ("matrix", "array")]


def data(n=60, columns=300, each=4, seed=0):
    """Rows with a few numbers each, one row with none, one column with none."""
    rng = np.random.default_rng(seed)
    X = np.zeros((n, columns))
    for row in X[1:]:
        row[rng.choice(columns - 1, each, replace=False)] = rng.normal(size=each)
    score = X @ rng.normal(size=columns)
    return X, np.digitize(score, [-0.8, 0.8]), score


def made(kind=MLPClassifier, **parameters):
    return kind(**{"hidden_layer_sizes": (7,), "max_iter": 4, "random_state": 0, **parameters})


@pytest.mark.filterwarnings("ignore::scipy.sparse.SparseEfficiencyWarning")
@pytest.mark.parametrize("container", CONTAINERS, ids=lambda c: c.__name__)
def test_every_container(container):
    """What scikit-learn takes, and what it makes of it."""
    X, y, _ = data()
    dense, theirs = made().fit(X, y), made(neural_network.MLPClassifier).fit(container(X), y)
    model = made().fit(container(X), y)
    np.testing.assert_allclose(model.coefs_[0], theirs.coefs_[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(model.coefs_[0], dense.coefs_[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(model.predict_proba(container(X)), dense.predict_proba(X))
    np.testing.assert_array_equal(model.predict(container(X)), dense.predict(X))
    assert model.score(container(X), y) == dense.score(X, y)


SETTINGS = [
    {}, {"solver": "sgd", "alpha": 3.0}, {"solver": "lbfgs"}, {"hidden_layer_sizes": ()},
    {"early_stopping": True, "validation_fraction": 0.3}, {"dropout": 0.3},
    {"batch_size": 7, "alpha": 0.5}, {"hidden_layer_sizes": (500, 3)}, {"dtype": "float32"},
]  # fmt: skip


@pytest.mark.parametrize("columns", [300, 9])
@pytest.mark.parametrize("parameters", SETTINGS, ids=str)
def test_sparse_is_as_dense(lib, parameters, columns):
    """The same way through each solver, weighted, for classes, several labels and values."""
    X, y, score = data(columns=columns)
    weights = np.arange(60) % 3 + 0.5
    several = np.stack([score > 0, score > 0.5], axis=1).astype(int)
    rows = sparse.csr_array(X)
    kinds = [(MLPClassifier, several if lib.name == "torch" else y), (MLPRegressor, score)]
    if lib.name == "jax":  # which compiles anew for each
        if SETTINGS.index(parameters) > 2 or columns == 9:
            pytest.skip("a share of the settings where each is compiled")
        kinds = kinds[:1]
    for kind, target in kinds:
        dense = made(kind, **parameters).set_params(**lib.kwargs)
        model = clone(dense).fit(rows, target, weights)
        dense.fit(X, target, weights)
        tolerance = 1e-3 if "dtype" in parameters else 1e-7
        for mine, other in zip(model.coefs_, dense.coefs_, strict=True):
            np.testing.assert_allclose(mine, other, rtol=tolerance, atol=1e-2 * tolerance)
        assert model.loss_ == pytest.approx(dense.loss_, rel=1e-5)
        mine, other = model.predict(rows), dense.predict(X)
        assert isinstance(mine, np.ndarray)
        np.testing.assert_allclose(mine, other, rtol=tolerance, atol=tolerance)
        if kind is MLPClassifier:
            for method in ("predict_proba", "predict_log_proba"):
                mine, other = getattr(model, method)(rows), getattr(dense, method)(X)
                np.testing.assert_allclose(mine, other, rtol=10 * tolerance, atol=tolerance)


def test_sparse_goes_on(lib):
    """partial_fit, pickles, and dense rows in between."""
    X, y, _ = data()
    rows, dense = sparse.csr_matrix(X), made().set_params(**lib.kwargs)
    model = clone(dense)
    for turn in range(2 if lib.name == "jax" else 4):
        first = {} if turn else {"classes": [0, 1, 2]}
        model.partial_fit(X if turn == 1 else rows, y, **first)
        dense.partial_fit(X, y, **first)
        model = pickle.loads(pickle.dumps(model))
    np.testing.assert_allclose(model.coefs_[0], dense.coefs_[0], rtol=1e-7, atol=1e-10)


def test_sparse_x_under_dispatch():
    """SciPy's are NumPy's, whatever dispatch says; so is what comes out."""
    X, y, _ = data()
    with sklearn.config_context(array_api_dispatch=True):
        model = made().fit(sparse.csr_array(X), y)
        assert isinstance(model.predict(sparse.csr_array(X)), np.ndarray)


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_the_matrix_is_never_whole(lib, solver, monkeypatch):
    """50,000 x 50,000 was a MemoryError: no array that is made has as many rows as X."""
    largest = []
    real = SparseRows.dense

    def dense(self, numbers, width):
        parts = real(self, numbers, width)
        largest.append(parts[0].shape)
        return parts

    monkeypatch.setattr(SparseRows, "dense", dense)
    monkeypatch.setattr(source, "PIECE_ROWS", 20)
    monkeypatch.setattr(source, "PIECE_BYTES", 8 * 7 * 16)
    X, y, _ = data(n=80, columns=1000)
    rows = sparse.csr_matrix(X)
    model = made(solver=solver, batch_size=20, max_iter=2).set_params(**lib.kwargs).fit(rows, y)
    expected = model.net_.predict(model.net_.placement.floats(X))
    assert max(shape[0] for shape in largest) == 20
    assert max(shape[1] for shape in largest) <= 80  # four numbers in each of twenty rows
    found = model.predict_proba(rows)
    np.testing.assert_allclose(found, model.net_.placement.to_host(expected), rtol=1e-9)


@pytest.mark.parametrize("shape", [(400, 20_000), (200, 60_000), (3000, 5000)])
def test_memory_is_that_of_the_weights(shape, monkeypatch):
    """Dense, these are 64, 96 and 120 MB of X; the weights and what Adam keeps are 5 times W."""
    monkeypatch.setattr(source, "BLOCK_BYTES", 8 * 2**20)
    rng = np.random.default_rng(0)
    n, columns = shape
    places = (np.repeat(np.arange(n), 5), rng.integers(0, columns, 5 * n))
    X, y = sparse.csr_array((rng.normal(size=5 * n), places), shape=shape), np.arange(n) % 2
    tracemalloc.start()
    model = made(hidden_layer_sizes=(5,), max_iter=1).fit(X, y)
    model.predict(X)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 12 * 8 * 5 * columns + 30e6
    assert peak < 8 * n * columns


def test_through_the_rest_of_scikit_learn():
    """A scaler that keeps zeros, a split, a score."""
    from sklearn.model_selection import cross_val_score
    from sklearn.pipeline import make_pipeline

    X, y, _ = data()
    pipeline = make_pipeline(MaxAbsScaler(), made())
    scores = cross_val_score(pipeline, sparse.csr_matrix(X), y, cv=3, error_score="raise")
    np.testing.assert_allclose(scores, cross_val_score(pipeline, X, y, cv=3))


# --- the source --------------------------------------------------------------------------------


@pytest.mark.parametrize("l2", [0.0, 0.3])
@pytest.mark.parametrize("width", [30, None])
def test_narrow_rows_have_the_same_gradient(lib, l2, width):
    """Weights whose columns are 0 are left out, and their gradient is that of the L2 term."""
    X, y, _ = data()
    net = xpnet.MLP([300, 6, 3], l2=l2, dtype="float64", seed=0, **lib.kwargs)
    here, rows, numbers = net.placement, SparseRows(sparse.csr_array(X)), np.asarray([3, 0, 7, 7])
    parts = tuple(here.asarray(part) for part in rows.dense(numbers, width))
    assert parts[0].shape == (4, width or 300)
    target = net._batch.target_rows(here.asarray(y[numbers]))
    weights = here.asarray(np.asarray([1.0, 2.0, 0.5, 1.0]))
    mine = narrowed(net)(net.params, parts, target, 0.1, weights)
    other = net._backpropagate(net.params, here.asarray(X[numbers]), target, 0.1, weights)
    assert float(here.to_host(mine[0])) == pytest.approx(float(here.to_host(other[0])), rel=1e-13)
    assert mine[1].keys() == other[1].keys()
    for key, g in mine[1].items():
        np.testing.assert_allclose(here.to_host(g), here.to_host(other[1][key]), atol=1e-15)


@pytest.mark.parametrize("rule", ["sgd", "momentum", Adam()])
def test_a_run_on_sparse_rows(lib, rule):
    """As `xpnet.fit` on the dense ones, step for step."""
    from xpnet.training.plan import Watch
    from xpnet.training.session import Session

    X, y, _ = data()
    net = xpnet.MLP([300, 6, 3], l2=0.01, dtype="float64", seed=0, **lib.kwargs)
    other, here = net.to(), net.placement
    words = {"steps": 12, "batch_size": 10, "optimizer": rule, "learning_rate": 0.1}
    session = Session(Plan(net, SparseRows(sparse.csr_array(X)), here.asarray(y), **words), Watch())
    with session.under_way() as blocks:
        for block in blocks:
            session.report(block, session.run(block))
    history = xpnet.fit(other, here.asarray(X), here.asarray(y), **words)
    np.testing.assert_allclose(session.history.loss, history.loss, rtol=1e-9)


def test_blocks_are_bounded(monkeypatch):
    """However many steps a block may have, its rows are no more than BLOCK_BYTES."""
    X, y, _ = data(columns=1000)
    net = xpnet.MLP([1000, 2, 3], dtype="float64")
    rows = Sparse(net, SparseRows(sparse.csr_matrix(X)), y)
    bytes_of_a_step = 10 * 40 * 8 + 8 * 1000
    monkeypatch.setattr(source, "BLOCK_BYTES", 3 * bytes_of_a_step + 5)
    assert rows.most_steps(10) == 3
    monkeypatch.setattr(source, "BLOCK_BYTES", 5)
    assert rows.most_steps(10) == 1
    inputs = rows.inputs(np.arange(20).reshape(2, 10))
    assert [part.shape for part in inputs] == [(2, 10), (2, 10, 40), (2, 40), (2, 1000)]


def test_matrices_with_entries_that_are_there_twice():
    """SciPy adds them up; and a matrix with no entries at all is one."""
    twice = sparse.csr_matrix((np.ones(4), [1, 1, 0, 2], [0, 2, 3, 4]), shape=(3, 90))
    before = copy.deepcopy(twice)
    rows = SparseRows(twice)
    np.testing.assert_array_equal(rows.dense(np.arange(3), None)[0], twice.toarray())
    assert twice.nnz == before.nnz
    net = xpnet.MLP([90, 4, 2], dtype="float64", seed=0)
    empty = sparse.csr_array((5, 90))
    found = predicted(net, SparseRows(empty))
    np.testing.assert_allclose(found, net.predict(np.zeros((5, 90))))
    (some, parts), *more = pieces(net, SparseRows(empty))
    assert (some, parts[0].shape, more) == (slice(0, 5), (5, 1), [])
    model = made().fit(empty, [0, 1, 0, 1, 0])
    assert len(set(model.predict(empty))) == 1


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e300])
def test_values_that_are_none(value):
    """As for dense X: refused before work starts."""
    X, y, _ = data()
    X[3, 5] = value
    with pytest.raises(ValueError, match=r"Input X contains|not finite"):
        made(dtype="float32").fit(sparse.csr_matrix(X), y)
