"""Arrays of estimators: where they are, and on their way to the net and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import array_api_compat
import numpy as np
from scipy.sparse import issparse
from sklearn import get_config
from sklearn.utils import check_array

from ..arrays import Array
from ..backend.placement import Placement
from ..backend.table import backend_of


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


def copied_to_host(leaf: Any) -> Any:
    """Copy an array to the host; what is none is returned as it is."""
    return np.array(on_host(leaf)) if array_api_compat.is_array_api_obj(leaf) else leaf


def checked_sample_weight(sample_weight: Any, n: int) -> np.ndarray | None:
    """Return the weights of n rows on the host, None where none are given, or raise."""
    if sample_weight is None:
        return None
    if np.isscalar(sample_weight):
        sample_weight = np.full(n, sample_weight)
    weights: np.ndarray = check_array(
        on_host(sample_weight), ensure_2d=False, dtype=float, input_name="sample_weight"
    )
    if weights.ndim != 1:
        raise ValueError(f"Sample weights must be 1D array or scalar, not {weights.ndim}D")
    if weights.shape != (n,):
        raise ValueError(f"sample_weight.shape == {weights.shape}, expected {(n,)}!")
    if weights.min(initial=0.0) < 0.0:
        raise ValueError(f"sample_weight must be at least 0, not {weights.min():g}")
    if not weights.any():
        raise ValueError("Sample weights must contain at least one non-zero number.")
    return weights


@dataclass(frozen=True)
class Rows:
    """Rows to train on, or to validate with.

    Attributes
    ----------
    x, t
        Inputs and targets, where the net is.
    weights
        On the host; None where all rows count the same.
    """

    x: Array
    t: Array
    weights: np.ndarray | None

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self.x.shape[0])

    def take(self, numbers: np.ndarray, here: Placement) -> Rows:
        """Return some of the rows, by their numbers."""
        x, t = (here.take(array, here.asarray(numbers)) for array in (self.x, self.t))
        return Rows(x, t, None if self.weights is None else self.weights[numbers])

    def that_count(self, here: Placement) -> Rows:
        """Return those whose weight is not 0: a batch of others alone would have no mean."""
        if self.weights is None or self.weights.all():
            return self
        return self.take(np.flatnonzero(self.weights), here)
