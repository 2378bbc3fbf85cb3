"""The check of a net's gradient, by structured central differences."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ..arrays import Array
from . import structured
from .check import Host, checked_gradient
from .noise import OWN_ROUNDING, SAFETY, refuse_reduced_precision, tiny_of
from .report import GradientReport
from .verdict import Comparison, report_of

# Of the radius about a kink, one after the other.
FINER = (1.0, 1 / 8, 1 / 64)


def check_point(
    point: structured.Point, gradient: Any, l2: float, read: Callable[[Array], Host]
) -> GradientReport:
    """Check the gradient of a net at a batch; see `MLP.check_gradient`.

    The slope of every G (see `structured`) is measured with two radii. What they differ by is
    the noise of each; a sum over the batch of independent errors has the root of the sum of
    their squares.
    """
    refuse_reduced_precision(point.logits)
    params = {name: read(p).astype(np.float64) for name, p in point.params.items()}
    given = checked_gradient(gradient, point.params, "gradient")
    # Below the smallest normal number nothing has digits, and some libraries flush it to zero:
    # every factor, product and partial sum may lose that much, and all of them the same way.
    eps, tiny = structured.epsilon(point), tiny_of(point.logits)
    n = point.logits.shape[0]
    predicted = read(point.output.link(point.logits)).astype(np.float64)
    sizes = np.abs(predicted) + np.abs(read(point.target).astype(np.float64))
    # Rounding of n times the gradient under test: that of the logits' gradient, carried backward.
    # The prediction, the target and their difference are flushed, and what is left, over n.
    own = OWN_ROUNDING * eps * sizes + tiny * (4.0 + n)
    found: dict[str, Comparison] = {}
    slopes: dict[int, Host] = {}
    derivative: dict[int, Host] = {}
    # √Σ (value · slope)² over what comes behind: what its rounding does to the loss.
    behind, doubt = np.zeros((n, 1)), np.zeros((n, 1))
    # What flushing on the way does to every G: a loss's change takes some ten operations with
    # each logit, whose factors are at most 1, the prediction or the target.
    flushed = 10.0 * tiny * np.sum(1.0 + sizes, axis=1, keepdims=True)
    # The kinks on the way from each pre-activation, and what they may do, within each radius.
    kinks = [(np.zeros_like(predicted), np.zeros_like(predicted))] * len(FINER)
    for layer in range(point.depth, 0, -1):
        z = read(point.z[layer - 1]).astype(np.float64)
        if layer < point.depth:
            derivative[layer] = _derivative(point, layer, read)
            weights = params[f"W{layer + 1}"]
            # No steeper than this: a slope that was found to be 0 may be as large as its noise.
            flow = np.abs(slopes[layer + 1] @ weights.T) + doubt @ np.abs(weights).T
            total = np.sum(np.abs(slopes[layer + 1]) + doubt, axis=1, keepdims=True)
            # Of d @ Wᵀ the weights, the products and the partial sums are flushed; of its product
            # with the derivative, that, its factor, and what is left.
            own = own @ np.abs(weights).T + tiny * (total + 2.0 * n * weights.shape[1])
            own = np.abs(derivative[layer]) * own + tiny * (2.0 * flow + n)
        rounded, lost = behind, flushed
        if layer < point.depth:
            # Of an activation's change both values, their arguments and the difference; of its
            # products the weights too, and behind the layer the partial sums.
            outer = 5.0 * tiny * flow
            lost = flushed + outer + 2.0 * tiny * total
            flushed = flushed + np.sum(outer, axis=1, keepdims=True)
            flushed = flushed + 3.0 * tiny * len(weights) * total
            outputs = read(point.z[layer]).astype(np.float64) * flow
            behind = np.hypot(behind, np.hypot.reduce(outputs, axis=1, keepdims=True))
            rounded = np.hypot(rounded, outputs)
            if not point.activation.smooth:
                kinks = [
                    _kinks(point, layer, factor, flow, weights, further, read)
                    for factor, further in zip(FINER, kinks, strict=True)
                ]
        slope, error, jump, lost = _measured(point, layer, rounded, lost, kinks, read)
        slopes[layer], doubt = slope, SAFETY * error + lost
        if layer < point.depth:
            inner = (1.0 + np.abs(read(point.a[layer - 1]))) * (np.abs(slope) + doubt)
            behind = np.hypot(behind, np.hypot.reduce(inner, axis=1, keepdims=True))
        penalty = l2 * params[f"W{layer}"]
        parts: dict[str, tuple[Host, Any]] = {
            f"W{layer}": (z, penalty),
            f"b{layer}": (np.ones((n, 1)), 0.0),
        }
        for name, (inputs, extra) in parts.items():
            shape = given[name].shape
            size = np.abs(inputs)
            numerical = (inputs.T @ slope / n).reshape(shape) + extra
            noise = SAFETY * _root_of_squares(inputs, error) / n + size.T @ (own + lost) / n
            # Of the sum over the batch, the inputs, products and partial sums; and of L2.
            noise = noise + tiny * (np.mean(np.abs(slope), axis=0) + 2.0 * n + 2.0 + l2)
            noise = noise.reshape(shape) + 4.0 * eps * (np.abs(numerical) + np.abs(extra))
            kink = (size.T @ jump / n).reshape(shape)
            found[name] = Comparison(given[name], numerical, noise, kink, shape)
    found = {name: found[name] for name in params}
    method = "every entry, by structured central differences"
    variants = _without_derivative(point, params, slopes[point.depth], derivative, l2, read)
    return report_of(found, params, method, variants)


def _measured(
    point: structured.Point, layer: int, rounded: Host, flushed: Host,
    kinks: Sequence[tuple[Host, Host]], read: Callable[[Array], Host],
) -> tuple[Host, Host, Host, Host]:  # fmt: skip
    """Return slope, its error, its jump at a kink and what flushing does to it, for every G.

    Kinks are rare within a small radius, noise is small with a large one: each G takes the
    radius that suits it.
    """
    gain = structured.largest_gain(point, layer)
    radius = structured.default_radius(point, layer, gain)
    if point.activation.smooth or layer == point.depth:
        return _with_radius(point, layer, radius, rounded, flushed, None, read)
    tried = [
        _with_radius(point, layer, factor * radius, rounded, flushed, near, read)
        for factor, near in zip(FINER, kinks, strict=True)
    ]
    best = tried[0]
    for other in tried[1:]:
        better = sum(other[1:]) < sum(best[1:])
        slope, error, jump, lost = (
            np.where(better, new, old) for new, old in zip(other, best, strict=True)
        )
        best = slope, error, jump, lost
    return best


def _with_radius(
    point: structured.Point, layer: int, radius: Array, rounded: Host, flushed: Host,
    kinks: tuple[Host, Host] | None, read: Callable[[Array], Host],
) -> tuple[Host, Host, Host, Host]:  # fmt: skip
    slopes, jumps, sizes = [], [], []
    for factor in (1.0, 0.7, 0.5):
        fit = structured.curves(point, layer, factor * radius)
        r = float(read(fit.radius))
        slopes.append(read(fit.odd[0]).astype(np.float64) / r)
        jumps.append(read(fit.bend).astype(np.float64) / r)
        sizes.append(np.max(np.abs(read(fit.even).astype(np.float64)), axis=1))
    slope, jump, eps = slopes[0], np.maximum.reduce(jumps), structured.epsilon(point)
    error = np.maximum.reduce(slopes) - np.minimum.reduce(slopes)
    # Most samples are at no kink, and the errors of the others stand out. Where nothing moves
    # there is no error to compare with.
    usual = float(np.median(error[error > 0])) if np.any(error) else 0.0
    least = 64.0 * eps * np.max(np.abs(slope))
    kinked = jump > 16.0 * usual + least
    # A kink, or rounding: there is no telling.
    below = np.where(kinked | (kinks is None), 0.0, jump)
    # About a kink what a slope is off by shrinks with the radius, not with its square: it is twice
    # what half the radius takes away, and the same in all samples that are alike.
    number, spread = kinks or (np.zeros_like(slope), 0.0)
    jump = np.where(kinked | (number > 0), np.maximum(jump, 2.0 * error), 0.0)
    jump = np.maximum(jump, np.where(number > 1, spread, 0.0))
    error = np.where(kinked, 0.0, error)
    # Chance may hide the noise of one G, or of all in a small net: not below the others', and
    # not below the rounding of the moved pre-activation, of all behind it, and of G itself.
    size = 1.0 if layer == point.depth else 1.0 + np.abs(read(point.a[layer - 1]))
    floor = np.hypot(size * slope, rounded) + np.maximum.reduce(sizes)
    floor = floor * eps / float(read(radius)) + below
    usual = np.hypot.reduce(error, axis=None) / math.sqrt(error.size)
    # The fit from two pairs of G has the weights 8/3 and -1/3.
    lost = np.broadcast_to(3.0 * flushed / float(read(radius)), slope.shape)
    return slope, np.hypot(np.hypot(error, usual), floor), jump, lost


def _derivative(point: structured.Point, layer: int, read: Callable[[Array], Host]) -> Host:
    """Slope of the activation at a hidden layer, by a central difference."""
    a = point.a[layer - 1]
    h = structured.epsilon(point) ** (1 / 3)
    rise = point.activation.forward(a + h) - point.activation.forward(a - h)
    slope: Host = read(rise).astype(np.float64) / (2 * h)
    return slope


def _kinks(
    point: structured.Point, layer: int, factor: float, flow: Host, weights: Host,
    further: tuple[Host, Host], read: Callable[[Array], Host],
) -> tuple[Host, Host]:  # fmt: skip
    """Count the kinks within reach of every G, and bound how far apart they put its slopes.

    One kink bends a G. Two may hide each other: ReLU(1e-9 - ReLU(δ)) is flat on both sides of 0
    but for 1e-9, where it falls. So each unit is looked at by itself: its slopes on both sides,
    as far away as a move within the radius takes it at most, have its slope at the point between
    them. `flow` is the size of the loss's slope at the layer's outputs; `weights` and `further`
    are those of the next layer.
    """
    a, eps = point.a[layer - 1], structured.epsilon(point)
    reach = factor * eps ** (1 / 3)
    low, middle, high = (
        read(point.activation.forward(a + move)).astype(np.float64)
        for move in (-reach, 0.0, reach)
    )
    left, right = np.abs(middle - low) / reach, np.abs(high - middle) / reach
    bent = np.abs(high - 2.0 * middle + low) / reach
    # Less is curvature, or the rounding of the moved pre-activation and of the values.
    kinked = bent > 4.0 * reach + 8.0 * eps * (np.abs(read(a)) + np.abs(middle)) / reach
    number, spread = further
    number = kinked + number @ (weights != 0.0).T
    spread = np.maximum(left, right) * (spread @ np.abs(weights).T)
    return number, spread + np.where(kinked, flow * bent, 0.0)


def _root_of_squares(inputs: Host, errors: Host) -> Host:
    """√(Σ_n inputs² errors²) for every pair of columns; the squares do not underflow."""
    tops = [np.max(np.abs(part), axis=0) for part in (inputs, errors)]
    tops = [np.where(top > 0, top, 1.0) for top in tops]
    roots = np.sqrt(((inputs / tops[0]) ** 2).T @ (errors / tops[1]) ** 2)
    return np.asarray(tops[0][:, None] * roots * tops[1])


def _without_derivative(
    point: structured.Point,
    params: Mapping[str, Host],
    d: Host,
    derivative: Mapping[int, Host],
    l2: float,
    read: Callable[[Array], Host],
) -> dict[str, dict[str, Host]]:
    """Return what a backward pass gives that forgets the activation's derivative at a layer."""
    n = len(d)
    variants: dict[str, dict[str, Host]] = {}
    for missing in derivative:
        flow, variant = d, {}
        for layer in range(point.depth - 1, 0, -1):
            flow = flow @ params[f"W{layer + 1}"].T
            if layer != missing:
                flow = flow * derivative[layer]
            if layer <= missing:
                z = read(point.z[layer - 1])
                variant[f"W{layer}"] = z.T @ flow / n + l2 * params[f"W{layer}"]
                variant[f"b{layer}"] = flow.sum(axis=0) / n
        variants[f"the activation's derivative is missing at layer {missing}"] = variant
    return variants
