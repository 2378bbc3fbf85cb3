"""Where the rows of a batch come from: arrays on the device, the disk, or sparse rows."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator
from typing import Any, Protocol

import numpy as np

from ..arrays import Array
from ..backend.placement import Arrays
from ..backend.table import place
from ..datasets.on_disk import RowsOnDisk, on_disk, refuse_other_rows, take_rows
from ..network.batch import Batch
from ..network.net import Network
from .sparse import Sparse, SparseRows

# A block on the host, as it is read and as the net takes it, is at most about this large.
BLOCK_BYTES = 64 * 2**20


class Source(Protocol):
    """Where the rows of a batch come from."""

    data: Arrays
    """What the step reads: arrays on the device."""
    reads_ahead: bool
    """Whether the inputs of a block take so long that they are made while another is computed."""

    def most_steps(self, batch_size: int) -> int:
        """Return the steps of the largest block."""

    def inputs(self, rows: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return what the steps of a block are given, from the row numbers of their batches."""

    def batch(self, data: Arrays, inputs: Arrays) -> Arrays:
        """Return a batch, within the step: x, t, and what else there is of each row."""

    def computed(self, compute: Callable[..., Any]) -> Callable[..., Any]:
        """Return what computes loss and gradient from x of these batches; `compute`, of arrays."""


class Resident:
    """A data set on the device: a step takes rows of it by their numbers."""

    reads_ahead = False

    def __init__(self, take: Callable[[Array, Array], Array], data: Arrays) -> None:
        self._take, self.data = take, data

    def most_steps(self, batch_size: int) -> int:
        """Return the steps of the largest block: row numbers are small."""
        return sys.maxsize

    def inputs(self, rows: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the row numbers."""
        return (rows,)

    def batch(self, data: Arrays, inputs: Arrays) -> Arrays:
        """Return these rows of each array."""
        return tuple(self._take(array, inputs[0]) for array in data)

    def rows(self, numbers: Array) -> Resident:
        """Return a data set of these rows."""
        return Resident(self._take, self.batch(self.data, (numbers,)))

    def computed(self, compute: Callable[..., Any]) -> Callable[..., Any]:
        """Return `compute`: x is an array."""
        return compute


class Staged:
    """Data on disk: a step is given the rows that it takes.

    Parameters
    ----------
    net : Network
        On any backend.
    x, t : RowsOnDisk or ndarray
        As for `fit`. Bytes (uint8) in the files of `RowsOnDisk` are pixels: divided by 255.
    weights : ndarray, (n,), optional
        Of the rows.

    Raises
    ------
    TypeError, ValueError
        Shapes or dtypes are not those that the net takes. The values are looked at when they are
        read.
    """

    data: Arrays = ()
    reads_ahead = True

    def __init__(self, net: Network, x: Any, t: Any, weights: Any = None) -> None:
        self._placement = net.placement
        # On the host: what it says about a batch is what the net would say on its device.
        self._host = Batch(net._definition, place(dtype=net.placement.dtype_name))
        for array, name in ((x, "x"), (t, "t")):
            refuse_other_rows(array, name)
        self._pixels = isinstance(x, RowsOnDisk) and x.dtype == np.uint8
        self._host.refuse_input(np.dtype("f4") if self._pixels else x.dtype, tuple(x.shape))
        self._host.holds_indices(t.dtype, tuple(t.shape), x.shape[0])
        self._x, self._t = x, t
        self._weights = None
        if weights is not None:
            self._weights = self._host.checked_weights(weights, x.shape[0])
        floats = self._host.placement.dtype().itemsize
        read = sum(math.prod(a.shape[1:]) * a.dtype.itemsize for a in (x, t))
        widths = net._definition.widths
        self._row_bytes: int = read + floats * (widths[0] + widths[-1] + 1)

    def most_steps(self, batch_size: int) -> int:
        """The steps of a block that takes no more than BLOCK_BYTES; at least one."""
        return max(1, BLOCK_BYTES // (self._row_bytes * batch_size))

    def inputs(self, rows: np.ndarray) -> tuple[np.ndarray, ...]:
        """Read these rows, (..., batch), and check their values.

        Returns
        -------
        tuple of ndarray
            x (..., batch, inputs) in the net's dtype; t as class indices (..., batch) or as rows
            (..., batch, outputs); and the weights, (..., batch), where there are some.

        Raises
        ------
        ValueError
            Values are not finite, or are no target; the message names the rows.
        """
        flat = rows.reshape(-1)
        x, t = take_rows(self._x, flat), take_rows(self._t, flat)
        if self._pixels:
            x = x.astype(self._host.placement.dtype)
            x /= 255
        try:
            arrays: Arrays = self._host.checked_data(x, t)
        except ValueError as error:
            raise self._naming_rows(flat, x, t) or error from None
        if arrays[1].ndim == 1:
            arrays = arrays[0], arrays[1].astype(np.int64)  # what every library indexes with
        if self._weights is not None:
            arrays = (*arrays, self._weights[flat])
        return tuple(array.reshape(*rows.shape, *array.shape[1:]) for array in arrays)

    def batch(self, data: Arrays, inputs: Arrays) -> Arrays:
        """Return the inputs: they are the batch."""
        return inputs

    def computed(self, compute: Callable[..., Any]) -> Callable[..., Any]:
        """Return `compute`: x is an array."""
        return compute

    def pieces(self) -> Iterator[Arrays]:
        """All rows in their order, in pieces of at most BLOCK_BYTES, on the net's device."""
        n, size = self._x.shape[0], self.most_steps(1)
        for start in range(0, n, size):
            inputs = self.inputs(np.arange(start, min(start + size, n)))
            yield tuple(self._placement.asarray(array) for array in inputs)

    def _naming_rows(self, rows: np.ndarray, x: np.ndarray, t: np.ndarray) -> ValueError | None:
        """The error for rows whose values were refused together."""
        wrong: dict[int, ValueError] = {}
        for row, *pair in zip(rows.tolist(), x[:, None], t[:, None], strict=True):
            try:
                self._host.checked_data(*pair)
            except ValueError as error:
                wrong[row] = error
        if not wrong:
            return None
        names = ", ".join(map(str, sorted(wrong)[:5])) + (", ..." if len(wrong) > 5 else "")
        plural, first = "s" if len(wrong) > 1 else "", next(iter(wrong.values()))
        return ValueError(f"row{plural} {names} of the data on disk: {first}")


def source_of(net: Network, x: Any, t: Any, weights: Any = None) -> Source:
    """Return where the batches of a data set come from, its values checked; or raise.

    What is on the disk is checked when it is read.
    """
    if on_disk(x, t):
        return Staged(net, x, t, weights)
    if isinstance(x, SparseRows):
        return Sparse(net, x, t, weights)
    data: Arrays = net._batch.checked_data(x, t)
    if weights is not None:
        data = (*data, net._batch.checked_weights(weights, data[0].shape[0]))
    return Resident(net.placement._take, data)


def divided(
    net: Network, source: Source, n: int, share: float, seed: int | None
) -> tuple[Source, tuple[Array, Array], int]:
    """Keep a share of n rows back, to validate with.

    They are drawn on the host, at least one and not all, from a stream of the seed's that is
    independent of the batch order's.

    Returns
    -------
    source : Source
        Of the other rows, in their order.
    validation : (x, t)
    count : int
        The rows of the validation set.

    Raises
    ------
    ValueError
        The share is not above 0 and below 1, or there is one row only. Or the rows are on disk.
    """
    if not 0.0 < share < 1.0:
        raise ValueError(f"validation must be a share above 0 and below 1, not {share!r}")
    if not isinstance(source, Resident):
        raise ValueError("validation must be a pair (x, t) with rows on disk, not a share of them")
    count = held_out(n, share)
    rng = np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(3,)))
    kept_back = np.zeros(n, dtype=np.bool_)
    kept_back[rng.permutation(n)[:count]] = True
    validation, others = (
        source.rows(net.placement.asarray(np.flatnonzero(which)))
        for which in (kept_back, ~kept_back)
    )
    return others, validation.data[:2], count


def held_out(n: int, share: float) -> int:
    """Return how many of n rows a share is: at least one, and not all; or raise."""
    if n < 2:
        raise ValueError("validation must be a pair (x, t) here: of one row no share can be kept")
    return min(max(1, round(share * n)), n - 1)


def checked_validation(net: Network, validation: Any) -> tuple[Any, Any]:
    """Return a validation set as `evaluate` takes it, or raise."""
    if not isinstance(validation, tuple) or len(validation) != 2:
        raise TypeError("validation must be a pair (x, t), or a share of the rows as a float")
    try:
        if on_disk(*validation):
            Staged(net, *validation)
            return validation
        return net._batch.checked_data(*validation)
    except (TypeError, ValueError) as error:
        kind = TypeError if isinstance(error, TypeError) else ValueError
        raise kind(f"validation: {error}") from None


def evaluate(net: Network, x: Any, t: Any) -> tuple[float, float | None]:
    """Return loss and accuracy (None for values) as numbers, or raise; waits for the device."""
    return measured(net, *((x, t) if on_disk(x, t) else net._batch.checked_data(x, t)))


def measured(net: Network, x: Any, t: Any) -> tuple[float, float | None]:
    """Return what `evaluate` does of a set that is checked, or on disk: from one forward pass."""
    if on_disk(x, t):
        n = x.shape[0]
        parts = [(x.shape[0] / n, *measured(net, x, t)) for x, t in Staged(net, x, t).pieces()]
        mean = math.fsum(share * loss for share, loss, _ in parts)
        rights = [share * right for share, _, right in parts if right is not None]
        return mean, None if net.output.correct is None else math.fsum(rights)
    to_host = net.placement.to_host
    with net.placement._quietly():
        logits, target = net._logits(x), net._batch.target_rows(t)
        loss = net._stack.with_l2(net.output.loss(logits, target)[0], net.params)
        right = None if net.output.correct is None else net._share_right(logits, target)
    return float(to_host(loss)), None if right is None else float(to_host(right))
