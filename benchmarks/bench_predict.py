"""Predictions: probabilities of a few rows, and of the whole test set, as arrays on the device."""

import pytest
from peers import PREDICTORS, Task
from race import Pace


@pytest.mark.benchmark(group="prediction, 784-100-10")
@pytest.mark.parametrize("rows", [1, 100, 10_000])
@pytest.mark.parametrize("contender", PREDICTORS, ids=str)
def bench_predict(contender, rows, race):
    race(contender, Task(batch=rows), Pace(rounds=5, seconds=0.05), rows=rows)
