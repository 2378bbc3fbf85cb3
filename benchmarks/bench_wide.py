"""Wide nets: a whole step beside the same library's own time for the step's matrix products."""

import pytest
from peers import PRODUCTS, RUNNERS, Task
from race import Pace


@pytest.mark.benchmark(group="wide net, 784-4096-4096-10")
@pytest.mark.parametrize("contender", RUNNERS + PRODUCTS, ids=str)
def bench_wide(contender, race, quick):
    task = Task((784, 2048, 2048, 10), 1024) if quick else Task((784, 4096, 4096, 10), 4096)
    race(contender, task, Pace(rounds=5, seconds=0.5))
