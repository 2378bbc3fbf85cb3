"""The textbook's objects: against Torch's autograd, and against its equations in plain NumPy."""

import itertools
import pickle

import numpy as np
import pytest
import torch

import xpnet
from xpnet import scratch

RNG = np.random.default_rng(0)


@pytest.fixture(autouse=True)
def _seed():
    """Every test draws the same numbers, whichever run before it."""
    np.random.seed(0)
    RNG.bit_generator.state = np.random.default_rng(0).bit_generator.state


def close(found, expected, rtol=1e-12):
    np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol * np.abs(expected).max())


def batch_normalized(x, gamma, beta):
    rows = x.reshape(x.shape[0], -1)
    mean, var = rows.mean(0), rows.var(0, unbiased=False)
    return (gamma * (rows - mean) / torch.sqrt(var + 1e-6) + beta).reshape(x.shape)


IMAGES = (3, 2, 7, 6)
F = torch.nn.functional
# What each is: how it is made of its parameters, their shapes, the input's shape, Torch's word.
LAYERS = {
    "Relu": (scratch.Relu, {}, (4, 3), torch.relu),
    "Sigmoid": (scratch.Sigmoid, {}, (4, 3), torch.sigmoid),
    "Affine": (scratch.Affine, {"W": (3, 5), "b": (5,)}, (4, 3), lambda x, W, b: x @ W + b),
    "Affine, images": (
        scratch.Affine, {"W": (84, 5), "b": (5,)}, IMAGES, lambda x, W, b: x.flatten(1) @ W + b,
    ),
    "BatchNormalization": (
        scratch.BatchNormalization, {"gamma": (3,), "beta": (3,)}, (5, 3), batch_normalized,
    ),
    "BatchNormalization, images": (
        scratch.BatchNormalization, {"gamma": (84,), "beta": (84,)}, IMAGES, batch_normalized,
    ),
    "Convolution": (
        scratch.Convolution, {"W": (4, 2, 3, 2), "b": (4,)}, IMAGES, F.conv2d,
    ),
    "Convolution, stride and pad": (
        lambda W, b: scratch.Convolution(W, b, stride=2, pad=1), {"W": (4, 2, 3, 2), "b": (4,)},
        IMAGES, lambda x, W, b: F.conv2d(x, W, b, stride=2, padding=1),
    ),
    "Pooling": (
        lambda: scratch.Pooling(2, 2, stride=2), {}, IMAGES, lambda x: F.max_pool2d(x, 2),
    ),
    "Pooling, stride and pad": (
        lambda: scratch.Pooling(3, 2, 2, 1), {}, IMAGES,
        lambda x: F.max_pool2d(F.pad(x, (1, 1, 1, 1)), (3, 2), 2),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", LAYERS)
def test_a_layer_against_torch(lib, case):
    """A backward that does not belong to its forward, or names its gradients otherwise."""
    make, shapes, shape, function = LAYERS[case]
    values = {name: RNG.normal(size=size) for name, size in shapes.items()}
    x = RNG.normal(size=shape)
    layer = make(**{name: lib.array(value) for name, value in values.items()})
    y = layer.forward(lib.array(x))
    ours = [torch.tensor(value, requires_grad=True) for value in (x, *values.values())]
    expected = function(*ours)
    close(lib.host(y), expected.detach().numpy())
    dout = RNG.normal(size=expected.shape)
    given = lib.array(dout)
    dx = layer.backward(given)
    expected.backward(torch.tensor(dout))
    close(lib.host(dx), ours[0].grad.numpy())
    close(lib.host(given), dout)  # the caller's own, still
    for name, value in zip(values, ours[1:], strict=True):
        close(lib.host(getattr(layer, f"d{name}")), value.grad.numpy())


@pytest.mark.parametrize("form", ["labels", "column", "one-hot"])
def test_softmax_with_loss(lib, form):
    """Labels in each of the textbook's forms: the same loss, the same gradient."""
    logits, t = RNG.normal(size=(5, 4)), np.asarray([0, 3, 1, 1, 2])
    layer, x = scratch.SoftmaxWithLoss(), torch.tensor(logits, requires_grad=True)
    given = {"labels": t, "column": t[:, None], "one-hot": np.eye(4)[t]}[form]
    loss = layer.forward(lib.array(logits), lib.array(given))
    y = torch.softmax(x, 1)
    close(lib.host(loss), -torch.log(y[range(5), t] + 1e-7).mean().detach().numpy())
    close(lib.host(layer.y), y.detach().numpy())
    F.cross_entropy(x, torch.tensor(t)).backward()
    close(lib.host(layer.backward(1)), x.grad.numpy())
    close(lib.host(layer.backward()), x.grad.numpy())


def test_dropout(lib):
    """Which numbers are dropped, and that prediction scales, as the textbook does."""
    layer, x = scratch.Dropout(0.3), RNG.normal(size=(6, 5))
    y = lib.host(layer.forward(lib.array(x)))
    np.random.seed(0)
    mask = np.random.rand(6, 5) > 0.3
    close(y, x * mask)
    close(lib.host(layer.backward(lib.array(x))), x * mask)
    close(lib.host(layer.forward(lib.array(x), train_flg=False)), x * 0.7)


def test_running_statistics(lib):
    """They begin at zeros, and prediction takes them; those that are given are not written to."""
    ones, zeros = lib.array(np.ones(3)), lib.array(np.zeros(3))
    layer = scratch.BatchNormalization(ones, zeros, momentum=0.8)
    x = RNG.normal(size=(5, 3))
    close(lib.host(layer.forward(lib.array(x), train_flg=False)), x / np.sqrt(1e-6))
    mean, var = np.zeros(3), np.zeros(3)
    for _ in range(2):
        x = RNG.normal(size=(5, 3))
        layer.forward(lib.array(x))
        mean, var = 0.8 * mean + 0.2 * x.mean(0), 0.8 * var + 0.2 * x.var(0)
    close(lib.host(layer.running_mean), mean)
    close(lib.host(layer.running_var), var)
    close(lib.host(layer.forward(lib.array(x), False)), (x - mean) / np.sqrt(var + 1e-6))
    given = lib.array(mean)
    scratch.BatchNormalization(ones, zeros, 0.8, given, lib.array(var)).forward(lib.array(x))
    close(lib.host(given), mean)


def test_a_layer_of_mixed_precision():
    """The textbook's programs multiply float32 images by float64 weights."""
    w = RNG.normal(size=(4, 1, 3, 3))
    layer = scratch.Convolution(w, 0)  # one of them has a bias of 0
    x = RNG.normal(size=(2, 1, 5, 5)).astype(np.float32)
    y = layer.forward(x)
    close(y, F.conv2d(torch.tensor(x.astype(np.float64)), torch.tensor(w)).numpy())
    assert layer.backward(y).shape == x.shape


def test_backward_comes_after_forward():
    with pytest.raises(RuntimeError, match=r"Relu\.backward comes after forward"):
        scratch.Relu().backward(np.ones(2))


# --- optimizers ------------------------------------------------------------------------------


def momentum(w, g, lr, s, i):
    s["v"] = 0.7 * s.get("v", 0) - lr * g
    return w + s["v"]


def nesterov(w, g, lr, s, i):
    s["v"] = 0.7 * s.get("v", 0) - lr * g
    return w + 0.7 * 0.7 * s["v"] - (1 + 0.7) * lr * g


def adagrad(w, g, lr, s, i):
    s["h"] = s.get("h", 0) + g * g
    return w - lr * g / (np.sqrt(s["h"]) + 1e-7)


def rmsprop(w, g, lr, s, i):
    s["h"] = 0.8 * s.get("h", 0) + (1 - 0.8) * g * g
    return w - lr * g / (np.sqrt(s["h"]) + 1e-7)


def adam(w, g, lr, s, i):
    s["m"] = s.get("m", 0) + (1 - 0.8) * (g - s.get("m", 0))
    s["v"] = s.get("v", 0) + (1 - 0.95) * (g * g - s.get("v", 0))
    rate = lr * np.sqrt(1 - 0.95**i) / (1 - 0.8**i)
    return w - rate * s["m"] / (np.sqrt(s["v"]) + 1e-7)


OPTIMIZERS = {
    "SGD": (scratch.SGD, {}, lambda w, g, lr, s, i: w - lr * g),
    "Momentum": (scratch.Momentum, {"momentum": 0.7}, momentum),
    "Nesterov": (scratch.Nesterov, {"momentum": 0.7}, nesterov),
    "AdaGrad": (scratch.AdaGrad, {}, adagrad),
    "RMSprop": (scratch.RMSprop, {"decay_rate": 0.8}, rmsprop),
    "Adam": (scratch.Adam, {"beta1": 0.8, "beta2": 0.95}, adam),
}


@pytest.mark.parametrize("size", [1.0, 1e-7], ids=["usual", "as small as epsilon"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_against_its_equation(lib, name, size):
    """Where epsilon stands shows with gradients as small as it."""
    kind, options, equation = OPTIMIZERS[name]
    optimizer = kind(lr=0.1, **options)
    w, memory = {"W": RNG.normal(size=(3, 2)), "b": RNG.normal(size=2)}, {"W": {}, "b": {}}
    params = {key: lib.xp.asarray(lib.array(value), copy=True) for key, value in w.items()}
    for i in range(1, 6):
        grads = {key: size * RNG.normal(size=value.shape) for key, value in w.items()}
        optimizer.update(params, {key: lib.array(g) for key, g in grads.items()})
        for key, value in w.items():
            w[key] = equation(value, grads[key], 0.1, memory[key], i)
            close(lib.host(params[key]), w[key])


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_of_numbers(name):
    """One of the textbook's programs moves Python floats, and keeps each for its picture."""
    kind, options, equation = OPTIMIZERS[name]
    optimizer, params, memory = kind(lr=0.1, **options), {"x": -7.0}, {}
    seen, x = [], -7.0
    for i in range(1, 4):
        seen.append(params["x"])
        optimizer.update(params, {"x": params["x"] / 10})
        x = equation(x, x / 10, 0.1, memory, i)
    assert isinstance(params["x"], float)
    assert params["x"] == pytest.approx(float(x), rel=1e-12)
    assert len(set(seen)) == 3


# --- functions -------------------------------------------------------------------------------


def test_numerical_gradient_moves_x_itself(lib):
    """Its f ignores its argument, as the textbook's do; afterwards x is as before."""
    before = np.asarray([[3.0, 4.0], [0.5, -2.0]])
    x = lib.array(before)
    if lib.name == "jax" or lib.readonly:
        with pytest.raises(TypeError, match=r"cannot be written to; xpnet\.numerical_gradient"):
            scratch.numerical_gradient(lambda _: lib.xp.sum(x * x), x)
        return
    found = scratch.numerical_gradient(lambda _: lib.xp.sum(x * x), x)
    close(lib.host(found), 2 * before, 1e-8)
    assert (lib.host(x) == before).all()

    def broken(_):
        raise TypeError("not this time")

    with pytest.raises(TypeError, match="not this time"):
        scratch.numerical_gradient(broken, x)
    assert (lib.host(x) == before).all()


WINDOWS = [(3, 3, 1, 0), (2, 3, 2, 1), (3, 2, 3, 2), (7, 6, 1, 0), (1, 1, 2, 0)]


@pytest.mark.parametrize("window", WINDOWS)
def test_im2col_against_a_loop(lib, window):
    """The order of rows and columns, which programs rely on when they reshape."""
    high, wide, stride, pad = window
    x = RNG.normal(size=IMAGES)
    around = np.pad(x, ((0, 0), (0, 0), (pad, pad), (pad, pad)))
    places = [
        range(0, edge - k + 1, stride) for edge, k in zip(around.shape[2:], window, strict=False)
    ]
    rows = [
        image[:, r : r + high, s : s + wide].ravel()
        for image, r, s in itertools.product(around, *places)
    ]
    col = scratch.im2col(lib.array(x), *window)
    assert (lib.host(col) == np.asarray(rows)).all()
    # col2im is its adjoint: <im2col x, c> = <x, col2im c>.
    c = RNG.normal(size=col.shape)
    back = lib.host(scratch.col2im(lib.array(c), IMAGES, *window))
    assert back.shape == IMAGES
    np.testing.assert_allclose(np.sum(back * x), np.sum(c * np.asarray(rows)), rtol=1e-12)


@pytest.mark.parametrize(
    ("y", "t"),
    [
        ([[0.1, 0.9], [0.6, 0.4]], [1, 0]), ([[0.1, 0.9], [0.6, 0.4]], [[1], [0]]),
        ([[0.1, 0.9], [0.6, 0.4]], [[0, 1], [1, 0]]), ([0.1, 0.9], [0, 1]), ([0.1, 0.9], 1),
    ],
)  # fmt: skip
def test_cross_entropy_error(lib, y, t):
    found = scratch.cross_entropy_error(lib.array(y), lib.array(t))
    right = np.asarray([0.9, 0.6][: 1 if np.ndim(y) == 1 else 2])
    close(lib.host(found), -np.mean(np.log(right + 1e-7)))


def test_shuffle_dataset(lib):
    """Images and labels that no longer belong together."""
    x = np.arange(20.0).reshape(5, 1, 2, 2)
    moved, t = scratch.shuffle_dataset(lib.array(x), lib.array(np.arange(5)))
    np.random.seed(0)
    order = np.random.permutation(5)
    assert (lib.host(t) == order).all()
    assert (lib.host(moved) == x[order]).all()


def test_smooth_curve():
    """As long as it was, its ends mirrored, the last number repeated, as the textbook does."""
    x = RNG.normal(size=30)
    mirrored = np.concatenate([x[10:0:-1], x, x[-1:-11:-1]])
    window = np.kaiser(11, 2)
    whole = np.convolve(window / window.sum(), mirrored, mode="valid")[5:-5]
    smooth = scratch.smooth_curve(list(x))
    assert smooth.shape == (30,)
    close(smooth, whole)


def test_load_mnist(lib):
    """The shape that the convolutional nets take."""
    (x, t), (x_test, _) = scratch.load_mnist(flatten=False, one_hot_label=True, **lib.kwargs)
    assert (x.shape, t.shape, x_test.shape) == ((60000, 1, 28, 28), (60000, 10), (10000, 1, 28, 28))
    assert scratch.load_mnist(**lib.kwargs)[1][0].shape == (10000, 784)


# --- nets ------------------------------------------------------------------------------------

CONV = {"filter_num": 3, "filter_size": 3, "pad": 0, "stride": 1}
NETS = {
    "TwoLayerNet": (lambda: scratch.TwoLayerNet(6, 5, 3, 0.5), (6,)),
    "MultiLayerNet": (lambda: scratch.MultiLayerNet(6, [5, 4], 3, "sigmoid", "xavier", 0.1), (6,)),
    "MultiLayerNetExtend": (
        lambda: scratch.MultiLayerNetExtend(6, [5, 4], 3, weight_decay_lambda=0.1,
                                            use_batchnorm=True), (6,),
    ),
    "SimpleConvNet": (lambda: scratch.SimpleConvNet((1, 6, 6), CONV, 5, 3, 0.2), (1, 6, 6)),
}  # fmt: skip


def batch(lib, shape, n=4):
    x, t = RNG.normal(size=(n, *shape)), RNG.integers(0, 3, n)
    return lib.array(x), lib.array(np.eye(3)[t])


@pytest.mark.parametrize("name", NETS)
def test_a_net_against_its_numerical_gradient(lib, name):
    """A layer that is bound to another parameter, a decay that the gradient lacks."""
    make, shape = NETS[name]
    net, (x, t) = make(), batch(lib, shape)
    exact, differences = net.gradient(x, t), net.numerical_gradient(x, t)
    assert [*exact] == [*net.params]
    for key, value in exact.items():
        assert value.shape == net.params[key].shape
        # Some biases lie before a batch normalization: their gradient is 0, up to rounding.
        np.testing.assert_allclose(
            lib.host(differences[key]), lib.host(value), rtol=1e-5, atol=1e-7, err_msg=key
        )
    assert 0.0 <= net.accuracy(x, t) <= 1.0
    labels = lib.array(lib.host(t).argmax(axis=1))
    assert net.accuracy(x, labels, batch_size=3) == net.accuracy(x, t)


def test_the_same_weights_as_the_textbook():
    """np.random.seed, and the order of the draws; the variances of its two names."""
    net = scratch.MultiLayerNet(6, [5, 4], 3, weight_init_std="Xavier")
    np.random.seed(0)
    for key, (n_in, n_out) in {"W1": (6, 5), "W2": (5, 4), "W3": (4, 3)}.items():
        close(net.params[key], np.sqrt(1.0 / n_in) * np.random.randn(n_in, n_out))
    net = scratch.MultiLayerNet(600, [500], 3)
    assert net.params["W1"].std() == pytest.approx((2 / 600) ** 0.5, rel=0.01)
    with pytest.raises(ValueError, match="unknown weight_init_std 'lecun'; known are 'relu', 'he'"):
        scratch.MultiLayerNet(6, [5], 3, weight_init_std="lecun")
    with pytest.raises(ValueError, match="unknown activation 'tanh'; known are 'sigmoid', 'relu'"):
        scratch.MultiLayerNet(6, [5], 3, activation="tanh")


def test_images_of_bytes_do_not_move_a_net(there):
    """Parameters that have become bytes."""
    if there.name.startswith("numpy"):
        pytest.skip("a net of NumPy's takes NumPy's bytes, as the textbook's does")
    net = scratch.TwoLayerNet(6, 5, 3)
    with pytest.raises(TypeError, match="floating-point"):
        net.predict(there.array(np.ones((2, 6)), "uint8"))


def test_deep_conv_net(lib):
    """Its masks are drawn anew by `loss` and `gradient`, and not by `accuracy`."""
    net, x = scratch.DeepConvNet(), lib.array(RNG.uniform(size=(2, 1, 28, 28)))
    t = lib.array(np.asarray([3, 4]))
    assert net.params["W8"].shape == (50, 10)
    grads = net.gradient(x, t)
    assert {key: tuple(g.shape) for key, g in grads.items()} == {
        key: tuple(value.shape) for key, value in net.params.items()
    }
    losses = {float(net.loss(x, t)) for _ in range(5)}
    assert len(losses) > 1
    assert len({float(lib.xp.sum(net.predict(x))) for _ in range(2)}) == 1
    # The backward pass with the masks of one draw, against Torch.
    np.random.seed(1)
    grads = net.gradient(x, t)
    np.random.seed(1)
    w = {key: torch.tensor(np.array(lib.host(value)), requires_grad=True)
         for key, value in net.params.items()}  # fmt: skip
    z = torch.tensor(np.array(lib.host(x)))
    for i in range(1, 7):
        z = torch.relu(F.conv2d(z, w[f"W{i}"], w[f"b{i}"], padding=2 if i == 4 else 1))
        z = F.max_pool2d(z, 2) if i % 2 == 0 else z
    z = torch.relu(z.flatten(1) @ w["W7"] + w["b7"]) * torch.tensor(np.random.rand(2, 50) > 0.5)
    z = (z @ w["W8"] + w["b8"]) * torch.tensor(np.random.rand(2, 10) > 0.5)
    F.cross_entropy(z, torch.tensor([3, 4])).backward()
    for key, value in w.items():
        close(lib.host(grads[key]), value.grad.numpy(), 1e-10)


@pytest.mark.parametrize("optimizer", ["SGD", "Momentum", "nesterov", "AdaGrad", "rmsprop", "Adam"])
def test_a_trainer_trains(lib, optimizer, capsys):
    """The arrays say where: the program is the same on every library."""
    x, t = RNG.normal(size=(60, 6)), RNG.integers(0, 3, 60)
    x[np.arange(60), t] += 4.0
    arrays = lib.array(x), lib.array(t)
    net = scratch.MultiLayerNetExtend(6, [8], 3, use_batchnorm=True)
    trainer = scratch.Trainer(
        net, *arrays, *arrays, epochs=8, mini_batch_size=10, optimizer=optimizer,
        optimizer_param={"lr": 0.05}, evaluate_sample_num_per_epoch=30,
    )  # fmt: skip
    trainer.train()
    assert len(trainer.train_loss_list) == 48
    assert len(trainer.train_acc_list) == len(trainer.test_acc_list) == 8
    assert np.mean(trainer.train_loss_list[-6:]) < 0.7 * np.mean(trainer.train_loss_list[:6])
    assert trainer.train_acc_list[-1] > 0.6
    said = capsys.readouterr().out
    assert "=== epoch:8, train acc:" in said
    assert "test acc:" in said.splitlines()[-1]


def test_an_unknown_optimizer():
    with pytest.raises(ValueError, match="unknown optimizer 'newton'; known are 'sgd'"):
        scratch.Trainer(None, X := np.ones((2, 2)), X, X, X, optimizer="newton")


def test_save_and_load(lib, tmp_path):
    """Another net that predicts the same; whatever the file is called."""
    make, shape = NETS["SimpleConvNet"]
    net, (x, t) = make(), batch(lib, shape)
    net.gradient(x, t)
    path = tmp_path / "params.pkl"
    net.save_params(path)
    other = make()
    other.load_params(path)
    assert (lib.host(other.predict(x)) == lib.host(net.predict(x))).all()


def test_what_is_no_file_of_a_net(tmp_path):
    """A pickle runs the program of whoever wrote it; another net's arrays fit nowhere."""
    net, path = scratch.TwoLayerNet(6, 5, 3), tmp_path / "params.pkl"
    before = dict(net.params)
    path.write_bytes(pickle.dumps(before))
    with pytest.raises(xpnet.FileError, match=r"expected an \.npz file of save_params, which pick"):
        net.load_params(path)
    np.save(tmp_path / "one.npy", np.ones(3))
    with pytest.raises(xpnet.FileError, match=r"expected an \.npz file"):
        net.load_params(tmp_path / "one.npy")
    path.write_bytes(b"PK\x03\x04 and then nothing")
    with pytest.raises(xpnet.FileError, match=r"expected an \.npz file"):
        net.load_params(path)
    np.savez(tmp_path / "objects.npz", W1=np.asarray([{}], dtype=object))
    with pytest.raises(xpnet.FileError, match=r"expected an \.npz file"):
        net.load_params(tmp_path / "objects.npz")
    scratch.TwoLayerNet(6, 4, 3).save_params(path)
    with pytest.raises(xpnet.FileError, match=r"expected arrays of .* found"):
        net.load_params(path)
    with pytest.raises(FileNotFoundError):
        net.load_params(tmp_path / "none.npz")
    assert all(net.params[key] is value for key, value in before.items())
