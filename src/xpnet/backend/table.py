"""The table of the array libraries, a file each, and the words that name one: xp, device, dtype."""

from __future__ import annotations

import importlib
import os
import pkgutil
import warnings
from types import ModuleType
from typing import Any

import array_api_compat
import numpy as np

from ..arrays import Array, array_namespace, library_of
from ..checks import known
from . import placement
from .placement import DTYPES, Backend, BackendInfo, BackendNotAvailable, Placement


def _rows() -> list[Backend]:
    """The row of every file beside this one that has one."""
    names = [found.name for found in pkgutil.iter_modules([os.path.dirname(__file__)])]
    modules = [importlib.import_module(f".{name}", __package__) for name in names]
    rows = [module.ROW for module in modules if hasattr(module, "ROW")]
    return sorted(rows, key=lambda row: (row.order, row.name))


# Adding a library is adding a file.
BACKENDS: dict[str, Backend] = {row.name: row for row in _rows()}
FOR_TESTS = tuple(row.name for row in BACKENDS.values() if row.for_tests)


def backends() -> tuple[BackendInfo, ...]:
    """Say what this machine can run.

    Imports every library that is installed, which can take seconds.

    Returns
    -------
    tuple of BackendInfo
        One for each backend: ``name``, ``version``, ``available``, ``devices`` (each with
        ``id``, ``name``, ``memory`` in bytes, ``driver``, ``cuda``), and ``reason``, None or
        why it cannot run here.

    Examples
    --------
    >>> import xpnet
    >>> [info.name for info in xpnet.backends()]
    ['numpy', 'cupy', 'torch', 'jax']
    >>> xpnet.backends()[0].available
    True
    """
    return tuple(row.info() for row in BACKENDS.values() if not row.for_tests)


def backend_of(array: Array) -> Backend | None:
    """Return the backend that an array belongs to, None for an unknown library."""
    return BACKENDS.get(library_of(array))


def place(xp: Any = None, device: Any = None, dtype: Any = None) -> Placement:
    """Resolve the three words that say where a net lives.

    Parameters
    ----------
    xp : module or str, optional
        ``numpy``, ``cupy``, ``torch``, ``jax.numpy``, a compat twin of these, or a name:
        "numpy", "cupy", "torch", "jax". None means NumPy.
    device : optional
        Whatever the library takes: "cuda", "cuda:1", a ``torch.device``, a CuPy device or its
        number, a JAX device. None means the library's default.
    dtype : str or dtype, optional
        "float32" or "float64", or the library's own object. None means float32.

    Returns
    -------
    Placement
        With ``xp``, ``device``, ``dtype`` and ``asarray``, which moves a NumPy array there.

    Raises
    ------
    BackendNotAvailable
        The library is not installed (the message has the line that installs it), or it finds
        no such device (the message is the driver's own).
    ValueError
        An unknown backend or dtype; the message lists the known ones.

    Examples
    --------
    >>> import numpy as np, xpnet
    >>> here = xpnet.place("numpy", dtype="float64")
    >>> here.asarray(np.zeros(2)).dtype
    dtype('float64')
    """
    backend = _backend(xp)
    namespace = backend.load()
    wanted = _dtype(namespace, dtype)
    try:
        where = backend.device(namespace, device)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the dtype is checked below
            probe = namespace.zeros((), dtype=wanted, device=where)
        found = array_api_compat.device(probe)
    except ValueError:  # not a device of this library
        raise
    except Exception as error:  # a driver may fail with any error of its own
        asked = "" if device is None else f" with device {str(device)!r}"
        raise BackendNotAvailable(
            f"backend '{backend.name}'{asked} cannot run here: {placement.first_line(error)}"
        ) from error
    if probe.dtype != wanted:
        raise BackendNotAvailable(
            f"backend '{backend.name}' made {probe.dtype} of {dtype}: {backend.float64}"
        )
    return Placement(backend, namespace, found, wanted)


def placement_of(array: Array) -> Placement:
    """Return the placement of an array of a floating-point dtype."""
    backend = backend_of(array)
    if backend is None:
        raise TypeError(f"arrays of {library_of(array)} are unknown")
    # An array's library is imported already.
    return Placement(backend, array_namespace(array), array_api_compat.device(array), array.dtype)


def _backend(xp: Any) -> Backend:
    name = "numpy" if xp is None else library_of(xp) if isinstance(xp, ModuleType) else xp
    if not isinstance(name, str):
        raise TypeError(f"xp must be a module or a name, not {type(xp).__name__}")
    return known(BACKENDS, name, "backend")


def _dtype(xp: ModuleType, dtype: Any) -> Any:
    if dtype is None:
        return xp.float32
    if isinstance(dtype, np.dtype) or (isinstance(dtype, type) and issubclass(dtype, np.generic)):
        name = np.dtype(dtype).name
    else:
        name = dtype if isinstance(dtype, str) else placement.dtype_name(xp, dtype)
    if name in DTYPES:
        return getattr(xp, name)
    names = " or ".join(repr(name) for name in DTYPES)
    raise ValueError(f"dtype must be {names}, not {str(dtype)!r}")
