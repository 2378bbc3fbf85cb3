"""How much of a difference is rounding: measured about x, not assumed."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from array_api_compat import device

from ..arrays import Array, Host, array_namespace, epsilon

# Noise is a standard deviation; this many of them do not happen by chance.
SAFETY = 6.0
# How far the points lie from each other, in eights: powers of epsilon times the size of an entry.
EXPONENTS = (1.0, 0.5, 0.25)


def measured_noise(
    value_at: Callable[[float, int], float], eps: float
) -> list[tuple[float, float]]:
    """Standard deviations of the rounding of a function (Moré and Wild, 2011).

    From the differences, of orders 4 to 6, of values at nine points so close that what is
    smooth in the function drops out; as close as x can be moved, and wider, where the function
    rounds x itself. Equal values say that the points are too close to see it.

    Parameters
    ----------
    value_at : callable
        Takes a spacing, relative to the entries' size, and how many spacings to go.
    eps : float
        Of x.

    Returns
    -------
    list of (spacing, deviation)
        Relative spacings, growing. What is measured at one holds for moves of several such.

    References
    ----------
    J. J. Moré and S. M. Wild, 'Estimating computational noise', SIAM Journal on Scientific
    Computing 33 (2011), 1292-1314.
    """
    found: list[tuple[float, float]] = []
    for exponent in EXPONENTS:
        if exponent < 0.5 and found:
            break
        spacing = 8.0 * eps**exponent
        values = np.asarray([value_at(spacing, k) for k in range(9)])
        if np.all(np.isfinite(values)) and np.any(values != values[0]):
            found.append((spacing, float(levels(values, 4))))
    return found


def levels(values: Sequence[Host] | Host, first: int) -> Host:
    """Noise in equally spaced values, from their differences of the first order to the sixth.

    `values` has an axis of points, and any others behind it.
    """
    largest = np.zeros(np.asarray(values).shape[1:])
    for k in range(first, 7):
        table, gamma = np.diff(values, k, axis=0), math.factorial(k) ** 2 / math.factorial(2 * k)
        # The root mean square, with no square to overflow.
        root = np.hypot.reduce(table, axis=0) * math.sqrt(gamma / len(table))
        largest = np.fmax(largest, root)
    return largest


def refuse_reduced_precision(x: Array) -> None:
    """Raise RuntimeError where matrix products of x's dtype lose digits on x's device.

    TF32 keeps 10 bits of float32's 23, bfloat16 7: a product with the identity matrix shows it.
    """
    xp = array_namespace(x)
    identity = xp.eye(128, dtype=x.dtype, device=device(x))
    # 12 bits less than the dtype has.
    whole = xp.full_like(identity, 1.0 + 2.0**11 * epsilon(x))
    if bool(xp.any(whole @ identity != whole)):
        raise RuntimeError(
            f"matrix products of {x.dtype} lose digits on this device (TF32 or bfloat16), which "
            "a gradient check would measure: while checking, set your library's precision of "
            "matrix products to 'highest' (forbid TF32), or check in float64"
        )
