"""xpnet in the test suites of others: xpnet.testing, the fixture and the options of the plugin."""

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from array_api_compat import array_namespace

import pytest_xpnet
import xpnet
from xpnet import testing
from xpnet.backend import BACKENDS

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent
X = np.asarray([0.5, -1.25, 2.0])
NAMES = [info.name for info in xpnet.backends() if info.available]
HEAD = """
import numpy as np
from array_api_compat import array_namespace

X = np.asarray([0.5, -1.25, 2.0])

def cubes(x):
    return array_namespace(x).sum(x**3)
"""
GOOD = """
def test_good(gradient_backends):
    reports = gradient_backends(cubes, lambda x: 3 * x**2, X)
    print("ran on", ",".join(reports))
    assert all(report.ok for report in reports.values())
"""
BAD = """
def test_bad(gradient_backends):
    gradient_backends(cubes, lambda x: x**2, X)
"""


def cubes(x):
    return array_namespace(x).sum(x**3)


@pytest.fixture
def run(pytester):
    """Run pytest in a folder of its own, with the plugin, whether or not it is installed."""

    def run(source, *words):
        pytester.makepyfile(HEAD + source)
        return pytester.runpytest("-p", "pytest_xpnet", "-rA", *words)

    return run


# --- xpnet.testing ---------------------------------------------------------------------------


def test_assert_gradient(lib):
    """A test that passes with a wrong gradient, or fails without the table."""
    x = lib.array(X)
    assert testing.assert_gradient(cubes, lambda x: 3 * x**2, x).ok
    with pytest.raises(AssertionError, match=r"worst at[\s\S]*too small by the constant factor 3"):
        testing.assert_gradient(cubes, lambda x: x**2, x)
    near = lib.array(3 * X**2 * (1 + 1e-4))
    with pytest.raises(xpnet.GradientCheckFailed):
        testing.assert_gradient(cubes, near, x)
    assert testing.assert_gradient(cubes, near, x, rtol=1e-3).ok


def test_assert_gradient_proves_something():
    """An inconclusive check lets a test pass that has decided nothing."""
    with pytest.raises(xpnet.GradientCheckFailed, match="inconclusive"):
        testing.assert_gradient(lambda x: np.sum(np.floor(x)), np.zeros(2), np.asarray([1.0, 2.0]))


def test_testing_is_imported_when_it_is_asked_for():
    """`import xpnet` loads it, or `xpnet.testing` is not found without an import of its own."""
    code = (
        "import sys, xpnet\n"
        "before = 'xpnet.testing' in sys.modules\n"
        "print(before, xpnet.testing.assert_gradient.__name__)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "False assert_gradient"


@pytest.mark.parametrize("x", [X, {"W": [X, X * 2], "b": 1.5}, 2.0, [1.0, 2.0]])
def test_trees_are_placed_on_each_library(x):
    """NumPy arrays reach f where those of another library should."""
    seen = set()

    def leaves(tree):
        if isinstance(tree, dict):
            return [leaf for value in tree.values() for leaf in leaves(value)]
        return [leaf for v in tree for leaf in leaves(v)] if isinstance(tree, list) else [tree]

    def f(x):
        seen.update(xpnet.arrays.library_of(leaf) for leaf in leaves(x))
        return sum(cubes(leaf) for leaf in leaves(x))

    def gradient(x):
        if isinstance(x, dict):
            return {key: gradient(value) for key, value in x.items()}
        return [gradient(v) for v in x] if isinstance(x, list) else 3 * x**2

    reports = testing.check_on_backends(f, gradient, x)
    assert [name for name, report in reports.items() if report.ok] == NAMES
    assert seen == set(NAMES)


def test_a_gradient_of_numpy_arrays_is_placed_too():
    """A gradient that is known as numbers is refused on every library but NumPy."""
    reports = testing.check_on_backends(lambda x: cubes(x["a"]), {"a": 3 * X**2}, {"a": X})
    assert list(reports) == NAMES
    assert all(report.ok for report in reports.values()), reports


def test_an_error_names_the_library():
    """A traceback that does not tell on which library f has failed."""

    def f(x):
        raise RuntimeError("mine")

    with pytest.raises(RuntimeError, match="mine") as caught:
        testing.check_on_backends(f, X, X, backends=["numpy"])
    assert caught.value.__notes__ == ["This was on numpy."]


@pytest.mark.sessions("strict")
def test_what_is_no_numpy_array():
    """A tensor that would be moved behind the back of who wrote the test."""
    strict = pytest.importorskip("array_api_strict")
    with pytest.raises(TypeError, match=r"x\['a'\] is"):
        testing.check_on_backends(cubes, X, {"a": strict.asarray([1.0])}, backends=["numpy"])
    with pytest.raises(TypeError, match="x must be an array, not str"):
        testing.check_on_backends(cubes, X, "x", backends=["numpy"])


# --- the plugin ------------------------------------------------------------------------------


def test_loading_the_plugin_is_light():
    """Every run of pytest beside an installed xpnet would wait for NumPy, and for xpnet."""
    code = (
        "import sys, pytest\n"
        "before = set(sys.modules)\n"
        "import pytest_xpnet\n"
        "heavy = {m.partition('.')[0] for m in set(sys.modules) - before}\n"
        "print(sorted(heavy - set(sys.stdlib_module_names)))"
    )
    source = str(Path(pytest_xpnet.__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120,
        env={**os.environ, "PYTHONPATH": source},
    )  # fmt: skip
    assert done.stdout.strip() == "['pytest_xpnet']"


def test_a_run_without_the_fixture_imports_nothing(pytester):
    """Nor does a run in which no test asks for a gradient check."""
    pytester.makepyfile(
        "import sys\n"
        "def test_it():\n"
        "    assert not {'numpy', 'xpnet', 'torch', 'jax'} & set(sys.modules)\n"
    )
    source = str(Path(pytest_xpnet.__file__).parent)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "pytest_xpnet"], capture_output=True,
        text=True, check=False, timeout=120, cwd=pytester.path,
        env={**os.environ, "PYTHONPATH": source, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


def test_the_entry_point():
    """An installed xpnet is no plugin, or its wheel lacks the module."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    (name, value), *others = project["project"]["entry-points"]["pytest11"].items()
    assert not others
    assert EntryPoint(name, value, "pytest11").load() is pytest_xpnet
    wheel = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["only-include"] == ["src/xpnet", "src/pytest_xpnet.py"]
    assert all((ROOT / path).exists() for path in wheel["only-include"])


def test_the_fixture_runs_on_every_library(run):
    """A library that is installed is left out without a word."""
    result = run(GOOD)
    result.assert_outcomes(passed=1)
    result.stdout.fnmatch_lines([f"ran on {','.join(NAMES)}"])


def test_a_wrong_gradient_fails_with_every_table(run):
    """A failure that shows the first library only, or a traceback through the plugin."""
    result = run(BAD)
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    for name in NAMES:
        assert f"{name}: Gradient check failed" in text
    assert text.count("too small by the constant factor 3") >= len(NAMES)
    assert "pytest_xpnet.py" not in text


def test_one_library_of_several_fails(run):
    """The tables of those that pass hide the one that does not."""
    result = run("""
def test_one(gradient_backends):
    def gradient(x):
        right = 3 * x**2
        return right if isinstance(x, np.ndarray) else right * 2
    gradient_backends(cubes, gradient, X)
""", "--gradient-backends", "numpy,torch")  # fmt: skip
    result.assert_outcomes(failed=1)
    text = result.stdout.str()
    assert "torch: Gradient check failed" in text
    assert "numpy: Gradient check" not in text


def test_options_reach_the_check(run):
    """A tolerance that is dropped on the way."""
    result = run("""
import pytest
def test_options(gradient_backends):
    def near(x):
        return 3 * x**2 * (1 + 1e-4)
    gradient_backends(cubes, near, X, rtol=1e-3)
    with pytest.raises(AssertionError):
        gradient_backends(cubes, near, X)
""", "--gradient-backends=numpy")  # fmt: skip
    result.assert_outcomes(passed=1)


@pytest.mark.parametrize("names", ["numpy", "torch,numpy", " numpy , numpy"])
def test_gradient_backends_chooses(run, names):
    """The option is not obeyed, or a library runs twice."""
    result = run(GOOD, f"--gradient-backends={names}")
    result.assert_outcomes(passed=1)
    ran = ",".join(dict.fromkeys(name.strip() for name in names.split(",")))
    result.stdout.fnmatch_lines([f"ran on {ran}"])


@pytest.mark.parametrize(("words", "says"), [
    (["--gradient-backends=numpy,what"], "unknown what; known are numpy, "),
    (["--gradient-backends="], "expected names and commas"),
    (["--gradient-backends=numpy,"], "expected names and commas"),
    (["--gradient-report=missing/report.json"], "there is no folder"),
    (["--gradient-report=."], "this is a folder, not a file"),
])  # fmt: skip
def test_options_that_cannot_be_followed(run, words, says):
    """An hour of tests, and then no report; or a spelling mistake that checks nothing."""
    result = run(GOOD, *words)
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert says in result.stderr.str()
    assert "ran on" not in result.stdout.str()


def test_a_library_that_was_asked_for_and_cannot_run(run, monkeypatch):
    """CI that means to check on a library, whose installation has failed, is green."""
    changed = type(BACKENDS["jax"])(**{**vars(BACKENDS["jax"]), "package": "no_such_package"})
    monkeypatch.setitem(BACKENDS, "jax", changed)
    result = run(GOOD, "--gradient-backends=jax")
    result.assert_outcomes(failed=1)
    assert "backend 'jax' is not installed" in result.stdout.str()


def test_the_report_file(run, pytester):
    """Reports of tests that fail are lost, or belong to no test."""
    result = run(GOOD + BAD, "--gradient-report=report.json")
    result.assert_outcomes(passed=1, failed=1)
    found = json.loads((pytester.path / "report.json").read_text(encoding="utf-8"))
    assert found["version"] == 1
    rows = [(row["test"].partition("::")[2], row["backend"]) for row in found["reports"]]
    assert rows == [(test, name) for test in ("test_good", "test_bad") for name in NAMES]
    verdicts = {row["test"].partition("::")[2]: row["verdict"] for row in found["reports"]}
    assert verdicts == {"test_good": "passed", "test_bad": "failed"}
    assert found["reports"][0]["parameters"]["x"]["checked"] == 3
    assert [p.name for p in pytester.path.iterdir() if p.name.endswith(".partial")] == []


def test_reports_travel_between_processes(pytester):
    """With pytest-xdist the tests run in other processes, and the file is written in this one."""
    pytester.makepyfile(HEAD + GOOD)
    recorded = pytester.inline_run("-p", "pytest_xpnet", "--gradient-backends=numpy")
    hook = pytester.parseconfig().hook
    found = []
    for report in recorded.getreports("pytest_runtest_logreport"):
        sent = hook.pytest_report_to_serializable(config=None, report=report)
        sent = json.loads(json.dumps(sent))
        back = hook.pytest_report_from_serializable(config=None, data=sent)
        found += getattr(back, "gradient_reports", [])
    assert [(row["backend"], row["verdict"]) for row in found] == [("numpy", "passed")]


def test_a_report_of_nothing(run, pytester):
    """A run without checks leaves the file of an earlier one, which is taken for its own."""
    (pytester.path / "report.json").write_text("old", encoding="utf-8")
    run("def test_it():\n    pass\n", "--gradient-report=report.json").assert_outcomes(passed=1)
    found = json.loads((pytester.path / "report.json").read_text(encoding="utf-8"))
    assert found == {"version": 1, "reports": []}


def test_a_report_that_cannot_be_written(run, pytester):
    """A folder that is gone at the end: the run must not look as if all were well."""
    (pytester.path / "gone").mkdir()
    source = "import shutil\ndef test_it():\n    shutil.rmtree('gone')\n"
    result = run(source, "--gradient-report=gone/report.json")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    assert re.search(r"--gradient-report: .*report\.json", result.stderr.str())


def test_the_page_of_the_documentation(pytester, monkeypatch):
    """A reader copies the files of the page, and they fail, or check nothing."""
    page = (ROOT / "docs" / "check-in-ci.md").read_text(encoding="utf-8")
    files = re.findall(r"```python\n# (\w+)\.py\n(.*?)```", page, re.DOTALL)
    assert [name for name, _ in files] == ["test_layer", "conftest"]
    pytester.makepyfile(**dict(files))
    monkeypatch.delenv("JAX_ENABLE_X64", raising=False)  # of the suite that this test is in
    pytester.runpytest_subprocess("-p", "pytest_xpnet").assert_outcomes(passed=2)
