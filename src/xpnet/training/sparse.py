"""Sparse data: rows of a compressed matrix, made dense a batch at a time, without empty columns.

A column that is 0 in all rows of a batch adds nothing to the product of the first layer, and its
weights have no gradient. So a batch of few numbers is a narrow matrix of the columns that it has;
the first layer's weights are narrowed with it, and their gradient is spread out again.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from ..arrays import Array, Params
from ..backend.placement import Arrays
from ..network.net import Network

# The rows of a block, as they are given to its steps, are at most about this large.
BLOCK_BYTES = 64 * 2**20
# All rows at once, as L-BFGS takes them, are pieces of so many: more rows have more columns each.
PIECE_ROWS = 200
# Predictions are computed in pieces of about so many bytes.
PIECE_BYTES = 8 * 2**20


class SparseRows:
    """The rows of a compressed matrix, SciPy's `csr_matrix` or `csr_array`.

    Parameters
    ----------
    matrix
        Of finite numbers, in the net's dtype.
    """

    def __init__(self, matrix: Any) -> None:
        if not matrix.has_canonical_format:
            matrix = matrix.copy()
            matrix.sum_duplicates()
        self.matrix, self.shape, self.dtype = matrix, matrix.shape, matrix.dtype

    def take(self, numbers: np.ndarray) -> SparseRows:
        """Return some of the rows, by their numbers."""
        return SparseRows(self.matrix[numbers])

    def width(self, count: int) -> int | None:
        """Return the columns that `count` rows have at most; None where all columns are better."""
        sizes = np.diff(self.matrix.indptr)
        # Spreading a gradient out takes as long as some columns.
        most = int(np.sort(sizes)[-count:].sum())
        return max(1, most) if 2 * most <= self.shape[1] else None

    def dense(self, numbers: np.ndarray, width: int | None) -> tuple[np.ndarray, ...]:
        """Return rows as they are multiplied.

        Returns
        -------
        tuple of ndarray
            The values, (rows, columns). Where they are narrow, (rows, width), also the number of
            each of their columns, (width,); and for each column of the matrix 0 where they lack
            it, or 1 + its place among theirs, (columns,).
        """
        part = self.matrix[numbers]
        rows = np.repeat(np.arange(len(numbers)), np.diff(part.indptr))
        if width is None:
            values = np.zeros((len(numbers), self.shape[1]), dtype=self.dtype)
            values[rows, part.indices] = part.data
            return (values,)
        found, places = np.unique(part.indices, return_inverse=True)
        values = np.zeros((len(numbers), width), dtype=self.dtype)
        values[rows, places] = part.data
        columns = np.zeros(width, dtype=np.int64)
        columns[: len(found)] = found
        spread = np.zeros(self.shape[1], dtype=np.int64)
        spread[found] = np.arange(1, len(found) + 1)
        return values, columns, spread


class Sparse:
    """A source of batches of sparse rows: each is made dense, and moved, alone.

    Parameters
    ----------
    net : Network
        A multi-layer perceptron on any backend.
    x : SparseRows
    t : array
        As for `fit`, where the net is.
    weights : array, (n,), optional
        Of the rows, where the net is.

    Raises
    ------
    TypeError, ValueError
        Shapes, dtypes or targets are not those that the net takes.
    """

    reads_ahead = False

    def __init__(self, net: Network, x: SparseRows, t: Array, weights: Array | None = None) -> None:
        self._net, self._x, n = net, x, x.shape[0]
        t = net._batch.checked_target(t, n, read=True)
        self.data: Arrays = (t,)
        if weights is not None:
            self.data = (t, net._batch.checked_weights(weights, n))
        self._width = functools.cache(x.width)

    def most_steps(self, batch_size: int) -> int:
        """Return the steps of the largest block."""
        columns: int = self._x.shape[1]
        width = self._width(batch_size) or columns
        size = batch_size * width * self._x.dtype.itemsize + 8 * columns
        return max(1, BLOCK_BYTES // int(size))

    def inputs(self, rows: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the row numbers of some batches, (K, batch), and their rows as `SparseRows` has.

        All batches of a run are equally wide: steps may be compiled for their shapes.
        """
        width = self._width(rows.shape[1])
        batches = [self._x.dense(batch, width) for batch in rows]
        return (rows, *(_stacked(parts) for parts in zip(*batches, strict=True)))

    def batch(self, data: Arrays, inputs: Arrays) -> Arrays:
        """Return a batch, whose x are the parts of narrow rows, for `computed`."""
        rows, *x = inputs
        return (tuple(x), *(self._net.placement._take(array, rows) for array in data))

    def computed(self, compute: Callable[..., Any]) -> Callable[..., Any]:
        """Return what computes loss and gradient from a batch, by backpropagation."""
        return narrowed(self._net)


def _stacked(parts: tuple[np.ndarray, ...]) -> np.ndarray:
    """Stack arrays; one alone is not copied."""
    return parts[0][None] if len(parts) == 1 else np.stack(parts)


def narrowed(net: Network) -> Callable[..., tuple[Array, Params]]:
    """Return `net._backpropagate` for the parts of narrow rows."""
    plain = net._with_l2(0.0)

    def compute(
        params: Params, x: Arrays, target: Array, scale: Any = None,
        weights: Array | None = None, **more: Any,
    ) -> tuple[Array, Params]:  # fmt: skip
        values, *places = x
        few = params if not places else narrow(net, params, places[0])
        loss, gradient = plain._backpropagate(few, values, target, scale, weights, **more)
        if places:
            xp, g = net.placement.xp, gradient["W1"].T
            # A gather: setting entries by their numbers is in no standard.
            g = xp.concat([xp.zeros_like(g[:, :1]), g], axis=1)
            gradient["W1"] = xp.take(g, places[1], axis=1).T
        return net._stack.with_l2(loss, params), net._stack.add_l2(gradient, params, scale)

    return compute


def narrow(net: Network, params: Params, columns: Array) -> Params:
    """Return parameters whose first weights are those of some columns alone."""
    return {**params, "W1": net.placement.xp.take(params["W1"].T, columns, axis=1).T}


def pieces(net: Network, x: SparseRows) -> Iterator[tuple[slice, Arrays]]:
    """Yield all rows in their order, some at a time, as they are multiplied, where the net is."""
    n, here = x.shape[0], net.placement
    for start in range(0, n, PIECE_ROWS):
        rows = np.arange(start, min(start + PIECE_ROWS, n))
        part = x.take(rows)
        parts = part.dense(np.arange(len(rows)), part.width(len(rows)))
        yield slice(start, start + len(rows)), tuple(here.asarray(array) for array in parts)


def predicted(net: Network, x: SparseRows) -> Array:
    """Return the net's predictions of sparse rows, (n, outputs).

    Where there are more columns than units behind them, SciPy multiplies the rows with the first
    weights, on the host; the net does the rest, with the identity as its first weights.
    """
    here, params, found = net.placement, net.params, []
    columns, units = params["W1"].shape
    weights = np.ascontiguousarray(here.to_host(params["W1"])) if columns > units else None
    if weights is not None:
        params = {**params, "W1": here.floats(np.eye(units))}
    widest = max(net._definition.widths[1:] if weights is not None else net._definition.widths)
    size = max(1, PIECE_BYTES // (8 * widest))
    with here._quietly():
        for start in range(0, x.shape[0], size):
            part = x.matrix[start : start + size]
            rows = here.floats(part.toarray() if weights is None else part @ weights)
            found.append(net.output.link(net._stack.predict(params, net.state, rows)))
        return found[0] if len(found) == 1 else here.xp.concat(found, axis=0)
