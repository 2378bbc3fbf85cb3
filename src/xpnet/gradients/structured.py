"""Central differences of a whole net, by its structure.

Moving the weight W[i, j] of a layer by h moves, in sample n, one number only: the pre-activation
a[n, j], by h·z[n, i], where z is the layer's input. (A bias is a weight whose input is 1.) So
all the weights that lead to one unit move along one curve: G[n, j](δ), the change of sample n's
loss when a[n, j] moves by δ. The central difference of the mean loss is

    1/N Σ_n (G[n, j](h·z[n, i]) - G[n, j](-h·z[n, i])) / 2h .

G is computed by going forward from a[n, j]: the activation moves one column, the next affine
layer turns that into a rank-1 update, everything behind is dense; what comes before a[n, j] is
computed once. The output's `change` takes the difference of the losses without cancellation.

Only the odd part of G matters. Within a small interval -r ≤ δ ≤ r it is a polynomial
c_1 δ + c_3 δ³ + ... to the last digit, found from G at a few pairs ±δ, and the sum over n
becomes a matrix product for each power:

    1/N Σ_q h^(2q-2) (z^(2q-1))ᵀ @ c_(2q-1) .

The number of pairs follows from the largest move, so that what is cut off is below the dtype's
rounding. Where G is no such polynomial (a kink of ReLU inside the interval, a step too large),
the direct form is used: G at every ±h·z[n, i].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from array_api_compat import device

from ..arrays import Array, array_namespace, epsilon, item_bytes
from ..functions import Activation
from ..losses import Output

# The largest temporary, in bytes; a few of them exist at a time.
CHUNK_BYTES = 2**20
# More pairs would add rounding faster than they take away truncation.
MOST_PAIRS = 4


@dataclass(frozen=True)
class Point:
    """A net at one batch: what every perturbation shares, computed once.

    Attributes
    ----------
    params : dict of arrays
        Of the layers, one after the other: the weights (in, out), the biases (out,).
    activations : sequence of Activation
        One for each hidden layer.
    output : Output
    logits : array, (n, outputs)
    z : sequence of arrays
        Each layer's input, (n, in).
    a : sequence of arrays
        Each hidden layer's pre-activation, (n, units).
    target : array, (n, outputs)
    """

    params: dict[str, Array]
    activations: Sequence[Activation]
    output: Output
    logits: Array
    z: Sequence[Array]
    a: Sequence[Array]
    target: Array

    @property
    def depth(self) -> int:
        """The number of affine layers."""
        return len(self.z)

    def names(self, layer: int) -> tuple[str, str]:
        """The keys of a layer's weights and biases; layers count from 1."""
        weights, biases = [*self.params][2 * layer - 2 : 2 * layer]
        return weights, biases

    def weights(self, layer: int) -> Array:
        """The weights of a layer; layers count from 1."""
        return self.params[self.names(layer)[0]]

    @property
    def eps(self) -> float:
        """The rounding unit of the net's dtype."""
        return epsilon(self.logits)

    def smooth_from(self, layer: int) -> bool:
        """Whether no activation that a move in this layer passes has a kink; layers count from 1.

        A logit passes none.
        """
        return all(activation.smooth for activation in self.activations[layer - 1 :])

    def units(self, layer: int) -> int:
        """The number of units that an affine layer leads to; layers count from 1."""
        return int(self.weights(layer).shape[1])

    def changes(self, layer: int, moves: Array, start: int, stop: int) -> Array:
        """G: how each row's loss changes when one pre-activation of a layer moves.

        Parameters
        ----------
        layer : int
        moves : array, broadcastable to (n, k, stop - start)
            k moves of each unit from `start` to `stop`, each unit alone.

        Returns
        -------
        array, (n, k, stop - start)
        """
        xp, n, k, width = array_namespace(moves), self.logits.shape[0], moves.shape[1], stop - start
        if layer < self.depth:
            column = self.a[layer - 1][:, None, start:stop] + moves
            moved = self.activations[layer - 1].forward(column) - self.z[layer][:, None, start:stop]
            rows = self.weights(layer + 1)[start:stop, :]
            layer += 1
        else:  # a logit moves by itself
            moved = xp.broadcast_to(moves, (n, k, width))
            identity = xp.eye(self.units(layer), dtype=moves.dtype, device=device(moves))
            rows = identity[start:stop, :]
        # The moved units and the moves lie last: every pass runs over long rows.
        delta = xp.reshape(moved[:, None, ...] * rows.T[:, None, :], (n, rows.shape[1], k * width))
        for i in range(layer, self.depth):
            delta += self.a[i - 1][:, :, None]
            moved = self.activations[i - 1].forward(delta) - self.z[i][:, :, None]
            delta = self.weights(i + 1).T @ moved
        return xp.reshape(self.output.change(self.logits, self.target, delta), (n, k, width))


@dataclass(frozen=True)
class Curves:
    """Every G of a layer: its odd part as a polynomial in y = δ / radius.

    Attributes
    ----------
    radius : array, 0-d
    odd : list of arrays, (n, units)
        The coefficients of y, y³, ...
    even : array, (n, 2, units)
        G(δ) + G(-δ) of the two innermost pairs, δ and 2δ.
    """

    radius: Array
    odd: list[Array]
    even: Array

    @property
    def bend(self) -> Array:
        """How far the even part is from a parabola, (n, units).

        0 up to rounding where G is smooth, the jump of the slope times the radius where it has a
        kink: a parabola has even(2δ) = 4 even(δ), a kink at 0 with the jump J even(δ) = J·δ.
        """
        away = self.even[:, 1, :] - 4.0 * self.even[:, 0, :]
        return 0.5 * len(self.odd) * array_namespace(away).abs(away)


def gradient(
    point: Point, *, scale: Any = None, step: float | None = None,
    read: Callable[[Array], Any] | None = None,
) -> dict[str, Array]:  # fmt: skip
    """Central differences of the mean loss (without L2) for every parameter.

    Parameters
    ----------
    point : Point
    scale : optional
        Multiplies the gradient.
    step : float, optional
        h. None: epsilon's cube root over a move's growth, so that no argument of an activation or
        a loss moves by more than that cube root. Differences are taken without cancellation and
        from a fit, so that only truncation counts: about h²/6. Needs `read`.
    read : callable, optional
        From an array to NumPy; it may wait for the device. With it, units whose G is no
        polynomial within the interval are found, and differenced directly. Without it nothing
        waits: the interval is narrow enough for any weights, and a kink within it is smoothed.

    Returns
    -------
    dict of arrays
        The keys and shapes of ``point.params``.
    """
    factor = (1.0 if scale is None else scale) / point.logits.shape[0]
    found = {}
    for layer in range(1, point.depth + 1):
        z, gain = point.z[layer - 1], largest_gain(point, layer)
        xp = array_namespace(z)
        reach = larger(1.0, xp.max(xp.abs(z)))  # the input of a bias is 1
        h = point.eps ** (1 / 3) / (reach * gain) if step is None else step
        pairs, units = 2, range(point.units(layer))
        if step is not None and read is not None:
            pairs = pairs_for(step * float(read(reach * gain)), point.eps)
        if pairs > MOST_PAIRS:
            sums = _direct(point, layer, h, units)
        else:
            radius = larger(sampling_radius(point, layer, gain), h * reach)
            fit = curves(point, layer, radius, pairs)
            sums = _products(z, fit, h)
            wrong = () if read is None else read(_unfit(fit, point.eps))
            if bad := [j for j, is_wrong in enumerate(wrong) if is_wrong]:
                sums = _replaced(sums, bad, _direct(point, layer, h, bad))
        for key, part in zip(point.names(layer), sums, strict=True):
            part *= factor
            found[key] = part
    return {key: found[key] for key in point.params}


def curves(point: Point, layer: int, radius: Array, pairs: int = 2) -> Curves:
    """Sample every G of a layer at `pairs` pairs ±δ up to `radius`, and fit its odd part."""
    xp, units = array_namespace(point.logits), point.units(layer)
    nodes = xp.arange(1, pairs + 1, dtype=point.logits.dtype, device=device(point.logits))
    nodes *= radius / pairs
    moves = xp.concat([nodes, -nodes])[None, :, None]
    width = _fitting(point, layer, 2 * pairs)
    pieces: list[list[Array]] = []
    for start in range(0, units, width):
        g = point.changes(layer, moves, start, min(start + width, units))
        up, down = g[:, :pairs, :], g[:, pairs:, :]
        even = up[:, :2, :] + down[:, :2, :]
        up = up - down
        odd = [sum(0.5 * c * up[:, k, :] for k, c in enumerate(row)) for row in odd_fit(pairs)]
        pieces.append([*odd, even])
    *odd, even = (xp.concat(list(parts), axis=-1) for parts in zip(*pieces, strict=True))
    return Curves(radius, odd, even)


# --- how far, how many -----------------------------------------------------------------------


def larger(smallest: Any, value: Array) -> Array:
    """Return `value`, or `smallest` where it is less; stays on the device."""
    return array_namespace(value).where(value > smallest, value, smallest)


def largest_gain(point: Point, layer: int) -> Array:
    """Bound, at least 1, of how much a move of a pre-activation grows on its way to the logits.

    For activations whose slope is at most 1: the largest entry of |W| |W'| ... behind it.
    """
    xp = array_namespace(point.logits)
    gain, product = xp.ones_like(point.logits[0, 0]), None
    for i in range(layer + 1, point.depth + 1):
        weights = xp.abs(point.weights(i))
        product = weights if product is None else product @ weights
        gain = larger(gain, xp.max(product))
    return gain


def sampling_radius(point: Point, layer: int, gain: Array) -> Array:
    """Return how far a G is sampled: as far as two pairs determine it to rounding.

    With kinks about, no further than a step of `gradient`.
    """
    return (_limit(2, point.eps) if point.smooth_from(layer) else point.eps ** (1 / 3)) / gain


def pairs_for(largest: float, eps: float) -> int:
    """Return how many pairs ±δ determine a G to rounding, for moves up to `largest`."""
    return next((m for m in range(2, MOST_PAIRS + 1) if largest <= _limit(m, eps)), MOST_PAIRS + 1)


def _limit(pairs: int, eps: float) -> float:
    # m pairs give the odd powers up to 2m - 1, and cut off r^(2m)/4 times a quotient of Taylor
    # coefficients: 2/15 for tanh, less for the other functions here.
    return float((30.0 * eps) ** (1 / (2 * pairs)))


def odd_fit(pairs: int) -> list[list[float]]:
    """Return the matrix from the values of an odd polynomial at k/pairs to its coefficients.

    Lagrange's formula in y²: Σ_k O_k (y / y_k) Π_(i≠k) (y² - y_i²) / (y_k² - y_i²).
    """
    columns = []
    for k in range(1, pairs + 1):
        coefficients = [pairs / k]
        for i in range(1, pairs + 1):
            if i != k:
                square, below = (i / pairs) ** 2, (k * k - i * i) / pairs**2
                up, same = [0.0, *coefficients], [*coefficients, 0.0]
                coefficients = [(u - square * s) / below for u, s in zip(up, same, strict=True)]
        columns.append(coefficients)
    return [list(row) for row in zip(*columns, strict=True)]


def _fitting(point: Point, layer: int, moves: int) -> int:
    """How many units fit into a chunk, each with that many moves, at the widest layer behind."""
    widest = max(point.units(i) for i in range(min(layer + 1, point.depth), point.depth + 1))
    one = item_bytes(point.logits) * moves * int(point.logits.shape[0]) * widest
    return max(1, CHUNK_BYTES // one)


# --- the sums over the batch -----------------------------------------------------------------


def _products(z: Array, fit: Curves, h: Any) -> list[Array]:
    """Σ_n (G(h z) - G(-h z)) / 2h for every weight and bias, by one product for each power."""
    xp, ratio, power = array_namespace(z), h / fit.radius, z
    sums: list[Array] = []
    for q, coefficients in enumerate(fit.odd):
        c = coefficients * (ratio ** (2 * q) / fit.radius)
        if q:
            power = power * (z * z)
        part = [power.T @ c, xp.sum(c, axis=0)]
        sums = [a + b for a, b in zip(sums, part, strict=True)] if sums else part
    return sums


def _direct(point: Point, layer: int, h: Any, units: Sequence[int]) -> list[Array]:
    """Compute the sums of `_products` for some units, from G at every ±h z."""
    z = point.z[layer - 1]
    xp = array_namespace(z)
    z = xp.concat([z, xp.ones_like(z[:, :1])], axis=1)  # a bias is a weight with the input 1
    many = _fitting(point, layer, 2)
    columns = []
    for j in units:
        parts = []
        for start in range(0, z.shape[1], many):
            moves = h * z[:, start : min(start + many, z.shape[1])]
            k = moves.shape[1]
            moves = xp.concat([moves, -moves], axis=1)[:, :, None]
            g = xp.sum(point.changes(layer, moves, j, j + 1)[:, :, 0], axis=0)
            parts.append((g[:k] - g[k:]) / (2.0 * h))
        columns.append(xp.concat(parts))
    sums = xp.stack(columns, axis=1)
    return [sums[:-1, :], sums[-1, :]]


def _unfit(fit: Curves, eps: float) -> Array:
    """Which units have a G that is no polynomial of the order fitted, for some sample.

    The last coefficient of m pairs is of the relative size r^(2m - 2) where that of the first
    one left out, r^(2m), is below rounding.
    """
    xp, pairs = array_namespace(fit.even), len(fit.odd)
    allowed = 8.0 * eps ** ((pairs - 1) / pairs) * xp.max(xp.abs(fit.odd[0]))
    return xp.any(xp.abs(fit.odd[-1]) > allowed, axis=0)


def _replaced(sums: list[Array], units: Sequence[int], new: list[Array]) -> list[Array]:
    """Put the columns of `new` in the places of some units."""
    xp, columns = array_namespace(sums[0]), list(range(sums[1].shape[0]))
    for new_column, j in enumerate(units, start=len(columns)):
        columns[j] = new_column
    index = xp.asarray(columns, device=device(sums[0]))
    pairs = zip(sums, new, strict=True)
    return [xp.take(xp.concat(pair, axis=-1), index, axis=-1) for pair in pairs]
