"""What is asked of a run: how a net is trained, and who looks on; checked, then frozen."""

from __future__ import annotations

import math
import platform
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import KW_ONLY, InitVar, dataclass, field, fields, is_dataclass
from functools import partial
from typing import Any

import numpy as np

from .. import checks
from .._version import __version__
from ..arrays import Array
from ..layers import BatchNorm, Elementwise
from ..network.net import Network
from ..optimizers import OPTIMIZERS, Constant, Optimizer
from ..schedules import SCHEDULES
from .blocks import Masks, Shifts
from .callbacks import every_of
from .checkpoint import Checkpoint
from .sources import Resident, Source, checked_validation, divided, source_of

Schedule = Callable[[np.ndarray], np.ndarray]
Callback = Callable[[Any], Any]

# What is asked of the device at once: callbacks, Ctrl-C and progress wait for a block to end.
BLOCK_STEPS = 100
BLOCK_OPERATIONS = 2e10

GRADIENTS = {"backprop": "_backpropagate", "numerical": "_differentiate"}

# The batch of a run that is given none, where there are so many rows.
BATCH_SIZE = 100
# Beyond these, a sum of some inputs drives a unit of these activations to where it is flat.
SCALE, FLAT = 10.0, ("sigmoid", "tanh")


class ScaleWarning(UserWarning):
    """Inputs are so large that the units of the first layer begin where they are flat."""


@dataclass(frozen=True)
class Plan:
    """How a net is trained: all that decides the numbers. The arguments are those of `fit`.

    Beside these: `shuffle` may be a function that returns the order of the rows of each pass,
    and with `whole_epochs` a pass takes ceil(n / batch_size) steps, whose last batch takes the
    rows that it lacks from the pass's beginning, not from the next pass.

    Attributes
    ----------
    source : Source
        Where the batches come from.
    rows : int
        n, the rows of x that are trained with.
    validation_rows : int or None
        Those of the validation set.
    drawn : bool
        Whether these have been drawn from the rows of x.
    total : int
        The steps of the run.

    Raises
    ------
    TypeError, ValueError
        As `fit`.
    """

    net: Network
    x: InitVar[Array]
    t: InitVar[Array]
    _: KW_ONLY
    steps: InitVar[int | None] = None
    epochs: InitVar[int | None] = None
    batch_size: Any = None
    optimizer: Any = "sgd"
    learning_rate: Any = None
    gradient: str = "backprop"
    validation: Any = None
    seed: int | None = 0
    shuffle: bool | Callable[[], np.ndarray] = True
    whole_epochs: bool = False
    sample_weight: InitVar[Array | None] = None
    dropout: float = 0.0
    weighted: bool = field(init=False)
    source: Source = field(init=False)
    rows: int = field(init=False)
    validation_rows: int | None = field(init=False, default=None)
    drawn: bool = field(init=False, default=False)
    total: int = field(init=False)

    def __post_init__(
        self, x: Array, t: Array, steps: int | None, epochs: int | None, sample_weight: Array | None
    ) -> None:
        put = partial(object.__setattr__, self)  # it is frozen for others
        if not isinstance(self.net, Network):
            raise TypeError(f"net must be a Network or an MLP, not {type(self.net).__name__}")
        put("seed", checks.seed_or_none(self.seed))
        put("source", source_of(self.net, x, t, sample_weight))
        put("weighted", sample_weight is not None)
        put("rows", x.shape[0])
        put("dropout", checks.below_one(self.dropout, "dropout"))
        self._refuse_combinations()
        self._set_validation(put)
        self._set_sizes(put, steps, epochs)
        if not isinstance(self.optimizer, Optimizer):
            put("optimizer", checks.known(OPTIMIZERS, self.optimizer, "optimizer")())
        put("learning_rate", _schedule_of(self.learning_rate, self.optimizer))
        checks.known(GRADIENTS, self.gradient, "gradient")
        if self.gradient == "numerical":
            self.net._stack.refuse_unstructured("gradient='numerical'")
        if not callable(self.shuffle):
            checks.switch(self.shuffle, "shuffle")
        checks.switch(self.whole_epochs, "whole_epochs")

    def _set_validation(self, put: Callable[[str, Any], None]) -> None:
        if self.validation is None:
            return
        if isinstance(self.validation, float):
            parts = divided(self.net, self.source, self.rows, self.validation, self.seed)
            for name, value in zip(("source", "validation", "validation_rows"), parts, strict=True):
                put(name, value)
            put("rows", self.rows - parts[2])
            put("drawn", True)
        else:
            put("validation", checked_validation(self.net, self.validation))
            put("validation_rows", self.validation[0].shape[0])

    def _set_sizes(
        self, put: Callable[[str, Any], None], steps: int | None, epochs: int | None
    ) -> None:
        n = self.rows
        if self.batch_size is None:
            put("batch_size", min(BATCH_SIZE, n))
        put("batch_size", checks.positive_integer(self.batch_size, "batch_size"))
        if self.batch_size > n:
            raise ValueError(f"batch_size is {self.batch_size}, more than the {n} rows of x")
        self.net._definition.refuse_rows(self.batch_size, "the batch_size makes a batch")
        put("total", _total_steps(steps, epochs, n, self.batch_size))

    def _refuse_combinations(self) -> None:
        rated = any(self.net._definition.rates)
        if self.dropout and rated:
            raise ValueError("dropout is for nets without Dropout layers; this one has its own")
        asked = {"sample_weight": self.weighted, "dropout": self.dropout or rated}
        for name, value in asked.items():
            if value and self.gradient != "backprop":
                raise ValueError(f"{name} needs gradient='backprop', not {self.gradient!r}")

    def coefficients(self, steps: np.ndarray) -> np.ndarray:
        """Return the optimizer's numbers of some steps, counted from 0; or raise."""
        try:
            rates = np.asarray(self.learning_rate(steps), dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise ValueError(
                f"the schedule cannot take an array of {len(steps)} step numbers ({error}); write "
                "it for arrays, such as lambda steps: numpy.where(steps < 1000, 0.1, 0.01)"
            ) from error
        # Comparisons with NaN are false.
        if rates.shape != steps.shape or not (rates.min() >= 0.0 and rates.max() < math.inf):
            raise ValueError(
                f"the schedule must return {len(steps)} finite rates of at least 0 for "
                f"{len(steps)} step numbers; it returned {rates!r}"
            )
        numbers: np.ndarray = self.optimizer.coefficients(steps + 1, rates)
        return numbers

    def epoch_start(self, done: int) -> int:
        """Return the steps at which the epoch has begun whose step comes after `done` steps."""
        return self._epoch_end(self._epochs(done))

    def epoch_end(self, done: int) -> int:
        """Return the steps at which that epoch ends: where all of its rows have been taken."""
        return self._epoch_end(self._epochs(done) + 1)

    def _epochs(self, done: int) -> int:
        """Return how many epochs have ended after so many steps."""
        over, under = self._steps_an_epoch()
        return done * under // over

    def _epoch_end(self, epochs: int) -> int:
        """Return the steps after which so many epochs have ended."""
        over, under = self._steps_an_epoch()
        return -(-epochs * over // under)

    def _steps_an_epoch(self) -> tuple[int, int]:
        """Return the steps of an epoch as a fraction: a whole number only with whole epochs."""
        if self.whole_epochs:
            return math.ceil(self.rows / self.batch_size), 1
        return self.rows, self.batch_size

    def warn_of_scale(self) -> None:
        """Warn where inputs are so large that the first units begin where they are flat.

        Of rows on disk nobody knows how large they are before they are read.
        """
        kinds = (Elementwise, BatchNorm)
        first = next((a for a in self.net._definition.layers if isinstance(a, kinds)), None)
        if not isinstance(first, Elementwise) or first.function.name not in FLAT:
            return
        if not isinstance(self.source, Resident):
            return
        xp, x = self.net.placement.xp, self.source.data[0]
        low, high = float(xp.min(x)), float(xp.max(x))
        if max(-low, high) <= SCALE:
            return
        text = (
            f"x has values from {low:.4g} to {high:.4g}: the {first.function.name} units begin "
            "where they are flat, and learn little. Scale x first, such as to [0, 1], or each "
            "column by (x - mean) / standard deviation"
        )
        warnings.warn(text, ScaleWarning, stacklevel=4)  # where the user calls `fit`

    def masks(self) -> Masks | None:
        """Return the masks of dropout, None where nothing is dropped."""
        definition = self.net._definition
        rates = np.repeat([self.dropout or r for r in definition.rates], definition.dropped)
        if not rates.any():
            return None
        rate = float(rates[0]) if (rates == rates[0]).all() else rates
        return Masks(self.batch_size, rates.size, rate, self.seed)

    def shifts(self) -> Shifts | None:
        """Return by how much images are moved, None where they are not."""
        most = self.net._definition.shift
        return Shifts(self.batch_size, most, self.seed) if most else None

    def settings(self) -> dict[str, Any]:
        """Return what was asked for, as the history records it."""
        described = self.net._definition.describe()
        del described["own_activation"]
        return {
            **described, "dtype": self.net.placement.dtype_name,
            "rows": self.rows, "validation_rows": self.validation_rows,
            "steps": self.total, "batch_size": self.batch_size,
            "shuffle": "own" if callable(self.shuffle) else self.shuffle,
            "whole_epochs": self.whole_epochs,
            "optimizer": _fields(self.optimizer),
            "learning_rate": _described(self.learning_rate),
            "gradient": self.gradient, "dropout": self.dropout, "seed": self.seed,
        }  # fmt: skip

    def environment(self) -> dict[str, Any]:
        """Return versions and the device."""
        here = self.net.placement
        info = here.device_info()
        return {
            "xpnet": __version__, "python": platform.python_version(), "numpy": np.__version__,
            "backend": here.backend.name, "backend_version": here.backend.version,
            "device": str(here.device), "device_name": info.name,
            "driver": info.driver, "cuda": info.cuda,
        }  # fmt: skip


@dataclass(frozen=True)
class Watch:
    """Who looks on while a net is trained; it changes no number.

    Parameters
    ----------
    callbacks, progress
        As for `fit`.
    block_steps : int or callable, optional
        Steps between two looks: callbacks, progress and Ctrl-C wait for a block to end. A
        function is given the steps done, and returns those of the next block. None: up to 100,
        fewer for large nets. With rows on disk, blocks of more than 64 MiB are divided.
    checkpoint : Checkpoint, optional

    Raises
    ------
    TypeError, ValueError
        An argument is not what is said above.
    """

    callbacks: Sequence[Callback] = ()
    progress: bool = False
    block_steps: int | Callable[[int], int] | None = None
    checkpoint: Checkpoint | None = None

    def __post_init__(self) -> None:
        if self.block_steps is not None and not callable(self.block_steps):
            checks.positive_integer(self.block_steps, "block_steps")
        checks.switch(self.progress, "progress")
        if not isinstance(self.callbacks, Iterable):
            raise TypeError(f"callbacks must be a sequence, not {type(self.callbacks).__name__}")
        if not isinstance(self.checkpoint, Checkpoint | None):
            raise TypeError(
                f"checkpoint must be a Checkpoint, not {type(self.checkpoint).__name__}"
            )
        callbacks = [checks.function(c, "every entry of callbacks") for c in self.callbacks]
        for callback in callbacks:
            every = getattr(callback, "every", None)
            if every is not None:
                every_of(every, "every of a callback")
        object.__setattr__(self, "callbacks", callbacks)


def default_block(net: Network, batch_size: int, gradient: str) -> int:
    """Return the steps of a block: many for small nets, so that large ones still answer."""
    widths = net._definition.widths
    weights = sum(math.prod(s) for s in net._definition.shapes.values() if len(s) > 1)
    operations = 6.0 * batch_size * weights
    if gradient == "numerical":
        # Each hidden unit is moved four times and what is behind it computed anew, most of it
        # exponentials: about 300 operations of a matrix product's speed for each number.
        moved = sum(units * sum(widths[i + 1 :]) for i, units in enumerate(widths) if i)
        operations += 4 * 300.0 * batch_size * moved
    return max(1, min(BLOCK_STEPS, int(BLOCK_OPERATIONS / operations)))


def _schedule_of(rate: Any, rule: Optimizer) -> Schedule:
    """Return what gives the learning rates of some steps; or raise."""
    if callable(rate):
        schedule: Schedule = rate
        return schedule
    if rate is None:
        rate = rule.default_rate
        if rate is None:
            own = getattr(rule, "optimizer", rule)  # within one that clips
            raise ValueError(
                f"learning_rate is None, and {type(own).__name__} has no rate of its own: give "
                "one, or set the class's default_rate"
            )
    if isinstance(rate, str) and rate in SCHEDULES:
        name = SCHEDULES[rate].__name__
        raise TypeError(
            f"learning_rate must be a number or a schedule, not {rate!r}: give an object of "
            f"xpnet.optimizers.{name}"
        )
    return Constant(checks.finite_number(rate, "learning_rate", minimum=0.0, exclusive=True))


def _total_steps(steps: int | None, epochs: int | None, n: int, batch_size: int) -> int:
    if steps is not None and epochs is None:
        return checks.positive_integer(steps, "steps")
    if steps is None and epochs is not None:
        return math.ceil(checks.positive_integer(epochs, "epochs") * n / batch_size)
    given = "neither" if steps is None else "both"
    raise ValueError(f"give steps or epochs, one of the two; {given} was given")


def _fields(rule: Optimizer) -> dict[str, Any]:
    """Return an optimizer's name and numbers, those of an optimizer within it among them."""
    described: dict[str, Any] = {"name": type(rule).__name__}
    whole: Any = rule  # to mypy no optimizer is a dataclass
    names = [f.name for f in fields(whole)] if is_dataclass(whole) else []
    for name in names:
        value = getattr(rule, name)
        if isinstance(value, Optimizer):
            value = _fields(value)
        plain = isinstance(value, (bool, int, float, str, dict, type(None)))
        described[name] = value if plain else repr(value)
    return described


def _described(schedule: Any) -> Any:
    if isinstance(schedule, Constant):
        return schedule.learning_rate
    if is_dataclass(schedule):
        return repr(schedule)
    return getattr(schedule, "__name__", type(schedule).__name__)
