"""How much a loss changes when the logits move, without cancellation; what a loss refuses.

`losses` takes all of it over: look for the names there.
"""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from .arrays import Array, array_namespace, floating_namespace, is_array
from .checks import finite_number
from .functions import sigmoid, softmax

P = ParamSpec("P")
R = TypeVar("R")


def checked_loss(loss: Callable[P, R]) -> Callable[P, R]:
    """Refuse arrays that are none, or do not go together; `inspect.unwrap` gives the bare loss."""
    signature = inspect.signature(loss)

    @functools.wraps(loss)
    def checking(*args: P.args, **kwargs: P.kwargs) -> R:
        _refuse_rows(**signature.bind(*args, **kwargs).arguments)
        return loss(*args, **kwargs)

    return checking


def _refuse_rows(logits: Array, target: Array, **others: Any) -> None:
    """Raise where the arguments of a loss are not what its docstring says."""
    xp = floating_namespace(logits, "logits")
    if logits.ndim != 2 or 0 in logits.shape:
        raise ValueError(
            f"logits must have shape (n, outputs), none of them 0; not {tuple(logits.shape)}"
        )
    arrays = {"target": (target, tuple(logits.shape))}
    if "moves" in others:
        moves = others["moves"]
        k = moves.shape[-1] if is_array(moves) and moves.ndim == 3 else "k"
        arrays["moves"] = (moves, (*logits.shape, k))
    if others.get("weights") is not None:
        arrays["weights"] = (others["weights"], (logits.shape[0], 1))
    for name, (array, shape) in arrays.items():
        if floating_namespace(array, name) is not xp:
            came = array_namespace(array).__name__
            raise TypeError(f"{name} is an array of {came}; logits are one of {xp.__name__}")
        if array.dtype != logits.dtype:
            raise TypeError(f"{name} is {array.dtype}; logits are {logits.dtype}")
        if tuple(array.shape) != shape:
            wanted = str(shape).replace("'", "")
            raise ValueError(f"{name} must have shape {wanted}, not {tuple(array.shape)}")
    scale = others.get("scale", 1.0)
    if not is_array(scale):
        finite_number(scale, "scale", minimum=-math.inf)
    elif scale.ndim:
        raise ValueError(f"scale must be a number or 0-d, not of shape {tuple(scale.shape)}")


@checked_loss
def softmax_cross_entropy_change(logits: Array, target: Array, moves: Array) -> Array:
    """Change of each row's `softmax_cross_entropy` when its logits move, without cancellation.

    With p = softmax(a), u_k = Δ_k - Σ_m t_m Δ_m:  loss(a + Δ) - loss(a) = log Σ_k p_k exp(Δ_k)
    - Σ_m t_m Δ_m = log(1 + Σ_k p_k (exp(u_k) - 1)). The losses themselves, large beside their
    difference, never appear; and the u of the label's own class is exactly 0, so that the
    digits remain where p is almost 1 there.

    Parameters
    ----------
    logits : array, (n, classes), floating point
    target : array, (n, classes), same dtype
    moves : array, (n, classes, k), same dtype
        k ways in which each row's logits may move, none by more than about 5: the moves of
        a central difference are small, and e to the power of large ones cancels.

    Returns
    -------
    array, (n, k)

    Examples
    --------
    >>> import numpy as np
    >>> a, t = np.asarray([[0.0, 0.0]]), np.asarray([[1.0, 0.0]])
    >>> softmax_cross_entropy_change(a, t, np.asarray([[[1e-20], [0.0]]]))
    array([[-5.e-21]])
    """
    xp = array_namespace(logits)
    u = moves - target[:, None, :] @ moves
    change = softmax(logits)[:, None, :] @ xp.expm1(u)
    return xp.log1p(change[:, 0, :])


@checked_loss
def sigmoid_cross_entropy_change(logits: Array, target: Array, moves: Array) -> Array:
    """Change of each row's `sigmoid_cross_entropy` when its logits move, without cancellation.

    With p = sigmoid(a): loss(a + Δ) - loss(a) = Σ_k (1 - t_k) log(1 + p_k (exp(Δ_k) - 1))
    + t_k log(1 + (1 - p_k) (exp(-Δ_k) - 1)).

    Parameters
    ----------
    logits : array, (n, labels), floating point
    target : array, (n, labels), same dtype
    moves : array, (n, labels, k), same dtype
        k ways in which each row's logits may move, none by more than about 5: the moves of
        a central difference are small, and e to the power of large ones cancels.

    Returns
    -------
    array, (n, k)

    Examples
    --------
    >>> import numpy as np
    >>> a, t = np.asarray([[0.0]]), np.asarray([[1.0]])
    >>> sigmoid_cross_entropy_change(a, t, np.asarray([[[1e-20]]]))
    array([[-5.e-21]])
    """
    xp = array_namespace(logits)
    up = xp.log1p(sigmoid(logits)[:, :, None] * xp.expm1(moves))
    down = xp.log1p(sigmoid(-logits)[:, :, None] * xp.expm1(-moves))
    change = (1.0 - target)[:, None, :] @ up
    change += target[:, None, :] @ down
    return change[:, 0, :]


@checked_loss
def half_squared_error_change(logits: Array, target: Array, moves: Array) -> Array:
    """Change of each row's `half_squared_error` when its outputs move: Σ_k Δ_k (a_k - t_k + Δ_k/2).

    Parameters
    ----------
    logits : array, (n, outputs), floating point
    target : array, (n, outputs), same dtype
    moves : array, (n, outputs, k), same dtype
        k ways in which each row's outputs may move.

    Returns
    -------
    array, (n, k)

    Examples
    --------
    >>> import numpy as np
    >>> a, t = np.asarray([[3.0]]), np.asarray([[1.0]])
    >>> half_squared_error_change(a, t, np.asarray([[[1e-20]]]))
    array([[2.e-20]])
    """
    xp = array_namespace(logits)
    change = 0.5 * moves
    change += (logits - target)[:, :, None]
    change *= moves
    return xp.sum(change, axis=1)


@checked_loss
def half_poisson_deviance_change(logits: Array, target: Array, moves: Array) -> Array:
    """Change of each row's `half_poisson_deviance`: Σ_k exp(a_k) (exp(Δ_k) - 1) - t_k Δ_k.

    Parameters
    ----------
    logits : array, (n, outputs), floating point
    target : array, (n, outputs), same dtype
    moves : array, (n, outputs, k), same dtype
        k ways in which each row's logits may move, none by so much that its exponential
        overflows.

    Returns
    -------
    array, (n, k)

    Examples
    --------
    >>> import numpy as np
    >>> a, t = np.asarray([[0.0]]), np.asarray([[3.0]])
    >>> half_poisson_deviance_change(a, t, np.asarray([[[1e-20]]]))
    array([[-2.e-20]])
    """
    xp = array_namespace(logits)
    change = xp.exp(logits)[:, :, None] * xp.expm1(moves)
    change -= target[:, :, None] * moves
    return xp.sum(change, axis=1)
