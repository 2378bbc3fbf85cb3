"""The order in which a training takes its rows, and where it takes them from."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from .backend import Array, Arrays


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

    Examples
    --------
    >>> Batches(3, 2, seed=0, shuffle=False).take(3)
    array([[0, 1],
           [2, 0],
           [1, 2]])
    """

    def __init__(
        self,
        n: int,
        batch_size: int,
        seed: int | None,
        *,
        shuffle: bool | Callable[[], np.ndarray] = True,
        whole_epochs: bool = False,
    ) -> None:
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
        return {"pass": self._start, "position": self._position}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` has returned."""
        self._rng.bit_generator.state = state["pass"]
        self._new_pass()
        self._position = int(state["position"])

    def _new_pass(self) -> None:
        self._start = self._rng.bit_generator.state
        if callable(self._shuffle):
            self._rows = self._shuffle()
        else:
            self._rows = self._rng.permutation(self._n) if self._shuffle else np.arange(self._n)
        if self._lacking:
            self._rows = np.concatenate([self._rows, self._rows[: self._lacking]])
        self._position = 0


class Source(Protocol):
    """Where the rows of a batch come from."""

    data: Arrays
    """What the step reads: arrays on the device."""

    def inputs(self, rows: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return what the steps of a block are given, from the row numbers of their batches."""

    def batch(self, data: Arrays, inputs: Arrays) -> Arrays:
        """Return a batch, within the step: x, t, and what else there is of each row."""


class Resident:
    """A data set on the device: a step takes rows of it by their numbers."""

    def __init__(self, take: Callable[[Array, Array], Array], data: Arrays) -> None:
        self._take, self.data = take, data

    def inputs(self, rows: np.ndarray) -> tuple[np.ndarray, ...]:
        """Return the row numbers."""
        return (rows,)

    def batch(self, data: Arrays, inputs: Arrays) -> Arrays:
        """Return these rows of each array."""
        return tuple(self._take(array, inputs[0]) for array in data)
