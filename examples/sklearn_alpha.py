"""Varying regularisation: how `alpha` shapes the decision of a net.

scikit-learn's gallery has this comparison. The program is one for scikit-learn, with the import
of `MLPClassifier` changed; `draw` takes either of the two.

    python examples/sklearn_alpha.py [picture.png]
"""

import sys

import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from sklearn.datasets import make_circles, make_classification, make_moons
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from xpnet.sklearn import MLPClassifier  # was: from sklearn.neural_network import MLPClassifier

ALPHAS = [0.1, 0.32, 1.0, 3.2, 10.0]


def data_sets():
    X, y = make_classification(
        n_features=2, n_redundant=0, n_informative=2, random_state=0, n_clusters_per_class=1
    )
    X += 2 * np.random.default_rng(2).uniform(size=X.shape)
    return [
        make_moons(noise=0.3, random_state=0),
        make_circles(noise=0.2, factor=0.5, random_state=1),
        (X, y),
    ]


def draw(estimator, alphas=ALPHAS):
    """Fit each alpha to each data set; draw the probabilities, the rows, the test accuracy."""
    figure = Figure(figsize=(2.5 * (len(alphas) + 1), 7.6), layout="constrained")
    axes = figure.subplots(3, len(alphas) + 1)
    colours = ListedColormap(["#b2182b", "#2166ac"])
    scores = np.empty((3, len(alphas)))
    for i, (X, y) in enumerate(data_sets()):
        X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.4, random_state=42)
        low, high = X.min(axis=0) - 0.5, X.max(axis=0) + 0.5
        xx, yy = np.meshgrid(*(np.linspace(*ends, 150) for ends in zip(low, high, strict=True)))
        for j, ax in enumerate(axes[i]):
            if j:
                model = make_pipeline(
                    StandardScaler(),
                    estimator(
                        solver="lbfgs",
                        alpha=alphas[j - 1],
                        random_state=1,
                        max_iter=2000,
                        early_stopping=True,
                        hidden_layer_sizes=(10, 10),
                    ),
                )
                model.fit(X_train, y_train)
                score = scores[i, j - 1] = model.score(X_test, y_test)
                p = model.predict_proba(np.column_stack([xx.ravel(), yy.ravel()]))[:, 1]
                levels = np.linspace(0.0, 1.0, 11)
                ax.contourf(xx, yy, p.reshape(xx.shape), levels, cmap="RdBu", alpha=0.8)
                ax.text(
                    *(0.97, 0.03, f"{score:.2f}"),
                    transform=ax.transAxes, ha="right", va="bottom", fontsize=12,
                    bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 2},
                )  # fmt: skip
            for points, labels, opacity in ((X_train, y_train, 1.0), (X_test, y_test, 0.55)):
                ax.scatter(
                    *points.T, c=labels, cmap=colours, alpha=opacity, s=16, edgecolors="white",
                    linewidths=0.4,
                )  # fmt: skip
            ax.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), xticks=[], yticks=[])
            if i == 0:
                ax.set_title(f"alpha {alphas[j - 1]:g}" if j else "the rows")
    return figure, scores


if __name__ == "__main__":
    draw(MLPClassifier)[0].savefig(*(sys.argv[1:] or ["alpha.png"]), dpi=110)
