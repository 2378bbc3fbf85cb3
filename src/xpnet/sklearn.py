"""scikit-learn's `MLPClassifier` and `MLPRegressor`, for arrays of any library.

The net is `xpnet.MLP`, the training `xpnet.fit`: what scikit-learn decides at the end of an epoch
(stopping, learning rates, the best weights) is a callback and a schedule here. This is the only
module that imports scikit-learn.
"""

from __future__ import annotations

import abc
import math
import warnings
from collections.abc import Callable, Mapping
from typing import Any, Self

import array_api_compat
import numpy as np

try:
    import scipy.optimize
    from scipy.sparse import issparse
    from sklearn import get_config
    from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.metrics import accuracy_score, r2_score
    from sklearn.model_selection import train_test_split
    from sklearn.utils import check_array, check_random_state, column_or_1d
    from sklearn.utils.class_weight import compute_sample_weight
    from sklearn.utils.metaestimators import available_if
    from sklearn.utils.multiclass import check_classification_targets, type_of_target
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        f"xpnet.sklearn needs scikit-learn 1.8 or newer ({error}); install it with: "
        "python -m pip install 'xpnet[sklearn]'"
    ) from error

from .backend import Array, BackendNotAvailable, Placement, backend_of, place, placement_of
from .callbacks import Progress
from .checks import below_one, finite_number, known, positive_integer
from .network import MLP, Params
from .optimizers import SGD, Adam, Momentum, Nesterov, Optimizer
from .training import BLOCK_STEPS, NonFiniteLoss, fit

# scikit-learn's names of the activations, and xpnet's.
NAMES = {"identity": "identity", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu"}
SOLVERS = ("lbfgs", "sgd", "adam")
SCHEDULES = ("constant", "invscaling", "adaptive")
LOSSES = {"squared_error": "identity", "poisson": "exp"}
# xpnet's outputs, and scikit-learn's names of them.
OUT_ACTIVATIONS = {
    "softmax": "softmax", "sigmoid": "logistic", "identity": "identity", "exp": "exp",
}  # fmt: skip

DIVERGED = (
    "Solver produced non-finite parameter weights. The input data may contain large values and "
    "need to be preprocessed."
)


class _Adam(Adam):
    """Adam as scikit-learn has it: ε is added to √v, not to √v̂ (section 2 of the paper)."""

    def coefficients(self, steps: np.ndarray, learning_rates: np.ndarray) -> np.ndarray:
        numbers = super().coefficients(steps, learning_rates)
        numbers[:, 2] = self.epsilon / math.sqrt(1.0 - self.beta_2)
        return numbers


class _Epochs:
    """What happens at the end of an epoch; also the learning rate, which depends on it.

    It is the callback of a training whose blocks are whole epochs, and is kept from one call of
    `partial_fit` to the next.
    """

    def __init__(self, estimator: BaseMLP) -> None:
        self.loss_curve: list[float] = []
        self.scores: list[float] = []
        self.best_loss, self.best_score = math.inf, -math.inf
        self.since = 0  # epochs without improvement
        self.samples = 0
        self.optimizer: dict[str, Any] = {}
        self.start(estimator)

    def start(self, estimator: BaseMLP) -> None:
        """Begin a call of `fit`: the optimizer forgets, the curves go on."""
        self.rate: float = estimator.learning_rate_init
        self.optimizer.clear()

    def watch(
        self,
        estimator: BaseMLP,
        rows: int,
        steps: int,
        score: Callable[[MLP], float] | None,
        net: MLP,
    ) -> _Epochs:
        """Return the callback of a call of `fit` or `partial_fit`: epochs of so many rows, steps.

        `score` is that of the validation set.
        """
        self._e, self._rows, self._steps, self._score = estimator, rows, steps, score
        each = estimator.verbose or score is not None or estimator.learning_rate == "invscaling"
        several = 1 if each else min(estimator.n_iter_no_change + 1, BLOCK_STEPS // steps)
        self._several = max(1, int(several))
        self.done, self.converged = 0, False
        self._losses: list[float] = []  # of the epoch that has not ended
        self._best = _copied(net) if score is not None else None
        return self

    def block(self, done: int) -> int:
        """Return the steps of the next block: of several epochs where none can be the last.

        It is the one after `n_iter_no_change` without improvement at the earliest. What waits at
        the end of a block (a device, this callback) then waits less often. `fit` may make it
        shorter, and an epoch of several blocks.
        """
        return self._steps * (self._several if self.since == 0 else 1) - done % self._steps

    def rates(self, steps: np.ndarray) -> np.ndarray:
        """Return the learning rate of each step: of the current epoch, that is."""
        return np.full(steps.shape, self.rate)

    def __call__(self, progress: Progress) -> bool:
        """Return True where training should stop."""
        self._losses += progress.losses.tolist()
        while len(self._losses) >= self._steps:
            losses = self._losses[: self._steps]
            del self._losses[: self._steps]
            self._end(math.fsum(losses) / len(losses), progress.net)
        return self.converged

    def _end(self, loss: float, net: MLP) -> None:
        """End an epoch."""
        e = self._e
        self.done += 1
        self.samples += self._rows
        self.loss_curve.append(loss)
        if e.verbose:
            print(f"Iteration {self.done}, loss = {loss:.8f}")
        if self._score is None:
            better = loss <= self.best_loss - e.tol
            self.best_loss = min(self.best_loss, loss)
        else:
            better = self._validate(net, self._score)
        self.since = 0 if better else self.since + 1
        if e.solver == "sgd" and e.learning_rate == "invscaling":
            self.rate = e.learning_rate_init / (self.samples + 1) ** e.power_t
        if self.since > e.n_iter_no_change:
            self.converged = self._stops()
            if not self.converged:
                self.since = 0

    def _validate(self, net: MLP, score_of: Callable[[MLP], float]) -> bool:
        score = score_of(net)
        self.scores.append(score)
        if self._e.verbose:
            print(f"Validation score: {score:f}")
        better = not score < self.best_score + self._e.tol
        if score > self.best_score:
            self.best_score, self._best = score, _copied(net)
        return better

    def _stops(self) -> bool:
        """Whether an epoch without improvement, the last of several, ends the training."""
        e = self._e
        what = "Training loss" if self._score is None else "Validation score"
        text = (
            f"{what} did not improve more than tol={e.tol:f} for {e.n_iter_no_change} "
            "consecutive epochs."
        )
        adaptive = e.solver == "sgd" and e.learning_rate == "adaptive"
        stops = not adaptive or self.rate <= 1e-6
        if not stops:
            self.rate /= 5.0
            text += f" Setting learning rate to {self.rate:f}"
        elif adaptive:
            text += " Learning rate too small. Stopping."
        else:
            text += " Stopping."
        if e.verbose:
            print(text)
        return stops

    def finish(self, net: MLP) -> None:
        """Give a net the best weights, where a validation set has told which these are."""
        if self._best is not None:
            net.params.update(self._best)
        self._score = self._best = None
        self._losses = []
        del self._e


class BaseMLP(BaseEstimator, abc.ABC):
    """What the two estimators have in common."""

    net_: MLP
    classes_: Any
    _multilabel: bool
    _fitted_on_numpy: bool

    # --- fitted attributes that are views of others ------------------------------------------

    @property
    def coefs_(self) -> list[Array]:
        """The weight matrices, (inputs, outputs) each, where X was: NumPy for NumPy."""
        net = self.net_
        return [self._outward(net.params[f"W{i}"]) for i in range(1, net.depth + 1)]

    @property
    def intercepts_(self) -> list[Array]:
        """The bias vectors, where X was."""
        net = self.net_
        return [self._outward(net.params[f"b{i}"]) for i in range(1, net.depth + 1)]

    @property
    def n_layers_(self) -> int:
        """Layers, those of the inputs and of the outputs included."""
        return self.net_.depth + 1

    @property
    def n_outputs_(self) -> int:
        """Columns of the output layer."""
        return int(self.net_.layer_sizes[-1])

    @property
    def out_activation_(self) -> str:
        """scikit-learn's name of the output's activation."""
        return OUT_ACTIVATIONS[self.net_.output.name]

    # --- fit ---------------------------------------------------------------------------------

    def _fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        *,
        incremental: bool = False,
        classes: Any = None,
    ) -> Self:
        self._check_parameters()
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        first = not hasattr(self, "net_") or not (self.warm_start or incremental)
        library = _library(X)
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=("csr", "csc"),
            multi_output=True,
            y_numeric=isinstance(self, RegressorMixin),
            dtype=_float_dtypes(library),
            order="C",
            reset=first,
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        here = self._place(X, library) if first else self.net_.placement
        if not first:
            self._check_same(library, "partial_fit" if incremental else "fit")
        if first:
            self._fitted_on_numpy = library is None
        target, output, outputs, labels = self._read_target(y, here, first, classes)
        sizes = (X.shape[1], *_hidden(self.hidden_layer_sizes), outputs)
        if not first and sizes != self.net_.layer_sizes:
            raise ValueError(
                f"the net to go on with has layer sizes {self.net_.layer_sizes}, not {sizes}"
            )
        weights = self._weights(sample_weight, labels, X.shape[0], incremental)
        x = _moved(X, here)

        rng = check_random_state(self.random_state)
        if first:
            self.net_ = _new_net(sizes, self.activation, output, here, rng)
            self._epochs = _Epochs(self)
        elif not incremental:
            self._epochs.start(self)
        try:
            if self.solver == "lbfgs":
                self._minimize(x, target, weights)
            else:
                self._descend(x, target, labels, weights, rng, incremental)
            self._finish()
        except BaseException:
            if first:  # nothing that could predict has come of it
                del self.net_, self._epochs
            raise
        return self

    def _descend(
        self,
        x: Array,
        t: Array,
        labels: np.ndarray | None,
        weights: np.ndarray | None,
        rng: np.random.RandomState,
        incremental: bool,
    ) -> None:
        """Train by `xpnet.fit`, in blocks of whole epochs."""
        net, epochs, score = self.net_, self._epochs, None
        take, asarray = net.placement.take, net.placement.asarray
        if self.early_stopping:
            one_column = labels is not None and self.n_outputs_ == 1
            rows, held_out = train_test_split(
                np.arange(x.shape[0]),
                random_state=rng,
                test_size=self.validation_fraction,
                stratify=labels if one_column else None,
            )
            if len(held_out) < 2:
                raise ValueError(
                    f"the validation set is too small: validation_fraction="
                    f"{self.validation_fraction} of {x.shape[0]} rows are {len(held_out)}"
                )
            x_val, t_val = (take(array, asarray(held_out)) for array in (x, t))
            w_val = None if weights is None else weights[held_out]
            true = net.placement.to_host(t_val)

            def score(net: MLP) -> float:
                return self._score(true, net.placement.to_host(net.predict(x_val)), w_val)

            x, t = (take(array, asarray(rows)) for array in (x, t))
            weights = None if weights is None else weights[rows]
        if weights is not None and not weights.all():
            # A batch of such rows alone would have no mean.
            rows = np.flatnonzero(weights)
            x, t = (take(array, asarray(rows)) for array in (x, t))
            weights = weights[rows]
        n = x.shape[0]
        per_epoch = -(-n // self._batch_size(n))
        batch_size = -(-n // per_epoch)
        # Their alpha / 2 Σw² is of a batch's sum of losses, ours of its mean.
        mean_weight = 1.0 if weights is None else float(np.mean(weights))
        net.l2 = float(self.alpha) / (batch_size * mean_weight)
        dropout: dict[str, Any] = {}
        if self.dropout:
            # The rows trained on, because a number for random_state draws the same in every call.
            seed = int(rng.randint(2**31 - 1)) + epochs.samples
            dropout = {"dropout": self.dropout, "seed": seed}
        interrupted = False
        watch = epochs.watch(self, n, per_epoch, score, net)
        try:
            self.history_ = fit(
                net,
                x,
                t,
                steps=per_epoch * (1 if incremental else self.max_iter),
                batch_size=batch_size,
                optimizer=self._optimizer(),
                learning_rate=epochs.rates,
                shuffle=_orders(n, rng) if self.shuffle else False,
                whole_epochs=True,
                sample_weight=None if weights is None else net.placement.floats(weights),
                callbacks=[watch],
                block_steps=watch.block,
                optimizer_state=epochs.optimizer,
                **dropout,
            )
            interrupted = (self.history_.stopped or "").startswith("interrupted")
        except KeyboardInterrupt:
            interrupted = True
        except NonFiniteLoss as error:
            raise ValueError(DIVERGED) from error
        finally:
            epochs.finish(net)
        _check_finite(net)
        self.n_iter_ = epochs.done
        if interrupted:
            warnings.warn("Training interrupted by user.", stacklevel=4)
        elif not incremental and not epochs.converged and self.n_iter_ == self.max_iter:
            warnings.warn(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the "
                "optimization hasn't converged yet.",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _minimize(self, x: Array, t: Array, weights: np.ndarray | None) -> None:
        """Minimise the loss of all rows by SciPy's L-BFGS-B, on the host in float64."""
        net, here = self.net_, self.net_.placement
        total = x.shape[0] if weights is None else float(np.sum(weights))
        net.l2 = float(self.alpha) / total
        w = None if weights is None else net.checked_weights(here.floats(weights), x.shape[0])
        x, t = net.checked_data(x, t)
        target = net.target_rows(t)
        shapes = {key: tuple(p.shape) for key, p in net.params.items()}

        def unpack(flat: np.ndarray) -> None:
            ends = np.cumsum([math.prod(shape) for shape in shapes.values()])
            parts = np.split(flat, ends[:-1])
            for (key, shape), part in zip(shapes.items(), parts, strict=True):
                net.params[key] = net.placed(part.reshape(shape))

        def pack(params: Params) -> np.ndarray:
            parts = [here.to_host(params[key]).ravel() for key in shapes]
            return np.concatenate(parts).astype(np.float64)

        def loss_and_gradient(flat: np.ndarray) -> tuple[float, np.ndarray]:
            unpack(flat)
            with here.quietly():
                loss, gradient = net.backpropagate(net.params, x, target, None, w)
            return float(here.to_host(loss)), pack(gradient)

        start = pack(net.params)
        self.n_iter_, self.loss_ = 0, math.nan

        def after_iteration(intermediate_result: Any) -> None:
            nonlocal start
            start, self.loss_ = intermediate_result.x.copy(), float(intermediate_result.fun)
            self.n_iter_ += 1
            if self.verbose:
                print(f"Iteration {self.n_iter_}, loss = {self.loss_:.8f}")

        try:
            result = scipy.optimize.minimize(
                loss_and_gradient,
                start,
                method="L-BFGS-B",
                jac=True,
                callback=after_iteration,
                options={"maxfun": self.max_fun, "maxiter": self.max_iter, "gtol": self.tol},
            )
        except KeyboardInterrupt:
            unpack(start)  # of the last iteration, not of a step that was being tried
            warnings.warn("Training interrupted by user.", stacklevel=4)
            return
        unpack(result.x)
        _check_finite(net)
        self.n_iter_ = min(int(result.nit), self.max_iter)
        self.loss_ = float(result.fun)
        if result.status != 0:
            warnings.warn(
                f"lbfgs failed to converge after {result.nit} iteration(s) (status="
                f"{result.status}): {result.message}. It may help to increase max_iter, or to "
                "scale the data",
                ConvergenceWarning,
                stacklevel=4,
            )

    def _finish(self) -> None:
        """Set the attributes that come of the epochs."""
        epochs = self._epochs
        if self.solver == "lbfgs":
            return
        self.t_ = epochs.samples
        self.loss_curve_ = epochs.loss_curve
        self.loss_ = epochs.loss_curve[-1] if epochs.loss_curve else math.nan
        stopping = self.early_stopping
        self.best_loss_ = None if stopping else epochs.best_loss
        self.validation_scores_ = epochs.scores if stopping else None
        self.best_validation_score_ = epochs.best_score if stopping else None

    @abc.abstractmethod
    def _read_target(
        self, y: Array, here: Placement, first: bool, classes: Any
    ) -> tuple[Array, str, int, np.ndarray | None]:
        """Return the target in its place, xpnet's output, its columns, and labels on the host."""

    @abc.abstractmethod
    def _score(
        self, target: np.ndarray, prediction: np.ndarray, weights: np.ndarray | None
    ) -> float:
        """Accuracy or R² of what the net has predicted, on the host; NaN where it is no number."""

    # --- parameters --------------------------------------------------------------------------

    def _check_parameters(self) -> None:
        """Raise where a parameter is not what it should be; nothing has been done then."""
        if isinstance(self, RegressorMixin):
            known(LOSSES, self.loss, "loss")
        known(NAMES, self.activation, "activation")
        known(dict.fromkeys(SOLVERS), self.solver, "solver")
        known(dict.fromkeys(SCHEDULES), self.learning_rate, "learning_rate")
        _hidden(self.hidden_layer_sizes)
        for name in ("alpha", "tol", "power_t"):
            finite_number(getattr(self, name), name, minimum=0.0)
        finite_number(self.learning_rate_init, "learning_rate_init", minimum=0.0, exclusive=True)
        for name in ("max_iter", "max_fun"):
            positive_integer(getattr(self, name), name)
        if self.n_iter_no_change != math.inf:
            positive_integer(self.n_iter_no_change, "n_iter_no_change")
        if self.batch_size != "auto":
            positive_integer(self.batch_size, "batch_size")
        below_one(self.validation_fraction, "validation_fraction")
        if below_one(self.dropout, "dropout") and self.solver == "lbfgs":
            raise ValueError(
                "dropout needs the solver 'sgd' or 'adam': 'lbfgs' minimises one function, and "
                "with dropout it is another one each time"
            )
        self._optimizer()
        if self.xp is not None and not isinstance(self.xp, str):
            raise TypeError(
                "xp must be a name such as 'torch', not a "
                f"{type(self.xp).__name__}: an estimator's parameters are copied and pickled"
            )

    def _optimizer(self) -> Optimizer:
        if self.solver == "adam":
            return _Adam(self.beta_1, self.beta_2, self.epsilon)
        if self.momentum == 0:
            return SGD()
        return (Nesterov if self.nesterovs_momentum else Momentum)(self.momentum)

    def _batch_size(self, n: int) -> int:
        if self.batch_size == "auto":
            return min(200, n)
        if self.batch_size > n:
            warnings.warn(
                f"Got `batch_size` {self.batch_size}, larger than the sample size {n}. "
                "It is going to be clipped",
                stacklevel=5,
            )
        return min(int(self.batch_size), n)

    def _weights(
        self, sample_weight: Any, labels: np.ndarray | None, n: int, incremental: bool
    ) -> np.ndarray | None:
        """Weights of the rows on the host, None where all are the same."""
        weights: np.ndarray | None = None
        if sample_weight is not None:
            if np.isscalar(sample_weight):
                sample_weight = np.full(n, sample_weight)
            weights = check_array(
                _host(sample_weight), ensure_2d=False, dtype=np.float64, input_name="sample_weight"
            )
            if weights.ndim != 1:
                raise ValueError(f"Sample weights must be 1D array or scalar, not {weights.ndim}D")
            if weights.shape != (n,):
                raise ValueError(f"sample_weight.shape == {weights.shape}, expected {(n,)}!")
            if weights.min(initial=0.0) < 0.0:
                raise ValueError(f"sample_weight must be at least 0, not {weights.min():g}")
            if not weights.any():
                raise ValueError("Sample weights must contain at least one non-zero number.")
        class_weight = getattr(self, "class_weight", None)
        if class_weight is None:
            return weights
        if incremental and class_weight == "balanced":
            raise ValueError(
                "class_weight='balanced' needs all of y, and partial_fit has a part: give "
                "compute_class_weight's result as a dict"
            )
        if labels is None:
            raise ValueError("class_weight is for one label a row; y has several")
        y = _host(self.classes_)[labels]
        by_class: np.ndarray = compute_sample_weight(class_weight, y)
        return by_class if weights is None else weights * by_class

    # --- where things are --------------------------------------------------------------------

    def _place(self, X: Any, library: Placement | None) -> Placement:
        """Return where the net is to live."""
        if library is not None:
            if (self.xp, self.device, self.dtype) != (None, None, None):
                raise ValueError(
                    f"xp, device and dtype are for NumPy input; X is an array of "
                    f"{library.backend.name}, and everything follows it"
                )
            return placement_of(X)
        try:
            return place(self.xp, self.device, self.dtype or X.dtype.name)
        except BackendNotAvailable:
            if self.dtype is not None or X.dtype == np.float32:
                raise
            # Apple's GPUs have no float64, and JAX has it on request only.
            return place(self.xp, self.device, "float32")

    def _check_same(self, library: Placement | None, method: str) -> None:
        """Raise where X lives elsewhere than the X of fit."""
        if not get_config()["array_api_dispatch"]:
            return  # everything is NumPy outside, whatever it was
        here = self.net_.placement
        fitted = "numpy" if self._fitted_on_numpy else f"{here.backend.name} on {here.device}"
        if library is None:
            same, came = self._fitted_on_numpy, "numpy"
        else:
            same = not self._fitted_on_numpy and library.xp is here.xp
            same = same and library.device == here.device
            came = f"{library.backend.name} on {library.device}"
        if not same:
            raise ValueError(
                f"Inputs passed to {type(self).__name__}.{method}() must use the same namespace "
                f"and the same device as those passed to fit(): expected {fitted}, not {came}"
            )

    def _predicted(self, X: Any, method: str) -> Array:
        """The net's predictions, (rows, outputs), where X is."""
        check_is_fitted(self, "net_")
        library = _library(X)
        self._check_same(library, method)
        X = validate_data(
            self, X, accept_sparse=("csr", "csc"), dtype=_float_dtypes(library), reset=False
        )
        prediction = self.net_.predict(_moved(X, self.net_.placement))
        return prediction if library is not None else self.net_.placement.to_host(prediction)

    def _outward(self, array: Array) -> Array:
        return self.net_.placement.to_host(array) if self._fitted_on_numpy else array

    # --- copies ------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "net_" in state:
            net = state["net_"]
            here, to_host = net.placement, net.placement.to_host
            state["net_"] = {
                "layer_sizes": net.layer_sizes,
                "activation": net.activation.name,
                "output": net.output.name,
                "l2": net.l2,
                "dtype": here.dtype_name,
                "xp": here.backend.name,
                "device": None if here.backend.name == "numpy" else here.device_info().id,
                "params": _on_host(net.params, to_host),
            }
            epochs = object.__new__(_Epochs)
            epochs.__dict__.update(self._epochs.__dict__)
            epochs.optimizer = _on_host(epochs.optimizer, to_host)
            state["_epochs"] = epochs
            if "classes_" in state:
                state["classes_"] = _host(state["classes_"])
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        told = state.get("net_")
        if told is not None:
            try:
                here = place(told["xp"], told["device"], told["dtype"])
            except (BackendNotAvailable, ValueError, RuntimeError) as error:
                warnings.warn(
                    f"the estimator was fitted on {told['xp']}, which this machine cannot run "
                    f"({error}); it is on NumPy now",
                    stacklevel=2,
                )
                here = place(dtype=told["dtype"])
                state["_fitted_on_numpy"] = True
            net = _bare_net(
                told["layer_sizes"], told["activation"], told["output"], told["l2"], here
            )
            net.params = {key: net.placed(p) for key, p in told["params"].items()}
            state["net_"] = net
            epochs = state["_epochs"]
            epochs.optimizer = _on_device(epochs.optimizer, net.placed)
            if not state["_fitted_on_numpy"] and "classes_" in state:
                state["classes_"] = _placed_classes(state["classes_"], here)
        super().__setstate__(state)

    def __sklearn_array_api_convert__(self, converter: Callable[[Array], Array]) -> Self:
        """Return a copy whose arrays were moved: for scikit-learn's `move_estimator_to`."""
        moved: Self = clone(self)
        moved.__dict__.update(self.__dict__)
        if hasattr(self, "net_"):
            sample = converter(next(iter(self.net_.params.values())))
            here = placement_of(sample)
            moved._fitted_on_numpy = here.backend.name == "numpy"
            moved.net_ = self.net_.to(here.xp, here.device)
            to_host = self.net_.placement.to_host
            moved._epochs = object.__new__(_Epochs)
            moved._epochs.__dict__.update(self._epochs.__dict__)
            slots = _on_host(self._epochs.optimizer, to_host)
            moved._epochs.optimizer = _on_device(slots, moved.net_.placed)
            if hasattr(self, "classes_"):
                moved.classes_ = _placed_classes(_host(self.classes_), here)
        return moved

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.array_api_support = True
        return tags


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

    @available_if(lambda self: _stochastic(self))
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
            classes = np.unique(np.asarray(_host(classes)))
            if known_classes is not None and not np.array_equal(classes, _host(known_classes)):
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
            return classes[_host(indices)]
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
        labels = _host(y)
        check_classification_targets(labels)
        kind = type_of_target(labels, input_name="y")
        if kind == "multiclass-multioutput":
            raise ValueError("Multioutput target data is not supported with label binarization")
        multilabel = kind.startswith("multilabel")
        if multilabel:
            labels = np.asarray(labels.toarray() if issparse(labels) else labels)
        found = np.arange(labels.shape[1]) if multilabel else np.unique(labels)
        if not first:
            classes = _host(self.classes_)
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
            self.classes_ = classes if self._fitted_on_numpy else _placed_classes(classes, here)
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

    @available_if(lambda self: _stochastic(self))
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
        t = _moved(y, here)
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


# --- arrays ----------------------------------------------------------------------------------


def _library(X: Any) -> Placement | None:
    """Where X is and stays, None where it is or becomes NumPy's."""
    if not get_config()["array_api_dispatch"] or isinstance(X, (np.ndarray, np.generic)):
        return None
    if issparse(X) or not array_api_compat.is_array_api_obj(X):
        return None
    backend = backend_of(X)
    if backend is None:
        came = array_api_compat.array_namespace(X).__name__
        raise TypeError(f"X is an array of {came}, which xpnet does not know")
    return Placement(backend, backend.load(), array_api_compat.device(X), X.dtype)


def _float_dtypes(library: Placement | None) -> list[Any]:
    """The dtypes that a net may have there; others become the first."""
    if library is None:
        return [np.float64, np.float32]
    xp = library.xp
    offered = xp.__array_namespace_info__().dtypes(device=library.device, kind="real floating")
    return [offered[name] for name in ("float64", "float32") if name in offered]


def _host(array: Any) -> Any:
    """An array on the host; what is none is returned as it is."""
    if isinstance(array, np.ndarray) or not array_api_compat.is_array_api_obj(array):
        return array
    backend = backend_of(array)
    return np.asarray(array) if backend is None else backend.to_host(array)


def _moved(array: Any, here: Placement) -> Array:
    """An array in its place, as floats of the place's dtype."""
    if issparse(array):
        array = array.toarray()
    if array_api_compat.array_namespace(array) is here.xp:
        device = array_api_compat.device(array)
        if device is None or device == here.device:
            return here.xp.astype(array, here.dtype, copy=False)
    return here.floats(_host(array))


def _placed_classes(classes: np.ndarray, here: Placement) -> Array:
    """Move labels that are numbers; others stay on the host."""
    if classes.dtype.kind not in "biuf":
        return classes
    return here.asarray(np.array(classes))


def _copied(net: MLP) -> Params:
    xp = net.placement.xp
    return {key: xp.asarray(p, copy=True) for key, p in net.params.items()}


def _on_host(tree: Any, to_host: Callable[[Array], np.ndarray]) -> Any:
    """Copy a dict of dicts of arrays and numbers to the host."""
    if isinstance(tree, dict):
        return {key: _on_host(value, to_host) for key, value in tree.items()}
    return np.array(to_host(tree)) if array_api_compat.is_array_api_obj(tree) else tree


def _on_device(tree: Any, placed: Callable[[np.ndarray], Array]) -> Any:
    """Undo `_on_host`."""
    if isinstance(tree, dict):
        return {key: _on_device(value, placed) for key, value in tree.items()}
    return placed(tree) if isinstance(tree, np.ndarray) else tree


# --- nets ------------------------------------------------------------------------------------


def _stochastic(estimator: BaseMLP) -> bool:
    if estimator.solver == "lbfgs":
        raise AttributeError(
            "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
        )
    return True


def _hidden(sizes: Any) -> tuple[int, ...]:
    entries = sizes if hasattr(sizes, "__iter__") else [sizes]
    return tuple(positive_integer(size, "every entry of hidden_layer_sizes") for size in entries)


def _orders(n: int, rng: np.random.RandomState) -> Callable[[], np.ndarray]:
    """Return what gives the order of each epoch: scikit-learn's, from the same generator."""
    rows = np.arange(n)

    def following() -> np.ndarray:
        nonlocal rows
        order = np.arange(n)
        rng.shuffle(order)
        rows = rows[order]
        return rows

    return following


def _check_finite(net: MLP) -> None:
    """Raise where a training has ended in parameters that are no numbers."""
    xp = net.placement.xp
    finite = xp.stack([xp.all(xp.isfinite(p)) for p in net.params.values()])
    if not bool(xp.all(finite)):
        raise ValueError(DIVERGED)


def _bare_net(sizes: Any, activation: str, output: str, l2: float, here: Placement) -> MLP:
    """Return a net whose parameters are still to be set."""
    return MLP(
        sizes,
        activation=activation,
        output=output,
        weight_init=0.0,
        l2=l2,
        xp=here.xp,
        device=here.device,
        dtype=here.dtype,
    )


def _new_net(
    sizes: tuple[int, ...], activation: str, output: str, here: Placement, rng: Any
) -> MLP:
    """Return a net with the first weights that scikit-learn draws from the same generator.

    Uniform within ±√(6 / (in + out)), for the logistic activation ±√(2 / (in + out)), biases
    too: Glorot and Bengio, *Understanding the difficulty of training deep feedforward neural
    networks* (2010), equation 16.
    """
    net = _bare_net(sizes, NAMES[activation], output, 0.0, here)
    factor = 2.0 if activation == "logistic" else 6.0
    for i in range(1, net.depth + 1):
        n_in, n_out = sizes[i - 1 : i + 1]
        bound = math.sqrt(factor / (n_in + n_out))
        net.params[f"W{i}"] = net.placed(rng.uniform(-bound, bound, (n_in, n_out)))
        net.params[f"b{i}"] = net.placed(rng.uniform(-bound, bound, n_out))
    return net
