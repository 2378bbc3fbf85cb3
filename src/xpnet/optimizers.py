"""Optimizers and learning-rate schedules.

An optimizer is a frozen set of hyper-parameters with pure arithmetic; what it remembers (its
slots) is passed in and out. The numbers that depend on the step are computed on the host
before the steps run, so that a compiled or captured step takes them as plain input.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .arrays import Params, array_namespace
from .checks import below_one, finite_number, function, positive_integer

Slots = dict[str, Params]


class Optimizer(abc.ABC):
    """How parameters move along a gradient; subclass it to write your own.

    Attributes
    ----------
    slot_names : tuple of str
        What is remembered for each parameter, zeros at first.
    folds_rate : bool
        True where the gradient enters `update` only as learning_rate · gradient. `update` is
        then given that product, which backpropagation makes at no cost.
    """

    slot_names: ClassVar[tuple[str, ...]] = ()
    folds_rate: ClassVar[bool] = False

    def slots(self, params: Params) -> Slots:
        """Return the slots before the first step: zeros of the parameters' shapes."""
        return {
            name: {key: array_namespace(p).zeros_like(p) for key, p in params.items()}
            for name in self.slot_names
        }

    def coefficients(self, steps: np.ndarray, learning_rates: np.ndarray) -> np.ndarray:
        """Return the numbers of each step, (K, m); the first is the learning rate.

        Parameters
        ----------
        steps : ndarray, (K,)
            Step numbers, counted from 1.
        learning_rates : ndarray, (K,)

        Returns
        -------
        ndarray, (K, m)
        """
        return learning_rates[:, None]

    @abc.abstractmethod
    def update(self, params: Params, gradient: Params, slots: Slots, numbers: Any) -> None:
        """Move `params` and `slots` by one step; `numbers` is one row of `coefficients`.

        Use in-place operators on the dicts' entries (``params[key] -= ...``): in place where
        arrays are mutable, rebinding where they are not. `gradient` is not written to.
        """


@dataclass(frozen=True)
class SGD(Optimizer):
    """Stochastic gradient descent: W ← W - η g.

    Robbins and Monro, *A stochastic approximation method* (1951).

    Examples
    --------
    >>> SGD()
    SGD()
    """

    folds_rate: ClassVar[bool] = True

    def update(self, params: Params, gradient: Params, slots: Slots, numbers: Any) -> None:
        """Move by one step; see `Optimizer.update`."""
        for key, g in gradient.items():
            params[key] -= g


@dataclass(frozen=True)
class Momentum(Optimizer):
    """Classical momentum: v ← μ v - η g; W ← W + v.

    Polyak, *Some methods of speeding up the convergence of iteration methods* (1964).

    Parameters
    ----------
    momentum : float
        μ, at least 0 and below 1.

    Examples
    --------
    >>> Momentum(momentum=0.8)
    Momentum(momentum=0.8)
    """

    momentum: float = 0.9
    slot_names: ClassVar[tuple[str, ...]] = ("velocity",)
    folds_rate: ClassVar[bool] = True

    def __post_init__(self) -> None:
        below_one(self.momentum, "momentum")

    def update(self, params: Params, gradient: Params, slots: Slots, numbers: Any) -> None:
        """Move by one step; see `Optimizer.update`."""
        velocity = slots["velocity"]
        for key, g in gradient.items():
            velocity[key] *= self.momentum
            velocity[key] -= g
            params[key] += velocity[key]


@dataclass(frozen=True)
class Nesterov(Momentum):
    """Nesterov momentum: v ← μ v - η g; W ← W + μ v - η g.

    The form of Sutskever et al., *On the importance of initialization and momentum in deep
    learning* (2013), with the gradient taken at the parameters that are kept.

    Parameters
    ----------
    momentum : float
        μ, at least 0 and below 1.

    Examples
    --------
    >>> Nesterov()
    Nesterov(momentum=0.9)
    """

    def update(self, params: Params, gradient: Params, slots: Slots, numbers: Any) -> None:
        """Move by one step; see `Optimizer.update`."""
        velocity = slots["velocity"]
        for key, g in gradient.items():
            velocity[key] *= self.momentum
            velocity[key] -= g
            params[key] -= g
            params[key] += self.momentum * velocity[key]


@dataclass(frozen=True)
class Adam(Optimizer):
    """Adam: steps scaled by running means of the gradient and of its square.

    m ← β1 m + (1 - β1) g; v ← β2 v + (1 - β2) g²; with the bias-corrected
    m̂ = m / (1 - β1ᵗ) and v̂ = v / (1 - β2ᵗ): W ← W - η m̂ / (√v̂ + ε). The slots hold
    m / (1 - β1) and v / (1 - β2), which take two operations less.

    Kingma and Ba, *Adam: a method for stochastic optimization* (2015), algorithm 1.

    Parameters
    ----------
    beta_1, beta_2 : float
        β1 and β2, at least 0 and below 1.
    epsilon : float
        ε, above 0.

    Examples
    --------
    >>> Adam()
    Adam(beta_1=0.9, beta_2=0.999, epsilon=1e-08)
    """

    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    slot_names: ClassVar[tuple[str, ...]] = ("mean", "square")

    def __post_init__(self) -> None:
        below_one(self.beta_1, "beta_1")
        below_one(self.beta_2, "beta_2")
        finite_number(self.epsilon, "epsilon", minimum=0.0, exclusive=True)

    def coefficients(self, steps: np.ndarray, learning_rates: np.ndarray) -> np.ndarray:
        """Return the numbers of each step; see `Optimizer.coefficients`."""
        # With M = m / (1 - β1), V = v / (1 - β2), c1 = 1 - β1ᵗ, c2 = 1 - β2ᵗ:
        # η m̂ / (√v̂ + ε) = [η (1 - β1) / c1 · √(c2 / (1 - β2))] M / (√V + ε √(c2 / (1 - β2))).
        root = np.sqrt((1.0 - self.beta_2**steps) / (1.0 - self.beta_2))
        rates = learning_rates * (1.0 - self.beta_1) / (1.0 - self.beta_1**steps) * root
        return np.column_stack([learning_rates, rates, self.epsilon * root])

    def update(self, params: Params, gradient: Params, slots: Slots, numbers: Any) -> None:
        """Move by one step; see `Optimizer.update`."""
        mean, square = slots["mean"], slots["square"]
        rate, epsilon = numbers[1], numbers[2]
        for key, g in gradient.items():
            mean[key] *= self.beta_1
            mean[key] += g
            square[key] *= self.beta_2
            square[key] += g * g
            change = array_namespace(g).sqrt(square[key])
            change += epsilon
            change = mean[key] / change
            change *= rate
            params[key] -= change


@dataclass(frozen=True)
class AdamW(Adam):
    """Adam with decoupled weight decay: first W ← W - η λ W, then Adam's step.

    Loshchilov and Hutter, *Decoupled weight decay regularization* (2019), algorithm 2, with
    the learning rate as the schedule multiplier. Decays every parameter, biases included.

    Parameters
    ----------
    beta_1, beta_2, epsilon : float
        As for `Adam`.
    weight_decay : float
        λ, at least 0.

    Examples
    --------
    >>> AdamW(weight_decay=0.1).weight_decay
    0.1
    """

    weight_decay: float = 0.01

    def __post_init__(self) -> None:
        super().__post_init__()
        finite_number(self.weight_decay, "weight_decay", minimum=0.0)

    def coefficients(self, steps: np.ndarray, learning_rates: np.ndarray) -> np.ndarray:
        """Return the numbers of each step; see `Optimizer.coefficients`."""
        keep = 1.0 - learning_rates * self.weight_decay
        return np.column_stack([super().coefficients(steps, learning_rates), keep])

    def update(self, params: Params, gradient: Params, slots: Slots, numbers: Any) -> None:
        """Move by one step; see `Optimizer.update`."""
        for key in gradient:
            params[key] *= numbers[3]
        super().update(params, gradient, slots, numbers)


# One row is all that an optimizer needs: `fit`, the command line and the tests read it.
OPTIMIZERS: dict[str, Callable[[], Optimizer]] = {
    "sgd": SGD,
    "momentum": Momentum, "nesterov": Nesterov,
    "adam": Adam, "adamw": AdamW,
}  # fmt: skip


# --- schedules: from step numbers, counted from 0, to learning rates ---------------------------


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
