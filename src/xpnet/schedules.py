"""Learning-rate schedules: from step numbers, counted from 0, to learning rates.

`optimizers` has them beside the optimizers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from .checks import finite_number, function, positive_integer


@dataclass(frozen=True)
class Constant:
    """The same learning rate for every step.

    Parameters
    ----------
    learning_rate : float
        Above 0.

    Examples
    --------
    >>> import numpy as np
    >>> Constant(0.1)(np.arange(2))
    array([0.1, 0.1])
    """

    learning_rate: float

    def __post_init__(self) -> None:
        finite_number(self.learning_rate, "learning_rate", minimum=0.0, exclusive=True)

    def __call__(self, steps: np.ndarray) -> np.ndarray:
        """Return the learning rate of each step."""
        return np.full(np.shape(steps), float(self.learning_rate))


@dataclass(frozen=True)
class StepDecay:
    """The learning rate times `factor` after each `every` steps.

    Parameters
    ----------
    learning_rate : float
        That of the first steps, above 0.
    every : int
        Steps between two changes.
    factor : float
        Above 0.

    Examples
    --------
    >>> import numpy as np
    >>> StepDecay(1.0, every=2, factor=0.5)(np.arange(5))
    array([1.  , 1.  , 0.5 , 0.5 , 0.25])
    """

    learning_rate: float
    every: int
    factor: float = 0.1

    def __post_init__(self) -> None:
        finite_number(self.learning_rate, "learning_rate", minimum=0.0, exclusive=True)
        positive_integer(self.every, "every")
        finite_number(self.factor, "factor", minimum=0.0, exclusive=True)

    def __call__(self, steps: np.ndarray) -> np.ndarray:
        """Return the learning rate of each step."""
        return self.learning_rate * self.factor ** (np.asarray(steps) // self.every)


@dataclass(frozen=True)
class Cosine:
    """Half a cosine wave from `learning_rate` down to `final` over `steps`; then `final`.

    Loshchilov and Hutter, *SGDR: stochastic gradient descent with warm restarts* (2017),
    equation 5, without restarts.

    Parameters
    ----------
    learning_rate : float
        That of the first step, above 0.
    steps : int
        How long it falls.
    final : float
        What it falls to, at least 0.

    Examples
    --------
    >>> import numpy as np
    >>> Cosine(1.0, steps=2)(np.arange(4)).round(6)
    array([1. , 0.5, 0. , 0. ])
    """

    learning_rate: float
    steps: int
    final: float = 0.0

    def __post_init__(self) -> None:
        finite_number(self.learning_rate, "learning_rate", minimum=0.0, exclusive=True)
        positive_integer(self.steps, "steps")
        finite_number(self.final, "final", minimum=0.0)

    def __call__(self, steps: np.ndarray) -> np.ndarray:
        """Return the learning rate of each step."""
        done = np.minimum(np.asarray(steps) / self.steps, 1.0)
        return self.final + 0.5 * (self.learning_rate - self.final) * (1.0 + np.cos(np.pi * done))


@dataclass(frozen=True)
class WarmUp:
    """The first `steps` steps rise linearly to what `schedule` says; the rest is `schedule`.

    Goyal et al., *Accurate, large minibatch SGD* (2017), section 2.2.

    Parameters
    ----------
    schedule : callable
        From step numbers, counted from 0, to learning rates.
    steps : int
        How long it rises.

    Examples
    --------
    >>> import numpy as np
    >>> WarmUp(Constant(1.0), steps=4)(np.arange(5))
    array([0.25, 0.5 , 0.75, 1.  , 1.  ])
    """

    schedule: Callable[[np.ndarray], np.ndarray]
    steps: int

    def __post_init__(self) -> None:
        function(self.schedule, "schedule")
        positive_integer(self.steps, "steps")

    def __call__(self, steps: np.ndarray) -> np.ndarray:
        """Return the learning rate of each step."""
        steps = np.asarray(steps)
        return self.schedule(steps) * np.minimum((steps + 1) / self.steps, 1.0)


SCHEDULES = {"constant": Constant, "cosine": Cosine, "step": StepDecay, "warm-up": WarmUp}
