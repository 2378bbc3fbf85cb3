"""Import and start-up: seconds of a fresh interpreter, in turns."""

import statistics
import subprocess
import sys
import time

import pytest
from race import record

PROGRAMS = {
    "python": ["-c", "pass"],
    "import numpy": ["-c", "import numpy"],
    "import xpnet": ["-c", "import xpnet"],
    "xpnet --help": ["-m", "xpnet", "--help"],
    "import sklearn": ["-c", "import sklearn.neural_network"],
    "import jax": ["-c", "import jax.numpy"],
    "import torch": ["-c", "import torch"],
    "import keras": ["-c", "import keras"],
}


def seconds(arguments: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, capture_output=True)
    return time.perf_counter() - start


@pytest.fixture(scope="module")
def startups(quick) -> dict[str, list[float] | str]:
    """The seconds of each program, one number a round; or why it does not run."""
    found: dict[str, list[float] | str] = {}
    for name, arguments in PROGRAMS.items():
        try:
            seconds(arguments)  # writes the byte code, fills the disk cache
            found[name] = []
        except subprocess.CalledProcessError as error:
            found[name] = error.stderr.decode().strip().splitlines()[-1]
    for turn in range(3 if quick else 7):
        order = list(PROGRAMS) if turn % 2 == 0 else list(reversed(PROGRAMS))
        for name in order:
            if isinstance(found[name], list):
                found[name].append(seconds(PROGRAMS[name]))
    return found


@pytest.mark.benchmark(group="import and start-up")
@pytest.mark.parametrize("program", PROGRAMS)
def bench_startup(program, startups, benchmark):
    times = startups[program]
    if isinstance(times, str):
        benchmark.skipped = True
        pytest.skip(times)
    beyond = [a - b for a, b in zip(times, startups["import numpy"], strict=True)]
    kind = "xpnet" if "xpnet" in program else "peer"
    record(
        benchmark, times, 1, contender=program, kind=kind, case={},
        beyond_numpy_seconds=statistics.median(beyond),
    )  # fmt: skip
