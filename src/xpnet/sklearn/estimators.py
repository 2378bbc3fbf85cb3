"""The two estimators: what each of them makes of y, and its predictions."""

from __future__ import annotations

from typing import Any, Self

import array_api_compat
import numpy as np
from sklearn import neural_network
from sklearn.base import ClassifierMixin, RegressorMixin, _fit_context
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.metaestimators import available_if

from ..arrays import Array
from ..backend import Placement
from ..functions import softplus
from .arrays import integers, moved, on_host
from .base import BaseMLP, Target
from .labels import Labels, announced, given_classes, labels_of, placed_classes, weights_of_classes
from .parameters import (
    LOSSES,
    Added,
    ClassWeight,
    Common,
    Loss,
    constraints,
    is_stochastic,
    with_parameters,
)


@with_parameters(Common, ClassWeight, Added)
class MLPClassifier(ClassifierMixin, BaseMLP):
    """Multi-layer perceptron classifier: scikit-learn's, where X lives.

    The parameters, their defaults and their meaning are those of
    ``sklearn.neural_network.MLPClassifier``, and so are the fitted attributes; `class_weight`,
    `dropout`, `xp`, `device`, `dtype`, `net_` and `history_` are new. With
    ``sklearn.set_config(array_api_dispatch=True)`` the input may be an array of any library, and
    everything follows X: library, device and dtype. Without it, NumPy goes in and comes out.

    Parameters
    ----------
    {parameters}

    Attributes
    ----------
    {attributes}
    classes_ : array
        The labels, sorted.

    Notes
    -----
    Sparse X is made dense a batch at a time. Rows of weight 0 are left out. Ctrl-C ends the
    training after the current epochs with a warning, and leaves a fitted estimator. An estimator
    that was fitted on a GPU and pickled is loaded on NumPy where there is none.

    Examples
    --------
    >>> import numpy as np
    >>> from xpnet.sklearn import MLPClassifier
    >>> X, y = np.asarray([[0.0], [1.0], [2.0], [3.0]]), ["low", "low", "high", "high"]
    >>> model = MLPClassifier((8,), solver="lbfgs", random_state=0).fit(X, y)
    >>> model.predict([[-1.0], [4.0]]).tolist(), model.score(X, y)
    (['low', 'high'], 1.0)
    """

    _parameter_constraints = constraints(neural_network.MLPClassifier)

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """Train a new net; with `warm_start`, go on with the last one.

        Parameters
        ----------
        X : array, data frame or sparse matrix, (n, features)
        y : array-like
            Labels (n,), numbers or strings; or for several labels a row, zeros and ones
            (n, labels).
        sample_weight : array-like, (n,), optional
            At least 0.

        Returns
        -------
        MLPClassifier
            Itself.

        Raises
        ------
        TypeError, ValueError
            A parameter or an argument is not what it should be; or the weights are no longer
            finite, and the estimator is not fitted.
        """
        return self._fit(X, y, sample_weight)

    @available_if(is_stochastic)
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> Self:
        """Train one epoch on these rows; the optimizer goes on where it was.

        Parameters
        ----------
        X, y, sample_weight
            As for `fit`.
        classes : array-like, optional
            All labels that will ever come; needed in the first call.

        Returns
        -------
        MLPClassifier
            Itself.

        Raises
        ------
        TypeError, ValueError
            As `fit`; or `classes` is missing or has changed, or `y` has others.
        """
        known = vars(self).get("_labels")
        if classes is not None and (known is None or not known.are(classes)):
            classes = given_classes(classes)
            if known is not None:
                same = np.array_equal(classes, known.classes)
                if not same and not (known.several and np.array_equal(classes, [0, 1])):
                    raise ValueError(
                        f"`classes={classes}` is not the same as on last call to partial_fit, "
                        f"was: {known.classes}"
                    )
            self._classes = classes  # this call may fail, and the next one go without them
        elif classes is None and known is None and "_classes" not in vars(self):
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' needs all of y, and partial_fit has a part: give "
                "compute_class_weight's result as a dict"
            )
        return self._fit(X, y, sample_weight, incremental=True, classes=vars(self).get("_classes"))

    def predict(self, X: Any) -> Array:
        """Predict labels.

        Parameters
        ----------
        X : array, data frame or sparse matrix, (n, features)

        Returns
        -------
        array, (n,) or (n, labels)
            Where X is; labels that are no numbers are NumPy's.
        """
        prediction = self._predicted(X, "predict")
        xp = array_api_compat.array_namespace(prediction)
        if self._labels.several:
            return integers(prediction > 0.5)
        if self._labels.outputs > 1:
            indices = xp.argmax(prediction, axis=1)
        else:
            last = len(self._labels.classes) - 1
            indices = integers(prediction[:, 0] > 0.5) * last
        if isinstance(prediction, np.ndarray) or isinstance(self.classes_, np.ndarray):
            return self._labels.classes[on_host(indices)]
        return xp.take(self.classes_, indices, axis=0)

    def predict_proba(self, X: Any) -> Array:
        """Predict the probability of each label.

        Parameters
        ----------
        X : array, data frame or sparse matrix, (n, features)

        Returns
        -------
        array, (n, labels)
            In the order of `classes_`, where X is.
        """
        return self._by_label(self._predicted(X, "predict_proba"))

    def predict_log_proba(self, X: Any) -> Array:
        """Predict the logarithm of each probability, finite where the probability is 0.

        Parameters
        ----------
        X : array, data frame or sparse matrix, (n, features)

        Returns
        -------
        array, (n, labels)
        """
        a = self._predicted(X, "predict_log_proba", logits=True)
        xp = array_api_compat.array_namespace(a)
        p = self._by_label(self.net_.output.link(a))
        if self._labels.several:
            logarithms = -softplus(-a)
        elif self._labels.outputs > 1:
            logarithms = a - xp.max(a, axis=1, keepdims=True)
            logarithms -= xp.log(xp.sum(xp.exp(logarithms), axis=1, keepdims=True))
        else:
            logarithms = xp.concat([-softplus(a), -softplus(-a)], axis=1)[:, : p.shape[1]]
        # As the probabilities are rounded near 1, they and their logarithms are alike in order.
        return xp.where(p > 0.5, xp.log(xp.maximum(p, 0.5 * xp.ones_like(p))), logarithms)

    def _by_label(self, p: Array) -> Array:
        """Return the probability of each label, from the net's output."""
        if self._labels.several or self._labels.outputs > 1:
            return p
        xp = array_api_compat.array_namespace(p)
        return xp.concat([1.0 - p, p], axis=1) if len(self._labels.classes) > 1 else xp.ones_like(p)

    def _read_target(self, y: Array, here: Placement, first: bool, classes: Any) -> Target:
        found, y = labels_of(y)
        if not first:
            labels = self._labels
        elif classes is None:
            labels = found
        else:
            labels = announced(found, classes)
        self._refuse_other_classes(found, labels)
        if first:
            self._labels, known = labels, labels.classes
            self.classes_ = known if self._fitted_on_numpy else placed_classes(known, here)
        weights = weights_of_classes(self.class_weight, found, y)
        return labels.target(y, here), labels.outputs, labels.output, weights

    def _refuse_other_classes(self, found: Labels, known: Labels) -> None:
        """Raise where y has classes that it must not have, or with `warm_start` lacks some."""
        if self.warm_start and not np.array_equal(found.classes, known.classes):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous "
                f"call to fit. Previously got {known.classes}, `y` has {found.classes}"
            )
        found.refuse_other(known)

    def _score(self, target: np.ndarray, prediction: np.ndarray, **weights: Any) -> Any:
        if self._labels.outputs > 1 and not self._labels.several:
            return accuracy_score(target, prediction.argmax(axis=1), **weights)
        return accuracy_score(target > 0.5, prediction > 0.5, **weights)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags


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

    _parameter_constraints = constraints(neural_network.MLPRegressor)

    @_fit_context(prefer_skip_nested_validation=True)
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
    @_fit_context(prefer_skip_nested_validation=True)
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
        lowest = float(here.xp.min(t))
        if self.loss == "poisson" and lowest < 0.0:
            raise ValueError(f"loss='poisson' is for y of at least 0; y has {lowest:g}")
        t = t[:, None] if t.ndim == 1 else t
        return t, int(t.shape[1]), LOSSES[self.loss], None

    def _score(self, target: np.ndarray, prediction: np.ndarray, **weights: Any) -> Any:
        return r2_score(target, prediction, **weights)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
