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

from .arrays import Array, Params, array_namespace
from .checks import below_one, finite_number, known
from .schedules import Constant, Cosine, StepDecay, WarmUp

__all__ = [
    "OPTIMIZERS", "SGD", "AdaGrad", "Adam", "AdamW", "Clipped", "Constant", "Cosine", "Momentum",
    "Nesterov", "Optimizer", "RMSprop", "Slots", "StepDecay", "WarmUp",
]  # fmt: skip

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
    default_rate : float or None
        The learning rate of a run that is given none. None: each run has to be given its own.
    """

    slot_names: ClassVar[tuple[str, ...]] = ()
    folds_rate: ClassVar[bool] = False
    default_rate: ClassVar[float | None] = None

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

    default_rate: ClassVar[float | None] = 0.1
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
    default_rate: ClassVar[float | None] = 0.01
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
    default_rate: ClassVar[float | None] = 0.001
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


@dataclass(frozen=True)
class AdaGrad(Optimizer):
    """AdaGrad: steps scaled by the sum of the squared gradients so far.

    h ← h + g²; W ← W - η g / (√h + ε). ε stands outside the root, as in Torch.

    Duchi, Hazan and Singer, *Adaptive subgradient methods for online learning and stochastic
    optimization* (2011), figure 1, with diagonal matrices.

    Parameters
    ----------
    epsilon : float
        ε, above 0.

    Examples
    --------
    >>> AdaGrad()
    AdaGrad(epsilon=1e-07)
    """

    epsilon: float = 1e-7
    default_rate: ClassVar[float | None] = 0.01
    slot_names: ClassVar[tuple[str, ...]] = ("square",)

    def __post_init__(self) -> None:
        finite_number(self.epsilon, "epsilon", minimum=0.0, exclusive=True)

    def update(self, params: Params, gradient: Params, slots: Slots, numbers: Any) -> None:
        """Move by one step; see `Optimizer.update`."""
        square = slots["square"]
        for key, g in gradient.items():
            square[key] += g * g
            params[key] -= _scaled(g, square[key], self.epsilon, numbers[0])


@dataclass(frozen=True)
class RMSprop(Optimizer):
    """RMSprop: steps scaled by a running mean of the squared gradient.

    h ← ρ h + (1 - ρ) g²; W ← W - η g / (√h + ε). ε stands outside the root, as in Torch.

    Tieleman and Hinton, *Lecture 6.5: RMSprop* (2012), of the course *Neural networks for machine
    learning*.

    Parameters
    ----------
    decay : float
        ρ, at least 0 and below 1.
    epsilon : float
        ε, above 0.

    Examples
    --------
    >>> RMSprop(decay=0.9)
    RMSprop(decay=0.9, epsilon=1e-07)
    """

    decay: float = 0.99
    epsilon: float = 1e-7
    default_rate: ClassVar[float | None] = 0.001
    slot_names: ClassVar[tuple[str, ...]] = ("square",)

    def __post_init__(self) -> None:
        below_one(self.decay, "decay")
        finite_number(self.epsilon, "epsilon", minimum=0.0, exclusive=True)

    def update(self, params: Params, gradient: Params, slots: Slots, numbers: Any) -> None:
        """Move by one step; see `Optimizer.update`."""
        square = slots["square"]
        for key, g in gradient.items():
            new = g * g
            new *= 1.0 - self.decay
            square[key] *= self.decay
            square[key] += new
            params[key] -= _scaled(g, square[key], self.epsilon, numbers[0])


def _scaled(g: Array, square: Array, epsilon: float, rate: Any) -> Array:
    """Return η g / (√h + ε)."""
    change = array_namespace(g).sqrt(square)
    change += epsilon
    change = g / change
    change *= rate
    return change


# One row is all that an optimizer needs: `fit`, the command line and the tests read it.
OPTIMIZERS: dict[str, Callable[[], Optimizer]] = {
    "sgd": SGD,
    "momentum": Momentum, "nesterov": Nesterov,
    "adam": Adam, "adamw": AdamW,
    "adagrad": AdaGrad, "rmsprop": RMSprop,
}  # fmt: skip


@dataclass(frozen=True)
class Clipped(Optimizer):
    """An optimizer that is given the gradient no longer than `norm`: min(1, norm / ‖g‖) g.

    ‖g‖ is the Euclidean norm over all parameters together, the L2 term's part included. Where
    its square overflows, beyond ‖g‖ = 1e19 in float32, the optimizer is given zeros.

    Pascanu, Mikolov and Bengio, *On the difficulty of training recurrent neural networks* (2013),
    algorithm 1.

    Parameters
    ----------
    optimizer : str or Optimizer
        A name of ``OPTIMIZERS``, or one of your own.
    norm : float
        Above 0.

    Examples
    --------
    >>> Clipped("sgd", norm=1.0)
    Clipped(optimizer=SGD(), norm=1.0)
    """

    # A name has become an optimizer once the object is made.
    optimizer: Any
    norm: float

    def __post_init__(self) -> None:
        inner = self.optimizer
        if not isinstance(inner, Optimizer):
            inner = known(OPTIMIZERS, inner, "optimizer")()
            object.__setattr__(self, "optimizer", inner)
        for name in ("slot_names", "default_rate"):
            object.__setattr__(self, name, getattr(inner, name))
        norm = finite_number(self.norm, "norm", minimum=0.0, exclusive=True)
        object.__setattr__(self, "norm", norm)

    def slots(self, params: Params) -> Slots:
        """Return the slots of the optimizer within."""
        slots: Slots = self.optimizer.slots(params)
        return slots

    def coefficients(self, steps: np.ndarray, learning_rates: np.ndarray) -> np.ndarray:
        """Return the numbers of the optimizer within; see `Optimizer.coefficients`."""
        numbers: np.ndarray = self.optimizer.coefficients(steps, learning_rates)
        return numbers

    def update(self, params: Params, gradient: Params, slots: Slots, numbers: Any) -> None:
        """Move by one step; see `Optimizer.update`."""
        xp = array_namespace(next(iter(gradient.values())))
        square = sum(xp.sum(g * g) for g in gradient.values())
        # The limit over the larger of it and the norm: a norm of 0 divides nothing, and nothing
        # waits for a value.
        limit = xp.full_like(square, self.norm)
        factor = self.norm / xp.maximum(xp.sqrt(square), limit)
        # The rate is not folded into the gradient, whose own norm counts and not η's multiple of
        # it; it is multiplied by here, where it costs nothing.
        if self.optimizer.folds_rate:
            factor = factor * numbers[0]
        clipped = {key: g * factor for key, g in gradient.items()}
        self.optimizer.update(params, clipped, slots, numbers)
