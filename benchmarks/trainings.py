"""Trainings that were run to the end once: `python benchmarks/trainings.py keep RUN ...`, `table`.

`keep` takes the folders that `xpnet train` has left, and writes their histories to
`results/trainings/`, each loss with six digits, with the command that repeats it. `table` writes
their table into the page, between its marks.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "results" / "trainings", HERE.parent / "docs" / "tutorial-convolution.md"
BEGIN, END = "<!-- begin: python benchmarks/trainings.py table -->\n", "<!-- end -->"
# What is not said in the table where it is this.
DEFAULTS = {"schedule": "constant", "shift": 0, "seed": 0, "weight_init": "he"}


def command(options: dict[str, Any]) -> str:
    names = ("net", "shift", "weight_init", "optimizer", "learning_rate", "schedule", "epochs")
    words = [
        f"--{name.replace('_', '-')} {options[name]}"
        for name in (*names, "seed")
        if options.get(name) not in (None, DEFAULTS.get(name))
    ]
    return f"xpnet train {' '.join(words)}"


def keep(run: Path) -> Path:
    history = json.loads((run / "history.json").read_text(encoding="utf-8"))
    options = json.loads((run / "options.json").read_text(encoding="utf-8"))
    history["loss"] = [float(f"{loss:.6g}") for loss in history["loss"]]
    history["command"] = command(options)
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{run.name}.json"
    path.write_text(json.dumps(history) + "\n", encoding="utf-8")
    return path


def table() -> str:
    rows = ["| Command | Seed | Test accuracy | Minutes |", "| --- | --- | --- | --- |"]
    found = [json.loads(path.read_text(encoding="utf-8")) for path in RESULTS.glob("*.json")]
    for h in sorted(found, key=lambda h: (h["test_accuracy"], h["command"])):
        words = h["command"].split(" --seed")[0]
        seed, share, minutes = h["settings"]["seed"], 100 * h["test_accuracy"], h["seconds"] / 60
        rows.append(f"| `{words}` | {seed} | {share:.2f} % | {minutes:.0f} |")
    return "\n".join(rows) + "\n"


def written(page: str) -> str:
    before, rest = page.split(BEGIN)
    return before + BEGIN + table() + rest[rest.index(END) :]


if __name__ == "__main__":
    what, *runs = sys.argv[1:] or ["table"]
    if what == "keep":
        for run in runs:
            print(keep(Path(run)))
    else:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
