"""The cost model of docs/beyond-one-machine.md, on a file whose numbers were made by the model."""

import importlib
import json
import pathlib
import sys

import numpy as np
import pytest

BENCHMARKS = pathlib.Path(__file__).parent.parent / "benchmarks"
CALL, LATENCY, BANDWIDTH = 10e-6, 50e-6, 2e9
FIXED, A_ROW, OVERHEAD = 100e-6, 4e-6, 30e-6
SIZES, BATCH, PARAMETERS = [784, 100, 10], 100, 79_510


@pytest.fixture(scope="module")
def report():
    before = [*sys.path]
    sys.path.insert(0, str(BENCHMARKS))
    yield importlib.import_module("scaling_report")
    sys.path[:] = before


def all_reduce(n, size):
    return CALL + 2 * (n - 1) * LATENCY + 2 * (n - 1) / n * size / BANDWIDTH


def step(n):
    return FIXED + A_ROW * np.ceil(BATCH / n) + OVERHEAD + all_reduce(n, 4 * PARAMETERS)


def lanes(seconds, names=("xpnet-numpy", "xpnet-torch", "ddp")):
    return {name: [seconds, seconds, 2 * seconds] for name in names}


def run(n, *, oversubscribed):
    late = 7.0 if oversubscribed else 1.0  # what the model knows nothing of
    names = ["xpnet-numpy", "xpnet-torch", "ddp"]
    bare = lanes(FIXED + A_ROW * BATCH, ("bare-numpy", "bare-torch")) if n == 1 else {}
    sent = {"all_reduces_a_step": 1, "a_step": 4 * PARAMETERS, "host_a_block": 8}
    crossed = {"loopback_a_step": 2.1 * (n - 1) * 4 * PARAMETERS}
    net = {
        "layer_sizes": SIZES, "batch": BATCH, "parameters": PARAMETERS, "item_size": 4,
        "block": 100, "steps_a_round": 100, "seconds": {**lanes(late * step(n), names), **bare},
        "bytes": {name: {**sent, **crossed} for name in names},
    }  # fmt: skip
    compute = [
        {"layer_sizes": SIZES, "rows": rows, "seconds": lanes(FIXED + A_ROW * rows)}
        for rows in (1, 16, 256)
    ]
    return {
        "ranks": n,
        "ranks_a_machine": n,
        "oversubscribed": oversubscribed,
        "nets": [net],
        "all_reduce": [
            {"bytes": size, "seconds": [late * all_reduce(n, size)] * 3}
            for size in (2**10, 2**16, 2**22, 2**28)
        ],
        "compute": [] if oversubscribed else compute,
    }


@pytest.fixture
def results(report, tmp_path):
    machine = {
        "cpu": "A CPU", "cores": 2, "system": "Linux", "python": "3", "blas": [], "settings": {},
        "versions": {"numpy": "2", "torch": "2"},
    }  # fmt: skip
    runs = [run(n, oversubscribed=n > 2) for n in (4, 1, 2)]
    content = {"machine_info": machine, "quick": False, "datetime": "2026-01-01T00", "runs": runs}
    path = tmp_path / "scaling-a-cpu.json"
    path.write_text(json.dumps(content), encoding="utf-8")
    return report.Results(path)


def test_the_fit_finds_what_the_times_were_made_of(results):
    """Least squares that mix up the price of a call, a message and a byte, or fit crowded ranks."""
    link = results.link
    found = [link.call, link.latency, link.bandwidth]
    np.testing.assert_allclose(found, [CALL, LATENCY, BANDWIDTH], rtol=1e-9)
    net = results.net(results.nets()[0], "xpnet-numpy", results.runs[1])
    assert net.size == 4 * PARAMETERS
    found = [net.fixed, net.a_row, net.overhead]
    np.testing.assert_allclose(found, [FIXED, A_ROW, OVERHEAD], rtol=1e-9)
    assert net.step(2, BATCH, link) == pytest.approx(step(2), rel=1e-9)


def test_more_ranks_than_cores_share_them(results):
    """Compute that is predicted as if each of four ranks had one of the two cores."""
    net = results.net(results.nets()[0], "xpnet-numpy", results.runs[2])
    np.testing.assert_allclose([net.fixed, net.a_row], [2 * FIXED, 2 * A_ROW], rtol=1e-9)


def test_where_it_stops_paying(report, results):
    """Turning points that are not those of the formula's curve."""
    net = results.net(results.nets()[0], "xpnet-numpy", results.runs[1])
    curve = report.strong(net, 100_000, results.link)
    assert curve.efficiency[0] == 1.0
    # Continuous in n, the step is fastest at √((c1·batch - 2·bytes/b) / 2a).
    best = ((A_ROW * 100_000 - 2 * net.size / BANDWIDTH) / (2 * LATENCY)) ** 0.5
    assert curve.fastest() == pytest.approx(best, rel=0.05)
    half = curve.under_half()
    assert curve.efficiency[half - 1] < 0.5 <= curve.efficiency[half - 2]
    weak = report.weak(net, 100, results.link)
    assert np.all(np.diff(weak.seconds) > 0)
    assert report.strong(net, 100, results.link).ranks[-1] == 100  # one row a rank is the least


def test_page_and_figures(report, results, tmp_path):
    """A page that hides a missed bound, or figures that cannot be drawn."""
    text = report.generated([results])
    assert text.startswith(report.BEGIN)
    assert text.endswith(report.END)
    assert "held in 6 of 6 cases." in text
    assert "| 784-100-10 | 2 | 318,040 | 318,040 | 1 | 636,080 | 667,884 (+5.0 %) |" in text
    for found in results.runs[1]["nets"]:
        found["seconds"]["ddp"] = [0.5 * s for s in found["seconds"]["ddp"]]
    missed = report.generated([results])
    assert "held in 4 of 6 cases. Missed: 784-100-10 on NumPy with 2 ranks (2.00);" in missed
    for name, draw in report.CHARTS.items():
        draw(results, tmp_path / f"{name}.svg")
        draw(results, tmp_path / f"{name}-again.svg")
        pictures = [tmp_path / f"{name}{which}.svg" for which in ("", "-again")]
        assert pictures[0].read_bytes() == pictures[1].read_bytes()
