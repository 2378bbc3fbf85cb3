"""From the JSON of the benchmarks, and nothing else: a page of tables and a chart.

    python benchmarks/report.py benchmarks/results/*.json --markdown docs/benchmarks.md \\
        --charts docs

Files of other programs, and runs without the training step, are passed over.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Bench = dict[str, Any]

STEP = "one step, 784-100-10, batch 100"
TRAINING = "10,000 steps end to end"
OVERHEAD = "fit over the bare runner, 100 steps a block"
WIDE = "wide net, 784-4096-4096-10"
PREDICTION = "prediction, 784-100-10"
STARTUP = "import and start-up"
MEMORY = "peak memory beyond the data set, NumPy"
COST = ["cost against batch", "cost against width", "cost against depth"]
NUMERICAL = "numerical gradient, "  # one group a net and dtype
# The order of the page; groups that are not named here come last.
GROUPS = [STEP, TRAINING, WIDE, *COST, PREDICTION, OVERHEAD, STARTUP, MEMORY]


# --- reading -----------------------------------------------------------------------------------


class Results:
    """One result file, by group and contender."""

    def __init__(self, path: Path) -> None:
        self.path = path
        content = json.loads(path.read_text(encoding="utf-8"))
        self.machine: dict[str, Any] = content["machine_info"]
        self.clock: str = content.get("clock", "perf_counter")
        self.quick: bool = content.get("quick", False)
        self.skipped: dict[str, str] = content.get("skipped", {})
        self.commit: dict[str, Any] = content.get("commit_info", {})
        self.when: str = content["datetime"][:10]
        self.groups: dict[str, list[Bench]] = {}
        for bench in content["benchmarks"]:
            self.groups.setdefault(bench["group"] or "others", []).append(bench)

    def find(self, group: str, name: str, **case: Any) -> Bench | None:
        for bench in self.groups.get(group, []):
            info = bench["extra_info"]
            if info.get("contender") == name and info.get("case", {}) == case:
                return bench
        return None

    def ratio(self, group: str, name: str, other: str, **case: Any) -> float | None:
        a, b = self.find(group, name, **case), self.find(group, other, **case)
        return None if a is None or b is None else paired(a, b)


def read(path: Path) -> Results | None:
    """The results of a file, None where it is none of this page's."""
    if "benchmarks" not in json.loads(path.read_text(encoding="utf-8")):
        return None
    results = Results(path)
    return results if STEP in results.groups else None


def paired(a: Bench, b: Bench) -> float | None:
    """Median over the rounds of time(a) / time(b) within a round."""
    rounds = a["stats"]["data"], b["stats"]["data"]
    if len(rounds[0]) != len(rounds[1]):
        return None
    return statistics.median(x / y for x, y in zip(*rounds, strict=True))


def seconds(bench: Bench) -> float:
    return bench["stats"]["median"]


def name_of(bench: Bench) -> str:
    return bench["extra_info"].get("contender") or bench["name"].removeprefix("bench_")


# --- the bounds --------------------------------------------------------------------------------


@dataclass(frozen=True)
class Bound:
    """A line of 'Done when': what is measured, and what it may be."""

    line: str
    says: str
    value: Callable[[Results], float | None]
    most: float | None = None
    least: float | None = None
    unit: str = "×"

    def row(self, results: Results) -> list[str] | None:
        value = self.value(results)
        if value is None:
            return None
        held = value <= self.most if self.most is not None else value >= (self.least or 0.0)
        sign, bound = ("≤", self.most) if self.most is not None else ("≥", self.least)
        return [
            self.line, self.says, f"{sign} {bound:g} {self.unit}", f"{value:.3g} {self.unit}",
            "yes" if held else "**no**",
        ]  # fmt: skip


def ratio(group: str, name: str, other: str) -> Callable[[Results], float | None]:
    return lambda results: results.ratio(group, name, other)


def absolute(group: str, name: str, factor: float) -> Callable[[Results], float | None]:
    def value(results: Results) -> float | None:
        bench = results.find(group, name)
        return None if bench is None else factor * seconds(bench)

    return value


def overhead(name: str) -> Callable[[Results], float | None]:
    """Per cent of the runner's time that a fit takes beside it, the two timed within one call."""

    def value(results: Results) -> float | None:
        bench = results.find(OVERHEAD, name)
        return None if bench is None else 100 * statistics.median(info(bench)["outside_runner"])

    return value


def memory(part: str) -> Callable[[Results], float | None]:
    """The worst of both ways to measure, as a share of the bound."""

    def value(results: Results) -> float | None:
        found = [info(b) for b in results.groups.get(MEMORY, []) if name_of(b).startswith(part)]
        return max((i["peak_bytes"] / i["bound_bytes"] for i in found), default=None)

    return value


def startup(name: str) -> Callable[[Results], float | None]:
    def value(results: Results) -> float | None:
        bench = results.find(STARTUP, name)
        return None if bench is None else info(bench)["beyond_numpy_seconds"]

    return value


def info(bench: Bench) -> dict[str, Any]:
    return bench["extra_info"]


BOUNDS = [
    Bound("1", "NumPy step, over its floor", ratio(STEP, "xpnet-numpy", "floor-numpy"), most=1.4),
    Bound("1", "scikit-learn, over NumPy", ratio(STEP, "scikit-learn", "xpnet-numpy"), least=2),
    Bound("1", "Torch eager, over NumPy", ratio(STEP, "torch-eager", "xpnet-numpy"), least=1.3),
    Bound("1", "the reference, over NumPy", ratio(STEP, "reference", "xpnet-numpy"), least=4),
    Bound("2", "Torch eager, over Torch CPU", ratio(STEP, "torch-eager", "xpnet-torch"), least=1.2),
    Bound("2", "JAX, over the hand-written scan", ratio(STEP, "xpnet-jax", "jax-scan"), most=1.1),
    Bound("3", "wide net on NumPy, of the matrix-product rate",
          ratio(WIDE, "products-numpy", "xpnet-numpy"), least=0.85),
    Bound("3", "wide net on Torch CPU, of the matrix-product rate",
          ratio(WIDE, "products-torch", "xpnet-torch"), least=0.85),
    *(Bound("4", f"`fit` beside the runner, {what} {place}", overhead(f"{fit}-{place}"), most=3,
            unit="%")
      for place in ("numpy", "torch", "jax", "torch-cuda", "cupy")
      for fit, what in (("fit", "on"), ("fit-progress", "with a progress bar, on"))),
    Bound("5", "peak memory of its bound, 784-100-10, batch 100", memory("784-100-10"), most=1),
    Bound("5", "peak memory of its bound, 784-4096-4096-10, batch 4096", memory("784-4096"),
          most=1),
    Bound("6", "Torch eager on the GPU, over the graph",
          ratio(STEP, "torch-eager-cuda", "xpnet-torch-cuda"), least=5),
    Bound("6", "a step of the graph", absolute(STEP, "xpnet-torch-cuda", 1e6), most=30, unit="µs"),
    Bound("6", "10,000 steps of the graph, warm", absolute(TRAINING, "xpnet-torch-cuda", 1e4),
          most=0.5, unit="s"),
    Bound("6", "Torch eager on the GPU, over CuPy",
          ratio(STEP, "torch-eager-cuda", "xpnet-cupy"), least=1),
    Bound("6", "wide net on Torch CUDA, of the matrix-product rate",
          ratio(WIDE, "products-torch-cuda", "xpnet-torch-cuda"), least=0.8),
    Bound("6", "wide net on CuPy, of the matrix-product rate",
          ratio(WIDE, "products-cupy", "xpnet-cupy"), least=0.8),
    Bound("", "`import xpnet` beyond `import numpy`", startup("import xpnet"), most=0.15,
          unit="s"),
]  # fmt: skip


# --- the page ----------------------------------------------------------------------------------


def table(head: list[str], rows: Iterable[list[str]]) -> list[str]:
    lines = ["| " + " | ".join(head) + " |", "|" + " --- |" * len(head)]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def shown(value: float | None, digits: int = 2) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def time_text(value: float) -> str:
    if value < 1e-3:
        return f"{1e6 * value:.3g} µs" if value < 1e-4 else f"{1e6 * value:.0f} µs"
    return f"{1e3 * value:.3g} ms" if value < 1 else f"{value:.2f} s"


def own_floor(bench: Bench, results: Results) -> float | None:
    """How often a step takes its library's floor, for xpnet's rows and for peers of a library."""
    name, group = name_of(bench), bench["group"]
    if info(bench).get("kind") == "floor" or name == "reference":
        return None
    library, device = info(bench).get("library"), info(bench).get("device")
    place = f"{library}-cuda" if (library, device) == ("torch", "cuda") else library
    return results.ratio(group, name, f"floor-{place}")


def step_table(results: Results, group: str) -> list[str]:
    rows = []
    for bench in sorted(results.groups[group], key=seconds):
        compiling = info(bench).get("compile_seconds") or 0.0
        rows.append([
            name_of(bench), time_text(seconds(bench)), shown(own_floor(bench, results)),
            shown(results.ratio(group, name_of(bench), "xpnet-numpy")),
            time_text(bench["stats"]["iqr"]), f"{compiling:.1f} s" if compiling > 0.05 else "",
        ])  # fmt: skip
    head = ["", "a step", "× its library's floor", "× xpnet on NumPy", "IQR", "compiling"]
    return table(head, rows)


def training_table(results: Results, group: str) -> list[str]:
    rows = [
        [
            name_of(bench), time_text(seconds(bench) * info(bench)["steps_a_round"]),
            shown(results.ratio(group, name_of(bench), "xpnet-numpy")),
            shown(100 * info(bench)["accuracy"]), shown(info(bench)["loss"], 4),
        ]
        for bench in sorted(results.groups[group], key=seconds)
    ]  # fmt: skip
    steps = max((info(bench)["steps_a_round"] for bench in results.groups[group]), default=0)
    head = ["", f"{steps:,} steps", "× xpnet on NumPy", "test accuracy, %", "last loss"]
    return table(head, rows)


def wide_table(results: Results, group: str) -> list[str]:
    rows = []
    for bench in results.groups[group]:
        name = name_of(bench)
        own = f"products-{name.partition('-')[2].removesuffix('-no-graph')}"
        share = results.ratio(group, own, name)
        percent = "" if share is None or name == own else f"{100 * share:.0f} %"
        rows.append([name, time_text(seconds(bench)), percent])
    sizes = info(results.groups[group][0])
    what = f"{'-'.join(map(str, sizes['layer_sizes']))}, batch {sizes['batch']}"
    return table([what, "a step", "of the library's matrix-product rate"], rows)


def case_table(results: Results, group: str) -> list[str]:
    """Contenders down, cases across."""
    benches = results.groups[group]
    cases = sorted({tuple(info(bench)["case"].items()) for bench in benches})
    names = list(dict.fromkeys(name_of(bench) for bench in benches))
    rows = []
    for name in names:
        found = [results.find(group, name, **dict(case)) for case in cases]
        rows.append([name, *("" if b is None else time_text(seconds(b)) for b in found)])
    head = ["", *(" ".join(f"{key} {value:,}" for key, value in case) for case in cases)]
    return table(head, rows)


def overhead_table(results: Results, group: str) -> list[str]:
    rows = []
    for bench in results.groups[group]:
        name = name_of(bench)
        if info(bench)["kind"] == "xpnet":
            continue
        runner = f"xpnet-{name.removeprefix('fit-').removeprefix('progress-')}"
        within = 100 * statistics.median(info(bench)["outside_runner"])
        rows.append([name, f"{within:.1f} %", shown(results.ratio(group, name, runner), 3)])
    return table(["", "beside the runner, within one call", "× the runner, in turns"], rows)


def startup_table(results: Results, group: str) -> list[str]:
    rows = [
        [f"`{name_of(b)}`", time_text(seconds(b)), time_text(info(b)["beyond_numpy_seconds"])
         if info(b)["beyond_numpy_seconds"] > 0 else ""]
        for b in results.groups[group]
    ]  # fmt: skip
    return table(["", "a fresh interpreter", "beyond `import numpy`"], rows)


def memory_table(results: Results, group: str) -> list[str]:
    rows = [
        [name_of(b), *(f"{info(b)[key] / 2**20:.3g}" for key in (
            "parameters_bytes", "activations_bytes", "peak_bytes", "bound_bytes"))]
        for b in results.groups[group]
    ]  # fmt: skip
    return table(["MiB", "parameters", "one batch's activations", "peak", "bound"], rows)


def numerical_table(results: Results, group: str) -> list[str]:
    rows = [
        [time_text(seconds(b)), time_text(info(b)["loop_seconds"]),
         f"{info(b)['times_faster']:,.0f}", f"{info(b)['entries']:,}"]
        for b in results.groups[group]
    ]  # fmt: skip
    head = ["structured", "plain loop, scaled from some entries", "× faster", "entries"]
    return table(head, rows)


def plain_table(results: Results, group: str) -> list[str]:
    benches = sorted(results.groups[group], key=seconds)
    rows = [[name_of(b), time_text(seconds(b)), shown(paired(b, benches[0]))] for b in benches]
    return table(["", "median", "× the fastest"], rows)


TABLES = {
    STEP: step_table,
    TRAINING: training_table,
    WIDE: wide_table,
    OVERHEAD: overhead_table,
    STARTUP: startup_table,
    MEMORY: memory_table,
    PREDICTION: case_table,
    **dict.fromkeys(COST, case_table),
}


def machine_lines(results: Results) -> list[str]:
    m = results.machine
    pools = [
        f"{p['internal_api']} {p['version']} "
        f"({p['architecture']} kernels, {p['num_threads']} threads)"
        for p in m["blas"]
        if p["user_api"] == "blas"
    ]
    settings = [f"{key}={value}" for key, value in m["settings"].items() if value is not None]
    lines = [
        f"- {m['cpu']}, {cores(m)}; {m['system']}, Python {m['python']}",
        *(f"- {g['name']}, {g['memory']}, driver {g['driver']}" for g in m["gpus"]),
        f"- NumPy's BLAS: {'; '.join(pools) or 'unknown'}",
        f"- environment: {', '.join(settings) or 'no setting of BLAS or OpenMP'}",
        "- " + ", ".join(f"{name} {version}" for name, version in m["versions"].items()),
        f"- Keras on {m.get('keras_backend')}",
    ]
    if results.clock != "perf_counter":
        lines.append(f"- **times are those of `time.{results.clock}`, not of a wall clock**")
    if results.quick:
        lines.append("- **a quick run: fewer and shorter rounds, no figures to quote**")
    without: dict[str, list[str]] = {}
    for name, reason in results.skipped.items():
        without.setdefault(reason, []).append(f"`{name}`")
    lines += [f"- left out, {reason}: {', '.join(names)}" for reason, names in without.items()]
    return [*lines, ""]


def cores(machine: dict[str, Any]) -> str:
    return f"{machine['cores']} core{'s' if machine['cores'] != 1 else ''}"


def page(all_results: list[Results], charts: dict[Path, Path]) -> str:
    lines = [
        "# Benchmarks", "",
        "Written by `benchmarks/report.py` from the result files named below; `nox -s bench`",
        "makes them. The contenders of a table took turns, and a ratio is the median over the",
        "rounds of the ratio within a round: times drift, ratios less. `floor-…` is gathering",
        "the batch and the two large matrix products in that library, nothing else; `xpnet-…`",
        "the bare runner; `fit-…` `xpnet.fit`. All compute in float32, but the reference, which",
        "has float64 weights.", "",
    ]  # fmt: skip
    for results in all_results:
        m = results.machine
        names = [m["cpu"], cores(m), *(g["name"] for g in m["gpus"][:1])]
        lines += [f"## {', '.join(names)}", ""]
        lines += [f"`benchmarks/results/{results.path.name}`, {results.when}", ""]
        lines += machine_lines(results)
        if results.path in charts:
            lines += [f"![Times of a step]({charts[results.path].name})", ""]
        rows = [row for bound in BOUNDS if (row := bound.row(results)) is not None]
        if rows:
            lines += ["### Bounds", ""]
            lines += table(["line", "", "bound", "measured", "held"], rows)
        order = [g for g in GROUPS if g in results.groups]
        for group in order + [g for g in results.groups if g not in GROUPS]:
            lines += [f"### {group[0].upper()}{group[1:]}", ""]
            other = numerical_table if group.startswith(NUMERICAL) else plain_table
            lines += TABLES.get(group, other)(results, group)
    return "\n".join(lines).rstrip() + "\n"


# --- the chart ---------------------------------------------------------------------------------

COLOURS = {"floor": "#b8bcc4", "xpnet": "#1f6fb4", "fit": "#7fb2dd", "peer": "#d9822b"}


def chart(results: Results, path: Path) -> None:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "xpnet"  # the same results, the same file
    from matplotlib import pyplot

    costs = [group for group in COST if group in results.groups]
    rows, columns = (2, 2) if costs else (1, 1)
    size = (6.5 * columns + (0 if costs else 2), 5 * rows)
    figure, axes = pyplot.subplots(rows, columns, figsize=size, layout="constrained", squeeze=False)
    _bars(axes[0, 0], results)
    for axis, group in itertools.zip_longest(axes.flat[1:], costs):
        if group is None:
            axis.remove()
        else:
            _curves(axis, results, group)
    m = results.machine
    where = ", ".join([f"{m['cpu']}, {cores(m)}", *(g["name"] for g in m["gpus"][:1])])
    figure.suptitle(f"One training step, {where}; median of interleaved rounds")
    metadata = {"Date": None} if path.suffix == ".svg" else None
    figure.savefig(path, metadata=metadata)
    pyplot.close(figure)


def _bars(axis: Any, results: Results) -> None:
    benches = sorted(results.groups.get(STEP, []), key=seconds, reverse=True)
    times = [1e6 * seconds(bench) for bench in benches]
    kinds = [info(bench)["kind"] for bench in benches]
    axis.barh([name_of(b) for b in benches], times, color=[COLOURS[kind] for kind in kinds])
    for i, value in enumerate(times):
        axis.text(value, i, f" {value:,.0f}", va="center", fontsize=9)
    axis.set_xlim(0, 1.15 * max(times, default=1))
    axis.set_xlabel("µs a step")
    axis.set_title("784-100-10, batch 100")
    handles = [axis.barh([0], [0], color=colour) for colour in COLOURS.values()]
    axis.legend(handles, ["floor", "xpnet, runner", "xpnet.fit", "peer"], loc="upper right")
    axis.spines[["top", "right"]].set_visible(False)


def _curves(axis: Any, results: Results, group: str) -> None:
    key = group.rpartition(" ")[2]
    benches = results.groups.get(group, [])
    for name in dict.fromkeys(name_of(bench) for bench in benches):
        mine = [b for b in benches if name_of(b) == name]
        points = sorted((info(b)["case"][key], 1e6 * seconds(b)) for b in mine)
        style = "o-" if info(mine[0])["kind"] == "xpnet" else "s--"
        axis.plot(*zip(*points, strict=True), style, label=name, markersize=5)
    axis.set(xscale="log", yscale="log", xlabel=key, ylabel="µs a step")
    ticks = sorted({info(bench)["case"][key] for bench in benches})
    axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axis.minorticks_off()
    axis.set_title(group[0].upper() + group[1:])
    axis.grid(alpha=0.3)
    axis.spines[["top", "right"]].set_visible(False)
    if benches:
        axis.legend(fontsize=9)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--markdown", type=Path, help="the page to write")
    parser.add_argument("--charts", type=Path, help="the folder for one chart a result file")
    options = parser.parse_args()
    everything = [results for path in options.results if (results := read(path)) is not None]
    charts: dict[Path, Path] = {}
    for results in everything:
        if options.charts is not None:
            charts[results.path] = options.charts / f"benchmarks-{results.path.stem}.svg"
            chart(results, charts[results.path])
    text = page(everything, charts)
    if options.markdown is None:
        print(text)
    else:
        options.markdown.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
