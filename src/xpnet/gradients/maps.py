"""Checking derivatives of functions that return arrays: vjp and jvp, complex arrays included."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from .. import checks
from ..arrays import Array, Host, array_namespace
from . import trees
from .check import (
    Given,
    Options,
    compared,
    directional,
    given_leaves,
    refuse_ignorant,
)
from .lines import EntryLines, OutputLines
from .pairs import Pair, is_complex, split
from .report import Comparison, GradientReport, report_of
from .sampling import Sampler, on_host, placed_like
from .slopes import find_slopes
from .verdicts import FAILED, GRADIENT_ROUNDING

# Random cotangents or tangents: what one hides by chance, the other shows.
DRAWS = 2


def check_vjp(
    f: Callable[[Any], Any], vjp: Callable[[Any, Any], Any], x: Any, *, rtol: float | None = None,
    atol: float | None = None, seed: int | None = 0, conjugate: bool | None = None,
) -> GradientReport:  # fmt: skip
    """Check the vector-Jacobian product of a function that returns arrays: a backward pass.

    For a random cotangent c, ``vjp(x, c)`` must be the gradient of the sum of c times f. Each of
    its entries is compared as `check_gradient` does, for two cotangents; where one fails, the
    entry of the output that it comes from is looked for and named.

    Parameters
    ----------
    f : callable
        Takes what `x` is and returns an array, or a nesting of arrays, of the same library.
    vjp : callable
        Takes `x` and a cotangent, which has the form of what `f` returns; returns what has the
        form of `x`.
    x : array, number, list of numbers, or any nesting of dicts, lists and tuples of arrays
        Real or complex floating point, all of one library.
    rtol, atol : float, optional
        As for `check_gradient`.
    seed : int, optional
        Of the cotangents.
    conjugate : bool, optional
        How complex cotangents and gradients are meant. True, Torch's way: the differential is
        the real part of conj(gradient) · dx. False, JAX's: that of gradient · dx. None: the way
        of the library of `x` (NumPy, CuPy and array-api-strict: Torch's).

    Returns
    -------
    GradientReport
        Of the entries of `x`; those of a complex array as ``x.real`` and ``x.imag``.

    Raises
    ------
    TypeError, ValueError
        As `check_gradient`.

    Examples
    --------
    >>> import numpy as np
    >>> def forward(x):
    ...     return np.tanh(x)
    >>> def backward(x, d):
    ...     return d * (1 - np.tanh(x) ** 2)
    >>> x = np.asarray([0.5, -1.0])
    >>> check_vjp(forward, backward, x).ok
    True
    >>> report = check_vjp(forward, lambda x, d: d * (1 - np.tanh(x)), x)
    >>> report.verdict
    'failed'
    """
    options = Options.checked(rtol, atol, None, None, seed)
    checks.function(vjp, "vjp")
    pair = Pair(f, x, conjugate)
    rng = np.random.default_rng(seed)
    report = None
    for _ in range(DRAWS):
        cotangent = [pair.drawn(rng, y) for y in pair.outputs]
        sampler, given = _scalar(pair, vjp, cotangent)
        found = compared(sampler, given, options)
        if report is None or not found.ok:
            report = found
        if found.verdict == "failed":
            notes = _outputs_at_fault(pair, vjp, cotangent, found, options)
            report = replace(found, notes=(*found.notes, *notes))
            break
    assert report is not None
    method = f"{DRAWS} random cotangents, {report.method}"
    return replace(report, method=method)


def check_jvp(
    f: Callable[[Any], Any], jvp: Callable[[Any, Any], Any], x: Any, *, rtol: float | None = None,
    atol: float | None = None, seed: int | None = 0,
) -> GradientReport:  # fmt: skip
    """Check the Jacobian-vector product of a function that returns arrays.

    For a random tangent v, ``jvp(x, v)`` must be the derivative of f along v. Each of its entries
    is compared as `check_gradient` does, for two tangents; where one fails, the entry of x that
    it comes from is looked for and named. Second derivatives are checked so: f is the gradient,
    and jvp the product of a Hessian with a vector.

    Parameters
    ----------
    f : callable
        Takes what `x` is and returns an array, or a nesting of arrays, of the same library.
    jvp : callable
        Takes `x` and a tangent, which has the form of `x`; returns what has the form of what `f`
        returns.
    x : array, number, list of numbers, or any nesting of dicts, lists and tuples of arrays
        Real or complex floating point, all of one library.
    rtol, atol : float, optional
        As for `check_gradient`.
    seed : int, optional
        Of the tangents.

    Returns
    -------
    GradientReport
        Of the entries of the output, named y; those of a complex array as ``y.real`` and
        ``y.imag``.

    Raises
    ------
    TypeError, ValueError
        As `check_gradient`.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.asarray([0.5, -1.0])
    >>> check_jvp(np.sin, lambda x, v: np.cos(x) * v, x).ok
    True

    The Hessian of a sum of cubes is a diagonal matrix of 6x:

    >>> check_jvp(lambda x: 3 * x**2, lambda x, v: 6 * x * v, x).ok
    True
    """
    options = Options.checked(rtol, atol, None, None, seed)
    checks.function(jvp, "jvp")
    pair = Pair(f, x, None)
    rng = np.random.default_rng(seed)
    report = None
    for _ in range(DRAWS):
        tangent = [_tangent(rng, a) for a in pair.x.arrays]
        found, wrong = _along_tangent(pair, jvp, tangent, options)
        if report is None or not found.ok:
            report = found
        if wrong is not None:
            notes = _inputs_at_fault(pair, jvp, tangent, wrong, options)
            report = replace(found, notes=(*found.notes, *notes))
            break
    assert report is not None
    return report


# --- vjp -------------------------------------------------------------------------------------


def _scalar(pair: Pair, vjp: Any, cotangent: list[Host]) -> tuple[Sampler, list[Given]]:
    """Return the sum of a cotangent times f, and what vjp says that its gradient is."""
    weights = []
    for c, y in zip(cotangent, pair.outputs, strict=True):
        if is_complex(y):
            weights += [np.real(c), pair.sign * np.imag(c)]
        else:
            weights.append(c)
    placed = [placed_like(y, w) for w, y in zip(weights, pair.y.arrays, strict=True)]

    def f(tree: Any) -> Array:
        parts = pair.value([leaf for _, leaf in trees.leaves(tree)])
        sums = [pair.x.xp.sum(w * part) for w, part in zip(placed, parts, strict=True)]
        return sum(sums[1:], sums[0])

    gradient = vjp(pair.whole.copies(), pair.placed(cotangent))
    return Sampler(f, pair.x), _given_parts(gradient, pair)


def _given_parts(gradient: Any, pair: Pair) -> list[Given]:
    """Return what vjp gave as gradients of the parts of x."""
    found = trees.matched(pair.whole.tree, gradient, "vjp(x, c)")
    parts = []
    for array, leaf in zip(pair.whole.arrays, found, strict=True):
        if is_complex(array) and is_complex(leaf):
            xp = array_namespace(leaf)
            parts += [xp.real(leaf), pair.sign * xp.imag(leaf)]
        elif is_complex(array):
            raise TypeError(f"vjp(x, c) must be complex where x is, not {leaf.dtype}")
        else:
            parts.append(leaf)
    tree = trees.rebuilt(pair.x.tree, parts)
    return given_leaves(tree, pair.x.tree, pair.x, "vjp(x, c)")


def _outputs_at_fault(
    pair: Pair, vjp: Any, cotangent: list[Host], report: GradientReport, options: Options
) -> list[str]:
    """Halve a cotangent until one entry of the output is left with which an entry of x fails."""
    label = next(name for name, row in report.parameters.items() if row.failed)
    leaf = pair.x.labels.index(label)
    worst = report.parameters[label].worst
    if worst is None or worst.index is None:
        return []
    unit = np.zeros(tuple(pair.x.arrays[leaf].shape))
    unit[worst.index] = max(1.0, abs(float(on_host(pair.x.arrays[leaf])[worst.index])))
    flat = np.concatenate([c.ravel() for c in cotangent])
    start, stop = 0, flat.size

    def entry(start: int, stop: int) -> Any:
        cut = np.zeros_like(flat)
        cut[start:stop] = flat[start:stop]
        ends = np.cumsum([c.size for c in cotangent])[:-1]
        parts = [p.reshape(c.shape) for p, c in zip(np.split(cut, ends), cotangent, strict=True)]
        sampler, given = _scalar(pair, vjp, parts)
        value = sampler.here()
        lines = EntryLines(sampler, leaf, value, [])
        slopes, slope = directional(lines, unit[None, ...], given[leaf], options)
        return slopes, float(slope[0]) / unit[worst.index]

    while stop - start > 1:
        middle = (start + stop) // 2
        for half in ((start, middle), (middle, stop)):
            if entry(*half)[0].verdict[0] == FAILED:
                break
        else:
            return []
        start, stop = half
    slopes, slope = entry(start, stop)
    name = _named(start, cotangent, [trees.label(p, "y") for p, _ in trees.leaves(pair.y_tree)])
    at = f"{label}{list(worst.index)}" if worst.index else label
    if np.iscomplexobj(flat):
        return [f"what {name} gives to {at} is wrong"]
    found = float(slopes.slope[0]) / unit[worst.index]
    return [
        f"the derivative of {name} by {at}: vjp gives {slope / flat[start]:.6g}, differences "
        f"{found / flat[start]:.6g}"
    ]


def _named(position: int, parts: Sequence[Any], labels: list[str]) -> str:
    """Name an entry of arrays by its place among all of them."""
    for part, label in zip(parts, labels, strict=True):
        shape = tuple(part.shape)
        size = math.prod(shape)
        if position < size:
            index = np.unravel_index(position, shape)
            return f"{label}{list(map(int, index))}" if shape else label
        position -= size
    raise IndexError(position)


# --- jvp -------------------------------------------------------------------------------------


def _tangent(rng: np.random.Generator, x: Array) -> Host:
    """Return a random tangent on the host: powers of two, so that moves along it are exact."""
    host = on_host(x)
    signs = rng.choice([-1.0, 1.0], size=host.shape)
    return np.asarray(signs * 2.0 ** np.round(np.log2(np.fmax(np.abs(host), 1.0))))


def _given_tangent(pair: Pair, jvp: Any, tangent: list[Host]) -> list[Any]:
    """Return what jvp gives for a tangent, as gradients of the parts of the output."""
    placed = [placed_like(a, v) for a, v in zip(pair.x.arrays, tangent, strict=True)]
    found = trees.with_arrays(jvp(pair.whole.copies(), pair.argument(placed)))
    parts = [split(leaf) for leaf in trees.matched(pair.y_tree, found, "jvp(x, v)")]
    ordered = [part for tree in parts for _, part in trees.leaves(tree)]
    return given_leaves(trees.rebuilt(pair.y.tree, ordered), pair.y.tree, pair.y, "jvp(x, v)")


def _slopes(pair: Pair, jvp: Any, tangent: list[Host], options: Options) -> tuple[Any, Any]:
    """Measure the slopes of all entries of the output along a tangent, beside those of jvp."""
    given = _given_tangent(pair, jvp, tangent)
    flat = np.concatenate([g.values.ravel() for g in given])
    eps = np.concatenate([np.full(g.values.size, g.eps) for g in given])
    lines = OutputLines(pair, pair.x.arrays, tangent)
    asked = np.where(np.isfinite(flat), flat, 0.0)
    rounding = GRADIENT_ROUNDING * eps * np.abs(asked) + lines.tiny
    slopes = find_slopes(lines, options.wanted(asked, rounding, max(lines.eps, lines.value_eps)))
    slopes.verdict[~np.isfinite(flat)] = FAILED
    return slopes, given


def _along_tangent(
    pair: Pair, jvp: Any, tangent: list[Host], options: Options
) -> tuple[GradientReport, int | None]:
    """Compare along a tangent, and return the number of an entry of the output that failed."""
    first, again = (pair.value(pair.x.arrays) for _ in range(2))
    method = f"{DRAWS} random tangents, every entry of the output by central differences"
    for a, b in zip(first, again, strict=True):
        if not np.array_equal(on_host(a), on_host(b), equal_nan=True):
            method = "f returned different values for the same x"
            return GradientReport("not deterministic", {}, (), method, {}), None
        if not np.all(np.isfinite(on_host(a))):
            raise ValueError("f returned NaN or infinity at x")
    slopes, given = _slopes(pair, jvp, tangent, options)
    moves = any(0 not in a.shape for a in pair.x.arrays)
    if moves and not np.any(slopes.slope) and all(np.all(g.values == 0) for g in given):
        probe = Sampler(lambda tree: _total(pair, tree), pair.x)
        refuse_ignorant(probe, probe.here())
    found, start = {}, 0
    for path, g in zip(pair.y.paths, given, strict=True):
        stop = start + g.values.size
        part = slopes.part(slice(start, stop))
        at = np.zeros(g.values.shape)
        found[trees.label(path, "y")] = Comparison.of(g.values, part, at)
        start = stop
    failed = np.flatnonzero(slopes.verdict == FAILED)
    return report_of(found, method), int(failed[0]) if failed.size else None


def _total(pair: Pair, tree: Any) -> Array:
    sums = [pair.x.xp.sum(part) for part in pair.value([leaf for _, leaf in trees.leaves(tree)])]
    return sum(sums[1:], sums[0])


def _inputs_at_fault(
    pair: Pair, jvp: Any, tangent: list[Host], wrong: int, options: Options
) -> list[str]:
    """Halve a tangent until one entry of x is left along which an entry of the output fails."""
    flat = np.concatenate([v.ravel() for v in tangent])
    ends = np.cumsum([v.size for v in tangent])[:-1]

    def along(start: int, stop: int) -> tuple[Any, float]:
        cut = np.zeros_like(flat)
        cut[start:stop] = flat[start:stop]
        parts = [p.reshape(v.shape) for p, v in zip(np.split(cut, ends), tangent, strict=True)]
        slopes, given = _slopes(pair, jvp, parts, options)
        return slopes, float(np.concatenate([g.values.ravel() for g in given])[wrong])

    start, stop = 0, flat.size
    while stop - start > 1:
        middle = (start + stop) // 2
        for half in ((start, middle), (middle, stop)):
            if along(*half)[0].verdict[wrong] == FAILED:
                break
        else:
            return []
        start, stop = half
    slopes, given = along(start, stop)
    y = _named(wrong, pair.y.arrays, [trees.label(path, "y") for path in pair.y.paths])
    x = _named(start, tangent, pair.x.labels)
    unit = float(flat[start])
    return [
        f"the derivative of {y} by {x}: jvp gives {given / unit:.6g}, differences "
        f"{float(slopes.slope[wrong]) / unit:.6g}"
    ]
