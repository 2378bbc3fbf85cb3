"""One suite for every backend: the `lib` fixture stands for an array library on a device."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

# Float64 on JAX is decided before its first array; float32 tests ask for float32 by name.
os.environ.setdefault("JAX_ENABLE_X64", "1")
# One test process must not take most of a GPU's memory for itself.
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import xpnet
from xpnet.backend import BackendNotAvailable, Placement

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
PACKAGES = {"strict": "array_api_strict"}


class Lib:
    """An array library on a device, as the tests use it."""

    def __init__(
        self, name: str, xp: str, device: Any = None, readonly: bool = False, flags: Any = None
    ) -> None:
        self.name = name
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
        return self.placement.readable(self.array([0.0]))


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        action="append",
        choices=list(GROUPS),
        help="run the suite on this backend; several times for several. Without it, on every "
        "backend that is installed",
    )


def _missing(group: str) -> str | None:
    """Why the suite cannot run on a group here, None where it can."""
    if importlib.util.find_spec(PACKAGES.get(group, group)) is None:
        return f"{group} is not installed"
    if group == "cupy":
        info = next(info for info in xpnet.backends() if info.name == "cupy")
        return info.reason
    return None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "lib" not in metafunc.fixturenames:
        return
    asked = metafunc.config.getoption("--backend")
    names = []
    for group in asked or GROUPS:
        reason = _missing(group)
        if reason and asked:
            raise pytest.UsageError(f"--backend {group}: {reason}")
        if not reason:
            names += list(GROUPS[group])
    metafunc.parametrize("lib", names, indirect=True)


@pytest.fixture
def lib(request: pytest.FixtureRequest) -> Iterator[Lib]:
    name = request.param
    spec = next(group[name] for group in GROUPS.values() if name in group)
    try:
        lib = Lib(name, **spec)
    except BackendNotAvailable as error:
        pytest.skip(f"no such device here: {error}")
    if lib.flags:
        from array_api_strict import ArrayAPIStrictFlags

        with ArrayAPIStrictFlags(**lib.flags):
            yield lib
    else:
        yield lib
