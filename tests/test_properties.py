"""Every public numerical function over shapes, dtypes, layouts and values, on every backend.

The oracle of each is written here once more, in NumPy's longest float; what it allows is derived,
not tuned. The model is the usual one (Higham, *Accuracy and Stability of Numerical Algorithms*,
2002, section 2.2): with u = eps / 2, each of + - * / and the square root is right to a factor
1 ± u, a sum of n terms is right to n·u times the sum of their sizes in whatever order it is
taken, and exp, log, expm1, log1p, tanh and powers are right to `ELEMENTARY` eps, which is what
the libraries' documentations promise at worst. Whatever lies below the smallest normal number
may be lost, in a result and in an argument: libraries that flush subnormals to zero are within
the standard.

`--hypothesis-profile nightly` runs 1,000 examples of each test instead of 50.
"""

import contextlib
import inspect
import math
import warnings

import numpy as np
import pytest
from activation_oracles import ORACLES, sigmoid, units
from activation_oracles import sigmoid_grad as sigmoid_slope
from array_api_compat import array_namespace
from hypothesis import given, note
from hypothesis import strategies as st
from hypothesis.errors import HypothesisWarning
from hypothesis.extra import numpy as hnp
from hypothesis.extra.array_api import make_strategies_namespace

import xpnet
from xpnet import activations, functions, loss_changes, losses, optimizers, schedules
from xpnet.functions import ACTIVATIONS
from xpnet.losses import OUTPUTS
from xpnet.optimizers import OPTIMIZERS

LONG = np.longdouble
ELEMENTARY = 4.0
DTYPES = ("float32", "float64")


def eps(dtype):
    return float(np.finfo(dtype).eps)


def tiny(dtype):
    return float(np.finfo(dtype).tiny)


def largest(dtype):
    return float(np.finfo(dtype).max)


def long(x):
    return np.asarray(x, dtype=LONG)


@contextlib.contextmanager
def silently():
    """The oracle's own overflow is no matter: its longest float may have the range of float64."""
    with np.errstate(all="ignore"):
        yield


def lost(x, dtype):
    """What of each value is lost where subnormals are taken for 0."""
    return np.where(np.abs(x) < tiny(dtype), np.abs(x), 0)


def close(got, expected, allowed, dtype):
    """Whether each value lies within `allowed` of the oracle's; NaN lies nowhere."""
    got, expected = long(got), long(expected)
    # The oracle rounds too, where the longest float is no longer than float64.
    allowed = long(allowed) + 2 * np.finfo(LONG).eps * np.abs(expected)
    assert got.shape == expected.shape
    wrong = ~(np.abs(got - expected) <= allowed)
    if np.any(wrong):
        at = tuple(np.argwhere(wrong)[0])
        off = abs(got[at] - expected[at])
        raise AssertionError(
            f"at {list(map(int, at))}: {got[at]!r}, expected {expected[at]!r}; off by "
            f"{off / abs(expected[at]) / eps(dtype):.3g} eps ({off:.3g}), "
            f"allowed are {np.broadcast_to(allowed, got.shape)[at]:.3g}"
        )


# --- arrays ------------------------------------------------------------------------------------

# JAX compiles every operation anew for every shape: it gets a few shapes, the others any.
FEW_SHAPES = [(), (5,), (3, 4), (2, 1, 3), (2, 0)]
LAYOUTS = ["contiguous", "transposed", "strided", "reversed", "broadcast"]


def compiles(lib):
    return lib.name == "jax"


def shapes(lib, **kwargs):
    least, most = kwargs.get("min_dims", 0), kwargs.get("max_dims", 3)
    side = kwargs.get("min_side", 0)
    if compiles(lib):
        few = [s for s in FEW_SHAPES if least <= len(s) <= most and all(n >= side for n in s)]
        return st.sampled_from(few)
    kwargs.setdefault("max_side", 5)
    return hnp.array_shapes(min_dims=least, max_dims=most, min_side=side, max_side=5)


def floats(dtype, low=None, high=None):
    """Finite floats of a dtype, subnormals and the largest among them."""
    return hnp.from_dtype(
        np.dtype(dtype), allow_nan=False, allow_infinity=False, min_value=low, max_value=high
    )


def moderate(dtype, size):
    """Floats up to a size, of every order of magnitude, exact in the dtype."""
    top = float(np.dtype(dtype).type(size))
    return floats(dtype, -top, top)


@st.composite
def hosts(draw, shape, dtype, elements=None):
    """NumPy arrays."""
    shape = draw(shape) if isinstance(shape, st.SearchStrategy) else shape
    return draw(hnp.arrays(dtype, shape, elements=floats(dtype) if elements is None else elements))


def laid_out(lib, host, layout):
    """The same values in another layout, made by the library's own operations."""
    xp = lib.xp
    if layout == "byte-swapped":
        return host.astype(host.dtype.newbyteorder(">" if np.little_endian else "<"))
    if layout == "unaligned":
        raw = np.zeros(host.nbytes + 1, dtype=np.uint8)
        array = raw[1:].view(host.dtype).reshape(host.shape)
        array[...] = host
        return array
    if host.ndim == 0 or layout == "contiguous":
        return lib.array(host)
    if layout == "transposed":
        axes = tuple(range(host.ndim))[::-1]
        return xp.permute_dims(lib.array(np.transpose(host, axes)), axes)
    if layout == "strided":
        return lib.array(np.repeat(host, 2, axis=-1))[..., ::2]
    if layout == "reversed":
        backward = lib.array(np.flip(host, axis=-1))
        # Torch has no views with negative strides.
        return xp.flip(backward, axis=-1) if lib.name.startswith("torch") else backward[..., ::-1]
    assert layout == "broadcast"
    return xp.broadcast_to(lib.array(host[:1]), host.shape)


@st.composite
def arrays(draw, lib, shape, dtype, elements=None, swapped=False):
    """An array of the library and a NumPy array of its values.

    Half of them come from Hypothesis's own generator for the array API; the others are NumPy's,
    brought over, so that they come in layouts and with the subnormals that a library flushes.
    `swapped`: NumPy's in the other byte order too, which nets take and functions refuse.
    """
    if elements is None and draw(st.booleans()):
        shape = draw(shape) if isinstance(shape, st.SearchStrategy) else shape
        array = draw(_namespace(lib).arrays(getattr(lib.xp, dtype), shape, elements={
            "allow_nan": False, "allow_infinity": False}))  # fmt: skip
        here = xpnet.place(lib.kwargs["xp"])
        host = np.array(here.to_host(array))
        return lib.array(host) if lib.kwargs["device"] else array, host
    host, numpy = draw(hosts(shape, dtype, elements)), lib.name.startswith("numpy")
    layout = draw(st.sampled_from(
        [*LAYOUTS, *(["unaligned", "byte-swapped"][: 1 + swapped] if numpy else [])]
    ))  # fmt: skip
    note(f"layout: {layout}")
    if layout == "broadcast" and host.ndim and host.shape[0]:
        host = np.repeat(host[:1], host.shape[0], axis=0)
    array = laid_out(lib, host, layout)
    if lib.readonly:
        array.flags.writeable = False
    return array, host


def _namespace(lib):
    with warnings.catch_warnings():
        # The compat twins do not say that they are array API namespaces.
        warnings.simplefilter("ignore", HypothesisWarning)
        return make_strategies_namespace(lib.xp, api_version="2023.12")


def same_dtype(lib, array, dtype):
    """Whether an array has the dtype, by its name."""
    return array.dtype == getattr(lib.xp, dtype)


def any_dtype():
    return st.sampled_from(DTYPES)


# --- elementwise functions ---------------------------------------------------------------------


def tanh_slope(x):
    with silently():
        e = np.exp(-2 * np.abs(x))
        return 4 * e / (1 + e) ** 2


def step(x):
    return long(x > 0)


# The oracle; how many eps its result may be off; how many smallest normal numbers beside.
#   sigmoid       1 / (1 + e^-x): e^-x E, the sum u, the quotient u.
#   sigmoid_grad  y·(1 - y) at -|x|: y as above, and 1 - y, which is at least 1/2, takes on
#                 y / (1 - y) ≤ 1 times y's error and u; the product u.
#   tanh_grad     4 e² / (1 + e²)² with e = e^-|x|: e² is off by 2 E + u; 1 + e² by half of that
#                 and u, its square by twice that and u; the quotient u. What e² loses below the
#                 smallest normal number comes fourfold.
ELEMENTWISE = {
    "sigmoid": (sigmoid, ELEMENTARY + 1, 2),
    "sigmoid_grad": (sigmoid_slope, 2 * (ELEMENTARY + 1) + 1, 2),
    "relu": (lambda x: np.maximum(x, 0), 0, 1),
    "relu_grad": (step, 0, 0),
    "tanh": (np.tanh, ELEMENTARY, 2),
    "tanh_grad": (tanh_slope, 4 * ELEMENTARY + 3, 8),
    "identity": (lambda x: x, 0, 0),
    "identity_grad": (np.ones_like, 0, 0),
    # Where a smallest normal number is lost, it is lost times x: at -745 the rest of σ is.
    **{name: (oracle, units(name, ELEMENTARY), 1000) for name, oracle in ORACLES.items()},
}


def own_error(name, x, value, dtype):
    """How far off a function may be at x, where its value is so large."""
    _, units, lost = ELEMENTWISE[name]
    relative = units(x, value) if callable(units) else units * np.abs(value)
    return relative * eps(dtype) + lost * tiny(dtype)


RANGES = {
    "sigmoid": (0, 1), "sigmoid_grad": (0, 0.25), "relu_grad": (0, 1), "tanh": (-1, 1),
    "tanh_grad": (0, 1), "identity_grad": (1, 1), "leaky_relu_grad": (0, 1),
    "elu": (-1, np.inf), "elu_grad": (0, 1), "softplus": (0, np.inf), "softplus_grad": (0, 1),
}  # fmt: skip


@pytest.mark.parametrize("name", ELEMENTWISE)
@given(data=st.data())
def test_elementwise(lib, name, data):
    """A finite float at which a function overflows, warns, leaves its range or is wrong."""
    dtype = data.draw(any_dtype())
    x, host = data.draw(arrays(lib, shapes(lib), dtype))
    before = host.copy()
    y = getattr(functions, name)(x)
    assert array_namespace(y) is lib.xp
    assert same_dtype(lib, y, dtype)
    got = lib.host(y)
    expected = ELEMENTWISE[name][0](long(host))
    if name in ("relu_grad", "leaky_relu_grad"):  # a library that flushes takes a subnormal for 0
        got = np.where((host > 0) & (host < tiny(dtype)) & (got < 0.5), 1, got)
    close(got, expected, own_error(name, long(host), expected, dtype), dtype)
    low, high = RANGES.get(name, (-np.inf, np.inf))
    assert np.all((got >= low) & (got <= high * (1 + 2 * eps(dtype))))  # up to rounding
    np.testing.assert_array_equal(lib.host(x), before, err_msg="the argument was written to")


@given(data=st.data())
def test_softmax(lib, data):
    """A row of finite floats for which softmax overflows, warns, is wrong or sums to no 1."""
    dtype = data.draw(any_dtype())
    a, host = data.draw(arrays(lib, shapes(lib, min_dims=1, min_side=1), dtype))
    y = functions.softmax(a)
    assert array_namespace(y) is lib.xp
    assert same_dtype(lib, y, dtype)
    got = lib.host(y)
    p, error = softmax_oracle(long(host), dtype)
    close(got, p, error, dtype)
    close(got.sum(axis=-1, dtype=LONG), np.ones(host.shape[:-1]),
          host.shape[-1] * (eps(dtype) + tiny(dtype)), dtype)  # fmt: skip
    assert np.all((got >= 0) & (got <= 1))
    np.testing.assert_array_equal(lib.host(a), host, err_msg="the argument was written to")


def exponentials(a, dtype):
    """e^d with d = a - max(a), and how far off it may be, relatively.

    d is a rounded difference, so that its exponential is off by |d|·u, and by E of its own; the
    square of e^(d/2) doubles E and adds u.
    """
    with silently():
        d = a - a.max(axis=-1, keepdims=True)
        e = np.exp(d)
    error = eps(dtype) * (np.minimum(-d, 2 * largest("float32")) / 2 + 2 * ELEMENTARY + 1)
    return d, e, error


def softmax_oracle(a, dtype):
    """Probabilities, and how far off each may be."""
    classes = a.shape[-1]
    _, e, error = exponentials(a, dtype)
    total = e.sum(axis=-1, keepdims=True)
    p = e / total
    # The sum is off by the mean of its terms' errors and by (classes - 1)·u; the quotient by u.
    error = error + (p * error).sum(axis=-1, keepdims=True) + eps(dtype) * (classes + 1) / 2
    return p, p * error + 2 * tiny(dtype)


# --- activations -------------------------------------------------------------------------------

# By name: how the forward is checked; the derivative, by x and the forward's y; what y's error
# does to it: derivatives are taken from y, so that their error is an absolute one.
DERIVATIVES = {
    "sigmoid": (sigmoid_slope, ELEMENTARY + 2),  # (1 - y)·y: y's error |1 - 2y| ≤ 1 times; 2 u
    "relu": (step, 0),
    "tanh": (tanh_slope, 2 * ELEMENTARY + 1),  # 1 - y²: y's error 2|y| ≤ 2 times; 2 u
    "identity": (np.ones_like, 0),
    "leaky_relu": (ORACLES["leaky_relu_grad"], 1),
    "elu": (ORACLES["elu_grad"], ELEMENTARY + 1),  # y + 1
    "silu": (ORACLES["silu_grad"], 2 * ELEMENTARY + 4),
    "gelu": (ORACLES["gelu_grad"], 2 * ELEMENTARY + 9),
    "gelu_tanh": (ORACLES["gelu_tanh_grad"], 3 * ELEMENTARY + 15),
    "softplus": (ORACLES["softplus_grad"], 2 * ELEMENTARY + 2),  # 1 - e^-y, and y e^-y < 1/2
}


@pytest.mark.parametrize("name", ACTIVATIONS)
@given(data=st.data())
def test_activations(lib, name, data):
    """A row of the table whose forward or derivative is not its function's."""
    row, dtype = ACTIVATIONS[name], data.draw(any_dtype())
    x, host = data.draw(arrays(lib, shapes(lib, min_dims=2, max_dims=2, min_side=1), dtype))
    with lib.placement._quietly():  # as in a net: e^-x may be infinite on the way
        y = row.forward(x)
        slope = row.derivative(x, y)
    assert same_dtype(lib, y, dtype)
    assert same_dtype(lib, slope, dtype)
    expected = ELEMENTWISE[name][0](long(host))
    close(lib.host(y), expected, own_error(name, long(host), expected, dtype), dtype)
    oracle, units = DERIVATIVES[name]
    got = lib.host(slope)
    if name in ("relu", "leaky_relu"):
        got = np.where((host > 0) & (host < tiny(dtype)) & (got < 0.5), 1, got)
    close(got, oracle(long(host)), units * eps(dtype) + 1000 * tiny(dtype), dtype)
    np.testing.assert_array_equal(lib.host(x), host, err_msg="the argument was written to")


# --- losses ------------------------------------------------------------------------------------


def row_shapes(lib, **kwargs):
    if compiles(lib):
        return st.sampled_from([(1, 1), (3, 4), (5, 2)])
    return hnp.array_shapes(min_dims=2, max_dims=2, max_side=5)


@st.composite
def targets(draw, output, shape, dtype):
    """Targets of an output: one-hot rows, probabilities, values, or counts and rates."""
    n, classes = shape
    if output == "exp":
        counts = st.integers(0, 100).map(float)
        return draw(hosts(shape, dtype, st.one_of(counts, floats(dtype, 0, root(dtype)))))
    if output == "identity":
        return draw(hosts(shape, dtype, floats(dtype, -largest(dtype) / 256, largest(dtype) / 256)))
    if draw(st.booleans()):
        if output == "softmax":
            labels = draw(st.lists(st.integers(0, classes - 1), min_size=n, max_size=n))
            return np.eye(classes, dtype=dtype)[labels]
        return draw(hosts(shape, dtype, st.sampled_from([0.0, 1.0])))
    t = draw(hosts(shape, dtype, floats(dtype, 0, 1)))
    if output == "softmax":
        wide = t.astype(np.float64) + (t.sum(axis=1, keepdims=True) == 0)
        t = (wide / wide.sum(axis=1, keepdims=True)).astype(dtype)
    return t


def root(dtype):
    """A power of two whose square, times 256, is a float."""
    return 2.0 ** (np.finfo(dtype).maxexp // 2 - 4)


def logarithms(dtype, spare):
    """Logits whose exponentials, times `spare`, are floats, and times a target of `root` too."""
    top = np.dtype(dtype).type(math.log(largest(dtype) / spare))
    return st.one_of(floats(dtype, -root(dtype), float(top)), moderate(dtype, 20))


def softmax_loss(a, t, dtype):
    """log Σ e^a - Σ t a, as log Σ e^d - Σ t d with d = a - max(a)."""
    n, classes = a.shape
    d, e, error = exponentials(a, dtype)
    total = e.sum(axis=1, keepdims=True)
    p = e / total
    logs = np.log(total[:, 0])
    with silently():
        products = np.where(t == 0, 0, t * d)
    # log of the total: its relative error, and E of its own. A product t·d: 2 u, and the
    # difference d has one too; t sums to 1 but for rounding. Then the sums over the classes
    # and the rows, and the quotient by n.
    off = (p * error).sum(axis=1) + eps(dtype) * (classes / 2 + ELEMENTARY * logs)
    off += 1.5 * eps(dtype) * np.abs(products).sum(axis=1)
    off += (lost(t, dtype) * np.where(t == 0, 0, -d)).sum(axis=1)
    sizes = (logs + np.abs(products).sum(axis=1)).sum() / n
    value = (logs - products.sum(axis=1)).sum() / n
    error = off.sum() / n + eps(dtype) / 2 * (n * classes + 3) * sizes + classes * tiny(dtype)
    p, off = softmax_oracle(a, dtype)
    return value, error, (p - t) / n, off / n


def sigmoid_loss(a, t, dtype):
    """max(a, 0) - a t + log(1 + e^-|a|)."""
    n, labels = a.shape
    with silently():
        logs = np.log1p(np.exp(-np.abs(a)))
    products = a * t
    rest = np.maximum(a, 0) - products
    terms = rest + logs
    # log1p: E of its own and at most E of the exponential. a·t is exact for labels of 0 and 1,
    # and then so is the difference: a loss near 0 keeps its digits.
    off = 2 * ELEMENTARY * logs + np.abs(terms) / 2 + np.abs(rest) / 2
    off += np.where((t == 0) | (t == 1), 0, np.abs(products)) / 2
    value = terms.sum() / n
    error = eps(dtype) * (off.sum() + (n * labels + 1) / 2 * np.abs(terms).sum()) / n
    error += (lost(t, dtype) * np.abs(a) + np.abs(t) * lost(a, dtype)).sum() / n
    p = sigmoid(a)
    slope = eps(dtype) * (ELEMENTARY + 1) * p + 2 * tiny(dtype)
    return value, error + 2 * labels * tiny(dtype), (p - t) / n, slope / n


def squared_loss(a, t, dtype):
    """Half the sum of the squares of a - t."""
    n, outputs = a.shape
    difference = a - t
    value = (difference**2).sum() / (2 * n)
    # A square of a difference: 3 u; the sum; the quotient.
    error = eps(dtype) / 2 * (n * outputs + 4) * value + 2 * outputs * tiny(dtype)
    return value, error, difference / n, 0 * difference


def poisson_loss(a, t, dtype):
    """e^a - t + t (log t - a)."""
    n, outputs = a.shape
    e, logs = np.exp(a), np.log(np.where(t == 0, 1, t))
    excess, distance = e - t, logs - a
    terms = excess + t * distance
    # e^a: E; its difference to t: u. log t: E; its difference to a: u; the product with t: u;
    # the sum of both parts: u. Then the sum over all, and the quotient by n.
    off = ELEMENTARY * e + np.abs(excess) / 2
    off += t * (ELEMENTARY * np.abs(logs) + np.abs(distance)) + np.abs(terms) / 2
    value = terms.sum() / n
    error = eps(dtype) * (off.sum() + (n * outputs + 1) / 2 * np.abs(terms).sum()) / n
    # What is lost below the smallest normal number: of e^a, the product and the sums; of a, which
    # counts t times; and of t, if that is lost itself, or its logarithm is cut off there.
    lost = 4 + t + np.where(t < tiny(dtype), 1 + np.abs(distance), 0)
    error = error + tiny(dtype) * lost.sum() / n
    return value, error, excess / n, (eps(dtype) * ELEMENTARY * e + 2 * tiny(dtype)) / n


LOSSES = {
    "softmax": ("softmax_cross_entropy", softmax_loss),
    "sigmoid": ("sigmoid_cross_entropy", sigmoid_loss),
    "identity": ("half_squared_error", squared_loss),
    "exp": ("half_poisson_deviance", poisson_loss),
}


@pytest.mark.parametrize("output", OUTPUTS)
@given(data=st.data())
def test_losses(lib, output, data):
    """Finite logits for which a loss or its gradient overflows, warns or is wrong."""
    name, oracle = LOSSES[output]
    dtype = data.draw(any_dtype())
    # The difference of an output and its value must be a float itself, its multiple too.
    top = largest(dtype) / (256 if output == "identity" else 1)
    # An exponential, its gradient's multiple and the sum over all must be floats.
    elements = logarithms(dtype, 256) if output == "exp" else floats(dtype, -top, top)
    a, host = data.draw(arrays(lib, row_shapes(lib), dtype, elements))
    rows = data.draw(targets(output, host.shape, dtype))
    t = lib.array(rows)
    scale = float(np.float32(data.draw(st.sampled_from([1.0, 0.1, 1e-3, 64.0]))))
    with silently():
        value, error, slope, slope_error = oracle(long(host), long(rows), dtype)
    # The loss is a sum over the batch, divided: a sum of squares for the identity.
    whole = value * len(rows) * (2 if output == "identity" else 1)
    representable = whole * (1 + 8 * eps(dtype)) <= largest(dtype)
    with contextlib.nullcontext() if representable else np.errstate(over="ignore"):
        loss, gradient = getattr(losses, name)(
            a, t, lib.array(scale, dtype) if data.draw(st.booleans()) else scale
        )
    assert tuple(loss.shape) == ()
    assert same_dtype(lib, loss, dtype)
    assert same_dtype(lib, gradient, dtype)
    if representable:
        close(lib.host(loss), value, error, dtype)
    else:  # no NaN, and nothing plausible
        assert lib.host(loss) >= largest(dtype) / (4 * host.size)
    # p - t, scale / n, and their product: 3 u.
    close(
        lib.host(gradient), scale * slope,
        scale * (slope_error * (1 + 2 * eps(dtype)) + 1.5 * eps(dtype) * np.abs(slope))
        + tiny(dtype), dtype,
    )  # fmt: skip
    np.testing.assert_array_equal(lib.host(a), host, err_msg="the logits were written to")
    np.testing.assert_array_equal(lib.host(t), rows, err_msg="the target was written to")


@given(data=st.data())
def test_cross_entropy_error(lib, data):
    """Probabilities and labels, of any form, for which -log(y[t] + 1e-7) is wrong."""
    dtype = data.draw(any_dtype())
    y, host = data.draw(arrays(lib, row_shapes(lib), dtype, floats(dtype, 0, 1)))
    n, classes = host.shape
    labels = np.asarray(data.draw(st.lists(st.integers(0, classes - 1), min_size=n, max_size=n)))
    form = data.draw(st.sampled_from(["rows", "int64", "uint8", "single"]))
    rows = np.eye(classes)[labels]
    if form == "single":
        y, host, rows, n = y[0, :], host[0], rows[0], 1
        t = lib.array(labels[0], "int64")
    else:
        t = lib.array(rows, dtype) if form == "rows" else lib.array(labels, form)
    got = losses.cross_entropy_error(y, t)
    assert tuple(got.shape) == ()
    assert same_dtype(lib, got, dtype)
    logs = np.log(long(host) + LONG("1e-7"))
    terms = np.where(rows > 0, -logs, 0)
    # 1e-7 and the sum: each u of the argument, so eps of the logarithm; E of its own; the sum
    # over n·classes terms; the quotient.
    off = 1 + (ELEMENTARY + (n * classes + 1) / 2) * np.abs(terms)
    close(lib.host(got), terms.sum() / n, eps(dtype) * (off * (rows > 0)).sum() / n, dtype)


@given(data=st.data())
def test_one_hot(lib, data):
    """A label that lands in the wrong column, or one outside the classes that lands in any."""
    kind = data.draw(st.sampled_from(["int8", "uint8", "int16", "int32", "int64"]))
    dtype, classes = data.draw(any_dtype()), data.draw(
        st.sampled_from([1, 3]) if compiles(lib) else st.integers(1, 300)
    )
    labels = data.draw(hnp.arrays(
        kind, shapes(lib, max_dims=2), elements=st.one_of(
            hnp.from_dtype(np.dtype(kind)), st.integers(0, min(classes, 127) - 1)
        )
    ))  # fmt: skip
    got = losses.one_hot(lib.array(labels), classes, getattr(lib.xp, dtype))
    assert got.dtype == getattr(lib.xp, dtype)
    expected = np.full((*labels.shape, classes), np.nan)
    for at in np.ndindex(*labels.shape):
        if 0 <= labels[at] < classes:
            expected[at] = np.arange(classes) == labels[at]
    np.testing.assert_array_equal(lib.host(got), expected)


def softmax_change(a, t, moves, dtype, log1p):
    """log(1 + Σ_k p_k (e^u_k - 1)) with u_k = Δ_k - Σ_m t_m Δ_m."""
    classes = a.shape[1]
    p, p_error = softmax_oracle(a, dtype)
    p, p_error, t = p[:, :, None], p_error[:, :, None], t[:, :, None]
    mean = (t * moves).sum(axis=1, keepdims=True)
    u = moves - mean
    # Products with 0 and 1 are exact, and so is u where only one of them is left.
    exact = np.all((t == 0) | (t == 1), axis=1, keepdims=True)
    u_error = eps(dtype) / 2 * np.abs(u)
    u_error = u_error + np.where(
        exact, 0, eps(dtype) / 2 * (classes + 1) * (t * np.abs(moves)).sum(axis=1, keepdims=True)
    ) + classes * tiny(dtype) + (lost(t, dtype) * np.abs(moves)).sum(axis=1, keepdims=True)
    total, total_error = _moved(p, p_error, u, u_error, dtype, classes)
    return _log1p(total, total_error, dtype, log1p)


def sigmoid_change(a, t, moves, dtype, log1p):
    """(1 - t) log(1 + p (e^Δ - 1)) + t log(1 + (1 - p) (e^-Δ - 1)), summed over the labels."""
    labels, t = a.shape[1], t[:, :, None]
    value = error = 0
    for sign, weight in ((1, 1 - t), (-1, t)):
        p = sigmoid(sign * a)[:, :, None]
        p_error = eps(dtype) * (ELEMENTARY + 1) * p + 2 * tiny(dtype)
        x, x_error = p * np.expm1(sign * moves), p_error * np.abs(np.expm1(sign * moves))
        x_error = x_error + eps(dtype) * (ELEMENTARY + 0.5) * np.abs(x) + tiny(dtype)
        part, part_error = _log1p(x, x_error, dtype, log1p)
        # The weight 1 - t is rounded, the product too; then the sum.
        part_error = weight * (part_error + eps(dtype) * (labels + 4) / 2 * np.abs(part))
        value = value + (weight * part).sum(axis=1)
        error = error + part_error.sum(axis=1) + labels * tiny(dtype)
    return value, error + eps(dtype) / 2 * np.abs(value)


def squared_change(a, t, moves, dtype, log1p):
    """Δ (a - t + Δ / 2), summed over the outputs."""
    difference = (a - t)[:, :, None]
    terms = moves * (difference + moves / 2)
    # The difference u, the sum with Δ / 2 u (of the sum, which may cancel), the product u.
    off = np.abs(moves) * (np.abs(difference) + np.abs(difference + moves / 2)) + np.abs(terms)
    off = off + (a.shape[1] + 1) * np.abs(terms)
    gone = lost(moves, dtype) * np.abs(difference)
    error = eps(dtype) / 2 * off.sum(axis=1) + gone.sum(axis=1)
    return terms.sum(axis=1), error + 4 * a.shape[1] * tiny(dtype)


def poisson_change(a, t, moves, dtype, _units):
    """e^a (e^Δ - 1) - t Δ, summed over the outputs."""
    outputs = a.shape[1]
    e, t, rise = np.exp(a)[:, :, None], t[:, :, None], np.expm1(moves)
    grown, linear = e * rise, t * moves
    terms = grown - linear
    # e^a and e^Δ - 1: E each; both products, their difference: u each; the sum.
    off = (2 * ELEMENTARY + 0.5) * np.abs(grown) + np.abs(linear) / 2
    off += (outputs + 1) / 2 * np.abs(terms)
    # Of what is lost below the smallest normal number, that of a factor counts the other times.
    below = 3 + np.abs(rise) + e + np.abs(moves) + t
    return terms.sum(axis=1), (eps(dtype) * off + tiny(dtype) * below).sum(axis=1)


def _moved(p, p_error, u, u_error, dtype, classes):
    """Σ_k p_k (e^u_k - 1), and its error."""
    rise = np.expm1(u)
    rise_error = np.exp(u) * np.expm1(u_error) + eps(dtype) * ELEMENTARY * np.abs(rise)
    error = p_error * np.abs(rise) + p * rise_error + p_error * rise_error
    error = error + eps(dtype) / 2 * (classes + 1) * np.abs(p * rise) + tiny(dtype)
    return (p * rise).sum(axis=1), error.sum(axis=1)


def _log1p(x, x_error, dtype, units):
    """log(1 + x), and its error: no more is known where that of x reaches down to -1."""
    with silently():
        value = np.log1p(x)
        lower = np.where(1 + x > x_error, -np.log1p(-x_error / (1 + x)), np.inf)
    return value, lower + eps(dtype) * units * np.abs(value) + tiny(dtype)


# XLA's log1p loses 7 bits of float64 about -0.41, where it goes over to another formula: 120 eps
# at most of 400,000 numbers, measured with jaxlib 0.10 on a CPU.
LOG1P = {"jax": 128.0}
CHANGES = {
    "softmax": ("softmax_cross_entropy_change", softmax_change),
    "sigmoid": ("sigmoid_cross_entropy_change", sigmoid_change),
    "identity": ("half_squared_error_change", squared_change),
    "exp": ("half_poisson_deviance_change", poisson_change),
}


@pytest.mark.parametrize("output", OUTPUTS)
@given(data=st.data())
def test_changes_of_losses(lib, output, data):
    """A change of a loss that cancellation, an overflow or a wrong formula spoils."""
    name, oracle = CHANGES[output]
    dtype = data.draw(any_dtype())
    # Moves of at most 5, as asked; outputs whose squares are floats; exponentials that are, e^5
    # times as large too.
    elements = {
        "identity": moderate(dtype, 1e15), "exp": logarithms(dtype, 2**16)
    }.get(output, floats(dtype))  # fmt: skip
    a, host = data.draw(arrays(lib, row_shapes(lib), dtype, elements))
    rows = data.draw(targets(output, host.shape, dtype))
    if output == "identity":
        rows = np.clip(rows, -1e15, 1e15)
    k = 2 if compiles(lib) else data.draw(st.integers(1, 3))
    moves, moved = data.draw(arrays(lib, (*host.shape, k), dtype, moderate(dtype, 5)))
    with silently():
        log1p = LOG1P.get(lib.name, ELEMENTARY) if dtype == "float64" else ELEMENTARY
        value, error = oracle(long(host), long(rows), long(moved), dtype, log1p)
    got = getattr(losses, name)(a, lib.array(rows), moves)
    assert same_dtype(lib, got, dtype)
    known = np.isfinite(error)  # elsewhere the change may be anything: its digits are gone
    close(np.where(known, lib.host(got), 0), np.where(known, value, 0),
          np.where(known, error, 0), dtype)  # fmt: skip
    np.testing.assert_array_equal(lib.host(moves), moved, err_msg="the moves were written to")


# --- numbers with error bounds -----------------------------------------------------------------


class Ball:
    """A value in the longest float, and how far off the same computation may be in a dtype.

    Running error analysis (Higham, section 3.3): every operation carries its arguments' errors
    on and adds its own rounding.
    """

    def __init__(self, value, error, dtype):
        self.value, self.error = np.broadcast_arrays(long(value), long(error))
        self.dtype = dtype

    @classmethod
    def of(cls, value, dtype):
        """An array that is exact in the dtype, but for subnormals, which may be taken for 0."""
        return cls(value, lost(value, dtype), dtype)

    @classmethod
    def number(cls, value, dtype):
        """A Python float, which is rounded to the dtype."""
        return cls(value, eps(dtype) / 2 * abs(value) + tiny(dtype), dtype)

    @property
    def most(self):
        return np.abs(self.value) + self.error

    def _new(self, value, error, roundings=1):
        error = long(error)
        rounded = roundings * eps(self.dtype) / 2 * (np.abs(value) + error) + tiny(self.dtype)
        return Ball(value, error + rounded, self.dtype)

    def _other(self, other):
        return other if isinstance(other, Ball) else Ball.number(other, self.dtype)

    def __add__(self, other):
        other = self._other(other)
        return self._new(self.value + other.value, self.error + other.error)

    def __neg__(self):
        return Ball(-self.value, self.error, self.dtype)

    def __sub__(self, other):
        return self + -self._other(other)

    def __mul__(self, other):
        other = self._other(other)
        error = np.abs(self.value) * other.error + self.error * other.most
        return self._new(self.value * other.value, error)

    __radd__, __rmul__ = __add__, __mul__

    def __truediv__(self, other):
        other = self._other(other)
        with silently():
            value = self.value / other.value
            least = np.abs(other.value) - other.error
            error = np.where(
                least > 0, (self.error + np.abs(value) * other.error) / least, np.inf
            )
        return self._new(value, error)

    def __matmul__(self, other):
        terms = self.value.shape[-1]
        error = np.abs(self.value) @ other.error + self.error @ other.most
        sizes = self.most @ other.most
        error = error + (terms + 1) * (eps(self.dtype) / 2 * sizes + tiny(self.dtype))
        return Ball(self.value @ other.value, error, self.dtype)

    @property
    def T(self):
        return Ball(self.value.T, self.error.T, self.dtype)

    def sum(self, axis=None):
        terms = self.value.size if axis is None else self.value.shape[axis]
        error = self.error.sum(axis=axis) + terms * eps(self.dtype) / 2 * self.most.sum(axis=axis)
        return Ball(self.value.sum(axis=axis), error, self.dtype)

    def sqrt(self):
        root = np.sqrt(self.value)
        with silently():
            error = np.minimum(np.sqrt(self.error), self.error / root)
        return self._new(root, np.where(self.error == 0, 0, error))


# --- nets --------------------------------------------------------------------------------------

# Of each activation: the steepest slope; the oracle is that of `ELEMENTWISE`.
STEEPEST = {
    "sigmoid": 0.25, "relu": 1.0, "tanh": 1.0, "identity": 1.0, "leaky_relu": 1.0, "elu": 1.0,
    "silu": 1.1, "gelu": 1.13, "gelu_tanh": 1.13, "softplus": 1.0,
}  # fmt: skip
# The largest second derivative of those whose slope is taken from x.
CURVED = {"silu": 0.5, "gelu": 0.8, "gelu_tanh": 0.8}


class Net:
    """A net, its batch and its oracle: forward and backward once more, with error bounds."""

    def __init__(self, data, lib, output, size=100, weights=4):
        draw = data.draw
        activation = draw(st.sampled_from(sorted(ACTIVATIONS)))
        self.lib, self.output, self.activation = lib, output, activation
        if output == "exp":
            # With 4 units a layer no logit exceeds 4·2 / 2 + 1/2, then twice that and 1/2, twice
            # that and 1/2: 19.5. Its exponential is a float, and errors of it say something.
            size, weights = min(size, 2), min(weights, 0.5)
        self.dtype = dtype = draw(any_dtype())
        depth = draw(st.integers(1, 3))
        if compiles(lib):
            sizes, n = {1: [3, 2], 2: [2, 3, 2], 3: [2, 3, 2, 2]}[depth], 3
        else:
            sides = st.integers(1, 4)
            sizes = draw(st.lists(sides, min_size=depth + 1, max_size=depth + 1))
            n = draw(sides)
        self.sizes, self.depth, self.n = sizes, depth, n
        self.l2 = draw(st.sampled_from([0.0, 0.1]))
        self.net = xpnet.MLP(
            sizes, output=output, activation=activation, l2=self.l2, dtype=dtype, seed=0,
            **lib.kwargs,
        )  # fmt: skip
        self.params = {}
        for key, p in self.net.params.items():
            host = draw(hosts(tuple(p.shape), dtype, moderate(dtype, weights)))
            self.params[key] = host
            self.net.params[key] = self.net.placement.floats(host)
        self.x, self.x_host = draw(
            arrays(lib, (n, sizes[0]), dtype, moderate(dtype, size), swapped=True)
        )
        self.t_host = draw(targets(output, (n, sizes[-1]), dtype))
        if output == "identity":
            self.t_host = np.clip(self.t_host, -size, size)
        if output == "exp":
            self.t_host = np.minimum(self.t_host, 100)
        self.t = lib.array(self.t_host)
        one_hot = np.all((self.t_host == 0) | (self.t_host == 1))
        if output == "softmax" and one_hot and draw(st.booleans()):
            self.t = lib.array(self.t_host.argmax(axis=1))
        note(f"{self.net!r}, params {self.params}")
        self._forward()

    def _forward(self):
        dtype, oracle = self.dtype, ELEMENTWISE[self.activation]
        p = {key: Ball.of(value, dtype) for key, value in self.params.items()}
        self.balls = p
        self.z, self.a = [Ball.of(self.x_host, dtype)], []
        for i in range(1, self.depth + 1):
            pre = self.z[-1] @ p[f"W{i}"] + p[f"b{i}"]
            if i == self.depth:
                self.logits = pre
                break
            value = oracle[0](pre.value)
            own = own_error(self.activation, pre.value, np.abs(value) + pre.error, dtype)
            self.a.append(pre)
            self.z.append(Ball(value, STEEPEST[self.activation] * pre.error + own, dtype))

    def prediction(self):
        """The link of the logits, and its error."""
        a, off, dtype = self.logits.value, self.logits.error, self.dtype
        if self.output == "identity":
            return a, off
        if self.output == "sigmoid":
            p = sigmoid(a)
            own = eps(dtype) * (ELEMENTARY + 1) * p + 2 * tiny(dtype)
        elif self.output == "exp":
            p = np.exp(a)
            own = eps(dtype) * ELEMENTARY * p + tiny(dtype)
        else:
            p, own = softmax_oracle(a, dtype)
            off = off.max(axis=1, keepdims=True) * 2
        # Logits that are off by δ change p / (1 - p), and so p, by at most the factor e^δ; for
        # softmax, where the others move too, e^2δ. An exponential changes by that factor itself.
        with silently():
            grown = np.expm1(off)
            error = own * (1 + grown) + p * grown
            return p, error if self.output == "exp" else np.minimum(error, 1 + own)

    def logit_gradient(self):
        """The gradient of the mean loss at the logits."""
        p, error = self.prediction()
        t = Ball.of(self.t_host, self.dtype)
        return (Ball(p, error, self.dtype) - t) * Ball.number(1 / self.n, self.dtype)

    def loss(self):
        a, off, n = self.logits.value, self.logits.error, self.n
        value, error, slope, _ = LOSSES[self.output][1](a, long(self.t_host), self.dtype)
        error = error + (np.abs(slope) * off).sum()
        if self.output == "exp":
            # Beyond the slope e^a (e^δ - 1 - δ), at most e^a |δ| (e^|δ| - 1). The loss rounds
            # e^a, t a and their sum, which are larger by so much at the computed logits: of the
            # bound in `poisson_loss` no term has more than E + (n·outputs + 3) / 2 of them.
            rise = np.exp(a) * np.expm1(off)
            error = error + (rise * off).sum() / n
            larger = (rise + self.t_host * off).sum() / n
            error = error + eps(self.dtype) * (n * self.sizes[-1] + 2 * ELEMENTARY) * larger
        else:
            # To second order half the curvature, at most 1, between any two.
            error = error + (off.sum(axis=1) ** 2).sum() / n
            # The rounding of the loss is that of computed terms, as large as these may be.
            error = error + eps(self.dtype) * (n * self.sizes[-1] + 4) * off.sum() / n
        if self.output == "identity":
            squares = (np.abs(slope) * off).sum() + (off**2).sum() / n
            error = error + eps(self.dtype) * (n * self.sizes[-1] + 4) * squares
        loss = Ball(value, error, self.dtype)
        if self.l2:
            for i in range(1, self.depth + 1):
                w = self.balls[f"W{i}"]
                loss = loss + (w * w).sum() * Ball.number(0.5 * self.l2, self.dtype)
        return loss

    def gradient(self):
        d, found = self.logit_gradient(), {}
        for i in range(self.depth, 0, -1):
            w = self.balls[f"W{i}"]
            found[f"W{i}"] = self.z[i - 1].T @ d
            if self.l2:
                found[f"W{i}"] += w * self.l2
            found[f"b{i}"] = d.sum(axis=0)
            if i > 1:
                d = (d @ w.T) * self._slope(i - 1)
        return found

    def _slope(self, layer):
        """The derivative of a hidden layer, which the net takes from the layer's output."""
        pre, y = self.a[layer - 1], self.z[layer]
        value = DERIVATIVES[self.activation][0](pre.value)
        own = DERIVATIVES[self.activation][1] * eps(self.dtype)
        kink = long(np.abs(pre.value) <= pre.error + tiny(self.dtype))
        error = {
            "sigmoid": y.error + y.error**2 + eps(self.dtype),
            "tanh": 2 * y.error + y.error**2 + eps(self.dtype),
            # On which side of the kink it lies is not known of an output within its error.
            "relu": kink,
            "leaky_relu": kink + own,
            "identity": long(0),
            "elu": y.error + own,
            "softplus": y.error + own,
            **{name: most * pre.error + own for name, most in CURVED.items()},
        }[self.activation]
        return Ball(value, error, self.dtype)

    def agree(self, got, ball):
        """Check a result against its ball."""
        assert got.dtype == self.net.placement.dtype
        self.net.placement._check(got, "a result")
        close(self.lib.host(got), ball.value, ball.error, self.dtype)

    def unchanged(self):
        np.testing.assert_array_equal(self.lib.host(self.x), self.x_host, err_msg="x was written")
        for key, p in self.params.items():
            np.testing.assert_array_equal(self.lib.host(self.net.params[key]), p, err_msg=key)


def nets(test):
    """Every output with its own examples; the activations are drawn."""
    return pytest.mark.parametrize("output", OUTPUTS)(given(data=st.data())(test))


@nets
def test_predict(lib, output, data):
    """Predictions that are off by more than the roundings on the way."""
    net = Net(data, lib, output)
    p, error = net.prediction()
    net.agree(net.net.predict(net.x), Ball(p, error, net.dtype))
    net.unchanged()


@nets
def test_loss(lib, output, data):
    """A loss that is off by more than the roundings on the way."""
    net = Net(data, lib, output)
    net.agree(net.net.loss(net.x, net.t), net.loss())
    net.unchanged()


@nets
def test_gradient(lib, output, data):
    """A backward pass that is off by more than the roundings on the way."""
    net = Net(data, lib, output)
    got = net.net.gradient(net.x, net.t)
    assert sorted(got) == sorted(net.params)
    for key, ball in net.gradient().items():
        net.agree(got[key], ball)
    net.unchanged()


@nets
def test_loss_and_gradient(lib, output, data):
    """A pass whose two results are not those of the two methods."""
    net = Net(data, lib, output)
    loss, got = net.net.loss_and_gradient(net.x, net.t)
    net.agree(loss, net.loss())
    for key, ball in net.gradient().items():
        net.agree(got[key], ball)


@pytest.mark.parametrize("output", [name for name, row in OUTPUTS.items() if row.correct])
@given(data=st.data())
def test_accuracy(lib, output, data):
    """Rows counted as right that are wrong, or the reverse, beyond the doubt of rounding."""
    net = Net(data, lib, output)
    got = net.net.accuracy(net.x, net.t)
    a, off, t = net.logits.value, net.logits.error, net.t_host
    low, high = a - off, a + off
    if output == "softmax":
        # Of several largest entries of a target the first is the label.
        label = np.eye(t.shape[1], dtype=bool)[t.argmax(axis=1)]
        mine = np.where(label, 0, -np.inf)
        others_low = np.where(label, -np.inf, low).max(axis=1)
        others_high = np.where(label, -np.inf, high).max(axis=1)
        surely = (low + mine).max(axis=1) > others_high
        possibly = (high + mine).max(axis=1) >= others_low
    else:
        wanted = t > 0.5
        surely = np.where(wanted, low > 0, high <= 0).all(axis=1)
        possibly = np.where(wanted, high > 0, low <= 0).all(axis=1)
    share = float(lib.host(got))
    slack = 2 * eps(net.dtype)
    assert surely.mean() - slack <= share <= possibly.mean() + slack


# --- central differences -----------------------------------------------------------------------


def cubic(xp, c, stacked):
    """Σ c x³, of one array or of each of a stack."""

    def f(x):
        terms = c * x * x * x
        if not stacked:
            return xp.sum(terms)
        return xp.sum(xp.reshape(terms, (x.shape[0], -1)), axis=1)

    return f


def cubic_bound(x, c, h, dtype):
    """What a central difference of `cubic` may be off by: truncation and rounding.

    (f(x + h) - f(x - h)) / 2h = 3 c x² + c h². A value of f is off by (size + 3) u times the sum
    of its terms' sizes, on both sides, over 2h; x ± h is exact to u, which the division by the
    step that was taken makes good.
    """
    reach = np.abs(x) + h
    total = (np.abs(c) * np.abs(x) ** 3).sum() - np.abs(c) * np.abs(x) ** 3
    total = total + np.abs(c) * reach**3
    noise = (x.size + 3) * eps(dtype) / 2 * total / h
    return np.abs(c) * h**2 * (1 + 8 * eps(dtype)) + noise + 8 * eps(dtype) * 3 * np.abs(c) * x**2


@pytest.mark.parametrize("vectorized", [False, True])
@given(data=st.data())
def test_numerical_gradient(lib, vectorized, data):
    """A difference at the wrong entry, with the wrong step, or lost in rounding."""
    dtype = data.draw(any_dtype())
    shape = data.draw(shapes(lib, min_side=1, max_dims=2))
    x, host = data.draw(arrays(lib, shape, dtype, moderate(dtype, 100)))
    c_host = data.draw(hosts(shape, dtype, floats(dtype, 0.125, 8)))
    c = lib.array(c_host)
    h = data.draw(st.sampled_from([None, 2.0**-6]))
    got = xpnet.numerical_gradient(
        cubic(lib.xp, c, vectorized), x, step=h, vectorized=vectorized,
        max_bytes=data.draw(st.sampled_from([1, 100, 10**6])),
    )  # fmt: skip
    assert same_dtype(lib, got, dtype)
    x_long, c_long = long(host), long(c_host)
    h = eps(dtype) ** (1 / 3) * np.maximum(np.abs(x_long), 1) if h is None else long(h)
    close(lib.host(got), 3 * c_long * x_long**2, cubic_bound(x_long, c_long, h, dtype), dtype)
    np.testing.assert_array_equal(lib.host(x), host, err_msg="x was written to")


@pytest.mark.parametrize("directions", [None, 3])
@given(data=st.data())
def test_check_gradient(lib, directions, data):
    """A right gradient that fails, or a wrong one that passes."""
    dtype = data.draw(any_dtype())
    shape = data.draw(shapes(lib, min_side=1, max_dims=2))
    x, host = data.draw(arrays(lib, shape, dtype, moderate(dtype, 10)))
    c = lib.array(data.draw(hosts(shape, dtype, floats(dtype, 0.125, 8))))
    f = cubic(lib.xp, c, False)
    right = 3.0 * c * x * x
    report = xpnet.check_gradient(f, right, x, directions=directions)
    assert report.verdict in ("passed", "inconclusive"), str(report)
    # One entry that is off by as much as the largest entry, and by 1.
    wrong = np.array(lib.host(right))
    at = tuple(data.draw(st.integers(0, n - 1)) for n in shape)
    wrong[at] += max(1.0, np.abs(wrong).max())
    report = xpnet.check_gradient(f, lib.array(wrong, dtype), x, directions=directions)
    assert report.verdict in ("failed", "inconclusive"), str(report)
    if host.size == 1 and abs(host).max() > 1:  # nothing there to hide it
        assert report.verdict == "failed"


@pytest.mark.parametrize("method", ["structured", "elementwise"])
@nets
def test_net_numerical_gradient(lib, output, method, data):
    """Central differences of a net that are no derivative of its loss."""
    net = Net(data, lib, output, size=2, weights=2)
    got = net.net.numerical_gradient(net.x, net.t, method=method)
    assert sorted(got) == sorted(net.params)
    for key, ball in net.gradient().items():
        allowed = ball.error + difference_bound(net, key, method)
        net.agree(got[key], Ball(ball.value, allowed, net.dtype))
    net.unchanged()


def difference_bound(net, key, method):
    """What a central difference of one parameter may be off by: truncation, rounding, kinks."""
    dtype, layer = net.dtype, int(key[1:])
    third = eps(dtype) ** (1 / 3)
    # A move of a pre-activation by δ moves no logit by more than δ times `gain`, and the loss by
    # no more than δ times `steep`; all the activations are at most 1 steep, with second and
    # third derivatives of at most 2.
    gain = LONG(1)
    for i in range(layer + 1, net.depth + 1):
        gain *= max(np.abs(net.params[f"W{i}"]).sum(axis=1).max(), 1)
    p, _ = net.prediction()
    inputs = np.abs(net.z[layer - 1].value) if key[0] == "W" else np.ones((net.n, 1))
    reach = np.maximum(inputs.max(), 1)
    sizes = [np.abs(a.value).max() for a in [*net.a, net.logits]]
    if method == "structured":
        move = third  # of the logits, at most, and of everything on the way
        # Differences of differences: only the moved values are rounded. A unit that no polynomial
        # fits is moved by h times each input, where a small input's move drowns in the rounding.
        noise = eps(dtype) * (1 + max(sizes)) * 32 * gain / third * reach
        own = 0
    else:
        top = np.abs(net.params[key]).max()
        move = third * max(top, 1) * reach * gain
        value = net.loss()
        noise = 0
        own = value.error + eps(dtype) * np.abs(value.value)
        if net.output == "exp":  # rounded where they moved to: as in `Net.loss`
            larger = (p * np.expm1(move) + net.t_host * move).sum() / net.n
            own = own * np.exp(move) + eps(dtype) * (p.size + 2 * ELEMENTARY) * larger
        own = own / third
    # The loss's own second and third derivatives: at most 1, or e^a on the way.
    curved = (p.sum(axis=1).max() * np.exp(move)) if net.output == "exp" else 1
    steep = gain * (np.abs(p - net.t_host).sum(axis=1).max() + np.maximum(curved, 1))
    depth = net.depth - layer + 1
    # h²/6 times a third derivative: each layer on the way has one of at most 2, and so have the
    # losses; products of first and second ones come in at most 5 kinds (Faà di Bruno).
    truncation = 5.0**depth * move**2 * np.maximum(gain, 1) ** 2
    kink = 0.0
    if net.activation in ("relu", "leaky_relu", "elu"):
        kinks = [np.abs(a.value) <= 4 * move + a.error for a in net.a[layer - 1 :]]
        kink = 2.0 * any(np.any(k) for k in kinks)
        if net.activation == "elu":  # its slope does not jump, and changes no faster than x
            kink *= 4 * move * gain
    each = steep * ((truncation + kink) * inputs.mean(axis=0) + noise)
    each = each[:, None] if key[0] == "W" else each.max()
    each = each + own
    if method == "elementwise" and net.l2:
        each = each + eps(dtype) * 4
    return each


@nets
def test_net_check_gradient(lib, output, data):
    """A net's own gradient that fails its own check, or a wrong one that passes."""
    net = Net(data, lib, output, size=2, weights=2)
    report = net.net.check_gradient(net.x, net.t)
    assert report.verdict in ("passed", "inconclusive"), str(report)
    kinks = sum(row.kink for row in report.parameters.values())
    right = {key: net.lib.host(g) for key, g in net.net.gradient(net.x, net.t).items()}
    key = data.draw(st.sampled_from(sorted(right)))
    wrong = {k: np.array(v) for k, v in right.items()}
    at = tuple(data.draw(st.integers(0, n - 1)) for n in wrong[key].shape)
    wrong[key][at] += 2 * max(1.0, float(np.abs(wrong[key]).max()))
    given_ = {k: lib.array(v) for k, v in wrong.items()}
    report = net.net.check_gradient(net.x, net.t, gradient=given_)
    # At a kink every value between the slopes of its two sides is explained.
    assert kinks or report.verdict in ("failed", "inconclusive"), str(report)


# --- optimizers and schedules ------------------------------------------------------------------


def by_rule(name, rule, w, gradients, rates, dtype):
    """Each rule as its paper writes it, with error bounds."""
    zero = Ball.of(np.zeros_like(w.value), dtype)
    v = m = s = zero
    for i, (g, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        eta = Ball.number(rate, dtype)
        if name in ("sgd", "momentum", "nesterov"):
            g = g * eta
        if name == "sgd":
            w = w - g
        elif name in ("momentum", "nesterov"):
            v = v * rule.momentum - g
            w = w + v if name == "momentum" else w - g + v * rule.momentum
        elif name in ("adagrad", "rmsprop"):
            new = g * g
            if name == "rmsprop":
                s, new = s * rule.decay, new * (1.0 - rule.decay)
            s = s + new
            w = w - g / (s.sqrt() + Ball.number(rule.epsilon, dtype)) * eta
        else:
            b1, b2 = LONG(rule.beta_1), LONG(rule.beta_2)
            # Found on the host in float64: a power, a difference; then rounded to the dtype.
            host = [
                Ball(1 - b**i, eps("float64") * (ELEMENTARY * b**i + 1), "float64")
                for b in (b1, b2)
            ]
            root = host[1].sqrt()
            first = _rounded(Ball.of(rate, "float64") * root / host[0], dtype)
            second = _rounded(root * Ball.of(rule.epsilon, "float64"), dtype)
            if name == "adamw":
                keep = Ball.of(1.0, "float64") - Ball.of(rate, "float64") * Ball.of(
                    rule.weight_decay, "float64"
                )
                w = w * _rounded(keep, dtype)
            m = m * rule.beta_1 + g * (1.0 - rule.beta_1)
            s = s * rule.beta_2 + g * (1.0 - rule.beta_2) * g
            w = w - m / (s.sqrt() + second) * first
    return w


def _rounded(ball, dtype):
    return Ball(ball.value, ball.error + eps(dtype) / 2 * ball.most + tiny(dtype), dtype)


RULES = {
    "sgd": st.builds(optimizers.SGD),
    "momentum": st.builds(optimizers.Momentum, st.sampled_from([0.0, 0.9, 0.999])),
    "nesterov": st.builds(optimizers.Nesterov, st.sampled_from([0.0, 0.9, 0.999])),
    "adam": st.builds(
        optimizers.Adam, st.sampled_from([0.0, 0.9]), st.sampled_from([0.0, 0.9, 0.999]),
        st.sampled_from([1e-8, 1e-3]),
    ),
    "adamw": st.builds(
        optimizers.AdamW, st.sampled_from([0.0, 0.9]), st.sampled_from([0.0, 0.9, 0.999]),
        st.sampled_from([1e-8, 1e-3]), st.sampled_from([0.0, 0.01, 0.5]),
    ),
    "adagrad": st.builds(optimizers.AdaGrad, st.sampled_from([1e-7, 1e-3])),
    "rmsprop": st.builds(
        optimizers.RMSprop, st.sampled_from([0.0, 0.9, 0.99]), st.sampled_from([1e-7, 1e-3])
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", OPTIMIZERS)
@given(data=st.data())
def test_optimizers(lib, name, data):
    """Parameters that leave the way of the textbook's equations by more than rounding."""
    rule, dtype = data.draw(RULES[name]), data.draw(any_dtype())
    assert type(rule) is type(OPTIMIZERS[name]())
    shape = data.draw(shapes(lib, min_dims=1, min_side=1, max_dims=2))
    steps = data.draw(st.integers(1, 4))
    w = data.draw(hosts(shape, dtype, moderate(dtype, 1e3)))
    gradients = [data.draw(arrays(lib, shape, dtype, moderate(dtype, 1e3))) for _ in range(steps)]
    rates = np.asarray(data.draw(
        st.lists(st.floats(2.0**-20, 1.0, width=32), min_size=steps, max_size=steps)
    ))  # fmt: skip
    params = {"W1": lib.place(dtype).floats(w)}
    slots = rule.slots(params)
    numbers = rule.coefficients(np.arange(1, steps + 1), rates).tolist()
    for (g, host), row in zip(gradients, numbers, strict=True):
        given_ = g * row[0] if rule.folds_rate else g
        rule.update(params, {"W1": given_}, slots, row)
        np.testing.assert_array_equal(lib.host(g), host, err_msg="the gradient was written to")
    assert params["W1"].dtype == getattr(lib.xp, dtype)
    ball = by_rule(
        name, rule, Ball.of(w, dtype), [Ball.of(h, dtype) for _, h in gradients], rates.tolist(),
        dtype,
    )  # fmt: skip
    known = np.isfinite(ball.error)
    got = lib.host(params["W1"])
    assert np.all(np.isfinite(got))
    close(np.where(known, got, 0), np.where(known, ball.value, 0),
          np.where(known, ball.error, 0), dtype)  # fmt: skip


RATES = st.floats(1e-12, 1e6)
STEP_NUMBERS = hnp.arrays(
    np.int64, hnp.array_shapes(max_dims=1, min_side=0), elements=st.integers(0, 10**9)
)


def decayed(schedule, k):
    return LONG(schedule.learning_rate) * LONG(schedule.factor) ** (k // schedule.every)


def waved(schedule, k):
    done = min(LONG(int(k)) / LONG(schedule.steps), LONG(1))
    wave = (1 + np.cos(LONG(math.pi) * done)) / 2
    return schedule.final + (LONG(schedule.learning_rate) - LONG(schedule.final)) * wave


def warmed(schedule, k):
    rate = schedule.schedule.learning_rate
    return rate * min((LONG(int(k)) + 1) / LONG(schedule.steps), LONG(1))


# Drawn; the rate at a step number; how many eps of the largest rate it may be off.
#   StepDecay: a power E, a product u. Cosine: the quotient u and π·u turn the wave by at most
#   2 π u; cos E; the sum, the difference and the product u each. WarmUp: a quotient, a product.
SCHEDULES = {
    "Constant": (st.builds(optimizers.Constant, RATES), lambda s, k: s.learning_rate, 0),
    "StepDecay": (
        st.builds(
            optimizers.StepDecay, RATES, every=st.integers(1, 1000), factor=st.floats(1e-3, 1)
        ),
        decayed,
        ELEMENTARY + 1,
    ),
    "Cosine": (
        st.builds(
            optimizers.Cosine, RATES, steps=st.integers(1, 10**9),
            final=st.one_of(st.just(0.0), RATES),
        ),
        waved,
        ELEMENTARY + 6,
    ),
    "WarmUp": (
        st.builds(
            optimizers.WarmUp, st.builds(optimizers.Constant, RATES), steps=st.integers(1, 10**9)
        ),
        warmed,
        1,
    ),
}


@pytest.mark.parametrize("name", SCHEDULES)
@given(data=st.data())
def test_schedules(name, data):
    """A rate that is not its formula's at some step, however late, or leaves its bounds."""
    strategy, oracle, units = SCHEDULES[name]
    schedule, steps = data.draw(strategy), data.draw(STEP_NUMBERS)
    got = schedule(steps)
    assert got.dtype == np.float64
    expected = np.asarray([oracle(schedule, int(k)) for k in steps], dtype=LONG)
    inner = schedule.schedule if name == "WarmUp" else schedule
    top = max(inner.learning_rate, getattr(inner, "final", 0.0))
    scale = np.abs(expected) if name == "StepDecay" else top
    close(got, expected, units * eps("float64") * scale + tiny("float64"), "float64")
    assert np.all((got >= 0) & (got <= top * (1 + 2 * eps("float64"))))


# --- nothing is left out -----------------------------------------------------------------------


def public(module):
    """The public functions and classes that a module defines."""
    return {
        name: thing
        for name, thing in vars(module).items()
        if not name.startswith("_")
        and (inspect.isfunction(thing) or inspect.isclass(thing))
        and thing.__module__ == module.__name__
    }


def test_every_function_has_a_property():
    """A public function, activation, loss, optimizer or schedule that no test here covers."""
    helpers = {"Activation", "floating_namespace"}
    own = public(functions).keys() | public(activations).keys()
    assert own - helpers == {*ELEMENTWISE, "softmax"}
    names = {name for name, _ in (*LOSSES.values(), *CHANGES.values())}
    helpers = {"Output", "index_rows", "checked_loss"}
    both = public(losses).keys() | public(loss_changes).keys()
    assert both - helpers == names | {"cross_entropy_error", "one_hot"}
    assert DERIVATIVES.keys() == STEEPEST.keys() == ACTIVATIONS.keys() <= ELEMENTWISE.keys()
    assert LOSSES.keys() == CHANGES.keys() == OUTPUTS.keys()
    for name, row in OUTPUTS.items():
        assert inspect.unwrap(row.loss).__name__.endswith(LOSSES[name][0])
        assert inspect.unwrap(row.change).__name__.endswith(CHANGES[name][0])
    assert RULES.keys() == OPTIMIZERS.keys()
    classes = {name: c for name, c in public(optimizers).items() if isinstance(c, type)}
    rules = {c.__name__ for c in classes.values() if issubclass(c, optimizers.Optimizer)}
    # Clipped is in tests/test_optimizers.py.
    made = (type(make()).__name__ for make in OPTIMIZERS.values())
    assert rules == {"Optimizer", "Clipped", *made}
    assert classes.keys() - rules == set()
    assert public(schedules).keys() == SCHEDULES.keys()


def test_a_wrong_result_is_seen():
    """The comparison itself: one eps more than is allowed, NaN, and infinity."""
    one = np.ones(2)
    close(one * (1 + eps("float64")), one, eps("float64"), "float64")
    for bad in (1 + 3 * eps("float64"), np.nan, np.inf):
        with pytest.raises(AssertionError, match="off by"):
            close(np.asarray([1.0, bad]), one, eps("float64"), "float64")
