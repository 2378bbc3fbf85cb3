"""Layers: frozen objects, and pure functions of arrays: each with its backward under its forward.

A layer knows neither its parameters' names in a net nor their values: it is handed a dict of its
own, ``{"W": ..., "b": ...}``. What `forward` keeps is what `gradient` and `pull` need, and nothing
else is remembered. Arrays that a layer is handed are not written to, but for the gradient `d`
that `pull` is handed: it is the caller's temporary.
"""

from __future__ import annotations

import abc
import dataclasses
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from .arrays import Array, Host, Params, array_namespace
from .checks import below_one, finite_number, known, positive_integer
from .functions import ACTIVATIONS, Activation

Shape = tuple[int, ...]

# Standard deviation of the first weights, from a unit's inputs and a layer's outputs.
WEIGHT_INITS: dict[str, Callable[[int, int], float]] = {
    "xavier": lambda n_in, n_out: (2.0 / (n_in + n_out)) ** 0.5,
    "he": lambda n_in, n_out: (2.0 / n_in) ** 0.5,
}


class Layer(abc.ABC):
    """One step on the way from the input to the logits; subclass it to write your own.

    Attributes
    ----------
    penalized : tuple of str
        The parameters whose squares an L2 term sums up.
    rate : float
        Above 0 for a layer whose outputs are dropped with this probability while training:
        `forward` is then given a mask.
    """

    penalized: ClassVar[tuple[str, ...]] = ()
    rate: float = 0.0

    @abc.abstractmethod
    def shapes(self, inputs: Shape) -> tuple[dict[str, Shape], Shape]:
        """Return the shapes of the parameters by name, and that of the output.

        Parameters
        ----------
        inputs : tuple of int
            The shape of the input, without the batch, as all shapes here.
        """

    def first(self, inputs: Shape, rng: np.random.Generator) -> dict[str, Host]:
        """Return the values with which the parameters begin, drawn on the host in float64."""
        return {}

    @abc.abstractmethod
    def forward(self, p: Params, x: Array, mask: Array | None = None) -> tuple[Array, Any]:
        """Return the output for a batch, and what the way back needs.

        Parameters
        ----------
        p : dict of arrays
            The layer's own parameters.
        x : array, (n, ...)
        mask : array, of the output's shape, optional
            What the output is multiplied by: dropout's.
        """

    def gradient(self, p: Params, kept: Any, d: Array) -> Params:
        """Return the loss's gradient with respect to the parameters; `d` is that of the output."""
        return {}

    @abc.abstractmethod
    def pull(self, p: Params, kept: Any, d: Array) -> Array:
        """Return the loss's gradient with respect to the input; may write to `d`."""


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
    weight_init: str | float = "xavier"
    by_columns: bool = dataclasses.field(default=False, repr=False)
    penalized: ClassVar[tuple[str, ...]] = ("W",)

    def __post_init__(self) -> None:
        positive_integer(self.units, "units")
        checked_weight_init(self.weight_init)

    def shapes(self, inputs: Shape) -> tuple[dict[str, Shape], Shape]:
        """Return the shapes of W and b, and of the output."""
        return {"W": (math.prod(inputs), self.units), "b": (self.units,)}, (self.units,)

    def first(self, inputs: Shape, rng: np.random.Generator) -> dict[str, Host]:
        """Return the values with which W and b begin."""
        shape = math.prod(inputs), self.units
        if isinstance(self.weight_init, str):
            deviation = WEIGHT_INITS[self.weight_init](*shape)
        else:
            deviation = self.weight_init
        return {"W": rng.standard_normal(shape) * deviation, "b": np.zeros(self.units)}

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
        # A product with one column is slow in BLAS, and slowest in NumPy's.
        d = d @ w if w.shape[0] > 1 else d * w
        return d if shape is None else array_namespace(d).reshape(d, shape)


@dataclass(frozen=True)
class Elementwise(Layer):
    """An activation, applied to each number.

    Parameters
    ----------
    function : Activation

    Examples
    --------
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


# One row is all that a kind of layer needs: files name it so, and the tests read the table.
# Activations are layers too, by the names of their own table.
LAYERS: dict[str, type[Layer]] = {"Affine": Affine, "Dropout": Dropout}


def layer_of(entry: Any) -> Layer:
    """Return an entry of a net's list as a layer: a layer, an activation, or the name of one."""
    if isinstance(entry, Layer):
        return entry
    if isinstance(entry, Activation):
        return Elementwise(entry)
    if isinstance(entry, str):
        return Elementwise(known(ACTIVATIONS, entry, "activation"))
    raise TypeError(
        "every entry of layers must be a layer of xpnet.layers, an activation or its name, not "
        f"{type(entry).__name__}"
    )


def checked_weight_init(weight_init: str | float) -> str | float:
    """Return how weights begin, a name or a standard deviation as a float; or raise."""
    if isinstance(weight_init, str):
        known(WEIGHT_INITS, weight_init, "weight_init")
        return weight_init
    return finite_number(weight_init, "weight_init", minimum=0.0)
