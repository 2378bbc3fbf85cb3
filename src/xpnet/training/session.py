"""A run under way: its blocks of steps one after the other, and what happens between them."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..arrays import Params
from .blocks import Batches, ahead
from .callbacks import Progress
from .checkpoint import Checkpoint, Resumable
from .distributed import OneProcess, join
from .history import History, Reason
from .interruption import interruption
from .plan import GRADIENTS, Plan, Watch, default_block
from .sources import measured
from .step import make_step

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
        self.step, self.history = step, history

    def __reduce__(self) -> tuple[Any, ...]:
        # An exception's own passes the message alone, and whoever waits for another process waits
        # for ever: Dask does not tell joblib of an error that it cannot unpickle.
        return type(self), (str(self), self.step, self.history), vars(self)


class DivergenceWarning(UserWarning):
    """A run has ended with a loss above the one with which it began."""


@dataclass(frozen=True)
class Block:
    """Steps that are asked of the device at once.

    Attributes
    ----------
    steps : ndarray, (K,)
        Their numbers, counted from 0.
    inputs : tuple of ndarray
        What they are given: the row numbers of their batches, (K, batch), or the rows.
    position : dict
        The place in the batch order behind them.
    """

    steps: np.ndarray
    inputs: tuple[np.ndarray, ...]
    position: dict[str, Any]


class Session:
    """A run of a plan, opened: nothing has been trained yet.

    Parameters
    ----------
    plan : Plan
    watch : Watch
    distributed : bool
        As for `fit`.
    optimizer_state : dict, optional
        The caller's to keep between runs, empty at first: with it, a run goes on with the
        optimizer's slots and its count of steps where the last one ended.

    Attributes
    ----------
    history : History

    Raises
    ------
    As `fit`.
    """

    def __init__(
        self, plan: Plan, watch: Watch, *, distributed: bool = False,
        optimizer_state: dict[str, Any] | None = None,
    ) -> None:  # fmt: skip
        self.plan, self.watch = plan, watch
        net = plan.net
        self._group = self._joined(distributed)
        self._callbacks = [*watch.callbacks]
        if watch.progress and self._group.rank == 0:
            from .bar import ProgressBar

            self._callbacks.append(ProgressBar())
        environment = {**plan.environment(), "ranks": self._group.size}
        self.history = History(plan.settings(), environment)
        self._optimizer_state = {} if optimizer_state is None else optimizer_state
        slots = self._optimizer_state.setdefault("slots", plan.optimizer.slots(net.params))
        self._steps_before: int = self._optimizer_state.setdefault("steps", 0)
        self._order = Batches(
            plan.rows, plan.batch_size, plan.seed, shuffle=plan.shuffle,
            whole_epochs=plan.whole_epochs, masks=plan.masks(), shifts=plan.shifts(),
        )  # fmt: skip
        for callback in self._callbacks:
            if hasattr(callback, "begin"):
                callback.begin(net, self.history, validated=plan.validation is not None)
        self._resumable = Resumable(net, slots, self._order, self.history, self._callbacks)
        self._group.begin(self._resumable, watch.checkpoint)
        self.history._reserve(plan.total)
        self._share = self._group.share(plan.batch_size)
        self._weight = (self._share.stop - self._share.start) / plan.batch_size
        compute = plan.source.computed(getattr(net, GRADIENTS[plan.gradient]))
        step = make_step(
            net, plan.optimizer, compute, plan.source,
            self._order.masks, self._group.reducer(net.params), self._weight,
        )  # fmt: skip
        self._runner = net.placement._runner(
            step, self._resumable.tree, plan.source.data, recordable=not distributed
        )
        self._before: list[tuple[Params, Params]] = [(net.params, {}), (net.state, {})]

    def _joined(self, distributed: bool) -> OneProcess:
        """Return the group of ranks that this process is one of, or raise."""
        plan = self.plan
        if callable(plan.shuffle) and self.watch.checkpoint is not None:
            raise ValueError(
                "an order of your own (shuffle) cannot be resumed: leave checkpoint out"
            )
        if plan.drawn and plan.seed is None and (distributed or self.watch.checkpoint is not None):
            raise ValueError(
                "a share for validation that is drawn anew each time (seed=None) cannot be resumed "
                "or shared by ranks: give a seed"
            )
        if distributed and plan.weighted:
            raise ValueError("distributed=True does not take sample_weight")
        group = join(plan.net.placement) if distributed else OneProcess()
        if plan.batch_size < group.size:
            raise ValueError(f"batch_size is {plan.batch_size}, less than the {group.size} ranks")
        least = plan.batch_size // group.size
        plan.net._definition.refuse_rows(least, "the batch_size makes for a rank a batch")
        return group

    @contextmanager
    def under_way(self) -> Iterator[Iterator[Block]]:
        """Give the blocks; Ctrl-C ends the run after one, and the callbacks are closed at the end.

        Where their inputs come from the disk, they are read while the block before is computed.
        """
        # What a function answers may depend on the blocks before: it is asked when they are done.
        asks = callable(self.watch.block_steps) or callable(self.plan.shuffle)
        early = self.plan.source.reads_ahead and not asks
        blocks = ahead(self._blocks()) if early else self._blocks()
        terminate = self.watch.checkpoint is not None
        with interruption(terminate=terminate) as self._interrupted, ExitStack() as at_the_end:
            for callback in self._callbacks:
                if hasattr(callback, "close"):
                    at_the_end.callback(callback.close)
            at_the_end.callback(blocks.close)
            self._start = time.perf_counter() - self.history.seconds
            yield blocks
            self.history.seconds = time.perf_counter() - self._start

    def _blocks(self) -> Generator[Block, None, None]:
        done, masks = self.history.steps, self._order.masks
        lengths = self._lengths()
        while done < self.plan.total and self.history.reason is None:
            end = min(self.plan.total, *(done + length(done) for length in lengths))
            inputs = self.plan.source.inputs(self._order.take(end - done)[:, self._share])
            for drawn in (self._order.shifts, masks):
                if drawn is not None:
                    inputs = (*inputs, drawn.take(end - done)[:, self._share])
            yield Block(np.arange(done, end), inputs, self._order.state())
            done = end

    def _lengths(self) -> list[Callable[[int], int]]:
        """Return what gives the steps to the end of a block, from the steps done.

        Blocks end at multiples, wherever they start: a run that is resumed has the blocks of one
        that was not. Where somebody looks at the ends of epochs, they are multiples counted from
        the beginning of the epoch, so that the blocks of all epochs are alike.
        """
        plan, asked = self.plan, self.watch.block_steps
        if asked is None:
            asked = default_block(plan.net, plan.batch_size, plan.gradient)
        most = plan.source.most_steps(plan.batch_size)
        period = most if callable(asked) else asked
        lengths = [asked if callable(asked) else _to_multiple(asked)]
        lengths.append(lambda done: most - done % period % most)
        if self._order.masks is not None:
            dropped = sum(plan.net._definition.dropped)
            lengths.append(_to_multiple(max(1, MASK_BYTES // (plan.batch_size * dropped))))
        wishes = [getattr(callback, "every", None) for callback in self._callbacks]
        if plan.validation is not None or "epoch" in wishes:
            lengths = [self._within_epoch(length) for length in lengths]
            lengths.append(lambda done: plan.epoch_end(done) - done)
        lengths += [_to_multiple(int(n)) for n in wishes if n not in (None, "epoch")]
        if self.watch.checkpoint is not None:
            lengths.append(_to_multiple(self.watch.checkpoint.every))
        return lengths

    def _within_epoch(self, length: Callable[[int], int]) -> Callable[[int], int]:
        return lambda done: length(done - self.plan.epoch_start(done))

    def run(self, block: Block) -> np.ndarray:
        """Compute the steps of a block on the device; return their losses."""
        net = self.plan.net
        coefficients = self.plan.coefficients(self._steps_before + block.steps)
        for tree, before in self._before:
            for key, p in tree.items():
                before[key] = net.placement._copy(p, before.get(key))
        losses = net.placement.to_host(self._runner(block.inputs, coefficients))
        self._group.average(net.state)
        return self._group.add_up(self._weight * losses)

    def report(self, block: Block, losses: np.ndarray) -> bool:
        """Record the losses, validate, call the callbacks, write a checkpoint where one is due.

        Returns whether the run ends here, before its last step.
        """
        history, plan = self.history, self.plan
        self._record(losses)
        ended = history.steps == plan.total
        if plan.validation is not None and (ended or self._ends_epoch()):
            history._validate(*measured(plan.net, *plan.validation))
        # Every callback sees what it asks for, also where an earlier one asks to stop.
        answers = [self._answer(callback, losses) for callback in self._callbacks]
        reason = None
        if any(answer is True for answer in answers):
            reason = Reason("callback", f"stopped by a callback after step {history.steps}")
        elif self._interrupted.is_set() and not ended:
            reason = Reason("interrupt", f"interrupted after step {history.steps}")
        history.reason = self._group.agree(reason)
        checkpoint = self.watch.checkpoint
        stops = ended or history.reason is not None
        if checkpoint is not None and (stops or history.steps % checkpoint.every == 0):
            self._save(checkpoint, block.position)
        return history.reason is not None

    def _ends_epoch(self) -> bool:
        done = self.history.steps
        return self.plan.epoch_start(done) == done

    def _answer(self, callback: Callable[[Progress], Any], losses: np.ndarray) -> Any:
        """Call a callback if it is due, and return what it answers."""
        done, every = self.history.steps, getattr(callback, "every", None)
        start = done - len(losses)
        if every == "epoch":
            if not self._ends_epoch():
                return None
            start = self.plan.epoch_start(done - 1)
        elif every is not None:
            if done % every:
                return None
            start = done - every
        losses = self.history.loss[start:done]
        return callback(Progress(done, self.plan.total, losses, self.plan.net, self.history))

    def finish(self) -> History:
        """Return the history; warn where the loss has risen.

        Warns
        -----
        DivergenceWarning
        """
        if (risen := self.history.diverged) is not None:
            text = f"{risen}: the run has diverged. A smaller learning_rate may help"
            warnings.warn(text, DivergenceWarning, stacklevel=4)  # where the user calls `fit`
        return self.history

    def _record(self, losses: np.ndarray) -> None:
        """Put the losses into the history; where one is no number, take the block back."""
        history, done = self.history, self.history.steps
        history.extend(losses, time.perf_counter() - self._start)
        if np.isfinite(losses).all():
            self._optimizer_state["steps"] = self._steps_before + history.steps
            return
        for tree, before in self._before:
            tree.update(before)
        self._optimizer_state.clear()  # what the optimizer remembers is of no use either
        bad = done + int(np.flatnonzero(~np.isfinite(losses))[0])
        history._truncate(bad + 1)
        text = (
            f"the loss became {losses[bad - done]} at step {bad + 1}; the parameters are those "
            f"after step {done}. A smaller learning_rate may help"
        )
        raise NonFiniteLoss(text, bad + 1, history)

    def _save(self, checkpoint: Checkpoint, position: dict[str, Any]) -> None:
        """Write a checkpoint; where it cannot be written, the run may end."""
        history, error = self.history, self._resumable.save(position)
        if checkpoint.errors == "stop" and history.reason is None:
            text = f"no checkpoint could be written after step {history.steps}: {error}"
            history.reason = self._group.agree(Reason("checkpoint", text) if error else None)


def _to_multiple(number: int) -> Callable[[int], int]:
    return lambda done: number - done % number
