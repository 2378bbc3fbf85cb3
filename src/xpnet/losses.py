"""Losses, each fused with the link of its output layer.

For the four outputs here (softmax with cross-entropy, sigmoid with binary cross-entropy,
identity with half the squared error, exp with half the Poisson deviance) the gradient of the mean
loss with respect to the logits is the same: (prediction - target) / n. See Bishop, *Pattern
Recognition and Machine Learning* (2006), section 4.3.6, 'Canonical link functions'.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from inspect import unwrap
from types import ModuleType
from typing import Any

from array_api_compat import device, is_lazy_array

from . import arrays
from .arrays import Array, array_namespace
from .checks import positive_integer
from .functions import sigmoid, softmax
from .loss_changes import (
    checked_loss,
    half_poisson_deviance_change,
    half_squared_error_change,
    sigmoid_cross_entropy_change,
    softmax_cross_entropy_change,
)


def cross_entropy_error(y: Array, t: Array) -> Array:
    """Mean over the batch of -log(y[t] + 1e-7), from probabilities.

    For training, `softmax_cross_entropy` is better: it starts from the logits and needs
    no 1e-7.

    Parameters
    ----------
    y : array, (classes,) or (n, classes), floating point
        Probabilities.
    t : array
        One-hot of y's shape, or class indices: (n,), or 0-d for a 1-D `y`.

    Returns
    -------
    array, 0-d
        The mean, in y's dtype.

    Raises
    ------
    TypeError
        `y` is not floating point, or `t` is not an array of the same library.
    ValueError
        The shapes do not match, the batch is empty, or an index lies outside the classes.
        Looking at the indices waits for the device; where an array has no values yet (JAX),
        such an index makes the result NaN instead.

    Examples
    --------
    >>> import numpy as np
    >>> y = np.asarray([[0.5, 0.5], [0.25, 0.75]])
    >>> round(float(cross_entropy_error(y, np.asarray([0, 1]))), 6)
    0.490414
    """
    xp = arrays.floating_namespace(y, "y")
    if y.ndim not in (1, 2) or 0 in y.shape:
        raise ValueError(
            f"y must have shape (classes,) or (n, classes), none of them 0; not {tuple(y.shape)}"
        )
    if not arrays.is_array(t):
        # A plain number is the index of a single sample, as in the reference.
        if isinstance(t, int) and not isinstance(t, bool) and y.ndim == 1:
            t = xp.asarray(t, device=device(y))
        else:
            raise TypeError(f"t must be an array of {xp.__name__}, not {type(t).__name__}")
    arrays.refuse_other_library(t, xp, "t is", f"one of {arrays.library_of(xp)}, as y is")
    if t.shape == y.shape and arrays.is_kind(xp, t.dtype, ("bool", "integral", "real floating")):
        target = xp.astype(t, y.dtype, copy=False)
    elif t.shape == y.shape[:-1] and arrays.is_kind(xp, t.dtype, "integral"):
        target = one_hot(t, y.shape[-1], y.dtype)
        if not is_lazy_array(target) and xp.any(xp.isnan(target)):
            raise ValueError(f"t has labels outside 0 to {y.shape[-1] - 1}")
    else:
        raise ValueError(
            f"t must be one-hot of y's shape {tuple(y.shape)} or integer class indices of shape "
            f"{tuple(y.shape[:-1])}; it is {t.dtype} of shape {tuple(t.shape)}"
        )
    n = 1 if y.ndim == 1 else y.shape[0]
    return -xp.sum(xp.log(y + 1e-7) * target) / n


def one_hot(labels: Array, classes: int, dtype: Any) -> Array:
    """Turn class indices into one-hot rows; the row of an index outside the classes is NaN.

    Nothing here waits for a device. A gather would: on a GPU it wraps, or reads beyond the
    array, where an index is out of range.

    Parameters
    ----------
    labels : array of integers, any shape
    classes : int
    dtype : dtype
        A floating-point dtype of the labels' library.

    Returns
    -------
    array, ``(*labels.shape, classes)``

    Raises
    ------
    TypeError, ValueError
        `labels` is no array of integers, `classes` not above 0, or `dtype` no such dtype.

    Examples
    --------
    >>> import numpy as np
    >>> one_hot(np.asarray([1, 0]), 2, np.float64)
    array([[0., 1.],
           [1., 0.]])
    """
    arrays.refuse_other_than_array(labels, "labels")
    xp = array_namespace(labels)
    if not arrays.is_kind(xp, labels.dtype, "integral"):
        raise TypeError(f"labels must be an array of integers, not {labels.dtype}")
    if not (dtype == xp.float32 or dtype == xp.float64):
        raise TypeError(f"dtype must be float32 or float64 of {xp.__name__}, not {dtype!r:.100}")
    rows = index_rows(xp, labels, positive_integer(classes, "classes"), dtype)
    return xp.where(xp.any(rows > 0, axis=-1, keepdims=True), rows, xp.nan)


def index_rows(xp: ModuleType, labels: Array, classes: int, dtype: Any) -> Array:
    """`one_hot` for labels that were checked before: an unknown one gives a row of zeros."""
    columns = xp.arange(classes, device=device(labels))
    labels = xp.astype(labels, columns.dtype, copy=False)  # uint8 cannot count to 300
    return xp.astype(labels[..., None] == columns, dtype)


@checked_loss
def softmax_cross_entropy(
    logits: Array, target: Array, scale: Any = 1.0, weights: Array | None = None
) -> tuple[Array, Array]:
    """Mean cross-entropy of the softmax of `logits`, and its gradient.

    loss = mean over rows of log Σ_k exp(a_k) - Σ_k t_k a_k; gradient = (softmax(a) - t) / n.

    Parameters
    ----------
    logits : array, (n, classes), floating point
    target : array, (n, classes), same dtype
        One-hot rows, or probabilities; each row sums to 1.
    scale : float or 0-d array
        Multiplies the gradient, not the loss.
    weights : array, (n, 1), optional
        Of the rows, their mean being 1.

    Returns
    -------
    loss : array, 0-d
    gradient : array, (n, classes)

    Examples
    --------
    >>> import numpy as np
    >>> loss, gradient = softmax_cross_entropy(np.zeros((1, 2)), np.asarray([[1.0, 0.0]]))
    >>> round(float(loss), 6), gradient
    (0.693147, array([[-0.5,  0.5]]))
    """
    xp = array_namespace(logits)
    n = logits.shape[0]
    # Halved, because the difference of two finite logits can overflow; their halves' cannot.
    half = 0.5 * logits
    half -= xp.max(half, axis=-1, keepdims=True)
    y = xp.exp(half)
    y *= y
    total = xp.sum(y, axis=-1, keepdims=True)
    half *= target
    loss = (_total(xp, xp.log(total), weights) - 2.0 * _total(xp, half, weights)) / n
    y /= total
    y -= target
    y *= scale / n
    return loss, _weighted(y, weights)


@checked_loss
def sigmoid_cross_entropy(
    logits: Array, target: Array, scale: Any = 1.0, weights: Array | None = None
) -> tuple[Array, Array]:
    """Binary cross-entropy of the sigmoid of `logits`, and its gradient.

    loss = mean over rows of Σ_k max(a_k, 0) - a_k t_k + ``log(1 + exp(-|a_k|))``, summed over
    the labels; gradient = (sigmoid(a) - t) / n.

    Parameters
    ----------
    logits : array, (n, labels), floating point
    target : array, (n, labels), same dtype
        Values in [0, 1].
    scale : float or 0-d array
        Multiplies the gradient, not the loss.
    weights : array, (n, 1), optional
        Of the rows, their mean being 1.

    Returns
    -------
    loss : array, 0-d
    gradient : array, (n, labels)

    Examples
    --------
    >>> import numpy as np
    >>> loss, gradient = sigmoid_cross_entropy(np.zeros((1, 2)), np.asarray([[1.0, 0.0]]))
    >>> round(float(loss), 6), gradient
    (1.386294, array([[-0.5,  0.5]]))
    """
    xp = array_namespace(logits)
    n = logits.shape[0]
    # In this order: where the two large parts cancel, what is left keeps its digits.
    terms = xp.maximum(logits, xp.zeros_like(logits))
    terms -= logits * target
    small = xp.exp(-xp.abs(logits))
    terms += xp.log1p(small)
    y = xp.where(logits > 0, xp.ones_like(small), small)  # as in `sigmoid`
    y /= 1.0 + small
    y -= target
    y *= scale / n
    return _total(xp, terms, weights) / n, _weighted(y, weights)


@checked_loss
def half_squared_error(
    logits: Array, target: Array, scale: Any = 1.0, weights: Array | None = None
) -> tuple[Array, Array]:
    """Half the squared error, summed over the outputs, mean over the batch; and its gradient.

    loss = 1/(2n) Σ_i Σ_k (a_ik - t_ik)²; gradient = (a - t) / n.

    Parameters
    ----------
    logits : array, (n, outputs), floating point
        The predictions: the link is the identity.
    target : array, (n, outputs), same dtype
    scale : float or 0-d array
        Multiplies the gradient, not the loss.
    weights : array, (n, 1), optional
        Of the rows, their mean being 1.

    Returns
    -------
    loss : array, 0-d
    gradient : array, (n, outputs)

    Examples
    --------
    >>> import numpy as np
    >>> loss, gradient = half_squared_error(np.asarray([[3.0]]), np.asarray([[1.0]]))
    >>> float(loss), gradient
    (2.0, array([[2.]]))
    """
    xp = array_namespace(logits)
    n = logits.shape[0]
    error = logits - target
    loss = _total(xp, error * error, weights) / (2 * n)
    error *= scale / n
    return loss, _weighted(error, weights)


@checked_loss
def half_poisson_deviance(
    logits: Array, target: Array, scale: Any = 1.0, weights: Array | None = None
) -> tuple[Array, Array]:
    """Half the Poisson deviance, summed over the outputs, mean over the batch; and its gradient.

    loss = mean over rows of Σ_k exp(a_k) - t_k + t_k (log t_k - a_k); gradient = (exp(a) - t) / n.

    Parameters
    ----------
    logits : array, (n, outputs), floating point
        Logarithms of the predicted means.
    target : array, (n, outputs), same dtype
        Counts or rates, at least 0.
    scale : float or 0-d array
        Multiplies the gradient, not the loss.
    weights : array, (n, 1), optional
        Of the rows, their mean being 1.

    Returns
    -------
    loss : array, 0-d
    gradient : array, (n, outputs)

    Notes
    -----
    Where exp(a) or t a is too large for the dtype, the loss is infinite, or NaN where both are,
    and NumPy warns of the overflow. Inside nets there is no warning: the predictions and the
    loss are infinite, the gradient infinite or NaN, and `xpnet.fit` raises `NonFiniteLoss`.

    Examples
    --------
    >>> import numpy as np
    >>> loss, gradient = half_poisson_deviance(np.asarray([[0.0]]), np.asarray([[0.0]]))
    >>> float(loss), gradient
    (1.0, array([[1.]]))
    """
    xp = array_namespace(logits)
    n = logits.shape[0]
    error = xp.exp(logits)
    error -= target
    # 0 log 0 = 0, as 0 log 1 is.
    terms = xp.log(target + xp.astype(target == 0, target.dtype))
    terms -= logits
    terms *= target
    terms += error
    loss = _total(xp, terms, weights) / n
    error *= scale / n
    return loss, _weighted(error, weights)


def _total(xp: ModuleType, terms: Array, weights: Array | None) -> Array:
    return xp.sum(terms if weights is None else terms * weights)


def _weighted(gradient: Array, weights: Array | None) -> Array:
    if weights is not None:
        gradient *= weights
    return gradient


@dataclass(frozen=True)
class Output:
    """An output layer: the link from logits to predictions, and the loss that goes with it.

    Parameters
    ----------
    name : str
    link : callable
        From logits to predictions.
    loss : callable
        ``loss(logits, target, scale, weights) -> (value, scale · gradient of the logits)``.
    change : callable
        ``change(logits, target, moves) -> (n, k)``: how each row's loss changes when its logits
        move, `moves` being (n, outputs, k). The mean of `loss` is taken over rows: this is not.
    correct : callable or None
        ``correct(logits, target)``: which rows are predicted right, a boolean array (n,).
        None where predictions are values, not classes.
    lower, upper : float or None
        The bounds of a target's entries.
    sums_to_one : bool
        Whether the rows of a target must sum to 1.
    """

    name: str
    link: Callable[[Array], Array]
    loss: Callable[..., tuple[Array, Array]]
    change: Callable[[Array, Array, Array], Array]
    correct: Callable[[Array, Array], Array] | None = None
    lower: float | None = None
    upper: float | None = None
    sums_to_one: bool = False


def _same_class(logits: Array, target: Array) -> Array:
    xp = array_namespace(logits)
    return xp.argmax(logits, axis=1) == xp.argmax(target, axis=1)


def _same_labels(logits: Array, target: Array) -> Array:
    return array_namespace(logits).all((logits > 0) == (target > 0.5), axis=1)


# One row is all that an output needs: the nets, the command line and the tests read it.
# The losses in it check nothing: a net's arrays were checked before.
OUTPUTS: dict[str, Output] = {
    row.name: row
    for row in (
        Output(
            "softmax", softmax, unwrap(softmax_cross_entropy),
            unwrap(softmax_cross_entropy_change), _same_class, 0.0, 1.0, True,
        ),
        Output(
            "sigmoid", sigmoid, unwrap(sigmoid_cross_entropy),
            unwrap(sigmoid_cross_entropy_change), _same_labels, 0.0, 1.0,
        ),
        Output(
            "identity", lambda logits: logits, unwrap(half_squared_error),
            unwrap(half_squared_error_change),
        ),
        Output(
            "exp", lambda logits: array_namespace(logits).exp(logits),
            unwrap(half_poisson_deviance), unwrap(half_poisson_deviance_change),
            None, 0.0, math.inf,
        ),
    )
}  # fmt: skip
