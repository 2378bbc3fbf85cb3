"""The activations by their papers' formulas, in NumPy's longest float: what tests compare with."""

import math

import numpy as np

LONG = np.longdouble
PI = 4 * np.arctan(LONG(1))


def sigmoid(x):
    with np.errstate(all="ignore"):
        e = np.exp(-np.abs(x))
        return np.where(x < 0, e, 1) / (1 + e)


def sigmoid_grad(x):
    with np.errstate(all="ignore"):
        e = np.exp(-np.abs(x))
        return e / (1 + e) ** 2


def erfc(z):
    """The error function's complement: float64's, corrected for what float64 takes from z."""
    rounded = np.asarray(z, dtype=np.float64)
    value = np.vectorize(math.erfc, otypes=[np.float64])(rounded).astype(LONG)
    with np.errstate(all="ignore"):
        slope = -2 / np.sqrt(PI) * np.exp(-LONG(1) * rounded * rounded)
    return value + np.where(np.abs(z) < 40, slope * (z - rounded), 0)


def normal(x):
    """The distribution function Φ of the normal distribution."""
    return erfc(-x / np.sqrt(LONG(2))) / 2


def density(x):
    with np.errstate(all="ignore"):
        return np.exp(-x * x / 2) / np.sqrt(2 * PI)


def inner(x):
    """u, where the tanh form of GELU is x σ(u); of what is far from 0 it does not matter."""
    x = np.clip(x, -100, 100)
    return 2 * np.sqrt(2 / PI) * (x + LONG("0.044715") * x**3)


def gelu_tanh_grad(x):
    u, z = inner(x), np.clip(x, -100, 100)
    slope = 2 * np.sqrt(2 / PI) * (1 + 3 * LONG("0.044715") * z**2)
    return sigmoid(u) + z * slope * sigmoid_grad(u)


def softplus(x):
    with np.errstate(all="ignore"):
        return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def near(x):
    """x, for the slopes that are constant far from 0, where a product would be 0 times ∞."""
    return np.clip(x, -2000, 2000)


ORACLES = {
    "leaky_relu": lambda x: np.where(x > 0, x, x / 100),
    "leaky_relu_grad": lambda x: np.where(x > 0, 1, LONG(1) / 100),
    "elu": lambda x: np.where(x > 0, x, np.expm1(np.minimum(x, 0))),
    "elu_grad": lambda x: np.exp(np.maximum(np.minimum(x, 0), -2000)),
    "silu": lambda x: x * sigmoid(x),
    "silu_grad": lambda x: sigmoid(x) + near(x) * sigmoid_grad(x),
    "gelu": lambda x: x * normal(x),
    "gelu_grad": lambda x: normal(x) + near(x) * density(near(x)),
    "gelu_tanh": lambda x: x * sigmoid(inner(x)),
    "gelu_tanh_grad": gelu_tanh_grad,
    "softplus": softplus,
    "softplus_grad": sigmoid,
}


def units(name, elementary):
    """How many eps a function of `ORACLES` may be off by, as a function of x and its value there.

    `elementary` are those of an exponential, a logarithm or expm1; each operation adds a half.
    A slope that changes its sign has an absolute error.

    leaky_relu      The factor and the product.
    elu             expm1; as its slope exp.
    softplus        log1p of exp, and the sum. As its slope expm1 of that.
    silu            σ is off by E + 1, the product a half; its slope by that, and σ (1 - σ) |x|,
                    at most 1/4, is off by 2 E + 3.
    gelu            The polynomial and the products of the tail are off by 3.5, exp by E, and as
                    its argument is a rounded square, by x²/4: far to the left that is much. Its
                    slope adds x φ(x), at most 1/4.
    gelu_tanh       u is off by 2.5, and σ(u) by |u| times that on the left.
    """
    e = elementary
    absolute = {"silu_grad": 2 * e + 4, "gelu_grad": 2 * e + 9, "gelu_tanh_grad": 3 * e + 15}
    relative = {
        "leaky_relu": 1, "leaky_relu_grad": 1, "elu": e, "elu_grad": e, "silu": e + 1.5,
        "gelu": e + 6, "gelu_tanh": e + 5, "softplus": 2 * e + 1, "softplus_grad": 3 * e + 1,
    }  # fmt: skip

    def allowed(x, value):
        if name in absolute:
            return absolute[name] + 0 * value
        left = {"gelu": near(x) ** 2 / 4, "gelu_tanh": 2.5 * np.abs(inner(x))}.get(name, 0)
        return (relative[name] + np.where(x < 0, left, 0)) * np.abs(value)

    return allowed
