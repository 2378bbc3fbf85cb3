"""Batch normalization, of rows and of images; backward under forward."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np

from ..arrays import Array, Host, Params, array_namespace
from ..checks import below_one, finite_number
from .base import Layer, Shape
from .windows import inside, outside


@dataclass(frozen=True)
class BatchNorm(Layer):
    """Batch normalization: each number less its mean over the batch, by its deviation.

    y = gamma · (x - mean) / sqrt(variance + epsilon) + beta, with mean and variance of each unit
    over the rows of a batch, or of each channel over the rows and all places of the images (Ioffe
    and Szegedy, *Batch normalization: accelerating deep network training by reducing internal
    covariate shift*, 2015, algorithm 1). Prediction takes running ones, which training moves with
    each batch: running ← momentum · running + (1 - momentum) · batch. The variance is the mean
    squared deviation, in both.

    Parameters
    ----------
    momentum : float
        In [0, 1).
    epsilon : float
        Above 0.

    Raises
    ------
    TypeError, ValueError
        An argument is no such number. In training: a batch has one row, which has no deviation.

    Notes
    -----
    gamma begins at 1, beta at 0; the running mean at 0, the running variance at 1. A bias before
    it has no effect, and the gradient 0.

    Examples
    --------
    >>> BatchNorm().shapes((30, 24, 24))
    ({'gamma': (30,), 'beta': (30,)}, (30, 24, 24))
    """

    _: KW_ONLY
    momentum: float = 0.9
    epsilon: float = 1e-7
    centers: ClassVar[bool] = True

    def __post_init__(self) -> None:
        below_one(self.momentum, "momentum")
        finite_number(self.epsilon, "epsilon", minimum=0.0, exclusive=True)

    def shapes(self, inputs: Shape) -> tuple[dict[str, Shape], Shape]:
        """Return the shapes of gamma and beta, and of the input."""
        if len(inputs) not in (1, 3):
            raise ValueError(f"it takes rows or images, not an input of shape {inputs}")
        return {"gamma": inputs[:1], "beta": inputs[:1]}, inputs

    def first(self, inputs: Shape, rng: np.random.Generator) -> dict[str, Host]:
        """Return the values with which gamma and beta begin."""
        return {"gamma": np.ones(inputs[0]), "beta": np.zeros(inputs[0])}

    def first_state(self, inputs: Shape) -> dict[str, Host]:
        """Return the running mean and variance as they begin."""
        return {"mean": np.zeros(inputs[0]), "variance": np.ones(inputs[0])}

    def least_rows(self, inputs: Shape) -> int:
        """Return 2 where a unit has one number in each row."""
        return 1 if np.prod(inputs[1:]) > 1 else 2

    def forward(self, p: Params, x: Array, mask: Array | None = None) -> tuple[Array, Any]:
        """Return x normalized by its own statistics, scaled and shifted."""
        units = _by_unit(x)
        xp = array_namespace(x)
        mean = xp.mean(units, axis=1)
        normal = units - mean[:, None]
        variance = xp.mean(normal * normal, axis=1)
        root = xp.sqrt(variance + self.epsilon)
        normal /= root[:, None]
        y = normal * p["gamma"][:, None]
        y += p["beta"][:, None]
        return _as_before(y, x), (normal, root, mean, variance)

    def predict(self, p: Params, s: Params, x: Array) -> Array:
        """Return x normalized by the running statistics, scaled and shifted."""
        factor = p["gamma"] / array_namespace(x).sqrt(s["variance"] + self.epsilon)
        y = _by_unit(x) - s["mean"][:, None]
        y *= factor[:, None]
        y += p["beta"][:, None]
        return _as_before(y, x)

    def move(self, s: Params, kept: Any) -> None:
        """Move the running mean and variance towards the batch's."""
        for key, batch in zip(("mean", "variance"), kept[2:], strict=True):
            s[key] *= self.momentum
            s[key] += (1.0 - self.momentum) * batch

    def gradient(self, p: Params, kept: Any, d: Array) -> Params:
        """Return the sums over the batch: of d times the normalized x, and of d."""
        xp, d = array_namespace(d), _by_unit(d)
        return {"gamma": xp.sum(d * kept[0], axis=1), "beta": xp.sum(d, axis=1)}

    def pull(self, p: Params, kept: Any, d: Array) -> Array:
        """Return d through the deviation, the variance and the mean, all functions of x."""
        xp, (normal, root, *_) = array_namespace(d), kept
        units = _by_unit(d)
        along = xp.mean(units * normal, axis=1)
        moved = units - xp.mean(units, axis=1)[:, None]
        moved -= normal * along[:, None]
        moved *= (p["gamma"] / root)[:, None]
        return _as_before(moved, d)


def _by_unit(x: Array) -> Array:
    """Return a batch as (units, numbers): rows turned, a view, or each channel's numbers."""
    if x.ndim == 2:
        return x.T
    return array_namespace(x).reshape(inside(x), (x.shape[1], -1))


def _as_before(units: Array, x: Array) -> Array:
    """Return what `_by_unit` has turned in the shape of `x`."""
    if x.ndim == 2:
        return units.T
    n, c, high, wide = x.shape
    return outside(array_namespace(x).reshape(units, (c, high, wide, n)))
