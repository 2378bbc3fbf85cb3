"""What CONTRIBUTING.md says: a new row touches one file, and its checks are there at once."""

import os
import pathlib
import shutil
import subprocess
import sys

import pytest

import xpnet

HERE = pathlib.Path(__file__).parent.parent
PACKAGE = pathlib.Path(xpnet.__file__).parent

ACTIVATION = """
        Activation("softsign", lambda x: x / (1.0 + array_namespace(x).abs(x)),
                   lambda x, y: {derivative}),
"""
OUTPUT = """
        Output("poisson", _exp, _poisson, _poisson_change, None, 0.0, None),
"""
# Poisson regression: loss = mean over rows of Σ_k exp(a_k) - t_k a_k.
POISSON = '''
def _exp(a):
    return array_namespace(a).exp(a)


def _poisson(logits, target, scale=1.0, weights=None):
    xp, n = array_namespace(logits), logits.shape[0]
    y = xp.exp(logits)
    loss = _total(xp, y - target * logits, weights) / n
    return loss, _weighted({gradient}, weights)


def _poisson_change(logits, target, moves):
    xp = array_namespace(logits)
    change = xp.exp(logits)[:, :, None] * xp.expm1(moves) - target[:, :, None] * moves
    return xp.sum(change, axis=1)


'''
OPTIMIZER = '''
@dataclass(frozen=True)
class SignSGD(Optimizer):
    """W ← W - η sign(g)."""

    default_rate: ClassVar[float | None] = 0.001

    def update(self, params, gradient, slots, numbers):
        for key, g in gradient.items():
            {move}


'''

# Kind: the file, what is inserted (before which text), a right and a wrong word in it, a
# program that uses the row, and the test that has to notice the wrong one.
KINDS = {
    "activation": (
        "functions.py",
        [(ACTIVATION, '        Activation("sigmoid"')],
        ("derivative", "(1.0 - array_namespace(y).abs(y)) ** 2", "1.0 - array_namespace(y).abs(y)"),
        "net = xpnet.MLP([4, 6, 3], activation='softsign', dtype='float64', seed=0)\n"
        "assert net.check_gradient(x, np.asarray([0, 1, 2, 0, 1])).ok is {right}\n"
        "assert 'softsign' in choices('train', 'activation')\n",
        "tests/test_functions.py::test_every_activation_has_its_derivative",
        "softsign",
    ),
    "output": (
        "losses.py",
        [(POISSON, "@dataclass(frozen=True)\nclass Output"), (OUTPUT, "        Output(\n")],
        ("gradient", "(y - target) * (scale / n)", "y * (scale / n)"),
        "net = xpnet.MLP([4, 6, 3], output='poisson', dtype='float64', seed=0)\n"
        "assert net.check_gradient(x, np.abs(x[:, :3])).ok is {right}\n"
        "assert 'poisson' in choices('check', 'output')\n",
        "tests/test_losses.py::test_gradient_against_central_differences",
        "poisson",
    ),
    "optimizer": (
        "optimizers.py",
        [(OPTIMIZER, "# One row is all"), ('\n    "signsgd": SignSGD,', '\n    "momentum"')],
        ("move", "params[key] -= numbers[0] * array_namespace(g).sign(g)",
         "params[key] = params[key] - numbers[0] * np.sign(g).astype(np.float64)"),
        "net = xpnet.MLP([4, 6, 3], seed=0)\n"
        "xpnet.fit(net, x.astype('float32'), np.asarray([0, 1, 2, 0, 1]), steps=5, batch_size=5,\n"
        "          optimizer='signsgd')\n"
        "assert 'signsgd' in choices('train', 'optimizer')\n",
        "tests/test_optimizers.py::test_dtype_stays",
        "signsgd",
    ),
}
USE = (
    "import numpy as np, xpnet\n"
    "from xpnet.cli import cli\n"
    "def choices(command, name):\n"
    "    return next(p.type.choices for p in cli.commands[command].params if p.name == name)\n"
    "x = np.random.default_rng(0).normal(size=(5, 4))\n"
)


def copied(folder):
    """The package without its data, to change a file of it."""
    ignored = shutil.ignore_patterns("mnist", "__pycache__")
    shutil.copytree(PACKAGE, folder / "xpnet", ignore=ignored)
    return folder / "xpnet"


def run(folder, *arguments):
    environment = {**os.environ, "PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(
        [sys.executable, *arguments], cwd=HERE, env=environment, capture_output=True, text=True,
        check=False, timeout=300,
    )  # fmt: skip


@pytest.mark.parametrize("right", [True, False], ids=["right", "wrong"])
@pytest.mark.parametrize("kind", KINDS)
def test_one_file_is_all_that_a_row_needs(tmp_path, kind, right):
    """A table that is not the only place: the row would be missing in the nets, on the command
    line or in the tests. And tests that read the table, and let a wrong row pass."""
    file, parts, (word, good, bad), program, test, name = KINDS[kind]
    path = copied(tmp_path) / file
    text = path.read_text(encoding="utf-8")
    for part, before in parts:
        assert text.count(before) == 1 or kind == "output", before
        part = part.replace("{" + word + "}", good if right else bad)
        text = text.replace(before, part + before, 1)
    path.write_text(text, encoding="utf-8")

    used = run(tmp_path, "-c", USE + program.replace("{right}", str(right)))
    assert used.returncode == 0, used.stderr

    tried = run(
        tmp_path, "-m", "pytest", test, "-k", f"{name} and not readonly", "--backend", "numpy",
        "-p", "no:cacheprovider", "-q",
    )  # fmt: skip
    assert "passed" in tried.stdout or "failed" in tried.stdout, tried.stdout + tried.stderr
    assert (tried.returncode == 0) is right, tried.stdout


@pytest.mark.sessions("strict")
def test_a_backend_is_one_file(tmp_path):
    """A backend that is known elsewhere too: another file must be all that a library needs."""
    pytest.importorskip("array_api_strict")
    package = copied(tmp_path)
    use = (
        "import xpnet\n"
        "net = xpnet.MLP([4, 3], xp='array_api_strict', seed=0)\n"
        "x = net.placement.floats(__import__('numpy').ones((2, 4)))\n"
        "print(net.predict(x).shape, net.to(xp='numpy'))\n"
    )
    assert run(tmp_path, "-c", use).returncode == 0
    # A made-up library, which is array_api_strict by another name.
    file = package / "backend" / "strict.py"
    text = file.read_text(encoding="utf-8")
    (package / "backend" / "made_up.py").write_text(
        text.replace('name="array_api_strict"', 'name="made_up"'), encoding="utf-8"
    )
    (tmp_path / "made_up.py").write_text("from array_api_strict import *  # noqa: F403\n")
    made_up = run(tmp_path, "-c", use.replace("'array_api_strict'", "'made_up'"))
    assert made_up.returncode == 0, made_up.stderr
    assert "numpy on cpu" in made_up.stdout
    file.unlink()
    without = run(tmp_path, "-c", use)
    assert "unknown backend 'array_api_strict'; known are" in without.stderr
    assert "'made_up'" in without.stderr
    others = run(tmp_path, "-c", use.replace("'array_api_strict'", "'numpy'"))
    assert others.returncode == 0, others.stderr


def test_the_files_that_contributing_names():
    """Instructions that name another file than the one which has the table."""
    text = (HERE / "CONTRIBUTING.md").read_text(encoding="utf-8")
    tables = [
        ("ACTIVATIONS", "functions"), ("OUTPUTS", "losses"), ("OPTIMIZERS", "optimizers"),
        ("LAYERS", "layers/__init__"), ("BACKENDS", "backend/table"),
    ]  # fmt: skip
    sections = text.split("\n## Add ")[1:]
    for section, (table, module) in zip(sections, tables, strict=True):
        folder, in_folder, _ = module.rpartition("/")
        file = f"{folder}/" if in_folder else f"{module}.py"
        what = "One file in" if in_folder else "One file:"
        assert f"{what} `src/xpnet/{file}`" in section
        assert f"`{table}`" in section
        assert f"\n{table}: dict" in (PACKAGE / f"{module}.py").read_text(encoding="utf-8")
