"""Elementwise functions, softmax, and the table of activations.

Every function works on arrays of any library that follows the array API standard, and returns
an array of the same library, device and dtype.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from array_api_compat import device

from . import elementwise
from .activations import (
    elu,
    elu_grad,
    gelu,
    gelu_grad,
    gelu_tanh,
    gelu_tanh_grad,
    leaky_relu,
    leaky_relu_grad,
    silu,
    silu_grad,
    softplus,
    softplus_grad,
)
from .arrays import Array, array_namespace, floating_namespace
from .checks import function, switch

__all__ = [
    "ACTIVATIONS", "Activation",
    "elu", "elu_grad", "gelu", "gelu_grad", "gelu_tanh", "gelu_tanh_grad",
    "identity", "identity_grad", "leaky_relu", "leaky_relu_grad", "relu", "relu_grad",
    "sigmoid", "sigmoid_grad", "silu", "silu_grad", "softmax", "softplus", "softplus_grad",
    "tanh", "tanh_grad",
]  # fmt: skip


def sigmoid(x: Array) -> Array:
    """Logistic function, 1 / (1 + exp(-x)), elementwise.

    Neither overflows nor warns for any finite input, and keeps its relative accuracy for
    large negative ones.

    Parameters
    ----------
    x : array, any shape, floating point

    Returns
    -------
    array
        Same shape and dtype; values in [0, 1].

    Raises
    ------
    TypeError
        `x` is not an array of a floating-point dtype.

    Examples
    --------
    >>> import numpy as np
    >>> sigmoid(np.asarray([0.0, 1000.0]))
    array([0.5, 1. ])
    """
    xp = floating_namespace(x)
    # 1 / (1 + e^-x) above 0, and e^x / (1 + e^x) below, where e^-x may overflow.
    small = xp.exp(-xp.abs(x))
    return xp.where(x > 0, xp.ones_like(x), small) / (1.0 + small)


def _sigmoid(x: Array) -> Array:
    # Where e^-x overflows, 1 / (1 + ∞) = 0 is right all the same.
    y = array_namespace(x).exp(-x)
    y += 1.0
    return 1.0 / y


def sigmoid_grad(x: Array) -> Array:
    """Derivative of the logistic function at the pre-activation `x`: σ(x)·(1 - σ(x)).

    Parameters
    ----------
    x : array, any shape, floating point

    Returns
    -------
    array
        Same shape and dtype; values in [0, 1/4], up to rounding.

    Raises
    ------
    TypeError
        `x` is not an array of a floating-point dtype.

    Examples
    --------
    >>> import numpy as np
    >>> float(sigmoid_grad(np.asarray(0.0)))
    0.25
    """
    xp = floating_namespace(x)
    # e / (1 + e)² with e = exp(-|x|): the same, without the cancellation in 1 - σ.
    small = xp.exp(-xp.abs(x))
    return small / (1.0 + small) ** 2


def relu(x: Array) -> Array:
    """Rectified linear unit, max(x, 0), elementwise; NaN stays NaN.

    Parameters
    ----------
    x : array, any shape, floating point

    Returns
    -------
    array
        Same shape and dtype.

    Raises
    ------
    TypeError
        `x` is not an array of a floating-point dtype.

    Examples
    --------
    >>> import numpy as np
    >>> relu(np.asarray([-1.0, 2.0]))
    array([0., 2.])
    """
    floating_namespace(x)
    return _relu(x)


def _relu(x: Array) -> Array:
    # Not the number 0: for Torch it would become an array, copied to the device each time.
    zero = array_namespace(x).zeros(x.shape[-1:], dtype=x.dtype, device=device(x))
    return array_namespace(x).maximum(x, zero)


def relu_grad(x: Array) -> Array:
    """Derivative of ReLU at the pre-activation `x`: 1 above 0, else 0.

    Parameters
    ----------
    x : array, any shape, floating point

    Returns
    -------
    array
        Same shape and dtype. ReLU has a kink at 0; this is the derivative from the left.

    Raises
    ------
    TypeError
        `x` is not an array of a floating-point dtype.

    Examples
    --------
    >>> import numpy as np
    >>> relu_grad(np.asarray([-1.0, 0.0, 2.0]))
    array([0., 0., 1.])
    """
    xp = floating_namespace(x)
    return xp.astype(x > 0, x.dtype)


def tanh(x: Array) -> Array:
    """Hyperbolic tangent, elementwise.

    Parameters
    ----------
    x : array, any shape, floating point

    Returns
    -------
    array
        Same shape and dtype; values in [-1, 1].

    Raises
    ------
    TypeError
        `x` is not an array of a floating-point dtype.

    Examples
    --------
    >>> import numpy as np
    >>> float(tanh(np.asarray(0.0)))
    0.0
    """
    return floating_namespace(x).tanh(x)


def tanh_grad(x: Array) -> Array:
    """Derivative of the hyperbolic tangent at the pre-activation `x`: 1 - tanh²(x).

    Parameters
    ----------
    x : array, any shape, floating point

    Returns
    -------
    array
        Same shape and dtype; values in [0, 1], up to rounding.

    Raises
    ------
    TypeError
        `x` is not an array of a floating-point dtype.

    Examples
    --------
    >>> import numpy as np
    >>> float(tanh_grad(np.asarray(0.0)))
    1.0
    """
    xp = floating_namespace(x)
    # 4e / (1 + e)² with e = exp(-2|x|): the same without the cancellation in 1 - tanh².
    small = xp.exp(-xp.abs(x))
    small *= small
    return 4.0 * small / (1.0 + small) ** 2


def identity(x: Array) -> Array:
    """Return `x` itself: the activation of a linear layer.

    Parameters
    ----------
    x : array, any shape, floating point

    Returns
    -------
    array
        `x`, not a copy.

    Raises
    ------
    TypeError
        `x` is not an array of a floating-point dtype.

    Examples
    --------
    >>> import numpy as np
    >>> identity(np.asarray([1.5]))
    array([1.5])
    """
    floating_namespace(x)
    return x


def identity_grad(x: Array) -> Array:
    """Derivative of the identity: ones of the shape of `x`.

    Parameters
    ----------
    x : array, any shape, floating point

    Returns
    -------
    array
        Same shape and dtype.

    Raises
    ------
    TypeError
        `x` is not an array of a floating-point dtype.

    Examples
    --------
    >>> import numpy as np
    >>> identity_grad(np.asarray([1.5]))
    array([1.])
    """
    return floating_namespace(x).ones_like(x)


def softmax(x: Array) -> Array:
    """Softmax over the last axis, shifted by the maximum so that it cannot overflow.

    Parameters
    ----------
    x : array, (..., classes), floating point
        1-D, 2-D or any number of leading axes.

    Returns
    -------
    array
        Same shape and dtype; the last axis sums to 1.

    Raises
    ------
    TypeError
        `x` is not an array of a floating-point dtype.
    ValueError
        `x` is 0-d, or has no classes.

    Examples
    --------
    >>> import numpy as np
    >>> softmax(np.asarray([0.0, 0.0]))
    array([0.5, 0.5])
    """
    xp = floating_namespace(x)
    if x.ndim == 0 or x.shape[-1] == 0:
        raise ValueError(f"x must have shape (..., classes) with classes > 0, not {tuple(x.shape)}")
    # Halved, because the difference of two finite numbers can overflow; their halves' cannot.
    y = xp.exp(0.5 * x - 0.5 * xp.max(x, axis=-1, keepdims=True))
    y *= y
    y /= xp.sum(y, axis=-1, keepdims=True)
    return y


@dataclass(frozen=True)
class Activation:
    """An elementwise function of a hidden layer, with its derivative.

    Parameters
    ----------
    name : str
        Shown in reports.
    forward : callable
        ``forward(x)``: the output at the pre-activation `x`, elementwise, same shape and dtype.
        It must not write to `x`.
    derivative : callable
        ``derivative(x, y)``: the derivative at `x`, where ``y = forward(x)`` is already known.
        It must write to neither.
    smooth : bool
        False where the derivative jumps somewhere, as ReLU's does at 0, or has a kink there, as
        ELU's does: central differences then keep close to the point.

    Examples
    --------
    An activation of your own:

    >>> import xpnet
    >>> from xpnet.functions import Activation, sigmoid
    >>> scaled = Activation(
    ...     "scaled sigmoid",
    ...     lambda x: 2.0 * sigmoid(x),
    ...     lambda x, y: y - 0.5 * y * y,
    ... )
    >>> net = xpnet.MLP([4, 3, 2], activation=scaled, seed=0)
    """

    name: str
    forward: Callable[[Array], Array]
    derivative: Callable[[Array, Array], Array]
    smooth: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"name must be a string, not {type(self.name).__name__}")
        function(self.forward, "forward")
        function(self.derivative, "derivative")
        switch(self.smooth, "smooth")


def _sigmoid_derivative(x: Array, y: Array) -> Array:
    d = 1.0 - y
    d *= y
    return d


def _relu_derivative(x: Array, y: Array) -> Array:
    return array_namespace(y).astype(y > 0, y.dtype)


def _tanh_derivative(x: Array, y: Array) -> Array:
    d = y * y
    d *= -1.0
    d += 1.0
    return d


# One row is all that an activation needs: the nets, the command line and the tests read it.
# The functions in it check nothing: a net's arrays were checked before.
ACTIVATIONS: dict[str, Activation] = {
    row.name: row
    for row in (
        Activation("sigmoid", _sigmoid, _sigmoid_derivative),
        Activation("relu", _relu, _relu_derivative, smooth=False),
        Activation("tanh", lambda x: array_namespace(x).tanh(x), _tanh_derivative),
        Activation("identity", lambda x: x, lambda x, y: array_namespace(x).ones_like(x)),
        Activation("leaky_relu", elementwise.leaky_relu, elementwise.leaky_relu_derivative,
                   smooth=False),
        Activation("elu", elementwise.elu, elementwise.elu_derivative, smooth=False),
        Activation("silu", elementwise.silu, elementwise.silu_derivative),
        Activation("gelu", elementwise.gelu, elementwise.gelu_derivative),
        Activation("gelu_tanh", elementwise.gelu_tanh, elementwise.gelu_tanh_derivative),
        Activation("softplus", elementwise.softplus, elementwise.softplus_derivative),
    )
}
