"""The pytest plugin of xpnet: one gradient check on every array library, and reports as JSON.

pytest loads this in every run of every project beside which xpnet is installed: so nothing but
pytest is imported before a test asks for the fixture.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import pytest

ASKED = pytest.StashKey[list[str] | None]()
FOUND = pytest.StashKey[list[dict[str, Any]]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the two options."""
    group = parser.getgroup("xpnet", "gradient checks of xpnet")
    group.addoption(
        "--gradient-backends",
        metavar="NAMES",
        help="array libraries that gradient_backends runs on, such as numpy,torch; without it, "
        "all that this machine can run. One that is named and cannot run is an error",
    )
    group.addoption(
        "--gradient-report",
        metavar="FILE",
        help="write the reports of all checks of gradient_backends as JSON at the end",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Refuse options that cannot be followed before a test has run."""
    names = config.getoption("--gradient-backends")
    config.stash[ASKED] = None if names is None else _names(names)
    file = config.getoption("--gradient-report")
    if file is None:
        return
    path = config.invocation_params.dir / file
    if not path.parent.is_dir():
        raise pytest.UsageError(f"--gradient-report {file}: there is no folder {path.parent}")
    if path.is_dir():
        raise pytest.UsageError(f"--gradient-report {file}: this is a folder, not a file")
    if not hasattr(config, "workerinput"):  # the processes of pytest-xdist hand theirs over
        config.pluginmanager.register(Writer(path))


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise pytest.UsageError(f"--gradient-backends {text!r}: expected names and commas")
    return list(dict.fromkeys(names))


def pytest_sessionstart(session: pytest.Session) -> None:
    """Refuse names that are no backend's; only where names were given is xpnet imported."""
    asked = session.config.stash[ASKED]
    if asked is None:
        return
    from xpnet.backend import BACKENDS

    unknown = [name for name in asked if name not in BACKENDS]
    if unknown:
        raise pytest.UsageError(
            f"--gradient-backends: unknown {', '.join(unknown)}; known are {', '.join(BACKENDS)}"
        )


@pytest.fixture
def gradient_backends(request: pytest.FixtureRequest) -> Callable[..., dict[str, Any]]:
    """Check a gradient on every array library: ``gradient_backends(f, gradient, x, **options)``.

    `f` and `gradient` are written against the array API, `x` is made of NumPy arrays; the options
    are those of ``xpnet.check_gradient``. Returns the reports by the names of the libraries, or
    raises AssertionError with the table of each library on which the gradient does not pass.
    """
    from xpnet.testing import available_backends, check_on_backends

    found = request.node.stash.setdefault(FOUND, [])
    asked = request.config.stash[ASKED]

    def check(f: Any, gradient: Any, x: Any, **options: Any) -> dict[str, Any]:
        __tracebackhide__ = True
        reports: dict[str, Any] = {}
        for name in available_backends() if asked is None else asked:
            reports.update(check_on_backends(f, gradient, x, backends=[name], **options))
            row = {"test": request.node.nodeid, "backend": name, **reports[name].to_dict()}
            found.append(row)
        failing = [f"{name}: {report}" for name, report in reports.items() if not report.ok]
        if failing:
            raise AssertionError("\n\n".join(failing))
        return reports

    return check


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Hand over what a test has found with its report, which pytest-xdist brings to the master."""
    report = yield
    if call.when == "teardown":
        vars(report).update(gradient_reports=item.stash.get(FOUND, []))
        item.stash[FOUND] = []  # a test may be run again
    return report


class Writer:
    """Collects what the tests have found, and writes it at the end of the run."""

    def __init__(self, path: Path) -> None:
        self.path, self.found = path, list[dict[str, Any]]()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Collect what one test has found."""
        self.found += getattr(report, "gradient_reports", [])

    def pytest_sessionfinish(self) -> None:
        """Write the file, whole or not at all."""
        from xpnet.files import replace_atomically

        text = json.dumps({"version": 1, "reports": self.found}, indent=2, allow_nan=False)
        try:
            replace_atomically(self.path, lambda file: file.write(f"{text}\n".encode()))
        except OSError as error:
            pytest.exit(f"--gradient-report: {error}", pytest.ExitCode.USAGE_ERROR)
