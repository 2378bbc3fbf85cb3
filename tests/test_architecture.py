"""The promises about the code itself: who imports what."""

import ast
import inspect
import itertools
import pathlib
import shutil
import subprocess
import sys

import pytest

import xpnet
from xpnet import backend

PACKAGE = pathlib.Path(xpnet.__file__).parent
LIBRARIES = {"torch", "cupy", "jax", "jaxlib", "array_api_strict", "tensorflow", "ndonnx", "dpnp"}
# Where NumPy is the host's format: files, random draws, results, pictures.
HOST = {
    "arrays", "backend/", "checks", "cli/", "datasets/", "files", "gradients/autodiff",
    "gradients/check",
    "gradients/flat", "gradients/levels", "gradients/lines", "gradients/maps", "gradients/net",
    "gradients/noise", "gradients/numerical", "gradients/pairs", "gradients/report",
    "gradients/sampling", "gradients/sight", "gradients/slopes", "gradients/trees",
    "gradients/verdicts", "layers/base", "layers/dense", "layers/images", "layers/normalization",
    "network/",
    "optimizers", "plots/", "schedules", "scratch/", "sklearn/", "smoothing",
    "training/",
}
# Beside the backends: torch.distributed moves arrays of several libraries between processes.
NAMED = {"training/distributed.py": {"torch"}}
# The rooms, top to bottom: a file imports only from above itself, wherever in it the import stands:
# inside functions and under TYPE_CHECKING too. So there is no circle, among files or wings.
ROOMS = [
    "_version", "checks", "arrays", "files", "markup",
    "elementwise", "activations", "functions", "loss_changes", "losses",
    "schedules", "optimizers", "smoothing",
    "layers/base", "layers/windows", "layers/dense", "layers/images", "layers/normalization",
    "layers/words", "layers/__init__",
    "backend/placement", "backend/host", "backend/torch", "backend/cupy", "backend/jax",
    "backend/strict", "backend/table", "backend/__init__",
    "plots/lettering", "plots/canvas", "plots/curves", "plots/nets", "plots/__init__",
    "datasets/download", "datasets/idx", "datasets/rows", "datasets/on_disk", "datasets/shards",
    "datasets/idx_sets", "datasets/described", "datasets/frames", "datasets/tables",
    "datasets/pictures", "datasets/own", "datasets/__init__",
    "gradients/structured", "gradients/trees", "gradients/sampling", "gradients/noise",
    "gradients/levels", "gradients/flat", "gradients/sight", "gradients/verdicts",
    "gradients/slopes", "gradients/report",
    "gradients/pairs", "gradients/lines", "gradients/check", "gradients/maps",
    "gradients/numerical", "gradients/autodiff", "gradients/net", "gradients/__init__",
    "network/definition", "network/stack", "network/batch", "network/base", "network/net",
    "network/mlp",
    "network/__init__",
    "training/history", "training/callbacks", "training/bar", "training/interruption",
    "training/blocks", "training/sparse", "training/sources", "training/checkpoint",
    "training/distributed",
    "training/plan", "training/step", "training/session", "training/loop", "training/__init__",
    "sklearn/arrays", "sklearn/labels", "sklearn/solvers", "sklearn/parameters", "sklearn/base",
    "sklearn/estimators", "sklearn/__init__",
    "scratch/tools", "scratch/layers", "scratch/optimizers", "scratch/nets", "scratch/trainer",
    "scratch/__init__",
    "testing", "__init__",
    "cli/errors", "cli/tables", "cli/inputs", "cli/options", "cli/runs", "cli/page",
    "cli/train", "cli/compare", "cli/check", "cli/predict", "cli/evaluate", "cli/info",
    "cli/__init__", "__main__",
]
ARITHMETIC = {
    "activations", "arrays", "elementwise", "functions", "loss_changes", "losses", "optimizers",
    "gradients/structured", "layers/windows",
}


def modules():
    return sorted(path.relative_to(PACKAGE).as_posix() for path in PACKAGE.rglob("*.py"))


def imports(path, package=PACKAGE):
    """Every module that a file imports, wherever the import stands: (full name, line)."""
    here = ("xpnet", *pathlib.PurePosixPath(path).parent.parts)
    for node in ast.walk(ast.parse((package / path).read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from ((alias.name, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*here[: len(here) - node.level + 1], node.module or ""]).strip(".")
            if not node.level:
                base = node.module
            for alias in node.names:
                inner = f"{base}.{alias.name}"
                # `from package import module` imports the module, `from module import name` not.
                yield (inner if room_of(inner, package) else base), node.lineno


def room_of(name, package=PACKAGE):
    """The room that is the module of a full name, None where it is none of xpnet's."""
    top, _, inner = name.partition(".")
    path = inner.replace(".", "/")
    if top != "xpnet":
        return None
    if (package / path / "__init__.py").exists():
        return f"{path}/__init__".lstrip("/")
    return path if (package / f"{path}.py").exists() else None


def upward(path, package=PACKAGE):
    """What a file imports from rooms that are not above it: (room, line)."""
    own = path.removesuffix(".py")
    for name, line in imports(path, package):
        room = room_of(name, package)
        if room is not None and ROOMS.index(room) >= ROOMS.index(own):
            yield room, line


@pytest.mark.parametrize("path", modules())
def test_one_file_knows_the_libraries(path):
    """One exception for one backend is how a code path splits in two."""
    for name, line in imports(path):
        parts = name.split(".")
        if not path.startswith("backend/"):
            named = LIBRARIES.intersection(parts) - NAMED.get(path, set())
            assert not named, f"{path}:{line} imports {name}"
        if parts[0] == "numpy":
            host = path.startswith(tuple(HOST))
            assert host, f"{path}:{line} imports NumPy; the arrays should decide"


@pytest.mark.parametrize("path", modules())
def test_no_module_asks_which_library_it_is_given(path):
    """`if is_torch_array(x)` is a second implementation in disguise."""
    if path.startswith("backend/"):
        pytest.skip("the backends are the one wing that may ask which library it is given")
    text = (PACKAGE / path).read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, (ast.Name, ast.Attribute)):
            name = node.id if isinstance(node, ast.Name) else node.attr
            for library in (*LIBRARIES, "numpy"):
                assert name not in (f"is_{library}_array", f"is_{library}_namespace"), (
                    f"{path}:{node.lineno} asks for {name}"
                )


def test_every_file_is_a_room():
    """A file that the list lacks would be free to import what it likes."""
    assert sorted(ROOMS) == sorted(path.removesuffix(".py") for path in modules())


def test_a_wing_is_whole():
    """Its files stand side by side in the list, so that no two wings import each other."""
    wings = [wing for wing, _ in itertools.groupby(room.rpartition("/")[0] for room in ROOMS)]
    assert len([w for w in wings if w]) == len({w for w in wings if w})


@pytest.mark.parametrize("path", modules())
def test_imports_point_upward(path):
    """The rooms can be read in order; arithmetic never sees the backend."""
    room = path.removesuffix(".py")
    for target, line in upward(path):
        pytest.fail(f"{path}:{line} imports {target}, which is not above it")
    if room in ARITHMETIC:
        for name, line in imports(path):
            assert not name.startswith("xpnet.backend"), f"{path}:{line} imports {name}"


@pytest.mark.parametrize(
    "planted",
    [
        "from xpnet import cli",
        "def later():\n    from ..cli import cli",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from .shards import open_shards",
        "import xpnet.cli",
    ],
    ids=["absolute", "lazy", "for types", "whole"],
)
def test_an_upward_import_in_a_wing_is_found(tmp_path, planted):
    """A guard that skips packages, functions or TYPE_CHECKING guards nothing there."""
    shutil.copytree(PACKAGE, tmp_path / "xpnet", ignore=shutil.ignore_patterns("mnist"))
    path = tmp_path / "xpnet" / "datasets" / "idx.py"
    assert not [*upward("datasets/idx.py", tmp_path / "xpnet")]
    path.write_text(path.read_text(encoding="utf-8") + "\n" + planted + "\n", encoding="utf-8")
    assert [*upward("datasets/idx.py", tmp_path / "xpnet")]


def functions_of(tree):
    """Every function and method of a file: its name with its class's, and its node."""
    for node in ast.walk(tree):
        prefix = f"{node.name}." if isinstance(node, ast.ClassDef) else ""
        for inner in ast.iter_child_nodes(node):
            if isinstance(inner, ast.FunctionDef):
                yield prefix + inner.name, inner


def length(function):
    """Lines without the docstring and the decorators."""
    first = function.body[0]
    has_docstring = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    docstring = first.end_lineno - first.lineno + 1 if has_docstring else 0
    return function.end_lineno - function.lineno + 1 - docstring


# What users call by fixed names: `fit`, a net's constructor, and how to check a gradient.
MANY_PARAMETERS = {
    "training/loop.py": {"fit": 18}, "network/mlp.py": {"MLP.__init__": 9},
    "gradients/check.py": {"check_gradient": 10},
    # The textbook's signatures.
    "scratch/nets.py": {"MultiLayerNetExtend.__init__": 9, "DeepConvNet.__init__": 9},
    "scratch/trainer.py": {"Trainer.__init__": 11},
}  # fmt: skip


@pytest.mark.parametrize("path", modules())
def test_what_fits_a_screen(path):
    """A room that gets crowded is redesigned, not patched: 0.1 ended with 190 lines of `fit`."""
    text = (PACKAGE / path).read_text(encoding="utf-8")
    assert text.count("\n") <= 500, f"{path} has {text.count(chr(10))} lines"
    for name, function in functions_of(ast.parse(text)):
        assert length(function) <= 60, f"{path}: {name} has {length(function)} lines"
        arguments = function.args
        every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
        count = len([a for a in every if a.arg not in ("self", "cls")])
        most = MANY_PARAMETERS.get(path, {}).get(name, 8)
        assert count <= most, f"{path}: {name} has {count} parameters"


def test_fit_fits_a_screen():
    """The tour: its length and its arguments are promised."""
    tree = ast.parse((PACKAGE / "training" / "loop.py").read_text(encoding="utf-8"))
    fit = dict(functions_of(tree))["fit"]
    assert length(fit) <= 40
    assert len(inspect.signature(xpnet.fit).parameters) <= 18


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
    """Importing xpnet imports no array library but NumPy, no plotting, no command line, and no
    wing before it is asked for."""
    code = (
        "import sys, xpnet\n"
        "heavy = {'torch','cupy','jax','array_api_strict','matplotlib','sklearn','scipy','click',"
        "'rich','pooch','pandas','safetensors','xpnet.training','xpnet.datasets'}\n"
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
            made_by_others = (
                xpnet.History, xpnet.Progress, xpnet.GradientReport, xpnet.AutodiffReport,
            )
            assert thing in made_by_others or ">>>" in thing.__doc__, name


def test_every_backend_is_one_row():
    """A backend that is known under two names, or whose row lacks the line that installs it."""
    for name, row in backend.BACKENDS.items():
        assert row.name == name
        assert row.install.startswith("python -m pip install")
