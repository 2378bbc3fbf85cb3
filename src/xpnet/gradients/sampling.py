"""A function of arrays, called at moved copies of its argument: what it returns, on the host."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from array_api_compat import device

from .. import arrays, checks
from ..arrays import Array, Host, array_namespace
from ..backend.table import placement_of
from . import trees

# Moved copies that a vectorized function is handed at once, in bytes.
MAX_BYTES = 64 * 2**20


def on_host(x: Array) -> Host:
    """Return an array's values on the host, in float64 (or complex128)."""
    host = placement_of(x).to_host(x)
    return host.astype(np.complex128 if host.dtype.kind == "c" else np.float64)


def placed_like(x: Array, values: Host) -> Array:
    """Return values of the host as an array of x's library, device and dtype."""
    return array_namespace(x).asarray(values, dtype=x.dtype, device=device(x))


class Argument:
    """The argument of a function: a tree of arrays that is never written to.

    Parameters
    ----------
    x : array, number, list of numbers, or a nesting of these
    complex_too : bool
        Complex arrays are taken as well.

    Attributes
    ----------
    tree : object
        `x`, its leaves arrays that are on no graph.
    paths, arrays : list
        Of the leaves.
    labels : list of str
        Short names of the leaves, for reports.
    """

    def __init__(self, x: Any, *, complex_too: bool = False) -> None:
        tree = trees.with_arrays(x)
        found = dict(trees.leaves(tree))
        if not found:
            raise ValueError("x is empty: it has no arrays")
        libraries = set()
        for path, array in found.items():
            xp = _namespace(array, trees.written("x", path), complex_too)
            libraries.add(arrays.library_of(xp))
        if len(libraries) > 1:
            raise TypeError(f"x has arrays of several libraries: {', '.join(sorted(libraries))}")
        self.paths, self.arrays = [*found], [trees.detached(array) for array in found.values()]
        self.tree = trees.rebuilt(tree, self.arrays)
        self.labels = [trees.label(path) for path in self.paths]
        self.xp = array_namespace(self.arrays[0])
        self.library = libraries.pop()

    def copies(self, moved: dict[int, Array] | None = None) -> Any:
        """Return a tree of copies of its own for a function, some leaves replaced."""
        moved = moved or {}
        leaves = (moved[i] if i in moved else trees.copied(a) for i, a in enumerate(self.arrays))
        return trees.rebuilt(self.tree, leaves)

    def moved_to(self, leaves: list[Array]) -> Argument:
        """Return the same argument with other arrays."""
        other = copy.copy(self)
        other.arrays, other.tree = leaves, trees.rebuilt(self.tree, leaves)
        return other


def _namespace(array: Any, name: str, complex_too: bool) -> Any:
    arrays.refuse_other_than_array(array, name)
    xp = array_namespace(array)
    if complex_too and arrays.is_kind(xp, array.dtype, "complex floating"):
        return xp
    return arrays.floating_namespace(array, name)


class Sampler:
    """The values of a scalar function at moved copies of its argument, checked.

    Parameters
    ----------
    f : callable
    x : Argument
    vectorized, max_bytes
        As for `numerical_gradient`.

    Attributes
    ----------
    value_eps : float
        Epsilon of what `f` has returned last.
    writes : bool
        Whether `f` was seen to write to its argument.
    """

    def __init__(
        self, f: Callable[[Any], Any], x: Argument, *, vectorized: bool = False,
        max_bytes: int = MAX_BYTES,
    ) -> None:  # fmt: skip
        self.f, self.x = checks.function(f, "f"), x
        self.vectorized = checks.switch(vectorized, "vectorized")
        self.max_bytes = checks.positive_integer(max_bytes, "max_bytes")
        self.value_eps, self.writes = 0.0, False
        self.error: Exception | None = None
        self._known: Any = None  # the looks of a value that was found right

    def here(self) -> float:
        """Return the value of `f` at x itself, and see whether `f` writes to its argument."""
        copies = [trees.copied(array) for array in self.x.arrays]
        value = float(self._call([a[None, ...] for a in copies] if self.vectorized else copies)[0])
        for before, after in zip(self.x.arrays, copies, strict=True):
            xp = array_namespace(before)
            same = (after == before) | (xp.isnan(after) & xp.isnan(before))
            self.writes = self.writes or not bool(xp.all(same))
        return value

    def at(self, moved: dict[int, Array]) -> float:
        """Return the value of `f` where some leaves are others; NaN where `f` raises an error."""
        everything = {i: array for i, array in enumerate(self.x.arrays) if i not in moved}
        leaves = {**{i: trees.copied(a) for i, a in everything.items()}, **moved}
        ordered = [leaves[i] for i in range(len(leaves))]
        if self.vectorized:
            ordered = [array[None, ...] for array in ordered]
        return float(self._quietly(ordered)[0])

    def entries(self, leaf: int, which: Host, moved: Host) -> Host:
        """Return the values of `f`, each with one entry of a leaf moved.

        Parameters
        ----------
        leaf : int
        which : ndarray of int
            Numbers of the entries, in C order.
        moved : ndarray
            What they become; of the leaf's dtype.
        """
        x = self.x.arrays[leaf]
        xp = array_namespace(x)
        flat = xp.reshape(x, (-1,))
        index = xp.arange(flat.shape[0], device=device(x))
        others, rows = placed_like(x, moved), xp.asarray(which, device=device(x))
        if not self.vectorized:
            found = []
            for k, i in enumerate(which.tolist()):
                copy = xp.reshape(xp.where(index == i, others[k], flat), x.shape)
                everything = enumerate(self.x.arrays)
                ordered = [copy if j == leaf else trees.copied(a) for j, a in everything]
                found.append(self._quietly(ordered, later=True))
            return self._on_host(found)
        parts = []
        whole = sum(math.prod(a.shape) * arrays.item_bytes(a) for a in self.x.arrays)
        most = max(1, self.max_bytes // max(1, whole))
        for start in range(0, len(which), most):
            part = slice(start, min(start + most, len(which)))
            k = part.stop - start
            stacks = [trees.copied(xp.broadcast_to(a, (k, *a.shape))) for a in self.x.arrays]
            chosen = rows[part][:, None] == index[None, :]
            copies = xp.where(chosen, others[part][:, None], flat[None, :])
            stacks[leaf] = xp.reshape(copies, (k, *x.shape))
            parts.append(self._quietly(stacks, k))
        return np.concatenate(parts) if parts else np.zeros(0)

    def _quietly(self, leaves: list[Array], count: int = 1, later: bool = False) -> Any:
        """Call `f` away from x, where it may have no value: an error is a NaN, with no warning."""
        try:
            with np.errstate(all="ignore"):
                return self._call(leaves, count, later)
        except (TypeError, NotFittingError):
            raise
        except Exception as error:  # whatever `f` says of a point outside its domain
            self.error = error
            return np.full(count, np.nan)

    def _call(self, leaves: list[Array], count: int = 1, later: bool = False) -> Any:
        """Call `f`, refuse what is no array of that shape, and return the values on the host.

        `later`: values of a device stay there, copied, so that it need not be waited for.
        """
        value = self.f(trees.rebuilt(self.x.tree, leaves))
        shape = (count,) if self.vectorized else ()
        if not arrays.is_array(value):
            if isinstance(value, float) and not shape:
                # A NumPy scalar has its own precision; a Python number that of a double.
                self.value_eps = max(self.value_eps, float(np.finfo(type(value)).eps))
                return np.full(1, float(value))
            kind = type(value).__name__
            article = "an" if kind[0] in "aeiou" else "a"
            raise TypeError(f"f returned {article} {kind}; expected {self._wanted(shape)}")
        looks = type(value), value.dtype, tuple(value.shape), shape
        if looks != self._known:  # a check costs as much as a small function
            self._refuse(value, shape)
            self._known = looks
        # `f` may return the same buffer each time: a copy, before the next call.
        value = self.x.xp.reshape(trees.copied(value) if later else value, (count,))
        return value if later else on_host(value)

    def _refuse(self, value: Array, shape: tuple[int, ...]) -> None:
        """Raise where an array that `f` has returned is no value; note its epsilon."""
        xp, wanted = self.x.xp, self._wanted(shape)
        arrays.refuse_other_library(value, xp, "f returned", wanted)
        if not arrays.is_kind(xp, value.dtype, "real floating"):
            raise TypeError(f"f returned {value.dtype}; expected {wanted}")
        if tuple(value.shape) != shape and (shape or math.prod(value.shape) != 1):
            raise NotFittingError(f"f returned shape {tuple(value.shape)}; expected {wanted}")
        self.value_eps = max(self.value_eps, arrays.epsilon(value))

    def _wanted(self, shape: tuple[int, ...]) -> str:
        return f"a floating-point array of {self.x.library} with shape {shape}"

    def _on_host(self, found: list[Any]) -> Host:
        """Return values that were left on the device, fetched at once."""
        kept = [value for value in found if not isinstance(value, np.ndarray)]
        if not kept:
            return np.concatenate([np.zeros(0), *found])
        fetched = iter(on_host(self.x.xp.concat(kept)).tolist())
        values = [v[0] if isinstance(v, np.ndarray) else next(fetched) for v in found]
        return np.asarray(values, dtype=np.float64)


class NotFittingError(ValueError):
    """A value of another shape than a scalar's: a mistake, not the edge of a domain."""
