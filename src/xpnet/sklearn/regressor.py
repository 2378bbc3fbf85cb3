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
from .base import BaseMLP, is_stochastic
from .nets import LOSSES


class MLPRegressor(RegressorMixin, BaseMLP):
    """Multi-layer perceptron regressor: scikit-learn's, where X lives.

    The parameters, their defaults and their meaning are those of
    ``sklearn.neural_network.MLPRegressor``, and so are the fitted attributes; `dropout`,
    `xp`, `device`, `dtype`, `net_` and `history_` are new. With
    ``sklearn.set_config(array_api_dispatch=True)`` the input may be an array of any library, and
    everything follows X: library, device and dtype. Without it, NumPy goes in and comes out.

    Parameters
    ----------
    loss : str
        "squared_error", half the squared error; or "poisson", half the Poisson deviance, for
        y of at least 0: the net then predicts its logarithm. Summed over the outputs.
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

    def __init__(
        self,
        loss: str = "squared_error",
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
        dropout: float = 0.0,
        xp: str | None = None,
        device: Any = None,
        dtype: str | None = None,
    ) -> None:
        self.loss = loss
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
        self.dropout = dropout
        self.xp = xp
        self.device = device
        self.dtype = dtype

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

    @available_if(lambda self: is_stochastic(self))
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

    def _read_target(
        self, y: Array, here: Placement, first: bool, classes: Any
    ) -> tuple[Array, str, int, np.ndarray | None]:
        t = moved(y, here)
        t = t[:, None] if t.ndim == 1 else t
        return t, LOSSES[self.loss], t.shape[1], None

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
