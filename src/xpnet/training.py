"""Training: load → batch → forward → loss → backward → update."""

from __future__ import annotations

import contextlib
import math
import platform
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass
from types import FrameType
from typing import Any

import numpy as np

from .backend import Array, Step
from .checks import finite_number, known, positive_integer
from .history import History
from .network import MLP, Params
from .optimizers import OPTIMIZERS, Constant, Optimizer

Schedule = Callable[[np.ndarray], np.ndarray]
Callback = Callable[["Progress"], Any]

# What is asked of the device at once: callbacks, Ctrl-C and progress wait for a block to end.
BLOCK_STEPS = 100
BLOCK_OPERATIONS = 2e10


class NonFiniteLoss(FloatingPointError):
    """The loss became NaN or infinite.

    Attributes
    ----------
    step : int
        The step whose loss it was, counted from 1.
    history : History
        Everything up to that step.
    """

    def __init__(self, message: str, step: int, history: History) -> None:
        super().__init__(message)
        self.step = step
        self.history = history


@dataclass
class Progress:
    """What a callback is given after each block of steps.

    Attributes
    ----------
    step, steps : int
        Steps done, and steps in all.
    losses : ndarray
        The losses of the block's steps.
    net : MLP
    history : History
        So far.
    """

    step: int
    steps: int
    losses: np.ndarray
    net: MLP
    history: History


def fit(
    net: MLP,
    x: Array,
    t: Array,
    *,
    steps: int | None = None,
    epochs: int | None = None,
    batch_size: int = 100,
    optimizer: str | Optimizer = "sgd",
    learning_rate: float | Schedule = 0.1,
    gradient: str = "backprop",
    validation: tuple[Array, Array] | None = None,
    seed: int | None = 0,
    callbacks: Sequence[Callback] = (),
    progress: bool = False,
) -> History:
    """Train a net in place on batches of rows drawn without replacement.

    The rows are shuffled, walked through in batches, and shuffled again: a batch that reaches
    the end takes its remaining rows from the next pass. The order is drawn on the host, so a
    seed means the same batches on every backend.

    Waits for the device to look at the values of `x` and `t` once, and once a block (up to 100
    steps) to fetch the losses; within a block nothing waits.

    Parameters
    ----------
    net : MLP
        Its `params` are changed in place.
    x : array, (n, inputs)
        Of the net's library and device.
    t : array
        Class indices (n,) or rows (n, outputs), as for `MLP.loss`.
    steps, epochs : int
        How long: one of the two. An epoch is n rows.
    batch_size : int
        At most n.
    optimizer : str or Optimizer
        "sgd", "momentum", "nesterov", "adam", "adamw", or one of `xpnet.optimizers`.
    learning_rate : float or callable
        A number, or a schedule: from an array of step numbers, counted from 0, to rates.
    gradient : str
        "backprop", or "numerical" for central differences.
    validation : (x, t), optional
        Its loss and accuracy are recorded at the end, and after each block (up to 100 steps)
        in which an epoch ended.
    seed : int, optional
        Of the batch order. None draws anew each time.
    callbacks : sequence of callables
        Each is called with a `Progress` after every block; training stops where one returns
        True. One that has a method `close` has it called at the end, whatever ended it.
    progress : bool
        Show a progress bar (needs rich).

    Returns
    -------
    History
        One loss a step: the batch's, before the step's update.

    Raises
    ------
    TypeError, ValueError
        An argument is not what is said above; nothing has been trained then.
    NonFiniteLoss
        The loss became NaN or infinite. The parameters are those before the block in which it
        did; the error has the step's number and the history.

    Notes
    -----
    Ctrl-C ends the training after the current block and returns the history so far, with
    ``history.stopped`` saying so; a second Ctrl-C raises KeyboardInterrupt at once.

    Examples
    --------
    >>> import numpy as np, xpnet
    >>> x = np.eye(4, dtype=np.float32)
    >>> net = xpnet.MLP([4, 2], seed=0)
    >>> history = xpnet.fit(net, x, np.asarray([0, 1, 0, 1]), steps=100, batch_size=4)
    >>> history.loss.shape, bool(history.loss[-1] < history.loss[0])
    ((100,), True)
    """
    x, t = net.checked_data(x, t)
    n = x.shape[0]
    if validation is not None:
        validation = _checked_validation(net, validation)
    batch_size = positive_integer(batch_size, "batch_size")
    if batch_size > n:
        raise ValueError(f"batch_size is {batch_size}, more than the {n} rows of x")
    total = _total_steps(steps, epochs, n, batch_size)
    rule = _optimizer(optimizer)
    schedule = _schedule(learning_rate)
    compute = known(_gradients(net), gradient, "gradient")
    watchers = [*callbacks]
    if progress:
        from .progress import ProgressBar

        watchers.append(ProgressBar())

    history = History(
        settings={
            "layer_sizes": list(net.layer_sizes),
            "activation": net.activation.name,
            "output": net.output.name,
            "weight_init": net.weight_init,
            "l2": net.l2,
            "steps": total,
            "batch_size": batch_size,
            "optimizer": {"name": type(rule).__name__, **_fields(rule)},
            "learning_rate": _described(schedule),
            "gradient": gradient,
            "seed": seed,
            "dtype": net.placement.dtype_name,
        },
        environment=_environment(net),
    )
    slots = rule.slots(net.params)
    run = net.placement.runner(
        make_step(net, rule, compute), {"params": net.params, "slots": slots}, (x, t)
    )
    order = batches(n, batch_size, seed)
    block = block_steps(net, batch_size, gradient)
    validated = 0
    with _interruption() as interrupted, contextlib.ExitStack() as at_the_end:
        for watcher in watchers:
            if hasattr(watcher, "close"):
                at_the_end.callback(watcher.close)
        start = time.perf_counter()
        while history.steps < total:
            done = history.steps
            numbers = np.arange(done, min(done + block, total))
            rows = np.stack([next(order) for _ in numbers])
            coefficients = rule.coefficients(numbers + 1, _rates(schedule, numbers))
            before = {key: net.placement.xp.asarray(p, copy=True) for key, p in net.params.items()}

            losses = net.placement.to_host(run(rows, coefficients))

            history.extend(losses, time.perf_counter() - start)
            bad = np.flatnonzero(~np.isfinite(losses))
            if bad.size:
                net.params.update(before)
                step = done + int(bad[0]) + 1
                history.truncate(step)
                raise NonFiniteLoss(
                    f"the loss became {losses[bad[0]]} at step {step}; the parameters are those "
                    f"after step {done}. A smaller learning_rate may help",
                    step,
                    history,
                )
            epoch = history.steps * batch_size // n
            if validation is not None and (epoch > validated or history.steps == total):
                validated = epoch
                history.validate(*evaluate(net, *validation))
            state = Progress(history.steps, total, losses, net, history)
            # Every callback sees every block, also where an earlier one asks to stop.
            answers = [callback(state) for callback in watchers]
            if any(answer is True for answer in answers):
                history.stopped = f"stopped by a callback after step {history.steps}"
                break
            if interrupted.is_set() and history.steps < total:
                history.stopped = f"interrupted after step {history.steps}"
                break
        history.seconds = time.perf_counter() - start
    return history


def make_step(net: MLP, optimizer: Optimizer, compute: Callable[..., tuple[Array, Params]]) -> Step:
    """Return the step: batch → forward → loss → backward → update.

    It is one function of arrays, written once; how many of them run, and whether they are
    looped, compiled or captured, is the backend's affair.
    """
    take = net.placement.take

    def step(
        state: dict[str, Any], data: tuple[Array, ...], rows: Array, numbers: Sequence[Any]
    ) -> Array:
        x, t = (take(array, rows) for array in data)
        scale = numbers[0] if optimizer.folds_rate else None
        loss, gradient = compute(state["params"], x, net.target_rows(t), scale)
        optimizer.update(state["params"], gradient, state["slots"], numbers)
        return loss

    return step


def batches(n: int, batch_size: int, seed: int | None) -> Iterator[np.ndarray]:
    """Yield the row numbers of one batch after the other, from shuffled passes over n rows."""
    rng = np.random.default_rng(seed)
    rows = rng.permutation(n)
    while True:
        while len(rows) < batch_size:
            rows = np.concatenate([rows, rng.permutation(n)])
        yield rows[:batch_size]
        rows = rows[batch_size:]


def evaluate(net: MLP, x: Array, t: Array) -> tuple[float, float | None]:
    """Loss and accuracy (None for values) as numbers; waits for the device."""
    to_host = net.placement.to_host
    loss = float(to_host(net.loss(x, t)))
    if net.output.correct is None:
        return loss, None
    return loss, float(to_host(net.accuracy(x, t)))


def block_steps(net: MLP, batch_size: int, gradient: str) -> int:
    """Return the steps of a block: many for small nets, so that large ones still answer."""
    weights = sum(a * b for a, b in zip(net.layer_sizes, net.layer_sizes[1:], strict=False))
    operations = 6.0 * batch_size * weights
    if gradient == "numerical":
        # Each hidden unit is moved four times and what is behind it computed anew, most of it
        # exponentials: about 300 operations of a matrix product's speed for each number.
        behind = net.layer_sizes[1:]
        moved = sum(a * sum(behind[i:]) for i, a in enumerate(behind, 1))
        operations += 4 * 300.0 * batch_size * moved
    return max(1, min(BLOCK_STEPS, int(BLOCK_OPERATIONS / operations)))


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
        self.write = write

    def __call__(self, progress: Progress) -> None:
        """Write the lines that are due."""
        first = progress.step - len(progress.losses) + 1
        for step in range(-(-first // self.every) * self.every, progress.step + 1, self.every):
            self.write(f"step {step}: loss {progress.losses[step - first]:.4f}")


# --- checks and descriptions -----------------------------------------------------------------


def _gradients(net: MLP) -> dict[str, Callable[..., tuple[Array, Params]]]:
    return {"backprop": net.backpropagate, "numerical": net.differentiate}


def _checked_validation(net: MLP, validation: tuple[Array, Array]) -> tuple[Array, Array]:
    if not isinstance(validation, tuple) or len(validation) != 2:
        raise TypeError("validation must be a pair (x, t)")
    try:
        return net.checked_data(*validation)
    except TypeError as error:
        raise TypeError(f"validation: {error}") from None
    except ValueError as error:
        raise ValueError(f"validation: {error}") from None


def _total_steps(steps: int | None, epochs: int | None, n: int, batch_size: int) -> int:
    if (steps is None) == (epochs is None):
        given = "neither" if steps is None else "both"
        raise ValueError(f"give steps or epochs, one of the two; {given} was given")
    if steps is not None:
        return positive_integer(steps, "steps")
    assert epochs is not None
    return math.ceil(positive_integer(epochs, "epochs") * n / batch_size)


def _optimizer(optimizer: str | Optimizer) -> Optimizer:
    if isinstance(optimizer, Optimizer):
        return optimizer
    return known(OPTIMIZERS, optimizer, "optimizer")()


def _schedule(learning_rate: float | Schedule) -> Schedule:
    if callable(learning_rate):
        return learning_rate
    return Constant(finite_number(learning_rate, "learning_rate", minimum=0.0, exclusive=True))


def _rates(schedule: Schedule, steps: np.ndarray) -> np.ndarray:
    rates = np.asarray(schedule(steps), dtype=np.float64)
    if rates.shape != steps.shape or not np.all(np.isfinite(rates)) or np.any(rates < 0):
        raise ValueError(
            f"the schedule must return {len(steps)} finite rates of at least 0 for "
            f"{len(steps)} step numbers; it returned {rates!r}"
        )
    return rates


def _fields(rule: Any) -> dict[str, Any]:
    return {f.name: getattr(rule, f.name) for f in fields(rule)} if is_dataclass(rule) else {}


def _described(schedule: Any) -> Any:
    if isinstance(schedule, Constant):
        return schedule.learning_rate
    if is_dataclass(schedule):
        return repr(schedule)
    return getattr(schedule, "__name__", type(schedule).__name__)


def _environment(net: MLP) -> dict[str, Any]:
    from . import __version__

    here = net.placement
    info = here.device_info()
    return {
        "xpnet": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "backend": here.backend.name,
        "backend_version": here.backend.version,
        "device": str(here.device),
        "device_name": info.name,
        "driver": info.driver,
        "cuda": info.cuda,
    }


@contextlib.contextmanager
def _interruption() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C into an event; a second one interrupts as usual."""
    asked = threading.Event()
    if (
        threading.current_thread() is not threading.main_thread()
        or signal.getsignal(signal.SIGINT) != signal.default_int_handler
    ):
        yield asked  # somebody else decides what Ctrl-C does
        return

    def remember(number: int, frame: FrameType | None) -> None:
        asked.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    signal.signal(signal.SIGINT, remember)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
