"""The comparison with other libraries' checkers runs, and its result file fits its table."""

import json
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.sessions("jax")
HERE = Path(__file__).resolve().parent.parent


def test_the_comparison_runs(tmp_path):
    """A renamed argument of some library, and the documentation's table cannot be made again."""
    for name in ("torch", "jax", "scipy", "numdifftools"):
        pytest.importorskip(name)
    program, out = HERE / "benchmarks" / "gradient_checkers.py", tmp_path / "result.json"
    done = subprocess.run(
        [sys.executable, str(program), "--quick", "--out", str(out)],
        capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text(encoding="utf-8"))
    for name, row in result["checkers"].items():
        assert f"`{name}`" in done.stdout
        assert row["found"] > 0, f"{name} finds nothing: {row['raised']}"
        assert row["right_accepted"] > 0, f"{name} accepts nothing: {row['raised']}"
    own = result["checkers"]["xpnet.check_gradient"]
    assert (own["missed"], own["false_alarms"]) == (0, 0)


def test_the_table_of_the_page_is_that_of_the_result_file():
    """A page that says something else than what was measured, or a table of other cases."""
    for name in ("torch", "jax", "scipy", "numdifftools"):
        pytest.importorskip(name)
    module = runpy.run_path(str(HERE / "benchmarks" / "gradient_checkers.py"))
    result = json.loads(module["RESULTS"].read_text(encoding="utf-8"))
    page = (HERE / "docs" / "numerical-gradients.md").read_text(encoding="utf-8")
    between = page.split("<!-- begin: python benchmarks/gradient_checkers.py -->")[1]
    assert between.split("<!-- end -->")[0].strip() == module["table"](result["checkers"])
    assert result["each_wrong_gradient"] == 1
    assert result["functions"] == len(module["CASES"])
    wrong = sum(len(dict(module["wrong_gradients"](case))) for case in module["CASES"])
    for row in result["checkers"].values():
        assert row["found"] + row["missed"] + row["wrong_undecided"] == wrong
