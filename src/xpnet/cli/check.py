"""xpnet check."""

from __future__ import annotations

from typing import Any

import click

from ..losses import OUTPUTS
from . import inputs, options


@click.command(params=[
    *options.placement, options.dtype, *options.net,
    click.Option(["--output"], type=click.Choice(list(OUTPUTS)), default="softmax"),
    click.Option(["--batch-size"], type=options.COUNT, default=100),
])  # fmt: skip
def check(
    *, backend: str, device: str | None, dtype: str, dataset: str, batch_size: int,
    **described: Any,
) -> int:  # fmt: skip
    """Check backpropagation against central differences, every entry of every parameter.

    On the first rows of the data set. The exit code is 1 where an entry fails.
    """
    where = inputs.place_early(backend, device, dtype)
    (x, t), _ = inputs.load_dataset(dataset, where)
    if batch_size > x.shape[0]:
        raise ValueError(f"--batch-size is {batch_size}, more than the {x.shape[0]} images")
    net = inputs.build(x.shape[1], inputs.class_count(where, t), where, **described)
    click.echo(repr(net)[1:-1])
    report = net.check_gradient(x[:batch_size, :], t[:batch_size])
    click.echo(str(report))
    return 1 if report.verdict == "failed" else 0
