"""What works of scikit-learn around our estimators, for each library: the table of its page."""

import pathlib
import traceback

import numpy as np
import pytest
import sklearn
from sklearn import metrics, preprocessing
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import TransformedTargetRegressor
from sklearn.decomposition import PCA
from sklearn.ensemble import BaggingClassifier, StackingClassifier, VotingClassifier
from sklearn.inspection import permutation_importance
from sklearn.model_selection import (
    GridSearchCV,
    RandomizedSearchCV,
    cross_val_predict,
    cross_val_score,
    cross_validate,
    train_test_split,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.multioutput import MultiOutputClassifier
from sklearn.pipeline import make_pipeline

from xpnet.sklearn import MLPClassifier, MLPRegressor
from xpnet.sklearn.arrays import on_host

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "scikit-learn.md"
COLUMNS = {"numpy": 1, "torch": 2, "jax": 3, "strict": 4}
RNG = np.random.default_rng(0)
X = RNG.normal(size=(60, 4)).astype(np.float32)
Y = (X[:, 0] > 0).astype(int) + (X[:, 1] > 0)
VALUES = X[:, 0] - X[:, 1]


def classifier(solver="lbfgs", **parameters):  # which compiles nothing
    return MLPClassifier((5,), max_iter=3, random_state=0, solver=solver, **parameters)


def regressor():
    return MLPRegressor(hidden_layer_sizes=(5,), max_iter=3, random_state=0, solver="lbfgs")


def scaled(scaler):
    return lambda x, y, v: make_pipeline(clone(scaler), classifier()).fit(x, y).predict(x)


def searched(x, y, v):
    return GridSearchCV(classifier(), {"alpha": [0.1, 1.0]}, cv=2, error_score="raise").fit(x, y)


def drawn(x, y, v):
    given = {"alpha": [0.1, 1.0]}
    search = RandomizedSearchCV(classifier(), given, n_iter=2, cv=2, error_score="raise")
    return search.fit(x, y)


def early(x, y, v):
    return classifier("adam", early_stopping=True, validation_fraction=0.3).fit(x, y).predict(x)


def scorer(name, model=classifier):
    def run(x, y, v):
        target = v if model is regressor else y
        fitted = model().fit(x, target)
        score = metrics.get_scorer(name)(fitted, x, target)
        assert np.isfinite(float(score))
        return score

    return run


def crossed(x, y, v):
    return cross_val_score(classifier(), x, y, cv=2, error_score="raise")


ROWS = {
    "`fit`, `predict`, `predict_proba`": lambda x, y, v: classifier().fit(x, y).predict_proba(x),
    "`partial_fit`": lambda x, y, v: classifier("adam").partial_fit(x, y, classes=[0, 1, 2]),
    "`MLPClassifier.score`": lambda x, y, v: classifier().fit(x, y).score(x, y),
    "`MLPRegressor.score`": lambda x, y, v: regressor().fit(x, v).score(x, v),
    "`early_stopping=True`": early,
    "`train_test_split`": lambda x, y, v: train_test_split(x, y, random_state=0),
    "`StandardScaler` in a pipeline": scaled(preprocessing.StandardScaler()),
    "`MinMaxScaler`": scaled(preprocessing.MinMaxScaler()),
    "`MaxAbsScaler`": scaled(preprocessing.MaxAbsScaler()),
    "`Normalizer`": scaled(preprocessing.Normalizer()),
    "`PCA(svd_solver='full')`": scaled(PCA(2, svd_solver="full")),
    "`cross_val_score`": crossed,
    "`cross_validate`": lambda x, y, v: cross_validate(
        classifier(), x, y, cv=2, error_score="raise"
    ),
    "`cross_val_predict`": lambda x, y, v: cross_val_predict(classifier(), x, y, cv=2),
    "`GridSearchCV`": searched,
    "`RandomizedSearchCV`": drawn,
    "scorer `accuracy`": scorer("accuracy"),
    "scorer `balanced_accuracy`": scorer("balanced_accuracy"),
    "scorer `f1_macro`": scorer("f1_macro"),
    "scorer `neg_log_loss`": scorer("neg_log_loss"),
    "scorer `roc_auc_ovr`": scorer("roc_auc_ovr"),
    "scorer `r2`": scorer("r2", regressor),
    "scorer `neg_mean_squared_error`": scorer("neg_mean_squared_error", regressor),
    "`CalibratedClassifierCV`": lambda x, y, v: CalibratedClassifierCV(classifier(), cv=2).fit(
        x, y
    ),
    "`VotingClassifier`": lambda x, y, v: VotingClassifier([("a", classifier())]).fit(x, y),
    "`StackingClassifier`": lambda x, y, v: StackingClassifier(
        [("a", classifier())], final_estimator=classifier(), cv=2
    ).fit(x, y),
    "`BaggingClassifier`": lambda x, y, v: BaggingClassifier(classifier(), 2).fit(x, y),
    "`OneVsRestClassifier`": lambda x, y, v: OneVsRestClassifier(classifier()).fit(x, y),
    "`MultiOutputClassifier`": lambda x, y, v: MultiOutputClassifier(classifier()).fit(
        x, y[:, None]
    ),
    "`TransformedTargetRegressor`": lambda x, y, v: TransformedTargetRegressor(
        regressor(), transformer=preprocessing.StandardScaler()
    ).fit(x, v),
    "`permutation_importance`": lambda x, y, v: permutation_importance(
        classifier().fit(x, y), x, y, n_repeats=2
    ),
}


def rows_of_the_page():
    """The cells of the page's table, by the first of each row."""
    table = PAGE.read_text(encoding="utf-8").split("<!-- pipelines: begin -->")[1]
    lines = [line for line in table.split("<!-- pipelines: end -->")[0].splitlines() if "|" in line]
    cells = [[cell.strip() for cell in line.strip("| ").split("|")] for line in lines]
    return {row[0]: row for row in cells[2:]}


def works(run, lib):
    """Whether a row works on arrays of a library."""
    with sklearn.config_context(array_api_dispatch=True):
        x, y, values = lib.array(X), lib.array(Y), lib.array(VALUES)
        try:
            run(x, y, values)
        except Exception as error:  # whatever a library and scikit-learn say of each other
            files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
            ours = [str(PAGE.parent.parent / "src") in file or "xpnet" in file for file in files]
            theirs = [
                "sklearn" in file and not mine for file, mine in zip(files, ours, strict=True)
            ]
            assert max(np.flatnonzero(theirs)) > max(np.flatnonzero(ours), default=-1)
            return False
        return True


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ROWS)
def test_the_table_is_true(lib, name):
    """JAX was promised in pipelines, where scikit-learn writes into its arrays."""
    if lib.name not in COLUMNS:
        pytest.skip("the table has a column for each library, not for each way of running it")
    cell = rows_of_the_page()[name][COLUMNS[lib.name]]
    assert cell == ("yes" if works(ROWS[name], lib) else "no")


def test_the_table_is_whole():
    """A row that is tested and not shown, or shown and not tested."""
    assert list(rows_of_the_page()) == list(ROWS)


def test_what_is_asked_of_the_table():
    """With NumPy everything works, so a row that fails is the library's and scikit-learn's."""
    assert {row[1] for row in rows_of_the_page().values()} == {"yes"}
    assert on_host(X) is X
