"""The numerical gradient of a whole net: structured, beside the plain loop over its entries."""

import statistics
import time

import numpy as np
import pytest
from race import record

import xpnet

ENTRIES = 500  # of the plain loop that are timed; the rest is scaled
NETS = ([784, 100, 10], [784, 256, 128, 10])


def plain_loop(net, x, t, entries):
    """Two losses for each of so many weights of the first layer: the reference's loop."""
    w = net.params["W1"]
    for k in range(entries):
        i, j = divmod(k * 151 % w.size, w.shape[1])
        kept = w[i, j]
        w[i, j] = kept + 1e-4
        up = net._stack.loss(net.params, x, t)
        w[i, j] = kept - 1e-4
        down = net._stack.loss(net.params, x, t)
        w[i, j] = kept
        (up - down) / 2e-4


def seconds(f):
    start = time.perf_counter()
    f()
    return time.perf_counter() - start


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("sizes", NETS, ids=lambda sizes: "-".join(map(str, sizes)))
def bench_numerical_gradient(benchmark, sizes, dtype, quick):
    """One whole numerical gradient, batch 100 of MNIST, on NumPy."""
    benchmark.group = f"numerical gradient, {'-'.join(map(str, sizes))}, {dtype}"
    (x, t), _ = xpnet.load_mnist(dtype=dtype)
    x, t = x[:100], t[:100]
    net = xpnet.MLP(sizes, seed=0, dtype=dtype)
    rows = net._batch.target_rows(t)
    entries = sum(p.size for p in net.params.values())
    timed = 50 if quick else ENTRIES
    net.numerical_gradient(x, t)
    structured, loop, ratios = [], [], []
    for _ in range(3 if quick else 7):
        structured.append(seconds(lambda: net.numerical_gradient(x, t)))
        loop.append(seconds(lambda: plain_loop(net, x, rows, timed)) * entries / timed)
        ratios.append(loop[-1] / structured[-1])
    backprop, numerical = net.gradient(x, t), net.numerical_gradient(x, t)
    worst = max(
        float(np.max(np.abs(numerical[k] - g)) / np.max(np.abs(g))) for k, g in backprop.items()
    )
    record(
        benchmark, structured, 1, contender="structured", library="numpy", dtype=dtype,
        layer_sizes=sizes, batch=100, entries=entries, entries_timed=timed,
        loop_seconds=statistics.median(loop), times_faster=statistics.median(ratios),
        relative_error=worst,
    )  # fmt: skip
    print(
        f"\n{benchmark.group}: structured {statistics.median(structured):.4f} s, plain loop "
        f"{statistics.median(loop):.1f} s (from {timed} entries), {statistics.median(ratios):.0f} "
        f"times faster; largest relative error {worst:.1e}"
    )
