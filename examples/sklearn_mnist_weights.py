"""Visualisation of MLP weights on MNIST: what the hidden units look for.

scikit-learn's gallery has this picture. The program is one for scikit-learn, with the import of
`MLPClassifier` changed; `draw` takes either of the two.

    python examples/sklearn_mnist_weights.py [picture.png]
"""

import sys
import warnings

from matplotlib.figure import Figure
from sklearn.exceptions import ConvergenceWarning

import xpnet
from xpnet.sklearn import MLPClassifier  # was: from sklearn.neural_network import MLPClassifier


def train(estimator, rows=60_000, epochs=8):
    """Return the model, and its accuracy on the test images."""
    (X, y), (X_test, y_test) = xpnet.load_mnist()
    model = estimator(
        hidden_layer_sizes=(40,),
        max_iter=epochs,
        alpha=1e-4,
        solver="sgd",
        random_state=1,
        learning_rate_init=0.2,
        verbose=True,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a few epochs are enough to see it
        model.fit(X[:rows], y[:rows])
    score = model.score(X_test, y_test)
    print(f"test accuracy: {score:.4f}")
    return model, score


def draw(estimator, **how):
    """Train, and draw the first 16 columns of the first weights as pictures."""
    model, score = train(estimator, **how)
    weights = model.coefs_[0]
    limit = 0.5 * abs(weights).max()  # one scale for all
    figure = Figure(figsize=(7, 7.4), layout="constrained")
    for column, ax in zip(weights.T, figure.subplots(4, 4).ravel(), strict=False):
        picture = column.reshape(28, 28)
        image = ax.imshow(picture, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="equal")
        ax.set_axis_off()
    figure.colorbar(image, ax=figure.axes, shrink=0.5, location="bottom", label="weight")
    figure.suptitle(f"784-40-10 on MNIST: weights of 16 hidden units, {100 * score:.1f} % accuracy")
    return figure


if __name__ == "__main__":
    draw(MLPClassifier).savefig(*(sys.argv[1:] or ["mnist-weights.png"]), dpi=110)
