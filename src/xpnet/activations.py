"""The newer activations as public functions, which check their argument.

`functions` has them beside the others. Their arithmetic, which checks nothing, is that of
`elementwise`.
"""

from __future__ import annotations

from . import elementwise
from .arrays import Array, floating_namespace


def leaky_relu(x: Array) -> Array:
    """Leaky rectified linear unit, max(x, 0.01 x), elementwise.

    Maas, Hannun and Ng, *Rectifier nonlinearities improve neural network acoustic models*
    (2013), equation 2.

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
    >>> leaky_relu(np.asarray([-1.0, 2.0]))
    array([-0.01,  2.  ])
    """
    floating_namespace(x)
    return elementwise.leaky_relu(x)


def leaky_relu_grad(x: Array) -> Array:
    """Derivative of the leaky ReLU at the pre-activation `x`: 1 above 0, else 0.01.

    Parameters
    ----------
    x : array, any shape, floating point

    Returns
    -------
    array
        Same shape and dtype. The function has a kink at 0; this is
        the derivative from the left.

    Raises
    ------
    TypeError
        `x` is not an array of a floating-point dtype.

    Examples
    --------
    >>> import numpy as np
    >>> leaky_relu_grad(np.asarray([-1.0, 0.0, 2.0]))
    array([0.01, 0.01, 1.  ])
    """
    floating_namespace(x)
    return elementwise.leaky_relu_derivative(x, elementwise.leaky_relu(x))


def elu(x: Array) -> Array:
    """Exponential linear unit, x above 0, else exp(x) - 1, elementwise.

    Clevert, Unterthiner and Hochreiter, *Fast and accurate deep network learning by exponential
    linear units (ELUs)* (2016), equation 15, with α = 1.

    Parameters
    ----------
    x : array, any shape, floating point

    Returns
    -------
    array
        Same shape and dtype; values of at least -1.

    Raises
    ------
    TypeError
        `x` is not an array of a floating-point dtype.

    Examples
    --------
    >>> import numpy as np
    >>> float(elu(np.asarray(2.0)))
    2.0
    """
    floating_namespace(x)
    return elementwise.elu(x)


def elu_grad(x: Array) -> Array:
    """Derivative of ELU at the pre-activation `x`: 1 above 0, else exp(x).

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
    >>> float(elu_grad(np.asarray(0.0)))
    1.0
    """
    xp = floating_namespace(x)
    # Not y + 1, as a net has it from y: that has no digits far below 0.
    return xp.exp(xp.minimum(x, xp.zeros_like(x)))


def silu(x: Array) -> Array:
    """Sigmoid-weighted linear unit, x σ(x), elementwise; also known as swish.

    Elfwing, Uchibe and Doya, *Sigmoid-weighted linear units for neural network function
    approximation in reinforcement learning* (2018), equation 4; Hendrycks and Gimpel, *Gaussian
    error linear units (GELUs)* (2016), who give it its name.

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
    >>> float(silu(np.asarray(0.0)))
    0.0
    """
    floating_namespace(x)
    return elementwise.silu(x)


def silu_grad(x: Array) -> Array:
    """Derivative of SiLU at the pre-activation `x`: σ(x) + x σ(x) (1 - σ(x)).

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
    >>> float(silu_grad(np.asarray(0.0)))
    0.5
    """
    floating_namespace(x)
    return elementwise.silu_derivative(x, elementwise.silu(x))


def gelu(x: Array) -> Array:
    """Gaussian error linear unit, x Φ(x), elementwise.

    Φ is the distribution function of the standard normal distribution. Its tail keeps its
    relative accuracy for large negative `x`.

    Hendrycks and Gimpel, *Gaussian error linear units (GELUs)* (2016), section 2.

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
    >>> gelu(np.asarray([-1.0, 1.0])).round(6)
    array([-0.158655,  0.841345])
    """
    floating_namespace(x)
    return elementwise.gelu(x)


def gelu_grad(x: Array) -> Array:
    """Derivative of GELU at the pre-activation `x`: Φ(x) + x φ(x), φ the normal density.

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
    >>> float(gelu_grad(np.asarray(0.0)))
    0.5
    """
    floating_namespace(x)
    return elementwise.gelu_derivative(x, elementwise.gelu(x))


def gelu_tanh(x: Array) -> Array:
    """GELU in its approximate form, x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2, elementwise.

    Within 5e-4 of `gelu`.

    Hendrycks and Gimpel, *Gaussian error linear units (GELUs)* (2016), section 2.

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
    >>> gelu_tanh(np.asarray([-1.0, 1.0])).round(6)
    array([-0.158808,  0.841192])
    """
    floating_namespace(x)
    return elementwise.gelu_tanh(x)


def gelu_tanh_grad(x: Array) -> Array:
    """Derivative of the approximate form of GELU at the pre-activation `x`.

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
    >>> float(gelu_tanh_grad(np.asarray(0.0)))
    0.5
    """
    floating_namespace(x)
    return elementwise.gelu_tanh_derivative(x, elementwise.gelu_tanh(x))


def softplus(x: Array) -> Array:
    """Smooth form of ReLU, log(1 + exp(x)), elementwise.

    Dugas et al., *Incorporating second-order functional knowledge for better option pricing*
    (2001), equation 6.

    Parameters
    ----------
    x : array, any shape, floating point

    Returns
    -------
    array
        Same shape and dtype; values of at least 0.

    Raises
    ------
    TypeError
        `x` is not an array of a floating-point dtype.

    Examples
    --------
    >>> import numpy as np
    >>> softplus(np.asarray([0.0, 1000.0])).round(6)
    array([6.93147e-01, 1.00000e+03])
    """
    floating_namespace(x)
    return elementwise.softplus(x)


def softplus_grad(x: Array) -> Array:
    """Derivative of softplus at the pre-activation `x`: the logistic function σ(x).

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
    >>> float(softplus_grad(np.asarray(0.0)))
    0.5
    """
    floating_namespace(x)
    return elementwise.softplus_derivative(x, elementwise.softplus(x))
