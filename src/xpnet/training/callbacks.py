"""Callbacks of a training: what is called after each block of steps, and with what."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..checks import finite_number, function, known, positive_integer
from ..network.net import Network
from .history import History


@dataclass
class Progress:
    """What a callback is given after each block of steps.

    Attributes
    ----------
    step, steps : int
        Steps done, and steps in all.
    losses : ndarray
        The losses of the block's steps.
    net : Network
    history : History
        So far.
    """

    step: int
    steps: int
    losses: np.ndarray
    net: Network
    history: History

    def __repr__(self) -> str:
        loss = f", loss {np.mean(self.losses):.4f}" if len(self.losses) else ""
        return f"<Progress: step {self.step:,} of {self.steps:,}{loss}>"


class EarlyStopping:
    """Callback: stop where a loss has not improved for a while.

    Parameters
    ----------
    patience : int
        How many looks without improvement are allowed.
    min_delta : float
        What counts as an improvement, at least 0.
    monitor : str
        "validation" looks at each new validation loss, "loss" at the mean loss of each block.

    Examples
    --------
    >>> import numpy as np, xpnet
    >>> x = np.eye(4, dtype=np.float32)
    >>> t = np.asarray([0, 1, 0, 1])
    >>> stop = xpnet.EarlyStopping(patience=1, min_delta=10.0, monitor="loss")
    >>> net = xpnet.MLP([4, 2], seed=0)
    >>> xpnet.fit(net, x, t, steps=1000, batch_size=4, callbacks=[stop]).stopped
    'stopped by a callback after step 200'
    """

    def __init__(
        self, patience: int = 5, min_delta: float = 0.0, monitor: str = "validation"
    ) -> None:
        self.patience = positive_integer(patience, "patience")
        self.min_delta = finite_number(min_delta, "min_delta", minimum=0.0)
        known({"validation": None, "loss": None}, monitor, "monitor")
        self.monitor = monitor
        self.best = math.inf
        self.without_improvement = 0
        self._seen = 0

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint has to hold."""
        best = None if math.isinf(self.best) else self.best
        return {"best": best, "since": self.without_improvement, "seen": self._seen}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` has returned."""
        self.best = math.inf if state["best"] is None else float(state["best"])
        self.without_improvement, self._seen = int(state["since"]), int(state["seen"])

    def __call__(self, progress: Progress) -> bool:
        """Return True where training should stop."""
        if self.monitor == "validation":
            looks = progress.history.validation_loss
            values, self._seen = looks[self._seen :], len(looks)
        else:
            values = [float(np.mean(progress.losses))]
        for value in values:
            if value < self.best - self.min_delta:
                self.best, self.without_improvement = value, 0
            else:
                self.without_improvement += 1
        return self.without_improvement >= self.patience


class Log:
    """Callback: print the step and its loss every so many steps.

    Parameters
    ----------
    every : int
        Steps between two lines.
    write : callable
        Takes a line; `print` by default.

    Examples
    --------
    >>> import numpy as np, xpnet
    >>> net = xpnet.MLP([4, 2], weight_init=0.0)
    >>> x = np.zeros((4, 4), dtype=np.float32)
    >>> history = xpnet.fit(
    ...     net, x, np.asarray([0, 1, 0, 1]), steps=1, batch_size=4, callbacks=[xpnet.Log(1)]
    ... )
    step 1: loss 0.6931
    """

    def __init__(self, every: int = 1000, write: Callable[[str], Any] = print) -> None:
        self.every = positive_integer(every, "every")
        self.write = function(write, "write")

    def __call__(self, progress: Progress) -> None:
        """Write the lines that are due."""
        first = progress.step - len(progress.losses) + 1
        for step in range(-(-first // self.every) * self.every, progress.step + 1, self.every):
            self.write(f"step {step}: loss {progress.losses[step - first]:.4f}")
