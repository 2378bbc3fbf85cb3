"""numpydoc's validation of every public name, which are those of docs/api.md.

    python docs/docstrings.py
"""

import inspect
import re
import sys
from pathlib import Path

from numpydoc.validate import validate

import xpnet
import xpnet.plots

# What is left to taste: examples where there is nothing to show, "See Also", an extended
# summary, types and words for what the shape or the name says already.
TASTE = {"ES01", "EX01", "SA01", "PR04", "PR07", "PR08", "RT03"}


def names():
    """The names that the API reference lists, such as xpnet.MLP."""
    text = Path(__file__).with_name("api.md").read_text(encoding="utf-8")
    return [f"xpnet.{name}" for name in re.findall(r"^   ([\w.]+)$", text, re.MULTILINE)]


def with_methods(name):
    """A name, and those of its public methods where it is a class of its own."""
    yield name
    thing = xpnet
    for part in name.split(".")[1:]:
        thing = getattr(thing, part)
    if inspect.isclass(thing):
        for method, value in vars(thing).items():
            if not method.startswith("_") and inspect.isfunction(value):
                yield f"{name}.{method}"


def main():
    """Print what is wrong; return how much that is."""
    found = 0
    for name in (each for listed in names() for each in with_methods(listed)):
        result = validate(name)
        sections = re.findall(r"^ *(\w[\w ]*)\n *---", result["docstring"], re.MULTILINE)
        # One line may be enough; and what users do not make themselves has attributes.
        spared = {"PR01"} if "Attributes" in sections else set() if sections else {"PR01", "RT01"}
        for code, message in result["errors"]:
            if code not in TASTE | spared:
                print(f"{name}: {code} {message}")
                found += 1
    return found


if __name__ == "__main__":
    sys.exit(bool(main()))
