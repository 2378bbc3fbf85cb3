"""The regressor."""

from __future__ import annotations

import math
from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.metaestimators import available_if

from ..arrays import Array
from ..backend.placement import Placement
from .arrays import moved
from .base import BaseMLP, Target
from .nets import LOSSES
from .parameters import Added, Common, Loss, is_stochastic, with_parameters


@with_parameters(Loss, Common, Added)
class MLPRegressor(RegressorMixin, BaseMLP):
    """Multi-layer perceptron regressor: scikit-learn's, where X lives.

    The parameters, their defaults and their meaning are those of
    ``sklearn.neural_network.MLPRegressor``, and so are the fitted attributes; `dropout`,
    `xp`, `device`, `dtype`, `net_` and `history_` are new. With
    ``sklearn.set_config(array_api_dispatch=True)`` the input may be an array of any library, and
    everything follows X: library, device and dtype. Without it, NumPy goes in and comes out.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {attributes}

    Notes
    -----
    As for `MLPClassifier`.

    Examples
    --------
    >>> import numpy as np
    >>> from xpnet.sklearn import MLPRegressor
    >>> X = np.linspace(-1.0, 1.0, 50)[:, None]
    >>> model = MLPRegressor(
    ...     hidden_layer_sizes=(16,), activation="tanh", solver="lbfgs", random_state=0
    ... ).fit(X, X[:, 0] ** 2)
    >>> model.score(X, X[:, 0] ** 2) > 0.99
    True
    """

    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train a new net; with `warm_start`, go on with the last one.

        Parameters
        ----------
        X : array, data frame or sparse matrix, (n, features)
        y : array-like, (n,) or (n, outputs)
        sample_weight : array-like, (n,), optional
            At least 0.

        Returns
        -------
        MLPRegressor
            Itself.

        Raises
        ------
        TypeError, ValueError
            A parameter or an argument is not what it should be; or the weights are no longer
            finite, and the estimator is not fitted.
        """
        return self._fit(X, y, sample_weight)

    @available_if(is_stochastic)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train one epoch on these rows; the optimizer goes on where it was.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.

        Returns
        -------
        MLPRegressor
            Itself.

        Raises
        ------
        TypeError, ValueError
            As `fit`.
        """
        return self._fit(X, y, sample_weight, incremental=True)

    def predict(self, X: Any) -> Array:
        """Predict values.

        Parameters
        ----------
        X : array, data frame or sparse matrix, (n, features)

        Returns
        -------
        array, (n,) or (n, outputs)
            Where X is.
        """
        prediction = self._predicted(X, "predict")
        return prediction[:, 0] if prediction.shape[1] == 1 else prediction

    def _read_target(self, y: Array, here: Placement, first: bool, classes: Any) -> Target:
        t = moved(y, here)
        t = t[:, None] if t.ndim == 1 else t
        return Target(t, LOSSES[self.loss], t.shape[1])

    def _class_weights(self, labels: np.ndarray | None, incremental: bool) -> np.ndarray | None:
        return None

    def _score(
        self, target: np.ndarray, prediction: np.ndarray, weights: np.ndarray | None
    ) -> float:
        if not np.isfinite(prediction).all():
            return math.nan
        return float(r2_score(target, prediction, sample_weight=weights))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
