"""Errors of the command: one line, and an exit code."""

from __future__ import annotations

import contextlib
import os
import sys
import traceback
import warnings
from collections.abc import Sequence
from typing import Any

import click

INTERRUPTED = 130  # what shells report for a program that Ctrl-C ended


class OneLineErrors(click.Group):
    """A group of commands whose errors are one line; with ``--debug``, after a traceback."""

    def main(
        self, args: Sequence[str] | None = None, prog_name: str | None = None,
        complete_var: str | None = None, standalone_mode: bool = True, **extra: Any,
    ) -> Any:  # fmt: skip
        """Run a command and, in standalone mode, exit with its code."""
        arguments = [*(sys.argv[1:] if args is None else args)]
        debug = "--debug" in arguments
        try:
            with warnings.catch_warnings():
                warnings.showwarning = _warn
                # Without standalone mode click hands errors and exit codes over to us.
                arguments = arguments or ["--help"]
                code = super().main(arguments, prog_name, complete_var, False, **extra)
            sys.stdout.flush()  # a reader that has gone is noticed here, not at exit
        except BrokenPipeError:
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            code = 1
        except (click.Abort, KeyboardInterrupt):
            code = _fail("interrupted", debug, INTERRUPTED)
        except Exception as error:  # whatever it is: one line
            code = _fail(one_line(error), debug)
        if standalone_mode:
            sys.exit(code)
        return code


def _warn(message: Warning | str, *where: Any, **more: Any) -> None:
    click.echo(f"xpnet: warning: {' '.join(str(message).split())}", err=True)


def _fail(message: str, debug: bool, code: int = 2) -> int:
    if debug:
        traceback.print_exc()
    click.echo(f"xpnet: error: {message}", err=True)
    return code


def one_line(error: Exception) -> str:
    """Return what an error says to the user, in one line.

    Examples
    --------
    >>> one_line(FileNotFoundError(2, "No such file or directory", "images"))
    'images: No such file or directory'
    """
    text = error.format_message() if isinstance(error, click.ClickException) else str(error)
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        text = f"{error.filename}: {error.strerror}"
    text = " ".join(text.split())
    if isinstance(error, MemoryError):
        return f"not enough memory: {text}" if text else "not enough memory"
    expected = (click.ClickException, OSError, ValueError, TypeError, RuntimeError, ImportError)
    if text and isinstance(error, (*expected, ArithmeticError)):
        return text
    kind = type(error).__name__
    return (f"{kind}: {text}" if text else kind) + " (a mistake in xpnet? --debug shows where)"
