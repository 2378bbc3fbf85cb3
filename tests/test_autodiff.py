"""check_autodiff: what the libraries differentiate themselves, held against differences."""

import importlib
import json
import os
import subprocess
import sys
from typing import Any, NamedTuple

import numpy as np
import pytest
from array_api_compat import array_namespace

import xpnet
from xpnet.backend import BACKENDS, Backend

X = np.asarray([0.5, -1.25, 2.0])


class Affine(NamedTuple):
    W: Any
    b: Any


@pytest.fixture
def name(lib):
    """The name of a library that has derivatives of its own."""
    found = lib.placement.backend.name
    if BACKENDS[found].vjp is None:
        pytest.skip(f"{found} has no derivatives of its own")
    return found


def checked(f, *args, name, **options):
    report = xpnet.check_autodiff(f, *args, backends=[name], **options)
    assert list(report.reports) == [name]
    return report.reports[name]


def stopped(x):
    """The same values, cut off from the graph of their library."""
    if hasattr(x, "detach"):
        return x.detach()
    return importlib.import_module("jax").lax.stop_gradient(x)


def total(x):
    return array_namespace(x).sum(x**3)


@pytest.mark.parametrize("f", [
    total,
    lambda x: x**2,
    lambda x: (x**2, array_namespace(x).tanh(x)),
    lambda x: {"a": [x[0] * x[1]], "b": Affine(x**2, array_namespace(x).exp(x))},
    lambda x: (x**2, array_namespace(x).argmax(x)),
], ids=["scalar", "array", "tuple", "nested", "with an integer"])  # fmt: skip
def test_what_f_may_return(name, f):
    """A form of result that is refused, or whose right derivative fails."""
    report = checked(f, X, name=name)
    assert report.verdict == "passed", report
    assert report.parameters["x[0]"].checked == 3


def test_what_args_may_be(name):
    """An argument that f is not handed as it should be, or a report that names another one."""
    seen = {}

    def f(labels, count, layers, scale, text, point):
        seen.update(labels=labels, count=count, text=text)
        xp = array_namespace(labels)
        hidden = xp.tanh(layers[0].W @ point + layers[0].b)
        return scale * xp.sum(xp.where(labels == count, hidden, 2.0 * hidden))

    layers = [Affine(np.asarray([[1.0, 2.0], [0.5, -1.0]]), np.asarray([0.1, 0.2], "float32"))]
    args = (np.asarray([1, 3]), 3, layers, 1.5, "text", [0.25, -0.5])
    report = checked(f, *args, name=name)
    assert report.verdict == "passed", report
    assert list(report.parameters) == ["x[2][0].W", "x[2][0].b", "x[3]", "x[5]"]
    assert seen["count"] == 3
    assert seen["text"] == "text"
    xp = BACKENDS[name].load()
    assert xp.isdtype(seen["labels"].dtype, "integral")


def test_a_wrong_derivative_of_a_library_is_found(name, monkeypatch):
    """The comparison itself: with one entry off by 2 %, nothing may pass."""
    row = BACKENDS[name]

    def wrong(f, arguments, cotangents):
        (gradient,) = row.vjp(f, arguments, cotangents)
        factors = np.asarray([1.0, 1.02, 1.0])
        return (gradient * xpnet.place(name, dtype="float64").asarray(factors),)

    changed = Backend(**{**vars(row), "vjp": wrong})
    monkeypatch.setitem(BACKENDS, name, changed)
    report = checked(total, X, name=name)
    assert report.verdict == "failed"
    assert report.parameters["x[0]"].failed == 1
    assert report.parameters["x[0]"].worst.index == (1,)
    assert not report.causes or "graph" not in report.causes[0]


@pytest.mark.parametrize(("f", "kind"), [
    (lambda x: np.sin(np.asarray(x)), "numpy.ndarray"),
    (lambda x: float(total(x)), "float"),
    (lambda x: np.float64(float(total(x))), "numpy.float64"),
    (lambda x: (x**2, 3.0), "float"),
    (lambda x: None, "NoneType"),
])  # fmt: skip
def test_a_result_that_has_left_the_library(name, f, kind):
    """A result no derivative can follow, which passes or ends the sweep with an error."""
    report = checked(f, X, name=name)
    assert report.verdict == "failed"
    assert report.causes == (f"f has left {name}: it returned {kind}",)


def test_a_way_out_of_the_library_and_back(name):
    """The result is an array of the library again; its values have been NumPy's."""

    def f(x):
        xp = array_namespace(x)
        return xp.sum(xp.asarray(np.sin(np.asarray(x))))

    report = checked(f, X, name=name)
    assert report.verdict == "failed"
    assert report.causes[0].startswith(f"f cannot be differentiated by {name}: ")


def test_a_lost_graph(name):
    """A gradient of 0 of a function that moves: all of it, or that by one argument."""
    report = checked(lambda x, y: total(stopped(x)) + total(y), X, X + 1.0, name=name)
    assert report.verdict == "failed"
    assert report.causes[0] == f"x[0]: the graph is lost: {name} gives 0, but f moves with it"
    assert report.parameters["x[0]"].failed == 3
    assert report.parameters["x[1]"].failed == 0


def test_a_part_of_the_graph_is_lost(name):
    """The derivative is not 0, and wrong all the same."""
    report = checked(lambda x: array_namespace(x).sum(x * stopped(x)), X, name=name)
    assert report.verdict == "failed"
    assert not any("graph" in cause for cause in report.causes)


def test_an_argument_that_f_does_not_use(name):
    """A derivative that is 0 for a good reason is called a lost graph."""
    report = checked(lambda x, y: total(x), X, X, name=name)
    assert report.verdict == "passed", report


def test_f_that_raises_on_one_library(name):
    """An error on one library ends the sweep, and hides the reports of the others."""
    report = checked(lambda x: x.no_such_method(), X, name=name)
    assert report.verdict == "failed"
    assert "f raised AttributeError" in report.causes[0]


@pytest.mark.parametrize("f", [lambda x: array_namespace(x).astype(x, array_namespace(x).int64)])
def test_f_without_a_floating_result(name, f):
    """Nothing is differentiated, and nothing fails."""
    report = checked(f, X, name=name)
    assert (report.verdict, report.causes) == ("failed", ("f returned no floating-point array",))


def test_complex_results_are_sent_elsewhere(name):
    """The derivative of a complex result by a real cotangent, without a word."""
    report = checked(lambda x: x * 1j, X, name=name)
    assert report.verdict == "failed"
    assert "check_vjp" in report.causes[0]


def test_args_are_not_written_to(name):
    """A function in place changes what the caller holds, or the labels of the next call."""
    labels, x = np.asarray([1, 2, 2]), X.copy()

    def f(x, labels):
        xp = array_namespace(x)
        value = xp.sum(xp.astype(labels, x.dtype) * x**2)
        labels += 1  # in place where the library's arrays can change
        return value

    report = checked(f, x, labels, name=name)
    assert report.verdict == "passed", report
    np.testing.assert_array_equal(labels, [1, 2, 2])
    np.testing.assert_array_equal(x, X)


def test_the_cotangent_is_drawn_from_the_seed(name):
    """A failure that cannot be had again; or always the same cotangent, which may hide it."""
    one, same, other = (
        checked(lambda x: x**2, X, name=name, seed=seed).values["x[0]"][0] for seed in (1, 1, 2)
    )
    np.testing.assert_array_equal(one, same)
    assert np.all(one != other)


def test_a_scalar_has_its_own_derivative(name):
    """A gradient times a random number, in which a reader does not know his own."""
    values = checked(total, X, name=name).values["x[0]"][0]
    np.testing.assert_allclose(values, 3 * X**2, rtol=1e-12)


def test_rtol_is_passed_on(name):
    """A tolerance that changes nothing."""

    def f(x):
        xp = array_namespace(x)
        return xp.sum(x**2 + 1e-4 * stopped(x**2))  # off by 1e-4 of each entry

    assert checked(f, X, name=name).verdict == "failed"
    assert checked(f, X, name=name, rtol=1e-3).verdict == "passed"
    assert checked(f, X, name=name, atol=1e-3).verdict == "passed"


def test_every_library_that_differentiates_is_checked():
    """A library that is installed and left out without a word."""
    report = xpnet.check_autodiff(total, X)
    able = {name for name, row in BACKENDS.items() if row.vjp is not None}
    assert able == {"torch", "jax"}
    assert {*report.reports, *report.skipped} == able
    for name in able:
        assert (name in report.reports) == BACKENDS[name].info().available
    assert report.ok == bool(report.reports)


def test_libraries_without_derivatives_are_skipped_by_name():
    """NumPy has none: no error, and no success either."""
    report = xpnet.check_autodiff(total, X, backends=["numpy"])
    assert not report.ok
    assert "derivatives of its own" in report.skipped["numpy"]
    with pytest.raises(AssertionError, match="No library was checked"):
        report.raise_if_failed()


def test_a_library_that_is_not_installed_is_skipped(monkeypatch):
    """A machine without one of the libraries gets an error in place of a report."""
    row = BACKENDS["jax"]
    monkeypatch.setitem(BACKENDS, "jax", Backend(**{**vars(row), "package": "no_such_package"}))
    report = xpnet.check_autodiff(total, X, backends=["jax"])
    assert not report.reports
    assert "not installed" in report.skipped["jax"]


def test_the_report_as_text_and_json(name):
    """What a log shows, and what a program reads."""
    good = xpnet.check_autodiff(total, X, backends=[name, "numpy"])
    assert good.ok
    assert good.raise_if_failed() is None
    assert f"{name}: Gradient check passed" in str(good)
    assert "numpy: skipped" in str(good)
    bad = xpnet.check_autodiff(lambda x: float(total(x)), X, backends=[name])
    with pytest.raises(AssertionError, match=f"f has left {name}"):
        bad.raise_if_failed()
    plain = json.loads(json.dumps(bad.to_dict(), allow_nan=False))
    assert plain["ok"] is False
    assert plain["reports"][name]["verdict"] == "failed"


def test_float32_where_the_library_has_no_float64(lib):
    """JAX as it comes makes float32 of float64: an error, or a tolerance that is too tight."""
    if lib.placement.backend.name != "jax":
        pytest.skip("only JAX is without float64 on a CPU")
    code = (
        "import numpy as np, xpnet\n"
        "f = lambda x: (x**3).sum()\n"
        "report = xpnet.check_autodiff(f, np.asarray([0.5, -1.25]), backends=['jax'])\n"
        "print(report.reports['jax'].verdict, report.reports['jax'].values['x[0]'][0].tolist())\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True,
        timeout=120, env={**os.environ, "JAX_ENABLE_X64": "0"},
    )  # fmt: skip
    assert done.stdout.strip() == "passed [0.75, 4.6875]"
