"""The gradient check on the table of `gradient_cases.py`: no false alarm, and no miss.

'Passed' is read as 'each entry is right to its own digits', so a wrong gradient that passes is
the worst that can happen here; a right one that fails comes next.
"""

import statistics
from collections import Counter

import array_api_compat.torch
import numpy as np
import pytest
from gradient_cases import CASES, ENOUGH, exceeds, wrong_gradients

from xpnet import check_gradient

# Each so-many-th gradient, in both dtypes: what the check decides is the same arithmetic on every
# library. On NumPy all are tried, and with `--gradient-table full` everywhere.
SPARSE_WRONG = {
    "numpy-readonly": 53, "strict": 19, "strict-device1": 53, "strict-flags": 53, "torch": 7,
    "torch-cuda": 53, "jax": 41, "cupy": 53,
}  # fmt: skip
SPARSE_RIGHT = dict.fromkeys(SPARSE_WRONG, 3) | {"torch": 1}
DTYPES = ("float64", "float32")
# How often version 0.1 called f, whose step was the same for all entries: counted on the smooth
# cases with the check of commit c730629. Arrays of 1, 2, 3, 4, 6 and 9 entries took 25, 29, 33, 37,
# 45 and 57 calls, whatever the function.
CALLS_BEFORE, CALLS_BEFORE_PER_ENTRY = 21, 4


def cases(dtype):
    return [case for case in CASES if case.float32 or dtype == "float64"]


def checked(lib, case, gradient, dtype):
    """The verdict and the report; or that there is none, and why."""
    x = lib.array(case.point(dtype), dtype)
    try:
        report = check_gradient(case.f(lib.xp), lib.array(gradient, dtype), x)
    except (ValueError, RuntimeWarning) as error:
        return type(error).__name__, repr(error)
    return report.verdict, report


def named(case, what, gradient, report):
    return f"{case.name}: {what}\n  x {case.x.tolist()}\n  gradient {gradient.tolist()}\n  {report}"


# --- the table itself --------------------------------------------------------------------------


def test_the_table_is_as_large_as_it_says():
    """Counts that the documentation gives for the table."""
    assert len(CASES) >= 110
    assert len({case.name for case in CASES}) == len(CASES)
    assert sum(case.smooth for case in CASES) * 2 >= len(CASES)


def test_the_gradients_of_the_table_are_right():
    """A wrong formula in the table would be held against the checker."""
    xp = array_api_compat.torch
    for case in CASES:
        if case.kink:
            continue
        x = xp.asarray(case.x, dtype=xp.float64).requires_grad_()
        case.f(xp)(x).backward()
        np.testing.assert_allclose(case.gradient(), x.grad.numpy(), rtol=1e-11, err_msg=case.name)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_wrong_gradients_are_wrong(dtype):
    """A 'wrong' gradient within the tolerance would be counted as a miss."""
    kinds = set()
    for case in cases(dtype):
        assert not exceeds(case, case.gradient(dtype), dtype), case.name
        wrongs = dict(wrong_gradients(case, dtype))
        assert all(exceeds(case, wrong, dtype) for wrong in wrongs.values()), case.name
        assert len(wrongs) >= ENOUGH, case.name
        assert any("beyond" in name for name in wrongs) == case.kink, case.name
        kinds |= {name.split(": ")[-1] if ": " in name else name.split()[-1] for name in wrongs}
    assert len(kinds) >= 16, kinds


def test_the_slopes_at_kinks_are_right():
    """An interval that is too wide hides misses, one that is too narrow makes false alarms."""
    for case in filter(lambda case: case.kink, CASES):
        (low, high), f, h = case.interval(), case.f(np), 2.0**-20
        for place in map(tuple, np.argwhere(low != high)):
            move = np.zeros_like(case.x)
            move[place] = h
            slopes = [(f(case.x) - f(case.x - move)) / h, (f(case.x + move) - f(case.x)) / h]
            assert sorted(slopes) == pytest.approx([low[place], high[place]], abs=1e-8), case.name


# --- the checker on it -------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
def test_right_gradients(lib, tell, dtype):
    """A right gradient that fails, or a float64 one that the check can say nothing about."""
    verdicts, failed, undecided = Counter(), [], []
    share = 1 if lib.full else SPARSE_RIGHT[lib.name]
    for case in cases(dtype)[DTYPES.index(dtype) % share :: share]:
        gradient = case.gradient(dtype)
        verdict, report = checked(lib, case, gradient, dtype)
        verdicts[verdict] += 1
        if verdict not in ("passed", "inconclusive"):
            failed.append(named(case, verdict, gradient, report))
        elif verdict != "passed":
            undecided.append(case.name)
    tell(f"{lib}, {dtype}: right gradients: {dict(verdicts)}; undecided: {', '.join(undecided)}")
    assert not failed, f"{len(failed)} false alarms\n" + "\n".join(failed)
    if dtype == "float64" and share == 1:
        assert verdicts["passed"] >= 0.95 * verdicts.total()


@pytest.mark.parametrize("dtype", DTYPES)
def test_wrong_gradients(lib, tell, dtype):
    """A wrong gradient that passes."""
    verdicts, passed, warned, counter = Counter(), [], [], 0
    for case in cases(dtype):
        for fault, wrong in wrong_gradients(case, dtype):
            counter += 1
            if counter % (1 if lib.full else SPARSE_WRONG[lib.name]):
                continue
            verdict, report = checked(lib, case, wrong, dtype)
            verdicts[verdict] += 1
            if verdict == "passed":
                passed.append(named(case, fault, wrong, report))
            elif verdict == "RuntimeWarning":
                warned.append(named(case, fault, wrong, report))
    tell(f"{lib}, {dtype}: wrong gradients: {dict(verdicts)}")
    assert not passed, f"{len(passed)} missed\n" + "\n".join(passed)
    assert not warned, f"{len(warned)} warnings\n" + "\n".join(warned)
    assert verdicts["failed"] >= 0.8 * verdicts.total()


def test_calls_of_smooth_functions(tell):
    """Smooth functions, with a step found for each entry, cost little more than a fixed one."""
    before, now, ratios = 0, 0, {}
    for case in filter(lambda case: case.smooth, CASES):
        calls = 0

        def f(v, case=case):
            nonlocal calls
            calls += 1
            return case.f(np)(v)

        check_gradient(f, case.gradient(), case.x)
        fixed = CALLS_BEFORE + CALLS_BEFORE_PER_ENTRY * case.x.size
        before, now, ratios[case.name] = before + fixed, now + calls, calls / fixed
    middle = statistics.median(ratios.values())
    most = ", ".join(f"{name} {ratios[name]:.1f}" for name in sorted(ratios, key=ratios.get)[-5:])
    tell(
        f"calls of f, {len(ratios)} smooth cases: {now:,}, with a fixed step {before:,}; ratio "
        f"{now / before:.2f}, median {middle:.2f}; most: {most}"
    )
    assert now <= 2 * before
    assert middle <= 2
