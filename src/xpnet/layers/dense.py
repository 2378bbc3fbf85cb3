"""Layers of rows of numbers: affine, activations, dropout; backward under forward."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import KW_ONLY, dataclass
from typing import Any, ClassVar

import numpy as np

from ..arrays import Array, Host, Params, array_namespace
from ..checks import below_one, positive_integer
from ..functions import Activation
from .base import Layer, Shape, checked_weight_init, first_weights


@dataclass(frozen=True)
class Affine(Layer):
    """Fully connected layer, y = x W + b; an input of several dimensions is flattened.

    Parameters
    ----------
    units : int
        Outputs.
    weight_init : str or float
        How W begins: "xavier" (variance 2 / (in + out); Glorot and Bengio, 2010), "he" (2 / in;
        He et al., 2015), or the standard deviation. b begins at 0.
    by_columns : bool
        The output lies column by column in memory. A net asks it of the layer that gives its
        logits: their maxima and sums over the few classes then run along the many rows.

    Examples
    --------
    >>> Affine(100).shapes((784,))
    ({'W': (784, 100), 'b': (100,)}, (100,))
    """

    units: int
    _: KW_ONLY
    weight_init: str | float = "xavier"
    by_columns: bool = dataclasses.field(default=False, repr=False)
    penalized: ClassVar[tuple[str, ...]] = ("W",)

    def __post_init__(self) -> None:
        object.__setattr__(self, "units", positive_integer(self.units, "units"))
        checked_weight_init(self.weight_init)

    def shapes(self, inputs: Shape) -> tuple[dict[str, Shape], Shape]:
        """Return the shapes of W and b, and of the output."""
        return {"W": (math.prod(inputs), self.units), "b": (self.units,)}, (self.units,)

    def first(self, inputs: Shape, rng: np.random.Generator) -> dict[str, Host]:
        """Return the values with which W and b begin."""
        shape = math.prod(inputs), self.units
        weights = first_weights(shape, self.weight_init, *shape, rng)
        return {"W": weights, "b": np.zeros(self.units)}

    def forward(self, p: Params, x: Array, mask: Array | None = None) -> tuple[Array, Any]:
        """Return x W + b."""
        shape = None
        if x.ndim != 2:
            shape = x.shape
            x = array_namespace(x).reshape(x, (shape[0], -1))
        w = p["W"]
        y = (w.T @ x.T).T if self.by_columns else x @ w
        y += p["b"]
        return y, (x, shape)

    def gradient(self, p: Params, kept: Any, d: Array) -> Params:
        """Return xᵀ d for W, the sum over the batch for b."""
        # The product the other way round lies in memory as the weights do.
        return {"W": (d.T @ kept[0]).T, "b": array_namespace(d).sum(d, axis=0)}

    def pull(self, p: Params, kept: Any, d: Array) -> Array:
        """Return d Wᵀ."""
        w, shape = p["W"].T, kept[1]
        if shape is not None:  # in memory as images lie, see `windows`
            return array_namespace(d).reshape((p["W"] @ d.T).T, shape)
        # A product with one column is slow in BLAS, and slowest in NumPy's.
        return d @ w if w.shape[0] > 1 else d * w


@dataclass(frozen=True)
class Elementwise(Layer):
    """An activation, applied to each number.

    Parameters
    ----------
    function : Activation

    Examples
    --------
    >>> from xpnet.functions import ACTIVATIONS
    >>> Elementwise(ACTIVATIONS["relu"]).shapes((100,))
    ({}, (100,))
    """

    function: Activation

    def shapes(self, inputs: Shape) -> tuple[dict[str, Shape], Shape]:
        """Return no parameters, and the shape of the input."""
        return {}, inputs

    def forward(self, p: Params, x: Array, mask: Array | None = None) -> tuple[Array, Any]:
        """Return the activation of x, times the mask where there is one."""
        y = self.function.forward(x)
        return (y if mask is None else y * mask), (x, y, mask)

    def pull(self, p: Params, kept: Any, d: Array) -> Array:
        """Return d times the activation's derivative, and times the mask."""
        x, y, mask = kept
        d *= self.function.derivative(x, y)
        if mask is not None:
            d *= mask
        return d


@dataclass(frozen=True)
class Dropout(Layer):
    """While training, each number is 0 with a probability, and the others are scaled up.

    Srivastava et al., *Dropout: a simple way to prevent neural networks from overfitting* (2014).
    The masks are drawn on the host; prediction has none.

    Parameters
    ----------
    rate : float
        The probability, in [0, 1); rounded to a multiple of 2⁻¹⁶. The numbers that are kept are
        divided by 1 - rate.

    Examples
    --------
    >>> Dropout(0.5)
    Dropout(rate=0.5)
    """

    rate: float

    def __post_init__(self) -> None:
        below_one(self.rate, "rate")

    def shapes(self, inputs: Shape) -> tuple[dict[str, Shape], Shape]:
        """Return no parameters, and the shape of the input."""
        return {}, inputs

    def forward(self, p: Params, x: Array, mask: Array | None = None) -> tuple[Array, Any]:
        """Return x times the mask; x itself where there is none."""
        return (x if mask is None else x * mask), mask

    def pull(self, p: Params, kept: Any, d: Array) -> Array:
        """Return d times the mask."""
        if kept is not None:
            d *= kept
        return d


@dataclass(frozen=True)
class Flatten(Layer):
    """Rows of numbers from images, (n, channels · height · width).

    `Affine` does the same by itself; this is for layers of your own that want rows.

    Examples
    --------
    >>> Flatten().shapes((30, 12, 12))
    ({}, (4320,))
    """

    def shapes(self, inputs: Shape) -> tuple[dict[str, Shape], Shape]:
        """Return no parameters, and the shape of a row."""
        return {}, (math.prod(inputs),)

    def forward(self, p: Params, x: Array, mask: Array | None = None) -> tuple[Array, Any]:
        """Return the same numbers in rows."""
        return array_namespace(x).reshape(x, (x.shape[0], -1)), x.shape

    def pull(self, p: Params, kept: Any, d: Array) -> Array:
        """Return the gradient in the shape that the input had."""
        return array_namespace(d).reshape(d, kept)
