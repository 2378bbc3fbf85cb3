"""Arrays of estimators: where they are, and on their way to the net and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device, is_array_api_obj
from scipy.sparse import issparse
from sklearn import get_config
from sklearn.utils import check_array

from ..arrays import Array
from ..backend import Placement, backend_of
from ..training.sparse import SparseRows


def library_and_place(X: Any) -> Placement | None:
    """Where X is and stays, None where it is or becomes NumPy's."""
    if issparse(X):
        return None
    _refuse_sparse_tensor(X)
    if not get_config()["array_api_dispatch"] or isinstance(X, (np.ndarray, np.generic)):
        return None
    if not is_array_api_obj(X):
        return None
    backend = backend_of(X)
    if backend is None:
        came = array_namespace(X).__name__
        raise TypeError(f"X is an array of {came}, which xpnet does not know")
    return Placement(backend, backend.load(), device(X), X.dtype)


def _refuse_sparse_tensor(X: Any) -> None:
    """Raise where X is sparse, and not SciPy's: such classes say so by their module or layout."""
    modules, layout = type(X).__module__.split("."), str(getattr(X, "layout", ""))
    if "sparse" in modules or "sparse" in layout:
        raise TypeError(
            f"X is a sparse {type(X).__module__}.{type(X).__name__}: make it dense, or give one "
            "of scipy.sparse"
        )


def on_host(array: Any) -> Any:
    """An array on the host; what is none is returned as it is."""
    if isinstance(array, np.ndarray) or not is_array_api_obj(array):
        return array
    backend = backend_of(array)
    return np.asarray(array) if backend is None else backend.to_host(array)


def moved(array: Any, here: Placement) -> Array:
    """An array in its place, as floats of the place's dtype; sparse rows stay on the host."""
    if issparse(array):
        with np.errstate(over="ignore"):
            rows = array.astype(here.dtype_name, copy=False)
        if not np.isfinite(rows.data).all():
            raise ValueError(f"X has values that are not finite as {here.dtype_name}")
        return SparseRows(rows)
    if array_namespace(array) is here.xp and device(array) in (None, here.device):
        return here.xp.astype(array, here.dtype, copy=False)
    return here.floats(on_host(array))


def integers(array: Array) -> Array:
    """Return 0 or 1 for False or True, in the library's default dtype."""
    xp = array_namespace(array)
    return xp.astype(array, xp.__array_namespace_info__().default_dtypes()["integral"])


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
    here
        Where the net is.
    x, t
        Inputs and targets, there; sparse inputs are `SparseRows`, on the host.
    weights
        On the host; None where all rows count the same.
    """

    here: Placement
    x: Array
    t: Array
    weights: np.ndarray | None

    def __len__(self) -> int:
        return int(self.x.shape[0])

    def take(self, numbers: np.ndarray) -> Rows:
        """Return some of the rows, by their numbers."""
        there = self.here.asarray(numbers)
        sparse = isinstance(self.x, SparseRows)
        x = self.x.take(numbers) if sparse else self.here._take(self.x, there)
        weights = None if self.weights is None else self.weights[numbers]
        return Rows(self.here, x, self.here._take(self.t, there), weights)

    def refuse_weightless(self, what: str) -> None:
        """Raise where no row has a weight above 0: a mean over them would be none."""
        if self.weights is not None and not self.weights.any():
            raise ValueError(
                f"class_weight and sample_weight leave no row {what} with a weight above 0: each "
                "row's is their product"
            )

    def weighing(self) -> Rows:
        """Return the rows whose weight is above 0: a batch of others alone would have no mean."""
        if self.weights is None or self.weights.all():
            return self
        return self.take(np.flatnonzero(self.weights))
