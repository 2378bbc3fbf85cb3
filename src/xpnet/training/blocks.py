"""The order in which a run takes its rows, block by block; which units dropout keeps."""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator
from typing import Any, TypeVar

import numpy as np

T = TypeVar("T")


class Masks:
    """Which hidden units each row of a batch keeps, for one batch after the other: dropout.

    They are drawn for the whole batch, whoever takes which rows of it. The stream is independent
    of the batch order's, which has the same seed.

    Parameters
    ----------
    batch_size, units : int
        `units` are those of all hidden layers together.
    dropout : float or ndarray, (units,)
        The probability that a unit is dropped, in [0, 1); rounded to a multiple of 2⁻¹⁶.
    seed : int, optional
        None draws anew each time.

    Attributes
    ----------
    scale : float or ndarray, (units,)
        What the units that are kept are multiplied by: 1 / (1 - dropout), of the rounded one.

    Examples
    --------
    >>> masks = Masks(2, 3, 0.5, seed=0)
    >>> masks.take(1).shape, masks.scale
    ((1, 2, 3), 2.0)
    """

    def __init__(
        self, batch_size: int, units: int, dropout: float | np.ndarray, seed: int | None
    ) -> None:
        self._shape = batch_size, units
        # Two random bytes a unit: a third of the time that floats take.
        dropped = np.minimum(np.round(np.multiply(dropout, 2**16)), 2**16 - 1).astype(np.uint16)
        self._dropped = dropped if dropped.ndim else int(dropped)
        scale = 2**16 / (2**16 - dropped.astype(np.float64))
        self.scale = scale if dropped.ndim else float(scale)
        sequence = np.random.SeedSequence(seed, spawn_key=(1,))
        self._bits: np.random.BitGenerator = np.random.PCG64(sequence)

    def take(self, count: int) -> np.ndarray:
        """Return those of the next batches, (count, batch_size, units), True where kept."""
        kept = np.empty((count, *self._shape), dtype=np.bool_)
        # Whole words for each batch: what is drawn does not depend on how many are taken at once.
        words = -(-math.prod(self._shape) // 4)
        for batch in kept.reshape(count, -1):
            drawn = self._bits.random_raw(words).astype("<u8", copy=False).view("<u2")
            drawn = drawn[: batch.size].reshape(self._shape)
            np.greater_equal(drawn, self._dropped, out=batch.reshape(self._shape))
        return kept

    def state(self) -> dict[str, Any]:
        """Return where the stream is, as what JSON can hold."""
        return dict(self._bits.state)

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` has returned."""
        self._bits.state = state


class Shifts:
    """By how much each image of a batch is moved, for one batch after the other.

    The stream is independent of the batch order's and of dropout's, which have the same seed.

    Parameters
    ----------
    batch_size : int
    most : int
        In each direction.
    seed : int, optional
        None draws anew each time.

    Examples
    --------
    >>> shifts = Shifts(2, 1, seed=0)
    >>> shifts.take(3).shape
    (3, 2, 2)
    """

    def __init__(self, batch_size: int, most: int, seed: int | None) -> None:
        self._batch_size, self.most = batch_size, most
        self._bits: np.random.BitGenerator = np.random.PCG64(
            np.random.SeedSequence(seed, spawn_key=(2,))
        )

    def take(self, count: int) -> np.ndarray:
        """Return the offsets of the next batches, (count, batch_size, 2)."""
        drawn = self._bits.random_raw(count * self._batch_size * 2)
        # 2⁶⁴ is no multiple of the number of offsets, by a share that nobody can measure.
        offsets = (drawn % np.uint64(2 * self.most + 1)).astype(np.int64) - self.most
        return offsets.reshape(count, self._batch_size, 2)

    def state(self) -> dict[str, Any]:
        """Return where the stream is, as what JSON can hold."""
        return dict(self._bits.state)

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` has returned."""
        self._bits.state = state


class Batches:
    """Row numbers of one batch after the other, from shuffled passes over n rows.

    Parameters
    ----------
    n, batch_size : int
    seed : int, optional
        None draws anew each time.
    shuffle : bool or callable
        False: each pass is in the order of the rows. A callable returns the order of the next.
    whole_epochs : bool
        A pass ends with a batch, which takes the rows that it lacks from the pass's beginning.
        False: from the next pass.
    masks : Masks, optional
    shifts : Shifts, optional
        Where these go on is part of the state.

    Examples
    --------
    >>> Batches(3, 2, seed=0, shuffle=False).take(3)
    array([[0, 1],
           [2, 0],
           [1, 2]])
    """

    def __init__(
        self, n: int, batch_size: int, seed: int | None, *,
        shuffle: bool | Callable[[], np.ndarray] = True, whole_epochs: bool = False,
        masks: Masks | None = None, shifts: Shifts | None = None,
    ) -> None:  # fmt: skip
        self.masks, self.shifts = masks, shifts
        self._n, self._batch_size, self._shuffle = n, batch_size, shuffle
        self._lacking = -n % batch_size if whole_epochs else 0
        self._rng = np.random.default_rng(seed)
        self._new_pass()

    def take(self, count: int) -> np.ndarray:
        """Return the next batches, (count, batch_size)."""
        rows = np.empty(count * self._batch_size, dtype=np.int64)
        filled = 0
        while filled < len(rows):
            if self._position == len(self._rows):
                self._new_pass()
            part = self._rows[self._position : self._position + len(rows) - filled]
            rows[filled : filled + len(part)] = part
            filled += len(part)
            self._position += len(part)
        return rows.reshape(count, self._batch_size)

    def state(self) -> dict[str, Any]:
        """Return where the order is, as what JSON can hold."""
        drawn = {"masks": self.masks, "shifts": self.shifts}
        others = {name: stream.state() for name, stream in drawn.items() if stream is not None}
        return {"pass": self._start, "position": self._position, **others}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` has returned."""
        self._rng.bit_generator.state = state["pass"]
        self._new_pass()
        self._position = int(state["position"])
        if self.masks is not None:
            self.masks.restore(state["masks"])
        if self.shifts is not None:
            self.shifts.restore(state["shifts"])

    def _new_pass(self) -> None:
        self._start = self._rng.bit_generator.state
        if callable(self._shuffle):
            self._rows = self._shuffle()
        else:
            self._rows = self._rng.permutation(self._n) if self._shuffle else np.arange(self._n)
        if self._lacking:
            self._rows = np.concatenate([self._rows, self._rows[: self._lacking]])
        self._position = 0


def ahead(blocks: Iterator[T]) -> Generator[T, None, None]:
    """The same blocks; a thread prepares the next while one is used. It ends with this."""
    from concurrent.futures import ThreadPoolExecutor  # most programs need none

    with ThreadPoolExecutor(1, "xpnet-staging") as thread:
        coming = thread.submit(next, blocks, None)
        while (block := coming.result()) is not None:
            coming = thread.submit(next, blocks, None)
            yield block
