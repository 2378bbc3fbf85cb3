"""From the JSON of scaling.py, and nothing else: the measured part of a page, and its figures.

    python benchmarks/scaling_report.py benchmarks/results/scaling-*.json \\
        --page docs/beyond-one-machine.md --charts docs

The text goes between two marks of the page. The model and where its numbers come from:

    step(n, rows) = compute(rows of a rank) + overhead + all-reduce(n, bytes)
    compute(rows) = c0 + c1 rows              least squares, on the bare steps
    all-reduce(n, bytes) = g + 2 (n - 1) a + 2 (n - 1) / n · bytes / b
                                              g of one rank, a and b by least squares
    overhead                                  a step of one rank, less the bare step in turns with
                                              it, less g

So a step is predicted, not fitted. Least squares are of relative errors,
with no negative part; what is fitted are medians of rounds.
"""

from __future__ import annotations

import argparse
import functools
import json
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from report import cores, table, time_text
from scipy.optimize import nnls

BEGIN, END = "<!-- scaling: begin -->", "<!-- scaling: end -->"
CONTENDERS = ("xpnet-numpy", "xpnet-torch", "ddp")
NAMES = {
    "xpnet-numpy": "xpnet, NumPy", "xpnet-torch": "xpnet, Torch", "ddp": "DDP",
}  # fmt: skip
COLOURS = {"xpnet-numpy": "#1f6fb4", "xpnet-torch": "#7fb2dd", "ddp": "#d9822b"}
PREDICTED = "xpnet-numpy"  # whose compute the predictions are made of: the default backend
BOUND = 1.1
RANKS = np.arange(1, 1025)
LARGE_BATCH = 8192
HALF = 0.5  # the efficiency under which it does not pay


# --- the model -----------------------------------------------------------------------------------


def least_squares(parts: np.ndarray, seconds: np.ndarray) -> np.ndarray:
    """Factors of the columns of `parts`, none negative, by least squares of relative errors."""
    return nnls(parts / seconds[:, None], np.ones(len(seconds)))[0]


@dataclass(frozen=True)
class Link:
    """What one all-reduce costs: a call, a message, a byte."""

    name: str
    call: float
    latency: float
    bandwidth: float  # bytes a second

    def seconds(self, n: Any, size: float) -> Any:
        """Of the ring: 2 (n - 1) messages one after the other, 2 (n - 1) / n of the bytes."""
        return self.call + ring(n) * self.latency + ring(n) / n * size / self.bandwidth


def ring(n: Any) -> Any:
    return 2 * (n - 1)


@dataclass(frozen=True)
class Net:
    """A net on one backend: what a rank computes, and what it has to send."""

    layer_sizes: tuple[int, ...]
    size: int  # bytes of its gradients
    batch: int  # what was measured
    fixed: float
    a_row: float
    overhead: float

    @property
    def name(self) -> str:
        return "-".join(map(str, self.layer_sizes))

    def compute(self, rows: Any) -> Any:
        return self.fixed + self.a_row * rows

    def step(self, n: Any, batch: Any, link: Link) -> Any:
        """Seconds of a step on n ranks; `batch` is of all. The slowest rank has the most rows."""
        return self.compute(np.ceil(batch / n)) + self.overhead + link.seconds(n, self.size)


def median(seconds: Iterable[float]) -> float:
    return statistics.median(seconds)


class Results:
    """One result file, and the model fitted to it."""

    def __init__(self, path: Path) -> None:
        content = json.loads(path.read_text(encoding="utf-8"))
        self.path, self.stem = path, path.stem
        self.machine: dict[str, Any] = content["machine_info"]
        self.quick: bool = content["quick"]
        self.when: str = content["datetime"][:10]
        self.runs: list[dict[str, Any]] = sorted(content["runs"], key=lambda run: run["ranks"])
        if self.runs[0]["ranks"] != 1 or len(self.runs) < 2:
            raise SystemExit(f"{path}: the model needs a run of one rank, and one of several")

    @property
    def fitted(self) -> list[dict[str, Any]]:
        """The runs with several ranks that the all-reduce is fitted to: each rank had a core."""
        several = [run for run in self.runs if run["ranks"] > 1]
        return [run for run in several if not run["oversubscribed"]] or several[:1]

    @functools.cached_property
    def link(self) -> Link:
        call = median(median(point["seconds"]) for point in self.runs[0]["all_reduce"])
        points = [
            (run["ranks"], point["bytes"], median(point["seconds"]))
            for run in self.fitted
            for point in run["all_reduce"]
        ]
        n, size, seconds = map(np.asarray, zip(*points, strict=True))
        parts = np.stack([ring(n), ring(n) / n * size], axis=1)
        # Relative to all of the time, of which the call is a known part.
        weighed = parts / seconds[:, None]
        latency, a_byte = nnls(weighed, (seconds - call) / seconds)[0]
        return Link("loopback of this machine, measured", call, latency, 1 / a_byte)

    @property
    def assumed(self) -> Link:
        return Link("25 Gbit/s Ethernet, 20 µs a message, assumed", self.link.call, 20e-6, 25e9 / 8)

    def nets(self, run: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        return (run or self.runs[0])["nets"]

    def sweep(self, run: dict[str, Any], sizes: list[int], lane: str) -> list[tuple[int, float]]:
        """Rows of a share and the seconds of its bare step."""
        return [
            (point["rows"], median(point["seconds"][lane]))
            for point in run["compute"]
            if point["layer_sizes"] == sizes
        ]

    def line(self, run: dict[str, Any], sizes: list[int], lane: str) -> tuple[float, float]:
        """The line through a sweep: seconds of a step, and of a row."""
        rows, seconds = map(np.asarray, zip(*self.sweep(run, sizes, lane), strict=True))
        parts = np.stack([np.ones(len(rows)), rows], axis=1)
        fixed, a_row = least_squares(parts, seconds)
        return float(fixed), float(a_row)

    def net(self, found: dict[str, Any], lane: str, run: dict[str, Any]) -> Net:
        """The model of a net whose ranks compute beside each other as in `run`."""
        sizes = found["layer_sizes"]
        seconds = found_in(self.runs[0], sizes)["seconds"]
        bare = seconds[lane.replace("xpnet", "bare")]
        beyond = median(a - b for a, b in zip(seconds[lane], bare, strict=True))
        overhead = max(0.0, beyond - self.link.call)
        if run["compute"]:
            fixed, a_row = self.line(run, sizes, lane)
        else:  # more ranks than cores: each has its part of one
            fixed, a_row = self.line(self.fullest, sizes, lane)
            crowd = run["ranks_a_machine"] / self.machine["cores"]
            fixed, a_row, overhead = fixed * crowd, a_row * crowd, overhead * crowd
        size = found["parameters"] * found["item_size"]
        return Net(tuple(sizes), size, found["batch"], fixed, a_row, overhead)

    @property
    def fullest(self) -> dict[str, Any]:
        """The run with the most ranks of which each had a core: they share caches and memory."""
        return [run for run in self.runs if run["compute"]][-1]

    def ends(self) -> list[Net]:
        """The smallest and the largest net, for the predictions."""
        ordered = sorted(self.nets(), key=lambda found: found["parameters"])
        chosen = [ordered[0], ordered[-1]] if len(ordered) > 1 else ordered
        return [self.net(found, PREDICTED, self.fullest) for found in chosen]


def found_in(run: dict[str, Any], sizes: list[int]) -> dict[str, Any]:
    return next(found for found in run["nets"] if found["layer_sizes"] == sizes)


# --- text ----------------------------------------------------------------------------------------


def percent(value: float) -> str:
    return f"{100 * value:+.0f} %"


def size_text(size: float) -> str:
    for unit, factor in (("MiB", 2**20), ("KiB", 2**10)):
        if size >= factor:
            return f"{size / factor:.3g} {unit}"
    return f"{size:.0f} B"


def spread(seconds: list[float]) -> str:
    low, middle, high = np.quantile(seconds, (0.25, 0.5, 0.75))
    return f"{time_text(float(middle))} ({time_text(float(high - low))})"


def ratio(found: dict[str, Any], lane: str, other: str = "ddp") -> list[float]:
    pairs = zip(found["seconds"][lane], found["seconds"][other], strict=True)
    return [a / b for a, b in pairs]


def ranks_text(run: dict[str, Any]) -> str:
    return f"{run['ranks']}{' (oversubscribed)' if run['oversubscribed'] else ''}"


def source(results: Results) -> str:
    return f"From `benchmarks/results/{results.path.name}`."


def steps_table(results: Results) -> list[str]:
    rows = []
    for found in results.nets():
        for run in results.runs:
            here = found_in(run, found["layer_sizes"])
            row = ["-".join(map(str, here["layer_sizes"])), str(here["batch"]), ranks_text(run)]
            row += [spread(here["seconds"][lane]) for lane in CONTENDERS]
            for lane in CONTENDERS[:-1]:
                value = median(ratio(here, lane))
                row.append(f"{value:.2f}" if value <= BOUND else f"**{value:.2f}**")
            rows.append(row)
    head = ["net", "global batch", "ranks", *(NAMES[lane] for lane in CONTENDERS)]
    return table([*head, "NumPy / DDP", "Torch / DDP"], rows)


def bound_text(results: Results) -> str:
    every = [
        (f"{'-'.join(map(str, found['layer_sizes']))} on {NAMES[lane].split(', ')[1]} with "
         f"{run['ranks']} rank{'s' if run['ranks'] > 1 else ''}", median(ratio(found, lane)))
        for run in results.runs for found in run["nets"] for lane in CONTENDERS[:-1]
    ]  # fmt: skip
    missed = [f"{what} ({value:.2f})" for what, value in every if value > BOUND]
    held = len(every) - len(missed)
    text = f"The bound is {BOUND} × DDP's time; it held in {held} of {len(every)} cases"
    return text + (f". Missed: {'; '.join(missed)}." if missed else ".")


def bare_text(results: Results) -> str:
    parts = []
    for found in results.nets():
        values = [
            f"{median(ratio(found, f'xpnet-{lib}', f'bare-{lib}')):.2f} ({name})"
            for lib, name in (("numpy", "NumPy"), ("torch", "Torch"))
        ]
        parts.append(f"{'-'.join(map(str, found['layer_sizes']))} {', '.join(values)}")
    return (
        "With one rank, a step of `fit(..., distributed=True)` takes this many times the bare "
        "step, in turns with it: " + "; ".join(parts) + "."
    )  # fmt: skip


def bytes_table(results: Results) -> list[str]:
    rows = []
    for run in results.runs:
        for found in run["nets"]:
            size, n = found["parameters"] * found["item_size"], run["ranks"]
            expected = ring(n) * size
            row = ["-".join(map(str, found["layer_sizes"])), ranks_text(run), f"{size:,}"]
            given = {found["bytes"][lane]["a_step"] for lane in CONTENDERS[:-1]}
            calls = {found["bytes"][lane]["all_reduces_a_step"] for lane in CONTENDERS[:-1]}
            row.append(" / ".join(f"{value:,.0f}" for value in sorted(given)))
            row.append(" / ".join(f"{value:g}" for value in sorted(calls)))
            row.append(f"{expected:,}")
            for lane in CONTENDERS:
                crossed = found["bytes"][lane]["loopback_a_step"]
                if crossed is None or n == 1:
                    row.append("")
                else:
                    row.append(f"{crossed:,.0f} ({percent2(crossed / expected - 1)})")
            rows.append(row)
    head = [
        "net", "ranks", "parameters × item size", "given to `all_reduce`", "calls",
        "2(n−1) × these", *(f"crossed loopback, {NAMES[lane]}" for lane in CONTENDERS),
    ]  # fmt: skip
    return table(head, rows)


def percent2(value: float) -> str:
    return f"{100 * value:+.1f} %"


def all_reduce_table(results: Results) -> list[str]:
    several = [run for run in results.runs if run["ranks"] > 1]
    rows = []
    for i, point in enumerate(several[0]["all_reduce"]):
        row = [size_text(point["bytes"])]
        for run in several:
            seconds = run["all_reduce"][i]["seconds"]
            model = results.link.seconds(run["ranks"], point["bytes"])
            row += [spread(seconds), time_text(model), percent(model / median(seconds) - 1)]
        rows.append(row)
    head = ["bytes"]
    for run in several:
        head += [f"{ranks_text(run)} ranks", "model", "error"]
    return table(head, rows)


def compute_table(results: Results) -> list[str]:
    rows = []
    for found in results.nets():
        sizes = found["layer_sizes"]
        for run in (run for run in results.runs if run["compute"]):
            for lane in CONTENDERS[:-1]:
                fixed, a_row = results.line(run, sizes, lane)
                sweep = results.sweep(run, sizes, lane)
                errors = [f"{percent((fixed + a_row * n) / s - 1)}" for n, s in sweep]
                rows.append([
                    "-".join(map(str, sizes)), str(run["ranks"]), NAMES[lane].split(", ")[1],
                    time_text(fixed), time_text(a_row),
                    " ".join(time_text(s).replace(" ", "\u00a0") + "," for _, s in sweep)[:-1],
                    ", ".join(errors),
                ])  # fmt: skip
    shares = ", ".join(str(n) for n, _ in results.sweep(results.runs[0], sizes, lane))
    head = ["net", "ranks at once", "", "a step", "a row", f"measured at {shares} rows", "errors"]
    return table(head, rows)


def model_table(results: Results) -> list[str]:
    rows = []
    for found in results.nets():
        for lane in CONTENDERS[:-1]:
            for run in results.runs:
                net = results.net(found, lane, run)
                n = run["ranks"]
                measured = median(found_in(run, found["layer_sizes"])["seconds"][lane])
                parts = [
                    float(net.compute(np.ceil(net.batch / n))), net.overhead,
                    results.link.seconds(n, net.size),
                ]  # fmt: skip
                rows.append([
                    net.name, NAMES[lane].split(", ")[1], ranks_text(run),
                    *(time_text(part) if part else "0" for part in parts), time_text(sum(parts)),
                    time_text(measured), percent(sum(parts) / measured - 1),
                ])  # fmt: skip
    head = ["net", "", "ranks", "compute", "overhead", "all-reduce", "model", "measured", "error"]
    return table(head, rows)


# --- predictions ---------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curve:
    """Seconds of a step against ranks, and the efficiency."""

    ranks: np.ndarray
    seconds: np.ndarray
    efficiency: np.ndarray

    def under_half(self) -> int | None:
        below = np.flatnonzero(self.efficiency < HALF)
        return int(self.ranks[below[0]]) if len(below) else None

    def text(self, n: int) -> str:
        return f"{time_text(float(self.seconds[n - 1]))}, {100 * self.efficiency[n - 1]:.0f} %"

    def fastest(self) -> int:
        return int(self.ranks[np.argmin(self.seconds)])


def strong(net: Net, batch: int, link: Link) -> Curve:
    """The batch of all ranks stays: one rank, alone, reduces nothing."""
    ranks = RANKS[: min(batch, len(RANKS))]
    seconds = np.asarray(net.step(ranks, batch, link), dtype=float)
    seconds[0] -= link.call
    return Curve(ranks, seconds, seconds[0] / (ranks * seconds))


def weak(net: Net, rows: int, link: Link) -> Curve:
    """The batch of each rank stays."""
    seconds = np.asarray(net.step(RANKS, rows * RANKS, link), dtype=float)
    seconds[0] -= link.call
    return Curve(RANKS, seconds, seconds[0] / seconds)


def pays_table(results: Results) -> list[str]:
    rows = []
    for net in results.ends():
        for link in (results.link, results.assumed):
            for batch in (net.batch, LARGE_BATCH):
                curve = strong(net, batch, link)
                best, half = curve.fastest(), curve.under_half()
                last = int(curve.ranks[-1])
                gain = curve.seconds[0] / curve.seconds[best - 1]
                at_best = time_text(float(curve.seconds[best - 1]))
                rows.append([
                    net.name, link.name, f"strong, {batch:,} rows in all", until(half, last),
                    until(best if best < last else None, last),
                    f"{at_best}, {gain:.3g} × as fast as one rank",
                ])  # fmt: skip
            curve = weak(net, net.batch, link)
            last = int(curve.ranks[-1])
            a_second = last * net.batch / curve.seconds[-1]
            rows.append([
                net.name, link.name, f"weak, {net.batch:,} rows a rank",
                until(curve.under_half(), last), "1",
                f"{a_second:,.0f} rows a second on {last:,} ranks, "
                f"{a_second * curve.seconds[0] / net.batch:.3g} × one rank's",
            ])  # fmt: skip
    head = [
        "net", "network", "scaling", "efficiency under half from n =",
        "a step gets slower beyond n =", "at its best",
    ]  # fmt: skip
    return table(head, rows)


def until(found: int | None, last: int) -> str:
    return f"{found:,}" if found is not None else f"none up to {last:,}"


def at_table(results: Results) -> list[str]:
    """The predictions at some numbers of ranks."""
    ranks = [1, 2, 4, 8, 16, 64, 256, 1024]
    rows = []
    for net in results.ends():
        for link in (results.link, results.assumed):
            cases: list[tuple[str, Curve]] = [
                (f"strong, {batch:,} in all", strong(net, batch, link))
                for batch in (net.batch, LARGE_BATCH)
            ]
            cases.append((f"weak, {net.batch:,} a rank", weak(net, net.batch, link)))
            for what, curve in cases:
                cells = [curve.text(n) if n <= len(curve.ranks) else "" for n in ranks]
                rows.append([net.name, link.name.split(",")[0], what, *cells])
    return table(["net", "network", "scaling", *(f"{n:,}" for n in ranks)], rows)


def machine_lines(results: Results) -> list[str]:
    m = results.machine
    pools = [
        f"{p['internal_api']} {p['version']} ({p['architecture']} kernels)"
        for p in m["blas"] if p["user_api"] == "blas"
    ]  # fmt: skip
    settings = [f"{key}={value}" for key, value in m["settings"].items() if value is not None]
    versions = [f"{name} {m['versions'][name]}" for name in ("numpy", "torch")]
    rounds = {len(s) for run in results.runs for f in run["nets"] for s in f["seconds"].values()}
    few = sorted({min(rounds), max(rounds)})
    lines = [
        f"- {m['cpu']}, {cores(m)}; {m['system']}, Python {m['python']}, {', '.join(versions)}",
        f"- NumPy's BLAS: {'; '.join(pools) or 'unknown'}; Torch has its own",
        f"- environment: {', '.join(settings)}; so one thread a rank, for all",
        f"- gloo over loopback; {' to '.join(map(str, few))} interleaved rounds; {results.when}",
    ]
    if results.quick:
        lines.append("- **a quick run: fewer and shorter rounds, no figures to quote**")
    return [*lines, ""]


def section(results: Results) -> list[str]:
    m, link, stem = results.machine, results.link, results.stem
    where = f"{m['cpu']}, {cores(m)}"
    used = ", ".join(str(run["ranks"]) for run in results.fitted)
    crowded = [str(run["ranks"]) for run in results.runs if run["oversubscribed"]]
    beside = (
        f" With {' and '.join(crowded)} ranks there are more ranks than cores: they take turns, "
        "the model knows nothing of the waiting, and its errors there say how much that is."
        if crowded else ""
    )  # fmt: skip
    return [
        f"## Measured: {where}", "", *machine_lines(results),
        f"### Steps beside DistributedDataParallel ({where})", "",
        "Median of a step, its IQR in brackets; a ratio is the median over the rounds of the ratio",
        f"within a round. {bound_text(results)} {source(results)}", "",
        *steps_table(results), bare_text(results), "",
        f"![Step times against ranks]({stem}-steps.svg)", "",
        f"### Bytes ({where})", "",
        "What a step gives to `all_reduce` was counted there; what crosses loopback is what the",
        "kernel counts at the interface, headers and all, less its count while the ranks idle. A",
        "ring sends 2(n−1)/n of the bytes from each of n ranks, so 2(n−1) times them in all. "
        f"{source(results)}", "",
        *bytes_table(results),
        f"### The all-reduce ({where})", "",
        f"Fitted to {used} ranks: {time_text(link.call)} a call (one rank, which sends nothing), "
        f"{time_text(link.latency)} a message, {link.bandwidth / 1e9:.2f} GB/s.{beside} "
        f"{source(results)}", "",
        *all_reduce_table(results),
        f"![The all-reduce against its bytes, and the model]({stem}-all-reduce.svg)", "",
        f"### Compute ({where})", "",
        f"The bare step, without any reduction, on as many ranks at once. {source(results)}", "",
        *compute_table(results),
        f"![The bare step against its rows, and the model]({stem}-compute.svg)", "",
        f"### The model beside the steps ({where})", "",
        "The overhead is what a step of one rank takes beyond the bare step, in turns with it. All",
        "rows are predictions from the parts; nothing was fitted to them.",
        f"{source(results)}", "",
        *model_table(results),
        f"### Up to 1,024 ranks: where it stops paying ({where})", "",
        f"**Predictions, not measurements**, from the compute of {NAMES[PREDICTED]} with "
        f"{results.fullest['ranks']} rank(s) computing at once. "
        f"*{link.name[0].upper()}{link.name[1:]}*: as if every rank had a core of this machine and "
        "the messages went as fast as they do within it. "
        f"*{results.assumed.name}*: these two numbers are an assumption, and so is that gloo "
        f"fills the link: that needs {results.assumed.bandwidth / 1e9:.2f} GB/s, where it reached "
        f"{link.bandwidth / 1e9:.2f} on loopback with the ranks' own cores. No rank is ever late "
        "in this model; on a real cluster some are. "
        f"{source(results)}", "",
        *pays_table(results),
        "A step and its efficiency, against ranks:", "",
        *at_table(results),
        f"![Strong and weak scaling to 1,024 ranks, predicted]({stem}-predicted.svg)", "",
    ]  # fmt: skip


# --- figures -------------------------------------------------------------------------------------


def figure(rows: int, columns: int, width: float, height: float) -> Any:
    import matplotlib

    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "xpnet"  # the same results, the same file
    from matplotlib import pyplot

    return pyplot.subplots(
        rows, columns, figsize=(width, height), layout="constrained", squeeze=False
    )


def finish(figure: Any, path: Path) -> None:
    from matplotlib import pyplot

    for axis in figure.axes:
        axis.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None} if path.suffix == ".svg" else None)
    pyplot.close(figure)


def draw_steps(results: Results, path: Path) -> None:
    nets = results.nets()
    drawn, axes = figure(1, len(nets), 4.3 * len(nets), 4.2)
    for axis, found in zip(axes[0], nets, strict=True):
        for i, lane in enumerate(CONTENDERS):
            for k, run in enumerate(results.runs):
                seconds = 1e3 * np.asarray(found_in(run, found["layer_sizes"])["seconds"][lane])
                low, middle, high = np.quantile(seconds, (0.25, 0.5, 0.75))
                axis.bar(
                    k + 0.27 * (i - 1), middle, 0.25, color=COLOURS[lane],
                    yerr=[[middle - low], [high - middle]], ecolor="#444444", capsize=2,
                    label=NAMES[lane] if k == 0 else None,
                )  # fmt: skip
                if lane in CONTENDERS[:-1]:
                    net = results.net(found, lane, run)
                    model = 1e3 * float(net.step(run["ranks"], net.batch, results.link))
                    axis.plot(
                        k + 0.27 * (i - 1), model, "k_", markersize=14, markeredgewidth=1.5,
                        label="model" if k == i == 0 else None,
                    )  # fmt: skip
        labels = [ranks_text(run).replace(" (", "\n(") for run in results.runs]
        axis.set_xticks(range(len(labels)), labels)
        axis.set(xlabel="ranks", title=f"{'-'.join(map(str, found['layer_sizes']))}\n"
                 f"global batch {found['batch']}")  # fmt: skip
        axis.grid(axis="y", alpha=0.3)
        axis.set_axisbelow(True)
    axes[0, 0].set_ylabel("ms a step; bars: IQR of the rounds")
    axes[0, 0].legend(fontsize=9)
    finish(drawn, path)


def draw_all_reduce(results: Results, path: Path) -> None:
    drawn, axes = figure(1, 1, 6.5, 4.6)
    axis = axes[0, 0]
    sizes = np.geomspace(2**10, 2**28, 200)
    for i, run in enumerate(run for run in results.runs if run["ranks"] > 1):
        colour = ("#1f6fb4", "#d9822b", "#4a9a5b", "#8a5fb0")[i % 4]
        points = [(p["bytes"], np.quantile(p["seconds"], (0.25, 0.5, 0.75)) * 1e3)
                  for p in run["all_reduce"]]  # fmt: skip
        x, y = [p[0] for p in points], np.asarray([p[1] for p in points])
        bars = np.abs(y[:, [0, 2]] - y[:, [1]]).T
        axis.errorbar(x, y[:, 1], bars, fmt="o", color=colour, capsize=2, markersize=5,
                      label=f"{ranks_text(run)} ranks")  # fmt: skip
        style = "-" if run in results.fitted else "--"
        label = "its fit" if run in results.fitted else "the same model, not fitted to these"
        axis.plot(sizes, 1e3 * results.link.seconds(run["ranks"], sizes), style, color=colour,
                  label=label)  # fmt: skip
    axis.set(xscale="log", yscale="log", xlabel="bytes", ylabel="ms an all-reduce")
    axis.set_xscale("log", base=2)
    ticks = [p["bytes"] for p in results.runs[-1]["all_reduce"]][::2]
    axis.set_xticks(ticks, [size_text(tick) for tick in ticks])
    axis.grid(alpha=0.3)
    axis.legend(fontsize=9)
    axis.set_title("gloo over loopback: one all-reduce against its bytes")
    finish(drawn, path)


def draw_compute(results: Results, path: Path) -> None:
    nets = results.nets()
    drawn, axes = figure(1, len(nets), 4.3 * len(nets), 4.2)
    runs = [run for run in results.runs if run["compute"]]
    for axis, found in zip(axes[0], nets, strict=True):
        sizes = found["layer_sizes"]
        for run in (runs[0], runs[-1]) if len(runs) > 1 else runs:
            for lane in CONTENDERS[:-1]:
                sweep = results.sweep(run, sizes, lane)
                fixed, a_row = results.line(run, sizes, lane)
                rows = np.geomspace(sweep[0][0], sweep[-1][0], 100)
                filled = {} if run is runs[0] else {"markerfacecolor": "white"}
                axis.plot(
                    *zip(*((n, 1e3 * s) for n, s in sweep), strict=True),
                    "o" if run is runs[0] else "s", color=COLOURS[lane], markersize=5, **filled,
                    label=f"{NAMES[lane]}, {run['ranks']} at once",
                )  # fmt: skip
                axis.plot(rows, 1e3 * (fixed + a_row * rows), "-" if run is runs[0] else "--",
                          color=COLOURS[lane])  # fmt: skip
        ticks = [n for n, _ in sweep]
        axis.set(xscale="log", yscale="log", xlabel="rows of a rank's share",
                 title="-".join(map(str, sizes)))  # fmt: skip
        axis.set_xticks(ticks, [str(tick) for tick in ticks])
        axis.minorticks_off()
        axis.grid(alpha=0.3)
    axes[0, 0].set_ylabel("ms a bare step")
    axes[0, 0].legend(fontsize=9)
    finish(drawn, path)


def draw_predictions(results: Results, path: Path) -> None:
    nets = results.ends()
    drawn, axes = figure(len(nets), 2, 11, 5.2 * len(nets))
    links = ((results.link, "#1f6fb4"), (results.assumed, "#d9822b"))
    for (left, right), net in zip(axes, nets, strict=True):
        for batch, style in ((net.batch, "--"), (LARGE_BATCH, "-")):
            for link, colour in links:
                curve = strong(net, batch, link)
                left.plot(curve.ranks, 1e3 * curve.seconds, style, color=colour,
                          label=f"{batch:,} rows in all, {link.name.split(',')[0]}")  # fmt: skip
                best = curve.fastest()
                left.plot(best, 1e3 * curve.seconds[best - 1], "v", color=colour, markersize=6)
                half = curve.under_half()
                if half is not None:
                    left.plot(half, 1e3 * curve.seconds[half - 1], "o", color=colour,
                              markersize=6, markerfacecolor="white")  # fmt: skip
            left.plot(curve.ranks, 1e3 * curve.seconds[0] / curve.ranks, ":", color="#999999",
                      label="no cost but compute" if style == "-" else None)  # fmt: skip
        left.plot([], [], "o", color="#444444", markerfacecolor="white",
                  label="efficiency falls under half")  # fmt: skip
        left.plot([], [], "v", color="#444444", label="the fastest step")
        left.set(xscale="log", yscale="log", xlabel="ranks", ylabel="ms a step",
                 title=f"{net.name}: strong scaling")  # fmt: skip
        for link, colour in links:
            curve = weak(net, net.batch, link)
            right.plot(curve.ranks, 100 * curve.efficiency, color=colour,
                       label=link.name)  # fmt: skip
        right.axhline(100 * HALF, color="#999999", linestyle=":")
        right.set(xscale="log", ylim=(0, 105), xlabel="ranks", ylabel="efficiency, %",
                  title=f"{net.name}: weak scaling, {net.batch} rows a rank")  # fmt: skip
        for axis in (left, right):
            ticks = [4**k for k in range(6)]
            axis.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
            axis.grid(alpha=0.3)
            axis.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncol=2)
    drawn.suptitle("Predicted, not measured")
    finish(drawn, path)


CHARTS: dict[str, Callable[[Results, Path], None]] = {
    "steps": draw_steps,
    "all-reduce": draw_all_reduce,
    "compute": draw_compute,
    "predicted": draw_predictions,
}


def generated(all_results: list[Results]) -> str:
    """What belongs between the marks of the page."""
    lines = [BEGIN, "", *(line for results in all_results for line in section(results)), END]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", nargs="+", type=Path)
    parser.add_argument("--page", type=Path, help="the page to write into, between its marks")
    parser.add_argument("--charts", type=Path, help="the folder for the figures")
    words = parser.parse_args()
    everything = [Results(path) for path in words.results]
    if words.charts is not None:
        for results in everything:
            for name, draw in CHARTS.items():
                draw(results, words.charts / f"{results.stem}-{name}.svg")
    text = generated(everything)
    if words.page is None:
        print(text)
    else:
        page = words.page.read_text(encoding="utf-8")
        before, rest = page.split(BEGIN)
        _, after = rest.split(END)
        words.page.write_text(before + text + after, encoding="utf-8")


if __name__ == "__main__":
    main()
