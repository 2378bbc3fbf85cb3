"""Search for the best parameters on a cluster: scikit-learn's search, joblib's Dask backend.

    python examples/search_dask.py                     # two worker processes on this machine
    python examples/search_dask.py tcp://HOST:8786     # the cluster of that Dask scheduler

Needs `python -m pip install distributed`. A cluster is a scheduler (`dask scheduler`) and, on
each machine, workers (`dask worker tcp://HOST:8786 --nworkers 8 --nthreads 1`), all with the
same versions of Python, xpnet, scikit-learn and Dask.
"""

import sys

import joblib
from dask.distributed import Client, LocalCluster
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from xpnet.sklearn import MLPClassifier

GRID = {
    "mlpclassifier__hidden_layer_sizes": [(32,), (64,)],
    "mlpclassifier__alpha": [1e-4, 1e-1],
}


def search(client):
    """Return the fitted search; each fit of the grid ran in one of the client's workers."""
    X, y = load_digits(return_X_y=True)
    model = make_pipeline(StandardScaler(), MLPClassifier(early_stopping=True, random_state=0))
    with client.as_current(), joblib.parallel_config(backend="dask"):
        return GridSearchCV(model, GRID, cv=3).fit(X, y)


def main(address=None):
    if address is not None:
        with Client(address) as client:
            return search(client)
    # One thread a process: the threads of one process would share Python's lock. ":0" is any
    # free port for Dask's dashboard.
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        return search(client)


# Workers are new processes, which import this file: what starts them must not run there.
if __name__ == "__main__":
    result = main(*sys.argv[1:2])
    for name, value in result.best_params_.items():
        print(f"{name}: {value}")
    print(f"accuracy, mean of {result.n_splits_} folds: {result.best_score_:.4f}")
