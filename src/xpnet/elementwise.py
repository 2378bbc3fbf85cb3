"""The arithmetic of the newer activations: each forward, and its derivative from x and y.

Nothing here checks its argument or writes to it, and no finite input overflows on the way. The
public functions stand in `activations`; nets take these, by the table in `functions`.
"""

from __future__ import annotations

import math

from array_api_compat import device

from .arrays import Array, array_namespace, epsilon

# The slope of the leaky ReLU below 0.
LEAK = 0.01
# Where the normal distribution's tail is below every float64, and the tanh form's too.
FAR = 40.0
# The tanh form of GELU is x σ(2u) with u = √(2/π) (x + 0.044715 x³).
LINEAR = 2.0 * math.sqrt(2.0 / math.pi)
CUBIC = 0.044715 * LINEAR


def _same(x: Array, value: float) -> Array:
    """Return a row of one value: for Torch a number would be copied to the device each time."""
    return array_namespace(x).full(x.shape[-1:], value, dtype=x.dtype, device=device(x))


def _logistic(x: Array, small: Array) -> Array:
    """Return σ(x), where `small` is exp(-|x|)."""
    xp = array_namespace(x)
    return xp.where(x > 0, xp.ones_like(x), small) / (1.0 + small)


def _decay(x: Array) -> Array:
    xp = array_namespace(x)
    return xp.exp(-xp.abs(x))


# --- leaky ReLU and ELU ------------------------------------------------------------------------


def leaky_relu(x: Array) -> Array:
    """Return x above 0, else a hundredth of it."""
    return array_namespace(x).maximum(x, LEAK * x)


def leaky_relu_derivative(x: Array, y: Array) -> Array:
    """Return 1 above 0, else a hundredth."""
    xp = array_namespace(y)
    return xp.maximum(xp.astype(y > 0, y.dtype), _same(y, LEAK))


def elu(x: Array) -> Array:
    """Return x above 0, else e^x - 1."""
    xp, zero = array_namespace(x), _same(x, 0.0)
    return xp.maximum(x, zero) + xp.expm1(xp.minimum(x, zero))


def elu_derivative(x: Array, y: Array) -> Array:
    """Return 1 above 0, else e^x."""
    # Below 0, where y = e^x - 1, it is y + 1.
    return array_namespace(y).minimum(y, _same(y, 0.0)) + 1.0


# --- what the logistic function is a part of ---------------------------------------------------


def softplus(x: Array) -> Array:
    """Return log(1 + e^x)."""
    xp = array_namespace(x)
    return xp.maximum(x, _same(x, 0.0)) + xp.log1p(_decay(x))


def softplus_derivative(x: Array, y: Array) -> Array:
    """Return σ(x)."""
    # y = log(1 + e^x), so that σ(x) = 1 - e^-y.
    return -array_namespace(y).expm1(-y)


def silu(x: Array) -> Array:
    """Return x σ(x)."""
    return x * _logistic(x, _decay(x))


def silu_derivative(x: Array, y: Array) -> Array:
    """Return σ(x) + x σ(x) (1 - σ(x))."""
    # σ (1 - σ) = e / (1 + e)² with e = exp(-|x|).
    small = _decay(x)
    return _logistic(x, small) + x * small / (1.0 + small) ** 2


def _bent(x: Array) -> Array:
    """Return x between -FAR and FAR: what lies further is as good as there, and x³ is finite."""
    xp = array_namespace(x)
    return xp.maximum(xp.minimum(x, _same(x, FAR)), _same(x, -FAR))


def gelu_tanh(x: Array) -> Array:
    """Return x (1 + tanh(√(2/π) (x + 0.044715 x³))) / 2."""
    z = _bent(x)
    u = z * (LINEAR + CUBIC * z * z)  # (1 + tanh(u / 2)) / 2 = σ(u), without the cancellation
    return x * _logistic(u, _decay(u))


def gelu_tanh_derivative(x: Array, y: Array) -> Array:
    """Return the derivative of `gelu_tanh`."""
    # σ(u) + x u' σ(u) (1 - σ(u)), as for SiLU.
    z = _bent(x)
    square = z * z
    u = z * (LINEAR + CUBIC * square)
    small = _decay(u)
    return _logistic(u, small) + z * (LINEAR + 3.0 * CUBIC * square) * small / (1.0 + small) ** 2


# --- what the normal distribution is a part of -------------------------------------------------

# The tail of the normal distribution is Q(x) = erfc(x / √2) / 2 = exp(-x²/2) P(t) / (x + 4) for
# x ≥ 0, with t = (x - 4) / (x + 4) in [-1, 1). P is smooth up to t = 1, where it is 1 / √(2π),
# because x Q(x) exp(x²/2) tends to that. The coefficients, from the highest power of t to the
# constant, are of P's Chebyshev series, found from 80 nodes in 50 digits (mpmath), cut off and
# then written in powers of t. They are off by less than half an eps: of degree 24 by 8e-17 of P
# at most, of degree 11 by 2e-9, which is for float32. Their evaluation rounds to a few eps.
CENTRE = 4.0
TAIL_FLOAT64 = (
    3.403312308649495e-10, -1.1997782031253095e-10, -3.73064508186837e-09,
    -5.873626764987191e-10, 2.1427603843452355e-08, 1.7844927772981415e-08,
    -8.686647015997893e-08, -1.597739614223922e-07, 2.7246296951145873e-07,
    1.0247851016552774e-06, -6.298367338492369e-07, -5.921611045923978e-06,
    7.166587641195121e-07, 3.514511190283765e-05, -1.908246351414571e-06,
    -0.00023109501736277426, 0.00013334430941183256, 0.0016308184674099085,
    -0.0034796923670479736, -0.007540188967386312, 0.060396574890917876,
    -0.1865218579596366, 0.3871374007422149, -0.6078966419718923, 0.7552851304157515,
)  # fmt: skip
TAIL_FLOAT32 = (
    2.118298425522466e-05, -1.7310823014754179e-06, -0.0002155737762864521,
    0.00013365338709444132, 0.0016220401055284282, -0.0034799546374434, -0.007537717159683632,
    0.060396648278004936, -0.1865221598399514, 0.38713739385984314, -0.6078966313662241,
    0.7552851305166057,
)  # fmt: skip


def normal_tail(x: Array) -> Array:
    """Return the normal distribution's tail beyond |x|: erfc(|x| / √2) / 2.

    The array API has no error function. Where GELU is small, (1 + erf(x / √2)) / 2 would lose
    all its digits to cancellation; this keeps them: its relative error is a few eps, and x²/2
    of the rounding of x² in the exponential.
    """
    xp = array_namespace(x)
    z = xp.minimum(xp.abs(x), _same(x, FAR))
    inverse = 1.0 / (z + CENTRE)
    t = 1.0 - 2.0 * CENTRE * inverse
    highest, *others = TAIL_FLOAT32 if epsilon(x) > 1e-10 else TAIL_FLOAT64
    p = highest * t
    for coefficient in others[:-1]:
        p += coefficient
        p *= t
    p += others[-1]
    p *= inverse
    z *= z
    p *= xp.exp(-0.5 * z)
    return p


def gelu(x: Array) -> Array:
    """Return x Φ(x)."""
    xp, tail = array_namespace(x), normal_tail(x)
    return x * xp.where(x > 0, 1.0 - tail, tail)


def gelu_derivative(x: Array, y: Array) -> Array:
    """Return Φ(x) + x φ(x)."""
    # Φ(x) = y / x, and 1/2 as near to 0 as y may have lost its digits.
    xp = array_namespace(x)
    z, one = xp.minimum(xp.abs(x), _same(x, FAR)), xp.ones_like(x)
    near = z < 1e-30
    density = xp.exp(-0.5 * z * z)
    density *= 1.0 / math.sqrt(2.0 * math.pi)
    density *= x
    return density + xp.where(near, 0.5 * one, y) / xp.where(near, one, x)
