"""Sparse X in xpnet.sklearn and in scikit-learn's MLP: time and peak memory, in turns.

    python benchmarks/sparse.py run RESULTS.json
    python benchmarks/sparse.py table RESULTS.json docs/scikit-learn.md

Each fit and prediction is a process of its own, so that its peak is its own; memory is beyond what
the process has before the fit (its imports and X). Times are of the process
(`time.process_time`), the median of the rounds: run it with one thread, such as
``OPENBLAS_NUM_THREADS=1``.
"""

from __future__ import annotations

import argparse
import datetime
import json
import resource
import statistics
import subprocess
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import machine
import numpy as np

EACH = 20  # numbers in a row
CASES = [(50_000, 50_000, 1), (10_000, 20_000, 5)]  # rows, columns, epochs
ROUNDS = 3
BEGIN, END = "<!-- sparse: begin -->", "<!-- sparse: end -->"
CONTENDERS = ("scikit-learn", "xpnet")


def peak() -> int:
    """Return the largest size that this process has had, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(contender: str, rows: int, columns: int, epochs: int) -> dict[str, float]:
    """Fit and predict once, in this process."""
    from scipy.sparse import csr_matrix

    if contender == "scikit-learn":
        from sklearn.neural_network import MLPClassifier
    else:
        from xpnet.sklearn import MLPClassifier
    warnings.simplefilter("ignore")
    rng = np.random.default_rng(0)
    ends = np.arange(0, rows * EACH + 1, EACH)
    numbers = rng.random(rows * EACH), rng.integers(0, columns, rows * EACH), ends
    X, y = csr_matrix(numbers, shape=(rows, columns)), rng.integers(0, 3, rows)
    model, before = MLPClassifier(max_iter=epochs, random_state=0), peak()
    start = time.process_time()
    model.fit(X, y)
    fitted = time.process_time()
    model.predict(X)
    done = time.process_time()
    times = {"fit": fitted - start, "predict": done - fitted}
    return {**times, "bytes": peak() - before, "process": peak(), "loss": float(model.loss_)}


def run() -> list[dict[str, Any]]:
    """Measure all, the contenders in turns."""
    cases = []
    for case in CASES:
        runs: dict[str, list[dict[str, float]]] = {contender: [] for contender in CONTENDERS}
        for turn in range(ROUNDS):
            for contender in CONTENDERS if turn % 2 == 0 else reversed(CONTENDERS):
                words = [sys.executable, __file__, "one", contender, *map(str, case)]
                done = subprocess.run(words, capture_output=True, text=True, check=True)
                runs[contender].append(json.loads(done.stdout))
        cases.append({"rows": case[0], "columns": case[1], "epochs": case[2], "runs": runs})
        print(line(cases[-1]), flush=True)
    return cases


def line(case: dict[str, Any]) -> str:
    """Return the row of the table."""

    def of(contender: str, key: str) -> float:
        return statistics.median(one[key] for one in case["runs"][contender])

    cells = [f"{case['rows']:,} × {case['columns']:,}, {case['epochs']} epoch(s)"]
    for key in ("fit", "predict"):
        theirs, ours = (of(contender, key) for contender in CONTENDERS)
        cells.append(f"{theirs:.2f} s, {ours:.2f} s ({ours / theirs:.2f})")
    theirs, ours = (of(contender, "bytes") / 1e6 for contender in CONTENDERS)
    cells.append(f"{theirs:.0f} MB, {ours:.0f} MB")
    cells.append(f"{8 * case['rows'] * case['columns'] / 1e9:.1f} GB")
    return f"| {' | '.join(cells)} |"


def page(results: dict[str, Any], path: Path, source: Path) -> None:
    """Put the table between the marks of a page."""
    here = results["machine_info"]
    table = [
        BEGIN,
        "",
        f"| {EACH} numbers a row | fit: scikit-learn, xpnet | predict | memory beyond X "
        "| X dense |",
        "| --- | --- | --- | --- | --- |",
        *(line(case) for case in results["cases"]),
        "",
        f"Medians of {ROUNDS} processes each, in turns, process time, one thread; {here['cpu']}, "
        f"Python {here['python']}, NumPy {here['versions']['numpy']}, scikit-learn "
        f"{here['versions']['scikit-learn']}, {results['datetime'][:10]}. From "
        f"`benchmarks/results/{source.name}`.",
        "",
        END,
    ]
    text = path.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    path.write_text(before + "\n".join(table) + after, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=["run", "table", "one"])
    parser.add_argument("words", nargs="+")
    task, words = (given := parser.parse_args()).task, given.words
    if task == "one":
        print(json.dumps(measure(words[0], *map(int, words[1:]))))
    elif task == "run":
        results = {
            "datetime": datetime.datetime.now(datetime.UTC).isoformat(),
            "machine_info": machine.describe(), "clock": "process_time", "cases": run(),
        }  # fmt: skip
        text = json.dumps(results, indent=1, ensure_ascii=False) + "\n"
        Path(words[0]).write_text(text, encoding="utf-8")
    else:
        source = Path(words[0])
        page(json.loads(source.read_text(encoding="utf-8")), Path(words[1]), source)


if __name__ == "__main__":
    main()
