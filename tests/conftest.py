"""One suite for every backend: the `lib` fixture stands for an array library on a device."""

from __future__ import annotations

import functools
import importlib.util
import os
import signal
from collections.abc import Callable, Iterator
from typing import Any

import pytest

# Nets of a few numbers need no threads; on a shared machine, waiting for each other costs minutes.
for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")
# Float64 on JAX is decided before its first array; float32 tests ask for float32 by name.
os.environ.setdefault("JAX_ENABLE_X64", "1")
# Sentences are wrapped to it, and several test processes have it set.
os.environ.pop("COLUMNS", None)
# One test process must not take most of a GPU's memory for itself.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import numpy as np
from hypothesis import HealthCheck, settings

import xpnet
from xpnet.backend import BackendNotAvailable, Placement

collect_ignore = ["written_by_0_1/make.py"]  # a program for version 0.1, not a module

# `--hypothesis-profile nightly` (or HYPOTHESIS_PROFILE in the environment) for the long run. CI
# draws the same examples every time, so that a failure there is about the change at hand.
settings.register_profile(
    "ci",
    max_examples=50,
    derandomize=True,
    deadline=None,  # the first example of a shape may compile
    # `lib` is made anew for each test, not for each example; it has no state to carry over.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.register_profile(
    "nightly", settings.get_profile("ci"), max_examples=1000, derandomize=False, print_blob=True
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))

# Sessions are named as these groups; each entry is one way of running the suite.
GROUPS: dict[str, dict[str, dict[str, Any]]] = {
    "numpy": {
        "numpy": {"xp": "numpy"},
        "numpy-readonly": {"xp": "numpy", "readonly": True},
    },
    "strict": {
        "strict": {"xp": "array_api_strict"},
        "strict-device1": {"xp": "array_api_strict", "device": "device1"},
        "strict-flags": {
            "xp": "array_api_strict",
            "flags": {"boolean_indexing": False, "data_dependent_shapes": False},
        },
    },
    "torch": {
        "torch": {"xp": "torch", "device": "cpu"},
        "torch-cuda": {"xp": "torch", "device": "cuda"},
    },
    "jax": {"jax": {"xp": "jax"}},
    "cupy": {"cupy": {"xp": "cupy"}},
}


class Lib:
    """An array library on a device, as the tests use it."""

    def __init__(
        self, name: str, xp: str, device: Any = None, readonly: bool = False, flags: Any = None
    ) -> None:
        self.name = name
        self.full = name == "numpy"  # whether tables of functions are tried in full here
        self.kwargs = {"xp": xp, "device": device}
        self.readonly = readonly
        self.flags = flags
        self.placement = xpnet.place(xp, device, "float64")
        self.xp = self.placement.xp

    def __repr__(self) -> str:
        return self.name

    def array(self, values: Any, dtype: str | None = None) -> Any:
        """An array of this library; `dtype` is a name of NumPy's."""
        host = np.array(values, dtype=dtype)
        if self.readonly:
            host.flags.writeable = False
            return host
        return self.placement.asarray(host)

    def host(self, array: Any) -> np.ndarray:
        return self.placement.to_host(array)

    def place(self, dtype: str = "float64") -> Placement:
        return xpnet.place(dtype=dtype, **self.kwargs)

    @property
    def readable(self) -> bool:
        """Whether labels and data can be looked at without waiting for a device."""
        return self.placement._readable(self.array([0.0]))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        action="append",
        choices=list(GROUPS),
        help="run the suite on this backend; several times for several. Without it, on every "
        "backend that is installed",
    )
    parser.addoption(
        "--gradient-table",
        choices=["share", "full"],
        default="share",
        help="which wrong gradients the gradient checks are given: all of them, or, on the "
        "libraries other than NumPy, a share",
    )


@functools.cache
def _why_not(name: str) -> str | None:
    """Why the suite cannot run this way here, None where it can."""
    spec = _spec(name)
    if importlib.util.find_spec(spec["xp"]) is None:
        return "not installed"
    try:
        xpnet.place(spec["xp"], spec.get("device"))
    except BackendNotAvailable as error:
        return str(error)
    return None


def _spec(name: str) -> dict[str, Any]:
    return next(group[name] for group in GROUPS.values() if name in group)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say what is left out, and why: one line each."""
    asked = config.getoption("--backend") or GROUPS
    names = [name for group in asked for name in GROUPS[group]]
    return [f"left out: {name}: {_why_not(name)}" for name in names if _why_not(name)]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "there" in metafunc.fixturenames:  # every way that is installed, whatever was asked for
        every = [name for group in GROUPS.values() for name in group if not _why_not(name)]
        metafunc.parametrize("there", every, indirect=True)
    if "lib" not in metafunc.fixturenames:
        return
    asked = metafunc.config.getoption("--backend")
    names = []
    for group in asked or GROUPS:
        found = [name for name in GROUPS[group] if not _why_not(name)]
        if asked and not found:
            raise pytest.UsageError(f"--backend {group}: {_why_not(next(iter(GROUPS[group])))}")
        names += found
    metafunc.parametrize("lib", names, indirect=True)


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "sessions(name, ...): backends in whose sessions a test runs that takes no `lib`; without "
        "it, in NumPy's alone",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run what says nothing of the array library once, not in the session of each backend."""
    asked = config.getoption("--backend")
    if not asked:
        return

    def belongs(item: pytest.Item) -> bool:
        if {"lib", "there"} & set(getattr(item, "fixturenames", ())):
            return True
        mark = item.get_closest_marker("sessions")
        return bool(set(mark.args if mark else ("numpy",)) & set(asked))

    left_out = [item for item in items if not belongs(item)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if belongs(item)]


def _lib(request: pytest.FixtureRequest) -> Iterator[Lib]:
    lib = Lib(request.param, **_spec(request.param))
    lib.full = lib.full or request.config.getoption("--gradient-table") == "full"
    if lib.flags:
        from array_api_strict import ArrayAPIStrictFlags

        with ArrayAPIStrictFlags(**lib.flags):
            yield lib
    else:
        yield lib


lib = pytest.fixture(_lib, name="lib")
there = pytest.fixture(_lib, name="there")


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Python's usual handler.

    A shell that starts the tests in the background ignores Ctrl-C, and so do the processes that
    pytest-xdist starts.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def tell(request: pytest.FixtureRequest) -> Callable[[str], None]:
    """Say counts that a reader of the run should see: they are listed at its end."""
    return lambda line: request.node.user_properties.append(("tell", line))


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reports = [r for found in terminalreporter.stats.values() for r in found]
    told = [
        line for r in reports if getattr(r, "when", None) == "call"
        for name, line in r.user_properties if name == "tell"
    ]  # fmt: skip
    if told:
        terminalreporter.section("counts")
        for line in told:
            terminalreporter.write_line(line)
