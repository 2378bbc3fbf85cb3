"""How much of a difference is rounding."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from array_api_compat import device

from ..arrays import Array, Host, array_namespace, epsilon
from ..backend.table import placement_of
from .numerical import Sampler

# Noise is a standard deviation; this many of them do not happen by chance.
SAFETY = 6.0
# Rounding of the gradient under test, in units of the dtype's epsilon.
GRADIENT_ROUNDING = 16.0


def measured_noise(sampler: Sampler, rng: np.random.Generator) -> float:
    """Standard deviation of the rounding of `f` about x (Moré and Wild, 2011).

    From the differences, of orders 4 to 6, of values at nine points so close that what is
    smooth in f drops out; once as close as x can be moved, once wider, where f rounds x itself.
    """
    value = sampler.at({})
    levels = [0.5 * epsilon(value) * abs(float(value))]
    for exponent in (1.0, 0.5):
        steps: dict[Any, Array] = {}
        for name, x in sampler.arrays.items():
            host = on_host(x)
            u = 8.0 * epsilon(x) ** exponent * rng.uniform(0.5, 1.0, host.shape)
            u *= np.maximum(np.abs(host), 0.1) * np.where(host < 0, -1.0, 1.0)
            steps[name] = placed_like(x, u)
        levels += levels_of(
            [
                float(sampler.at({name: sampler.arrays[name] + k * u for name, u in steps.items()}))
                for k in range(9)
            ],
            4,
        )
    return max(levels)


def levels_of(values: list[float], first: int) -> list[float]:
    """Noise in equally spaced values, from their differences of the first order to the sixth."""
    levels, table = [], np.asarray(values)
    for k in range(1, 7):
        table = np.diff(table)
        if k >= first:
            gamma = math.factorial(k) ** 2 / math.factorial(2 * k)
            # The root mean square, with no square to overflow.
            levels.append(math.sqrt(gamma / table.size) * float(np.hypot.reduce(table)))
    return levels


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


def on_host(x: Array) -> Host:
    """Return an array's values on the host, in float64."""
    return placement_of(x).to_host(x).astype(np.float64)


def placed_like(x: Array, values: Host) -> Array:
    """Return values of the host as an array of x's library, device and dtype."""
    return array_namespace(x).asarray(values, dtype=x.dtype, device=device(x))
