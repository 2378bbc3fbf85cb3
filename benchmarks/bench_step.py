"""One training step, 784-100-10, batch 100, on MNIST: the runner, `fit`, the floors, the peers."""

import pytest
from peers import FITS, FLOORS, PEERS, RUNNERS, Task


@pytest.mark.benchmark(group="one step, 784-100-10, batch 100")
@pytest.mark.parametrize("contender", FLOORS + RUNNERS + FITS + PEERS, ids=str)
def bench_step(contender, race):
    race(contender, Task())
