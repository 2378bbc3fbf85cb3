"""Check a gradient that has nothing to do with nets: a Gaussian process's likelihood.

The negative log marginal likelihood of a Gaussian process with a squared-exponential kernel, and
its gradient with respect to the logarithms of length scale, signal and noise (Rasmussen and
Williams, *Gaussian Processes for Machine Learning*, 2006, equations 2.30 and 5.9). The same
functions run on any library:

    python examples/check_gradient_gp.py          # NumPy
    python examples/check_gradient_gp.py torch    # the same on Torch
"""

import math
import sys

import numpy as np
from array_api_compat import array_namespace

import xpnet


def kernel(points, theta):
    """The covariance, and its derivative with respect to each entry of theta."""
    xp = array_namespace(points)
    length, signal, noise = (xp.exp(theta[i]) for i in range(3))
    distance = (points[:, None] - points[None, :]) ** 2 / length**2
    smooth = signal**2 * xp.exp(-0.5 * distance)
    eye = noise**2 * xp.eye(points.shape[0], dtype=points.dtype)
    return smooth + eye, [smooth * distance, 2 * smooth, 2 * eye]


def negative_log_likelihood(points, values, theta):
    xp = array_namespace(points)
    covariance, _ = kernel(points, theta)
    root = xp.linalg.cholesky(covariance)
    weights = xp.linalg.solve(covariance, values[:, None])
    n = points.shape[0]
    log_determinant = 2 * xp.sum(xp.log(xp.linalg.diagonal(root)))
    fit = xp.sum(values[:, None] * weights)
    return 0.5 * (fit + log_determinant + n * math.log(2 * math.pi))


def gradient(points, values, theta):
    xp = array_namespace(points)
    covariance, derivatives = kernel(points, theta)
    weights = xp.linalg.solve(covariance, values[:, None])
    inverse = xp.linalg.inv(covariance)
    # 1/2 tr((K⁻¹ - αα') dK): the trace of a product is a sum of elementwise products.
    outer = inverse - weights @ weights.T
    return xp.stack([0.5 * xp.sum(outer * d) for d in derivatives])


def main(xp="numpy"):
    here = xpnet.place(xp, dtype="float64")
    rng = np.random.default_rng(0)
    host = np.sort(rng.uniform(0, 5, 30))
    points, values = here.floats(host), here.floats(np.sin(host) + 0.1 * rng.normal(size=30))
    theta = here.floats(np.log([0.8, 1.2, 0.2]))

    def f(theta):
        return negative_log_likelihood(points, values, theta)

    right = xpnet.check_gradient(f, lambda theta: gradient(points, values, theta), theta)
    print(right)

    def forgot_the_noise(theta):
        keep = here.floats(np.asarray([1.0, 1.0, 0.0]))
        return keep * gradient(points, values, theta)

    wrong = xpnet.check_gradient(f, forgot_the_noise, theta)
    print(wrong)
    return right, wrong


if __name__ == "__main__":
    main(*sys.argv[1:2])
