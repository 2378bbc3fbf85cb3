"""The `xpnet` command."""

from .command import cli

__all__ = ["cli"]
