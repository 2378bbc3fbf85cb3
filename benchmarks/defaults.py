"""What the defaults reach on MNIST: `python benchmarks/defaults.py [run]`.

Each optimizer trains with its own learning rate, batches of 100 rows and seed 0, and all else as
`MLP` and `fit` have it: 784-100-10 with sigmoids for 5,000 steps, and 784-100-100-10 with ReLU for
1,000. `run` trains, and writes `results/defaults.json`; without it, the table of that file is
written into the page, between its marks.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import xpnet
from xpnet.optimizers import OPTIMIZERS

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "results" / "defaults.json", HERE.parent / "docs" / "stop-at-the-best.md"
BEGIN, END = "<!-- begin: python benchmarks/defaults.py -->\n", "<!-- end -->"
NETS = {
    "784-100-10, sigmoid, 5,000 steps": ([784, 100, 10], "sigmoid", 5000),
    "784-100-100-10, ReLU, 1,000 steps": ([784, 100, 100, 10], "relu", 1000),
}


def run() -> dict[str, Any]:
    import machine  # beside this file, where only a program that is run finds it

    (x, t), (x_test, t_test) = xpnet.load_mnist()
    accuracies: dict[str, dict[str, float]] = {}
    for title, (sizes, activation, steps) in NETS.items():
        for name in OPTIMIZERS:
            net = xpnet.MLP(sizes, activation=activation, seed=0)
            history = xpnet.fit(net, x, t, steps=steps, optimizer=name)
            accuracy = float(net.accuracy(x_test, t_test))
            accuracies.setdefault(name, {})[title] = accuracy
            print(f"{title}, {name}: {100 * accuracy:.2f} %, {history.seconds:.1f} s")
    rates = {name: make().default_rate for name, make in OPTIMIZERS.items()}
    about = {key: machine.describe()[key] for key in ("cpu", "xpnet", "versions")}
    return {"how": __doc__, **about, "learning_rate": rates, "test_accuracy": accuracies}


def table() -> str:
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    rows = [
        f"| `optimizer=` | Its learning rate | {' | '.join(NETS)} |",
        "| --- | --- | --- | --- |",
    ]
    for name, rate in found["learning_rate"].items():
        shares = [f"{100 * found['test_accuracy'][name][title]:.2f} %" for title in NETS]
        rows.append(f'| `"{name}"` | {rate:g} | {" | ".join(shares)} |')
    return "\n".join(rows) + "\n"


def written(page: str) -> str:
    before, rest = page.split(BEGIN)
    return before + BEGIN + table() + rest[rest.index(END) :]


if __name__ == "__main__":
    if sys.argv[1:] == ["run"]:
        RESULTS.write_text(json.dumps(run(), indent=1) + "\n", encoding="utf-8")
        print(table())
    else:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
