"""The examples run, on more than one backend, and say what their pages say."""

import pathlib
import runpy

import numpy as np
import pytest
from sklearn import neural_network

import xpnet.sklearn

EXAMPLES = pathlib.Path(__file__).parent.parent / "examples"


def test_gradient_of_a_gaussian_process(lib, capsys):
    """A right gradient passes, a wrong one fails with its entry named."""
    if lib.kwargs["device"] not in (None, "cpu"):
        pytest.skip("the example takes the library's default device")
    main = runpy.run_path(str(EXAMPLES / "check_gradient_gp.py"))["main"]
    right, wrong = main(lib.kwargs["xp"])
    assert right.ok
    assert wrong.verdict == "failed"
    assert wrong.causes == ("x: a single entry is wrong",)
    assert "Gradient check passed" in capsys.readouterr().out


def example(name):
    return runpy.run_path(str(EXAMPLES / f"{name}.py"))


def test_stochastic_learning_strategies(capsys):
    """scikit-learn's example, with the import changed: the same curves, to the last digits."""
    train = example("sklearn_training_curves")["train"]
    ours = train(xpnet.sklearn.MLPClassifier, "moons")
    theirs = train(neural_network.MLPClassifier, "moons")
    for label, model in theirs.items():
        np.testing.assert_allclose(
            ours[label].loss_curve_, model.loss_curve_, rtol=1e-9, err_msg=label
        )
    # Batches of one size here, a smaller last one there: the same to the eye.
    digits = train(xpnet.sklearn.MLPClassifier, "digits")
    for label, model in train(neural_network.MLPClassifier, "digits").items():
        assert digits[label].loss_ == pytest.approx(model.loss_, abs=0.02), label


def test_its_picture(tmp_path):
    """Seven curves on each set."""
    module = example("sklearn_training_curves")
    figure = module["draw"](xpnet.sklearn.MLPClassifier, ("circles", "moons"))
    assert [len(ax.lines) for ax in figure.axes] == [7, 7]
    figure.savefig(tmp_path / "curves.png")


def test_weights_of_mnist(tmp_path, capsys):
    """The pictures are the columns of the first weights."""
    module = example("sklearn_mnist_weights")
    figure = module["draw"](xpnet.sklearn.MLPClassifier, rows=2000, epochs=2)
    model, score = module["train"](neural_network.MLPClassifier, rows=2000, epochs=2)
    assert score > 0.8
    drawn = figure.axes[0].images[0].get_array()
    # The rows are whole batches: scikit-learn's own weights come out, up to float32.
    np.testing.assert_allclose(drawn, model.coefs_[0][:, 0].reshape(28, 28), atol=1e-4)
    figure.savefig(tmp_path / "weights.png")


def test_varying_regularization(tmp_path):
    """The larger alpha, the simpler the boundary: the same scores as scikit-learn's, nearly."""
    draw = example("sklearn_alpha")["draw"]
    figure, ours = draw(xpnet.sklearn.MLPClassifier, [0.32, 10.0])
    _, theirs = draw(neural_network.MLPClassifier, [0.32, 10.0])
    assert len(figure.axes) == 9
    np.testing.assert_allclose(ours, theirs, atol=0.051)  # two of the 40 test rows
    figure.savefig(tmp_path / "alpha.png")
