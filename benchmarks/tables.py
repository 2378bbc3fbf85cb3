"""`xpnet train` on tables beside scikit-learn's MLP, with the same preprocessing.

    python benchmarks/tables.py run
    python benchmarks/tables.py table

Three sets that scikit-learn ships, as .csv files. For each of five seeds both are trained on the
same 80 % of the rows and measured on the same other 20 %: `xpnet.load_table`'s rows and an `MLP`
as the command makes it, with Adam; and a pipeline of scikit-learn's `StandardScaler` and
`MLPClassifier` (or `MLPRegressor`), which is Adam too. Sizes, batches and epochs are the same;
everything else is each library's own default. `table` writes the table of docs/own-data.md.
"""

from __future__ import annotations

import json
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
RESULTS = HERE / "results" / "tables.json"
PAGE = HERE.parent / "docs" / "own-data.md"
BEGIN, END = "<!-- table: begin -->", "<!-- table: end -->"
SEEDS, EPOCHS, SHARE = 5, 200, 0.2
SETS = {"wine": "accuracy", "breast cancer": "accuracy", "diabetes": "R²"}


def frame_of(name):
    """A set of scikit-learn's with its target behind it, as its users would save it."""
    from sklearn import datasets

    load = getattr(datasets, f"load_{name.replace(' ', '_')}")
    frame = load(as_frame=True).frame
    return frame.rename(columns={"target": "t"})


def with_xpnet(path, seed):
    """The score on the rows that are held out, by the command."""
    from click.testing import CliRunner

    from xpnet.cli import cli

    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, "run")
        words = [
            "train", str(path), "--optimizer", "adam", "--learning-rate", "0.001", "--epochs",
            str(EPOCHS), "--batch-size", "100", "--activation", "relu", "--weight-init", "xavier",
            "--seed", str(seed), "--no-pictures", "--quiet", "--out", str(out),
        ]  # fmt: skip
        done = CliRunner().invoke(cli, words)
        assert done.exit_code == 0, done.output
        history = json.loads((out / "history.json").read_text(encoding="utf-8"))
    return history.get("test_r2", history["test_accuracy"])


def with_sklearn(frame, path, seed):
    """The same by scikit-learn, on the same rows."""
    from sklearn.compose import TransformedTargetRegressor
    from sklearn.neural_network import MLPClassifier, MLPRegressor
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    from xpnet.datasets.described import held_out
    from xpnet.datasets.tables import load_table

    _, t, description = load_table(path)
    classes = description.class_names is not None
    train, test = held_out(t, SHARE, seed)
    x, y = frame.drop(columns="t").to_numpy(), frame["t"].to_numpy()
    net = (MLPClassifier if classes else MLPRegressor)(
        batch_size=100, max_iter=EPOCHS, random_state=seed
    )
    model = make_pipeline(StandardScaler(), net)
    if not classes:
        model = TransformedTargetRegressor(model, transformer=StandardScaler())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its own, of a run that ends before it converges
        model.fit(x[train], y[train])
    return model.score(x[test], y[test])


def run():
    """Train all, and write the scores."""
    import sklearn

    import xpnet

    versions = {"xpnet": xpnet, "scikit-learn": sklearn, "numpy": np}
    results = {"epochs": EPOCHS, "seeds": SEEDS, "sets": {}}
    results["versions"] = {name: module.__version__ for name, module in versions.items()}
    with tempfile.TemporaryDirectory() as folder:
        for name, score in SETS.items():
            frame, path = frame_of(name), Path(folder, f"{name.replace(' ', '-')}.csv")
            frame.to_csv(path, index=False)
            ours = [with_xpnet(path, seed) for seed in range(SEEDS)]
            theirs = [with_sklearn(frame, path, seed) for seed in range(SEEDS)]
            results["sets"][name] = {
                "rows": len(frame), "columns": frame.shape[1] - 1, "score": score, "xpnet": ours,
                "scikit-learn": theirs,
            }  # fmt: skip
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


def table_of(results):
    """The Markdown table of the scores: mean and deviation over the seeds."""
    lines = ["| set | rows × columns | score | xpnet | scikit-learn |", f"|{' --- |' * 5}"]
    for name, found in results["sets"].items():
        scores = [
            f"{np.mean(found[who]):.3f} ± {np.std(found[who], ddof=1):.3f}"
            for who in ("xpnet", "scikit-learn")
        ]
        size = f"{found['rows']} × {found['columns']}"
        lines.append(f"| {name} | {size} | {found['score']} | {' | '.join(scores)} |")
    return "\n".join(lines)


def written(page):
    """The page with the table of the results."""
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    results = json.loads(RESULTS.read_text(encoding="utf-8"))
    return f"{before}{BEGIN}\n\n{table_of(results)}\n\n{END}{after}"


if __name__ == "__main__":
    if sys.argv[1:] == ["run"]:
        run()
    elif sys.argv[1:] == ["table"]:
        PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        sys.exit(__doc__)
    print(table_of(json.loads(RESULTS.read_text(encoding="utf-8"))))
