"""Training an estimator by gradient descent, epoch by epoch."""

from __future__ import annotations

import copy
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from ..arrays import Params, mapped
from ..network.net import Network
from ..optimizers import SGD, Adam, Momentum, Nesterov, Optimizer
from ..training.callbacks import Progress
from ..training.history import History
from ..training.plan import BLOCK_STEPS, Plan, Watch
from ..training.session import Session


class ScikitAdam(Adam):
    """Adam as scikit-learn has it: ε is added to √v, not to √v̂ (section 2 of the paper)."""

    def coefficients(self, steps: np.ndarray, learning_rates: np.ndarray) -> np.ndarray:
        """Return Adam's own numbers of each step, but for the one with ε."""
        numbers = super().coefficients(steps, learning_rates)
        numbers[:, 2] = self.epsilon / math.sqrt(1.0 - self.beta_2)
        return numbers


def optimizer_of(estimator: Any) -> Optimizer:
    """Return the optimizer that an estimator's parameters name, or raise."""
    if estimator.solver == "adam":
        return ScikitAdam(estimator.beta_1, estimator.beta_2, estimator.epsilon)
    if estimator.momentum == 0:
        return SGD()
    kind = Nesterov if estimator.nesterovs_momentum else Momentum
    return kind(estimator.momentum)


class Epochs:
    """What happens at the end of an epoch; also the learning rate, which depends on it.

    It is the callback of a training whose blocks are whole epochs, and is kept from one call of
    `partial_fit` to the next, and in pickles.
    """

    def __init__(self, estimator: Any) -> None:
        self.loss_curve: list[float] = []
        self.scores: list[float] = []
        self.best_loss, self.best_score = math.inf, -math.inf
        self.since = 0  # epochs without improvement
        self.samples = 0
        self.optimizer: dict[str, Any] = {}
        self.start(estimator)

    def start(self, estimator: Any) -> None:
        """Begin a call of `fit`: the optimizer forgets, the curves go on."""
        self.rate: float = estimator.learning_rate_init
        self.optimizer.clear()

    def watch(
        self, estimator: Any, rows: int, steps: int, score: Callable[[Network], float] | None,
        net: Network,
    ) -> None:  # fmt: skip
        """Begin a call of `fit` or `partial_fit`: epochs of so many rows, in so many steps.

        `score` is that of the validation set.
        """
        self._estimator, self._rows, self._steps, self._score = estimator, rows, steps, score
        one = estimator.verbose or score is not None or estimator.learning_rate == "invscaling"
        self._epochs_in_a_block = max(
            1, 1 if one else int(min(estimator.n_iter_no_change + 1, BLOCK_STEPS // steps))
        )
        self.done, self.converged = 0, False
        self._losses: list[float] = []  # of the epoch that has not ended
        self._best = None if score is None else _copied_parameters(net)

    def block(self, done: int) -> int:
        """Return the steps of the next block: of several epochs where none can be the last.

        It is the one after `n_iter_no_change` without improvement at the earliest. What waits at
        the end of a block (a device, this callback) then waits less often. `fit` may make it
        shorter, and an epoch of several blocks.
        """
        epochs = self._epochs_in_a_block if self.since == 0 else 1
        return self._steps * epochs - done % self._steps

    def rates(self, steps: np.ndarray) -> np.ndarray:
        """Return the learning rate of each step: of the current epoch, that is."""
        return np.full(steps.shape, self.rate)

    def __call__(self, progress: Progress) -> bool:
        """Return True where training should stop."""
        self._losses += progress.losses.tolist()
        while len(self._losses) >= self._steps:
            losses = self._losses[: self._steps]
            del self._losses[: self._steps]
            self._end(math.fsum(losses) / len(losses), progress.net)
        return self.converged

    def _end(self, loss: float, net: Network) -> None:
        """End an epoch."""
        e = self._estimator
        self.done += 1
        self.samples += self._rows
        self.loss_curve.append(loss)
        if e.verbose:
            print(f"Iteration {self.done}, loss = {loss:.8f}")
        if self._score is None:
            better = loss <= self.best_loss - e.tol
            self.best_loss = min(self.best_loss, loss)
        else:
            better = self._validate(net, self._score)
        self.since = 0 if better else self.since + 1
        if e.solver == "sgd" and e.learning_rate == "invscaling":
            self.rate = e.learning_rate_init / (self.samples + 1) ** e.power_t
        if self.since > e.n_iter_no_change:
            self.converged = self._stops()
            if not self.converged:
                self.since = 0

    def _validate(self, net: Network, score_of: Callable[[Network], float]) -> bool:
        """Whether the score of the validation set has improved; the best weights are kept."""
        score = score_of(net)
        self.scores.append(score)
        if self._estimator.verbose:
            print(f"Validation score: {score:f}")
        better = not score < self.best_score + self._estimator.tol
        if score > self.best_score:
            self.best_score, self._best = score, _copied_parameters(net)
        return better

    def _stops(self) -> bool:
        """Whether an epoch without improvement, the last of several, ends the training."""
        e = self._estimator
        what = "Training loss" if self._score is None else "Validation score"
        text = (
            f"{what} did not improve more than tol={e.tol:f} for {e.n_iter_no_change} "
            "consecutive epochs."
        )
        adaptive = e.solver == "sgd" and e.learning_rate == "adaptive"
        stops = not adaptive or self.rate <= 1e-6
        if stops:
            text += " Learning rate too small. Stopping." if adaptive else " Stopping."
        else:
            self.rate /= 5.0
            text += f" Setting learning rate to {self.rate:f}"
        if e.verbose:
            print(text)
        return stops

    def with_optimizer(self, function: Callable[[Any], Any]) -> Epochs:
        """Return a copy, each array and number of the optimizer put through a function."""
        other = copy.copy(self)
        other.optimizer = mapped(function, self.optimizer)
        return other

    def finish(self, net: Network) -> None:
        """Give a net the best weights where a validation set says which; forget the call."""
        if self._best is not None:
            net.params.update(self._best)
        self._score = self._best = None
        self._losses = []
        del self._estimator


def _copied_parameters(net: Network) -> Params:
    parameters: Params = mapped(net.placement.copy, net.params)
    return parameters


def steps_and_batch_size(batch_size: int | str, n: int) -> tuple[int, int]:
    """Return the steps of an epoch of n rows, as many as scikit-learn's, and its batches' size."""
    most = 200 if batch_size == "auto" else int(batch_size)
    if batch_size != "auto" and most > n:
        warnings.warn(
            f"Got `batch_size` {batch_size}, larger than the sample size {n}. "
            "It is going to be clipped",
            stacklevel=5,  # the line that calls the estimator
        )
    steps = math.ceil(n / min(most, n))
    return steps, math.ceil(n / steps)


def trained(plan: Plan, epochs: Epochs) -> History:
    """Train in blocks of whole epochs, from where the optimizer was; return the record."""
    watch = Watch(callbacks=[epochs], block_steps=epochs.block)
    session = Session(plan, watch, optimizer_state=epochs.optimizer)
    with session.under_way() as blocks:
        for block in blocks:
            if session.report(block, session.run(block)):
                break
    return session.history


def orders(n: int, rng: np.random.RandomState) -> Callable[[], np.ndarray]:
    """Return what gives the order of each epoch: scikit-learn's, from the same generator."""
    rows = np.arange(n)

    def following() -> np.ndarray:
        nonlocal rows
        order = np.arange(n)
        rng.shuffle(order)
        rows = rows[order]
        return rows

    return following
