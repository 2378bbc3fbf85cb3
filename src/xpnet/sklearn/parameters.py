"""The parameters of the two estimators: names, types, defaults, descriptions, each written once.

A group of them is a dataclass; the groups of an estimator make its `__init__` and its docstring.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import KW_ONLY, dataclass
from numbers import Integral, Real
from typing import Any, TypeVar

from sklearn.utils._param_validation import Interval, StrOptions

from ..checks import finite_number

# scikit-learn's names of activations and losses, and xpnet's of activations and outputs.
ACTIVATIONS = {"identity": "identity", "logistic": "sigmoid", "tanh": "tanh", "relu": "relu"}
LOSSES = {"squared_error": "identity", "poisson": "exp"}
Estimator = TypeVar("Estimator", bound=type)


@dataclass
class Loss:
    """The regressor's parameter that the classifier has not.

    Parameters
    ----------
    loss : str
        "squared_error", half the squared error; or "poisson", half the Poisson deviance, for
        y of at least 0: the net then predicts its logarithm. Summed over the outputs.
    """

    loss: str = "squared_error"


@dataclass
class Common:
    """The parameters that both estimators have as in scikit-learn.

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
        `fit` goes on with the weights of the last call, and refuses parameters that these were
        not made with. An optimizer of another kind begins anew, with a warning.
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
    """

    hidden_layer_sizes: Any = (100,)
    activation: str = "relu"
    _: KW_ONLY
    solver: str = "adam"
    alpha: float = 0.0001
    batch_size: Any = "auto"
    learning_rate: str = "constant"
    learning_rate_init: float = 0.001
    power_t: float = 0.5
    max_iter: int = 200
    shuffle: bool = True
    random_state: Any = None
    tol: float = 1e-4
    verbose: bool = False
    warm_start: bool = False
    momentum: float = 0.9
    nesterovs_momentum: bool = True
    early_stopping: bool = False
    validation_fraction: float = 0.1
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8
    n_iter_no_change: float = 10
    max_fun: int = 15000


@dataclass(kw_only=True)
class ClassWeight:
    """The classifier's parameter that the regressor has not; scikit-learn's forests have it.

    Parameters
    ----------
    class_weight : dict or "balanced", optional
        Weights of the classes, multiplied with `sample_weight`; "balanced": inversely
        proportional to their frequencies.
    """

    class_weight: Mapping[Any, float] | str | None = None


@dataclass(kw_only=True)
class Added:
    """The parameters that scikit-learn's estimators have not.

    Parameters
    ----------
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
    """

    dropout: float = 0.0
    xp: str | None = None
    device: Any = None
    dtype: str | None = None


def with_parameters(*groups: type) -> Callable[[Estimator], Estimator]:
    """Class decorator: give an estimator the `__init__` of groups, and complete its docstring.

    There, ``{parameters}`` stands for those of the groups, and ``{attributes}`` for those of the
    estimator's last base class.
    """

    def decorate(estimator: Estimator) -> Estimator:
        # scikit-learn reads the signature of `__init__`, and a dataclass's is as if written by
        # hand. The estimator is no dataclass itself: libraries tell those apart by their fields
        # alone, as if nothing had been fitted.
        namespace = {"__module__": __name__, "__doc__": ""}
        made: type = dataclass(type(estimator.__name__, groups[::-1], namespace))
        estimator.__init__ = made.__init__  # type: ignore[misc]
        if estimator.__doc__ is not None:  # as it is for `python -OO`
            estimator.__doc__ = f"{inspect.cleandoc(estimator.__doc__)}\n".format(
                parameters="\n".join(_section(group, "Parameters") for group in groups),
                attributes=_section(estimator.__bases__[-1], "Attributes"),
            )
        return estimator

    return decorate


def _section(documented: type, title: str) -> str:
    """The entries of a section of a docstring, its last one."""
    return (inspect.getdoc(documented) or "").partition(f"{title}\n{'-' * len(title)}\n")[2]


def constraints(theirs: type) -> dict[str, Any]:
    """Return what scikit-learn's validation asks of the parameters, from its own estimator."""
    known: dict[str, Any] = theirs._parameter_constraints  # type: ignore[attr-defined]
    return {
        **known,
        "momentum": [Interval(Real, 0, 1, closed="left")],
        "class_weight": [Mapping, StrOptions({"balanced"}), None],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "xp": [str, None],
        "dtype": [StrOptions({"float32", "float64"}), None],
    }


def hidden_sizes(sizes: Any) -> tuple[int, ...]:
    """Return the units of each hidden layer, of which one may be given as a number, or raise."""
    entries = [*sizes] if hasattr(sizes, "__iter__") else [sizes]
    for size in entries:
        if isinstance(size, bool) or not isinstance(size, Integral):
            raise TypeError(
                f"every entry of hidden_layer_sizes must be a whole number, not {size!r:.50}"
            )
        if size <= 0:
            raise ValueError(f"hidden_layer_sizes must be > 0, got {entries}.")
    return tuple(int(size) for size in entries)


def check_together(estimator: Any) -> None:
    """Raise where parameters that are right alone do not go together, or a part of one is wrong."""
    hidden_sizes(estimator.hidden_layer_sizes)
    if estimator.dropout and estimator.solver == "lbfgs":
        raise ValueError(
            "dropout needs the solver 'sgd' or 'adam': 'lbfgs' minimises one function, and "
            "with dropout it is another one each time"
        )
    class_weight = getattr(estimator, "class_weight", None)
    if isinstance(class_weight, Mapping):
        for label, weight in class_weight.items():
            finite_number(weight, f"class_weight[{label!r}]", minimum=0.0)


# What a net is made with, and goes on with.
MADE_WITH = ("activation", "loss", "xp", "device", "dtype")


def made_with(estimator: Any) -> dict[str, Any]:
    """Return the parameters that a net is made with, but for its sizes, which are its own."""
    return {name: value for name, value in vars(estimator).items() if name in MADE_WITH}


def refuse_changes(estimator: Any, before: dict[str, Any]) -> None:
    """Raise where a parameter has changed that a net cannot go on with."""
    for name, value in made_with(estimator).items():
        if name in before and before[name] != value:
            raise ValueError(
                f"{name} was {before[name]!r} when the net was made, and is {value!r} now: the net "
                "goes on as it is, so set it back, or fit a new one (without warm_start)"
            )


def is_stochastic(estimator: Any) -> bool:
    """Whether an estimator has `partial_fit`: the condition that `available_if` asks for."""
    if estimator.solver == "lbfgs":
        raise AttributeError(
            "partial_fit is only available for stochastic optimizers. lbfgs is not stochastic."
        )
    return True
