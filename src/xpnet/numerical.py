"""Numerical gradients: central differences of any function."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from types import ModuleType
from typing import Any, TypeVar

from array_api_compat import array_namespace, device

from .checks import finite_number
from .functions import floating_namespace

Array = Any
Arrays = TypeVar("Arrays")


def numerical_gradient(f: Callable[[Arrays], Array], x: Arrays, *, step: float | None = None) -> Arrays:
    """Gradient of a scalar function by central differences, (f(x + h) - f(x - h)) / 2h.

    Two calls of `f` for each element of `x`.

    Parameters
    ----------
    f : callable
        Takes what `x` is, returns a scalar (an array of one element). It must use its
        argument: `x` itself is never written to.
    x : array or dict of arrays, floating point
    step : float, optional
        h. None: the cube root of the dtype's epsilon, times max(1, |entry|).

    Returns
    -------
    array or dict of arrays
        The shapes, dtype and device of `x`.

    Raises
    ------
    TypeError, ValueError
        `x` is empty or not floating point; `step` is not above 0.

    Warns
    -----
    UserWarning
        `f` gave the same value at every point: it may ignore its argument.

    Examples
    --------
    >>> import numpy as np
    >>> numerical_gradient(lambda x: np.sum(x**2), np.asarray([1.0, 2.0])).round(6)
    array([2., 4.])
    """
    if step is not None:
        step = finite_number(step, "step", minimum=0.0, exclusive=True)
    arrays: dict[Any, Array] = x if isinstance(x, dict) else {None: x}
    for name, array in arrays.items():
        floating_namespace(array, "x" if name is None else f"x[{name!r}]")
        if 0 in array.shape:
            raise ValueError(f"x is empty: it has shape {tuple(array.shape)}")

    gradient: dict[Any, Array] = {}
    for name, array in arrays.items():
        xp = array_namespace(array)

        def at(moved: Array, name: Any = name) -> Array:
            return f({**arrays, name: moved} if isinstance(x, dict) else moved)  # type: ignore[arg-type]

        gradient[name] = _differences(xp, at, array, step)
    if not any(bool(array_namespace(g).any(g != 0)) for g in gradient.values()):
        warnings.warn(
            "f gave the same value at every point: it must compute with its argument, which is "
            "a moved copy; x itself is never written to",
            stacklevel=2,
        )
    return gradient if isinstance(x, dict) else gradient[None]  # type: ignore[return-value]


def _differences(
    xp: ModuleType, f: Callable[[Array], Array], x: Array, step: float | None
) -> Array:
    flat = xp.reshape(x, (-1,))
    index = xp.arange(flat.shape[0], device=device(x))
    if step is None:
        # Minimises truncation (h²) plus rounding (eps / h): Numerical Recipes, section 5.7.
        h = xp.finfo(x.dtype).eps ** (1 / 3) * xp.where(xp.abs(flat) > 1, xp.abs(flat), 1.0)
    else:
        h = xp.full_like(flat, step)
    up, down = flat + h, flat - h
    rows = []
    for i in range(flat.shape[0]):
        moved = index == i
        plus = f(xp.reshape(xp.where(moved, up, flat), x.shape))
        minus = f(xp.reshape(xp.where(moved, down, flat), x.shape))
        rows.append(xp.reshape(plus - minus, ()))
    # Divide by the step that was taken, which rounding has changed.
    return xp.reshape(xp.stack(rows) / (up - down), x.shape)
