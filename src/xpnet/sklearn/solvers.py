"""Training an estimator: by gradient descent, epoch by epoch; by L-BFGS, on all rows at once."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import scipy.optimize
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import shuffle

from ..arrays import Params, mapped
from ..network import Network
from ..optimizers import SGD, Adam, Momentum, Nesterov, Optimizer
from ..training import History, NonFiniteLoss, Progress
from ..training.plan import BLOCK_STEPS, Plan, Watch
from ..training.session import Session
from ..training.sparse import SparseRows, narrowed, pieces
from .arrays import Rows

DIVERGED = (
    "Solver produced non-finite parameter weights. The input data may contain large values and "
    "need to be preprocessed."
)
OF_EPOCHS = (
    "history_", "loss_curve_", "best_loss_", "validation_scores_", "best_validation_score_",
)  # fmt: skip
INTERRUPTED = "Training interrupted by user."
Score = Callable[[Network], float]
Random = np.random.RandomState


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

    def __init__(self) -> None:
        self.loss_curve: list[float] = []
        self.scores: list[float] = []
        self.best_loss, self.best_score = math.inf, -math.inf
        self.since = 0  # epochs without improvement
        self.samples = 0
        self.optimizer: dict[str, Any] = {}

    def start(self, learning_rate: float) -> None:
        """Begin a call of `fit`: the optimizer forgets, the curves go on."""
        self.rate = learning_rate
        self.optimizer.clear()
        vars(self).pop("asked", None)

    def descend(
        self, model: Any, rows: Rows, score: Score | None, rng: Random, incremental: bool
    ) -> None:
        """Train an estimator, in blocks of whole epochs.

        `score` is that of the validation set; an incremental call is of one epoch.
        """
        if incremental:
            self._take_up(model)
        steps, batch_size = steps_and_batch_size(model.batch_size, len(rows))
        # Their alpha / 2 Σw² is of a batch's sum of losses, ours of its mean.
        mean_weight = 1.0 if rows.weights is None else float(np.mean(rows.weights))
        net = model.net_ = model.net_._with_l2(float(model.alpha) / (batch_size * mean_weight))
        self._estimator, self._rows, self._steps, self._score = model, len(rows), steps, score
        self._best: Params = {} if score is None else mapped(rows.here._copy, net.params)
        self.done, self.converged = 0, False
        try:
            model.history_ = self._run(rows, batch_size, 1 if incremental else model.max_iter, rng)
            reason = model.history_.reason
            interrupted = reason is not None and reason.kind == "interrupt"
        except KeyboardInterrupt:
            interrupted = True
        except NonFiniteLoss as error:
            if score is None:
                raise ValueError(DIVERGED) from error
            interrupted, model.history_ = False, error.history
            self._diverged(error)
        finally:
            net.params.update(self._best)
            self._estimator, self._score, self._best = None, None, {}
        check_finite(net)
        model.n_iter_, model.t_, model.loss_curve_ = self.done, self.samples, self.loss_curve
        model.loss_ = self.loss_curve[-1] if self.loss_curve else math.nan
        model.best_loss_ = self.best_loss if score is None else None
        model.validation_scores_ = None if score is None else self.scores
        model.best_validation_score_ = None if score is None else self.best_score
        if interrupted:
            warnings.warn(INTERRUPTED, stacklevel=5)  # the line that calls the estimator
        elif not (incremental or self.converged or self.done < model.max_iter):
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({model.max_iter}) reached and the "
                "optimization hasn't converged yet.", ConvergenceWarning, stacklevel=5,
            )  # fmt: skip

    def _take_up(self, model: Any) -> None:
        """Take up parameters that have changed since the last call."""
        names, slots = set(optimizer_of(model).slot_names), self.optimizer.get("slots")
        if slots is not None and set(slots) != names:
            warnings.warn(
                "the optimizer begins anew: solver or momentum have changed to one that remembers "
                "something else", stacklevel=6,
            )  # fmt: skip
            self.optimizer.clear()
        if asked_rate(model) != getattr(self, "asked", asked_rate(model)):
            self.rate = model.learning_rate_init
        self.asked = asked_rate(model)

    def _diverged(self, error: NonFiniteLoss) -> None:
        """End the run with the weights that had the best score."""
        self.done += 1
        self.samples += self._rows
        self.loss_curve.append(float(error.history.loss[-1]))
        self.scores.append(math.nan)
        self.converged = True
        warnings.warn(
            f"the loss became {self.loss_curve[-1]} in epoch {self.done}; the weights are those "
            "with the best validation score. A smaller learning_rate_init may help",
            ConvergenceWarning, stacklevel=6,
        )  # fmt: skip

    def _run(self, rows: Rows, batch_size: int, epochs: int, rng: Random) -> History:
        """Train from where the optimizer was; return the record."""
        e, here, weights = self._estimator, rows.here, rows.weights
        # The rows trained on, because a number for random_state draws the same in every call.
        seed = int(rng.randint(2**31 - 1)) + self.samples if e.dropout else 0
        plan = Plan(
            e.net_, rows.x, rows.t, steps=self._steps * epochs, batch_size=batch_size,
            optimizer=optimizer_of(e), learning_rate=self.rates, whole_epochs=True,
            shuffle=orders(len(rows), rng).__next__ if e.shuffle else False, seed=seed,
            sample_weight=None if weights is None else here.floats(weights), dropout=e.dropout,
        )  # fmt: skip
        watch = Watch(callbacks=[self], block_steps=self.block)
        session = Session(plan, watch, optimizer_state=self.optimizer)
        with session.under_way() as blocks:
            for block in blocks:
                if session.report(block, session.run(block)):
                    break
        return session.history

    def block(self, done: int) -> int:
        """Return the steps of the next block: of several epochs where none can be the last.

        It is the one after `n_iter_no_change` without improvement at the earliest. What waits at
        the end of a block (a device, this callback) then waits less often. `fit` may make it
        shorter, and an epoch of several blocks.
        """
        e, epochs = self._estimator, 1
        if not (self.since or e.verbose or self._score or e.learning_rate == "invscaling"):
            epochs = max(1, int(min(e.n_iter_no_change + 1, BLOCK_STEPS // self._steps)))
        return self._steps * epochs - done % self._steps

    def rates(self, steps: np.ndarray) -> np.ndarray:
        """Return the learning rate of each step: of the current epoch, that is."""
        return np.full(steps.shape, self.rate)

    def __call__(self, progress: Progress) -> bool:
        """Return True where training should stop."""
        while progress.step >= (self.done + 1) * self._steps:
            losses = progress.history.loss[self.done * self._steps :][: self._steps]
            self._end(math.fsum(losses) / self._steps, progress.net)
        return self.converged

    def _end(self, loss: float, net: Network) -> None:
        """End an epoch: it is better than those before, or one of several that are not."""
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
            score = self._score(net)
            self.scores.append(score)
            if e.verbose:
                print(f"Validation score: {score:f}")
            better = not score < self.best_score + e.tol
            if score > self.best_score:
                self.best_score, self._best = score, mapped(net.placement._copy, net.params)
        self.since = 0 if better else self.since + 1
        if e.solver == "sgd" and e.learning_rate == "invscaling":
            self.rate = e.learning_rate_init / (self.samples + 1) ** e.power_t
        if self.since > e.n_iter_no_change:
            self._slow_down_or_stop()

    def _slow_down_or_stop(self) -> None:
        """Lower an adaptive learning rate, or end the training: there is no improvement."""
        e = self._estimator
        adaptive = e.solver == "sgd" and e.learning_rate == "adaptive"
        if adaptive and self.rate > 1e-6:
            self.since = 0
            self.rate /= 5.0
            then = f"Setting learning rate to {self.rate:f}"
        else:
            self.converged = True
            then = "Learning rate too small. Stopping." if adaptive else "Stopping."
        if e.verbose:
            what = "Training loss" if self._score is None else "Validation score"
            epochs = f"{e.n_iter_no_change} consecutive epochs"
            print(f"{what} did not improve more than tol={e.tol:f} for {epochs}. {then}")


def asked_rate(model: Any) -> tuple[Any, ...]:
    """Return the parameters that a learning rate begins with."""
    return model.solver, model.learning_rate, model.learning_rate_init


def steps_and_batch_size(batch_size: int | str, n: int) -> tuple[int, int]:
    """Return the steps of an epoch of n rows, as many as scikit-learn's, and its batches' size."""
    most = 200 if batch_size == "auto" else int(batch_size)
    if batch_size != "auto" and most > n:
        warnings.warn(
            f"Got `batch_size` {batch_size}, larger than the sample size {n}. "
            "It is going to be clipped", stacklevel=6,  # the line that calls the estimator
        )  # fmt: skip
    steps = math.ceil(n / min(most, n))
    return steps, math.ceil(n / steps)


def orders(n: int, rng: Random) -> Iterator[np.ndarray]:
    """Yield the order of each epoch: scikit-learn's, from the same generator."""
    rows = np.arange(n)
    while True:
        rows = shuffle(rows, random_state=rng)
        yield rows


def check_finite(net: Network) -> None:
    """Raise where a training has ended in parameters that are no numbers."""
    xp = net.placement.xp
    if not xp.all(xp.stack([xp.all(xp.isfinite(p)) for p in net.params.values()])):
        raise ValueError(DIVERGED)


def minimize(model: Any, rows: Rows) -> None:
    """Minimise an estimator's loss of all rows by SciPy's L-BFGS-B, on the host in float64."""
    here, weights = rows.here, rows.weights
    total = len(rows) if weights is None else float(np.sum(weights))
    net = model.net_ = model.net_._with_l2(float(model.alpha) / total)
    whole = Whole(net, rows)

    def loss_and_gradient(vector: np.ndarray) -> tuple[float, np.ndarray]:
        _set_parameters(net, vector)
        with here._quietly():
            loss, gradient = whole.loss_and_gradient()
        return loss, _vector(net, gradient)

    reached, iterations, last_loss = _vector(net, net.params), 0, math.nan

    def after_iteration(intermediate_result: Any) -> None:
        nonlocal reached, iterations, last_loss
        reached, last_loss = intermediate_result.x.copy(), float(intermediate_result.fun)
        iterations += 1
        if model.verbose:
            print(f"Iteration {iterations}, loss = {last_loss:.8f}")

    try:
        result = scipy.optimize.minimize(
            loss_and_gradient, reached, method="L-BFGS-B", jac=True, callback=after_iteration,
            options={"maxfun": model.max_fun, "maxiter": model.max_iter, "gtol": model.tol},
        )  # fmt: skip
        reached, last_loss = result.x, float(result.fun)
        iterations = min(int(result.nit), model.max_iter)
    except KeyboardInterrupt:
        result = None
    _set_parameters(net, reached)  # of the last iteration, not of a step that was being tried
    check_finite(net)
    model.n_iter_, model.loss_, model.t_ = iterations, last_loss, model._epochs.samples
    for name in OF_EPOCHS:  # of another solver's fit, where this one went on
        vars(model).pop(name, None)
    if result is None:
        warnings.warn(INTERRUPTED, stacklevel=5)
    elif result.status != 0:
        warnings.warn(
            f"lbfgs failed to converge after {result.nit} iteration(s) (status={result.status}): "
            f"{result.message}. It may help to increase max_iter, or to scale the data",
            ConvergenceWarning, stacklevel=5,
        )  # fmt: skip


class Whole:
    """All rows of a fit as one batch; of sparse rows, the sum over pieces."""

    def __init__(self, net: Network, rows: Rows) -> None:
        self._net, self._x, n = net, rows.x, len(rows)
        w = None if rows.weights is None else rows.here.floats(rows.weights)
        self._weights = None if w is None else net._batch.checked_weights(w, n)
        if isinstance(rows.x, SparseRows):
            self._target = net._batch.target_rows(net._batch.checked_target(rows.t, n, read=True))
        else:
            self._x, t = net._batch.checked_data(rows.x, rows.t)
            self._target = net._batch.target_rows(t)
        self._shares = rows.weights if rows.weights is not None else np.ones(n)

    def loss_and_gradient(self) -> tuple[float, Params]:
        """Return the loss and its gradient at the net's parameters."""
        net, target, w = self._net, self._target, self._weights
        to_host = net.placement.to_host
        if not isinstance(self._x, SparseRows):
            loss, gradient = net._backpropagate(net.params, self._x, target, None, w)
            return float(to_host(loss)), gradient
        compute, total = narrowed(net), float(self._shares.sum())
        whole: Params = {}
        losses = []
        for some, x in pieces(net, self._x):
            share = float(self._shares[some].sum()) / total
            weights = None if w is None else w[some]
            loss, gradient = compute(net.params, x, target[some, ...], share, weights)
            losses.append(share * float(to_host(loss)))
            for key, g in gradient.items():
                whole[key] = whole[key] + g if key in whole else g
        return math.fsum(losses), whole


def _vector(net: Network, values: Params) -> np.ndarray:
    """One float64 vector on the host of all parameters, or of their gradient."""
    to_host = net.placement.to_host
    return np.concatenate([to_host(values[key]).ravel() for key in net.params]).astype(np.float64)


def _set_parameters(net: Network, vector: np.ndarray) -> None:
    """Undo `_vector`."""
    end = 0
    for key, p in net.params.items():
        start, end = end, end + math.prod(p.shape)
        net.params[key] = net._placed(vector[start:end].reshape(tuple(p.shape)))
