"""The `xpnet` command; also ``python -m xpnet``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command with the arguments of this process, and exit.

    Needs click and rich, which the library itself does not: without them it says how to
    install them.
    """
    try:
        import click  # noqa: F401
        import rich  # noqa: F401
    except ModuleNotFoundError as error:
        print(
            f"xpnet: error: the command needs {error.name}; "
            'install it with: python -m pip install "xpnet[cli]"',
            file=sys.stderr,
        )
        sys.exit(2)
    from .cli import cli

    cli(prog_name="xpnet")


if __name__ == "__main__":
    main()
