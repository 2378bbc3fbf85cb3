"""What the two estimators have in common."""

from __future__ import annotations

import abc
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from sklearn import get_config
from sklearn.base import BaseEstimator, RegressorMixin, clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils.validation import check_is_fitted, validate_data

from ..arrays import Array
from ..backend.placement import BackendNotAvailable, Placement
from ..backend.table import place, placement_of
from ..network.mlp import MLP
from ..network.net import Network
from ..training.plan import Plan
from ..training.session import NonFiniteLoss
from .arrays import (
    Rows,
    checked_sample_weight,
    copied_to_host,
    float_dtypes,
    library_and_place,
    moved,
    on_host,
    placed_classes,
)
from .descent import Epochs, optimizer_of, orders, steps_and_batch_size, trained
from .lbfgs import minimize
from .nets import (
    DIVERGED,
    INTERRUPTED,
    OUT_ACTIVATIONS,
    check_finite,
    from_plain,
    hidden_sizes,
    new_net,
    placed_in,
    plain,
)
from .parameters import check_parameters


@dataclass(frozen=True)
class Target:
    """What the net is to learn, and of what form its output is.

    Attributes
    ----------
    t
        The target in its place.
    output
        xpnet's name of the output.
    columns
        Of the output.
    labels
        Class indices on the host, where a row has one label.
    """

    t: Array
    output: str
    columns: int
    labels: np.ndarray | None = None


class BaseMLP(BaseEstimator, abc.ABC):
    """What the two estimators have in common.

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
    """

    net_: MLP
    classes_: Any
    _multilabel: bool
    _fitted_on_numpy: bool

    # --- fitted attributes that are views of others ------------------------------------------

    @property
    def coefs_(self) -> list[Array]:
        """The weight matrices, (inputs, outputs) each, where X was: NumPy for NumPy."""
        return self._parameters_of_layers("W")

    @property
    def intercepts_(self) -> list[Array]:
        """The bias vectors, where X was."""
        return self._parameters_of_layers("b")

    def _parameters_of_layers(self, letter: str) -> list[Array]:
        net = self.net_
        parameters = [net.params[f"{letter}{i}"] for i in range(1, net.depth + 1)]
        return [*map(net.placement.to_host, parameters)] if self._fitted_on_numpy else parameters

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
        self, X: Any, y: Any, sample_weight: Any, incremental: bool = False, classes: Any = None
    ) -> Self:
        """`fit`, or where it is incremental `partial_fit`."""
        check_parameters(self)
        if incremental and self.early_stopping:
            raise ValueError("partial_fit does not support early_stopping=True")
        first = not hasattr(self, "net_") or not (self.warm_start or incremental)
        here, sizes, target, rows = self._read(X, y, sample_weight, first, incremental, classes)
        rng = check_random_state(self.random_state)
        if first:
            self.net_ = new_net(sizes, self.activation, target.output, here, rng)
            self._epochs = Epochs(self)
        elif not incremental:
            self._epochs.start(self)
        try:
            if self.solver == "lbfgs":
                warning = self._minimize(rows)
            else:
                warning = self._descend(rows, target.labels, rng, incremental)
            if warning is not None:
                warnings.warn(warning, stacklevel=3)
            self._set_attributes_of_epochs()
        except BaseException:
            if first:  # nothing that could predict has come of it
                del self.net_, self._epochs
            raise
        return self

    def _read(
        self, X: Any, y: Any, sample_weight: Any, first: bool, incremental: bool, classes: Any
    ) -> tuple[Placement, tuple[int, ...], Target, Rows]:
        """Check what comes; return where the net is to be, its sizes, the target, and the rows."""
        library = library_and_place(X)
        X, y = self._validated(
            X,
            library,
            y=y,
            multi_output=True,
            y_numeric=isinstance(self, RegressorMixin),
            order="C",
            reset=first,
        )
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        if first:
            here = self._place(X, library)
            self._fitted_on_numpy = library is None
        else:
            here = self.net_.placement
            self._check_same(library, "partial_fit" if incremental else "fit")
        target = self._read_target(y, here, first, classes)
        sizes = (X.shape[1], *hidden_sizes(self.hidden_layer_sizes), target.columns)
        if not first and sizes != self.net_.layer_sizes:
            raise ValueError(
                f"the net to go on with has layer sizes {self.net_.layer_sizes}, not {sizes}"
            )
        weights = checked_sample_weight(sample_weight, X.shape[0])
        by_class = self._class_weights(target.labels, incremental)
        if by_class is not None:
            weights = by_class if weights is None else weights * by_class
        return here, sizes, target, Rows(moved(X, here), target.t, weights)

    def _minimize(self, rows: Rows) -> Warning | None:
        """Train by L-BFGS; return what the user is to be warned of."""
        weight = rows.count if rows.weights is None else float(np.sum(rows.weights))
        self.net_ = self.net_.with_l2(float(self.alpha) / weight)
        iterations, loss, warning = minimize(
            self.net_,
            rows,
            max_iter=self.max_iter,
            max_fun=self.max_fun,
            tol=self.tol,
            verbose=self.verbose,
        )
        self.n_iter_, self.loss_ = iterations, loss
        return warning

    def _descend(
        self, rows: Rows, labels: np.ndarray | None, rng: np.random.RandomState, incremental: bool
    ) -> Warning | None:
        """Train by gradient descent, in blocks of whole epochs; return a warning to be given."""
        net, epochs, score = self.net_, self._epochs, None
        if self.early_stopping:
            rows, score = self._hold_out(rows, labels, rng)
        rows = rows.that_count(net.placement)
        n, weights = rows.count, rows.weights
        steps, batch_size = steps_and_batch_size(self.batch_size, n)
        # Their alpha / 2 Σw² is of a batch's sum of losses, ours of its mean.
        mean_weight = 1.0 if weights is None else float(np.mean(weights))
        net = self.net_ = net.with_l2(float(self.alpha) / (batch_size * mean_weight))
        # The rows trained on, because a number for random_state draws the same in every call.
        seed = int(rng.randint(2**31 - 1)) + epochs.samples if self.dropout else 0
        epochs.watch(self, n, steps, score, net)
        try:
            plan = Plan(
                net, rows.x, rows.t, steps=steps * (1 if incremental else self.max_iter),
                batch_size=batch_size, optimizer=optimizer_of(self), learning_rate=epochs.rates,
                shuffle=orders(n, rng) if self.shuffle else False, whole_epochs=True,
                sample_weight=None if weights is None else net.placement.floats(weights),
                dropout=self.dropout, seed=seed,
            )  # fmt: skip
            self.history_ = trained(plan, epochs)
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
        warning: Warning | None = None
        if interrupted:
            warning = UserWarning(INTERRUPTED)
        elif not incremental and not epochs.converged and self.n_iter_ == self.max_iter:
            warning = ConvergenceWarning(
                f"Stochastic Optimizer: Maximum iterations ({self.max_iter}) reached and the "
                "optimization hasn't converged yet."
            )
        return warning

    def _hold_out(
        self, rows: Rows, labels: np.ndarray | None, rng: np.random.RandomState
    ) -> tuple[Rows, Callable[[Network], float]]:
        """Set rows aside for validation: return the others, and a net's score on those."""
        one_column = labels is not None and self.n_outputs_ == 1
        training, held_out = train_test_split(
            np.arange(rows.count),
            random_state=rng,
            test_size=self.validation_fraction,
            stratify=labels if one_column else None,
        )
        if len(held_out) < 2:
            raise ValueError(
                f"the validation set is too small: validation_fraction="
                f"{self.validation_fraction} of {rows.count} rows are {len(held_out)}"
            )
        here = self.net_.placement
        validation = rows.take(held_out, here)
        target = here.to_host(validation.t)

        def score(net: Network) -> float:
            prediction = here.to_host(net.predict(validation.x))
            return self._score(target, prediction, validation.weights)

        return rows.take(training, here), score

    def _set_attributes_of_epochs(self) -> None:
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
    def _read_target(self, y: Array, here: Placement, first: bool, classes: Any) -> Target:
        """Make of y what the net is to learn, or raise where it does not suit."""

    @abc.abstractmethod
    def _class_weights(self, labels: np.ndarray | None, incremental: bool) -> np.ndarray | None:
        """Return the weight of each row's class on the host; None where there are none."""

    @abc.abstractmethod
    def _score(
        self, target: np.ndarray, prediction: np.ndarray, weights: np.ndarray | None
    ) -> float:
        """Accuracy or R² of what the net has predicted, on the host; NaN where it is no number."""

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
        came = "numpy" if library is None else f"{library.backend.name} on {library.device}"
        if came != fitted:
            raise ValueError(
                f"Inputs passed to {type(self).__name__}.{method}() must use the same namespace "
                f"and the same device as those passed to fit(): expected {fitted}, not {came}"
            )

    def _validated(self, X: Any, library: Placement | None, **options: Any) -> Any:
        """Return X, and y where there is one, as scikit-learn checks them."""
        sparse, dtypes = ("csr", "csc"), float_dtypes(library)
        return validate_data(self, X, accept_sparse=sparse, dtype=dtypes, **options)

    def _predicted(self, X: Any, method: str) -> Array:
        """The net's predictions, (rows, outputs), where X is."""
        check_is_fitted(self, "net_")
        library = library_and_place(X)
        self._check_same(library, method)
        X = self._validated(X, library, reset=False)
        prediction = self.net_.predict(moved(X, self.net_.placement))
        return prediction if library is not None else self.net_.placement.to_host(prediction)

    # --- copies ------------------------------------------------------------------------------

    def __getstate__(self) -> dict[str, Any]:
        state = dict(super().__getstate__())
        if "net_" in state:
            state["net_"] = plain(self.net_)
            state["_epochs"] = self._epochs.with_optimizer(copied_to_host)
            if "classes_" in state:
                state["classes_"] = on_host(state["classes_"])
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        state = dict(state)
        saved = state.get("net_")
        if saved is not None:
            try:
                here = place(saved["xp"], saved["device"], saved["dtype"])
            except (BackendNotAvailable, ValueError, RuntimeError) as error:
                warnings.warn(
                    f"the estimator was fitted on {saved['xp']}, which this machine cannot run "
                    f"({error}); it is on NumPy now",
                    stacklevel=2,
                )
                here = place(dtype=saved["dtype"])
                state["_fitted_on_numpy"] = True
            net = state["net_"] = from_plain(saved, here)
            state["_epochs"] = state["_epochs"].with_optimizer(placed_in(net))
            if not state["_fitted_on_numpy"] and "classes_" in state:
                state["classes_"] = placed_classes(state["classes_"], here)
        super().__setstate__(state)

    def __sklearn_array_api_convert__(self, converter: Callable[[Array], Array]) -> Self:
        """Return a copy whose arrays were moved: for scikit-learn's `move_estimator_to`."""
        copied: Self = clone(self)
        copied.__dict__.update(self.__dict__)
        if hasattr(self, "net_"):
            here = placement_of(converter(next(iter(self.net_.params.values()))))
            copied._fitted_on_numpy = here.backend.name == "numpy"
            copied.net_ = self.net_.to(here.xp, here.device)
            on_the_host = self._epochs.with_optimizer(copied_to_host)
            copied._epochs = on_the_host.with_optimizer(placed_in(copied.net_))
            if hasattr(self, "classes_"):
                copied.classes_ = placed_classes(on_host(self.classes_), here)
        return copied

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.array_api_support = True
        return tags
