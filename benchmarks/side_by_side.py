"""xpnet.sklearn beside scikit-learn's MLP: the same data, splits, parameters and seeds.

    python benchmarks/side_by_side.py run RESULTS.json
    python benchmarks/side_by_side.py table RESULTS.json docs/scikit-learn.md

The second puts a table of the first's JSON between two marks of a page. Each seed is a split of
the data and the estimators' random_state; the contenders take turns within it, the other way
round in every second round. Times are of the process (`time.process_time`): run it with one
thread, such as ``OPENBLAS_NUM_THREADS=1``.
"""

from __future__ import annotations

import argparse
import datetime
import json
import statistics
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import machine
import numpy as np
from sklearn import datasets, neural_network
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.preprocessing import StandardScaler

import xpnet
import xpnet.sklearn

SEEDS = range(5)
BEGIN, END = "<!-- side by side: begin -->", "<!-- side by side: end -->"
CONTENDERS = ("scikit-learn", "xpnet", "xpnet float32")
Data = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def california_like() -> tuple[np.ndarray, np.ndarray]:
    """Rows, columns and the kind of dependence of the California housing data, which is a download.

    8 columns, a smooth function with an interaction, and noise that caps R² at about 0.8.
    """
    rng = np.random.default_rng(0)
    X = rng.normal(size=(20_640, 8)) * [1.9, 12.6, 2.5, 0.5, 1132.0, 10.4, 2.1, 2.0]
    Z = X / X.std(axis=0)
    y = Z[:, 0] + np.sin(2.0 * Z[:, 6]) * Z[:, 7] + 0.5 * np.abs(Z[:, 2]) - 0.3 * Z[:, 5] ** 2
    return X, y + rng.normal(scale=0.5 * y.std(), size=len(y))


def split(X: np.ndarray, y: np.ndarray, seed: int, *, classes: bool) -> Data:
    X, X_test, y, y_test = train_test_split(
        X, y, test_size=0.25, random_state=seed, stratify=y if classes else None
    )
    scaler = StandardScaler().fit(X)
    if not classes:
        y_test, y = (y_test - y.mean()) / y.std(), (y - y.mean()) / y.std()
    return scaler.transform(X), scaler.transform(X_test), y, y_test


def mnist() -> Data:
    (X, y), (X_test, y_test) = xpnet.load_mnist()
    return X, X_test, y, y_test


# Name, whether it has classes, the data of a seed, what is not scikit-learn's default, rounds.
CASES: list[tuple[str, bool, Callable[[int], Data], dict[str, Any], int]] = []
for name, load, rounds in (
    ("digits", datasets.load_digits, 3),
    ("breast cancer", datasets.load_breast_cancer, 3),
    ("wine", datasets.load_wine, 5),
):
    CASES.append(
        (name, True, lambda s, f=load: split(*f(return_X_y=True), s, classes=True), {}, rounds)
    )
CASES += [
    (
        "diabetes",
        False,
        lambda s: split(*datasets.load_diabetes(return_X_y=True), s, classes=False),
        {},
        3,
    ),
    ("california-like", False, lambda s: split(*california_like(), s, classes=False), {}, 1),
    ("MNIST", True, lambda s: mnist(), {"max_iter": 20}, 1),
]


def build(contender: str, parameters: dict[str, Any], *, classes: bool) -> Any:
    module = neural_network if contender == "scikit-learn" else xpnet.sklearn
    if contender == "xpnet float32":
        parameters = {**parameters, "dtype": "float32"}
    return (module.MLPClassifier if classes else module.MLPRegressor)(**parameters)


def measure(only: list[str]) -> list[dict[str, Any]]:
    warnings.simplefilter("ignore", ConvergenceWarning)
    found = []
    for name, classes, load, parameters, rounds in CASES:
        if only and name not in only:
            continue
        runs: dict[str, list[dict[str, Any]]] = {contender: [] for contender in CONTENDERS}
        for seed in SEEDS:
            X, X_test, y, y_test = load(seed)
            # X of float32 is trained on in float32 by all.
            taking_turns = CONTENDERS[: 2 if X.dtype == np.float32 else 3]
            seconds: dict[str, list[float]] = {contender: [] for contender in taking_turns}
            models = {}
            for turn in range(rounds):
                for contender in taking_turns if turn % 2 == 0 else reversed(taking_turns):
                    model = build(contender, {"random_state": seed, **parameters}, classes=classes)
                    start = time.process_time()
                    models[contender] = model.fit(X, y)
                    seconds[contender].append(time.process_time() - start)
            for contender in taking_turns:
                run = {
                    "seed": seed,
                    "seconds": seconds[contender],
                    "score": float(models[contender].score(X_test, y_test)),
                    "epochs": int(models[contender].n_iter_),
                    "loss": float(models[contender].loss_),
                }
                runs[contender].append(run)
        case = {
            "name": name,
            "score": "accuracy" if classes else "R²",
            "rows": len(X),
            "columns": X.shape[1],
            "dtype": X.dtype.name,
            "parameters": parameters,
            "runs": {contender: values for contender, values in runs.items() if values},
        }
        found.append(case)
        print("\n".join(lines(case)), flush=True)
    return found


def times(case: dict[str, Any], contender: str) -> list[float]:
    """Seconds of a fit, the median of the rounds, one for each seed."""
    return [statistics.median(run["seconds"]) for run in case["runs"][contender]]


def lines(case: dict[str, Any]) -> list[str]:
    """Rows of the table: one for each of our contenders."""
    theirs = [run["score"] for run in case["runs"]["scikit-learn"]]
    mean, deviation = statistics.mean(theirs), statistics.stdev(theirs)
    base = times(case, "scikit-learn")
    rows = []
    for contender in CONTENDERS[1:]:
        if contender not in case["runs"]:
            continue
        ours = [run["score"] for run in case["runs"][contender]]
        seconds = times(case, contender)
        ratio = statistics.median(a / b for a, b in zip(seconds, base, strict=True))
        epochs = [
            statistics.median(run["epochs"] for run in case["runs"][who])
            for who in ("scikit-learn", contender)
        ]
        dtype = "float32" if contender.endswith("float32") else case["dtype"]
        good = statistics.mean(ours) >= mean - deviation
        rows.append(
            f"| {case['name']}, {case['rows']:,} × {case['columns']}, {dtype} | {case['score']} "
            f"{mean:.4f} ± {deviation:.4f} | {statistics.mean(ours):.4f} ± "
            f"{statistics.stdev(ours):.4f}{'' if good else ' (worse)'} | "
            f"{epochs[0]:g}, {epochs[1]:g} | {statistics.median(base):.3f} s | "
            f"{statistics.median(seconds):.3f} s | {ratio:.2f}{' ✓' if ratio <= 0.5 else ''} |"
        )
    return rows


def page(results: dict[str, Any], path: Path, source: Path) -> None:
    """Put the table between the marks of a page."""
    here = results["machine_info"]
    pools = ", ".join(
        f"{pool['internal_api']} {pool['version']} ({pool['architecture']} kernels, "
        f"{pool['num_threads']} thread{'s' if pool['num_threads'] > 1 else ''})"
        for pool in here["blas"]
        if pool["user_api"] == "blas"
    )
    versions = here["versions"]
    table = [
        BEGIN,
        "",
        "| training rows × columns, dtype of the net | scikit-learn | xpnet | epochs of each "
        "| scikit-learn's fit | xpnet's | ratio |",
        "| --- | --- | --- | --- | --- | --- | --- |",
        *(row for case in results["cases"] for row in lines(case)),
        "",
        f"{here['cpu']}, {here['cores']} core(s) used; {pools}; Python {here['python']}, NumPy "
        f"{versions['numpy']}, scikit-learn {versions['scikit-learn']}, {results['datetime'][:10]}"
        f". From `benchmarks/results/{source.name}`.",
        "",
        END,
    ]
    text = path.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    path.write_text(before + "\n".join(table) + after, encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("task", choices=["run", "table"])
    parser.add_argument("results", type=Path)
    parser.add_argument("page", type=Path, nargs="?")
    parser.add_argument("--only", action="append", default=[], help="a data set's name")
    words = parser.parse_args()
    if words.task == "run":
        results = {
            "datetime": datetime.datetime.now(datetime.UTC).isoformat(),
            "machine_info": machine.describe(),
            "clock": "process_time",
            "cases": measure(words.only),
        }
        words.results.write_text(
            json.dumps(results, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    else:
        results = json.loads(words.results.read_text(encoding="utf-8"))
        page(results, words.page, words.results)


if __name__ == "__main__":
    main()
