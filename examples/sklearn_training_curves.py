"""Stochastic learning strategies: the loss of seven of them on four small data sets.

scikit-learn's gallery has this comparison. The program is one for scikit-learn, with the import
of `MLPClassifier` changed; and `draw` takes either of the two.

    python examples/sklearn_training_curves.py [picture.png]
"""

import sys
import warnings

from matplotlib.figure import Figure
from sklearn.datasets import load_digits, load_iris, make_circles, make_moons
from sklearn.exceptions import ConvergenceWarning
from sklearn.preprocessing import MinMaxScaler

from xpnet.sklearn import MLPClassifier  # was: from sklearn.neural_network import MLPClassifier

SGD = {"solver": "sgd", "learning_rate_init": 0.2}
FALLING = {**SGD, "learning_rate": "invscaling"}
# What each is called, its parameters, how its curve is drawn.
STRATEGIES = [
    ("constant rate", {**SGD, "momentum": 0}, "tab:red", "-"),
    ("constant, momentum", {**SGD, "nesterovs_momentum": False}, "tab:green", "-"),
    ("constant, Nesterov's momentum", SGD, "tab:blue", "-"),
    ("inverse scaling", {**FALLING, "momentum": 0}, "tab:red", "--"),
    ("inverse scaling, momentum", {**FALLING, "nesterovs_momentum": False}, "tab:green", "--"),
    ("inverse scaling, Nesterov's", FALLING, "tab:blue", "--"),
    ("Adam", {"solver": "adam", "learning_rate_init": 0.01}, "black", "-"),
]
DATA = {
    "iris": (lambda: load_iris(return_X_y=True), 400),
    "digits": (lambda: load_digits(return_X_y=True), 15),
    "circles": (lambda: make_circles(noise=0.2, factor=0.5, random_state=1), 400),
    "moons": (lambda: make_moons(noise=0.3, random_state=0), 400),
}


def train(estimator, name):
    """Return the fitted models of one data set, by strategy."""
    load, epochs = DATA[name]
    X, y = load()
    X = MinMaxScaler().fit_transform(X)
    models = {}
    with warnings.catch_warnings():
        # Not all of them get there in time: that is what the picture shows.
        warnings.simplefilter("ignore", ConvergenceWarning)
        for label, parameters, _, _ in STRATEGIES:
            model = estimator(random_state=0, max_iter=epochs, **parameters).fit(X, y)
            print(f"{name}, {label}: accuracy {model.score(X, y):.4f}, loss {model.loss_:.4f}")
            models[label] = model
    return models


def draw(estimator, names=tuple(DATA)):
    """Train on each data set, and draw the curves of the losses."""
    figure = Figure(figsize=(12, 3.9 * -(-len(names) // 2)), layout="constrained")
    axes = figure.subplots(-(-len(names) // 2), 2, squeeze=False).ravel()
    for name, ax in zip(names, axes, strict=False):
        for (label, _, color, style), model in zip(
            STRATEGIES, train(estimator, name).values(), strict=True
        ):
            ax.plot(model.loss_curve_, color=color, linestyle=style, label=label, linewidth=1.4)
        ax.set(title=name, xlabel="epoch", ylabel="training loss")
        ax.spines[["top", "right"]].set_visible(False)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, ncols=4, loc="outside upper center", frameon=False)
    return figure


if __name__ == "__main__":
    draw(MLPClassifier).savefig(*(sys.argv[1:] or ["training-curves.png"]), dpi=110)
