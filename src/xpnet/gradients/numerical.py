"""Central differences of any scalar function of arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeVar

import numpy as np

from .. import checks
from ..arrays import Array, array_namespace, epsilon
from . import trees
from .check import refuse_edges, refuse_ignorant
from .lines import EntryLines, sampled_noise
from .sampling import MAX_BYTES, Argument, Sampler, on_host, placed_like
from .slopes import find_slopes
from .verdicts import Wanted

Arrays = TypeVar("Arrays")


def numerical_gradient(
    f: Callable[[Arrays], Any], x: Arrays, *, step: float | Literal["auto"] | None = None,
    vectorized: bool = False, max_bytes: int = MAX_BYTES,
) -> Arrays:  # fmt: skip
    """Gradient of a scalar function by central differences, (f(x + h) - f(x - h)) / 2h.

    Two values of `f` for each element of `x`.

    Parameters
    ----------
    f : callable
        Takes what `x` is and returns a scalar: a real floating-point array of one element, of
        the library of `x`, or a Python float. It must compute with its argument, which is a
        copy of its own: `x` itself is never written to.
    x : array, number, list of numbers, or any nesting of dicts, lists and tuples of arrays
        Floating point, all of one library. Numbers and lists of numbers become NumPy arrays of
        float64.
    step : float or "auto", optional
        h. None: the cube root of the dtype's epsilon times ``max(1, |entry|)``, which
        balances truncation (h²) and rounding (epsilon / h) of a function that changes on the
        scale of its argument; see *Numerical Recipes* (3rd edition, 2007), section 5.7. "auto":
        a step is found for each entry, as in `check_gradient`; that takes some 15 values of
        `f` for each, and some 40 where `f` changes on a scale of its own.
    vectorized : bool
        True: `f` takes stacks, each array ``(k, *shape)``, and returns (k,).
    max_bytes : int
        With `vectorized`: bound of the stacks that `f` is handed at once.

    Returns
    -------
    array or nesting of arrays
        The form, shapes, dtype and device of `x`, on no graph.

    Raises
    ------
    TypeError
        `x` is not floating point, or of several libraries; `f` returns something other than a
        real floating-point scalar of the same library.
    ValueError
        `x` has no arrays; `step` is not above 0; `f` returns more than one element; or NaN or
        infinity where an entry is moved; or the same value wherever `x` is moved, because it
        ignores its argument.

    Examples
    --------
    >>> import numpy as np
    >>> numerical_gradient(lambda x: np.sum(x**2), np.asarray([1.0, 2.0])).round(6)
    array([2., 4.])

    All moved copies at once:

    >>> numerical_gradient(
    ...     lambda x: np.sum(x**2, axis=1), np.asarray([1.0, 2.0]), vectorized=True
    ... ).round(6)
    array([2., 4.])
    """
    automatic = isinstance(step, str) and step == "auto"
    plain: Any = None if automatic else step
    if plain is not None:
        plain = checks.finite_number(plain, "step", minimum=0.0, exclusive=True)
    sampler = Sampler(f, Argument(x), vectorized=vectorized, max_bytes=max_bytes)
    found = _found_steps(sampler) if automatic else differences(sampler, plain)
    argument = sampler.x
    parts = [g for g in found if 0 not in g.shape]
    if parts and all(not bool(argument.xp.any(g != 0)) for g in parts):
        refuse_ignorant(sampler, sampler.here())
    else:
        sampler.here()  # a function that sets what it closes over leaves it as it is at x
    gradient: Arrays = trees.rebuilt(argument.tree, found)
    return gradient


def differenced(f: Callable[[Arrays], Any], x: Arrays, step: float | None) -> Arrays:
    """Central differences with a plain step, nothing else asked; see `numerical_gradient`."""
    sampler = Sampler(f, Argument(x))
    found: Arrays = trees.rebuilt(sampler.x.tree, differences(sampler, step))
    return found


def differences(sampler: Sampler, step: float | None) -> list[Array]:
    """Central differences of every array of the argument; see `numerical_gradient`."""
    found = []
    for leaf, x in enumerate(sampler.x.arrays):
        xp, host = array_namespace(x), on_host(x).ravel()
        # In the precision of x: the move that is really taken is what is divided by.
        at = host.astype(np.float32 if epsilon(x) > 1e-10 else np.float64)
        h = np.asarray(entry_steps(np.abs(host), epsilon(x), step), dtype=at.dtype)
        up, down, which = at + h, at - h, np.arange(at.size)
        rise = sampler.entries(leaf, which, up) - sampler.entries(leaf, which, down)
        slopes = rise / (up.astype(np.float64) - down.astype(np.float64))
        for i in np.flatnonzero(~np.isfinite(slopes))[:1]:
            index = list(map(int, np.unravel_index(i, x.shape)))
            entry = f"{trees.written('x', sampler.x.paths[leaf])}{index if index else ''}"
            raise ValueError(
                f"f returned NaN or infinity for {entry} = {float(host[i])!r} moved by the step "
                f'{h[i]:.1e}: give another step=, or step="auto"'
            ) from sampler.error
        found.append(xp.reshape(placed_like(x, slopes), x.shape))
    return found


def entry_steps(size: Any, eps: float, step: float | None) -> Any:
    """Return the step of every entry: `step`, or else the usual one for its size."""
    if step is not None:
        return np.full_like(size, step)
    return eps ** (1 / 3) * np.where(size > 1, size, 1.0)


def _found_steps(sampler: Sampler) -> list[Array]:
    """Slopes by steps that are found for each entry."""
    value, found = sampler.here(), []
    noise = sampled_noise(sampler, np.random.default_rng(0))
    for leaf, x in enumerate(sampler.x.arrays):
        lines = EntryLines(sampler, leaf, value, noise)
        # As good as the dtype gives with steps whose differences agree in two thirds of it.
        slopes = find_slopes(lines, Wanted(rtol=lines.eps ** (2 / 3)))
        refuse_edges(slopes, lines.at, trees.written("x", sampler.x.paths[leaf]), None, sampler)
        found.append(array_namespace(x).reshape(placed_like(x, slopes.slope), x.shape))
    return found
