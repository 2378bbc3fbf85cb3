"""Arrays of any library: namespace and kind, whether they belong together, trees of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import array_api_compat
import numpy as np

# An array of any library; what is said of its shape and dtype stands in the docstrings.
Array = Any
Params = dict[str, Array]
Host = np.ndarray

_namespaces: dict[type, ModuleType] = {}


def array_namespace(x: Any) -> ModuleType:
    """`array_api_compat.array_namespace` of one array, remembered by its type.

    A step asks several times, and asking anew takes microseconds of its few hundred.
    """
    kind = type(x)
    if kind not in _namespaces:
        _namespaces[kind] = array_api_compat.array_namespace(x)
    return _namespaces[kind]


def is_array(x: Any) -> bool:
    """Whether `x` is an array that computes as the array API says.

    The subclasses of NumPy's array do not: a masked array leaves entries out, np.matrix takes
    ``*`` for the matrix product. A file mapped into memory computes as any other array.
    """
    if isinstance(x, np.ndarray):
        return type(x) in (np.ndarray, np.memmap)
    return bool(array_api_compat.is_array_api_obj(x))


def refuse_other_than_array(x: Any, name: str) -> None:
    """Raise TypeError where `x` is no array, as `is_array` says."""
    if isinstance(x, np.ndarray) and not is_array(x):
        raise TypeError(
            f"{name} must be an array, not {type(x).__name__}, which computes otherwise: fill in "
            f"what is masked, and take numpy.asarray({name})"
        )
    if not is_array(x):
        raise TypeError(f"{name} must be an array, not {type(x).__name__}")


def is_kind(xp: ModuleType, dtype: Any, kind: str | tuple[str, ...]) -> bool:
    """`xp.isdtype`, False for what is no dtype of the standard at all."""
    try:
        return bool(xp.isdtype(dtype, kind))
    except TypeError:  # NumPy's structured dtypes
        return False


def item_bytes(x: Any) -> int:
    """Bytes of one number of a floating-point array."""
    return int(array_namespace(x).finfo(x.dtype).bits) // 8


def epsilon(x: Any) -> float:
    """Return the rounding unit of a floating-point array's dtype."""
    return float(array_namespace(x).finfo(x.dtype).eps)


def smallest_normal(x: Any) -> float:
    """Return the smallest number of a floating-point array's dtype that has all its digits."""
    return float(array_namespace(x).finfo(x.dtype).smallest_normal)


def all_finite(xp: Any, x: Any, dtype: Any = None) -> bool:
    """Whether no value is NaN or infinite, also in a narrower dtype.

    Waits for the device, needs no temporary.
    """
    ends = xp.max(x), xp.min(x)  # NaN is both
    if dtype is None:
        return all(bool(xp.isfinite(end)) for end in ends)
    largest = float(xp.finfo(dtype).max)
    return all(bool(abs(end) <= largest) for end in ends)


def floating_namespace(x: Array, name: str = "x") -> ModuleType:
    """Return the namespace of `x`; raise TypeError where it is no floating-point array."""
    refuse_other_than_array(x, name)
    xp = array_namespace(x)
    # The standard has these two. What more precise or less precise floats would give is not
    # tested: a float16 has no digits to take a difference from.
    if not (x.dtype == xp.float32 or x.dtype == xp.float64):
        advice = "convert it with xp.astype to native float32 or float64"
        if is_kind(xp, x.dtype, ("bool", "integral")):
            advice += " (and scale images to [0, 1])"
        elif is_kind(xp, x.dtype, "complex floating"):
            advice = "give its real and imaginary parts as two arrays"
        raise TypeError(f"{name} must be a floating-point array, not {x.dtype}: {advice}")
    return xp


def library_of(x: Array | ModuleType) -> str:
    """Return the name of an array's library, or of a namespace, as users know it.

    Compat twins may be vendored: "sklearn.externals.array_api_compat.torch" is torch.
    """
    xp = x if isinstance(x, ModuleType) else array_namespace(x)
    return xp.__name__.rpartition("array_api_compat.")[2].partition(".")[0]


def refuse_other_library(x: Array, xp: ModuleType, what: str, expected: str) -> None:
    """Raise TypeError where `x` is no array of the namespace `xp`.

    `what` begins the message, such as "x is" or "f returned"; `expected` ends it.
    """
    if not is_array(x):
        raise TypeError(f"{what} a {type(x).__name__}, not an array; expected {expected}")
    if array_namespace(x) is not xp:
        raise TypeError(f"{what} an array of {library_of(x)}; expected {expected}")


# --- trees: dicts of dicts of arrays, such as parameters and an optimizer's slots ---------------


def places(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any], str]]:
    """Every leaf of a tree: its path ("slots/velocity/W1"), and the dict and key that hold it."""
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from places(value, f"{prefix}{key}/")
        else:
            yield f"{prefix}{key}", tree, key


def flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Array]:
    """Return the leaves of a tree by their paths."""
    return {path: holder[key] for path, holder, key in places(tree, prefix)}


def mapped(function: Callable[[Any], Any], tree: Any) -> Any:
    """Return a tree of the same form, its leaves those of `tree` put through a function."""
    if isinstance(tree, dict):
        return {key: mapped(function, value) for key, value in tree.items()}
    return function(tree)
