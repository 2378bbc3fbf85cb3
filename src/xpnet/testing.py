"""Gradient checks for test suites: they raise with the table where a gradient does not pass."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from . import arrays
from .backend import Placement, place
from .backend import backends as all_backends
from .gradients import GradientReport, check_gradient, trees

__all__ = ["assert_gradient", "available_backends", "check_on_backends"]


def assert_gradient(
    f: Callable[[Any], Any], gradient: Any, x: Any, **options: Any
) -> GradientReport:
    """Raise unless a gradient passes `xpnet.check_gradient`.

    Parameters
    ----------
    f, gradient, x
        As for `xpnet.check_gradient`.
    **options
        Of `xpnet.check_gradient`, such as ``rtol=``.

    Returns
    -------
    GradientReport

    Raises
    ------
    GradientCheckFailed
        An AssertionError with the table as its message. Also where the check is inconclusive.

    Examples
    --------
    >>> import numpy as np
    >>> from xpnet.testing import assert_gradient
    >>> report = assert_gradient(lambda x: np.sum(x**3), lambda x: 3 * x**2, np.ones(3))
    >>> report.verdict
    'passed'
    """
    report = check_gradient(f, gradient, x, **options)
    report.raise_if_failed()
    return report


def available_backends() -> tuple[str, ...]:
    """Return the names of the array libraries that this machine can run.

    Returns
    -------
    tuple of str

    Examples
    --------
    >>> from xpnet.testing import available_backends
    >>> "numpy" in available_backends()
    True
    """
    return tuple(info.name for info in all_backends() if info.available)


def check_on_backends(
    f: Callable[[Any], Any], gradient: Any, x: Any, *, backends: Iterable[str] | None = None,
    **options: Any,
) -> dict[str, GradientReport]:  # fmt: skip
    """Check one gradient on several array libraries; nothing is raised where it fails.

    Parameters
    ----------
    f : callable
        Written against the array API: it is called with arrays of each library.
    gradient : callable, array, or nesting of arrays
        As for `xpnet.check_gradient`; NumPy arrays are placed on each library.
    x : array, number, list of numbers, or any nesting of dicts, lists and tuples of arrays
        NumPy arrays, which are placed on each library. They keep their dtype where the library
        has it; JAX makes float32 of float64 unless it is told otherwise.
    backends : iterable of str, optional
        Names of libraries. None: all that this machine can run.
    **options
        Of `xpnet.check_gradient`.

    Returns
    -------
    dict of GradientReport
        By the name of the library.

    Raises
    ------
    BackendNotAvailable
        A library that was asked for cannot run here.
    TypeError, ValueError
        As `xpnet.check_gradient`, with a note that names the library.

    Examples
    --------
    >>> import numpy as np
    >>> from array_api_compat import array_namespace
    >>> from xpnet.testing import check_on_backends
    >>> def f(x):
    ...     return array_namespace(x).sum(x**3)
    >>> reports = check_on_backends(f, lambda x: 3 * x**2, np.ones(3), backends=["numpy"])
    >>> reports["numpy"].ok
    True
    """
    reports = {}
    for name in available_backends() if backends is None else backends:
        here = place(name)
        there = gradient if callable(gradient) else _placed(gradient, here, "gradient")
        point = _placed(x, here, "x")
        try:
            reports[name] = check_gradient(f, there, point, **options)
        except Exception as error:
            error.add_note(f"This was on {name}.")
            raise
    return reports


def _placed(tree: Any, here: Placement, name: str) -> Any:
    tree = trees.with_arrays(tree)
    placed = []
    for path, leaf in trees.leaves(tree):
        arrays.refuse_other_than_array(leaf, trees.written(name, path))
        arrays.refuse_other_library(
            leaf, place("numpy").xp, f"{trees.written(name, path)} is", "arrays of NumPy"
        )
        placed.append(here.asarray(leaf))
    return trees.rebuilt(tree, placed)
