"""A search on a cluster: joblib's Dask backend, with worker processes of this machine."""

import os
import pathlib
import re
import runpy
import subprocess
import sys

import joblib
import numpy as np
import pytest
import sklearn
from dask.distributed import Client, LocalCluster
from sklearn.datasets import load_digits
from sklearn.exceptions import FitFailedWarning
from sklearn.model_selection import GridSearchCV, cross_validate
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from xpnet.sklearn import MLPClassifier

EXAMPLE = pathlib.Path(__file__).parent.parent / "examples" / "search_dask.py"

pytestmark = [
    # What goes wrong between processes mostly shows as waiting for ever.
    pytest.mark.timeout(120),
    # A few epochs tell two trainings apart; scikit-learn hands the filter to the workers.
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

# StandardScaler divides 0 by 0 on purpose, and silences NumPy alone.
STRICT_DIVIDES = pytest.mark.filterwarnings(
    "ignore:invalid value encountered in divide:RuntimeWarning:array_api_strict"
)


@pytest.fixture(scope="module")
def client():
    """A client of two worker processes of one thread each."""
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            dashboard_address=":0",  # None would be port 8787, which another session may have
            scheduler_kwargs={"dashboard": False},
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


class Traced(MLPClassifier):
    """A classifier that remembers the process that it was fitted in."""

    def fit(self, X, y, sample_weight=None):
        self.process_ = os.getpid()
        return super().fit(X, y, sample_weight)


def score_and_process(pipeline, X, y):
    """Two "metrics": the accuracy, and where the estimator was fitted."""
    return {"accuracy": pipeline.score(X, y), "process": pipeline[-1].process_}


def digits():
    X, y = load_digits(return_X_y=True)
    return X[:300], y[:300]


def pipeline(**kwargs):
    model = Traced((16,), max_iter=10, batch_size=50, random_state=0, **kwargs)
    return make_pipeline(StandardScaler(), model)


def searched(pipeline, X, y, **kwargs):
    grid = {"traced__alpha": [1e-4, 1.0]}
    options = {"scoring": score_and_process, "refit": "accuracy", "error_score": "raise", **kwargs}
    return GridSearchCV(pipeline, grid, cv=2, **options).fit(X, y)


def processes(search):
    """The processes that the fits of a search ran in."""
    return {int(pid) for i in range(2) for pid in search.cv_results_[f"split{i}_test_process"]}


def assert_same_search(search, alone):
    """Everything but times and processes, to the last bit."""
    ours, theirs = (
        {k: v for k, v in s.cv_results_.items() if not k.endswith(("_time", "_process"))}
        for s in (search, alone)
    )
    assert "split1_test_accuracy" in ours
    assert ours.keys() == theirs.keys()
    for key, values in ours.items():
        np.testing.assert_array_equal(values, theirs[key], err_msg=key)
    assert search.best_params_ == alone.best_params_
    assert_same_net(search.best_estimator_, alone.best_estimator_)


def assert_same_net(ours, theirs):
    """Every parameter, to the last bit, and where it lives."""
    net, other = ours[-1].net_, theirs[-1].net_
    assert net.placement == other.placement
    assert net.params.keys() == other.params.keys()
    for key, p in net.params.items():
        np.testing.assert_array_equal(
            net.placement.to_host(p), other.placement.to_host(other.params[key]), err_msg=key
        )


@pytest.fixture
def shared(lib):
    """A library that the workers have as this process has it."""
    if lib.flags:
        pytest.skip("flags of array_api_strict are of one process")
    return lib


def test_a_search_is_that_of_one_process(client, shared):
    """Another point of the grid would win on a cluster, or the cluster would have idled."""
    X, y = digits()
    model = pipeline(dtype="float64", **shared.kwargs)
    alone = searched(model, X, y)
    assert processes(alone) == {os.getpid()}
    with joblib.parallel_config(backend="dask"):
        search = searched(model, X, y)
    assert processes(search) <= set(client.run(os.getpid).values())
    assert_same_search(search, alone)


@STRICT_DIVIDES
def test_arrays_that_are_followed(client, shared):
    """The workers would see NumPy, or refuse the arrays: dispatch is a setting of one thread."""
    if shared.placement.backend.name == "jax":
        pytest.skip("scikit-learn does not dispatch on JAX arrays")
    X, y = map(shared.array, digits())
    with sklearn.config_context(array_api_dispatch=True):
        alone = searched(pipeline(), X, y)
        # joblib takes arrays other than NumPy's for small, and would send them with every fit.
        with joblib.parallel_config(backend="dask", scatter=[X, y]):
            search = searched(pipeline(), X, y)
        assert type(search.predict(X)) is type(y)
    assert processes(search) <= set(client.run(os.getpid).values())
    assert search.best_estimator_[-1].net_.placement == shared.placement
    assert_same_search(search, alone)


@STRICT_DIVIDES
@pytest.mark.parametrize("followed", [False, True], ids=["sent", "followed"])
def test_an_estimator_comes_back_from_its_worker(client, shared, followed):
    """What was fitted there would predict something else here, or nothing."""
    if followed and shared.placement.backend.name == "jax":
        pytest.skip("scikit-learn does not dispatch on JAX arrays")
    X, y = digits()
    model = pipeline() if followed else pipeline(dtype="float64", **shared.kwargs)
    if followed:
        X, y = shared.array(X), shared.array(y)
    with sklearn.config_context(array_api_dispatch=followed):
        alone = cross_validate(model, X, y, cv=2, return_estimator=True, error_score="raise")
        with joblib.parallel_config(backend="dask"):
            there = cross_validate(model, X, y, cv=2, return_estimator=True, error_score="raise")
        for ours, theirs in zip(there["estimator"], alone["estimator"], strict=True):
            assert ours[-1].process_ in client.run(os.getpid).values()
            assert_same_net(ours, theirs)
            here = shared.host if followed else np.asarray
            for method in ("predict", "predict_proba"):
                np.testing.assert_array_equal(
                    here(getattr(ours, method)(X)), here(getattr(theirs, method)(X))
                )


DIVERGES = {"traced__learning_rate_init": [1e-3, 1e30]}


def test_a_fit_that_diverges_is_an_error_score(client):
    """One bad point of the grid would cost the search, or hold it up for ever."""
    X, y = digits()
    search = GridSearchCV(pipeline(solver="sgd"), DIVERGES, cv=2)
    failed = r"(?s)2 fits failed .*NonFiniteLoss: the loss became .*non-finite parameter weights"
    with (
        joblib.parallel_config(backend="dask"),
        pytest.warns(UserWarning, match="test scores are non-finite"),
        pytest.warns(FitFailedWarning, match=failed),
    ):
        search.fit(X, y)
    good, bad = search.cv_results_["mean_test_score"]
    assert np.isfinite(good)
    assert np.isnan(bad)
    assert search.best_params_ == {"traced__learning_rate_init": 1e-3}


def test_a_fit_that_diverges_is_an_error(client):
    """An error that cannot be unpickled is lost on its way, and the search waits for ever."""
    X, y = digits()
    search = GridSearchCV(pipeline(solver="sgd"), DIVERGES, cv=2, error_score="raise")
    with (
        joblib.parallel_config(backend="dask"),
        pytest.raises(ValueError, match="non-finite parameter weights") as caught,
    ):
        search.fit(X, y)
    # Where it went wrong is the worker's traceback, as text.
    assert re.search(r"NonFiniteLoss: the loss became \S+ at step", str(caught.value.__cause__))


def test_the_example(client):
    """As a program, which its own workers import; and on a cluster that is there already."""
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLE)],
        capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    search = runpy.run_path(str(EXAMPLE))["main"](client.scheduler.address)
    best = search.best_params_
    assert done.stdout == (
        f"mlpclassifier__alpha: {best['mlpclassifier__alpha']}\n"
        f"mlpclassifier__hidden_layer_sizes: {best['mlpclassifier__hidden_layer_sizes']}\n"
        f"accuracy, mean of 3 folds: {search.best_score_:.4f}\n"
    )
    assert search.best_score_ > 0.85
