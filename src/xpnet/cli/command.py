"""The `xpnet` command.

Each command is a module of its own. What a command cannot do is one line on standard error and exit
code 2; the class of the group sees to that.
"""

from __future__ import annotations

import click

from .._version import __version__
from . import options
from .check import check
from .compare import compare
from .errors import OneLineErrors
from .evaluate import evaluate_model
from .info import info
from .predict import predict
from .train import train


@click.group(
    cls=OneLineErrors,
    context_settings={"help_option_names": ["-h", "--help"], "show_default": True},
)
@click.version_option(__version__, prog_name="xpnet")
@options.debug
def cli() -> None:
    """Neural nets that run where your arrays live: NumPy, CuPy, Torch or JAX."""


for command in (train, compare, check, predict, evaluate_model, info):
    cli.add_command(options.debug(command))
