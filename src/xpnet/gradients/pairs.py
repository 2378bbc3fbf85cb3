"""Functions of complex arrays as functions of their real and imaginary parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .. import arrays, checks
from ..arrays import Array, Host, array_namespace
from ..backend.table import placement_of
from . import trees
from .noise import refuse_reduced_precision
from .sampling import Argument, placed_like


def split(tree: Any) -> Any:
    """Return a tree in which complex arrays are dicts of their real and imaginary parts."""
    return trees.rebuilt(tree, [parts_of(leaf) for _, leaf in trees.leaves(tree)])


def is_complex(x: Any) -> bool:
    """Whether a value is an array of complex numbers."""
    return arrays.is_array(x) and arrays.is_kind(array_namespace(x), x.dtype, "complex floating")


def parts_of(x: Array) -> Any:
    """Return a complex array as a dict of its parts, and any other as it is."""
    if not is_complex(x):
        return x
    xp = array_namespace(x)
    return {"real": xp.real(x), "imag": xp.imag(x)}


def joined(like: list[Array], parts: Iterator[Array]) -> list[Array]:
    """Return arrays of the kinds of others from their parts, in order."""
    found = []
    for array in like:
        if not is_complex(array):
            found.append(next(parts))
            continue
        xp = array_namespace(array)
        real, imag = (xp.astype(next(parts), array.dtype) for _ in range(2))
        found.append(real + imag * 1j)
    return found


class Pair:
    """A function and its argument, both with their complex arrays as pairs of real ones."""

    def __init__(self, f: Callable[[Any], Any], x: Any, conjugate: bool | None) -> None:
        self.f = checks.function(f, "f")
        if conjugate is not None:
            checks.switch(conjugate, "conjugate")
        self.whole = Argument(x, complex_too=True)
        for array in self.whole.arrays:
            refuse_reduced_precision(array)
        self.written = x
        self.x = Argument(split(self.whole.tree))
        backend = placement_of(self.x.arrays[0]).backend
        self.sign = 1.0 if (backend.conjugates if conjugate is None else conjugate) else -1.0
        value = trees.with_arrays(f(self.whole.copies()))
        self.y_tree = value
        self.outputs = []
        for path, leaf in trees.leaves(value):
            what = trees.written("the output of f", path)
            arrays.refuse_other_than_array(leaf, what)
            arrays.refuse_other_library(leaf, self.x.xp, f"{what} is", self.x.library)
            self.outputs.append(trees.detached(leaf))
        self.y = Argument(split(trees.rebuilt(value, self.outputs)))

    def argument(self, leaves: list[Array]) -> Any:
        """Return the user's argument from the parts of its arrays."""
        return trees.rebuilt(self.whole.tree, joined(self.whole.arrays, iter(leaves)))

    def value(self, leaves: list[Array]) -> list[Array]:
        """Return the parts of what f gives at an argument's parts."""
        found = trees.matched(self.y_tree, trees.with_arrays(self.f(self.argument(leaves))), "y")
        parts = [part for leaf in found for _, part in trees.leaves(parts_of(leaf))]
        for part, usual in zip(parts, self.y.arrays, strict=True):
            if tuple(part.shape) != tuple(usual.shape):
                raise ValueError(
                    f"f returned shapes {tuple(part.shape)} and {tuple(usual.shape)} for "
                    "arguments of the same shape"
                )
        return [trees.detached(part) for part in parts]

    def drawn(self, rng: np.random.Generator, y: Array) -> Host:
        """Return a random cotangent of an output, on the host: no entry is near 0."""

        def part() -> Host:
            signs = rng.choice([-1.0, 1.0], size=tuple(y.shape))
            return np.asarray(signs * rng.uniform(0.5, 1.5, size=tuple(y.shape)))

        return part() + 1j * part() if is_complex(y) else part()

    def placed(self, cotangent: list[Host]) -> Any:
        """Return a cotangent as the user's function takes it."""
        placed = [placed_like(y, c) for y, c in zip(self.outputs, cotangent, strict=True)]
        return trees.rebuilt(self.y_tree, placed)
