"""Arrays of estimators: where they are, and on their way to the net and back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import array_api_compat
import numpy as np
from scipy.sparse import issparse
from sklearn import get_config

from ..arrays import Array, Params
from ..backend.placement import Placement
from ..backend.table import backend_of
from ..network.mlp import MLP


def library_and_place(X: Any) -> Placement | None:
    """Where X is and stays, None where it is or becomes NumPy's."""
    if not get_config()["array_api_dispatch"] or isinstance(X, (np.ndarray, np.generic)):
        return None
    if issparse(X) or not array_api_compat.is_array_api_obj(X):
        return None
    backend = backend_of(X)
    if backend is None:
        came = array_api_compat.array_namespace(X).__name__
        raise TypeError(f"X is an array of {came}, which xpnet does not know")
    return Placement(backend, backend.load(), array_api_compat.device(X), X.dtype)


def float_dtypes(library: Placement | None) -> list[Any]:
    """The dtypes that a net may have there; others become the first."""
    if library is None:
        return [np.float64, np.float32]
    xp = library.xp
    offered = xp.__array_namespace_info__().dtypes(device=library.device, kind="real floating")
    return [offered[name] for name in ("float64", "float32") if name in offered]


def on_host(array: Any) -> Any:
    """An array on the host; what is none is returned as it is."""
    if isinstance(array, np.ndarray) or not array_api_compat.is_array_api_obj(array):
        return array
    backend = backend_of(array)
    return np.asarray(array) if backend is None else backend.to_host(array)


def moved(array: Any, here: Placement) -> Array:
    """An array in its place, as floats of the place's dtype."""
    if issparse(array):
        array = array.toarray()
    if array_api_compat.array_namespace(array) is here.xp:
        device = array_api_compat.device(array)
        if device is None or device == here.device:
            return here.xp.astype(array, here.dtype, copy=False)
    return here.floats(on_host(array))


def placed_classes(classes: np.ndarray, here: Placement) -> Array:
    """Move labels that are numbers; others stay on the host."""
    if classes.dtype.kind not in "biuf":
        return classes
    return here.asarray(np.array(classes))


def copied(net: MLP) -> Params:
    xp = net.placement.xp
    return {key: xp.asarray(p, copy=True) for key, p in net.params.items()}


def tree_on_host(tree: Any, to_host: Callable[[Array], np.ndarray]) -> Any:
    """Copy a dict of dicts of arrays and numbers to the host."""
    if isinstance(tree, dict):
        return {key: tree_on_host(value, to_host) for key, value in tree.items()}
    return np.array(to_host(tree)) if array_api_compat.is_array_api_obj(tree) else tree


def tree_on_device(tree: Any, placed: Callable[[np.ndarray], Array]) -> Any:
    """Undo `tree_on_host`."""
    if isinstance(tree, dict):
        return {key: tree_on_device(value, placed) for key, value in tree.items()}
    return placed(tree) if isinstance(tree, np.ndarray) else tree
