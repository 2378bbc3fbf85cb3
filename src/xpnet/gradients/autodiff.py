"""Checking what the array libraries differentiate themselves against differences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from .. import arrays, checks
from ..arrays import Array, array_namespace
from ..backend import BACKENDS, Backend, BackendNotAvailable, Placement, place
from ..backend.placement import first_line
from ..backend.table import placement_of
from ..checks import known
from . import trees
from .check import Options, check_gradient
from .report import GradientReport

Floats = tuple[Array, ...]


@dataclass(frozen=True)
class AutodiffReport:
    """What `check_autodiff` has found.

    Attributes
    ----------
    reports : mapping of str to GradientReport
        By the name of the library. One that could not be differentiated at all is "failed", with
        the cause and no parameters.
    skipped : mapping of str to str
        Why other libraries were left out.
    """

    reports: Mapping[str, GradientReport]
    skipped: Mapping[str, str]

    @property
    def ok(self) -> bool:
        """Whether at least one library was checked, and every one "passed"."""
        return bool(self.reports) and all(report.ok for report in self.reports.values())

    def raise_if_failed(self) -> None:
        """Raise AssertionError unless every library passed; for tests.

        Raises
        ------
        AssertionError
            With the reports as its message. Also where no library was checked: a test that
            proves nothing should not pass.
        """
        if not self.ok:
            raise AssertionError(str(self))

    def to_dict(self) -> dict[str, Any]:
        """Return plain values, for JSON."""
        return {
            "ok": self.ok, "skipped": dict(self.skipped),
            "reports": {name: report.to_dict() for name, report in self.reports.items()},
        }  # fmt: skip

    def __str__(self) -> str:
        parts = [f"{name}: {report}" for name, report in self.reports.items()]
        parts += [f"{name}: skipped: {reason}" for name, reason in self.skipped.items()]
        return "\n".join(parts) if self.reports else "\n".join(["No library was checked", *parts])


def check_autodiff(
    f: Callable[..., Any], *args: Any, backends: Iterable[str] | None = None,
    rtol: float | None = None, atol: float | None = None, seed: int | None = 0,
) -> AutodiffReport:  # fmt: skip
    """Check what each array library differentiates itself against differences.

    One function, written against the array API, is differentiated by every installed library
    that can: by ``torch.func.vjp`` and ``jax.vjp``. It fails where a derivative differs from the
    differences, where the result has left the library (as a NumPy array or a Python number), and
    where it has lost its graph, so that the derivative is 0 although the function moves.

    Parameters
    ----------
    f : callable
        Takes `args` as arrays of one library and returns a scalar, an array, or a nesting of
        arrays. These become a scalar by a random cotangent; integer arrays have none.
    *args : array, number, list of numbers, or any nesting of dicts, lists and tuples
        Floating-point arrays, numbers, and lists of numbers become arrays of the library, float64
        where it has that, or else float32; `f` is differentiated by these. Other arrays become
        arrays of the library too. All else, integers and lists of them included, is handed to `f`
        as it is.
    backends : iterable of str, optional
        Names of libraries. None: all that have derivatives of their own.
    rtol, atol : float, optional
        As for `check_gradient`.
    seed : int, optional
        Of the cotangent.

    Returns
    -------
    AutodiffReport
        A report for each library. Its parameters are named by the position of the argument:
        "x[0]", "x[1].W".

    Raises
    ------
    TypeError, ValueError
        As `check_gradient`; or `args` has no floating-point array, or a complex one, for which
        there is `check_vjp`; or a backend is unknown.

    Examples
    --------
    >>> import numpy as np, xpnet
    >>> from array_api_compat import array_namespace
    >>> def f(x, w):
    ...     xp = array_namespace(x)
    ...     return xp.sum(w * xp.tanh(x))
    >>> x, w = np.asarray([0.5, -1.0]), np.asarray([2.0, 3.0])
    >>> xpnet.check_autodiff(f, x, w, backends=["torch"]).ok
    True
    >>> report = xpnet.check_autodiff(lambda x, w: float(f(x, w)), x, w, backends=["torch"])
    >>> report.reports["torch"].causes
    ('f has left torch: it returned float',)
    """
    checks.function(f, "f")
    Options.checked(rtol, atol, None, None, seed)
    rows = _rows(backends)
    host = tuple(_on_host(arg, f"args[{i}]") for i, arg in enumerate(args))
    if not any(_is_float(leaf) for _, leaf in trees.leaves(host)):
        raise ValueError("args has no floating-point array by which f could be differentiated")
    reports, skipped = {}, {}
    for row in rows:
        if row.vjp is None:
            skipped[row.name] = "the library has no derivatives of its own"
            continue
        try:
            here = _widest(row)
        except BackendNotAvailable as error:
            skipped[row.name] = first_line(error)
            continue
        reports[row.name] = _Differentiated(f, host, here, seed).report(rtol, atol)
    return AutodiffReport(reports, skipped)


def _rows(backends: Iterable[str] | None) -> list[Backend]:
    """Return the rows that are asked for, each once."""
    if backends is None:
        return [row for row in BACKENDS.values() if row.vjp is not None]
    if isinstance(backends, str) or not isinstance(backends, Iterable):
        raise TypeError(f"backends must be a list of names, not {type(backends).__name__}")
    return [known(BACKENDS, name, "backend") for name in dict.fromkeys(backends)]


# --- arguments -------------------------------------------------------------------------------


def _on_host(tree: Any, name: str) -> Any:
    """Return an argument with its arrays, and what becomes one, as NumPy arrays."""
    if not (trees.is_node(tree) or trees.is_number(tree) or arrays.is_array(tree)):
        if isinstance(tree, np.ndarray):  # a masked array, a matrix
            arrays.refuse_other_than_array(tree, name)
        return tree
    if trees.is_numbers(tree):
        values = np.asarray(tree)
        if values.dtype.kind in "iu":  # a number of classes, a shape
            return tree
        return _real(values, name)
    if trees.is_node(tree):
        return trees.rebuilt_children(
            tree, [_on_host(child, name + step) for step, child in trees.children(tree)]
        )
    return _real(placement_of(tree).to_host(tree), name)


def _real(values: Any, name: str) -> Any:
    if values.dtype.kind == "c":
        raise TypeError(f"{name} is complex: see check_vjp for functions of complex arrays")
    if values.dtype.kind not in "biuf":
        raise TypeError(f"{name} must be an array of numbers, not of {values.dtype}")
    return values


def _is_float(leaf: Any) -> bool:
    return isinstance(leaf, np.ndarray) and leaf.dtype.kind == "f"


def _widest(row: Backend) -> Placement:
    """Return the library's default device, in float64 where it has that."""
    try:
        return place(row.name, dtype="float64")
    except BackendNotAvailable:
        return place(row.name, dtype="float32")


# --- one library -----------------------------------------------------------------------------


class _NotDifferentiable(Exception):
    """Why a library cannot differentiate f."""


class _Differentiated:
    """A function on one library, its floating arguments x, and a cotangent."""

    def __init__(
        self, f: Callable[..., Any], host: tuple[Any, ...], here: Placement, seed: int | None
    ) -> None:
        self.f, self.host, self.here, self.seed = f, host, here, seed
        self.name = here.backend.name
        leaves = [leaf for _, leaf in trees.leaves(host)]
        self.varies = [_is_float(leaf) for leaf in leaves]
        self.placed = [self._put(leaf) for leaf in leaves]
        # A leaf that is not differentiated is an empty dict in x: all others keep their names.
        varied = zip(self.placed, self.varies, strict=True)
        self.x = trees.rebuilt(host, [leaf if varies else {} for leaf, varies in varied])

    def _put(self, leaf: Any) -> Any:
        if _is_float(leaf):
            return self.here.floats(leaf)
        return self.here.asarray(leaf) if isinstance(leaf, np.ndarray) else leaf

    def outputs(self, *floats: Array) -> Floats:
        """Return the floating-point arrays that f gives, in order."""
        given = iter(floats)
        leaves = [
            next(given) if varies else trees.copied(leaf) if arrays.is_array(leaf) else leaf
            for leaf, varies in zip(self.placed, self.varies, strict=True)
        ]
        value = self.f(*trees.rebuilt(self.host, leaves))
        found = [leaf for _, leaf in trees.leaves(value)]
        for leaf in found:
            if not arrays.is_array(leaf) or arrays.library_of(leaf) != self.name:
                kind = type(leaf)
                module = "" if kind.__module__ == "builtins" else f"{kind.__module__}."
                text = f"f has left {self.name}: it returned {module}{kind.__name__}"
                raise _NotDifferentiable(text)
            if arrays.is_kind(self.here.xp, leaf.dtype, "complex floating"):
                raise _NotDifferentiable("f returned a complex array: see check_vjp for these")
        xp = self.here.xp
        floating = tuple(y for y in found if arrays.is_kind(xp, y.dtype, "real floating"))
        if not floating:
            raise _NotDifferentiable("f returned no floating-point array")
        return floating

    def report(self, rtol: float | None, atol: float | None) -> GradientReport:
        """Compare the library's derivative with differences."""
        method = f"{self.name}'s own derivative"
        try:
            values = self._attempted(lambda: self.outputs(*self._floats()), "raised")
            cotangents = tuple(self._cotangents(values))
            gradient = self._attempted(
                lambda: self._own(cotangents), f"cannot be differentiated by {self.name}:"
            )
        except _NotDifferentiable as error:
            return GradientReport("failed", {}, (str(error),), method, {})
        given = trees.rebuilt(self.x, gradient)

        def scalar(x: Any) -> Array:
            outputs = self.outputs(*[leaf for _, leaf in trees.leaves(x)])
            sums = [self.here.xp.sum(c * y) for c, y in zip(cotangents, outputs, strict=True)]
            return trees.detached(sum(sums[1:], sums[0]))

        found = check_gradient(scalar, given, self.x, rtol=rtol, atol=atol, seed=self.seed)
        causes = (*self._lost(found, gradient), *found.causes)
        return replace(found, causes=causes, method=f"{method}; {found.method}")

    def _attempted(self, call: Callable[[], Floats], what: str) -> Floats:
        """Call what is the user's: an error on one library is a finding about that library."""
        try:
            return call()
        except _NotDifferentiable:
            raise
        except Exception as error:  # whatever the library or f says
            text = f"{type(error).__name__}: {first_line(error)}"
            raise _NotDifferentiable(f"f {what} {text}") from error

    def _floats(self) -> Floats:
        return tuple(trees.copied(leaf) for _, leaf in trees.leaves(self.x))

    def _own(self, cotangents: Floats) -> Floats:
        vjp = self.here.backend.vjp
        assert vjp is not None
        return tuple(map(trees.detached, vjp(self.outputs, self._floats(), cotangents)))

    def _cotangents(self, values: Floats) -> Iterable[Array]:
        rng = np.random.default_rng(self.seed)
        for y in values:
            signs = rng.choice([-1.0, 1.0], size=tuple(y.shape))
            drawn = np.asarray(signs * rng.uniform(0.5, 1.5, size=tuple(y.shape)))
            if len(values) == 1 and drawn.size == 1:
                drawn = np.ones_like(drawn)  # a scalar's own derivative, which a reader knows
            xp = array_namespace(y)
            yield xp.astype(self.here.asarray(drawn.astype("float32")), y.dtype)

    def _lost(self, found: GradientReport, gradient: Floats) -> Iterable[str]:
        for (path, _), own in zip(trees.leaves(self.x), gradient, strict=True):
            label = trees.label(path)
            if found.parameters and found.parameters[label].failed and not self._moves(own):
                yield f"{label}: the graph is lost: {self.name} gives 0, but f moves with it"

    def _moves(self, own: Array) -> bool:
        return bool(np.any(self.here.to_host(own) != 0))
