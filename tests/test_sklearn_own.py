"""scikit-learn's own tests of its MLP, run on ours: only the import differs.

The installed `test_mlp.py` is read, its import of the two estimators replaced in memory, and each
of its tests collected here under its own name, with its own parameters. Nothing is copied.
"""

import importlib.util
import pathlib
import types

import pytest

ORIGINAL = "sklearn.neural_network.tests.test_mlp"
IMPORT = "from sklearn.neural_network import MLPClassifier, MLPRegressor"
# What cannot pass: each looks at a name that is private to scikit-learn.
PRIVATE = {
    "test_gradient": "_loss_grad_lbfgs",
    "test_learning_rate_warmstart": "_optimizer",
    "test_adaptive_learning_rate": "_optimizer",
    "test_n_iter_no_change": "_no_improvement_count",
    "test_n_iter_no_change_inf": "_no_improvement_count",
}


def with_our_import() -> types.ModuleType:
    """Return scikit-learn's module of tests with the estimators of xpnet.sklearn."""
    path = pathlib.Path(importlib.util.find_spec(ORIGINAL).origin)
    source = path.read_text(encoding="utf-8")
    assert source.count(IMPORT) == 1, "scikit-learn's tests import the estimators in another way"
    source = source.replace(IMPORT, IMPORT.replace("sklearn.neural_network", "xpnet.sklearn"))
    module = types.ModuleType(ORIGINAL)
    module.__file__ = str(path)
    exec(compile(source, path, "exec"), vars(module))
    return module


theirs = with_our_import()
found = {name: test for name, test in vars(theirs).items() if name.startswith("test_")}
for name, test in found.items():
    # scikit-learn's configuration lets such warnings be.
    for ignored in ("ConvergenceWarning", "RuntimeWarning"):
        kind = "sklearn.exceptions.ConvergenceWarning" if ignored[0] == "C" else ignored
        test = pytest.mark.filterwarnings(f"ignore::{kind}")(test)
    if name in PRIVATE:
        reason = f"looks at {PRIVATE[name]}, which is private to scikit-learn"
        test = pytest.mark.xfail(raises=AttributeError, reason=reason, strict=True)(test)
    globals()[name] = test


@pytest.fixture
def global_random_seed():
    """scikit-learn's own fixture; its default."""
    return 42


def test_scikit_learns_tests_were_found():
    """A file that has moved, or a list of excuses for tests that are no longer there."""
    assert len(found) > 40
    assert set(PRIVATE) <= set(found)
    assert theirs.MLPClassifier.__module__.startswith("xpnet.")


@pytest.mark.parametrize("name", PRIVATE)
def test_private_names_are_private(name, request):
    """The excuse is that a test looks at this name, and it does."""
    import inspect

    assert PRIVATE[name].startswith("_")
    assert PRIVATE[name] in inspect.getsource(found[name])
