"""Training: load → batch → forward → loss → backward → update."""

from __future__ import annotations

import contextlib
import math
import os
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

from .._version import __version__
from ..arrays import Array, Params
from ..backend.placement import Arrays, Step
from ..checks import (
    below_one,
    finite_number,
    function,
    known,
    positive_integer,
    seed_or_none,
    switch,
)
from ..datasets.on_disk import on_disk
from ..network.mlp import MLP
from ..optimizers import OPTIMIZERS, Constant, Optimizer
from .blocks import Batches, Masks, ahead
from .callbacks import Progress
from .checkpoint import BY_CALLBACK, Resumable, open_checkpoints
from .distributed import Alone, join
from .history import History
from .interruption import closing, interruption
from .sources import Resident, Source, Staged

Schedule = Callable[[np.ndarray], np.ndarray]
Callback = Callable[["Progress"], Any]

# What is asked of the device at once: callbacks, Ctrl-C and progress wait for a block to end.
BLOCK_STEPS = 100
BLOCK_OPERATIONS = 2e10

# The masks of a block take at most so much, where a step's do not take more.
MASK_BYTES = 64 * 2**20


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

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception's own passes the message alone, and whoever waits for another process waits
        # for ever: Dask does not tell joblib of an error that it cannot unpickle.
        return type(self), (str(self), self.step, self.history), vars(self)


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
    shuffle: bool | Callable[[], np.ndarray] = True,
    whole_epochs: bool = False,
    sample_weight: Array | None = None,
    dropout: float = 0.0,
    callbacks: Sequence[Callback] = (),
    progress: bool = False,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int = 1000,
    checkpoint_errors: str = "warn",
    resume: bool = False,
    block_steps: int | Callable[[int], int] | None = None,
    optimizer_state: dict[str, Any] | None = None,
    distributed: bool = False,
) -> History:
    """Train a net in place on batches of rows drawn without replacement.

    The rows are shuffled, walked through in batches, and shuffled again: a batch that reaches
    the end takes its remaining rows from the next pass. The order is drawn on the host, so a
    seed means the same batches on every backend.

    Waits for the device to look at the values of `x` and `t` once, and once a block (up to 100
    steps) to fetch the losses; within a block nothing waits.

    Data may also stay on the disk, as shards (`xpnet.open_shards`) or mapped into memory. Each
    block of steps then reads its rows, while the one before is computed; see the page "Data that
    does not fit".

    Parameters
    ----------
    net : MLP
        Its `params` are changed in place.
    x : array, (n, inputs)
        Of the net's library and device. Or rows on disk: of `xpnet.open_shards`, or a
        ``numpy.memmap``, for a net of any library.
    t : array
        Class indices (n,) or rows (n, outputs), as for `MLP.loss`. With rows on disk: such, or a
        NumPy array.
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
        in which an epoch ended. On disk, it is read each time.
    seed : int, optional
        Of the batch order. None draws anew each time.
    shuffle : bool or callable
        False: every pass takes the rows in their order. A callable is asked for the order of
        each pass, and returns the n row numbers; such a training cannot be resumed.
    whole_epochs : bool
        True: a pass takes ceil(n / batch_size) steps, and its last batch takes the rows that it
        lacks from the pass's beginning, not from the next pass.
    sample_weight : array, (n,), optional
        Weights of the rows, at least 0, of the net's library: the loss of a batch is their
        weighted mean. For gradient "backprop". With rows on disk: a NumPy array.
    dropout : float
        In [0, 1): in each step each output of a hidden layer is 0 with this probability, for
        each row anew, and the others are divided by 1 - dropout (Srivastava et al., *Dropout: a
        simple way to prevent neural networks from overfitting*, 2014). Drawn on the host, from
        `seed`; the probability is rounded to a multiple of 2⁻¹⁶. The losses of the steps are
        those with dropout; validation and prediction have none. Without effect where there is no
        hidden layer. For gradient "backprop".
    callbacks : sequence of callables
        Each is called with a `Progress` after every block; training stops where one returns
        True. One that has a method `close` has it called at the end, whatever ended it.
    progress : bool
        Show a progress bar (needs rich).
    checkpoint : path-like, optional
        A folder for checkpoints, made if it is missing: the parameters, the optimizer's slots,
        the batch order, the history and what the callbacks remember (those with methods `state`
        and `restore`). The last two are kept.
    checkpoint_every : int
        Steps between two checkpoints. One is also written at the end, however it comes.
    checkpoint_errors : str
        Where one cannot be written (a full disk): "warn" says so and goes on, "stop" ends the
        training. The last good one stays in either case.
    resume : bool
        Go on from the newest checkpoint that can be read; from the beginning where there is
        none. The result is that of a run that was never stopped, bit for bit, with the same
        data on the same backend, device and versions. `steps` may be larger than before.
    block_steps : int or callable, optional
        Steps between two looks: callbacks, progress and Ctrl-C wait for a block to end. A
        callable is given the steps done, and returns those of the next block. None: up to 100,
        fewer for large nets. With rows on disk, blocks of more than 64 MiB are divided.
    optimizer_state : dict, optional
        Yours to keep between calls, empty at first: with it, a call goes on with the optimizer's
        slots and its count of steps where the last one ended.
    distributed : bool
        True, in a program that torchrun has started on all ranks alike: each computes its share
        of every batch, and all end with the same parameters. They begin with those of rank 0,
        which alone shows progress and has the checkpoints; callbacks are called on each, and any
        can stop all. Needs Torch, for torch.distributed.

    Returns
    -------
    History
        One loss a step: the batch's, before the step's update.

    Raises
    ------
    TypeError, ValueError
        An argument is not what is said above; nothing has been trained then. Or, with rows on
        disk, a value is not, which comes to light when its block is read: the message names the
        rows, and the parameters are those before this block.
    NonFiniteLoss
        The loss became NaN or infinite. The parameters are those before the block in which it
        did; the error has the step's number and the history.
    FileExistsError
        The folder has checkpoints, and `resume` is False.
    FileError
        The folder has checkpoints, and none can be read; or a shard has become shorter.
    DistributedError
        Another rank has ended, has refused to begin, or hangs; the message names it.

    Warns
    -----
    CheckpointWarning
        A checkpoint could not be written, or is damaged and the one before is taken, or comes
        from other versions or another device.

    Notes
    -----
    Ctrl-C ends the training after the current block and returns the history so far, with
    ``history.stopped`` saying so; a second Ctrl-C raises KeyboardInterrupt at once. With
    `checkpoint`, SIGTERM does the same, and the state is saved first.

    Examples
    --------
    >>> import numpy as np, xpnet
    >>> x = np.eye(4, dtype=np.float32)
    >>> net = xpnet.MLP([4, 2], seed=0)
    >>> history = xpnet.fit(net, x, np.asarray([0, 1, 0, 1]), steps=100, batch_size=4)
    >>> history.loss.shape, bool(history.loss[-1] < history.loss[0])
    ((100,), True)
    """
    if not isinstance(net, MLP):
        raise TypeError(f"net must be an MLP or a TwoLayerNet, not {type(net).__name__}")
    source = _source(net, x, t, sample_weight)
    n = x.shape[0]
    if sample_weight is not None and gradient != "backprop":
        raise ValueError(f"sample_weight needs gradient='backprop', not {gradient!r}")
    dropout = below_one(dropout, "dropout")
    if dropout and gradient != "backprop":
        raise ValueError(f"dropout needs gradient='backprop', not {gradient!r}")
    if validation is not None:
        validation = _checked_validation(net, validation)
    batch_size = positive_integer(batch_size, "batch_size")
    if batch_size > n:
        raise ValueError(f"batch_size is {batch_size}, more than the {n} rows of x")
    total = _total_steps(steps, epochs, n, batch_size)
    rule = _optimizer(optimizer)
    schedule = _schedule(learning_rate)
    compute = known(_gradients(net), gradient, "gradient")
    if block_steps is None:
        block_steps = default_block(net, batch_size, gradient)
    if not callable(block_steps):
        block_steps = positive_integer(block_steps, "block_steps")
    if callable(shuffle) and checkpoint is not None:
        raise ValueError("an order of your own (shuffle) cannot be resumed: leave checkpoint out")
    checkpoint_every = positive_integer(checkpoint_every, "checkpoint_every")
    known({"warn": None, "stop": None}, checkpoint_errors, "checkpoint_errors")
    seed = seed_or_none(seed)
    if not callable(shuffle):
        switch(shuffle, "shuffle")
    for value, name in (
        (whole_epochs, "whole_epochs"), (resume, "resume"), (progress, "progress"),
        (distributed, "distributed"),
    ):  # fmt: skip
        switch(value, name)
    if not isinstance(callbacks, Iterable):
        raise TypeError(f"callbacks must be a sequence, not {type(callbacks).__name__}")
    watchers = [function(callback, "every entry of callbacks") for callback in callbacks]
    if distributed and sample_weight is not None:
        raise ValueError("distributed=True does not take sample_weight")
    if resume and checkpoint is None:
        raise ValueError("resume=True needs the folder: give checkpoint=")
    group = join(net.placement) if distributed else Alone()
    if batch_size < group.size:
        raise ValueError(f"batch_size is {batch_size}, less than the {group.size} ranks")
    share = group.share(batch_size)
    if progress and group.rank == 0:
        from .bar import ProgressBar

        watchers.append(ProgressBar())

    history = History(
        settings={
            "layer_sizes": list(net.layer_sizes),
            "activation": net.activation.name,
            "output": net.output.name,
            "weight_init": net.weight_init,
            "l2": net.l2,
            "dtype": net.placement.dtype_name,
            "rows": n,
            "steps": total,
            "batch_size": batch_size,
            "shuffle": "own" if callable(shuffle) else shuffle,
            "whole_epochs": whole_epochs,
            "optimizer": {"name": type(rule).__name__, **_fields(rule)},
            "learning_rate": _described(schedule),
            "gradient": gradient,
            "dropout": dropout,
            "seed": seed,
        },
        environment={**_environment(net), "ranks": group.size},
    )
    kept = {} if optimizer_state is None else optimizer_state
    state = {"params": net.params, "slots": kept.setdefault("slots", rule.slots(net.params))}
    earlier = kept.setdefault("steps", 0)
    units = sum(net.layer_sizes[1:-1])
    masks = Masks(batch_size, units, dropout, seed) if dropout and units else None
    order = Batches(n, batch_size, seed, shuffle=shuffle, whole_epochs=whole_epochs, masks=masks)
    resumable = Resumable(net, state["slots"], order, history, watchers)
    checkpoints = group.begin(
        lambda: open_checkpoints(checkpoint, resumable, resume=resume), resumable
    )
    history.reserve(total)
    weight = (share.stop - share.start) / batch_size
    step = make_step(net, rule, compute, source, masks, group.reducer(net.params), weight)
    run = net.placement.runner(step, state, source.data, recordable=not distributed)
    before: Params = {}

    # Steps to the end of a block. Blocks end at multiples, wherever they start: a run that is
    # resumed has the blocks of one that was not.
    lengths = [block_steps if callable(block_steps) else _to_multiple(block_steps)]
    if checkpoint is not None:
        lengths.append(_to_multiple(checkpoint_every))
    if isinstance(source, Staged):
        most = source.most_steps(batch_size)
        period = most if callable(block_steps) else block_steps
        lengths.append(lambda done: most - done % period % most)
    if masks is not None:
        lengths.append(_to_multiple(max(1, MASK_BYTES // (batch_size * units))))

    def blocks() -> Iterator[tuple[np.ndarray, tuple[np.ndarray, ...], dict[str, Any]]]:
        """The steps of each block, their inputs, and the place in the batch order behind them."""
        done = history.steps
        while done < total and history.stopped is None:
            end = min(total, *(done + length(done) for length in lengths))
            inputs = source.inputs(order.take(end - done)[:, share])
            if masks is not None:
                inputs = (*inputs, masks.take(end - done)[:, share])
            yield np.arange(done, end), inputs, order.state()
            done = end

    # What a callable answers may depend on the blocks before: it is asked when they are done.
    staged = isinstance(source, Staged) and not callable(block_steps) and not callable(shuffle)
    with (
        interruption(terminate=checkpoint is not None) as interrupted,
        closing(watchers),
        ahead(blocks()) if staged else contextlib.nullcontext(blocks()) as coming,
    ):
        start = time.perf_counter() - history.seconds
        for steps_now, inputs, position in coming:
            done = history.steps
            counted = earlier + steps_now
            coefficients = rule.coefficients(counted + 1, _rates(schedule, counted))
            for key, p in net.params.items():
                before[key] = net.placement.copy(p, before.get(key))

            losses = net.placement.to_host(run(inputs, coefficients))
            losses = group.add_up(weight * losses)

            history.extend(losses, time.perf_counter() - start)
            if not np.isfinite(losses).all():
                net.params.update(before)
                kept.clear()  # what the optimizer remembers is of no use either
                raise _non_finite(history, done)
            kept["steps"] = earlier + history.steps
            ended = history.steps == total
            epochs_done = [step * batch_size // n for step in (done, history.steps)]
            if validation is not None and (ended or epochs_done[1] > epochs_done[0]):
                history.validate(*evaluate(net, *validation))
            # Every callback sees every block, also where an earlier one asks to stop.
            now = Progress(history.steps, total, losses, net, history)
            answers = [callback(now) for callback in watchers]
            reason = None
            if any(answer is True for answer in answers):
                reason = f"{BY_CALLBACK} after step {history.steps}"
            elif interrupted.is_set() and not ended:
                reason = f"interrupted after step {history.steps}"
            history.stopped = group.agree(reason)
            due = history.steps % checkpoint_every == 0 or ended or history.stopped is not None
            if checkpoint is not None and due:
                error = None if checkpoints is None else resumable.save(checkpoints, position)
                if checkpoint_errors == "stop" and history.stopped is None:
                    reason = f"no checkpoint could be written after step {history.steps}: {error}"
                    history.stopped = group.agree(None if error is None else reason)
            if history.stopped is not None:
                break
        history.seconds = time.perf_counter() - start
    return history


def make_step(
    net: MLP,
    optimizer: Optimizer,
    compute: Callable[..., tuple[Array, Params]],
    source: Source,
    masks: Masks | None = None,
    reduce: Callable[[Params], Params] = lambda gradient: gradient,
    weight: float = 1.0,
) -> Step:
    """Return the step: batch → forward → loss → backward → update.

    It is one function of arrays, written once; how many of them run, and whether they are
    looped, compiled or captured, is the backend's affair. Where there are `masks`, the last of
    its inputs are theirs. Where each of several ranks computes a part of the batch, `weight` is
    the part's size, and `reduce` adds the gradients up.
    """
    target_rows = net.batch.target_rows

    def step(
        state: dict[str, Any], data: Arrays, inputs: Arrays, numbers: Sequence[Any]
    ) -> Array:
        more: dict[str, Any] = {}
        if masks is not None:
            inputs, kept = inputs[:-1], inputs[-1]
            more["masks"] = net.masks(kept, masks.scale)
        x, t, *weights = source.batch(data, inputs)
        scale = weight * numbers[0] if optimizer.folds_rate else weight
        loss, gradient = compute(state["params"], x, target_rows(t), scale, *weights, **more)
        optimizer.update(state["params"], reduce(gradient), state["slots"], numbers)
        return loss

    return step


def evaluate(net: MLP, x: Array, t: Array) -> tuple[float, float | None]:
    """Loss and accuracy (None for values) as numbers; waits for the device."""
    if on_disk(x, t):
        n = x.shape[0]
        parts = [(x.shape[0] / n, evaluate(net, x, t)) for x, t in Staged(net, x, t).pieces()]
        loss = math.fsum(share * part[0] for share, part in parts)
        if net.output.correct is None:
            return loss, None
        return loss, math.fsum(share * part[1] for share, part in parts)
    to_host = net.placement.to_host
    loss = float(to_host(net.loss(x, t)))
    if net.output.correct is None:
        return loss, None
    return loss, float(to_host(net.accuracy(x, t)))


def default_block(net: MLP, batch_size: int, gradient: str) -> int:
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


def _to_multiple(number: int) -> Callable[[int], int]:
    return lambda done: number - done % number


def _non_finite(history: History, done: int) -> NonFiniteLoss:
    """Cut the history behind its first loss that is no number; return the error."""
    bad = done + int(np.flatnonzero(~np.isfinite(history.loss[done:]))[0])
    loss = history.loss[bad]
    history.truncate(bad + 1)
    return NonFiniteLoss(
        f"the loss became {loss} at step {bad + 1}; the parameters are those after step {done}. "
        "A smaller learning_rate may help",
        bad + 1,
        history,
    )


# --- checks and descriptions -----------------------------------------------------------------


def _gradients(net: MLP) -> dict[str, Callable[..., tuple[Array, Params]]]:
    return {"backprop": net.backpropagate, "numerical": net.differentiate}


def _source(net: MLP, x: Array, t: Array, sample_weight: Array | None) -> Source:
    if on_disk(x, t):
        return Staged(net, x, t, sample_weight)
    data: Arrays = net.batch.checked_data(x, t)
    if sample_weight is not None:
        data = (*data, net.batch.checked_weights(sample_weight, data[0].shape[0]))
    return Resident(net.placement.take, data)


def _checked_validation(net: MLP, validation: tuple[Array, Array]) -> tuple[Array, Array]:
    if not isinstance(validation, tuple) or len(validation) != 2:
        raise TypeError("validation must be a pair (x, t)")
    try:
        if on_disk(*validation):
            Staged(net, *validation)
            return validation
        return net.batch.checked_data(*validation)
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
    # Comparisons with NaN are false.
    if rates.shape != steps.shape or not (rates.min() >= 0.0 and rates.max() < math.inf):
        raise ValueError(
            f"the schedule must return {len(steps)} finite rates of at least 0 for "
            f"{len(steps)} step numbers; it returned {rates!r}"
        )
    return rates


def _fields(rule: Any) -> dict[str, Any]:
    if not is_dataclass(rule):
        return {}
    values = {f.name: getattr(rule, f.name) for f in fields(rule)}
    plain = (bool, int, float, str, type(None))
    return {name: v if isinstance(v, plain) else repr(v) for name, v in values.items()}


def _described(schedule: Any) -> Any:
    if isinstance(schedule, Constant):
        return schedule.learning_rate
    if is_dataclass(schedule):
        return repr(schedule)
    return getattr(schedule, "__name__", type(schedule).__name__)


def _environment(net: MLP) -> dict[str, Any]:
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


