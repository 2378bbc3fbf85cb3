"""Questions asked of arguments: each check returns the value in its proper form, or raises."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping
from types import ModuleType
from typing import Any, TypeVar

import array_api_compat

T = TypeVar("T")

_namespaces: dict[type, ModuleType] = {}


def array_namespace(x: Any) -> ModuleType:
    """`array_api_compat.array_namespace` of one array, remembered by its type.

    A step asks several times, and asking anew takes microseconds of its few hundred.
    """
    kind = type(x)
    if kind not in _namespaces:
        _namespaces[kind] = array_api_compat.array_namespace(x)
    return _namespaces[kind]


def item_bytes(x: Any) -> int:
    """Bytes of one number of a floating-point array."""
    return int(array_namespace(x).finfo(x.dtype).bits) // 8


def known(table: Mapping[str, T], name: str, what: str) -> T:
    """Return the entry of a table, or raise ValueError with the names that it has."""
    names = ", ".join(map(repr, table))
    if not isinstance(name, str):
        raise TypeError(f"{what} must be one of {names}, not {type(name).__name__}")
    if name not in table:
        raise ValueError(f"unknown {what} {name!r}; known are {names}")
    return table[name]


def finite_number(value: float, name: str, *, minimum: float, exclusive: bool = False) -> float:
    """Return `value` as a float, or raise where it is not finite or too small."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}") from None
    if not math.isfinite(number) or number < minimum or (exclusive and number == minimum):
        relation = "above" if exclusive else "at least"
        raise ValueError(f"{name} must be finite and {relation} {minimum:g}, not {value!r}")
    return number


def positive_integer(value: int, name: str) -> int:
    """Return `value` as an int, or raise where it is no whole number above 0."""
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, not {type(value).__name__}") from None
    if isinstance(value, bool) or number < 1:
        raise ValueError(f"{name} must be at least 1, not {value!r}")
    return number


def all_finite(xp: Any, x: Any) -> bool:
    """Whether no value is NaN or infinite; waits for the device, needs no temporary."""
    return bool(xp.isfinite(xp.max(x))) and bool(xp.isfinite(xp.min(x)))
