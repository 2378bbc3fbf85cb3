"""Convolutional nets beside the same library's own: `python benchmarks/convolution.py`.

A step is batch → forward → loss → backward → Adam, of the textbook's SimpleConvNet and DeepConvNet
at batch 100 in float32. Contenders: xpnet on NumPy, Torch and JAX by the runner that `fit` uses;
`torch-own`, nn.Conv2d with autograd and torch.optim.Adam; `jax-own`, lax.conv_general_dilated under
jit, several steps in one lax.scan, as xpnet's. All of a table are in one process and take turns; a
ratio is the median over the rounds of the ratio within a round. The memory of a step is how far the
peak of a process of its own rises above what it held before the first step.

Writes `results/convolution-….json` and its table into docs/benchmarks-convolution.md; `--page` does
that alone. `--cpu-time` counts the process's CPU time instead, for one thread on a machine that
others use.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS, PAGE = HERE / "results", HERE.parent / "docs" / "benchmarks-convolution.md"
BEGIN, END = "<!-- begin: python benchmarks/convolution.py --page -->\n", "<!-- end -->"
CONTENDERS = ["xpnet-numpy", "xpnet-torch", "torch-own", "xpnet-jax", "jax-own"]
OWN = {"xpnet-numpy": "torch-own", "xpnet-torch": "torch-own", "xpnet-jax": "jax-own"}
BATCH, ROWS = 100, 1000


def layers_of(net: str) -> list[Any]:
    """The layers of the textbook's nets, without the second one's dropout."""
    from xpnet.layers import Affine, Convolution, MaxPool

    if net == "simple":
        return [Convolution(30, 5), "relu", MaxPool(2), Affine(100), "relu", Affine(10)]
    layers: list[Any] = []
    for filters, paddings in ((16, (1, 1)), (32, (1, 2)), (64, (1, 1))):
        for padding in paddings:
            layers += [Convolution(filters, 3, padding=padding), "relu"]
        layers.append(MaxPool(2))
    return [*layers, Affine(50), "relu", Affine(10)]


def data() -> tuple[Any, Any]:
    import numpy as np

    rng = np.random.default_rng(0)
    return rng.random((ROWS, 1, 28, 28), dtype=np.float32), rng.integers(0, 10, ROWS)


def batches(steps: int) -> Any:
    import numpy as np

    return np.random.default_rng(1).integers(0, ROWS, (steps, BATCH))


def xpnet_run(net: str, library: str, steps: int) -> Any:
    """Return a function that runs some steps of xpnet's."""
    import numpy as np

    import xpnet
    from xpnet.training.plan import Plan
    from xpnet.training.step import make_step

    built = xpnet.Network(layers_of(net), input_shape=(1, 28, 28), seed=0, xp=library)
    place = built.placement
    x, t = (place.asarray(a) for a in data())
    plan = Plan(built, x, t, steps=1, batch_size=BATCH, optimizer="adam", learning_rate=1e-3)
    step = make_step(built, plan.optimizer, built._backpropagate, plan.source)
    slots = plan.optimizer.slots(built.params)
    state = {"params": built.params, "slots": slots, "state": built.state}
    run = place._runner(step, state, plan.source.data)
    return lambda: place.to_host(run((batches(steps),), plan.coefficients(np.arange(steps))))


def torch_run(net: str, steps: int) -> Any:
    """Return a function that runs some steps of Torch's own."""
    import torch

    from xpnet.layers import Affine, Convolution, MaxPool

    modules: list[Any] = []
    shape: tuple[int, ...] = (1, 28, 28)
    for layer in layers_of(net):
        if isinstance(layer, str):
            modules.append(torch.nn.ReLU())
            continue
        _, output = layer.shapes(shape)
        if isinstance(layer, Convolution):
            modules.append(
                torch.nn.Conv2d(shape[0], layer.filters, layer.size, padding=layer.padding)
            )
        elif isinstance(layer, MaxPool):
            modules.append(torch.nn.MaxPool2d(layer.size))
        else:
            assert isinstance(layer, Affine)
            modules += [torch.nn.Flatten(), torch.nn.LazyLinear(layer.units)]
        shape = output
    model = torch.nn.Sequential(*modules)
    x, t = (torch.from_numpy(a) for a in data())
    model(x[:1])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    rows = torch.from_numpy(batches(steps))

    def run() -> None:
        for batch in rows:
            optimizer.zero_grad()
            loss = torch.nn.functional.cross_entropy(model(x[batch]), t[batch])
            loss.backward()
            optimizer.step()

    return run


def jax_run(net: str, steps: int) -> Any:
    """Return a function that runs some steps written by hand in JAX."""
    import jax
    import jax.numpy as jnp
    import numpy as np

    import xpnet
    from xpnet.layers import Convolution, MaxPool

    layers = layers_of(net)
    params = xpnet.Network(layers, input_shape=(1, 28, 28), seed=0, xp="jax").params
    x, t = (jnp.asarray(a) for a in data())
    rows = jnp.asarray(batches(steps))

    def loss(p: Any, batch: Any) -> Any:
        y, number = x[batch], 0
        for layer in layers:
            if isinstance(layer, str):
                y = jax.nn.relu(y)
            elif isinstance(layer, MaxPool):
                window = (1, 1, layer.size, layer.size)
                y = jax.lax.reduce_window(y, -np.inf, jax.lax.max, window, window, "VALID")
            elif isinstance(layer, Convolution):
                number += 1
                around = [(layer.padding, layer.padding)] * 2
                y = jax.lax.conv_general_dilated(y, p[f"W{number}"], (1, 1), around)
                y += p[f"b{number}"][None, :, None, None]
            else:
                number += 1
                y = y.reshape(y.shape[0], -1) @ p[f"W{number}"] + p[f"b{number}"]
        labels = jax.nn.one_hot(t[batch], 10)
        return -jnp.mean(jnp.sum(jax.nn.log_softmax(y) * labels, axis=1))

    def step(carry: Any, batch: Any) -> Any:
        p, m, v, k = carry
        value, g = jax.value_and_grad(loss)(p, batch)
        k += 1
        m = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, m, g)
        v = jax.tree.map(lambda v, g: 0.999 * v + 0.001 * g * g, v, g)
        rate = 1e-3 * jnp.sqrt(1 - 0.999**k) / (1 - 0.9**k)
        p = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + 1e-8), p, m, v)
        return (p, m, v, k), value

    block = jax.jit(lambda carry: jax.lax.scan(step, carry, rows))
    zeros = jax.tree.map(jnp.zeros_like, params)
    carry = (dict(params), zeros, zeros, jnp.float32(0))

    def run() -> None:
        nonlocal carry
        carry, losses = block(carry)
        jax.block_until_ready(losses)

    return run


def contender(name: str, net: str, steps: int) -> Any:
    kind, _, library = name.partition("-")
    if kind == "xpnet":
        return xpnet_run(net, library, steps)
    return torch_run(net, steps) if name == "torch-own" else jax_run(net, steps)


def use_threads(threads: int) -> None:
    """Bound the threads of each library, in a process that has imported none."""
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        os.environ[name] = str(threads)
    if threads == 1:
        flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        os.environ["XLA_FLAGS"] = flags
    import torch

    torch.set_num_threads(threads)


def raced(net: str, rounds: int, steps: int, cpu_time: bool) -> dict[str, Any]:
    """Return milliseconds a step, round by round, of contenders that take turns."""
    clock = time.process_time if cpu_time else time.perf_counter
    runs = {name: contender(name, net, steps) for name in CONTENDERS}
    times: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds + 1):
        for name, run in runs.items():
            start = clock()
            run()
            if number:  # the first compiles and warms up
                times[name].append(round(1e3 * (clock() - start) / steps, 3))
    return times


def peak(name: str, net: str) -> float:
    """Return by how many MiB this process's peak rises in three steps."""
    run = contender(name, net, 1)
    held = float(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
    for _ in range(3):
        run()
    top = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return round((top - held) / 2**20, 1)


def child(*words: Any) -> Any:
    """Run this file in a process of its own, with its threads; return what it prints."""
    command = [sys.executable, __file__, "--child", *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def table(result: dict[str, Any]) -> str:
    """Return the medians, the ratios to the library's own, and memory, in Markdown."""
    lines = [
        "| Net | Threads | Contender | ms per step | × own | Memory of a step | × own |",
        "| --- | ---: | --- | ---: | ---: | ---: | ---: |",
    ]
    for case in result["cases"]:
        times, memory = case["ms"], result["mib"][case["net"]]
        for name in CONTENDERS:
            own, ratios = OWN.get(name), ["", ""]
            if own:
                pairs = zip(times[name], times[own], strict=True)
                ratios[0] = f"{statistics.median(a / b for a, b in pairs):.2f}"
                ratios[1] = f"{memory[name] / memory[own]:.2f}" if memory[own] else ""
            lines.append(
                f"| {case['net']} | {case['threads']} | `{name}` | "
                f"{statistics.median(times[name]):.1f} | {ratios[0]} | {memory[name]:.0f} MiB | "
                f"{ratios[1]} |"
            )
    return "\n".join(lines)


def written(page: str) -> str:
    """Return the page with the table of each result file, and what it was measured on."""
    before, rest = page.split(BEGIN)
    parts = []
    for path in sorted(RESULTS.glob("convolution-*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        about = result["machine"]
        libraries = ("numpy", "torch", "jax")
        versions = ", ".join(f"{name} {about['versions'][name]}" for name in libraries)
        clock = "CPU time" if result["cpu_time"] else "wall-clock time"
        parts.append(
            f"{about['cpu']}, {about['cores']} cores; {versions}; {clock}; "
            f"`benchmarks/results/{path.name}`:\n\n{table(result)}\n"
        )
    return before + BEGIN + "\n".join(parts) + rest[rest.index(END) :]


def write_page() -> None:
    PAGE.write_text(written(PAGE.read_text(encoding="utf-8")), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="one net, one thread, two rounds")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--cpu-time", action="store_true")
    parser.add_argument("--out", type=Path, help="default: results/convolution-MACHINE.json")
    parser.add_argument("--page", action="store_true", help="write the page from what was measured")
    parser.add_argument("--child", nargs="+", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        what, net, threads, *more = options.child
        use_threads(int(threads))
        if what == "memory":
            print(json.dumps(peak(more[0], net)))
        else:
            rounds, steps, cpu_time = map(int, more)
            print(json.dumps(raced(net, rounds, steps, bool(cpu_time))))
        return
    if options.page:
        write_page()
        return
    sys.path.insert(0, str(HERE))
    import machine

    nets = {"simple": 10} if options.quick else {"simple": 10, "deep": 3}
    rounds = 2 if options.quick else options.rounds
    counts = [1] if options.quick or machine.cores() == 1 else [1, 2]
    memory = {net: {n: child("memory", net, 1, n) for n in CONTENDERS} for net in nets}
    cases = [
        {"net": net, "threads": threads, "steps": steps,
         "ms": child("race", net, threads, rounds, steps, int(options.cpu_time))}
        for net, steps in nets.items() for threads in counts
    ]  # fmt: skip
    result = {
        "how": __doc__, "machine": machine.describe(), "cpu_time": options.cpu_time,
        "batch": BATCH, "cases": cases, "mib": memory,
    }  # fmt: skip
    out = options.out
    if out is None and not options.quick:
        out = RESULTS / f"convolution-{machine.slug()}.json"
    if out is not None:
        text = json.dumps(result, indent=1, ensure_ascii=False)
        out.write_text(text + "\n", encoding="utf-8")
        write_page()
    print(table(result))


if __name__ == "__main__":
    main()
