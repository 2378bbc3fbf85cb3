"""Every Python block of the documentation is a test; see `nox -s docs` for the site itself."""

import os
import tempfile
from pathlib import Path

from sybil import Sybil
from sybil.parsers.myst import PythonCodeBlockParser, SkipParser

# scikit-learn dispatches on arrays only where SciPy was told, before it is imported, that it may.
os.environ.setdefault("SCIPY_ARRAY_API", "1")

HERE = Path(__file__).parent
collect_ignore_glob = ["docs/*.py", "docs/_build/*", "docs/_generated/*", "docs/generated/*"]


def _available(name):
    """Whether this machine runs a backend, for blocks that are skipped where it does not."""
    import xpnet

    try:
        xpnet.place(name)
    except xpnet.BackendNotAvailable:
        return False
    return True


def _enter(namespace):
    """Run the blocks of a page one after the other, in a folder where they may write."""
    os.environ.setdefault("MPLBACKEND", "Agg")  # no window
    folder = tempfile.TemporaryDirectory()
    namespace.update(available=_available, _folder=folder, _before=Path.cwd())
    os.chdir(folder.name)


def _leave(namespace):
    os.chdir(namespace["_before"])
    namespace["_folder"].cleanup()


# A reader copies a block and it works; a page whose blocks no longer run fails here.
pytest_collect_file = Sybil(
    parsers=[PythonCodeBlockParser(), SkipParser()],
    path=str(HERE),
    patterns=["README.md", "docs/*.md"],
    setup=_enter,
    teardown=_leave,
).pytest()
