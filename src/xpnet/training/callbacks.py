"""Callbacks of a training: what is called after blocks of steps, and with what."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import Params, mapped
from ..checks import finite_number, function, known, positive_integer, switch
from ..network.net import Network
from .history import Epoch, History


@dataclass
class Progress:
    """What a callback is given when it is called.

    Attributes
    ----------
    step, steps : int
        Steps done, and steps in all.
    losses : ndarray
        The losses of the steps since the callback was last due: those of the block, where it
        does not say how often it wants to be called.
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
    """Callback: stop where a loss has not improved for a while; keep the best parameters.

    Parameters
    ----------
    patience : int, optional
        How many looks without improvement are allowed. None: any number, for `restore_best`.
    min_delta : float
        What counts as an improvement, at least 0.
    monitor : str
        "validation" looks at each new validation loss, "loss" at the mean loss of each block.
    restore_best : bool
        At the end of the run, however it comes, give the net the parameters (and the state) that
        it had at its best look; ``history.best_step`` is their step. A checkpoint has both these
        and the last ones, from which a run resumes.

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
        self, patience: int | None = 5, min_delta: float = 0.0, monitor: str = "validation", *,
        restore_best: bool = False,
    ) -> None:  # fmt: skip
        self.patience = None if patience is None else positive_integer(patience, "patience")
        self.min_delta = finite_number(min_delta, "min_delta", minimum=0.0)
        known({"validation": None, "loss": None}, monitor, "monitor")
        self.monitor = monitor
        self.restore_best = switch(restore_best, "restore_best")
        self._run: tuple[Network, History] | None = None
        self._forget()

    def _forget(self) -> None:
        """Begin a run: what another one has reached does not count."""
        self.best = math.inf
        self.without_improvement = 0
        self._seen = 0
        self._best_step: int | None = None
        self._kept: dict[str, Params] = {}

    def begin(self, net: Network, history: History, *, validated: bool) -> None:
        """Raise ValueError where a run without validation is to be stopped by it."""
        if self.monitor == "validation" and not validated:
            raise ValueError(
                "EarlyStopping looks at the validation loss, and the run has none: give "
                "validation=(x, t) or a share such as validation=0.1, or monitor='loss'"
            )
        self._run = net, history
        self._forget()

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint has to hold."""
        best = None if math.isinf(self.best) else self.best
        state = {"best": best, "since": self.without_improvement, "seen": self._seen}
        if not self.restore_best:
            return state
        kept: Any = {}
        if self._run is not None:
            kept = mapped(self._run[0].placement.to_host, self._kept)
        return {**state, "best_step": self._best_step, "kept": kept}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on from what `state` has returned."""
        self.best = math.inf if state["best"] is None else float(state["best"])
        self.without_improvement, self._seen = int(state["since"]), int(state["seen"])
        if self.restore_best and self._run is not None:
            self._best_step = state.get("best_step")
            self._kept = mapped(self._run[0]._placed, state.get("kept", {}))

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
                self._keep(progress)
            else:
                self.without_improvement += 1
        return self.patience is not None and self.without_improvement >= self.patience

    def _keep(self, progress: Progress) -> None:
        """Copy the parameters and the state, where they are to be given back."""
        if not self.restore_best:
            return
        self._best_step, net = progress.step, progress.net
        for name, tree in (("params", net.params), ("state", net.state)):
            kept = self._kept.setdefault(name, {})
            for key, array in tree.items():
                kept[key] = net.placement._copy(array, kept.get(key))

    def close(self) -> None:
        """Give the net its best parameters back."""
        if self._run is None or self._best_step is None:
            return
        net, history = self._run
        for tree, name in ((net.params, "params"), (net.state, "state")):
            tree.update(self._kept.get(name, {}))
        history.best_step = self._best_step
        self._run, self._kept = None, {}


class Log:
    """Callback: print the loss every so many steps, or what each epoch has given.

    A line has the mean loss of the batches since the line before.

    Parameters
    ----------
    every : int or "epoch"
        Steps between two lines. "epoch": a line for each look at the validation set, with its
        loss and accuracy.
    write : callable
        Takes a line; `print` by default.

    Examples
    --------
    >>> import numpy as np, xpnet
    >>> net = xpnet.MLP([4, 2], weight_init=0.0)
    >>> x, t = np.zeros((4, 4), dtype=np.float32), np.asarray([0, 1, 0, 1])
    >>> history = xpnet.fit(net, x, t, steps=1, callbacks=[xpnet.Log(1)])
    step 1: loss 0.6931
    >>> history = xpnet.fit(
    ...     net, x, t, epochs=2, validation=(x, t), callbacks=[xpnet.Log("epoch")]
    ... )
    step 1: loss 0.6931, validation loss 0.6931, accuracy 50.00 %
    step 2: loss 0.6931, validation loss 0.6931, accuracy 50.00 %
    """

    def __init__(self, every: int | str = 1000, write: Callable[[str], Any] = print) -> None:
        self._every = every_of(every)
        self._write = function(write, "write")

    def begin(self, net: Network, history: History, *, validated: bool) -> None:
        """Raise ValueError where there are no looks to write of."""
        if self._every == "epoch" and not validated:
            raise ValueError(
                'Log("epoch") writes of the validation set, and the run has none: give '
                "validation=(x, t) or a share such as validation=0.1"
            )

    def __call__(self, progress: Progress) -> None:
        """Write the lines that are due."""
        history, before = progress.history, progress.step - len(progress.losses)
        if isinstance(self._every, str):
            for epoch in new_epochs(progress):
                self._write(epoch_line(epoch))
            return
        for step in range(before + 1, progress.step + 1):
            if step % self._every == 0:
                loss = history._mean_loss(step - self._every, step)
                self._write(f"step {step}: loss {loss:.4f}")


def every_of(every: Any, name: str = "every") -> int | str:
    """Return how often something is due, "epoch" or a number of steps; or raise."""
    return every if isinstance(every, str) and every == "epoch" else positive_integer(every, name)


def new_epochs(progress: Progress) -> list[Epoch]:
    """Return the looks at the validation set that this block has ended with: one or none."""
    history = progress.history
    return [history._epoch(-1)] if history.validation_steps[-1:] == [progress.step] else []


def epoch_line(epoch: Epoch) -> str:
    """Return a line with the losses and the accuracy of an epoch."""
    line = f"step {epoch.step}: loss {epoch.loss:.4f}, validation loss {epoch.validation_loss:.4f}"
    if epoch.validation_accuracy is None:
        return line
    return f"{line}, accuracy {100 * epoch.validation_accuracy:.2f} %"
