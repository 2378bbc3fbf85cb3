"""Training: load → batch → forward → loss → backward → update → report."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec

from ..arrays import Array
from ..checks import switch
from ..network.net import Network
from ..optimizers import Optimizer
from .checkpoint import Checkpoint, checkpoint_of
from .history import History
from .plan import Callback, Plan, Schedule, Watch
from .session import Session

P = ParamSpec("P")


def _takes_older_words(fit: Callable[P, History]) -> Callable[P, History]:
    """Take what version 0.1 said of checkpoints, and hand it on as a `Checkpoint`."""

    @functools.wraps(fit)
    def call(*args: P.args, **words: P.kwargs) -> History:
        checkpoint: Any = checkpoint_of(words)
        return fit(*args, **{**words, "checkpoint": checkpoint})

    return call


@_takes_older_words
def fit(
    net: Network,
    x: Array,
    t: Array,
    *,
    steps: int | None = None,
    epochs: int | None = None,
    batch_size: int | None = None,
    optimizer: str | Optimizer = "sgd",
    learning_rate: float | Schedule | None = None,
    gradient: str = "backprop",
    validation: tuple[Array, Array] | float | None = None,
    seed: int | None = 0,
    shuffle: bool = True,
    sample_weight: Array | None = None,
    dropout: float = 0.0,
    callbacks: Sequence[Callback] = (),
    progress: bool = False,
    checkpoint: Checkpoint | str | os.PathLike[str] | None = None,
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
    net : Network
        Its `params` are changed in place.
    x : array, (n, inputs)
        Of the net's library and device. Or rows on disk: of `xpnet.open_shards`, or a
        ``numpy.memmap``, for a net of any library.
    t : array
        Class indices (n,) or rows (n, outputs), as for `Network.loss`. With rows on disk: such,
        or a NumPy array.
    steps, epochs : int
        How long: one of the two. An epoch is n rows.
    batch_size : int, optional
        At most n. None: 100, or n where that is less.
    optimizer : str or Optimizer
        "sgd", "momentum", "nesterov", "adam", "adamw", "adagrad", "rmsprop", or one of
        `xpnet.optimizers`, such as ``Clipped("adam", norm=1.0)``.
    learning_rate : float or callable, optional
        A number, or a schedule: from an array of step numbers, counted from 0, to rates. None: the
        optimizer's own, its `default_rate`: 0.1 for "sgd"; 0.01 for "momentum", "nesterov" and
        "adagrad"; 0.001 for "adam", "adamw" and "rmsprop".
    gradient : str
        "backprop", or "numerical" for central differences.
    validation : (x, t) or float, optional
        A set whose loss and accuracy are recorded at the end of each epoch, and of the run; see
        ``history.epochs``. On disk, it is read each time. Or a share, such as 0.1: so many of the
        rows, drawn by `seed`, are kept back as this set, and n is the number of the others.
    seed : int, optional
        Of the batch order. None draws anew each time.
    shuffle : bool
        False: every pass takes the rows in their order.
    sample_weight : array, (n,), optional
        Weights of the rows, at least 0, of the net's library: the loss of a batch is their
        weighted mean. For gradient "backprop". With rows on disk: a NumPy array.
    dropout : float
        In [0, 1): in each step each output of a hidden layer is 0 with this probability, for
        each row anew, and the others are divided by 1 - dropout (Srivastava et al., *Dropout: a
        simple way to prevent neural networks from overfitting*, 2014). Drawn on the host, from
        `seed`; the probability is rounded to a multiple of 2⁻¹⁶. The losses of the steps are
        those with dropout; validation and prediction have none. Without effect where there is no
        hidden layer. For gradient "backprop", and nets that have no `Dropout` layers of their own.
    callbacks : sequence of callables
        Each is called with a `Progress` after every block; training stops where one returns
        True. One with an attribute `every`, "epoch" or a number of steps, is called exactly then
        instead: blocks end there. One with a method `begin` has it called before the first step,
        as ``begin(net, history, validated=...)``; one with a method `close` at the end, whatever
        ended it.
    progress : bool
        Show a progress bar (needs rich).
    checkpoint : Checkpoint or path-like, optional
        Where the state is kept, how often, and whether the run resumes from there; a path is
        short for ``Checkpoint(path)``. The older words `checkpoint_every`, `checkpoint_errors`
        and `resume` beside a path are taken as well.
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
    DivergenceWarning
        The run has ended with a clearly higher loss than it began with, both smoothed.
    ScaleWarning
        x has values beyond [-10, 10], and the first activation is a sigmoid or tanh.
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
    plan = Plan(
        net, x, t, steps=steps, epochs=epochs, batch_size=batch_size, optimizer=optimizer,
        learning_rate=learning_rate, gradient=gradient, validation=validation, seed=seed,
        shuffle=switch(shuffle, "shuffle"), sample_weight=sample_weight, dropout=dropout,
    )  # fmt: skip
    plan.warn_of_scale()
    assert checkpoint is None or isinstance(checkpoint, Checkpoint)  # the decorator has seen to it
    watch = Watch(callbacks=callbacks, progress=progress, checkpoint=checkpoint)
    session = Session(plan, watch, distributed=switch(distributed, "distributed"))
    with session.under_way() as blocks:
        for block in blocks:  # load → batch: the rows of some steps
            losses = session.run(block)  # forward → loss → backward → update, see step.py
            if session.report(block, losses):
                break
    return session.finish()
