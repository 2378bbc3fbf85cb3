"""Arrays in any nesting of dicts, lists and tuples: their leaves, by the path that leads there."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator
from numbers import Number
from typing import Any

import numpy as np

from .. import arrays
from ..arrays import Array, array_namespace
from ..backend.table import placement_of

# How a leaf is reached from the root, as one writes it: ("['layers']", "[0]", "['W']").
Path = tuple[str, ...]


def is_node(tree: Any) -> bool:
    """Whether a value holds others."""
    return isinstance(tree, (dict, list, tuple))


def is_named(tree: Any) -> bool:
    """Whether a value is a named tuple."""
    return isinstance(tree, tuple) and hasattr(tree, "_fields")


def children(tree: Any) -> Iterator[tuple[str, Any]]:
    """Every value that a node holds, and how it is reached."""
    if isinstance(tree, dict):
        yield from ((f"[{key!r}]", value) for key, value in tree.items())
    elif is_named(tree):
        yield from ((f".{name}", getattr(tree, name)) for name in tree._fields)
    else:
        yield from ((f"[{i}]", value) for i, value in enumerate(tree))


def leaves(tree: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every leaf of a tree and its path, in the tree's own order."""
    if not is_node(tree):
        yield path, tree
        return
    for step, child in children(tree):
        yield from leaves(child, (*path, step))


def rebuilt(tree: Any, values: Iterable[Any]) -> Any:
    """Return a tree of the same form with other leaves, given in the tree's own order."""
    return _filled(tree, iter(values))


def _filled(tree: Any, values: Iterator[Any]) -> Any:
    if not is_node(tree):
        return next(values)
    return rebuilt_children(tree, [_filled(child, values) for _, child in children(tree)])


def rebuilt_children(tree: Any, values: list[Any]) -> Any:
    """Return a node of the same form that holds other values."""
    if isinstance(tree, dict):
        new = copy.copy(tree)  # an OrderedDict stays one
        new.update(zip(tree, values, strict=True))
        return new
    return type(tree)(*values) if is_named(tree) else type(tree)(values)


def written(name: str, path: Path) -> str:
    """Return how a leaf of the argument `name` is written in a program."""
    return name + "".join(path)


def label(path: Path, name: str = "x") -> str:
    """Return the short name of a leaf: "W1", "layers[0].W"; a single array has its argument's."""
    found = ""
    for step in path:
        key = re.fullmatch(r"\['([^'\[\].]+)'\]|\.(\w+)|\[(\d+)\]", step)
        word = None if key is None else key[1] or key[2]
        if word is not None:
            found += f".{word}" if found else word
        else:
            found = (found or name) + step
    return found or name


# --- from what users write to arrays ---------------------------------------------------------


def is_number(value: Any) -> bool:
    """Whether a value is a number and no array; True and False are none."""
    return isinstance(value, Number) and not isinstance(value, (bool, np.bool_))


def is_numbers(tree: Any) -> bool:
    """Whether a value is a number, or a list of numbers, of lists of numbers, ..."""
    if isinstance(tree, (list, tuple)) and not is_named(tree):
        return len(tree) > 0 and all(map(is_numbers, tree))
    return is_number(tree)


def with_arrays(tree: Any) -> Any:
    """Return a tree in which numbers are 0-d arrays and lists of numbers are arrays.

    They are float64 (or complex128) arrays of NumPy, or of the library, device and dtype of the
    first array beside them.
    """
    found = [leaf for _, leaf in leaves(tree) if arrays.is_array(leaf)]
    return _with_arrays(tree, found[0] if found else None)


def _with_arrays(tree: Any, like: Array | None) -> Any:
    if is_numbers(tree):
        host = np.asarray(tree)
        host = host if host.dtype.kind == "c" or isinstance(tree, np.floating) else host * 1.0
        if like is None:
            return host if isinstance(host, np.ndarray) else np.asarray(host)
        return placement_of(like).floats(host)
    if not is_node(tree):
        return tree
    return rebuilt_children(tree, [_with_arrays(child, like) for _, child in children(tree)])


def as_written(tree: Any) -> Any:
    """Return a tree in which numbers and lists of numbers are leaves, as users wrote them."""
    if is_numbers(tree):
        return None
    if not is_node(tree):
        return tree
    return rebuilt_children(tree, [as_written(child) for _, child in children(tree)])


def matched(tree: Any, other: Any, name: str, path: Path = ()) -> list[Any]:
    """Return the leaves of a second tree, named `name`, in the order of the first, named x.

    Raises
    ------
    TypeError, ValueError
        Their forms differ.
    """
    if not is_node(tree):
        if is_node(other) and not isinstance(other, list):
            raise TypeError(_unlike(tree, other, name, path))
        return [other]
    if isinstance(tree, dict) != isinstance(other, dict) or not is_node(other):
        raise TypeError(_unlike(tree, other, name, path))
    own, given = dict(children(tree)), dict(children(other))
    if isinstance(tree, dict):
        keys = [sorted(map(str, node)) for node in (other, tree)]
        if keys[0] != keys[1]:
            at = written(name, path), written("x", path)
            raise ValueError(f"{at[0]} has the keys {keys[0]}, but {at[1]} has {keys[1]}")
    elif len(own) != len(given):
        at = written(name, path), written("x", path)
        raise ValueError(f"{at[0]} has {len(given)} values, but {at[1]} has {len(own)}")
    elif not is_named(tree) or not is_named(other):
        given = dict(zip(own, given.values(), strict=True))  # a tuple may stand for a named one
    found = []
    for step, child in own.items():
        found += matched(child, given[step], name, (*path, step))
    return found


def _unlike(tree: Any, other: Any, name: str, path: Path) -> str:
    kinds = {dict: "a dict of arrays", list: "a list of arrays", tuple: "a tuple of arrays"}
    kind = next((text for cls, text in kinds.items() if isinstance(tree, cls)), "an array")
    article = "an" if type(other).__name__[0] in "aeiou" else "a"
    return (
        f"{written('x', path)} is {kind}, but {written(name, path)} is {article} "
        f"{type(other).__name__}"
    )


def detached(array: Array) -> Array:
    """Return an array of the same values that is on no graph of a library's derivatives."""
    return placement_of(array).backend.detach(array)


def copied(array: Array) -> Array:
    """Return a copy that may be written to, and that is on no graph."""
    array = detached(array)
    return array_namespace(array).asarray(array, copy=True)
