"""Peak memory of a training run beyond the data set, on NumPy, in an interpreter of its own."""

import itertools
import json
import subprocess
import sys

import pytest
from race import record

# Both ways to measure: what NumPy and Python allocated, and what the system had to give (which
# has OpenBLAS's buffers in it, and what malloc keeps).
PROGRAM = """
import json, sys, time, tracemalloc
import numpy as np, xpnet

sizes, batch, steps, way = json.loads(sys.argv[1])

def status(key):
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))

(x, t), _ = xpnet.load_mnist()
small = xpnet.MLP([784, 10], seed=0)
xpnet.fit(small, x[:100], t[:100], steps=1)  # imports and BLAS buffers are not the training's
if way == "traced":
    tracemalloc.start()
else:
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak is counted from here
    before = status("VmRSS")
start = time.perf_counter()
net = xpnet.MLP(sizes, seed=0)
xpnet.fit(net, x, t, steps=steps, batch_size=batch)
seconds = time.perf_counter() - start
peak = tracemalloc.get_traced_memory()[1] if way == "traced" else status("VmHWM") - before
print(json.dumps({"seconds": seconds, "peak": peak}))
"""


@pytest.mark.benchmark(group="peak memory beyond the data set, NumPy")
@pytest.mark.parametrize("way", ["traced", "resident"])
@pytest.mark.parametrize(
    ("sizes", "batch", "steps"),
    [((784, 100, 10), 100, 200), ((784, 4096, 4096, 10), 4096, 3)],
    ids=["784-100-10", "784-4096-4096-10"],
)
def bench_memory(sizes, batch, steps, way, benchmark):
    if way == "resident" and not sys.platform.startswith("linux"):
        benchmark.skipped = True
        pytest.skip("the system's peak is read from /proc, which only Linux has")
    argument = json.dumps([sizes, batch, steps, way])
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM, argument], capture_output=True, text=True, check=True
    )
    found = json.loads(answer.stdout)
    parameters = sum(a * b + b for a, b in itertools.pairwise(sizes))
    activations = batch * sum(sizes)
    record(
        benchmark,
        [found["seconds"] / steps],
        steps,
        contender=f"{'-'.join(map(str, sizes))}, batch {batch}: {way}",
        kind="xpnet",
        case={},
        parameters_bytes=4 * parameters,
        activations_bytes=4 * activations,
        peak_bytes=found["peak"],
        bound_bytes=4 * 4 * (parameters + activations) + 64 * 2**20,
    )
