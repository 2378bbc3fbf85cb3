"""Questions asked of arguments: each check returns the value in its proper form, or raises."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

import numpy as np

T = TypeVar("T")


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
        # True and "0.1" would pass for numbers.
        if isinstance(value, (bool, np.bool_, str, bytes)):
            raise TypeError
        number = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, not {type(value).__name__}") from None
    except OverflowError:
        number = math.inf
    if not math.isfinite(number) or number < minimum or (exclusive and number == minimum):
        relation = "above" if exclusive else "at least"
        raise ValueError(f"{name} must be finite and {relation} {minimum:g}, not {value!r}")
    return number


def below_one(value: float, name: str) -> float:
    """Return `value` as a float, or raise where it is not at least 0 and below 1."""
    number = finite_number(value, name, minimum=0.0)
    if number >= 1.0:
        raise ValueError(f"{name} must be below 1, not {value!r}")
    return number


def positive_integer(value: int, name: str) -> int:
    """Return `value` as an int, or raise where it is no whole number above 0."""
    return whole_number(value, name, 1)


def seed_or_none(value: int | None, name: str = "seed") -> int | None:
    """Return `value`, or raise where it is neither None nor a whole number of at least 0."""
    return None if value is None else whole_number(value, name)


def whole_number(value: int, name: str, minimum: int = 0) -> int:
    """Return `value` as an int, or raise where it is no whole number of at least `minimum`."""
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be a whole number, not {type(value).__name__}") from None
    if number < minimum:
        raise ValueError(f"{name} must be at least {minimum}, not {value!r}")
    return number


def switch(value: bool, name: str) -> bool:
    """Return `value`, or raise where it is not True or False."""
    if not isinstance(value, bool):
        raise TypeError(f"{name} must be True or False, not {value!r:.100}")
    return value


def function(value: Callable[..., T], name: str) -> Callable[..., T]:
    """Return `value`, or raise where it cannot be called."""
    if not callable(value):
        raise TypeError(f"{name} must be a function, not {type(value).__name__}")
    return value


def file_path(value: str | os.PathLike[str], name: str) -> Path:
    """Return `value` as a Path, or raise where it is none."""
    if not isinstance(value, (str, os.PathLike)):
        raise TypeError(f"{name} must be a path, not {type(value).__name__}")
    return Path(value)


