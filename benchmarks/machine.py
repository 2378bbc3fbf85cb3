"""What a result file says about the machine: enough to judge it by, nothing that finds it.

Run as a program it prints the name of the machine's result file.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from typing import Any

import xpnet

PACKAGES = [
    "numpy", "torch", "jax", "jaxlib", "cupy-cuda12x", "cupy-cuda13x", "scikit-learn", "keras",
    "array-api-compat", "pytest-benchmark",
]  # fmt: skip
SETTINGS = ["OPENBLAS_CORETYPE", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"]


def cpu() -> str:
    return xpnet.place().device_info().name


def cores() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def gpus() -> list[dict[str, str]]:
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return []
    rows = [line.split(", ") for line in answer.stdout.strip().splitlines()]
    return [dict(zip(("name", "driver", "memory"), row, strict=False)) for row in rows]


def blas() -> list[dict[str, Any]]:
    """The thread pools of NumPy's BLAS: library, version, kernels, threads."""
    import numpy as np
    from threadpoolctl import threadpool_info

    np.ones((2, 2)) @ np.ones((2, 2))
    keys = ("user_api", "internal_api", "version", "architecture", "threading_layer", "num_threads")
    return [{key: pool.get(key) for key in keys} for pool in threadpool_info()]


def threads(library: str) -> int:
    """How many threads a library may use for a product."""
    if library == "torch" and "torch" in sys.modules:
        return sys.modules["torch"].get_num_threads()
    if library in ("numpy", "sklearn"):
        pools = [pool["num_threads"] for pool in blas() if pool["user_api"] == "blas"]
        return max(pools, default=1)
    return cores()


def versions() -> dict[str, str]:
    found = {}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def describe() -> dict[str, Any]:
    return {
        "cpu": cpu(),
        "cores": cores(),
        "machine": platform.machine(),
        "system": platform.system(),
        "python": platform.python_version(),
        "xpnet": xpnet.__version__,
        "versions": versions(),
        "blas": blas(),
        "settings": {name: os.environ.get(name) for name in SETTINGS},
        "keras_backend": os.environ.get("KERAS_BACKEND"),
        "gpus": gpus(),
    }


def slug() -> str:
    """A file name: the CPU, its cores, the GPU."""
    parts = [cpu(), f"{cores()} cores", *(gpu["name"] for gpu in gpus()[:1])]
    words = re.sub(r"\((r|tm)\)|\bcpu\b|\bprocessor\b|@.*", " ", " ".join(parts[:1]).lower())
    return re.sub(r"[^a-z0-9]+", "-", " ".join([words, *parts[1:]]).lower()).strip("-")


if __name__ == "__main__":
    print(slug())
