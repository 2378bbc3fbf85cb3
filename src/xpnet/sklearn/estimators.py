"""The two estimators: what each of them makes of y, and its predictions."""

from __future__ import annotations

from typing import Any, Self

import array_api_compat
import numpy as np
from scipy.sparse import issparse
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import accuracy_score, r2_score
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from ..arrays import Array, smallest_normal
from ..backend import Placement
from .arrays import moved, on_host, placed_classes
from .base import BaseMLP, Target
from .parameters import LOSSES, Added, ClassWeight, Common, Loss, is_stochastic, with_parameters


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
    Sparse X is made dense. Rows of weight 0 are left out. Ctrl-C ends the training after the
    current epochs with a warning, and leaves a fitted estimator. An estimator that was fitted on
    a GPU and pickled is loaded on NumPy where there is none.

    Examples
    --------
    >>> import numpy as np
    >>> from xpnet.sklearn import MLPClassifier
    >>> X, y = np.asarray([[0.0], [1.0], [2.0], [3.0]]), ["low", "low", "high", "high"]
    >>> model = MLPClassifier((8,), solver="lbfgs", random_state=0).fit(X, y)
    >>> model.predict([[-1.0], [4.0]]).tolist(), model.score(X, y)
    (['low', 'high'], 1.0)
    """

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
        known_classes = getattr(self, "classes_", None)
        if classes is None and known_classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit.")
        if classes is not None:
            classes = np.unique(np.asarray(on_host(classes)))
            if known_classes is not None and not np.array_equal(classes, on_host(known_classes)):
                raise ValueError(
                    f"`classes={classes}` is not the same as on last call to partial_fit, was: "
                    f"{known_classes}"
                )
        if self.class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' needs all of y, and partial_fit has a part: give "
                "compute_class_weight's result as a dict"
            )
        return self._fit(X, y, sample_weight, incremental=True, classes=classes)

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
        if self._multilabel:
            return xp.astype(prediction > 0.5, xp.int64)
        if self.net_.output.name == "softmax":
            indices = xp.argmax(prediction, axis=1)
        else:
            indices = xp.astype(prediction[:, 0] > 0.5, xp.int64) * (self.classes_.shape[0] - 1)
        if isinstance(self.classes_, np.ndarray):
            return self.classes_[on_host(indices)]
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
        return self._probabilities(X, "predict_proba")

    def predict_log_proba(self, X: Any) -> Array:
        """Predict the logarithm of each probability, finite where the probability is 0.

        Parameters
        ----------
        X : array, data frame or sparse matrix, (n, features)

        Returns
        -------
        array, (n, labels)
        """
        p = self._probabilities(X, "predict_log_proba")
        xp = array_api_compat.array_namespace(p)
        return xp.log(xp.maximum(p, smallest_normal(p)))

    def _probabilities(self, X: Any, method: str) -> Array:
        p = self._predicted(X, method)
        if self._multilabel or self.net_.output.name == "softmax":
            return p
        xp = array_api_compat.array_namespace(p)
        return xp.concat([1.0 - p, p], axis=1) if self.classes_.shape[0] > 1 else xp.ones_like(p)

    def _read_target(self, y: Array, here: Placement, first: bool, classes: Any) -> Target:
        labels = on_host(y)
        check_classification_targets(labels)
        kind = type_of_target(labels, input_name="y")
        if kind == "multiclass-multioutput":
            raise ValueError("Multioutput target data is not supported with label binarization")
        multilabel = kind.startswith("multilabel")
        if multilabel:
            labels = np.asarray(labels.toarray() if issparse(labels) else labels)
        found = np.arange(labels.shape[1]) if multilabel else np.unique(labels)
        if not first:
            classes = on_host(self.classes_)
            if multilabel != self._multilabel:
                raise ValueError("y has one label a row in one call, and several in another")
        elif classes is None or multilabel:
            classes = found
        self._refuse_other_classes(found, classes)
        if first:
            self._multilabel = multilabel
            self.classes_ = classes if self._fitted_on_numpy else placed_classes(classes, here)
        weights = None
        if self.class_weight is not None:
            if multilabel:
                raise ValueError("class_weight is for one label a row; y has several")
            weights = compute_sample_weight(self.class_weight, labels)
        if multilabel:
            return here.floats(labels), "sigmoid", None
        indices = np.searchsorted(classes, labels)
        if len(classes) > 2:
            return here.asarray(indices), "softmax", weights
        return here.floats(indices[:, None]), "sigmoid", weights

    def _refuse_other_classes(self, found: np.ndarray, classes: np.ndarray) -> None:
        """Raise where y has classes that it must not have, or with `warm_start` lacks some."""
        others = np.setdiff1d(found, classes)
        if self.warm_start and len(others) + len(np.setdiff1d(classes, found)):
            raise ValueError(
                "warm_start can only be used where `y` has the same classes as in the previous "
                f"call to fit. Previously got {classes}, `y` has {found}"
            )
        if len(others):
            raise ValueError(
                f"`y` has classes not in `self.classes_`. `self.classes_` has {classes}. 'y' has "
                f"{found}."
            )

    def _score(self, target: np.ndarray, prediction: np.ndarray, **weights: Any) -> Any:
        if self.net_.output.name == "softmax":
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
        return (t[:, None] if t.ndim == 1 else t), LOSSES[self.loss], None

    def _score(self, target: np.ndarray, prediction: np.ndarray, **weights: Any) -> Any:
        return r2_score(target, prediction, **weights)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
