"""The check of a net's gradient, by structured central differences."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from ..arrays import Array, Host, array_namespace, smallest_normal
from . import structured
from .check import given_leaves
from .noise import SAFETY, refuse_reduced_precision
from .report import Comparison, GradientReport, report_of
from .sampling import Argument, on_host
from .verdicts import GRADIENT_ROUNDING

# Of the radius about a kink, one after the other.
FINER = (1.0, 1 / 8, 1 / 64)


def check_point(point: structured.Point, gradient: Any, l2: float) -> GradientReport:
    """Check the gradient of a perceptron at a batch; see `Network.check_gradient`.

    The slope of every G (see `structured`) is measured with two radii. What they differ by is
    the noise of each; a sum over the batch of independent errors has the root of the sum of
    their squares.
    """
    refuse_reduced_precision(point.logits)
    given = given_leaves(gradient, point.params, Argument(point.params))
    values = dict(zip(point.params, (g.values for g in given), strict=True))
    params = {name: on_host(p) for name, p in point.params.items()}
    budgets: dict[int, LayerBudget] = {}  # by layer, from the last to the first
    compared = {}
    for layer in range(point.depth, 0, -1):
        budget = budgets[layer] = LayerBudget(point, layer, budgets.get(layer + 1), params)
        for name in point.names(layer):
            compared[name] = budget.compared(values[name], params[name], l2)
    found = {name: compared[name] for name in params}
    _add_variants(found, [*budgets.values()], l2)
    return report_of(found, "every entry, by structured central differences")


class Slopes(NamedTuple):
    """The slope of every G of a layer, (n, units), and what it may be off by."""

    value: Host
    noise: Host  # a standard deviation
    kink: Host
    flushing: Host

    @property
    def doubt(self) -> Array:
        """What the slope may be off by, kinks aside."""
        return SAFETY * self.noise + self.flushing

    @property
    def steepest(self) -> Array:
        """The largest size that the slope may have."""
        return np.abs(self.value) + self.doubt


class Kinks(NamedTuple):
    """The kinks within reach of every G of a layer, and how far apart they put its slopes."""

    number: Host
    spread: Host


class LayerBudget:
    """What the comparison at one layer may be off by: a property for each source of error.

    Each source begins at the logits, and goes back through one layer after the other. All
    arrays are NumPy's, in float64: (n, units) or, where all units share a number, (n, 1).

    Parameters
    ----------
    point : structured.Point
    layer : int
        Counts from 1.
    following : LayerBudget or None
        Of the next layer; None at the output.
    params : dict of ndarray
        Those of the net, in float64.
    """

    def __init__(
        self, point: structured.Point, layer: int, following: LayerBudget | None,
        params: Mapping[str, Host],
    ) -> None:  # fmt: skip
        self.point, self.layer, self.following = point, layer, following
        self.eps, self.n = point.eps, point.logits.shape[0]
        # Below the smallest normal number nothing has digits, and some libraries flush it to
        # zero: every factor, product and partial sum may lose that much, and all of them the
        # same way.
        self.tiny = smallest_normal(point.logits)
        self.inputs = on_host(point.z[layer - 1])
        if following is not None:
            self.a, self.activation = point.a[layer - 1], point.activations[layer - 1]
            self.weights = params[point.names(layer + 1)[0]]
            # The size of the loss's slope at the layer's outputs. No steeper than this: a slope
            # that was found to be 0 may be as large as its noise.
            slopes, sizes = following.slopes, np.abs(self.weights).T
            self.output_slope = np.abs(slopes.value @ self.weights.T) + slopes.doubt @ sizes
            # And the sum of those at the pre-activations that these lead to.
            self.slope_sum = np.sum(slopes.steepest, axis=1, keepdims=True)

    # --- the layer itself --------------------------------------------------------------------

    @cached_property
    def derivative(self) -> Array:
        """Slope of a hidden layer's activation, by a central difference."""
        forward, h = self.activation.forward, self.eps ** (1 / 3)
        return on_host(forward(self.a + h) - forward(self.a - h)) / (2 * h)

    @cached_property
    def moved_size(self) -> Any:
        """The size that a moved pre-activation is rounded at; no move is added to a logit."""
        if self.following is None:
            return 1.0
        # The sum in the dtype of the net.
        return on_host(1.0 + array_namespace(self.a).abs(self.a))

    @cached_property
    def loss_sizes(self) -> Array:
        """The sizes of the numbers that the loss's slope is the difference of, (n, outputs)."""
        predicted = on_host(self.point.output.link(self.point.logits))
        return np.abs(predicted) + np.abs(on_host(self.point.target))

    # --- the sources of error ----------------------------------------------------------------

    @cached_property
    def gradient_rounding(self) -> Array:
        """Rounding of n times the gradient under test: the logits' gradient, carried backward."""
        if self.following is None:
            # The prediction, the target and their difference are flushed, and what is left,
            # over n.
            return GRADIENT_ROUNDING * self.eps * self.loss_sizes + self.tiny * (4.0 + self.n)
        # Of d @ Wᵀ the weights, the products and the partial sums are flushed; of its product
        # with the derivative, that, its factor, and what is left.
        flushed = self.slope_sum + 2.0 * self.n * self.weights.shape[1]
        carried = self.following.gradient_rounding @ np.abs(self.weights).T + self.tiny * flushed
        return np.abs(self.derivative) * carried + self.tiny * (2.0 * self.output_slope + self.n)

    @cached_property
    def rounding(self) -> Array:
        """√Σ (value · slope)² over all that a move passes: what its rounding does to every G."""
        if self.following is None:
            return np.zeros((self.n, 1))
        return np.hypot(self.following.rounding_passed, self.following.inputs * self.output_slope)

    @cached_property
    def rounding_passed(self) -> Array:
        """The same over this layer's values and all that follow, (n, 1): for the layers before."""
        if self.following is None:
            return np.zeros((self.n, 1))
        outputs, passed = self.following.inputs * self.output_slope, self.following.rounding_passed
        for part in (outputs, self.moved_size * self.slopes.steepest):
            passed = np.hypot(passed, np.hypot.reduce(part, axis=1, keepdims=True))
        return passed

    @cached_property
    def flushing(self) -> Array:
        """What flushing on the way does to every G."""
        if self.following is None:
            return self.flushing_passed
        # Of an activation's change both values, their arguments and the difference; of its
        # products the weights too.
        of_outputs = 5.0 * self.tiny * self.output_slope
        return self.following.flushing_passed + of_outputs + 2.0 * self.tiny * self.slope_sum

    @cached_property
    def flushing_passed(self) -> Array:
        """What flushing in this layer and all that follow does to the G of the layers before."""
        if self.following is None:
            # A loss's change takes some ten operations with each logit, whose factors are at
            # most 1, the prediction or the target.
            return 10.0 * self.tiny * np.sum(1.0 + self.loss_sizes, axis=1, keepdims=True)
        # Every unit changes, as in `flushing`, and behind the layer there are partial sums too.
        of_outputs = np.sum(5.0 * self.tiny * self.output_slope, axis=1, keepdims=True)
        of_sums = 3.0 * self.tiny * len(self.weights) * self.slope_sum
        return self.following.flushing_passed + of_outputs + of_sums

    @cached_property
    def kinks(self) -> list[Kinks]:
        """The kinks that a move passes, and what they may do, within each radius.

        One kink bends a G. Two may hide each other: ReLU(1e-9 - ReLU(δ)) is flat on both sides of
        0 but for 1e-9, where it falls. So each unit is looked at by itself: its slopes on both
        sides, as far away as a move within the radius takes it at most, have its slope at the
        point between them.
        """
        if self.following is None:
            none = np.zeros(self.point.logits.shape)
            return [Kinks(none, none)] * len(FINER)
        found, middle = [], self.following.inputs
        sizes = np.abs(on_host(self.a)) + np.abs(middle)
        for factor, further in zip(FINER, self.following.kinks, strict=True):
            reach = factor * self.eps ** (1 / 3)
            moved = (self.a - reach, self.a + reach)
            low, high = (on_host(self.activation.forward(a)) for a in moved)
            left, right = np.abs(middle - low) / reach, np.abs(high - middle) / reach
            bent = np.abs(high - 2.0 * middle + low) / reach
            # Less is curvature, or the rounding of the moved pre-activation and of the values.
            kinked = bent > 4.0 * reach + 8.0 * self.eps * sizes / reach
            kinked &= not self.activation.smooth
            number = kinked + further.number @ (self.weights != 0.0).T
            spread = np.maximum(left, right) * (further.spread @ np.abs(self.weights).T)
            found.append(Kinks(number, spread + np.where(kinked, self.output_slope * bent, 0.0)))
        return found

    # --- what is measured --------------------------------------------------------------------

    @cached_property
    def slopes(self) -> Slopes:
        """The slope of every G, its noise, its jump at a kink and what flushing does to it.

        Kinks are rare within a small radius, noise is small with a large one: each G takes the
        radius that suits it.
        """
        gain = structured.largest_gain(self.point, self.layer)
        radius = structured.sampling_radius(self.point, self.layer, gain)
        if self.point.smooth_from(self.layer):
            return self._fitted(radius, None)
        pairs = zip(FINER, self.kinks, strict=True)
        best, *others = (self._fitted(factor * radius, near) for factor, near in pairs)
        for other in others:
            better = sum(other[1:]) < sum(best[1:])
            best = Slopes(*(np.where(better, *pair) for pair in zip(other, best, strict=True)))
        return best

    def _fitted(self, radius: Array, kinks: Kinks | None) -> Slopes:
        """Measure the slopes within a radius; None: there are no kinks on the way."""
        found, jumps, evens = [], [], []
        for factor in (1.0, 0.7, 0.5):
            fit = structured.curves(self.point, self.layer, factor * radius)
            r = float(on_host(fit.radius))
            found.append(on_host(fit.odd[0]) / r)
            jumps.append(on_host(fit.bend) / r)
            evens.append(np.max(np.abs(on_host(fit.even)), axis=1))
        slope, jump, r = found[0], np.maximum.reduce(jumps), float(on_host(radius))
        error = np.maximum.reduce(found) - np.minimum.reduce(found)
        # Most samples are at no kink, and the errors of the others stand out. Where nothing moves
        # there is no error to compare with.
        usual = float(np.median(error[error > 0])) if np.any(error) else 0.0
        kinked = jump > 16.0 * usual + 64.0 * self.eps * np.max(np.abs(slope))
        # A kink, or rounding: there is no telling.
        floor = np.where(kinked | (kinks is None), 0.0, jump)
        # About a kink what a slope is off by shrinks with the radius, not with its square: it is
        # twice what half the radius takes away, and the same in all samples that are alike.
        number, spread = kinks or (np.zeros_like(slope), 0.0)
        jump = np.where(kinked | (number > 0), np.maximum(jump, 2.0 * error), 0.0)
        jump = np.maximum(jump, np.where(number > 1, spread, 0.0))
        error = np.where(kinked, 0.0, error)
        # Chance may hide the noise of one G, or of all in a small net: not below the others', and
        # not below the rounding of the moved pre-activation, of all behind it, and of G itself.
        rounded = np.hypot(self.moved_size * slope, self.rounding) + np.maximum.reduce(evens)
        floor = rounded * self.eps / r + floor
        usual = np.hypot.reduce(error, axis=None) / math.sqrt(error.size)
        # The fit from two pairs of G has the weights 8/3 and -1/3.
        flushing = np.broadcast_to(3.0 * self.flushing / r, slope.shape)
        return Slopes(slope, np.hypot(np.hypot(error, usual), floor), jump, flushing)

    def compared(self, given: Host, at: Host, l2: float) -> Comparison:
        """Compare the gradient at the weights, or at the biases, which are weights of the input 1.

        The numerical one is the sum of inputs times slopes, plus L2's.
        """
        slopes, n, shape, is_bias = self.slopes, self.n, at.shape, at.ndim == 1
        inputs, penalty = (np.ones((n, 1)), 0.0) if is_bias else (self.inputs, l2 * at)
        size = np.abs(inputs)
        numerical = (inputs.T @ slopes.value / n).reshape(shape) + penalty
        noise = SAFETY * _root_of_squares(inputs, slopes.noise) / n
        noise = noise + size.T @ (self.gradient_rounding + slopes.flushing) / n
        # Of the sum over the batch, the inputs, products and partial sums; and of L2.
        flushed = np.mean(np.abs(slopes.value), axis=0) + 2.0 * n + 2.0 + l2
        noise = (noise + self.tiny * flushed).reshape(shape)
        noise = noise + 4.0 * self.eps * (np.abs(numerical) + np.abs(penalty))
        kink = (size.T @ slopes.kink / n).reshape(shape)
        return Comparison(given, numerical, noise, kink, at)


def _root_of_squares(inputs: Host, errors: Host) -> Host:
    """√(Σ_n inputs² errors²) for every pair of columns; the squares do not underflow."""
    tops = [np.max(np.abs(part), axis=0) for part in (inputs, errors)]
    tops = [np.where(top > 0, top, 1.0) for top in tops]
    roots = np.sqrt(((inputs / tops[0]) ** 2).T @ (errors / tops[1]) ** 2)
    return np.asarray(tops[0][:, None] * roots * tops[1])


def _add_variants(found: dict[str, Comparison], budgets: list[LayerBudget], l2: float) -> None:
    """Add what a backward pass gives that forgets the activation's derivative at a layer."""
    output, *hidden = budgets
    for missing in range(len(hidden), 0, -1):
        fault = f"the activation's derivative is missing at layer {missing}"
        flow = output.slopes.value
        for budget in hidden:
            flow = flow @ budget.weights.T
            if budget.layer != missing:
                flow = flow * budget.derivative
            if budget.layer <= missing:
                w, b = (found[name] for name in budget.point.names(budget.layer))
                w.variants[fault] = budget.inputs.T @ flow / budget.n + l2 * w.at
                b.variants[fault] = flow.sum(axis=0) / budget.n
