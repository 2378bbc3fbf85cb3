"""What `fit` costs over the bare runner: order, history, callbacks; and with a progress bar."""

import pytest
from peers import FITS, PROGRESS_FITS, RUNNERS, Task
from race import Pace


@pytest.mark.benchmark(group="fit over the bare runner, 100 steps a block")
@pytest.mark.parametrize("contender", RUNNERS + FITS + PROGRESS_FITS, ids=str)
def bench_overhead(contender, race):
    race(contender, Task(), Pace(rounds=9, seconds=0.4))
