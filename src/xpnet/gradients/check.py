"""Checking the gradient of any scalar function against central differences."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import arrays
from ..arrays import Host, epsilon
from ..checks import finite_number, positive_integer, seed_or_none
from . import trees
from .lines import DirectionLines, EntryLines, sampled_noise
from .noise import refuse_reduced_precision
from .report import Comparison, Entry, GradientReport, report_of
from .sampling import MAX_BYTES, Argument, Sampler, on_host, placed_like
from .slopes import find_slopes
from .verdicts import FAILED, GRADIENT_ROUNDING, KINK, PASSED, UNCLEAR, Slopes, Wanted


def check_gradient(
    f: Callable[[Any], Any], gradient: Any, x: Any, *, rtol: float | None = None,
    atol: float | None = None, step: float | None = None, directions: int | None = None,
    seed: int | None = 0, vectorized: bool = False, max_bytes: int = MAX_BYTES,
) -> GradientReport:  # fmt: skip
    """Check a gradient of a scalar function against central differences.

    "Passed" means that each entry is right to its own digits. Each derivative is measured with a
    step that is found for it, and comes with an error bound: what two steps differ by, and the
    measured rounding of `f`. A difference beyond the bound is a failure. An entry whose bound is
    more than `rtol` of its own size is inconclusive, whatever the other entries are, and then
    so is the verdict.

    Parameters
    ----------
    f : callable
        Takes what `x` is and returns a scalar, as for `numerical_gradient`. It is handed copies.
    gradient : array, nesting of arrays, or callable
        The gradient under test, with the form and shapes of `x`; or a function of `x` that
        returns it.
    x : array, number, list of numbers, or any nesting of dicts, lists and tuples of arrays
        Floating point, all of one library.
    rtol : float, optional
        Tolerance relative to each entry's own size. Differences within it are accepted, and an
        entry is decided when its error bound is within it. None: only differences within the
        error bound are accepted, and bounds of 1e-3 (float64) or 1e-2 (float32) decide.
    atol : float, optional
        The same, not relative. Entries that are 0 but for rounding need it.
    step : float, optional
        The only step to take. None: one is found for each entry.
    directions : int, optional
        Check so many random directions (signs) for each array instead of every entry; where one
        fails, halve it until the failing entry is found. None checks every entry: four values
        of `f` for each that is smooth on the scale of ``max(1, |entry|)``, some more for others.
    seed : int, optional
        Of the random draws.
    vectorized, max_bytes
        As for `numerical_gradient`.

    Returns
    -------
    GradientReport

    Raises
    ------
    TypeError, ValueError
        As `numerical_gradient`; or `gradient` has another form, other shapes or another library;
        or `f` has no finite value on either side of an entry; or it gives the same value
        everywhere.
    RuntimeError
        Matrix products are computed with reduced precision (TF32) on the device of `x`.

    References
    ----------
    C. J. F. Ridders, 'Accurate computation of F'(x) and F'(x) F''(x)', Advances in Engineering
    Software 4 (1982), 75-76; J. J. Moré and S. M. Wild, 'Estimating computational noise', SIAM
    Journal on Scientific Computing 33 (2011), 1292-1314.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.asarray([1.0, 2.0, 3.0])
    >>> check_gradient(lambda x: np.sum(x**3), lambda x: 3 * x**2, x).ok
    True
    >>> report = check_gradient(lambda x: np.sum(x**3), lambda x: x**2, x)
    >>> report.verdict, report.causes
    ('failed', ('x: too small by the constant factor 3',))
    """
    options = Options.checked(rtol, atol, step, directions, seed)
    sampler = Sampler(f, Argument(x), vectorized=vectorized, max_bytes=max_bytes)
    argument = sampler.x
    for array in argument.arrays:
        refuse_reduced_precision(array)
    given, writes = given_gradient(gradient, x, argument)
    return compared(sampler, given, options, writes)


@dataclass(frozen=True)
class Options:
    """How to check; see `check_gradient`."""

    rtol: float | None
    atol: float | None
    step: float | None
    directions: int | None
    seed: int | None

    @classmethod
    def checked(cls, rtol: Any, atol: Any, step: Any, directions: Any, seed: Any) -> Options:
        """Return the options, or raise where one is none."""
        if rtol is not None:
            rtol = finite_number(rtol, "rtol", minimum=0.0)
        if atol is not None:
            atol = finite_number(atol, "atol", minimum=0.0)
        if step is not None:
            step = finite_number(step, "step", minimum=0.0, exclusive=True)
        if directions is not None:
            directions = positive_integer(directions, "directions")
        return cls(rtol, atol, step, directions, seed_or_none(seed))

    def wanted(self, given: Host, rounding: Any, eps: float) -> Wanted:
        """Return what is asked of slopes in an array of that epsilon."""
        usual = 1e-2 if eps > 1e-10 else 1e-3
        return Wanted(
            given, rounding, usual if self.rtol is None else self.rtol, self.atol or 0.0,
            loose=self.rtol is not None or self.atol is not None, step=self.step,
        )  # fmt: skip


@dataclass(frozen=True)
class Given:
    """A gradient under test at one leaf, on the host, and the epsilon of what came."""

    values: Host
    eps: float


def given_gradient(gradient: Any, x: Any, argument: Argument) -> tuple[list[Given], bool]:
    """Return the gradient under test, leaf by leaf, and whether the function of it writes to x."""
    writes = False
    if callable(gradient):
        copies = argument.copies()
        gradient = gradient(copies)
        before, after = argument.arrays, [leaf for _, leaf in trees.leaves(copies)]
        writes = any(not bool(argument.xp.all(a == b)) for a, b in zip(before, after, strict=True))
    return given_leaves(gradient, x, argument), writes


def given_leaves(gradient: Any, x: Any, argument: Argument, name: str = "gradient") -> list[Given]:
    """Return a tree of arrays like the argument's, leaf by leaf, or raise where it does not fit."""
    found = trees.matched(argument.tree, gradient, name)
    originals = [leaf for _, leaf in trees.leaves(trees.as_written(x))]
    given = []
    for path, point, array, written in zip(
        argument.paths, argument.arrays, found, originals, strict=True
    ):
        what, xp = trees.written(name, path), argument.xp
        if not arrays.is_array(written) and trees.is_numbers(array):
            array = placed_like(point, np.asarray(array))
        arrays.refuse_other_than_array(array, what)
        arrays.refuse_other_library(array, xp, f"{what} is", arrays.library_of(xp))
        if not arrays.is_kind(xp, array.dtype, "real floating"):
            raise TypeError(f"{what} must be a floating-point array, not {array.dtype}")
        if tuple(array.shape) != tuple(point.shape):
            raise ValueError(
                f"{what} has shape {tuple(array.shape)}; expected {tuple(point.shape)}"
            )
        given.append(Given(on_host(array), max(epsilon(array), epsilon(point))))
    return given


def compared(
    sampler: Sampler, given: list[Given], options: Options, writes: bool = False
) -> GradientReport:
    """Compare a gradient with the differences of a function, array by array."""
    argument = sampler.x
    value, again = sampler.here(), sampler.here()
    if not math.isfinite(value):
        raise ValueError(f"f returned {value} at x{_at_fault(argument)}")
    if value != again:
        method = f"f returned {value!r} and then {again!r} for the same x"
        return GradientReport("not deterministic", {}, (), method, {})
    rng = np.random.default_rng(options.seed)
    noise = sampled_noise(sampler, rng)
    method, found = "every entry, by central differences with steps found for each", {}
    if options.step is not None:
        method = f"every entry, by central differences with the step {options.step:g}"
    if options.directions is not None:
        method = "random directions, by central differences"
    moved = False
    for leaf, gradient in enumerate(given):
        lines = EntryLines(sampler, leaf, value, noise)
        if gradient.values.size == 0:
            found[argument.labels[leaf]] = Comparison.nothing(gradient.values)
        elif options.directions is None:
            found[argument.labels[leaf]] = _every_entry(lines, gradient, options)
        else:
            found[argument.labels[leaf]] = _directions(lines, gradient, options, rng)
        moved = moved or lines.moved
    if not moved and any(gradient.values.size for gradient in given):
        refuse_ignorant(sampler, value)
    notes = []
    if sampler.writes:
        notes.append("f writes to its argument: each call was handed copies")
    if writes:
        notes.append("gradient writes to its argument: it was handed copies")
    sampler.here()  # a function that sets what it closes over leaves it as it is at x
    largest = max((sigma for _, sigma in noise), default=0.0)
    return report_of(found, f"{method}; noise of f {largest:.1e}", notes)


def refuse_ignorant(sampler: Sampler, value: float) -> None:
    """Raise where `f` gives the same value wherever x is moved."""
    leaves = sampler.x.arrays
    nothing = {i: placed_like(x, np.full(x.shape, np.nan)) for i, x in enumerate(leaves)}
    if sampler.at(nothing) != value:
        return  # it uses what it is handed, and rounds the difference away
    rng = np.random.default_rng(0)
    for scale in (1.0, 1e3):
        moved = {}
        for leaf, x in enumerate(sampler.x.arrays):
            host = on_host(x)
            far = scale * np.where(host == 0, 1.0, np.abs(host)) * rng.normal(size=host.shape)
            moved[leaf] = x + placed_like(x, far)
        if sampler.at(moved) != value:
            return
    raise ValueError(
        "f gave the same value at every point: it must compute with its argument, which is a "
        "moved copy; x itself is never written to"
    )


def _at_fault(argument: Argument) -> str:
    """Name the entries of x that are not finite themselves."""
    for path, array in zip(argument.paths, argument.arrays, strict=True):
        wrong = np.argwhere(~np.isfinite(on_host(array)))
        if len(wrong):
            index = tuple(map(int, wrong[0]))
            at = f"[{', '.join(map(str, index))}]" if index else ""
            return f": {trees.written('x', path)}{at} is {on_host(array)[index]}"
    return ""


# --- comparisons -----------------------------------------------------------------------------


def _every_entry(lines: EntryLines, gradient: Given, options: Options) -> Comparison:
    """Compare every entry of an array."""
    given = gradient.values.ravel()
    rounding = GRADIENT_ROUNDING * gradient.eps * np.abs(given) + lines.tiny
    finite = np.isfinite(given)
    asked = np.where(finite, given, 0.0)
    slopes = find_slopes(lines, options.wanted(asked, rounding, lines.eps))
    name = trees.written("x", lines.sampler.x.paths[lines.leaf])
    if options.step is None or options.step > 0:
        refuse_edges(slopes, lines.at, name, options.step, lines.sampler)
    slopes.verdict[~finite] = FAILED
    return Comparison.of(gradient.values, slopes, lines.at)


def refuse_edges(slopes: Slopes, at: Host, name: str, step: float | None, sampler: Sampler) -> None:
    """Raise where f has no values to compute a slope from."""
    missing = np.flatnonzero(~slopes.finite)
    if missing.size == 0:
        return
    i = int(missing[0])
    index = tuple(map(int, np.unravel_index(i, at.shape)))
    entry = f"{name}[{', '.join(map(str, index))}]" if index else name
    tried = (
        f"the step {step:g}: try another step="
        if step
        else (f"steps down to {slopes.step[i]:.1e}, on both sides")
    )
    raise ValueError(
        f"f returned NaN or infinity for {entry} = {float(at[index])!r} moved by {tried}"
    ) from sampler.error


def _directions(
    lines: EntryLines, gradient: Given, options: Options, rng: np.random.Generator
) -> Comparison:
    """Compare along random signs; the first direction that fails is searched for an entry."""
    scale = np.where(lines.size > 1.0, lines.size, 1.0).reshape(lines.at.shape)
    if options.step is not None:
        scale = np.ones_like(scale)
    signs = rng.choice([-1.0, 1.0], size=(options.directions or 1, *lines.at.shape))
    slopes, given = directional(lines, signs * scale, gradient, options)
    entry = None
    for failing in np.flatnonzero(slopes.verdict == FAILED):
        if not np.all(np.isfinite(gradient.values)):
            break
        entry, kinked = _failing_entry(lines, signs[failing] * scale, gradient, options)
        if entry is not None:
            break
        # Where several entries have a kink, a gradient that is right for each of them may lie
        # beside both slopes of a direction, which may be the same.
        if kinked or np.isfinite(slopes.low[failing]):
            slopes.verdict[failing] = UNCLEAR
    return Comparison.of(given, slopes, lines.at, entry)


def directional(
    lines: EntryLines, directions: Host, gradient: Given, options: Options
) -> tuple[Slopes, Host]:
    """Measure the slopes along directions, and return those of the gradient too."""
    moves = DirectionLines(lines, directions, gradient.values)
    parts = [gradient.values * direction for direction in directions]
    given = np.asarray([float(np.sum(part)) for part in parts])
    # No square, which might overflow.
    size = np.asarray([float(np.hypot.reduce(np.nan_to_num(part), axis=None)) for part in parts])
    rounding = GRADIENT_ROUNDING * gradient.eps * size + lines.tiny * lines.at.size
    asked = np.where(np.isfinite(given), given, 0.0)
    wanted = replace(options.wanted(asked, rounding, lines.eps), thorough=True)
    slopes = find_slopes(moves, wanted)
    slopes.verdict[~np.isfinite(given)] = FAILED
    return slopes, given


def _failing_entry(
    lines: EntryLines, direction: Host, gradient: Given, options: Options
) -> tuple[Entry | None, bool]:
    """Halve a failing direction until one entry is left; None where neither half fails.

    Also whether these halves say that it is right nevertheless: they pass, or show a kink.
    """
    start, stop = 0, direction.size
    index = np.arange(stop).reshape(direction.shape)
    while True:
        middle, passed, kinked = (start + stop) // 2, True, False
        for half in ((start, middle), (middle, stop)) if stop - start > 1 else ((start, stop),):
            part = np.where((half[0] <= index) & (index < half[1]), direction, 0.0)
            slopes, given = directional(lines, part[None, ...], gradient, options)
            if slopes.verdict[0] == FAILED:
                break
            passed = passed and slopes.verdict[0] in (PASSED, KINK)
            kinked = kinked or bool(np.isfinite(slopes.low[0]))
        else:
            return None, passed or kinked
        start, stop = half
        if stop - start == 1:
            break
    unit = float(direction.ravel()[start])
    at = tuple(map(int, np.unravel_index(start, direction.shape)))
    found = float(given[0]) / unit, float(slopes.slope[0]) / unit
    return Entry(at, *found, abs(float(slopes.bound[0]) / unit)), False
