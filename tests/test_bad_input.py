"""What every public function refuses, and what it takes: one table, on every backend.

Each row is a call and what must come of it: an error that names the argument before any work
starts, or a result that is right. What must not come is a wrong number, a crash inside a
library, or a warning (warnings are errors here).
"""

import itertools
import re
from fractions import Fraction

import numpy as np
import pytest

import xpnet
from xpnet import (
    MLP,
    Network,
    TwoLayerNet,
    check_autodiff,
    check_gradient,
    check_jvp,
    check_vjp,
    fit,
    functions,
    losses,
    numerical_gradient,
)
from xpnet.functions import Activation
from xpnet.losses import OUTPUTS
from xpnet.optimizers import (
    SGD,
    AdaGrad,
    Adam,
    AdamW,
    Clipped,
    Constant,
    Cosine,
    Momentum,
    Nesterov,
    RMSprop,
    StepDecay,
    WarmUp,
)
from xpnet.training.callbacks import Progress

X = np.linspace(-1, 1, 15).reshape(5, 3)
T = np.asarray([0, 1, 0, 1, 1])
ROWS = np.eye(2)[T]
INF, NAN = float("inf"), float("nan")


class Frame:
    """As a table of pandas is: NumPy makes an array of it, but it is none."""

    def __array__(self, dtype=None, copy=None):
        return np.array(X, dtype=dtype)


def masked(values):
    return np.ma.array(values, mask=np.asarray(values) < 0)


# What is no array of any library.
NO_ARRAYS = {
    "list": X.tolist(),
    "tuple": (1.0, 2.0),
    "NoneType": None,
    "int": 3,
    "float": 1.5,
    "bool": True,
    "str": "x",
    "bytes": b"x",
    "Frame": Frame(),
    "dict_keys": {}.keys(),
    "MaskedArray": masked(X),
    "matrix": X.view(np.matrix),
    "recarray": np.rec.array(np.zeros(5, dtype=[("a", "f4")])),
}
# Dtypes that are no float32 or float64; those that the library has are tried.
NO_FLOATS = ["bool", "int8", "uint8", "int64", "uint64", "complex64", "complex128"]
NO_STANDARD = [
    "float16", "longdouble", "object", "U3", "datetime64[s]", [("a", "f4")], ">f4", ">f8"
]  # fmt: skip


def others(lib, shape):
    """Arrays of the library whose dtypes are not float32 or float64."""
    for name in NO_FLOATS:
        yield name, lib.array(np.ones(shape), name)
    if lib.name == "torch":
        import torch

        yield "float16", torch.ones(shape, dtype=torch.float16)
        yield "bfloat16", torch.ones(shape, dtype=torch.bfloat16)
    if lib.name == "jax":
        import jax.numpy as jnp

        yield "bfloat16", jnp.ones(shape, dtype=jnp.bfloat16)
    if lib.name.startswith("numpy"):
        for dtype in NO_STANDARD:
            yield str(dtype), np.ones(shape).astype("i8" if "date" in dtype else "f8").astype(dtype)


@pytest.fixture
def net(lib):
    return MLP([3, 4, 2], seed=0, dtype="float64", **lib.kwargs)


def data(lib):
    return lib.array(X), lib.array(T)


def square(lib):
    return lambda x: lib.xp.sum(x * x)


# --- every function that takes an array --------------------------------------------------------

LOSSES = [
    "softmax_cross_entropy", "sigmoid_cross_entropy", "half_squared_error", "half_poisson_deviance"
]  # fmt: skip
# By name of the argument: how it is called with a value in its place.
ARRAYS = {
    **{
        f"{name}: x": lambda lib, net, v, name=name: getattr(functions, name)(v)
        for name in (
            "sigmoid", "sigmoid_grad", "relu", "relu_grad", "tanh", "tanh_grad", "identity",
            "identity_grad", "leaky_relu", "leaky_relu_grad", "elu", "elu_grad", "silu",
            "silu_grad", "gelu", "gelu_grad", "gelu_tanh", "gelu_tanh_grad", "softplus",
            "softplus_grad", "softmax",
        )
    },
    **{
        f"{name}: logits": lambda lib, net, v, name=name: getattr(losses, name)(v, lib.array(X))
        for name in LOSSES
    },
    **{
        f"{name}: target": lambda lib, net, v, name=name: getattr(losses, name)(lib.array(X), v)
        for name in LOSSES
    },
    **{
        f"{name}_change: moves": lambda lib, net, v, name=name: getattr(losses, f"{name}_change")(
            lib.array(X), lib.array(X), v
        )
        for name in LOSSES
    },
    "cross_entropy_error: y": lambda lib, net, v: losses.cross_entropy_error(v, lib.array(T)),
    "numerical_gradient: x": lambda lib, net, v: numerical_gradient(square(lib), v),
    "numerical_gradient: x['a']": lambda lib, net, v: numerical_gradient(
        lambda x: square(lib)(x["a"]), {"a": v}
    ),
    "check_gradient: x": lambda lib, net, v: check_gradient(square(lib), lib.array(X), v),
    "check_gradient: gradient": lambda lib, net, v: check_gradient(square(lib), v, lib.array(X)),
    "check_vjp: x": lambda lib, net, v: check_vjp(square(lib), lambda x, c: 2.0 * c * x, v),
    "check_jvp: x": lambda lib, net, v: check_jvp(
        square(lib), lambda x, d: lib.xp.sum(2.0 * d * x), v
    ),
    "net.check_gradient: gradient['W1']": lambda lib, net, v: net.check_gradient(
        *data(lib), gradient={**net.gradient(*data(lib)), "W1": v}
    ),
    "net.predict: x": lambda lib, net, v: net.predict(v),
    **{
        f"net.{name}: x": lambda lib, net, v, name=name: getattr(net, name)(v, lib.array(T))
        for name in (
            "loss", "accuracy", "gradient", "loss_and_gradient", "numerical_gradient",
            "check_gradient",
        )
    },
    "fit: x": lambda lib, net, v: fit(net, v, lib.array(T), steps=1, batch_size=2),
}  # fmt: skip
# Targets, which integers and bools may be.
LABELS = {
    "cross_entropy_error: t": lambda lib, net, v: losses.cross_entropy_error(
        lib.array(np.full((5, 2), 0.5)), v
    ),
    "one_hot: labels": lambda lib, net, v: losses.one_hot(v, 3, lib.xp.float32),
    **{
        f"net.{name}: t": lambda lib, net, v, name=name: getattr(net, name)(lib.array(X), v)
        for name in (
            "loss", "accuracy", "gradient", "loss_and_gradient", "numerical_gradient",
            "check_gradient",
        )
    },
    "fit: t": lambda lib, net, v: fit(net, lib.array(X), v, steps=1, batch_size=2),
    "fit: sample_weight": lambda lib, net, v: fit(
        net, *data(lib), steps=1, batch_size=2, sample_weight=v
    ),
}


# What is written as a function of numbers may be given them.
NUMBERS_TOO = (
    "numerical_gradient: x", "numerical_gradient: x['a']", "check_gradient: x", "check_vjp: x",
    "check_jvp: x",
)  # fmt: skip


@pytest.mark.parametrize("name", [*ARRAYS, *LABELS])
def test_what_is_no_array(lib, net, name):
    """A list that broadcasts, a mask that is lost, a matrix whose * is another product."""
    call, argument = {**ARRAYS, **LABELS}[name], name.partition(": ")[2]
    before = {key: np.array(lib.host(p)) for key, p in net.params.items()}
    for kind, value in NO_ARRAYS.items():
        if argument == "sample_weight" and value is None:
            continue
        if name in NUMBERS_TOO and kind in ("list", "tuple", "int", "float"):
            continue  # see test_own_functions
        with pytest.raises(TypeError, match=rf"{re.escape(argument)} .*{kind}"):
            call(lib, net, value)
    for key, p in net.params.items():
        np.testing.assert_array_equal(lib.host(p), before[key], err_msg="the net was changed")


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_of_other_dtypes(lib, net, name):
    """Integers that wrap, half floats with no digits to spare, bytes in the other order."""
    argument = name.partition(": ")[2]
    takes_any_float = name.startswith(("net.", "fit")) and argument == "x"
    for dtype, value in others(lib, (5, 3)):
        if takes_any_float and dtype in ("float16", "bfloat16", "longdouble", ">f4", ">f8"):
            continue  # converted to the net's: see below
        if name.startswith(("check_vjp", "check_jvp")) and dtype.startswith("complex"):
            continue  # taken: see test_maps
        if "gradient" in argument and dtype in ("float16", "bfloat16", "longdouble", ">f4", ">f8"):
            continue  # any float: it is compared on the host, in float64
        with pytest.raises(TypeError, match=re.escape(argument)):
            ARRAYS[name](lib, net, value)


@pytest.mark.parametrize("name", LABELS)
def test_labels_of_other_dtypes(lib, net, name):
    """Complex numbers whose imaginary part is lost, objects, dates, strings."""
    for dtype, value in others(lib, (5, 2)):
        if dtype in ("complex64", "complex128", "object", "U3", "datetime64[s]", "[('a', 'f4')]"):
            with pytest.raises((TypeError, ValueError), match=name.partition(": ")[2]):
                LABELS[name](lib, net, value)


@pytest.mark.parametrize("name", ARRAYS)
@pytest.mark.parametrize("shape", [(), (3,), (0, 3), (5, 0), (5, 4), (5, 3, 1, 1)])
def test_shapes(lib, net, name, shape):
    """0-d where rows are due, nothing at all, a row too wide."""
    argument = name.partition(": ")[2]
    elementwise = argument == "x" and hasattr(functions, name.partition(":")[0])
    softmax = name == "softmax: x" and (shape == () or 0 in shape[-1:])
    if elementwise and not softmax:  # any shape will do
        result = ARRAYS[name](lib, net, lib.array(np.ones(shape)))
        assert tuple(result.shape) == shape
        return
    if name == "cross_entropy_error: y" and shape == (5, 4):
        return  # four classes are as good as three
    if name.startswith(("check_vjp", "check_jvp")):
        assert ARRAYS[name](lib, net, lib.array(np.ones(shape))).verdict == "passed"
        return
    if name.startswith("numerical_gradient"):
        assert tuple(numerical_gradient(square(lib), lib.array(np.ones(shape))).shape) == shape
        return
    with pytest.raises(ValueError, match=r"shape|empty"):
        ARRAYS[name](lib, net, lib.array(np.ones(shape)))


@pytest.mark.parametrize("value", [NAN, INF, -INF, 1e300])
def test_values_of_data(lib, value):
    """A number that is none, or none in the net's dtype, trained on."""
    net = MLP([3, 2], seed=0, **lib.kwargs)
    x = X.copy()
    x[1, 2] = value
    with pytest.raises(ValueError, match="x has values that are not finite"):
        fit(net, lib.array(x), lib.array(T), steps=1, batch_size=2)
    with pytest.raises(ValueError, match="validation: x has values that are not finite"):
        fit(net, *data(lib), steps=1, batch_size=2, validation=(lib.array(x), lib.array(T)))
    for method in ("predict", "loss", "accuracy", "gradient", "numerical_gradient"):
        arguments = (lib.array(x),) if method == "predict" else (lib.array(x), lib.array(T))
        if lib.readable:
            with pytest.raises(ValueError, match="x has values that are not finite"):
                getattr(net, method)(*arguments)
        elif method in ("loss", "accuracy"):
            assert not np.isfinite(lib.host(getattr(net, method)(*arguments)))


@pytest.mark.parametrize("output", OUTPUTS)
@pytest.mark.parametrize("value", [NAN, INF, -INF, 1e300])
def test_values_of_labels(lib, output, value):
    """A label that is no number."""
    net = MLP([3, 2], seed=0, output=output, **lib.kwargs)
    rows = ROWS.copy()
    rows[3, 1] = value
    with pytest.raises(ValueError, match="t has wrong values"):
        fit(net, lib.array(X), lib.array(rows), steps=1, batch_size=2)
    if lib.readable:
        with pytest.raises(ValueError, match="t has wrong values"):
            net.loss(lib.array(X), lib.array(rows))
    else:
        assert not np.isfinite(lib.host(net.loss(lib.array(X), lib.array(rows))))


# --- what NumPy arrays may look like -----------------------------------------------------------


def look(name, values):
    """The same values in another form of memory."""
    values = np.ascontiguousarray(values)
    if name == "read-only":
        values.flags.writeable = False
    if name == "byte-swapped":
        return values.astype(values.dtype.newbyteorder("S"))
    if name == "unaligned":
        raw = np.zeros(values.nbytes + 1, dtype="u1")
        odd = raw[1:].view(values.dtype).reshape(values.shape)
        odd[...] = values
        return odd
    return {
        "Fortran-ordered": np.asfortranarray,
        "backward": lambda v: np.flip(np.flip(v).copy()),
        "strided": lambda v: np.repeat(v, 2, axis=0)[::2],
    }.get(name, lambda v: v)(values)


LOOKS = ["read-only", "byte-swapped", "unaligned", "Fortran-ordered", "backward", "strided"]


@pytest.mark.parametrize("name", LOOKS)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "uint8", "complex128"])
def test_moving_to_a_library(lib, name, dtype):
    """Values that change on their way to a device; a library's own complaint, or its warning."""
    values = (10 * X).astype(dtype) if dtype != "uint8" else np.arange(15, dtype=dtype)
    moved = lib.placement.asarray(look(name, values))
    lib.placement._check(moved, "moved")
    np.testing.assert_array_equal(lib.host(moved), values)
    assert lib.host(moved).dtype.name == dtype


@pytest.mark.parametrize("values", [
    pytest.param(masked(X), id="masked"), pytest.param(None, id="None"),
    pytest.param("text", id="str"), pytest.param([[1.0], [1.0, 2.0]], id="ragged"),
    pytest.param(np.ones(2, dtype=object), id="object"),
    pytest.param(np.zeros(2, dtype=[("a", "f4")]), id="structured"),
    pytest.param(np.zeros(2, dtype="datetime64[s]"), id="dates"),
])  # fmt: skip
def test_moving_what_is_not_numeric(lib, values):
    """A mask that is lost on the way to a device."""
    with pytest.raises((TypeError, ValueError), match=r"mask|no array of numbers|inhomogeneous"):
        lib.placement.asarray(values)


@pytest.mark.parametrize("name", LOOKS)
def test_nets_take_numpy_arrays_of_any_look(name):
    """A gradient from bytes in the wrong order, or from a row that lies elsewhere."""
    net = MLP([3, 4, 2], seed=0, dtype="float64")
    x, t = look(name, X), look(name, T)
    loss, gradient = net.loss_and_gradient(X, T)
    got, slopes = net.loss_and_gradient(x, t)
    np.testing.assert_allclose(got, loss, rtol=1e-15)
    for key, g in gradient.items():
        np.testing.assert_allclose(slopes[key], g, rtol=1e-13, atol=1e-17)
    np.testing.assert_allclose(net.predict(x), net.predict(X), rtol=1e-15)
    np.testing.assert_array_equal(losses.one_hot(t, 2, np.float64), ROWS)
    other = MLP([3, 4, 2], seed=0, dtype="float64")
    histories = [
        fit(n, *pair, steps=20, batch_size=2) for n, pair in ((net, (X, T)), (other, (x, t)))
    ]
    np.testing.assert_allclose(histories[1].loss, histories[0].loss, rtol=1e-12)
    assert net.check_gradient(x, t).ok


@pytest.mark.parametrize("name", [n for n in LOOKS if n != "byte-swapped"])
def test_functions_take_numpy_arrays_of_any_look(name):
    """Bytes in the other order are refused; every other look is taken."""
    x = look(name, X)
    np.testing.assert_array_equal(functions.softmax(x), functions.softmax(X))
    np.testing.assert_array_equal(
        numerical_gradient(lambda v: np.sum(v**3), x),
        numerical_gradient(lambda v: np.sum(v**3), X),
    )
    # The slope at 0 is 0, and no digits of it can be right.
    assert check_gradient(lambda v: np.sum(v**3), lambda v: 3 * v**2, x, atol=1e-8).ok
    for one, two in zip(losses.half_squared_error(x, X), losses.half_squared_error(X, X),
                        strict=True):
        np.testing.assert_allclose(one, two)


@pytest.mark.parametrize("dtype", ["float16", "longdouble", ">f4"])
def test_nets_convert_floats(dtype):
    """Any float becomes the net's."""
    net = MLP([3, 2], seed=0)
    x = (X * 4).round().astype(dtype)
    np.testing.assert_array_equal(net.predict(x), net.predict(x.astype("float32")))


def test_a_file_mapped_into_memory(tmp_path):
    """The array of a file larger than memory is a subclass of NumPy's, and taken."""
    np.save(tmp_path / "x.npy", X)
    x = np.load(tmp_path / "x.npy", mmap_mode="r")
    assert type(x) is np.memmap
    np.testing.assert_array_equal(functions.tanh(x), np.tanh(X))
    assert fit(MLP([3, 2], seed=0), x, T, steps=1, batch_size=2).steps == 1


# --- numbers, words, switches, functions -------------------------------------------------------

# Values of a number above 0 that must be refused, and with which error.
NO_NUMBERS = [
    (True, TypeError), (np.True_, TypeError), ("0.1", TypeError), (None, TypeError),
    (1j, TypeError), ([0.1], TypeError), (np.ones(2), TypeError),
    (NAN, ValueError), (INF, ValueError), (-INF, ValueError), (-1, ValueError),
    (10**400, ValueError),
]  # fmt: skip
NO_COUNTS = [
    (True, TypeError), (np.True_, TypeError), ("3", TypeError), (None, TypeError),
    (2.0, TypeError), (np.float64(2), TypeError), (Fraction(2), TypeError), ([2], TypeError),
    (NAN, TypeError), (0, ValueError), (-1, ValueError),
]  # fmt: skip
NO_SEEDS = [
    (True, TypeError), ("1", TypeError), (1.0, TypeError), ([1], TypeError), (-1, ValueError)
]
NO_SWITCHES = [(1, TypeError), ("yes", TypeError), (None, TypeError), (np.True_, TypeError)]
NO_FUNCTIONS = [(3, TypeError), ("f", TypeError), (None, TypeError)]
NO_TOLERANCES = [(-1.0, ValueError), (NAN, ValueError), (True, TypeError), ("1", TypeError)]
NO_PATHS = [(3, TypeError), (b"x", TypeError), ([], TypeError)]
NO_DTYPES = [
    ("float", ValueError), ("float16", ValueError), ("int32", ValueError), ("", ValueError),
    (float, ValueError), (np.int64, ValueError), (3, ValueError), (np.dtype("c16"), ValueError),
]  # fmt: skip
NO_WORDS = [("what", ValueError), (3, TypeError), (["sgd"], TypeError), ("", ValueError)]


def train(**kwargs):
    given = {"steps": 1, "batch_size": 2, **kwargs}
    return fit(MLP([3, 4, 2], seed=0), X.astype("float32"), T, **given)


def given(pairs):
    """The same without None, which stands for a default."""
    return [pair for pair in pairs if pair[0] is not None]


class Often:
    """A callback that says how often it is to be called."""

    def __init__(self, every):
        self.every = every

    def __call__(self, progress):
        return None


def folder(name):
    return lambda v: xpnet.load_idx("nowhere", **{name: v})


# The argument's name in the message, the call, and the values to refuse.
VALUES = [
    ("layer_sizes", lambda v: MLP([3, v]), NO_COUNTS),
    ("layer_sizes", lambda v: MLP([v, 2, 2]), NO_COUNTS),
    ("layer_sizes", MLP, [(3, TypeError), (None, TypeError), ([], ValueError), ([3], ValueError),
                          ("32", TypeError)]),
    ("layer_sizes", lambda v: TwoLayerNet(3, v, 2), NO_COUNTS),
    ("l2", lambda v: MLP([3, 2], l2=v), NO_NUMBERS),
    ("weight_init", lambda v: MLP([3, 2], weight_init=v),
     [pair for pair in NO_NUMBERS if not isinstance(pair[0], str)] + [("what", ValueError)]),
    ("weight_init_std", lambda v: TwoLayerNet(3, 4, 2, weight_init_std=v), NO_NUMBERS),
    ("activation", lambda v: MLP([3, 2], activation=v), [*NO_WORDS, (np.tanh, TypeError)]),
    ("output", lambda v: MLP([3, 2], output=v), NO_WORDS),
    ("seed", lambda v: MLP([3, 2], seed=v), NO_SEEDS),
    ("dtype", lambda v: MLP([3, 2], dtype=v), NO_DTYPES),
    ("dtype", lambda v: MLP([3, 2]).to(dtype=v), NO_DTYPES),
    ("dtype", lambda v: xpnet.place(dtype=v), NO_DTYPES),
    ("dtype", lambda v: xpnet.load_mnist(dtype=v), NO_DTYPES),
    ("dtype", lambda v: losses.one_hot(T, 2, v), [(p[0], TypeError) for p in NO_DTYPES]),
    ("classes", lambda v: losses.one_hot(T, v, np.float32), NO_COUNTS),
    ("xp|backend", lambda v: xpnet.place(v), [("what", ValueError), (3, TypeError),
                                              (re, ValueError), ([], TypeError)]),
    ("device", lambda v: xpnet.place("numpy", v), [("cuda", ValueError), (0, ValueError)]),
    ("name", lambda v: Activation(v, np.tanh, np.tanh), [(3, TypeError), (None, TypeError)]),
    ("forward", lambda v: Activation("a", v, np.tanh), NO_FUNCTIONS),
    ("derivative", lambda v: Activation("a", np.tanh, v), NO_FUNCTIONS),
    ("smooth", lambda v: Activation("a", np.tanh, np.tanh, v), NO_SWITCHES),
    ("scale", lambda v: losses.half_squared_error(X, X, v),
     [(True, TypeError), ("1", TypeError), (NAN, ValueError), (np.ones(3), ValueError)]),
    ("f", lambda v: numerical_gradient(v, X), NO_FUNCTIONS),
    ("step", lambda v: numerical_gradient(np.sum, X, step=v),
     [pair for pair in NO_NUMBERS if pair[0] is not None] + [(0, ValueError)]),
    ("vectorized", lambda v: numerical_gradient(np.sum, X, vectorized=v), NO_SWITCHES),
    ("max_bytes", lambda v: numerical_gradient(np.sum, X, max_bytes=v), NO_COUNTS),
    ("f", lambda v: check_gradient(v, X, X), NO_FUNCTIONS),
    ("step", lambda v: check_gradient(np.sum, X, X, step=v), [(0, ValueError), (NAN, ValueError)]),
    ("rtol", lambda v: check_gradient(np.sum, X, X, rtol=v), NO_TOLERANCES),
    ("atol", lambda v: check_gradient(np.sum, X, X, atol=v), NO_TOLERANCES),
    ("f", lambda v: check_vjp(v, lambda x, c: c, X), NO_FUNCTIONS),
    ("vjp", lambda v: check_vjp(np.sin, v, X), NO_FUNCTIONS),
    ("conjugate", lambda v: check_vjp(np.sin, lambda x, c: c * np.cos(x), X, conjugate=v),
     [pair for pair in NO_SWITCHES if pair[0] is not None]),
    ("seed", lambda v: check_vjp(np.sin, lambda x, c: c * np.cos(x), X, seed=v), NO_SEEDS),
    ("f", lambda v: check_jvp(v, lambda x, d: d, X), NO_FUNCTIONS),
    ("jvp", lambda v: check_jvp(np.sin, v, X), NO_FUNCTIONS),
    ("atol", lambda v: check_jvp(np.sin, lambda x, d: d * np.cos(x), X, atol=v), NO_TOLERANCES),
    ("f", lambda v: check_autodiff(v, X, backends=[]), NO_FUNCTIONS),
    ("args", lambda v: check_autodiff(np.sin, v, backends=[]),
     [(3, ValueError), ("x", ValueError), (None, ValueError), ([1, 2], ValueError),
      (X.astype(int), ValueError), (1j, TypeError), (X + 0j, TypeError),
      (np.ma.masked_array(X), TypeError), (X.astype(object), TypeError)]),
    ("backend", lambda v: check_autodiff(np.sin, X, backends=v),
     [(3, TypeError), ("torch", TypeError), (["what"], ValueError), ([3], TypeError)]),
    ("rtol", lambda v: check_autodiff(np.sin, X, backends=[], rtol=v), NO_TOLERANCES),
    ("atol", lambda v: check_autodiff(np.sin, X, backends=[], atol=v), NO_TOLERANCES),
    ("seed", lambda v: check_autodiff(np.sin, X, backends=[], seed=v), NO_SEEDS),
    ("directions", lambda v: check_gradient(np.sum, X, X, directions=v),
     [pair for pair in NO_COUNTS if pair[0] is not None]),
    ("seed", lambda v: check_gradient(np.sum, X, X, seed=v), NO_SEEDS),
    ("gradient", lambda v: check_gradient(np.sum, v, X), [({"a": X}, TypeError)]),
    ("gradient", lambda v: check_gradient(lambda x: np.sum(x["a"]), v, {"a": X}),
     [(X, TypeError), (None, TypeError), ({}, ValueError), ({"a": X, 3: X}, ValueError)]),
    ("gradient", lambda v: MLP([3, 2]).check_gradient(X, T, gradient=v),
     [(X, TypeError), (3, TypeError), ({}, ValueError)]),
    ("step", lambda v: MLP([3, 2]).numerical_gradient(X, T, step=v),
     [(0, ValueError), (NAN, ValueError), (True, TypeError), ("1", TypeError)]),
    ("method", lambda v: MLP([3, 2]).numerical_gradient(X, T, method=v), NO_WORDS),
    ("net", lambda v: fit(v, X, T, steps=1),
     [(None, TypeError), ([], TypeError), (MLP, TypeError)]),
    ("steps", lambda v: train(steps=v), given(NO_COUNTS)),
    ("epochs", lambda v: train(steps=None, epochs=v), given(NO_COUNTS)),
    ("steps or epochs", lambda v: train(steps=v, epochs=v), [(None, ValueError), (3, ValueError)]),
    ("batch_size", lambda v: train(batch_size=v), [*given(NO_COUNTS), (6, ValueError)]),
    ("optimizer", lambda v: train(optimizer=v), [*NO_WORDS, (SGD, TypeError), (None, TypeError)]),
    ("learning_rate", lambda v: train(learning_rate=v),
     [*given(NO_NUMBERS), (0, ValueError), ("cosine", TypeError)]),
    ("schedule", lambda v: train(learning_rate=lambda steps: np.full(len(steps), v)),
     [(NAN, ValueError), (INF, ValueError), (-1.0, ValueError)]),
    ("schedule", lambda v: train(learning_rate=lambda steps: v),
     [(0.1, ValueError), (np.ones(7), ValueError), (np.ones((1, 1)), ValueError)]),
    ("gradient", lambda v: train(gradient=v), NO_WORDS),
    ("validation", lambda v: train(validation=v),
     [(X, TypeError), ((X,), TypeError), (X.tolist(), TypeError), (3, TypeError),
      (True, TypeError), (0.0, ValueError), (1.0, ValueError), (NAN, ValueError)]),
    ("seed", lambda v: train(seed=v), NO_SEEDS),
    ("callbacks", lambda v: train(callbacks=v), [(3, TypeError), ([3], TypeError),
                                                 (print, TypeError)]),
    ("every", lambda v: train(callbacks=[Often(v)]), [*given(NO_COUNTS), ("step", TypeError)]),
    ("progress", lambda v: train(progress=v), NO_SWITCHES),
    ("shuffle", lambda v: train(shuffle=v), NO_SWITCHES),
    ("resume", lambda v: train(resume=v), NO_SWITCHES),
    ("distributed", lambda v: train(distributed=v), NO_SWITCHES),
    ("checkpoint_every", lambda v: train(checkpoint_every=v), NO_COUNTS),
    ("checkpoint", lambda v: train(checkpoint=v), NO_PATHS),
    ("folder", xpnet.Checkpoint, [*NO_PATHS, (None, TypeError)]),
    ("every", lambda v: xpnet.Checkpoint("kept", every=v), NO_COUNTS),
    ("errors", lambda v: xpnet.Checkpoint("kept", errors=v), NO_WORDS),
    ("resume", lambda v: xpnet.Checkpoint("kept", resume=v), NO_SWITCHES),
    ("resume", lambda v: train(checkpoint=xpnet.Checkpoint("kept"), resume=v),
     [(True, ValueError)]),
    ("layers", lambda v: Network(v, input_shape=(3,)),
     [(3, TypeError), ("relu", TypeError), ([3], TypeError), ([], ValueError)]),
    ("input_shape", lambda v: Network([xpnet.layers.Affine(2)], input_shape=v),
     [(3, TypeError), ((), ValueError), ((0,), ValueError), (("3",), TypeError)]),
    ("units", xpnet.layers.Affine, NO_COUNTS),
    ("weight_init", lambda v: xpnet.layers.Affine(2, weight_init=v),
     [("zeros", ValueError), (-1, ValueError)]),
    ("rate", xpnet.layers.Dropout, [*NO_NUMBERS, (1.0, ValueError)]),
    ("momentum", Momentum, [*NO_NUMBERS, (1.0, ValueError)]),
    ("momentum", Nesterov, [*NO_NUMBERS, (1.0, ValueError)]),
    ("beta_1", lambda v: Adam(beta_1=v), [*NO_NUMBERS, (1.0, ValueError)]),
    ("beta_2", lambda v: AdamW(beta_2=v), [*NO_NUMBERS, (1.0, ValueError)]),
    ("epsilon", lambda v: Adam(epsilon=v), [*NO_NUMBERS, (0.0, ValueError)]),
    ("weight_decay", lambda v: AdamW(weight_decay=v), NO_NUMBERS),
    ("epsilon", AdaGrad, [*NO_NUMBERS, (0.0, ValueError)]),
    ("decay", RMSprop, [*NO_NUMBERS, (1.0, ValueError)]),
    ("epsilon", lambda v: RMSprop(epsilon=v), [*NO_NUMBERS, (0.0, ValueError)]),
    ("optimizer", lambda v: Clipped(v, 1.0), [*NO_WORDS, (SGD, TypeError), (None, TypeError)]),
    ("norm", lambda v: Clipped("sgd", v), [*NO_NUMBERS, (0.0, ValueError)]),
    ("learning_rate", Constant, [*NO_NUMBERS, (0.0, ValueError)]),
    ("learning_rate", lambda v: StepDecay(v, 3), [*NO_NUMBERS, (0.0, ValueError)]),
    ("every", lambda v: StepDecay(0.1, v), NO_COUNTS),
    ("factor", lambda v: StepDecay(0.1, 3, v), [*NO_NUMBERS, (0.0, ValueError)]),
    ("learning_rate", lambda v: Cosine(v, 3), [*NO_NUMBERS, (0.0, ValueError)]),
    ("steps", lambda v: Cosine(0.1, v), NO_COUNTS),
    ("final", lambda v: Cosine(0.1, 3, v), NO_NUMBERS),
    ("schedule", lambda v: WarmUp(v, 3), [(0.1, TypeError), (None, TypeError)]),
    ("steps", lambda v: WarmUp(Constant(0.1), v), NO_COUNTS),
    ("patience", lambda v: xpnet.EarlyStopping(patience=v), given(NO_COUNTS)),
    ("restore_best", lambda v: xpnet.EarlyStopping(restore_best=v), NO_SWITCHES),
    ("min_delta", lambda v: xpnet.EarlyStopping(min_delta=v), NO_NUMBERS),
    ("monitor", lambda v: xpnet.EarlyStopping(monitor=v), NO_WORDS),
    ("every", xpnet.Log, NO_COUNTS),
    ("write", lambda v: xpnet.Log(1, write=v), NO_FUNCTIONS),
    ("settings", xpnet.History, [(3, TypeError), ([], TypeError), ("a", TypeError)]),
    ("environment", lambda v: xpnet.History({}, v), [(3, TypeError), ([], TypeError)]),
    ("normalize", lambda v: xpnet.load_mnist(normalize=v), NO_SWITCHES),
    ("flatten", lambda v: xpnet.load_mnist(flatten=v), NO_SWITCHES),
    ("one_hot_label", lambda v: xpnet.load_mnist(one_hot_label=v), NO_SWITCHES),
    ("normalize", folder("normalize"), NO_SWITCHES),
    ("dtype", folder("dtype"), NO_DTYPES),
    ("directory", xpnet.load_idx, [*NO_PATHS, (None, TypeError)]),
    ("prefix", lambda v: xpnet.load_idx(".", prefix=v), [(3, TypeError), (b"x", TypeError)]),
    ("path", xpnet.load_table, [(3, TypeError), (None, TypeError)]),
    ("dtype", lambda v: xpnet.load_table("nowhere", dtype=v), NO_DTYPES),
    ("folder", xpnet.load_images, [*NO_PATHS, (None, TypeError)]),
    ("dtype", lambda v: xpnet.load_images("nowhere", dtype=v), NO_DTYPES),
    ("size", lambda v: xpnet.load_images(".", size=v),
     [(0, ValueError), ((1, 2, 3), ValueError), ("ab", TypeError), (2.0, TypeError)]),
    ("gray", lambda v: xpnet.load_images(".", gray=v), NO_SWITCHES),
    ("folder", xpnet.open_shards, [*NO_PATHS, (None, TypeError), ("nowhere", FileNotFoundError)]),
    ("pattern", lambda v: xpnet.open_shards(".", pattern=v),
     [(3, TypeError), (None, TypeError), (b"x", TypeError)]),
    ("flatten", lambda v: xpnet.load_fashion_mnist(flatten=v), NO_SWITCHES),
    ("cache", lambda v: xpnet.load_fashion_mnist(cache=v), NO_PATHS),
    ("activation", lambda v: xpnet.load("nowhere", activation=v), [(3, TypeError)]),
]  # fmt: skip


@pytest.mark.parametrize(("name", "call", "value", "error"), [
    pytest.param(name, call, value, error, id=f"{i}-{name}-{str(value)[:20]}")
    for i, (name, call, values) in enumerate(VALUES)
    for value, error in values
])  # fmt: skip
def test_values(name, call, value, error):
    """True for 1, "0.1" for 0.1, 2.0 for 2, NaN for a rate: taken, or refused without a name."""
    with pytest.raises(error, match=name):
        call(value)


@pytest.mark.parametrize("device", ["gpu:x", "what", 3.5, object(), "cpu:99", ["cpu"], -1])
def test_devices(lib, device):
    """A device that no library has, as an error of this package's, with the word in it."""
    try:
        placement = xpnet.place(lib.kwargs["xp"], device)
    except (ValueError, TypeError, xpnet.BackendNotAvailable) as error:
        assert "device" in str(error), str(error)  # noqa: PT017
    else:  # Torch has as many names for its CPU as one likes
        assert lib.name == "torch"
        assert str(placement.device).startswith("cpu")


def test_numbers_of_other_kinds():
    """What is a number is taken for one, whoever made it."""
    for rate in (np.float32(0.5), np.asarray(0.5), Fraction(1, 2), np.int8(1), 1):
        assert train(learning_rate=rate).steps == 1
    for count in (np.int64(2), np.uint8(2), 2):
        assert train(steps=count, batch_size=count).steps == 2


# --- sizes -------------------------------------------------------------------------------------


@pytest.mark.parametrize("sizes", [[10**6, 10**6], [10**9, 10**9, 2], [10**30, 2], [2, 10**12]])
def test_nets_that_fit_no_memory(lib, sizes):
    """A system that promises the memory, and ends the program when it is used."""
    needed = sum((a + 1) * b for a, b in itertools.pairwise(sizes)) * 4 / 2**30
    message = re.escape(f"a net of layer_sizes {sizes} needs {needed:,.1f} GiB")
    with pytest.raises(MemoryError, match=message):
        MLP(sizes, **lib.kwargs)


def test_a_net_a_little_too_large(monkeypatch):
    """The bound is what the device has, not what is absurd."""
    monkeypatch.setattr("xpnet.backend.placement.host_memory", lambda: 2**30)
    with pytest.raises(MemoryError, match=r"needs 1\.0 GiB; cpu has 1\.0"):
        TwoLayerNet(2**14, 2**14, 2)
    # Not every system tells.
    monkeypatch.setattr("xpnet.backend.placement.host_memory", lambda: None)
    place = xpnet.place()
    place._refuse_too_large(2**60, "a net")


# --- callbacks and records that others call ----------------------------------------------------


def test_every_public_name_is_here():
    """A new public name without a row in this file."""
    with open(__file__, encoding="utf-8") as file:
        text = file.read()
    made_by_others = {"GradientReport", "Progress", "BackendNotAvailable", "GradientCheckFailed",
                      "NonFiniteLoss", "FileError", "CheckpointWarning", "DistributedError",
                      "DivergenceWarning", "ScaleWarning",
                      "AutodiffReport", "__version__"}
    takes_nothing = {"backends"}
    for name in set(xpnet.__all__) - made_by_others - takes_nothing:
        assert re.search(rf"\b{name}\b", text.partition("made_by_others")[0]), name
    for name in functions.__dict__.keys() | losses.__dict__.keys():
        thing = getattr(functions, name, None) or getattr(losses, name, None)
        homes = functions.__name__, losses.__name__, "xpnet.loss_changes", "xpnet.activations"
        own = getattr(thing, "__module__", "") in homes
        helper = name in ("floating_namespace", "index_rows", "Output", "checked_loss")
        helper = helper or name.startswith("_")
        if own and callable(thing) and not helper:
            assert re.search(rf"\b{name.removesuffix('_change')}", text), name
    assert Progress is xpnet.Progress
