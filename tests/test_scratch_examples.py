"""The programs in the manner of the textbook run, shortened, on NumPy and on one other library."""

import pathlib
import runpy

import numpy as np
import pytest

FOLDER = pathlib.Path(__file__).parent.parent / "examples" / "scratch"


def gradient_check(found, lines):
    """Backpropagation that does not belong to the loss."""
    assert [*found] == ["two layers", "batch normalization", "convolution"]
    assert all(difference < 1e-5 for difference in found.values())
    assert sum(line.startswith("  W1: ") for line in lines) == 3


def optimizers(found, lines):
    """A loss that rises."""
    assert len(lines) == 7
    assert all(np.mean(losses[-5:]) < np.mean(losses[:5]) for losses in found.values())


def weight_initialisation(found, lines):
    """Weights that are too small: nothing reaches the last layer, and nothing is learned."""
    deviations, losses = found
    assert deviations["relu", 0.01][-1] < 0.01 < deviations["relu", "he"][-1]
    assert np.mean(losses["he"][-5:]) < np.mean(losses[0.01][-5:])
    assert lines[0].startswith("sigmoid, weights 1.0: deviations of the layers 0.")


def batch_normalization(found, lines):
    """With small weights only the net with normalization learns."""
    assert found[0.03, "with"][-1] > 0.5 > found[0.03, "without"][-1]
    assert lines[1].startswith("weights 0.03: accuracy 0.")


def weight_decay(found, lines):
    """A decay that does not reach the weights."""
    plain, decayed = found.values()
    assert decayed[2] < 0.8 * plain[2]
    assert decayed[0] - decayed[1] < plain[0] - plain[1]
    assert lines[0].startswith("no decay: accuracy ")


def dropout(found, lines):
    """The training accuracy runs less far ahead."""
    plain, dropped = found.values()
    assert dropped[0] - dropped[1] < plain[0] - plain[1]
    assert lines[1].startswith("dropout of 0.2: accuracy ")


def hyperparameter_search(found, lines):
    """The best come first, and a large enough rate is among them."""
    assert len(found) == 8
    assert [*found] == sorted(found, key=lambda trial: -trial[0])
    assert found[0][0] > 0.5
    assert found[0][1] > 1e-2
    assert lines[0].startswith("1: accuracy 0.")


def simple_convnet(found, lines):
    """The net that is read from a file is the one that was written."""
    accuracy, again = found
    assert accuracy == again > 0.5
    assert lines[1] == f"test accuracy {accuracy:.4f}"


def deep_convnet(found, lines):
    """Six convolutions learn, if slowly at first."""
    losses, _ = found
    assert np.mean(losses[-5:]) < np.mean(losses[:5]) - 0.1
    assert lines[0].endswith(", with dropout")


def filters(found, lines):
    """Filters that training leaves as they were drawn."""
    moved, accuracy = found
    assert moved > 2
    assert lines[0].startswith(f"test accuracy {accuracy:.4f}; ")


def misclassified(found, lines):
    """As many wrong digits as the accuracy says."""
    wrong, accuracy, rows = found
    assert len(wrong) == round((1 - accuracy) * rows)
    assert lines[0].endswith(f": {len(wrong)} of {rows} are wrong")


# Each program, and the library beside NumPy that it is tried on.
PROGRAMS = {
    gradient_check: "torch", optimizers: "torch", weight_initialisation: "jax",
    batch_normalization: "torch", weight_decay: "jax", dropout: "torch",
    hyperparameter_search: "torch", simple_convnet: "torch", deep_convnet: "torch",
    filters: "jax", misclassified: "torch",
}  # fmt: skip


@pytest.mark.parametrize("expected", PROGRAMS, ids=lambda program: program.__name__)
def test_a_program(lib, expected, tmp_path, capsys, monkeypatch):
    """A program of the examples that no longer does what it says, here or elsewhere."""
    if lib.name not in ("numpy", PROGRAMS[expected]):
        pytest.skip("each program is tried on NumPy and on one other library")
    monkeypatch.syspath_prepend(str(FOLDER))
    main = runpy.run_path(str(FOLDER / f"{expected.__name__}.py"))["main"]
    picture = tmp_path / "picture.png"
    found = main(quick=True, xp=lib.kwargs["xp"], out=picture)
    lines = capsys.readouterr().out.splitlines()
    expected(found, [line for line in lines if line])
    if expected is not gradient_check:
        assert lines[-1] == f"wrote {picture}"
        assert picture.read_bytes().startswith(b"\x89PNG")


def test_every_program_is_here():
    """A program that nothing runs."""
    files = {path.stem for path in FOLDER.glob("*.py") if not path.stem.startswith("_")}
    assert files == {program.__name__ for program in PROGRAMS}
