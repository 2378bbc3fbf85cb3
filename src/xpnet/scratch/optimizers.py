"""The textbook's optimizers: each remembers its rate and its slots."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import optimizers
from ..arrays import Params


@dataclass(eq=False)
class _Optimizer:
    lr: float = 0.01
    iter: int = field(default=0, init=False)
    slots: optimizers.Slots | None = field(default=None, init=False, repr=False)

    def _inner(self) -> optimizers.Optimizer:
        raise NotImplementedError

    def update(self, params: Params, grads: Params) -> None:
        """Move the arrays of `params`, or the numbers, by one step."""
        numbers = [key for key, value in params.items() if isinstance(value, (int, float))]
        moved = {**params, **{key: np.asarray(float(params[key])) for key in numbers}}
        self.iter += 1
        inner = self._inner()
        if self.slots is None:
            self.slots = inner.slots(moved)
        row = inner.coefficients(np.asarray([self.iter]), np.asarray([float(self.lr)]))[0].tolist()
        gradient: Params = {
            key: np.asarray(float(grads[key])) if key in numbers else grads[key] for key in params
        }
        if inner.folds_rate:
            gradient = {key: self.lr * g for key, g in gradient.items()}
        inner.update(moved, gradient, self.slots, row)
        params.update(moved, **{key: float(moved[key]) for key in numbers})


class SGD(_Optimizer):
    """SGD: W ← W - lr g.

    Parameters
    ----------
    lr : float

    Examples
    --------
    >>> params = {"W": np.asarray([1.0])}
    >>> SGD(lr=0.5).update(params, {"W": np.asarray([1.0])})
    >>> params["W"]
    array([0.5])
    """

    def _inner(self) -> optimizers.Optimizer:
        return optimizers.SGD()


@dataclass(eq=False)
class Momentum(_Optimizer):
    """Momentum: v ← momentum v - lr g; W ← W + v.

    Parameters
    ----------
    lr, momentum : float

    Examples
    --------
    >>> Momentum(lr=0.1).momentum
    0.9
    """

    momentum: float = 0.9

    def _inner(self) -> optimizers.Optimizer:
        return optimizers.Momentum(self.momentum)


class Nesterov(Momentum):
    """The textbook's Nesterov: v ← m v - lr g; W ← W + m² v - (1 + m) lr g.

    `xpnet.optimizers.Nesterov` is W ← W + m v - lr g with the same v.

    Parameters
    ----------
    lr, momentum : float

    Examples
    --------
    >>> Nesterov(lr=0.1, momentum=0.8).momentum
    0.8
    """

    def _inner(self) -> optimizers.Optimizer:
        return _Nesterov(self.momentum)


class _Nesterov(optimizers.Momentum):
    def update(
        self, params: Params, gradient: Params, slots: optimizers.Slots, numbers: Any
    ) -> None:
        velocity = slots["velocity"]
        for key, g in gradient.items():
            velocity[key] *= self.momentum
            velocity[key] -= g
            params[key] += self.momentum**2 * velocity[key]
            params[key] -= (1.0 + self.momentum) * g


class AdaGrad(_Optimizer):
    """AdaGrad: h ← h + g²; W ← W - lr g / (√h + 1e-7).

    Parameters
    ----------
    lr : float

    Examples
    --------
    >>> AdaGrad(lr=1.5).lr
    1.5
    """

    def _inner(self) -> optimizers.Optimizer:
        return optimizers.AdaGrad(1e-7)


@dataclass(eq=False)
class RMSprop(_Optimizer):
    """RMSprop: h ← decay_rate h + (1 - decay_rate) g²; W ← W - lr g / (√h + 1e-7).

    Parameters
    ----------
    lr, decay_rate : float

    Examples
    --------
    >>> RMSprop(decay_rate=0.9).decay_rate
    0.9
    """

    decay_rate: float = 0.99

    def _inner(self) -> optimizers.Optimizer:
        return optimizers.RMSprop(self.decay_rate, 1e-7)


@dataclass(eq=False)
class Adam(_Optimizer):
    """Adam, means m of g and v of g²: W ← W - lr √(1 - beta2ᵗ) / (1 - beta1ᵗ) · m / (√v + 1e-7).

    Parameters
    ----------
    lr, beta1, beta2 : float

    Examples
    --------
    >>> Adam().lr
    0.001
    """

    lr: float = 0.001
    beta1: float = 0.9
    beta2: float = 0.999

    def _inner(self) -> optimizers.Optimizer:
        # The textbook adds 1e-7 to √v, xpnet to √(v / (1 - beta2ᵗ)).
        epsilon = 1e-7 / (1.0 - self.beta2**self.iter) ** 0.5
        return optimizers.Adam(self.beta1, self.beta2, epsilon)
