"""What the two estimators have in common."""

from __future__ import annotations

import abc
import math
import warnings
from collections.abc import Callable
from typing import Any, Self

import numpy as np
import scipy.optimize
from sklearn import get_config
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_array, check_random_state, column_or_1d
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.validation import check_is_fitted, validate_data

from ..arrays import Array, Params
from ..backend.placement import BackendNotAvailable, Placement
from ..backend.table import place, placement_of
from ..checks import below_one, finite_number, known, positive_integer
from ..network.mlp import MLP
from ..optimizers import SGD, Momentum, Nesterov, Optimizer
from ..training.plan import Plan, Watch
from ..training.session import NonFiniteLoss, Session
from .arrays import (
    float_dtypes,
    library_and_place,
    moved,
    on_host,
    placed_classes,
    tree_on_device,
    tree_on_host,
)
from .descent import Epochs, ScikitAdam, orders
from .nets import DIVERGED, LOSSES, NAMES, OUT_ACTIVATIONS, bare_net, check_finite, new_net

SOLVERS = ("lbfgs", "sgd", "adam")
SCHEDULES = ("constant", "invscaling", "adaptive")


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
        library = library_and_place(X)
        X, y = validate_data(
            self,
            X,
            y,
            accept_sparse=("csr", "csc"),
            multi_output=True,
            y_numeric=isinstance(self, RegressorMixin),
            dtype=float_dtypes(library),
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
        x = moved(X, here)

        rng = check_random_state(self.random_state)
        if first:
            self.net_ = new_net(sizes, self.activation, output, here, rng)
            self._epochs = Epochs(self)
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
        net = self.net_ = net.with_l2(float(self.alpha) / (batch_size * mean_weight))
        dropout: dict[str, Any] = {}
        if self.dropout:
            # The rows trained on, because a number for random_state draws the same in every call.
            seed = int(rng.randint(2**31 - 1)) + epochs.samples
            dropout = {"dropout": self.dropout, "seed": seed}
        interrupted = False
        watch = epochs.watch(self, n, per_epoch, score, net)
        try:
            plan = Plan(
                net,
                x,
                t,
                steps=per_epoch * (1 if incremental else self.max_iter),
                batch_size=batch_size,
                optimizer=self._optimizer(),
                learning_rate=epochs.rates,
                shuffle=orders(n, rng) if self.shuffle else False,
                whole_epochs=True,
                sample_weight=None if weights is None else net.placement.floats(weights),
                **dropout,
            )
            looks = Watch(callbacks=[watch], block_steps=watch.block)
            session = Session(plan, looks, optimizer_state=epochs.optimizer)
            with session.under_way() as blocks:
                for block in blocks:
                    if session.report(block, session.run(block)):
                        break
            self.history_ = session.history
            reason = self.history_.reason
            interrupted = reason is not None and reason.kind == "interrupt"
        except KeyboardInterrupt:
            interrupted = True
        except NonFiniteLoss as error:
            raise ValueError(DIVERGED) from error
        finally:
            epochs.finish(net)
        check_finite(net)
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
        total = x.shape[0] if weights is None else float(np.sum(weights))
        net = self.net_ = self.net_.with_l2(float(self.alpha) / total)
        here = net.placement
        w = None if weights is None else net.batch.checked_weights(here.floats(weights), x.shape[0])
        x, t = net.batch.checked_data(x, t)
        target = net.batch.target_rows(t)
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
        check_finite(net)
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
            return ScikitAdam(self.beta_1, self.beta_2, self.epsilon)
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
                on_host(sample_weight), ensure_2d=False, dtype=float, input_name="sample_weight"
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
        y = on_host(self.classes_)[labels]
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
        library = library_and_place(X)
        self._check_same(library, method)
        X = validate_data(
            self, X, accept_sparse=("csr", "csc"), dtype=float_dtypes(library), reset=False
        )
        prediction = self.net_.predict(moved(X, self.net_.placement))
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
                "params": tree_on_host(net.params, to_host),
            }
            epochs = object.__new__(Epochs)
            epochs.__dict__.update(self._epochs.__dict__)
            epochs.optimizer = tree_on_host(epochs.optimizer, to_host)
            state["_epochs"] = epochs
            if "classes_" in state:
                state["classes_"] = on_host(state["classes_"])
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
            net = bare_net(
                told["layer_sizes"], told["activation"], told["output"], told["l2"], here
            )
            net.params = {key: net.placed(p) for key, p in told["params"].items()}
            state["net_"] = net
            epochs = state["_epochs"]
            epochs.optimizer = tree_on_device(epochs.optimizer, net.placed)
            if not state["_fitted_on_numpy"] and "classes_" in state:
                state["classes_"] = placed_classes(state["classes_"], here)
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
            moved._epochs = object.__new__(Epochs)
            moved._epochs.__dict__.update(self._epochs.__dict__)
            slots = tree_on_host(self._epochs.optimizer, to_host)
            moved._epochs.optimizer = tree_on_device(slots, moved.net_.placed)
            if hasattr(self, "classes_"):
                moved.classes_ = placed_classes(on_host(self.classes_), here)
        return moved

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.array_api_support = True
        return tags


# --- arrays ----------------------------------------------------------------------------------


# --- nets ------------------------------------------------------------------------------------


def is_stochastic(estimator: BaseMLP) -> bool:
    if estimator.solver == "lbfgs":
        raise AttributeError(
            "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
        )
    return True


def _hidden(sizes: Any) -> tuple[int, ...]:
    entries = sizes if hasattr(sizes, "__iter__") else [sizes]
    return tuple(positive_integer(size, "every entry of hidden_layer_sizes") for size in entries)


