"""10,000 steps end to end: the order of the rows, the steps, the losses; accuracy beside it."""

import pytest
from peers import PEERS, RUNNERS, WHOLE_FITS, Task
from race import Pace


@pytest.mark.benchmark(group="10,000 steps end to end")
@pytest.mark.parametrize("contender", RUNNERS + WHOLE_FITS + PEERS, ids=str)
def bench_training(contender, race, quick):
    lane = race(contender, Task(), Pace(rounds=5), steps=1_000 if quick else 10_000)
    assert quick or lane.results["accuracy"] > 0.9  # a fast step that learns nothing is no step
