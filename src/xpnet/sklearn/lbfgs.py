"""Training an estimator by L-BFGS, on all rows at once."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.optimize
from sklearn.exceptions import ConvergenceWarning

from ..arrays import Params
from ..network.mlp import MLP
from .arrays import Rows
from .nets import INTERRUPTED, check_finite


def minimize(
    net: MLP, rows: Rows, *, max_iter: int, max_fun: int, tol: float, verbose: bool
) -> tuple[int, float, Warning | None]:
    """Minimise the loss of all rows by SciPy's L-BFGS-B, on the host in float64.

    Parameters
    ----------
    net : MLP
        Its parameters are changed in place.
    rows : Rows
    max_iter, max_fun : int
        Iterations and evaluations of the loss, at most.
    tol : float
        The largest entry of the gradient at which it stops.
    verbose : bool
        Print the loss of each iteration.

    Returns
    -------
    iterations : int
    loss : float
        After the last one.
    warning : Warning, optional
        What the user is to be warned of.
    """
    here, weights = net.placement, rows.weights
    w = None if weights is None else net.batch.checked_weights(here.floats(weights), rows.count)
    x, t = net.batch.checked_data(rows.x, rows.t)
    target = net.batch.target_rows(t)

    def loss_and_gradient(vector: np.ndarray) -> tuple[float, np.ndarray]:
        _set_parameters(net, vector)
        with here.quietly():
            loss, gradient = net.backpropagate(net.params, x, target, None, w)
        return float(here.to_host(loss)), _vector(net, gradient)

    start = reached = _vector(net, net.params)
    iterations, last_loss = 0, math.nan

    def after_iteration(intermediate_result: Any) -> None:
        nonlocal reached, iterations, last_loss
        reached, last_loss = intermediate_result.x.copy(), float(intermediate_result.fun)
        iterations += 1
        if verbose:
            print(f"Iteration {iterations}, loss = {last_loss:.8f}")

    try:
        result = scipy.optimize.minimize(
            loss_and_gradient,
            start,
            method="L-BFGS-B",
            jac=True,
            callback=after_iteration,
            options={"maxfun": max_fun, "maxiter": max_iter, "gtol": tol},
        )
    except KeyboardInterrupt:
        _set_parameters(net, reached)  # of the last iteration, not of a step that was being tried
        return iterations, last_loss, UserWarning(INTERRUPTED)
    _set_parameters(net, result.x)
    check_finite(net)
    return min(int(result.nit), max_iter), float(result.fun), _failure(result)


def _failure(result: Any) -> ConvergenceWarning | None:
    if result.status == 0:
        return None
    return ConvergenceWarning(
        f"lbfgs failed to converge after {result.nit} iteration(s) (status={result.status}): "
        f"{result.message}. It may help to increase max_iter, or to scale the data"
    )


def _vector(net: MLP, values: Params) -> np.ndarray:
    """One float64 vector on the host of all parameters, or of their gradient."""
    to_host = net.placement.to_host
    return np.concatenate([to_host(values[key]).ravel() for key in net.params]).astype(np.float64)


def _set_parameters(net: MLP, vector: np.ndarray) -> None:
    """Undo `_vector`."""
    end = 0
    for key, p in net.params.items():
        start, end = end, end + math.prod(p.shape)
        net.params[key] = net.placed(vector[start:end].reshape(tuple(p.shape)))
