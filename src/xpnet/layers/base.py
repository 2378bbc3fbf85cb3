"""What a layer is: a frozen object, and pure functions of arrays.

A layer knows neither its parameters' names in a net nor their values: it is handed a dict of its
own, ``{"W": ..., "b": ...}``. What `forward` keeps is what `gradient` and `pull` need, and nothing
else is remembered. Arrays that a layer is handed are not written to, but for the gradient `d`
that `pull` is handed: it is the caller's temporary.
"""

from __future__ import annotations

import abc
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from ..arrays import Array, Host, Params
from ..checks import finite_number, known

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
    centers : bool
        Whether the mean over the batch is taken off while training. A bias right before such a
        layer has no effect, and the gradient 0.

    Notes
    -----
    Images are arrays (n, channels, height, width). In memory xpnet's own layers keep the images
    innermost; a layer of your own need not know.
    """

    penalized: ClassVar[tuple[str, ...]] = ()
    rate: float = 0.0
    centers: ClassVar[bool] = False

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

    def first_state(self, inputs: Shape) -> dict[str, Host]:
        """Return what training moves though no gradient does, as it begins; float64."""
        return {}

    def least_rows(self, inputs: Shape) -> int:
        """Return the rows that a batch must have at least while training."""
        return 1

    @abc.abstractmethod
    def forward(self, p: Params, x: Array, mask: Array | None = None) -> tuple[Array, Any]:
        """Return the output for a batch while training, and what the way back needs.

        Parameters
        ----------
        p : dict of arrays
            The layer's own parameters.
        x : array, (n, ...)
        mask : array, of the output's shape, optional
            What the output is multiplied by: dropout's.
        """

    def predict(self, p: Params, s: Params, x: Array) -> Array:
        """Return the output when training is over; `s` is the layer's state.

        As while training, without a mask, where a layer does not say otherwise.
        """
        return self.forward(p, x)[0]

    def move(self, s: Params, kept: Any) -> None:  # noqa: B027
        """Move the state by a batch, with in-place operators on the dict's entries."""

    def gradient(self, p: Params, kept: Any, d: Array) -> Params:
        """Return the loss's gradient with respect to the parameters; `d` is that of the output."""
        return {}

    @abc.abstractmethod
    def pull(self, p: Params, kept: Any, d: Array) -> Array:
        """Return the loss's gradient with respect to the input; may write to `d`."""


def checked_weight_init(weight_init: str | float) -> str | float:
    """Return how weights begin, a name or a standard deviation as a float; or raise."""
    if isinstance(weight_init, str):
        known(WEIGHT_INITS, weight_init, "weight_init")
        return weight_init
    return finite_number(weight_init, "weight_init", minimum=0.0)


def first_weights(
    shape: Shape, weight_init: str | float, n_in: int, n_out: int, rng: np.random.Generator
) -> Host:
    """Return weights as they begin, for units of so many inputs in a layer of so many outputs."""
    if isinstance(weight_init, str):
        weight_init = WEIGHT_INITS[weight_init](n_in, n_out)
    weights: Host = rng.standard_normal(shape) * weight_init
    return weights
