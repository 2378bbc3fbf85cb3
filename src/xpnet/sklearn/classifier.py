"""The classifier."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Self

import array_api_compat
import numpy as np
from scipy.sparse import issparse
from sklearn.base import ClassifierMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from ..arrays import Array
from ..backend.placement import Placement
from .arrays import on_host, placed_classes
from .base import BaseMLP, is_stochastic


class MLPClassifier(ClassifierMixin, BaseMLP):
    """Multi-layer perceptron classifier: scikit-learn's, where X lives.

    The parameters, their defaults and their meaning are those of
    ``sklearn.neural_network.MLPClassifier``, and so are the fitted attributes; `class_weight`,
    `dropout`, `xp`, `device`, `dtype`, `net_` and `history_` are new. With
    ``sklearn.set_config(array_api_dispatch=True)`` the input may be an array of any library, and
    everything follows X: library, device and dtype. Without it, NumPy goes in and comes out.

    Parameters
    ----------
    hidden_layer_sizes : int or sequence of int
        Units of each hidden layer; an empty sequence for none.
    activation : str
        "relu", "tanh", "logistic" or "identity", of the hidden layers.
    solver : str
        "adam", "sgd", or "lbfgs": SciPy's L-BFGS-B on all rows at once. Its arithmetic is on the
        host in float64: each evaluation of the loss moves all parameters to the net's device
        and the gradient back, and waits for both.
    alpha : float
        L2: ``alpha / 2`` times the sum of the squared weights, divided by the rows of a batch,
        is added to the loss.
    batch_size : int or "auto"
        At most so many rows in a batch; "auto" is 200. An epoch is as many steps as
        scikit-learn's, in batches of one size: 450 rows make three of 150, not 200, 200 and 50.
    learning_rate : str
        For "sgd": "constant"; "invscaling", ``learning_rate_init / (t + 1) ** power_t`` after t
        rows; or "adaptive", divided by 5 where it would have stopped.
    learning_rate_init, power_t : float
    max_iter : int
        Epochs at most; for "lbfgs" iterations.
    shuffle : bool
        False: every epoch takes the rows in their order.
    random_state : int, RandomState or None
        Of the first weights, the validation set and the order of the rows: scikit-learn's for the
        same number.
    tol : float
        What counts as an improvement. For "lbfgs" the largest entry of the gradient at which
        it stops.
    verbose : bool
        Print the loss of each epoch.
    warm_start : bool
        `fit` goes on with the weights of the last call.
    momentum : float
        For "sgd": at least 0 and below 1.
    nesterovs_momentum : bool
    early_stopping : bool
        Hold `validation_fraction` of the rows out, stop where their score no longer improves,
        and keep the weights that had the best.
    validation_fraction : float
    beta_1, beta_2, epsilon : float
        Of Adam.
    n_iter_no_change : int
        Epochs without improvement before it stops.
    max_fun : int
        Evaluations of the loss at most, for "lbfgs".
    class_weight : dict or "balanced", optional
        Weights of the classes, multiplied with `sample_weight`; "balanced": inversely
        proportional to their frequencies.
    dropout : float
        For "adam" and "sgd": in [0, 1), the probability with which each output of a hidden layer
        is left out in a step of training, as for `xpnet.fit`. The losses are those with dropout;
        predictions and validation scores have none.
    xp : str, optional
        "torch", "cupy" or "jax": where NumPy input is sent to; what comes out is NumPy again.
        None: the work is done where X is.
    device : optional
        Of that library: "cuda", "cuda:1", ...
    dtype : str, optional
        "float32" or "float64", for NumPy input; "float32" is faster everywhere. None: the dtype
        of X, float64 where X has no floats.

    Attributes
    ----------
    net_ : xpnet.MLP
        The net, with all that it can do.
    history_ : xpnet.History
        Of the last `fit` or `partial_fit`: one loss a step, times; ``history_.plot(path)`` draws
        the loss.
    coefs_, intercepts_ : list of arrays
        The net's parameters.
    loss_, best_loss_, loss_curve_
        Of the epochs: the mean over its batches, with the L2 term.
    validation_scores_, best_validation_score_
        With `early_stopping`, one score an epoch.
    n_iter_, t_ : int
        Epochs of the last call; rows trained on in all.
    n_layers_, n_outputs_, out_activation_, n_features_in_, feature_names_in_
        As scikit-learn's.
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

    def __init__(
        self,
        hidden_layer_sizes: Any = (100,),
        activation: str = "relu",
        *,
        solver: str = "adam",
        alpha: float = 0.0001,
        batch_size: Any = "auto",
        learning_rate: str = "constant",
        learning_rate_init: float = 0.001,
        power_t: float = 0.5,
        max_iter: int = 200,
        shuffle: bool = True,
        random_state: Any = None,
        tol: float = 1e-4,
        verbose: bool = False,
        warm_start: bool = False,
        momentum: float = 0.9,
        nesterovs_momentum: bool = True,
        early_stopping: bool = False,
        validation_fraction: float = 0.1,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-8,
        n_iter_no_change: float = 10,
        max_fun: int = 15000,
        class_weight: Mapping[Any, float] | str | None = None,
        dropout: float = 0.0,
        xp: str | None = None,
        device: Any = None,
        dtype: str | None = None,
    ) -> None:
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.class_weight = class_weight
        self.dropout = dropout
        self.xp = xp
        self.device = device
        self.dtype = dtype

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

    @available_if(lambda self: is_stochastic(self))
    def partial_fit(
        self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None
    ) -> Self:
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
        classes = self.classes_
        if self.net_.output.name == "softmax":
            indices = xp.argmax(prediction, axis=1)
        else:
            last = classes.shape[0] - 1
            indices = xp.astype(prediction[:, 0] > 0.5, xp.int64) * last
        if isinstance(classes, np.ndarray):
            return classes[on_host(indices)]
        return xp.take(classes, indices, axis=0)

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
        return xp.log(xp.maximum(p, float(xp.finfo(p.dtype).smallest_normal)))

    def _probabilities(self, X: Any, method: str) -> Array:
        p = self._predicted(X, method)
        if self._multilabel or self.net_.output.name == "softmax":
            return p
        xp = array_api_compat.array_namespace(p)
        return xp.concat([1.0 - p, p], axis=1) if self.classes_.shape[0] > 1 else xp.ones_like(p)

    def _read_target(
        self, y: Array, here: Placement, first: bool, classes: Any
    ) -> tuple[Array, str, int, np.ndarray | None]:
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
        if first:
            self._multilabel = multilabel
            self.classes_ = classes if self._fitted_on_numpy else placed_classes(classes, here)
        if multilabel:
            return here.floats(labels), "sigmoid", labels.shape[1], None
        indices = np.searchsorted(classes, labels)
        if len(classes) > 2:
            return here.asarray(indices), "softmax", len(classes), indices
        return here.floats(indices[:, None]), "sigmoid", 1, indices

    def _score(
        self, target: np.ndarray, prediction: np.ndarray, weights: np.ndarray | None
    ) -> float:
        if not np.isfinite(prediction).all():
            return math.nan
        if self.net_.output.name == "softmax":
            prediction = prediction.argmax(axis=1)
        else:
            prediction, target = prediction > 0.5, target > 0.5
        return float(accuracy_score(target, prediction, sample_weight=weights))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
