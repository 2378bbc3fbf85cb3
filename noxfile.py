"""Sessions, named after tasks: `nox` runs all that this machine can; `nox -l` lists them."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import nox

# Torch is pinned here because its newest wheels are gigabytes; users bring their own.
TORCH = "torch==2.13.0"
TEST_TOOLS = [
    "pytest>=8", "hypothesis", "matplotlib", "pooch", "nbclient", "ipykernel", "sybil>=9",
    "scikit-learn>=1.9", "pandas", "pillow", "pyarrow", "polars", "psutil", "dask>=2026.8",
    "distributed>=2026.8", "pytest-timeout>=2.4", "pytest-xdist>=3.8",
]  # fmt: skip
SITE_TOOLS = [
    "sphinx>=8", "pydata-sphinx-theme>=0.16", "numpydoc>=1.8", "myst-nb>=1.2", "sphinx-design>=0.6",
    "sphinx-copybutton>=0.5",
]  # fmt: skip
# Torch is also the oracle of the gradients, whatever the arrays are.
REQUIREMENTS = {
    "numpy": [TORCH],
    "strict": [TORCH, "array-api-strict>=2.3"],
    "torch": [TORCH],
    "jax": [TORCH, "jax>=0.4.35"],
    "cupy": [TORCH],
}


def cuda_version() -> int | None:
    """The newest CUDA that this machine's NVIDIA driver runs, None where there is none."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    answer = subprocess.run([tool], capture_output=True, text=True, check=False)
    found = re.search(r"CUDA Version:\s*(\d+)", answer.stdout)
    return int(found.group(1)) if answer.returncode == 0 and found else None


CUDA = cuda_version()
BACKENDS = ["numpy", "strict", "torch", "jax", "cupy"]
nox.options.sessions = ["lint", "typecheck"] + [
    f"tests({name})" for name in BACKENDS if name != "cupy" or CUDA
] + ["docs"]
nox.options.reuse_existing_virtualenvs = True
# Several processes share the files of the suite; a GPU is not shared. `-- -n 0` after the session's
# name is one process.
WORKERS = ("-n", "0" if CUDA else str(min(4, os.cpu_count() or 1)), "--dist", "loadfile")
if not CUDA:
    print("nox: tests(cupy) is left out: nvidia-smi finds no NVIDIA driver on this machine")


def install(session: nox.Session, backend: str) -> None:
    """What the suite needs on one backend."""
    requirements = list(REQUIREMENTS[backend])
    if backend == "cupy":
        requirements.append(f"cupy-cuda{CUDA or 12}x")
    # One at a time: with torch already there, nothing else asks for a build with CUDA.
    for requirement in requirements:
        session.install(requirement)
    session.install("-e", ".[cli]", *TEST_TOOLS)


@nox.session
@nox.parametrize("backend", [nox.param(name, id=name) for name in BACKENDS])
def tests(session: nox.Session, backend: str) -> None:
    """The suite on one backend, with the doctests."""
    install(session, backend)
    # The blocks of the documentation run in the session docs, once for all backends.
    blocks = ("--deselect=docs/", "--deselect=README.md")
    # scikit-learn's array API checks are skipped without it, and a skipped one fails the suite.
    environment = {"SCIPY_ARRAY_API": "1"}
    asked = (*WORKERS, "--backend", backend, *blocks, *session.posargs)
    session.run("pytest", *asked, env=environment)


@nox.session
def fuzz(session: nox.Session) -> None:
    """100,000 damaged files for each reader; `nox -s fuzz -- --seed 1` makes others."""
    session.install("-e", ".")
    session.run("python", "tests/fuzz_files.py", "--count", "100000", *session.posargs)


@nox.session
@nox.parametrize("backend", [nox.param(name, id=name) for name in BACKENDS])
def nightly(session: nox.Session, backend: str) -> None:
    """The property tests, 1,000 other examples every time, and all gradients of the tables."""
    install(session, backend)
    session.run(
        *("pytest", "tests/test_properties.py", "tests/test_dual_numbers.py"),
        *("tests/test_gradient_cases.py", "tests/test_own_functions.py"),
        *("tests/test_layers.py", "tests/test_layers_against_torch.py", "--backend", backend),
        *("--hypothesis-profile", "nightly", "--hypothesis-show-statistics"),
        *("--gradient-table", "full", *session.posargs),
    )


@nox.session
def lint(session: nox.Session) -> None:
    """Style and common mistakes."""
    session.install("ruff==0.17.6")
    session.run("ruff", "check", ".")


@nox.session
def typecheck(session: nox.Session) -> None:
    """Types, strictly."""
    session.install("mypy==2.4.1", "pytest>=8", ".[cli,fashion]")
    session.run("mypy")


@nox.session
def docs(session: nox.Session) -> None:
    """Docstrings, code blocks, and the site into docs/_build/html, every warning an error."""
    session.install(TORCH)
    session.install("jax>=0.4.35")  # the tutorial compares what is there
    if CUDA:
        session.install(f"cupy-cuda{CUDA}x")
    session.install("-e", ".[cli,sklearn]", *SITE_TOOLS, *TEST_TOOLS)
    session.run("python", "docs/docstrings.py")
    session.run("pytest", *WORKERS, "docs", "README.md")
    # -E: what a page was built from before may no longer be there.
    session.run("sphinx-build", "-n", "-W", "--keep-going", "-E", "-q", "docs", "docs/_build/html")
    session.run("python", "docs/offline.py", "docs/_build/html")


@nox.session
def sklearn(session: nox.Session) -> None:
    """xpnet.sklearn beside scikit-learn's MLP, one thread: JSON, and the table of the docs."""
    session.install("-e", ".[sklearn]", "threadpoolctl")
    name = session.run("python", "benchmarks/machine.py", silent=True).strip()
    for script, kind in (("side_by_side", "sklearn"), ("sparse", "sklearn-sparse")):
        results, script = f"benchmarks/results/{kind}-{name}.json", f"benchmarks/{script}.py"
        session.run("python", script, "run", results, env={"OPENBLAS_NUM_THREADS": "1"})
        session.run("python", script, "table", results, "docs/scikit-learn.md")


@nox.session
def estimator_checks(session: nox.Session) -> None:
    """scikit-learn's check_estimator over all configurations, ours beside its own MLP."""
    install(session, "strict")
    session.run("python", "tests/estimator_checks.py", env={"SCIPY_ARRAY_API": "1"})


@nox.session
def scaling(session: nox.Session) -> None:
    """Data-parallel steps beside Torch's own: JSON, and the measured part of their page.

    About eight minutes; `nox -s scaling -- --ranks 1 --ranks 8` and other words go to the
    program, see benchmarks/scaling.py.
    """
    session.install(TORCH)
    session.install("-e", ".", "matplotlib", "scipy", "threadpoolctl")
    name = session.run("python", "benchmarks/machine.py", silent=True).strip()
    results = f"benchmarks/results/scaling-{name}.json"
    session.run("python", "benchmarks/scaling.py", "run", results, *session.posargs)
    every = sorted(str(path) for path in Path("benchmarks/results").glob("scaling-*.json"))
    page = ("--page", "docs/beyond-one-machine.md", "--charts", "docs")
    session.run("python", "benchmarks/scaling_report.py", *every, *page)


@nox.session
def bench(session: nox.Session) -> None:
    """The benchmarks with their peers: JSON under benchmarks/results, a page and charts in docs.

    `nox -s bench -- --quick` is shorter; other words go to pytest too, such as `-k step`.
    """
    session.install(TORCH)
    if CUDA:
        session.install(f"cupy-cuda{CUDA}x")
    session.install("jax>=0.4.35", "scikit-learn", "keras>=3", "psutil", "threadpoolctl")
    session.install("-e", ".[cli]", "pytest>=8", "pytest-benchmark>=5")
    name = session.run("python", "benchmarks/machine.py", silent=True).strip()
    results = f"benchmarks/results/{name}.json"
    session.run("pytest", "benchmarks", f"--benchmark-json={results}", *session.posargs)
    every = sorted(str(path) for path in Path("benchmarks/results").glob("*.json"))
    session.run(
        *("python", "benchmarks/report.py", *every),
        *("--markdown", "docs/benchmarks.md", "--charts", "docs"),
    )
