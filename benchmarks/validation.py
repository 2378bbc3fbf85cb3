"""What validation each epoch costs beyond its values: `python benchmarks/validation.py [xp ...]`.

784-100-10 on MNIST's first 500 rows, batches of 100, so that an epoch is 5 steps; the validation
set is the next 500 rows. Two things take turns in one process, in CPU time: `fit` with validation;
and the floor, the same 5 steps by the same runner and then the values, one after the other, with
nothing else between them. What is printed is the median over the rounds of the ratio of the two.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import xpnet
from xpnet.training.plan import Plan, Watch
from xpnet.training.session import Session
from xpnet.training.sources import checked_validation, measured

EPOCHS, ROUNDS = 400, 15


def seconds(function: Callable[[], Any]) -> float:
    start = time.process_time()
    function()
    return time.process_time() - start


def main(xp: str) -> None:
    (x, t), _ = xpnet.load_mnist(xp=xp)
    train, held = (x[:500], t[:500]), (x[500:1000], t[500:1000])
    net = xpnet.MLP([784, 100, 10], seed=0, xp=xp)
    options: dict[str, Any] = {"epochs": EPOCHS, "learning_rate": 0.01}

    session = Session(Plan(net, *train, **options), Watch(block_steps=5))
    with session.under_way() as blocks:
        steps = [(b.inputs, session.plan.coefficients(b.steps)) for b in blocks]
    checked = checked_validation(net, held)

    def floor() -> None:
        for inputs, coefficients in steps:
            net.placement.to_host(session._runner(inputs, coefficients))
            measured(net, *checked)

    ratios = []
    for _ in range(ROUNDS + 1):
        whole = seconds(lambda: xpnet.fit(net, *train, validation=held, **options))
        ratios.append(whole / seconds(floor))
    ratios = sorted(ratios[1:])  # the first round warms up
    quarter = len(ratios) // 4
    print(
        f"{xp}: {statistics.median(ratios):.3f} × the time of the steps and the values alone "
        f"(quartiles {ratios[quarter]:.3f} to {ratios[-1 - quarter]:.3f})"
    )


if __name__ == "__main__":
    for name in sys.argv[1:] or ["numpy"]:
        main(name)
