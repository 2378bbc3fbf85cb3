"""Gradient checkers on one table: `python benchmarks/gradient_checkers.py [--quick]`.

The functions and gradients are those of `tests/gradient_cases.py`, in float64. Each checker has
its defaults. Torch's and JAX's get the gradient as the backward pass of a function of their own
(`torch.autograd.Function`, `jax.custom_vjp`). SciPy's and numdifftools' return numbers and leave
the judging to the user: `scipy.optimize.check_grad` finds a fault where its error exceeds 1e-6
of the gradient's norm; `scipy.differentiate.jacobian` and `numdifftools.Gradient` where an entry
differs by more than their own error estimate, 1e-6 of its size and 1e-12 of the largest entry,
and are undecided where the estimate is NaN or exceeds a thousandth of the entry. An error that a
checker raises is no decision either. At a kink the gradient called right is one that lies between
the slopes on both sides; a checker that takes differences on one side calls it wrong. `--quick`
takes a few functions and writes nothing without `--out`.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import os
import sys
import time
import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(name, "1")
os.environ.setdefault("JAX_ENABLE_X64", "1")

import array_api_compat.torch as torch_xp  # noqa: E402
import jax  # noqa: E402
import jax.numpy as jnp  # noqa: E402
import numdifftools  # noqa: E402
import numpy as np  # noqa: E402
import torch  # noqa: E402
from jax.test_util import check_grads  # noqa: E402
from scipy import differentiate, optimize  # noqa: E402

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "tests"))
from gradient_cases import CASES, Case, wrong_gradients  # noqa: E402

from xpnet import check_gradient  # noqa: E402

RESULTS = HERE / "results" / "gradient-checkers.json"
PACKAGES = ["numpy", "torch", "jax", "scipy", "numdifftools"]
RIGHT, WRONG, UNDECIDED = "right", "wrong", "undecided"


def by_xpnet(case: Case, gradient: np.ndarray) -> str:
    verdict = check_gradient(case.f(np), gradient, case.x).verdict
    return {"passed": RIGHT, "failed": WRONG}.get(verdict, UNDECIDED)


def by_torch(case: Case, gradient: np.ndarray) -> str:
    f, given = case.f(torch_xp), torch.from_numpy(gradient.copy())

    class Layer(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, x: Any) -> Any:
            return f(x)

        @staticmethod
        def backward(ctx: Any, cotangent: Any) -> Any:
            return given * cotangent

    x = torch.from_numpy(case.x.copy()).requires_grad_()
    passed = torch.autograd.gradcheck(Layer.apply, (x,), raise_exception=False)
    return RIGHT if passed else WRONG


def by_jax(case: Case, gradient: np.ndarray) -> str:
    f, given = case.f(jnp), jnp.asarray(gradient)

    @jax.custom_vjp
    def layer(x: Any) -> Any:
        return f(x)

    layer.defvjp(lambda x: (f(x), None), lambda _, cotangent: (given * cotangent,))
    try:
        # A custom_vjp has no forward mode, and this gradient no derivative of its own.
        check_grads(layer, (jnp.asarray(case.x),), order=1, modes=("rev",))
    except AssertionError:
        return WRONG
    return RIGHT


def by_check_grad(case: Case, gradient: np.ndarray) -> str:
    f = case.f(np)
    error = optimize.check_grad(
        lambda x: f(x.reshape(case.x.shape)), lambda x: gradient.ravel(), case.x.ravel()
    )
    if not np.isfinite(error):
        return UNDECIDED
    return WRONG if error > 1e-6 * np.linalg.norm(gradient) else RIGHT


def judged(slope: np.ndarray, error: np.ndarray, gradient: np.ndarray) -> str:
    """Judge by a tool's own error estimate."""
    slope, error, given = np.ravel(slope), np.ravel(error), gradient.ravel()
    size = np.abs(given)
    rounding = 1e-6 * size + 1e-12 * np.max(size)
    if np.any(np.abs(slope - given) > error + rounding):  # False for NaN
        return WRONG
    decided = error <= 1e-3 * np.maximum(size, np.abs(slope)) + rounding
    return RIGHT if np.all(decided) else UNDECIDED


def by_differentiate(case: Case, gradient: np.ndarray) -> str:
    f, shape = case.f(np), case.x.shape

    def columns(x: np.ndarray) -> np.ndarray:
        points = np.moveaxis(x, 0, -1).reshape(-1, x.shape[0])
        values = [float(f(point.reshape(shape))) for point in points]
        return np.asarray(values).reshape(x.shape[1:])

    found = differentiate.jacobian(columns, case.x.ravel())
    return judged(found.df, found.error, gradient)


def by_numdifftools(case: Case, gradient: np.ndarray) -> str:
    f = case.f(np)
    found = numdifftools.Gradient(
        lambda x: float(f(np.reshape(x, case.x.shape))), full_output=True
    )(case.x.ravel())
    return judged(found.estimate, found.error_estimate, gradient)


CHECKERS: dict[str, Callable[[Case, np.ndarray], str]] = {
    "xpnet.check_gradient": by_xpnet,
    "torch.autograd.gradcheck": by_torch,
    "jax.test_util.check_grads": by_jax,
    "scipy.optimize.check_grad": by_check_grad,
    "scipy.differentiate.jacobian": by_differentiate,
    "numdifftools.Gradient": by_numdifftools,
}


def answer(name: str, case: Case, gradient: np.ndarray, raised: Counter) -> str:
    """What a checker says; an error that it raises is no decision, and is counted."""
    try:
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            return CHECKERS[name](case, gradient)
    except Exception as error:
        raised[f"{type(error).__name__}: {str(error)[:80]}"] += 1
        return UNDECIDED


def measured(cases: list[Case], share: int) -> dict[str, Any]:
    """Ask every checker about every right gradient and each `share`-th wrong one."""
    rows = {}
    for name in CHECKERS:
        raised: Counter = Counter()
        start, right, wrong, alarms, missed, number = time.time(), Counter(), Counter(), [], [], 0
        for case in cases:
            said = answer(name, case, case.gradient(), raised)
            right[said] += 1
            if said == WRONG:
                alarms.append(case.name)
            for fault, gradient in wrong_gradients(case):
                number += 1
                if number % share:
                    continue
                said = answer(name, case, gradient, raised)
                wrong[said] += 1
                if said == RIGHT:
                    missed.append(f"{case.name}: {fault}")
        rows[name] = {
            "found": wrong[WRONG], "missed": wrong[RIGHT], "wrong_undecided": wrong[UNDECIDED],
            "right_accepted": right[RIGHT], "false_alarms": right[WRONG],
            "right_undecided": right[UNDECIDED], "seconds": round(time.time() - start, 1),
            "raised": dict(raised), "which_missed": missed, "which_alarms": alarms,
        }  # fmt: skip
        print(f"{name}: {rows[name]['seconds']} s", file=sys.stderr, flush=True)
    return rows


def table(rows: dict[str, Any]) -> str:
    """Return the counts as a table in Markdown."""
    head = ["found", "missed", "wrong_undecided", "right_accepted", "false_alarms",
            "right_undecided"]  # fmt: skip
    lines = [
        "| checker | wrong: found | missed | undecided | right: accepted | false alarms "
        "| undecided |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, row in rows.items():
        lines.append(f"| `{name}` | " + " | ".join(f"{row[key]:,}" for key in head) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="a few functions")
    parser.add_argument("--share", type=int, default=1, help="each so-many-th wrong gradient")
    parser.add_argument("--out", type=Path, help=f"default: results/{RESULTS.name}")
    options = parser.parse_args()
    torch.set_num_threads(1)
    cases, share = (CASES[::40], 5) if options.quick else (CASES, options.share)
    rows = measured(cases, share)
    out = options.out or (None if options.quick else RESULTS)
    if out is not None:
        result = {
            "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
            "functions": len(cases), "each_wrong_gradient": share, "how": __doc__,
            "checkers": rows,
        }  # fmt: skip
        out.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    print(table(rows))


if __name__ == "__main__":
    main()
