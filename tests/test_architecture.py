"""The promises about the code itself: who imports what."""

import ast
import pathlib
import subprocess
import sys

import pytest

import xpnet
from xpnet import backend

PACKAGE = pathlib.Path(xpnet.__file__).parent
LIBRARIES = {"torch", "cupy", "jax", "jaxlib", "array_api_strict", "tensorflow", "ndonnx", "dpnp"}
# Where NumPy is the host's format: files, random draws, results, pictures.
HOST = {
    "checks.py", "backend.py", "network.py", "training.py", "history.py", "optimizers.py",
    "plots.py", "gradcheck.py", "batches.py", "callbacks.py", "checkpoint.py", "cli.py",
    "compare.py", "files.py", "sklearn.py", "staging.py", "datasets/__init__.py",
    "datasets/idx.py", "datasets/rows.py", "datasets/shards.py",
    "distributed.py",
}
# Beside backend.py: torch.distributed moves arrays of several libraries between processes.
NAMED = {"distributed.py": {"torch"}}
# The rooms, top to bottom: a module imports only from above itself.
ROOMS = [
    "checks", "files", "markup", "backend", "functions", "losses", "numerical", "structured",
    "gradcheck", "network", "optimizers", "history", "batches", "staging", "checkpoint",
    "callbacks", "lettering", "plots", "progress", "distributed", "training", "sklearn",
    "datasets", "__init__", "report", "compare", "cli", "__main__",
]
ARITHMETIC = {"functions", "losses", "numerical", "structured", "optimizers"}


def modules():
    return sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def nodes(tree):
    """All nodes but those under `if TYPE_CHECKING`, which never run."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and getattr(node.test, "id", "") == "TYPE_CHECKING":
            continue
        yield node
        yield from nodes(node)


def imports(path):
    """Every module that a file imports, inside functions too: (name, line)."""
    for node in nodes(ast.parse((PACKAGE / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            name = "." * node.level + (node.module or "")
            yield name, node.lineno
            yield from ((f"{name}.{alias.name}".replace("..", "."), node.lineno)
                        for alias in node.names)


@pytest.mark.parametrize("path", modules())
def test_one_file_knows_the_libraries(path):
    """One exception for one backend is how a code path splits in two."""
    for name, line in imports(path):
        parts = name.lstrip(".").split(".")
        if path != "backend.py":
            named = LIBRARIES.intersection(parts) - NAMED.get(path, set())
            assert not named, f"{path}:{line} imports {name}"
        if parts[0] == "numpy":
            assert path in HOST, f"{path}:{line} imports NumPy; the arrays should decide"


@pytest.mark.parametrize("path", modules())
def test_no_module_asks_which_library_it_is_given(path):
    """`if is_torch_array(x)` is a second implementation in disguise."""
    if path == "backend.py":
        pytest.skip("backend.py is the one module that may ask which library it is given")
    text = (PACKAGE / path).read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Name, ast.Attribute)):
            name = node.id if isinstance(node, ast.Name) else node.attr
            for library in (*LIBRARIES, "numpy"):
                assert name not in (f"is_{library}_array", f"is_{library}_namespace"), (
                    f"{path}:{node.lineno} asks for {name}"
                )


@pytest.mark.parametrize("path", modules())
def test_imports_point_upward(path):
    """The rooms can be read in order; arithmetic never sees the backend."""
    room = path.removesuffix(".py").split("/")[0]
    for name, line in imports(path):
        target = name.removeprefix("xpnet").lstrip(".").split(".")[0]
        if not (name.startswith((".", "xpnet"))) or "/" in path or target not in ROOMS:
            continue
        if target == "__init__" or room in ("__main__", "__init__", "cli"):
            continue
        lazy = {("history", "plots"), ("gradcheck", "plots"), ("network", "gradcheck")}
        if (room, target) not in lazy:
            assert ROOMS.index(target) < ROOMS.index(room), f"{path}:{line} imports {name}"
        if room in ARITHMETIC:
            assert target != "backend", f"{path}:{line}: arithmetic takes its namespace from arrays"


@pytest.mark.parametrize("path", modules())
def test_nothing_is_unpickled(path):
    """Loading a pickle of a stranger runs the stranger's program."""
    unsafe = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib"}
    for name, line in imports(path):
        assert not unsafe.intersection(name.split(".")), f"{path}:{line} imports {name}"
    for node in ast.walk(ast.parse((PACKAGE / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword):
            asked = node.arg == "allow_pickle" and getattr(node.value, "value", True)
            assert not asked, f"{path}:{node.value.lineno} allows pickles"


def test_import_is_light():
    """Importing xpnet imports no array library but NumPy, no plotting, no command line."""
    code = (
        "import sys, xpnet\n"
        "heavy = {'torch','cupy','jax','array_api_strict','matplotlib','sklearn','scipy','click',"
        "'rich','pooch','pandas','safetensors'}\n"
        "print(sorted(heavy.intersection(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout.strip() == "[]", done.stdout


def test_import_writes_nothing(tmp_path):
    """Keras writes into the user's home on import; xpnet does not."""
    code = "import xpnet"
    subprocess.run(
        [sys.executable, "-B", "-c", code], check=True, timeout=120, cwd=tmp_path,
        env={"HOME": str(tmp_path), "PYTHONPATH": str(PACKAGE.parent), "PATH": ""},
    )
    assert list(tmp_path.iterdir()) == []


def test_public_names_are_documented():
    """Every public name has a docstring; every public function an example that runs."""
    for name in xpnet.__all__:
        thing = getattr(xpnet, name)
        if isinstance(thing, str):
            continue
        assert thing.__doc__, name
        if callable(thing) and not (isinstance(thing, type) and issubclass(thing, Exception)):
            made_by_others = (xpnet.History, xpnet.Progress, xpnet.GradientReport)
            assert thing in made_by_others or ">>>" in thing.__doc__, name


def test_every_backend_is_one_row():
    """A backend that is known under two names, or whose row lacks the line that installs it."""
    for name, row in backend.BACKENDS.items():
        assert row.name == name
        assert row.install.startswith("python -m pip install")
