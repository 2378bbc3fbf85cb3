"""xpnet info."""

from __future__ import annotations

import dataclasses
import json
import os
import platform
from typing import Any

import click

from .._version import __version__
from ..backend import backends
from . import options
from .tables import show


@click.command(params=[options.json])
def info(*, as_json: bool) -> None:
    """Say what this machine can run, or why not."""
    known = backends()
    cpu = known[0].devices[0].name if known[0].devices else platform.machine()
    machine: dict[str, Any] = {
        "xpnet": __version__,
        "python": f"{platform.python_version()} ({platform.python_implementation()})",
        "system": platform.platform(), "cpu": cpu, "cpu_count": os.cpu_count(),
    }  # fmt: skip
    if as_json:
        described = [{"available": row.available, **dataclasses.asdict(row)} for row in known]
        click.echo(json.dumps({**machine, "backends": described}, indent=2))
        return
    rows = [
        ("xpnet", machine["xpnet"]), ("Python", machine["python"]), ("system", machine["system"]),
        ("CPU", f"{cpu}, {machine['cpu_count']} logical cores"),
    ]  # fmt: skip
    for backend in known:
        title = f"{backend.name} {backend.version}" if backend.version else backend.name
        devices = [str(device) for device in backend.devices] or [f"no: {backend.reason}"]
        rows += [(title if i == 0 else "", device) for i, device in enumerate(devices)]
    show(rows)
