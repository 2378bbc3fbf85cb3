"""xpnet check."""

from __future__ import annotations

import math
from typing import Any

import click
import numpy as np

from ..backend.placement import DTYPES
from ..losses import OUTPUTS
from ..network import Network
from . import inputs, options
from .tables import say, show_report

# Of nets of layers: up to so many entries each is checked, of larger ones random directions. Each
# takes several forward passes, of so many rows where nothing else is asked for.
EVERY, DIRECTIONS, ROWS = 2000, 3, 10


@click.command(params=[
    *options.placement,
    click.Option(
        ["--dtype"], type=click.Choice(DTYPES),
        help="[default: float32; float64 for --net and --layers, whose kinks ask for short steps]",
    ),
    *options.net,
    click.Option(
        ["--output"], type=click.Choice(list(OUTPUTS)),
        help="[default: softmax; identity for a target of values]",
    ),
    click.Option(
        ["--batch-size"], type=options.COUNT,
        help=f"[default: 100; {ROWS} for --net and --layers]",
    ),
])  # fmt: skip
def check(
    *, backend: str, device: str | None, dtype: str | None, output: str | None,
    batch_size: int | None, **given: Any,
) -> int:  # fmt: skip
    """Check backpropagation against central differences, every entry of every parameter.

    On the first rows of DATA, as for train. Of a net of layers (--net, --layers) with many
    parameters, some random directions of each large array are checked instead of its entries; the
    output says so. The exit code is 1 where an entry or a direction fails.
    """
    options.merge_data(given)
    described = {name: given[name] for name in options.NET}
    if output is not None:
        described["output"] = output
    layered = described["layers"] is not None or described["net"] != "mlp"
    where = inputs.place_early(backend, device, dtype or ("float64" if layered else "float32"))
    data = inputs.load_data({**given, "dtype": where.dtype_name}, where)
    x, t = data.train
    if batch_size is None:
        batch_size = min(ROWS, x.shape[0]) if layered else 100
    if batch_size > x.shape[0]:
        raise ValueError(f"--batch-size is {batch_size}, more than the {x.shape[0]} {data.rows}")
    net = inputs.build(data, where, described)
    say(repr(net)[1:-1])
    x = inputs.rows_for(net, x[:batch_size, ...], data.name)
    directions = None
    if layered:
        move_off_zero(net, described["seed"])
        count = sum(math.prod(shape) for shape in net._definition.shapes.values())
        directions = DIRECTIONS if count > EVERY else None
        say(f"on {batch_size} rows, with biases that are moved off 0, a kink of many layers")
        if directions is not None:
            say(
                f"{count:,} entries would take long: {directions} random directions of each array "
                f"of more than {20 * directions}"
            )
    report = net.check_gradient(x, t[:batch_size], directions=directions)
    show_report(report)
    return 1 if report.verdict == "failed" else 0


def move_off_zero(net: Network, seed: int) -> None:
    """Move the biases of a new net off 0, where they all begin.

    An image's empty parts are 0 behind every filter then: the kink of ReLU, whose slopes on both
    sides say nothing of backpropagation.
    """
    rng = np.random.default_rng(seed)
    for key, p in net.params.items():
        if p.ndim == 1 and not np.any(net.placement.to_host(p)):
            moved = rng.uniform(0.05, 0.15, p.shape) * rng.choice([-1.0, 1.0], p.shape)
            net.params[key] = net._placed(moved)
