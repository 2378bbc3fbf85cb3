"""What the descriptions of a user's own data share: names of classes, pixels, shares of rows.

A description says what was learned of the data that a net was trained with. It is saved with the
net as plain JSON, and turns new files into the rows that the net takes.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..arrays import Array, Host
from ..backend.placement import Placement
from ..files import MAX_HEADER, FileError

# A column of more different words is a name or a number of each row, not a category; the words
# are saved in a model's header, too.
MOST_CLASSES = 1000


def needed(module: str, what: str, package: str | None = None) -> Any:
    """Import what `what` needs, or raise with the line that installs it."""
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ModuleNotFoundError(
            f"{what} needs {package or module}: python -m pip install 'xpnet[data]'"
        ) from error


def place_rows(where: Placement, rows: Host) -> Array:
    """Move rows to a placement as floats; uint8 are pixels, divided by 255 there."""
    if rows.dtype != np.uint8:
        return where.floats(rows)
    x = where.xp.astype(where.asarray(rows), where.dtype)  # a quarter of the traffic
    x /= 255
    return x


def place_target(where: Placement, t: Host) -> Array:
    """Move class indices or values to a placement."""
    return where.floats(t) if t.dtype.kind == "f" else where.asarray(t)


def named_classes(labels: Host) -> tuple[tuple[str, ...], Host]:
    """Return the names of the classes, in order, and each label's number, int64."""
    values, numbers = np.unique(labels, return_inverse=True)
    return tuple(str(value) for value in values.tolist()), numbers.astype(np.int64)


def numbers_of(words: Sequence[str], names: tuple[str, ...], path: object, column: str) -> Host:
    """Return the number of each word among the names; or raise, naming row and column."""
    known = {name: number for number, name in enumerate(names)}
    numbers = np.asarray([known.get(word, -1) for word in words], dtype=np.int64)
    refuse_unknown(numbers, words, names, path, column)
    return numbers


def refuse_unknown(
    numbers: Host, words: Any, names: tuple[str, ...], path: object, column: str
) -> None:
    """Raise FileError where a number is below 0: its word is not among the names."""
    unknown = np.flatnonzero(numbers < 0)
    if unknown.size:
        few = ", ".join(map(repr, names[:10])) + (", ..." if len(names) > 10 else "")
        raise FileError(
            f"{path}: row {unknown[0] + 1}, column {column!r}: {str(words[unknown[0]])!r:.60} is "
            f"none of those that the net was trained with: {few}"
        )


def refuse_many(count: int, path: object, column: str) -> None:
    """Raise FileError where a column has more different words than a model holds."""
    if count > MOST_CLASSES:
        raise FileError(
            f"{path}: column {column!r} has {count:,} different words; expected at most "
            f"{MOST_CLASSES:,}, each a category: if they name the rows, leave the column out; if "
            "they are meant as numbers, look for what is no number in it"
        )


def refuse_large(described: dict[str, Any], path: object) -> None:
    """Raise FileError where a description is too large for the header of a model's file."""
    size = len(json.dumps(described))
    if size > MAX_HEADER // 2:
        raise FileError(
            f"{path}: its columns and categories take {size:,} bytes in a model's file; expected "
            f"at most {MAX_HEADER // 2:,}: leave out columns of words that name the rows"
        )


def held_out(t: Host, share: float, seed: int) -> tuple[Host, Host]:
    """Draw row numbers to train with and to test with, both in the order of the draw.

    Of class indices every class keeps its share, as far as its rows allow.

    Parameters
    ----------
    t : ndarray, (n, ...)
        Class indices, or values.
    share : float
        Of the rows to test with; between 0 and 1.
    seed : int

    Returns
    -------
    train, test : ndarray of int64

    Raises
    ------
    ValueError
        There are too few rows for two parts.
    """
    n = len(t)
    count = min(max(1, round(n * share)), n - 1)
    if count < 1:
        raise ValueError(f"{n} row is too few to train and to test with")
    order = np.random.default_rng(seed).permutation(n)
    if t.ndim > 1 or t.dtype.kind == "f":
        return order[count:], order[:count]
    # Each row's place within its class, as a share of it: the smallest are tested with. So every
    # class is cut at the same share, and a class of one row is trained with.
    places = np.empty(n)
    for label in np.unique(t):
        rows = order[t[order] == label]
        places[rows] = (np.arange(len(rows)) + 0.5) / len(rows) if len(rows) > 1 else 1.0
    tested = np.zeros(n, dtype=bool)
    tested[order[np.argsort(places[order], kind="stable")[:count]]] = True
    return order[~tested[order]], order[tested[order]]
