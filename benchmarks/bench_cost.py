"""The cost of a step against batch, width and depth; one thing varies, the rest is as it was."""

import pytest
from peers import RUNNERS, Task, named
from race import Pace

CONTENDERS = RUNNERS + named("torch-eager", "torch-eager-cuda", "jax-scan")
PACE = Pace(rounds=5, seconds=0.05)


@pytest.mark.benchmark(group="cost against batch")
@pytest.mark.parametrize("batch", [10, 100, 1_000, 10_000])
@pytest.mark.parametrize("contender", CONTENDERS, ids=str)
def bench_batch(contender, batch, race):
    race(contender, Task(batch=batch), PACE, batch=batch)


@pytest.mark.benchmark(group="cost against width")
@pytest.mark.parametrize("width", [10, 100, 1_024, 4_096])
@pytest.mark.parametrize("contender", CONTENDERS, ids=str)
def bench_width(contender, width, race):
    race(contender, Task((784, width, 10)), PACE, width=width)


@pytest.mark.benchmark(group="cost against depth")
@pytest.mark.parametrize("depth", [1, 2, 4, 8])
@pytest.mark.parametrize("contender", CONTENDERS, ids=str)
def bench_depth(contender, depth, race):
    race(contender, Task((784, *[100] * (depth - 1), 10)), PACE, depth=depth)
