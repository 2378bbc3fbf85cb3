"""Central differences of any scalar function of arrays."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from array_api_compat import device

from .. import arrays, checks
from ..arrays import Array, array_namespace, epsilon

Arrays = TypeVar("Arrays")

# Moved copies that a vectorized function is handed at once, in bytes.
MAX_BYTES = 64 * 2**20


def numerical_gradient(
    f: Callable[[Arrays], Any], x: Arrays, *, step: float | None = None, vectorized: bool = False,
    max_bytes: int = MAX_BYTES,
) -> Arrays:  # fmt: skip
    """Gradient of a scalar function by central differences, (f(x + h) - f(x - h)) / 2h.

    Two values of `f` for each element of `x`. The differences stay on the device; at the end
    they are looked at once, which waits for it.

    Parameters
    ----------
    f : callable
        Takes what `x` is and returns a scalar: a real floating-point array of one element, of
        the library of `x`, or a Python float. It must compute with its argument, which is a
        moved copy: `x` itself is never written to.
    x : array or dict of arrays, floating point
        All of one library.
    step : float, optional
        h. None: the cube root of the dtype's epsilon times ``max(1, |entry|)``, which
        balances truncation (h²) and rounding (epsilon / h); see *Numerical Recipes* (3rd edition,
        2007), section 5.7.
    vectorized : bool
        True: `f` takes stacks, each array ``(k, *shape)``, and returns (k,).
    max_bytes : int
        With `vectorized`: bound of the stacks that `f` is handed at once.

    Returns
    -------
    array or dict of arrays
        The shapes, dtype and device of `x`.

    Raises
    ------
    TypeError
        `x` is not floating point, or of several libraries; `f` returns something other than a
        real floating-point scalar of the same library.
    ValueError
        `x` is empty; `step` is not above 0; `f` returns more than one element, or NaN or
        infinity somewhere.

    Warns
    -----
    UserWarning
        `f` gave the same value at every point: it may ignore its argument.

    Examples
    --------
    >>> import numpy as np
    >>> numerical_gradient(lambda x: np.sum(x**2), np.asarray([1.0, 2.0])).round(6)
    array([2., 4.])

    All moved copies at once:

    >>> numerical_gradient(
    ...     lambda x: np.sum(x**2, axis=1), np.asarray([1.0, 2.0]), vectorized=True
    ... ).round(6)
    array([2., 4.])
    """
    if step is not None:
        step = checks.finite_number(step, "step", minimum=0.0, exclusive=True)
    gradient = differences(Sampler(f, x, vectorized=vectorized, max_bytes=max_bytes), step)
    if not any(bool(array_namespace(g).any(g != 0)) for g in gradient.values()):
        warnings.warn(
            "f gave the same value at every point: it must compute with its argument, which is "
            "a moved copy; x itself is never written to",
            stacklevel=2,
        )
    return gradient if isinstance(x, dict) else gradient[None]  # type: ignore[return-value]


def differences(sample: Sampler, step: float | None) -> dict[Any, Array]:
    """Central differences of every array that `sample` moves; see `numerical_gradient`."""
    gradient: dict[Any, Array] = {}
    for name, array in sample.arrays.items():
        xp, h = array_namespace(array), entry_steps(array, step, 1 / 3)
        up, down = array + h, array - h
        rise = sample.each(name, up) - sample.each(name, down)
        # Divide by the step that was taken, which rounding has changed.
        gradient[name] = xp.astype(rise / xp.astype(up - down, rise.dtype), array.dtype)
    if not all(arrays.all_finite(array_namespace(g), g) for g in gradient.values()):
        raise ValueError("f returned NaN or infinity for an entry of x moved by the step")
    return gradient


def as_dict(x: Any) -> dict[Any, Array]:
    """Return `x` where it is a dict of arrays, or else a dict that has it under None."""
    return x if isinstance(x, dict) else {None: x}


def entry_steps(x: Array, step: float | None, exponent: float) -> Array:
    """Return the step of every entry: `step`, or else epsilon to a power times max(1, |entry|)."""
    xp = array_namespace(x)
    if step is not None:
        return xp.full_like(x, step)
    size = xp.abs(x)
    return epsilon(x) ** exponent * xp.where(size > 1, size, 1.0)


class Sampler:
    """The values of `f` at moved copies of `x`, checked."""

    def __init__(
        self, f: Callable[[Any], Any], x: Any, *, vectorized: bool = False,
        max_bytes: int = MAX_BYTES,
    ) -> None:  # fmt: skip
        self.f, self.x, self.arrays = checks.function(f, "f"), x, as_dict(x)
        self.vectorized = checks.switch(vectorized, "vectorized")
        self.max_bytes = checks.positive_integer(max_bytes, "max_bytes")
        if not self.arrays:
            raise ValueError("x is empty: it has no arrays")
        libraries = set()
        for key, array in self.arrays.items():
            what = "x" if key is None else f"x[{key!r}]"
            libraries.add(arrays.library_of(arrays.floating_namespace(array, what)))
            if 0 in array.shape:
                raise ValueError(f"{what} is empty: it has shape {tuple(array.shape)}")
        if len(libraries) > 1:
            raise TypeError(f"x has arrays of several libraries: {', '.join(sorted(libraries))}")

    def at(self, moved: dict[Any, Array]) -> Array:
        """Value of `f`, 0-d, where some of the arrays are others."""
        moved = {**self.arrays, **moved}
        if self.vectorized:
            return self._values({name: a[None, ...] for name, a in moved.items()}, (1,))[0]
        return self._values(moved, ())

    def each(self, name: Any, moved: Array) -> Array:
        """Values of `f`, (size,) in the shape of the array: each has one entry of `moved`."""
        x = self.arrays[name]
        xp, size = array_namespace(x), math.prod(x.shape)
        flat, other = xp.reshape(x, (-1,)), xp.reshape(moved, (-1,))
        index = xp.arange(size, device=device(x))
        if not self.vectorized:
            copies = (xp.where(index == i, other, flat) for i in range(size))
            values = xp.stack([self.at({name: xp.reshape(copy, x.shape)}) for copy in copies])
            return xp.reshape(values, x.shape)
        parts = []
        whole = sum(math.prod(a.shape) * arrays.item_bytes(a) for a in self.arrays.values())
        most = max(1, self.max_bytes // whole)
        for start in range(0, size, most):
            k = min(most, size - start)
            stacks = {key: xp.broadcast_to(a, (k, *a.shape)) for key, a in self.arrays.items()}
            copies = xp.where(index[start : start + k, None] == index[None, :], other, flat)
            stacks[name] = xp.reshape(copies, (k, *x.shape))
            parts.append(self._values(stacks, (k,)))
        return xp.reshape(xp.concat(parts), x.shape)

    def _values(self, moved: dict[Any, Array], shape: tuple[int, ...]) -> Array:
        """Call `f`, and refuse what is no array of that shape."""
        value = self.f(moved if isinstance(self.x, dict) else moved[None])
        x = next(iter(self.arrays.values()))
        xp = array_namespace(x)
        wanted = f"a floating-point array of {arrays.library_of(xp)} with shape {shape}"
        if not arrays.is_array(value):
            if isinstance(value, float) and not shape:
                return xp.asarray(value, dtype=x.dtype, device=device(x))
            raise TypeError(f"f returned a {type(value).__name__}; expected {wanted}")
        arrays.refuse_other_library(value, xp, "f returned", wanted)
        if not arrays.is_kind(xp, value.dtype, "real floating"):
            raise TypeError(f"f returned {value.dtype}; expected {wanted}")
        if tuple(value.shape) != shape and (shape or math.prod(value.shape) != 1):
            raise ValueError(f"f returned shape {tuple(value.shape)}; expected {wanted}")
        return xp.reshape(xp.asarray(value), shape)
